"""File names that players read: the words for each layout, and what a name says."""

import re
from pathlib import Path
from typing import Literal

from recon.types import Colours, Layout

NameStyle = Literal["auto", "iw3", "kodi", "deovr", "plain"]
"""``auto`` is read rightly by most: Kodi, Jellyfin, Skybox, Pigasus, and players that take a bare _LR for a dome."""

_SUFFIXES: dict[NameStyle, dict[Layout, str]] = {
    "auto": {
        "full-sbs": ".3D.FSBS_LRF_Full_SBS",
        "half-sbs": ".3D.HSBS",
        "full-tb": ".3D.FTAB_TBF_fulltb",
        "half-tb": ".3D.HTAB",
        "vr180": "_180x180_LR",
        "cross-eyed": "_RLF_cross",
    },
    "iw3": {
        "full-sbs": "_LRF_Full_SBS",
        "half-sbs": "_LR",
        "full-tb": "_TBF_fulltb",
        "half-tb": "_TB",
        "vr180": "_180x180_LR",
        "cross-eyed": "_RLF_cross",
        "rgbd": "_RGBD",
    },
    "kodi": {
        "full-sbs": ".3D.SBS",
        "half-sbs": ".3D.HSBS",
        "full-tb": ".3D.TAB",
        "half-tb": ".3D.HTAB",
        "vr180": ".3D.SBS",
    },
    "deovr": {
        "full-sbs": "_flat_SBS_3DH",
        "half-sbs": "_flat_HSBS",
        "full-tb": "_flat_TB_3DV",
        "half-tb": "_flat_HOU",
        "vr180": "_LR_180",
    },
    "plain": {},
}
_OTHERS: dict[Layout, str] = {
    "row-interlaced": ".3D.rows",
    "column-interlaced": ".3D.columns",
    "checkerboard": ".3D.checkerboard",
    "hdmi-frame-packing": ".3D.hdmi-frame-packing",
    "anaglyph": ".3D.anaglyph",
    "rgbd": "_RGBD",
    "depth": ".depth",
    "cross-eyed": "_RLF_cross",
}
"""Layouts for which a style has no word of its own; eyes on their own, and those in turn, get none."""


def named(source: Path, layout: Layout, style: NameStyle, suffix: str, colours: Colours = "red-cyan") -> Path:
    """The name of a result beside its source: the words go between stem and suffix.

    Args:
        source: the 2D video.
        layout: of the result.
        style: whose words.
        suffix: of the result, with its dot.
        colours: of an anaglyph.
    """
    words = _SUFFIXES[style].get(layout) or _OTHERS.get(layout, "")
    if layout == "anaglyph" and style == "iw3" and colours == "red-cyan":
        words = "_redcyan"
    if style == "plain" and layout not in {"separate", "wiggle"}:
        words = f".{layout}"
    return source.with_name(source.stem + words + suffix)


_PATTERNS: tuple[tuple[str, Layout], ...] = (
    (r"rlf|cross(?:-?eyed)?", "cross-eyed"),
    (r"rgbd", "rgbd"),
    (r"hdmi-frame-packing", "hdmi-frame-packing"),
    (r"anaglyph|redcyan", "anaglyph"),
    (r"row-interlaced|rows", "row-interlaced"),
    (r"column-interlaced|columns", "column-interlaced"),
    (r"checkerboard", "checkerboard"),
    (r"h-?sbs|half[-_. ]?sbs", "half-sbs"),
    (r"h-?tab|h-?ou|half[-_. ]?(?:tab|ou|tb)", "half-tb"),
    (r"f-?sbs|full[-_. ]?sbs|lrf", "full-sbs"),
    (r"f-?tab|full[-_. ]?(?:tab|tb)|tbf", "full-tb"),
    (r"sbs|3dh|side[-_. ]?by[-_. ]?side", "full-sbs"),
    (r"tab|3dv|over[-_. ]?under", "full-tb"),
)
_WORD = r"(?:^|[-_. \[(])(?:{})(?=$|[-_. \])])"
_ONLY_WITH_3D: tuple[tuple[str, Layout], ...] = ((r"lr", "full-sbs"), (r"ou|tb", "full-tb"))
"""Words that mean something else, too."""


def layout_in_name(path: Path) -> Layout | None:
    """What a file's name says; None where it says nothing.

    "SBS" and "TAB" alone leave open whether the eyes are squeezed: full is told, the picture's shape decides.
    """
    stem = path.stem.lower()
    sphere = re.search(_WORD.format(r"180(?:x180)?|vr180"), stem)
    if sphere is not None and re.search(_WORD.format(r"lr|sbs|3dh|vr180"), stem):  # 180 alone may be a number
        return "vr180"
    for pattern, layout in _PATTERNS:
        if re.search(_WORD.format(pattern), stem):
            return layout
    marked = re.search(_WORD.format("3d"), stem) is not None or re.search(r"[-_](?:lr|tb)$", stem) is not None
    for pattern, layout in _ONLY_WITH_3D if marked else ():
        if re.search(_WORD.format(pattern), stem):
            return layout
    return None


__all__ = ["NameStyle", "layout_in_name", "named"]
