"""Rows of a picture as another eye sees them: spans of surface, laid over one another; compiled by numba.

A row of pixels is a row of runs: pixels of one surface, which the other eye sees side by side. Each run covers a span
of the target row. Two places of a row that meet in the other eye lie in a known order: there, where parallax moves
things to the right, the one that came from the right is nearer (McMillan and Bishop, "Head-tracked stereoscopic display
using image warping", 1995: the occlusion-compatible order). So runs are laid from left to right, and each hides what it
meets; no depth is compared. A row for the other direction is mirrored first.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32

from recon.compiled import compiled
from recon.eyes import LEAST_STEP, MOST_BESIDE, MOST_TEXTURE, SAME_SURFACE
from recon.types import Samples


class Target(NamedTuple):
    """What is written to."""

    picture: Samples
    parallax: Float32[np.ndarray, "h w"]
    cover: Float32[np.ndarray, "h w"]
    """Part of each pixel that something covers."""
    hole: Bool[np.ndarray, "h w"]


class Row(NamedTuple):
    """One row of the source, in the direction in which parallax moves things to the right; and what becomes of it."""

    colour: Float32[np.ndarray, "w 3"]
    parallax: Float32[np.ndarray, " w"]
    at: np.ndarray
    """Where the middle of each pixel is seen (pixels, corner at 0)."""
    spans: np.ndarray
    """(2 w + 2, 2): begin and end of what is visible, from left to right."""
    runs: np.ndarray
    """(2 w + 2, 2): first and last pixel of the run that a span shows."""
    mix: Float32[np.ndarray, "w 3"]
    """Of the silhouette behind each pixel: how far right of the middle it is; parts of the far sides' colours."""
    sums: Float32[np.ndarray, "w 3"]
    """Colours, weighted by the part of the pixel that they cover."""
    cover: Float32[np.ndarray, " w"]
    most: Float32[np.ndarray, " w"]
    """The largest part that one surface covers."""
    shown: Float32[np.ndarray, " w"]
    """Parallax of that surface."""


@cache
def kernel() -> Callable[..., None]:
    """`_see`, compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    reading = (_row_of, _scale, _read, _is_border, _settle_ramps)
    laying = (_apart, _between, _unmix, _find, _find_silhouettes, _insert, _lay, _lay_all)
    drawing = (_taps, _colour_at, _place, _mixed, _draw_part, _draw_whole, _draw, _guess_parallax, _write)
    for part in (*reading, *laying, *drawing):
        register_jitable(part)
    return compiled(_see)


# Numba infers the types of the functions below itself.


@no_type_check
def _row_of(width):  # noqa: ANN001, ANN202
    of_row = np.zeros((4, width), np.float32)
    return Row(
        np.zeros((width, 3), np.float32),
        of_row[0],
        np.zeros(width, np.float64),
        np.zeros((2 * width + 2, 2), np.float64),
        np.zeros((2 * width + 2, 2), np.int64),
        np.zeros((width, 3), np.float32),
        np.zeros((width, 3), np.float32),
        of_row[1],
        of_row[2],
        of_row[3],
    )


@no_type_check
def _see(picture, parallax, shift, target, rows):  # noqa: ANN001, ANN202
    """Rows of a picture, moved by shift x parallax pixels."""
    row = _row_of(parallax.shape[1])
    for y in range(rows[0], rows[1]):
        _read(picture[y], parallax[y], shift, row)
        _settle_ramps(row)
        _find_silhouettes(row)
        count = _lay_all(row)
        _draw(row, count)
        _write(row, target, y, shift < 0)


@no_type_check
def _scale(picture):  # noqa: ANN001, ANN202
    """Colours are counted from 0 to 255, whatever their bits."""
    return np.float32(1) if picture.itemsize == 1 else np.float32(1) / np.float32(257)


@no_type_check
def _read(picture, parallax, shift, row):  # noqa: ANN001, ANN202
    width = len(parallax)
    scale = _scale(picture)
    for i in range(np.uint64(width)):
        source = i if shift >= 0 else np.uint64(width - 1) - i
        for channel in range(3):
            row.colour[i, channel] = scale * np.float32(picture[source, channel])
            row.sums[i, channel] = row.mix[i, channel] = 0
        row.parallax[i] = parallax[source]
        row.at[i] = np.float64(i) + 0.5 + abs(shift) * parallax[source]
        row.cover[i] = row.most[i] = row.shown[i] = 0


@no_type_check
def _settle_ramps(row):  # noqa: ANN001, ANN202
    """Single pixels between two surfaces, of a parallax between theirs, belong to the one that is more like them.

    Measured and estimated depth does not jump at a silhouette; what is in between would fly through the hole.
    """
    width = len(row.at)
    i = 0
    while i < width - 2:
        if not _is_border(row.at, i):
            i += 1
            continue
        farther = row.parallax[i + 1] > row.parallax[i]
        end = i + 1
        while end < width - 1 and _is_border(row.at, end) and (row.parallax[end + 1] > row.parallax[end]) == farther:
            end += 1
        near, far = (i, end) if farther else (end, i)
        for k in range(i + 1, end):
            like = near if row.parallax[k] - row.parallax[near] <= row.parallax[far] - row.parallax[k] else far
            row.at[k] = row.at[like] + (k - like)
            row.parallax[k] = row.parallax[like]
        i = end


# --------------------------------------------------------------------------------------------------------------- spans


@no_type_check
def _lay_all(row):  # noqa: ANN001, ANN202
    """Lay all runs; the number of spans."""
    width = len(row.at)
    count = first = 0
    begin = row.at[0] - 0.5
    for i in range(width):
        if i == width - 1 or _is_border(row.at, i):
            move = np.float64(row.mix[i, 0])
            end = min(row.at[i] + 0.5 + move, np.float64(width))
            begin = max(begin, 0.0)
            if begin < end:
                count = _lay(row, count, (begin, end), (first, i))
            first = i + 1
            if first < width:
                begin = row.at[first] - 0.5 + move
    return count


@no_type_check
def _is_border(at, i):  # noqa: ANN001, ANN202
    """Whether pixels i and i + 1 lie on two surfaces."""
    return abs(at[i + 1] - at[i] - 1) > SAME_SURFACE


@no_type_check
def _find_silhouettes(row):  # noqa: ANN001, ANN202
    """Where each silhouette is, from the colours as they are; then each side keeps its own."""
    width = len(row.at)
    for i in range(width - 1):
        if _is_border(row.at, i):
            _find(row, i)
    for i in range(width - 1):
        if row.mix[i, 1] != 0 or row.mix[i, 2] != 0:
            _unmix(row.colour, i, row.mix[i, 1], row.mix[i, 2])


@no_type_check
def _find(row, i):  # noqa: ANN001, ANN202
    """Where the silhouette between pixels i and i + 1 is, in pixels to the right of the middle between them.

    The two pixels mix the colours of both sides. How much of either each of them holds tells where the silhouette is;
    what is left of a pixel without the other side is its own colour. It is trusted as far as nothing but a mixture
    explains the two colours, and as far as the sides, three pixels wide at least, are plain beside the step between
    them.
    """
    colour, at = row.colour, row.at
    if i < 2 or i + 3 >= len(at):
        return
    if _is_border(at, i - 2) or _is_border(at, i - 1) or _is_border(at, i + 1) or _is_border(at, i + 2):
        return
    length = _apart(colour, i - 1, i + 2)
    if length < LEAST_STEP:
        return
    first, beside_first = _between(colour, i, i, length)
    second, beside_second = _between(colour, i, i + 1, length)
    texture = _apart(colour, i - 2, i - 1) + _apart(colour, i + 2, i + 3)
    doubt = ((beside_first + beside_second) / MOST_BESIDE + texture / MOST_TEXTURE) / length
    if doubt >= 1 or first > second:
        return
    trust = np.float32(1 - doubt)
    row.mix[i, 0] = trust * (np.float32(1) - first - second)
    row.mix[i, 1], row.mix[i, 2] = trust * first, trust * (np.float32(1) - second)


@no_type_check
def _apart(colour, i, k):  # noqa: ANN001, ANN202
    """Squared difference of two colours."""
    red, green, blue = colour[k, 0] - colour[i, 0], colour[k, 1] - colour[i, 1], colour[k, 2] - colour[i, 2]
    return red * red + green * green + blue * blue


@no_type_check
def _between(colour, i, k, length):  # noqa: ANN001, ANN202
    """How much of the right side pixel k holds, 0 to 1, and squared, by how much it is no mixture of the two."""
    along = np.float32(0)
    for channel in range(3):
        left = colour[i - 1, channel]
        along += (colour[k, channel] - left) * (colour[i + 2, channel] - left)
    along = min(max(along / length, np.float32(0)), np.float32(1))
    beside = np.float32(0)
    for channel in range(3):
        left = colour[i - 1, channel]
        beside += (colour[k, channel] - left - along * (colour[i + 2, channel] - left)) ** 2
    return along, beside


@no_type_check
def _unmix(colour, i, of_right, of_left):  # noqa: ANN001, ANN202
    """Take the right side out of pixel i and the left side out of pixel i + 1."""
    for channel in range(3):
        step = colour[i + 2, channel] - colour[i - 1, channel]
        colour[i, channel] -= of_right * step
        colour[i + 1, channel] += of_left * step


@no_type_check
def _lay(row, count, span, run):  # noqa: ANN001, ANN202
    """Lay one run over those before it; the number of spans then."""
    begin, end = span
    spans = row.spans
    after = count  # the first span that begins behind the new one
    while after > 0 and spans[after - 1, 0] >= end:
        after -= 1
    before = after  # those from here to there are hidden, but for what sticks out
    while before > 0 and spans[before - 1, 0] >= begin:
        before -= 1
    rest_end, rest_run = 0.0, (np.int64(0), np.int64(0))
    if after > 0 and spans[after - 1, 1] > end:
        rest_end, rest_run = spans[after - 1, 1], (row.runs[after - 1, 0], row.runs[after - 1, 1])
    if before > 0 and spans[before - 1, 1] > begin:
        spans[before - 1, 1] = begin
    sticks_out = rest_end > 0
    count = _insert(row, count, after, before + 1 + sticks_out)
    spans[before], row.runs[before] = span, run
    if sticks_out:
        spans[before + 1], row.runs[before + 1] = (end, rest_end), rest_run
    return count


@no_type_check
def _insert(row, count, place, new_place):  # noqa: ANN001, ANN202
    """Move all spans from a place on; the number of spans then."""
    move = new_place - place
    if move > 0:
        for k in range(count - 1, place - 1, -1):
            row.spans[k + move], row.runs[k + move] = row.spans[k], row.runs[k]
    elif move < 0:
        for k in range(place, count):
            row.spans[k + move], row.runs[k + move] = row.spans[k], row.runs[k]
    return count + move


# -------------------------------------------------------------------------------------------------------------- colours


@no_type_check
def _draw(row, count):  # noqa: ANN001, ANN202
    """Colours of what is visible: whole pixels of a span, and the parts of pixels at its ends."""
    for number in range(count):
        begin, end = row.spans[number, 0], row.spans[number, 1]
        run = (row.runs[number, 0], row.runs[number, 1])
        whole, whole_end = int(np.ceil(begin)), int(end)
        k = run[0]
        if begin < whole:
            k = _draw_part(row, run, k, (begin, min(end, np.float64(whole))))
        if whole < whole_end:
            k = _draw_whole(row, run, k, (whole, whole_end))
        if whole_end < end and whole_end >= whole:
            k = _draw_part(row, run, k, (np.float64(whole_end), end))


@no_type_check
def _draw_part(row, run, k, span):  # noqa: ANN001, ANN202
    """A part of one pixel; the pixel of the run that is seen there."""
    j, area = int(span[0]), np.float32(span[1] - span[0])
    k, part = _place(row.at, k, run[1], (span[0] + span[1]) / 2)
    red, green, blue = _colour_at(row.colour, run, k, part)
    row.sums[j, 0] += area * red
    row.sums[j, 1] += area * green
    row.sums[j, 2] += area * blue
    row.cover[j] += area
    if area > row.most[j]:
        row.most[j] = area
        row.shown[j] = _mixed(row.parallax, run, k, part)
    return k


@no_type_check
def _draw_whole(row, run, k, pixels):  # noqa: ANN001, ANN202
    """Whole pixels of one span; the pixel of the run that is seen in the last one.

    Here the time goes: indices have no sign, for numba tests the others for those that count from the end.
    """
    sums, colour, at, parallax, shown, cover = row.sums, row.colour, row.at, row.parallax, row.shown, row.cover
    one = np.uint64(1)
    k, first, last = np.uint64(k), np.uint64(run[0]), np.uint64(run[1])
    for j in range(np.uint64(pixels[0]), np.uint64(pixels[1])):
        x = np.float64(j) + 0.5
        while k < last and at[k + one] <= x:
            k += one
        i, m, n = max(k, first + one) - one, min(k + one, last), min(k + one + one, last)
        part = np.float32(0)
        if at[k] < x < at[m]:
            part = np.float32(x - at[k]) / np.float32(at[m] - at[k])
        a, b, c, d = _taps(part)
        for channel in range(3):
            left = a * colour[i, channel] + b * colour[k, channel]
            sums[j, channel] = left + (c * colour[m, channel] + d * colour[n, channel])
        shown[j] = parallax[k] + part * (parallax[m] - parallax[k])
        cover[j] = 1
    return np.int64(k)


@no_type_check
def _place(at, k, last, x):  # noqa: ANN001, ANN202
    """The pixel of a run before a place, not before pixel k, and how far it is to the next one."""
    while k < last and at[k + 1] <= x:
        k += 1
    if k == last or x <= at[k]:
        return k, np.float32(0)
    return k, np.float32((x - at[k]) / (at[k + 1] - at[k]))


@no_type_check
def _mixed(parallax, run, k, part):  # noqa: ANN001, ANN202
    return parallax[k] + part * (parallax[min(k + 1, run[1])] - parallax[k])


@no_type_check
def _taps(part):  # noqa: ANN001, ANN202
    """Weights of four neighbours (Keys 1981, a = -1/2)."""
    half = np.float32(0.5)
    one = np.float32(1)
    rest = one - part
    before = -half * part * rest * rest
    after = -half * part * part * rest
    return before, rest - before - before + after, part - after - after + before, after


@no_type_check
def _colour_at(colour, run, k, part):  # noqa: ANN001, ANN202
    """Colour between pixels k and k + 1, from those of the run alone."""
    if part == 0:
        return colour[k, 0], colour[k, 1], colour[k, 2]
    a, b, c, d = _taps(part)
    i, m, n = max(k - 1, run[0]), min(k + 1, run[1]), min(k + 2, run[1])
    red = a * colour[i, 0] + b * colour[k, 0] + c * colour[m, 0] + d * colour[n, 0]
    green = a * colour[i, 1] + b * colour[k, 1] + c * colour[m, 1] + d * colour[n, 1]
    blue = a * colour[i, 2] + b * colour[k, 2] + c * colour[m, 2] + d * colour[n, 2]
    return red, green, blue


@no_type_check
def _write(row, target, y, mirrored):  # noqa: ANN001, ANN202
    _guess_parallax(row)
    width = len(row.cover)
    scale = np.float32(1) / _scale(target.picture)
    top, zero = np.float32(255) * scale, np.float32(0)
    for j in range(np.uint64(width)):
        x = np.uint64(width - 1) - j if mirrored else j
        cover = row.cover[j]
        weight = scale / cover if cover > 0 else zero
        for channel in range(3):
            value = row.sums[j, channel] * weight + np.float32(0.5)
            target.picture[y, x, channel] = np.uint16(min(max(value, zero), top))
        target.parallax[y, x] = row.shown[j]
        target.cover[y, x] = min(cover, np.float32(1))
        target.hole[y, x] = cover < np.float32(0.5)


@no_type_check
def _guess_parallax(row):  # noqa: ANN001, ANN202
    """In holes, that of the farther side."""
    width = len(row.cover)
    j = 0
    while j < width:
        if row.cover[j] >= np.float32(0.5):
            j += 1
            continue
        end = j
        while end < width and row.cover[end] < np.float32(0.5):
            end += 1
        guess = row.shown[j - 1] if j > 0 else row.parallax[0] if end == width else row.shown[end]
        if end < width:
            guess = max(guess, row.shown[end])
        row.shown[j:end] = guess
        j = end
