"""How well a mesh agrees with a true one: `python docs/mesh_distance.py mesh.ply true.ply`.

Prints JSON: precision, recall and F at each of the distances, median distances both ways, all in metres, of points that
are spread evenly over both surfaces (`recon.evaluation.clouds`). What is farther than 25 cm counts as 25 cm. Nothing is
aligned.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from recon.errors import ReconError
from recon.evaluation.clouds import CloudComparison, Surface, compare_surfaces
from recon.io.mesh import read_mesh

SEED = 0
FARTHEST = 0.25
"""Metres; ten times as fast as with 1 m, where a mesh is far from the truth."""


def facts(found: CloudComparison) -> dict[str, object]:
    """What is printed of two meshes."""
    within = {
        f"{each.threshold:g}": {"precision": each.precision, "recall": each.recall, "f": each.f_score}
        for each in found.agreements
    }
    return {"within": within, "accuracy": found.accuracy.median, "completeness": found.completeness.median}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mesh", type=Path)
    parser.add_argument("true", type=Path)
    parser.add_argument("--within", type=float, nargs="+", default=[0.02, 0.05], help="metres")
    given = parser.parse_args()
    try:
        mesh, true = (Surface(*read_mesh(path)) for path in (given.mesh, given.true))
        found = compare_surfaces(mesh, true, np.random.default_rng(SEED), thresholds=given.within, farthest=FARTHEST)
    except ReconError as error:
        raise SystemExit(str(error)) from error
    print(json.dumps(facts(found) | {"triangles": len(mesh.triangles)}))


if __name__ == "__main__":
    main()
