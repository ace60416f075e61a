"""The fit of scale and shift: what it must recover, what must not move it, and what it must refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import lines, seeds

from recon.errors import AlignmentError
from recon.fitting import MAX_ROWS, AffineFit, fit_affine, fit_scale, solve_affine

X = np.linspace(0.2, 3.0, 40)


def noisy(random: np.random.Generator, count: int, noise: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """Rows of y = 1.3 x + 0.2 with normal noise."""
    x = random.uniform(0.2, 3.0, count)
    return x, 1.3 * x + 0.2 + random.normal(0, noise, count)


def lstsq(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The oracle: numpy's solver by singular values."""
    root = np.sqrt(weights)
    return np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1) * root[:, None], y * root, rcond=None)[0]


def same(a: AffineFit, b: AffineFit, rtol: float = 1e-9) -> bool:
    return bool(np.allclose([a.scale, a.shift, a.inlier_ratio], [b.scale, b.shift, b.inlier_ratio], rtol=rtol))


# ------------------------------------------------------------------------------------------------ what it recovers


@given(line=lines(), seed=seeds, count=st.integers(3, 300))
def test_exact_lines_are_recovered_exactly(line: tuple[float, float], seed: int, count: int) -> None:
    scale, shift = line
    x = np.random.default_rng(seed).uniform(0, 1, count)
    fit = fit_affine(x, scale * x + shift)
    np.testing.assert_allclose([fit.scale, fit.shift], [scale, shift], atol=1e-9 * scale / np.ptp(x))
    assert fit.inlier_ratio == 1
    assert fit.count == count


@given(line=lines(), seed=seeds, count=st.integers(1, 100))
def test_exact_scales_are_recovered_exactly(line: tuple[float, float], seed: int, count: int) -> None:
    scale, _ = line
    x = np.random.default_rng(seed).uniform(0.1, 1, count)
    assert fit_scale(x, scale * x).scale == pytest.approx(scale, rel=1e-12)


@given(
    seed=seeds,
    share=st.floats(0, 0.4),
    signs=st.sampled_from([[1], [-1, 1]]),
    where=st.sampled_from(["any", "near", "far"]),
)
def test_two_fifths_of_gross_outliers_are_tolerated(seed: int, share: float, signs: list[int], where: str) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, 1000)
    order = {"any": random.permutation(1000), "near": np.argsort(-x), "far": np.argsort(x)}[where]
    bad = order[: int(share * 1000)]
    sign = random.choice(signs, len(bad))
    y[bad] += sign * random.uniform(1, 30, len(bad))
    fit = fit_affine(x, y)
    # Outliers at one end leave the line less to stand on, which its own standard error knows.
    assert abs(fit.scale - 1.3) < 5 * fit.scale_sigma < 0.03
    assert abs(fit.shift - 0.2) < 5 * fit.shift_sigma < 0.03
    assert fit.inlier_ratio == pytest.approx(1 - len(bad) / 1000, abs=0.02)


@given(seed=seeds, share=st.floats(0, 0.4))
def test_outliers_do_not_move_a_scale(seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    x = random.uniform(0.2, 3.0, 1000)
    y = 1.3 * x + random.normal(0, 0.02, 1000)
    y[: int(share * 1000)] += random.uniform(1, 30)
    fit = fit_scale(x, y)
    assert abs(fit.scale - 1.3) < 5 * fit.sigma < 0.005


def test_x_outliers_do_not_move_the_line() -> None:
    random = np.random.default_rng(0)
    x, y = noisy(random, 1000)
    x[:300] = random.uniform(50, 60, 300)
    assert fit_affine(x, y).scale == pytest.approx(1.3, abs=0.01)


@pytest.mark.parametrize("ratio", [1e-2, 1e-3, 1e-4])
def test_float32_of_small_spread_is_solved_to_six_digits(ratio: float) -> None:
    """Where normal equations in float32 return 1.5556 for 1.3 (spread / mean = 1e-3) or divide by zero."""
    x = (1000 * (1 + ratio * np.random.default_rng(0).standard_normal(100_000))).astype(np.float32)
    fit = fit_affine(x, 1.3 * x.astype(np.float64) - 2)
    assert fit.scale == pytest.approx(1.3, rel=1e-6)
    assert fit.shift == pytest.approx(-2, rel=1e-6)


def test_float32_on_both_sides_is_solved_to_six_digits() -> None:
    x = (1 + 1e-3 * np.random.default_rng(0).standard_normal(100_000)).astype(np.float32)
    fit = fit_affine(x, (1.3 * x.astype(np.float64) - 2).astype(np.float32))
    assert fit.scale == pytest.approx(1.3, rel=1e-6)


# ----------------------------------------------------------------------------------------------- what must not move it


@given(seed=seeds, count=st.integers(5, 200))
def test_weight_zero_is_a_row_removed(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, count + 20)
    y[count:] = 1e6
    weights = np.where(np.arange(count + 20) < count, random.uniform(0.5, 2, count + 20), 0.0)
    removed = fit_affine(x[:count], y[:count], weights[:count])
    kept = fit_affine(x, y, weights)
    assert kept.scale == removed.scale
    assert kept.shift == removed.shift
    assert kept.count == removed.count == count


@given(seed=seeds, count=st.integers(6, 200), outliers=st.sampled_from([0, 3]))
def test_weight_two_is_the_row_twice(seed: int, count: int, outliers: int) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, count)
    y[: count // 6] += outliers
    weights = random.integers(1, 4, count)
    repeated = fit_affine(np.repeat(x, weights), np.repeat(y, weights))
    assert same(fit_affine(x, y, weights.astype(float)), repeated)


@given(seed=seeds, factor=st.floats(1e-6, 1e6))
def test_only_ratios_of_weights_matter(seed: int, factor: float) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, 100)
    weights = random.uniform(0.1, 1, 100)
    one, other = fit_affine(x, y, weights), fit_affine(x, y, weights * factor)
    assert same(one, other)
    np.testing.assert_allclose(one.covariance, other.covariance, rtol=1e-6)


@given(seed=seeds, count=st.integers(6, 2000))
def test_the_order_of_rows_does_not_matter(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, count)
    y[: count // 6] += 2
    x = np.round(x, 1)  # ties, as in quantised disparity
    order = random.permutation(count)
    one, other = fit_affine(x, y), fit_affine(x[order], y[order])
    assert (one.scale, one.shift) == (other.scale, other.shift)
    assert np.array_equal(one.covariance, other.covariance)


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_rows_that_are_not_finite_do_not_exist(garbage: float, column: int) -> None:
    random = np.random.default_rng(0)
    x, y = noisy(random, 200)
    rows = np.stack([x, y, np.ones(200)])
    rows[:, ::3] = 1e30
    rows[column, ::3] = garbage if not (column == 2 and garbage < 0) else np.nan
    kept = np.arange(200) % 3 != 0
    clean, fit = fit_affine(x[kept], y[kept]), fit_affine(*rows)
    assert (fit.scale, fit.shift, fit.count) == (clean.scale, clean.shift, 133)


def test_more_rows_than_are_needed_are_thinned() -> None:
    random = np.random.default_rng(0)
    x, y = noisy(random, 3 * MAX_ROWS)
    y[::3] += 5
    order = random.permutation(len(x))
    fit, other = fit_affine(x, y), fit_affine(x[order], y[order])
    assert (fit.scale, fit.shift) == (other.scale, other.shift)
    assert abs(fit.scale - 1.3) < 4 * fit.scale_sigma < 0.001
    assert fit.count == 3 * MAX_ROWS


@given(seed=seeds, line=lines())
def test_units_of_x_and_y_carry_through(seed: int, line: tuple[float, float]) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, 200)
    scale, shift = line
    plain, moved = fit_affine(x, y), fit_affine(x, scale * y + shift)
    assert moved.scale == pytest.approx(scale * plain.scale, rel=1e-8)
    assert moved.shift == pytest.approx(scale * plain.shift + shift, rel=1e-8, abs=1e-8 * scale)


# ------------------------------------------------------------------------------------------------------------- oracles


@given(seed=seeds, count=st.integers(3, 500))
def test_plain_least_squares_is_numpys(seed: int, count: int) -> None:
    random = np.random.default_rng(seed)
    x, y = noisy(random, count)
    weights = random.uniform(0.1, 5, count)
    np.testing.assert_allclose(solve_affine(x, y, weights), lstsq(x, y, weights), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("count", [100, 10_000])
def test_without_outliers_the_line_is_that_of_least_squares_within_its_error(count: int) -> None:
    x, y = noisy(np.random.default_rng(3), count)
    fit, plain = fit_affine(x, y), lstsq(x, y, np.ones(count))
    # Two estimates from the same rows differ by less than either errs: 95 % efficiency leaves 0.23 standard errors.
    assert abs(fit.scale - plain[0]) < 0.8 * fit.scale_sigma
    assert abs(fit.shift - plain[1]) < 0.8 * fit.shift_sigma


@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_covariance_is_that_of_many_fits(outliers: float) -> None:
    """Monte Carlo: noise that grows with x, as the disparity of near things does."""
    random = np.random.default_rng(0)
    fits = []
    for _ in range(250):
        x = random.uniform(1, 2, 200)
        y = 1.3 * x + 0.2 + 0.02 * x * random.standard_normal(200)
        y[: int(outliers * 200)] += 2
        fits.append(fit_affine(x, y))
    seen = np.cov([[fit.scale for fit in fits], [fit.shift for fit in fits]])
    said = np.mean([fit.covariance for fit in fits], axis=0)
    # 250 runs know a variance to 9 %; an estimate from 140 to 200 rows adds its own bias of a few percent.
    np.testing.assert_allclose(said, seen, rtol=0.2)


def test_sigma_of_a_scale_is_that_of_many_fits() -> None:
    random = np.random.default_rng(0)
    x = random.uniform(1, 2, 100)
    fits = [fit_scale(x, 1.3 * x + 0.05 * random.standard_normal(100)) for _ in range(250)]
    assert np.mean([fit.sigma for fit in fits]) == pytest.approx(np.std([fit.scale for fit in fits]), rel=0.1)


# ------------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("x", "y", "weights", "message"),
    [
        (X[:2], X[:2], None, "2 of 2 values are finite and have weight"),
        (X[:0], X[:0], None, "0 of 0"),
        (np.full(40, np.nan), X, None, "0 of 40"),
        (X, X, np.zeros(40), "0 of 40"),
        (np.ones(40), X, None, "lie between 1 and 1"),
        (np.full(40, 1e8) + np.arange(40) * 1e-6, X, None, "cannot be told apart"),
        (X, np.ones(40), None, "scale of 0"),
        (X, np.zeros(40), None, "scale of 0"),
        (X, -X, None, "near and far swap"),
        (X, 5 - X, None, "near and far swap"),
        (X, 1 + np.sin(1e4 * X), None, "determine the scale|near and far swap"),
    ],
)
def test_degenerate_data_are_refused(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        fit_affine(x, y, weights)


@given(seed=seeds, count=st.integers(3, 300), spread=st.sampled_from([0.0, 1e-9, 1e-3, 1.0]))
def test_noise_gives_no_scale_that_is_not_significant(seed: int, count: int, spread: float) -> None:
    """Never quiet nonsense: either an error, or a positive finite scale by three of its own standard errors."""
    random = np.random.default_rng(seed)
    x = 5 + spread * random.standard_normal(count)
    try:
        fit = fit_affine(x, random.standard_normal(count))
    except AlignmentError:
        return
    assert np.isfinite([fit.scale, fit.shift]).all()
    assert np.isfinite(fit.covariance).all()
    assert fit.scale >= 3 * fit.scale_sigma


def test_inliers_of_one_depth_are_refused() -> None:
    x = np.concatenate([np.ones(60), np.linspace(2, 3, 40)])
    y = np.concatenate([np.full(60, 0.5), np.random.default_rng(0).uniform(10, 20, 40)])
    with pytest.raises(AlignmentError, match="of 61 values that agree with each other all but one"):
        fit_affine(x, y)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X[:0], X[:0], "0 of 0"),
        (np.zeros(40), X, "all 40 values are 0"),
        (X, -X, "near and far swap"),
        (np.array([1.0, 2, 3]), np.array([1.0, -2, 0.5]), "determine the scale|near and far swap"),
    ],
)
def test_degenerate_scales_are_refused(x: np.ndarray, y: np.ndarray, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        fit_scale(x, y)


@pytest.mark.parametrize(
    ("x", "weights", "message"),
    [(np.ones(40), np.ones(40), "all 40 values that agree"), (X, np.zeros(40), "all 40 weights are 0")],
)
def test_plain_least_squares_refuses_what_it_cannot_solve(x: np.ndarray, weights: np.ndarray, message: str) -> None:
    with pytest.raises(AlignmentError, match=message):
        solve_affine(x, X, weights)


def test_misuse_is_a_value_error() -> None:
    with pytest.raises((ValueError, TypeError), match="40"):  # jaxtyping's check comes first, where it is on
        fit_affine(X, X[1:], np.ones(40))
    with pytest.raises(ValueError, match="must not be negative, the least is -1"):
        fit_affine(X, X, np.full(40, -1.0))


def test_a_fit_is_frozen() -> None:
    fit = fit_affine(X, X)
    with pytest.raises(ValueError, match="read-only"):
        fit.covariance[0, 0] = 1


def test_depth_of_a_metric_network_is_fitted_in_its_own_space() -> None:
    """Its error grows with depth: x and y are depths in metres, and rows weigh as the inverse square of them."""
    rng = np.random.default_rng(0)
    predicted = rng.uniform(0.5, 80, 5000)
    metres = (1.1 * predicted + 0.3) * rng.normal(1, 0.05, 5000)
    metres[rng.random(5000) < 0.3] *= 1.8
    weights = predicted**-2
    fit = fit_affine(predicted, metres, weights)
    assert fit.scale == pytest.approx(1.1, abs=4 * fit.scale_sigma)
    assert fit.shift == pytest.approx(0.3, abs=4 * fit.shift_sigma)
    assert fit.scale_sigma < 0.01
    factor = fit_scale(predicted, metres - 0.3, weights)
    assert factor.scale == pytest.approx(1.1, abs=4 * factor.sigma)
