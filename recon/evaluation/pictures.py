"""A frame's depth beside the truth, for a person to look at."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon.io.preview import colorize
from recon.types import DepthMap, Picture

ERROR_RANGE: Final = 0.25
"""Relative error, nearer or farther, that is shown in the strongest colour."""

_WIDTH: Final = 1280  # of the whole panel, in pixels
_GAP: Final = 8
_STRIP: Final = 22  # height of the lines of text above and below a tile
_WIDE: Final = 2.0  # width / height from which on the four tiles stand in two rows
_TALL: Final = 1.4  # height / width of a tile at most
_DENSE: Final = 0.7  # share of known neighbours below which known pixels are drawn as dots
_BACKGROUND: Final = (28, 30, 33)
_TEXT: Final = (225, 228, 232)
_UNKNOWN: Final = (110, 110, 110)
_LEVELS: Final = 255  # of error; odd, so that the one in the middle is no error
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_ERROR_COLORS: Final = ((16, 62, 150), (84, 150, 220), (246, 246, 244), (232, 128, 62), (146, 22, 24))
"""Too near is blue, right is white, too far is red: told apart with any colour vision."""

AnyPicture = UInt8[np.ndarray, "_ _ 3"]
"""A picture of another size than those that it was made from."""


@dataclass(frozen=True, slots=True)
class _Tile:
    """A picture with a line above it and one below: words, a bar of colours, words."""

    title: str
    picture: Picture
    legend: tuple[str, str]
    bar: UInt8[np.ndarray, "levels 3"]
    """Colours from left to right; none draws no bar."""


def error_panel(
    rgb: Picture, true_depth: Float32[np.ndarray, "th tw"], predicted_depth: Float32[np.ndarray, "th tw"]
) -> AnyPicture:
    """Picture, true depth, predicted depth and relative error, at most 1280 pixels wide.

    Both depths have the same colours, linear in inverse depth, over the range of the truth. The error is
    (predicted - true) / true, from 25 % too near (blue) to 25 % too far (red). Unknown is grey. Sparse truth, as of a
    lidar, is drawn in larger dots.

    Args:
        rgb: the picture, of any size.
        true_depth: metres, NaN = unknown.
        predicted_depth: metres after the fit, NaN = unknown; the size of ``true_depth``.
    """
    size, columns = _layout(*rgb.shape[:2])
    known, guessed = (np.where(depth > 0, depth, np.float32(np.nan)) for depth in (true_depth, predicted_depth))
    maps = 1 / known, 1 / guessed, (guessed - known) / known
    true, predicted, wrong = (_fitted(values, size) for values in maps)
    far, near = _range(true, predicted)
    ends, bar = (_metres(near), _metres(far)), colorize(np.linspace(1, 0, 256, dtype=np.float32)[None], 0.0, 1.0)[0]
    percent = f"{ERROR_RANGE:.0%}".replace("%", " %")
    tiles = (
        _Tile("picture", _resized(rgb, size), ("grey in the maps: unknown", ""), bar[:0]),
        _Tile("true depth", _on_grey(colorize(true, far, near), true), ends, bar),
        _Tile("predicted depth", _on_grey(colorize(predicted, far, near), predicted), ends, bar),
        _Tile("relative error", error_colors(wrong), (f"{percent} too near", f"{percent} too far"), _error_scale()),
    )
    return _grid([_drawn(tile) for tile in tiles], columns)


def error_colors(error: DepthMap) -> Picture:
    """Relative error of depth in colours: blue is too near, white is right, red is too far, grey is unknown."""
    share = np.nan_to_num((error + ERROR_RANGE) / (2 * ERROR_RANGE), nan=0.5, posinf=1.0, neginf=0.0).clip(0, 1)
    colors: Picture = _error_scale()[np.rint(share * (_LEVELS - 1)).astype(np.uint8)]
    return _on_grey(colors, error)


def _error_scale() -> UInt8[np.ndarray, "levels 3"]:
    places = np.linspace(0, _LEVELS - 1, len(_ERROR_COLORS))
    channels = [np.interp(np.arange(_LEVELS), places, channel) for channel in zip(*_ERROR_COLORS, strict=True)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)


def _on_grey(colors: Picture, values: DepthMap) -> Picture:
    return np.where(np.isnan(values)[..., None], np.array(_UNKNOWN, np.uint8), colors)


def _range(true: DepthMap, predicted: DepthMap) -> tuple[float, float]:
    """Inverse depth that is shown coldest and warmest: of the truth, and of the prediction where there is none."""
    known = next((values[np.isfinite(values)] for values in (true, predicted) if np.isfinite(values).any()), None)
    far, near = (0.0, 1.0) if known is None else np.quantile(known, [0.01, 0.99])
    return float(far), float(near)


def _metres(inverse: float) -> str:
    return f"{1 / inverse:.3g} m" if inverse > 0 else "far"


# --- sizes -------------------------------------------------------------------------------------------------------


def _layout(height: int, width: int) -> tuple[tuple[int, int], int]:
    """Height and width of a tile, and how many tiles stand side by side."""
    columns = 2 if width >= _WIDE * height else 4
    tile_width = (_WIDTH - _GAP * (columns - 1)) // columns
    scale = min(tile_width / width, _TALL * tile_width / height)
    return (max(1, round(scale * height)), max(1, round(scale * width))), columns


def _resized(rgb: Picture, size: tuple[int, int]) -> AnyPicture:
    smaller = size[0] < rgb.shape[0]
    resized: AnyPicture = cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return resized


def _fitted(values: DepthMap, size: tuple[int, int]) -> Float32[np.ndarray, "_ _"]:
    """Means of what is known, in dots where that is little."""
    known = np.isfinite(values)
    way = cv2.INTER_AREA if size[0] < values.shape[0] else cv2.INTER_NEAREST
    weights = cv2.resize(known.astype(np.float32), size[::-1], interpolation=way)
    sums = cv2.resize(np.where(known, values, np.float32(0)), size[::-1], interpolation=way)
    return _in_dots(_quotient(sums, weights))


def _in_dots(values: DepthMap) -> DepthMap:
    """Isolated pixels as dots of 3 x 3; anything else as it is."""
    known = np.isfinite(values).astype(np.float32)
    weights = cv2.blur(known, (3, 3), borderType=cv2.BORDER_CONSTANT)
    if not known.any() or weights[known > 0].mean() >= _DENSE:
        return values
    sums = cv2.blur(np.nan_to_num(values), (3, 3), borderType=cv2.BORDER_CONSTANT)
    return np.where(known > 0, values, _quotient(sums, weights))


def _quotient(sums: DepthMap, weights: DepthMap) -> DepthMap:
    """Sums over weights, NaN where there is no weight."""
    some = weights > 1e-6
    return np.where(some, sums / np.where(some, weights, np.float32(1)), np.float32(np.nan))


# --- drawing -----------------------------------------------------------------------------------------------------


def _drawn(tile: _Tile) -> Picture:
    """The tile with its two lines of text."""
    height, width = tile.picture.shape[:2]
    canvas = np.full((height + 2 * _STRIP, width, 3), _BACKGROUND, np.uint8)
    canvas[_STRIP : _STRIP + height] = tile.picture
    _write(canvas, tile.title, 2, 15)
    left, right = tile.legend
    base = _STRIP + height + 15
    start = _write(canvas, left, 2, base) + 8
    stop = width - 2 - _text_width(right)
    _write(canvas, right, stop, base)
    if len(tile.bar) and stop - 8 > start:
        places = np.linspace(0, len(tile.bar) - 1, stop - 8 - start).round().astype(int)
        canvas[base - 9 : base, start : stop - 8] = tile.bar[places]
    return canvas


def _write(canvas: Picture, text: str, left: int, base: int) -> int:
    """Draw text; returns where it ends."""
    cv2.putText(canvas, text, (left, base), _FONT, 0.42, _TEXT, 1, cv2.LINE_AA)
    return left + _text_width(text)


def _text_width(text: str) -> int:
    (width, _), _ = cv2.getTextSize(text, _FONT, 0.42, 1)
    return int(width)


def _grid(tiles: Sequence[AnyPicture], columns: int) -> AnyPicture:
    """Tiles of one size, row by row."""
    height, width = tiles[0].shape[:2]
    rows = ceil(len(tiles) / columns)
    canvas = np.full((rows * height, columns * width + (columns - 1) * _GAP, 3), _BACKGROUND, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * (width + _GAP)
        canvas[top : top + height, left : left + width] = tile
    return canvas
