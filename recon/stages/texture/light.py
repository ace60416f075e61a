"""Pictures at several sizes, as light, and colour for what has none."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64

from recon.light import linear_from_srgb
from recon.types import Picture

Light = Float32[np.ndarray, "_ _ 3"]


def pyramid(rgb: Picture) -> tuple[Float32[np.ndarray, "p 3"], Int64[np.ndarray, "l 3"]]:
    """Light of a picture, of its half, quarter and so on down to a few pixels; first row, height and width of each."""
    levels = [linear_from_srgb(rgb)]
    while min(levels[-1].shape[:2]) >= 8:
        height, width = levels[-1].shape[:2]
        levels.append(cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA))
    starts = np.cumsum([0, *(level.shape[0] * level.shape[1] for level in levels[:-1])])
    shapes = np.array([level.shape[:2] for level in levels])
    return np.concatenate([level.reshape(-1, 3) for level in levels]), np.column_stack([starts, shapes])


def spread(light: Light, known: Bool[np.ndarray, "h w"]) -> Light:
    """Light everywhere: where it is not known, the mean of what is known nearby.

    So no mip level of the texture mixes charts with a background (pull and push: Gortler et al., The lumigraph, 1996).
    """
    if known.all() or not known.any():
        return light
    height, width = known.shape
    half = ((width + 1) // 2, (height + 1) // 2)
    share = cv2.resize(known.astype(np.float32), half, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(light * known[:, :, None], half, interpolation=cv2.INTER_AREA)
    coarse = spread(mean / np.maximum(share, np.float32(1e-6))[:, :, None], share > 1e-6)
    back = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(known[:, :, None], light, back)
