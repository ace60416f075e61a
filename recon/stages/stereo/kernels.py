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
from jaxtyping import Bool, Float32, UInt8, UInt16

from recon.compiled import compiled
from recon.eyes import LEAST_STEP, MOST_BESIDE, MOST_TEXTURE, SAME_SURFACE

SampleRow = UInt8[np.ndarray, " w*3"] | UInt16[np.ndarray, " w*3"]
SampleRows = UInt8[np.ndarray, "h w*3"] | UInt16[np.ndarray, "h w*3"]


class Target(NamedTuple):
    """What is written to: every pixel, whatever it holds."""

    picture: SampleRows
    parallax: Float32[np.ndarray, "h w"]
    cover: Float32[np.ndarray, "h w"]
    """Part of each pixel that something covers."""
    hole: Bool[np.ndarray, "h w"]


class Row(NamedTuple):
    """One row of the source, in the direction in which parallax moves things to the right; and what becomes of it."""

    middle: np.ndarray
    """Where the middle of each pixel is (pixels, corner at 0)."""
    samples: SampleRow
    """As they are read and written."""
    colour: Float32[np.ndarray, "w 3"]
    parallax: Float32[np.ndarray, " w"]
    at: np.ndarray
    """Where the middle of each pixel is seen."""
    borders: np.ndarray
    """Pixels that lie on another surface than the next one."""
    mix: Float32[np.ndarray, "w 3"]
    """Of the silhouette at each border: how far right of the middle between two pixels it is; how much the left one of
    these holds of the right side, and the right one of the left side."""
    spans: np.ndarray
    """(2, 2 w + 2): begin and end of what is visible, from left to right."""
    runs: np.ndarray
    """(2, 2 w + 2): first and last pixel of the run that a span shows."""
    seen: np.ndarray
    """The last pixel of its run that a span shows in the middle of a whole pixel."""
    sums: Float32[np.ndarray, "w 3"]
    """Colours, weighted by the part of the pixel that they cover."""
    cover: Float32[np.ndarray, " w"]
    most: Float32[np.ndarray, " w"]
    """The largest part that one surface covers."""
    shown: Float32[np.ndarray, " w"]
    """Parallax of that surface."""


@cache
def kernel() -> Callable[..., bool]:
    """`_see`, compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    reading = (
        _row_of,
        _scale,
        _mirror,
        _count,
        _read,
        _is_finite,
        _is_border,
        _find_borders,
        _settle_ramp,
        _settle_ramps,
    )
    laying = (_apart, _between, _unmix, _found, _find_silhouettes, _put, _insert, _lay, _lay_all)
    drawing = (_taps, _colour_at, _place, _mixed, _draw_whole, _part_of, _draw_parts, _draw)
    writing = (_guess_parallax, _write_surface, _write_whole, _write_parts, _write)
    for part in (*reading, *laying, *drawing, *writing):
        register_jitable(part)
    return compiled(_see)


# Numba infers the types of the functions below itself. Time goes where something is done for each pixel: such loops are
# kept simple enough for vectors of machine code, and what is rare is left to loops over borders or spans. A whole `Row`
# is handed on a few times for each row only: the references to all its arrays are counted at each call.


@no_type_check
def _row_of(width, samples):  # noqa: ANN001, ANN202
    of_row = np.zeros((4, width), np.float32)
    return Row(
        np.arange(width) + 0.5,
        np.zeros_like(samples),
        np.zeros((width, 3), np.float32),
        of_row[0],
        np.zeros(width, np.float64),
        np.zeros(width, np.int64),
        np.zeros((width, 3), np.float32),
        np.zeros((2, 2 * width + 2), np.float64),
        np.zeros((2, 2 * width + 2), np.int64),
        np.zeros(2 * width + 2, np.int64),
        np.zeros((width, 3), np.float32),
        of_row[1],
        of_row[2],
        of_row[3],
    )


@no_type_check
def _see(picture, parallax, shift, target, rows):  # noqa: ANN001, ANN202
    """Rows of a picture, moved by shift x parallax pixels; whether all parallax is finite (else rows are missing)."""
    row = _row_of(parallax.shape[1], picture[0])
    for y in range(rows[0], rows[1]):
        if not _is_finite(parallax[y]):
            return False
        _read(picture[y], parallax[y], shift, row)
        borders = _settle_ramps(row, _find_borders(row))
        _find_silhouettes(row, borders)
        spans = _lay_all(row, borders)
        _draw(row, spans)
        _write(row, spans, target, y, shift < 0)
    return True


@no_type_check
def _is_finite(numbers):  # noqa: ANN001, ANN202
    finite = True
    for i in range(len(numbers)):
        finite &= numbers[i] - numbers[i] == 0
    return finite


@no_type_check
def _scale(samples):  # noqa: ANN001, ANN202
    """Colours are counted from 0 to 255, whatever their bits."""
    return np.float32(1) if samples.itemsize == 1 else np.float32(1) / np.float32(257)


@no_type_check
def _read(samples, parallax, shift, row):  # noqa: ANN001, ANN202
    if shift < 0:
        _mirror(samples, row.samples)
        _count(row.samples, row.colour)
        row.parallax[:] = parallax[::-1]
    else:
        _count(samples, row.colour)
        row.parallax[:] = parallax
    distance = abs(shift)
    for i in range(len(parallax)):
        row.at[i] = row.middle[i] + distance * row.parallax[i]


@no_type_check
def _count(samples, colour):  # noqa: ANN001, ANN202
    """Colours, from 0 to 255."""
    scale, colours = _scale(samples), colour.reshape(-1)
    for i in range(len(colours)):
        colours[i] = scale * np.float32(samples[i])


@no_type_check
def _mirror(samples, into):  # noqa: ANN001, ANN202
    """The last pixel first."""
    last, three = np.uint64(len(samples) - 3), np.uint64(3)
    for i in range(np.uint64(0), np.uint64(len(samples)), three):
        for channel in range(three):
            into[i + channel] = samples[last - i + channel]


@no_type_check
def _is_border(at, i):  # noqa: ANN001, ANN202
    """Whether pixels i and i + 1 lie on two surfaces."""
    return abs(at[i + 1] - at[i] - 1) > SAME_SURFACE


@no_type_check
def _find_borders(row):  # noqa: ANN001, ANN202
    """Where a row changes from one surface to another; how often."""
    at, borders = row.at, row.borders
    count = 0
    for i in range(len(at) - 1):
        borders[count] = i  # and again, until there is one: without a branch to guess wrong
        count += abs(at[i + 1] - at[i] - 1) > SAME_SURFACE
    return count


@no_type_check
def _settle_ramps(row, count):  # noqa: ANN001, ANN202
    """Single pixels between two surfaces, of a parallax between theirs, belong to the one that is more like them.

    Measured and estimated depth does not jump at a silhouette; what is in between would fly through the hole. The
    number of borders that are left of so many.
    """
    borders, parallax = row.borders, row.parallax
    left = begin = 0
    while begin < count:
        i = end = borders[begin]
        farther = parallax[i + 1] > parallax[i]
        begin += 1
        while begin < count and borders[begin] == end + 1 and (parallax[end + 2] > parallax[end + 1]) == farther:
            end += 1
            begin += 1
        if end > i:
            _settle_ramp(row, i, end + 1, farther)
        for k in range(i, end + 1):
            if end == i or _is_border(row.at, k):
                borders[left] = k
                left += 1
    return left


@no_type_check
def _settle_ramp(row, i, end, farther):  # noqa: ANN001, ANN202
    """Those between pixels i and end, which are of two surfaces."""
    near, far = (i, end) if farther else (end, i)
    for k in range(i + 1, end):
        like = near if row.parallax[k] - row.parallax[near] <= row.parallax[far] - row.parallax[k] else far
        row.at[k] = row.at[like] + (k - like)
        row.parallax[k] = row.parallax[like]


# --------------------------------------------------------------------------------------------------------------- spans


@no_type_check
def _lay_all(row, borders):  # noqa: ANN001, ANN202
    """Lay all runs, with so many borders between them; the number of spans."""
    width = len(row.at)
    count = first = 0
    begin = row.at[0] - 0.5
    for number in range(borders + 1):
        last = number == borders
        i = width - 1 if last else row.borders[number]
        move = 0.0 if last else np.float64(row.mix[number, 0])
        end = min(row.at[i] + 0.5 + move, np.float64(width))
        begin = max(begin, 0.0)
        if begin < end:
            count = _lay(row.spans, row.runs, count, (begin, end), (first, i))
        first = i + 1
        if not last:
            begin = row.at[first] - 0.5 + move
    return count


@no_type_check
def _find_silhouettes(row, borders):  # noqa: ANN001, ANN202
    """Where each silhouette is, from the colours as they are; then each side keeps its own."""
    colour, mix = row.colour, row.mix
    for number in range(borders):
        mix[number, 0] = mix[number, 1] = mix[number, 2] = 0
        i = row.borders[number]
        alone = number == 0 or row.borders[number - 1] < i - 2
        if alone and (number == borders - 1 or row.borders[number + 1] > i + 2):
            mix[number, 0], mix[number, 1], mix[number, 2] = _found(colour, i)
    for number in range(borders):
        if mix[number, 1] != 0 or mix[number, 2] != 0:
            _unmix(colour, row.borders[number], mix[number, 1], mix[number, 2])


@no_type_check
def _found(colour, i):  # noqa: ANN001, ANN202
    """Of the silhouette between pixels i and i + 1, what `Row.mix` says.

    The two pixels mix the colours of both sides. How much of either each of them holds tells where the silhouette is;
    what is left of a pixel without the other side is its own colour. It is trusted as far as nothing but a mixture
    explains the two colours, and as far as the sides, three pixels wide at least, are plain beside the step between
    them.
    """
    nothing = np.float32(0), np.float32(0), np.float32(0)
    if i < 2 or i + 3 >= len(colour):
        return nothing
    length = _apart(colour, i - 1, i + 2)
    if length < LEAST_STEP:
        return nothing
    first, beside_first = _between(colour, i, i, length)
    second, beside_second = _between(colour, i, i + 1, length)
    texture = _apart(colour, i - 2, i - 1) + _apart(colour, i + 2, i + 3)
    doubt = ((beside_first + beside_second) / MOST_BESIDE + texture / MOST_TEXTURE) / length
    if doubt >= 1 or first > second:
        return nothing
    trust = np.float32(1 - doubt)
    return trust * (np.float32(1) - first - second), trust * first, trust * (np.float32(1) - second)


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
def _lay(spans, runs, count, span, run):  # noqa: ANN001, ANN202
    """Lay one run over those before it; the number of spans then."""
    begin, end = span
    after = count  # the first span that begins behind the new one
    while after > 0 and spans[0, after - 1] >= end:
        after -= 1
    before = after  # those from here to there are hidden, but for what sticks out
    while before > 0 and spans[0, before - 1] >= begin:
        before -= 1
    rest_end, rest_run = 0.0, (np.int64(0), np.int64(0))
    if after > 0 and spans[1, after - 1] > end:
        rest_end, rest_run = spans[1, after - 1], (runs[0, after - 1], runs[1, after - 1])
    if before > 0 and spans[1, before - 1] > begin:
        spans[1, before - 1] = begin
    sticks_out = rest_end > 0
    count = _insert(spans, runs, count, after, before + 1 + sticks_out)
    _put(spans, runs, before, span, run)
    if sticks_out:
        _put(spans, runs, before + 1, (end, rest_end), rest_run)
    return count


@no_type_check
def _put(spans, runs, place, span, run):  # noqa: ANN001, ANN202
    spans[0, place], spans[1, place] = span
    runs[0, place], runs[1, place] = run


@no_type_check
def _insert(spans, runs, count, place, new_place):  # noqa: ANN001, ANN202
    """Move all spans from a place on; the number of spans then."""
    move = new_place - place
    if move > 0:
        for k in range(count - 1, place - 1, -1):
            _put(spans, runs, k + move, (spans[0, k], spans[1, k]), (runs[0, k], runs[1, k]))
    elif move < 0:
        for k in range(place, count):
            _put(spans, runs, k + move, (spans[0, k], spans[1, k]), (runs[0, k], runs[1, k]))
    return count + move


# -------------------------------------------------------------------------------------------------------------- colours


@no_type_check
def _draw(row, count):  # noqa: ANN001, ANN202
    """Colours of what is visible: whole pixels of so many spans, and the parts of pixels at their ends."""
    row.sums[:], row.cover[:], row.most[:], row.shown[:] = 0, 0, 0, 0
    _draw_whole(row, count)
    _draw_parts(row, count)


@no_type_check
def _draw_whole(row, count):  # noqa: ANN001, ANN202
    """Here most of the time goes.

    Indices have no sign, for numba tests the others for those that count from the end.
    """
    at, colour, parallax = row.at, row.colour, row.parallax
    middle, sums, shown, cover = row.middle, row.sums, row.shown, row.cover
    zero, one, two = np.uint64(0), np.uint64(1), np.uint64(2)
    for number in range(count):
        whole, whole_end = np.uint64(np.ceil(row.spans[0, number])), np.uint64(row.spans[1, number])
        first, last = np.uint64(row.runs[0, number]), np.uint64(row.runs[1, number])
        k = first
        for j in range(whole, max(whole, whole_end)):
            while k < last and at[k + one] <= middle[j]:
                k += one
            i, m, n = max(k, first + one) - one, min(k + one, last), min(k + two, last)
            part = np.float32(0)
            if at[k] < middle[j] < at[m]:
                part = np.float32(middle[j] - at[k]) / np.float32(at[m] - at[k])
            a, b, c, d = _taps(part)
            red = (a * colour[i, zero] + b * colour[k, zero]) + (c * colour[m, zero] + d * colour[n, zero])
            green = (a * colour[i, one] + b * colour[k, one]) + (c * colour[m, one] + d * colour[n, one])
            blue = (a * colour[i, two] + b * colour[k, two]) + (c * colour[m, two] + d * colour[n, two])
            sums[j, zero], sums[j, one], sums[j, two] = red, green, blue
            shown[j], cover[j] = parallax[k] + part * (parallax[m] - parallax[k]), one
        row.seen[number] = k


@no_type_check
def _draw_parts(row, count):  # noqa: ANN001, ANN202
    """The pixels that spans cover in part, at their begin and end."""
    sums, cover, most = row.sums, row.cover, row.most
    for number in range(count):
        run = row.runs[0, number], row.runs[1, number]
        for side in range(2):
            begin, end = _part_of(row.spans, number, side)
            if begin >= end:
                continue
            j, area = int(begin), np.float32(end - begin)
            k, part = _place(row.at, row.seen[number] if side else run[0], run[1], (begin + end) / 2)
            red, green, blue = _colour_at(row.colour, run, k, part)
            sums[j, 0] += area * red
            sums[j, 1] += area * green
            sums[j, 2] += area * blue
            cover[j] += area
            if area > most[j]:
                most[j] = area
                row.shown[j] = _mixed(row.parallax, run, k, part)


@no_type_check
def _part_of(spans, number, side):  # noqa: ANN001, ANN202
    """What a span covers of the pixel that it begins in (side 0), or that it ends in; all, where that is one."""
    begin, end = spans[0, number], spans[1, number]
    whole = np.ceil(begin)
    return (begin, min(end, whole)) if side == 0 else (max(np.floor(end), whole), end)


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
def _write(row, count, target, y, mirrored):  # noqa: ANN001, ANN202
    _guess_parallax(row, count)
    samples = row.samples if mirrored else target.picture[y]
    _write_whole(row.sums, samples)
    _write_parts(row, count, samples)
    if mirrored:
        _mirror(samples, target.picture[y])
        _write_surface(row.shown[::-1], row.cover[::-1], target, y)
    else:
        _write_surface(row.shown, row.cover, target, y)


@no_type_check
def _write_surface(shown, cover, target, y):  # noqa: ANN001, ANN202
    parallaxes, covers, holes = target.parallax[y], target.cover[y], target.hole[y]
    for x in range(len(shown)):
        parallaxes[x] = shown[x]
        covers[x] = min(cover[x], np.float32(1))
        holes[x] = cover[x] < np.float32(0.5)


@no_type_check
def _write_whole(sums, samples):  # noqa: ANN001, ANN202
    """Colours of whole pixels; black where nothing is."""
    scale = np.float32(1) / _scale(samples)
    top, zero = np.float32(255) * scale, np.float32(0)
    colours = sums.reshape(-1)
    for j in range(len(colours)):
        value = colours[j] * scale + np.float32(0.5)
        samples[j] = np.uint16(min(max(value, zero), top))


@no_type_check
def _write_parts(row, count, samples):  # noqa: ANN001, ANN202
    """Mean colours of what is covered in part, or by several: the pixels at the ends of spans."""
    sums, cover = row.sums, row.cover
    scale = np.float32(1) / _scale(samples)
    top, zero = np.float32(255) * scale, np.float32(0)
    for number in range(count):
        for side in range(2):
            begin, end = _part_of(row.spans, number, side)
            if begin < end:
                j = int(begin)
                weight = scale / cover[j] if cover[j] > 0 else zero
                for channel in range(3):
                    value = sums[j, channel] * weight + np.float32(0.5)
                    samples[3 * j + channel] = np.uint16(min(max(value, zero), top))


@no_type_check
def _guess_parallax(row, count):  # noqa: ANN001, ANN202
    """In holes, which lie beside spans, that of the farther side."""
    shown, cover, half = row.shown, row.cover, np.float32(0.5)
    width, j = len(cover), 0
    for number in range(count + 1):
        until = width if number == count else int(np.ceil(row.spans[0, number]))
        while j < until:
            end = j
            while end < width and cover[end] < half:
                end += 1
            if end > j:
                guess = shown[j - 1] if j > 0 else row.parallax[0] if end == width else shown[end]
                shown[j:end] = max(guess, shown[end]) if end < width else guess
            j = end + 1
        if number < count:
            j = max(j, int(row.spans[1, number]))
