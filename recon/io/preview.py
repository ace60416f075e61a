"""Maps in colour, to look at."""

from collections.abc import Iterable

import cv2
import numpy as np

from recon.types import DepthMap, Picture

_MAPS = 256  # maps of which samples are kept at most
_SAMPLES = 4096  # values that are kept of a map, about


def colorize(values: DepthMap, far: float, near: float) -> Picture:
    """Near is warm, far is cold, unknown is black (Turbo: A. Mikhailov, Google AI blog, 2019).

    Args:
        values: disparity or depth, float32 (h, w), NaN = unknown.
        far: the value that is shown in the coldest colour: for disparity the least, for depth the greatest.
        near: the value that is shown in the warmest colour.
    """
    span = near - far
    share = np.nan_to_num((values - np.float32(far)) / np.float32(span)) if span else np.full_like(values, 0.5)
    levels = np.rint(share.clip(0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    picture: Picture = np.where(np.isnan(values)[..., None], np.uint8(0), colours)
    return picture


def robust_range(maps: Iterable[DepthMap], low: float = 0.01, high: float = 0.99) -> tuple[float, float]:
    """Two quantiles over many maps, so that a single odd value does not wash out the colours of a whole film.

    Evenly spaced maps (``StoredDepth.sampled``) are enough. Memory is bounded: when there are too many samples, those
    of every second map are let go, and from then on every second map is passed over.

    Returns:
        The two values; (0, 0) if all are unknown.
    """
    samples: list[np.ndarray] = []
    stride = 1
    for number, values in enumerate(maps):
        if number % stride == 0:
            samples.append(_sample(values))
        if len(samples) > _MAPS:
            samples, stride = samples[::2], 2 * stride
    known = np.concatenate(samples) if samples else np.zeros(0, np.float32)
    if known.size == 0:
        return 0.0, 0.0
    bottom, top = np.quantile(known, [low, high])
    return float(bottom), float(top)


def _sample(values: DepthMap) -> np.ndarray:
    """Known values on a coarse grid."""
    step = max(1, round((values.size / _SAMPLES) ** 0.5))
    grid = values[step // 2 :: step, step // 2 :: step]
    known: np.ndarray = grid[np.isfinite(grid)]
    return known
