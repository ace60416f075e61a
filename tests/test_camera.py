"""The camera: who is asked first, and what is said when nobody knows."""

import logging
from dataclasses import replace

import pytest

from recon.errors import CameraError
from recon.stages.camera import ASSUMED_FOV, Camera, assumed, first_known, fov_sigma, from_fov, given, measured
from recon.types import Intrinsics

WIDE = Intrinsics(500.0, 500.0, 330.0, 240.0, 640, 480)


def test_the_first_source_that_knows_wins_and_later_ones_are_not_asked() -> None:
    asked: list[str] = []

    def source(name: str, camera: Camera | None) -> Camera | None:
        asked.append(name)
        return camera

    known = from_fov(70.0, "--fov", 640, 480)
    camera = first_known(
        lambda: source("file", None),
        lambda: source("fov", known),
        lambda: source("network", known),
        width=640,
        height=480,
    )
    assert camera is known
    assert asked == ["file", "fov"]


def test_a_calibration_follows_the_size_of_the_pictures() -> None:
    camera = given(WIDE, "camera.json", 1280, 960)
    assert (camera.intrinsics.fx, camera.intrinsics.cx) == (1000.0, 660.0)
    assert camera.fov_spread is None


def test_a_calibration_of_another_shape_is_refused() -> None:
    with pytest.raises(CameraError, match=r"camera\.json: calibrated for 640 x 480 pictures, but these are 1280 x 720"):
        given(WIDE, "camera.json", 1280, 720)


def test_an_unknown_camera_is_assumed_aloud(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "recon"):
        camera = first_known(lambda: None, width=1280, height=720)
    assert camera.origin == "assumed"
    assert camera.intrinsics.fov_x == pytest.approx(ASSUMED_FOV)
    assert "not known" in caplog.text


def test_the_assumption_is_about_the_camera_and_not_about_how_it_is_held() -> None:
    upright, level = assumed(720, 1280).intrinsics, assumed(1280, 720).intrinsics
    assert upright.fx == level.fx


def test_how_sure_a_focal_length_is_depends_on_who_says_it() -> None:
    """What somebody says is never changed; the rest by as much as it may be wrong."""
    told = from_fov(60.0, "--fov", 640, 480)
    assert told is not None
    assert (told.focal_sigma, given(WIDE, "camera.json", 640, 480).focal_sigma) == (0, 0)
    seen = measured(told.intrinsics, "MoGe, median of 8 frames", 0.0)
    assert 0 < seen.focal_sigma < assumed(640, 480).focal_sigma
    apart = measured(told.intrinsics, "MoGe, median of 8 frames", 5.0)
    assert apart.focal_sigma > seen.focal_sigma
    assert apart.fov_spread == 5.0


@pytest.mark.parametrize("fov", [20.0, 60.0, 120.0])
def test_degrees_follow_from_focal_lengths(fov: float) -> None:
    known = Intrinsics.from_fov(fov, 640, 480)
    low, high = (replace(known, fx=known.fx * by, fy=known.fy * by).fov_x for by in (1.001, 0.999))
    assert fov_sigma(fov, 0.001) == pytest.approx((high - low) / 2, rel=1e-4)


def test_a_refined_camera_says_from_what() -> None:
    before = assumed(640, 480)
    camera = before.refined(1.1, 0.02, 27)
    assert camera.intrinsics == replace(before.intrinsics, fx=1.1 * before.intrinsics.fx, fy=1.1 * before.intrinsics.fy)
    assert camera.origin == "refined from 27 key frames; assumed: 60.0"
    assert camera.focal_sigma == 0.02
    assert camera.fov_spread == pytest.approx(fov_sigma(camera.intrinsics.fov_x, 0.02))
    assert not camera.assumed
