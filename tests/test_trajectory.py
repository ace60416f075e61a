"""Trajectories: every format from a file written here and a real one, poses between poses, and what is refused."""

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from evo.tools.file_interface import read_kitti_poses_file, read_tum_trajectory_file
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp
from strategies import intrinsics, rigid_transforms, seeds

from recon.errors import TrajectoryError
from recon.geometry import inverse, project, rigid, transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.trajectory import (
    interpolate,
    pose_at,
    read_trajectory,
    slam_units,
    write_kitti,
    write_transforms,
    write_tum,
)
from recon.types import CameraTrajectory, Intrinsics

QUARTER = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
"""A quarter turn about z: x becomes y."""


def walk(count: int, seed: int = 0, step: float = 1.0) -> np.ndarray:
    """Poses (n, 4, 4) of a camera that moves and turns at random."""
    random = np.random.default_rng(seed)
    rotations = Rotation.from_rotvec(random.uniform(-1, 1, (count, 3))).as_matrix()
    places = step * random.uniform(-1, 1, (count, 3)).cumsum(axis=0)
    return np.stack([rigid(rotation, place) for rotation, place in zip(rotations, places, strict=True)])


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows_of(poses: np.ndarray) -> str:
    return "\n".join(" ".join(map(repr, map(float, pose.ravel()))) for pose in poses)


def read(path: Path, times: dict[str, float] | None = None, rate: float | None = None) -> CameraTrajectory:
    return read_trajectory(path, times_by_name=times or {}, rate=rate)


# ------------------------------------------------------------------------------------------------------------- formats


def test_tum(tmp_path: Path) -> None:
    half = 0.5**0.5
    text = f"# a comment\n\n0.5 1 2 3 0 0 {half} {half}  # turned\n0.25 0 0 0 0 0 0 1\n"
    path = written(tmp_path / "anything.at.all", text)
    trajectory = read(path)
    assert trajectory.times.tolist() == [0.25, 0.5]
    np.testing.assert_allclose(
        trajectory.world_from_camera, [np.eye(4), rigid(QUARTER, np.array([1.0, 2, 3]))], atol=1e-12
    )
    assert slam_units(path) == "metres"


def test_tum_with_commas_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeff0, 1, 2, 3, 0, 0, 0, 1\n", encoding="utf-8")
    np.testing.assert_allclose(read(path).world_from_camera[0, :3, 3], [1, 2, 3])


def test_tum_on_a_wall_clock_begins_with_the_video(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = written(tmp_path / "t", "1305031102.25 0 0 0 0 0 0 1\n1305031102.5 0 0 0 0 0 0 1\n")
    with caplog.at_level(logging.WARNING, "recon"):
        assert read(path).times.tolist() == [0, 0.25]
    assert "1305031102.250" in caplog.text


@pytest.mark.parametrize("shape", [(3, 4), (4, 4)])
def test_kitti_and_4x4_lines_go_by_order(tmp_path: Path, shape: tuple[int, int]) -> None:
    poses = walk(3)
    path = written(tmp_path / "p.txt", rows_of(poses[:, : shape[0]]))
    by_rate, by_picture = read(path, rate=10.0), read(path, times={"b": 2.0, "a": 1.0, "c": 3.0})
    assert by_rate.times.tolist() == [0, 0.1, 0.2]
    assert by_picture.times.tolist() == [1, 2, 3]
    np.testing.assert_allclose(by_rate.world_from_camera, poses, atol=1e-12)
    np.testing.assert_allclose(by_picture.world_from_camera, poses, atol=1e-12)
    assert slam_units(path) == "metres"


@pytest.mark.parametrize("name", ["p.times.txt", "times.txt"])
def test_kitti_may_have_its_times_beside_it(tmp_path: Path, name: str) -> None:
    """A video goes by these. Pictures go by order where they are as many: their clock is only --picture-rate."""
    path = written(tmp_path / "p.kitti", rows_of(walk(3)[:, :3]))
    written(tmp_path / name, "0.000000e+00\n1.036224e-01\n2.072963e-01\n")
    assert read(path).times.tolist() == read(path, rate=5.0).times.tolist() == [0, 0.1036224, 0.2072963]
    assert read(path, times={"a": 1.0, "b": 2.0, "c": 3.0}).times.tolist() == [1, 2, 3]
    assert read(path, times={"a": 1.0, "b": 2.0}).times.tolist() == [0, 0.1036224, 0.2072963]
    for wrong in ("0\n1\n", "0 0\n1 0\n2 0\n"):
        written(tmp_path / name, wrong)
        with pytest.raises(TrajectoryError, match=f"{name}: . lines .* beside the 3 poses of p.kitti"):
            read(path)


def test_times_in_transforms_json_go_unless_the_pictures_are_there(tmp_path: Path) -> None:
    frames = [{"file_path": f"images/{n}.png", "transform_matrix": np.eye(4).tolist()} for n in (1, 2)]
    timed = [frame | {"seconds": seconds} for frame, seconds in zip(frames, (0.5, 0.75), strict=True)]
    path = written(tmp_path / "t.json", json.dumps({"frames": timed}))
    assert read(path).times.tolist() == read(path, times={"other": 9.0}).times.tolist() == [0.5, 0.75]
    assert read(path, times={"1": 7.0, "2": 8.0}).times.tolist() == [7, 8]
    written(path, json.dumps({"frames": [timed[0], frames[1]]}))
    with pytest.raises(TrajectoryError, match="has no times; say with --trajectory-rate"):
        read(path)
    written(path, json.dumps({"frames": [timed[0] | {"seconds": "now"}]}))
    with pytest.raises(TrajectoryError, match=r"not a transforms\.json"):
        read(path)


def test_blocks_of_four_lines_are_matrices(tmp_path: Path) -> None:
    poses = walk(2)
    path = written(tmp_path / "p.txt", "\n".join(rows_of(pose) for pose in poses))
    np.testing.assert_allclose(read(path, rate=1.0).world_from_camera, poses, atol=1e-12)


def test_a_folder_of_matrices_goes_by_name(tmp_path: Path) -> None:
    poses = walk(3)
    for number, pose in zip((0, 5, 10), poses, strict=True):
        written(tmp_path / f"frame-{number:06d}.pose.txt", rows_of(pose))
    by_number = read(tmp_path, rate=10.0)
    by_name = read(tmp_path, times={"frame-000005": 0.7, "frame-000001": 0.2, "frame-000000": 0.0})
    assert by_number.times.tolist() == [0, 0.5, 1]
    assert by_name.times.tolist() == [0, 0.7]
    np.testing.assert_allclose(by_name.world_from_camera, poses[:2], atol=1e-12)
    assert slam_units(tmp_path) == "metres"


def test_transforms_json_has_the_axes_of_opengl(tmp_path: Path) -> None:
    """The camera sits at (1, 2, 3) with OpenGL's axes along the world's: it looks along -z, and y is up."""
    matrix = rigid(np.eye(3), np.array([1.0, 2, 3])).tolist()
    frames = [{"file_path": f"./images/frame_{n:05d}.png", "transform_matrix": matrix} for n in (1, 2)]
    path = written(tmp_path / "transforms.json", json.dumps({"fl_x": 500, "frames": frames}))
    trajectory = read(path, rate=2.0)
    assert trajectory.times.tolist() == [0, 0.5]
    pose = trajectory.world_from_camera[0]
    np.testing.assert_allclose(transform(pose, np.array([[0.0, 0, 5], [0, 1, 0]])), [[1, 2, -2], [1, 1, 3]])
    assert slam_units(path) == slam_units(tmp_path) == "slam"
    assert read(tmp_path, times={"frame_00002": 0.1}).times.tolist() == [0.1]


def test_a_colmap_model_is_a_trajectory(tmp_path: Path) -> None:
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    written(folder / "cameras.txt", "1 PINHOLE 640 480 500 500 320 240\n")
    written(folder / "images.txt", "1 1 0 0 0 1 2 3 1 a.jpg\n\n2 1 0 0 0 0 0 0 1 b.jpg\n\n")
    trajectory = read(tmp_path, times={"a": 0.0, "b": 1.0})
    np.testing.assert_allclose(trajectory.world_from_camera[0, :3, 3], [-1, -2, -3])
    assert slam_units(tmp_path) == "slam"


@given(seed=seeds, count=st.integers(1, 20), step=st.sampled_from([0.0, 1e-9, 1.0, 1e4]))
def test_tum_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, step: float
) -> None:
    path = tmp_path_factory.mktemp("tum") / "t.txt"
    times = np.random.default_rng(seed).uniform(1e-3, 1, count).cumsum()
    trajectory = CameraTrajectory(times, walk(count, seed, step))
    write_tum(path, trajectory)
    again = read(path)
    assert np.array_equal(again.times, times)
    np.testing.assert_allclose(again.world_from_camera, trajectory.world_from_camera, rtol=0, atol=1e-12)


@given(seed=seeds, count=st.integers(1, 20), step=st.sampled_from([0.0, 1e-9, 1.0, 1e4]))
def test_kitti_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, step: float
) -> None:
    path = tmp_path_factory.mktemp("kitti") / "t.txt"
    trajectory = CameraTrajectory(np.arange(count) / 10, walk(count, seed, step))
    write_kitti(path, trajectory)
    again = read(path, rate=10.0)
    assert np.array_equal(again.times, trajectory.times)
    np.testing.assert_allclose(again.world_from_camera, trajectory.world_from_camera, rtol=0, atol=1e-12)


@given(seed=seeds, count=st.integers(1, 20), camera=intrinsics())
def test_transforms_json_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, seed: int, count: int, camera: Intrinsics
) -> None:
    path = tmp_path_factory.mktemp("transforms") / "transforms.json"
    trajectory = CameraTrajectory(np.arange(count) / 10, walk(count, seed))
    names = [f"images/{number:06d}.png" for number in range(count)]
    write_transforms(path, trajectory, camera, names)
    again = read(path)
    assert np.array_equal(again.times, trajectory.times)
    assert not re.search(r"-0\.0\b[^1-9]", path.read_text()), "no -0.0"
    by_name = read(path, times={Path(name).stem: 2.0 * number for number, name in enumerate(names)})
    assert by_name.times.tolist() == [2.0 * number for number in range(count)]
    np.testing.assert_allclose(again.world_from_camera, trajectory.world_from_camera, rtol=0, atol=1e-12)
    assert read_intrinsics(path) == camera


def test_what_nerfstudio_reads_of_transforms_json(tmp_path: Path) -> None:
    """Its camera looks along -z with y up: the second and third column are turned over, the place stays."""
    trajectory = CameraTrajectory(np.array([0.0]), rigid(QUARTER, np.array([1.0, 2, 3]))[None])
    write_transforms(
        tmp_path / "t.json", trajectory, Intrinsics(500.0, 510.0, 320.5, 240.0, 640, 480), ["a.png"], points="p.ply"
    )
    values = json.loads((tmp_path / "t.json").read_text())
    camera = {"fl_x": 500, "fl_y": 510, "cx": 320.5, "cy": 240, "w": 640, "h": 480, "camera_model": "OPENCV"}
    lens = {"k1": 0, "k2": 0, "p1": 0, "p2": 0}
    matrix = [[0, 1, 0, 1], [1, 0, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]]
    frames = [{"file_path": "a.png", "seconds": 0, "transform_matrix": matrix}]
    assert values == camera | lens | {"ply_file_path": "p.ply", "frames": frames}


@pytest.mark.parametrize("names", [["a.png"], ["a.png", "a.png"]])
def test_each_pose_of_transforms_json_needs_a_name(tmp_path: Path, names: list[str]) -> None:
    trajectory = CameraTrajectory(np.arange(2.0), walk(2))
    with pytest.raises(ValueError, match="each needs one of its own"):
        write_transforms(tmp_path / "t.json", trajectory, Intrinsics.from_fov(60.0, 64, 48), names)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [write_tum, write_kitti])
def test_nothing_is_minus_zero(tmp_path: Path, write: Callable[[Path, CameraTrajectory], None]) -> None:
    turned = rigid(np.diag([-1.0, -1.0, 1.0]), -np.zeros(3))
    write(tmp_path / "t", CameraTrajectory(np.zeros(1), turned[None]))
    assert "-0.0" not in (tmp_path / "t").read_text().split()


@pytest.mark.parametrize("write", [write_tum, write_kitti])
def test_written_files_are_read_by_evo(tmp_path: Path, write: Callable[[Path, CameraTrajectory], None]) -> None:
    trajectory = CameraTrajectory(np.arange(5) / 30, walk(5))
    write(tmp_path / "t", trajectory)
    reader = read_tum_trajectory_file if write is write_tum else read_kitti_poses_file
    np.testing.assert_allclose(reader(tmp_path / "t").poses_se3, trajectory.world_from_camera, atol=1e-12)


# ------------------------------------------------------------------------------------------------- times in the names


def test_pictures_that_are_called_by_their_times_have_the_pose_of_that_moment(tmp_path: Path) -> None:
    """As in TUM RGB-D: poses 100 a second on a wall clock, pictures 20 a second that begin before the poses."""
    lines = (f"{1.3e9 + n / 100:.4f} {n / 100} 0 0 0 0 0 1" for n in range(301))
    path = written(tmp_path / "groundtruth.txt", "\n".join(lines))
    times = {f"{1.3e9 - 1 + n / 20:.6f}": n / 30 for n in range(60)}
    trajectory = read(path, times=times)
    assert trajectory.times.tolist() == pytest.approx([n / 30 for n in range(20, 60)])
    np.testing.assert_allclose(trajectory.world_from_camera[:, 0, 3], np.arange(40) / 20, atol=1e-6)


@pytest.mark.parametrize(
    "names",
    [
        ["shot1.0001", "shot1.0002", "shot1.0003"],  # numbers after a dot
        ["a_0000", "a_0001", "a_0002"],
        ["1.5", "2.5", "last"],
    ],
)
def test_names_that_only_count_are_no_times(tmp_path: Path, names: list[str]) -> None:
    path = written(tmp_path / "t", "".join(f"{n} {n} 0 0 0 0 0 1\n" for n in range(4)))
    trajectory = read(path, times={name: float(n) for n, name in enumerate(names)})
    assert trajectory.times.tolist() == [0, 1, 2, 3]


def test_times_in_names_of_another_clock_are_left_alone_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "t", "0 0 0 0 0 0 0 1\n1 1 0 0 0 0 0 1\n")
    with caplog.at_level(logging.WARNING, "recon"):
        assert read(path, times={"1300000000.5": 0.0, "1300000001.5": 1.0}).times.tolist() == [0, 1]
    assert "says nothing of the times in the names of the pictures" in caplog.text


# --------------------------------------------------------------------------------------------------- between the poses


@given(first=rigid_transforms(), second=rigid_transforms(), share=st.floats(0, 1))
def test_interpolation_is_scipys_slerp(first: np.ndarray, second: np.ndarray, share: float) -> None:
    rotations = Rotation.from_matrix(np.stack([first[:3, :3], second[:3, :3]]))
    expected = Slerp([0, 1], rotations)(share).as_matrix()
    between = interpolate(first, second, share)
    np.testing.assert_allclose(between[:3, :3], expected, atol=1e-6)
    np.testing.assert_allclose(between[:3, 3], first[:3, 3] + share * (second[:3, 3] - first[:3, 3]), atol=1e-6)


@given(seed=seeds)
def test_at_its_times_a_trajectory_says_what_it_holds(seed: int) -> None:
    trajectory = CameraTrajectory(np.arange(5) / 30, walk(5, seed))
    for time, pose in zip(trajectory.times, trajectory.world_from_camera, strict=True):
        np.testing.assert_allclose(pose_at(trajectory, float(time)), pose, atol=1e-12)


@pytest.mark.parametrize(
    ("time", "place"),
    [
        (-0.06, None),
        (-0.04, 0.0),
        (0.05, 0.5),
        (0.2, 2.0),
        (0.24, 2.0),
        (0.26, None),
        (1.5, None),
        (2.0, 20.0),
        (2.24, 20.0),
    ],
)
def test_beyond_the_ends_and_in_gaps_nothing_is_said(time: float, place: float | None) -> None:
    """A pose every 0.1 s, then a gap of 1.8 s; half a step beside a pose it still counts."""
    times = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 2.2])
    poses = np.stack([rigid(np.eye(3), np.array([10 * t, 0, 0])) for t in times])
    pose = pose_at(CameraTrajectory(times, poses), time)
    assert (None if pose is None else pytest.approx(pose[0, 3])) == (place if time < 2.1 else 22.0)


def test_key_frames_far_apart_say_nothing_beyond_the_last_one() -> None:
    """A pose each second: half a step beside one, the camera may be anywhere."""
    slow = CameraTrajectory(np.arange(4.0), walk(4))
    assert [pose_at(slow, time) is None for time in (-0.4, -0.04, 3.04, 3.4)] == [True, False, False, True]


def test_a_gap_is_told_from_a_slow_rate() -> None:
    """Key frames every second are a rate; at 30 poses a second, a quarter of a second may be missing but not more."""
    slow = CameraTrajectory(np.arange(4.0), walk(4))
    assert pose_at(slow, 1.5) is not None
    fast = np.concatenate([np.arange(10) / 30, [9 / 30 + 0.2, 9 / 30 + 0.2 + 0.3]])
    trajectory = CameraTrajectory(fast, walk(12))
    assert pose_at(trajectory, 9 / 30 + 0.1) is not None
    assert pose_at(trajectory, 9 / 30 + 0.35) is None


def test_a_single_pose_holds_for_its_moment_only() -> None:
    alone = CameraTrajectory(np.array([1.0]), walk(1))
    assert pose_at(alone, 1.0004) is not None
    assert pose_at(alone, 1.1) is None


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t: holds no poses; known are: TUM, KITTI"),
        ("# only a comment\n", "holds no poses"),
        ("hello world\n", r"t:1: not a line of numbers \('hello world'\); known are"),
        ("0 0 0 0 0 0 0 1\n1 0 0 oops 0 0 0 1\n", r"t:2: not a line of numbers"),
        ("0 0 0 0 0 0 0 1\n\n1 0 0 0 0 0 1\n", r"t:3: 7 numbers, but 8 in the lines before"),
        ("0 0 0 0 0 0 0 1\n1 0 0 nan 0 0 0 1\n", r"t:2: a pose with a number that is not finite"),
        ("0 0 0 0 0 0 0 0\n", r"t:1: the quaternion .* has length 0, not 1"),
        ("0 0 0 0 1 1 1 1\n", r"t:1: the quaternion .* has length 2, not 1"),
        ("0 0 0 0 0 0 0 1\n0 1 0 0 0 0 0 1\n", r"t: two poses for the time 0\.000000 s"),
        ("1 2 3 0 0 0 1\n", r"t: lines of 7 numbers do not tell their axes: say --trajectory-axes ned"),
        ("1 2 3\n", r"t:1: lines of 3 numbers"),
        ("1 0 0 0 0 1 0 0 0 0 -1 0\n", r"t:1: not a rotation and a translation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n2 0 0 0 0 2 0 0 0 0 2 0\n", r"t:2: not a rotation and a translation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0 1 2 3 1\n", r"t:1: not a rotation and a translation"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n", "--trajectory-rate"),
        ('{"frames": [{"file_path": "a"}]}', r"t: not a transforms\.json \(KeyError"),
        ('{"frames": ', r"t: not a transforms\.json \(JSONDecodeError"),
        ('{"frames": [{"file_path": "a_1", "transform_matrix": [[1, 2], [3, 4]]}]}', "must be 4x4"),
    ],
)
def test_what_is_no_trajectory_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        read(written(tmp_path / "t", text))


def test_files_that_are_not_text_or_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(TrajectoryError, match="a binary file"):
        read(tmp_path / "b")
    with pytest.raises(TrajectoryError, match="no such file or folder"):
        read(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrajectoryError, match="a folder without poses"):
        read(tmp_path / "empty")


def test_another_number_of_poses_than_pictures_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "p.txt", rows_of(walk(3)))
    with pytest.raises(TrajectoryError, match="3 poses for 2 pictures"):
        read(path, times={"a": 0.0, "b": 1.0})


def test_rounded_rotations_are_made_rotations(tmp_path: Path) -> None:
    rounded = np.round(walk(5)[:, :3], 3)
    poses = read(written(tmp_path / "p.txt", rows_of(rounded)), rate=1.0).world_from_camera
    products = poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    np.testing.assert_allclose(products, np.tile(np.eye(3), (5, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(poses[:, :3], rounded, atol=2e-3)


# ---------------------------------------------------------------------------------------------------------- real files


def depth_png(path: Path) -> np.ndarray:
    """Millimetres, 0 and 65535 unknown."""
    raw = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED).astype(np.float32)
    return np.where((raw == 0) | (raw == 65535), np.float32(np.nan), raw / 1000)


def disagreement(depth: np.ndarray, other: np.ndarray, other_from_camera: np.ndarray, camera: Intrinsics) -> float:
    """Median relative difference between depth carried into another picture and the depth there."""
    points = transform(other_from_camera, unproject(depth, camera).reshape(-1, 3).astype(float))
    with np.errstate(invalid="ignore"):
        column, row = np.floor(project(points, camera)).T
        inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    there = other[row[inside].astype(int), column[inside].astype(int)]
    error = np.abs(points[inside, 2] - there) / there
    return float(np.nanmedian(error)) if np.isfinite(error).any() else np.inf


REAL = {
    # poses, depth maps, calibration, size (h, w), frames apart, largest median (NOTES.md: 0.68 %, 0.28 %, 0.10 %)
    "7scenes": (
        "7scenes_redkitchen_a/depth_in_color",
        "7scenes_redkitchen_a/depth_in_color/*.depth.png",
        None,
        6,
        0.008,
    ),
    "hololens": ("hololens_dvmvs_a/poses.txt", "hololens_dvmvs_a/depth/*.png", "hololens_dvmvs_a/K.txt", 5, 0.004),
    "tartanair": (
        "tartanair_hospital_a/poses_c2w_opencv.txt",
        "tartanair_hospital_a/depth_left/*.png",
        "tartanair_hospital_a/K.txt",
        5,
        0.002,
    ),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_poses_carry_depth_from_picture_to_picture(shared: Path, name: str) -> None:
    poses, pattern, calibration, apart, limit = REAL[name]
    data = shared / "data"
    files = sorted(data.glob(pattern))
    times = {file.name.split(".")[0]: float(number) for number, file in enumerate(files)}
    trajectory = read_trajectory(data / poses, times_by_name=times, rate=None)
    assert len(trajectory.times) == len(files)
    first, other = (depth_png(files[number]) for number in (0, apart))
    camera = Intrinsics(525.0, 525.0, 320.5, 238.5, 640, 480)
    if calibration:
        camera = read_intrinsics(data / calibration, first.shape)
    world_from_first, world_from_other = trajectory.world_from_camera[[0, apart]]
    assert disagreement(first, other, inverse(world_from_other) @ world_from_first, camera) < limit
    assert disagreement(first, other, world_from_other @ inverse(world_from_first), camera) > 5 * limit


@pytest.mark.shared
def test_real_kitti_poses_drive_forward(shared: Path) -> None:
    poses = read_trajectory(shared / "data" / "kitti_odometry_a" / "poses.txt", times_by_name={}, rate=10.0)
    assert (len(poses.times), poses.times[-1]) == (28, pytest.approx(2.7))
    steps = np.array(
        [inverse(a) @ b for a, b in zip(poses.world_from_camera, poses.world_from_camera[1:], strict=False)]
    )
    assert (steps[:, 2, 3] > 0.9).all()
    assert (np.abs(steps[:, :2, 3]) < 0.1).all()


@pytest.mark.shared
def test_real_poses_in_ned_axes_are_not_taken_for_something_else(shared: Path) -> None:
    with pytest.raises(TrajectoryError, match=r"pose_left_NED\.txt: lines of 7 numbers.*--trajectory-axes ned"):
        read_trajectory(shared / "data" / "tartanair_hospital_a" / "pose_left_NED.txt", times_by_name={}, rate=30.0)
