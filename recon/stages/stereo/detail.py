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
from jaxtyping import Bool, Float32, Float64, Int64

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
    colours: Float32[np.ndarray, "small_h small_w 9"]
    """Mean colour of the near side, of the far one, their variances, and the logarithm of the ratio of these."""
    sure: Float32[np.ndarray, "small_h small_w 2"]
    """Parallax of the near side, and of the far one, without what mixes them; no number elsewhere."""


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
    kernels, places = _kernels(), tuple(map(_places, parallax.shape, picture.shape))
    by_rows(lambda rows: kernels.weigh((calm, to_bytes), soft, sides, places, odds, rows), height, threads)
    together: Parallax = cv2.blur(odds, (TOGETHER, TOGETHER))
    by_rows(lambda rows: kernels.settle(together, sides, places, whole, rows), height, threads)
    return whole


def _sides(parallax: SmallMap, picture: Samples, threads: int | None) -> _Sides:
    height, width = parallax.shape
    small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    small *= np.float32(255 / np.iinfo(picture.dtype).max)
    around = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    near, far = cv2.erode(parallax, around), cv2.dilate(parallax, around)
    beside = np.ones((3, 3), np.uint8)
    rough = cv2.dilate(parallax, beside) - cv2.erode(parallax, beside)
    colours, sure = (np.full((height, width, count), np.nan, np.float32) for count in (9, 2))
    sides = _Sides(near, far, rough, np.zeros((height, width), bool), colours, sure)
    by_rows(lambda rows: _kernels().see(parallax, small, sides, rows), height, threads)
    return sides


class _Places(NamedTuple):
    """Where the rows of the picture, or its columns, are in the small map."""

    pixel: Int64[np.ndarray, " n"]
    beside: Int64[np.ndarray, "n 2"]
    """The pixels between whose middles it is."""
    weights: Float64[np.ndarray, "n 2"]
    """Of these; 0 outside the map."""


def _places(small_length: int, length: int) -> _Places:
    at = (np.arange(length) + 0.5) * small_length / length
    beside = np.floor(at - 0.5)[:, None] + np.arange(2)
    inside = np.clip(beside, 0, small_length - 1)
    weights = np.where(beside == inside, 1 - np.abs((at - 0.5)[:, None] - beside), 0)
    return _Places(at.astype(np.int64), inside.astype(np.int64), weights)


class _Kernels(NamedTuple):
    see: Callable[..., None]
    weigh: Callable[..., None]
    settle: Callable[..., None]


@cache
def _kernels() -> _Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    for part in (_window, _sided, _side, _odds):
        register_jitable(part)
    return _Kernels(*(compiled(_typed(function)) for function in (_see, _weigh, _settle)))


def _typed(function: Any) -> Callable[..., None]:  # noqa: ANN401 - see no_type_check below
    typed: Callable[..., None] = function
    return typed


# Numba infers the types of the functions below itself.


@no_type_check
def _see(parallax, small, sides, rows):  # noqa: ANN001, ANN202
    """Where the small map has two sides, and what these are."""
    rough, sure, colours = sides.rough, sides.sure, sides.colours
    for row in range(rows[0], rows[1]):
        for column in range(parallax.shape[1]):
            near, far = sides.near[row, column], sides.far[row, column]
            if far - near < STEP or not _sided(parallax, row, column, near, far):
                continue
            sides.silhouette[row, column] = True
            for side in range(2):
                ends = (near, far) if side == 0 else (far, near)
                mean, red, green, blue, variance = _side(parallax, small, rough, (row, column), ends)
                sure[row, column, side] = mean
                colours[row, column, 3 * side] = red
                colours[row, column, 3 * side + 1] = green
                colours[row, column, 3 * side + 2] = blue
                colours[row, column, 6 + side] = variance
            colours[row, column, 8] = np.log(colours[row, column, 7] / colours[row, column, 6])


@no_type_check
def _window(parallax, row, column):  # noqa: ANN001, ANN202
    """Rows and columns around a pixel of the small map; without signs, for numba tests those that have one."""
    height, width = parallax.shape
    top, left = np.uint64(max(row - REACH, 0)), np.uint64(max(column - REACH, 0))
    bottom, right = np.uint64(min(row + REACH + 1, height)), np.uint64(min(column + REACH + 1, width))
    return top, bottom, left, right


@no_type_check
def _sided(parallax, row, column, near, far):  # noqa: ANN001, ANN202
    """Whether the values around are those of two surfaces and not of a slope."""
    top, bottom, left, right = _window(parallax, row, column)
    middle, half = (near + far) / 2, (far - near) / 2
    total = 0.0
    for y in range(top, bottom):
        for x in range(left, right):
            total += abs(parallax[y, x] - middle)
    # A slope along n pixels has n values at even distances.
    rows, columns = np.int64(bottom - top), np.int64(right - left)
    along = min(rows, columns)
    slope = (along + 1) / (2 * along) if along % 2 else along / (2 * (along - 1))
    return total > SIDED * slope * half * rows * columns


@no_type_check
def _side(parallax, small, rough, place, ends):  # noqa: ANN001, ANN202
    """Mean parallax of one side (of what is close by, and surely does not mix both sides); its colour and variance."""
    row, column = place
    end, other = ends
    top, bottom, left, right = _window(parallax, row, column)
    step = abs(end - other)
    margin = SURE * step
    least, most = (end, end + margin) if end < other else (end - margin, end)
    total, weights = 0.0, 0.0
    count, square = 0, 0.0
    red, green, blue = 0.0, 0.0, 0.0
    for y in range(top, bottom):
        for x in range(left, right):
            value = parallax[y, x]
            from_end = abs(value - end) / step
            if from_end <= SURE:
                mixed = min(from_end, rough[y, x] / step)
                away = (np.int64(y) - row) ** 2 + (np.int64(x) - column) ** 2
                weight = 1 / ((1.0 + away * away) * (0.001 + mixed * mixed))
                total += weight * value
                weights += weight
            if least <= value <= most:
                r, g, b = small[y, x, np.uint64(0)], small[y, x, np.uint64(1)], small[y, x, np.uint64(2)]
                red, green, blue = red + r, green + g, blue + b
                square += r * r + g * g + b * b
                count += 1
    count = max(count, 1)
    red, green, blue = red / count, green / count, blue / count
    spread = square / count - red * red - green * green - blue * blue
    return total / weights, red, green, blue, max(spread, 0.0) / 3 + NOISE * NOISE


@no_type_check
def _weigh(calm, soft, sides, places, odds, rows):  # noqa: ANN001, ANN202
    """Logarithm of the odds that a pixel is of the near side; 0 where there is no choice."""
    picture, to_bytes = calm
    down, across = places[0].pixel, places[1].pixel
    nears, fars, silhouettes, colours = sides.near, sides.far, sides.silhouette, sides.colours
    for row in range(np.uint64(rows[0]), np.uint64(rows[1])):
        y = np.uint64(down[row])
        for column in range(np.uint64(odds.shape[1])):
            x = np.uint64(across[column])
            if silhouettes[y, x]:
                near, far = nears[y, x], fars[y, x]
                share = min(max((far - soft[row, column]) / (far - near), 0.0), 1.0)
                said = _odds(picture, to_bytes, (row, column), colours, (y, x))
                odds[row, column] = PRIOR * (share - 0.5) + min(max(said, -SAID), SAID)


@no_type_check
def _odds(picture, to_bytes, place, colours, small_place):  # noqa: ANN001, ANN202
    """Logarithm of the odds that a colour is of the near side: normal distributions around both."""
    row, column = place
    y, x = small_place
    from_near, from_far = 0.0, 0.0
    for primary in range(np.uint64(3)):
        value = picture[row, column, primary] * to_bytes
        from_near += (value - colours[y, x, primary]) ** 2
        from_far += (value - colours[y, x, np.uint64(3) + primary]) ** 2
    of_near, of_far, ratio = colours[y, x, np.uint64(6)], colours[y, x, np.uint64(7)], colours[y, x, np.uint64(8)]
    return (from_far / of_far - from_near / of_near) / 2 + 1.5 * ratio


@no_type_check
def _settle(odds, sides, places, whole, rows):  # noqa: ANN001, ANN202
    """The parallax of the likelier side, or of the near one where that is likelier for a neighbour."""
    down, across = places
    nears, fars, silhouettes, sure = sides.near, sides.far, sides.silhouette, sides.sure
    one, last = np.uint64(1), np.uint64(odds.shape[1] - 1)
    for row in range(np.uint64(rows[0]), np.uint64(rows[1])):
        y = np.uint64(down.pixel[row])
        for column in range(last + one):
            x = np.uint64(across.pixel[column])
            if silhouettes[y, x]:
                near = odds[row, column] > 0 or odds[row, min(column + one, last)] > 0
                near |= odds[row, max(column, one) - one] > 0
                side, reach = np.uint64(0 if near else 1), SURE * (fars[y, x] - nears[y, x])
                total, weights = 0.0, 0.0
                for i in range(np.uint64(2)):
                    for k in range(np.uint64(2)):
                        there = sure[np.uint64(down.beside[row, i]), np.uint64(across.beside[column, k]), side]
                        if abs(there - sure[y, x, side]) <= reach:
                            weight = down.weights[row, i] * across.weights[column, k]
                            total += weight * there
                            weights += weight
                whole[row, column] = total / weights


__all__ = ["sharpened"]
