"""Holes are filled from their farther side: what is near never continues behind itself."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np

from recon.compiled import compiled
from recon.eyes import SAME_SURFACE, WHOLE, Seen
from recon.stages.stereo.warp import by_rows
from recon.types import Samples

SETTLED = 1 / 100
"""Rows, in widths of the picture, over which fills of one surface are made to agree."""
TAPS = 4
"""How many of these are looked at, above and below, in pictures so wide that there are more."""


def filled(seen: Seen, *, threads: int | None = None) -> Samples:
    """The picture of an eye without holes.

    What lies beside a hole on its farther side is continued into it, mirrored at the border (to a part of a pixel, so
    that the fill moves as steadily as the border does), as far as nothing nearer stands there; where both sides are as
    far, one fades into the other. Then what neighbouring rows say is averaged, so that there are no streaks. Holes at
    the border of the picture are filled from inside it. It depends on this picture alone. A row of which nothing is
    seen stays black.
    """
    height, width = seen.hole.shape
    fills, picture = seen.picture.copy(), seen.picture.copy()
    by_rows(lambda rows: _kernels().fill(seen, fills, rows), height, threads)
    reach = max(1, round(SETTLED * width))
    by_rows(lambda rows: _kernels().settle(seen, fills, picture, reach, rows), height, threads)
    return picture


class _Kernels(NamedTuple):
    """The functions below, compiled."""

    fill: Callable[..., None]
    settle: Callable[..., None]


@cache
def _kernels() -> _Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    for part in (_share, _reach, _reflected, _add_side, _fill_gap, _fill_row, _alike):
        register_jitable(part)
    return _Kernels(compiled(_fill), compiled(_settle))


# Numba infers the types of the functions below itself.


@no_type_check
def _fill(seen, fills, rows):  # noqa: ANN001, ANN202
    """What lies behind what is not covered, row by row: nothing else is written."""
    for y in range(rows[0], rows[1]):
        _fill_row(seen.picture[y], seen.parallax[y], seen.cover[y], fills[y])


@no_type_check
def _fill_row(picture, parallax, cover, fills):  # noqa: ANN001, ANN202
    width, j = len(cover), 0
    while j < width:
        if cover[j] >= WHOLE:
            j += 1
            continue
        end = j + 1
        while end < width and cover[end] < WHOLE:
            end += 1
        reach = _reach(parallax, cover, j - 1, -1, end - j), _reach(parallax, cover, end, 1, end - j)
        middle = (j + end) / 2
        edges = (middle, middle) if end - j == 1 else (j + cover[j], end - cover[end - 1])
        _fill_gap(picture, fills, (j, end), edges, reach, _share(parallax, j, end))
        j = end


@no_type_check
def _share(parallax, begin, end):  # noqa: ANN001, ANN202
    """How much of what fills a gap comes from its right: all, where that is farther."""
    width = len(parallax)
    if begin > 0 and end < width:
        farther = (parallax[end] - parallax[begin - 1]) * width
        return min(max(0.5 + farther / 2, 0.0), 1.0)
    return 0.0 if end == width else 1.0


@no_type_check
def _fill_gap(picture, fills, gap, edges, reach, share):  # noqa: ANN001, ANN202
    """Continue what lies beside a gap, mirrored: the farther side, or both where they are as far."""
    begin, end = gap
    left, right = edges
    reach_left, reach_right = reach
    even = min(share, 1 - share)  # of 0.5: fade from one side to the other
    for j in range(begin, end):
        of_right = share
        if even > 0 and left < right:
            of_right += 2 * even * (min(max((j + 0.5 - left) / (right - left), 0.0), 1.0) - 0.5)
        fill = (0.0, 0.0, 0.0)
        if reach_right > 0 and of_right > 0:
            fill = _add_side(picture, fill, of_right, _reflected(right, j + 0.5, end + 0.5, 1, reach_right))
        if reach_left > 0 and of_right < 1:
            fill = _add_side(picture, fill, 1 - of_right, _reflected(left, j + 0.5, begin - 0.5, -1, reach_left))
        red, green, blue = fill
        fills[j, 0], fills[j, 1], fills[j, 2] = np.uint16(red + 0.5), np.uint16(green + 0.5), np.uint16(blue + 0.5)


@no_type_check
def _settle(seen, fills, picture, reach, rows):  # noqa: ANN001, ANN202
    """Fills that agree with those above and below, as far as these are of one surface, beside what covers a pixel.

    Indices have no sign, for numba tests the others for those that count from the end.
    """
    shown, parallax, cover = seen.picture, seen.parallax, seen.cover
    stride, zero, one, two = max(1, reach // TAPS), np.uint64(0), np.uint64(1), np.uint64(2)
    for y in range(np.uint64(rows[0]), np.uint64(rows[1])):
        for x in range(np.uint64(cover.shape[1])):
            covered = cover[y, x]
            if covered >= WHOLE:
                continue
            red, green, blue, weights = 0.0, 0.0, 0.0, 0.0
            for step in (-1, 1):
                k, count = 0, _alike(parallax, y, x, step, reach)
                while k < count:  # a range would count its steps first: it divides
                    weight = (reach - k) * (0.5 if k == 0 else 1.0)
                    v = np.uint64(np.int64(y) + k * step)
                    red += weight * fills[v, x, zero]
                    green += weight * fills[v, x, one]
                    blue += weight * fills[v, x, two]
                    weights += weight
                    k += stride
            factor = (1 - covered) / weights
            picture[y, x, zero] = np.uint16(covered * shown[y, x, zero] + factor * red + 0.5)
            picture[y, x, one] = np.uint16(covered * shown[y, x, one] + factor * green + 0.5)
            picture[y, x, two] = np.uint16(covered * shown[y, x, two] + factor * blue + 0.5)


@no_type_check
def _alike(parallax, y, x, step, most):  # noqa: ANN001, ANN202
    """Rows from a pixel up or down, with its own: those beyond one that shows something nearer do not count."""
    height, width = parallax.shape
    limit = SAME_SURFACE / width
    here, count, v = parallax[y, x], 1, np.int64(y) + step
    while count < most and 0 <= v < height:
        there = parallax[np.uint64(v), x]
        if there < here - limit:
            break
        here, count, v = there, count + 1, v + step
    return count


@no_type_check
def _reach(parallax, cover, start, step, most):  # noqa: ANN001, ANN202
    """Pixels from the border of a gap to the next thing that is nearer, or gap."""
    width = len(cover)
    limit = SAME_SURFACE / width
    x, count = start, 0
    while 0 <= x < width and count < most and cover[x] >= WHOLE:
        if count > 0 and parallax[x] < parallax[x - step] - limit:
            break
        x += step
        count += 1
    return count


@no_type_check
def _reflected(edge, x, first, step, reach):  # noqa: ANN001, ANN202
    """Where to look for what belongs at x: mirrored at the edge, and to and fro within reach."""
    if reach == 1:
        return first
    away = max(step * (2 * edge - x - first), 0.0)
    span = reach - 1.0
    if away >= 2 * span:  # dividing takes its time, and seldom changes anything
        away %= 2 * span
    return first + step * min(away, 2 * span - away)


@no_type_check
def _add_side(picture, fill, weight, x):  # noqa: ANN001, ANN202
    red, green, blue = fill
    k = min(max(int(np.floor(x - 0.5)), 0), len(picture) - 1)
    part = x - 0.5 - k
    n = np.uint64(min(k + 1, len(picture) - 1) if part > 0 else k)
    k, zero, one, two = np.uint64(k), np.uint64(0), np.uint64(1), np.uint64(2)
    red += weight * (picture[k, zero] * (1 - part) + picture[n, zero] * part)
    green += weight * (picture[k, one] * (1 - part) + picture[n, one] * part)
    blue += weight * (picture[k, two] * (1 - part) + picture[n, two] * part)
    return red, green, blue


__all__ = ["SETTLED", "filled"]
