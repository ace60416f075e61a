"""Silhouettes where the picture has them; and things that the borders of the picture cut."""

from functools import cache

import cv2
import numpy as np
import pytest
import stereo_scenes
from hypothesis import given
from hypothesis import strategies as st

from recon.stages.stereo.detail import sharpened
from recon.stages.stereo.warp import seen_from
from recon.stages.stereo.window import LEAST, Cut, cut, eased, floating, ramped

REDUCED = 4


def reduced(parallax: np.ndarray, factor: int = REDUCED, blur: float = 0.0) -> np.ndarray:
    """As a network would say it: small, and soft at silhouettes."""
    height, width = (length // factor for length in parallax.shape)
    small = cv2.resize(parallax, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), blur) if blur else small


def interpolated(small: np.ndarray, like: np.ndarray) -> np.ndarray:
    return cv2.resize(small, like.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def near_edges(parallax: np.ndarray, step: float = 0.003, reach: int = 9) -> np.ndarray:
    beside = np.ones((3, 3))
    edge = cv2.dilate(parallax, beside) - cv2.erode(parallax, beside) > step
    return cv2.dilate(edge.astype(np.uint8), np.ones((reach, reach))) > 0


def disc(height: int = 120, width: int = 160, radius: float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    """A red disc before a blue wall, and its parallax."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    inside = np.hypot(rows - height / 2, columns - width / 2) < radius
    picture = np.where(inside[..., None], [200, 60, 50], [50, 70, 180]).astype(np.uint8)
    return picture, np.where(inside, -0.01, 0.02).astype(np.float32)


@cache
def scene_view() -> stereo_scenes.View:
    return stereo_scenes.view(stereo_scenes.scene(0), 0, 0.0, (640, 360))


# -------------------------------------------------------------------------------------------------------------- edges


@pytest.mark.parametrize("blur", [0.0, 0.7])
def test_exact_scenes_reduced_to_a_quarter_come_back(blur: float) -> None:
    """With the parallax of stereo_scenes at 640 x 360: less than half of the error, a quarter of the torn pixels."""
    view = scene_view()
    small, width = reduced(view.parallax, blur=blur), view.parallax.shape[1]
    edges = near_edges(view.parallax)
    plain, sharp = (
        np.abs(found - view.parallax)[edges] * width
        for found in (interpolated(small, view.parallax), sharpened(small, view.picture))
    )
    assert sharp.mean() < 0.55 * plain.mean()
    assert (sharp > 1).mean() < 0.4 * (plain > 1).mean()


def test_a_silhouette_lies_where_the_colours_change_or_one_pixel_outside() -> None:
    picture, parallax = disc()
    found = sharpened(reduced(parallax), picture)
    wrong = (found < 0.005) != (parallax < 0.005)
    assert not (wrong & (parallax < 0)).any(), "the disc must not lose anything"
    beside = cv2.dilate((parallax < 0).astype(np.uint8), np.ones((5, 5))) > 0
    assert not (wrong & ~beside).any(), "nor grow by more than two pixels"
    between = (found > -0.0095) & (found < 0.0195)
    assert not between.any(), "nothing lies between the disc and the wall"


def test_the_map_decides_where_colours_say_nothing() -> None:
    _, parallax = disc()
    grey = np.full((*parallax.shape, 3), 128, np.uint8)
    found = sharpened(reduced(parallax), grey)
    wrong = (found < 0.005) != (parallax < 0.005)
    assert (wrong & ~near_edges(parallax, reach=7)).sum() == 0
    assert not ((found > -0.009) & (found < 0.019)).any()


@given(st.floats(-0.03, 0.03), st.floats(-0.03, 0.03), st.integers(0, 100))
def test_planes_stay_planes_whatever_is_painted_on_them(across: float, down: float, seed: int) -> None:
    rows, columns = np.mgrid[:40, :60] + 0.5
    small = (0.005 + across * columns / 60 + down * rows / 40).astype(np.float32)
    picture = np.random.default_rng(seed).integers(0, 256, (160, 240, 3), np.uint8)
    np.testing.assert_array_equal(sharpened(small, picture), interpolated(small, picture[..., 0]))


@given(st.integers(0, 200))
def test_nothing_is_nearer_or_farther_than_the_map_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    small = random.choice([-0.01, 0.0, 0.02], (9, 12)).repeat(3, axis=0).repeat(3, axis=1).astype(np.float32)
    picture = random.integers(0, 256, (81, 108, 3), np.uint8)
    found = sharpened(small, picture)
    assert np.isfinite(found).all()
    assert found.min() >= small.min() - 1e-7
    assert found.max() <= small.max() + 1e-7


def test_the_same_picture_and_map_give_the_same_for_any_number_of_threads_and_bits() -> None:
    view = scene_view()
    small = reduced(view.parallax)
    one, two = (sharpened(small, view.picture, threads=threads) for threads in (1, 2))
    assert (one == two).all()
    deep = sharpened(small, view.picture.astype(np.uint16) * 257)
    assert (np.abs(deep - one) > 1e-4).mean() < 0.002  # rounding of blurred 8-bit colours turns a few


def test_noise_of_the_camera_moves_few_pixels() -> None:
    picture, parallax = disc()
    random = np.random.default_rng(0)
    small = reduced(parallax)
    noisy = [np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8) for _ in range(2)]
    one, two = (sharpened(small, frame) for frame in noisy)
    silhouette = near_edges(parallax, reach=3).sum()
    assert (np.abs(one - two) > 0.01).sum() < 0.05 * silhouette


def test_a_larger_map_is_only_made_smaller() -> None:
    picture, parallax = disc()
    found = sharpened(parallax, picture[::2, ::2].copy())
    assert found.shape == (60, 80)
    assert set(np.unique(found)) <= set(np.unique(parallax))


# ------------------------------------------------------------------------------------------------------------- window


def standing(columns: slice, rows: slice = slice(30, 70), size: tuple[int, int] = (100, 200)) -> np.ndarray:
    """A wall behind the screen, and a thing 1 % in front of it."""
    parallax = np.full(size, 0.02, np.float32)
    parallax[rows, columns] = -0.01
    return parallax


def test_only_what_a_border_cuts_counts() -> None:
    assert not cut(standing(slice(80, 120))).any
    left, right = cut(standing(slice(0, 30))).widths
    assert left == pytest.approx(0.01)
    assert right == 0
    assert cut(standing(slice(170, 200))).widths == (0, pytest.approx(0.01))
    assert not cut(np.full((50, 80), -LEAST / 2, np.float32)).any


def test_a_ramp_lays_back_what_is_cut_and_nothing_else() -> None:
    parallax = standing(slice(0, 120))
    found = ramped(parallax, cut(parallax))
    assert found[50, 0] > -0.0005, "at the border it lies on the screen"
    assert found[50, 100] == parallax[50, 100], "further in it stays"
    assert (np.diff(found[50, :60]) <= 0).all()
    assert (found[parallax > 0] == parallax[parallax > 0]).all(), "what is behind the screen stays"
    steepest = np.abs(np.diff(found[50, :100])).max() * parallax.shape[1]
    assert steepest < 0.5, "an eye still sees the columns in their order"


def test_without_a_cut_nothing_changes() -> None:
    parallax = standing(slice(80, 120))
    assert (ramped(parallax, cut(parallax)) == parallax).all()
    eyes = tuple(np.full((20, 40, 3), value, np.uint8) for value in (90, 160))
    assert all((a == b).all() for a, b in zip(floating(*eyes, (0.0, 0.0)), eyes, strict=True))


@given(st.integers(0, 1000))
def test_a_ramp_keeps_the_order_in_each_column(seed: int) -> None:
    random = np.random.default_rng(seed)
    parallax = random.uniform(-0.02, 0.02, (72, 50)).astype(np.float32)
    cuts = Cut(*random.choice([0, 0.002, 0.02], (2, 36)))
    found = ramped(parallax, cuts)
    assert (found >= parallax).all()
    assert ((found < 0) <= (parallax < 0)).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_floating_window_stands_as_far_in_front_as_what_it_cuts(dtype: str) -> None:
    """The border of the window is seen at b by the left eye and at 0 by the right one: parallax -b."""
    left, right = (np.full((10, 200, 3), 240, dtype) for _ in range(2))
    barred_left, barred_right = floating(left, right, (0.01, 0.02))
    assert (barred_left[:, :2] == 0).all()
    assert (barred_left[:, 2:] == 240).all()
    assert (barred_right[:, -4:] == 0).all()
    assert (barred_right[:, :-4] == 240).all()
    half, _ = floating(left, right, (0.0125, 0.0))
    assert (half[:, 2] == 120).all()


def test_the_bar_hides_what_only_one_eye_sees_of_the_thing() -> None:
    """Through the warp: what the left border cuts leaves a strip that the left eye cannot see; the bar covers it."""
    picture = np.random.default_rng(0).integers(30, 250, (60, 200, 3), np.uint8)
    parallax = np.full((60, 200), -0.02, np.float32)
    eyes = [seen_from(picture, parallax, share) for share in (-0.5, 0.5)]
    assert eyes[0].hole[:, :2].all()
    left, _ = floating(eyes[0].picture, eyes[1].picture, cut(parallax).widths)
    assert (left[:, :4] == 0).all()


def test_cuts_come_and_go_evenly() -> None:
    nothing, something = cut(standing(slice(80, 120))), cut(standing(slice(0, 30)))
    widths = [0.0]
    now = nothing
    for frame in range(60):
        now = eased(now, something if frame < 20 else nothing, 1 / 25)
        widths.append(now.widths[0])
    assert max(widths) == pytest.approx(0.01)
    assert widths[-1] == 0
    assert np.abs(np.diff(widths)).max() <= 0.1 / 25 + 1e-12
    assert np.abs(np.diff(widths[22:])).max() <= 0.01 / 25 + 1e-12
