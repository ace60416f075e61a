"""TUM RGB-D (Sturm et al., IROS 2012): a hand-held Kinect in rooms and a hall, poses by motion capture.

Depth: PNG, 5000 for a metre, 0 = unknown, registered to colour. Poses: world from the colour camera, OpenCV axes,
metres, quaternion with the scalar last, 100 a second. Every picture goes with the depth map nearest in time (20 ms at
most, each map once, as the data set's own script associates) and with the pose interpolated for its own time.

The intrinsics are those published for the colour cameras. The lenses of freiburg1 and freiburg2 displace a pixel by
5 in the median and by 10 at the 95th percentile, and neither pictures nor depth are freed of that: what needs poses is
a little wrong there.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import DepthReader, timed_files
from recon.evaluation.datasets.sequences import (
    associated,
    cameras_along,
    name_of,
    picture_reader,
    sequences,
    table,
    timed,
)
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip, TruthFrame
from recon.io.pose_files import poses_from_quaternions
from recon.types import CameraTrajectory, Intrinsics

_LAYOUT: Final = "[<sequence>/]{rgb.txt, depth.txt, groundtruth.txt, rgb/*.png, depth/*.png}"
_CAMERAS: Final = {
    "freiburg1": Intrinsics(517.3, 516.5, 319.1, 255.8, 640, 480),
    "freiburg2": Intrinsics(520.9, 521.0, 325.6, 250.2, 640, 480),
    "freiburg3": Intrinsics(535.4, 539.2, 320.6, 248.1, 640, 480),
}
"""As published (fr1: 517.3, 516.5, 318.6, 255.3; ...), corner origin."""
_OTHER_CAMERA: Final = Intrinsics(525.0, 525.0, 320.0, 240.0, 640, 480)
"""ROS's default for the Kinect (525, 525, 319.5, 239.5), corner origin; where the name tells no camera."""
_TOLERANCE: Final = 0.02
"""Seconds between a picture and its depth map."""
_SCALE: Final = 5000.0
_MAX_DEPTH: Final = 10.0
"""Metres (arXiv 1907.01341, where TUM is evaluated)."""


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    return [_clip(root, folder, reading) for folder in sequences(root, "rgb.txt", levels=1, expected=_LAYOUT)]


def _clip(root: Path, folder: Path, reading: Reading) -> TruthClip:
    times, pictures = timed_files(folder / "rgb.txt")
    depth_times, depths = timed_files(folder / "depth.txt")
    if not pictures:
        raise FormatError(f"{folder / 'rgb.txt'}: lists no picture")
    rows = associated(times, depth_times, _TOLERANCE)
    frames = timed(pictures, [None if row is None else depths[row] for row in rows], times)
    return TruthClip(
        name=name_of(root, folder),
        frames=frames,
        read_picture=picture_reader(reading),
        read_depth=DepthReader(_SCALE),
        cameras=_cameras(frames, folder, times[0]),
        max_depth=_MAX_DEPTH,
    )


def _cameras(frames: Sequence[TruthFrame], folder: Path, start: float) -> Mapping[int, TruthCamera]:
    """Cameras of the frames, whose times are counted from ``start``."""
    path = folder / "groundtruth.txt"
    rows = table(path, "seconds tx ty tz qx qy qz qw")
    _, order = np.unique(rows[:, 0], return_index=True)  # two lines of one time: the first counts
    poses = poses_from_quaternions(rows[order, 1:], [f"{path}: {time}" for time in rows[order, 0]])
    named = re.search(r"freiburg[123]", folder.resolve().name)
    camera = _CAMERAS[named[0]] if named else _OTHER_CAMERA
    return cameras_along(frames, CameraTrajectory(rows[order, 0] - start, poses), camera)


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "tum",
        "TUM RGB-D (IROS 2012): hand-held Kinect with poses by motion capture, all pictures, depth within 20 ms; the "
        "lenses of freiburg1 and freiburg2 distort and are left so; up to 10 m.",
        _LAYOUT,
        _clips,
    ),
)
