"""The robust fit against the plain one of numpy on the same 100 000 rows, 30 % outliers: what it costs and buys."""

from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from recon.fitting import fit_affine

ROWS = 100_000


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.uniform(0.05, 1, ROWS)
    y = 2 * x + 0.1 + random.normal(0, 0.02, ROWS)
    y[: 3 * ROWS // 10] += random.uniform(0.2, 2, 3 * ROWS // 10)
    return x, y


def lstsq(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(np.stack([x, np.ones_like(x)], axis=1), y, rcond=None)[0]


def seconds(x: np.ndarray, y: np.ndarray, repeats: int = 9) -> float:
    """Least time of numpy's fit."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        lstsq(x, y)
        times.append(perf_counter() - start)
    return min(times)


def test_robust_fit_against_lstsq(benchmark: BenchmarkFixture, rows: tuple[np.ndarray, np.ndarray]) -> None:
    plain = seconds(*rows)
    fit = benchmark(fit_affine, *rows)
    if benchmark.enabled:
        benchmark.extra_info["times lstsq"] = round(benchmark.stats.stats.min / plain, 1)
    benchmark.extra_info["error of the scale"] = abs(fit.scale - 2)
    benchmark.extra_info["error of the scale, lstsq"] = abs(lstsq(*rows)[0] - 2)
    assert abs(fit.scale - 2) < 1e-3
