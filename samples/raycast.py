"""Exact worlds: boxes and spheres with procedural textures, seen by a pinhole camera through numpy ray casting.

The world is in metres with z up; cameras have OpenCV's axes; image coordinates have a corner origin (``recon.types``).
Depth is that of the ray through each pixel's centre, exact to float32. Light is baked into the textures once (Lambert
from an area lamp with soft shadows, plus ambient light with occlusion), so a surface looks the same from everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from recon.geometry import pixel_grid
from recon.types import DepthMap, Intrinsics, Picture, RigidTransform

TEXELS = 200
"""Texels for each metre of surface."""
LIGHT_TEXELS = 10
"""Samples of the light for each metre of surface."""
LAMP = np.array([0.2, -0.2, 2.5])
AMBIENT, DIRECT = 0.64, 3.3
REACH = 0.8
"""Metres within which a surface shades its neighbours from the ambient light."""
OFF_SURFACE = 1e-4
"""Metres by which a ray must leave the surface that it starts on."""

RIGHT = np.array([[0, -1, 0], [0, 1, 0], [1, 0, 0], [-1, 0, 0], [1, 0, 0], [1, 0, 0]])
DOWN = np.array([[0, 0, -1], [0, 0, -1], [0, 0, -1], [0, 0, -1], [0, 1, 0], [0, -1, 0]])
NORMAL = np.array([[-1, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, -1], [0, 0, 1]])
"""For a face whose visible side looks along -x, +x, -y, +y, -z, +z: the texture's axes in the box's frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """A cuboid, turned about its vertical axis; ``inside`` makes it a room that is seen from within."""

    centre: np.ndarray
    half: np.ndarray
    """Half the edges, metres."""
    textures: Sequence[np.ndarray]
    """Six pictures, uint8, in the order of ``NORMAL``, each upright for who looks at its visible side."""
    yaw: float = 0.0
    """Degrees, counter-clockwise seen from above."""
    inside: bool = False

    @property
    def world_from_box(self) -> np.ndarray:
        """The rotation (3, 3)."""
        c, s = np.cos(np.radians(self.yaw)), np.sin(np.radians(self.yaw))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    def crossings(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays (3, n) enter and leave, in lengths of their directions; enter > leave means a miss.

        Source: Kay and Kajiya, Ray tracing complex scenes, SIGGRAPH 1986 (the slab method).
        """
        box_from_world = self.world_from_box.T
        start = box_from_world @ (origins - self.centre[:, None])
        along = box_from_world @ directions
        along = np.where(np.abs(along) < 1e-12, 1e-12, along)
        half = self.half[:, None]
        low, high = (-half - start) / along, (half - start) / along
        return np.minimum(low, high).max(axis=0), np.maximum(low, high).min(axis=0)

    def texture_position(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of the texture, and metres right and down in it, for points (3, n) on the surface."""
        local = self.world_from_box.T @ (points - self.centre[:, None])
        axis = (np.abs(local) / self.half[:, None]).argmax(axis=0)
        outward = np.take_along_axis(local, axis[None], axis=0)[0] > 0
        face = 2 * axis + (outward != self.inside)
        corner = local + self.half[:, None] * np.where((RIGHT + DOWN)[face].T < 0, -1, 1)
        return face, (corner * RIGHT[face].T).sum(axis=0), (corner * DOWN[face].T).sum(axis=0)

    def surface(self, face: int, right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals (3, n) of positions in a texture, metres."""
        side = -NORMAL[face] if self.inside else NORMAL[face]
        corner = self.half * (side - RIGHT[face] - DOWN[face])
        local = corner[:, None] + RIGHT[face][:, None] * right + DOWN[face][:, None] * down
        normals = np.repeat(NORMAL[face][:, None].astype(float), len(right), axis=1)
        return self.world_from_box @ local + self.centre[:, None], self.world_from_box @ normals


@dataclass(frozen=True, slots=True, eq=False)
class Ball:
    """A sphere whose one texture is a map of longitude and latitude, pi radii high and two pi radii wide."""

    centre: np.ndarray
    radius: float
    textures: Sequence[np.ndarray]
    inside: bool = False

    def crossings(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rays (3, n) enter and leave, in lengths of their directions; enter > leave means a miss."""
        start = origins - self.centre[:, None]
        a = (directions**2).sum(axis=0)
        b = (start * directions).sum(axis=0)
        c = (start**2).sum(axis=0) - self.radius**2
        root = np.sqrt(np.maximum(b**2 - a * c, 0))
        miss = b**2 < a * c
        return np.where(miss, np.inf, (-b - root) / a), np.where(miss, -np.inf, (-b + root) / a)

    def texture_position(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Number of the texture, and metres right and down in it, for points (3, n) on the surface."""
        x, y, z = (points - self.centre[:, None]) / self.radius
        longitude, latitude = np.arctan2(y, x) + np.pi, np.arccos(np.clip(z, -1, 1))
        return np.zeros(len(x), np.int64), longitude * self.radius, latitude * self.radius

    def surface(self, face: int, right: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # noqa: ARG002 - a ball has one
        """Points and normals (3, n) of positions in the texture, metres."""
        longitude, latitude = right / self.radius - np.pi, down / self.radius
        rim = np.sin(latitude)
        normals = np.stack([rim * np.cos(longitude), rim * np.sin(longitude), np.cos(latitude)])
        return normals * self.radius + self.centre[:, None], normals


class Scene:
    """Bodies under a lamp, ready to be looked at; the first body is the room around the others.

    All lit textures lie in one flat buffer, so that one lookup colours the hits of all bodies.
    """

    def __init__(self, bodies: Sequence[Box | Ball]) -> None:
        self.bodies = tuple(bodies)
        textures = [texture for body in self.bodies for texture in body.textures]
        self._first = np.cumsum([0, *(len(body.textures) for body in self.bodies)])
        self._shape = np.array([texture.shape[:2] for texture in textures])
        self._base = np.cumsum([0, *self._shape.prod(axis=1)])
        self._texels = np.concatenate([lit.reshape(-1, 3) for lit in self._lit(textures)])

    def _lit(self, textures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The textures times the light that falls on them."""
        faces = [(body, face) for body in self.bodies for face in range(len(body.textures))]
        grids = [_light_grid(texture.shape[0], texture.shape[1]) for texture in textures]
        placed = [body.surface(face, right, down) for (body, face), (_, right, down) in zip(faces, grids, strict=True)]
        light = self._light(*(np.concatenate(parts, axis=1) for parts in zip(*placed, strict=True)))
        split = np.split(light, np.cumsum([len(right) for _, right, _ in grids])[:-1])
        return [
            _multiplied(texture, values.reshape(shape))
            for texture, values, (shape, _, _) in zip(textures, split, grids, strict=True)
        ]

    def _light(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Irradiance (n,) at surface points (3, n): an area lamp with soft shadows, and ambient occlusion."""
        rng = np.random.default_rng(0)
        start = points + normals * OFF_SURFACE * 10
        light = np.zeros(points.shape[1])
        lamps = LAMP + np.stack([*(np.mgrid[-1:1:4j, -1:1:4j].reshape(2, -1) * 0.45), np.zeros(16)], axis=1)
        for lamp in lamps:
            to_lamp = lamp[:, None] - start
            distance = np.sqrt((to_lamp**2).sum(axis=0))
            cosine = np.maximum((to_lamp * normals).sum(axis=0) / distance, 0)
            free = ~self._blocked(start, to_lamp, np.ones(len(distance)))
            light += free * cosine / (1 + distance**2) * DIRECT / len(lamps)
        spread = rng.normal(size=(16, 3))
        for towards in spread / np.sqrt((spread**2).sum(axis=1, keepdims=True)):
            # A normal plus a uniform unit vector is a cosine-weighted direction.
            around = normals + towards[:, None] * 0.999
            around /= np.sqrt((around**2).sum(axis=0))
            light += ~self._blocked(start, around, np.full(len(light), REACH)) * (AMBIENT / len(spread))
        return light

    def _blocked(self, origins: np.ndarray, directions: np.ndarray, reach: np.ndarray) -> np.ndarray:
        blocked = np.zeros(directions.shape[1], bool)
        for body in self.bodies:
            enter, leave = body.crossings(origins, directions)
            if body.inside:
                blocked |= leave < reach
            else:
                blocked |= (enter <= leave) & (leave > 0) & (enter < reach)
        return blocked

    def cast(self, origin: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (n,) in lengths of the directions (3, n), and number of the body that each ray hits first."""
        nearest = np.full(directions.shape[1], np.inf)
        hit = np.zeros(directions.shape[1], np.int64)
        for number, body in enumerate(self.bodies):
            enter, leave = body.crossings(origin[:, None], directions)
            distance = leave if body.inside else enter
            nearer = (enter <= leave) & (distance > OFF_SURFACE) & (distance < nearest)
            nearest[nearer] = distance[nearer]
            hit[nearer] = number
        return nearest, hit

    def colours(self, points: np.ndarray, hit: np.ndarray) -> np.ndarray:
        """Lit colours (n, 3), float32, of surface points (3, n) of the bodies ``hit`` (n,)."""
        face = np.zeros(len(hit), np.int64)
        right, down = np.zeros(len(hit)), np.zeros(len(hit))
        for number, body in enumerate(self.bodies):
            chosen = np.flatnonzero(hit == number)
            if len(chosen):
                local, right[chosen], down[chosen] = body.texture_position(points[:, chosen])
                face[chosen] = self._first[number] + local
        return self._bilinear(face, right * TEXELS - 0.5, down * TEXELS - 0.5)

    def _bilinear(self, face: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
        height, width = self._shape[face].T
        column, row = np.clip(column, 0, width - 1.001), np.clip(row, 0, height - 1.001)
        left, upper = column.astype(np.int64), row.astype(np.int64)
        x, y = (column - left).astype(np.float32)[:, None], (row - upper).astype(np.float32)[:, None]
        at = self._base[face] + upper * width + left
        top = self._texels[at] * (1 - x) + self._texels[at + 1] * x
        bottom = self._texels[at + width] * (1 - x) + self._texels[at + width + 1] * x
        return top * (1 - y) + bottom * y


def _light_grid(height: int, width: int) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Shape of the coarse grid over a texture, and the metres right and down of its cells' centres."""
    shape = tuple(max(round(size / TEXELS * LIGHT_TEXELS), 2) for size in (height, width))
    cells = pixel_grid(shape[1], shape[0]) * np.array([width / shape[1], height / shape[0]]) / TEXELS
    return (shape[0], shape[1]), cells[..., 0].ravel(), cells[..., 1].ravel()


def _multiplied(texture: np.ndarray, light: np.ndarray) -> np.ndarray:
    smooth = cv2.resize(light, texture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(texture * smooth[..., None], 0, 255).astype(np.uint8)


def camera_rays(intrinsics: Intrinsics) -> np.ndarray:
    """Directions (3, n) in the camera frame of the rays through all pixel centres, with z = 1."""
    grid = pixel_grid(intrinsics.width, intrinsics.height).reshape(-1, 2)
    x, y = (grid[:, 0] - intrinsics.cx) / intrinsics.fx, (grid[:, 1] - intrinsics.cy) / intrinsics.fy
    return np.stack([x, y, np.ones(len(x))])


def render(
    scene: Scene, intrinsics: Intrinsics, world_from_camera: RigidTransform, *, samples: int = 2
) -> tuple[Picture, DepthMap]:
    """What a camera sees: the picture, and the exact depth along z, metres, of every pixel's centre.

    The picture is the mean of ``samples`` x ``samples`` rays in each pixel.
    """
    return _picture(scene, intrinsics, world_from_camera, samples), render_depth(scene, intrinsics, world_from_camera)


def render_depth(scene: Scene, intrinsics: Intrinsics, world_from_camera: RigidTransform) -> DepthMap:
    """The exact depth along z, metres, of every pixel's centre, float32 (h, w)."""
    directions = world_from_camera[:3, :3] @ camera_rays(intrinsics)
    depth, _ = scene.cast(world_from_camera[:3, 3], directions)
    return depth.reshape(intrinsics.height, intrinsics.width).astype(np.float32)


def _picture(scene: Scene, intrinsics: Intrinsics, world_from_camera: RigidTransform, samples: int) -> Picture:
    height, width = intrinsics.height, intrinsics.width
    directions = world_from_camera[:3, :3] @ camera_rays(intrinsics.scaled(width * samples, height * samples))
    origin = world_from_camera[:3, 3]
    distance, hit = scene.cast(origin, directions)
    fine = scene.colours(origin[:, None] + distance * directions, hit)
    mean = fine.reshape(height, samples, width, samples, 3).mean(axis=(1, 3))
    return np.rint(mean).astype(np.uint8)
