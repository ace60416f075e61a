"""Scale and shift by weighted, robust least squares: the numerical heart of recon.

``y ~ scale * x + shift``. In recon x is disparity and y is inverse depth, but nothing here knows that.

The estimator starts with a high breakdown point and ends with a high efficiency (the idea of Yohai 1987): least median
of squares (Rousseeuw 1984) over lines through pairs of rows, then Tukey's biweight to convergence. All of it is in
float64 and about medians and means, so that values of small spread around a large mean lose no digits.

Every random or thinned choice is made along the weight of the rows in sorted order ("systematic resampling"). That is
why the order of the rows does not matter, a row of weight 0 is no row, and a row of weight 2 is that row twice.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from recon.errors import AlignmentError

MAX_ROWS = 100_000
"""Rows that take part in a fit; more are thinned: the error of the fit is no longer that of counting."""
_SAMPLE = 4096
"""Rows from which the spread of the residuals is taken."""
_SCORED = 512
"""Rows on which the lines of the start are judged."""
_PAIRS = 300
"""Lines tried by the start; with 40 % of outliers, a fifth of them or more goes through two good rows."""
TUKEY = 4.685
"""Tukey's c: 95 % efficiency for normal residuals (Holland and Welsch 1977)."""
SIGMA_FROM_MAD = 1.4826
"""Standard deviation of normal residuals for a median absolute one of 1."""
_ITERATIONS = 500
_FREE_ITERATIONS = 30
"""Rounds in which the spread is estimated anew; then it stays, and what is left is known to converge."""
_CONVERGED = 1e-10
_RESOLUTION = 1e-12
"""Relative differences below this are rounding."""
_LEAST_SUPPORT = 1.2
"""Rows on which the slope must rest, at the least; many equal x and a single other one give 1."""
_SIGNIFICANT = 3.0
"""How many standard errors the scale must lie above zero."""

Vector = Float[np.ndarray, " n"]
Column = Float64[np.ndarray, " n"]
Blocks = Int64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True)
class AffineFit:
    """A robust fit of y ~ scale * x + shift, and how far it can be trusted."""

    scale: float
    """Units of y for one unit of x, > 0."""
    shift: float
    """Units of y."""
    covariance: Float64[np.ndarray, "2 2"]
    """Of (scale, shift), by the sandwich of Huber: right for rows (or blocks of them) that are independent, noisier
    here than there."""
    inlier_ratio: float
    """Share of the weight that Tukey's biweight did not set to zero."""
    residual_mad: float
    """Median absolute residual over all rows, outliers too, units of y."""
    count: int
    """Rows with finite values and positive weight."""

    def __post_init__(self) -> None:
        covariance = self.covariance.view()
        covariance.setflags(write=False)
        object.__setattr__(self, "covariance", covariance)

    @property
    def scale_sigma(self) -> float:
        """Standard error of the scale."""
        return float(np.sqrt(self.covariance[0, 0]))

    @property
    def shift_sigma(self) -> float:
        """Standard error of the shift, units of y."""
        return float(np.sqrt(self.covariance[1, 1]))


@dataclass(frozen=True, slots=True)
class ScaleFit:
    """A robust fit of y ~ scale * x, and how far it can be trusted."""

    scale: float
    """Units of y for one unit of x, > 0."""
    sigma: float
    """Standard error of the scale."""
    inlier_ratio: float
    """Share of the weight that Tukey's biweight did not set to zero."""
    residual_mad: float
    """Median absolute residual over all rows, outliers too, units of y."""
    count: int
    """Rows with finite values and positive weight."""


class Line(NamedTuple):
    """y = scale * x + shift."""

    scale: float
    shift: float


Solver = Callable[[Column, Column, Column], Line]
"""The line of least squares through (x, y, weights)."""


def fit_affine(x: Vector, y: Vector, weights: Vector | None = None, blocks: Blocks | None = None) -> AffineFit:
    """Scale and shift of y ~ scale * x + shift where up to 40 % of the weight may be gross outliers.

    Rows with a NaN or an infinity (in x, y or weight) and rows of weight 0 do not exist. A weight is the relative
    inverse variance of a row: only ratios of weights matter, and weight 2 moves the line as the row twice does.

    Rows of one block number err together, as the pixels of one region of a picture do. Blocks leave the line as it is
    and make its covariance honest: only blocks are taken to be independent (Liang and Zeger 1986).

    Raises:
        AlignmentError: fewer than 3 rows (or blocks that agree); x (or what is left without the outliers) all but
            constant; a scale that is not positive, or not by three standard errors: the data do not determine the line.
        ValueError: arrays of different length, or a negative weight.
    """
    rows = _usable(x, y, weights, blocks, least=3)
    middle_x, middle_y = (float(np.median(values[rows.sample])) for values in (rows.x, rows.y))
    rows = replace(rows, x=rows.x - middle_x, y=rows.y - middle_y)
    fitted = _tukey(rows, _start(rows, middle_x), solve_affine)
    _require_slope(rows, fitted)
    _require_support(rows, fitted)
    covariance = _affine_covariance(rows, fitted, middle_x)
    _require_positive(fitted.line.scale, float(np.sqrt(covariance[0, 0])), rows.count)
    return AffineFit(
        scale=fitted.line.scale,
        shift=fitted.line.shift + middle_y - fitted.line.scale * middle_x,
        covariance=covariance,
        inlier_ratio=fitted.inlier_ratio,
        residual_mad=fitted.mad,
        count=rows.count,
    )


def fit_scale(x: Vector, y: Vector, weights: Vector | None = None, blocks: Blocks | None = None) -> ScaleFit:
    """Scale of y ~ scale * x where up to 40 % of the weight may be gross outliers in y.

    Rows, weights and blocks as for ``fit_affine``. The start is the line of least absolute residuals: the median of
    y / x, weighted by abs(x).

    Raises:
        AlignmentError: no usable row, a single block, x all zero, or a scale that is not positive by three standard
            errors.
        ValueError: arrays of different length, or a negative weight.
    """
    rows = _usable(x, y, weights, blocks, least=1)
    fitted = _tukey(rows, _scale_start(rows), _solve_scale)
    sigma = _scale_sigma(rows, fitted)
    _require_positive(fitted.line.scale, sigma, rows.count)
    return ScaleFit(fitted.line.scale, sigma, fitted.inlier_ratio, fitted.mad, rows.count)


def solve_affine(x: Column, y: Column, weights: Column) -> Line:
    """The plain weighted least squares line: no robustness, only good arithmetic.

    Raises:
        AlignmentError: no weight, or x is constant where there is weight.
    """
    mean_x, mean_y = _means(x, y, weights)
    centred = x - mean_x
    spread = _dot(weights, centred * centred)
    if spread <= (_RESOLUTION * mean_x) ** 2 * float(weights.sum()):
        raise AlignmentError(
            f"scale and shift cannot be told apart: all {np.count_nonzero(weights)} values that agree with each other "
            f"are {mean_x:.6g}; a fit needs near and far points"
        )
    scale = _dot(weights * centred, y - mean_y) / spread
    return Line(scale, mean_y - scale * mean_x)


# ---------------------------------------------------------------------------------------------------------------- rows


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sorted rows, all finite, all of positive weight."""

    x: Column
    y: Column
    weights: Column
    blocks: Blocks | None
    count: int
    """Rows before thinning."""
    sample: Int64[np.ndarray, " m"]
    """Rows drawn evenly along the weight: a statistic of these needs no weights any more."""
    median: float
    """Share of the sorted absolute residuals below the one that counts as their median."""
    rounding: float
    """Differences of y below this mean nothing."""


def _usable(x: Vector, y: Vector, weights: Vector | None, blocks: Blocks | None, *, least: int) -> _Rows:
    w = np.ones(len(x)) if weights is None else weights.astype(np.float64)
    if not len(x) == len(y) == len(w) == (len(x) if blocks is None else len(blocks)):
        raise ValueError(f"x, y, weights and blocks must have one length, got {len(x)}, {len(y)} and {len(w)}")
    if (w < 0).any():
        raise ValueError(f"weights must not be negative, the least is {np.nanmin(w):g}")
    kept = np.isfinite(x) & np.isfinite(y) & np.isfinite(w) & (w > 0)
    count = int(np.count_nonzero(kept))
    if count < least:
        raise AlignmentError(f"{count} of {len(x)} values are finite and have weight; a fit needs at least {least}")
    x, y, w = (values[kept].astype(np.float64) for values in (x, y, w))
    return _sorted_rows(x, y, w, None if blocks is None else blocks[kept])


def _sorted_rows(x: Column, y: Column, weights: Column, blocks: Blocks | None) -> _Rows:
    order, count = np.lexsort((weights, y, x)), len(x)
    weights = weights / weights.max()
    if count > MAX_ROWS:
        order = order[_along_weight(weights[order], MAX_ROWS)]
        weights = np.ones(count)
    x, y, weights = x[order], y[order], weights[order]
    sample = _along_weight(weights, _SAMPLE)
    typical = float(np.median(np.abs(y[sample]))) or float(np.abs(y).max())
    rounding = _RESOLUTION * (typical or 1.0)
    return _Rows(x, y, weights, None if blocks is None else blocks[order], count, sample, _median_share(x, y), rounding)


def _along_weight(weights: Column, size: int) -> Int64[np.ndarray, " m"]:
    """Systematic resampling (Kitagawa 1996): ``size`` row numbers at even steps of the cumulative weight."""
    until = np.cumsum(weights)
    steps = (np.arange(size) + 0.5) * (until[-1] / size)
    rows: Int64[np.ndarray, " m"] = np.minimum(np.searchsorted(until, steps), len(weights) - 1)
    return rows


def _median_share(x: Column, y: Column) -> float:
    """The middle of row (n + 3) / 2 of n, for a line goes through two rows exactly (Rousseeuw and Leroy 1987, ch. 2).

    Equal rows count once, so that a row twice is a row of weight 2.
    """
    distinct = 1 + int(np.count_nonzero((np.diff(x) != 0) | (np.diff(y) != 0)))
    return ((distinct + 3) // 2 - 0.5) / distinct


def _means(x: Column, y: Column, weights: Column) -> tuple[float, float]:
    total = float(weights.sum())
    if not total > 0:
        raise AlignmentError(f"all {len(weights)} weights are 0: nothing to fit")
    return _dot(weights, x) / total, _dot(weights, y) / total


def _dot(a: Column, b: Column) -> float:
    """Pairwise sum of products: the same on any number of threads, which the one of BLAS is not."""
    return float(np.sum(a * b))


# --------------------------------------------------------------------------------------------------------------- start


def _start(rows: _Rows, middle_x: float) -> Line:
    """Least median of squares over lines through pairs: one row from the lower half of x, one from the upper."""
    x, y = rows.x[rows.sample], rows.y[rows.sample]
    low, high = _pairs(len(x))
    baseline = x[high] - x[low]
    good = baseline > _RESOLUTION * abs(middle_x)
    if not good.any():
        raise AlignmentError(
            f"scale and shift cannot be told apart: {rows.count} values lie between {x[0] + middle_x:.6g} and "
            f"{x[-1] + middle_x:.6g}; a fit needs near and far points"
        )
    low, high = low[good], high[good]
    scales = (y[high] - y[low]) / baseline[good]
    # Deviation from the pair's own row, not from the origin: no cancellation for values far from zero.
    scored = np.arange(0, len(x), len(x) // _SCORED)
    residuals = np.abs((y[scored] - y[low, None]) - scales[:, None] * (x[scored] - x[low, None]))
    best = int(np.argmin(_median(residuals, rows.median)))
    return Line(float(scales[best]), float(y[low[best]] - scales[best] * x[low[best]]))


def _pairs(size: int) -> tuple[Int64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    random = np.random.default_rng(0)
    half = size // 2
    return random.integers(0, half, _PAIRS), random.integers(half, size, _PAIRS)


def _median(values: Float64[np.ndarray, "*n m"], share: float) -> Float64[np.ndarray, "*n"]:
    size = values.shape[-1]
    rank = min(int(size * share), size - 1)
    medians: Float64[np.ndarray, "*n"] = np.partition(values, rank)[..., rank]
    return medians


def _scale_start(rows: _Rows) -> Line:
    leverage = rows.weights * np.abs(rows.x)
    kept = leverage > 0
    if not kept.any():
        raise AlignmentError(f"no scale can be found: all {rows.count} values are 0")
    ratios = rows.y[kept] / rows.x[kept]
    order = np.argsort(ratios, kind="stable")
    until = np.cumsum(leverage[kept][order])
    return Line(float(ratios[order][np.searchsorted(until, until[-1] / 2)]), 0.0)


# -------------------------------------------------------------------------------------------------------------- polish


class _Fitted(NamedTuple):
    line: Line
    residuals: Column
    tukey: Column
    """Tukey's weights, in [0, 1]."""
    sigma: float
    mad: float
    inlier_ratio: float


def _tukey(rows: _Rows, line: Line, solve: Solver) -> _Fitted:
    """Iteratively re-weighted least squares from ``line`` until the line moves no more."""
    sigma, step = 0.0, np.inf
    for iteration in range(_ITERATIONS):
        residuals = rows.y - line.scale * rows.x - line.shift
        if iteration < _FREE_ITERATIONS:
            sigma = _sigma(residuals, rows)
        tukey = _biweight(residuals / sigma)
        moved = solve(rows.x, rows.y, rows.weights * tukey)
        step, line = _step(line, moved, rows.x[tukey > 0]), moved
        if step <= max(_CONVERGED * sigma, rows.rounding):
            return _fitted(rows, line, sigma)
    raise AlignmentError(f"the fit of {rows.count} values does not settle (last step {step:.3g}, spread {sigma:.3g})")


def _step(line: Line, moved: Line, x: Column) -> float:
    """How far the line moves at the two ends of the (sorted) x that count."""
    scale, shift = moved.scale - line.scale, moved.shift - line.shift
    return max(abs(scale * float(x[0]) + shift), abs(scale * float(x[-1]) + shift))


def _fitted(rows: _Rows, line: Line, sigma: float) -> _Fitted:
    residuals = rows.y - line.scale * rows.x - line.shift
    tukey = _biweight(residuals / sigma)
    inlier_ratio = float(rows.weights[tukey > 0].sum() / rows.weights.sum())
    mad = float(np.median(np.abs(residuals[rows.sample])))
    return _Fitted(line, residuals, tukey, sigma, mad, inlier_ratio)


def _sigma(residuals: Column, rows: _Rows) -> float:
    mad = float(_median(np.abs(residuals[rows.sample]), rows.median))
    return max(SIGMA_FROM_MAD * mad, rows.rounding)


def _biweight(deviation: Column) -> Column:
    """Tukey's weight psi(u) / u = (1 - (u / c)^2)^2 inside c, else 0 (Beaton and Tukey 1974)."""
    inside = np.maximum(1 - (deviation / TUKEY) ** 2, 0)
    weights: Column = inside * inside
    return weights


def _solve_scale(x: Column, y: Column, weights: Column) -> Line:
    power = _dot(weights, x * x)
    if not power > 0:
        raise AlignmentError(f"no scale can be found: the {len(x)} values that agree with each other are 0")
    return Line(_dot(weights * x, y) / power, 0.0)


# --------------------------------------------------------------------------------------------------------------- trust


def _slack(rows: _Rows, fitted: _Fitted) -> float:
    """Mean of psi' over mean of psi / u, with psi Tukey's.

    Always positive, since sigma comes from the median: half of the rows have u < 0.68, where psi' > 0.87, and psi' is
    nowhere below -0.8.
    """
    squared = np.minimum((fitted.residuals / fitted.sigma / TUKEY) ** 2, 1)
    slope = (1 - squared) * (1 - 5 * squared)
    return _dot(rows.weights, slope) / _dot(rows.weights, fitted.tukey)


def _affine_covariance(rows: _Rows, fitted: _Fitted, middle_x: float) -> Float64[np.ndarray, "2 2"]:
    """A^-1 B A^-1 (Huber and Ronchetti 2009, ch. 7.6), found about the weighted mean of x and carried to x = 0."""
    robust = rows.weights * fitted.tukey
    mean_x, _ = _means(rows.x, rows.y, robust)
    centred = rows.x - mean_x
    bread = _slack(rows, fitted) * np.array([_dot(robust, centred * centred), robust.sum()])
    score = _scores(rows, robust * fitted.residuals)
    slope = _scores(rows, robust * fitted.residuals * centred)
    cross = _dot(slope, score)
    meat = np.array([[_dot(slope, slope), cross], [cross, _dot(score, score)]])
    about_mean = meat / np.outer(bread, bread) * _correction(rows, fitted, 2)
    to_origin = np.array([[1.0, 0.0], [-(mean_x + middle_x), 1.0]])
    covariance: Float64[np.ndarray, "2 2"] = to_origin @ about_mean @ to_origin.T
    return covariance


def _scale_sigma(rows: _Rows, fitted: _Fitted) -> float:
    robust = rows.weights * fitted.tukey
    bread = _slack(rows, fitted) * _dot(robust, rows.x * rows.x)
    score = _scores(rows, robust * fitted.residuals * rows.x)
    return float(np.sqrt(_dot(score, score) * _correction(rows, fitted, 1))) / bread


def _scores(rows: _Rows, scores: Column) -> Float64[np.ndarray, " b"]:
    """Of the blocks, if the rows have such: what errs together is added up before it is squared."""
    if rows.blocks is None:
        return scores
    _, block = np.unique(rows.blocks, return_inverse=True)
    total: Float64[np.ndarray, " b"] = np.bincount(block, scores)
    return total


def _correction(rows: _Rows, fitted: _Fitted, parameters: int) -> float:
    """The factor n / (n - p): residuals are smaller than errors, for the parameters have been fitted to them."""
    inliers = fitted.tukey > 0
    if rows.blocks is None:
        count = int(np.count_nonzero(inliers))
        return count / max(count - parameters, 1)
    blocks = len(np.unique(rows.blocks[inliers]))
    if blocks <= parameters:
        raise AlignmentError(
            f"the values that agree with each other are of {blocks} of {len(np.unique(rows.blocks))} blocks; a fit "
            f"needs at least {parameters + 1}"
        )
    return blocks / (blocks - parameters)


def _require_slope(rows: _Rows, fitted: _Fitted) -> None:
    """Refuse a slope that is rounding: y does not change with x at all."""
    span = float(rows.x[-1] - rows.x[0])
    if abs(fitted.line.scale) * span <= 10 * rows.rounding:
        raise AlignmentError(f"the fit of {rows.count} values gives a scale of 0: one side is constant")


def _require_support(rows: _Rows, fitted: _Fitted) -> None:
    """Refuse a slope that hangs on one row: that row fits by construction, and nothing speaks for it.

    The number of rows in effect is Kish's, of the shares that rows have in the spread of x.
    """
    robust = rows.weights * fitted.tukey
    share = robust * (rows.x - _means(rows.x, rows.y, robust)[0]) ** 2
    support = float(share.sum()) ** 2 / _dot(share, share)
    if support < _LEAST_SUPPORT:
        raise AlignmentError(
            f"scale and shift cannot be told apart: of {np.count_nonzero(robust)} values that agree with each other "
            "all but one are nearly equal; a fit needs near and far points"
        )


def _require_positive(scale: float, sigma: float, count: int) -> None:
    if not (np.isfinite(scale) and np.isfinite(sigma)):
        raise AlignmentError(f"the fit of {count} values is not finite (scale {scale:g} +- {sigma:g})")
    if scale <= 0:
        raise AlignmentError(
            f"the fit of {count} values gives a scale of {scale:.4g} +- {sigma:.2g}: near and far swap"
        )
    if scale < _SIGNIFICANT * sigma:
        raise AlignmentError(f"{count} values do not determine the scale: {scale:.4g} +- {sigma:.2g}")
