"""The scripts that run other networks write maps that recon reads: one for each picture, near is large."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon.io.depth import read_depth_map

PEERS = Path(__file__).parents[1] / "docs" / "peers"


def run(script: str, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PEERS / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def write_picture(path: Path, rgb: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(path.suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    write_picture(folder / "a.png", np.zeros((6, 8, 3), np.uint8))
    write_picture(folder / "b.color.jpg", np.zeros((5, 4, 3), np.uint8))
    return folder


def test_the_ramp_is_nearer_below(pictures: Path, tmp_path: Path) -> None:
    (pictures / "b.color.jpg").rename(pictures / "b.jpg")
    done = run("ramp.py", pictures, tmp_path / "new" / "maps")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "new" / "maps").iterdir()) == ["a.npy", "b.npy"]
    ramp = np.load(tmp_path / "new" / "maps" / "b.npy")
    assert ramp.dtype == np.float32
    np.testing.assert_array_equal(ramp, np.arange(5)[:, None] + np.zeros((5, 4)))
    read = read_depth_map(tmp_path / "new" / "maps" / "a.npy", scale=1.0, quantity="disparity")
    np.testing.assert_array_equal(read[:, 0], np.arange(6))


def test_maps_are_named_like_pictures_that_have_depth_beside_them(pictures: Path, tmp_path: Path) -> None:
    assert run("ramp.py", pictures, tmp_path / "maps").returncode == 0
    assert [path.name for path in (tmp_path / "maps").iterdir()] == ["b.color.npy"]


def test_a_folder_without_pictures_is_said_in_one_line(tmp_path: Path) -> None:
    done = run("ramp.py", tmp_path, tmp_path / "maps")
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path}: no pictures here")
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "maps").exists()


def test_a_missing_package_is_said_in_one_line(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ModuleNotFoundError")  # as if it were not installed
    done = run("tcmonodepth.py", pictures, tmp_path / "maps", "--weights", "any.onnx", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "TCMonoDepth needs onnxruntime: pip install onnxruntime\n"


def test_missing_weights_are_said_in_one_line(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    done = run("tcmonodepth.py", pictures, tmp_path / "maps", "--weights", tmp_path / "none.onnx")
    assert done.returncode == 1
    assert done.stderr.endswith("none.onnx: there is no such file; give tcmonodepth_tcsmallnet_192x320.onnx\n")


def inverse_depth(path: Path) -> np.ndarray:
    """1 / z of a depth map in millimetres, NaN where there is none."""
    depth = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED).astype(np.float32)
    return np.where(depth > 0, 1000 / np.maximum(depth, 1), np.nan)


def likeness(disparity: np.ndarray, true: np.ndarray) -> float:
    known = np.isfinite(true)
    return float(np.corrcoef(disparity[known], true[known])[0, 1])


def test_tcmonodepth_sees_what_is_near(shared: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    data, folder = shared / "data" / "7scenes_redkitchen_a", tmp_path / "pictures"
    names = [f"frame-{number:06d}" for number in (0, 50, 100)]
    folder.mkdir()
    for name in names:
        (folder / f"{name}.jpg").symlink_to(data / "frames" / f"{name}.color.jpg")
    weights = shared / "weights" / "tcmonodepth_small" / "tcmonodepth_tcsmallnet_192x320.onnx"
    done = run("tcmonodepth.py", folder, tmp_path / "maps", "--weights", weights)
    assert done.returncode == 0, done.stderr
    maps = [np.load(tmp_path / "maps" / f"{name}.npy") for name in names]
    assert {(each.shape, each.dtype) for each in maps} == {((480, 640), np.dtype(np.float32))}
    truth = [inverse_depth(data / "depth_in_color" / f"{name}.depth.png") for name in names]
    found = np.mean([likeness(disparity, true) for disparity, true in zip(maps, truth, strict=True)])
    floor = np.mean([likeness(np.mgrid[:480, :640][0], true) for true in truth])
    assert found > 0.6
    assert found > floor
