"""Intrinsics from other people's files, recognised by what is in them.

================  =============================================================  ======================  ============
format            content                                                        first pixel's centre    picture size
================  =============================================================  ======================  ============
recon             JSON or YAML: ``fx``, ``fy``, ``cx``, ``cy``, ``width``,       (0.5, 0.5), as in all   in the file
                  ``height``                                                     of recon
transforms.json   nerfstudio, instant-ngp: ``fl_x``, ``cx``, ``w``, ..., at the  (0.5, 0.5)              in the file
                  top or in every frame
COLMAP            a model's folder, ``cameras.txt`` or ``cameras.bin``           (0.5, 0.5)              in the file
matrix            3 lines of 3 numbers, K                                        (0, 0), as in OpenCV    the caller's
KITTI             ``calib.txt``: 12 numbers a line, with or without ``P2:``      (0, 0)                  the caller's
Record3D          ``.r3d``, ``metadata`` or its JSON: ``K`` by columns           (0.5, 0.5): ARKit's     in the file
ViPE              ``intrinsics/NAME.npz``: rows fx, fy, cx, cy                   (0.5, 0.5): cx = w / 2  the caller's
================  =============================================================  ======================  ============

Where a format puts the centre of the first pixel at (0, 0), half a pixel is added to its principal point. A file of
recon may hold OpenCV's numbers if it says so: ``pixel_centre: 0``. Cameras that a file has for each picture must agree
to one part in a thousand (a pixel of a thousand): their median is taken.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from recon.errors import CameraError
from recon.io.colmap import Camera, find_model, pinhole, read_cameras
from recon.io.pose_files import read_numbered
from recon.io.record3d import Metadata, find_metadata, read_metadata
from recon.types import Intrinsics

_KNOWN = (
    "JSON or YAML with fx, fy, cx, cy, width, height; a 3x3 matrix; COLMAP cameras; KITTI calib.txt; transforms.json; "
    "Record3D; ViPE npz"
)
_KITTI = ("P2", "P_rect_02", "P0", "P_rect_00", "")
"""Lines to look for, the left colour camera first; rectified cameras of KITTI share their intrinsics anyway."""
_OUR_CENTRE = 0.5
_AGREE = 1e-3
"""How far the cameras of single pictures may be from their median: of its size, or of 1 where that is more."""
_OF_FRAMES = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "k3", "k4", "p1", "p2", "camera_angle_x")
_Size = tuple[int, int]


def read_intrinsics(path: Path, size: tuple[int, int] | None = None) -> Intrinsics:
    """The camera in a file of any format in the table above, corner origin.

    Args:
        path: file, or the folder of a COLMAP model.
        size: (height, width) of the pictures that the numbers belong to, for formats that do not hold it.

    Raises:
        CameraError: unknown format, missing or impossible numbers, several different cameras, a lens that is not
            supported.
        FormatError: a damaged COLMAP model, description of Record3D, or file of ViPE.
    """
    model = find_model(path)
    if model is not None:
        return _only(path, read_cameras(model))
    if path.suffix == ".npz":
        return _from_vipe(path, size)
    clip = find_metadata(path)
    if clip is not None:
        return _from_record3d(clip, read_metadata(clip))
    text = _text(path)
    matrix = _matrix(text)
    if matrix is not None:
        return _from_matrix(path, matrix, size)
    return _from_mapping(path, _mapping(path, text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CameraError(f"{path}: cannot be read as a calibration ({error}); known are: {_KNOWN}") from error


def _intrinsics(path: Path, focal: tuple[float, float], centre: tuple[float, float], size: _Size) -> Intrinsics:
    height, width = size
    try:
        intrinsics = Intrinsics(*focal, *centre, width, height)
    except ValueError as error:
        raise CameraError(f"{path}: {error}") from error
    if not (0 < centre[0] < width and 0 < centre[1] < height):
        raise CameraError(
            f"{path}: the principal point ({centre[0]:g}, {centre[1]:g}) lies outside a picture of {width} x {height}"
        )
    return intrinsics


def _only(path: Path, cameras: Mapping[int, Camera]) -> Intrinsics:
    different = set(cameras.values())
    if len(different) != 1:
        raise CameraError(f"{path}: {len(different)} different cameras; give the one that took these pictures")
    return pinhole(different.pop(), str(path))


def _from_record3d(path: Path, metadata: Metadata) -> Intrinsics:
    """Of the first picture: focusing changes the others a little."""
    try:
        camera = metadata.intrinsics(0)
    except ValueError as error:
        raise CameraError(f"{path}: {error}") from error
    return _intrinsics(path, (camera.fx, camera.fy), (camera.cx, camera.cy), (camera.height, camera.width))


def _from_vipe(path: Path, size: _Size | None) -> Intrinsics:
    rows, _ = read_numbered(path)
    kinds = path.with_name(f"{path.stem}_camera.txt")
    other = {line.rpartition(":")[2].strip() for line in _text(kinds).splitlines()} if kinds.is_file() else set()
    if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows) or other - {"PINHOLE"}:
        told = ", ".join(sorted(other)) or f"numbers {rows.shape}"
        raise CameraError(f"{path}: not the intrinsics of pinhole cameras by ViPE, fx fy cx cy ({told})")
    if size is None:
        raise CameraError(f"{path}: does not say for which size of picture it is")
    fx, fy, cx, cy = _median(path, rows).tolist()
    return _intrinsics(path, (fx, fy), (cx, cy), size)


def _median(path: Path, rows: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, " k"]:
    """Of the cameras of single pictures, which must be one."""
    median: Float64[np.ndarray, " k"] = np.median(rows, axis=0)
    apart = np.abs(rows - median) / np.maximum(np.abs(median), 1)
    if apart.max() > _AGREE:
        raise CameraError(
            f"{path}: the pictures have cameras of their own, up to {apart.max():.2%} apart, and recon knows one for "
            "all: give that with --intrinsics, or --fov"
        )
    return median


# ------------------------------------------------------------------------------------------------------------- matrices


def _matrix(text: str) -> Float64[np.ndarray, "3 3"] | None:
    """K, where the file is a 3x3 matrix or a calib.txt of KITTI."""
    rows = _rows(text)
    plain = [values for label, values in rows if not label]
    if len(rows) == len(plain) == 3 and all(len(values) == 3 for values in plain):
        return np.array(plain)
    projections = {label: values for label, values in reversed(rows) if len(values) == 12}
    label = next((label for label in _KITTI if label in projections), None)
    return None if label is None else np.array(projections[label]).reshape(3, 4)[:, :3]


def _rows(text: str) -> list[tuple[str, list[float]]]:
    """Labels (``P2`` of ``P2: 1 2 3``, or none) and numbers of the lines that hold numbers."""
    rows = []
    for line in text.splitlines():
        label, _, numbers = line.split("#", 1)[0].rpartition(":")
        try:
            values = [float(word) for word in numbers.replace(",", " ").split()]
        except ValueError:
            continue
        if values:
            rows.append((label.strip(), values))
    return rows


def _from_matrix(path: Path, matrix: Float64[np.ndarray, "3 3"], size: _Size | None) -> Intrinsics:
    if size is None:
        raise CameraError(f"{path}: a matrix does not say for which size of picture it is")
    if not np.allclose([matrix[0, 1], matrix[1, 0], *matrix[2]], [0, 0, 0, 0, 1], atol=1e-6):
        raise CameraError(f"{path}: not the matrix of a camera without skew (fx 0 cx / 0 fy cy / 0 0 1)")
    focal, centre = (float(matrix[0, 0]), float(matrix[1, 1])), matrix[:2, 2] + _OUR_CENTRE
    return _intrinsics(path, focal, (float(centre[0]), float(centre[1])), size)


# ------------------------------------------------------------------------------------------------------------- mappings


def _mapping(path: Path, text: str) -> Mapping[str, object]:
    try:
        values = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise CameraError(f"{path}: neither JSON nor YAML nor a matrix; known are: {_KNOWN}") from error
    if not isinstance(values, dict):
        raise CameraError(f"{path}: not a calibration; known are: {_KNOWN}")
    return values


def _from_mapping(path: Path, values: Mapping[str, object]) -> Intrinsics:
    if "fl_x" in values or "camera_angle_x" in values or "frames" in values:
        return _from_transforms(path, values)
    unknown = set(values) - {"fx", "fy", "cx", "cy", "width", "height", "pixel_centre"}
    if unknown:
        raise CameraError(f"{path}: unknown keys {', '.join(sorted(map(str, unknown)))}; known are: {_KNOWN}")
    shift = _OUR_CENTRE - _number(path, values, "pixel_centre", _OUR_CENTRE)
    fx, fy, cx, cy = (_number(path, values, key) for key in ("fx", "fy", "cx", "cy"))
    return _intrinsics(path, (fx, fy), (cx + shift, cy + shift), _size(path, values, "height", "width"))


def _from_transforms(path: Path, values: Mapping[str, object]) -> Intrinsics:
    """The lens of nerfstudio is that of OpenCV (or COLMAP's), under other names."""
    values = {**values, **_of_frames(path, values)}
    height, width = _size(path, values, "h", "w")
    if "fl_x" in values:
        fx = _number(path, values, "fl_x")
    else:
        fx = width / 2 / np.tan(_number(path, values, "camera_angle_x") / 2)
    fy = _number(path, values, "fl_y", fx)
    cx, cy = _number(path, values, "cx", width / 2), _number(path, values, "cy", height / 2)
    _intrinsics(path, (fx, fy), (cx, cy), (height, width))
    kind = str(values.get("camera_model", "OPENCV"))
    if kind not in {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"} or values.get("k4"):
        raise CameraError(f"{path}: lenses of the kind {kind} (or with k4) are not supported; undistort the pictures")
    lens = [_number(path, values, key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3")]
    return pinhole(Camera("FULL_OPENCV", width, height, (fx, fy, cx, cy, *lens, 0.0, 0.0, 0.0)), str(path))


def _of_frames(path: Path, values: Mapping[str, object]) -> dict[str, object]:
    """What the frames say of the camera, where they do; they and the top of the file must agree.

    Raises:
        CameraError: they do not, or some frames say nothing.
    """
    frames = values.get("frames")
    own = [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []
    said: dict[str, object] = {}
    for key in _OF_FRAMES:
        holders = [frame for frame in own if key in frame]
        if holders and key not in values and len(holders) < len(own):
            raise CameraError(f"{path}: {len(own) - len(holders)} of its {len(own)} frames do not say {key}")
        if holders:
            every = holders if key not in values else [*holders, values]
            said[key] = float(_median(path, np.array([[_number(path, each, key)] for each in every]))[0])
    return said


def _size(path: Path, values: Mapping[str, object], height: str, width: str) -> _Size:
    return int(_number(path, values, height)), int(_number(path, values, width))


def _number(path: Path, values: Mapping[str, object], key: str, default: float | None = None) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CameraError(f"{path}: {key} is {'missing' if value is None else f'no number ({value})'}")
    return float(value)
