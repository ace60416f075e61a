"""Lines that drift: y ~ scale(t) x + shift(t), from groups of rows that were taken at different times.

In recon a group is a picture, x is what a network says and y the inverse depth that an anchor knows. Three errors part
a row from the line, and each is given its share, so that the uncertainty which comes out can be relied on:

* the row's own, heavy-tailed: Tukey's biweight on the residuals, as in ``recon.fitting``;
* the scatter, which all rows of a group have in common: a network changes its mind from picture to picture, and a
  metric network from anchor to anchor. Without it, 100 000 pixels of one picture would outvote 50 landmarks of every
  other one. It is heavy-tailed too (Student's t, Lange, Little and Taylor 1989): a picture that is off as a whole
  counts little;
* the drift of the line with time, a random walk.

Given their sizes this is a linear mixed model (Laird and Ware 1982), solved in closed form: the rows of a group come
down to a quadratic form in its own line, and the groups hang on a chain in time. How large drift and scatter are is
found by maximum likelihood, with weak priors that decide where there are few groups.

Everything is told about *one* line through all rows: y = that line + level * a + slope * (x - middle) * b + errors. The
middle is the median of all x, level and slope are of that line; so a and b are relative changes of the two, near 0 and
hardly correlated. Without a shift, y = scale * x + scale * x * a + errors. Shapes: n rows, g groups (= times), p
coefficients, 2 or 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.linalg import cho_solve_banded, cholesky_banded

from recon.errors import AlignmentError
from recon.fitting import SIGMA_FROM_MAD, TUKEY, Line, fit_affine, fit_scale

_ROUNDS = 50
"""Rounds in which rows and groups are weighed anew, at the most; ten are usual."""
_SETTLED = 0.02
"""Part of its standard deviation by which no line moves any more."""
_COOLING = 3.0
"""By this the spread of the rows shrinks in a round at the most. Where y is exact, half of the groups would else leave
the others behind as outliers."""
_FREEDOM = 4.0
"""Of Student's t for the scatter: what Lange, Little and Taylor (1989) advise where it is not estimated."""
_DRIFT, _SCATTER = 0.03, 0.05
"""Centres of the priors, as parts of the line: its change within a second, and how far a group is from it."""
_PRIOR_SPREAD = 2.0
"""Standard deviation of the logarithm of their squares: a factor of e either way. The centres are on the large side
because the most likely variance is too small where groups are few (Chung et al. 2013)."""
_SMALLEST = 1e-5
"""A share below this is none."""
_INSTANT = 1e-3
"""Seconds. What lies closer in time drifts as if it were this far apart."""
_RIDGE = 64 * float(np.finfo(float).eps)
"""By this the diagonal of a system grows, more than by rounding: what no row tells is that of the line through all."""
_RESOLUTION = 1e-7
"""Relative differences of y below this are none: those of float32."""

Rows = Float64[np.ndarray, " n"]
Design = Float64[np.ndarray, "n p"]
Lines = Float64[np.ndarray, "g p"]
Matrices = Float64[np.ndarray, "g p p"]
Times = Float64[np.ndarray, " g"]
Steps = Float64[np.ndarray, "steps p"]
Variances = Float64[np.ndarray, " p"]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one time."""

    time: float
    """Seconds."""
    x: Rows
    y: Rows
    weight: Rows
    """Relative inverse variance of y; a row of weight 0 is no row."""
    block: Int64[np.ndarray, " n"] | None = None
    """Rows of one number err together, as neighbours in a picture do; None: each for itself."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.x, self.y, self.weight, self.block) if column is not None}
        if len(lengths) > 1:
            raise ValueError(f"a group needs columns of one length, got {sorted(lengths)}")
        if not np.isfinite(self.time):
            raise ValueError(f"a group needs a time, got {self.time}")
        if (self.weight < 0).any():
            raise ValueError(f"weights must not be negative, the least is {np.nanmin(self.weight):g}")


@dataclass(frozen=True, slots=True)
class LineCurve:
    """A line that changes with time: piecewise linear between its knots, constant beyond them."""

    times: Float64[np.ndarray, " k"]
    """Seconds, increasing."""
    scale: Float64[np.ndarray, " k"]
    shift: Float64[np.ndarray, " k"]
    covariance: Float64[np.ndarray, "k 2 2"]
    """Of (scale, shift) at the knots."""

    @staticmethod
    def constant(line: Line, covariance: Float64[np.ndarray, "2 2"] | None = None) -> "LineCurve":
        """The same line at all times; an unknown covariance is NaN."""
        known = np.full((2, 2), nan) if covariance is None else covariance
        return LineCurve(np.zeros(1), np.array([line.scale]), np.array([line.shift]), known[None])

    def at(self, time: float) -> Line:
        """The line at a time in seconds."""
        return Line(*(float(np.interp(time, self.times, values)) for values in (self.scale, self.shift)))

    def relative_sigma(self, x: float) -> Float64[np.ndarray, " k"]:
        """Relative standard deviation of y at an x, at each knot; in recon that of inverse depth, and so of lengths."""
        place = np.array([x, 1.0])
        terms = np.einsum("kii,i->k", self.covariance, place**2)  # they may cancel: less than rounding is not known
        variance = np.maximum(place @ self.covariance @ place, np.finfo(float).eps * terms)
        sigma: Float64[np.ndarray, " k"] = np.sqrt(variance) / (self.scale * x + self.shift)
        return sigma


@dataclass(frozen=True, slots=True)
class DriftFit:
    """A line that drifts, and how far it can be trusted."""

    smooth: LineCurve
    """What the groups have in common; a knot for each of them."""
    own: LineCurve
    """The line of each group, as far as its rows tell it from the smooth one: for an x that scatters, not for a y. A
    group whose rows say that y falls with x has the smooth one."""
    drift: float
    """Random walk of the level: its relative change within a second, one standard deviation."""
    scatter: float
    """Relative difference of the level of a group from the smooth line, one standard deviation."""
    group_weight: Float64[np.ndarray, " k"]
    """Above 1 for groups that agree well, near 0 for those that are off as a whole, 0 where y falls with x."""
    inlier_ratio: float
    """Share of the weight that Tukey's biweight did not set to zero."""
    residual_mad: float
    """Median absolute residual of all rows from their group's own line, units of y."""
    count: int
    """Rows with finite values and positive weight."""
    length_sigma: float = nan
    """Relative standard deviation of y at the median of all x, median over the knots: of lengths, in recon."""


def fit_drifting(groups: Sequence[Group], *, with_shift: bool = True) -> DriftFit:
    """Scale and shift as smooth functions of time where up to 40 % of the rows, and some groups, may be gross outliers.

    Groups of one time are one group. A single one gives the line of ``recon.fitting``, which says nothing of drift and
    scatter (NaN); its covariance is that of independent blocks. With more, what the rows of a group share is scatter,
    and blocks are not looked at.

    Neither the order of groups and rows nor a common factor of all weights matters. A row of weight 2 is one of half
    the variance: as good as two rows, but not the same, for two that agree also say how well rows agree.

    Args:
        groups: in any order.
        with_shift: False fits a scale alone, for an x that is known up to a factor.

    Raises:
        AlignmentError: all rows together do not determine a line, or its scale is not positive at some time.
    """
    rows = _sorted(groups)
    reference = _affine(rows) if with_shift else _proportional(rows)
    if len(rows.times) == 1:
        return _constant(rows, reference)
    return _drift_fit(rows, reference, *_settled(rows, reference))


# ---------------------------------------------------------------------------------------------------------------- rows


class _Rows(NamedTuple):
    """Rows that are finite and have weight, group after group."""

    times: Times
    first: Int64[np.ndarray, " g"]
    """Row at which each group begins."""
    x: Rows
    y: Rows
    weight: Rows
    block: Int64[np.ndarray, " n"]

    @property
    def group(self) -> Int64[np.ndarray, " n"]:
        """Group of each row."""
        return np.repeat(np.arange(len(self.first)), np.diff(self.first, append=len(self.x)))

    def sums(self, values: Rows) -> Times:
        """Sum over the rows of each group."""
        total: Times = np.add.reduceat(values, self.first)
        return total


def _sorted(groups: Sequence[Group]) -> _Rows:
    """By value too, so that no order of what comes in changes a bit of what comes out."""
    if not groups:
        raise AlignmentError("no rows to fit")
    x, y, weight, block, time = _columns(groups)
    kept = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & np.isfinite(weight) & (weight > 0))
    if not len(kept):
        raise AlignmentError(f"none of {len(x)} rows is finite and has weight")
    order = kept[np.argsort(time[kept], kind="stable")]
    times, first = np.unique(time[order], return_index=True)
    for rows in np.split(order, first[1:]):  # views: group by group is several times faster than all at once
        rows[:] = rows[np.lexsort((weight[rows], y[rows], x[rows]))]
    weight = weight[order]
    return _Rows(times, first.astype(np.int64), x[order], y[order], weight / weight.max(), block[order])


def _columns(groups: Sequence[Group]) -> tuple[Rows, Rows, Rows, Int64[np.ndarray, " n"], Rows]:
    x, y, weight = (np.concatenate(column) for column in zip(*((g.x, g.y, g.weight) for g in groups), strict=True))
    counts = [len(group.x) for group in groups]
    each = np.split(-1 - np.arange(len(x)), np.cumsum(counts)[:-1])
    block = np.concatenate([e if g.block is None else g.block for g, e in zip(groups, each, strict=True)])
    return x, y, weight, block, np.repeat([group.time for group in groups], counts)


class _Reference(NamedTuple):
    """One line through all rows, about which everything is told."""

    design: Design
    """By what y changes with each coefficient, row by row."""
    rest: Rows
    """What the line leaves of y."""
    turn: Float64[np.ndarray, "2 p"]
    """(scale, shift) is the sum of its columns, and changes with the coefficients by it."""
    inlier_ratio: float
    residual_mad: float
    covariance: Float64[np.ndarray, "2 2"]
    """Of (scale, shift), as if all rows (or blocks) were independent."""


def _affine(rows: _Rows) -> _Reference:
    fit = fit_affine(rows.x, rows.y, rows.weight, rows.block if len(rows.times) == 1 else None)
    middle = float(np.median(rows.x))
    level = fit.scale * middle + fit.shift
    if level <= 0:
        raise AlignmentError(f"the fit is {level:g} at the median of all rows: they are not of one sign")
    slope = fit.scale * (rows.x - middle)
    design = np.stack([np.full(len(slope), level), slope], axis=1)
    turn = np.array([[0, fit.scale], [level, -fit.scale * middle]])
    return _Reference(design, (rows.y - level) - slope, turn, fit.inlier_ratio, fit.residual_mad, fit.covariance)


def _proportional(rows: _Rows) -> _Reference:
    fit = fit_scale(rows.x, rows.y, rows.weight, rows.block if len(rows.times) == 1 else None)
    line = fit.scale * rows.x
    turn, covariance = np.array([[fit.scale], [0.0]]), np.diag([fit.sigma**2, 0])
    return _Reference(line[:, None], rows.y - line, turn, fit.inlier_ratio, fit.residual_mad, covariance)


# -------------------------------------------------------------------------------------------------------------- rounds


class _Shares(NamedTuple):
    """Variances of the coefficients."""

    drift: Variances
    """Within a second."""
    scatter: Variances
    """Of groups; divided by the weight of a group, of that one."""


class _Belief(NamedTuple):
    """What is known of the coefficients at each time."""

    mean: Lines
    covariance: Matrices


class _State(NamedTuple):
    """Where the rounds stand."""

    smooth: _Belief
    own: _Belief
    weight: Times
    """Of groups."""
    shares: _Shares


class _Information(NamedTuple):
    """What the rows of each group say of its own line c: the likelihood is exp(vector c - c matrix c / 2)."""

    matrix: Matrices
    vector: Lines


class _Seen(NamedTuple):
    """The rows beside the lines of their groups."""

    precision: Rows
    """Inverse variance of a row, less what Tukey's biweight takes off: 0 for an outlier."""
    information: _Information
    spread: float
    """Standard deviation of a row of weight 1, from the median."""
    inlier_ratio: float
    residual_mad: float


def _settled(rows: _Rows, reference: _Reference) -> tuple[_State, _Seen]:
    """Lines, weights and shares in turn, each by the others, until no line moves."""
    groups, p = len(rows.times), reference.design.shape[1]
    nothing = _Belief(np.zeros((groups, p)), np.zeros((groups, p, p)))
    shares = _Shares(np.full(p, _DRIFT**2), np.full(p, _SCATTER**2))
    state = _State(nothing, nothing, np.ones(groups), shares)
    seen = _seen(rows, reference, nothing, np.zeros(len(rows.x)), 0.0)
    for _ in range(_ROUNDS):
        before, spread = state, seen.spread
        state = _weighed(seen.information, state, rows.times)
        seen = _seen(rows, reference, state.own, seen.precision, spread / _COOLING)
        moved = max(_moved(before.smooth, state.smooth), _moved(before.own, state.own), abs(log(seen.spread / spread)))
        if moved < _SETTLED:
            break
        state = state._replace(shares=_most_likely(seen.information, state, rows.times))
    return state, seen


def _moved(before: _Belief, now: _Belief) -> float:
    """Largest move, in standard deviations."""
    sigma = np.sqrt(np.einsum("gii->gi", now.covariance)) + _RESOLUTION
    return float((np.abs(now.mean - before.mean) / sigma).max())


def _seen(rows: _Rows, reference: _Reference, own: _Belief, precision: Rows, floor: float) -> _Seen:
    """Residuals are smaller than errors by sqrt(1 - leverage), for the own line of a group bends to its rows."""
    group, design = rows.group, reference.design
    residual = reference.rest - (design * own.mean[group]).sum(axis=1)
    leverage = precision * np.einsum("np,npq,nq->n", design, own.covariance[group], design)
    deviation = np.abs(residual) * np.sqrt(rows.weight / np.maximum(1 - leverage, _RESOLUTION))
    floor = max(floor, _RESOLUTION * float(np.median(np.abs(rows.y))))
    spread = max(SIGMA_FROM_MAD * float(np.median(deviation)), floor)
    trust, variance = _tukey(deviation, spread)
    precision = rows.weight * trust / max(variance, floor**2)
    inlier_ratio = float(rows.weight[trust > 0].sum() / rows.weight.sum())
    residual_mad = float(np.median(np.abs(residual)))
    return _Seen(precision, _information(rows, reference, precision), spread, inlier_ratio, residual_mad)


def _tukey(deviation: Rows, spread: float) -> tuple[Rows, float]:
    """Tukey's weights, and the variance with which they say as much as the M-estimator knows.

    The estimator has the variance s^2 E[psi^2] / E[psi']^2 (Huber and Ronchetti 2009, eq. 3.2.13) where its weights
    psi / u alone, over s^2, would say s^2 / E[psi / u]; s comes from the median, and outliers make it too large.
    """
    inside = np.maximum(1 - (deviation / (TUKEY * spread)) ** 2, 0)
    trust = inside**2
    slope = float(np.mean(inside * np.where(inside > 0, 5 * inside - 4, 0)))
    return trust, float(np.mean((deviation * trust) ** 2)) * float(np.mean(trust)) / slope**2


def _information(rows: _Rows, reference: _Reference, precision: Rows) -> _Information:
    columns = reference.design.T
    vector = np.stack([rows.sums(precision * a * reference.rest) for a in columns], axis=-1)
    matrix = np.stack([np.stack([rows.sums(precision * a * b) for b in columns], axis=-1) for a in columns], axis=-1)
    return _Information(matrix, vector)


def _weighed(information: _Information, state: _State, times: Times) -> _State:
    """The lines under the present shares and weights, and how much each group counts after that.

    A weight is the mean of Student's precision given the rows: the expectation step of Lange, Little and Taylor (1989).
    """
    given = _given(information, state)
    steps = _steps(times, state.shares.drift)
    path, _ = _path(given, steps)
    smooth = _Belief(path, _path_covariance(given.matrix, steps))
    follows = given.own @ information.matrix
    off = _product(given.own, information.vector - _product(information.matrix, path))
    off_covariance = given.own + follows @ smooth.covariance @ follows.swapaxes(1, 2)
    distance = ((off**2 + np.einsum("gii->gi", off_covariance)) / state.shares.scatter).sum(axis=1)
    weight = (_FREEDOM + path.shape[1]) / (_FREEDOM + distance)
    stays = np.eye(path.shape[1]) - follows
    own = _Belief(path + off, given.own + stays @ smooth.covariance @ stays.swapaxes(1, 2))
    return _State(smooth, own, weight, state.shares)


def _product(matrix: Matrices, vector: Lines) -> Lines:
    product: Lines = (matrix @ vector[..., None])[..., 0]
    return product


# ------------------------------------------------------------------------------------------------------- linear algebra


class _Given(NamedTuple):
    """What a group says of the smooth line u, about which its own line scatters with V: M is its information on that.

    All by 2 x 2 cofactors, in which nothing but positive terms is added: M may be of any rank and size.
    """

    matrix: Matrices
    """(M^-1 + V)^-1 = (1 + M V)^-1 M."""
    vector: Lines
    """(1 + M V)^-1 times what M has."""
    own: Matrices
    """(M + V^-1)^-1, the covariance of the own line given u."""
    log_determinant: float
    """Of 1 + M V, sum over the groups."""


def _given(information: _Information, state: _State) -> _Given:
    matrix, vector = information
    scatter = state.shares.scatter / state.weight[:, None]
    spread = scatter[:, :, None] * np.eye(scatter.shape[1])
    minor, cofactors = _minor(matrix)
    determinant = 1 + np.einsum("gii,gi->g", matrix, scatter) + minor * scatter.prod(axis=1)
    over = 1 / determinant[:, None, None]
    own = (spread + cofactors * scatter.prod(axis=1)[:, None, None]) * over
    smooth = (matrix + minor[:, None, None] * _minor(spread)[1]) * over
    return _Given(smooth, vector - _product(matrix, _product(own, vector)), own, float(np.log(determinant).sum()))


def _minor(matrix: Matrices) -> tuple[Times, Matrices]:
    """Determinant and transposed cofactors of 2 x 2 matrices; of 1 x 1 ones, 0: there is no product to add."""
    if matrix.shape[1] == 1:
        return np.zeros(len(matrix)), np.zeros_like(matrix)
    determinant = matrix[:, 0, 0] * matrix[:, 1, 1] - matrix[:, 0, 1] ** 2
    return np.maximum(determinant, 0), matrix[:, ::-1, ::-1] * np.array([[1, -1], [-1, 1]])


def _steps(times: Times, drift: Variances) -> Steps:
    """Inverse variance of what the line changes from each group to the next.

    By nanoseconds, so that the same groups give the same numbers wherever in a film they are.
    """
    seconds = np.maximum(np.round(np.diff(times), 9), _INSTANT)
    steps: Steps = 1 / (seconds[:, None] * drift)
    return steps


def _path(given: _Given, steps: Steps) -> tuple[Lines, float]:
    """The most likely random walk, and the logarithm of the determinant of its system, which is banded."""
    groups, p = given.vector.shape
    bands = np.zeros((p + 1, p * groups))  # scipy's upper form: the last row is the diagonal
    bands[p] = np.einsum("gii->gi", _diagonal(given.matrix, steps)).ravel()
    bands[0, p:] = -steps.ravel()
    if p == 2:
        bands[1, 1::2] = given.matrix[:, 0, 1]
    factor = cholesky_banded(bands)
    path: Lines = cho_solve_banded((factor, False), given.vector.ravel()).reshape(-1, p)
    return path, 2 * float(np.log(factor[p]).sum())


def _diagonal(matrix: Matrices, steps: Steps) -> Matrices:
    """Blocks of the system of a random walk."""
    none = np.zeros((1, steps.shape[1]))
    both = np.concatenate([steps, none]) + np.concatenate([none, steps])
    one = np.eye(steps.shape[1])
    blocks: Matrices = (matrix + both[:, :, None] * one) * (1 + _RIDGE * one)
    return blocks


def _path_covariance(matrix: Matrices, steps: Steps) -> Matrices:
    """Covariance of the path at each group: the diagonal blocks of the inverse of its system."""
    beside = -steps[:, :, None] * np.eye(steps.shape[1])
    return _inverse_blocks(_diagonal(matrix, steps), beside)[0]


def _inverse_blocks(diagonal: Matrices, beside: Matrices) -> tuple[Matrices, Matrices]:
    """The blocks of the inverse of a symmetric block-tridiagonal matrix that lie on the diagonal and right beside it.

    By odd-even reduction (Hockney 1965): every other unknown is eliminated, all at once, and the rest is a matrix of
    the same kind and half the size.
    """
    count, p = diagonal.shape[:2]
    if count == 2:
        whole = np.linalg.inv(np.block([[diagonal[0], beside[0]], [beside[0].T, diagonal[1]]]))
        return np.stack([whole[:p, :p], whole[p:, p:]]), whole[None, :p, p:]
    if count % 2 == 0:  # one more that touches nothing
        diagonal = np.concatenate([diagonal, np.eye(p)[None]])
        beside = np.concatenate([beside, np.zeros_like(beside[:1])])
    odd = np.linalg.inv(diagonal[1::2])
    left, right = odd @ beside[::2].swapaxes(1, 2), odd @ beside[1::2]  # an odd unknown: -left before - right after
    even = diagonal[::2].copy()
    even[:-1] -= beside[::2] @ left
    even[1:] -= beside[1::2].swapaxes(1, 2) @ right
    even_inverse, across = _inverse_blocks(even, -beside[::2] @ right)
    before = -left @ even_inverse[:-1] - right @ across.swapaxes(1, 2)
    after = -left @ across - right @ even_inverse[1:]
    odd_inverse = odd - before @ left.swapaxes(1, 2) - after @ right.swapaxes(1, 2)
    blocks, between = np.zeros_like(diagonal), np.zeros_like(beside)
    blocks[::2], blocks[1::2] = even_inverse, odd_inverse
    between[::2], between[1::2] = before.swapaxes(1, 2), after
    return blocks[:count], between[: count - 1]


# -------------------------------------------------------------------------------------------------------------- shares


def _most_likely(information: _Information, state: _State, times: Times) -> _Shares:
    """Drift and scatter under which rows and priors are most likely, given the weights."""
    from scipy.optimize import minimize  # noqa: PLC0415 - a quarter of a second that no other command need wait for

    half = len(state.shares.drift)
    prior = 2 * np.log(np.repeat([_DRIFT, _SCATTER], half))

    def cost(logarithms: Float64[np.ndarray, " shares"]) -> float:
        variances = np.exp(logarithms)
        shares = _Shares(variances[:half], variances[half:])
        unlikely = float((((logarithms - prior) / _PRIOR_SPREAD) ** 2).sum())
        return unlikely - 2 * _log_likelihood(information, state._replace(shares=shares), times)

    start = np.log(np.concatenate(state.shares))
    bounds = [(2 * log(_SMALLEST), 0.0)] * len(start)
    found = np.exp(minimize(cost, start, method="L-BFGS-B", bounds=bounds, options={"eps": 1e-4, "gtol": 0.02}).x)
    return _Shares(found[:half], found[half:])


def _log_likelihood(information: _Information, state: _State, times: Times) -> float:
    """Of all rows, own lines and path integrated out; less what does not depend on the shares."""
    given = _given(information, state)
    steps = _steps(times, state.shares.drift)
    path, log_determinant = _path(given, steps)
    explained = (given.vector * path).sum() + (information.vector * _product(given.own, information.vector)).sum()
    return float(explained + np.log(steps).sum() - given.log_determinant - log_determinant) / 2


# -------------------------------------------------------------------------------------------------------------- result


def _drift_fit(rows: _Rows, reference: _Reference, state: _State, seen: _Seen) -> DriftFit:
    state, turn = _honest(rows, state, seen), reference.turn
    smooth = _curve(rows.times, state.smooth, turn)
    worst = int(np.argmin(smooth.scale))
    if not smooth.scale[worst] > 0:
        raise AlignmentError(
            f"the scale is {smooth.scale[worst]:.3g} at {rows.times[worst]:.2f} s, but it must be positive"
        )
    rises = _curve(rows.times, state.own, turn).scale > 0
    own = (np.where(rises.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(state.own, state.smooth, strict=True))
    return DriftFit(
        smooth=smooth,
        own=_curve(rows.times, _Belief(*own), turn),
        drift=float(np.sqrt(state.shares.drift[0])),
        scatter=float(np.sqrt(state.shares.scatter[0])),
        group_weight=np.where(rises, state.weight, 0.0),
        inlier_ratio=seen.inlier_ratio,
        residual_mad=seen.residual_mad,
        count=len(rows.x),
        length_sigma=float(np.median(np.sqrt(state.smooth.covariance[:, 0, 0]) / (1 + state.smooth.mean[:, 0]))),
    )


def _honest(rows: _Rows, state: _State, seen: _Seen) -> _State:
    """With the covariances that belong to Student's t.

    A group says less of the line than its weight does as if that were known: (f + p) / (f + p + 2) of it (Lange, Little
    and Taylor 1989, appendix B), as if the scatter were so much larger.
    """
    freedom = _FREEDOM + state.smooth.mean.shape[1]
    wide = state.shares._replace(scatter=state.shares.scatter * (freedom + 2) / freedom)
    said = _weighed(seen.information, state._replace(shares=wide), rows.times)
    smooth, own = (belief._replace(covariance=of.covariance) for belief, of in zip(state[:2], said[:2], strict=True))
    return _State(smooth, own, state.weight, wide)


def _curve(times: Times, belief: _Belief, turn: Float64[np.ndarray, "2 p"]) -> LineCurve:
    """From coefficients to scale and shift."""
    scale, shift = turn @ (1 + belief.mean).T
    return LineCurve(times, scale, shift, turn @ belief.covariance @ turn.T)


def _constant(rows: _Rows, reference: _Reference) -> DriftFit:
    scale, shift = (float(value) for value in reference.turn.sum(axis=1))
    curve = LineCurve.constant(Line(scale, shift), reference.covariance)
    return DriftFit(
        smooth=curve,
        own=curve,
        drift=nan,
        scatter=nan,
        group_weight=np.ones(1),
        inlier_ratio=reference.inlier_ratio,
        residual_mad=reference.residual_mad,
        count=len(rows.x),
        length_sigma=float(curve.relative_sigma(float(np.median(rows.x)))[0]),
    )
