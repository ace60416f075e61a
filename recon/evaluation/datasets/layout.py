"""What the readers of data sets share: looking through folders, pairing, cropping, naming."""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.evaluation.truth import TruthCamera, TruthFrame
from recon.geometry import rigid
from recon.io.depth import read_depth_map
from recon.io.pictures import read_picture
from recon.types import DepthMap, Intrinsics, Picture, RigidTransform

logger = logging.getLogger(__name__)


@runtime_checkable
class Cropping(Protocol):
    """What is kept of a picture or a map."""

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part that is kept."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The rows and columns that are kept, as indices; negative ones count from the end, None keeps all."""

    top: int = 0
    bottom: int | None = None
    left: int = 0
    right: int | None = None

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of a picture or map that is kept."""
        return np.ascontiguousarray(array[self.top : self.bottom, self.left : self.right])

    def of_camera(self, camera: Intrinsics) -> Intrinsics:
        """The camera of the part that is kept: its principal point moves along."""
        width = len(range(camera.width)[self.left : self.right])
        height = len(range(camera.height)[self.top : self.bottom])
        return Intrinsics(camera.fx, camera.fy, camera.cx - self.left, camera.cy - self.top, width, height)


@dataclass(frozen=True, slots=True)
class PictureReader:
    """Decodes a picture; a ``TruthClip.read_picture``."""

    crop: Cropping = Crop()
    red_and_blue_swapped: bool = False
    """As the released scripts hand it to the network."""

    def __call__(self, path: Path) -> Picture:
        """RGB, cropped (or BGR, where a protocol repeats that)."""
        picture: Picture = self.crop.of(read_picture(path))
        return cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if self.red_and_blue_swapped else picture


@dataclass(frozen=True, slots=True)
class DepthReader:
    """Decodes a depth map of a usual format (see ``recon.io.depth``); a ``TruthClip.read_depth``."""

    scale: float
    """Numbers of a 16-bit PNG for one metre."""
    crop: Cropping = Crop()

    def __call__(self, path: Path) -> DepthMap:
        """Metres, NaN = unknown, cropped."""
        depth: DepthMap = self.crop.of(read_depth_map(path, scale=self.scale))
        return depth


def folders(root: Path, pattern: str, *, expected: str) -> list[Path]:
    """Folders below a root by a glob pattern, in natural order.

    Raises:
        FormatError: there are none; ``expected`` tells what should be there.
    """
    return _found(root, [path for path in root.glob(pattern) if path.is_dir()], pattern, expected)


def files(root: Path, pattern: str, *, expected: str) -> list[Path]:
    """Files below a root by a glob pattern, in natural order.

    Raises:
        FormatError: there are none; ``expected`` tells what should be there.
    """
    return _found(root, [path for path in root.glob(pattern) if path.is_file()], pattern, expected)


def _found(root: Path, paths: Sequence[Path], pattern: str, expected: str) -> list[Path]:
    if not root.is_dir():
        raise FormatError(f"{root}: there is no such folder")
    if not paths:
        raise FormatError(f"{root}: nothing here is called {pattern}: {expected}")
    return sorted(paths, key=natural)


def natural(path: Path) -> list[tuple[int, str]]:
    """Sort key under which frame 2 comes before frame 10."""
    pieces = re.findall(r"\d+|\D+", str(path))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def clip_name(*parts: str) -> str:
    """Parts joined to a name that may stand in a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "_".join(parts)).strip("-")


def warn_if_fewer(root: Path, found: int, published: int) -> None:
    """Tell in the log that some clips of the published choice are not there: means over the others are not the same."""
    if found < published:
        logger.warning(
            "%s: %d of %d clips are here: means over them are not the published ones", root, found, published
        )


def namesakes(pictures: Sequence[Path], folder: Path, suffix: str) -> list[Path]:
    """The file of each picture's name in another folder.

    Raises:
        FormatError: a picture has none.
    """
    there = {path.name for path in folder.glob(f"*{suffix}")}
    for picture in pictures:
        if picture.stem + suffix not in there:
            raise FormatError(f"{folder}: has no {picture.stem}{suffix} for {picture.parent.name}/{picture.name}")
    return [folder / (picture.stem + suffix) for picture in pictures]


def truth_frames(
    pictures: Sequence[Path], depths: Sequence[Path | None], times: Sequence[float]
) -> tuple[TruthFrame, ...]:
    """Frames named after their pictures; times are counted from the first.

    Raises:
        FormatError: times do not increase.
    """
    for picture, before, after in zip(pictures[1:], times[:-1], times[1:], strict=True):
        if not after > before:
            raise FormatError(f"{picture}: its time {after:.6f} s is not after that of the picture before it")
    return tuple(
        TruthFrame(picture.stem, float(time - times[0]), picture, depth)
        for picture, depth, time in zip(pictures, depths, times, strict=True)
    )


def timed_files(listing: Path) -> tuple[list[float], list[Path]]:
    """Seconds and files of a list such as the rgb.txt of TUM RGB-D: lines of ``seconds path``, in order of time.

    Raises:
        FormatError: there is no such list, or a line is none.
    """
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{listing}: cannot be read as a list of times and files") from error
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) != 2 or not re.fullmatch(r"[0-9.]+", words[0]):
            raise FormatError(f"{listing}:{number}: not a time and a file ('{line[:60]}')")
        rows.append((float(words[0]), listing.parent / words[1]))
    rows.sort()
    return [time for time, _ in rows], [path for _, path in rows]


def rigid_of(matrix: Float[np.ndarray, "r 4"], where: str) -> RigidTransform:
    """A 3x4 or 4x4 matrix as rotation and translation, freed of rounding.

    Raises:
        FormatError: it is something else.
    """
    rotation = matrix[:3, :3]
    if not (np.allclose(rotation @ rotation.T, np.eye(3), atol=0.02) and np.linalg.det(rotation) > 0):
        raise FormatError(f"{where}: not a rotation and a translation")
    return rigid(Rotation.from_matrix(rotation).as_matrix(), matrix[:3, 3])


class CamerasOnDemand(Mapping[int, TruthCamera]):
    """Cameras of a clip, read when one of them is asked for."""

    def __init__(self, read: Callable[[], Mapping[int, TruthCamera]]) -> None:
        self._read = read

    @cached_property
    def _cameras(self) -> Mapping[int, TruthCamera]:
        return self._read()

    def __getitem__(self, number: int) -> TruthCamera:
        return self._cameras[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._cameras)

    def __len__(self) -> int:
        return len(self._cameras)
