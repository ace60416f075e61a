"""The files of the sample agree with each other, and the renderer still makes them."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import render as sample_maker
from raycast import render
from scenes import room
from scipy.spatial.transform import Rotation

from recon.geometry import inverse, project, rigid, transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.trajectory import read_trajectory
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon.types import DepthMap, Frame, Intrinsics

SAMPLES = Path(sample_maker.__file__).parent
ROOM = SAMPLES / "room"
PAIRS = [(0, 6), (10, 30), (45, 25), (59, 20)]


@cache
def frames() -> list[Frame]:
    return list(open_source(ROOM / "room.mp4", SamplingSettings()).frames())


@cache
def trajectory() -> np.ndarray:
    return np.loadtxt(ROOM / "trajectory.tum")


def depth(number: int) -> DepthMap:
    stored = cv2.imdecode(np.fromfile(ROOM / "depth" / f"{number:06d}.png", np.uint8), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    return stored.astype(np.float32) / 1000


def pose(number: int) -> np.ndarray:
    row = trajectory()[number]
    return rigid(Rotation.from_quat(row[4:]).as_matrix(), row[1:4])


@pytest.fixture(scope="module")
def camera() -> Intrinsics:
    return read_intrinsics(ROOM / "intrinsics.json")


def test_there_is_one_depth_and_one_pose_for_each_frame() -> None:
    assert [path.name for path in sorted((ROOM / "depth").iterdir())] == [f"{i:06d}.png" for i in range(60)]
    assert len(frames()) == len(trajectory()) == 60
    assert depth(0).shape == frames()[0].rgb.shape[:2]


def test_times_of_the_video_are_those_of_the_trajectory() -> None:
    np.testing.assert_allclose([frame.time for frame in frames()], trajectory()[:, 0], atol=1e-9)


def test_every_depth_is_known_and_lies_in_the_room() -> None:
    for number in range(60):
        assert 0.5 < depth(number).min() < depth(number).max() < 6


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_depth_of_one_frame_is_that_of_another_seen_from_there(first: int, second: int, camera: Intrinsics) -> None:
    points = transform(inverse(pose(second)) @ pose(first), unproject(depth(first), camera).astype(np.float64))
    position, z = project(points, camera), points[..., 2]
    # OpenCV puts pixel centres at whole numbers.
    x, y = (position[..., axis].astype(np.float32) - np.float32(0.5) for axis in (0, 1))
    seen = cv2.remap(depth(second), x, y, cv2.INTER_LINEAR, borderValue=-1.0)
    inside = (x > 0) & (x < camera.width - 1) & (y > 0) & (y < camera.height - 1)
    error = np.abs(seen / z - 1)[inside]
    assert inside.mean() > 0.5
    assert np.median(error) < 0.0005
    assert (error < 0.002).mean() > 0.75  # the rest is hidden in one of the two


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_colours_of_one_frame_are_those_of_another_seen_from_there(first: int, second: int, camera: Intrinsics) -> None:
    points = transform(inverse(pose(second)) @ pose(first), unproject(depth(first), camera))
    x, y = (project(points, camera)[..., axis].astype(np.float32) - np.float32(0.5) for axis in (0, 1))
    same = np.abs(cv2.remap(depth(second), x, y, cv2.INTER_LINEAR, borderValue=-1.0) / points[..., 2] - 1) < 0.002
    here = frames()[first].rgb[same].astype(int)
    there = cv2.remap(frames()[second].rgb, x, y, cv2.INTER_LINEAR)[same].astype(int)
    assert np.median(np.abs(here - there)) <= 4
    # One pixel aside it is much worse: the agreement is not that of a smooth picture.
    aside = cv2.remap(frames()[second].rgb, x + 3, y + 3, cv2.INTER_LINEAR)[same].astype(int)
    assert np.abs(here - aside).mean() > 1.5 * np.abs(here - there).mean()


def test_the_renderer_makes_the_committed_files(camera: Intrinsics) -> None:
    number = 37
    assert camera == sample_maker.CAMERA
    walk = sample_maker.sample_walk()
    np.testing.assert_allclose(pose(number), walk.world_from_camera[number], atol=1e-8)
    picture, made = render(room(), sample_maker.CAMERA, walk.world_from_camera[number], samples=1)
    np.testing.assert_allclose(depth(number), made, atol=0.00051)
    # Video is compressed, and this picture is not antialiased; still the colours are right, not only alike.
    difference = frames()[number].rgb.astype(int) - picture
    assert np.median(np.abs(difference)) <= 6
    assert (np.abs(np.median(difference, axis=(0, 1))) <= 1).all()


def test_the_readers_of_recon_understand_it() -> None:
    read = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None)
    np.testing.assert_allclose(read.world_from_camera[5], pose(5), atol=1e-9)


def test_all_samples_together_stay_small() -> None:
    files = [path for path in SAMPLES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 2_000_000


def test_the_writers_write_what_is_there(tmp_path: Path) -> None:
    sample_maker.write_trajectory(tmp_path / "trajectory.tum", sample_maker.sample_walk())
    sample_maker.write_intrinsics(tmp_path / "intrinsics.json", sample_maker.CAMERA)
    for name in ("trajectory.tum", "intrinsics.json"):
        assert (tmp_path / name).read_text() == (ROOM / name).read_text()
    sample_maker.write_video(tmp_path / "room.mp4", [frame.rgb for frame in frames()[:5]])
    again = list(open_source(tmp_path / "room.mp4", SamplingSettings()).frames())
    assert [frame.time for frame in again] == pytest.approx([frame.time for frame in frames()[:5]])
    for one, other in zip(again, frames()[:5], strict=True):
        difference = one.rgb.astype(int) - other.rgb
        # The fast reader truncates, by 1.5 at most; a wrong range or matrix of colours would be far beyond that.
        assert (np.abs(difference.mean(axis=(0, 1))) < 1.6).all()
        assert np.abs(difference).mean() < 3  # compressed twice
