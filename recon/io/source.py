"""What a source of pictures is, whatever it is made of; which of its frames are taken; what tells two sources apart."""

import hashlib
import math
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

from recon.settings import SamplingSettings
from recon.types import Frame, Picture

T = TypeVar("T")

ROUNDING = 0.000501
"""Seconds that a frame may be early and still count as on time: Matroska rounds to whole milliseconds."""
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before it is decoded."""

    path: Path
    kind: Literal["video", "pictures"]
    width: int
    """Pixels, display orientation, square pixels."""
    height: int
    """Pixels, display orientation, square pixels."""
    rate: float | None
    """Average frames for each second, after sampling."""
    duration: float | None
    """Seconds that are used."""
    frame_count: int | None
    """Frames to expect after sampling; good enough for a progress bar, not for an allocation."""
    fov_x: float | None
    """Horizontal field of view in degrees, where the camera wrote its focal length into the file."""
    notes: tuple[str, ...]
    """What is worth telling: rotated, tone-mapped, several streams, ..."""


@runtime_checkable
class Source(Protocol):
    """A video or a row of pictures."""

    @property
    def info(self) -> SourceInfo:
        """What is known before decoding."""

    @property
    def identity(self) -> dict[str, str]:
        """What is decoded, whatever it is called: content and sampling; part of a store's key."""

    @property
    def times_by_name(self) -> Mapping[str, float]:
        """For pictures: file name up to its first dot -> time in seconds, before sampling; empty for a video."""

    def frames(self) -> Generator[Frame]:
        """Decode lazily, from the start, anew at each call; closing the generator closes the file.

        Raises:
            VideoError: nothing can be decoded, or nothing lies in the part that was asked for.
        """

    def picture(self, time: float) -> Picture:
        """The first picture at or after a time in seconds, whether it is sampled or not; by seeking where that is safe.

        Raises:
            VideoError: there is none.
        """


def sampled(timed: Iterable[tuple[float, T]], sampling: SamplingSettings) -> Iterator[tuple[float, T]]:
    """The items that are taken: the first at or after each multiple of the period from ``start``, before ``end``.

    The multiples are of the clock, not of what was taken before, so that the rate never drifts. An item that is up to
    half a millisecond early is on time, because containers round.
    """
    latest = -1
    end = math.inf if sampling.end is None else sampling.end
    for time, item in timed:
        if time + ROUNDING >= end:
            return
        since_start = time + ROUNDING - sampling.start
        if since_start < 0:
            continue
        due = math.floor(since_start / sampling.period) if sampling.period else latest + 1
        if due > latest:
            latest = due
            yield time, item


def used_duration(total: float | None, sampling: SamplingSettings) -> float | None:
    """Seconds between ``start`` and ``end`` of a source that lasts ``total`` seconds; None where nobody knows."""
    ends = [end for end in (total, sampling.end) if end is not None]
    return max(0.0, min(ends) - sampling.start) if total is not None else None


def sampled_rate(rate: float | None, sampling: SamplingSettings) -> float | None:
    """Average frames for each second after sampling."""
    rates = [value for value in (rate, 1 / sampling.period if sampling.period else None) if value]
    return min(rates, default=None)


def expected_count(rate: float | None, duration: float | None) -> int | None:
    """Frames in ``duration`` seconds at ``rate``, at least one; None where one of them is unknown."""
    return max(1, math.ceil(rate * duration - 1e-3)) if rate and duration is not None else None


def fov_x_from_focal(focal: float, reference: float, width: int, length: float) -> float:
    """Horizontal field of view in degrees.

    Args:
        focal: focal length in millimetres.
        reference: millimetres on the sensor (or the 36 x 24 mm film) that ``length`` covers.
        width: width of the picture in pixels, display orientation.
        length: the side or diagonal, in pixels, that ``reference`` refers to.
    """
    return math.degrees(2 * math.atan(width / 2 / (focal / reference * length)))


def fingerprint(path: Path) -> str:
    """Size, and SHA-256 of the first and last MiB: tells contents apart without reading a film from end to end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_MEBIBYTE))
        file.seek(max(_MEBIBYTE, size - _MEBIBYTE))
        digest.update(file.read(_MEBIBYTE))
    return f"{size}-{digest.hexdigest()}"


def sampling_identity(sampling: SamplingSettings) -> dict[str, str]:
    """The part of an identity that says which frames are taken."""
    return {"start": f"{sampling.start!r}", "end": f"{sampling.end!r}", "period": f"{sampling.period!r}"}
