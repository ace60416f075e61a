"""docs/poses.md: what its rows and claims mean, the peers on the rendered room, and commands that exist."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from recon.evaluation.trajectory import absolute_error
from recon.io.trajectory import read_trajectory, write_tum
from recon.io.video import open_source
from recon.settings import DepthRunSettings, PointcloudSettings, SamplingSettings
from recon.types import CameraTrajectory

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "samples" / "room"
PEERS = ROOT / "docs" / "peers"
PERIOD = 0.05


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """docs/make_poses.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        return importlib.import_module("make_poses")


def run(script: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "docs" / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def true_path() -> CameraTrajectory:
    return read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None)


# Rows


def row(page: ModuleType, **changes: Any) -> Any:
    """A good one of ours."""
    plain = page.Row("recon", "network", True, True, 0.01, 0.02, 0.05, 0.001, 0.1, 60, 60, 1, 20.0, (), 3.0)
    return replace(plain, **changes)


def test_errors_are_told_apart(page: ModuleType, tmp_path: Path) -> None:
    """A path that is true but for its scale and its world has an error only after a rigid motion."""
    true = true_path()
    poses = true.world_from_camera.copy()
    poses[:, :3, 3] *= 1.1
    write_tum(tmp_path / "path.txt", CameraTrajectory(true.times, poses))
    ate, rigid, scale, step, turn = page._errors(tmp_path / "path.txt", true, PERIOD)
    assert ate == pytest.approx(0, abs=1e-9)
    assert scale == pytest.approx(0.1)
    spread = np.linalg.norm(true.world_from_camera[:, :3, 3] - true.world_from_camera[:, :3, 3].mean(axis=0), axis=1)
    assert rigid == pytest.approx(0.1 * np.sqrt(np.mean(spread**2)))
    assert (step, turn) == pytest.approx((0, 0), abs=1e-5)


def test_a_step_is_from_one_frame_to_the_next(page: ModuleType, tmp_path: Path) -> None:
    true = true_path()
    poses = true.world_from_camera.copy()
    poses[::2, :3, 3] += [0.0, 0.0, 0.01]  # up and down: 1 cm from frame to frame
    write_tum(tmp_path / "path.txt", CameraTrajectory(true.times, poses))
    _ate, _rigid, _scale, step, _turn = page._errors(tmp_path / "path.txt", true, PERIOD)
    assert step == pytest.approx(0.01, rel=0.02)


def test_a_path_that_is_not_there_is_infinitely_wrong(page: ModuleType, tmp_path: Path) -> None:
    assert page._errors(tmp_path / "none.txt", true_path(), PERIOD)[0] == inf


def test_a_run_of_ours_tells_its_frames_and_worlds(page: ModuleType, tmp_path: Path) -> None:
    report = {"frames": 9, "without_pose": 2, "paths": [{"frames": 3}, {"frames": 4}]}
    (tmp_path / "path.txt.report.json").write_text(json.dumps(report))
    (tmp_path / "alone.json").write_text(json.dumps({"seconds": 0.9, "said": ["frame 3: tracking is lost"]}))
    facts = page._of_run(tmp_path / "path.txt", tmp_path / "alone.json")
    assert facts == page.Facts(0.9, 9, (3, 4), ("2 frames have no pose", "frame 3: tracking is lost"))
    write_tum(tmp_path / "path.txt", true_path())
    scored = page.scored(page.ROOM, page.Method("recon", "sensor", tmp_path / "path.txt", facts), true_path())
    assert (scored.placed, scored.frames, scored.segments, scored.ours) == (4, 9, 2, True)
    assert scored.ms == pytest.approx(100)
    assert scored.length == pytest.approx(1.4, abs=0.2)


def test_missing_frames_and_wrong_paths_are_failures(page: ModuleType) -> None:
    assert not row(page).failed
    assert row(page, placed=59).failed
    assert row(page, ate=0.151).failed
    assert not row(page, ate=0.149).failed
    assert row(page, ate=inf).failed


def test_a_table_tells_what_was_said(page: ModuleType) -> None:
    lines = page.table(
        [row(page), row(page, ours=False, method="X", depth="none", metric=False, placed=7, said=("Oh",))]
    )
    assert lines[2] == "| **recon** | network | 10.0 | 20.0 | +5.0 % | 1.00 | 0.10 | - | 60/60 | 1 | 20.0 | no |"
    assert lines[3] == "| X | none | 10.0 | - | - | 1.00 | 0.10 | - | 7/60 | 1 | 20.0 | said |"
    assert lines[4:] == ["", "* *X*: Oh."]
    assert "**unsaid**" in page.table([row(page, placed=7)])[2]


def test_a_jump_of_the_truth_is_held_against_the_paths(page: ModuleType, tmp_path: Path) -> None:
    """Half as large as it should be, the path tells the true step and has no error before the jump."""
    (tmp_path / "room").mkdir()
    clip = page.Clip("room", "", "", 20.0, truth="true.txt", jump=30)
    true = true_path()
    write_tum(tmp_path / "mine.txt", CameraTrajectory(true.times[:40], _scaled(true.world_from_camera[:40], 0.5)))
    jumping = true.world_from_camera.copy()
    jumping[30:, 2, 3] += 0.0001
    write_tum(tmp_path / "room" / "true.txt", CameraTrajectory(true.times, jumping))
    work = page.Paths(sys.modules["commands"].Folders(tmp_path, tmp_path))
    method = page.Method("mine", "none", tmp_path / "mine.txt", page.Facts(1.0, 40, (40,), ()))
    given, [(same, step, ate)] = work.before_jump(clip, [method])
    assert same is method
    assert step == pytest.approx(np.linalg.norm(np.diff(true.world_from_camera[29:31, :3, 3], axis=0)), rel=1e-3)
    assert given == pytest.approx(np.linalg.norm(np.diff(jumping[29:31, :3, 3], axis=0)), rel=1e-6)
    assert ate == pytest.approx(0, abs=1e-9)
    assert "| mine |" in page.jump_table(clip, given, [(method, step, ate)])[-1]


def test_paths_that_agree_against_the_truth_are_told(page: ModuleType, tmp_path: Path) -> None:
    """Two paths of half the size that are one and the same, with a truth that bends away from them."""
    (tmp_path / "paths" / "room-colmap").mkdir(parents=True)
    (tmp_path / "room").mkdir()
    clip, true = page.Clip("room", "", "", 20.0, truth="true.txt"), true_path()
    bent = true.world_from_camera.copy()
    bent[:, 2, 3] += 0.05 * np.sin(4 * true.times)
    write_tum(tmp_path / "room" / "true.txt", CameraTrajectory(true.times, bent))
    half = _scaled(true.world_from_camera, 0.5)
    write_tum(tmp_path / "paths" / "room-colmap" / "global.txt", CameraTrajectory(true.times, half))
    off = half.copy()
    off[::2, 2, 3] += 0.002  # 4 mm from frame to frame in true lengths: 2 mm on both sides
    write_tum(tmp_path / "mine.txt", CameraTrajectory(true.times, off))
    work = page.Paths(sys.modules["commands"].Folders(tmp_path, tmp_path))
    method = page.Method("mine", "none", tmp_path / "mine.txt", page.Facts(1.0, 60, (60,), ()))
    (row,) = work.rows(clip, [method])
    assert row.ate > 0.01
    assert row.apart == pytest.approx(0.002, rel=0.05)


def test_a_path_without_the_frames_of_the_jump_says_nothing_of_it(page: ModuleType) -> None:
    true = true_path()
    early = CameraTrajectory(true.times[:30], true.world_from_camera[:30])
    gap = CameraTrajectory(np.delete(true.times, 29), np.delete(true.world_from_camera, 29, axis=0))
    assert np.isnan([page._moved(path, true.times[29:31]) for path in (early, gap)]).all()


def _scaled(poses: np.ndarray, scale: float) -> np.ndarray:
    scaled = poses.copy()
    scaled[:, :3, 3] *= scale
    return scaled


# Claims


def claims(page: ModuleType, *rows: Any, layers: tuple[float, float] = (0.1, 0.1)) -> dict[str, bool]:
    far = [("given", layers[0]), ("recon", layers[1])]
    return {claim: holds for claim, _told, holds in page.claims({page.ROOM: rows}, far)}


def test_all_holds_where_we_are_best(page: ModuleType) -> None:
    peer = row(page, ours=False, method="X", ate=0.02)
    assert all(claims(page, row(page), peer).values())


def test_a_better_peer_is_told(page: ModuleType) -> None:
    blind, sensor, network = (
        [holds for claim, holds in claims(page, row(page), peer).items() if "ATE" in claim]
        for peer in (row(page, ours=False, depth=depth, ate=0.009) for depth in ("none", "sensor", "network"))
    )
    assert blind == network == [False]
    assert sensor == [True, False]


def test_a_peer_that_placed_the_easy_frames_alone_is_none(page: ModuleType) -> None:
    few = row(page, ours=False, depth="none", ate=0.001, placed=50)
    assert all(claims(page, row(page), few).values())
    assert not all(claims(page, row(page, placed=50, said=("Lost",)), few).values())


def test_slowness_silence_and_layers_are_told(page: ModuleType) -> None:
    slow = [holds for claim, holds in claims(page, row(page, ms=61.0)).items() if "ms" in claim]
    silent = [holds for claim, holds in claims(page, row(page, ate=1.0)).items() if "not said" in claim]
    said = [holds for claim, holds in claims(page, row(page, ate=1.0, said=("Lost",))).items() if "not said" in claim]
    layers = [holds for claim, holds in claims(page, row(page), layers=(0.1, 0.131)).items() if "cloud" in claim]
    assert (slow, silent, said, layers) == ([False], [False], [True], [False])


def test_layers_are_read_from_what_is_printed(page: ModuleType) -> None:
    told = "50% of the points lie within 0.0100\n90% of the points lie within 0.0421\n"
    assert page.within(told, "90%") == 0.0421
    assert page.layers_table([("given", 0.1), ("recon", 0.12)])[-1] == "| recon | 120 | 1.20 |"


def test_paths_of_two_methods_never_share_a_file(page: ModuleType, tmp_path: Path) -> None:
    work = page.Paths(sys.modules["commands"].Folders(tmp_path, tmp_path))
    methods = [page.TRACKED, page.MAPPED, *(f"Open3D, {method}" for method in page.OPEN3D)]
    paths = [work.path(page.ROOM, method, depth) for method in methods for depth in ("network", "sensor")]
    assert len(set(paths)) == 10
    assert all(re.fullmatch(r"room-[a-zA-Z0-9-]+\.txt", path.name) for path in paths)


# Scripts


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some frames of the room as pictures with maps and the true path; COLMAP keeps no model of fewer than 10."""
    folder = tmp_path_factory.mktemp("few")
    for name in ("pictures", "depth"):
        (folder / name).mkdir()
    true, kept = true_path(), range(0, 20, 2)
    for frame in open_source(ROOM / "room.mp4", SamplingSettings()).frames():
        if frame.index in kept:
            name = f"{frame.index:06d}.png"
            picture = cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
            (folder / "pictures" / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            (folder / "depth" / name).symlink_to(ROOM / "depth" / name)
    write_tum(folder / "true.txt", CameraTrajectory(true.times[: len(kept)], true.world_from_camera[list(kept)]))
    return folder


GIVEN = ("--intrinsics", ROOM / "intrinsics.json", "--picture-rate", "20")


def errors(path: Path, few: Path) -> tuple[float, float]:
    """ATE after a similarity and after a rigid motion, millimetres."""
    mine, true = (read_trajectory(each, times_by_name={}, rate=None) for each in (path, few / "true.txt"))
    assert len(mine.times) == len(true.times)
    scaled, rigid = (absolute_error(mine, true, alignment=kind) for kind in ("similarity", "rigid"))
    return 1000 * scaled.position.rmse, 1000 * rigid.position.rmse


def facts(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_open3d_follows_the_room(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    path = tmp_path / "path.txt"
    done = run(
        "peers/open3d_odometry.py", few / "pictures", path, "--depth", few / "depth", "--method", "hybrid", *GIVEN
    )
    assert done.returncode == 0, done.stderr
    assert errors(path, few)[1] < 30
    found = facts(path.with_suffix(".json"))
    assert (found["frames"], found["segments"], found["said"]) == (10, [10], [])
    assert found["seconds"] > 0


def test_colmap_follows_the_room(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("pycolmap")
    done = run("peers/colmap_path.py", few / "pictures", tmp_path / "paths", *GIVEN)
    assert done.returncode == 0, done.stderr
    for mapper in ("incremental", "global"):
        assert errors(tmp_path / "paths" / f"{mapper}.txt", few)[0] < 10
        assert facts(tmp_path / "paths" / f"{mapper}.json")["segments"] == [10]


@pytest.mark.parametrize("how", ["track", "colmap"])
def test_our_estimators_alone_follow_the_room_and_tell_their_time(how: str, few: Path, tmp_path: Path) -> None:
    if how == "colmap":
        pytest.importorskip("pycolmap")
    path = tmp_path / "path.txt"
    done = run("peers/recon_path.py", few / "pictures", path, "--depth", few / "depth", "--poses", how, *GIVEN)
    assert done.returncode == 0, done.stderr
    assert errors(path, few)[1] < 10
    found = facts(path.with_suffix(".json"))
    assert (found["frames"], found["segments"]) == (10, [10])
    assert found["seconds"] > 0


def test_a_missing_map_is_said_in_one_line(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("open3d")
    (tmp_path / "depth").mkdir()
    (tmp_path / "depth" / "000000.png").symlink_to(ROOM / "depth" / "000000.png")
    done = run("peers/open3d_odometry.py", few / "pictures", tmp_path / "a.txt", "--depth", tmp_path / "depth", *GIVEN)
    assert done.returncode == 1
    assert re.search(r"frame 1 .* has no depth map of its name", done.stderr)
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "a.txt").exists()


def test_the_true_path_begins_at_the_first_camera_that_took_the_pictures(shared: Path, tmp_path: Path) -> None:
    """7-Scenes: 25 mm beside the depth camera, whose poses are known."""
    data = shared / "data" / "7scenes_redkitchen_a"
    done = run("true_poses.py", "7scenes", data, tmp_path / "true", "--picture-rate", "10")
    assert done.returncode == 0, done.stderr
    found = read_trajectory(tmp_path / "true" / "path.txt", times_by_name={}, rate=None)
    np.testing.assert_allclose(found.times, np.arange(150) / 10)
    np.testing.assert_allclose(found.world_from_camera[0], np.eye(4), atol=1e-12)
    depth = [np.loadtxt(data / "frames" / f"frame-{number:06d}.pose.txt") for number in (0, 149)]
    beside = np.eye(4)
    beside[0, 3] = 0.025
    expected = np.linalg.inv(depth[0] @ beside) @ depth[1] @ beside
    np.testing.assert_allclose(found.world_from_camera[149], expected, atol=1e-3)
    assert json.loads((tmp_path / "true" / "camera.json").read_text())["fx"] == 525


def test_a_path_is_laid_on_the_true_one_and_not_scaled(tmp_path: Path) -> None:
    true = true_path()
    turned = np.eye(4)
    turned[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    turned[:3, 3] = (3, 4, 5)
    write_tum(tmp_path / "mine.txt", CameraTrajectory(true.times, _scaled(turned @ true.world_from_camera, 1.1)))
    done = run("align_path.py", tmp_path / "mine.txt", ROOM / "trajectory.tum", tmp_path / "there.txt")
    assert done.returncode == 0, done.stderr
    found = read_trajectory(tmp_path / "there.txt", times_by_name={}, rate=None).world_from_camera
    middle = true.world_from_camera[:, :3, 3].mean(axis=0)
    expected = middle + 1.1 * (true.world_from_camera[:, :3, 3] - middle)
    np.testing.assert_allclose(found[:, :3, 3], expected, atol=1e-9)
    np.testing.assert_allclose(found[:, :3, :3], true.world_from_camera[:, :3, :3], atol=1e-6)


# The page


def commands(kind: str) -> list[list[str]]:
    page = (ROOT / "docs" / "poses.md").read_text(encoding="utf-8")
    return [shlex.split(line) for line in page.splitlines() if line.startswith(kind)]


def options(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


@pytest.mark.parametrize(
    ("command", "settings", "least"), [("depth", DepthRunSettings, 5), ("pointcloud", PointcloudSettings, 3)]
)
def test_commands_of_recon_have_options_that_there_are(command: str, settings: Any, least: int) -> None:
    known = {name.replace("_", "-") for section in settings() for name in type(section[1]).model_fields}
    told = commands(f"recon {command} ")
    assert len(told) >= least
    given = {word.removeprefix("--").removeprefix("no-") for words in told for word in options(words)}
    assert given <= known


def test_scripts_of_the_page_are_there_with_their_options() -> None:
    told = commands("python ")
    scripts = {words[1] for words in told}
    assert {f"docs/peers/{name}.py" for name in ("open3d_odometry", "colmap_path")} <= scripts
    for script in scripts:
        source = (ROOT / script).read_text(encoding="utf-8")
        source += (PEERS / "paths.py").read_text(encoding="utf-8") if "peers" in script else ""
        given = set().union(*(options(words) for words in told if words[1] == script))
        assert given <= set(re.findall(r'"(--[a-z-]+)"', source))


def test_the_page_has_a_table_for_each_clip(page: ModuleType) -> None:
    text = (ROOT / "docs" / "poses.md").read_text(encoding="utf-8")
    for clip in page.CLIPS:
        assert f"## {clip.title}\n" in text
    assert "evo" not in {name for script in (ROOT / "docs").rglob("*.py") for name in imports(script)}


def imports(script: Path) -> list[str]:
    return re.findall(r"^\s*(?:import|from) (\w+)", script.read_text(encoding="utf-8"), re.MULTILINE)
