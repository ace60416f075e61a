"""What other frames cost beside the eyes themselves, at 1080p.

`pytest benchmarks/test_stereo_plate.py` prints the times of a film; `ratio` stands in the extra information: processor
time that the plate adds, over that of the warps and fills of both eyes in the same run.
"""

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data
from pytest_benchmark.fixture import BenchmarkFixture

from recon.stages.stereo.fill import filled
from recon.stages.stereo.plate import paired
from recon.stages.stereo.warp import seen_from

WIDTH, HEIGHT = 1920, 1080
FRAMES = 8
RUNS = 2
SHARES = (-0.5, 0.5)

Frames = list[tuple[np.ndarray, np.ndarray]]


def film(pan: int, speed: int) -> Frames:
    """Discs that move before a wall, in pixels for each frame: a twelfth of the picture."""
    photo = cv2.resize(
        skimage.data.stereo_motorcycle()[0], (WIDTH + FRAMES * pan, HEIGHT), interpolation=cv2.INTER_CUBIC
    )
    upside_down = photo[::-1, ::-1]
    slant = np.linspace(0.01, 0.025, HEIGHT, dtype=np.float32)[::-1, None]
    frames = []
    for number in range(FRAMES):
        picture = photo[:, pan * number : pan * number + WIDTH].copy()
        parallax = np.repeat(slant, WIDTH, axis=1)
        for x, y, way in ((400, 300, 1), (1300, 400, -1), (900, 800, 1)):
            disc = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(disc, (x + way * speed * number, y), 140, 1, -1)
            picture[disc > 0], parallax[disc > 0] = upside_down[:, :WIDTH][disc > 0], -0.012
        frames.append((picture, parallax))
    return frames


def alone(frames: Frames) -> None:
    for frame in frames:
        for share in SHARES:
            filled(seen_from(*frame, share))


def together(frames: Frames) -> None:
    for _ in paired(iter(frames), SHARES):
        pass


def seconds(work: Callable[[], object]) -> float:
    """Processor time of all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize(
    ("pan", "speed", "most"),
    [
        pytest.param(10, 18, 2.3, id="camera pans"),  # measured: 1.5
        pytest.param(0, 18, 1.4, id="camera stands"),  # measured: 0.8
        pytest.param(0, 0, 0.7, id="nothing moves"),  # measured: 0.3
    ],
)
def test_what_other_frames_cost(benchmark: BenchmarkFixture, pan: int, speed: int, most: float) -> None:
    frames = film(pan, speed)
    benchmark.pedantic(lambda: together(frames), rounds=RUNS, warmup_rounds=1)
    times = [(seconds(lambda: together(frames)), seconds(lambda: alone(frames))) for _ in range(RUNS)]
    with_others, eyes = (min(each) for each in zip(*times, strict=True))
    benchmark.extra_info |= {"ratio": round(with_others / eyes - 1, 2), "eyes_ms": round(1000 * eyes / FRAMES)}
    assert with_others / eyes - 1 < most
