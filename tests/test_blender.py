"""Blender itself opens what we write: upright, at its size, in its colours, with the camera's path.

It runs in an environment of its own (bpy pins another numpy): `RECON_BLENDER_PYTHON=$(tests/blender/install.sh)`; one
Blender looks at all files.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from filelock import FileLock
from scene_shapes import SWATCH, quadrants, textured_box

from recon.io.scene import CameraPath, Kind, Look, Notes, Scene, turned, up_for, write_scene
from recon.types import Intrinsics, Mesh

FOLDER = Path(__file__).with_name("blender")
PYTHON = os.environ.get("RECON_BLENDER_PYTHON")
WHY = os.environ.get("RECON_BLENDER_MISSING") or "RECON_BLENDER_PYTHON=$(tests/blender/install.sh) is not set"
if not PYTHON:  # all at once: one line of pytest's summary says so
    pytest.skip(f"Blender is not here: its checks are skipped ({WHY})", allow_module_level=True)

SIZE = (1.0, 2.0, 3.0)
"""Across, upwards and ahead, metres."""
KINDS: list[Kind] = ["glb", "ply", "obj", "stl", "usdz"]
RATE = 24
"""Frames a second of a new scene in Blender."""


def standing(shape: Any) -> Scene:
    """A box that stands on the ground, 4 m to 7 m ahead of a camera in OpenCV's world, which then walks 1 m ahead."""
    box = turned(Scene(shape, "y"), "camera")
    poses = np.tile(np.eye(4), (3, 1, 1))
    poses[:, :3, 3] = [[0.5, -1, -7], [0.5, -1, -6.5], [0.5, -1, -6]]
    camera = CameraPath(np.array([7.0, 7.5, 8.0]), poses, Intrinsics.from_fov(60.0, 320, 240))
    return Scene(box.shape, "camera", camera, Notes("metres", 0.03, {"made by": "recon from clip.mp4"}))


def plain() -> Mesh:
    mesh = textured_box(SIZE).mesh
    return Mesh(mesh.vertices, mesh.triangles, np.full((24, 3), SWATCH, np.uint8), mesh.normals)


def written(folder: Path) -> list[Path]:
    """Both boxes in every format, as `--preset blender` has them."""
    files = []
    for name, shape in (("plain", plain()), ("textured", textured_box(SIZE))):
        for kind in KINDS:
            files.append(folder / f"{name}.{kind}")
            write_scene(files[-1], turned(standing(shape), up_for(kind, "blender")), look=Look(picture="png"))
    return files


def looked_at(files: list[Path]) -> dict[str, Any]:
    command = [str(PYTHON), FOLDER / "check_import.py", *files]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.rpartition("FOUND ")[2])
    return found


@pytest.fixture(scope="module")
def blender(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Path]]:
    """What Blender found in each file, and two pictures that it rendered; once for all processes of a test run."""
    folder = tmp_path_factory.getbasetemp()
    folder = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "blender"
    folder.mkdir(exist_ok=True)
    found = folder / "found.json"
    with FileLock(folder / "lock"):
        if not found.is_file():
            found.write_text(json.dumps(looked_at(written(folder))))
    return json.loads(found.read_text()), {name: folder / f"{name}.glb.png" for name in ("plain", "textured")}


Found = tuple[dict[str, Any], dict[str, Path]]


def shape_of(blender: Found, name: str) -> dict[str, Any]:
    (shape,) = blender[0][name]["shapes"]
    return shape  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["plain", "textured"])
def test_upright_and_at_its_size(blender: Found, name: str, kind: Kind) -> None:
    """Blender has z up and y ahead: 1 m across, 3 m deep towards the camera, 2 m high."""
    shape = shape_of(blender, f"{name}.{kind}")
    np.testing.assert_allclose(shape["bounds"], [[0, -3, 0], [1, 0, 2]], atol=1e-6)
    assert shape["triangles"] == 12


@pytest.mark.parametrize("kind", ["glb", "ply", "obj", "usdz"])
def test_colors_of_vertices_are_exact(blender: Found, kind: Kind) -> None:
    (colors,) = shape_of(blender, f"plain.{kind}")["colors"]
    assert colors["srgb"] == [list(SWATCH)]


@pytest.mark.parametrize("kind", ["glb", "obj", "usdz"])
def test_the_texture_is_there_and_exact(blender: Found, kind: Kind) -> None:
    shape = shape_of(blender, f"textured.{kind}")
    (material,) = shape["materials"]
    assert len(material["images"]) == 1
    (image,) = blender[0][f"textured.{kind}"]["images"]
    height, width = quadrants().shape[:2]
    assert image == {"size": [width, height], "space": "sRGB", "above_left": list(SWATCH)}
    np.testing.assert_allclose(shape["uv"], [[[0.25, 0.25], [0.75, 0.75]]], atol=1e-6)


def test_ply_has_places_in_the_texture(blender: Found) -> None:
    np.testing.assert_allclose(shape_of(blender, "textured.ply")["uv"], [[[0.25, 0.25], [0.75, 0.75]]], atol=1e-6)


@pytest.mark.parametrize("kind", ["glb", "usdz"])
def test_the_camera_walks(blender: Found, kind: Kind) -> None:
    (camera,) = blender[0][f"plain.{kind}"]["cameras"]
    start, end = camera["frames"]
    assert (end - start) / RATE == pytest.approx(1.0, abs=1e-3)
    first, last = (np.array(place) for place in camera["places"])
    np.testing.assert_allclose([first[:3, 3], last[:3, 3]], [[0.5, -7, 1], [0.5, -6, 1]], atol=1e-4)
    np.testing.assert_allclose(-first[:3, 2], [0, 1, 0], atol=1e-5)  # looks ahead
    np.testing.assert_allclose(first[:3, 1], [0, 0, 1], atol=1e-5)  # and stands upright
    assert camera["angle_y"] == pytest.approx(2 * np.arctan(np.tan(np.radians(30)) * 0.75), abs=1e-4)


def test_what_is_said_of_the_scene_is_there(blender: Found) -> None:
    notes = blender[0]["plain.glb"]["notes"]
    assert notes["units"] == "metres"
    assert notes["made by"] == "recon from clip.mp4"
    assert float(notes["scale_sigma"]) == pytest.approx(0.03)


def picture(path: Path) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


def test_a_render_shows_the_swatch(blender: Found) -> None:
    """Where the box stands in the picture, every pixel is the swatch, and none beside it."""
    rendered = picture(blender[1]["plain"])
    front = expected_front()
    inside = np.zeros(rendered.shape[:2], bool)
    inside[front[1] + 2 : front[3] - 2, front[0] + 2 : front[2] - 2] = True
    outside = np.ones_like(inside)
    outside[front[1] - 2 : front[3] + 2, front[0] - 2 : front[2] + 2] = False
    assert (rendered[inside] == SWATCH).all()
    assert (rendered[outside] == 0).all()


def test_a_render_shows_the_texture_the_right_way_round(blender: Found) -> None:
    rendered = picture(blender[1]["textured"])
    left, top, right, bottom = expected_front()
    across, down = (right - left) // 4, (bottom - top) // 4
    seen = [rendered[y, x].tolist() for y in (top + down, bottom - down) for x in (left + across, right - across)]
    colors = [quadrants()[y, x] for y in (0, -1) for x in (0, -1)]
    np.testing.assert_allclose(seen, colors, atol=1)


def expected_front() -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the side towards the first camera, by the pinhole formula."""
    camera = standing(plain()).camera
    assert camera is not None
    lens, depth = camera.intrinsics, 7.0 - 3.0
    left, right = (lens.cx + lens.fx * (x - 0.5) / depth for x in (0, 1))
    top, bottom = (lens.cy + lens.fy * y / depth for y in (-1, 1))
    return round(left), round(top), round(right), round(bottom)
