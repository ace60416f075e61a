"""The focal length of a tracked path: refined where the pictures say it, kept where they do not or somebody said it."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scenes import PHONE as CAMERA
from scenes import hand_held, rendered, room
from scenes import walk as walked
from scipy.spatial.transform import Rotation

from recon.geometry import rigid
from recon.pipelines.poses import Found, refined_camera
from recon.stages.camera import Camera, fov_sigma
from recon.stages.pose import Segment, estimate
from recon.stages.pose.refine import SHARP
from recon.types import DepthFrame, DepthMap, Frame, Intrinsics, Picture

UNSURE = 0.17


def frames_of(views: Sequence[tuple[Picture, DepthMap]], first: int = 0) -> list[DepthFrame]:
    return [DepthFrame(Frame(first + i, (first + i) / 30, rgb), depth) for i, (rgb, depth) in enumerate(views)]


def walk() -> tuple[list[DepthFrame], np.ndarray]:
    """Twenty-four frames of a fast walk through the furnished room."""
    views, poses = walked()
    return frames_of(views), poses


@cache
def placed(by: float, focal_sigma: float) -> Segment:
    """That walk, by a camera whose focal length is said to be longer than it is."""
    (segment,) = estimate(walk()[0], zoomed(by), focal_sigma)
    return segment


def zoomed(by: float) -> Intrinsics:
    return replace(CAMERA, fx=by * CAMERA.fx, fy=by * CAMERA.fy)


def focal_factor(segment: Segment) -> float:
    """Focal length over the true one."""
    own = segment.intrinsics
    return own.fx / CAMERA.scaled(own.width, own.height).fx


def error(segment: Segment, true: np.ndarray) -> float:
    """Root mean square distance after the best similarity (Umeyama, PAMI 1991), in the length of the path."""
    a, b = segment.trajectory.world_from_camera[:, :3, 3], true[:, :3, 3]
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1, 1, np.sign(np.linalg.det(u @ vt))])
    scale = (s * sign).sum() / np.square(a).sum()
    off = scale * a @ (u @ np.diag(sign) @ vt).T - b
    return float(
        np.sqrt(np.square(off).sum(axis=1).mean()) / np.linalg.norm(np.diff(true[:, :3, 3], axis=0), axis=1).sum()
    )


@pytest.mark.parametrize("by", [0.87, 1.15])
def test_a_walk_says_the_focal_length(by: float) -> None:
    """Both fx and fy, and the path is better for it; the standard deviation is honest."""
    true, held, segment = walk()[1], placed(by, 0.0), placed(by, UNSURE)
    assert segment.focal_sigma is not None
    assert segment.focal_sigma <= min(SHARP, UNSURE / 2)
    assert abs(np.log(focal_factor(segment))) < 2 * segment.focal_sigma
    assert abs(np.log(focal_factor(segment))) < 0.3 * abs(np.log(by))
    assert segment.intrinsics.fx / segment.intrinsics.fy == pytest.approx(CAMERA.fx / CAMERA.fy)
    assert (held.intrinsics.cx, held.intrinsics.width) == (segment.intrinsics.cx, segment.intrinsics.width)
    assert error(segment, true) < 0.5 * error(held, true)


def test_a_focal_length_that_somebody_says_stays_to_the_last_bit() -> None:
    segment = placed(1.15, 0.0)
    assert segment.intrinsics == zoomed(1.15)
    assert segment.focal_sigma is None


def test_landmarks_are_seen_through_the_refined_focal_length() -> None:
    """So what is exported, poses, landmarks, pixels and intrinsics, belongs together."""
    segment = placed(1.15, UNSURE)
    structure, own = segment.structure, segment.intrinsics
    seen = structure.seen
    world_from_camera = segment.trajectory.world_from_camera[structure.key_frames][seen.camera]
    place = np.einsum(
        "nji,nj->ni", world_from_camera[:, :3, :3], structure.landmarks[seen.landmark] - world_from_camera[:, :3, 3]
    )
    pixel = place[:, :2] / place[:, 2:] * [own.fx, own.fy] + [own.cx, own.cy]
    assert np.median(np.linalg.norm(pixel - seen.pixel, axis=1)) < 0.3


def still() -> list[DepthFrame]:
    return frames_of([walked()[0][0]] * 6)


def turning() -> list[DepthFrame]:
    start = hand_held(1, 1.0).world_from_camera[0]
    turns = Rotation.from_rotvec(np.radians(np.arange(8)[:, None] * [0.3, 3.0, 0.0])).as_matrix()
    poses = start @ np.stack([rigid(each, np.zeros(3)) for each in turns])
    return frames_of(rendered(room(), CAMERA, poses, samples=1))


@pytest.mark.parametrize("frames", [still, turning, lambda: walk()[0][:2]])
def test_too_little_movement_leaves_what_was_assumed(frames: object) -> None:
    """Still, turning by 21 degrees, two frames: poses are those of the assumed focal length then, in every digit."""
    assert callable(frames)
    (known,), (segment,) = estimate(frames(), CAMERA), estimate(frames(), CAMERA, UNSURE)
    assert segment.focal_sigma is None
    assert segment.intrinsics == CAMERA
    np.testing.assert_allclose(segment.trajectory.world_from_camera, known.trajectory.world_from_camera, atol=5e-3)


def test_the_next_segment_begins_with_what_the_last_one_found() -> None:
    frames = walk()[0]
    cut = [
        DepthFrame(
            Frame(30 + i, 1 + i / 30, np.ascontiguousarray(255 - each.frame.rgb[::-1, :, ::-1])), each.depth[::-1]
        )
        for i, each in enumerate(frames[:3])
    ]
    first, second = estimate([*frames, *cut], zoomed(1.12), UNSURE)
    assert first.focal_sigma is not None
    assert second.intrinsics == first.intrinsics, "three frames say nothing more of it"
    assert second.focal_sigma is None


def test_a_prior_that_is_sharp_is_not_moved_by_less_than_it_knows() -> None:
    """What the pictures say counts by how sure it is, with errors that are alike."""
    wide, sharp = placed(1.15, UNSURE), placed(1.15, 0.001)
    assert wide.focal_sigma is not None
    assert wide.focal_sigma > 0.001, "or this says nothing"
    assert sharp.focal_sigma is None
    assert focal_factor(sharp) == pytest.approx(1.15, rel=1e-12)


def found(segment: Segment) -> Found:
    return Found(segment, np.arange(len(segment.trajectory.times)), "metres", estimated=True)


def test_the_camera_of_a_run_is_that_of_the_surest_segment_and_says_so() -> None:
    segment = placed(1.15, UNSURE)
    assert segment.focal_sigma is not None
    before = Camera(zoomed(1.15).scaled(1280, 960), "assumed", None, UNSURE)
    less_sure = replace(segment, intrinsics=zoomed(1.2), focal_sigma=0.1)
    camera = refined_camera(before, [found(less_sure), found(segment)])
    count = len(segment.structure.key_frames)
    assert camera.origin == f"refined from {count} key frames; assumed: {before.intrinsics.fov_x:.1f}"
    assert not camera.assumed
    assert camera.intrinsics.fx == pytest.approx(4 * segment.intrinsics.fx)
    assert camera.intrinsics.fov_x == pytest.approx(65, abs=3)
    assert camera.fov_spread == pytest.approx(fov_sigma(camera.intrinsics.fov_x, segment.focal_sigma))
    told = found(segment).sentence
    assert f"; it sees {segment.intrinsics.fov_x:.1f} +- {camera.fov_spread:.1f} degrees" in told
    assert found(segment).facts["fov_sigma_degrees"] == pytest.approx(camera.fov_spread)


def test_nothing_is_told_of_a_camera_that_was_not_refined() -> None:
    segment = placed(1.15, 0.0)
    before = Camera(CAMERA, "--fov", None)
    assert refined_camera(before, [found(segment)]) is before
    assert refined_camera(before, []) is before
    assert "it sees" not in found(segment).sentence
    assert found(segment).facts["fov_sigma_degrees"] is None
