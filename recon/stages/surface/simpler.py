"""Fewer triangles for the same shape."""

from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial import cKDTree

from recon.errors import MissingPackageError
from recon.geometry import vertex_normals
from recon.types import Mesh


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
    vertices, triangles = _simplify()(mesh.vertices.astype(np.float64), mesh.triangles.astype(np.int64), faces)
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


Simplify = Callable[[np.ndarray, np.ndarray, int], tuple[Float64[np.ndarray, "v 3"], Int64[np.ndarray, "t 3"]]]


def _simplify() -> Simplify:
    try:
        fast_simplification = import_module("fast_simplification")
    except ImportError as error:
        how = 'pip install "recon-video[mesh]"'
        raise MissingPackageError(f"fewer triangles need the package fast-simplification ({error}): {how}") from error

    def simplify(vertices: np.ndarray, triangles: np.ndarray, faces: int) -> tuple[np.ndarray, np.ndarray]:
        points, fewer = fast_simplification.simplify(vertices, triangles, target_count=faces)
        return np.asarray(points, np.float64), np.asarray(fewer, np.int64)

    return simplify


__all__ = ["lods", "simplified"]
