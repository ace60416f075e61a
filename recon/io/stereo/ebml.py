"""Matroska: what a file says of its pictures' shape and of the two eyes in them, read and put right in place.

Elements: RFC 8794 (EBML), RFC 9559 section 5.1.4.1.28 (video). PyAV cannot hand the shape of pixels, nor that they are
part of a sphere, to FFmpeg's Matroska writer, so that is put right afterwards. Nothing grows, so nothing moves: the
elements of a sphere take the place of some letters that the name of the track is given for that.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from recon.errors import FormatError
from recon.io.stereo.layout import Arrangement, Packing

_SEGMENT, _TRACKS, _ENTRY, _TYPE, _VIDEO = 0x18538067, 0x1654AE6B, 0xAE, 0x83, 0xE0
_CLUSTER, _CRC, _VOID, _NAME = 0x1F43B675, 0xBF, 0xEC, 0x536E
_PROJECTION, _PROJECTION_TYPE, _PROJECTION_PRIVATE, _EQUIRECTANGULAR = 0x7670, 0x7671, 0x7672, 1
ROOM = "." * 64
"""At the end of a track's name: what ``set_half_sphere`` writes over."""
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
    start: int
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
        yield _Element(kind, start, body, stop)
        start = stop


def _number(data: bytes, at: int, *, keep_mark: bool) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    if at >= len(data) or data[at] == 0:
        raise FormatError("an element has no size: the file is damaged, or no Matroska")
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big")
    return (value if keep_mark else value & ((1 << 7 * length) - 1)), at + length


def _tracks(file: BinaryIO) -> _Element | None:
    for segment in _elements(file, 0, file.seek(0, 2)):
        if segment.kind == _SEGMENT:
            for part in _elements(file, segment.body, segment.end):
                if part.kind == _TRACKS:
                    return part
                if part.kind == _CLUSTER:
                    return None
    return None


def _film(file: BinaryIO) -> tuple[_Element, _Element, _Element] | None:
    """Tracks, the first entry of them with pictures, and what describes these; None where there are none."""
    tracks = _tracks(file)
    for entry in _elements(file, tracks.body, tracks.end) if tracks else ():
        if entry.kind == _ENTRY:
            for inner in _elements(file, entry.body, entry.end):
                if inner.kind == _VIDEO and tracks is not None:
                    return tracks, entry, inner
    return None


def _film_elements(file: BinaryIO) -> dict[int, _Element]:
    """What describes the pictures of the first track that has some."""
    film = _film(file)
    return {element.kind: element for element in _elements(file, film[2].body, film[2].end)} if film else {}


def _content(file: BinaryIO, element: _Element) -> bytes:
    file.seek(element.body)
    return file.read(element.end - element.body)


def _seal(file: BinaryIO) -> None:
    """Put the checksum of the tracks right, where there is one (RFC 8794 section 11.3.1)."""
    tracks = _tracks(file)
    first = next(_elements(file, tracks.body, tracks.end), None) if tracks else None
    if tracks is not None and first is not None and first.kind == _CRC:
        file.seek(first.end)
        sum_ = zlib.crc32(file.read(tracks.end - first.end))
        file.seek(first.body)
        file.write(sum_.to_bytes(4, "little"))


def stereo_mode(path: Path) -> int | None:
    """The StereoMode of the first track with pictures; None where it says none.

    Raises:
        FormatError: it is no Matroska file.
    """
    with path.open("rb") as file:
        element = _film_elements(file).get(_STEREO_MODE)
        return None if element is None else int.from_bytes(_content(file, element), "big")


def projection(path: Path) -> tuple[int, tuple[float, ...]] | None:
    """How the first track's pictures lie on a sphere; None where they do not, or it is not said.

    Returns:
        ProjectionType (RFC 9559 section 5.1.4.1.28.42: 1 is equirectangular), and what is cut off at the top, bottom,
        left and right in parts of the sphere: of equirectangular ones (as in the box ``equi`` of MP4), else nothing.

    Raises:
        FormatError: it is no Matroska file.
    """
    with path.open("rb") as file:
        whole = _film_elements(file).get(_PROJECTION)
        if whole is None:
            return None
        parts = {element.kind: _content(file, element) for element in _elements(file, whole.body, whole.end)}
        kind, cut = int.from_bytes(parts.get(_PROJECTION_TYPE, b""), "big"), parts.get(_PROJECTION_PRIVATE, b"")
        known = kind == _EQUIRECTANGULAR and len(cut) == 20
        return kind, tuple(edge / 2**32 for edge in struct.unpack(">4x4I", cut)) if known else ()


def arrangement_of_number(mode: int) -> Arrangement | None:
    """What a StereoMode says; None for a single picture, anaglyphs and eyes in turn."""
    return Arrangement(*_MODES[mode]) if mode in _MODES else None


def set_stereo_mode(path: Path, mode: int) -> None:
    """Write the StereoMode of the first track with pictures over the one that stands there.

    Raises:
        FormatError: none stands there.
    """
    with path.open("r+b") as file:
        element = _film_elements(file).get(_STEREO_MODE)
        if element is None:
            raise FormatError(f"{path}: has no StereoMode")
        file.seek(element.body)
        file.write(mode.to_bytes(element.end - element.body, "big"))
        _seal(file)


def set_half_sphere(path: Path, cut: bytes) -> None:
    """Say that the first track's pictures are half of an equirectangular sphere.

    Args:
        path: whose track's name ends in ``ROOM``, which makes place and goes away.
        cut: the content of the box ``equi`` of MP4.

    Raises:
        FormatError: there is no such room.
    """
    with path.open("r+b") as file:
        film = _film(file)
        parts = list(_elements(file, film[1].body, film[1].end)) if film else []
        contents = {part.start: _content(file, part) for part in parts}
        name = next((part for part in parts if part.kind == _NAME), None)
        if film is None or name is None or not contents[name.start].endswith(ROOM.encode()):
            raise FormatError(f"{path}: has no room for a projection")
        contents[name.start] = contents[name.start].removesuffix(ROOM.encode())
        held = _element(_PROJECTION_TYPE, bytes([_EQUIRECTANGULAR])) + _element(_PROJECTION_PRIVATE, cut)
        contents[film[2].start] += _element(_PROJECTION, held)
        kept = [part for part in parts if contents[part.start] or part is not name]
        body = b"".join(_element(part.kind, contents[part.start]) for part in kept)
        room = film[1].end - film[1].body - len(body) - 2
        file.seek(film[1].body)
        file.write(body + _element(_VOID, bytes(room)))
        _seal(file)


def _element(kind: int, content: bytes) -> bytes:
    """An element with a size of as few bytes as it takes."""
    length = next(length for length in range(1, 9) if len(content) < (1 << 7 * length) - 1)
    size = (len(content) | 1 << 7 * length).to_bytes(length, "big")
    return kind.to_bytes((kind.bit_length() + 7) // 8, "big") + size + content


def set_display_size(path: Path, width: int, height: int) -> None:
    """Write how large the first track's pictures (one eye of them) are shown, over what stands there.

    Where the numbers need more bytes than there are, smaller ones of the same shape are written.

    Raises:
        FormatError: the file has no track with pictures, or says nothing of their size.
    """
    with path.open("r+b") as file:
        places = {k: e for k, e in _film_elements(file).items() if k in (_DISPLAY_WIDTH, _DISPLAY_HEIGHT)}
        if len(places) < 2:
            raise FormatError(f"{path}: says nothing of the size in which its pictures are shown")
        room = min(256 ** (e.end - e.body) - 1 for e in places.values())
        if max(width, height) > room:
            width, height = _within(Fraction(width, height), room)
        for kind, value in ((_DISPLAY_WIDTH, width), (_DISPLAY_HEIGHT, height)):
            file.seek(places[kind].body)
            file.write(value.to_bytes(places[kind].end - places[kind].body, "big"))
        _seal(file)


def _within(shape: Fraction, room: int) -> tuple[int, int]:
    """The largest sides of a shape that are at most ``room``; the nearest shape where its own numbers are larger."""
    times = room // max(shape.numerator, shape.denominator)
    if times:
        return shape.numerator * times, shape.denominator * times
    return (room, max(1, round(room / shape))) if shape > 1 else (max(1, round(room * shape)), room)


__all__ = [
    "ROOM",
    "arrangement_of_number",
    "projection",
    "set_display_size",
    "set_half_sphere",
    "set_stereo_mode",
    "stereo_mode",
]
