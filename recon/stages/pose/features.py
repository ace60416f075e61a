"""What is found again after a gap: descriptors of corners, and which of them belong together."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64

from recon.stages.pose.flow import Grey

FEATURES: Final = 1000
"""Features that are kept of a picture."""
PATCH: Final = 31
"""Pixels that ORB describes around a feature, in its level of the pyramid."""
RATIO: Final = 0.85
"""A match counts if the second best is so much worse (Lowe, IJCV 2004, section 7.1)."""


@dataclass(frozen=True, slots=True)
class Features:
    """Of a picture."""

    pixels: Float64[np.ndarray, "n 2"]
    """Image coordinates, corner origin."""
    descriptors: Float32[np.ndarray, "n 256"]
    """Bits as -1 and +1, over 16: the scalar product of two is 1 - Hamming distance / 128."""


def features(picture: Grey) -> Features:
    """ORB (Rublee et al., ICCV 2011)."""
    found, bits = cv2.ORB.create(FEATURES, patchSize=PATCH, fastThreshold=10).detectAndCompute(picture, None)
    if not found:
        return Features(np.zeros((0, 2)), np.zeros((0, 256), np.float32))
    # ORB multiplies the pixel number in a level of its pyramid by the level's scale; its centre is half such a pixel on
    scale = np.array([[key_point.size for key_point in found]]).T / PATCH
    pixels = np.asarray(cv2.KeyPoint.convert(found), np.float64) + 0.5 * scale
    signs = np.unpackbits(np.asarray(bits, np.uint8), axis=1).astype(np.float32) * 2 - 1
    return Features(pixels, signs / 16)


def pairs(a: Float32[np.ndarray, "n d"], b: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, "k 2"]:
    """Rows of a and b that are each other's nearest, and clearly nearer than the second nearest of b."""
    if not len(a) or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    likeness = a @ b.T
    rows = np.arange(len(a))
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == rows
    nearest = 1 - likeness[rows, best]
    likeness[rows, best] = -1
    clear = nearest < RATIO * (1 - likeness.max(axis=1))
    kept = mutual & clear
    return np.stack([rows[kept], best[kept]], axis=-1)
