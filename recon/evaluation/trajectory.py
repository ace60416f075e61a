"""How far an estimated camera path is from the true one: absolute and relative pose error.

Source: Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012, section III: ATE and RPE.
Umeyama, Least-Squares Estimation of Transformation Parameters Between Two Point Patterns, PAMI 1991: how the paths are
laid on one another.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from recon.errors import TrajectoryError
from recon.geometry import inverse
from recon.types import CameraTrajectory

Alignment = Literal["none", "rigid", "similarity"]
"""What is fitted before comparing: nothing; rotation and translation (SE3); those and one scale (Sim3)."""
Pace = Literal["frames", "seconds", "metres"]
"""What the distance of two compared poses is counted in; metres along the true path."""

LEAST_POSES = 3
"""Fewer do not determine a rotation."""
LEAST_SPREAD = 1e-12
"""A path that spreads less, as a part of how far it is from the origin, stands still but for rounding."""
PACE_TOLERANCE = 0.1
"""How far the distance of two poses may be from what was asked for, as a part of it."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """The map x -> scale * rotation @ x + translation."""

    scale: float
    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, "3"]

    def __call__(self, points: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
        """Where the points go."""
        moved: Float64[np.ndarray, "n 3"] = self.scale * points @ self.rotation.T + self.translation
        return moved


@dataclass(frozen=True, slots=True)
class Spread:
    """Errors of many poses in a few numbers; the unit is where it is used."""

    rmse: float
    mean: float
    median: float
    largest: float


@dataclass(frozen=True, slots=True)
class Match:
    """Poses of two trajectories that belong together."""

    estimated: Int64[np.ndarray, " n"]
    """Rows of the estimated trajectory."""
    true: Int64[np.ndarray, " n"]
    """Rows of the true trajectory, as many."""
    only_estimated: int
    """Estimated poses at whose time no true pose is known."""
    only_true: int
    """True poses at whose time nothing was estimated: where a tracker got lost, or gave key frames only."""


@dataclass(frozen=True, slots=True)
class AbsoluteError:
    """ATE: how far the camera is from where it truly was."""

    position: Spread
    """Metres, or the unit of the true poses."""
    true_from_estimated: Similarity
    """What was fitted, of both worlds; its scale tells how far the estimate's lengths are off."""
    match: Match


@dataclass(frozen=True, slots=True)
class RelativeError:
    """RPE: how far the motion over some distance is from the true one; it sees drift and not where it adds up."""

    translation: Spread
    """Metres (or the unit of the true poses) over that distance."""
    rotation: Spread
    """Degrees over that distance."""
    pairs: int
    """How many motions were compared."""
    scale: float
    """What the estimate's lengths were multiplied by: 1 but for similarity."""
    match: Match


def absolute_error(
    estimated: CameraTrajectory,
    true: CameraTrajectory,
    *,
    alignment: Alignment = "similarity",
    tolerance: float = 0.02,
) -> AbsoluteError:
    """Absolute trajectory error: distances of the camera's centres, after the paths are laid on one another.

    Args:
        estimated: In a world of its own, unless ``alignment`` is none.
        true: The reference.
        alignment: A scale only where the estimate has none: it forgives one that is wrong.
        tolerance: Seconds by which the times of two poses that belong together may differ.

    Raises:
        TrajectoryError: fewer than 3 poses belong together, or one path stands still and gives no scale.
    """
    match = matched(estimated, true, tolerance=tolerance)
    source, target = estimated.world_from_camera[match.estimated, :3, 3], true.world_from_camera[match.true, :3, 3]
    true_from_estimated = fitted(source, target, alignment)
    distances = np.linalg.norm(true_from_estimated(source) - target, axis=1)
    return AbsoluteError(_spread(distances), true_from_estimated, match)


def relative_error(
    estimated: CameraTrajectory,
    true: CameraTrajectory,
    *,
    distance: float = 1.0,
    pace: Pace = "seconds",
    alignment: Alignment = "none",
    tolerance: float = 0.02,
) -> RelativeError:
    """Relative pose error: (true motion)^-1 (estimated motion) of all pairs of poses that are some distance apart.

    Args:
        estimated: In any world: motions do not depend on it.
        true: The reference.
        distance: Of the two poses of a pair: each pose is paired with the later one that is nearest to it, if that is
            within a tenth. In frames: of the poses that belong together.
        pace: The unit of ``distance``.
        alignment: ``similarity`` fits a scale; none and rigid are the same here.
        tolerance: Seconds by which the times of two poses that belong together may differ.

    Raises:
        TrajectoryError: fewer than 3 poses belong together, one path stands still and gives no scale, or no two poses
            are so far apart.
    """
    match = matched(estimated, true, tolerance=tolerance)
    source, target = estimated.world_from_camera[match.estimated], true.world_from_camera[match.true]
    scale = fitted(source[:, :3, 3], target[:, :3, 3], alignment).scale
    first, second = _pairs(true.times[match.true], target, distance, pace)
    motion, true_motion = inverse(source[first]) @ source[second], inverse(target[first]) @ target[second]
    motion[:, :3, 3] *= scale
    error = inverse(true_motion) @ motion
    degrees = np.degrees(Rotation.from_matrix(error[:, :3, :3]).magnitude())
    metres = np.linalg.norm(error[:, :3, 3], axis=1)
    return RelativeError(_spread(metres), _spread(degrees), len(first), scale, match)


def matched(estimated: CameraTrajectory, true: CameraTrajectory, *, tolerance: float) -> Match:
    """Poses that are nearest to one another in time, from both sides, and no farther apart than so many seconds.

    Raises:
        TrajectoryError: fewer than 3.
    """
    nearest, back = _nearest(estimated.times, true.times), _nearest(true.times, estimated.times)
    mutual = back[nearest] == np.arange(len(nearest))
    close = np.abs(true.times[nearest] - estimated.times) <= tolerance
    rows = np.flatnonzero(mutual & close)
    if len(rows) < LEAST_POSES:
        raise TrajectoryError(
            f"{len(rows)} of {len(estimated.times)} estimated poses have a true one within {tolerance:g} s, and it "
            f"takes {LEAST_POSES}: do both trajectories count their seconds from the same moment?"
        )
    return Match(rows, nearest[rows], len(estimated.times) - len(rows), len(true.times) - len(rows))


def fitted(points: Float64[np.ndarray, "n 3"], target: Float64[np.ndarray, "n 3"], alignment: Alignment) -> Similarity:
    """The transform after which the points are nearest to their targets, by least squares.

    Source: Umeyama 1991, equations 34 to 43. Points on a line leave a turn about it open; any is as good.

    Raises:
        TrajectoryError: for a similarity, the points or the targets lie on one spot.
    """
    if alignment == "none":
        return Similarity(1.0, np.eye(3), np.zeros(3))
    centre, target_centre = points.mean(axis=0), target.mean(axis=0)
    covariance = (target - target_centre).T @ (points - centre) / len(points)
    left, sizes, right = np.linalg.svd(covariance)
    # Where a mirror would fit best, its smallest direction is turned around: a camera is not mirrored.
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    rotation = left @ np.diag(signs) @ right
    scale = 1.0
    if alignment == "similarity":
        _require_moving("true", target)
        scale = float(sizes @ signs) / _require_moving("estimated", points)
    return Similarity(scale, rotation, target_centre - scale * rotation @ centre)


def _require_moving(which: str, points: Float64[np.ndarray, "n 3"]) -> float:
    """Variance of the points, if there is any."""
    centre = points.mean(axis=0)
    variance = float(((points - centre) ** 2).sum(axis=1).mean())
    if variance <= (LEAST_SPREAD * np.linalg.norm(centre)) ** 2:
        raise TrajectoryError(f"the {which} camera stands still, which gives no scale: align rigidly, or not at all")
    return variance


def _nearest(times: Float64[np.ndarray, " n"], others: Float64[np.ndarray, " m"]) -> Int64[np.ndarray, " n"]:
    """For each time the number of the nearest other one, of two alike the earlier."""
    after = np.searchsorted(others, times).clip(max=len(others) - 1)
    before = (after - 1).clip(min=0)
    return np.where(np.abs(others[after] - times) < np.abs(others[before] - times), after, before)


def _pairs(
    times: Float64[np.ndarray, " n"], world_from_camera: Float64[np.ndarray, "n 4 4"], distance: float, pace: Pace
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]:
    """Numbers of two poses each that are so far apart."""
    if distance <= 0:
        raise ValueError(f"the distance of two poses must be positive, got {distance:g}")
    steps = np.linalg.norm(np.diff(world_from_camera[:, :3, 3], axis=0), axis=1)
    along = {
        "frames": np.arange(len(times), dtype=np.float64),
        "seconds": times,
        "metres": np.concatenate([[0.0], steps.cumsum()]),
    }[pace]
    second = _nearest(along + distance, along)
    close = np.abs(along[second] - along - distance) <= PACE_TOLERANCE * distance
    first = np.flatnonzero(close)
    if not len(first):
        raise TrajectoryError(
            f"no two poses are {distance:g} {pace} apart (to a tenth): the path has {along[-1] - along[0]:.3g} {pace}"
        )
    return first, second[first]


def _spread(errors: Float64[np.ndarray, " n"]) -> Spread:
    rmse = float(np.sqrt(np.mean(errors**2)))
    return Spread(rmse, float(errors.mean()), float(np.median(errors)), float(errors.max()))
