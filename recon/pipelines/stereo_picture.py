"""Two eyes of single pictures: a picture to look at, or a GIF that goes to and fro between the eyes."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from recon.errors import VideoError
from recon.files import whole_file
from recon.io.pictures import is_pictures
from recon.io.store import ShotSpan
from recon.pipelines.stereo import Stereo, StereoRun
from recon.pipelines.stereo_film import files_of
from recon.types import Picture, Samples

QUALITY: Final = (cv2.IMWRITE_JPEG_QUALITY, 95)
"""Of a JPEG; other formats lose nothing."""
MOMENTS: Final = 6
"""Of a film, in a GIF."""
TURNS: Final = 6
"""Times that a GIF goes to and fro at each moment of a film."""
HELD: Final = 120
"""Milliseconds that each eye is shown."""
WIDEST: Final = 640
"""Pixels of the longer side of a GIF: they are large."""


@dataclass(frozen=True, slots=True)
class _Still:
    """A picture of a source."""

    time: float
    samples: Samples


def is_picture(path: Path) -> bool:
    """Whether this is one picture, and no film."""
    return path.is_file() and is_pictures(path)


def write_picture(run: StereoRun, output: Path) -> tuple[Path, ...]:
    """Write the one picture of the source: one file, or those of the left and the right eye.

    Raises:
        VideoError: it cannot be written.
    """
    (made,) = _at(run, run.maps.shots[0])
    names = files_of(output, run.layout)
    for name, picture in zip(names, made.pictures, strict=True):
        swapped = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        told = QUALITY if name.suffix.lower() in {".jpg", ".jpeg"} else ()
        coded, data = cv2.imencode(name.suffix, swapped, told)
        if not coded:
            raise VideoError(f"{name}: the picture cannot be coded: choose .png")
        with whole_file(name) as partial:
            partial.write_bytes(data.tobytes())
    return names


def write_wiggle(run: StereoRun, output: Path) -> int:
    """Write a GIF: at some moments of the film, or of the picture, the eyes in turn; returns how many moments.

    Raises:
        VideoError: it cannot be written.
    """
    spans = _moments(run.maps.shots)
    frames: list[Picture] = []
    for span in spans:
        (made,) = _at(run, span)
        eyes = [_reduced(picture) for picture in made.pictures]
        frames += eyes * (TURNS if len(spans) > 1 else 1)
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGRA) for frame in frames]
    animation.durations = [HELD] * len(frames)
    coded, data = cv2.imencodeanimation(".gif", animation)
    if not coded:
        raise VideoError(f"{output}: the GIF cannot be coded")
    with whole_file(output) as partial:
        partial.write_bytes(np.asarray(data, np.uint8).tobytes())
    return len(spans)


def _moments(shots: Sequence[ShotSpan]) -> list[ShotSpan]:
    """Single frames: the middle of the longest shots, in the order of time."""
    longest = sorted(shots, key=lambda shot: -shot.count)[:MOMENTS]
    return [
        ShotSpan(shot.shot, shot.start + shot.count // 2, 1) for shot in sorted(longest, key=lambda shot: shot.start)
    ]


def _at(run: StereoRun, span: ShotSpan) -> Iterator[Stereo[_Still]]:
    """One frame, by itself."""
    time = run.maps.time_of(span.start)
    with closing(run.source.frames()) as frames:
        if run.source.info.kind != "video":
            frame = next(frame for frame in frames if frame.time >= time)
            picture = frame.rgb
        else:
            picture = run.source.picture(time)
    yield from run.eyes(span, [_Still(time, picture)])


def _reduced(picture: Samples) -> Picture:
    share = WIDEST / max(picture.shape[:2])
    size = (round(picture.shape[1] * share), round(picture.shape[0] * share))
    small: Picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if share < 1 else np.asarray(picture)
    return small


__all__ = ["is_picture", "write_picture", "write_wiggle"]
