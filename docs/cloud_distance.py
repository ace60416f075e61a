"""How far one cloud lies from another: `python docs/cloud_distance.py cloud.ply reference.ply`.

Prints the quantiles of the distance from each point of the first to the nearest of the second, in the clouds' units.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from recon.io.cloud import read_ply

SAMPLE = 500_000
"""Points of the first cloud that are measured, evenly taken."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cloud", type=Path)
    parser.add_argument("reference", type=Path)
    options = parser.parse_args()
    points, reference = read_ply(options.cloud).points, read_ply(options.reference).points
    distance, _ = cKDTree(reference).query(points[:: max(1, len(points) // SAMPLE)])
    for share in (0.5, 0.9):
        print(f"{share:.0%} of the points lie within {np.quantile(distance, share):.4f}")


if __name__ == "__main__":
    main()
