"""What bundle adjustment is given, and what it gives."""

from dataclasses import dataclass, replace
from math import inf, isfinite

import numpy as np
from jaxtyping import Bool, Float64, Int64

from recon.geometry import project
from recon.types import Intrinsics

Transforms = Float64[np.ndarray, "k 4 4"]
Landmarks = Float64[np.ndarray, "p 3"]


@dataclass(frozen=True, slots=True)
class Observations:
    """What pictures see of landmarks, in any order.

    Raises:
        ValueError: columns of different lengths, a negative number, a pixel that is not finite, a depth that is neither
            positive nor NaN.
    """

    camera: Int64[np.ndarray, " n"]
    landmark: Int64[np.ndarray, " n"]
    pixel: Float64[np.ndarray, "n 2"]
    """Image coordinates, corner origin."""
    depth: Float64[np.ndarray, " n"]
    """Of the picture's depth map there, along +z; NaN where it is unknown."""

    def __post_init__(self) -> None:
        lengths = {len(column) for column in (self.camera, self.landmark, self.pixel, self.depth)}
        if len(lengths) > 1:
            raise ValueError(f"observations need columns of one length, got {sorted(lengths)}")
        if (self.camera < 0).any() or (self.landmark < 0).any():
            raise ValueError("cameras and landmarks are numbered from 0, got a negative number")
        if not np.isfinite(self.pixel).all():
            raise ValueError("the pixel of an observation must be finite")
        if (np.isinf(self.depth) | (self.depth <= 0)).any():
            raise ValueError("the depth of an observation must be positive, or NaN where it is unknown")

    def of(self, chosen: Bool[np.ndarray, " n"]) -> "Observations":
        """Some of them."""
        return Observations(self.camera[chosen], self.landmark[chosen], self.pixel[chosen], self.depth[chosen])


@dataclass(frozen=True, slots=True)
class Noise:
    """Standard deviations of what is observed.

    Raises:
        ValueError: one of them is not positive, or that of the focal length negative.
    """

    pixel: float = 1.0
    """Pixels, along each axis."""
    depth: float = 0.08
    """Relative, of a single value."""
    map: float = 0.05
    """Relative, of all values of one depth map."""
    focal: float = 0.0
    """Relative, of the focal length of all pictures; 0 where it is known."""

    def __post_init__(self) -> None:
        if not (min(self.pixel, self.depth, self.map) > 0 and 0 <= self.focal < inf):
            raise ValueError(f"standard deviations must be positive (that of the focal length: or 0), got {self}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """Cameras and landmarks.

    Raises:
        ValueError: not as many factors as cameras, a factor that is not positive, a number that is not finite.
    """

    camera_from_world: Transforms
    depth_factor: Float64[np.ndarray, " k"]
    """Depth seen from the camera over that of its depth map."""
    landmarks: Landmarks
    """In the world."""
    focal_factor: float = 1.0
    """Focal length over that of the intrinsics, for all pictures."""

    def __post_init__(self) -> None:
        if len(self.depth_factor) != len(self.camera_from_world):
            raise ValueError(
                f"{len(self.camera_from_world)} cameras need as many factors, got {len(self.depth_factor)}"
            )
        if not (np.isfinite(self.camera_from_world).all() and np.isfinite(self.landmarks).all()):
            raise ValueError("cameras and landmarks must be finite")
        if not (self.depth_factor > 0).all():
            raise ValueError(f"factors of depth must be positive, the least is {self.depth_factor.min():g}")
        if not (self.focal_factor > 0 and isfinite(self.focal_factor)):
            raise ValueError(f"the factor of the focal length must be positive, got {self.focal_factor:g}")

    def zoomed(self, intrinsics: Intrinsics) -> Intrinsics:
        """The camera that took the pictures: these intrinsics with the focal length of the bundle."""
        return replace(intrinsics, fx=intrinsics.fx * self.focal_factor, fy=intrinsics.fy * self.focal_factor)

    def in_unit_of_depth(self) -> "Bundle":
        """The same, longer or shorter in all, so that the depth maps are right in the mean.

        No pixel tells the unit of length, and where an adjustment begins far from it (with another focal length, say)
        it comes there last of all; with every factor as likely as its inverse, this is where the cost is least.
        """
        scale = float(np.exp(-np.log(self.depth_factor).mean()))
        poses = self.camera_from_world.copy()
        poses[:, :3, 3] *= scale
        return Bundle(poses, self.depth_factor * scale, self.landmarks * scale, self.focal_factor)


def residual_pixels(bundle: Bundle, seen: Observations, intrinsics: Intrinsics) -> Float64[np.ndarray, " n"]:
    """Distance in pixels between where a landmark is seen and where it should be; infinite behind the camera.

    Where it is below three standard deviations of a pixel or so, the observation is an inlier.
    """
    place = in_cameras(bundle.camera_from_world, bundle.landmarks, seen)
    off: Float64[np.ndarray, " n"] = np.linalg.norm(project(place, bundle.zoomed(intrinsics)) - seen.pixel, axis=1)
    return np.where(np.isnan(off), inf, off)


def in_cameras(camera_from_world: Transforms, landmarks: Landmarks, seen: Observations) -> Float64[np.ndarray, "n 3"]:
    """Each landmark that is seen, in the frame of the camera that sees it."""
    pose = camera_from_world[seen.camera]
    place: Float64[np.ndarray, "n 3"] = np.einsum("nij,nj->ni", pose[:, :3, :3], landmarks[seen.landmark])
    place += pose[:, :3, 3]
    return place
