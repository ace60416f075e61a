"""COLMAP models that are written here: pycolmap reads them, and so do we; what contradicts itself is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import rigid_transforms, seeds

from recon.errors import OptionError
from recon.geometry import inverse, project, rigid, transform
from recon.io.colmap import KINDS, NO_POINT, Camera, Image, Model, find_model, lens, pinhole, read_model
from recon.io.colmap_writer import Landmarks, camera_of_lens, pinhole_model, write_model
from recon.io.lens import Lens, lens_of_colmap
from recon.types import Intrinsics

LAYOUTS = ["binary", "text"]
CAMERA = Intrinsics(500.0, 510.0, 320.5, 239.25, 640, 480)
CAMERAS = {
    3: Camera("PINHOLE", 640, 480, (500.0, 510.0, 320.5, 1 / 3)),
    7: Camera("SIMPLE_RADIAL", 1296, 1936, (2435.38, 648.0, 968.0, -0.0336)),
    8: Camera("OPENCV", 64, 48, (50.0, 51.0, 32.0, 24.0, 0.1, -0.01, 0.001, 0.002)),
}


def any_model(poses: list[np.ndarray], seed: int) -> Model:
    """Pictures of different cameras and up to 12 points with gaps in their numbers, some of them seen by nobody."""
    random = np.random.default_rng(seed)
    keys = np.sort(random.choice(10**6, random.integers(0, 13), replace=False)).astype(np.int64)
    images = []
    for number, pose in enumerate(poses):
        seen = np.concatenate([keys[random.random(len(keys)) < 0.6], np.full(random.integers(0, 3), NO_POINT)])
        positions = random.uniform(0, 48, (len(seen), 2))
        images.append(Image(f"left/{number}.jpg", int(random.choice([3, 7, 8])), pose, positions, seen))
    count = len(keys)
    points, errors = random.normal(size=(count, 3)), random.uniform(0, 2, count)
    colors = random.integers(0, 256, (count, 3)).astype(np.uint8)
    return Model(Path(), CAMERAS, tuple(images), keys, points, colors, errors)


def seen_by(number: int) -> Landmarks:
    """The corners of a square 4 m ahead, seen by the picture of that number and the next one."""
    corners = np.array([[x, y, 4.0] for x in (-1, 1) for y in (-1, 1)])
    rows = np.arange(4)
    return Landmarks(
        corners,
        np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8),
        np.array([0.5, 0.25, 1.0, -1.0]),
        np.repeat([number, number + 1], 4),
        np.concatenate([rows, rows]),
        np.tile(project(corners, CAMERA), (2, 1)),
    )


def along_a_line(count: int) -> np.ndarray:
    return np.stack([rigid(np.eye(3), np.array([0.1 * step, 0, 0])) for step in range(count)])


# --------------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("layout", LAYOUTS)
@given(poses=st.lists(rigid_transforms(), max_size=4), seed=seeds)
def test_a_model_survives_writing_and_reading(
    tmp_path_factory: pytest.TempPathFactory, layout: str, poses: list[np.ndarray], seed: int
) -> None:
    model = any_model(poses, seed)
    folder = tmp_path_factory.mktemp("model") / "sparse" / "0"
    write_model(folder, model, layout)
    again = read_model(folder)
    assert again.cameras == model.cameras
    for mine, read in zip(model.images, again.images, strict=True):
        assert (read.name, read.camera, read.points.tolist()) == (mine.name, mine.camera, mine.points.tolist())
        assert np.array_equal(read.positions, mine.positions)
        reach = 1 + np.abs(mine.world_from_camera).max()
        np.testing.assert_allclose(read.world_from_camera, mine.world_from_camera, rtol=0, atol=1e-14 * reach * 50)
    for name in ("point_keys", "points", "colors", "errors"):
        assert np.array_equal(getattr(again, name), getattr(model, name))


@pytest.mark.parametrize("layout", LAYOUTS)
@given(poses=st.lists(rigid_transforms(), max_size=4), seed=seeds)
def test_pycolmap_reads_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, layout: str, poses: list[np.ndarray], seed: int
) -> None:
    model = any_model(poses, seed)
    folder = tmp_path_factory.mktemp("model") / "m"
    write_model(folder, model, layout)
    assert_pycolmap_agrees(folder, model)


def assert_pycolmap_agrees(folder: Path, model: Model) -> None:
    oracle = pycolmap.Reconstruction(folder)
    assert {key: camera.model.name for key, camera in oracle.cameras.items()} == {
        key: camera.kind for key, camera in model.cameras.items()
    }
    assert all(oracle.cameras[key].params.tolist() == list(camera.parameters) for key, camera in model.cameras.items())
    assert sorted(oracle.images) == list(range(1, len(model.images) + 1))
    tracks: dict[int, set[tuple[int, int]]] = {int(key): set() for key in model.point_keys}
    for number, image in enumerate(model.images, 1):
        other = oracle.images[number]
        assert (other.name, other.camera_id) == (image.name, image.camera)
        expected = inverse(image.world_from_camera)[:3]
        np.testing.assert_allclose(
            other.cam_from_world().matrix(), expected, rtol=0, atol=1e-12 * (1 + np.abs(expected).max())
        )
        assert np.array_equal(np.array([f.xy for f in other.points2D]).reshape(-1, 2), image.positions)
        assert [f.point3D_id if f.has_point3D() else NO_POINT for f in other.points2D] == image.points.tolist()
        for feature, key in enumerate(image.points.tolist()):
            if key != NO_POINT:
                tracks[key].add((number, feature))
    assert sorted(oracle.points3D) == model.point_keys.tolist()
    for row, key in enumerate(model.point_keys.tolist()):
        point = oracle.points3D[key]
        assert point.xyz.tolist() == model.points[row].tolist()
        assert (point.color.tolist(), point.error) == (model.colors[row].tolist(), model.errors[row])
        assert {(each.image_id, each.point2D_idx) for each in point.track.elements} == tracks[key]


@pytest.mark.shared
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["7scenes_redkitchen_a/sfm_colmap_bin", "colmap_lund_door/sparse"])
def test_real_models_survive(shared: Path, tmp_path: Path, layout: str, name: str) -> None:
    """Colours and errors are those that pycolmap reads from the original files."""
    original = shared / "data" / name
    model = read_model(original)
    theirs = pycolmap.Reconstruction(original).points3D
    assert model.colors.tolist() == [theirs[key].color.tolist() for key in model.point_keys.tolist()]
    assert model.errors.tolist() == [theirs[key].error for key in model.point_keys.tolist()]
    write_model(tmp_path / "m", model, layout)
    assert_pycolmap_agrees(tmp_path / "m", model)
    again = pycolmap.Reconstruction(tmp_path / "m")
    assert again.compute_mean_reprojection_error() == pytest.approx(
        pycolmap.Reconstruction(original).compute_mean_reprojection_error()
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_we_read_what_pycolmap_writes_of_it(tmp_path: Path, layout: str) -> None:
    """With the rigs and frames that it makes of the three files."""
    model = pinhole_model(["a.jpg", "b.jpg"], along_a_line(2), CAMERA, seen_by(0))
    write_model(tmp_path / "ours", model, layout)
    (tmp_path / "theirs").mkdir()
    oracle = pycolmap.Reconstruction(tmp_path / "ours")
    (oracle.write_binary if layout == "binary" else oracle.write_text)(tmp_path / "theirs")
    again = read_model(tmp_path / "theirs")
    assert len(list((tmp_path / "theirs").glob("rigs.*"))) == 1
    assert [image.points.tolist() for image in again.images] == [image.points.tolist() for image in model.images]
    np.testing.assert_allclose(again.points, model.points)
    assert np.array_equal(again.colors, model.colors)


# -------------------------------------------------------------------------------------------------------------- content


def test_a_model_of_one_pinhole_camera(tmp_path: Path) -> None:
    """Projected by the model's own camera and poses, points lie where they were seen."""
    model = pinhole_model(["1.png", "2.png", "3.png"], np.stack([np.eye(4)] * 3), CAMERA, seen_by(1))
    write_model(tmp_path / "m", model)
    read = read_model(tmp_path / "m")
    assert pinhole(read.cameras[1], "test") == CAMERA
    assert [len(image.points) for image in read.images] == [0, 4, 4]
    assert read.point_keys.tolist() == [1, 2, 3, 4]
    for image in read.images[1:]:
        points = read.points[np.searchsorted(read.point_keys, image.points)]
        there = project(transform(inverse(image.world_from_camera), points), CAMERA)
        np.testing.assert_allclose(there, image.positions)


def test_cameras_alone_are_a_model(tmp_path: Path) -> None:
    write_model(tmp_path / "m", pinhole_model(["a.jpg"], along_a_line(1), CAMERA))
    assert pycolmap.Reconstruction(tmp_path / "m").num_reg_images() == 1
    assert len(read_model(tmp_path / "m").points) == 0


def test_a_text_model_for_people(tmp_path: Path) -> None:
    write_model(tmp_path / "m", pinhole_model(["a.jpg"], along_a_line(1), CAMERA), "text")
    lines = {file.name: file.read_text().splitlines()[1:] for file in (tmp_path / "m").iterdir()}
    assert lines == {
        "cameras.txt": ["1 PINHOLE 640 480 500.0 510.0 320.5 239.25"],
        "images.txt": ["1 1.0 0.0 0.0 0.0 0.0 0.0 0.0 1 a.jpg", ""],
        "points3D.txt": [],
    }


def test_a_model_is_replaced_but_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "sparse" / "0"
    model = pinhole_model(["a.jpg"], along_a_line(1), CAMERA)
    for _ in range(2):
        write_model(folder, model)
    assert find_model(tmp_path) == folder
    with pytest.raises(OptionError, match="holds something else"):
        write_model(folder, model, "text")
    assert read_model(folder).images[0].name == "a.jpg"


# ------------------------------------------------------------------------------------------------------------- refusals


def small() -> Model:
    return pinhole_model(["a.jpg", "b.jpg"], along_a_line(2), CAMERA, seen_by(0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": {2: CAMERAS[3]}}, r"cameras that are not there: \[1\]"),
        ({"point_keys": np.array([1, 2, 3, 5])}, r"points that are not there: \[4\]"),
        ({"point_keys": np.array([1, 3, 2, 4])}, "must increase"),
        ({"images": small().images[:1] * 2}, "a name of its own"),
        ({"images": (replace(small().images[0], name="a\nb"),)}, "in one line"),
    ],
)
def test_a_model_that_contradicts_itself_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_model(tmp_path / "m", replace(small(), **change))
    assert not (tmp_path / "m").exists()


def test_names_with_spaces_go_into_binary_files_alone(tmp_path: Path) -> None:
    """COLMAP reads such a name in a text file up to the space."""
    model = pinhole_model(["a b.jpg"], along_a_line(1), CAMERA)
    with pytest.raises(ValueError, match=r"text cannot hold .* 'a b\.jpg'"):
        write_model(tmp_path / "m", model, "text")
    write_model(tmp_path / "m", model)
    assert pycolmap.Reconstruction(tmp_path / "m").images[1].name == read_model(tmp_path / "m").images[0].name


def test_landmarks_that_contradict_themselves_are_refused() -> None:
    good = seen_by(0)
    with pytest.raises(ValueError, match="a point that is not there"):
        replace(good, point=good.point + 1)
    with pytest.raises(ValueError, match="in a picture that is not there"):
        pinhole_model(["a.jpg"], along_a_line(1), CAMERA, good)
    with pytest.raises(ValueError, match="1 names for 2 poses"):
        pinhole_model(["a.jpg"], along_a_line(2), CAMERA)


# --------------------------------------------------------------------------------------------------------------- lenses


@pytest.mark.parametrize("kind", sorted({kind.name for kind in KINDS.values()} - {"EQUIRECTANGULAR"}))
@pytest.mark.parametrize("squeezed", [1.0, 1.02])
def test_a_lens_becomes_a_camera_that_shows_the_same(kind: str, squeezed: float) -> None:
    """Pixels that are not square make kinds with one focal length to others that have two."""
    count = next(each.parameters for each in KINDS.values() if each.name == kind)
    told = lens_of_colmap(kind, _parameters(kind, count), (640, 480), "test")
    camera = replace(told.intrinsics, fy=told.intrinsics.fx * squeezed)
    mine = replace(told, intrinsics=camera)
    again = lens(camera_of_lens(mine), "test")
    plane = np.random.default_rng(0).uniform(-0.3, 0.3, (20, 2))
    np.testing.assert_allclose(again.pixels_from_plane(plane), mine.pixels_from_plane(plane), rtol=0, atol=1e-9)


def _parameters(kind: str, count: int) -> tuple[float, ...]:
    focals = 1 if kind.startswith("SIMPLE") or kind in {"RADIAL", "RADIAL_FISHEYE"} else 2
    bends = (0.6, 1.1) if kind == "EUCM" else tuple(0.01 * (number + 1) for number in range(count - focals - 2))
    return (*[500.0] * focals, 320.5, 239.5, *bends)


def test_a_lens_that_bends_nothing_is_a_pinhole() -> None:
    straight = Lens(CAMERA, "OPENCV", (0.0, 0.0, 0.0, 0.0))
    assert camera_of_lens(straight) == Camera("PINHOLE", 640, 480, (500.0, 510.0, 320.5, 239.25))
