"""7-Scenes (Shotton et al., CVPR 2013): a hand-held Kinect in small rooms.

The colour pictures are not registered to depth, and the poses are those of the depth camera. Under the corrected
protocol depth is carried into the colour camera; under the released one it is taken as if it were there already.

Depth: PNG, millimetres, 0 and 65535 = unknown. Poses: 4x4, world from the depth camera, OpenCV axes, metres. The depth
camera's intrinsics (585, 320, 240) are the data set's. Nobody has published those of the colour camera: the ones here
are our own estimate, by what aligns edges and colours over the frames of a sequence of the red kitchen (edges of depth
fall on 2.2 times the mean gradient of colour; 1.24 times as they are).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import CamerasOnDemand, DepthReader
from recon.evaluation.datasets.sequences import (
    NOMINAL_RATE,
    cameras_along,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    seen_points,
    sequences,
)
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip, TruthFrame
from recon.geometry import rigid, unproject
from recon.io.depth import read_depth_map
from recon.io.naming import key_of
from recon.io.trajectory import read_trajectory
from recon.types import CameraTrajectory, DepthMap, Intrinsics

_LAYOUT: Final = "[<scene>/]seq-XX/frame-000000.{color.png or color.jpg, depth.png, pose.txt}"
_DEPTH_CAMERA: Final = Intrinsics(585.0, 585.0, 320.5, 240.5, 640, 480)
_COLOR_CAMERA: Final = Intrinsics(525.0, 525.0, 320.5, 238.5, 640, 480)
_BASELINE: Final = 0.025
"""Metres from the depth camera to the colour camera, along x."""
_SCALE: Final = 1000.0
_MAX_DEPTH: Final = 10.0


@dataclass(frozen=True, slots=True)
class ColorDepthReader:
    """Depth as the colour camera sees it; a ``TruthClip.read_depth``.

    Every point falls on one pixel, the nearest counts. The colour camera's focal length is smaller, so that points lie
    denser than pixels: holes are where the depth camera saw nothing, beside edges and at the borders; they stay NaN.
    """

    def __call__(self, path: Path) -> DepthMap:
        """Metres, NaN = unknown."""
        depth = read_depth_map(path, scale=_SCALE)
        if depth.shape != (_DEPTH_CAMERA.height, _DEPTH_CAMERA.width):
            raise FormatError(f"{path}: depth maps of 7-Scenes have 640 x 480 pixels, this one {depth.shape[::-1]}")
        points = unproject(depth, _DEPTH_CAMERA).reshape(-1, 3)
        points[:, 0] -= np.float32(_BASELINE)
        return seen_points(points, _COLOR_CAMERA)


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    folders = sequences(root, "frame-*.color.*", levels=2, expected=_LAYOUT)
    return [_clip(name_of(root, folder), folder, reading) for folder in folders]


def _clip(name: str, folder: Path, reading: Reading) -> TruthClip:
    as_it_is = reading.protocol.name == "vda-released"
    pictures = [path for path in pictures_in(folder, expected=_LAYOUT) if ".color." in path.name]
    depths = [path.with_name(key_of(path.name) + ".depth.png") for path in pictures]
    frames = numbered(pictures, [depth if depth.is_file() else None for depth in depths], NOMINAL_RATE)
    return TruthClip(
        name=name,
        frames=frames,
        read_picture=picture_reader(reading),
        read_depth=DepthReader(_SCALE) if as_it_is else ColorDepthReader(),
        cameras=CamerasOnDemand(partial(_depth_cameras if as_it_is else _color_cameras, frames, folder)),
        max_depth=_MAX_DEPTH,
    )


def _depth_cameras(frames: Sequence[TruthFrame], folder: Path) -> Mapping[int, TruthCamera]:
    return cameras_along(frames, _world_from_depth(frames, folder), _DEPTH_CAMERA)


def _color_cameras(frames: Sequence[TruthFrame], folder: Path) -> Mapping[int, TruthCamera]:
    depth_from_color = rigid(np.eye(3), np.array([_BASELINE, 0.0, 0.0]))
    known = _world_from_depth(frames, folder)
    world_from_color = CameraTrajectory(known.times, known.world_from_camera @ depth_from_color)
    return cameras_along(frames, world_from_color, _COLOR_CAMERA)


def _world_from_depth(frames: Sequence[TruthFrame], folder: Path) -> CameraTrajectory:
    times = {key_of(frame.name): frame.time for frame in frames}
    return read_trajectory(folder, times_by_name=times, rate=None)


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "7scenes",
        "7-Scenes (CVPR 2013): hand-held Kinect in rooms, all frames; depth is carried into the colour camera by our "
        "own estimate of the calibration (as it is under vda-released); up to 10 m.",
        _LAYOUT,
        _clips,
    ),
)
