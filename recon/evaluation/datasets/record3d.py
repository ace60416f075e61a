"""Record3D, an app that films with the lidar or the front camera of iPhones: its export of EXR and JPG.

``recon.io.record3d`` tells of its poses and intrinsics. Depth is in metres, NaN where unknown, and may be smaller than
the picture.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from recon.errors import FormatError
from recon.evaluation.datasets.layout import CamerasOnDemand, DepthReader
from recon.evaluation.datasets.sequences import name_of, picture_reader, pictures_in, sequences, timed
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.io.depth import read_depth_map
from recon.io.pose_files import in_opencv, poses_from_quaternions
from recon.io.record3d import Metadata, read_metadata

_LAYOUT: Final = "[<clip>/EXR_RGBD/]{metadata.json, rgb/0.jpg, depth/0.exr}"
_MAX_DEPTH: Final = 10.0
"""Metres: our choice; the lidar reaches about 5."""


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    raw = root.suffix == ".r3d" or (root.is_dir() and (root / "rgbd").is_dir())
    if raw:
        raise FormatError(f"{root}: Record3D's own format is not read: export it as EXR + JPG sequence ({_LAYOUT})")
    return [_clip(root, folder, reading) for folder in sequences(root, "metadata.json", levels=2, expected=_LAYOUT)]


def _clip(root: Path, folder: Path, reading: Reading) -> TruthClip:
    metadata = read_metadata(folder / "metadata.json")
    pictures = pictures_in(folder / "rgb", expected=_LAYOUT)
    if len(metadata.poses) != len(pictures):
        raise FormatError(f"{folder}: {len(metadata.poses)} poses for {len(pictures)} pictures; they must be as many")
    depths = [folder / "depth" / f"{path.stem}.exr" for path in pictures]
    present = [path if path.is_file() else None for path in depths]
    return TruthClip(
        name=name_of(root, folder),
        frames=timed(pictures, present, metadata.times),
        read_picture=picture_reader(reading),
        read_depth=DepthReader(1.0),
        cameras=CamerasOnDemand(partial(_cameras, metadata, present)),
        max_depth=_MAX_DEPTH,
    )


def _cameras(metadata: Metadata, depths: Sequence[Path | None]) -> Mapping[int, TruthCamera]:
    """Cameras for the size of the depth maps, of which one is decoded."""
    first = next((path for path in depths if path is not None), None)
    height, width = (metadata.h, metadata.w) if first is None else read_depth_map(first, scale=1.0).shape
    rows = metadata.pose_rows
    poses = in_opencv(poses_from_quaternions(rows, [f"pose {row}" for row in range(len(rows))]), "opengl")
    return {row: TruthCamera(metadata.intrinsics(row).scaled(width, height), pose) for row, pose in enumerate(poses)}


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "record3d",
        "Clips of the app Record3D, exported as EXR + JPG sequence, with ARKit's poses: all pictures; up to 10 m.",
        _LAYOUT,
        _clips,
    ),
)
