"""The true path and the calibration of the camera of a data set's pictures, as `recon` reads them.

    python docs/true_poses.py 7scenes ~/data/kitchen truth/ --picture-rate 30

writes truth/path.txt (TUM, world_from_camera of the camera that took the pictures, in the world of the first of them)
and truth/camera.json (fx, fy, cx, cy, width, height in pixels, from the corner).
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from recon.errors import FormatError, ReconError
from recon.evaluation.datasets import data_set
from recon.evaluation.protocol import CORRECTED
from recon.evaluation.truth import Reading
from recon.files import whole_folder
from recon.geometry import inverse
from recon.io.trajectory import write_tum
from recon.types import CameraTrajectory


def main() -> None:
    """Read the command line and write what is known of the only clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", help="a name that `recon eval` lists")
    parser.add_argument("root", type=Path, help="its root folder")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--picture-rate", type=float, default=30.0, help="pictures for each second")
    given = parser.parse_args()
    try:
        (clip,) = data_set(given.data_set).clips(given.root, Reading(CORRECTED))
        if not clip.cameras:
            raise FormatError(f"{given.root}: no pose is known")
        numbers = sorted(clip.cameras)
        poses = np.stack([clip.cameras[number].world_from_camera for number in numbers])
        path = CameraTrajectory(np.array(numbers) / given.picture_rate, inverse(poses[0]) @ poses)
        with whole_folder(given.output, marker="") as partial:
            write_tum(partial / "path.txt", path)
            camera = asdict(clip.cameras[numbers[0]].intrinsics)
            (partial / "camera.json").write_text(json.dumps(camera) + "\n", encoding="utf-8")
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
