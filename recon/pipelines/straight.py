"""Pictures that a lens bent are made straight before anything looks at them, where somebody says what the lens did."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool

from recon.io.calibration import read_lenses
from recon.io.lens import Lens
from recon.io.points import is_points_file
from recon.io.source import Source
from recon.io.sparse import Straight
from recon.io.trajectory import slam_units
from recon.io.undistorted import UndistortedSource, undistorted
from recon.pipelines.depth import DepthMaps, MapsOf, Observer, SettingsOfDepth, depth_maps
from recon.settings import AnchorSettings, CameraSettings
from recon.stages.camera import Camera, given
from recon.types import DepthEstimate, DepthMap

logger = logging.getLogger(__name__)

Mask = Bool[np.ndarray, "h w"]
StraightDepth = Callable[[float, DepthMap], DepthMap]
"""Time in seconds and a depth map of the picture as it was taken -> that of the picture that is used."""


class SettingsOfLenses(Protocol):
    """The sections of every command that knows a camera."""

    @property
    def camera(self) -> CameraSettings:
        """What is known of the camera."""

    @property
    def anchor(self) -> AnchorSettings:
        """What makes depth metric."""


def straightened(source: Source, settings: SettingsOfLenses) -> Source:
    """The source without distortion, where its lens is known and has any; else the source itself.

    The lens is that of --intrinsics; else of the COLMAP model or transforms.json that is given for points or poses,
    unless --fov says what the pictures are.

    Raises:
        ReconError: a file that is missing, damaged, or does not belong to the source.
    """
    path = calibration_of(settings)
    if path is None:
        return source
    info = source.info
    size = info.height, info.width
    lenses = read_lenses(path, size, times_by_name=source.times_by_name, rate=settings.camera.trajectory_rate)
    if len(lenses.lenses) == 1 and lenses.lenses[0].scaled(info.width, info.height).straight:
        return source
    lenses = lenses.changed(lambda lens: _fitted(lens, str(path), info.width, info.height))
    straight = undistorted(source, lenses, f"{path}, distortion taken out")
    logger.info("%s: %s", path, straight.sentence)
    return straight


def calibration_of(settings: SettingsOfLenses) -> Path | None:
    """The file that says what the lens does, if one is given."""
    camera = settings.camera
    if camera.intrinsics is not None or camera.fov is not None:
        return camera.intrinsics
    given_for_others = (settings.anchor.sparse, camera.trajectory)
    paths = (path for path in given_for_others if path is not None and not is_points_file(path))
    return next((path for path in paths if slam_units(path) == "slam"), None)


def _fitted(lens: Lens, origin: str, width: int, height: int) -> Lens:
    return replace(lens, intrinsics=given(lens.intrinsics, origin, width, height).intrinsics)


def straight_camera(source: Source) -> Camera | None:
    """The pinhole of a source whose distortion was taken out; None for any other."""
    return Camera(source.pinhole, source.origin, None) if isinstance(source, UndistortedSource) else None


def positions_in(source: Source) -> Straight | None:
    """Where features of the pictures as they were taken come to lie in those of the source; None: where they were."""
    return source.positions if isinstance(source, UndistortedSource) else None


def depth_in(source: Source) -> StraightDepth:
    """What becomes of depth maps of the pictures as they were taken, in those of the source."""
    return source.depth if isinstance(source, UndistortedSource) else lambda _time, depth: depth


def straight_masks(source: Source, times: Sequence[float], masks: Callable[[], Iterator[Mask]]) -> Iterator[Mask]:
    """Masks of the pictures as they were taken, one for each time, as they belong to those of the source."""
    if not isinstance(source, UndistortedSource):
        return masks()
    return (source.mask(time, kept) for time, kept in zip(times, masks(), strict=True))


@dataclass(frozen=True, slots=True)
class StraightMaps(MapsOf):
    """Maps that were made for the pictures as they were taken, as they belong to those without distortion."""

    source: UndistortedSource

    def made_of(self, estimate: DepthEstimate) -> DepthMap:
        """The values of a map."""
        change = self.source.depth if self.quantity == "depth" else self.source.disparity
        return change(estimate.time, estimate.values)


@contextmanager
def straight_depth_maps(
    source: Source, output: Path, settings: SettingsOfDepth, observer: Observer
) -> Iterator[tuple[DepthMaps, Mapping[str, str]]]:
    """``depth_maps``, where maps made elsewhere (--depth) are of the pictures as they were taken.

    Raises:
        ReconError: weights, maps or store are missing or do not fit.
    """
    with depth_maps(source, output, settings, observer) as (maps, origin):
        if settings.depth.depth is not None and isinstance(source, UndistortedSource):
            yield StraightMaps(maps, source), origin
        else:
            yield maps, origin
