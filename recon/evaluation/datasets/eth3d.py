"""ETH3D (Schoeps et al., CVPR 2017), the training part of its high-resolution multi-view pictures.

Depth: float32 metres by rows without a header, of the size of the picture as the camera made it (the distorted one), in
a file of the picture's name; infinity = unknown (eth3d.net/documentation). The lens distorts: there is no pinhole
camera of these pictures, so the clips have none. Up to 72 m, the greatest true depth (arXiv 1907.01341).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.sequences import (
    NOMINAL_RATE,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    sequences,
)
from recon.evaluation.truth import DataSet, Reading, TruthClip
from recon.io.colmap import read_cameras
from recon.io.pictures import read_picture
from recon.types import DepthMap

_LAYOUT: Final = (
    "[<scene>/]{images/dslr_images/*.JPG, ground_truth_depth/dslr_images/*.JPG, dslr_calibration_jpg/cameras.txt "
    "(optional, saves decoding pictures for their size)}"
)
_MAX_DEPTH: Final = 72.0


@dataclass(frozen=True, slots=True)
class RawDepthReader:
    """Decodes the raw depth of a scene; a ``TruthClip.read_depth``."""

    sizes: frozenset[tuple[int, int]]
    """(height, width) of the scene's cameras, where they are known."""

    def __call__(self, path: Path) -> DepthMap:
        """Metres, NaN = unknown.

        Raises:
            FormatError: the file is not of the size of the picture.
        """
        height, width = self._size(path)
        depth = np.fromfile(path, "<f4")
        if depth.size != height * width:
            raise FormatError(f"{path}: {depth.size} values for a picture of {width} x {height}")
        depth[~((depth > 0) & (depth < np.inf))] = np.nan
        return depth.reshape(height, width)

    def _size(self, path: Path) -> tuple[int, int]:
        """The camera whose number of pixels the file has; where that tells nothing, the picture is decoded."""
        fitting = [size for size in self.sizes if 4 * size[0] * size[1] == path.stat().st_size]
        if len(fitting) == 1:
            return fitting[0]
        picture = path.parents[2] / "images" / path.parent.name / path.name
        height, width = read_picture(picture).shape[:2]
        return height, width


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    folders = sequences(root, "ground_truth_depth/dslr_images", levels=2, expected=_LAYOUT)
    return [_clip(name_of(root, folder), folder, reading) for folder in folders]


def _clip(name: str, folder: Path, reading: Reading) -> TruthClip:
    pictures = pictures_in(folder / "images" / "dslr_images", expected=_LAYOUT)
    depths = [folder / "ground_truth_depth" / "dslr_images" / path.name for path in pictures]
    calibration = folder / "dslr_calibration_jpg"
    cameras = read_cameras(calibration) if calibration.is_dir() else {}
    return TruthClip(
        name=name,
        frames=numbered(pictures, [depth if depth.is_file() else None for depth in depths], NOMINAL_RATE),
        read_picture=picture_reader(reading),
        read_depth=RawDepthReader(frozenset((camera.height, camera.width) for camera in cameras.values())),
        cameras={},
        max_depth=_MAX_DEPTH,
        one_gauge=False,
    )


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "eth3d",
        "ETH3D high-resolution (CVPR 2017): 24-megapixel pictures with depth by a laser scanner, each with a scale and "
        "shift of its own, scene by scene; up to 72 m.",
        _LAYOUT,
        _clips,
    ),
)
