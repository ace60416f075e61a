"""Interlaced frames, whose rows are of two moments, made whole: every second row, or none, is shifted by a warp."""

from collections import deque
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import NamedTuple

import av
from av.filter import Graph

_FILTER = "mode=send_frame:deint=interlaced"
"""As many pictures as frames, each at the moment of its first field; others stay as they are."""
_ANY_TICK = Fraction(1, 1000)


class _Stamp(NamedTuple):
    """What is said of a frame, kept while its picture is made."""

    time: float
    pts: int | None
    duration: int | None
    time_base: Fraction | None


def deinterlaced(frames: Iterator[tuple[float, av.VideoFrame]]) -> Generator[tuple[float, av.VideoFrame]]:
    """Times and frames, as many as come and with their own time stamps, by FFmpeg's filter bwdif.

    It looks one frame ahead and one back. Before the first interlaced frame nothing is touched.

    Args:
        frames: times and decoded frames.
    """
    fields: _Fields | None = None
    for time, frame in frames:
        if fields is not None and not fields.fits(frame):
            yield from fields.rest()
            fields = None
        if fields is None and frame.interlaced_frame:
            fields = _Fields(frame)
        if fields is None:
            yield time, frame
        else:
            yield from fields.after(time, frame)
    if fields is not None:
        yield from fields.rest()


class _Fields:
    """A graph of filters for frames like one."""

    def __init__(self, frame: av.VideoFrame) -> None:
        self._kind = _kind(frame)
        self._waiting: deque[_Stamp] = deque()
        self._graph = Graph()
        tick = frame.time_base or _ANY_TICK
        source = self._graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick)
        self._graph.link_nodes(source, self._graph.add("bwdif", _FILTER), self._graph.add("buffersink")).configure()

    def fits(self, frame: av.VideoFrame) -> bool:
        """Whether it can come next."""
        return _kind(frame) == self._kind

    def after(self, time: float, frame: av.VideoFrame) -> Iterator[tuple[float, av.VideoFrame]]:
        """What is finished once a frame is known."""
        self._waiting.append(_Stamp(time, frame.pts, frame.duration, frame.time_base))
        self._graph.vpush(frame)
        yield from self._finished()

    def rest(self) -> Iterator[tuple[float, av.VideoFrame]]:
        """What waits for a frame that does not come."""
        self._graph.vpush(None)
        yield from self._finished()

    def _finished(self) -> Iterator[tuple[float, av.VideoFrame]]:
        while self._waiting:
            try:
                frame = self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return
            stamp = self._waiting.popleft()
            frame.pts, frame.duration = stamp.pts, stamp.duration or 0
            if stamp.time_base is not None:
                frame.time_base = stamp.time_base
            yield stamp.time, frame


def _kind(frame: av.VideoFrame) -> tuple[object, ...]:
    return frame.width, frame.height, frame.format.name, int(frame.colorspace), int(frame.color_range)


__all__ = ["deinterlaced"]
