"""From the store to files: `recon depth` without its options."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from recon.errors import AlignmentError
from recon.evaluation.trust import RunReport
from recon.io.depth_writer import MapSpec, depth_writer, png_scale
from recon.io.preview import colorize, robust_range
from recon.io.source import Source
from recon.io.store import ShotSpan, StoredDepth
from recon.io.video import VideoWriter, open_source
from recon.pipelines.anchors import SlamMap
from recon.pipelines.depth import DepthMaps, MapsOf, Observer, told_origin
from recon.pipelines.given import SettingsOfLengths
from recon.pipelines.metres import Gauge, disparity_of, probes
from recon.pipelines.report import depth_report
from recon.pipelines.run import measured, read_given
from recon.pipelines.straight import straight_depth_maps, straightened
from recon.pipelines.units import UNIT_NAMES
from recon.settings import AnchorSettings, DepthMapSettings
from recon.stages.camera import Camera
from recon.types import DepthEstimate, DepthMap, Quantity, Units

logger = logging.getLogger(__name__)

PLAYED_RATE = 25.0
"""Frames for each second of a preview whose source has no rate."""

COARSEST = 0.002
"""Most that a step of 16 bits may be, as a part of the nearest depth: what is too far for that becomes unknown."""
STEPS = 65_534
"""Of 16 bits, see ``recon.io.depth_writer``."""


@dataclass(frozen=True, slots=True)
class Resized(MapsOf):
    """Maps at another size, bilinearly (pixel centres at half integers, as everywhere); NaN spreads by a pixel."""

    size: tuple[int, int]
    """(height, width)"""

    def made_of(self, estimate: DepthEstimate) -> DepthMap:
        """At the size."""
        return resized(estimate.values, self.size)


@dataclass(frozen=True, slots=True)
class Lengths(MapsOf):
    """What maps become once their gauges are known: depth along +z, of all frames in one unit."""

    gauges: Sequence[Gauge]
    """One for each shot. A shot whose gauge has other units than the run is unknown: two units are never mixed."""
    units: Units

    @property
    def quantity(self) -> Quantity:
        """Depth."""
        return "depth"

    @property
    def unknown(self) -> Sequence[ShotSpan]:
        """The shots that are not in the run's units."""
        return [shot for shot, gauge in zip(self.shots, self.gauges, strict=True) if gauge.units != self.units]

    @property
    def told_unknown(self) -> str:
        """How much that is, as a part of a sentence."""
        frames, shots = sum(shot.count for shot in self.unknown), len(self.unknown)
        first = self.unknown[0].start if self.unknown else 0
        where = f"{shots} shots" if shots != 1 else "1 shot"
        return f"{frames} frames of {where} (the first is frame {first}) have no depth in {UNIT_NAMES[self.units]}"

    def made_of(self, estimate: DepthEstimate) -> DepthMap:
        """Depth; NaN where it is not known."""
        gauge = self.gauges[estimate.shot]
        if gauge.units != self.units:
            return np.full_like(estimate.values, np.nan)
        return gauge.depth(estimate, self.maps.quantity)


def in_one_unit(maps: DepthMaps, gauges: Sequence[Gauge]) -> Lengths:
    """Depth in the units of the anchor (of the first shot that has one), else in the maps' own metres.

    Raises:
        AlignmentError: no shot is in any unit of length.
    """
    anchored = [gauge.units for gauge in gauges if gauge.fit is not None]
    known = [*anchored, *(gauge.units for gauge in gauges if gauge.units != "relative")]
    if not known:
        raise AlignmentError(
            "nothing says how long a metre is in this video: give --first-frame-depth, --metric-depth or --sparse, "
            "or --anchor none for disparity"
        )
    lengths = Lengths(maps, gauges, known[0])
    if lengths.unknown:
        logger.warning("%s: their maps are written as unknown (NaN)", lengths.told_unknown)
    return lengths


@dataclass(frozen=True, slots=True)
class DepthRun:
    """A run of `recon depth` in which everything is settled but the writing."""

    source: Source
    maps: DepthMaps
    """What is written: the maps as they are, or ``Lengths``."""
    origin: Mapping[str, str]
    """What made the depth: network, hash of its weights, input size; or the folder."""
    camera: Camera | None = None
    """Where lengths depend on it: it says in which pixels bare landmarks are seen."""

    @property
    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know of the run."""
        rows = [("depth", told_origin(self.origin)), ("frames", str(self.maps.frame_count))]
        if not isinstance(self.maps, Lengths):
            held = "disparity (inverse depth up to scale and shift)"
            return [*rows, ("holds", "depth in metres" if self.maps.quantity == "depth" else held)]
        unknown = [("unknown", self.maps.told_unknown)] if self.maps.unknown else []
        origins = dict.fromkeys(gauge.origin for gauge in self.maps.gauges if gauge.units == self.maps.units)
        return [*rows, ("holds", f"depth in {UNIT_NAMES[self.maps.units]} ({', '.join(origins)})"), *unknown]

    def report(self, results: Sequence[tuple[str, str]] = ()) -> RunReport | None:
        """What it says of its lengths; None where no anchor was asked for. ``results`` are files and what they hold."""
        return depth_report(self, self.maps, results) if isinstance(self.maps, Lengths) else None

    @property
    def provenance(self) -> dict[str, object]:
        """What was found out on the way, for the YAML file beside a result."""
        facts = {"source": dict(self.source.identity), "depth": dict(self.origin), "frames": self.maps.frame_count}
        facts |= {"quantity": self.maps.quantity, "units": units_of(self.maps)}
        if not isinstance(self.maps, Lengths):
            return facts
        unknown = self.maps.unknown
        shots = zip(self.maps.shots, self.maps.gauges, strict=True)
        return facts | {"shots": [None if shot in unknown else _facts(shot, gauge) for shot, gauge in shots]}


def _facts(shot: ShotSpan, gauge: Gauge) -> dict[str, object]:
    return {"first_frame": shot.start, "frames": shot.count} | gauge.facts


@contextmanager
def depth_run(video: Path, output: Path, settings: SettingsOfLengths, observer: Observer) -> Iterator[DepthRun]:
    """Find depth for a video, and metres where they are asked for; the store of depth is kept open meanwhile.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    source = straightened(open_source(video, settings.sampling), settings)
    metric = asks_for_lengths(settings.anchor)
    known = read_given(source, settings) if metric else None  # before hours of work, not after
    with straight_depth_maps(source, output, settings, observer) as (maps, origin):
        if known is None:
            yield DepthRun(source, maps, origin)
            return
        found = measured(source, maps, known, settings, observer)
        camera = found.camera() if isinstance(known.anchor, SlamMap) and known.anchor.bare else None
        yield DepthRun(source, in_one_unit(found.maps, found.gauges), origin, camera)


def asks_for_lengths(anchor: AnchorSettings) -> bool:
    """Whether depth is to be in metres (or a map's units): an anchor is asked for, or given and not declined."""
    given = (anchor.first_frame_depth, anchor.metric_depth, anchor.sparse)
    return anchor.anchor != "none" and (anchor.anchor != "auto" or any(path is not None for path in given))


def units_of(maps: DepthMaps) -> Units:
    """What the values of maps are measured in."""
    if isinstance(maps, Lengths):
        return maps.units
    return "metres" if maps.quantity == "depth" else "relative"


def write_maps(source: Source, maps: DepthMaps, folder: Path, settings: DepthMapSettings, observer: Observer) -> None:
    """Write every map into a folder, which appears whole."""
    height, width = next(maps.estimates()).values.shape
    if settings.resolution == "video":
        height, width = source.info.height, source.info.width
    bounds = value_range(maps) if settings.format in {"png", "ffv1"} else (0.0, 0.0)
    spec = MapSpec(
        kind=settings.format,
        quantity=maps.quantity,
        units=units_of(maps),
        size=(height, width),
        value_range=bounds,
        scale=png_scale(maps.quantity, bounds),
    )
    written = at_size(maps, (height, width))
    with depth_writer(folder, spec) as writer:
        for estimate in observer.watch(written.estimates(), "writing", maps.frame_count):
            writer.write(estimate.index, estimate.time, estimate.values)


def at_size(maps: DepthMaps, size: tuple[int, int]) -> DepthMaps:
    """The maps at (height, width). Of lengths it is the disparity that is resized: planes are even in inverse depth."""
    if isinstance(maps, Lengths):
        return replace(maps, maps=Resized(maps.maps, size))
    return Resized(maps, size)


def value_range(maps: DepthMaps) -> tuple[float, float]:
    """The least and the greatest value that 16 bits are to hold; (0, 0) if nothing is known. A store knows its own.

    Of depth that followed from disparity the greatest value may be anything, since what is far differs from infinity by
    little: there, the range ends where its steps would be coarser than ``COARSEST`` of the nearest depth (the first
    percentile), or at 65.5 m, whichever is farther.
    """
    if isinstance(maps, StoredDepth):
        return maps.value_range
    low, high = np.inf, -np.inf

    def seen() -> Iterator[DepthMap]:
        nonlocal low, high
        for estimate in maps.estimates():
            low = min(low, float(np.fmin.reduce(estimate.values, axis=None, initial=np.inf)))
            high = max(high, float(np.fmax.reduce(estimate.values, axis=None, initial=-np.inf)))
            yield estimate.values

    near, _far = robust_range(seen())
    if not low <= high:
        return 0.0, 0.0
    return low, min(high, _reach(near, units_of(maps))) if isinstance(maps, Lengths) else high


def _reach(near: float, units: Units) -> float:
    fine = STEPS * COARSEST * near
    return max(fine, STEPS / 1000) if units == "metres" else fine


def write_preview(source: Source, maps: DepthMaps, path: Path, observer: Observer) -> None:
    """Write a video of the maps in colour, at their own size: near is warm, far is cold."""
    whole = ShotSpan(0, 0, maps.frame_count)
    far, near = robust_range(disparity_of(probe.values, maps.quantity) for probe in probes(maps, whole))
    height, width = next(maps.estimates()).values.shape
    with VideoWriter(path, width, height, source.info.rate or PLAYED_RATE) as video:
        for estimate in observer.watch(maps.estimates(), "preview", maps.frame_count):
            disparity = disparity_of(estimate.values, maps.quantity)
            video.write(colorize(disparity, far, near), estimate.time)


def resized(values: DepthMap, size: tuple[int, int]) -> DepthMap:
    """The map at (height, width), bilinearly; NaN spreads by a pixel."""
    if values.shape == size:
        return values
    map_: DepthMap = cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR)
    return map_
