"""The loops of texturing: over the texels of charts, over the pixels of triangles, over the texels that a frame sees.

Shapes: n vertices, m triangles, k texels that belong to a chart, v best views that are remembered of each texel.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, Int64

from recon.compiled import compiled


class View(NamedTuple):
    """A frame, ready to be asked for the colour of surfaces."""

    camera_from_world: Float64[np.ndarray, "4 4"]
    centre: Float64[np.ndarray, "3"]
    """Of the camera, in the world."""
    lens: Float64[np.ndarray, "4"]
    """fx, fy, cx, cy."""
    front: Float32[np.ndarray, "h w"]
    """Depth of the mesh, infinite where there is none."""
    depth: Float32[np.ndarray, "h w"]
    """Depth of the frame, NaN = unknown."""
    trust: Float32[np.ndarray, "h w"]
    """What a pixel is worth, 0 to 1."""
    pixels: Float32[np.ndarray, "p 3"]
    """Light of the picture, of its half, its quarter and so on, one after the other."""
    levels: Int64[np.ndarray, "l 3"]
    """First row of each level in ``pixels``, its height and its width."""
    gains: Float32[np.ndarray, "_ _ 3"]
    """What brings light to the exposure of the mesh: a coarse grid over the picture."""
    sharpness: float
    """0 to 1."""


class Limits(NamedTuple):
    """What makes a surface count as seen."""

    texel: float
    """Side of a texel, metres."""
    steepest: float
    """Cosine of the angle between normal and ray at which a surface is seen too flat to tell anything."""
    slack: float
    """Part of the depth by which a place may be off the mesh as it is drawn."""
    depth_slack: float
    """Part of the depth by which the mesh and the frame's depth may differ."""


class Kernels(NamedTuple):
    """The functions below, compiled."""

    rasterised: Callable[..., tuple[Int32[np.ndarray, " k"], Float32[np.ndarray, "k c"], Bool[np.ndarray, " k"]]]
    drawn: Callable[..., None]
    seen: Callable[..., None]
    ranked: Callable[..., None]
    weighted: Callable[..., None]
    lit: Callable[..., None]
    added: Callable[..., None]


@cache
def kernels() -> Kernels:
    """Compiled at the first use; numba is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only texturing has to spend

    for part in (_outside, _bounds):
        register_jitable(part)
    return Kernels(*map(compiled, (_rasterised, _drawn, _seen, _ranked, _weighted, _lit, _added)))


# Numba infers the types of the functions below itself.


@no_type_check
def _rasterised(places, triangles, values, size, margin):  # noqa: ANN001, ANN202
    """Texels of charts: their numbers (k,), the vertices' values (n, c) there (k, c), and if they are inside (k,).

    A texel belongs to the triangle that its centre is in, or that is nearest within a margin (in texels): there the
    triangle goes on in its plane, so that what a bilinear filter mixes in at a chart's border is right too.
    """
    owner, distance = np.full((size, size), -1, np.int32), np.full((size, size), np.float32(margin))
    share = np.zeros(3)
    for t in range(len(triangles)):
        a, b, c = places[triangles[t, 0]], places[triangles[t, 1]], places[triangles[t, 2]]
        left = max(int(min(a[0], b[0], c[0]) - margin), 0)
        right = min(int(max(a[0], b[0], c[0]) + margin) + 1, size)
        top = max(int(min(a[1], b[1], c[1]) - margin), 0)
        bottom = min(int(max(a[1], b[1], c[1]) + margin) + 1, size)
        for y in range(top, bottom):
            for x in range(left, right):
                away = _outside(x + 0.5, y + 0.5, a, b, c, share)
                if away < distance[y, x]:
                    owner[y, x], distance[y, x] = t, away
    texels = np.flatnonzero(owner.ravel() >= 0).astype(np.int32)
    mixed = np.zeros((len(texels), values.shape[1]), np.float32)
    for i in range(len(texels)):
        y, x = texels[i] // size, texels[i] % size
        corners = triangles[owner[y, x]]
        _outside(x + 0.5, y + 0.5, places[corners[0]], places[corners[1]], places[corners[2]], share)
        for j in range(values.shape[1]):
            for r in range(3):
                mixed[i, j] += share[r] * values[corners[r], j]
    return texels, mixed, distance.ravel()[texels] == 0.0


@no_type_check
def _outside(x, y, a, b, c, share):  # noqa: ANN001, ANN202 - memory of the caller
    """How far a place is outside of a triangle (0 inside; infinite if it has no area); its barycentric coordinates.

    Where these leave [-1, 2], of slivers, they are brought into the triangle: a sliver's plane is not known well.
    """
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if area == 0.0:
        return np.inf
    share[0] = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
    share[1] = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
    share[2] = 1.0 - share[0] - share[1]
    away = 0.0
    away = max(away, -share[0] * abs(area) / np.sqrt((b[0] - c[0]) ** 2 + (b[1] - c[1]) ** 2))
    away = max(away, -share[1] * abs(area) / np.sqrt((c[0] - a[0]) ** 2 + (c[1] - a[1]) ** 2))
    away = max(away, -share[2] * abs(area) / np.sqrt((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2))
    if min(share[0], share[1], share[2]) < -1.0:
        total = 0.0
        for r in range(3):
            share[r] = max(share[r], 0.0)
            total += share[r]
        for r in range(3):
            share[r] /= total
    return away


@no_type_check
def _drawn(points, triangles, lens, nearest, depth):  # noqa: ANN001, ANN202
    """Draw triangles between points of the camera frame (n, 3) into a depth map, which holds infinity before.

    Without clipping (Olano and Greer, Triangle scan conversion using 2D homogeneous coordinates, 1997): the ray
    (u, v, 1) meets the triangle where all b = [p q r]^-1 (u, v, 1) are positive, and 1 / z is their sum.
    """
    height, width = depth.shape
    box = np.zeros(4)
    for t in range(len(triangles)):
        p, q, r = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        if max(p[2], q[2], r[2]) <= nearest:
            continue
        _bounds(p, q, r, lens, nearest, box)
        left, right = max(np.ceil(box[0] - 0.5), 0.0), min(np.floor(box[1] - 0.5), width - 1.0)
        top, bottom = max(np.ceil(box[2] - 0.5), 0.0), min(np.floor(box[3] - 0.5), height - 1.0)
        if left > right or top > bottom:
            continue
        px, py, pz = q[1] * r[2] - q[2] * r[1], q[2] * r[0] - q[0] * r[2], q[0] * r[1] - q[1] * r[0]
        qx, qy, qz = r[1] * p[2] - r[2] * p[1], r[2] * p[0] - r[0] * p[2], r[0] * p[1] - r[1] * p[0]
        rx, ry, rz = p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]
        volume = p[0] * px + p[1] * py + p[2] * pz
        if volume == 0.0:
            continue
        for y in range(int(top), int(bottom) + 1):
            v = (y + 0.5 - lens[3]) / lens[1]
            for x in range(int(left), int(right) + 1):
                u = (x + 0.5 - lens[2]) / lens[0]
                first = (px * u + py * v + pz) / volume
                second = (qx * u + qy * v + qz) / volume
                third = (rx * u + ry * v + rz) / volume
                inverse = first + second + third
                edge = -1e-9 * inverse  # neighbours must leave no cracks
                if inverse > 0.0 and min(first, second, third) >= edge and inverse * depth[y, x] > 1.0:
                    depth[y, x] = 1.0 / inverse


@no_type_check
def _bounds(p, q, r, lens, nearest, box):  # noqa: ANN001, ANN202 - memory of the caller
    """Left, right, top and bottom of the part of a triangle that is beyond the nearest plane, in pixels."""
    box[0] = box[2] = np.inf
    box[1] = box[3] = -np.inf
    for side in range(3):
        a, b = (p, q) if side == 0 else ((q, r) if side == 1 else (r, p))
        for end in range(2):
            share = 0.0
            if end == 0 and a[2] <= nearest:
                continue
            if end == 1:
                if (a[2] <= nearest) == (b[2] <= nearest):
                    continue
                share = (nearest - a[2]) / (b[2] - a[2])
            z = a[2] + share * (b[2] - a[2])
            x = lens[0] * (a[0] + share * (b[0] - a[0])) / z + lens[2]
            y = lens[1] * (a[1] + share * (b[1] - a[1])) / z + lens[3]
            box[0] = min(box[0], x)
            box[1] = max(box[1], x)
            box[2] = min(box[2], y)
            box[3] = max(box[3], y)


@no_type_check
def _seen(places, view, limits, found):  # noqa: ANN001, ANN202 - in one piece: calls with arrays cost more than the work
    """Of each place (position and normal): x and y in the picture, pixels per texel, and what the view is worth."""
    pose, lens, centre, front, measured = view.camera_from_world, view.lens, view.centre, view.front, view.depth
    trust, sharpness = view.trust, view.sharpness
    height, width = front.shape
    fx, fy, focal = lens[0], lens[1], np.sqrt(lens[0] * lens[1])
    for i in range(len(places)):
        found[i, 3] = 0.0
        px, py, pz = np.float64(places[i, 0]), np.float64(places[i, 1]), np.float64(places[i, 2])
        nx, ny, nz = np.float64(places[i, 3]), np.float64(places[i, 4]), np.float64(places[i, 5])
        dx, dy, dz = centre[0] - px, centre[1] - py, centre[2] - pz
        along = dx * nx + dy * ny + dz * nz
        z = pose[2, 0] * px + pose[2, 1] * py + pose[2, 2] * pz + pose[2, 3]
        if along <= 0.0 or z <= 0.0:
            continue
        x = (pose[0, 0] * px + pose[0, 1] * py + pose[0, 2] * pz + pose[0, 3]) / z * fx + lens[2]
        y = (pose[1, 0] * px + pose[1, 1] * py + pose[1, 2] * pz + pose[1, 3]) / z * fy + lens[3]
        if not (0.0 <= x < width and 0.0 <= y < height):
            continue
        cosine = along / np.sqrt((dx * dx + dy * dy + dz * dz) * (nx * nx + ny * ny + nz * nz))
        if not cosine > limits.steepest:
            continue
        column, row = int(x), int(y)
        slope = z / min(fx, fy) * np.sqrt(1.0 - min(cosine, 1.0) ** 2) / cosine  # change of depth in a pixel
        if not abs(z - front[row, column]) <= limits.slack * z + slope:  # behind something, or beside the mesh
            continue
        score, depth = 1.0, measured[row, column]
        if depth > 0.0:  # known
            off = (z - depth) / (limits.depth_slack * z + slope)
            score = max(1.0 - off * off, 0.0) ** 2
        zoom = focal / z * limits.texel
        score *= (cosine - limits.steepest) / (1.0 - limits.steepest) * min(zoom, 1.0) * sharpness
        found[i, 0] = x
        found[i, 1] = y
        found[i, 2] = zoom * np.sqrt(cosine)
        found[i, 3] = score * trust[row, column]


@no_type_check
def _ranked(found, best):  # noqa: ANN001, ANN202
    """Enter the scores of a view into the best ones of each texel (k, v), the highest first."""
    last = best.shape[1] - 1
    for i in range(len(found)):
        score = found[i, 3]
        if score <= best[i, last]:
            continue
        j = last
        while j > 0 and best[i, j - 1] < score:
            best[i, j] = best[i, j - 1]
            j -= 1
        best[i, j] = score


@no_type_check
def _weighted(found, best, band):  # noqa: ANN001, ANN202
    """Turn the scores of a view into weights: how much it says of texels of which it is one of the best.

    The weight is 1 at the best score and falls to 0, without a step, at the last of the best ones; but not before the
    upper, and not beyond the lower end of a band in parts of the best.
    """
    last = best.shape[1] - 1
    for i in range(len(found)):
        score, most = found[i, 3], best[i, 0]
        least = min(max(best[i, last], band[0] * most), band[1] * most)
        found[i, 3] = ((score - least) / (most - least)) ** 2 if score > least else 0.0


@no_type_check
def _lit(found, view, light):  # noqa: ANN001, ANN202 - in one piece: calls with arrays cost more than the work
    """Light (k, 3), at the exposure of the mesh, where a view says something: trilinear between the levels.

    The levels are those whose pixels are as large as a texel; gains are bilinear in their grid.
    """
    pixels, levels, gains = view.pixels, view.levels, view.gains
    rows, columns = gains.shape[:2]
    high, wide, count = levels[0, 1], levels[0, 2], len(levels)
    for i in range(len(found)):
        if found[i, 3] <= 0.0:
            continue
        level = min(max(np.log2(found[i, 2]), 0.0), count - 1.0) if found[i, 2] > 1.0 else 0.0
        red, green, blue = 0.0, 0.0, 0.0
        for number in range(int(level), min(int(level) + 2, count)):
            share = 1.0 - abs(level - number)
            if share <= 0.0:
                continue
            start, height, width = levels[number, 0], levels[number, 1], levels[number, 2]
            x = min(max(found[i, 0] * width / wide - 0.5, 0.0), width - 1.0)
            y = min(max(found[i, 1] * height / high - 0.5, 0.0), height - 1.0)
            left, top = int(x), int(y)
            x, y = x - left, y - top
            a = start + top * width + left
            b = a + (1 if left + 1 < width else 0)
            down = width if top + 1 < height else 0
            c, d = a + down, b + down
            at_a, at_b = share * (1.0 - x) * (1.0 - y), share * x * (1.0 - y)
            at_c, at_d = share * (1.0 - x) * y, share * x * y
            red += at_a * pixels[a, 0] + at_b * pixels[b, 0] + at_c * pixels[c, 0] + at_d * pixels[d, 0]
            green += at_a * pixels[a, 1] + at_b * pixels[b, 1] + at_c * pixels[c, 1] + at_d * pixels[d, 1]
            blue += at_a * pixels[a, 2] + at_b * pixels[b, 2] + at_c * pixels[c, 2] + at_d * pixels[d, 2]
        x = min(max(found[i, 0] * columns / wide - 0.5, 0.0), columns - 1.0)
        y = min(max(found[i, 1] * rows / high - 0.5, 0.0), rows - 1.0)
        left, top = int(x), int(y)
        right, bottom = min(left + 1, columns - 1), min(top + 1, rows - 1)
        x, y = x - left, y - top
        at_a, at_b, at_c, at_d = (1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y
        for j in range(3):
            gain = at_a * gains[top, left, j] + at_b * gains[top, right, j]
            gain += at_c * gains[bottom, left, j] + at_d * gains[bottom, right, j]
            light[i, j] = gain * (red if j == 0 else (green if j == 1 else blue))


@no_type_check
def _added(found, light, sums):  # noqa: ANN001, ANN202
    """Add weighted light and weights (k, 4)."""
    for i in range(len(found)):
        weight = found[i, 3]
        if weight > 0.0:
            for j in range(3):
                sums[i, j] += weight * light[i, j]
            sums[i, 3] += weight
