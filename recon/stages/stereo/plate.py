"""What an eye sees behind things near, from frames before and after that show it: a background plate for each shot.

Two sweeps, one forward and one backward. In each a plate goes from frame to frame with the motion of what is still;
what a frame shows of the background replaces it, and what something nearer hides stays known, with its parallax. Only
what moves with the background for two frames at least becomes part of it: people and water do not. The eye sees the
plate by the same warp as the picture, and it is used through holes alone; what is unknown is filled from beside.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int32, Int64, UInt8, UInt16

from recon.eyes import WHOLE
from recon.stages.stereo.fill import filled
from recon.stages.stereo.motion import Motion, PlaceMap
from recon.stages.stereo.recall import AGREES, MIXED, MOVING, STILL, Plate, kernels
from recon.stages.stereo.warp import THREADS, behind, by_rows, seen_from
from recon.types import Parallax, Samples

MOST_BYTES: Final = 512 << 20
AHEAD: Final = 0.4
"""Share of the buffer that is kept to look ahead."""
FEWEST: Final = 6
"""Frames of the buffer, whatever its bytes."""
SAME: Final = 0.0015
"""Difference of parallax, in widths, that is still the same surface: noise of depth."""
EDGE: Final = 2
"""Pixels from an outline whose colours mix those of its two sides."""
NOISE: Final = 3 * 4 / 255
"""Difference of the sum of three colours, in full ranges, that compression and noise explain."""
REACH: Final = 0.06
"""How far behind an outline something may be seen, in widths, and how far to look for the background beside it."""

Region = Bool[np.ndarray, "h w"]


class _Memory(NamedTuple):
    """What a plate remembers of what a frame does not show; as little as possible, for it is kept for each frame."""

    where: Int32[np.ndarray, " m"]
    """Flat indices of pixels."""
    number: Int16[np.ndarray, " m"]
    parallax: Float32[np.ndarray, " m"]


@dataclass(slots=True)
class _Buffer:
    """Frames that are held, from slot 1 on; slot 0 holds the plate of the frame before them."""

    pictures: UInt8[np.ndarray, "n h w 3"] | UInt16[np.ndarray, "n h w 3"]
    parallaxes: Float32[np.ndarray, "n h w"]
    agrees: UInt8[np.ndarray, "n h w"]
    """What the frames beside it say (`recall.AGREES`, `recall.DIFFERS`)."""
    states: UInt8[np.ndarray, "n h w"]
    """See `recall.STILL`."""
    places: list[PlaceMap]
    """Of each slot in use: its places from those of the first frame of the part."""
    parts: list[int]
    """Of each slot in use, the number of the part of the shot that moves as one."""
    motion: Motion = field(default_factory=Motion)

    @property
    def last(self) -> int:
        """The last slot in use."""
        return len(self.parts) - 1

    def is_full(self) -> bool:
        """Whether no further frame has room."""
        return self.last == len(self.pictures) - 1

    def motions(self, slot: int, other: int) -> Float64[np.ndarray, "2 4 4"]:
        """Maps of places from a slot to another, and back."""
        if np.array_equal(self.places[slot], self.places[other]):
            return np.stack([np.eye(4), np.eye(4)])
        there = self.places[other] @ np.linalg.inv(self.places[slot])
        return np.stack([there, np.linalg.inv(there)])


def paired(
    frames: Iterable[tuple[Samples, Parallax]], shares: tuple[float, float], *, most_bytes: int = MOST_BYTES
) -> Iterator[tuple[Samples, Samples]]:
    """Both eyes of the frames of one shot, in order, as they are asked for.

    Holes show what other frames of the buffer, or any frame before, show there; the rest of them is `filled`.

    Args:
        frames: pictures of one size and their parallax, from cut to cut: no frame depends on another call.
        shares: of the left and the right eye (see `recon.types`).
        most_bytes: size of the buffer; the more frames it holds, the longer the look ahead.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        return
    buffer, coming = _empty(first, most_bytes), chain([first], coming)
    carried: Plate | None = None
    while True:
        _take(buffer, coming)
        ended = not buffer.is_full()
        until = buffer.last if ended else max(1, round((1 - AHEAD) * buffer.last))
        later = _swept_back(buffer, until)
        for slot in range(1, until + 1):
            carried = _stepped(buffer, slot, slot - 1, carried)
            yield _eyes(buffer, slot, (_remembered(carried, slot), later.pop()), shares)
        if ended or carried is None:
            return
        carried = _drop(buffer, until, carried)


# -------------------------------------------------------------------------------------------------------------- buffer


def _empty(first: tuple[Samples, Parallax], most_bytes: int) -> _Buffer:
    picture, parallax = first
    # of a pixel: colour, parallax, two bytes of state, and what the backward sweep remembers in a third of them
    frame = parallax.size * (3 * picture.itemsize + 4 + 2 + 10 / 3)
    count = 1 + max(FEWEST, int(most_bytes / frame) - 1)
    shape = (count, *parallax.shape)
    return _Buffer(
        np.zeros((*shape, 3), picture.dtype),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.uint8),
        np.zeros(shape, np.uint8),
        [np.eye(4)],
        [-1],
    )


def _take(buffer: _Buffer, coming: Iterator[tuple[Samples, Parallax]]) -> None:
    """Fill the buffer."""
    while not buffer.is_full() and (frame := next(coming, None)) is not None:
        slot = buffer.last + 1
        buffer.pictures[slot], buffer.parallaxes[slot] = frame
        place = buffer.motion.follow(*frame)
        buffer.places.append(np.eye(4) if place is None else place)
        buffer.parts.append(buffer.parts[-1] + (place is None))
        buffer.agrees[slot], buffer.states[slot] = 0, _mixed(frame[1])
        if slot > 1 and place is not None:
            _compare(buffer, slot, slot - 1)
            _compare(buffer, slot - 1, slot)


def _compare(buffer: _Buffer, slot: int, other: int) -> None:
    full = 255 if buffer.pictures.itemsize == 1 else 65535
    own = buffer.pictures[slot], buffer.parallaxes[slot]
    beside = buffer.pictures[other], buffer.parallaxes[other], buffer.states[other]
    motion, agrees, limits = buffer.motions(slot, other)[0], buffer.agrees[slot], (NOISE * full, SAME)
    by_rows(lambda rows: kernels().agree(own, beside, motion, limits, agrees, rows), len(agrees), THREADS)


def _drop(buffer: _Buffer, until: int, plate: Plate) -> Plate:
    """Forget frames up to a slot, but for the plate of it, which goes to slot 0."""
    picture = buffer.pictures[until].copy()
    _recall(buffer, until, plate, picture)
    left = buffer.last - until
    for held in (buffer.pictures, buffer.parallaxes, buffer.agrees, buffer.states):
        for slot in range(1, left + 1):
            held[slot] = held[slot + until]
    buffer.pictures[0], buffer.parallaxes[0] = picture, plate.parallax
    buffer.places, buffer.parts = buffer.places[until:], buffer.parts[until:]
    return Plate(np.where(plate.number >= 0, 0, -1).astype(np.int16), plate.parallax)


# -------------------------------------------------------------------------------------------------------------- sweeps


def _swept_back(buffer: _Buffer, until: int) -> list[_Memory]:
    """What frames after each show of what is hidden in it, from the slot ``until`` down to 1."""
    plate: Plate | None = None
    memories = []
    for slot in range(buffer.last, 0, -1):
        buffer.states[slot] = _states(buffer.agrees[slot], buffer.states[slot])
        plate = _stepped(buffer, slot, slot + 1, plate)
        if slot <= until:
            memories.append(_remembered(plate, slot))
    return memories


def _states(agrees: UInt8[np.ndarray, "h w"], before: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """By a vote of 25 pixels, for a few agree by chance; mixed ones stay."""
    still = cv2.medianBlur((agrees == AGREES).astype(np.uint8), 5)
    return np.where(before == MIXED, MIXED, np.where(still > 0, STILL, MOVING)).astype(np.uint8)


def _mixed(parallax: Parallax) -> UInt8[np.ndarray, "h w"]:
    """MIXED beside something nearer, MOVING elsewhere."""
    around = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    nearer = parallax - cv2.erode(parallax, around) > SAME
    return np.where(nearer, MIXED, MOVING).astype(np.uint8)


def _stepped(buffer: _Buffer, slot: int, beside: int, plate: Plate | None) -> Plate:
    """The plate of a slot from that of a slot beside it."""
    parallax, states = buffer.parallaxes[slot], buffer.states[slot]
    if plate is None or buffer.parts[slot] != buffer.parts[beside]:
        return Plate(np.where(states == STILL, slot, -1).astype(np.int16), parallax.copy())
    after = Plate(np.zeros(parallax.shape, np.int16), np.zeros_like(parallax))
    own, motions = (slot, parallax, states, float(parallax.max())), buffer.motions(slot, beside)
    by_rows(lambda rows: kernels().step(own, plate, motions, SAME, after, rows), len(parallax), THREADS)
    return after


def _remembered(plate: Plate, slot: int) -> _Memory:
    where = np.flatnonzero((plate.number >= 0) & (plate.number != slot)).astype(np.int32)
    return _Memory(where, plate.number.ravel()[where], plate.parallax.ravel()[where])


# ---------------------------------------------------------------------------------------------------------------- eyes


def _eyes(
    buffer: _Buffer, slot: int, memories: tuple[_Memory, _Memory], shares: tuple[float, float]
) -> tuple[Samples, Samples]:
    frame = buffer.pictures[slot], buffer.parallaxes[slot]
    plate = _behind(buffer, slot, memories) if any(len(each.where) for each in memories) else None
    left, right = (_eye(frame, plate, share) for share in shares)
    return left, right


def _eye(frame: tuple[Samples, Parallax], plate: tuple[Samples, Parallax] | None, share: float) -> Samples:
    seen = seen_from(*frame, share)
    if plate is not None and seen.hole.any():
        through = seen_from(*plate, share)
        seen = behind(seen, through.picture, through.cover >= WHOLE)
    return filled(seen)


def _behind(buffer: _Buffer, slot: int, memories: tuple[_Memory, _Memory]) -> tuple[Samples, Parallax] | None:
    """The picture with what is known to lie behind things in their place; None where nothing is."""
    picture, parallax = buffer.pictures[slot].copy(), buffer.parallaxes[slot].copy()
    before, after = (_read(buffer, slot, memory) for memory in memories)
    known, agreed = _agreed(before, after)
    kernels().beside(known, agreed.parallax, parallax, buffer.states[slot], SAME, round(REACH * parallax.shape[1]))
    if not known.any():
        return None
    picture[known], parallax[known] = agreed.picture[known], agreed.parallax[known]
    return picture, parallax


class _Recalled(NamedTuple):
    """What one sweep knows of a frame."""

    picture: Samples
    parallax: Parallax
    known: Region


def _read(buffer: _Buffer, slot: int, memory: _Memory) -> _Recalled:
    shape = buffer.parallaxes[slot].shape
    plate = Plate(np.full(shape, -1, np.int16), np.zeros(shape, np.float32))
    plate.number.ravel()[memory.where] = memory.number
    plate.parallax.ravel()[memory.where] = memory.parallax
    picture = np.zeros_like(buffer.pictures[slot])
    _recall(buffer, slot, plate, picture)
    return _Recalled(picture, plate.parallax, plate.number >= 0)


def _recall(buffer: _Buffer, slot: int, plate: Plate, picture: Samples) -> None:
    """Read what a plate remembers into a picture."""
    motions = np.stack([buffer.motions(slot, other) for other in range(buffer.last + 1)])
    kernels().recall(plate, slot, (buffer.pictures, buffer.parallaxes), motions, SAME, picture)


def _agreed(before: _Recalled, after: _Recalled) -> tuple[Region, _Recalled]:
    """What is known, of both sweeps; where they differ, nothing is."""
    both, known = before.known & after.known, before.known | after.known
    _copy(before, np.flatnonzero(before.known & ~after.known), after)
    together = np.flatnonzero(both)
    if len(together):
        one, other = (each.picture.reshape(-1, 3)[together].astype(np.int64) for each in (before, after))
        full = 255 if after.picture.itemsize == 1 else 65535
        differ = np.abs((one - other).sum(axis=-1)) > 2 * NOISE * full
        differ |= np.abs(before.parallax.ravel()[together] - after.parallax.ravel()[together]) > SAME
        after.picture.reshape(-1, 3)[together] = (one + other + 1) // 2
        known &= ~_voted(together[differ], both)
    return known, after


def _copy(source: _Recalled, where: Int64[np.ndarray, " m"], target: _Recalled) -> None:
    target.picture.reshape(-1, 3)[where] = source.picture.reshape(-1, 3)[where]
    target.parallax.ravel()[where] = source.parallax.ravel()[where]


def _voted(where: Int64[np.ndarray, " m"], among: Region) -> Region:
    """Where two of five pixels around are those."""
    if not len(where):
        return np.zeros_like(among)
    those = np.zeros(among.shape, np.float32)
    those.ravel()[where] = 1
    most: Region = among & (cv2.blur(those, (5, 5)) > 0.4 * cv2.blur(among.astype(np.float32), (5, 5)))
    return most


__all__ = ["MOST_BYTES", "paired"]
