"""Peak memory does not grow with the length of a video: the promise of the whole design."""

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from recon.io.depth import DepthFolder

STAND_IN = Path(__file__).with_name("stand_in.py")
SHORT_COUNT, LONG_COUNT, PERIOD = 1_000, 10_000, 600
ALLOWED_GROWTH = 1.02


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames for each second. Twenty seconds are encoded, and their packets follow each other again and again.

    Small pictures: the less a run takes at all, the less may be left of each frame (here about 350 bytes).
    """
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    with av.open(path, "w") as file:
        stream = file.add_stream("libx264", rate=30, width=320, height=180, pix_fmt="yuv420p")
        packets = [packet for frame in (*pictures(), None) for packet in stream.encode(frame)]
        for start in range(0, LONG_COUNT, PERIOD):
            for packet in packets:
                file.mux(moved(packet, stream, start))
    return path


def pictures() -> Iterator[av.VideoFrame]:
    """What changes from frame to frame, and a cut now and then."""
    for number in range(PERIOD):
        picture = np.full((180, 320, 3), number % 200, np.uint8)
        picture[number % 150 : number % 150 + 30, 50:200] = 250
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 30)
        yield frame


def moved(packet: av.Packet, stream: av.VideoStream, frames: int) -> av.Packet:
    """The same data, ``frames`` later."""
    later, offset = av.Packet(bytes(packet)), int(frames / 30 / packet.time_base)
    later.stream, later.time_base, later.is_keyframe = stream, packet.time_base, packet.is_keyframe
    later.pts, later.dts = packet.pts + offset, packet.dts + offset
    return later


def peak_memory(command: str, video: Path, count: int, *options: str | Path) -> int:
    """Kilobytes that a command takes for the first ``count`` frames."""
    told = [sys.executable, STAND_IN, command, video, "--end", str(count / 30), "-q", *options]
    # What is measured is what the program holds, not what glibc keeps of freed pictures for later.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "250000", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(told, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_times_the_video_takes_the_same_memory(video: Path, tmp_path: Path) -> None:
    def peak(count: int) -> int:
        output = tmp_path / str(count)
        taken = peak_memory("depth", video, count, "--resolution", "network", "--format", "ffv1", "-o", output)
        assert len(DepthFolder(output, scale=1.0, quantity="disparity")) == count
        return taken

    assert peak(LONG_COUNT) / peak(SHORT_COUNT) < ALLOWED_GROWTH


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_eyes_of_three_times_the_video_take_the_same_memory(video: Path, tmp_path: Path) -> None:
    """Small eyes: what is held of other frames is bound by their number, which both films reach."""

    def peak(count: int) -> int:
        output = tmp_path / f"{count}.mp4"
        taken = peak_memory("stereo3d", video, count, "--per-eye-max", "96", "-o", output)
        with av.open(output) as film:
            assert film.streams.video[0].frames == count
        return taken

    assert peak(3_600) / peak(1_200) < ALLOWED_GROWTH
