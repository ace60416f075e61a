"""From settings to a run: every choice is made here, once, and told."""

import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

from recon.errors import TrajectoryError
from recon.evaluation.trust import MISMATCH
from recon.io.calibration import read_intrinsics
from recon.io.cloud import axes_comment, to_axes
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.io.video import open_source
from recon.models import MetricNetwork
from recon.pipelines.anchors import GivenDepths, MetricEye, SlamMap, metric_anchor
from recon.pipelines.cloud import (
    ContentMaps,
    Limits,
    Scene,
    SegmentCloud,
    SegmentSummary,
    ShotPlan,
    plan_shot,
    point_clouds,
)
from recon.pipelines.depth import DepthMaps, Observer, every_time, timeline, times_of, told_origin
from recon.pipelines.given import Scaling, SettingsOfLengths, given_anchor, scaling, slam_map
from recon.pipelines.masks import Kept, Masks, open_masks
from recon.pipelines.metres import Anchor, Gauge, gauges, probes
from recon.pipelines.poses import Film, Found, Poses, find_poses, place_of, refined_camera
from recon.pipelines.straight import calibration_of, straight_camera, straight_depth_maps, straight_masks, straightened
from recon.pipelines.units import UNIT_NAMES, MapScale
from recon.settings import EDGE, CleanSettings, MeshSettings, PointcloudSettings, PosesSettings
from recon.stages.camera import NOMINAL_SIGMA, Camera, first_known, from_fov, given
from recon.stages.camera import measured as measured_camera
from recon.stages.letterbox import Content, find_content
from recon.types import DepthFrame, Intrinsics, Picture, Units

logger = logging.getLogger(__name__)

UNUSED = "not needed"
"""Where a camera comes from that nobody asks for."""
TOLD = 6
"""Segments that a person is told of one by one."""
LOOKS = 24
"""Pictures that are looked at for black bars, where there seem to be any."""

Metric = Callable[[], MetricNetwork | None]
"""Loads the network for metres, if there is one, when it is first asked for."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A run in which everything is settled but the fusing."""

    scene: Scene
    """The frames and their depth, with one plan for each shot; None for what cannot stand in the world of the poses."""
    depth_origin: Mapping[str, str]
    """What made the depth: network, hash of its weights, input size; or the folder."""
    content: Content
    """What lies within black bars; everything, where there are none."""
    camera: Camera
    poses: Poses
    found: Sequence[Found]
    """Where the camera was: one for each run of frames that share a world."""
    observer: Observer

    @property
    def source(self) -> Source:
        """The pictures."""
        return self.scene.source

    @property
    def maps(self) -> DepthMaps:
        """Their depth."""
        return self.scene.maps

    @property
    def plans(self) -> Sequence[ShotPlan | None]:
        """One for each shot."""
        return self.scene.plans

    def clouds(self) -> Iterator[SegmentCloud]:
        """One cloud for each run of frames that share a world, in the axes of files, as soon as it is complete."""
        fused = point_clouds(self.scene, place_of(self.found), self.observer)
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
        letterbox = [("letterbox", self.content.sentence)] if self.content.bars else []
        return [
            ("source", f"{info.path.name}, {info.width} x {info.height}, {self.maps.frame_count} frames"),
            *letterbox,
            *([("depth", told_origin(self.depth_origin))] if self.depth_origin else []),
            *([("field of view", self._told_view)] if self.camera.origin != UNUSED else []),
            ("units", self._told_units),
            ("poses", self.poses.origin),
            ("frames", self._told_placed),
        ]

    @property
    def _told_view(self) -> str:
        spread = "" if self.camera.fov_spread is None else f" +- {self.camera.fov_spread:.1f}"
        return f"{self.camera.intrinsics.fov_x:.1f}{spread} degrees ({self.camera.origin})"

    @property
    def _told_units(self) -> str:
        of_plans = dict.fromkeys(_told(plan) for plan in self.plans if plan is not None)
        return ", ".join(of_plans or dict.fromkeys(UNIT_NAMES[each.units] for each in self.found))

    @property
    def _told_placed(self) -> str:
        placed = sum(len(each.frames) for each in self.found)
        worlds = f", in {len(self.found)} worlds" if len(self.found) > 1 else ""
        return f"{placed} of {self.maps.frame_count} frames placed{worlds}"

    @property
    def cameras(self) -> list[tuple[str, str]]:
        """What a person wants to know of the camera's path in each world."""
        more = [("", f"and {len(self.found) - TOLD} more: see the settings")] if len(self.found) > TOLD else []
        return [*(("camera", each.sentence) for each in self.found[:TOLD]), *more]

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
            "axes": axes_comment(self.poses.up).removeprefix("axes: "),
            "shots": [None if plan is None else _facts(plan) for plan in self.plans],
        }

    def require_placed(self) -> None:
        """Say how many frames have no pose.

        Raises:
            TrajectoryError: all of them.
        """
        placed, count = sum(len(each.frames) for each in self.found), self.maps.frame_count
        given = self.poses.trajectory
        if not placed and given is not None:
            start, end = self.maps.time_of(0), self.maps.time_of(count - 1)
            raise TrajectoryError(
                f"{self.source.info.path}: the trajectory covers {given.times[0]:.2f} to {given.times[-1]:.2f} s, and "
                f"none of its {count} frames ({start:.2f} to {end:.2f} s) lies there: see --start and --trajectory-rate"
            )
        if not placed:
            raise TrajectoryError(
                f"{self.source.info.path}: none of its {count} frames could be placed, so there are neither poses nor "
                "a cloud: give --trajectory, or --static for a camera that does not move"
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
    view = _view(source, all_maps, known, settings, observer)
    maps = ContentMaps(all_maps, view.content) if view.content.bars else all_maps
    scale = view.scale(known, all_maps)
    anchor = known.anchor or metric_anchor(settings.anchor, maps.quantity, view.eye)
    if scale is not None and isinstance(anchor, SlamMap):
        anchor = anchor.in_metres(scale)
    found = gauges(maps, anchor, lambda: view.camera().intrinsics, robust=settings.anchor.fit == "robust")
    if isinstance(anchor, GivenDepths):
        start, end = times_of(maps)
        anchor.tell_unused(sum(len(gauge.agreements) for gauge in found), start, end, maps.frame_count)
    return Measured(maps, view.content, view.camera, found, scale)


@dataclass(frozen=True, slots=True)
class _View:
    """How the pictures are seen."""

    content: Content
    camera: Callable[[], Camera]
    """Finds the camera when it is first asked for."""
    eye: Callable[[], MetricEye | None]
    """Loads the network for metres when it is first asked for."""

    def scale(self, known: Given, maps: DepthMaps) -> MapScale | None:
        """How long the unit of the map is that was given, where somebody asks."""
        return None if known.scaling is None else known.scaling(maps, self.eye, lambda: self.camera().intrinsics)


def _view(source: Source, maps: DepthMaps, known: Given, settings: SettingsOfLengths, observer: Observer) -> _View:
    content = find_content(spread_pictures(source, maps, LOOKS))
    network = cache(partial(_metric_network, settings, observer))
    pictures = partial(spread_pictures, source, maps, settings.anchor.fov_frames)
    measure = partial(_measured, source, network, content, pictures, observer)
    camera = cache(partial(find_camera, source, known.camera, measure))
    return _View(content, camera, partial(_eye, source, network, content))


def _eye(source: Source, metric: Metric, content: Content) -> MetricEye | None:
    network = metric()
    return None if network is None else MetricEye(network, source, content)


class SettingsOfPlaces(SettingsOfLengths, Protocol):
    """The sections of every command that places cameras."""

    @property
    def clean(self) -> CleanSettings:
        """Which pixels are trusted."""


@contextmanager
def reconstruction(
    video: Path, output: Path, settings: PointcloudSettings | MeshSettings, observer: Observer
) -> Iterator[Reconstruction]:
    """Find depth, camera, metres and poses for a video; the store of depth is kept open meanwhile.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    source = straightened(open_source(video, settings.sampling), settings)
    footage = Footage(source, find_poses(source, settings.camera), output, settings, observer)
    with footage.reconstructed(settings.fuse.voxel) as run:
        yield run


@contextmanager
def pose_run(video: Path, output: Path, settings: PosesSettings, observer: Observer) -> Iterator[Reconstruction]:
    """Find the poses of a video, and depth first where they depend on it.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    source = straightened(open_source(video, settings.sampling), settings)
    footage = Footage(source, find_poses(source, settings.camera), output, settings, observer)
    if footage.poses.needs_depth:
        with footage.reconstructed(None) as run:
            yield run
    else:
        yield footage.placed(with_camera=settings.poses.format not in {"tum", "kitti"})


@dataclass(frozen=True, slots=True)
class Footage:
    """A source before anything is known of it, and what is to be done."""

    source: Source
    poses: Poses
    output: Path
    settings: SettingsOfPlaces
    observer: Observer

    @contextmanager
    def reconstructed(self, voxel: float | None) -> Iterator[Reconstruction]:
        """With depth, clean and in units; ``voxel`` in these, where it is given."""
        source, settings, observer, poses = self.source, self.settings, self.observer, self.poses
        known, masks = read_given(source, settings), self._masks()
        _require_one_unit(poses, known)
        with straight_depth_maps(source, self.output, settings, observer) as (maps, depth_origin):
            kept = None if masks is None else self._kept(masks, maps)
            found = measured(source, maps, known, settings, observer)
            camera, poses = found.camera(), poses.in_metres(found.scale)
            limits = Limits(settings.clean.min_depth, settings.clean.max_depth, voxel)
            plans = _plans(found.maps, found.gauges, camera, poses, limits)
            scene = Scene(source, found.maps, plans, self._edge, kept)
            segments = tuple(poses.find(_film(scene, camera, observer)))
            camera = refined_camera(camera, segments)
            yield Reconstruction(scene, depth_origin, found.content, camera, poses, segments, observer)

    def placed(self, *, with_camera: bool) -> Reconstruction:
        """With poses that somebody says: neither depth nor lengths are looked for, and the camera only if asked."""
        source, settings, observer = self.source, self.settings, self.observer
        known = read_given(source, settings)
        maps = timeline(source, settings.shots.cut_threshold, observer)
        view = _view(source, maps, known, settings, observer)
        poses = self.poses.in_metres(view.scale(known, maps))
        size = source.info.width, source.info.height
        camera = view.camera() if with_camera else Camera(Intrinsics.from_fov(60.0, *size), UNUSED, None)
        scene = Scene(source, maps, [None] * len(maps.shots), None, None)
        units = {shot.shot: poses.units or "relative" for shot in maps.shots}
        film = Film(_all_times(maps), maps.shots, units, camera.intrinsics, _no_depth, observer.watch)
        return Reconstruction(scene, {}, view.content, camera, poses, tuple(poses.find(film)), observer)

    @property
    def _edge(self) -> float | None:
        carved = isinstance(self.settings, MeshSettings) and not self.settings.surface.poisson
        return self.settings.clean.edge or (None if carved else EDGE)

    def _masks(self) -> Masks | None:
        clean = self.settings.clean
        return None if clean.mask is None else open_masks(clean.mask, self.source, invert=clean.mask_invert)

    def _kept(self, masks: Masks, maps: DepthMaps) -> Callable[[], Iterator[Kept]]:
        every = partial(every_time, self.source, self.settings.sampling.picture_rate)
        times = _all_times(maps)
        return partial(straight_masks, self.source, times, partial(masks.kept, masks.match(self.source, times, every)))


def _film(scene: Scene, camera: Camera, observer: Observer) -> Film:
    maps, units = scene.maps, {shot: plan.gauge.units for shot, plan in enumerate(scene.plans) if plan is not None}
    shots = [span for span in maps.shots if span.shot in units]

    def depth() -> Generator[tuple[int, Iterator[DepthFrame]], None, None]:
        with closing(scene.views(observer)) as passed:
            yield from ((shot, frames) for shot, _plan, frames in passed)

    return Film(_all_times(maps), shots, units, camera.intrinsics, depth, observer.watch, camera.focal_sigma)


def _no_depth() -> Generator[tuple[int, Iterator[DepthFrame]], None, None]:
    yield from ()


def _all_times(maps: DepthMaps) -> list[float]:
    return [maps.time_of(index) for index in range(maps.frame_count)]


def _plans(
    maps: DepthMaps, gauges: Sequence[Gauge], camera: Camera, poses: Poses, limits: Limits
) -> list[ShotPlan | None]:
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
        or _calibrated(calibration_of(settings), *size)
        or from_fov(settings.camera.fov, "--fov", *size)
        or from_fov(source.info.fov_x, "focal length in the file", *size, focal_sigma=NOMINAL_SIGMA)
    )


def find_camera(source: Source, known: Camera | None, measured: Callable[[], Camera | None]) -> Camera:
    """The camera that is known, else what MoGe measures, else an assumption."""
    return first_known(lambda: known, measured, width=source.info.width, height=source.info.height)


def _calibrated(path: Path | None, width: int, height: int) -> Camera | None:
    return None if path is None else given(read_intrinsics(path, (height, width)), str(path), width, height)


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
    return measured_camera(content.whole_camera(inner, height, width), origin, view.spread)


def spread_pictures(source: Source, maps: DepthMaps, count: int) -> Iterator[Picture]:
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
