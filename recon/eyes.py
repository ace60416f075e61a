"""What another eye sees of a picture, and the numbers by which any warp tells surfaces apart."""

import math
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from recon.types import Parallax, Samples

SAME_SURFACE: Final = 1.0
"""Neighbours that the eye sees by more pixels nearer together, or further apart, lie on two surfaces."""
LEAST_STEP: Final = 300.0
"""Squared difference of the colours (0 to 255) of two sides below which a silhouette cannot be told from noise."""
MOST_BESIDE: Final = 0.2
"""Of that, what two pixels may differ from a mixture of the sides."""
MOST_TEXTURE: Final = 0.3
"""Of that, what the sides may change from pixel to pixel."""
WHOLE: Final = 0.999
"""Part of a pixel from which on it counts as covered: what is missing is the error of 32-bit numbers."""


class Seen(NamedTuple):
    """What an eye sees of a picture."""

    picture: Samples
    """Where a pixel is covered in part, the colour of that part; black where nothing is."""
    parallax: Parallax
    """Of the surface that covers most of a pixel; in holes, of the farther thing beside them."""
    hole: Bool[np.ndarray, "h w"]
    """Less than half of the pixel is covered."""
    cover: Float32[np.ndarray, "h w"]
    """Part of each pixel that something covers, 0 to 1: at the border of a hole, what the rest is mixed with."""


def require_frame(picture: np.ndarray, parallax: np.ndarray, share: float) -> None:
    """What every warp asks of ``Samples`` and ``Parallax``; that these are finite it finds out on its way.

    Raises:
        ValueError: sizes differ, the picture is empty, or the share is not finite.
    """
    if picture.shape[:2] != parallax.shape or parallax.size == 0:
        raise ValueError(f"a picture of {picture.shape[:2]} and parallax of {parallax.shape}: of one size, not empty")
    require_finite(math.isfinite(share))


def require_finite(finite: bool) -> None:  # noqa: FBT001 - one word that says what is asked
    """Of parallax and share.

    Raises:
        ValueError: they are not.
    """
    if not finite:
        raise ValueError("parallax must be finite everywhere")


def itself(picture: Samples, parallax: Parallax) -> Seen:
    """The picture as it is: what a share of 0 sees."""
    require_finite(bool(np.isfinite(parallax).all()))
    return Seen(picture, parallax, np.zeros(parallax.shape, bool), np.ones(parallax.shape, np.float32))


__all__ = [
    "LEAST_STEP",
    "MOST_BESIDE",
    "MOST_TEXTURE",
    "SAME_SURFACE",
    "WHOLE",
    "Seen",
    "itself",
    "require_finite",
    "require_frame",
]
