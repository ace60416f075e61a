"""Landmarks without observations, as SLAM systems export them: PLY, or lines of x y z.

===================================  ===================================================================================
file                                 content
===================================  ===================================================================================
``.ply``                             vertices, ASCII or binary; colours and faces are ignored
``.csv .txt .xyz .pts .asc``         a landmark a line: x y z and whatever follows (colours, normals)
===================================  ===================================================================================

Lines are parted by commas, blanks or semicolons (then a comma is a decimal point). What follows ``#`` is a comment; a
first line of one number is how many there are (PTS). A header says where x, y and z stand (``//X Y Z R G B`` of
CloudCompare, ``id,x,y,z`` of a spreadsheet, also behind ``#``); without one they come first.

ORB-SLAM2 and 3 themselves write trajectories (TUM) but no map points; the functions that people add to them write bare
``x y z`` lines or ASCII PLY, in the world of the trajectory.
"""

import logging
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from recon.errors import FormatError
from recon.io.cloud import read_ply
from recon.io.colmap import find_model

logger = logging.getLogger(__name__)

_TEXTS = {".csv", ".txt", ".xyz", ".pts", ".asc"}
_AXES = (("x", "y", "z"), ("pos_x", "pos_y", "pos_z"), ("px", "py", "pz"))
"""What headers call the three."""
_UNIT = 0.02
"""How far the norm of a quaternion may be from 1: files round."""

_Line = tuple[int, str]
"""Its number in the file, from 1, and what it says."""


def is_points_file(path: Path) -> bool:
    """Whether this is a file of bare landmarks, by its suffix, and not one of a COLMAP model."""
    return path.suffix.lower() in {".ply", *_TEXTS} and find_model(path) is None


def read_points(path: Path) -> Float64[np.ndarray, "n 3"]:
    """Positions of landmarks, in the file's world and units; those that are not finite are left out.

    Raises:
        FormatError: the file is missing, damaged, of no known format, without points, or a trajectory.
    """
    if path.suffix.lower() == ".ply":
        points = read_ply(path).points.astype(np.float64)
    elif path.suffix.lower() in _TEXTS:
        points = _text_points(path)
    else:
        raise FormatError(f"{path}: not a file of points (.ply, {', '.join(sorted(_TEXTS))})")
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise FormatError(f"{path}: holds no points")
    if not finite.all():
        logger.warning("%s: %d of %d points are not finite: left out", path, np.count_nonzero(~finite), len(points))
    return points[finite]


# ---------------------------------------------------------------------------------------------------------------- text


def _text_points(path: Path) -> Float64[np.ndarray, "n 3"]:
    lines = _lines(path)
    columns, first = _beginning(path, lines)
    rows = [row for number, line in chain(first, lines) if (row := _row(path, number, line))]
    if not rows:
        return np.zeros((0, 3))
    width = len(rows[0])
    if (other := next((row for row in rows if len(row) != width), None)) is not None:
        raise FormatError(f"{path}: a line of {len(other)} values ({other}) among lines of {width}")
    table = np.array(rows, np.float64)
    _require_points(path, table, columns)
    return table[:, columns]


def _row(path: Path, number: int, line: str) -> list[float]:
    row = _numbers(line)
    if row is None:
        raise FormatError(f"{path}:{number}: not a line of numbers ('{line[:60]}')")
    return row


def _lines(path: Path) -> Iterator[_Line]:
    """Lines that are not empty; comments too."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if stripped := line.strip():
                    yield number, stripped
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: a binary file, not lines of x y z") from error
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _beginning(path: Path, lines: Iterator[_Line]) -> tuple[Sequence[int], list[_Line]]:
    """Where x, y and z stand in a line, and the first line of numbers."""
    columns: Sequence[int] = range(3)
    for number, line in lines:
        named = _named_columns(line)
        if named is not None:
            columns = named
        elif not line.startswith(("#", "//")):
            numbers = _numbers(line)
            if numbers is None:
                raise FormatError(f"{path}:{number}: neither x y z nor a header that names them ('{line[:60]}')")
            if len(numbers) > 1:
                return columns, [(number, line)]
    return columns, []


def _named_columns(line: str) -> Sequence[int] | None:
    """Where a header says that x, y and z stand; units behind a name (``x [m]``) do not matter."""
    bare = line.lower().lstrip("#/").strip()
    separator = next((mark for mark in ";," if mark in bare), None)
    names = [(name.strip("\"' ").split() or [""])[0] for name in bare.split(separator)]
    known = next((axes for axes in _AXES if set(axes) <= set(names)), None)
    return [names.index(axis) for axis in known] if known else None


def _numbers(line: str) -> list[float] | None:
    """The numbers of a line; None if it holds anything else. Many blanks are one mark, two semicolons are two."""
    bare = line.split("#", 1)[0]
    decimal = ";" in bare
    words = bare.replace(",", ".").strip().rstrip(";").split(";") if decimal else bare.replace(",", " ").split()
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _require_points(path: Path, table: Float64[np.ndarray, "n c"], columns: Sequence[int]) -> None:
    width = table.shape[1]
    if width <= max(columns):
        raise FormatError(f"{path}: lines of {width} values; a point has x, y and z")
    if width == 8 and (np.abs(np.linalg.norm(table[:, 4:], axis=1) - 1) < _UNIT).all():
        raise FormatError(f"{path}: a trajectory (seconds, position, quaternion), not points: give it to --trajectory")
