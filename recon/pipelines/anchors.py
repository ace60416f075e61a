"""What may anchor a run: metric depth of first frames or of some frames, given or from MoGe; landmarks of a map."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, tee

import numpy as np
from jaxtyping import Float64, Int64

from recon.errors import OptionError
from recon.io.depth import DepthFolder
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.models import MetricNetwork
from recon.pipelines.depth import DepthMaps
from recon.pipelines.metres import CameraOf, disparity_of
from recon.pipelines.straight import StraightDepth
from recon.pipelines.units import MapScale
from recon.settings import AnchorSettings
from recon.stages.anchors import TOLERANCE, from_depth_map, from_sparse
from recon.stages.letterbox import Content
from recon.types import Correspondences, DepthEstimate, DepthMap, Intrinsics, Quantity, SparsePoints, Units

logger = logging.getLogger(__name__)

SeenAt = Callable[[Sequence[float], CameraOf], SparsePoints]
"""Landmarks that the pictures of some times show; more, where that costs nothing."""


@dataclass(frozen=True, slots=True)
class GivenFirstDepth:
    """A metric depth map of the very first frame."""

    depth: DepthMap
    origin: str
    units: Units = "metres"
    consistent: bool = True
    unit_sigma: float = 0.0

    def covers(self, shot: ShotSpan) -> bool:
        """The first shot."""
        return shot.start == 0

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:  # noqa: ARG002 - an Anchor
        """The first frame."""
        yield _beside(next(maps.estimates(shot.start)), maps.quantity, self.depth)


@dataclass(frozen=True, slots=True)
class GivenDepths:
    """Metric depth maps of some pictures: a phone's lidar, a scanner, a rendering."""

    folder: DepthFolder
    times: Float64[np.ndarray, " n"]
    """Of every map, seconds, increasing."""
    numbers: Int64[np.ndarray, " n"]
    """Of every map in the folder."""
    first_alone: bool
    """Whether only the first map of each shot counts."""
    origin: str
    straight: StraightDepth
    """What becomes of a map where the distortion is taken out of the pictures."""
    units: Units = "metres"
    consistent: bool = True
    unit_sigma: float = 0.0

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Which frames have maps is found on the way."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:  # noqa: ARG002 - an Anchor
        """Every frame of the shot that has a map."""
        found = islice(self._found(maps, shot), 1 if self.first_alone else None)
        estimates, numbered = tee(found)
        depths = self.folder.maps(number for _estimate, number in numbered)
        for (estimate, _number), depth in zip(estimates, depths, strict=True):
            yield _beside(estimate, maps.quantity, self.straight(estimate.time, depth))

    def tell_unused(self, pictures: int, start: float, end: float, frames: int) -> None:
        """Warn where maps between the first and the last frame have found no frame, and frames no map."""
        inside = int(((self.times >= start - TOLERANCE) & (self.times <= end + TOLERANCE)).sum())
        if not self.first_alone and pictures < min(inside, frames):
            logger.warning(
                "%s: %d of %d maps are of no frame (none within %.0f ms) and are not used: see --trajectory-rate, or "
                "name maps by their times",
                self.folder.path,
                inside - pictures,
                inside,
                1000 * TOLERANCE,
            )

    def _found(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[tuple[DepthEstimate, int]]:
        for estimate in islice(maps.estimates(shot.start), shot.count):
            row = int(np.searchsorted(self.times, estimate.time - TOLERANCE))
            if row < len(self.times) and self.times[row] <= estimate.time + TOLERANCE:
                yield estimate, int(self.numbers[row])


@dataclass(frozen=True, slots=True)
class MetricEye:
    """A metric network that looks at pictures of a source."""

    network: MetricNetwork
    source: Source
    content: Content
    """What the network sees of them: it takes the principal point to be the middle."""

    @property
    def has_no_unit(self) -> str:
        """What is to be said of a network that is not metric."""
        return f"{self.network.identity['name']}: its depth has no unit: it tells the field of view only"

    def require_unit(self, option: str) -> None:
        """Refuse a network that is not metric, for an option that needs one.

        Raises:
            OptionError: it is not.
        """
        if not self.network.metric:
            raise OptionError(f"{option}: {self.has_no_unit}; give --moge-weights of MoGe-2")

    def depth(self, time: float, camera: Intrinsics) -> DepthMap:
        """Metric depth of the picture at a time, or of the first one after it; NaN outside the content."""
        picture = self.source.picture(time)
        inside = self.network(self.content.cropped(picture), self.content.inner_camera(camera).fov_x)
        return self.content.padded(inside.depth, *picture.shape[:2])


@dataclass(frozen=True, slots=True)
class MetricPictures:
    """What a metric network says of the first picture of each shot, and of others after it."""

    eye: MetricEye
    every: float | None
    """Seconds between two pictures; None: the first alone."""
    origin: str
    units: Units = "metres"
    consistent: bool = False
    unit_sigma: float = 0.0

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Every shot has a first picture."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:
        """The first frame of the shot, the first one after each period, and the last one, unless it follows soon."""
        for estimate in self._asked(maps, shot):
            yield _beside(estimate, maps.quantity, self.eye.depth(estimate.time, camera()))

    def _asked(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[DepthEstimate]:
        estimates = islice(maps.estimates(shot.start), shot.count)
        first = latest = next(estimates)
        yield first
        if self.every is None:
            return
        periods = 0
        for estimate in estimates:
            due = int((estimate.time - first.time + TOLERANCE) / self.every)
            last = estimate.index == shot.start + shot.count - 1
            if due > periods or (last and estimate.time - latest.time > self.every / 2):
                periods, latest = due, estimate
                yield estimate


@dataclass(frozen=True, slots=True)
class SlamMap:
    """Landmarks of a SLAM or SfM map, wherever they were seen."""

    seen_at: SeenAt
    times: Float64[np.ndarray, " n"]
    """When some were seen, or may have been, seconds, increasing."""
    units: Units
    origin: str
    bare: bool
    """Whether nothing says what a picture shows of it, so that it is found by projection."""
    consistent: bool = True
    unit_sigma: float = 0.0
    unit: float = 1.0
    """Length of the landmarks' own unit."""

    def in_metres(self, scale: MapScale) -> "SlamMap":
        """The same map, once the length of its unit is known; one that is in metres stays."""
        if self.units == "metres":
            return self
        origin = f"{self.origin}; {scale.sentence}"
        return replace(self, unit=scale.metres_per_unit, units="metres", unit_sigma=scale.sigma, origin=origin)

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Where landmarks were seen is found on the way."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:
        """Every frame of the shot in which landmarks were seen."""
        for estimate in islice(maps.estimates(shot.start), shot.count):
            points = self.seen_at([estimate.time], camera)
            seen = from_sparse(points, estimate.time, disparity_of(estimate.values, maps.quantity))
            yield replace(seen, inverse_depth=seen.inverse_depth / self.unit)


def _beside(estimate: DepthEstimate, quantity: Quantity, depth: DepthMap) -> Correspondences:
    return from_depth_map(disparity_of(estimate.values, quantity), depth, time=estimate.time)


# ----------------------------------------------------------------------------------------------------------------- MoGe

Eye = Callable[[], MetricEye | None]
"""Loads the network for metres, if there is one, when it is first asked for."""


def metric_anchor(settings: AnchorSettings, quantity: Quantity, eye: Eye) -> MetricPictures | None:
    """MoGe, where nothing is given and metres are wanted; not for maps that are metric themselves, unless it is named.

    Raises:
        OptionError: it is named, and has no unit.
    """
    wanted = settings.anchor
    if wanted in {"none", "sparse"} or (quantity == "depth" and wanted == "auto") or (looking := eye()) is None:
        return None
    if wanted == "auto" and not looking.network.metric:
        logger.warning("%s; MoGe-2 would give metres", looking.has_no_unit)
        return None
    looking.require_unit(f"--anchor {wanted}")
    if wanted == "first":
        return MetricPictures(looking, None, "MoGe, first frame of the shot")
    return MetricPictures(looking, settings.anchor_every, f"MoGe, every {settings.anchor_every:g} s")
