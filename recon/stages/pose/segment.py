"""What is estimated."""

from dataclasses import dataclass
from typing import Literal

from recon.types import CameraTrajectory

Motion = Literal["free", "turning", "still"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Frames that share a world: the camera of the first of them."""

    trajectory: CameraTrajectory
    """One pose for each frame that could be placed."""
    motion: Motion
    """Whether the camera moves, only turns (its place is then one and the same), or does neither."""
    key_frames: int
