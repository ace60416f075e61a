"""Frames as a video codes them: its bits, its range of light, its pixels' shape; only matrix and range are undone.

Pictures come in display orientation (the display matrix is baked in), at the coded size (pixels that are not square
stay so), as R'G'B' of 8 bits, or of 16 where the video has more than 8. Nothing is tone-mapped. ``Look`` holds what is
needed to code them again so that a display shows the same.
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData, Type
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from jaxtyping import UInt8, UInt16

from recon.errors import VideoError
from recon.io.clip import Clip, Turn, opened
from recon.io.color import ACCURATE, Coding, coding_of
from recon.io.stereo.chroma import FULL, ChromaPlace, chroma_place, plane_of, with_coded_chroma, with_full_chroma
from recon.io.stereo.fields import deinterlaced
from recon.io.stereo.hdr import Hdr10, light_from_ffmpeg, mastering_from_ffmpeg
from recon.io.video import VideoSource
from recon.settings import SamplingSettings
from recon.types import Samples

_LOG = logging.getLogger(__name__)

_Shown = UInt8[np.ndarray, "shown_h shown_w 3"] | UInt16[np.ndarray, "shown_h shown_w 3"]
_DEEP_WHITE = 65535
_WHITE_WRITTEN = 65280
"""What libswscale takes for white in 16 bits."""
_CODES = {
    Colorspace.ITU709: 1,
    Colorspace.FCC: 4,
    Colorspace.ITU601: 6,
    Colorspace.SMPTE240M: 7,
    Colorspace.BT2020: 9,
}
"""Of H.273 table 4, by the name that libswscale has for a matrix."""


@dataclass(frozen=True, slots=True)
class Look:
    """All that must be said of a video's pictures so that they are shown as they are meant."""

    width: int
    """Pixels as coded, in display orientation."""
    height: int
    """Pixels as coded, in display orientation."""
    pixel_aspect: Fraction
    """Width over height of a pixel, in display orientation."""
    bits: int
    """Of each component, as coded."""
    full_range: bool
    matrix: int
    """H.273 table 4; never unspecified: where the video does not say, what players assume for its size."""
    primaries: int
    """H.273 table 2; 2 is unspecified."""
    transfer: int
    """H.273 table 3; 2 is unspecified."""
    hdr: Hdr10
    tick: Fraction
    """Seconds: what the times of frames are counted in."""
    rate: Fraction
    """Average frames for each second."""
    interlaced: bool
    """Whether the first frame is; what ``FaithfulFrames`` gives is not."""
    chroma: ChromaPlace = "left"
    """Where chroma of less than full size lies."""

    @property
    def deep(self) -> bool:
        """Whether its samples have 16 bits."""
        return self.bits > 8


class FilmFrame(NamedTuple):
    """One frame of a film."""

    pts: int
    """Ticks of ``Look.tick``, as in the file."""
    duration: int
    """Ticks; 0 where it is not known."""
    time: float
    """Seconds from the first frame of the film."""
    samples: Samples


class FaithfulFrames:
    """The frames of a video from ``start`` to ``end``; interlaced ones are made whole (see ``deinterlaced``).

    Args:
        clip: what the file says of itself.
        start: seconds from the first frame.
        end: seconds from the first frame, exclusive; None: to the last one.

    Raises:
        VideoError: the first frame cannot be decoded, or its colours are coded in a way that is not supported.
    """

    def __init__(self, clip: Clip, start: float = 0.0, end: float | None = None) -> None:
        self.clip = clip
        self._sampling = SamplingSettings(start=start, end=end)
        self.look = look_of(clip)

    def __iter__(self) -> Generator[FilmFrame]:
        """Decode lazily, anew at each call; closing the generator closes the file.

        Raises:
            VideoError: no frame lies in the range, or none can be decoded.
        """
        clip, look, latest = self.clip, self.look, None
        with closing(VideoSource(clip, self._sampling).decoded()) as frames:
            for time, frame in deinterlaced(frames):
                pts = frame.pts if frame.pts is not None else round((time + _origin(clip)) / look.tick)
                latest = pts if latest is None else max(pts, latest + 1)
                yield FilmFrame(latest, frame.duration or 0, time, samples_from_frame(frame, look, clip.turn))


def _origin(clip: Clip) -> float:
    return float((clip.first_pts or 0) * clip.tick)


def look_of(clip: Clip) -> Look:
    """Decode the first frame and note how it is coded."""
    with opened(clip.path) as container:
        stream = cast(VideoStream, container.streams[clip.stream])
        try:
            frame = next(container.decode(stream))
        except (StopIteration, av.FFmpegError) as error:
            raise VideoError(f"{clip.path}: no frame can be decoded: the file is damaged") from error
        try:
            return _look(clip, frame, stream.sample_aspect_ratio or Fraction(1))
        except VideoError as error:
            raise VideoError(f"{clip.path}: {error}") from error


def _look(clip: Clip, frame: av.VideoFrame, aspect: Fraction) -> Look:
    coding, turned = coding_of(frame), clip.turn.transpose
    size = (frame.height, frame.width) if turned else (frame.width, frame.height)
    guess = Colorspace.ITU709 if frame.width >= 1280 or frame.height >= 720 else Colorspace.ITU601
    return Look(
        width=size[0],
        height=size[1],
        pixel_aspect=1 / aspect if turned else aspect,
        bits=frame.format.components[0].bits,
        full_range=coding.full_range and coding.matrix is not None,
        matrix=_matrix_code(frame, coding.matrix or guess),
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        hdr=_hdr(clip, frame),
        tick=clip.tick,
        rate=clip.rate,
        interlaced=frame.interlaced_frame,
        chroma=chroma_place(frame),
    )


def _matrix_code(frame: av.VideoFrame, matrix: Colorspace) -> int:
    """5 and 6 of H.273 are the same matrix: what the video says stays."""
    named = int(frame.colorspace)
    return named if named in (*_CODES.values(), 5) else _CODES[matrix]


def _hdr(clip: Clip, frame: av.VideoFrame) -> Hdr10:
    try:
        mastering = side_data(frame, Type.MASTERING_DISPLAY_METADATA)
        light = side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    except ValueError:
        _LOG.warning("%s: holds several views: HDR10 figures, if there are any, are not carried over", clip.path)
        return Hdr10()
    return Hdr10(mastering_from_ffmpeg(mastering) if mastering else None, light_from_ffmpeg(light) if light else None)


def side_data(frame: av.VideoFrame, kind: Type) -> bytes | None:
    """What a frame carries beside its picture; None where there is nothing of that kind.

    Raises:
        ValueError: the frame carries something that PyAV has no name for: then nothing can be read.
    """
    try:
        return bytes(cast(Mapping[Type, SideData], frame.side_data)[kind])
    except KeyError:
        return None


def samples_from_frame(frame: av.VideoFrame, look: Look, turn: Turn) -> Samples:
    """R'G'B' of a decoded frame in display orientation; half a level of its own coding exact.

    A frame whose size is not that of the first one is brought to it.
    """
    coding = coding_of(frame)
    width, height = (look.height, look.width) if turn.transpose else (look.width, look.height)
    converted = with_full_chroma(frame, look.chroma).reformat(
        width=width,
        height=height,
        format="rgb48le" if look.deep else "rgb24",
        src_colorspace=coding.matrix,
        dst_colorspace=coding.matrix,
        src_color_range=ColorRange.JPEG if coding.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=ACCURATE,
    )
    samples: Samples = converted.to_ndarray()
    if look.deep:
        samples = cv2.multiply(samples, np.ones(4), scale=_DEEP_WHITE / _white_read(frame, coding))
    return _turned(samples, turn)


def _white_read(frame: av.VideoFrame, coding: Coding) -> int:
    """What libswscale makes of white in 16 bits: not quite the highest number (as measured; tests pin it)."""
    if coding.matrix is not None and not coding.full_range:
        return 65283
    bits = frame.format.components[0].bits
    return ((1 << bits) - 1) << (16 - bits) if not frame.format.is_rgb else _DEEP_WHITE


def _turned(samples: Samples, turn: Turn) -> _Shown:
    if turn.transpose:
        samples = cv2.transpose(samples)
    if turn.mirror_x or turn.mirror_y:
        samples = cv2.flip(samples, -1 if turn.mirror_x and turn.mirror_y else int(turn.mirror_x))
    return samples


def frame_from_samples(samples: Samples, look: Look, pixel_format: str) -> av.VideoFrame:
    """A frame to encode; what ``samples_from_frame`` undid is done again. Odd sizes grow by one column or row.

    The new column or row repeats the last one: 4:2:0 needs even sizes. 4:4:4 does not, and keeps them.
    """
    height, width = grown(samples.shape[0], samples.shape[1], pixel_format)
    if (height, width) != samples.shape[:2]:
        more = height - samples.shape[0], width - samples.shape[1]
        samples = cv2.copyMakeBorder(samples, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
    source = "rgb48le" if samples.dtype == np.uint16 else "rgb24"
    if samples.dtype == np.uint16:
        samples = cv2.multiply(samples, np.ones(4), scale=_WHITE_WRITTEN / _DEEP_WHITE)
    matrix = _NAMES[look.matrix]
    full = av.VideoFrame.from_ndarray(np.ascontiguousarray(samples), source).reformat(
        format=FULL,
        src_colorspace=matrix,
        dst_colorspace=matrix,
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=ACCURATE,
    )
    if look.full_range:
        _widen(full, av.VideoFormat(pixel_format).components[0].bits)
    frame = with_coded_chroma(full, pixel_format, look.chroma)
    frame.colorspace, frame.color_range = look.matrix, ColorRange.JPEG if look.full_range else ColorRange.MPEG
    frame.color_primaries, frame.color_trc = look.primaries, look.transfer
    return frame


def _widen(frame: av.VideoFrame, bits: int) -> None:
    """Limited range to full range (H.273 section 8.3), in place; libswscale would be half a level too high."""
    white = ((1 << bits) - 1) << (16 - bits)
    for number, (least, most, zero) in enumerate(((4096, 60160, 0), (4096, 61440, 32768), (4096, 61440, 32768))):
        plane, gain = plane_of(frame, number), white / (most - least)
        cv2.addWeighted(plane, gain, plane, 0, zero - gain * (zero or least), plane)


def grown(height: int, width: int, pixel_format: str) -> tuple[int, int]:
    """The size in which a picture is coded."""
    return (height, width) if pixel_format.startswith("yuv444") else (height + height % 2, width + width % 2)


_NAMES = {code: matrix for matrix, code in _CODES.items()} | {5: Colorspace.ITU601}

__all__ = [
    "FaithfulFrames",
    "FilmFrame",
    "Look",
    "frame_from_samples",
    "grown",
    "look_of",
    "samples_from_frame",
    "side_data",
]
