"""What metric truth is known: disparities of the network beside the inverse depths that they should be."""

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int64

from recon.errors import AlignmentError
from recon.types import Correspondences, DepthMap, SparsePoints

OtherMap = Float32[np.ndarray, "other_h other_w"]
"""A map of the same picture at a size of its own."""

TOLERANCE = 0.005
"""Most seconds between a frame and what was seen in it: times of other programs are rounded."""
_EDGE = 0.05
"""Part of a map's range by which it may change within a neighbourhood. Planes change evenly in inverse depth."""
_BLOCKS = 8
"""Squares along each side of a picture, within which depth errs together."""
_SHAPE = 0.05
"""How far the aspect ratios of two maps of one picture may differ: networks round sizes to their patches."""


def from_depth_map(disparity: DepthMap, depth: OtherMap, *, time: float) -> Correspondences:
    """Places where a map of known depth says something, from two maps of the same picture at any two sizes.

    They are compared at the centres of the coarser one's pixels, by the nearest value, so that near and far never mix;
    where depth is scattered (lidar in a picture), at the pixels that have it. Places beside an edge of either map are
    left out, and so is disparity that a network has clipped to exactly 0.

    Args:
        disparity: (h, w), NaN = unknown.
        depth: (h', w') along +z, NaN = unknown; > 0 elsewhere.
        time: of the picture, seconds.

    Raises:
        AlignmentError: the maps have different shapes, so that they cannot show the same picture.
    """
    _require_same_picture(disparity, depth)
    inverse = _inverse(depth)
    known = np.where(disparity == 0, np.float32(np.nan), disparity)
    scattered = _scattered(inverse)
    coarser = min(disparity.shape[0], depth.shape[0]), min(disparity.shape[1], depth.shape[1])
    size = (depth.shape[0], depth.shape[1]) if scattered else coarser
    d = _at_centres(_without_edges(known, coarser), size)
    z = inverse if scattered else _at_centres(_without_edges(inverse, coarser), size)
    both = np.isfinite(d) & np.isfinite(z)
    count = int(np.count_nonzero(both))
    left_out = int(np.count_nonzero(np.isfinite(_at_centres(inverse, size)))) - count
    block = _blocks(size)[both]
    return Correspondences(d[both].astype(float), z[both].astype(float), np.ones(count), time, left_out, block)


def from_sparse(points: SparsePoints, time: float, disparity: DepthMap) -> Correspondences:
    """Landmarks of a map seen in the picture at ``time``; none where none was seen within ``TOLERANCE`` seconds.

    The disparity is that of the pixel in which the landmark was observed; observations outside the picture, beside
    edges of the disparity and where it is unknown or exactly 0 are left out.
    """
    height, width = disparity.shape
    seen = slice(*np.searchsorted(points.times, [time - TOLERANCE, time + TOLERANCE]))
    column, row = np.floor(points.position[seen] * (width, height)).astype(np.int64).T
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    known = _without_edges(np.where(disparity == 0, np.float32(np.nan), disparity), disparity.shape)
    d = known[row[inside], column[inside]].astype(float)
    inverse = 1 / points.depth[seen][inside]
    kept = np.isfinite(d)
    count = int(np.count_nonzero(kept))
    return Correspondences(d[kept], inverse[kept], np.ones(count), time, len(inside) - count)


def _require_same_picture(disparity: DepthMap, depth: OtherMap) -> None:
    (h, w), (other_h, other_w) = disparity.shape, depth.shape
    if abs(np.log((w * other_h) / (h * other_w))) > _SHAPE:
        raise AlignmentError(
            f"the anchor's depth map is {other_w} x {other_h}, but the picture is {w / h:.3f} times as wide as high: "
            "give the depth of the whole picture"
        )


def _scattered(values: DepthMap) -> bool:
    """Whether most known pixels stand alone: their neighbours to the right are unknown."""
    known = np.isfinite(values)
    beside = np.count_nonzero(known[:, 1:] & known[:, :-1])
    return bool(2 * beside < np.count_nonzero(known))


def _blocks(size: tuple[int, int]) -> Int64[np.ndarray, "other_h other_w"]:
    """Numbers of the squares of a chessboard, at each pixel of a map of ``size``."""
    row, column = (np.arange(count) * _BLOCKS // count for count in size)
    blocks: Int64[np.ndarray, "other_h other_w"] = row[:, None] * _BLOCKS + column
    return blocks


def _inverse(depth: DepthMap) -> DepthMap:
    """1 / depth; NaN where depth is unknown or not positive."""
    positive = np.isfinite(depth) & (depth > 0)
    inverse: DepthMap = np.divide(np.float32(1), depth, where=positive, out=np.full_like(depth, np.nan))
    return inverse


def _without_edges(values: DepthMap, size: tuple[int, int]) -> DepthMap:
    """NaN where values jump within a pixel of the coarser map and its neighbours; unknown ones are not neighbours."""
    finite = np.isfinite(values)
    if not finite.any():
        return values
    low, high = np.percentile(values[finite], [2, 98])
    jump = _local_range(values, finite, size)
    return np.where(finite & (jump <= _EDGE * (high - low)), values, np.float32(np.nan))


def _local_range(values: DepthMap, finite: Bool[np.ndarray, "h w"], size: tuple[int, int]) -> DepthMap:
    """Largest minus smallest known value around each pixel, as far as a pixel of a map of ``size`` reaches."""
    height, width = (2 * round(full / coarse) + 1 for full, coarse in zip(values.shape, size, strict=True))
    window = np.ones((height, width), np.uint8)
    infinity = np.float32(np.inf)
    highest = cv2.dilate(np.where(finite, values, -infinity), window)
    lowest = cv2.erode(np.where(finite, values, infinity), window)
    return np.where(finite, highest, np.float32(0)) - np.where(finite, lowest, np.float32(0))


def _at_centres(values: DepthMap, size: tuple[int, int]) -> OtherMap:
    """Values at the pixel centres of a map of ``size`` (rows, columns), by the nearest pixel."""
    row, column = (
        np.floor((np.arange(coarse) + 0.5) * (full / coarse)).astype(int)
        for full, coarse in zip(values.shape, size, strict=True)
    )
    sampled: OtherMap = values[row[:, None], column[None, :]]
    return sampled
