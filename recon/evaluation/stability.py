"""Whether the scale of depth stays: from frame to frame, over minutes, and where windows meet.

The log scale of a frame is the median of log(depth / true) after the clip's one fit: 0 where it is right, 0.1 where
everything is 10 % too far. The median leaves out what is wrong with single objects.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from math import nan

import numpy as np
from jaxtyping import Float, Float64
from scipy.stats import theilslopes

LEAST_FRAMES = 3
LEAST_SECONDS = 20.0
"""Shorter clips have no drift: a minute is not to be told from a few seconds."""
MOST_FRAMES = 1000
"""Frames of which all pairs are looked at; more are thinned evenly."""
_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Gauge:
    """The scale of one frame."""

    frame: int
    """Its number in the clip."""
    time: float
    """Seconds."""
    log_scale: float
    """Finite."""


def log_scale(depth: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Median of log(depth / true) over the pixels of a frame that have an answer (NaN = none); NaN without any."""
    answered = np.isfinite(depth)
    if not answered.any():
        return nan
    return float(np.median(np.log(depth[answered].astype(np.float64) / true[answered])))


def wander(gauges: Sequence[Gauge]) -> float:
    """Standard deviation of the log scale over the frames; NaN for fewer than two."""
    return float(np.std(_scales(gauges))) if len(gauges) > 1 else nan


def drift(gauges: Sequence[Gauge]) -> float:
    """How much larger depth becomes in a minute, in per cent, by the slope of Theil and Sen (the median of all pairs').

    NaN for fewer than ``LEAST_FRAMES`` frames or ``LEAST_SECONDS`` from the first to the last.
    """
    if len(gauges) < LEAST_FRAMES or gauges[-1].time - gauges[0].time < LEAST_SECONDS:
        return nan
    kept = np.unique(np.linspace(0, len(gauges) - 1, MOST_FRAMES).round().astype(int))
    minutes = np.array([gauge.time for gauge in gauges])[kept] / _SECONDS_PER_MINUTE
    return float(100 * np.expm1(theilslopes(_scales(gauges)[kept], minutes).slope))


def seam_jump(gauges: Sequence[Gauge], seams: AbstractSet[int]) -> float:
    """Mean |step of the log scale| where windows meet, less the mean elsewhere.

    Args:
        gauges: of the frames with true depth, in order.
        seams: frame i stands for the step from frame i - 1 to frame i. Where frames between two gauges have none, the
            step from one to the other meets all seams between them.

    Returns:
        NaN where no step, or every step, meets a seam.
    """
    steps: dict[bool, list[float]] = {True: [], False: []}
    for before, after in pairwise(gauges):
        meets = any(frame in seams for frame in range(before.frame + 1, after.frame + 1))
        steps[meets].append(abs(after.log_scale - before.log_scale))
    if not steps[True] or not steps[False]:
        return nan
    return float(np.mean(steps[True]) - np.mean(steps[False]))


def _scales(gauges: Sequence[Gauge]) -> Float64[np.ndarray, " frames"]:
    return np.array([gauge.log_scale for gauge in gauges])
