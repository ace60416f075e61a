import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from recon.errors import ReconError
from recon.geometry import pixel_grid, rigid, unproject
from recon.stages.fuse import CloudFuser, View, fuse, normals_from_depth, view_of
from recon.types import Frame, Intrinsics, PointCloud, PosedFrame
from recon.voxels import auto_voxel

CAMERA = Intrinsics.from_fov(70.0, 64, 48)


def view(count: int, seed: int = 0, extent: float = 1.0) -> View:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    return View(
        rng.uniform(-extent, extent, (count, 3)).astype(np.float32),
        rng.integers(0, 256, (count, 3), np.uint8),
        (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(np.float32),
        rng.uniform(0.1, 10, count).astype(np.float32),
    )


def part(whole: View, rows: object) -> View:
    return View(*(array[rows] for array in whole))


def fused(views: list[View], voxel: float, min_count: int = 1) -> PointCloud:
    fuser = CloudFuser(voxel)
    for each in views:
        fuser.add(*each)
    return fuser.cloud(min_count=min_count)


def linear_from_srgb(value: np.ndarray) -> np.ndarray:
    value = value / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oracle(whole: View, voxel: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions, linear colours, normals and counts by numpy.unique in float64, sorted by voxel."""
    voxels = np.floor(whole.points.astype(float) / voxel).astype(int)
    _, inverse, counts = np.unique(voxels, axis=0, return_inverse=True, return_counts=True)
    weights = whole.weights.astype(float)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.stack([np.bincount(inverse, weights * values[:, axis]) for axis in range(3)], axis=-1)
        return sums / np.bincount(inverse, weights)[:, None]

    normals = mean(whole.normals.astype(float))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return mean(whole.points.astype(float)), mean(linear_from_srgb(whole.colors)), normals, counts


def by_voxel(cloud: PointCloud, voxel: float) -> np.ndarray:
    """The order of the oracle. (A mean may round onto the border of its voxel: it is moved to the middle first.)"""
    voxels = np.floor(cloud.points.astype(float) / voxel).astype(int)
    return np.lexsort(voxels.T[::-1])


@given(count=st.integers(1, 3000), voxel=st.floats(0.05, 3), seed=st.integers(0, 99))
def test_means_are_those_of_numpy(count: int, voxel: float, seed: int) -> None:
    whole = view(count, seed)
    points, colors, normals, _ = oracle(whole, voxel)
    cloud = fused([whole], voxel)
    order = by_voxel(cloud, voxel)
    assert len(cloud) == len(points)
    np.testing.assert_allclose(cloud.points[order], points, atol=2e-6)
    np.testing.assert_allclose(linear_from_srgb(cloud.colors[order]), colors, atol=0.005)
    agreement = np.einsum("ij,ij->i", cloud.normals[order], normals)
    assert (agreement > 1 - 1e-3).all()


def test_more_voxels_than_the_first_table_holds() -> None:
    whole = view(400_000, extent=10)
    points, _, _, counts = oracle(whole, 0.25)
    assert len(points) > 2 * (1 << 16)
    cloud = fused([whole], 0.25)
    np.testing.assert_allclose(cloud.points[by_voxel(cloud, 0.25)], points, atol=1e-5)
    for least in (2, 3, 5):
        assert len(fused([whole], 0.25, min_count=least)) == (counts >= least).sum()


@given(cuts=st.lists(st.integers(0, 1000), max_size=6), seed=st.integers(0, 99))
def test_how_points_are_split_does_not_matter(cuts: list[int], seed: int) -> None:
    whole = view(1000, seed)
    borders = [0, *sorted(cuts), 1000]
    pieces = [part(whole, slice(a, b)) for a, b in pairwise(borders)]
    together, apart = fused([whole], 0.2), fused(pieces, 0.2)
    np.testing.assert_array_equal(together.points, apart.points)
    np.testing.assert_array_equal(together.colors, apart.colors)
    np.testing.assert_array_equal(together.normals, apart.normals)


@given(seed=st.integers(0, 99))
def test_the_order_of_points_does_not_matter(seed: int) -> None:
    whole = view(2000, seed)
    shuffled = part(whole, np.random.default_rng(seed).permutation(2000))
    a, b = fused([whole], 0.3), fused([shuffled], 0.3)
    rows, columns = by_voxel(a, 0.3), by_voxel(b, 0.3)
    np.testing.assert_allclose(a.points[rows], b.points[columns], atol=1e-6)
    assert np.abs(a.colors[rows].astype(int) - b.colors[columns]).max() <= 1
    np.testing.assert_allclose(a.normals[rows], b.normals[columns], atol=1e-3)


@given(scale=st.floats(1e-3, 1e3))
def test_only_the_ratio_of_weights_matters(scale: float) -> None:
    whole = view(500)
    scaled = whole._replace(weights=whole.weights * np.float32(scale))
    np.testing.assert_allclose(fused([scaled], 0.3).points, fused([whole], 0.3).points, atol=1e-6)


def test_a_million_points_in_one_voxel_lose_no_precision() -> None:
    rng = np.random.default_rng(0)
    points = (100.05 + rng.uniform(-0.04, 0.04, (1_000_000, 3))).astype(np.float32)
    ones = np.ones(len(points), np.float32)
    cloud = fused([View(points, np.zeros_like(points, np.uint8), np.zeros_like(points), ones)], 0.1)
    np.testing.assert_allclose(cloud.points, points.astype(float).mean(axis=0)[None], atol=2e-5)


def test_colours_mix_as_light() -> None:
    """Black and white pixels side by side look like sRGB 188 from afar, not like 128."""
    colors = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    zeros = np.zeros((2, 3), np.float32)
    cloud = fused([View(zeros, colors, zeros, np.ones(2, np.float32))], 1.0)
    np.testing.assert_array_equal(cloud.colors, [[188, 188, 188]])
    np.testing.assert_array_equal(cloud.normals, [[0, 0, 0]])


def test_every_colour_survives_alone() -> None:
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    points = np.arange(256, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    cloud = fused([View(points, levels, np.zeros_like(points), np.full(256, 0.3, np.float32))], 0.5)
    np.testing.assert_array_equal(cloud.colors, levels)


def test_the_border_of_the_world() -> None:
    reach = 2**20
    inside = np.array([[reach - 0.5, -reach, 0.5]], np.float32)
    rest = (np.zeros((1, 3), np.uint8), np.zeros((1, 3), np.float32), np.ones(1, np.float32))
    fuser = CloudFuser(1.0)
    fuser.add(inside, *rest)
    np.testing.assert_allclose(fuser.cloud().points, inside, atol=0.07)
    for beyond in (reach, -reach - 1):
        with pytest.raises(ReconError, match=r"voxels of 1 \(at most 1048576 voxels.*larger voxels"):
            fuser.add(np.array([[0, beyond, 0]], np.float32), *rest)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v._replace(points=v.points * np.float32(np.nan)), "points must be finite"),
        (lambda v: v._replace(weights=v.weights * 0), "weights must be finite and positive"),
        (lambda v: v._replace(weights=v.weights / np.float32(0)), "weights must be finite and positive"),
        (lambda v: v._replace(weights=v.weights[:, None]), "n 3|weights"),
        (lambda v: v._replace(normals=v.normals[1:]), "n 3|normals"),
    ],
)
def test_what_cannot_be_averaged_is_refused(change: Callable[[View], View], message: str) -> None:
    with np.errstate(divide="ignore"):
        wrong = change(view(5))
    with pytest.raises((ValueError, TypeError), match=message):
        CloudFuser(0.1).add(*wrong)


@pytest.mark.parametrize("voxel", [0.0, -1.0, np.nan, np.inf])
def test_a_voxel_has_a_size(voxel: float) -> None:
    with pytest.raises(ValueError, match="positive size"):
        CloudFuser(voxel)


def test_nothing_fuses_to_nothing() -> None:
    assert len(fuse([], 0.1)) == 0


def test_memory_grows_with_voxels_and_not_with_points() -> None:
    fuser = CloudFuser(0.1)
    whole = view(20_000)
    fuser.add(*whole)
    grid = fuser._grid
    for _ in range(20):
        fuser.add(*whole)
    assert fuser._grid is grid
    assert len(fuser) == len(oracle(whole, 0.1)[0])


def posed_plane(pose: np.ndarray, segment: int = 0) -> PosedFrame:
    """The plane z = 3 of the world, coloured by position, as the camera at ``pose`` sees it."""
    rays = np.concatenate([pixel_grid(64, 48), np.ones((48, 64, 1))], axis=-1) @ np.linalg.inv(CAMERA.matrix).T
    rays = rays @ pose[:3, :3].T
    depth = (3 - pose[2, 3]) / rays[..., 2]
    spot = (pose[:3, 3] + rays * depth[..., None])[..., :2]
    rgb = np.concatenate([128 + 20 * spot, np.full((48, 64, 1), 90.0)], axis=-1)
    frame = Frame(0, 0.0, np.clip(rgb, 0, 255).astype(np.uint8))
    return PosedFrame(frame, depth.astype(np.float32), CAMERA, pose, segment)


def tilted(index: int) -> np.ndarray:
    angles = [0.05 * index, -0.04 * index, 0.1 * index]
    return rigid(Rotation.from_rotvec(angles).as_matrix(), np.array([0.1 * index, -0.05 * index, 0.1 * index]))


def test_a_plane_seen_from_many_places_is_one_plane_that_faces_them() -> None:
    cloud = fuse((posed_plane(tilted(index)) for index in range(8)), 0.07)
    np.testing.assert_allclose(cloud.points[:, 2], 3, atol=1e-5)
    np.testing.assert_allclose(cloud.normals, np.tile([0, 0, -1], (len(cloud), 1)), atol=1e-3)
    np.testing.assert_allclose(cloud.colors[:, 0], 128 + 20 * cloud.points[:, 0], atol=1.5)
    voxels = np.unique(np.floor(cloud.points[:, :2] / 0.07), axis=0)
    assert len(voxels) == len(cloud), "one layer"


def test_unknown_depth_is_left_out() -> None:
    frame = posed_plane(np.eye(4))
    depth = np.array(frame.depth)
    depth[::2] = np.nan
    holed = PosedFrame(frame.frame, depth, CAMERA, frame.world_from_camera, 0)
    seen = view_of(holed)
    assert len(seen.points) == 24 * 64
    np.testing.assert_allclose(seen.weights, 1 / 9, rtol=1e-6)
    assert not seen.normals.any(), "no neighbour above or below: no normal"


def test_segments_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="share no world"):
        fuse([posed_plane(np.eye(4)), posed_plane(np.eye(4), segment=1)], 0.1)


@given(tilt=st.tuples(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7)), distance=st.floats(0.1, 100))
def test_normals_of_a_plane_are_exact(tilt: tuple[float, float], distance: float) -> None:
    normal = np.array([*tilt, -1.0]) / np.linalg.norm([*tilt, 1.0])
    rays = unproject(np.ones((48, 64), np.float32), CAMERA).astype(float)
    depth = -distance / np.minimum(rays @ normal, -0.05)
    depth[rays @ normal > -0.05] = np.nan
    normals = normals_from_depth(depth.astype(np.float32), CAMERA)
    known = normals.any(axis=-1)
    assert known[np.isfinite(depth)].mean() > 0.99
    np.testing.assert_allclose(normals[known], np.tile(normal, (known.sum(), 1)), atol=2e-3)


def test_normals_of_a_sphere_point_outwards() -> None:
    rays = unproject(np.ones((48, 64), np.float32), CAMERA).astype(float)
    directions = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    along = directions @ np.array([0, 0, 3.0])
    inside = along**2 - 9 + 1.0
    range_ = along - np.sqrt(np.where(inside > 0, inside, np.nan))
    points = directions * range_[..., None]
    normals = normals_from_depth(points[..., 2].astype(np.float32), CAMERA)
    outward = points - np.array([0, 0, 3.0])
    facing = -np.einsum("ijk,ijk->ij", outward, directions) > 0.5  # away from the rim
    assert (np.einsum("ijk,ijk->ij", normals, outward)[facing] > 0.99).all()


def test_auto_voxel_follows_pixels_and_noise() -> None:
    camera = Intrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
    assert auto_voxel(2.0, camera) == pytest.approx(2.0 * 0.005), "1.5 pixels are 0.3 % of the depth: too fine"
    assert auto_voxel(2.0, camera.scaled(160, 120)) == pytest.approx(1.5 * 2 / 125)


def test_numba_is_not_imported_before_it_is_needed() -> None:
    code = "import sys, recon.stages.fuse; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


READ_ONLY = """
import numba.core.caching as caching
caching.CacheImpl._locator_classes = []
from recon.stages.fuse import CloudFuser
import numpy as np
f = CloudFuser(1.0)
f.add(np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.float32), np.ones(3, np.float32))
assert len(f) == 1
"""


def test_it_works_where_nothing_can_be_written() -> None:
    """numba finds no folder for its cache in a read-only installation without a home."""
    subprocess.run([sys.executable, "-c", READ_ONLY], check=True, cwd=Path(__file__).parents[1])
