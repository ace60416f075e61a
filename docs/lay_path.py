"""Lay a path on the true one by how its cameras look: `python docs/lay_path.py mine.txt true.txt mine-there.txt`.

It is turned by the mean of the turns between the two at the times of both (the rotation nearest to their sum: Hartley
et al., Rotation averaging, IJCV 103, 2013, section 5.3), then moved so that the middles of the cameras' places agree,
and not scaled. `docs/align_path.py` fits the places alone: of a short or straight path these leave open how the world
is turned, by degrees, which are decimetres at the far end of a room.
"""

import argparse
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.geometry import rigid
from recon.io.trajectory import read_trajectory, write_tum
from recon.types import CameraTrajectory, RigidTransform

ROUNDING = 1e-3
"""Seconds by which times of the same frame may differ."""


def true_from_mine(mine: CameraTrajectory, true: CameraTrajectory) -> RigidTransform:
    """The motion; both must have a pose at one time at least."""
    rows = np.abs(true.times[:, None] - mine.times).argmin(axis=0)
    both = np.abs(true.times[rows] - mine.times) < ROUNDING
    if not both.any():
        raise ReconError("the two paths have no time in common: nothing says how one lies in the other")
    there, here = true.world_from_camera[rows[both]], mine.world_from_camera[both]
    turns = np.einsum("nij,nkj->ik", there[:, :3, :3], here[:, :3, :3])
    left, _sizes, right = np.linalg.svd(turns)
    rotation = left @ np.diag([1.0, 1.0, np.linalg.det(left @ right)]) @ right
    return rigid(rotation, there[:, :3, 3].mean(axis=0) - rotation @ here[:, :3, 3].mean(axis=0))


def main() -> None:
    """Read the command line and write the path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("true", type=Path)
    parser.add_argument("output", type=Path, help="TUM file to write")
    given = parser.parse_args()
    try:
        mine, true = (read_trajectory(path, times_by_name={}, rate=None) for path in (given.path, given.true))
        there = true_from_mine(mine, true) @ mine.world_from_camera
        write_tum(given.output, CameraTrajectory(mine.times, np.asarray(there)))
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
