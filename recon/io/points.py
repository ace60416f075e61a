"""Landmarks without observations, as SLAM systems export them: PLY, or lines of x y z.

================  ======================================================================================================
file              content
================  ======================================================================================================
``.ply``          vertices, ASCII or binary; colours and faces are ignored
``.csv .txt .xyz  a landmark a line, x y z and whatever follows (colours, normals), parted by commas, semicolons or
.pts .asc``       blanks; ``#`` comments, a line that counts the points, and a header. A header that names x, y and z
                  says where they stand (CloudCompare, spreadsheets)
================  ======================================================================================================

ORB-SLAM2 and 3 write no map points themselves, only trajectories (TUM); the functions that people add write one of the
two: bare ``x y z`` lines or PLY, in the world of the trajectory.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float64


def is_points_file(path: Path) -> bool:
    """Whether this is a file of bare landmarks, by its suffix, and not a COLMAP model."""
    raise NotImplementedError


def read_points(path: Path) -> Float64[np.ndarray, "n 3"]:
    """Positions of landmarks, in the file's world and units.

    Raises:
        FormatError: the file is missing, damaged, of no known format, or empty.
    """
    raise NotImplementedError
