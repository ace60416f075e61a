"""Camera path by Open3D's odometry of colour and depth (Park et al., ICCV 2017; Steinbruecker et al., ICCV 2011).

    python docs/peers/open3d_odometry.py room.mp4 path.txt --depth depth/ --intrinsics K.json --method hybrid

Each frame is laid on the one before, and the motions are chained, as in Open3D's tutorial of its tensor pipeline
(open3d.org/docs/latest/tutorial/t_pipelines/t_odometry.html): three scales, the losses' own defaults.
"""

import re
import time
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
import open3d as o3d
from paths import Facts, Timed, add_depth, arguments, opened, with_depth, write_path

from recon.errors import ReconError
from recon.types import DepthMap, Frame, Intrinsics

odometry = o3d.t.pipelines.odometry
METHODS: Final = {
    "intensity": odometry.Method.Intensity,
    "hybrid": odometry.Method.Hybrid,
    "point-to-plane": odometry.Method.PointToPlane,
}
COLOR: Final = re.compile("\x1b\\[[0-9;]*m")
"""Of a terminal."""
ITERATIONS: Final = (10, 5, 3)
"""From coarse to fine: its default."""


class Tracker:
    """Chains motions from frame to frame."""

    def __init__(self, intrinsics: Intrinsics, method: str, max_depth: float) -> None:
        # Open3D counts pixels from the middle of the first one.
        rows = [[intrinsics.fx, 0, intrinsics.cx - 0.5], [0, intrinsics.fy, intrinsics.cy - 0.5], [0, 0, 1]]
        self._matrix = o3d.core.Tensor(np.array(rows, np.float64))
        self._method, self._max_depth = METHODS[method], max_depth
        self._before: Any = None
        self.segments: list[list[Timed]] = [[]]
        self.said: list[str] = []
        self.seconds = 0.0

    def add(self, frame: Frame, depth: DepthMap) -> None:
        """Place one more frame."""
        begun = time.perf_counter()
        height, width = frame.rgb.shape[:2]
        known = cv2.resize(np.nan_to_num(depth, nan=0.0), (width, height), interpolation=cv2.INTER_NEAREST)
        image = o3d.t.geometry.RGBDImage(_image(frame.rgb), _image(known[..., None]))
        if self._before is not None:
            self._place(image, frame)
        else:
            self.segments[-1].append((frame.time, np.eye(4)))
        self._before = image
        self.seconds += time.perf_counter() - begun

    def _place(self, image: Any, frame: Frame) -> None:  # noqa: ANN401 - of a package without types
        try:
            motion = self._motion(image)
        except RuntimeError as error:
            self.said.append(f"frame {frame.index}: {_sentence(error)}")
            self.segments.append([(frame.time, np.eye(4))])
            return
        world_from_before = self.segments[-1][-1][1]
        self.segments[-1].append((frame.time, world_from_before @ motion))

    def _motion(self, image: Any) -> np.ndarray:  # noqa: ANN401 - of a package without types
        """before_from_now."""
        result = odometry.rgbd_odometry_multi_scale(
            image,
            self._before,
            self._matrix,
            o3d.core.Tensor(np.eye(4)),
            depth_scale=1.0,
            depth_max=self._max_depth,
            criteria_list=[odometry.OdometryConvergenceCriteria(count) for count in ITERATIONS],
            method=self._method,
        )
        found: np.ndarray = result.transformation.numpy()
        return found


def _sentence(error: RuntimeError) -> str:
    """What Open3D says, without colours and without where in its code."""
    line = COLOR.sub("", str(error)).strip().splitlines()[0]
    return line.rpartition(": ")[2].rstrip(".")


def _image(values: np.ndarray) -> Any:  # noqa: ANN401 - of a package without types
    return o3d.t.geometry.Image(o3d.core.Tensor(np.ascontiguousarray(values)))


def lengths(segments: Sequence[Sequence[Timed]]) -> list[int]:
    """Frames of each run, the longest first."""
    return sorted((len(segment) for segment in segments), reverse=True)


def main() -> None:
    """Read the command line and write the path."""
    parser = arguments(__doc__)
    add_depth(parser)
    parser.add_argument("--method", choices=METHODS, default="hybrid")
    parser.add_argument("--max-depth", type=float, default=10.0, help="what is farther does not count")
    given = parser.parse_args()
    try:
        source, intrinsics = opened(given)
        tracker = Tracker(intrinsics, given.method, given.max_depth)
        for frame, depth in with_depth(source, given):
            tracker.add(frame, depth)
        counts = lengths(tracker.segments)
        write_path(given.output, tracker.segments, Facts(tracker.seconds, sum(counts), counts, tracker.said))
    except ReconError as error:
        raise SystemExit(str(error)) from error
    print(f"{given.output}: {counts[0]} frames, {1000 * tracker.seconds / sum(counts):.0f} ms each")


if __name__ == "__main__":
    main()
