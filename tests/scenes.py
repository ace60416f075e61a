"""Analytic worlds for the whole test suite: the renderer of ``samples/`` and a network that knows the truth.

scene, camera = room(), Intrinsics.from_fov(65.0, 160, 120)
views = rendered(scene, camera, hand_held(8, 1.0).world_from_camera)     # [(rgb, depth), ...]
network = TrueDisparityNetwork(views)
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache

import cv2
import numpy as np
from furnished import hand_held, room
from jaxtyping import Float32
from raycast import Ball, Box, Scene, render, render_depth

from recon.models import Quantity
from recon.types import DepthMap, Intrinsics, Picture, RigidTransform

__all__ = [
    "PHONE",
    "Ball",
    "Box",
    "Scene",
    "TrueDisparityNetwork",
    "View",
    "hand_held",
    "render",
    "render_depth",
    "rendered",
    "room",
    "walk",
]

View = tuple[Picture, DepthMap]

PHONE = Intrinsics.from_fov(65.0, 320, 240)
"""The camera of ``walk``."""


def rendered(scene: Scene, intrinsics: Intrinsics, poses: Iterable[RigidTransform], *, samples: int = 2) -> list[View]:
    """The picture and the exact depth that each pose sees."""
    return [render(scene, intrinsics, pose, samples=samples) for pose in poses]


@cache
def walk() -> tuple[list[View], np.ndarray]:
    """Twenty-four views of a fast walk of two seconds through the furnished room, and world_from_camera of each.

    Most tests of cameras that move look at these, or at some of them: rendered once, to be read alone.
    """
    poses = hand_held(24, 2.0).world_from_camera
    return rendered(room(), PHONE, poses, samples=1), poses


class TrueDisparityNetwork:
    """A ``DisparityNetwork`` that recognises pictures it was shown with their depth, and says the truth about them.

    Every decode answers in a scale and shift of its own (as a real relative network does for every window), which
    depend on the seed and on the pictures in the window, not on the order of the calls.
    """

    quantity: Quantity = "disparity"

    def __init__(self, views: Iterable[View], *, seed: int = 0, window: int = 32, batch: int = 4) -> None:
        self._disparity = {_key(rgb): (1 / depth).astype(np.float32) for rgb, depth in views}
        self._seed = seed
        self.window = window
        self.batch = batch

    @property
    def identity(self) -> dict[str, str]:
        return {"name": "truth", "seed": str(self._seed), "pictures": str(len(self._disparity))}

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def encode(self, pictures: Sequence[Picture]) -> list[bytes]:
        """The names of the pictures; KeyError for one that the network was not shown."""
        keys = [_key(picture) for picture in pictures]
        for key, picture in zip(keys, pictures, strict=True):
            if key not in self._disparity:
                raise KeyError(f"a picture {picture.shape} that TrueDisparityNetwork was not shown")
        return keys

    def affine(self, features: Sequence[bytes]) -> tuple[float, float]:
        """Scale (0.5 to 2) and shift (0 to 0.5, 1/m) of the answer to this window."""
        digest = hashlib.sha256(b"".join(features)).digest()
        rng = np.random.default_rng([self._seed, int.from_bytes(digest[:8], "little")])
        return float(2 ** rng.uniform(-1, 1)), float(rng.uniform(0, 0.5))

    def decode(self, features: Sequence[bytes], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        if len(features) > self.window:
            raise ValueError(f"{len(features)} pictures in a window of {self.window}")
        scale, shift = self.affine(features)
        maps = [cv2.resize(self._disparity[key], size[::-1], interpolation=cv2.INTER_LINEAR) for key in features]
        return np.stack(maps) * np.float32(scale) + np.float32(shift)


def _key(picture: Picture) -> bytes:
    """What a picture is known by: a hash of its size and bytes."""
    return hashlib.sha256(repr(picture.shape).encode() + np.ascontiguousarray(picture).tobytes()).digest()
