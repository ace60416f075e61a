"""How well a mesh agrees with a true one: `python docs/mesh_distance.py mesh.ply true.ply`.

Prints JSON: precision, recall and F at each of the distances, median distances both ways, all in metres, of points
that are spread evenly over both surfaces (`recon.evaluation.clouds`), of which some are looked up. What is farther than
25 cm counts as 25 cm. Nothing is aligned.
"""

import argparse
import json
from pathlib import Path
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from recon.errors import ReconError
from recon.evaluation.clouds import Agreement, Points, Surface, sampled
from recon.io.mesh import read_mesh

SEED: Final = 0
FARTHEST: Final = 0.25
"""Metres: looking farther takes long where a mesh is far from the truth."""
LOOKED_UP: Final = 250_000
"""Points of each surface whose nearest neighbour among all of the other's is found: shares are right to 0.1 %."""


def to_nearest(points: Points, others: Points) -> np.ndarray:
    """Distance of some of the points to the nearest of the others, at most the farthest; any order is a random one."""
    distances: np.ndarray = cKDTree(others).query(points[:LOOKED_UP], distance_upper_bound=FARTHEST, workers=-1)[0]
    return distances.clip(max=FARTHEST)


def facts(mesh: Surface, true: Surface, within: list[float]) -> dict[str, object]:
    """What is printed of two meshes."""
    random = np.random.default_rng(SEED)
    here, there = sampled(mesh, random), sampled(true, random)
    accuracy, completeness = to_nearest(here, there), to_nearest(there, here)
    shares = [Agreement(each, float(np.mean(accuracy < each)), float(np.mean(completeness < each))) for each in within]
    return {
        "within": {f"{each.threshold:g}": _told(each) for each in shares},
        "accuracy": float(np.median(accuracy)),
        "completeness": float(np.median(completeness)),
        "triangles": len(mesh.triangles),
    }


def _told(agreement: Agreement) -> dict[str, float]:
    return {"precision": agreement.precision, "recall": agreement.recall, "f": agreement.f_score}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("true", type=Path)
    parser.add_argument("--within", type=float, nargs="+", default=[0.02, 0.05], help="metres")
    given = parser.parse_args()
    try:
        mesh, true = (Surface(*read_mesh(path)) for path in (given.mesh, given.true))
        print(json.dumps(facts(mesh, true, given.within)))
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
