"""What the scripts of camera paths share: the frames of a video with their depth, and the two files that are written.

A path is written as TUM (OUT.txt: one world, the longest run of frames that a program could place), and beside it
OUT.json says how long that took, how many frames were asked for, how many each run holds, and what the program said.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from recon.files import whole_file
from recon.io.calibration import read_intrinsics
from recon.io.depth import DepthFolder
from recon.io.trajectory import write_tum
from recon.io.video import Source, open_source
from recon.settings import SamplingSettings
from recon.stages.align import depth_from_disparity, relative_gauge
from recon.types import CameraTrajectory, DepthMap, Frame, Intrinsics, RigidTransform

MILLIMETRES = 1000.0
"""Of 16-bit maps."""

Timed = tuple[float, RigidTransform]
"""Seconds, and world_from_camera."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What stands beside a path."""

    seconds: float
    """That the program took, without decoding and without any network for depth."""
    frames: int
    """That it was asked to place."""
    segments: list[int]
    """Frames in each world of their own, the longest first."""
    said: list[str]
    """What it said by itself of what it could not do."""


def arguments(about: str | None) -> argparse.ArgumentParser:
    """What every script needs."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, help="video, folder or glob of pictures")
    parser.add_argument("output", type=Path, help="what to write")
    parser.add_argument("--intrinsics", type=Path, required=True, help="file with the calibration")
    parser.add_argument("--picture-rate", type=float, default=30.0, help="pictures for each second")
    return parser


def add_depth(parser: argparse.ArgumentParser) -> None:
    """What scripts need that take depth."""
    about = "maps: as `recon depth` writes, or PNG in millimetres"
    parser.add_argument("--depth", type=Path, required=True, help=about)
    parser.add_argument("--depth-kind", choices=("depth", "disparity"), default="depth", help="what they hold")


def opened(given: argparse.Namespace) -> tuple[Source, Intrinsics]:
    """The video and its camera."""
    source = open_source(given.video, SamplingSettings(picture_rate=given.picture_rate))
    width, height = source.info.width, source.info.height
    return source, read_intrinsics(given.intrinsics, (height, width)).scaled(width, height)


def with_depth(source: Source, given: argparse.Namespace) -> Iterator[tuple[Frame, DepthMap]]:
    """Every frame with its depth, which may be of another size. Disparity becomes depth of no unit, as in `recon`."""
    folder = DepthFolder(given.depth, scale=MILLIMETRES, quantity=given.depth_kind)
    with closing(source.frames()) as frames:
        times = [frame.time for frame in frames]
    numbers = folder.match(times, source.times_by_name)
    line = relative_gauge(folder.maps(numbers)) if given.depth_kind == "disparity" else None
    with closing(source.frames()) as frames:
        for frame, values in zip(frames, folder.maps(numbers), strict=True):
            yield frame, values if line is None else depth_from_disparity(values, line)


def write_path(output: Path, segments: Sequence[Sequence[Timed]], facts: Facts) -> None:
    """The longest run of frames as TUM (nothing where there is none), and the facts beside it."""
    longest = max(segments, key=len, default=())
    if longest:
        times, matrices = zip(*sorted(longest, key=lambda each: each[0]), strict=True)
        write_tum(output, CameraTrajectory(np.array(times, np.float64), np.stack(matrices)))
    with whole_file(output.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(asdict(facts), indent=1) + "\n", encoding="utf-8")
