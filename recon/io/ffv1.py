"""Maps as grey video of 16 bits without loss: FFV1 (RFC 9043) in Matroska (RFC 9559), through PyAV.

FFV1 keeps every bit, FFmpeg has carried it for twenty years, and any player that builds on FFmpeg shows such a file.
A float map becomes codes of 16 bits by a linear ``Coding``; every frame is a key frame, so that any of them is read
without those before it. The same frames give the same bytes on every run.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Float32, Float64, Integer, UInt16

from recon.errors import FormatError
from recon.types import DepthMap

UNKNOWN = 65535
"""The code of NaN."""
HIGHEST = 65534
"""The highest code of a value."""
Codes = UInt16[np.ndarray, "h w"]

_MILLISECOND = Fraction(1, 1000)  # Matroska's clock; also what the times of a frame are rounded to
_POINT = 1e-200  # stands for a step of 0: far below any difference of float32, far above what overflows
_RATE = 25  # what a player assumes where it ignores the time stamps


@dataclass(frozen=True, slots=True)
class Coding:
    """value = offset + step * code, computed in float64; the code 65535 is NaN.

    A value in [offset, offset + 65534 step] comes back within half a step, plus half a unit in its last place
    (float32). The finest ``Coding`` of a map has step = (max - min) / 65534: an error of at most 7.7e-6 of its range.
    """

    offset: float
    step: float
    """0 where one value says all."""

    @classmethod
    def finest(cls, values: DepthMap) -> "Coding":
        """The coding with the smallest step that holds every value; (0, 0) if all are NaN.

        Raises:
            ValueError: a value is infinite.
        """
        low, high = np.fmin.reduce(values, axis=None), np.fmax.reduce(values, axis=None)
        if np.isinf(low) or np.isinf(high):
            raise ValueError("a map must not hold infinite values: NaN is what says unknown")
        return Coding(0.0, 0.0) if np.isnan(low) else Coding(float(low), (float(high) - float(low)) / HIGHEST)

    def codes(self, values: DepthMap) -> Codes:
        """The nearest code of every value; 65535 for NaN and for what lies more than half a step outside."""
        scaled = np.subtract(values, self.offset, dtype=np.float64)
        scaled *= 1 / (self.step or _POINT)
        np.rint(scaled, out=scaled)
        np.copyto(scaled, UNKNOWN, where=~((scaled >= 0) & (scaled <= HIGHEST)))  # NaN compares false
        codes: Codes = scaled.astype(np.uint16)
        return codes

    def values(self, codes: Codes) -> DepthMap:
        """The value of every code, float32."""
        if codes.size <= UNKNOWN:
            return self._computed(codes)
        restored: DepthMap = self._computed(np.arange(UNKNOWN + 1))[codes]  # fewer codes than pixels: looked up
        return restored

    def _computed(self, codes: Integer[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        values: Float32[np.ndarray, "..."] = (self.offset + self.step * codes).astype(np.float32)
        values[codes == UNKNOWN] = np.nan
        return values


@contextmanager
def grey_writer(path: Path, size: tuple[int, int], tags: Mapping[str, str]) -> Iterator[Callable[[Codes, int], None]]:
    """Yield ``write(codes, milliseconds)``: appends one frame, whose time must be later than that of the last.

    Args:
        path: the file to write; its name may end in anything.
        size: (height, width) of every frame, each at least 2.
        tags: metadata of the container.

    Raises:
        ValueError: a side is shorter than 2 pixels.
    """
    if min(size) < 2:
        raise ValueError(f"a map is at least 2 x 2 pixels, got {size[0]} x {size[1]}")
    with av.open(path, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        container.metadata.update(tags)
        stream = _add_stream(container, size)

        def write(codes: Codes, milliseconds: int) -> None:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(codes), format="gray16le")
            frame.pts, frame.time_base = milliseconds, _MILLISECOND
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode())


def _add_stream(container: av.container.OutputContainer, size: tuple[int, int]) -> av.VideoStream:
    # Slices are coded in parallel. Their number is part of the bitstream: it must not depend on the machine.
    slices = 16 if min(size) >= 64 else 4
    options = {"level": "3", "slices": str(slices), "slicecrc": "1", "context": "0", "g": "1", "flags": "+bitexact"}
    stream = container.add_stream("ffv1", rate=_RATE, options=options)
    stream.height, stream.width = size
    stream.pix_fmt = "gray16le"
    stream.codec_context.time_base = _MILLISECOND
    stream.codec_context.thread_type = "SLICE"
    return stream


def grey_frames(path: Path, milliseconds: int = 0) -> Iterator[Codes]:
    """The frames of a grey video from a time on, lazily.

    Raises:
        FormatError: the file is no grey video of 16 bits, or is damaged.
    """
    with _opened(path) as (container, stream):
        container.seek(milliseconds, stream=stream)
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts >= milliseconds:
                yield frame.to_ndarray()


@dataclass(frozen=True, slots=True)
class GreyVideo:
    """What the header and the index of a grey video say."""

    size: tuple[int, int]
    """(height, width)."""
    milliseconds: tuple[int, ...]
    """Time of every frame."""
    tags: Mapping[str, str]
    """Metadata of the container, as written."""

    @classmethod
    def read(cls, path: Path) -> "GreyVideo":
        """Look at a file without decoding it.

        Raises:
            FormatError: the file is no grey video of 16 bits, or is damaged.
        """
        with _opened(path) as (container, stream):
            container.seek(0, stream=stream)  # has FFmpeg read the index, which stands at the end of the file
            times = tuple(entry.timestamp for entry in stream.index_entries)
            return GreyVideo((stream.height, stream.width), times, dict(container.metadata))

    @property
    def seconds(self) -> Float64[np.ndarray, " n"]:
        """Time of every frame, seconds, to the millisecond."""
        return np.array(self.milliseconds, np.float64) / 1000


@contextmanager
def _opened(path: Path) -> Iterator[tuple[av.container.InputContainer, av.VideoStream]]:
    try:
        with av.open(path) as container:
            stream = container.streams.video[0] if container.streams.video else None
            if stream is None or stream.codec_context.pix_fmt != "gray16le" or stream.time_base != _MILLISECOND:
                raise FormatError(f"{path}: not a grey video of 16 bits (FFV1 in Matroska) as recon writes it")
            stream.thread_type = "SLICE"
            yield container, stream
    except av.FFmpegError as error:
        raise FormatError(f"{path}: cannot be read as video ({error.strerror})") from error
