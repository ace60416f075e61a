"""Masks that somebody painted: what moves, or is not to be seen, takes part neither in poses nor in a cloud.

COLMAP's convention: black is left out. A mask belongs to its picture by name, by time (a video of masks), or by order.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
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

Kept = Bool[np.ndarray, "h w"]
"""True where a picture counts."""
Pairs = Iterable[tuple[ShotFrame, DepthEstimate]]

_WHITE = 128
"""8 bit; encoders of video leave neither black nor white as they were."""
_OTHER_SHAPE = 0.02
_ROUNDING = 1e-3
"""Seconds by which times in a container may be off."""


@dataclass(frozen=True, slots=True)
class Masks:
    """A folder of pictures or a video, whose black pixels are left out."""

    source: Source
    invert: bool
    """White is left out instead."""

    def match(self, of: Source, times: Sequence[float], every_time: Callable[[], Sequence[float]]) -> list[int]:
        """The number of the mask of each frame.

        Args:
            of: the source of the frames.
            times: of the frames that are used, seconds.
            every_time: gives the times of all its frames; asked where the masks are not as many as those.

        Raises:
            FormatError: a frame has no mask, or there are as many masks as frames by no reading.
        """
        if not isinstance(self.source, PictureSource):
            return self._by_time(times)
        named = {name: number for number, name in enumerate(self.source.times_by_name)}
        if named.keys() & of.times_by_name.keys():
            return self._by_name(named, {time: name for name, time in of.times_by_name.items()}, times)
        return self._by_order(len(named), times, every_time)

    def kept(self, numbers: Sequence[int]) -> Iterator[Kept]:
        """The masks with these numbers, which do not fall."""
        return (self._kept(picture) for picture in self._pictures(numbers))

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
        FormatError: they have another shape than the pictures.
    """
    source = open_source(path, SamplingSettings())
    mine, theirs = source.info, of.info
    if abs(mine.width * theirs.height / (mine.height * theirs.width) - 1) > _OTHER_SHAPE:
        raise FormatError(
            f"{path}: masks of {mine.width} x {mine.height} for pictures of {theirs.width} x {theirs.height}: they "
            "must have the same shape"
        )
    return Masks(source, invert)


def masked(pairs: Pairs, masks: Iterable[Kept]) -> Iterator[tuple[ShotFrame, DepthEstimate]]:
    """Depth is unknown where a mask says so; masks may have another size than the maps, one for each frame."""
    for (frame, estimate), kept in zip(pairs, masks, strict=True):
        height, width = estimate.values.shape
        here = cv2.resize(kept.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
        yield frame, replace(estimate, values=np.where(here, estimate.values, np.float32(np.nan)))
