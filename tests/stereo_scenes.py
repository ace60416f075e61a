"""Exact stereo video: a slanted wall and things that move before it, seen by any eye at any size.

Everything is a formula in parts of the picture's width: outlines, textures, parallax, motion. So each eye is computed
and not warped, by 4 x 4 samples in each pixel, and what an eye sees that the source picture does not is known.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple, no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64

from recon.compiled import compiled
from recon.evaluation.stereo import flicker

Region = Bool[np.ndarray, "h w"]

TEXELS: Final = 512
"""Width and height of a texture, which repeats."""
TEXEL: Final = 1 / 256
"""Width of a texel in parts of the picture's width."""

WALL, FLOWER, RING, BAR = range(4)


@dataclass(frozen=True)
class Layer:
    """Something flat; lengths in parts of the picture's width, places from its upper left corner."""

    kind: int
    middle: tuple[float, float]
    """Where it is at the start."""
    velocity: tuple[float, float]
    """By how much it moves in a frame."""
    parallax: float
    """At its middle."""
    slant: tuple[float, float] = (0.0, 0.0)
    """Change of parallax along x and y."""
    radius: float = 0.0
    thickness: float = 0.0
    """Of rings and bars."""
    lobes: float = 0.0
    depth_of_lobes: float = 0.0
    """In parts of the radius."""
    restless: float = 0.0
    """How far its texture goes to and fro, elsewhere in another direction and anew in each frame, as water does."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Layers and their textures."""

    layers: tuple[Layer, ...]
    textures: Float32[np.ndarray, "l n n 3"]
    """0 to 1."""
    pan: tuple[float, float] = (0.0, 0.0)
    """By how much everything moves to the left and up in a frame."""
    seed: int = 0


class View(NamedTuple):
    """What an eye sees."""

    picture: np.ndarray
    """uint8 or uint16 (h, w, 3)."""
    parallax: Float32[np.ndarray, "h w"]
    """At the middle of each pixel, in parts of the width."""
    hidden: Region
    """More than half of the pixel shows what something nearer hides from the source picture."""
    outside: Region
    """The pixel shows what lies beyond the border of the source picture."""
    clear: Region
    """Nothing in the pixel, nor around it, is hidden from the source picture or beside an outline."""


def scene(seed: int = 0, *, pan: float = 0.0, movers: bool = True) -> Scene:
    """A slanted wall, a flower, a thin ring and a thin bar; ``pan`` in parts of the width for each frame."""
    things = (
        Layer(FLOWER, (0.25, 0.3), (0.0095, 0.001), -0.012, radius=0.09, lobes=5, depth_of_lobes=0.25),
        Layer(RING, (0.72, 0.2), (-0.008, 0.002), -0.004, radius=0.08, thickness=0.022),
        Layer(BAR, (0.55, 0.42), (0.0065, -0.003), 0.002, radius=0.13, thickness=0.014),
    )
    return with_layers((WALL_BEHIND, *things) if movers else (WALL_BEHIND,), seed, pan=(pan, pan / 8))


WALL_BEHIND = Layer(WALL, (0.5, 0.28), (0.0, 0.0), 0.02, slant=(0.006, -0.012))


def with_layers(layers: tuple[Layer, ...], seed: int, *, pan: tuple[float, float] = (0.0, 0.0)) -> Scene:
    """A scene of layers; each gets a texture of its own."""
    random = np.random.default_rng(seed)
    return Scene(layers, np.stack([texture(random) for _ in layers]), pan, seed)


def texture(random: np.random.Generator) -> Float32[np.ndarray, "n n 3"]:
    """Noise of four octaves, more of light than of colour, the stronger the coarser, around a colour."""
    colour = random.uniform(0.3, 0.7, 3)
    octaves = ((0.5, 20), (0.5, 7), (0.4, 2.5), (0.25, 1.0))
    light, tint = (sum(strength * _noise(random, blur) for strength, blur in octaves) for _ in range(2))
    return np.clip(colour + 0.14 * light[..., :1] + 0.08 * tint, 0.02, 0.98).astype(np.float32)


def _noise(random: np.random.Generator, blur: float) -> Float64[np.ndarray, "n n 3"]:
    """Of deviation 1, repeating, so smooth."""
    margin = int(4 * blur)
    wrapped = np.pad(random.standard_normal((TEXELS, TEXELS, 3)), ((margin, margin), (margin, margin), (0, 0)), "wrap")
    smooth = cv2.GaussianBlur(wrapped, (0, 0), blur)[margin:-margin, margin:-margin]
    return smooth / smooth.std()


def view(scene: Scene, time: int, share: float, size: tuple[int, int], bits: int = 8) -> View:
    """An eye at some frame.

    Args:
        scene: what there is to see.
        time: number of the frame.
        share: 0 is the source picture, -0.5 and 0.5 are eyes beside it.
        size: width and height in pixels.
        bits: 8 or 16 for each colour.
    """
    width, height = size
    colour, parallax = np.zeros((height, width, 3)), np.zeros((height, width), np.float32)
    shares = np.zeros((height, width, 3))
    table = np.array([_row(scene, number, time) for number in range(len(scene.layers))])
    _compiled()(table, scene.textures, share, colour, parallax, shares)
    most = 2**bits - 1
    hidden, outside, mixed = (shares[..., part] for part in range(3))
    unclear = cv2.dilate(((hidden > 0) | (mixed > 0)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    picture = np.rint(most * colour).astype(np.uint8 if bits == 8 else np.uint16)
    return View(picture, parallax, (hidden > 0.5) & (outside == 0), outside > 0, ~unclear & (outside == 0))


def source(scene: Scene, count: int, size: tuple[int, int], bits: int = 8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pictures from which the eyes are to be made, and their exact parallax."""
    for time in range(count):
        seen = view(scene, time, 0.0, size, bits)
        yield seen.picture, seen.parallax


class Figures(NamedTuple):
    """How near predicted eyes come to the true ones."""

    visible: float
    """Decibels, where the source picture shows it, edges too."""
    clear: float
    """Decibels, away from edges."""
    hidden: float
    """Decibels, where the source picture does not."""
    flicker: float
    """Mean error of the change from frame to frame, where it is hidden now or was before; 0 to 1."""


def figures(scene: Scene, share: float, predicted: list[np.ndarray]) -> Figures:
    """Of the eyes from the first frame on."""
    height, width = predicted[0].shape[:2]
    true = [view(scene, time, share, (width, height)) for time in range(len(predicted))]
    pairs = list(zip(predicted, true, strict=True))
    return Figures(
        _decibels(np.concatenate([error(a, b)[~b.hidden & ~b.outside] for a, b in pairs])),
        _decibels(np.concatenate([error(a, b)[b.clear] for a, b in pairs])),
        _decibels(np.concatenate([error(a, b)[b.hidden] for a, b in pairs])),
        _flicker(pairs),
    )


def error(predicted: np.ndarray, true: View) -> Float64[np.ndarray, "h w"]:
    """Squared, of the three colours, in 8 bits."""
    return np.square(cv2.absdiff(predicted, true.picture).astype(np.float64)).mean(axis=-1)


def _decibels(squared: Float64[np.ndarray, " n"]) -> float:
    return float(10 * np.log10(255**2 / squared.mean())) if squared.size and squared.any() else float("inf")


def _flicker(pairs: list[tuple[np.ndarray, View]]) -> float:
    sums = [
        (flicker((eye, true.picture), (eye0, true0.picture), region), np.count_nonzero(region))
        for (eye0, true0), (eye, true) in pairwise(pairs)
        if (region := true.hidden | true0.hidden).any()
    ]
    return float(np.average([each for each, _ in sums], weights=[count for _, count in sums])) if sums else 0.0


def _row(scene: Scene, number: int, time: int) -> list[float]:
    layer = scene.layers[number]
    phase = float(np.random.default_rng((scene.seed, number, time)).uniform(0, 2 * np.pi))
    middle = np.add(layer.middle, time * np.subtract(layer.velocity, scene.pan))
    shape = (layer.radius, layer.thickness, layer.lobes, layer.depth_of_lobes)
    return [layer.kind, *middle, layer.parallax, *layer.slant, *shape, layer.restless, phase]


@cache
def _compiled() -> Callable[..., None]:
    from numba.extending import register_jitable  # noqa: PLC0415 - not for those who import this module alone

    for function in (_covers, _found, _looked_up):
        register_jitable(function)
    return compiled(_render)


@no_type_check
def _render(table, textures, share, colour, parallax, shares):  # noqa: ANN001, ANN202
    height, width = parallax.shape
    for row in range(height):
        for column in range(width):
            middle_layer, _, nearest = _found(table, (column + 0.5) / width, (row + 0.5) / width, share)
            parallax[row, column] = nearest
            for part in range(16):
                x, y = (column + (part % 4 + 0.5) / 4) / width, (row + (part // 4 + 0.5) / 4) / width
                layer, u, _ = _found(table, x, y, share)
                v = y - table[layer, 2]
                wave, phase = table[layer, 10], table[layer, 11]
                to_x, to_y = wave * np.sin(40 * v + phase), wave * np.sin(35 * u + 2 * phase)
                _looked_up(colour[row, column], textures[layer], u + to_x, v + to_y)
                at = u + table[layer, 1]
                in_source, _, _ = _found(table, at, y, 0.0)
                shares[row, column, 0] += (in_source != layer) / 16
                shares[row, column, 1] += (at < 0 or at >= 1) / 16
                shares[row, column, 2] += (layer != middle_layer) / 16


@no_type_check
def _found(table, x, y, share):  # noqa: ANN001, ANN202
    """The nearest layer at a place of an eye, the place on it along x, and its parallax there.

    What is at u is seen at u + its middle + share times parallax, which is linear in u.
    """
    best, best_u, nearest = 0, 0.0, np.inf
    for number in range(len(table)):
        middle_x, middle_y, parallax, along_x, along_y = table[number, 1:6]
        v = y - middle_y
        u = (x - middle_x - share * (parallax + along_y * v)) / (1 + share * along_x)
        here = parallax + along_x * u + along_y * v
        if here < nearest and _covers(table[number], u, v):
            best, best_u, nearest = number, u, here
    return best, best_u, nearest


@no_type_check
def _covers(layer, u, v):  # noqa: ANN001, ANN202
    kind, radius, thickness, lobes, depth = layer[0], layer[6], layer[7], layer[8], layer[9]
    distance = np.sqrt(u * u + v * v)
    if kind == 1:
        return distance < radius * (1 + depth) and distance < radius * (1 + depth * np.cos(lobes * np.arctan2(v, u)))
    if kind == 2:
        return np.abs(distance - radius) < thickness / 2
    if kind == 3:
        return np.abs(0.8 * u + 0.6 * v + 2 * v * v) < thickness / 2 and distance < radius
    return True


@no_type_check
def _looked_up(out, texture, u, v):  # noqa: ANN001, ANN202
    """Add a sixteenth of the colour of a texture, linear between texels."""
    column, row = u / TEXEL, v / TEXEL
    left, top = np.floor(column), np.floor(row)
    right, lower = column - left, row - top
    x0, y0 = int(left) % TEXELS, int(top) % TEXELS
    x1, y1 = (x0 + 1) % TEXELS, (y0 + 1) % TEXELS
    for part in range(3):
        above = texture[y0, x0, part] * (1 - right) + texture[y0, x1, part] * right
        below = texture[y1, x0, part] * (1 - right) + texture[y1, x1, part] * right
        out[part] += (above * (1 - lower) + below * lower) / 16


def completed(disparity: Float32[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
    """Measured disparity (NaN: unknown) without gaps, for a warp of real pictures.

    What is unknown belongs to the farther side, but for a pixel beside something nearer: edges are not measured.
    """
    width = disparity.shape[1]
    known = np.isfinite(disparity)
    near = cv2.dilate(np.where(known, disparity, np.float32(-1)), np.ones((1, 3), np.uint8))
    values = np.where(known, disparity, np.where(near >= 0, near, np.nan))
    column, known = np.arange(width), np.isfinite(values)
    before = np.maximum.accumulate(np.where(known, column, -1), axis=1)
    after = np.minimum.accumulate(np.where(known, column, width)[:, ::-1], axis=1)[:, ::-1]
    sides = [
        np.where((at >= 0) & (at < width), np.take_along_axis(values, np.clip(at, 0, width - 1), axis=1), np.inf)
        for at in (before, after)
    ]
    whole: Float32[np.ndarray, "h w"] = np.minimum(*sides).astype(np.float32)
    return whole
