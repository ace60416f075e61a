"""The analytic worlds are what they claim to be: exact, upright, the same from everywhere."""

import cv2
import numpy as np
import pytest
import trimesh
from scenes import Ball, Box, Scene, TrueDisparityNetwork, hand_held, render, render_depth, rendered, room

from recon.geometry import project, rigid, transform, unproject
from recon.models import DisparityNetwork
from recon.types import Intrinsics

CAMERA = Intrinsics.from_fov(65.0, 160, 120)
FORWARD = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""world_from_camera of a camera that looks along +y, upright."""


def plain(height: float, width: float, value: int = 128) -> np.ndarray:
    return np.full((round(height * 200), round(width * 200), 3), value, np.uint8)


def test_depth_of_a_wall_is_its_distance_along_the_axis_everywhere() -> None:
    walls = Box(np.zeros(3), np.array([2.0, 3.0, 1.5]), [plain(4, 6)] * 6, inside=True)
    depth = render_depth(Scene([walls]), Intrinsics.from_fov(40.0, 64, 48), rigid(FORWARD, np.zeros(3)))
    np.testing.assert_allclose(depth, 3.0, rtol=1e-7)


def test_a_ball_is_hit_where_the_quadratic_says() -> None:
    walls = Box(np.zeros(3), np.full(3, 4.0), [plain(8, 8)] * 6, inside=True)
    ball = Ball(np.array([0.0, 2.0, 0.0]), 0.5, [plain(0.5 * np.pi, np.pi)])
    camera = Intrinsics(100.0, 100.0, 40.5, 30.5, 81, 61)
    depth = render_depth(Scene([walls, ball]), camera, rigid(FORWARD, np.zeros(3)))
    assert depth[30, 40] == pytest.approx(1.5, rel=1e-6)
    inside = (depth < 3).sum() * (1 / 100) ** 2
    # The outline of a ball at distance d is a circle of radius r / sqrt(d^2 - r^2) on the plane z = 1.
    assert inside == pytest.approx(np.pi * 0.25 / (4 - 0.25), rel=0.02)


def first_hit(origin: np.ndarray, directions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Distance along each ray to the nearest triangle (Moeller and Trumbore, 1997): the oracle."""
    corner, first, second = triangles[:, 0], *np.moveaxis(triangles[:, 1:] - triangles[:, :1], 1, 0)
    h = np.cross(directions[:, None], second)
    determinant = (first * h).sum(-1)
    to_origin = origin - corner
    u = (to_origin * h).sum(-1) / determinant
    q = np.cross(to_origin, first)
    v = (directions[:, None] * q).sum(-1) / determinant
    t = (second * q).sum(-1) / determinant
    return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1e-6), t, np.inf).min(axis=1)


def test_depth_agrees_with_triangles_of_trimesh() -> None:
    boxes = [body for body in room().bodies if isinstance(body, Box)]
    camera = Intrinsics.from_fov(65.0, 48, 36)
    y, x = np.mgrid[0.5:36, 0.5:48]
    homogeneous = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(-1, 3)
    meshes = []
    for box in boxes:
        placed = trimesh.transformations.rotation_matrix(np.radians(box.yaw), [0, 0, 1])
        placed[:3, 3] = box.centre
        meshes.append(trimesh.creation.box(2 * box.half, transform=placed).triangles)
    for pose in hand_held(3, 1.0).world_from_camera:
        directions = homogeneous @ np.linalg.inv(camera.matrix).T @ pose[:3, :3].T
        expected = first_hit(pose[:3, 3], directions, np.concatenate(meshes))
        np.testing.assert_allclose(render_depth(Scene(boxes), camera, pose).ravel(), expected, rtol=1e-6)


def test_textures_are_upright_and_not_mirrored_on_every_side() -> None:
    marked = plain(2, 2, 40)
    marked[:200, :200] = (250, 40, 40)  # upper left
    walls = Box(np.zeros(3), np.full(3, 1.0), [marked] * 6, inside=True)
    crate = Box(np.zeros(3), np.full(3, 1.0), [marked] * 6, yaw=90)
    hall = Box(np.zeros(3), np.full(3, 5.0), [plain(10, 10)] * 6, inside=True)
    camera = Intrinsics.from_fov(20.0, 40, 40)
    inner, outer = Scene([walls]), Scene([hall, crate])
    for angle in (0, 90, 180, 270):
        turn = rigid(_yaw(angle) @ FORWARD, np.zeros(3))
        away = turn @ rigid(np.eye(3), np.array([0, 0, -4.0]))
        for scene, pose in ((inner, turn), (outer, away)):
            red = render(scene, camera, pose, samples=1)[0][..., 0].astype(int)
            assert red[10, 10] > 2 * max(red[10, 30], red[30, 10], red[30, 30])


def _yaw(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_two_views_of_the_room_agree_in_depth_and_colour() -> None:
    poses = hand_held(30, 2.0).world_from_camera[[4, 16]]
    (rgb_a, depth_a), (rgb_b, depth_b) = rendered(room(), CAMERA, poses, samples=3)
    points_b = transform(np.linalg.inv(poses[1]) @ poses[0], unproject(depth_a, CAMERA))
    x, y = np.moveaxis(np.floor(project(points_b, CAMERA)), -1, 0)
    seen = (x >= 0) & (x < 160) & (y >= 0) & (y < 120)
    column, row = x[seen].astype(int), y[seen].astype(int)
    error = np.abs(depth_b[row, column] / points_b[..., 2][seen] - 1)
    assert np.median(error) < 0.003
    visible = error < 0.01
    assert visible.mean() > 0.8
    difference = np.abs(rgb_a[seen][visible].astype(int) - rgb_b[row, column][visible])
    assert np.median(difference) <= 8
    assert 60 < rgb_a.mean() < 170
    assert rgb_a.std() > 30


def test_the_walk_is_smooth_and_about_a_metre_long() -> None:
    walk = hand_held(60, 3.0)
    position = walk.world_from_camera[:, :3, 3]
    step = np.linalg.norm(np.diff(position, axis=0), axis=1)
    assert 0.8 < np.linalg.norm(position[-1] - position[0]) < 1.5
    assert step.max() < 0.05
    assert (walk.world_from_camera[:, 2, 1] < -0.5).all()  # y of the camera points down
    np.testing.assert_array_equal(walk.times, np.arange(60) * 0.05)
    np.testing.assert_array_equal(hand_held(60, 3.0).world_from_camera, walk.world_from_camera)


def test_corners_abound() -> None:
    camera = Intrinsics.from_fov(65.0, 320, 240)
    for pose in hand_held(3, 3.0).world_from_camera:
        grey = cv2.cvtColor(render(room(), camera, pose)[0], cv2.COLOR_RGB2GRAY)
        assert len(cv2.SIFT_create().detect(grey)) > 300


@pytest.fixture
def views() -> list[tuple[np.ndarray, np.ndarray]]:
    camera = Intrinsics.from_fov(65.0, 32, 24)
    return rendered(room(), camera, hand_held(6, 1.0).world_from_camera, samples=1)


def test_the_true_network_is_affine_in_inverse_depth_and_every_window_differs(views: list) -> None:
    network: DisparityNetwork[bytes] = TrueDisparityNetwork(views)
    features = network.encode([rgb for rgb, _ in views])
    first, second = network.decode(features[:4], (24, 32)), network.decode(features[2:], (24, 32))
    inverse = 1 / np.stack([depth for _, depth in views])
    for maps, truth in ((first, inverse[:4]), (second, inverse[2:])):
        scale, shift = np.polyfit(truth.ravel(), maps.ravel(), 1)
        np.testing.assert_allclose(maps, scale * truth + shift, rtol=1e-5)
        assert scale > 0
    assert not np.allclose(first[2:], second[:2], rtol=0.01)
    np.testing.assert_array_equal(network.decode(features[:4], (24, 32)), first)
    assert network.decode(features[:1], (12, 16)).shape == (1, 12, 16)


def test_the_true_network_refuses_what_it_does_not_know(views: list) -> None:
    network = TrueDisparityNetwork(views, window=4)
    with pytest.raises(KeyError, match="not shown"):
        network.encode([np.zeros((24, 32, 3), np.uint8)])
    with pytest.raises(ValueError, match="6 pictures in a window of 4"):
        network.decode(network.encode([rgb for rgb, _ in views]), (24, 32))
