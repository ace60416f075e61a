"""Matroska: what a file says of its pictures' shape and of the two eyes in them, read and put right in place.

Elements: RFC 8794 (EBML), RFC 9559 section 5.1.4.1.28 (video). PyAV cannot hand the shape of pixels to FFmpeg's
Matroska writer, so it is put right afterwards; nothing grows, so nothing moves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from recon.errors import FormatError
from recon.io.stereo.layout import Arrangement, Packing

_SEGMENT, _TRACKS, _ENTRY, _TYPE, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
_CLUSTER = 0x1F43B675
_STEREO_MODE, _DISPLAY_WIDTH, _DISPLAY_HEIGHT = 0x53B8, 0x54B0, 0x54BA
_MODES: dict[int, tuple[Packing, bool]] = {
    1: ("side", False),
    2: ("over", True),
    3: ("over", False),
    4: ("checker", True),
    5: ("checker", False),
    6: ("rows", True),
    7: ("rows", False),
    8: ("columns", True),
    9: ("columns", False),
    11: ("side", True),
}
"""StereoMode (RFC 9559 table 13): the arrangement, and whether the right eye is first."""


@dataclass(frozen=True, slots=True)
class _Element:
    kind: int
    body: int
    end: int


def _elements(file: BinaryIO, start: int, end: int) -> Iterator[_Element]:
    while start < end:
        file.seek(start)
        head = file.read(12)
        kind, used = _number(head, 0, keep_mark=True)
        size, after = _number(head, used, keep_mark=False)
        unknown = size == (1 << 7 * (after - used)) - 1
        body = start + after
        stop = end if unknown else body + size
        stop = min(stop, end)  # cut short: what is there can still be read
        yield _Element(kind, body, stop)
        start = stop


def _number(data: bytes, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    if at >= len(data) or data[at] == 0:
        raise FormatError("an element has no size: the file is damaged, or no Matroska")
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep_mark else value & ((1 << 7 * length) - 1)), at + length


def _films(file: BinaryIO) -> Iterator[list[_Element]]:
    """The elements that describe the pictures of each track with pictures."""
    length = file.seek(0, 2)
    for segment in _elements(file, 0, length):
        if segment.kind != _SEGMENT:
            continue
        for part in _elements(file, segment.body, segment.end):
            if part.kind == _CLUSTER:
                return
            if part.kind == _TRACKS:
                yield from (
                    list(_elements(file, inner.body, inner.end))
                    for entry in _elements(file, part.body, part.end)
                    if entry.kind == _ENTRY
                    for inner in _elements(file, entry.body, entry.end)
                    if inner.kind == _VIDEO
                )
                return


def stereo_mode(path: Path) -> int | None:
    """The StereoMode of the first track with pictures; None where it says none.

    Raises:
        FormatError: it is no Matroska file.
    """
    with path.open("rb") as file:
        for film in _films(file):
            for element in film:
                if element.kind == _STEREO_MODE:
                    file.seek(element.body)
                    return int.from_bytes(file.read(element.end - element.body), "big")
            return None
    return None


def arrangement_of_number(mode: int) -> Arrangement | None:
    """What a StereoMode says; None for a single picture, anaglyphs and eyes in turn."""
    return Arrangement(*_MODES[mode]) if mode in _MODES else None


def set_stereo_mode(path: Path, mode: int) -> None:
    """Write the StereoMode of the first track with pictures over the one that stands there.

    Raises:
        FormatError: none stands there.
    """
    with path.open("r+b") as file:
        for element in next(_films(file), []):
            if element.kind == _STEREO_MODE:
                file.seek(element.body)
                file.write(mode.to_bytes(element.end - element.body, "big"))
                return
    raise FormatError(f"{path}: has no StereoMode")


def set_display_size(path: Path, width: int, height: int) -> None:
    """Write how large the first track's pictures (one eye of them) are shown, over what stands there.

    Where the numbers need more bytes than there are, smaller ones of the same shape are written.

    Raises:
        FormatError: the file has no track with pictures, or says nothing of their size.
    """
    with path.open("r+b") as file:
        film = next(_films(file), [])
        places = {e.kind: e for e in film if e.kind in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT)}
        if len(places) < 2:
            raise FormatError(f"{path}: says nothing of the size in which its pictures are shown")
        room = min(256 ** (e.end - e.body) - 1 for e in places.values())
        if max(width, height) > room:
            width, height = _within(Fraction(width, height), room)
        for kind, value in ((_DISPLAY_WIDTH, width), (_DISPLAY_HEIGHT, height)):
            file.seek(places[kind].body)
            file.write(value.to_bytes(places[kind].end - places[kind].body, "big"))


def _within(shape: Fraction, room: int) -> tuple[int, int]:
    """The largest sides of a shape that are at most ``room``; the nearest shape where its own numbers are larger."""
    times = room // max(shape.numerator, shape.denominator)
    if times:
        return shape.numerator * times, shape.denominator * times
    return (room, max(1, round(room / shape))) if shape > 1 else (max(1, round(room * shape)), room)


__all__ = ["arrangement_of_number", "set_display_size", "set_stereo_mode", "stereo_mode"]
