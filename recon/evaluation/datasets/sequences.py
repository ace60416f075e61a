"""What readers of sequences share: finding them, bringing two clocks together, poses, and maps of points."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64

from recon.errors import FormatError
from recon.evaluation.datasets.layout import PictureReader, clip_name, natural, truth_frames
from recon.evaluation.truth import Reading, TruthCamera, TruthFrame
from recon.geometry import project
from recon.io.pictures import SUFFIXES
from recon.io.trajectory import pose_at
from recon.types import CameraTrajectory, DepthMap, Intrinsics

NOMINAL_RATE = 30.0
"""Pictures for each second, where a data set does not say."""


def sequences(root: Path, mark: str, *, levels: int, expected: str) -> list[Path]:
    """The folders that hold something called ``mark`` (a glob): the root itself, else those nearest below it.

    Args:
        root: Where to look.
        mark: What tells a sequence from other folders.
        levels: How many levels below the root are looked at.
        expected: What should be there, for the message.

    Raises:
        FormatError: there are none.
    """
    if not root.is_dir():
        raise FormatError(f"{root}: there is no such folder")
    for level in range(levels + 1):
        candidates = root.glob("/".join("*" * level)) if level else [root]
        found = [path for path in candidates if path.is_dir() and next(path.glob(mark), None)]
        if found:
            return sorted(found, key=natural)
    raise FormatError(f"{root}: no {mark} here or {levels} levels below: {expected}")


def name_of(root: Path, folder: Path) -> str:
    """Name of the clip in a folder: its path below the root, or the root's own name."""
    return clip_name(*(folder.relative_to(root).parts or (root.resolve().name,)))


def picture_reader(reading: Reading) -> PictureReader:
    """Whole pictures, as the protocol hands them to the network."""
    return PictureReader(red_and_blue_swapped=reading.protocol.red_and_blue_swapped)


def pictures_in(folder: Path, *, expected: str) -> list[Path]:
    """The pictures of a folder in natural order.

    Raises:
        FormatError: there are none.
    """
    found = folder.iterdir() if folder.is_dir() else []
    pictures = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    if not pictures:
        raise FormatError(f"{folder}: there are no pictures: {expected}")
    return sorted(pictures, key=natural)


def timed(pictures: Sequence[Path], depths: Sequence[Path | None], times: Sequence[float]) -> tuple[TruthFrame, ...]:
    """Frames named after their pictures; times are counted from the first.

    Raises:
        FormatError: a file is missing, no picture has depth, or times do not increase.
    """
    for path in (*pictures, *filter(None, depths)):
        if not path.is_file():
            raise FormatError(f"{path}: there is no such file")
    if not any(depths):
        raise FormatError(f"{pictures[0].parent}: none of its {len(pictures)} pictures has a depth map")
    return truth_frames(pictures, depths, times)


def numbered(pictures: Sequence[Path], depths: Sequence[Path | None], rate: float) -> tuple[TruthFrame, ...]:
    """Frames whose times are not known: ``rate`` of them for each second (see ``timed``)."""
    return timed(pictures, depths, [number / rate for number in range(len(pictures))])


def table(path: Path, columns: str) -> Float64[np.ndarray, "n c"]:
    """The numbers of a file of lines, in the order of its lines; what follows a # is left out.

    Args:
        path: The file.
        columns: What a line holds, one word for each number.

    Raises:
        FormatError: the file is missing or empty, or a line holds something else.
    """
    try:
        lines = [line.split("#", 1)[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
        rows = np.array([line for line in lines if line], np.float64)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as lines of {columns} ({error})") from error
    if rows.ndim != 2 or rows.shape[1] != len(columns.split()) or not np.isfinite(rows).all():
        raise FormatError(f"{path}: every line holds {columns}; these do not")
    return rows


def associated(times: Sequence[float], others: Sequence[float], tolerance: float) -> list[int | None]:
    """For each time the row of the nearest other time, at most ``tolerance`` away; each row once, the nearest first.

    Args:
        times: Seconds, in order.
        others: Seconds, in order.
        tolerance: Seconds.
    """
    pairs = sorted(
        (abs(time - others[other]), row, other)
        for row, time in enumerate(times)
        for other in range(bisect_left(others, time - tolerance), bisect_right(others, time + tolerance))
    )
    rows: list[int | None] = [None] * len(times)
    taken: set[int] = set()
    for _, row, other in pairs:
        if rows[row] is None and other not in taken:
            rows[row] = other
            taken.add(other)
    return rows


def png_size(path: Path) -> tuple[int, int]:
    """(height, width) of a PNG from its header (ISO/IEC 15948, 11.2.2); nothing is decoded.

    Raises:
        FormatError: it is none.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(head) < 24 or not head.startswith(b"\x89PNG\r\n\x1a\n"):
        raise FormatError(f"{path}: is no PNG")
    return int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")


def cameras_along(
    frames: Sequence[TruthFrame], trajectory: CameraTrajectory, intrinsics: Intrinsics
) -> dict[int, TruthCamera]:
    """The camera of every frame at whose time the trajectory knows a pose."""
    poses = ((number, pose_at(trajectory, frame.time)) for number, frame in enumerate(frames))
    return {number: TruthCamera(intrinsics, pose) for number, pose in poses if pose is not None}


def seen_points(points: Float[np.ndarray, "n 3"], camera: Intrinsics) -> DepthMap:
    """Points in the camera frame as a depth map (see ``nearest_depth``)."""
    return nearest_depth(project(points, camera), points[:, 2], (camera.height, camera.width))


def nearest_depth(
    positions: Float[np.ndarray, "n 2"], depths: Float[np.ndarray, " n"], size: tuple[int, int]
) -> DepthMap:
    """A depth map of points: each falls on one pixel, of several on a pixel the nearest counts.

    Pixels on which none falls are NaN; nothing is filled.

    Args:
        positions: Image coordinates, corner origin; NaN for points that are not in front of the camera.
        depths: Metres.
        size: (height, width) of the map.
    """
    height, width = size
    x, y = positions.T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)  # no comparison holds for NaN
    pixels = y[inside].astype(np.intp) * width + x[inside].astype(np.intp)
    nearest = np.full(width * height, np.inf, np.float32)
    np.minimum.at(nearest, pixels, depths[inside].astype(np.float32))
    nearest[np.isinf(nearest)] = np.nan
    return nearest.reshape(height, width)
