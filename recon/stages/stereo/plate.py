"""What an eye sees behind things near, from frames before and after that show it: a background plate for each shot.

Two sweeps, one forward and one backward. In each a plate goes from frame to frame with the motion of what is still;
what a frame shows of the background replaces it, and what something nearer hides stays known, with its parallax. Only
what moves with the background for two frames at least becomes part of it: people and water do not. The plate
is shown through the holes of an eye alone, by the rules of the warp; what is unknown is filled from beside.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Shaped, UInt8, UInt16

from recon.eyes import Seen
from recon.stages.stereo.fill import filled
from recon.stages.stereo.motion import Motion, PlaceMap
from recon.stages.stereo.recall import AGREES, TILE, Memory, Plate, Surface, kernels
from recon.stages.stereo.warp import LEAST_ROWS, by_rows, seen_from
from recon.types import Parallax, Samples

MOST_BYTES: Final = 512 << 20
AHEAD: Final = 0.4
"""Share of the buffer that is kept to look ahead."""
FEWEST: Final = 6
"""Frames of the buffer, whatever its bytes."""
MOST: Final = 240
"""The same: ten seconds show what there is to see, and what small pictures leave of the bytes stays free."""
REMEMBERED: Final = 1 / 5
"""Part of a picture that may be remembered for each frame when the size of the buffer is chosen."""
SAME: Final = 0.0015
"""Difference of parallax, in widths, that is still the same surface: noise of depth."""
NOISE: Final = 3 * 4 / 255
"""Difference of the sum of three colours, in full ranges, that compression and noise explain."""
VOTES: Final = 6
"""Of twelve or thirteen pixels around one, if more than these are still, so is that."""
REACH: Final = 0.06
"""How far behind an outline something may be seen, in widths, and how far to look for the background beside it."""
See = Callable[[Samples, Parallax, float], Seen]
"""A warp: `warp.seen_from`."""


@dataclass(slots=True)
class _Frame:
    """One frame of the buffer: its part of all arrays, and its place."""

    number: int
    picture: Samples
    surface: Surface
    asked: Bool[np.ndarray, "th tw"]
    """Tiles of which somebody wants to know whether they are still."""
    place: PlaceMap
    """From the places of the first frame of the part."""
    part: int = -1
    """Of the shot, which moves as one."""


@dataclass(slots=True)
class _Buffer:
    """Frames that are held in turn, the first of them the plate of the frame before the others."""

    pictures: UInt8[np.ndarray, "n h w 3"] | UInt16[np.ndarray, "n h w 3"]
    parallaxes: Float32[np.ndarray, "n h w"]
    agrees: UInt8[np.ndarray, "h w"]
    """What the frames beside a frame say of it (`recall.AGREES`, `recall.DIFFERS`)."""
    frames: list[_Frame]
    spare: list[_Frame]
    """Dropped; to be used again."""
    motion: Motion = field(default_factory=Motion)

    @property
    def last(self) -> int:
        """The place in turn of the last frame."""
        return len(self.frames) - 1

    def is_full(self) -> bool:
        """Whether no further frame has room."""
        return len(self.frames) == len(self.pictures)

    def beside(self, turn: int) -> list[_Frame]:
        """Frames before and after one, of the same part."""
        both = (self.frames[at] for at in (turn - 1, turn + 1) if 0 < at <= self.last)
        return [frame for frame in both if frame.part == self.frames[turn].part]


def paired(
    frames: Iterable[tuple[Samples, Parallax]],
    shares: tuple[float, float],
    *,
    most_bytes: int = MOST_BYTES,
    see: See = seen_from,
) -> Iterator[tuple[Samples, Samples]]:
    """Both eyes of the frames of one shot, in order, as they are asked for.

    Holes show what other frames of the buffer, or any frame before, show there; the rest of them is `filled`.

    Args:
        frames: pictures of one size and their parallax, from cut to cut: no frame depends on another call.
        shares: of the left and the right eye (see `recon.types`).
        most_bytes: size of the buffer; the more frames it holds, the longer the look ahead.
        see: the warp; what it returns is written to.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        return
    buffer, coming = _empty(first, most_bytes), chain([first], coming)
    carried: Plate | None = None
    spare: Plate | None = None
    while True:
        _take(buffer, coming)
        ended = not buffer.is_full()
        until = buffer.last if ended else max(1, round((1 - AHEAD) * buffer.last))
        later = _swept_back(buffer, until)
        for turn in range(1, until + 1):
            frame = buffer.frames[turn]
            carried, spare = _stepped(frame, buffer.frames[turn - 1], carried, spare), carried
            before = _worth(_hidden(carried, frame), frame)
            yield _eyes(frame, _behind(buffer, frame, (before, later.pop())), shares, see)
        if ended or carried is None:
            return
        carried = _drop(buffer, until, carried)


# -------------------------------------------------------------------------------------------------------------- buffer


def _empty(first: tuple[Samples, Parallax], most_bytes: int) -> _Buffer:
    picture, parallax = first
    # of a pixel: colour, parallax, state, and what the backward sweep remembers
    frame = parallax.size * (3 * picture.itemsize + 4 + 1 + 10 * REMEMBERED)
    count = min(1 + max(FEWEST, int(most_bytes / frame) - 1), MOST)
    height, width = parallax.shape
    pictures = np.zeros((count, height, width, 3), picture.dtype)
    parallaxes = np.zeros((count, height, width), np.float32)
    start = _frame(0, pictures[0], parallaxes[0])
    return _Buffer(pictures, parallaxes, np.zeros((height, width), np.uint8), [start], [])


def _frame(number: int, picture: Samples, parallax: Parallax) -> _Frame:
    tiles = tuple(-(-length // TILE) for length in parallax.shape)
    states = np.zeros(parallax.shape, np.uint8)
    nearest, farthest, mixed = (np.zeros(tiles, kind) for kind in (np.float32, np.float32, np.bool_))
    surface = Surface(parallax, states, nearest, farthest, mixed)
    return _Frame(number, picture, surface, np.zeros(tiles, bool), np.eye(4))


def _take(buffer: _Buffer, coming: Iterator[tuple[Samples, Parallax]]) -> None:
    """Fill the buffer."""
    while not buffer.is_full() and (shown := next(coming, None)) is not None:
        _add(buffer, *shown)
        if buffer.last > 1:
            _judge(buffer, buffer.last - 1)
    _judge(buffer, buffer.last)


def _add(buffer: _Buffer, picture: Samples, parallax: Parallax) -> None:
    before, number = buffer.frames[-1], len(buffer.frames)
    frame = buffer.spare.pop() if buffer.spare else _frame(number, buffer.pictures[number], buffer.parallaxes[number])
    place = buffer.motion.follow(picture, parallax)
    frame.place, frame.part = np.eye(4) if place is None else place, before.part + (place is None)
    frame.picture[:], frame.surface.parallax[:] = picture, parallax
    _by_tiles(lambda rows: kernels().measure(frame.surface, rows), frame)
    _by_tiles(lambda rows: kernels().find_mixed(frame.surface, SAME, rows), frame)
    frame.asked[:] = cv2.dilate(frame.surface.mixed.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    buffer.frames.append(frame)
    for other in buffer.beside(buffer.last):
        kernels().ask(frame.surface, other.surface, _motion(frame, other), SAME, other.asked)
        kernels().ask(other.surface, frame.surface, _motion(other, frame), SAME, frame.asked)


def _by_tiles(work: Callable[[tuple[int, int]], None], frame: _Frame) -> None:
    """Do work on all rows of tiles."""
    by_rows(work, len(frame.asked), least=LEAST_ROWS // TILE)


def _judge(buffer: _Buffer, turn: int) -> None:
    """Find out what is still, where somebody asked."""
    frame, full = buffer.frames[turn], 255 if buffer.pictures.itemsize == 1 else 65535
    own, limits, agrees = (frame.picture, frame.surface), (NOISE * full, SAME), buffer.agrees
    wanted = cv2.dilate(frame.asked.astype(np.uint8), np.ones((3, 3), np.uint8))
    beside = [((other.picture, other.surface), _motion(frame, other)[0]) for other in buffer.beside(turn)]
    agrees[:] = 0
    for other, motion in beside:
        _by_tiles(partial(kernels().agree, own, other, motion, limits, (wanted, agrees)), frame)
    if beside:
        # by a vote of half of the 25 pixels around, for a few agree by chance
        still = cv2.boxFilter((agrees == AGREES).astype(np.uint8), -1, (5, 5), normalize=False) > VOTES
        _by_tiles(lambda rows: kernels().settle(still, frame.asked, frame.surface.states, rows), frame)


def _motions(frame: _Frame, others: Sequence[_Frame]) -> Float64[np.ndarray, "2 n 4 4"]:
    """Maps of places from a frame to each of others, and back; exactly none where nothing moved."""
    places = np.stack([other.place for other in others])
    there = places @ np.linalg.inv(frame.place)
    there[(places == frame.place).all(axis=(1, 2))] = np.eye(4)
    return np.stack([there, np.linalg.inv(there)])


def _motion(frame: _Frame, other: _Frame) -> Float64[np.ndarray, "2 4 4"]:
    """The same, to one other."""
    return _motions(frame, [other])[:, 0]


def _drop(buffer: _Buffer, until: int, plate: Plate) -> Plate:
    """Forget frames up to one, but for the plate of it, which is the first then."""
    frame = buffer.frames[until]
    known = _recalled(buffer, frame, _hidden(plate, frame))
    plate.number[plate.number != frame.number] = -1
    plate.number.ravel()[known.where] = frame.number
    frame.picture.reshape(-1, 3)[known.where] = known.colours
    frame.surface.parallax.ravel()[known.where] = known.parallax
    buffer.spare += buffer.frames[:until]
    del buffer.frames[:until]
    return Plate(plate.number, frame.surface.parallax.copy(), plate.farthest)


# -------------------------------------------------------------------------------------------------------------- sweeps


def _swept_back(buffer: _Buffer, until: int) -> list[Memory]:
    """What frames after each show of what is hidden in it, from the frame ``until`` down to the first."""
    plate = spare = None
    memories: list[Memory] = []
    for turn in range(buffer.last, 0, -1):
        frame = buffer.frames[turn]
        plate, spare = _stepped(frame, buffer.frames[min(turn + 1, buffer.last)], plate, spare), plate
        if turn <= until:
            memories.append(_worth(_hidden(plate, frame), frame))
    return memories


def _stepped(frame: _Frame, beside: _Frame, plate: Plate | None, spare: Plate | None) -> Plate:
    """The plate of a frame from that of a frame beside it; in the place of one that nobody needs any more."""
    own, motions, number = frame.surface, _motion(frame, beside), np.int16(frame.number)
    after = spare or Plate(np.zeros(own.parallax.shape, np.int16), np.zeros_like(own.parallax), own.farthest.copy())
    by_rows(lambda rows: kernels().begin(own, number, after, rows), len(own.parallax))
    after.farthest[:] = own.farthest
    if plate is not None and frame.part == beside.part:
        _by_tiles(lambda rows: kernels().step(own, plate, motions, SAME, after, rows), frame)
    return after


def _hidden(plate: Plate, frame: _Frame) -> Memory:
    """What a plate remembers."""
    where = np.flatnonzero((plate.number >= 0) & (plate.number != frame.number)).astype(np.int32)
    return Memory(where, plate.number.ravel()[where], plate.parallax.ravel()[where])


def _worth(memory: Memory, frame: _Frame) -> Memory:
    """What of it an eye may see, and is still."""
    keeps, reach = np.zeros(memory.where.shape, bool), round(REACH * frame.picture.shape[1])
    kernels().keep(memory, frame.surface, SAME, reach, keeps)
    return Memory(*(each[keeps] for each in memory))


# ---------------------------------------------------------------------------------------------------- what lies behind


class _Known(NamedTuple):
    """What is known of what a frame hides."""

    where: Shaped[np.ndarray, " m"]
    """Flat indices of pixels."""
    colours: UInt8[np.ndarray, "m 3"] | UInt16[np.ndarray, "m 3"]
    parallax: Float32[np.ndarray, " m"]


def _recalled(buffer: _Buffer, frame: _Frame, memory: Memory) -> _Known:
    """What can be read of what is remembered."""
    count = len(memory.where)
    colours, parallax = np.zeros((count, 3), frame.picture.dtype), np.zeros(count, np.float32)
    could, motions = np.zeros(count, bool), _motions_to_all(buffer, frame)
    shown, known = (buffer.pictures, buffer.parallaxes), (colours, parallax, could)
    by_rows(lambda those: kernels().recall(memory, shown, motions, SAME, known, those), count)
    return _Known(memory.where[could], colours[could], parallax[could])


def _motions_to_all(buffer: _Buffer, frame: _Frame) -> Float64[np.ndarray, "2 n 4 4"]:
    """Maps of places from a frame to each of the buffer, by its number, and back."""
    motions = np.zeros((2, len(buffer.pictures), 4, 4))
    motions[:, [other.number for other in buffer.frames]] = _motions(frame, buffer.frames)
    return motions


def _behind(buffer: _Buffer, frame: _Frame, memories: tuple[Memory, Memory]) -> _Known:
    """What both sweeps know of what a frame hides; where they differ, nothing is known."""
    before, after = (_recalled(buffer, frame, memory) for memory in memories)
    if not len(before.where) or not len(after.where):
        return after if len(after.where) else before
    at = np.searchsorted(before.where, after.where).clip(max=len(before.where) - 1)
    again = before.where[at] == after.where
    alone = np.ones(len(before.where), bool)
    alone[at[again]] = False
    both = _agreed(_Known(*(each[at[again]] for each in before)), _Known(*(each[again] for each in after)), frame)
    parts = (_Known(*(each[alone] for each in before)), both, _Known(*(each[~again] for each in after)))
    return _Known(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _agreed(before: _Known, after: _Known, frame: _Frame) -> _Known:
    """Of what both know."""
    one, other = before.colours.astype(np.int32), after.colours.astype(np.int32)
    full = 255 if after.colours.itemsize == 1 else 65535
    differ = np.abs((one - other).sum(axis=-1)) > 2 * NOISE * full
    differ |= np.abs(before.parallax - after.parallax) > SAME
    agreed = ~_voted(differ, after.where, frame.surface.states.shape)
    mean = ((one + other + 1) // 2).astype(after.colours.dtype)
    return _Known(after.where[agreed], mean[agreed], after.parallax[agreed])


def _voted(
    those: Bool[np.ndarray, " m"], where: Shaped[np.ndarray, " m"], shape: tuple[int, ...]
) -> Bool[np.ndarray, " m"]:
    """Where two of five pixels around are those."""
    all_around, those_around = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    all_around.ravel()[where] = 1
    those_around.ravel()[where[those]] = 1
    count, of_all = (cv2.boxFilter(each, -1, (5, 5), normalize=False) for each in (those_around, all_around))
    most: Bool[np.ndarray, " m"] = 5 * count.ravel()[where] > 2 * of_all.ravel()[where]
    return most


# ---------------------------------------------------------------------------------------------------------------- eyes


def _eyes(frame: _Frame, known: _Known, shares: tuple[float, float], see: See) -> tuple[Samples, Samples]:
    height, width = frame.surface.parallax.shape
    order = np.argsort(known.where, kind="stable")
    known = _Known(*(each[order] for each in known))
    firsts = np.searchsorted(known.where, np.arange(height + 1) * width)

    def eye(share: float) -> Samples:
        seen, shown = see(frame.picture, frame.surface.parallax, share), (frame.picture, frame.surface.parallax)
        if share != 0 and len(known.where):
            show = partial(kernels().show, shown, tuple(known), firsts, share * width, seen)
            by_rows(show, height)
        return filled(seen)

    return eye(shares[0]), eye(shares[1])


__all__ = ["MOST_BYTES", "See", "paired"]
