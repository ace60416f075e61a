"""Corners of a picture, and where they are in another one."""

from math import sqrt
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from recon.types import Picture

WORKING_AREA: Final = 800 * 600
"""Most pixels of the pictures in which corners are followed."""
CORNERS: Final = 700
"""Corners of a key frame."""
_WINDOW: Final = (17, 17)
_LEVELS: Final = 4
"""Of the pyramid: each doubles how far a corner may move."""
_UNTIL: Final = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.03)
_QUALITY: Final = 0.005
"""Least response of a corner, as a part of the best one's."""
_GRID: Final = (8, 6)
"""Columns and rows of cells."""
_SHARE: Final = 1.5
"""Corners that a cell may have, in those that each has where all have as many."""
_BACK: Final = 0.5
"""Pixels by which a corner that is followed back may miss where it came from."""

Grey = UInt8[np.ndarray, "rows columns"]
"""Its size is not that of the depth map."""
Pixels = Float64[np.ndarray, "n 2"]


def grey(picture: Picture) -> Grey:
    """Brightness, in a picture of at most ``WORKING_AREA``."""
    brightness = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = brightness.shape
    share = min(1.0, sqrt(WORKING_AREA / brightness.size))
    size = max(1, round(width * share)), max(1, round(height * share))
    reduced: Grey = brightness if share == 1 else cv2.resize(brightness, size, interpolation=cv2.INTER_AREA)
    return reduced


def corners(picture: Grey, taken: Pixels) -> Float64[np.ndarray, "m 2"]:
    """New corners (Shi and Tomasi, CVPR 1994) away from those that are there; image coordinates, corner origin.

    They are spread over the picture: no cell of a grid has more than its share, so that what is rich in texture, and
    may move by itself, does not outvote the rest.
    """
    wanted = CORNERS - len(taken)
    if wanted <= 0:
        return np.zeros((0, 2))
    apart = max(6, round(0.5 * np.sqrt(picture.size / CORNERS)))
    free = np.full(picture.shape, 255, np.uint8)
    for x, y in taken.astype(int).tolist():
        cv2.circle(free, (x, y), apart, 0, -1)
    found: np.ndarray | None = cv2.goodFeaturesToTrack(picture, 0, _QUALITY, apart, mask=free, blockSize=5)
    if found is None:
        return np.zeros((0, 2))
    new = found[:, 0].astype(np.float64) + 0.5  # the best ones first
    cells = _cells(np.concatenate([taken, new]), picture)
    spread = rank(cells, np.arange(len(cells)))[len(taken) :] < _SHARE * CORNERS / (_GRID[0] * _GRID[1])
    return np.asarray(new[spread][:wanted], np.float64)


def _cells(pixels: Pixels, picture: Grey) -> Int64[np.ndarray, " n"]:
    """Number of the cell of the grid in which each pixel lies."""
    column, row = (pixels / picture.shape[::-1] * _GRID).astype(np.int64).T
    return np.asarray(row * _GRID[0] + column, np.int64)


def followed(
    a: Grey, b: Grey, pixels: Pixels, expected: Pixels, *, levels: int = _LEVELS
) -> tuple[Pixels, Bool[np.ndarray, " n"]]:
    """Where corners of picture a are in b: pyramids of Lucas and Kanade (Bouguet 2001), forwards and back again.

    Args:
        a: the one picture.
        b: the other.
        pixels: of the corners in a.
        expected: about where they are in b.
        levels: of the pyramid; 1 where they are expected within a few pixels.

    Returns:
        Image coordinates in b, and which of them were found.
    """
    if not len(pixels):
        return pixels, np.zeros(0, bool)
    start = (pixels - 0.5).astype(np.float32)
    moved, there = _flow(a, b, start, (expected - 0.5).astype(np.float32), levels)
    back, again = _flow(b, a, moved, start.copy(), 1)
    returned = np.abs(back - start).max(axis=1) < _BACK
    inside = ((moved > 0) & (moved < np.array(b.shape[::-1]) - 1)).all(axis=1)
    return moved.astype(np.float64) + 0.5, there & again & returned & inside


def _flow(
    a: Grey, b: Grey, start: np.ndarray, guess: np.ndarray, levels: int
) -> tuple[np.ndarray, Bool[np.ndarray, " n"]]:
    moved, found, _error = cv2.calcOpticalFlowPyrLK(
        a,
        b,
        start,
        guess,
        winSize=_WINDOW,
        maxLevel=levels,
        criteria=_UNTIL,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return moved, found[:, 0] > 0


def rank(group: Int64[np.ndarray, " n"], value: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
    """Of each value among those of its group, from 0 for the smallest."""
    order = np.lexsort((value, group))
    ordered = group[order]
    place = np.zeros(len(group), np.int64)
    place[order] = np.arange(len(group)) - np.searchsorted(ordered, ordered)
    return place
