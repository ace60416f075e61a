"""The nouns of recon, and THE conventions that every file relies on.

Transforms
    ``a_from_b`` is a 4x4 matrix that takes points of frame b to frame a, so that adjacent names cancel:
    ``a_from_c = a_from_b @ b_from_c``. Camera poses are ``world_from_camera``.
Camera axes
    OpenCV's: x right, y down, z forward. The axes of Blender, OpenGL and Unity exist only at the file border.
Lengths
    Metres, unless the run's ``Units`` say otherwise. ``depth`` is the distance along +z, not along the ray.
    ``disparity`` is inverse depth up to one unknown scale and shift: near is large.
Image coordinates
    Continuous, origin at the corner of the image, so that the centre of the first pixel is (0.5, 0.5) and resizing is
    a pure multiplication. OpenCV puts the centre of the first pixel at (0, 0); that is converted at its calls.
Pixels
    RGB, uint8, (height, width, 3), display orientation, square pixels.
Stereo
    ``parallax`` is x in the right eye minus x in the left one, in widths of the picture. An eye is a share of it: what
    is at x is seen at x + share * parallax. Both eyes are made with -0.5 (left) and 0.5; 0 leaves one as it was filmed.
Unknown depth
    NaN; never 0, -1 or infinity. Each file format converts at its own border.
Time
    Seconds from the start of the source (from the container's presentation time stamps), not frame number / rate.
Arrays
    The arrays of a noun are read-only: frozen means frozen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8, UInt16

Units = Literal["metres", "slam", "relative"]
"""What one unit of length is: a metre; the arbitrary unit of a SLAM or SfM map; or nothing known at all."""

Quantity = Literal["disparity", "depth"]
"""What the numbers of a map mean: inverse depth up to scale and shift, or lengths along +z (see ``Units``)."""

PairLayout = Literal[
    "full-sbs",
    "half-sbs",
    "full-tb",
    "half-tb",
    "row-interlaced",
    "column-interlaced",
    "checkerboard",
    "cross-eyed",
    "hdmi-frame-packing",
]
"""How two flat eyes lie in one picture, so that they can be taken apart again."""
HDMI_EYES: Final[Mapping[tuple[int, int], int]] = MappingProxyType({(1280, 720): 30, (1920, 1080): 45})
"""Width and height of an eye in "hdmi-frame-packing", and the rows between the eyes: HDMI 1.4a, section 8.2.3.2."""
Layout = Literal[PairLayout, "vr180", "anaglyph", "rgbd", "depth", "separate", "wiggle"]
"""How two eyes are shown: in one picture; "separate", a film for each; "wiggle", in turn. "depth" is the map alone."""
Colours = Literal["red-cyan", "green-magenta", "amber-blue", "red-green", "red-blue"]
"""Of the filters before the left and the right eye, for anaglyphs; amber is sold as yellow, too."""
Method = Literal["dubois", "color", "gray", "half-color", "optimized"]
"""How two eyes become an anaglyph."""
METHODS: Final[Mapping[Colours, tuple[Method, ...]]] = MappingProxyType(
    {
        "red-cyan": ("dubois", "color", "gray", "half-color", "optimized"),
        "green-magenta": ("dubois", "color", "gray", "half-color"),
        "amber-blue": ("dubois", "color", "gray", "half-color"),
        "red-green": ("gray",),
        "red-blue": ("gray",),
    }
)
"""Those that there are for each pair of filters, the best one first."""

RigidTransform = Float64[np.ndarray, "4 4"]
DepthMap = Float32[np.ndarray, "h w"]
Picture = UInt8[np.ndarray, "h w 3"]
Samples = UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"]
"""R'G'B' as a video codes it, in 8 or 16 bits: its transfer and primaries, whatever they are."""
Parallax = Float32[np.ndarray, "h w"]
"""x in the right eye minus x in the left one, in widths of the picture: > 0 behind the screen, < 0 in front of it."""


def _freeze(owner: object, **arrays: np.ndarray) -> None:
    """Replace fields of a frozen dataclass by read-only views."""
    for name, array in arrays.items():
        view = array.view()
        view.setflags(write=False)
        object.__setattr__(owner, name, view)


def _require(condition: bool, message: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Intrinsics:
    """A pinhole camera without distortion (Hartley and Zisserman, 2nd ed., eq. 6.9), for one image size."""

    fx: float
    """Focal length along x, in pixels."""
    fy: float
    """Focal length along y, in pixels."""
    cx: float
    """Principal point in pixels from the left border (corner origin: the middle of the image is width / 2)."""
    cy: float
    """Principal point in pixels from the upper border."""
    width: int
    """Width of the image that these numbers belong to, in pixels."""
    height: int
    """Height of the image that these numbers belong to, in pixels."""

    def __post_init__(self) -> None:
        _require(bool(np.isfinite([self.fx, self.fy, self.cx, self.cy]).all()), "intrinsics must be finite")
        _require(self.fx > 0 and self.fy > 0, f"focal lengths must be positive, got {self.fx} and {self.fy}")
        _require(self.width > 0 and self.height > 0, f"image size must be positive, got {self.width} x {self.height}")

    @classmethod
    def from_fov(cls, fov_x: float, width: int, height: int) -> "Intrinsics":
        """A centred camera with square pixels from its horizontal field of view in degrees."""
        _require(0 < fov_x < 180, f"a field of view lies between 0 and 180 degrees, got {fov_x}")
        focal = width / 2 / np.tan(np.radians(fov_x) / 2)
        return cls(float(focal), float(focal), width / 2, height / 2, width, height)

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The calibration matrix K: pixel ~ K @ point, corner origin."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def fov_x(self) -> float:
        """Horizontal field of view in degrees, from the left border to the right one."""
        return float(np.degrees(np.arctan2(self.cx, self.fx) + np.arctan2(self.width - self.cx, self.fx)))

    def scaled(self, width: int, height: int) -> "Intrinsics":
        """The same camera for the image resized to width x height (a pure multiplication: corner origin)."""
        x, y = width / self.width, height / self.height
        return Intrinsics(self.fx * x, self.fy * y, self.cx * x, self.cy * y, width, height)


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the source."""

    index: int
    """Number in the sequence that recon works on, from 0, after sampling."""
    time: float
    """Seconds, from the container's presentation time stamp."""
    rgb: Picture
    """RGB picture, uint8, (h, w, 3)."""

    def __post_init__(self) -> None:
        rgb = self.rgb
        _require(rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.dtype == np.uint8, "rgb must be uint8 (h, w, 3)")
        _freeze(self, rgb=rgb)


def _check_map(frame: Frame, values: np.ndarray, name: str) -> None:
    _require(values.dtype == np.float32, f"{name} must be float32, got {values.dtype}")
    _require(values.shape == frame.rgb.shape[:2], f"{name} {values.shape} must match the picture {frame.rgb.shape}")


@dataclass(frozen=True, slots=True)
class ShotFrame:
    """A picture and the shot that it belongs to."""

    frame: Frame
    shot: int
    """Number of the shot (the run of frames between two cuts), from 0."""


@dataclass(frozen=True, slots=True)
class DepthEstimate:
    """What a network said of one frame, at the network's own resolution: what the depth store holds."""

    index: int
    """``Frame.index`` of the frame."""
    time: float
    """``Frame.time`` of the frame, seconds."""
    shot: int
    """Number of the shot (the run of frames between two cuts) that the frame belongs to, from 0."""
    values: DepthMap
    """float32 (h, w): disparity up to one scale and shift for each shot, or metres if the network is metric."""

    def __post_init__(self) -> None:
        _require(self.values.ndim == 2 and self.values.dtype == np.float32, "values must be float32 (h, w)")
        _freeze(self, values=self.values)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where inference stands after a window: all that is needed to go on from there as if it had never stopped."""

    shot: int
    """Shot in which the next window lies."""
    window: int
    """Number of the next window within that shot."""
    arrays: Mapping[str, np.ndarray]
    """The state of the stitching, or what streaming remembers: floats."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The maps that one more window has made final, and the state after it."""

    estimates: tuple[DepthEstimate, ...]
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class DisparityFrame:
    """A picture with inverse depth up to one unknown scale and shift: what a relative network gives."""

    frame: Frame
    disparity: DepthMap
    """float32 (h, w), near is large, NaN = unknown; the same size as the picture."""

    def __post_init__(self) -> None:
        _check_map(self.frame, self.disparity, "disparity")
        _freeze(self, disparity=self.disparity)


@dataclass(frozen=True, slots=True)
class DepthFrame:
    """A picture with depth."""

    frame: Frame
    depth: DepthMap
    """float32 (h, w), metres (or the run's units) along +z, NaN = unknown; the same size as the picture."""

    def __post_init__(self) -> None:
        _check_map(self.frame, self.depth, "depth")
        _freeze(self, depth=self.depth)


@dataclass(frozen=True, slots=True)
class PosedFrame:
    """A picture with depth, calibration and camera pose: all that fusion needs."""

    frame: Frame
    depth: DepthMap
    """float32 (h, w), metres (or the run's units) along +z, NaN = unknown; the same size as the picture."""
    intrinsics: Intrinsics
    """The camera at this picture's size."""
    world_from_camera: RigidTransform
    segment: int
    """Frames of one segment share one world; where tracking was lost or the film cuts, another segment begins."""

    def __post_init__(self) -> None:
        _check_map(self.frame, self.depth, "depth")
        size = (self.intrinsics.height, self.intrinsics.width)
        _require(size == self.depth.shape, f"intrinsics are for {size}, depth is {self.depth.shape}")
        _check_rigid(self.world_from_camera[None])
        _freeze(self, depth=self.depth, world_from_camera=self.world_from_camera)


def _check_rigid(transforms: np.ndarray) -> None:
    _require(transforms.shape[1:] == (4, 4) and transforms.dtype == np.float64, "poses must be float64 (n, 4, 4)")
    _require(bool(np.isfinite(transforms).all()), "poses must be finite")
    rotations = transforms[:, :3, :3]
    orthonormal = np.allclose(rotations @ rotations.transpose(0, 2, 1), np.eye(3), atol=1e-4)
    _require(orthonormal and bool((np.linalg.det(rotations) > 0).all()), "poses must be rotations and translations")


@dataclass(frozen=True, slots=True)
class CameraTrajectory:
    """Camera poses over time."""

    times: Float64[np.ndarray, " n"]
    """Seconds on the clock of the video, strictly increasing."""
    world_from_camera: Float64[np.ndarray, "n 4 4"]

    def __post_init__(self) -> None:
        _require(self.times.ndim == 1 and len(self.times) == len(self.world_from_camera), "one time for each pose")
        _require(len(self.times) > 0, "a trajectory needs a pose")
        _require(bool((np.diff(self.times) > 0).all()), "times must increase")
        _check_rigid(self.world_from_camera)
        _freeze(self, times=self.times, world_from_camera=self.world_from_camera)


@dataclass(frozen=True, slots=True)
class SparsePoints:
    """Landmarks of a SLAM or SfM map, and where and when each was seen."""

    points: Float64[np.ndarray, "n 3"]
    """Positions in the map's world and the map's units."""
    times: Float64[np.ndarray, " m"]
    """For each observation: time of the picture, seconds, in order."""
    point: Int64[np.ndarray, " m"]
    """For each observation: row of ``points``."""
    position: Float64[np.ndarray, "m 2"]
    """For each observation: (x / width, y / height) in the undistorted picture, corner origin, so in [0, 1]."""
    depth: Float64[np.ndarray, " m"]
    """For each observation: depth of the point in that picture's camera, the map's units, > 0."""

    def __post_init__(self) -> None:
        count = len(self.times)
        _require(self.points.ndim == 2 and self.points.shape[1] == 3, "points must be (n, 3)")
        _require(len(self.point) == len(self.depth) == count, "one row for each observation")
        _require(self.position.shape == (count, 2), "position must be (m, 2)")
        _require(bool((np.diff(self.times) >= 0).all()), "observations must be in the order of time")
        _freeze(self, points=self.points, times=self.times, point=self.point, position=self.position, depth=self.depth)


@dataclass(frozen=True, slots=True)
class Correspondences:
    """Places of one picture where both the network's disparity and the true inverse depth are known."""

    disparity: Float64[np.ndarray, " n"]
    """What the network says there."""
    inverse_depth: Float64[np.ndarray, " n"]
    """1 / z of the anchor there, > 0, in inverse metres (or the anchor's units)."""
    weight: Float64[np.ndarray, " n"]
    """Relative inverse variance of the inverse depth."""
    time: float
    """Time of the picture, seconds."""
    left_out: int = 0
    """Further places that the anchor knows: outside the picture, beside edges, or without disparity."""
    block: Int64[np.ndarray, " n"] | None = None
    """Places of one number are neighbours and err together; None: each for itself."""

    def __post_init__(self) -> None:
        same = self.disparity.shape == self.inverse_depth.shape == self.weight.shape
        _require(same, "one disparity, one inverse depth and one weight for each place")
        _freeze(self, disparity=self.disparity, inverse_depth=self.inverse_depth, weight=self.weight)
        if self.block is not None:
            _require(self.block.shape == self.weight.shape, "one block for each place")
            _freeze(self, block=self.block)


@dataclass(frozen=True, slots=True)
class MetricPicture:
    """What a metric network says of one picture."""

    depth: DepthMap
    """float32 (h, w), metres along +z, NaN where the network sees no surface (sky) or is not sure."""
    intrinsics: Intrinsics
    """The camera that the network inferred (or was given), at this picture's size."""


@dataclass(frozen=True, slots=True)
class PointCloud:
    """Coloured points with normals."""

    points: Float32[np.ndarray, "n 3"]
    """World positions, metres (or the run's units)."""
    colors: UInt8[np.ndarray, "n 3"]
    """sRGB."""
    normals: Float32[np.ndarray, "n 3"]
    """Unit normals that face the camera which saw the point; zero where unknown."""

    def __post_init__(self) -> None:
        count = len(self.points)
        _require(self.points.shape == self.colors.shape == self.normals.shape == (count, 3), "arrays must be (n, 3)")
        _freeze(self, points=self.points, colors=self.colors, normals=self.normals)

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles between coloured vertices."""

    vertices: Float32[np.ndarray, "n 3"]
    """World positions, metres (or the run's units)."""
    triangles: Int32[np.ndarray, "m 3"]
    """Rows of ``vertices``, counter-clockwise as the camera that saw the surface sees them."""
    colors: UInt8[np.ndarray, "n 3"]
    """sRGB."""
    normals: Float32[np.ndarray, "n 3"]
    """Unit normals that face the camera which saw the surface; zero where unknown."""

    def __post_init__(self) -> None:
        count = len(self.vertices)
        _require(self.vertices.shape == self.colors.shape == self.normals.shape == (count, 3), "arrays must be (n, 3)")
        _require(self.triangles.ndim == 2 and self.triangles.shape[1] == 3, "triangles must be (m, 3)")
        known = self.triangles.min(initial=0) >= 0 and self.triangles.max(initial=-1) < count
        _require(bool(known), f"triangles must be rows of the {count} vertices")
        arrays = {"vertices": self.vertices, "triangles": self.triangles, "colors": self.colors}
        _freeze(self, **arrays, normals=self.normals)

    def __len__(self) -> int:
        return len(self.triangles)


@dataclass(frozen=True, slots=True)
class TexturedMesh:
    """A mesh whose colour is in a picture; where the picture has a seam, vertices stand twice."""

    mesh: Mesh
    """Its vertex colours are those of the picture at the vertices, for what shows no pictures."""
    uv: Float32[np.ndarray, "n 2"]
    """Of each vertex in the picture: (x / width, y / height), corner origin, y down; so in [0, 1]."""
    texture: Picture
    """sRGB."""

    def __post_init__(self) -> None:
        _require(self.uv.shape == (len(self.mesh.vertices), 2), "uv must be (n, 2), one row for each vertex")
        _require(bool(((self.uv >= 0) & (self.uv <= 1)).all()), "uv must lie in [0, 1]")
        texture = self.texture
        _require(texture.ndim == 3 and texture.shape[2] == 3 and texture.dtype == np.uint8, "a picture is (h, w, 3)")
        _freeze(self, uv=self.uv, texture=texture)


__all__ = [
    "HDMI_EYES",
    "METHODS",
    "CameraTrajectory",
    "Checkpoint",
    "Chunk",
    "Colours",
    "Correspondences",
    "DepthEstimate",
    "DepthFrame",
    "DepthMap",
    "DisparityFrame",
    "Frame",
    "Intrinsics",
    "Layout",
    "Mesh",
    "Method",
    "MetricPicture",
    "PairLayout",
    "Picture",
    "PointCloud",
    "PosedFrame",
    "Quantity",
    "RigidTransform",
    "ShotFrame",
    "SparsePoints",
    "TexturedMesh",
    "Units",
]
