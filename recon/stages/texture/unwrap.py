"""A mesh is cut into charts, and these are laid out in a square: by xatlas."""

from types import ModuleType
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, Int32, Int64

from recon.errors import ReconError
from recon.geometry import triangle_areas
from recon.optional import Package
from recon.types import Mesh

XATLAS: Final = Package("xatlas", "textures need", "mesh")
PART = 500
"""Triangles that are cut into charts together (see `unwrapped`)."""
PADDING = 4
"""Texels between charts."""


def unwrapped(mesh: Mesh, size: int) -> tuple[Mesh, Float32[np.ndarray, "n 2"]]:
    """The mesh with vertices doubled at seams, and where they are in the texture: (x, y) in [0, 1], corner origin.

    The mesh is cut in space into parts of at most 500 triangles, as the time of xatlas grows much faster than a part:
    100 000 triangles of a fused kitchen take 27 s in one piece and 3.4 s so. Surfaces that a sensor saw fall into
    charts of twenty triangles anyway, so there are hardly more charts (3 per cent). All are laid out together, at one
    scale: no surface is told more sharply than another.

    Args:
        mesh: some triangles.
        size: texels of a side of the texture that the charts are laid out for: about four of them between any two.

    Raises:
        MissingPackageError: xatlas is not installed.
        ReconError: the mesh is empty, or has no area.
    """
    if not len(mesh):
        raise ReconError("a mesh without triangles cannot be textured: was anything fused?")
    xatlas = XATLAS.module()
    places = _in_own_units(mesh)
    atlas, rows = xatlas.Atlas(), []
    for part in _parts(places[mesh.triangles].mean(axis=1)):
        used, inside = np.unique(mesh.triangles[part], return_inverse=True)
        atlas.add_mesh(places[used], inside.reshape(-1, 3).astype(np.uint32))
        rows.append(used)
    atlas.generate(*_options(xatlas, size))
    return _joined(mesh, atlas, rows)


def _in_own_units(mesh: Mesh) -> Float32[np.ndarray, "n 3"]:
    """Vertices in units in which the mean triangle has an area of one: xatlas leaves out what is below 1e-7."""
    area = triangle_areas(mesh.vertices, mesh.triangles).mean()
    if not area > 0:
        raise ReconError("a mesh whose triangles have no area cannot be textured")
    places: Float32[np.ndarray, "n 3"] = (mesh.vertices - mesh.vertices.mean(axis=0)) / np.float32(np.sqrt(area))
    return places


def _parts(centres: Float32[np.ndarray, "m 3"]) -> list[Int64[np.ndarray, " _"]]:
    """Rows of neighbours: halved along the longest side until each part is small enough."""
    parts, large = [], [np.arange(len(centres))]
    while large:
        rows = large.pop()
        if len(rows) <= PART:
            parts.append(np.sort(rows))
            continue
        axis = np.ptp(centres[rows], axis=0).argmax()
        order = rows[np.argsort(centres[rows, axis], kind="stable")]
        large += [order[: len(rows) // 2], order[len(rows) // 2 :]]
    return parts


def _options(xatlas: ModuleType, size: int) -> tuple[Any, Any]:
    pack = xatlas.PackOptions()
    pack.padding, pack.resolution, pack.blockAlign = PADDING, size, True
    return xatlas.ChartOptions(), pack


def _joined(mesh: Mesh, atlas: Any, rows: list[Int32[np.ndarray, " _"]]) -> tuple[Mesh, Float32[np.ndarray, "n 2"]]:  # noqa: ANN401 - a type of xatlas
    """The parts in one mesh; the layout made square, so that texels are."""
    cut = [atlas.get_mesh(part) for part in range(len(rows))]
    starts = np.cumsum([0, *(len(source) for source, _, _ in cut)])
    source = np.concatenate([used[part] for used, (part, _, _) in zip(rows, cut, strict=True)])
    triangles = np.concatenate([corners + start for start, (_, corners, _) in zip(starts[:-1], cut, strict=True)])
    side = np.array([atlas.width, atlas.height]) / max(atlas.width, atlas.height)
    uv = (np.concatenate([places for _, _, places in cut]) * side).clip(0, 1).astype(np.float32)
    parts = (mesh.vertices[source], triangles.astype(np.int32), mesh.colors[source], mesh.normals[source])
    return Mesh(*parts), uv
