"""Meshes to measure: positions and triangles from formats that trimesh reads. A cloud is a mesh without triangles."""

from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from recon.errors import FormatError, MissingPackageError
from recon.io.cloud import has_faces, read_ply

SUFFIXES = (".glb", ".gltf", ".obj", ".off", ".ply", ".stl")


def read_mesh(path: Path) -> tuple[Float64[np.ndarray, "n 3"], Int64[np.ndarray, "m 3"]]:
    """Vertices in the file's own axes and units, and triangles as rows of them (none for a cloud).

    Raises:
        FormatError: it is missing, of another format or damaged.
        MissingPackageError: it has triangles, and trimesh is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise FormatError(f"{path}: no format of clouds or meshes; known are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    if path.suffix.lower() == ".ply" and not has_faces(path):
        return read_ply(path).points.astype(np.float64), np.zeros((0, 3), np.int64)
    try:
        import trimesh  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError(f"{path}: meshes need the package trimesh: pip install trimesh") from error
    try:
        mesh = trimesh.load_mesh(path, process=False)
    except (ValueError, TypeError, KeyError, IndexError, OSError, NotImplementedError) as error:
        raise FormatError(f"{path}: cannot be read as a mesh ({' '.join(str(error).split())})") from error
    if not isinstance(mesh, trimesh.Trimesh):
        raise FormatError(f"{path}: holds no triangles")
    return np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)
