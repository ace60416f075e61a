"""Sparse maps of SLAM or structure from motion: where landmarks are, and where and when they were seen."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from recon.errors import AlignmentError, FormatError
from recon.geometry import inverse, transform
from recon.io.colmap import NO_POINT, Camera, Image, Model, find_model, pinhole, read_model, undistorted
from recon.io.naming import times_of_names
from recon.types import CameraTrajectory, Intrinsics, SparsePoints

logger = logging.getLogger(__name__)

_Seen = tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]
"""Row of the point, position in the picture (0 .. 1), depth."""


def read_sparse(path: Path, *, times_by_name: Mapping[str, float], rate: float | None) -> SparsePoints:
    """A COLMAP model as landmarks with observations, in its own unit of length, sorted by time.

    Observations behind the camera or outside the picture are left out.

    Args:
        path: folder of the model, or one above it (``sparse/0``).
        times_by_name: for a folder of pictures: name up to its first dot -> seconds. Empty for a video.
        rate: for frames that were extracted from a video: how many of them make a second.

    Raises:
        FormatError: no model there, or a damaged one.
        CameraError: a camera that is not supported.
        TrajectoryError: no time can be found for the images of the model.
        AlignmentError: a model without observations.
    """
    folder = find_model(path)
    if folder is None:
        raise FormatError(f"{path}: holds no COLMAP model (cameras, images and points3D, as .bin or .txt)")
    model = read_model(folder)
    for camera in {image.camera for image in model.images}:
        pinhole(model.cameras[camera], f"{folder}, camera {camera}")
    times = times_of_names([image.name for image in model.images], times_by_name, rate, folder)
    timed = sorted((time, row) for row, time in times.items())
    return _collect(model, timed)


def observed(
    points: Float64[np.ndarray, "n 3"],
    trajectory: CameraTrajectory,
    intrinsics: Intrinsics,
    times: Iterable[float],
) -> SparsePoints:
    """Which landmarks without observations are seen at some times: those in the picture that nothing seems to hide.

    Memory grows with the number of times; ask picture by picture (one time each) for a whole video. Times at which the
    trajectory says nothing, or where no landmark is seen, have no observations; that is no error.

    Args:
        points: landmarks in the world and the units of the trajectory (``recon.io.points.read_points``).
        trajectory: where the camera was (``recon.io.trajectory.pose_at`` interpolates).
        intrinsics: of the picture at any size: positions are parts of it.
        times: of pictures, seconds.
    """
    raise NotImplementedError


def _collect(model: Model, timed: list[tuple[float, int]]) -> SparsePoints:
    blocks = [_seen(model, model.images[row]) for _, row in timed]
    counts = [len(point) for point, _, _ in blocks]
    if not sum(counts):
        raise AlignmentError(f"{model.path}: no image of the model sees any of its {len(model.points)} points")
    times = np.repeat([time for time, _ in timed], counts)
    point, position, depth = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return SparsePoints(model.points, times, point, position, depth)


def _seen(model: Model, image: Image) -> _Seen:
    """The observations of one image that are in front of the camera and inside the picture."""
    camera = model.cameras[image.camera]
    has_point = image.points != NO_POINT
    point = _rows_of(model, image, image.points[has_point])
    position = _relative(camera, undistorted(camera, image.positions[has_point]))
    depth = transform(inverse(image.world_from_camera), model.points[point])[:, 2]
    kept = (depth > 0) & (position >= 0).all(axis=1) & (position <= 1).all(axis=1)
    return point[kept], position[kept], depth[kept]


def _rows_of(model: Model, image: Image, keys: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
    rows = np.searchsorted(model.point_keys, keys)
    known = rows < len(model.point_keys)
    if not known.all() or (model.point_keys[rows] != keys).any():
        raise FormatError(f"{model.path}: image {image.name} sees points that the model does not have")
    return rows.astype(np.int64)


def _relative(camera: Camera, positions: Float64[np.ndarray, "m 2"]) -> Float64[np.ndarray, "m 2"]:
    relative: Float64[np.ndarray, "m 2"] = positions / (camera.width, camera.height)
    return relative
