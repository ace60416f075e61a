"""The Khronos validator judges what we write; skipped, with the reason, where node or the network is missing."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scene_shapes import box, cloud, random_mesh, scene, textured_box, walk

from recon.io.scene import Look, Scene, write_scene
from recon.types import PointCloud

VALIDATOR = "gltf-validator@2.0.0-dev.3.10"


def validator() -> Path:
    """Where the Khronos validator is; fetched once, where npm and a network are."""
    if shutil.which("node") is None:
        pytest.skip("the Khronos validator needs node")
    given_folder = os.environ.get("RECON_GLTF_VALIDATOR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(given_folder) if given_folder else cache / "recon-tests" / "gltf-validator"
    if (folder / "node_modules" / "gltf-validator" / "package.json").is_file():
        return folder
    if given_folder or shutil.which("npm") is None:
        pytest.skip(f"no Khronos validator: npm install --prefix {folder} {VALIDATOR}")
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(folder), VALIDATOR]
    try:
        subprocess.run(command, capture_output=True, check=True, text=True, timeout=60)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the Khronos validator cannot be fetched: {' '.join(command)}: {error.stderr[-200:]}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"the Khronos validator cannot be fetched within a minute: {' '.join(command)}")
    return folder


def test_the_khronos_validator_has_nothing_to_say(tmp_path: Path) -> None:
    folder = validator()
    shapes: dict[str, Scene] = {
        "colors": scene(box()),
        "textured": scene(textured_box()),
        "cloud": scene(cloud(100)),
        "no-normals": scene(PointCloud(cloud(5).points, cloud(5).colors, np.zeros((5, 3), np.float32))),
        "still": scene(box(), camera=walk(1)),
        "alone": scene(random_mesh(7, 0), camera=None),
        "one-point": scene(cloud(1)),
        "large": scene(random_mesh(70_000, 0)),
    }
    files = []
    for name, each in shapes.items():
        for look in (Look(), Look("lit", "png")):
            files.append(tmp_path / f"{name}-{look.material}.glb")
            write_scene(files[-1], each, look=look)
    script = Path(__file__).with_name("validate_gltf.cjs")
    done = subprocess.run(["node", script, folder, *files], capture_output=True, check=True, text=True, timeout=120)
    reports = json.loads(done.stdout)
    assert len(reports) == len(files)
    for name, report in reports.items():
        counts = {key: value for key, value in report["issues"].items() if key.startswith("num")}
        assert counts == {"numErrors": 0, "numWarnings": 0, "numInfos": 0, "numHints": 0}, (name, report["issues"])
    assert reports["textured-lit.glb"]["info"]["totalTriangleCount"] == 12
