"""Bare landmarks: files of them, and which of them a camera sees."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float64
from scipy.spatial.transform import Rotation

from recon.errors import FormatError, OptionError
from recon.geometry import inverse, project, rigid, transform
from recon.io.cloud import write_ply
from recon.io.colmap import pinhole, read_model
from recon.io.points import is_points_file, read_points
from recon.io.sparse import LANDMARKS_OF_A_PICTURE, observed, position_of
from recon.types import CameraTrajectory, Intrinsics, PointCloud, SparsePoints

TWO = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]]
CAMERA = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
HERE = CameraTrajectory(np.array([0.0]), np.eye(4)[None])

# -------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3\n4 5 6.5\n",
        " 1.0000000 2.0000000 3.0000000\n 4.0000000 5.0000000 6.5000000\n",
        "1\t2\t3\r\n4\t5\t6.5\r\n",
        "1,2,3\n4,5,6.5",
        "1, 2, 3, 255, 0, 0\n\n4, 5, 6.5, 0, 0, 255\n",
        "\ufeffx,y,z,r,g,b\n1,2,3,255,0,0\n4,5,6.5,0,0,255\n",
        "id;x;y;z\n7;1;2;3\n8;4;5;6,5\n",
        "1,0;2;3;\n4;5,0;6,5;\n",
        "//X Y Z R G B\n1 2 3 255 0 0\n4 5 6.5 0 0 255\n",
        "# id x y z\n7 1 2 3\n8 4 5 6.5\n",
        "# made by somebody\n1 2 3\n# a note\n4 5 6.5 # another one\n",
        "2\n1 2 3 -700 255 0 0\n4 5 6.5 -800 0 0 255\n",
        '"Z [m]","X [m]","Y [m]"\n3,1,2\n6.5,4,5\n',
        "pos_x,pos_y,pos_z\n1,2,3\n4,5,6.5\n",
    ],
)
def test_text_is_read_whatever_parts_its_numbers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "map.csv"
    path.write_bytes(text.encode())
    assert read_points(path).tolist() == TWO


@given(
    st.lists(st.tuples(*[st.floats(-1e9, 1e9)] * 3), min_size=1, max_size=20),
    st.sampled_from([" ", ",", "\t", ";", " , "]),
    st.sampled_from(["", "x{0}y{0}z\n", "# anything\n"]),
)
def test_text_keeps_all_digits(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, ...]], separator: str, header: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "map.xyz"
    lines = (separator.join(map(repr, row)) for row in rows)
    path.write_text(header.format(separator) + "\n".join(lines))
    assert read_points(path).tolist() == [list(row) for row in rows]


def test_vertices_of_ply_are_landmarks(tmp_path: Path) -> None:
    cloud = PointCloud(np.array(TWO, np.float32), np.zeros((2, 3), np.uint8), np.zeros((2, 3), np.float32))
    write_ply(tmp_path / "map.PLY", cloud, [])
    assert read_points(tmp_path / "map.PLY").tolist() == TWO


def test_points_that_are_nowhere_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "map.txt"
    path.write_text("1 2 3\nnan 0 0\n4 5 6.5\n0 inf 0\n")
    with caplog.at_level(logging.WARNING, "recon"):
        assert read_points(path).tolist() == TWO
    assert "2 of 4 points are not finite" in caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("map.csv", b"", "holds no points"),
        ("map.csv", b"# nothing\n\n", "holds no points"),
        ("map.csv", b"x,y,z\n", "holds no points"),
        ("map.csv", b"nan nan nan\n", "holds no points"),
        ("map.xyz", b"1 2\n3 4\n", r"lines of 2 values; a point has x, y and z"),
        ("map.txt", b"1 2 3\n1 2\n", r"a line of 2 values \(\[1\.0, 2\.0\]\) among lines of 3"),
        ("map.txt", b"1 2 3\n1 two 3\n", r"map\.txt:2: not a line of numbers \('1 two 3'\)"),
        ("map.txt", b"Dear reader,\n", r"map\.txt:1: neither x y z nor a header that names them"),
        ("map.csv", b"east,north,up\n1,2,3\n", "nor a header that names them"),
        ("map.txt", b"\xff\xfe\x00", "a binary file"),
        ("map.txt", b"0.0 1 2 3 0 0 0 1\n0.1 1 2 3 0 0 1 0\n", "a trajectory .* give it to --trajectory"),
        ("map.ply", b"solid", "is not a PLY file"),
        ("map.pcd", b"", r"not a file of points \(\.ply, \.asc, \.csv"),
    ],
)
def test_files_that_are_no_maps_are_told(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        read_points(tmp_path / name)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    for name in ("map.ply", "map.txt"):
        with pytest.raises(FormatError, match=r"cannot be read \(No such file"):
            read_points(tmp_path / name)


def test_bare_points_and_colmap_models_are_told_apart(tmp_path: Path) -> None:
    for name in ("cameras.txt", "images.txt", "points3D.txt"):
        (tmp_path / name).touch()
    assert is_points_file(tmp_path / "map.ply")
    assert is_points_file(tmp_path / "MapPoints.TXT")
    assert not is_points_file(tmp_path)
    assert not is_points_file(tmp_path / "points3D.txt")
    assert not is_points_file(tmp_path / "video.mp4")


# ------------------------------------------------------------------------------------------------------------- who sees


def wall(x: tuple[float, float], y: tuple[float, float], z: float, step: float = 0.1) -> Float64[np.ndarray, "n 3"]:
    across, down = np.meshgrid(np.arange(*x, step), np.arange(*y, step))
    return np.stack([across.ravel(), down.ravel(), np.full(across.size, z)], axis=1)


def seen_now(points: Float64[np.ndarray, "n 3"], camera: Intrinsics = CAMERA) -> Bool[np.ndarray, " n"]:
    """Which landmarks a camera at the origin sees."""
    mask = np.zeros(len(points), bool)
    mask[observed(points, HERE, camera, [0.0]).point] = True
    return mask


def test_what_stands_behind_a_wall_is_not_seen() -> None:
    """A wall 2 m away fills the right half of the picture; it hides what is 4 m away there, and nothing beside it."""
    near, far = wall((0.0, 1.28), (-0.96, 0.96), 2.0, 0.06), wall((-2.5, 2.5), (-1.9, 1.9), 4.0, 0.15)
    mask = seen_now(np.concatenate([near, far]))
    assert mask[: len(near)].all()
    behind = far[:, 0] > 0.1
    beside = far[:, 0] < -0.3
    assert not mask[len(near) :][behind].any()
    assert mask[len(near) :][beside].all()


def test_a_lone_stray_landmark_hides_nothing() -> None:
    far = wall((-2.5, 2.5), (-1.9, 1.9), 4.0)
    assert seen_now(np.concatenate([np.array([[0.0, 0.0, 1.0]]), far])).all()
    assert not seen_now(np.concatenate([np.array([[0.0, 0.0, 1.0], [0.005, 0.0, 1.0]]), far])).all()


def test_a_floor_does_not_hide_itself() -> None:
    """Seen at down to 8 degrees: every point of it has nearer ones just below it in the picture."""
    x, z = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(3.2, 10, 120))
    floor = np.stack([x.ravel(), np.full(x.size, 1.5), z.ravel()], axis=1)
    inside = floor[np.isfinite(project(floor, CAMERA)).all(axis=1) & (np.abs(floor[:, 0]) < 0.6 * floor[:, 2])]
    chosen = inside[:: -(-len(inside) // LANDMARKS_OF_A_PICTURE)]
    assert len(chosen) > 1000
    assert seen_now(chosen).all()


def test_two_near_depths_are_one_surface() -> None:
    """8 % of depth between them is what maps are wrong by."""
    assert seen_now(np.concatenate([wall((-1, 1), (-0.7, 0.7), 2.0), wall((-1, 1), (-0.7, 0.7), 2.16)])).all()


def test_only_what_lies_in_the_picture_is_seen() -> None:
    points = np.array([[0.0, 0, 1], [0, 0, -1], [0.65, 0, 1], [-0.63, 0.47, 1], [0, 0.49, 1], [0, 0, 0]])
    assert seen_now(points).tolist() == [True, False, False, True, False, False]


def test_positions_are_parts_of_the_picture_and_depths_along_the_axis() -> None:
    """A camera 1 m to the right that looks to the left (a quarter turn about y, which points down)."""
    turned = rigid(Rotation.from_euler("y", -90, degrees=True).as_matrix(), np.array([1.0, 0, 0]))
    trajectory = CameraTrajectory(np.array([0.0, 1.0]), np.stack([np.eye(4), turned]))
    found = observed(np.array([[-3.0, 1.0, 0.0]]), trajectory, CAMERA, [1.0, 0.0])
    assert (found.times.tolist(), found.point.tolist()) == ([1.0], [0])
    np.testing.assert_allclose(found.depth, [4.0])
    np.testing.assert_allclose(found.position, [[0.5, (240 + 500 / 4) / 480]])


def test_between_two_poses_the_camera_is_between() -> None:
    ahead = rigid(np.eye(3), np.array([0.0, 0, 1]))
    trajectory = CameraTrajectory(np.array([0.0, 0.1]), np.stack([np.eye(4), ahead]))
    found = observed(np.array([[0.0, 0, 5]]), trajectory, CAMERA, [0.0, 0.05, 0.1])
    np.testing.assert_allclose(found.times, [0.0, 0.05, 0.1])
    np.testing.assert_allclose(found.depth, [5.0, 4.5, 4.0])


@pytest.mark.parametrize("times", [[], [7.0]])
def test_without_a_pose_nothing_is_seen(times: list[float]) -> None:
    found = observed(np.array([[0.0, 0, 5]]), HERE, CAMERA, times)
    assert len(found.times) == len(found.point) == len(found.depth) == 0


def test_of_a_picture_no_more_than_2000_take_part_from_all_of_it() -> None:
    found = observed(wall((-2.5, 2.5), (-1.9, 1.9), 4.0, 0.02), HERE, CAMERA, [0.0])
    assert len(found.point) == LANDMARKS_OF_A_PICTURE
    corners = found.position[:, 0] > 0.5, found.position[:, 1] > 0.5
    counts = np.histogram2d(*(corner.astype(float) for corner in corners), bins=2)[0]
    assert (np.abs(counts / LANDMARKS_OF_A_PICTURE - 0.25) < 0.03).all()


@st.composite
def worlds(draw: st.DrawFn) -> Float64[np.ndarray, "n 3"]:
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    count = draw(st.integers(1, 300))
    depth = np.exp(random.uniform(0, 2, count))
    return np.stack([random.uniform(-0.7, 0.7, count) * depth, random.uniform(-0.5, 0.5, count) * depth, depth], axis=1)


@given(worlds(), st.floats(0.01, 100))
def test_units_do_not_matter(points: Float64[np.ndarray, "n 3"], unit: float) -> None:
    pose = rigid(np.eye(3), np.array([0.1, 0.0, -0.5]))
    scaled = rigid(np.eye(3), unit * pose[:3, 3])
    one = observed(points, CameraTrajectory(np.zeros(1), pose[None]), CAMERA, [0.0])
    other = observed(unit * points, CameraTrajectory(np.zeros(1), scaled[None]), CAMERA, [0.0])
    assert one.point.tolist() == other.point.tolist()
    np.testing.assert_allclose(other.position, one.position, rtol=1e-9)
    np.testing.assert_allclose(other.depth, unit * one.depth)


@given(worlds())
def test_the_size_of_the_picture_does_not_matter(points: Float64[np.ndarray, "n 3"]) -> None:
    assert np.array_equal(seen_now(points), seen_now(points, CAMERA.scaled(1280, 960)))


def hidden_by_definition(points: Float64[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
    """All pairs: two or more others, a tenth nearer or more, less than 5.7 degrees from the line of sight."""
    hidden = []
    for point in points:
        direction = point[:2] / point[2]
        behind = point[2] / points[:, 2] - 1
        apart = np.linalg.norm(points[:, :2] / points[:, 2:] - direction, axis=1)
        hidden.append(np.count_nonzero((behind > 0.1) & (apart < 0.1 * behind)) >= 2)
    return np.array(hidden)


@given(worlds())
def test_nothing_is_hidden_that_the_definition_does_not_hide(points: Float64[np.ndarray, "n 3"]) -> None:
    position = project(points, CAMERA) / (640, 480)
    inside = points[((position >= 0) & (position <= 1)).all(axis=1)]
    seen = seen_now(inside)
    assert seen[~hidden_by_definition(inside)].all()
    assert not len(inside) or seen[inside[:, 2].argmin()]


# ------------------------------------------------------------------------------------------------------------ real maps


def generic(folder: Path) -> Iterator[tuple[str, SparsePoints, set[int], Float64[np.ndarray, "n 3"], Intrinsics]]:
    """For each picture of a model, what is seen of its landmarks if its observations are not known."""
    model = read_model(folder)
    poses = np.stack([image.world_from_camera for image in model.images])
    trajectory = CameraTrajectory(np.arange(len(poses), dtype=float), poses)
    for time, image in enumerate(model.images):
        camera = pinhole(model.cameras[image.camera], image.name)
        truly = set(np.searchsorted(model.point_keys, image.points[image.points >= 0]).tolist())
        in_camera = transform(inverse(image.world_from_camera), model.points)
        yield image.name, observed(model.points, trajectory, camera, [float(time)]), truly, in_camera, camera


class Real(NamedTuple):
    """A model beside the sensor's depth."""

    model: str
    depth: str
    unit: float
    """Metres."""
    hidden: float
    """At least this share of the landmarks in a picture is hidden."""
    wrong: float
    """At most this share of those called visible is."""
    kept: float
    """At least this share of what the model saw is called visible."""


REAL = [
    Real("hololens_dvmvs_a/sfm_colmap_txt", "hololens_dvmvs_a/depth/{}.png", 0.3535, 0.013, 0.007, 0.94),
    # Of 3900 landmarks in a picture 2000 take part, and of these 94 % stay.
    Real(
        "7scenes_redkitchen_a/sfm_colmap_bin",
        "7scenes_redkitchen_a/depth_in_color/{}.depth.png",
        *(0.0777, 0.045, 0.007, 0.46),
    ),
]


@pytest.mark.shared
@pytest.mark.parametrize("real", REAL, ids=["hololens", "7scenes"])
def test_real_landmarks_that_are_called_visible_are(shared: Path, real: Real) -> None:
    """Against the sensor: hidden is what lies 20 % behind all that it sees within 2 px."""
    counts = []
    for name, seen, truly, in_camera, camera in generic(shared / "data" / real.model):
        file = shared / "data" / real.depth.format(name.split(".")[0])
        if not file.is_file():
            continue
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) / 1000  # noqa: TID251 - plain millimetres
        place = project(in_camera, camera)
        inside = ((place >= 0) & (place < (camera.width, camera.height))).all(axis=1)
        all_of_them = hidden_and_known(place[inside], real.unit * in_camera[inside, 2], depth)
        called = hidden_and_known(seen.position * (camera.width, camera.height), real.unit * seen.depth, depth)
        counts.append([*all_of_them, *called, len(truly & set(seen.point.tolist())), len(truly)])
    sums = np.sum(counts, axis=0)
    assert sums[0] / sums[1] > real.hidden
    assert sums[2] / sums[3] < real.wrong
    assert sums[4] / sums[5] > real.kept


def hidden_and_known(
    place: Float64[np.ndarray, "n 2"], z: Float64[np.ndarray, " n"], depth: Float64[np.ndarray, "h w"]
) -> tuple[int, int]:
    """How many landmarks lie behind what the sensor sees, and of how many it knows."""
    column, row = np.minimum(place.astype(int), (depth.shape[1] - 1, depth.shape[0] - 1)).T
    known = depth[row, column] > 0
    hidden = z > 1.2 * cv2.dilate(depth, np.ones((5, 5)))[row, column]
    return int(np.count_nonzero(known & hidden)), int(np.count_nonzero(known))


# -------------------------------------------------------------------------------------------------------- single points


def test_points_have_numbers_or_coordinates(tmp_path: Path) -> None:
    (tmp_path / "cameras.txt").write_text("1 PINHOLE 640 480 500 500 320 240\n")
    (tmp_path / "images.txt").write_text("")
    (tmp_path / "points3D.txt").write_text("12 1 0 2 255 0 0 0.5\n7 0 0 4 255 0 0 0.5\n")
    assert position_of(tmp_path, "7").tolist() == [0, 0, 4]
    assert position_of(tmp_path, " 12 ").tolist() == [1, 0, 2]
    assert position_of(tmp_path, "1, -2.5,3e1").tolist() == [1, -2.5, 30]
    with pytest.raises(OptionError, match="has no point 13 among its 2"):
        position_of(tmp_path, "13")
    with pytest.raises(OptionError, match="has no point 8 among its 2"):
        position_of(tmp_path, "8")


@pytest.mark.parametrize("name", ["", "door", "1,2", "1,2,3,4", "1,2,nan", "1.5", "-7", "1;2;3"])
def test_what_names_no_point_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        OptionError, match=f"'{name}' is no point of a map: give the number of a COLMAP point, or x,y,z"
    ):
        position_of(tmp_path, name)


def test_bare_points_have_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"map\.ply: not a COLMAP model, so its points have no numbers \(7\)"):
        position_of(tmp_path / "map.ply", "7")
