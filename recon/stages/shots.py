"""Where the film cuts.

Two pictures belong together where the one is found again in the other: its blocks, moved together and brightened, and
its colours. A cut is a moment when nothing of the pictures before is found in the pictures after, and when that change
stands out from the motion around it. Frames that mix the pictures on both sides, as conversions of the frame rate leave
at cuts, belong to the cut.

Flashes come back, dissolves go in small steps, pans and shakes move what stays visible, bars, titles and people leave
a part of the picture as it was: none of them cuts. Pictures that show nothing (all black, all white) say nothing: they
stay in the shot before, and the film cuts after them only if it then shows something else. So a scene that fades to
black and comes back is one shot, and two scenes with black between them are two.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
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
"""How far the blocks may move together from one picture to another: a quarter of the width, a third of the height."""
APART: Final = 3
"""How far each block may move beside that: zooms, parallax, people."""
NOISE: Final = 1.0
"""Standard deviation of brightness (8 bit) in the small pictures that is as good as none."""
FLAT: Final = 2.0
"""Standard deviation of brightness (8 bit) below which a picture shows nothing."""
FULL: Final = 0.25
"""Contrast of a block, as a share of the picture's, from which on the block counts in full."""
QUARTER: Final = 1.4
"""Other pictures differ by so much more in the whole than in the quarter that is found best."""
OTHER_COLOURS: Final = 48.0
"""Mean shift of the colours (8 bit) that counts in full."""
STANDS_OUT: Final = 0.6
"""By how much of the threshold a cut exceeds the motion around it."""
UNMOVED: Final = 0.8
"""Correlation from which on two pictures are alike without a closer look; over cuts it stayed below 0.6."""
REPEATED: Final = 0.25
"""Mean change of brightness (8 bit) below which a picture is the last one over again."""
STILL: Final = 4
"""How often a picture is shown again where the film is not at rest: 6 pictures a second, shown as 30."""
FLASH: Final = 3
"""The longest flash, frames."""
MIXED: Final = 2
"""The most frames of a cut that mix its two sides; more are a dissolve."""
UNEXPLAINED: Final = 0.1
"""Share of the variance of a mixture that may come from neither side: both move."""
LEAST: Final = 0.1
"""The least weight of either side in a mixture."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What is remembered of a picture."""

    luma: Float32[np.ndarray, "36 64"]
    smooth: Float32[np.ndarray, " 2304"]
    """Blurred brightness without its mean."""
    pattern: Float32[np.ndarray, "36 64"]
    """Brightness of mean 0 and deviation 1: gain and offset of the light are left out."""
    variance: Float32[np.ndarray, "25 49"]
    """Of the block of the pattern whose upper left corner is here."""
    noise: float
    """Variance of the pattern that is as good as none."""
    colours: Float64[np.ndarray, "3 256"]
    """Cumulative histograms of Y, Cr and Cb."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a frame in the sliding window; the picture itself only until the frame is passed on."""

    look: _Look
    flat: bool
    """Whether it shows nothing."""
    again: bool
    """Whether it is the picture before it over again, but the film is not at rest."""


def split_shots(frames: Iterable[Frame], *, threshold: float) -> Iterator[ShotFrame]:
    """Number the shots.

    The frames come out unchanged and in order, five frames late; memory is constant. Whether the film cuts at a moment
    depends on at most five frames before it in the shot (the last that show something new) and six after it. What comes
    back within three frames is a flash, whatever it shows. A dissolve of up to three frames may count as a cut.

    Of 288 cuts between real clips (24 films of each of the 20 kinds in ``tests/test_shots.py``, seeds 1000 to 1023) it
    missed 5, 3 of them of the 72 through mixed frames, and found 11 that were none. PySceneDetect 0.7.2 missed 52 and
    found 247 (ContentDetector), or 92 and 51 (AdaptiveDetector), with scenes from three frames on. A frame takes 2 ms,
    up to 15 ms while everything changes all the time.

    Args:
        frames: pictures in order, all of one size.
        threshold: in (0, 1]; how different two pictures must be to be of two shots. Neighbours in one shot stay below
            0.4 even in sport and driving, unrelated pictures differ by 0.6 and more.

    Raises:
        ValueError: the threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    return _numbered(frames, threshold)


def _numbered(frames: Iterable[Frame], threshold: float) -> Iterator[ShotFrame]:
    shot = 0
    begins: deque[bool] = deque()
    before: deque[_Look] = deque(maxlen=FLASH + 2)
    for frame, coming in _looking_ahead(_seen(frames)):
        if not begins:
            begins.extend(_beginnings(list(before), coming, threshold))
        if begins.popleft():
            shot += 1
            before.clear()
        if not (coming[0].flat or coming[0].again):
            before.append(coming[0].look)
        yield ShotFrame(frame, shot)


def _seen(frames: Iterable[Frame]) -> Iterator[tuple[Frame, _Seen]]:
    last: _Look | None = None
    repeats = 0
    for frame in frames:
        look = _look(frame.rgb)
        repeats = repeats + 1 if last is not None and _is_repeated(last, look) else 0
        seen = _Seen(look, flat=_is_flat(look), again=0 < repeats <= STILL)
        yield frame, seen
        last = last if seen.flat or seen.again else look


def _is_flat(look: _Look) -> bool:
    return bool(look.luma.std() < FLAT)


def _is_repeated(last: _Look, look: _Look) -> bool:
    return bool(np.abs(last.luma - look.luma).mean() < REPEATED)


def _looking_ahead(seen: Iterable[tuple[Frame, _Seen]]) -> Iterator[tuple[Frame, list[_Seen]]]:
    """Each frame, and what was seen of it and of the five after it; of fewer at the end."""
    coming: deque[tuple[Frame, _Seen]] = deque()
    for item in chain(seen, repeat(None, FLASH + MIXED)):
        if item is not None:
            coming.append(item)
        if len(coming) > FLASH + MIXED or (item is None and coming):
            yield coming[0][0], [each for _frame, each in coming]
            coming.popleft()


def _beginnings(before: list[_Look], coming: list[_Seen], threshold: float) -> list[bool]:
    """Whether the next frames begin a shot: the first, and with it all that mix the two sides of a cut."""
    if not before or coming[0].flat or coming[0].again:
        return [False]
    for count in reversed(range(min(MIXED + 1, len(coming)))):
        mixed = [each.look for each in coming[:count]]
        after = [each.look for each in coming[count : count + FLASH + 1] if not each.flat]
        if coming[count].flat or _are_alike(before[-1], after[0]):
            continue
        old = _mostly_old(before, mixed, after)
        if old is not None and _cuts(before, after, threshold, count + 1):
            return [number == old for number in range(count + 1)]
    return [False]


def _are_alike(a: _Look, b: _Look) -> bool:
    """Whether a glance says that two pictures show the same, which is mostly so."""
    return bool(a.smooth @ b.smooth > UNMOVED * np.linalg.norm(a.smooth) * np.linalg.norm(b.smooth))


def _cuts(before: list[_Look], after: list[_Look], threshold: float, step: int) -> bool:
    """Whether the film cuts between the last before and the first after, so many frames apart."""
    change = _difference(before[-1], after[0])
    if change < threshold:
        return False
    motion = max(_motion(before, step), _motion(after, step))
    if change - motion < STANDS_OUT * threshold:
        return False
    return all(_difference(old, new) >= threshold for old, new in product(before[-FLASH - 1 :], after))


def _motion(looks: list[_Look], step: int) -> float:
    """The second largest change: the largest may be another cut."""
    changes = sorted(_difference(a, b) for a, b in zip(looks, looks[step:], strict=False))
    return changes[-2] if len(changes) > 1 else 0.0


def _mostly_old(before: list[_Look], mixed: list[_Look], after: list[_Look]) -> int | None:
    """How many mixed frames show more of the shot before; None where one mixes nothing, or where a dissolve does."""
    if mixed and (_share(before[-1], before[-2:-1], after) or _share(after[0], before, after[1:])):
        return None
    shares = [_share(look, before, after) for look in mixed]
    return sum(share < 0.5 for share in shares) if all(shares) else None


def _share(look: _Look, before: Sequence[_Look], after: Sequence[_Look]) -> float:
    """The part of the first after in a mixture with the last before, in (0, 1); 0 for what is no mixture of them.

    Least squares in brightness without its mean (light may change meanwhile), by the normal equations.
    """
    if not before or not after:
        return 0.0
    old, new, seen = before[-1].smooth, after[0].smooth, look.smooth
    determinant = (old @ old) * (new @ new) - (old @ new) ** 2
    of_old = (old @ seen) * (new @ new) - (new @ seen) * (old @ new)
    of_new = (new @ seen) * (old @ old) - (old @ seen) * (old @ new)
    if min(of_old, of_new) <= LEAST * determinant:
        return 0.0
    left = seen - (of_old * old + of_new * new) / determinant
    return float(of_new / (of_old + of_new)) if left @ left <= UNEXPLAINED * (seen @ seen) else 0.0


def _look(rgb: Picture) -> _Look:
    stride = max(1, min(rgb.shape[0] // (4 * HEIGHT), rgb.shape[1] // (4 * WIDTH)))  # 16 of many pixels say enough
    small = cv2.resize(rgb[::stride, ::stride], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
    luma = colours[..., 0].astype(np.float32)
    smooth = cv2.blur(luma, (3, 3)).ravel()
    contrast = max(float(luma.std()), NOISE)
    pattern = (luma - luma.mean()) / np.float32(contrast)
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(colours, -1, 0)]
    histograms = np.cumsum(counts, axis=1) / luma.size
    return _Look(luma, smooth - smooth.mean(), pattern, _block_variance(pattern), (NOISE / contrast) ** 2, histograms)


def _block_variance(pattern: Float32[np.ndarray, "36 64"]) -> Float32[np.ndarray, "25 49"]:
    size, rows, columns = (BLOCK_WIDTH, BLOCK_HEIGHT), HEIGHT - BLOCK_HEIGHT + 1, WIDTH - BLOCK_WIDTH + 1
    mean, square = (cv2.blur(values, size, anchor=(0, 0))[:rows, :columns] for values in (pattern, pattern**2))
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
    """Share of the contrast of ``b`` that is not found in ``a``, by the motion that finds most.

    Where the quarter of ``b`` that is found best is found well, that quarter counts: bars, titles and people may hide
    the rest, but a cut leaves nothing as it was.
    """
    deviation = np.sqrt(b.variance[::BLOCK_HEIGHT, ::BLOCK_WIDTH].ravel() + b.noise)
    weight = np.minimum(deviation, FULL) / np.minimum(deviation, FULL).sum()
    around = cv2.dilate(_similar(a, b), np.ones((2 * APART + 1, 2 * APART + 1), np.uint8))
    whole = around @ weight
    found = around.reshape(-1, weight.size)[whole.argmax()]
    best = np.argsort(-found)
    quarter = found[best[np.searchsorted(np.cumsum(weight[best]), 1 / 4)]]
    return float(min(1 - whole.max(), QUARTER * (1 - quarter), 1.0))


def _similar(a: _Look, b: _Look) -> Float32[np.ndarray, "25 33 12"]:
    """How similar each block of ``b`` is to ``a`` at each move within reach, 0 to 1; 0 outside the picture.

    Blocks are compared by contrast and structure as in SSIM (Wang et al., 2004, eq. 9 and 10 with C2 = 2 C3).
    """
    places = product(range(0, HEIGHT, BLOCK_HEIGHT), range(0, WIDTH, BLOCK_WIDTH))
    return np.stack([_similar_to_block(a, b, y, x) for y, x in places], axis=-1)


def _similar_to_block(a: _Look, b: _Look, y: int, x: int) -> Float32[np.ndarray, "25 33"]:
    block = b.pattern[y : y + BLOCK_HEIGHT, x : x + BLOCK_WIDTH]
    top, left = max(y - REACH_Y, 0), max(x - REACH_X, 0)
    bottom, right = min(y + REACH_Y, HEIGHT - BLOCK_HEIGHT) + 1, min(x + REACH_X, WIDTH - BLOCK_WIDTH) + 1
    region = a.pattern[top : bottom + BLOCK_HEIGHT - 1, left : right + BLOCK_WIDTH - 1]
    covariance = cv2.matchTemplate(region, block, cv2.TM_CCOEFF) / block.size
    spread, noise = a.variance[top:bottom, left:right] + b.variance[y, x], (a.noise + b.noise) / 2
    similar = np.zeros((2 * REACH_Y + 1, 2 * REACH_X + 1), np.float32)
    inside = similar[top - y + REACH_Y : bottom - y + REACH_Y, left - x + REACH_X : right - x + REACH_X]
    np.maximum((2 * covariance + noise) / (spread + noise), 0, out=inside)
    return similar
