"""The data sets of the paper: trees in their official layouts, written here, read by both protocols."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from recon.errors import FormatError
from recon.evaluation.datasets import bonn, kitti, nyuv2, scannet, sintel
from recon.evaluation.datasets.layout import CamerasOnDemand, Crop, rigid_of, timed_files, truth_frames
from recon.evaluation.protocol import CORRECTED, VDA_RELEASED, EvaluationProtocol
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.geometry import inverse, project, rigid, transform, unproject
from recon.types import Intrinsics

ALL = {each.name: each for module in (kitti, scannet, bonn, nyuv2, sintel) for each in module.DATA_SETS}
BOTH = pytest.mark.parametrize("protocol", [CORRECTED, VDA_RELEASED], ids=lambda protocol: protocol.name)
RED = (200, 100, 20)


def clips(name: str, root: Path, protocol: EvaluationProtocol = CORRECTED) -> Sequence[TruthClip]:
    return ALL[name].clips(root, Reading(protocol))


def only(name: str, root: Path, protocol: EvaluationProtocol = CORRECTED) -> TruthClip:
    (clip,) = clips(name, root, protocol)
    return clip


def names(clip: TruthClip) -> list[str]:
    return [frame.name for frame in clip.frames]


def written(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def encoded(array: np.ndarray, suffix: str) -> bytes:
    bgr = array[..., ::-1] if array.ndim == 3 else array
    done, content = cv2.imencode(suffix, bgr)
    assert done
    return bytes(content)


def plain(size: tuple[int, int], color: tuple[int, int, int] = RED) -> np.ndarray:
    return np.full((*size, 3), color, np.uint8)


def depth_png(size: tuple[int, int], number: int) -> bytes:
    return encoded(np.full(size, number, np.uint16), ".png")


def corners(size: tuple[int, int]) -> np.ndarray:
    """16-bit numbers that tell their place: 256 times the row's eighth plus the column's eighth, plus 1."""
    rows, columns = np.indices(size)
    numbers: np.ndarray = (256 * (rows // 8) + columns // 8 + 1).astype(np.uint16)
    return numbers


def cameras_read_again(clip: TruthClip) -> Mapping[int, TruthCamera]:
    """Whoever checks types at run time looks at the first camera, and so has them read."""
    assert isinstance(clip.cameras, CamerasOnDemand)
    return clip.cameras._read()


def one_line(error: pytest.ExceptionInfo[FormatError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("each", ALL.values(), ids=lambda each: each.name)
def test_every_data_set_tells_what_it_is_and_refuses_folders_that_are_not(each: DataSet, tmp_path: Path) -> None:
    assert each.about.endswith(".")
    assert "\n" not in each.layout
    with pytest.raises(FormatError) as error:
        each.clips(tmp_path / "nowhere", Reading(CORRECTED))
    assert "no such folder" in one_line(error)
    with pytest.raises(FormatError) as error:
        each.clips(tmp_path, Reading(CORRECTED))
    assert str(tmp_path) in one_line(error)


# ---------------------------------------------------------------------------------------------------------------- KITTI

DRIVE = "2011_09_26_drive_0002_sync"
BIG_DRIVE = "2011_10_03_drive_0047_sync"


def kitti_drive(
    root: Path, drive: str = DRIVE, *, size: tuple[int, int] = (375, 1242), count: int = 3, val: str = "val"
) -> Path:
    """Pictures 0 to count + 9, depth without the first and last five, as KITTI has it."""
    picture, depth = encoded(plain(size), ".png"), depth_png(size, 256 * 10 + 128)
    for number in range(count + 10):
        written(root / drive[:10] / drive / "image_02" / "data" / f"{number:010d}.png", picture)
        if 5 <= number < count + 5:
            folder = root / val / drive / "proj_depth" / "groundtruth" / "image_02"
            written(folder / f"{number:010d}.png", depth)
    return root / drive[:10] / drive


@BOTH
@pytest.mark.parametrize("val", ["val", "data_depth_annotated/val"])
def test_kitti_takes_the_pictures_that_have_depth(tmp_path: Path, protocol: EvaluationProtocol, val: str) -> None:
    kitti_drive(tmp_path, val=val)
    clip = only("kitti-110", tmp_path, protocol)
    assert clip.name == DRIVE
    assert names(clip) == ["0000000005", "0000000006", "0000000007"]
    assert [frame.time for frame in clip.frames] == pytest.approx([0, 0.1, 0.2])
    assert list(clip.scored) == [0, 1, 2]
    assert clip.max_depth == 80
    first = clip.frames[0]
    assert first.depth is not None
    depth, picture = clip.read_depth(first.depth), clip.read_picture(first.picture)
    assert depth.shape == picture.shape[:2] == (374, 1242)
    assert depth.dtype == np.float32
    assert (depth == 10.5).all()
    assert tuple(picture[0, 0]) == (RED[::-1] if protocol.red_and_blue_swapped else RED)


@pytest.mark.parametrize("length", [110, 500])
def test_kitti_takes_so_many_frames(tmp_path: Path, length: int) -> None:
    kitti_drive(tmp_path, size=(2, 2), count=510)
    assert len(only(f"kitti-{length}", tmp_path).frames) == length
    assert names(only(f"kitti-{length}", tmp_path))[-1] == f"{length + 4:010d}"


def test_kitti_crops_of_the_largest_drive_part_as_released_and_agree_when_corrected(tmp_path: Path) -> None:
    kitti_drive(tmp_path, BIG_DRIVE, size=(376, 1241))
    shapes = {}
    for protocol in (CORRECTED, VDA_RELEASED):
        clip = only("kitti-110", tmp_path, protocol)
        first = clip.frames[0]
        assert first.depth is not None
        shapes[protocol.name] = clip.read_picture(first.picture).shape[:2], clip.read_depth(first.depth).shape
    assert shapes["vda-released"] == ((376, 1240), (374, 1241))
    assert shapes["corrected"] == ((374, 1240), (374, 1240))


def test_kitti_times_are_the_recordings(tmp_path: Path) -> None:
    drive = kitti_drive(tmp_path)
    stamps = [f"2011-09-26 13:02:{25 + number * 0.103:012.9f}" for number in range(13)]
    written(drive / "image_02" / "timestamps.txt", "\n".join(stamps) + "\n")
    assert [frame.time for frame in only("kitti-110", tmp_path).frames] == pytest.approx([0, 0.103, 0.206], abs=1e-8)
    written(drive / "image_02" / "timestamps.txt", "\n".join(stamps[:6]) + "\n")
    with pytest.raises(FormatError, match="holds no time for each picture"):
        clips("kitti-110", tmp_path)
    written(drive / "image_02" / "timestamps.txt", "\n".join([stamps[0]] * 13))
    with pytest.raises(FormatError, match=r"0000000006.png: its time .* is not after"):
        clips("kitti-110", tmp_path)


CAM = """calib_time: 09-Jan-2012 13:57:47
R_rect_00: 9.999239e-01 9.837760e-03 -7.445048e-03 -9.869795e-03 9.999421e-01 -4.278459e-03 7.402527e-03 4.351614e-03 \
9.999631e-01
S_rect_02: 1.242000e+03 3.750000e+02
P_rect_02: 7.215377e+02 0.000000e+00 6.095593e+02 4.485728e+01 0.000000e+00 7.215377e+02 1.728540e+02 2.163791e-01 \
0.000000e+00 0.000000e+00 1.000000e+00 2.745884e-03
"""
VELO = """calib_time: 15-Mar-2012 11:37:16
R: 7.533745e-03 -9.999714e-01 -6.166020e-04 1.480249e-02 7.280733e-04 -9.998902e-01 9.998621e-01 7.523790e-03 \
1.480755e-02
T: -4.069766e-03 -7.631618e-02 -2.717806e-01
"""
IMU = """calib_time: 25-May-2012 16:47:16
R: 9.999976e-01 7.553071e-04 -2.035826e-03 -7.854027e-04 9.998898e-01 -1.482298e-02 2.024406e-03 1.482454e-02 \
9.998881e-01
T: -8.086759e-01 3.195559e-01 -7.997231e-01
"""


def kitti_cameras(drive: Path, oxts: Sequence[Sequence[float]]) -> None:
    for name, content in (("cam_to_cam", CAM), ("velo_to_cam", VELO), ("imu_to_velo", IMU)):
        written(drive.parent / f"calib_{name}.txt", content)
    for number, row in enumerate(oxts):
        numbers = [*row, *([0.0] * 24)]
        written(drive / "oxts" / "data" / f"{number:010d}.txt", " ".join(map(repr, numbers)) + "\n")


def test_kitti_cameras_follow_the_development_kit(tmp_path: Path) -> None:
    drive = kitti_drive(tmp_path)
    rows = [[49.011 + 1e-5 * n, 8.416 - 2e-5 * n, 112.8 + n, 0.03, 0.01 * n, -2.6 + 0.05 * n] for n in range(13)]
    kitti_cameras(drive, rows)
    cameras = only("kitti-110", tmp_path).cameras
    assert sorted(cameras) == [0, 1, 2]
    assert cameras[0].intrinsics == Intrinsics(721.5377, 721.5377, 609.5593 + 0.5, 172.854 + 0.5, 1242, 374)

    def numbers(text: str, key: str) -> np.ndarray:
        return np.array(next(line for line in text.splitlines() if line.startswith(key + ":")).split()[1:], float)

    def imu(row: Sequence[float]) -> np.ndarray:  # the kit's formulas, element by element
        lat, lon, alt, roll, pitch, yaw = row
        scale = np.cos(rows[5][0] * np.pi / 180)
        place = [scale * lon * np.pi * 6378137 / 180, scale * 6378137 * np.log(np.tan((90 + lat) * np.pi / 360)), alt]
        about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
        about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
        about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        return rigid(about_z @ about_y @ about_x, np.array(place))

    def pixel_of(point: np.ndarray, row: Sequence[float]) -> np.ndarray:  # the kit's chain: P R_rect T_velo T_imu
        chain = numbers(CAM, "P_rect_02").reshape(3, 4)
        for text, keys in ((CAM, ("R_rect_00", "")), (VELO, ("R", "T")), (IMU, ("R", "T"))):
            shift = numbers(text, keys[1]) if keys[1] else np.zeros(3)
            chain = chain @ rigid(numbers(text, keys[0]).reshape(3, 3), shift)
        x, y, z = chain @ np.linalg.inv(imu(row)) @ point
        return np.array([x / z, y / z])

    origin = imu(rows[5])[:3, 3]
    for number, camera in cameras.items():
        ahead = transform(camera.world_from_camera, np.array([[1.0, -0.5, 12.0]]))
        expected = pixel_of(np.array([*(ahead[0] + origin), 1.0]), rows[5 + number]) + 0.5
        seen = project(transform(inverse(camera.world_from_camera), ahead), camera.intrinsics)[0]
        np.testing.assert_allclose(seen, expected, atol=2e-3)
    forward = cameras[0].world_from_camera[:3, 2]
    np.testing.assert_allclose(forward, [np.cos(-2.35), np.sin(-2.35), 0], atol=0.05)  # as the car heads, from east


def test_kitti_is_without_cameras_where_the_calibration_is_not_complete(tmp_path: Path) -> None:
    drive = kitti_drive(tmp_path)
    kitti_cameras(drive, [[49.0, 8.4, 100.0, 0.0, 0.0, 0.0]] * 13)
    (drive.parent / "calib_imu_to_velo.txt").unlink()
    assert not only("kitti-110", tmp_path).cameras


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("../calib_velo_to_cam.txt", "R: 1 2 3\n", r"calib_\*.txt do not hold"),
        ("../calib_cam_to_cam.txt", CAM.replace("P_rect_02", "P_rect_03"), r"calib_\*.txt do not hold .*P_rect_02"),
        ("../calib_velo_to_cam.txt", VELO.replace("-9.999714e-01", "0.0"), "not a rotation"),
        ("oxts/data/0000000005.txt", "49 8\n", "does not begin with latitude"),
        ("oxts/data/0000000005.txt", "", "does not begin with latitude"),
    ],
)
def test_kitti_tells_what_is_wrong_with_its_cameras(tmp_path: Path, file: str, content: str, message: str) -> None:
    drive = kitti_drive(tmp_path)
    kitti_cameras(drive, [[49.0, 8.4, 100.0, 0.0, 0.0, 0.0]] * 13)
    clip = only("kitti-110", tmp_path)
    written(drive / file, content)
    with pytest.raises(FormatError, match=message) as error:
        cameras_read_again(clip)
    one_line(error)


def test_kitti_tells_what_is_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    drive = kitti_drive(tmp_path)
    with caplog.at_level(logging.WARNING):
        clips("kitti-110", tmp_path)
    assert "1 of 13 clips are here" in caplog.text
    (drive / "image_02" / "data" / "0000000006.png").unlink()
    with pytest.raises(FormatError, match=r"0000000006.png: there is depth for this picture"):
        clips("kitti-110", tmp_path)
    drive.rename(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="extract the raw drives beside"):
        clips("kitti-110", tmp_path)
    (tmp_path / "val").rename(tmp_path / "test")
    with pytest.raises(FormatError, match="no folder val of annotated depth"):
        clips("kitti-110", tmp_path)


# -------------------------------------------------------------------------------------------------------------- ScanNet

COLOR_SIZE, DEPTH_SIZE = (968, 1296), (480, 640)
DEPTH_MATRIX = "577.870605 0 319.5 0\n0 577.870605 239.5 0\n0 0 1 0\n0 0 0 1\n"


def scannet_scene(
    scene: Path, count: int, *, color: bytes = b"", depth: bytes = b"", poses: Sequence[np.ndarray] = ()
) -> Path:
    for number in range(count):
        written(scene / "color" / f"{number}.jpg", color)
        written(scene / "depth" / f"{number}.png", depth)
    for number, pose in enumerate(poses):
        text = "\n".join(" ".join(f"{value:.6f}" for value in row) for row in pose)
        written(scene / "pose" / f"{number}.txt", text + "\n")
    written(scene / "intrinsic" / "intrinsic_depth.txt", DEPTH_MATRIX)
    return scene


@BOTH
def test_scannet_chooses_the_published_frames(tmp_path: Path, protocol: EvaluationProtocol) -> None:
    scannet_scene(tmp_path / "scene0707_00", 510)
    ninety = only("scannet-90", tmp_path, protocol)
    assert ninety.name == "scene0707_00"
    assert names(ninety) == [str(number) for number in range(0, 270, 3)]
    assert [frame.time for frame in ninety.frames][:3] == pytest.approx([0, 0.1, 0.2])
    assert len(ninety.scored) == 90
    assert names(only("scannet-500", tmp_path, protocol)) == [str(number) for number in range(500)]
    temporal = only("scannet-tae", tmp_path, protocol)
    assert names(temporal) == [str(number) for number in range(192)]
    assert list(temporal.scored) == list(range(10, 180))
    assert temporal.frames[10].depth == tmp_path / "scene0707_00" / "depth" / "10.png"


def test_scannet_shorter_scenes_give_what_they_have(tmp_path: Path) -> None:
    scannet_scene(tmp_path / "scene0000_00", 20)
    assert names(only("scannet-90", tmp_path)) == ["0", "3", "6", "9", "12", "15", "18"]
    assert list(only("scannet-tae", tmp_path).scored) == list(range(10, 20))


@pytest.mark.parametrize(("folder", "expected"), [("scans_test", "scene0707_00"), ("scans", "scene0000_00")])
def test_scannet_scenes_are_the_first_by_name(tmp_path: Path, folder: str, expected: str) -> None:
    first = int(expected[5:9])
    for number in reversed(range(105)):
        scannet_scene(tmp_path / folder / f"scene{first + number:04d}_00", 1)
    assert len(clips("scannet-tae", tmp_path)) == 20
    chosen = [clip.name for clip in clips("scannet-90", tmp_path)]
    assert len(chosen) == 100
    assert (chosen[0], chosen[-1]) == (expected, f"scene{first + 99:04d}_00")


def view(size: tuple[int, int]) -> np.ndarray:
    """What a camera sees at any size: a wedge, grey by columns, with values of 0 to 255 from side to side."""
    columns = (np.arange(size[1]) + 0.5) / size[1] * 255
    return np.broadcast_to(columns, size).astype(np.float32)


@BOTH
def test_scannet_crops_the_same_field_of_view_only_when_corrected(tmp_path: Path, protocol: EvaluationProtocol) -> None:
    picture = np.repeat(np.round(view(COLOR_SIZE))[..., None], 3, axis=2).astype(np.uint8)
    depth = np.round(1000 * (1 + view(DEPTH_SIZE) / 100)).astype(np.uint16)
    depth[100, 100] = 0
    scene = scannet_scene(
        tmp_path / "scene0707_00", 1, color=encoded(picture, ".jpg"), depth=encoded(depth, ".png"), poses=[np.eye(4)]
    )
    clip = only("scannet-90", tmp_path, protocol)
    seen = clip.read_picture(clip.frames[0].picture)
    known = clip.read_depth(scene / "depth" / "0.png")
    assert known.shape == (464, 618)
    assert np.isnan(known[92, 89])
    assert np.isnan(known).sum() == 1
    assert seen.shape == ((952, 1274, 3) if protocol.fields_of_view_differ else (936, 1252, 3))
    resized = cv2.resize(seen[..., 0].astype(np.float32), (618, 464), interpolation=cv2.INTER_AREA)
    grey = (known[200] - 1) * 100
    apart = np.abs(resized[200] - grey).max() / (255 / 640)  # in pixels of the depth map
    assert (apart > 4) if protocol.fields_of_view_differ else (apart < 1.6)  # a step of grey is 2.5 pixels
    camera = clip.cameras[0].intrinsics
    centre = (320.0, 240.0) if protocol.principal_point_uncropped else (309.0, 232.0)
    assert camera == Intrinsics(577.870605, 577.870605, *centre, 618, 464)


def test_scannet_colours_are_swapped_as_released(tmp_path: Path) -> None:
    scannet_scene(tmp_path / "scene0707_00", 1, color=encoded(plain(COLOR_SIZE), ".jpg"))
    pictures = []
    for protocol in (CORRECTED, VDA_RELEASED):
        clip = only("scannet-90", tmp_path, protocol)
        pictures.append(clip.read_picture(clip.frames[0].picture)[100, 100].astype(int))
    assert np.abs(pictures[0] - RED).max() <= 2  # JPEG
    assert (pictures[1] == pictures[0][::-1]).all()


def test_scannet_poses_bring_a_wall_seen_twice_together(tmp_path: Path) -> None:
    """A wall at z = 3 m, seen from (0, 0, 0) and from 0.5 m to the right and 1 m nearer, turned about the view."""
    moved = rigid(Rotation.from_rotvec([0, 0, 0.3]).as_matrix(), np.array([0.5, 0.0, 1.0]))
    lost = np.full((4, 4), -np.inf)
    scene = scannet_scene(
        tmp_path / "scene0707_00", 7, depth=depth_png(DEPTH_SIZE, 3000), poses=[np.eye(4)] * 3 + [lost] * 3 + [moved]
    )
    written(scene / "depth" / "6.png", depth_png(DEPTH_SIZE, 2000))
    clip = only("scannet-90", tmp_path)
    assert names(clip) == ["0", "3", "6"]
    assert sorted(clip.cameras) == [0, 2]
    for number in clip.cameras:
        depth, camera = clip.frames[number].depth, clip.cameras[number]
        assert depth is not None
        world = transform(camera.world_from_camera, unproject(clip.read_depth(depth), camera.intrinsics))
        np.testing.assert_allclose(world[..., 2], 3, atol=1e-4)
    assert clip.cameras[2].world_from_camera[0, 3] == pytest.approx(0.5)
    assert 3 not in clip.cameras


def test_scannet_tells_what_is_wrong_with_a_pose(tmp_path: Path) -> None:
    scene = scannet_scene(tmp_path / "scene0707_00", 1, depth=depth_png(DEPTH_SIZE, 1), poses=[np.eye(4)])
    clip = only("scannet-90", tmp_path)
    for content, message in (("1 0 0\n", "no 4x4 matrix"), ("one two\n", "cannot be read as a 4x4"), ("", "no 4x4")):
        written(scene / "pose" / "0.txt", content)
        with pytest.raises(FormatError, match=message):
            cameras_read_again(clip)
    written(scene / "pose" / "0.txt", "2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1\n")
    with pytest.raises(FormatError, match="not a rotation"):
        cameras_read_again(clip)


def test_scannet_tae_knows_the_cameras_of_what_is_compared(tmp_path: Path) -> None:
    """Else frame 179 would be compared with frame 180."""
    depth = depth_png((48, 64), 1000)
    scannet_scene(tmp_path / "scene0707_00", 192, depth=depth, poses=[np.eye(4)] * 192)
    clip = only("scannet-tae", tmp_path)
    assert sorted(clip.cameras) == list(clip.scored) == list(range(10, 180))


def test_scannet_without_poses_has_no_cameras(tmp_path: Path) -> None:
    scannet_scene(tmp_path / "scene0707_00", 1)
    assert not only("scannet-90", tmp_path).cameras


def test_scannet_tells_what_is_missing(tmp_path: Path) -> None:
    scene = scannet_scene(tmp_path / "scene0707_00", 3)
    (scene / "depth" / "2.png").unlink()
    assert len(only("scannet-90", tmp_path).frames) == 1  # of which it is not part
    with pytest.raises(FormatError, match=r"depth: has no 2.png for color/2.jpg"):
        clips("scannet-500", tmp_path)
    written(scene / "color" / "frame-000003.color.jpg", b"")
    written(scene / "depth" / "2.png", b"")
    written(scene / "depth" / "frame-000003.color.png", b"")
    with pytest.raises(FormatError, match=r"are called 0\.jpg"):
        clips("scannet-500", tmp_path)
    (scene / "color").rename(scene / "colour")
    with pytest.raises(FormatError, match=r"export the \.sens file") as error:
        clips("scannet-500", tmp_path)
    one_line(error)


# ----------------------------------------------------------------------------------------------------------------- Bonn


def bonn_sequence(root: Path, name: str, times: Sequence[float], depth_times: Sequence[float]) -> Path:
    """Depth map n holds 1 + n / 10 metres."""
    sequence = root / f"rgbd_bonn_{name}"
    for kind, seconds in (("rgb", times), ("depth", depth_times)):
        rows = [f"{time:.5f} {kind}/{time:.5f}.png" for time in seconds]
        written(sequence / f"{kind}.txt", f"# {kind} images\n# timestamp filename\n" + "\n".join(rows) + "\n")
        for number, time in enumerate(seconds):
            content = depth_png((4, 6), 5000 + 500 * number) if kind == "depth" else encoded(plain((4, 6)), ".png")
            written(sequence / kind / f"{time:.5f}.png", content)
    return sequence


def clock(count: int, first: float = 1548266469.85281, step: float = 1 / 30) -> list[float]:
    return [round(first + number * step, 5) for number in range(count)]


def test_bonn_pairs_by_time_when_corrected_and_by_number_as_released(tmp_path: Path) -> None:
    """As in rgbd_bonn_balloon: the first depth map comes 29 ms after the first picture, 4 ms before the second."""
    pictures = clock(6)
    maps = [time - 0.004 for time in pictures[1:]]
    del maps[2]  # the depth camera dropped one
    bonn_sequence(tmp_path, "balloon2", pictures, maps)
    clip = only("bonn-500", tmp_path)
    assert clip.name == "balloon2"
    assert clip.frames[0].name == "1548266469.85281"
    assert [frame.time for frame in clip.frames] == pytest.approx([number / 30 for number in range(6)], abs=2e-5)
    metres = [float(clip.read_depth(frame.depth)[0, 0]) if frame.depth else None for frame in clip.frames]
    assert metres == [
        None,
        *(pytest.approx(value) for value in (1.0, 1.1)),
        None,
        *(pytest.approx(v) for v in (1.2, 1.3)),
    ]
    assert list(clip.scored) == [1, 2, 4, 5]
    assert tuple(clip.read_picture(clip.frames[0].picture)[0, 0]) == RED

    bonn_sequence(tmp_path, "balloon2", pictures, [*maps, *clock(2, maps[-1] + 0.03)])
    released = only("bonn-500", tmp_path, VDA_RELEASED)
    metres = [float(released.read_depth(frame.depth)[0, 0]) for frame in released.frames if frame.depth]
    assert metres == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    assert tuple(released.read_picture(released.frames[0].picture)[0, 0]) == RED[::-1]


@BOTH
def test_bonn_chooses_the_published_frames(tmp_path: Path, protocol: EvaluationProtocol) -> None:
    times = clock(510)
    for name in ("balloon2", "crowd3", "balloon", "static"):
        sequence = bonn_sequence(tmp_path, name, [], [])
        rows = "\n".join(f"{time:.5f} rgb/{time:.5f}.png" for time in times)
        written(sequence / "rgb.txt", rows)
        written(sequence / "depth.txt", rows.replace("rgb/", "depth/"))
        for time in times:
            written(sequence / "rgb" / f"{time:.5f}.png", b"")
            written(sequence / "depth" / f"{time:.5f}.png", b"")
    short = clips("bonn-110", tmp_path, protocol)
    assert [clip.name for clip in short] == ["balloon2", "crowd3"]
    assert names(short[0]) == [f"{time:.5f}" for time in times[30:140]]
    assert [len(clip.frames) for clip in clips("bonn-500", tmp_path, protocol)] == [500, 500]
    assert all(frame.depth is not None and frame.depth.name == frame.picture.name for frame in short[0].frames)
    assert not short[0].cameras
    assert short[0].max_depth == 10


def test_bonn_tells_what_is_missing(tmp_path: Path) -> None:
    sequence = bonn_sequence(tmp_path, "balloon", clock(3), clock(3))
    with pytest.raises(FormatError, match=r"rgbd_bonn_synchronous\.zip"):
        clips("bonn-500", tmp_path)
    sequence = sequence.rename(tmp_path / "rgbd_bonn_crowd2")
    with pytest.raises(FormatError, match="no picture after the first 30"):
        clips("bonn-110", tmp_path)
    (sequence / "depth.txt").unlink()
    with pytest.raises(FormatError, match=r"depth.txt: cannot be read as a list"):
        clips("bonn-500", tmp_path)
    next((sequence / "depth").iterdir()).unlink()
    with pytest.raises(FormatError, match="3 pictures, but 2 depth maps"):
        clips("bonn-500", tmp_path, VDA_RELEASED)


# ---------------------------------------------------------------------------------------------------------------- NYUv2


@BOTH
def test_nyuv2(tmp_path: Path, protocol: EvaluationProtocol, caplog: pytest.LogCaptureFixture) -> None:
    picture = plain((480, 640))
    picture[45:471, 41:601] = (10, 20, 250)
    numbers = np.full((480, 640), 15000, np.uint16)
    numbers[45, 41] = 0
    for scene in ("kitchen_0003", "study_0002", "bedroom_0001"):
        written(tmp_path / scene / "rgb" / "1.jpg", encoded(picture, ".jpg"))
        written(tmp_path / scene / "depth" / "1.png", encoded(numbers, ".png"))
    for number in range(2, 511):
        written(tmp_path / "study_0002" / "rgb" / f"{number}.jpg", b"")
        written(tmp_path / "study_0002" / "depth" / f"{number}.png", b"")
    with caplog.at_level(logging.WARNING):
        kitchen, study = clips("nyuv2-500", tmp_path, protocol)
    assert "2 of 8 clips are here" in caplog.text
    assert (kitchen.name, study.name) == ("kitchen_0003", "study_0002")
    assert names(study) == [str(number) for number in range(1, 501)]
    assert kitchen.max_depth == 10
    depth = kitchen.read_depth(tmp_path / "kitchen_0003" / "depth" / "1.png")
    assert depth.shape == (426, 560)
    assert np.isnan(depth[0, 0])
    assert np.nanmin(depth) == np.nanmax(depth) == 2.5
    seen = kitchen.read_picture(kitchen.frames[0].picture).astype(int)
    assert seen.shape == (426, 560, 3)
    assert np.abs(seen[10, 10] - ((250, 20, 10) if protocol.red_and_blue_swapped else (10, 20, 250))).max() <= 3
    assert not kitchen.cameras


def test_nyuv2_tells_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "bedroom_0001").mkdir()
    with pytest.raises(FormatError, match=r"basement_0001a, bookstore_0001a.*each with rgb"):
        clips("nyuv2-500", tmp_path)
    written(tmp_path / "office_0004" / "rgb" / "7.jpg", b"")
    with pytest.raises(FormatError, match=r"depth: has no 7.png for rgb/7.jpg"):
        clips("nyuv2-500", tmp_path)


# --------------------------------------------------------------------------------------------------------------- Sintel

TAG = np.float32(202021.25).tobytes()


def dpt(depth: np.ndarray) -> bytes:
    height, width = depth.shape
    return TAG + np.array([width, height], "<i4").tobytes() + depth.astype("<f4").tobytes()


def sintel_frame(
    training: Path,
    number: int,
    depth: np.ndarray,
    camera_from_world: np.ndarray | None = None,
    sequence: str = "alley_1",
) -> None:
    name = f"frame_{number:04d}"
    for rendering, color in (("clean", RED), ("final", (1, 2, 3))):
        written(training / rendering / sequence / f"{name}.png", encoded(plain(depth.shape, color), ".png"))
    written(training / "depth" / sequence / f"{name}.dpt", dpt(depth))
    if camera_from_world is not None:
        matrix = np.array([[1120.0, 0, 511.5], [0, 1120.0, 217.5], [0, 0, 1]])
        content = TAG + matrix.astype("<f8").tobytes() + camera_from_world[:3].astype("<f8").tobytes()
        written(training / "camdata_left" / sequence / f"{name}.cam", content)


VALUES = np.array([[0.7, 3.4, 12.9], [69.2, 0.0, 1e10], [np.inf, -1.0, 65536 + 300.5]], np.float32)


def test_sintel_depth_in_metres_when_corrected_and_cut_to_whole_ones_as_released(tmp_path: Path) -> None:
    sintel_frame(tmp_path / "training", 1, VALUES)
    metres = {}
    for protocol in (CORRECTED, VDA_RELEASED):
        clip = only("sintel-100", tmp_path, protocol)
        depth = clip.frames[0].depth
        assert depth is not None
        metres[protocol.name] = clip.read_depth(depth)
        assert metres[protocol.name].dtype == np.float32
    expected = np.array([[0.7, 3.4, 12.9], [69.2, np.nan, 1e10], [np.nan, np.nan, 65836.5]], np.float32)
    np.testing.assert_array_equal(metres["corrected"], expected)
    whole = np.array([[np.nan, 3, 12], [69, np.nan, np.nan], [np.nan, np.nan, 300]])  # -1 wraps to 65535: 650 m
    whole[2, 1] = 65535
    np.testing.assert_allclose(metres["vda-released"], whole * 650 / 65535, rtol=1e-6)


def test_sintel_frames_renderings_and_roots(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in (10, 2, 1):
        sintel_frame(tmp_path / "training", number, np.full((6, 8), 2.0))
    sintel_frame(tmp_path / "training", 1, np.full((6, 8), 2.0), sequence="market_5")
    with caplog.at_level(logging.WARNING):
        alley, market = clips("sintel-100", tmp_path)
    assert "2 of 23 clips are here" in caplog.text
    assert (alley.name, market.name) == ("alley_1", "market_5")
    assert names(alley) == ["frame_0001", "frame_0002", "frame_0010"]
    assert [frame.time for frame in alley.frames] == pytest.approx([0, 1 / 24, 2 / 24])
    assert alley.max_depth == 70
    assert tuple(alley.read_picture(alley.frames[0].picture)[0, 0]) == RED
    final = clips("sintel-100-final", tmp_path / "training", VDA_RELEASED)[0]
    assert tuple(final.read_picture(final.frames[0].picture)[0, 0]) == (3, 2, 1)
    assert not final.cameras


def test_sintel_cameras_see_a_point_of_the_world_where_the_files_say(tmp_path: Path) -> None:
    camera_from_world = rigid(Rotation.from_rotvec([0.1, -0.2, 0.05]).as_matrix(), np.array([0.3, -0.1, 2.0]))
    sintel_frame(tmp_path / "training", 1, np.full((436, 1024), 5.0), camera_from_world)
    camera = only("sintel-100", tmp_path).cameras[0]
    point = np.array([0.4, 0.2, 6.0])
    matrix = np.array([[1120.0, 0, 511.5], [0, 1120.0, 217.5], [0, 0, 1]])
    x, y, z = matrix @ (camera_from_world[:3] @ [*point, 1])  # x = M N X, pixels whose first centre is (0, 0)
    seen = project(transform(inverse(camera.world_from_camera), point[None]), camera.intrinsics)
    np.testing.assert_allclose(seen, [[x / z + 0.5, y / z + 0.5]], atol=1e-6)
    assert camera.intrinsics == Intrinsics(1120.0, 1120.0, 512.0, 218.0, 1024, 436)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin with 202021.25"),
        (b"PIEH" * 10, "2 values|the file differs|pixels: the file is damaged"),
        (b"\x89PNG\r\n\x1a\n", "does not begin with 202021.25"),
        (dpt(np.ones((2, 3)))[:-1], "3 x 2 values are 36 bytes"),
        (dpt(np.ones((2, 3))) + b"0", "3 x 2 values are 36 bytes"),
        (TAG + np.array([0, 5], "<i4").tobytes(), "0 x 5 pixels: the file is damaged"),
        (TAG, "0 x 0 pixels: the file is damaged"),
    ],
)
def test_sintel_tells_what_is_wrong_with_a_depth_map(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path / "frame_0001.dpt", content)
    with pytest.raises(FormatError, match=message) as error:
        sintel.SintelDepth()(path)
    assert str(path) in one_line(error)


def test_sintel_tells_what_is_missing(tmp_path: Path) -> None:
    training = tmp_path / "training"
    sintel_frame(training, 1, np.ones((4, 4)), np.eye(4))
    clip = only("sintel-100", tmp_path)
    written(training / "camdata_left" / "alley_1" / "frame_0001.cam", TAG + bytes(100))
    with pytest.raises(FormatError, match="has 172 bytes, this file 104"):
        cameras_read_again(clip)
    written(training / "camdata_left" / "alley_1" / "frame_0001.cam", TAG + bytes(168))
    with pytest.raises(FormatError, match="focal lengths must be positive"):
        cameras_read_again(clip)
    with pytest.raises(FormatError, match="cannot be read"):
        clip.read_depth(training / "depth" / "nothing.dpt")
    (training / "depth" / "alley_1" / "frame_0001.dpt").unlink()
    with pytest.raises(FormatError, match=r"has no frame_0001.dpt for alley_1/frame_0001.png"):
        clips("sintel-100", tmp_path)
    (training / "depth").rename(training / "depth_viz")
    with pytest.raises(FormatError, match="MPI-Sintel-depth-training"):
        clips("sintel-100", tmp_path)


# ----------------------------------------------------------------------------------------------------- what they share


def test_lists_of_times_and_files(tmp_path: Path) -> None:
    path = written(tmp_path / "rgb.txt", "# timestamp filename\n\n2.5 rgb/b.png\n1.25 rgb/a.png # first\n")
    assert timed_files(path) == ([1.25, 2.5], [tmp_path / "rgb" / "a.png", tmp_path / "rgb" / "b.png"])
    for line in ("rgb/a.png 1.25", "1.25", "1.25 a b"):
        written(path, f"1 c\n{line}\n")
        with pytest.raises(FormatError, match=r"rgb.txt:2: not a time and a file"):
            timed_files(path)


def test_times_count_from_the_first_and_increase() -> None:
    paths = [Path("a.png"), Path("b.png")]
    assert [frame.time for frame in truth_frames(paths, [None, None], [100.0, 100.5])] == [0, 0.5]
    with pytest.raises(FormatError, match=r"b.png: its time 100.000000 s"):
        truth_frames(paths, [None, None], [100.0, 100.0])


def test_rigid_transforms_are_freed_of_rounding() -> None:
    exact = rigid(Rotation.from_rotvec([0.3, 0.2, -0.1]).as_matrix(), np.array([1.0, 2.0, 3.0]))
    found = rigid_of(np.round(exact, 4), "here")
    np.testing.assert_allclose(found, exact, atol=2e-4)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-12)
    with pytest.raises(FormatError, match="here: not a rotation"):
        rigid_of(np.diag([1.0, 1.0, -1.0, 1.0]), "here")


def test_cameras_on_demand_are_read_once() -> None:
    reads = []

    def read() -> dict[int, TruthCamera]:
        reads.append(1)
        return {3: TruthCamera(Intrinsics(1.0, 1.0, 1.0, 1.0, 2, 2), np.eye(4))}

    cameras = CamerasOnDemand(read)
    assert not reads
    assert list(cameras) == [3]
    assert len(cameras) == 1
    assert cameras[3].intrinsics.fx == 1
    assert 4 not in cameras
    assert len(reads) == 1


def test_even_sizes() -> None:
    place = np.arange(7 * 9).reshape(7, 9)
    np.testing.assert_array_equal(kitti.EvenSize(Crop()).of(place), place[:6, :8])
    np.testing.assert_array_equal(kitti.EvenSize(Crop(0, 5, 0, 4)).of(place), place[:4, :4])
