"""Fewer triangles for the same shape."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from recon.geometry import vertex_normals
from recon.optional import Package
from recon.types import Mesh

FAST_SIMPLIFICATION: Final = Package("fast_simplification", "fewer triangles need", "mesh")


def simplified(mesh: Mesh, faces: int) -> Mesh:
    """At most about so many triangles (Garland and Heckbert, Surface simplification using quadric error metrics, 1997).

    Colours are those of the nearest vertex of the given mesh; normals are computed anew. A mesh that is small enough
    is returned as it is.

    Raises:
        MissingPackageError: fast_simplification is not installed.
        ValueError: fewer than one triangle.
    """
    if faces < 1:
        raise ValueError(f"a mesh has 1 triangle at least, got {faces}")
    if len(mesh) <= faces:
        return mesh
    corners, made = FAST_SIMPLIFICATION.module().simplify(
        mesh.vertices.astype(np.float64), mesh.triangles.astype(np.int64), target_count=faces
    )
    vertices, triangles = np.asarray(corners, np.float64), np.asarray(made, np.int64)
    nearest = cKDTree(mesh.vertices).query(vertices)[1]
    normals = vertex_normals(vertices, triangles)
    return Mesh(vertices.astype(np.float32), triangles.astype(np.int32), mesh.colors[nearest], normals)


def lods(mesh: Mesh, faces: Sequence[int]) -> tuple[Mesh, ...]:
    """Levels of detail: each is made of the one before it, so list the numbers of triangles from high to low.

    Raises:
        MissingPackageError: fast_simplification is not installed.
        ValueError: numbers that do not fall.
    """
    if any(fewer >= more for more, fewer in pairwise(faces)):
        raise ValueError(f"levels of detail go from fine to coarse, got {list(faces)}")
    levels = []
    for count in faces:
        mesh = simplified(mesh, count)
        levels.append(mesh)
    return tuple(levels)


__all__ = ["FAST_SIMPLIFICATION", "lods", "simplified"]
