"""What another eye sees: places, order, parts of pixels at silhouettes, holes, and what fills them."""

import os
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jaxtyping import TypeCheckError
from stereo_scenes import completed, figures, scene, source

from recon.evaluation.stereo import EyeScores, TruePair, score_eye
from recon.eyes import SAME_SURFACE, WHOLE
from recon.io.depth import read_depth_map
from recon.io.pictures import read_picture
from recon.stages.stereo.fill import filled
from recon.stages.stereo.warp import LEAST_ROWS, MOST_THREADS, by_rows, seen_from

EYES = (0.5, -0.5, 1.0, -1.0)
RED, BLUE = (200, 0, 0), (0, 0, 200)


def dots(height: int, width: int, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(dtype)


def level(pixels: float, height: int, width: int) -> np.ndarray:
    """Parallax of so many pixels."""
    return np.full((height, width), pixels / width, np.float32)


def box(near: float, far: float, *, height: int = 8, width: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A red box in columns 30 to 49 before a blue wall; parallax in pixels."""
    picture, parallax = np.full((height, width, 3), BLUE, np.uint8), level(far, height, width)
    picture[:, 30:50], parallax[:, 30:50] = RED, near / width
    return picture, parallax


def columns(region: np.ndarray) -> list[int]:
    """Those of a region that is the same in every row."""
    assert (region == region[0]).all()
    return np.flatnonzero(region[0]).tolist()


# --------------------------------------------------------------------------------------------------------------- places


def test_share_0_is_the_picture_itself() -> None:
    picture, parallax = dots(5, 9), np.random.default_rng(1).normal(0, 1, (5, 9)).astype(np.float32)
    seen = seen_from(picture, parallax, 0.0)
    assert seen.picture is picture
    assert seen.parallax is parallax
    assert not seen.hole.any()
    assert (seen.cover == 1).all()
    np.testing.assert_array_equal(filled(seen), picture)


@pytest.mark.parametrize("share", EYES)
@pytest.mark.parametrize("pixels", [-6, 4])
def test_whole_pixels_are_moved_as_they_are(share: float, pixels: int) -> None:
    picture, move = dots(4, 20), round(share * pixels)
    seen = seen_from(picture, level(pixels, 4, 20), share)
    inside = np.arange(max(move, 0), 20 + min(move, 0))
    np.testing.assert_array_equal(seen.picture[:, inside], picture[:, inside - move])
    np.testing.assert_allclose(seen.parallax, pixels / 20, rtol=1e-6)
    assert columns(~seen.hole) == inside.tolist()


def test_behind_the_screen_things_lie_farther_right_for_the_right_eye() -> None:
    picture = np.zeros((1, 20, 3), np.uint8)
    picture[0, 10] = 255
    for pixels, share, x in ((4, 0.5, 12), (4, -0.5, 8), (-4, 0.5, 8), (-4, 1.0, 6)):
        assert seen_from(picture, level(pixels, 1, 20), share).picture[0, :, 0].argmax() == x


@pytest.mark.parametrize("part", [0.1, 0.25, 0.5, 0.8])
def test_parabolas_stay_parabolas_between_pixels(part: float) -> None:
    """Interpolation is of third order (Keys 1981): exact for what is no more curved than that."""
    x = np.arange(40)
    picture = np.repeat(np.rint(0.1 * x**2 + 2 * x)[None, :, None], 3, axis=2).astype(np.uint8)
    seen = seen_from(picture, level(part, 1, 40), 1.0)
    expected = 0.1 * (x - part) ** 2 + 2 * (x - part)
    np.testing.assert_allclose(seen.picture[0, 3:-3, 0], expected[3:-3], atol=1.2)  # rounded twice


def test_between_pixels_a_surface_is_stretched_without_holes() -> None:
    slanted = (np.linspace(0, 12, 40) / 40).astype(np.float32)[None]  # steps of 0.3 pixels
    ramp = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[None, :, None], 3, axis=2)
    seen = seen_from(ramp, slanted, 1.0)
    assert not seen.hole.any()
    at = np.arange(40) + slanted[0] * 40
    np.testing.assert_allclose(seen.picture[0, 1:, 0], np.interp(np.arange(1, 40), at, ramp[0, :, 0]), atol=1)


@given(arrays(np.float32, (3, 24), elements=st.floats(0, 0.9375, width=32)), st.sampled_from(EYES))
def test_no_holes_in_one_surface(steps: np.ndarray, share: float) -> None:
    """Neighbours less than a pixel apart are joined: only what moves in from outside the picture is missing."""
    parallax = np.cumsum(steps, axis=1, dtype=np.float32) / np.float32(24)
    seen = seen_from(dots(3, 24), parallax if share > 0 else -parallax, share)
    begin = np.abs(share * steps[:, 0])
    assert (seen.hole.sum(axis=1) <= np.ceil(begin)).all()


@given(arrays(np.float32, (4, 16), elements=st.floats(-0.5, 0.5, width=32)), st.sampled_from(EYES))
def test_one_colour_stays_one_colour(parallax: np.ndarray, share: float) -> None:
    picture = np.full((4, 16, 3), (10, 120, 250), np.uint8)
    seen = seen_from(picture, parallax, share)
    assert (seen.picture[seen.cover > 1e-3] == picture[0, 0]).all()
    rows = seen.cover.max(axis=1) >= WHOLE
    assert (filled(seen)[rows] == picture[rows]).all()


# ---------------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize(("share", "first", "holes"), [(1.0, 24, range(44, 50)), (-1.0, 36, range(30, 36))])
def test_what_is_near_hides_what_is_behind(share: float, first: int, holes: range) -> None:
    """A box 6 pixels before a wall on the screen uncovers the wall at its right for the right eye."""
    seen = seen_from(*box(-6, 0), share)
    assert columns((seen.picture == RED).all(axis=-1)) == list(range(first, first + 20))
    assert columns(seen.hole) == list(holes)
    assert (seen.parallax[seen.hole] == 0).all()  # the wall would be there
    assert (seen.picture[seen.hole] == 0).all()


def test_of_three_layers_the_nearest_is_seen() -> None:
    picture, parallax = np.full((1, 60, 3), BLUE, np.uint8), level(0, 1, 60)
    picture[0, 20:40], parallax[0, 20:40] = (0, 200, 0), -6 / 60
    picture[0, 42:46], parallax[0, 42:46] = RED, -12 / 60  # lands in the midst of the green box
    seen = seen_from(picture, parallax, 1.0)
    assert columns((seen.picture == RED).all(axis=-1)) == [30, 31, 32, 33]
    assert columns((seen.picture == (0, 200, 0)).all(axis=-1)) == [*range(14, 30)]
    assert columns(seen.hole) == [*range(34, 40), *range(42, 46)]


@given(arrays(np.float32, (3, 20), elements=st.floats(-0.25, 0.25, width=32)), st.sampled_from(EYES))
def test_eyes_are_mirror_images(parallax: np.ndarray, share: float) -> None:
    picture = dots(3, 20)
    seen = seen_from(picture, parallax, share)
    mirrored = seen_from(picture[:, ::-1].copy(), parallax[:, ::-1].copy(), -share)
    for one, other in zip(seen, mirrored, strict=True):
        np.testing.assert_array_equal(one, other[:, ::-1])
    np.testing.assert_allclose(filled(seen).astype(int), filled(mirrored)[:, ::-1].astype(int), atol=1)


@pytest.mark.parametrize("share", [1.0, -1.0])
def test_pixels_between_two_surfaces_do_not_fly(share: float) -> None:
    """Depth that is measured, or estimated, is smooth across silhouettes: that is no surface."""
    picture, sharp = box(-6, 4)
    soft = sharp.copy()
    soft[:, 27:32] = np.array([2.5, 0.5, -1.5, -4, -6], np.float32) / 80
    soft[:, 48:52] = np.array([-4.5, -2, 0, 2.5], np.float32) / 80
    belongs = sharp.copy()
    belongs[:, 29:30], belongs[:, 50:52] = -6 / 80, 4 / 80  # what is more like the box is the box's
    for one, other in zip(seen_from(picture, soft, share), seen_from(picture, belongs, share), strict=True):
        np.testing.assert_array_equal(one, other)


# -------------------------------------------------------------------------------------------------------------- oracle

PARTS = 64


def settled(parallax: np.ndarray, limit: float) -> np.ndarray:
    """Single pixels on a ramp between two surfaces moved to the one that is more like them."""
    result = parallax.copy()
    for row in result:
        steps = np.diff(row)
        jumps = np.where(np.abs(steps) > limit, np.sign(steps), 0)
        begins = np.flatnonzero((jumps != 0) & (np.concatenate([[0], jumps[:-1]]) != jumps))
        for i in begins:
            rest = np.flatnonzero(jumps[i:] != jumps[i])
            ends = sorted((row[i], row[i + (rest[0] if len(rest) else len(jumps) - i)]))
            inner = slice(i + 1, i + (rest[0] if len(rest) else len(jumps) - i))
            row[inner] = np.where(row[inner] - ends[0] <= ends[1] - row[inner], *ends)
    return result


def painted(parallax: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Of each pixel, the covered part, and its parts' parallax: every piece is drawn on a fine grid, nearest last."""
    height, width = parallax.shape
    fine = np.full((height, width * PARTS), np.nan)
    middles = (np.arange(width * PARTS) + 0.5) / PARTS
    for y in range(height):
        moved = np.arange(width) + 0.5 + share * width * parallax[y].astype(np.float64)
        joined = np.abs(np.diff(moved) - 1) <= SAME_SURFACE
        half = np.where(joined, np.diff(moved) / 2, 0.5)
        begin, end = moved - np.append(0.5, half), moved + np.append(half, 0.5)
        for i in np.argsort(-parallax[y], kind="stable"):
            fine[y, (middles >= begin[i]) & (middles < end[i])] = parallax[y, i]
    fine = fine.reshape(height, width, PARTS)
    return np.isfinite(fine).mean(axis=-1), fine


@given(
    arrays(np.float32, (2, 14), elements=st.floats(-0.375, 0.375, width=32)),
    arrays(np.float32, (2, 14), elements=st.floats(-0.03125, 0.03125, width=32)),
    st.integers(0, 2**28 - 1),
    st.sampled_from(EYES),
)
def test_cover_is_what_a_painter_says(rough: np.ndarray, fine: np.ndarray, mask: int, share: float) -> None:
    """Surfaces of many and of single pixels; little contrast, so that silhouettes lie between pixels."""
    joined = np.array([mask >> bit & 1 for bit in range(28)], bool).reshape(2, 14)
    parallax = fine + np.where(joined, np.float32(0.1), rough)
    seen = seen_from(np.full((2, 14, 3), 99, np.uint8), parallax, share)
    limit = SAME_SURFACE / 14 / abs(share)
    assume(np.abs(np.abs(np.diff(parallax)) - limit).min() > 1e-5)  # neither one surface nor two
    cover, parts = painted(settled(parallax, limit), share)
    np.testing.assert_allclose(seen.cover, cover, atol=16 / PARTS**1.5)  # a part may be lost at each border
    clear = np.abs(cover - 0.5) > 16 / PARTS**1.5
    np.testing.assert_array_equal(seen.hole[clear], cover[clear] < 0.5)
    one = np.isfinite(parts).all(axis=-1) & (np.ptp(parts, axis=-1) < SAME_SURFACE / 2 / 14)
    np.testing.assert_allclose(seen.parallax[one], parts.mean(axis=-1)[one], atol=SAME_SURFACE / 14)


# --------------------------------------------------------------------------------------------------- parts of pixels


def slanted(near_x: np.ndarray, width: int) -> np.ndarray:
    """A red thing to the left of a slanted silhouette at near_x (for each row), exactly covering parts of pixels."""
    part = np.clip(near_x[:, None] - np.arange(width), 0, 1)[..., None]
    return np.rint(part * RED + (1 - part) * BLUE).astype(np.uint8)


def test_silhouettes_keep_parts_of_pixels_where_they_hide() -> None:
    """The right edge of a thing behind nothing, seen by the left eye: a mixed pixel lies where its mixture says."""
    edge = 20 + np.linspace(0, 4, 33)
    picture = slanted(edge, 60)
    parallax = np.where(np.arange(60) + 0.5 < edge[:, None], np.float32(-4.6 / 60), np.float32(0))
    seen = seen_from(picture, parallax, -1.0)
    right = slice(10, 50)  # the thing hides the wall by 4.6 pixels more
    expected = slanted(edge + 4.6, 60)
    np.testing.assert_allclose(seen.picture[:, right].astype(int), expected[:, right].astype(int), atol=2)


def test_silhouettes_keep_parts_of_pixels_where_they_uncover() -> None:
    edge = 20 + np.linspace(0, 4, 33)
    parallax = np.where(np.arange(60) + 0.5 < edge[:, None], np.float32(-4.6 / 60), np.float32(0))
    seen = seen_from(slanted(edge, 60), parallax, 1.0)
    expected = slanted(edge - 4.6, 60)
    np.testing.assert_allclose(filled(seen)[:, :50].astype(int), expected[:, :50].astype(int), atol=2)
    np.testing.assert_allclose(1 - seen.cover[:, :50].sum(axis=1) + 49, 4.6, atol=0.02)  # as much is uncovered


# ---------------------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("share", EYES)
def test_16_bits_see_what_8_bits_see(share: float) -> None:
    picture, parallax = cv2.GaussianBlur(dots(16, 40), (3, 3), 0), np.zeros((16, 40), np.float32)
    parallax[4:12, 10:25] = -0.093
    for of_8, of_16 in zip(
        seen_from(picture, parallax, share), seen_from(picture.astype(np.uint16) * 257, parallax, share), strict=True
    ):
        if of_8.dtype == np.uint8:
            np.testing.assert_allclose(of_16 / 257, of_8, atol=0.51)
        else:
            np.testing.assert_array_equal(of_8, of_16)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 7), (7, 1), (2, 2)])
@pytest.mark.parametrize("pixels", [0.0, 0.4, -1.0, 30.0])
def test_any_size(size: tuple[int, int], pixels: float) -> None:
    seen = seen_from(dots(*size), level(pixels, *size), 1.0)
    assert filled(seen).shape == (*size, 3)
    assert np.isfinite(seen.parallax).all()
    assert seen.hole.all() == (abs(pixels) > size[1] - 0.5)


@pytest.mark.parametrize("threads", [1, 3, 40])
def test_any_number_of_threads(threads: int) -> None:
    picture, parallax = dots(13, 30), np.random.default_rng(2).normal(0, 0.05, (13, 30)).astype(np.float32)
    alone, together = seen_from(picture, parallax, 0.5), seen_from(picture, parallax, 0.5, threads=threads)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(filled(alone), filled(together, threads=threads))


def test_as_many_threads_as_cores_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked when it is called: a process may be given others meanwhile."""
    for cores, parts in ((1, 1), (3, 3), (64, MOST_THREADS)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)), raising=False)
        assert len(by_rows(lambda rows: rows, 1080)) == parts
        assert len(by_rows(lambda rows: rows, 2 * LEAST_ROWS)) == min(parts, 2)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert by_rows(lambda rows: rows, 1000) == [(0, 200), (200, 400), (400, 600), (600, 800), (800, 1000)]
    assert by_rows(lambda rows: rows, 10) == [(0, 10)]


@pytest.mark.parametrize("share", EYES)
def test_parts_of_larger_pictures(share: float) -> None:
    """Views into memory, such as one half of a picture of two."""
    picture, parallax = dots(13, 60), np.random.default_rng(2).normal(0, 0.05, (13, 60)).astype(np.float32)
    seen = seen_from(picture[:, 30:], parallax[:, 30:], share)
    for one, other in zip(seen, seen_from(picture[:, 30:].copy(), parallax[:, 30:].copy(), share), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_refused() -> None:
    picture = dots(3, 4)
    with pytest.raises((ValueError, TypeCheckError), match=r"of one size|parallax"):
        seen_from(picture, level(0, 4, 3), 0.5)
    with pytest.raises(ValueError, match="not empty"):
        seen_from(picture[:0], level(0, 0, 4), 0.5)
    for value, share in product((np.nan, np.inf, -np.inf), (0.0, 0.5, -0.5)):
        unknown = level(0, 3, 4)
        unknown[1, 1] = value
        with pytest.raises(ValueError, match="finite"):
            seen_from(picture, unknown, share)
    with pytest.raises(ValueError, match="finite"):
        seen_from(picture, level(0, 3, 4), float("inf"))


# ---------------------------------------------------------------------------------------------------------------- holes


@pytest.mark.parametrize("share", EYES)
@pytest.mark.parametrize(("near", "far"), [(-6.0, 0.0), (-3.3, 2.1), (0.0, 7.7)])
def test_holes_are_never_filled_with_what_is_near(share: float, near: float, far: float) -> None:
    picture, parallax = box(near, far)
    seen = seen_from(picture, parallax, share)
    fill = filled(seen)
    assert (fill[seen.cover == 0] == BLUE).all()
    red = fill[..., 0].sum(axis=1) / 200
    np.testing.assert_allclose(red, 20, atol=0.05)  # the box is as wide as it was


def test_the_wall_goes_on_mirrored() -> None:
    picture, parallax = box(-6, 0, height=1)
    picture[0, 50:, 1] = np.arange(30) * 8
    fill = filled(seen_from(picture, parallax, 1.0))
    np.testing.assert_array_equal(fill[0, 44:50, 1], picture[0, 50:56, 1][::-1])


def test_a_mirror_image_ends_where_something_nearer_stands() -> None:
    picture, parallax = box(-6, 0, height=1)
    picture[0, 56:], parallax[0, 56:] = (0, 200, 0), -3 / 80  # seen from 53 on: of the wall 3 pixels are left
    fill = filled(seen_from(picture, parallax, 1.0))
    assert (fill[0, 44:53] == BLUE).all()


def test_sides_of_the_picture_are_filled_from_inside() -> None:
    picture = dots(1, 40)
    fill = filled(seen_from(picture, level(6, 1, 40), 1.0))
    np.testing.assert_array_equal(fill[0, :6], picture[0, :6][::-1])
    fill = filled(seen_from(picture, level(6, 1, 40), -1.0))
    np.testing.assert_array_equal(fill[0, -6:], picture[0, -6:][::-1])


def test_what_lies_between_two_sides_as_far_fades_from_one_to_the_other() -> None:
    """A thin thing in the midst of a wall, seen from where it has moved away."""
    picture, parallax = np.zeros((1, 60, 3), np.uint8), level(0, 1, 60)
    picture[0, :30], picture[0, 30:] = 50, 150
    picture[0, 28:32], parallax[0, 28:32] = 255, -10 / 60
    fill = filled(seen_from(picture, parallax, 1.0))[0, 26:34, 0].astype(int)
    assert (np.diff(fill) >= 0).all()
    assert np.diff(fill).max() <= 60


def test_fills_move_as_steadily_as_what_uncovers_them() -> None:
    """A twentieth of a pixel changes a smooth picture by no more than its slope does."""
    x = np.arange(80)
    picture, _ = box(-6, 0, height=9)
    picture[:, 50:, 2] = 128 + 90 * np.sin(x[50:] / 4)
    eyes = [filled(seen_from(picture, box(-6 - step / 20, 0, height=9)[1], 1.0)).astype(int) for step in range(41)]
    changes = np.abs(np.diff(np.stack(eyes), axis=0))
    uncovered = np.arange(80) >= 46  # the edge itself moves over those before
    assert changes[:, :, uncovered].max() <= 6


def test_a_row_of_which_nothing_is_seen_stays_black() -> None:
    parallax = level(0, 2, 10)
    parallax[1] = 3
    fill = filled(seen_from(dots(2, 10), parallax, 1.0))
    np.testing.assert_array_equal(fill[0], dots(2, 10)[0])
    assert (fill[1] == 0).all()


# ----------------------------------------------------------------------------------------------------------- real pairs


def scored(pair: TruePair) -> EyeScores:
    parallax = -completed(pair.disparity) / np.float32(pair.left.shape[1])
    return score_eye(filled(seen_from(pair.left, parallax, 1.0)), pair)


def test_right_eye_of_a_real_pair() -> None:
    """Motorcycle with its measured disparity. Best others: 23.6 dB everywhere, 29.0 seen by both, 15.1 by one."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    disparity = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32)
    scores = scored(TruePair(left, right, disparity))
    assert scores.everywhere.psnr > 24.3
    assert scores.visible.psnr > 29.05
    assert scores.edges.psnr > 24.9
    assert scores.occluded.psnr > 15.9
    assert scores.everywhere.ssim > 0.89
    assert scores.siou > 0.65
    assert scores.rematch.coverage > 0.9
    assert scores.rematch.scale == pytest.approx(1, abs=0.002)


@pytest.mark.parametrize(
    ("name", "everywhere", "visible", "occluded"),
    [("Adirondack", 26.7, 29.9, 19.8), ("Piano", 23.7, 31.8, 23.3), ("Teddy", 26.6, 31.4, 18.2)],
)
def test_right_eyes_of_other_pairs(shared: Path, name: str, everywhere: float, visible: float, occluded: float) -> None:
    folder = shared / "data" / "middlebury_a" / "trainingQ" / name
    left, right = (read_picture(folder / file) for file in ("im0.png", "im1.png"))
    scores = scored(TruePair(left, right, read_depth_map(folder / "disp0GT.pfm", scale=1.0, quantity="disparity")))
    assert scores.everywhere.psnr > everywhere
    assert scores.visible.psnr > visible
    assert scores.occluded.psnr > occluded


@pytest.mark.parametrize("share", [-0.5, 1.0])
def test_exact_video(share: float) -> None:
    """Best others: 48.5 dB where the source shows it."""
    moving = scene(pan=3.5 / 640)
    eyes = [filled(seen_from(*frame, share)) for frame in source(moving, 2, (480, 270))]
    reached = figures(moving, share, eyes)
    assert reached.visible > 47
    assert reached.clear > 52
    assert reached.hidden > 20
