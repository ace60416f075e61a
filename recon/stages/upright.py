"""Which way is up: a world in which the floor is level, and its origin on the floor under the first camera.

An estimated world is the first camera's, and a given one may be any: a mesh in it would lie askew in Blender. People
hold cameras level, tilted perhaps, but seldom rolled: so the direction across which no camera's x axis leans is up
(Brown and Lowe 2007, section 5, who straighten panoramas by it). Where the pictures show the floor, that is sharper:
the plane about level that most points lie on and next to nothing lies beneath. Sharper still is an inertial sensor.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float, Float64

from recon.geometry import inverse, rigid
from recon.types import RigidTransform

UpFrom = Literal["auto", "floor", "cameras", "first-camera", "+x", "-x", "+y", "-y", "+z", "-z"]
"""What says which way is up: gravity if it is known, else the floor if it is seen, else the cameras (auto); the picture
of the first camera, as if it were held level; or an axis of the world that the poses were given in."""

HELD: Final = 0.02
"""How much the cameras' own up axes count beside the rule that x axes are level: they decide where all look one way."""
SAMPLED: Final = 20_000
"""Points among which the floor is looked for."""
PLANES: Final = 400
"""Planes through three points that are tried."""
TILTED: Final = np.cos(np.radians(20.0))
"""Cosine of how far the floor may be from what the cameras hold to be level."""
FACING: Final = np.cos(np.radians(35.0))
"""Cosine of how far the normals of its points may be from that."""
THICK: Final = 0.015
"""Distance from the plane within which a point is of the floor, in median distances from the cameras."""
LEAST_FLOOR: Final = 0.03
"""Part of all points that makes a floor."""
MOST_BENEATH: Final = 0.03
"""Part of all points that may lie beneath it."""

Direction = Float64[np.ndarray, "3"]
Points = Float[np.ndarray, "n 3"]
Poses = Float64[np.ndarray, "k 4 4"]


@dataclass(frozen=True, slots=True)
class Upright:
    """A level world."""

    level_from_world: RigidTransform
    """x right and z forward as the first camera looks, y down, as all worlds of recon; the origin is on the floor, or
    in the first camera where no floor is seen."""
    sentence: str
    """What said so, for a person."""


def upright(
    points: Points,
    normals: Points,
    world_from_camera: Poses,
    up_from: UpFrom = "auto",
    gravity: tuple[float, float, float] | None = None,
) -> Upright:
    """The level world of a scene.

    Args:
        points: of surfaces, in the world.
        normals: theirs, facing the cameras; zero where unknown.
        world_from_camera: the cameras that saw them, in the order of time.
        up_from: what says which way is up; a floor that is asked for and not found falls back to the cameras.
        gravity: where things fall in the world, by an inertial sensor; auto goes by it where it is known.

    Raises:
        ValueError: gravity without a direction.
    """
    if up_from == "auto" and gravity is not None:
        up, told = _against(gravity), "gravity"
    else:
        up, told = _up(world_from_camera, up_from)
    floor = _floor(points, normals, world_from_camera, up) if len(points) else None
    if floor is None:
        return Upright(_level(up, world_from_camera[0], 0.0), f"{told}; no floor is seen")
    normal, offset = floor
    if up_from == "floor" or (up_from == "auto" and gravity is None):
        up, told = normal, "the floor"
    centre = world_from_camera[0, :3, 3]
    height = float((normal @ centre - offset) / (normal @ up))
    return Upright(
        _level(up, world_from_camera[0], height), f"{told}; the first camera is {height:.2f} above the floor"
    )


def camera_up(world_from_camera: Poses) -> Direction:
    """The direction nearest to being across all x axes, and a little to where the cameras' pictures are up."""
    across, above = world_from_camera[:, :3, 0], -world_from_camera[:, :3, 1].mean(axis=0)
    system = across.T @ across / len(across) + HELD * np.eye(3)
    return _unit(np.linalg.solve(system, HELD * _unit(above)))


def _against(gravity: tuple[float, float, float]) -> Direction:
    if not (np.isfinite(gravity).all() and np.any(gravity)):
        raise ValueError(f"gravity has a direction, got {gravity}")
    return _unit(-np.array(gravity, np.float64))


def _up(world_from_camera: Poses, up_from: UpFrom) -> tuple[Direction, str]:
    if up_from in {"auto", "floor", "cameras"}:
        return camera_up(world_from_camera), "the cameras, which were held level"
    if up_from == "first-camera":
        return -world_from_camera[0, :3, 1], "the first camera's picture"
    sign = 1.0 if up_from[0] == "+" else -1.0
    return sign * np.eye(3)["xyz".index(up_from[1])], f"the {up_from} axis of the poses"


def _floor(points: Points, normals: Points, world_from_camera: Poses, up: Direction) -> tuple[Direction, float] | None:
    """Normal and offset of the floor: normal . point = offset; None where there is none."""
    step = -(-len(points) // SAMPLED)
    points, normals = points[::step].astype(np.float64), normals[::step].astype(np.float64)
    middle = np.median(world_from_camera[:, :3, 3], axis=0)
    thick = THICK * float(np.median(np.linalg.norm(points - middle, axis=1)))
    facing = (normals @ up > FACING) & ((points - middle) @ up < 0)
    best = _best_plane(points, facing, up, thick)
    if best is None:
        return None
    for _ in range(3):
        of_it = facing & (np.abs(points @ best[0] - best[1]) < thick)
        best = _fitted(points[of_it], up)
    return best


def _best_plane(
    points: Points, facing: Bool[np.ndarray, " n"], up: Direction, thick: float
) -> tuple[Direction, float] | None:
    """Through three points each: the one with the most points on it, of those that have next to none beneath."""
    candidates = points[facing]
    if len(candidates) < max(3, LEAST_FLOOR * len(points)):
        return None
    rng = np.random.default_rng(0)
    corner = candidates[rng.integers(len(candidates), size=(PLANES, 3))]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal = normal / np.where(length > 0, length, 1)
    normal *= np.sign(normal @ up)[:, None]
    best, most = None, LEAST_FLOOR * len(points)
    for each, through in zip(normal, corner[:, 0], strict=True):
        if each @ up < TILTED:
            continue
        above = (points - through) @ each
        count = int((facing & (np.abs(above) < thick)).sum())
        if count > most and (above < -3 * thick).mean() <= MOST_BENEATH:
            best, most = (each, float(each @ through)), count
    return best


def _fitted(points: Points, up: Direction) -> tuple[Direction, float]:
    """The plane of least squares."""
    middle = points.mean(axis=0)
    normal = np.linalg.svd(points - middle, full_matrices=False)[2][2]
    normal = normal * np.sign(normal @ up)
    return normal, float(normal @ middle)


def _level(up: Direction, world_from_first: RigidTransform, height: float) -> RigidTransform:
    """Origin under the first camera, which looks along z as far as that is level."""
    down, ahead = -up, world_from_first[:3, 2]
    if abs(ahead @ up) > TILTED:  # it looks straight down or up: the top of its picture is ahead
        ahead = -world_from_first[:3, 1] * np.sign(-ahead @ up)
    right = _unit(np.cross(down, ahead))
    world_from_level = rigid(
        np.stack([right, down, np.cross(right, down)], axis=1), world_from_first[:3, 3] - height * up
    )
    return inverse(world_from_level)


def _unit(vector: Direction) -> Direction:
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


__all__ = ["UpFrom", "Upright", "camera_up", "upright"]
