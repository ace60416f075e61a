"""COLMAP models, text and binary, with or without rigs and frames: cameras, images, points.

Format: https://colmap.github.io/format.html. COLMAP and recon agree on camera axes (x right, y down, z forward) and on
pixels (the centre of the first one is (0.5, 0.5)); COLMAP's poses are camera_from_world, ours world_from_camera. The
files of rigs and frames are not needed: images hold composed poses.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.geometry import inverse, rigid
from recon.io.lens import Lens, lens_of_colmap, neglected
from recon.types import Intrinsics, RigidTransform

NO_POINT = -1
"""Number of the point where an observation has none."""
_NAMES = ("cameras", "images", "points3D")
_SUFFIXES = (".bin", ".txt")
OBSERVATION = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<i8")])
_POINT = np.dtype([("key", "<u8"), ("place", "<f8", 3), ("color", "u1", 3), ("error", "<f8")])
"""A point in points3D.bin, before its track."""


class _Kind(NamedTuple):
    name: str
    parameters: int


KINDS = {
    0: _Kind("SIMPLE_PINHOLE", 3),
    1: _Kind("PINHOLE", 4),
    2: _Kind("SIMPLE_RADIAL", 4),
    3: _Kind("RADIAL", 5),
    4: _Kind("OPENCV", 8),
    5: _Kind("OPENCV_FISHEYE", 8),
    6: _Kind("FULL_OPENCV", 12),
    7: _Kind("FOV", 5),
    8: _Kind("SIMPLE_RADIAL_FISHEYE", 4),
    9: _Kind("RADIAL_FISHEYE", 5),
    10: _Kind("THIN_PRISM_FISHEYE", 12),
    11: _Kind("RAD_TAN_THIN_PRISM_FISHEYE", 16),
    12: _Kind("SIMPLE_DIVISION", 4),
    13: _Kind("DIVISION", 5),
    14: _Kind("SIMPLE_FISHEYE", 3),
    15: _Kind("FISHEYE", 4),
    16: _Kind("EUCM", 6),
    17: _Kind("EQUIRECTANGULAR", 2),
}
"""COLMAP's models of cameras by their number in binary files."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera as COLMAP writes it."""

    kind: str
    """COLMAP's name of the model: PINHOLE, SIMPLE_RADIAL, ..."""
    width: int
    height: int
    parameters: tuple[float, ...]
    """In COLMAP's order."""


@dataclass(frozen=True, slots=True)
class Image:
    """A registered picture."""

    name: str
    camera: int
    """Key of ``Model.cameras``."""
    world_from_camera: RigidTransform
    positions: Float64[np.ndarray, "n 2"]
    """Features in pixels, as observed: distorted."""
    points: Int64[np.ndarray, " n"]
    """For each feature the key of its point, or ``NO_POINT``."""


@dataclass(frozen=True, slots=True)
class Model:
    """A whole reconstruction, in its own arbitrary unit of length."""

    path: Path
    cameras: Mapping[int, Camera]
    images: tuple[Image, ...]
    point_keys: Int64[np.ndarray, " p"]
    """Increasing."""
    points: Float64[np.ndarray, "p 3"]
    colors: UInt8[np.ndarray, "p 3"]
    """sRGB."""
    errors: Float64[np.ndarray, " p"]
    """Mean reprojection error of each point, pixels; -1 where it was not computed."""


# -------------------------------------------------------------------------------------------------------------- reading


def find_model(path: Path) -> Path | None:
    """The folder that holds the model: ``path`` or its ``sparse/0``, ``sparse`` or ``0``; None if there is none.

    One of the model's files will do as well.
    """
    if path.is_file() and path.stem in _NAMES and path.suffix in _SUFFIXES:
        return path.parent
    candidates = (path, path / "sparse" / "0", path / "sparse", path / "0")
    return next((folder for folder in candidates if _holds_model(folder)), None)


def read_cameras(folder: Path) -> dict[int, Camera]:
    """The cameras of a model by their number.

    Raises:
        FormatError: a damaged file.
    """
    file = _file(folder, "cameras")
    return dict(_binary_cameras(_Cursor(file)) if file.suffix == ".bin" else _text_cameras(file))


def read_images(folder: Path) -> tuple[Image, ...]:
    """The registered pictures of a model, by name.

    Raises:
        FormatError: a damaged file.
    """
    file = _file(folder, "images")
    images = _binary_images(_Cursor(file)) if file.suffix == ".bin" else _text_images(file)
    return tuple(sorted(images, key=lambda image: image.name))


def read_model(folder: Path) -> Model:
    """A model with its points.

    Raises:
        FormatError: a damaged file, or files that do not belong together.
    """
    cameras, images = read_cameras(folder), read_images(folder)
    if strangers := sorted({image.camera for image in images} - set(cameras)):
        raise FormatError(f"{folder}: images refer to cameras {strangers}, which the model does not have")
    file = _file(folder, "points3D")
    table = _binary_points(_Cursor(file)) if file.suffix == ".bin" else _text_points(file)
    table = table[np.argsort(table["key"])]
    keys = table["key"].astype(np.int64)
    return Model(folder, cameras, images, keys, table["place"].copy(), table["color"].copy(), table["error"].copy())


def _holds_model(folder: Path) -> bool:
    return any((folder / f"cameras{s}").is_file() and (folder / f"images{s}").is_file() for s in _SUFFIXES)


def _file(folder: Path, name: str) -> Path:
    """The binary file where both are there: COLMAP itself prefers it."""
    files = [folder / f"{name}{suffix}" for suffix in _SUFFIXES if (folder / f"{name}{suffix}").is_file()]
    if not files:
        raise FormatError(f"{folder}: not a COLMAP model, {name}.bin or {name}.txt is missing")
    return files[0]


# -------------------------------------------------------------------------------------------------------------- cameras


def lens(camera: Camera, origin: str) -> Lens:
    """What the camera does to light.

    Raises:
        CameraError: a kind that is not supported (EQUIRECTANGULAR), or impossible numbers.
    """
    return lens_of_colmap(camera.kind, camera.parameters, (camera.width, camera.height), origin)


def pinhole(camera: Camera, origin: str) -> Intrinsics:
    """The camera without its distortion, for pictures that are used as they are (``recon.io.lens.neglected``).

    Raises:
        CameraError: too much distortion to neglect, or a camera that is not supported.
    """
    return neglected(lens(camera, origin), origin)


def _camera(kind: str, size: tuple[int, int], parameters: tuple[float, ...], where: str) -> Camera:
    wanted = {known.name: known.parameters for known in KINDS.values()}.get(kind)
    if wanted is None:
        raise FormatError(f"{where}: unknown kind of camera {kind}")
    if len(parameters) != wanted:
        raise FormatError(f"{where}: a camera of the kind {kind} has {wanted} parameters, not {len(parameters)}")
    return Camera(kind, *size, parameters)


def _pose(quaternion_wxyz: tuple[float, ...], translation: tuple[float, ...], where: str) -> RigidTransform:
    w, x, y, z = quaternion_wxyz
    if not np.isfinite([*quaternion_wxyz, *translation]).all() or w * w + x * x + y * y + z * z < 1e-12:
        raise FormatError(f"{where}: a pose that is no pose ({quaternion_wxyz}, {translation})")
    return inverse(rigid(Rotation.from_quat([x, y, z, w]).as_matrix(), np.array(translation)))


# ----------------------------------------------------------------------------------------------------------------- text


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    """(where, line) of each line that is no comment; empty lines too."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.startswith("#"):
                    yield f"{path}:{number}", line.strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read as text ({error})") from error


def _numbers(words: list[str], where: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, words))
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from error


def _text_cameras(path: Path) -> Iterator[tuple[int, Camera]]:
    for where, line in _lines(path):
        if not line:
            continue
        words = line.split()
        if len(words) < 5:
            raise FormatError(f"{where}: a camera is CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS..., not '{line}'")
        key, width, height, *parameters = _numbers([words[0], *words[2:]], where)
        yield int(key), _camera(words[1], (int(width), int(height)), tuple(parameters), where)


def _text_images(path: Path) -> Iterator[Image]:
    lines = _lines(path)
    for where, line in lines:
        if not line:
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise FormatError(f"{where}: an image is IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, not '{line[:60]}'")
        numbers = _numbers(words[:9], where)
        pose = _pose(numbers[1:5], numbers[5:8], where)
        yield Image(words[9], int(numbers[8]), pose, *_text_features(*next(lines, (where, ""))))


def _text_features(where: str, line: str) -> tuple[Float64[np.ndarray, "n 2"], Int64[np.ndarray, " n"]]:
    numbers = np.array(_numbers(line.split(), where))
    if len(numbers) % 3:
        raise FormatError(f"{where}: features are triples X Y POINT3D_ID, but there are {len(numbers)} numbers")
    rows = numbers.reshape(-1, 3)
    return rows[:, :2], rows[:, 2].astype(np.int64)


def _text_points(path: Path) -> np.ndarray:
    """Rows of ``_POINT``; the tracks are left out, which images repeat."""
    table = []
    for where, line in _lines(path):
        if line:
            words = line.split(maxsplit=8)
            if len(words) < 8:
                raise FormatError(f"{where}: a point is POINT3D_ID X Y Z R G B ERROR TRACK..., not '{line[:60]}'")
            numbers = _numbers(words[:8], where)
            table.append((_whole(numbers[0], where), numbers[1:4], _color(numbers[4:7], where), numbers[7]))
    return np.array(table, _POINT)


def _whole(number: float, where: str) -> int:
    if number < 0 or not number.is_integer():
        raise FormatError(f"{where}: {number:g} is no number of a point")
    return int(number)


def _color(numbers: tuple[float, ...], where: str) -> tuple[int, ...]:
    if not all(0 <= number <= 255 for number in numbers):
        raise FormatError(f"{where}: {numbers} is no colour (0 to 255)")
    return tuple(map(int, numbers))


# --------------------------------------------------------------------------------------------------------------- binary


class _Cursor:
    """Reads a binary file from front to back and says where it ends too early."""

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
        except OSError as error:
            raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
        self._at, self._path = 0, path

    @property
    def where(self) -> str:
        return f"{self._path}, byte {self._at}"

    def _advance(self, size: int) -> int:
        start, end = self._at, self._at + size
        if end > len(self._data):
            raise FormatError(f"{self.where}: the file ends too early")
        self._at = end
        return start

    def doubles(self, count: int) -> tuple[float, ...]:
        return struct.unpack_from(f"<{count}d", self._data, self._advance(8 * count))

    def integer(self, layout: str) -> int:
        """A little-endian integer of a ``struct`` layout: i, I or Q."""
        return int(struct.unpack_from(f"<{layout}", self._data, self._advance(struct.calcsize(f"<{layout}")))[0])

    def name(self) -> str:
        """A string up to its zero byte."""
        length = self._data.find(b"\0", self._at) - self._at
        if length < 0:
            raise FormatError(f"{self.where}: the file ends too early")
        start = self._advance(length + 1)
        return self._data[start : start + length].decode("utf-8", "surrogateescape")

    def features(self, count: int) -> np.ndarray:
        """Rows of x, y, point."""
        start = self._advance(count * OBSERVATION.itemsize)
        return np.frombuffer(self._data, OBSERVATION, count, start)

    def point(self) -> np.void:
        """A row of ``_POINT``."""
        start = self._advance(_POINT.itemsize)
        row: np.void = np.frombuffer(self._data, _POINT, 1, start)[0]
        return row

    def skip(self, size: int) -> None:
        self._advance(size)


def _binary_cameras(file: _Cursor) -> Iterator[tuple[int, Camera]]:
    for _ in range(file.integer("Q")):
        where = file.where
        key, number, width, height = (file.integer(layout) for layout in "IiQQ")
        if number not in KINDS:
            raise FormatError(f"{where}: unknown kind of camera {number}")
        kind = KINDS[number]
        yield key, _camera(kind.name, (width, height), file.doubles(kind.parameters), where)


def _binary_images(file: _Cursor) -> Iterator[Image]:
    for _ in range(file.integer("Q")):
        where = file.where
        file.skip(4)
        pose = file.doubles(7)
        camera, name = file.integer("I"), file.name()
        features = file.features(file.integer("Q"))
        positions = np.stack([features["x"], features["y"]], axis=1)
        yield Image(name, camera, _pose(pose[:4], pose[4:], where), positions, features["point"].astype(np.int64))


def _binary_points(file: _Cursor) -> np.ndarray:
    """Rows of ``_POINT``; the tracks are left out, which images repeat."""
    table = []
    for _ in range(file.integer("Q")):
        table.append(file.point())
        file.skip(8 * file.integer("Q"))
    return np.array(table, _POINT)
