"""COLMAP models and sparse maps: tiny ones written here, and real ones, with pycolmap as the oracle."""

import logging
import struct
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon.errors import AlignmentError, CameraError, FormatError, TrajectoryError
from recon.geometry import inverse, project, transform
from recon.io.colmap import Camera, find_model, lens, pinhole, read_cameras, read_images, read_model
from recon.io.naming import key_of
from recon.io.sparse import read_sparse
from recon.io.undistorted import common_pinhole

CAMERAS = "# comment\n7 PINHOLE 640 480 500 510 320.25 240.5\n\n9 SIMPLE_RADIAL 640 480 500 320 240 0.01\n"
IMAGES = (
    "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n"
    "2 1 0 0 0 0 0 0 7 in a folder/b_0002.png\n"
    "320.25 240.5 11 10 10 -1 570.25 240.5 12\n"
    "1 0.7071067811865476 0 0.7071067811865476 0 0 0 4 9 a_0001.png\n"
    "\n"
)
POINTS = "12 1 0 2 255 0 0 0.5 2 2\n11 0 0 4 255 0 0 0.5 2 0\n13 0 0 -4 255 0 0 0.5\n"
REAL = ["7scenes_redkitchen_a/sfm_colmap_bin", "hololens_dvmvs_a/sfm_colmap_txt", "colmap_lund_door/sparse"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The small model, as text."""
    for name, text in {"cameras": CAMERAS, "images": IMAGES, "points3D": POINTS}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    return tmp_path


def camera_of(kind: str, *parameters: float) -> Camera:
    return Camera(kind, 640, 480, tuple(map(float, parameters)))


def as_binary(text: Path, binary: Path) -> Path:
    binary.mkdir()
    pycolmap.Reconstruction(text).write_binary(binary)
    return binary


# --------------------------------------------------------------------------------------------------------------- models


def test_a_text_model_reads_as_written(model: Path) -> None:
    found = read_model(model)
    assert found.cameras[7] == camera_of("PINHOLE", 500.0, 510.0, 320.25, 240.5)
    assert [image.name for image in found.images] == ["a_0001.png", "in a folder/b_0002.png"]
    assert found.images[1].points.tolist() == [11, -1, 12]
    assert found.images[1].positions[0].tolist() == [320.25, 240.5]
    assert len(found.images[0].points) == 0
    assert found.point_keys.tolist() == [11, 12, 13]
    assert found.points.tolist() == [[0, 0, 4], [1, 0, 2], [0, 0, -4]]
    assert found.colors.tolist() == [[255, 0, 0]] * 3
    assert found.errors.tolist() == [0.5] * 3


def test_poses_are_turned_around(model: Path) -> None:
    """COLMAP's camera_from_world turns x to -z; the camera's centre is -R^T t = (4, 0, 0)."""
    pose = read_images(model)[0].world_from_camera
    np.testing.assert_allclose(pose[:3, 3], [4, 0, 0], atol=1e-12)
    np.testing.assert_allclose(pose[:3, 2], [-1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("above", ["", "sparse/0", "sparse", "0"])
def test_the_model_is_found_from_above(tmp_path: Path, above: str) -> None:
    folder = tmp_path / above
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("cameras", "images", "points3D"):
        (folder / f"{name}.txt").touch()
    assert find_model(tmp_path) == folder
    assert find_model(folder / "images.txt") == folder
    assert find_model(tmp_path / "elsewhere") is None


def assert_equal_to_pycolmap(folder: Path) -> None:
    ours, oracle = read_model(folder), pycolmap.Reconstruction(folder)
    assert {key: camera.kind for key, camera in ours.cameras.items()} == {
        key: camera.model.name for key, camera in oracle.cameras.items()
    }
    for key, camera in ours.cameras.items():
        assert list(camera.parameters) == oracle.cameras[key].params.tolist()
    theirs = {image.name: image for image in oracle.images.values()}
    assert [image.name for image in ours.images] == sorted(theirs)
    for image in ours.images:
        other = theirs[image.name]
        assert image.camera == other.camera_id
        # pycolmap leaves a quaternion of six digits as long as it is; its matrix is then no rotation, by 4e-7.
        np.testing.assert_allclose(inverse(image.world_from_camera)[:3], other.cam_from_world().matrix(), atol=1e-6)
        features = other.points2D
        assert np.array_equal(image.positions, np.array([feature.xy for feature in features]).reshape(-1, 2))
        assert image.points.tolist() == [f.point3D_id if f.has_point3D() else -1 for f in features]
    assert ours.point_keys.tolist() == sorted(oracle.points3D)
    points = [oracle.points3D[int(key)] for key in ours.point_keys]
    assert ours.points.tolist() == [point.xyz.tolist() for point in points]
    assert ours.colors.tolist() == [point.color.tolist() for point in points]
    assert ours.errors.tolist() == [point.error for point in points]


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_models_read_as_pycolmap_reads_them(shared: Path, name: str) -> None:
    assert_equal_to_pycolmap(shared / "data" / name)


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL[1:])
def test_text_and_binary_say_the_same(shared: Path, tmp_path: Path, name: str) -> None:
    """pycolmap writes the five files with rigs and frames."""
    text = shared / "data" / name
    binary = as_binary(text, tmp_path / "binary")
    assert (binary / "rigs.bin").is_file()
    one, other = read_model(text), read_model(binary)
    assert one.cameras == other.cameras
    for a, b in zip(one.images, other.images, strict=True):
        assert (a.name, a.points.tolist()) == (b.name, b.points.tolist())
        np.testing.assert_allclose(a.positions, b.positions, rtol=1e-12)
        np.testing.assert_allclose(a.world_from_camera, b.world_from_camera, atol=1e-12)
    np.testing.assert_allclose(one.points, other.points, rtol=1e-12)


def test_a_small_model_survives_pycolmaps_binary(model: Path, tmp_path: Path) -> None:
    assert_equal_to_pycolmap(as_binary(model, tmp_path / "binary"))


def rig_of_two_cameras() -> pycolmap.Reconstruction:
    """One frame of a stereo rig; the second camera is 0.5 to the right of the first and turned by a quarter."""
    world = pycolmap.Reconstruction()
    rig = pycolmap.Rig(rig_id=1)
    turned = pycolmap.Rigid3d(pycolmap.Rotation3d([0, 0, 0.7071067811865476, 0.7071067811865476]), [-0.5, 0, 0])
    for number in (1, 2):
        camera = pycolmap.Camera(model="PINHOLE", width=640, height=480, params=[500, 500, 320, 240])
        camera.camera_id = number
        world.add_camera(camera)
        (rig.add_ref_sensor(camera.sensor_id) if number == 1 else rig.add_sensor(camera.sensor_id, turned))
    world.add_rig(rig)
    frame = pycolmap.Frame(frame_id=1, rig_id=1)
    frame.rig_from_world = pycolmap.Rigid3d(pycolmap.Rotation3d(), [0, 0, 3])
    images = [pycolmap.Image(name=f"camera{n}/0001.png", camera_id=n, image_id=n) for n in (1, 2)]
    for image in images:
        frame.add_data_id(image.data_id)
    world.add_frame(frame)
    for image in images:
        image.frame_id = 1
        world.add_image(image)
    return world


@pytest.mark.parametrize("how", ["write_text", "write_binary"])
def test_poses_of_a_rig_are_composed(tmp_path: Path, how: str) -> None:
    getattr(rig_of_two_cameras(), how)(tmp_path)
    first, second = (image.world_from_camera for image in read_images(tmp_path))
    np.testing.assert_allclose(first[:3, 3], [0, 0, -3], atol=1e-12)
    np.testing.assert_allclose(inverse(second)[:3, 3], [-0.5, 0, 3], atol=1e-12)
    assert_equal_to_pycolmap(tmp_path)


# -------------------------------------------------------------------------------------------------------------- cameras


def test_little_distortion_is_neglected_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "recon"):
        intrinsics = pinhole(camera_of("SIMPLE_RADIAL", 500, 320, 240, -0.01), "model")
    assert (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy) == (500, 500, 320, 240)
    assert "model: the lens (SIMPLE_RADIAL) displaces pixels by up to 2.6 px" in caplog.text


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (
            camera_of("SIMPLE_RADIAL", 500, 320, 240, -0.2),
            r"displaces pixels by up to \d+\.\d, more than 6\.4",
        ),
        (
            camera_of("OPENCV_FISHEYE", 500, 500, 320, 240, 0, 0, 0, 0),
            r"\(OPENCV_FISHEYE\) displaces pixels by up to 1",
        ),
        (camera_of("EQUIRECTANGULAR", 640, 480), "EQUIRECTANGULAR are not supported"),
        (camera_of("PINHOLE", 0, 500, 320, 240), "model: focal lengths must be positive"),
    ],
)
def test_lenses_that_cannot_be_neglected_are_refused(camera: Camera, message: str) -> None:
    with pytest.raises(CameraError, match=message):
        pinhole(camera, "model")


# --------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cameras", "1 PINHOLE 640 480 500 500 320\n", r"cameras\.txt:1: .* PINHOLE has 4 parameters, not 3"),
        ("cameras", "\n1 BOX 640 480 500 500 320\n", r"cameras\.txt:2: unknown kind of camera BOX"),
        ("cameras", "1 PINHOLE 640\n", r"cameras\.txt:1: a camera is CAMERA_ID"),
        ("cameras", "1 PINHOLE 640 wide 1 1 1 1\n", r"cameras\.txt:1: could not convert string to float: 'wide'"),
        ("cameras", "1 PINHOLE 640 480 500 500 320 240\n", r"images refer to cameras \[7, 9\]"),
        ("images", "1 1 0 0 0 0 0 0 7\n", r"images\.txt:1: an image is IMAGE_ID"),
        ("images", "1 0 0 0 0 0 0 0 7 a.png\n\n", r"images\.txt:1: a pose that is no pose"),
        ("images", "1 1 0 0 0 0 0 0 7 a.png\n1 2 3 4\n", r"images\.txt:2: features are triples"),
        ("points3D", "\n1 2 3\n", r"points3D\.txt:2: a point is"),
        ("points3D", "-1 0 0 0 0 0 0 0\n", r"points3D\.txt:1: -1 is no number of a point"),
        ("points3D", "1 0 0 0 0 256 0 0\n", r"points3D\.txt:1: \(0\.0, 256\.0, 0\.0\) is no colour"),
    ],
)
def test_damaged_text_is_told_with_its_line(model: Path, name: str, text: str, message: str) -> None:
    (model / f"{name}.txt").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_model(model)


@pytest.mark.parametrize("name", ["cameras", "images", "points3D"])
def test_a_binary_file_that_ends_early_is_told(model: Path, tmp_path: Path, name: str) -> None:
    binary = as_binary(model, tmp_path / "binary")
    file = binary / f"{name}.bin"
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=rf"{name}\.bin, byte \d+: the file ends too early"):
            read_model(binary)


def test_an_unknown_kind_of_camera_in_a_binary_file_is_told(model: Path, tmp_path: Path) -> None:
    binary = as_binary(model, tmp_path / "binary")
    (binary / "cameras.bin").write_bytes(struct.pack("<QIiQQ4d", 1, 7, 99, 640, 480, 1, 1, 1, 1))
    with pytest.raises(FormatError, match="unknown kind of camera 99"):
        read_cameras(binary)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"not a COLMAP model, cameras\.bin or cameras\.txt is missing"):
        read_cameras(tmp_path)
    with pytest.raises(FormatError, match="holds no COLMAP model"):
        read_sparse(tmp_path, times_by_name={}, rate=30.0)


# ---------------------------------------------------------------------------------------------------------- sparse maps


def test_observations_have_times_places_and_depths(model: Path) -> None:
    sparse = read_sparse(model, times_by_name={"b_0002": 0.25}, rate=None)
    assert sparse.times.tolist() == [0.25, 0.25]
    assert sparse.points[sparse.point].tolist() == [[0, 0, 4], [1, 0, 2]]
    np.testing.assert_allclose(sparse.position, [[320.25 / 640, 240.5 / 480], [570.25 / 640, 240.5 / 480]])
    assert sparse.depth.tolist() == [4, 2]


def test_points_behind_the_camera_and_outside_the_picture_are_left_out(model: Path) -> None:
    (model / "images.txt").write_text("2 1 0 0 0 0 0 0 7 b_0002.png\n320 240 11 320 240 13 700 240 12\n")
    sparse = read_sparse(model, times_by_name={}, rate=30.0)
    assert sparse.points[sparse.point].tolist() == [[0, 0, 4]]


@pytest.mark.parametrize(("first", "times"), [(0, [0.0, 0.5]), (1, [0.0, 0.5])])
def test_frames_of_a_video_are_found_by_their_number(model: Path, first: int, times: list[float]) -> None:
    line = "{} 1 0 0 0 0 0 0 7 frame_{:05d}.jpg\n320 240 11\n"
    (model / "images.txt").write_text(line.format(1, first) + line.format(2, first + 5))
    assert read_sparse(model, times_by_name={}, rate=10.0).times.tolist() == times


def test_pictures_that_the_input_lacks_are_left_out_and_counted(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "recon"):
        read_sparse(model, times_by_name={"b_0002": 0.0, "c": 1.0}, rate=None)
    assert "1 of its 2 pictures are not among the input's" in caplog.text


@pytest.mark.parametrize(
    ("times", "rate", "message"),
    [
        ({"x": 0.0}, None, r"none of its 2 pictures \(a_0001\.png, .*is among the 1 of the input \(x"),
        ({}, None, "--trajectory-rate"),
        ({"a_0001": 0.5, "b_0002": 0.5}, None, "1 of 2 pictures share the time of another"),
    ],
)
def test_images_without_a_time_are_told(model: Path, times: dict[str, float], rate: float | None, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        read_sparse(model, times_by_name=times, rate=rate)


def test_names_without_numbers_belong_to_no_video(model: Path) -> None:
    (model / "images.txt").write_text("1 1 0 0 0 0 0 0 7 door.jpg\n\n")
    with pytest.raises(TrajectoryError, match=r"'door\.jpg' has no frame number"):
        read_sparse(model, times_by_name={}, rate=30.0)


def test_a_model_that_sees_nothing_or_unknown_points_is_told(model: Path) -> None:
    (model / "images.txt").write_text("1 1 0 0 0 0 0 0 7 a_1.png\n\n")
    with pytest.raises(AlignmentError, match="no image of the model sees any of its 3 points"):
        read_sparse(model, times_by_name={}, rate=30.0)
    (model / "images.txt").write_text("1 1 0 0 0 0 0 0 7 a_1.png\n1 1 999\n")
    with pytest.raises(FormatError, match=r"a_1\.png sees points that the model does not have"):
        read_sparse(model, times_by_name={}, rate=30.0)


@pytest.mark.parametrize(
    ("name", "key"),
    [("a.b.c.png", "a"), ("x/y/frame-1.color.jpg", "frame-1"), ("x\\y.png", "y"), ("./images/r_0", "r_0")],
)
def test_the_key_of_a_picture_is_its_name_up_to_the_first_dot(name: str, key: str) -> None:
    assert key_of(name) == key


@pytest.mark.shared
@pytest.mark.parametrize(("name", "limit"), list(zip(REAL, [0.7, 0.5, 0.3], strict=True)))
def test_real_landmarks_project_to_where_they_were_seen(shared: Path, name: str, limit: float) -> None:
    """Medians: 0.51, 0.38 and 0.22 px; a pose turned around, half a pixel, or the door's lens (1.4 px) would show."""
    folder = shared / "data" / name
    images = read_images(folder)
    numbered = {key_of(image.name): float(number) for number, image in enumerate(images)}
    of_model = lens(next(iter(read_cameras(folder).values())), name)
    camera = common_pinhole([of_model])

    def straight(_time: float, seen: np.ndarray) -> np.ndarray:
        plane = of_model.plane_from_pixels(seen * (camera.width, camera.height))
        return (plane * (camera.fx, camera.fy) + (camera.cx, camera.cy)) / (camera.width, camera.height)

    sparse = read_sparse(folder, times_by_name=numbered, rate=None, straight=straight)
    errors = []
    for number, image in enumerate(images):
        rows = sparse.times == number
        points = transform(inverse(image.world_from_camera), sparse.points[sparse.point[rows]])
        seen = sparse.position[rows] * (camera.width, camera.height)
        errors.append(np.linalg.norm(project(points, camera) - seen, axis=1))
        np.testing.assert_allclose(points[:, 2], sparse.depth[rows])
    assert np.median(np.concatenate(errors)) < limit
