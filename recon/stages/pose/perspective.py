"""A camera from landmarks and where a picture shows them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final, no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from recon.compiled import compiled
from recon.geometry import inverse, rigid, transform
from recon.types import Intrinsics, RigidTransform

TOLERANCE: Final = 0.004
"""Distance between a corner and its projected landmark up to which they agree, in picture widths."""
POLISHING_STEPS: Final = 10
"""Most steps of Gauss-Newton."""
UNDISPUTED: Final = 0.7
"""Part of the matches that, where it agrees with a pose, leaves too few for another one."""
LEAST_INLIERS: Final = 25
"""Fewer agreeing matches do not make a pose."""
LEAST_AGREEMENT: Final = 0.25
"""Smallest part of the matches that has to agree with a pose."""
LEAST_CERTAINTY: Final = 0.03
"""Largest standard deviation of the camera's position that is believed, in median depths."""
LARGEST_TURN: Final = 45.0
"""Rotation between two frames that is not believed, degrees."""
LARGEST_STEP: Final = 0.6
"""Movement between two frames that is not believed, in median depths."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Landmarks, and where a picture shows them."""

    points: Float64[np.ndarray, "n 3"]
    """In the world."""
    pixels: Float64[np.ndarray, "n 2"]
    """Corner origin."""


@dataclass(frozen=True, slots=True)
class Fix:
    """A pose and what speaks for it."""

    world_from_camera: RigidTransform
    inliers: Bool[np.ndarray, " n"]
    """Which matches agree with it."""
    median_depth: float
    """Median depth of those."""
    uncertainty: float
    """Standard deviation of the camera's position, if features are good to half the tolerance."""
    agreement: float
    """How many matches agree, exact ones counting most."""


def fix(matches: Matches, camera: Intrinsics, rounds: int = 1000, expected: RigidTransform | None = None) -> Fix | None:
    """The pose with which the matches agree best; None where there is none.

    Tukey's least squares from the pose that is expected, if most of the matches agree with that. Else also those from
    the pose of perspective-three-point inside RANSAC (AP3P, Ke and Roumeliotis, CVPR 2017), and the better of the two:
    many matches on a thing that moves by itself then need more than to be many.

    Args:
        matches: some of them wrong.
        camera: of the picture.
        rounds: samples that are tried at the most, before nothing counts as found.
        expected: about camera_from_world, where that is known.
    """
    if len(matches.points) < LEAST_INLIERS:
        return None
    as_expected = None if expected is None else polished(expected, matches, camera)
    if as_expected is not None and as_expected.inliers.mean() > UNDISPUTED:
        return as_expected
    sampled = _sampled(matches, camera, rounds)
    found = (as_expected, None if sampled is None else polished(sampled, matches, camera))
    return max((each for each in found if each is not None), key=lambda each: each.agreement, default=None)


def _sampled(matches: Matches, camera: Intrinsics, rounds: int) -> RigidTransform | None:
    # OpenCV draws the samples from a generator of its own with a fixed seed: no global state, the same pose each time.
    found, turn, shift, _ = cv2.solvePnPRansac(
        matches.points,
        matches.pixels,
        camera.matrix,
        None,
        iterationsCount=rounds,
        reprojectionError=TOLERANCE * camera.width,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or not np.isfinite([turn, shift]).all():
        return None
    return rigid(cv2.Rodrigues(turn)[0], shift[:, 0])


def polished(camera_from_world: RigidTransform, matches: Matches, camera: Intrinsics) -> Fix | None:
    """The pose near one that is nearly right: Gauss-Newton on reprojection errors with Tukey's weights.

    These are zero from the tolerance on: what is farther off from the first one has no say.
    """
    tolerance = TOLERANCE * camera.width
    turn = Rotation.from_matrix(camera_from_world[:3, :3]).as_matrix()  # errors of rounding grow from frame to frame
    camera_from_world = rigid(turn, camera_from_world[:3, 3])
    for _ in range(POLISHING_STEPS):
        information, gradient, _ = _normal_equations(camera_from_world, matches, camera, tolerance)
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, gradient)
        camera_from_world = rigid(cv2.Rodrigues(step[3:])[0], step[:3]) @ camera_from_world
        if np.abs(step).max() < 1e-7:
            break
    information, _, weights = _normal_equations(camera_from_world, matches, camera, tolerance)
    inliers = weights > 0
    if not inliers.any() or np.linalg.cond(information) > 1e12:
        return None
    covariance = np.linalg.inv(information) * (tolerance / 2) ** 2
    depth = transform(camera_from_world, matches.points[inliers])[:, 2]
    uncertainty = float(np.sqrt(np.trace(covariance[:3, :3])))
    agreement = float((weights**1.5).sum())  # the rest of Tukey's loss: 1 - (1 - r^2 / t^2)^3
    return Fix(inverse(camera_from_world), inliers, float(np.median(depth)), uncertainty, agreement)


def _normal_equations(
    camera_from_world: RigidTransform, matches: Matches, camera: Intrinsics, tolerance: float
) -> tuple[Float64[np.ndarray, "6 6"], Float64[np.ndarray, "6"], Float64[np.ndarray, " n"]]:
    """J'WJ and J'Wr of the reprojection errors, and the weights of the matches."""
    place = transform(camera_from_world, matches.points)
    lens = camera.fx, camera.fy, camera.cx, camera.cy
    return _kernel()(place, np.ascontiguousarray(matches.pixels), lens, tolerance)


@cache
def _kernel() -> Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return compiled(_sums)


@no_type_check
def _sums(place, pixels, lens, tolerance):  # noqa: ANN001, ANN202
    """Of reprojection errors in pixels and their derivatives by a small movement of the points (shift, turn).

    Source: Sola et al., A micro Lie theory for state estimation in robotics (2018), for the left perturbation; the
    derivative of x / z and y / z by x, y, z times [I | -[X]x]. Compiled by numba, which infers the types.
    """
    information, gradient, weights = np.zeros((6, 6)), np.zeros(6), np.zeros(len(place))
    rows = np.zeros((2, 6))
    fx, fy, cx, cy = lens
    for n in range(len(place)):
        z = place[n, 2]
        if z <= 0:  # points behind the camera have no weight
            continue
        u, v = place[n, 0] / z, place[n, 1] / z
        off_x, off_y = pixels[n, 0] - u * fx - cx, pixels[n, 1] - v * fy - cy
        weights[n] = max(0.0, 1 - (off_x**2 + off_y**2) / tolerance**2) ** 2
        if weights[n] == 0:
            continue
        rows[0, 0], rows[0, 2], rows[0, 3], rows[0, 4], rows[0, 5] = 1 / z, -u / z, -u * v, 1 + u * u, -v
        rows[1, 1], rows[1, 2], rows[1, 3], rows[1, 4], rows[1, 5] = 1 / z, -v / z, -1 - v * v, u * v, u
        for i in range(6):
            by_x, by_y = weights[n] * fx * rows[0, i], weights[n] * fy * rows[1, i]
            gradient[i] += by_x * off_x + by_y * off_y
            for j in range(6):
                information[i, j] += by_x * fx * rows[0, j] + by_y * fy * rows[1, j]
    return information, gradient, weights


def doubt(found: Fix | None, matches: int, last: RigidTransform) -> str | None:
    """What speaks against a pose; None if nothing does."""
    if found is None:
        return f"{matches} matches agree with no camera"
    inliers = int(found.inliers.sum())
    move = inverse(last) @ found.world_from_camera
    turn = np.degrees(np.arccos(np.clip((np.trace(move[:3, :3]) - 1) / 2, -1, 1)))
    step = np.linalg.norm(move[:3, 3])
    if inliers < LEAST_INLIERS or inliers < LEAST_AGREEMENT * matches:
        return f"{inliers} of {matches} matches agree"
    if found.uncertainty > LEAST_CERTAINTY * found.median_depth:
        return f"{inliers} matches leave the position open to {found.uncertainty:.2g} at depth {found.median_depth:.2g}"
    if turn > LARGEST_TURN or step > LARGEST_STEP * found.median_depth:
        return f"a jump of {step:.2g} and {turn:.0f} degrees at depth {found.median_depth:.2g}"
    return None
