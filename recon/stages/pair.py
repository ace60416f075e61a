"""Frames and the depth that was found for them, brought together again at one size."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import sqrt

import cv2
import numpy as np
from jaxtyping import UInt8

from recon.errors import StoreError
from recon.types import DepthEstimate, Frame, Picture, ShotFrame


def paired(
    frames: Iterable[Frame], estimates: Iterable[DepthEstimate], detail: int = 0
) -> Iterator[tuple[ShotFrame, DepthEstimate]]:
    """Each frame, resized to its map, beside that map.

    The principal point and focal length of the resized picture are those of the original, multiplied (corner origin).

    Args:
        frames: at any size.
        estimates: of the same frames.
        detail: pixels that both have at least, where the picture has as many: the map is enlarged then.

    Raises:
        StoreError: the two sequences do not belong together.
    """
    pictures = iter(frames)
    for found in estimates:
        frame = next(pictures, None)
        if frame is None or frame.index != found.index:
            raise StoreError(f"frame {found.index} has depth but no picture: the video has changed; use --fresh")
        estimate = _enlarged(found, min(detail, frame.rgb[..., 0].size))
        height, width = estimate.values.shape
        small = Frame(frame.index, frame.time, resized(frame.rgb, width, height))
        yield ShotFrame(small, estimate.shot), estimate


def _enlarged(estimate: DepthEstimate, pixels: int) -> DepthEstimate:
    height, width = estimate.values.shape
    if height * width >= pixels:
        return estimate
    scale = sqrt(pixels / (height * width))
    size = round(width * scale), round(height * scale)
    return replace(estimate, values=cv2.resize(estimate.values, size, interpolation=cv2.INTER_LINEAR))


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
