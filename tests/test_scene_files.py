"""Every format of scenes: what is written comes back, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_shapes import SWATCH, box, cloud, random_mesh, scene, textured_box, walk

from recon.errors import FormatError
from recon.io.scene import (
    FORMATS,
    SUFFIXES,
    Kind,
    Look,
    Notes,
    Scene,
    cloud_of,
    files_of,
    kind_of,
    mesh_of,
    read_scene,
    require_format,
    turned,
    up_for,
    write_scene,
)
from recon.types import Mesh, PointCloud, TexturedMesh

MESHES: list[Kind] = ["glb", "obj", "ply", "usdz"]
WITH_TEXTURE: list[Kind] = ["glb", "obj", "ply", "usdz"]
CLOUDS: list[Kind] = ["glb", "obj", "ply", "usdz", "pcx", "splat", "las", "e57"]
EXACT = Look(picture="png")


def back(folder: Path, kind: Kind, written: Scene, look: Look = EXACT) -> Scene:
    path = folder / f"a{FORMATS[kind].suffixes[0]}"
    write_scene(path, written, kind=kind, look=look)
    return read_scene(path)


@pytest.mark.parametrize("kind", MESHES)
@given(count=st.integers(3, 40), seed=st.integers(0, 1000))
def test_a_mesh_comes_back(tmp_path_factory: pytest.TempPathFactory, kind: Kind, count: int, seed: int) -> None:
    mesh = random_mesh(count, seed)
    other = back(tmp_path_factory.mktemp("mesh"), kind, scene(mesh)).shape
    assert isinstance(other, Mesh)
    np.testing.assert_array_equal(other.vertices, mesh.vertices)
    np.testing.assert_array_equal(other.triangles, mesh.triangles)
    np.testing.assert_array_equal(other.colors, mesh.colors)
    np.testing.assert_allclose(other.normals, mesh.normals, atol=1e-6)


@pytest.mark.parametrize("kind", WITH_TEXTURE)
@given(seed=st.integers(0, 1000))
def test_a_texture_comes_back(tmp_path_factory: pytest.TempPathFactory, kind: Kind, seed: int) -> None:
    rng = np.random.default_rng(seed)
    uv = rng.uniform(0, 1, (20, 2)).astype(np.float32)
    uv[:2] = [[0, 0], [1, 1]]
    shape = TexturedMesh(random_mesh(20, seed), uv, rng.integers(0, 256, (5, 7, 3), np.uint8))
    other = back(tmp_path_factory.mktemp("texture"), kind, scene(shape)).shape
    assert isinstance(other, TexturedMesh)
    np.testing.assert_array_equal(other.mesh.vertices, shape.mesh.vertices)
    np.testing.assert_array_equal(other.mesh.triangles, shape.mesh.triangles)
    np.testing.assert_allclose(other.uv, uv, atol=1e-7)
    np.testing.assert_array_equal(other.texture, shape.texture)


@pytest.mark.parametrize("kind", CLOUDS)
@given(count=st.integers(1, 40), seed=st.integers(0, 1000))
def test_a_cloud_comes_back(tmp_path_factory: pytest.TempPathFactory, kind: Kind, count: int, seed: int) -> None:
    points = cloud(count, seed)
    other = back(tmp_path_factory.mktemp("cloud"), kind, scene(points)).shape
    assert isinstance(other, PointCloud)
    np.testing.assert_allclose(other.points, points.points, atol=1e-4 if kind == "las" else 0)
    np.testing.assert_array_equal(other.colors, points.colors)


@pytest.mark.parametrize("kind", ["glb", "ply", "usdz"])
def test_normals_of_a_cloud_come_back(tmp_path: Path, kind: Kind) -> None:
    points = cloud(30)
    np.testing.assert_array_equal(cloud_of(back(tmp_path, kind, scene(points)).shape).normals, points.normals)


def test_triangles_alone_come_back_from_stl(tmp_path: Path) -> None:
    mesh = box((1.0, 2.0, 3.0))
    other = mesh_of(back(tmp_path, "stl", scene(mesh)).shape)
    np.testing.assert_array_equal(other.vertices[other.triangles], mesh.vertices[mesh.triangles])
    assert len(other.vertices) == 8  # corners at one place are one vertex


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in {"stl", "e57"}])
def test_what_is_said_of_a_scene_comes_back(tmp_path: Path, kind: Kind) -> None:
    written = scene(box())
    other = back(tmp_path, kind, written)
    assert other.up == written.up
    assert other.notes == written.notes


@pytest.mark.parametrize("units", ["metres", "slam", "relative"])
@pytest.mark.parametrize("kind", ["glb", "ply", "obj", "usdz", "las"])
def test_units_come_back(tmp_path: Path, kind: Kind, units: str) -> None:
    assert back(tmp_path, kind, scene(box(), notes=Notes(units))).notes == Notes(units)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["glb", "usdz"])
def test_the_path_of_the_camera_comes_back(tmp_path: Path, kind: Kind) -> None:
    path = walk()
    other = back(tmp_path, kind, scene(box())).camera
    assert other is not None
    np.testing.assert_allclose(other.times, path.times - path.times[0], atol=1e-6)
    np.testing.assert_allclose(other.asset_from_camera, path.asset_from_camera, atol=1e-6)
    same = other.intrinsics.scaled(path.intrinsics.width, path.intrinsics.height)
    if kind == "glb":
        assert other.intrinsics == path.intrinsics
    else:  # USD has one focal length, in units of the film
        np.testing.assert_allclose(same.matrix, path.intrinsics.matrix, rtol=2e-3)


@pytest.mark.parametrize("kind", MESHES)
def test_the_swatch_is_exact(tmp_path: Path, kind: Kind) -> None:
    assert (cloud_of(back(tmp_path, kind, scene(box())).shape).colors == SWATCH).all()


@pytest.mark.parametrize("kind", WITH_TEXTURE)
def test_a_texture_as_jpeg_is_close(tmp_path: Path, kind: Kind) -> None:
    shape = textured_box()
    other = back(tmp_path, kind, scene(shape), Look()).shape
    assert isinstance(other, TexturedMesh)
    assert np.abs(other.texture.astype(int) - shape.texture).max() <= 3


@pytest.mark.parametrize("up", ["z", "y", "camera"])
def test_turning_there_and_back(up: str) -> None:
    start = scene(box((1.0, 2.0, 3.0)), up="camera")
    there = turned(start, up)  # type: ignore[arg-type]
    again = turned(there, "camera")
    np.testing.assert_array_equal(cloud_of(again.shape).points, cloud_of(start.shape).points)
    assert there.camera is not None
    assert again.camera is not None
    np.testing.assert_array_equal(again.camera.asset_from_camera, walk().asset_from_camera)


def test_what_a_camera_sees_stays_where_it_is_when_all_is_turned() -> None:
    start = scene(cloud(10), up="camera")
    for up in ("z", "y"):
        there = turned(start, up)  # type: ignore[arg-type]
        for pose, turned_pose in zip(walk().asset_from_camera, there.camera.asset_from_camera, strict=True):  # type: ignore[union-attr]
            before = (cloud_of(start.shape).points - pose[:3, 3]) @ pose[:3, :3]
            after = (cloud_of(there.shape).points - turned_pose[:3, 3]) @ turned_pose[:3, :3]
            np.testing.assert_allclose(after, before, atol=1e-5)


def test_up_is_up() -> None:
    """Down is +y in the world of an OpenCV camera."""
    lower, upper = np.float32([[0, 1, 5]]), np.float32([[0, -1, 5]])
    points = PointCloud(np.concatenate([lower, upper]), np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.float32))
    for up, axis in (("z", 2), ("y", 1)):
        low, high = cloud_of(turned(Scene(points, "camera"), up).shape).points  # type: ignore[arg-type]
        assert high[axis] - low[axis] == 2


def test_a_scene_without_axes_is_not_turned() -> None:
    with pytest.raises(ValueError, match="which axis"):
        turned(Scene(cloud(3), None), "y")


def test_the_axes_that_programs_want() -> None:
    assert {kind: up_for(kind, "blender") for kind in ("glb", "obj", "usdz", "ply", "stl")} == {
        "glb": "y",
        "obj": "y",
        "usdz": "y",
        "ply": "z",
        "stl": "z",
    }
    assert up_for("ply", "unity") == up_for("ply", "web") == up_for("ply", "meshlab") == "y"
    assert up_for("las", "web") == "z"


@pytest.mark.parametrize("kind", ["glb", "pcx"])
def test_what_has_y_up_by_definition_refuses_z(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(ValueError, match="y up"):
        write_scene(tmp_path / "a", scene(box(), up="z"), kind=kind)


def test_a_cloud_is_no_stl(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="triangles, and this is a cloud"):
        write_scene(tmp_path / "a.stl", scene(cloud(3)))


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_written_of_nothing(tmp_path: Path, kind: Kind) -> None:
    with pytest.raises(FormatError, match="nothing to write"):
        write_scene(tmp_path / "a", scene(cloud(0)), kind=kind)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.fbx", "a", "a.gltf"])
def test_formats_that_are_not_written(name: str) -> None:
    with pytest.raises(FormatError, match=r"known are \.glb, \.obj, \.ply"):
        kind_of(Path(name))
    with pytest.raises(FormatError, match="known are"):
        require_format(Path(name))


def test_points_are_numbers() -> None:
    points = cloud(3)
    wrong = points.points.copy()
    wrong[1, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        Scene(PointCloud(wrong, points.colors, points.normals), "y")


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind not in {"las", "e57"}])
def test_an_error_leaves_what_was_there(tmp_path: Path, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = box() if kind in {"stl", "pcx", "splat"} else textured_box()
    path = tmp_path / f"a{FORMATS[kind].suffixes[0]}"
    write_scene(path, scene(shape), kind=kind)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def full(_path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("recon.files.flush", full)
    with pytest.raises(OSError, match="No space"):
        write_scene(path, scene(random_mesh(50, 1)), kind=kind)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_the_files_of_a_mesh(tmp_path: Path) -> None:
    """A blank in a name that another file mentions is what many readers stumble over."""
    for name in ("my mesh.obj", "my mesh.ply", "mesh.glb"):
        (tmp_path / name).mkdir()
        for picture in ("png", "jpeg"):
            path = tmp_path / name / name
            write_scene(path, scene(textured_box()), look=Look(picture=picture))  # type: ignore[arg-type]
        assert set((tmp_path / name).iterdir()) == set(files_of(path))
    assert [each.name for each in files_of(Path("my mesh.obj"))] == [
        "my mesh.obj",
        "my_mesh.mtl",
        "my_mesh_texture.jpg",
        "my_mesh_texture.png",
    ]


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(junk=st.binary(max_size=200))
def test_junk_is_told(tmp_path_factory: pytest.TempPathFactory, suffix: str, junk: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / f"a{suffix}"
    path.write_bytes(junk)
    with pytest.raises(FormatError, match="a" + suffix):
        read_scene(path)


@pytest.mark.parametrize("kind", FORMATS)
@given(part=st.floats(0.0, 0.99))
def test_what_is_cut_short_is_told(tmp_path_factory: pytest.TempPathFactory, kind: Kind, part: float) -> None:
    folder = tmp_path_factory.mktemp("short")
    path = folder / f"a{FORMATS[kind].suffixes[0]}"
    write_scene(path, scene(box()), kind=kind)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    if kind == "obj":  # lines of text: what is there may be whole
        try:
            assert cloud_of(read_scene(path).shape).points.size
        except FormatError:
            return
    else:
        with pytest.raises(FormatError, match="a\\."):
            read_scene(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_not_there(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(FormatError, match="no such file"):
        read_scene(tmp_path / f"a{suffix}")
