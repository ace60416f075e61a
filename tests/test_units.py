"""Metres per unit of a map: from depth of pictures, and from a distance that somebody knows."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import AlignmentError, OptionError
from recon.io.colmap import pinhole, read_cameras, read_images
from recon.io.naming import key_of
from recon.io.sparse import observed, read_sparse
from recon.io.trajectory import read_trajectory
from recon.pipelines.units import (
    MapScale,
    scale_from_depth,
    scale_from_depths,
    scale_from_distance,
    scaled_points,
    scaled_trajectory,
    spread_times,
)
from recon.types import CameraTrajectory, DepthMap, SparsePoints

SIZE = 60, 80


def slanted(near: float, far: float) -> DepthMap:
    """Depth of a plane, metres: near below, far above."""
    column = 1 / np.linspace(1 / far, 1 / near, SIZE[0])
    return np.repeat(column[:, None], SIZE[1], axis=1).astype(np.float32)


def landmarks(depth: DepthMap, unit: float, count: int = 50, *, time: float = 0.0, seed: int = 0) -> SparsePoints:
    """Landmarks of a map whose unit has that many metres, seen in the middle of pixels of that depth."""
    row, column = np.random.default_rng(seed).integers(5, [[SIZE[0] - 5], [SIZE[1] - 5]], (2, count))
    position = np.stack([(column + 0.5) / SIZE[1], (row + 0.5) / SIZE[0]], axis=1)
    seen = depth[row, column].astype(float) / unit
    return SparsePoints(np.zeros((count, 3)), np.full(count, time), np.arange(count), position, seen)


def joined(parts: list[SparsePoints]) -> SparsePoints:
    times, point, position, depth = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("times", "point", "position", "depth")
    )
    return SparsePoints(parts[0].points, times, point, position, depth)


# ---------------------------------------------------------------------------------------------------------- one picture


@given(st.floats(1e-3, 1e3), st.integers(3, 80), st.integers(0, 1000))
def test_the_scale_of_a_known_world_comes_back(unit: float, count: int, seed: int) -> None:
    depth = slanted(1.0, 6.0)
    scale = scale_from_depth(landmarks(depth, unit, count, seed=seed), 0.0, depth, "a sensor")
    assert scale.metres_per_unit == pytest.approx(unit, rel=1e-5)
    assert scale.sigma < 1e-5
    assert scale.origin == f"a sensor, {count} landmarks, 100% of them agree"


@given(st.integers(0, 1000))
def test_a_third_of_the_landmarks_may_be_wrong(seed: int) -> None:
    random = np.random.default_rng(seed)
    depth = slanted(1.0, 6.0)
    seen = landmarks(depth, 0.5, 300, seed=seed)
    noise = np.exp(random.normal(0, 0.02, 300))
    noise[:100] = random.uniform(0.1, 5, 100)
    points = SparsePoints(seen.points, seen.times, seen.point, seen.position, seen.depth / noise)
    scale = scale_from_depth(points, 0.0, depth, "a sensor")
    assert scale.metres_per_unit == pytest.approx(0.5, rel=0.01)
    assert 0.02 < scale.sigma < 0.06


def test_the_error_is_the_scatter_however_many_landmarks_there_are() -> None:
    """Landmarks of one picture err together: ten thousand are no better than a hundred."""
    depth = slanted(1.0, 6.0)
    for count in (100, 10_000):
        seen = landmarks(depth, 0.5, count)
        noise = np.exp(np.random.default_rng(1).normal(0, 0.03, count))
        points = SparsePoints(seen.points, seen.times, seen.point, seen.position, seen.depth * noise)
        assert scale_from_depth(points, 0.0, depth, "a sensor").sigma == pytest.approx(0.03, rel=0.3)


def test_unknown_depth_edges_and_other_pictures_say_nothing() -> None:
    depth = slanted(1.0, 6.0)
    points = joined([landmarks(depth, 99.0, time=-0.1), landmarks(depth, 0.5), landmarks(depth, 99.0, time=1.0)])
    depth[:, :40] = np.nan
    depth[30:, 60:] = 0.0
    known = np.isfinite(depth) & (depth > 0)
    column, row = np.floor(points.position[points.times == 0] * (SIZE[1], SIZE[0])).astype(int).T
    scale = scale_from_depth(points, 0.0, depth, "a sensor")
    assert scale.metres_per_unit == pytest.approx(0.5, rel=1e-5)
    assert f" {np.count_nonzero(known[row, column])} landmarks" in scale.origin


@pytest.mark.parametrize("count", [0, 2])
def test_without_landmarks_there_is_no_scale(count: int) -> None:
    depth = slanted(1.0, 6.0)
    points = joined([landmarks(depth, 0.5, count), landmarks(depth, 0.5, time=2.0)])
    with pytest.raises(AlignmentError, match=rf"^x\.png: of the landmarks .* at 0\.000 s, {count} lie where depth"):
        scale_from_depth(points, 0.0, depth, "x.png")


def test_landmarks_that_contradict_each_other_are_told() -> None:
    depth = slanted(1.0, 6.0)
    seen = landmarks(depth, 0.5, 4)
    wild = SparsePoints(seen.points, seen.times, seen.point, seen.position, seen.depth * [1.0, 10.0, 100.0, 1000.0])
    with pytest.raises(AlignmentError, match=r"^x\.png: the landmarks at 0\.000 s do not agree on a scale"):
        scale_from_depth(wild, 0.0, depth, "x.png")


def test_a_scale_that_scatters_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    depth = slanted(1.0, 6.0)
    seen = landmarks(depth, 0.5, 200)
    noise = np.exp(np.random.default_rng(0).normal(0, 0.5, 200))
    points = SparsePoints(seen.points, seen.times, seen.point, seen.position, seen.depth * noise)
    with caplog.at_level(logging.WARNING, "recon"):
        scale = scale_from_depth(points, 0.0, depth, "a sensor")
    assert scale.sigma > 0.3
    assert "do not trust the metres" in caplog.text


# ----------------------------------------------------------------------------------------------------- several pictures


def pictures(factors: list[float], unit: float = 0.5) -> tuple[SparsePoints, list[tuple[float, DepthMap]]]:
    """A picture a second, whose metric depth is wrong by a factor of its own."""
    depth = slanted(1.0, 6.0)
    seen = joined([landmarks(depth, unit, time=float(time), seed=time) for time in range(len(factors))])
    return seen, [(float(time), (factor * depth).astype(np.float32)) for time, factor in enumerate(factors)]


@given(st.floats(1e-3, 1e3), st.permutations([0.9, 0.95, 1.0, 1.05, 1.1]))
def test_the_median_picture_counts_and_the_spread_is_told(unit: float, factors: list[float]) -> None:
    points, depths = pictures(factors, unit)
    scale = scale_from_depths(points, iter(depths), "MoGe")
    assert scale.metres_per_unit == pytest.approx(unit, rel=1e-4)
    assert scale.sigma == pytest.approx(0.072, abs=0.002)
    assert scale.origin == "MoGe, median of 5 pictures"


def test_a_picture_that_disagrees_moves_little_but_shows() -> None:
    points, depths = pictures([1.0, 1.01, 0.99, 1.0, 3.0])
    scale = scale_from_depths(points, depths, "MoGe")
    assert scale.metres_per_unit == pytest.approx(0.5, rel=1e-4)
    assert scale.sigma > 0.4


def test_pictures_that_say_nothing_are_left_out() -> None:
    points, depths = pictures([1.0, 1.1])
    nothing = np.full(SIZE, np.nan, np.float32)
    scale = scale_from_depths(points, [depths[0], (1.0, nothing), (7.0, nothing)], "MoGe")
    assert scale == scale_from_depth(points, 0.0, depths[0][1], "MoGe")
    with pytest.raises(AlignmentError, match=r"^MoGe: no picture shows 3 landmarks of the map where depth is known"):
        scale_from_depths(points, [(1.0, nothing)], "MoGe")


def test_pictures_with_landmarks_are_chosen_evenly() -> None:
    points, _ = pictures([1.0] * 21)
    assert spread_times(points, 5) == [0, 5, 10, 15, 20]
    assert spread_times(points, 1) == [0]
    assert len(spread_times(points)) == 8
    assert spread_times(pictures([1.0, 1.0])[0]) == [0, 1]


# ------------------------------------------------------------------------------------------------------ known distances


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 500 320 240\n")
    (tmp_path / "images.txt").write_text("")
    (tmp_path / "points3D.txt").write_text("7 0 0 4 0 0 0 0\n12 3 0 8 0 0 0 0\n13 3 0 8 0 0 0 0\n")
    return tmp_path


@pytest.mark.parametrize("points", [("7", "12"), ("0,0,4", "12"), ("0,0,4", "3,0,8"), ("12", "7")])
def test_a_known_distance_gives_the_scale(model: Path, points: tuple[str, str]) -> None:
    scale = scale_from_distance(model, (*points, 2.0))
    assert scale.metres_per_unit == pytest.approx(0.4)
    assert math.isnan(scale.sigma)
    assert scale.sentence == f"1 unit of the map is 0.4 m (2 m from {points[0]} to {points[1]})"


def test_bare_points_are_named_by_their_coordinates(tmp_path: Path) -> None:
    assert scale_from_distance(tmp_path / "map.ply", ("0,0,0", "0,2,0", 1.0)).metres_per_unit == 0.5


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (("7", "7", 1.0), "7 and 7 are one and the same place"),
        (("5,0,0", "5,0,1e-9", 1.0), "5,0,0 and 5,0,1e-9 are one and the same place"),
        (("12", "13", 1.0), "12 and 13 are one and the same place"),
        (("7", "12", 0.0), "0 m is no distance; it must be positive"),
        (("7", "12", -1.0), "-1 m is no distance"),
        (("7", "12", math.inf), "inf m is no distance"),
        (("7", "12", math.nan), "nan m is no distance"),
        (("7", "99", 1.0), "has no point 99 among its 3"),
        (("7", "door", 1.0), "'door' is no point of a map"),
    ],
)
def test_distances_that_say_nothing_are_told(model: Path, known: tuple[str, str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        scale_from_distance(model, known)


# --------------------------------------------------------------------------------------------------------------- metres


def test_after_scaling_all_is_metres() -> None:
    """What a scaled camera sees of scaled landmarks is the scaled observation."""
    rows = np.array([[0.0, 0, 5], [1, 1, 4]])
    pose = np.eye(4)
    pose[:3, 3] = 0.5, 0, 1
    scale = MapScale(0.25, math.nan, "test")
    points = SparsePoints(rows, np.zeros(2), np.arange(2), np.full((2, 2), 0.5), np.array([4.0, 3.0]))
    metres = scaled_points(points, scale)
    poses = scaled_trajectory(CameraTrajectory(np.zeros(1), pose[None]), scale)
    assert metres.depth.tolist() == [1, 0.75]
    assert poses.world_from_camera[0, :3, 3].tolist() == [0.125, 0, 0.25]
    assert (metres.points[:, 2] - poses.world_from_camera[0, 2, 3]).tolist() == metres.depth.tolist()
    assert np.array_equal(poses.world_from_camera[0, :3, :3], np.eye(3))
    assert np.array_equal(metres.position, points.position)


def test_the_sentence_tells_the_error() -> None:
    assert MapScale(0.354, 0.0123, "x").sentence == "1 unit of the map is 0.354 m +- 1.2% (x)"


# ------------------------------------------------------------------------------------------------------------ real maps

HOLOLENS = "hololens_dvmvs_a/sfm_colmap_txt", "hololens_dvmvs_a/depth/{}.png"
KITCHEN = "7scenes_redkitchen_a/sfm_colmap_bin", "7scenes_redkitchen_a/depth_in_color/{}.depth.png"
HOSPITAL = "tartanair_hospital_a/sfm_colmap_txt", "tartanair_hospital_a/depth_left/{}_depth_mm.png"


def names_of(model: Path) -> dict[str, float]:
    return {key_of(image.name): float(number) for number, image in enumerate(read_images(model))}


def sensor(data: Path, pattern: str, names: dict[str, float], count: int) -> Iterator[tuple[float, DepthMap]]:
    """The sensor's depth of some of the pictures that have any, evenly spread."""
    files = [(time, data / pattern.format(name.removesuffix("_left"))) for name, time in names.items()]
    there = [(time, file) for time, file in files if file.is_file()]
    for row in np.unique(np.linspace(0, len(there) - 1, count).astype(int)):
        time, file = there[row]
        millimetres = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)  # noqa: TID251 - plain numbers
        yield time, np.where(millimetres > 0, millimetres / 1000, np.nan).astype(np.float32)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("real", "poses_say", "off", "tolerance"), [(HOLOLENS, 0.35348, 0.0, 0.01), (KITCHEN, 0.07414, 0.042, 0.01)]
)
@pytest.mark.parametrize("bare", [False, True], ids=["colmap", "bare"])
def test_real_maps_are_scaled_by_their_first_frame(
    shared: Path, real: tuple[str, str], poses_say: float, off: float, tolerance: float, *, bare: bool
) -> None:
    """The kitchen's model is bent: its depths and its path differ by 5 % (its NOTES)."""
    model, names = shared / "data" / real[0], names_of(shared / "data" / real[0])
    points = read_sparse(model, times_by_name=names, rate=None)
    if bare:
        trajectory = read_trajectory(model, times_by_name=names, rate=None)
        camera = pinhole(next(iter(read_cameras(model).values())), "")
        points = observed(points.points, trajectory, camera, [0.0])
    time, depth = next(sensor(shared / "data", real[1], names, 1))
    scale = scale_from_depth(points, time, depth, "first frame")
    assert scale.metres_per_unit / poses_say - 1 == pytest.approx(off, abs=tolerance)
    assert 0.005 < scale.sigma < 0.03


@pytest.mark.shared
@pytest.mark.parametrize(
    ("real", "low", "high"), [(HOLOLENS, 0.01, 0.03), (KITCHEN, 0.004, 0.01), (HOSPITAL, 0.3, 0.5)]
)
def test_the_spread_of_pictures_tells_good_maps_from_bad_ones(
    shared: Path, real: tuple[str, str], low: float, high: float
) -> None:
    """The hospital's model is wrong on purpose (its NOTES), for all its small reprojection errors."""
    model, names = shared / "data" / real[0], names_of(shared / "data" / real[0])
    points = read_sparse(model, times_by_name=names, rate=None)
    chosen = sensor(shared / "data", real[1], names, 8)
    assert low < scale_from_depths(points, chosen, "sensor").sigma < high
