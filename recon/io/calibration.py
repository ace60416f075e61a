"""Intrinsics from other people's files, recognised by what is in them.

================  =============================================================  ======================  ============
format            content                                                        first pixel's centre    picture size
================  =============================================================  ======================  ============
recon             JSON or YAML: ``fx``, ``fy``, ``cx``, ``cy``, ``width``,       (0.5, 0.5), as in all   in the file
                  ``height``; with distortion: ``camera_model`` (OPENCV where    of recon
                  not given), ``k1`` ... ``k6``, ``p1``, ``p2``
transforms.json   nerfstudio, instant-ngp: ``fl_x``, ``cx``, ``w``, ..., at the  (0.5, 0.5)              in the file
                  top or in every frame
COLMAP            a model's folder, ``cameras.txt`` or ``cameras.bin``           (0.5, 0.5)              in the file
matrix            3 lines of 3 numbers, K                                        (0, 0), as in OpenCV    the caller's
KITTI             ``calib.txt``: 12 numbers a line, with or without ``P2:``      (0, 0)                  the caller's
Kalibr, EuRoC     camchain (its ``cam0``), ``sensor.yaml``: ``intrinsics``,      (0, 0)                  in the file
                  ``resolution``, ``distortion_model``, ...
OpenCV, ROS       YAML of ``cv2.FileStorage`` or ``camera_info``:                (0, 0)                  in the file,
                  ``camera_matrix``, ``distortion_coefficients`` (a message:                             or the
                  ``K``, ``D``), ``image_width``, ``image_height``,                                      caller's
                  ``distortion_model``
Record3D          ``.r3d``, ``metadata`` or its JSON: ``K`` by columns           (0.5, 0.5): ARKit's     in the file
ViPE              ``intrinsics/NAME.npz``: rows fx, fy, cx, cy                   (0.5, 0.5): cx = w / 2  the caller's
================  =============================================================  ======================  ============

Where a format puts the centre of the first pixel at (0, 0), half a pixel is added to its principal point. A file of
recon may hold OpenCV's numbers if it says so: ``pixel_centre: 0``. Cameras that a file has for each picture are one
where they agree to one part in a thousand (a pixel of a thousand): their median. Else a COLMAP model or transforms.json
says by the names of pictures whose they are (``read_lenses``).
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float64

from recon.errors import CameraError, FormatError
from recon.io.colmap import Camera, Image, find_model, lens, read_cameras, read_images
from recon.io.lens import Lens, neglected
from recon.io.naming import times_of_names
from recon.io.pose_files import read_numbered
from recon.io.record3d import Metadata, find_metadata, read_metadata
from recon.io.undistorted import Lenses
from recon.types import Intrinsics

logger = logging.getLogger(__name__)

_KNOWN = (
    "JSON or YAML with fx, fy, cx, cy, width, height; a 3x3 matrix; COLMAP cameras; KITTI calib.txt; transforms.json; "
    "Kalibr; OpenCV's and ROS' YAML; Record3D; ViPE npz"
)
_KITTI = ("P2", "P_rect_02", "P0", "P_rect_00", "")
"""Lines to look for, the left colour camera first; rectified cameras of KITTI share their intrinsics anyway."""
_OUR_CENTRE = 0.5
_AGREE = 1e-3
"""How far the cameras of single pictures may be from their median: of its size, or of 1 where that is more."""
_COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_OF_FRAMES = ("fl_x", "fl_y", "cx", "cy", "w", "h", *_COEFFICIENTS, "camera_angle_x")
NAMED = {
    "OPENCV": ("k1", "k2", "p1", "p2"),
    "FULL_OPENCV": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    "OPENCV_FISHEYE": ("k1", "k2", "k3", "k4"),
    "SIMPLE_PINHOLE": (),
    "PINHOLE": (),
    "SIMPLE_RADIAL": ("k1",),
    "RADIAL": ("k1", "k2"),
    "SIMPLE_RADIAL_FISHEYE": ("k1",),
    "RADIAL_FISHEYE": ("k1", "k2"),
}
"""Lenses whose coefficients have names in JSON and YAML, in COLMAP's order."""
_KALIBR = {
    ("pinhole", "none"): "PINHOLE",
    ("pinhole", "radtan"): "OPENCV",
    ("pinhole", "radial-tangential"): "OPENCV",
    ("pinhole", "equidistant"): "OPENCV_FISHEYE",
    ("pinhole", "equi"): "OPENCV_FISHEYE",
    ("pinhole", "fov"): "FOV",
    ("eucm", "none"): "EUCM",
}
"""Kalibr's camera_model and distortion_model (https://github.com/ethz-asl/kalibr/wiki/supported-models)."""
_BROWN = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
"""OpenCV's order; it goes on with the four of a thin prism, and two of a tilted sensor."""
_OF_OPENCV = {
    "": _BROWN,
    "none": _BROWN,
    "plumb_bob": _BROWN,
    "rational_polynomial": _BROWN,
    "equidistant": NAMED["OPENCV_FISHEYE"],
    "fisheye": NAMED["OPENCV_FISHEYE"],
}
"""``distortion_model`` of ROS (sensor_msgs/distortion_models.h); OpenCV writes none, but maybe ``fisheye_model: 1``."""
_RENAMED = {
    "k": "camera_matrix",
    "cameramatrix": "camera_matrix",
    "d": "distortion_coefficients",
    "dist_coeffs": "distortion_coefficients",
    "distcoeffs": "distortion_coefficients",
    "width": "image_width",
    "height": "image_height",
}
"""Names, in small letters, of a message of ROS (``K``, and ``k`` in ROS 2) and of OpenCV's examples."""
_FOREIGN_YAML = re.compile(r"\A%YAML:.*$|!!opencv-[a-z-]+", re.MULTILINE)
"""What OpenCV writes that is not YAML 1.1: a directive with a colon, and tags of its own."""
_TRANSFORMS = "transforms.json"
_Size = tuple[int, int]


def read_intrinsics(path: Path, size: tuple[int, int] | None = None) -> Intrinsics:
    """The pinhole in a file of any format in the table above, corner origin, for pictures that are used as they are.

    A lens that displaces pixels by less than a hundredth of the picture is neglected, and that is told.

    Args:
        path: file, or the folder of a COLMAP model.
        size: (height, width) of the pictures that the numbers belong to, for formats that do not hold it.

    Raises:
        CameraError: unknown format, missing or impossible numbers, several different cameras, a lens that distorts.
        FormatError: a damaged COLMAP model, description of Record3D, or file of ViPE.
    """
    return neglected(read_lens(path, size), str(path))


def read_lens(path: Path, size: tuple[int, int] | None = None) -> Lens:
    """The camera in a file of any format in the table above, with its distortion; as ``read_intrinsics``.

    Raises:
        CameraError: unknown format, missing or impossible numbers, several different cameras, a kind of lens that is
            not supported.
        FormatError: a damaged COLMAP model, description of Record3D, or file of ViPE.
    """
    model = find_model(path)
    if model is not None:
        return _only(path, read_cameras(model))
    if path.suffix == ".npz":
        return Lens(_from_vipe(path, size))
    clip = find_metadata(path)
    if clip is not None:
        return Lens(_from_record3d(clip, read_metadata(clip)))
    text = _text(path)
    matrix = _matrix(text)
    if matrix is not None:
        return Lens(_from_matrix(path, matrix, size))
    return _from_mapping(path, _mapping(path, text), size)


def read_lenses(
    path: Path, size: tuple[int, int] | None, *, times_by_name: Mapping[str, float], rate: float | None
) -> Lenses:
    """Which lens took which picture: one for all, or those that a COLMAP model or transforms.json has for each.

    Args:
        path: file, or the folder of a COLMAP model.
        size: as for ``read_intrinsics``.
        times_by_name: for a folder of pictures: name up to its first dot -> seconds. Empty for a video.
        rate: for frames that were extracted from a video: how many of them make a second.

    Raises:
        CameraError: as ``read_lens``.
        FormatError: as ``read_lens``.
        TrajectoryError: there are several, and nothing says which picture is whose.
    """
    by_name = lens_by_name(path)
    if len({lens for _name, lens in by_name}) < 2:
        return Lenses.single(by_name[0][1] if by_name else read_lens(path, size))
    times = times_of_names([name for name, _lens in by_name], times_by_name, rate, path)
    if len(times) < len(times_by_name):
        logger.warning(
            "%s: has cameras for %d of the %d pictures; each of the others is taken to be of the camera of the "
            "nearest one",
            path,
            len(times),
            len(times_by_name),
        )
    return Lenses.of_pictures({time: by_name[row][1] for row, time in times.items()})


def lens_by_name(path: Path) -> list[tuple[str, Lens]]:
    """Names of pictures and their lenses, where the format has one for each; else nothing.

    Raises:
        CameraError: as ``read_lens``.
        FormatError: as ``read_lens``.
    """
    model = find_model(path)
    if model is not None:
        cameras = read_cameras(model)
        if len(set(cameras.values())) < 2:
            return []
        lenses = {key: lens(camera, f"{path}, camera {key}") for key, camera in cameras.items()}
        return [(image.name, lenses[image.camera]) for image in _images(model, cameras)]
    file = path / _TRANSFORMS if path.is_dir() else path
    if file.suffix != ".json" or not file.is_file():
        return []
    values = _mapping(file, _text(file))
    frames = [frame for frame in _frames(values) if "file_path" in frame]
    if not any(key in frame for frame in frames for key in _OF_FRAMES) or _agree(file, values):
        return []
    top = {key: value for key, value in values.items() if key != "frames"}
    return [(str(frame["file_path"]), _from_transforms(file, {**top, **frame})) for frame in frames]


def _images(model: Path, cameras: Mapping[int, Camera]) -> tuple[Image, ...]:
    images = read_images(model)
    if strangers := sorted({image.camera for image in images} - set(cameras)):
        raise FormatError(f"{model}: images refer to cameras {strangers}, which the model does not have")
    return images


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


def _only(path: Path, cameras: Mapping[int, Camera]) -> Lens:
    different = set(cameras.values())
    if len(different) != 1:
        raise CameraError(f"{path}: {len(different)} different cameras; give the one that took these pictures")
    return lens(different.pop(), str(path))


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
    if (apart := _apart(rows)) > _AGREE:
        raise CameraError(
            f"{path}: the pictures have cameras of their own, up to {apart:.2%} apart, where one is wanted for all: "
            "give that with --intrinsics, or --fov"
        )
    median: Float64[np.ndarray, " k"] = np.median(rows, axis=0)
    return median


def _apart(rows: Float64[np.ndarray, "n k"]) -> float:
    median = np.median(rows, axis=0)
    return float((np.abs(rows - median) / np.maximum(np.abs(median), 1)).max())


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
        # a message of ROS ends with the line that begins the next one
        documents = (
            [json.loads(text)] if text.lstrip().startswith("{") else yaml.safe_load_all(_FOREIGN_YAML.sub("", text))
        )
        values = next(iter(documents), None)
    except (ValueError, yaml.YAMLError) as error:
        raise CameraError(f"{path}: neither JSON nor YAML nor a matrix; known are: {_KNOWN}") from error
    if not isinstance(values, dict):
        raise CameraError(f"{path}: not a calibration; known are: {_KNOWN}")
    return values


def _from_mapping(path: Path, values: Mapping[str, object], size: _Size | None) -> Lens:
    if "fl_x" in values or "camera_angle_x" in values or "frames" in values:
        return _from_transforms(path, values)
    kalibr = values.get("cam0", values)
    if isinstance(kalibr, dict) and "resolution" in kalibr:
        return _from_kalibr(path, kalibr)
    opencv = {_RENAMED.get(str(key).lower(), str(key).lower()): value for key, value in values.items()}
    if "camera_matrix" in opencv:
        return _from_opencv(path, opencv, size)
    known = {"fx", "fy", "cx", "cy", "width", "height", "pixel_centre", "camera_model", *_COEFFICIENTS}
    if unknown := set(values) - known:
        raise CameraError(f"{path}: unknown keys {', '.join(sorted(map(str, unknown)))}; known are: {_KNOWN}")
    shift = _OUR_CENTRE - _number(path, values, "pixel_centre", _OUR_CENTRE)
    fx, fy, cx, cy = (_number(path, values, key) for key in ("fx", "fy", "cx", "cy"))
    camera = _intrinsics(path, (fx, fy), (cx + shift, cy + shift), _size(path, values, "height", "width"))
    return _named_lens(path, camera, values)


def _from_transforms(path: Path, values: Mapping[str, object]) -> Lens:
    """The lens of nerfstudio is that of OpenCV (or COLMAP's), under other names."""
    values = {**values, **_of_frames(path, values)}
    height, width = _size(path, values, "h", "w")
    if "fl_x" in values:
        fx = _number(path, values, "fl_x")
    else:
        fx = width / 2 / np.tan(_number(path, values, "camera_angle_x") / 2)
    fy = _number(path, values, "fl_y", fx)
    cx, cy = _number(path, values, "cx", width / 2), _number(path, values, "cy", height / 2)
    return _named_lens(path, _intrinsics(path, (fx, fy), (cx, cy), (height, width)), values)


def _named_lens(path: Path, camera: Intrinsics, values: Mapping[str, object]) -> Lens:
    """Coefficients by their names, as nerfstudio writes them: ``camera_model``, ``k1`` ..., ``p1``, ``p2``."""
    kind = str(values.get("camera_model", "OPENCV"))
    if kind not in NAMED:
        raise CameraError(f"{path}: lenses of the kind {kind} are not supported; known are {', '.join(NAMED)}")
    said = {key: _number(path, values, key, 0.0) for key in _COEFFICIENTS}
    names = NAMED[kind]
    if kind == "OPENCV" and any(said[key] for key in ("k3", "k5", "k6")):
        kind, names = "FULL_OPENCV", NAMED["FULL_OPENCV"]
    if foreign := [key for key in _COEFFICIENTS if said[key] and key not in names]:
        raise CameraError(f"{path}: a lens of the kind {kind} has no {', '.join(foreign)}; it has {', '.join(names)}")
    return Lens(camera, kind, tuple(said[key] for key in names))


def _from_kalibr(path: Path, values: Mapping[str, object]) -> Lens:
    """One camera of Kalibr's camchain or EuRoC's sensor.yaml; pixels are OpenCV's."""
    told = values.get("camera_model", "pinhole"), values.get("distortion_model", "none")
    kind = _KALIBR.get((str(told[0]), str(told[1])))
    if kind is None:
        raise CameraError(f"{path}: lenses of Kalibr's kind {told[0]}, {told[1]} are not supported")
    numbers, size = _list(path, values, "intrinsics"), _list(path, values, "resolution")
    named = "distortion_coefficients" if "distortion_coefficients" in values else "distortion_coeffs"
    coefficients = [*numbers[:-4], *(_list(path, values, named) if kind not in {"PINHOLE", "EUCM"} else [])]
    if len(numbers) < 4 or len(size) != 2:
        raise CameraError(f"{path}: intrinsics are fu, fv, cu, cv and resolution is width, height")
    fx, fy, cx, cy = numbers[-4:]
    width, height = map(int, size)
    camera = _intrinsics(path, (fx, fy), (cx + _OUR_CENTRE, cy + _OUR_CENTRE), (height, width))
    try:
        return Lens(camera, kind, tuple(coefficients))
    except ValueError as error:
        raise CameraError(f"{path}: {error}") from error


def _from_opencv(path: Path, values: Mapping[str, object], size: _Size | None) -> Lens:
    """Calibrations of OpenCV and ROS, under the names of the latter; its sample program has a switch for fisheyes."""
    said = str(values.get("distortion_model") or "").lower()
    names = _OF_OPENCV["fisheye" if not said and values.get("fisheye_model") else said] if said in _OF_OPENCV else None
    numbers = _matrix_data(path, values, "camera_matrix")
    coefficients = _matrix_data(path, values, "distortion_coefficients") if "distortion_coefficients" in values else []
    if names is None or any(coefficients[len(names) :]):
        told = f"distortion_model {said}" if names is None else f"{len(coefficients)} coefficients (a thin prism)"
        raise CameraError(
            f"{path}: lenses with {told} are not supported; known are {', '.join(filter(None, _OF_OPENCV))}"
        )
    if len(numbers) != 9:
        raise CameraError(f"{path}: camera_matrix holds {len(numbers)} numbers, not 3 x 3")
    if "image_width" in values:
        size = _size(path, values, "image_height", "image_width")
    camera = _from_matrix(path, np.array(numbers).reshape(3, 3), size)
    kind = "OPENCV_FISHEYE" if names is not _BROWN else "FULL_OPENCV" if any(coefficients[5:]) else "OPENCV"
    return _named_lens(path, camera, {"camera_model": kind, **dict(zip(names, coefficients, strict=False))})


def _matrix_data(path: Path, values: Mapping[str, object], key: str) -> list[float]:
    """A matrix of OpenCV (rows, cols, data), a list, or a list of rows."""
    value = values[key]
    data = value.get("data") if isinstance(value, dict) else value
    try:
        return [float(number) for number in np.array(data, np.float64).ravel()]
    except (TypeError, ValueError) as error:
        raise CameraError(f"{path}: {key} is no matrix of numbers") from error


def _of_frames(path: Path, values: Mapping[str, object]) -> dict[str, object]:
    """What the frames say of the camera, where they do; they and the top of the file must agree.

    Raises:
        CameraError: they do not, or some frames say nothing.
    """
    own = _frames(values)
    said: dict[str, object] = {}
    for key in _OF_FRAMES:
        rows = _said_of(path, values, key)
        if rows and key not in values and len(rows) < len(own):
            raise CameraError(f"{path}: {len(own) - len(rows)} of its {len(own)} frames do not say {key}")
        if rows:
            said[key] = float(_median(path, np.array(rows))[0])
    return said


def _agree(path: Path, values: Mapping[str, object]) -> bool:
    """Whether frames and the top of the file speak of one camera."""
    every = [np.array(rows) for key in _OF_FRAMES if (rows := _said_of(path, values, key))]
    return all(_apart(rows) <= _AGREE for rows in every)


def _said_of(path: Path, values: Mapping[str, object], key: str) -> list[list[float]]:
    """What frames say, and the top of the file if frames do."""
    holders = [frame for frame in _frames(values) if key in frame]
    every = [*holders, values] if key in values and holders else holders
    return [[_number(path, each, key)] for each in every]


def _frames(values: Mapping[str, object]) -> list[dict[str, object]]:
    frames = values.get("frames")
    return [frame for frame in frames if isinstance(frame, dict)] if isinstance(frames, list) else []


def _size(path: Path, values: Mapping[str, object], height: str, width: str) -> _Size:
    return int(_number(path, values, height)), int(_number(path, values, width))


def _number(path: Path, values: Mapping[str, object], key: str, default: float | None = None) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CameraError(f"{path}: {key} is {'missing' if value is None else f'no number ({value})'}")
    return float(value)


def _list(path: Path, values: Mapping[str, object], key: str) -> list[float]:
    rows = values.get(key)
    if not isinstance(rows, list):
        raise CameraError(f"{path}: {key} is {'missing' if rows is None else f'no list of numbers ({rows})'}")
    return [_number(path, {key: row}, key) for row in rows]
