"""Frames and the depth that was found for them, brought together again at the depth's own size."""

from collections.abc import Iterable, Iterator

import cv2

from recon.errors import StoreError
from recon.types import DepthEstimate, Frame, Picture, ShotFrame


def paired(frames: Iterable[Frame], estimates: Iterable[DepthEstimate]) -> Iterator[tuple[ShotFrame, DepthEstimate]]:
    """Each frame, resized to its map, beside that map.

    The principal point and focal length of the resized picture are those of the original, multiplied (corner origin).

    Raises:
        StoreError: the two sequences do not belong together.
    """
    pictures = iter(frames)
    for estimate in estimates:
        frame = next(pictures, None)
        if frame is None or frame.index != estimate.index:
            raise StoreError(f"frame {estimate.index} has depth but no picture: the video has changed; use --fresh")
        height, width = estimate.values.shape
        small = Frame(frame.index, frame.time, resized(frame.rgb, width, height))
        yield ShotFrame(small, estimate.shot), estimate


def resized(rgb: Picture, width: int, height: int) -> Picture:
    """The picture at another size: means of areas when shrinking, bilinear when enlarging."""
    if rgb.shape[:2] == (height, width):
        return rgb
    shrinks = width <= rgb.shape[1] and height <= rgb.shape[0]
    small: Picture = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return small
