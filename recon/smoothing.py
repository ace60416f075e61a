"""Lines that drift: y ~ scale(t) x + shift(t), from groups of rows that were taken at different times.

In recon a group is a picture, x is what a network says and y the inverse depth that an anchor knows. Three errors part
a row from the line, and each is given its share, so that the uncertainty which comes out can be relied on:

* the row's own, heavy-tailed: Tukey's biweight on the residuals, as in ``recon.fitting``;
* what all rows of a group share, because a network changes its mind from picture to picture, and a metric network from
  anchor to anchor. Without it, 100 000 pixels of one picture would outvote 50 landmarks of every other one. It is
  heavy-tailed too (Student's t, Lange, Little and Taylor 1989): a picture that is off as a whole counts little;
* the drift of the line with time, a random walk.

How large the last two are is found by maximum likelihood (a linear mixed model, Laird and Ware 1982), with weak priors
that decide where there are few groups. Given them, the line is the smoothing spline of all rows, in closed form.

Within, the line is y ~ level * a + scale * b * (x - middle), where the middle is the median of all x, and level and
scale are those of one line through everything: a and b are near 1, and hardly correlated. Without a shift it is
y ~ scale * a * x. Shapes: g groups, n rows, p coefficients (2 or 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, log, nan
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.linalg import LinAlgError, cho_solve_banded, cholesky_banded
from scipy.optimize import minimize

from recon.errors import AlignmentError
from recon.fitting import Line, fit_affine, fit_scale

_ROUNDS = 12
"""Rounds in which rows and groups are weighed anew."""
_SHARES_FOUND_IN = (2, 5, 8)
"""Rounds in which drift and scatter are found anew."""
_TUKEY = 4.685
_SIGMA_FROM_MAD = 1.4826
_FREEDOM = 4.0
"""Of Student's t for what a group shares."""
_DRIFT, _SCATTER = 0.01, 0.02
"""Priors, as parts of the line: change within a second (tenfold in a hundred), difference of neighbouring groups."""
_PRIOR_SPREAD = 3.0
"""Standard deviation of the logarithm of their squares: a factor of 20 either way is nothing unusual."""
_SMALLEST = 1e-6
"""Shares below this are none."""
_RESOLUTION = 1e-12
"""Relative differences below this are rounding."""

Lines = Float64[np.ndarray, "g p"]
Matrices = Float64[np.ndarray, "g p p"]
Design = Float64[np.ndarray, "n p"]
Times = Float64[np.ndarray, " g"]
Variances = Float64[np.ndarray, " p"]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one time."""

    time: float
    """Seconds."""
    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    weight: Float64[np.ndarray, " n"]
    """Relative inverse variance of y."""
    block: Int64[np.ndarray, " n"] | None = None
    """Rows of one number err together, as neighbours in a picture do; None: each for itself."""


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
        level = self.scale * x + self.shift
        sigma: Float64[np.ndarray, " k"] = np.sqrt(np.array([x, 1.0]) @ self.covariance @ np.array([x, 1.0])) / level
        return sigma


@dataclass(frozen=True, slots=True)
class DriftFit:
    """A line that drifts, and how far it can be trusted."""

    smooth: LineCurve
    """What the groups have in common; a knot for each of them."""
    own: LineCurve
    """The line of each group, as far as its rows tell it from the others: for an x that scatters, not for a y."""
    drift: float
    """Random walk of the level: its relative change within a second, one standard deviation."""
    scatter: float
    """Relative difference of the level of a group from the smooth line, one standard deviation."""
    group_weight: Float64[np.ndarray, " k"]
    """Above 1 for groups that agree well, near 0 for those that are off as a whole."""
    inlier_ratio: float
    """Share of the rows that Tukey's biweight did not set to zero."""
    residual_mad: float
    """Median absolute residual of all rows from their group's own line, units of y."""
    count: int
    length_sigma: float = nan
    """Relative standard deviation of y at the median of all x, median over the knots: of lengths, in recon."""


def fit_drifting(groups: Sequence[Group], *, with_shift: bool = True) -> DriftFit:
    """Scale and shift as smooth functions of time where up to 40 % of the rows, and some groups, may be gross outliers.

    Groups of one time are one group. A single time gives the line of ``recon.fitting``, which says nothing of drift and
    scatter (NaN).

    Args:
        groups: in any order.
        with_shift: False fits a scale alone, for an x that is known up to a factor.

    Raises:
        AlignmentError: all rows together do not determine a line, or its scale is not positive at some time.
    """
    table = _table(groups)
    model = _with_shift(table) if with_shift else _scale_alone(table)
    if len(table.times) == 1:
        return _constant(table, model)
    state = _converged(table, model.design)
    return _drift_fit(table, model, state)


# ---------------------------------------------------------------------------------------------------------------- rows


class _Table(NamedTuple):
    """All rows, group after group."""

    times: Times
    first: Int64[np.ndarray, " g"]
    """Row at which each group begins."""
    x: Float64[np.ndarray, " n"]
    y: Float64[np.ndarray, " n"]
    weight: Float64[np.ndarray, " n"]

    @property
    def group(self) -> Int64[np.ndarray, " n"]:
        """Group of each row."""
        return np.repeat(np.arange(len(self.first)), np.diff(self.first, append=len(self.x)))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum over the rows of each group."""
        total: np.ndarray = np.add.reduceat(values, self.first, axis=0)
        return total


def _table(groups: Sequence[Group]) -> _Table:
    """The rows that are finite and have weight, sorted by time."""
    if not groups:
        raise AlignmentError("no rows to fit")
    x, y, weight = (np.concatenate(column) for column in zip(*((g.x, g.y, g.weight) for g in groups), strict=True))
    time = np.repeat([group.time for group in groups], [len(group.x) for group in groups])
    kept = np.isfinite(x) & np.isfinite(y) & np.isfinite(weight) & (weight > 0)
    order = np.lexsort((y[kept], x[kept], time[kept]))
    x, y, weight, time = (values[kept][order] for values in (x, y, weight, time))
    times, first = np.unique(time, return_index=True)
    if not len(times):
        raise AlignmentError("no row is finite and has weight")
    return _Table(times, first.astype(np.int64), x, y, weight / weight.max())


class _Model(NamedTuple):
    """One line through all rows, by which everything else is measured."""

    design: Design
    """What the line is made of, at each row: y ~ design @ coefficients, and these are all near 1."""
    turn: Float64[np.ndarray, "2 p"]
    """(scale, shift) from coefficients."""
    inlier_ratio: float
    residual_mad: float
    covariance: Float64[np.ndarray, "2 2"]
    """Of (scale, shift), as if all rows were independent."""


def _with_shift(table: _Table) -> _Model:
    fit = fit_affine(table.x, table.y, table.weight)
    middle = float(np.median(table.x))
    level = fit.scale * middle + fit.shift
    if level <= 0:
        raise AlignmentError(f"the fit is {level:g} at the median of all rows: they are not of one sign")
    design = np.stack([np.full(len(table.x), level), fit.scale * (table.x - middle)], axis=1)
    turn = np.array([[0, fit.scale], [level, -fit.scale * middle]])
    return _Model(design, turn, fit.inlier_ratio, fit.residual_mad, fit.covariance)


def _scale_alone(table: _Table) -> _Model:
    fit = fit_scale(table.x, table.y, table.weight)
    covariance = np.diag([fit.sigma**2, 0])
    return _Model(
        fit.scale * table.x[:, None], np.array([[fit.scale], [0.0]]), fit.inlier_ratio, fit.residual_mad, covariance
    )


# --------------------------------------------------------------------------------------------------------------- rounds


class _Information(NamedTuple):
    """What the rows of each group say of its own (a, b): a quadratic form."""

    matrix: Matrices
    vector: Lines


class _Shares(NamedTuple):
    """Variances of the coefficients."""

    drift: Variances
    """Within a second."""
    scatter: Variances
    """Of groups."""


class _State(NamedTuple):
    """Where the rounds stand."""

    smooth: Lines
    own: Lines
    weight: Times
    shares: _Shares


class _Seen(NamedTuple):
    """What the rows say, given the lines of their groups."""

    information: _Information
    inlier_ratio: float
    residual_mad: float


def _converged(table: _Table, design: Design) -> _State:
    lines = np.ones((len(table.times), design.shape[1]))
    drift, scatter = (np.full(design.shape[1], prior**2) for prior in (_DRIFT, _SCATTER))
    state = _State(lines, lines, np.ones(len(lines)), _Shares(drift, scatter))
    for number in range(_ROUNDS):
        information = _seen(table, design, state.own).information
        if number in _SHARES_FOUND_IN:
            state = state._replace(shares=_most_likely(information, state, table.times))
        state = _weighed(information, state, table.times)
    return state


def _weighed(information: _Information, state: _State, times: Times) -> _State:
    """The lines under the present shares, and how much each group counts after that."""
    given = _given(information, state)
    smooth = _smooth(given, times, state.shares.drift).line
    unexplained = information.vector - (information.matrix @ smooth[..., None])[..., 0]
    deviation = (given.own @ unexplained[..., None])[..., 0]
    distance = (deviation**2 / state.shares.scatter).sum(axis=1)
    weight = (_FREEDOM + smooth.shape[1]) / (_FREEDOM + distance)
    return _State(smooth, smooth + deviation, weight, state.shares)


def _seen(table: _Table, design: Design, own: Lines) -> _Seen:
    """The quadratic form of each group, with rows weighed by their residual."""
    residual = table.y - (design * own[table.group]).sum(axis=1)
    weighted = np.abs(residual) * np.sqrt(table.weight)
    spread = max(_SIGMA_FROM_MAD * float(np.median(weighted)), _RESOLUTION * float(np.median(np.abs(table.y))))
    trust = np.maximum(0, 1 - (weighted / (_TUKEY * spread)) ** 2) ** 2
    weight = (table.weight * trust / spread**2)[:, None]
    matrix = table.sums((design * weight)[:, :, None] * design[:, None, :])
    vector = table.sums(design * weight * table.y[:, None])
    inliers = float(table.weight[trust > 0].sum() / table.weight.sum())
    return _Seen(_Information(matrix, vector), inliers, float(np.median(np.abs(residual))))


class _Given(NamedTuple):
    """What a group says of the smooth line, which its own line scatters about: (C + V)^-1 for a C of any rank."""

    matrix: Matrices
    vector: Lines
    own: Matrices
    """(C^-1 + V^-1)^-1, where C^-1 is what its rows say: the covariance of its own line about the smooth one."""
    log_determinant: Times
    """Of 1 + C^-1 V."""


def _given(information: _Information, state: _State) -> _Given:
    one = np.eye(information.vector.shape[1])
    scatter = one * (state.shares.scatter / state.weight[:, None])[:, None, :]
    mixed = one + information.matrix @ scatter
    inverse = np.linalg.inv(mixed)
    matrix = inverse @ information.matrix
    return _Given(
        (matrix + matrix.transpose(0, 2, 1)) / 2,
        (inverse @ information.vector[..., None])[..., 0],
        scatter @ inverse,
        np.linalg.slogdet(mixed)[1],
    )


class _Smooth(NamedTuple):
    line: Lines
    log_determinant: float
    """Of the precision of all of it."""


def _smooth(given: _Given, times: Times, drift: Variances) -> _Smooth:
    """The most likely path of a random walk, given what each group says of it: a banded system."""
    groups, p = given.vector.shape
    steps = _steps(times, drift)
    bands = np.zeros((p + 1, p * groups))  # scipy's upper form: the last row is the diagonal
    bands[p] = (np.einsum("gii->gi", given.matrix) + _diagonal(steps)).ravel()
    bands[0, p:] = -steps.ravel()
    if p == 2:
        bands[1, 1::2] = given.matrix[:, 0, 1]
    factor = cholesky_banded(bands)
    line: Lines = cho_solve_banded((factor, False), given.vector.ravel()).reshape(-1, p)
    return _Smooth(line, 2 * float(np.log(factor[p]).sum()))


def _steps(times: Times, drift: Variances) -> Float64[np.ndarray, "s p"]:
    """Inverse variance of what the line changes from each group to the next."""
    steps: Float64[np.ndarray, "s p"] = 1 / (np.diff(times)[:, None] * drift)
    return steps


def _diagonal(steps: Float64[np.ndarray, "s p"]) -> Lines:
    none = np.zeros((1, steps.shape[1]))
    diagonal: Lines = np.concatenate([steps, none]) + np.concatenate([none, steps])
    return diagonal


# -------------------------------------------------------------------------------------------------------------- shares


def _most_likely(information: _Information, state: _State, times: Times) -> _Shares:
    """Drift and scatter under which the rows are most likely, the line integrated out."""
    prior = np.log(np.repeat([_DRIFT, _SCATTER], information.vector.shape[1]) ** 2)

    def cost(logarithms: Float64[np.ndarray, " shares"]) -> float:
        shares = _shares(logarithms)
        given = _given(information, state._replace(shares=shares))
        try:
            path = _smooth(given, times, shares.drift)
        except LinAlgError:
            return inf
        steps = float(np.log(_steps(times, shares.drift)).sum())
        explained = float((given.vector * path.line).sum())
        explained += float(np.einsum("gi,gij,gj->", information.vector, given.own, information.vector))
        unlikely = float((((logarithms - prior) / _PRIOR_SPREAD) ** 2).sum())
        return float(given.log_determinant.sum()) + path.log_determinant - steps - explained + unlikely

    begin = np.log(np.concatenate([state.shares.drift, state.shares.scatter]))
    found = minimize(cost, begin, method="Nelder-Mead", options={"maxiter": 200, "xatol": 0.02, "fatol": 0.02})
    return _shares(found.x)


def _shares(logarithms: Float64[np.ndarray, " shares"]) -> _Shares:
    variances = np.exp(np.clip(logarithms, 2 * log(_SMALLEST), 0))
    half = len(variances) // 2
    return _Shares(variances[:half], variances[half:])


# -------------------------------------------------------------------------------------------------------------- result


def _drift_fit(table: _Table, model: _Model, state: _State) -> DriftFit:
    seen = _seen(table, model.design, state.own)
    given = _given(seen.information, state)
    path = _path_covariances(given, _steps(table.times, state.shares.drift))
    kept = np.eye(path.shape[1]) - given.own @ seen.information.matrix
    own = given.own + kept @ path @ kept.transpose(0, 2, 1)
    smooth = _curve(table.times, state.smooth, path, model.turn)
    return DriftFit(
        smooth=smooth,
        own=_curve(table.times, state.own, own, model.turn),
        drift=float(np.sqrt(state.shares.drift[0])),
        scatter=float(np.sqrt(state.shares.scatter[0])),
        group_weight=state.weight,
        inlier_ratio=seen.inlier_ratio,
        residual_mad=seen.residual_mad,
        count=len(table.x),
        length_sigma=_length_sigma(smooth, table.x),
    )


def _path_covariances(given: _Given, steps: Float64[np.ndarray, "s p"]) -> Matrices:
    """Covariance of the path at each group: the diagonal blocks of the inverse of ``_smooth``'s system, backwards."""
    forward = given.matrix + np.eye(steps.shape[1]) * _diagonal(steps)[:, None, :]
    for row in range(1, len(forward)):
        forward[row] -= steps[row - 1][:, None] * np.linalg.inv(forward[row - 1]) * steps[row - 1]
    covariance: Matrices = np.linalg.inv(forward)
    for row in range(len(forward) - 2, -1, -1):
        gain = covariance[row] * steps[row]
        covariance[row] += gain @ covariance[row + 1] @ gain.T
    return covariance


def _curve(times: Times, line: Lines, covariance: Matrices, turn: Float64[np.ndarray, "2 p"]) -> LineCurve:
    """From coefficients to scale and shift."""
    scale, shift = turn @ line.T
    if not (scale > 0).all():
        worst = int(np.argmin(scale))
        raise AlignmentError(f"the scale is {scale[worst]:.3g} at {times[worst]:.2f} s, but it must be positive")
    return LineCurve(times, scale, shift, turn @ covariance @ turn.T)


def _constant(table: _Table, model: _Model) -> DriftFit:
    scale, shift = (float(value) for value in model.turn.sum(axis=1))
    curve = LineCurve.constant(Line(scale, shift), model.covariance)
    sigma = _length_sigma(curve, table.x)
    return DriftFit(curve, curve, nan, nan, np.ones(1), model.inlier_ratio, model.residual_mad, len(table.x), sigma)


def _length_sigma(curve: LineCurve, x: Float64[np.ndarray, " n"]) -> float:
    return float(np.median(curve.relative_sigma(float(np.median(x)))))
