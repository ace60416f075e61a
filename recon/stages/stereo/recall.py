"""What each frame of a shot shows of the places behind what is near: the sums over pixels, compiled by numba.

A plate says for every pixel of a frame which frame of the buffer shows what lies there behind everything near (its
number), and its parallax there. Colours are read once, from that frame, when they are needed.

Most of a picture hides nothing. That is found by tiles, of which the nearest and the farthest parallax are known; only
where something hides something else, or did so a frame ago, single pixels are looked at.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int32, UInt8

from recon.compiled import compiled
from recon.eyes import SAME_SURFACE

SLOPE = 0.35
"""Pixels by which a place may be seen elsewhere than thought without being another: error of the motion."""
TILE = 8
"""Width and height of a tile, in pixels."""
EDGE = 2
"""Pixels from an outline whose colours mix those of its two sides."""
BESIDE = 3
"""Pixels beside what is known that are drawn with it, for what lies between."""
STRIDE = 8
"""Of the pixels of one thing hidden in a row, each so many-th looks for what is beside it."""


UNKNOWN, MOVING, STILL, MIXED = range(4)
"""States of pixels: nobody asked; what moves or changes; what moves with the background; what lies beside something
nearer."""

AGREES, DIFFERS = 1, 2
"""What the frames beside a frame say of a pixel."""


class Plate(NamedTuple):
    """What lies behind all that is near, in the pixels of one frame."""

    number: Int16[np.ndarray, "h w"]
    """Of the frame of the buffer that shows it; -1: unknown."""
    parallax: Float32[np.ndarray, "h w"]
    """In this frame."""
    farthest: Float32[np.ndarray, "th tw"]
    """Parallax of each tile."""


class Surface(NamedTuple):
    """What a frame shows, without its colours."""

    parallax: Float32[np.ndarray, "h w"]
    states: UInt8[np.ndarray, "h w"]
    nearest: Float32[np.ndarray, "th tw"]
    farthest: Float32[np.ndarray, "th tw"]
    mixed: Bool[np.ndarray, "th tw"]
    """Whether any pixel of a tile is MIXED."""


class Memory(NamedTuple):
    """What a plate remembers of what a frame does not show; as little as possible, for it is kept for each frame."""

    where: Int32[np.ndarray, " m"]
    """Flat indices of pixels, rising."""
    number: Int16[np.ndarray, " m"]
    parallax: Float32[np.ndarray, " m"]


class _Row(NamedTuple):
    """What is known in a row, and what is drawn of it."""

    colour: Float32[np.ndarray, "w 3"]
    parallax: Float32[np.ndarray, " w"]
    at: Float64[np.ndarray, " w"]
    """Where the middle of each pixel is seen."""
    known: Bool[np.ndarray, " w"]
    """Not shown by the frame itself."""
    drawn: Float32[np.ndarray, "w 3"]
    nearest: Float32[np.ndarray, " w"]
    """Parallax of what is drawn; infinite where nothing is."""


class Kernels(NamedTuple):
    """The functions below, compiled."""

    measure: Callable[..., None]
    find_mixed: Callable[..., None]
    ask: Callable[..., None]
    agree: Callable[..., None]
    settle: Callable[..., None]
    begin: Callable[..., None]
    step: Callable[..., None]
    recall: Callable[..., None]
    keep: Callable[..., None]
    show: Callable[..., None]


@cache
def kernels() -> Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    for part in (_moved, _effect, _places, _deepest, _nearest_around, _difference, _agree_tile):
        register_jitable(part)
    for part in (_looked_up, _step_tile, _taps, _four, _read, _steady_side, _is_one, _draw, _mix):
        register_jitable(part)
    first = (compiled(_measure), compiled(_find_mixed), compiled(_ask), compiled(_agree), compiled(_settle))
    return Kernels(*first, compiled(_begin), compiled(_step), compiled(_recall), compiled(_keep), compiled(_show))


# Numba infers the types of the functions below itself. Rows of those that go by tiles are rows of tiles.


@no_type_check
def _moved(motion, x, y, parallax):  # noqa: ANN001, ANN202
    """A place after a motion."""
    scale = 1 / (motion[3, 0] * x + motion[3, 1] * y + motion[3, 2] * parallax + motion[3, 3])
    return (
        (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] * parallax + motion[0, 3]) * scale,
        (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] * parallax + motion[1, 3]) * scale,
        (motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] * parallax + motion[2, 3]) * scale,
    )


# --------------------------------------------------------------------------------------------------------------- tiles


@no_type_check
def _measure(own, rows):  # noqa: ANN001, ANN202
    """Nearest and farthest parallax of each tile."""
    height, width = own.parallax.shape
    for down in range(rows[0], rows[1]):
        top, bottom = down * TILE, min((down + 1) * TILE, height)
        for across in range(own.nearest.shape[1]):
            left, right = across * TILE, min((across + 1) * TILE, width)
            nearest = farthest = own.parallax[top, left]
            for row in range(top, bottom):
                for column in range(left, right):
                    nearest = min(nearest, own.parallax[row, column])
                    farthest = max(farthest, own.parallax[row, column])
            own.nearest[down, across], own.farthest[down, across] = nearest, farthest


@no_type_check
def _find_mixed(own, limit, rows):  # noqa: ANN001, ANN202
    """MIXED beside something nearer, UNKNOWN elsewhere."""
    height, width = own.parallax.shape
    tiles_across = own.nearest.shape[1]
    for down in range(rows[0], rows[1]):
        top, bottom = down * TILE, min((down + 1) * TILE, height)
        own.states[top:bottom] = UNKNOWN
        for across in range(tiles_across):
            own.mixed[down, across] = False
            left, right = across * TILE, min((across + 1) * TILE, width)
            around = own.nearest[max(down - 1, 0) : down + 2, max(across - 1, 0) : across + 2]
            if own.farthest[down, across] - around.min() <= limit:
                continue
            for row in range(top, bottom):
                for column in range(left, right):
                    if own.parallax[row, column] - _nearest_around(own.parallax, row, column) > limit:
                        own.states[row, column], own.mixed[down, across] = MIXED, True


@no_type_check
def _nearest_around(parallax, row, column):  # noqa: ANN001, ANN202
    height, width = parallax.shape
    nearest = parallax[row, column]
    for y in range(max(row - EDGE, 0), min(row + EDGE + 1, height)):
        for x in range(max(column - EDGE, 0), min(column + EDGE + 1, width)):
            nearest = min(nearest, parallax[y, x])
    return nearest


@no_type_check
def _places(motion, effect, shape, tile, parallaxes):  # noqa: ANN001, ANN202
    """The tiles of another frame in which pixels of a tile are, for a range of parallax: first and end, down, across.

    The picture of a box is no larger than those of its corners; and one pixel more, for motions are not exact.
    ``effect`` is that of parallax, see `_effect`.
    """
    down, across = tile
    if effect < 0:
        return down, down + 1, across, across + 1
    height, width = shape
    least_x = least_y = np.inf
    most_x = most_y = -np.inf
    for corner in range(8 if effect * (parallaxes[1] - parallaxes[0]) > 0.5 else 4):
        x = min((across + (corner & 1)) * TILE, width) / width
        y = min((down + (corner >> 1 & 1)) * TILE, height) / width
        x, y, _ = _moved(motion, x, y, parallaxes[corner >> 2])
        least_x, most_x, least_y, most_y = min(least_x, x), max(most_x, x), min(least_y, y), max(most_y, y)
    tile_size = TILE / width
    one = 1 / TILE
    return (
        max(int(np.floor(least_y / tile_size - one)), 0),
        min(int(np.floor(most_y / tile_size + one)) + 1, -(-height // TILE)),
        max(int(np.floor(least_x / tile_size - one)), 0),
        min(int(np.floor(most_x / tile_size + one)) + 1, -(-width // TILE)),
    )


@no_type_check
def _effect(motion, width):  # noqa: ANN001, ANN202
    """Pixels, at most, by which a place goes elsewhere for a parallax that is larger by one; -1 if nothing moves."""
    if (motion == np.eye(4)).all():
        return -1.0
    return width * (abs(motion[0, 2]) + abs(motion[1, 2]) + abs(motion[3, 2]))


@no_type_check
def _deepest(farthest, back, effect, width, places):  # noqa: ANN001, ANN202
    """The largest parallax, in this frame, of what some tiles of another frame know."""
    top, bottom, left, right = places
    deepest = -np.inf
    for down in range(top, bottom):
        for across in range(left, right):
            deepest = max(deepest, np.float64(farthest[down, across]))
    if effect < 0 or deepest == -np.inf:
        return deepest
    found = -np.inf
    for corner in range(4):
        x, y = (right if corner & 1 else left) * TILE / width, (bottom if corner & 2 else top) * TILE / width
        found = max(found, _moved(back, x, y, deepest)[2])
    return found


@no_type_check
def _ask(own, other, motions, limit, asked):  # noqa: ANN001, ANN202
    """Note the tiles of another frame that show what this frame hides, or what it mixes with something nearer."""
    width = own.parallax.shape[1]
    end, effect = np.float64(own.farthest.max()), _effect(motions[0], width)
    for down in range(asked.shape[0]):
        for across in range(asked.shape[1]):
            near = np.float64(own.nearest[down, across])
            places = _places(motions[0], effect, own.parallax.shape, (down, across), (near, end))
            deepest = _deepest(other.farthest, motions[1], effect, width, places)
            if own.mixed[down, across] or deepest - near > limit:
                asked[places[0] : places[1], places[2] : places[3]] = True


# ----------------------------------------------------------------------------------------------------------- agreement


@no_type_check
def _agree(own, other, other_from_own, limits, agreed, rows):  # noqa: ANN001, ANN202
    """Note where a frame shows what another one shows at the same place (AGREES), and where not (DIFFERS).

    Every other pixel is asked, as on a chessboard. What is hidden in the other one says nothing, nor does a difference
    to what is mixed there. Both are pictures and surfaces; ``limits`` are what noise explains: of the colours, summed,
    and of parallax; ``agreed`` are the tiles to look at, and what is noted.
    """
    wanted, agrees = agreed
    for down in range(rows[0], rows[1]):
        for across in range(wanted.shape[1]):
            if wanted[down, across]:
                _agree_tile(own, other, other_from_own, limits, agrees, (down, across))


@no_type_check
def _agree_tile(own, other, other_from_own, limits, agrees, tile):  # noqa: ANN001, ANN202
    # tuples of arrays are opened here, for numba counts references each time that it opens one
    picture, there_picture, parallaxes = own[0], other[0], own[1].parallax
    there_parallaxes, there_states = other[1].parallax, other[1].states
    height, width = parallaxes.shape
    for row in range(tile[0] * TILE, min((tile[0] + 1) * TILE, height)):
        for column in range(tile[1] * TILE + row % 2, min((tile[1] + 1) * TILE, width), 2):
            parallax = parallaxes[row, column]
            x, y, there = _moved(other_from_own, (column + 0.5) / width, (row + 0.5) / width, parallax)
            x, y = x * width - 0.5, y * width - 0.5
            if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                continue
            at_row, at_column = int(y + 0.5), int(x + 0.5)
            if abs(there_parallaxes[at_row, at_column] - there) > limits[1]:
                continue
            difference, slope = _difference(picture, (row, column), there_picture, (x, y))
            if difference <= limits[0] + SLOPE * slope:
                agrees[row, column] |= AGREES
            elif there_states[at_row, at_column] != MIXED:
                agrees[row, column] |= DIFFERS


@no_type_check
def _difference(own, pixel, other, place):  # noqa: ANN001, ANN202
    """Between a pixel and a place of another picture, summed over the colours; and what a pixel farther changes.

    Indices have no sign, for numba tests the others for those that count from the end.
    """
    height, width = own.shape[:2]
    row, column = pixel
    left, above = np.uint64(max(column - 1, 0)), np.uint64(max(row - 1, 0))
    right, below = np.uint64(min(column + 1, width - 1)), np.uint64(min(row + 1, height - 1))
    row, column = np.uint64(row), np.uint64(column)
    at_x, at_y = int(place[0] + 1e-3), int(place[1] + 1e-3)
    across, down = max(place[0] - at_x, 0.0), max(place[1] - at_y, 0.0)
    x, y = np.uint64(at_x), np.uint64(at_y)
    next_x, next_y = np.uint64(min(at_x + 1, width - 1)), np.uint64(min(at_y + 1, height - 1))
    whole = across < 2e-3 and down < 2e-3
    difference = slope = 0.0
    for part in range(3):
        shown = np.float64(other[y, x, part])
        if not whole:
            upper = shown * (1 - across) + other[y, next_x, part] * across
            lower = other[next_y, x, part] * (1 - across) + other[next_y, next_x, part] * across
            shown = upper * (1 - down) + lower * down
        difference += abs(shown - own[row, column, part])
        slope += abs(np.float64(own[row, right, part]) - own[row, left, part]) / 2
        slope += abs(np.float64(own[below, column, part]) - own[above, column, part]) / 2
    return difference, slope


@no_type_check
def _settle(still, asked, states, rows):  # noqa: ANN001, ANN202
    """Pixels of the tiles in question are STILL or MOVING; mixed ones stay."""
    height, width = states.shape
    for down in range(rows[0], rows[1]):
        for across in range(asked.shape[1]):
            if asked[down, across]:
                for row in range(down * TILE, min((down + 1) * TILE, height)):
                    for column in range(across * TILE, min((across + 1) * TILE, width)):
                        if states[row, column] != MIXED:
                            states[row, column] = STILL if still[row, column] else MOVING


# --------------------------------------------------------------------------------------------------------------- sweep


@no_type_check
def _begin(own, number, after, rows):  # noqa: ANN001, ANN202
    """The plate of a frame that knows nothing but itself; by rows of pixels."""
    for row in range(rows[0], rows[1]):
        for column in range(own.parallax.shape[1]):
            after.number[row, column] = number if own.states[row, column] == STILL else -1
            after.parallax[row, column] = own.parallax[row, column]


@no_type_check
def _step(own, before, motions, limit, after, rows):  # noqa: ANN001, ANN202
    """The plate of a frame from that of the frame beside it.

    What something nearer hides stays known, and what the frame shows mixed with something nearer; all else is what the
    frame shows, as ``after`` says already. ``own`` is its surface; ``motions`` are the maps of places from it to the
    frame beside it, and back.
    """
    width = own.parallax.shape[1]
    end, effect = np.float64(own.farthest.max()), _effect(motions[0], width)
    for down in range(rows[0], rows[1]):
        for across in range(after.farthest.shape[1]):
            near = np.float64(own.nearest[down, across])
            places = _places(motions[0], effect, own.parallax.shape, (down, across), (near, end))
            deepest = _deepest(before.farthest, motions[1], effect, width, places)
            if own.mixed[down, across] or deepest - near > limit:
                limits = (limit, deepest, end, effect)
                farthest = _step_tile(own, before, motions, limits, after, (down, across))
                after.farthest[down, across] = farthest


@no_type_check
def _step_tile(own, before, motions, limits, after, tile):  # noqa: ANN001, ANN202
    """All pixels of a tile; the largest parallax then."""
    limit, deepest, end, effect = limits
    parallaxes, states = own.parallax, own.states
    numbers_before, parallaxes_before = before.number, before.parallax
    number, parallax = after.number, after.parallax
    height, width = parallaxes.shape
    farthest = np.float32(-np.inf)
    for row in range(tile[0] * TILE, min((tile[0] + 1) * TILE, height)):
        for column in range(tile[1] * TILE, min((tile[1] + 1) * TILE, width)):
            here = np.float64(parallaxes[row, column])
            farthest = max(farthest, parallaxes[row, column])
            if deepest - here <= limit and states[row, column] != MIXED:
                continue
            if effect < 0:
                best, best_number = np.float64(parallaxes_before[row, column]), np.int64(numbers_before[row, column])
            else:
                pixel = (row, column)
                best, best_number = _looked_up(numbers_before, parallaxes_before, motions, pixel, here, effect)
                if (end - here) * effect > 0.5:
                    far, far_number = _looked_up(numbers_before, parallaxes_before, motions, pixel, end, effect)
                    if far_number >= 0 and (best_number < 0 or far > best):
                        best, best_number = far, far_number
            deeper = best - here
            if best_number >= 0 and (deeper > limit or (states[row, column] == MIXED and deeper > -limit)):
                number[row, column], parallax[row, column] = best_number, best
                farthest = max(farthest, parallax[row, column])
    return farthest


@no_type_check
def _looked_up(numbers, parallaxes, motions, pixel, guess, effect):  # noqa: ANN001, ANN202
    """What a plate knows at a pixel of the frame beside it: parallax in this frame, and number."""
    height, width = parallaxes.shape
    x, y = (pixel[1] + 0.5) / width, (pixel[0] + 0.5) / width
    parallax = guess
    for _ in range(2):
        there_x, there_y, _ = _moved(motions[0], x, y, parallax)
        column, row = int(np.floor(there_x * width)), int(np.floor(there_y * width))
        if not (0 <= column < width and 0 <= row < height):
            return guess, -1
        number = np.int64(numbers[row, column])
        if number < 0:
            return guess, -1
        shown = np.float64(parallaxes[row, column])
        _, _, found = _moved(motions[1], (column + 0.5) / width, (row + 0.5) / width, shown)
        if abs(found - parallax) * effect < 0.5:
            return found, number
        parallax = found
    return guess, -1


# -------------------------------------------------------------------------------------------------------------- recall


@no_type_check
def _recall(memory, frames, buffer_from_own, limit, known, those):  # noqa: ANN001, ANN202
    """Read the colours of some of what a plate remembers; ``frames`` are all pictures and parallaxes.

    ``known`` are to become colours, parallax, which is more exact then, and whether it could be read.
    """
    pictures, parallaxes = frames
    colours, parallax, could = known
    height, width = parallaxes.shape[1:]
    for k in range(those[0], those[1]):
        number = memory.number[k]
        row, column = memory.where[k] // width, memory.where[k] % width
        motion, back = buffer_from_own[0, number], buffer_from_own[1, number]
        there_x, there_y, there = _moved(
            motion, (column + 0.5) / width, (row + 0.5) / width, np.float64(memory.parallax[k])
        )
        at_x, at_y = there_x * width - 0.5, there_y * width - 0.5
        could[k] = False
        if not (-0.5 <= at_x < width - 0.5 and -0.5 <= at_y < height - 0.5):
            continue
        shown = parallaxes[number, int(at_y + 0.5), int(at_x + 0.5)]
        if abs(shown - there) > limit:
            continue
        could[k] = True
        parallax[k] = _moved(back, there_x, there_y, np.float64(shown))[2]
        _read(pictures[number], at_x, at_y, colours[k])


@no_type_check
def _read(picture, x, y, colour):  # noqa: ANN001, ANN202
    """The colour between pixels (Keys 1981); exact at their middle."""
    column, row = max(int(np.floor(x + 1e-3)), 0), max(int(np.floor(y + 1e-3)), 0)
    right, lower = max(x - column, 0.0), max(y - row, 0.0)
    if right < 2e-3 and lower < 2e-3:
        for part in range(3):
            colour[part] = picture[row, column, part]
        return
    across, down = _taps(right), _taps(lower)
    columns, rows = _four(column, picture.shape[1]), _four(row, picture.shape[0])
    most = 255 if picture.itemsize == 1 else 65535
    for part in range(3):
        value = 0.5
        for i in range(4):
            y = rows[i]
            of_row = across[0] * picture[y, columns[0], part] + across[1] * picture[y, columns[1], part]
            of_row += across[2] * picture[y, columns[2], part] + across[3] * picture[y, columns[3], part]
            value += down[i] * of_row
        colour[part] = int(min(max(value, 0.0), most))


@no_type_check
def _four(k, count):  # noqa: ANN001, ANN202
    """The pixels around a place between the pixels k and k + 1."""
    last = count - 1
    return np.uint64(max(k - 1, 0)), np.uint64(k), np.uint64(min(k + 1, last)), np.uint64(min(k + 2, last))


@no_type_check
def _taps(part):  # noqa: ANN001, ANN202
    """Weights of the four pixels around a place, ``part`` of the way from the second to the third."""
    t = part
    return (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )


# ---------------------------------------------------------------------------------------------------------------- eye


@no_type_check
def _show(frame, known, firsts, shift, seen, rows):  # noqa: ANN001, ANN202
    """Show what is known to lie behind things where an eye sees nothing, or not all of a pixel.

    By the rules of the warp: what lies between two pixels of one surface is shown between them, and of what meets the
    nearest. ``frame`` are its picture and parallax, ``known`` flat indices, rising, colours and parallax; ``firsts``
    says which of these is the first of each row. What is ``seen`` from shift x parallax pixels further is changed.
    """
    picture, parallax = frame
    where, colours, parallaxes = known
    width = parallax.shape[1]
    row = _Row(
        np.zeros((width, 3), np.float32),
        np.zeros(width, np.float32),
        np.zeros(width, np.float64),
        np.zeros(width, np.bool_),
        np.zeros((width, 3), np.float32),
        np.full(width, np.inf, np.float32),
    )
    colour, depth, at, is_known = row.colour, row.parallax, row.at, row.known
    for y in range(rows[0], rows[1]):
        first, end, start = firsts[y], firsts[y + 1], y * width
        while first < end:
            last = first
            while last + 1 < end and where[last + 1] - where[last] <= 2 * BESIDE + 1:
                last += 1
            left, right = max(where[first] - start - BESIDE, 0), min(where[last] - start + BESIDE, width - 1)
            for x in range(left, right + 1):
                is_known[x], depth[x] = False, parallax[y, x]
                colour[x, 0], colour[x, 1], colour[x, 2] = picture[y, x, 0], picture[y, x, 1], picture[y, x, 2]
            for k in range(first, last + 1):
                x = where[k] - start
                is_known[x], depth[x] = True, parallaxes[k]
                colour[x, 0], colour[x, 1], colour[x, 2] = colours[k, 0], colours[k, 1], colours[k, 2]
            for x in range(left, right + 1):
                at[x] = x + 0.5 + shift * depth[x]
            _draw(row, left, right, seen.cover[y])
            first = last + 1
        if firsts[y] < end:
            _mix(row, seen.picture[y], seen.cover[y], seen.hole[y])


@no_type_check
def _draw(row, left, right, cover):  # noqa: ANN001, ANN202
    """Draw some pixels of a row, where they are seen and nothing nearer is."""
    at, is_known, drawn, nearest = row.at, row.known, row.drawn, row.nearest
    for k in range(left, right):
        if not (is_known[k] or is_known[k + 1]) or not _is_one(at, k) or at[k + 1] <= at[k]:
            continue
        before = k - 1 if k > left and _is_one(at, k - 1) else k
        after = k + 2 if k + 1 < right and _is_one(at, k + 1) else k + 1
        j = max(int(np.ceil(at[k] - 0.5)), 0)
        while j < len(cover) and j + 0.5 < at[k + 1]:
            part = (j + 0.5 - at[k]) / (at[k + 1] - at[k])
            parallax = row.parallax[k] + part * (row.parallax[k + 1] - row.parallax[k])
            if cover[j] < 1 and parallax < nearest[j]:
                nearest[j] = parallax
                a, b, c, d = _taps(part)
                for i in range(3):
                    own = b * row.colour[k, i] + c * row.colour[k + 1, i]
                    drawn[j, i] = a * row.colour[before, i] + own + d * row.colour[after, i]
            j += 1


@no_type_check
def _is_one(at, k):  # noqa: ANN001, ANN202
    """Whether pixels k and k + 1 lie on one surface."""
    return abs(at[k + 1] - at[k] - 1) <= SAME_SURFACE


@no_type_check
def _mix(row, picture, cover, hole):  # noqa: ANN001, ANN202
    """Put what is drawn behind what is seen in part; and forget it."""
    drawn, nearest = row.drawn, row.nearest
    most = 255 if picture.itemsize == 1 else 65535
    for j in range(len(cover)):
        if nearest[j] < np.inf:
            for part in range(3):
                value = cover[j] * picture[j, part] + (1 - cover[j]) * drawn[j, part]
                picture[j, part] = int(min(max(value + 0.5, 0.0), most))
            cover[j], hole[j], nearest[j] = 1, False, np.inf


# --------------------------------------------------------------------------------------------------------------- guard


@no_type_check
def _keep(memory, own, limit, reach, keeps):  # noqa: ANN001, ANN202
    """Whether what is hidden lies near enough behind the border of something to be seen, beside a still background."""
    width = own.parallax.shape[1]
    for k in range(len(keeps)):
        where, parallax = memory.where[k], memory.parallax[k]
        row, column = where // width, where % width
        goes_on = k > 0 and memory.where[k - 1] == where - 1 and abs(memory.parallax[k - 1] - parallax) < limit / 8
        if goes_on and column % STRIDE != 0:
            keeps[k] = keeps[k - 1]
            continue
        still = moving = 0
        for step in (-1, 1):
            a, b = _steady_side(parallax, own.parallax[row], own.states[row], (column, step), limit, reach)
            still, moving = still + a, moving + b
        keeps[k] = still > 2 * moving


@no_type_check
def _steady_side(parallax, own_parallax, states, start, limit, reach):  # noqa: ANN001, ANN202
    """How many of the next eight pixels of the same depth on a side are still, and how many not."""
    x, step = start
    still = moving = 0
    for _ in range(reach):
        x += step
        if not 0 <= x < len(own_parallax) or still + moving >= 8:
            break
        if states[x] != MIXED and abs(own_parallax[x] - parallax) <= limit:
            still, moving = still + (states[x] == STILL), moving + (states[x] == MOVING)
    return still, moving


__all__ = [
    "AGREES",
    "DIFFERS",
    "MIXED",
    "MOVING",
    "STILL",
    "TILE",
    "UNKNOWN",
    "Kernels",
    "Memory",
    "Plate",
    "Surface",
    "kernels",
]
