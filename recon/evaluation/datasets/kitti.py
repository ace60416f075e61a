"""KITTI (Geiger et al., IJRR 2013; depth: Uhrig et al., 3DV 2017): driving, with depth from accumulated laser scans.

Poses are those of the car's GPS and inertial unit (oxts), brought to the left colour camera as the raw data's
development kit says: a Mercator projection at the first latitude, then R = Rz(yaw) Ry(pitch) Rx(roll).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.evaluation.datasets.layout import (
    CamerasOnDemand,
    Crop,
    Cropping,
    DepthReader,
    PictureReader,
    clip_name,
    files,
    folders,
    rigid_of,
    truth_frames,
    warn_if_fewer,
)
from recon.evaluation.protocol import EvaluationProtocol
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.geometry import inverse, rigid
from recon.types import Intrinsics, RigidTransform

_LAYOUT: Final = (
    "<date>/<drive>_sync/image_02/data/0000000005.png and [data_depth_annotated/]val/<drive>_sync/proj_depth/"
    "groundtruth/image_02/0000000005.png; optional: image_02/timestamps.txt, and for cameras oxts/data/*.txt with "
    "<date>/calib_{cam_to_cam,velo_to_cam,imu_to_velo}.txt"
)
_DEPTH_FOLDERS: Final = ("data_depth_annotated/val", "val")
_DRIVES: Final = 13
"""In the validation part of the annotated depth."""
_SCALE: Final = 256.0
_RATE: Final = 10.0
_MAX_DEPTH: Final = 80.0
_CROP: Final = Crop(0, 374, 0, 1242)
"""Of depth, as published."""
_EARTH: Final = 6378137.0
"""Radius in metres, as in the development kit."""
_CALIBRATIONS: Final = ("cam_to_cam", "velo_to_cam", "imu_to_velo")


@dataclass(frozen=True, slots=True)
class EvenSize:
    """The greatest part with even sides, from the upper left corner of what a crop keeps."""

    within: Crop

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of a picture or map that is kept."""
        part = self.within.of(array)
        height, width = part.shape[:2]
        return Crop(bottom=height - height % 2, right=width - width % 2).of(part)


def _crops(protocol: EvaluationProtocol) -> tuple[Cropping, Cropping]:
    """Of pictures and of depth maps."""
    if protocol.fields_of_view_differ:
        return EvenSize(Crop()), _CROP
    return EvenSize(_CROP), EvenSize(_CROP)


# -------------------------------------------------------------------------------------------------------------- cameras


def _calibration(path: Path) -> dict[str, Float64[np.ndarray, " n"]]:
    """The lines ``NAME: numbers`` of a file; others (dates) are left out."""
    rows = {}
    for line in _lines(path):
        name, _, numbers = line.partition(":")
        try:
            rows[name.strip()] = np.array(numbers.split(), np.float64)
        except ValueError:
            continue
    return rows


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: cannot be read") from error


@dataclass(frozen=True, slots=True)
class _Rig:
    """The left colour camera on the car, after rectification."""

    intrinsics: Intrinsics
    camera_from_imu: RigidTransform


def _rig(day: Path) -> _Rig:
    cameras, laser, imu = (_calibration(day / f"calib_{name}.txt") for name in _CALIBRATIONS)
    try:
        projection = cameras["P_rect_02"].reshape(3, 4)
        rectified = rigid(cameras["R_rect_00"].reshape(3, 3), np.zeros(3))
        width, height = (int(number) for number in cameras["S_rect_02"])
        camera_from_laser, laser_from_imu = (
            rigid(rows["R"].reshape(3, 3), rows["T"].reshape(3)) for rows in (laser, imu)
        )
        # The first pixel's centre is at (0, 0): half a pixel more in our coordinates.
        fx, fy, cx, cy = (float(projection[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
        intrinsics = Intrinsics(fx, fy, cx + 0.5, cy + 0.5, width, height)
    except (KeyError, ValueError) as error:
        raise FormatError(f"{day}: its calib_*.txt do not hold what KITTI's do ({error})") from error
    second_from_first = rigid(np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))
    chain = second_from_first @ rectified @ camera_from_laser @ laser_from_imu
    return _Rig(intrinsics, rigid_of(chain, f"{day}: its calib_*.txt"))


def _world_from_imu(path: Path, scale: float) -> RigidTransform:
    """From latitude, longitude (degrees), altitude, roll, pitch and yaw (radians)."""
    lat, lon, altitude, roll, pitch, yaw = _oxts(path)
    east = scale * _EARTH * np.radians(lon)
    north = scale * _EARTH * np.log(np.tan(np.pi / 4 + np.radians(lat) / 2))
    rotation = Rotation.from_euler("ZYX", [yaw, pitch, roll]).as_matrix()
    return rigid(rotation, np.array([east, north, altitude]))


def _oxts(path: Path) -> Float64[np.ndarray, "6"]:
    try:
        return np.array(_lines(path)[0].split()[:6], np.float64).reshape(6)
    except (IndexError, ValueError) as error:
        raise FormatError(f"{path}: does not begin with latitude, longitude, altitude, roll, pitch, yaw") from error


def _cameras(drive: Path, names: Sequence[str], crop: Cropping) -> Mapping[int, TruthCamera]:
    """World: east, north, up, from where the first frame was taken."""
    rig = _rig(drive.parent)
    paths = [drive / "oxts" / "data" / f"{name}.txt" for name in names]
    scale = float(np.cos(np.radians(_oxts(paths[0])[0])))
    world_from_imu = np.stack([_world_from_imu(path, scale) for path in paths])
    world_from_imu[:, :3, 3] -= world_from_imu[0, :3, 3].copy()
    poses = world_from_imu @ inverse(rig.camera_from_imu)
    intrinsics = _part(rig.intrinsics, crop)
    return {number: TruthCamera(intrinsics, pose) for number, pose in enumerate(poses)}


def _part(camera: Intrinsics, crop: Cropping) -> Intrinsics:
    """All crops begin at the upper left corner: only the size changes."""
    height, width = crop.of(np.zeros((camera.height, camera.width), np.uint8)).shape
    return Intrinsics(camera.fx, camera.fy, camera.cx, camera.cy, width, height)


# ---------------------------------------------------------------------------------------------------------------- clips


def _times(drive: Path, names: Sequence[str]) -> list[float]:
    """Seconds, from the recording's own list where it is there."""
    listing = drive / "image_02" / "timestamps.txt"
    if not listing.is_file():
        return [int(name) / _RATE for name in names]
    try:
        stamps = np.array([line.strip() for line in _lines(listing)], "datetime64[ns]")
        since = stamps[[int(name) for name in names]] - stamps[0]
    except (ValueError, IndexError) as error:
        raise FormatError(f"{listing}: holds no time for each picture") from error
    return [float(time) for time in since / np.timedelta64(1, "s")]


def _clip(depth_folder: Path, drive: Path, reading: Reading, length: int) -> TruthClip:
    depths = files(depth_folder, "*.png", expected="annotated depth")[:length]
    pictures = [drive / "image_02" / "data" / depth.name for depth in depths]
    missing = next((picture for picture in pictures if not picture.is_file()), None)
    if missing is not None:
        raise FormatError(f"{missing}: there is depth for this picture, but it is not here")
    names = [depth.stem for depth in depths]
    picture_crop, depth_crop = _crops(reading.protocol)
    return TruthClip(
        name=clip_name(drive.name),
        frames=truth_frames(pictures, depths, _times(drive, names)),
        read_picture=PictureReader(picture_crop, red_and_blue_swapped=reading.protocol.red_and_blue_swapped),
        read_depth=DepthReader(_SCALE, depth_crop),
        cameras=CamerasOnDemand(partial(_cameras, drive, names, depth_crop)) if _has_cameras(drive) else {},
        max_depth=_MAX_DEPTH,
    )


def _has_cameras(drive: Path) -> bool:
    calibrations = [drive.parent / f"calib_{name}.txt" for name in _CALIBRATIONS]
    return (drive / "oxts" / "data").is_dir() and all(path.is_file() for path in calibrations)


def _clips(root: Path, reading: Reading, *, length: int) -> Sequence[TruthClip]:
    found = next((root / name for name in _DEPTH_FOLDERS if (root / name).is_dir()), root / "val")
    if root.is_dir() and not found.is_dir():
        raise FormatError(f"{root}: has no folder val of annotated depth: extract data_depth_annotated.zip here")
    depths = folders(found, "*_sync/proj_depth/groundtruth/image_02", expected="annotated depth of each drive")
    drives = [_drive(root, folder.parents[2].name) for folder in depths]
    pairs = [(folder, drive) for folder, drive in zip(depths, drives, strict=True) if drive.is_dir()]
    if not pairs:
        raise FormatError(f"{drives[0]}: there is no such folder: extract the raw drives beside the annotated depth")
    warn_if_fewer(root, len(pairs), _DRIVES)
    return [_clip(folder, drive, reading, length) for folder, drive in pairs]


def _drive(root: Path, name: str) -> Path:
    """Folder of a drive: its name begins with the day."""
    return root / name[:10] / name


DATA_SETS: Final[tuple[DataSet, ...]] = tuple(
    DataSet(
        f"kitti-{length}",
        f"KITTI, the 13 drives of the annotated depth's validation part, the first {length} frames that have depth "
        "(arXiv 2501.12375).",
        _LAYOUT,
        partial(_clips, length=length),
    )
    for length in (110, 500)
)
