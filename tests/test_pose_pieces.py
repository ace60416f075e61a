from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import hand_held, rendered, room
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from recon.geometry import inverse, project, rigid, transform, unproject
from recon.io.trajectory import interpolate
from recon.stages.pose import loops, perspective, refine
from recon.stages.pose.features import features, pairs, unpacked
from recon.stages.pose.flow import CORNERS, Grey, corners, followed, grey
from recon.stages.pose.keyframes import KeyFrame, Memory, Seen, observations
from recon.stages.pose.perspective import LEAST_INLIERS, Matches, doubt, fix
from recon.stages.pose.world import World, depth_at, rays, turned
from recon.types import Intrinsics, Picture

CAMERA = Intrinsics.from_fov(65.0, 320, 240)
NO_CORNERS = np.zeros((0, 2))


@cache
def large_picture() -> Picture:
    """The furnished room, 1280 x 960."""
    return rendered(room(), CAMERA.scaled(1280, 960), hand_held(1, 1.0).world_from_camera, samples=1)[0][0]


def reduced(left: int, top: int) -> Grey:
    """300 x 220 of it at a quarter of its size, from a pixel on: shifts of quarters of a pixel are exact."""
    cut = large_picture()[top : top + 880, left : left + 1200]
    return grey(cv2.resize(cut, (300, 220), interpolation=cv2.INTER_AREA))


# Corners


def test_the_picture_is_reduced_to_its_working_size() -> None:
    assert grey(large_picture()).shape == (600, 800)
    assert grey(large_picture()[:100, :200]).shape == (100, 200), "and never enlarged"


def test_corners_keep_away_from_those_that_are_there() -> None:
    picture = reduced(0, 0)
    first = corners(picture, NO_CORNERS)
    assert 200 < len(first) <= CORNERS
    assert ((first > 0) & (first < [300, 220])).all()
    taken = first[::2]
    second = corners(picture, taken)
    assert len(second) > 50
    assert len(taken) + len(second) <= CORNERS
    apart = 6
    assert KDTree(second).query(taken)[0].min() > apart - 1.5, "a disc of pixels is free, up to the rounding of its rim"
    assert KDTree(second).query(second, k=2)[0][:, 1].min() >= apart


def test_there_are_no_more_corners_than_wanted() -> None:
    taken = np.random.default_rng(0).uniform(1, 200, (CORNERS, 2))
    assert corners(reduced(0, 0), taken).shape == (0, 2)
    assert corners(np.zeros((120, 160), np.uint8), NO_CORNERS).shape == (0, 2), "nor any where nothing is to be seen"


@pytest.mark.parametrize(("left", "top"), [(1, 2), (13, 7), (75, 51)])
def test_corners_are_followed_to_a_tenth_of_a_pixel(left: int, top: int) -> None:
    """Shifts of 0.6, 3.7 and 22.7 pixels, with no idea where to look."""
    a, b = reduced(0, 0), reduced(left, top)
    start = corners(a, NO_CORNERS)
    true = start - np.array([left, top]) / 4
    found, there = followed(a, b, start, start.copy())
    leaves = (true < 0).any(axis=1)
    assert not there[leaves].any()
    assert there[~leaves].mean() > 0.9
    error = np.linalg.norm(found - true, axis=1)[there]
    assert np.median(error) < 0.05
    assert np.percentile(error, 90) < 0.1
    assert np.abs(np.median((found - true)[there], axis=0)).max() < 0.03, "and there is no bias"


def test_one_level_suffices_where_it_is_known_where_to_look() -> None:
    a, b = reduced(0, 0), reduced(75, 51)
    start = corners(a, NO_CORNERS)
    true = start - np.array([75, 51]) / 4
    found, there = followed(a, b, start, true + np.array([1.5, -1.0]), levels=1)
    assert there[(true > 9).all(axis=1)].mean() > 0.95, "of those whose whole window is in both pictures"
    assert np.percentile(np.linalg.norm(found - true, axis=1)[there], 90) < 0.1


def test_what_is_not_in_the_other_picture_is_not_found() -> None:
    a = reduced(0, 0)
    b = np.ascontiguousarray(255 - a[::-1, ::-1])
    start = corners(a, NO_CORNERS)
    assert followed(a, b, start, start.copy())[1].mean() < 0.15
    assert not followed(a, np.zeros_like(a), start, start.copy())[1].any()
    nothing, none = followed(a, b, NO_CORNERS, NO_CORNERS)
    assert nothing.shape == (0, 2)
    assert none.shape == (0,)


# Features


def test_features_are_where_they_are_whatever_the_size() -> None:
    """Those of a picture of twice the size are at the same part of it."""
    small = reduced(0, 0)
    large = cv2.resize(small, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    a, b = features(small), features(large)
    pair = pairs(a.descriptors, b.descriptors)
    shift = b.pixels[pair[:, 1]] / 2 - a.pixels[pair[:, 0]]
    assert len(pair) > 100
    np.testing.assert_allclose(np.median(shift, axis=0), 0, atol=0.15)


def test_features_are_found_again_after_a_shift_and_a_turn() -> None:
    a, turned_by = reduced(0, 0), cv2.getRotationMatrix2D((150.0, 110.0), 40, 1.0)
    b = cv2.warpAffine(a, turned_by, (300, 220))
    first, second = features(a), features(b)
    pair = pairs(first.descriptors, second.descriptors)
    expected = (first.pixels[pair[:, 0]] - 0.5) @ turned_by[:, :2].T + turned_by[:, 2] + 0.5
    near = np.linalg.norm(second.pixels[pair[:, 1]] - expected, axis=1) < 3
    assert near.sum() > 100
    assert near.mean() > 0.8


def test_pairs_are_mutual_and_clear() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (40, 256)).astype(np.float32) * 2 - 1
    a, b = bits / 16, bits[::-1] / 16
    np.testing.assert_array_equal(pairs(a, b), np.stack([np.arange(40), np.arange(40)[::-1]], axis=1))
    twice = np.concatenate([b, b])
    assert len(pairs(a, twice)) == 0, "what is there twice is not clear"
    assert pairs(a[:0], b).shape == pairs(a, b[:1]).shape == (0, 2)


def test_a_picture_without_features_has_none() -> None:
    nothing = features(np.full((100, 120), 90, np.uint8))
    assert nothing.pixels.shape == (0, 2)
    assert nothing.descriptors.shape == (0, 256)


# Depth


def test_depth_between_pixels_is_exact_on_a_plane() -> None:
    plane = np.array([0.3, -0.4, 0.5])
    depth = (1 / (unproject(np.ones((240, 320), np.float32), CAMERA) @ plane)).astype(np.float32)
    pixels = np.random.default_rng(0).uniform(1, 239, (100, 2))
    expected = 1 / (rays(pixels, CAMERA) @ plane)
    np.testing.assert_allclose(depth_at(depth, pixels, CAMERA), expected, rtol=2e-3)
    half = CAMERA.scaled(160, 120)
    np.testing.assert_allclose(depth_at(depth, pixels / 2, half), expected, rtol=2e-3, err_msg="at another size")
    depth[100, 100] = np.nan
    assert np.isnan(depth_at(depth, np.array([[100.9, 100.2], [101.2, 101.2]]), CAMERA)).all()
    assert np.isfinite(depth_at(depth, np.array([[102.6, 100.5]]), CAMERA)).all()
    assert np.isnan(depth_at(depth, np.array([[-3.0, 50.0], [330.0, 50.0], [50.0, 250.0]]), CAMERA)).all()
    assert depth_at(depth, NO_CORNERS, CAMERA).shape == (0,)


# A camera from landmarks


def matches_seen_from(pose: np.ndarray, count: int = 200) -> Matches:
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 5], (count, 3))
    return Matches(transform(pose, points), project(points, CAMERA))


POSE = rigid(Rotation.from_euler("xyz", [10, -20, 5], degrees=True).as_matrix(), np.array([0.3, -0.2, 0.5]))


def test_a_step_goes_down_the_slope_of_the_loss_by_the_curvature_of_what_counts() -> None:
    """J'Wr is half the slope of Tukey's loss, by finite differences; J'WJ that of J'Wr where all matches are exact."""
    matches, exact = matches_seen_from(POSE), inverse(POSE)
    tolerance = perspective.TOLERANCE * CAMERA.width

    def moved(column: int, by: float) -> np.ndarray:
        step = by * np.eye(6)[column]
        return rigid(Rotation.from_rotvec(step[3:]).as_matrix(), step[:3]) @ exact

    def gradient(camera_from_world: np.ndarray, of: Matches) -> np.ndarray:
        return perspective._normal_equations(camera_from_world, of, CAMERA, tolerance)[1]

    def loss(camera_from_world: np.ndarray) -> float:
        square = np.square(project(transform(camera_from_world, off.points), CAMERA) - off.pixels).sum(axis=1)
        return float((1 - np.maximum(0, 1 - square / tolerance**2) ** 3).sum()) * tolerance**2 / 3

    off = Matches(matches.points, matches.pixels + np.random.default_rng(2).normal(0, 0.3, matches.pixels.shape))
    slope = np.array([(loss(moved(i, 1e-6)) - loss(moved(i, -1e-6))) / 2e-6 for i in range(6)])
    np.testing.assert_allclose(-slope / 2, gradient(exact, off), rtol=1e-3, atol=1e-3 * np.abs(slope).max())
    information, zero, weights = perspective._normal_equations(exact, matches, CAMERA, tolerance)
    curvature = [(gradient(moved(i, -1e-6), matches) - gradient(moved(i, 1e-6), matches)) / 2e-6 for i in range(6)]
    np.testing.assert_allclose(information, curvature, rtol=1e-3, atol=1e-3 * np.abs(information).max())
    np.testing.assert_allclose(zero, 0, atol=1e-6)
    assert (weights == 1).all()


@pytest.mark.parametrize("every", [2, 3])
def test_a_pose_is_found_among_wrong_matches(every: int) -> None:
    matches = matches_seen_from(POSE)
    wrong = np.arange(200) % every == 0
    matches.pixels[wrong] = np.random.default_rng(1).uniform(0, 240, (wrong.sum(), 2))
    found = fix(matches, CAMERA)
    assert found is not None
    np.testing.assert_allclose(found.world_from_camera, POSE, atol=1e-6)
    assert found.inliers[~wrong].all()
    assert found.inliers[wrong].mean() < 0.05
    assert doubt(found, 200, POSE) is None


def test_a_fix_says_how_uncertain_it_is() -> None:
    """Its standard deviation is that of repeated measurements with errors of half the tolerance."""
    matches, rng = matches_seen_from(POSE), np.random.default_rng(0)
    sigma = perspective.TOLERANCE * CAMERA.width / 2 / 4  # small enough for no match to be an outlier
    fixes = [fix(Matches(matches.points, matches.pixels + rng.normal(0, sigma, (200, 2))), CAMERA) for _ in range(40)]
    found = [each for each in fixes if each is not None]
    spread = np.sqrt(np.square([each.world_from_camera[:3, 3] - POSE[:3, 3] for each in found]).sum(axis=1).mean())
    assert len(found) == 40
    assert 4 * spread == pytest.approx(np.median([each.uncertainty for each in found]), rel=0.25)


def test_what_speaks_against_a_pose() -> None:
    found = fix(matches_seen_from(POSE), CAMERA)
    far = rigid(np.eye(3), np.array([0, 0, 9.0])) @ POSE
    aside = rigid(Rotation.from_euler("x", 60, degrees=True).as_matrix(), np.zeros(3)) @ POSE
    assert "agree with no camera" in str(doubt(None, 3, POSE))
    assert "200 of 900 matches agree" in str(doubt(found, 900, POSE))
    assert "a jump of" in str(doubt(found, 200, far))
    assert "60 degrees" in str(doubt(found, 200, aside))


def test_few_matches_do_not_make_a_pose() -> None:
    matches = matches_seen_from(POSE, LEAST_INLIERS - 1)
    assert fix(matches, CAMERA) is None


def test_points_in_one_spot_leave_the_position_open() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-0.05, -0.05, 4], [0.05, 0.05, 4.1], (60, 3))
    found = fix(Matches(points, project(points, CAMERA) + rng.normal(0, 0.2, (60, 2))), CAMERA)
    assert found is None or "leave the position open" in str(doubt(found, 60, np.eye(4)))


# Turns


def seen_in_turn(turn: Rotation, wrong: float = 0.0, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Corners, and where they are after the camera turned (now from then); some are anywhere."""
    rng = np.random.default_rng(0)
    then = rng.uniform([20, 20], [300, 220], (300, 2))
    now = project(turn.apply(rays(then, CAMERA)), CAMERA) + rng.normal(0, noise, then.shape)
    bad = rng.random(300) < wrong
    now[bad] = rng.uniform([0, 0], [320, 240], (bad.sum(), 2))
    return then, now


@given(st.tuples(*[st.floats(-12, 12)] * 3))
def test_a_turn_is_recovered(angles: tuple[float, float, float]) -> None:
    turn = Rotation.from_euler("yxz", angles, degrees=True)
    rotation, error = turned(*seen_in_turn(turn), CAMERA)
    np.testing.assert_allclose(rotation, turn.as_matrix(), atol=1e-9)
    assert error < 1e-6


def test_a_turn_is_recovered_among_wrong_corners() -> None:
    turn = Rotation.from_euler("yxz", [9, -4, 6], degrees=True)
    rotation, error = turned(*seen_in_turn(turn, wrong=0.25, noise=0.2), CAMERA)
    assert np.degrees((Rotation.from_matrix(rotation) * turn.inv()).magnitude()) < 0.1
    assert error < refine.TURNING


def test_a_movement_is_no_turn() -> None:
    points = np.random.default_rng(0).uniform([-1, -0.8, 2], [1, 0.8, 5], (300, 3))
    _, error = turned(project(points, CAMERA), project(points + np.array([0.1, 0, 0]), CAMERA), CAMERA)
    assert error > refine.TURNING


def test_turns_of_several_key_frames_are_chained_in_order() -> None:
    """Seven frames, key frames 0, 2 and 5; turns are known since the last key frame, which is one frame back at one."""
    angles = [(0, 0, 0), (5, 1, 0), (9, 8, 3), (2, 20, 4), (-5, 30, 9), (0, 40, 30), (20, 41, 50)]
    world_from_camera = [Rotation.from_euler("yxz", angle, degrees=True).as_matrix() for angle in angles]
    last, number = [0, 0, 0, 2, 2, 2, 5], [0, 0, 1, 1, 1, 2, 2]
    since = [world_from_camera[i].T @ world_from_camera[before] for i, before in enumerate(last)]
    world = World(CAMERA)
    world.frames = [SimpleNamespace(turn=(turn, 0.0), key_frame=key) for turn, key in zip(since, number, strict=True)]
    world.key_frames = [SimpleNamespace(frame=frame) for frame in (0, 2, 5)]
    poses = refine._turned(world, "turning")
    np.testing.assert_allclose(poses[:, :3, :3], world_from_camera, atol=1e-12)
    assert (poses[:, :3, 3] == 0).all()
    np.testing.assert_array_equal(refine._turned(world, "still"), np.tile(np.eye(4), (7, 1, 1)))


# Between key frames


def test_between_two_poses_the_camera_moves_and_turns_evenly() -> None:
    other = rigid(Rotation.from_euler("xyz", [40, 5, -70], degrees=True).as_matrix(), np.array([2.0, 0, 1]))
    np.testing.assert_allclose(interpolate(POSE, other, 0.0), POSE, atol=1e-12)
    np.testing.assert_allclose(interpolate(POSE, other, 1.0), other, atol=1e-12)
    steps = [interpolate(POSE, other, share) for share in np.linspace(0, 1, 5).tolist()]
    moves = [inverse(a) @ b for a, b in pairwise(steps)]
    turns = [Rotation.from_matrix(move[:3, :3]).as_rotvec() for move in moves]
    np.testing.assert_allclose(turns, np.tile(turns[0], (4, 1)), atol=1e-12)
    np.testing.assert_allclose(
        np.diff([step[:3, 3] for step in steps], axis=0), np.tile((other - POSE)[:3, 3] / 4, (4, 1))
    )


# Places that are seen again


def test_key_frames_are_as_alike_as_they_have_pairs() -> None:
    """Many are counted at once, and as ``pairs`` counts them; rows that fill up are like nothing."""
    rng = np.random.default_rng(0)
    described = np.sign(rng.normal(size=(6, 200, 256))).astype(np.float32) / 16
    for number in range(1, 6):
        described[number, : 20 * number] = described[0, : 20 * number]
        described[number, : 20 * number, :40] *= -1
    described[5, 150:] = 0
    counted = loops._alike(described[0], described)
    assert counted.tolist() == [len(pairs(described[0], each)) for each in described]
    assert counted[0] == 200
    assert counted[1:].tolist() == pytest.approx([20, 40, 60, 80, 100], abs=2)


# What is adjusted


def key_frame(number: int, landmarks: Sequence[int]) -> KeyFrame:
    seen = Seen(np.array(landmarks, np.int64), np.random.default_rng(number).uniform(0, 240, (len(landmarks), 2)))
    nothing = Memory.of(
        np.zeros((8, 8), np.uint8), features(np.zeros((64, 64), np.uint8)), np.zeros((0, 3), np.float32)
    )
    return KeyFrame(number, np.eye(4), np.eye(4), 1.0, seen, np.arange(len(landmarks)) + 1.0, nothing)


def test_a_key_frame_that_sees_more_keeps_what_it_has() -> None:
    more = Seen(np.array([7, 2, 8]), np.array([[1.0, 2], [3, 4], [5, 6]]))
    first = key_frame(0, [1, 2, 3])
    both = first.seeing(more)
    assert both.seen.landmark.tolist() == [1, 2, 3, 7, 8]
    np.testing.assert_array_equal(both.seen.pixel, np.concatenate([first.seen.pixel, more.pixel[[0, 2]]]))
    np.testing.assert_array_equal(both.depth, [1, 2, 3, np.nan, np.nan])


def test_a_memory_is_small_and_knows_its_picture_and_features() -> None:
    """Corners of a picture of 640 x 480 with a thousand features: some 100 kB."""
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (480, 640), np.uint8), (0, 0), 2)
    described = features(picture)
    memory = Memory.of(picture, described, np.ones((len(described.pixels), 3), np.float32))
    assert np.abs(memory.grey.astype(int) - picture).mean() < 1
    np.testing.assert_array_equal(unpacked(memory.bits), described.descriptors)
    assert memory.picture.nbytes + memory.pixels.nbytes + memory.points.nbytes + memory.bits.nbytes < 150_000


def test_landmarks_that_two_key_frames_show_are_observed() -> None:
    key_frames = [key_frame(0, [0, 1, 2, 3]), key_frame(1, [3, 5, 1]), key_frame(2, [9, 1])]
    observed, kept = observations(key_frames, 10, 100)
    assert kept.tolist() == [1, 3]
    assert list(zip(observed.camera.tolist(), kept[observed.landmark].tolist(), strict=True)) == [
        (0, 1),
        (0, 3),
        (1, 3),
        (1, 1),
        (2, 1),
    ]
    assert observed.depth.tolist() == [2, 4, 1, 3, 2]
    np.testing.assert_array_equal(observed.pixel[2], key_frames[1].seen.pixel[0])


def test_of_many_landmarks_those_that_most_key_frames_see_take_part() -> None:
    """Ten key frames see a thousand landmarks of their own each with the next one, and fifty that all see."""
    key_frames = [
        key_frame(number, [*range(1000 * number + 50, 1000 * number + 2050), *range(50)]) for number in range(10)
    ]
    observed, kept = observations(key_frames, 11_050, 200)
    assert kept[:50].tolist() == list(range(50)), "all those"
    in_each = np.bincount(observed.camera, minlength=10)
    assert (in_each >= 200).all()
    assert in_each.sum() < 10 * 400, "and little more than enough"
    seen_by = np.bincount(observed.landmark)
    assert (seen_by[:50] == 10).all()
    assert (seen_by >= 2).all(), "whole tracks"
    everything, _ = observations(key_frames, 11_050, 5000)
    assert len(everything.camera) == 10 * 50 + 2 * 9 * 1000
