"""ScanNet (Dai et al., CVPR 2017): rooms scanned with a depth camera on a tablet, exported by its SensReader.

Pictures have 1296 x 968 pixels, depth maps 640 x 480, of one field of view. The published crop takes 8 rows and 11
columns of the depth maps off each side, where they know nothing. The released scripts take as many off the pictures,
which are twice as large; the corrected ones take the same part of the field of view, to a seventh of a depth pixel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.errors import FormatError
from recon.evaluation.datasets.layout import (
    CamerasOnDemand,
    Crop,
    DepthReader,
    PictureReader,
    clip_name,
    files,
    folders,
    namesakes,
    rigid_of,
    truth_frames,
    warn_if_fewer,
)
from recon.evaluation.datasets.sequences import png_size
from recon.evaluation.protocol import EvaluationProtocol
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.types import Intrinsics

_LAYOUT: Final = (
    "[scans_test/ or scans/]<scene>/color/0.jpg, depth/0.png, pose/0.txt, intrinsic/intrinsic_depth.txt, as "
    "SensReader/python/reader.py exports a .sens file with all its options (poses are optional but for TAE)"
)
_FOLDERS: Final = ("scans_test", "scans", ".")
"""Where scenes are looked for, in this order."""
_ROWS, _COLUMNS = 8, 11
_CROP: Final = Crop(_ROWS, -_ROWS, _COLUMNS, -_COLUMNS)
_DEPTH_SIZE: Final = (480, 640)
_SCALE: Final = 1000.0
_RATE: Final = 30.0
_MAX_DEPTH: Final = 10.0


@dataclass(frozen=True, slots=True)
class SameView:
    """What the cropped depth map shows, of a picture of any size; in whole pixels of the picture."""

    def of(self, array: np.ndarray) -> np.ndarray:
        """The part of a picture that is kept."""
        rows = round(_ROWS * array.shape[0] / _DEPTH_SIZE[0])
        columns = round(_COLUMNS * array.shape[1] / _DEPTH_SIZE[1])
        return Crop(rows, -rows, columns, -columns).of(array)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which frames of how many scenes."""

    scenes: int
    seen: slice
    """Frames of a scene that the network sees."""
    scored: range
    """Those among them, counted anew, that are compared."""


def _world_from_camera(path: Path) -> Float64[np.ndarray, "4 4"] | None:
    """None where tracking was lost: SensReader then writes -inf."""
    matrix = _matrix(path)
    return rigid_of(matrix, str(path)) if np.isfinite(matrix).all() else None


def _matrix(path: Path) -> Float64[np.ndarray, "4 4"]:
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        matrix = np.array(rows, np.float64)
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read as a 4x4 matrix") from error
    if matrix.shape != (4, 4):
        raise FormatError(f"{path}: is no 4x4 matrix")
    return matrix


def _intrinsics(path: Path, first_depth: Path, protocol: EvaluationProtocol) -> Intrinsics:
    """The camera of the cropped depth maps; the file puts the first pixel's centre at (0, 0): 319.5 of 640."""
    matrix = _matrix(path)
    height, width = png_size(first_depth)
    fx, fy, cx, cy = (float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    try:
        whole = Intrinsics(fx, fy, cx + 0.5, cy + 0.5, width, height)
        part = _CROP.of_camera(whole)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    if protocol.principal_point_uncropped:
        return Intrinsics(fx, fy, whole.cx, whole.cy, part.width, part.height)
    return part


def _cameras(
    scene: Path, pictures: Mapping[int, Path], first_depth: Path, protocol: EvaluationProtocol
) -> Mapping[int, TruthCamera]:
    intrinsics = _intrinsics(scene / "intrinsic" / "intrinsic_depth.txt", first_depth, protocol)
    paths = namesakes(list(pictures.values()), scene / "pose", ".txt")
    poses = ((number, _world_from_camera(path)) for number, path in zip(pictures, paths, strict=True))
    return {number: TruthCamera(intrinsics, pose) for number, pose in poses if pose is not None}


def _clip(scene: Path, reading: Reading, choice: _Choice) -> TruthClip:
    protocol = reading.protocol
    pictures = files(scene, "color/*.jpg", expected=f"export the .sens file: {_LAYOUT}")[choice.seen]
    depths = namesakes(pictures, scene / "depth", ".png")
    compared = [depth if number in choice.scored else None for number, depth in enumerate(depths)]
    # Neighbours are compared where both have a camera: those that do not count have none.
    posed = {number: picture for number, picture in enumerate(pictures) if number in choice.scored}
    cameras = CamerasOnDemand(partial(_cameras, scene, posed, depths[0], protocol))
    return TruthClip(
        name=clip_name(scene.name),
        frames=truth_frames(pictures, compared, [_number(picture) / _RATE for picture in pictures]),
        read_picture=PictureReader(
            _CROP if protocol.fields_of_view_differ else SameView(), red_and_blue_swapped=protocol.red_and_blue_swapped
        ),
        read_depth=DepthReader(_SCALE, _CROP),
        cameras=cameras if (scene / "pose").is_dir() else {},
        max_depth=_MAX_DEPTH,
    )


def _number(picture: Path) -> int:
    if not picture.stem.isdecimal():
        raise FormatError(f"{picture}: pictures of ScanNet are called 0.jpg, 1.jpg, ...")
    return int(picture.stem)


def _clips(root: Path, reading: Reading, *, choice: _Choice) -> Sequence[TruthClip]:
    place = next(root / name for name in _FOLDERS if (root / name).is_dir() or name == ".")
    scenes = folders(place, "scene*_*", expected=f"expected are {_LAYOUT}")[: choice.scenes]
    warn_if_fewer(root, len(scenes), choice.scenes)
    return [_clip(scene, reading, choice) for scene in scenes]


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "scannet-90",
        "ScanNet, the first 100 scenes, 90 frames each: every third of the first 270 (arXiv 2501.12375, after "
        "DepthCrafter, which takes the test scenes).",
        _LAYOUT,
        partial(_clips, choice=_Choice(100, slice(0, 270, 3), range(90))),
    ),
    DataSet(
        "scannet-500",
        "ScanNet, the first 100 scenes, the first 500 frames at most (arXiv 2501.12375).",
        _LAYOUT,
        partial(_clips, choice=_Choice(100, slice(0, 500), range(500))),
    ),
    DataSet(
        "scannet-tae",
        "ScanNet, the first 20 scenes: the network sees frames 0 to 191, 10 to 179 are compared (released scripts).",
        _LAYOUT,
        partial(_clips, choice=_Choice(20, slice(0, 192), range(10, 180))),
    ),
)
