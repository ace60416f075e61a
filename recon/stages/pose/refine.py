"""All key frames and landmarks of a segment at once, and what that says of the frames between."""

from itertools import accumulate
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon.bundle import Bundle, adjusted
from recon.geometry import inverse, rigid
from recon.stages.pose.segment import Motion, Segment
from recon.stages.pose.world import NOISE, World, observations
from recon.types import CameraTrajectory, Intrinsics, RigidTransform

MOST_OBSERVATIONS: Final = 200_000
"""Of landmarks that take part; in very long segments some landmarks are left out."""
STILL: Final = 0.5
"""Median distance, pixels, up to which corners count as unmoved."""
TURNING: Final = 1.0
"""Median error, pixels, up to which a turn alone explains where corners are."""

Poses = Float64[np.ndarray, "n 4 4"]


def refined(world: World, intrinsics: Intrinsics) -> Segment:
    """The poses of a finished segment."""
    motion = _motion(world)
    poses = _adjusted(world, intrinsics) if motion == "free" else _turned(world, motion)
    times = np.array([frame.time for frame in world.frames])
    return Segment(CameraTrajectory(times, poses), motion, len(world.key_frames))


def _motion(world: World) -> Motion:
    if max(frame.apart for frame in world.frames) < STILL and len(world.key_frames) == 1:
        return "still"
    return "turning" if max(frame.turn[1] for frame in world.frames) < TURNING else "free"


def _turned(world: World, motion: Motion) -> Poses:
    """World from camera of a camera that stays where it is."""
    if motion == "still":
        return np.tile(np.eye(4), (len(world.frames), 1, 1))
    since = [frame.turn[0] for frame in world.frames]
    starts = [key_frame.frame for key_frame in world.key_frames]
    bases = list(accumulate((since[frame] for frame in starts), lambda before, turn: turn @ before))
    place = {frame: number for number, frame in enumerate(starts)}
    turns = [
        bases[place[number]] if number in place else since[number] @ bases[frame.key_frame]
        for number, frame in enumerate(world.frames)
    ]
    return np.stack([rigid(turn.T, np.zeros(3)) for turn in turns])


def _adjusted(world: World, intrinsics: Intrinsics) -> Poses:
    """World from camera of all frames, from key frames that are adjusted together."""
    key_frames = world.key_frames
    poses = np.stack([each.camera_from_world for each in key_frames])
    seen, landmark = observations(key_frames, len(world.landmarks.position), MOST_OBSERVATIONS)
    if len(poses) > 1 and len(landmark):
        factors = np.array([each.factor for each in key_frames])
        poses = adjusted(
            Bundle(poses, factors, world.landmarks.position[landmark]), seen, intrinsics, NOISE
        ).camera_from_world
    return np.stack([_between(world, number, poses) for number in range(len(world.frames))])


def _between(world: World, number: int, key_poses: Poses) -> RigidTransform:
    """World from camera of a frame: as it was found from the key frames beside it, carried over to where these are."""
    frame, key_frames = world.frames[number], world.key_frames
    first, start = frame.key_frame, key_frames[frame.key_frame].frame
    by_first = inverse(frame.camera_from_key @ key_poses[first])
    if number == start or first + 1 == len(key_frames):
        return by_first
    second = key_frames[first + 1]
    by_second = inverse(frame.camera_from_key @ inverse(second.from_last) @ key_poses[first + 1])
    return _interpolated(by_first, by_second, (number - start) / (second.frame - start))


def _interpolated(a: RigidTransform, b: RigidTransform, share: float) -> RigidTransform:
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).as_rotvec()
    rotation = a[:3, :3] @ Rotation.from_rotvec(share * turn).as_matrix()
    return rigid(rotation, (1 - share) * a[:3, 3] + share * b[:3, 3])
