"""What a picture with depth says of the space before and behind it, pixel by pixel and tile by tile."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from recon.compiled import compiled
from recon.geometry import inverse
from recon.types import PosedFrame

TILE = 8
"""Pixels along the edge of the smallest tile."""

_LEVELS = 7
_GRAZING = 0.1
"""Cosine of the angle of incidence from which on surfaces count as seen no flatter."""
_JUMP = 0.02
"""Difference of depth between neighbouring pixels of one surface, relative to the depth ..."""
_STEEPEST = 6.0
"""... or as much as a surface so steep makes (tangent of the angle of incidence): 80 degrees."""
_REACH = 1 / 213
"""Pixels over which slopes are measured, in widths of the picture: 3 of 640, as depth sensors are noisy."""


class Camera(NamedTuple):
    """Where the pixels of a picture lie."""

    fx: float
    fy: float
    cx: float
    cy: float
    rotation: Float64[np.ndarray, "3 3"]
    """Of camera_from_world."""
    offset: Float64[np.ndarray, "3"]
    """Of camera_from_world."""


class Scale(NamedTuple):
    """Lengths of the volume."""

    voxel: float
    band: float
    """Least distance from the surface at which distances are cut off."""
    noise: float
    """The same as a share of depth: the greater one counts."""


class View(NamedTuple):
    """A picture, prepared."""

    pixels: Float32[np.ndarray, "h w 4"]
    """Of each pixel, side by side in memory, as they are read together:

    0. inverse depth, 0 where unknown: linear in image coordinates on planes;
    1. facing: distance from the surface for each unit of depth before it, which makes distances perpendicular;
    2. trust: confidence times the cosine of the angle of incidence;
    3. whole: 1 where this pixel and its neighbours to the right, below and in between show one surface.
    """
    colors: UInt8[np.ndarray, "h w 3"]
    tiles: Float32[np.ndarray, "l th tw 2"]
    """For tiles of 8, 16, 32 ... pixels: depth to which all of it is free (0 where something is unknown), and depth
    behind which nothing is said."""


def camera_of(frame: PosedFrame) -> Camera:
    """The camera of a frame."""
    camera_from_world = inverse(frame.world_from_camera)
    lens = frame.intrinsics
    rotation, offset = camera_from_world[:3, :3].copy(), camera_from_world[:3, 3].copy()
    return Camera(lens.fx, lens.fy, lens.cx, lens.cy, rotation, offset)


def view_of(frame: PosedFrame, camera: Camera, confidence: Float32[np.ndarray, "h w"] | None, scale: Scale) -> View:
    """What a frame says; pixels without confidence say nothing."""
    depth = frame.depth
    if confidence is not None:
        depth = np.where(confidence > 0, depth, np.float32(np.nan))
    reach = max(1, round(depth.shape[1] * _REACH))
    jump = max(_JUMP, _STEEPEST / max(camera.fx, camera.fy))
    seen, tiled = _kernels()
    pixels = seen(np.array(depth), camera, reach, jump)
    if confidence is not None:
        pixels[..., 2] *= confidence
    return View(pixels, np.array(frame.frame.rgb), tiled(pixels, scale, _LEVELS))


@cache
def _kernels() -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only fusion has to spend

    for part in (_slope, _is_whole, _add_tile):
        register_jitable(part)
    return compiled(_seen), compiled(_tiled)


# Numba infers the types of the functions below itself.


@no_type_check
def _seen(depth, camera, reach, jump):  # noqa: ANN001, ANN202, C901 - one pass over the pixels
    """`View.pixels`, without confidence.

    On the plane n.X = 1, with X = z r and r = (u, v, 1), inverse depth is 1/z = n.r, so that its slopes are n. The
    point at depth z' on the same ray is (n.z' r - 1) / |n| = (z' - z) (1/z) / |n| behind the plane.
    """
    height, width = depth.shape
    pixels = np.zeros((height, width, 4), np.float32)
    inverse = np.zeros((height, width), np.float32)
    for y in range(height):
        for x in range(width):
            if depth[y, x] > 0 and depth[y, x] < np.inf:
                inverse[y, x] = 1 / depth[y, x]
    limit = jump * reach
    for y in range(height):
        v = (y + 0.5 - camera.cy) / camera.fy
        up, down = max(y - reach, 0), min(y + reach, height - 1)
        for x in range(width):
            here = inverse[y, x]
            if here == 0:
                continue
            u = (x + 0.5 - camera.cx) / camera.fx
            left, right = max(x - reach, 0), min(x + reach, width - 1)
            along_x, known_x = _slope(here, inverse[y, left], x - left, inverse[y, right], right - x, limit)
            along_y, known_y = _slope(here, inverse[up, x], y - up, inverse[down, x], down - y, limit)
            if not (known_x or known_y):  # like no neighbour: of no surface
                continue
            nx, ny = along_x * camera.fx, along_y * camera.fy
            nz = here - nx * u - ny * v
            ray = np.sqrt(u * u + v * v + 1)
            cosine = _GRAZING
            if known_x and known_y:
                cosine = max(here / (np.sqrt(nx * nx + ny * ny + nz * nz) * ray), _GRAZING)
            pixels[y, x, 0] = here
            pixels[y, x, 1] = ray * cosine if known_x and known_y else ray
            pixels[y, x, 2] = cosine
            pixels[y, x, 3] = _is_whole(inverse, y, x, jump)
    return pixels


@no_type_check
def _slope(here, before, back, after, ahead, limit):  # noqa: ANN001, ANN202
    """Slope of inverse depth for each pixel over neighbours on the same surface, and whether there are any."""
    most = limit * here
    if not (before > 0 and abs(before - here) <= most):
        before, back = here, 0
    if not (after > 0 and abs(after - here) <= most):
        after, ahead = here, 0
    span = back + ahead
    return (after - before) / max(span, 1), span > 0


@no_type_check
def _is_whole(inverse, y, x, jump):  # noqa: ANN001, ANN202
    """Whether four neighbours show one surface."""
    height, width = inverse.shape
    if y + 1 == height or x + 1 == width:
        return False
    a, b, c, d = inverse[y, x], inverse[y, x + 1], inverse[y + 1, x], inverse[y + 1, x + 1]
    low, high = min(a, b, c, d), max(a, b, c, d)
    return low > 0 and high - low <= jump * high


@no_type_check
def _tiled(pixels, scale, levels):  # noqa: ANN001, ANN202
    """`View.tiles`."""
    height, width = pixels.shape[:2]
    rows, columns = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    tiles = np.zeros((levels, rows, columns, 2), np.float32)
    tiles[:, :, :, 0] = np.inf
    for y in range(height):
        for x in range(width):
            free = behind = 0.0
            if pixels[y, x, 0] > 0:
                depth = 1 / pixels[y, x, 0]
                band = max(scale.band, scale.noise * depth)
                free, behind = max(depth - band / pixels[y, x, 1], 0.0), depth + 2 * band
            _add_tile(tiles[0], y // TILE, x // TILE, free, behind)
    for level in range(1, levels):
        for y in range((rows - 1 >> (level - 1)) + 1):
            for x in range((columns - 1 >> (level - 1)) + 1):
                finer = tiles[level - 1, y, x]
                _add_tile(tiles[level], y // 2, x // 2, finer[0], finer[1])
    return tiles


@no_type_check
def _add_tile(tiles, y, x, free, behind):  # noqa: ANN001, ANN202
    tiles[y, x, 0] = min(tiles[y, x, 0], free)
    tiles[y, x, 1] = max(tiles[y, x, 1], behind)


__all__ = ["TILE", "Camera", "Scale", "View", "camera_of", "view_of"]
