"""Blocks of 8^3 voxels in a hash, and what a view adds to them: compiled by numba.

A block is an entry of the table. Blocks near a surface have a row of voxels as well. Of the others it is known how
free they are, for each eighth of a block. That is not lost when a surface (a mover's, say) appears in them later, which
makes the result depend on the order of frames hardly at all.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Int32, Int64

from recon.compiled import compiled
from recon.stages.surface.views import TILE
from recon.voxels import coordinate_of, fill_slots, key_of, register, slot_of

SIDE = 8
"""Voxels along the edge of a block."""
VOXELS = SIDE**3

_OBLIQUE = 2.0
"""Bands behind the surface along the axis of the camera up to which distances are kept where it is seen obliquely."""
_SURE = 0.25
"""Bands behind the surface from which on weights fall."""
_HALF_DIAGONAL = 0.87
"""Of a block, in its edges."""


class Table(NamedTuple):
    """Blocks in the order in which they were first seen, under an open-addressing hash that is at most half full."""

    slots: Int32[np.ndarray, " s"]
    """Entry of the block that lives here, or -1; a power of two in length."""
    keys: Int64[np.ndarray, " m"]
    """Coordinates of each entry's block, 21 bits each."""
    rows: Int32[np.ndarray, " m"]
    """Row of each entry's voxels, or -1."""
    free: Float32[np.ndarray, "m 8 2"]
    """Sums of weighted distance, and of weights, that hold for all voxels of an eighth of the block."""


class Field(NamedTuple):
    """Voxels of the blocks that have some: the last axis of a block goes along z, the one before along y."""

    distance: Float32[np.ndarray, "n 512 2"]
    """Sums of weighted distance, and of weights."""
    light: Float32[np.ndarray, "n 512 4"]
    """Sums of weighted linear red, green and blue, and of their weights."""


class Kernels(NamedTuple):
    """The functions below, compiled."""

    fill_slots: Callable[..., None]
    allot: Callable[..., tuple[int, int, int]]
    explore: Callable[..., tuple[int, int]]
    sort_out: Callable[..., Int32[np.ndarray, " e"]]
    update: Callable[..., None]
    around: Callable[..., Int32[np.ndarray, "n 27"]]


@cache
def kernels() -> Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only fusion has to spend

    register()
    for part in (_enter, _allot_ray, _allot_tile, _fine_from, _range_at, _judge, _depth_at):
        register_jitable(part)
    register_jitable(_add_color)
    register_jitable(_add_free)
    register_jitable(_update_block)
    return Kernels(*map(compiled, (fill_slots, _allot, _explore, _sort_out, _update, _around)))


# Numba infers the types of the functions below itself.


@no_type_check
def _enter(table, used, x, y, z):  # noqa: ANN001, ANN202
    """The entry of the block at a place, in edges of a block, and how many there are; -1: no room; -2: too far."""
    key = key_of(np.floor(x), np.floor(y), np.floor(z))
    if key < 0:
        return -2, used
    slot = slot_of(table.slots, table.keys, key)
    entry = table.slots[slot]
    if entry >= 0:
        return entry, used
    if used == len(table.keys):
        return -1, used
    table.slots[slot], table.keys[used], table.rows[used] = used, key, -1
    return used, used + 1


@no_type_check
def _allot(table, view, camera, scale, state):  # noqa: ANN001, ANN202
    """Give voxels to the blocks around the points of a view.

    The state is (row of tiles to begin with, entries used, rows of voxels used); the same is returned, at the end with
    the number of all rows of tiles, before that where the table is full; (-1, ..) where a block is too far away.
    """
    start, used, full = state
    rows, columns = view.tiles.shape[1:3]
    for ty in range(start, rows):
        for tx in range(columns):
            status, used, full = _allot_tile(table, view, camera, scale, (ty, tx, used, full))
            if status == -1:
                return ty, used, full
            if status == -2:
                return -1, used, full
    return rows, used, full


@no_type_check
def _allot_tile(table, view, camera, scale, state):  # noqa: ANN001, ANN202
    """One point for each two voxels of the surface at least."""
    ty, tx, used, full = state
    height, width = view.pixels.shape[:2]
    behind = view.tiles[0, ty, tx, 1]
    if behind == 0:
        return 0, used, full
    step = int(min(max(2 * scale.voxel * min(camera.fx, camera.fy) / behind, 1.0), TILE))
    for y in range(ty * TILE, min((ty + 1) * TILE, height), step):
        for x in range(tx * TILE, min((tx + 1) * TILE, width), step):
            if view.pixels[y, x, 0] > 0:
                pixel = view.pixels[y, x]
                status, used, full = _allot_ray(table, pixel, (x, y), camera, scale, (used, full))
                if status < 0:
                    return status, used, full
    return 0, used, full


@no_type_check
def _allot_ray(table, pixel, place, camera, scale, state):  # noqa: ANN001, ANN202
    """Blocks of which `_update_block` changes voxels near the surface, along the ray of one pixel."""
    used, full = state
    u, v = (place[0] + 0.5 - camera.cx) / camera.fx, (place[1] + 0.5 - camera.cy) / camera.fy
    depth = 1 / pixel[0]
    band = max(scale.band, scale.noise * depth) * min(1 / pixel[1], _OBLIQUE)
    edge = SIDE * scale.voxel
    count = int(np.ceil(4 * band * np.sqrt(u * u + v * v + 1) / edge))  # steps of half a block
    turn, offset = camera.rotation, camera.offset
    for i in range(count + 1):
        z = depth + band * (2 * i / count - 1)
        a, b, c = z * u - offset[0], z * v - offset[1], z - offset[2]
        x = (turn[0, 0] * a + turn[1, 0] * b + turn[2, 0] * c) / edge
        y = (turn[0, 1] * a + turn[1, 1] * b + turn[2, 1] * c) / edge
        z = (turn[0, 2] * a + turn[1, 2] * b + turn[2, 2] * c) / edge
        entry, used = _enter(table, used, x, y, z)
        if entry < 0:
            return entry, used, full
        if table.rows[entry] < 0:
            table.rows[entry] = full
            full += 1
    return 0, used, full


@no_type_check
def _fine_from(ty, tx, spacing):  # noqa: ANN001, ANN202
    """Depth from which on a tile's ray is needed: near the camera every 2nd, 4th, 8th ... lies as close as blocks do.

    ``spacing`` is the depth at which the rays of all tiles are one apart.
    """
    both = ty | tx
    while both > 0 and both & 1 == 0:
        both >>= 1
        spacing /= 2
    return spacing if both else 0.0


@no_type_check
def _explore(table, view, camera, scale, state):  # noqa: ANN001, ANN202
    """Enter the blocks in free space. The state is (row of tiles to begin with, entries used), as `_allot`'s."""
    start, used = state
    rows, columns = view.tiles.shape[1:3]
    edge = SIDE * scale.voxel
    spacing = edge * min(camera.fx, camera.fy) / (2 * TILE)
    turn, offset = camera.rotation, camera.offset
    for ty in range(start, rows):
        v = ((ty + 0.5) * TILE - camera.cy) / camera.fy
        for tx in range(columns):
            u = ((tx + 0.5) * TILE - camera.cx) / camera.fx
            depth = _fine_from(ty, tx, spacing)
            while depth < view.tiles[0, ty, tx, 0]:
                a, b, c = depth * u - offset[0], depth * v - offset[1], depth - offset[2]
                x = (turn[0, 0] * a + turn[1, 0] * b + turn[2, 0] * c) / edge
                y = (turn[0, 1] * a + turn[1, 1] * b + turn[2, 1] * c) / edge
                z = (turn[0, 2] * a + turn[1, 2] * b + turn[2, 2] * c) / edge
                entry, used = _enter(table, used, x, y, z)
                if entry < 0:
                    return ty if entry == -1 else -1, used
                depth += edge / 2
    return rows, used


@no_type_check
def _range_at(view, low_x, high_x, low_y, high_y):  # noqa: ANN001, ANN202
    """Depth to which a rectangle of the picture is free, and behind which it says nothing; all in pixels."""
    height, width = view.pixels.shape[:2]
    level, size = 0, TILE
    while max(high_x - low_x, high_y - low_y) > 2 * size and level < len(view.tiles) - 1:
        level, size = level + 1, 2 * size
    free, behind = np.inf, 0.0
    if low_x < 0 or low_y < 0 or high_x >= width or high_y >= height:
        free = 0.0
    for y in range(int(max(low_y, 0) // size), int(min(high_y, height - 1) // size) + 1):
        for x in range(int(max(low_x, 0) // size), int(min(high_x, width - 1) // size) + 1):
            free = min(free, view.tiles[level, y, x, 0])
            behind = max(behind, view.tiles[level, y, x, 1])
    return free, behind


@no_type_check
def _judge(place, view, camera, edge):  # noqa: ANN001, ANN202
    """Whether a cube is out of sight (0), near a surface (1) or in free space (2), and the depth of its middle."""
    x, y, z = place[0] + 0.5, place[1] + 0.5, place[2] + 0.5
    turn, offset = camera.rotation, camera.offset
    c = (turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z) * edge + offset[2]
    radius = _HALF_DIAGONAL * edge
    if c + radius <= 0:
        return 0, c
    if c - radius <= 0:
        return 1, c
    a = (turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z) * edge + offset[0]
    b = (turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z) * edge + offset[1]
    near, far = 1 / (c - radius), 1 / (c + radius)
    low_x, high_x = min((a - radius) * near, (a - radius) * far), max((a + radius) * near, (a + radius) * far)
    low_y, high_y = min((b - radius) * near, (b - radius) * far), max((b + radius) * near, (b + radius) * far)
    free, behind = _range_at(
        view,
        low_x * camera.fx + camera.cx,
        high_x * camera.fx + camera.cx,
        low_y * camera.fy + camera.cy,
        high_y * camera.fy + camera.cy,
    )
    if c - radius > behind:
        return 0, c
    return 2 if c + radius < free else 1, c


@no_type_check
def _sort_out(table, used, view, camera, scale):  # noqa: ANN001, ANN202
    """Add to the blocks in free space what holds for all of their voxels; the others that are seen are returned."""
    seen = np.zeros(used, np.int32)
    count = 0
    for entry in range(used):
        key = table.keys[entry]
        x, y, z = coordinate_of(key, 0), coordinate_of(key, 1), coordinate_of(key, 2)
        verdict, depth = _judge((x, y, z), view, camera, SIDE * scale.voxel)
        if verdict == 2:
            for eighth in range(8):
                _add_free(table.free[entry, eighth], depth, scale)
        elif verdict == 1 and table.rows[entry] >= 0:
            seen[count] = entry
            count += 1
        elif verdict == 1:
            for eighth in range(8):
                place = (2 * x + (eighth >> 2), 2 * y + ((eighth >> 1) & 1), 2 * z + (eighth & 1))
                part, depth = _judge(place, view, camera, SIDE // 2 * scale.voxel)
                if part == 2:
                    _add_free(table.free[entry, eighth], depth, scale)
    return seen[:count]


@no_type_check
def _add_free(free, depth, scale):  # noqa: ANN001, ANN202
    """What a view says of a place before the band; the depth is that of the place."""
    weight = 1 / (depth * depth)
    free[0] += weight * max(scale.band, scale.noise * depth)
    free[1] += weight


@no_type_check
def _update(field, table, entries, view, camera, scale, steps, linear):  # noqa: ANN001, ANN202, PLR0913, PLR0917
    """Add a view to the voxels of blocks; ``steps`` are the places of voxels in a block, in the camera's axes."""
    turn, offset, edge = camera.rotation, camera.offset, SIDE * scale.voxel
    for n in range(len(entries)):
        key, row = table.keys[entries[n]], table.rows[entries[n]]
        x, y, z = coordinate_of(key, 0) * edge, coordinate_of(key, 1) * edge, coordinate_of(key, 2) * edge
        a = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z + offset[0]
        b = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z + offset[1]
        c = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z + offset[2]
        _update_block(field.distance[row], field.light[row], (a, b, c), view, camera, scale, steps, linear)


@no_type_check
def _update_block(distance, light, corner, view, camera, scale, steps, linear):  # noqa: ANN001, ANN202, C901, PLR0913, PLR0917 - where all the time goes
    """Distances are perpendicular to the surface; what is before the band is free, of what is behind nothing is known.

    Weights: 1 / depth^2, as the error of depth is proportional to it; near the surface also what the pixel is trusted.
    Behind a surface they fall to nothing, as what is thin may end there, or be seen from aside; the less, the flatter
    it is seen: its depth is noisy across many voxels then, and those behind it would count for less.
    """
    height, width = view.pixels.shape[:2]
    for i in range(VOXELS):
        z = corner[2] + steps[i, 2]
        if z < scale.voxel:
            continue
        near = 1 / z
        u = camera.fx * (corner[0] + steps[i, 0]) * near + camera.cx
        v = camera.fy * (corner[1] + steps[i, 1]) * near + camera.cy
        if not (0 <= u < width and 0 <= v < height):
            continue
        pixel = view.pixels[np.uint32(v), np.uint32(u)]
        if pixel[0] == 0:
            continue
        depth = 1 / pixel[0]
        band = max(scale.band, scale.noise * depth)
        if depth - z < -3 * band:
            continue
        if pixel[1] * (depth - z) < 2 * band:
            depth = _depth_at(view, u, v, depth)
        away = pixel[1] * (depth - z)
        if away > band:
            _add_free(distance[i], z, scale)
        elif away >= -band and depth - z >= -_OBLIQUE * band:
            doubt = 1 - (band + away) / band / (1 - _SURE)
            weight = near * near * pixel[2] * (1 - max(doubt, 0.0) * min(pixel[1], 1.0))
            distance[i, 0] += weight * away
            distance[i, 1] += weight
            color = view.colors[np.uint32(v), np.uint32(u)]
            _add_color(light, i, weight * (1 - abs(away) / band) ** 2, color, linear)


@no_type_check
def _add_color(light, i, weight, color, linear):  # noqa: ANN001, ANN202
    light[i, 0] += weight * linear[color[0]]
    light[i, 1] += weight * linear[color[1]]
    light[i, 2] += weight * linear[color[2]]
    light[i, 3] += weight


@no_type_check
def _depth_at(view, u, v, nearest):  # noqa: ANN001, ANN202
    """Depth at image coordinates: between the four nearest pixels if they show one surface, else the nearest."""
    height, width = view.pixels.shape[:2]
    x, y = np.uint32(min(max(u - 0.5, 0), width - 2)), np.uint32(min(max(v - 0.5, 0), height - 2))
    if view.pixels[y, x, 3] == 0:
        return nearest
    s, t = u - 0.5 - x, v - 0.5 - y
    right, below = x + np.uint32(1), y + np.uint32(1)
    upper = view.pixels[y, x, 0] * (1 - s) + view.pixels[y, right, 0] * s
    lower = view.pixels[below, x, 0] * (1 - s) + view.pixels[below, right, 0] * s
    return 1 / (upper * (1 - t) + lower * t)


@no_type_check
def _around(table, used, full):  # noqa: ANN001, ANN202
    """For each row of voxels the entries of the 27 blocks around and of its own (the middle one), or -1."""
    around = np.full((full, 27), -1, np.int32)
    for entry in range(used):
        if table.rows[entry] < 0:
            continue
        key = table.keys[entry]
        for n in range(27):
            x, y, z = n // 9 - 1, n // 3 % 3 - 1, n % 3 - 1
            other = key_of(coordinate_of(key, 0) + x, coordinate_of(key, 1) + y, coordinate_of(key, 2) + z)
            around[table.rows[entry], n] = table.slots[slot_of(table.slots, table.keys, other)] if other >= 0 else -1
    return around


__all__ = ["SIDE", "VOXELS", "Field", "Kernels", "Table", "kernels"]
