"""Whether depth jumps where the truth does: the scale-invariant boundary F1 of Depth Pro (arXiv 2410.02073, 4.1).

Between two neighbouring pixels i and j there is an edge of t per cent where d(j) / d(i) > 1 + t / 100. Precision is the
share of predicted edges that are true ones, recall that of true edges that are predicted, for each of the four
directions from i to j; both are averaged over the directions, and F1 = 2 P R / (P + R). The score is the mean of F1
over ten thresholds from 5 to 25 per cent with weights in proportion to 1 + t / 100, as the authors' script has them
(github.com/apple/ml-depth-pro, eval/boundary_metrics.py).

That script knows no missing depth and counts what is undefined as 0. Here:

* Only neighbours that both have true depth are compared.
* A direction without a true edge has no recall, one without any edge no precision, and a threshold without true edges
  no F1: they do not count (so that perfect depth scores 1). Where all directions have edges, the script agrees.
* Where a method gives no answer there is no edge: it gains and loses what a smooth answer would.
* Sparse truth says nothing of edges: NaN where fewer than ``LEAST_DENSITY`` of the pairs of neighbours of which one has
  true depth have both. Measured: .37 for the laser of KITTI (denser than single turns: 11 are accumulated), .83 to .87
  for HoloLens, .98 for Kinect, 1 for rendered depth.
"""

from collections.abc import Iterator
from math import nan
from typing import Final

import numpy as np
from jaxtyping import Float, Float64, Int64

from recon.types import DepthMap

LEAST_DENSITY = 0.6
_RATIOS: Final = tuple(float(ratio) for ratio in np.linspace(1.05, 1.25, 10))
_LEVELS: Final = len(_RATIOS) + 1

_Ratios = Float64[np.ndarray, "h pairs"]


def boundary_f1(depth: DepthMap, true: DepthMap) -> float:
    """Agreement of the edges of depth with those of the truth, from 0 to 1.

    Args:
        depth: any unit, > 0, NaN = no answer.
        true: any unit, > 0, NaN = unknown; the same size.

    Returns:
        NaN where the truth is sparse or has no edge of 5 %.
    """
    if density(true) < LEAST_DENSITY:
        return nan
    counts = np.stack([_counts(found, known) for found, known in _directions(depth, true)])
    both, predicted, real = np.moveaxis(counts, 1, 0)
    known = real.any(axis=0)
    if not known.any():
        return nan
    precision = _mean_share(both, predicted, among=predicted + real)[known]
    recall = _mean_share(both, real, among=real)[known]
    f1 = 2 * precision * recall / np.maximum(precision + recall, np.finfo(float).tiny)
    return float(np.average(f1, weights=np.array(_RATIOS)[known]))


def density(true: DepthMap) -> float:
    """Of the pairs of neighbours of which one is known, the share with both; 0 where nothing is known."""
    known = np.isfinite(true)
    pairs = (known[:, 1:], known[:, :-1]), (known[1:], known[:-1])
    both = sum(int(np.count_nonzero(a & b)) for a, b in pairs)
    either = sum(int(np.count_nonzero(a | b)) for a, b in pairs)
    return both / either if either else 0.0


def _directions(depth: DepthMap, true: DepthMap) -> Iterator[tuple[_Ratios, _Ratios]]:
    """Ratios of predicted and of true depth of neighbours: to the right, to the left, down, up."""
    for found, known in ((depth, true), (depth.T, true.T)):
        ratio, real = _ratios(found), _ratios(known)
        yield ratio, real
        yield 1 / ratio, 1 / real


def _ratios(depth: Float[np.ndarray, "h w"]) -> _Ratios:
    """Depth for one of the left neighbour."""
    ratios: _Ratios = depth[:, 1:].astype(np.float64) / depth[:, :-1]
    return ratios


def _counts(ratio: _Ratios, real: _Ratios) -> Int64[np.ndarray, "3 thresholds"]:
    """For each threshold: edges in both, in the prediction and in the truth, where the truth is known."""
    edges = ((ratio > _RATIOS[0]) | (real > _RATIOS[0])) & ~np.isnan(real)
    answered = np.nan_to_num(ratio[edges], nan=1.0)
    levels = _LEVELS * np.searchsorted(_RATIOS, real[edges]) + np.searchsorted(_RATIOS, answered)
    exactly = np.bincount(levels, minlength=_LEVELS**2).reshape(_LEVELS, _LEVELS)
    at_least = exactly[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    return np.stack([np.diag(at_least), at_least[0], at_least[:, 0]])[:, 1:]


def _mean_share(
    part: Int64[np.ndarray, "directions thresholds"],
    whole: Int64[np.ndarray, "directions thresholds"],
    *,
    among: Int64[np.ndarray, "directions thresholds"],
) -> Float64[np.ndarray, " thresholds"]:
    """Mean of part / whole over the directions in which there is something among which to count."""
    counting = among > 0
    shares = np.sum(part / np.maximum(whole, 1), axis=0, where=counting)
    means: Float64[np.ndarray, " thresholds"] = shares / np.maximum(counting.sum(axis=0), 1)
    return means
