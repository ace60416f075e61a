"""Bundle adjustment with depth as a prior: cameras and landmarks from what several pictures see of them.

Pictures say directions, sharply; the depth of a network says lengths, roughly: each of its maps is wrong by a factor of
its own, and each value in it once more. So a landmark is where the pictures say, the unit of length is what the depth
maps say together, and depth alone decides only where the camera has hardly moved.

Least squares over camera poses, a factor for each depth map, and landmarks (Triggs et al. 2000, sections 2 and 6):

* reprojection errors in standard deviations of a pixel, by the loss of Geman and McClure, which lets mismatches go;
* log(depth seen from the camera / (factor * depth of the map)), by the loss of Cauchy;
* log(factor), normal.

Levenberg and Marquardt's steps; landmarks are eliminated from each of them by Schur's complement (section 6.1), so that
a system with 7 unknowns for a camera remains. Shapes: n observations, k cameras, p landmarks.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float64, Int64
from scipy.sparse.linalg import splu
from scipy.spatial.transform import Rotation

from recon.types import Intrinsics

_LOSS: Final = 2.0
"""Residual, in standard deviations, from which on a loss flattens."""
_STEPS: Final = 50
_SETTLED: Final = 1e-5
"""Relative gain below which the steps end."""
_DAMPING: Final = 1e-4
_MOST_DAMPING: Final = 1e6
_NEAREST: Final = 1e-3
"""Depth below which a landmark counts as behind the camera, in median depths."""
_UNKNOWNS: Final = 7
"""Of a camera: translation, rotation, logarithm of the factor of its depth map."""

Transforms = Float64[np.ndarray, "k 4 4"]
Points = Float64[np.ndarray, "p 3"]


@dataclass(frozen=True, slots=True)
class Observations:
    """What pictures see of landmarks, at most once each."""

    camera: Int64[np.ndarray, " n"]
    landmark: Int64[np.ndarray, " n"]
    pixel: Float64[np.ndarray, "n 2"]
    """Corner origin."""
    depth: Float64[np.ndarray, " n"]
    """Of the picture's depth map there; NaN where it is unknown."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of what is observed."""

    pixel: float = 1.0
    depth: float = 0.08
    """Relative, of a single value."""
    map: float = 0.05
    """Relative, of all values of one depth map."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Cameras and landmarks."""

    camera_from_world: Transforms
    depth_factor: Float64[np.ndarray, " k"]
    """Depth seen from the camera over that of its depth map."""
    landmarks: Points


def adjusted(start: Bundle, seen: Observations, intrinsics: Intrinsics, noise: Noise) -> Bundle:
    """The most likely cameras and landmarks near ``start``.

    The first camera stays where it is; the unit of length is that of the depth maps. Landmarks should be seen by two
    cameras or more; one that is seen by none, or a camera that sees none, stays.

    Args:
        start: where to begin: a few pixels off, not a hundred.
        seen: what was observed, mismatches and all.
        intrinsics: the camera of all pictures.
        noise: how much to trust each of them.
    """
    problem = _Problem(seen, intrinsics, noise)
    state = _State(start.camera_from_world, np.log(start.depth_factor), start.landmarks)
    residuals, damping = problem.residuals(state), _DAMPING
    for _ in range(_STEPS):
        trial = problem.stepped(state, residuals, damping)
        trial_residuals = problem.residuals(trial)
        gain = residuals.cost - trial_residuals.cost
        if gain >= 0:
            settled = gain <= _SETTLED * residuals.cost
            state, residuals, damping = trial, trial_residuals, damping / 5
            if settled:
                break
        else:
            damping *= 10
        if damping > _MOST_DAMPING:
            break
    return Bundle(state.camera_from_world, np.exp(state.log_factor), state.landmarks)


class _State(NamedTuple):
    camera_from_world: Transforms
    log_factor: Float64[np.ndarray, " k"]
    landmarks: Points


class _Residuals(NamedTuple):
    place: Float64[np.ndarray, "n 3"]
    """Of the landmark in the camera."""
    value: Float64[np.ndarray, "n 3"]
    """x, y and depth, in standard deviations."""
    weight: Float64[np.ndarray, "n 3"]
    """Derivative of the loss by half the squared residual: 1 where it is small, 0 for what is unknown."""
    cost: float


class _Step(NamedTuple):
    """Normal equations of a step: [cameras, coupling; coupling', landmarks] [dc; dl] = [camera_side; landmark_side]."""

    cameras: Float64[np.ndarray, "k 7 7"]
    landmarks: Float64[np.ndarray, "p 3 3"]
    coupling: Float64[np.ndarray, "n 7 3"]
    camera_side: Float64[np.ndarray, "k 7"]
    landmark_side: Float64[np.ndarray, "p 3"]


class _Problem:
    """What does not change from step to step."""

    def __init__(self, seen: Observations, intrinsics: Intrinsics, noise: Noise) -> None:
        self._seen, self._noise = seen, noise
        self._focal = np.array([intrinsics.fx, intrinsics.fy])
        self._centre = np.array([intrinsics.cx, intrinsics.cy])
        self._log_depth = np.log(seen.depth)
        self._nearest = _NEAREST * float(np.nanmedian(seen.depth)) if np.isfinite(seen.depth).any() else _NEAREST

    def residuals(self, state: _State) -> _Residuals:
        """Residuals and their robust weights."""
        pose = state.camera_from_world[self._seen.camera]
        place = np.einsum("nij,nj->ni", pose[:, :3, :3], state.landmarks[self._seen.landmark]) + pose[:, :3, 3]
        ahead = place[:, 2] > self._nearest
        z = np.where(ahead, place[:, 2], 1.0)
        pixel = place[:, :2] / z[:, None] * self._focal + self._centre
        off = (pixel - self._seen.pixel) / self._noise.pixel
        too_far = (np.log(z) - self._log_depth - state.log_factor[self._seen.camera]) / self._noise.depth
        known = ahead & np.isfinite(too_far)
        too_far = np.where(known, too_far, 0.0)
        pixel_loss, pixel_weight = _geman_mcclure(np.square(off).sum(axis=1), ahead)
        depth_loss, depth_weight = _cauchy(np.square(too_far), known)
        prior = np.square(state.log_factor / self._noise.map).sum()
        value = np.column_stack([off, too_far])
        weight = np.column_stack([pixel_weight, pixel_weight, depth_weight])
        return _Residuals(place, value, weight, float(pixel_loss.sum() + depth_loss.sum() + prior))

    def stepped(self, state: _State, residuals: _Residuals, damping: float) -> _State:
        """One step of Levenberg and Marquardt."""
        step = _damped(self._normal_equations(state, residuals), damping)
        inverse = np.linalg.inv(step.landmarks)
        reduced = _schur_complement(step, inverse, self._seen)
        cameras = _solved(*reduced)
        back = step.landmark_side - _by(
            self._seen.landmark,
            np.einsum("nij,ni->nj", step.coupling, cameras[self._seen.camera]),
            len(step.landmarks),
        )
        moved = _exponential(cameras[:, :6]) @ state.camera_from_world
        landmarks = state.landmarks + np.einsum("pij,pj->pi", inverse, back)
        return _State(moved, state.log_factor + cameras[:, 6], landmarks)

    def _normal_equations(self, state: _State, residuals: _Residuals) -> _Step:
        camera, landmark = self._seen.camera, self._seen.landmark
        by_camera, by_landmark = self._jacobians(state, residuals)
        weighed = by_camera * residuals.weight[:, :, None], by_landmark * residuals.weight[:, :, None]
        k, p = len(state.camera_from_world), len(state.landmarks)
        cameras = _by(camera, np.einsum("nri,nrj->nij", weighed[0], by_camera), k)
        camera_side = -_by(camera, np.einsum("nri,nr->ni", weighed[0], residuals.value), k)
        precision = self._noise.map**-2
        cameras[:, 6, 6] += precision
        camera_side[:, 6] -= precision * state.log_factor
        return _Step(
            cameras,
            _by(landmark, np.einsum("nri,nrj->nij", weighed[1], by_landmark), p),
            np.einsum("nri,nrj->nij", weighed[0], by_landmark),
            camera_side,
            -_by(landmark, np.einsum("nri,nr->ni", weighed[1], residuals.value), p),
        )

    def _jacobians(
        self, state: _State, residuals: _Residuals
    ) -> tuple[Float64[np.ndarray, "n 3 7"], Float64[np.ndarray, "n 3 3"]]:
        """Of the residuals by a camera (moved from the left) and by a landmark."""
        place = residuals.place
        z = np.where(place[:, 2] > self._nearest, place[:, 2], 1.0)
        by_place = np.zeros((len(place), 3, 3))
        slope = self._focal / self._noise.pixel / z[:, None]
        by_place[:, [0, 1], [0, 1]] = slope
        by_place[:, :2, 2] = -slope * place[:, :2] / z[:, None]
        by_place[:, 2, 2] = 1 / (self._noise.depth * z)
        by_camera = np.zeros((len(place), 3, _UNKNOWNS))
        by_camera[:, :, :3] = by_place
        by_camera[:, :, 3:6] = -by_place @ _cross(place)
        by_camera[:, 2, 6] = -1 / self._noise.depth
        return by_camera, by_place @ state.camera_from_world[self._seen.camera, :3, :3]


def _geman_mcclure(
    square: Float64[np.ndarray, " n"], known: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Loss and weight; what is not known costs as much as the worst mismatch."""
    flat = 1 + square / _LOSS**2
    return np.where(known, square / flat, _LOSS**2), np.where(known, flat**-2, 0.0)


def _cauchy(
    square: Float64[np.ndarray, " n"], known: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    flat = 1 + square / _LOSS**2
    return np.where(known, _LOSS**2 * np.log(flat), 0.0), np.where(known, 1 / flat, 0.0)


def _damped(step: _Step, damping: float) -> _Step:
    """Marquardt's scaling: each unknown is held back in proportion to its curvature; no curvature, no step."""
    for blocks in (step.cameras, step.landmarks):
        diagonal = np.einsum("kii->ki", blocks)
        diagonal += damping * diagonal + np.finfo(float).eps * (1 + diagonal.max(axis=1, keepdims=True))
    return step


def _schur_complement(
    step: _Step, inverse: Float64[np.ndarray, "p 3 3"], seen: Observations
) -> tuple[sparse.csr_array, Float64[np.ndarray, "k 7"]]:
    """The system of the cameras alone."""
    k, p = len(step.cameras), len(step.landmarks)
    through = step.coupling @ inverse[seen.landmark]
    order = np.lexsort((seen.landmark, seen.camera))
    starts = np.searchsorted(seen.camera[order], np.arange(k + 1))

    def blocks(values: Float64[np.ndarray, "n 7 3"]) -> sparse.bsr_array:
        return sparse.bsr_array((values[order], seen.landmark[order], starts), shape=(_UNKNOWNS * k, 3 * p))

    diagonal = sparse.bsr_array((step.cameras, np.arange(k), np.arange(k + 1)))
    matrix = diagonal.tocsr() - blocks(through).tocsr() @ blocks(step.coupling).tocsr().T
    side = step.camera_side - _by(seen.camera, np.einsum("nij,nj->ni", through, step.landmark_side[seen.landmark]), k)
    return matrix, side


def _solved(matrix: sparse.csr_array, side: Float64[np.ndarray, "k 7"]) -> Float64[np.ndarray, "k 7"]:
    """How the cameras move; the first one's pose does not."""
    free = np.r_[_UNKNOWNS - 1, _UNKNOWNS : side.size]
    step = np.zeros(side.size)
    step[free] = splu(matrix[free][:, free].tocsc()).solve(side.ravel()[free])
    return step.reshape(side.shape)


def _by(group: Int64[np.ndarray, " n"], values: Float64[np.ndarray, "n *shape"], count: int) -> np.ndarray:
    """Sums of the values of each group."""
    chosen = sparse.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(count, len(group)))
    sums: np.ndarray = (chosen @ values.reshape(len(values), -1)).reshape(count, *values.shape[1:])
    return sums


def _cross(v: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3 3"]:
    """Matrices of the cross product: _cross(v) @ w = v x w."""
    matrix = np.zeros((len(v), 3, 3))
    matrix[:, [2, 0, 1], [1, 2, 0]] = v
    matrix[:, [1, 2, 0], [2, 0, 1]] = -v
    return matrix


def _exponential(twist: Float64[np.ndarray, "k 6"]) -> Transforms:
    """Translations and rotation vectors as transforms."""
    transforms = np.tile(np.eye(4), (len(twist), 1, 1))
    transforms[:, :3, :3] = Rotation.from_rotvec(twist[:, 3:]).as_matrix()
    transforms[:, :3, 3] = twist[:, :3]
    return transforms
