"""Anchors from end to end: the rendered room, a network whose disparity drifts by 20 %, and every way to put it right.

The network knows the truth but for a factor that grows from 1 to 1.2 along the clip, and a scale and shift for each of
its windows. So the first frame alone leaves depth 20 % too far at the end.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import pytest
import yaml
from scenes import TrueDisparityNetwork
from test_pipelines import ROOM, write_sfm

from recon.errors import AlignmentError
from recon.geometry import transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.depth import DepthFolder
from recon.io.store import ShotSpan
from recon.io.trajectory import read_trajectory
from recon.io.video import open_source
from recon.pipelines.anchors import MetricEye, MetricPictures, SlamMap
from recon.pipelines.depth import DepthMaps
from recon.pipelines.metres import CameraOf, Gauge, gauges
from recon.settings import SamplingSettings
from recon.types import (
    Correspondences,
    DepthEstimate,
    Intrinsics,
    MetricPicture,
    Picture,
    Quantity,
    SparsePoints,
    Units,
)
from recon_cli.cli import run

CONFIGS = Path(__file__).parents[1] / "configs" / "pointcloud"
FRAMES, RATE = 60, 20
DRIFT = 0.2
SIZE = (72, 96)
"""Of the network's maps: a quarter of the pictures."""
CAMERA = ("--intrinsics", str(ROOM / "intrinsics.json"))
POSES = ("--trajectory", str(ROOM / "trajectory.tum"))
NUMBERED = ("--trajectory-rate", str(RATE))


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Depth of all frames at the size of the network's maps."""
    depth = DepthFolder(ROOM / "depth", scale=1000.0).maps(range(FRAMES))
    return np.stack([cv2.resize(map_, SIZE[::-1], interpolation=cv2.INTER_NEAREST) for map_ in depth])


@pytest.fixture(scope="module")
def pictures() -> list[Picture]:
    return [frame.rgb for frame in open_source(ROOM / "room.mp4", SamplingSettings()).frames()]


class Drifting(TrueDisparityNetwork):
    """What it says of frame n is too small by the factor 1 + 20 % * n / 59, before scale and shift of the window."""

    def __init__(self, views: Sequence[tuple[Picture, np.ndarray]]) -> None:
        factors = np.linspace(1, 1 + DRIFT, len(views), dtype=np.float32)
        super().__init__([(rgb, depth * factor) for (rgb, depth), factor in zip(views, factors, strict=True)])

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 4, width // 4


class Scanner:
    """A metric network that knows the truth up to a factor for each picture: 5 % of scatter, and some are far off."""

    metric = True
    identity = {"name": "scanner"}  # noqa: RUF012 - a constant

    def __init__(self, pictures: Sequence[Picture], bad: Sequence[int] = ()) -> None:
        self._factors = np.exp(np.random.default_rng(0).normal(0, 0.05, len(pictures)))
        self._factors[list(bad)] = 3.0
        self._pictures, self._depth = pictures, DepthFolder(ROOM / "depth", scale=1000.0)
        self.asked: list[int] = []

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        number = next(number for number, rgb in enumerate(self._pictures) if np.array_equal(rgb, picture))
        self.asked.append(number)
        depth = self._depth[number] * np.float32(self._factors[number])
        return MetricPicture(depth, Intrinsics.from_fov(fov_x or 60.0, picture.shape[1], picture.shape[0]))


Metric = Callable[..., np.ndarray]


@pytest.fixture
def metric(truth: np.ndarray, pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Metric:
    """Runs `recon depth` with some options: depth over true depth, the median of each frame."""
    monkeypatch.setattr(
        "recon.models.choose.choose_network",
        lambda *_args, **_kwargs: Drifting(list(zip(pictures, truth, strict=True))),
    )
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)

    def metric(*options: str) -> np.ndarray:
        maps = tmp_path / "maps"
        order = ["depth", str(ROOM / "room.mp4"), "-o", str(maps), "-q", "--no-preview", "--resolution", "network"]
        assert run([*order, *options]) == 0
        found = DepthFolder(maps, scale=1.0)
        return np.array([np.nanmedian(found[n] / truth[n]) for n in range(FRAMES)])

    return metric


@pytest.fixture
def scanner(metric: Metric, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch) -> Scanner:  # noqa: ARG001 - it hides MoGe first
    """MoGe is there."""
    scanner = Scanner(pictures)
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: scanner)
    return scanner


def scans(folder: Path, numbers: Sequence[int], keep: float = 1.0) -> Path:
    """Depth maps of some frames, of which only some pixels are known."""
    folder.mkdir()
    depth, random = DepthFolder(ROOM / "depth", scale=1000.0), np.random.default_rng(0)
    for number in numbers:
        map_ = np.nan_to_num(depth[number] * 1000).round().astype(np.uint16)
        map_[random.random(map_.shape) > keep] = 0
        cv2.imwrite(str(folder / f"{number:06d}.png"), map_)
    return folder


def bare_points(path: Path, outliers: float = 0.0) -> Path:
    """Landmarks of the room without observations: every 40th pixel of every sixth frame, some of them anywhere."""
    intrinsics, random = read_intrinsics(ROOM / "intrinsics.json"), np.random.default_rng(0)
    poses = read_trajectory(ROOM / "trajectory.tum", times_by_name={}, rate=None).world_from_camera
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    seen = [transform(poses[n], unproject(depth[n], intrinsics).astype(float)[20::40, 20::40]) for n in range(0, 60, 6)]
    points = np.concatenate([each.reshape(-1, 3) for each in seen])
    wrong = random.random(len(points)) < outliers
    points[wrong] = random.uniform(points.min(axis=0), points.max(axis=0), (np.count_nonzero(wrong), 3))
    np.savetxt(path, points)
    return path


# --------------------------------------------------------------------------------------------------------- each option


def test_the_first_frame_alone_leaves_the_drift(metric: Metric) -> None:
    """--first-frame-depth is the seed method: right at the start, 20 % too far at the end."""
    ratio = metric("--first-frame-depth", str(ROOM / "depth" / "000000.png"))
    np.testing.assert_allclose(ratio, np.linspace(1, 1 + DRIFT, FRAMES), rtol=0.004)


def test_metric_depth_of_some_frames_takes_the_drift_away(metric: Metric, tmp_path: Path) -> None:
    folder = scans(tmp_path / "scans", [*range(0, FRAMES, 10), FRAMES - 1])
    ratio = metric("--metric-depth", str(folder), *NUMBERED)
    np.testing.assert_allclose(ratio, 1, atol=0.01)


def test_landmarks_take_the_drift_away(metric: Metric, tmp_path: Path) -> None:
    """As far as they reach: the last picture of the model is frame 54, and nothing is guessed beyond it."""
    model = write_sfm(tmp_path / "sparse", scale=1.0)
    ratio = metric("--anchor", "sparse", "--sparse", str(model), *NUMBERED, "--slam-units", "metres")
    np.testing.assert_allclose(ratio[:55], 1, atol=0.01)
    np.testing.assert_allclose(
        ratio[55:] / ratio[54], [1 + (n - 54) / 59 * DRIFT / 1.183 for n in range(55, 60)], rtol=2e-3
    )


def test_bare_landmarks_take_the_drift_away_and_stray_ones_do_not_matter(metric: Metric, tmp_path: Path) -> None:
    points = bare_points(tmp_path / "points.xyz", outliers=0.2)
    ratio = metric("--sparse", str(points), *POSES, *CAMERA)
    np.testing.assert_allclose(ratio, 1, atol=0.01)


def test_metric_frames_of_a_network_take_the_drift_away(
    metric: Metric, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is off by 5 % and two are nonsense: what they have in common is right to about 5 % / sqrt(11)."""
    scanner = Scanner(pictures, bad=[15, 35])
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: scanner)
    ratio = metric("--anchor", "frames", "--anchor-every", "0.25", *CAMERA)
    assert scanner.asked == [*range(0, FRAMES, 5), FRAMES - 1]
    np.testing.assert_allclose(ratio, 1, atol=0.06)
    assert np.polyfit(np.linspace(0, 1, FRAMES), ratio, 1)[0] == pytest.approx(0, abs=0.06)


def test_the_metric_first_frame_of_a_network_is_the_seed_method(metric: Metric, scanner: Scanner) -> None:
    ratio = metric("--anchor", "first", *CAMERA)
    assert scanner.asked == [0]
    np.testing.assert_allclose(ratio / ratio[0], np.linspace(1, 1 + DRIFT, FRAMES), rtol=0.004)


def test_least_squares_follows_what_the_robust_fit_leaves_out(metric: Metric, tmp_path: Path) -> None:
    """A fifth of the first frame's depth is four times too near: the published method is the one that believes it."""
    depth = DepthFolder(ROOM / "depth", scale=1000.0)[0].copy()
    depth[:, : depth.shape[1] // 5] /= 4
    np.save(tmp_path / "first.npy", depth)
    first = ("--first-frame-depth", str(tmp_path / "first.npy"))
    assert metric(*first)[0] == pytest.approx(1, abs=0.005)
    assert metric(*first, "--fit", "least-squares")[0] < 0.8


def test_the_first_of_some_metric_frames_is_the_seed_method_too(metric: Metric, tmp_path: Path) -> None:
    folder = scans(tmp_path / "scans", [0, 30, 59])
    ratio = metric("--anchor", "first", "--metric-depth", str(folder), *NUMBERED)
    np.testing.assert_allclose(ratio, np.linspace(1, 1 + DRIFT, FRAMES), rtol=0.004)


def test_lidar_that_hits_few_pixels_is_enough(metric: Metric, tmp_path: Path) -> None:
    folder = scans(tmp_path / "scans", range(0, FRAMES, 2), keep=0.02)
    ratio = metric("--metric-depth", str(folder), *NUMBERED)
    np.testing.assert_allclose(ratio[:-1], 1, atol=0.01)


@pytest.mark.parametrize(
    ("config", "given", "origin"),
    [
        ("first-frame", "first", "first-frame depth 000000.png"),
        ("plain-least-squares", "first", "first-frame depth 000000.png"),
        ("metric-frames", "scans", "metric depth scans, 6 frames"),
        ("metric-frames", "", "MoGe, every 2 s"),
        ("sparse", "sparse", "sparse points of "),
    ],
)
@pytest.mark.usefixtures("scanner")
def test_each_way_is_one_settings_file(metric: Metric, tmp_path: Path, config: str, given: str, origin: str) -> None:
    options = {
        "first": lambda: ("--first-frame-depth", str(ROOM / "depth" / "000000.png")),
        "scans": lambda: ("--metric-depth", str(scans(tmp_path / "scans", range(0, FRAMES, 10)))),
        "sparse": lambda: ("--sparse", str(write_sfm(tmp_path / "sparse", scale=1.0)), "--slam-units", "metres"),
        "": lambda: (),
    }[given]()
    metric("--config", str(CONFIGS / f"{config}.yaml"), *CAMERA, *NUMBERED, *options)
    facts = yaml.safe_load((tmp_path / "maps.yaml").read_text())
    [shot] = facts["provenance"]["shots"]
    assert shot["origin"].startswith(origin)
    assert np.isnan(shot["drift_per_second"]) == ("first" in given)
    assert facts["anchor"]["fit"] == ("least-squares" if config == "plain-least-squares" else "robust")


def test_depth_up_to_a_factor_needs_a_factor_alone(tmp_path: Path) -> None:
    """Maps of lengths that are twice too long: their inverse has no shift, and three landmarks' worth is enough."""
    folder = tmp_path / "twice"
    folder.mkdir()
    for number, map_ in enumerate(DepthFolder(ROOM / "depth", scale=1000.0).maps(range(FRAMES))):
        np.save(folder / f"{number:03d}.npy", 2 * map_)
    order = ["depth", str(ROOM / "room.mp4"), "--depth", str(folder), "-q", "--no-preview", "--resolution", "network"]
    order += ["-o", str(tmp_path / "maps"), "--first-frame-depth", str(ROOM / "depth" / "000000.png")]
    assert run(order) == 0
    shot = yaml.safe_load((tmp_path / "maps.yaml").read_text())["provenance"]["shots"][0]
    assert shot["scale"] == pytest.approx(2, rel=1e-3)
    assert shot["shift"] == 0
    ratio = DepthFolder(tmp_path / "maps", scale=1.0)[30] / DepthFolder(ROOM / "depth", scale=1000.0)[30]
    np.testing.assert_allclose(ratio, 1, rtol=2e-3)


# ------------------------------------------------------------------------------------------------------- units of maps


@pytest.mark.usefixtures("scanner")
@pytest.mark.parametrize("how", ["known-distance", "first-frame-depth", "moge"])
def test_a_map_of_arbitrary_units_becomes_metric(metric: Metric, tmp_path: Path, how: str) -> None:
    """The map's unit is 1 / 0.3 m; the network that says so is off by 5 % in each picture."""
    model = write_sfm(tmp_path / "sparse", scale=0.3)
    rows = [line.split() for line in (model / "points3D.txt").read_text().splitlines()]
    ends = np.array([[float(x) for x in row[1:4]] for row in (rows[0], rows[40])])
    metres = float(np.linalg.norm(ends[0] - ends[1])) / 0.3
    options = {
        "known-distance": ("--known-distance", rows[0][0], rows[40][0], f"{metres}"),
        "first-frame-depth": ("--first-frame-depth", str(ROOM / "depth" / "000000.png")),
        "moge": (),
    }[how]
    ratio = metric("--sparse", str(model), *NUMBERED, "--scale-from", how, *options)
    np.testing.assert_allclose(ratio[:55], 1, atol=0.06 if how == "moge" else 0.01)


# -------------------------------------------------------------------------------------------------- which map of which


def test_a_stack_with_times_needs_no_names(metric: Metric, tmp_path: Path) -> None:
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    numbers = [*range(0, FRAMES, 10), FRAMES - 1]
    np.savez(tmp_path / "scans.npz", depth=np.stack([depth[n] for n in numbers]), times=np.array(numbers) / RATE)
    np.testing.assert_allclose(metric("--metric-depth", str(tmp_path / "scans.npz")), 1, atol=0.01)


def test_maps_of_all_frames_go_by_their_order(metric: Metric) -> None:
    """And where every frame is known, every frame gets its own line: nothing is left to smooth over."""
    np.testing.assert_allclose(metric("--metric-depth", str(ROOM / "depth")), 1, atol=0.002)


@pytest.mark.usefixtures("metric")
@pytest.mark.parametrize(
    ("options", "exit_code", "says"),
    [
        (["--metric-depth", "SCANS"], 1, "scans: 3 maps for 60 frames: which are they of?"),
        (["--sparse", "POINTS"], 2, "points.xyz: bare points need --trajectory"),
        (["--sparse", "POINTS", *POSES, "--scale-from", "moge"], 2, "is in metres already (see --slam-units)"),
        (["--anchor", "frames", "--metric-depth", "nowhere"], 1, "nowhere: there is no such file or folder"),
        (["--anchor", "sparse"], 2, "--anchor sparse needs --sparse"),
        (["--metric-depth", "TWICE"], 1, "twice.npz: map 1 and map 2 are of one frame (0.150 s): keep one of them"),
        (["--first-frame-depth", "EMPTY"], 1, "empty.npy: holds no depth: none of its values is known and positive"),
        (["--anchor", "frames", "--first-frame-depth", "EMPTY"], 2, "--first-frame-depth is of one frame; give"),
    ],
    ids=["of no frames", "no trajectory", "metres already", "no folder", "no map", "twice", "no depth", "one frame"],
)
def test_what_is_given_in_vain_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], exit_code: int, says: str
) -> None:
    made = {"SCANS": scans(tmp_path / "scans", [3, 5, 9]), "POINTS": bare_points(tmp_path / "points.xyz")}
    made["TWICE"] = tmp_path / "twice.npz"
    np.savez(made["TWICE"], depth=np.ones((3, *SIZE)), times=[0.0, 0.15, 0.15])
    made["EMPTY"] = tmp_path / "empty.npy"
    np.save(made["EMPTY"], np.full(SIZE, -1.0))
    order = ["depth", str(ROOM / "room.mp4"), "-o", str(tmp_path / "maps"), "-q"]
    assert run([*order, *(str(made.get(option, option)) for option in options)]) == exit_code
    [line] = capfd.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "maps").exists()


@pytest.mark.usefixtures("metric")
def test_of_several_anchors_the_one_that_is_used_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = scans(tmp_path / "scans", [0, 30, 59])
    order = ["depth", str(ROOM / "room.mp4"), "-o", str(tmp_path / "maps"), "--no-preview", *NUMBERED]
    order += ["--metric-depth", str(folder), "--first-frame-depth", str(ROOM / "depth" / "000000.png")]
    told = "--first-frame-depth is not used: --metric-depth anchors the run (see --anchor)"
    assert run(order) == 0
    assert told in " ".join(capfd.readouterr().err.split())
    assert run([*order, "--anchor", "frames"]) == 0
    assert told not in " ".join(capfd.readouterr().err.split())


@pytest.mark.usefixtures("metric")
def test_maps_that_are_of_no_frame_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Where their times are a little off the video's, most of them say nothing."""
    depth = DepthFolder(ROOM / "depth", scale=1000.0)
    times = np.array([0.0, 1.0125, 2.0125])
    np.savez(tmp_path / "scans.npz", depth=np.stack([depth[round(time * RATE)] for time in times]), times=times)
    order = ["depth", str(ROOM / "room.mp4"), "-o", str(tmp_path / "maps"), "--no-preview"]
    assert run([*order, "--metric-depth", str(tmp_path / "scans.npz")]) == 0
    assert "2 of 3 maps are of no frame" in " ".join(capfd.readouterr().err.split())


@pytest.mark.usefixtures("metric")
def test_bare_landmarks_seen_by_an_assumed_camera_are_doubtful(tmp_path: Path) -> None:
    points = bare_points(tmp_path / "points.xyz")
    order = ["depth", str(ROOM / "room.mp4"), "-o", str(tmp_path / "maps"), "--no-preview", "-q"]
    for camera, doubts in (((), 1), (CAMERA, 0)):
        assert run([*order, "--sparse", str(points), *POSES, *camera]) == 0
        reasons = json.loads((tmp_path / "maps.report.json").read_text("utf-8"))["reasons"]
        assert sum("is assumed: give --fov or --intrinsics" in reason for reason in reasons) == doubts


# ------------------------------------------------------------------------------------------------ each shot for itself


class Shots:
    """``DepthMaps`` of shots of 10 frames each, 10 frames in a second, in scales of their own."""

    quantity: Quantity = "disparity"
    scales = (1.0, 2.0, 4.0)
    frame_count = 30
    shots = tuple(ShotSpan(shot, 10 * shot, 10) for shot in range(3))

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        for index in range(start, self.frame_count):
            inverse = np.linspace(0.2, 1, 60 * 80, dtype=np.float32).reshape(60, 80)
            yield DepthEstimate(index, index / 10, index // 10, inverse / np.float32(self.scales[index // 10]))


@dataclass(frozen=True)
class Known:
    """An anchor that knows the truth of some frames."""

    frames: Sequence[int]
    units: Units = "metres"
    origin: str = "the truth"
    consistent: bool = True
    unit_sigma: float = 0.0

    def covers(self, shot: ShotSpan) -> bool:  # noqa: ARG002 - an Anchor
        return True

    def correspondences(self, maps: DepthMaps, shot: ShotSpan, _camera: CameraOf) -> Iterator[Correspondences]:
        for estimate in islice(maps.estimates(shot.start), shot.count):
            if estimate.index in self.frames:
                disparity = estimate.values.ravel().astype(float)
                inverse = disparity * Shots.scales[shot.shot] + np.random.default_rng(0).normal(0, 1e-3, len(disparity))
                yield Correspondences(disparity, inverse, np.ones(len(disparity)), estimate.time)


def no_camera() -> Intrinsics:
    raise AssertionError("nobody needs it")


def test_every_shot_has_a_gauge_of_its_own() -> None:
    found = gauges(Shots(), Known(range(0, 30, 3)), no_camera)
    np.testing.assert_allclose(
        [gauge.curve.at(shot.start / 10).scale for gauge, shot in zip(found, Shots.shots, strict=True)],
        Shots.scales,
        rtol=1e-3,
    )


def test_a_shot_that_its_anchor_does_not_determine_is_told_and_goes_on_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Even the first one: a title card must not end the run."""
    found = gauges(Shots(), Known([12, 18]), no_camera)
    assert [gauge.units for gauge in found] == ["relative", "metres", "relative"]
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "shot 0 (from frame 0) has no anchor",
        "shot 2 (from frame 20) has no anchor",
    ]


def test_an_anchor_that_determines_nothing_at_all_ends_the_run() -> None:
    with pytest.raises(
        AlignmentError,
        match=r"^the truth: 0 anchored places in 0 frames .* \(no frame shows a landmark, or has a map with depth; ",
    ):
        gauges(Shots(), Known([]), no_camera)


def test_the_facts_of_a_long_shot_are_as_short_as_those_of_a_short_one() -> None:
    """Provenance is for reading: the curve itself stands in the report."""
    [gauge, *_] = gauges(Shots(), Known(range(30)), no_camera)
    assert len(gauge.curve.times) == 10
    assert all(np.isscalar(value) for value in gauge.facts.values())
    assert yaml.safe_load(yaml.safe_dump(gauge.facts)) == gauge.facts


# --------------------------------------------------------------------------------------------------------- a long shot


def long_camera() -> Intrinsics:
    return Intrinsics.from_fov(60.0, 32, 24)


class Long:
    """``DepthMaps`` of 2000 frames, 30 in a second, whose scale drifts by 20 %."""

    quantity: Quantity = "disparity"
    frame_count = 2000
    shots = (ShotSpan(0, 0, 2000),)
    inverse = np.geomspace(0.1, 1, 24 * 32, dtype=np.float32).reshape(24, 32)

    def factor(self, index: int) -> float:
        return 1 + DRIFT * index / 1999

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        for index in range(start, self.frame_count):
            values = (self.inverse / np.float32(self.factor(index)) - np.float32(0.05)).astype(np.float32)
            yield DepthEstimate(index, index / 30, 0, values)

    def off(self, gauge: Gauge) -> np.ndarray:
        """How far depth of each frame is off, at the worst place."""
        lines = [(gauge.curve.at(each.time), each.values) for each in self.estimates()]
        found = np.array([line.scale * values + line.shift for line, values in lines])
        return np.abs(self.inverse / found - 1).max(axis=(1, 2))


def test_metric_depth_every_five_seconds_holds_2000_frames_together() -> None:
    """A metric network with 1 % of noise in its pixels, and one frame of fourteen that is three times too far."""

    class Eye:
        network = None

        def depth(self, time: float, _camera: Intrinsics) -> np.ndarray:
            noise = np.exp(np.random.default_rng(round(time)).normal(0, 0.01, Long.inverse.shape))
            return (noise / Long.inverse * (3 if round(time) == 30 else 1)).astype(np.float32)

    maps = Long()
    anchor = MetricPictures(cast("MetricEye", Eye()), 5.0, "a network")
    [gauge] = gauges(maps, anchor, long_camera)
    assert len(gauge.agreements) == 14
    off = maps.off(gauge)
    assert off[-1] < 0.02
    assert off.max() < 0.02
    [seed] = gauges(
        maps, MetricPictures(cast("MetricEye", Eye()), None, "a network"), lambda: Intrinsics.from_fov(60.0, 32, 24)
    )
    assert maps.off(seed)[-1] == pytest.approx(DRIFT, abs=0.02)


def test_landmarks_of_which_a_third_is_wrong_hold_2000_frames_together() -> None:
    """Thirty in every tenth frame; 30 % of them at a depth of anything."""
    maps, random = Long(), np.random.default_rng(0)
    times = np.repeat(np.arange(0, 2000, 10) / 30, 30)
    places = random.random((len(times), 2))
    row, column = np.floor(places[:, 1] * 24).astype(int), np.floor(places[:, 0] * 32).astype(int)
    depth = 1 / Long.inverse[row, column].astype(float) * np.exp(random.normal(0, 0.01, len(times)))
    wrong = random.random(len(times)) < 0.3
    depth[wrong] = random.uniform(0.5, 20, np.count_nonzero(wrong))
    points = SparsePoints(np.zeros((1, 3)), times, np.zeros(len(times), np.int64), places, depth)
    slam = SlamMap(lambda _times, _camera: points, np.unique(times), "metres", "landmarks", bare=False)
    [gauge] = gauges(maps, slam, no_camera)
    off = maps.off(gauge)
    assert off[-1] < 0.01
    assert np.median(off) < 0.01
