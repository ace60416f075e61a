"""What a file of 3D holds, whatever its format: a shape, the camera's path, and what one must know of them.

Everything here is in the axes of the file already (`turned` turns it). Camera poses keep OpenCV's camera axes; each
format converts them at its own border.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int, Num, UInt8, UInt16

from recon.errors import FormatError, MissingPackageError
from recon.geometry import inverse, transform
from recon.io.cloud import UNKNOWN_COLOR, Up, axes_comment, file_from_world
from recon.light import light_of_srgb
from recon.types import CameraTrajectory, Intrinsics, Mesh, Picture, PointCloud, RigidTransform, TexturedMesh, Units

logger = logging.getLogger(__name__)

Shape = Mesh | TexturedMesh | PointCloud

OPENGL_FROM_OPENCV: Final = (1.0, -1.0, -1.0, 1.0)
"""Diagonal of the turn between the camera axes of OpenCV and those of OpenGL, glTF and USD (y up, -z ahead)."""

_JPEG_QUALITY = 95
_FAR: Final = 1e4
"""Coordinates up to which single precision has steps of a millimetre at most."""
_ORIGIN: Final = "origin of coordinates"
_WHOLE: Final = 100.0
_UNIT_NAMES: Final[Mapping[Units, str]] = {
    "metres": "m",
    "slam": "SLAM units",
    "relative": "relative units (not metres)",
}
_UNITS: Final[Mapping[str, Units]] = {"m": "metres", "metres": "metres", "slam": "slam", "SLAM": "slam"}
_UPS: Final[tuple[Up, ...]] = ("z", "y", "camera")


@dataclass(frozen=True, slots=True)
class CameraPath:
    """Where the camera was, in the axes of the file."""

    times: Float64[np.ndarray, " n"]
    """Seconds, strictly increasing."""
    asset_from_camera: Float64[np.ndarray, "n 4 4"]
    """Poses; the camera's own axes are OpenCV's (x right, y down, z forward)."""
    intrinsics: Intrinsics

    def __post_init__(self) -> None:
        checked = CameraTrajectory(self.times, self.asset_from_camera)
        object.__setattr__(self, "times", checked.times)
        object.__setattr__(self, "asset_from_camera", checked.world_from_camera)

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Notes:
    """What is said of a scene where its format has room."""

    units: Units = "metres"
    """What one unit of length is."""
    scale_sigma: float | None = None
    """Standard deviation of the scale, relative (0.03 = 3 %); None: unknown."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Where it comes from: short name -> one line."""

    @property
    def lines(self) -> list[str]:
        """One line for each thing, as the headers of files have them."""
        sigma = [] if self.scale_sigma is None else [f"scale sigma: {self.scale_sigma:.4g}"]
        return [
            f"units: {_UNIT_NAMES[self.units]}",
            *sigma,
            *(f"{key}: {text}" for key, text in self.provenance.items()),
        ]


@dataclass(frozen=True, slots=True)
class Scene:
    """What stands in one file."""

    shape: Shape
    up: Up | None
    """Axes in which it stands; None: the file did not say."""
    camera: CameraPath | None = None
    notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        if not np.isfinite(points_of(self.shape)).all():
            raise ValueError("points must be finite")

    @property
    def lines(self) -> list[str]:
        """Notes and axes, one line each."""
        return [*self.notes.lines, *([axes_comment(self.up)] if self.up else [])]

    @property
    def extras(self) -> dict[str, object]:
        """Notes and axes for formats that hold trees of values."""
        sigma = {} if self.notes.scale_sigma is None else {"scale_sigma": self.notes.scale_sigma}
        axes = {"axes": axes_comment(self.up).removeprefix("axes: ")} if self.up else {}
        return {"units": self.notes.units, **sigma, **axes, **self.notes.provenance}


@dataclass(frozen=True, slots=True)
class Look:
    """How a scene shall look, for formats that leave a choice."""

    material: Literal["unlit", "lit"] = "unlit"
    """glTF: photographs hold their light already ("unlit"), or surfaces that the viewer's lamps light ("lit")."""
    picture: Literal["jpeg", "png"] = "jpeg"
    """Coding of textures; png is exact and about five times as large."""


def said(lines: Sequence[str]) -> tuple[Notes, Up | None]:
    """Notes and axes from the lines that recon writes to headers; units that nobody states are unknown."""
    pairs = dict(line.partition(": ")[::2] for line in lines if ": " in line)
    told_axes = f"axes: {pairs.pop('axes', '')}"
    up = next((up for up in _UPS if axes_comment(up) == told_axes), None)
    return notes_from({"units": "relative", **pairs}), up


def notes_from(values: Mapping[str, object]) -> Notes:
    """Notes from what a file holds by name (``Scene.extras`` or header lines)."""
    told = {key.replace("_", " "): str(text) for key, text in values.items()}
    words = told.pop("units", "metres").split()
    told.pop("axes", None)
    try:
        sigma = float(told.pop("scale sigma"))
    except (KeyError, ValueError):
        sigma = None
    names = {key.replace("_", " "): key for key in values}
    return Notes(_UNITS.get(words[0] if words else "", "relative"), sigma, {names[key]: told[key] for key in told})


def up_from(values: Mapping[str, object], usual: Up) -> Up:
    """The axes that the notes of a file name, else the usual ones of its format."""
    told = f"axes: {values.get('axes', '')}"
    return next((up for up in _UPS if axes_comment(up) == told), usual)


def mesh_of(shape: Mesh | TexturedMesh) -> Mesh:
    """The triangles of a shape, with or without its texture."""
    return shape.mesh if isinstance(shape, TexturedMesh) else shape


def points_of(shape: Shape) -> Float32[np.ndarray, "n 3"]:
    """Positions of vertices or points."""
    return shape.points if isinstance(shape, PointCloud) else mesh_of(shape).vertices


def near_origin(points: Float64[np.ndarray, "n 3"]) -> tuple[Float32[np.ndarray, "n 3"], dict[str, str]]:
    """Positions in single precision; those of a survey, far from their origin, count from a place among them.

    Half a metre is the step of single precision at 5,000,000 (a northing of UTM). The place is noted for whoever writes
    the file back (`far_origin`).
    """
    far, extent = np.abs(points).max(initial=0), np.ptp(points, axis=0).max() if len(points) else 0.0
    if not np.isfinite(far) or far < _FAR or far < 2 * extent:
        return points.astype(np.float32), {}
    origin = np.floor(points.min(axis=0) / _WHOLE) * _WHOLE
    return (points - origin).astype(np.float32), {_ORIGIN: " ".join(f"{value:.0f}" for value in origin)}


def far_origin(scene: Scene) -> tuple[Float64[np.ndarray, " 3"], Scene]:
    """What is to be added to the positions of a scene with the axes of its survey, and the scene without that note."""
    words = scene.notes.provenance.get(_ORIGIN, "").split()
    if scene.up != "z" or len(words) != 3:
        return np.zeros(3), scene
    told = {key: text for key, text in scene.notes.provenance.items() if key != _ORIGIN}
    return np.array([float(word) for word in words]), replace(scene, notes=replace(scene.notes, provenance=told))


def cloud_of(shape: Shape) -> PointCloud:
    """The vertices of a shape as a cloud."""
    if isinstance(shape, PointCloud):
        return shape
    mesh = mesh_of(shape)
    return PointCloud(mesh.vertices, mesh.colors, mesh.normals)


def is_empty(shape: Shape) -> bool:
    """Whether there is nothing to see: a cloud without points, a mesh without triangles."""
    return len(shape if isinstance(shape, PointCloud) else mesh_of(shape)) == 0


def moved(shape: Shape, a_from_b: RigidTransform) -> Shape:
    """A shape of frame b in frame a."""
    turn = a_from_b.copy()
    turn[:3, 3] = 0
    if isinstance(shape, PointCloud):
        return PointCloud(transform(a_from_b, shape.points), shape.colors, transform(turn, shape.normals))
    mesh = mesh_of(shape)
    vertices, normals = transform(a_from_b, mesh.vertices), transform(turn, mesh.normals)
    return with_mesh(shape, Mesh(vertices, mesh.triangles, mesh.colors, normals))


def with_mesh(shape: Mesh | TexturedMesh, mesh: Mesh) -> Mesh | TexturedMesh:
    """The same shape with other triangles (as many vertices)."""
    return replace(shape, mesh=mesh) if isinstance(shape, TexturedMesh) else mesh


def turned(scene: Scene, up: Up) -> Scene:
    """The same scene in other axes; nothing is mirrored. A scene of the world of poses has ``up="camera"``.

    Raises:
        ValueError: the scene does not know its axes.
    """
    if scene.up is None:
        raise ValueError("the scene does not know which axis is up")
    if scene.up == up:
        return scene
    new_from_old = file_from_world(up) @ inverse(file_from_world(scene.up))
    camera = scene.camera and replace(scene.camera, asset_from_camera=new_from_old @ scene.camera.asset_from_camera)
    return replace(scene, shape=moved(scene.shape, new_from_old), up=up, camera=camera)


def linear16_from_srgb(colors: UInt8[np.ndarray, "n 3"]) -> UInt16[np.ndarray, "n 3"]:
    """Linear light in 16 bits: fine enough that every byte comes back (8 bits would crush the darks)."""
    table = np.rint(light_of_srgb() * 65535).astype(np.uint16)
    light: UInt16[np.ndarray, "n 3"] = table[colors]
    return light


def bytes_of_colors(colors: Num[np.ndarray, "n c"]) -> UInt8[np.ndarray, "n 3"]:
    """SRGB bytes of sRGB in bytes, 16 bits, or floats from 0 to 1; alpha is left out."""
    whole = 1.0 if colors.dtype.kind == "f" else float(np.iinfo(colors.dtype).max)
    return np.rint(np.clip(colors[:, :3] / whole, 0, 1) * 255).astype(np.uint8)


def grey(count: int) -> UInt8[np.ndarray, "n 3"]:
    """Colours where a file has none."""
    return np.full((count, 3), UNKNOWN_COLOR, np.uint8)


def all_known(normals: Float32[np.ndarray, "n 3"]) -> bool:
    """Whether every normal has length one, as formats want it."""
    return bool((np.abs(np.square(normals).sum(axis=1) - 1) < 1e-3).all())


def looked_up(texture: Picture, uv: Float32[np.ndarray, "n 2"]) -> UInt8[np.ndarray, "n 3"]:
    """The texel in which each place (corner origin, y down, from 0 to 1) lies."""
    height, width = texture.shape[:2]
    column, row = ((uv * (width, height)).astype(np.int64).clip(0, (width - 1, height - 1))).T
    colors: UInt8[np.ndarray, "n 3"] = texture[row, column]
    return colors


def textured(mesh: Mesh, uv: Num[np.ndarray, "n 2"], texture: Picture) -> TexturedMesh:
    """A mesh of a file with its picture; what lies outside the picture is repeated, as viewers do it."""
    places = uv.astype(np.float32)
    outside = (places < 0) | (places > 1)
    places = np.where(outside, places - np.floor(places), places)
    colored = Mesh(mesh.vertices, mesh.triangles, looked_up(texture, places), mesh.normals)
    return TexturedMesh(colored, places, texture)


def flipped(uv: Num[np.ndarray, "n 2"]) -> Float32[np.ndarray, "n 2"]:
    """Places in a picture between y down (recon, glTF) and y up (OBJ, PLY, USD)."""
    return np.stack([uv[:, 0], 1 - uv[:, 1]], axis=1).astype(np.float32)


def checked_mesh(path: Path, corners: PointCloud, triangles: Int[np.ndarray, "m 3"]) -> Mesh:
    """A mesh from what a file says.

    Raises:
        FormatError: a triangle has a corner that is not there.
    """
    if triangles.size and not (triangles.min() >= 0 and triangles.max() < len(corners)):
        raise FormatError(f"{path}: is damaged: a triangle has a corner that is none of its {len(corners)} vertices")
    return Mesh(corners.points, triangles.astype(np.int32), corners.colors, corners.normals)


def joined(parts: Sequence[Shape]) -> Shape:
    """Several shapes as one: triangles if there are any. Textures become colours of vertices then; that is logged."""
    if len(parts) == 1:
        return parts[0]
    solids = [part for part in parts if not isinstance(part, PointCloud)]
    if not solids:
        clouds = [cloud_of(part) for part in parts]
        return PointCloud(
            np.concatenate([cloud.points for cloud in clouds]),
            np.concatenate([cloud.colors for cloud in clouds]),
            np.concatenate([cloud.normals for cloud in clouds]),
        )
    if any(isinstance(part, TexturedMesh) for part in solids):
        logger.warning("several materials: their pictures become colours of vertices")
    return _joined_meshes([mesh_of(part) for part in solids])


def _joined_meshes(meshes: Sequence[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes[:-1])])
    triangles = [mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)]
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(triangles).astype(np.int32),
        np.concatenate([mesh.colors for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


def fans(counts: Int[np.ndarray, " f"]) -> Int[np.ndarray, "m 3"]:
    """Triangles, as places in the list of all corners, of polygons with so many corners each."""
    triangles = np.maximum(counts - 2, 0)
    first = np.repeat(np.cumsum(counts) - counts, triangles)
    step = np.arange(triangles.sum()) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def texture_path(path: Path, look: Look) -> Path:
    """Where the texture of a file goes that stands beside it: never where the photograph lies that was its source."""
    return path.with_name(f"{'_'.join(path.stem.split())}_texture{'.jpg' if look.picture == 'jpeg' else '.png'}")


def encoded(texture: Picture, look: Look) -> bytes:
    """A texture as JPEG (without subsampling of colours: seams stay sharp) or PNG."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    flags += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    suffix, flags = (".jpg", flags) if look.picture == "jpeg" else (".png", [])
    done, data = cv2.imencode(suffix, cv2.cvtColor(texture, cv2.COLOR_RGB2BGR), flags)
    if not done:
        raise ValueError(f"a texture of {texture.shape} cannot be coded as {look.picture}")
    return bytes(data.tobytes())


def decoded(path: Path, data: bytes) -> Picture:
    """A texture in a file.

    Raises:
        FormatError: it is no picture.
    """
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if picture is None:
        raise FormatError(f"{path}: its texture is no picture that can be read")
    return np.ascontiguousarray(picture[:, :, ::-1])


def file_bytes(path: Path) -> bytes:
    """All of a file.

    Raises:
        FormatError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error


def package(path: Path, name: str, extra: Literal["export", "mesh"]) -> Any:  # noqa: ANN401 - a module
    """An optional package that a format needs.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        how = f"pip install 'recon-video[{extra}]'"
        raise MissingPackageError(
            f"{path}: this format needs the package {name.split('.', maxsplit=1)[0]}: {how}"
        ) from error


Writer = Callable[[Path, Scene, Look], None]
Reader = Callable[[Path], Scene]
