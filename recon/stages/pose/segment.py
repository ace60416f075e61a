"""What is estimated."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from recon.bundle import Observations
from recon.types import CameraTrajectory, Intrinsics

Motion = Literal["free", "turning", "still"]


@dataclass(frozen=True, slots=True)
class Moment:
    """When a frame is."""

    index: int
    time: float
    """Seconds."""

    def __str__(self) -> str:
        return f"frame {self.index} ({self.time:.2f} s)"


def span(moments: Sequence[Moment]) -> str:
    """From the first to the last, for a person."""
    first, last = moments[0], moments[-1]
    return str(first) if first == last else f"{first} to {last}"


@dataclass(frozen=True, slots=True)
class Structure:
    """Landmarks, and where key frames see them."""

    key_frames: Int64[np.ndarray, " k"]
    """Rows of the trajectory."""
    landmarks: Float64[np.ndarray, "p 3"]
    """In the world."""
    colors: UInt8[np.ndarray, "p 3"]
    """sRGB."""
    seen: Observations
    """Its cameras are rows of ``key_frames``, its pixels those of the segment's intrinsics."""

    @classmethod
    def without_landmarks(cls, key_frames: Int64[np.ndarray, " k"]) -> "Structure":
        """Key frames alone."""
        none, nowhere = np.zeros(0, np.int64), np.zeros((0, 3))
        seen = Observations(none, none, np.zeros((0, 2)), np.zeros(0))
        return cls(key_frames, nowhere, np.zeros((0, 3), np.uint8), seen)


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames that share a world: the camera of the first of them."""

    trajectory: CameraTrajectory
    """One pose for each frame that could be placed."""
    motion: Motion
    """Whether the camera moves, only turns (its place is then one and the same), or does neither."""
    intrinsics: Intrinsics
    """The camera, at the size of the pictures in which landmarks were looked for."""
    structure: Structure
    """Without landmarks where nothing says how far they are: a camera that does not move."""
    focal_sigma: float | None = None
    """Standard deviation of the focal length, relative; None where the pictures did not say it, but somebody before."""
