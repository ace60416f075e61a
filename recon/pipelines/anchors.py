"""What may anchor a run: metric depth of first frames or of some frames, given or from MoGe; landmarks of a map."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, tee
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float64, Int64

from recon.errors import FormatError, OptionError
from recon.io.depth import DepthFolder, read_depth_map
from recon.io.naming import key_of, times_of_names
from recon.io.points import is_points_file, read_points
from recon.io.source import Source
from recon.io.sparse import observed, read_sparse
from recon.io.store import ShotSpan
from recon.io.trajectory import read_trajectory, slam_units
from recon.io.video import open_source
from recon.models import MetricNetwork
from recon.pipelines.depth import DepthMaps, SettingsOfDepth
from recon.pipelines.metres import Anchor, CameraOf, disparity_of
from recon.settings import AnchorSettings, CameraSettings, SamplingSettings
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
            yield _beside(estimate, maps.quantity, depth)

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

    def depth(self, time: float, camera: Intrinsics) -> DepthMap:
        """Metric depth of the picture at a time; NaN outside the content."""
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
        """The first frame of the shot, and the first one after each period."""
        for estimate in self._asked(islice(maps.estimates(shot.start), shot.count)):
            yield _beside(estimate, maps.quantity, self.eye.depth(estimate.time, camera()))

    def _asked(self, estimates: Iterator[DepthEstimate]) -> Iterator[DepthEstimate]:
        first = next(estimates)
        yield first
        if self.every is None:
            return
        periods = 0
        for estimate in estimates:
            due = int((estimate.time - first.time + TOLERANCE) / self.every)
            if due > periods:
                periods = due
                yield estimate


@dataclass(frozen=True, slots=True)
class SlamMap:
    """Landmarks of a SLAM or SfM map, wherever they were seen."""

    seen_at: SeenAt
    times: Float64[np.ndarray, " n"]
    """When some were seen, or may have been, seconds."""
    units: Units
    origin: str
    consistent: bool = True
    unit_sigma: float = 0.0

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        """Where landmarks were seen is found on the way."""
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, camera: CameraOf) -> Iterator[Correspondences]:
        """Every frame of the shot in which landmarks were seen."""
        for estimate in islice(maps.estimates(shot.start), shot.count):
            points = self.seen_at([estimate.time], camera)
            yield from_sparse(points, estimate.time, disparity_of(estimate.values, maps.quantity))


def _beside(estimate: DepthEstimate, quantity: Quantity, depth: DepthMap) -> Correspondences:
    return from_depth_map(disparity_of(estimate.values, quantity), depth, time=estimate.time)


# --------------------------------------------------------------------------------------------------------------- choice


class SettingsOfLengths(SettingsOfDepth, Protocol):
    """The sections of every command that knows lengths."""

    @property
    def camera(self) -> CameraSettings:
        """What is known of the camera."""

    @property
    def anchor(self) -> AnchorSettings:
        """What makes depth metric."""


class _Kind(NamedTuple):
    """Something that may be given as an anchor."""

    given: Callable[[AnchorSettings], Path | None]
    option: str
    wanted_by: frozenset[str]
    """Values of --anchor."""
    read: Callable[[Source, SettingsOfLengths, Path], Anchor]


def given_anchor(source: Source, settings: SettingsOfLengths) -> Anchor | None:
    """What the user gives to anchor the run, as far as --anchor wants it; of several, the one that knows most.

    Raises:
        ReconError: a file that is missing, damaged, or does not belong to the source.
    """
    wanted = settings.anchor.anchor
    given = [(kind, path) for kind in _kinds() if (path := kind.given(settings.anchor)) is not None]
    used = next(((kind, path) for kind, path in given if wanted in kind.wanted_by), None)
    if used is None:
        return None
    for kind, _path in given:
        if kind is not used[0] and wanted == "auto" and settings.anchor.scale_from == "none":
            logger.warning("%s is not used: %s anchors the run (see --anchor)", kind.option, used[0].option)
    return used[0].read(source, settings, used[1])


def _kinds() -> tuple[_Kind, ...]:
    """Those that know most come first."""
    return (
        _Kind(lambda anchor: anchor.sparse, "--sparse", frozenset({"auto", "sparse"}), slam_map),
        _Kind(lambda anchor: anchor.metric_depth, "--metric-depth", frozenset({"auto", "frames", "first"}), _depths),
        _Kind(lambda anchor: anchor.first_frame_depth, "--first-frame-depth", frozenset({"auto", "first"}), _first),
    )


def _first(source: Source, settings: SettingsOfLengths, path: Path) -> Anchor:  # noqa: ARG001 - like the others
    return GivenFirstDepth(read_depth_map(path, scale=settings.depth.depth_scale), f"first-frame depth {path.name}")


def _depths(source: Source, settings: SettingsOfLengths, path: Path) -> Anchor:
    folder = DepthFolder(path, scale=settings.depth.depth_scale)
    times, numbers = _timed(folder, source, settings)
    first_alone = settings.anchor.anchor == "first"
    which = "first one of the shot" if first_alone else f"{len(times)} frames"
    return GivenDepths(folder, times, numbers, first_alone, f"metric depth {path.name}, {which}")


def slam_map(source: Source, settings: SettingsOfLengths, path: Path) -> SlamMap:
    """A COLMAP model; or bare points, seen from the trajectory that is given with them.

    Raises:
        ReconError: files that are missing, damaged, or do not belong to the source.
    """
    camera = settings.camera
    told = f"sparse points of {path}"
    if not is_points_file(path):
        points = read_sparse(path, times_by_name=source.times_by_name, rate=camera.trajectory_rate)
        return SlamMap(lambda _times, _camera: points, np.unique(points.times), units_of(path, camera), told)
    if camera.trajectory is None:
        raise OptionError(f"--sparse {path}: bare points need --trajectory, which says where they were seen from")
    trajectory = read_trajectory(camera.trajectory, times_by_name=source.times_by_name, rate=camera.trajectory_rate)
    bare = read_points(path)
    units = units_of(camera.trajectory, camera)
    return SlamMap(lambda times, view: observed(bare, trajectory, view(), times), trajectory.times, units, told)


def units_of(path: Path, settings: CameraSettings) -> Units:
    """Units of a map or of poses: what the user says, else what such files hold."""
    if settings.slam_units == "auto":
        return slam_units(path)
    return "metres" if settings.slam_units == "metres" else "slam"


def _timed(
    folder: DepthFolder, source: Source, settings: SettingsOfLengths
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Times of maps, increasing, and their numbers: recorded, by the names of the pictures, or by --trajectory-rate.

    Where all frames have maps, their order tells as well.
    """
    rate = settings.camera.trajectory_rate
    if folder.times is not None:
        by_number = dict(enumerate(folder.times.tolist()))
    elif named := _named(folder.names, source.times_by_name):
        by_number = named
    elif folder.names and rate is not None and not source.times_by_name:
        by_number = times_of_names(folder.names, {}, rate, folder.path)
    else:
        by_number = dict(enumerate(_in_order(folder, source, settings.sampling.picture_rate)))
    numbers = np.array(sorted(by_number, key=by_number.__getitem__), np.int64)
    return np.array([by_number[number] for number in numbers], np.float64), numbers


def _named(names: Sequence[str], times_by_name: Mapping[str, float]) -> dict[int, float]:
    """Number -> time of the maps that are called like pictures: altogether (1.25), or up to the first dot."""
    whole = {number: times_by_name[name] for number, name in enumerate(names) if name in times_by_name}
    if whole:
        return whole
    short = [key_of(name) for name in names]
    return {number: times_by_name[name] for number, name in enumerate(short) if name in times_by_name}


def _in_order(folder: DepthFolder, source: Source, picture_rate: float) -> list[float]:
    whole = open_source(source.info.path, SamplingSettings(picture_rate=picture_rate))
    with closing(whole.frames()) as frames:
        times = [frame.time for frame in frames]
    if len(times) != len(folder):
        raise FormatError(
            f"{folder.path}: {len(folder)} maps for {len(times)} frames: which are they of? Name them with the numbers "
            "of the frames and say with --trajectory-rate how many frames make a second"
        )
    return times


def metric_anchor(
    settings: AnchorSettings, quantity: Quantity, eye: Callable[[], MetricEye | None]
) -> MetricPictures | None:
    """MoGe, where nothing is given and metres are wanted; not for maps that are metric themselves, unless it is named.

    Raises:
        OptionError: it is named, and has no unit.
    """
    wanted = settings.anchor
    if wanted in {"none", "sparse"} or (quantity == "depth" and wanted == "auto") or (looking := eye()) is None:
        return None
    if not looking.network.metric:
        told = f"{looking.network.identity['name']}: its depth has no unit: it tells the field of view only"
        if wanted != "auto":
            raise OptionError(f"--anchor {wanted}: {told}; give --moge-weights of MoGe-2")
        logger.warning("%s; MoGe-2 would give metres", told)
        return None
    if wanted == "first":
        return MetricPictures(looking, None, "MoGe, first frame of the shot")
    return MetricPictures(looking, settings.anchor_every, f"MoGe, every {settings.anchor_every:g} s")
