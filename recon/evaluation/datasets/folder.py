"""Anybody's pictures with depth: folders of pictures and depth maps, with poses and intrinsics where they are known.

Depth maps are of any format that ``recon.io.depth`` reads as single files. A map belongs to the picture of its name (up
to the first dot); where no name is shared and there are as many of both, they go by order. Pictures without a map are
seen by the network and not scored.

Cameras need both poses and intrinsics. Poses are of any format that ``recon.io.trajectory`` reads and whose lengths are
metres: those of structure from motion are refused, for no true depth fits their unit; so are poses with times of their
own (TUM's), for nobody knows those of the pictures (the data set ``tum`` does).
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from recon.errors import FormatError
from recon.evaluation.datasets.layout import DepthReader, files
from recon.evaluation.datasets.sequences import (
    NOMINAL_RATE,
    cameras_along,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    png_size,
    sequences,
)
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip, TruthFrame
from recon.io.calibration import read_intrinsics
from recon.io.naming import key_of
from recon.io.pictures import read_picture
from recon.io.trajectory import read_trajectory, slam_units

logger = logging.getLogger(__name__)

_PICTURES: Final = ("rgb", "images", "color")
_POSES: Final = ("poses.txt", "trajectory.txt", "transforms.json", "poses", "pose")
_INTRINSICS: Final = ("K.txt", "intrinsics.json", "intrinsics.yaml", "intrinsics.txt", "calib.txt")
_DEPTHS: Final = (".png", ".npz", ".npy", ".pfm", ".exr")
_LAYOUT: Final = (
    f"[<clip>/]{{{' or '.join(_PICTURES)}/, depth/ (png, npz, npy, pfm, exr), optional: {' or '.join(_POSES)}, "
    f"{' or '.join(_INTRINSICS)}}}"
)


def _clips(root: Path, reading: Reading, *, one_gauge: bool) -> Sequence[TruthClip]:
    folders = sequences(root, "depth", levels=1, expected=_LAYOUT)
    return [_clip(name_of(root, folder), folder, reading, one_gauge=one_gauge) for folder in folders]


def _clip(name: str, folder: Path, reading: Reading, *, one_gauge: bool) -> TruthClip:
    pictures = pictures_in(_first(folder, _PICTURES) or folder / _PICTURES[0], expected=_LAYOUT)
    found = files(folder, "depth/*", expected=_LAYOUT)
    depths = [path for path in found if path.suffix.lower() in _DEPTHS and not path.name.startswith(".")]
    frames = numbered(pictures, _paired(pictures, depths, folder), NOMINAL_RATE)
    return TruthClip(
        name=name,
        frames=frames,
        read_picture=picture_reader(reading),
        read_depth=DepthReader(reading.depth_scale),
        cameras=_cameras(frames, folder, reading) if one_gauge else {},
        max_depth=reading.max_depth,
        one_gauge=one_gauge,
    )


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of some names that is there."""
    return next((folder / name for name in names if (folder / name).exists()), None)


def _paired(pictures: Sequence[Path], depths: Sequence[Path], folder: Path) -> list[Path | None]:
    """The depth map of each picture: by name, else by order."""
    named = dict(zip(_names(depths), depths, strict=True))
    pairs = [named.get(name) for name in _names(pictures)]
    if any(pairs):
        return pairs
    if len(pictures) != len(depths):
        raise FormatError(f"{folder}: {len(pictures)} pictures and {len(depths)} depth maps share no name")
    return list(depths)


def _names(paths: Sequence[Path]) -> list[str]:
    """Names up to their first dot; where these are not unique (1.25.png), up to their last."""
    short = [key_of(path.name) for path in paths]
    return short if len(set(short)) == len(short) else [path.stem for path in paths]


def _cameras(frames: Sequence[TruthFrame], folder: Path, reading: Reading) -> Mapping[int, TruthCamera]:
    poses, intrinsics = _first(folder, _POSES), _first(folder, _INTRINSICS)
    if poses is None or intrinsics is None:
        if poses or intrinsics:
            logger.warning(
                "%s: cameras need poses and intrinsics; of these there is only %s", folder, poses or intrinsics
            )
        return {}
    if slam_units(poses) != "metres":
        raise FormatError(f"{poses}: poses of structure from motion are not in metres: scale them, or take them away")
    if _has_times(poses):
        raise FormatError(
            f"{poses}: poses with times, but those of the pictures are not known: give one for each picture"
        )
    return _read_cameras(frames, poses, intrinsics, DepthReader(reading.depth_scale))


def _has_times(poses: Path) -> bool:
    """Whether a line is ``seconds tx ty tz qx qy qz qw``, as TUM writes."""
    lines = poses.read_text(encoding="utf-8-sig").splitlines() if poses.is_file() else []
    return any(len(line.split("#", 1)[0].split()) == 8 for line in lines)


def _read_cameras(
    frames: Sequence[TruthFrame], poses: Path, intrinsics: Path, read_depth: DepthReader
) -> Mapping[int, TruthCamera]:
    """Cameras for the size of the depth maps; of intrinsics that tell no size, for that of the pictures."""
    names = _names([frame.picture for frame in frames])
    times = {name: frame.time for name, frame in zip(names, frames, strict=True)}
    trajectory = read_trajectory(poses, times_by_name=times, rate=NOMINAL_RATE)
    height, width = read_picture(frames[0].picture).shape[:2]
    camera = read_intrinsics(intrinsics, (height, width))
    depth = next(frame.depth for frame in frames if frame.depth is not None)
    height, width = png_size(depth) if depth.suffix.lower() == ".png" else read_depth(depth).shape
    return cameras_along(frames, trajectory, camera.scaled(width, height))


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "folder",
        "Anybody's video as pictures, with depth maps: one scale and shift for all; --truth-scale and "
        "--truth-max-depth say how maps are read.",
        _LAYOUT,
        partial(_clips, one_gauge=True),
    ),
    DataSet(
        "folder-pictures",
        "Anybody's single pictures with depth maps: each with a scale and shift of its own.",
        _LAYOUT,
        partial(_clips, one_gauge=False),
    ),
)
