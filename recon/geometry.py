"""Pinhole projection, rigid transforms, normals of meshes. numpy, pure, conventions of ``recon.types``."""

import numpy as np
from jaxtyping import Float, Float32, Float64, Int

from recon.types import DepthMap, Intrinsics, RigidTransform

_CANCELLED = 1e-6
"""Part of their areas that is left of normals that cancel each other."""


def pixel_grid(width: int, height: int) -> Float64[np.ndarray, "h w 2"]:
    """Image coordinates (x, y) of every pixel centre: (0.5, 0.5) is the first."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1)


def unproject(depth: DepthMap, intrinsics: Intrinsics) -> Float[np.ndarray, "h w 3"]:
    """Points in the camera frame for every pixel, in the units of depth; NaN where depth is.

    Source: Hartley and Zisserman, 2nd ed., eq. 6.14 with R = I, t = 0: X = depth * K^-1 (x, y, 1).
    """
    height, width = depth.shape
    x = ((np.arange(width) + 0.5 - intrinsics.cx) / intrinsics.fx).astype(depth.dtype)
    y = ((np.arange(height) + 0.5 - intrinsics.cy) / intrinsics.fy).astype(depth.dtype)
    return np.stack([depth * x[None, :], depth * y[:, None], depth], axis=-1)


def project(points: Float[np.ndarray, "*n 3"], intrinsics: Intrinsics) -> Float[np.ndarray, "*n 2"]:
    """Image coordinates of points in the camera frame; NaN for points that are not in front of the camera."""
    z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
    x = intrinsics.fx * points[..., 0] / z + intrinsics.cx
    y = intrinsics.fy * points[..., 1] / z + intrinsics.cy
    return np.stack([x, y], axis=-1)


def transform(a_from_b: RigidTransform, points_b: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Points of frame b in frame a, in the precision of the points."""
    rotation = a_from_b[:3, :3].astype(points_b.dtype)
    points_a: Float[np.ndarray, "*n 3"] = points_b @ rotation.T + a_from_b[:3, 3].astype(points_b.dtype)
    return points_a


def inverse(a_from_b: Float64[np.ndarray, "*n 4 4"]) -> Float64[np.ndarray, "*n 4 4"]:
    """b_from_a of a rigid transform, without a general matrix inverse."""
    b_from_a = np.zeros_like(a_from_b)
    rotation = np.swapaxes(a_from_b[..., :3, :3], -1, -2)
    b_from_a[..., :3, :3] = rotation
    b_from_a[..., :3, 3] = -(rotation @ a_from_b[..., :3, 3:])[..., 0]
    b_from_a[..., 3, 3] = 1
    return b_from_a


def rigid(rotation: Float[np.ndarray, "3 3"], translation: Float[np.ndarray, "3"]) -> RigidTransform:
    """The 4x4 transform x -> rotation @ x + translation."""
    a_from_b = np.eye(4)
    a_from_b[:3, :3] = rotation
    a_from_b[:3, 3] = translation
    return a_from_b


def triangle_areas(vertices: Float[np.ndarray, "n 3"], triangles: Int[np.ndarray, "m 3"]) -> Float64[np.ndarray, " m"]:
    """Area of each triangle, in squared units of length."""
    a, b, c = (vertices[triangles[:, corner]].astype(np.float64) for corner in range(3))
    areas: Float64[np.ndarray, " m"] = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    return areas


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
