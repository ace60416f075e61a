"""What a frame costs when it may not look ahead: streaming against the windows, Video Depth Anything Small."""

from collections.abc import Iterator
from time import perf_counter

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from recon.models.vda import Memory, VideoDepthAnything
from recon.models.vda.memory import KEY_DISTANCE
from recon.models.video_depth import Execution, NetworkSpec, VideoDepthNetwork
from recon.stages.disparity import SHARED, STEP, WINDOW

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


def followed(network: VideoDepthNetwork, picture: np.ndarray, memory: Memory) -> tuple[np.ndarray, Memory]:
    """One frame, after enough others."""
    (features,) = network.encode([picture])
    return network.follow(features, memory, (HEIGHT, WIDTH))


def full_memory(network: VideoDepthNetwork, pictures: list[np.ndarray]) -> Memory:
    memory = Memory()
    for number in range(KEY_DISTANCE + 1):
        _, memory = followed(network, pictures[number % WINDOW], memory)
    return memory


def seconds_offline(network: VideoDepthNetwork, pictures: list[np.ndarray], repeats: int = 3) -> float:
    """Least time of a new frame in a window that has ten features already."""
    known = network.encode(pictures[:SHARED])
    times = []
    for _ in range(repeats):
        start = perf_counter()
        network.decode([*known, *network.encode(pictures[SHARED:])], (HEIGHT, WIDTH))
        times.append(perf_counter() - start)
    return min(times) / STEP


def test_a_streamed_frame_against_one_of_a_window(
    benchmark: BenchmarkFixture, network: VideoDepthNetwork, pictures: list[np.ndarray]
) -> None:
    memory = full_memory(network, pictures)
    values, after = benchmark.pedantic(followed, (network, pictures[0], memory), rounds=10, warmup_rounds=1)
    assert values.shape == (HEIGHT, WIDTH)
    assert len(after.frames) == len(memory.frames)
    offline = seconds_offline(network, pictures)
    if benchmark.enabled:
        benchmark.extra_info["times faster than offline"] = round(offline / benchmark.stats.stats.min, 2)
