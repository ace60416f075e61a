import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from scenes import PHONE as CAMERA
from scenes import View, hand_held, rendered, room
from scenes import walk as viewed
from scipy.spatial.transform import Rotation

from recon.bundle import Bundle, residual_pixels
from recon.errors import MissingPackageError
from recon.geometry import inverse, rigid
from recon.stages.pose import Segment
from recon.stages.pose.colmap import Model, Workspace, compared, signatures
from recon.stages.pose.reconstruct import reconstructed, unit_of
from recon.types import DepthFrame, Frame, Intrinsics


def frames_of(views: Sequence[View]) -> list[DepthFrame]:
    return [DepthFrame(Frame(i, i / 30, rgb), depth) for i, (rgb, depth) in enumerate(views)]


def walk() -> tuple[list[DepthFrame], np.ndarray]:
    """Twenty-four frames of a walk through the furnished room."""
    views, poses = viewed()
    return frames_of(views), poses


@cache
def walked() -> Segment:
    return only(walk()[0])


def found(frames: Sequence[DepthFrame], **options: object) -> list[Segment]:
    return list(reconstructed(lambda: iter(frames), CAMERA, **options))


def only(frames: Sequence[DepthFrame], **options: object) -> Segment:
    (segment,) = found(frames, **options)
    return segment


def indices_of(segment: Segment) -> list[int]:
    return np.rint(segment.trajectory.times * 30).astype(int).tolist()


def path_length(poses: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum())


def errors(segment: Segment, true: np.ndarray) -> np.ndarray:
    """Distances of the centres, both paths seen from their first cameras; nothing is fitted."""
    return np.linalg.norm(segment.trajectory.world_from_camera[:, :3, 3] - (inverse(true[0]) @ true)[:, :3, 3], axis=1)


def test_a_walk_has_metres_and_ends_where_it_should(caplog: pytest.LogCaptureFixture) -> None:
    frames, true = walk()
    segment = only(frames)
    assert segment.motion == "free"
    assert indices_of(segment) == list(range(24))
    assert len(segment.structure.key_frames) < 24, "some are placed among the landmarks of others"
    np.testing.assert_allclose(segment.trajectory.world_from_camera[0], np.eye(4), atol=1e-12)
    assert path_length(segment.trajectory.world_from_camera) == pytest.approx(path_length(true), rel=0.015)
    assert errors(segment, true).max() < 0.01 * path_length(true)
    assert not caplog.records


def test_landmarks_are_where_key_frames_and_depth_maps_see_them() -> None:
    segment, frames = walked(), walk()[0]
    structure, seen = segment.structure, segment.structure.seen
    poses = inverse(segment.trajectory.world_from_camera[structure.key_frames])
    bundle = Bundle(poses, np.ones(len(poses)), structure.landmarks)
    off = residual_pixels(bundle, seen, segment.intrinsics)
    assert np.median(off) < 0.7
    assert off.max() < 10
    place = np.einsum("nij,nj->ni", poses[seen.camera, :3, :3], structure.landmarks[seen.landmark])
    depth = place[:, 2] + poses[seen.camera, 2, 3]
    assert np.nanmedian(np.abs(depth / seen.depth - 1)) < 0.01
    column, row = seen.pixel.astype(int).T
    pictures = [frames[number].frame.rgb for number in structure.key_frames]
    shown = np.stack([pictures[c][y, x] for c, y, x in zip(seen.camera, row, column, strict=True)]).astype(float)
    assert np.median(np.abs(shown - structure.colors[seen.landmark])) < 12


def test_the_same_frames_give_the_same_poses_quietly_and_leave_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    level = pycolmap.logging.minloglevel
    again = only(walk()[0])
    np.testing.assert_array_equal(again.trajectory.world_from_camera, walked().trajectory.world_from_camera)
    np.testing.assert_array_equal(again.structure.landmarks, walked().structure.landmarks)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert pycolmap.logging.minloglevel == level


def test_the_workspace_goes_whatever_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken() -> Iterator[DepthFrame]:
        yield walk()[0][0]
        raise OSError("the file ends")

    with pytest.raises(OSError, match="the file ends"):
        list(reconstructed(broken, CAMERA))
    assert not list(tmp_path.iterdir())


def test_focal_lengths_are_found_only_when_that_is_asked_for() -> None:
    wrong = Intrinsics(CAMERA.fx * 1.06, CAMERA.fy * 1.06, CAMERA.cx, CAMERA.cy, CAMERA.width, CAMERA.height)
    (kept,), (told,) = (
        list(reconstructed(lambda: iter(walk()[0]), wrong, refine_focal=refine)) for refine in (False, True)
    )
    assert kept.intrinsics == wrong
    assert abs(told.intrinsics.fx / CAMERA.fx - 1) < 0.03, "half of the error goes, by so short a walk"
    assert abs(told.intrinsics.fy / CAMERA.fy - 1) < 0.03


def test_depth_that_drifts_and_frames_without_a_place_are_said(caplog: pytest.LogCaptureFixture) -> None:
    frames = [
        DepthFrame(frame.frame, np.float32(1.5 ** (number / 23)) * frame.depth)
        for number, frame in enumerate(walk()[0])
    ]
    black = [
        DepthFrame(Frame(number, number / 30, np.zeros((240, 320, 3), np.uint8)), frames[0].depth) for number in (0, 1)
    ]
    later = [
        DepthFrame(Frame(each.frame.index + 2, each.frame.time + 2 / 30, each.frame.rgb), each.depth) for each in frames
    ]
    segment = only([*black, *later])
    assert indices_of(segment) == list(range(2, 26))
    left_out, doubtful = (record.getMessage() for record in caplog.records)
    assert left_out == "frame 0 (0.00 s) to frame 1 (0.03 s): 2 frames could not be placed; left out"
    assert doubtful.startswith("frame 2 (0.07 s) to frame 25 (0.83 s): the scale of the poses is doubtful")


# What structure from motion is not for


def test_a_camera_that_only_turns_is_tracked_instead(caplog: pytest.LogCaptureFixture) -> None:
    start = hand_held(1, 1.0).world_from_camera[0]
    turns = [Rotation.from_euler("yx", [4 * i, 0.2 * i**2], degrees=True).as_matrix() for i in range(8)]
    poses = start @ np.stack([rigid(turn, np.zeros(3)) for turn in turns])
    segment = only(frames_of(rendered(room(), CAMERA, poses, samples=1)))
    assert segment.motion == "turning"
    assert indices_of(segment) == list(range(8))
    assert "structure from motion finds no way of the camera" in caplog.text


@pytest.mark.parametrize("count", [0, 1, 3])
def test_short_clips_are_tracked_instead(count: int, caplog: pytest.LogCaptureFixture) -> None:
    segments = found(walk()[0][: 8 * count : 8])
    assert [indices_of(segment) for segment in segments] == [list(range(0, 8 * count, 8))] * (count > 0)
    assert "too few for structure from motion" in caplog.text


def test_a_camera_that_stands_still_is_tracked_instead(caplog: pytest.LogCaptureFixture) -> None:
    view = walk()[0][0]
    rng = np.random.default_rng(0)
    pictures = [np.clip(view.frame.rgb + rng.normal(0, 2, view.frame.rgb.shape), 0, 255) for _ in range(8)]
    segment = only([DepthFrame(Frame(i, i / 30, p.astype(np.uint8)), view.depth) for i, p in enumerate(pictures)])
    assert segment.motion == "still"
    assert "only 2 pictures show something new" in caplog.text


def test_a_missing_package_is_said_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycolmap", None)

    def never() -> Iterator[DepthFrame]:
        raise RuntimeError("read")

    with pytest.raises(MissingPackageError, match=r'pip install "recon-video\[colmap\]"'):
        list(reconstructed(never, CAMERA))


# Pieces


def test_neighbours_and_lookalikes_are_compared() -> None:
    """Two hundred pictures along a way whose second half goes along the first one again."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(0, 1, (100, 16)).astype(np.float32)
    unit = kinds / np.linalg.norm(kinds, axis=1, keepdims=True)
    pairs = compared(np.concatenate([unit, unit])).tolist()
    assert len(pairs) == len({tuple(pair) for pair in pairs})
    assert all(first < second for first, second in pairs)
    for first in range(190):
        assert {first + step for step in range(1, 11)} <= {b for a, b in pairs if a == first}
    assert all([number, number + 100] in pairs for number in range(100)), "the loop closes"
    assert len(pairs) < 200 * (10 + 8 + 10), "and few others are"


def test_pictures_of_one_place_look_alike() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 200, (40, 128)).astype(np.uint8)
    shown = [rng.choice(20, 300), rng.choice(20, 300), 20 + rng.choice(20, 300), np.zeros(0, int)]
    pictures = [kinds[which] + rng.integers(0, 50, (len(which), 128)).astype(np.uint8) for which in shown]
    likeness = signatures(lambda number: pictures[number], 4)
    likeness = likeness @ likeness.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2
    assert np.diag(likeness) == pytest.approx([1, 1, 1, 0], abs=1e-5), "a picture without features is like none"


def model_of(depths: np.ndarray) -> Model:
    """Cameras in one place that see depths[camera]."""
    cameras, each = depths.shape
    points = np.column_stack([np.zeros((depths.size, 2)), depths.ravel()])
    poses = np.tile(np.eye(4), (cameras, 1, 1))
    camera = np.repeat(np.arange(cameras), each)
    pixel = np.full((depths.size, 2), 100.0)
    colors = np.zeros((depths.size, 3), np.uint8)
    return Model(np.arange(cameras), poses, points, colors, camera, np.arange(depths.size), pixel, CAMERA)


def test_the_unit_is_what_most_maps_say() -> None:
    rng = np.random.default_rng(0)
    depths = rng.uniform(1, 5, (11, 60))
    maps = 2.5 * depths * np.exp(rng.normal(0, 0.02, (11, 60)))
    maps[:, :20] *= 3  # mismatches
    maps[4] *= 5  # a map of its own
    maps[7, :50] = np.nan  # too few to have a say
    unit = unit_of(model_of(depths), maps.ravel())
    assert unit is not None
    assert unit.length == pytest.approx(2.5, rel=0.03)
    assert unit.scatter < 0.02
    assert unit.doubt() is None


@pytest.mark.parametrize("drift", [0.5, -0.5])
def test_a_drift_of_depth_is_a_doubt(drift: float) -> None:
    depths = np.full((11, 30), 2.0)
    unit = unit_of(model_of(depths), (depths * np.exp(drift * np.arange(11) / 10)[:, None]).ravel())
    assert unit is not None
    assert unit.drift == pytest.approx(drift)
    assert "from the beginning to the end" in str(unit.doubt())


def test_without_depth_there_is_no_unit() -> None:
    assert unit_of(model_of(np.ones((6, 30))), np.full(180, np.nan)) is None


def test_large_pictures_are_reduced(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.add(cv2.resize(walk()[0][0].frame.rgb, (2048, 1536)))
    assert workspace.picture(0).shape == (768, 1024, 3)
