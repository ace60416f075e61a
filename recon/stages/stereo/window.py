"""Things before the screen that the left or right border of the picture cuts.

A border that hides something nearer than itself cannot be: the eyes fight, and depth falls apart. Two ways out, each
only where something is cut: to lay what is before the screen back onto it towards the border ("ramped"); or to bring
the border to the front too, by a black bar in one eye, as cinemas do ("floating").

How far a thing at a border stands out, in parts of the width, is a ``Cut``; it may follow the film with ``eased``.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from recon.types import Parallax, Samples

STRIP: Final = 0.01
"""Part of the width, at either border, in which things count as cut."""
LEAST: Final = 0.0008
"""What stands out by less, in parts of the width (1.5 pixels of 1920), disturbs nobody."""
BANDS: Final = 36
"""Pieces of a border, from top to bottom, that are looked at on their own."""
RAMP: Final = 0.06
"""Part of the width over which things are laid back."""
FULL: Final = 0.003
"""What stands out by so much is laid back in full, what does by less in part, so that nothing jumps."""
RISE, FALL = 0.1, 0.01
"""Parts of the width by which a cut may grow and shrink within a second."""

Bands = Float64[np.ndarray, " bands"]


@dataclass(frozen=True, slots=True)
class Cut:
    """How far what the borders cut stands before the screen, from top to bottom; in parts of the width, >= 0."""

    left: Bands
    right: Bands

    @property
    def widths(self) -> tuple[float, float]:
        """Bars that a floating window needs at the left and the right, in parts of the width."""
        return float(self.left.max()), float(self.right.max())

    @property
    def any(self) -> bool:
        """Whether anything is cut."""
        return max(self.widths) > 0


def cut(parallax: Parallax) -> Cut:
    """What the left and the right border of a picture cut; cropped to its content, if there are bars around it."""
    width = max(round(STRIP * parallax.shape[1]), 1)
    left, right = (_standing_out(strip) for strip in (parallax[:, :width], parallax[:, -width:]))
    return Cut(left, right)


def _standing_out(strip: Parallax) -> Bands:
    """The most in each band; of a row, what most of the strip shows: a single pixel is nothing."""
    rows = np.maximum(-np.median(strip, axis=1), 0).astype(np.float64)
    place = np.minimum(np.arange(len(rows)) * BANDS // len(rows), BANDS - 1)
    bands = np.zeros(BANDS)
    np.maximum.at(bands, place, rows)
    return np.where(bands > LEAST, bands, 0.0)


def eased(before: Cut, now: Cut, seconds: float) -> Cut:
    """What to treat as cut now, so that nothing jumps: the last one on its way to the new one.

    A shot starts with its first cut as it is, whatever was before.

    Args:
        before: what was treated as cut in the last frame of this shot.
        now: what is cut in this one.
        seconds: from that frame to this one.
    """
    changes = (np.clip(new - old, -FALL * seconds, RISE * seconds) for old, new in _both(before, now))
    left, right = (old + change for (old, _), change in zip(_both(before, now), changes, strict=True))
    return Cut(left, right)


def _both(before: Cut, now: Cut) -> tuple[tuple[Bands, Bands], tuple[Bands, Bands]]:
    return (before.left, now.left), (before.right, now.right)


def ramped(parallax: Parallax, cut: Cut) -> Parallax:
    """The parallax with nothing before the screen at the borders, where something is cut; nothing else changes.

    Towards the border, over ``RAMP``, less and less may stand out before the screen; what does, is laid back. Order is
    kept: of two things in a column, the nearer one stays so or both come to lie on the same limit.
    """
    if not cut.any:
        return parallax
    height, width = parallax.shape
    inward = np.minimum((np.arange(width) + 0.5) / (RAMP * width), 1)
    rise = (inward * inward * (3 - 2 * inward)).astype(np.float32)
    left, right = (_by_rows(bands, height) for bands in (cut.left, cut.right))
    # Without a cut all may stand out; with one of full size, only what the ramp leaves.
    limits = (1 - strength[:, None] * (1 - ramp) for strength, ramp in ((left, rise), (right, rise[::-1])))
    room = np.minimum(*limits)
    laid_back: Parallax = np.where(parallax < 0, parallax * room, parallax)
    return laid_back


def _by_rows(bands: Bands, height: int) -> Float32[np.ndarray, " h"]:
    """From 0 (nothing is cut near this row) to 1, evenly."""
    share = np.clip(bands / FULL, 0, 1)
    wide = np.maximum(share, np.maximum(np.append(share[1:], 0), np.insert(share[:-1], 0, 0)))
    column = cv2.resize(wide.astype(np.float32)[:, None], (1, height), interpolation=cv2.INTER_LINEAR)
    rows: Float32[np.ndarray, " h"] = column[:, 0]
    return rows


def floating(left: Samples, right: Samples, widths: tuple[float, float]) -> tuple[Samples, Samples]:
    """Both eyes with a window that comes to the front as far as bars of these widths make it.

    A bar at the left border of the left eye, or at the right border of the right eye, moves that border of the window
    before the screen: it is seen further to the right by the left eye, as all that is near. Bars end within a pixel, so
    that they may grow slowly.

    Args:
        left: the left eye.
        right: the right eye.
        widths: of the bars at the left and right border, in parts of the width (see ``Cut.widths``).
    """
    return _barred(left, widths[0]), np.ascontiguousarray(_barred(right[:, ::-1], widths[1])[:, ::-1])


def _barred(eye: Samples, share: float) -> Samples:
    """Black from the left border on."""
    pixels = share * eye.shape[1]
    if pixels <= 0:
        return eye
    whole = min(int(pixels), eye.shape[1] - 1)
    black = eye.copy()
    black[:, :whole] = 0
    black[:, whole] = np.rint(eye[:, whole] * (1 - min(pixels - whole, 1.0))).astype(eye.dtype)
    return black


__all__ = ["Cut", "cut", "eased", "floating", "ramped"]
