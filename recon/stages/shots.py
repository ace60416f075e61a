"""Where the film cuts.

Two pictures belong together where most of the one is found again in the other: its blocks, moved and brightened, and
its colours. A cut is a moment when nothing of the pictures before is found in the pictures after, and when that change
stands out from the motion around it. Flashes come back, dissolves and fades go in small steps, pans and shakes move
what stays visible: none of them cuts.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, product, repeat
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64

from recon.types import Frame, Picture, ShotFrame

WIDTH: Final = 64
HEIGHT: Final = 36
"""Size of the small pictures that are compared."""
BLOCK_WIDTH: Final = 16
BLOCK_HEIGHT: Final = 12
REACH_X: Final = 16
REACH_Y: Final = 12
"""How far a block may move from one picture to another: a quarter of the width, a third of the height."""
NOISE: Final = 16.0
"""Variance of brightness (8 bit) that is as good as flat."""
OTHER_COLOURS: Final = 48.0
"""Mean shift of the colours (8 bit) that counts in full."""
FLASH: Final = 3
"""The longest flash, frames: how far ahead is looked before a frame is passed on."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What is remembered of a picture."""

    luma: Float32[np.ndarray, "36 64"]
    variance: Float32[np.ndarray, "25 49"]
    """Of the block whose upper left corner is here."""
    colours: Float64[np.ndarray, "3 256"]
    """Cumulative histograms of Y, Cr and Cb."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a frame in the sliding window; the picture itself only until the frame is passed on."""

    look: _Look
    change: float
    """How different it is from its predecessor, 0 to 1; 0 for the first."""


def split_shots(frames: Iterable[Frame], *, threshold: float) -> Iterator[ShotFrame]:
    """Number the shots.

    The frames come out unchanged and in order, three frames late; memory is constant. Whether the film cuts at a
    moment depends on the four frames before it and the four after it only (and, through their motion, on a fifth
    before). A dissolve of up to three frames may count as a cut; so may a fade that takes only a few frames.

    Args:
        frames: pictures in order, all of one size.
        threshold: in (0, 1]; how different two pictures must be to be of two shots. Neighbours in one shot stay below
            0.4 even in sport and driving, unrelated pictures differ by 0.5 and more.

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    return _numbered(frames, threshold)


def _numbered(frames: Iterable[Frame], threshold: float) -> Iterator[ShotFrame]:
    shot = 0
    for frame, before, after in _moments(_seen(frames)):
        if before and _cuts(before, after, threshold):
            shot += 1
        yield ShotFrame(frame, shot)


def _seen(frames: Iterable[Frame]) -> Iterator[tuple[Frame, _Seen]]:
    last: _Look | None = None
    for frame in frames:
        look = _look(frame.rgb)
        yield frame, _Seen(look, _difference(last, look) if last else 0.0)
        last = look


def _moments(seen: Iterable[tuple[Frame, _Seen]]) -> Iterator[tuple[Frame, list[_Seen], list[_Seen]]]:
    """Each frame, ``FLASH + 1`` frames before it, and it with ``FLASH`` frames after it; fewer at the ends."""
    before: deque[_Seen] = deque(maxlen=FLASH + 1)
    coming: deque[tuple[Frame, _Seen]] = deque()
    for item in chain(seen, repeat(None, FLASH)):
        if item is not None:
            coming.append(item)
        if len(coming) > FLASH or (item is None and coming):
            frame, here = coming.popleft()
            yield frame, list(before), [here, *(after for _frame, after in coming)]
            before.append(here)


def _cuts(before: list[_Seen], after: list[_Seen], threshold: float) -> bool:
    """Whether the film cuts between ``before[-1]`` and ``after[0]``."""
    change = after[0].change
    motion = max(_median([seen.change for seen in side]) for side in (before, after[1:]))
    if change < threshold or change - motion < threshold / 2:
        return False
    return all(_difference(old.look, new.look) >= threshold for old, new in product(before, after))


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _look(rgb: Picture) -> _Look:
    stride = max(1, min(rgb.shape[0] // (4 * HEIGHT), rgb.shape[1] // (4 * WIDTH)))  # 16 of many pixels say enough
    small = cv2.resize(rgb[::stride, ::stride], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    luma = colours[..., 0].astype(np.float32)
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(colours, -1, 0)]
    return _Look(luma, _block_variance(luma), np.cumsum(counts, axis=1) / luma.size)


def _block_variance(luma: Float32[np.ndarray, "36 64"]) -> Float32[np.ndarray, "25 49"]:
    size, rows, columns = (BLOCK_WIDTH, BLOCK_HEIGHT), HEIGHT - BLOCK_HEIGHT + 1, WIDTH - BLOCK_WIDTH + 1
    mean, square = (cv2.blur(values, size, anchor=(0, 0))[:rows, :columns] for values in (luma, luma**2))
    variance: Float32[np.ndarray, "25 49"] = np.maximum(square - mean**2, 0)
    return variance


def _difference(a: _Look, b: _Look) -> float:
    """0 for the same picture, towards 1 for pictures that have nothing in common; symmetric."""
    structure = max(_not_found(a, b), _not_found(b, a))
    return 1 - (1 - structure) * (1 - _recoloured(a, b) / 2)


def _recoloured(a: _Look, b: _Look) -> float:
    """How far the colours moved, 0 to 1: the earth mover's distance of the histograms.

    In one dimension it is the area between the cumulative histograms. Brightness counts a quarter: exposure changes.
    """
    moved = np.abs(a.colours - b.colours).sum(axis=1)
    return min(float(moved @ [0.25, 1, 1]) / OTHER_COLOURS, 1.0)


def _not_found(a: _Look, b: _Look) -> float:
    """Share of the contrast of ``b`` that is not found near its place in ``a``.

    Blocks are compared by contrast and structure as in SSIM (Wang et al., 2004, eq. 9 and 10 with C2 = 2 C3), which a
    change of brightness leaves alone.
    """
    found, total = 0.0, 0.0
    for y, x in product(range(0, HEIGHT, BLOCK_HEIGHT), range(0, WIDTH, BLOCK_WIDTH)):
        variance = float(b.variance[y, x])
        weight = np.sqrt(variance + NOISE)
        found += weight * _best_match(a, b.luma[y : y + BLOCK_HEIGHT, x : x + BLOCK_WIDTH], variance, (y, x))
        total += weight
    return min(max(1 - found / total, 0.0), 1.0)


def _best_match(a: _Look, block: Float32[np.ndarray, "12 16"], variance: float, at: tuple[int, int]) -> float:
    """The highest similarity, -1 to 1, of a block to any block of ``a`` within reach of its place."""
    top, left = max(at[0] - REACH_Y, 0), max(at[1] - REACH_X, 0)
    bottom, right = min(at[0] + REACH_Y, HEIGHT - BLOCK_HEIGHT), min(at[1] + REACH_X, WIDTH - BLOCK_WIDTH)
    region = a.luma[top : bottom + BLOCK_HEIGHT, left : right + BLOCK_WIDTH]
    covariance = cv2.matchTemplate(region, block, cv2.TM_CCOEFF) / block.size
    spread = a.variance[top : bottom + 1, left : right + 1] + variance
    return float(((2 * covariance + NOISE) / (spread + NOISE)).max())
