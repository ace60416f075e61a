"""`recon mesh`, on the rendered room with exact depth: what it writes, how that stands, and what it says otherwise."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
import yaml
from scipy.spatial import cKDTree

from recon.io.cloud import read_ply
from recon.io.scene import cloud_of, mesh_of, read_scene
from recon.settings import EDGE
from recon.types import Mesh, PointCloud, TexturedMesh
from recon_cli.cli import run

ROOM = Path(__file__).resolve().parents[1] / "samples" / "room"
GIVEN = ["--depth", f"{ROOM}/depth", "--intrinsics", f"{ROOM}/intrinsics.json"]
POSED = [*GIVEN, "--trajectory", f"{ROOM}/trajectory.tum"]
FEW = ["--end", "1", "--fps", "5", "--voxel", "0.04"]
SMALL = [*FEW, "--faces", "8000"]
COARSE = [*SMALL, "--texture", "512"]


def recon(*tokens: object) -> int:
    return run([*map(str, tokens), "--quiet"])


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five frames of the room as GLB, and a coarser one."""
    output = tmp_path_factory.mktemp("mesh") / "room.glb"
    assert recon("mesh", ROOM / "room.mp4", *POSED, *COARSE, "--lods", 4000, "-o", output) == 0
    return output


def test_the_room_stands_upright_on_its_floor_in_metres(room: Path) -> None:
    """Of a room 4.8 m wide and 2.6 m high; +y is up, the floor at 0, as glTF has it."""
    scene = read_scene(room)
    assert scene.up == "y"
    assert scene.notes.units == "metres"
    assert isinstance(scene.shape, TexturedMesh)
    mesh = scene.shape.mesh
    floor = mesh.vertices[mesh.normals[:, 1] > 0.95]
    lowest = np.percentile(floor[:, 1], 20)
    assert abs(lowest) < 0.03
    assert mesh.vertices[:, 1].min() > -0.05
    assert 2.0 < mesh.vertices[:, 1].max() < 2.7
    assert 3.5 < np.ptp(mesh.vertices[:, 0]) < 5.0
    assert (np.abs(np.linalg.norm(mesh.normals, axis=1) - 1) < 1e-3).mean() > 0.99


def test_it_is_where_the_cloud_of_the_same_depth_is(tmp_path: Path) -> None:
    """In the world of the poses, vertices of the mesh lie on the cloud that `recon pointcloud` makes of this depth."""
    cloud = tmp_path / "room.ply"
    assert recon("pointcloud", ROOM / "room.mp4", *POSED, *FEW, "-o", cloud) == 0
    raw = tmp_path / "raw.ply"
    of_clouds = ["--edge", EDGE, "--up", "camera"]
    assert recon("mesh", ROOM / "room.mp4", *POSED, *COARSE, *of_clouds, "-o", raw) == 0
    points, vertices = read_ply(cloud).points, cloud_of(read_scene(raw).shape).points
    apart, _ = cKDTree(points).query(vertices)
    assert np.median(apart) < 0.024, "of voxels of 0.04"
    assert np.percentile(apart, 95) < 0.06


def test_the_camera_path_is_in_the_file(room: Path) -> None:
    camera = read_scene(room).camera
    assert camera is not None
    assert len(camera) == 5
    assert camera.asset_from_camera[0, 1, 3] == pytest.approx(1.47, abs=0.05), "as high as the camera was held"
    np.testing.assert_allclose(camera.asset_from_camera[0, [0, 2], 3], 0, atol=1e-6)


def test_what_the_file_tells_does_not_name_folders(room: Path) -> None:
    told = read_scene(room).notes.provenance
    assert told["poses"] == "trajectory.tum (60 poses)"
    assert not any("/" in text for text in told.values())


def test_others_read_it(room: Path) -> None:
    """Trimesh: a texture that is not one grey, and as many triangles as we say."""
    (mesh,) = trimesh.load_scene(room).geometry.values()
    record = yaml.safe_load(room.with_name("room.glb.yaml").read_text())
    assert len(mesh.faces) == record["provenance"]["meshes"]["room.glb"]["triangles"] <= 8000
    texture = np.asarray(mesh.visual.material.baseColorTexture)
    assert texture.shape[:2] == (512, 512)
    assert texture.std() > 20


def test_a_coarser_level_stands_beside_it(room: Path) -> None:
    shape = read_scene(room.with_name("room.lod1.glb")).shape
    assert isinstance(shape, TexturedMesh)
    assert 3000 < len(shape.mesh) <= 4000


def test_levels_of_an_earlier_run_do_not_stay(tmp_path: Path) -> None:
    """But a file of such a name that recon did not make does."""
    output, bare = tmp_path / "room.ply", ["--texture", 0]
    again = ["mesh", ROOM / "room.mp4", *POSED, *SMALL, *bare, "-o", output]
    assert recon(*again, "--lods", 4000, "--lods", 2000) == 0
    (tmp_path / "room.lod3.ply").write_text("mine")
    assert recon(*again) == 0
    assert {path.name for path in tmp_path.glob("room*.ply")} == {"room.ply", "room.lod3.ply"}


def test_the_run_says_what_it_was_made_of(room: Path) -> None:
    record = yaml.safe_load(room.with_name("room.glb.yaml").read_text())
    assert record["surface"]["faces"] == 8000
    assert record["provenance"]["meshes"]["room.glb"]["upright"].startswith("the floor; the first camera is 1.4")
    assert json.loads(room.with_name("room.glb.report.json").read_text())["format"] == "recon report"


@pytest.mark.parametrize(("name", "beside"), [("room.obj", {"room.mtl", "room_texture.jpg"}), ("room.stl", set())])
def test_other_formats_are_whole(tmp_path: Path, name: str, beside: set[str]) -> None:
    assert recon("mesh", ROOM / "room.mp4", *POSED, *COARSE, "-o", tmp_path / name) == 0
    written = {path.name for path in tmp_path.iterdir() if not path.name.startswith(f"{name}.")}
    assert written == {name, *beside}
    sides = np.ptp(cloud_of(read_scene(tmp_path / name).shape).points, axis=0)
    assert sides[1 if name.endswith("obj") else 2] == min(sides) < 2.7, "y is up in OBJ, z in STL"


def test_vertices_are_coloured_where_no_texture_is_wanted(tmp_path: Path) -> None:
    output = tmp_path / "room.ply"
    assert recon("mesh", ROOM / "room.mp4", *POSED, *SMALL, "--texture", 0, "--preset", "unity", "-o", output) == 0
    scene = read_scene(output)
    assert isinstance(scene.shape, Mesh)
    assert scene.up == "y"
    assert scene.shape.colors.std() > 20


def test_a_single_picture_gives_a_mesh(tmp_path: Path) -> None:
    """The grid of its pixels, cut at the edges of things, in the colours of the picture."""
    picture, depth = tmp_path / "one.png", tmp_path / "depth"
    capture = cv2.VideoCapture(str(ROOM / "room.mp4"))
    cv2.imwrite(str(picture), capture.read()[1])
    depth.mkdir()
    first = min((ROOM / "depth").glob("*.png"))
    (depth / first.name).write_bytes(first.read_bytes())
    output = tmp_path / "one.glb"
    given = ["--depth", depth, "--intrinsics", f"{ROOM}/intrinsics.json", "--faces", 20000, "--texture", 512]
    assert recon("mesh", picture, *given, "-o", output) == 0
    shape = read_scene(output).shape
    assert isinstance(shape, TexturedMesh)
    assert 5000 < len(shape.mesh) <= 20000
    assert shape.mesh.vertices[:, 1].min() > -0.1, "the floor is seen in it"


def test_both_sides_of_an_edge_are_meshed_unless_told_otherwise(tmp_path: Path) -> None:
    """Nothing flies where depth is exact, and space is carved free where it is not; --edge is asked for by name."""
    output = tmp_path / "cut.ply"
    cut = ["--edge", "0.04", "--texture", "0", "--faces", "0"]
    assert recon("mesh", ROOM / "room.mp4", *POSED, *FEW, *cut, "-o", output) == 0
    whole = tmp_path / "whole.ply"
    assert recon("mesh", ROOM / "room.mp4", *POSED, *FEW, *cut[2:], "-o", whole) == 0
    pieces = [mesh_of(shape) for path in (output, whole) if not isinstance(shape := read_scene(path).shape, PointCloud)]
    assert len(pieces[1]) > 1.05 * len(pieces[0])
    apart, _ = cKDTree(pieces[0].vertices).query(pieces[1].vertices)
    assert np.percentile(apart, 80) < 0.04, "the rest is where it was"


def test_gravity_and_a_closed_surface(room: Path, tmp_path: Path) -> None:
    """Poisson bridges what nobody saw: half the border at most; and the camera leans as far as gravity does."""
    output = tmp_path / "closed.glb"
    leaning = ["--poisson", "--gravity", "0", "0.1", "-1", "--texture", "0"]
    assert recon("mesh", ROOM / "room.mp4", *POSED, *SMALL, *leaning, "-o", output) == 0
    closed, other = read_scene(output), read_scene(room)
    assert isinstance(closed.shape, Mesh)
    assert isinstance(other.shape, TexturedMesh)
    assert _open_edges(closed.shape) < 0.5 * _open_edges(other.shape.mesh)
    assert closed.camera is not None
    assert other.camera is not None
    up, upright = (scene.camera.asset_from_camera[0, 1, :3] for scene in (closed, other) if scene.camera)
    assert np.degrees(np.arccos(up @ upright)) == pytest.approx(np.degrees(np.arctan(0.1)), abs=1)


def _open_edges(mesh: Mesh) -> float:
    """Part of all edges that only one triangle has, whatever the vertices are called."""
    _, number = np.unique(mesh.vertices, axis=0, return_inverse=True)
    corners = number.ravel()[mesh.triangles]
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), axis=1)
    counts = np.unique(edges, axis=0, return_counts=True)[1]
    return float((counts == 1).mean())


@pytest.mark.parametrize("package", ["fast_simplification", "xatlas", "open3d"])
def test_a_missing_package_is_named_before_the_work(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert recon("mesh", tmp_path / "none.mp4", "--poisson", "-o", tmp_path / "room.glb") == 1
    assert package.replace("_", "-") in capsys.readouterr().err


def test_a_mesh_that_stays_too_fine_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Joining triangles of a rough surface folds it: it keeps more of them then."""
    few = ["--faces", "4000", "--lods", "100", "--texture", "0"]
    assert run(["mesh", f"{ROOM}/room.mp4", *POSED, *FEW, *few, "-o", f"{tmp_path}/room.ply"]) == 0
    assert "triangles instead of 100" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("output", "more", "said", "code"),
    [
        ("room.fbx", [], "room.fbx: no format of clouds or meshes that recon writes; known are .glb", 1),
        ("room.glb", ["--voxel", "0.0001", "--end", "0.2"], "--voxel", 1),
        ("room.glb", ["--texture", "100"], "--texture is 0, or at least 256 pixels", 2),
        ("room.glb", ["--lods", "0"], "--lods", 2),
        ("room.glb", ["--lods", "9000", "--lods", "9000"], "--lods go from fine to coarse", 2),
        ("room.glb", ["--gravity", "0", "0", "0"], "--gravity is a direction", 2),
        ("room.glb", ["--gravity", "0", "-1", "0", "--up-from", "+y"], "give one", 2),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_leaves_nothing(
    output: str, more: list[str], said: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert recon("mesh", ROOM / "room.mp4", *POSED, "-o", tmp_path / output, "--memory", "0.05", *more) == code
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
    assert not list(tmp_path.iterdir())


def test_an_earlier_mesh_stays_where_a_run_fails(room: Path) -> None:
    before = room.read_bytes()
    assert recon("mesh", ROOM / "room.mp4", *POSED, "--voxel", "0.0001", "--memory", "0.05", "-o", room) == 1
    assert room.read_bytes() == before


@pytest.mark.parametrize("name", ["mine.mtl", "mine_texture.jpg", "mine.lod1.obj"])
def test_a_file_that_recon_did_not_make_is_not_replaced(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("mine")
    assert recon("mesh", ROOM / "room.mp4", *POSED, *COARSE, "--lods", 4000, "-o", tmp_path / "mine.obj") == 2
    assert f"{name}: is there already and was not made by recon" in capsys.readouterr().err
    assert (tmp_path / name).read_text() == "mine"
