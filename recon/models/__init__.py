"""The only home of torch. What the rest of recon knows of a network is one of these Protocols: numpy in, numpy out."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float32

from recon.types import MetricPicture, Picture
from recon.types import Quantity as Quantity

Features = TypeVar("Features")
Memory = TypeVar("Memory")


@runtime_checkable
class DisparityNetwork(Protocol[Features]):
    """A network for video, cut where work can be shared: each frame is encoded once, windows of frames are decoded.

    ``Features`` is opaque: what ``encode`` returns for one picture goes back into ``decode`` unchanged.
    """

    @property
    def quantity(self) -> Quantity:
        """What ``decode`` returns."""

    @property
    def window(self) -> int:
        """Frames that one ``decode`` sees together; 1 for a network that knows single pictures only."""

    @property
    def batch(self) -> int:
        """Pictures that are best handed to one ``encode`` call."""

    @property
    def identity(self) -> dict[str, str]:
        """What tells two networks apart (name, sha256 of the weights, input size, precision): part of a store's key."""

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) at which the network works on pictures of this size."""

    def encode(self, pictures: Sequence[Picture]) -> Sequence[Features]:
        """Features of each picture, at any size, all of one size. The result for a picture is its own alone."""

    def decode(self, features: Sequence[Features], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        """One map for each of the (at most ``window``) features, resized bilinearly to ``size`` = (height, width)."""


@runtime_checkable
class StreamingNetwork(DisparityNetwork[Features], Protocol[Features, Memory]):
    """A network that can also go frame by frame: one in, one out, with a memory that does not grow without bound.

    ``Memory`` is opaque and never changed in place.
    """

    def follow(
        self, features: Features, memory: Memory | None, size: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "h w"], Memory]:
        """The map of the next frame, resized bilinearly to ``size``, and the memory after it; None at the start."""

    def saved(self, memory: Memory) -> Mapping[str, np.ndarray]:
        """The memory as arrays, from which the same bits come back."""

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Memory:
        """The memory that ``saved`` gave."""


@runtime_checkable
class MetricNetwork(Protocol):
    """A network that sees the camera in a single picture, and metres, unless it says that it does not."""

    @property
    def metric(self) -> bool:
        """Whether its depth is in metres; otherwise it has no unit, and only the camera is of use."""

    @property
    def identity(self) -> dict[str, str]:
        """Name and sha256 of the weights."""

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        """Depth and intrinsics at the picture's size; ``fov_x`` in degrees where it is already known."""
