"""What is found again after a gap: descriptors of corners, and which of them belong together."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

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

    def of(self, chosen: Bool[np.ndarray, " n"]) -> "Features":
        """Some of them."""
        return Features(self.pixels[chosen], self.descriptors[chosen])


def features(picture: Grey) -> Features:
    """ORB (Rublee et al., ICCV 2011), the strongest first."""
    found, bits = cv2.ORB.create(FEATURES, patchSize=PATCH, fastThreshold=10).detectAndCompute(picture, None)
    if not found:
        return Features(np.zeros((0, 2)), np.zeros((0, 256), np.float32))
    # ORB multiplies the pixel number in a level of its pyramid by the level's scale; its centre is half such a pixel on
    scale = np.array([[key_point.size for key_point in found]]).T / PATCH
    pixels = np.asarray(cv2.KeyPoint.convert(found), np.float64) + 0.5 * scale
    order = np.argsort([-key_point.response for key_point in found], kind="stable")
    return Features(pixels[order], unpacked(np.asarray(bits, np.uint8)[order]))


def packed(descriptors: Float32[np.ndarray, "n 256"]) -> UInt8[np.ndarray, "n 32"]:
    """Descriptors in a 32nd of the memory."""
    return np.packbits(descriptors > 0, axis=1)


def unpacked(bits: UInt8[np.ndarray, "n 32"]) -> Float32[np.ndarray, "n 256"]:
    """Descriptors from their bits."""
    return (np.unpackbits(bits, axis=1).astype(np.float32) * 2 - 1) / 16


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
