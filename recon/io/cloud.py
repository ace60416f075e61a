"""Point clouds in files: PLY (Greg Turk, 1994: header, elements, properties), and the axes in which they are stored."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.geometry import rigid
from recon.io.ply import header_bytes, read_header, read_rows
from recon.types import PointCloud, RigidTransform

Up = Literal["z", "y", "camera"]
"""Which axis of a file points up: +z (Blender, CAD, surveying), +y (glTF, Unity), or none of them (as it is)."""

UNKNOWN_COLOR = 128
"""Grey of points that a file gives no colour."""

_TO_AXES: dict[Up, tuple[tuple[int, int, int], ...]] = {
    "z": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "y": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "camera": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
_AXES_COMMENT: dict[Up, str] = {
    "z": "axes: right-handed, +x right, +y forward, +z up, as the first camera saw it",
    "y": "axes: right-handed, +x right, +y up, -z forward, as the first camera saw it",
    "camera": "axes: the world of the camera poses, unchanged",
}

_CHUNK = 1 << 18
_POINT = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")] + [(name, "u1") for name in ("red", "green", "blue")]
)
_COLOR_NAMES = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))


def to_axes(cloud: PointCloud, up: Up) -> PointCloud:
    """Turn a cloud from OpenCV's world axes (x right, y down, z forward) to the axes of a file; nothing is mirrored.

    PLY has no convention and every viewer takes it raw: Blender with z up, most others do not care. An estimated world
    is the first camera's, so that its picture is upright after ``"z"`` or ``"y"``; the world of given poses may already
    have any axes, and ``"camera"`` leaves it alone.
    """
    if up == "camera":
        return cloud
    turn = np.array(_TO_AXES[up], np.float32)
    return PointCloud(cloud.points @ turn.T, cloud.colors, cloud.normals @ turn.T)


def file_from_world(up: Up) -> RigidTransform:
    """What `to_axes` does, for poses and other points of the same world."""
    return rigid(np.array(_TO_AXES[up], np.float64), np.zeros(3))


def axes_comment(up: Up) -> str:
    """The header line that says what `to_axes` did."""
    return _AXES_COMMENT[up]


def write_ply(path: Path, cloud: PointCloud, comments: Sequence[str]) -> None:
    """Write binary little-endian PLY: x y z nx ny nz (float) red green blue (uchar), 27 bytes for each point.

    Args:
        path: File to write; it appears whole or not at all.
        cloud: Points, as they shall stand in the file (see `to_axes`).
        comments: Lines for the header (units, axes, where the cloud comes from); other than ASCII is escaped.

    Raises:
        ValueError: a comment holds a line break.
    """
    header = header_bytes(comments, [("vertex", len(cloud), _POINT)])
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header)
        for start in range(0, len(cloud), _CHUNK):
            file.write(_rows(cloud, slice(start, start + _CHUNK)).tobytes())


def _rows(cloud: PointCloud, part: slice) -> np.ndarray:
    rows = np.zeros(len(cloud.points[part]), _POINT)
    for names, values in ((("x", "y", "z"), cloud.points), (("nx", "ny", "nz"), cloud.normals)):
        for axis, name in enumerate(names):
            rows[name] = values[part, axis]
    for channel, name in enumerate(_COLOR_NAMES[0]):
        rows[name] = cloud.colors[part, channel]
    return rows


def read_ply(path: Path) -> PointCloud:
    """Read the vertices of an ASCII or binary PLY file, with float or double coordinates, in the file's own axes.

    Colours may be bytes, 16-bit or floats from 0 to 1; alpha, other properties and faces are ignored. Points without a
    colour are grey (128), points without a normal get zero.

    Raises:
        FormatError: the file is missing, not PLY, cut short, or has no x, y and z.
    """
    try:
        with path.open("rb") as file:
            vertices = _vertices(path, file)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return cloud_of_rows(path, vertices)


def cloud_of_rows(path: Path, vertices: np.ndarray) -> PointCloud:
    """The points that rows of PLY describe (see `read_ply`).

    Raises:
        FormatError: there is no x, y and z.
    """
    points, normals = (columns(vertices, names) for names in (("x", "y", "z"), ("nx", "ny", "nz")))
    if points is None:
        raise FormatError(f"{path}: its vertices have no x, y and z")
    if normals is None:
        normals = np.zeros_like(points, np.float32)
    return PointCloud(points.astype(np.float32), _colors(vertices), normals.astype(np.float32))


def has_faces(path: Path) -> bool:
    """Whether a PLY file says that it is a mesh.

    Raises:
        FormatError: it is missing or not PLY.
    """
    try:
        with path.open("rb") as file:
            header = read_header(path, file)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return header.named("face") is not None


def _vertices(path: Path, file: BinaryIO) -> np.ndarray:
    header = read_header(path, file)
    for element in header.elements:
        if element.lists:
            raise FormatError(f"{path}: element {element.name} has lists in or before the vertices: not supported")
        if element.name == "vertex":
            break
    return read_rows(path, file, header, "vertex")["vertex"]


def columns(vertices: np.ndarray, names: Sequence[str]) -> np.ndarray | None:
    """The named properties side by side, or None where one is missing."""
    if not set(names) <= set(vertices.dtype.names or ()):
        return None
    return np.stack([vertices[name] for name in names], axis=-1)


def _colors(vertices: np.ndarray) -> UInt8[np.ndarray, "n 3"]:
    found = (colors for names in _COLOR_NAMES if (colors := columns(vertices, names)) is not None)
    colors = next(found, None)
    if colors is None:
        return np.full((len(vertices), 3), UNKNOWN_COLOR, np.uint8)
    whole = 1.0 if colors.dtype.kind == "f" else float(np.iinfo(colors.dtype).max)
    return np.rint(np.clip(colors / whole, 0, 1) * 255).astype(np.uint8)


__all__ = ["UNKNOWN_COLOR", "Up", "axes_comment", "read_ply", "to_axes", "write_ply"]
