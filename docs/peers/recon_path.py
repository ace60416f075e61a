"""Camera path by recon's own estimators alone, from maps that are there: what they add to the network.

    python docs/peers/recon_path.py room.mp4 path.txt --depth depth/ --intrinsics K.json

`recon poses` does the same and finds depth as well. Here the time of decoding and of reading maps is left out, and
what is said on the way is kept.
"""

import argparse
import logging
import time
from collections.abc import Iterator
from itertools import islice
from math import inf
from typing import Final

from paths import Facts, add_depth, arguments, opened, with_depth, write_path

from recon.errors import ReconError
from recon.io.video import Source
from recon.stages.clean import within
from recon.stages.pair import paired
from recon.stages.pose import WORKING_AREA, Segment, estimate
from recon.stages.pose.reconstruct import reconstructed
from recon.types import DepthEstimate, DepthFrame, Intrinsics

WARM_UP: Final = 6
"""Frames that are tracked before the clock starts: what is imported and compiled at its first use costs 0.8 s."""


class Sayings(logging.Handler):
    """Keeps what is said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a sentence."""
        self.said.append(record.getMessage())


class Film:
    """Pictures with depth, and the time that reading them takes."""

    def __init__(self, source: Source, given: argparse.Namespace) -> None:
        self._source, self._given = source, given
        self.reading = 0.0
        self.count = 0

    def frames(self) -> Iterator[DepthFrame]:
        """All of them, from the first one on, as `recon poses` makes them."""
        return within(self._read(), 0.0, inf)

    def _read(self) -> Iterator[DepthFrame]:
        pairs = with_depth(self._source, self._given)
        self.count = 0
        while True:
            begun = time.perf_counter()
            pair = next(pairs, None)
            self.reading += time.perf_counter() - begun
            if pair is None:
                return
            self.count += 1
            frame, depth = pair
            ((view, found),) = paired([frame], [DepthEstimate(frame.index, frame.time, 0, depth)], WORKING_AREA)
            yield DepthFrame(view.frame, found.values)


def found(film: Film, intrinsics: Intrinsics, how: str, most: int | None = None) -> list[Segment]:
    """Every segment of the film, or of its first frames."""
    if how == "colmap":
        return list(reconstructed(film.frames, intrinsics))
    return list(estimate(islice(film.frames(), most), intrinsics))


def main() -> None:
    """Read the command line and write the path."""
    parser = arguments(__doc__)
    add_depth(parser)
    parser.add_argument("--poses", choices=("track", "colmap"), default="track")
    given = parser.parse_args()
    sayings = Sayings()
    logging.getLogger("recon").addHandler(sayings)
    try:
        source, intrinsics = opened(given)
        film = Film(source, given)
        found(film, intrinsics, "track", WARM_UP)
        sayings.said.clear()
        film.reading = 0.0
        begun = time.perf_counter()
        trajectories = [segment.trajectory for segment in found(film, intrinsics, given.poses)]
        seconds = time.perf_counter() - begun - film.reading
        paths = [list(zip(each.times.tolist(), each.world_from_camera, strict=True)) for each in trajectories]
        counts = sorted(map(len, paths), reverse=True)
        write_path(given.output, paths, Facts(seconds, film.count, counts, sayings.said))
    except ReconError as error:
        raise SystemExit(str(error)) from error
    print(f"{given.output}: {counts} of {film.count} frames, {1000 * seconds / film.count:.0f} ms each")


if __name__ == "__main__":
    main()
