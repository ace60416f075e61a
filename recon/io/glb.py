"""Binary glTF 2.0 (Khronos glTF 2.0 specification, ISO/IEC 12113), written so that what importers show is exact.

One buffer in the file itself; colours of vertices as linear light in 16 bits (section 3.7.2.1: COLOR_0 is linear, and
8 bits crush the darks); texture coordinates with the origin above left; textures embedded. The camera's path is a node
with a camera and an animation of its translation and rotation.
"""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import (
    OPENGL_FROM_OPENCV,
    CameraPath,
    Look,
    Scene,
    Shape,
    all_known,
    cloud_of,
    encoded,
    linear16_from_srgb,
    mesh_of,
)
from recon.types import Intrinsics, PointCloud, TexturedMesh

MAGIC: Final = b"glTF"
JSON_CHUNK: Final = b"JSON"
BINARY_CHUNK: Final = b"BIN\0"
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
POINTS, TRIANGLES = 0, 4
UNLIT: Final = "KHR_materials_unlit"
NEAR, FAR = 0.01, 1000.0
"""Nearest and farthest distance that the camera node shows, in units of length; Unity takes none for endless."""

_KINDS = {"<f4": FLOAT, "<u2": UNSIGNED_SHORT, "<u4": UNSIGNED_INT}
_SHAPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}
_LARGEST = (1 << 32) - 1
_RESTART = 65535
"""Index of 16 bits that means something else (section 3.7.2.1)."""

Json = dict[str, Any]


@dataclass
class _Builder:
    """The arrays of a file, and what its JSON says of them."""

    blocks: list[np.ndarray] = field(default_factory=list)
    size: int = 0
    views: list[Json] = field(default_factory=list)
    accessors: list[Json] = field(default_factory=list)

    def view(self, values: np.ndarray, target: int | None = None) -> int:
        """Add bytes; the number of the view."""
        view = {"buffer": 0, "byteOffset": self.size, "byteLength": values.nbytes}
        self.views.append(view | ({"target": target} if target else {}))
        self.blocks.append(values)
        self.size += values.nbytes + -values.nbytes % 4
        return len(self.views) - 1

    def accessor(self, values: np.ndarray, target: int | None = None, *, bounds: bool = False) -> int:
        """Add an array of numbers; the number of the accessor."""
        values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
        accessor: Json = {
            "bufferView": self.view(values, target),
            "componentType": _KINDS[values.dtype.str],
            "count": len(values),
            "type": _SHAPES[values[0].size],
        }
        if bounds:
            columns = values.reshape(len(values), -1)
            accessor |= {"min": columns.min(axis=0).tolist(), "max": columns.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def write_glb(path: Path, scene: Scene, look: Look) -> None:
    """Write a mesh or a cloud with its colours or texture, the camera's path, and notes as ``extras`` of the scene.

    Normals are written only where all are known; a textured mesh has no COLOR_0, which would darken its texture.

    Raises:
        ValueError: the scene has z up; glTF stands on y.
        FormatError: it is larger than the 4 GiB that the format holds.
    """
    if scene.up == "z":
        raise ValueError("glTF has y up: turn the scene")
    builder = _Builder()
    document = _document(scene, look, builder)
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 4)
    total = 12 + 8 + len(text) + 8 + builder.size
    if total > _LARGEST:
        raise FormatError(f"{path}: {total / 2**30:.1f} GiB are more than GLB holds (4): fewer triangles, or PLY")
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(MAGIC + struct.pack("<II", 2, total))
        file.write(struct.pack("<I", len(text)) + JSON_CHUNK + text)
        file.write(struct.pack("<I", builder.size) + BINARY_CHUNK)
        for block in builder.blocks:
            file.write(block.data)
            file.write(b"\0" * (-block.nbytes % 4))


def _document(scene: Scene, look: Look, builder: _Builder) -> Json:
    document: Json = {
        "asset": {"version": "2.0", "generator": "recon"},
        "scene": 0,
        "scenes": [{"nodes": [0], "extras": scene.extras}],
        "nodes": [{"name": "recon", "mesh": 0}],
        "meshes": [{"name": "recon", "primitives": [_primitive(scene.shape, builder)]}],
        "materials": [_material(scene.shape, look)],
    }
    if look.material == "unlit":
        document["extensionsUsed"] = [UNLIT]
    if isinstance(scene.shape, TexturedMesh):
        document |= _texture(scene.shape, look, builder)
    if scene.camera is not None:
        _add_camera(document, scene.camera, builder)
    document |= {"accessors": builder.accessors, "bufferViews": builder.views}
    document["buffers"] = [{"byteLength": builder.size}]
    return document


def _primitive(shape: Shape, builder: _Builder) -> Json:
    cloud = cloud_of(shape)
    attributes = {"POSITION": builder.accessor(cloud.points, ARRAY_BUFFER, bounds=True)}
    if all_known(cloud.normals):
        attributes["NORMAL"] = builder.accessor(cloud.normals, ARRAY_BUFFER)
    if isinstance(shape, TexturedMesh):
        attributes["TEXCOORD_0"] = builder.accessor(shape.uv, ARRAY_BUFFER)
    else:
        opaque = np.full((len(cloud), 1), 65535, np.uint16)  # three of 16 bits would not keep rows at 4 bytes
        light = np.concatenate([linear16_from_srgb(cloud.colors), opaque], axis=1)
        attributes["COLOR_0"] = builder.accessor(light, ARRAY_BUFFER)
        builder.accessors[-1]["normalized"] = True
    primitive: Json = {"attributes": attributes, "material": 0, "mode": POINTS}
    if not isinstance(shape, PointCloud):
        kind = np.uint16 if len(cloud) <= _RESTART else np.uint32
        corners = mesh_of(shape).triangles.reshape(-1).astype(kind)
        primitive |= {"indices": builder.accessor(corners, ELEMENT_ARRAY_BUFFER), "mode": TRIANGLES}
    return primitive


def _material(shape: Shape, look: Look) -> Json:
    surface: Json = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    if isinstance(shape, TexturedMesh):
        surface["baseColorTexture"] = {"index": 0}
    material: Json = {"name": "recon", "pbrMetallicRoughness": surface, "doubleSided": True}
    return material | ({"extensions": {UNLIT: {}}} if look.material == "unlit" else {})


def _texture(shape: TexturedMesh, look: Look, builder: _Builder) -> Json:
    data = np.frombuffer(encoded(shape.texture, look), np.uint8)
    linear, mipmaps, clamp = 9729, 9987, 33071
    return {
        "images": [{"bufferView": builder.view(data), "mimeType": f"image/{look.picture}", "name": "texture"}],
        "samplers": [{"magFilter": linear, "minFilter": mipmaps, "wrapS": clamp, "wrapT": clamp}],
        "textures": [{"sampler": 0, "source": 0}],
    }


def _add_camera(document: Json, camera: CameraPath, builder: _Builder) -> None:
    translations, rotations = translations_and_rotations(camera)
    place = {"translation": translations[0].tolist(), "rotation": rotations[0].tolist()}
    document["cameras"] = [_camera(camera.intrinsics)]
    document["nodes"].append({"name": "camera", "camera": 0, **place})
    document["scenes"][0]["nodes"].append(1)
    times = (camera.times - camera.times[0]).astype(np.float32)
    keys = np.concatenate([[True], np.diff(times) > 0])  # apart in the precision of the file, too
    if keys.sum() < 2:
        return
    input_ = builder.accessor(times[keys], bounds=True)
    samplers = [
        {"input": input_, "output": builder.accessor(values[keys]), "interpolation": "LINEAR"}
        for values in (translations, rotations)
    ]
    channels = [
        {"sampler": number, "target": {"node": 1, "path": name}}
        for number, name in enumerate(("translation", "rotation"))
    ]
    document["animations"] = [{"name": "camera path", "channels": channels, "samplers": samplers}]


def _camera(intrinsics: Intrinsics) -> Json:
    """The camera; glTF knows none whose axis is off the middle, so that the exact numbers stand in its extras."""
    yfov = 2 * np.arctan2(intrinsics.height / 2, intrinsics.fy)
    ratio = (intrinsics.width / intrinsics.fx) / (intrinsics.height / intrinsics.fy)
    names = ("fx", "fy", "cx", "cy", "width", "height")
    return {
        "name": "camera",
        "type": "perspective",
        "perspective": {"yfov": float(yfov), "aspectRatio": float(ratio), "znear": NEAR, "zfar": FAR},
        "extras": {name: getattr(intrinsics, name) for name in names},
    }


def translations_and_rotations(camera: CameraPath) -> tuple[Float32[np.ndarray, "n 3"], Float32[np.ndarray, "n 4"]]:
    """Poses with OpenGL's camera axes as positions and quaternions (x, y, z, w) whose signs do not jump."""
    poses = camera.asset_from_camera @ np.diag(OPENGL_FROM_OPENCV)
    quaternions = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    turned_over = (quaternions[1:] * quaternions[:-1]).sum(axis=1) < 0
    signs = np.cumprod(np.concatenate([[1.0], np.where(turned_over, -1.0, 1.0)]))
    return poses[:, :3, 3].astype(np.float32), (quaternions * signs[:, None]).astype(np.float32)
