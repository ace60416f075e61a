"""Many pictures become one surface: a truncated signed distance volume, and what is done to meshes afterwards.

Sources: Curless and Levoy, A volumetric method for building complex models from range images, SIGGRAPH 1996 (weighted
mean of truncated distances, empty space); Niessner et al., Real-time 3D reconstruction at scale using voxel hashing,
ACM Transactions on Graphics 32(6), 2013 (blocks of 8^3 voxels in a hash); Gibson, Constrained elastic surface nets,
MICCAI 1998 (one vertex for each cell that the surface crosses).
"""

from recon.stages.surface.parts import filled, without_small_parts
from recon.stages.surface.poisson import OPEN3D, octree_depth, poisson
from recon.stages.surface.sheet import depth_mesh
from recon.stages.surface.simpler import FAST_SIMPLIFICATION, lods, simplified
from recon.stages.surface.volume import MOST_BYTES, SurfaceFuser, fitting_voxel, surface

__all__ = [
    "FAST_SIMPLIFICATION",
    "MOST_BYTES",
    "OPEN3D",
    "SurfaceFuser",
    "depth_mesh",
    "filled",
    "fitting_voxel",
    "lods",
    "octree_depth",
    "poisson",
    "simplified",
    "surface",
    "without_small_parts",
]
