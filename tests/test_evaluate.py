"""`recon eval` from end to end, on rendered rooms and a network that knows the truth up to scale and shift."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import TrueDisparityNetwork, hand_held, rendered, room

from recon.evaluation.measures import Evaluation
from recon.evaluation.report import read_json
from recon.io.cloud import write_ply
from recon.pipelines import methods
from recon.types import Intrinsics, PointCloud
from recon_cli.cli import run

FRAMES = 40
CAMERA = Intrinsics.from_fov(65.0, 96, 72)
Views = list[tuple[np.ndarray, np.ndarray]]


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return hand_held(FRAMES, 2.0).world_from_camera


@pytest.fixture(scope="module")
def views(poses: np.ndarray) -> Views:
    return rendered(room(), CAMERA, poses, samples=1)


def write_clip(folder: Path, views: Views, poses: np.ndarray | None = None) -> Path:
    """A clip in the layout of `folder`."""
    for name in ("rgb", "depth"):
        (folder / name).mkdir(parents=True)
    for number, (rgb, depth) in enumerate(views):
        cv2.imwrite(str(folder / "rgb" / f"{number:04d}.png"), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        np.save(folder / "depth" / f"{number:04d}.npy", depth)
    if poses is not None:
        np.savetxt(folder / "poses.txt", poses.reshape(-1, 16))
        np.savetxt(folder / "K.txt", CAMERA.matrix)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, views: Views, poses: np.ndarray) -> Path:
    """Two clips: one with poses, one without."""
    root = tmp_path_factory.mktemp("data")
    write_clip(root / "posed", views, poses)
    write_clip(root / "still", views[:5])
    return root


class Counting(TrueDisparityNetwork):
    decodes = 0

    def decode(self, features: list[bytes], size: tuple[int, int]) -> np.ndarray:  # type: ignore[override]
        Counting.decodes += 1
        return super().decode(features, size)


@pytest.fixture
def network(views: Views, monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    Counting.decodes = 0
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Counting(views))
    return Counting


def evaluate(root: Path, output: Path, *options: str, data_set: str = "folder") -> int:
    return run(["eval", data_set, str(root), "-o", str(output), "-q", *options])


def report(output: Path) -> Evaluation:
    return read_json(output / "report.json")


@pytest.mark.usefixtures("network")
def test_a_network_that_knows_the_truth_scores_perfectly(data: Path, tmp_path: Path) -> None:
    """Through windows that each have a scale and shift of their own, the store's 16 bits, the fit and all measures."""
    assert evaluate(data, tmp_path / "out") == 0
    found = report(tmp_path / "out")
    assert [clip.name for clip in found.clips] == ["posed", "still"]
    assert [len(clip.frames) for clip in found.clips] == [FRAMES, 5]
    values = found.values
    assert values["abs_rel"] < 1e-3
    assert values["delta1"] == 1
    assert values["boundary_f1"] > 0.99
    assert abs(values["seam_jump"]) < 1e-4
    assert values["cloud_precision"] == 1
    assert values["cloud_recall"] > 0.97  # flying pixels are left out
    assert values["coverage"] == 1
    assert np.isnan(values["metric_abs_rel"])  # disparity has no metres
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("report.json", "report.md", "frames.csv", "index.html", "clips", "depth")
    }
    assert (tmp_path / "out.yaml").is_file()


def test_known_errors_score_known_values(data: Path, views: Views, tmp_path: Path) -> None:
    """Depth from files, in metres, 10 % too long: nothing of it is left after a fit, all of it without one."""
    for clip, count in (("posed", FRAMES), ("still", 5)):
        (tmp_path / "maps" / clip).mkdir(parents=True)
        for number in range(count):
            np.save(tmp_path / "maps" / clip / f"{number:04d}.npy", 1.1 * views[number][1])
    given = ("--predictions", str(tmp_path / "maps"), "--prediction-kind", "depth")
    assert evaluate(data, tmp_path / "out", *given) == 0
    values = report(tmp_path / "out").values
    assert values["metric_abs_rel"] == pytest.approx(0.1, rel=1e-4)
    assert values["metric_delta1"] == 1
    assert values["median_abs_rel"] == pytest.approx(0, abs=1e-6)
    assert values["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert report(tmp_path / "out").method == "maps"
    assert evaluate(data, tmp_path / "part", *given, "--clip", "posed", "--frames", "7") == 0  # maps for all are there
    assert len(report(tmp_path / "part").clips[0].frames) == 7


def test_what_is_scored_is_neither_inferred_nor_scored_again(
    data: Path, network: type[Counting], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert evaluate(data, tmp_path / "out", "--clip", "posed") == 0
    once, first = network.decodes, (tmp_path / "out" / "clips" / "posed.json").read_bytes()
    assert evaluate(data, tmp_path / "out", "--clip", "posed", "--cloud-threshold", "0.1", "--overwrite") == 0
    assert network.decodes == once  # other rules need no network
    assert (tmp_path / "out" / "clips" / "posed.json").read_bytes() != first
    assert evaluate(data, tmp_path / "out", "--clip", "posed", "--overwrite") == 0
    assert (tmp_path / "out" / "clips" / "posed.json").read_bytes() == first

    monkeypatch.setattr("recon.pipelines.evaluate.score_clip", lambda *_args, **_kwargs: pytest.fail("scored again"))
    assert evaluate(data, tmp_path / "out", "--clip", "posed") == 0
    assert network.decodes == once


KILLED = """
import sys, time
import numpy as np, cv2
from pathlib import Path
from scenes import TrueDisparityNetwork
from stand_in import choose
views = []
for file in sorted(Path(sys.argv[1], "posed", "rgb").iterdir()):
    rgb = cv2.cvtColor(cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    views.append((rgb, np.load(Path(sys.argv[1], "posed", "depth", file.stem + ".npy"))))
class Stuck(TrueDisparityNetwork):
    decodes = 0
    def decode(self, features, size):
        time.sleep(300 if self.decodes else 0)  # the first window comes at once, the second never
        self.decodes += 1
        return super().decode(features, size)
choose(lambda: Stuck(views))
from recon_cli.cli import run
sys.exit(run(["eval", "folder", sys.argv[1], "-o", sys.argv[2], "-q"]))
"""


@pytest.mark.usefixtures("network")
def test_a_killed_run_goes_on_and_ends_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    assert evaluate(data, tmp_path / "whole") == 0
    program = f"import sys; sys.path[:0] = ['tests', 'samples']\n{KILLED}"
    command = [sys.executable, "-c", program, str(data), str(tmp_path / "killed")]
    run_that_is_killed = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    depth = tmp_path / "killed" / "depth"
    while run_that_is_killed.poll() is None and not any(depth.glob("*/segment-*.json")):
        time.sleep(0.02)
    run_that_is_killed.send_signal(signal.SIGKILL)
    assert run_that_is_killed.wait(60) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "report.json").exists()
    assert evaluate(data, tmp_path / "killed") == 0
    for name in ("report.json", "frames.csv", "report.md", "clips/posed.json", "clips/still.json"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.usefixtures("network")
def test_single_pictures_each_have_a_fit_of_their_own(data: Path, tmp_path: Path) -> None:
    assert evaluate(data / "still", tmp_path / "out", data_set="folder-pictures") == 0
    (clip,) = report(tmp_path / "out").clips
    assert len(clip.fits) == 5
    assert len({round(scale, 3) for scale, _shift in clip.fits}) == 5  # a window each, with a scale of its own
    assert clip.values["abs_rel"] < 1e-3


@pytest.mark.usefixtures("network")
def test_a_part_of_a_data_set(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert evaluate(data, tmp_path / "out", "--clip", "still", "--frames", "3") == 0
    (clip,) = report(tmp_path / "out").clips
    assert (clip.name, len(clip.frames)) == ("still", 3)
    assert evaluate(data, tmp_path / "other", "--clip", "moving") == 2
    assert "--clip moving: no such clip; there are posed, still" in capfd.readouterr().err


@pytest.mark.usefixtures("network")
def test_the_report_of_another_method_is_not_replaced(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(data / "still", tmp_path / "out") == 0
    assert evaluate(data / "still", tmp_path / "out", "--method", "mine") == 2
    assert "holds the report of truth on folder (corrected)" in capfd.readouterr().err
    assert report(tmp_path / "out").method == "truth"
    assert evaluate(data / "still", tmp_path / "out", "--method", "mine", "--overwrite") == 0
    assert report(tmp_path / "out").method == "mine"


@pytest.mark.usefixtures("network")
def test_a_folder_of_somebody_else_is_left_alone(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    assert evaluate(data, tmp_path / "thesis", "--overwrite") == 2
    assert "holds something else than a report of recon" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["eval", "kiti", "."], "kiti: no such data set"),
        (["eval", "folder"], "give its root folder (or the true file)"),
        (["eval", "folder", "nowhere"], "nowhere: there is no such folder"),
        (["eval", "cloud", "true.ply"], "--predictions FILE"),
        (["eval", "--compare", "nowhere.json"], "nowhere.json"),
        (["eval", "folder", ".", "--protocol", "mine"], "protocol"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(words) in {1, 2}
    error = capfd.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_the_data_sets_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["eval"]) == 0
    said = capfd.readouterr().out
    assert "kitti-110" in said
    assert "<drive>_sync" in said or "proj_depth" in said


@pytest.mark.usefixtures("network")
def test_reports_side_by_side(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        assert evaluate(data / "still", tmp_path / name, "--method", name) == 0
    capfd.readouterr()
    both = [str(tmp_path / "one" / "report.json"), str(tmp_path / "two")]
    assert run(["eval", "--compare", *both, "-o", str(tmp_path / "both")]) == 0
    said = capfd.readouterr().out
    assert "| one |" in said
    assert "| two |" in said
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"comparison.md", "index.html"}


def test_clouds_and_camera_paths_in_files(tmp_path: Path, poses: np.ndarray) -> None:
    points = np.random.default_rng(0).uniform(0, 1, (4000, 3)).astype(np.float32)
    for name, moved in (("true", 0.0), ("mine", 0.03)):
        cloud = PointCloud(points + np.float32([moved, 0, 0]), np.zeros((4000, 3), np.uint8), np.zeros_like(points))
        write_ply(tmp_path / f"{name}.ply", cloud, [])
        path = poses.copy()
        path[:, :3, 3] *= 1 + moved  # longer by 3 %
        np.savetxt(tmp_path / f"{name}.txt", path[:, :3].reshape(-1, 12))
    given = ("--predictions", str(tmp_path / "mine.ply"), "--cloud-threshold", "0.2")
    assert evaluate(tmp_path / "true.ply", tmp_path / "cloud", *given, data_set="cloud") == 0
    assert report(tmp_path / "cloud").values["cloud_f1"] == 1
    assert (
        evaluate(
            tmp_path / "true.ply",
            tmp_path / "strict",
            "--predictions",
            given[1],
            "--cloud-threshold",
            "1e-3",
            data_set="cloud",
        )
        == 0
    )
    assert report(tmp_path / "strict").values["cloud_f1"] < 0.1

    given = ("--predictions", str(tmp_path / "mine.txt"))
    assert evaluate(tmp_path / "true.txt", tmp_path / "path", *given, data_set="trajectory") == 0
    values = report(tmp_path / "path").values
    assert values["path_scale"] == pytest.approx(3, rel=1e-4)
    assert values["ate_scaled"] == pytest.approx(0, abs=1e-6)
    assert values["ate"] > 1e-3


def test_a_mesh_is_measured_where_its_surface_is(tmp_path: Path) -> None:
    """Two triangles of a square metre have four corners and, sampled, points all over."""
    trimesh = pytest.importorskip("trimesh")
    corners = np.float64([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]]).export(tmp_path / "true.glb")
    trimesh.Trimesh(corners + np.float64([0, 0, 0.03]), [[0, 1, 2], [0, 2, 3]]).export(tmp_path / "mine.ply")
    for threshold, score in (("0.05", 1.0), ("0.02", 0.0)):
        given = ("--predictions", str(tmp_path / "mine.ply"), "--cloud-threshold", threshold)
        assert evaluate(tmp_path / "true.glb", tmp_path / threshold, *given, data_set="cloud") == 0
        values = report(tmp_path / threshold).values
        assert values["cloud_f1"] == score
        assert values["cloud_accuracy"] == pytest.approx(0.03, abs=0.005)


def test_paths_without_times_are_paired_by_name_or_by_order_or_not_at_all(
    shared: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The pictures of the HoloLens begin at 00003: counted from 1, all poses would be two pictures off (ATE 7.4 cm)."""
    hololens = shared / "data" / "hololens_dvmvs_a"
    given = ("--predictions", str(hololens / "sfm_colmap_txt"))
    assert evaluate(hololens / "poses.txt", tmp_path / "h", *given, data_set="trajectory") == 0
    assert report(tmp_path / "h").values["ate_scaled"] == pytest.approx(0.018, abs=0.001)

    kitchen = shared / "data" / "7scenes_redkitchen_a"  # every third picture has a pose in the model
    given = ("--predictions", str(kitchen / "sfm_colmap_bin"))
    assert evaluate(kitchen / "frames", tmp_path / "k", *given, data_set="trajectory") == 0
    assert report(tmp_path / "k").values["ate_scaled"] == pytest.approx(0.0174, abs=0.001)

    hospital = shared / "data" / "tartanair_hospital_a"  # half of the pictures, and poses without names
    given = ("--predictions", str(hospital / "sfm_colmap_txt"))
    assert evaluate(hospital / "poses_c2w_opencv.txt", tmp_path / "t", *given, data_set="trajectory") == 1
    assert "nothing says which belong together" in capfd.readouterr().err


def test_maps_of_the_wrong_kind_are_noticed(
    data: Path, views: Views, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Metres, scored as disparity: a negative scale mends them more or less, and nobody would know."""
    (tmp_path / "maps").mkdir()
    for number in range(5):
        np.save(tmp_path / "maps" / f"{number:04d}.npy", views[number][1])
    given = ("--predictions", str(tmp_path / "maps"))
    assert run(["eval", "folder", str(data / "still"), "-o", str(tmp_path / "out"), *given]) == 0
    assert "near and far are exchanged" in capfd.readouterr().err
    assert report(tmp_path / "out").provenance["method"]["kind"] == "disparity"  # type: ignore[index]


@pytest.mark.usefixtures("network")
def test_frames_without_truth_are_told(views: Views, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "clip", views[:5])
    (clip / "depth" / "0002.npy").unlink()
    assert run(["eval", "folder", str(clip), "-o", str(tmp_path / "out")]) == 0
    assert "4 of 5 frames have true depth" in capfd.readouterr().err
    assert len(report(tmp_path / "out").clips[0].frames) == 4


@pytest.mark.usefixtures("network")
def test_another_choice_of_frames_does_not_replace_a_report_in_silence(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(data / "still", tmp_path / "out") == 0
    assert evaluate(data / "still", tmp_path / "out", "--frames", "3") == 2
    assert "the same method with other settings (rules)" in capfd.readouterr().err
    assert run(["eval", "--compare", str(tmp_path / "out"), "-o", str(tmp_path / "out")]) == 2
    assert "holds a report" in capfd.readouterr().err


@pytest.mark.shared
def test_a_right_eye_beside_its_controls(shared: Path, tmp_path: Path) -> None:
    pair = shared / "data" / "middlebury_a" / "trainingQ" / "Motorcycle"
    given = ("--predictions", str(pair / "im1.png"))
    assert evaluate(pair, tmp_path / "out", *given, data_set="stereo") == 0
    assert report(tmp_path / "out").values["siou"] == 1
    assert "left eye twice" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    half = cv2.resize(cv2.imdecode(np.fromfile(pair / "im1.png", np.uint8), cv2.IMREAD_COLOR), None, fx=0.5, fy=0.5)
    cv2.imwrite(str(tmp_path / "half.png"), half)
    assert evaluate(pair, tmp_path / "half", "--predictions", str(tmp_path / "half.png"), data_set="stereo") == 1


@pytest.mark.usefixtures("network")
def test_memory_does_not_grow_with_the_clip(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most a handful of maps live at once while a clip of forty is scored."""
    living = most = 0

    class Watched(np.ndarray):
        def __del__(self) -> None:
            nonlocal living
            living -= 1

    def watched(self: methods._Stored) -> object:
        nonlocal living, most
        for estimate in self.store.estimates():
            living += 1
            most = max(most, living)
            yield estimate.values.view(Watched)

    monkeypatch.setattr(methods._Stored, "maps", watched)
    assert evaluate(data, tmp_path / "out", "--clip", "posed") == 0
    assert 0 < most <= 4


def test_the_manual_page_of_results_names_commands_that_exist() -> None:
    """docs/results.md is made by docs/make_results.py, and holds a command for each of its tables."""
    page = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if line.startswith("recon eval")]
    assert len(commands) >= 16
    assert all("-o WORK/" in line for line in commands)
