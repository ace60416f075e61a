"""Record3D, an app that films with the lidar or the front camera of iPhones: its export of EXR and JPG.

Facts from its author (github.com/marek-simonik/record3d, issues 27, 31, 36, 83): ``poses`` holds for every picture a
quaternion (scalar last) and a position, camera to world, in ARKit's axes (x right, y up, looking along -z); ``K`` is
the matrix of the first picture by columns, for pictures of ``w`` x ``h``; ``perFrameIntrinsicCoeffs`` are fx, fy, cx,
cy of each. Depth is in metres, NaN where unknown, and may be smaller than the picture.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, PositiveFloat, PositiveInt, ValidationError

from recon.errors import FormatError
from recon.evaluation.datasets.layout import CamerasOnDemand, DepthReader
from recon.evaluation.datasets.sequences import name_of, picture_reader, pictures_in, sequences, timed
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.io.depth import read_depth_map
from recon.io.trajectory import poses_from_quaternions
from recon.types import Intrinsics

_LAYOUT: Final = "[<clip>/EXR_RGBD/]{metadata.json, rgb/0.jpg, depth/0.exr}"
_OPENCV_FROM_OPENGL: Final = np.diag([1.0, -1.0, -1.0, 1.0])
_MAX_DEPTH: Final = 10.0
"""Metres: our choice; the lidar reaches about 5."""

_Seven = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class _Metadata(BaseModel):
    """What is read of ``metadata.json``."""

    w: PositiveInt
    h: PositiveInt
    fps: PositiveFloat
    K: list[FiniteFloat] = Field(min_length=9, max_length=9)
    poses: list[_Seven]
    timestamps: list[FiniteFloat] = Field([], alias="frameTimestamps")
    coefficients: list[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]] = Field(
        [], alias="perFrameIntrinsicCoeffs"
    )


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    raw = root.suffix == ".r3d" or (root.is_dir() and (root / "rgbd").is_dir())
    if raw:
        raise FormatError(f"{root}: Record3D's own format is not read: export it as EXR + JPG sequence ({_LAYOUT})")
    return [_clip(root, folder, reading) for folder in sequences(root, "metadata.json", levels=2, expected=_LAYOUT)]


def _clip(root: Path, folder: Path, reading: Reading) -> TruthClip:
    metadata = _metadata(folder / "metadata.json")
    pictures = pictures_in(folder / "rgb", expected=_LAYOUT)
    if len(metadata.poses) != len(pictures):
        raise FormatError(f"{folder}: {len(metadata.poses)} poses for {len(pictures)} pictures; they must be as many")
    depths = [folder / "depth" / f"{path.stem}.exr" for path in pictures]
    present = [path if path.is_file() else None for path in depths]
    return TruthClip(
        name=name_of(root, folder),
        frames=timed(pictures, present, _times(metadata)),
        read_picture=picture_reader(reading),
        read_depth=DepthReader(1.0),
        cameras=CamerasOnDemand(partial(_cameras, metadata, present)),
        max_depth=_MAX_DEPTH,
    )


def _metadata(path: Path) -> _Metadata:
    try:
        return _Metadata.model_validate(json.loads(path.read_bytes()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(f"{path}: not Record3D's description of a clip ({where}: {first['msg']})") from error
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error


def _times(metadata: _Metadata) -> list[float]:
    count = len(metadata.poses)
    return metadata.timestamps if len(metadata.timestamps) == count else [row / metadata.fps for row in range(count)]


def _cameras(metadata: _Metadata, depths: Sequence[Path | None]) -> Mapping[int, TruthCamera]:
    """Cameras for the size of the depth maps, of which one is decoded."""
    first = next((path for path in depths if path is not None), None)
    height, width = (metadata.h, metadata.w) if first is None else read_depth_map(first, scale=1.0).shape
    rows = np.array(metadata.poses, np.float64)[:, [4, 5, 6, 0, 1, 2, 3]]
    poses = poses_from_quaternions(rows, [f"pose {row}" for row in range(len(rows))]) @ _OPENCV_FROM_OPENGL
    return {row: TruthCamera(_intrinsics(metadata, row).scaled(width, height), pose) for row, pose in enumerate(poses)}


def _intrinsics(metadata: _Metadata, row: int) -> Intrinsics:
    own = len(metadata.coefficients) == len(metadata.poses)
    fx, fy, cx, cy = metadata.coefficients[row] if own else [metadata.K[place] for place in (0, 4, 6, 7)]
    return Intrinsics(fx, fy, cx, cy, metadata.w, metadata.h)


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "record3d",
        "Clips of the app Record3D, exported as EXR + JPG sequence, with ARKit's poses: all pictures; up to 10 m.",
        _LAYOUT,
        _clips,
    ),
)
