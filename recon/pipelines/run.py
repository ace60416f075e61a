"""From settings to a run: every choice is made here, once, and told."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from recon.errors import TrajectoryError
from recon.io.calibration import read_intrinsics
from recon.io.cloud import Up, axes_comment, to_axes
from recon.io.depth import read_depth_map
from recon.io.source import Source
from recon.io.sparse import read_sparse
from recon.io.store import ShotSpan
from recon.io.trajectory import pose_at, read_trajectory, slam_units
from recon.io.video import open_source
from recon.models import MetricNetwork
from recon.pipelines.cloud import (
    UNIT_NAMES,
    ContentMaps,
    Limits,
    Poser,
    Scene,
    SegmentCloud,
    SegmentSummary,
    ShotPlan,
    along,
    estimated,
    plan_shot,
    point_clouds,
    still,
)
from recon.pipelines.depth import DepthMaps, Observer, depth_maps, told_origin
from recon.pipelines.metres import Anchor, Gauge, GivenFirstDepth, MetricFirstPicture, SlamMap, gauge_shot, probes
from recon.settings import CameraSettings, PointcloudSettings
from recon.stages.camera import Camera, first_known, from_fov, given
from recon.stages.letterbox import Content, find_content
from recon.types import Intrinsics, Picture, Quantity, Units

logger = logging.getLogger(__name__)

LOOKS = 24
"""Pictures that are looked at for black bars, where there seem to be any."""

DOUBTFUL = 0.25
"""Median relative error of depth at an anchor's places from which on a run warns."""

Metric = Callable[[], MetricNetwork | None]
"""Loads the network for metres, if there is one, when it is first asked for."""


@dataclass(frozen=True, slots=True)
class Poses:
    """Where camera poses come from."""

    poser_of: Callable[[Intrinsics], Poser]
    """Makes the poser, once the camera is known."""
    origin: str
    units: Units | None
    """Units of the poses; None where they take over those of the depth."""
    up: Up
    """How the world of these poses is turned in files."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A run in which everything is settled but the fusing."""

    source: Source
    maps: DepthMaps
    depth_origin: Mapping[str, str]
    """What made the depth: network, hash of its weights, input size; or the folder."""
    content: Content
    """What lies within black bars; everything, where there are none."""
    camera: Camera
    plans: Sequence[ShotPlan | None]
    """One for each shot; None for shots that cannot be placed in the world of the poses."""
    poses: Poses
    edge: float
    observer: Observer

    def clouds(self) -> Iterator[SegmentCloud]:
        """One cloud for each run of frames that share a world, in the axes of files, as soon as it is complete."""
        scene = Scene(self.source, self.maps, self.plans, self.poses.poser_of(self.camera.intrinsics), self.edge)
        fused = point_clouds(scene, self.observer)
        return (SegmentCloud(to_axes(each.cloud, self.poses.up), each.summary) for each in fused)

    def comments(self, segment: SegmentSummary) -> list[str]:
        """Header lines of a cloud's file."""
        return [
            f"units: {UNIT_NAMES[segment.units]}",
            axes_comment(self.poses.up),
            f"made by recon from {self.source.info.path.name}",
            f"field of view: {self.camera.intrinsics.fov_x:.2f} degrees ({self.camera.origin})",
        ]

    @property
    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know of the run."""
        info = self.source.info
        spread = "" if self.camera.fov_spread is None else f" +- {self.camera.fov_spread:.1f}"
        letterbox = [("letterbox", self.content.sentence)] if self.content.bars else []
        return [
            ("source", f"{info.path.name}, {info.width} x {info.height}, {self.maps.frame_count} frames"),
            *letterbox,
            ("depth", told_origin(self.depth_origin)),
            ("field of view", f"{self.camera.intrinsics.fov_x:.1f}{spread} degrees ({self.camera.origin})"),
            ("units", ", ".join(dict.fromkeys(_told(plan) for plan in self.plans if plan is not None))),
            ("poses", self.poses.origin),
        ]

    @property
    def provenance(self) -> dict[str, object]:
        """What was found out on the way, for the YAML file beside a result."""
        intrinsics = asdict(self.camera.intrinsics)
        camera = intrinsics | {"origin": self.camera.origin, "fov_spread_degrees": self.camera.fov_spread}
        letterbox = {"content": asdict(self.content)} if self.content.bars else {}
        return {
            "source": dict(self.source.identity),
            **letterbox,
            "depth": dict(self.depth_origin),
            "camera": camera,
            "poses": self.poses.origin,
            "shots": [None if plan is None else _facts(plan) for plan in self.plans],
        }

    def require_placed(self, clouds: Sequence[SegmentSummary]) -> None:
        """Say how many frames are in no cloud.

        Raises:
            TrajectoryError: all of them.
        """
        placed, count = sum(cloud.frames for cloud in clouds), self.maps.frame_count
        if not placed:
            raise TrajectoryError(
                f"{self.source.info.path}: none of its {count} frames could be placed, so there is no cloud: "
                "give --trajectory, or --static for a camera that does not move"
            )
        if placed < count:
            logger.warning("%d of %d frames have no pose and are left out", count - placed, count)


def _told(plan: ShotPlan) -> str:
    apart = "" if plan.disagreement is None else f", {plan.disagreement:.1%} apart in the middle"
    return f"{UNIT_NAMES[plan.gauge.units]} ({plan.gauge.origin}{apart})"


def _facts(plan: ShotPlan) -> dict[str, object]:
    gauge = plan.gauge
    facts: dict[str, object] = {"units": gauge.units, "origin": gauge.origin}
    facts |= {
        "scale": gauge.curve.scale.tolist(),
        "shift": gauge.curve.shift.tolist(),
        "times": gauge.curve.times.tolist(),
    }
    facts |= {"far": plan.far, "voxel": plan.voxel}
    facts |= {"median_depth": plan.median_depth, "disagreement": plan.disagreement}
    if gauge.fit is not None:
        facts |= {"inlier_ratio": gauge.fit.inlier_ratio, "residual_mad": gauge.fit.residual_mad}
        facts |= {"correspondences": gauge.fit.count}
    return facts


@contextmanager
def reconstruction(
    video: Path, output: Path, settings: PointcloudSettings, observer: Observer
) -> Iterator[Reconstruction]:
    """Find depth, camera, metres and poses for a video; the store of depth is kept open meanwhile.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    source = open_source(video, settings.sampling)
    poses = find_poses(source, settings.camera)  # what is given is read before hours of work, not after
    anchor = given_anchor(source, settings)
    _require_one_unit(poses, anchor)
    known_camera = given_camera(source, settings)
    with depth_maps(source, output, settings, observer) as (all_maps, depth_origin):
        content = find_content(_spread_pictures(source, all_maps, LOOKS))
        maps = ContentMaps(all_maps, content) if content.bars else all_maps
        network = cache(partial(_metric_network, settings, observer))
        pictures = partial(_spread_pictures, source, maps, settings.anchor.fov_frames)
        measured = partial(_measured, source, network, content, pictures, observer)
        camera = find_camera(source, known_camera, measured)
        anchor = anchor or metric_anchor(source, settings, maps.quantity, network, camera, content)
        gauges = [gauge_shot(maps, shot, anchor) for shot in maps.shots]
        plans = _plans(maps, gauges, camera, poses, settings)
        yield Reconstruction(source, maps, depth_origin, content, camera, plans, poses, settings.clean.edge, observer)


def _plans(
    maps: DepthMaps, gauges: Sequence[Gauge], camera: Camera, poses: Poses, settings: PointcloudSettings
) -> list[ShotPlan | None]:
    limits = Limits(settings.clean.min_depth, settings.clean.max_depth, settings.fuse.voxel)
    usable = _in_units(gauges, poses)
    plans = [
        plan_shot(maps, shot, gauge, camera, limits) if gauge in usable else None
        for shot, gauge in zip(maps.shots, gauges, strict=True)
    ]
    for shot, plan in zip(maps.shots, plans, strict=True):
        if plan is not None and (plan.disagreement or 0) > DOUBTFUL:
            logger.warning(
                "shot %d: %s and the depth are %.0f %% apart in the middle: do not trust its lengths; does the anchor "
                "belong to this video?",
                shot.shot,
                plan.gauge.origin,
                100 * (plan.disagreement or 0),
            )
    return plans


def _metric_network(settings: PointcloudSettings, observer: Observer) -> MetricNetwork | None:
    from recon.models.choose import choose_metric  # noqa: PLC0415 - torch, only where nothing better is known

    depth = settings.depth
    return choose_metric(settings.anchor, device=depth.device, download=depth.download, on_download=observer.download)


def given_camera(source: Source, settings: PointcloudSettings) -> Camera | None:
    """The camera, where somebody says it: a calibration file, --fov, the SfM model, or the video's own focal length."""
    size = source.info.width, source.info.height
    return (
        _calibrated(settings.camera.intrinsics, *size)
        or from_fov(settings.camera.fov, "--fov", *size)
        or _calibrated_by_slam(settings, *size)
        or from_fov(source.info.fov_x, "focal length in the file", *size)
    )


def find_camera(source: Source, known: Camera | None, measured: Callable[[], Camera | None]) -> Camera:
    """The camera that is known, else what MoGe measures, else an assumption."""
    return first_known(lambda: known, measured, width=source.info.width, height=source.info.height)


def _calibrated(path: Path | None, width: int, height: int) -> Camera | None:
    return None if path is None else given(read_intrinsics(path, (height, width)), str(path), width, height)


def _calibrated_by_slam(settings: PointcloudSettings, width: int, height: int) -> Camera | None:
    """The camera of a COLMAP model or transforms.json that was given for its poses or points."""
    for path in (settings.anchor.sparse, settings.camera.trajectory):
        if path is not None and slam_units(path) == "slam":
            return _calibrated(path, width, height)
    return None


def _measured(
    source: Source, metric: Metric, content: Content, pictures: Callable[[], Iterator[Picture]], observer: Observer
) -> Camera | None:
    """MoGe sees the content alone, in whose middle it puts the principal point."""
    network = metric()
    if network is None:
        return None
    from recon.models.moge import field_of_view  # noqa: PLC0415 - torch

    width, height = source.info.width, source.info.height
    rows, columns = content.box(height, width)
    seen = (content.cropped(picture) for picture in observer.watch(pictures(), "camera", None))
    view = field_of_view(network, seen)
    inner = Intrinsics.from_fov(view.fov_x, columns.stop - columns.start, rows.stop - rows.start)
    origin = f"MoGe, median of {view.count} frames"
    return Camera(content.whole_camera(inner, height, width), origin, view.spread)


def _spread_pictures(source: Source, maps: DepthMaps, count: int) -> Iterator[Picture]:
    """At most ``count`` pictures, evenly spread over the frames that have depth."""
    whole = ShotSpan(0, 0, maps.frame_count)
    return (source.picture(probe.time) for probe in probes(maps, whole, count))


def given_anchor(source: Source, settings: PointcloudSettings) -> Anchor | None:
    """What the user gives to make the run metric: a map with points, or depth of the first frame."""
    anchor = settings.anchor
    if anchor.sparse is not None:
        points = read_sparse(anchor.sparse, times_by_name=source.times_by_name, rate=settings.camera.trajectory_rate)
        return SlamMap(points, _units(anchor.sparse, settings.camera), f"sparse points of {anchor.sparse}")
    if anchor.first_frame_depth is not None:
        depth = read_depth_map(anchor.first_frame_depth, scale=settings.depth.depth_scale)
        return GivenFirstDepth(depth, f"first-frame depth {anchor.first_frame_depth.name}")
    return None


def metric_anchor(
    source: Source, settings: PointcloudSettings, quantity: Quantity, metric: Metric, camera: Camera, content: Content
) -> Anchor | None:
    """MoGe, where it is there and knows metres, unless the maps are metric themselves."""
    if quantity == "depth" and settings.anchor.anchor == "auto":
        return None
    network = metric()
    if network is not None and not network.metric:
        name = network.identity["name"]
        logger.warning("%s: its depth has no unit: it tells the field of view only; MoGe-2 would give metres", name)
        return None
    if network is not None:
        return MetricFirstPicture(network, source, camera.intrinsics, content, "MoGe, first frame of the shot")
    return None


def _require_one_unit(poses: Poses, anchor: Anchor | None) -> None:
    """Two units are never mixed: what is given is compared before any work is done.

    Raises:
        TrajectoryError: the poses and the anchor have different units.
    """
    if anchor is not None and poses.units not in {None, anchor.units}:
        told = f"the poses are in {UNIT_NAMES[poses.units]}, the anchor in {UNIT_NAMES[anchor.units]}"
        raise TrajectoryError(f"{told}: give both from one source (--slam-units speaks of the poses and of --sparse)")


def find_poses(source: Source, settings: CameraSettings) -> Poses:
    """Where poses come from: a file, a camera that does not move, or the pictures themselves."""
    if settings.trajectory is not None:
        trajectory = read_trajectory(
            settings.trajectory, times_by_name=source.times_by_name, rate=settings.trajectory_rate
        )
        units = _units(settings.trajectory, settings)
        origin = f"{settings.trajectory} ({len(trajectory.times)} poses)"
        return Poses(partial(along, pose_at=partial(pose_at, trajectory)), origin, units, "camera")
    if settings.static:
        return Poses(still, "the camera does not move (--static)", None, "z")
    return Poses(estimated, "estimated from the pictures and their depth", None, "z")


def _units(path: Path, settings: CameraSettings) -> Units:
    if settings.slam_units == "auto":
        return slam_units(path)
    return "metres" if settings.slam_units == "metres" else "slam"


def _in_units(gauges: Sequence[Gauge], poses: Poses) -> list[Gauge]:
    """The shots whose depth has the units of the poses; the others cannot stand in the same world.

    Raises:
        TrajectoryError: there is none.
    """
    usable = [gauge for gauge in gauges if poses.units in {None, gauge.units}]
    others = {UNIT_NAMES[gauge.units] for gauge in gauges if gauge not in usable}
    if others and poses.units is not None:
        told = f"the poses are in {UNIT_NAMES[poses.units]}, the depth in {' and '.join(sorted(others))}"
        if not usable:
            metric = ", or say --slam-units metres if the poses are metric" if poses.units == "slam" else ""
            raise TrajectoryError(
                f"{told}: give an anchor in the units of the poses (--first-frame-depth, --sparse or MoGe's weights)"
                f"{metric}"
            )
        logger.warning("%s: %d of %d shots are left out", told, len(gauges) - len(usable), len(gauges))
    return usable
