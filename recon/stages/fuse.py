"""Many pictures become one cloud: a weighted mean for each voxel, in memory that grows with the scene alone."""

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt8, UInt32

from recon.compiled import compiled
from recon.errors import ReconError
from recon.geometry import transform, unproject
from recon.light import linear_from_srgb, srgb_from_linear
from recon.types import DepthMap, Intrinsics, PointCloud, PosedFrame
from recon.voxels import REACH, cells_of, fill_slots, key_of, register, slot_of

_FIRST_ROWS = 1 << 16


class View(NamedTuple):
    """Coloured points with normals and weights, in world coordinates."""

    points: Float32[np.ndarray, "n 3"]
    colors: UInt8[np.ndarray, "n 3"]
    normals: Float32[np.ndarray, "n 3"]
    weights: Float32[np.ndarray, " n"]


class _Grid(NamedTuple):
    """An open-addressing hash of voxels, at most half full, over rows in the order in which voxels were first seen."""

    slots: Int32[np.ndarray, " s"]
    """Row of the voxel that lives here, or -1; a power of two in length."""
    keys: Int64[np.ndarray, " m"]
    """Coordinates of each row's voxel, 21 bits each."""
    sums: Float32[np.ndarray, "m 10"]
    """Weighted sums: offset from the voxel's centre in voxels, linear colour, normal; and the sum of weights."""
    counts: UInt32[np.ndarray, " m"]


class CloudFuser:
    """Averages points into voxels as they come.

    Position, colour and normal of a voxel are the weighted means over its points. Colour is averaged as light (linear),
    as a camera's own pixels and every good image resizer do, and returned as sRGB. The order of the points does not
    matter, up to float32 rounding. About 60 bytes for each occupied voxel, twice that while the table grows.
    """

    def __init__(self, voxel_size: float) -> None:
        if not (np.isfinite(voxel_size) and voxel_size > 0):
            raise ValueError(f"a voxel has a positive size, got {voxel_size}")
        self._size = float(voxel_size)
        self._used = 0
        self._grid = _resized(_empty_grid(0), 0, _FIRST_ROWS)

    def __len__(self) -> int:
        """Occupied voxels."""
        return self._used

    def add(
        self,
        points: Float32[np.ndarray, "n 3"],
        colors: UInt8[np.ndarray, "n 3"],
        normals: Float32[np.ndarray, "n 3"],
        weights: Float32[np.ndarray, " n"],
    ) -> None:
        """Add points: finite world positions, sRGB, unit normals (zero where unknown) and positive weights.

        Raises:
            ReconError: a point lies more than 2^20 voxels from the origin along an axis.
        """
        _check(points, colors, normals, weights)
        view = View(points, linear_from_srgb(colors), normals, weights)
        start = 0
        while True:
            start, self._used = _kernels()[0](self._grid, self._used, view, start, self._size)
            if start == len(points):
                return
            if self._used < len(self._grid.keys):
                raise self._too_far(points)
            self._grid = _resized(self._grid, self._used, 2 * self._used)

    def cloud(self, *, min_count: int = 1) -> PointCloud:
        """One point for each voxel in which at least ``min_count`` points fell, in the order of first sight."""
        kept = np.flatnonzero(self._grid.counts[: self._used] >= min_count)
        shape = (len(kept), 3)
        points, colors, normals = np.zeros(shape, np.float32), np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
        for start in range(0, len(kept), _FIRST_ROWS):  # in parts: float64 temporaries of all would double the memory
            part = slice(start, start + _FIRST_ROWS)
            points[part], colors[part], normals[part] = self._means(kept[part])
        return PointCloud(points, colors, normals)

    def _means(self, rows: Int64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sums = self._grid.sums[rows]
        means = sums[:, :6] / sums[:, 9:]
        positions = (cells_of(self._grid.keys[rows]) + (means[:, :3] + 0.5)) * self._size
        return positions, srgb_from_linear(means[:, 3:]), _unit(sums[:, 6:9])

    def _too_far(self, points: Float32[np.ndarray, "n 3"]) -> ReconError:
        extent = float(np.abs(points).max())
        return ReconError(
            f"points lie up to {extent:g} from the origin, which is too far for voxels of {self._size:g} "
            f"(at most {REACH} voxels, {REACH * self._size:g}): choose larger voxels or a nearer depth limit"
        )


def fuse(frames: Iterable[PosedFrame], voxel_size: float, *, min_count: int = 1) -> PointCloud:
    """One cloud from the frames of one segment.

    Raises:
        ValueError: the frames belong to several segments, which share no world.
        ReconError: the scene is too large for the voxels.
    """
    fuser = CloudFuser(voxel_size)
    segments = set[int]()
    for frame in frames:
        segments.add(frame.segment)
        if len(segments) > 1:
            raise ValueError(f"segments {sorted(segments)} share no world: fuse them apart")
        fuser.add(*view_of(frame))
    return fuser.cloud(min_count=min_count)


def view_of(frame: PosedFrame) -> View:
    """The known pixels of a frame as points of the world, weighted by 1 / depth^2.

    The error of a network's depth is roughly proportional to depth, so this is the inverse variance; it is also the
    density of pixels on a surface that faces the camera, so that near views outweigh far ones.
    """
    known = np.flatnonzero(np.isfinite(frame.depth))
    depth = frame.depth.ravel()[known]
    points = unproject(frame.depth, frame.intrinsics).reshape(-1, 3)[known]
    normals = normals_from_depth(frame.depth, frame.intrinsics).reshape(-1, 3)[known]
    rotation = frame.world_from_camera[:3, :3].astype(np.float32)
    colors = frame.frame.rgb.reshape(-1, 3)[known]
    return View(transform(frame.world_from_camera, points), colors, normals @ rotation.T, 1 / (depth * depth))


def normals_from_depth(depth: DepthMap, intrinsics: Intrinsics) -> Float32[np.ndarray, "h w 3"]:
    """Unit normals in the camera frame that face the camera; zero where unknown.

    On the plane n.X = 1, with X = z (u, v, 1) and u = (x - cx) / fx, inverse depth is 1/z = n.(u, v, 1): its slopes are
    n_x and n_y and what remains is n_z. So central differences of inverse depth are exact on planes, and -n, for which
    -n.X < 0, faces the camera by itself. Next to unknown pixels the difference is one-sided.
    """
    inverse = 1 / depth
    height, width = depth.shape
    u = ((np.arange(width) + 0.5 - intrinsics.cx) / intrinsics.fx).astype(np.float32)
    v = ((np.arange(height) + 0.5 - intrinsics.cy) / intrinsics.fy).astype(np.float32)
    x = _slope(inverse) * np.float32(intrinsics.fx)
    y = _slope(inverse.T).T * np.float32(intrinsics.fy)
    return _unit(-np.stack([x, y, inverse - x * u - y * v[:, None]], axis=-1))


def _slope(values: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Difference along rows for each pixel: central, or one-sided beside NaN; NaN where there is no neighbour."""
    left = np.full_like(values, np.nan)
    right = np.full_like(values, np.nan)
    left[:, 1:] = right[:, :-1] = values[:, 1:] - values[:, :-1]
    return (np.where(np.isnan(left), right, left) + np.where(np.isnan(right), left, right)) / 2


def _unit(vectors: Float32[np.ndarray, "*n 3"]) -> Float32[np.ndarray, "*n 3"]:
    """Vectors at length one; zero for those that are NaN or zero."""
    length = np.sqrt(np.square(vectors).sum(axis=-1))
    known = length > 0
    units: Float32[np.ndarray, "*n 3"] = vectors / np.where(known, length, 1)[..., None]
    units[~known] = 0
    return units


def _check(points: np.ndarray, colors: np.ndarray, normals: np.ndarray, weights: np.ndarray) -> None:
    if not (points.shape == colors.shape == normals.shape == (len(weights), 3)):
        raise ValueError(f"points {points.shape}, colors {colors.shape} and normals {normals.shape} must be (n, 3)")
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("weights must be finite and positive")


def _empty_grid(rows: int) -> _Grid:
    slots = np.full(2 * rows, -1, np.int32)
    return _Grid(slots, np.zeros(rows, np.int64), np.zeros((rows, 10), np.float32), np.zeros(rows, np.uint32))


def _resized(grid: _Grid, used: int, rows: int) -> _Grid:
    """The same voxels in a table with room for ``rows``."""
    larger = _empty_grid(rows)
    larger.keys[:used] = grid.keys[:used]
    larger.sums[:used] = grid.sums[:used]
    larger.counts[:used] = grid.counts[:used]
    _kernels()[1](larger.slots, larger.keys, used)
    return larger


@cache
def _kernels() -> tuple[Callable[..., tuple[int, int]], Callable[..., None]]:
    """`_add` and `fill_slots`, compiled; numba is imported at the first use."""
    register()
    return compiled(_add), compiled(fill_slots)


# Numba infers the types of the function below itself.


@no_type_check
def _add(grid, used, view, start, size):  # noqa: ANN001, ANN202
    """Add points from ``start`` on, until all are in, the rows are full or one is too far: (points done, rows used)."""
    slots, keys, sums, counts = grid
    points, colors, normals, weights = view
    for i in range(start, len(points)):
        x, y, z = points[i, 0] / size, points[i, 1] / size, points[i, 2] / size
        ix, iy, iz = np.floor(x), np.floor(y), np.floor(z)
        key = key_of(ix, iy, iz)
        if key < 0:
            return i, used
        slot = slot_of(slots, keys, key)
        row = slots[slot]
        if row < 0:
            if used == len(keys):
                return i, used
            row = used
            slots[slot], keys[row] = row, key
            used += 1
        weight = weights[i]
        sums[row, 0] += weight * (x - ix - 0.5)
        sums[row, 1] += weight * (y - iy - 0.5)
        sums[row, 2] += weight * (z - iz - 0.5)
        for c in range(3):
            sums[row, 3 + c] += weight * colors[i, c]
            sums[row, 6 + c] += weight * normals[i, c]
        sums[row, 9] += weight
        counts[row] += 1
    return len(points), used


__all__ = [
    "CloudFuser",
    "View",
    "fuse",
    "normals_from_depth",
    "view_of",
]
