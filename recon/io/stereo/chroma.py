"""Chroma of half the size brought to full size and back, without loss on the way there and back.

Up: linearly between the places where the samples lie, as players do. Down: by the filter that undoes just that, so that
a film that nobody changed is coded with the numbers that it had: the analysis filters of the biorthogonal wavelets
whose synthesis is linear (A. Cohen, I. Daubechies, J.-C. Feauveau, "Biorthogonal bases of compactly supported
wavelets", 1992): (-1 2 6 2 -1) / 8 for samples that lie on every second pixel (known as LeGall 5/3), (-1 3 3 -1) / 4
for samples between two pixels.

libswscale's own filters blur: there and back, chroma of sharp edges is off by 3 of 255 levels; and they take samples to
lie between pixels where they do not.
"""

import re
from fractions import Fraction
from functools import cache
from typing import Any, Literal, get_args, no_type_check

import av
import numpy as np
from av import logging
from av.filter import Graph
from jaxtyping import UInt8, UInt16

from recon.compiled import compiled

ChromaPlace = Literal["left", "center", "topleft", "top"]
"""Where samples of 4:2:0 lie (H.273, Chroma420SampleLocType 0 to 3); of 4:2:2 they lie at the left or the centre."""

FULL = "yuv444p16le"
_NAME = re.compile(r"yuvj?(420|422|444)p(9|10|12|14|16)?(?:le)?")
_PACKED = {"nv12": "yuv420p", "p010le": "yuv420p10le"}
_Plane = UInt8[np.ndarray, "plane_h plane_w"] | UInt16[np.ndarray, "plane_h plane_w"]


def chroma_place(frame: av.VideoFrame) -> ChromaPlace:
    """Where a frame's chroma lies; at the left where it does not say, as H.264 and H.265 define.

    PyAV has no word for it; FFmpeg's filter showinfo tells it.
    """
    graph, level = Graph(), logging.get_level()
    tick = frame.time_base or Fraction(1, 1000)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick)
    graph.link_nodes(source, graph.add("showinfo"), graph.add("buffersink")).configure()
    logging.set_level(logging.INFO)
    try:
        with logging.Capture() as told:
            graph.vpush(frame)
            graph.vpull()
    finally:
        logging.set_level(level)
    found = re.search(r"\bcl:(\w+)", "".join(message for _, _, message in told))
    return next((place for place in get_args(ChromaPlace) if found is not None and place == found[1]), "left")


def with_full_chroma(frame: av.VideoFrame, place: ChromaPlace) -> av.VideoFrame:
    """The frame as 4:4:4 of 16 bits, its numbers shifted up; frames that are no 4:2:0 and no 4:2:2 stay as they are."""
    if frame.format.name in _PACKED:
        frame = frame.reformat(format=_PACKED[frame.format.name])
    known = _NAME.fullmatch(frame.format.name)
    if known is None or known[1] == "444":
        return frame
    shift = 16 - int(known[2] or 8)
    full = av.VideoFrame(frame.width, frame.height, FULL)
    np.left_shift(plane_of(frame, 0), shift, out=plane_of(full, 0), dtype=np.uint16)
    for number in (1, 2):
        halves = known[1] == "420", place.endswith("left"), place.startswith("top")
        _raiser()(plane_of(frame, number), *halves, shift, plane_of(full, number))
    full.colorspace, full.color_range = frame.colorspace, frame.color_range
    return full


def with_coded_chroma(frame: av.VideoFrame, pixel_format: str, place: ChromaPlace) -> av.VideoFrame:
    """4:4:4 of 16 bits as 4:2:0 (of even size), or as 4:4:4 of less bits.

    Raises:
        ValueError: the frame or the format is another one.
    """
    planar = _PACKED.get(pixel_format, pixel_format)
    known = _NAME.fullmatch(planar)
    if known is None or known[1] == "422" or frame.format.name != FULL:
        raise ValueError(f"{frame.format.name} cannot be coded as {pixel_format}")
    bits = int(known[2] or 8)
    coded = av.VideoFrame(frame.width, frame.height, planar)
    _rounder()(plane_of(frame, 0), bits, plane_of(coded, 0))
    for number in (1, 2):
        if known[1] == "444":
            _rounder()(plane_of(frame, number), bits, plane_of(coded, number))
        else:
            cosited = place.endswith("left"), place.startswith("top")
            _lowerer()(plane_of(frame, number), *cosited, bits, plane_of(coded, number))
    return coded if planar == pixel_format else coded.reformat(format=pixel_format)


def plane_of(frame: av.VideoFrame, number: int) -> _Plane:
    """The numbers of one component: a view, to be written to."""
    plane = frame.planes[number]
    kind = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    rows = np.frombuffer(memoryview(plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
    return rows[: plane.height, : plane.width]


@cache
def _raiser() -> Any:  # noqa: ANN401 - a compiled function
    return compiled(_raise)


@cache
def _lowerer() -> Any:  # noqa: ANN401 - a compiled function
    return compiled(_lower)


@cache
def _rounder() -> Any:  # noqa: ANN401 - a compiled function
    return compiled(_round)


@no_type_check
def _raise(chroma, halved, left, top, shift, full):  # noqa: ANN001, ANN202 - compiled
    """Between samples: linear. The weights are sixteenths: first of rows, then of columns."""
    height, width = chroma.shape
    mixed = np.zeros(width, np.int32)
    for y in range(full.shape[0]):
        row = y >> 1 if halved else y
        beside, share = row, 0
        if halved and top:
            beside, share = min(row + 1, height - 1), 2 * (y & 1)
        elif halved:
            beside, share = min(max(row - 1 + 2 * (y & 1), 0), height - 1), 1
        for x in range(width):
            mixed[x] = (4 - share) * np.int32(chroma[row, x]) + share * np.int32(chroma[beside, x])
        for x in range(width):
            here, after = mixed[x], mixed[min(x + 1, width - 1)]
            first = 4 * here if left else 3 * here + mixed[max(x - 1, 0)]
            second = 2 * (here + after) if left else 3 * here + after
            full[y, 2 * x] = ((first << shift) + 8) >> 4
            if 2 * x + 1 < full.shape[1]:
                full[y, 2 * x + 1] = ((second << shift) + 8) >> 4


@no_type_check
def _lower(full, left, top, bits, chroma):  # noqa: ANN001, ANN202 - compiled
    """What ``_raise`` made, undone: first rows, in quarters or eighths, then columns."""
    height, width = chroma.shape
    mixed = np.zeros(2 * width, np.int64)
    shift = 16 - bits + (3 if left else 2) + (3 if top else 2)
    half, most = np.int64(1) << (shift - 1), (np.int64(1) << bits) - 1
    for row in range(height):
        y, above, below = 2 * row, max(2 * row - 1, 0), min(2 * row + 2, 2 * height - 1)
        even = min(2 * row + 2, 2 * height - 2)
        for x in range(2 * width):
            first, second = np.int64(full[y, x]), np.int64(full[y + 1, x])
            if top:
                detail = 2 * second - first - full[even, x]
                before = 2 * np.int64(full[y - 1, x]) - full[y - 2, x] - first if row else detail
                mixed[x] = 8 * first + detail + before
            else:
                mixed[x] = 3 * (first + second) - full[above, x] - full[below, x]
        for column in range(width):
            x = 2 * column
            first, second = mixed[x], mixed[x + 1]
            if left:
                detail = 2 * second - first - mixed[min(x + 2, 2 * width - 2)]
                before = 2 * mixed[x - 1] - mixed[x - 2] - first if column else detail
                total = 8 * first + detail + before
            else:
                total = 3 * (first + second) - mixed[max(x - 1, 0)] - mixed[min(x + 2, 2 * width - 1)]
            chroma[row, column] = min(max((total + half) >> shift, 0), most)


@no_type_check
def _round(full, bits, few):  # noqa: ANN001, ANN202 - compiled
    """16 bits to fewer."""
    shift = 16 - bits
    half, most = (1 << shift) >> 1, (1 << bits) - 1
    for y in range(few.shape[0]):
        for x in range(few.shape[1]):
            few[y, x] = min((np.int64(full[y, x]) + half) >> shift, most)


__all__ = ["FULL", "ChromaPlace", "plane_of", "with_coded_chroma", "with_full_chroma"]
