"""Point clouds in files: PLY (Greg Turk, 1994: header, elements, properties), and the axes in which they are stored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from jaxtyping import UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.geometry import rigid
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
_LONGEST_HEADER = 1 << 16
_POINT = np.dtype(
    [(name, "<f4") for name in ("x", "y", "z", "nx", "ny", "nz")] + [(name, "u1") for name in ("red", "green", "blue")]
)
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
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
    header = _header(len(cloud), comments)
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header)
        for start in range(0, len(cloud), _CHUNK):
            file.write(_rows(cloud, slice(start, start + _CHUNK)).tobytes())


def _header(count: int, comments: Sequence[str]) -> bytes:
    if any(len(comment.splitlines()) > 1 for comment in comments):
        raise ValueError("a comment is one line")
    # Some readers insist on the format in the second line: comments come after it.
    lines = ["ply", "format binary_little_endian 1.0", *(f"comment {comment}" for comment in comments)]
    lines.append(f"element vertex {count}")
    lines += [f"property {'float' if _POINT[name].kind == 'f' else 'uchar'} {name}" for name in _POINT.names or ()]
    return "".join(f"{line}\n" for line in [*lines, "end_header"]).encode("ascii", "backslashreplace")


def _rows(cloud: PointCloud, part: slice) -> np.ndarray:
    rows = np.zeros(len(cloud.points[part]), _POINT)
    for names, values in ((("x", "y", "z"), cloud.points), (("nx", "ny", "nz"), cloud.normals)):
        for axis, name in enumerate(names):
            rows[name] = values[part, axis]
    for channel, name in enumerate(_COLOR_NAMES[0]):
        rows[name] = cloud.colors[part, channel]
    return rows


@dataclass(frozen=True, slots=True)
class _Element:
    name: str
    count: int
    properties: list[tuple[str, str]]
    """(name, numpy type); a list has the type "list"."""


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
    points, normals = (_columns(vertices, names) for names in (("x", "y", "z"), ("nx", "ny", "nz")))
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
            _order, elements = _read_header(path, file)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return any(element.name == "face" and element.count for element in elements)


def _vertices(path: Path, file: BinaryIO) -> np.ndarray:
    order, elements = _read_header(path, file)
    for element in elements:
        if any(kind == "list" for _, kind in element.properties):
            raise FormatError(f"{path}: element {element.name} has lists in or before the vertices: not supported")
        kind = np.dtype([(name, order + kind) for name, kind in element.properties])
        values = (
            _ascii_rows(path, file, kind, element.count) if order == "=" else np.fromfile(file, kind, element.count)
        )
        if len(values) < element.count:
            raise FormatError(f"{path}: ends after {len(values)} of {element.count} rows of {element.name}")
        if element.name == "vertex":
            return values
    raise FormatError(f"{path}: has no element vertex")


def _ascii_rows(path: Path, file: BinaryIO, kind: np.dtype, count: int) -> np.ndarray:
    lines = list(islice(file, count))
    try:
        return np.loadtxt(lines, kind, ndmin=1) if any(line.strip() for line in lines) else np.zeros(0, kind)
    except ValueError as error:
        raise FormatError(f"{path}: a row is not as the header says ({error})") from error


def _read_header(path: Path, file: BinaryIO) -> tuple[str, list[_Element]]:
    """The byte order ("<", ">", or "=" for ASCII) and the elements; the file stands at its first row afterwards."""
    if file.readline(8).strip() != b"ply":
        raise FormatError(f"{path}: is not a PLY file (its first line is not 'ply')")
    lines = _header_lines(path, file)
    words = next(lines, [])
    if len(words) != 3 or words[0] != "format" or words[1] not in _ORDERS:
        raise FormatError(f"{path}: its header names no known format")
    order, elements = _ORDERS[words[1]], list[_Element]()
    for words in lines:
        try:
            _declare(words, elements)
        except (KeyError, ValueError, IndexError) as error:
            raise FormatError(f"{path}: its header has the line '{' '.join(words)}', which is not PLY 1.0") from error
    return order, elements


def _declare(words: list[str], elements: list[_Element]) -> None:
    """Add what one header line declares."""
    match words:
        case ["element", name, count]:
            elements.append(_Element(name, int(count), []))
        case ["property", "list", _, _, name]:
            elements[-1].properties.append((name, "list"))
        case ["property", kind, name]:
            elements[-1].properties.append((name, _TYPES[kind]))
        case _:
            raise ValueError(words)


def _header_lines(path: Path, file: BinaryIO) -> Iterator[list[str]]:
    """The words of each line up to ``end_header``, without comments."""
    while file.tell() < _LONGEST_HEADER and (line := file.readline(_LONGEST_HEADER)):
        words = line.decode("latin-1").split()
        if words == ["end_header"]:
            return
        if words and words[0] not in {"comment", "obj_info"}:
            yield words
    raise FormatError(f"{path}: its header has no end")


def _columns(vertices: np.ndarray, names: Sequence[str]) -> np.ndarray | None:
    """The named properties side by side, or None where one is missing."""
    if not set(names) <= set(vertices.dtype.names or ()):
        return None
    return np.stack([vertices[name] for name in names], axis=-1)


def _colors(vertices: np.ndarray) -> UInt8[np.ndarray, "n 3"]:
    found = (colors for names in _COLOR_NAMES if (colors := _columns(vertices, names)) is not None)
    colors = next(found, None)
    if colors is None:
        return np.full((len(vertices), 3), UNKNOWN_COLOR, np.uint8)
    whole = 1.0 if colors.dtype.kind == "f" else float(np.iinfo(colors.dtype).max)
    return np.rint(np.clip(colors / whole, 0, 1) * 255).astype(np.uint8)


__all__ = ["UNKNOWN_COLOR", "Up", "axes_comment", "read_ply", "to_axes", "write_ply"]
