"""GLB as the specification has it, and as other programs read it."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scene_shapes import SWATCH, box, quadrants, random_mesh, scene, textured_box, walk
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.io.glb import FAR, NEAR, translations_and_rotations
from recon.io.scene import CameraPath, Look, Scene, cloud_of, mesh_of, read_scene, write_scene
from recon.types import Intrinsics, Mesh, PointCloud

EXACT = Look(picture="png")


def chunks_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    more, other = struct.unpack_from("<I4s", data, 20 + size)
    assert other == b"BIN\0"
    assert 28 + size + more == total
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def written(folder: Path, shape: Scene, look: Look = EXACT) -> Path:
    write_scene(folder / "a.glb", shape, look=look)
    return folder / "a.glb"


GOLDEN = (
    b'{"asset":{"version":"2.0","generator":"recon"},"scene":0,"scenes":[{"nodes":[0],"extras":{"units":"metres",'
    b'"axes":"right-handed, +x right, +y up, -z forward, as the first camera saw it"}}],'
    b'"nodes":[{"name":"recon","mesh":0}],"meshes":[{"name":"recon","primitives":[{"attributes":{"POSITION":0,'
    b'"COLOR_0":1},"material":0,"mode":4,"indices":2}]}],"materials":[{"name":"recon","pbrMetallicRoughness":'
    b'{"metallicFactor":0.0,"roughnessFactor":1.0},"doubleSided":true,"extensions":{"KHR_materials_unlit":{}}}],'
    b'"extensionsUsed":["KHR_materials_unlit"],"accessors":[{"bufferView":0,"componentType":5126,"count":3,'
    b'"type":"VEC3","min":[0.0,0.0,0.0],"max":[1.0,2.0,0.0]},{"bufferView":1,"componentType":5123,"count":3,'
    b'"type":"VEC4","normalized":true},{"bufferView":2,"componentType":5123,"count":3,"type":"SCALAR"}],'
    b'"bufferViews":[{"buffer":0,"byteOffset":0,"byteLength":36,"target":34962},{"buffer":0,"byteOffset":36,'
    b'"byteLength":24,"target":34962},{"buffer":0,"byteOffset":60,"byteLength":6,"target":34963}],'
    b'"buffers":[{"byteLength":68}]}'
)


def test_the_bytes_of_a_file(tmp_path: Path) -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2, 0]], np.float32)
    colors = np.array([SWATCH, (0, 255, 1), (2, 3, 5)], np.uint8)
    mesh = Mesh(vertices, np.array([[0, 1, 2]], np.int32), colors, np.zeros_like(vertices))
    path = written(tmp_path, Scene(mesh, "y"))
    text = GOLDEN + b" " * (-len(GOLDEN) % 4)
    # IEC 61966-2-1 by hand: 188, 64, 32 -> light 0.50289, 0.05127, 0.01444; 1 -> 0.000304; 2, 3, 5 -> 0.0006 to 0.0015
    light = [(32957, 3360, 947), (0, 65535, 20), (40, 60, 99)]
    binary = vertices.tobytes() + b"".join(struct.pack("<4H", *rgb, 65535) for rgb in light)
    binary += struct.pack("<3H", 0, 1, 2) + b"\0\0"
    head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
    expected = (
        head + struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    )
    assert path.read_bytes() == expected


def test_dark_colors_stay_apart(tmp_path: Path) -> None:
    """Linear bytes would make (2, 3, 5) black."""
    every = np.arange(256, dtype=np.uint8)
    points = PointCloud(np.zeros((256, 3), np.float32), np.stack([every] * 3, axis=1), np.zeros((256, 3), np.float32))
    np.testing.assert_array_equal(cloud_of(read_scene(written(tmp_path, scene(points))).shape).colors[:, 0], every)


def test_a_texture_is_not_darkened_by_colors_of_vertices(tmp_path: Path) -> None:
    document, _data = chunks_of(written(tmp_path, scene(textured_box())))
    assert set(document["meshes"][0]["primitives"][0]["attributes"]) == {"POSITION", "NORMAL", "TEXCOORD_0"}


def test_unlit_or_lit(tmp_path: Path) -> None:
    document, _data = chunks_of(written(tmp_path, scene(box()), Look("lit")))
    assert "extensionsUsed" not in document
    assert document["materials"][0]["pbrMetallicRoughness"] == {"metallicFactor": 0, "roughnessFactor": 1}
    document, _data = chunks_of(written(tmp_path, scene(box())))
    assert document["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}


def test_many_vertices_have_indices_of_32_bits(tmp_path: Path) -> None:
    for count, kind in ((65535, 5123), (65536, 5125)):  # 65535 is no index of 16 bits
        mesh = random_mesh(count, 0)
        path = written(tmp_path, Scene(mesh, "y"))
        document, _data = chunks_of(path)
        assert document["accessors"][-1]["componentType"] == kind
        np.testing.assert_array_equal(mesh_of(read_scene(path).shape).triangles, mesh.triangles)  # type: ignore[arg-type]


def test_what_is_said_stands_in_the_extras(tmp_path: Path) -> None:
    document, _data = chunks_of(written(tmp_path, scene(box())))
    extras = document["scenes"][0]["extras"]
    assert extras["units"] == "metres"
    assert extras["scale_sigma"] == 0.03
    assert extras["made by"] == "recon from clip.mp4"


def test_the_camera_looks_ahead(tmp_path: Path) -> None:
    """A camera at the origin of OpenCV's world, turned to y up, has glTF's own axes: no rotation."""
    path = CameraPath(np.zeros(1), np.diag([1.0, -1.0, -1.0, 1.0])[None], Intrinsics.from_fov(90.0, 640, 480))
    document, _data = chunks_of(written(tmp_path, scene(box(), camera=path)))
    node = document["nodes"][1]
    assert node == {"name": "camera", "camera": 0, "translation": [0, 0, 0], "rotation": [0, 0, 0, 1]}
    lens = document["cameras"][0]["perspective"]
    assert lens == pytest.approx({"yfov": 2 * np.arctan(0.75), "aspectRatio": 4 / 3, "znear": NEAR, "zfar": FAR})
    assert "animations" not in document


@given(seed=st.integers(0, 1000), count=st.integers(2, 60))
def test_signs_of_quaternions_do_not_jump(seed: int, count: int) -> None:
    """Viewers interpolate the numbers: a jump would send the camera the long way round."""
    rng = np.random.default_rng(seed)
    turns = Rotation.from_rotvec(rng.normal(size=3) * np.linspace(0, 12, count)[:, None] / 3)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = turns.as_matrix()
    _places, rotations = translations_and_rotations(replace(walk(count), asset_from_camera=poses))
    assert ((rotations[1:] * rotations[:-1]).sum(axis=1) >= 0).all()
    expected = poses[:, :3, :3] @ np.diag([1, -1, -1])
    np.testing.assert_allclose(Rotation.from_quat(rotations).as_matrix(), expected, atol=1e-5)


def test_keys_that_float32_cannot_tell_apart_become_one(tmp_path: Path) -> None:
    path = walk(3)
    times = np.array([0.0, 100000.0, 100000.0 + 1e-4])
    other = read_scene(written(tmp_path, scene(box(), camera=replace(path, times=times)))).camera
    assert other is not None
    np.testing.assert_array_equal(other.times, [0, 100000])


def test_trimesh_reads_what_we_write(tmp_path: Path) -> None:
    mesh = trimesh.load_mesh(written(tmp_path, scene(textured_box((1.0, 2.0, 3.0)))), process=False)
    np.testing.assert_array_equal(mesh.extents, [1, 2, 3])
    assert len(mesh.faces) == 12
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.baseColorTexture), quadrants())
    flipped = textured_box().uv * (1, -1) + (0, 1)  # trimesh has the origin below
    np.testing.assert_allclose(mesh.visual.uv, flipped, atol=1e-7)
    np.testing.assert_array_equal(mesh.vertex_normals, box().normals)


def test_we_read_what_trimesh_writes(tmp_path: Path) -> None:
    """Two nodes, one of them moved, become one mesh."""
    one, two = trimesh.creation.box(), trimesh.creation.box()
    whole = trimesh.Scene()
    whole.add_geometry(one)
    whole.add_geometry(two, transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    whole.export(tmp_path / "b.glb")
    shape = read_scene(tmp_path / "b.glb").shape
    points = cloud_of(shape).points
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [[-0.5] * 3, [5.5, 0.5, 0.5]])
    assert len(mesh_of(shape)) == 24  # type: ignore[arg-type]
    whole.export(tmp_path / "c.gltf")
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "c.gltf").shape).points, points)


def test_several_pictures_become_colors_of_vertices(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from PIL import Image  # noqa: PLC0415 - trimesh's pictures

    whole = trimesh.Scene()
    for number, color in enumerate((SWATCH, (10, 20, 30))):
        mesh = trimesh.creation.box()
        image = Image.fromarray(np.full((4, 4, 3), color, np.uint8))
        mesh.visual = trimesh.visual.TextureVisuals(np.full((8, 2), 0.5), image=image)
        whole.add_geometry(mesh, transform=trimesh.transformations.translation_matrix([3 * number, 0, 0]))
    whole.export(tmp_path / "b.glb")
    shape = read_scene(tmp_path / "b.glb").shape
    assert isinstance(shape, Mesh)
    np.testing.assert_array_equal(np.unique(shape.colors, axis=0), [(10, 20, 30), SWATCH])
    assert "colours of vertices" in caplog.text


def changed(path: Path, change: dict[str, Any]) -> Path:
    document, data = chunks_of(path)
    text = json.dumps(document | change).encode()
    text += b" " * (-len(text) % 4)
    head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data)) + struct.pack("<I4s", len(text), b"JSON")
    path.write_bytes(head + text + struct.pack("<I4s", len(data), b"BIN\0") + data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, "needs KHR_draco_mesh_compression"),
        ({"asset": {"version": "1.0"}}, "is glTF 1.0"),
        ({"bufferViews": []}, "damaged"),
        ({"accessors": [{"sparse": {}, "componentType": 5126, "count": 1, "type": "VEC3"}]}, "sparse"),
        ({"meshes": [{"primitives": []}]}, "no triangles and no points"),
        ({"nodes": [{"children": [0]}], "scenes": [{"nodes": [0]}]}, "stands twice"),
        ({"buffers": [{"uri": "gone.bin", "byteLength": 3}]}, "gone.bin: cannot be read"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_scene(changed(written(tmp_path, scene(box())), change))


def test_a_mirrored_node_turns_its_triangles(tmp_path: Path) -> None:
    nodes = [{"mesh": 0, "scale": [-2, 2, 2]}]
    mesh = mesh_of(read_scene(changed(written(tmp_path, scene(box(), camera=None)), {"nodes": nodes})).shape)  # type: ignore[arg-type]
    corners = mesh.vertices[mesh.triangles]
    outward = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((corners.mean(axis=1) - (-1, 1, 1)) * outward).sum(axis=1).min() > 0
    np.testing.assert_allclose(mesh.normals[mesh.triangles[:, 0]], outward / 4, atol=1e-6)
