"""Light and its codes: sRGB (IEC 61966-2-1), and those of high dynamic range (BT.2100).

Colours are mixed as light.
"""

from functools import cache

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8


def light_of_srgb_code(code: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Linear light of sRGB codes, both 0 to 1."""
    light: Float64[np.ndarray, " n"] = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light


@cache
def light_of_srgb() -> Float32[np.ndarray, "256"]:
    """Linear light, 0 to 1, of each sRGB byte; to be read alone."""
    light = light_of_srgb_code(np.arange(256) / 255).astype(np.float32)
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


def nits_of_pq(signal: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """PQ signal in [0, 1] to cd/m2: the EOTF of BT.2100 table 4 (SMPTE ST 2084)."""
    power = signal ** (32 / 2523)
    base = np.maximum(power - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * power)
    return 10000 * base ** (16384 / 2610)


def pq_of_nits(nits: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """cd/m2 to PQ signal in [0, 1]: the inverse EOTF of BT.2100 table 4."""
    power = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def scene_light_of_hlg(signal: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """HLG signal in [0, 1] to scene light in [0, 1]: the inverse OETF of BT.2100 table 5."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
