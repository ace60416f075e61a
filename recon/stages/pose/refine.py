"""All key frames and landmarks of a segment at once, and what that says of the frames between."""

from itertools import accumulate
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon.bundle import Bundle, Noise, Observations, adjusted
from recon.geometry import inverse, rigid
from recon.stages.pose.segment import Motion, Segment
from recon.stages.pose.world import World
from recon.types import CameraTrajectory, Intrinsics, RigidTransform

MOST_OBSERVATIONS: Final = 200_000
"""Of landmarks that take part; in very long segments some landmarks are left out."""
PIXEL: Final = 0.5
"""Standard deviation of a corner that is followed, pixels."""
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
    key_poses = _key_poses(world, intrinsics)
    if len(key_poses) == 1:
        return inverse(np.stack([frame.camera_from_world for frame in world.frames]))
    before = np.stack([key_frame.camera_from_world for key_frame in world.key_frames])
    return np.stack([_between(world, number, before, key_poses) for number in range(len(world.frames))])


def _between(world: World, number: int, before: Poses, after: Poses) -> RigidTransform:
    """World from camera of a frame: what was found from the key frames beside it, carried over to where they are now."""
    frame, key_frames = world.frames[number], world.key_frames
    first = frame.key_frame
    second = min(first + 1, len(key_frames) - 1)
    carried = [inverse(frame.camera_from_world @ inverse(before[key]) @ after[key]) for key in (first, second)]
    span = key_frames[second].frame - key_frames[first].frame
    return _interpolated(*carried, (number - key_frames[first].frame) / span if span else 0.0)


def _interpolated(a: RigidTransform, b: RigidTransform, share: float) -> RigidTransform:
    turn = Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).as_rotvec()
    rotation = a[:3, :3] @ Rotation.from_rotvec(share * turn).as_matrix()
    return rigid(rotation, (1 - share) * a[:3, 3] + share * b[:3, 3])


def _key_poses(world: World, intrinsics: Intrinsics) -> Poses:
    """Camera from world of the key frames, by bundle adjustment."""
    start = np.stack([key_frame.camera_from_world for key_frame in world.key_frames])
    seen, landmark = _observations(world)
    if len(start) == 1 or not len(landmark):
        return start
    bundle = Bundle(start, np.ones(len(start)), world.landmarks.position[landmark])
    return adjusted(bundle, seen, intrinsics, Noise(PIXEL, 0.08, 0.05)).camera_from_world


def _observations(world: World) -> tuple[Observations, np.ndarray]:
    """What key frames show of the landmarks that two of them show, and which landmarks these are."""
    key_frames = world.key_frames
    camera = np.repeat(np.arange(len(key_frames)), [len(each.seen.landmark) for each in key_frames])
    landmark = np.concatenate([each.seen.landmark for each in key_frames])
    pixel = np.concatenate([each.seen.pixel for each in key_frames])
    depth = np.concatenate([each.depth for each in key_frames])
    times_seen = np.bincount(landmark, minlength=len(world.landmarks.position))
    chosen = _thinned(times_seen)[landmark]
    kept, row = np.unique(landmark[chosen], return_inverse=True)
    return Observations(camera[chosen], row, pixel[chosen], depth[chosen]), kept


def _thinned(times_seen: np.ndarray) -> np.ndarray:
    """Which landmarks take part: those seen twice or more, and no more than there is time for."""
    useful = times_seen >= 2
    total = int(times_seen[useful].sum())
    if total > MOST_OBSERVATIONS:
        useful &= np.random.default_rng(0).random(len(useful)) < MOST_OBSERVATIONS / total
    return useful
