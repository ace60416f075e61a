"""Decoded frames of any pixel format, matrix, range and transfer -> 8-bit R'G'B' for a BT.709 display.

Standard dynamic range goes through libswscale. Two of its paths are used: for 8-bit 4:2:0 the fast one, which is up to
3 of 255 levels off and one level too dark on average (the accurate one takes 20 times as long); for everything else
the accurate one (half a level; one level for 10-bit full range). Only the matrix (H.273 table 4) and the range are
converted: primaries are taken for BT.709's, as players do.

High dynamic range (PQ or HLG, BT.2100) is mapped as follows, all in terms of light on the display:

1. R'G'B' to light. PQ: the EOTF, BT.2100 table 4. HLG: inverse OETF and OOTF for a display of 1000 cd/m2 (system
   gamma 1.2), BT.2100 table 5.
2. Highlights are rolled off by the EETF of BT.2390-11 section 5.4.1, applied to each of R, G and B, from a peak of
   1000 cd/m2 to 203 cd/m2, the HDR reference white of BT.2408. Below 89 cd/m2 it changes nothing. The peak does not
   follow the content, so that brightness never pumps.
3. BT.2020 primaries to BT.709's: the linear matrix of BT.2407 section 2, what lies outside is clipped.
4. 203 cd/m2 is the display's white: inverse EOTF of BT.1886 (gamma 2.4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from jaxtyping import Float32, Float64, UInt8, UInt16

from recon.errors import VideoError
from recon.light import nits_of_pq, pq_of_nits, scene_light_of_hlg
from recon.types import Picture

Transfer = Literal["sdr", "pq", "hlg"]

_UNSPECIFIED = (2, 3)
"""AVColorSpace: unspecified and reserved (H.273 table 4)."""
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
"""AVColorTransferCharacteristic (H.273 table 3) of the two transfers of BT.2100."""
_FAST = Interpolation.BILINEAR
ACCURATE = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

_HDR_FORMAT = "gbrp12le"
_LEVELS = 1 << 12
_STRIP = 1 << 16
"""Pixels that are tone-mapped at a time: what fits into the processor's cache."""
_PEAK = 1000.0
_WHITE = 203.0
_LUMINANCE_2020 = np.array([[0.2627, 0.6780, 0.0593]], np.float32)
_709_FROM_2020 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)


@dataclass(frozen=True, slots=True)
class Coding:
    """How the numbers of a frame stand for colours."""

    matrix: Colorspace | None
    """None where the frame holds R'G'B' or grey."""
    full_range: bool
    transfer: Transfer


def coding_of(frame: av.VideoFrame) -> Coding:
    """The coding that a frame's tags declare.

    Untagged matrix: BT.709 from 1280 pixels width or 720 pixels height on, else BT.601, as players and YouTube do.
    Untagged range: limited, except for the "yuvj" formats, grey and RGB.

    Raises:
        VideoError: the matrix is one that is not converted (YCgCo, ICtCp, constant luminance).
    """
    name = frame.format.name
    plain = frame.format.is_rgb or name.startswith(("gray", "mono", "pal"))
    full = frame.color_range == ColorRange.JPEG or name.startswith("yuvj")
    if frame.color_range == ColorRange.UNSPECIFIED:
        full = full or plain
    return Coding(None if plain else _matrix(frame), full, _TRANSFERS.get(frame.color_trc, "sdr"))


def _matrix(frame: av.VideoFrame) -> Colorspace:
    if frame.colorspace in _UNSPECIFIED:
        return Colorspace.ITU709 if frame.width >= 1280 or frame.height >= 720 else Colorspace.ITU601
    if frame.colorspace not in _MATRICES:
        raise VideoError(f"colour matrix {frame.colorspace} of H.273 is not supported: convert the video to BT.709")
    return _MATRICES[frame.colorspace]


def picture_from_frame(frame: av.VideoFrame, width: int, height: int) -> Picture:
    """A decoded frame as 8-bit R'G'B' (height, width, 3), resized to width x height where it is not that already.

    Raises:
        VideoError: the frame's colours are coded in a way that is not supported.
    """
    coding = coding_of(frame)
    if coding.transfer != "sdr":
        return _tone_mapped(_planes(_converted(frame, coding, _HDR_FORMAT, width, height)), coding.transfer)
    return _converted(frame, coding, "rgb24", width, height).to_ndarray()


def _converted(frame: av.VideoFrame, coding: Coding, target: str, width: int, height: int) -> av.VideoFrame:
    same_size = (frame.width, frame.height) == (width, height)
    fast = same_size and target == "rgb24" and frame.format.name in ("yuv420p", "yuvj420p", "nv12")
    return frame.reformat(
        width=width,
        height=height,
        format=target,
        src_colorspace=coding.matrix,
        dst_colorspace=coding.matrix,
        src_color_range=ColorRange.JPEG if coding.full_range else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=_FAST if fast else ACCURATE,
    )


def _planes(frame: av.VideoFrame) -> tuple[UInt16[np.ndarray, "h w"], ...]:
    """Views of the planes of a planar 12-bit frame, in the order red, green, blue."""
    green, blue, red = (
        np.frombuffer(memoryview(plane), np.uint16).reshape(plane.height, -1)[:, : plane.width]
        for plane in frame.planes
    )
    return red, green, blue


def _tone_mapped(planes: Sequence[UInt16[np.ndarray, "h w"]], transfer: Transfer) -> Picture:
    height, width = planes[0].shape
    picture = np.zeros((height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        strip = [plane[top : top + rows] for plane in planes]
        light = _light_from_pq(strip) if transfer == "pq" else _light_from_hlg(strip)
        picture[top : top + rows] = _encoded(light)
    return picture


def _light_from_pq(strip: Sequence[UInt16[np.ndarray, "h w"]]) -> Float32[np.ndarray, "h w 3"]:
    """Light on the SDR display, white = 1, BT.2020 primaries."""
    return _looked_up(_light_of_pq_code(), strip)


def _light_from_hlg(strip: Sequence[UInt16[np.ndarray, "h w"]]) -> Float32[np.ndarray, "h w 3"]:
    """Light on the SDR display, white = 1, BT.2020 primaries. The OOTF is E * Y ** (gamma - 1), BT.2100 table 5."""
    scene = _looked_up(_scene_light_of_hlg_code(), strip)
    gain = _ootf_gain_of_root().take(_root_code(cv2.transform(scene, _LUMINANCE_2020)), mode="clip")
    return _light_of_root().take(_root_code(scene * gain[:, :, None]), mode="clip")


def _looked_up(
    table: Float32[np.ndarray, " n"], strip: Sequence[UInt16[np.ndarray, "h w"]]
) -> Float32[np.ndarray, "h w 3"]:
    merged: Float32[np.ndarray, "h w 3"] = cv2.merge([table.take(plane, mode="clip") for plane in strip])
    return merged


def _encoded(light: Float32[np.ndarray, "h w 3"]) -> Picture:
    """8-bit R'G'B' of BT.709 and BT.1886 from light of BT.2020 primaries."""
    inside = cv2.transform(light, _709_FROM_2020).clip(0, 1)
    picture: Picture = _signal_of_root().take(_root_code(inside), mode="clip")
    return picture


def _root_code(light: Float32[np.ndarray, "*n"]) -> UInt16[np.ndarray, "*n"]:
    """Row of a table over the square root of light: steps that are even to the eye."""
    root: Float32[np.ndarray, "*n"] = np.sqrt(light)
    root *= _LEVELS - 1
    root += 0.5
    return root.astype(np.uint16)


@cache
def _light_of_pq_code() -> Float32[np.ndarray, " n"]:
    return (rolled_off(nits_of_pq(np.linspace(0, 1, _LEVELS))) / _WHITE).astype(np.float32)


@cache
def _scene_light_of_hlg_code() -> Float32[np.ndarray, " n"]:
    return scene_light_of_hlg(np.linspace(0, 1, _LEVELS)).astype(np.float32)


@cache
def _ootf_gain_of_root() -> Float32[np.ndarray, " n"]:
    """Y ** 0.2 over the square root of Y."""
    return (np.linspace(0, 1, _LEVELS) ** 0.4).astype(np.float32)


@cache
def _light_of_root() -> Float32[np.ndarray, " n"]:
    return (rolled_off(_PEAK * np.linspace(0, 1, _LEVELS) ** 2) / _WHITE).astype(np.float32)


@cache
def _signal_of_root() -> UInt8[np.ndarray, " n"]:
    return np.rint(255 * np.linspace(0, 1, _LEVELS) ** (2 / 2.4)).astype(np.uint8)


def rolled_off(nits: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
    """Light of a 1000 cd/m2 display brought under 203 cd/m2: the EETF of BT.2390-11 section 5.4.1, black left at 0."""
    peak, most = pq_of_nits(np.array([_PEAK, _WHITE]))
    signal, most = np.minimum(pq_of_nits(nits) / peak, 1), most / peak
    knee = 1.5 * most - 0.5
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return nits_of_pq(np.where(signal < knee, signal, spline) * peak)
