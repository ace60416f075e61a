"""Formats of scenes one by one: their bytes, and what other programs make of them."""

import importlib
import zipfile
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pye57
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from pxr import Usd, UsdGeom, UsdShade, UsdValidation
from scene_shapes import SWATCH, box, cloud, quadrants, random_mesh, scene, textured_box, walk

from recon.errors import FormatError, MissingPackageError
from recon.io.asset import fans, far_origin, joined, near_origin, turned
from recon.io.las import step_of
from recon.io.ply_mesh import LEFT_HANDED
from recon.io.scene import Look, Notes, Scene, cloud_of, mesh_of, read_scene, require_format, to_unity, write_scene
from recon.io.splat import NEIGHBOURS, OPACITY, SH0, spacing
from recon.types import Mesh, PointCloud, TexturedMesh

EXACT = Look(picture="png")


def open3d() -> Any:
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d cannot be loaded (it needs libgl1, libegl1 and libusb-1.0-0): {error}")


def triangle(*, has_uv: bool) -> Scene:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 2.5, 0]], np.float32)
    colors = np.array([SWATCH, (0, 255, 1), (2, 3, 5)], np.uint8)
    normals = np.tile(np.float32([0, 0, 1]), (3, 1))
    mesh = Mesh(vertices, np.array([[0, 1, 2]], np.int32), colors, normals)
    uv = np.array([[0, 1], [1, 1], [0, 0.25]], np.float32)
    return Scene(TexturedMesh(mesh, uv, quadrants()) if has_uv else mesh, "y", notes=Notes("metres", 0.03))


GOLDEN_PLY = b"""ply
format binary_little_endian 1.0
comment units: m
comment scale sigma: 0.03
comment axes: right-handed, +x right, +y up, -z forward, as the first camera saw it
comment TextureFile a_texture.png
element vertex 3
property float x
property float y
property float z
property float nx
property float ny
property float nz
property float s
property float t
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
"""


def test_the_bytes_of_ply(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.ply", triangle(has_uv=True), look=EXACT)
    rows = [([0, 0, 0], [0, 0], SWATCH), ([1, 0, 0], [1, 0], (0, 255, 1)), ([0, 2.5, 0], [0, 0.75], (2, 3, 5))]
    body = b"".join(np.float32([*xyz, 0, 0, 1, *uv]).tobytes() + bytes(rgb) for xyz, uv, rgb in rows)
    body += b"\x03" + np.int32([0, 1, 2]).tobytes()
    assert (tmp_path / "a.ply").read_bytes() == GOLDEN_PLY + body


GOLDEN_OBJ = """# units: m
# scale sigma: 0.03
# axes: right-handed, +x right, +y up, -z forward, as the first camera saw it
o recon
v 0 0 0 0.7373 0.251 0.1255
v 1 0 0 0 1 0.003922
v 0 2.5 0 0.007843 0.01176 0.01961
vn 0 0 1
vn 0 0 1
vn 0 0 1
f 1//1 2//2 3//3
"""
GOLDEN_TEXTURED_OBJ = """# units: m
# scale sigma: 0.03
# axes: right-handed, +x right, +y up, -z forward, as the first camera saw it
mtllib a_b.mtl
o recon
v 0 0 0
v 1 0 0
v 0 2.5 0
vt 0 0
vt 1 0
vt 0 0.75
vn 0 0 1
vn 0 0 1
vn 0 0 1
usemtl recon
f 1/1/1 2/2/2 3/3/3
"""
GOLDEN_MTL = """newmtl recon
Ka 0 0 0
Kd 1 1 1
Ks 0 0 0
d 1
illum 1
map_Kd a_b_texture.jpg
"""


def test_the_text_of_obj(tmp_path: Path) -> None:
    write_scene(tmp_path / "a b.obj", triangle(has_uv=False))
    assert (tmp_path / "a b.obj").read_bytes().decode() == GOLDEN_OBJ
    write_scene(tmp_path / "a b.obj", triangle(has_uv=True))
    assert (tmp_path / "a b.obj").read_bytes().decode() == GOLDEN_TEXTURED_OBJ
    assert (tmp_path / "a_b.mtl").read_bytes().decode() == GOLDEN_MTL
    assert (tmp_path / "a_b_texture.jpg").is_file()


def test_the_bytes_of_stl(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.stl", triangle(has_uv=False))
    data = (tmp_path / "a.stl").read_bytes()
    assert data[:30] == b"recon, units: m, scale sigma: "
    assert data[80:84] == b"\x01\0\0\0"
    assert data[84:] == np.float32([0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2.5, 0]).tobytes() + b"\0\0"


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl"])
def test_trimesh_and_open3d_read_what_we_write(tmp_path: Path, suffix: str) -> None:
    o3d, path = open3d(), tmp_path / f"a{suffix}"
    write_scene(path, scene(box((1.0, 2.0, 3.0))))
    other, third = trimesh.load_mesh(path, process=False), o3d.io.read_triangle_mesh(str(path))
    np.testing.assert_array_equal(other.extents, [1, 2, 3])
    np.testing.assert_array_equal(third.get_max_bound() - third.get_min_bound(), [1, 2, 3])
    assert other.volume == pytest.approx(6)  # the triangles face outward
    assert len(other.faces) == len(third.triangles) == 12
    if suffix != ".stl":
        np.testing.assert_array_equal(np.unique(other.visual.vertex_colors, axis=0), [(*SWATCH, 255)])
        np.testing.assert_allclose(np.unique(np.asarray(third.vertex_colors), axis=0) * 255, [SWATCH], atol=0.02)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl"])
@pytest.mark.parametrize("ascii_", [True, False])
def test_we_read_what_open3d_writes(tmp_path: Path, suffix: str, ascii_: bool) -> None:  # noqa: FBT001
    o3d, mesh, path = open3d(), box((1.0, 2.0, 3.0)), tmp_path / f"a{suffix}"
    other = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices.astype(float)), o3d.utility.Vector3iVector(mesh.triangles.copy())
    )
    other.vertex_colors = o3d.utility.Vector3dVector(mesh.colors / 255)
    other.vertex_normals = o3d.utility.Vector3dVector(mesh.normals.astype(float))
    other.compute_triangle_normals()
    if not (suffix == ".stl" and ascii_):  # which it cannot
        o3d.io.write_triangle_mesh(str(path), other, write_ascii=ascii_)
        shape = mesh_of(read_scene(path).shape)  # type: ignore[arg-type]
        np.testing.assert_array_equal(shape.vertices[shape.triangles], mesh.vertices[mesh.triangles])
        assert (shape.colors == SWATCH).all() or suffix == ".stl"


def test_we_read_ascii_stl_of_trimesh(tmp_path: Path) -> None:
    (tmp_path / "a.stl").write_text(trimesh.exchange.stl.export_stl_ascii(trimesh.creation.box()))
    assert len(mesh_of(read_scene(tmp_path / "a.stl").shape)) == 12  # type: ignore[arg-type]


PLY_OF_POLYGONS = """ply
format ascii 1.0
comment VCGLIB generated
element vertex 5
property double x
property double y
property double z
element face 2
property list uchar uint vertex_index
end_header
0 0 0
1 0 0
1 1 0
0 1 0
0 0 1
"""


@pytest.mark.parametrize(("faces", "count"), [("4 0 1 2 3\n4 0 1 2 4\n", 4), ("4 0 1 2 3\n3 0 1 4\n", 3)])
def test_polygons_become_triangles(tmp_path: Path, faces: str, count: int) -> None:
    (tmp_path / "a.ply").write_text(PLY_OF_POLYGONS + faces)
    read = read_scene(tmp_path / "a.ply")
    mesh = mesh_of(read.shape)  # type: ignore[arg-type]
    assert len(mesh) == count
    corners = mesh.vertices[mesh.triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas[:2].sum() == 1
    assert read.up is None
    assert read.notes.units == "relative"


@pytest.mark.parametrize("faces", ["3 0 1 7\n3 0 1 2\n", "3 0 1 -1\n3 0 1 2\n", "3 0 1 2\n", "x 0 1 2\n3 0 1 2\n"])
def test_damaged_faces_are_told(tmp_path: Path, faces: str) -> None:
    (tmp_path / "a.ply").write_text(PLY_OF_POLYGONS + faces)
    with pytest.raises(FormatError, match=r"a\.ply"):
        read_scene(tmp_path / "a.ply")


@given(counts=st.lists(st.integers(3, 8), max_size=20))
def test_fans_cover_polygons(counts: list[int]) -> None:
    """A fan has two triangles fewer than corners, and each begins at its polygon's first corner."""
    triangles = fans(np.array(counts, np.int64))
    starts = np.cumsum([0, *counts])[:-1]
    expected = [(s, s + k, s + k + 1) for s, n in zip(starts, counts, strict=True) for k in range(1, n - 1)]
    np.testing.assert_array_equal(triangles, np.array(expected, np.int64).reshape(-1, 3))


def test_the_bytes_of_a_cloud_for_pcx(tmp_path: Path) -> None:
    """Pcx wants the format in line 2 and takes coordinates as they are; Unity is left-handed."""
    points = PointCloud(np.float32([[1, 2, 3]]), np.array([SWATCH], np.uint8), np.float32([[1, 0, 0]]))
    write_scene(tmp_path / "a.ply", Scene(points, "y"), kind="pcx")
    header, _, body = (tmp_path / "a.ply").read_bytes().partition(b"end_header\n")
    lines = header.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert f"comment {LEFT_HANDED}" in lines
    assert [line for line in lines if line.startswith("property")] == [
        *(f"property float {name}" for name in "xyz"),
        *(f"property uchar {name}" for name in ("red", "green", "blue")),
    ]
    assert body == np.float32([-1, 2, 3]).tobytes() + bytes(SWATCH)


@given(count=st.integers(0, 20), seed=st.integers(0, 100))
def test_to_unity_twice_changes_nothing(count: int, seed: int) -> None:
    points = cloud(count, seed)
    again = to_unity(to_unity(points))
    np.testing.assert_array_equal(again.points, points.points)
    np.testing.assert_array_equal(again.normals, points.normals)


def test_usd_reads_what_we_write(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.usdz", scene(box((1.0, 2.0, 3.0))))
    stage = Usd.Stage.Open(str(tmp_path / "a.usdz"))
    assert UsdGeom.GetStageUpAxis(stage) == "Y"
    assert UsdGeom.GetStageMetersPerUnit(stage) == 1
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/recon/mesh"))
    bounds = UsdGeom.BBoxCache(0, ["default"]).ComputeWorldBound(mesh.GetPrim()).ComputeAlignedRange()
    assert list(bounds.GetSize()) == [1, 2, 3]
    light = np.array(mesh.GetDisplayColorAttr().Get())
    np.testing.assert_allclose(light, np.tile([0.502886, 0.051269, 0.014444], (24, 1)), atol=1e-6)
    path, camera = walk(), UsdGeom.Camera(stage.GetPrimAtPath("/recon/camera"))
    shown = camera.GetCamera(24.0)  # one second later
    expected = path.asset_from_camera[2] @ np.diag([1, -1, -1, 1])
    np.testing.assert_allclose(np.array(shown.transform).T, expected, atol=1e-12)
    wide = 2 * np.degrees(np.arctan(320 / 500))
    assert shown.GetFieldOfView(shown.FOVHorizontal) == pytest.approx(wide, abs=1e-3)


def test_the_validators_of_usd_have_nothing_to_say(tmp_path: Path) -> None:
    """All that OpenUSD has: packages, stages, materials, shaders, encapsulation."""
    registry = UsdValidation.ValidationRegistry()
    names = [each.name for each in registry.GetAllValidatorMetadata()]
    assert len(names) > 20
    context = UsdValidation.ValidationContext([registry.GetOrLoadValidatorByName(name) for name in names])
    for shape in (box(), textured_box(), cloud(10)):
        for look in (Look(), EXACT):
            write_scene(tmp_path / "a.usdz", scene(shape), look=look)
            errors = context.Validate(Usd.Stage.Open(str(tmp_path / "a.usdz")))
            assert [(each.GetName(), each.GetMessage()) for each in errors] == []


def test_usdz_holds_its_texture_and_leaves_nothing_beside(tmp_path: Path) -> None:
    write_scene(tmp_path / "a.usdz", scene(textured_box()), look=EXACT)
    assert [each.name for each in tmp_path.iterdir()] == ["a.usdz"]
    with zipfile.ZipFile(tmp_path / "a.usdz") as packed:
        assert sorted(each.filename for each in packed.infolist()) == ["recon.usdc", "texture.png"]
    stage = Usd.Stage.Open(str(tmp_path / "a.usdz"))
    bound, _ = UsdShade.MaterialBindingAPI(stage.GetPrimAtPath("/recon/mesh")).ComputeBoundMaterial()
    assert bound.ComputeSurfaceSource()[0].GetIdAttr().Get() == "UsdPreviewSurface"


USDA = """#usda 1.0
(
    upAxis = "Z"
    metersPerUnit = 0.01
)
def Xform "root" {
    double3 xformOp:translate = (100, 0, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]
    def Mesh "quad" {
        point3f[] points = [(0, 0, 0), (100, 0, 0), (100, 100, 0), (0, 100, 0)]
        int[] faceVertexCounts = [4]
        int[] faceVertexIndices = [0, 1, 2, 3]
        color3f[] primvars:displayColor = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)] (interpolation = "faceVarying")
    }
    def Mesh "plain" {
        point3f[] points = [(0, 0, 100), (100, 0, 100), (100, 100, 100)]
        int[] faceVertexCounts = [3]
        int[] faceVertexIndices = [0, 1, 2]
        color3f[] primvars:displayColor = [(1, 1, 1)]
    }
}
"""


def test_usd_of_other_programs(tmp_path: Path) -> None:
    """Centimetres, z up, a parent that is moved, a quad, colours of corners."""
    (tmp_path / "a.usda").write_text(USDA)
    read = read_scene(tmp_path / "a.usda")
    mesh = mesh_of(read.shape)  # type: ignore[arg-type]
    assert read.up == "z"
    np.testing.assert_allclose(mesh.vertices.min(axis=0), [1, 0, 0])
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [2, 1, 1])
    assert len(mesh) == 3
    np.testing.assert_array_equal(mesh.colors[:4], [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)])
    assert (mesh.colors[4:] == 255).all()


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_laspy_reads_what_we_write(tmp_path: Path, suffix: str) -> None:
    points = cloud(1000)
    write_scene(tmp_path / f"a{suffix}", scene(points, up="z"))
    las = laspy.read(tmp_path / f"a{suffix}")
    assert las.header.version == laspy.header.Version(1, 4)
    assert las.point_format.id == 7
    np.testing.assert_allclose(las.xyz, points.points, atol=step_of(points.points) / 2 * 1.001)
    np.testing.assert_array_equal(np.stack([las.red, las.green, las.blue], axis=1), points.colors.astype(int) * 257)


@given(exponent=st.integers(-6, 6), seed=st.integers(0, 100))
def test_steps_suit_the_extent(exponent: int, seed: int) -> None:
    points = cloud(10, seed).points * np.float32(10.0**exponent)
    steps = np.ptp(points, axis=0).max() / step_of(points)
    assert 0.99e6 < steps < 1.01e7


def test_las_of_eight_bits_or_without_colors(tmp_path: Path) -> None:
    for number, (kind, expected) in enumerate(((2, SWATCH), (0, (128, 128, 128)))):
        las = laspy.LasData(laspy.LasHeader(point_format=kind, version="1.2"))
        las.x = las.y = las.z = np.array([1.0, 2.0])
        if kind == 2:
            las.red, las.green, las.blue = (np.array([value, value], np.uint16) for value in SWATCH)
        las.write(tmp_path / f"{number}.las")
        read = read_scene(tmp_path / f"{number}.las")
        assert read.up == "z"
        assert read.notes.units == "metres"
        np.testing.assert_array_equal(cloud_of(read.shape).colors, [expected, expected])


def test_pye57_reads_what_we_write(tmp_path: Path) -> None:
    points = cloud(1000)
    write_scene(tmp_path / "a.e57", scene(points, up="z"))
    file = pye57.E57(str(tmp_path / "a.e57"))
    scan = file.read_scan(0, colors=True, ignore_missing_fields=True)
    file.close()
    np.testing.assert_array_equal(scan["cartesianX"], points.points[:, 0])
    np.testing.assert_array_equal(scan["colorGreen"], points.colors[:, 1])


def test_scans_of_e57_become_one_cloud(tmp_path: Path) -> None:
    """Each where its pose puts it; one of them without colours."""
    file = pye57.E57(str(tmp_path / "a.e57"), mode="w")
    ones = np.ones(3)
    file.write_scan_raw({f"cartesian{axis}": ones for axis in "XYZ"}, translation=np.array([10.0, 0, 0]))
    colors = {f"color{name}": np.full(3, value, np.uint8) for name, value in zip(("Red", "Green", "Blue"), SWATCH)}  # noqa: B905
    file.write_scan_raw({f"cartesian{axis}": ones for axis in "XYZ"} | colors)
    file.close()
    shape = cloud_of(read_scene(tmp_path / "a.e57").shape)
    np.testing.assert_array_equal(shape.points[:, 0], [11, 11, 11, 1, 1, 1])
    np.testing.assert_array_equal(shape.colors[[0, 3]], [(128, 128, 128), SWATCH])


def test_gaussians_have_the_layout_of_their_authors(tmp_path: Path) -> None:
    points = cloud(50)
    write_scene(tmp_path / "a.ply", scene(points, up="camera"), kind="splat")
    rows = trimesh.load(tmp_path / "a.ply").metadata["_ply_raw"]["vertex"]["data"]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    assert list(rows.dtype.names) == [*expected, *(f"scale_{n}" for n in range(3)), *(f"rot_{n}" for n in range(4))]
    np.testing.assert_allclose(rows["f_dc_1"], (points.colors[:, 1] / 255 - 0.5) / SH0, rtol=1e-6)
    np.testing.assert_allclose(1 / (1 + np.exp(-rows["opacity"])), OPACITY, rtol=1e-6)
    np.testing.assert_allclose(np.exp(rows["scale_2"]), spacing(points.points), rtol=1e-6)
    assert (rows["rot_0"] == 1).all()
    assert not rows["rot_1"].any()
    assert not rows["nx"].any()


def test_spacing_is_the_mean_distance_to_three_neighbours() -> None:
    points = cloud(40).points
    every = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)
    np.testing.assert_allclose(spacing(points), every[:, 1 : 1 + NEIGHBOURS].mean(axis=1), rtol=1e-5)
    assert spacing(np.zeros((1, 3), np.float32)).tolist() == [1.0]
    assert (spacing(np.zeros((9, 3), np.float32)) > 0).all()  # points at one place have a logarithm, too


def test_a_picture_with_blanks_and_backslashes(tmp_path: Path) -> None:
    """As Windows programs write it."""
    write_scene(tmp_path / "a.obj", triangle(has_uv=True), look=EXACT)
    (tmp_path / "my maps").mkdir()
    (tmp_path / "a_texture.png").rename(tmp_path / "my maps" / "a b.png")
    (tmp_path / "a.mtl").write_text("newmtl recon\r\n\tmap_Kd my maps\\a b.png\r\n")
    shape = read_scene(tmp_path / "a.obj").shape
    assert isinstance(shape, TexturedMesh)
    np.testing.assert_array_equal(shape.texture, quadrants())


@pytest.mark.parametrize("name", ["a.mtl", "a_texture.png"])
def test_a_file_of_obj_that_is_gone_is_told(tmp_path: Path, name: str) -> None:
    write_scene(tmp_path / "a.obj", triangle(has_uv=True), look=EXACT)
    (tmp_path / name).unlink()
    with pytest.raises(FormatError, match=name):
        read_scene(tmp_path / "a.obj")


def test_joined_meshes_keep_their_triangles() -> None:
    one, two = random_mesh(5, 0), random_mesh(7, 1)
    both = mesh_of(joined([one, two, cloud(3)]))  # type: ignore[arg-type]
    corners = np.concatenate([one.vertices[one.triangles], two.vertices[two.triangles]])
    np.testing.assert_array_equal(both.vertices[both.triangles], corners)
    assert len(cloud_of(joined([cloud(3), cloud(4)]))) == 7


@pytest.mark.parametrize(("suffix", "package"), [(".usdz", "pxr.Usd"), (".las", "laspy"), (".e57", "pye57")])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    for ask in (require_format, lambda path: write_scene(path, scene(cloud(3)))):
        with pytest.raises(MissingPackageError, match=r"pip install 'recon-video\[export\]'"):
            ask(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("kind", ["las", "e57"])
@given(
    corner=st.tuples(*[st.integers(-(10**7), 10**7)] * 3),
    extent=st.sampled_from([1.0, 30.0, 2000.0]),
    seed=st.integers(0, 100),
)
def test_coordinates_of_a_survey_come_back(
    tmp_path_factory: pytest.TempPathFactory, kind: str, corner: tuple[int, int, int], extent: float, seed: int
) -> None:
    """However far from the origin: a place near the points is taken out, noted, and put back by whoever writes them."""
    places = np.array(corner) + np.random.default_rng(seed).uniform(0, extent, (20, 3))
    near, noted = near_origin(places)
    path = tmp_path_factory.mktemp("survey") / f"a.{kind}"
    points = PointCloud(near, np.zeros((20, 3), np.uint8), np.zeros_like(near))
    write_scene(path, Scene(points, "z", notes=Notes(provenance=noted)))
    read = read_scene(path)
    origin, bare = far_origin(read)
    np.testing.assert_allclose(cloud_of(read.shape).points + origin, places, rtol=0, atol=4e-6 * max(extent, 100.0))
    assert not bare.notes.provenance
    assert far_origin(turned(read, "y"))[0].tolist() == [0, 0, 0]  # other axes than those of the survey


def test_units_that_are_not_metres_are_said_in_e57(tmp_path: Path) -> None:
    """The standard has metres alone: an extension says what is true, and pye57 reads the file as before."""
    notes = Notes("relative", 0.1, {"made by": "recon"})
    write_scene(tmp_path / "a.e57", Scene(cloud(5), "z", notes=notes))
    assert read_scene(tmp_path / "a.e57").notes == notes
    scan = pye57.E57(str(tmp_path / "a.e57")).read_scan_raw(0)
    np.testing.assert_array_equal(scan["cartesianX"].astype(np.float32), cloud(5).points[:, 0])
