"""Peak memory does not grow with the length of a video: the promise of the whole design."""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import SHARED

from recon.io.depth import DepthFolder

STAND_IN = Path(__file__).with_name("stand_in.py")
LONG = SHARED / "data" / "videos_a" / "long_1080p_videoonly_lowbitrate.mp4"
SHORT_COUNT, LONG_COUNT = 1_000, 10_000
ALLOWED_GROWTH = 1.02


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workshop's long clip, or one like it that is made here: at least 10 000 frames, 30 for each second."""
    if LONG.is_file():
        return LONG
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=30, width=640, height=360, pix_fmt="yuv420p")
        stream.options = {"preset": "ultrafast"}
        for number in range(LONG_COUNT):
            picture = np.full((360, 640, 3), number % 200, np.uint8)
            picture[number % 300 : number % 300 + 60, 100:400] = 250
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def peak_memory(video: Path, count: int, output: Path) -> int:
    """Kilobytes that `recon depth` takes for the first ``count`` frames."""
    options = ["--end", str(count / 30), "--resolution", "network", "--format", "ffv1", "-q", "-o", str(output)]
    command = [sys.executable, str(STAND_IN), "depth", str(video), *options]
    # What is measured is what the program holds, not what glibc keeps of freed pictures for later.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(DepthFolder(output, scale=1.0, quantity="disparity")) == count
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_times_the_video_takes_the_same_memory(video: Path, tmp_path: Path) -> None:
    short = peak_memory(video, SHORT_COUNT, tmp_path / "short")
    long = peak_memory(video, LONG_COUNT, tmp_path / "long")
    assert long / short < ALLOWED_GROWTH
