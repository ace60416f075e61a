"""Holes are filled from their farther side: what is near never continues behind itself."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np

from recon.compiled import compiled
from recon.eyes import SAME_SURFACE, WHOLE, Seen
from recon.stages.stereo.warp import THREADS, by_rows
from recon.types import Samples

SETTLED = 1 / 100
"""Rows, in widths of the picture, over which fills of one surface are made to agree."""
TAPS = 4
"""How many of these are looked at, above and below, in pictures so wide that there are more."""


def filled(seen: Seen, *, threads: int = THREADS) -> Samples:
    """The picture of an eye without holes.

    What lies beside a hole on its farther side is continued into it, mirrored at the border (to a part of a pixel, so
    that the fill moves as steadily as the border does), as far as nothing nearer stands there; where both sides are as
    far, one fades into the other. Then what neighbouring rows say is averaged, so that there are no streaks. Holes at
    the border of the picture are filled from inside it. It depends on this picture alone. A row of which nothing is
    seen stays black.
    """
    height, width = seen.hole.shape
    fills, picture = np.zeros_like(seen.picture), np.zeros_like(seen.picture)
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

    for part in (_reach, _reflected, _add_side, _fill_gap, _settle_pixel):
        register_jitable(part)
    return _Kernels(compiled(_fill), compiled(_settle))


# Numba infers the types of the functions below itself.


@no_type_check
def _fill(seen, fills, rows):  # noqa: ANN001, ANN202
    """What lies behind what is not covered, row by row."""
    width = seen.cover.shape[1]
    for y in range(rows[0], rows[1]):
        j = 0
        while j < width:
            if seen.cover[y, j] >= WHOLE:
                j += 1
                continue
            end = j + 1
            while end < width and seen.cover[y, end] < WHOLE:
                end += 1
            _fill_gap(seen, fills, y, j, end)
            j = end


@no_type_check
def _settle(seen, fills, picture, reach, rows):  # noqa: ANN001, ANN202
    """The picture with fills that agree with those above and below, as far as these are of one surface."""
    for y in range(rows[0], rows[1]):
        picture[y] = seen.picture[y]
        for x in range(picture.shape[1]):
            if seen.cover[y, x] < WHOLE:
                _settle_pixel(seen, fills, picture, reach, y, x)


@no_type_check
def _settle_pixel(seen, fills, picture, reach, y, x):  # noqa: ANN001, ANN202
    """One pixel; rows beyond one that shows something nearer do not count."""
    height, width = seen.cover.shape
    limit = SAME_SURFACE / width
    stride = max(1, reach // TAPS)
    red, green, blue, weights = 0.0, 0.0, 0.0, 0.0
    for step in (-1, 1):
        v = y
        for k in range(reach):
            if k % stride == 0:
                weight = (reach - k) * (0.5 if k == 0 else 1.0)
                source = fills if seen.cover[v, x] < WHOLE else seen.picture
                red += weight * source[v, x, 0]
                green += weight * source[v, x, 1]
                blue += weight * source[v, x, 2]
                weights += weight
            next_v = v + step
            if next_v < 0 or next_v >= height or seen.parallax[next_v, x] < seen.parallax[v, x] - limit:
                break
            v = next_v
    cover = seen.cover[y, x]
    factor = (1 - cover) / weights
    picture[y, x, 0] = np.uint16(cover * seen.picture[y, x, 0] + factor * red + 0.5)
    picture[y, x, 1] = np.uint16(cover * seen.picture[y, x, 1] + factor * green + 0.5)
    picture[y, x, 2] = np.uint16(cover * seen.picture[y, x, 2] + factor * blue + 0.5)


@no_type_check
def _fill_gap(seen, fills, y, begin, end):  # noqa: ANN001, ANN202
    """Continue what lies beside a gap, mirrored: the farther side, or both where they are as far."""
    width = seen.cover.shape[1]
    share = 0.0 if end == width else 1.0  # of the right side
    if begin > 0 and end < width:
        farther = (seen.parallax[y, end] - seen.parallax[y, begin - 1]) * width
        share = min(max(0.5 + farther / 2, 0.0), 1.0)
    middle = (begin + end) / 2
    left = middle if end - begin == 1 else begin + seen.cover[y, begin]
    right = middle if end - begin == 1 else end - seen.cover[y, end - 1]
    reach_left = _reach(seen, y, begin - 1, -1, end - begin)
    reach_right = _reach(seen, y, end, 1, end - begin)
    for j in range(begin, end):
        across = min(max((j + 0.5 - left) / (right - left), 0.0), 1.0) if left < right else 0.5
        even = min(share, 1 - share)  # of 0.5: fade from one side to the other
        of_right = share + 2 * even * (across - 0.5)
        fill = (0.0, 0.0, 0.0)
        if reach_right > 0 and of_right > 0:
            fill = _add_side(seen.picture[y], fill, of_right, _reflected(right, j + 0.5, end + 0.5, 1, reach_right))
        if reach_left > 0 and of_right < 1:
            fill = _add_side(
                seen.picture[y], fill, 1 - of_right, _reflected(left, j + 0.5, begin - 0.5, -1, reach_left)
            )
        for channel in range(3):
            fills[y, j, channel] = np.uint16(fill[channel] + 0.5)


@no_type_check
def _reach(seen, y, start, step, most):  # noqa: ANN001, ANN202
    """Pixels from the border of a gap to the next thing that is nearer, or gap."""
    width = seen.cover.shape[1]
    limit = SAME_SURFACE / width
    x, count = start, 0
    while 0 <= x < width and count < most and seen.cover[y, x] >= WHOLE:
        if count > 0 and seen.parallax[y, x] < seen.parallax[y, x - step] - limit:
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
    away = away % (2 * span)
    return first + step * min(away, 2 * span - away)


@no_type_check
def _add_side(picture, fill, weight, x):  # noqa: ANN001, ANN202
    k = min(max(int(np.floor(x - 0.5)), 0), len(picture) - 1)
    part = x - 0.5 - k
    n = min(k + 1, len(picture) - 1) if part > 0 else k
    red = fill[0] + weight * (picture[k, 0] * (1 - part) + picture[n, 0] * part)
    green = fill[1] + weight * (picture[k, 1] * (1 - part) + picture[n, 1] * part)
    blue = fill[2] + weight * (picture[k, 2] * (1 - part) + picture[n, 2] * part)
    return red, green, blue


__all__ = ["SETTLED", "filled"]
