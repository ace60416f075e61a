"""The command as a person meets it: help, one-line errors, exit codes, outputs that repeat."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from scipy.spatial import cKDTree

from recon.geometry import transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.cloud import read_ply
from recon.io.depth import DepthFolder
from recon.io.trajectory import read_trajectory

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "samples" / "room"
DEPTH, CAMERA = ["--depth", f"{ROOM}/depth"], ["--intrinsics", f"{ROOM}/intrinsics.json"]
TRUTH = [*DEPTH, *CAMERA, "--trajectory", f"{ROOM}/trajectory.tum"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def recon(tmp_path: Path) -> Run:
    """`recon ...` in an empty folder, without weights and without network."""
    environment = {**os.environ, "COLUMNS": "100", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    environment.pop("RECON_WEIGHTS", None)
    work = tmp_path / "work"
    work.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from recon_cli.cli import main; main()", *arguments]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("command", ["", "pointcloud", "poses", "convert", "stereo3d", "depth", "eval", "models"])
def test_help_is_what_it_was(recon: Run, command: str, snapshot: object) -> None:
    done = recon(*command.split(), "--help")
    assert done.returncode == 0
    assert done.stdout == snapshot


def test_help_needs_no_torch_and_no_open3d() -> None:
    """It comes at once: heavy packages are imported by the commands that need them."""
    heavy = {"torch", "open3d", "numba", "scipy", "cv2"}
    check = f"import sys, recon_cli.cli; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "says"),
    [
        (["pointcloud", "missing.mp4"], 1, "missing.mp4: no such file"),
        (["pointcloud", f"{ROOT}/README.md"], 1, "README.md"),
        (["pointcloud", f"{ROOM}/room.mp4", "-o", "cloud.obj"], 2, "must end in .ply"),
        (["pointcloud", f"{ROOM}/room.mp4", "--strat", "3"], 2, "Did you mean --start?"),
        (["pointcloud", f"{ROOM}/room.mp4", "--start", "-1"], 2, "--start: input should be greater than or equal to 0"),
        (["pointcloud", f"{ROOM}/room.mp4", "--start", "3", "--end", "2"], 2, "--end (2 s) must come after --start"),
        (["pointcloud", f"{ROOM}/room.mp4", *DEPTH, "--start", "100"], 1, "--start"),
        (["pointcloud", f"{ROOM}/room.mp4", "--fov", "60", "--intrinsics", "x.json"], 2, "--fov and --intrinsics"),
        (["pointcloud", f"{ROOM}/room.mp4", "--device", "abacus"], 1, "video_depth_anything_vits.pth"),
        (["pointcloud", f"{ROOM}/room.mp4", "--model", "nonsense"], 2, "nonsense"),
        (["pointcloud", f"{ROOM}/room.mp4", "--depth", "nowhere"], 1, "nowhere"),
        (
            ["pointcloud", f"{ROOM}/room.mp4", *DEPTH, "--trajectory", f"{ROOM}/README.md"],
            1,
            "README.md",
        ),
        (["pointcloud", f"{ROOM}/room.mp4", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["depth", f"{ROOM}/room.mp4"], 1, "hf download depth-anything/Video-Depth-Anything-Small"),
        (["depth", f"{ROOM}/room.mp4", "-o", "depth.npz"], 2, "without an ending"),
        (["depth"], 2, "VIDEO"),
        (["paint", "x"], 2, "paint"),
    ],
)
def test_bad_input_gets_one_clear_line(recon: Run, arguments: list[str], exit_code: int, says: str) -> None:
    done = recon(*arguments)
    errors = [line for line in done.stderr.splitlines() if line.startswith("recon: error: ")]
    assert (done.returncode, len(errors)) == (exit_code, 1), done.stderr
    assert says in errors[0]
    assert "Traceback" not in done.stderr


def test_an_unknown_key_in_a_settings_file_is_named(recon: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("clean:\n  egde: 0.1\n")
    done = recon("pointcloud", f"{ROOM}/room.mp4", "--config", str(tmp_path / "mine.yaml"))
    assert done.returncode == 2
    assert "mine.yaml" in done.stderr
    assert "egde" in done.stderr


def test_the_readme_command_gives_the_room(recon: Run, tmp_path: Path) -> None:
    """The sample run is a ground-truth test: every fused point lies on a surface of the rendered room."""
    done = recon("pointcloud", f"{ROOM}/room.mp4", *TRUTH, "-o", "room.ply")
    assert done.returncode == 0, done.stderr
    cloud = read_ply(tmp_path / "work" / "room.ply")
    surface = _true_surface()
    distance, _ = cKDTree(surface).query(cloud.points)
    reached, _ = cKDTree(cloud.points).query(surface)
    voxel = yaml.safe_load((tmp_path / "work" / "room.ply.yaml").read_text())["provenance"]["shots"][0]["voxel"]
    assert np.quantile(distance, 0.99) < voxel
    assert np.mean(reached < 2 * voxel) > 0.97
    assert b"comment units: m\n" in (tmp_path / "work" / "room.ply").read_bytes()[:1000]


def _true_surface() -> np.ndarray:
    """Points of every frame's exact depth, in the world."""
    intrinsics = read_intrinsics(ROOM / "intrinsics.json")
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    poses = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None).world_from_camera
    views = [
        transform(pose, unproject(map_, intrinsics)[1::2, 1::2])
        for pose, map_ in zip(poses, depth.maps(range(60)), strict=True)
    ]
    return np.concatenate([view.reshape(-1, 3) for view in views])


def test_a_result_is_repeated_from_the_settings_beside_it(recon: Run, tmp_path: Path) -> None:
    first = recon("pointcloud", f"{ROOM}/room.mp4", *TRUTH, "--every", "0.5", "--voxel", "0.03", "-o", "a.ply")
    again = recon("pointcloud", f"{ROOM}/room.mp4", "--config", "a.ply.yaml", "-o", "b.ply")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    work = tmp_path / "work"
    assert (work / "a.ply").read_bytes() == (work / "b.ply").read_bytes()
    settings = [yaml.safe_load((work / name).read_text()) for name in ("a.ply.yaml", "b.ply.yaml")]
    assert settings[0]["fuse"] == settings[1]["fuse"] == {"voxel": 0.03}


def test_what_the_user_has_is_not_overwritten(recon: Run, tmp_path: Path) -> None:
    mine = tmp_path / "work" / "cloud.ply"
    mine.write_text("precious")
    refused = recon("pointcloud", f"{ROOM}/room.mp4", *TRUTH, "--every", "1", "-o", "cloud.ply")
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    assert mine.read_text() == "precious"
    forced = recon("pointcloud", f"{ROOM}/room.mp4", *TRUTH, "--every", "1", "-o", "cloud.ply", "--overwrite")
    assert forced.returncode == 0, forced.stderr
    assert len(read_ply(mine)) > 1000


def test_what_stands_beside_an_output_is_not_overwritten_either(recon: Run, tmp_path: Path) -> None:
    """The settings, the preview and further clouds have names of their own, which may be taken."""
    work = tmp_path / "work"
    for name, command in (("a.ply.yaml", "pointcloud"), ("b.yaml", "depth"), ("c.preview.mp4", "depth")):
        (work / name).write_text("precious: true\n")
        output = name.removesuffix(".yaml").removesuffix(".preview.mp4")
        refused = recon(command, f"{ROOM}/room.mp4", *DEPTH, "--every", "1", "-o", output)
        assert refused.returncode == 2, refused.stderr
        assert f"{name}: is there already" in refused.stderr
        assert (work / name).read_text() == "precious: true\n"


def test_a_folder_with_anything_else_in_it_is_never_replaced(recon: Run, tmp_path: Path) -> None:
    command = ("depth", f"{ROOM}/room.mp4", *DEPTH, "--every", "1", "--no-preview", "-o", "maps")
    assert recon(*command).returncode == 0
    assert recon(*command).returncode == 0, "maps alone are replaced"
    notes = tmp_path / "work" / "maps" / "notes.txt"
    notes.write_text("precious")
    for options in ((), ("--overwrite",)):
        refused = recon(*command, *options)
        assert refused.returncode == 2
        assert "maps: holds something else than depth maps of recon; name another folder" in refused.stderr
    assert notes.read_text() == "precious"


def test_the_input_is_never_the_output(recon: Run, tmp_path: Path) -> None:
    mine = tmp_path / "work" / "room.preview.mp4"
    mine.write_bytes((ROOM / "room.mp4").read_bytes())
    refused = recon("depth", "room.preview.mp4", *DEPTH, "--overwrite", "-o", "room")
    assert refused.returncode == 2
    assert "is the input; name another output" in refused.stderr
    assert mine.read_bytes() == (ROOM / "room.mp4").read_bytes()


def test_frames_without_a_pose_are_counted(recon: Run, tmp_path: Path) -> None:
    poses = (ROOM / "trajectory.tum").read_text().splitlines()
    (tmp_path / "work" / "short.tum").write_text("\n".join(poses[:20]))
    done = recon("pointcloud", f"{ROOM}/room.mp4", *DEPTH, *CAMERA, "--trajectory", "short.tum", "-o", "a.ply")
    assert done.returncode == 0, done.stderr
    left_out = (
        60 - yaml.safe_load((tmp_path / "work" / "a.ply.yaml").read_text())["provenance"]["clouds"]["a.ply"]["frames"]
    )
    assert 35 <= left_out <= 42
    assert f"{left_out} of 60 frames have no pose and are left out" in done.stderr


def test_nothing_that_can_be_placed_is_one_line_and_no_cloud(recon: Run, tmp_path: Path) -> None:
    """Grey frames have no features: without poses there is no cloud, and it is said."""
    grey = tmp_path / "work" / "grey"
    depth = tmp_path / "work" / "depth"
    for folder, values in ((grey, np.full((60, 80), 128, np.uint8)), (depth, np.full((60, 80), 2000, np.uint16))):
        folder.mkdir()
        for number in range(3):
            (folder / f"{number}.png").write_bytes(cv2.imencode(".png", values)[1].tobytes())
    refused = recon("pointcloud", "grey", "--depth", "depth", "-o", "a.ply")
    errors = [line for line in refused.stderr.splitlines() if line.startswith("recon: error: ")]
    assert (refused.returncode, len(errors)) == (1, 1), refused.stderr
    assert "none of its 3 frames could be placed" in errors[0]
    assert "--static" in errors[0]
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["depth", "grey"]


def test_the_calibration_of_another_camera_is_doubted(recon: Run, tmp_path: Path) -> None:
    (tmp_path / "work" / "K.txt").write_text("495 0 269.5\n0 495 169.2\n0 0 1\n")
    done = recon(
        "pointcloud", f"{ROOM}/room.mp4", *DEPTH, "--intrinsics", "K.txt", "--static", "--end", "0.1", "-o", "a.ply"
    )
    assert done.returncode == 0, done.stderr
    doubt = "K.txt: its principal point (270, 170) is far from the middle of a 384 x 288 picture"
    assert done.stderr.count(doubt) == 1, done.stderr


def test_depth_maps_are_converted(recon: Run, tmp_path: Path) -> None:
    done = recon("depth", f"{ROOM}/room.mp4", *DEPTH, "--every", "1", "--format", "ffv1", "-o", "out")
    assert done.returncode == 0, done.stderr
    written, truth = DepthFolder(tmp_path / "work" / "out", scale=1.0), DepthFolder(ROOM / "depth", scale=1000.0)
    assert len(written) == 3
    assert np.abs(written[1] - truth[20]).max() < 1e-3
    assert (tmp_path / "work" / "out.preview.mp4").stat().st_size > 1000


def test_models_says_how_to_get_what_is_missing(recon: Run) -> None:
    done = recon("models")
    assert done.returncode == 0
    assert "hf download depth-anything/Video-Depth-Anything-Small video_depth_anything_vits.pth" in done.stdout
    assert "CC-BY-NC-4.0" in done.stdout


def test_only_its_own_clouds_of_an_earlier_run_are_removed(recon: Run, tmp_path: Path) -> None:
    """A run that writes fewer clouds takes the further ones of the last with it, and nothing else that is named."""
    work = tmp_path / "work"
    (work / "a.ply.yaml").write_text("provenance: {clouds: {a.ply: {}, a.2.ply: {}, mine.ply: {}, ../up.ply: {}}}\n")
    for name in ("a.2.ply", "a.3.ply", "mine.ply", "../up.ply"):
        (work / name).write_text("ply")
    assert recon("pointcloud", f"{ROOM}/room.mp4", *TRUTH, "--every", "1", "-o", "a.ply").returncode == 0
    assert not (work / "a.2.ply").exists()
    assert all((work / name).exists() for name in ("a.ply", "a.3.ply", "mine.ply", "../up.ply"))
