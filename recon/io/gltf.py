"""Reading glTF 2.0, as GLB or with its buffers beside it: triangles and points with colours, texture and camera path.

Colours come back as sRGB bytes: COLOR_0 and the factors of materials are linear light (section 3.7.2.1, 3.9.2), which
general readers hand on as if they were sRGB.
"""

import json
import struct
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.io.asset import (
    OPENGL_FROM_OPENCV,
    CameraPath,
    Scene,
    Shape,
    checked_mesh,
    decoded,
    file_bytes,
    grey,
    joined,
    notes_from,
    textured,
    up_from,
)
from recon.io.glb import BINARY_CHUNK, JSON_CHUNK, MAGIC, POINTS, TRIANGLES, Json
from recon.light import srgb_from_linear
from recon.types import Intrinsics, Picture, PointCloud

_TYPES: Final = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_KNOWN = {"KHR_materials_unlit", "KHR_texture_transform", "KHR_mesh_quantization"}
"""Extensions without which a file may not be read, and that this reader knows or can do without."""
_NO_TRANSFORM = "KHR_texture_transform"


@dataclass(frozen=True, slots=True)
class _Asset:
    """A parsed file."""

    path: Path
    document: Json
    buffers: list[bytes]

    def view(self, number: int) -> tuple[memoryview, Json]:
        view = self.document["bufferViews"][number]
        start = view.get("byteOffset", 0)
        return memoryview(self.buffers[view["buffer"]])[start : start + view["byteLength"]], view

    def array(self, number: int) -> np.ndarray:
        """The numbers of an accessor, (count, width); normalised integers as float32 from -1 or 0 to 1."""
        accessor = self.document["accessors"][number]
        kind, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        if "sparse" in accessor:
            raise FormatError(f"{self.path}: sparse accessors are not supported")
        if "bufferView" not in accessor:
            return np.zeros((accessor["count"], width), kind)
        data, view = self.view(accessor["bufferView"])
        stride = view.get("byteStride", kind.itemsize * width)
        rows: np.ndarray = np.ndarray(
            (accessor["count"], width), kind, data, accessor.get("byteOffset", 0), (stride, kind.itemsize)
        )
        if not accessor.get("normalized", False):
            return rows
        return np.maximum(rows.astype(np.float32) / np.iinfo(kind).max, -1)


def read_gltf(path: Path) -> Scene:
    """Read all meshes of the scene as one shape, where their nodes put them, with the path of the first camera.

    Raises:
        FormatError: it is missing, damaged, needs an extension that is not known (Draco, meshopt), or holds neither
            triangles nor points.
    """
    data = file_bytes(path)
    try:
        asset = _parsed(path, data)
        placed = list(_placed(asset))
        parts = [part for node, pose in placed for part in _parts(asset, node, pose)]
        camera = _camera_path(asset, placed)
        extras = asset.document.get("scenes", [{}])[asset.document.get("scene", 0)].get("extras", {})
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, struct.error) as error:
        raise FormatError(f"{path}: is damaged or not glTF 2.0 ({type(error).__name__}: {error})") from error
    if not parts:
        raise FormatError(f"{path}: holds no triangles and no points")
    extras = extras if isinstance(extras, dict) else {}
    return Scene(joined(parts), up_from(extras, "y"), camera, notes_from(extras))


def _parsed(path: Path, data: bytes) -> _Asset:
    binary = b""
    if data[:4] == MAGIC:
        chunks = dict(_chunks(path, data))
        text, binary = chunks[JSON_CHUNK], chunks.get(BINARY_CHUNK, b"")
    else:
        text = data
    document = json.loads(text)
    version = str(document["asset"]["version"])
    if not version.startswith("2."):
        raise FormatError(f"{path}: is glTF {version}, and recon reads 2.0")
    unknown = set(document.get("extensionsRequired", [])) - _KNOWN
    if unknown:
        raise FormatError(f"{path}: needs {', '.join(sorted(unknown))}, which recon does not read: save it without")
    buffers = [_buffer(path, buffer, binary) for buffer in document.get("buffers", [])]
    return _Asset(path, document, buffers)


def _chunks(path: Path, data: bytes) -> Iterator[tuple[bytes, bytes]]:
    _magic, version, total = struct.unpack_from("<4sII", data)
    if version != 2 or total > len(data):
        raise FormatError(f"{path}: is glTF {version}, or cut short ({len(data)} of {total} bytes)")
    place = 12
    while place + 8 <= total:
        (size,) = struct.unpack_from("<I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        place += 8 + size


def _buffer(path: Path, buffer: Json, binary: bytes) -> bytes:
    return _from_uri(path, buffer["uri"]) if "uri" in buffer else binary


def _from_uri(path: Path, uri: str) -> bytes:
    if uri.startswith("data:"):
        return b64decode(uri.partition(",")[2])
    return file_bytes(path.parent / unquote(uri))


def _placed(asset: _Asset) -> Iterator[tuple[Json, Float64[np.ndarray, "4 4"]]]:
    """The nodes of the scene and their transforms."""
    document = asset.document
    scenes = document.get("scenes", [{"nodes": list(range(len(document.get("nodes", []))))}])
    waiting = [(number, np.eye(4)) for number in scenes[document.get("scene", 0)].get("nodes", [])]
    seen = set[int]()
    while waiting:
        number, parent = waiting.pop(0)
        if number in seen:
            raise ValueError(f"node {number} stands twice in the tree")
        seen.add(number)
        node = document["nodes"][number]
        pose = parent @ _local(node)
        yield node, pose
        waiting += [(child, pose) for child in node.get("children", [])]


def _local(node: Json) -> Float64[np.ndarray, "4 4"]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    pose = np.eye(4)
    turn = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
    pose[:3, :3] = turn * np.array(node.get("scale", [1, 1, 1]), np.float64)
    pose[:3, 3] = node.get("translation", [0, 0, 0])
    return pose


def _parts(asset: _Asset, node: Json, pose: Float64[np.ndarray, "4 4"]) -> Iterator[Shape]:
    if "mesh" not in node:
        return
    for primitive in asset.document["meshes"][node["mesh"]]["primitives"]:
        if primitive.get("mode", TRIANGLES) in {POINTS, TRIANGLES}:
            yield _part(asset, primitive, pose)


def _part(asset: _Asset, primitive: Json, pose: Float64[np.ndarray, "4 4"]) -> Shape:
    attributes = primitive["attributes"]
    material = asset.document.get("materials", [{}])[primitive["material"]] if "material" in primitive else {}
    surface = material.get("pbrMetallicRoughness", {})
    points = asset.array(attributes["POSITION"]).astype(np.float64) @ pose[:3, :3].T + pose[:3, 3]
    corners = PointCloud(
        points.astype(np.float32),
        _colors(asset, attributes, surface, len(points)),
        _normals(asset, attributes, pose, len(points)),
    )
    if primitive.get("mode", TRIANGLES) == POINTS:
        return corners
    order = asset.array(primitive["indices"])[:, 0] if "indices" in primitive else np.arange(len(points))
    triangles = order[: len(order) // 3 * 3].astype(np.int64).reshape(-1, 3)
    if np.linalg.det(pose[:3, :3]) < 0:  # section 3.7.4: a mirrored node turns its triangles over
        triangles = triangles[:, ::-1]
    mesh = checked_mesh(asset.path, corners, triangles)
    place = surface.get("baseColorTexture")
    if place is None or f"TEXCOORD_{place.get('texCoord', 0)}" not in attributes:
        return mesh
    if _NO_TRANSFORM in place.get("extensions", {}):
        raise FormatError(f"{asset.path}: {_NO_TRANSFORM} is not supported: save it without")
    uv = asset.array(attributes[f"TEXCOORD_{place.get('texCoord', 0)}"])
    return textured(mesh, uv, _texture(asset, place["index"]))


def _colors(asset: _Asset, attributes: Json, surface: Json, count: int) -> UInt8[np.ndarray, "n 3"]:
    factor = np.array(surface.get("baseColorFactor", [1, 1, 1, 1])[:3], np.float32)
    if "COLOR_0" in attributes:
        return srgb_from_linear(asset.array(attributes["COLOR_0"])[:, :3].astype(np.float32) * factor)
    if "baseColorFactor" in surface:
        return srgb_from_linear(np.tile(factor, (count, 1)))
    return grey(count)


def _normals(
    asset: _Asset, attributes: Json, pose: Float64[np.ndarray, "4 4"], count: int
) -> Float32[np.ndarray, "n 3"]:
    """Normals turn with the inverse transpose; a rigid pose changes no bit of what the identity leaves alone."""
    if "NORMAL" not in attributes:
        return np.zeros((count, 3), np.float32)
    normals = asset.array(attributes["NORMAL"]).astype(np.float32)
    if np.array_equal(pose[:3, :3], np.eye(3)):
        return normals
    turned = normals @ np.linalg.inv(pose[:3, :3])
    length = np.linalg.norm(turned, axis=1, keepdims=True)
    return (turned / np.where(length > 0, length, 1)).astype(np.float32)


def _texture(asset: _Asset, number: int) -> Picture:
    image = asset.document["images"][asset.document["textures"][number]["source"]]
    if "uri" in image:
        return decoded(asset.path, _from_uri(asset.path, image["uri"]))
    return decoded(asset.path, bytes(asset.view(image["bufferView"])[0]))


def _camera_path(asset: _Asset, placed: list[tuple[Json, Float64[np.ndarray, "4 4"]]]) -> CameraPath | None:
    """The first camera: its animation if it has one of both position and direction, else where it stands."""
    found = next(((node, pose) for node, pose in placed if "camera" in node), None)
    if found is None:
        return None
    node, pose = found
    described = asset.document["cameras"][node["camera"]]
    if described["type"] != "perspective":
        return None
    number = next(place for place, each in enumerate(asset.document["nodes"]) if each is node)
    times, poses = _animated(asset, number) or (np.zeros(1), _rigid_of(pose)[None])
    return CameraPath(times, poses @ np.diag(OPENGL_FROM_OPENCV), _intrinsics(described))


def _rigid_of(pose: Float64[np.ndarray, "4 4"]) -> Float64[np.ndarray, "4 4"]:
    """A pose without the scale of its node, which means nothing for a camera."""
    rigid = pose.copy()
    rigid[:3, :3] /= np.linalg.norm(pose[:3, :3], axis=0)
    return rigid


def _animated(asset: _Asset, number: int) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n 4 4"]] | None:
    for animation in asset.document.get("animations", []):
        curves = {
            channel["target"].get("path"): animation["samplers"][channel["sampler"]]
            for channel in animation["channels"]
            if channel["target"].get("node") == number
        }
        if {"translation", "rotation"} <= set(curves):
            return _poses(asset, curves)
    return None


def _poses(
    asset: _Asset, curves: dict[str, Any]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, "n 4 4"]] | None:
    """Poses at the key frames; both curves must have the same ones."""
    times, others = (asset.array(curves[name]["input"])[:, 0] for name in ("translation", "rotation"))
    linear = all(curves[name].get("interpolation", "LINEAR") == "LINEAR" for name in ("translation", "rotation"))
    if not linear or not np.array_equal(times, others):
        return None
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, :3, 3] = asset.array(curves["translation"]["output"])
    poses[:, :3, :3] = Rotation.from_quat(asset.array(curves["rotation"]["output"])).as_matrix()
    return times.astype(np.float64), poses


def _intrinsics(camera: Json) -> Intrinsics:
    """From the numbers that recon leaves there, else from the field of view, for a picture 1000 pixels high."""
    extras = camera.get("extras")
    if isinstance(extras, dict) and {"fx", "fy", "cx", "cy", "width", "height"} <= set(extras):
        fx, fy, cx, cy = (float(extras[name]) for name in ("fx", "fy", "cx", "cy"))
        return Intrinsics(fx, fy, cx, cy, int(extras["width"]), int(extras["height"]))
    view, height = camera["perspective"], 1000
    width = round(height * view.get("aspectRatio", 1.0))
    focal = float(height / 2 / np.tan(view["yfov"] / 2))
    return Intrinsics(focal, focal, width / 2, height / 2, width, height)
