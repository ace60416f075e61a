"""Small scenes for the tests of files."""

import numpy as np

from recon.io.scene import CameraPath, Notes, Scene, Shape
from recon.types import Intrinsics, Mesh, PointCloud, TexturedMesh

SWATCH = (188, 64, 32)
"""A colour that looks washed out (223, 137, 99) where sRGB is taken for linear light."""

_QUADS = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


def box(size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Mesh:
    """A box from the origin to ``size``, seen from outside: 24 vertices, 12 triangles, every colour the swatch."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float32) * np.float32(size)
    vertices = corners[np.array(_QUADS).reshape(-1)]
    starts = 4 * np.arange(6)[:, None]
    triangles = np.concatenate([starts + np.array(three) for three in ((0, 1, 2), (0, 2, 3))]).astype(np.int32)
    edges = vertices[triangles]
    normals = np.zeros_like(vertices)
    faces = np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0])
    normals[triangles] = (faces / np.linalg.norm(faces, axis=1, keepdims=True))[:, None]
    return Mesh(vertices, triangles, np.full((24, 3), SWATCH, np.uint8), normals + np.float32(0))


def quadrants() -> np.ndarray:
    """A picture of four colours: swatch, green above; blue, dark below."""
    texture = np.zeros((32, 64, 3), np.uint8)
    texture[:16, :32], texture[:16, 32:] = SWATCH, (16, 200, 40)
    texture[16:, :32], texture[16:, 32:] = (20, 40, 220), (2, 3, 5)
    return texture


def textured_box(size: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> TexturedMesh:
    """The box with the same picture on each side."""
    uv = np.tile(np.array([[0.25, 0.75], [0.75, 0.75], [0.75, 0.25], [0.25, 0.25]], np.float32), (6, 1))
    mesh, texture = box(size), quadrants()
    rows, columns = (uv[:, 1] * 32).astype(int), (uv[:, 0] * 64).astype(int)
    return TexturedMesh(Mesh(mesh.vertices, mesh.triangles, texture[rows, columns], mesh.normals), uv, texture)


def cloud(count: int, seed: int = 0) -> PointCloud:
    """Random points, colours and unit normals."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    return PointCloud(
        rng.normal(scale=10, size=(count, 3)).astype(np.float32),
        rng.integers(0, 256, (count, 3), np.uint8),
        (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
    )


def random_mesh(count: int, seed: int) -> Mesh:
    """Random triangles that use every vertex; none has a corner twice."""
    points, rng = cloud(count, seed), np.random.default_rng(seed + 1)
    second = rng.integers(1, count - 1, count)
    third = rng.integers(second + 1, count)
    triangles = ((np.arange(count)[:, None] + np.stack([0 * second, second, third], axis=1)) % count).astype(np.int32)
    return Mesh(points.points, triangles, points.colors, points.normals)


def walk(count: int = 5) -> CameraPath:
    """A camera that steps to the right and turns about the vertical axis, all the way round."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 0], poses[:, 0, 2] = np.cos(angle), np.sin(angle)
    poses[:, 2, 0], poses[:, 2, 2] = -np.sin(angle), np.cos(angle)
    poses[:, :3, 3] = np.stack([angle, 0 * angle, 0 * angle], axis=1)
    return CameraPath(2.0 + np.arange(count) * 0.5, poses, Intrinsics(500.0, 510.0, 330.0, 238.0, 640, 480))


def scene(shape: Shape, **changes: object) -> Scene:
    """A scene with y up and everything that can be said of it."""
    notes = Notes("metres", 0.03, {"made by": "recon from clip.mp4"})
    return Scene(**{"shape": shape, "up": "y", "camera": walk(), "notes": notes, **changes})  # type: ignore[arg-type]
