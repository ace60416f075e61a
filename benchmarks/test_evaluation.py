"""What measures cost: the temporal error with a z-buffer against the released scatter; far points with a bound."""

from time import perf_counter

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial.transform import Rotation

from recon.evaluation.clouds import CloudComparison, compare_clouds
from recon.evaluation.temporal import temporal_error
from recon.evaluation.truth import TruthCamera
from recon.geometry import rigid
from recon.types import DepthMap, Intrinsics

LENS = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
Pair = tuple[DepthMap, DepthMap, TruthCamera, TruthCamera]


@pytest.fixture
def pair() -> Pair:
    """Rough depth of 2 to 3 m, the camera turns by 2 degrees and goes 7 cm."""
    depth = np.random.default_rng(0).uniform(2, 3, (2, LENS.height, LENS.width)).astype(np.float32)
    motion = rigid(Rotation.from_rotvec([0, 0.03, 0.01]).as_matrix(), np.array([0.05, 0, 0.05]))
    return depth[0], depth[1], TruthCamera(LENS, np.eye(4)), TruthCamera(LENS, motion)


def seconds(pair: Pair, repeats: int = 5) -> float:
    """Least time of the released arithmetic."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        temporal_error(*pair, hidden_points_compared=True)
        times.append(perf_counter() - start)
    return min(times)


def test_temporal_error_with_a_z_buffer_against_the_released_scatter(benchmark: BenchmarkFixture, pair: Pair) -> None:
    scatter = seconds(pair)
    error = benchmark(temporal_error, *pair, hidden_points_compared=False)
    assert 5 < error < 20
    if benchmark.enabled:
        benchmark.extra_info["times the scatter"] = round(benchmark.stats.stats.min / scatter, 2)


def wavy_floor(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x, y = random.uniform(0, 10, (2, count))
    return np.stack([x, y, np.sin(x) + np.cos(y) + random.normal(0, 0.01, count)], axis=1).astype(np.float32)


@pytest.mark.parametrize("farthest", [1.0, np.inf])
def test_points_far_from_everything(benchmark: BenchmarkFixture, farthest: float) -> None:
    """One predicted point in 20 is anywhere within 20 m."""
    predicted, true = wavy_floor(100_000, 0), wavy_floor(100_000, 1)
    predicted[::20] = np.random.default_rng(2).uniform(-20, 20, (5000, 3))
    options = {"farthest": farthest}
    found: CloudComparison = benchmark.pedantic(compare_clouds, (predicted, true), options, rounds=3)
    assert found.agreements[-1].precision == pytest.approx(0.95, abs=0.01)
