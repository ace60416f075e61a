"""`recon poses`, on rendered clips with exact depth: what it writes, what it says, and what it says when it cannot."""

import io
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import cv2
import numpy as np
import pycolmap
import pytest
import yaml
from clips import rgb_frame, write_clip
from scenes import PHONE as CAMERA
from scenes import rendered, room
from scenes import walk as walked
from scipy.spatial.transform import Rotation

from recon.bundle import Observations
from recon.errors import FormatError
from recon.geometry import inverse, project, rigid, transform
from recon.io.cloud import file_from_world, read_ply
from recon.io.pictures import read_picture
from recon.io.pose_layout import layout_of
from recon.io.source import Source
from recon.io.trajectory import read_trajectory, write_tum
from recon.io.video import open_source
from recon.pipelines.masks import masked, open_masks
from recon.pipelines.pose_files import write_poses
from recon.pipelines.poses import Found
from recon.settings import SamplingSettings
from recon.stages.pose import Segment
from recon.stages.pose.segment import Structure
from recon.types import CameraTrajectory, DepthEstimate, DepthMap, Frame, Picture, ShotFrame
from recon_cli.cli import run

COUNT = 10

Views = Sequence[tuple[Picture, DepthMap]]


def path() -> np.ndarray:
    return walked()[1][: 2 * COUNT : 2]


def walk() -> Views:
    """A few steps through a furnished room."""
    return walked()[0][: 2 * COUNT : 2]


@cache
def pan() -> Views:
    """Six views, each turned by three degrees to the right, on the spot."""
    first = path()[0]
    turns = (Rotation.from_euler("y", 3.0 * number, degrees=True).as_matrix() for number in range(6))
    small = CAMERA.scaled(160, 120)
    return rendered(room(), small, [first @ rigid(turn, np.zeros(3)) for turn in turns], samples=1)


def written(folder: Path, views: Views) -> list[str]:
    """Writes pictures and their depth; returns what names them on a command line."""
    for number, (rgb, depth) in enumerate(views):
        for name, values in (("clip", rgb[..., ::-1]), ("depth", (1000 * depth).round().astype(np.uint16))):
            (folder / name).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / name / f"{number:04d}.png"), values)
    return [str(folder / "clip"), "--depth", str(folder / "depth"), "--fov", "65"]


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[Views], list[str]]:
    """As ``written``, in the test's own folder."""
    return lambda views: written(tmp_path, views)


class Made(NamedTuple):
    """What a command wrote, and what it said."""

    output: Path
    told: str


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The walk, on a command line."""
    return written(tmp_path_factory.mktemp("walk"), walk())


@pytest.fixture(scope="module")
def made(video: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Made]:
    """Runs `recon poses` on the walk, once for each name and its options; to be read alone."""
    folder = tmp_path_factory.mktemp("made")

    @cache
    def make(name: str, *options: str) -> Made:
        with redirect_stderr(io.StringIO()) as told:
            assert run(["poses", *video, *options, "-o", str(folder / name)]) == 0, told.getvalue()
        return Made(folder / name, words(told.getvalue()))

    return make


def words(text: str) -> str:
    """What a table says, without its lines."""
    return " ".join(text.replace("│", " ").split())


def facts_of(output: Path) -> dict[str, object]:
    """What stands in the settings beside a result."""
    facts: dict[str, object] = yaml.safe_load(Path(f"{output}.yaml").read_text("utf-8"))["provenance"]
    return facts


def error(estimated: np.ndarray, true: np.ndarray) -> float:
    """Largest distance, from the first camera."""
    relative = [inverse(poses[:1]) @ poses for poses in (estimated, true)]
    return float(np.linalg.norm(relative[0][:, :3, 3] - relative[1][:, :3, 3], axis=1).max())


def read(path: Path, **options: object) -> CameraTrajectory:
    return read_trajectory(path, **({"times_by_name": {}, "rate": None} | options))


# --- four films that end well ------------------------------------------------------------------------------------


def test_a_walk_is_followed(made: Callable[..., Made]) -> None:
    """The first camera stands at the origin and looks along +y, as the cloud of the same clip has it."""
    output, told = made("walk.tum")
    found = read(output)
    np.testing.assert_allclose(found.times, np.arange(COUNT) / 30, atol=1e-9)
    np.testing.assert_allclose(found.world_from_camera[0], file_from_world("z"), atol=1e-9)
    assert error(found.world_from_camera, path()) < 0.02
    facts = facts_of(output)["segments"]["walk.tum"]
    assert (facts["frames"], facts["runs"], facts["motion"], facts["units"]) == (COUNT, ["0 to 9"], "free", "metres")
    assert "10 of 10 frames placed" in told
    assert "the camera moves" in told
    report = json.loads(Path(f"{output}.report.json").read_text("utf-8"))
    assert (report["without_pose"], report["paths"][0]["motion"]) == (0, "free")


def test_a_camera_that_does_not_move_is_told(
    clip: Callable[[Views], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["poses", *clip([walk()[0]] * 5), "-o", str(tmp_path / "a.tum")]) == 0
    assert np.ptp(read(tmp_path / "a.tum").world_from_camera, axis=0).max() == 0
    assert "the camera does not move" in words(capfd.readouterr().err)


def test_a_camera_that_only_turns_is_told(
    clip: Callable[[Views], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["poses", *clip(pan()), "-o", str(tmp_path / "a.tum")]) == 0
    assert np.ptp(read(tmp_path / "a.tum").world_from_camera[:, :3, 3], axis=0).max() < 1e-9
    segment = facts_of(tmp_path / "a.tum")["segments"]["a.tum"]
    assert (segment["motion"], segment["moved"]) == ("turning", pytest.approx(0))
    assert segment["turned_degrees"] == pytest.approx(3 * 5, abs=0.5)
    assert "pictures cannot show lengths" in words(capfd.readouterr().err)


def test_a_cut_begins_another_world_in_a_file_of_its_own(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    """The longer one has the name; a later run that needs fewer files takes the others away, and nothing else."""
    elsewhere = [(255 - rgb[::-1], depth[::-1]) for rgb, depth in walk()[:3]]
    video = clip([*elsewhere, *walk()[:4]])
    for name in ("a.2.tum", "a.3.tum"):
        (tmp_path / name).write_text("mine")
    assert run(["poses", *video, "-o", str(tmp_path / "a.tum")]) == 0
    assert (tmp_path / "a.2.tum").read_text() == "mine"
    first, second = (read(tmp_path / name).times for name in ("a.tum", "a.4.tum"))
    np.testing.assert_allclose(first * 30, range(3, 7), atol=1e-6)
    np.testing.assert_allclose(second * 30, range(3), atol=1e-6)
    assert list(facts_of(tmp_path / "a.tum")["segments"]) == ["a.tum", "a.4.tum"]
    assert run(["poses", *video, "--static", "--start", "0.09", "-o", str(tmp_path / "a.tum")]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.tum")) == ["a.2.tum", "a.3.tum", "a.tum"]


def test_one_frame_is_enough(made: Callable[..., Made]) -> None:
    assert len(read(made("1.tum", "--end", "0.01").output).times) == 1


def test_three_frames_are_tracked_where_they_are_too_few_for_colmap(made: Callable[..., Made]) -> None:
    """COLMAP is not said to have done it."""
    output, told = made("3.tum", "--poses", "colmap", "--end", "0.1")
    assert len(read(output).times) == 3
    assert "too few for structure from motion: poses are tracked instead" in told
    assert "estimated by COLMAP (tracked where it finds no way)" in told


def test_a_trajectory_of_another_time_says_which_times_it_has(
    clip: Callable[[Views], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.tum"
    other.write_text("".join(f"{time} 0 0 0 0 0 0 1\n" for time in (100, 101)), encoding="utf-8")
    assert run(["poses", *clip(walk()[:3]), "--trajectory", str(other), "-o", str(tmp_path / "a.tum")]) == 1
    assert "the trajectory covers 100.00 to 101.00 s, and none of its 3 frames (0.00 to 0.07 s)" in words(
        capfd.readouterr().err
    )


def test_nothing_to_see_is_one_line_and_no_file(
    clip: Callable[[Views], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grey = (np.full((240, 320, 3), 128, np.uint8), np.full((240, 320), 2, np.float32))
    assert run(["poses", *clip([grey] * 3), "-o", str(tmp_path / "a.tum")]) == 1
    assert "none of its 3 frames could be placed" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "depth"]


# --- files -------------------------------------------------------------------------------------------------------


def test_a_cloud_by_the_written_poses_is_the_cloud_by_their_estimation(
    video: list[str], made: Callable[..., Made], tmp_path: Path
) -> None:
    """Poses and clouds stand in one world: one command's poses are the other's trajectory."""
    given = ["--trajectory", str(made("walk.tum").output)]
    assert run(["pointcloud", *video, "--voxel", "0.05", "-o", str(tmp_path / "own.ply")]) == 0
    assert run(["pointcloud", *video, *given, "--voxel", "0.05", "-o", str(tmp_path / "given.ply")]) == 0
    own, by_file = (read_ply(tmp_path / name).points for name in ("own.ply", "given.ply"))
    np.testing.assert_allclose(own.mean(axis=0), by_file.mean(axis=0), atol=0.01)


def test_a_colmap_folder_has_pictures_points_and_tracks(made: Callable[..., Made]) -> None:
    folder = made("model", "--pictures").output
    names = [f"frame_{number:06d}.jpg" for number in range(1, COUNT + 1)]
    assert sorted(path.name for path in (folder / "images").iterdir()) == names
    assert read_picture(folder / "images" / names[0]).shape == (240, 320, 3)
    require_model(folder / "sparse" / "0", names)


def test_a_model_names_the_pictures_that_are_there(made: Callable[..., Made]) -> None:
    """In text, this time."""
    folder = made("text", "--format", "colmap-text", "--end", "0.15").output
    assert [path.name for path in folder.iterdir()] == ["sparse"]
    require_model(folder / "sparse" / "0", [f"{number:04d}.png" for number in range(5)])


def require_model(folder: Path, names: list[str]) -> None:
    """Of pictures with these names: the first frames of the walk."""
    model, count = pycolmap.Reconstruction(folder), len(names)
    assert sorted(image.name for image in model.images.values()) == names
    assert (model.cameras[1].width, model.cameras[1].height) == (320, 240)
    assert model.num_points3D() > 50
    assert model.compute_mean_track_length() >= 2
    assert model.compute_mean_reprojection_error() < 1
    by_header = [point.error for point in model.points3D.values()]
    model.update_point_3d_errors()
    np.testing.assert_allclose(by_header, [point.error for point in model.points3D.values()], rtol=1e-6)
    again = read(folder, rate=30.0)
    np.testing.assert_allclose(again.times, np.arange(count) / 30, atol=1e-9)
    assert error(again.world_from_camera, path()[:count]) < 0.02


def test_what_cannot_have_been_seen_stays_out_of_a_model(tmp_path: Path) -> None:
    """Three cameras see five points. One is followed to a wrong place, one lies behind: splats would believe both."""
    poses = np.stack([rigid(np.eye(3), np.array([x, 0.0, 0.0])) for x in (0.0, 0.1, 0.2)])
    points = np.array([[-0.5, 0, 2], [0, 0, 2], [0.5, 0, 2], [0, 0.4, 2], [0, 0.2, -3]])
    camera, point = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    pixel = np.stack(
        [
            project(transform(inverse(poses[c]), points[p : p + 1]), CAMERA)[0]
            for c, p in zip(camera, point, strict=True)
        ]
    )
    pixel[point == 4] = 100.0
    pixel[2] += (30, 10)  # of point 2 the first, of point 3 all but one
    pixel[[3, 8]] += (0, 9)
    structure = Structure(
        np.arange(3), points, np.zeros((5, 3), np.uint8), Observations(camera, point, pixel, np.full(15, np.nan))
    )
    segment = Segment(CameraTrajectory(np.arange(3.0), poses), "free", CAMERA, structure)
    found = Found(segment, np.arange(3), "metres", estimated=True)
    info = SimpleNamespace(width=2 * CAMERA.width, height=2 * CAMERA.height)
    whole = SimpleNamespace(poses=SimpleNamespace(up="camera"), source=SimpleNamespace(info=info))
    write_poses(whole, found, tmp_path / "0", layout_of("colmap", None), ["a.jpg", "b.jpg", "c.jpg"])  # type: ignore[arg-type]
    model = pycolmap.Reconstruction(tmp_path / "0")
    model.update_point_3d_errors()
    left = [model.points3D[key] for key in sorted(model.points3D)]
    np.testing.assert_allclose([each.xyz for each in left], points[:3])
    assert [each.track.length() for each in left] == [3, 3, 2]
    assert max(each.error for each in left) < 1e-6


def test_transforms_name_the_pictures_that_are_there(video: list[str], tmp_path: Path) -> None:
    output = tmp_path / "a.json"
    assert run(["poses", *video, "--static", "-o", str(output)]) == 0
    named = tmp_path / json.loads(output.read_text())["frames"][3]["file_path"]
    assert named.resolve() == (Path(video[0]) / "0003.png").resolve()


def test_transforms_come_with_pictures_and_points(made: Callable[..., Made]) -> None:
    output = made("nerf/transforms.json", "--pictures").output
    content = json.loads(output.read_text("utf-8"))
    assert all((output.parent / frame["file_path"]).is_file() for frame in content["frames"])
    assert {Path(frame["file_path"]).parent.name for frame in content["frames"]} == {"images"}
    assert len(read_ply(output.parent / content["ply_file_path"]).points) > 50
    assert (content["w"], content["fl_x"]) == (320, pytest.approx(CAMERA.fx))
    assert error(read(output).world_from_camera, path()) < 0.02


def test_results_in_one_folder_share_nothing(video: list[str], tmp_path: Path) -> None:
    """Neither pictures nor points: a.ply is what `recon pointcloud` calls its cloud."""
    (tmp_path / "a.ply").write_text("a cloud")
    for name, end in (("a", "0.09"), ("b", "0.02")):
        output = str(tmp_path / f"{name}.json")
        assert run(["poses", *video, "--static", "--end", end, "--pictures", "-o", output]) == 0
    for name, count in (("a", 3), ("b", 1)):
        frames = json.loads((tmp_path / f"{name}.json").read_text())["frames"]
        files = [f"{name}-images/frame_{number:06d}.jpg" for number in range(1, count + 1)]
        assert [frame["file_path"] for frame in frames] == files
        assert len(list((tmp_path / f"{name}-images").iterdir())) == count
    assert (tmp_path / "a.ply").read_text() == "a cloud"


@pytest.mark.parametrize(("output", "folder"), [("a.json", "a-images"), ("model", "model/images")])
def test_pictures_that_ffmpeg_called_as_ours_are_not_overwritten(
    video: list[str], tmp_path: Path, output: str, folder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first result names pictures that it did not write; somebody extracts them. --overwrite replaces these."""
    command = ["poses", *video, "--static", "--end", "0.02", "-o", str(tmp_path / output)]
    assert run(command) == 0
    mine = tmp_path / folder / "frame_000001.jpg"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert run([*command, "--pictures"]) == 2
    assert f"{folder}: is there already, and not from {output}; --overwrite replaces it" in capfd.readouterr().err
    assert mine.read_text() == "mine"
    for more in (["--overwrite"], []):  # what recon wrote is replaced
        assert run([*command, "--pictures", *more]) == 0
    assert read_picture(mine).shape == (240, 320, 3)
    holiday = mine.with_name("holiday.jpg")
    holiday.write_text("mine")
    assert run([*command, "--pictures", "--overwrite"]) == 2
    assert holiday.read_text() == "mine"


def test_kitti_begins_at_the_first_camera_and_has_its_times_beside_it(
    video: list[str], made: Callable[..., Made], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its rows are frames only where every frame has a pose; else that is said."""
    output, told = made("a.kitti")
    rows = np.loadtxt(output).reshape(-1, 3, 4)
    np.testing.assert_allclose(rows[0], np.eye(4)[:3], atol=1e-9)
    np.testing.assert_allclose(np.loadtxt(output.with_name("a.times.txt")) * 30, range(COUNT), atol=1e-9)
    assert "row n is not frame n" not in told
    few = CameraTrajectory(np.arange(4) / 30, path()[:4])
    write_tum(tmp_path / "few.tum", few)
    given = ["--trajectory", str(tmp_path / "few.tum"), "-o", str(tmp_path / "a.kitti")]
    assert run(["poses", *video, *given]) == 0
    told = words(capfd.readouterr().err)
    assert "only 4 of 10 frames have a pose: row n is not frame n, see a.times.txt" in told
    assert "6 of 10 frames have no pose and are left out" in told


@pytest.mark.parametrize(
    ("name", "more"), [("nerf/transforms.json", ["--pictures"]), ("a.kitti", []), ("walk.tum", [])]
)
def test_what_was_written_comes_back_with_its_times(
    made: Callable[..., Made], name: str, more: list[str], tmp_path: Path
) -> None:
    """For a video of the same frames: nothing but the file says when they are."""
    film = str(write_clip(tmp_path / "walk.mp4", (rgb_frame(rgb) for rgb, _depth in walk()), rate=30))
    output = made(name, *more).output
    given = ["--trajectory", str(output), "--fov", "65"]
    assert run(["poses", film, *given, "-o", str(tmp_path / "again.tum")]) == 0
    again, first = read(tmp_path / "again.tum"), read(output)
    np.testing.assert_allclose(first.times, np.arange(COUNT) / 30, rtol=0, atol=1e-9)
    assert len(again.times) == COUNT
    np.testing.assert_allclose(again.world_from_camera, first.world_from_camera, atol=1e-9)


def test_a_lens_that_distorts_is_told_where_its_pictures_are_not_written(
    video: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Splats from the user's own pictures with these cameras would be wrong."""
    values = {"fx": 250, "fy": 250, "cx": 160, "cy": 120, "width": 320, "height": 240, "k1": -0.1}
    (tmp_path / "lens.json").write_text(json.dumps(values))
    lens = ["--intrinsics", str(tmp_path / "lens.json"), "--static", "--end", "0.05"]
    assert run(["poses", video[0], *lens, "-o", str(tmp_path / "a.json")]) == 0
    told = words(capfd.readouterr().err)
    assert "not those of the input, but these without distortion" in told
    assert "--pictures writes them" in told


def test_a_given_trajectory_is_brought_to_the_frames_without_depth(
    video: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its poses it is interpolated; its world stays as it is."""
    monkeypatch.setitem(sys.modules, "recon.models.choose", None)
    write_tum(tmp_path / "a.tum", CameraTrajectory(np.arange(0, COUNT, 2) / 30, path()[::2]))
    assert run(["poses", video[0], "--trajectory", str(tmp_path / "a.tum"), "-o", str(tmp_path / "b.tum")]) == 0
    found = read(tmp_path / "b.tum")
    np.testing.assert_allclose(found.times * 30, range(COUNT), atol=1e-6)  # the last one is half a step beside a pose
    np.testing.assert_allclose(found.world_from_camera[::2], path()[::2], atol=1e-9)
    middle = (path()[0, :3, 3] + path()[2, :3, 3]) / 2
    np.testing.assert_allclose(found.world_from_camera[1, :3, 3], middle, atol=1e-9)
    assert not (tmp_path / "b.tum.report.json").exists(), "there are no lengths of recon's to be trusted"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-o", "a.ply"], "must end in .tum, .txt, .kitti or .json, or be a folder"),
        (["-o", "a.tum", "--pictures"], "tum names no pictures"),
        (["-o", "a.tum", "--format", "kitti"], "a.tum: --format kitti must end in .kitti or .txt"),
        (["-o", "poses", "--format", "transforms"], "poses: --format transforms must end in .json"),
        (["-o", "a.json", "--format", "colmap"], "a.json: is to be a folder, without an ending"),
        (["--static", "--poses", "track"], "--static and --poses track contradict each other"),
        (["--poses", "still", "--trajectory", "a.tum"], "--poses still and --trajectory contradict each other"),
        (["--mask-invert"], "--mask-invert is for --mask"),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    options: list[str], says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["poses", "clip.mp4", *options]) == 2
    assert says in capfd.readouterr().err


@pytest.mark.parametrize(
    ("output", "there"),
    [("a.tum", "a.tum"), ("a.kitti", "a.times.txt"), ("a.json", "a.points.ply"), ("model", "model/notes.txt")],
)
def test_what_the_user_has_is_not_overwritten(
    video: list[str], tmp_path: Path, output: str, there: str, capfd: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / there
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("precious")
    assert run(["poses", *video, "--static", "-o", str(tmp_path / output)]) == 2
    assert mine.read_text() == "precious"
    assert "recon: error: " in capfd.readouterr().err


def test_an_interrupted_run_leaves_nothing_half_written(
    clip: Callable[[Views], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recon.pipelines.pose_files.write_poses", stopped)
    video = clip(walk()[:2])
    for output in ("a.tum", "model", "transforms.json"):
        pictures = [] if output == "a.tum" else ["--pictures"]
        assert run(["poses", *video, "--static", *pictures, "-o", str(tmp_path / output)]) == 130
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "depth"]


# --- masks -------------------------------------------------------------------------------------------------------


def paint(folder: Path, names: Sequence[str], *, size: tuple[int, int] = (240, 320), left: int = 0) -> Path:
    """Masks whose left half is ``left`` and whose right half is the opposite."""
    folder.mkdir(exist_ok=True)
    mask = np.full(size, 255 - left, np.uint8)
    mask[:, : size[1] // 2] = left
    for name in names:
        cv2.imwrite(str(folder / name), mask)
    return folder


def source_of(video: list[str], **sampling: float) -> Source:
    return open_source(video[0], SamplingSettings(**sampling))


def matched(masks: Path, source: Source) -> list[int]:
    """The number of the mask of each frame."""
    times = [frame.time for frame in source.frames()]
    return open_masks(masks, source, invert=False).match(source, times, lambda: [n / 30 for n in range(6)])


def test_black_is_left_out_at_any_size_of_the_maps(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    source = source_of(clip(walk()[:1]))
    folder = paint(tmp_path / "masks", ["0000.png"])
    estimate = DepthEstimate(0, 0.0, 0, np.ones((6, 8), np.float32))
    frame = ShotFrame(Frame(0, 0.0, np.zeros((6, 8, 3), np.uint8)), 0)
    for invert, left_known in ((False, False), (True, True)):
        masks = open_masks(folder, source, invert=invert)
        [(_, found)] = masked([(frame, estimate)], masks.kept([0]))
        assert np.isfinite(found.values[:, :4]).all() == left_known
        assert np.isfinite(found.values[:, 4:]).all() != left_known


def test_masks_belong_to_pictures_by_name_else_by_order(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    """COLMAP calls the mask of 0003.png 0003.png.png."""
    video = clip([walk()[0]] * 6)
    by_name = paint(tmp_path / "named", [f"{number:04d}.png.png" for number in (5, 4, 3, 2, 1, 0)])
    assert matched(by_name, source_of(video, every=1 / 15)) == [0, 2, 4]
    for count in (3, 6):  # one for each frame that is used, or for each that there is
        by_order = paint(tmp_path / f"of {count}", [f"m{number}.png" for number in range(count)])
        assert matched(by_order, source_of(video, every=1 / 15)) == ([0, 1, 2] if count == 3 else [0, 2, 4])


def test_masks_that_cannot_belong_are_refused(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    source = source_of(clip([walk()[0]] * 6))
    with pytest.raises(FormatError, match="4 masks for 6 frames"):
        matched(paint(tmp_path / "a", [f"m{number}.png" for number in range(4)]), source)
    with pytest.raises(FormatError, match="the picture 0002 has no mask of its name"):
        matched(paint(tmp_path / "b", ["0000.png", "0001.png"]), source)
    with pytest.raises(FormatError, match="must have the same shape"):
        matched(paint(tmp_path / "c", ["0000.png"], size=(240, 240)), source)


def test_a_video_of_masks_goes_by_time(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    """At half the rate each mask counts twice; encoders leave black and white only nearly so."""
    source = source_of(clip([walk()[0]] * 6))
    pictures = [np.full((240, 320, 3), 255 * (number % 2), np.uint8) for number in range(3)]
    film = write_clip(tmp_path / "masks.mp4", map(rgb_frame, pictures), rate=15)
    assert matched(film, source) == [0, 0, 1, 1, 2, 2]
    kept = open_masks(film, source, invert=False).kept([0, 1, 1, 2])
    assert [bool(each.all()) for each in kept] == [False, True, True, False]
    with pytest.raises(FormatError, match=r"frame 3 .* has no mask"):
        matched(write_clip(tmp_path / "short.mp4", map(rgb_frame, pictures[:2]), rate=30), source)


def test_masks_that_leave_nothing_are_blamed(
    clip: Callable[[Views], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """0 and 1 for 0 and 255, say."""
    video, folder = clip([walk()[0]] * 3), tmp_path / "masks"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number:04d}.png"), np.ones((240, 320), np.uint8))
    assert run(["poses", *video, "--mask", str(folder), "-o", str(tmp_path / "a.tum")]) == 1
    told = words(capfd.readouterr().err)
    assert (
        "0000.png: black all over, and so are all masks: nothing is left of any frame; white (255, not 1) is kept"
        in told
    )
    assert "could be placed" not in told
    cv2.imwrite(str(folder / "0002.png"), np.full((240, 320), 255, np.uint8))
    assert run(["poses", *video, "--mask", str(folder), "-o", str(tmp_path / "a.tum")]) == 0
    told = words(capfd.readouterr().err)
    assert told.count("0000.png: black all over, and 1 more: nothing is left of that frame") == 1


@pytest.mark.parametrize(
    ("picture", "fits"),
    [
        (np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8), False),
        (np.full((240, 320, 3), (255, 0, 0), np.uint8), False),
        (np.full((240, 320, 3), 120, np.uint8), False),
        (cv2.blur(np.tile(np.repeat(np.uint8([0, 255]), 160)[None, :, None], (240, 1, 3)), (31, 31)), True),
    ],
    ids=["many colours", "a colour", "grey", "a soft border"],
)
def test_masks_are_black_and_white(
    clip: Callable[[Views], list[str]],
    tmp_path: Path,
    picture: np.ndarray,
    fits: bool,  # noqa: FBT001 - a row of the table above
) -> None:
    """Coded with loss, and with a soft border, they still are. A film that is given by mistake is refused at once."""
    source = source_of(clip([walk()[0]] * 3))
    film = write_clip(tmp_path / "masks.mp4", [rgb_frame(picture)] * 3, rate=30, options={"crf": "40"})
    if fits:
        kept = next(open_masks(film, source, invert=False).kept([0]))
        assert kept.mean() == pytest.approx(0.5, abs=0.02)
        return
    with pytest.raises(FormatError, match=r"masks\.mp4 \(0\.00 s\): is no mask: .* is neither black nor white"):
        open_masks(film, source, invert=False)
    cv2.imwrite(str(tmp_path / "0000.png"), picture[..., ::-1])
    with pytest.raises(FormatError, match=r"0000\.png: is no mask"):
        open_masks(tmp_path / "0000.png", source, invert=False)


def test_what_moves_is_masked_out_of_poses_and_cloud(clip: Callable[[Views], list[str]], tmp_path: Path) -> None:
    """The left half shows another place that slides along: with its mask, the right half alone says how one walks."""
    views = [(rgb.copy(), depth.copy()) for rgb, depth in walk()[:6]]
    for number, (rgb, depth) in enumerate(views):
        rgb[:, :160] = np.roll(walk()[0][0], 12 * number, axis=1)[:, 160:]
        depth[:, :160] = 0.5
    masks = ["--mask", str(paint(tmp_path / "masks", [f"{number:04d}.png" for number in range(6)]))]
    video = clip(views)
    assert run(["poses", *video, *masks, "-o", str(tmp_path / "a.tum")]) == 0
    assert error(read(tmp_path / "a.tum").world_from_camera, path()[:6]) < 0.03
    given = ["--trajectory", str(tmp_path / "a.tum")]
    assert run(["pointcloud", *video, *masks, *given, "--voxel", "0.05", "-o", str(tmp_path / "a.ply")]) == 0
    points = read_ply(tmp_path / "a.ply").points
    distance = np.linalg.norm(points - read(tmp_path / "a.tum").world_from_camera[:1, :3, 3], axis=1)
    assert distance.min() > 0.8, "nothing of what is half a metre away"
