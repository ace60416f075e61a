"""From depth to clouds: `recon pointcloud` without its options."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import groupby

import numpy as np

from recon.errors import ReconError
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.pipelines.depth import AHEAD, DepthMaps, MapsOf, Observer, counted
from recon.pipelines.masks import Kept, masked
from recon.pipelines.metres import Gauge, disparity_of, probes
from recon.pipelines.units import SHORT_UNITS
from recon.stages.align import to_depth
from recon.stages.camera import Camera
from recon.stages.clean import clean, depth_limit, within
from recon.stages.fuse import fuse
from recon.stages.letterbox import Content
from recon.stages.pair import paired
from recon.stages.pose import WORKING_AREA, Place, posed
from recon.streams import prefetched
from recon.types import (
    DepthEstimate,
    DepthFrame,
    DepthMap,
    DisparityFrame,
    PointCloud,
    PosedFrame,
    Units,
)
from recon.voxels import auto_voxel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """Range and resolution, in the run's units; None where recon chooses."""

    near: float
    far: float | None
    voxel: float | None


@dataclass(frozen=True, slots=True)
class ShotPlan:
    """What is settled about a shot before its frames are fused."""

    gauge: Gauge
    near: float
    far: float
    voxel: float
    median_depth: float

    @property
    def disagreement(self) -> float | None:
        """Median relative error of depth at the anchor's places, at the median depth; None where nothing was fitted."""
        return None if self.gauge.fit is None else self.gauge.fit.residual_mad * self.median_depth


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """What one cloud was made of."""

    points: int
    units: Units
    frames: int
    """Frames that were fused."""
    start: float
    """Time of the first of them, seconds."""
    end: float
    """Time of the last of them, seconds."""
    voxel: float
    """Edge of a voxel, in the units."""

    @property
    def facts(self) -> dict[str, object]:
        """For a YAML file."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """For a person."""
        time = f"{self.start:.2f} to {self.end:.2f} s"
        voxel = f"{self.voxel:.3g}{SHORT_UNITS[self.units]}"
        return f"{self.points:,} points from {counted(self.frames)} ({time}), voxel {voxel}"


@dataclass(frozen=True, slots=True)
class SegmentCloud:
    """One cloud: all frames that share a world."""

    cloud: PointCloud
    summary: SegmentSummary


@dataclass(frozen=True, slots=True)
class ContentMaps(MapsOf):
    """Maps of which only the content counts: bars hold no depth, for anchors, gauges, tracking and fusion alike."""

    content: Content

    def made_of(self, estimate: DepthEstimate) -> DepthMap:
        """NaN in the bars."""
        return self.content.without_bars(estimate.values)


def plan_shot(maps: DepthMaps, shot: ShotSpan, gauge: Gauge, camera: Camera, limits: Limits) -> ShotPlan:
    """Choose the far limit and the voxel of a shot from a few of its maps, where they are not given."""
    depths = [gauge.depth(probe, maps.quantity) for probe in probes(maps, shot)]
    far = limits.far or depth_limit(depths)
    height, width = depths[0].shape
    kept = np.concatenate([depth[(depth >= limits.near) & (depth <= far)] for depth in depths])
    if not kept.size:
        raise ReconError(
            f"no depth of shot {shot.shot} lies between {limits.near:g} and {far:g}: see --min-depth, --max-depth"
        )
    median = float(np.median(kept))
    voxel = limits.voxel or auto_voxel(median, camera.intrinsics.scaled(width, height))
    return ShotPlan(gauge, limits.near, far, voxel, median)


Shots = Generator[tuple[int, ShotPlan, Iterator[DepthFrame]], None, None]
"""Number, plan and frames of each shot."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that fusion needs but poses."""

    source: Source
    maps: DepthMaps
    plans: Sequence[ShotPlan | None]
    """One for each shot; None leaves the shot out."""
    edge: float | None
    """Relative jump of depth between neighbouring pixels that counts as an edge; None: edges are kept."""
    kept: Callable[[], Iterable[Kept]] | None
    """Gives the mask of each frame, from the first one on each time; None where there are none."""

    def shots(self, observer: Observer) -> Shots:
        """The frames of each shot that has a place in the world, with clean depth in its units: what is fused."""
        with closing(self._measured(observer, "fusing", 0)) as shots:
            for shot, plan, frames in shots:
                yield shot, plan, clean(frames, edge=self.edge, near=plan.near, far=plan.far)

    def views(self, observer: Observer) -> Shots:
        """The same frames as trackers want them: in detail, and with the edges of things, where most corners are."""
        with closing(self._measured(observer, "poses", WORKING_AREA)) as shots:
            for shot, plan, frames in shots:
                yield shot, plan, within(frames, plan.near, plan.far)

    def pictures(self, observer: Observer, detail: int) -> Shots:
        """The frames that are fused, again, with up to so many pixels: what a texture is made of."""
        with closing(self._measured(observer, "texture", detail)) as shots:
            for shot, plan, frames in shots:
                yield shot, plan, clean(frames, edge=self.edge, near=plan.near, far=plan.far)

    def _measured(self, observer: Observer, told: str, detail: int) -> Shots:
        quantity = self.maps.quantity
        with closing(prefetched(self.source.frames(), AHEAD)) as decoded:
            pairs = paired(observer.watch(decoded, told, self.maps.frame_count), self.maps.estimates(), detail)
            if self.kept is not None:
                pairs = masked(pairs, self.kept())
            for shot, members in groupby(pairs, key=lambda pair: pair[0].shot):
                if (plan := self.plans[shot]) is None:
                    continue
                frames = (DisparityFrame(pair.frame, disparity_of(found.values, quantity)) for pair, found in members)
                yield shot, plan, to_depth(frames, plan.gauge.curve.at)


def point_clouds(scene: Scene, place_at: Callable[[float], Place | None], observer: Observer) -> Iterator[SegmentCloud]:
    """One cloud for each run of frames that share a world, as soon as it is complete."""
    with closing(scene.shots(observer)) as shots:
        members = ((plan, frame) for _shot, plan, frames in shots for frame in posed(frames, place_at))
        for _segment, together in groupby(members, key=lambda member: member[1].segment):
            yield _fused(together)


def _fused(members: Iterator[tuple[ShotPlan, PosedFrame]]) -> SegmentCloud:
    plan, first = next(members)
    times = [first.frame.time]

    def frames() -> Iterator[PosedFrame]:
        yield first
        for _plan, frame in members:
            times.append(frame.frame.time)
            yield frame

    cloud = fuse(frames(), plan.voxel)
    summary = SegmentSummary(len(cloud), plan.gauge.units, len(times), times[0], times[-1], plan.voxel)
    return SegmentCloud(cloud, summary)
