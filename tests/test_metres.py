"""Anchors from end to end: the rendered room, a network whose disparity drifts by 20 %, and every way to put it right.

The network knows the truth but for a factor that grows from 1 to 1.2 along the clip, and a scale and shift for each of
its windows. So the first frame alone leaves depth 20 % too far at the end.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import TrueDisparityNetwork
from test_pipelines import ROOM, write_sfm

from recon.errors import AlignmentError, FormatError, OptionError
from recon.geometry import transform, unproject
from recon.io.calibration import read_intrinsics
from recon.io.depth import DepthFolder
from recon.io.trajectory import read_trajectory
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon.types import Intrinsics, MetricPicture, Picture
from recon_cli.cli import run

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


# ------------------------------------------------------------------------------------------------------------ each option


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


def test_the_metric_first_frame_of_a_network_is_the_seed_method(
    metric: Metric, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = Scanner(pictures)
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: scanner)
    ratio = metric("--anchor", "first", *CAMERA)
    assert scanner.asked == [0]
    np.testing.assert_allclose(ratio / ratio[0], np.linspace(1, 1 + DRIFT, FRAMES), rtol=0.004)
