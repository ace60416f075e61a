"""Which camera took the pictures: the best that is known, and where it is known from. Nothing is guessed in silence."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import hypot, radians, sin
from typing import Final

from recon.errors import CameraError
from recon.fitting import SIGMA_FROM_MAD
from recon.types import Intrinsics

logger = logging.getLogger(__name__)

ASSUMED_FOV = 60.0
"""Degrees along the longer side of the picture: a phone's main camera while it films (26 mm equivalent, cropped)."""


_ASSUMED = "assumed"
"""Where a camera comes from that nobody knows."""
ASSUMED_SIGMA: Final = 0.17
"""Standard deviation, relative, of the focal length of whatever takes videos, around the assumed one: two thirds see
52 to 68 degrees."""
MEASURED_SIGMA: Final = 0.07
"""Of one that a network sees in pictures, an assumption: 3 to 4 degrees, the same in all pictures of a place."""
NOMINAL_SIGMA: Final = 0.05
"""Of one that stands in a video's file: whole millimetres of a photo, while stabilisation crops what is filmed."""
OFF_CENTRE = 0.1
"""Part of a side by which a principal point may be off the middle before a run asks whether it is the right one."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics and the ground they stand on."""

    intrinsics: Intrinsics
    """At the size of the source's pictures."""
    origin: str
    """Where the numbers come from, for the report: "--fov", "MoGe, 8 frames", "assumed" ..."""
    fov_spread: float | None
    """Median absolute deviation of the measured field of view, or standard deviation of the one that was refined,
    degrees; None if it was given or assumed."""
    focal_sigma: float = 0.0
    """Standard deviation of the focal length, relative; 0 where somebody says it, and nothing may change it."""

    @property
    def assumed(self) -> bool:
        """Whether nothing at all is known of it."""
        return self.origin == _ASSUMED

    def refined(self, focal_factor: float, focal_sigma: float, key_frames: int) -> "Camera":
        """The camera whose focal length many pictures together have said, by its factor and how sure that is."""
        known = self.intrinsics
        intrinsics = replace(known, fx=known.fx * focal_factor, fy=known.fy * focal_factor)
        origin = f"refined from {key_frames} key frames; {self.origin}: {known.fov_x:.1f}"
        return Camera(intrinsics, origin, fov_sigma(intrinsics.fov_x, focal_sigma), focal_sigma)


def fov_sigma(fov_x: float, focal_sigma: float) -> float:
    """Standard deviation of a field of view, degrees, from the relative one of its focal length."""
    return focal_sigma * sin(radians(fov_x)) / radians(1)


Source = Callable[[], Camera | None]


def first_known(*sources: Source, width: int, height: int) -> Camera:
    """The camera of the first source that knows it; the sources are asked in order, later ones only if needed."""
    return next(_answers(sources), None) or assumed(width, height)


def _answers(sources: tuple[Source, ...]) -> Iterator[Camera]:
    for source in sources:
        if (camera := source()) is not None:
            yield camera


def given(intrinsics: Intrinsics, origin: str, width: int, height: int) -> Camera:
    """A calibration from a file, brought to the size of the pictures.

    Raises:
        CameraError: the calibration belongs to pictures of another shape.
    """
    shapes = intrinsics.width * height, intrinsics.height * width
    if abs(shapes[0] / shapes[1] - 1) > 0.02:
        raise CameraError(
            f"{origin}: calibrated for {intrinsics.width} x {intrinsics.height} pictures, but these are "
            f"{width} x {height}: a crop or another camera; give the calibration of these pictures"
        )
    scaled = intrinsics.scaled(width, height)
    if max(abs(scaled.cx / width - 0.5), abs(scaled.cy / height - 0.5)) > OFF_CENTRE:
        logger.warning(
            "%s: its principal point (%.0f, %.0f) is far from the middle of a %d x %d picture: does it belong to "
            "this camera, at this size?",
            origin,
            scaled.cx,
            scaled.cy,
            width,
            height,
        )
    return Camera(scaled, origin, None)


def from_fov(fov_x: float | None, origin: str, width: int, height: int, *, focal_sigma: float = 0.0) -> Camera | None:
    """A centred camera with square pixels from a horizontal field of view in degrees, where that is known."""
    if fov_x is None:
        return None
    return Camera(Intrinsics.from_fov(fov_x, width, height), origin, None, focal_sigma)


def measured(intrinsics: Intrinsics, origin: str, fov_spread: float) -> Camera:
    """What a network sees in several pictures: all of them may be wrong in the same way, and they differ."""
    of_pictures = SIGMA_FROM_MAD * radians(fov_spread) / sin(radians(intrinsics.fov_x))
    return Camera(intrinsics, origin, fov_spread, hypot(MEASURED_SIGMA, of_pictures))


def assumed(width: int, height: int) -> Camera:
    """The camera of a phone, said aloud: shapes come out stretched or squashed along z if it is wrong."""
    logger.warning(
        "the field of view of the camera is not known: %.0f degrees along the longer side are assumed; "
        "--fov, --intrinsics or MoGe would know better",
        ASSUMED_FOV,
    )
    along_longer = Intrinsics.from_fov(ASSUMED_FOV, max(width, height), min(width, height))
    focal = along_longer.fx
    return Camera(Intrinsics(focal, focal, width / 2, height / 2, width, height), _ASSUMED, None, ASSUMED_SIGMA)
