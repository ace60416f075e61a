"""Light and sRGB (IEC 61966-2-1), pictures at several sizes, and colour for what has none."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from recon.types import Picture

Light = Float32[np.ndarray, "_ _ 3"]


def linear_table() -> Float32[np.ndarray, "256"]:
    """Light of each sRGB byte."""
    value = np.arange(256) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


def srgb(light: Float32[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """SRGB bytes of light, to the nearest."""
    root = np.maximum(light, np.float32(0.0031308)) ** np.float32(1 / 2.4)
    curve = np.where(light <= 0.0031308, 12.92 * light, np.float32(1.055) * root - np.float32(0.055))
    levels: UInt8[np.ndarray, "*n 3"] = np.clip(np.rint(255 * curve), 0, 255).astype(np.uint8)
    return levels


def pyramid(rgb: Picture) -> tuple[Float32[np.ndarray, "p 3"], Int64[np.ndarray, "l 3"]]:
    """Light of a picture, of its half, quarter and so on down to a few pixels; first row, height and width of each."""
    levels = [linear_table()[rgb]]
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
