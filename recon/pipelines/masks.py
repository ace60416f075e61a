"""Masks that somebody painted: what moves, or is not to be seen, takes part neither in poses nor in a cloud.

COLMAP's convention: black is left out. A mask belongs to its picture by name, by time (a video of masks), or by order.
Masks are black and white; encoders and soft brushes may leave greys, but no colours.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool

from recon.errors import FormatError
from recon.io.pictures import PictureSource, read_picture
from recon.io.source import Source
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon.types import DepthEstimate, Picture, ShotFrame

logger = logging.getLogger(__name__)

Kept = Bool[np.ndarray, "h w"]
"""True where a picture counts."""
Pairs = Iterable[tuple[ShotFrame, DepthEstimate]]

_WHITE = 128
"""8 bit; encoders of video leave neither black nor white as they were."""
_COLOURED = 64
"""Difference of two channels of 8 bit that no encoder makes of a grey."""
_GREYS = (64, 192)
"""Neither black nor white, 8 bit."""
_MOST_COLOURED, _MOST_GREY = 0.01, 0.25
"""Parts of a picture that may be neither, where it is a mask: stray pixels, and the borders of a soft brush."""
_LOOKS = (0.0, 0.25, 0.5)
"""Where masks are looked at before any work, as a part of all."""
_OTHER_SHAPE = 0.02
_ROUNDING = 1e-3
"""Seconds by which times in a container may be off."""


@dataclass(frozen=True, slots=True)
class Masks:
    """A folder of pictures or a video, whose black pixels are left out."""

    source: Source
    invert: bool
    """White is left out instead."""
    _told: list[int] = field(default_factory=list)
    """Numbers of masks that leave nothing, once somebody was told of them."""

    def match(self, of: Source, times: Sequence[float], every_time: Callable[[], Sequence[float]]) -> list[int]:
        """The number of the mask of each frame.

        Args:
            of: the source of the frames.
            times: of the frames that are used, seconds.
            every_time: gives the times of all its frames; asked where the masks are not as many as those.

        Raises:
            FormatError: a frame has no mask, there are as many masks as frames by no reading, or all of them leave
                nothing of their frames.
        """
        numbers = self._numbers(of, times, every_time)
        if not any(kept.any() for kept in map(self._kept, self._pictures(numbers))):
            raise FormatError(
                f"{self.name(numbers[0])}: {self._blank}, and so are all masks: nothing is left of any frame; "
                f"{'black is kept (--mask-invert)' if self.invert else 'white (255, not 1) is kept'}"
            )
        return numbers

    def _numbers(self, of: Source, times: Sequence[float], every_time: Callable[[], Sequence[float]]) -> list[int]:
        if not isinstance(self.source, PictureSource):
            return self._by_time(times)
        named = {name: number for number, name in enumerate(self.source.times_by_name)}
        if named.keys() & of.times_by_name.keys():
            return self._by_name(named, {time: name for name, time in of.times_by_name.items()}, times)
        return self._by_order(len(named), times, every_time)

    def kept(self, numbers: Sequence[int]) -> Iterator[Kept]:
        """The masks with these numbers, which do not fall. Those that leave nothing of a frame are told, once."""
        nothing = []
        for number, picture in zip(numbers, self._pictures(numbers), strict=True):
            kept = self._kept(picture)
            if not kept.any():
                nothing.append(number)
            yield kept
        if nothing and not self._told:
            self._told.extend(nothing)
            more = f", and {len(nothing) - 1} more" if len(nothing) > 1 else ""
            logger.warning("%s: %s%s: nothing is left of that frame", self.name(nothing[0]), self._blank, more)

    def name(self, number: int) -> str:
        """What a mask is called, for a person."""
        source = self.source
        return str(source.files[number]) if isinstance(source, PictureSource) else f"{source.info.path}: mask {number}"

    @property
    def _blank(self) -> str:
        return "white all over" if self.invert else "black all over"

    def _kept(self, picture: Picture) -> Kept:
        kept: Kept = (picture.max(axis=2) >= _WHITE) != self.invert
        return kept

    def _pictures(self, numbers: Sequence[int]) -> Iterator[Picture]:
        if isinstance(self.source, PictureSource):
            yield from (read_picture(self.source.files[number]) for number in numbers)
            return
        with closing(self.source.frames()) as frames:
            frame = next(frames)
            for number in numbers:
                while frame.index < number:
                    frame = next(frames)
                yield frame.rgb

    def _by_time(self, times: Sequence[float]) -> list[int]:
        """Each mask is shown until the next one, the last for as long as the others."""
        with closing(self.source.frames()) as frames:
            known = np.array([frame.time for frame in frames])
        shown = np.maximum(np.searchsorted(known, np.array(times) + _ROUNDING, side="right") - 1, 0)
        step = float(np.median(np.diff(known))) if len(known) > 1 else 0.0
        for frame in np.flatnonzero(np.abs(np.array(times) - known[shown]) > step + 2 * _ROUNDING)[:1]:
            raise FormatError(
                f"{self.source.info.path}: frame {frame} ({times[frame]:.3f} s) has no mask: the masks end at "
                f"{known[-1]:.3f} s; a video of masks must be as long as that of the pictures"
            )
        return [int(number) for number in shown]

    def _by_name(self, numbers: dict[str, int], names: dict[float, str], times: Sequence[float]) -> list[int]:
        for time in times:
            if names[time] not in numbers:
                raise FormatError(f"{self.source.info.path}: the picture {names[time]} has no mask of its name")
        return [numbers[names[time]] for time in times]

    def _by_order(self, count: int, times: Sequence[float], every_time: Callable[[], Sequence[float]]) -> list[int]:
        if count == len(times):
            return list(range(count))
        every = every_time()
        if len(every) != count:
            in_all = "" if len(every) == len(times) else f" that are used and {len(every)} in all"
            raise FormatError(
                f"{self.source.info.path}: {count} masks for {len(times)} frames{in_all}: without the pictures' names "
                "they go by order, one for each frame"
            )
        return [int(number) for number in np.searchsorted(np.array(every), np.array(times) - 1e-6)]


def open_masks(path: Path, of: Source, *, invert: bool) -> Masks:
    """Look at masks, before any work is done.

    Raises:
        VideoError: there are none, or they cannot be read.
        FormatError: they have another shape than the pictures, or are not black and white.
    """
    source = open_source(path, SamplingSettings())
    mine, theirs = source.info, of.info
    if abs(mine.width * theirs.height / (mine.height * theirs.width) - 1) > _OTHER_SHAPE:
        raise FormatError(
            f"{path}: masks of {mine.width} x {mine.height} for pictures of {theirs.width} x {theirs.height}: they "
            "must have the same shape"
        )
    for name, picture in _some(source):
        _require_black_and_white(picture, name)
    return Masks(source, invert)


def _some(source: Source) -> Iterator[tuple[str, Picture]]:
    """A few masks, and what they are called: at the start, and up to half-way, which every video has."""
    if isinstance(source, PictureSource):
        for number in sorted({int(part * (len(source.files) - 1)) for part in _LOOKS}):
            yield str(source.files[number]), read_picture(source.files[number])
        return
    last = ((source.info.frame_count or 1) - 1) / (source.info.rate or 1.0)
    for time in sorted({part * last for part in _LOOKS}):
        yield f"{source.info.path} ({time:.2f} s)", source.picture(time)


def _require_black_and_white(picture: Picture, name: str) -> None:
    low, high = picture.min(axis=2), picture.max(axis=2)
    coloured = high - low > _COLOURED
    grey = (high >= _GREYS[0]) & (high < _GREYS[1])
    if coloured.mean() > _MOST_COLOURED or grey.mean() > _MOST_GREY:
        raise FormatError(
            f"{name}: is no mask: {(coloured | grey).mean():.0%} of it is neither black nor white; paint what is to be "
            "left out black, and all else white"
        )


def masked(pairs: Pairs, masks: Iterable[Kept]) -> Iterator[tuple[ShotFrame, DepthEstimate]]:
    """Depth is unknown where a mask says so; masks may have another size than the maps, one for each frame."""
    for (frame, estimate), kept in zip(pairs, masks, strict=True):
        height, width = estimate.values.shape
        here = cv2.resize(kept.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        yield frame, replace(estimate, values=np.where(here, estimate.values, np.float32(np.nan)))
