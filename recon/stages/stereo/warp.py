"""A picture as another eye sees it: what is nearer hides what is behind it, and what nothing lands in is a hole."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
from jaxtyping import Bool

from recon.eyes import Seen
from recon.stages.stereo.kernels import Target, kernel
from recon.types import Parallax, Samples

THREADS = 2
"""At work on a picture; the result is the same for any number."""


def seen_from(picture: Samples, parallax: Parallax, share: float, *, threads: int = THREADS) -> Seen:
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
        threads: at work; the result is the same for any number.

    Raises:
        ValueError: sizes differ, the picture is empty, or parallax or share are not finite.
    """
    height, width = parallax.shape
    if picture.shape[:2] != parallax.shape or parallax.size == 0:
        raise ValueError(f"a picture of {picture.shape[:2]} and parallax of {parallax.shape}: of one size, not empty")
    if not (np.isfinite(share) and np.isfinite(parallax).all()):
        raise ValueError("parallax must be finite everywhere")
    if share == 0:
        return Seen(picture, parallax, np.zeros(parallax.shape, bool), np.ones(parallax.shape, np.float32))
    empty = np.zeros(parallax.shape, np.float32)
    seen = Target(np.zeros_like(picture), empty, np.zeros_like(empty), np.zeros(parallax.shape, bool))
    by_rows(lambda rows: kernel()(picture, parallax, float(share) * width, seen, rows), height, threads)
    return Seen(seen.picture, seen.parallax, seen.hole, seen.cover)


def by_rows(work: Callable[[tuple[int, int]], None], height: int, threads: int) -> None:
    """Do work on all rows, each thread on a part of them: compiled code holds no lock."""
    borders = [height * part // threads for part in range(threads + 1)]
    parts = list(pairwise(borders))
    if len(parts) == 1:
        work(parts[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))


def behind(seen: Seen, picture: Samples, known: Bool[np.ndarray, "h w"]) -> Seen:
    """What is seen, with another picture behind it where that is known: through holes and parts of pixels."""
    open_ = (seen.cover < 1) & known
    cover = seen.cover[open_][:, None]
    mixed = cover * seen.picture[open_] + (1 - cover) * picture[open_]
    together = seen.picture.copy()
    together[open_] = np.rint(mixed).astype(picture.dtype)
    return seen._replace(picture=together, hole=seen.hole & ~known, cover=np.where(open_, np.float32(1), seen.cover))


__all__ = ["THREADS", "behind", "by_rows", "seen_from"]
