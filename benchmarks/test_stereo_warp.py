"""One eye of 1080p, what comes before it and after, beside `cv2.remap`, which knows no order and leaves no holes.

`pytest -n0 benchmarks/test_stereo_warp.py` prints the times; `ratio` stands in the extra information of ours.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data
from pytest_benchmark.fixture import BenchmarkFixture

from recon.stages.stereo.detail import sharpened
from recon.stages.stereo.fill import filled
from recon.stages.stereo.warp import seen_from

SIZE = (1920, 1080)
RUNS = 9
MOST_SEEING = 3.1
"""Times the processor time of a linear remap that an eye may take (measured: 2.2 to 2.5)."""
MOST_FILLING = 2.4
"""The same, for filling its holes (measured: 1.7 to 1.8)."""
MOST_SHARPENING = 6.6
"""The same, for a map of 518 x 291 (measured: 5.3 to 5.4)."""


@pytest.fixture(scope="module")
def frame() -> tuple[np.ndarray, np.ndarray]:
    """Motorcycle, with many silhouettes: 6 per cent of the right eye are holes."""
    left, _right, disparity = skimage.data.stereo_motorcycle()
    known = np.where(np.isfinite(disparity), disparity, 8)
    parallax = cv2.resize(-known / 741, SIZE, interpolation=cv2.INTER_NEAREST).astype(np.float32)
    return cv2.resize(left, SIZE, interpolation=cv2.INTER_CUBIC), parallax


def seconds(work: Callable[[], object]) -> float:
    """Processor time of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def ratio(ours: Callable[[], object], its: Callable[[], object]) -> float:
    """Of the best times, taken in turns."""
    pairs = [(seconds(ours), seconds(its)) for _ in range(RUNS)]
    return min(mine for mine, _ in pairs) / min(theirs for _, theirs in pairs)


def remapped(picture: np.ndarray, parallax: np.ndarray) -> Callable[[], object]:
    x, y = np.meshgrid(*(np.arange(length, dtype=np.float32) for length in SIZE))
    x += parallax * np.float32(SIZE[0] / 2)
    return lambda: cv2.remap(picture, x, y, cv2.INTER_LINEAR)


@pytest.mark.parametrize("share", [-0.5, 0.5])
def test_an_eye(benchmark: BenchmarkFixture, frame: tuple[np.ndarray, np.ndarray], share: float) -> None:
    benchmark.pedantic(lambda: seen_from(*frame, share), rounds=RUNS, warmup_rounds=1)
    found = ratio(lambda: seen_from(*frame, share), remapped(*frame))
    benchmark.extra_info["ratio"] = round(found, 2)
    assert found < MOST_SEEING


def test_its_holes(benchmark: BenchmarkFixture, frame: tuple[np.ndarray, np.ndarray]) -> None:
    seen = seen_from(*frame, 0.5)
    benchmark.pedantic(lambda: filled(seen), rounds=RUNS, warmup_rounds=1)
    found = ratio(lambda: filled(seen), remapped(*frame))
    benchmark.extra_info["ratio"] = round(found, 2)
    assert found < MOST_FILLING


def test_a_small_map_at_full_resolution(benchmark: BenchmarkFixture, frame: tuple[np.ndarray, np.ndarray]) -> None:
    picture, parallax = frame
    small = cv2.resize(parallax, (518, 291), interpolation=cv2.INTER_NEAREST)
    benchmark.pedantic(lambda: sharpened(small, picture), rounds=RUNS, warmup_rounds=1)
    found = ratio(lambda: sharpened(small, picture), remapped(*frame))
    benchmark.extra_info["ratio"] = round(found, 2)
    assert found < MOST_SHARPENING


def test_noise_of_parallax_costs_a_few_times_more(frame: tuple[np.ndarray, np.ndarray]) -> None:
    """The worst there is: every pixel a surface of its own, each hiding others."""
    picture, parallax = frame
    rough = parallax + np.random.default_rng(0).uniform(-0.02, 0.02, parallax.shape).astype(np.float32)
    seen_from(picture, rough, 0.5)
    assert ratio(lambda: seen_from(picture, rough, 0.5), lambda: seen_from(picture, parallax, 0.5)) < 40
