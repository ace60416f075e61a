"""COLMAP models, written as the three files (text or binary) that COLMAP, nerfstudio and gsplat read.

Format: https://colmap.github.io/format.html. Rigs and frames are left out: COLMAP makes those where each picture stands
for itself. Tracks of points are what the images say they saw.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from scipy.spatial.transform import Rotation

from recon.files import whole_folder
from recon.geometry import inverse
from recon.io.colmap import KINDS, NO_POINT, OBSERVATION, Camera, Image, Model
from recon.io.lens import Lens
from recon.types import Intrinsics

STRAIGHT: Final = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
"""Kinds that are pinholes where their coefficients are 0."""
_ONE_FOCAL = {
    "SIMPLE_PINHOLE": ("PINHOLE", 0),
    "SIMPLE_RADIAL": ("OPENCV", 3),
    "RADIAL": ("OPENCV", 2),
    "SIMPLE_FISHEYE": ("FISHEYE", 0),
    "SIMPLE_RADIAL_FISHEYE": ("OPENCV_FISHEYE", 3),
    "RADIAL_FISHEYE": ("OPENCV_FISHEYE", 2),
    "SIMPLE_DIVISION": ("DIVISION", 0),
}
"""Kinds with square pixels alone: those that hold others, and how many more coefficients these have."""
_TRACK = np.dtype([("image", "<u4"), ("feature", "<u4")])


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points and where pictures saw them: what a map has beside its cameras."""

    points: Float64[np.ndarray, "p 3"]
    """Positions in the world of the poses."""
    colors: UInt8[np.ndarray, "p 3"]
    """sRGB."""
    errors: Float64[np.ndarray, " p"]
    """Mean reprojection error of each point, pixels; -1 where it is not known."""
    image: Int64[np.ndarray, " m"]
    """For each observation: row of the picture."""
    point: Int64[np.ndarray, " m"]
    """For each observation: row of ``points``."""
    position: Float64[np.ndarray, "m 2"]
    """For each observation: pixels in the picture, corner origin."""

    def __post_init__(self) -> None:
        if not len(self.points) == len(self.colors) == len(self.errors):
            raise ValueError("one colour and one error for each point")
        if not len(self.image) == len(self.point) == len(self.position):
            raise ValueError("one picture, one point and one position for each observation")
        if not np.isin(self.point, np.arange(len(self.points))).all():
            raise ValueError("an observation of a point that is not there")

    @classmethod
    def none(cls) -> "Landmarks":
        """A map of cameras alone."""
        rows = np.zeros(0, np.int64)
        return cls(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), np.zeros(0), rows, rows, np.zeros((0, 2)))


def pinhole_model(
    names: Sequence[str],
    world_from_camera: Float64[np.ndarray, "n 4 4"],
    intrinsics: Intrinsics,
    landmarks: Landmarks | None = None,
) -> Model:
    """A model of pictures that one camera without distortion took; points are numbered from 1.

    Args:
        names: of the pictures, relative to their folder.
        world_from_camera: pose of each.
        intrinsics: of all of them.
        landmarks: points, if there are any.

    Raises:
        ValueError: another number of names than of poses, or an observation in a picture that is not there.
    """
    seen = landmarks or Landmarks.none()
    if len(names) != len(world_from_camera):
        raise ValueError(f"{len(names)} names for {len(world_from_camera)} poses")
    if not np.isin(seen.image, np.arange(len(names))).all():
        raise ValueError("an observation in a picture that is not there")
    parameters = (intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    camera = Camera("PINHOLE", intrinsics.width, intrinsics.height, parameters)
    images = tuple(_images(names, world_from_camera, seen))
    keys = np.arange(1, len(seen.points) + 1)
    return Model(Path(), {1: camera}, images, keys, seen.points, seen.colors, seen.errors)


def _images(names: Sequence[str], world_from_camera: Float64[np.ndarray, "n 4 4"], seen: Landmarks) -> Iterator[Image]:
    order = np.argsort(seen.image, kind="stable")
    ends = np.bincount(seen.image, minlength=len(names)).cumsum()[:-1]
    rows = np.split(order, ends) if len(names) else []
    for name, pose, here in zip(names, world_from_camera, rows, strict=True):
        yield Image(name, 1, pose, seen.position[here], seen.point[here] + 1)


def camera_of_lens(lens: Lens) -> Camera:
    """A lens as COLMAP has it; one without distortion is a PINHOLE."""
    focal, centre = (lens.intrinsics.fx, lens.intrinsics.fy), (lens.intrinsics.cx, lens.intrinsics.cy)
    kind, coefficients = lens.kind, lens.coefficients
    if kind in _ONE_FOCAL and focal[0] != focal[1]:
        kind, missing = _ONE_FOCAL[kind]
        coefficients += (0.0,) * missing
    if not any(coefficients) and kind in STRAIGHT:
        kind, coefficients = "PINHOLE", ()
    shown = focal[:1] if kind in _ONE_FOCAL else focal
    return Camera(kind, lens.intrinsics.width, lens.intrinsics.height, (*shown, *centre, *coefficients))


def write_model(folder: Path, model: Model, layout: Literal["binary", "text"] = "binary") -> None:
    """Write a model to a folder, which appears whole or not at all; a model of that layout there is replaced.

    Images are numbered from 1 in their order, points and cameras keep their numbers. Positions are written with all
    digits.

    Raises:
        ValueError: a model that contradicts itself: images of cameras or points that are not there, names that are
            empty, twice there, or have line breaks; in text also spaces, where COLMAP would take them for the end.
        OptionError: the folder holds something else.
    """
    _require_consistent(model)
    if layout == "text" and (spaced := [image.name for image in model.images if image.name.split() != [image.name]]):
        raise ValueError(f"text cannot hold names with spaces, as '{spaced[0]}': write a binary model")
    tracks = _tracks(model)
    suffix, writers = (".bin", _BINARY) if layout == "binary" else (".txt", _TEXT)
    with whole_folder(folder, marker=f"cameras{suffix}") as partial:
        for name, write in writers.items():
            with (partial / f"{name}{suffix}").open("wb") as file:
                file.writelines(write(model, tracks))


def _require_consistent(model: Model) -> None:
    names = [image.name for image in model.images]
    if len(set(names)) != len(names) or any(not name or set(name) & set("\n\r\0") for name in names):
        raise ValueError("each image needs a name of its own, in one line")
    if strangers := {image.camera for image in model.images} - set(model.cameras):
        raise ValueError(f"images of cameras that are not there: {sorted(strangers)}")
    if (np.diff(model.point_keys) <= 0).any() or (model.point_keys < 0).any():
        raise ValueError("numbers of points must increase from 0")
    seen = np.concatenate([np.zeros(0, np.int64), *(image.points for image in model.images)])
    if strangers := set(seen[seen != NO_POINT].tolist()) - set(model.point_keys.tolist()):
        raise ValueError(f"images see points that are not there: {sorted(strangers)[:5]}")


@dataclass(frozen=True, slots=True)
class _Tracks:
    """For every point, one after the other, the images and features that saw it."""

    rows: np.ndarray
    """Of ``_TRACK``."""
    ends: Int64[np.ndarray, " p"]

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(np.split(self.rows, self.ends[:-1]) if len(self.ends) else [])


def _tracks(model: Model) -> _Tracks:
    points = np.concatenate([np.zeros(0, np.int64), *(image.points for image in model.images)])
    rows = np.zeros(len(points), _TRACK)
    counts = [len(image.points) for image in model.images]
    rows["image"] = np.repeat(np.arange(1, len(counts) + 1), counts)
    rows["feature"] = np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])
    seen = points != NO_POINT
    place = np.searchsorted(model.point_keys, points[seen])
    order = np.argsort(place, kind="stable")
    return _Tracks(rows[seen][order], np.bincount(place, minlength=len(model.point_keys)).cumsum())


def _points(model: Model, tracks: _Tracks) -> Iterator[tuple[int, list[float], list[int], float, np.ndarray]]:
    """Number, position, colour, error and track of each."""
    numbers = (array.tolist() for array in (model.point_keys, model.points + 0.0, model.colors, model.errors))
    return zip(*numbers, tracks, strict=True)


def _camera_from_world(image: Image) -> tuple[float, ...]:
    """The quaternion (w, x, y, z) and the translation."""
    pose = inverse(image.world_from_camera)
    quaternion = Rotation.from_matrix(pose[:3, :3]).as_quat(scalar_first=True)
    return tuple(float(value) + 0.0 for value in (*quaternion, *pose[:3, 3]))  # no -0.0


# --------------------------------------------------------------------------------------------------------------- binary


def _binary_cameras(model: Model, _tracks: _Tracks) -> Iterator[bytes]:
    numbers = {kind.name: number for number, kind in KINDS.items()}
    yield struct.pack("<Q", len(model.cameras))
    for key, camera in model.cameras.items():
        yield struct.pack("<IiQQ", key, numbers[camera.kind], camera.width, camera.height)
        yield struct.pack(f"<{len(camera.parameters)}d", *camera.parameters)


def _binary_images(model: Model, _tracks: _Tracks) -> Iterator[bytes]:
    yield struct.pack("<Q", len(model.images))
    for number, image in enumerate(model.images, 1):
        features = np.zeros(len(image.points), OBSERVATION)
        features["x"], features["y"], features["point"] = *image.positions.T, image.points
        yield struct.pack("<I7dI", number, *_camera_from_world(image), image.camera)
        yield image.name.encode("utf-8", "surrogateescape") + b"\0"
        yield struct.pack("<Q", len(features)) + features.tobytes()


def _binary_points(model: Model, tracks: _Tracks) -> Iterator[bytes]:
    yield struct.pack("<Q", len(model.points))
    for key, place, color, error, track in _points(model, tracks):
        yield struct.pack("<Q3d3BdQ", key, *place, *color, error, len(track)) + track.tobytes()


# ----------------------------------------------------------------------------------------------------------------- text


def _line(*values: object) -> bytes:
    """Python's own floats have all their digits in text."""
    return (" ".join(map(str, values)) + "\n").encode("utf-8", "surrogateescape")


def _text_cameras(model: Model, _tracks: _Tracks) -> Iterator[bytes]:
    yield b"# CAMERA_ID MODEL WIDTH HEIGHT PARAMETERS...\n"
    for key, camera in model.cameras.items():
        yield _line(key, camera.kind, camera.width, camera.height, *camera.parameters)


def _text_images(model: Model, _tracks: _Tracks) -> Iterator[bytes]:
    yield b"# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then in a line of its own: X Y POINT3D_ID, ...\n"
    for number, image in enumerate(model.images, 1):
        yield _line(number, *_camera_from_world(image), image.camera, image.name)
        features = zip(image.positions.tolist(), image.points.tolist(), strict=True)
        yield _line(*(value for place, point in features for value in (*place, point)))


def _text_points(model: Model, tracks: _Tracks) -> Iterator[bytes]:
    yield b"# POINT3D_ID X Y Z R G B ERROR, then the track: IMAGE_ID POINT2D_IDX, ...\n"
    for key, place, color, error, track in _points(model, tracks):
        yield _line(key, *place, *color, error, *chain.from_iterable(track.tolist()))


_BINARY = {"cameras": _binary_cameras, "images": _binary_images, "points3D": _binary_points}
_TEXT = {"cameras": _text_cameras, "images": _text_images, "points3D": _text_points}
