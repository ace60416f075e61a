"""Meshes in PLY, with their texture beside them, and clouds for Unity's Pcx.

Vertices: x y z nx ny nz (float) s t (float, with a texture; origin below left) red green blue (uchar); faces: `property
list uchar int vertex_indices`. The picture is named by `comment TextureFile`, as MeshLab writes it.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Int

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import (
    Look,
    Scene,
    checked_mesh,
    cloud_of,
    decoded,
    encoded,
    fans,
    file_bytes,
    flipped,
    mesh_of,
    package,
    said,
    texture_path,
    textured,
)
from recon.io.cloud import cloud_of_rows, columns, write_ply
from recon.io.ply import Header, UnevenListsError, header_bytes, read_header, read_rows
from recon.types import Mesh, PointCloud, TexturedMesh

LEFT_HANDED: Final = "axes: left-handed, x negated, for Unity"
"""Says that `to_unity` has been here."""

_TEXTURE = "TextureFile"
_CHUNK = 1 << 18
_FACE = np.dtype([("length", "u1"), ("vertex_indices", "<i4", (3,))])
_COLORS = [(name, "u1") for name in ("red", "green", "blue")]
_PLACES = [(name, "<f4") for name in ("s", "t")]
_POSITIONS = [(name, "<f4") for name in ("x", "y", "z")]
_NORMALS = [(name, "<f4") for name in ("nx", "ny", "nz")]
_INDICES = ("vertex_indices", "vertex_index")
_UV = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"))


def write_ply_scene(path: Path, scene: Scene, look: Look) -> None:
    """Write a cloud or a mesh; a texture goes to a picture beside it.

    Raises:
        ValueError: a note holds a line break.
    """
    if isinstance(scene.shape, PointCloud):
        write_ply(path, scene.shape, scene.lines)
        return
    picture = texture_path(path, look)
    with ExitStack() as stack:
        partial = stack.enter_context(whole_file(path))  # the last to appear
        lines = scene.lines
        if isinstance(scene.shape, TexturedMesh):
            stack.enter_context(whole_file(picture)).write_bytes(encoded(scene.shape.texture, look))
            lines = [*lines, f"{_TEXTURE} {picture.name}"]
        _write_mesh(partial, scene.shape, lines)


def _write_mesh(path: Path, shape: Mesh | TexturedMesh, lines: list[str]) -> None:
    mesh = mesh_of(shape)
    places = _PLACES if isinstance(shape, TexturedMesh) else []
    kind = np.dtype([*_POSITIONS, *_NORMALS, *places, *_COLORS])
    with path.open("wb") as file:
        file.write(header_bytes(lines, [("vertex", len(mesh.vertices), kind), ("face", len(mesh), _FACE)]))
        for start in range(0, len(mesh.vertices), _CHUNK):
            file.write(_vertex_rows(shape, kind, slice(start, start + _CHUNK)).tobytes())
        for start in range(0, len(mesh), _CHUNK):
            triangles = mesh.triangles[start : start + _CHUNK]
            rows = np.zeros(len(triangles), _FACE)
            rows["length"], rows["vertex_indices"] = 3, triangles
            file.write(rows.tobytes())


def _vertex_rows(shape: Mesh | TexturedMesh, kind: np.dtype, part: slice) -> np.ndarray:
    mesh = mesh_of(shape)
    rows = np.zeros(len(mesh.vertices[part]), kind)
    groups = [(_POSITIONS, mesh.vertices), (_NORMALS, mesh.normals), (_COLORS, mesh.colors)]
    if isinstance(shape, TexturedMesh):
        groups.append((_PLACES, flipped(shape.uv)))
    for names, values in groups:
        for column, (name, _kind) in enumerate(names):
            rows[name] = values[part, column]
    return rows


def to_unity(cloud: PointCloud) -> PointCloud:
    """A cloud with y up as Unity's left-handed world has it: x negated (Pcx takes coordinates as they are)."""
    mirror = np.array([-1, 1, 1], np.float32)
    return PointCloud(cloud.points * mirror, cloud.colors, cloud.normals * mirror)


def write_pcx(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write the points or vertices for Unity's Pcx: binary little-endian, x y z red green blue, x negated.

    Raises:
        ValueError: the scene has z up; Unity stands on y.
    """
    if scene.up == "z":
        raise ValueError("Unity has y up: turn the scene")
    cloud = to_unity(cloud_of(scene.shape))
    rows = np.zeros(len(cloud), np.dtype([*_POSITIONS, *_COLORS]))
    for names, values in ((_POSITIONS, cloud.points), (_COLORS, cloud.colors)):
        for column, (name, _kind) in enumerate(names):
            rows[name] = values[:, column]
    lines = [*scene.notes.lines, LEFT_HANDED]
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header_bytes(lines, [("vertex", len(cloud), rows.dtype)]))
        file.write(rows.tobytes())


def read_ply_scene(path: Path) -> Scene:
    """Read a cloud or a mesh, with the texture beside it; polygons become triangles.

    A cloud for Pcx is mirrored back. Axes and units are known where recon wrote the file.

    Raises:
        FormatError: it is missing, not PLY, or damaged.
        MissingPackageError: its faces have different numbers of corners, and trimesh, which reads those, is missing.
    """
    header, vertices, triangles = _rows(path)
    cloud = cloud_of_rows(path, vertices)
    notes, up = said([line for line in header.comments if not line.startswith(_TEXTURE)])
    if LEFT_HANDED in header.comments:
        cloud, up = to_unity(cloud), "y"
    if triangles is None:
        return Scene(cloud, up, notes=notes)
    mesh = checked_mesh(path, cloud, triangles)
    words = next((line.partition(" ")[2] for line in header.comments if line.startswith(_TEXTURE)), None)
    places = next((found for names in _UV if (found := columns(vertices, names)) is not None), None)
    if words is None or places is None:
        return Scene(mesh, up, notes=notes)
    picture = path.parent / words.strip()
    shape = textured(mesh, flipped(places), decoded(picture, file_bytes(picture)))
    return Scene(shape, up, notes=notes)


def _rows(path: Path) -> tuple[Header, np.ndarray, Int[np.ndarray, "m 3"] | None]:
    """Header, vertices and triangles of a file; None where it is a cloud."""
    try:
        with path.open("rb") as file:
            header = read_header(path, file)
            start = file.tell()
            if header.named("face") is None:
                return header, read_rows(path, file, header, "vertex")["vertex"], None
            try:
                rows = read_rows(path, file, header, "face")
                return header, rows["vertex"], _triangles(path, rows["face"])
            except UnevenListsError:
                file.seek(start)
                return header, read_rows(path, file, header, "vertex")["vertex"], _uneven(path)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def _triangles(path: Path, faces: np.ndarray) -> Int[np.ndarray, "m 3"]:
    """Triangles of faces with as many corners each."""
    name = next((name for name in _INDICES if name in (faces.dtype.names or ())), None)
    if name is None:
        raise FormatError(f"{path}: its faces have no vertex_indices")
    corners = faces[name].astype(np.int64)
    counts = np.full(len(corners), corners.shape[1])
    triangles: Int[np.ndarray, "m 3"] = corners.reshape(-1)[fans(counts)]
    return triangles


def _uneven(path: Path) -> Int[np.ndarray, "m 3"]:
    """Triangles of faces with different numbers of corners, as trimesh reads them."""
    trimesh = package(path, "trimesh", "mesh")
    try:
        mesh = trimesh.load_mesh(path, process=False)
    except (ValueError, TypeError, KeyError, IndexError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as a mesh ({' '.join(str(error).split())})") from error
    return np.asarray(mesh.faces, np.int64)
