"""Key frames, landmarks, and which of these see which of those."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from recon.bundle import Observations
from recon.stages.pose.features import Features, packed, unpacked
from recon.stages.pose.flow import Grey, Pixels, rank
from recon.types import RigidTransform

QUALITY: Final = 95
"""Of JPEG pictures."""

Numbers = Int64[np.ndarray, " n"]
Colors = UInt8[np.ndarray, "n 3"]


class Seen(NamedTuple):
    """Landmarks and where a picture shows them."""

    landmark: Numbers
    pixel: Pixels

    def of(self, chosen: Bool[np.ndarray, " n"]) -> "Seen":
        """Some of them."""
        return Seen(self.landmark[chosen], self.pixel[chosen])


NOTHING: Final = Seen(np.zeros(0, np.int64), np.zeros((0, 2)))


@dataclass(frozen=True, slots=True)
class Memory:
    """What is kept of a key frame."""

    picture: UInt8[np.ndarray, " bytes"]
    pixels: Float32[np.ndarray, "n 2"]
    points: Float32[np.ndarray, "n 3"]
    """In its camera, by its depth map."""
    bits: UInt8[np.ndarray, "n 32"]

    @classmethod
    def of(cls, picture: Grey, described: Features, points: Float32[np.ndarray, "n 3"]) -> "Memory":
        """Features whose depth is known, the strongest first."""
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return cls(jpeg, described.pixels.astype(np.float32), points, packed(described.descriptors))

    @property
    def grey(self) -> Grey:
        """Its picture."""
        return np.asarray(cv2.imdecode(self.picture, cv2.IMREAD_GRAYSCALE), np.uint8)

    @property
    def descriptors(self) -> Float32[np.ndarray, "n 256"]:
        """Of its features."""
        return unpacked(self.bits)


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame whose landmarks are remembered."""

    frame: int
    """Place among the frames of the segment."""
    camera_from_world: RigidTransform
    from_last: RigidTransform
    """Its camera from that of the key frame before, as it was first found."""
    factor: float
    """Depth in the world over that of its depth map."""
    seen: Seen
    depth: Float64[np.ndarray, " n"]
    """Of its depth map, at each of them."""
    memory: Memory

    def places(self, rows: Numbers) -> Float64[np.ndarray, "n 3"]:
        """Of some of the features of its memory, in its camera and as long as things are in the world."""
        return np.asarray(self.memory.points[rows] * np.float64(self.factor))

    def seeing(self, more: Seen) -> "KeyFrame":
        """With landmarks that it sees as well, of whose depth its map says nothing; those that it has stay."""
        new = more.of(~np.isin(more.landmark, self.seen.landmark))
        seen = Seen(*(np.concatenate(column) for column in zip(self.seen, new, strict=True)))
        return replace(self, seen=seen, depth=np.append(self.depth, np.full(len(new.landmark), np.nan)))


class Landmarks:
    """Places in the world, each with the key frame and the pixel in which it was first seen."""

    def __init__(self) -> None:
        self.position: Float64[np.ndarray, "p 3"] = np.zeros((0, 3))
        self.pixel: Pixels = np.zeros((0, 2))
        self.color: Colors = np.zeros((0, 3), np.uint8)
        self.key_frame: Numbers = np.zeros(0, np.int64)
        self.views: Numbers = np.zeros(0, np.int64)
        """Key frames that see it."""

    def add(self, position: Float64[np.ndarray, "n 3"], pixel: Pixels, color: Colors, key_frame: int) -> Numbers:
        """Numbers of the new ones."""
        first = len(self.position)
        self.position = np.concatenate([self.position, position])
        self.pixel = np.concatenate([self.pixel, pixel])
        self.color = np.concatenate([self.color, color])
        self.key_frame = np.concatenate([self.key_frame, np.full(len(position), key_frame)])
        self.views = np.concatenate([self.views, np.zeros(len(position), np.int64)])
        return np.arange(first, len(self.position))


def observations(key_frames: Sequence[KeyFrame], landmarks: int, enough: int) -> tuple[Observations, Numbers]:
    """What key frames show of the landmarks that two of them show, and which landmarks these are.

    Args:
        key_frames: some of them.
        landmarks: how many there are.
        enough: landmarks of a key frame; of those that show more, the ones that most key frames see take part, and what
            another key frame needs.
    """
    camera = np.repeat(np.arange(len(key_frames)), [len(each.seen.landmark) for each in key_frames])
    landmark = np.concatenate([each.seen.landmark for each in key_frames])
    times_seen = np.bincount(landmark, minlength=landmarks)
    useful = np.zeros(landmarks, bool)
    useful[landmark[rank(camera, -times_seen[landmark]) < enough]] = True
    chosen = (useful & (times_seen >= 2))[landmark]
    kept, row = np.unique(landmark[chosen], return_inverse=True)
    pixel = np.concatenate([each.seen.pixel for each in key_frames])[chosen]
    depth = np.concatenate([each.depth for each in key_frames])[chosen]
    return Observations(camera[chosen], row, pixel, depth), kept
