"""From disparity to depth: 1 / z = scale(t) * disparity + shift(t), where the line may drift along a shot."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from jaxtyping import Float64

from recon.errors import AlignmentError
from recon.fitting import MAX_ROWS, AffineFit, Line, fit_affine, fit_scale, solve_affine
from recon.smoothing import DriftFit, Group, LineCurve, fit_drifting
from recon.types import Correspondences, DepthFrame, DepthMap, DisparityFrame

ROWS_OF_A_PICTURE = 2000
"""Places of one picture that take part in a fit: neighbours err alike, and what a picture shares counts once."""
ROWS_OF_A_SHOT = 2_000_000
"""Places of one shot that take part, 80 MB: the pictures of an hour have 18 each, where all of them are anchored."""
_FOLLOWED = 2.5
"""Frames between two anchored pictures up to which each is given its own line: every one, or every other one."""
_FAR_OVER_NEAR = 7.0
"""What the depths of a picture without any anchor may span, from the 2nd to the 98th percentile of disparity."""
_VALUES_FOR_GAUGE = 10_000
"""Values of one map that take part in the choice of a gauge."""


def collected(
    correspondences: Iterable[Correspondences],
    *,
    of_a_picture: int = ROWS_OF_A_PICTURE,
    of_a_shot: int = ROWS_OF_A_SHOT,
) -> list[Correspondences]:
    """All pictures of a shot that have places, in bounded memory, however long it is.

    Of one picture no more than ``of_a_picture`` places are kept, evenly spread; and where all of them are more than
    ``of_a_shot``, half as many of each picture, those before and those to come.
    """
    kept: list[Correspondences] = []
    rows = 0
    for seen in correspondences:
        kept.append(_thinned(seen, of_a_picture))
        rows += len(kept[-1].weight)
        while rows > of_a_shot and of_a_picture > 1:
            of_a_picture //= 2
            kept = [_thinned(each, of_a_picture) for each in kept]
            rows = sum(len(each.weight) for each in kept)
    return kept


def _thinned(seen: Correspondences, most: int) -> Correspondences:
    """One place of each of ``most`` equal parts: anywhere within, so that no pattern of the rows is followed."""
    count = len(seen.weight)
    if count <= most:
        return seen
    row = (_parts(most) * (count / most)).astype(np.int64)
    block = None if seen.block is None else seen.block[row]
    return replace(
        seen,
        disparity=seen.disparity[row],
        inverse_depth=seen.inverse_depth[row],
        weight=seen.weight[row],
        block=block,
    )


@cache
def _parts(most: int) -> Float64[np.ndarray, " most"]:
    parts: Float64[np.ndarray, " most"] = np.arange(most) + np.random.default_rng(most).random(most)
    return parts


def fit_shot(seen: Sequence[Correspondences], *, robust: bool = True, with_shift: bool = True) -> DriftFit:
    """Scale and shift of a shot as smooth functions of time, from all that its anchors say (``recon.smoothing``).

    Where near and far swap for a time (a structure from motion turned inside out, an anchor of something else), no line
    with a positive scale follows: then one robust line is taken for the whole shot, and its drift is infinite.

    Args:
        seen: pictures of one shot (``collected``).
        robust: False is the method of the paper (arXiv 2501.12375, supplement 6): one line by plain least squares.
        with_shift: False for maps that are depth up to a factor: their inverse is 0 where depth is infinite.

    Raises:
        AlignmentError: the anchors do not determine scale and shift.
    """
    groups = [Group(each.time, each.disparity, each.inverse_depth, each.weight, each.block) for each in seen]
    try:
        return (_robust if robust else _least_squares)(_with_places(groups), with_shift=with_shift)
    except AlignmentError as error:
        places = sum(len(group.x) for group in groups)
        raise AlignmentError(
            f"{places} anchored places in {len(groups)} frames do not give scale and shift ({error}); an anchor "
            "must see near and far things: give another --first-frame-depth, more --metric-depth, a --sparse map with "
            "more points, or --anchor none for relative units"
        ) from error


def _with_places(groups: Sequence[Group]) -> list[Group]:
    used = [group for group in groups if len(group.x)]
    if not used:
        raise AlignmentError("no frame shows a landmark, or has a map with depth; do times, or names, match?")
    return used


def _robust(groups: Sequence[Group], *, with_shift: bool) -> DriftFit:
    try:
        return fit_drifting(groups, with_shift=with_shift)
    except AlignmentError:
        return _steady(groups, with_shift=with_shift)  # raises, too, where all places together give no line


def _steady(groups: Sequence[Group], *, with_shift: bool) -> DriftFit:
    """One robust line through all rows, for anchors that no drifting one can follow."""
    fit = (fit_affine if with_shift else fit_scale)(*_columns(groups))
    shift = fit.shift if isinstance(fit, AffineFit) else 0.0
    curve = LineCurve.constant(Line(fit.scale, shift))
    ones = np.ones(len(groups))
    return DriftFit(curve, curve, math.inf, math.nan, ones, fit.inlier_ratio, fit.residual_mad, fit.count)


def _columns(groups: Sequence[Group]) -> tuple[Float64[np.ndarray, " n"], ...]:
    """Disparity, inverse depth and weight of all rows."""
    return tuple(np.concatenate(column) for column in zip(*((g.x, g.y, g.weight) for g in groups), strict=True))


def _least_squares(groups: Sequence[Group], *, with_shift: bool) -> DriftFit:
    """One line through all rows, each with its weight and none left out."""
    x, y, weight = _columns(groups)
    line = solve_affine(x, y, weight) if with_shift else Line(float((weight * x * y).sum() / (weight * x * x).sum()), 0)
    if not line.scale > 0:
        raise AlignmentError(f"the scale is {line.scale:.3g}, but it must be positive")
    residual = y - line.scale * x - line.shift
    curve = LineCurve.constant(line)
    mad = float(np.median(np.abs(residual)))
    return DriftFit(curve, curve, math.nan, math.nan, np.ones(len(groups)), 1.0, mad, len(x))


def followed(fit: DriftFit, start: float, end: float, period: float) -> LineCurve:
    """The line to use where the anchor is consistent, so that it is the disparity that scatters: where it can be known.

    A picture's own line holds for that picture alone. Where pictures are anchored one after the other, each gets its
    own. Where they are rare, those between would be given a mixture of two chance differences, and depth would sway
    from anchor to anchor. Where pictures differ from the smooth line with variance v, one in n is anchored and lines
    change linearly in between, v (n - 1) / n times 1.5 (n = 2) or 1.56 (n = 3) is left on average; the smooth line
    leaves v. So it pays for up to every other picture. Beside a gap and beyond the last anchor the smooth line counts.

    Args:
        fit: of the shot.
        start: time of its first frame, seconds.
        end: time of its last frame.
        period: between two frames.
    """
    times = fit.own.times
    if len(times) == 1:
        return fit.smooth
    close = np.diff(np.concatenate([[start], times, [end]])) <= _FOLLOWED * period
    own = close[1:] & close[:-1]
    return LineCurve(
        times,
        np.where(own, fit.own.scale, fit.smooth.scale),
        np.where(own, fit.own.shift, fit.smooth.shift),
        np.where(own[:, None, None], fit.own.covariance, fit.smooth.covariance),
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
