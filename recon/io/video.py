"""Videos in and out, through PyAV (FFmpeg).

Frames come in display orientation (the display matrix is applied, mirroring included), with square pixels (the picture
is widened or heightened, never shrunk), as 8-bit RGB (``recon.io.color`` says how), with the times of the container
counted from the first frame. A stream whose size changes on the way keeps the size of its first frame.
"""

import logging
import math
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final

import av
import cv2
from av.container import InputContainer, OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream

from recon.errors import VideoError
from recon.files import whole_file
from recon.io.clip import Clip, look_at, opened
from recon.io.color import ACCURATE, picture_from_frame
from recon.io.pictures import is_pictures, open_pictures
from recon.io.source import (
    Source,
    SourceInfo,
    expected_count,
    fingerprint,
    sampled,
    sampled_rate,
    sampling_identity,
    used_duration,
)
from recon.settings import SamplingSettings
from recon.types import Frame, Picture

__all__ = ["Source", "SourceInfo", "VideoSource", "VideoWriter", "open_source"]

_LOG = logging.getLogger(__name__)

_NO_NAMES: Final[Mapping[str, float]] = MappingProxyType({})
_MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
_CLOCK = 90000
"""Ticks for each second in the videos that are written."""


def open_source(path: Path | str, sampling: SamplingSettings) -> Source:
    """Look at a video, a folder or glob of pictures, or a single picture, and decode its first frame.

    Raises:
        VideoError: it is not there, is none of these, or nothing in it can be decoded.
    """
    path = Path(path)
    if is_pictures(path):
        return open_pictures(path, sampling)
    if not path.is_file():
        raise VideoError(f"{path}: no such file or folder: check the path")
    return VideoSource(look_at(path), sampling)


class VideoSource:
    """The first video stream of a file. A ``recon.io.source.Source``."""

    def __init__(self, clip: Clip, sampling: SamplingSettings) -> None:
        self._clip = clip
        self._sampling = sampling

    @property
    def info(self) -> SourceInfo:
        """What is known before decoding."""
        clip, sampling = self._clip, self._sampling
        width, height = clip.display_size
        duration = used_duration(clip.duration, sampling)
        rate = sampled_rate(float(clip.rate), sampling)
        everything = sampling == SamplingSettings()
        return SourceInfo(
            path=clip.path,
            kind="video",
            width=width,
            height=height,
            rate=rate,
            duration=duration,
            frame_count=clip.count if everything and clip.count else expected_count(rate, duration),
            fov_x=clip.fov_x,
            notes=clip.notes,
        )

    @property
    def identity(self) -> dict[str, str]:
        """Content, stream and sampling, whatever the file is called."""
        content = {"kind": "video", "content": fingerprint(self._clip.path), "stream": f"{self._clip.stream}"}
        return content | sampling_identity(self._sampling)

    @property
    def times_by_name(self) -> Mapping[str, float]:
        """Empty: the frames of a video have no names."""
        return _NO_NAMES

    def picture(self, time: float) -> Picture:
        """The first picture at or after a time in seconds."""
        with closing(VideoSource(self._clip, SamplingSettings(start=time)).frames()) as frames:
            return next(frames).rgb

    def frames(self) -> Generator[Frame]:
        """Decode lazily, anew at each call; closing the generator closes the file.

        A video that breaks off (damaged, cut short) yields what comes before, and a warning is logged.

        Raises:
            VideoError: nothing can be decoded, or nothing lies between ``start`` and ``end``.
        """
        clip = self._clip
        with closing(self.decoded()) as frames:
            for index, (time, decoded) in enumerate(frames):
                picture = clip.turn(picture_from_frame(decoded, clip.width, clip.height))
                yield Frame(index, time, picture)

    def decoded(self) -> Generator[tuple[float, av.VideoFrame]]:
        """What ``frames`` are made of: the time of each and the frame as the video codes it."""
        clip, sampling, count = self._clip, self._sampling, 0
        with closing(self._timed()) as timed:
            for item in sampled(timed, sampling):
                yield item
                count += 1
        if count == 0:
            lasts = "" if clip.duration is None else f" (it lasts {clip.duration:.2f} s)"
            raise VideoError(f"{clip.path}: no frame from {sampling.start:g} s on{lasts}: choose an earlier --start")

    def _timed(self) -> Generator[tuple[float, av.VideoFrame]]:
        """Frames and their times, from the key frame before ``start`` on where there is one to be found.

        Frames that are shown before that key frame may refer to what was skipped; they are left out. A key frame that
        comes too late, or is not whole (intra refresh), makes the seek useless: then everything is decoded.
        """
        start = self._sampling.start
        if self._clip.seekable and start > 0:
            with closing(self._read(start)) as timed:
                landed = next((item for item in timed if item[1].key_frame), None)
                if landed is not None and landed[0] <= start and not landed[1].is_corrupt:
                    yield landed
                    yield from timed
                    return
        with closing(self._read(0.0)) as timed:
            yield from timed

    def _read(self, start: float) -> Generator[tuple[float, av.VideoFrame]]:
        """Decode from the key frame at or before ``start`` seconds; a frame that is not later than the last is lost."""
        clip, latest, count = self._clip, -math.inf, 0
        with opened(clip.path) as container:
            try:
                for frame in _decoded(container, clip, start):
                    time = clip.time_of(frame, latest)
                    if time > latest:
                        latest, count = time, count + 1
                        yield time, frame
            except av.FFmpegError as error:
                if latest >= 0:
                    _LOG.warning(
                        _BROKEN, clip.path, count, "its start" if start == 0 else "a seek", latest, error.strerror
                    )
                elif start == 0:
                    raise VideoError(f"{clip.path}: no frame can be decoded ({error.strerror}): damaged?") from error
                return
        if clip.exact and clip.duration is not None and latest < 0.9 * clip.duration - 0.5:
            _LOG.warning(_CUT, clip.path, latest, clip.duration)


_BROKEN = "%s: damaged %d frames after %s, at %.3f s (%s): only the frames up to there are used"
_CUT = "%s: ends at %.2f s instead of %.2f s: the file is cut short, what is there is used"


def _decoded(container: InputContainer, clip: Clip, start: float) -> Iterator[av.VideoFrame]:
    stream = container.streams[clip.stream]
    if not isinstance(stream, VideoStream):
        raise VideoError(f"{clip.path}: has changed since it was opened: run again")
    stream.thread_type = "AUTO"
    if start > 0 and clip.first_pts is not None:
        container.seek(clip.first_pts + math.floor(start / clip.tick), stream=stream)
    return container.decode(stream)


class VideoWriter:
    """Writes H.264 (yuv420p, CRF 18, BT.709, limited range) to .mp4, .mov or .mkv, frame by frame.

    A context manager; the file appears when its block ends well, and nothing is left behind when it does not. An odd
    width or height grows by one column or row that repeats the last one, because 4:2:0 needs even sizes.

    Args:
        path: the file to write; its suffix chooses the container.
        width: pixels of the pictures to come.
        height: pixels of the pictures to come.
        rate: nominal frames for each second; the times given to ``write`` are what counts.

    Raises:
        VideoError: the suffix is not one of the three, or the file cannot be written.
    """

    def __init__(self, path: Path, width: int, height: int, rate: float) -> None:
        if path.suffix.lower() not in _MUXERS:
            raise VideoError(f"{path}: a video is written as {', '.join(_MUXERS)}: choose one of these suffixes")
        self._path = path
        self._shape = (height, width, 3)
        self._rate = Fraction(rate).limit_denominator(_CLOCK)
        self._latest: int | None = None
        self._stack = ExitStack()

    def __enter__(self) -> "VideoWriter":  # noqa: PYI034 - beartype knows Self in classes only
        with ExitStack() as stack:
            partial = stack.enter_context(whole_file(self._path))
            stack.enter_context(_write_errors(self._path))
            muxer = _MUXERS[self._path.suffix.lower()]
            self._container = stack.enter_context(av.open(str(partial.absolute()), "w", format=muxer))
            self._stream = _h264(self._container, self._rate, *self._shape[:2])
            self._container.start_encoding()
            self._stack = stack.pop_all()
        return self

    def write(self, picture: Picture, time: float) -> None:
        """Append a picture that is shown at ``time`` seconds.

        Raises:
            VideoError: the file cannot be written (the disk is full, say).
            ValueError: the picture has another size, or its time does not come after the one before.
        """
        tick = round(time * _CLOCK)
        if picture.shape != self._shape:
            raise ValueError(f"a picture of {self._shape} is wanted, not of {picture.shape}")
        if tick < 0 or (self._latest is not None and tick <= self._latest):
            raise ValueError(f"times begin at 0 and increase: {time} s does not")
        self._latest = tick
        with _write_errors(self._path):
            self._container.mux(self._stream.encode(_yuv(picture, tick)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            if self._latest is None:
                raise VideoError(f"{self._path}: no picture was written: there is nothing to save")
            self._container.mux(self._stream.encode(None))


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.FFmpegError as error:
        raise VideoError(f"{path}: cannot be written ({error.strerror}): check the folder and the disk") from error


def _h264(container: OutputContainer, rate: Fraction, height: int, width: int) -> VideoStream:
    # No B-frames: pictures are stored in the order they are shown in, and the durations in the file follow the times.
    stream = container.add_stream("libx264", rate=rate, options={"crf": "18", "bf": "0"})
    stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
    stream.codec_context.time_base = Fraction(1, _CLOCK)
    stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
    stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    return stream


def _yuv(picture: Picture, tick: int) -> av.VideoFrame:
    height, width = picture.shape[:2]
    even: Picture = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    frame = av.VideoFrame.from_ndarray(even, "rgb24").reformat(
        format="yuv420p",
        src_color_range=ColorRange.JPEG,
        dst_color_range=ColorRange.MPEG,
        dst_colorspace=Colorspace.ITU709,
        interpolation=ACCURATE,
    )
    frame.pts, frame.time_base = tick, Fraction(1, _CLOCK)
    return frame
