"""Camera paths: known errors, evo as the oracle, real structure from motion, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from strategies import rigid_transforms, rotations, seeds

from recon.errors import TrajectoryError
from recon.evaluation.trajectory import (
    Alignment,
    Pace,
    absolute_error,
    fitted,
    matched,
    relative_error,
)
from recon.geometry import rigid
from recon.io.trajectory import read_trajectory
from recon.types import CameraTrajectory

ALIGNMENTS: tuple[Alignment, ...] = ("none", "rigid", "similarity")
PACES: dict[Pace, float] = {"frames": 3.0, "seconds": 0.1, "metres": 0.5}


def path_of(places: np.ndarray, rate: float = 30.0) -> CameraTrajectory:
    """A camera that does not turn."""
    poses = np.stack([rigid(np.eye(3), np.array(place, np.float64)) for place in places])
    return CameraTrajectory(np.arange(len(poses)) / rate, poses)


def wander(seed: int, count: int = 40) -> CameraTrajectory:
    """A camera that walks and turns at random, up to 0.17 m and 0.17 radians a frame."""
    random = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(random.uniform(-0.1, 0.1, (count, 3)).cumsum(axis=0)).as_matrix()
    places = random.uniform(-0.1, 0.1, (count, 3)).cumsum(axis=0)
    poses = np.stack([rigid(turn, place) for turn, place in zip(turns, places, strict=True)])
    return CameraTrajectory(np.arange(count) / 30, poses)


def shaken(path: CameraTrajectory, seed: int, size: float = 0.02) -> CameraTrajectory:
    """The same path with errors in position and rotation."""
    random = np.random.default_rng(seed)
    errors = [
        rigid(Rotation.from_rotvec(random.normal(0, size, 3)).as_matrix(), random.normal(0, size, 3))
        for _ in path.times
    ]
    return CameraTrajectory(path.times, path.world_from_camera @ np.stack(errors))


def elsewhere(path: CameraTrajectory, a_from_world: np.ndarray, scale: float = 1.0) -> CameraTrajectory:
    """The same path told in another world, there with another unit of length."""
    poses = a_from_world @ path.world_from_camera
    poses[:, :3, 3] *= scale
    return CameraTrajectory(path.times, poses)


# -------------------------------------------------------------------------------------------------------- known errors


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("pace", PACES)
def test_the_true_path_has_no_error(alignment: Alignment, pace: Pace) -> None:
    path = wander(0)
    absolute = absolute_error(path, path, alignment=alignment)
    assert absolute.position.largest == pytest.approx(0, abs=1e-12)
    assert absolute.true_from_estimated.scale == pytest.approx(1)
    relative = relative_error(path, path, distance=PACES[pace], pace=pace, alignment=alignment)
    assert relative.translation.largest == pytest.approx(0, abs=1e-12)
    assert relative.rotation.largest == pytest.approx(0, abs=1e-5)


def test_position_errors_by_hand() -> None:
    """A square of 2 m, one corner 4 cm off; nothing fitted: errors 0, 0, 0, 0.04."""
    square = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
    off = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0.04]])
    error = absolute_error(path_of(off), path_of(square), alignment="none").position
    assert (error.rmse, error.mean, error.median, error.largest) == pytest.approx((0.02, 0.01, 0, 0.04))


def test_what_is_fitted_is_forgiven_and_told() -> None:
    """The estimate is half as large, turned by a quarter and shifted."""
    path = wander(1)
    quarter = rigid(Rotation.from_euler("z", 90, degrees=True).as_matrix(), np.array([1.0, 2, 3]))
    estimate = elsewhere(path, quarter, scale=0.5)
    error = absolute_error(estimate, path, alignment="similarity")
    assert error.position.rmse == pytest.approx(0, abs=1e-12)
    assert error.true_from_estimated.scale == pytest.approx(2)
    np.testing.assert_allclose(error.true_from_estimated.rotation, quarter[:3, :3].T, atol=1e-12)
    places = estimate.world_from_camera[:, :3, 3]
    np.testing.assert_allclose(error.true_from_estimated(places), path.world_from_camera[:, :3, 3], atol=1e-12)
    assert absolute_error(estimate, path, alignment="rigid").position.rmse > 0.05


def test_a_mirrored_path_stays_mirrored() -> None:
    """A rotation, not a reflection, is fitted: the third axis, the shortest, stays wrong by twice its extent."""
    true = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    error = absolute_error(path_of(true * [1, 1, -1]), path_of(true), alignment="rigid")
    assert np.linalg.det(error.true_from_estimated.rotation) == pytest.approx(1)
    assert error.position.rmse == pytest.approx(np.sqrt(2 * 2**2 / 6))


def test_a_straight_drive_can_be_aligned() -> None:
    """The turn about the line is open and does not matter."""
    line = np.outer(np.arange(10.0), [0, 0, 1])
    bent = line @ Rotation.from_euler("x", 40, degrees=True).as_matrix().T
    assert absolute_error(path_of(1.1 * bent), path_of(line)).position.rmse == pytest.approx(0, abs=1e-12)


def test_motion_errors_by_hand() -> None:
    """1 m a second along x; one estimate drifts along y by 2 cm a second, one turns about x by 3 degrees a second."""
    seconds = np.arange(0, 4.01, 0.5)
    places = np.outer(seconds, [1.0, 0, 0])
    turns = Rotation.from_rotvec(np.outer(3 * seconds, [1, 0, 0]), degrees=True).as_matrix()
    true = CameraTrajectory(seconds, np.stack([rigid(np.eye(3), place) for place in places]))
    drift = np.outer(seconds, [0, 0.02, 0])
    drifting = CameraTrajectory(seconds, np.stack([rigid(np.eye(3), place) for place in places + drift]))
    turning = CameraTrajectory(seconds, np.stack([rigid(*pair) for pair in zip(turns, places, strict=True)]))
    one = relative_error(drifting, true, distance=1.0, pace="seconds")
    assert (one.pairs, one.translation.rmse, one.rotation.rmse) == (7, pytest.approx(0.02), pytest.approx(0))
    two = relative_error(turning, true, distance=2.0, pace="metres")
    assert (two.pairs, two.rotation.median, two.translation.rmse) == (5, pytest.approx(6), pytest.approx(0))
    frames = relative_error(drifting, true, distance=1.0, pace="frames")
    assert (frames.pairs, frames.translation.largest) == (8, pytest.approx(0.01))


def test_a_wrong_scale_is_seen_in_motions_unless_it_is_fitted() -> None:
    line = np.outer(np.arange(10.0), [0, 0, 1])
    estimate, true = path_of(1.1 * line, rate=1.0), path_of(line, rate=1.0)
    assert relative_error(estimate, true).translation.rmse == pytest.approx(0.1)
    assert relative_error(estimate, true, alignment="rigid").translation.rmse == pytest.approx(0.1)
    fitted_error = relative_error(estimate, true, alignment="similarity")
    assert (fitted_error.translation.rmse, fitted_error.scale) == (pytest.approx(0), pytest.approx(1 / 1.1))


# ------------------------------------------------------------------------------------------------------------- matching


def test_poses_are_matched_by_time_and_the_others_counted() -> None:
    """Estimated at 0, 0.1, 0.2, 0.3, 0.9 s; true 1 ms before every 40 ms: 0.1 and 0.3 are 19 ms from one."""
    estimated = CameraTrajectory(np.array([0, 0.1, 0.2, 0.3, 0.9]), wander(0, 5).world_from_camera)
    true = CameraTrajectory(np.arange(13) * 0.04 - 0.001, wander(1, 13).world_from_camera)
    loose = matched(estimated, true, tolerance=0.02)
    assert (loose.estimated.tolist(), loose.true.tolist()) == ([0, 1, 2, 3], [0, 3, 5, 8])
    assert (loose.only_estimated, loose.only_true) == (1, 9)
    with pytest.raises(TrajectoryError, match=r"2 of 5 estimated poses have a true one within 0\.01 s"):
        matched(estimated, true, tolerance=0.01)


def test_of_two_poses_as_near_the_earlier_is_taken() -> None:
    estimated = CameraTrajectory(np.array([0.25, 1.25, 2.25]), wander(0, 3).world_from_camera)
    true = CameraTrajectory(np.arange(6) * 0.5, wander(0, 6).world_from_camera)
    assert matched(estimated, true, tolerance=0.25).true.tolist() == [0, 2, 4]


@given(seed=seeds, counts=st.tuples(st.integers(3, 30), st.integers(3, 30)))
def test_no_pose_is_matched_twice_and_both_sides_agree(seed: int, counts: tuple[int, int]) -> None:
    random = np.random.default_rng(seed)
    a, b = (CameraTrajectory(random.uniform(1e-3, 0.1, n).cumsum(), wander(0, n).world_from_camera) for n in counts)
    try:
        one, other = matched(a, b, tolerance=0.05), matched(b, a, tolerance=0.05)
    except TrajectoryError:
        return
    assert (np.diff(one.estimated) > 0).all()
    assert (np.diff(one.true) > 0).all()
    assert (one.estimated.tolist(), one.true.tolist()) == (other.true.tolist(), other.estimated.tolist())
    gaps = np.abs(a.times[one.estimated][:, None] - b.times)
    assert (gaps.argmin(axis=1) == one.true).all()


# ----------------------------------------------------------------------------------------------------------- invariance


@given(seed=seeds, world=rigid_transforms(), other=rigid_transforms())
def test_errors_do_not_depend_on_the_worlds(seed: int, world: np.ndarray, other: np.ndarray) -> None:
    true = wander(seed)
    estimate = shaken(true, seed + 1)
    moved, moved_true = elsewhere(estimate, world), elsewhere(true, other)
    for alignment in ALIGNMENTS[1:]:
        expected = absolute_error(estimate, true, alignment=alignment).position.rmse
        assert absolute_error(moved, moved_true, alignment=alignment).position.rmse == pytest.approx(expected, rel=1e-6)
    expected_motion = relative_error(estimate, true, distance=0.1)
    motion = relative_error(moved, moved_true, distance=0.1)
    assert motion.translation.rmse == pytest.approx(expected_motion.translation.rmse, rel=1e-6)
    assert motion.rotation.rmse == pytest.approx(expected_motion.rotation.rmse, rel=1e-6)


@given(seed=seeds, scale=st.floats(1e-3, 1e3))
def test_with_a_fitted_scale_the_unit_of_the_estimate_does_not_matter(seed: int, scale: float) -> None:
    true = wander(seed)
    estimate = shaken(true, seed + 1)
    scaled = elsewhere(estimate, np.eye(4), scale)
    one, other = absolute_error(estimate, true), absolute_error(scaled, true)
    assert other.position.rmse == pytest.approx(one.position.rmse, rel=1e-9)
    assert other.true_from_estimated.scale * scale == pytest.approx(one.true_from_estimated.scale, rel=1e-9)


@given(seed=seeds, turn=rotations(), scale=st.floats(0.1, 10))
def test_nothing_near_fits_better(seed: int, turn: np.ndarray, scale: float) -> None:
    """Least squares: each change of what was fitted makes it worse."""
    random = np.random.default_rng(seed)
    points = random.normal(size=(10, 3))
    target = scale * points @ turn.T + random.normal(0, 0.3, (10, 3))
    best = fitted(points, target, "similarity")
    least = np.sum((best(points) - target) ** 2)
    for axis in np.eye(3):
        small = Rotation.from_rotvec(1e-2 * axis).as_matrix()
        assert np.sum((best(points) @ small.T + target.mean(0) @ (np.eye(3) - small.T) - target) ** 2) > least
        assert np.sum((best(points) + 1e-2 * axis - target) ** 2) > least
    centre = target.mean(axis=0)
    for factor in (0.99, 1.01):
        assert np.sum((factor * (best(points) - centre) + centre - target) ** 2) > least


# --------------------------------------------------------------------------------------------------------------- oracle


def evo_of(path: CameraTrajectory) -> Any:
    trajectory = pytest.importorskip("evo.core.trajectory", reason="evo (GPL) is the oracle")
    return trajectory.PoseTrajectory3D(poses_se3=list(path.world_from_camera), timestamps=path.times)


def evo_ate(estimated: CameraTrajectory, true: CameraTrajectory, alignment: Alignment) -> dict[str, float]:
    metrics = pytest.importorskip("evo.core.metrics")
    reference, other = evo_of(true), evo_of(estimated)
    if alignment != "none":
        other.align(reference, correct_scale=alignment == "similarity")
    error = metrics.APE(metrics.PoseRelation.translation_part)
    error.process_data((reference, other))
    return error.get_all_statistics()


def evo_rpe(estimated: CameraTrajectory, true: CameraTrajectory, relation: str, pace: Pace) -> Any:
    metrics = pytest.importorskip("evo.core.metrics")
    error = metrics.RPE(
        metrics.PoseRelation[relation],
        delta=PACES[pace],
        delta_unit=metrics.Unit["meters" if pace == "metres" else pace],
        rel_delta_tol=0.1,
        all_pairs=True,
        pairs_from_reference=True,
    )
    error.process_data((evo_of(true), evo_of(estimated)))
    return error


def compare_with_evo(estimated: CameraTrajectory, true: CameraTrajectory) -> None:
    for alignment in ALIGNMENTS:
        theirs = evo_ate(estimated, true, alignment)
        ours = absolute_error(estimated, true, alignment=alignment).position
        expected = (theirs["rmse"], theirs["mean"], theirs["median"], theirs["max"])
        assert (ours.rmse, ours.mean, ours.median, ours.largest) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    for pace in ("frames", "metres"):
        ours_relative = relative_error(estimated, true, distance=PACES[pace], pace=pace)
        metres = evo_rpe(estimated, true, "translation_part", pace)
        assert ours_relative.pairs == len(metres.error)
        assert ours_relative.translation.rmse == pytest.approx(metres.get_all_statistics()["rmse"], abs=1e-9)
        degrees = evo_rpe(estimated, true, "rotation_angle_deg", pace).get_all_statistics()
        assert ours_relative.rotation.rmse == pytest.approx(degrees["rmse"], abs=1e-9)
        assert ours_relative.rotation.largest == pytest.approx(degrees["max"], abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_random_paths_score_as_with_evo(seed: int) -> None:
    true = wander(seed, 100)
    world = rigid(Rotation.random(rng=seed).as_matrix(), np.array([3.0, -1, 2]))
    compare_with_evo(elsewhere(shaken(true, seed), world, scale=0.7), true)


SFM = {
    # pictures, true poses, structure from motion without scale; of it in NOTES.md: scale and ATE in metres, rounded
    "7scenes_redkitchen_a": ("frames/*.jpg", "frames", "sfm_colmap_bin", 0.07414, 0.0176),
    "hololens_dvmvs_a": ("images/*.png", "poses.txt", "sfm_colmap_txt", 0.35348, 0.018),
    "tartanair_hospital_a": ("image_left/*.jpg", "poses_c2w_opencv.txt", "sfm_colmap_txt", None, 0.71),
}
COLOUR_BESIDE_DEPTH = 0.025
"""Metres along x: 7-Scenes' poses are of the depth camera, its pictures of another (NOTES.md)."""


@pytest.mark.shared
@pytest.mark.parametrize("name", SFM)
def test_real_structure_from_motion_scores_as_with_evo_and_as_in_its_notes(shared: Path, name: str) -> None:
    pictures, poses, model, scale, ate = SFM[name]
    folder = shared / "data" / name
    times = {file.name.split(".")[0]: number / 30 for number, file in enumerate(sorted(folder.glob(pictures)))}
    estimated = read_trajectory(folder / model, times_by_name=times, rate=None)
    true = read_trajectory(folder / poses, times_by_name=times, rate=None)
    if name.startswith("7scenes"):
        depth_from_colour = rigid(np.eye(3), np.array([COLOUR_BESIDE_DEPTH, 0, 0]))
        true = CameraTrajectory(true.times, true.world_from_camera @ depth_from_colour)
    error = absolute_error(estimated, true)
    assert error.position.rmse == pytest.approx(ate, abs=0.5 * 10.0 ** -len(str(ate).split(".")[1]))
    assert scale is None or error.true_from_estimated.scale == pytest.approx(scale, abs=5e-6)
    assert (error.match.only_estimated, error.match.only_true) == (0, len(true.times) - len(estimated.times))
    rows = error.match.true
    compare_with_evo(estimated, CameraTrajectory(true.times[rows], true.world_from_camera[rows]))


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("place", [[0.0, 0, 0], [5.1, 1e3, 0]])
def test_what_determines_no_scale_is_told(place: list[float]) -> None:
    moving, still = wander(0, 5), path_of(np.tile(place, (5, 1)))
    with pytest.raises(TrajectoryError, match="the estimated camera stands still"):
        absolute_error(still, moving)
    with pytest.raises(TrajectoryError, match="the true camera stands still"):
        absolute_error(moving, still)
    centre = moving.world_from_camera[:, :3, 3].mean(axis=0)
    spread = np.linalg.norm(moving.world_from_camera[:, :3, 3] - centre, axis=1)
    assert absolute_error(moving, still, alignment="rigid").position.rmse == pytest.approx(np.sqrt(np.mean(spread**2)))


def test_too_few_poses_are_told() -> None:
    with pytest.raises(TrajectoryError, match=r"2 of 2 .* takes 3: do both trajectories count their seconds"):
        absolute_error(wander(0, 2), wander(0, 2))


def test_a_distance_that_no_two_poses_have_is_told() -> None:
    line = path_of(np.outer(np.arange(10.0), [1, 0, 0]), rate=1.0)
    with pytest.raises(TrajectoryError, match=r"are 20 metres apart \(to a tenth\): the path has 9 metres"):
        relative_error(line, line, distance=20.0, pace="metres")
    with pytest.raises(TrajectoryError, match=r"no two poses are 0\.5 seconds apart"):
        relative_error(line, line, distance=0.5)
    with pytest.raises(ValueError, match="must be positive"):
        relative_error(line, line, distance=0.0)
