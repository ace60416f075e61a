"""A closed surface from points with normals."""

from typing import Final

import numpy as np

from recon.errors import ReconError
from recon.optional import Package
from recon.types import Mesh, PointCloud

OPEN3D: Final = Package(
    "open3d", "Poisson surfaces need", "mesh", "on Linux also: apt-get install libgl1 libegl1 libusb-1.0-0"
)
TRIMMED = 0.05
"""Share of the vertices, those around which points are rarest, that is left out."""


def octree_depth(cloud: PointCloud, cell: float) -> int:
    """The depth at which the finest cells are about so large, from 5 to 11: finer trees take more than 10 GB."""
    extent = float(np.ptp(cloud.points, axis=0).max()) if len(cloud) else 0.0
    return int(np.clip(np.rint(np.log2(max(extent, cell) / cell)), 5, 11))


def poisson(cloud: PointCloud, depth: int = 9, *, trimmed: float = TRIMMED) -> Mesh:
    """Screened Poisson reconstruction (Kazhdan and Hoppe, ACM Transactions on Graphics 32(3), 2013), by Open3D.

    Args:
        cloud: points without a normal are left out.
        depth: of the octree: its finest cells are 2^-depth of the extent.
        trimmed: share of the vertices that is cut off, where points are rarest: the method closes every hole.

    Raises:
        MissingPackageError: Open3D is not installed, or lacks libraries of the system.
        ReconError: fewer than four points have a normal.
        ValueError: a depth or share that makes no sense.
    """
    if not (1 <= depth <= 16 and 0 <= trimmed < 1):
        raise ValueError(f"depth must be 1 to 16 and the trimmed share within [0, 1), got {depth} and {trimmed}")
    open3d = OPEN3D.module()
    known = (cloud.normals != 0).any(axis=1)
    if known.sum() < 4:
        raise ReconError(f"{known.sum()} of {len(cloud)} points have a normal: too few for a surface")
    points = open3d.geometry.PointCloud()
    points.points = open3d.utility.Vector3dVector(cloud.points[known].astype(np.float64))
    points.normals = open3d.utility.Vector3dVector(cloud.normals[known].astype(np.float64))
    points.colors = open3d.utility.Vector3dVector(cloud.colors[known] / 255)
    # One thread: the order of sums, and with it the mesh, is then the same each time.
    made, density = open3d.geometry.TriangleMesh.create_from_point_cloud_poisson(points, depth=depth, n_threads=1)
    rarity = np.asarray(density, np.float64)
    made.remove_vertices_by_mask((rarity < np.quantile(rarity, trimmed)).tolist())
    made.compute_vertex_normals()
    return Mesh(
        np.asarray(made.vertices).astype(np.float32),
        np.asarray(made.triangles).astype(np.int32),
        np.clip(np.rint(np.asarray(made.vertex_colors) * 255), 0, 255).astype(np.uint8),
        np.asarray(made.vertex_normals).astype(np.float32),
    )


__all__ = ["OPEN3D", "TRIMMED", "octree_depth", "poisson"]
