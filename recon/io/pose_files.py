"""Other people's files of camera poses: which there are, what each means, and a reader for each.

===================  ====================================================  ============  =========  ==========  ========
format               content                                               camera axes   direction  times       lengths
===================  ====================================================  ============  =========  ==========  ========
TUM                  lines of ``seconds tx ty tz qx qy qz qw``             OpenCV *      c -> w     its own     metres
KITTI                lines of 12 numbers, 3x4 by rows; with                OpenCV *      c -> w     by order,   metres
                     ``NAME.times.txt`` or ``times.txt`` beside it                                  or both
4x4 matrices         lines of 16 numbers, or blocks of 4 lines of 4        OpenCV *      c -> w     by order    metres
folder of matrices   ``NAME.pose.txt`` (7-Scenes), or ``NAME.txt``         OpenCV *      c -> w     by name     metres
7 numbers            lines of ``tx ty tz qx qy qz qw`` (TartanAir: NED;    must be said  c -> w     by order    metres
                     ICL-NUIM: Unity)
EuRoC, TUM-VI        CSV with the header ``#timestamp [ns], p_RS_R_x [m],  OpenCV        b -> w     its own     metres
                     ... q_RS_w [], q_RS_x [], ...``
ARKitScenes          ``.traj``: ``seconds rx ry rz tx ty tz``, axis-angle  OpenCV        w -> c     its own     metres
Record3D             ``.r3d``, ``metadata`` or its JSON: ``poses``, ``K``  OpenGL        c -> w     both        metres
COLMAP               ``cameras``, ``images`` as ``.txt`` or ``.bin``       OpenCV        w -> c     by name     its own
transforms.json      nerfstudio, instant-ngp: ``frames[].file_path``,      OpenGL        c -> w     by name,    its own
                     ``frames[].transform_matrix``; of recon also                                   or both
                     ``frames[].seconds``
ViPE                 ``pose/NAME.npz``: ``data`` (n, 4, 4), ``inds`` (n,)  OpenCV        c -> w     by number   metres
===================  ====================================================  ============  =========  ==========  ========

Axes
    Where a star stands, files of other axes look the same: what the user says (``Axes``) comes first. Nothing in a
    line of 7 numbers tells, so it must be said. ``in_opencv`` has the meanings.
Direction
    c -> w takes points of the camera to the world; w -> c the other way round; b -> w takes the body, an inertial
    sensor: EuRoC's ``sensor.yaml`` of the camera (``T_BS``, beside it in the official layout) makes cameras of bodies.
Times
    By order: row i is the i-th picture of a folder, or the time i / rate of a video. By name: the picture of that name
    in a folder, or the frame of that number in a video. By number: that picture of a folder, or frame of a video.
    Both: by name (KITTI: by order, if they are as many) in a folder, its own in a video.
Gravity
    EuRoC's world has z up, by the inertial sensor. Record3D's is that of the first camera, however it was held (its
    author, github.com/marek-simonik/record3d, issue 27), and the others do not say.
Lengths
    ``applied_transform`` and ``applied_scale`` of nerfstudio are undone (its dataparser: x_json = scale * transform *
    x_original), so that poses are in the world of the COLMAP model and of the points beside them. Nothing else in
    transforms.json tells of units: not even those of an app that measures in metres do.
"""

import json
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import yaml
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.transform import Rotation

from recon.errors import FormatError, OptionError, TrajectoryError
from recon.geometry import inverse, rigid
from recon.io.colmap import find_model, read_images
from recon.io.record3d import find_metadata, read_metadata
from recon.types import RigidTransform, Units

logger = logging.getLogger(__name__)

CameraAxes = Literal["opencv", "opengl", "ned", "unity"]
Axes = Literal["auto", "opencv", "opengl", "ned", "unity"]
"""What the user says of a file's axes; auto leaves it to the format."""

KNOWN: Final = (
    "TUM, KITTI, 4x4 matrices, a folder of *.pose.txt, a COLMAP model, transforms.json, EuRoC CSV, ARKitScenes .traj, "
    "Record3D, ViPE npz"
)
TRANSFORMS_TIME: Final = "seconds"
"""What recon calls the time of a frame in transforms.json."""
_UNIT: Final = 0.02
"""How far the norm of a quaternion or the axes of a rotation may be from 1: files round."""
_SECONDS: Final = 1e11
"""Times beyond (the year 5138) do not count seconds."""
_MIRROR: Final = np.diag([1.0, -1.0, 1.0, 1.0])
_TURNS: Final[Mapping[CameraAxes, tuple[RigidTransform, RigidTransform]]] = {
    "opencv": (np.eye(4), np.eye(4)),
    "opengl": (np.eye(4), np.diag([1.0, -1.0, -1.0, 1.0])),
    "ned": (np.eye(4), np.array([[0.0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])),
    "unity": (_MIRROR, _MIRROR),
}
"""What stands left and right of a pose to give it OpenCV's axes."""
_EUROC: Final = ("p_RS_R_x", "p_RS_R_y", "p_RS_R_z", "q_RS_x", "q_RS_y", "q_RS_z", "q_RS_w")
_EUROC_TICKS: Final = {"ns": 1e9, "us": 1e6, "s": 1.0}
"""In a second."""
_EUROC_PLACES: Final = ("data.csv", "state_groundtruth_estimate0/data.csv", "mav0/state_groundtruth_estimate0/data.csv")

_Matrices = Float64[np.ndarray, "n 4 4"]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file says."""

    matrices: _Matrices
    """World from camera, in the axes of the file."""
    times: Float64[np.ndarray, " n"] | None = None
    """Seconds, on a clock of its own."""
    names: tuple[str, ...] | None = None
    """Of the pictures."""
    numbers: Int64[np.ndarray, " n"] | None = None
    """Of the pictures or frames, from 0."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file or folder, looked at once."""

    path: Path
    text: str | None
    """None for folders, archives and models."""

    @property
    def width(self) -> int:
        """How many numbers its first line with numbers has; 0 where there is no such line."""
        return 0 if self.text is None else next((len(words) for _, words in _lines(self.text)), 0)


class PoseFormat(NamedTuple):
    """A kind of file, a row of the table above."""

    name: str
    axes: CameraAxes | None
    """Of the camera; None where nothing tells."""
    fits: Callable[[_File], bool]
    read: Callable[[_File], Rows]
    fixed: bool = True
    """Whether these axes belong to the format: then the user has no say."""
    units: Units = "metres"
    device_clock: bool = False
    """Whether times count from when the device was switched on, and not from the start of the video."""
    times_beside: bool = False
    """Whether times, if there are any, stand in a file of their own."""
    gravity: tuple[float, float, float] | None = None
    """Where things fall in the world of the poses, where the format knows it from an inertial sensor."""


@dataclass(frozen=True, slots=True)
class Poses:
    """What a file says, and its format."""

    path: Path
    format: PoseFormat
    rows: Rows

    def world_from_camera(self, axes: Axes = "auto") -> _Matrices:
        """Poses in OpenCV's axes.

        Args:
            axes: of the camera in the file, as the user says.

        Raises:
            OptionError: the format has other axes.
            TrajectoryError: the format does not tell its axes, nor does the user.
        """
        own = self.format.axes
        if self.format.fixed and axes not in {"auto", own}:
            raise OptionError(f"{self.path}: --trajectory-axes {axes}: {self.format.name} has the axes {own}")
        if axes != "auto":
            return in_opencv(self.rows.matrices, axes)
        if own is None:
            raise TrajectoryError(
                f"{self.path}: {self.format.name} do not tell their axes: say --trajectory-axes ned (TartanAir), "
                "unity (y up, left-handed: ICL-NUIM), opencv or opengl"
            )
        return in_opencv(self.rows.matrices, own)


def in_opencv(world_from_camera: _Matrices, axes: CameraAxes) -> _Matrices:
    """The same poses with the camera's axes as in OpenCV: x right, y down, z forward.

    Args:
        world_from_camera: in other axes.
        axes: opengl: x right, y up, looking along -z (Blender, ARKit). ned: x forward, y right, z down (AirSim,
            TartanAir). unity: x right, y up, z forward, which is left-handed, and so is its world: its y is turned over
            as well (Unity; the living room of ICL-NUIM, where it appears as a negative fy). Else the world stays.
    """
    world, camera = _TURNS[axes]
    turned: _Matrices = world @ world_from_camera @ camera
    return turned


def read_poses(path: Path) -> Poses:
    """The poses in a file or folder of any format in the table above.

    Raises:
        TrajectoryError: unknown format, or a bad line.
        FormatError: a damaged COLMAP model or description of Record3D.
    """
    if not path.exists():
        raise TrajectoryError(f"{path}: no such file or folder")
    file = _File(path, _text(path))
    known = next((each for each in _FORMATS if each.fits(file)), None)
    if known is None:
        raise _unknown(file)
    rows = known.read(file)
    if not len(rows.matrices):
        raise TrajectoryError(f"{path}: {known.name} without poses")
    return Poses(path, known, rows)


def _text(path: Path) -> str | None:
    if path.is_dir() or find_model(path) is not None or zipfile.is_zipfile(path):
        return None
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise TrajectoryError(f"{path}: a binary file, which is none of: {KNOWN}") from error
    except OSError as error:
        raise TrajectoryError(f"{path}: cannot be read ({error.strerror})") from error


def _unknown(file: _File) -> TrajectoryError:
    if file.path.is_dir():
        return TrajectoryError(f"{file.path}: a folder without poses; known are: {KNOWN}")
    if file.text is None:
        return TrajectoryError(f"{file.path}: an archive, which is none of: {KNOWN}")
    if not file.width:
        return TrajectoryError(f"{file.path}: holds no poses; known are: {KNOWN}")
    where, rows = _number_rows(file)
    return TrajectoryError(f"{where[0]}: lines of {len(rows[0])} numbers, which is none of: {KNOWN}")


# -------------------------------------------------------------------------------------------------------- lines of text


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Number and words of the lines that hold any, comments left out."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words:
            yield number, words


def _number_rows(file: _File) -> tuple[list[str], Float64[np.ndarray, "n w"]]:
    """Where each line with numbers stands, and its numbers."""
    where: list[str] = []
    rows: list[list[float]] = []
    for number, words in _lines(file.text or ""):
        where.append(f"{file.path}:{number}")
        rows.append(_numbers(words, where[-1], first=not rows))
        if len(rows[-1]) != len(rows[0]):
            raise TrajectoryError(f"{where[-1]}: {len(rows[-1])} numbers, but {len(rows[0])} in the lines before")
    if not rows:
        raise TrajectoryError(f"{file.path}: holds no poses; known are: {KNOWN}")
    return where, np.array(rows, np.float64)


def _numbers(words: list[str], where: str, *, first: bool) -> list[float]:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        known = f"; known are: {KNOWN}" if first else ""
        raise TrajectoryError(f"{where}: not a line of numbers ('{' '.join(words)[:60]}'){known}") from error
    if not np.isfinite(numbers).all():
        raise TrajectoryError(f"{where}: a pose with a number that is not finite")
    return numbers


def _tum(file: _File) -> Rows:
    where, table = _number_rows(file)
    if (table[:, 0] > _SECONDS).any():
        raise TrajectoryError(
            f"{where[0]}: the time {table[0, 0]:.0f} does not count seconds, as TUM does; a CSV of EuRoC needs its "
            "header (#timestamp [ns], p_RS_R_x [m], ...)"
        )
    return Rows(poses_from_quaternions(table[:, 1:], where), times=table[:, 0])


def _seven(file: _File) -> Rows:
    where, table = _number_rows(file)
    return Rows(poses_from_quaternions(table, where))


def _matrix_lines(file: _File) -> Rows:
    where, table = _number_rows(file)
    return Rows(_rigids(table.reshape(len(table), -1, 4), where))


def _kitti(file: _File) -> Rows:
    matrices = _matrix_lines(file).matrices
    return Rows(matrices, times=_times_beside(file.path, len(matrices)))


def _times_beside(path: Path, count: int) -> Float64[np.ndarray, " n"] | None:
    """Seconds, a line for each pose: as recon writes them, or of a sequence of KITTI odometry."""
    own, of_folder = path.with_name(f"{path.stem}.times.txt"), path.with_name("times.txt")
    beside = next((each for each in (own, of_folder) if each.is_file() and each != path), None)
    if beside is None:
        return None
    _, table = _number_rows(_File(beside, _text(beside)))
    if table.shape != (count, 1):
        raise TrajectoryError(
            f"{beside}: {len(table)} lines of {table.shape[1]} numbers; beside the {count} poses of {path.name} it "
            "must hold the seconds of each"
        )
    logger.debug("%s: times from %s", path, beside.name)
    return table[:, 0]


def _matrix_blocks(file: _File) -> Rows:
    where, table = _number_rows(file)
    if len(table) % 4:
        raise TrajectoryError(f"{file.path}: {len(table)} lines of 4 numbers are no 4x4 matrices")
    return Rows(_rigids(table.reshape(-1, 4, 4), where[::4]))


def _arkitscenes(file: _File) -> Rows:
    _, table = _number_rows(file)
    times, matrices = poses_of_arkitscenes(table)
    return Rows(matrices, times=times)


def poses_of_arkitscenes(rows: Float64[np.ndarray, "k 7"]) -> tuple[Float64[np.ndarray, " n"], _Matrices]:
    """Times, increasing, and world_from_camera of a ``.traj`` of ARKitScenes; the first of several of one time.

    Args:
        rows: seconds, a rotation (axis times angle, radians) and a translation in metres, which take points of the
            world to the camera (DATA.md of the data set).
    """
    times, order = np.unique(rows[:, 0], return_index=True)
    rotations = Rotation.from_rotvec(rows[order, 1:4]).as_matrix()
    camera_from_world = [rigid(turn, row[4:]) for turn, row in zip(rotations, rows[order], strict=True)]
    return times, inverse(np.stack(camera_from_world))


# --------------------------------------------------------------------------------------------------------------- EuRoC


def _euroc_file(file: _File) -> Path | None:
    """The CSV itself, or in a folder of the official layout."""
    if file.text is not None:
        return file.path if _is_euroc(file.text) else None
    places = (file.path / place for place in _EUROC_PLACES)
    return next((place for place in places if place.is_file() and _is_euroc(_text(place) or "")), None)


def _is_euroc(text: str) -> bool:
    return set(_EUROC) <= set(_euroc_columns(text))


def _euroc_columns(text: str) -> list[str]:
    """Names in the header, without units."""
    header = text.split("\n", 1)[0]
    return [name.split("[")[0].strip("# \r") for name in header.split(",")]


def _euroc(file: _File) -> Rows:
    """Cameras where sensor.yaml tells how they are mounted, else the body."""
    path = _euroc_file(file) or file.path
    text = _text(path) or ""
    columns = _euroc_columns(text)
    where, table = _number_rows(_File(path, "#" + text))  # some write their header without
    if table.shape[-1] != len(columns):
        raise TrajectoryError(f"{where[0]}: {table.shape[-1]} numbers, but the header has {len(columns)} names")
    times = table[:, 0] / _euroc_ticks(path, text)
    world_from_sensor = poses_from_quaternions(table[:, [columns.index(name) for name in _EUROC]], where)
    world_from_camera: _Matrices = world_from_sensor @ _camera_on_sensor(path)
    return Rows(world_from_camera, times=times)


def _euroc_ticks(path: Path, text: str) -> float:
    unit = text.split(",", 1)[0].partition("[")[2].partition("]")[0] or "ns"
    if unit not in _EUROC_TICKS:
        raise TrajectoryError(f"{path}:1: times in '{unit}', which is none of {', '.join(_EUROC_TICKS)}")
    return _EUROC_TICKS[unit]


def _camera_on_sensor(path: Path) -> RigidTransform:
    """sensor_from_camera: T_BS of cam0 and of the sensor whose poses these are, as far as they are there."""
    camera = path.parent.parent / "cam0" / "sensor.yaml"
    if not camera.is_file():
        logger.warning(
            "%s: poses of the body (an inertial sensor), not of the camera: %s, which tells how it is mounted, is not "
            "there",
            path,
            camera,
        )
        return np.eye(4)
    own = path.parent / "sensor.yaml"
    body_from_sensor = _mounting(own) if own.is_file() else np.eye(4)
    logger.info("%s: poses of the body, turned into those of cam0 by %s", path, camera)
    sensor_from_camera: RigidTransform = inverse(body_from_sensor) @ _mounting(camera)
    return sensor_from_camera


def _mounting(path: Path) -> RigidTransform:
    """T_BS: body from sensor."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        matrix = np.array(values["T_BS"]["data"], np.float64).reshape(1, 4, 4)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise TrajectoryError(f"{path}: holds no T_BS of 16 numbers ({' '.join(str(error).split())})") from error
    body_from_sensor: RigidTransform = _rigids(matrix, [f"{path}: T_BS"])[0]
    return body_from_sensor


# ------------------------------------------------------------------------------------------------- models and archives


def _colmap(file: _File) -> Rows:
    images = read_images(find_model(file.path) or file.path)
    if not images:
        raise TrajectoryError(f"{file.path}: the COLMAP model has no images")
    return Rows(np.stack([image.world_from_camera for image in images]), names=tuple(image.name for image in images))


def _folder_files(path: Path) -> list[Path]:
    return sorted(path.glob("*.pose.txt")) or sorted(path.glob("*.txt"))


def _folder(file: _File) -> Rows:
    files = _folder_files(file.path)
    return Rows(np.concatenate([_single_matrix(each) for each in files]), names=tuple(each.name for each in files))


def _single_matrix(path: Path) -> Float64[np.ndarray, "1 4 4"]:
    file = _File(path, _text(path))
    reader = {4: _matrix_blocks, 12: _matrix_lines, 16: _matrix_lines}.get(file.width)
    if reader is None:
        _number_rows(file)
        raise TrajectoryError(f"{path}: not a 4x4 matrix, as the files of a folder must be; known are: {KNOWN}")
    poses = reader(file).matrices
    if len(poses) != 1:
        raise TrajectoryError(f"{path}: {len(poses)} poses, but the files of a folder must hold one each")
    return poses


def _is_record3d(file: _File) -> bool:
    if file.text is not None:
        return file.text.lstrip().startswith("{") and _keys(file.text) >= {"poses", "K"}
    return find_metadata(file.path) is not None


def _record3d(file: _File) -> Rows:
    metadata = read_metadata(find_metadata(file.path) or file.path)
    rows = metadata.pose_rows
    names = tuple(str(row) for row in range(len(rows)))
    matrices = poses_from_quaternions(rows, [f"{file.path}: pose {name}" for name in names]) if names else rows
    return Rows(matrices.reshape(-1, 4, 4), times=np.array(metadata.times, np.float64), names=names)


def _is_vipe(file: _File) -> bool:
    if file.path.suffix != ".npz" or not zipfile.is_zipfile(file.path):
        return False
    with zipfile.ZipFile(file.path) as archive:
        return {"data.npy", "inds.npy"} <= set(archive.namelist())


def _vipe(file: _File) -> Rows:
    """Source: vipe/utils/io.py of github.com/nv-tlabs/vipe ("OpenCV cam2world matrices")."""
    matrices, numbers = read_numbered(file.path)
    if matrices.ndim != 3 or matrices.shape[1:] != (4, 4):
        raise TrajectoryError(f"{file.path}: data must be (n, 4, 4), not {matrices.shape}: intrinsics of ViPE?")
    where = [f"{file.path}: pose {number}" for number in numbers]
    return Rows(_rigids(matrices, where), numbers=numbers)


def read_numbered(path: Path) -> tuple[Float64[np.ndarray, "n *k"], Int64[np.ndarray, " n"]]:
    """The arrays ``data`` and ``inds`` of ViPE: for each row the number of its frame.

    Raises:
        FormatError: other arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            data, numbers = arrays["data"].astype(np.float64), arrays["inds"].astype(np.int64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: holds no arrays 'data' and 'inds', as ViPE writes ({error})") from error
    if numbers.ndim != 1 or len(data.shape) < 1 or len(data) != len(numbers) or not np.isfinite(data).all():
        raise FormatError(f"{path}: 'data' {data.shape} and 'inds' {numbers.shape} must be finite and as many")
    return data, numbers


# ------------------------------------------------------------------------------------------------------ transforms.json


def _keys(text: str) -> set[str]:
    """Of a JSON object; empty where it is none."""
    try:
        values = json.loads(text)
    except ValueError:
        return set()
    return set(values) if isinstance(values, dict) else set()


def _is_transforms(file: _File) -> bool:
    if file.text is not None:
        return file.text.lstrip().startswith("{")
    return file.path.is_dir() and (file.path / "transforms.json").is_file()


def _transforms(file: _File) -> Rows:
    path = file.path if file.text is not None else file.path / "transforms.json"
    try:
        values = json.loads(file.text or _text(path) or "")
        frames = values["frames"]
        names = tuple(str(frame["file_path"]) for frame in frames)
        matrices = np.array([frame["transform_matrix"] for frame in frames], np.float64)
        timed = bool(frames) and all(TRANSFORMS_TIME in frame for frame in frames)
        times = np.array([float(frame[TRANSFORMS_TIME]) for frame in frames]) if timed else None
    except (ValueError, TypeError, KeyError) as error:
        raise TrajectoryError(f"{path}: not a transforms.json ({type(error).__name__}: {error})") from error
    if foreign := [key for key in ("from_mitsuba", "from_na") if values.get(key)]:
        raise TrajectoryError(f"{path}: {foreign[0]} says that its axes are not those of transforms.json")
    if matrices.ndim != 3 or matrices.shape[1:] not in {(4, 4), (3, 4)}:
        raise TrajectoryError(f"{path}: transform_matrix must be 4x4 in every one of its frames ({len(frames)})")
    poses = _rigids(matrices, [f"{path}: {name}" for name in names])
    return Rows(_in_original_world(path, poses, values), times=times, names=names)


def _in_original_world(path: Path, poses: _Matrices, values: Mapping[str, object]) -> _Matrices:
    """Undo what nerfstudio has done to a world: first it turned it, then it scaled it."""
    try:
        scale = float(str(values.get("applied_scale", 1.0)))
        applied = np.array(values.get("applied_transform", np.eye(4)), np.float64).reshape(1, -1, 4)
    except ValueError as error:
        raise TrajectoryError(f"{path}: applied_transform and applied_scale must be a matrix and a number") from error
    if not (scale > 0 and np.isfinite(scale)) or applied.shape[1] not in {3, 4}:
        raise TrajectoryError(f"{path}: applied_transform must be 3x4, and applied_scale ({scale:g}) positive")
    unscaled = poses.copy()
    unscaled[:, :3, 3] /= scale
    original: _Matrices = inverse(_rigids(applied, [f"{path}: applied_transform"])[0]) @ unscaled
    return original


# ---------------------------------------------------------------------------------------------------------------- poses


def poses_from_quaternions(rows: Float64[np.ndarray, "n 7"], where: Sequence[str]) -> _Matrices:
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


def _rigids(matrices: Float64[np.ndarray, "n r 4"], where: Sequence[str]) -> _Matrices:
    """3x4 or 4x4 matrices as rigid transforms: checked, then freed of rounding (the nearest rotation)."""
    if not len(matrices):
        return np.zeros((0, 4, 4))
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


# -------------------------------------------------------------------------------------------------------------- formats


def _has(width: int) -> Callable[[_File], bool]:
    return lambda file: file.width == width


_FORMATS: Final = (
    PoseFormat("COLMAP", "opencv", lambda file: find_model(file.path) is not None, _colmap, units="slam"),
    PoseFormat("Record3D", "opengl", _is_record3d, _record3d),
    PoseFormat("transforms.json", "opengl", _is_transforms, _transforms, units="slam"),
    PoseFormat("EuRoC", "opencv", lambda file: _euroc_file(file) is not None, _euroc, gravity=(0.0, 0.0, -1.0)),
    PoseFormat("ViPE", "opencv", _is_vipe, _vipe),
    PoseFormat(
        "folder of matrices", "opencv", lambda f: f.path.is_dir() and bool(_folder_files(f.path)), _folder, fixed=False
    ),
    PoseFormat(
        "ARKitScenes",
        "opencv",
        lambda file: file.width == 7 and file.path.suffix == ".traj",
        _arkitscenes,
        device_clock=True,
    ),
    PoseFormat("lines of 7 numbers", None, _has(7), _seven, fixed=False),
    PoseFormat("TUM", "opencv", _has(8), _tum, fixed=False),
    PoseFormat("KITTI", "opencv", _has(12), _kitti, fixed=False, times_beside=True),
    PoseFormat("4x4 matrices", "opencv", _has(16), _matrix_lines, fixed=False),
    PoseFormat("4x4 matrices", "opencv", _has(4), _matrix_blocks, fixed=False),
)
