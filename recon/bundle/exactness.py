"""How exact an adjusted bundle is, and how exact what it was adjusted to was."""

from collections.abc import Iterator
from math import inf, sqrt
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from recon.bundle.adjust import (
    LEAST_DAMPING,
    LOSS,
    UNKNOWNS,
    Bordered,
    Held,
    Problem,
    Reduced,
    Setting,
    damped,
    state_of,
)
from recon.bundle.given import Bundle, Noise, Observations, in_cameras, residual_pixels
from recon.bundle.kernels import Residuals, Step
from recon.fitting import SIGMA_FROM_MAD
from recon.types import Intrinsics

PIXEL_EFFICIENCY: Final = 0.7472
DEPTH_EFFICIENCY: Final = 0.5567
"""Information that the losses leave of normal residuals: E[derivative of the slope]^2 / E[slope^2] (Huber 1981)."""
INLIER: Final = 3.0
"""Standard deviations within which a residual counts as normal."""
MISMATCH: Final = 3.0
"""Pixels from which on an observation says nothing of depth."""
REDUNDANT: Final = 0.25
LEAST_KNOWN: Final = 200
"""With fewer observations for each unknown, or fewer depths in all, nothing is said of how exact they are."""
RAYLEIGH: Final = 1.1774
"""Median distance from the middle of points that scatter by 1 along both axes: sqrt(2 ln 2)."""
LEAST_PIXEL: Final = 0.15
LEAST_DEPTH: Final = 0.01
"""Nothing is believed to be more exact than that."""
ALIKE: Final = 0.95
"""Largest correlation that is believed."""
FAR: Final = 1e6
"""Pixels; more than two pictures are wide."""
AT_ONCE: Final = 64
"""Cameras whose covariances are looked up together: bounds the memory."""


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
    setting = Setting.of(bundle, seen, held)
    step, reduced = _information(Problem(setting, intrinsics, noise), bundle)
    known = step.cameras[:, 0, 0] > 0
    variance = np.concatenate([np.linalg.eigvalsh(blocks)[:, -1] for blocks in _translations(Bordered(reduced))])
    return np.where(known, np.sqrt(variance), np.where(setting.held, 0.0, inf))


def focal_sigma(
    bundle: Bundle, seen: Observations, intrinsics: Intrinsics, noise: Noise, *, held: Held | None = None
) -> float:
    """Relative standard deviation of an adjusted bundle's focal length, everything else unknown; see ``centre_sigma``.

    It lies between 0 and that of ``noise``, and near the latter where the pictures say nothing of it.

    Raises:
        ValueError: as for ``adjusted``.
    """
    _, reduced = _information(Problem(Setting.of(bundle, seen, held), intrinsics, noise), bundle)
    return noise.focal / sqrt(Bordered(reduced).curvature)


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
    depth = in_cameras(bundle.camera_from_world, bundle.landmarks, seen)[:, 2]
    known = np.isfinite(seen.depth) & (depth > 0) & (off < MISMATCH)
    if redundant < REDUNDANT * len(off) or known.sum() < LEAST_KNOWN:
        return None
    seen = seen.of(known)
    error = np.log(depth[known] / seen.depth) - np.log(bundle.depth_factor)[seen.camera]
    spread = max(_sigma(error), LEAST_DEPTH)
    beside, again = (_correlation(apart, spread) for apart in (_apart(seen, error), _between_maps(seen, error)))
    views = len(error) / len(np.unique(seen.landmark))
    return Noise(
        pixel=max(LEAST_PIXEL, float(np.median(off)) / RAYLEIGH * sqrt(2 * len(off) / redundant)),
        depth=spread * sqrt((1 + beside) / (1 - beside) * (1 + (views - 1) * again)),
        map=max(LEAST_DEPTH, _sigma(np.log(bundle.depth_factor))),
    )


def _information(problem: Problem, bundle: Bundle) -> tuple[Step, Reduced]:
    """Normal equations at the bundle, and what they say of the cameras."""
    state = state_of(bundle)
    step = problem.normal_equations(state, _as_known(problem.residuals(state, LOSS)))
    return step, problem.reduced(damped(step, LEAST_DAMPING))


def _as_known(residuals: Residuals) -> Residuals:
    """With the information that the losses leave of inliers as weights."""
    pixel = np.square(residuals.value[:, :2]).sum(axis=1) < INLIER**2
    depth = np.abs(residuals.value[:, 2]) < INLIER
    inlier = np.column_stack([pixel, pixel, depth]) & (residuals.weight > 0)
    return residuals._replace(weight=inlier * [PIXEL_EFFICIENCY, PIXEL_EFFICIENCY, DEPTH_EFFICIENCY])


def _sigma(values: Float64[np.ndarray, " n"]) -> float:
    return SIGMA_FROM_MAD * float(np.median(np.abs(values - np.median(values))))


def _correlation(differences: Float64[np.ndarray, " n"], spread: float) -> float:
    """Of pairs of values that scatter by ``spread``, from their differences; none where there are no pairs."""
    return float(np.clip(1 - (_sigma(differences) / spread) ** 2 / 2, 0, ALIKE)) if len(differences) else 0.0


def _between_maps(seen: Observations, error: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Differences between the errors of one landmark in the maps of two cameras that see it one after the other."""
    order = np.lexsort((seen.camera, seen.landmark))
    same = np.diff(seen.landmark[order]) == 0
    differences: Float64[np.ndarray, " k"] = np.diff(error[order])[same]
    return differences


def _apart(seen: Observations, error: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Differences between the errors of neighbours in a picture."""
    together = np.column_stack([seen.pixel, FAR * seen.camera])
    _, nearest = KDTree(together).query(together, k=2)
    differences: Float64[np.ndarray, " n"] = error - error[np.asarray(nearest)[:, 1]]
    return differences


def _translations(system: Bordered) -> Iterator[Float64[np.ndarray, "some 3 3"]]:
    """Covariances of the translations, which are those of the centres in the axes of the cameras."""
    cameras = len(system.by_focal)
    for first in range(0, cameras, AT_ONCE):
        chosen = np.arange(first, min(first + AT_ONCE, cameras))
        rows = (UNKNOWNS * chosen[:, None] + np.arange(3)).ravel()
        unit = np.zeros((UNKNOWNS * cameras, len(rows)))
        unit[rows, np.arange(len(rows))] = 1
        inverse = system.factors.solve(unit)[rows].reshape(len(chosen), 3, len(chosen), 3)
        yielding = system.by_focal[chosen, :3]
        through_focal = yielding[:, :, None] * yielding[:, None, :] / system.curvature
        yield np.einsum("iaib->iab", inverse) + through_focal
