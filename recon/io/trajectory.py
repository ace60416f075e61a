"""Camera poses from other people's files, recognised by what is in them, and written as TUM.

=====================  =====================================================  ===================  ==========  ========
format                 content                                                axes, direction      times       lengths
=====================  =====================================================  ===================  ==========  ========
TUM                    lines of ``seconds tx ty tz qx qy qz qw``              OpenCV, camera->w.   its own     metres
KITTI                  lines of 12 numbers, 3x4 by rows                       OpenCV, camera->w.   by order    metres
4x4 matrices           lines of 16 numbers, or blocks of 4 lines of 4         OpenCV, camera->w.   by order    metres
folder of 4x4 files    ``NAME.pose.txt`` (7-Scenes), or ``NAME.txt``          OpenCV, camera->w.   by name     metres
COLMAP model           ``cameras``, ``images`` as ``.txt`` or ``.bin``        OpenCV, w.->camera   by name     own unit
transforms.json        nerfstudio, instant-ngp: ``frames[].transform_matrix`` OpenGL, camera->w.   by name     own unit
=====================  =====================================================  ===================  ==========  ========

By order: row i is the i-th picture of a folder, or the time i / rate of a video. By name: the picture of that name in a
folder, or the frame of that number in a video.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.transform import Rotation

from recon.errors import TrajectoryError
from recon.files import whole_file
from recon.geometry import rigid
from recon.io.colmap import find_model, read_images
from recon.io.naming import key_of, times_of_names, times_of_rows
from recon.types import CameraTrajectory, RigidTransform, Units

logger = logging.getLogger(__name__)

_KNOWN = "TUM, KITTI, 4x4 matrices, a folder of *.pose.txt, a COLMAP model, transforms.json"
_EPOCH = 1e6
"""Seconds (11 days): times that begin later are on the wall's clock and not on the video's."""
_UNIT = 0.02
"""How far the norm of a quaternion or the axes of a rotation may be from 1: files round."""
_GAP = 4.0
_GAP_SECONDS = 0.25
_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
"""Half a turn about x: from y up, looking along -z, to y down, looking along z; its own inverse."""


@dataclass(frozen=True, slots=True)
class _Poses:
    """What a file says, before times are found for what has none."""

    kind: Literal["tum", "rows", "matrices", "colmap", "transforms"]
    world_from_camera: Float64[np.ndarray, "n 4 4"]
    times: Float64[np.ndarray, " n"] | None
    names: tuple[str, ...] | None


def read_trajectory(path: Path, *, times_by_name: Mapping[str, float], rate: float | None) -> CameraTrajectory:
    """Poses on the clock of the video, sorted by time, from a file or folder of any format in the table above.

    TUM times that begin later than 1e6 s (a wall clock) are counted from the first one; that is logged.

    Args:
        path: file or folder.
        times_by_name: for a folder of pictures: name up to its first dot -> seconds. Empty for a video.
        rate: poses (or extracted frames) for each second, for formats without times.

    Raises:
        TrajectoryError: unknown format, a bad line, or poses that cannot be brought together with the pictures.
        FormatError: a damaged COLMAP model.
    """
    poses = _read(path)
    times, rows = _times(poses, path, times_by_name, rate)
    order = np.argsort(times, kind="stable")
    times, rows = times[order], rows[order]
    if (np.diff(times) <= 0).any():
        again = times[1:][np.diff(times) <= 0][0]
        raise TrajectoryError(f"{path}: two poses for the time {again:.6f} s")
    return CameraTrajectory(times, poses.world_from_camera[rows])


class Pair(NamedTuple):
    """Two trajectories of one camera, on one clock."""

    estimated: CameraTrajectory
    true: CameraTrajectory
    timed: bool
    """Whether the clock counts seconds; else it counts pictures."""


def read_pair(path: Path, reference: Path) -> Pair:
    """Two trajectories of one camera, on a clock that both share.

    Times decide where both have them, and the pictures' names where both have those. Else there is no telling which
    poses belong together, unless there are as many of both: then they go by order.

    Raises:
        TrajectoryError: unknown format, a bad line, or nothing says which poses belong together.
    """
    pair = [_read(each) for each in (path, reference)]
    if all(poses.times is not None for poses in pair):
        mine, true = (read_trajectory(each, times_by_name={}, rate=None) for each in (path, reference))
        return Pair(mine, true, timed=True)
    if all(poses.names is not None for poses in pair):
        names = sorted({key_of(name) for poses in pair for name in poses.names or ()})
        clock = {name: float(number) for number, name in enumerate(names)}
        return Pair(_by_names(pair[0], clock), _by_names(pair[1], clock), timed=False)
    counts = [len(poses.world_from_camera) for poses in pair]
    if counts[0] != counts[1]:
        raise TrajectoryError(
            f"{path}: {counts[0]} poses, but {reference} has {counts[1]}, and one of them has neither times nor names: "
            "nothing says which belong together; give both as TUM (with times)"
        )
    mine, true = (CameraTrajectory(np.arange(float(counts[0])), _in_order(poses)) for poses in pair)
    return Pair(mine, true, timed=False)


def _by_names(poses: _Poses, clock: Mapping[str, float]) -> CameraTrajectory:
    times = np.array([clock[key_of(name)] for name in poses.names or ()])
    order = np.argsort(times, kind="stable")
    return CameraTrajectory(times[order], poses.world_from_camera[order])


def _in_order(poses: _Poses) -> Float64[np.ndarray, "n 4 4"]:
    """By time or name, where there are such; else as they stand."""
    if poses.times is not None:
        return poses.world_from_camera[np.argsort(poses.times, kind="stable")]
    if poses.names is not None:
        return poses.world_from_camera[sorted(range(len(poses.names)), key=(poses.names or []).__getitem__)]
    return poses.world_from_camera


def slam_units(path: Path) -> Units:
    """What one unit of length is in such a file: metres, or the arbitrary unit of structure from motion ("slam").

    Raises:
        TrajectoryError: unknown format.
    """
    if path.is_dir() and find_model(path):
        return "slam"
    return "slam" if _read(path).kind in {"colmap", "transforms"} else "metres"


def pose_at(trajectory: CameraTrajectory, time: float) -> RigidTransform | None:
    """world_from_camera at a time in seconds, or None where the trajectory does not say.

    Between two poses: linear in position, spherically linear in rotation (Shoemake 1985). Half a step beside a pose
    (a step is the median distance of two poses) that pose is taken, before the first and after the last one too.
    Nothing is said inside gaps of more than 4 steps or 0.25 s, whichever is more: there the tracking was lost.
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
    close = abs(float(times[nearest]) - time) <= max(step / 2, 5e-4)
    return np.array(trajectory.world_from_camera[nearest]) if close else None


def interpolate(a_from_b: RigidTransform, a_from_c: RigidTransform, share: float) -> RigidTransform:
    """The transform ``share`` of the way from the first (0) to the second (1).

    Linear in translation, constant speed about one axis in rotation: slerp (Shoemake 1985).
    """
    b_from_c = Rotation.from_matrix(a_from_b[:3, :3].T @ a_from_c[:3, :3])
    rotation = a_from_b[:3, :3] @ Rotation.from_rotvec(share * b_from_c.as_rotvec()).as_matrix()
    return rigid(rotation, (1 - share) * a_from_b[:3, 3] + share * a_from_c[:3, 3])


def write_tum(path: Path, trajectory: CameraTrajectory) -> None:
    """Write ``seconds tx ty tz qx qy qz qw`` with all digits; the file appears whole or not at all."""
    quaternions = Rotation.from_matrix(trajectory.world_from_camera[:, :3, :3]).as_quat()
    rows = np.column_stack([trajectory.times, trajectory.world_from_camera[:, :3, 3], quaternions])
    with whole_file(path) as partial:
        lines = (" ".join(repr(float(value)) for value in row) for row in rows)
        partial.write_text("# seconds tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------- times


def _times(
    poses: _Poses, path: Path, times_by_name: Mapping[str, float], rate: float | None
) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Times, and the rows of ``poses`` that they belong to."""
    if poses.times is not None:
        return _on_video_clock(poses.times, path), np.arange(len(poses.times))
    if poses.names is None:
        times = times_of_rows(len(poses.world_from_camera), times_by_name, rate, path)
        return np.array(times, np.float64), np.arange(len(times))
    found = times_of_names(poses.names, times_by_name, rate, path)
    return np.array(list(found.values()), np.float64), np.array(list(found))


def _on_video_clock(times: Float64[np.ndarray, " n"], path: Path) -> Float64[np.ndarray, " n"]:
    first = float(times.min())
    if first < _EPOCH:
        return times
    logger.warning(
        "%s: times begin at %.3f, a wall clock; the first one is taken for the start of the video", path, first
    )
    return times - first


# -------------------------------------------------------------------------------------------------------------- formats


def _read(path: Path) -> _Poses:
    if not path.exists():
        raise TrajectoryError(f"{path}: no such file or folder")
    model = find_model(path)
    if model is not None:
        return _colmap(model)
    if path.is_dir():
        return _folder(path)
    text = _text(path)
    if text.lstrip().startswith("{"):
        return _transforms(path, text)
    return _table(path, text)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrajectoryError(f"{path}: a binary file, which is none of: {_KNOWN}") from error
    except OSError as error:
        raise TrajectoryError(f"{path}: cannot be read ({error.strerror})") from error


def _colmap(folder: Path) -> _Poses:
    images = read_images(folder)
    if not images:
        raise TrajectoryError(f"{folder}: the COLMAP model has no images")
    poses = np.stack([image.world_from_camera for image in images])
    return _Poses("colmap", poses, None, tuple(image.name for image in images))


def _folder(path: Path) -> _Poses:
    files = sorted(path.glob("*.pose.txt")) or sorted(path.glob("*.txt"))
    if not files and (path / "transforms.json").is_file():
        return _read(path / "transforms.json")
    if not files:
        raise TrajectoryError(f"{path}: a folder without poses; known are: {_KNOWN}")
    poses = np.concatenate([_single_matrix(file) for file in files])
    return _Poses("matrices", poses, None, tuple(file.name for file in files))


def _single_matrix(path: Path) -> Float64[np.ndarray, "1 4 4"]:
    poses = _table(path, _text(path)).world_from_camera
    if len(poses) != 1:
        raise TrajectoryError(f"{path}: {len(poses)} poses, but the files of a folder must hold one each")
    return poses


def _transforms(path: Path, text: str) -> _Poses:
    try:
        frames = json.loads(text)["frames"]
        names = tuple(str(frame["file_path"]) for frame in frames)
        matrices = np.array([frame["transform_matrix"] for frame in frames], np.float64)
    except (ValueError, TypeError, KeyError) as error:
        raise TrajectoryError(f"{path}: not a transforms.json ({type(error).__name__}: {error})") from error
    if matrices.ndim != 3 or matrices.shape[1:] not in {(4, 4), (3, 4)}:
        raise TrajectoryError(f"{path}: transform_matrix must be 4x4 in every one of its frames ({len(frames)})")
    where = [f"{path}: {name}" for name in names]
    return _Poses("transforms", _rigids(matrices, where) @ _OPENCV_FROM_OPENGL, None, names)


def _table(path: Path, text: str) -> _Poses:
    """Lines of numbers; how many of them a line has tells the format."""
    where, rows = _rows(path, text)
    width = len(rows[0])
    for place, row in zip(where, rows, strict=True):
        if len(row) != width:
            raise TrajectoryError(f"{place}: {len(row)} numbers, but {width} in the lines before")
    table = np.array(rows, np.float64)
    if width == 8:
        return _Poses("tum", poses_from_quaternions(table[:, 1:], where), table[:, 0], None)
    if width in {12, 16}:
        return _Poses("rows", _rigids(table.reshape(-1, width // 4, 4), where), None, None)
    if width == 4 and len(rows) % 4 == 0:
        return _Poses("matrices", _rigids(table.reshape(-1, 4, 4), where[::4]), None, None)
    hint = "; 7 numbers may be a pose without a time (TartanAir: in NED axes)" if width == 7 else ""
    raise TrajectoryError(f"{where[0]}: lines of {width} numbers, which is none of: {_KNOWN}{hint}")


def _rows(path: Path, text: str) -> tuple[list[str], list[list[float]]]:
    """Where each line with numbers stands, and its numbers."""
    where: list[str] = []
    rows: list[list[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words:
            where.append(f"{path}:{number}")
            rows.append(_numbers(words, where[-1], first=not rows))
    if not rows:
        raise TrajectoryError(f"{path}: holds no poses; known are: {_KNOWN}")
    return where, rows


def _numbers(words: list[str], where: str, *, first: bool) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        known = f"; known are: {_KNOWN}" if first else ""
        raise TrajectoryError(f"{where}: not a line of numbers ('{' '.join(words)[:60]}'){known}") from error
    if not np.isfinite(numbers).all():
        raise TrajectoryError(f"{where}: a pose with a number that is not finite")
    return numbers


# ---------------------------------------------------------------------------------------------------------------- poses


def poses_from_quaternions(rows: Float64[np.ndarray, "n 7"], where: Sequence[str]) -> Float64[np.ndarray, "n 4 4"]:
    """Poses of rows of tx ty tz qx qy qz qw (scalar last).

    Args:
        rows: Translations, and quaternions of length 1.
        where: The place of each row, for messages.

    Raises:
        TrajectoryError: a quaternion that is none.
    """
    norms = np.linalg.norm(rows[:, 3:], axis=1)
    if (wrong := np.abs(norms - 1) > _UNIT).any():
        row = int(np.argmax(wrong))
        raise TrajectoryError(
            f"{where[row]}: the quaternion (the last four numbers) has length {norms[row]:.3g}, not 1"
        )
    rotations = Rotation.from_quat(rows[:, 3:]).as_matrix()
    return np.stack([rigid(rotation, row[:3]) for rotation, row in zip(rotations, rows, strict=True)])


def _rigids(matrices: Float64[np.ndarray, "n r 4"], where: Sequence[str]) -> Float64[np.ndarray, "n 4 4"]:
    """3x4 or 4x4 matrices as rigid transforms: checked, then freed of rounding (the nearest rotation)."""
    rotations = matrices[:, :3, :3]
    u, _, vt = np.linalg.svd(rotations)
    nearest = u @ vt
    off = np.abs(rotations - nearest).max(axis=(1, 2))
    wrong = (off > _UNIT) | (np.linalg.det(nearest) < 0) | _wrong_last_row(matrices)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TrajectoryError(
            f"{where[row]}: not a rotation and a translation (mirrored, scaled, or columns for rows?)"
        )
    poses = np.tile(np.eye(4), (len(matrices), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = nearest, matrices[:, :3, 3]
    return poses


def _wrong_last_row(matrices: Float64[np.ndarray, "n r 4"]) -> Bool[np.ndarray, " n"]:
    wrong: Bool[np.ndarray, " n"] = (np.abs(matrices[:, 3:] - np.array([0, 0, 0, 1])) > 1e-6).any(axis=(1, 2))
    return wrong
