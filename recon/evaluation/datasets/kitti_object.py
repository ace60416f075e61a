"""KITTI, the object part (Geiger et al., CVPR 2012): the left colour camera's pictures with a turn of the lidar.

True depth is the lidar's points in the picture: pixel ~ P2 R0_rect Tr_velo_to_cam X, depth is the third row; of several
points on a pixel the nearest counts. P2 puts the first pixel's centre at (0, 0). The lidar stands higher than the
camera: points of what the camera does not see, behind what it does, stay in. About 4 % of the pixels have depth.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from recon.errors import FormatError
from recon.evaluation.datasets.layout import files
from recon.evaluation.datasets.sequences import name_of, nearest_depth, numbered, picture_reader, png_size, sequences
from recon.evaluation.truth import DataSet, Reading, TruthClip
from recon.types import DepthMap

_LAYOUT: Final = "[training/]{image_2/*.png, velodyne/*.bin, calib/*.txt}"
_MAX_DEPTH: Final = 80.0
_RATE: Final = 10.0
"""The lidar's turns for each second; the pictures are of many drives."""


def read_scan(path: Path) -> DepthMap:
    """The scan ``velodyne/<name>.bin`` as sparse depth of ``image_2/<name>.png``: metres, NaN = unknown.

    Raises:
        FormatError: the scan, its calibration or its picture is missing or damaged.
    """
    folder, name = path.parents[1], path.stem
    projection = _image_from_lidar(folder / "calib" / f"{name}.txt")
    height, width = png_size(folder / "image_2" / f"{name}.png")
    image = _points(path) @ projection.T.astype(np.float32)
    ahead = image[image[:, 2] > 0]
    positions = ahead[:, :2] / ahead[:, 2:] + np.float32(0.5)
    return nearest_depth(positions, ahead[:, 2], (height, width))


def _points(path: Path) -> Float32[np.ndarray, "n 4"]:
    """x, y, z of the points and 1."""
    try:
        numbers = np.fromfile(path, "<f4")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if numbers.size == 0 or numbers.size % 4:
        raise FormatError(f"{path}: a scan is rows of x, y, z, reflectance (float32); this has {numbers.size} numbers")
    points = numbers.reshape(-1, 4)
    points[:, 3] = 1
    return points


def _image_from_lidar(path: Path) -> Float64[np.ndarray, "3 4"]:
    rows = _rows(path)
    rectified, lidar = np.eye(4), np.eye(4)
    try:
        rectified[:3, :3] = np.reshape(rows["R0_rect"], (3, 3))
        lidar[:3] = np.reshape(rows["Tr_velo_to_cam"], (3, 4))
        image_from_lidar: Float64[np.ndarray, "3 4"] = np.reshape(rows["P2"], (3, 4)) @ rectified @ lidar
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path}: needs P2, R0_rect and Tr_velo_to_cam ({error})") from error
    return image_from_lidar


def _rows(path: Path) -> dict[str, list[float]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        parts = [line.partition(":") for line in lines if line.strip()]
        return {label.strip(): [float(word) for word in words.split()] for label, _, words in parts}
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as a calibration of KITTI ({error})") from error


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    return [_clip(root, folder, reading) for folder in sequences(root, "velodyne", levels=1, expected=_LAYOUT)]


def _clip(root: Path, folder: Path, reading: Reading) -> TruthClip:
    pictures = files(folder, "image_2/*.png", expected=_LAYOUT)
    scans = [folder / "velodyne" / f"{path.stem}.bin" for path in pictures]
    return TruthClip(
        name=name_of(root, folder),
        frames=numbered(pictures, [scan if scan.is_file() else None for scan in scans], _RATE),
        read_picture=picture_reader(reading),
        read_depth=read_scan,
        cameras={},
        max_depth=_MAX_DEPTH,
        one_gauge=False,
    )


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "kitti-object",
        "KITTI object (CVPR 2012): single pictures of streets with the sparse depth of one turn of the lidar, each "
        "with a scale and shift of its own; up to 80 m.",
        _LAYOUT,
        _clips,
    ),
)
