"""The compositions, on a rendered room and a network that knows the truth up to scale and shift."""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import SHARED
from scenes import TrueDisparityNetwork
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from stand_in import Brightness

from recon.errors import StoreError, TrajectoryError
from recon.geometry import inverse, transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.cloud import file_from_world, read_ply
from recon.io.depth import DepthFolder
from recon.io.store import StoredDepth
from recon.io.trajectory import read_trajectory, write_tum
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon.types import CameraTrajectory
from recon_cli.cli import run

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "samples" / "room"


@pytest.fixture(scope="module")
def views() -> list[tuple[np.ndarray, np.ndarray]]:
    """The sample's frames as decoded, with their exact depth."""
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    frames = open_source(ROOM / "room.mp4", SamplingSettings()).frames()
    return [(frame.rgb, depth[frame.index]) for frame in frames]


class Counting(TrueDisparityNetwork):
    """Counts its passes."""

    decodes = 0

    def decode(self, features: Sequence[bytes], size: tuple[int, int]) -> np.ndarray:
        Counting.decodes += 1
        return super().decode(features, size)


@pytest.fixture
def network(views: list[tuple[np.ndarray, np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    """`--model auto` finds the network that knows the truth."""
    Counting.decodes = 0
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Counting(views))
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
    return Counting


def pointcloud(output: Path, *options: str) -> int:
    return run(["pointcloud", str(ROOM / "room.mp4"), "-o", str(output), "-q", *options])


POSES = ("--trajectory", str(ROOM / "trajectory.tum"))
CAMERA = ("--intrinsics", str(ROOM / "intrinsics.json"))
FIRST = ("--first-frame-depth", str(ROOM / "depth" / "000000.png"))
PART = ("--end", "2")
"""Of the three seconds: two windows of the network."""


@pytest.mark.usefixtures("network")
def test_one_metric_depth_map_makes_the_whole_run_metric(tmp_path: Path) -> None:
    """The seed method: scale and shift from the first frame, applied to all, give the room at its true size."""
    assert (
        pointcloud(tmp_path / "given.ply", "--depth", str(ROOM / "depth"), *POSES, *CAMERA, *PART, "--voxel", "0.02")
        == 0
    )
    assert pointcloud(tmp_path / "cloud.ply", *POSES, *CAMERA, *FIRST, *PART, "--voxel", "0.02") == 0
    truth, cloud = read_ply(tmp_path / "given.ply"), read_ply(tmp_path / "cloud.ply")
    assert len(cloud) == pytest.approx(len(truth), rel=0.02)
    low, high = np.percentile(cloud.points, [1, 99], axis=0)
    true_low, true_high = np.percentile(truth.points, [1, 99], axis=0)
    np.testing.assert_allclose(high - low, true_high - true_low, rtol=0.01)
    assert b"comment units: m\n" in (tmp_path / "cloud.ply").read_bytes()[:800]


@pytest.mark.usefixtures("network")
def test_without_an_anchor_units_are_relative_and_it_is_said(tmp_path: Path) -> None:
    assert pointcloud(tmp_path / "cloud.ply", *CAMERA, "--end", "1") == 0
    assert b"relative units (not metres)" in (tmp_path / "cloud.ply").read_bytes()[:800]
    assert "units: relative" in (tmp_path / "cloud.ply.yaml").read_text()


@pytest.mark.usefixtures("network")
def test_relative_depth_and_metric_poses_do_not_mix(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert pointcloud(tmp_path / "cloud.ply", *CAMERA, *POSES) == TrajectoryError.exit_code
    assert "the poses are in m, the depth in relative units" in capfd.readouterr().err
    assert not (tmp_path / "cloud.ply").exists()


def write_sfm(folder: Path, scale: float) -> Path:
    """A COLMAP model of the room in text, as a perfect SfM would find it, in a unit of 1 / ``scale`` metres."""
    intrinsics = read_intrinsics(ROOM / "intrinsics.json")
    poses = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None).world_from_camera
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    folder.mkdir()
    size, focal = f"{intrinsics.width} {intrinsics.height}", f"{intrinsics.fx} {intrinsics.fy}"
    (folder / "cameras.txt").write_text(f"1 PINHOLE {size} {focal} {intrinsics.cx} {intrinsics.cy}\n")
    points, images = [], []
    for number in range(0, 60, 6):
        rows, columns = np.mgrid[20:288:40, 20:384:40].reshape(2, -1)
        seen = transform(poses[number], unproject(depth[number], intrinsics).astype(float)[rows, columns]) * scale
        first = len(points) + 1
        points += [f"{first + i} {x} {y} {z} 128 128 128 0.5 {number + 1} {i}" for i, (x, y, z) in enumerate(seen)]
        camera_from_world = inverse(poses[number])
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        tx, ty, tz = camera_from_world[:3, 3] * scale
        images.append(f"{number + 1} {w} {x} {y} {z} {tx} {ty} {tz} 1 frame_{number + 1:05d}.jpg")
        places = zip(columns + 0.5, rows + 0.5, strict=True)
        images.append(" ".join(f"{u} {v} {first + i}" for i, (u, v) in enumerate(places)))
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    return folder


@pytest.mark.usefixtures("network")
def test_a_colmap_model_gives_poses_camera_and_scale_in_its_own_units(tmp_path: Path) -> None:
    """The units of a structure-from-motion model are arbitrary: the cloud is in them, and says so."""
    model = write_sfm(tmp_path / "sparse", scale=0.3)
    sfm = ("--sparse", str(model), "--trajectory", str(model), "--trajectory-rate", "20")
    assert pointcloud(tmp_path / "sfm.ply", *sfm, *PART) == 0
    assert pointcloud(tmp_path / "given.ply", *POSES, *CAMERA, *FIRST, *PART, "--store", str(tmp_path / "s")) == 0
    spans = [
        np.ptp(np.percentile(read_ply(path).points, [2, 98], axis=0), axis=0) for path in sorted(tmp_path.glob("*.ply"))
    ]
    np.testing.assert_allclose(spans[1], 0.3 * spans[0], rtol=0.02)
    assert b"comment units: SLAM units\n" in (tmp_path / "sfm.ply").read_bytes()[:800]


@pytest.mark.usefixtures("network")
def test_points_and_poses_of_one_map_become_metric_together(tmp_path: Path) -> None:
    model = write_sfm(tmp_path / "sparse", scale=0.3)
    ends = [line.split() for line in (model / "points3D.txt").read_text().splitlines()][:41:40]
    metres = np.linalg.norm(np.subtract(*(np.array(end[1:4], float) for end in ends))) / 0.3
    sfm = ("--sparse", str(model), "--trajectory", str(model), "--trajectory-rate", "20", *PART)
    known = ("--scale-from", "known-distance", "--known-distance", ends[0][0], ends[1][0], f"{metres:.6f}")
    store = ("--store", str(tmp_path / "store"))
    assert pointcloud(tmp_path / "a.ply", *sfm, *known, *store) == 0
    assert pointcloud(tmp_path / "b.ply", *POSES, *CAMERA, *FIRST, *PART, *store) == 0
    spans = [
        np.ptp(np.percentile(read_ply(tmp_path / name).points, [2, 98], axis=0), axis=0) for name in ("a.ply", "b.ply")
    ]
    np.testing.assert_allclose(spans[0], spans[1], rtol=0.02)
    assert b"comment units: m\n" in (tmp_path / "a.ply").read_bytes()[:800]


@pytest.mark.usefixtures("network")
def test_poses_in_metres_and_points_in_slam_units_do_not_mix(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write_sfm(tmp_path / "sparse", scale=1.0)
    mixed = ("--sparse", str(model), "--trajectory-rate", "20", *POSES, *PART)
    assert pointcloud(tmp_path / "a.ply", *mixed) == 1
    assert "the poses are in m, the anchor in SLAM units" in capfd.readouterr().err
    assert pointcloud(tmp_path / "a.ply", *mixed, "--slam-units", "metres") == 0
    assert b"comment units: m\n" in (tmp_path / "a.ply").read_bytes()[:800]


@pytest.mark.usefixtures("network")
def test_poses_are_estimated_where_none_are_given(tmp_path: Path) -> None:
    """In the world of the first camera, the estimated run gives the cloud of the given poses."""
    given = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None)
    first_from_camera = file_from_world("z") @ inverse(given.world_from_camera[0]) @ given.world_from_camera
    write_tum(tmp_path / "first.tum", CameraTrajectory(given.times, first_from_camera))
    trajectory = ("--trajectory", str(tmp_path / "first.tum"))
    assert pointcloud(tmp_path / "estimated.ply", *CAMERA, *FIRST, "--voxel", "0.03") == 0
    assert pointcloud(tmp_path / "given.ply", *CAMERA, *FIRST, *trajectory, "--voxel", "0.03") == 0
    assert not (tmp_path / "estimated.2.ply").exists()
    estimated, given_cloud = (read_ply(tmp_path / name).points for name in ("estimated.ply", "given.ply"))
    for one, other in ((estimated, given_cloud), (given_cloud, estimated)):
        assert np.quantile(cKDTree(other).query(one)[0], 0.95) < 0.02


def test_a_second_command_needs_no_network_pass(network: type[Counting], tmp_path: Path) -> None:
    assert pointcloud(tmp_path / "a.ply", *CAMERA, *FIRST, *POSES, *PART) == 0
    passes = network.decodes
    assert passes > 0
    assert pointcloud(tmp_path / "a.ply", *CAMERA, *FIRST, *POSES, *PART, "--voxel", "0.05") == 0
    assert pointcloud(tmp_path / "b.ply", *CAMERA, *FIRST, "--static", *PART) == 0
    assert run(["depth", str(ROOM / "room.mp4"), "-o", str(tmp_path / "maps"), "-q", *PART]) == 0
    assert network.decodes == passes
    assert [path.name for path in tmp_path.glob("*.recon")] == ["a.ply.recon"]


@pytest.mark.usefixtures("network")
def test_a_store_of_other_settings_is_refused_until_fresh(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert pointcloud(tmp_path / "a.ply", *CAMERA, *PART, "--static") == 0
    assert pointcloud(tmp_path / "a.ply", *CAMERA, *PART, "--static", "--every", "0.2") == StoreError.exit_code
    assert "period" in capfd.readouterr().err
    assert pointcloud(tmp_path / "a.ply", *CAMERA, *PART, "--static", "--every", "0.2", "--fresh") == 0


def test_a_static_camera_and_one_picture(network: type[Counting], tmp_path: Path) -> None:
    assert pointcloud(tmp_path / "still.ply", *CAMERA, *FIRST, "--static", "--end", "0.01") == 0
    cloud = read_ply(tmp_path / "still.ply")
    assert network.decodes == 1
    assert cloud.points[:, 1].min() > 0.3, "everything lies before the camera, which looks along +y in the file"


KILLED = """
import sys; sys.path[:0] = [{tests!r}, {samples!r}]
import time
from pathlib import Path
from recon.io.depth import DepthFolder
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon_cli.cli import main
from scenes import TrueDisparityNetwork
from stand_in import choose

class Stuck(TrueDisparityNetwork):
    decodes = 0

    def decode(self, features, size):
        time.sleep(300 if self.decodes else 0)
        self.decodes += 1
        return super().decode(features, size)

room = Path({room!r})
depth = DepthFolder(room / "depth", scale=1000.0)
views = [(f.rgb, depth[f.index]) for f in open_source(room / "room.mp4", SamplingSettings()).frames()]
choose(lambda: Stuck(views))
sys.argv = ["recon", "pointcloud", str(room / "room.mp4"), "-o", {output!r}, *{options!r}]
main()
"""


STOPPED = ("--fov", "60", "--voxel", "0.03")


def _stuck(output: Path) -> subprocess.Popen[str]:
    """In a process of its own; the first window comes at once, the second never: there it waits to be stopped."""
    places = {"tests": str(Path(__file__).parent), "samples": str(ROOT / "samples"), "room": str(ROOM)}
    program = KILLED.format(**places, output=str(output), options=STOPPED)
    return subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "lock"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, views: list[tuple[np.ndarray, np.ndarray]]) -> Path:
    """The cloud of a run that nobody stopped."""
    output = tmp_path_factory.mktemp("whole") / "stopped.ply"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: TrueDisparityNetwork(views))
        patch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
        assert pointcloud(output, *STOPPED) == 0
    return output


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(("sent", "exit_code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not(
    tmp_path: Path, whole: Path, sent: signal.Signals, exit_code: int
) -> None:
    stopped = tmp_path / "stopped.ply"
    process = _stuck(stopped)
    store = stopped.with_name("stopped.ply.recon")
    while process.poll() is None and not list(store.glob("segment-*.json")):
        time.sleep(0.02)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_code, errors
    assert sent == signal.SIGKILL or "the same command goes on from there" in errors
    assert not StoredDepth.read(store).complete
    assert not stopped.exists()
    assert pointcloud(stopped, *STOPPED) == 0
    assert _content(store) == _content(whole.with_name("stopped.ply.recon"))
    assert stopped.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


CLIPS = sorted((SHARED / "data" / "videos_a").glob("*.*")) if SHARED.is_dir() else []
CLIPS = [clip for clip in CLIPS if clip.suffix.lower() in {".mp4", ".mov", ".mkv", ".avi", ".webm"}]
REFUSED = {"sample_audio_only_15s.mp4": "no video"}


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_odd_videos_run_or_end_in_one_clear_line(
    clip: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rotated, mirrored, HDR, VFR, truncated, tiny, odd-sized: depth and a cloud, or the reason why not."""
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Brightness())
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
    few = ["--end", "1", "--fps", "8"]
    maps = run(["depth", str(clip), "-o", str(tmp_path / "maps"), "--resolution", "network", *few])
    cloud = run(["pointcloud", str(clip), "-o", str(tmp_path / "cloud.ply"), "--static", *few])
    said = capfd.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("recon: error: ")]
    assert "Traceback" not in said
    if clip.name in REFUSED:
        assert (maps, cloud) == (1, 1)
        assert all(clip.name in line and REFUSED[clip.name] in line for line in errors)
    else:
        assert (maps, cloud, errors) == (0, 0, [])
        assert len(DepthFolder(tmp_path / "maps", scale=1.0, quantity="disparity")) >= 1
        assert len(read_ply(tmp_path / "cloud.ply")) > 0
        assert [path.name for path in tmp_path.glob("*.recon")] == ["maps.recon"], "the second command reuses the depth"


def test_a_truncated_video_gives_its_good_frames_and_says_so(
    shared: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Brightness())
    clip = shared / "data" / "videos_a" / "corrupted.mp4"
    with caplog.at_level(logging.WARNING, "recon"):
        assert run(["depth", str(clip), "-o", str(tmp_path / "maps"), "--resolution", "network"]) == 0
    assert len(DepthFolder(tmp_path / "maps", scale=1.0, quantity="disparity")) == 28
    assert any("corrupted.mp4" in record.getMessage() and "28" in record.getMessage() for record in caplog.records)
