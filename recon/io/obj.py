"""Wavefront OBJ with its MTL and picture (Wavefront Technologies, Advanced Visualizer manual, appendix B1 and B2).

Colours of vertices follow the coordinates (``v x y z r g b``, sRGB from 0 to 1), as MeshLab and Blender read them;
with a texture they stay away. Texture coordinates begin below left. The material is white, so that nothing darkens.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import (
    Look,
    Scene,
    Shape,
    all_known,
    bytes_of_colors,
    checked_mesh,
    cloud_of,
    decoded,
    encoded,
    file_bytes,
    flipped,
    grey,
    joined,
    mesh_of,
    package,
    said,
    texture_path,
    textured,
)
from recon.types import PointCloud, TexturedMesh

_CHUNK = 1 << 16
_MATERIAL = "recon"


def write_obj(path: Path, scene: Scene, look: Look) -> None:
    """Write a mesh or a cloud (``p`` elements); with a texture, its ``.mtl`` and picture beside it.

    All files appear or none; names of the files beside it have no blanks, which many readers stumble over.
    """
    library = library_path(path)
    picture = texture_path(path, look)
    with ExitStack() as stack:
        partial = stack.enter_context(whole_file(path))  # the last to appear
        head = [f"# {line}" for line in scene.lines]
        if isinstance(scene.shape, TexturedMesh):
            stack.enter_context(whole_file(picture)).write_bytes(encoded(scene.shape.texture, look))
            stack.enter_context(whole_file(library)).write_text(_material(picture.name), "utf-8", newline="\n")
            head += [f"mtllib {library.name}"]
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in [*head, "o recon"])
            file.writelines(_body(scene.shape))


def library_path(path: Path) -> Path:
    """Where the material goes."""
    return path.with_name(f"{'_'.join(path.stem.split())}.mtl")


def _material(picture: str) -> str:
    lines = [f"newmtl {_MATERIAL}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "d 1", "illum 1", f"map_Kd {picture}"]
    return "".join(f"{line}\n" for line in lines)


def _body(shape: Shape) -> Iterator[str]:
    cloud = cloud_of(shape)
    if isinstance(shape, TexturedMesh):
        yield from _lines("v %.9g %.9g %.9g\n", cloud.points)
        yield from _lines("vt %.9g %.9g\n", flipped(shape.uv))
    else:
        yield from _lines("v %.9g %.9g %.9g %.4g %.4g %.4g\n", np.hstack([cloud.points, cloud.colors / 255]))
    known = all_known(cloud.normals)
    if known:
        yield from _lines("vn %.6g %.6g %.6g\n", cloud.normals)
    if isinstance(shape, PointCloud):
        yield from _lines("p %d\n", np.arange(1, len(shape) + 1)[:, None])
        return
    if isinstance(shape, TexturedMesh):
        yield f"usemtl {_MATERIAL}\n"
    yield from _faces(mesh_of(shape).triangles, has_uv=isinstance(shape, TexturedMesh), has_normals=known)


def _faces(triangles: Int32[np.ndarray, "m 3"], *, has_uv: bool, has_normals: bool) -> Iterator[str]:
    """Faces; position, texture and normal of a corner have the same number."""
    corner = "%d" + ("/%d" if has_uv else "/" if has_normals else "") + ("/%d" if has_normals else "")
    yield from _lines(
        f"f {corner} {corner} {corner}\n", np.repeat(triangles.astype(np.int64) + 1, 1 + has_uv + has_normals, axis=1)
    )


def _lines(form: str, rows: np.ndarray) -> Iterator[str]:
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        yield (form * len(part)) % tuple(part.reshape(-1).tolist())


def read_obj(path: Path) -> Scene:
    """Read an OBJ file with its colours or texture; y is up, as most programs write it, unless the file says otherwise.

    Raises:
        FormatError: it is missing or damaged.
        MissingPackageError: trimesh is not installed.
    """
    trimesh = package(path, "trimesh", "mesh")
    data = file_bytes(path)
    lines = [line[2:].decode("utf-8", "replace").strip() for line in data[: 1 << 14].splitlines() if line[:2] == b"# "]
    notes, up = said(lines)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # numbers that are missing
            loaded = trimesh.load_scene(path, process=False, maintain_order=True)
    except (RuntimeWarning, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as OBJ ({' '.join(str(error).split())})") from error
    pictures = _pictures(path, data)
    parts = [_part(path, part, pictures) for part in loaded.geometry.values()]  # dump() would lose the normals
    if not parts:
        raise FormatError(f"{path}: holds no triangles and no points")
    return Scene(joined(parts), up or "y", notes=notes)


def _part(path: Path, part: Any, pictures: Mapping[str, Path]) -> Shape:  # noqa: ANN401 - trimesh has no types
    """What trimesh made of the faces of one material, or of all points."""
    vertices = np.asarray(part.vertices, np.float32)
    if vertices.ndim != 2 or vertices.shape[1] != 3:
        raise FormatError(f"{path}: is damaged: a vertex has fewer than three numbers")
    if not hasattr(part, "faces"):
        return PointCloud(vertices, _colors(part.colors, len(vertices)), np.zeros_like(vertices))
    normals = np.asarray(part.vertex_normals, np.float32)
    visual = part.visual
    has_uv = visual.kind == "texture" and visual.uv is not None
    colors = grey(len(vertices)) if visual.kind != "vertex" else _colors(visual.vertex_colors, len(vertices))
    triangles = np.asarray(part.faces, np.int64)
    if triangles.ndim != 2 or triangles.shape[1] != 3 or normals.shape != vertices.shape:
        raise FormatError(f"{path}: is damaged: a face has fewer than three corners")
    mesh = checked_mesh(path, PointCloud(vertices, colors, normals), triangles)
    picture = pictures.get(str(visual.material.name)) if has_uv else None
    if picture is None:
        return mesh
    return textured(mesh, flipped(np.asarray(visual.uv)), decoded(picture, file_bytes(picture)))


def _colors(colors: np.ndarray | None, count: int) -> UInt8[np.ndarray, "n 3"]:
    return grey(count) if colors is None or len(colors) != count else bytes_of_colors(np.asarray(colors))


def _pictures(path: Path, data: bytes) -> dict[str, Path]:
    """The picture of each material (``map_Kd``) in the libraries that the file names."""
    pictures = dict[str, Path]()
    for name in _values(data, "mtllib"):
        material = ""
        library = path.parent / name
        for line in file_bytes(library).decode("utf-8", "replace").splitlines():
            key, _, value = line.strip().partition(" ")
            if key == "newmtl":
                material = value.strip()
            elif key == "map_Kd":
                pictures[material] = library.parent / value.strip().replace("\\", "/")
    return pictures


def _values(data: bytes, key: str) -> Iterator[str]:
    return (
        line[len(key) :].decode("utf-8", "replace").strip()
        for line in data.splitlines()
        if line.startswith(key.encode() + b" ")
    )
