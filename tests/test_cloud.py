import importlib
import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import FormatError
from recon.io.cloud import UNKNOWN_COLOR, Up, axes_comment, read_ply, to_axes, write_ply
from recon.types import PointCloud


def cloud_of(count: int, seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    return PointCloud(
        rng.normal(scale=10, size=(count, 3)).astype(np.float32),
        rng.integers(0, 256, (count, 3), np.uint8),
        (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
    )


def assert_same(a: PointCloud, b: PointCloud) -> None:
    np.testing.assert_array_equal(a.points, b.points)
    np.testing.assert_array_equal(a.colors, b.colors)
    np.testing.assert_array_equal(a.normals, b.normals)


GOLDEN_HEADER = b"""ply
format binary_little_endian 1.0
comment recon 1.0
comment units: metres
element vertex 2
property float x
property float y
property float z
property float nx
property float ny
property float nz
property uchar red
property uchar green
property uchar blue
end_header
"""


def test_the_bytes_of_a_file(tmp_path: Path) -> None:
    points = np.array([[1, 2, 3], [-0.5, 0, 8]], np.float32)
    colors = np.array([[188, 64, 32], [0, 255, 7]], np.uint8)
    normals = np.array([[0, 0, -1], [0, 0, 0]], np.float32)
    write_ply(tmp_path / "a.ply", PointCloud(points, colors, normals), ["recon 1.0", "units: metres"])
    rows = b"".join(
        np.concatenate([points[i], normals[i]]).astype("<f4").tobytes() + colors[i].tobytes() for i in range(2)
    )
    assert (tmp_path / "a.ply").read_bytes() == GOLDEN_HEADER + rows


@given(count=st.integers(0, 50), seed=st.integers(0, 1000))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, count: int, seed: int) -> None:
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    cloud = cloud_of(count, seed)
    write_ply(path, cloud, [])
    assert_same(read_ply(path), cloud)


def test_round_trip_over_several_chunks(tmp_path: Path) -> None:
    cloud = cloud_of(600_001)
    write_ply(tmp_path / "a.ply", cloud, ["long"])
    assert_same(read_ply(tmp_path / "a.ply"), cloud)


def test_trimesh_reads_what_we_write(tmp_path: Path) -> None:
    cloud = cloud_of(100)
    write_ply(tmp_path / "a.ply", cloud, ["units: metres"])
    other = trimesh.load(tmp_path / "a.ply")
    np.testing.assert_array_equal(other.vertices, cloud.points)
    np.testing.assert_array_equal(other.colors[:, :3], cloud.colors)


def open3d() -> object:
    try:
        return importlib.import_module("open3d")
    except (ImportError, OSError) as error:
        pytest.skip(f"open3d cannot be loaded (it needs libgl1, libegl1 and libusb-1.0-0): {error}")


def test_open3d_reads_what_we_write(tmp_path: Path) -> None:
    o3d = open3d()
    cloud = cloud_of(100)
    write_ply(tmp_path / "a.ply", cloud, ["units: metres"])
    other = o3d.io.read_point_cloud(str(tmp_path / "a.ply"))
    np.testing.assert_array_equal(np.asarray(other.points), cloud.points)
    np.testing.assert_allclose(np.asarray(other.colors), cloud.colors / 255)
    np.testing.assert_array_equal(np.asarray(other.normals), cloud.normals)


@pytest.mark.parametrize("ascii_", [True, False])
@pytest.mark.parametrize("legacy", [True, False])
def test_we_read_what_open3d_writes(tmp_path: Path, ascii_: bool, legacy: bool) -> None:  # noqa: FBT001
    o3d = open3d()
    cloud = cloud_of(50)
    path = str(tmp_path / "a.ply")
    if legacy:  # doubles
        other = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points.astype(float)))
        other.colors = o3d.utility.Vector3dVector(cloud.colors / 255)
        other.normals = o3d.utility.Vector3dVector(cloud.normals.astype(float))
        o3d.io.write_point_cloud(path, other, write_ascii=ascii_)
    else:
        other = o3d.t.geometry.PointCloud(o3d.core.Tensor(np.array(cloud.points)))
        other.point.colors = o3d.core.Tensor(np.array(cloud.colors))
        other.point.normals = o3d.core.Tensor(np.array(cloud.normals))
        o3d.t.io.write_point_cloud(path, other, write_ascii=ascii_)
    back = read_ply(Path(path))
    tolerance = 1e-5 if ascii_ else 0  # Open3D writes six digits
    np.testing.assert_allclose(back.points, cloud.points, rtol=tolerance)
    np.testing.assert_allclose(back.normals, cloud.normals, atol=tolerance)
    np.testing.assert_array_equal(back.colors, cloud.colors)


@pytest.mark.parametrize("encoding", ["binary", "ascii"])
def test_we_read_what_trimesh_writes(tmp_path: Path, encoding: str) -> None:
    """Alpha comes along, and faces after the vertices."""
    box = trimesh.creation.box()
    box.visual.vertex_colors = [188, 64, 32, 255]
    (tmp_path / "a.ply").write_bytes(trimesh.exchange.ply.export_ply(box, encoding=encoding))
    cloud = read_ply(tmp_path / "a.ply")
    np.testing.assert_allclose(cloud.points, box.vertices)
    np.testing.assert_array_equal(cloud.colors, np.tile([188, 64, 32], (8, 1)))


def file_of(path: Path, text: str, body: bytes = b"") -> Path:
    path.write_bytes(text.encode() + body)
    return path


def test_points_alone_are_grey_and_have_no_normals(tmp_path: Path) -> None:
    header = (
        "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    cloud = read_ply(file_of(tmp_path / "a.ply", header + "1 2 3\n4 5 6\n"))
    np.testing.assert_array_equal(cloud.points, [[1, 2, 3], [4, 5, 6]])
    assert (cloud.colors == UNKNOWN_COLOR).all()
    assert not cloud.normals.any()


def test_big_endian_doubles_windows_lines_and_other_elements(tmp_path: Path) -> None:
    header = """ply
format binary_big_endian 1.0
obj_info whatever
element camera 1
property short view
element vertex 1
property double x
property double y
property double z
property ushort red
property ushort green
property ushort blue
property list uchar int neighbours
end_header
"""
    body = (
        np.array([7], ">i2").tobytes()
        + np.array([1.5, 2, 3], ">f8").tobytes()
        + np.array([0, 257, 65535], ">u2").tobytes()
    )
    with pytest.raises(FormatError, match="lists"):
        read_ply(file_of(tmp_path / "a.ply", header, body))
    header = header.replace("property list uchar int neighbours\n", "").replace("\n", "\r\n")
    cloud = read_ply(file_of(tmp_path / "a.ply", header, body))
    np.testing.assert_array_equal(cloud.points, [[1.5, 2, 3]])
    np.testing.assert_array_equal(cloud.colors, [[0, 1, 255]])


def test_colors_from_zero_to_one(tmp_path: Path) -> None:
    names = ["x", "y", "z", "r", "g", "b"]
    header = "\n".join(["ply", "format ascii 1.0", "element vertex 1", *(f"property float {n}" for n in names)])
    cloud = read_ply(file_of(tmp_path / "a.ply", header + "\nend_header\n0 0 0 0 0.5 1\n"))
    np.testing.assert_array_equal(cloud.colors, [[0, 128, 255]])


XYZ = "property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a PLY file"),
        ("solid cube\n", "not a PLY file"),
        ("ply\n", "no end"),
        ("ply\nelement vertex 1\nend_header\n", "no known format"),
        ("ply\nformat binary_middle_endian 1.0\nend_header\n", "no known format"),
        ("ply\nformat ascii 1.0\n" + "comment x\n" * 10_000, "no end"),
        ("ply\nformat ascii 1.0\nelement vertex many\nend_header\n", "element vertex many"),
        ("ply\nformat ascii 1.0\nproperty float x\nend_header\n", "property float x"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty real x\nend_header\n", "property real x"),
        ("ply\nformat ascii 1.0\nelement face 0\nend_header\n", "no element vertex"),
        ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1\n", "no x, y and z"),
        (f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n1 2 3\n", "1 of 2 rows"),
        (f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n1 2 3\n4 5\n", "not as the header says"),
        (f"ply\nformat ascii 1.0\nelement vertex 2\n{XYZ}end_header\n", "0 of 2 rows"),
        (f"ply\nformat binary_little_endian 1.0\nelement vertex 9\n{XYZ}end_header\n123456789012", "1 of 9 rows"),
    ],
)
def test_damaged_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = file_of(tmp_path / "bad.ply", text)
    with pytest.raises(FormatError, match=message) as caught:
        read_ply(path)
    assert "bad.ply" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.ply: cannot be read \(No such file"):
        read_ply(tmp_path / "none.ply")


def test_comments_are_one_line_of_ascii(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", cloud_of(1), ["source: Küche.mp4"])
    assert b"comment source: K\\xfcche.mp4\n" in (tmp_path / "a.ply").read_bytes()
    with pytest.raises(ValueError, match="one line"):
        write_ply(tmp_path / "b.ply", cloud_of(1), ["two\nlines"])
    assert not (tmp_path / "b.ply").exists()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, cloud_of(3), [])
    before = path.read_bytes()

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("recon.io.cloud._rows", fails)
    with pytest.raises(OSError, match="disk full"):
        write_ply(path, cloud_of(5), [])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("up", "above", "ahead", "right"),
    [
        ("z", (0, 0, 1), (0, 1, 0), (1, 0, 0)),
        ("y", (0, 1, 0), (0, 0, -1), (1, 0, 0)),
        ("camera", (0, -1, 0), (0, 0, 1), (1, 0, 0)),
    ],
)
def test_axes(up: Up, above: tuple, ahead: tuple, right: tuple) -> None:
    directions = np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]], np.float32)  # up, ahead, right for an OpenCV camera
    turned = to_axes(PointCloud(directions, np.zeros((3, 3), np.uint8), directions), up)
    np.testing.assert_array_equal(turned.points, [above, ahead, right])
    np.testing.assert_array_equal(turned.normals, [above, ahead, right])
    assert np.linalg.det(np.array([right, above, ahead], float)) == -1, "no axis is mirrored"
    assert axes_comment(up)


def test_a_stream_is_not_read_past_the_vertices(tmp_path: Path) -> None:
    """Faces, however many, cost nothing."""
    buffer = io.BytesIO()
    buffer.write(f"ply\nformat binary_little_endian 1.0\nelement vertex 1\n{XYZ}element face 9\n".encode())
    buffer.write(b"property list uchar int vertex_indices\nend_header\n" + np.float32([1, 2, 3]).tobytes())
    path = tmp_path / "a.ply"
    path.write_bytes(buffer.getvalue())
    np.testing.assert_array_equal(read_ply(path).points, [[1, 2, 3]])
