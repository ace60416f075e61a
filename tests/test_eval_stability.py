"""The gauge over time: known drifts, wanders and seams are found, and nothing is said of what is too short."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import siegelslopes
from strategies import seeds

from recon.evaluation.stability import MOST_FRAMES, Gauge, drift, log_scale, seam_jump, wander


def gauges(log_scales: np.ndarray | list[float], rate: float = 30.0) -> list[Gauge]:
    return [Gauge(frame, frame / rate, float(value)) for frame, value in enumerate(log_scales)]


def test_the_log_scale_is_the_median_ratio() -> None:
    true = np.linspace(1, 9, 101)
    depth = 1.2 * true
    depth[:40] *= 3
    assert log_scale(depth, true) == pytest.approx(np.log(1.2))
    assert log_scale(true, true) == 0


def test_the_log_scale_of_no_answers_is_unknown_and_of_some_is_theirs() -> None:
    true = np.ones(4, np.float32)
    assert log_scale(np.array([2, np.nan, 2, np.nan], np.float32), true) == pytest.approx(np.log(2))
    assert np.isnan(log_scale(np.full(4, np.nan, np.float32), true))


def test_wander_is_the_standard_deviation() -> None:
    assert wander(gauges([0.1, -0.1, 0.1, -0.1])) == pytest.approx(0.1)
    assert wander(gauges([0.3] * 4)) == pytest.approx(0)
    assert np.isnan(wander(gauges([0.3])))


@given(rate=st.sampled_from([5.0, 30.0]), percent=st.floats(-50, 100), seconds=st.integers(21, 100))
def test_a_known_drift_is_found_whatever_the_rate_and_length(rate: float, percent: float, seconds: int) -> None:
    minutes = np.arange(int(rate * seconds)) / rate / 60
    assert drift(gauges(np.log(1 + percent / 100) * minutes, rate)) == pytest.approx(percent, abs=1e-9)


def test_a_scale_that_stays_has_no_drift_however_wrong_it_is() -> None:
    assert drift(gauges([0.7] * 700)) == 0


def test_drift_is_not_moved_by_a_quarter_of_bad_frames() -> None:
    random = np.random.default_rng(0)
    found = np.log(1.2) * np.arange(1800) / 1800 + random.normal(0, 0.001, 1800)
    found[random.permutation(1800)[:450]] += 0.5
    assert drift(gauges(found)) == pytest.approx(20, abs=0.6)


def test_long_clips_are_thinned_evenly() -> None:
    random = np.random.default_rng(0)
    found = 0.05 * np.arange(5 * MOST_FRAMES) / 1800 + random.normal(0, 0.01, 5 * MOST_FRAMES)
    slope = siegelslopes(found[::10], np.arange(0, len(found), 10) / 1800).slope
    assert drift(gauges(found)) == pytest.approx(100 * np.expm1(slope), abs=0.2)
    assert drift(gauges(found)) == pytest.approx(100 * np.expm1(0.05), abs=0.2)


@pytest.mark.parametrize(("frames", "rate"), [(0, 1.0), (1, 1.0), (2, 0.1), (599, 30.0)])
def test_short_clips_have_no_drift(frames: int, rate: float) -> None:
    assert np.isnan(drift(gauges(np.arange(frames) * 0.1, rate)))


@given(seed=seeds, jump=st.floats(0, 1))
def test_a_jump_at_seams_is_found(seed: int, jump: float) -> None:
    """Every 10th frame begins another window, whose scale is larger or smaller by the jump."""
    sign = np.random.default_rng(seed).choice([-1, 1], 6)
    steps = np.zeros(60)
    steps[10::10] = jump * sign[1:]
    assert seam_jump(gauges(np.cumsum(steps)), {10, 20, 30, 40, 50}) == pytest.approx(jump, abs=1e-12)


def test_steps_everywhere_are_no_seam() -> None:
    assert seam_jump(gauges(np.arange(60) * 0.01), {10, 20}) == pytest.approx(0, abs=1e-12)
    assert seam_jump(gauges([0, 0.3, 0.4, 0.7, 0.8]), {2, 4}) == pytest.approx(0.1 - 0.3)


def test_a_seam_between_two_frames_with_truth_is_met_by_the_step_over_it() -> None:
    sparse = [Gauge(frame, frame / 30, value) for frame, value in ((0, 0.0), (5, 0.0), (10, 0.2), (15, 0.2))]
    assert seam_jump(sparse, {8}) == pytest.approx(0.2)
    assert seam_jump(sparse, {10}) == pytest.approx(0.2)
    assert seam_jump(sparse, {5}) == pytest.approx(-0.1)


@pytest.mark.parametrize("seams", [set(), {1, 2, 3}, {0, 4, 99}])
def test_without_both_kinds_of_steps_there_is_no_seam_jump(seams: set[int]) -> None:
    assert np.isnan(seam_jump(gauges([0, 1, 2, 3]), seams))
