"""From frames to segments."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from recon.stages.pose.refine import refined
from recon.stages.pose.segment import Moment, Segment, span
from recon.stages.pose.world import World
from recon.types import DepthFrame, Frame, Intrinsics

logger = logging.getLogger(__name__)

LEAST_LANDMARKS: Final = 50
"""A picture with fewer corners of known depth cannot begin a segment."""
CONTESTED: Final = 0.25
LEAST_CONTESTED: Final = 5
"""Of a segment's frames, and how many at least, in which many corners may disagree before that is said."""
PATIENCE: Final = 5
"""Frames in a row that may fail before a new segment begins at the first of them."""


def estimate(frames: Iterable[DepthFrame], intrinsics: Intrinsics, focal_sigma: float = 0.0) -> Iterator[Segment]:
    """Camera poses of the frames of one shot, segment after segment.

    Corners are followed from picture to picture (Lucas and Kanade), and place each camera among landmarks whose depth
    is known (perspective-n-point). Where much is new, a frame becomes a key frame: landmarks of the key frames before
    are looked for in it as they were first seen, and new ones begin at its depth. When a segment ends, all of it is
    adjusted at once (``recon.bundle``). The world of a segment is the camera of its first frame.

    Where frames cannot be placed, a warning says which: up to `PATIENCE` such frames in a row are left out; more begin
    a new segment. Memory grows with the number of key frames. The same frames give the same poses.

    Args:
        frames: Pictures with depth, in the order of time.
        intrinsics: The camera, at any size of the same picture.
        focal_sigma: Standard deviation of its focal length, relative, where that is not sure. It is then refined in
            each segment that says it well, and the next ones begin with that; else it stays as it is.
    """
    source = _Rewindable(frames)
    begun, blank = 0, list[Moment]()
    for first in source:
        world = World(intrinsics)
        if world.begin(first) < LEAST_LANDMARKS:
            blank.append(_moment(first.frame))
            continue
        _tell_blank(blank)
        blank = []
        if begun:
            logger.warning("%s: another segment begins, with a world of its own", _moment(first.frame))
        lost = _followed(source, world)
        source.put_back(lost)
        _tell_contested(world)
        segment = refined(world, focal_sigma)
        if segment.focal_sigma is not None:
            intrinsics, focal_sigma = segment.intrinsics, segment.focal_sigma
        yield segment
        begun += 1
    _tell_blank(blank)


def _tell_blank(frames: Sequence[Moment]) -> None:
    if frames:
        count = "1 frame" if len(frames) == 1 else f"{len(frames)} frames"
        logger.warning("%s: too few features of known depth to begin at; %s left out", span(frames), count)


def _tell_contested(world: World) -> None:
    frames = len(world.frames)
    if world.contested > max(LEAST_CONTESTED, CONTESTED * frames):
        logger.warning(
            "%.2f to %.2f s: in %d of %d frames a third of the corners moves otherwise than the camera: poses follow "
            "what most of them say; leave out with --mask what moves by itself",
            world.frames[0].time,
            world.frames[-1].time,
            world.contested,
            frames,
        )


def _followed(source: Iterator[DepthFrame], world: World) -> list[DepthFrame]:
    """Place frames while that is possible; returns those at the end that could not be placed."""
    lost: list[DepthFrame] = []
    for frame in source:
        if world.place(frame):
            if lost:
                logger.warning(
                    "%s: %d frames could not be placed; left out",
                    _span(lost),
                    len(lost),
                )
                lost = []
            continue
        world.lose()
        lost.append(frame)
        if len(lost) > PATIENCE:
            break
    if lost:
        logger.warning("%s: tracking is lost (%s)", _span(lost), world.reason)
    return lost


def _span(frames: Sequence[DepthFrame]) -> str:
    return span([_moment(each.frame) for each in frames])


def _moment(frame: Frame) -> Moment:
    return Moment(frame.index, frame.time)


class _Rewindable(Iterator[DepthFrame]):
    """An iterator that takes frames back."""

    def __init__(self, frames: Iterable[DepthFrame]) -> None:
        self._rest = iter(frames)
        self._returned: deque[DepthFrame] = deque()

    def __next__(self) -> DepthFrame:
        return self._returned.popleft() if self._returned else next(self._rest)

    def put_back(self, frames: Sequence[DepthFrame]) -> None:
        self._returned.extendleft(reversed(frames))
