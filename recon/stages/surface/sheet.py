"""One picture as a mesh: its grid of pixels, lifted to their depth and cut at edges."""

import numpy as np
from jaxtyping import Bool, Float32, Int32

from recon.geometry import transform, unproject, vertex_normals
from recon.types import Mesh, PosedFrame


def depth_mesh(frame: PosedFrame, edge: float) -> Mesh:
    """A vertex for each known pixel, two triangles between four neighbours of one surface, in the world.

    Args:
        frame: any.
        edge: jump of depth relative to the nearer depth, |z1 - z0| / min(z0, z1), above which no triangle joins two
            neighbours; unknown depth never is joined.

    Raises:
        ValueError: an edge that is not positive.
    """
    if not edge > 0:
        raise ValueError(f"the jump that counts as an edge must be positive, got {edge}")
    depth = frame.depth
    known = np.flatnonzero(np.isfinite(depth) & (depth > 0))
    number = np.full(depth.size, -1, np.int32)
    number[known] = np.arange(len(known), dtype=np.int32)
    points = unproject(depth, frame.intrinsics).reshape(-1, 3)[known]
    triangles = number[_triangles(depth, edge)]
    normals = vertex_normals(points, triangles) @ frame.world_from_camera[:3, :3].T.astype(np.float32)
    colors = frame.frame.rgb.reshape(-1, 3)[known]
    return Mesh(transform(frame.world_from_camera, points), triangles, colors, normals.astype(np.float32))


def _triangles(depth: Float32[np.ndarray, "h w"], edge: float) -> Int32[np.ndarray, "t 3"]:
    """Pixels of the triangles, counter-clockwise as the camera sees them.

    Of the two diagonals of four neighbours that is taken along which inverse depth, linear on planes, jumps less.
    """
    height, width = depth.shape
    pixel = np.arange(height * width, dtype=np.int32).reshape(height, width)
    corners = [pixel[:-1, :-1], pixel[1:, :-1], pixel[1:, 1:], pixel[:-1, 1:]]
    a, b, c, d = (corner.ravel() for corner in corners)
    inverse = np.where(depth > 0, 1 / depth, np.float32(np.nan)).ravel()
    jumps = [np.abs(inverse[first] - inverse[second]) for first, second in ((a, c), (b, d))]
    falling = ~(np.nan_to_num(jumps[1], nan=np.inf) < np.nan_to_num(jumps[0], nan=np.inf))
    first = np.where(falling[:, None], np.stack([a, b, c], -1), np.stack([a, b, d], -1))
    second = np.where(falling[:, None], np.stack([a, c, d], -1), np.stack([b, c, d], -1))
    triangles = np.stack([first, second], axis=1).reshape(-1, 3)
    joined: Int32[np.ndarray, "t 3"] = triangles[_joined(inverse[triangles], edge)]
    return joined


def _joined(inverse: Float32[np.ndarray, "t 3"], edge: float) -> Bool[np.ndarray, " t"]:
    """Whether no two corners, neighbours or diagonal ones, are an edge apart; |1/z1 - 1/z0| / min = |z1 - z0| / min."""
    low, high = inverse.min(axis=1), inverse.max(axis=1)
    joined: Bool[np.ndarray, " t"] = high - low <= edge * low  # False where one is NaN
    return joined


__all__ = ["depth_mesh"]
