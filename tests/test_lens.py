"""Lenses: there and back, with COLMAP's own code and OpenCV's as oracles."""

import logging

import cv2
import numpy as np
import pycolmap
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import CameraError
from recon.io.lens import Lens, lens_of_colmap, neglected, outline
from recon.types import Intrinsics

WIDTH, HEIGHT = 640, 480
F, C = (500.0, 510.0), (330.0, 235.0)
WIDE = (300.0, 305.0)
LENSES: dict[str, tuple[float, ...]] = {
    "SIMPLE_PINHOLE": (F[0], *C),
    "PINHOLE": (*F, *C),
    "SIMPLE_RADIAL": (F[0], *C, -0.2),
    "RADIAL": (F[0], *C, -0.25, 0.05),
    "OPENCV": (*F, *C, -0.28, 0.07, 0.002, -0.001),
    "FULL_OPENCV": (*F, *C, -0.2, 0.1, 0.002, -0.001, 0.01, 0.05, -0.01, 0.01),
    "SIMPLE_FISHEYE": (WIDE[0], *C),
    "FISHEYE": (*WIDE, *C),
    "SIMPLE_RADIAL_FISHEYE": (WIDE[0], *C, 0.02),
    "RADIAL_FISHEYE": (WIDE[0], *C, 0.02, -0.01),
    "OPENCV_FISHEYE": (*WIDE, *C, 0.02, -0.01, 0.003, -0.001),
    "THIN_PRISM_FISHEYE": (*WIDE, *C, 0.02, -0.01, 0.001, -0.002, 0.003, -0.001, 0.001, 0.002),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *(*WIDE, *C, 0.02, -0.01, 0.003, -0.001, 0.0005, -0.0001),
        *(0.001, -0.002, 0.001, -0.0005, 0.002, 0.0003),
    ),
    "FOV": (*WIDE, *C, 0.9),
    "SIMPLE_DIVISION": (F[0], *C, -0.2),
    "DIVISION": (*F, *C, -0.2),
    "EUCM": (*WIDE, *C, 0.6, 1.1),
}
"""Every kind, as phones and action cameras have them: corners are 100 px or more off."""
PIXELS = np.random.default_rng(0).uniform(0, (WIDTH, HEIGHT), (200, 2))


def lens_of(kind: str, *parameters: float) -> Lens:
    return lens_of_colmap(kind, parameters or LENSES[kind], (WIDTH, HEIGHT), "test")


def oracle_of(kind: str) -> pycolmap.Camera:
    return pycolmap.Camera(model=kind, width=WIDTH, height=HEIGHT, params=LENSES[kind])


# -------------------------------------------------------------------------------------------------------------- oracles


@pytest.mark.parametrize("kind", LENSES)
def test_pixels_are_colmaps(kind: str) -> None:
    plane = lens_of(kind).plane_from_pixels(PIXELS)
    assert np.isfinite(plane).all()
    theirs = oracle_of(kind).img_from_cam(np.column_stack([plane, np.ones(len(plane))]))
    np.testing.assert_allclose(theirs, PIXELS, atol=1e-7)
    np.testing.assert_allclose(lens_of(kind).pixels_from_plane(plane), PIXELS, atol=1e-7)


@pytest.mark.parametrize("kind", LENSES)
def test_directions_are_colmaps(kind: str) -> None:
    plane = lens_of(kind).plane_from_pixels(PIXELS)
    theirs = np.array([oracle_of(kind).cam_from_img(pixel) for pixel in PIXELS])
    np.testing.assert_allclose(plane, theirs, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("kind", ["OPENCV", "FULL_OPENCV"])
def test_pixels_are_opencvs(kind: str) -> None:
    """OpenCV calls the centre of the first pixel 0: half a pixel is between its picture and ours."""
    plane = np.random.default_rng(1).uniform(-0.5, 0.5, (100, 2))
    lens, points = lens_of(kind), np.column_stack([plane, np.ones(len(plane))])
    matrix = lens.intrinsics.matrix - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
    theirs = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, np.array(lens.coefficients))[0][:, 0]
    np.testing.assert_allclose(lens.pixels_from_plane(plane), theirs + 0.5, atol=1e-9)


def test_pixels_are_those_of_opencvs_fisheye() -> None:
    plane = np.random.default_rng(1).uniform(-2, 2, (100, 2))
    lens = lens_of("OPENCV_FISHEYE")
    theirs = cv2.fisheye.distortPoints(plane[:, None], lens.intrinsics.matrix, np.array(lens.coefficients))[:, 0]
    np.testing.assert_allclose(lens.pixels_from_plane(plane), theirs, atol=1e-9)
    back = cv2.fisheye.undistortPoints(theirs[:, None], lens.intrinsics.matrix, np.array(lens.coefficients))[:, 0]
    np.testing.assert_allclose(lens.plane_from_pixels(theirs), back, atol=1e-5)


# ------------------------------------------------------------------------------------------------------- there and back

SMALL = st.floats(-0.02, 0.02)
LARGE = st.floats(-0.35, 0.35)
RANGES: dict[str, list[st.SearchStrategy[float]]] = {
    "SIMPLE_RADIAL": [LARGE],
    "RADIAL": [LARGE, LARGE],
    "OPENCV": [LARGE, LARGE, SMALL, SMALL],
    "FULL_OPENCV": [LARGE, LARGE, SMALL, SMALL, LARGE, LARGE, LARGE, LARGE],
    "SIMPLE_RADIAL_FISHEYE": [LARGE],
    "RADIAL_FISHEYE": [LARGE, LARGE],
    "OPENCV_FISHEYE": [LARGE, LARGE, LARGE, LARGE],
    "THIN_PRISM_FISHEYE": [LARGE, LARGE, SMALL, SMALL, LARGE, LARGE, SMALL, SMALL],
    "RAD_TAN_THIN_PRISM_FISHEYE": [*[LARGE] * 6, *[SMALL] * 6],
    "FOV": [st.floats(0.0, 1.5)],
    "SIMPLE_DIVISION": [LARGE],
    "DIVISION": [LARGE],
    "EUCM": [st.floats(0.0, 0.95), st.floats(0.5, 2.0)],
}


@pytest.mark.parametrize("kind", RANGES)
@given(data=st.data())
def test_what_is_shown_is_found_again(kind: str, data: st.DataObject) -> None:
    """Any coefficients, any direction within 80 degrees: a pixel is shown by one direction alone, or by none.

    Close to where a polynomial turns back nothing tells directions apart, so that a hundredth of the way is left out.
    """
    coefficients = tuple(data.draw(each) for each in RANGES[kind])
    lens = Lens(Intrinsics(*F, *C, WIDTH, HEIGHT), kind, coefficients)
    angle = np.radians(data.draw(st.lists(st.floats(0, 80), min_size=8, max_size=8)))
    turn = data.draw(st.floats(0, 2 * np.pi))
    plane = np.tan(angle)[:, None] * [np.cos(turn), np.sin(turn)]
    clear = np.isfinite(lens.pixels_from_plane(plane * 1.02)).all(axis=1)
    found = lens.plane_from_pixels(lens.pixels_from_plane(plane[clear]))
    np.testing.assert_allclose(found, plane[clear], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", LENSES)
def test_a_lens_of_half_the_size_shows_the_same(kind: str) -> None:
    lens = lens_of(kind)
    halved = lens.scaled(WIDTH // 2, HEIGHT // 2)
    np.testing.assert_allclose(halved.plane_from_pixels(PIXELS / 2), lens.plane_from_pixels(PIXELS), atol=1e-9)


@pytest.mark.parametrize("kind", LENSES)
def test_the_axis_is_the_principal_point(kind: str) -> None:
    lens = lens_of(kind)
    np.testing.assert_allclose(lens.pixels_from_plane(np.zeros((1, 2))), [C], atol=1e-9)
    np.testing.assert_allclose(lens.plane_from_pixels(np.array([C])), [(0, 0)], atol=1e-9)


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_polynomial_that_turns_back_shows_nothing_beyond() -> None:
    """r (1 - 0.3 r^2) is greatest, 0.703, at r = 1.054: what lies farther out would be seen again, mirrored."""
    lens = lens_of("SIMPLE_RADIAL", 500.0, 320.0, 240.0, -0.3)
    inside, beyond = np.array([[1.05, 0.0]]), np.array([[1.06, 0.0]])
    assert np.isfinite(lens.pixels_from_plane(inside)).all()
    assert np.isnan(lens.pixels_from_plane(beyond)).all()
    assert np.isfinite(lens.plane_from_pixels(np.array([[320 + 500 * 0.70, 240.0]]))).all()
    assert np.isnan(lens.plane_from_pixels(np.array([[320 + 500 * 0.71, 240.0]]))).all()


def test_what_lies_beside_or_behind_the_camera_is_on_no_plane() -> None:
    """An equidistant lens with f = 100 px shows 90 degrees from its axis at 157 px."""
    lens = lens_of("SIMPLE_FISHEYE", 100.0, 320.0, 240.0)
    assert np.isfinite(lens.plane_from_pixels(np.array([[320.0 + 148, 240.0]]))).all()
    assert np.isnan(lens.plane_from_pixels(np.array([[320.0 + 149, 240.0], [320 + 157.0, 240.0], [640, 240]]))).all()
    assert lens.displacement == np.inf


@pytest.mark.parametrize("kind", ["SIMPLE_RADIAL", "FULL_OPENCV", "FOV", "DIVISION", "EUCM"])
def test_lenses_without_distortion_are_pinholes(kind: str) -> None:
    coefficients = (0.0, 1.0) if kind == "EUCM" else (0.0,) * len(LENSES[kind][3 if kind == "SIMPLE_RADIAL" else 4 :])
    assert Lens(Intrinsics(*F, *C, WIDTH, HEIGHT), kind, coefficients).straight


@pytest.mark.parametrize("kind", LENSES)
def test_lenses_with_distortion_are_none(kind: str) -> None:
    assert lens_of(kind).straight == kind.endswith("PINHOLE")


def test_little_distortion_may_be_neglected_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    lens = lens_of("SIMPLE_RADIAL", 500.0, 320.0, 240.0, -0.01)
    with caplog.at_level(logging.INFO, "recon"):
        assert neglected(lens, "file") == Intrinsics(500.0, 500.0, 320.0, 240.0, WIDTH, HEIGHT)
    assert "file: the lens (SIMPLE_RADIAL) displaces pixels by up to 2.6 px" in caplog.text
    with pytest.raises(CameraError, match=r"up to \d+\.\d, more than 6\.4 px can be neglected: undistort"):
        neglected(lens_of("SIMPLE_RADIAL"), "file")


def test_the_outline_goes_all_around() -> None:
    points = outline(WIDTH, HEIGHT)
    on_a_side = (points[:, 0] % WIDTH == 0) | (points[:, 1] % HEIGHT == 0)
    assert on_a_side.all()
    assert {(0, 0), (WIDTH, 0), (0, HEIGHT), (WIDTH, HEIGHT)} <= set(map(tuple, points.tolist()))


@pytest.mark.parametrize(
    ("kind", "coefficients", "message"),
    [
        ("BOX", (), "unknown kind of lens BOX"),
        ("RADIAL", (0.1,), "RADIAL has 2 coefficients, not 1"),
        ("RADIAL", (0.1, np.nan), "coefficients must be finite"),
    ],
)
def test_impossible_lenses_are_refused(kind: str, coefficients: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Lens(Intrinsics(*F, *C, WIDTH, HEIGHT), kind, coefficients)


def test_a_lens_that_goes_all_around_has_no_pinhole() -> None:
    with pytest.raises(CameraError, match=r"test: cameras of the kind EQUIRECTANGULAR are not supported"):
        lens_of("EQUIRECTANGULAR", 640.0, 480.0)
