"""Sparse maps of SLAM or structure from motion: where landmarks are, and where and when they were seen.

COLMAP says what each picture saw. For bare points that is found by projection, and by a test of what hides behind
other landmarks (``observed``).
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon.errors import AlignmentError, FormatError, OptionError
from recon.geometry import inverse, project, transform
from recon.io.colmap import NO_POINT, Camera, Image, Model, find_model, read_model
from recon.io.naming import times_of_names
from recon.io.trajectory import pose_at
from recon.types import CameraTrajectory, Intrinsics, RigidTransform, SparsePoints

logger = logging.getLogger(__name__)

LANDMARKS_OF_A_PICTURE = 2000
"""Bare landmarks that take part for one picture, evenly taken from all that it shows."""
LANDMARKS_OF_A_MAP = 500_000
"""Bare landmarks that are looked at for each picture."""
_SQUARES = 40
"""Squares along the longer side of a picture within which landmarks may hide each other."""
_BEHIND = 0.1
"""Part of the nearer depth by which a landmark must be farther to be hidden: maps are no better than that."""
_CONE = 0.1
"""Tangent of the half angle about the line of sight within which others hide a landmark."""
_HIDING = 2
"""Landmarks that it takes to hide one: a single stray one must not."""

_Seen = tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, "m 2"], Float64[np.ndarray, " m"]]
"""Row of the point, position in the picture (0 .. 1), depth."""
Straight = Callable[[float, Float64[np.ndarray, "m 2"]], Float64[np.ndarray, "m 2"]]
"""Time in seconds and positions in the picture as it was taken (0 .. 1) -> those in the picture that is used."""


def read_sparse(
    path: Path, *, times_by_name: Mapping[str, float], rate: float | None, straight: Straight | None = None
) -> SparsePoints:
    """A COLMAP model as landmarks with observations, in its own unit of length, sorted by time.

    Observations behind the camera or outside the picture are left out. They lie where the features are in the pictures
    that are used: whoever takes the distortion out of those says where features come to lie.

    Args:
        path: folder of the model, or one above it (``sparse/0``).
        times_by_name: for a folder of pictures: name up to its first dot -> seconds. Empty for a video.
        rate: for frames that were extracted from a video: how many of them make a second.
        straight: where features come to lie in the pictures that are used; None: these are the model's own.

    Raises:
        FormatError: no model there, or a damaged one.
        TrajectoryError: no time can be found for the images of the model.
        AlignmentError: a model without observations.
    """
    folder = find_model(path)
    if folder is None:
        raise FormatError(f"{path}: holds no COLMAP model (cameras, images and points3D, as .bin or .txt)")
    model = read_model(folder)
    times = times_of_names([image.name for image in model.images], times_by_name, rate, folder)
    timed = sorted((time, row) for row, time in times.items())
    return _collect(model, timed, straight)


def observed(
    points: Float64[np.ndarray, "n 3"],
    trajectory: CameraTrajectory,
    intrinsics: Intrinsics,
    times: Iterable[float],
) -> SparsePoints:
    """Which landmarks without observations are seen at some times: those in the picture that no others hide.

    A landmark counts as hidden where two or more others stand within 5.7 degrees of its line of sight, seen from the
    landmark, and at least 10 % nearer to the camera (the idea of the occlusion cones of Pintus, Gobbetti and Agus,
    VAST 2011). Slanted surfaces do not hide themselves so, and one stray point hides nothing. Others are looked for
    within about a fortieth of the picture's longer side, the nearest two in each square of that size.

    Measured with the landmarks of real models without their observations, against the sensor's depth (hidden: more
    than 20 % behind all that it sees within 2 px): 7-Scenes, 3772 landmarks in a picture, 4.8 % of them hidden; of
    those called visible .6 %, and .5 % of those that the model says it saw. HoloLens: 896 landmarks, 1.3 %, .7 % and
    .35 %. Of the landmarks that the models saw, 94 and 96 % are kept. With a cloud of the sensor's depth for a map
    (35 000 points, 2 cm apart), where 7 % are hidden, .01 % of those called visible are. As anchors of a network's
    disparity (Depth Anything V2 Small, 280 px) bare landmarks are nearly as good as a model's own observations: AbsRel
    .074 for .070 in 7-Scenes, .058 for .057 with the HoloLens.

    Memory grows with the number of times; ask picture by picture (one time each) for a whole video. Times at which the
    trajectory says nothing, or where no landmark is seen, have no observations; that is no error. Of a picture no more
    than 2000 landmarks take part, of a map no more than 500 000, evenly taken from all.

    Args:
        points: landmarks in the world and the units of the trajectory (``recon.io.points.read_points``).
        trajectory: where the camera was (``recon.io.trajectory.pose_at`` interpolates).
        intrinsics: of the picture at any size: positions are parts of it.
        times: of pictures, seconds.
    """
    rows = _thinned(len(points), LANDMARKS_OF_A_MAP)
    blocks, seen_at = [], []
    for time in sorted(set(times)):
        pose = pose_at(trajectory, time)
        if pose is not None:
            blocks.append(_looked_at(points, rows, pose, intrinsics))
            seen_at.append(time)
    empty = np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0)
    point, position, depth = (np.concatenate(column) for column in zip(*blocks, empty, strict=True))
    return SparsePoints(points, np.repeat(seen_at, [len(block[0]) for block in blocks]), point, position, depth)


def _looked_at(
    points: Float64[np.ndarray, "n 3"], rows: Int64[np.ndarray, " r"], pose: RigidTransform, intrinsics: Intrinsics
) -> _Seen:
    """The landmarks that a camera sees, of those in ``rows``."""
    in_camera = transform(inverse(pose), points[rows])
    position = project(in_camera, intrinsics) / (intrinsics.width, intrinsics.height)
    inside = ((position >= 0) & (position <= 1)).all(axis=1)  # NaN, behind the camera, is not
    rows, in_camera, position = rows[inside], in_camera[inside], position[inside]
    kept = _thinned(len(rows), LANDMARKS_OF_A_PICTURE)
    square = max(intrinsics.width, intrinsics.height) / _SQUARES
    cell = np.floor(position * (intrinsics.width, intrinsics.height) / square).astype(np.int64)
    kept = kept[~_hidden(in_camera, cell, kept)]
    return rows[kept], position[kept], in_camera[kept, 2]


def _thinned(count: int, most: int) -> Int64[np.ndarray, " k"]:
    """At most so many row numbers of ``count``, evenly spread."""
    if count <= most:
        return np.arange(count)
    return np.linspace(0, count - 1, most).astype(np.int64)


def _hidden(
    in_camera: Float64[np.ndarray, "n 3"], cell: Int64[np.ndarray, "n 2"], asked: Int64[np.ndarray, " k"]
) -> Bool[np.ndarray, " k"]:
    """Which of the landmarks in the rows ``asked`` stand behind ``_HIDING`` others, see ``observed``."""
    depth, direction = in_camera[:, 2], in_camera[:, :2] / in_camera[:, 2:]
    front = _front(depth, cell)
    far, towards = depth[asked, None], direction[asked, None]
    hiding = np.zeros(len(asked), np.int64)
    for x, y in product((0, 1, 2), repeat=2):
        other = front[cell[asked, 0] + x, cell[asked, 1] + y]
        none = other < 0
        apart = np.linalg.norm(direction[other] - towards, axis=2)
        behind = far / depth[other] - 1
        hiding += (~none & (behind > np.maximum(_BEHIND, apart / _CONE))).sum(axis=1)
    return hiding >= _HIDING


def _front(depth: Float64[np.ndarray, " n"], cell: Int64[np.ndarray, "n 2"]) -> Int64[np.ndarray, "w h c"]:
    """For each square of the picture and a border of one around it: rows of its nearest landmarks, or -1."""
    order = np.lexsort((depth, cell[:, 1], cell[:, 0]))
    first = np.ones(len(order), bool)
    first[1:] = (np.diff(cell[order], axis=0) != 0).any(axis=1)
    place = np.arange(len(order))
    rank = place - np.maximum.accumulate(np.where(first, place, 0))
    near = rank < _HIDING
    front = np.full((_SQUARES + 3, _SQUARES + 3, _HIDING), -1, np.int64)
    x, y = cell[order[near]].T + 1
    front[x, y, rank[near]] = order[near]
    return front


def position_of(path: Path, name: str) -> Float64[np.ndarray, " 3"]:
    """A point of the map at ``path``, by its number in a COLMAP model or as "x,y,z", in the map's units.

    Raises:
        OptionError: neither of them, or a number that the model does not have.
        FormatError: a damaged model.
    """
    words = name.split(",")
    try:
        numbers = np.array([float(word) for word in words])
    except ValueError:
        numbers = np.zeros(0)
    if len(numbers) == 3 and np.isfinite(numbers).all():
        return numbers
    if len(words) != 1 or not words[0].strip().isdecimal():
        raise OptionError(f"'{name}' is no point of a map: give the number of a COLMAP point, or x,y,z in its units")
    return _numbered(path, int(words[0]))


def _numbered(path: Path, number: int) -> Float64[np.ndarray, " 3"]:
    folder = find_model(path)
    if folder is None:
        raise OptionError(f"{path}: not a COLMAP model, so its points have no numbers ({number}): give x,y,z instead")
    model = read_model(folder)
    row = int(np.searchsorted(model.point_keys, number))
    if row == len(model.point_keys) or model.point_keys[row] != number:
        raise OptionError(f"{folder}: has no point {number} among its {len(model.point_keys)}")
    return np.array(model.points[row])


def _collect(model: Model, timed: list[tuple[float, int]], straight: Straight | None) -> SparsePoints:
    blocks = [_seen(model, model.images[row], time, straight) for time, row in timed]
    counts = [len(point) for point, _, _ in blocks]
    if not sum(counts):
        raise AlignmentError(f"{model.path}: no image of the model sees any of its {len(model.points)} points")
    times = np.repeat([time for time, _ in timed], counts)
    point, position, depth = (np.concatenate(column) for column in zip(*blocks, strict=True))
    return SparsePoints(model.points, times, point, position, depth)


def _seen(model: Model, image: Image, time: float, straight: Straight | None) -> _Seen:
    """The observations of one image that are in front of the camera and inside the picture."""
    camera = model.cameras[image.camera]
    has_point = image.points != NO_POINT
    point = _rows_of(model, image, image.points[has_point])
    position = _relative(camera, image.positions[has_point])
    if straight is not None:
        position = straight(time, position)
    depth = transform(inverse(image.world_from_camera), model.points[point])[:, 2]
    kept = (depth > 0) & (position >= 0).all(axis=1) & (position <= 1).all(axis=1)  # NaN, beyond the lens, is not
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
