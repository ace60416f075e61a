"""`recon depth` with an anchor: lengths along +z in one unit, NaN where they are not known, and what tells of them."""

import json
import logging
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scenes import TrueDisparityNetwork, View, hand_held, rendered, room
from scipy.spatial.transform import Rotation

from recon.errors import AlignmentError
from recon.evaluation.report import read_json
from recon.geometry import inverse, transform, unproject
from recon.io.depth import DepthFolder, MapFormat
from recon.io.store import ShotSpan, shot_spans
from recon.io.video import open_source
from recon.pipelines.depth import Unobserved
from recon.pipelines.maps import Lengths, Resized, asks_for_lengths, in_one_unit, value_range, write_maps
from recon.pipelines.metres import Gauge
from recon.settings import AnchorSettings, DepthMapSettings, DepthRunSettings, SamplingSettings
from recon.smoothing import DriftFit, LineCurve
from recon.types import DepthEstimate, DepthMap, Intrinsics, Quantity, Units
from recon_cli.cli import run

CAMERA = Intrinsics.from_fov(65.0, 160, 120)
FRAMES = 6
UNIT = 0.25
"""Map units for a metre, in the SLAM map of these tests."""


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    """world_from_camera of every frame."""
    return hand_held(FRAMES, 0.6).world_from_camera


@pytest.fixture(scope="module")
def views(poses: np.ndarray) -> list[View]:
    """A walk through the room."""
    return rendered(room(), CAMERA, poses, samples=1)


@pytest.fixture(scope="module")
def negatives(views: list[View]) -> list[View]:
    """The same walk as a film negative: another shot, of the same depth."""
    return [(255 - rgb, depth) for rgb, depth in views]


class Counting(TrueDisparityNetwork):
    """Counts its passes."""

    decodes = 0

    def decode(self, features: Sequence[bytes], size: tuple[int, int]) -> np.ndarray:
        Counting.decodes += 1
        return super().decode(features, size)


@pytest.fixture(autouse=True)
def network(views: list[View], negatives: list[View], monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    """`--model auto` knows the truth of both shots, each in a scale and shift of its own; there is no MoGe."""
    Counting.decodes = 0
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Counting([*views, *negatives]))
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
    return Counting


def write_pictures(folder: Path, views: Sequence[View]) -> Path:
    folder.mkdir()
    for number, (rgb, _depth) in enumerate(views):
        (folder / f"{number:03d}.png").write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    return folder


@pytest.fixture
def film(tmp_path: Path, views: list[View]) -> Path:
    """One shot."""
    return write_pictures(tmp_path / "film", views)


@pytest.fixture
def two_shots(tmp_path: Path, views: list[View], negatives: list[View]) -> Path:
    """The walk, and its negative."""
    return write_pictures(tmp_path / "two", [*views, *negatives])


@pytest.fixture
def first(tmp_path: Path, views: list[View]) -> tuple[str, str]:
    """True depth of the first frame."""
    np.save(tmp_path / "first.npy", views[0][1])
    return "--first-frame-depth", str(tmp_path / "first.npy")


@pytest.fixture
def sparse(tmp_path: Path, views: list[View], poses: np.ndarray) -> tuple[str, str]:
    """A COLMAP model as a perfect SfM would find it: 99 landmarks in each frame, in a unit of its own."""
    folder = tmp_path / "sparse"
    folder.mkdir()
    rows, columns = np.mgrid[10:120:12, 8:160:16].reshape(2, -1)
    points, images = [], []
    for number, (pose, (_rgb, depth)) in enumerate(zip(poses, views, strict=True)):
        seen = transform(pose, unproject(depth, CAMERA).astype(float)[rows, columns]) * UNIT
        start = len(points) + 1
        points += [f"{start + i} {x} {y} {z} 9 9 9 0.5 {number + 1} {i}" for i, (x, y, z) in enumerate(seen)]
        camera_from_world = inverse(pose)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat()
        tx, ty, tz = camera_from_world[:3, 3] * UNIT
        images.append(f"{number + 1} {w} {x} {y} {z} {tx} {ty} {tz} 1 {number:03d}.png")
        places = zip(columns + 0.5, rows + 0.5, strict=True)
        images.append(" ".join(f"{u} {v} {start + i}" for i, (u, v) in enumerate(places)))
    camera = f"1 PINHOLE 160 120 {CAMERA.fx} {CAMERA.fy} {CAMERA.cx} {CAMERA.cy}\n"
    (folder / "cameras.txt").write_text(camera)
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    return "--sparse", str(folder)


def depth(video: Path, output: Path, *options: str) -> int:
    return run(["depth", str(video), "-o", str(output), "-q", *options])


def written(output: Path, quantity: Quantity = "depth") -> list[DepthMap]:
    folder = DepthFolder(output, scale=1.0, quantity=quantity)
    return list(folder.maps(range(len(folder))))


def described(output: Path) -> tuple[str, str]:
    description = json.loads((output / "depth.json").read_text())
    return description["quantity"], description["units"]


def facts(output: Path) -> dict[str, object]:
    provenance: dict[str, object] = yaml.safe_load(output.with_name(f"{output.name}.yaml").read_text())["provenance"]
    return provenance


# The command


@pytest.mark.parametrize(("kind", "step"), [("npz", 0.0), ("exr", 0.0), ("png", 1e-3), ("ffv1", 1e-3)])
def test_depth_of_the_first_frame_makes_every_map_metric(
    film: Path, first: tuple[str, str], views: list[View], tmp_path: Path, kind: MapFormat, step: float
) -> None:
    if kind == "exr":
        pytest.importorskip("OpenEXR")
    out = tmp_path / "out"
    assert depth(film, out, *first, "--format", kind) == 0
    assert described(out) == ("depth", "metres")
    maps = written(out)
    assert len(maps) == FRAMES
    for found, (_rgb, true) in zip(maps, views, strict=True):
        np.testing.assert_allclose(found, true, rtol=1e-3, atol=step / 2)
    assert (tmp_path / "out.preview.mp4").stat().st_size > 0


def test_a_map_of_slam_units_gives_slam_units(
    film: Path, sparse: tuple[str, str], views: list[View], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert depth(film, out, *sparse) == 0
    assert described(out) == ("depth", "slam")
    for found, (_rgb, true) in zip(written(out), views, strict=True):
        np.testing.assert_allclose(found, UNIT * true, rtol=0.01)
    assert depth(film, out, *sparse, "--slam-units", "metres") == 0
    assert described(out) == ("depth", "metres"), "who made the map may know better"


@pytest.mark.parametrize("options", [(), ("--anchor", "none"), ("--anchor", "none", "first")])
def test_without_an_anchor_disparity_is_written_as_ever(
    film: Path, first: tuple[str, str], tmp_path: Path, options: tuple[str, ...]
) -> None:
    declined = [*options[:2], *(first if "first" in options else ())]
    assert depth(film, tmp_path / "out", *declined) == 0
    assert described(tmp_path / "out") == ("disparity", "relative")
    assert "shots" not in facts(tmp_path / "out")
    assert depth(film, tmp_path / "plain") == 0
    for one, other in zip(
        written(tmp_path / "out", "disparity"), written(tmp_path / "plain", "disparity"), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_metric_maps_stay_as_they_are(film: Path, views: list[View], tmp_path: Path) -> None:
    (tmp_path / "true").mkdir()
    for number, (_rgb, true) in enumerate(views):
        np.save(tmp_path / "true" / f"{number:03d}.npy", true)
    assert depth(film, tmp_path / "out", "--depth", str(tmp_path / "true")) == 0
    assert described(tmp_path / "out") == ("depth", "metres")
    for found, (_rgb, true) in zip(written(tmp_path / "out"), views, strict=True):
        np.testing.assert_array_equal(found, true)


def test_a_shot_without_anchor_is_unknown_not_of_other_units(
    two_shots: Path, first: tuple[str, str], views: list[View], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every frame keeps its map, so that maps and frames go together; what it does not know, it does not say."""
    out = tmp_path / "out"
    assert run(["depth", str(two_shots), "-o", str(out), *first]) == 0
    maps = written(out)
    assert len(maps) == 2 * FRAMES
    np.testing.assert_allclose(maps[FRAMES - 1], views[-1][1], rtol=1e-3)
    assert all(np.isnan(values).all() for values in maps[FRAMES:])
    said = capfd.readouterr().err
    assert f"{FRAMES} frames of 1 shot (the first is frame {FRAMES}) have no depth in m: their maps are written" in said
    assert "│ unknown " in said
    shots = facts(out)["shots"]
    assert isinstance(shots, list)
    assert (shots[0]["units"], shots[1]) == ("metres", None)


def test_a_run_says_whether_its_lengths_can_be_trusted(
    two_shots: Path, first: tuple[str, str], sparse: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a good map: yes. The report goes when the next run of the same name has nothing to say."""
    out = tmp_path / "out"
    assert run(["depth", str(two_shots), "-o", str(out), "--end", "0.19", *sparse]) == 0
    assert "lengths to be trusted" in capfd.readouterr().err
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert (report["trust"], report["reasons"], report["camera"], report["poses"]) == ("yes", [], None, None)
    page = (tmp_path / "out.report.html").read_text()
    assert "Its lengths can be trusted." in page
    assert "field of view" not in page, "depth does not depend on it"
    assert depth(two_shots, tmp_path / "both", *first) == 0
    known, unknown = json.loads((tmp_path / "both.report.json").read_text())["shots"]
    assert (known["used"], unknown["used"]) == (True, False)
    assert unknown["origin"] == "its depth has not the units of the other shots"
    assert depth(two_shots, out, "--end", "0.19") == 0
    assert not list(tmp_path.glob("out.report.*"))
    (tmp_path / "out.report.json").write_text("{}")
    assert depth(two_shots, out, "--end", "0.19") == 2
    assert "out.report.json: is there already and was not made by recon" in capfd.readouterr().err


def test_black_bars_have_no_depth(views: list[View], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the network says there; as in a cloud."""
    padding = ((16, 16), (0, 0))
    barred = [(np.pad(rgb, (*padding, (0, 0))), np.pad(true, padding, constant_values=3)) for rgb, true in views]
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Counting(barred))
    np.save(tmp_path / "first.npy", barred[0][1])
    film = write_pictures(tmp_path / "film", barred)
    assert depth(film, tmp_path / "out", "--first-frame-depth", str(tmp_path / "first.npy")) == 0
    for found, (_rgb, true) in zip(written(tmp_path / "out"), barred, strict=True):
        np.testing.assert_array_equal(np.isnan(found[[0, 10, -10, -1]]), True)
        np.testing.assert_allclose(found[20:-20], true[20:-20], rtol=1e-3)


def test_one_store_serves_every_anchor(
    film: Path, first: tuple[str, str], sparse: tuple[str, str], network: type[Counting], tmp_path: Path
) -> None:
    store = ("--store", str(tmp_path / "store"))
    assert depth(film, tmp_path / "a", *store) == 0
    passes = network.decodes
    assert depth(film, tmp_path / "b", *store, *first) == 0
    assert depth(film, tmp_path / "c", *store, *sparse) == 0
    assert depth(film, tmp_path / "d", *store, *first, "--fit", "least-squares") == 0
    assert network.decodes == passes > 0


def test_what_stands_beside_repeats_the_run(
    film: Path, first: tuple[str, str], tmp_path: Path, snapshot: object
) -> None:
    assert depth(film, tmp_path / "a", *first) == 0
    told = facts(tmp_path / "a")
    (shot,) = told["shots"]  # type: ignore[misc]
    assert (told["quantity"], told["units"], told["frames"]) == ("depth", "metres", FRAMES)
    assert {"facts": list(told), "shot": list(shot)} == snapshot
    assert 0 <= shot["length_sigma"] < 0.01
    assert shot["inlier_ratio"] > 0.9
    assert depth(film, tmp_path / "b", "--config", str(tmp_path / "a.yaml")) == 0
    for one, other in zip(written(tmp_path / "a"), written(tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(one, other)


def test_slam_units_are_never_taken_for_metres(
    film: Path, sparse: tuple[str, str], views: list[View], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither by another run, nor by a benchmark: that one scores what a scale and shift make of them."""
    out, truth = tmp_path / "out", tmp_path / "truth"
    assert depth(film, out, *sparse) == 0
    assert DepthFolder(out, scale=1.0).units == "slam"
    assert depth(film, tmp_path / "again", "--depth", str(out)) == 2
    assert "these maps are in the units of a SLAM map, not in metres" in capfd.readouterr().err
    (truth / "depth").mkdir(parents=True)
    (truth / "rgb").symlink_to(film)
    for number, (_rgb, true) in enumerate(views):
        np.save(truth / "depth" / f"{number:03d}.npy", true)
    given = ("--predictions", str(out), "--prediction-kind", "depth", "-q", "-o", str(tmp_path / "report"))
    assert run(["eval", "folder", str(truth), *given]) == 0
    values = read_json(tmp_path / "report" / "report.json").values
    assert np.isnan(values["metric_abs_rel"])
    assert values["abs_rel"] < 0.01


@pytest.mark.parametrize(
    ("options", "exit_code", "says"),
    [
        (("--first-frame-depth", "nowhere.png"), 1, "nowhere.png: there is no such file"),
        (("--sparse", "nowhere"), 1, "nowhere"),
        (("--anchor", "sparse"), 2, "--anchor sparse needs --sparse"),
        (("--anchor", "first"), 1, "--first-frame-depth"),
        (("--anchor", "frames"), 1, "--metric-depth"),
    ],
)
def test_what_cannot_be_metric_is_said_in_one_line(
    film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], exit_code: int, says: str
) -> None:
    assert depth(film, tmp_path / "out", *options) == exit_code
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("recon: error: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert not (tmp_path / "out").exists()


def test_an_anchor_of_another_picture_is_refused(film: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "wide.npy", np.ones((50, 160), np.float32))
    assert depth(film, tmp_path / "out", "--first-frame-depth", str(tmp_path / "wide.npy")) == 1
    assert "give the depth of the whole picture" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("anchor", "asks"),
    [
        ({}, False),
        ({"anchor": "none"}, False),
        ({"anchor": "none", "first_frame_depth": "a.png"}, False),
        ({"anchor": "first"}, True),
        ({"anchor": "frames"}, True),
        ({"first_frame_depth": "a.png"}, True),
        ({"metric_depth": "a"}, True),
        ({"sparse": "a"}, True),
        ({"anchor_every": 1.0, "fov_frames": 3, "moge_weights": "m.pt"}, False),
    ],
)
def test_lengths_are_asked_for_by_an_anchor_and_by_nothing_else(anchor: dict[str, object], asks: bool) -> None:  # noqa: FBT001 - a parameter of the test
    assert asks_for_lengths(AnchorSettings.model_validate(anchor)) is asks


# Lengths


@dataclass(frozen=True)
class Held:
    """Maps in memory, ten a second; the first of ``shots`` is the number of the first map's shot, and so on."""

    values: Sequence[DepthMap]
    numbers: Sequence[int]
    quantity: Quantity = "disparity"

    @property
    def frame_count(self) -> int:
        return len(self.values)

    @property
    def shots(self) -> Sequence[ShotSpan]:
        return shot_spans(self.numbers)

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        for index in range(start, len(self.values)):
            yield DepthEstimate(index, index / 10, self.numbers[index], self.values[index])


def held(count: int, shots: Sequence[int] | None = None, *, seed: int = 0) -> Held:
    maps = np.random.default_rng(seed).uniform(0.1, 2, (count, 4, 6)).astype(np.float32)
    return Held(list(maps), shots or [0] * count)


def gauge(units: Units, *, anchored: bool = True, scale: Sequence[float] = (2.0,), shift: float = 0.1) -> Gauge:
    """A gauge whose scale changes every second."""
    knots = len(scale)
    line = LineCurve(np.arange(knots, dtype=float), np.array(scale), np.full(knots, shift), np.zeros((knots, 2, 2)))
    fit = DriftFit(line, line, 0.0, 0.0, np.ones(knots), 1.0, 0.0, 9) if anchored else None
    return Gauge(line, units, "a test", fit)


def test_a_gauge_that_drifts_is_followed() -> None:
    maps = held(11)
    found = [estimate.values for estimate in in_one_unit(maps, [gauge("metres", scale=(2.0, 3.0))]).estimates()]
    for number, values in enumerate(found):
        np.testing.assert_allclose(1 / values, (2 + number / 10) * maps.values[number] + 0.1, rtol=1e-5)


@given(start=st.integers(0, 11), scale=st.floats(0.1, 10), shift=st.floats(-0.5, 1))
def test_lengths_are_the_inverse_of_a_line(start: int, scale: float, shift: float) -> None:
    maps = held(12)
    lengths = in_one_unit(maps, [gauge("slam", scale=(scale,), shift=shift)])
    for estimate in lengths.estimates(start):
        line = scale * maps.values[estimate.index].astype(float) + shift
        np.testing.assert_array_equal(np.isnan(estimate.values), ~(line > 0))
        np.testing.assert_allclose(1 / estimate.values[line > 0.01], line[line > 0.01], rtol=1e-3)
    assert (lengths.quantity, lengths.units, lengths.frame_count) == ("depth", "slam", 12)


def test_of_several_units_those_of_the_anchor_count() -> None:
    """Maps of a metric network beside a SLAM map: the shots that the map knows are written, the others are unknown."""
    maps = Held(held(6).values, [0, 0, 1, 1, 2, 2], quantity="depth")
    gauges = [gauge("metres", anchored=False), gauge("slam"), gauge("relative", anchored=False)]
    lengths = in_one_unit(maps, gauges)
    assert lengths.units == "slam"
    assert [shot.shot for shot in lengths.unknown] == [0, 2]
    known = [np.isfinite(estimate.values).all() for estimate in lengths.estimates()]
    assert known == [False, False, True, True, False, False]
    assert in_one_unit(maps, [gauge("metres", anchored=False)] * 3).unknown == []


def test_no_unit_at_all() -> None:
    with pytest.raises(AlignmentError, match="nothing says how long a metre is in this video"):
        in_one_unit(held(2), [gauge("relative", anchored=False)])


def test_planes_stay_planes_when_lengths_are_enlarged() -> None:
    """A wall seen at a slant is a plane in disparity, so that is what is resized: no error but that of rounding."""
    columns = (np.arange(40, dtype=np.float32) + 0.5) / 40
    true = np.tile(1 / (2 * (0.2 + columns) + 0.1), (3, 1))
    small = np.tile(0.2 + columns.reshape(-1, 2).mean(axis=1), (3, 1)).astype(np.float32)
    lengths = Lengths(Resized(Held([small], [0]), (3, 40)), [gauge("metres")], "metres")
    found = next(lengths.estimates()).values
    np.testing.assert_allclose(found[:, 1:-1], true[:, 1:-1], rtol=1e-5)


def depths_of(values: Sequence[float], units: Units) -> Lengths:
    disparity = np.tile(1 / np.array(values, np.float32), (2, 1))
    return Lengths(Held([disparity], [0]), [gauge(units, scale=(1.0,), shift=0.0)], units)


@pytest.mark.parametrize(
    ("far", "units", "reach"),
    [
        (30.0, "metres", 30.0),
        (1e6, "metres", 262.1),  # 65534 steps of 0.2 % of 2 m
        (1e6, "slam", 262.1),
    ],
)
def test_16_bits_reach_as_far_as_their_steps_are_fine(far: float, units: Units, reach: float) -> None:
    """One pixel at the horizon must not make the steps of a room centimetres wide."""
    low, high = value_range(depths_of([2.0] * 200 + [far], units))
    assert (low, high) == (pytest.approx(2.0), pytest.approx(reach, rel=1e-3))


def test_millimetres_are_kept_for_near_things_in_metres_alone() -> None:
    assert value_range(depths_of([0.1] * 200 + [1e6], "metres"))[1] == pytest.approx(65.534)
    assert value_range(depths_of([0.1] * 200 + [1e6], "slam"))[1] == pytest.approx(13.1, rel=1e-2)
    nothing = Lengths(held(2), [gauge("relative")], "metres")
    assert value_range(nothing) == (0.0, 0.0)


def test_a_far_pixel_is_unknown_in_16_bits_and_counted(
    film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, settings = open_source(film, SamplingSettings()), DepthMapSettings(format="ffv1", resolution="network")
    maps = depths_of([2.0] * 100 + [10.0] * 100 + [1e6], "metres")
    with caplog.at_level(logging.WARNING, "recon"):
        write_maps(source, maps, tmp_path / "out", settings, Unobserved())
    assert "2 values do not fit into 16 bits" in caplog.text
    (found,) = written(tmp_path / "out")
    assert np.isnan(found[:, -1]).all()
    np.testing.assert_allclose(found[0, :-1], [2.0] * 100 + [10.0] * 100, atol=0.002)


def test_lengths_of_a_long_video_need_one_map_at_a_time() -> None:
    """Maps are made when they are asked for: all of them would be 13 MB."""
    one = np.full((128, 128), 0.5, np.float32)
    lengths = Lengths(Resized(Held([one[::2, ::2].copy()] * 200, [0] * 200), (128, 128)), [gauge("metres")], "metres")
    tracemalloc.start()
    total = sum(float(estimate.values[0, 0]) for estimate in lengths.estimates())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(200 / 1.1, rel=1e-5)
    assert peak < 12 * one.nbytes


# The page of figures


def test_the_page_of_metres_holds_commands_that_exist() -> None:
    """docs/metres.md is made by docs/make_metres.py: its commands have options that there are, and make its rows."""
    page = (Path(__file__).parents[1] / "docs" / "metres.md").read_text(encoding="utf-8")
    commands = [line.split() for line in page.splitlines() if line.startswith("recon depth")]
    known = {name.replace("_", "-") for section in DepthRunSettings() for name in type(section[1]).model_fields}
    given = {word.removeprefix("--").removeprefix("no-") for words in commands for word in words if word[:2] == "--"}
    assert len(commands) >= 25
    assert given <= known
    assert {"first-frame-depth", "metric-depth", "sparse", "scale-from", "fit"} <= given
