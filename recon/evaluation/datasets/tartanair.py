"""TartanAir (Wang et al., IROS 2020): photo-realistic rendered scenes, agile motion; left camera.

Depth: along z, metres (``.npy``), or millimetres in a 16-bit PNG; exact; the sky is very far. Poses: a line ``tx ty tz
qx qy qz qw`` for each picture, camera to world, in north-east-down axes: x forward, y right, z down. K: 320, 320, 240.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.errors import FormatError
from recon.evaluation.datasets.layout import DepthReader, files
from recon.evaluation.datasets.sequences import (
    NOMINAL_RATE,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    sequences,
    table,
)
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.io.pose_files import in_opencv, poses_from_quaternions
from recon.types import Intrinsics

_LAYOUT: Final = (
    "[<scene>/<difficulty>/]P000/{image_left/*_left.png, depth_left/*_left_depth.npy, pose_left.txt}"
    " (or .jpg, depth in .png of millimetres, pose_left_NED.txt)"
)
_CAMERA: Final = Intrinsics(320.0, 320.0, 320.0, 240.0, 640, 480)
"""Half the picture: neighbouring pictures agree best with exact depth and poses if 320 is counted from the corner."""
_SCALE: Final = 1000.0
_MAX_DEPTH: Final = 80.0
"""Metres: our choice, that of outdoor benchmarks (KITTI); beyond lie the sky and little else."""


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    folders = sequences(root, "image_left", levels=4, expected=_LAYOUT)
    return [_clip(name_of(root, folder), folder, reading) for folder in folders]


def _clip(name: str, folder: Path, reading: Reading) -> TruthClip:
    pictures = pictures_in(folder / "image_left", expected=_LAYOUT)
    depths = {path.name[:6]: path for path in files(folder / "depth_left", "*_depth*.*", expected=_LAYOUT)}
    poses = _poses(folder)
    if len(poses) != len(pictures):
        raise FormatError(f"{folder}: {len(poses)} poses for {len(pictures)} pictures; they must be as many")
    return TruthClip(
        name=name,
        frames=numbered(pictures, [depths.get(path.name[:6]) for path in pictures], NOMINAL_RATE),
        read_picture=picture_reader(reading),
        read_depth=DepthReader(_SCALE),
        cameras={row: TruthCamera(_CAMERA, pose) for row, pose in enumerate(poses)},
        max_depth=_MAX_DEPTH,
    )


def _poses(folder: Path) -> Float64[np.ndarray, "n 4 4"]:
    """world_from_camera with OpenCV axes of the camera; the world keeps its own, so that down is +z."""
    path = files(folder, "pose_left*.txt", expected=_LAYOUT)[0]
    rows = table(path, "tx ty tz qx qy qz qw")
    world_from_ned = poses_from_quaternions(rows, [f"{path}:{number}" for number in range(1, len(rows) + 1)])
    return in_opencv(world_from_ned, "ned")


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "tartanair",
        "TartanAir (IROS 2020): rendered scenes, agile motion, exact depth and poses; left camera, all frames, 30 of "
        "them taken for a second; up to 80 m (our choice).",
        _LAYOUT,
        _clips,
    ),
)
