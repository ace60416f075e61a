"""True depth of some frames of a data set, as `recon` takes it for an anchor.

    python docs/true_depth.py 7scenes ~/data/kitchen depth/ --every 1

writes depth/NAME.npz (metres along +z, NaN = unknown; named like the pictures) for the first frame, and for the first
one with true depth after each second.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.evaluation.datasets import data_set
from recon.evaluation.protocol import CORRECTED
from recon.evaluation.truth import Reading, TruthClip, TruthFrame
from recon.files import whole_folder

ROUNDING = 1e-6
"""Seconds by which times of frames may be off."""


def chosen(clip: TruthClip, every: float) -> Iterator[tuple[TruthFrame, Path]]:
    """Frames with true depth, ``every`` seconds at least apart."""
    due = -np.inf
    for frame in clip.frames:
        if frame.depth is not None and frame.time >= due - ROUNDING:
            due = frame.time + every
            yield frame, frame.depth


def main() -> None:
    """Read the command line and write the maps of the only clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", help="a name that `recon eval` lists")
    parser.add_argument("root", type=Path, help="its root folder")
    parser.add_argument("output", type=Path, help="folder to write")
    parser.add_argument("--every", type=float, default=0.0, help="least seconds between two maps")
    parser.add_argument("--truth-scale", type=float, default=1000.0, help="as `recon eval` takes it")
    given = parser.parse_args()
    try:
        (clip,) = data_set(given.data_set).clips(given.root, Reading(CORRECTED, given.truth_scale))
        with whole_folder(given.output, marker="") as partial:
            for frame, depth in chosen(clip, given.every):
                np.savez_compressed(partial / f"{frame.name}.npz", allow_pickle=False, depth=clip.read_depth(depth))
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
