"""MP4 and QuickTime: boxes that say "this is 3D" put into a finished file, and read back.

Box tree: ISO/IEC 14496-12 section 4.2. ``st3d`` and ``sv3d``: Google's Spherical Video V2 RFC. ``vexu`` and ``hfov``:
Apple, "ISO Base Media File Format and Apple HEVC Stereo Video". ``mdcv`` and ``clli``: ISO/IEC 14496-12 section 12.1.
"""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from recon.errors import FormatError
from recon.io.stereo.hdr import Hdr10, light_bytes, mastering_bytes
from recon.io.stereo.layout import Arrangement, arrangement_of
from recon.types import Layout

_PREFIX = {b"stsd": 8, b"meta": 4}
"""Bytes of a box before its children, where there are any."""
_VISUAL = 78
"""Bytes of a visual sample entry before its children (ISO/IEC 14496-12 section 12.1.3)."""
_VISUAL_ENTRIES = (b"avc1", b"avc3", b"hvc1", b"hev1", b"av01", b"mp4v", b"vp09", b"dvh1", b"dvhe")
_TO_ENTRIES = (b"mdia", b"minf", b"stbl", b"stsd")
_QUARTER = 0x3FFF_FFFF
"""0.25 as a 0.32 number, a hair less: what the makers of VR180 cameras write."""
_WORD = 1 << 32
_EYES, _REVERSED = 0x03, 0x08


class Box(NamedTuple):
    """One box of a piece of a file."""

    kind: bytes
    start: int
    """Where its header begins."""
    body: int
    """Where its body begins."""
    end: int


def boxes_in(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """The boxes that stand one behind the other in ``data[start:end]``.

    Raises:
        FormatError: a box is cut short.
    """
    end = len(data) if end is None else end
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        body = start + 8
        if size == 1 and body + 8 <= end:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        after = end if size == 0 else start + size
        if after < body or after > end:
            raise FormatError(f"box {kind!r} is cut short or has a wrong size: the file is damaged")
        yield Box(kind, start, body, after)
        start = after


def box(kind: bytes, *parts: bytes) -> bytes:
    """A box; one that needs it gets a size of 64 bits."""
    body = b"".join(parts)
    if len(body) + 8 >= _WORD:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def full_box(kind: bytes, *parts: bytes) -> bytes:
    """A box of version 0 without flags."""
    return box(kind, bytes(4), *parts)


def changed(data: bytes, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
    """Boxes, with ``change`` applied to the body of each that lies at ``path``; sizes follow.

    Headers of 64 bits stay so. All else is as it was, byte by byte.
    """
    out, position = [], 0
    for found in boxes_in(data):
        out.append(data[position : found.start] + _changed(data, found, path, change))
        position = found.end
    return b"".join(out) + data[position:]


def _changed(data: bytes, found: Box, path: Sequence[bytes], change: Callable[[bytes], bytes]) -> bytes:
    whole = data[found.start : found.end]
    if found.kind != path[0]:
        return whole
    body = data[found.body : found.end]
    if len(path) == 1:
        body = change(body)
    else:
        prefix = _PREFIX.get(found.kind, 0)
        body = body[:prefix] + changed(body[prefix:], path[1:], change)
    if found.body - found.start == 16:
        return struct.pack(">I4sQ", 1, found.kind, len(body) + 16) + body
    return box(found.kind, body)


def bodies(data: bytes, path: Sequence[bytes]) -> Iterator[bytes]:
    """The bodies of the boxes at ``path``."""
    for found in boxes_in(data):
        if found.kind == path[0]:
            body = data[found.body : found.end]
            if len(path) == 1:
                yield body
            else:
                yield from bodies(body[_PREFIX.get(found.kind, 0) :], path[1:])


@dataclass(frozen=True, slots=True)
class View:
    """What is known of how the pictures were taken; None: it is not said."""

    fov_x: float | None = None
    """Horizontal field of view of one eye, degrees."""
    baseline: float | None = None
    """Distance of the two cameras, metres."""


def stereo_boxes(layout: Layout, view: View | None = None) -> bytes:
    """Boxes for the visual sample entry; none where the layout has no word in MP4 (woven, anaglyph, one eye)."""
    arrangement = arrangement_of(layout)
    if arrangement is None or arrangement.packing not in ("side", "over"):
        return b""
    view = View(180.0) if arrangement.half_sphere else view or View()
    parts = [_st3d(arrangement), _sv3d() if arrangement.half_sphere else b"", _vexu(arrangement, view)]
    if view.fov_x is not None:
        parts.append(box(b"hfov", struct.pack(">I", round(1000 * view.fov_x))))
    return b"".join(parts)


def hdr_boxes(hdr: Hdr10) -> bytes:
    """Boxes for the visual sample entry."""
    mastering = b"" if hdr.mastering is None else box(b"mdcv", mastering_bytes(hdr.mastering))
    return mastering + (b"" if hdr.light is None else box(b"clli", light_bytes(hdr.light)))


def _st3d(arrangement: Arrangement) -> bytes:
    """None with the right eye first: the RFC knows only left-right and top-bottom."""
    if arrangement.right_first:
        return b""
    return full_box(b"st3d", bytes([1 if arrangement.packing == "over" else 2]))


HALF_SPHERE = struct.pack(">4x4I", 0, 0, _QUARTER, _QUARTER)
"""The content of the box ``equi``: nothing cut off at the top and bottom, a quarter of the sphere at each side."""


def _sv3d() -> bytes:
    source = full_box(b"svhd", b"recon\0")
    pose = full_box(b"prhd", bytes(12))
    return box(b"sv3d", source, box(b"proj", pose, box(b"equi", HALF_SPHERE)))


def _vexu(arrangement: Arrangement, view: View) -> bytes:
    eyes = [full_box(b"stri", bytes([_EYES | (_REVERSED if arrangement.right_first else 0)]))]
    eyes.append(full_box(b"hero", b"\x01"))
    if view.baseline is not None:
        eyes.append(box(b"cams", full_box(b"blin", struct.pack(">I", round(1e6 * view.baseline)))))
    eyes.append(box(b"cmfy", full_box(b"dadj", bytes(4))))
    projection = full_box(b"prji", b"hequ" if arrangement.half_sphere else b"rect")
    packing = full_box(b"pkin", b"side" if arrangement.packing == "side" else b"over")
    return box(b"vexu", box(b"eyes", *eyes), box(b"proj", projection), box(b"pack", packing))


def with_boxes(source: Path, target: Path, extra: bytes) -> None:
    """Copy an MP4 file with ``extra`` in the sample entries of its first video track, and ``moov`` before the media.

    Raises:
        FormatError: it is no MP4 file, it is in fragments, or it has no video track.
    """
    with source.open("rb") as file:
        parts = top_boxes(file)
        kinds = [part.kind for part in parts]
        if b"moof" in kinds or kinds.count(b"moov") != 1:
            raise FormatError(f"{source}: no MP4 file of one piece: remux it first")
        old = next(part for part in parts if part.kind == b"moov")
        file.seek(old.start)
        moov = file.read(old.end - old.start)
        moov = changed(moov, [b"moov"], lambda body: _with_entry_boxes(body, extra))
        first = next((i for i, part in enumerate(parts) if part.kind == b"mdat"), len(parts))
        others = [part for part in parts if part.kind != b"moov"]
        before = [part for part in parts[:first] if part.kind != b"moov"]
        moov = _placed(moov, old, before, others)
        with target.open("wb") as out:
            for part in before:
                _copy(file, part, out)
            out.write(moov)
            for part in others[len(before) :]:
                _copy(file, part, out)


def top_boxes(file: BinaryIO) -> list[Box]:
    """The outermost boxes of a file, their places counted from its start.

    Raises:
        FormatError: the file is not made of boxes.
    """
    file.seek(0, 2)
    length, start, found = file.tell(), 0, []
    while start + 8 <= length:
        file.seek(start)
        head = file.read(16)
        size, kind = struct.unpack_from(">I4s", head)
        body = start + (16 if size == 1 else 8)
        if size == 1 and len(head) == 16:
            (size,) = struct.unpack_from(">Q", head, 8)
        after = length if size == 0 else start + size
        if kind == b"mdat":
            after = min(after, length)  # cameras that lose power leave such files; what is there can be read
        if after < body or after > length:
            raise FormatError(f"box {kind!r} is cut short: the file is damaged, or no MP4")
        found.append(Box(kind, start, body, after))
        start = after
    return found


def _with_entry_boxes(moov: bytes, extra: bytes) -> bytes:
    """The body of ``moov`` with boxes more in the first video track."""
    out, position, done = [], 0, False
    for found in boxes_in(moov):
        whole = moov[found.start : found.end]
        if not done and found.kind == b"trak" and is_film(moov[found.body : found.end]):
            whole = changed(whole, (b"trak", *_TO_ENTRIES), lambda entries: _grown(entries, extra))
            done = True
        out.append(moov[position : found.start] + whole)
        position = found.end
    if not done:
        raise FormatError("no video track: nothing can be said of it")
    return b"".join(out) + moov[position:]


def is_film(trak: bytes) -> bool:
    """Whether the body of a ``trak`` is that of moving pictures of a codec that recon writes."""
    handlers = [body[8:12] for body in bodies(trak, [b"mdia", b"hdlr"])]
    kinds = {found.kind for stsd in bodies(trak, _TO_ENTRIES) for found in boxes_in(stsd, 8)}
    return b"vide" in handlers and bool(kinds & set(_VISUAL_ENTRIES))


def _grown(stsd: bytes, extra: bytes) -> bytes:
    out, position = [stsd[:8]], 8
    for found in boxes_in(stsd, 8):
        entry = stsd[found.body : found.end]
        if found.kind in _VISUAL_ENTRIES:
            kept = b"".join(
                entry[inner.start : inner.end] for inner in boxes_in(entry, _VISUAL) if inner.kind not in _kinds(extra)
            )
            entry = entry[:_VISUAL] + kept + extra
        out.append(box(found.kind, entry))
        position = found.end
    return b"".join(out) + stsd[position:]


def _kinds(data: bytes) -> set[bytes]:
    return {found.kind for found in boxes_in(data)}


def _placed(moov: bytes, old: Box, before: Sequence[Box], others: Sequence[Box]) -> bytes:
    """``moov`` with the places of the media after the move; tables of 32 bits become 64 where they have to."""
    ahead = sum(part.end - part.start for part in before)

    def moves(size: int) -> list[tuple[Box, int]]:
        target, out = 0, []
        for number, part in enumerate(others):
            if number == len(before):
                target = ahead + size
            out.append((part, target - part.start))
            target += part.end - part.start
        return out

    for _ in range(3):  # a table that grows moves the media once more
        shifted = _shifted(moov, moves(len(moov)))
        if len(shifted) == len(moov):
            return shifted
        moov = _widened(moov)
    raise FormatError(f"the index at byte {old.start} cannot be moved: the file is damaged")


def _shifted(moov: bytes, moves: Sequence[tuple[Box, int]]) -> bytes:
    def moved(place: int) -> int:
        delta = next((by for part, by in moves if part.start <= place < part.end), None)
        if delta is None:
            raise FormatError(f"the index points to byte {place}, outside of the media: the file is damaged")
        return place + delta

    def table(form: str, body: bytes) -> bytes:
        (count,) = struct.unpack_from(">I", body, 4)
        places = [moved(place) for place in struct.unpack_from(f">{count}{form}", body, 8)]
        wide = "Q" if any(place >= _WORD for place in places) else form
        return body[:8] + struct.pack(f">{count}{wide}", *places)

    stbl = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
    moov = changed(moov, (*stbl, b"stco"), lambda body: table("I", body))
    return changed(moov, (*stbl, b"co64"), lambda body: table("Q", body))


def _widened(moov: bytes) -> bytes:
    """With every ``stco`` as ``co64``, the places as they are."""

    def wide(stbl: bytes) -> bytes:
        out, position = [], 0
        for found in boxes_in(stbl):
            whole = stbl[found.start : found.end]
            if found.kind == b"stco":
                body = stbl[found.body : found.end]
                (count,) = struct.unpack_from(">I", body, 4)
                places = struct.unpack_from(f">{count}I", body, 8)
                whole = box(b"co64", body[:8], struct.pack(f">{count}Q", *places))
            out.append(stbl[position : found.start] + whole)
            position = found.end
        return b"".join(out) + stbl[position:]

    return changed(moov, (b"moov", b"trak", b"mdia", b"minf", b"stbl"), wide)


def _copy(file: BinaryIO, part: Box, out: BinaryIO) -> None:
    """A box, its size written out where it said "to the end of the file"."""
    file.seek(part.start)
    left = part.end - part.start
    if file.read(4) == bytes(4) and left < _WORD:
        out.write(struct.pack(">I", left))
        left -= 4
    else:
        file.seek(part.start)
    while left > 0:
        piece = file.read(min(left, 1 << 22))
        if not piece:
            raise FormatError("the file has become shorter while it was read: run again")
        out.write(piece)
        left -= len(piece)


__all__ = [
    "HALF_SPHERE",
    "Box",
    "View",
    "bodies",
    "box",
    "boxes_in",
    "changed",
    "full_box",
    "hdr_boxes",
    "is_film",
    "stereo_boxes",
    "top_boxes",
    "with_boxes",
]
