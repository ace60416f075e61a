"""All key frames and landmarks of a segment at once, and what that says of the frames between."""

from itertools import accumulate
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon.bundle import Bundle, Noise, Observations, adjusted, centre_sigma, noise_of
from recon.geometry import inverse, rigid
from recon.stages.pose.segment import Motion, Segment, Structure
from recon.stages.pose.world import NOISE, Numbers, World, observations
from recon.types import CameraTrajectory, RigidTransform

MOST_OBSERVATIONS: Final = 200_000
"""Of landmarks that take part; in very long segments some landmarks are left out."""
STEPS: Final = 10
"""Of the adjustment that tells how exact corners and depths are."""
STILL: Final = 0.5
"""Median distance, pixels, up to which corners count as unmoved."""
TURNING: Final = 1.0
"""Median error, pixels, up to which a turn alone explains where corners are."""
SIGNIFICANT: Final = 4.0
"""Standard deviations by which a camera's centre has to move to have moved."""
LEAST_MOVE: Final = 0.005
"""Movement that nobody can tell from the faults of a lens, in median depths."""

Poses = Float64[np.ndarray, "n 4 4"]


def refined(world: World) -> Segment:
    """The poses and landmarks of a finished segment."""
    times = np.array([frame.time for frame in world.frames])
    starts = np.array([key_frame.frame for key_frame in world.key_frames])
    start, seen, landmark = _bundle(world)
    first = adjusted(start, seen, world.camera, NOISE, most_steps=STEPS)
    noise = noise_of(first, seen, world.camera) or NOISE
    bundle = adjusted(first, seen, world.camera, noise)
    motion = _motion(world, bundle, seen, noise)
    poses = _interpolated_all(world, bundle.camera_from_world) if motion == "free" else _turned(world, motion)
    structure = Structure(starts, bundle.landmarks, world.landmarks.color[landmark], seen)
    return Segment(CameraTrajectory(times, poses), motion, world.camera, structure)


def _bundle(world: World) -> tuple[Bundle, Observations, Numbers]:
    """All key frames with the landmarks that two of them see: what is seen, and which these are."""
    key_frames = world.key_frames
    seen, landmark = observations(key_frames, len(world.landmarks.position), MOST_OBSERVATIONS)
    bundle = Bundle(
        np.stack([each.camera_from_world for each in key_frames]),
        np.array([each.factor for each in key_frames]),
        world.landmarks.position[landmark],
    )
    return bundle, seen, landmark


def _motion(world: World, bundle: Bundle, seen: Observations, noise: Noise) -> Motion:
    """Still if corners stay, turning if they move as a turn says or the centres of key frames do not move."""
    if max(frame.apart for frame in world.frames) < STILL and len(world.key_frames) == 1:
        return "still"
    if max(frame.turn[1] for frame in world.frames) >= TURNING:
        return "free"
    if len(world.key_frames) == 1:
        return "turning"
    centres = inverse(bundle.camera_from_world)[:, :3, 3]
    moved = np.linalg.norm(centres - centres[0], axis=1)
    sigma = centre_sigma(bundle, seen, world.camera, noise)
    least = LEAST_MOVE * float(np.nanmedian(np.concatenate([each.depth * each.factor for each in world.key_frames])))
    return "free" if (moved > np.maximum(SIGNIFICANT * sigma, least)).any() else "turning"


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


def _interpolated_all(world: World, key_poses: Float64[np.ndarray, "k 4 4"]) -> Poses:
    """World from camera of all frames, from the key frames'."""
    return np.stack([_between(world, number, key_poses) for number in range(len(world.frames))])


def _between(world: World, number: int, key_poses: Float64[np.ndarray, "k 4 4"]) -> RigidTransform:
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
