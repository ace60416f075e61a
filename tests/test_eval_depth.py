"""AbsRel, delta1 and RMSE: by hand, and with what has no answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import seeds

from recon.evaluation.depth import depth_errors


def row(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_by_hand() -> None:
    errors = depth_errors(row(1.1, 2.0, 6.0), row(1.0, 2.0, 4.0), 10.0)
    assert errors.abs_rel == pytest.approx((0.1 + 0 + 0.5) / 3, rel=1e-6)
    assert errors.delta1 == pytest.approx(2 / 3)
    assert errors.rmse == pytest.approx(np.sqrt((0.01 + 4) / 3), rel=1e-6)


def test_the_truth_scores_perfectly() -> None:
    true = np.random.default_rng(0).uniform(0.1, 9.9, 100).astype(np.float32)
    assert depth_errors(true, true, 10.0) == (0.0, 1.0, 0.0)
    assert depth_errors(true, true, 10.0, scaled_to_median=True) == (0.0, 1.0, 0.0)


def test_a_tenth_too_far_is_an_abs_rel_of_a_tenth() -> None:
    true = np.random.default_rng(0).uniform(0.1, 9, 100)
    errors = depth_errors(1.1 * true, true, 10.0)
    assert errors.abs_rel == pytest.approx(0.1)
    assert errors.delta1 == 1
    assert errors.rmse == pytest.approx(0.1 * np.sqrt(np.mean(true**2)))


@pytest.mark.parametrize(("factor", "delta1"), [(1.249, 1), (1.251, 0), (1 / 1.249, 1), (1 / 1.251, 0)])
def test_delta1_looks_both_ways(factor: float, delta1: float) -> None:
    true = np.linspace(1, 7, 20)
    assert depth_errors(factor * true, true, 10.0).delta1 == delta1


@given(seed=seeds, factor=st.floats(1e-3, 1e3))
def test_scaled_to_the_median_no_unit_matters(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    true, depth = random.uniform(1, 9, 51), random.uniform(1, 9, 51)
    one = depth_errors(depth, true, 10.0, scaled_to_median=True)
    other = depth_errors(factor * depth, true, 10.0, scaled_to_median=True)
    np.testing.assert_allclose(one, other, rtol=1e-9)
    scaled = np.clip(depth * np.median(true) / np.median(depth), 1e-3, 10)
    assert one.abs_rel == pytest.approx(np.mean(np.abs(scaled - true) / true))


def test_what_is_farther_than_anything_compared_is_cut() -> None:
    assert depth_errors(row(50.0, np.inf), row(5.0, 5.0), 10.0).abs_rel == pytest.approx(1.0)


def test_no_answer_counts_as_the_greatest_depth() -> None:
    """A method that leaves out what it does not know does not score better for it."""
    true, depth = row(1.0, 2.0, 4.0), row(1.0, np.nan, 4.0)
    errors = depth_errors(depth, true, 10.0)
    assert errors.abs_rel == pytest.approx((10 - 2) / 2 / 3)
    assert errors.delta1 == pytest.approx(2 / 3)
    assert errors.rmse == pytest.approx(np.sqrt(64 / 3))


@given(seed=seeds, share=st.floats(0, 1))
def test_leaving_pixels_out_never_pays_for_an_answer_within_a_quarter(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    true = random.uniform(0.5, 4, 50)
    depth = true * random.uniform(0.8, 1.25, 50)
    holes = np.where(random.random(50) < share, np.nan, depth)
    full, part = depth_errors(depth, true, 10.0), depth_errors(holes, true, 10.0)
    assert part.abs_rel >= full.abs_rel
    assert part.delta1 <= full.delta1
    assert part.rmse >= full.rmse


def test_the_median_is_taken_over_the_answers() -> None:
    errors = depth_errors(row(2.0, np.nan, 8.0, 4.0), row(1.0, 2.0, 4.0, 2.0), 10.0, scaled_to_median=True)
    assert errors.abs_rel == pytest.approx(4 / 4)


def test_without_any_answer_all_is_at_the_greatest_depth() -> None:
    errors = depth_errors(row(np.nan, np.nan), row(1.0, 2.0), 10.0, scaled_to_median=True)
    assert errors.abs_rel == pytest.approx((9 + 4) / 2)


def test_a_frame_without_pixels_has_no_errors() -> None:
    assert np.isnan(depth_errors(row(), row(), 10.0)).all()
