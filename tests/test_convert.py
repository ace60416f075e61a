"""`recon convert`: what comes out is what went in, in every pair of formats; and what does not fit is said."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import laspy
import numpy as np
import pycolmap
import pytest
import trimesh
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scene_shapes import SWATCH, cloud, random_mesh, scene, textured_box, walk
from strategies import rigid_transforms, seeds

from recon.geometry import transform
from recon.io.cloud import Up, axes_comment, file_from_world, to_axes, write_ply
from recon.io.colmap import Camera, Model, read_model
from recon.io.colmap_writer import Landmarks, pinhole_model, write_model
from recon.io.las import step_of
from recon.io.lens import Lens
from recon.io.pose_files import read_poses
from recon.io.pose_layout import layout_of
from recon.io.scene import FORMATS, Kind, Look, Notes, Scene, cloud_of, mesh_of, read_scene, turned, write_scene
from recon.io.trajectory import write_kitti, write_transforms, write_tum
from recon.pipelines.convert import conversion, target_of
from recon.pipelines.convert_poses import Way, read_way, turned_way, write_way
from recon.settings import ConvertRunSettings, ConvertSettings
from recon.types import CameraTrajectory, Intrinsics, PointCloud, TexturedMesh
from recon_cli import convert as command
from recon_cli.cli import run

CAMERA = Intrinsics(500.0, 510.0, 320.5, 239.25, 640, 480)
CLOUDS: tuple[Kind, ...] = tuple(kind for kind in FORMATS if kind != "stl")
MESHES: tuple[Kind, ...] = tuple(kind for kind, each in FORMATS.items() if not each.is_cloud)


def convert(*tokens: object) -> int:
    return run(["convert", *map(str, tokens), "--quiet"])


def made(source: Path, output: Path, **settings: dict[str, str]) -> object:
    """As the command does it, without its options; what is left out."""
    known = ConvertRunSettings.model_validate(settings)
    done = conversion(source, target_of(output, known.convert.format), known)
    done.write(output)
    return done.facts["converted"]["left_out"]  # type: ignore[index]


def file_of(folder: Path, kind: str) -> Path:
    return folder / f"{kind}{FORMATS[kind].suffixes[0]}"  # type: ignore[index]


def record(path: Path) -> dict:
    return yaml.safe_load(path.with_name(f"{path.name}.yaml").read_text())["provenance"]


def lost(path: Path) -> list[str]:
    return record(path)["converted"]["left_out"]


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cloud, of units that are not metres, in all formats."""
    folder = tmp_path_factory.mktemp("clouds")
    told = Scene(cloud(40), "y", notes=Notes("relative", provenance={"made by": "a test"}))
    for kind in CLOUDS:
        write_scene(file_of(folder, kind), turned(told, "z" if kind in {"las", "e57"} else "y"), kind=kind)
    return folder


@pytest.fixture(scope="module")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    for kind in MESHES:
        write_scene(file_of(folder, kind), scene(random_mesh(30, 1)), kind=kind)
    return folder


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A textured box with a camera's path, as GLB."""
    path = tmp_path_factory.mktemp("room") / "room.glb"
    write_scene(path, scene(textured_box((1.0, 2.0, 3.0))))
    return path


# ---------------------------------------------------------------------------------------------------- clouds and meshes


@pytest.mark.parametrize("kind", CLOUDS)
@pytest.mark.parametrize("source", CLOUDS)
def test_a_cloud_goes_from_every_format_to_every_other(source: Kind, kind: Kind, clouds: Path, tmp_path: Path) -> None:
    """Points, colours, axes and units; normals where both hold them; what is lost is in the record."""
    output = file_of(tmp_path, kind)
    left_out = made(file_of(clouds, source), output, convert={"format": kind})
    before, after = read_scene(file_of(clouds, source)), read_scene(output)
    assert after.notes.units == before.notes.units == "relative"
    assert after.notes.provenance.get("made by") == "a test"
    there, here = cloud_of(turned(before, "y").shape), cloud_of(turned(after, "y").shape)
    steps = [step_of(cloud(40).points) for each in (source, kind) if each == "las"]
    np.testing.assert_allclose(here.points, there.points, rtol=0, atol=sum(steps) or 1e-30)
    np.testing.assert_array_equal(here.colors, there.colors)
    keeps = kind in {"glb", "ply", "usdz"}
    np.testing.assert_allclose(here.normals, there.normals * keeps, atol=1e-6)
    assert left_out == ([] if keeps or not there.normals.any() else ["normals"])


@pytest.mark.parametrize("kind", MESHES)
@pytest.mark.parametrize("source", MESHES)
def test_a_mesh_goes_from_every_format_to_every_other(source: Kind, kind: Kind, meshes: Path, tmp_path: Path) -> None:
    """The same triangles of the same colours; STL, which knows no axes, is told them."""
    output = file_of(tmp_path, kind)
    said = {"from_up": "y"} if source == "stl" else {}
    made(file_of(meshes, source), output, convert=said, scene={"up": "y"})
    before, after = (mesh_of(read_scene(path).shape) for path in (file_of(meshes, source), output))  # type: ignore[arg-type]
    np.testing.assert_array_equal(after.vertices[after.triangles], before.vertices[before.triangles])
    if kind != "stl":
        np.testing.assert_array_equal(after.colors, before.colors)
        assert read_scene(output).up == "y"
    if "stl" not in {source, kind}:
        np.testing.assert_allclose(after.normals, before.normals, atol=1e-6)
        assert read_scene(output).notes == scene(cloud(1)).notes


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("glb", []),
        ("usdz", []),
        ("obj", ["camera path"]),
        ("ply", ["camera path"]),
        ("stl", ["texture", "colours", "normals", "camera path", "notes"]),
        ("las", ["triangles", "texture", "normals", "camera path"]),
        ("pcx", ["triangles", "texture", "normals", "camera path"]),
    ],
)
def test_what_is_left_out_is_said(
    kind: Kind, expected: list[str], room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = file_of(tmp_path, kind)
    assert run(["convert", str(room), str(output), "--format", kind]) == 0
    assert lost(output) == expected
    assert (", ".join(expected) or "nothing") in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_textures_are_carried_exactly_where_that_is_asked_for(tmp_path: Path) -> None:
    """OBJ, PLY, USDZ and GLB in a row; each file is whole, and its picture stands where it belongs."""
    write_scene(tmp_path / "a.glb", scene(textured_box()), look=Look(picture="png"))
    for source, output in (("a.glb", "b.obj"), ("b.obj", "c.ply"), ("c.ply", "d.usdz"), ("d.usdz", "e.glb")):
        assert convert(tmp_path / source, tmp_path / output, "--picture", "png") == 0
    first, last = read_scene(tmp_path / "a.glb"), read_scene(tmp_path / "e.glb")
    assert isinstance(first.shape, TexturedMesh)
    assert isinstance(last.shape, TexturedMesh)
    np.testing.assert_array_equal(last.shape.texture, first.shape.texture)
    np.testing.assert_allclose(last.shape.uv, first.shape.uv, atol=1e-6)
    assert {path.name for path in tmp_path.glob("b*")} == {"b.obj", "b.mtl", "b_texture.png", "b.obj.yaml"}


def test_trimesh_sees_the_same_box(room: Path, tmp_path: Path) -> None:
    assert convert(room, tmp_path / "a.obj") == 0
    assert convert(tmp_path / "a.obj", tmp_path / "b.stl") == 0
    other = trimesh.load_mesh(tmp_path / "b.stl")
    np.testing.assert_array_equal(other.extents, [1, 3, 2])  # z up, as printers have it
    assert other.volume == pytest.approx(6)


def test_a_camera_path_survives_glb_and_usdz(room: Path, tmp_path: Path) -> None:
    assert convert(room, tmp_path / "a.usdz") == 0
    assert convert(tmp_path / "a.usdz", tmp_path / "b.glb") == 0
    camera = read_scene(tmp_path / "b.glb").camera
    assert camera is not None
    np.testing.assert_allclose(camera.asset_from_camera, walk().asset_from_camera, atol=1e-6)
    np.testing.assert_allclose(camera.times, walk().times - 2.0, atol=1e-6)
    assert (camera.intrinsics.width, camera.intrinsics.height) == (640, 480)
    assert camera.intrinsics.cx == pytest.approx(330.0, abs=1e-3)
    assert convert(room, tmp_path / "bare.glb", "--no-camera-path") == 0
    assert read_scene(tmp_path / "bare.glb").camera is None


def test_a_survey_keeps_its_millimetres(tmp_path: Path) -> None:
    """Coordinates of UTM, where single precision has steps of half a metre, come back."""
    places = np.array([[412345.678, 5318765.432, 512.001], [412346.679, 5318764.433, 513.002]])
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.offsets, header.scales = [412000, 5318000, 0], [0.001, 0.001, 0.001]
    las = laspy.LasData(header)
    las.x, las.y, las.z = places.T
    las.write(tmp_path / "scan.las")
    for source, output in (("scan.las", "a.glb"), ("a.glb", "b.e57"), ("b.e57", "c.ply"), ("c.ply", "d.laz")):
        assert convert(tmp_path / source, tmp_path / output) == 0
    np.testing.assert_allclose(laspy.read(tmp_path / "d.laz").xyz, places, atol=2e-5)
    assert np.abs(cloud_of(read_scene(tmp_path / "a.glb").shape).points).max() < 1000


def test_points_of_text_and_of_a_model_are_clouds(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("1 2 3\n4 5 6\n")
    (tmp_path / "b.csv").write_text("x,y,z\n1,2,3\n4,5,6\n")
    for name in ("a.xyz", "b.csv"):
        assert convert(tmp_path / name, tmp_path / f"{name}.ply") == 0
        read = read_scene(tmp_path / f"{name}.ply")
        np.testing.assert_array_equal(cloud_of(read.shape).points, [[1, 2, 3], [4, 5, 6]])
        assert (read.up, read.notes.units) == (None, "relative")
    write_model(tmp_path / "model", a_model())
    assert convert(tmp_path / "model", tmp_path / "m.ply") == 0
    read = read_scene(tmp_path / "m.ply")
    np.testing.assert_allclose(cloud_of(read.shape).points, a_model().points, atol=1e-6)
    np.testing.assert_array_equal(cloud_of(read.shape).colors, a_model().colors)
    assert (read.up, read.notes.units) == ("camera", "slam")
    assert lost(tmp_path / "m.ply") == ["camera poses", "tracks"]


# ----------------------------------------------------------------------------------------------------------------- axes


def test_axes_that_nobody_says_are_left_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = cloud(9)
    write_ply(tmp_path / "a.ply", points, [])
    assert run(["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.glb")]) == 0
    assert "a.ply, which does not say what is up (--from-up" in " ".join(capsys.readouterr().err.split())
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "b.glb").shape).points, points.points)
    assert convert(tmp_path / "a.ply", tmp_path / "c.glb", "--from-up", "z") == 0
    x, y, z = points.points.T
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "c.glb").shape).points, np.stack([x, z, -y], axis=1))


def test_the_world_of_poses_may_have_any_axes(tmp_path: Path) -> None:
    """What stands in the world of given poses is not turned, unless it is said that its y points down."""
    points = cloud(9)
    write_ply(tmp_path / "a.ply", points, [axes_comment("camera")])
    assert convert(tmp_path / "a.ply", tmp_path / "b.glb") == 0
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "b.glb").shape).points, points.points)
    assert convert(tmp_path / "a.ply", tmp_path / "c.glb", "--from-up", "camera") == 0
    expected = to_axes(points, "y").points
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "c.glb").shape).points, expected)


def test_presets_and_splats(tmp_path: Path) -> None:
    """Unity and three.js take PLY raw and have y up; a splat stays in the world of its poses."""
    points = cloud(9)
    write_ply(tmp_path / "a.ply", points, [axes_comment("z")])
    assert convert(tmp_path / "a.ply", tmp_path / "b.ply", "--preset", "web") == 0
    x, y, z = points.points.T
    np.testing.assert_array_equal(cloud_of(read_scene(tmp_path / "b.ply").shape).points, np.stack([x, z, -y], axis=1))
    assert convert(tmp_path / "a.ply", tmp_path / "c.ply", "--format", "splat") == 0
    splat = read_scene(tmp_path / "c.ply")
    np.testing.assert_array_equal(cloud_of(splat.shape).points, points.points)
    assert splat.up == "z"
    assert convert(tmp_path / "a.ply", tmp_path / "d.ply", "--format", "pcx") == 0
    raw = trimesh.load(tmp_path / "d.ply", process=False).vertices
    np.testing.assert_allclose(raw, np.stack([-x, z, -y], axis=1), atol=1e-6)


@given(
    poses=st.lists(rigid_transforms(), min_size=1, max_size=4), own=st.sampled_from(["z", "y", "camera"]), seed=seeds
)
def test_what_is_turned_and_turned_back_is_the_same(poses: list[np.ndarray], own: Up, seed: int) -> None:
    """And a camera sees the same points from the same place, whatever the axes."""
    way = Way(Path("a"), "TUM", np.stack(poses), None, own, "metres")
    points = cloud(5, seed).points
    for up in ("z", "y", "camera"):
        there = turned_way(way, up)  # type: ignore[arg-type]
        np.testing.assert_array_equal(turned_way(there, own).world_from_camera, way.world_from_camera)
        moved = turned(Scene(PointCloud(points, cloud(5).colors, np.zeros_like(points)), own), up)  # type: ignore[arg-type]
        seen = [
            transform(np.linalg.inv(each.world_from_camera[0]), place.astype(np.float64))
            for each, place in ((way, points), (there, cloud_of(moved.shape).points))
        ]
        np.testing.assert_allclose(seen[1], seen[0], atol=1e-9 * (1 + np.abs(seen[0]).max()))


# --------------------------------------------------------------------------------------------------------- trajectories


def a_path(count: int = 5) -> CameraTrajectory:
    own = walk(count)
    return CameraTrajectory(own.times, own.asset_from_camera)


def a_model() -> Model:
    """Two pictures that see four points."""
    corners = np.array([[x, y, 4.0] for x in (-1, 1) for y in (-1, 1)])
    rows = np.arange(4)
    seen = Landmarks(
        corners,
        np.array([SWATCH, (0, 255, 0), (0, 0, 255), (9, 8, 7)], np.uint8),
        np.array([0.5, 0.25, 1.0, -1.0]),
        np.repeat([0, 1], 4),
        np.concatenate([rows, rows]),
        np.tile(np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]), (2, 1)),
    )
    poses = a_path(2).world_from_camera
    return pinhole_model(["left/1.jpg", "left/2.jpg"], poses, CAMERA, seen)


def poses_of(path: Path) -> np.ndarray:
    return read_poses(path).world_from_camera()


@given(poses=st.lists(rigid_transforms(), min_size=1, max_size=4), start=st.sampled_from([0.0, 2.5, 1403636579.763555]))
def test_a_path_goes_round_all_formats(
    tmp_path_factory: pytest.TempPathFactory, poses: list[np.ndarray], start: float
) -> None:
    """Also on the clock of a wall: nothing is counted from the first pose."""
    folder = tmp_path_factory.mktemp("way")
    times = start + np.arange(len(poses)) / 30
    write_tum(folder / "a.tum", CameraTrajectory(times, np.stack(poses)))
    last = folder / "a.tum"
    for kind, name in (("kitti", "b.kitti"), ("transforms", "c.json"), ("tum", "d.tum")):
        way = read_way(last, ConvertSettings(), whole=True)
        way = replace(way, lenses=(Lens(CAMERA),))
        last = folder / name
        write_way(way, last, layout_of(kind, last), last)  # type: ignore[arg-type]
    again = read_way(last, ConvertSettings(), whole=True)
    reach = 1 + np.abs(np.stack(poses)).max()
    np.testing.assert_allclose(again.world_from_camera, np.stack(poses), rtol=0, atol=1e-12 * reach)
    np.testing.assert_array_equal(again.times, times)


def test_the_path_of_a_mesh_becomes_a_trajectory(room: Path, tmp_path: Path) -> None:
    """In the axes of the mesh, or in others; the record says in which, and what the camera was."""
    assert convert(room, tmp_path / "a.tum") == 0
    np.testing.assert_allclose(poses_of(tmp_path / "a.tum"), walk().asset_from_camera, atol=1e-6)
    assert record(tmp_path / "a.tum")["axes"] == axes_comment("y").removeprefix("axes: ")
    assert lost(tmp_path / "a.tum") == ["the mesh"]
    assert convert(room, tmp_path / "b.tum", "--up", "z") == 0
    turn = file_from_world("z") @ np.linalg.inv(file_from_world("y"))
    np.testing.assert_allclose(poses_of(tmp_path / "b.tum"), turn @ walk().asset_from_camera, atol=1e-6)
    assert convert(tmp_path / "b.tum", tmp_path / "c.json", "--up", "y") == 0
    np.testing.assert_allclose(poses_of(tmp_path / "c.json"), walk().asset_from_camera, atol=1e-6)
    values = json.loads((tmp_path / "c.json").read_text())
    assert (values["fl_x"], values["fl_y"], values["cx"], values["w"]) == (500.0, 510.0, 330.0, 640)
    assert values["frames"][0]["file_path"] == "c-images/frame_000001.jpg"


def test_a_tum_says_its_axes_and_units_itself(room: Path, tmp_path: Path) -> None:
    write_model(tmp_path / "m", a_model())
    assert convert(tmp_path / "m", tmp_path / "a.tum", "--trajectory-rate", 10, "--from-up", "y") == 0
    assert lost(tmp_path / "a.tum") == ["names of pictures", "points", "tracks"]
    (tmp_path / "a.tum.yaml").unlink()
    way = read_way(tmp_path / "a.tum", ConvertSettings(), whole=False)
    assert (way.up, way.units) == ("y", "slam")
    np.testing.assert_allclose(way.times, [0.0, 0.1])
    assert convert(room, tmp_path / "b.tum") == 0
    (tmp_path / "b.tum.yaml").unlink()
    assert read_way(tmp_path / "b.tum", ConvertSettings(), whole=False).up == "y"


def test_a_model_keeps_everything_as_text_and_back(tmp_path: Path) -> None:
    model = a_model()
    write_model(tmp_path / "a" / "sparse" / "0", model)
    assert convert(tmp_path / "a", tmp_path / "b", "--format", "colmap-text") == 0
    assert convert(tmp_path / "b", tmp_path / "c") == 0
    other = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    assert sorted(image.name for image in other.images.values()) == ["left/1.jpg", "left/2.jpg"]
    assert [point.track.length() for point in other.points3D.values()] == [2, 2, 2, 2]
    again = read_model(tmp_path / "c" / "sparse" / "0")
    for name in ("points", "colors", "errors", "point_keys"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    assert again.cameras == model.cameras
    assert lost(tmp_path / "c") == []


def test_a_model_becomes_transforms_with_its_points_and_back(tmp_path: Path) -> None:
    """The pictures are found from where the file stands; cameras that distort are carried, one for each picture."""
    lenses = {
        1: Camera("SIMPLE_RADIAL", 640, 480, (500.0, 320.0, 240.0, -0.1)),
        2: Camera("OPENCV", 320, 240, (250.0, 251.0, 160.0, 120.0, 0.1, -0.01, 0.001, 0.002)),
    }
    model = a_model()
    images = tuple(replace(image, camera=number) for number, image in enumerate(model.images, 1))
    write_model(tmp_path / "scene" / "sparse" / "0", replace(model, cameras=lenses, images=images))
    (tmp_path / "scene" / "images").mkdir()
    output = tmp_path / "out" / "transforms.json"
    assert convert(tmp_path / "scene", output) == 0
    values = json.loads(output.read_text())
    assert [frame["file_path"] for frame in values["frames"]] == [
        "../scene/images/left/1.jpg",
        "../scene/images/left/2.jpg",
    ]
    assert [frame["k1"] for frame in values["frames"]] == [-0.1, 0.1]
    assert "seconds" not in values["frames"][0]
    np.testing.assert_allclose(poses_of(output), [image.world_from_camera for image in model.images], atol=1e-12)
    points = read_scene(output.with_name(values["ply_file_path"]))
    np.testing.assert_allclose(cloud_of(points.shape).points, model.points)
    assert points.notes.units == "slam"
    assert lost(output) == ["tracks"]
    assert convert(output, tmp_path / "back") == 0
    back = read_model(tmp_path / "back" / "sparse" / "0")
    assert [image.name for image in back.images] == ["1.jpg", "2.jpg"]
    assert back.cameras == {
        1: Camera("OPENCV", 640, 480, (500.0, 500.0, 320.0, 240.0, -0.1, 0.0, 0.0, 0.0)),
        2: lenses[2],
    }
    assert lost(tmp_path / "back") == ["points (transforms.points.ply)"]


def test_a_fisheye_is_one_for_both(tmp_path: Path) -> None:
    camera = Camera("OPENCV_FISHEYE", 640, 480, (300.0, 301.0, 320.0, 240.0, 0.1, -0.2, 0.03, 0.004))
    write_model(tmp_path / "m", replace(a_model(), cameras={1: camera}))
    assert convert(tmp_path / "m", tmp_path / "a.json") == 0
    assert convert(tmp_path / "a.json", tmp_path / "b") == 0
    assert read_model(tmp_path / "b" / "sparse" / "0").cameras == {1: camera}
    pinhole = Camera("PINHOLE", 640, 480, (300.0, 301.0, 320.0, 240.0))
    mixed = tuple(replace(image, camera=number) for number, image in enumerate(a_model().images, 1))
    write_model(tmp_path / "n", replace(a_model(), cameras={1: camera, 2: pinhole}, images=mixed))
    assert convert(tmp_path / "n", tmp_path / "c.json") == 1


def test_a_model_goes_beside_the_pictures_that_are_there(tmp_path: Path) -> None:
    """Folders of the user's are only added to."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "frame_000001.jpg").write_bytes(b"mine")
    write_transforms(tmp_path / "transforms.json", a_path(2), CAMERA, ["images/frame_000001.jpg", "images/b.jpg"])
    assert convert(tmp_path / "transforms.json", tmp_path) == 0
    assert (tmp_path / "images" / "frame_000001.jpg").read_bytes() == b"mine"
    assert [image.name for image in read_model(tmp_path / "sparse" / "0").images] == ["b.jpg", "frame_000001.jpg"]
    assert convert(tmp_path / "transforms.json", tmp_path / "sparse" / "1") == 0
    assert (tmp_path / "sparse" / "1" / "cameras.bin").is_file()


def test_others_formats_of_poses_are_read(tmp_path: Path) -> None:
    """EuRoC by its own clock, KITTI by a rate that is said, 7 numbers by axes that are said."""
    head = "#timestamp [ns], p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], q_RS_x [], q_RS_y [], q_RS_z []\n"
    (tmp_path / "a.csv").write_text(f"{head}1403636579763555584,1,2,3,1,0,0,0\n1403636579813555456,2,2,3,1,0,0,0\n")
    assert convert(tmp_path / "a.csv", tmp_path / "a.tum") == 0
    way = read_way(tmp_path / "a.tum", ConvertSettings(), whole=False)
    np.testing.assert_allclose(way.times, [1403636579.763555584, 1403636579.813555456], rtol=0, atol=1e-6)
    write_kitti(tmp_path / "b.kitti", a_path())
    assert convert(tmp_path / "b.kitti", tmp_path / "b.tum", "--trajectory-rate", 20) == 0
    np.testing.assert_allclose(np.loadtxt(tmp_path / "b.tum")[:, 0], np.arange(5) / 20)
    (tmp_path / "c.txt").write_text("1 2 3 0 0 0 1\n")
    assert convert(tmp_path / "c.txt", tmp_path / "c.kitti", "--trajectory-axes", "ned") == 0
    np.testing.assert_array_equal(poses_of(tmp_path / "c.kitti")[0, :3, 2], [1, 0, 0])  # ahead is x


def test_intrinsics_may_be_said(tmp_path: Path) -> None:
    write_tum(tmp_path / "a.tum", a_path())
    (tmp_path / "k.json").write_text(json.dumps({name: getattr(CAMERA, name) for name in CAMERA.__slots__}))
    assert convert(tmp_path / "a.tum", tmp_path / "m", "--intrinsics", tmp_path / "k.json") == 0
    model = read_model(tmp_path / "m" / "sparse" / "0")
    assert model.cameras == {1: Camera("PINHOLE", 640, 480, (500.0, 510.0, 320.5, 239.25))}
    assert model.images[0].name == "frame_000001.jpg"
    assert convert(tmp_path / "m", tmp_path / "n", "--intrinsics", tmp_path / "k.json") == 2


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.fixture
def things(tmp_path: Path, room: Path) -> Path:
    """A file of each sort."""
    (tmp_path / "room.glb").write_bytes(room.read_bytes())
    write_tum(tmp_path / "a.tum", a_path())
    write_kitti(tmp_path / "a.kitti", a_path())
    write_ply(tmp_path / "cloud.ply", cloud(9), [])
    write_ply(tmp_path / "empty.ply", cloud(0), [])
    (tmp_path / "a.blend").write_bytes(b"BLENDER")
    (tmp_path / "bad.txt").write_text("hello\n")
    (tmp_path / "bad.glb").write_bytes(b"glTF")
    (tmp_path / "folder").mkdir()
    twice = replace(a_model(), images=tuple(replace(each, name=f"a {n}") for n, each in enumerate(a_model().images)))
    write_model(tmp_path / "spaced", twice)
    lens = {1: Camera("FOV", 640, 480, (500.0, 510.0, 320.0, 240.0, 0.9))}
    write_model(tmp_path / "bent", replace(a_model(), cameras=lens))
    return tmp_path


@pytest.mark.parametrize(
    ("tokens", "said", "code"),
    [
        (["none.ply", "b.glb"], "none.ply: there is no such file or folder", 1),
        (["a.blend", "b.glb"], "a.blend: no format that recon reads; clouds and meshes are .glb", 1),
        (["cloud.ply", "b.fbx"], "b.fbx: no format that recon writes; clouds and meshes are .glb", 1),
        (["bad.glb", "b.ply"], "bad.glb: is damaged", 1),
        (["bad.txt", "b.tum"], "bad.txt:1: not a line of numbers", 1),
        (["bad.txt", "b.ply"], "bad.txt:1: neither x y z", 1),
        (["folder", "b.tum"], "folder: a folder without poses", 1),
        (["empty.ply", "b.glb"], "there is nothing to write: no points", 1),
        (["a.tum", "b.glb"], "a.tum: a trajectory (TUM), which glb does not hold", 1),
        (["cloud.ply", "b.stl"], "cloud.ply: a cloud, and STL holds triangles", 1),
        (["cloud.ply", "b.tum"], "cloud.ply: holds no camera path", 1),
        (["a.tum", "b.json"], "it says nothing of the camera, which transforms.json needs: give it with --intrin", 1),
        (["a.tum", "b"], "it says nothing of the camera, which COLMAP needs", 1),
        (["a.kitti", "b.tum"], "KITTI has no times, which TUM needs: say with --trajectory-rate", 1),
        (["a.tum", "b.kitti", "--trajectory-axes", "ned"], "", 0),
        (["spaced", "b", "--format", "colmap-text"], "COLMAP's text holds no names with spaces ('a 0')", 1),
        (["bent", "b.json"], "transforms.json has no lens of the kind FOV", 1),
        (["cloud.ply", "b.obj", "--format", "splat"], "b.obj: --format splat must end in .ply", 2),
        (["a.tum", "b.obj", "--format", "tum"], "b.obj: --format tum must end in .tum or .txt", 2),
        (["cloud.ply", "b.glb", "--up", "z"], "--up z: glb always has +y up", 2),
        (["cloud.ply", "b.ply", "--up", "y"], "--up y: cloud.ply does not say what is up: say --from-up", 2),
        (["a.tum", "b.tum", "--up", "y"], "--up y: a.tum does not say what is up", 2),
        (["room.glb", "b.tum", "--intrinsics", "k.json"], "--intrinsics: room.glb says what its camera is", 2),
        (["cloud.ply", "folder/../cloud.ply", "--overwrite"], "is the input; name another output", 2),
        (["cloud.ply", "a.tum", "--overwrite"], "cloud.ply: holds no camera path", 1),
        (["spaced", "spaced/0"], "", 0),
        (["room.glb", "folder.ply/"], "", 0),
    ],
)
def test_what_cannot_be_is_said_in_one_line_and_leaves_nothing(
    tokens: Sequence[str],
    said: str,
    code: int,
    things: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(things)
    before = {path: path.read_bytes() for path in things.rglob("*") if path.is_file()}
    assert convert(*tokens) == code
    if code:
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert said in line
        assert {path: path.read_bytes() for path in things.rglob("*") if path.is_file()} == before


def test_a_missing_package_is_named(
    things: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "laspy", None)
    assert convert(things / "cloud.ply", things / "b.las") == 1
    assert "this format needs the package laspy: pip install 'recon-video[export]'" in capsys.readouterr().err


def test_what_is_there_is_not_overwritten(things: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only what an earlier conversion wrote is, without being asked: results of other commands took longer."""
    mine, cloud_ = things / "mine.obj", things / "cloud.ply"
    mine.write_text("mine")
    assert convert(cloud_, mine) == 2
    assert "mine.obj: is there already" in capsys.readouterr().err
    mine.with_name("mine.obj.yaml").write_text("provenance: {recon: 0.1, meshes: {mine.obj: {}}}\n")
    assert convert(cloud_, mine) == 2
    assert mine.read_text() == "mine"
    assert convert(cloud_, mine, "--overwrite") == 0
    assert convert(cloud_, mine) == 0
    (things / "other.mtl").write_text("mine")
    assert convert(things / "room.glb", things / "other.obj") == 2
    assert not (things / "other.obj").exists()
    assert convert(cloud_, things / "other.obj") == 0  # which needs no material
    assert (things / "other.mtl").read_text() == "mine"


def test_models_are_not_overwritten_either(things: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_model(things / "in", a_model())
    write_model(things / "out" / "sparse" / "0", a_model())
    assert convert(things / "in", things / "out") == 2
    assert "holds a model already that no conversion made; --overwrite replaces it" in capsys.readouterr().err
    (things / "out" / "sparse" / "0" / "mine").write_text("mine")
    assert convert(things / "in", things / "out", "--overwrite") == 2
    assert convert(things / "out", things / "out", "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err
    assert convert(things / "in", things / "new") == 0
    assert convert(things / "in", things / "new") == 0


def test_a_large_file_is_watched(things: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "HEAVY", 0)
    assert run(["convert", str(things / "cloud.ply"), str(things / "b.glb")]) == 0
    assert len(cloud_of(read_scene(things / "b.glb").shape)) == 9
