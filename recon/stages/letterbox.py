"""The black bars around a film: where they are, and how to look past them.

A bar is told from a dark ceiling by three things together: it is black from end to end in every picture, it ends in
a straight line, and it ends sharply. All three are asked of the brightest value that each pixel has over several
pictures, so that dark scenes and black pictures say nothing instead of something wrong, and subjects that reach into
the dark anywhere in the film make it content.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon.types import DepthMap, Intrinsics, Picture

LEAST = 0.01
"""Bars below this part of a side are left alone: capture cards and encoders leave a few dark lines."""
MOST = 0.45
"""A darkness that reaches further into the picture is a dark film, not a bar."""
LEVEL = 24
"""Brightest black, 8 bit: 0 as it should be, 16 if limited range was taken for full, and noise."""
NOISE = 8
"""What compression adds to a bar's own level."""
LIT = 16
"""What content has over the bar's level, at least, in half of a line."""
SPECKS = 0.02
"""Part of a line of the bar that may be brighter than its noise."""
RINGING = 0.015
"""Part of a side, at least eight lines, over which a block of the encoder spills content into the bar."""
BLUR = 0.005
"""Part of a side, at least three lines, over which the edge may be smeared."""
BLEED = 2
"""Pixels of a depth map beside a bar to which the bar's depth spreads.

With Depth Anything V2 Small at 280 px, bars of 12 % change the first row of content by up to 9 % of the map's range,
and those from the third on by no more than all that is near a border (3 to 5 %).
"""
_ROUNDING = 1e-6

Luma = UInt8[np.ndarray, "rows columns"]
Side = UInt8[np.ndarray, "_ _"]
"""Luma as seen from one border: line 0 is the outermost."""
InnerPicture = UInt8[np.ndarray, "inner_h inner_w 3"]
InnerMap = Float32[np.ndarray, "inner_h inner_w"]
"""Of the content alone."""


@dataclass(frozen=True, slots=True)
class Content:
    """The part of every picture that shows something, in parts of its height and width (corner origin)."""

    top: float = 0.0
    """Upper border of the content over the height of the picture, in [0, 1)."""
    bottom: float = 1.0
    """Lower border over the height, in (0, 1]."""
    left: float = 0.0
    """Left border over the width, in [0, 1)."""
    right: float = 1.0
    """Right border over the width, in (0, 1]."""

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise ValueError(f"content must lie within the picture: {self}")

    @property
    def bars(self) -> bool:
        """Whether anything but content is there."""
        return self != Content()

    @property
    def sentence(self) -> str:
        """For a person."""
        widths = {"top": self.top, "bottom": 1 - self.bottom, "left": self.left, "right": 1 - self.right}
        return ", ".join(f"{width:.1%} at the {side}" for side, width in widths.items() if width > 0) + " removed"

    def box(self, height: int, width: int, margin: int = 0) -> tuple[slice, slice]:
        """Rows and columns that lie wholly within the content of a picture or map of this size.

        ``margin`` more pixels are left out beside a bar; never beside the border of the picture.
        """
        rows = _inside(self.top, self.bottom, height, margin)
        return rows, _inside(self.left, self.right, width, margin)

    def cropped(self, picture: Picture) -> InnerPicture:
        """The content of a picture; a view."""
        inside: InnerPicture = picture[self.box(picture.shape[0], picture.shape[1])]
        return inside

    def padded(self, depth: InnerMap, height: int, width: int) -> DepthMap:
        """Depth of a cropped picture brought back to the whole picture; NaN in the bars.

        Raises:
            ValueError: the depth has not the size of the content.
        """
        whole = np.full((height, width), np.nan, np.float32)
        whole[self.box(height, width)] = _of_shape(depth, whole[self.box(height, width)].shape)
        return whole

    def without_bars(self, values: DepthMap) -> DepthMap:
        """A map of the whole picture, at any size, that is NaN in the bars and where they bleed into the content."""
        kept = np.full_like(values, np.nan)
        height, width = values.shape
        box = self.box(height, width, BLEED)
        kept[box] = values[box]
        return kept

    def inner_camera(self, whole: Intrinsics) -> Intrinsics:
        """The camera of the cropped picture, from that of the whole one."""
        rows, columns = self.box(whole.height, whole.width)
        size = {"width": columns.stop - columns.start, "height": rows.stop - rows.start}
        return replace(whole, cx=whole.cx - columns.start, cy=whole.cy - rows.start, **size)

    def whole_camera(self, inner: Intrinsics, height: int, width: int) -> Intrinsics:
        """The camera of the whole picture of this size, from that of the cropped one."""
        rows, columns = self.box(height, width)
        return replace(inner, cx=inner.cx + columns.start, cy=inner.cy + rows.start, width=width, height=height)


def _inside(start: float, stop: float, length: int, margin: int) -> slice:
    """Whole pixels between two borders; at least one."""
    first = math.ceil(start * length - _ROUNDING) + (margin if start > 0 else 0)
    last = math.floor(stop * length + _ROUNDING) - (margin if stop < 1 else 0)
    middle = min(int((start + stop) / 2 * length), length - 1)
    return slice(min(first, middle), max(last, middle + 1))


def _of_shape(depth: InnerMap, shape: tuple[int, ...]) -> InnerMap:
    if depth.shape != shape:
        raise ValueError(f"depth {depth.shape} must have the size of the content, {shape}")
    return depth


def find_content(pictures: Iterable[Picture]) -> Content:
    """Where the content of a film lies; everything, unless there are bars.

    Pictures are taken only as long as there is doubt: the first one whose content reaches all four borders (together
    with those before it) ends the search, so that a film without bars costs a picture or two.

    Args:
        pictures: RGB, all of one size, best spread over the whole film: bars are what stays black in all of them.
    """
    brightest: Luma | None = None
    for picture in pictures:
        luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        brightest = luma if brightest is None else cv2.max(brightest, luma)
        if all(_black_lines(side) < LEAST * len(side) for side in _sides(brightest)):
            return Content()
    return Content() if brightest is None else _content(brightest)


def _sides(brightest: Luma) -> tuple[Side, Side, Side, Side]:
    """The picture as seen from its upper, lower, left and right border."""
    return brightest, brightest[::-1], brightest.T, brightest.T[::-1]


def _content(brightest: Luma) -> Content:
    """Bars end in a line along the content alone: beside other bars, that line is black too."""
    height, width = brightest.shape
    top, bottom, left, right = (_darkness(side) for side in _sides(brightest))
    across, down = slice(left, width - right), slice(top, height - bottom)
    sides = _sides(brightest)
    bars = [_bar(side[:, across]) for side in (sides[0], sides[1])]
    bars += [_bar(side[:, down]) for side in (sides[2], sides[3])]
    return Content(bars[0] / height, 1 - bars[1] / height, bars[2] / width, 1 - bars[3] / width)


def _darkness(side: Side) -> int:
    """Black lines at a border; none where they are too many for a bar."""
    lines = _black_lines(side)
    return lines if lines <= MOST * len(side) else 0


def _black_lines(side: Side) -> int:
    """Lines from the border on that are as black as the outermost one."""
    level = np.median(side[0])
    if level > LEVEL:
        return 0
    speckled = (side > level + NOISE).mean(axis=1) > SPECKS
    return int(speckled.argmax()) if speckled.any() else len(side)


def _bar(side: Side) -> int:
    """Lines of the bar at a border; 0 where there is none, or where it does not end in a sharp line."""
    black, length = _black_lines(side), len(side)
    if not LEAST * length <= black <= MOST * length:
        return 0
    level, blur = np.median(side[0]), max(3, round(BLUR * length))
    ringing = max(8, round(RINGING * length))
    near = side[black : black + ringing + 1]
    lit = (near > level + LIT).mean(axis=1) >= 0.5
    edge = black + int(lit.argmax())
    if not lit.any() or edge + 3 * blur >= length:
        return 0
    return _first_full_line(side, edge, blur) if _sharp(side, edge, blur) else 0


def _sharp(side: Side, edge: int, blur: int) -> bool:
    """Whether it gets bright at the edge, and not as much again right behind it, as where light slowly fades."""
    outer, inner, behind = (side[max(line, 0)].astype(int) for line in (edge - blur, edge + blur, edge + 3 * blur))
    rise, further = np.median(inner - outer), np.median(behind - inner)
    return bool(rise >= max(LIT, 1.5 * further))


def _first_full_line(side: Side, edge: int, blur: int) -> int:
    """The first line that no longer mixes with the black of the bar."""
    brightness = side[edge : edge + blur + 1].mean(axis=1) - np.median(side[0])
    return edge + int((brightness >= 0.75 * brightness[-1]).argmax())


__all__ = ["Content", "find_content"]
