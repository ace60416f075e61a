"""Tiny videos, written through PyAV alone, for the tests of reading."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

MILLISECOND = Fraction(1, 1000)


def yuv_frame(codes: Sequence[int], width: int, height: int, pix_fmt: str = "yuv420p") -> av.VideoFrame:
    """A frame whose every pixel has the same luma and chroma codes."""
    frame = av.VideoFrame(width, height, pix_fmt)
    kind = np.uint16 if "10" in pix_fmt else np.uint8
    for plane, code in zip(frame.planes, codes, strict=True):
        plane.update(np.full(plane.buffer_size // np.dtype(kind).itemsize, code, kind).tobytes())
    return frame


def rgb_frame(picture: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")


def ramp(count: int, width: int = 64, height: int = 48) -> list[av.VideoFrame]:
    """Frames that get brighter with a bar that moves: each differs from the others."""
    pictures = []
    for number in range(count):
        picture = np.full((height, width, 3), 40 + number * 160 // max(1, count - 1), np.uint8)
        picture[:, (number * 5) % width :][:, :6] = (250, 20, 20)
        pictures.append(rgb_frame(picture))
    return pictures


def write_clip(  # noqa: PLR0913 - a test names what it cares about
    path: Path,
    frames: Iterable[av.VideoFrame],
    *,
    times: Sequence[float] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    adjust: Callable[[VideoStream], None] | None = None,
    metadata: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames; ``times`` in seconds (whole milliseconds), else one after the other at ``rate``."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.pix_fmt = pix_fmt
        first, *rest = list(frames)
        stream.width, stream.height = first.width, first.height
        if times is not None:
            stream.codec_context.time_base = MILLISECOND
        if adjust is not None:
            adjust(stream)
        for number, frame in enumerate([first, *rest]):
            image = frame if frame.format.name == pix_fmt else frame.reformat(format=pix_fmt)
            image.time_base = MILLISECOND if times is not None else Fraction(1, rate)
            image.pts = number if times is None else round(times[number] * 1000)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path
