"""Light and sRGB: colours are mixed as light, and stored as sRGB (IEC 61966-2-1)."""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8


@cache
def light_of_srgb() -> Float32[np.ndarray, "256"]:
    """Linear light, 0 to 1, of each sRGB byte; to be read alone."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    light.flags.writeable = False
    return light


def linear_from_srgb(colors: UInt8[np.ndarray, "*n 3"]) -> Float32[np.ndarray, "*n 3"]:
    """Linear light, 0 to 1, of sRGB bytes."""
    light: Float32[np.ndarray, "*n 3"] = light_of_srgb()[colors]
    return light


def srgb_from_linear(light: Float[np.ndarray, "*n 3"]) -> UInt8[np.ndarray, "*n 3"]:
    """SRGB bytes of linear light, to the nearest; light outside 0 to 1 is cut off."""
    light = np.clip(light, 0, 1)
    curve = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)
    colors: UInt8[np.ndarray, "*n 3"] = np.rint(255 * curve).astype(np.uint8)
    return colors
