import logging
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from scenes import hand_held, rendered, room
from scipy.spatial.transform import Rotation

from recon.geometry import inverse, project, rigid, transform, unproject
from recon.stages import pose as pose_module
from recon.stages.pose import LEAST_FEATURES, PATIENCE, posed, track
from recon.types import DepthFrame, DepthMap, Frame, Intrinsics, Picture, PosedFrame, RigidTransform

CAMERA = Intrinsics.from_fov(65.0, 320, 240)


def frames_of(views: Sequence[tuple[Picture, DepthMap]], first: int = 0) -> list[DepthFrame]:
    return [DepthFrame(Frame(first + i, (first + i) / 30, rgb), depth) for i, (rgb, depth) in enumerate(views)]


@cache
def walk(seed: int = 0) -> tuple[list[DepthFrame], np.ndarray]:
    """Ten frames of a walk through the furnished room, 320 x 240, with exact depth."""
    poses = hand_held(10, 2.0).world_from_camera
    return frames_of(rendered(room(seed), CAMERA, poses, samples=2)), poses


def noisy(depth: DepthMap, rng: np.random.Generator) -> DepthMap:
    """What a network's depth is like: smoothly wrong by 3 %, and by 1.5 % of scale in each frame."""
    field = cv2.resize(rng.normal(0, 0.03, (6, 8)), depth.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return (depth * (1 + rng.normal(0, 0.015)) * (1 + field)).astype(np.float32)


def with_noise(frames: Sequence[DepthFrame], seed: int = 0) -> list[DepthFrame]:
    rng = np.random.default_rng(seed)
    return [DepthFrame(frame.frame, noisy(frame.depth, rng)) for frame in frames]


def trajectory_error(estimated: np.ndarray, true: np.ndarray) -> float:
    """Root mean square distance after the best rigid alignment (Umeyama, PAMI 1991, without scale)."""
    a, b = estimated[:, :3, 3], true[:, :3, 3]
    u, _, vt = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
    rotation = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    aligned = (a - a.mean(0)) @ rotation.T + b.mean(0)
    return float(np.sqrt(np.square(aligned - b).sum(axis=1).mean()))


def path_length(poses: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def poses_of(frames: Sequence[PosedFrame]) -> np.ndarray:
    return np.stack([frame.world_from_camera for frame in frames])


def relative_errors(frames: Sequence[PosedFrame], true: np.ndarray) -> tuple[float, float]:
    """Largest error of the pose in the first frame's camera: metres, degrees."""
    estimated = poses_of(frames)
    errors = inverse(inverse(true[:1]) @ true) @ inverse(estimated[:1]) @ estimated
    angles = Rotation.from_matrix(errors[:, :3, :3]).magnitude()
    return float(np.linalg.norm(errors[:, :3, 3], axis=1).max()), float(np.degrees(angles.max()))


# Poses that are known


def test_poses_are_looked_up_by_time_and_frames_without_one_left_out() -> None:
    frames, _ = walk()

    def pose_at(time: float) -> RigidTransform | None:
        return None if 0.05 < time < 0.15 else rigid(np.eye(3), np.array([time, 0, 0]))

    out = list(posed(frames, CAMERA.scaled(1280, 960), pose_at))
    assert [frame.frame.index for frame in out] == [0, 1, 5, 6, 7, 8, 9]
    assert [frame.world_from_camera[0, 3] for frame in out] == pytest.approx([frame.frame.time for frame in out])
    assert out[0].intrinsics == CAMERA, "scaled to the picture"
    assert {frame.segment for frame in out} == {0}


def test_posed_is_lazy() -> None:
    def source() -> Iterator[DepthFrame]:
        yield walk()[0][0]
        raise RuntimeError("pulled too far")

    assert next(posed(source(), CAMERA, lambda _: np.eye(4))).frame.index == 0


# Poses that are estimated


def test_exact_depth_gives_the_path_to_a_hundredth() -> None:
    frames, true = walk()
    out = list(track(frames, CAMERA))
    assert len(out) == len(frames)
    assert {frame.segment for frame in out} == {0}
    np.testing.assert_array_equal(out[0].world_from_camera, np.eye(4))
    metres, degrees = relative_errors(out, true)
    assert metres < 0.01 * path_length(true)
    assert degrees < 0.3


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_of_a_network_does_not_ruin_the_path(seed: int) -> None:
    frames, true = walk()
    out = list(track(with_noise(frames, seed), CAMERA))
    assert len(out) == len(frames)
    assert trajectory_error(poses_of(out), true) < 0.025 * path_length(true)


def test_the_same_frames_give_the_same_poses() -> None:
    frames, _ = walk()
    first = poses_of(list(track(frames[:4], CAMERA)))
    cv2.setRNGSeed(12345)
    np.random.default_rng().random()
    np.testing.assert_array_equal(poses_of(list(track(frames[:4], CAMERA))), first)


def test_the_size_of_the_intrinsics_does_not_matter() -> None:
    frames, _ = walk()
    small, large = (list(track(frames[:3], camera)) for camera in (CAMERA, CAMERA.scaled(640, 480)))
    np.testing.assert_allclose(poses_of(small), poses_of(large), atol=1e-6)


def test_a_camera_that_stands_still_does_not_wander() -> None:
    (rgb, depth), rng = rendered(room(), CAMERA, hand_held(1, 1.0).world_from_camera)[0], np.random.default_rng(0)
    pictures = [np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8) for _ in range(8)]
    out = list(track(frames_of([(picture, noisy(depth, rng)) for picture in pictures]), CAMERA))
    wander = np.linalg.norm(poses_of(out)[:, :3, 3], axis=1)
    assert wander.max() < 0.005 * np.median(depth)


def test_a_camera_that_only_turns_stays_where_it_is() -> None:
    start = hand_held(1, 1.0).world_from_camera[0]
    turns = [rigid(Rotation.from_euler("y", 4 * i, degrees=True).as_matrix(), np.zeros(3)) for i in range(8)]
    true = np.stack([start @ turn for turn in turns])
    metres, degrees = relative_errors(list(track(frames_of(rendered(room(), CAMERA, true, samples=2)), CAMERA)), true)
    assert metres < 0.02
    assert degrees < 0.5


def black(index: int, size: tuple[int, int] = (240, 320)) -> DepthFrame:
    return DepthFrame(Frame(index, index / 30, np.zeros((*size, 3), np.uint8)), np.full(size, 2, np.float32))


def test_frames_that_cannot_be_placed_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    frames, true = walk()
    holed = [*frames[:4], black(4), black(5), *frames[6:]]
    out = list(track(holed, CAMERA))
    assert [frame.frame.index for frame in out] == [0, 1, 2, 3, 6, 7, 8, 9]
    assert {frame.segment for frame in out} == {0}, "it is found again among the key frames"
    assert relative_errors(out, np.delete(true, [4, 5], axis=0))[0] < 0.01 * path_length(true)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "frame 4 (0.13 s) to frame 5 (0.17 s): 2 frames could not be placed; left out"


def elsewhere() -> list[DepthFrame]:
    """The same walk with the room upside down and mirrored, in other colours: nothing of it is in `walk`."""
    frames = []
    for frame in walk(1)[0]:
        rgb = np.ascontiguousarray(255 - frame.frame.rgb[::-1, :, ::-1].transpose(0, 1, 2))
        depth = np.ascontiguousarray(frame.depth[::-1])
        frames.append(DepthFrame(Frame(frame.frame.index + 10, frame.frame.time + 10 / 30, rgb), depth))
    return frames


def test_another_place_is_another_segment(caplog: pytest.LogCaptureFixture) -> None:
    frames, true = walk()
    out = list(track([*frames, *elsewhere()], CAMERA, first_segment=3))
    assert [frame.frame.index for frame in out] == list(range(20)), "nothing is lost at a cut"
    assert [frame.segment for frame in out] == [3] * 10 + [4] * 10
    np.testing.assert_array_equal(out[10].world_from_camera, np.eye(4))
    assert relative_errors(out[:10], true)[0] < 0.01 * path_length(true)
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("frame 10 (0.33 s) to frame 15 (0.50 s): tracking is lost (")
    assert second == "frame 10 (0.33 s): segment 4 begins, with a world of its own"


def test_nothing_to_see_gives_no_pose_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert list(track([black(i) for i in range(30)], CAMERA)) == []
    (record,) = caplog.records
    assert record.getMessage().startswith("frame 0 (0.00 s): too few features of known depth")


def test_depth_that_is_unknown_gives_no_pose() -> None:
    frame = walk()[0][0]
    unknown = DepthFrame(frame.frame, np.full_like(frame.depth, np.nan))
    assert list(track([unknown] * 3, CAMERA)) == []


def test_a_start_in_the_dark_is_left_out() -> None:
    frames, _ = walk()
    out = list(track([black(0), black(1), *frames[2:5]], CAMERA))
    assert [(frame.frame.index, frame.segment) for frame in out] == [(2, 0), (3, 0), (4, 0)]


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_short_videos(count: int) -> None:
    assert len(list(track(walk()[0][:count], CAMERA))) == count


def test_frames_that_have_nothing_in_common_are_segments_of_one() -> None:
    """Each begins a world of its own, in order; nothing piles up and nothing is placed by chance."""
    rng = np.random.default_rng(0)
    views = []
    for _ in range(2 * PATIENCE + 3):
        picture = cv2.resize(rng.integers(0, 256, (30, 40, 3), np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
        views.append((picture, rng.uniform(1, 3, (120, 160)).astype(np.float32)))
    out = list(track(frames_of(views), CAMERA))
    assert [frame.segment for frame in out] == list(range(len(views)))
    assert [frame.frame.index for frame in out] == list(range(len(views)))
    assert (poses_of(out) == np.eye(4)).all()


def test_tracking_is_lazy_and_keeps_few_key_frames() -> None:
    pulled = []

    def source() -> Iterator[DepthFrame]:
        for frame in walk()[0]:
            pulled.append(frame.frame.index)
            yield frame

    tracked = track(source(), CAMERA)
    next(tracked)
    assert pulled == [0]
    next(tracked)
    assert pulled == [0, 1]


# The pieces


def test_features_are_where_they_are_whatever_the_size() -> None:
    """A picture enlarged four times is reduced again: its features stay at the same part of the picture."""
    rgb = walk()[0][0].frame.rgb
    large = cv2.resize(rgb, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    a, b = pose_module._features(rgb), pose_module._features(large)
    pairs = pose_module._pairs(a.descriptors, b.descriptors)
    shift = b.pixels[pairs[:, 1]] / 4 - a.pixels[pairs[:, 0]]
    assert len(pairs) > LEAST_FEATURES
    np.testing.assert_allclose(np.median(shift, axis=0), 0, atol=0.15)


def test_depth_between_pixels_is_exact_on_a_plane() -> None:
    rays = unproject(np.ones((240, 320), np.float32), CAMERA)
    depth = (1 / (rays @ np.array([0.3, -0.4, 0.5], np.float32))).astype(np.float32)
    pixels = np.random.default_rng(0).uniform(1, 239, (100, 2))
    rays_at = (pixels - [CAMERA.cx, CAMERA.cy]) / CAMERA.fx
    expected = 1 / (rays_at @ [0.3, -0.4] + 0.5)
    np.testing.assert_allclose(pose_module._depth_at(depth, pixels), expected, rtol=2e-3)
    depth[100, 100] = np.nan
    assert np.isnan(pose_module._depth_at(depth, np.array([[100.9, 100.2], [101.2, 101.2]]))).all()
    assert np.isfinite(pose_module._depth_at(depth, np.array([[102.6, 100.5]]))).all()


def matches_seen_from(pose: RigidTransform, count: int = 200) -> pose_module._Matches:
    rng = np.random.default_rng(0)
    points_camera = rng.uniform([-1, -1, 2], [1, 1, 5], (count, 3))
    pixels = project(points_camera, CAMERA)
    return pose_module._Matches(transform(pose, points_camera), pixels, np.zeros(count, np.int64))


POSE = rigid(Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix(), np.array([0.3, -0.2, 0.5]))


def test_derivatives_are_those_of_finite_differences() -> None:
    matches, camera_from_world = matches_seen_from(POSE), inverse(POSE)
    _, jacobian, _ = pose_module._linearised(camera_from_world, matches, CAMERA)
    for column in range(6):
        step = np.zeros(6)
        step[column] = 1e-6
        moved = rigid(Rotation.from_rotvec(step[3:]).as_matrix(), step[:3]) @ camera_from_world
        residuals, _, _ = pose_module._linearised(moved, matches, CAMERA)
        np.testing.assert_allclose(-residuals / 1e-6, jacobian[:, :, column], rtol=1e-3, atol=1e-2)


def test_a_pose_is_found_among_wrong_matches() -> None:
    matches = matches_seen_from(POSE)
    matches.pixels[::3] = np.random.default_rng(1).uniform(0, 240, (67, 2))
    fix = pose_module._fix(matches, CAMERA)
    np.testing.assert_allclose(fix.world_from_camera, POSE, atol=1e-6)
    assert fix.inliers[1::3].all()
    assert fix.inliers[2::3].all()
    assert fix.inliers[::3].mean() < 0.05
    assert pose_module._doubt(fix, 200, POSE) is None


def test_what_speaks_against_a_pose() -> None:
    fix = pose_module._fix(matches_seen_from(POSE), CAMERA)
    far = rigid(np.eye(3), np.array([0, 0, 9.0])) @ POSE
    turned = rigid(Rotation.from_euler("x", 60, degrees=True).as_matrix(), np.zeros(3)) @ POSE
    assert "agree with no camera" in pose_module._doubt(None, 3, POSE)
    assert "200 of 900 matches agree" in pose_module._doubt(fix, 900, POSE)
    assert "a jump of" in pose_module._doubt(fix, 200, far)
    assert "60 degrees" in pose_module._doubt(fix, 200, turned)


def test_points_in_one_spot_leave_the_position_open() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-0.05, -0.05, 4], [0.05, 0.05, 4.1], (60, 3))
    pixels = project(points, CAMERA) + rng.normal(0, 0.2, (60, 2))
    fix = pose_module._fix(pose_module._Matches(points, pixels, np.zeros(60, np.int64)), CAMERA)
    assert fix is None or "leave the position open" in pose_module._doubt(fix, 60, np.eye(4))


# Real pictures


def real(folder: Path, name: str) -> tuple[list[DepthFrame], np.ndarray, Intrinsics]:
    data = folder / "data" / name
    if name.startswith("7scenes"):
        depths = sorted((data / "depth_in_color").glob("*.depth.png"))
        colors = [data / "frames" / path.name.replace(".depth.png", ".color.jpg") for path in depths]
        poses = np.stack([np.loadtxt(str(path).replace(".depth.png", ".pose.txt")) for path in depths])
        camera = Intrinsics(525.0, 525.0, 320.5, 238.5, 640, 480)
    elif name.startswith("hololens"):
        depths, colors = sorted((data / "depth").glob("*.png")), sorted((data / "images").glob("*.png"))
        poses, k = np.loadtxt(data / "poses.txt").reshape(-1, 4, 4), np.loadtxt(data / "K.txt").reshape(3, 3)
        fx, fy, cx, cy = (float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]))
        camera = Intrinsics(fx, fy, cx + 0.5, cy + 0.5, 540, 360)
    else:
        depths, colors = sorted((data / "depth_left").glob("*.png")), sorted((data / "image_left").glob("*"))
        poses = np.loadtxt(data / "poses_c2w_opencv.txt").reshape(-1, 4, 4)
        camera = Intrinsics(320.0, 320.0, 320.5, 240.5, 640, 480)
    views = [(read_color(color), read_depth(depth)) for color, depth in zip(colors, depths, strict=True)]
    return frames_of(views), poses, camera


def read_color(path: Path) -> Picture:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)  # noqa: TID251 - not turned, known to be BGR


def read_depth(path: Path) -> DepthMap:
    millimetres = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # noqa: TID251 - 16 bit
    return np.where(millimetres > 0, millimetres / 1000, np.nan).astype(np.float32)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count", "measured", "predicted"),
    [
        ("7scenes_redkitchen_a", 30, 0.025, 0.03),
        ("hololens_dvmvs_a", 45, 0.03, 0.05),
        ("tartanair_hospital_a", 25, 0.01, 0.025),
    ],
)
def test_real_walks(shared: Path, name: str, count: int, measured: float, predicted: float) -> None:
    """Paths of 1.0, 4.0 and 1.5 m; errors in metres, with the sensor's depth and with the noise of a network's."""
    frames, true, camera = real(shared, name)
    for depth_frames, limit in ((frames[:count], measured), (with_noise(frames[:count]), predicted)):
        out = list(track(depth_frames, camera))
        assert [frame.frame.index for frame in out] == list(range(count))
        assert {frame.segment for frame in out} == {0}
        assert trajectory_error(poses_of(out), true[:count]) < limit
