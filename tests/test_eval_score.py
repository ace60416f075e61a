"""Scores of a whole clip: against the published arithmetic on the stack, perfect and known ones, and lazily."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from strategies import lines, seeds

from recon.errors import AlignmentError, FormatError
from recon.evaluation.measures import MEASURES, ClipScores, mean_values
from recon.evaluation.protocol import CORRECTED, VDA_RELEASED
from recon.evaluation.score import score_clip
from recon.evaluation.temporal import temporal_error
from recon.evaluation.truth import TruthCamera, TruthClip, TruthFrame
from recon.geometry import rigid
from recon.types import Intrinsics, Picture

HEIGHT, WIDTH = 12, 16
OF_FRAMES = {"abs_rel", "delta1", "rmse", "tae", "tae_other", "boundary_f1", "coverage", "log_scale"}
OF_FRAMES |= {"metric_abs_rel", "metric_delta1", "metric_rmse", "metric_log_scale", "median_abs_rel", "median_delta1"}
OF_CLIPS = {"wander", "drift", "seam_jump"}


def no_picture(path: Path) -> Picture:
    raise AssertionError(f"{path}: scores need no pictures")


@dataclass
class Stack:
    """Truth in memory: the n-th path is the n-th map."""

    depth: np.ndarray
    without: set[int] = field(default_factory=set)
    """Frames that have no true depth."""
    rate: float = 0.2

    def __call__(self, path: Path) -> np.ndarray:
        return self.depth[int(path.stem)]

    def clip(self, *, moving: bool = False, one_gauge: bool = True) -> TruthClip:
        frames = tuple(
            TruthFrame(f"{n:04}", n / self.rate, Path(f"{n}.jpg"), None if n in self.without else Path(f"{n}.png"))
            for n in range(len(self.depth))
        )
        height, width = self.depth.shape[1:]
        camera = Intrinsics.from_fov(60.0, width, height)
        poses = [rigid(np.eye(3), np.array([0.05 * n, 0, 0.02 * n])) for n in range(len(frames))]
        cameras = {n: TruthCamera(camera, pose) for n, pose in enumerate(poses)} if moving else {}
        return TruthClip("a", frames, no_picture, self, cameras, 10.0, one_gauge)


def rooms(random: np.random.Generator, frames: int = 6) -> np.ndarray:
    """A far wall and a box before it, with texture, all within 10 m."""
    depth = random.uniform(4, 9, (frames, HEIGHT, WIDTH)).astype(np.float32)
    depth[:, 3:8, 4:11] = random.uniform(1, 2, (frames, 5, 7))
    return depth


def scores_of(predicted: np.ndarray, clip: TruthClip, quantity: str = "depth", **options: object) -> ClipScores:
    return score_clip(clip, lambda: iter(predicted), quantity, options.pop("protocol", CORRECTED), **options)


# ------------------------------------------------------------------------------------------------- the whole at once


def published(predicted: np.ndarray, true: np.ndarray, max_depth: float) -> dict[str, float]:
    """Fit and errors as the released script computes them: on the stack, the errors in torch."""
    valid = (true > 1e-3) & (true < max_depth)
    predicted = np.clip(predicted, 1e-3, None)
    rows = np.stack([predicted[valid].astype(np.float64), np.ones(valid.sum())], axis=1)
    scale, shift = np.linalg.lstsq(rows, 1 / (true[valid].astype(np.float64) + 1e-8), rcond=None)[0]
    aligned = np.clip(scale * predicted.astype(np.float64) + shift, 1e-3, None)
    some = valid.any(axis=(1, 2))
    depth = torch.from_numpy(np.clip(1 / aligned, 1e-3, max_depth)[some])
    truth, mask = torch.from_numpy(true[some]).double().nan_to_num(1.0), torch.from_numpy(valid[some])
    count = mask.sum((1, 2))
    relative = torch.where(mask, (depth - truth).abs() / truth, 0).sum((1, 2)) / count
    close = torch.where(mask, torch.maximum(depth / truth, truth / depth) < 1.25, False).sum((1, 2)) / count
    squared = torch.where(mask, (depth - truth) ** 2, 0).sum((1, 2)) / count
    return {"abs_rel": relative.mean().item(), "delta1": close.mean().item(), "rmse": squared.sqrt().mean().item()}


@given(seed=seeds)
def test_a_clip_scores_what_the_released_arithmetic_gives_for_the_stack(seed: int) -> None:
    random = np.random.default_rng(seed)
    true = rooms(random) * random.uniform(0.8, 1.4)  # some of it beyond the 10 m that count
    true = true.astype(np.float32)
    true[random.random(true.shape) < 0.3] = np.nan
    true[2] = np.nan
    disparity = np.nan_to_num(5 / true, nan=1.0) + random.normal(0, 0.3, true.shape) - 0.5  # some of it negative
    disparity = disparity.astype(np.float32)
    scores = scores_of(disparity, Stack(true).clip(), "disparity")
    expected = published(disparity, true, 10.0)
    assert {key: scores.values[key] for key in expected} == pytest.approx(expected, rel=2e-6)
    assert [frame.index for frame in scores.frames] == [0, 1, 3, 4, 5]
    assert [frame.valid for frame in scores.frames] == [
        int(((one > 1e-3) & (one < 10)).sum()) for index, one in enumerate(true) if index != 2
    ]


@pytest.mark.parametrize("protocol", [CORRECTED, VDA_RELEASED])
def test_the_temporal_error_is_the_mean_over_pairs_of_aligned_depth(protocol: object) -> None:
    random = np.random.default_rng(0)
    clip = Stack(rooms(random)).clip(moving=True)
    predicted = rooms(random)
    scores = scores_of(predicted, clip, protocol=protocol)
    scale, shift = scores.fits[0]
    depth = np.clip(1 / np.maximum(scale / predicted.astype(np.float64) + shift, 1e-3), 1e-3, 10).astype(np.float32)
    for key, hidden in (("tae", protocol.hidden_points_compared), ("tae_other", not protocol.hidden_points_compared)):
        errors = [
            temporal_error(depth[n], depth[n + 1], clip.cameras[n], clip.cameras[n + 1], hidden_points_compared=hidden)
            for n in range(5)
        ]
        assert [frame.values[key] for frame in scores.frames[:-1]] == pytest.approx(errors, rel=1e-5)
        assert scores.values[key] == pytest.approx(np.mean(errors), rel=1e-5)
        assert np.isnan(scores.frames[-1].values[key])
    assert scores.values["tae"] != scores.values["tae_other"]


# ------------------------------------------------------------------------------------------------------ perfect, known


@pytest.mark.parametrize("quantity", ["depth", "disparity"])
def test_perfect_predictions_score_perfectly(quantity: str) -> None:
    true = rooms(np.random.default_rng(0), 40)
    scores = scores_of(true if quantity == "depth" else 1 / true, Stack(true).clip(), quantity, seams={10, 20, 30})
    perfect = {"abs_rel": 0, "delta1": 1, "rmse": 0, "boundary_f1": 1, "log_scale": 0, "wander": 0, "drift": 0}
    perfect |= {"coverage": 1, "seam_jump": 0}
    assert {key: scores.values[key] for key in perfect} == pytest.approx(perfect, abs=1e-5)
    np.testing.assert_allclose(scores.fits, [(1, 0)], atol=1e-6)


def test_perfect_metres_score_perfectly_without_a_fit() -> None:
    true = rooms(np.random.default_rng(0))
    values = scores_of(true, Stack(true).clip()).values
    assert (values["metric_abs_rel"], values["metric_delta1"], values["metric_rmse"]) == (0, 1, 0)
    assert values["metric_log_scale"] == 0
    assert (values["median_abs_rel"], values["median_delta1"]) == (0, 1)


def test_a_tenth_too_far_is_a_tenth_in_metres_and_nothing_after_a_fit() -> None:
    true = rooms(np.random.default_rng(0)) * np.float32(0.9)  # so that 1.1 x is still within 10 m
    values = scores_of(1.1 * true, Stack(true).clip()).values
    assert values["metric_abs_rel"] == pytest.approx(0.1, rel=1e-5)
    assert values["metric_log_scale"] == pytest.approx(np.log(1.1), rel=1e-5)
    assert values["metric_delta1"] == 1
    assert values["median_abs_rel"] == pytest.approx(0, abs=1e-6)
    assert values["abs_rel"] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("percent", [20.0, -10.0])
def test_a_drift_of_the_scale_is_found_in_per_cent_a_minute(percent: float) -> None:
    """The clip's one fit is a mean over it, and leaves the slope of the logarithm as it is."""
    true = np.tile(rooms(np.random.default_rng(0), 1), (61, 1, 1)) / 3
    stack = Stack(true, rate=1.0)
    growth = (1 + percent / 100) ** (np.arange(61) / 60)
    values = scores_of((true * growth[:, None, None]).astype(np.float32), stack.clip(), metric=False).values
    assert values["drift"] == pytest.approx(percent, abs=0.7)
    slope = np.log(1 + percent / 100)
    assert values["wander"] == pytest.approx(abs(slope) / np.sqrt(12), rel=0.07)
    assert values["abs_rel"] > 0.02


def test_a_jump_at_a_seam_is_found() -> None:
    true = np.tile(rooms(np.random.default_rng(0), 1), (40, 1, 1)) / 3
    factor = np.where(np.arange(40) < 20, 1, 1.1)[:, None, None]
    values = scores_of((true * factor).astype(np.float32), Stack(true).clip(), seams={20}).values
    assert values["seam_jump"] == pytest.approx(np.log(1.1), rel=0.07)


@given(seed=seeds, line=lines())
def test_no_scale_and_shift_of_the_disparity_changes_relative_scores(seed: int, line: tuple[float, float]) -> None:
    """As long as it stays above the 1e-3 at which predictions are cut."""
    random = np.random.default_rng(seed)
    clip = Stack(rooms(random)).clip(moving=True)
    disparity = (1 / rooms(random) + random.uniform(0, 0.1, (6, HEIGHT, WIDTH))).astype(np.float32)
    scale, shift = line[0], line[1] + 4 * line[0]
    moved = (scale * disparity.astype(np.float64) + shift).astype(np.float32)
    assert moved.min() > 1e-3
    one, other = (scores_of(each, clip, "disparity") for each in (disparity, moved))
    assert one.values == pytest.approx(other.values, rel=5e-3, abs=5e-3, nan_ok=True)
    assert one.values["abs_rel"] == pytest.approx(other.values["abs_rel"], rel=1e-4)


def test_below_a_thousandth_the_shift_does_change_scores_as_published() -> None:
    """Why methods must not hand in disparity around 0."""
    true = rooms(np.random.default_rng(0))
    clip, disparity = Stack(true).clip(), 1 / true
    shifted = (disparity - 0.2).astype(np.float32)
    assert (shifted < 1e-3).any()
    assert scores_of(disparity, clip, "disparity").values["abs_rel"] < 1e-5
    found = scores_of(shifted, clip, "disparity").values["abs_rel"]
    assert found > 0.05
    assert found == pytest.approx(published(shifted, true, 10.0)["abs_rel"], rel=1e-5)


# ------------------------------------------------------------------------------------------------------ what is there


def test_every_measure_of_depth_maps_is_filled_in() -> None:
    true = rooms(np.random.default_rng(0), 40)
    scores = scores_of(true, Stack(true).clip(moving=True), seams={20})
    assert set(scores.values) == OF_FRAMES | OF_CLIPS
    assert all(np.isfinite(value) for value in scores.values.values())
    assert all(set(frame.values) == OF_FRAMES for frame in scores.frames)
    assert {MEASURES[key].of for key in OF_FRAMES} == {"frame"}
    assert {MEASURES[key].of for key in OF_CLIPS} == {"clip"}


def test_means_are_over_frames_not_pixels() -> None:
    true = rooms(np.random.default_rng(0), 2) * np.float32(0.9)
    true[0, 1:] = np.nan
    predicted = np.nan_to_num(true, nan=5.0) * np.float32([1.1, 1.0])[:, None, None]
    scores = scores_of(predicted, Stack(true).clip())
    assert scores.values["metric_abs_rel"] == pytest.approx(0.05, rel=1e-5)
    assert scores.values["abs_rel"] == mean_values(frame.values for frame in scores.frames)["abs_rel"]


def test_disparity_and_unknown_units_have_no_errors_in_metres() -> None:
    true = rooms(np.random.default_rng(0))
    clip = Stack(true).clip()
    in_metres = [f"metric_{name}" for name in ("abs_rel", "delta1", "rmse", "log_scale")]
    relative, unknown = scores_of(1 / true, clip, "disparity").values, scores_of(true, clip, metric=False).values
    assert np.isnan([relative[key] for key in [*in_metres, "median_abs_rel", "median_delta1"]]).all()
    assert np.isnan([unknown[key] for key in in_metres]).all()
    assert unknown["median_abs_rel"] == 0


def test_a_still_camera_without_poses_has_no_temporal_error() -> None:
    true = rooms(np.random.default_rng(0))
    values = scores_of(true, Stack(true).clip()).values
    assert np.isnan([values["tae"], values["tae_other"]]).all()


def test_a_pair_needs_both_poses() -> None:
    true = rooms(np.random.default_rng(0))
    clip = Stack(true).clip(moving=True)
    clip = replace(clip, cameras={number: camera for number, camera in clip.cameras.items() if number != 2})
    known = [np.isfinite(frame.values["tae"]) for frame in scores_of(true, clip).frames]
    assert known == [True, False, False, True, True, False]


def test_frames_without_truth_are_skipped_but_seen_by_their_neighbours() -> None:
    """The temporal error needs no true depth of the second frame of a pair."""
    true = rooms(np.random.default_rng(0))
    clip = Stack(true, without={1, 4}, rate=10.0).clip(moving=True)
    scores = scores_of(true, clip)
    assert [(frame.index, frame.name, frame.time) for frame in scores.frames] == [
        (0, "0000", 0.0),
        (2, "0002", 0.2),
        (3, "0003", 0.3),
        (5, "0005", 0.5),
    ]
    assert [bool(np.isfinite(frame.values["tae"])) for frame in scores.frames] == [True, True, True, False]
    assert scores.values["abs_rel"] == pytest.approx(0, abs=1e-6)


def test_pictures_with_nothing_in_common_get_a_fit_each() -> None:
    true = rooms(np.random.default_rng(0))
    factors = np.array([1, 2, 3, 4, 5, 6], np.float32)[:, None, None]
    stack = Stack(true, without={3})
    apart = scores_of(true * factors, stack.clip(moving=True, one_gauge=False))
    together = scores_of(true * factors, stack.clip(moving=True))
    assert apart.values["abs_rel"] == pytest.approx(0, abs=1e-5)
    assert together.values["abs_rel"] > 0.1
    assert len(apart.fits) == 6
    assert [fit[0] for fit in apart.fits] == pytest.approx([1, 2, 3, np.nan, 5, 6], rel=1e-4, nan_ok=True)
    over_time = ("tae", "tae_other", "wander", "drift", "seam_jump")
    assert np.isnan([apart.values[key] for key in over_time]).all()


def test_predictions_of_another_size_score_as_if_resized_before() -> None:
    coarse = rooms(np.random.default_rng(0))
    true = coarse.repeat(2, axis=1).repeat(3, axis=2)
    clip = Stack(true, without={3}).clip(moving=True)
    size = (3 * WIDTH, 2 * HEIGHT)
    fine = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_LINEAR) for each in coarse])
    assert scores_of(coarse, clip).values == pytest.approx(scores_of(fine, clip).values, nan_ok=True)


# ------------------------------------------------------------------------------------------------------ what is not


def test_a_pixel_without_an_answer_costs_and_is_told() -> None:
    true = rooms(np.random.default_rng(0))
    holes = true.copy()
    holes[:, 5:7, 5:9] = np.nan
    scores = scores_of(holes, Stack(true).clip())
    hidden = true[:, 5:7, 5:9]
    assert scores.values["coverage"] == pytest.approx(1 - 8 / (HEIGHT * WIDTH))
    expected = np.sum((10 - hidden) / hidden, axis=(1, 2)).mean() / (HEIGHT * WIDTH)
    assert scores.values["abs_rel"] == pytest.approx(expected, rel=1e-4)
    assert scores.values["metric_abs_rel"] == pytest.approx(expected, rel=1e-4)
    assert scores.values["log_scale"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("one_gauge", [True, False])
def test_a_frame_without_any_answer_counts_as_all_wrong(*, one_gauge: bool) -> None:
    true = rooms(np.random.default_rng(0))
    holes = true.copy()
    holes[1] = np.nan
    scores = scores_of(holes, Stack(true).clip(one_gauge=one_gauge))
    assert scores.frames[1].values["abs_rel"] == pytest.approx(np.mean((10 - true[1]) / true[1]), rel=1e-5)
    assert scores.frames[1].values["coverage"] == 0
    assert np.isnan(scores.frames[1].values["log_scale"])
    assert np.isfinite(scores.values["wander"]) == one_gauge


def test_a_constant_prediction_is_the_mean_inverse_depth() -> None:
    true = rooms(np.random.default_rng(0))
    scores = scores_of(np.full_like(true, 0.7), Stack(true).clip(), "disparity")
    assert scores.fits == ((0.0, pytest.approx(np.mean(1 / true.astype(np.float64)), rel=1e-7)),)
    depth = 1 / scores.fits[0][1]
    assert scores.values["abs_rel"] == pytest.approx(np.mean(np.abs(depth - true) / true), rel=1e-5)
    assert scores.values["boundary_f1"] == 0


@pytest.mark.parametrize("true", [np.nan, 0.0, 10.0, 99.0])
def test_a_clip_of_which_nothing_is_known_is_refused_in_one_line(true: float) -> None:
    stack = Stack(np.full((3, HEIGHT, WIDTH), true, np.float32))
    with pytest.raises(AlignmentError, match=r"^a: nothing to compare.*between 1 mm and 10 m, in 3 frames") as error:
        scores_of(np.ones((3, HEIGHT, WIDTH), np.float32), stack.clip())
    assert "\n" not in str(error.value)


def test_a_method_without_any_answer_is_refused() -> None:
    true = rooms(np.random.default_rng(0))
    with pytest.raises(AlignmentError, match="no pixel has both a prediction and a true depth"):
        scores_of(np.full_like(true, np.nan), Stack(true).clip())


@pytest.mark.parametrize(
    ("count", "message"), [(0, "0 depth maps for 6"), (5, "5 depth maps for 6"), (7, "more depth")]
)
def test_a_map_for_each_frame_is_insisted_on(count: int, message: str) -> None:
    true = rooms(np.random.default_rng(0))
    with pytest.raises(FormatError, match=f"a: there are {message}"):
        scores_of(np.ones((count, HEIGHT, WIDTH), np.float32), Stack(true).clip())


# --------------------------------------------------------------------------------------------------------------- memory


@dataclass
class Counted:
    """Makes maps one by one, and knows how many of them are held by whoever pulls."""

    frames: int
    alive: int = 0
    most: int = 0
    passes: int = 0

    def maps(self) -> Iterator[np.ndarray]:
        self.passes += 1
        random = np.random.default_rng(0)
        for _ in range(self.frames):
            values = random.uniform(0.1, 1, (HEIGHT, WIDTH)).astype(np.float32)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(values, self._let_go)
            yield values
            del values

    def _let_go(self) -> None:
        self.alive -= 1


@pytest.mark.parametrize("frames", [10, 60])
def test_two_passes_that_hold_two_predictions_however_long_the_clip_is(frames: int) -> None:
    truth, predicted = Counted(frames), Counted(frames)
    reading: dict[str, Iterator[np.ndarray]] = {}

    def read(path: Path) -> np.ndarray:
        if path.stem == "0":
            reading["now"] = truth.maps()
        return next(reading["now"])

    clip = replace(Stack(np.ones((frames, HEIGHT, WIDTH))).clip(moving=True), read_depth=read)
    score_clip(clip, predicted.maps, "disparity", CORRECTED)
    assert predicted.passes == truth.passes == 2
    assert predicted.most <= 2
    assert truth.most <= 2
    assert predicted.alive == 0
