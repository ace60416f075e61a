"""The sums of bundle adjustment: what is done for every observation, compiled by numba.

Shapes: n observations, k cameras, p landmarks, s pairs of cameras that see something in common.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float64, Int64

from recon.compiled import compiled


class Order(NamedTuple):
    """Which camera sees which landmark, landmark after landmark."""

    camera: Int64[np.ndarray, " n"]
    landmark: Int64[np.ndarray, " n"]
    starts: Int64[np.ndarray, " p1"]
    """First observation of each landmark, and the number of all."""


class Scales(NamedTuple):
    """Of residuals, and what does not change from step to step."""

    focal_x: float
    """Focal length in standard deviations of a pixel."""
    focal_y: float
    depth: float
    """Standard deviation of the logarithm of a depth."""
    focal: float
    """Standard deviation of the logarithm of the focal length."""
    nearest: float
    """Depth below which a landmark is behind the camera."""


class State(NamedTuple):
    """The unknowns."""

    camera_from_world: Float64[np.ndarray, "k 4 4"]
    log_factor: Float64[np.ndarray, " k"]
    landmarks: Float64[np.ndarray, "p 3"]
    log_focal: float = 0.0


class Residuals(NamedTuple):
    """Of the observations."""

    place: Float64[np.ndarray, "n 3"]
    """Of the landmark in the camera; what is behind it, to no effect, 1 before it."""
    value: Float64[np.ndarray, "n 3"]
    """x, y and depth, in standard deviations."""
    weight: Float64[np.ndarray, "n 3"]
    """Derivative of the cost by the squared residual: 1 where all of them are small, 0 for what is unknown."""
    cost: float


class Step(NamedTuple):
    """Normal equations of a step, symmetric; [dc; dl; df] are unknown, of cameras, landmarks and focal length.

    [cameras, coupling, focal_cameras; .., landmarks, focal_landmarks; .., .., focal] on the left, on the right the
    sides. A pose moves from the left (translation, then rotation vector); the seventh unknown of a camera is the
    logarithm of its factor. df is in standard deviations of what is known beforehand; where that is for sure, nothing
    depends on it.
    """

    cameras: Float64[np.ndarray, "k 7 7"]
    landmarks: Float64[np.ndarray, "p 3 3"]
    coupling: Float64[np.ndarray, "n 3 7"]
    """Of the landmark and the camera of each observation."""
    camera_side: Float64[np.ndarray, "k 7"]
    landmark_side: Float64[np.ndarray, "p 3"]
    focal_cameras: Float64[np.ndarray, "k 7"]
    focal_landmarks: Float64[np.ndarray, "p 3"]
    focal: float
    focal_side: float


class Kernels(NamedTuple):
    """The functions below, compiled."""

    pairs: Callable[[Order, int], Int64[np.ndarray, " views"]]
    residuals: Callable[..., Residuals]
    normal_equations: Callable[..., Step]
    eliminated: Callable[..., tuple[Float64[np.ndarray, "s 7 7"], Float64[np.ndarray, "k 7 2"]]]
    landmark_steps: Callable[..., Float64[np.ndarray, "p 3"]]


@cache
def kernels() -> Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only adjustment has to spend

    for part in (_geman_mcclure, _linearised, _add_product):
        register_jitable(part)
    return Kernels(*map(compiled, (_pairs, _residuals, _normal_equations, _eliminated, _landmark_steps)))


# Numba infers the types of the functions below itself.


@no_type_check
def _pairs(order, cameras):  # noqa: ANN001, ANN202
    """For each two observations of one landmark, and each with itself: first camera * k + second camera."""
    camera, starts = order.camera, order.starts
    views = starts[1:] - starts[:-1]
    keys = np.zeros((views * (views + 1) // 2).sum(), np.int64)
    at = 0
    for p in range(len(starts) - 1):
        for a in range(starts[p], starts[p + 1]):
            for b in range(a, starts[p + 1]):
                keys[at] = camera[a] * cameras + camera[b]
                at += 1
    return keys


@no_type_check
def _residuals(order, measured, state, scales, losses):  # noqa: ANN001, ANN202
    """Of all observations; the cost without what is known beforehand.

    Measured are x and y from the middle of the picture, in standard deviations, and log(depth). Losses flatten from
    the given residuals on: that of depth, that of all.
    """
    n = len(order.camera)
    place, value, weight = np.zeros((n, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    zoom = np.exp(state.log_focal)
    cost = 0.0
    for i in range(n):
        c, p = order.camera[i], order.landmark[i]
        for r in range(3):
            place[i, r] = state.camera_from_world[c, r, 3]
            for j in range(3):
                place[i, r] += state.camera_from_world[c, r, j] * state.landmarks[p, j]
        ahead = place[i, 2] > scales.nearest
        z = place[i, 2] if ahead else 1.0
        place[i, 2] = z
        x = place[i, 0] / z * scales.focal_x * zoom - measured[i, 0]
        y = place[i, 1] / z * scales.focal_y * zoom - measured[i, 1]
        far = (np.log(z) - measured[i, 2] - state.log_factor[c]) / scales.depth
        known = np.isfinite(far)
        value[i, 0], value[i, 1], value[i, 2] = x, y, far if known else 0.0
        of_depth, depth_weight = _geman_mcclure(value[i, 2] ** 2, losses[0])
        of_all, all_weight = _geman_mcclure(x**2 + y**2 + of_depth, losses[1])
        weight[i, 0] = weight[i, 1] = all_weight if ahead else 0.0
        weight[i, 2] = weight[i, 0] * depth_weight if known else 0.0
        cost += of_all if ahead else losses[1] ** 2  # behind the camera: as much as the worst mismatch
    return Residuals(place, value, weight, cost)


@no_type_check
def _geman_mcclure(square, loss):  # noqa: ANN001, ANN202
    """Loss and its derivative: s / (1 + s / c^2)."""
    flat = 1 + square / loss**2
    return square / flat, flat**-2


@no_type_check
def _normal_equations(order, free, state, residuals, scales):  # noqa: ANN001, ANN202
    """Without what is known beforehand: J' W J and -J' W r."""
    n, k, p = len(order.camera), len(state.camera_from_world), len(state.landmarks)
    cameras, camera_side, focal_cameras = np.zeros((k, 7, 7)), np.zeros((k, 7, 1)), np.zeros((k, 7, 1))
    landmarks, landmark_side, focal_landmarks = np.zeros((p, 3, 3)), np.zeros((p, 3, 1)), np.zeros((p, 3, 1))
    coupling = np.zeros((n, 3, 7))
    focal, focal_side = np.zeros((1, 1)), np.zeros((1, 1))
    by_camera, by_landmark, by_focal, off = np.zeros((3, 7)), np.zeros((3, 3)), np.zeros((3, 1)), np.zeros((3, 1))
    for i in range(n):
        c, p = order.camera[i], order.landmark[i]
        _linearised(i, state.camera_from_world[c], state.log_focal, residuals, scales, by_camera, by_landmark, by_focal)
        for r in range(3):
            off[r, 0] = -np.sqrt(residuals.weight[i, r]) * residuals.value[i, r]
            for j in range(6):
                by_camera[r, j] *= free[c]
        _add_product(cameras[c], by_camera, by_camera)
        _add_product(camera_side[c], by_camera, off)
        _add_product(focal_cameras[c], by_camera, by_focal)
        _add_product(coupling[i], by_landmark, by_camera)
        _add_product(landmarks[p], by_landmark, by_landmark)
        _add_product(landmark_side[p], by_landmark, off)
        _add_product(focal_landmarks[p], by_landmark, by_focal)
        _add_product(focal, by_focal, by_focal)
        _add_product(focal_side, by_focal, off)
    camera_side, focal_cameras = camera_side.reshape(k, 7), focal_cameras.reshape(k, 7)
    landmark_side, focal_landmarks = landmark_side.reshape(-1, 3), focal_landmarks.reshape(-1, 3)
    return Step(
        cameras,
        landmarks,
        coupling,
        camera_side,
        landmark_side,
        focal_cameras,
        focal_landmarks,
        focal[0, 0],
        focal_side[0, 0],
    )


@no_type_check
def _linearised(i, pose, log_focal, residuals, scales, by_camera, by_landmark, by_focal):  # noqa: ANN001, ANN202, PLR0913, PLR0917 - memory of the caller
    """Derivatives of one observation's residuals, times the roots of their weights."""
    x, y, z = residuals.place[i, 0], residuals.place[i, 1], residuals.place[i, 2]
    zoom, root = np.exp(log_focal), np.sqrt(residuals.weight[i])
    by_x, by_y, by_depth = (
        root[0] * scales.focal_x * zoom / z,
        root[1] * scales.focal_y * zoom / z,
        root[2] / scales.depth,
    )
    by_camera[0, 0], by_camera[0, 1], by_camera[0, 2] = by_x, 0.0, -by_x * x / z
    by_camera[1, 0], by_camera[1, 1], by_camera[1, 2] = 0.0, by_y, -by_y * y / z
    by_camera[2, 0], by_camera[2, 1], by_camera[2, 2] = 0.0, 0.0, by_depth / z
    by_camera[2, 6] = -by_depth
    by_focal[0, 0], by_focal[1, 0] = by_x * x * scales.focal, by_y * y * scales.focal
    for r in range(3):
        u, v, w = by_camera[r, 0], by_camera[r, 1], by_camera[r, 2]
        by_camera[r, 3], by_camera[r, 4], by_camera[r, 5] = y * w - z * v, z * u - x * w, x * v - y * u
        for j in range(3):
            by_landmark[r, j] = u * pose[0, j] + v * pose[1, j] + w * pose[2, j]


@no_type_check
def _add_product(total, left, right):  # noqa: ANN001, ANN202
    """Add left' right, of three rows each; numpy's own product takes longer to call than such a small one takes."""
    for i in range(left.shape[1]):
        x, y, z = left[0, i], left[1, i], left[2, i]
        for j in range(right.shape[1]):
            total[i, j] += x * right[0, j] + y * right[1, j] + z * right[2, j]


@no_type_check
def _eliminated(order, pair, pairs, inverse, step):  # noqa: ANN001, ANN202
    """What landmarks take from the system of the cameras.

    That is from the block of each pair of cameras (s, 7, 7), the first of a pair being the lower one, and from their
    sides and the border of the focal length (k, 7, 2); ``pair`` says which pair is that of ``_pairs``.
    """
    blocks, taken = np.zeros((pairs, 7, 7)), np.zeros((len(step.cameras), 7, 2))
    sides = np.stack((step.landmark_side, step.focal_landmarks), axis=2)
    through = np.zeros((3, 7))
    at = 0
    for p in range(len(inverse)):
        for a in range(order.starts[p], order.starts[p + 1]):
            through[:] = 0.0
            _add_product(through, inverse[p], step.coupling[a])  # the inverse is symmetric
            _add_product(taken[order.camera[a]], through, sides[p])
            for b in range(a, order.starts[p + 1]):
                _add_product(blocks[pair[at]], through, step.coupling[b])
                if b > a and order.camera[b] == order.camera[a]:
                    _add_product(blocks[pair[at]], step.coupling[b], through)
                at += 1
    return blocks, taken


@no_type_check
def _landmark_steps(order, inverse, step, cameras, focal):  # noqa: ANN001, ANN202
    """The steps of the landmarks (p, 3) that go with those of the cameras (k, 7) and of the focal length."""
    steps, rest = np.zeros((len(inverse), 3, 1)), np.zeros((3, 1))
    for p in range(len(inverse)):
        for j in range(3):
            rest[j, 0] = step.landmark_side[p, j] - focal * step.focal_landmarks[p, j]
            for a in range(order.starts[p], order.starts[p + 1]):
                for i in range(7):
                    rest[j, 0] -= step.coupling[a, j, i] * cameras[order.camera[a], i]
        _add_product(steps[p], inverse[p], rest)
    return steps.reshape(-1, 3)
