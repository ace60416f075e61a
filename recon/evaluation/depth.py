"""How far depth is from the truth: AbsRel, delta1 and RMSE, as published since Eigen et al. (arXiv 1406.2283).

A pixel with true depth for which a method has no answer (NaN) counts as the greatest depth that is compared: that is
what the protocol makes of no disparity at all, and worse than almost any answer. Fewer answers never score better.
"""

from math import nan
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from recon.evaluation.alignment import MIN_DEPTH

_CLOSE = 1.25


class DepthErrors(NamedTuple):
    """Means over the pixels of one frame; NaN where there are none."""

    abs_rel: float
    """Of |depth - true| / true."""
    delta1: float
    """Share with max(depth / true, true / depth) < 1.25."""
    rmse: float
    """Root of the mean of (depth - true)^2, metres."""


def depth_errors(
    depth: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"], max_depth: float, *, scaled_to_median: bool = False
) -> DepthErrors:
    """Errors of one frame, with depth cut to [MIN_DEPTH, max_depth] before it is compared.

    Args:
        depth: what the method says at the pixels that count, metres (any unit, if it is scaled); NaN = no answer.
        true: true depth there, metres, > 0.
        max_depth: metres; what depth without an answer counts as.
        scaled_to_median: whether depth is first multiplied so that its median is the true one, over the pixels with an
            answer (Zhou et al., arXiv 1704.07813).
    """
    if not true.size:
        return DepthErrors(nan, nan, nan)
    found, truth = depth.astype(np.float64), true.astype(np.float64)
    if scaled_to_median:
        found = found * _median_ratio(found, truth)
    found = np.clip(np.where(found > 0, found, max_depth), MIN_DEPTH, max_depth)
    error = found - truth
    return DepthErrors(
        float(np.mean(np.abs(error) / truth)),
        float(np.mean(np.maximum(found / truth, truth / found) < _CLOSE)),
        float(np.sqrt(np.mean(error * error))),
    )


def _median_ratio(found: Float64[np.ndarray, " n"], true: Float64[np.ndarray, " n"]) -> float:
    """Median of the truth for one of the answers; NaN where there is none."""
    answered = np.isfinite(found) & (found > 0)
    return float(np.median(true[answered]) / np.median(found[answered])) if answered.any() else nan
