"""All key frames and landmarks of a segment at once, and what that says of the frames between."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.bundle import Bundle, Noise, Observations, adjusted, centre_sigma, noise_of, residual_pixels
from recon.bundle import focal_sigma as focal_sigma_of
from recon.geometry import inverse, rigid
from recon.io.trajectory import interpolate
from recon.stages.pose.keyframes import Numbers, observations
from recon.stages.pose.loops import Loop, loops
from recon.stages.pose.segment import Motion, Segment, Structure
from recon.stages.pose.world import NOISE, World
from recon.types import CameraTrajectory, Intrinsics, RigidTransform

ENOUGH: Final = 250
"""Landmarks that each key frame has in the adjustment, if it sees as many."""
STEPS: Final = 10
"""Of the adjustment that tells how exact corners and depths are."""
OPTIMISM: Final = 8.0
"""Errors of a refined focal length over what its standard deviation would be if all observations were independent: 4 to
12 in 5 to 16 key frames of 7-Scenes, HoloLens and TartanAir, with depth of a network or a sensor, from 15 % off."""
SHARP: Final = 0.05
"""Relative standard deviation up to which a focal length is refined."""
CONTRADICTED: Final = 3.0
"""Median error of a loop that is none, pixels."""
WORSE: Final = 0.8
"""Part of the observations of a key frame that may be nearer than it is drawn apart."""
LOOSEST: Final = 20.0
"""Pixels."""
PULLED: Final = 0.25
"""Part of the way from the focal length with which corners were followed that may be missing at the end."""
STILL: Final = 0.5
"""Median distance, pixels, up to which corners count as unmoved."""
TURNING: Final = 1.0
"""Median error, pixels, up to which a turn alone explains where corners are."""
SIGNIFICANT: Final = 4.0
"""Standard deviations by which a camera's centre has to move to have moved."""
LEAST_MOVE: Final = 0.005
"""Movement that nobody can tell from the faults of a lens, in median depths."""

Poses = Float64[np.ndarray, "n 4 4"]


def refined(world: World, focal_sigma: float = 0.0) -> Segment:
    """The poses and landmarks of a finished segment, and its focal length where that is not sure: see `_focused`."""
    times = np.array([frame.time for frame in world.frames])
    starts = np.array([key_frame.frame for key_frame in world.key_frames])
    start, seen, landmark = _closed(world, replace(NOISE, focal=focal_sigma / OPTIMISM))
    noise = replace(noise_of(start, seen, world.camera) or NOISE, focal=focal_sigma / OPTIMISM)
    bundle, sigma = _focused(start.in_unit_of_depth(), seen, world.camera, noise)
    bundle = bundle.in_unit_of_depth()
    motion = _motion(world, bundle, seen, noise)
    poses = _interpolated_all(world, bundle.camera_from_world) if motion == "free" else _turned(world, motion)
    structure = Structure(starts, bundle.landmarks, world.landmarks.color[landmark], seen)
    if motion != "free":  # each turn was found with the focal length that was known beforehand
        return Segment(CameraTrajectory(times, poses), motion, world.camera, Structure.without_landmarks(starts))
    return Segment(CameraTrajectory(times, poses), motion, bundle.zoomed(world.camera), structure, sigma)


def _focused(start: Bundle, seen: Observations, camera: Intrinsics, noise: Noise) -> tuple[Bundle, float | None]:
    """Adjusted; with a focal length of its own only where the pictures say it, and then how sure that is.

    Said is what is known twice as well as before and to `SHARP`. Else it stays that of the camera. Focal length and
    depth trade with each other, and corners and depth maps err alike from frame to frame, so errors are `OPTIMISM`
    times as large as those of independent observations: the prior is made sharper by it and not all else less sharp.
    """
    bundle = adjusted(start, seen, camera, noise)
    sigma, before = (OPTIMISM * each for each in (focal_sigma_of(bundle, seen, camera, noise), noise.focal))
    if 0 < sigma <= min(SHARP, before / 2):
        return bundle, float(np.hypot(sigma, PULLED * np.log(bundle.focal_factor)))
    if noise.focal == 0:
        return bundle, None
    return adjusted(replace(start, focal_factor=1.0), seen, camera, replace(noise, focal=0.0)), None


def _closed(world: World, noise: Noise) -> tuple[Bundle, Observations, Numbers]:
    """All key frames, adjusted with the loops between them; a loop that all the rest contradicts is none."""
    found = list(loops(world.key_frames, world.landmarks, world.camera))
    bundle, seen, landmark = _settled(world, found, noise)
    agreeing = [loop for loop in found if _error(loop, bundle, seen, landmark, world.camera) < CONTRADICTED]
    return (bundle, seen, landmark) if len(agreeing) == len(found) else _settled(world, agreeing, noise)


def _error(loop: Loop, bundle: Bundle, seen: Observations, landmark: Numbers, camera: Intrinsics) -> float:
    """Median distance between where a loop sees landmarks and where they should be, pixels."""
    of_it = seen.of((seen.camera == loop.now) & np.isin(landmark[seen.landmark], loop.seen.landmark))
    return float(np.median(residual_pixels(bundle, of_it, camera))) if len(of_it.camera) else 0.0


def _settled(world: World, found: Sequence[Loop], noise: Noise) -> tuple[Bundle, Observations, Numbers]:
    """Adjusted; first so loosely, if there are loops, that what drifted apart is pulled together and no mismatch."""
    bundle, seen, landmark = _bundle(world, found)
    if found:
        loose = replace(noise, pixel=_widest(bundle, seen, world.camera))
        bundle = adjusted(bundle, seen, world.camera, loose, most_steps=STEPS)
    return adjusted(bundle, seen, world.camera, noise, most_steps=STEPS), seen, landmark


def _widest(bundle: Bundle, seen: Observations, camera: Intrinsics) -> float:
    """How far apart things are in the key frame in which they are farthest apart: its worse observations, pixels."""
    off = residual_pixels(bundle, seen, camera)
    worse = [np.quantile(off[seen.camera == number], WORSE) for number in np.unique(seen.camera)]
    return float(np.clip(max(worse, default=0), NOISE.pixel, LOOSEST))


def _bundle(world: World, found: Sequence[Loop]) -> tuple[Bundle, Observations, Numbers]:
    """All key frames with the landmarks that two of them see: what is seen, and which these are."""
    key_frames = list(world.key_frames)
    for loop in found:
        key_frames[loop.now] = key_frames[loop.now].seeing(loop.seen)
    seen, landmark = observations(key_frames, len(world.landmarks.position), ENOUGH)
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
    length = _lengthened(world, key_poses)
    return np.stack([_between(world, number, key_poses, length) for number in range(len(world.frames))])


def _lengthened(world: World, key_poses: Float64[np.ndarray, "k 4 4"]) -> float:
    """How much longer the steps from key frame to key frame are than they were first found."""
    found = np.linalg.norm([each.from_last[:3, 3] for each in world.key_frames[1:]], axis=-1)
    steps = np.linalg.norm(np.diff(inverse(key_poses)[:, :3, 3], axis=0), axis=1)
    moved = found > 0
    return float(np.median(steps[moved] / found[moved])) if moved.any() else 1.0


def _between(world: World, number: int, key_poses: Float64[np.ndarray, "k 4 4"], length: float) -> RigidTransform:
    """World from camera of a frame: as it was found from the key frames beside it, carried over to where these are."""
    frame, key_frames = world.frames[number], world.key_frames
    first, start = frame.key_frame, key_frames[frame.key_frame].frame
    camera_from_first = _longer(frame.camera_from_key, length)
    by_first = inverse(camera_from_first @ key_poses[first])
    if number == start or first + 1 == len(key_frames):
        return by_first
    second = key_frames[first + 1]
    first_from_second = inverse(_longer(second.from_last, length))
    by_second = inverse(camera_from_first @ first_from_second @ key_poses[first + 1])
    return interpolate(by_first, by_second, (number - start) / (second.frame - start))


def _longer(a_from_b: RigidTransform, length: float) -> RigidTransform:
    return rigid(a_from_b[:3, :3], a_from_b[:3, 3] * length)
