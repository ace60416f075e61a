"""From disparity to lengths: which anchor a shot has, and the scale and shift that follow from it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from recon.errors import AlignmentError
from recon.fitting import Line
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.models import MetricNetwork
from recon.pipelines.depth import DepthMaps
from recon.smoothing import DriftFit, LineCurve
from recon.stages.agreement import Agreement, agreements, thinned
from recon.stages.align import ROWS_OF_A_PICTURE, fit_shot, relative_gauge
from recon.stages.anchors import from_depth_map, from_sparse
from recon.stages.letterbox import Content
from recon.types import Correspondences, DepthEstimate, DepthMap, Intrinsics, Quantity, SparsePoints, Units

logger = logging.getLogger(__name__)

PROBES = 16
"""Maps of a shot that are looked at to choose a gauge, a far limit and a voxel."""


class Anchor(Protocol):
    """Something that knows lengths in some pictures of a shot."""

    @property
    def units(self) -> Units:
        """Of its lengths."""

    @property
    def origin(self) -> str:
        """What it is, for the report."""

    @property
    def consistent(self) -> bool:
        """Whether its lengths agree from picture to picture, as those of a map do and those of a network do not.

        What scatters is then the disparity, and each picture is corrected by its own places.
        """

    def covers(self, shot: ShotSpan) -> bool:
        """Whether it should know anything of this shot."""

    def correspondences(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[Correspondences]:
        """Disparities of the shot beside the inverse depths that they should be."""


@dataclass(frozen=True, slots=True)
class GivenFirstDepth:
    """A metric depth map of the very first frame."""

    depth: DepthMap
    origin: str
    units: Units = "metres"
    consistent: bool = True

    def covers(self, shot: ShotSpan) -> bool:
        """The first shot."""
        return shot.start == 0

    def correspondences(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[Correspondences]:
        """The first frame."""
        first = next(maps.estimates(shot.start))
        yield from_depth_map(disparity_of(first.values, maps.quantity), self.depth, time=first.time)


@dataclass(frozen=True, slots=True)
class MetricFirstPicture:
    """What a metric network says of the first picture of each shot."""

    network: MetricNetwork
    source: Source
    camera: Intrinsics
    """Of the whole picture."""
    content: Content
    """What the network sees of it: it takes the principal point to be the middle."""
    origin: str
    units: Units = "metres"
    consistent: bool = False

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Every shot has a first picture."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[Correspondences]:
        """The first frame of the shot."""
        first = next(maps.estimates(shot.start))
        picture = self.source.picture(first.time)
        inside = self.network(self.content.cropped(picture), self.content.inner_camera(self.camera).fov_x)
        depth = self.content.padded(inside.depth, *picture.shape[:2])
        yield from_depth_map(disparity_of(first.values, maps.quantity), depth, time=first.time)


@dataclass(frozen=True, slots=True)
class SlamMap:
    """Landmarks of a SLAM or SfM map, wherever they were seen."""

    points: SparsePoints
    units: Units
    origin: str
    consistent: bool = True

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Where landmarks were seen is found on the way."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan) -> Iterator[Correspondences]:
        """Every frame of the shot in which landmarks were seen."""
        for estimate in islice(maps.estimates(shot.start), shot.count):
            yield from_sparse(self.points, estimate.time, disparity_of(estimate.values, maps.quantity))


@dataclass(frozen=True, slots=True)
class Gauge:
    """Lengths from the numbers of one shot: 1 / z = scale(t) * disparity + shift(t)."""

    curve: LineCurve
    units: Units
    origin: str
    fit: DriftFit | None
    """How well the numbers are known; None where nothing was fitted."""
    agreements: tuple[Agreement, ...] = ()
    """How anchor and maps get on in each anchored picture."""


def disparity_of(values: DepthMap, quantity: Quantity) -> DepthMap:
    """Inverse depth up to scale and shift, whatever the maps hold; NaN where depth is not positive."""
    if quantity == "disparity":
        return values
    inverse: DepthMap = np.divide(1, values, where=values > 0, out=np.full_like(values, np.nan))
    return inverse


def gauge_shot(maps: DepthMaps, shot: ShotSpan, anchor: Anchor | None) -> Gauge:
    """Scale and shift of one shot: from the anchor, else the maps' own metres, else relative units.

    Raises:
        AlignmentError: the anchor does not determine them for the first shot.
    """
    anchored = None if anchor is None else _anchored(maps, shot, anchor)
    if anchored is not None:
        return anchored
    if maps.quantity == "depth":
        return Gauge(LineCurve.constant(Line(1.0, 0.0)), "metres", "the depth maps' own metres", None)
    line = relative_gauge(probe.values for probe in probes(maps, shot))
    return Gauge(LineCurve.constant(line), "relative", "no anchor", None)


def _anchored(maps: DepthMaps, shot: ShotSpan, anchor: Anchor) -> Gauge | None:
    if not anchor.covers(shot):
        logger.warning("shot %d (from frame %d) has no anchor: %s is of the first shot", *_place(shot), anchor.origin)
        return None
    try:
        seen = list(thinned(anchor.correspondences(maps, shot), ROWS_OF_A_PICTURE))
        fit = fit_shot(seen)
    except AlignmentError as error:
        if shot.start == 0:
            raise AlignmentError(f"{anchor.origin}: {error}") from error
        logger.warning("shot %d (from frame %d) has no anchor: %s", *_place(shot), error)
        return None
    curve = fit.own if anchor.consistent else fit.smooth
    return Gauge(curve, anchor.units, anchor.origin, fit, agreements(seen, fit))


def _place(shot: ShotSpan) -> tuple[int, int]:
    return shot.shot, shot.start


def probes(maps: DepthMaps, shot: ShotSpan, count: int = PROBES) -> Iterator[DepthEstimate]:
    """A few maps, evenly spread over a shot."""
    last = shot.start + shot.count - 1
    for index in np.unique(np.linspace(shot.start, last, min(count, shot.count)).astype(int)):
        yield next(maps.estimates(int(index)))
