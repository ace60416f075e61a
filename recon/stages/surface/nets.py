"""Surface nets (Gibson 1998): the surface where the distance is zero, one vertex for each cell, compiled by numba.

A cell is the cube between the middles of eight voxels; it belongs to the block of its lowest voxel. Its vertex is the
mean of the points where the edges of the cube cross the surface, which is exact on planes. Each edge of the grid that
crosses the surface joins the vertices of the four cells around it to a quad. Only cells of which all corners were seen
take part, so what was not seen stays open.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int32

from recon.compiled import compiled
from recon.geometry import vertex_normals
from recon.light import srgb_from_linear
from recon.stages.surface.blocks import SIDE, VOXELS, Field, Table
from recon.types import Mesh

_PADDED = SIDE + 1
_BATCH = 1 << 16
"""Vertices whose colours are converted at once: float64 temporaries of all would be large."""


class Volume(NamedTuple):
    """All that is known, ready to be read."""

    table: Table
    field: Field
    blocks: Int32[np.ndarray, " n"]
    """Entry of each row of voxels."""
    around: Int32[np.ndarray, "n 27"]
    """Entries of the blocks around each row's, or -1."""
    least: float
    """Weight above which a voxel counts as seen."""
    voxel: float


class Nets(NamedTuple):
    """Vertices, before light becomes sRGB."""

    vertices: Float32[np.ndarray, "v 3"]
    light: Float32[np.ndarray, "v 3"]


def mesh_of(volume: Volume) -> Mesh:
    """The surface, without vertices of which no triangle is made."""
    mark, place, join = _kernels()
    cells = np.full((len(volume.blocks), VOXELS), -1, np.int32)
    count = mark(volume, cells)
    nets = Nets(*(np.zeros((count, 3), np.float32) for _ in Nets._fields))
    place(volume, cells, nets)
    triangles = np.zeros((6 * count, 3), np.int32)  # at most three quads for each cell; pages unused are never touched
    triangles = triangles[: join(volume, cells, nets.vertices, triangles)]
    used = np.zeros(count, bool)
    used[triangles.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    vertices, triangles = nets.vertices[used], number[triangles]
    # Smoother than the gradient of the distance: on a ball it is 0.9 degrees off, the gradient 1.4 (medians).
    return Mesh(vertices, triangles, _colors(nets.light[used]), vertex_normals(vertices, triangles))


def _colors(light: Float32[np.ndarray, "n 3"]) -> np.ndarray:
    colors = np.zeros(light.shape, np.uint8)
    for start in range(0, len(light), _BATCH):
        colors[start : start + _BATCH] = srgb_from_linear(light[start : start + _BATCH])
    return colors


@cache
def _kernels() -> tuple[Callable[..., int], Callable[..., None], Callable[..., int]]:
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only fusion has to spend

    for part in (_block_of, _load, _corners, _cross, _tint, _cell_at, _set, _join_edge):
        register_jitable(part)
    return compiled(_mark), compiled(_place), compiled(_join)


# Numba infers the types of the functions below itself.


@no_type_check
def _block_of(volume, row, x, y, z):  # noqa: ANN001, ANN202
    """Entry of the block in which a voxel lies, counted from the lowest voxel of a row, and its number in there."""
    entry = volume.around[row, ((x >> 3) + 1) * 9 + ((y >> 3) + 1) * 3 + (z >> 3) + 1]
    return entry, (x & 7) * SIDE * SIDE + (y & 7) * SIDE + (z & 7)


@no_type_check
def _load(volume, row, values):  # noqa: ANN001, ANN202
    """Distances of the 9^3 voxels that cells of a block need; NaN where not seen."""
    for x in range(_PADDED):
        for y in range(_PADDED):
            for z in range(_PADDED):
                values[x, y, z] = np.nan
                entry, i = _block_of(volume, row, x, y, z)
                if entry < 0:
                    continue
                free = volume.table.free[entry, ((x >> 2) & 1) * 4 + ((y >> 2) & 1) * 2 + ((z >> 2) & 1)]
                total, weight = free[0], free[1]
                if volume.table.rows[entry] >= 0:
                    total += volume.field.distance[volume.table.rows[entry], i, 0]
                    weight += volume.field.distance[volume.table.rows[entry], i, 1]
                if weight > volume.least:
                    values[x, y, z] = total / weight


@no_type_check
def _corners(values, x, y, z, corner):  # noqa: ANN001, ANN202
    """Distances at the corners of a cell (bit 0 is x, bit 1 y, bit 2 z), and whether the surface crosses it."""
    inside = 0
    for c in range(8):
        corner[c] = values[x + (c & 1), y + ((c >> 1) & 1), z + (c >> 2)]
        if np.isnan(corner[c]):
            return False
        inside += corner[c] < 0
    return inside > 0 and inside < 8


@no_type_check
def _mark(volume, cells):  # noqa: ANN001, ANN202
    """Number the cells that the surface crosses."""
    values, corner = np.zeros((_PADDED, _PADDED, _PADDED)), np.zeros(8)
    count = 0
    for row in range(len(cells)):
        _load(volume, row, values)
        for i in range(VOXELS):
            if _corners(values, i >> 6, (i >> 3) & 7, i & 7, corner):
                cells[row, i] = count
                count += 1
    return count


@no_type_check
def _place(volume, cells, nets):  # noqa: ANN001, ANN202
    """Positions and light of the vertices."""
    values, corner, at = np.zeros((_PADDED, _PADDED, _PADDED)), np.zeros(8), np.zeros(3)
    for row in range(len(cells)):
        key = volume.table.keys[volume.blocks[row]]
        _load(volume, row, values)
        for i in range(VOXELS):
            vertex = cells[row, i]
            if vertex < 0:
                continue
            x, y, z = i >> 6, (i >> 3) & 7, i & 7
            _corners(values, x, y, z, corner)
            _cross(corner, at)
            _tint(volume, row, (x, y, z), at, nets.light[vertex])
            for axis in range(3):
                block = ((key >> (42 - 21 * axis)) & 0x1FFFFF) - 0x100000
                inner = (i >> (6 - 3 * axis)) & 7
                nets.vertices[vertex, axis] = (block * SIDE + inner + 0.5 + at[axis]) * volume.voxel


@no_type_check
def _cross(corner, at):  # noqa: ANN001, ANN202
    """The mean of the crossings of a cell's edges, from its lowest corner, in voxels."""
    at[:] = 0.0
    count = 0
    for c in range(8):
        for axis in range(3):
            other = c | (1 << axis)
            if other == c or (corner[c] < 0) == (corner[other] < 0):
                continue
            count += 1
            for a in range(3):
                at[a] += (c >> a) & 1
            at[axis] += corner[c] / (corner[c] - corner[other])
    for a in range(3):
        at[a] /= count


@no_type_check
def _tint(volume, row, place, at, light):  # noqa: ANN001, ANN202
    """The mean light of the corners, weighted by how near they are and by what is known of them."""
    total = 0.0
    for c in range(8):
        entry, i = _block_of(volume, row, place[0] + (c & 1), place[1] + ((c >> 1) & 1), place[2] + (c >> 2))
        source = volume.table.rows[entry]
        if source < 0:
            continue
        near = 1e-6  # crossings may lie in a corner: the others count where that one has no colour
        near += (at[0] if c & 1 else 1 - at[0]) * (at[1] if c & 2 else 1 - at[1]) * (at[2] if c & 4 else 1 - at[2])
        total += near * volume.field.light[source, i, 3]
        for channel in range(3):
            light[channel] += near * volume.field.light[source, i, channel]
    for channel in range(3):
        light[channel] = light[channel] / total if total > 0 else 0.0


@no_type_check
def _join(volume, cells, vertices, triangles):  # noqa: ANN001, ANN202
    """Write the triangles; how many there are."""
    values, quad = np.zeros((_PADDED, _PADDED, _PADDED)), np.zeros(4, np.int64)
    count = 0
    for row in range(len(cells)):
        _load(volume, row, values)
        for i in range(VOXELS):
            if cells[row, i] < 0:
                continue
            place = (i >> 6, (i >> 3) & 7, i & 7)
            for axis in range(3):
                count = _join_edge(volume, cells, vertices, triangles, (row, axis, count), (values, place, quad))
    return count


@no_type_check
def _cell_at(volume, cells, row, place, axis, back):  # noqa: ANN001, ANN202
    """Vertex of the cell that lies so many steps back along the two axes after ``axis``, or -1."""
    second, third = (axis + 1) % 3, (axis + 2) % 3
    x = place[0] - (back[0] if second == 0 else 0) - (back[1] if third == 0 else 0)
    y = place[1] - (back[0] if second == 1 else 0) - (back[1] if third == 1 else 0)
    z = place[2] - (back[0] if second == 2 else 0) - (back[1] if third == 2 else 0)
    entry, i = _block_of(volume, row, x, y, z)
    if entry < 0 or volume.table.rows[entry] < 0:
        return -1
    return cells[volume.table.rows[entry], i]


@no_type_check
def _join_edge(volume, cells, vertices, triangles, state, cell):  # noqa: ANN001, ANN202
    """The quad around the edge from a cell's lowest voxel along an axis, cut along its shorter diagonal."""
    row, axis, count = state
    values, place, quad = cell
    x, y, z = place
    low, high = values[x, y, z], values[x + (axis == 0), y + (axis == 1), z + (axis == 2)]
    if (low < 0) == (high < 0):
        return count
    # Counter-clockwise for who looks against the axis: from there, the second axis is to the right, the third up.
    quad[0] = _cell_at(volume, cells, row, place, axis, (1, 1))
    quad[1] = _cell_at(volume, cells, row, place, axis, (0, 1))
    quad[2] = _cell_at(volume, cells, row, place, axis, (0, 0))
    quad[3] = _cell_at(volume, cells, row, place, axis, (1, 0))
    if min(quad[0], quad[1], quad[2], quad[3]) < 0:
        return count
    if high < 0:
        quad[1], quad[3] = quad[3], quad[1]
    even = odd = 0.0
    for a in range(3):
        even += (vertices[quad[0], a] - vertices[quad[2], a]) ** 2
        odd += (vertices[quad[1], a] - vertices[quad[3], a]) ** 2
    first = 0 if even <= odd else 1
    _set(triangles, count, quad[first], quad[first + 1], quad[first + 2])
    _set(triangles, count + 1, quad[first], quad[first + 2], quad[(first + 3) % 4])
    return count + 2


@no_type_check
def _set(triangles, count, a, b, c):  # noqa: ANN001, ANN202
    triangles[count, 0] = a
    triangles[count, 1] = b
    triangles[count, 2] = c


__all__ = ["Volume", "mesh_of"]
