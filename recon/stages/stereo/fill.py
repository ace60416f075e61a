"""Holes are filled from their farther side: what is near never continues behind itself."""

import numpy as np

from recon.stages.stereo.kernels import kernels
from recon.stages.stereo.warp import THREADS, Seen, by_rows
from recon.types import Samples

SETTLED = 1 / 100
"""Rows, in widths of the picture, over which fills of one surface are made to agree."""


def filled(seen: Seen, *, threads: int = THREADS) -> Samples:
    """The picture of an eye without holes.

    What lies beside a hole on its farther side is continued into it, mirrored at the border (to a part of a pixel, so
    that the fill moves as steadily as the border does), as far as nothing nearer stands there; where both sides are as
    far, one fades into the other. Holes at the border of the picture are filled from inside it. It depends on this
    picture alone. A row of which nothing is seen stays black.
    """
    height, width = seen.hole.shape
    fills, picture = np.zeros_like(seen.picture), np.zeros_like(seen.picture)
    by_rows(lambda rows: kernels().fill(seen, fills, rows), height, threads)
    reach = max(1, round(SETTLED * width))
    by_rows(lambda rows: kernels().settle(seen, fills, picture, reach, rows), height, threads)
    return picture


__all__ = ["filled"]
