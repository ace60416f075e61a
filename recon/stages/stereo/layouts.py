"""Two eyes in one picture, as displays and players want them, and back.

Pictures are 8 or 16 bits, as coded, and keep their bits. Where an eye loses half of its pixels they are averaged, not
dropped; where it loses every second line, a line is averaged with its neighbours before, so that nothing shimmers.
Sizes are even wherever a codec with half the colours (4:2:0) needs it, for each eye: the last rows and columns are
repeated, for nothing else would leave the shape of things as it is.

The left eye comes first: left, above, in the even rows and columns (counted from 0), in the first colour. Only
"cross-eyed" has the right eye on the left.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, Final, get_args, no_type_check

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8, UInt16

from recon.compiled import compiled
from recon.errors import OptionError
from recon.light import light_of_srgb_code, nits_of_pq, scene_light_of_hlg
from recon.types import HDMI_EYES, METHODS, Colours, Layout, Method, Parallax, Samples

SIZES: Final[Mapping[Layout, tuple[int, int]]] = MappingProxyType(
    {"half-sbs": (2, 4), "half-tb": (4, 2)},
)
"""Of what the height and width of an eye are multiples; of (2, 2) in all other layouts."""

Matrix = Float64[np.ndarray, "3 6"]
Table = Float32[np.ndarray, " n"]
Codes = UInt8[np.ndarray, " c"] | UInt16[np.ndarray, " c"]
Shown = UInt8[np.ndarray, "shown_h shown_w 3"] | UInt16[np.ndarray, "shown_h shown_w 3"]
"""Samples of another size than those that came."""


@dataclass(frozen=True, slots=True)
class Packing:
    """How the eyes are put together."""

    layout: Layout = "full-sbs"
    colours: Colours = "red-cyan"
    """Of an anaglyph."""
    method: Method | None = None
    """Of an anaglyph: see ``anaglyph``; None: the best one for these colours."""
    fov_x: float = 90.0
    """Horizontal field of view of the eyes, degrees: for VR180."""
    pixel_aspect: float = 1.0
    """Width over height of the eyes' pixels: "vr180" and "hdmi-frame-packing" make them square, others leave them."""
    transfer: int = 2
    """How codes stand for light, a number of H.273 table 3: anaglyphs are mixed as light (16 is PQ, 18 is HLG)."""

    def __post_init__(self) -> None:
        if self.layout not in get_args(Layout):
            raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, got {self.layout!r}")
        if not 0 < self.fov_x < 180:
            raise ValueError(f"a field of view lies between 0 and 180 degrees, got {self.fov_x}")
        if not self.pixel_aspect > 0:
            raise ValueError(f"a pixel is wider than nothing, got an aspect of {self.pixel_aspect}")
        if self.layout == "anaglyph":
            _matrix(self.colours, self.mixture)

    @property
    def mixture(self) -> Method:
        """The method of an anaglyph."""
        return self.method or METHODS[self.colours][0]

    @property
    def pictures(self) -> int:
        """How many pictures ``packed`` gives for each frame."""
        return 2 if self.layout in {"separate", "wiggle"} else 1


# ------------------------------------------------------------------------------------------------- together and apart


def packed(left: Samples, right: Samples, how: Packing) -> tuple[Shown, ...]:
    """Two eyes as they are shown: one picture, or the left and the right one ("separate", "wiggle").

    Raises:
        ValueError: the eyes differ in size or depth, or the layout takes a map (see ``rgbd``, ``grey``).
    """
    if left.shape != right.shape or left.dtype != right.dtype:
        raise ValueError(f"eyes differ: {left.shape} {left.dtype} and {right.shape} {right.dtype}")
    if how.layout in {"rgbd", "depth"}:
        raise ValueError(f"{how.layout} shows a map, and no eyes: see rgbd() and grey()")
    if how.layout == "vr180":
        dome = Dome(how.fov_x, left.shape[0], left.shape[1], pixel_aspect=how.pixel_aspect)
        return (np.concatenate([dome.seen(left), dome.seen(right)], axis=1),)
    if how.layout == "hdmi-frame-packing":
        return (_frame_packed(left, right, how.pixel_aspect),)
    left, right = (_whole(eye, how.layout) for eye in (left, right))
    if how.pictures == 2:
        return left, right
    if how.layout == "anaglyph":
        return (anaglyph(left, right, how.colours, how.mixture, transfer=how.transfer),)
    return (_together(left, right, how.layout),)


def unpacked(picture: Samples, layout: Layout) -> tuple[Shown, Shown]:
    """Left and right eye of a packed picture; halves, and missing lines, are interpolated to the full size.

    The eyes of "vr180" come out as they lie in it: half spheres.

    Raises:
        ValueError: the layout cannot be undone (an anaglyph; RGBD; eyes in files of their own).
        OptionError: the picture's size is none of that layout.
    """
    if layout in _PATTERNS:
        return _line_eyes(picture, layout)
    if layout == "hdmi-frame-packing":
        return _frame_unpacked(picture)
    if layout not in _SIDES:
        raise ValueError(f"{layout!r} cannot be taken apart into two eyes")
    axis, factor, left_first = _SIDES[layout]
    if picture.shape[axis] % 2:
        raise OptionError(f"two eyes do not lie in {_size(picture)} pixels as {layout}: choose another --from-layout")
    first, second = (_stretched(eye, axis, factor) for eye in np.split(picture, 2, axis=axis))
    return (first, second) if left_first else (second, first)


_SIDES: Final[Mapping[Layout, tuple[int, int, bool]]] = MappingProxyType(
    {
        "full-sbs": (1, 1, True),
        "half-sbs": (1, 2, True),
        "full-tb": (0, 1, True),
        "half-tb": (0, 2, True),
        "cross-eyed": (1, 1, False),
        "vr180": (1, 1, True),
    }
)
"""Axis along which the eyes stand beside each other, by how much they are compressed, whether the left one is first."""

_PATTERNS: Final[frozenset[Layout]] = frozenset({"row-interlaced", "column-interlaced", "checkerboard"})


def _together(left: Samples, right: Samples, layout: Layout) -> Shown:
    if layout in _PATTERNS:
        return _interlaced(left, right, layout)
    axis, factor, left_first = _SIDES[layout]
    first, second = (_compressed(eye, axis, factor) for eye in ((left, right) if left_first else (right, left)))
    both: Shown = np.concatenate([first, second], axis=axis)
    return both


def _whole(eye: Samples, layout: Layout) -> Shown:
    """The eye at the next size that the layout can hold: its border repeated."""
    height, width = eye.shape[:2]
    rows, columns = SIZES.get(layout, (2, 2))
    below, beside = -height % rows, -width % columns
    if not below and not beside:
        return eye
    larger: Shown = cv2.copyMakeBorder(eye, 0, below, 0, beside, cv2.BORDER_REPLICATE)
    return larger


def _compressed(eye: Samples, axis: int, factor: int) -> Shown:
    """Pairs of pixels averaged."""
    if factor == 1:
        return eye
    height, width = (length // factor if side == axis else length for side, length in enumerate(eye.shape[:2]))
    # Exactly the mean of each pair, ten times as fast as INTER_AREA along one axis.
    half: Shown = cv2.resize(eye, (width, height), interpolation=cv2.INTER_LINEAR)
    return half


def _stretched(eye: Samples, axis: int, factor: int) -> Shown:
    if factor == 1:
        return np.ascontiguousarray(eye)
    height, width = (length * factor if side == axis else length for side, length in enumerate(eye.shape[:2]))
    full: Shown = cv2.resize(eye, (width, height), interpolation=cv2.INTER_CUBIC)
    return full


def _size(picture: Samples) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"


# ------------------------------------------------------------------------------------------------ HDMI frame packing


def _frame_packed(left: Samples, right: Samples, pixel_aspect: float) -> Shown:
    """The left eye over the right one, black rows between: HDMI 1.4a, section 8.2.3.2.

    The format knows two sizes of eyes, both of square pixels. An eye goes into the smaller one that holds it, else into
    the larger one; it is scaled up or down until it fills the width or the height, and black is beside it: nothing is
    cut off, and the shape of things stays.
    """
    height, width = left.shape[0], left.shape[1] * pixel_aspect
    holding = [size for size in HDMI_EYES if width <= size[0] and height <= size[1]]
    size = min(holding) if holding else max(HDMI_EYES)
    first, second = (_fitted(eye, size, pixel_aspect) for eye in (left, right))
    gap = np.zeros((HDMI_EYES[size], size[0], 3), left.dtype)
    both: Shown = np.concatenate([first, gap, second])
    return both


def _fitted(eye: Samples, size: tuple[int, int], pixel_aspect: float) -> Shown:
    """The eye with square pixels, as large as fits, in the middle of black."""
    height, width = eye.shape[0], eye.shape[1] * pixel_aspect
    scale = min(size[0] / width, size[1] / height)
    across, down = min(size[0], round(width * scale)), min(size[1], round(height * scale))
    if (down, across) != eye.shape[:2]:
        eye = cv2.resize(eye, (across, down), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    beside, above = size[0] - across, size[1] - down
    sides = above // 2, above - above // 2, beside // 2, beside - beside // 2
    framed: Shown = cv2.copyMakeBorder(eye, *sides, cv2.BORDER_CONSTANT, value=0)
    return framed


def _frame_unpacked(picture: Samples) -> tuple[Shown, Shown]:
    """A film of 2205 rows has one more where its codec needs an even number."""
    height, width = picture.shape[:2]
    for (across, down), gap in HDMI_EYES.items():
        if width == across and height - 2 * down - gap in (0, 1):
            second = down + gap
            return np.ascontiguousarray(picture[:down]), np.ascontiguousarray(picture[second : second + down])
    known = " or ".join(f"{across} x {2 * down + gap}" for (across, down), gap in HDMI_EYES.items())
    raise OptionError(f"hdmi-frame-packing is {known} pixels, not {_size(picture)}: choose another --from-layout")


# -------------------------------------------------------------------------------------------------- line by line


def _interlaced(left: Samples, right: Samples, layout: Layout) -> Samples:
    left, right = (_limited(eye, layout) for eye in (left, right))
    both = right.copy()
    for rows, columns in _left_places(layout):
        both[rows, columns] = left[rows, columns]
    return both


def _left_places(layout: Layout) -> list[tuple[slice, slice]]:
    """Where the left eye is seen; the right one is in the places between."""
    every, even, odd = slice(None), slice(0, None, 2), slice(1, None, 2)
    if layout == "row-interlaced":
        return [(even, every)]
    if layout == "column-interlaced":
        return [(every, even)]
    return [(even, even), (odd, odd)]


def _limited(eye: Samples, layout: Layout) -> Samples:
    """The eye without what half of its pixels cannot show: each mixed with its neighbours that are left out."""
    kernel = {
        "row-interlaced": np.array([[1.0], [2.0], [1.0]]) / 4,
        "column-interlaced": np.array([[1.0, 2.0, 1.0]]) / 4,
        "checkerboard": np.array([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]]) / 8,
    }[layout]
    soft: Samples = cv2.filter2D(eye, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return soft


def _line_eyes(picture: Samples, layout: Layout) -> tuple[Samples, Samples]:
    shown = np.zeros(picture.shape[:2], np.float32)
    for rows, columns in _left_places(layout):
        shown[rows, columns] = 1
    return _filled_between(picture, shown, layout), _filled_between(picture, 1 - shown, layout)


def _filled_between(picture: Samples, shown: Float32[np.ndarray, "h w"], layout: Layout) -> Samples:
    """What is not shown becomes the mean of what is shown beside it."""
    kernel = {
        "row-interlaced": np.array([[1.0], [0.0], [1.0]]),
        "column-interlaced": np.array([[1.0, 0.0, 1.0]]),
        "checkerboard": np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    }[layout]
    values = picture.astype(np.float32) * shown[..., None]
    total = cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    count = cv2.filter2D(shown, -1, kernel, borderType=cv2.BORDER_CONSTANT)
    between = np.rint(total / np.maximum(count, 1)[..., None]).astype(picture.dtype)
    return np.where(shown[..., None] > 0, picture, between)


# ------------------------------------------------------------------------------------------------------------ anaglyph

_LUMA: Final = (0.299, 0.587, 0.114)
"""ITU-R BT.601: the grey that most anaglyphs are made of."""

_SEEN: Final[Mapping[Colours, tuple[tuple[int, ...], tuple[int, ...]]]] = MappingProxyType(
    {
        "red-cyan": ((0,), (1, 2)),
        "green-magenta": ((1,), (0, 2)),
        "amber-blue": ((0, 1), (2,)),
        "red-green": ((0,), (1,)),
        "red-blue": ((0,), (2,)),
    }
)
"""The primaries that the left eye sees, and the right one."""

_DUBOIS: Final[Mapping[Colours, tuple[tuple[float, ...], ...]]] = MappingProxyType(
    {
        "red-cyan": (
            (0.4561, 0.5005, 0.1764, -0.0435, -0.0879, -0.0016),
            (-0.0401, -0.0378, -0.0158, 0.3785, 0.7336, -0.0185),
            (-0.0152, -0.0206, -0.0055, -0.0722, -0.1130, 1.2264),
        ),
        "green-magenta": (
            (-0.062, -0.158, -0.039, 0.529, 0.705, 0.024),
            (0.284, 0.668, 0.143, -0.016, -0.015, -0.065),
            (-0.015, -0.027, 0.021, 0.009, 0.075, 0.937),
        ),
        "amber-blue": (
            (1.062, -0.205, 0.299, -0.016, -0.123, -0.017),
            (-0.026, 0.908, 0.068, 0.006, 0.062, -0.017),
            (-0.038, -0.173, 0.022, 0.094, 0.185, 0.911),
        ),
    }
)
"""What is shown of each primary, of (red, green, blue) of the left and of the right eye, as light.

E. Dubois, "A projection method to generate anaglyph stereo images", ICASSP 2001: the colours that, seen through the
filters, are nearest by least squares to what the eyes would have seen. Red-cyan follows from the spectra of that paper;
the others are those that he published for LCD screens and common filters (uottawa.ca/~edubois/anaglyph). All are of
sRGB's primaries; those of wider screens are taken as if they were.
"""


def anaglyph(left: Samples, right: Samples, colours: Colours, method: Method, *, transfer: int = 2) -> Samples:
    """Both eyes in one picture for glasses of two colours.

    Methods:
        color: each eye gives the primaries that it can see.
        gray: each eye gives its luma; no rivalry of the eyes, no colours.
        half-color: the eye with one primary gives its luma there, the other one its colours.
        dubois: least squares (see ``_DUBOIS``), on light; the least ghosting, good colours.
        optimized: the red of red-cyan from the green and blue of the left eye (P. Wimmer): red things do not flicker.

    All but Dubois's are of P. Wimmer, "Anaglyph methods comparison" (3dtv.at), and mix codes: luma is defined on them.
    Dubois's mixes light: of the display for PQ, of the scene for HLG (the display's differs by a gain that is the same
    for all colours of a pixel), by sRGB's curve for all else. A picture that is the same grey for both eyes stays so.

    Args:
        left: seen through the filter that is named first.
        right: of the same size.
        colours: of the filters.
        method: see above.
        transfer: how codes stand for light (H.273 table 3): 16 is PQ, 18 is HLG.

    Raises:
        ValueError: sizes differ, or there is no such method for these colours.
    """
    if left.shape != right.shape or left.dtype != right.dtype:
        raise ValueError(f"eyes differ: {left.shape} {left.dtype} and {right.shape} {right.dtype}")
    matrix = _matrix(colours, method).astype(np.float32)
    curve = transfer if transfer in {_PQ, _HLG} else 0
    tables = (*_light(left.dtype.name, curve), _ROOTS) if method == "dubois" else (*_as_coded(left.dtype.name), 0)
    mixed: Samples = _mixer()(left, right, matrix, *tables)
    return mixed


def _matrix(colours: Colours, method: Method) -> Matrix:
    """Rows: red, green and blue of the anaglyph; columns: those of the left, then of the right eye."""
    if method not in METHODS.get(colours, ()):
        raise ValueError(f"there is no anaglyph of {colours} by the method {method!r}")
    if method == "dubois":
        # The published rows add up to 1 but for their rounding: white has to stay white.
        rows = np.array(_DUBOIS[colours])
        normal: Matrix = rows / rows.sum(axis=1, keepdims=True)
        return normal
    matrix = np.zeros((3, 6))
    for eye, primaries in zip((0, 3), _SEEN[colours], strict=True):
        for primary in primaries:
            if method == "gray" or (method == "half-color" and len(primaries) == 1):
                matrix[primary, eye : eye + 3] = _LUMA
            else:
                matrix[primary, eye + primary] = 1
    if method == "optimized":
        matrix[0] = (0, 0.7, 0.3, 0, 0, 0)
    return matrix


@cache
def _as_coded(dtype: str) -> tuple[Table, Codes]:
    """Codes as numbers from 0 to 1, and codes of the same."""
    codes = np.arange(np.iinfo(dtype).max + 1)
    return (codes / codes[-1]).astype(np.float32), codes.astype(dtype)


@cache
def _light(dtype: str, transfer: int) -> tuple[Table, Codes]:
    """Light of each code, and codes of light over its fourth root: of steps that are fine enough in the dark."""
    value = np.arange(np.iinfo(dtype).max + 1) / np.iinfo(dtype).max
    fine = np.linspace(0, 1, 1 << 16)
    amount = np.linspace(0, 1, 1 << (16 if dtype == "uint8" else 20)) ** (2**_ROOTS)
    coded = np.interp(amount, _light_of(fine, transfer), fine)
    return _light_of(value, transfer).astype(np.float32), np.rint(coded * np.iinfo(dtype).max).astype(dtype)


_PQ, _HLG = 16, 18
_ROOTS = 2
"""Square roots one after the other."""


def _light_of(value: Float64[np.ndarray, " n"], transfer: int) -> Float64[np.ndarray, " n"]:
    """Of codes from 0 to 1; the brightest is 1."""
    if transfer == _PQ:
        return nits_of_pq(value) / 10000
    return scene_light_of_hlg(value) if transfer == _HLG else light_of_srgb_code(value)


@cache
def _mixer() -> Any:  # noqa: ANN401 - a compiled function
    return compiled(_mix)


@no_type_check
def _mix(left, right, matrix, values, codes, roots):  # noqa: ANN001, ANN202 - compiled
    """Mixed = matrix @ (left, right) in values; cut off at both ends; ``codes`` go by the root of what comes out."""
    mixed = np.zeros_like(left)
    last = np.float32(len(codes) - 1)
    half = np.float32(0.5)
    seen = np.zeros(6, np.float32)
    for row in range(left.shape[0]):
        for column in range(left.shape[1]):
            for primary in range(3):
                seen[primary] = values[left[row, column, primary]]
                seen[primary + 3] = values[right[row, column, primary]]
            for primary in range(3):
                total = np.float32(0)
                for term in range(6):
                    total += matrix[primary, term] * seen[term]
                total = min(max(total, np.float32(0)), np.float32(1))
                for _ in range(roots):
                    total = np.sqrt(total)
                mixed[row, column, primary] = codes[int(total * last + half)]
    return mixed


# ---------------------------------------------------------------------------------------------------- depth, spheres


def rgbd(picture: Samples, parallax: Parallax, near: float, far: float) -> Shown:
    """The picture, and beside it its depth as ``grey``.

    Raises:
        ValueError: sizes differ, or near is not less than far.
    """
    if picture.shape[:2] != parallax.shape:
        raise ValueError(f"a map of the size {picture.shape[:2]}, got {parallax.shape}")
    sides = _whole(picture, "rgbd"), grey(parallax, near, far, picture.dtype)
    both: Shown = np.concatenate(sides, axis=1)
    return both


def grey(parallax: Parallax, near: float, far: float, dtype: np.dtype[Any]) -> Shown:
    """Depth as a picture of 8 or 16 bits: white at the parallax ``near`` (the smaller one), black at ``far``.

    Raises:
        ValueError: near is not less than far.
    """
    if not near < far:
        raise ValueError(f"near < far, got {near}, {far}")
    depth = ((far - parallax) / (far - near)).clip(0, 1) * np.iinfo(dtype).max
    return _whole(np.rint(depth).astype(dtype)[..., None].repeat(3, axis=2), "rgbd")


@dataclass(frozen=True, slots=True)
class Dome:
    """Where the pixels of a flat picture lie on a half sphere of 180 x 180 degrees (equirectangular, square)."""

    fov_x: float
    """Horizontal field of view of the picture, degrees."""
    height: int
    """Of the picture, pixels."""
    width: int
    size: int = 0
    """Height and width of the half sphere, pixels; 0: so many that none of the picture's are lost in its middle."""
    pixel_aspect: float = 1.0
    """Width over height of the picture's pixels."""

    @property
    def side(self) -> int:
        """Height and width of the half sphere, pixels; a multiple of 8."""
        return self.size or 8 * math.ceil(math.pi * self._focal / 8)

    @property
    def _focal(self) -> float:
        return self.width / 2 / math.tan(math.radians(self.fov_x) / 2)

    def seen(self, eye: Samples) -> Shown:
        """The picture on the half sphere; black around it.

        Raises:
            ValueError: it has another size.
        """
        if eye.shape[:2] != (self.height, self.width):
            raise ValueError(f"a picture of {self.width} x {self.height} is wanted, got {eye.shape}")
        maps = _dome_maps(self._focal, self.pixel_aspect, (self.height, self.width), self.side)
        sphere: Shown = cv2.remap(eye, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return sphere


@lru_cache(maxsize=1)
def _dome_maps(
    focal: float, pixel_aspect: float, size: tuple[int, int], side: int
) -> tuple[Float32[np.ndarray, "n n"], Float32[np.ndarray, "n n"]]:
    """Columns and rows of the picture (OpenCV's, the first pixel's middle at 0) that each pixel of the sphere shows."""
    angle = ((np.arange(side) + 0.5) / side - 0.5) * math.pi
    x = np.broadcast_to(focal * np.tan(angle), (side, side))
    y = focal * pixel_aspect * np.tan(angle)[:, None] / np.cos(angle)
    # float32 has no room for the tangent of a right angle: far outside is far enough.
    columns, rows = (np.clip(place, -30_000, 30_000).astype(np.float32) for place in (x + size[1] / 2, y + size[0] / 2))
    return columns - np.float32(0.5), rows - np.float32(0.5)


__all__ = [
    "SIZES",
    "Dome",
    "Layout",
    "Packing",
    "anaglyph",
    "packed",
    "rgbd",
    "unpacked",
]
