"""What the readers of data sets share: looking through folders, cropping, naming."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from recon.errors import FormatError
from recon.io.depth import read_depth_map
from recon.io.pictures import read_picture
from recon.types import DepthMap, Intrinsics, Picture


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

    crop: Crop = Crop()
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
    crop: Crop = Crop()

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
