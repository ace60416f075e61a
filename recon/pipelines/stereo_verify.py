"""Whether a file is the 3D that it says: what its signals claim, and what its pictures show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import cv2
import numpy as np

from recon.evaluation.stereo import eye_order, matched
from recon.io.stereo.layout import says_squeezed, squeezed_packing
from recon.io.stereo.signals import Signal, Signals, as_ffmpeg_reads, looks_packed, signals_of
from recon.pipelines.stereo import looks
from recon.stages.letterbox import find_content
from recon.stages.stereo import unpacked
from recon.types import Layout, PairLayout, Picture

LOOKS: Final = 6
"""Pictures that are looked at."""
WIDTH: Final = 720
"""Pixels of an eye in which its depth is looked for."""
REACH: Final = 0.06
"""Parallax that is looked for at least, in widths; the matcher looks twice as far."""
CLEAR: Final = 0.02
"""Mean of ``eye_order`` below which the order of the eyes is not certain, however little it varies."""
CLEAR_WOVEN: Final = 0.05
"""The same where eyes are woven: half of each is interpolated, and they share colours: right ones show -0.024, too."""
ALONE: Final = 0.015
"""Standard error of ``eye_order`` from a single picture, at the least: as of the rendered room."""
_PACKINGS: Final[Mapping[str, str]] = {
    "side": "side by side",
    "over": "one over the other",
    "rows": "row by row",
    "columns": "column by column",
    "checker": "checkerboard",
}
_PAIRS: Final = (*get_args(PairLayout), "vr180")
"""Layouts that can be taken apart."""
_WOVEN: Final = ("row-interlaced", "column-interlaced", "checkerboard")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file says, and what it shows."""

    signals: Signals
    seen: Layout | None
    """What its pictures look like by themselves; None: like one picture."""
    ffmpeg: str
    """What players that build on FFmpeg make of it."""
    order: float | None
    """``eye_order``, the mean; None where it cannot be taken apart."""
    least: float
    """Size of ``order`` from which on it is certain."""
    parallax: tuple[float, float] | None
    """1st and 99th percentile, in parts of the width of an eye: most in front, most behind."""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """For a person."""
        signals = [(f"says ({signal.source})", _words(signal)) for signal in self.signals.found]
        layout = self.signals.layout or "nothing says that it is 3D"
        rows = [*signals, ("layout", str(layout)), ("FFmpeg reads", self.ffmpeg)]
        rows += [("looks like", self.seen or "one picture")]
        if self.order is None or self.parallax is None:
            return rows
        front, behind = (100 * value for value in self.parallax)
        return [*rows, ("eyes", self._told_order), ("parallax", f"{front:+.2f} % to {behind:+.2f} % of the width")]

    @property
    def swapped(self) -> bool | None:
        """Whether the left eye is shown to the right; None where it is not certain."""
        return None if self.order is None or abs(self.order) < self.least else self.order < 0

    @property
    def _told_order(self) -> str:
        measured = f"measured: {self.order:+.3f}, certain from {self.least:.3f} on"
        if self.swapped is None:
            return f"not certain which is which ({measured})"
        return f"SWAPPED ({measured})" if self.swapped else f"the right way round ({measured})"


def _words(signal: Signal) -> str:
    held = signal.arrangement
    if held is None:
        return signal.text
    order = "right eye first" if held.right_first else "left eye first"
    return f"{_PACKINGS[held.packing]}, {order}{', half a sphere' if held.half_sphere else ''}"


def verified(path: Path) -> Verdict:
    """Look at a film or a picture in 3D, whoever made it.

    Raises:
        VideoError: it cannot be read.
    """
    signals = signals_of(path)
    pictures = looks(path, ((place + 0.5) / LOOKS for place in range(LOOKS)))
    seen = looks_packed(pictures, signals.pixel_aspect)
    read = as_ffmpeg_reads(path)
    layout = signals.layout or seen
    taken = _inner([_eyes(picture, _as_shown(layout, signals)) for picture in pictures]) if layout in _PAIRS else []
    orders, ranges = zip(*(_measured(*eyes) for eyes in taken), strict=True) if taken else ((), ())
    return Verdict(
        signals,
        seen,
        "2D" if read is None else _words(read),
        float(np.mean(orders)) if orders else None,
        _least(orders, woven=layout in _WOVEN),
        (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None,
    )


def _least(orders: Sequence[float], *, woven: bool) -> float:
    """From where on a mean is certain: two standard errors, and more than what the measure itself may be wrong by."""
    spread = float(np.std(orders, ddof=1)) if len(orders) > 1 else 0.0
    return max(CLEAR_WOVEN if woven else CLEAR, 2 * max(spread, ALONE) / math.sqrt(max(1, len(orders))))


def _as_shown(layout: Layout | None, signals: Signals) -> Layout | None:
    """How eyes lie once pixels are square: those that were twice as wide are wide already, and no longer squeezed."""
    packing = squeezed_packing(layout or "")
    if packing is None or not says_squeezed(packing, signals.pixel_aspect):
        return layout
    return "full-sbs" if packing == "side" else "full-tb"


def _eyes(picture: Picture, layout: Layout | None) -> tuple[Picture, Picture]:
    """At one width, whatever that of the film: what is compared are patches of so many pixels."""
    left, right = unpacked(picture, layout or "full-sbs")
    size = WIDTH, max(1, round(left.shape[0] * WIDTH / left.shape[1]))
    way = cv2.INTER_AREA if left.shape[1] > WIDTH else cv2.INTER_CUBIC
    left, right = (cv2.resize(eye, size, interpolation=way) for eye in (left, right))
    return np.asarray(left), np.asarray(right)


def _inner(pairs: Sequence[tuple[Picture, Picture]]) -> list[tuple[Picture, Picture]]:
    """Without black bars: they lie on the screen, and would be taken for something nearer or farther."""
    content = find_content(eye for pair in pairs for eye in pair)
    return [(content.cropped(left), content.cropped(right)) for left, right in pairs]


def _measured(left: Picture, right: Picture) -> tuple[float, tuple[float, float]]:
    eyes = [cv2.GaussianBlur(eye, (0, 0), 0.5) for eye in (left, right)]
    disparity = matched(eyes[0], eyes[1], REACH * WIDTH), matched(eyes[1], eyes[0], REACH * WIDTH)
    known = -disparity[0][np.isfinite(disparity[0])] / WIDTH
    low, high = np.percentile(known, [1, 99]).tolist() if known.size else (0.0, 0.0)
    return eye_order(left, right, disparity), (low, high)


__all__ = ["Verdict", "verified"]
