"""What a frame costs when it may not look ahead: streaming against the windows, Video Depth Anything Small."""

from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from recon.models.vda import Memory, VideoDepthAnything
from recon.models.vda.memory import KEY_DISTANCE
from recon.models.video_depth import Execution, Features, NetworkSpec, VideoDepthNetwork
from recon.stages.disparity import SHARED, STEP, WINDOW

HEIGHT, WIDTH = 140, 252  # torch takes other, slower convolutions for a single smaller picture


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


def offline(network: VideoDepthNetwork, pictures: list[np.ndarray], known: list[Features]) -> np.ndarray:
    """A window, ten of whose frames are known: the next 22."""
    return network.decode([*known, *network.encode(pictures[SHARED:])], (HEIGHT, WIDTH))


def seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def test_a_streamed_frame_against_one_of_a_window(
    benchmark: BenchmarkFixture, network: VideoDepthNetwork, pictures: list[np.ndarray]
) -> None:
    memory, known = full_memory(network, pictures), network.encode(pictures[:SHARED])
    values, after = benchmark.pedantic(followed, (network, pictures[0], memory), rounds=10, warmup_rounds=1)
    assert values.shape == (HEIGHT, WIDTH)
    assert len(after.frames) == len(memory.frames)
    if benchmark.enabled:
        # By turns, so that whatever else the machine does slows both.
        works = [partial(followed, network, pictures[0], memory)] * 4 + [partial(offline, network, pictures, known)]
        turns = np.array([[seconds(work) for work in works] for _ in range(4)])
        benchmark.extra_info["times faster than offline"] = round(turns[:, 4].min() / STEP / turns[:, :4].min(), 2)
