"""Camera path by recon's own tracker alone, from maps that are there: what it adds to the network, on the same footing.

    python docs/peers/recon_path.py room.mp4 path.txt --depth depth/ --intrinsics K.json

`recon poses` does the same and finds depth as well.
"""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from paths import Facts, arguments, opened, with_depth, write_path

from recon.errors import ReconError
from recon.stages.clean import clean
from recon.stages.pair import resized
from recon.stages.pose import Segment, estimate
from recon.types import DepthFrame, DepthMap, Frame

EDGE: Final = 0.04
"""As `recon pointcloud`."""


class Sayings(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a sentence."""
        self.said.append(record.getMessage())


class Clock:
    """Leaves out the time of reading."""

    def __init__(self) -> None:
        self.reading = 0.0
        self.frames = 0

    def watched(self, pairs: Iterator[tuple[Frame, DepthMap]]) -> Iterator[DepthFrame]:
        """The frames, as they are asked for."""
        while True:
            begun = time.perf_counter()
            pair = next(pairs, None)
            self.reading += time.perf_counter() - begun
            if pair is None:
                return
            self.frames += 1
            frame, depth = pair
            height, width = depth.shape
            yield DepthFrame(Frame(frame.index, frame.time, resized(frame.rgb, width, height)), depth)


def main() -> None:
    """Read the command line and write the path."""
    parser = arguments(__doc__)
    parser.add_argument("--depth", type=Path, required=True, help="maps as `recon depth` writes; PNG in millimetres")
    given = parser.parse_args()
    sayings, clock = Sayings(), Clock()
    logging.getLogger("recon").addHandler(sayings)
    try:
        source, intrinsics = opened(given)
        begun = time.perf_counter()
        frames = clock.watched(with_depth(source, given.depth))
        cleaned = clean(frames, edge=EDGE, near=0.0, far=float(np.inf))
        segments: list[Segment] = list(estimate(cleaned, intrinsics))
        seconds = time.perf_counter() - begun - clock.reading
    except ReconError as error:
        raise SystemExit(str(error)) from error
    paths = [
        list(zip(each.trajectory.times.tolist(), each.trajectory.world_from_camera, strict=True)) for each in segments
    ]
    counts = sorted(map(len, paths), reverse=True)
    write_path(given.output, paths, Facts(seconds, clock.frames, counts, sayings.said))
    print(f"{given.output}: {counts} of {clock.frames} frames, {1000 * seconds / clock.frames:.0f} ms each")


if __name__ == "__main__":
    main()
