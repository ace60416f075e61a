"""Lay a path on the true one: `python docs/align_path.py mine.txt true.txt mine-there.txt`.

It is turned and moved to fit best, by least squares over the camera's places at the times of both, and not scaled: its
cloud can then be compared with one in the world of the true poses.
"""

import argparse
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.evaluation.trajectory import absolute_error
from recon.geometry import rigid
from recon.io.trajectory import read_pair, write_tum
from recon.types import CameraTrajectory


def main() -> None:
    """Read the command line and write the path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("true", type=Path)
    parser.add_argument("output", type=Path, help="TUM file to write")
    given = parser.parse_args()
    try:
        mine, true, _timed = read_pair(given.path, given.true)
        fit = absolute_error(mine, true, alignment="rigid").true_from_estimated
        true_from_mine = rigid(fit.rotation, fit.translation)
        write_tum(given.output, CameraTrajectory(mine.times, np.asarray(true_from_mine @ mine.world_from_camera)))
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
