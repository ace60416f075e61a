"""Lenses: where in a picture a camera puts what lies in a direction, and back.

The kinds are COLMAP's, with its parameters (colmap/src/colmap/sensor/models.h); OpenCV's, Kalibr's and nerfstudio's are
among them under other names:

==============================  ===========================================  ========================================
kind                            coefficients                                 also called
==============================  ===========================================  ========================================
SIMPLE_PINHOLE, PINHOLE         none
SIMPLE_RADIAL, RADIAL           k (k1), k2                                   Brown 1971
OPENCV                          k1 k2 p1 p2                                  radtan, plumb_bob, radial-tangential
FULL_OPENCV                     k1 k2 p1 p2 k3 k4 k5 k6                      rational_polynomial
SIMPLE_FISHEYE, FISHEYE         none                                         equidistant
SIMPLE_RADIAL_FISHEYE,          k (k1), k2
RADIAL_FISHEYE
OPENCV_FISHEYE                  k1 k2 k3 k4                                  equidistant, cv2.fisheye (Kannala, Brandt)
THIN_PRISM_FISHEYE              k1 k2 p1 p2 k3 k4 sx1 sy1                    Weng 1992, on angles (ETH3D)
RAD_TAN_THIN_PRISM_FISHEYE      k0 ... k5 p0 p1 s0 s1 s2 s3                  Fisheye624 (Project Aria)
FOV                             omega                                        Devernay and Faugeras 2001
SIMPLE_DIVISION, DIVISION       k                                            Fitzgibbon 2001
EUCM                            alpha beta                                   Khomutenko 2016
==============================  ===========================================  ========================================

Every one of them first bends radii (r of the plane z = 1 to an angle, say), in closed form both ways, then warps what
comes out, by a polynomial near to one. The latter is undone by Newton's method.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from recon.errors import CameraError
from recon.types import Intrinsics

logger = logging.getLogger(__name__)

Points = Float64[np.ndarray, "n 2"]
Radii = Float64[np.ndarray, " n"]

_REACH = np.radians(85.0)
"""Angle from the axis up to which a direction may be on the plane z = 1 at all."""
_STEPS = 2048
"""Angles at which it is looked where a polynomial turns back."""
_SPOKES = 16
"""Directions in which it is looked."""
_NEWTON = 20
"""Steps of Newton's method; four do, but where a lens hardly magnifies."""
_EXACT = 1e-10
"""How near Newton's method must come, in focal lengths: a ten-millionth of a pixel."""
_STRAIGHT = 0.01
"""Pixels by which a lens may be off a pinhole that count as nothing."""
_BEFORE = 0.95
"""Part of its reach from which Newton's method begins where a lens turns back: at that place it would not move."""
_NEGLECTED = 0.01
"""Part of the picture's longer side by which a lens may displace pixels where pictures must be used as they are."""
_OUTLINE = 65
"""Points on each border of a picture."""
_TINY = 1e-9


# ---------------------------------------------------------------------------------------------------------------- radii


def _same(radius: Radii, *_: float) -> Radii:
    return radius


def _angle(radius: Radii, *_: float) -> Radii:
    angle: Radii = np.arctan(radius)
    return angle


def _of_angle(angle: Radii, *_: float) -> Radii:
    return np.where(angle < np.pi / 2, np.tan(angle), np.nan)


def _fov(radius: Radii, omega: float) -> Radii:
    """Devernay and Faugeras 2001, eq. 13."""
    return radius if abs(omega) < _TINY else np.arctan(2 * radius * np.tan(omega / 2)) / omega


def _of_fov(bent: Radii, omega: float) -> Radii:
    return bent if abs(omega) < _TINY else _of_angle(bent * abs(omega)) / (2 * np.tan(abs(omega) / 2))


def _division(radius: Radii, k: float) -> Radii:
    """The root of k r bent^2 - bent + r = 0 that is r for k = 0; NaN where there is none."""
    inner = 1 - 4 * k * radius**2
    bent: Radii = 2 * radius / (1 + np.sqrt(np.where(inner >= 0, inner, np.nan)))
    return bent


def _of_division(bent: Radii, k: float) -> Radii:
    below = 1 + k * bent**2
    return bent / np.where(below > 0, below, np.nan)


def _eucm(radius: Radii, alpha: float, beta: float) -> Radii:
    """Khomutenko, Garcia, Martinet 2016, eq. 11, for z = 1."""
    return radius / (alpha * np.sqrt(beta * radius**2 + 1) + 1 - alpha)


def _of_eucm(bent: Radii, alpha: float, beta: float) -> Radii:
    square = bent**2
    inner = 1 - (2 * alpha - 1) * beta * square
    root = np.sqrt(np.where(inner >= 0, inner, np.nan))
    depth = (1 - alpha**2 * beta * square) / (alpha * root + 1 - alpha)
    return bent / np.where(depth > 0, depth, np.nan)


# ---------------------------------------------------------------------------------------------------------------- warps


def _as_is(points: Points, *_: float) -> Points:
    return points


def _polynomial(square: Radii, *coefficients: float) -> Radii:
    """1 + k1 r^2 + k2 r^4 + ..."""
    value = np.zeros_like(square)
    for coefficient in reversed(coefficients):
        value = (value + coefficient) * square
    return 1 + value


def _prism(points: Points, p1: float, p2: float, prism: tuple[float, float, float, float]) -> Points:
    """What a lens that stands askew adds: tangential terms, and a thin prism's in r^2 (x, y) and r^4 (x, y)."""
    x, y = points.T
    square = x * x + y * y
    along_x = 2 * p1 * x * y + p2 * (square + 2 * x * x) + square * (prism[0] + prism[2] * square)
    along_y = 2 * p2 * x * y + p1 * (square + 2 * y * y) + square * (prism[1] + prism[3] * square)
    return np.stack([along_x, along_y], axis=1)


def _radial(points: Points, *ks: float) -> Points:
    moved: Points = points * _polynomial((points**2).sum(axis=1), *ks)[:, None]
    return moved


def _brown(points: Points, *ks: float) -> Points:
    """OpenCV's: k1 k2 p1 p2 k3, over a polynomial of k4 k5 k6."""
    k1, k2, p1, p2, k3, *below = (*ks, *([0.0] * (8 - len(ks))))
    square = (points**2).sum(axis=1)
    ratio = _polynomial(square, k1, k2, k3)
    if any(below):
        ratio = ratio / _polynomial(square, *below)
    moved: Points = points * ratio[:, None] + (_prism(points, p1, p2, (0.0,) * 4) if p1 or p2 else 0.0)
    return moved


def _thin_prism(points: Points, *ks: float) -> Points:
    k1, k2, p1, p2, k3, k4, sx, sy = ks
    moved: Points = _radial(points, k1, k2, k3, k4) + _prism(points, p1, p2, (sx, sy, 0.0, 0.0))
    return moved


def _aria(points: Points, *ks: float) -> Points:
    """The prism stands behind the radial part, and p0, p1 are OpenCV's p2, p1."""
    *radial, p0, p1, s0, s1, s2, s3 = ks
    points = _radial(points, *radial)
    moved: Points = points + _prism(points, p1, p0, (s0, s2, s1, s3))
    return moved


# ---------------------------------------------------------------------------------------------------------------- kinds


class _Kind(NamedTuple):
    focals: int
    """1 where x and y share their focal length."""
    coefficients: int
    bend: Callable[..., Radii] = _same
    unbend: Callable[..., Radii] = _same
    warp: Callable[..., Points] = _as_is


_KINDS = {
    "SIMPLE_PINHOLE": _Kind(1, 0),
    "PINHOLE": _Kind(2, 0),
    "SIMPLE_RADIAL": _Kind(1, 1, warp=_radial),
    "RADIAL": _Kind(1, 2, warp=_radial),
    "OPENCV": _Kind(2, 4, warp=_brown),
    "FULL_OPENCV": _Kind(2, 8, warp=_brown),
    "SIMPLE_FISHEYE": _Kind(1, 0, _angle, _of_angle),
    "FISHEYE": _Kind(2, 0, _angle, _of_angle),
    "SIMPLE_RADIAL_FISHEYE": _Kind(1, 1, _angle, _of_angle, _radial),
    "RADIAL_FISHEYE": _Kind(1, 2, _angle, _of_angle, _radial),
    "OPENCV_FISHEYE": _Kind(2, 4, _angle, _of_angle, _radial),
    "THIN_PRISM_FISHEYE": _Kind(2, 8, _angle, _of_angle, _thin_prism),
    "RAD_TAN_THIN_PRISM_FISHEYE": _Kind(2, 12, _angle, _of_angle, _aria),
    "FOV": _Kind(2, 1, _fov, _of_fov),
    "SIMPLE_DIVISION": _Kind(1, 1, _division, _of_division),
    "DIVISION": _Kind(2, 1, _division, _of_division),
    "EUCM": _Kind(2, 2, _eucm, _of_eucm),
}


@dataclass(frozen=True, slots=True)
class Lens:
    """A camera with distortion, for one size of picture."""

    intrinsics: Intrinsics
    """Focal lengths and principal point; the whole camera, where nothing is bent."""
    kind: str = "PINHOLE"
    """COLMAP's name, see the table above."""
    coefficients: tuple[float, ...] = ()
    """Of the distortion, in COLMAP's order."""

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ValueError(f"unknown kind of lens {self.kind}")
        if len(self.coefficients) != (wanted := _KINDS[self.kind].coefficients):
            raise ValueError(f"{self.kind} has {wanted} coefficients, not {len(self.coefficients)}")
        if not np.isfinite(self.coefficients).all():
            raise ValueError(f"coefficients must be finite, got {self.coefficients}")

    def scaled(self, width: int, height: int) -> "Lens":
        """The same lens for the picture resized to width x height."""
        return replace(self, intrinsics=self.intrinsics.scaled(width, height))

    def pixels_from_plane(self, plane: Points) -> Points:
        """Where points (x / z, y / z) lie in the picture, pixels; NaN where the lens does not show them.

        A polynomial shows directions up to where it turns back: beyond, it is not the lens any more.
        """
        shown = np.where(_radii(plane)[:, None] <= _reach(self)[0], plane, np.nan)
        pixels: Points = _distorted(self, shown) * self._focal + self._centre
        return pixels

    def plane_from_pixels(self, pixels: Points) -> Points:
        """The points (x / z, y / z) that are seen at pixels; NaN where that is no direction before the camera."""
        seen = (pixels - self._centre) / self._focal
        kind, (reach, plane, bent) = _KINDS[self.kind], _reach(self)
        radius = _radii(seen)
        inner = kind.bend(plane, *self.coefficients)
        first = np.interp(radius, bent, inner, right=_BEFORE * inner[-1])
        found = _unwarped(self, seen, seen * (first / np.maximum(radius, _TINY))[:, None])
        straight = _rescaled(found, kind.unbend, self.coefficients)
        return np.where(_radii(straight)[:, None] <= reach, straight, np.nan)

    @property
    def displacement(self) -> float:
        """The most by which a point of the border is off the pinhole's, pixels; infinite if it is of no direction."""
        border = outline(self.intrinsics.width, self.intrinsics.height)
        moved = self.plane_from_pixels(border) * self._focal + self._centre - border
        most = float(np.linalg.norm(moved, axis=1).max())
        return most if np.isfinite(most) else np.inf

    @property
    def straight(self) -> bool:
        """Whether it is a pinhole's, to a hundredth of a pixel."""
        kind = _KINDS[self.kind]
        return (kind.bend is _same and not any(self.coefficients)) or self.displacement < _STRAIGHT

    @property
    def _focal(self) -> Float64[np.ndarray, " 2"]:
        return np.array([self.intrinsics.fx, self.intrinsics.fy])

    @property
    def _centre(self) -> Float64[np.ndarray, " 2"]:
        return np.array([self.intrinsics.cx, self.intrinsics.cy])


def lens_of_colmap(kind: str, parameters: tuple[float, ...], size: tuple[int, int], origin: str) -> Lens:
    """A lens from COLMAP's parameters: focal length or lengths, principal point, coefficients.

    Args:
        kind: COLMAP's name.
        parameters: in COLMAP's order.
        size: (width, height).
        origin: file and number of the camera, for messages.

    Raises:
        CameraError: a kind that has no pinhole (EQUIRECTANGULAR), or impossible numbers.
    """
    known = _KINDS.get(kind)
    if known is None:
        raise CameraError(
            f"{origin}: cameras of the kind {kind} are not supported: give pictures of one of {', '.join(_KINDS)}"
        )
    focal = parameters[: known.focals]
    cx, cy, *coefficients = parameters[known.focals :]
    try:
        return Lens(Intrinsics(focal[0], focal[-1], cx, cy, *size), kind, tuple(coefficients))
    except ValueError as error:
        raise CameraError(f"{origin}: {error}") from error


def neglected(lens: Lens, origin: str) -> Intrinsics:
    """The pinhole in place of a lens that displaces pixels little, for pictures that are used as they are; told.

    Args:
        lens: the lens.
        origin: where it is known from, for messages.

    Raises:
        CameraError: it displaces pixels by more than a hundredth of the picture's longer side.
    """
    if lens.straight:
        return lens.intrinsics
    limit = _NEGLECTED * max(lens.intrinsics.width, lens.intrinsics.height)
    said = f"{origin}: the lens ({lens.kind}) displaces pixels by up to {lens.displacement:.1f}"
    if lens.displacement > limit:
        raise CameraError(f"{said}, more than {limit:.1f} px can be neglected: undistort the pictures first")
    logger.info("%s px; the pictures are used as they are", said)
    return lens.intrinsics


def outline(width: int, height: int) -> Float64[np.ndarray, "n 2"]:
    """Points all around a picture, pixels: left, right, upper, lower border, as many on each."""
    x, y = np.linspace(0, width, _OUTLINE), np.linspace(0, height, _OUTLINE)
    sides = [np.stack(np.broadcast_arrays(edge, y), 1) for edge in (0.0, x[-1])]
    sides += [np.stack(np.broadcast_arrays(x, edge), 1) for edge in (0.0, y[-1])]
    return np.concatenate(sides)


# ----------------------------------------------------------------------------------------------------------------- both


def _radii(points: Points) -> Radii:
    radii: Radii = np.hypot(points[:, 0], points[:, 1])
    return radii


def _rescaled(points: Points, change: Callable[..., Radii], coefficients: tuple[float, ...]) -> Points:
    """The points with other radii."""
    if change is _same:
        return points
    radius = np.maximum(_radii(points), _TINY)
    moved: Points = points * (change(radius, *coefficients) / radius)[:, None]
    return moved


def _distorted(lens: Lens, plane: Points) -> Points:
    kind = _KINDS[lens.kind]
    bent = _rescaled(plane, kind.bend, lens.coefficients)
    return bent if kind.warp is _as_is else kind.warp(bent, *lens.coefficients)


def _reach(lens: Lens) -> tuple[float, Radii, Radii]:
    """Radius on the plane z = 1 up to which points stay in order; radii up to there, and where they come to lie."""
    plane = np.tan(np.linspace(0, _REACH, _STEPS))
    turn = np.linspace(0, 2 * np.pi, _SPOKES, endpoint=False)
    spokes = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        points = _distorted(lens, (plane[:, None, None] * spokes).reshape(-1, 2)).reshape(_STEPS, _SPOKES, 2)
        along = (points * spokes).sum(axis=2)
        grows = (np.diff(along, axis=0) > 0).all(axis=1)
    count = _STEPS if grows.all() else int(np.argmin(grows)) + 1
    return float(plane[count - 1]), plane[:count], along[:count].mean(axis=1)


def _unwarped(lens: Lens, seen: Points, first: Points) -> Points:
    """The points that the warp takes to ``seen``, by Newton's method from ``first`` on; NaN where it finds none."""
    warp = _KINDS[lens.kind].warp
    if warp is _as_is:
        return seen
    found = first
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # where there is nothing to be found
        for _ in range(_NEWTON):
            off = warp(found, *lens.coefficients) - seen
            if not (np.abs(off) > _EXACT / 100).any():
                break
            found = found - _solved(warp, lens.coefficients, found, off)
        off = warp(found, *lens.coefficients) - seen
    return np.where((np.abs(off) <= _EXACT).all(axis=1)[:, None], found, np.nan)


def _solved(warp: Callable[..., Points], coefficients: tuple[float, ...], at: Points, off: Points) -> Points:
    """The step of Newton's method, with derivatives from central differences (exact to 1e-10 of themselves)."""
    step = 1e-5
    dx, dy = (
        (warp(at + side, *coefficients) - warp(at - side, *coefficients)) / (2 * step)
        for side in (np.array([step, 0.0]), np.array([0.0, step]))
    )
    determinant = dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0]
    determinant = np.where(np.abs(determinant) > _TINY, determinant, np.nan)
    across = off[:, 0] * dy[:, 1] - off[:, 1] * dy[:, 0]
    down = dx[:, 0] * off[:, 1] - dx[:, 1] * off[:, 0]
    return np.stack([across, down], axis=1) / determinant[:, None]
