"""Poses that are known."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from recon.types import DepthFrame, Intrinsics, PosedFrame, RigidTransform


class Place(NamedTuple):
    """Where a camera was."""

    segment: int
    """Number of the world."""
    camera: Intrinsics
    """At any size of the same picture."""
    world_from_camera: RigidTransform


def posed(frames: Iterable[DepthFrame], place_at: Callable[[float], Place | None]) -> Iterator[PosedFrame]:
    """Give each frame the pose that is known for its time; frames without one are left out.

    Args:
        frames: Pictures with depth.
        place_at: where the camera was at a time in seconds, or None where that is unknown.
    """
    for frame in frames:
        if (place := place_at(frame.frame.time)) is not None:
            height, width = frame.depth.shape
            camera = place.camera.scaled(width, height)
            yield PosedFrame(frame.frame, frame.depth, camera, place.world_from_camera, place.segment)
