"""Decoding through recon, against bare PyAV to rgb24 on the same clip: the ratio is what counts.

`pytest benchmarks/test_decode.py` prints both; `ratio` stands in the extra information of ours.
"""

import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from recon.io.video import open_source
from recon.settings import SamplingSettings

FRAMES = 120


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1080p, H.264, a picture of smooth noise that drifts: some motion and some detail, as a film has."""
    path = tmp_path_factory.mktemp("decode") / "clip.mp4"
    coarse = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(coarse, "rgb24").reformat(2560, 1440, "rgb24").to_ndarray()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(30), options={"preset": "ultrafast", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for number in range(FRAMES):
            view = np.ascontiguousarray(picture[number : number + 1080, 2 * number : 2 * number + 1920])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, "rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    return path


def bare(path: Path) -> int:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return sum(len(frame.to_ndarray(format="rgb24")) > 0 for frame in container.decode(stream))


def ours(path: Path) -> int:
    return sum(1 for _ in open_source(path, SamplingSettings()).frames())


def seconds(decode, path: Path) -> float:  # noqa: ANN001
    begin = time.perf_counter()
    assert decode(path) == FRAMES
    return time.perf_counter() - begin


def test_decode(benchmark, clip: Path) -> None:  # noqa: ANN001
    """Ours takes at most 1.5 times as long as bare PyAV (measured: 1.0 to 1.1)."""
    pairs = [(seconds(bare, clip), seconds(ours, clip)) for _ in range(3)]
    ratio = min(mine for _, mine in pairs) / min(its for its, _ in pairs)
    benchmark.extra_info["ratio"] = round(ratio, 3)
    benchmark.pedantic(ours, (clip,), rounds=2)
    assert ratio < 1.5
