"""Frames and the depth that was found for them, brought together again at the depth's own size."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from jaxtyping import UInt8

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


def resized(rgb: Picture, width: int, height: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """The picture at another size: means of whole blocks as far as they fit, then bilinear.

    OpenCV's own mean of areas of broken size is ten times slower, and hardly better for what is left (less than half).
    """
    rows, columns = rgb.shape[:2]
    block = min(rows // height, columns // width)
    if block > 1 and rows % block == columns % block == 0:
        rgb = cv2.resize(rgb, (columns // block, rows // block), interpolation=cv2.INTER_AREA)
    if rgb.shape[:2] == (height, width):
        return rgb
    small: UInt8[np.ndarray, "rows columns 3"] = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    return small
