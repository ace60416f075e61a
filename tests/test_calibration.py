"""Calibrations: every format, and where each one puts the centre of the first pixel."""

import json
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from strategies import intrinsics

from recon.errors import CameraError, FormatError, TrajectoryError
from recon.io.calibration import read_intrinsics, read_lens, read_lenses
from recon.io.lens import Lens
from recon.types import Intrinsics

OURS = {"fx": 500.0, "fy": 510.0, "cx": 320.0, "cy": 240.0, "width": 640, "height": 480}
CAMERA = Intrinsics(500.0, 510.0, 320.0, 240.0, 640, 480)
HALF_A_PIXEL_ON = Intrinsics(500.0, 510.0, 320.5, 240.5, 640, 480)
SIZE = (480, 640)
P = "500 0 320 -40 0 510 240 0 0 0 1 0"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])
@given(camera=intrinsics())
def test_json_and_yaml_of_recon_survive(
    tmp_path_factory: pytest.TempPathFactory, dump: object, camera: Intrinsics
) -> None:
    values = {name: getattr(camera, name) for name in OURS}
    path = written(tmp_path_factory.mktemp("k") / "camera", dump(values))  # type: ignore[operator]
    assert read_intrinsics(path) == camera


def test_a_file_may_say_that_it_speaks_opencv(tmp_path: Path) -> None:
    path = written(tmp_path / "k.json", json.dumps(OURS | {"pixel_centre": 0}))
    assert read_intrinsics(path) == HALF_A_PIXEL_ON


@pytest.mark.parametrize(
    "text",
    [
        "500 0 320\n0 510 240\n0 0 1\n",
        "# K\n500, 0, 320\n\n0, 510, 240\n0, 0, 1",
        f"P0: 1 0 1 0 0 1 1 0 0 0 1 0\nP2: {P}\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n",
        f"calib_time: 09-Jan-2012 13:57:47\nP_rect_02: {P}\n",
        f"{P}\n1 0 1 0 0 1 1 0 0 0 1 0\n",
    ],
)
def test_matrices_are_opencvs_and_need_the_size_of_the_pictures(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "K.txt", text)
    assert read_intrinsics(path, SIZE) == HALF_A_PIXEL_ON
    with pytest.raises(CameraError, match="does not say for which size"):
        read_intrinsics(path)


def test_transforms_json_counts_pixels_as_recon_does(tmp_path: Path) -> None:
    values = {"camera_model": "OPENCV", "fl_x": 500, "fl_y": 510, "cx": 320, "cy": 240, "w": 640, "h": 480, "k1": 0}
    assert read_intrinsics(written(tmp_path / "t.json", json.dumps(values | {"frames": []}))) == CAMERA


def test_transforms_json_of_rendered_scenes_know_an_angle(tmp_path: Path) -> None:
    values = {"camera_angle_x": float(np.radians(90)), "w": 640, "h": 480, "frames": []}
    camera = read_intrinsics(written(tmp_path / "t.json", json.dumps(values)))
    assert (camera.fx, camera.fy, camera.cx) == (pytest.approx(320), pytest.approx(320), 320)


FRAME = {"file_path": "a.png", "fl_x": 500, "fl_y": 510, "cx": 320, "cy": 240, "w": 640, "h": 480}


@pytest.mark.parametrize("top", [{}, {"fl_x": 500.0, "w": 640, "h": 480}])
def test_frames_of_transforms_json_may_repeat_one_camera(tmp_path: Path, top: dict[str, float]) -> None:
    values = top | {"frames": [FRAME, FRAME | {"fl_x": 500.2}, FRAME]}
    assert read_intrinsics(written(tmp_path / "t.json", json.dumps(values))) == CAMERA


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": [FRAME, FRAME | {"fl_x": 505}]}, r"cameras of their own, up to 0\.50% apart.*--intrinsics"),
        ({"fl_x": 600, "frames": [FRAME, FRAME]}, "cameras of their own"),
        ({"frames": [FRAME, {"file_path": "b.png"}]}, "1 of its 2 frames do not say fl_x"),
        ({"frames": [FRAME | {"cx": "middle"}]}, r"cx is no number \(middle\)"),
    ],
)
def test_frames_with_cameras_of_their_own_are_refused(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(CameraError, match=message):
        read_intrinsics(written(tmp_path / "t.json", json.dumps(values)))


def test_record3d_writes_its_matrix_by_columns(tmp_path: Path) -> None:
    matrix = [500, 0, 0, 0, 510, 0, 320, 240, 1]
    values = {"w": 640, "h": 480, "fps": 60, "K": matrix, "poses": [[0, 0, 0, 1, 0, 0, 0]]}
    with zipfile.ZipFile(tmp_path / "clip.r3d", "w") as archive:
        archive.writestr("metadata", json.dumps(values))
    written(tmp_path / "metadata.json", json.dumps(values))
    assert read_intrinsics(tmp_path / "clip.r3d") == read_intrinsics(tmp_path) == CAMERA
    own = values | {"perFrameIntrinsicCoeffs": [[490, 500, 321, 241]]}
    assert read_intrinsics(written(tmp_path / "metadata", json.dumps(own))).fx == 490
    with pytest.raises(CameraError, match="focal lengths must be positive"):
        read_intrinsics(written(tmp_path / "metadata", json.dumps(values | {"K": [0, *matrix[1:]]})))


def test_vipe_has_a_row_for_each_frame(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    rows = np.array([[500, 510, 320, 240]] * 3, np.float32)
    np.savez(path, data=rows, inds=np.arange(3))
    assert read_intrinsics(path, SIZE) == CAMERA
    with pytest.raises(CameraError, match="does not say for which size"):
        read_intrinsics(path)
    written(tmp_path / "clip_camera.txt", "0: PINHOLE\n1: MEI\n")
    with pytest.raises(CameraError, match=r"not the intrinsics of pinhole cameras by ViPE.*MEI"):
        read_intrinsics(path, SIZE)
    np.savez(tmp_path / "poses.npz", data=np.zeros((3, 4, 4)), inds=np.arange(3))
    with pytest.raises(CameraError, match=r"numbers \(3, 4, 4\)"):
        read_intrinsics(tmp_path / "poses.npz", SIZE)
    np.savez(tmp_path / "depth.npz", depth=rows)
    with pytest.raises(FormatError, match="no arrays 'data' and 'inds'"):
        read_intrinsics(tmp_path / "depth.npz", SIZE)


def test_colmap_cameras_count_pixels_as_recon_does(tmp_path: Path) -> None:
    path = written(tmp_path / "cameras.txt", "1 PINHOLE 640 480 500 510 320 240\n")
    written(tmp_path / "images.txt", "")
    assert read_intrinsics(path) == read_intrinsics(tmp_path) == CAMERA


def test_colmap_cameras_alone_will_do(tmp_path: Path) -> None:
    assert read_intrinsics(written(tmp_path / "cameras.txt", "1 PINHOLE 640 480 500 510 320 240\n")) == CAMERA


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a calibration; known are"),
        ("hello", "not a calibration; known are"),
        ("{", "neither JSON nor YAML nor a matrix"),
        (json.dumps(OURS | {"cx": None}), "cx is missing"),
        (json.dumps({"fx": 1}), "fy is missing"),
        (json.dumps(OURS | {"fx": "wide"}), r"fx is no number \(wide\)"),
        (json.dumps(OURS | {"k7": 0.1}), "unknown keys k7"),
        (json.dumps(OURS | {"fx": -1}), "focal lengths must be positive"),
        (json.dumps(OURS | {"fy": float("inf")}), "intrinsics must be finite"),
        (json.dumps(OURS | {"cx": 0.5, "width": 0}), "image size must be positive"),
        (json.dumps(OURS | {"cx": 960.0}), r"principal point \(960, 240\) lies outside a picture of 640 x 480"),
        ("500 1 320\n0 510 240\n0 0 1\n", "without skew"),
        ("1 0 0\n0 1 0\n0 0 2\n", "without skew"),
        (json.dumps({"fl_x": 500, "w": 640, "h": 480, "k1": -0.3}), "displaces pixels by up to"),
        (json.dumps({"fl_x": 500, "w": 640, "h": 480, "camera_model": "OPENCV_FISHEYE"}), "OPENCV_FISHEYE"),
        (json.dumps({"fl_x": 500, "w": 640, "h": 480, "camera_model": "OMNI"}), "OMNI are not supported; known are"),
        (json.dumps({"fl_x": 500, "w": 640, "h": 480, "k4": 0.1}), "OPENCV has no k4; it has k1, k2, p1, p2"),
        (json.dumps({"fl_x": 500, "h": 480}), "w is missing"),
    ],
)
def test_what_is_no_calibration_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "k", text)
    with pytest.raises(CameraError, match=message) as told:
        read_intrinsics(path, SIZE)
    assert str(told.value).startswith(str(path))


def test_files_that_are_not_text_or_not_there_are_told(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "b", tmp_path / "missing"):
        with pytest.raises(CameraError, match="cannot be read as a calibration"):
            read_intrinsics(path)


def test_several_cameras_are_refused_unless_they_are_one(tmp_path: Path) -> None:
    written(tmp_path / "images.txt", "")
    line = "{} PINHOLE 640 480 {} 510 320 240\n"
    written(tmp_path / "cameras.txt", line.format(1, 500) + line.format(2, 500))
    assert read_intrinsics(tmp_path) == CAMERA
    written(tmp_path / "cameras.txt", line.format(1, 500) + line.format(2, 501))
    with pytest.raises(CameraError, match="2 different cameras"):
        read_intrinsics(tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("7scenes_redkitchen_a/camera-intrinsics.txt", (480, 640), (585, 585, 320.5, 240.5)),
        ("7scenes_redkitchen_a/sfm_colmap_bin", None, (525, 525, 320, 238)),
        ("colmap_lund_door", None, (2435.38, 2435.38, 648, 968)),
        ("hololens_dvmvs_a/K.txt", (360, 540), (495.5678, 495.4820, 270.0029, 169.6941)),
        ("kitti_odometry_a/calib.txt", (370, 1226), (707.0912, 707.0912, 602.3873, 183.6104)),
        ("kitti_object_a/calib/000001.txt", (375, 1242), (721.5377, 721.5377, 610.0593, 173.354)),
    ],
)
def test_real_files(shared: Path, name: str, size: tuple[int, int] | None, expected: tuple[float, ...]) -> None:
    camera = read_intrinsics(shared / "data" / name, size)
    np.testing.assert_allclose((camera.fx, camera.fy, camera.cx, camera.cy), expected, atol=1e-4)


# --------------------------------------------------------------------------------------------------------------- lenses

BENT = OURS | {"k1": -0.25, "k2": 0.06, "p1": 0.001, "p2": -0.002}


@pytest.mark.parametrize(
    ("more", "kind", "coefficients"),
    [
        ({}, "OPENCV", (-0.25, 0.06, 0.001, -0.002)),
        ({"k3": 0.1}, "FULL_OPENCV", (-0.25, 0.06, 0.001, -0.002, 0.1, 0, 0, 0)),
        (
            {"k3": 0.1, "k4": 0.2, "camera_model": "FULL_OPENCV"},
            "FULL_OPENCV",
            (*(-0.25, 0.06, 0.001, -0.002), 0.1, 0.2, 0, 0),
        ),
        ({"camera_model": "OPENCV_FISHEYE", "p1": 0, "p2": 0, "k4": 0.1}, "OPENCV_FISHEYE", (-0.25, 0.06, 0, 0.1)),
    ],
)
def test_coefficients_have_nerfstudios_names(
    tmp_path: Path, more: dict[str, object], kind: str, coefficients: tuple[float, ...]
) -> None:
    """In our own files and in transforms.json alike."""
    expected = Lens(CAMERA, kind, tuple(map(float, coefficients)))
    assert read_lens(written(tmp_path / "k.json", json.dumps(BENT | more))) == expected
    names = {"fx": "fl_x", "fy": "fl_y", "width": "w", "height": "h"}
    transforms = {names.get(key, key): value for key, value in (BENT | more).items() if key != "pixel_centre"}
    assert read_lens(written(tmp_path / "t.json", json.dumps(transforms))) == expected


SENSOR = """
resolution: [640, 480]
camera_model: pinhole
intrinsics: [500, 510, 319.5, 239.5] #fu, fv, cu, cv
distortion_model: radial-tangential
distortion_coefficients: [-0.28, 0.07, 0.0002, 0.00002]
"""


def test_kalibr_and_euroc_count_pixels_as_opencv_does(tmp_path: Path) -> None:
    assert read_lens(written(tmp_path / "sensor.yaml", SENSOR)) == Lens(
        CAMERA, "OPENCV", (-0.28, 0.07, 0.0002, 0.00002)
    )
    chain = "cam0:\n" + SENSOR.replace("\n", "\n  ").replace("radial-tangential", "equidistant")
    chain = chain.replace("distortion_coefficients", "distortion_coeffs")
    assert read_lens(written(tmp_path / "camchain.yaml", chain)).kind == "OPENCV_FISHEYE"
    for wrong, message in (
        (SENSOR.replace("pinhole", "omni"), "Kalibr's kind omni, radial-tangential are not supported"),
        (SENSOR.replace(", 0.00002", ""), "OPENCV has 4 coefficients, not 3"),
        (SENSOR.replace("[500, 510, 319.5, 239.5]", "[500, 510]"), "intrinsics are fu, fv, cu, cv"),
        (SENSOR.replace("[500, 510, 319.5, 239.5]", "wide"), r"intrinsics is no list of numbers \(wide\)"),
    ):
        with pytest.raises(CameraError, match=message):
            read_lens(written(tmp_path / "sensor.yaml", wrong))


RADIAL = [-0.25, 0.06, 0.001, -0.002]
K = np.array([[500.0, 0, 320], [0, 510, 240], [0, 0, 1]])


def opencv_file(path: Path, **values: object) -> Path:
    """As OpenCV's own program for calibration writes it."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in values.items():
        storage.write(name, value)
    storage.release()
    return path


@pytest.mark.parametrize("ending", ["yml", "json"])
@pytest.mark.parametrize(
    ("coefficients", "kind"),
    [
        (RADIAL, "OPENCV"),
        ([*RADIAL, 0.0], "OPENCV"),
        ([*RADIAL, 0.02], "FULL_OPENCV"),
        ([*RADIAL, 0.02, 0.3, 0.01, 0.005], "FULL_OPENCV"),
        ([*RADIAL, 0, 0.3, 0, 0, *[0.0] * 6], "FULL_OPENCV"),
    ],
)
def test_opencvs_files_are_read_as_opencv_means_them(
    tmp_path: Path, coefficients: list[float], kind: str, ending: str
) -> None:
    """Its points are ours, but that the centre of the first pixel is (0, 0)."""
    matrices = {"camera_matrix": K, "distortion_coefficients": np.array(coefficients)[:, None]}
    path = opencv_file(
        tmp_path / f"k.{ending}", calibration_time="today", image_width=640, image_height=480, **matrices
    )
    lens = read_lens(path)
    assert (lens.kind, lens.intrinsics) == (kind, HALF_A_PIXEL_ON)
    plane = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 2))
    theirs, _ = cv2.projectPoints(np.c_[plane, np.ones(20)], np.zeros(3), np.zeros(3), K, np.array(coefficients))
    np.testing.assert_allclose(lens.pixels_from_plane(plane), theirs[:, 0] + 0.5, atol=1e-9)


def test_opencvs_fisheyes_say_so(tmp_path: Path) -> None:
    matrices = {"Camera_Matrix": K, "Distortion_Coefficients": np.array([[-0.02, 0.01, 0.003, -0.001]])}
    path = opencv_file(tmp_path / "k.yaml", fisheye_model=1, **matrices)
    with pytest.raises(CameraError, match="does not say for which size"):
        read_lens(path)
    lens = read_lens(path, SIZE)
    plane = np.random.default_rng(0).uniform(-0.8, 0.8, (20, 2))
    points = np.c_[plane, np.ones(20)][:, None]
    theirs, _ = cv2.fisheye.projectPoints(points, np.zeros(3), np.zeros(3), K, matrices["Distortion_Coefficients"])
    np.testing.assert_allclose(lens.pixels_from_plane(plane), theirs[:, 0] + 0.5, atol=1e-9)


CAMERA_INFO = """image_width: 640
image_height: 480
camera_name: narrow_stereo
camera_matrix:
  rows: 3
  cols: 3
  data: [500, 0, 319.5, 0, 510, 239.5, 0, 0, 1]
distortion_model: plumb_bob
distortion_coefficients:
  rows: 1
  cols: 5
  data: [-0.25, 0.06, 0.001, -0.002, 0]
rectification_matrix:
  rows: 3
  cols: 3
  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]
projection_matrix:
  rows: 3
  cols: 4
  data: [400, 0, 300, 0, 0, 400, 200, 0, 0, 0, 1, 0]
"""
MESSAGE = """header:
  frame_id: camera
height: 480
width: 640
distortion_model: "{model}"
{D}: {values}
{K}: [500.0, 0.0, 319.5, 0.0, 510.0, 239.5, 0.0, 0.0, 1.0]
---
"""


def test_ros_says_which_lens(tmp_path: Path) -> None:
    """A file of camera_calibration, and a message that was printed: of ROS 1 and of ROS 2."""
    assert read_lens(written(tmp_path / "ost.yaml", CAMERA_INFO)) == Lens(CAMERA, "OPENCV", tuple(RADIAL))
    for model, values, kind in (
        ("plumb_bob", [], "OPENCV"),
        ("", [], "OPENCV"),
        ("rational_polynomial", [*RADIAL, 0.02, 0.3, 0.01, 0.005], "FULL_OPENCV"),
        ("equidistant", [-0.02, 0.01, 0.003, -0.001], "OPENCV_FISHEYE"),
    ):
        for names in ({"K": "K", "D": "D"}, {"K": "k", "D": "d"}):
            lens = read_lens(written(tmp_path / "k", MESSAGE.format(model=model, values=values, **names)))
            assert (lens.kind, lens.intrinsics) == (kind, CAMERA)
            assert sorted(lens.coefficients) == sorted(values or [0.0] * 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("plumb_bob", "thin_prism"),
            "lenses with distortion_model thin_prism are not supported; known are none, plumb",
        ),
        (("-0.002, 0]", "-0.002, 0, 0, 0, 0, 0.1]"), r"9 coefficients \(a thin prism\)"),
        (("data: [500, 0, 319.5, 0, 510, 239.5, 0, 0, 1]", "data: [500, 319.5]"), "holds 2 numbers, not 3 x 3"),
        (("data: [500, ", "data: [wide, "), "camera_matrix is no matrix of numbers"),
        (("image_height: 480", ""), "image_height is missing"),
        (
            ("camera_name: narrow", "camera_name: !!python/object/apply:os.getcwd []\nlens: narrow"),
            "neither JSON nor YAML",
        ),
    ],
)
def test_what_opencv_and_ros_cannot_mean_is_told(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in CAMERA_INFO
    with pytest.raises(CameraError, match=message):
        read_lens(written(tmp_path / "k.yaml", CAMERA_INFO.replace(*change)))


def test_a_lens_that_distorts_is_no_pinhole(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match=r"k\.json: the lens \(OPENCV\) displaces pixels by up to .* undistort"):
        read_intrinsics(written(tmp_path / "k.json", json.dumps(BENT)))


def test_frames_of_transforms_json_may_have_lenses_of_their_own(tmp_path: Path) -> None:
    """Found by name; a frame says what the top of the file does not."""
    frames = [{"file_path": "images/a.png", "fl_x": 500}, {"file_path": "images/b.png", "fl_x": 400, "k1": -0.1}]
    path = written(tmp_path / "transforms.json", json.dumps({"w": 640, "h": 480, "frames": frames}))
    found = read_lenses(path, SIZE, times_by_name={"a": 0.0, "b": 0.5}, rate=None)
    assert found.times.tolist() == [0.0, 0.5]
    assert [found.lenses[row].intrinsics.fx for row in found.which.tolist()] == [500, 400]
    assert found.lenses[found.row(0.5)].coefficients == (-0.1, 0, 0, 0)
    assert read_lenses(tmp_path, SIZE, times_by_name={"a": 0.0, "b": 0.5}, rate=None).lenses == found.lenses


def test_cameras_of_a_model_are_found_by_the_names_of_pictures(tmp_path: Path) -> None:
    written(tmp_path / "cameras.txt", "1 PINHOLE 640 480 500 510 320 240\n2 SIMPLE_RADIAL 640 480 500 320 240 -0.1\n")
    written(tmp_path / "images.txt", "1 1 0 0 0 0 0 0 1 f_0001.png\n\n2 1 0 0 0 0 0 0 2 f_0003.png\n\n")
    found = read_lenses(tmp_path, SIZE, times_by_name={}, rate=10.0)
    assert [found.lenses[found.row(time)].kind for time in (0.0, 0.09, 0.11, 0.2)] == [
        "PINHOLE",
        "PINHOLE",
        "SIMPLE_RADIAL",
        "SIMPLE_RADIAL",
    ]
    with pytest.raises(TrajectoryError, match="--trajectory-rate"):
        read_lenses(tmp_path, SIZE, times_by_name={}, rate=None)
    written(tmp_path / "cameras.txt", "1 PINHOLE 640 480 500 510 320 240\n3 PINHOLE 640 480 400 320 320 240\n")
    with pytest.raises(FormatError, match=r"images refer to cameras \[2\], which the model does not have"):
        read_lenses(tmp_path, SIZE, times_by_name={}, rate=10.0)


@pytest.mark.shared
def test_the_lens_of_a_real_model(shared: Path) -> None:
    lens = read_lens(shared / "data" / "colmap_lund_door")
    assert (lens.kind, lens.coefficients) == ("SIMPLE_RADIAL", (-0.0336422,))
