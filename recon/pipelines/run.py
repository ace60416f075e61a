"""From settings to a run: every choice is made here, once, and told."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path

from recon.errors import TrajectoryError
from recon.evaluation.trust import MISMATCH
from recon.io.calibration import read_intrinsics
from recon.io.cloud import Up, axes_comment, to_axes
from recon.io.points import is_points_file
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.io.trajectory import pose_at, read_trajectory, slam_units
from recon.io.video import open_source
from recon.models import MetricNetwork
from recon.pipelines.anchors import GivenDepths, MetricEye, SlamMap, metric_anchor
from recon.pipelines.cloud import (
    UNIT_NAMES,
    ContentMaps,
    Limits,
    Poser,
    Scene,
    SegmentCloud,
    SegmentSummary,
    ShotPlan,
    Shots,
    along,
    estimated,
    plan_shot,
    point_clouds,
    still,
)
from recon.pipelines.depth import DepthMaps, Observer, times_of, told_origin
from recon.pipelines.given import Scaling, SettingsOfLengths, given_anchor, scaling, slam_map, units_of
from recon.pipelines.metres import Anchor, Gauge, gauges, probes
from recon.pipelines.straight import straight_camera, straight_depth_maps, straightened
from recon.pipelines.units import MapScale, scaled_trajectory
from recon.settings import CameraSettings, PointcloudSettings
from recon.stages.camera import Camera, first_known, from_fov, given
from recon.stages.letterbox import Content, find_content
from recon.types import CameraTrajectory, Intrinsics, Picture, Units

logger = logging.getLogger(__name__)

LOOKS = 24
"""Pictures that are looked at for black bars, where there seem to be any."""

Metric = Callable[[], MetricNetwork | None]
"""Loads the network for metres, if there is one, when it is first asked for."""


@dataclass(frozen=True, slots=True)
class Poses:
    """Where camera poses come from."""

    poser_of: Callable[[Intrinsics, Shots], Poser]
    """Makes the poser, once the camera is known."""
    origin: str
    units: Units | None
    """Units of the poses; None where they take over those of the depth."""
    up: Up
    """How the world of these poses is turned in files."""
    trajectory: CameraTrajectory | None = None
    """What was given."""

    def in_metres(self, scale: MapScale | None) -> "Poses":
        """The same poses, once the length of their unit is known; those that do not need it stay."""
        if self.trajectory is None or scale is None or self.units != "slam":
            return self
        return _given_poses(scaled_trajectory(self.trajectory, scale), f"{self.origin}, {scale.sentence}", "metres")


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
        poser_of = partial(self.poses.poser_of, self.camera.intrinsics)
        scene = Scene(self.source, self.maps, self.plans, poser_of, self.edge)
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
    chosen = {"far": plan.far, "voxel": plan.voxel, "median_depth": plan.median_depth}
    return plan.gauge.facts | chosen | {"disagreement": plan.disagreement}


@dataclass(frozen=True, slots=True)
class Given:
    """What is said of camera and lengths, read before hours of work and not after."""

    camera: Camera | None
    anchor: Anchor | None
    scaling: Scaling | None
    """Finds the length of the unit of --sparse (and of the poses that belong to it); None leaves it as it is."""

    def units(self, own: Units) -> Units:
        """What lengths in units of their own will be in."""
        return "metres" if self.scaling is not None and own == "slam" else own


@dataclass(frozen=True, slots=True)
class Measured:
    """What follows for a video whose depth is there."""

    maps: DepthMaps
    """NaN in black bars."""
    content: Content
    """What lies within black bars; everything, where there are none."""
    camera: Callable[[], Camera]
    """Finds the camera when it is first asked for: that may take a network."""
    gauges: Sequence[Gauge]
    """One for each shot."""
    scale: MapScale | None
    """Of the map that was given with --scale-from."""


def read_given(source: Source, settings: SettingsOfLengths) -> Given:
    """Read what is given of camera and lengths.

    Raises:
        ReconError: a file that is missing, damaged, or does not belong to the source.
    """
    camera, anchor, path = given_camera(source, settings), given_anchor(source, settings), settings.anchor.sparse
    if settings.anchor.scale_from == "none" or path is None:
        return Given(camera, anchor, None)
    slam = anchor if isinstance(anchor, SlamMap) else slam_map(source, settings, path)
    return Given(camera, anchor, scaling(source, slam, settings))


def measured(
    source: Source, all_maps: DepthMaps, known: Given, settings: SettingsOfLengths, observer: Observer
) -> Measured:
    """Black bars, the camera, and the lengths of every shot.

    Raises:
        ReconError: an anchor that does not determine lengths, or is asked for and not there.
    """
    content = find_content(_spread_pictures(source, all_maps, LOOKS))
    maps = ContentMaps(all_maps, content) if content.bars else all_maps
    network = cache(partial(_metric_network, settings, observer))
    pictures = partial(_spread_pictures, source, maps, settings.anchor.fov_frames)
    view = partial(_measured, source, network, content, pictures, observer)
    camera = cache(partial(find_camera, source, known.camera, view))
    intrinsics, eye = lambda: camera().intrinsics, partial(_eye, source, network, content)
    scale = None if known.scaling is None else known.scaling(maps, eye, intrinsics)
    anchor = known.anchor or metric_anchor(settings.anchor, maps.quantity, eye)
    if scale is not None and isinstance(anchor, SlamMap):
        anchor = anchor.in_metres(scale)
    found = gauges(maps, anchor, intrinsics, robust=settings.anchor.fit == "robust")
    if isinstance(anchor, GivenDepths):
        start, end = times_of(maps)
        anchor.tell_unused(sum(len(gauge.agreements) for gauge in found), start, end, maps.frame_count)
    return Measured(maps, content, camera, found, scale)


def _eye(source: Source, metric: Metric, content: Content) -> MetricEye | None:
    network = metric()
    return None if network is None else MetricEye(network, source, content)


@contextmanager
def reconstruction(
    video: Path, output: Path, settings: PointcloudSettings, observer: Observer
) -> Iterator[Reconstruction]:
    """Find depth, camera, metres and poses for a video; the store of depth is kept open meanwhile.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    source = straightened(open_source(video, settings.sampling), settings)
    poses = find_poses(source, settings.camera)
    known = read_given(source, settings)
    _require_one_unit(poses, known)
    with straight_depth_maps(source, output, settings, observer) as (maps, depth_origin):
        found = measured(source, maps, known, settings, observer)
        camera, poses = found.camera(), poses.in_metres(found.scale)
        plans = _plans(found.maps, found.gauges, camera, poses, settings)
        yield Reconstruction(
            source, found.maps, depth_origin, found.content, camera, plans, poses, settings.clean.edge, observer
        )


def _plans(
    maps: DepthMaps, gauges: Sequence[Gauge], camera: Camera, poses: Poses, settings: PointcloudSettings
) -> list[ShotPlan | None]:
    limits = Limits(settings.clean.min_depth, settings.clean.max_depth, settings.fuse.voxel)
    usable = _in_units(gauges, poses)
    plans = [
        plan_shot(maps, shot, gauge, camera, limits) if in_units else None
        for shot, gauge, in_units in zip(maps.shots, gauges, usable, strict=True)
    ]
    for shot, plan in zip(maps.shots, plans, strict=True):
        if plan is not None and (plan.disagreement or 0) > MISMATCH[1]:
            logger.warning(
                "shot %d: %s and the depth are %.0f %% apart in the middle: do not trust its lengths; does the anchor "
                "belong to this video?",
                shot.shot,
                plan.gauge.origin,
                100 * (plan.disagreement or 0),
            )
    return plans


def _metric_network(settings: SettingsOfLengths, observer: Observer) -> MetricNetwork | None:
    from recon.models.choose import choose_metric  # noqa: PLC0415 - torch, only where nothing better is known

    depth = settings.depth
    return choose_metric(settings.anchor, device=depth.device, download=depth.download, on_download=observer.download)


def given_camera(source: Source, settings: SettingsOfLengths) -> Camera | None:
    """The camera, where somebody says it: a calibration file, --fov, the SfM model, or the video's own focal length."""
    size = source.info.width, source.info.height
    return (
        straight_camera(source)
        or _calibrated(settings.camera.intrinsics, *size)
        or from_fov(settings.camera.fov, "--fov", *size)
        or _calibrated_by_slam(settings, *size)
        or from_fov(source.info.fov_x, "focal length in the file", *size)
    )


def find_camera(source: Source, known: Camera | None, measured: Callable[[], Camera | None]) -> Camera:
    """The camera that is known, else what MoGe measures, else an assumption."""
    return first_known(lambda: known, measured, width=source.info.width, height=source.info.height)


def _calibrated(path: Path | None, width: int, height: int) -> Camera | None:
    return None if path is None else given(read_intrinsics(path, (height, width)), str(path), width, height)


def _calibrated_by_slam(settings: SettingsOfLengths, width: int, height: int) -> Camera | None:
    """The camera of a COLMAP model or transforms.json that was given for its poses or points."""
    for path in (settings.anchor.sparse, settings.camera.trajectory):
        if path is not None and not is_points_file(path) and slam_units(path) == "slam":
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


def _require_one_unit(poses: Poses, known: Given) -> None:
    """Two units are never mixed: what is given is compared before any work is done.

    Raises:
        TrajectoryError: the poses and the anchor have different units.
    """
    if known.anchor is None or poses.units is None:
        return
    of_poses, of_anchor = known.units(poses.units), known.units(known.anchor.units)
    if of_poses != of_anchor:
        told = f"the poses are in {UNIT_NAMES[of_poses]}, the anchor in {UNIT_NAMES[of_anchor]}"
        raise TrajectoryError(
            f"{told}: give both from one source (--slam-units speaks of the poses and of --sparse), or say with "
            "--scale-from how long the map's unit is"
        )


def find_poses(source: Source, settings: CameraSettings) -> Poses:
    """Where poses come from: a file, a camera that does not move, or the pictures themselves."""
    if settings.trajectory is not None:
        trajectory = read_trajectory(
            settings.trajectory,
            times_by_name=source.times_by_name,
            rate=settings.trajectory_rate,
            axes=settings.trajectory_axes,
        )
        origin = f"{settings.trajectory} ({len(trajectory.times)} poses)"
        return _given_poses(trajectory, origin, units_of(settings.trajectory, settings))
    if settings.static:
        return Poses(still, "the camera does not move (--static)", None, "z")
    return Poses(estimated, "estimated from the pictures and their depth", None, "z")


def _given_poses(trajectory: CameraTrajectory, origin: str, units: Units) -> Poses:
    return Poses(partial(along, pose_at=partial(pose_at, trajectory)), origin, units, "camera", trajectory)


def _in_units(gauges: Sequence[Gauge], poses: Poses) -> list[bool]:
    """Whether the depth of each shot has the units of the poses; the others cannot stand in the same world.

    Raises:
        TrajectoryError: there is none.
    """
    usable = [poses.units in {None, gauge.units} for gauge in gauges]
    if all(usable) or poses.units is None:
        return usable
    others = {UNIT_NAMES[gauge.units] for gauge, in_units in zip(gauges, usable, strict=True) if not in_units}
    told = f"the poses are in {UNIT_NAMES[poses.units]}, the depth in {' and '.join(sorted(others))}"
    if not any(usable):
        metric = ", or say --slam-units metres if the poses are metric" if poses.units == "slam" else ""
        raise TrajectoryError(
            f"{told}: give an anchor in the units of the poses (--first-frame-depth, --metric-depth, --sparse or "
            f"MoGe's weights){metric}"
        )
    logger.warning("%s: %d of %d shots are left out", told, usable.count(False), len(gauges))
    return usable
