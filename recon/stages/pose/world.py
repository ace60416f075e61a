"""Key frames and landmarks of one run of frames, and the cameras that are placed among them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from recon.bundle import Bundle, Noise, adjusted
from recon.geometry import inverse, project, transform
from recon.stages.pose.features import features, pairs
from recon.stages.pose.flow import Grey, Pixels, corners, followed, grey
from recon.stages.pose.keyframes import NOTHING, Colors, KeyFrame, Landmarks, Memory, Numbers, Seen, observations
from recon.stages.pose.perspective import Matches, doubt, fix, polished
from recon.types import DepthFrame, DepthMap, Intrinsics, Picture, RigidTransform

RECENT: Final = 8
"""Key frames whose pictures are remembered: landmarks are looked for in them, and lost cameras."""
SOUGHT: Final = 4
"""Key frames whose landmarks are looked for in a new key frame, whether they were followed up to it or not."""
OVERLAP: Final = 0.6
"""A frame that shows less than this part of the last key frame's landmarks becomes a key frame."""
MOVED: Final = 0.06
"""So does one in which they have moved by this part of the picture's width."""
OFTEN: Final = 2
MOVED_LATE: Final = 0.005
"""After so many frames, a smaller movement suffices: more views of the same landmarks are more exact."""
AGREEING: Final = 0.7
"""Part of the corners that agree with a pose that nothing contests."""
LASTING: Final = 60
"""Landmarks that suffice to place a camera."""
NEAR: Final = 4.0
"""Pixels within which a landmark must be found from where it is expected."""
ADJUSTED: Final = 8
"""Key frames that are adjusted together when a new one has come."""
ENOUGH: Final = 200
"""Landmarks that each of them has in the adjustment, if it sees as many."""
HELD: Final = 3
"""Of these, the oldest ones, which stay where they are."""
STEPS: Final = 4
"""Of that adjustment: the next one goes on, and the last one, of all key frames, goes to the end."""
NOISE: Final = Noise(pixel=0.5, depth=0.2, map=0.3)
"""Of corners that are followed, and of the depth maps of networks for single pictures."""
LEAST_CORNERS: Final = 12
"""Fewer corners do not say that a camera only turns."""
LEAST_FACTORS: Final = 30
"""Fewer landmarks do not say how a depth map compares with the world."""


TURNS: Final = 5
"""Rounds in which the corners of a turn are weighed anew, for least absolute errors."""
LEAST_ERROR: Final = 0.1
"""Pixels, below which an error is none."""


class Placed(NamedTuple):
    """A frame that was placed."""

    time: float
    key_frame: int
    """The last key frame up to it."""
    camera_from_key: RigidTransform
    """From the camera of that one, as it was first found."""
    apart: float
    """Median distance of a corner from where it was in that key frame, pixels."""
    turn: tuple[Float64[np.ndarray, "3 3"], float]
    """The turn since that key frame if the camera only turned, and the median error of corners then, pixels."""


class _Recent(NamedTuple):
    """What is remembered of a key frame only for a while."""

    number: int
    picture: Grey


class World:
    """A segment while it grows."""

    def __init__(self, intrinsics: Intrinsics) -> None:
        self._intrinsics = intrinsics
        self.landmarks = Landmarks()
        self.key_frames: list[KeyFrame] = []
        self.frames: list[Placed] = []
        self._recent: list[_Recent] = []
        self._seen = NOTHING
        self._picture: Grey = np.zeros((0, 0), np.uint8)
        self._last: RigidTransform = np.eye(4)
        self._velocity: RigidTransform = np.eye(4)
        self._lost = False
        self.contested = 0
        """Frames in which many corners did not move as the camera's pose says."""
        self.reason = ""
        """Why the last frame that could not be placed was not."""

    @property
    def camera(self) -> Intrinsics:
        """That of the pictures in which corners are followed."""
        return self._camera(self._picture)

    def begin(self, frame: DepthFrame) -> int:
        """The first frame: the world is its camera. Returns how many landmarks it shows."""
        self._place(frame.frame.time, grey(frame.frame.rgb), np.eye(4), self._seen)
        return self._remember(frame, np.eye(4), self._seen)

    def place(self, frame: DepthFrame) -> bool:
        """Place another frame; where it shows much that is new, it becomes a key frame."""
        picture = grey(frame.frame.rgb)
        found = self._followed(picture)
        key_frame = found is None or self._shows_much_new(found[1])
        if found is None:
            found = self._recognised(picture)
        if found is None:
            return False
        if key_frame:
            found = self._sought(picture, *found)
        pose, seen = found
        self._velocity = np.eye(4) if self._lost else pose @ inverse(self._last)
        self._lost = False
        self._place(frame.frame.time, picture, pose, seen)
        if key_frame:
            self._remember(frame, pose, seen)
        return True

    def lose(self) -> None:
        """A frame was not placed: nothing is known of how the camera moved meanwhile."""
        self._lost, self._velocity = True, np.eye(4)

    def _camera(self, picture: Grey) -> Intrinsics:
        height, width = picture.shape
        return self._intrinsics.scaled(width, height)

    def _place(self, time: float, picture: Grey, pose: RigidTransform, seen: Seen) -> None:
        self._seen, self._picture, self._last = seen, picture, pose
        if not self.key_frames:
            self.frames.append(Placed(time, 0, np.eye(4), 0.0, (np.eye(3), 0.0)))
            return
        key_frame = self.key_frames[-1]
        then, now = _common(key_frame.seen, seen)
        apart = float(np.median(np.linalg.norm(now - then, axis=1))) if len(now) else np.inf
        turn = turned(then, now, self._camera(picture)) if len(now) >= LEAST_CORNERS else (np.eye(3), np.inf)
        camera_from_key = pose @ inverse(key_frame.camera_from_world)
        self.frames.append(Placed(time, len(self.key_frames) - 1, camera_from_key, apart, turn))

    # ------------------------------------------------------------------------------------------------- finding

    def _followed(self, picture: Grey) -> tuple[RigidTransform, Seen] | None:
        """By the corners of the last frame."""
        pose = self._velocity @ self._last
        expected = self._expected(pose, self._seen, picture)
        pixel, there = followed(self._picture, picture, self._seen.pixel, expected)
        tracked = Seen(self._seen.landmark, pixel).of(there)
        found = self._fixed_by(tracked, picture, pose)
        if found is not None and len(found[1].landmark) < AGREEING * len(tracked.landmark):
            self.contested += 1
        return found

    def _recognised(self, picture: Grey) -> tuple[RigidTransform, Seen] | None:
        """By the descriptors of the last key frames: after a gap, a blur, a jerk. No landmark is known by that."""
        described = features(picture)
        key_frames = [self.key_frames[recent.number] for recent in self._recent]
        matches = [pairs(described.descriptors, each.memory.descriptors) for each in key_frames]
        points = [
            transform(inverse(each.camera_from_world), each.places(pair[:, 1]))
            for each, pair in zip(key_frames, matches, strict=True)
        ]
        pixels = [described.pixels[pair[:, 0]] for pair in matches]
        found = fix(Matches(np.concatenate(points), np.concatenate(pixels)), self._camera(picture))
        self.reason = doubt(found, sum(map(len, pixels)), inverse(self._last)) or ""
        return None if found is None or self.reason else (inverse(found.world_from_camera), NOTHING)

    def _fixed_by(self, seen: Seen, picture: Grey, expected: RigidTransform) -> tuple[RigidTransform, Seen] | None:
        """By landmarks that agreed with several key frames, if there are enough; the others then only have to agree.

        So what moves by itself has no say, however rich in corners it is: its landmarks do not last.
        """
        camera = self._camera(picture)
        matches = Matches(self.landmarks.position[seen.landmark], seen.pixel)
        lasting = seen.of(self.landmarks.views[seen.landmark] > 1)
        if len(lasting.landmark) < LASTING:
            found = fix(matches, camera, expected=expected)
        else:
            found = fix(Matches(self.landmarks.position[lasting.landmark], lasting.pixel), camera, expected=expected)
            found = polished(inverse(found.world_from_camera), matches, camera) if found is not None else None
        self.reason = doubt(found, len(matches.pixels), inverse(self._last)) or ""
        return None if found is None or self.reason else (inverse(found.world_from_camera), seen.of(found.inliers))

    def _expected(self, pose: RigidTransform, seen: Seen, picture: Grey) -> Pixels:
        """Where landmarks should be; where they were, for those that should be behind the camera."""
        pixel = self._projected(pose, seen.landmark, picture)
        return np.where(np.isnan(pixel), seen.pixel, pixel)

    def _projected(self, pose: RigidTransform, landmark: Numbers, picture: Grey) -> Pixels:
        """NaN for those behind the camera."""
        return project(transform(pose, self.landmarks.position[landmark]), self._camera(picture))

    # ------------------------------------------------------------------------------------------------- key frames

    def _shows_much_new(self, seen: Seen) -> bool:
        reference = self.key_frames[-1].seen
        then, now = _common(reference, seen)
        if len(now) < OVERLAP * len(reference.landmark):
            return True
        late = len(self.frames) - self.key_frames[-1].frame >= OFTEN
        least = (MOVED_LATE if late else MOVED) * self._picture.shape[1]
        return bool(np.median(np.linalg.norm(now - then, axis=1)) > least)

    def _sought(self, picture: Grey, pose: RigidTransform, seen: Seen) -> tuple[RigidTransform, Seen]:
        """Landmarks as they were first seen, each found anew: what is followed for long drifts, and some were lost."""
        born = self.landmarks.key_frame
        remembered = np.isin(born[seen.landmark], [recent.number for recent in self._recent])
        sought = (
            self._sought_in(recent, picture, pose, seen.of(born[seen.landmark] == recent.number))
            for recent in self._recent
        )
        together = Seen(*(np.concatenate(column) for column in zip(seen.of(~remembered), *sought, strict=True)))
        return self._fixed_by(together, picture, pose) or (pose, seen)

    def _sought_in(self, recent: _Recent, picture: Grey, pose: RigidTransform, seen: Seen) -> Seen:
        """The landmarks of a key frame: all of them, or, if it is an old one, those that were followed."""
        newest = recent.number >= len(self.key_frames) - SOUGHT
        landmark = np.flatnonzero(self.landmarks.key_frame == recent.number) if newest else seen.landmark
        expected = self._projected(pose, landmark, picture)
        ahead = np.isfinite(expected[:, 0])
        _, known, followed_ones = np.intersect1d(landmark, seen.landmark, return_indices=True)
        expected[known] = seen.pixel[followed_ones]
        height, width = picture.shape
        visible = ahead & ((expected > 0) & (expected < [width, height])).all(axis=1)
        landmark, expected = landmark[visible], expected[visible]
        pixel, there = followed(recent.picture, picture, self.landmarks.pixel[landmark], expected, levels=1)
        near = np.linalg.norm(pixel - expected, axis=1) < NEAR
        return Seen(landmark, pixel).of(there & near)

    def _remember(self, frame: DepthFrame, pose: RigidTransform, seen: Seen) -> int:
        """Make the frame that was placed last a key frame, with new landmarks; returns how many it shows."""
        number, picture, depth, camera = len(self.key_frames), self._picture, frame.depth, self.camera
        at = depth_at(depth, seen.pixel, camera)
        factor = self._factor(pose, seen, at)
        new = corners(picture, seen.pixel)
        places, known = _in_camera(new, depth, camera)
        color = _colors(frame.frame.rgb, new[known], camera)
        added = self.landmarks.add(transform(inverse(pose), places * factor), new[known], color, number)
        seen = Seen(np.concatenate([seen.landmark, added]), np.concatenate([seen.pixel, new[known]]))
        from_last = self.frames[-1].camera_from_key
        described = features(picture)
        points, known = _in_camera(described.pixels, depth, camera)
        memory = Memory.of(picture, described.of(known), points.astype(np.float32))
        at = np.append(at, places[:, 2])
        self.landmarks.views[seen.landmark] += 1
        self.key_frames.append(KeyFrame(len(self.frames) - 1, pose, from_last, factor, seen, at, memory))
        self._recent = [*self._recent, _Recent(number, picture)][-RECENT:]
        self.frames[-1] = self.frames[-1]._replace(key_frame=number, camera_from_key=np.eye(4))
        self._adjust(camera)
        self._seen, self._last = seen, self.key_frames[-1].camera_from_world
        return len(seen.landmark)

    def _factor(self, pose: RigidTransform, seen: Seen, depth: Float64[np.ndarray, " n"]) -> float:
        """How much farther known landmarks are than a depth map says, so that new ones stand beside them."""
        factors = transform(pose, self.landmarks.position[seen.landmark])[:, 2] / depth
        factors = factors[np.isfinite(factors) & (factors > 0)]
        return float(np.median(factors)) if len(factors) >= LEAST_FACTORS else 1.0

    def _adjust(self, camera: Intrinsics) -> None:
        """The last key frames and their landmarks, among those before, which stay."""
        first = max(0, len(self.key_frames) - ADJUSTED)
        window = self.key_frames[first:]
        observed, kept = observations(window, len(self.landmarks.position), ENOUGH)
        if len(window) < 2 or not len(kept):
            return
        bundle = Bundle(
            np.stack([each.camera_from_world for each in window]),
            np.array([each.factor for each in window]),
            self.landmarks.position[kept],
        )
        held = np.arange(len(window)) < (HELD if first else 1)
        result = adjusted(bundle, observed, camera, NOISE, held=held, most_steps=STEPS)
        self.key_frames[first:] = [
            replace(each, camera_from_world=pose, factor=float(factor))
            for each, pose, factor in zip(window, result.camera_from_world, result.depth_factor, strict=True)
        ]
        self._carry(window, first)
        self.landmarks.position[kept] = result.landmarks

    def _carry(self, before: Sequence[KeyFrame], first: int) -> None:
        """Landmarks stay where the key frame that first saw them has them."""
        for number, (then, now) in enumerate(zip(before, self.key_frames[first:], strict=True), first):
            born = self.landmarks.key_frame == number
            world_from_world = inverse(now.camera_from_world) @ then.camera_from_world
            self.landmarks.position[born] = transform(world_from_world, self.landmarks.position[born])


def _common(a: Seen, b: Seen) -> tuple[Pixels, Pixels]:
    """Where both pictures show what both of them show."""
    _, in_a, in_b = np.intersect1d(a.landmark, b.landmark, return_indices=True)
    return a.pixel[in_a], b.pixel[in_b]


def depth_at(depth: DepthMap, pixel: Pixels, camera: Intrinsics) -> Float64[np.ndarray, " n"]:
    """Depth at image coordinates, bilinear in inverse depth (exact on planes); NaN beside unknown pixels."""
    if not len(pixel):
        return np.zeros(0)
    height, width = depth.shape
    at = (pixel * [width / camera.width, height / camera.height] - 0.5).astype(np.float32)
    inverse_depth = cv2.remap(1 / depth, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderValue=np.nan)
    depths: Float64[np.ndarray, " n"] = 1 / inverse_depth[:, 0].astype(np.float64)
    return depths


def _colors(picture: Picture, pixel: Pixels, camera: Intrinsics) -> Colors:
    height, width = picture.shape[:2]
    column, row = (pixel * [width / camera.width, height / camera.height]).astype(int).T
    colors: Colors = picture[row, column]
    return colors


def _in_camera(
    pixel: Pixels, depth: DepthMap, camera: Intrinsics
) -> tuple[Float64[np.ndarray, "m 3"], Bool[np.ndarray, " n"]]:
    """Places of pixels whose depth is known, and which those are."""
    z = depth_at(depth, pixel, camera)
    known = np.isfinite(z)
    return rays(pixel[known], camera) * z[known, None], known


def rays(pixel: Pixels, camera: Intrinsics) -> Float64[np.ndarray, "n 3"]:
    """Directions of pixels in the camera, with z = 1."""
    return np.column_stack([(pixel - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones(len(pixel))])


def turned(then: Pixels, now: Pixels, camera: Intrinsics) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """How a camera turned if it did nothing else: the rotation (Umeyama, PAMI 1991), and the median error in pixels."""
    a, b = (unit / np.linalg.norm(unit, axis=1, keepdims=True) for unit in (rays(then, camera), rays(now, camera)))
    rotation = _rotation(a, b, np.ones(len(a)))
    for _ in range(TURNS):
        rotation = _rotation(a, b, 1 / np.maximum(np.linalg.norm(b - a @ rotation.T, axis=1), LEAST_ERROR / camera.fx))
    return rotation, float(np.median(np.linalg.norm(b - a @ rotation.T, axis=1)) * camera.fx)


def _rotation(
    a: Float64[np.ndarray, "n 3"], b: Float64[np.ndarray, "n 3"], weight: Float64[np.ndarray, " n"]
) -> Float64[np.ndarray, "3 3"]:
    """That of b = R a, by least squares (Umeyama, PAMI 1991)."""
    u, _, vt = np.linalg.svd((b * weight[:, None]).T @ a)
    rotation: Float64[np.ndarray, "3 3"] = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return rotation
