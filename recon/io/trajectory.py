"""Camera trajectories: read from anybody's file (``recon.io.pose_files`` has the formats), asked, and written.

Poses belong to pictures by time, with interpolation: by the file's own clock where it has one, else by the names or
numbers of pictures, else by order and the rate that the user says. Pictures that are called by the time at which they
were taken (EuRoC: nanoseconds; TUM RGB-D and ARKitScenes: seconds) share the file's clock.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from recon.errors import TrajectoryError
from recon.files import whole_file
from recon.geometry import rigid
from recon.io.colmap import find_model
from recon.io.lens import Lens
from recon.io.naming import key_of, times_of_names, times_of_numbers, times_of_rows
from recon.io.pose_files import Axes, Poses, read_poses
from recon.io.transforms import Shots, write_frames
from recon.types import CameraTrajectory, Intrinsics, RigidTransform, Units

logger = logging.getLogger(__name__)

_EPOCH = 1e6
"""Seconds (11 days): times that begin later are on the wall's clock and not on the video's."""
_GAP = 4.0
_GAP_SECONDS = 0.25
_BESIDE = 0.05
"""Most seconds beside a pose at which it still counts: a frame at 20 Hz."""
_STAMP = re.compile(r"(?:^|\D)(?:(\d{18,19})|(\d+\.\d+))$")
"""What a name ends in that is a time: nanoseconds since 1970, or seconds with decimals."""


def read_trajectory(
    path: Path, *, times_by_name: Mapping[str, float], rate: float | None, axes: Axes = "auto"
) -> CameraTrajectory:
    """Poses on the clock of the video, sorted by time, from a file or folder of any format of ``pose_files``.

    Times of a wall clock (later than 1e6 s) or of a device are counted from the first one; that is logged. Not so where
    pictures are called by their times: then each picture has the pose of its own moment, and those outside the span are
    left out and counted.

    Args:
        path: file or folder.
        times_by_name: for a folder of pictures: name up to its first dot -> seconds. Empty for a video.
        rate: poses (or extracted frames) for each second, for formats without times.
        axes: of the camera in the file; auto leaves it to the format.

    Raises:
        TrajectoryError: unknown format, a bad line, or poses that cannot be brought together with the pictures.
        OptionError: axes that are not those of the format.
        FormatError: a damaged COLMAP model or description of Record3D.
    """
    poses = read_poses(path)
    matrices = poses.world_from_camera(axes)
    stamps = _stamps(times_by_name)
    if stamps and poses.rows.times is not None and poses.rows.names is None and not poses.format.times_beside:
        at_pictures = _at_pictures(_sorted(path, poses.rows.times, matrices), stamps, path)
        if at_pictures is not None:
            return at_pictures
    times, rows = _times(poses, times_by_name, rate)
    return _sorted(path, times, matrices[rows])


def _sorted(path: Path, times: Float64[np.ndarray, " n"], matrices: Float64[np.ndarray, "n 4 4"]) -> CameraTrajectory:
    order = np.argsort(times, kind="stable")
    times = times[order]
    if (np.diff(times) <= 0).any():
        again = times[1:][np.diff(times) <= 0][0]
        raise TrajectoryError(f"{path}: two poses for the time {again:.6f} s")
    return CameraTrajectory(times, matrices[order])


class Pair(NamedTuple):
    """Two trajectories of one camera, on one clock."""

    estimated: CameraTrajectory
    true: CameraTrajectory
    timed: bool
    """Whether the clock counts seconds; else it counts pictures."""


def read_pair(path: Path, reference: Path) -> Pair:
    """Two trajectories of one camera, on a clock that both share.

    Times decide where both have them, and the pictures' names or numbers where both have those. Else there is no
    telling which poses belong together, unless there are as many of both: then they go by order.

    Raises:
        TrajectoryError: unknown format, a bad line, or nothing says which poses belong together.
    """
    pair = [read_poses(each) for each in (path, reference)]
    mine, true = pair
    if mine.rows.times is not None and true.rows.times is not None:
        estimated, ordered = _on_one_clock(mine, true)
        return Pair(estimated, ordered, timed=True)
    if all(poses.rows.names is not None for poses in pair):
        names = sorted({key_of(name) for poses in pair for name in poses.rows.names or ()})
        clock = {name: float(number) for number, name in enumerate(names)}
        return Pair(_by_names(mine, clock), _by_names(true, clock), timed=False)
    if mine.rows.numbers is not None and true.rows.numbers is not None:
        return Pair(_by_numbers(mine), _by_numbers(true), timed=False)
    counts = [len(poses.rows.matrices) for poses in pair]
    if counts[0] != counts[1]:
        raise TrajectoryError(
            f"{path}: {counts[0]} poses, but {reference} has {counts[1]}, and one of them has neither times nor names: "
            "nothing says which belong together; give both as TUM (with times)"
        )
    count = np.arange(float(counts[0]))
    estimated, ordered = (CameraTrajectory(count, _in_order(poses)) for poses in pair)
    return Pair(estimated, ordered, timed=False)


def _on_one_clock(*pair: Poses) -> list[CameraTrajectory]:
    """Where the times overlap they are of one clock; else each is counted from its own first one, if it must."""
    times = [np.asarray(poses.rows.times, np.float64) for poses in pair]
    begin, end = max(each.min() for each in times), min(each.max() for each in times)
    if begin <= end:
        first = min(each.min() for each in times)
        times = [each - first if first > _EPOCH else each for each in times]
    else:
        times = [_on_video_clock(each, poses) for each, poses in zip(times, pair, strict=True)]
    return [_sorted(poses.path, each, poses.world_from_camera()) for each, poses in zip(times, pair, strict=True)]


def _by_names(poses: Poses, clock: Mapping[str, float]) -> CameraTrajectory:
    times = np.array([clock[key_of(name)] for name in poses.rows.names or ()])
    return _sorted(poses.path, times, poses.world_from_camera())


def _by_numbers(poses: Poses) -> CameraTrajectory:
    return _sorted(poses.path, np.asarray(poses.rows.numbers, np.float64), poses.world_from_camera())


def _in_order(poses: Poses) -> Float64[np.ndarray, "n 4 4"]:
    """By time, name or number, where there are such; else as they stand."""
    rows, matrices = poses.rows, poses.world_from_camera()
    if rows.times is not None:
        return matrices[np.argsort(rows.times, kind="stable")]
    if rows.names is not None:
        return matrices[sorted(range(len(rows.names)), key=(rows.names or []).__getitem__)]
    return matrices if rows.numbers is None else matrices[np.argsort(rows.numbers, kind="stable")]


def slam_units(path: Path) -> Units:
    """What one unit of length is in such a file: metres, or the arbitrary unit of structure from motion ("slam").

    Raises:
        TrajectoryError: unknown format.
    """
    if path.is_dir() and find_model(path):
        return "slam"
    return read_poses(path).format.units


def gravity_of(path: Path) -> tuple[float, float, float] | None:
    """Where things fall in the world of such poses, where their format knows it.

    Raises:
        TrajectoryError: unknown format.
    """
    return read_poses(path).format.gravity


def pose_at(trajectory: CameraTrajectory, time: float) -> RigidTransform | None:
    """world_from_camera at a time in seconds, or None where the trajectory does not say.

    Between two poses: linear in position, spherically linear in rotation (Shoemake 1985). Half a step beside a pose
    (a step is the median distance of two poses), but at most 0.05 s, that pose is taken, before the first and after the
    last one too. Nothing is said inside gaps of more than 4 steps or 0.25 s, whichever is more: there the tracking was
    lost.
    """
    times = trajectory.times
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    after = int(np.searchsorted(times, time))
    before = max(after - 1, 0)
    after = min(after, len(times) - 1)
    gap = float(times[after] - times[before])
    if 0 < gap <= max(_GAP * step, _GAP_SECONDS):
        share = (time - float(times[before])) / gap
        return interpolate(trajectory.world_from_camera[before], trajectory.world_from_camera[after], share)
    nearest = min(before, after, key=lambda row: abs(float(times[row]) - time))
    # A clock that counts milliseconds is half of one off.
    close = abs(float(times[nearest]) - time) <= min(max(step / 2, 5e-4), _BESIDE)
    return np.array(trajectory.world_from_camera[nearest]) if close else None


def interpolate(a_from_b: RigidTransform, a_from_c: RigidTransform, share: float) -> RigidTransform:
    """The transform ``share`` of the way from the first (0) to the second (1).

    Linear in translation, constant speed about one axis in rotation: slerp (Shoemake 1985).
    """
    b_from_c = Rotation.from_matrix(a_from_b[:3, :3].T @ a_from_c[:3, :3])
    rotation = a_from_b[:3, :3] @ Rotation.from_rotvec(share * b_from_c.as_rotvec()).as_matrix()
    return rigid(rotation, (1 - share) * a_from_b[:3, 3] + share * a_from_c[:3, 3])


def write_tum(path: Path, trajectory: CameraTrajectory, comments: Sequence[str] = ()) -> None:
    """Write ``seconds tx ty tz qx qy qz qw`` with all digits, below comments; the file appears whole or not at all."""
    quaternions = Rotation.from_matrix(trajectory.world_from_camera[:, :3, :3]).as_quat()
    rows = np.column_stack([trajectory.times, trajectory.world_from_camera[:, :3, 3], quaternions])
    with whole_file(path) as partial:
        head = [f"# {line}" for line in (*comments, "seconds tx ty tz qx qy qz qw")]
        partial.write_text("\n".join([*head, *map(_digits, rows)]) + "\n", encoding="utf-8")


def write_kitti(path: Path, trajectory: CameraTrajectory) -> None:
    """Write the 12 numbers of each 3x4 matrix, by rows, with all digits and without times; whole or not at all."""
    lines = (_digits(pose[:3].ravel()) for pose in trajectory.world_from_camera)
    with whole_file(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_transforms(
    path: Path, trajectory: CameraTrajectory, intrinsics: Intrinsics, names: Sequence[str], *, points: str | None = None
) -> None:
    """Write a transforms.json as nerfstudio and instant-ngp read it; the file appears whole or not at all.

    The camera gets OpenGL's axes, the world stays as it is. Principal points count from the corner in both. Each frame
    has its ``seconds``, which nobody else looks at (``time`` would go from 0 to 1, as in D-NeRF).

    Args:
        path: the file.
        trajectory: one pose for each picture.
        intrinsics: of all the pictures.
        names: of the pictures, relative to the file's folder, in the order of the poses.
        points: name of a cloud (PLY) in the same world, from which splats begin; relative too.

    Raises:
        ValueError: another number of names than of poses, or a name twice.
    """
    lens = Lens(intrinsics, "OPENCV", (0.0, 0.0, 0.0, 0.0))
    shots = Shots(tuple(names), trajectory.world_from_camera, (lens,), trajectory.times)
    write_frames(path, shots, points=points)


def _digits(row: Float64[np.ndarray, " k"]) -> str:
    return " ".join(repr(float(value)) for value in row + 0.0)  # no -0.0


# ---------------------------------------------------------------------------------------------------------------- times


def _times(
    poses: Poses, times_by_name: Mapping[str, float], rate: float | None
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Times, and the rows of ``poses`` that they belong to."""
    rows, path = poses.rows, poses.path
    if rows.times is not None and not _by_pictures(poses, times_by_name):
        return _on_video_clock(rows.times, poses), np.arange(len(rows.times))
    if rows.names is not None:
        found = times_of_names(rows.names, times_by_name, rate, path)
    elif rows.numbers is not None:
        found = times_of_numbers(rows.numbers.tolist(), times_by_name, rate, path)
    else:
        found = dict(enumerate(times_of_rows(len(rows.matrices), times_by_name, rate, path)))
    return np.array(list(found.values()), np.float64), np.array(list(found), np.int64)


def _by_pictures(poses: Poses, times_by_name: Mapping[str, float]) -> bool:
    """Whether the pictures of a folder say when poses are, though these have times: a folder's clock is made up.

    By their names, where it has any of these; poses whose times stand in a file beside them by order, where they are as
    many.
    """
    rows = poses.rows
    if rows.names is not None:
        return any(key_of(name) in times_by_name for name in rows.names)
    return poses.format.times_beside and len(rows.matrices) == len(times_by_name)


def _on_video_clock(times: Float64[np.ndarray, " n"], poses: Poses) -> Float64[np.ndarray, " n"]:
    first = float(times.min())
    if first < _EPOCH and not poses.format.device_clock:
        return times
    logger.warning(
        "%s: times begin at %.3f, %s; the first one is taken for the start of the video",
        poses.path,
        first,
        "the clock of a device" if poses.format.device_clock else "a wall clock",
    )
    return times - first


def _stamps(times_by_name: Mapping[str, float]) -> dict[float, float]:
    """When pictures were taken, by their names -> seconds of the source; empty unless all names tell.

    A number after a dot that only counts (shot1.0001.png) leaves what stands before it the same.
    """
    found = [_STAMP.search(name) for name in times_by_name]
    seconds = [float(match[2]) if match[2] else int(match[1]) / 1e9 for match in found if match is not None]
    if len(seconds) < len(found) or len({int(second) for second in seconds}) < 2:
        return {}
    return dict(zip(seconds, times_by_name.values(), strict=True))


def _at_pictures(trajectory: CameraTrajectory, stamps: Mapping[float, float], path: Path) -> CameraTrajectory | None:
    """The pose of each picture at its own moment, on the clock of the source; None where none lies in the span."""
    known = [(time, pose) for stamp, time in stamps.items() if (pose := pose_at(trajectory, stamp)) is not None]
    if not known:
        logger.warning("%s: says nothing of the times in the names of the pictures: these are not used", path)
        return None
    logger.info(
        "%s: poses at the times in the names of the pictures; %d of %d are outside its span",
        path,
        len(stamps) - len(known),
        len(stamps),
    )
    times, poses = zip(*sorted(known, key=lambda pair: pair[0]), strict=True)
    return CameraTrajectory(np.array(times), np.stack(poses))
