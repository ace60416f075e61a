"""Whether depth agrees from frame to frame: the temporal alignment error of a pair of frames.

Source: Depth Any Video (arXiv 2410.10815), Video Depth Anything (arXiv 2501.12375, supplement, equation 1). The depth
of one frame, seen from the camera of the other, is held against the depth of the other, in both directions; a clip's
error is the mean over its pairs of neighbours.
"""

from math import isnan, nan

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon.evaluation.truth import TruthCamera
from recon.geometry import inverse
from recon.types import DepthMap


def temporal_error(
    depth_a: DepthMap, depth_b: DepthMap, camera_a: TruthCamera, camera_b: TruthCamera, *, hidden_points_compared: bool
) -> float:
    """Temporal alignment error of two frames: 100 x the mean over both directions of |depth - carried| / depth.

    Every point of one frame falls on the nearest pixel of the other. Of several that fall on one pixel the nearest is
    compared, points behind the camera never are, and a direction in which nothing is compared does not count.

    It keeps what the published measure keeps: a surface that is hidden in the other frame, with no point before it,
    is compared with what hides it; and where the camera comes closer, the background shows between the points of what
    is in front. So even true depth scores above 0 when the camera moves.

    Args:
        depth_a: Metres (or any unit that the poses have too), NaN = unknown, which is left out.
        depth_b: The same of the other frame.
        camera_a: Its intrinsics are for the size of ``depth_a``.
        camera_b: Its intrinsics are for the size of ``depth_b``.
        hidden_points_compared: As the released script computes (Video Depth Anything, benchmark/eval/eval_tae.py): of
            several points on one pixel the last in reading order is compared, though it be hidden; one behind the
            camera takes its pixel away; both frames have the calibration of the first; and no overlap is no error.

    Returns:
        Per cent; NaN where the frames share nothing (0 under the released rules).

    Raises:
        ValueError: a depth map is not of the size of its camera, or, for the released rules, of the other's.
    """
    if hidden_points_compared:
        camera_b = TruthCamera(camera_a.intrinsics, camera_b.world_from_camera)
    _require_size(depth_a, camera_a)
    _require_size(depth_b, camera_b)
    compared = _released_difference if hidden_points_compared else _difference
    both = compared(depth_a, depth_b, camera_a, camera_b), compared(depth_b, depth_a, camera_b, camera_a)
    known = [value for value in both if not isnan(value)]
    return 100 * sum(known) / len(known) if known else nan


def _require_size(depth: DepthMap, camera: TruthCamera) -> None:
    size = (camera.intrinsics.height, camera.intrinsics.width)
    if depth.shape != size:
        raise ValueError(f"intrinsics are for {size}, depth is {depth.shape}")


def _difference(depth: DepthMap, other: DepthMap, camera: TruthCamera, other_camera: TruthCamera) -> float:
    """Mean relative difference where the nearest points of a frame fall in the other; NaN where none does."""
    x, y, z = _carried(depth, camera, other_camera)
    pixel, inside = _pixels(np.floor(x), np.floor(y), other)
    front = inside & (z > 0)
    nearest = np.full(other.size, np.inf)
    np.minimum.at(nearest, pixel[front], z[front])
    nearest[np.isinf(nearest)] = 0
    return _mean_relative(nearest, other)


def _released_difference(depth: DepthMap, other: DepthMap, camera: TruthCamera, other_camera: TruthCamera) -> float:
    """The same as the released script computes it; 0 where nothing is compared."""
    x, y, z = _carried(depth, camera, other_camera)
    # The script counts pixels from 0 at the centre of the first one, recon's intrinsics from its corner: half a pixel
    # less in the principal point and in the pixel leaves every ray where it is. Then it rounds, halves to even.
    pixel, inside = _pixels(np.rint(x - 0.5), np.rint(y - 0.5), other)
    carried = np.zeros(other.size)
    carried[pixel[inside]] = z[inside]  # of several the last one stays
    error = _mean_relative(carried, other)
    return 0.0 if isnan(error) else error


def _carried(
    depth: DepthMap, camera: TruthCamera, other_camera: TruthCamera
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Image coordinates (corner origin) and depth in the other camera, in reading order, NaN where unknown.

    Points behind the other camera are projected too (as through a pinhole, upside down): their depth is negative.
    """
    other_from_camera = inverse(other_camera.world_from_camera) @ camera.world_from_camera
    rays = other_from_camera[:3, :3] @ np.linalg.inv(camera.intrinsics.matrix)
    height, width = depth.shape
    column, row = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    # Coordinate by coordinate: five times as fast as a product of matrices, and BLAS starts no threads for it.
    x, y, z = (
        (depth * (by_column * column + (by_row * row + constant)) + shift).ravel()
        for (by_column, by_row, constant), shift in zip(rays, other_from_camera[:3, 3], strict=True)
    )
    ahead = np.where(z == 0, np.nan, z)
    target = other_camera.intrinsics
    return target.fx * x / ahead + target.cx, target.fy * y / ahead + target.cy, z


def _pixels(
    column: Float64[np.ndarray, " n"], row: Float64[np.ndarray, " n"], image: DepthMap
) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """Places in the flattened image, 0 where there is none, and whether there is one."""
    height, width = image.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return np.where(inside, row * width + column, 0).astype(np.int64), inside


def _mean_relative(carried: Float64[np.ndarray, " n"], depth: DepthMap) -> float:
    """Mean of |depth - carried| / depth where both are known, NaN where they never are."""
    there = depth.ravel().astype(np.float64)
    both = (carried > 0) & (there > 0)
    if not both.any():
        return nan
    carried, there = carried[both], there[both]
    return float(np.mean(np.abs(there - carried) / there))
