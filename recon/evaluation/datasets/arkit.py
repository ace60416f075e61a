"""ARKitScenes (Baruch et al., NeurIPS 2021, arXiv 2111.08897): an iPad's camera and lidar in rooms.

Facts from the data set's own DATA.md: depth is PNG in millimetres; ``.pincam`` is width, height, fx, fy, cx, cy of one
picture; a line of ``.traj`` is seconds, a rotation (axis times angle, radians) and a translation in metres, which take
points of the world to the camera (OpenCV axes), 10 a second. Names end in ``_<seconds>``. The principal point is taken
as ARKit counts it, from the corner of the picture. Pictures stand as the sensor has them: in many rooms they lie on
their side. Where ``confidence/`` is there, depth of confidence 0 (low) is unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import CamerasOnDemand, DepthReader
from recon.evaluation.datasets.sequences import (
    NOMINAL_RATE,
    associated,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    sequences,
    table,
    timed,
)
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.io.depth import read_depth_map
from recon.io.pose_files import poses_of_arkitscenes
from recon.io.trajectory import pose_at
from recon.types import CameraTrajectory, DepthMap, Intrinsics

_LAYOUT: Final = (
    "[<video>/ or <video>/<video>_frames/]{lowres_wide/*_SECONDS.png, lowres_depth/*.png, "
    "lowres_wide_intrinsics/*.pincam, lowres_wide.traj, confidence/*.png (optional)}"
)
_PAIR_LAYOUT: Final = "[<pair>/]{image.jpg, arkit_depth.png (millimetres, smaller than the picture)}"
_SCALE: Final = 1000.0
_TOLERANCE: Final = 0.01
"""Seconds between a picture and its depth map or its intrinsics: less than a frame at 60 Hz."""
_MAX_DEPTH: Final = 10.0
"""Metres: our choice; the lidar reaches about 5."""


@dataclass(frozen=True, slots=True)
class LidarReader:
    """Depth of the lidar without what it is not sure of; a ``TruthClip.read_depth``."""

    def __call__(self, path: Path) -> DepthMap:
        """Metres, NaN = unknown."""
        depth = read_depth_map(path, scale=_SCALE)
        confidence = path.parent.parent / "confidence" / path.name
        if not confidence.is_file():
            return depth
        sure = cv2.imdecode(np.fromfile(confidence, np.uint8), cv2.IMREAD_UNCHANGED)
        if sure is None or sure.shape != depth.shape:
            raise FormatError(f"{confidence}: cannot be read, or is of another size than its depth map")
        return np.where(sure > 0, depth, np.float32(np.nan))


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    return [_clip(root, folder, reading) for folder in sequences(root, "lowres_wide", levels=3, expected=_LAYOUT)]


def _clip(root: Path, folder: Path, reading: Reading) -> TruthClip:
    times, pictures = _by_time(pictures_in(folder / "lowres_wide", expected=_LAYOUT))
    depth_times, depths = _by_time(pictures_in(folder / "lowres_depth", expected=_LAYOUT))
    rows = associated(times, depth_times, _TOLERANCE)
    return TruthClip(
        name=name_of(root, folder),
        frames=timed(pictures, [None if row is None else depths[row] for row in rows], times),
        read_picture=picture_reader(reading),
        read_depth=LidarReader(),
        cameras=CamerasOnDemand(partial(_cameras, folder, times)),
        max_depth=_MAX_DEPTH,
    )


def _by_time(paths: Sequence[Path]) -> tuple[list[float], list[Path]]:
    """Seconds from the names, and the files in their order."""
    try:
        timed = sorted((float(path.stem.rpartition("_")[2]), path) for path in paths)
    except ValueError as error:
        raise FormatError(f"{paths[0].parent}: a name does not end in _<seconds> ({error}): {_LAYOUT}") from error
    return [time for time, _ in timed], [path for _, path in timed]


def _cameras(folder: Path, times: Sequence[float]) -> Mapping[int, TruthCamera]:
    """The cameras of the pictures taken at ``times``; those without intrinsics or pose have none."""
    known, paths = _by_time(list((folder / "lowres_wide_intrinsics").glob("*.pincam")))
    trajectory = _trajectory(folder / "lowres_wide.traj")
    cameras = {}
    for number, row in enumerate(associated(times, known, _TOLERANCE)):
        pose = None if row is None else pose_at(trajectory, times[number])
        if row is not None and pose is not None:
            cameras[number] = TruthCamera(_intrinsics(paths[row]), pose)
    return cameras


def _trajectory(path: Path) -> CameraTrajectory:
    return CameraTrajectory(*poses_of_arkitscenes(table(path, "seconds rx ry rz tx ty tz")))


def _intrinsics(path: Path) -> Intrinsics:
    width, height, fx, fy, cx, cy = (float(value) for value in table(path, "width height fx fy cx cy")[0])
    return Intrinsics(fx, fy, cx, cy, int(width), int(height))


def _pairs(root: Path, reading: Reading) -> Sequence[TruthClip]:
    folders = sequences(root, "arkit_depth.png", levels=1, expected=_PAIR_LAYOUT)
    return [
        TruthClip(
            name=name_of(root, folder),
            frames=numbered([folder / "image.jpg"], [folder / "arkit_depth.png"], NOMINAL_RATE),
            read_picture=picture_reader(reading),
            read_depth=DepthReader(_SCALE),
            cameras={},
            max_depth=_MAX_DEPTH,
            one_gauge=False,
        )
        for folder in folders
    ]


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "arkit",
        "ARKitScenes (arXiv 2111.08897), raw or 3dod: an iPad's wide camera at 256 x 192 with its lidar's depth and "
        "ARKit's poses, all pictures, 60 a second; up to 10 m.",
        _LAYOUT,
        _clips,
    ),
    DataSet(
        "arkit-pairs",
        "Single pictures of an iPhone with its lidar's depth, as Prompt Depth Anything gives examples: each with a "
        "scale and shift of its own; up to 10 m.",
        _PAIR_LAYOUT,
        _pairs,
    ),
)
