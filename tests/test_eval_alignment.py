"""One scale and shift for a clip: the moments against least squares over everything, and the published clipping."""

from fractions import Fraction
from functools import reduce
from operator import add

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import lines, seeds

from recon.evaluation.alignment import Moments, aligned_depth, moments, resized, valid_pixels


def released_arithmetic(predicted: np.ndarray, true: np.ndarray, max_depth: float) -> tuple[np.ndarray, np.ndarray]:
    """The published protocol on a whole stack (n, h, w) at once: depth, and (scale, shift), by numpy's lstsq."""
    valid = (true > 1e-3) & (true < max_depth)
    predicted = np.clip(predicted, 1e-3, None)
    rows = np.stack([predicted[valid].astype(np.float64), np.ones(valid.sum())], axis=1)
    solution = np.linalg.lstsq(rows, 1 / (true[valid].astype(np.float64) + 1e-8), rcond=None)[0]
    aligned = np.clip(solution[0] * predicted.astype(np.float64) + solution[1], 1e-3, None)
    return np.clip(1 / aligned, 1e-3, max_depth), solution


def clip_of(random: np.random.Generator, frames: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Noisy disparity up to scale and shift, and its depth with holes and with what is too far to count."""
    true = np.exp(random.uniform(np.log(0.5), np.log(15), (frames, 6, 9))).astype(np.float32)
    disparity = (3 / true + 0.4 + random.normal(0, 0.1, true.shape)).astype(np.float32)
    true[random.random(true.shape) < 0.2] = np.nan
    return disparity, true


# ------------------------------------------------------------------------------------------------------------- moments


def exact_line(x: np.ndarray, y: np.ndarray) -> tuple[Fraction, Fraction]:
    """The line of least squares in rational arithmetic, without any rounding."""
    xs, ys = [Fraction(float(value)) for value in x], [Fraction(float(value)) for value in y]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    common = sum((one - mean_x) * (other - mean_y) for one, other in zip(xs, ys, strict=True))
    scale = common / sum((one - mean_x) ** 2 for one in xs)
    return scale, mean_y - scale * mean_x


@given(
    seed=seeds, line=lines(), spread=st.sampled_from([1e-3, 1.0, 1e3]), cuts=st.lists(st.integers(0, 300), max_size=6)
)
def test_the_moments_of_parts_add_up_to_least_squares_over_everything(
    seed: int, line: tuple[float, float], spread: float, cuts: list[int]
) -> None:
    """Also where x varies by a thousandth of its mean, and where parts are empty or a single pair."""
    random = np.random.default_rng(seed)
    x = 5 * (1 + spread * random.standard_normal(300))
    y = line[0] * x + line[1] + line[0] * spread * random.standard_normal(300)
    parts = zip(np.split(x, sorted(cuts)), np.split(y, sorted(cuts)), strict=True)
    total = reduce(add, (Moments.of(*part) for part in parts), Moments())
    scale, shift = exact_line(x, y)
    assert total.count == 300
    assert total.line.scale == pytest.approx(float(scale), rel=1e-11)
    fitted, exact = total.line.scale * x + total.line.shift, float(scale) * x + float(shift)
    np.testing.assert_allclose(fitted, exact, rtol=0, atol=1e-12 * np.abs(y).max())
    solution = np.linalg.lstsq(np.stack([x, np.ones(300)], axis=1), y, rcond=None)[0]
    np.testing.assert_allclose(total.line, solution, rtol=1e-9, atol=1e-9 * abs(line[0]))


def test_the_order_of_the_frames_does_not_matter() -> None:
    random = np.random.default_rng(0)
    parts = [Moments.of(random.random(100) + index, random.random(100)) for index in range(50)]
    forward, backward = reduce(add, parts, Moments()), reduce(add, parts[::-1], Moments())
    np.testing.assert_allclose(forward.line, backward.line, rtol=1e-13)


def test_pairs_of_one_x_give_the_mean_of_y() -> None:
    """The mean of 6 times 0.1 is not 0.1 in binary, that of 10 is: a spread that is rounding, not a slope."""
    constant = Moments.of(np.full(6, 0.1), np.full(6, 2.0)) + Moments.of(np.full(10, 0.1), np.full(10, 4.0))
    assert constant.common != 0
    assert constant.line == (0.0, 3.25)


def test_nothing_has_no_line() -> None:
    assert np.isnan((Moments() + Moments.of(np.array([]), np.array([]))).line).all()


# ----------------------------------------------------------------------------------------------------------------- fit


@given(seed=seeds)
def test_a_clip_is_aligned_as_the_released_script_aligns_the_stack(seed: int) -> None:
    disparity, true = clip_of(np.random.default_rng(seed))
    expected, solution = released_arithmetic(disparity, true, 10.0)
    fit = sum((moments(one, "disparity", other, 10.0) for one, other in zip(disparity, true, strict=True)), Moments())
    assert fit.line == pytest.approx(tuple(solution), rel=1e-11)
    found = [aligned_depth(one, "disparity", fit.line, 10.0, one.shape) for one in disparity]
    np.testing.assert_allclose(np.stack(found), expected, rtol=1e-6)


@given(seed=seeds, line=lines())
def test_any_scale_and_shift_of_the_prediction_gives_the_same_depth(seed: int, line: tuple[float, float]) -> None:
    """Where the cut at 1e-3 does not bite, which is the reason for the 3 in the shift."""
    scale = line[0]
    disparity, true = clip_of(np.random.default_rng(seed))
    moved = (scale * disparity.astype(np.float64) + line[1] + 4 * scale).astype(np.float32)
    depths = []
    for predicted in (disparity + np.float32(1), moved):
        fit = sum((moments(*pair, 10.0) for pair in _frames(predicted, true)), Moments()).line
        depths.append([aligned_depth(one, "disparity", fit, 10.0, one.shape) for one in predicted])
    np.testing.assert_allclose(depths[0], depths[1], rtol=2e-4)


def _frames(predicted: np.ndarray, true: np.ndarray) -> list[tuple[np.ndarray, str, np.ndarray]]:
    return [(one, "disparity", other) for one, other in zip(predicted, true, strict=True)]


def test_predictions_are_cut_at_a_thousandth_before_the_fit() -> None:
    """As published, though a relative disparity may well be negative: all that is below becomes one value."""
    true = np.array([[1.0, 2.0, 4.0, 5.0]], np.float32)
    negative = np.array([[1.0, 0.5, -3.0, -7.0]], np.float32)
    cut = np.array([[1.0, 0.5, 1e-3, 1e-3]], np.float32)
    line = moments(negative, "disparity", true, 10.0).line
    assert line == pytest.approx(moments(cut, "disparity", true, 10.0).line, rel=1e-6)  # 1e-3 is not a float32
    depth = aligned_depth(negative, "disparity", line, 10.0, (1, 4))
    assert depth[0, 2] == depth[0, 3]
    np.testing.assert_allclose(depth, released_arithmetic(negative[None], true[None], 10.0)[0][0], rtol=1e-6)


def test_depth_beyond_infinity_is_the_greatest_depth() -> None:
    values = np.array([[1.0, 0.1, 0.01]], np.float32)
    depth = aligned_depth(values, "disparity", (1.0, -0.05), 10.0, (1, 3))
    np.testing.assert_allclose(depth, [[1 / 0.95, 10.0, 10.0]], rtol=1e-6)


def test_no_depth_is_beyond_a_kilometre() -> None:
    """The cut after the fit is in inverse depth, so it holds wherever the data set ends."""
    values = np.array([[1.0, 0.5]], np.float32)
    np.testing.assert_allclose(aligned_depth(values, "disparity", (1.0, -0.5), 5000.0, (1, 2)), [[2, 1000]])


def test_depth_nearer_than_a_millimetre_is_a_millimetre() -> None:
    values = np.array([[1e6]], np.float32)
    assert aligned_depth(values, "disparity", (1.0, 0.0), 10.0, (1, 1))[0, 0] == np.float32(1e-3)


def test_what_counts_lies_strictly_between_a_millimetre_and_the_greatest_depth() -> None:
    true = np.array([[np.nan, 0.0, 1e-3, 2e-3, 9.999, 10.0, 11.0]], np.float32)
    assert valid_pixels(true, 10.0).tolist() == [[False, False, False, True, True, False, False]]


# ----------------------------------------------------------------------------------------------------------- quantities


@given(seed=seeds)
def test_depth_is_turned_into_disparity_first(seed: int) -> None:
    """Depth of another unit, and with another shift in inverse depth, is as right as disparity is."""
    _, true = clip_of(np.random.default_rng(seed))
    inverse = (2 / np.nan_to_num(true, nan=3.0) + 0.3).astype(np.float32)
    by_depth = moments(1 / inverse[0], "depth", true[0], 10.0).line
    by_disparity = moments(inverse[0], "disparity", true[0], 10.0).line
    np.testing.assert_allclose(by_depth, by_disparity, rtol=1e-5)
    np.testing.assert_allclose(by_disparity, (0.5, -0.15), rtol=1e-4)


@pytest.mark.parametrize("quantity", ["depth", "disparity"])
def test_no_answer_stays_none_and_takes_no_part_in_the_fit(quantity: str) -> None:
    true = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    values = true.copy() if quantity == "depth" else 1 / true
    holes = np.array([[values[0, 0], np.nan, values[0, 2], values[0, 3]]], np.float32)
    seen = moments(holes, quantity, true, 10.0)
    assert seen.count == 3
    np.testing.assert_allclose(seen.line, (1, 0), atol=1e-6)
    depth = aligned_depth(holes, quantity, seen.line, 10.0, (1, 4))
    assert np.isnan(depth).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize(("quantity", "values"), [("depth", [np.nan, 0, -1]), ("disparity", [np.nan, np.inf, -np.inf])])
def test_what_is_no_number_of_its_quantity_is_no_answer(quantity: str, values: list[float]) -> None:
    depth = aligned_depth(np.array([values], np.float32), quantity, (1.0, 0.1), 10.0, (1, 3))
    assert np.isnan(depth).all()


def test_infinite_depth_is_an_answer() -> None:
    assert aligned_depth(np.array([[np.inf]], np.float32), "depth", (1.0, 0.5), 10.0, (1, 1))[0, 0] == pytest.approx(
        1 / 0.501, rel=1e-6
    )


# ---------------------------------------------------------------------------------------------------------------- size


def test_predictions_of_another_size_are_resized_bilinearly() -> None:
    values = np.random.default_rng(0).random((5, 7)).astype(np.float32) + 1
    found = resized(values, (10, 21))
    assert np.array_equal(found, cv2.resize(values, (21, 10), interpolation=cv2.INTER_LINEAR))
    # Pixel centres at half integers: a ramp stays a ramp away from the border.
    ramp = np.tile(np.arange(8, dtype=np.float32) + 0.5, (4, 1))
    np.testing.assert_allclose(resized(ramp, (8, 16))[0, 1:-1], (np.arange(16) + 0.5)[1:-1] / 2)


def test_a_map_of_the_right_size_is_not_copied() -> None:
    values = np.ones((5, 7), np.float32)
    assert resized(values, (5, 7)) is values


def test_aligned_depth_has_the_size_asked_for() -> None:
    values = np.random.default_rng(0).random((5, 7)).astype(np.float32) + 1
    depth = aligned_depth(values, "disparity", (2.0, 0.5), 80.0, (10, 21))
    np.testing.assert_allclose(depth, 1 / (2 * resized(values, (10, 21)) + 0.5), rtol=1e-6)
    assert depth.dtype == np.float32
