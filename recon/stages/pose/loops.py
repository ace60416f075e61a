"""Places that are seen again: what key frames show of what a much earlier one showed, so that drift does not stay.

Of every key frame some 100 kB are kept: its picture (JPEG), and features with their places. Key frames that look alike
are compared by all their features; a camera that agrees with them (perspective-n-point) says where to look for the
landmarks of the earlier one, and these are looked for as they were seen then (Lucas and Kanade), to a fraction of a
pixel. A feature alone would be no such landmark: it lies a pixel or two off.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64
from scipy import sparse

from recon.geometry import inverse, project, transform
from recon.stages.pose.features import RATIO, pairs
from recon.stages.pose.flow import followed
from recon.stages.pose.keyframes import KeyFrame, Landmarks, Memory, Seen
from recon.stages.pose.perspective import Matches, doubt, fix
from recon.types import Intrinsics, RigidTransform

APART: Final = 8
"""Key frames between two that may close a loop: nearer ones are linked by what was followed."""
STRONGEST: Final = 200
"""Features by which all key frames are compared."""
ALIKE: Final = 15
"""Pairs among these from which on two key frames look alike."""
LINKED: Final = 40
"""Landmarks that both see from which on no loop is needed between them."""
TRIED: Final = 2
"""Earlier key frames that are tried, those that look most alike."""
ROUNDS: Final = 150
"""Samples of features: enough where two in five of them agree."""
NEAR: Final = 4.0
"""Pixels within which a landmark must be found from where it is expected."""
AT_ONCE: Final = 64
"""Key frames that are compared at once: bounds the memory."""
LEAST_FOUND: Final = 20
"""Fewer landmarks do not close a loop."""


class Loop(NamedTuple):
    """Landmarks that a key frame sees again."""

    now: int
    then: int
    seen: Seen
    """Where the later one shows landmarks of the earlier one."""


def loops(key_frames: Sequence[KeyFrame], landmarks: Landmarks, camera: Intrinsics) -> Iterator[Loop]:
    """Every second key frame beside the earlier ones that look most like it and share little with it."""
    strongest = np.stack([_first(each.memory.descriptors, STRONGEST) for each in key_frames])
    seeing = _seeing(key_frames, len(landmarks.position))
    for now in range(APART, len(key_frames), 2):
        shared = seeing @ seeing[[now]].toarray()[0]
        for then in _candidates(strongest, now, shared):
            found = _closed(key_frames, landmarks, camera, now, then)
            if found is not None:
                yield found


def _first(rows: Float32[np.ndarray, "n 256"], count: int) -> Float32[np.ndarray, "count 256"]:
    """The first rows, filled up with zeros, which are like nothing."""
    filled = np.zeros((count, rows.shape[1]), np.float32)
    filled[: len(rows)] = rows[:count]
    return filled


def _seeing(key_frames: Sequence[KeyFrame], landmarks: int) -> sparse.csr_array:
    """1 where a key frame sees a landmark."""
    seen = [each.seen.landmark for each in key_frames]
    starts = np.concatenate([[0], np.cumsum([len(each) for each in seen])])
    together = np.concatenate(seen)
    return sparse.csr_array((np.ones(len(together)), together, starts), shape=(len(seen), landmarks))


def _candidates(strongest: Float32[np.ndarray, "k s 256"], now: int, shared: Float64[np.ndarray, " k"]) -> list[int]:
    """The earlier key frames that look most like this one, but for those that landmarks link to it anyway."""
    earlier = np.array_split(strongest[: now - APART + 1], range(AT_ONCE, now - APART + 1, AT_ONCE))
    alike = np.concatenate([_alike(strongest[now], some) for some in earlier])
    alike[shared[: len(alike)] >= LINKED] = 0
    best = np.argsort(-alike, kind="stable")[:TRIED]
    return [int(then) for then in best if alike[then] >= ALIKE]


def _alike(one: Float32[np.ndarray, "s 256"], others: Float32[np.ndarray, "k s 256"]) -> Int64[np.ndarray, " k"]:
    """How many ``pairs`` there are with each: in one product, as one for each costs more to call than to do."""
    likeness = (one @ others.reshape(-1, one.shape[1]).T).reshape(len(one), *others.shape[:2])
    best = likeness.argmax(axis=2, keepdims=True)
    nearest = np.take_along_axis(likeness, best, axis=2)[..., 0]
    mutual = np.take_along_axis(likeness.argmax(axis=0)[None], best, axis=2)[..., 0] == np.arange(len(one))[:, None]
    np.put_along_axis(likeness, best, -1, axis=2)
    clear = 1 - nearest < RATIO * (1 - likeness.max(axis=2))
    count: Int64[np.ndarray, " k"] = (mutual & clear).sum(axis=0)
    return count


def _closed(
    key_frames: Sequence[KeyFrame], landmarks: Landmarks, camera: Intrinsics, now: int, then: int
) -> Loop | None:
    """The loop between two key frames, if they show the same place."""
    later, earlier = key_frames[now], key_frames[then]
    earlier_from_later = _beside(later.memory, earlier, camera)
    if earlier_from_later is None:
        return None
    unseen = earlier.seen.of(~np.isin(earlier.seen.landmark, later.seen.landmark))
    place = transform(earlier.camera_from_world, landmarks.position[unseen.landmark])
    expected = project(transform(inverse(earlier_from_later), place), camera)
    inside = np.logical_and.reduce((expected > 0) & (expected < [camera.width, camera.height]), axis=1)  # not for NaN
    unseen, expected = unseen.of(inside), expected[inside]
    pixel, there = followed(earlier.memory.grey, later.memory.grey, unseen.pixel, expected, levels=1)
    near = np.square(pixel - expected).sum(axis=1) < NEAR**2
    found = Seen(unseen.landmark, pixel).of(there & near)
    return Loop(now, then, found) if len(found.landmark) >= LEAST_FOUND else None


def _beside(later: Memory, earlier: KeyFrame, camera: Intrinsics) -> RigidTransform | None:
    """The later camera in the earlier one, by the features of both; None where they do not show the same."""
    pair = pairs(later.descriptors, earlier.memory.descriptors)
    found = fix(Matches(earlier.places(pair[:, 1]), later.pixels[pair[:, 0]].astype(np.float64)), camera, ROUNDS)
    if found is None or doubt(found, len(pair), np.eye(4)) is not None:
        return None
    return found.world_from_camera
