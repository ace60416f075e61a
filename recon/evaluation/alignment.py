"""One scale and one shift for a whole clip, from predicted to true inverse depth, in constant memory.

The published arithmetic (arXiv 2501.12375, supplement 5; github.com/DepthAnything/Video-Depth-Anything, benchmark/eval,
commit 4f5ae23): a pixel counts where MIN_DEPTH < true depth < the data set's greatest; its true inverse depth is
1 / (true + 1e-8); the prediction is resized bilinearly to the size of the truth and cut at 1e-3 from below; least
squares in float64 over all that counts in the clip; scale * prediction + shift is cut at 1e-3 from below, inverted, and
cut to [MIN_DEPTH, greatest depth].

The script stacks the clip and solves; here every frame becomes five numbers (``Moments``), which add up to the same.

Where a method gives no answer (NaN, an infinite disparity, depth that is not positive), there is nothing to fit and
depth stays NaN; ``recon.evaluation.depth`` counts it as the greatest depth, so that leaving out what is hard does not
pay. Infinite depth is an answer: disparity 0.
"""

from dataclasses import dataclass
from math import nan

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64

from recon.fitting import Line
from recon.types import DepthMap, Quantity

MIN_DEPTH = 1e-3
"""Metres; what is nearer does not count."""
MIN_DISPARITY = 1e-3
"""Predictions are cut here, before the fit and after it."""
_BESIDE_ZERO = 1e-8
"""Metres that the published scripts add before they divide."""
_RESOLUTION = 1e-12
"""Relative differences below this are rounding."""


@dataclass(frozen=True, slots=True)
class Moments:
    """All that the line of least squares needs to know of many pairs (x, y), centred, so that no digits are lost.

    Sums of two are exact up to rounding (Chan, Golub, LeVeque, "Updating formulae ... for sample variances", 1979).
    """

    count: int = 0
    mean_x: float = 0.0
    mean_y: float = 0.0
    spread: float = 0.0
    """Sum of (x - mean_x)^2."""
    common: float = 0.0
    """Sum of (x - mean_x) (y - mean_y)."""

    @classmethod
    def of(cls, x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> "Moments":
        """Those of finite pairs."""
        if not x.size:
            return cls()
        mean_x, mean_y = float(x.mean()), float(y.mean())
        centred = x - mean_x
        return cls(x.size, mean_x, mean_y, float(np.sum(centred * centred)), float(np.sum(centred * (y - mean_y))))

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        if not count:
            return self
        share = other.count / count
        step_x, step_y = other.mean_x - self.mean_x, other.mean_y - self.mean_y
        between = self.count * share
        return Moments(
            count,
            self.mean_x + share * step_x,
            self.mean_y + share * step_y,
            self.spread + other.spread + between * step_x * step_x,
            self.common + other.common + between * step_x * step_y,
        )

    @property
    def line(self) -> Line:
        """The y ~ scale * x + shift of least squares.

        Scale 0 and the mean of y where all x are equal (there least squares leave the scale open; on these x every
        solution says the same); NaN where there are no pairs. A negative scale stays: it is what the data say.
        """
        if not self.count:
            return Line(nan, nan)
        if self.spread <= self.count * (_RESOLUTION * self.mean_x) ** 2:
            return Line(0.0, self.mean_y)
        scale = self.common / self.spread
        return Line(scale, self.mean_y - scale * self.mean_x)


def valid_pixels(true: DepthMap, max_depth: float) -> Bool[np.ndarray, "h w"]:
    """Where true depth (metres, NaN = unknown) counts."""
    valid: Bool[np.ndarray, "h w"] = (true > MIN_DEPTH) & (true < max_depth)
    return valid


def resized(values: DepthMap, size: tuple[int, int]) -> Float32[np.ndarray, "rows columns"]:
    """A map at ``size`` = (rows, columns), bilinearly (``cv2.INTER_LINEAR``, as published); NaN spreads by a pixel.

    It is resized as it was predicted: disparity as disparity, depth as depth.
    """
    if values.shape == size:
        return values
    rows, columns = size
    other: Float32[np.ndarray, "rows columns"] = cv2.resize(values, (columns, rows), interpolation=cv2.INTER_LINEAR)
    return other


def moments(values: DepthMap, quantity: Quantity, true: DepthMap, max_depth: float) -> Moments:
    """What one frame says about the clip's scale and shift.

    Args:
        values: prediction of the size of ``true``.
        quantity: what it holds.
        true: metres, NaN = unknown.
        max_depth: metres from which on nothing counts.
    """
    disparity = _disparity(values, quantity)
    counts = valid_pixels(true, max_depth) & ~np.isnan(disparity)
    return Moments.of(disparity[counts], 1 / (true[counts].astype(np.float64) + _BESIDE_ZERO))


def aligned_depth(
    values: DepthMap, quantity: Quantity, fit: tuple[float, float], max_depth: float, size: tuple[int, int]
) -> Float32[np.ndarray, "rows columns"]:
    """Depth in metres after a clip's fit, cut to [MIN_DEPTH, max_depth]; NaN where the method gives no answer.

    Args:
        values: prediction of any size.
        quantity: what it holds.
        fit: scale and shift from its disparity (or inverse depth) to the true inverse depth, 1 / metres.
        max_depth: metres.
        size: (rows, columns) of the result.
    """
    scale, shift = fit
    inverse = np.maximum(scale * _disparity(resized(values, size), quantity) + shift, MIN_DISPARITY)
    depth: Float32[np.ndarray, "rows columns"] = np.clip(1 / inverse, MIN_DEPTH, max_depth).astype(np.float32)
    return depth


def _disparity(values: Float[np.ndarray, "h w"], quantity: Quantity) -> Float64[np.ndarray, "h w"]:
    """Disparity, cut at MIN_DISPARITY from below; NaN where there is no answer."""
    given = values.astype(np.float64)
    if quantity == "depth":
        given = np.divide(1.0, given, where=given > 0, out=np.full_like(given, np.nan))
    disparity: Float64[np.ndarray, "h w"] = np.maximum(np.where(np.isfinite(given), given, np.nan), MIN_DISPARITY)
    return disparity
