"""Light from the best views of each texel."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32

from recon.errors import ReconError
from recon.geometry import triangle_areas, vertex_normals
from recon.light import linear_from_srgb
from recon.stages.texture.kernels import Limits, View, kernels
from recon.stages.texture.views import prepared
from recon.types import Mesh, PosedFrame

VIEWS = 3
"""Views that a texel is mixed of, at most."""
BAND = (0.5, 0.8)
"""Parts of the best score: below the first a view counts for nothing, above the second always for something."""
MARGIN = 1.5
"""Texels beside a chart into which it goes on."""
FAINT = 0.01
"""Best score below which the colours of the vertices shine through."""
STRONGEST = 2.5
"""Gain, at most; one by it, at least."""
COMPARED = 20_000
"""Vertices, about, whose colours tell the exposure of a frame."""
COARSEST = 4.0
"""Pixels, at most, that a vertex is compared with."""
FEWEST = 50
"""Vertices below which it is not told; of a cell, those as which the whole picture counts."""
CELLS = 8
"""Cells of the grid of gains along the longer side of a picture."""
DARK, BRIGHT = 0.01, 0.9
"""Light between which ratios tell it: not noise, not clipped."""
PART = 1 << 16
"""Texels that are worked on at a time."""
LIMITS = Limits(texel=0.0, steepest=0.1, slack=0.01, depth_slack=0.08)


class Texels(NamedTuple):
    """What belongs to a chart, and what is known of it."""

    numbers: Int32[np.ndarray, " k"]
    """Of the texture's texels, row after row."""
    places: Float32[np.ndarray, "k 6"]
    """Position and normal."""
    painted: Float32[np.ndarray, "k 3"]
    """Light of the vertices' colours."""
    inside: Bool[np.ndarray, " k"]
    """Not in the margin of a chart."""
    limits: Limits


def texels_of(mesh: Mesh, uv: Float32[np.ndarray, "n 2"], size: int) -> Texels:
    """The texels of a mesh that is cut into charts; normals that are not known are those of the triangles around."""
    values = np.concatenate([mesh.vertices, mesh.normals, linear_from_srgb(mesh.colors)], axis=1)
    places = uv.astype(np.float64) * size
    numbers, mixed, inside = kernels().rasterised(places, mesh.triangles, values, size, MARGIN)
    flat = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
    area, room = (triangle_areas(points, mesh.triangles).sum() for points in (mesh.vertices.astype(np.float64), flat))
    limits = LIMITS._replace(texel=float(np.sqrt(area / room)))
    return Texels(numbers, np.ascontiguousarray(mixed[:, :6]), np.ascontiguousarray(mixed[:, 6:]), inside, limits)


def mixed(
    texels: Texels, mesh: Mesh, views: Callable[[], Iterator[tuple[PosedFrame, float]]]
) -> tuple[Float32[np.ndarray, "k 3"], Bool[np.ndarray, " k"]]:
    """Light of each texel, and where it is known: in the margins, not where no view sees any mesh.

    Raises:
        ReconError: no view sees any.
    """
    best, gains = np.zeros((len(texels.places), VIEWS + 1), np.float32), []
    for frame, sharpness in views():
        view = prepared(frame, mesh, sharpness)
        gains.append(_gains(view, mesh))
        for part in _parts(len(best)):
            kernels().ranked(_seen(texels.places[part], view, texels.limits), best[part])
    if not best[:, 0].any():
        raise ReconError("no frame sees the mesh: do the poses and the mesh share one world?")
    sums = np.zeros((len(texels.places), 4), np.float32)
    for gain, (frame, sharpness) in zip(gains, views(), strict=True):
        view = prepared(frame, mesh, sharpness)._replace(gains=gain)
        for part in _parts(len(best)):
            found = _seen(texels.places[part], view, texels.limits)
            kernels().weighted(found, best[part], BAND)
            kernels().added(found, _lit(found, view), sums[part])
    seen = np.minimum(best[:, :1] / np.float32(FAINT), 1)
    light = sums[:, :3] / np.maximum(sums[:, 3:], np.float32(1e-12))
    return light * seen + texels.painted * (1 - seen), texels.inside | (best[:, 0] > FAINT)


def _parts(count: int) -> list[slice]:
    """As much as a cache holds, at a time."""
    return [slice(start, start + PART) for start in range(0, count, PART)]


def _seen(places: Float32[np.ndarray, "k 6"], view: View, limits: Limits) -> Float32[np.ndarray, "k 4"]:
    """Of each place: x and y in the picture, pixels per texel, and what the view is worth."""
    found = np.zeros((len(places), 4), np.float32)
    kernels().seen(places, view, limits, found)
    return found


def _lit(found: Float32[np.ndarray, "k 4"], view: View) -> Float32[np.ndarray, "k 3"]:
    """Light of what a view says something of, at the exposure of the mesh."""
    light = np.zeros((len(found), 3), np.float32)
    kernels().lit(found, view, light)
    return light


def with_normals(mesh: Mesh) -> Mesh:
    """The mesh with normals, where they are not known, that are those of the triangles around a vertex."""
    known = (mesh.normals != 0).any(axis=1, keepdims=True)
    normals = np.where(known, mesh.normals, vertex_normals(mesh.vertices, mesh.triangles))
    return Mesh(mesh.vertices, mesh.triangles, mesh.colors, normals)


def _gains(view: View, mesh: Mesh) -> Float32[np.ndarray, "_ _ 3"]:
    """What brings the light of a view to that of the mesh's vertices: medians of ratios, in a coarse grid.

    A vertex is compared with as much of the picture as it stands for, up to a few pixels, for it is a mean; vertices
    near edges are left out. In each cell the median of the whole picture counts as some vertices more.
    """
    some = slice(None, None, max(1, len(mesh.vertices) // COMPARED))
    places = np.concatenate([mesh.vertices[some], mesh.normals[some]], axis=1)
    spacing = np.sqrt(triangle_areas(mesh.vertices.astype(np.float64), mesh.triangles).mean())
    found = _seen(places, view, LIMITS._replace(texel=float(spacing)))
    found[:, 2] = np.minimum(found[:, 2], COARSEST)
    light = _lit(found, view)
    fused = linear_from_srgb(mesh.colors[some])
    both = (np.minimum(fused, light) > DARK) & (np.maximum(fused, light) < BRIGHT)
    rows = np.flatnonzero(both.all(axis=1) & (found[:, 3] > found[:, 3].max() / 4))
    return _grid_of_gains(found[rows, :2], np.log(fused[rows] / light[rows]), view.front.shape)


def _grid_of_gains(
    pixels: Float32[np.ndarray, "k 2"], ratios: Float32[np.ndarray, "k 3"], shape: tuple[int, int]
) -> Float32[np.ndarray, "_ _ 3"]:
    """Gains of cells, from the logarithms of ratios at places of the picture."""
    share = CELLS / max(shape)
    rows, columns = (max(1, round(side * share)) for side in shape)
    whole = np.median(ratios, axis=0) if len(ratios) >= FEWEST else np.zeros(3)
    cell = (pixels[:, 1] * rows / shape[0]).astype(int) * columns + (pixels[:, 0] * columns / shape[1]).astype(int)
    gains = np.tile(whole, (rows * columns, 1))
    for number in np.unique(cell):
        inside = ratios[cell == number]
        part = len(inside) / (len(inside) + FEWEST)
        gains[number] += part * (np.median(inside, axis=0) - whole)
    limit = np.log(STRONGEST)
    grid: Float32[np.ndarray, "_ _ 3"] = np.exp(gains.clip(-limit, limit)).reshape(rows, columns, 3).astype(np.float32)
    return grid
