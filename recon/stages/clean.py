"""Which pixels are trusted: flying pixels at the edges of things, sky and what is out of range become NaN."""

from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Bool, Float32

from recon.errors import ReconError
from recon.types import DepthFrame, DepthMap

REACH = 5
"""Pixels over which the slope beside a jump is measured; edges that are smeared over fewer pixels are found."""

FAR_IN_MEDIANS = 6.0
"""Farthest trusted depth, in median depths (see `depth_limit`)."""

_BAND = 1 << 16
"""Pixels that are looked at together."""


def clean(frames: Iterable[DepthFrame], *, edge: float | None, near: float, far: float | None) -> Iterator[DepthFrame]:
    """Set depth to NaN where it is not to be trusted.

    Args:
        frames: Pictures with depth.
        edge: Relative jump of depth between neighbouring pixels that counts as an edge; both pixels are left out; None
            keeps them.
        near: Nearest depth that is kept, in the units of depth.
        far: Farthest depth that is kept; None keeps all (`depth_limit` proposes one).
    """
    for frame in within(frames, near, np.inf if far is None else far):
        if edge is None:
            yield frame
            continue
        yield DepthFrame(frame.frame, np.where(flying(frame.depth, edge), np.float32(np.nan), frame.depth))


def within(frames: Iterable[DepthFrame], near: float, far: float) -> Iterator[DepthFrame]:
    """Set depth to NaN where it is out of range."""
    for frame in frames:
        yield DepthFrame(frame.frame, in_range(frame.depth, near, far))


def in_range(depth: DepthMap, near: float, far: float) -> DepthMap:
    """Depth where it is positive, finite and within [near, far]; NaN elsewhere."""
    kept = (depth > 0) & np.isfinite(depth) & (depth >= near) & (depth <= far)
    return np.where(kept, depth, np.float32(np.nan))


def flying(depth: DepthMap, edge: float) -> Bool[np.ndarray, "h w"]:
    """Pixels on either side of a jump in depth, and the pixels smeared between the two sides.

    A jump between neighbours counts with what is left of it after the slope of the surface on its left or on its right
    (above or below) has been taken off. Slopes are taken in inverse depth, which is exactly linear in image coordinates
    on a plane: a floor survives at any grazing angle, although its depth jumps from row to row.

    Args:
        depth: Positive depth, NaN = unknown; pixels next to unknown ones are not edges for that alone.
        edge: Jump relative to the nearer depth, |z1 - z0| / min(z0, z1), above which both pixels are edges.
    """
    inverse = 1 / depth
    along_rows = _banded_jumps(inverse, edge)
    along_columns = _banded_jumps(inverse.T, edge).T
    edges = np.zeros(depth.shape, bool)
    edges[:, :-1] |= along_rows
    edges[:, 1:] |= along_rows
    edges[:-1] |= along_columns
    edges[1:] |= along_columns
    return edges


def _banded_jumps(inverse: Float32[np.ndarray, "h w"], edge: float) -> Bool[np.ndarray, "h w-1"]:
    """`_jumps`, a few rows at a time: temporaries stay in the processor's cache, which is four times as fast."""
    bands = np.array_split(inverse, max(1, inverse.size // _BAND))
    return np.concatenate([_jumps(band, edge) for band in bands])


def _jumps(inverse: Float32[np.ndarray, "h w"], edge: float) -> Bool[np.ndarray, "h w-1"]:
    """Between which neighbours in a row inverse depth jumps by more than its slopes explain."""
    step = inverse[:, 1:] - inverse[:, :-1]
    excess = np.abs(step)
    if step.shape[1] > REACH:
        slope = (inverse[:, REACH:] - inverse[:, :-REACH]) / REACH
        left, right = excess[:, REACH:], excess[:, :-REACH]
        np.fmin(left, np.abs(step[:, REACH:] - slope[:, :-1]), out=left)
        np.fmin(right, np.abs(step[:, :-REACH] - slope[:, 1:]), out=right)
    # |1/z1 - 1/z0| / min(1/z0, 1/z1) = |z1 - z0| / min(z0, z1); NaN compares as False
    jumps: Bool[np.ndarray, "h w-1"] = excess > edge * np.minimum(inverse[:, 1:], inverse[:, :-1])
    return jumps


def depth_limit(depths: Iterable[DepthMap]) -> float:
    """A far limit that suits a video: six times the median over frames of the median depth.

    Where the error of inverse depth is the same all over a picture, as a disparity network's is, the relative error of
    depth grows in proportion to depth: three per cent at the median are 18 per cent at the limit, and what lies beyond
    (sky above all) would smear over a cloud. Medians make the rule blind to the sky itself.

    Raises:
        ReconError: no map holds any known depth.
    """
    medians = [float(np.median(known)) for depth in depths if (known := depth[np.isfinite(depth) & (depth > 0)]).size]
    if not medians:
        raise ReconError("no frame has any known depth: nothing can be placed in space")
    return FAR_IN_MEDIANS * float(np.median(medians))


__all__ = ["clean", "depth_limit", "flying", "in_range"]
