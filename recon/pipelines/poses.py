"""Where the camera was: given, still, or found from the pictures; one list of segments, for clouds and for files."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from recon.io.cloud import Up
from recon.io.source import Source
from recon.io.store import ShotSpan
from recon.io.trajectory import gravity_of, pose_at, read_trajectory
from recon.pipelines.given import units_of
from recon.pipelines.units import UNIT_NAMES, MapScale, scaled_trajectory
from recon.settings import CameraSettings
from recon.stages.camera import Camera, fov_sigma
from recon.stages.pose import Motion, Place, Segment, estimate
from recon.stages.pose.segment import Structure
from recon.types import CameraTrajectory, DepthFrame, Intrinsics, Units

Watch = Callable[[Iterable[Callable[[], None]], str, float | None], Iterator[Callable[[], None]]]

_AT_REST = 1e-6
"""Part of the depth unit, or radians, below which given poses count as one and the same."""


@dataclass(frozen=True, slots=True)
class Film:
    """The frames that are to be placed."""

    times: Sequence[float]
    """Of all frames, seconds."""
    shots: Sequence[ShotSpan]
    """Those that can be placed."""
    units: Mapping[int, Units]
    """Of the depth of each of these, or of the poses."""
    intrinsics: Intrinsics
    depth: Callable[[], Generator[tuple[int, Iterator[DepthFrame]], None, None]]
    """Goes through the frames of each of these shots, from the first one on each time; gives the shot's number too."""

    watch: Watch
    """Shows how a list of steps goes on (an observer's)."""
    focal_sigma: float = 0.0
    """Standard deviation of the focal length, relative; 0 where somebody says it."""

    def depth_of(self, shot: int) -> Iterator[DepthFrame]:
        """The frames of one shot, from its first one on."""
        with closing(self.depth()) as shots:
            yield from next(frames for number, frames in shots if number == shot)

    def times_of(self, shot: ShotSpan) -> Sequence[float]:
        """Of the frames of a shot, seconds."""
        return self.times[shot.start : shot.start + shot.count]


@dataclass(frozen=True, slots=True)
class Found:
    """Frames that share a world, and where their cameras were."""

    segment: Segment
    frames: Int64[np.ndarray, " n"]
    """Number of the frame of each pose."""
    units: Units
    estimated: bool
    """Whether the pictures said it, and nobody else."""

    @classmethod
    def of(cls, segment: Segment, film: Film, units: Units, *, estimated: bool) -> "Found":
        """A segment and the numbers of its frames."""
        frames = np.searchsorted(np.array(film.times), segment.trajectory.times - 1e-9)
        return cls(segment, frames, units, estimated)

    @property
    def start(self) -> float:
        """Time of the first frame, seconds."""
        return float(self.segment.trajectory.times[0])

    @property
    def end(self) -> float:
        """Time of the last frame, seconds."""
        return float(self.segment.trajectory.times[-1])

    @property
    def span(self) -> int:
        """How many frames there are from the first one to the last, whether they were placed or not."""
        return int(self.frames[-1] - self.frames[0]) + 1

    @property
    def key_frames(self) -> list[int]:
        """Numbers of the frames whose landmarks were remembered; none where nothing was estimated."""
        return [int(number) for number in self.frames[self.segment.structure.key_frames]]

    @property
    def moved(self) -> float:
        """Length of the way from key frame to key frame (so that jitter does not add up), in the units."""
        places = self._way[:, :3, 3]
        return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())

    @property
    def turned(self) -> float:
        """Degrees by which the camera turned on that way."""
        turns = (Rotation.from_matrix(a[:3, :3].T @ b[:3, :3]).magnitude() for a, b in pairwise(self._way))
        return float(np.degrees(sum(turns)))

    @property
    def _way(self) -> Float64[np.ndarray, "k 4 4"]:
        poses, rows = self.segment.trajectory.world_from_camera, self.segment.structure.key_frames
        return poses[np.unique([0, *rows, len(poses) - 1])] if len(rows) else poses

    @property
    def told_motion(self) -> str:
        """What the camera does, for a person."""
        if len(self.frames) == 1:
            return "whether the camera moves is not known"
        if self.segment.motion == "still":
            return "the camera does not move"
        if self.segment.motion == "free":
            return f"the camera moves {self.moved:.3g} {UNIT_NAMES[self.units]} and turns by {self.turned:.0f} degrees"
        told = f"the camera only turns (by {self.turned:.0f} degrees)"
        alone = ": pictures cannot show lengths then, they come from the depth alone"
        return told + alone if self.estimated else told

    @property
    def sentence(self) -> str:
        """For a person."""
        count, of = len(self.frames), "" if len(self.frames) == self.span else f" of {self.span}"
        placed = f"{count}{of} frames" if self.span != 1 else "1 frame"
        key_frames = f", {len(self.key_frames)} key frames" if len(self.key_frames) > 1 else ""
        told = f"{placed} ({self.start:.2f} to {self.end:.2f} s){key_frames}; {self.told_motion}"
        return told if self.fov_sigma is None else f"{told}; it sees {self._fov:.1f} +- {self.fov_sigma:.1f} degrees"

    @property
    def fov_sigma(self) -> float | None:
        """Standard deviation of the field of view, degrees; None where the pictures did not say it."""
        sigma = self.segment.focal_sigma
        return None if sigma is None else fov_sigma(self._fov, sigma)

    @property
    def _fov(self) -> float:
        return self.segment.intrinsics.fov_x

    @property
    def facts(self) -> dict[str, object]:
        """For a YAML file; frames are counted from 0, as they were taken."""
        return {
            "frames": len(self.frames),
            "runs": [f"{first} to {last}" for first, last in _runs(self.frames)],
            "start": self.start,
            "end": self.end,
            "motion": self.segment.motion,
            "moved": self.moved,
            "turned_degrees": self.turned,
            "units": self.units,
            "key_frames": self.key_frames,
            "fov_degrees": self._fov,
            "fov_sigma_degrees": self.fov_sigma,
        }


Finder = Callable[[Film], Iterator[Found]]
"""Places the frames of a film, segment after segment, in the order of time."""


@dataclass(frozen=True, slots=True)
class Poses:
    """Where camera poses come from."""

    find: Finder
    origin: str
    units: Units | None
    """Units of the poses; None where they take over those of the depth."""
    up: Up
    """How the world of these poses is turned in files."""
    needs_depth: bool
    """Whether they are found in the pictures and their depth."""
    trajectory: CameraTrajectory | None = None
    """What was given."""
    gravity: tuple[float, float, float] | None = None
    """Where things fall in their world, where an inertial sensor said it."""

    def in_metres(self, scale: MapScale | None) -> "Poses":
        """The same poses, once the length of their unit is known; those that do not need it stay."""
        if self.trajectory is None or scale is None or self.units != "slam":
            return self
        known = _given(scaled_trajectory(self.trajectory, scale), f"{self.origin}, {scale.sentence}", "metres")
        return replace(known, gravity=self.gravity)


def find_poses(source: Source, settings: CameraSettings) -> Poses:
    """Where poses come from: a file, a camera that does not move, or the pictures themselves.

    Raises:
        ReconError: a trajectory that cannot be read, or does not belong to the source.
    """
    if settings.trajectory is not None:
        trajectory = read_trajectory(
            settings.trajectory,
            times_by_name=source.times_by_name,
            rate=settings.trajectory_rate,
            axes=settings.trajectory_axes,
        )
        origin = f"{settings.trajectory} ({len(trajectory.times)} poses)"
        known = _given(trajectory, origin, units_of(settings.trajectory, settings))
        return replace(known, gravity=gravity_of(settings.trajectory))
    if settings.still:
        how = "--static" if settings.static else "--poses still"
        return Poses(still, f"the camera does not move ({how})", None, "z", needs_depth=False)
    if settings.poses == "colmap":
        from recon.stages.pose.colmap import installed  # noqa: PLC0415 - an optional package

        installed()  # before hours of work, not after
        origin = "estimated by COLMAP (tracked where it finds no way), in the units of the depth"
        return Poses(mapped, origin, None, "z", needs_depth=True)
    return Poses(tracked, "estimated from the pictures and their depth", None, "z", needs_depth=True)


def _given(trajectory: CameraTrajectory, origin: str, units: Units) -> Poses:
    find = partial(along, trajectory=trajectory)
    return Poses(find, origin, units, "camera", needs_depth=False, trajectory=trajectory)


# --- finders -----------------------------------------------------------------------------------------------------


def still(film: Film) -> Iterator[Found]:
    """A camera that does not move: each shot is a world of its own, seen from its origin."""
    for shot in film.shots:
        times = np.array(film.times_of(shot))
        trajectory = CameraTrajectory(times, np.tile(np.eye(4), (len(times), 1, 1)))
        yield _known(film, trajectory, film.units[shot.shot])


def along(film: Film, trajectory: CameraTrajectory) -> Iterator[Found]:
    """Poses that are known: all shots share the world of the trajectory. Frames without a pose are left out."""
    asked = ((time, pose_at(trajectory, time)) for shot in film.shots for time in film.times_of(shot))
    known = [(time, pose) for time, pose in asked if pose is not None]
    if known:
        times, poses = zip(*known, strict=True)
        found = CameraTrajectory(np.array(times), np.stack(poses))
        yield _known(film, found, film.units[film.shots[0].shot])


def tracked(film: Film) -> Iterator[Found]:
    """Poses from the pictures and their depth (``recon.stages.pose``)."""
    for shot, frames in film.depth():
        for segment in estimate(frames, film.intrinsics, film.focal_sigma):
            yield Found.of(segment, film, film.units[shot], estimated=True)


def mapped(film: Film) -> Iterator[Found]:
    """Poses by structure from motion (``recon.stages.pose.reconstruct``)."""
    from recon.stages.pose.reconstruct import reconstructed  # noqa: PLC0415 - an optional package

    for shot in film.shots:
        for segment in reconstructed(partial(film.depth_of, shot.shot), film.intrinsics, watch=film.watch):
            yield Found.of(segment, film, film.units[shot.shot], estimated=True)


def _known(film: Film, trajectory: CameraTrajectory, units: Units) -> Found:
    segment = Segment(
        trajectory, _motion(trajectory), film.intrinsics, Structure.without_landmarks(np.zeros(0, np.int64))
    )
    return Found.of(segment, film, units, estimated=False)


def _motion(trajectory: CameraTrajectory) -> Motion:
    from_first = trajectory.world_from_camera - trajectory.world_from_camera[0]
    moves, turns = (float(np.abs(part).max()) > _AT_REST for part in (from_first[:, :3, 3], from_first[:, :3, :3]))
    return "free" if moves else "turning" if turns else "still"


def refined_camera(camera: Camera, found: Sequence[Found]) -> Camera:
    """The camera, with the focal length of the run of frames that says it best, where one does."""
    sure = [(each.segment.focal_sigma, each) for each in found if each.segment.focal_sigma is not None]
    if not sure:
        return camera
    sigma, best = min(sure, key=lambda pair: pair[0])
    own = best.segment.intrinsics
    factor = own.fx / camera.intrinsics.scaled(own.width, own.height).fx
    return camera.refined(factor, sigma, len(best.key_frames))


# --- where each frame is ------------------------------------------------------------------------------------------


def place_of(found: Iterable[Found]) -> Callable[[float], Place | None]:
    """Looks up where these segments have the camera at the time of a frame, exactly; None for frames without a pose."""
    places = {
        time: Place(number, each.segment.intrinsics, pose)
        for number, each in enumerate(found)
        for time, pose in zip(
            each.segment.trajectory.times.tolist(), each.segment.trajectory.world_from_camera, strict=True
        )
    }
    return places.get


def _runs(numbers: Int64[np.ndarray, " n"]) -> list[tuple[int, int]]:
    """First and last of each run of numbers that follow each other."""
    ends = np.flatnonzero(np.diff(numbers) > 1)
    firsts, lasts = numbers[[0, *(ends + 1)]], numbers[[*ends, len(numbers) - 1]]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
