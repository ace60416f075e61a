"""docs/meshes.md: what its rows and claims mean, both programs on the rendered room, and commands that exist."""

import argparse
import importlib
import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest

from recon.evaluation.clouds import Surface, compare_surfaces
from recon.io.trajectory import read_trajectory, write_tum
from recon.settings import MeshSettings, PosesSettings
from recon.types import CameraTrajectory, Frame, Intrinsics, PosedFrame

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "samples" / "room"
PAGE = ROOT / "docs" / "meshes.md"


def imported(name: str, folder: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / folder))
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def page() -> ModuleType:
    """docs/make_meshes.py."""
    return imported("make_meshes", "docs")


@pytest.fixture(scope="module")
def fusion() -> ModuleType:
    """docs/peers/fusion.py."""
    return imported("fusion", "docs/peers")


# Rows and claims


def row(page: ModuleType, **changes: Any) -> Any:
    near, wide = page.Near(0.9, 0.8, 0.847), page.Near(1.0, 0.9, 0.947)
    return replace(page.Row("sensor", "given", near, wide, 0.0051, 0.0123, 1_234_567, "yes"), **changes)


def timed(page: ModuleType, program: str, threads: int, **changes: Any) -> Any:
    return replace(page.Timed(program, threads, 40.0, 40.0, 1.0, 100.0, 400.0), **changes)


def test_a_table_tells_both_distances(page: ModuleType) -> None:
    lines = page.table([row(page), row(page, trust="")])
    told = "| sensor | given | 0.900 | 0.800 | **0.847** | 1.000 | 0.900 | 0.947 | 5.1 | 12.3 | 1,235 k |"
    assert lines[2:] == [f"{told} yes |", f"{told} - |"]


def test_ours_are_parts_of_those_of_as_many_threads(page: ModuleType) -> None:
    lines = page.times_table(
        [
            timed(page, "recon", 2, wall=10.0, peak=100.0),
            timed(page, "open3d", 1, wall=99.0),
            timed(page, "open3d", 2, wall=20.0),
        ]
    )
    assert lines[2].startswith("| **recon** | 2 | 10.0 (0.50 x) | 40.0 (1.00 x) |")
    assert lines[2].endswith("| 100 (0.25 x) |")
    assert lines[4] == "| Open3D | 2 | 20.0 | 40.0 | 1.00 | 100 | 400 |"


@pytest.mark.parametrize(("f", "ms", "expected"), [(0.9, 40.0, [True] * 3), (0.899, 41.0, [False, False, True])])
def test_claims_are_held_against_the_figures(page: ModuleType, f: float, ms: float, expected: list[bool]) -> None:
    rows = [row(page, poses="recon"), row(page, near=page.Near(0.9, 0.9, f))]
    times = [timed(page, "recon", 1, cpu=ms), timed(page, "open3d", 1), timed(page, "recon", 2, cpu=999.0)]
    found = page.claims({page.KITCHEN: rows}, {page.KITCHEN: times})
    assert [holds for _claim, _told, holds in found] == expected
    verdicts = [line.split(" | ")[-1] for line in page.claims_table(found)[2:]]
    assert verdicts == ["yes |" if holds else "**no** |" for holds in expected]


def test_meshes_of_two_rows_never_share_a_file(page: ModuleType, tmp_path: Path) -> None:
    work = page.Meshes(sys.modules["commands"].Folders(tmp_path, tmp_path))
    names = [
        work.mesh(clip, depth, poses, default=default).name
        for clip in page.CLIPS
        for depth in ("sensor", "exact", "network, first frame", "network, sparse points")
        for poses in (page.GIVEN, page.TRACKED, page.MAPPED)
        for default in (False, True)
    ]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[\w-]+\.ply", name) for name in names)


def test_the_least_of_some_runs_counts(page: ModuleType, tmp_path: Path) -> None:
    work = page.Meshes(sys.modules["commands"].Folders(tmp_path, tmp_path))
    (tmp_path / "times").mkdir()
    for folder in (f"{page.KITCHEN.name}-0", page.KITCHEN.name):
        (tmp_path / "true" / folder).mkdir(parents=True)
    for number, ms in enumerate((9.0, 7.0, 8.0)):
        cost = {"wall_ms": ms, "cpu_ms": 20 - ms, "mesh_s": 1.0, "volume_mb": 5.0, "peak_mb": 100.0}
        (tmp_path / "times" / f"{page.KITCHEN.name}-recon-1-{number}.json").write_text(json.dumps(cost))
    found = work._timed(page.KITCHEN, "recon", 1)
    assert (found.wall, found.cpu, found.peak) == (7.0, 11.0, 100.0)


# Scripts


def given(**changes: Any) -> argparse.Namespace:
    """Three frames of the room."""
    options = {
        "video": ROOM / "room.mp4",
        "intrinsics": ROOM / "intrinsics.json",
        "depth": ROOM / "depth",
        "trajectory": ROOM / "trajectory.tum",
        "picture_rate": 30.0,
        "depth_kind": "depth",
        "by": "recon",
        "voxel": 0.03,
        "max_depth": 10.0,
        "step": 25,
        "skip": 5,
        "seen": 0.0,
        "threads": 1,
    }
    return argparse.Namespace(**options | changes)


def test_both_programs_find_the_same_room(fusion: ModuleType) -> None:
    """To two voxels."""
    pytest.importorskip("open3d")
    surfaces = {}
    for program in ("recon", "open3d"):
        (vertices, triangles, colors), cost = fusion.fused(given(by=program, step=2, skip=48))
        assert len(colors) == len(vertices)
        assert (cost.frames, cost.triangles) == (6, len(triangles))
        assert min(cost.wall_ms, cost.cpu_ms, cost.volume_mb) > 0
        assert cost.peak_mb > cost.volume_mb
        surfaces[program] = Surface(vertices, triangles)
    random = np.random.default_rng(0)
    found = compare_surfaces(surfaces["recon"], surfaces["open3d"], random, density=2000.0, thresholds=(0.06,))
    assert found.agreements[0].f_score > 0.95


@pytest.mark.parametrize("program", ["recon", "open3d"])
def test_a_floor_seen_obliquely_is_where_it_is(fusion: ModuleType, program: str) -> None:
    """A pixel counted from its middle instead of its corner would lift it by 3 to 9 mm."""
    pytest.importorskip("open3d")
    height = 240.5 - np.arange(480)[:, None]  # of a pixel above the middle of the picture
    depth = np.broadcast_to(np.where(height < -40, 320 / np.minimum(height, -1) * -1, np.nan), (480, 640))
    frame = Frame(0, 0.0, np.zeros((480, 640, 3), np.uint8))
    camera = Intrinsics(320.0, 320.0, 320.0, 241.0, 640, 480)
    fuser = fusion.FUSERS[program](given(voxel=0.02))
    fuser.adding(PosedFrame(frame, depth.astype(np.float32), camera, np.eye(4), 0))()
    vertices, _triangles, _colors = fuser.triangles()
    far = vertices[:, 2] > 3
    assert far.sum() > 1000
    assert vertices[far, 1].mean() == pytest.approx(1.0, abs=0.0015)


def test_what_is_too_far_is_left_out(fusion: ModuleType) -> None:
    near, all_of_it = (list(fusion.posed_frames(given(max_depth=far))) for far in (2.0, 10.0))
    assert len(near) == len(all_of_it) == 3
    assert [frame.frame.index for frame in near] == [5, 30, 55]
    assert np.nanmax(near[0].depth) <= 2 < np.nanmax(all_of_it[0].depth)


def test_a_frame_without_pose_is_said(fusion: ModuleType, tmp_path: Path) -> None:
    lines = (ROOM / "trajectory.tum").read_text().splitlines()
    (tmp_path / "path.txt").write_text("\n".join(lines[:20]) + "\n")
    with pytest.raises(fusion.FormatError, match="no pose for frame 30"):
        list(fusion.posed_frames(given(trajectory=tmp_path / "path.txt")))


def test_a_path_is_laid_by_how_its_cameras_look(tmp_path: Path) -> None:
    """Straight, and turned about itself: places alone would not tell how."""
    true = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None)
    poses = true.world_from_camera.copy()
    poses[:, :3, 3] = [0, 0, 1] * true.times[:, None]
    moved = np.array([[0.0, -1, 0, 3], [1, 0, 0, 4], [0, 0, 1, 5], [0, 0, 0, 1]])
    write_tum(tmp_path / "true.txt", CameraTrajectory(true.times, poses))
    write_tum(tmp_path / "mine.txt", CameraTrajectory(true.times[5:], (moved @ poses)[5:]))
    run("docs/lay_path.py", tmp_path / "mine.txt", tmp_path / "true.txt", tmp_path / "there.txt")
    found = read_trajectory(tmp_path / "there.txt", times_by_name={}, rate=None)
    np.testing.assert_allclose(found.world_from_camera, poses[5:], atol=1e-5)


def test_distances_of_meshes_are_printed_and_drawn(fusion: ModuleType, tmp_path: Path) -> None:
    """A square of 1 m, and the same 3 cm beside it."""
    corners = np.array([[0, 0, 2], [1, 0, 2], [1, 1, 2], [0, 1, 2]], np.float32)
    triangles, grey = np.array([[0, 1, 2], [0, 2, 3]], np.int32), np.full((4, 3), 128, np.uint8)
    fusion.write_triangles(tmp_path / "true.ply", (corners, triangles, grey))
    fusion.write_triangles(tmp_path / "mesh.ply", (corners + np.float32([0, 0, 0.03]), triangles, grey))
    files = [tmp_path / "mesh.ply", tmp_path / "true.ply"]
    told = json.loads(run("docs/mesh_distance.py", *files))
    assert told["within"]["0.02"] == {"precision": 0.0, "recall": 0.0, "f": 0.0}
    assert told["within"]["0.05"]["f"] == 1.0
    assert (told["triangles"], told["accuracy"]) == (2, pytest.approx(0.03, abs=0.001))
    run("docs/mesh_picture.py", tmp_path / "true.ply", tmp_path / "drawn.jpg", files[0], "--up=-y", "--width", "64")
    picture = cv2.imdecode(np.frombuffer((tmp_path / "drawn.jpg").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (440, 128, 3)


def run(script: str, *words: str | Path) -> str:
    command = [sys.executable, str(ROOT / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


# The page


def commands(start: str) -> list[list[str]]:
    return [shlex.split(line) for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(start)]


def options(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--")}


@pytest.mark.parametrize(("command", "settings"), [("mesh", MeshSettings), ("poses", PosesSettings)])
def test_commands_of_recon_have_options_that_there_are(command: str, settings: Any) -> None:
    known = {f"--{name.replace('_', '-')}" for section in settings() for name in type(section[1]).model_fields}
    told = commands(f"recon {command} ")
    assert len(told) >= 8
    assert set().union(*map(options, told)) <= known


def test_scripts_of_the_page_are_there_with_their_options() -> None:
    told = commands("python ")
    for script in {words[1] for words in told}:
        source = (ROOT / script).read_text(encoding="utf-8")
        source += (ROOT / "docs" / "peers" / "paths.py").read_text(encoding="utf-8") if "peers" in script else ""
        used = set().union(*(options(words) for words in told if words[1] == script))
        assert used <= set(re.findall(r'"(--[a-z-]+)"', source))


def test_the_page_has_a_table_and_a_picture_for_each_clip(page: ModuleType) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for clip in page.CLIPS:
        assert f"## {clip.title}\n" in text
        assert (ROOT / "docs" / "pictures" / clip.picture).stat().st_size < 300_000
