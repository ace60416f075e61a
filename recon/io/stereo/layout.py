"""How the two eyes lie in one picture, and which words the containers have for it."""

from dataclasses import dataclass
from typing import Final, Literal

from recon.types import Colours, Layout

_TWICE: Final = 1.5
"""From which aspect on pixels are taken to be of twice the width; no film has such pixels of its own."""

Packing = Literal["side", "over", "rows", "columns", "checker"]
"""Both eyes in one picture: side by side, one over the other, or woven."""


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What a signal can say of a picture with two eyes."""

    packing: Packing
    right_first: bool = False
    """The right eye is at the left, on top, or in the first row, column or square."""
    half_sphere: bool = False
    """Each eye is half of an equirectangular picture: VR180."""


_PACKINGS: dict[Layout, Packing] = {
    "full-sbs": "side",
    "half-sbs": "side",
    "vr180": "side",
    "cross-eyed": "side",
    "full-tb": "over",
    "half-tb": "over",
    "row-interlaced": "rows",
    "column-interlaced": "columns",
    "checkerboard": "checker",
}
_SQUEEZED: dict[str, Packing] = {"half-sbs": "side", "half-tb": "over"}
_STEREO_MODES = {
    "side": ("left_right", "right_left"),
    "over": ("top_bottom", "bottom_top"),
    "rows": ("row_interleaved_lr", "row_interleaved_rl"),
    "columns": ("col_interleaved_lr", "col_interleaved_rl"),
    "checker": ("checkerboard_lr", "checkerboard_rl"),
}


def arrangement_of(layout: Layout) -> Arrangement | None:
    """None where no signal has a word for it.

    The picture is one picture (an anaglyph, a single eye, picture and depth); or, in HDMI's frame packing, there are
    rows between the eyes: who takes it for "top and bottom" cuts it at the wrong places.
    """
    packing = _PACKINGS.get(layout)
    return Arrangement(packing, layout == "cross-eyed", layout == "vr180") if packing else None


_ANAGLYPH_MODES: dict[Colours, str] = {"red-cyan": "anaglyph_cyan_red", "green-magenta": "anaglyph_green_magenta"}
"""The RFC does not say which filter is whose; the player sView calls its red-cyan so, and its green-magenta."""


def stereo_mode_of(layout: Layout, colours: Colours = "red-cyan") -> str | None:
    """FFmpeg's name of Matroska's StereoMode (RFC 9559 section 5.1.4.1.28.3); None where there is none for it.

    Args:
        layout: of the pictures.
        colours: of an anaglyph.
    """
    if layout == "anaglyph":
        return _ANAGLYPH_MODES.get(colours)
    arrangement = arrangement_of(layout)
    return _STEREO_MODES[arrangement.packing][arrangement.right_first] if arrangement else None


def arrangement_of_mode(name: str) -> Arrangement | None:
    """What FFmpeg's name of a StereoMode says; None for a single picture, anaglyphs and eyes in turn."""
    for packing, names in _STEREO_MODES.items():
        if name in names:
            return Arrangement(packing, name == names[1])  # type: ignore[arg-type]  # the keys are packings
    return None


def says_squeezed(packing: Packing, pixel_aspect: float) -> bool:
    """Whether the shape of pixels says that eyes have half the width (side by side), or half the height (over).

    Some files say of squeezed eyes that their pixels are twice as wide or high (Matroska has to: RFC 9559,
    "Multi-Planar and 3D Videos", counts one eye as it is shown), most players of televisions need that they do not.
    """
    return pixel_aspect >= _TWICE if packing == "side" else packing == "over" and pixel_aspect <= 1 / _TWICE


def squeezed_packing(layout: str) -> Packing | None:
    """How eyes lie that are squeezed; None of all other layouts."""
    return _SQUEEZED.get(layout)


def layout_from(arrangement: Arrangement, aspect: float, pixel_aspect: float = 1.0) -> Layout:
    """The layout of an arrangement in a picture.

    Whether an eye is squeezed is written in names and in the shape of pixels: those of an eye of half the width are
    shown twice as wide (see ``says_squeezed``). Where they are not, it follows from the shape of the eye: one that
    would be narrower than 1.1 : 1 side by side was squeezed; one wider than 2.8 : 1 on top of the other, too.

    Args:
        arrangement: how the eyes lie.
        aspect: width over height of the picture as shown.
        pixel_aspect: width over height of a pixel.
    """
    if arrangement.packing == "side":
        if arrangement.half_sphere:
            return "vr180"
        if arrangement.right_first:
            return "cross-eyed"
        return "half-sbs" if says_squeezed("side", pixel_aspect) or aspect / 2 < 1.1 else "full-sbs"
    if arrangement.packing == "over":
        return "half-tb" if says_squeezed("over", pixel_aspect) or aspect * 2 > 2.8 else "full-tb"
    woven: dict[Packing, Layout] = {
        "rows": "row-interlaced",
        "columns": "column-interlaced",
        "checker": "checkerboard",
    }
    return woven[arrangement.packing]


__all__ = [
    "Arrangement",
    "Packing",
    "arrangement_of",
    "arrangement_of_mode",
    "layout_from",
    "says_squeezed",
    "squeezed_packing",
    "stereo_mode_of",
]
