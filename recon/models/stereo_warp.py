"""What another eye sees of a picture, in torch: on CUDA what `recon.stages.stereo.warp` does on a CPU.

All rows at once, each laid behind the one before it, so that everything is a list: pixels, runs (pixels of one surface,
which the eye sees side by side), visible pieces of runs, samples of pieces. Where things are along x is counted within
each row, in pixels with the corner at 0. Runs that began farther right are nearer and hide the others (McMillan and
Bishop, "Head-tracked stereoscopic display using image warping", 1995), once rows that move to the left are mirrored.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, Int64
from torch import Tensor
from torch.nn import functional

from recon.errors import OptionError
from recon.eyes import LEAST_STEP, MOST_BESIDE, MOST_TEXTURE, SAME_SURFACE, Seen, itself, require_finite, require_frame
from recon.types import Parallax, Samples

PIXELS: Final = 1 << 21
"""Worked on at once (whole rows, one at least): about 250 bytes of memory for each, 350 where all are runs of one."""


class TorchWarp:
    """The warp of `recon.stages.stereo.warp.seen_from`, on a device that knows 64-bit floats: "cuda", "cpu"."""

    def __init__(self, device: torch.device | str, *, pixels: int = PIXELS) -> None:
        self._device = torch.device(device)
        self._pixels = pixels

    def __call__(self, picture: Samples, parallax: Parallax, share: float) -> Seen:
        """A picture from where x becomes x + share x parallax x width.

        Args:
            picture: 8 or 16 bits.
            parallax: of its pixels; finite.
            share: -0.5 and 0.5 are the left and the right eye around the picture; 0 returns the picture itself.

        Raises:
            ValueError: sizes differ, the picture is empty, or parallax or share are not finite.
        """
        require_frame(picture, parallax, share)
        if share == 0:
            return itself(picture, parallax)
        require_finite(bool(np.isfinite(parallax).all()))
        seen = _empty(picture, parallax)
        for rows in self._parts(parallax.shape):
            here = self._uploaded(picture[rows]), self._uploaded(parallax[rows])
            for whole, part in zip(seen, _warped(*here, float(share)), strict=True):
                whole[rows] = part.cpu().numpy()
        return seen

    def _parts(self, shape: tuple[int, ...]) -> Iterator[slice]:
        height, width = shape
        step = max(1, self._pixels // width)
        return (slice(first, first + step) for first in range(0, height, step))

    def _uploaded(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(self._device)


def on_cuda() -> TorchWarp:
    """The warp on the first NVIDIA card.

    Raises:
        OptionError: there is none, or PyTorch is built without CUDA.
    """
    if not torch.cuda.is_available():
        raise OptionError("--warp cuda: PyTorch finds no NVIDIA card here: leave it out")
    return TorchWarp("cuda")


def _empty(picture: Samples, parallax: Parallax) -> Seen:
    nothing = np.zeros_like(parallax)
    return Seen(np.zeros_like(picture), nothing, np.zeros(parallax.shape, bool), nothing.copy())


# ---------------------------------------------------------------------------------------------------------------- rows


class _Runs(NamedTuple):
    """Rows of a picture in the direction in which parallax moves things to the right, one behind the other."""

    colour: Float32[Tensor, "n 3"]
    """0 to 255, whatever the bits."""
    parallax: Float32[Tensor, " n"]
    at: Float64[Tensor, " n"]
    """x where the eye sees the middle of each pixel."""
    of: Int64[Tensor, " n"]
    """Run of each pixel."""
    first: Int64[Tensor, " r"]
    """First pixel of each run."""
    last: Int64[Tensor, " r"]
    width: int
    """Of a row."""


def _warped(picture: Tensor, parallax: Float32[Tensor, "h w"], share: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Picture, parallax, hole and cover of rows, as `Seen` has them."""
    scale = 1 if picture.dtype == torch.uint8 else 257
    colour = picture.float() * (1 / scale)
    if share < 0:
        colour, parallax = colour.flip(1), parallax.flip(1)
    runs = _read(colour, parallax, abs(share))
    move, colour = _silhouettes(runs)
    runs = runs._replace(colour=colour)
    drawn = _drawn(runs, _samples(runs, _visible(runs, move)))
    levels = (drawn[0] * scale + 0.5).clamp(0, 255 * scale).to(picture.dtype)
    seen = [each.view(*parallax.shape, *each.shape[1:]) for each in (levels, *drawn[1:])]
    left, near, hole, cover = (each.flip(1) for each in seen) if share < 0 else seen
    return left, near, hole, cover


def _read(colour: Float32[Tensor, "h w 3"], parallax: Float32[Tensor, "h w"], share: float) -> _Runs:
    """Rows, cut into runs."""
    width = parallax.shape[1]
    middles = torch.arange(width, dtype=torch.float64, device=parallax.device) + 0.5
    parallax, at = _settled(parallax, middles + share * width * parallax.double())
    border = functional.pad(_borders(at), (0, 1), value=True).flatten()
    last = border.nonzero()[:, 0]
    first = functional.pad(last[:-1] + 1, (1, 0))
    of = border.cumsum(0) - border.long()
    return _Runs(colour.reshape(-1, 3), parallax.flatten(), at.flatten(), of, first, last, width)


def _borders(at: Float64[Tensor, "h w"]) -> Bool[Tensor, "h w-1"]:
    """Whether a pixel and the next one lie on two surfaces."""
    return (at.diff(dim=1) - 1).abs() > SAME_SURFACE


def _settled(
    parallax: Float32[Tensor, "h w"], at: Float64[Tensor, "h w"]
) -> tuple[Float32[Tensor, "h w"], Float64[Tensor, "h w"]]:
    """Single pixels on a ramp from one surface to another belong to the one that is more like them."""
    way = functional.pad(torch.where(_borders(at), parallax.diff(dim=1).sign(), 0), (1, 1))
    on_ramp = (way[:, 1:] == way[:, :-1]) & (way[:, 1:] != 0)
    flat, flat_at = parallax.flatten(), at.flatten()
    pixel, before, behind = _beside(on_ramp.flatten())
    rises = flat[before] <= flat[behind]
    near, far = torch.where(rises, before, behind), torch.where(rises, behind, before)
    like = torch.where(flat[pixel] - flat[near] <= flat[far] - flat[pixel], near, far)
    flat = flat.index_copy(0, pixel, flat[like])
    flat_at = flat_at.index_copy(0, pixel, flat_at[like] + (pixel - like))
    return flat.view_as(parallax), flat_at.view_as(at)


def _beside(odd: Bool[Tensor, " n"]) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " m"], Int64[Tensor, " m"]]:
    """Where it holds; and for each such place the nearest before and behind it where it does not (-1, n: none)."""
    place = odd.nonzero()[:, 0]
    even = functional.pad((~odd).nonzero()[:, 0], (1, 1), value=-1)
    even[-1] = len(odd)
    count = (~odd).cumsum(0)[place]
    return place, even[count], even[count + 1]


def _silhouettes(runs: _Runs) -> tuple[Float64[Tensor, " r"], Float32[Tensor, "n 3"]]:
    """How far behind the middle between two pixels each run ends; colours without those of the other side.

    The two pixels at a silhouette mix the colours of both sides: how much of either each of them holds tells where it
    is. That is trusted as far as nothing but a mixture explains the two, and as far as the sides, three pixels wide at
    least, are plain beside the step between them.
    """
    wide = runs.last - runs.first >= 2
    one_row = (runs.last + 1) % runs.width != 0
    found = wide & wide.roll(-1) & one_row
    around = runs.last[:, None] + torch.arange(-2, 4, device=wide.device)
    c = runs.colour[around.clamp(0, len(runs.colour) - 1)]
    step = c[:, 4] - c[:, 1]
    length = _squared(step)
    (first, beside_first), (second, beside_second) = (_mixture(c[:, k] - c[:, 1], step, length) for k in (2, 3))
    texture = _squared(c[:, 1] - c[:, 0]) + _squared(c[:, 5] - c[:, 4])
    doubt = ((beside_first + beside_second) / MOST_BESIDE + texture / MOST_TEXTURE) / length
    found &= (length >= LEAST_STEP) & (doubt < 1) & (first <= second)
    trust = torch.where(found, 1 - doubt, 0)
    of_right, of_left, move = (torch.where(found, trust * of, 0) for of in (first, 1 - second, 1 - first - second))
    colour = runs.colour.index_add(0, runs.last, -of_right[:, None] * step)
    colour.index_add_(0, around[:, 3].clamp(max=len(colour) - 1), of_left[:, None] * step)
    return move.double(), colour


def _squared(difference: Float32[Tensor, "r 3"]) -> Float32[Tensor, " r"]:
    return difference.square().sum(1)


def _mixture(
    difference: Float32[Tensor, "r 3"], step: Float32[Tensor, "r 3"], length: Float32[Tensor, " r"]
) -> tuple[Float32[Tensor, " r"], Float32[Tensor, " r"]]:
    """How much of a step a colour holds, 0 to 1, and squared, by how much it is no part of it."""
    along = ((difference * step).sum(1) / length).clamp(0, 1)
    return along, _squared(difference - along[:, None] * step)


# -------------------------------------------------------------------------------------------------------------- pieces


class _Pieces(NamedTuple):
    """What is visible of runs, row by row from left to right."""

    run: Int64[Tensor, " p"]
    begin: Float64[Tensor, " p"]
    end: Float64[Tensor, " p"]


def _visible(runs: _Runs, move: Float64[Tensor, " r"]) -> _Pieces:
    """Runs, each hiding those before it: their ends cut a row into stretches, that each show the last run over them."""
    begin = (runs.at[runs.first] - 0.5 + functional.pad(move[:-1], (1, 0))).clamp(min=0)
    end = (runs.at[runs.last] + 0.5 + move).clamp(max=runs.width)
    inside = (begin < end).nonzero()[:, 0]
    cuts = torch.cat([begin[inside], end[inside]])
    row = (runs.first[inside] // runs.width).repeat(2)
    order = cuts.argsort(stable=True)
    order = order[row[order].argsort(stable=True)]
    cuts, rank = cuts[order], order.argsort()
    shown = _last_cover(rank[: len(inside)], rank[len(inside) :], 2 * runs.width)
    seen = (shown >= 0).nonzero()[:, 0]
    number, count = torch.unique_consecutive(shown[seen], return_counts=True)
    behind = count.cumsum(0)
    return _Pieces(inside[number], cuts[seen[behind - count]], cuts[seen[behind - 1] + 1])


def _last_cover(begin: Int64[Tensor, " r"], end: Int64[Tensor, " r"], longest: int) -> Int64[Tensor, " s"]:
    """For each of 2 r - 1 places the last of r intervals [begin, end) that covers it, -1 where none does.

    Two blocks of a power of two cover an interval (the table of Bender and Farach-Colton, "The LCA problem revisited",
    2000, turned round: written by intervals and read at places); what a block holds, its two halves hold.
    """
    number = torch.arange(len(begin), device=begin.device)
    level = torch.frexp((end - begin).double()).exponent - 1
    last = torch.full((max(2 * len(begin) - 1, 0),), -1, device=begin.device)
    for power in reversed(range(longest.bit_length())):
        block = 1 << power
        last[block:] = torch.maximum(last[block:], last[:-block])
        here = torch.where(level == power, number, -1)
        last.scatter_reduce_(0, begin, here, "amax")
        last.scatter_reduce_(0, (end - block).clamp(min=0), here, "amax")
    return last


# ------------------------------------------------------------------------------------------------------------- samples


class _Samples(NamedTuple):
    """What is drawn: one of each whole pixel that shows one run alone, and one of each part of another pixel."""

    pixel: Int64[Tensor, " m"]
    run: Int64[Tensor, " m"]
    x: Float64[Tensor, " m"]
    """Middle of what is covered."""
    area: Float32[Tensor, " m"]
    """Part of the pixel, 0 to 1."""


def _samples(runs: _Runs, pieces: _Pieces) -> _Samples:
    """Of all pieces; parts of one pixel stand from left to right."""
    row = runs.first[pieces.run] // runs.width * runs.width
    left, right = pieces.begin.ceil(), pieces.end.floor()
    count = (right - left).clamp(min=0).long()
    piece = torch.arange(len(count), device=count.device).repeat_interleave(count)
    whole = torch.arange(len(piece), device=count.device) + (left.long() + count - count.cumsum(0))[piece]
    begin = torch.stack([pieces.begin, torch.maximum(left, right)], 1).flatten()
    end = torch.stack([torch.minimum(pieces.end, left), pieces.end], 1).flatten()
    part = (begin < end).nonzero()[:, 0]
    begin, end = begin[part], end[part]
    area = torch.cat([torch.ones_like(whole, dtype=torch.float32), (end - begin).float()])
    x = torch.cat([whole.double() + 0.5, (begin + end) / 2])
    piece = torch.cat([piece, part // 2])
    return _Samples(torch.cat([whole, begin.long()]) + row[piece], pieces.run[piece], x, area)


def _looked_up(runs: _Runs, samples: _Samples) -> tuple[Float32[Tensor, "m 3"], Float32[Tensor, " m"]]:
    """Colour and parallax of samples, from the pixels of their runs alone (Keys 1981, a = -1/2)."""
    apart = runs.width + 4
    places = runs.of * apart + runs.at.clamp(-1, runs.width + 1)
    first, last = runs.first[samples.run], runs.last[samples.run]
    found = torch.searchsorted(places, samples.run * apart + samples.x, right=True) - 1
    k = torch.maximum(torch.minimum(found, last), first)
    m = torch.minimum(k + 1, last)
    step = runs.at[m] - runs.at[k]
    part = torch.where(step > 0, (samples.x - runs.at[k]) / step, 0).clamp(0, 1).float()
    rest = 1 - part
    before, behind = -0.5 * part * rest * rest, -0.5 * part * part * rest
    taps = (before, rest - before - before + behind, part - behind - behind + before, behind)
    pixels = (torch.maximum(k - 1, first), k, m, torch.minimum(k + 2, last))
    colour = torch.zeros(len(k), 3, device=k.device)
    for tap, pixel in zip(taps, pixels, strict=True):
        colour += tap[:, None] * runs.colour[pixel]
    return colour, torch.lerp(runs.parallax[k], runs.parallax[m], part)


def _drawn(runs: _Runs, samples: _Samples) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Colour (n, 3), parallax, hole and cover of each pixel."""
    colours, parallaxes = _looked_up(runs, samples)
    pixel, area, count = samples.pixel, samples.area, len(samples.area)
    colour = torch.zeros_like(runs.colour).index_add_(0, pixel, area[:, None] * colours)
    cover = torch.zeros_like(runs.parallax).index_add_(0, pixel, area)
    most = torch.zeros_like(cover).scatter_reduce_(0, pixel, area, "amax")
    number = torch.where(area == most[pixel], torch.arange(count, device=area.device), count)
    shown = torch.full_like(runs.of, count).scatter_reduce_(0, pixel, number, "amin")
    hole = cover < 0.5
    parallax = _guessed(functional.pad(parallaxes, (0, 1))[shown], hole, runs)
    return torch.where(cover > 0, 1 / cover, 0)[:, None] * colour, parallax, hole, cover.clamp(max=1)


def _guessed(shown: Float32[Tensor, " n"], hole: Bool[Tensor, " n"], runs: _Runs) -> Float32[Tensor, " n"]:
    """In holes, the parallax of the farther side."""
    pixel, before, behind = _beside(hole)
    row, side = pixel // runs.width, torch.stack([before, behind])
    in_row = side // runs.width == row
    farther = torch.where(in_row, shown[side.clamp(0, len(shown) - 1)], -torch.inf).amax(0)
    return shown.index_copy(0, pixel, torch.where(in_row.any(0), farther, runs.parallax[row * runs.width]))
