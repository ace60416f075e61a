"""Pictures with two eyes -> one segment of video: a closed group of pictures in a small file of its own.

Segments are MP4 whose clock ticks as the source's does, so that the time of every frame stays exact (Matroska would
round it to milliseconds). A segment's own times begin at 0; that of its first frame in the film stands in its metadata.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, cast

import av
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from recon.errors import OptionError, VideoError
from recon.files import whole_file
from recon.io.stereo.frames import Look, frame_from_samples, grown
from recon.io.stereo.hdr import svt_options
from recon.io.stereo.layout import arrangement_of
from recon.io.stereo.sei import Framing, Message, NalCodec, frame_packing, hdr10_messages, sei_nal
from recon.types import Layout, Samples

if TYPE_CHECKING:
    _Packet = av.Packet[Any]
else:
    _Packet = av.Packet  # generic in the stubs alone

FIRST_PTS = "recon_first_pts"
"""Key of a segment's metadata: the time of its first frame in the film, in ticks of its own clock."""

ENCODERS = (
    "libx264",
    "libx265",
    "libsvtav1",
    *(f"{codec}_{maker}" for maker in ("nvenc", "qsv", "videotoolbox", "amf", "vaapi") for codec in ("h264", "hevc")),
    "av1_nvenc",
    "av1_qsv",
    "av1_amf",
)
"""Those that recon knows how to ask for a quality."""

_NAL_CODECS: dict[str, NalCodec] = {"libx264": "h264", "h264": "h264", "libx265": "hevc", "hevc": "hevc"}
_MOST_PIXELS = 35_651_584
_LONGEST = 16384
"""H.264 level 6.2 (table A-1), H.265 level 6.2 (table A.8) and AV1 level 6.3 all end at about this size."""
_SIDES = {"h264_nvenc": 4096, "h264_qsv": 4096, "h264_amf": 4096, "h264_videotoolbox": 4096}
_HARDWARE_SIDE = 8192
_COMMON = (4096, 2304)
"""H.264 of level 5.2: what the decoders of phones, televisions and graphics cards end at."""
_GOP_SECONDS = 5
_PROGRESSIVE = 1
"""Of FFmpeg's orders of fields: x265 and AV1 leave it open."""
_NO_OPTIONS: Mapping[str, str] = MappingProxyType({})


_X26_PRESETS = (
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
_PRESETS: Mapping[str, tuple[str, ...]] = {"libx264": _X26_PRESETS, "libx265": _X26_PRESETS}
"""Of those that would speak for themselves on the terminal."""
_HARDWARE = {
    "nvenc": "an NVIDIA card",
    "qsv": "an Intel processor with graphics",
    "amf": "an AMD card",
    "vaapi": "a card with VA-API",
    "videotoolbox": "a Mac",
}

_FORMATS: Mapping[str, Mapping[bool, tuple[str, ...]]] = {
    "420": {False: ("yuv420p", "nv12"), True: ("yuv420p10le", "p010le")},
    "444": {False: ("yuv444p",), True: ("yuv444p10le",)},
}
"""Pixel formats, by chroma and by whether there are more than 8 bits."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How video is coded."""

    encoder: str = "auto"
    """One of ``ENCODERS``; "auto" is H.264 for 8 bits of common sizes, else HEVC."""
    quality: float | None = None
    """CRF, or what stands for it in a hardware encoder; None: the encoder's usual one."""
    preset: str | None = None
    """Of the encoder; None: its usual one."""
    options: Mapping[str, str] = field(default_factory=lambda: _NO_OPTIONS)
    """Further options of the encoder."""
    chroma: Literal["420", "444"] = "420"
    """Colours of half the height and width, or of the full size."""


@dataclass(frozen=True, slots=True)
class Coder:
    """An encoder that is there and fits the pictures."""

    name: str
    pixel_format: str
    notes: tuple[str, ...]

    @property
    def nal_codec(self) -> NalCodec | None:
        """None for AV1."""
        return _NAL_CODECS.get(self.name) or _NAL_CODECS.get(self.name.split("_")[0])


def coder_for(encoding: Encoding, look: Look, width: int, height: int) -> Coder:
    """Choose the encoder for pictures of a size.

    Raises:
        OptionError: FFmpeg is built without it, it cannot code so many bits, or the pictures are too large for it.
    """
    common = width <= _COMMON[0] and height <= _COMMON[1]
    name = encoding.encoder
    if name == "auto":
        name = "libx264" if common and not look.deep else "libx265"
    codec = _codec(name)
    _check_size(name, width, height)
    wanted = _FORMATS[encoding.chroma][look.deep]
    there = {known.name for known in codec.video_formats or ()}
    formats = [known for known in wanted if known in there]
    if not formats or (name.startswith("h264_") and look.deep):
        full = " with --chroma 444" if encoding.chroma == "444" else ""
        raise OptionError(f"{name} does not code {look.bits} bits{full}: choose --encoder libx265")
    h264 = name == "libx264" or name.startswith("h264")
    size = grown(height, width, formats[0])
    notes = {
        f"{width} x {height} is coded as {size[1]} x {size[0]}: only --chroma 444 keeps odd sizes": size
        != (height, width),
        "colours of full size: televisions, phones and most hardware cannot play them": encoding.chroma == "444",
        f"H.264 of {width} x {height}: many players end at {_COMMON[0]} x {_COMMON[1]}": h264 and not common,
        "H.264 of 10 bits: most televisions and phones cannot play it": h264 and look.deep,
        f"{look.bits} bits are coded as 10": look.bits > 10,
        "the film is interlaced: the two fields of each frame are made one picture (bwdif)": look.interlaced,
    }
    return Coder(name, formats[0], tuple(note for note, holds in notes.items() if holds))


def require_encoder(encoding: Encoding, look: Look, width: int, height: int) -> Coder:
    """Choose the encoder as ``coder_for`` does, and start it once, so that nothing is done in vain before.

    Raises:
        OptionError: as of ``coder_for``; or its hardware is not there, or it does not know what is asked of it.
    """
    coder = coder_for(encoding, look, width, height)
    _start(_scratch(coder, look, (height, width, 3)), coder, encoding, look)
    return coder


def _scratch(coder: Coder, look: Look, shape: tuple[int, int, int]) -> VideoCodecContext:
    context = cast(VideoCodecContext, av.CodecContext.create(coder.name, "w"))
    context.framerate = look.rate
    _describe(context, look, shape, coder)
    return context


def _start(context: VideoCodecContext, coder: Coder, encoding: Encoding, look: Look) -> None:
    """Open an encoder.

    Raises:
        OptionError: it does not start; the line names the option that it does not like.
    """
    presets = _PRESETS.get(coder.name)
    if presets and encoding.preset is not None and encoding.preset not in presets:
        raise OptionError(f"--preset {encoding.preset}: {coder.name} knows {', '.join(presets)}")
    context.options = _options(coder, encoding, look)
    try:
        context.open(strict=False)
    except av.FFmpegError as error:
        shape = (context.height, context.width, 3)
        raise OptionError(_why_not(coder, encoding, look, shape) or f"{coder.name}: {error.strerror}") from error


def _why_not(coder: Coder, encoding: Encoding, look: Look, shape: tuple[int, int, int]) -> str | None:
    """Which of the options it is, by leaving them out: first all, then each."""

    def starts(less: Encoding) -> bool:
        context = _scratch(coder, look, shape)
        context.options = _options(coder, less, look)
        try:
            context.open()
        except av.FFmpegError:
            return False
        return True

    plain = replace(encoding, preset=None, quality=None, options=_NO_OPTIONS)
    if not starts(plain):
        maker = coder.name.rpartition("_")[2]
        needs = _HARDWARE.get(maker)
        told = f": is there {needs}, and its driver?" if needs else " at this size: try another --encoder"
        return f"{coder.name} is built in, but does not start here{told}"
    if encoding.preset is not None and not starts(replace(plain, preset=encoding.preset)):
        return f"--preset {encoding.preset}: {coder.name} does not know it"
    if encoding.quality is not None and not starts(replace(plain, quality=encoding.quality)):
        return f"--quality {encoding.quality:g}: {coder.name} does not go so far"
    return None


def _codec(name: str) -> av.Codec:
    try:
        return av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError as error:
        there = ", ".join(known for known in ENCODERS if known in av.codecs_available)
        known = f"choose one of {there} (those with a _ only where their hardware is)"
        raise OptionError(f"FFmpeg is built without the encoder {name!r} here: {known}") from error


def _check_size(name: str, width: int, height: int) -> None:
    side = _SIDES.get(name, _HARDWARE_SIDE if "_" in name else _LONGEST)
    size = f"{width} x {height}"
    if max(width, height) > side:
        raise OptionError(
            f"{name} codes at most {side} pixels a side, not {size}: use --per-eye-max, a half layout or libx265"
        )
    if width * height > _MOST_PIXELS:
        raise OptionError(
            f"{size} is more than the {_MOST_PIXELS} pixels of the highest level: use --per-eye-max or a half layout"
        )


class SegmentWriter:
    """Writes one segment; a context manager. The file appears when its block ends well.

    Args:
        path: the file to write, whatever its name ends in.
        look: of the source: its tags are the segment's.
        size: (width, height) of the pictures to come; odd ones grow by one for 4:2:0.
        coder: from ``coder_for``.
        encoding: how it is coded.
        layout: of the pictures to come; None: they are no 3D.
    """

    def __init__(
        self,
        path: Path,
        look: Look,
        size: tuple[int, int],
        coder: Coder,
        encoding: Encoding,
        layout: Layout | None = None,
    ) -> None:
        self._path = path
        self._look = look
        self._shape = (size[1], size[0], 3)
        self._coder = coder
        self._encoding = encoding
        self._messages = _messages(coder, look, layout)
        self._stack = ExitStack()
        self._container: OutputContainer | None = None
        self._durations: dict[int, int] = {}
        self._waiting: deque[int] = deque()
        self._first = self._latest = 0

    def __enter__(self) -> "SegmentWriter":  # noqa: PYI034 - beartype knows Self in classes only
        with ExitStack() as stack:
            self._partial = stack.enter_context(whole_file(self._path))
            self._stack = stack.pop_all()
        return self

    def write(self, samples: Samples, pts: int, duration: int = 0) -> None:
        """Append a picture that is shown at ``pts`` ticks of the source's clock, for ``duration`` ticks (0: unknown).

        Raises:
            OptionError: the encoder does not start.
            VideoError: it cannot be coded or written.
            ValueError: the picture has another size, or its time does not come after the one before.
        """
        if samples.shape != self._shape:
            raise ValueError(f"a picture of {self._shape} is wanted, not of {samples.shape}")
        if self._container is None:
            self._begin(pts)
        elif pts <= self._latest:
            raise ValueError(f"times increase: {pts} does not come after {self._latest}")
        self._latest = pts
        ticks = (pts - self._first) * self._look.tick.numerator
        frame = frame_from_samples(samples, self._look, self._coder.pixel_format)
        frame.pts, frame.time_base = ticks, Fraction(1, self._look.tick.denominator)
        self._durations[ticks] = duration * self._look.tick.numerator
        self._waiting.append(ticks)
        self._encode(frame)

    def _begin(self, pts: int) -> None:
        scale = self._look.tick.denominator
        options = {"video_track_timescale": f"{scale}", "movflags": "use_metadata_tags"}
        self._first = pts
        try:
            container = av.open(str(self._partial.absolute()), "w", format="mp4", options=options)
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._path}: cannot be written ({error.strerror}): check the folder") from error
        # When a packet is decoded: the times of the frames in order, late by the frames that the encoder looks ahead.
        # Encoders say so themselves, but x265 wrongly in segments of few frames.
        step = round(1 / (self._look.rate * Fraction(1, scale)))
        self._waiting.extend(-step * late for late in range(_delay(self._coder), 0, -1))
        self._container = self._stack.enter_context(container)
        container.metadata[FIRST_PTS] = f"{pts * self._look.tick.numerator}"
        self._stream = _add_stream(container, self._look, self._shape, self._coder)
        _start(self._stream.codec_context, self._coder, self._encoding, self._look)

    def _encode(self, frame: av.VideoFrame | None) -> None:
        if self._container is None:
            raise VideoError(f"{self._path}: no picture was written: there is nothing to save")
        try:
            packets = self._stream.encode(frame)
        except av.FFmpegError as error:
            raise VideoError(f"{self._coder.name} stops in the middle of the film ({error.strerror})") from error
        with self._writing():
            for packet in packets:
                packet.duration = self._durations.pop(packet.pts or 0, 0)
                packet.dts = self._waiting.popleft()
                self._container.mux(self._told(packet))

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            raise VideoError(f"{self._path.parent}: cannot be written ({error.strerror}): is the disk full?") from error

    def _told(self, packet: _Packet) -> _Packet:
        """With the messages, where it is a key frame."""
        codec = self._coder.nal_codec
        if codec is None or not self._messages or not packet.is_keyframe:
            return packet
        framing = Framing.of(codec, self._stream.codec_context.extradata)
        told = av.Packet(framing.inserted(bytes(packet), sei_nal(self._messages, codec)))
        told.pts, told.dts, told.duration = packet.pts, packet.dts, packet.duration
        told.time_base, told.stream, told.is_keyframe = packet.time_base, packet.stream, True
        return told

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._writing(), self._stack:
            self._encode(None)


def _delay(coder: Coder) -> int:
    """Frames by which an encoder may change the order: AV1 hides its own, for all others pyramids of 2 are usual."""
    return 0 if coder.nal_codec is None else 2


def _messages(coder: Coder, look: Look, layout: Layout | None) -> tuple[Message, ...]:
    codec, arrangement = coder.nal_codec, arrangement_of(layout) if layout else None
    if codec is None:
        return ()
    packing = arrangement and frame_packing(arrangement, codec, half=bool(layout and layout.startswith("half")))
    return (*((packing,) if packing else ()), *hdr10_messages(look.hdr))


def _add_stream(container: OutputContainer, look: Look, shape: tuple[int, int, int], coder: Coder) -> VideoStream:
    stream = cast(VideoStream, container.add_stream(coder.name, rate=look.rate))
    _describe(stream.codec_context, look, shape, coder)
    return stream


def _describe(context: VideoCodecContext, look: Look, shape: tuple[int, int, int], coder: Coder) -> None:
    context.height, context.width = grown(shape[0], shape[1], coder.pixel_format)
    context.pix_fmt = coder.pixel_format
    context.time_base = Fraction(1, look.tick.denominator)
    context.sample_aspect_ratio = look.pixel_aspect
    context.field_order = _PROGRESSIVE
    if coder.nal_codec == "hevc":
        context.codec_tag = "hvc1"  # with parameter sets in the header alone: what Apple plays
    context.color_range = ColorRange.JPEG if look.full_range else ColorRange.MPEG
    context.colorspace, context.color_primaries, context.color_trc = look.matrix, look.primaries, look.transfer


def _options(coder: Coder, encoding: Encoding, look: Look) -> dict[str, str]:
    name, quality = coder.name, encoding.quality
    options = {"g": f"{max(1, math.ceil(_GOP_SECONDS * look.rate))}", "chroma_sample_location": look.chroma}
    if encoding.preset is not None:
        options["preset"] = encoding.preset
    if quality is not None:
        options |= _quality(name, quality)
    if name == "libx265":
        options["x265-params"] = "log-level=error:open-gop=0"
    if name == "libsvtav1" and look.hdr != type(look.hdr)():
        options["svtav1-params"] = ":".join(f"{key}={value}" for key, value in svt_options(look.hdr).items())
    return _joined(options, encoding.options)


def _joined(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """Theirs stand; lists of parameters are put together, theirs last."""
    lists = {key: f"{ours[key]}:{theirs[key]}" for key in ours.keys() & theirs.keys() if key.endswith("-params")}
    return {**ours, **theirs, **lists}


def _quality(name: str, quality: float) -> dict[str, str]:
    number = f"{quality:g}"
    if name.startswith("lib"):
        return {"crf": number}
    if name.endswith("nvenc"):
        return {"rc": "vbr", "cq": number, "b": "0"}
    if name.endswith("qsv"):
        return {"global_quality": number}
    if name.endswith("amf"):
        return {"rc": "cqp", "qp_i": number, "qp_p": number, "qp_b": number}
    if name.endswith("vaapi"):
        return {"rc_mode": "CQP", "qp": number}
    if name.endswith("videotoolbox"):
        return {"flags": "+qscale", "global_quality": f"{round(quality * 118)}"}  # FF_QP2LAMBDA
    raise OptionError(
        f"recon does not know how {name} is asked for a quality: leave out --crf or choose another encoder"
    )


__all__ = ["ENCODERS", "FIRST_PTS", "Coder", "Encoding", "SegmentWriter", "coder_for", "require_encoder"]
