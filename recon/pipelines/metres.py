"""From disparity to lengths: the scale and shift of each shot, from what its anchor knows."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recon.errors import AlignmentError
from recon.fitting import Line
from recon.io.store import ShotSpan
from recon.pipelines.depth import DepthMaps, times_of
from recon.smoothing import DriftFit, LineCurve
from recon.stages.agreement import Agreement, agreements
from recon.stages.align import collected, depth_from_disparity, fit_shot, followed, relative_gauge
from recon.types import Correspondences, DepthEstimate, DepthMap, Intrinsics, Quantity, Units

logger = logging.getLogger(__name__)

PROBES = 16
"""Maps of a shot that are looked at to choose a gauge, a far limit and a voxel."""

CameraOf = Callable[[], Intrinsics]
"""Gives the camera of the whole picture; finds it out when it is first asked for."""


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

    @property
    def unit_sigma(self) -> float:
        """Relative standard error of its unit itself, common to all pictures: 0 where it is the unit; NaN: unknown."""

    def covers(self, shot: ShotSpan) -> bool:
        """Whether it should know anything of this shot."""

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:
        """Disparities of the shot beside the inverse depths that they should be."""


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
    unit_sigma: float = 0.0
    """Relative standard error of the anchor's unit itself, which ``fit`` does not know; NaN: unknown."""

    def depth(self, estimate: DepthEstimate, quantity: Quantity) -> DepthMap:
        """Depth along +z of a map of this shot that holds such a quantity; NaN where it is not known."""
        return depth_from_disparity(disparity_of(estimate.values, quantity), self.curve.at(estimate.time))

    @property
    def facts(self) -> dict[str, object]:
        """For a YAML file: no curve, only its middle."""
        curve, fit = self.curve, self.fit
        facts: dict[str, object] = {"units": self.units, "origin": self.origin}
        facts |= {"scale": float(np.median(curve.scale)), "shift": float(np.median(curve.shift))}
        if fit is None:
            return facts
        facts |= {"anchored_frames": len(self.agreements), "correspondences": fit.count}
        facts |= {"inlier_ratio": fit.inlier_ratio, "residual_mad": fit.residual_mad}
        facts |= {"drift_per_second": fit.drift, "scatter": fit.scatter}
        return facts | {"length_sigma": fit.length_sigma, "unit_sigma": self.unit_sigma}


def disparity_of(values: DepthMap, quantity: Quantity) -> DepthMap:
    """Inverse depth up to scale and shift, whatever the maps hold; NaN where depth is not positive."""
    if quantity == "disparity":
        return values
    inverse: DepthMap = np.divide(1, values, where=values > 0, out=np.full_like(values, np.nan))
    return inverse


def gauges(maps: DepthMaps, anchor: Anchor | None, camera: CameraOf, *, robust: bool = True) -> list[Gauge]:
    """Scale and shift of each shot: from the anchor, else the maps' own metres, else relative units.

    Every shot is settled for itself. One that its anchor does not determine is told, and goes on without.

    Args:
        maps: of all shots.
        anchor: None where there is none.
        camera: is asked only by anchors that need it.
        robust: False fits one line to each shot by plain least squares.

    Raises:
        AlignmentError: the anchor does not determine any shot.
    """
    anchored = {} if anchor is None else _anchored_shots(maps, anchor, camera, robust=robust)
    return [anchored.get(shot.shot) or _unanchored(maps, shot) for shot in maps.shots]


def _anchored_shots(maps: DepthMaps, anchor: Anchor, camera: CameraOf, *, robust: bool) -> dict[int, Gauge]:
    """Number of the shot -> its gauge, for those that the anchor determines."""
    found: dict[int, Gauge] = {}
    reasons: dict[ShotSpan, AlignmentError] = {}
    for shot in maps.shots:
        if not anchor.covers(shot):
            reasons[shot] = AlignmentError(f"{anchor.origin} is of the first shot")
            continue
        try:
            found[shot.shot] = _anchored(maps, shot, anchor, camera, robust=robust)
        except AlignmentError as error:
            reasons[shot] = error
    if not found:
        first = next(iter(reasons.values()))
        raise AlignmentError(f"{anchor.origin}: {first}") from first
    for shot, reason in reasons.items():
        logger.warning("shot %d (from frame %d) has no anchor: %s", shot.shot, shot.start, reason)
    return found


def _anchored(maps: DepthMaps, shot: ShotSpan, anchor: Anchor, camera: CameraOf, *, robust: bool) -> Gauge:
    seen = collected(anchor.correspondences(maps, shot, camera))
    fit = fit_shot(seen, robust=robust, with_shift=maps.quantity == "disparity")
    if math.isinf(fit.drift):
        logger.warning(
            "shot %d: at least for a time, what is near to %s is far in the depth maps: one line is taken for the "
            "whole shot; do not trust its lengths",
            shot.shot,
            anchor.origin,
        )
    start, end = times_of(maps, shot)
    period = (end - start) / max(1, shot.count - 1)
    curve = followed(fit, start, end, period) if anchor.consistent else fit.smooth
    return Gauge(curve, anchor.units, anchor.origin, fit, agreements(seen, fit), anchor.unit_sigma)


def _unanchored(maps: DepthMaps, shot: ShotSpan) -> Gauge:
    if maps.quantity == "depth":
        return Gauge(LineCurve.constant(Line(1.0, 0.0)), "metres", "the depth maps' own metres", None)
    line = relative_gauge(probe.values for probe in probes(maps, shot))
    return Gauge(LineCurve.constant(line), "relative", "no anchor", None)


def probes(maps: DepthMaps, shot: ShotSpan, count: int = PROBES) -> Iterator[DepthEstimate]:
    """A few maps, evenly spread over a shot."""
    last = shot.start + shot.count - 1
    for index in np.unique(np.linspace(shot.start, last, min(count, shot.count)).astype(int)):
        yield next(maps.estimates(int(index)))
