"""What it saves to encode each frame once: a window of Video Depth Anything Small, 22 new frames against all 32."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from recon.models.vda import VideoDepthAnything
from recon.models.video_depth import Execution, Features, NetworkSpec, VideoDepthNetwork
from recon.stages.disparity import SHARED, WINDOW

HEIGHT, WIDTH = 112, 196


@pytest.fixture(scope="module")
def network() -> VideoDepthNetwork:
    torch.manual_seed(0)
    spec = NetworkSpec("random", "vits", metric=False, sha256="0")
    plain = VideoDepthAnything("vits").eval().requires_grad_(requires_grad=False)
    return VideoDepthNetwork(plain, spec, Execution.chosen(HEIGHT, "auto", "auto"))


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (WINDOW, HEIGHT, WIDTH, 3), np.uint8))


@pytest.mark.parametrize("reused", [0, SHARED], ids=["all frames encoded", "shared frames reused"])
def test_window(
    benchmark: BenchmarkFixture, network: VideoDepthNetwork, pictures: list[np.ndarray], reused: int
) -> None:
    known = network.encode(pictures[:reused]) if reused else []

    def window() -> np.ndarray:
        features: Sequence[Features] = [*known, *network.encode(pictures[reused:])]
        return network.decode(features, (HEIGHT, WIDTH))

    assert benchmark.pedantic(window, rounds=3, warmup_rounds=1).shape == (WINDOW, HEIGHT, WIDTH)
    benchmark.extra_info["encoded"] = WINDOW - reused
