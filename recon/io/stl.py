"""STL (3D Systems, 1988), binary: triangles alone, without colours or units. For printing."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import Look, Notes, Scene, file_bytes, grey, mesh_of, package
from recon.types import Mesh, PointCloud

_TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_CHUNK = 1 << 18
_HEADER = 80


def write_stl(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write the triangles; colours, texture and the camera have no place in this format.

    Raises:
        FormatError: the scene is a cloud.
    """
    if isinstance(scene.shape, PointCloud):
        raise FormatError(f"{path}: STL holds triangles, and this is a cloud: write PLY or GLB")
    mesh = mesh_of(scene.shape)
    header = f"recon, {', '.join(scene.lines)}".encode("ascii", "backslashreplace")[:_HEADER].ljust(_HEADER)
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header + np.uint32(len(mesh)).astype("<u4").tobytes())
        for start in range(0, len(mesh), _CHUNK):
            file.write(_rows(mesh, slice(start, start + _CHUNK)).tobytes())


def _rows(mesh: Mesh, part: slice) -> np.ndarray:
    corners = mesh.vertices[mesh.triangles[part]]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(len(corners), _TRIANGLE)
    rows["corners"] = corners
    rows["normal"] = normals / np.where(length > 0, length, 1)
    return rows


def read_stl(path: Path) -> Scene:
    """Read binary or ASCII STL; corners at the same place become one vertex, grey, without a normal.

    Raises:
        FormatError: it is missing or damaged.
        MissingPackageError: it is ASCII, and trimesh, which reads that, is not installed.
    """
    data = file_bytes(path)
    count = int.from_bytes(data[_HEADER : _HEADER + 4], "little")
    if len(data) == _HEADER + 4 + _TRIANGLE.itemsize * count and count:
        corners = np.frombuffer(data, _TRIANGLE, count, _HEADER + 4)["corners"].reshape(-1, 3)
    elif data[:5] == b"solid":
        corners = _ascii(path)
    else:
        raise FormatError(f"{path}: is no STL, or cut short: {len(data)} bytes do not fit {count} triangles")
    vertices, triangles = _welded(corners)
    return Scene(Mesh(vertices, triangles, grey(len(vertices)), np.zeros_like(vertices)), None, notes=Notes("relative"))


def _welded(corners: Float32[np.ndarray, "n 3"]) -> tuple[Float32[np.ndarray, "v 3"], Int32[np.ndarray, "t 3"]]:
    """Vertices and triangles of corners, three by three (as `numpy.unique` along rows, ten times as fast)."""
    order = np.lexsort(corners.T)
    inline = corners[order]
    is_first = np.concatenate([[True], (inline[1:] != inline[:-1]).any(axis=1)])
    rows = np.zeros(len(corners), np.int32)
    rows[order] = np.cumsum(is_first) - 1
    return inline[is_first], rows.reshape(-1, 3)


def _ascii(path: Path) -> Float32[np.ndarray, "n 3"]:
    trimesh = package(path, "trimesh", "mesh")
    try:
        soup = trimesh.load_mesh(path, process=False)
        corners: Float32[np.ndarray, "n 3"] = np.asarray(soup.vertices, np.float32)[np.asarray(soup.faces).reshape(-1)]
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as STL ({' '.join(str(error).split())})") from error
    if not len(corners):
        raise FormatError(f"{path}: holds no triangles")
    return corners
