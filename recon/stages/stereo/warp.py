"""A picture as another eye sees it: what is nearer hides what is behind it, and what nothing lands in is a hole."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np

from recon.eyes import Seen, itself, require_finite, require_frame
from recon.stages.stereo.kernels import Target, kernel
from recon.types import Parallax, Samples

MOST_THREADS: Final = 8
"""At work on one picture unless more are asked for: with more of them memory is what there is too little of."""
LEAST_ROWS: Final = 64
"""For each of them: to begin a thread costs as much as some rows."""

Done = TypeVar("Done")


def seen_from(picture: Samples, parallax: Parallax, share: float, *, threads: int | None = None) -> Seen:
    """A picture from where x becomes x + share x parallax x width.

    Every pixel is a piece of surface that reaches to the middle between it and its neighbours, or half a pixel where
    these lie on another surface (`recon.eyes.SAME_SURFACE`); single pixels on a ramp between two surfaces belong to the
    one that is more like them. Of what meets, the nearest is seen: the smallest parallax. Where the colours of the two
    pixels at a silhouette tell, it lies at a part of a pixel, and each side keeps its own colour. There a pixel mixes
    what it shows by the area that each surface covers; elsewhere colours between pixels come from four of them
    (Keys 1981), never across a silhouette. It takes time in proportion to the pixels.

    Args:
        picture: 8 or 16 bits.
        parallax: of its pixels; finite.
        share: -0.5 and 0.5 are the left and the right eye around the picture; 0 returns the picture itself.
        threads: at work (see `by_rows`); the result is the same for any number.

    Raises:
        ValueError: sizes differ, the picture is empty, or parallax or share are not finite.
    """
    height, width = parallax.shape
    require_frame(picture, parallax, share)
    if share == 0:
        return itself(picture, parallax)
    samples, seen = picture.reshape(height, 3 * width), unwritten(picture.shape, picture.dtype)
    surface, cover = (unwritten(parallax.shape, np.float32) for _ in range(2))
    target = Target(seen.reshape(height, 3 * width), surface, cover, unwritten(parallax.shape, bool))
    see, parallax, shift = kernel(), np.ascontiguousarray(parallax), float(share) * width
    require_finite(all(by_rows(lambda rows: see(samples, parallax, shift, target, rows), height, threads)))
    return Seen(seen, surface, target.hole, cover)


def unwritten(shape: tuple[int, ...], dtype: Any) -> np.ndarray:  # noqa: ANN401 - whatever numpy takes
    """An array of which compiled code writes every element: zeros before that would cost a tenth of an eye."""
    return np.empty(shape, dtype)  # noqa: TID251 - see above


def by_rows(
    work: Callable[[tuple[int, int]], Done], height: int, threads: int | None = None, *, least: int = LEAST_ROWS
) -> list[Done]:
    """Do work on all rows, each thread on a part of them: compiled code holds no lock.

    Args:
        work: on rows from the first number to before the second.
        height: number of rows.
        threads: by default as many as this process has cores, at most `MOST_THREADS`, each with ``least`` rows.
        least: rows for which a thread is worth while.

    Returns:
        What each part gives, from top to bottom.
    """
    threads = min(_cores(), MOST_THREADS, max(1, height // least)) if threads is None else threads
    borders = [height * part // threads for part in range(threads + 1)]
    parts = list(pairwise(borders))
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, parts))


def _cores() -> int:
    """That this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(allowed(0)) if allowed else os.cpu_count() or 1


__all__ = ["LEAST_ROWS", "MOST_THREADS", "by_rows", "seen_from", "unwritten"]
