"""Which camera took the pictures: the best that is known, and where it is known from. Nothing is guessed in silence."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from recon.errors import CameraError
from recon.types import Intrinsics

logger = logging.getLogger(__name__)

ASSUMED_FOV = 60.0
"""Degrees along the longer side of the picture: a phone's main camera while it films (26 mm equivalent, cropped)."""


_ASSUMED = "assumed"
"""Where a camera comes from that nobody knows."""
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
    """Median absolute deviation of the measured field of view, degrees; None if it was given or assumed."""

    @property
    def assumed(self) -> bool:
        """Whether nothing at all is known of it."""
        return self.origin == _ASSUMED


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


def from_fov(fov_x: float | None, origin: str, width: int, height: int, spread: float | None = None) -> Camera | None:
    """A centred camera with square pixels from a horizontal field of view in degrees, where that is known."""
    if fov_x is None:
        return None
    return Camera(Intrinsics.from_fov(fov_x, width, height), origin, spread)


def assumed(width: int, height: int) -> Camera:
    """The camera of a phone, said aloud: shapes come out stretched or squashed along z if it is wrong."""
    logger.warning(
        "the field of view of the camera is not known: %.0f degrees along the longer side are assumed; "
        "--fov, --intrinsics or MoGe would know better",
        ASSUMED_FOV,
    )
    along_longer = Intrinsics.from_fov(ASSUMED_FOV, max(width, height), min(width, height))
    focal = along_longer.fx
    return Camera(Intrinsics(focal, focal, width / 2, height / 2, width, height), _ASSUMED, None)
