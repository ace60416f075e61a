"""What each frame of a shot shows of the places behind what is near: the sums over pixels, compiled by numba.

A plate says for every pixel of a frame which frame of the buffer shows what lies there behind everything near (its
number; -1: none is known), and its parallax there. Colours are read once, from that frame, when they are needed.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int16

from recon.compiled import compiled

SLOPE = 0.35
"""Pixels by which a place may be seen elsewhere than thought without being another: error of the motion."""


MOVING, STILL, MIXED = range(3)
"""States of pixels: what moves or changes; what moves with the background; what lies beside something nearer."""

AGREES, DIFFERS = 1, 2
"""What the frames beside a frame say of a pixel."""


class Plate(NamedTuple):
    """What lies behind all that is near, in the pixels of one frame."""

    number: Int16[np.ndarray, "h w"]
    """Of the frame of the buffer that shows it; -1: unknown."""
    parallax: Float32[np.ndarray, "h w"]
    """In this frame."""


class Kernels(NamedTuple):
    """The functions below, compiled."""

    agree: Callable[..., None]
    step: Callable[..., None]
    recall: Callable[..., None]
    beside: Callable[..., None]


@cache
def kernels() -> Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only stereo has to spend

    for part in (_moved, _difference, _looked_up, _taps, _read, _steady_side):
        register_jitable(part)
    return Kernels(compiled(_agree), compiled(_step), compiled(_recall), compiled(_beside))


# Numba infers the types of the functions below itself.


@no_type_check
def _moved(motion, x, y, parallax):  # noqa: ANN001, ANN202
    """A place after a motion."""
    scale = 1 / (motion[3, 0] * x + motion[3, 1] * y + motion[3, 2] * parallax + motion[3, 3])
    return (
        (motion[0, 0] * x + motion[0, 1] * y + motion[0, 2] * parallax + motion[0, 3]) * scale,
        (motion[1, 0] * x + motion[1, 1] * y + motion[1, 2] * parallax + motion[1, 3]) * scale,
        (motion[2, 0] * x + motion[2, 1] * y + motion[2, 2] * parallax + motion[2, 3]) * scale,
    )


# ----------------------------------------------------------------------------------------------------------- agreement


@no_type_check
def _agree(own, other, other_from_own, limits, agrees, rows):  # noqa: ANN001, ANN202
    """Note where a frame shows what another one shows at the same place (AGREES), and where not (DIFFERS).

    What is hidden in the other one says nothing, nor does a difference to what is mixed there. Both are pictures and
    parallax, and states of the other one; ``limits`` are what noise explains: of the colours, summed, and of parallax.
    """
    height, width = own[1].shape
    for row in range(rows[0], rows[1]):
        for column in range(width):
            parallax = own[1][row, column]
            x, y, there = _moved(other_from_own, (column + 0.5) / width, (row + 0.5) / width, parallax)
            x, y = x * width - 0.5, y * width - 0.5
            if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
                continue
            at_row, at_column = int(y + 0.5), int(x + 0.5)
            if abs(other[1][at_row, at_column] - there) > limits[1]:
                continue
            difference, slope = _difference(own[0], row, column, other[0], (x, y))
            if difference <= limits[0] + SLOPE * slope:
                agrees[row, column] |= AGREES
            elif other[2][at_row, at_column] != MIXED:
                agrees[row, column] |= DIFFERS


@no_type_check
def _difference(own, row, column, other, place):  # noqa: ANN001, ANN202
    """Between a pixel and a place of another picture, summed over the colours; and what a pixel farther changes."""
    height, width = own.shape[:2]
    left, above = max(column - 1, 0), max(row - 1, 0)
    right, below = min(column + 1, width - 1), min(row + 1, height - 1)
    at_x, at_y = min(int(place[0]), width - 2), min(int(place[1]), height - 2)
    across, down = place[0] - at_x, place[1] - at_y
    difference = slope = 0.0
    for part in range(3):
        upper = other[at_y, at_x, part] * (1 - across) + other[at_y, at_x + 1, part] * across
        lower = other[at_y + 1, at_x, part] * (1 - across) + other[at_y + 1, at_x + 1, part] * across
        difference += abs(upper * (1 - down) + lower * down - own[row, column, part])
        slope += abs(np.float64(own[row, right, part]) - own[row, left, part]) / 2
        slope += abs(np.float64(own[below, column, part]) - own[above, column, part]) / 2
    return difference, slope


# --------------------------------------------------------------------------------------------------------------- sweep


@no_type_check
def _step(own, before, motions, limit, after, rows):  # noqa: ANN001, ANN202
    """The plate of a frame from that of the frame beside it.

    What something nearer hides stays known, and what the frame shows mixed with something nearer; all else is what the
    frame shows, if that is still. ``own`` are the number of the frame, its parallax, its states and the largest
    parallax; ``motions`` are the maps of places from it to the frame beside it, and back.
    """
    number, own_parallax, states, farthest = own
    width = own_parallax.shape[1]
    # pixels by which a place goes elsewhere for a parallax that is larger by one
    effect = width * (abs(motions[0, 0, 2]) + abs(motions[0, 1, 2]) + abs(motions[0, 3, 2]))
    still = (motions[0] == np.eye(4)).all()
    for row in range(rows[0], rows[1]):
        for column in range(width):
            here = own_parallax[row, column]
            if still:
                best, best_number = np.float64(before.parallax[row, column]), before.number[row, column]
            else:
                best, best_number = _looked_up(before, motions, (row, column), here, effect)
            if not still and (farthest - here) * effect > 0.5:
                far, far_number = _looked_up(before, motions, (row, column), farthest, effect)
                if far_number >= 0 and (best_number < 0 or far > best):
                    best, best_number = far, far_number
            deeper = best - here
            if best_number >= 0 and (deeper > limit or (states[row, column] == MIXED and deeper > -limit)):
                after.number[row, column], after.parallax[row, column] = best_number, best
            else:
                after.number[row, column] = number if states[row, column] == STILL else -1
                after.parallax[row, column] = here


@no_type_check
def _looked_up(plate, motions, pixel, guess, effect):  # noqa: ANN001, ANN202
    """What a plate knows at a pixel of the frame beside it: parallax in this frame, and number."""
    height, width = plate.parallax.shape
    x, y = (pixel[1] + 0.5) / width, (pixel[0] + 0.5) / width
    parallax = guess
    for _ in range(2):
        there_x, there_y, _ = _moved(motions[0], x, y, parallax)
        column, row = int(np.floor(there_x * width)), int(np.floor(there_y * width))
        if not (0 <= column < width and 0 <= row < height):
            return guess, -1
        if plate.number[row, column] < 0:
            return guess, -1
        shown = np.float64(plate.parallax[row, column])
        _, _, found = _moved(motions[1], (column + 0.5) / width, (row + 0.5) / width, shown)
        if abs(found - parallax) * effect < 0.5:
            return found, plate.number[row, column]
        parallax = found
    return guess, -1


# -------------------------------------------------------------------------------------------------------------- recall


@no_type_check
def _recall(plate, own, frames, buffer_from_own, limit, colours):  # noqa: ANN001, ANN202
    """Read the colours of what a plate remembers; what cannot be read is forgotten, parallax becomes more exact.

    ``own`` is the number of the frame, whose pixels are left as they are; ``frames`` are all pictures and parallaxes.
    """
    pictures, parallaxes = frames
    height, width = plate.parallax.shape
    for row in range(height):
        for column in range(width):
            number = plate.number[row, column]
            if number < 0 or number == own:
                continue
            x, y = (column + 0.5) / width, (row + 0.5) / width
            motion, back = buffer_from_own[number, 0], buffer_from_own[number, 1]
            there_x, there_y, there = _moved(motion, x, y, np.float64(plate.parallax[row, column]))
            at_x, at_y = there_x * width - 0.5, there_y * width - 0.5
            if not (-0.5 <= at_x < width - 0.5 and -0.5 <= at_y < height - 0.5):
                plate.number[row, column] = -1
                continue
            shown = parallaxes[number, int(at_y + 0.5), int(at_x + 0.5)]
            if abs(shown - there) > limit:
                plate.number[row, column] = -1
                continue
            _, _, plate.parallax[row, column] = _moved(back, there_x, there_y, np.float64(shown))
            _read(pictures[number], at_x, at_y, colours[row, column])


@no_type_check
def _read(picture, x, y, colour):  # noqa: ANN001, ANN202
    """The colour between pixels (Keys 1981); exact at their middle."""
    column, row = int(np.floor(x + 1e-3)), int(np.floor(y + 1e-3))
    right, lower = max(x - column, 0.0), max(y - row, 0.0)
    if right < 2e-3 and lower < 2e-3:
        for part in range(3):
            colour[part] = picture[row, column, part]
        return
    across, down = _taps(right), _taps(lower)
    most = 255 if picture.itemsize == 1 else 65535
    for part in range(3):
        value = 0.0
        for i in range(4):
            at_row = min(max(row - 1 + i, 0), picture.shape[0] - 1)
            for j in range(4):
                at_column = min(max(column - 1 + j, 0), picture.shape[1] - 1)
                value += down[i] * across[j] * picture[at_row, at_column, part]
        colour[part] = int(min(max(value + 0.5, 0.0), most))


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


# --------------------------------------------------------------------------------------------------------------- guard


@no_type_check
def _beside(known, parallax, own_parallax, states, limit, reach):  # noqa: ANN001, ANN202
    """Forget what lies too deep behind something to be seen, or beside a background that is not still.

    ``states`` are those of the frame's own pixels.
    """
    height, width = parallax.shape
    for row in range(height):
        for column in range(width):
            if not known[row, column]:
                continue
            still = moving = 0
            for step in (-1, 1):
                a, b = _steady_side(parallax[row, column], own_parallax[row], states[row], (column, step), limit, reach)
                still, moving = still + a, moving + b
            if still <= 2 * moving:
                known[row, column] = False


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


__all__ = ["AGREES", "DIFFERS", "MIXED", "MOVING", "STILL", "Kernels", "Plate", "kernels"]
