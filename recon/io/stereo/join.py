"""Segments and all else of the source -> the finished film, without coding anything again.

Carried over: sound, subtitles, chapters, attachments, covers, further video, data, titles, languages, dispositions and
the container's own words. What the new container cannot hold is left out and said; text subtitles are rewritten.
"""

import heapq
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
from av.codec.context import CodecContext
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from recon.errors import OptionError, VideoError
from recon.files import whole_file
from recon.io.clip import Clip, opened
from recon.io.stereo.boxes import HALF_SPHERE, View, bodies, hdr_boxes, stereo_boxes, top_boxes, with_boxes
from recon.io.stereo.ebml import ROOM, set_display_size, set_half_sphere, set_stereo_mode
from recon.io.stereo.encode import FIRST_PTS
from recon.io.stereo.hdr import Hdr10
from recon.io.stereo.layout import stereo_mode_of
from recon.io.stereo.subtitles import HEADER, TEXT_CODECS, mov_text, plain_text
from recon.types import Colours, Layout

if TYPE_CHECKING:
    _Packet = av.Packet[Any]
else:
    _Packet = av.Packet  # generic in the stubs alone

_LOG = logging.getLogger(__name__)

_MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
_ONE = Fraction(1)
_MILLISECOND = Fraction(1, 1000)
_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png"), "bmp": ("cover.bmp", "image/bmp")}
_STALE = ("BPS", "DURATION", "NUMBER_OF_FRAMES", "NUMBER_OF_BYTES", "_STATISTICS")
"""Tags of a stream in Matroska that are counted from its packets."""
_OF_CONTAINER = ("major_brand", "minor_version", "compatible_brands", "encoder")
_OF_CODING = ("encoder", "vendor_id", "rotate", "stereo_mode", "alpha_mode")

Edit = Callable[[_Packet], bytes | None]
"""What becomes of a packet's content; None: the packet is left out."""


@dataclass(frozen=True, slots=True)
class Film:
    """What the segments are part of."""

    clip: Clip
    """The source."""
    layout: Layout | None
    """None: the result is no 3D."""
    hdr: Hdr10
    view: View | None = None
    start: float = 0.0
    """Seconds from the first frame of the source at which the segments begin."""
    end: float | None = None
    """Seconds from the first frame of the source at which they end; None: with the source."""
    colours: Colours = "red-cyan"
    """Of an anaglyph."""

    @property
    def stereo_mode(self) -> str | None:
        """FFmpeg's name of Matroska's StereoMode; None where there is none."""
        return None if self.layout is None else stereo_mode_of(self.layout, self.colours)


@dataclass(frozen=True, slots=True)
class _Route:
    """Where the packets of a stream of the source go."""

    stream: Stream
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class _Window:
    """Which part of the source's time goes into the result, in seconds of the source's clock."""

    start: Fraction | None
    """None: all from the beginning."""
    end: Fraction | None
    origin: Fraction = Fraction(0)
    """Where the source's clock begins, if that is after 0."""

    @property
    def shift(self) -> Fraction:
        """The time of the source that is 0 in the result."""
        return self.origin if self.start is None else self.start


def join(segments: Sequence[Path], film: Film, target: Path) -> tuple[str, ...]:
    """Write the film; it appears whole or not at all.

    Args:
        segments: written by ``SegmentWriter`` with one ``Encoding``, in the order of time.
        film: what they are part of.
        target: .mp4, .m4v, .mov or .mkv.

    Returns:
        A line for each thing of the source that the container cannot hold.

    Raises:
        OptionError: the name ends in something else.
        VideoError: the segments do not fit together, or the film cannot be written.
    """
    muxer = _MUXERS.get(target.suffix.lower())
    if muxer is None:
        raise OptionError(f"{target}: a film is written as {', '.join(_MUXERS)}: choose one of these suffixes")
    if not segments:
        raise VideoError(f"{target}: no segment was written: there is nothing to join")
    try:
        with whole_file(target) as partial:
            return _joined(segments, film, partial, muxer)
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{target}: cannot be written ({error.strerror}): check the folder and the disk") from error


def _joined(segments: Sequence[Path], film: Film, partial: Path, muxer: str) -> tuple[str, ...]:
    extra = hdr_boxes(film.hdr) + (stereo_boxes(film.layout, film.view) if film.layout else b"")
    if muxer == "matroska":
        notes = _muxed(segments, film, partial, muxer)
        _shape(partial, segments[0], film)
        if film.layout == "vr180":
            set_half_sphere(partial, HALF_SPHERE)
        return notes
    plain = partial.with_name(partial.name + ".plain")
    try:
        notes = _muxed(segments, film, plain, muxer)
        with_boxes(plain, partial, extra)
        return notes
    finally:
        plain.unlink(missing_ok=True)


def _muxed(segments: Sequence[Path], film: Film, path: Path, muxer: str) -> tuple[str, ...]:
    with ExitStack() as stack:
        source = stack.enter_context(opened(film.clip.path))
        template = stack.enter_context(av.open(str(segments[0].absolute())))
        first = template.streams.video[0]
        window = _window(film, template, first, source)
        target = stack.enter_context(
            av.open(str(path.absolute()), "w", format=muxer, options=_options(source, first, muxer))
        )
        plan = _Plan(source, target, muxer, film)
        video = plan.add_film(first)
        plan.add_others()
        target.metadata.update({k: v for k, v in source.metadata.items() if k not in _OF_CONTAINER})
        target.set_chapters(_chapters(source, window))  # type: ignore[arg-type]  # PyAV's own type of a chapter
        target.start_encoding()
        films = _film_packets(segments, video, window, first)
        others = _other_packets(source, plan.routes, window)
        for _, packet in heapq.merge(films, others, key=lambda item: item[0]):
            target.mux(packet)
        return tuple(plan.notes)


def _options(source: InputContainer, first: VideoStream, muxer: str) -> dict[str, str]:
    if muxer == "matroska":
        return {}
    scale = (first.time_base or _MILLISECOND).denominator
    options = {"video_track_timescale": f"{scale}"}
    if any(key.startswith("com.") for key in source.metadata):
        options["movflags"] = "use_metadata_tags"  # what phones write; without it these would be lost
    return options


def _window(film: Film, template: InputContainer, first: VideoStream, source: InputContainer) -> _Window:
    clip = film.clip
    origin = (clip.first_pts or 0) * clip.tick
    begin = int(template.metadata[FIRST_PTS]) * (first.time_base or clip.tick)
    end = None if film.end is None else origin + Fraction(film.end).limit_denominator(1_000_000)
    return _Window(begin if film.start > 0 else None, end, max(Fraction(0), min([begin, *_starts(source, clip)])))


def _starts(source: InputContainer, clip: Clip) -> Iterator[Fraction]:
    """When each other stream of pictures and sound begins, in seconds; 0 where nobody knows."""
    for stream in source.streams:
        moves = stream.type == "audio" or (stream.type == "video" and not stream.disposition & _PICTURES)
        if moves and stream.index != clip.stream:
            yield (stream.start_time or 0) * (stream.time_base or _ONE)


class _Plan:
    """The streams of the result, in the order of the source's."""

    def __init__(self, source: InputContainer, target: OutputContainer, muxer: str, film: Film) -> None:
        self._source = source
        self._target = target
        self._muxer = muxer
        self._film = film
        # Names of QuickTime's handlers mean nothing elsewhere.
        self._foreign = ("handler_name", "vendor_id") if muxer == "matroska" else ("vendor_id",)
        self._covers = [s for s in source.streams if s.type == "video" and s.disposition & _PICTURES]
        self.routes: dict[int, _Route] = {}
        self.notes: list[str] = []

    def add_film(self, first: VideoStream) -> VideoStream:
        """The video that was coded: first, whatever its place was, as players take the first."""
        if not _holds(first, self._muxer):
            raise OptionError(f"{self._muxer} cannot hold {first.codec_context.name}: choose .mp4 or .mkv")
        film, was = self._film, self._source.streams[self._film.clip.stream]
        stream = self._target.add_stream_from_template(first, opaque=True)
        if self._muxer != "matroska" and first.codec_context.codec_tag in ("hvc1", "hev1"):
            stream.codec_context.codec_tag = "hvc1"
        _describe(stream, was, drop=(*_OF_CODING, *_STALE, *self._foreign))
        mode = _mode_to_write(film, first.sample_aspect_ratio or _ONE)
        if self._muxer == "matroska" and mode is not None:
            stream.metadata["stereo_mode"] = mode
        if self._muxer == "matroska" and film.layout == "vr180":
            stream.metadata["title"] = stream.metadata.get("title", "") + ROOM
        return stream

    def add_others(self) -> None:
        """All but the video that was coded."""
        chapters = _chapter_tracks(self._film.clip.path) if "mov" in self._source.format.name else set()
        for stream in self._source.streams:
            if stream.index == self._film.clip.stream or (stream.type == "data" and stream.id in chapters):
                continue
            if stream.type == "attachment" or (stream in self._covers and self._muxer == "matroska"):
                self._attach(stream)
            elif _holds(stream, self._muxer):
                copy = self._target.add_stream_from_template(stream, opaque=True)
                cut = self._film.start > 0 or self._film.end is not None
                _describe(copy, stream, drop=(*self._foreign, *(_STALE if cut else ())))
                self.routes[stream.index] = _Route(copy)
            elif _codec_name(stream) in TEXT_CODECS:
                self._rewrite(stream)
            else:
                self._leave(stream)

    def _attach(self, stream: Stream) -> None:
        if self._muxer != "matroska":
            self._leave(stream)
        elif stream.type == "attachment":
            held = cast(Any, stream)
            data, name = held.data, held.name or "attachment"
            attached = self._target.add_attachment(name, held.mimetype or "application/octet-stream", data or b"")
            attached.metadata.update(stream.metadata)
        elif (picture := _cover(self._film.clip.path, stream.index)) and _codec_name(stream) in _COVERS:
            self._target.add_attachment(*_COVERS[_codec_name(stream)], picture)
        else:
            self._leave(stream)

    def _rewrite(self, stream: Stream) -> None:
        codec = _codec_name(stream)
        into = "subrip" if self._muxer == "matroska" else "mov_text"
        copy = cast(SubtitleStream, self._target.add_stream(into))
        copy.codec_context.subtitle_header = HEADER
        copy.codec_context.time_base = copy.time_base = _MILLISECOND
        _describe(copy, stream, drop=(*self._foreign, *_STALE))

        def edit(packet: _Packet) -> bytes | None:
            text = plain_text(codec, bytes(packet))
            if not text:
                return None
            return text.encode() if into == "subrip" else mov_text(text)

        self.routes[stream.index] = _Route(copy, edit)

    def _leave(self, stream: Stream) -> None:
        if stream.type == "data":
            self.notes.append(f"data stream {stream.index} is left out: FFmpeg cannot write data of its kind")
            return
        instead = "" if self._muxer == "matroska" else "; name the result .mkv to keep it"
        kind = {"matroska": "Matroska", "mp4": "MP4", "mov": "QuickTime"}[self._muxer]
        what = f"{stream.type} stream {stream.index} ({_codec_name(stream) or 'a file'})"
        self.notes.append(f"{what} is left out: {kind} cannot hold it{instead}")


_UNDIVIDED = {"checkerboard_lr": 5, "anaglyph_cyan_red": 10, "anaglyph_green_magenta": 12, None: 0}
"""StereoMode where an eye is as large as the picture, so that FFmpeg does not write how large that is shown."""


def _mode_to_write(film: Film, aspect: Fraction) -> str | None:
    """FFmpeg's name of the StereoMode; one that makes it write a size, to be put right, where it would write none."""
    mode = film.stereo_mode
    return "left_right" if mode in _UNDIVIDED and aspect != 1 else mode


def _shape(path: Path, segment: Path, film: Film) -> None:
    """Put right in Matroska how large one eye is shown; PyAV does not hand the shape of pixels to FFmpeg."""
    with opened(segment) as container:
        stream = container.streams.video[0]
        aspect, size = stream.sample_aspect_ratio or _ONE, (stream.width, stream.height)
    mode, layout = film.stereo_mode, film.layout
    if mode in _UNDIVIDED and aspect == 1:
        return
    width, height = size[0] * max(aspect, _ONE), size[1] / min(aspect, _ONE)
    # Eyes that are squeezed are shown at full size. Woven ones are not: displays want them pixel by pixel.
    if layout in ("full-sbs", "vr180", "cross-eyed", "column-interlaced"):
        width /= 2
    elif layout in ("full-tb", "row-interlaced"):
        height /= 2
    set_display_size(path, round(width), round(height))
    if mode in _UNDIVIDED:
        set_stereo_mode(path, _UNDIVIDED[mode])


def _describe(stream: Stream, was: Stream, *, drop: Sequence[str]) -> None:
    kept = {key: value for key, value in was.metadata.items() if not key.startswith(tuple(drop))}
    stream.metadata.update(kept)
    stream.disposition = was.disposition & ~Disposition.multilayer


def _codec_name(stream: Stream) -> str:
    context = cast(CodecContext | None, stream.codec_context)  # data and attachments have none
    return "" if context is None else context.codec.canonical_name


def _holds(stream: Stream, muxer: str) -> bool:
    """Whether a container takes a stream: its header is tried in memory.

    Data of a kind that FFmpeg has no name for it would write with a broken description.
    """
    if not _codec_name(stream):
        return False
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as scratch:
            scratch.add_stream_from_template(stream, opaque=True)
            scratch.start_encoding()
    except (ValueError, av.FFmpegError):
        return False
    return True


def _cover(path: Path, index: int) -> bytes | None:
    with opened(path) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    return None


def _chapter_tracks(path: Path) -> set[int]:
    """Numbers of the tracks that hold nothing but the names of chapters (QuickTime: a reference of type ``chap``)."""
    with path.open("rb") as file:
        tracks = set()
        for part in top_boxes(file):
            if part.kind == b"moov":
                file.seek(part.body)
                moov = file.read(part.end - part.body)
                for body in bodies(moov, [b"trak", b"tref", b"chap"]):
                    tracks |= {int.from_bytes(body[i : i + 4], "big") for i in range(0, len(body), 4)}
    return tracks


def _chapters(source: InputContainer, window: _Window) -> list[dict[str, object]]:
    chapters = []
    for chapter in source.chapters():
        tick = cast(Fraction, chapter["time_base"])
        start, end = chapter["start"] * tick, chapter["end"] * tick
        if (window.end is not None and start >= window.end) or end <= window.shift:
            continue
        start, end = max(start, window.shift), end if window.end is None else min(end, window.end)
        times = {"start": round((start - window.shift) / tick), "end": round((end - window.shift) / tick)}
        chapters.append({**chapter, **times})
    return chapters


def _film_packets(
    segments: Sequence[Path], stream: VideoStream, window: _Window, first: VideoStream
) -> Iterator[tuple[Fraction, _Packet]]:
    """Packets of all segments on one clock, decoding times growing."""
    latest: int | None = None
    for path in segments:
        with opened(path) as container:
            part = container.streams.video[0]
            tick = part.time_base or _MILLISECOND
            if tick != first.time_base or part.codec_context.extradata != first.codec_context.extradata:
                raise VideoError(f"{path}: was coded with other settings than the first segment: remove it, run again")
            offset = int(container.metadata[FIRST_PTS]) - round(window.shift / tick)
            for packet in container.demux(part):
                if packet.pts is None or packet.dts is None:
                    continue
                packet.pts += offset
                # Where the time between frames varies, the first decoding times of a segment may reach back too far.
                latest = packet.dts + offset if latest is None else max(packet.dts + offset, latest + 1)
                packet.dts = latest
                packet.stream = stream
                yield latest * tick, packet


def _other_packets(
    source: InputContainer, routes: Mapping[int, _Route], window: _Window
) -> Iterator[tuple[Fraction, _Packet]]:
    """Packets of the source that go into the result, on its clock."""
    taken = [source.streams[index] for index in routes]
    if not taken:
        return
    try:
        for packet in source.demux(taken):
            if packet.size and (packet.pts is not None or packet.dts is not None):
                route, kept = routes[packet.stream_index], _cut(packet, window)
                if kept is not None and (kept := _edited(kept, route)) is not None:
                    stamp = packet.dts if packet.dts is not None else packet.pts
                    kept.stream = route.stream
                    yield (stamp or 0) * (packet.time_base or _ONE), kept
    except av.FFmpegError as error:
        _LOG.warning("%s: sound and subtitles break off (%s): what comes before is kept", source.name, error.strerror)


def _cut(packet: _Packet, window: _Window) -> _Packet | None:
    """The packet on the result's clock; None where it lies outside. A subtitle that began before is shown from 0 on."""
    tick, stamp = packet.time_base or _ONE, packet.pts if packet.pts is not None else packet.dts or 0
    time = stamp * tick
    if window.end is not None and time >= window.end:
        return None
    late = window.shift - time
    if late > 0 and packet.stream.type == "subtitle":
        if (packet.duration or 0) * tick <= late:
            return None
        packet.duration = (packet.duration or 0) - round(late / tick)
        packet.pts = packet.dts = stamp + round(late / tick)
    elif late > 0 and window.start is not None and not _is_picture(packet):
        return None
    shift = round(window.shift / tick)
    packet.pts = None if packet.pts is None else packet.pts - shift
    packet.dts = None if packet.dts is None else packet.dts - shift
    return packet


def _is_picture(packet: _Packet) -> bool:
    return packet.stream.type == "video" and bool(packet.stream.disposition & _PICTURES)


def _edited(packet: _Packet, route: _Route) -> _Packet | None:
    if route.edit is None:
        return packet
    data = route.edit(packet)
    if data is None:
        return None
    edited = av.Packet(data)
    edited.pts, edited.dts, edited.duration = packet.pts, packet.pts, packet.duration
    edited.time_base, edited.is_keyframe = packet.time_base, True
    return edited


__all__ = ["Film", "join"]
