"""A small map at the size of its picture, with silhouettes where the picture has them.

Networks see small pictures: at silhouettes their maps hold values between the two surfaces, which belong to neither and
would tear like rubber when an eye moves. Here every such pixel is given to one side. Which one, the colours around say:
those of the pixels that surely are near, and of those that surely are far, within a few pixels of the small map; and,
where they say little, the map. The near side is a pixel wider than it seems, so that a silhouette never takes its
outline along with what is behind it. Everywhere else the map is interpolated: planes stay planes.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple, no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float32

from recon.compiled import compiled
from recon.stages.stereo.warp import by_rows
from recon.types import Parallax, Samples

STEP: Final = 0.0015
"""Parallax, in parts of the width, between the sides of a silhouette; less than 3 pixels of 1920 is left smooth."""
REACH: Final = 3
"""Pixels of the small map around a pixel in which its two sides are looked for."""
SIDED: Final = 1.155
"""Mean distance from the middle of near and far, times that of a slope: of a step it is 1.75 times that."""
SURE: Final = 0.25
"""What is within this part of the difference of near (or far) surely is near (or far)."""
PRIOR: Final = 10.0
"""What the map says, at the most, either way twice this: a logarithm of odds from 0 to 1 over the difference."""
SAID: Final = 3.5
"""What colours may say at the most, a logarithm of odds."""
NOISE: Final = 6.0
"""Standard deviation of colours (8 bit) that is none: compression."""
TOGETHER: Final = 5
"""Pixels of the picture that choose together, along each axis."""


SmallMap = Float32[np.ndarray, "small_h small_w"]


class _Sides(NamedTuple):
    """For each pixel of the small map."""

    near: SmallMap
    """The least parallax around."""
    far: SmallMap
    rough: SmallMap
    """Difference of the nearest and the farthest of its eight neighbours and itself: great in what mixes two sides."""
    silhouette: Bool[np.ndarray, "small_h small_w"]
    """There are two sides to choose from."""
    colours: Float32[np.ndarray, "small_h small_w 8"]
    """Mean colour of the near side, of the far one, and their variances."""
    sure: Float32[np.ndarray, "small_h small_w 2"]
    """Parallax of the near side, and of the far one, without what mixes them."""


def sharpened(parallax: SmallMap, picture: Samples, *, threads: int | None = None) -> Parallax:
    """The parallax at the size of the picture.

    It depends on this map and this picture alone: what does not change does not flicker.

    Args:
        parallax: of the same view at any size; finite.
        picture: 8 or 16 bits.
        threads: at work (see `by_rows`); the result is the same for any number.
    """
    height, width = picture.shape[:2]
    if parallax.shape[0] > height or parallax.shape[1] > width:
        smaller: Parallax = cv2.resize(parallax, (width, height), interpolation=cv2.INTER_NEAREST)
        return smaller
    whole: Parallax = cv2.resize(parallax, (width, height), interpolation=cv2.INTER_LINEAR)
    sides = _sides(parallax, picture, threads)
    if not sides.silhouette.any():
        return whole
    calm = cv2.blur(picture, (3, 3)) if height >= 2 * parallax.shape[0] else picture
    soft = cv2.resize(cv2.blur(parallax, (3, 3)), (width, height), interpolation=cv2.INTER_LINEAR)
    odds: Parallax = np.zeros((height, width), np.float32)
    to_bytes = np.float32(255 / np.iinfo(picture.dtype).max)
    kernels = _kernels()
    by_rows(lambda rows: kernels.weigh(calm, soft, sides, to_bytes, odds, rows), height, threads)
    together: Parallax = cv2.blur(odds, (TOGETHER, TOGETHER))
    by_rows(lambda rows: kernels.settle(together, sides, whole, rows), height, threads)
    return whole


def _sides(parallax: SmallMap, picture: Samples, threads: int | None) -> _Sides:
    height, width = parallax.shape
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    small *= np.float32(255 / np.iinfo(picture.dtype).max)
    around = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    near, far = cv2.erode(parallax, around), cv2.dilate(parallax, around)
    beside = np.ones((3, 3), np.uint8)
    rough = cv2.dilate(parallax, beside) - cv2.erode(parallax, beside)
    colours, sure = (np.zeros((height, width, count), np.float32) for count in (8, 2))
    sides = _Sides(near, far, rough, np.zeros((height, width), bool), colours, sure)
    by_rows(lambda rows: _kernels().see(parallax, small, sides, rows), height, threads)
    return sides


class _Kernels(NamedTuple):
    see: Callable[..., None]
    weigh: Callable[..., None]
    settle: Callable[..., None]


@cache
def _kernels() -> _Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    for part in (_sided, _colours_of, _surely, _odds, _between):
        register_jitable(part)
    return _Kernels(*(compiled(_typed(function)) for function in (_see, _weigh, _settle)))


def _typed(function: Any) -> Callable[..., None]:  # noqa: ANN401 - see no_type_check below
    typed: Callable[..., None] = function
    return typed


# Numba infers the types of the functions below itself.


@no_type_check
def _see(parallax, small, sides, rows):  # noqa: ANN001, ANN202
    """Where the small map has two sides, and their colours."""
    width = parallax.shape[1]
    for row in range(rows[0], rows[1]):
        for column in range(width):
            near, far = sides.near[row, column], sides.far[row, column]
            if far - near < STEP or not _sided(parallax, row, column, near, far):
                continue
            sides.silhouette[row, column] = True
            sides.sure[row, column, 0] = _surely(parallax, sides.rough, row, column, near, far)
            sides.sure[row, column, 1] = _surely(parallax, sides.rough, row, column, far, near)
            margin = SURE * (far - near)
            _colours_of(parallax, small, row, column, near, near + margin, sides.colours[row, column], 0)
            _colours_of(parallax, small, row, column, far - margin, far, sides.colours[row, column], 1)


@no_type_check
def _sided(parallax, row, column, near, far):  # noqa: ANN001, ANN202
    """Whether the values around are those of two surfaces and not of a slope."""
    height, width = parallax.shape
    middle, half = (near + far) / 2, (far - near) / 2
    top, left = max(row - REACH, 0), max(column - REACH, 0)
    bottom, right = min(row + REACH + 1, height), min(column + REACH + 1, width)
    total = 0.0
    for y in range(top, bottom):
        for x in range(left, right):
            total += abs(parallax[y, x] - middle)
    # A slope along n pixels has n values at even distances.
    along = min(bottom - top, right - left)
    slope = (along + 1) / (2 * along) if along % 2 else along / (2 * (along - 1))
    return total > SIDED * slope * half * (bottom - top) * (right - left)


@no_type_check
def _colours_of(parallax, small, row, column, least, most, colours, side):  # noqa: ANN001, ANN202, PLR0913, PLR0917 - compiled
    """Mean and variance of the colours of what lies between two parallaxes."""
    height, width = parallax.shape
    count, square = 0, 0.0
    red, green, blue = 0.0, 0.0, 0.0
    for y in range(max(row - REACH, 0), min(row + REACH + 1, height)):
        for x in range(max(column - REACH, 0), min(column + REACH + 1, width)):
            if least <= parallax[y, x] <= most:
                r, g, b = small[y, x, 0], small[y, x, 1], small[y, x, 2]
                red, green, blue = red + r, green + g, blue + b
                square += r * r + g * g + b * b
                count += 1
    count = max(count, 1)
    red, green, blue = red / count, green / count, blue / count
    colours[3 * side], colours[3 * side + 1], colours[3 * side + 2] = red, green, blue
    spread = square / count - red * red - green * green - blue * blue
    colours[6 + side] = max(spread, 0.0) / 3 + NOISE * NOISE


@no_type_check
def _weigh(calm, soft, sides, to_bytes, odds, rows):  # noqa: ANN001, ANN202
    """Logarithm of the odds that a pixel is of the near side; 0 where there is no choice."""
    height, width = odds.shape
    small_height, small_width = sides.near.shape
    for row in range(rows[0], rows[1]):
        y = int((row + 0.5) * small_height / height)
        for column in range(width):
            x = int((column + 0.5) * small_width / width)
            if sides.silhouette[y, x]:
                near, far = sides.near[y, x], sides.far[y, x]
                share = min(max((far - soft[row, column]) / (far - near), 0.0), 1.0)
                said = _odds(calm[row, column], to_bytes, sides.colours[y, x])
                odds[row, column] = PRIOR * (share - 0.5) + min(max(said, -SAID), SAID)


@no_type_check
def _odds(colour, to_bytes, colours):  # noqa: ANN001, ANN202
    """Logarithm of the odds that a colour is of the near side: normal distributions around both."""
    from_near, from_far = 0.0, 0.0
    for primary in range(3):
        value = colour[primary] * to_bytes
        from_near += (value - colours[primary]) ** 2
        from_far += (value - colours[3 + primary]) ** 2
    return (from_far / colours[7] - from_near / colours[6]) / 2 + 1.5 * np.log(colours[7] / colours[6])


@no_type_check
def _surely(parallax, rough, row, column, end, other):  # noqa: ANN001, ANN202
    """Mean of one side around a pixel of the small map: of what is close by, and surely does not mix both sides."""
    height, width = parallax.shape
    step = abs(end - other)
    total, weights = 0.0, 0.0
    for y in range(max(row - REACH, 0), min(row + REACH + 1, height)):
        for x in range(max(column - REACH, 0), min(column + REACH + 1, width)):
            from_end = abs(parallax[y, x] - end) / step
            if from_end <= SURE:
                mixed = min(from_end, rough[y, x] / step)
                square = (y - row) ** 2 + (x - column) ** 2
                weight = 1 / ((1.0 + square * square) * (0.001 + mixed * mixed))
                total += weight * parallax[y, x]
                weights += weight
    return total / weights


@no_type_check
def _settle(odds, sides, whole, rows):  # noqa: ANN001, ANN202
    """The parallax of the likelier side, or of the near one where that is likelier for a neighbour."""
    height, width = odds.shape
    small_height, small_width = sides.near.shape
    for row in range(rows[0], rows[1]):
        v = (row + 0.5) * small_height / height
        for column in range(width):
            u = (column + 0.5) * small_width / width
            if sides.silhouette[int(v), int(u)]:
                near = odds[row, column] > 0
                near |= odds[row, max(column - 1, 0)] > 0 or odds[row, min(column + 1, width - 1)] > 0
                whole[row, column] = _between(sides, v, u, 0 if near else 1)


@no_type_check
def _between(sides, v, u, side):  # noqa: ANN001, ANN202
    """Parallax of a side at a place of the small map, between the middles of its pixels that have this side."""
    height, width = sides.near.shape
    own = sides.sure[int(v), int(u), side]
    reach = SURE * (sides.far[int(v), int(u)] - sides.near[int(v), int(u)])
    top, left = int(np.floor(v - 0.5)), int(np.floor(u - 0.5))
    total, weights = 0.0, 0.0
    for y in range(max(top, 0), min(top + 2, height)):
        for x in range(max(left, 0), min(left + 2, width)):
            if sides.silhouette[y, x] and abs(sides.sure[y, x, side] - own) <= reach:
                weight = (1 - abs(v - 0.5 - y)) * (1 - abs(u - 0.5 - x))
                total += weight * sides.sure[y, x, side]
                weights += weight
    return total / weights


__all__ = ["sharpened"]
