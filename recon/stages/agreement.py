"""How an anchor and the depth maps get on with each other, picture by picture: a few numbers for the self-report."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Float64

from recon.fitting import SIGMA_FROM_MAD, TUKEY, Line
from recon.smoothing import DriftFit
from recon.types import Correspondences

LEAST_PLACES = 8
"""Places from which on the order of near and far says something."""
_OUTSIDE = TUKEY * SIGMA_FROM_MAD
"""Median absolute residuals at which Tukey's biweight gives no weight (``recon.fitting``)."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What one anchored picture says, beside the line that its shot has there."""

    time: float
    """Seconds."""
    places: int
    """Where disparity and anchor are both known and were fitted."""
    left_out: int
    """Where the anchor is known too, but outside the picture, beside an edge, or without disparity."""
    outliers: int
    """Places so far from the picture's own line that they had no weight."""
    disparity: float
    """Median over the places."""
    inverse_depth: float
    """Median of the anchor's."""
    residual: float
    """Median absolute difference of inverse depth from the picture's own line, as a part of ``inverse_depth``: the
    relative error of depth in the middle."""
    order: float
    """Rank correlation (Spearman 1904) of disparity and inverse depth: 1 where what is nearer to the anchor is nearer
    in the depth map, whatever the line. NaN for fewer than 8 places, or where all are equally far."""


def agreements(seen: Sequence[Correspondences], fit: DriftFit) -> tuple[Agreement, ...]:
    """One for each picture that has places, in the order of time."""
    used = sorted((each for each in seen if len(each.disparity)), key=lambda each: each.time)
    return tuple(_agreement(each, fit.own.at(each.time), _OUTSIDE * fit.residual_mad) for each in used)


def _agreement(seen: Correspondences, line: Line, outside: float) -> Agreement:
    residual = np.abs(seen.inverse_depth - line.scale * seen.disparity - line.shift)
    middle = float(np.median(seen.inverse_depth))
    return Agreement(
        time=seen.time,
        places=len(residual),
        left_out=seen.left_out,
        outliers=int(np.count_nonzero(residual > outside)),
        disparity=float(np.median(seen.disparity)),
        inverse_depth=middle,
        residual=float(np.median(residual)) / middle,
        order=_rank_correlation(seen.disparity, seen.inverse_depth),
    )


def _rank_correlation(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> float:
    if len(x) < LEAST_PLACES or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan
    return float(np.corrcoef(_ranks(x), _ranks(y))[0, 1])


def _ranks(values: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Place of each value among all, from 1 on; equal ones share the mean of theirs.

    (scipy.stats says the same, and takes half a second to import: for each command that makes depth.)
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Float64[np.ndarray, " n"] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks
