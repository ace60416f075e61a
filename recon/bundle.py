"""Bundle adjustment with depth as a prior: cameras and landmarks from what several pictures see of them.

Pictures say directions, sharply; the depth of a network says lengths, roughly: each of its maps is wrong by a factor of
its own, and each value in it once more. So a landmark is where the pictures say, the unit of length is what the depth
maps say together, and depth alone decides only where the camera has hardly moved.

Least squares over camera poses, a factor for each depth map, and landmarks (Triggs et al. 2000, sections 2 and 6). The
cost is the sum of

* for each observation g(x^2 + y^2 + g(d^2)), where x and y are the reprojection error in standard deviations of a
  pixel, d is log(depth seen from the camera / (factor * depth of the map)) in standard deviations of depth, and g is
  the loss of Geman and McClure, which lets mismatches go: a depth that is far off costs the pixel little, but where the
  pixel is far off, its depth is that of something else, and counts as little;
* log(factor)^2 in standard deviations, and that of the focal length where it is not known for sure: one more unknown,
  which all observations share.

The steps are those of Levenberg and Marquardt, the losses enter as weights (Triggs et al., section 4.3, without the
second-order term, so that no curvature is negative). Far from the answer everything would look like a mismatch: the
loss begins as wide as most of the residuals and halves from step to step (Yang et al. 2020, graduated non-convexity).
Landmarks are eliminated from each step by Schur's complement (Triggs et al., section 6.1), and a sparse system with 7
unknowns for a camera remains. Memory and time grow with the observations, and with the pairs of cameras that see
something in common. The focal length is a border of that system, one row and one column, and is solved for through
the same factors.

Shapes: n observations, k cameras, p landmarks. Lengths are in the unit of the depth maps.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import exp, inf, isfinite, log, sqrt
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from recon.fitting import SIGMA_FROM_MAD
from recon.geometry import project
from recon.types import Intrinsics

_LOSS: Final = 2.0
"""Residual, in standard deviations, from which on a loss flattens."""
_WIDEST: Final = 3.0
"""Where it flattens at first, in medians of the reprojection errors."""
_PIXEL_EFFICIENCY: Final = 0.7472
_DEPTH_EFFICIENCY: Final = 0.5567
"""Information that the losses leave of normal residuals: E[derivative of the slope]^2 / E[slope^2] (Huber 1981)."""
_INLIER: Final = 3.0
"""Standard deviations within which a residual counts as normal."""
_STEPS: Final = 50
_SETTLED: Final = 1e-5
"""Steps end when one promises to lower the cost by less than this part of it: centres are then within a tenth of their
standard deviation of where they would end."""
_DAMPING: Final = 1e-4
_LEAST_DAMPING: Final = 1e-10
"""Holds what nothing determines, as the depth of a landmark that one camera sees, so that no system is singular."""
_MOST_DAMPING: Final = 1e8
_NEAREST: Final = 1e-3
"""Depth below which a landmark counts as behind the camera, in median depths."""
_MISMATCH: Final = 3.0
"""Pixels from which on an observation says nothing of depth."""
_REDUNDANT: Final = 0.25
_LEAST_KNOWN: Final = 200
"""With fewer observations for each unknown, or fewer depths in all, nothing is said of how exact they are."""
_RAYLEIGH: Final = 1.1774
"""Median distance from the middle of points that scatter by 1 along both axes: sqrt(2 ln 2)."""
_LEAST_PIXEL: Final = 0.15
_LEAST_DEPTH: Final = 0.01
"""Nothing is believed to be more exact than that."""
_ALIKE: Final = 0.95
"""Largest correlation that is believed."""
_FAR: Final = 1e6
"""Pixels; more than two pictures are wide."""
_UNKNOWNS: Final = 7
"""Of a camera: translation, rotation, logarithm of the factor of its depth map."""
_KINDS: Final = (slice(0, 3), slice(3, 6), slice(6, 7))
_AT_ONCE: Final = 64
"""Cameras whose covariances are looked up together: bounds the memory."""

Transforms = Float64[np.ndarray, "k 4 4"]
Landmarks = Float64[np.ndarray, "p 3"]
CameraSteps = Float64[np.ndarray, "k 7"]
Held = Bool[np.ndarray, " k"]
Squares = Float64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class Observations:
    """What pictures see of landmarks, in any order.

    Raises:
        ValueError: columns of different lengths, a negative number, a pixel that is not finite, a depth that is neither
            positive nor NaN.
    """

    camera: Int64[np.ndarray, " n"]
    landmark: Int64[np.ndarray, " n"]
    pixel: Float64[np.ndarray, "n 2"]
    """Image coordinates, corner origin."""
    depth: Float64[np.ndarray, " n"]
    """Of the picture's depth map there, along +z; NaN where it is unknown."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.camera, self.landmark, self.pixel, self.depth)}
        if len(lengths) > 1:
            raise ValueError(f"observations need columns of one length, got {sorted(lengths)}")
        if (self.camera < 0).any() or (self.landmark < 0).any():
            raise ValueError("cameras and landmarks are numbered from 0, got a negative number")
        if not np.isfinite(self.pixel).all():
            raise ValueError("the pixel of an observation must be finite")
        if (np.isinf(self.depth) | (self.depth <= 0)).any():
            raise ValueError("the depth of an observation must be positive, or NaN where it is unknown")

    def of(self, chosen: Bool[np.ndarray, " n"]) -> "Observations":
        """Some of them."""
        return Observations(self.camera[chosen], self.landmark[chosen], self.pixel[chosen], self.depth[chosen])


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of what is observed.

    Raises:
        ValueError: one of them is not positive, or that of the focal length negative.
    """

    pixel: float = 1.0
    """Pixels, along each axis."""
    depth: float = 0.08
    """Relative, of a single value."""
    map: float = 0.05
    """Relative, of all values of one depth map."""
    focal: float = 0.0
    """Relative, of the focal length of all pictures; 0 where it is known."""

    def __post_init__(self) -> None:
        if not (min(self.pixel, self.depth, self.map) > 0 and 0 <= self.focal < inf):
            raise ValueError(f"standard deviations must be positive (that of the focal length: or 0), got {self}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Cameras and landmarks.

    Raises:
        ValueError: not as many factors as cameras, a factor that is not positive, a number that is not finite.
    """

    camera_from_world: Transforms
    depth_factor: Float64[np.ndarray, " k"]
    """Depth seen from the camera over that of its depth map."""
    landmarks: Landmarks
    """In the world."""
    focal_factor: float = 1.0
    """Focal length over that of the intrinsics, for all pictures."""

    def __post_init__(self) -> None:
        if len(self.depth_factor) != len(self.camera_from_world):
            raise ValueError(
                f"{len(self.camera_from_world)} cameras need as many factors, got {len(self.depth_factor)}"
            )
        if not (np.isfinite(self.camera_from_world).all() and np.isfinite(self.landmarks).all()):
            raise ValueError("cameras and landmarks must be finite")
        if not (self.depth_factor > 0).all():
            raise ValueError(f"factors of depth must be positive, the least is {self.depth_factor.min():g}")
        if not (self.focal_factor > 0 and isfinite(self.focal_factor)):
            raise ValueError(f"the factor of the focal length must be positive, got {self.focal_factor:g}")

    def zoomed(self, intrinsics: Intrinsics) -> Intrinsics:
        """The camera that took the pictures: these intrinsics with the focal length of the bundle."""
        return replace(intrinsics, fx=intrinsics.fx * self.focal_factor, fy=intrinsics.fy * self.focal_factor)

    def in_unit_of_depth(self) -> "Bundle":
        """The same, longer or shorter in all, so that the depth maps are right in the mean.

        No pixel tells the unit of length, and where an adjustment begins far from it (with another focal length, say)
        it comes there last of all; with every factor as likely as its inverse, this is where the cost is least.
        """
        scale = float(np.exp(-np.log(self.depth_factor).mean()))
        poses = self.camera_from_world.copy()
        poses[:, :3, 3] *= scale
        return Bundle(poses, self.depth_factor * scale, self.landmarks * scale, self.focal_factor)


def adjusted(
    start: Bundle,
    seen: Observations,
    intrinsics: Intrinsics,
    noise: Noise,
    *,
    held: Held | None = None,
    most_steps: int = _STEPS,
) -> Bundle:
    """The most likely cameras and landmarks near ``start``, and focal length, where ``noise`` says that it is not sure.

    What nothing determines stays: a camera that sees nothing (its factor becomes 1, the most likely one), a landmark
    that nothing sees, the distance of a landmark that one camera sees without depth, the unit of length without any
    depth; a focal length of which the pictures say nothing becomes that of ``intrinsics``. An observation of a landmark
    that is behind the camera counts as a mismatch for as long as it is there.

    Args:
        start: where to begin: a few tens of pixels off, at the most.
        seen: what was observed, mismatches and all.
        intrinsics: the camera of all pictures, as it is known beforehand.
        noise: how much to trust each of them.
        held: cameras whose pose stays (the factor of their depth map is found as that of the others); None: the first.
        most_steps: a few suffice where the start is near, and what remains is found later.

    Raises:
        ValueError: an observation of a camera or landmark that ``start`` does not have, or ``held`` of another length.
    """
    problem = _Problem(_Setting.of(start, seen, held), intrinsics, noise)
    state = _settled(problem, _State.of(start), most_steps)
    return Bundle(state.camera_from_world, np.exp(state.log_factor), state.landmarks, exp(state.log_focal))


def residual_pixels(bundle: Bundle, seen: Observations, intrinsics: Intrinsics) -> Float64[np.ndarray, " n"]:
    """Distance in pixels between where a landmark is seen and where it should be; infinite behind the camera.

    Where it is below three standard deviations of a pixel or so, the observation is an inlier.
    """
    place = _in_cameras(bundle.camera_from_world, bundle.landmarks, seen)
    off: Float64[np.ndarray, " n"] = np.linalg.norm(project(place, bundle.zoomed(intrinsics)) - seen.pixel, axis=1)
    return np.where(np.isnan(off), inf, off)


def centre_sigma(
    bundle: Bundle, seen: Observations, intrinsics: Intrinsics, noise: Noise, *, held: Held | None = None
) -> Float64[np.ndarray, " k"]:
    """Standard deviation of each camera's centre along the axis on which it is known least, in units of length.

    It is that of an adjusted bundle under normal noise of the given size, relative to the held cameras, landmarks and
    factors unknown: the blocks of the inverse of the reduced system (Triggs et al. 2000, section 6.1), with what lies
    within three standard deviations and what the losses leave of that. 0 for cameras that are held, infinite for those
    of which no inlier is left, and many times their distance without depth, where nothing tells the unit of length.

    Raises:
        ValueError: as for ``adjusted``.
    """
    setting = _Setting.of(bundle, seen, held)
    step, reduced = _information(_Problem(setting, intrinsics, noise), bundle)
    known = step.cameras[:, 0, 0] > 0
    variance = np.concatenate([np.linalg.eigvalsh(blocks)[:, -1] for blocks in _translations(_Bordered(reduced))])
    return np.where(known, np.sqrt(variance), np.where(setting.held, 0.0, inf))


def focal_sigma(
    bundle: Bundle, seen: Observations, intrinsics: Intrinsics, noise: Noise, *, held: Held | None = None
) -> float:
    """Relative standard deviation of an adjusted bundle's focal length, everything else unknown; see ``centre_sigma``.

    It lies between 0 and that of ``noise``, and near the latter where the pictures say nothing of it.

    Raises:
        ValueError: as for ``adjusted``.
    """
    _, reduced = _information(_Problem(_Setting.of(bundle, seen, held), intrinsics, noise), bundle)
    return noise.focal / sqrt(_Bordered(reduced).curvature)


def noise_of(bundle: Bundle, seen: Observations, intrinsics: Intrinsics) -> Noise | None:
    """How exact pixels and depth maps were, from what an adjustment left of them; None where that is too little.

    A sensor's maps then count for much, those of a network for little. The errors of a network are alike in places that
    are near each other: n values with a correlation r between neighbours say as much as n (1 - r) / (1 + r) that have
    none (the effective size of a first-order autoregressive sample: Bayley and Hammersley 1946). They also come back
    from map to map: m values of one landmark with a correlation r say as much as m / (1 + (m - 1) r) (Kish 1965, the
    design effect of clusters).
    """
    off = residual_pixels(bundle, seen, intrinsics)
    redundant = 2 * len(off) - 3 * len(bundle.landmarks) - 6 * len(bundle.camera_from_world)
    depth = _in_cameras(bundle.camera_from_world, bundle.landmarks, seen)[:, 2]
    known = np.isfinite(seen.depth) & (depth > 0) & (off < _MISMATCH)
    if redundant < _REDUNDANT * len(off) or known.sum() < _LEAST_KNOWN:
        return None
    seen = seen.of(known)
    error = np.log(depth[known] / seen.depth) - np.log(bundle.depth_factor)[seen.camera]
    spread = max(_sigma(error), _LEAST_DEPTH)
    beside, again = (_correlation(apart, spread) for apart in (_apart(seen, error), _between_maps(seen, error)))
    views = len(error) / len(np.unique(seen.landmark))
    return Noise(
        pixel=max(_LEAST_PIXEL, float(np.median(off)) / _RAYLEIGH * sqrt(2 * len(off) / redundant)),
        depth=spread * sqrt((1 + beside) / (1 - beside) * (1 + (views - 1) * again)),
        map=max(_LEAST_DEPTH, _sigma(np.log(bundle.depth_factor))),
    )


# ------------------------------------------------------------------------------------------------------- what is given


class _Setting(NamedTuple):
    """What is seen, camera after camera, and by what."""

    seen: Observations
    held: Held
    landmarks: int
    nearest: float
    """Depth below which a landmark is behind the camera."""

    @classmethod
    def of(cls, bundle: Bundle, seen: Observations, held: Held | None) -> "_Setting":
        cameras, landmarks = len(bundle.camera_from_world), len(bundle.landmarks)
        for name, number, count in (("camera", seen.camera, cameras), ("landmark", seen.landmark, landmarks)):
            if number.max(initial=-1) >= count:
                raise ValueError(f"an observation is of {name} {number.max()}, but there are {count}")
        held = np.arange(cameras) == 0 if held is None else held
        if len(held) != cameras:
            raise ValueError(f"{cameras} cameras are held or not, got {len(held)}")
        order = np.lexsort((seen.landmark, seen.camera))
        seen = Observations(seen.camera[order], seen.landmark[order], seen.pixel[order], seen.depth[order])
        depth = _in_cameras(bundle.camera_from_world, bundle.landmarks, seen)[:, 2]
        ahead = depth[depth > 0]
        return cls(seen, held, landmarks, _NEAREST * float(np.median(ahead)) if len(ahead) else 0.0)


def _in_cameras(camera_from_world: Transforms, landmarks: Landmarks, seen: Observations) -> Float64[np.ndarray, "n 3"]:
    """Each landmark that is seen, in the frame of the camera that sees it."""
    pose = camera_from_world[seen.camera]
    place: Float64[np.ndarray, "n 3"] = np.einsum("nij,nj->ni", pose[:, :3, :3], landmarks[seen.landmark])
    place += pose[:, :3, 3]
    return place


# --------------------------------------------------------------------------------------------------------------- steps


class _State(NamedTuple):
    camera_from_world: Transforms
    log_factor: Float64[np.ndarray, " k"]
    landmarks: Landmarks
    log_focal: float = 0.0

    @classmethod
    def of(cls, bundle: Bundle) -> "_State":
        return cls(bundle.camera_from_world, np.log(bundle.depth_factor), bundle.landmarks, log(bundle.focal_factor))


class _Residuals(NamedTuple):
    place: Float64[np.ndarray, "n 3"]
    """Of the landmark in the camera; what is behind it, to no effect, 1 before it."""
    value: Float64[np.ndarray, "n 3"]
    """x, y and depth, in standard deviations."""
    weight: Float64[np.ndarray, "n 3"]
    """Derivative of the cost by the squared residual: 1 where all of them are small, 0 for what is unknown."""
    cost: float


class _Step(NamedTuple):
    """Normal equations of a step, symmetric; [dc; dl; df] are unknown, of cameras, landmarks and focal length.

    [cameras, coupling, focal_cameras; .., landmarks, focal_landmarks; .., .., focal] on the left, on the right the
    sides. df is in standard deviations of what is known beforehand; where that is for sure, nothing depends on it.
    """

    cameras: Float64[np.ndarray, "k 7 7"]
    landmarks: Float64[np.ndarray, "p 3 3"]
    coupling: Float64[np.ndarray, "n 7 3"]
    camera_side: CameraSteps
    landmark_side: Landmarks
    focal_cameras: CameraSteps
    focal_landmarks: Landmarks
    focal: float
    focal_side: float


class _Reduced(NamedTuple):
    """The system without the landmarks, [matrix, border; border', focal] [dc; df] = [side; focal_side].

    Then dl = inverse (landmark_side - coupling' dc - focal_landmarks df).
    """

    matrix: sparse.bsr_array
    border: CameraSteps
    focal: float
    side: CameraSteps
    focal_side: float
    inverse: Float64[np.ndarray, "p 3 3"]


class _Problem:
    """What does not change from step to step."""

    def __init__(self, setting: _Setting, intrinsics: Intrinsics, noise: Noise) -> None:
        self._seen, self._nearest, self._noise = setting.seen, setting.nearest, noise
        self._focal = np.array([intrinsics.fx, intrinsics.fy]) / noise.pixel
        self._focal_prior = 1 / noise.focal if noise.focal > 0 else 0.0
        self._pixel = (setting.seen.pixel - [intrinsics.cx, intrinsics.cy]) / noise.pixel
        self._log_depth = np.log(setting.seen.depth)
        self._free = ~setting.held[setting.seen.camera]
        self._by_camera = _Sums(setting.seen.camera, len(setting.held))
        self._by_landmark = _Sums(setting.seen.landmark, setting.landmarks)

    def first_loss(self, state: _State) -> float:
        """Reprojection error from which on its loss flattens at first, in standard deviations."""
        square = np.square(self.residuals(state, _LOSS).value[:, :2]).sum(axis=1)
        return max(_LOSS, _WIDEST * float(np.sqrt(np.median(square)))) if len(square) else _LOSS

    def residuals(self, state: _State, loss: float) -> _Residuals:
        """Residuals and their robust weights; observations count less from ``loss`` on."""
        place = _in_cameras(state.camera_from_world, state.landmarks, self._seen)
        ahead = place[:, 2] > self._nearest
        place[:, 2] = np.where(ahead, place[:, 2], 1.0)
        off = place[:, :2] / place[:, 2:] * (self._focal * exp(state.log_focal)) - self._pixel
        too_far = (np.log(place[:, 2]) - self._log_depth - state.log_factor[self._seen.camera]) / self._noise.depth
        known = np.isfinite(too_far)
        too_far[~known] = 0
        depth_loss, depth_weight = _geman_mcclure(np.square(too_far), _LOSS)
        both_loss, weight = _geman_mcclure(np.square(off).sum(axis=1) + depth_loss, loss)
        cost = np.where(ahead, both_loss, loss**2).sum()  # behind the camera: as much as the worst mismatch
        prior = np.square(state.log_factor / self._noise.map).sum() + (self._focal_prior * state.log_focal) ** 2
        weights = np.column_stack([weight, weight, weight * depth_weight * known]) * ahead[:, None]
        return _Residuals(place, np.column_stack([off, too_far]), weights, float(cost + prior))

    def stepped(self, state: _State, residuals: _Residuals, damping: float) -> tuple[_State, float]:
        """One step of Levenberg and Marquardt, and by how much it lowers the cost of the linear problem at least."""
        step = _damped(self.normal_equations(state, residuals), damping)
        reduced = self.reduced(step)
        cameras, focal = _Bordered(reduced).solved()
        through = np.einsum("nij,ni->nj", step.coupling, cameras[self._seen.camera])
        side = step.landmark_side - self._by_landmark(through) - focal * step.focal_landmarks
        landmarks = np.einsum("pij,pj->pi", reduced.inverse, side)
        promised = float((cameras * step.camera_side).sum() + (landmarks * step.landmark_side).sum())
        trial = _State(
            _exponential(cameras[:, :6]) @ state.camera_from_world,
            state.log_factor + cameras[:, 6],
            state.landmarks + landmarks,
            state.log_focal + self._noise.focal * focal,
        )
        return trial, promised + focal * step.focal_side

    def normal_equations(self, state: _State, residuals: _Residuals) -> _Step:
        """Of Gauss and Newton: J' W J and -J' W r, with what is known beforehand of factors and focal length."""
        by_camera, by_landmark, by_focal = self._jacobians(state, residuals)
        value = np.sqrt(residuals.weight) * residuals.value
        cameras = self._by_camera(by_camera.swapaxes(1, 2) @ by_camera)
        camera_side = -self._by_camera(np.einsum("nri,nr->ni", by_camera, value))
        cameras[:, 6, 6] += self._noise.map**-2
        camera_side[:, 6] -= self._noise.map**-2 * state.log_factor
        return _Step(
            cameras,
            self._by_landmark(by_landmark.swapaxes(1, 2) @ by_landmark),
            by_camera.swapaxes(1, 2) @ by_landmark,
            camera_side,
            -self._by_landmark(np.einsum("nri,nr->ni", by_landmark, value)),
            self._by_camera(np.einsum("nri,nr->ni", by_camera, by_focal)),
            self._by_landmark(np.einsum("nri,nr->ni", by_landmark, by_focal)),
            1 + float(np.square(by_focal).sum()),
            -float((by_focal * value).sum()) - self._focal_prior * state.log_focal,
        )

    def reduced(self, step: _Step) -> _Reduced:
        """The system that is left of a damped one without the landmarks."""
        inverse = np.linalg.inv(step.landmarks)
        through = step.coupling @ inverse[self._seen.landmark]
        matrix = _blocks(step.cameras) - self._couplings(through) @ self._couplings(step.coupling).T
        sides = np.stack([step.landmark_side, step.focal_landmarks], axis=2)
        side, border = np.moveaxis(self._by_camera(through @ sides[self._seen.landmark]), 2, 0)
        focal, focal_side = np.einsum("pi,pij,pjs->s", step.focal_landmarks, inverse, sides[:, :, ::-1])
        return _Reduced(
            matrix,
            step.focal_cameras - border,
            step.focal - float(focal),
            step.camera_side - side,
            step.focal_side - float(focal_side),
            inverse,
        )

    def _couplings(self, values: Float64[np.ndarray, "n 7 3"]) -> sparse.bsr_array:
        shape = _UNKNOWNS * self._by_camera.count, 3 * self._by_landmark.count
        return sparse.bsr_array((values, self._seen.landmark, self._by_camera.starts), shape=shape, blocksize=(7, 3))

    def _jacobians(
        self, state: _State, residuals: _Residuals
    ) -> tuple[Float64[np.ndarray, "n 3 7"], Float64[np.ndarray, "n 3 3"], Float64[np.ndarray, "n 3"]]:
        """Of the residuals times the roots of their weights: by a camera (moved from the left), a landmark, the focal.

        That is in standard deviations of what is known of it beforehand.
        """
        place, root = residuals.place, np.sqrt(residuals.weight)
        slope = root / place[:, 2:] * [*(self._focal * exp(state.log_focal)), 1 / self._noise.depth]
        by_place = slope[:, :, None] * np.eye(3)
        by_place[:, :2, 2] = -slope[:, :2] * place[:, :2] / place[:, 2:]
        by_camera = np.zeros((len(place), 3, _UNKNOWNS))
        by_camera[:, :, :3] = by_place * self._free[:, None, None]
        by_camera[:, :, 3:6] = np.cross(place[:, None], by_camera[:, :, :3])
        by_camera[:, 2, 6] = -root[:, 2] / self._noise.depth
        by_focal = slope * place * [self._noise.focal, self._noise.focal, 0]
        return by_camera, by_place @ state.camera_from_world[self._seen.camera, :3, :3], by_focal


def _settled(problem: _Problem, state: _State, most_steps: int) -> _State:
    """Where the steps of Levenberg and Marquardt end."""
    loss, damping = problem.first_loss(state), _DAMPING
    residuals = problem.residuals(state, loss)
    for _ in range(most_steps):
        trial, promised = problem.stepped(state, residuals, damping)
        trial_residuals = problem.residuals(trial, loss)
        done = loss == _LOSS and promised <= _SETTLED * residuals.cost
        if trial_residuals.cost <= residuals.cost:
            state, damping, narrower = trial, max(damping / 5, _LEAST_DAMPING), max(loss / 2, _LOSS)
            residuals = trial_residuals if narrower == loss else problem.residuals(state, narrower)
            loss = narrower
        else:
            damping *= 10
        if done or damping > _MOST_DAMPING:
            break
    return state


def _geman_mcclure(square: Squares, loss: float) -> tuple[Squares, Squares]:
    """Loss and its derivative: s / (1 + s / c^2)."""
    flat = 1 + square / loss**2
    return square / flat, flat**-2


def _damped(step: _Step, damping: float) -> _Step:
    """Each unknown is held back in proportion to the curvature of its kind; without any curvature it stays.

    Kinds, not single unknowns as Marquardt has it: so the axes of the world do not matter.
    """
    cameras, landmarks = step.cameras.copy(), step.landmarks.copy()
    for blocks, kinds in ((cameras, _KINDS), (landmarks, (slice(0, 3),))):
        for kind in kinds:
            diagonal = np.einsum("kii->ki", blocks)[:, kind]  # a view
            mean = diagonal.mean(axis=1, keepdims=True)
            diagonal += np.where(mean > 0, damping * mean, 1.0)
    return step._replace(cameras=cameras, landmarks=landmarks, focal=(1 + damping) * step.focal)


def _blocks(diagonal: Float64[np.ndarray, "k 7 7"]) -> sparse.bsr_array:
    count = len(diagonal)
    shape = _UNKNOWNS * count, _UNKNOWNS * count
    return sparse.bsr_array((diagonal, np.arange(count), np.arange(count + 1)), shape=shape)


def _solver(matrix: sparse.bsr_array) -> SuperLU:
    """Of a system that is symmetric and positive definite."""
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


class _Bordered:
    """Factors of a reduced system."""

    def __init__(self, reduced: _Reduced) -> None:
        self._reduced = reduced
        self.factors = _solver(reduced.matrix)
        self.by_focal: CameraSteps = self.factors.solve(reduced.border.ravel()).reshape(reduced.border.shape)
        """By how much the cameras yield to the focal length."""
        self.curvature = max(1.0, reduced.focal - float((reduced.border * self.by_focal).sum()))
        """Of the cost, over the focal length, where everything else follows it: at least what is known beforehand."""

    def solved(self) -> tuple[CameraSteps, float]:
        """Steps of the cameras and of the focal length."""
        side = self._reduced.side
        alone: CameraSteps = self.factors.solve(side.ravel()).reshape(side.shape)
        focal = (self._reduced.focal_side - float((self._reduced.border * alone).sum())) / self.curvature
        return alone - focal * self.by_focal, focal


def _exponential(twist: Float64[np.ndarray, "k 6"]) -> Transforms:
    """Translations and rotation vectors as transforms."""
    transforms = np.tile(np.eye(4), (len(twist), 1, 1))
    transforms[:, :3, :3] = Rotation.from_rotvec(twist[:, 3:]).as_matrix()
    transforms[:, :3, 3] = twist[:, :3]
    return transforms


class _Sums:
    """Sums of the values of each group."""

    def __init__(self, group: Int64[np.ndarray, " n"], count: int) -> None:
        n = len(group)
        self.count = count
        self._chosen = sparse.csr_array((np.ones(n), (group, np.arange(n))), shape=(count, n))

    @property
    def starts(self) -> Int64[np.ndarray, " groups"]:
        """Where each group begins among values that are in order of their group, and the end."""
        return self._chosen.indptr.astype(np.int64)

    def __call__(self, values: Float64[np.ndarray, "n *shape"]) -> Float64[np.ndarray, "groups *shape"]:
        size = int(np.prod(values.shape[1:]))
        sums: np.ndarray = self._chosen @ values.reshape(len(values), size)
        return sums.reshape(self.count, *values.shape[1:])


# --------------------------------------------------------------------------------------------------------- uncertainty


def _information(problem: _Problem, bundle: Bundle) -> tuple[_Step, _Reduced]:
    """Normal equations at the bundle, and what they say of the cameras."""
    state = _State.of(bundle)
    step = problem.normal_equations(state, _as_known(problem.residuals(state, _LOSS)))
    return step, problem.reduced(_damped(step, _LEAST_DAMPING))


def _as_known(residuals: _Residuals) -> _Residuals:
    """With the information that the losses leave of inliers as weights."""
    pixel = np.square(residuals.value[:, :2]).sum(axis=1) < _INLIER**2
    depth = np.abs(residuals.value[:, 2]) < _INLIER
    inlier = np.column_stack([pixel, pixel, depth]) & (residuals.weight > 0)
    return residuals._replace(weight=inlier * [_PIXEL_EFFICIENCY, _PIXEL_EFFICIENCY, _DEPTH_EFFICIENCY])


def _sigma(values: Float64[np.ndarray, " n"]) -> float:
    return SIGMA_FROM_MAD * float(np.median(np.abs(values - np.median(values))))


def _correlation(differences: Float64[np.ndarray, " n"], spread: float) -> float:
    """Of pairs of values that scatter by ``spread``, from their differences; none where there are no pairs."""
    return float(np.clip(1 - (_sigma(differences) / spread) ** 2 / 2, 0, _ALIKE)) if len(differences) else 0.0


def _between_maps(seen: Observations, error: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Differences between the errors of one landmark in the maps of two cameras that see it one after the other."""
    order = np.lexsort((seen.camera, seen.landmark))
    same = np.diff(seen.landmark[order]) == 0
    differences: Float64[np.ndarray, " k"] = np.diff(error[order])[same]
    return differences


def _apart(seen: Observations, error: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Differences between the errors of neighbours in a picture."""
    together = np.column_stack([seen.pixel, _FAR * seen.camera])
    _, nearest = KDTree(together).query(together, k=2)
    differences: Float64[np.ndarray, " n"] = error - error[np.asarray(nearest)[:, 1]]
    return differences


def _translations(system: _Bordered) -> Iterator[Float64[np.ndarray, "some 3 3"]]:
    """Covariances of the translations, which are those of the centres in the axes of the cameras."""
    cameras = len(system.by_focal)
    for first in range(0, cameras, _AT_ONCE):
        chosen = np.arange(first, min(first + _AT_ONCE, cameras))
        rows = (_UNKNOWNS * chosen[:, None] + np.arange(3)).ravel()
        unit = np.zeros((_UNKNOWNS * cameras, len(rows)))
        unit[rows, np.arange(len(rows))] = 1
        inverse = system.factors.solve(unit)[rows].reshape(len(chosen), 3, len(chosen), 3)
        yielding = system.by_focal[chosen, :3]
        through_focal = yielding[:, :, None] * yielding[:, None, :] / system.curvature
        yield np.einsum("iaib->iab", inverse) + through_focal
