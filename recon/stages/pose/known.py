"""Poses that are known."""

from collections.abc import Callable, Iterable, Iterator

from recon.types import DepthFrame, Intrinsics, PosedFrame, RigidTransform


def posed(
    frames: Iterable[DepthFrame], intrinsics: Intrinsics, pose_at: Callable[[float], RigidTransform | None]
) -> Iterator[PosedFrame]:
    """Give each frame the pose that is known for its time; frames without one are left out.

    Args:
        frames: Pictures with depth.
        intrinsics: The camera, at any size of the same picture.
        pose_at: world_from_camera for a time in seconds, or None where it is unknown.
    """
    for frame in frames:
        pose = pose_at(frame.frame.time)
        if pose is not None:
            height, width = frame.depth.shape
            yield PosedFrame(frame.frame, frame.depth, intrinsics.scaled(width, height), pose, 0)
