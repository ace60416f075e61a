"""Readers of data sets, each on a tiny tree in its official layout and on the real samples of the workshop.

What proves units, axes and calibration at once: the depth of one frame, carried into another one by the poses, is what
the other one says. The scene of the tiny trees is a wall that is not square to any axis.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.errors import CameraError, FormatError, ReconError, TrajectoryError
from recon.evaluation.datasets import (
    arkit,
    diode,
    dvmvs,
    eth3d,
    folder,
    kitti_object,
    record3d,
    sevenscenes,
    tartanair,
    tum,
)
from recon.evaluation.datasets.sequences import associated, nearest_depth, png_size, sequences, table
from recon.evaluation.protocol import CORRECTED, VDA_RELEASED
from recon.evaluation.truth import ClipSource, DataSet, Reading, TruthClip
from recon.geometry import inverse, project, rigid, transform, unproject
from recon.io.depth import read_depth_map
from recon.types import DepthMap, Intrinsics, RigidTransform

MODULES = (arkit, diode, dvmvs, eth3d, folder, kitti_object, record3d, sevenscenes, tartanair, tum)
DATA_SETS = {each.name: each for module in MODULES for each in module.DATA_SETS}
READING, RELEASED = Reading(CORRECTED), Reading(VDA_RELEASED)
VGA = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
SMALL = Intrinsics(60.0, 62.0, 31.0, 25.0, 64, 48)
NORMAL, DISTANCE = np.array([0.3, -0.2, 0.933]), 3.0
"""The wall: all points with NORMAL . point = DISTANCE."""


def pose(number: float) -> RigidTransform:
    """world_from_camera, OpenCV axes: a camera that moves and turns."""
    turn = Rotation.from_rotvec(np.array([0.05, -0.08, 0.06]) * number).as_matrix()
    return rigid(turn, np.array([0.2, -0.1, 0.15]) * number)


def wall(camera: Intrinsics, world_from_camera: RigidTransform) -> DepthMap:
    """Depth of the wall: NORMAL . (R ray z + t) = DISTANCE, solved for z."""
    rays = unproject(np.ones((camera.height, camera.width), np.float32), camera).astype(np.float64)
    across = rays @ (world_from_camera[:3, :3].T @ NORMAL)
    return ((DISTANCE - NORMAL @ world_from_camera[:3, 3]) / across).astype(np.float32)


def write_png(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)
    return path


def write_depth(path: Path, depth: np.ndarray, scale: float) -> Path:
    return write_png(path, np.rint(np.nan_to_num(depth) * scale).astype(np.uint16))


def write_picture(path: Path, size: tuple[int, int] = (48, 64), rgb: tuple[int, int, int] = (200, 100, 50)) -> Path:
    return write_png(path, np.full((*size, 3), rgb[::-1], np.uint8))


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_rows(path: Path, rows: Sequence[Sequence[float]]) -> Path:
    return write_text(path, "\n".join(" ".join(repr(float(value)) for value in row) for row in rows) + "\n")


def quaternion_row(world_from_camera: RigidTransform) -> list[float]:
    """tx ty tz qx qy qz qw."""
    return [*world_from_camera[:3, 3], *Rotation.from_matrix(world_from_camera[:3, :3]).as_quat()]


def clips(name: str, root: Path, reading: Reading = READING) -> Sequence[TruthClip]:
    return DATA_SETS[name].clips(root, reading)


def only(name: str, root: Path, reading: Reading = READING) -> TruthClip:
    (clip,) = clips(name, root, reading)
    return clip


def depth_of(clip: TruthClip, number: int) -> DepthMap:
    path = clip.frames[number].depth
    assert path is not None
    return clip.read_depth(path)


def disagreement(clip: TruthClip, a: int, b: int) -> float:
    """Median of |z - z'| / z' in per cent: z of frame a carried into b, z' read at the pixel where it falls."""
    depth, camera, other, target = depth_of(clip, a), clip.cameras[a], depth_of(clip, b), clip.cameras[b]
    target_from_camera = inverse(target.world_from_camera) @ camera.world_from_camera
    points = transform(target_from_camera, unproject(depth, camera.intrinsics).reshape(-1, 3))
    x, y = project(points, target.intrinsics).T
    inside = (x >= 0) & (x < other.shape[1]) & (y >= 0) & (y < other.shape[0])
    there = other[y[inside].astype(int), x[inside].astype(int)]
    assert np.isfinite(there).sum() > 0.3 * other.size  # else the median says nothing
    return 100 * float(np.nanmedian(np.abs(points[inside, 2] - there) / there))


# ---------------------------------------------------------------------------------------------------------- all of them


def test_names_are_unique_and_descriptions_are_one_line() -> None:
    assert len(DATA_SETS) == sum(len(module.DATA_SETS) for module in MODULES)
    assert {"tum", "7scenes", "tartanair", "hololens", "arkit", "record3d", "diode", "eth3d", "kitti-object"} < set(
        DATA_SETS
    )
    assert not [each.name for each in DATA_SETS.values() if "\n" in each.about + each.layout]


@pytest.mark.parametrize("data_set", DATA_SETS.values(), ids=DATA_SETS)
def test_a_folder_without_data_is_refused_in_one_line(data_set: DataSet, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        data_set.clips(tmp_path / "missing", READING)
    with pytest.raises(FormatError, match=r"no .* here or \d levels below") as error:
        data_set.clips(tmp_path, READING)
    assert data_set.layout in str(error.value)
    assert "\n" not in str(error.value)


def test_the_released_protocol_swaps_red_and_blue(tmp_path: Path) -> None:
    kitti_object_tree(tmp_path)
    for reading, expected in ((READING, [200, 100, 50]), (RELEASED, [50, 100, 200])):
        clip = only("kitti-object", tmp_path, reading)
        assert clip.read_picture(clip.frames[0].picture)[0, 0].tolist() == expected


# -------------------------------------------------------------------------------------------------------------- helpers


def test_each_row_is_associated_once_and_the_nearest_first() -> None:
    assert associated([0.0, 0.010, 0.100], [0.008, 0.130], 0.02) == [None, 0, None]
    assert associated([0.0, 0.010], [0.001, 0.002], 0.02) == [0, 1]
    assert associated([], [1.0], 0.02) == []
    assert associated([1.0], [], 0.02) == [None]


@given(
    st.lists(st.integers(0, 200), unique=True, max_size=20).map(sorted),
    st.lists(st.integers(0, 200), unique=True, max_size=20).map(sorted),
)
def test_what_is_left_out_by_association_is_out_of_reach(times: list[int], others: list[int]) -> None:
    rows = associated([float(time) for time in times], [float(time) for time in others], 5.0)
    taken = [row for row in rows if row is not None]
    assert len(set(taken)) == len(taken)
    free = [other for row, other in enumerate(others) if row not in taken]
    for time, row in zip(times, rows, strict=True):
        if row is None:
            assert all(abs(time - other) > 5 for other in free)
        else:
            assert abs(time - others[row]) <= 5


def test_sequences_are_the_root_or_the_nearest_below_it_in_natural_order(tmp_path: Path) -> None:
    for name in ("b10", "b9", "b9/deeper"):
        write_text(tmp_path / name / "mark.txt", "")
    assert [path.name for path in sequences(tmp_path, "mark.*", levels=2, expected="")] == ["b9", "b10"]
    assert sequences(tmp_path / "b9", "mark.*", levels=2, expected="") == [tmp_path / "b9"]
    with pytest.raises(FormatError, match="a mark, please"):
        sequences(tmp_path, "other", levels=2, expected="a mark, please")


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_header_of_a_png_tells_its_size(height: int, width: int) -> None:
    _, code = cv2.imencode(".png", np.zeros((height, width), np.uint16))
    with NamedTemporaryFile(suffix=".png") as file:
        file.write(code.tobytes())
        file.flush()
        assert png_size(Path(file.name)) == (height, width)


def test_of_points_on_one_pixel_the_nearest_counts() -> None:
    positions = np.array([[0.2, 0.9], [0.8, 0.1], [1.0, 0.5], [-0.1, 0.5], [2.0, 0.5], [np.nan, np.nan]])
    depth = nearest_depth(positions, np.array([5.0, 3.0, 7.0, 1.0, 1.0, 1.0]), (2, 2))
    np.testing.assert_array_equal(depth, np.array([[3.0, 7.0], [np.nan, np.nan]], np.float32))


@pytest.mark.parametrize("text", ["", "1 2\n1\n", "1 x\n", "1 nan\n", "1 2 3\n"], ids=repr)
def test_a_table_of_something_else_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"lines of a b|holds a b"):
        table(write_text(tmp_path / "table.txt", text), "a b")


# ------------------------------------------------------------------------------------------------------------ TUM RGB-D


def tum_tree(folder_: Path) -> Path:
    """Three pictures; the depth maps are 5, 15 and 25 ms late; poses every 10 ms, on the wall's clock."""
    start, lens = 1305031102.0, Intrinsics(517.3, 516.5, 319.1, 255.8, 640, 480)
    times = [start, start + 0.1, start + 0.2]
    lists: dict[str, list[str]] = {"rgb": ["# color images"], "depth": ["# depth maps"]}
    for number, time in enumerate(times):
        late = time + 0.005 + 0.01 * number
        write_picture(folder_ / f"rgb/{time:.6f}.png", (480, 640))
        write_depth(folder_ / f"depth/{late:.6f}.png", wall(lens, pose(number)), 5000)
        lists["rgb"].append(f"{time:.6f} rgb/{time:.6f}.png")
        lists["depth"].append(f"{late:.6f} depth/{late:.6f}.png")
    for name, lines in lists.items():
        write_text(folder_ / f"{name}.txt", "\n".join(lines) + "\n")
    steps = np.arange(-0.05, 2.06, 0.1)
    rows = [[start + step / 10, *quaternion_row(pose(step))] for step in steps]
    lines = [" ".join(f"{value:.7f}" for value in row) for row in rows]
    write_text(folder_ / "groundtruth.txt", "# ground truth trajectory\n" + "\n".join(lines) + "\n")
    return folder_


def test_tum_pairs_by_time_and_interpolates_poses(tmp_path: Path) -> None:
    tum_tree(tmp_path / "rgbd_dataset_freiburg1_wall")
    clip = only("tum", tmp_path)
    assert clip.name == "rgbd_dataset_freiburg1_wall"
    assert clip.max_depth == 10
    assert clip.one_gauge
    assert [frame.time for frame in clip.frames] == pytest.approx([0, 0.1, 0.2], abs=1e-6)
    assert clip.scored == [0, 1]  # the third map is 25 ms late
    for number in range(3):
        np.testing.assert_allclose(clip.cameras[number].world_from_camera, pose(number), atol=1e-5)
    assert disagreement(clip, 0, 1) < 0.1
    np.testing.assert_allclose(depth_of(clip, 1), wall(clip.cameras[1].intrinsics, pose(1)), atol=1.01e-4)
    assert ClipSource(clip).info.rate == pytest.approx(10)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("rgbd_dataset_freiburg1_desk", (517.3, 516.5, 318.6, 255.3)),
        ("rgbd_dataset_freiburg2_desk", (520.9, 521.0, 325.1, 249.7)),
        ("rgbd_dataset_freiburg3_office", (535.4, 539.2, 320.1, 247.6)),
        ("mine", (525.0, 525.0, 319.5, 239.5)),
    ],
)
def test_tum_has_the_published_intrinsics_moved_to_the_corner(
    name: str, published: tuple[float, ...], tmp_path: Path
) -> None:
    camera = only("tum", tum_tree(tmp_path / name)).cameras[0].intrinsics
    found = (camera.fx, camera.fy, camera.cx - 0.5, camera.cy - 0.5)
    assert found == pytest.approx(published)


def test_tum_says_what_is_missing(tmp_path: Path) -> None:
    folder_ = tum_tree(tmp_path / "a")
    (folder_ / "groundtruth.txt").unlink()
    with pytest.raises(FormatError, match=r"groundtruth\.txt"):
        clips("tum", folder_)
    next((folder_ / "rgb").iterdir()).unlink()
    with pytest.raises(FormatError, match="there is no such file"):
        clips("tum", folder_)
    write_text(folder_ / "rgb.txt", "# nothing\n")
    with pytest.raises(FormatError, match="lists no picture"):
        clips("tum", folder_)


# ------------------------------------------------------------------------------------------------------------- 7-Scenes

KINECT = Intrinsics(585.0, 585.0, 320.5, 240.5, 640, 480)


def sevenscenes_tree(folder_: Path, depths: Sequence[DepthMap]) -> Path:
    for number, depth in enumerate(depths):
        stem = folder_ / f"frame-{number:06d}"
        write_picture(stem.with_suffix(".color.png"), (480, 640))
        write_depth(stem.with_suffix(".depth.png"), depth, 1000)
        write_rows(stem.with_suffix(".pose.txt"), pose(number).tolist())
    return folder_


def test_sevenscenes_carries_depth_and_poses_into_the_colour_camera(tmp_path: Path) -> None:
    sevenscenes_tree(tmp_path / "chess/seq-01", [wall(KINECT, pose(number)) for number in range(2)])
    clip = only("7scenes", tmp_path / "chess")
    assert clip.name == "seq-01"
    assert [frame.name for frame in clip.frames] == ["frame-000000.color", "frame-000001.color"]
    color = clip.cameras[1]
    # The colour camera stands 25 mm to the right of the depth camera: its centre in the world.
    np.testing.assert_allclose(color.world_from_camera[:3, 3], (pose(1) @ [0.025, 0, 0, 1])[:3], atol=1e-12)
    truth = wall(color.intrinsics, color.world_from_camera)
    depth = depth_of(clip, 1)
    known = np.isfinite(depth)
    assert known[100:400, 120:520].all()  # points lie denser than pixels: no holes
    assert np.median(np.abs(depth - truth)[known] / truth[known]) < 1e-3
    assert disagreement(clip, 0, 1) < 0.2


def test_sevenscenes_moves_what_is_near_farther(tmp_path: Path) -> None:
    depth = np.full((480, 640), 4.0, np.float32)
    depth[200:280, 300:340] = 1.0
    clip = only("7scenes", sevenscenes_tree(tmp_path / "seq-02", [depth]))
    rows, columns = np.nonzero(depth_of(clip, 0) == 1.0)
    # Column c of the depth camera becomes 525 / 585 (c - 320) - 525 * 0.025 / z + 320, row r 525 / 585 (r - 240) + 238.
    assert columns.min() == round(525 / 585 * (300 - 320) - 13.125 + 320)
    assert columns.max() == round(525 / 585 * (339 - 320) - 13.125 + 320)
    assert rows.min() == round(525 / 585 * (200 - 240) + 238)
    assert rows.max() == round(525 / 585 * (279 - 240) + 238)
    hole = np.isnan(depth_of(clip, 0))[238]
    assert 8 <= hole[280:340].sum() <= 11  # 525 * 0.025 (1/1 - 1/4) px: what the depth camera cannot see; unknown


def test_sevenscenes_as_released_is_taken_as_it_is(tmp_path: Path) -> None:
    depth = wall(KINECT, pose(0))
    depth[:5] = np.nan
    clip = only("7scenes", sevenscenes_tree(tmp_path / "seq-01", [depth]), RELEASED)
    np.testing.assert_allclose(depth_of(clip, 0), depth, atol=5.1e-4)
    assert clip.cameras[0].intrinsics == KINECT
    np.testing.assert_allclose(clip.cameras[0].world_from_camera, pose(0), atol=1e-12)


def test_sevenscenes_refuses_depth_of_another_size(tmp_path: Path) -> None:
    clip = only("7scenes", sevenscenes_tree(tmp_path / "seq-01", [wall(SMALL, pose(0))]))
    with pytest.raises(FormatError, match="640 x 480"):
        depth_of(clip, 0)


@pytest.mark.shared
def test_sevenscenes_on_the_red_kitchen(shared: Path) -> None:
    root = shared / "data/7scenes_redkitchen_a"
    clip = only("7scenes", root)
    assert (clip.name, len(clip.frames), len(clip.cameras)) == ("frames", 150, 150)
    assert disagreement(clip, 0, 1) < 0.35
    assert disagreement(clip, 20, 50) < 1
    shares, differences = [], []
    for number in (0, 70, 145):
        name = clip.frames[number].name.split(".")[0]
        given = read_depth_map(root / f"depth_in_color/{name}.depth.png", scale=1000.0)
        ours = depth_of(clip, number)
        both = np.isfinite(given) & np.isfinite(ours)
        shares.append((np.isfinite(given) == np.isfinite(ours)).mean())
        differences.append(np.abs(given - ours)[both] / given[both])
        pose_given = np.loadtxt(root / f"depth_in_color/{name}.pose.txt")
        # The data set's rotations are 6e-5 away from orthonormal; ours are freed of that.
        np.testing.assert_allclose(clip.cameras[number].world_from_camera, pose_given, atol=1e-4)
    every = np.concatenate(differences)
    assert min(shares) > 0.98
    assert np.median(every) == 0
    assert (every < 0.01).mean() > 0.97


# ------------------------------------------------------------------------------------------------------------ TartanAir

TARTAN = Intrinsics(320.0, 320.0, 320.0, 240.0, 640, 480)
NED_FROM_OPENCV = np.array([[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]], np.float64)


def tartanair_tree(folder_: Path) -> Path:
    for number in range(2):
        write_picture(folder_ / f"image_left/{number:06d}_left.png", (480, 640))
        path = folder_ / f"depth_left/{number:06d}_left_depth.npy"
        path.parent.mkdir(exist_ok=True)
        np.save(path, wall(TARTAN, pose(number)))
    poses = [pose(number) @ NED_FROM_OPENCV.T for number in range(2)]
    write_rows(folder_ / "pose_left.txt", [quaternion_row(each) for each in poses])
    return folder_


def test_tartanair_turns_its_axes(tmp_path: Path) -> None:
    tartanair_tree(tmp_path / "abandonedfactory/Easy/P000")
    clip = only("tartanair", tmp_path)
    assert clip.name == "abandonedfactory_Easy_P000"
    assert [frame.name for frame in clip.frames] == ["000000_left", "000001_left"]
    np.testing.assert_allclose(clip.cameras[1].world_from_camera, pose(1), atol=1e-12)
    np.testing.assert_array_equal(depth_of(clip, 1), wall(TARTAN, pose(1)))
    assert disagreement(clip, 0, 1) < 0.2
    write_rows(tmp_path / "abandonedfactory/Easy/P000/pose_left.txt", [quaternion_row(pose(0))])
    with pytest.raises(FormatError, match="1 poses for 2 pictures"):
        clips("tartanair", tmp_path)


@pytest.mark.shared
def test_tartanair_on_the_hospital(shared: Path) -> None:
    root = shared / "data/tartanair_hospital_a"
    clip = only("tartanair", root)
    assert (len(clip.frames), len(clip.scored), len(clip.cameras)) == (80, 80, 80)
    converted = np.loadtxt(root / "poses_c2w_opencv.txt").reshape(-1, 4, 4)
    poses = np.stack([clip.cameras[number].world_from_camera for number in range(80)])
    np.testing.assert_allclose(poses, converted, atol=1e-6)
    exact = np.load(root / "original_float_depth/000020_left_depth.npy")
    np.testing.assert_allclose(depth_of(clip, 0), exact, atol=5.1e-4)
    assert disagreement(clip, 0, 1) < 0.15
    assert disagreement(clip, 0, 20) < 0.3


# ------------------------------------------------------------------------------------------------------------- HoloLens


def hololens_tree(folder_: Path) -> Path:
    for number in range(3):
        write_picture(folder_ / f"images/{number + 3:05d}.png")
        write_depth(folder_ / f"depth/{number + 3:05d}.png", wall(SMALL, pose(number)), 1000)
    (folder_ / "depth/00004.png").unlink()
    write_rows(folder_ / "poses.txt", [pose(number).ravel() for number in range(3)])
    write_rows(folder_ / "K.txt", [[60, 0, 30.5], [0, 62, 24.5], [0, 0, 1]])
    return folder_


def test_pictures_none_of_which_has_depth_are_refused(tmp_path: Path) -> None:
    hololens_tree(tmp_path)
    write_depth(tmp_path / "depth/other.png", wall(SMALL, pose(0)), 1000)
    for name in ("00003", "00005"):
        (tmp_path / f"depth/{name}.png").unlink()
    with pytest.raises(FormatError, match="none of its 3 pictures has a depth map"):
        clips("hololens", tmp_path)


def test_hololens_in_the_layout_of_deep_video_mvs(tmp_path: Path) -> None:
    hololens_tree(tmp_path / "000")
    clip = only("hololens", tmp_path)
    assert clip.name == "000"
    assert clip.scored == [0, 2]  # of 00004 there is no depth
    assert clip.cameras[2].intrinsics == SMALL
    np.testing.assert_allclose(clip.cameras[2].world_from_camera, pose(2), atol=1e-12)
    assert disagreement(clip, 0, 2) < 0.5
    (tmp_path / "000/K.txt").write_text("nothing\n")
    with pytest.raises(CameraError):
        clips("hololens", tmp_path)


@pytest.mark.shared
def test_hololens_on_the_office_kitchen(shared: Path) -> None:
    clip = only("hololens", shared / "data/hololens_dvmvs_a")
    assert (len(clip.frames), len(clip.cameras)) == (45, 45)
    assert disagreement(clip, 10, 11) < 0.3
    assert disagreement(clip, 10, 15) < 0.4
    assert 0.5 < np.isfinite(depth_of(clip, 0)).mean() < 0.9


# ---------------------------------------------------------------------------------------------------------- ARKitScenes


def arkit_tree(folder_: Path) -> Path:
    """The poses of ``lowres_wide.traj`` take the world to the camera."""
    video = folder_.name
    rows = []
    for number in range(3):
        name = f"{video}_{6845.5 + number / 10:.3f}"
        write_picture(folder_ / f"lowres_wide/{name}.png")
        write_depth(folder_ / f"lowres_depth/{name}.png", wall(SMALL, pose(number)), 1000)
        late = f"{video}_{6845.501 + number / 10:.3f}"  # names of intrinsics may be a millisecond off
        write_text(folder_ / f"lowres_wide_intrinsics/{late}.pincam", "64 48 60.0 62.0 31.0 25.0\n")
        camera_from_world = inverse(pose(number))
        turn = Rotation.from_matrix(camera_from_world[:3, :3]).as_rotvec()
        rows.append([6845.5 + number / 10, *turn, *camera_from_world[:3, 3]])
    sure = np.full((48, 64), 2, np.uint8)
    sure[:, :10] = 0
    write_png(folder_ / f"confidence/{video}_6845.500.png", sure)
    write_rows(folder_ / "lowres_wide.traj", rows)
    return folder_


def test_arkit_reads_world_to_camera_and_leaves_out_what_is_not_sure(tmp_path: Path) -> None:
    arkit_tree(tmp_path / "Validation/41069021")
    clip = only("arkit", tmp_path)
    assert clip.name == "Validation_41069021"
    assert [frame.time for frame in clip.frames] == pytest.approx([0, 0.1, 0.2])
    for number in range(3):
        np.testing.assert_allclose(clip.cameras[number].world_from_camera, pose(number), atol=1e-9)
        assert clip.cameras[number].intrinsics == SMALL
    assert np.isnan(depth_of(clip, 0)[:, :10]).all()
    assert np.isfinite(depth_of(clip, 0)[:, 10:]).all()
    assert np.isfinite(depth_of(clip, 1)).all()
    assert disagreement(clip, 1, 2) < 0.5


def test_arkit_tells_which_names_hold_no_time(tmp_path: Path) -> None:
    write_picture(arkit_tree(tmp_path / "41069021") / "lowres_wide/picture.png")
    with pytest.raises(FormatError, match="does not end in _<seconds>"):
        clips("arkit", tmp_path)


@pytest.mark.shared
def test_arkit_pair_has_depth_smaller_than_its_picture(shared: Path) -> None:
    clip = only("arkit-pairs", shared / "data/arkit_promptda")
    depth = depth_of(clip, 0)
    assert not clip.one_gauge
    assert clip.read_picture(clip.frames[0].picture).shape == (1440, 1920, 3)
    assert depth.shape == (192, 256)
    assert (depth.min(), np.median(depth), depth.max()) == pytest.approx((1.566, 2.654, 3.512), abs=1e-3)


# ------------------------------------------------------------------------------------------------------------- Record3D


def record3d_tree(folder_: Path, **changes: Any) -> Path:
    """Poses in ARKit's axes, K by columns for pictures of twice the size of the depth maps."""
    openexr = pytest.importorskip("OpenEXR")
    flip = np.diag([1.0, -1.0, -1.0, 1.0])
    poses = []
    for number in range(11):
        write_picture(folder_ / f"rgb/{number}.jpg", (96, 128))
        depth = wall(SMALL, pose(number))
        depth[0, 0] = np.nan
        path = folder_ / f"depth/{number}.exr"
        path.parent.mkdir(exist_ok=True)
        openexr.File({"compression": openexr.ZIP_COMPRESSION}, {"R": depth}).write(str(path))
        row = quaternion_row(pose(number) @ flip)
        poses.append([*row[3:], *row[:3]])
    metadata = {"w": 128, "h": 96, "fps": 60, "K": [120, 0, 0, 0, 124, 0, 62, 50, 1], "poses": poses, **changes}
    write_text(folder_ / "metadata.json", json.dumps(metadata))
    return folder_


def test_record3d_turns_axes_and_scales_intrinsics(tmp_path: Path) -> None:
    record3d_tree(tmp_path / "2024-01-01/EXR_RGBD", initPose=[0, 0, 0, 1, 0, 0, 0])
    clip = only("record3d", tmp_path)
    assert clip.name == "2024-01-01_EXR_RGBD"
    assert [frame.name for frame in clip.frames] == [str(number) for number in range(11)]  # 10 after 9, not after 1
    assert clip.frames[10].time == pytest.approx(1 / 6)
    assert clip.cameras[10].intrinsics == SMALL
    np.testing.assert_allclose(clip.cameras[10].world_from_camera, pose(10), atol=1e-12)
    assert np.isnan(depth_of(clip, 1)[0, 0])
    assert disagreement(clip, 1, 3) < 0.5


def test_record3d_takes_times_and_intrinsics_of_each_picture_where_they_are(tmp_path: Path) -> None:
    stamps = [5 + number / 30 for number in range(11)]
    coefficients = [[120 + number, 124, 62, 50] for number in range(11)]
    clip = only("record3d", record3d_tree(tmp_path, frameTimestamps=stamps, perFrameIntrinsicCoeffs=coefficients))
    assert clip.frames[3].time == pytest.approx(0.1)
    assert clip.cameras[4].intrinsics.fx == 62.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"K": [1, 2]}, "K: "), ({"poses": []}, "0 poses for 11 pictures"), ({"fps": 0}, "fps: ")],
    ids=["K", "poses", "fps"],
)
def test_record3d_says_what_is_wrong(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    record3d_tree(tmp_path, **changes)
    with pytest.raises(FormatError, match=message):
        clips("record3d", tmp_path)


def test_record3d_asks_for_the_other_export(tmp_path: Path) -> None:
    (tmp_path / "rgbd").mkdir()
    with pytest.raises(FormatError, match=r"export it as EXR \+ JPG"):
        clips("record3d", tmp_path)
    with pytest.raises(FormatError, match=r"export it as EXR \+ JPG"):
        clips("record3d", tmp_path / "clip.r3d")


# ---------------------------------------------------------------------------------------------------------------- DIODE


def diode_tree(root: Path) -> Path:
    for kind, scene in (("indoors", 19), ("outdoor", 22)):
        for number in range(2):
            stem = root / f"{kind}/scene_{scene:05d}/scan_00183/{scene:05d}_00183_{kind}_000_{number:03d}"
            write_picture(stem.with_suffix(".png"))
            np.save(f"{stem}_depth.npy", np.full((48, 64, 1), 2.0 + number, np.float32))
            mask = np.ones((48, 64), np.float32)
            mask[:, :7] = 0
            np.save(f"{stem}_depth_mask.npy", mask)
    return root


def test_diode_takes_all_pictures_of_a_split_and_what_the_mask_allows(tmp_path: Path) -> None:
    diode_tree(tmp_path / "val")
    clip = only("diode", tmp_path)
    assert clip.name == "val_indoors_outdoor"
    assert [frame.name[6:20] for frame in clip.frames] == ["00183_indoors_"] * 2 + ["00183_outdoor_"] * 2
    assert len({frame.name for frame in clip.frames}) == 4
    assert (clip.one_gauge, clip.max_depth, len(clip.cameras)) == (False, 350.0, 0)
    depth = depth_of(clip, 1)
    assert np.isnan(depth[:, :7]).all()
    assert (depth[:, 7:] == 3.0).all()
    assert [len(only(f"diode-{kind}", tmp_path / "val").frames) for kind in ("indoors", "outdoor")] == [2, 2]


def test_diode_needs_masks(tmp_path: Path) -> None:
    clip = only("diode", diode_tree(tmp_path))
    for path in tmp_path.rglob("*_depth_mask.npy"):
        path.unlink()
    with pytest.raises(FormatError, match="its mask"):
        depth_of(clip, 0)


# ---------------------------------------------------------------------------------------------------------------- ETH3D


def eth3d_tree(root: Path, *, calibrated: bool) -> Path:
    scene = root / "courtyard"
    write_picture(scene / "images/dslr_images/DSC_0286.JPG", (48, 64))
    values = np.full((48, 64), np.inf, np.float32)
    values[10:, 20:] = np.arange(38 * 44, dtype=np.float32).reshape(38, 44) / 100 + 1
    path = scene / "ground_truth_depth/dslr_images/DSC_0286.JPG"
    path.parent.mkdir(parents=True)
    values.tofile(path)
    if calibrated:
        numbers = "60 62 31 25 0 0 0 0 0 0 0 0"
        write_text(scene / "dslr_calibration_jpg/cameras.txt", f"# cameras\n0 THIN_PRISM_FISHEYE 64 48 {numbers}\n")
        (scene / "images/dslr_images/DSC_0286.JPG").write_bytes(b"not needed for its size")
    return root


@pytest.mark.parametrize("calibrated", [True, False], ids=["calibrated", "decoded"])
def test_eth3d_reads_raw_floats_of_the_size_of_the_picture(calibrated: bool, tmp_path: Path) -> None:  # noqa: FBT001
    clip = only("eth3d", eth3d_tree(tmp_path, calibrated=calibrated))
    assert (clip.name, clip.one_gauge, clip.max_depth) == ("courtyard", False, 72.0)
    depth = depth_of(clip, 0)
    assert depth.shape == (48, 64)
    assert np.isnan(depth[:10]).all()
    assert np.isnan(depth[:, :20]).all()
    assert depth[10, 20] == 1
    assert depth[47, 63] == np.float32(1 + (38 * 44 - 1) / 100)


def test_eth3d_refuses_depth_of_another_size(tmp_path: Path) -> None:
    clip = only("eth3d", eth3d_tree(tmp_path, calibrated=False))
    path = clip.frames[0].depth
    assert path is not None
    path.write_bytes(struct.pack("<3f", 1, 2, 3))
    with pytest.raises(FormatError, match="3 values for a picture of 64 x 48"):
        clip.read_depth(path)


# --------------------------------------------------------------------------------------------------------- KITTI object


def kitti_object_tree(root: Path) -> Path:
    """A camera that looks along the lidar's x; a point 10 m ahead, one behind it, one farther on the same ray."""
    write_picture(root / "training/image_2/000007.png", (48, 64))
    calibration = {
        "P2": [60, 0, 30, 6, 0, 60, 24, 0, 0, 0, 1, 0],
        "R0_rect": [1, 0, 0, 0, 1, 0, 0, 0, 1],
        "Tr_velo_to_cam": [0, -1, 0, 0, 0, 0, -1, 0, 1, 0, 0, 0],
    }
    lines = [f"{name}: {' '.join(f'{value:e}' for value in values)}" for name, values in calibration.items()]
    write_text(root / "training/calib/000007.txt", "\n".join(lines) + "\n\n")
    points = np.array([[10, -1, 0.5, 0.3], [-10, -1, 0.5, 0.3], [20, -2.1, 1, 0.3], [100, 80, 0, 0.1]], "<f4")
    path = root / "training/velodyne/000007.bin"
    path.parent.mkdir(parents=True)
    points.tofile(path)
    return root


def test_kitti_object_projects_the_lidar(tmp_path: Path) -> None:
    clip = only("kitti-object", kitti_object_tree(tmp_path))
    assert (clip.name, clip.one_gauge, clip.max_depth) == ("training", False, 80.0)
    depth = depth_of(clip, 0)
    assert depth.shape == (48, 64)
    # camera: x = 1, y = -0.5, z = 10; column (60 * 1 + 6) / 10 + 30 = 36.6, row 60 * -0.5 / 10 + 24 = 21
    assert np.argwhere(np.isfinite(depth)).tolist() == [[21, 37]]
    assert depth[21, 37] == 10


def test_kitti_object_says_what_is_wrong(tmp_path: Path) -> None:
    clip = only("kitti-object", kitti_object_tree(tmp_path))
    (tmp_path / "training/velodyne/000007.bin").write_bytes(b"12345")
    with pytest.raises(FormatError, match="rows of x, y, z, reflectance"):
        depth_of(clip, 0)
    write_text(tmp_path / "training/calib/000007.txt", "P2: 1 2 3\n")
    with pytest.raises(FormatError, match="needs P2, R0_rect and Tr_velo_to_cam"):
        depth_of(clip, 0)


@pytest.mark.shared
def test_kitti_object_on_two_streets(shared: Path) -> None:
    clip = only("kitti-object", shared / "data/kitti_object_a")
    assert [frame.name for frame in clip.frames] == ["000001", "000002"]
    for number, (points, low, high) in enumerate([(18630, 5.5, 54.6), (20210, 4.8, 67.3)]):
        depth = depth_of(clip, number)
        assert depth.shape == clip.read_picture(clip.frames[number].picture).shape[:2]
        assert 0.99 * points < np.isfinite(depth).sum() <= points  # some fall on one pixel
        assert np.nanpercentile(depth, [1, 99]) == pytest.approx([low, high], abs=0.1)


# --------------------------------------------------------------------------------------------------------------- folder


def folder_tree(root: Path, *, names: Sequence[str] = ("a.depth", "b.depth"), pictures: str = "rgb") -> Path:
    for number, name in enumerate("abc"):
        write_picture(root / f"{pictures}/{name}.color.png")
        if number < len(names):
            write_depth(root / f"depth/{names[number]}.png", wall(SMALL, pose(number)), 256)
    return root


@pytest.mark.parametrize("pictures", ["rgb", "images", "color"])
def test_folder_pairs_by_name_and_leaves_other_pictures_unscored(pictures: str, tmp_path: Path) -> None:
    clip = only("folder", folder_tree(tmp_path / "mine", pictures=pictures), Reading(CORRECTED, 256.0, 20.0))
    assert (clip.name, clip.max_depth, clip.one_gauge, len(clip.cameras)) == ("mine", 20.0, True, 0)
    assert clip.scored == [0, 1]
    np.testing.assert_allclose(depth_of(clip, 1), wall(SMALL, pose(1)), atol=0.51 / 256)
    assert not only("folder-pictures", tmp_path).one_gauge


def test_folder_pairs_by_order_where_names_differ(tmp_path: Path) -> None:
    folder_tree(tmp_path, names=("1", "2", "10"))
    assert [frame.depth.name for frame in only("folder", tmp_path).frames if frame.depth] == [
        "1.png",
        "2.png",
        "10.png",
    ]
    (tmp_path / "depth/2.png").unlink()
    with pytest.raises(FormatError, match="3 pictures and 2 depth maps share no name"):
        clips("folder", tmp_path)


def test_folder_knows_cameras_from_poses_and_intrinsics(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder_tree(tmp_path)
    write_rows(tmp_path / "poses.txt", [pose(number)[:3].ravel() for number in range(3)])
    assert not only("folder", tmp_path).cameras
    assert "of these there is only" in caplog.text
    write_rows(tmp_path / "K.txt", [[60, 0, 30.5], [0, 62, 24.5], [0, 0, 1]])
    clip = only("folder", tmp_path, Reading(CORRECTED, 256.0))
    assert clip.cameras[1].intrinsics == SMALL
    assert disagreement(clip, 0, 1) < 0.5
    write_rows(tmp_path / "poses.txt", [pose(number)[:3].ravel() for number in range(2)])
    with pytest.raises(TrajectoryError, match="2 poses for 3 pictures"):
        clips("folder", tmp_path)


def test_folder_refuses_poses_that_are_not_in_metres(tmp_path: Path) -> None:
    folder_tree(tmp_path)
    write_rows(tmp_path / "K.txt", [[60, 0, 30.5], [0, 62, 24.5], [0, 0, 1]])
    frames = [{"file_path": f"rgb/{name}.color.png", "transform_matrix": np.eye(4).tolist()} for name in "abc"]
    write_text(tmp_path / "transforms.json", json.dumps({"frames": frames}))
    with pytest.raises(ReconError, match="not in metres"):
        clips("folder", tmp_path)


def test_folder_refuses_poses_whose_times_it_cannot_bring_together_with_pictures(tmp_path: Path) -> None:
    folder_tree(tmp_path)
    write_rows(tmp_path / "K.txt", [[60, 0, 30.5], [0, 62, 24.5], [0, 0, 1]])
    write_rows(tmp_path / "trajectory.txt", [[number, *quaternion_row(pose(number))] for number in range(3)])
    with pytest.raises(FormatError, match="poses with times"):
        clips("folder", tmp_path)


def test_folder_tells_names_with_dots_apart(tmp_path: Path) -> None:
    for name in ("1.25", "1.50"):
        write_picture(tmp_path / f"rgb/{name}.png")
        write_depth(tmp_path / f"depth/{name}.png", wall(SMALL, pose(0)), 1000)
    pairs = [(frame.name, frame.depth and frame.depth.stem) for frame in only("folder", tmp_path).frames]
    assert pairs == [("1.25", "1.25"), ("1.50", "1.50")]


@pytest.mark.shared
def test_folder_reads_the_hololens_as_its_own_reader_does(shared: Path) -> None:
    root = shared / "data/hololens_dvmvs_a"
    own, plain = only("hololens", root), only("folder", root)
    assert [frame.depth for frame in own.frames] == [frame.depth for frame in plain.frames]
    for number in (0, 44):
        assert own.cameras[number].intrinsics == plain.cameras[number].intrinsics
        np.testing.assert_allclose(
            own.cameras[number].world_from_camera, plain.cameras[number].world_from_camera, atol=1e-12
        )


@pytest.mark.shared
def test_folder_reads_single_pictures_with_lidar(shared: Path) -> None:
    clip = only("folder-pictures", shared / "data/metric3d_kitti_demo", Reading(CORRECTED, 256.0))
    assert [frame.name for frame in clip.frames] == ["0000000005", "0000000050", "0000000100"]
    for number in range(3):
        depth = depth_of(clip, number)
        assert 0.18 < np.isfinite(depth).mean() < 0.21
        assert np.nanpercentile(depth, [1, 99]) == pytest.approx([6, 66], abs=4)
