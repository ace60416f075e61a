import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from scenes import hand_held, rendered, room
from scipy.spatial.transform import Rotation

from recon.bundle import Bundle, residual_pixels
from recon.errors import MissingPackageError
from recon.geometry import inverse, rigid
from recon.stages.pose import Segment
from recon.stages.pose.colmap import Model, Workspace, compared, signatures
from recon.stages.pose.reconstruct import chosen, reconstructed, unit_of
from recon.types import DepthFrame, Frame, Intrinsics, RigidTransform

CAMERA = Intrinsics.from_fov(65.0, 320, 240)


def frames_along(poses: np.ndarray) -> list[DepthFrame]:
    views = rendered(room(), CAMERA, poses, samples=1)
    return [DepthFrame(Frame(i, i / 30, rgb), depth) for i, (rgb, depth) in enumerate(views)]


@cache
def walk() -> tuple[list[DepthFrame], np.ndarray]:
    """Twenty-four frames of a walk through the furnished room."""
    poses = hand_held(24, 4.0).world_from_camera
    return frames_along(poses), poses


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
    np.testing.assert_allclose(segment.trajectory.world_from_camera[0], np.eye(4), atol=1e-12)
    assert path_length(segment.trajectory.world_from_camera) == pytest.approx(path_length(true), rel=0.02)
    assert errors(segment, true).max() < 0.01 * path_length(true)
    assert not caplog.records
