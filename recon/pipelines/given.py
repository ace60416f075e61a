"""What the user gives to make lengths known: which of it anchors the run, and how long the unit of a map is."""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
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
from recon.io.trajectory import read_trajectory, slam_units
from recon.io.video import open_source
from recon.pipelines.anchors import Eye, GivenDepths, GivenFirstDepth, SlamMap
from recon.pipelines.depth import DepthMaps, SettingsOfDepth, times_of
from recon.pipelines.metres import Anchor, CameraOf
from recon.pipelines.straight import depth_in, positions_in
from recon.pipelines.units import PICTURES, MapScale, scale_from_depth, scale_from_depths, scale_from_distance
from recon.settings import AnchorSettings, CameraSettings, SamplingSettings
from recon.stages.anchors import TOLERANCE
from recon.types import DepthMap, Units

logger = logging.getLogger(__name__)


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
    _tell_unused([kind for kind, _path in given], None if used is None else used[0], settings.anchor)
    if used is None:
        return None
    return used[0].read(source, settings, used[1])


def _tell_unused(given: Sequence[_Kind], used: _Kind | None, settings: AnchorSettings) -> None:
    for kind in given:
        if kind is not used and settings.anchor in {"auto", "none"} and settings.scale_from == "none":
            why = f"--anchor {settings.anchor}" if used is None else f"{used.option} anchors the run (see --anchor)"
            logger.warning("%s is not used: %s", kind.option, why)


def _kinds() -> tuple[_Kind, ...]:
    """Those that know most come first."""
    return (
        _Kind(lambda anchor: anchor.sparse, "--sparse", frozenset({"auto", "sparse"}), slam_map),
        _Kind(lambda anchor: anchor.metric_depth, "--metric-depth", frozenset({"auto", "frames", "first"}), _depths),
        _Kind(lambda anchor: anchor.first_frame_depth, "--first-frame-depth", frozenset({"auto", "first"}), _first),
    )


def _first(source: Source, settings: SettingsOfLengths, path: Path) -> Anchor:
    return GivenFirstDepth(_first_depth(source, settings, path), f"first-frame depth {path.name}")


def _first_depth(source: Source, settings: SettingsOfLengths, path: Path) -> DepthMap:
    return depth_in(source)(settings.sampling.start, _known_depth(path, settings))


def _known_depth(path: Path, settings: SettingsOfLengths) -> DepthMap:
    depth = read_depth_map(path, scale=settings.depth.depth_scale)
    if not np.isfinite(depth).any():
        raise FormatError(f"{path}: holds no depth: none of its values is known and positive")
    return depth


def _depths(source: Source, settings: SettingsOfLengths, path: Path) -> Anchor:
    folder = DepthFolder(path, scale=settings.depth.depth_scale)
    times, numbers = _timed(folder, source, settings)
    first_alone = settings.anchor.anchor == "first"
    which = "first one of the shot" if first_alone else f"{len(times)} frames"
    return GivenDepths(folder, times, numbers, first_alone, f"metric depth {path.name}, {which}", depth_in(source))


def slam_map(source: Source, settings: SettingsOfLengths, path: Path) -> SlamMap:
    """A COLMAP model; or bare points, seen from the trajectory that is given with them.

    Raises:
        ReconError: files that are missing, damaged, or do not belong to the source.
    """
    camera = settings.camera
    told = f"sparse points of {path}"
    if not is_points_file(path):
        points = read_sparse(
            path,
            times_by_name=source.times_by_name,
            rate=camera.trajectory_rate,
            straight=positions_in(source),
        )
        return SlamMap(
            lambda _times, _camera: points, np.unique(points.times), units_of(path, camera), told, bare=False
        )
    if camera.trajectory is None:
        raise OptionError(f"--sparse {path}: bare points need --trajectory, which says where they were seen from")
    trajectory = read_trajectory(
        camera.trajectory,
        times_by_name=source.times_by_name,
        rate=camera.trajectory_rate,
        axes=camera.trajectory_axes,
    )
    bare = read_points(path)
    units = units_of(camera.trajectory, camera)
    return SlamMap(
        lambda times, view: observed(bare, trajectory, view(), times), trajectory.times, units, told, bare=True
    )


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
    times = np.array([by_number[number] for number in numbers], np.float64)
    for row in np.flatnonzero(np.diff(times) < TOLERANCE)[:1]:
        one, other = (folder.names[n] if folder.names else f"map {n}" for n in numbers[row : row + 2].tolist())
        raise FormatError(f"{folder.path}: {one} and {other} are of one frame ({times[row]:.3f} s): keep one of them")
    return times, numbers


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


# ------------------------------------------------------------------------------------------------------------ map units

Scaling = Callable[[DepthMaps, Eye, CameraOf], MapScale]
"""Finds the length of a map's unit, once depth is there."""


def scaling(source: Source, slam: SlamMap, settings: SettingsOfLengths) -> Scaling:
    """How the length of a map's unit is found (--scale-from); what is given for it is read now.

    Raises:
        ReconError: a map that is in metres already, or something that cannot be read.
    """
    anchor = settings.anchor
    if slam.units == "metres":
        raise OptionError(f"--scale-from: {anchor.sparse} is in metres already (see --slam-units)")
    if anchor.sparse is not None and anchor.known_distance is not None:
        scale = scale_from_distance(anchor.sparse, anchor.known_distance)
        return lambda _maps, _eye, _camera: scale
    if anchor.scale_from == "first-frame-depth" and anchor.first_frame_depth is not None:
        depth = _first_depth(source, settings, anchor.first_frame_depth)
        return partial(_scale_from_first, slam, depth, f"first-frame depth {anchor.first_frame_depth.name}")
    return partial(_scale_from_network, slam)


def _scale_from_first(
    slam: SlamMap, depth: DepthMap, origin: str, maps: DepthMaps, _eye: Eye, camera: CameraOf
) -> MapScale:
    time = next(maps.estimates()).time
    return scale_from_depth(slam.seen_at([time], camera), time, depth, origin)


def _scale_from_network(slam: SlamMap, maps: DepthMaps, eye: Eye, camera: CameraOf) -> MapScale:
    """What the network says of a few pictures in which landmarks were seen."""
    looking = eye()
    if looking is None:
        raise OptionError("--scale-from moge: there is no MoGe")
    looking.require_unit("--scale-from moge")
    start, end = times_of(maps)
    inside = slam.times[(slam.times >= start - TOLERANCE) & (slam.times <= end + TOLERANCE)]
    times = inside[np.unique(np.linspace(0, len(inside) - 1, min(PICTURES, len(inside))).round().astype(int))].tolist()
    depths = ((time, looking.depth(max(0.0, time - TOLERANCE), camera())) for time in times)
    return scale_from_depths(slam.seen_at(times, camera), depths, "MoGe")
