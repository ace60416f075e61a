"""Camera poses: looked up in a known trajectory, or estimated from the pictures and their depth."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64

from recon.geometry import inverse, rigid, transform
from recon.types import DepthFrame, DepthMap, Frame, Intrinsics, Picture, PosedFrame, RigidTransform

logger = logging.getLogger(__name__)

FEATURES = 1000
"""Features that are kept of a picture."""
WORKING_SIZE = 640
"""Longer side of the picture in which features are found, pixels."""
PATCH = 31
"""Pixels that ORB describes around a feature, in its level of the pyramid."""
RATIO = 0.85
"""A match counts if the second best is so much worse (Lowe, IJCV 2004, section 7.1)."""
KEY_FRAMES = 6
"""Key frames that are remembered."""
NEAREST_KEY_FRAMES = 3
"""Key frames that a frame is matched with; the older ones are tried only where these do not place it."""
OVERLAP = 0.45
"""A frame that shares less than this part of its features with every key frame becomes a key frame."""
TOLERANCE = 0.004
"""Distance between a feature and its projected point up to which they agree, in picture widths."""
POLISHING_STEPS = 10
"""Most steps of Gauss-Newton."""
LEAST_FEATURES = 50
"""A picture with fewer features of known depth cannot begin a segment."""
LEAST_INLIERS = 25
"""Fewer agreeing matches do not make a pose."""
LEAST_AGREEMENT = 0.25
"""Smallest part of the matches that has to agree with a pose."""
LEAST_CERTAINTY = 0.03
"""Largest standard deviation of the camera's position that is believed, in median depths."""
LARGEST_TURN = 45.0
"""Rotation between two frames that is not believed, degrees."""
LARGEST_STEP = 0.6
"""Movement between two frames that is not believed, in median depths."""
PATIENCE = 5
"""Frames in a row that may fail before a new segment begins at the first of them."""


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
            yield _posed(frame, intrinsics, pose, 0)


def track(
    frames: Iterable[DepthFrame], intrinsics: Intrinsics, *, first_segment: int = 0
) -> Generator[PosedFrame, None, None]:
    """Estimate the pose of each frame from features of its picture and the depth of a few key frames before it.

    The picture places the camera (ORB, Rublee et al., ICCV 2011; perspective-n-point inside RANSAC, SQPnP, Terzakis and
    Lourakis, ECCV 2020; then Tukey's least squares); depth only says where the key frames' features are. Errors of
    predicted depth, smooth over a picture and different in each frame, ruin trackers that fit depth to depth.

    The world of a segment is the camera of its first frame. Where frames cannot be placed, a warning says which: up to
    `PATIENCE` such frames in a row are left out; more begin a new segment, whose number is one higher. Memory is
    bounded: `KEY_FRAMES` key frames are kept. The same frames give the same poses.

    Args:
        frames: Pictures with depth, in the order of time.
        intrinsics: The camera, at any size of the same picture.
        first_segment: Number of the first segment.
    """
    source = _Rewindable(frames)
    segment = first_segment
    blank = 0
    for first in source:
        features = _features(first.frame.rgb)
        key_frame = _key_frame(first, features, intrinsics, np.eye(4))
        if len(key_frame.points) < LEAST_FEATURES:
            if blank == 0:
                logger.warning("%s: too few features of known depth to begin at; left out", _name(first.frame))
            blank += 1
            continue
        blank = 0
        if segment > first_segment:
            logger.warning("%s: segment %d begins, with a world of its own", _name(first.frame), segment)
        yield _posed(first, intrinsics, np.eye(4), segment)
        source.put_back((yield from _followed(source, _World(key_frame), intrinsics, segment)))
        segment += 1


def _followed(
    source: Iterator[DepthFrame], world: "_World", intrinsics: Intrinsics, segment: int
) -> Generator[PosedFrame, None, list[DepthFrame]]:
    """The frames that the world places; returns the frames at the end that it could not place."""
    lost: list[DepthFrame] = []
    for frame in source:
        pose = world.place(frame, intrinsics)
        if pose is not None:
            if lost:
                logger.warning("%s: %d frames could not be placed; left out", _span(lost), len(lost))
                lost = []
            yield _posed(frame, intrinsics, pose, segment)
            continue
        lost.append(frame)
        if len(lost) > PATIENCE:
            break
    if lost:
        logger.warning("%s: tracking is lost (%s)", _span(lost), world.reason)
    return lost


def _posed(frame: DepthFrame, intrinsics: Intrinsics, pose: RigidTransform, segment: int) -> PosedFrame:
    height, width = frame.depth.shape
    return PosedFrame(frame.frame, frame.depth, intrinsics.scaled(width, height), pose, segment)


def _name(frame: Frame) -> str:
    return f"frame {frame.index} ({frame.time:.2f} s)"


def _span(frames: Sequence[DepthFrame]) -> str:
    first, last = _name(frames[0].frame), _name(frames[-1].frame)
    return first if len(frames) == 1 else f"{first} to {last}"


class _Rewindable(Iterator[DepthFrame]):
    """An iterator that takes frames back."""

    def __init__(self, frames: Iterable[DepthFrame]) -> None:
        self._rest = iter(frames)
        self._returned: deque[DepthFrame] = deque()

    def __next__(self) -> DepthFrame:
        return self._returned.popleft() if self._returned else next(self._rest)

    def put_back(self, frames: Sequence[DepthFrame]) -> None:
        self._returned.extendleft(reversed(frames))


@dataclass(frozen=True, slots=True)
class _Features:
    pixels: Float64[np.ndarray, "n 2"]
    """Image coordinates, corner origin."""
    descriptors: Float32[np.ndarray, "n 256"]
    """Bits as -1 and +1, over 16: the scalar product of two is 1 - Hamming distance / 128."""


@dataclass(frozen=True, slots=True)
class _KeyFrame:
    points: Float64[np.ndarray, "n 3"]
    """World positions of the features."""
    descriptors: Float32[np.ndarray, "n 256"]


@dataclass(frozen=True, slots=True)
class _Matches:
    """Features of a frame beside points of the world, key frame after key frame."""

    points: Float64[np.ndarray, "n 3"]
    pixels: Float64[np.ndarray, "n 2"]
    key_frame: Int64[np.ndarray, " n"]
    """Which of the key frames that were asked the point comes from."""


class _World:
    """The last key frames of a segment, and the pose of the last frame placed among them."""

    def __init__(self, first: _KeyFrame) -> None:
        self._key_frames = deque([first], maxlen=KEY_FRAMES)
        self._last: RigidTransform = np.eye(4)
        self.reason = ""
        """Why the last frame that could not be placed was not."""

    def place(self, frame: DepthFrame, intrinsics: Intrinsics) -> RigidTransform | None:
        """The pose of a frame, or None; where it sees much that is new, it becomes a key frame."""
        height, width = frame.depth.shape
        camera = intrinsics.scaled(width, height)
        features = _features(frame.frame.rgb)
        recent = list(islice(reversed(self._key_frames), NEAREST_KEY_FRAMES))
        older = list(islice(reversed(self._key_frames), NEAREST_KEY_FRAMES, None))
        for key_frames in (recent, older):
            if not key_frames:
                continue
            matches = _matched(features, key_frames)
            fix = _fix(matches, camera)
            self.reason = _doubt(fix, len(matches.points), self._last) or ""
            if not self.reason and fix is not None:
                self._last = fix.world_from_camera
                if _overlap(fix, matches, key_frames, features) < OVERLAP:
                    self._key_frames.append(_key_frame(frame, features, intrinsics, self._last))
                return self._last
        return None


def _overlap(fix: "_Fix", matches: _Matches, key_frames: Sequence[_KeyFrame], features: _Features) -> float:
    """Largest part of a key frame's points, or of the frame's features if they are fewer, that both see."""
    seen = np.bincount(matches.key_frame[fix.inliers], minlength=len(key_frames))
    most = [max(1, min(len(key_frame.points), len(features.pixels))) for key_frame in key_frames]
    return float((seen / most).max())


def _features(picture: Picture) -> _Features:
    """ORB features, in a picture reduced to `WORKING_SIZE`."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    size = np.array(grey.shape[::-1])
    reduced = np.maximum(1, np.rint(size * min(1.0, WORKING_SIZE / size.max()))).astype(int)
    if (reduced < size).any():
        grey = cv2.resize(grey, reduced.tolist(), interpolation=cv2.INTER_AREA)
    found, bits = cv2.ORB.create(FEATURES, patchSize=PATCH, fastThreshold=10).detectAndCompute(grey, None)
    if not found:
        return _Features(np.zeros((0, 2)), np.zeros((0, 256), np.float32))
    # ORB multiplies the pixel number in a level of its pyramid by the level's scale; its centre is half such a pixel on
    scale = np.array([[key_point.size for key_point in found]]).T / PATCH
    pixels = (np.asarray(cv2.KeyPoint.convert(found), np.float64) + 0.5 * scale) * (size / reduced)
    signs = np.unpackbits(np.asarray(bits, np.uint8), axis=1).astype(np.float32) * 2 - 1
    return _Features(pixels, signs / 16)


def _key_frame(frame: DepthFrame, features: _Features, intrinsics: Intrinsics, pose: RigidTransform) -> _KeyFrame:
    """The features of a frame whose depth is known, in space."""
    height, width = frame.depth.shape
    camera = intrinsics.scaled(width, height)
    depth = _depth_at(frame.depth, features.pixels)
    known = np.isfinite(depth)
    pixels = features.pixels[known]
    rays = np.concatenate([(pixels - [camera.cx, camera.cy]) / [camera.fx, camera.fy], np.ones((len(pixels), 1))], 1)
    return _KeyFrame(transform(pose, rays * depth[known, None]), features.descriptors[known])


def _depth_at(depth: DepthMap, pixels: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, " n"]:
    """Depth at image coordinates, bilinear in inverse depth (exact on planes); NaN beside unknown pixels."""
    if not len(pixels):
        return np.zeros(0)
    at = (pixels - 0.5).astype(np.float32)
    inverse_depth = cv2.remap(1 / depth, at[:, :1], at[:, 1:], cv2.INTER_LINEAR, borderValue=np.nan)
    depths: Float64[np.ndarray, " n"] = 1 / inverse_depth[:, 0].astype(np.float64)
    return depths


def _matched(features: _Features, key_frames: Sequence[_KeyFrame]) -> _Matches:
    pairs = [_pairs(features.descriptors, key_frame.descriptors) for key_frame in key_frames]
    return _Matches(
        np.concatenate([key_frame.points[pair[:, 1]] for key_frame, pair in zip(key_frames, pairs, strict=True)]),
        np.concatenate([features.pixels[pair[:, 0]] for pair in pairs]),
        np.repeat(np.arange(len(pairs)), [len(pair) for pair in pairs]),
    )


def _pairs(a: Float32[np.ndarray, "n d"], b: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, "k 2"]:
    """Rows of a and b that are each other's nearest, and clearly nearer than the second nearest of b."""
    if not len(a) or len(b) < 2:
        return np.zeros((0, 2), np.int64)
    likeness = a @ b.T
    rows = np.arange(len(a))
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == rows
    nearest = 1 - likeness[rows, best]
    likeness[rows, best] = -1
    clear = nearest < RATIO * (1 - likeness.max(axis=1))
    kept = mutual & clear
    return np.stack([rows[kept], best[kept]], axis=-1)


@dataclass(frozen=True, slots=True)
class _Fix:
    """A pose and what speaks for it."""

    world_from_camera: RigidTransform
    inliers: Bool[np.ndarray, " n"]
    """Which matches agree with it."""
    median_depth: float
    """Median depth of those."""
    uncertainty: float
    """Standard deviation of the camera's position, if features are good to half the tolerance."""


def _fix(matches: _Matches, camera: Intrinsics) -> _Fix | None:
    """The pose with which most matches agree; None where there is none."""
    if len(matches.points) < LEAST_INLIERS:
        return None
    tolerance = TOLERANCE * camera.width
    # OpenCV draws the samples from a generator of its own with a fixed seed: no global state, the same pose each time.
    found, turn, shift, _ = cv2.solvePnPRansac(
        matches.points,
        matches.pixels,
        camera.matrix,
        None,
        iterationsCount=1000,
        reprojectionError=tolerance,
        confidence=0.9999,
        flags=cv2.SOLVEPNP_SQPNP,
    )
    if not found or not np.isfinite([turn, shift]).all():
        return None
    return _polished(rigid(cv2.Rodrigues(turn)[0], shift[:, 0]), matches, camera, tolerance)


def _polished(
    camera_from_world: RigidTransform, matches: _Matches, camera: Intrinsics, tolerance: float
) -> _Fix | None:
    """Gauss-Newton on reprojection errors with Tukey's weights, which are zero from the tolerance on."""
    for _ in range(POLISHING_STEPS):
        information, gradient, _ = _normal_equations(camera_from_world, matches, camera, tolerance)
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, gradient)
        camera_from_world = rigid(cv2.Rodrigues(step[3:])[0], step[:3]) @ camera_from_world
        if np.abs(step).max() < 1e-7:
            break
    information, _, inliers = _normal_equations(camera_from_world, matches, camera, tolerance)
    if not inliers.any() or np.linalg.cond(information) > 1e12:
        return None
    covariance = np.linalg.inv(information) * (tolerance / 2) ** 2
    depth = transform(camera_from_world, matches.points[inliers])[:, 2]
    uncertainty = float(np.sqrt(np.trace(covariance[:3, :3])))
    return _Fix(inverse(camera_from_world), inliers, float(np.median(depth)), uncertainty)


def _normal_equations(
    camera_from_world: RigidTransform, matches: _Matches, camera: Intrinsics, tolerance: float
) -> tuple[Float64[np.ndarray, "6 6"], Float64[np.ndarray, "6"], Bool[np.ndarray, " n"]]:
    """J'WJ and J'Wr of the reprojection errors, and which matches have a weight."""
    residuals, jacobian, depth = _linearised(camera_from_world, matches, camera)
    agreement = np.where(depth > 0, 1 - np.square(residuals).sum(axis=1) / tolerance**2, 0)
    weights = np.maximum(0, agreement) ** 2
    rows = jacobian.reshape(-1, 6)
    weighted = rows * np.repeat(weights, 2)[:, None]
    return weighted.T @ rows, weighted.T @ residuals.ravel(), weights > 0


def _linearised(
    camera_from_world: RigidTransform, matches: _Matches, camera: Intrinsics
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "n 2 6"], Float[np.ndarray, " n"]]:
    """Reprojection errors in pixels, their derivatives by a small movement of the points (shift, turn), and depths.

    Source: Sola et al., A micro Lie theory for state estimation in robotics (2018), for the left perturbation; the
    derivative of x / z and y / z by x, y, z times [I | -[X]x].
    """
    x, y, z = transform(camera_from_world, matches.points).T
    depth = z
    z = np.where(z > 0, z, np.inf)  # points behind the camera have no weight
    u, v, none = x / z, y / z, np.zeros_like(z)
    by_x = np.stack([1 / z, none, -u / z, -u * v, 1 + u * u, -v], axis=-1) * camera.fx
    by_y = np.stack([none, 1 / z, -v / z, -1 - v * v, u * v, u], axis=-1) * camera.fy
    projected = np.stack([u * camera.fx + camera.cx, v * camera.fy + camera.cy], axis=-1)
    return matches.pixels - projected, np.stack([by_x, by_y], axis=1), depth


def _doubt(fix: _Fix | None, matches: int, last: RigidTransform) -> str | None:
    """What speaks against a pose; None if nothing does."""
    if fix is None:
        return f"{matches} matches agree with no camera"
    inliers = int(fix.inliers.sum())
    move = inverse(last) @ fix.world_from_camera
    turn = np.degrees(np.arccos(np.clip((np.trace(move[:3, :3]) - 1) / 2, -1, 1)))
    step = np.linalg.norm(move[:3, 3])
    if inliers < LEAST_INLIERS or inliers < LEAST_AGREEMENT * matches:
        return f"{inliers} of {matches} matches agree"
    if fix.uncertainty > LEAST_CERTAINTY * fix.median_depth:
        return f"{inliers} matches leave the position open to {fix.uncertainty:.2g} at depth {fix.median_depth:.2g}"
    if turn > LARGEST_TURN or step > LARGEST_STEP * fix.median_depth:
        return f"a jump of {step:.2g} and {turn:.0f} degrees at depth {fix.median_depth:.2g}"
    return None


__all__ = ["posed", "track"]
