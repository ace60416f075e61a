"""What a video file says of itself: streams, orientation, shape of its pixels, clock, focal length."""

import logging
import math
import statistics
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type
from av.stream import Disposition
from av.video.stream import VideoStream
from jaxtyping import UInt8

from recon.errors import VideoError
from recon.io.color import Transfer, coding_of
from recon.io.source import fov_x_from_focal
from recon.types import Picture

_LOG = logging.getLogger(__name__)

_SEEKABLE = ("mov", "matroska")
"""Containers in which a frame has the same time stamp after a seek as before."""
_ASSUMED_RATE = Fraction(25)
"""Frames for each second of a bare stream without time stamps; FFmpeg assumes the same."""
_FOCAL_35MM = "com.apple.quicktime.camera.focal_length.35mm_equivalent"
_FILM_WIDTH = 36.0
_IRREGULAR = 1.25
"""Longest over shortest time between two frames from which on the frame rate is called variable."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A display matrix as steps on arrays: transpose first, then mirror along x and y."""

    transpose: bool
    mirror_x: bool
    mirror_y: bool

    def __call__(self, picture: Picture) -> UInt8[np.ndarray, "shown_h shown_w 3"]:
        """The picture in display orientation."""
        if self.transpose:
            picture = cv2.transpose(picture)
        if self.mirror_x or self.mirror_y:
            picture = cv2.flip(picture, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x))
        return picture

    def __str__(self) -> str:
        return {
            (False, False, False): "upright",
            (True, True, False): "rotated by 90 degrees",
            (False, True, True): "rotated by 180 degrees",
            (True, False, True): "rotated by 270 degrees",
            (False, True, False): "mirrored",
            (True, False, False): "rotated by 90 degrees and mirrored",
            (False, False, True): "rotated by 180 degrees and mirrored",
            (True, True, True): "rotated by 270 degrees and mirrored",
        }[self.transpose, self.mirror_x, self.mirror_y]


def turn_from_matrix(matrix: Sequence[int]) -> Turn:
    """The turn of a display matrix (a, b, u, c, d, v, x, y, w): ISO/IEC 14496-12 section 6.2.2.

    x' = a x + c y and y' = b x + d y, with x to the right and y down. An angle that is not a quarter turn is rounded to
    the nearest one.
    """
    a, b, _, c, d = matrix[:5]
    transpose = abs(b) + abs(c) > abs(a) + abs(d)
    x, y = (c, b) if transpose else (a, d)
    return Turn(transpose, x < 0, y < 0)


@dataclass(frozen=True, slots=True)
class Clip:
    """What the header and the first frame of a video stream tell of all its frames."""

    path: Path
    stream: int
    """Number of the stream in the container."""
    first_pts: int | None
    """Time stamp of the first frame in ticks; None where the stream has no time stamps."""
    tick: Fraction
    """Seconds."""
    rate: Fraction
    """Average frames for each second."""
    duration: float | None
    """Seconds from the first frame to the end of the last one."""
    count: int | None
    """Frames in the stream, where the container says so."""
    exact: bool
    """Whether ``duration`` comes from a table of all frames."""
    seekable: bool
    width: int
    """Pixels, square, before the turn."""
    height: int
    """Pixels, square, before the turn."""
    turn: Turn
    fov_x: float | None
    """Degrees, after the turn."""
    notes: tuple[str, ...]

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) after the turn."""
        return (self.height, self.width) if self.turn.transpose else (self.width, self.height)

    def time_of(self, frame: av.VideoFrame, latest: float) -> float:
        """Seconds since the first frame; without time stamps, one frame's duration after the ``latest`` frame."""
        if frame.pts is None or self.first_pts is None:
            return max(0.0, latest + float(1 / self.rate))
        return float((frame.pts - self.first_pts) * self.tick)


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a video file.

    Raises:
        VideoError: it is not there or FFmpeg does not know what it is.
    """
    try:
        # An absolute path: FFmpeg takes "a:b.mp4" for a protocol.
        container = av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: cannot be read as a video ({error.strerror}): check the file") from error
    with container:
        yield container


def look_at(path: Path) -> Clip:
    """Read the header and decode the first frame.

    Raises:
        VideoError: there is no video stream, or no frame of it can be decoded.
    """
    with opened(path) as container:
        streams = _films(container)
        if not streams:
            raise VideoError(f"{path}: holds no video stream (sound only?): give a file with moving pictures")
        frame = _first_frame(container, streams[0], path)
        return _clip(path, container, streams, frame)


def _films(container: InputContainer) -> list[VideoStream]:
    """The video streams that are not cover pictures or thumbnails."""
    stills = Disposition.attached_pic | Disposition.timed_thumbnails
    return [stream for stream in container.streams.video if not stream.disposition & stills]


def _first_frame(container: InputContainer, stream: VideoStream, path: Path) -> av.VideoFrame:
    try:
        return next(container.decode(stream))
    except StopIteration as error:
        raise VideoError(f"{path}: its video stream is empty: check the file") from error
    except av.FFmpegError as error:
        message = f"{path}: no frame can be decoded ({error.strerror}): the file is damaged or its codec is unknown"
        raise VideoError(message) from error


def _clip(path: Path, container: InputContainer, streams: Sequence[VideoStream], frame: av.VideoFrame) -> Clip:
    stream = streams[0]
    turn = turn_from_matrix(_display_matrix(frame))
    width, height = _square_size(frame, stream.sample_aspect_ratio)
    tick = frame.time_base or stream.time_base or Fraction(1, 1000)
    family = container.format.name
    return Clip(
        path=path,
        stream=stream.index,
        first_pts=frame.pts,
        tick=tick,
        rate=stream.average_rate or stream.guessed_rate or _ASSUMED_RATE,
        duration=_duration(container, stream),
        count=stream.frames or None,
        exact="mov" in family and stream.duration is not None,
        seekable=frame.pts is not None and any(name in family for name in _SEEKABLE),
        width=width,
        height=height,
        turn=turn,
        fov_x=_fov_x(container, stream, (height, width) if turn.transpose else (width, height)),
        notes=tuple(_notes(path, streams, frame, turn)),
    )


def _display_matrix(frame: av.VideoFrame) -> tuple[int, ...]:
    """(a, b, u, c, d, v, x, y, w) as it stands in the file; the identity where there is none."""
    try:
        data = cast(Mapping[Type, SideData], frame.side_data)[Type.DISPLAYMATRIX]
    except KeyError:
        return (1, 0, 0, 0, 1, 0, 0, 0, 1)
    except ValueError:
        # Side data of a kind that PyAV has no name for (several views): only the angle can be read.
        angle = math.radians(frame.rotation)
        cosine, sine = round(65536 * math.cos(angle)), round(65536 * math.sin(angle))
        return (cosine, -sine, 0, sine, cosine, 0, 0, 0, 1 << 30)
    return struct.unpack("=9i", bytes(data))


def _square_size(frame: av.VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) of the frame with square pixels: one side grows, none shrinks."""
    aspect = aspect or Fraction(1)
    if aspect >= 1:
        return round(frame.width * aspect), frame.height
    return frame.width, round(frame.height / aspect)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration is not None else None


def _fov_x(container: InputContainer, stream: VideoStream, size: tuple[int, int]) -> float | None:
    """Horizontal field of view in degrees, from the 35 mm equivalent focal length that phones write.

    It is taken to refer to the 36 mm of the longer side. For pictures the reference is the diagonal (CIPA DCG-001),
    but a film is a crop of the sensor that keeps the width and loses height, and the makers do not say which diagonal
    they mean: the longer side is the reading that is least wrong (4 % if it is the 4:3 sensor's diagonal).
    """
    for metadata in (stream.metadata, container.metadata):
        try:
            focal = float(metadata.get(_FOCAL_35MM, "0"))
        except ValueError:
            _LOG.warning("%s: focal length %r is not a number: not used", container.name, metadata[_FOCAL_35MM])
            continue
        if focal > 0:
            return fov_x_from_focal(focal, _FILM_WIDTH, size[0], float(max(size)))
    return None


def _notes(path: Path, streams: Sequence[VideoStream], frame: av.VideoFrame, turn: Turn) -> Iterator[str]:
    """What is worth telling of a clip."""
    aspect, transfer = streams[0].sample_aspect_ratio or Fraction(1), _transfer(path, frame)
    notes = {
        f"{len(streams)} video streams: the first is used": len(streams) > 1,
        str(turn): str(turn) != "upright",
        f"pixels of {aspect.numerator}:{aspect.denominator} made square": aspect != 1,
        f"HDR ({transfer.upper()}) tone-mapped to SDR": transfer != "sdr",
        "interlaced: taken as it is": frame.interlaced_frame,
        "variable frame rate": _is_irregular(streams[0]),
        "no time stamps: an even rate is assumed": frame.pts is None,
    }
    return (note for note, holds in notes.items() if holds)


def _transfer(path: Path, frame: av.VideoFrame) -> Transfer:
    try:
        return coding_of(frame).transfer
    except VideoError as error:
        raise VideoError(f"{path}: {error}") from error


def _is_irregular(stream: VideoStream) -> bool:
    """Whether the first thousand entries of the container's index are spaced unevenly."""
    stamps = sorted({entry.timestamp for entry in stream.index_entries[:1000]})
    steps = [after - before for before, after in pairwise(stamps)]
    return len(steps) > 1 and max(steps) > _IRREGULAR * statistics.median(steps)
