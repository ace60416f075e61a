"""Projection and rigid transforms: inverses of each other, and equal to OpenCV and Open3D."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import depth_maps, intrinsics, rigid_transforms, seeds

from recon.geometry import inverse, pixel_grid, project, rigid, transform, unproject
from recon.types import Intrinsics

CAMERA = Intrinsics(500.0, 520.0, 330.0, 235.0, 640, 480)


@given(data=st.data(), camera=intrinsics())
def test_project_undoes_unproject_at_every_pixel(data: st.DataObject, camera: Intrinsics) -> None:
    depth = data.draw(depth_maps(camera.width, camera.height))
    pixels = project(unproject(depth, camera), camera)
    known = np.isfinite(depth)
    np.testing.assert_allclose(pixels[known], pixel_grid(camera.width, camera.height)[known], atol=1e-3)
    assert np.isnan(pixels[~known]).all()


def test_unproject_is_opencvs_reprojection_with_the_half_pixel_moved() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 5, (480, 640)).astype(np.float32)
    opencv = CAMERA.matrix - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    expected = cv2.rgbd.depthTo3d(depth, opencv) if hasattr(cv2, "rgbd") else None
    if expected is None:
        columns, rows = np.meshgrid(np.arange(640.0), np.arange(480.0))
        rays = cv2.undistortPoints(np.stack([columns, rows], -1).reshape(-1, 1, 2), opencv, None).reshape(480, 640, 2)
        expected = np.dstack([rays * depth[..., None], depth])
    np.testing.assert_allclose(unproject(depth, CAMERA), expected, rtol=1e-5, atol=1e-6)


@given(pose=rigid_transforms(), seed=seeds)
def test_project_is_opencvs_with_the_half_pixel_moved(pose: np.ndarray, seed: int) -> None:
    camera_from_world = inverse(pose)
    points = transform(pose, np.random.default_rng(seed).uniform([-1, -1, 1], [1, 1, 3], (20, 3)))
    opencv = CAMERA.matrix - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    rotation, _ = cv2.Rodrigues(camera_from_world[:3, :3])
    expected, _ = cv2.projectPoints(points, rotation, camera_from_world[:3, 3], opencv, None)
    # 1e4 m from the origin, half a million of float64's digits remain; OpenCV's axis and angle near half a turn fewer.
    np.testing.assert_allclose(project(transform(camera_from_world, points), CAMERA), expected[:, 0] + 0.5, atol=0.02)


def test_points_behind_the_camera_have_no_picture() -> None:
    points = np.array([[0.0, 0, 1], [0, 0, 0], [0, 0, -1], [0, 0, np.nan]])
    assert np.isfinite(project(points, CAMERA)).all(axis=1).tolist() == [True, False, False, False]


def test_the_centre_of_the_first_pixel_is_at_one_half() -> None:
    assert pixel_grid(3, 2)[0, 0].tolist() == [0.5, 0.5]
    assert pixel_grid(3, 2)[1, 2].tolist() == [2.5, 1.5]


@given(a_from_b=rigid_transforms(), b_from_c=rigid_transforms())
def test_inverse_is_the_matrix_inverse(a_from_b: np.ndarray, b_from_c: np.ndarray) -> None:
    np.testing.assert_allclose(inverse(a_from_b) @ a_from_b, np.eye(4), atol=1e-9 * max(1, np.abs(a_from_b).max()))
    both = inverse(np.stack([a_from_b, b_from_c]))
    np.testing.assert_allclose(both[1], np.linalg.inv(b_from_c), atol=1e-9 * max(1, np.abs(b_from_c).max()))


@given(a_from_b=rigid_transforms(), b_from_c=rigid_transforms(), seed=seeds)
def test_transforms_compose(a_from_b: np.ndarray, b_from_c: np.ndarray, seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((10, 3))
    one = transform(a_from_b, transform(b_from_c, points))
    np.testing.assert_allclose(transform(a_from_b @ b_from_c, points), one, atol=1e-8)


@given(pose=rigid_transforms(), seed=seeds)
def test_transform_is_the_homogeneous_product(pose: np.ndarray, seed: int) -> None:
    points = np.random.default_rng(seed).standard_normal((2, 5, 3))
    homogeneous = np.concatenate([points, np.ones((2, 5, 1))], axis=-1)
    np.testing.assert_allclose(transform(pose, points), (homogeneous @ pose.T)[..., :3], atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_keep_their_precision(dtype: type) -> None:
    assert transform(np.eye(4), np.ones((2, 3), dtype)).dtype == dtype


def test_rigid_puts_rotation_and_translation_where_they_belong() -> None:
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = transform(rigid(quarter, np.array([1.0, 2, 3])), np.array([[1.0, 0, 0]]))
    np.testing.assert_allclose(moved, [[1, 3, 3]])


@given(camera=intrinsics())
def test_a_resized_camera_sees_the_same_directions(camera: Intrinsics) -> None:
    other = camera.scaled(3 * camera.width, 2 * camera.height)
    points = np.random.default_rng(0).uniform([-1, -1, 1], [1, 1, 3], (20, 3))
    np.testing.assert_allclose(project(points, other), project(points, camera) * [3, 2], rtol=1e-9, atol=1e-9)
