"""What it saves to encode each frame once: a window of Video Depth Anything Small, 22 new frames against all 32."""

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from recon.models.vda import VideoDepthAnything
from recon.models.video_depth import Execution, Features, NetworkSpec, VideoDepthNetwork
from recon.stages.disparity import SHARED, WINDOW

HEIGHT, WIDTH = 70, 126


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Ratios on a busy machine: more threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network() -> VideoDepthNetwork:
    torch.manual_seed(0)
    spec = NetworkSpec("random", "vits", metric=False, sha256="0")
    plain = VideoDepthAnything("vits").eval().requires_grad_(requires_grad=False)
    return VideoDepthNetwork(plain, spec, Execution.chosen(HEIGHT, "auto", "auto"))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (WINDOW, HEIGHT, WIDTH, 3), np.uint8))


def window(network: VideoDepthNetwork, pictures: list[np.ndarray], known: Sequence[Features]) -> np.ndarray:
    features = [*known, *network.encode(pictures[len(known) :])]
    return network.decode(features, (HEIGHT, WIDTH))


def seconds(network: VideoDepthNetwork, pictures: list[np.ndarray], repeats: int = 3) -> float:
    """Least time of a window that encodes all its frames, as the published code does."""
    times = []
    for _ in range(repeats):
        start = perf_counter()
        window(network, pictures, [])
        times.append(perf_counter() - start)
    return min(times)


def test_window_with_reuse_against_without(
    benchmark: BenchmarkFixture, network: VideoDepthNetwork, pictures: list[np.ndarray]
) -> None:
    known = network.encode(pictures[:SHARED])
    maps = benchmark.pedantic(window, (network, pictures, known), rounds=3, warmup_rounds=1)
    assert maps.shape == (WINDOW, HEIGHT, WIDTH)
    without = seconds(network, pictures)
    if benchmark.enabled:
        benchmark.extra_info["times faster than without reuse"] = round(without / benchmark.stats.stats.min, 2)
