from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from scenes import PHONE, walk
from scipy.spatial.transform import Rotation
from strategies import rigid_transforms

from recon.geometry import inverse, rigid, transform, unproject
from recon.io.depth import read_depth_map
from recon.stages.fuse import normals_from_depth
from recon.stages.upright import camera_up, upright
from recon.types import Intrinsics


def looking(tilts: list[float], yaws: list[float], height: float = 1.5) -> np.ndarray:
    """Level cameras (no roll) in a world with y down and the floor at y = 0; tilt is downwards, degrees."""
    turns = Rotation.from_euler("YX", np.column_stack([yaws, np.negative(tilts)]), degrees=True).as_matrix()
    return np.stack([rigid(turn, np.array([0.1 * i, -height, 0.05 * i])) for i, turn in enumerate(turns)])


def floor_and_table(with_floor: bool = True) -> tuple[np.ndarray, np.ndarray]:  # noqa: FBT001, FBT002 - of a test
    """A floor with a large table on it and a wall, with normals; y down."""
    rng = np.random.default_rng(0)
    across = rng.uniform(-3, 3, (9000, 3)).astype(np.float32)
    floor, table, wall = (
        across[:3000] * [1, 0, 1],
        across[3000:6000] * [0.5, 0, 0.5] - [0, 0.8, 0],
        across[6000:].copy(),
    )
    wall = np.column_stack([wall[:, 0], -0.5 * np.abs(wall[:, 1]), np.full(3000, 3.0)])
    up, back = np.tile([0, -1, 0], (3000, 1)), np.tile([0, 0, -1], (3000, 1))
    parts = [(floor, up), (table, up), (wall, back)][0 if with_floor else 2 :]
    points, normals = (np.concatenate(column).astype(np.float32) for column in zip(*parts, strict=True))
    return points + rng.normal(0, 0.005, points.shape).astype(np.float32), normals


def test_the_floor_is_level_and_the_origin_on_it_under_the_first_camera() -> None:
    """Not the table, which as many points lie on: something is beneath it."""
    points, normals = floor_and_table()
    cameras = looking([20, 25, 30], [5, 20, -10])
    found = upright(points, normals, cameras)
    assert found.sentence == "the floor; the first camera is 1.50 above the floor"
    np.testing.assert_allclose(transform(found.level_from_world, np.array([[0.0, 0, 0]]))[0], 0, atol=0.01)
    first = found.level_from_world @ cameras[0]
    np.testing.assert_allclose(first[:3, 3], [0, -1.5, 0], atol=0.01)
    assert first[0, 2] == pytest.approx(0, abs=1e-9), "it looks along z"
    assert first[2, 2] > 0.9


@given(other_from_world=rigid_transforms())
def test_any_world_becomes_the_same_level_one(other_from_world: np.ndarray) -> None:
    points, normals = floor_and_table()
    cameras = looking([20, 25, 30], [5, 20, -10])
    moved = transform(other_from_world, points).astype(np.float32)
    turned = (normals @ other_from_world[:3, :3].T).astype(np.float32)
    one, other = upright(points, normals, cameras), upright(moved, turned, other_from_world @ cameras)
    np.testing.assert_allclose(other.level_from_world @ other_from_world, one.level_from_world, atol=1e-3)


@pytest.mark.parametrize("tilt", [-30.0, 0.0, 40.0])
def test_cameras_that_turn_without_roll_say_exactly_what_is_up(tilt: float) -> None:
    up = camera_up(looking([tilt] * 12, list(np.linspace(-80, 80, 12))))
    assert np.degrees(np.arccos(up @ [0, -1, 0])) < 0.1 + 0.04 * abs(tilt)


def test_without_a_floor_the_cameras_say_it_and_the_origin_is_the_first_camera() -> None:
    points, normals = floor_and_table(with_floor=False)
    cameras = looking([0, 0, 0], [-40, 0, 40])
    found = upright(points, normals, cameras)
    assert found.sentence == "the cameras, which were held level; no floor is seen"
    np.testing.assert_allclose((found.level_from_world @ cameras[0])[:3, 3], 0, atol=1e-9)
    np.testing.assert_allclose(found.level_from_world[:3, :3] @ [0, -1, 0], [0, -1, 0], atol=1e-6)


@pytest.mark.parametrize(("up_from", "up"), [("+x", [1, 0, 0]), ("-y", [0, -1, 0]), ("+z", [0, 0, 1])])
def test_an_axis_of_the_poses_may_be_up(up_from: str, up: list[float]) -> None:
    found = upright(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), looking([10], [15]), up_from)
    np.testing.assert_allclose(found.level_from_world[:3, :3] @ up, [0, -1, 0], atol=1e-12)
    assert found.sentence == f"the {up_from} axis of the poses; no floor is seen"


def test_gravity_is_trusted_before_the_floor() -> None:
    """A ramp is not level: what falls says so. The origin is on it all the same, straight beneath the camera."""
    points, normals = floor_and_table()
    down = np.array([0.0, np.cos(0.1), np.sin(0.1)])
    found = upright(points, normals, looking([20, 25, 30], [5, 20, -10]), gravity=(0.0, 2 * down[1], 2 * down[2]))
    np.testing.assert_allclose(found.level_from_world[:3, :3] @ down, [0, 1, 0], atol=1e-12)
    beneath = np.array([[0.0, -1.5, 0]]) + 1.5 / np.cos(0.1) * down
    np.testing.assert_allclose(transform(found.level_from_world, beneath)[0], 0, atol=0.02)
    assert found.sentence == f"gravity; the first camera is {1.5 / np.cos(0.1):.2f} above the floor"


@pytest.mark.parametrize("gravity", [(0.0, 0.0, 0.0), (0.0, np.nan, 1.0)])
def test_gravity_without_a_direction_is_refused(gravity: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="gravity has a direction"):
        upright(*floor_and_table(), looking([20], [5]), gravity=gravity)


@pytest.mark.shared
def test_the_floor_of_the_kitchen_is_level_as_its_inertial_sensor_has_it(shared: Path) -> None:
    """7-Scenes: gravity as published, against the floor that three maps of the Kinect show; within 3 degrees."""
    folder = shared / "data" / "7scenes_redkitchen_a"
    camera, points, normals, poses = Intrinsics(585.0, 585.0, 320.0, 240.0, 640, 480), [], [], []
    for number in (0, 60, 120):
        (stem,) = folder.glob(f"frames/*{number:06d}.depth.png")
        pose = np.loadtxt(str(stem).replace("depth.png", "pose.txt"))
        depth = read_depth_map(stem, scale=1000.0)
        depth = cv2.GaussianBlur(np.where(depth < 4, depth, np.nan), (0, 0), 3)
        known = np.flatnonzero(np.isfinite(depth))[::17]
        points.append(transform(pose, unproject(depth, camera).reshape(-1, 3)[known]))
        normals.append(normals_from_depth(depth, camera).reshape(-1, 3)[known] @ pose[:3, :3].T)
        poses.append(pose)
    found = upright(*(np.concatenate(each).astype(np.float32) for each in (points, normals)), np.stack(poses))
    assert found.sentence.startswith("the floor")
    down = np.loadtxt(folder / "gravity-direction.txt")
    apart = np.degrees(np.arccos(found.level_from_world[1, :3] @ down / np.linalg.norm(down)))
    assert apart < 3


def test_a_camera_that_looks_straight_down_has_the_top_of_its_picture_ahead() -> None:
    """It cannot say by itself that it does: a wall would look the same."""
    points, normals = floor_and_table()
    found = upright(points, normals, looking([90], [0]), "-y")
    np.testing.assert_allclose((found.level_from_world @ looking([90], [0])[0])[:3, 1], [0, 0, -1], atol=0.02)


def test_the_rendered_room_stands_on_its_floor() -> None:
    """Of six views: level to a degree, and the camera as high as it is."""
    views, poses = walk()
    chosen = slice(0, 24, 4)
    points, normals = [], []
    for (_, depth), pose in list(zip(views, poses, strict=True))[chosen]:
        points.append(transform(pose, unproject(depth, PHONE).reshape(-1, 3)[::7]))
        normals.append(normals_from_depth(depth, PHONE).reshape(-1, 3)[::7] @ pose[:3, :3].T)
    every = np.concatenate(points).astype(np.float32), np.concatenate(normals).astype(np.float32)
    found = upright(*every, poses[chosen])
    up = inverse(found.level_from_world)[:3, :3] @ [0, -1, 0]
    assert np.degrees(np.arccos(up @ [0, 0, 1])) < 1, "z is up in the room"
    assert found.sentence == f"the floor; the first camera is {poses[0, 2, 3]:.2f} above the floor"
