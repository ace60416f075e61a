"""The steps of bundle adjustment."""

from math import exp, log
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial.transform import Rotation

from recon.bundle.given import Bundle, Noise, Observations, Transforms, in_cameras
from recon.bundle.kernels import Order, Residuals, Scales, State, Step, kernels
from recon.types import Intrinsics

LOSS: Final = 2.0
"""Residual, in standard deviations, from which on a loss flattens."""
WIDEST: Final = 3.0
"""Where it flattens at first, in medians of the reprojection errors."""
STEPS: Final = 50
SETTLED: Final = 1e-5
"""Steps end when one promises to lower the cost by less than this part of it: centres are then within a tenth of their
standard deviation of where they would end."""
DAMPING: Final = 1e-4
LEAST_DAMPING: Final = 1e-10
"""Holds what nothing determines, as the depth of a landmark that one camera sees, so that no system is singular."""
MOST_DAMPING: Final = 1e8
NEAREST: Final = 1e-3
"""Depth below which a landmark counts as behind the camera, in median depths."""
UNKNOWNS: Final = 7
"""Of a camera: translation, rotation, logarithm of the factor of its depth map."""
KINDS: Final = (slice(0, 3), slice(3, 6), slice(6, 7))

CameraSteps = Float64[np.ndarray, "k 7"]
Held = Bool[np.ndarray, " k"]


def adjusted(
    start: Bundle,
    seen: Observations,
    intrinsics: Intrinsics,
    noise: Noise,
    *,
    held: Held | None = None,
    most_steps: int = STEPS,
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
    problem = Problem(Setting.of(start, seen, held), intrinsics, noise)
    state = _settled(problem, state_of(start), most_steps)
    return Bundle(state.camera_from_world, np.exp(state.log_factor), state.landmarks, exp(state.log_focal))


class Setting(NamedTuple):
    """What is seen, landmark after landmark, and by what."""

    seen: Observations
    held: Held
    landmarks: int
    nearest: float
    """Depth below which a landmark is behind the camera."""

    @classmethod
    def of(cls, bundle: Bundle, seen: Observations, held: Held | None) -> "Setting":
        """Of a bundle that may be far from right; held: None: the first camera."""
        cameras, landmarks = len(bundle.camera_from_world), len(bundle.landmarks)
        for name, number, count in (("camera", seen.camera, cameras), ("landmark", seen.landmark, landmarks)):
            if number.max(initial=-1) >= count:
                raise ValueError(f"an observation is of {name} {number.max()}, but there are {count}")
        held = np.arange(cameras) == 0 if held is None else held
        if len(held) != cameras:
            raise ValueError(f"{cameras} cameras are held or not, got {len(held)}")
        order = np.lexsort((seen.camera, seen.landmark))
        seen = Observations(seen.camera[order], seen.landmark[order], seen.pixel[order], seen.depth[order])
        depth = in_cameras(bundle.camera_from_world, bundle.landmarks, seen)[:, 2]
        ahead = depth[depth > 0]
        return cls(seen, held, landmarks, NEAREST * float(np.median(ahead)) if len(ahead) else 0.0)


def state_of(bundle: Bundle) -> State:
    """The unknowns of a bundle."""
    poses, landmarks = np.ascontiguousarray(bundle.camera_from_world), np.ascontiguousarray(bundle.landmarks)
    return State(poses, np.log(bundle.depth_factor), landmarks, log(bundle.focal_factor))


class Reduced(NamedTuple):
    """The system without the landmarks, [matrix, border; border', focal] [dc; df] = [side; focal_side].

    Then dl = inverse (landmark_side - coupling' dc - focal_landmarks df).
    """

    matrix: sparse.bsr_array
    border: CameraSteps
    focal: float
    side: CameraSteps
    focal_side: float
    inverse: Float64[np.ndarray, "p 3 3"]


class Problem:
    """What does not change from step to step."""

    def __init__(self, setting: Setting, intrinsics: Intrinsics, noise: Noise) -> None:
        seen, self._noise = setting.seen, noise
        pixel = (seen.pixel - [intrinsics.cx, intrinsics.cy]) / noise.pixel
        focal = intrinsics.fx / noise.pixel, intrinsics.fy / noise.pixel
        self._order = Order(seen.camera, seen.landmark, _starts(seen.landmark, setting.landmarks))
        self._measured = np.column_stack([pixel, np.log(seen.depth)])
        self._scales = Scales(*focal, noise.depth, noise.focal, setting.nearest)
        self._free = ~setting.held
        self._pairs = _Pairs.of(self._order, len(setting.held))

    def first_loss(self, state: State) -> float:
        """Reprojection error from which on its loss flattens at first, in standard deviations."""
        square = np.square(self.residuals(state, LOSS).value[:, :2]).sum(axis=1)
        return max(LOSS, WIDEST * float(np.sqrt(np.median(square)))) if len(square) else LOSS

    def residuals(self, state: State, loss: float) -> Residuals:
        """Residuals and their robust weights; observations count less from ``loss`` on."""
        found = kernels().residuals(self._order, self._measured, state, self._scales, (LOSS, loss))
        known = np.square(state.log_factor / self._noise.map).sum() + (self._focal_prior * state.log_focal) ** 2
        return found._replace(cost=float(found.cost + known))

    def stepped(self, state: State, residuals: Residuals, damping: float) -> tuple[State, float]:
        """One step of Levenberg and Marquardt, and by how much it lowers the cost of the linear problem at least."""
        step = damped(self.normal_equations(state, residuals), damping)
        reduced = self.reduced(step)
        cameras, focal = Bordered(reduced).solved()
        landmarks = kernels().landmark_steps(self._order, reduced.inverse, step, cameras, focal)
        promised = float((cameras * step.camera_side).sum() + (landmarks * step.landmark_side).sum())
        trial = State(
            exponential(cameras[:, :6]) @ state.camera_from_world,
            state.log_factor + cameras[:, 6],
            state.landmarks + landmarks,
            state.log_focal + self._noise.focal * focal,
        )
        return trial, promised + focal * step.focal_side

    def normal_equations(self, state: State, residuals: Residuals) -> Step:
        """Of Gauss and Newton: J' W J and -J' W r, with what is known beforehand of factors and focal length."""
        step = kernels().normal_equations(self._order, self._free, state, residuals, self._scales)
        step.cameras[:, 6, 6] += self._noise.map**-2
        step.camera_side[:, 6] -= self._noise.map**-2 * state.log_factor
        focal_side = step.focal_side - self._focal_prior * state.log_focal
        return step._replace(focal=step.focal + 1, focal_side=focal_side)

    def reduced(self, step: Step) -> Reduced:
        """The system that is left of a damped one without the landmarks."""
        inverse = np.linalg.inv(step.landmarks)
        blocks, taken = kernels().eliminated(self._order, self._pairs.of_views, len(self._pairs.row), inverse, step)
        focal, focal_side = np.einsum(
            "pi,pij,pjs->s", step.focal_landmarks, inverse, np.stack([step.focal_landmarks, step.landmark_side], axis=2)
        )
        return Reduced(
            self._pairs.matrix(step.cameras, blocks),
            step.focal_cameras - taken[:, :, 1],
            step.focal - float(focal),
            step.camera_side - taken[:, :, 0],
            step.focal_side - float(focal_side),
            inverse,
        )

    @property
    def _focal_prior(self) -> float:
        return 1 / self._noise.focal if self._noise.focal > 0 else 0.0


def _starts(group: Int64[np.ndarray, " n"], count: int) -> Int64[np.ndarray, " groups"]:
    """Where each group begins among values that are in order of their group, and the end."""
    return np.concatenate([[0], np.bincount(group, minlength=count).cumsum()]).astype(np.int64)


class _Pairs(NamedTuple):
    """Pairs of cameras that see a landmark in common, each camera with itself, too: blocks of the reduced matrix."""

    of_views: Int64[np.ndarray, " v"]
    """Which pair is that of each two observations of a landmark."""
    row: Int64[np.ndarray, " s"]
    column: Int64[np.ndarray, " s"]
    """Not below the row."""
    cameras: int

    @classmethod
    def of(cls, order: Order, cameras: int) -> "_Pairs":
        alone = np.arange(cameras) * (cameras + 1)  # a camera that sees nothing has its block, too
        keys = np.concatenate([alone, kernels().pairs(order, cameras)])
        found, which = np.unique(keys, return_inverse=True)
        return cls(which[cameras:], found // cameras, found % cameras, cameras)

    def matrix(self, own: Float64[np.ndarray, "k 7 7"], taken: Float64[np.ndarray, "s 7 7"]) -> sparse.bsr_array:
        """Blocks of the cameras, less those of the pairs, above and below the diagonal."""
        above = self.row < self.column
        blocks = -taken
        blocks[~above] += own
        rows = np.concatenate([self.row, self.column[above]])
        columns = np.concatenate([self.column, self.row[above]])
        order = np.lexsort((columns, rows))
        both = np.concatenate([blocks, blocks[above].swapaxes(1, 2)])[order]
        size = UNKNOWNS * self.cameras
        return sparse.bsr_array((both, columns[order], _starts(rows, self.cameras)), shape=(size, size))


def _settled(problem: Problem, state: State, most_steps: int) -> State:
    """Where the steps of Levenberg and Marquardt end."""
    loss, damping = problem.first_loss(state), DAMPING
    residuals = problem.residuals(state, loss)
    for _ in range(most_steps):
        trial, promised = problem.stepped(state, residuals, damping)
        trial_residuals = problem.residuals(trial, loss)
        done = loss == LOSS and promised <= SETTLED * residuals.cost
        if trial_residuals.cost <= residuals.cost:
            state, damping, narrower = trial, max(damping / 5, LEAST_DAMPING), max(loss / 2, LOSS)
            residuals = trial_residuals if narrower == loss else problem.residuals(state, narrower)
            loss = narrower
        else:
            damping *= 10
        if done or damping > MOST_DAMPING:
            break
    return state


def damped(step: Step, damping: float) -> Step:
    """Each unknown is held back in proportion to the curvature of its kind; without any curvature it stays.

    Kinds, not single unknowns as Marquardt has it: so the axes of the world do not matter.
    """
    cameras, landmarks = step.cameras.copy(), step.landmarks.copy()
    for blocks, kinds in ((cameras, KINDS), (landmarks, (slice(0, 3),))):
        for kind in kinds:
            diagonal = np.einsum("kii->ki", blocks)[:, kind]  # a view
            mean = diagonal.mean(axis=1, keepdims=True)
            diagonal += np.where(mean > 0, damping * mean, 1.0)
    return step._replace(cameras=cameras, landmarks=landmarks, focal=(1 + damping) * step.focal)


def _solver(matrix: sparse.bsr_array) -> SuperLU:
    """Of a system that is symmetric and positive definite."""
    return splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


class Bordered:
    """Factors of a reduced system."""

    def __init__(self, reduced: Reduced) -> None:
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


def exponential(twist: Float64[np.ndarray, "k 6"]) -> Transforms:
    """Translations and rotation vectors as transforms."""
    transforms = np.tile(np.eye(4), (len(twist), 1, 1))
    transforms[:, :3, :3] = Rotation.from_rotvec(twist[:, 3:]).as_matrix()
    transforms[:, :3, 3] = twist[:, :3]
    return transforms
