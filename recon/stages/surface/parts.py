"""Small parts of a mesh and small holes in it."""

import numpy as np
from jaxtyping import Int32, Int64
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon.light import linear_from_srgb, srgb_from_linear
from recon.types import Mesh


def without_small_parts(mesh: Mesh, least_share: float, *, least_triangles: int = 1) -> Mesh:
    """The mesh without connected parts of fewer triangles than either limit.

    Args:
        mesh: triangles are connected by the vertices that they share.
        least_share: share of all triangles that a part must have.
        least_triangles: triangles that it must have.

    Raises:
        ValueError: a share outside [0, 1) or a negative number of triangles.
    """
    if not (0 <= least_share < 1 and least_triangles >= 0):
        raise ValueError(f"limits must be a share and a number, got {least_share} and {least_triangles}")
    if not len(mesh):
        return mesh
    part = _parts(mesh)
    sizes = np.bincount(part)
    large = sizes >= max(least_triangles, least_share * len(mesh))
    return with_triangles(mesh, mesh.triangles[large[part]])


def _parts(mesh: Mesh) -> Int32[np.ndarray, " m"]:
    """For each triangle the number of its part."""
    a, b, c = mesh.triangles.T
    count = len(mesh.vertices)
    links = coo_matrix((np.ones(2 * len(a), bool), (np.concatenate([a, b]), np.concatenate([b, c]))), (count, count))
    part: Int32[np.ndarray, " m"] = connected_components(links, directed=False)[1][a]
    return part


def filled(mesh: Mesh, most_edges: int) -> Mesh:
    """The mesh with its small holes closed: each by triangles around one new vertex in its middle.

    A hole is a closed loop of border edges; the outer border of a surface is one too, so the limit should be far below
    its length. Loops that touch each other in a vertex stay open.

    Args:
        mesh: any.
        most_edges: longest border that is closed, in edges.
    """
    loops = [loop for loop in _border_loops(mesh.triangles) if len(loop) <= most_edges]
    if not loops:
        return mesh
    corners = np.concatenate(loops)
    ring = np.repeat(np.arange(len(loops)), [len(loop) for loop in loops])
    following = np.concatenate([np.roll(loop, -1) for loop in loops])
    new = _middles(mesh, corners, ring)
    fans = np.stack([corners, following, len(mesh.vertices) + ring], axis=-1).astype(np.int32)
    return Mesh(
        np.concatenate([mesh.vertices, new.vertices]),
        np.concatenate([mesh.triangles, fans]),
        np.concatenate([mesh.colors, new.colors]),
        np.concatenate([mesh.normals, new.normals]),
    )


def _middles(mesh: Mesh, corners: Int64[np.ndarray, " c"], ring: Int64[np.ndarray, " c"]) -> Mesh:
    """The mean vertex of each ring of corners."""
    counts = np.bincount(ring)[:, None]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(ring, values[corners, axis]) for axis in range(3)], axis=-1)

    normals = sums(mesh.normals)
    length = np.sqrt(np.square(normals).sum(axis=-1, keepdims=True))
    return Mesh(
        (sums(mesh.vertices) / counts).astype(np.float32),
        np.zeros((0, 3), np.int32),
        srgb_from_linear(sums(linear_from_srgb(mesh.colors)) / counts),
        (normals / np.where(length > 0, length, 1)).astype(np.float32),
    )


def _border_loops(triangles: Int32[np.ndarray, "m 3"]) -> list[Int64[np.ndarray, " k"]]:
    """Loops of vertices in the direction in which triangles that fill them name their edges."""
    starts, ends = _open_edges(triangles)
    times = np.bincount(np.concatenate([starts, ends]), minlength=1)
    simple = (times[starts] == 2) & (times[ends] == 2)
    following = dict(zip(starts[simple].tolist(), ends[simple].tolist(), strict=True))
    loops = []
    while following:
        first, at = following.popitem()
        loop = [first]
        while at in following:
            loop.append(at)
            at = following.pop(at)
        if at == first:
            loops.append(np.array(loop, np.int64))
    return loops


def _open_edges(triangles: Int32[np.ndarray, "m 3"]) -> tuple[Int64[np.ndarray, " e"], Int64[np.ndarray, " e"]]:
    """Start and end of the edges that a neighbour would have, of edges with one triangle alone."""
    ends = triangles.astype(np.int64).ravel()
    starts = np.roll(triangles, -1, axis=1).astype(np.int64).ravel()
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    _, at, counts = np.unique(low << 32 | high, return_index=True, return_counts=True)
    alone = np.sort(at[counts == 1])
    return starts[alone], ends[alone]


def with_triangles(mesh: Mesh, triangles: Int32[np.ndarray, "k 3"]) -> Mesh:
    """These triangles of a mesh, and the vertices that they use."""
    used = np.zeros(len(mesh.vertices), bool)
    used[triangles.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    return Mesh(mesh.vertices[used], number[triangles], mesh.colors[used], mesh.normals[used])


__all__ = ["filled", "without_small_parts"]
