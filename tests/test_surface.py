import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from recon.errors import MissingPackageError, ReconError
from recon.evaluation.clouds import Surface, compare_surfaces
from recon.geometry import pixel_grid, rigid
from recon.stages.surface import (
    SurfaceFuser,
    depth_mesh,
    filled,
    fitting_voxel,
    lods,
    poisson,
    simplified,
    surface,
    without_small_parts,
)
from recon.types import Frame, Intrinsics, Mesh, PointCloud, PosedFrame

CAMERA = Intrinsics.from_fov(60.0, 160, 120)
VOXEL = 0.02
GRAY = np.array([90, 160, 40], np.uint8)


def rays(pose: np.ndarray, camera: Intrinsics = CAMERA) -> tuple[np.ndarray, np.ndarray]:
    """Origin, and directions (h, w, 3) of length one along z, in the world."""
    x, y = np.moveaxis(pixel_grid(camera.width, camera.height), -1, 0)
    local = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], axis=-1)
    return pose[:3, 3], local @ pose[:3, :3].T


def plane_depth(pose: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """Depth of the plane normal.x = offset; infinite where it is not ahead."""
    origin, directions = rays(pose)
    with np.errstate(divide="ignore"):
        depth = (offset - origin @ normal) / (directions @ normal)
    return np.where(depth > 0, depth, np.inf)


def ball_depth(pose: np.ndarray, centre: np.ndarray, radius: float) -> np.ndarray:
    origin, directions = rays(pose)
    a = (directions**2).sum(-1)
    b = directions @ (origin - centre)
    root = b**2 - a * (((origin - centre) ** 2).sum() - radius**2)
    return np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)


def box_depth(pose: np.ndarray, half: np.ndarray) -> np.ndarray:
    origin, directions = rays(pose)
    with np.errstate(divide="ignore"):
        low, high = (-half - origin) / directions, (half - origin) / directions
    enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    return np.where(enter < leave, enter, np.inf)


def framed(depth: np.ndarray, pose: np.ndarray, color: np.ndarray = GRAY, segment: int = 0) -> PosedFrame:
    rgb = np.broadcast_to(color, (*depth.shape, 3)).astype(np.uint8)
    known = np.where(np.isfinite(depth), depth, np.nan).astype(np.float32)
    return PosedFrame(Frame(0, 0.0, rgb), known, CAMERA, pose, segment)


def looking_at(eye: Iterable[float], target: Iterable[float] = (0, 0, 0)) -> np.ndarray:
    eye, target = np.array(list(eye), float), np.array(list(target), float)
    forward = (target - eye) / np.linalg.norm(target - eye)
    aside = np.cross(forward, [0.12, 0.31, 0.94])
    right = aside / np.linalg.norm(aside)
    return rigid(np.stack([right, np.cross(forward, right), forward], axis=1), eye)


def all_around(distance: float) -> list[np.ndarray]:
    """Poses on a sphere: the 26 directions of a cube's corners, edges and faces."""
    corners = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3), axis=-1).reshape(-1, 3)
    corners = corners[(corners != 0).any(axis=1)]
    return [looking_at(distance * corner / np.linalg.norm(corner)) for corner in corners]


def oracle(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)


def is_closed(mesh: Mesh) -> bool:
    """Whether each edge is there in both directions, as often; where two sheets touch that may be twice."""
    edges = oracle(mesh).edges
    there, back = (np.unique(each, axis=0, return_counts=True) for each in (edges, edges[:, ::-1]))
    return all(np.array_equal(a, b) for a, b in zip(there, back, strict=True))


def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From each of a to the nearest of b."""
    return cKDTree(b).query(a)[0]


def ball_frames(poses: Iterable[np.ndarray], radius: float = 0.5) -> list[PosedFrame]:
    return [framed(ball_depth(pose, np.zeros(3), radius), pose) for pose in poses]


def sphere_mesh(subdivisions: int = 3, centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions)
    vertices = made.vertices.astype(np.float32)
    colors = np.where(vertices[:, 2:] > 0, GRAY, 255 - GRAY).astype(np.uint8)
    return Mesh(vertices + np.float32(centre), made.faces.astype(np.int32), colors, vertices)


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    triangles = [mesh.triangles + np.int32(start) for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate(triangles),
        np.concatenate([mesh.colors for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
    )


# The volume


@hypothesis_settings(max_examples=12)
@given(
    turn=st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0, 360)),
    distance=st.floats(0.8, 2.5),
    seed=st.integers(0, 99),
)
def test_planes_are_exact(turn: tuple[float, float, float], distance: float, seed: int) -> None:
    world = rigid(Rotation.random(rng=seed).as_matrix(), np.random.default_rng(seed).uniform(-3, 3, 3))
    normal = world[:3, :3] @ Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ [0, 0, -1.0]
    offset = normal @ (world @ [0, 0, distance, 1])[:3]
    depth = plane_depth(world, normal, offset)
    mesh = surface([framed(np.where(depth < 4, depth, np.inf), world)], VOXEL)
    assert len(mesh) > 1000
    off = mesh.vertices.astype(float) @ normal - offset
    assert np.abs(off).max() < 1e-3 * VOXEL + 1e-6 * 4
    assert (mesh.normals @ normal).min() > 0.999, "normals face the camera"
    assert (oracle(mesh).face_normals @ normal)[oracle(mesh).area_faces > 1e-3 * VOXEL**2].min() > 0.99


def test_a_plane_seen_in_a_hundred_noisy_frames_is_one_thin_surface() -> None:
    rng = np.random.default_rng(0)
    normal = np.array([0.0, 0, -1])
    fuser = SurfaceFuser(VOXEL)
    for _ in range(100):
        pose = looking_at(rng.uniform(-0.3, 0.3, 3), (0, 0, 2))
        depth = plane_depth(pose, normal, -2.0)
        fuser.add(framed(depth * (1 + 0.01 * rng.standard_normal(depth.shape)), pose))
    mesh = without_small_parts(fuser.mesh(), 0.01)
    inner = np.abs(mesh.vertices[:, :2]).max(axis=1) < 0.6
    thickness = np.ptp(mesh.vertices[inner, 2])
    assert thickness < 2 * VOXEL
    centres = oracle(mesh).triangles_center
    area = oracle(mesh).area_faces[np.abs(centres[:, :2]).max(axis=1) < 0.6].sum()
    assert area == pytest.approx(1.2**2, rel=0.1), "one layer"


def test_a_ball_seen_all_around() -> None:
    mesh = surface(ball_frames(all_around(1.6)), VOXEL)
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.abs(radius - 0.5).max() < VOXEL / 2
    solid = oracle(mesh)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.euler_number == 2
    assert solid.volume == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.02), "positive: triangles face outwards"
    outward = np.einsum("ij,ij->i", mesh.normals, mesh.vertices / radius[:, None])
    assert (np.quantile(outward, [0, 0.1]) > np.cos(np.radians([8, 3]))).all()


def test_a_box_seen_all_around() -> None:
    half = np.array([0.401, 0.302, 0.253])
    frames = [framed(box_depth(pose, half), pose) for pose in all_around(1.6)]
    mesh = surface(frames, VOXEL)
    assert is_closed(mesh)
    assert 1 < oracle(mesh).volume / (8 * half.prod()) < 1.05, "edges bulge"
    beyond = np.abs(mesh.vertices) - half
    outside = np.linalg.norm(np.maximum(beyond, 0), axis=1) + np.minimum(beyond.max(axis=1), 0)
    on_face = (beyond > -5 * VOXEL).sum(axis=1) == 1
    assert on_face.mean() > 0.4
    assert np.abs(outside[on_face]).max() < VOXEL / 2
    assert np.abs(outside).max() < 1.25 * VOXEL, "edges bulge, no more"


def wall_and_ball(reach: float, count: int = 40, radius: float = 0.2) -> list[PosedFrame]:
    """A wall at 2 m, before which a ball flies from -reach to reach."""
    frames = []
    for i, x in enumerate(np.linspace(-reach, reach, count)):
        pose = looking_at((0.1 * np.sin(i), 0.05 * np.cos(i), 0), (0, 0, 2))
        depth = plane_depth(pose, np.array([0.0, 0, -1]), -2.0)
        frames.append(framed(np.minimum(depth, ball_depth(pose, np.array([x, 0, 1.2]), radius)), pose))
    return frames


@pytest.mark.parametrize("reach", [0.5, 1.2])
@pytest.mark.parametrize("order", [1, -1])
def test_a_ball_that_moves_leaves_no_trace(reach: float, order: int) -> None:
    """Whether it comes from outside the picture and goes there, or appears and vanishes within."""
    mesh = surface(wall_and_ball(reach)[::order], VOXEL)
    x, y, z = mesh.vertices.T
    seen_by_all = (np.abs(x) < 0.4 * z) & (np.abs(y) < 0.25 * z)
    assert seen_by_all.sum() > 3000
    strays = seen_by_all & (np.abs(z - 2) > 2 * VOXEL)
    assert strays.sum() < 0.001 * seen_by_all.sum()


def test_flying_pixels_vanish() -> None:
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(20):
        pose = looking_at(rng.uniform(-0.2, 0.2, 3), (0, 0, 2))
        depth = plane_depth(pose, np.array([0.0, 0, -1]), -2.0)
        flying = rng.random(depth.shape) < 0.01
        frames.append(framed(np.where(flying, depth * rng.uniform(0.4, 1, depth.shape), depth), pose))
    mesh = surface(frames, VOXEL)
    assert (np.abs(mesh.vertices[:, 2] - 2) > 2 * VOXEL).mean() < 0.001


def test_the_order_of_frames_hardly_matters() -> None:
    frames = ball_frames(all_around(1.6))
    a = surface(frames, VOXEL)
    b = surface([frames[i] for i in np.random.default_rng(0).permutation(len(frames))], VOXEL)
    assert len(a) == len(b)
    off = apart(a.vertices, b.vertices)
    assert np.quantile(off, 0.9) < 1e-3 * VOXEL
    assert off.max() < 0.15 * VOXEL, "what was free before a block had voxels is known for its eighths alone"


def test_the_order_of_frames_does_not_matter_where_all_see_the_same_blocks() -> None:
    pose, normal = np.eye(4), np.array([0.0, 0, -1])
    frames = [framed(plane_depth(pose, normal, -1 - 0.001 * i), pose, np.full(3, 20 * i)) for i in range(10)]
    a, b = surface(frames, VOXEL), surface(frames[::-1], VOXEL)
    np.testing.assert_array_equal(a.triangles, b.triangles)
    np.testing.assert_allclose(a.vertices, b.vertices, atol=1e-6)
    assert np.abs(a.colors.astype(int) - b.colors).max() <= 1


def test_threads_change_nothing() -> None:
    frames = ball_frames(all_around(1.6)[:6])
    one, four = surface(frames, VOXEL, threads=1), surface(frames, VOXEL, threads=4)
    np.testing.assert_array_equal(one.vertices, four.vertices)
    np.testing.assert_array_equal(one.triangles, four.triangles)
    np.testing.assert_array_equal(one.colors, four.colors)


def moved(frames: list[PosedFrame], motion: np.ndarray) -> list[PosedFrame]:
    return [PosedFrame(f.frame, f.depth, f.intrinsics, motion @ f.world_from_camera, 0) for f in frames]


@pytest.mark.parametrize("degrees", [90, 33])
def test_the_mesh_moves_with_the_world(degrees: float) -> None:
    frames = ball_frames(all_around(1.6)[:9])
    turn = Rotation.from_euler("z", degrees, degrees=True).as_matrix()
    motion = rigid(turn, 8 * VOXEL * np.array([60.0, -5, 3]))
    still, there = surface(frames, VOXEL), surface(moved(frames, motion), VOXEL)
    expected = (still.vertices @ turn.T + motion[:3, 3]).astype(np.float32)
    limit = 0.001 if degrees == 90 else 1.0  # between vertices of grids that differ
    assert np.quantile(apart(expected, there.vertices), 0.99) < limit * VOXEL
    assert len(there) == pytest.approx(len(still), rel=0.02)


def test_colors_of_one_color_are_exact() -> None:
    mesh = surface(ball_frames(all_around(1.6)[:8]), VOXEL)
    assert (mesh.colors == GRAY).all()


def test_colors_are_mixed_as_light() -> None:
    pose, normal = np.eye(4), np.array([0.0, 0, -1])
    depth = plane_depth(pose, normal, -1.0)
    black, white = (framed(depth, pose, np.full(3, level)) for level in (0, 255))
    mesh = surface([black, white], VOXEL)
    assert np.abs(mesh.colors.astype(int) - 188).max() <= 1, "half the light of white is 188 in sRGB"


def test_gaps_in_depth_stay_holes() -> None:
    normal = np.array([0.0, 0, -1])
    pose = np.eye(4)
    depth = plane_depth(pose, normal, -1.0)
    depth[40:80, 60:100] = np.nan
    mesh = surface([framed(depth, pose)] * 5, VOXEL)
    x = mesh.vertices[:, 0] / mesh.vertices[:, 2] * CAMERA.fx + CAMERA.cx
    y = mesh.vertices[:, 1] / mesh.vertices[:, 2] * CAMERA.fy + CAMERA.cy
    assert not ((x > 60) & (x < 100) & (y > 40) & (y < 80)).any()
    assert ((x > 30) & (x < 130) & (y > 20) & (y < 100)).sum() > 500


def test_confidence_weighs_and_zero_leaves_out() -> None:
    pose, normal = np.eye(4), np.array([0.0, 0, -1])
    near, far = (framed(plane_depth(pose, normal, -z), pose) for z in (1.0, 1.02))
    shape = near.depth.shape
    fuser = SurfaceFuser(VOXEL)
    fuser.add(near, np.full(shape, 3, np.float32))
    fuser.add(far, np.ones(shape, np.float32))
    assert np.median(fuser.mesh().vertices[:, 2]) == pytest.approx(1.005, abs=1e-3)
    fuser = SurfaceFuser(VOXEL)
    fuser.add(near, np.zeros(shape, np.float32))
    assert len(fuser) == 0
    assert len(fuser.mesh()) == 0


def test_more_weight_than_a_single_view_has() -> None:
    pose = np.eye(4)
    fuser = SurfaceFuser(VOXEL)
    fuser.add(framed(plane_depth(pose, np.array([0.0, 0, -1]), -1.0), pose))
    assert len(fuser.mesh()) > 0
    assert len(fuser.mesh(least=2.0)) == 0


def test_unknown_frames_are_empty_meshes() -> None:
    nothing = framed(np.full((120, 160), np.nan), np.eye(4))
    mesh = surface([nothing], VOXEL)
    assert (len(mesh), len(mesh.vertices)) == (0, 0)
    assert len(surface([], VOXEL)) == 0


def test_memory_grows_with_the_scene_alone() -> None:
    frames = ball_frames(all_around(1.6))
    fuser = SurfaceFuser(VOXEL)
    for frame in frames:
        fuser.add(frame)
    blocks, size = len(fuser), fuser.nbytes
    for frame in frames * 3:
        fuser.add(frame)
    assert (len(fuser), fuser.nbytes) == (blocks, size)


def test_what_is_too_large_is_refused() -> None:
    frames = ball_frames(all_around(1.6))
    with pytest.raises(ReconError, match=r"scene of .* needs more than [\d,]+ voxels, .* GB .*--voxel") as refusal:
        surface(frames, 0.005, most_bytes=1 << 22)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ReconError, match="--voxel"):
        surface(frames, 1e-7)
    room = SurfaceFuser(VOXEL, most_bytes=1 << 24)
    room.add(frames[0])
    assert len(room) <= room.most_blocks
    assert room.nbytes < 2 << 24


def test_segments_share_no_world() -> None:
    frames = ball_frames(all_around(1.6)[:2])
    other = PosedFrame(frames[1].frame, frames[1].depth, CAMERA, frames[1].world_from_camera, 7)
    with pytest.raises(ValueError, match=r"\[0, 7\]"):
        surface([frames[0], other], VOXEL)


@pytest.mark.parametrize("voxel", [0.0, -1.0, np.nan, np.inf])
def test_a_voxel_has_a_size(voxel: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        SurfaceFuser(voxel)


def test_fitting_voxel_follows_pixels_noise_and_memory() -> None:
    depth = np.full((480, 640), 2, np.float32)
    sharp, coarse = Intrinsics.from_fov(60.0, 640, 480), Intrinsics.from_fov(60.0, 64, 48)
    assert fitting_voxel(depth, sharp) == pytest.approx(2 * 0.005)
    assert fitting_voxel(depth[:48, :64], coarse) == pytest.approx(2 * 1.5 / coarse.fx)
    tight = fitting_voxel(depth, sharp, most_bytes=1 << 24)
    assert tight > 2 * 0.005
    assert fitting_voxel(depth, sharp, most_bytes=1 << 22) == pytest.approx(2 * tight)
    with pytest.raises(ReconError, match="no depth"):
        fitting_voxel(np.full((4, 4), np.nan, np.float32), sharp)


# Parts, holes, fewer triangles


def test_small_parts_are_left_out() -> None:
    large, small = sphere_mesh(3), sphere_mesh(1, (5, 0, 0))
    both = joined(small, large)
    assert len(without_small_parts(both, 0.2)) == len(large)
    assert len(without_small_parts(both, 0.0, least_triangles=len(small) + 1)) == len(large)
    assert len(without_small_parts(both, 0.0, least_triangles=len(small))) == len(both)
    kept = without_small_parts(both, 0.2)
    np.testing.assert_array_equal(kept.vertices, large.vertices)
    np.testing.assert_array_equal(kept.triangles, large.triangles)
    with pytest.raises(ValueError, match="share"):
        without_small_parts(both, 1.5)


def without_faces_around(mesh: Mesh, *vertices: int) -> Mesh:
    kept = mesh.triangles[~np.isin(mesh.triangles, vertices).any(axis=1)]
    return Mesh(mesh.vertices, kept, mesh.colors, mesh.normals)


def test_small_holes_are_filled() -> None:
    ball = sphere_mesh(3)
    open_ball = without_faces_around(ball, 0, 300)
    assert not oracle(open_ball).is_watertight
    assert len(filled(open_ball, 4)) == len(open_ball), "the holes have 5 and 6 edges"
    closed = filled(open_ball, 6)
    assert oracle(closed).is_watertight
    assert oracle(closed).is_winding_consistent
    assert oracle(closed).volume == pytest.approx(oracle(ball).volume, rel=0.01)
    assert len(closed.vertices) == len(ball.vertices) + 2
    assert len(filled(open_ball, 5)) == len(open_ball) + 5
    np.testing.assert_allclose(np.linalg.norm(closed.normals, axis=1), 1, atol=1e-5)
    assert filled(ball, 100) is ball


def test_holes_that_touch_stay_open() -> None:
    ball = sphere_mesh(1)
    a, b, c = ball.triangles[0]
    touching = [t for t in ball.triangles if a in t and b not in t and c not in t]
    kept = [t for t in ball.triangles if t.tolist() not in ([a, b, c], touching[1].tolist())]
    holed = Mesh(ball.vertices, np.array(kept, np.int32), ball.colors, ball.normals)
    assert len(filled(holed, 10)) == len(holed)


def test_simplified_meshes_keep_shape_and_color() -> None:
    ball = sphere_mesh(5)
    simple = simplified(ball, 1000)
    assert 900 <= len(simple) <= 1000
    surface_points = trimesh.sample.sample_surface(oracle(simple), 5000, seed=0)[0]
    assert np.abs(np.linalg.norm(surface_points, axis=1) - 1).max() < 0.02, "from there to here ..."
    assert apart(ball.vertices, surface_points).max() < 0.12, "... and back, as far as samples are apart"
    assert oracle(simple).is_watertight
    assert oracle(simple).volume == pytest.approx(oracle(ball).volume, rel=0.01), "the same way round"
    upper = simple.vertices[:, 2] > 0.05
    assert (simple.colors[upper] == GRAY).all()
    assert np.einsum("ij,ij->i", simple.normals, simple.vertices).min() > 0.95
    assert simplified(ball, len(ball)) is ball
    levels = lods(ball, [5000, 1000, 200])
    assert [len(level) <= most for level, most in zip(levels, (5000, 1000, 200), strict=True)] == [True] * 3
    with pytest.raises(ValueError, match="fine to coarse"):
        lods(ball, [200, 1000])
    with pytest.raises(ValueError, match="1 triangle"):
        simplified(ball, 0)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_simplification", None)
    with pytest.raises(MissingPackageError, match=r"fast-simplification .*pip install"):
        simplified(sphere_mesh(), 10)
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(MissingPackageError, match=r"libgl1 libegl1 libusb-1\.0-0"):
        poisson(PointCloud(*(np.zeros((0, 3), kind) for kind in (np.float32, np.uint8, np.float32))))


# One picture, clouds


def test_a_picture_is_a_grid_of_triangles() -> None:
    pose = looking_at((1, 2, 3))
    normal = np.array([0.0, 0, 1])
    mesh = depth_mesh(framed(plane_depth(pose, normal, -0.5), pose), 0.2)
    assert len(mesh.vertices) == 160 * 120
    assert len(mesh) == 2 * 159 * 119
    assert np.abs(mesh.vertices[:, 2] + 0.5).max() < 1e-5
    assert (mesh.normals @ normal).min() > 0.999
    assert (oracle(mesh).face_normals @ normal).min() > 0.99, "counter-clockwise as the camera sees them"
    assert (mesh.colors == GRAY).all()


def test_a_grid_is_cut_at_edges_and_holes() -> None:
    depth = np.full((120, 160), 2.0)
    depth[:, 80:] = 1.0
    depth[50, 40] = np.nan
    mesh = depth_mesh(framed(depth, np.eye(4)), 0.1)
    assert len(mesh.vertices) == 160 * 120 - 1
    lengths = np.linalg.norm(np.diff(mesh.vertices[mesh.triangles], axis=1), axis=-1)
    assert lengths.max() < 0.1
    # A row of squares is missing between the two depths; an unknown pixel takes 2 triangles of 2 of its squares, and
    # 1 of the other 2 or all of them, as diagonals lie.
    whole = 2 * 119 * 158
    assert whole - 8 <= len(mesh) <= whole - 4
    parts = trimesh.graph.connected_components(oracle(mesh).edges, min_len=3)
    assert len(parts) == 2
    with pytest.raises(ValueError, match="positive"):
        depth_mesh(framed(depth, np.eye(4)), 0.0)


def test_poisson_closes_a_cloud() -> None:
    pytest.importorskip("open3d")
    ball = sphere_mesh(4)
    cloud = PointCloud(ball.vertices, ball.colors, ball.normals)
    mesh = poisson(cloud, 6, trimmed=0.0)
    assert oracle(mesh).is_watertight
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.02
    assert oracle(mesh).volume > 0
    upper = mesh.vertices[:, 2] > 0.2
    assert np.abs(mesh.colors[upper].astype(int) - GRAY).max() <= 8
    assert len(poisson(cloud, 6, trimmed=0.3)) < 0.8 * len(mesh)
    with pytest.raises(ReconError, match="normal"):
        poisson(PointCloud(ball.vertices, ball.colors, np.zeros_like(ball.normals)), 6)
    with pytest.raises(ValueError, match="depth"):
        poisson(cloud, 99)


# A real room


def kitchen(folder: Path, numbers: Iterable[int]) -> list[PosedFrame]:
    camera = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480)
    frames = []
    for number in numbers:
        stem = folder / "frames" / f"frame-{number:06d}"
        raw = cv2.imdecode(np.fromfile(f"{stem}.depth.png", np.uint8), cv2.IMREAD_UNCHANGED)
        rgb = cv2.imdecode(np.fromfile(f"{stem}.color.jpg", np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        depth = np.where((raw == 0) | (raw == 65535), np.nan, raw / 1000).astype(np.float32)
        pose = np.loadtxt(f"{stem}.pose.txt")
        left, _, right = np.linalg.svd(pose[:3, :3])
        frames.append(PosedFrame(Frame(number, number / 30, rgb), depth, camera, rigid(left @ right, pose[:3, 3]), 0))
    return frames


def by_open3d(frames: list[PosedFrame]) -> Surface:
    """The same by Open3D's VoxelBlockGrid."""
    open3d = pytest.importorskip("open3d")
    core = open3d.core
    kinds = (core.float32, core.float32, core.float32)
    grid = open3d.t.geometry.VoxelBlockGrid(("tsdf", "weight", "color"), kinds, (1, 1, 3), 0.01, 16, 5000)
    lens = core.Tensor([[585.0, 0, 319.5], [0, 585.0, 239.5], [0, 0, 1]])  # the first pixel's centre is 0 there
    for frame in frames:
        depth = open3d.t.geometry.Image((np.nan_to_num(frame.depth) * 1000).astype(np.uint16))
        camera_from_world = core.Tensor(np.linalg.inv(frame.world_from_camera))
        blocks = grid.compute_unique_block_coordinates(depth, lens, camera_from_world, 1000.0, 8.0)
        rgb = open3d.t.geometry.Image(np.array(frame.frame.rgb))
        grid.integrate(blocks, depth, rgb, lens, lens, camera_from_world, 1000.0, 8.0)
    mesh = grid.extract_triangle_mesh(0.0).to_legacy()
    return Surface(np.asarray(mesh.vertices), np.asarray(mesh.triangles))


@pytest.mark.shared
def test_a_kitchen_agrees_with_open3d(shared: Path) -> None:
    frames = kitchen(shared / "data" / "7scenes_redkitchen_a", range(0, 150, 25))
    mesh = surface(frames, 0.01)
    ours = Surface(mesh.vertices, mesh.triangles)
    found = compare_surfaces(ours, by_open3d(frames), np.random.default_rng(0), density=5000.0, thresholds=[0.02])
    assert found.agreements[0].f_score > 0.95  # measured: 0.97
