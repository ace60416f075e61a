"""From disparity to depth: 1 / z = scale(t) * disparity + shift(t), where the line may drift along a shot."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from recon.errors import AlignmentError
from recon.fitting import MAX_ROWS, Line, solve_affine
from recon.smoothing import DriftFit, Group, LineCurve, fit_drifting
from recon.types import Correspondences, DepthFrame, DepthMap, DisparityFrame

ROWS_OF_A_PICTURE = 2000
"""Places of one picture that take part in a fit: neighbours err alike, and what a picture shares counts once."""
_FAR_OVER_NEAR = 7.0
"""What the depths of a picture without any anchor may span, from the 2nd to the 98th percentile of disparity."""
_VALUES_FOR_GAUGE = 10_000
"""Values of one map that take part in the choice of a gauge."""


def fit_shot(correspondences: Iterable[Correspondences], *, robust: bool = True) -> DriftFit:
    """Scale and shift of a shot as smooth functions of time, from all that its anchors say (``recon.smoothing``).

    Memory is bounded: of one picture no more than ``ROWS_OF_A_PICTURE`` places take part, evenly spread.

    Args:
        correspondences: of the pictures of one shot.
        robust: False is the method of the paper (arXiv 2501.12375, supplement 6): one line by plain least squares.

    Raises:
        AlignmentError: the anchors do not determine scale and shift.
    """
    groups = [_group(seen) for seen in correspondences if len(seen.disparity)]
    try:
        return fit_drifting(groups) if robust else _least_squares(groups)
    except AlignmentError as error:
        places = sum(len(group.x) for group in groups)
        raise AlignmentError(
            f"{places} anchored places in {len(groups)} frames do not give scale and shift ({error}); an anchor "
            "must see near and far things: give another --first-frame-depth, a --sparse map with more points, or "
            "--anchor none for relative units"
        ) from error


def _group(seen: Correspondences) -> Group:
    kept = slice(None, None, -(-len(seen.disparity) // ROWS_OF_A_PICTURE))
    return Group(seen.time, seen.disparity[kept], seen.inverse_depth[kept], seen.weight[kept])


def _least_squares(groups: Sequence[Group]) -> DriftFit:
    """One line through all rows, each with its weight and none left out."""
    if not groups:
        raise AlignmentError("no rows to fit")
    x, y, weight = (np.concatenate(column) for column in zip(*((g.x, g.y, g.weight) for g in groups), strict=True))
    line = solve_affine(x, y, weight)
    if not line.scale > 0:
        raise AlignmentError(f"the scale is {line.scale:.3g}, but it must be positive")
    residual = y - line.scale * x - line.shift
    curve = LineCurve.constant(line)
    unknown = float("nan")
    return DriftFit(
        curve, curve, unknown, unknown, np.ones(len(groups)), 1.0, float(np.median(np.abs(residual))), len(x)
    )


def to_depth(frames: Iterable[DisparityFrame], line_at: Callable[[float], Line]) -> Iterator[DepthFrame]:
    """Depth z = 1 / (scale * disparity + shift), lazily; NaN where that is infinite, or behind infinity.

    Nothing is clipped to a far plane: what lies beyond infinity (disparity below -shift / scale) is not known.

    Args:
        frames: pictures with disparity.
        line_at: scale and shift at a time in seconds.
    """
    for seen in frames:
        yield DepthFrame(seen.frame, depth_from_disparity(seen.disparity, line_at(seen.frame.time)))


def depth_from_disparity(disparity: DepthMap, line: Line) -> DepthMap:
    """Depth of one map, see ``to_depth``."""
    inverse = np.float32(line.scale) * disparity + np.float32(line.shift)
    visible = inverse > np.finfo(np.float32).tiny
    depth: DepthMap = np.divide(np.float32(1), inverse, where=visible, out=np.full_like(inverse, np.nan))
    return depth


def relative_gauge(disparities: Iterable[DepthMap]) -> Line:
    """Scale and shift of a shot of which no length is known, so that its clouds look sensible. Not metres.

    The scale is a mere unit: the median inverse depth becomes 1. The shift is not, it bends space: too small and a wall
    runs off to infinity, too large and everything becomes a relief. Networks of this kind (Depth Anything) are trained
    on inverse depth up to scale *and shift*, and their smallest value in a room means its far wall, not infinity; so
    shift 0 is wrong wherever the far end is not the sky. What can be said of any scene is only that the 2nd and the
    98th percentile of disparity are rarely very far apart in depth. The shift is the smallest one, not below 0, that
    keeps them within a factor of 7; it is one for the whole shot, so that the shot stays consistent in itself.

    Measured with Depth Anything V2 Small (280 px), mean relative error of depth after the best single factor, for a
    room (7-Scenes), an office (HoloLens), a hospital (TartanAir) and a road (KITTI): .18, .18, .21, .21 with a factor
    of 7; .12, .17, .25, .23 with 5; .24, .20, .18, .19 with 10; .28, .34, .34, .18 with shift 0.

    Args:
        disparities: some maps of the shot, evenly spread. Values of exactly 0 (the network's clip: sky) are left out.

    Raises:
        AlignmentError: no map holds a usable value.
    """
    thinned = _Thinned(2 * MAX_ROWS)
    for disparity in disparities:
        values = disparity[np.isfinite(disparity) & (disparity != 0)].astype(np.float64)
        thinned.add(values[:: max(1, len(values) // _VALUES_FOR_GAUGE), None])
    values = thinned.rows(columns=1)[:, 0]
    if not len(values):
        raise AlignmentError("the network sees no depth in this shot: every value is 0 or unknown (one plain colour?)")
    far, middle, near = np.percentile(values, [2, 50, 98])
    shift = max(0.0, (near - _FAR_OVER_NEAR * far) / (_FAR_OVER_NEAR - 1))
    if not middle + shift > 0:
        raise AlignmentError(f"the network gives no positive disparity in this shot (median {middle:.3g})")
    return Line(float(1 / (middle + shift)), float(shift / (middle + shift)))


class _Thinned:
    """Collects rows in bounded memory: once there are too many, every other one goes at random, later ones too."""

    def __init__(self, limit: int) -> None:
        self.offered = 0
        self._limit, self._share = limit, 1.0
        self._random = np.random.default_rng(0)
        self._blocks: list[Float64[np.ndarray, "n c"]] = []
        self._held = 0

    def add(self, rows: Float64[np.ndarray, "n c"]) -> None:
        """Offer rows; all of them have the same chance to stay as those before."""
        self.offered += len(rows)
        self._keep(rows, self._share)
        while self._held > self._limit:
            everything, self._blocks, self._held = self.rows(), [], 0
            self._keep(everything, 0.5)
            self._share /= 2

    def _keep(self, rows: Float64[np.ndarray, "n c"], share: float) -> None:
        kept = rows if share == 1 else rows[self._random.random(len(rows)) < share]
        self._blocks.append(kept)
        self._held += len(kept)

    def rows(self, columns: int = 3) -> Float64[np.ndarray, "n c"]:
        """All that is held."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros((0, columns))
