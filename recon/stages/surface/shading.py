"""Normals of meshes."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from recon.types import Mesh

_CANCELLED = 1e-6
"""Part of their areas that is left of normals that cancel each other."""


def vertex_normals(vertices: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"]) -> Float32[np.ndarray, "n 3"]:
    """Unit normals: means over the triangles around each vertex, weighted by area; zero where there are none.

    Where these cancel each other, as on a leaf of two sides, it is that of one of them.
    """
    corners = vertices.astype(np.float64)[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack([_sums(triangles, faces[:, axis], len(vertices)) for axis in range(3)], axis=-1)
    size = np.sqrt(np.square(faces).sum(axis=-1))
    cancelled = np.sqrt(np.square(normals).sum(axis=-1)) <= _CANCELLED * _sums(triangles, size, len(vertices))
    for corner in range(3):
        rows = np.flatnonzero(cancelled[triangles[:, corner]] & (size > 0))
        normals[triangles[rows, corner]] = faces[rows]
    length = np.sqrt(np.square(normals).sum(axis=-1, keepdims=True))
    units: Float32[np.ndarray, "n 3"] = (normals / np.where(length > 0, length, 1)).astype(np.float32)
    return units


def _sums(triangles: Int[np.ndarray, "m 3"], values: Float64[np.ndarray, " m"], count: int) -> np.ndarray:
    return np.bincount(triangles.ravel(), np.repeat(values, 3), minlength=count)


def with_triangles(mesh: Mesh, triangles: Int32[np.ndarray, "k 3"]) -> Mesh:
    """These triangles of a mesh, and the vertices that they use."""
    used = np.zeros(len(mesh.vertices), bool)
    used[triangles.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    return Mesh(mesh.vertices[used], number[triangles], mesh.colors[used], mesh.normals[used])


__all__ = ["vertex_normals", "with_triangles"]
