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

FOOTPRINTS = 1.5
"""Pixels at the median depth that one voxel is wide (see `auto_voxel`)."""

FINEST = 0.005
"""Voxel in median depths below which there is only noise (see `auto_voxel`)."""

_REACH = 1 << 20
"""Voxels from the origin to the border, along each axis: three coordinates of 21 bits are one key of 63."""
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
        positions = (_unpacked(self._grid.keys[rows]) + (means[:, :3] + 0.5)) * self._size
        return positions, srgb_from_linear(means[:, 3:]), _unit(sums[:, 6:9])

    def _too_far(self, points: Float32[np.ndarray, "n 3"]) -> ReconError:
        extent = float(np.abs(points).max())
        return ReconError(
            f"points lie up to {extent:g} from the origin, which is too far for voxels of {self._size:g} "
            f"(at most {_REACH} voxels, {_REACH * self._size:g}): choose larger voxels or a nearer depth limit"
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


def auto_voxel(median_depth: float, intrinsics: Intrinsics) -> float:
    """A voxel that suits the pictures: one and a half pixels wide on a surface at the median depth that faces us.

    Finer voxels would hold single pixels and so average nothing; coarser ones would lose what the pictures show. It is
    never finer than half a per cent of the median depth: depth of a network is not repeatable to that (2 to 10 per cent
    on the real scenes of the README), and every layer of its noise would fill voxels of its own.
    """
    pixels_wide = FOOTPRINTS / max(intrinsics.fx, intrinsics.fy)
    return median_depth * max(pixels_wide, FINEST)


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
    _kernels()[1](larger, used)
    return larger


def _unpacked(keys: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, "n 3"]:
    """Voxel coordinates of keys."""
    mask = 2 * _REACH - 1
    voxels: Int64[np.ndarray, "n 3"] = np.stack([keys >> 42, (keys >> 21) & mask, keys & mask], axis=-1) - _REACH
    return voxels


@cache
def _kernels() -> tuple[Callable[..., tuple[int, int]], Callable[..., None]]:
    """`_add` and `_index`, compiled; numba is imported at the first use."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only fusion has to spend

    register_jitable(_find)
    return compiled(_add), compiled(_index)


# The three functions below are compiled by numba, which infers their types itself.


@no_type_check
def _find(slots, keys, key):  # noqa: ANN001, ANN202
    """The slot in which a key lives, or the free one where it would (Fibonacci hashing, linear probing)."""
    mask = len(slots) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@no_type_check
def _index(grid, used):  # noqa: ANN001, ANN202
    """Fill the slots of a new table."""
    for row in range(used):
        grid.slots[_find(grid.slots, grid.keys, grid.keys[row])] = row


@no_type_check
def _add(grid, used, view, start, size):  # noqa: ANN001, ANN202
    """Add points from ``start`` on, until all are in, the rows are full or one is too far: (points done, rows used)."""
    slots, keys, sums, counts = grid
    points, colors, normals, weights = view
    for i in range(start, len(points)):
        x, y, z = points[i, 0] / size, points[i, 1] / size, points[i, 2] / size
        ix, iy, iz = np.floor(x), np.floor(y), np.floor(z)
        if min(ix, iy, iz) < -_REACH or max(ix, iy, iz) >= _REACH:
            return i, used
        key = (np.int64(ix) + _REACH) << 42 | (np.int64(iy) + _REACH) << 21 | (np.int64(iz) + _REACH)
        slot = _find(slots, keys, key)
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
    "auto_voxel",
    "fuse",
    "normals_from_depth",
    "view_of",
]
