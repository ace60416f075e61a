"""All that says of a video file "this is 3D": read from its own bytes, from its name, and seen in its pictures."""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.video.stream import VideoStream
from jaxtyping import Float32, UInt8, UInt16

from recon.io.clip import opened
from recon.io.stereo.boxes import bodies, boxes_in, is_film, top_boxes
from recon.io.stereo.ebml import arrangement_of_number, projection, stereo_mode
from recon.io.stereo.frames import side_data
from recon.io.stereo.layout import Arrangement, arrangement_of, layout_from
from recon.io.stereo.names import layout_in_name
from recon.io.stereo.sei import FRAME_PACKING, Framing, NalCodec, arrangement_of_packing
from recon.types import HDMI_EYES, Layout, Samples

_Shown = UInt8[np.ndarray, "shown_h shown_w 3"] | UInt16[np.ndarray, "shown_h shown_w 3"]
_MULTIVIEW = "MP4 MV-HEVC"
_BOTH_EYES = 0x03
_KEY_PACKETS = 1
_VISUAL = 78
_STEREO_MODE_3D = {1: Arrangement("over"), 2: Arrangement("side"), 4: Arrangement("side", right_first=True)}
_NAL_CODECS: dict[str, NalCodec] = {"h264": "h264", "hevc": "hevc"}
_OTHER_MODES = {
    0: "one eye",
    10: "anaglyph of cyan and red",
    12: "anaglyph of green and magenta",
    13: "eyes in turn, left eye first",
    14: "eyes in turn, right eye first",
}
"""StereoModes without an arrangement (RFC 9559 table 13)."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that speaks of 3D."""

    source: str
    """Where it stands: "Matroska StereoMode", "MP4 st3d", "MP4 vexu", "HEVC frame packing", "file name", ..."""
    arrangement: Arrangement | None
    """None where it says something else: a projection, a field of view, an anaglyph."""
    text: str
    """What it says, in words or numbers."""


@dataclass(frozen=True, slots=True)
class Signals:
    """All of a file."""

    found: tuple[Signal, ...]
    layout: Layout | None
    """What most of those inside the file say, and the name where they are silent; None: none of them speaks of it."""
    pixel_aspect: float = 1.0
    """Width over height of a pixel."""
    multiview: bool = False
    """Each eye is a view of its own in one stream (MV-HEVC): only the first one can be decoded here."""

    @property
    def agree(self) -> bool:
        """Whether all that speak of an arrangement speak of the same."""
        spoken = [s.arrangement for s in self.found if s.arrangement is not None]
        return len({(said.packing, said.right_first) for said in spoken}) <= 1


def signals_of(path: Path) -> Signals:
    """Read them all.

    Raises:
        VideoError: the file cannot be read as a video.
        FormatError: its boxes, elements or packets are damaged.
    """
    with opened(path) as container:
        stream = container.streams.video[0] if container.streams.video else None
        if stream is None:
            return Signals((), None)
        pixel_aspect, shape = float(stream.sample_aspect_ratio or 1), stream.width / stream.height
        found = [*_of_container(path, container), *_of_packets(container, stream)]
    by_name = layout_in_name(path)
    if by_name is not None:
        found.append(Signal("file name", arrangement_of(by_name), by_name))
    layout = _agreed(found, by_name, shape, pixel_aspect)
    return Signals(tuple(found), layout, pixel_aspect, any(signal.source == _MULTIVIEW for signal in found))


def _agreed(found: Sequence[Signal], by_name: Layout | None, shape: float, pixel_aspect: float) -> Layout | None:
    said = Counter(s.arrangement for s in found if s.arrangement is not None and s.source != "file name")
    if not said:
        return by_name
    most = said.most_common(1)[0][0]
    sphere = any(arrangement.half_sphere for arrangement in said)
    named = arrangement_of(by_name) if by_name else None
    if by_name is not None and named is not None and named.packing == most.packing and by_name.startswith("half"):
        return by_name  # names say that eyes are squeezed
    return layout_from(Arrangement(most.packing, most.right_first, sphere), shape * pixel_aspect, pixel_aspect)


def _of_container(path: Path, container: InputContainer) -> Iterator[Signal]:
    if "matroska" in container.format.name:
        yield from _of_matroska(path)
    elif "mov" in container.format.name:
        for trak in islice(_film_traks(path), 1):
            for stsd in bodies(trak, [b"mdia", b"minf", b"stbl", b"stsd"]):
                for entry in boxes_in(stsd, 8):
                    yield from _of_entry(stsd[entry.body + _VISUAL : entry.end])


def _of_matroska(path: Path) -> Iterator[Signal]:
    mode, sphere = stereo_mode(path), projection(path)
    if mode is not None:
        said, sides = arrangement_of_number(mode), sum(sphere[1][2:]) if sphere else 0.0
        if said is not None and 0.4 < sides < 0.6:
            said = replace(said, half_sphere=True)
        yield Signal("Matroska StereoMode", said, _OTHER_MODES.get(mode, f"{mode}"))
    if sphere is not None:
        kind, cut = sphere
        name = {0: "rectangular", 1: "equirectangular", 2: "cubemap", 3: "mesh"}.get(kind, f"{kind}")
        yield Signal("Matroska Projection", None, f"{name}{_told_cut(cut)}")


def _told_cut(edges: Sequence[float]) -> str:
    return ", cut by " + ", ".join(f"{edge:.3f}" for edge in edges) if edges else ""


def _film_traks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        for part in top_boxes(file):
            if part.kind == b"moov":
                file.seek(part.body)
                yield from (trak for trak in bodies(file.read(part.end - part.body), [b"trak"]) if is_film(trak))


def _of_entry(data: bytes) -> Iterator[Signal]:
    sphere = any(body[4:8] == b"hequ" for body in bodies(data, [b"vexu", b"proj", b"prji"]))
    for body in bodies(data, [b"st3d"]):
        arrangement = _STEREO_MODE_3D.get(body[4])
        yield Signal("MP4 st3d", arrangement, f"{body[4]}")
    for body in bodies(data, [b"sv3d", b"proj", b"equi"]):
        edges = struct.unpack_from(">4I", body, 4)
        yield Signal("MP4 sv3d", None, f"equirectangular{_told_cut([edge / 2**32 for edge in edges])}")
    for body in bodies(data, [b"vexu", b"pack", b"pkin"]):
        flags = next((stri[4] for stri in bodies(data, [b"vexu", b"eyes", b"stri"])), 0)
        packing = {b"side": "side", b"over": "over"}.get(body[4:8])
        said = Arrangement(packing, bool(flags & 8), sphere) if packing else None  # type: ignore[arg-type]  # literals
        yield Signal("MP4 vexu", said, f"{body[4:8].decode('latin-1')}, eyes {flags:#04x}")
    if _has_views(data):
        yield Signal(_MULTIVIEW, None, "two views in one stream: only the first eye can be decoded here")
    for body in bodies(data, [b"hfov"]):
        yield Signal("MP4 hfov", None, f"{int.from_bytes(body[:4], 'big') / 1000:g} degrees")


def _has_views(data: bytes) -> bool:
    """Whether there are two eyes, each with its own view: not in one picture, or with a second layer's parameters."""
    eyes = next((stri[4] for stri in bodies(data, [b"vexu", b"eyes", b"stri"])), 0)
    together = any(bodies(data, [b"vexu", b"pack", b"pkin"])) and not any(bodies(data, [b"lhvC"]))
    return eyes & _BOTH_EYES == _BOTH_EYES and not together


def _of_packets(container: InputContainer, stream: VideoStream) -> Iterator[Signal]:
    codec = _NAL_CODECS.get(stream.codec_context.codec.canonical_name)
    if codec is None:
        return
    framing = Framing.of(codec, stream.codec_context.extradata)
    keys = (packet for packet in container.demux(stream) if packet.size and packet.is_keyframe)
    for packet in islice(keys, _KEY_PACKETS):
        for message in framing.messages(bytes(packet)):
            if message.kind == FRAME_PACKING:
                name = {"h264": "H.264", "hevc": "HEVC"}[codec]
                yield Signal(f"{name} frame packing", arrangement_of_packing(message.payload), message.payload.hex())


_SIDE_BY_SIDE = {1: Arrangement("side"), 2: Arrangement("over"), 4: Arrangement("checker")}


def as_ffmpeg_reads(path: Path) -> Signal | None:
    """What FFmpeg makes of all signals together, which is what players that build on it show; None: no 3D."""
    with opened(path) as container:
        for frame in container.decode(video=0):
            try:
                data = side_data(frame, Type.STEREO3D)
            except ValueError:
                return Signal("FFmpeg", None, "not known: its frames say more than can be read here (several views)")
            if data is None:
                return None
            kind, flags = struct.unpack_from("=2i", data)
            kinds = {**_SIDE_BY_SIDE, 6: Arrangement("rows"), 7: Arrangement("columns"), 5: Arrangement("side")}
            said = kinds.get(kind)
            if said is not None and flags & 1:
                said = Arrangement(said.packing, right_first=True)
            return Signal("FFmpeg", said, f"type {kind}, flags {flags}")
    return None


_SMALL = 96
"""Height of the pictures in which eyes are compared."""
_ALIKE = 0.7
_MARGIN = 0.15
_REACH = 0.08
_LEAST_DETAIL = 6.0
_BLOCK = 24


def looks_packed(pictures: Sequence[Samples], pixel_aspect: float = 1.0) -> Layout | None:
    """Whether pictures hold two eyes, judged by what is seen: halves that match but for small shifts sideways.

    Two eyes see the same thing at (nearly) the same height, shifted by a few percent, by different amounts at different
    depths. A picture whose halves are merely symmetric matches mirrored, not shifted; a pattern that repeats has no
    single shift. All pictures must agree; those without detail do not count.

    Args:
        pictures: some of different times, with square pixels.
        pixel_aspect: width over height of a pixel as it was coded (``Signals.pixel_aspect``).

    Returns:
        "full-sbs", "half-sbs", "full-tb", "half-tb" or "hdmi-frame-packing"; None where the pictures are of one eye, or
        it cannot be told.
    """
    votes = [vote for vote in (_vote(_without_gap(picture)) for picture in pictures) if vote is not None]
    for packing in ("side", "over"):
        if len(votes) >= max(1, len(pictures) // 2) and all(vote == packing for vote in votes):
            height, width = pictures[0].shape[:2]
            if packing == "over" and len(_without_gap(pictures[0])) < height:
                return "hdmi-frame-packing"
            return layout_from(Arrangement(packing), width / height, pixel_aspect)
    return None


def _without_gap(picture: Samples) -> _Shown:
    """The eyes alone, where the size is that of HDMI's frame packing (with a row more if a codec asked for it)."""
    height, width = picture.shape[:2]
    for (across, down), gap in HDMI_EYES.items():
        if width == across and height - 2 * down - gap in (0, 1):
            return np.concatenate([picture[:down], picture[down + gap : 2 * down + gap]])
    return picture


def _vote(picture: Samples) -> str | None:
    """What one picture says: "side", "over" or "none"; None where it has too little to see."""
    grey = _grey(picture)
    height, width = grey.shape
    scores = {
        "side": _agreement(grey[:, : width // 2], grey[:, width - width // 2 :]),
        "over": _agreement(grey[: height // 2], grey[height - height // 2 :]),
    }
    known = {name: score for name, score in scores.items() if score is not None}
    if not known:
        return None
    name, score = max(known.items(), key=lambda item: item[1])
    return name if score >= _ALIKE else "none"


def _grey(picture: Samples) -> Float32[np.ndarray, "small_h small_w"]:
    scale = 255 if picture.dtype == np.uint8 else 65535
    grey = picture.astype(np.float32).mean(axis=2) * (255 / scale)
    size = max(64, round(_SMALL * 2 * picture.shape[1] / picture.shape[0])), _SMALL * 2
    resized: Float32[np.ndarray, "small_h small_w"] = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return resized


def _agreement(left: Float32[np.ndarray, "h w"], right: Float32[np.ndarray, "h w"]) -> float | None:
    """How much of one half is found in the other at nearly the same place.

    The median over blocks of their best correlation; 0 where blocks of another height or far to the side match nearly
    as well (bars, gradients, patterns that repeat). Blocks without detail from left to right do not count; None where
    fewer than a fifth have some.
    """
    height, width = left.shape
    reach, rows = max(2, round(_REACH * width)), height // _BLOCK
    starts = range(reach, width - _BLOCK - reach + 1, _BLOCK)
    same, other = [], []
    for row in range(rows):
        for start in starts:
            piece = _block(left, row)[:, start : start + _BLOCK]
            if piece.std(axis=1).mean() >= _LEAST_DETAIL:
                here, below = (_matches(_block(right, place), piece) for place in (row, (row + 1) % rows))
                near = np.abs(np.arange(len(here)) - start) <= reach
                far = np.abs(np.arange(len(here)) - start) > reach + _BLOCK // 2
                same.append(float(here[near].max()))
                other.append(float(max(below[near].max(), here[far].max(initial=-1))))
    if len(same) < max(4, rows * len(starts) // 5):
        return None
    score = float(np.median(same))
    return score if score - float(np.median(other)) >= _MARGIN else 0.0


def _block(half: Float32[np.ndarray, "h w"], row: int) -> Float32[np.ndarray, "b w"]:
    return half[row * _BLOCK : (row + 1) * _BLOCK]


def _matches(strip: Float32[np.ndarray, "b s"], piece: Float32[np.ndarray, "b p"]) -> Float32[np.ndarray, " n"]:
    """Correlation at every place of the strip."""
    row: Float32[np.ndarray, " n"] = cv2.matchTemplate(strip, piece, cv2.TM_CCOEFF_NORMED)[0]
    return row


__all__ = ["Signal", "Signals", "as_ffmpeg_reads", "looks_packed", "signals_of"]
