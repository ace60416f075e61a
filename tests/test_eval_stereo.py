"""Right eyes: fidelity by region, edges and differences, and whether depth is shown at its true sign and scale."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from recon.evaluation import stereo
from recon.evaluation.stereo import (
    LEFT_TWICE,
    PREDICTED,
    REAL,
    SWAPPED,
    TruePair,
    eye_order,
    fidelities,
    flicker,
    matched,
    regions,
    rematch,
    score_eye,
    scored_with_controls,
    similarity,
    siou,
)
from recon.io.pictures import read_picture

pictures = arrays(np.uint8, (16, 20, 3), elements=st.integers(0, 255))


def grey(level: int, shape: tuple[int, int] = (32, 48)) -> np.ndarray:
    return np.full((*shape, 3), level, np.uint8)


def dots(height: int, width: int) -> np.ndarray:
    """A random texture that matches nowhere but where it belongs."""
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def whole(picture: np.ndarray) -> np.ndarray:
    return np.ones(picture.shape[:2], bool)


@pytest.fixture(scope="module")
def motorcycle() -> TruePair:
    """A real pair with measured disparity (Middlebury 2014), which comes with scikit-image."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    return TruePair(left, right, np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32))


# ------------------------------------------------------------------------------------------------------------ pictures


def test_psnr_of_a_known_error() -> None:
    half = np.zeros((32, 48), bool)
    half[:16] = True
    predicted = grey(100)
    predicted[:16, :, 0] += 30  # in one colour of three
    over_half, over_all, over_rest = fidelities(predicted, grey(100), (half, whole(predicted), ~half))
    assert over_half.psnr == pytest.approx(10 * math.log10(255**2 / (30**2 / 3)))
    assert over_all.psnr == pytest.approx(10 * math.log10(255**2 / (30**2 / 6)))
    assert over_rest.psnr == math.inf
    assert (over_half.pixels, over_all.pixels) == (768, 1536)


def test_errors_do_not_wrap_at_256() -> None:
    (black_for_white,) = fidelities(grey(0), grey(255), (whole(grey(0)),))
    assert black_for_white.psnr == pytest.approx(0)


def test_of_an_empty_region_nothing_is_known() -> None:
    (score,) = fidelities(grey(1), grey(2), (np.zeros((32, 48), bool),))
    assert (math.isnan(score.psnr), math.isnan(score.ssim), score.pixels) == (True, True, 0)


@given(pictures, pictures)
def test_fidelity_is_symmetric_and_as_scikit_image_has_it(a: np.ndarray, b: np.ndarray) -> None:
    (there,), (back,) = fidelities(a, b, (whole(a),)), fidelities(b, a, (whole(a),))
    assert there == back
    assert there.ssim <= 1
    if (a != b).any():
        assert there.psnr == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255))


@given(pictures)
def test_a_picture_is_itself(a: np.ndarray) -> None:
    (score,) = fidelities(a, a, (whole(a),))
    assert (score.psnr, score.ssim) == (math.inf, pytest.approx(1))
    assert siou(a, a[::-1].copy(), a) == 1


def test_similarity_is_that_of_scikit_image(motorcycle: TruePair) -> None:
    left, right = (
        cv2.cvtColor(eye, cv2.COLOR_RGB2GRAY)[200:300, 300:460] for eye in (motorcycle.left, motorcycle.right)
    )
    wang = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    mean, full = structural_similarity(left, right, **wang)
    ours = similarity(left, right)
    np.testing.assert_allclose(ours, full, atol=1e-9)
    assert ours[5:-5, 5:-5].mean() == pytest.approx(mean)  # scikit-image's mean leaves out half a window


def test_siou_of_differences_alone() -> None:
    left = grey(100)
    right, predicted = left.copy(), left.copy()
    right[:, 0:20] += 10  # too little for an edge
    predicted[:, 10:30] -= 10
    assert siou(predicted, left, right) == pytest.approx(0.75 * 1 + 0.25 * 10 / 30)
    assert siou(left - np.uint8(5), left, right) == pytest.approx(0.75)  # five levels are no difference, up or down


def test_siou_of_edges_alone() -> None:
    right, predicted = grey(0), grey(0)
    right[8:24, 8:24] = 255
    predicted[8:24, 28:44] = 255
    left = grey(128)  # differs from both everywhere
    assert siou(predicted, left, right) == pytest.approx(0.25)
    assert siou(right, left, right) == 1


def test_flicker_is_the_difference_of_changes() -> None:
    region = np.zeros((32, 48), bool)
    region[4:8] = True
    steady = flicker((grey(90), grey(20)), (grey(80), grey(10)), region)  # both 10 brighter
    assert steady == 0
    pumping = flicker((grey(90), grey(10)), (grey(80), grey(51)), region)  # up 10, in truth down 41
    assert pumping == pytest.approx(51 / 255)
    assert math.isnan(flicker((grey(0), grey(0)), (grey(0), grey(0)), np.zeros_like(region)))


# ------------------------------------------------------------------------------------------------------------- regions


def box(near: float, far: float, *, first: int = 30, last: int = 50, width: int = 80) -> np.ndarray:
    """Disparity of a box before a wall."""
    disparity = np.full((24, width), far, np.float32)
    disparity[:, first:last] = near
    return disparity


def columns(region: np.ndarray) -> list[int]:
    """Those of a region that is the same in every row."""
    assert (region == region[0]).all()
    return np.flatnonzero(region[0]).tolist()


def test_beside_a_box_the_wall_is_hidden_from_the_left_eye() -> None:
    shown = regions(box(near=10, far=4))
    # The box, at 30 to 49, is seen at 20 to 39; the wall beside it, from 50 on, is seen from 46 on.
    assert columns(shown.occluded) == list(range(40, 46))
    assert columns(shown.outside) == list(range(76, 80))
    assert columns(shown.visible) == [*range(40), *range(46, 76)]
    assert not shown.unknown.any()


def test_what_a_box_hides_is_hidden_where_the_box_itself_is_out_of_sight() -> None:
    shown = regions(box(near=10, far=2, first=0, last=6))
    # The box ends at -5; the wall beside it, from 6 on, is seen from 4 on.
    assert columns(shown.occluded) == [0, 1, 2, 3]
    assert columns(shown.outside) == [78, 79]


@given(st.integers(1, 20), st.integers(0, 8))
def test_as_much_is_hidden_as_the_disparity_differs(step: int, far: int) -> None:
    shown = regions(box(near=far + step, far=far))
    assert len(columns(shown.occluded)) == (step if step > 1 else 0)  # one pixel is a bend of the surface
    assert len(columns(shown.outside)) == far


@pytest.mark.parametrize("slope", [-1.0, -0.7, 0.3, 0.9])
def test_slanted_surfaces_have_no_cracks(slope: float) -> None:
    disparity = np.tile((60 + slope * np.arange(100)).astype(np.float32), (4, 1))
    x = np.arange(100) + 0.5 - disparity[0]
    inside = [column for column in range(100) if x.min() < column + 0.5 < x.max()]
    shown = regions(disparity)
    assert set(inside) <= set(columns(shown.visible))
    assert not shown.occluded.any()
    assert not shown.edges.any()


def test_what_was_not_measured_may_be_on_either_side_of_a_hole() -> None:
    disparity = box(near=10, far=4)
    disparity[:, 47:50] = np.nan  # the right end of the box, or of the wall
    shown = regions(disparity)
    assert columns(shown.unknown) == [37, 38, 39, 43, 44, 45]
    assert columns(shown.occluded) == [40, 41, 42]


def test_where_nothing_was_measured_nothing_is_known() -> None:
    shown = regions(np.full((5, 9), np.nan, np.float32))
    assert shown.unknown.all()
    assert not (shown.visible | shown.occluded | shown.outside | shown.edges).any()


def test_edges_are_near_silhouettes_on_both_sides_and_above() -> None:
    disparity = box(near=10, far=4)
    disparity[:12] = 4
    edges = regions(disparity).edges
    # In the lower half the box ends at 20 and 40, what it hides at 46; its top lies between the rows 11 and 12.
    assert np.flatnonzero(edges[20]).tolist() == [*range(16, 24), *range(37, 40), *range(46, 49)]
    assert np.flatnonzero(edges[:, 30]).tolist() == [*range(8, 16)]


@given(
    arrays(np.float32, (4, 24), elements=st.one_of(st.just(np.nan), st.floats(0, 12, width=32))),
)
def test_every_pixel_is_of_one_region(disparity: np.ndarray) -> None:
    shown = regions(disparity)
    total = sum(region.astype(int) for region in (shown.visible, shown.occluded, shown.outside, shown.unknown))
    assert (total == 1).all()
    assert not (shown.edges & ~shown.visible).any()


def seen_from_the_right(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Visible, occluded, outside by measured disparities of both eyes (left-right consistency)."""
    column = np.floor(np.arange(right.shape[1]) + 0.5 + np.nan_to_num(right)).astype(int)
    outside = np.isfinite(right) & (column >= right.shape[1])
    nearer = np.take_along_axis(left, np.minimum(column, right.shape[1] - 1), axis=1) - right
    return (np.abs(nearer) <= 1.5) & ~outside, (nearer > 1.5) & ~outside, outside


@pytest.mark.parametrize(("scene", "scale"), [("Aloe", 3), ("Dolls", 3), ("Wood2", 3)])
def test_regions_agree_with_the_measured_disparity_of_the_right_eye(shared: Path, scene: str, scale: int) -> None:
    folder = shared / "data" / "middlebury_a" / "older" / scene
    left, right = (
        cv2.imdecode(np.fromfile(folder / name, np.uint8), cv2.IMREAD_GRAYSCALE).astype(np.float32) / scale
        for name in ("disp1.png", "disp5.png")
    )
    left, right = (np.where(disparity > 0, disparity, np.float32(np.nan)) for disparity in (left, right))
    visible, occluded, outside = seen_from_the_right(left, right)
    known, shown = visible | occluded | outside, regions(left)
    # Where something nearer comes in from beyond the left eye's border, the left eye's disparity cannot know.
    assert visible[shown.visible & (visible | occluded)].mean() > 0.99
    assert occluded[shown.occluded & known].mean() > 0.96
    assert outside[shown.outside & known].mean() > 0.96
    assert shown.occluded[occluded].mean() > 0.8


def test_what_lands_looks_as_it_does_in_the_right_eye(motorcycle: TruePair) -> None:
    source, _ = stereo._landed(motorcycle.disparity)
    seen = source >= 0

    def psnr(shift: int) -> float:
        column = np.clip(source + shift, 0, source.shape[1] - 1)
        moved = np.take_along_axis(motorcycle.left, column[..., None], axis=1)
        return fidelities(moved, motorcycle.right, (seen,))[0].psnr

    assert psnr(0) > 24
    assert psnr(0) > max(psnr(-1), psnr(1)) + 2


# --------------------------------------------------------------------------------------------------- sign and scale


def shifted(texture: np.ndarray, disparity: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Both eyes before a wall."""
    return texture[:, :width].copy(), texture[:, disparity : disparity + width].copy()


def test_a_wall_at_its_true_depth() -> None:
    left, right = shifted(dots(60, 200), 10, 160)
    shown = rematch(left, right, np.full((60, 160), 10, np.float32))
    assert shown.coverage > 0.9  # the ten columns at the left border have no counterpart
    assert shown.reversed < 0.01
    assert shown.scale == pytest.approx(1, abs=0.01)
    assert (shown.epe, shown.d1) == (pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.01))


@pytest.mark.parametrize(("factor", "wrong"), [(0.5, 1), (1.3, 0), (1.8, 1)])  # wrong: by more than three pixels
def test_scale_is_read_back(factor: float, wrong: float) -> None:
    left, right = shifted(dots(60, 200), round(10 * factor), 160)
    shown = rematch(left, right, np.full((60, 160), 10, np.float32))
    assert shown.scale == pytest.approx(factor, abs=0.02)
    assert shown.d1 == pytest.approx(wrong, abs=0.01)


def test_an_error_of_less_than_five_per_cent_is_none() -> None:
    left, right = shifted(dots(30, 420), 104, 300)
    assert rematch(left, right, np.full((30, 300), 100, np.float32)).d1 == pytest.approx(0, abs=0.02)
    assert rematch(left, right, np.full((30, 300), 98, np.float32)).d1 == pytest.approx(1, abs=0.02)


def test_swapped_eyes_are_reversed() -> None:
    left, right = shifted(dots(60, 200), 10, 160)
    shown = rematch(right, left, np.full((60, 160), 10, np.float32))
    assert shown.reversed > 0.9
    assert shown.coverage < 0.01


def test_the_left_eye_twice_shows_no_depth() -> None:
    left = dots(60, 160)
    shown = rematch(left, left, np.full((60, 160), 10, np.float32))
    assert (shown.coverage, shown.reversed) == (0, 0)
    assert all(math.isnan(value) for value in (shown.scale, shown.epe, shown.d1))


def test_unmeasured_and_very_far_pixels_do_not_count() -> None:
    left, right = shifted(dots(60, 200), 10, 160)
    disparity = np.full((60, 160), 10, np.float32)
    disparity[:30], disparity[30:40] = np.nan, 0.3
    assert rematch(left, right, disparity).coverage > 0.9
    with pytest.raises(ValueError, match="no true disparity reaches 1 pixel"):
        rematch(left, right, np.full((60, 160), np.nan, np.float32))


def test_sizes_must_agree() -> None:
    with pytest.raises((ValueError, TypeError), match="160"):  # jaxtyping's check comes first, where it is on
        TruePair(dots(60, 160), dots(60, 161), np.ones((60, 160), np.float32))


# ------------------------------------------------------------------------------------------------------------ controls


def test_controls_of_a_real_pair(motorcycle: TruePair) -> None:
    """Figures found by others with the same definitions are in the comments; see ``stereo`` for what is ours."""
    scores = scored_with_controls(cv2.GaussianBlur(motorcycle.right, (5, 5), 0), motorcycle)
    twice, swapped, real = scores[LEFT_TWICE], scores[SWAPPED], scores[REAL]
    assert twice.everywhere.psnr == pytest.approx(12.65, abs=0.005)  # 12.65
    assert twice.everywhere.ssim == pytest.approx(0.313, abs=0.0005)  # .313
    assert twice.siou == pytest.approx(0.075, abs=0.0005)  # .075
    assert (twice.rematch.coverage, twice.rematch.reversed) == (0, 0)  # coverage 0
    assert (real.siou, real.everywhere.psnr) == (1, math.inf)  # 1.000
    assert real.rematch.scale == pytest.approx(1, abs=0.003)  # 1.002
    assert real.rematch.epe < 0.2  # .16
    assert real.rematch.d1 < 0.055  # .053
    assert real.rematch.coverage > 0.9  # .784 without margins
    assert swapped.rematch.coverage < 0.01  # .156 where only positive disparity is looked for
    assert swapped.rematch.reversed > 0.9
    assert swapped.siou == twice.siou  # why the match is needed
    blurred = scores[PREDICTED]
    assert twice.visible.psnr < blurred.visible.psnr < math.inf
    assert twice.edges.ssim < blurred.edges.ssim < 1
    assert blurred.rematch.coverage > 0.8


def test_the_score_of_one_eye_is_the_row_of_the_table(motorcycle: TruePair) -> None:
    part = (slice(150, 300), slice(200, 500))
    pair = TruePair(motorcycle.left[part], motorcycle.right[part], motorcycle.disparity[part])
    predicted = cv2.GaussianBlur(pair.right, (3, 3), 0)
    assert score_eye(predicted, pair) == scored_with_controls(predicted, pair)[PREDICTED]


# ------------------------------------------------------------------------------------------------ which eye is which


def order(left: np.ndarray, right: np.ndarray, greatest: float) -> float:
    return eye_order(left, right, (matched(left, right, greatest), matched(right, left, greatest)))


def test_swapped_eyes_are_known_by_what_only_one_of_them_sees(motorcycle: TruePair) -> None:
    """Also after convergence, where half of the disparities are negative, so that their sign says nothing."""
    left, right = motorcycle.left, np.roll(motorcycle.right, 30, axis=1)
    found, swapped = order(left, right, 32.0), order(right, left, 32.0)
    assert found > 0.1
    assert swapped < -0.1


@pytest.mark.shared
@pytest.mark.parametrize("name", ["older/Art", "older/Wood2", "older/Dolls", "trainingQ/Piano", "trainingQ/Teddy"])
def test_the_order_of_real_eyes_is_found(name: str, shared: Path) -> None:
    folder = shared / "data" / "middlebury_a" / name
    files = ("view1.png", "view5.png") if "older" in name else ("im0.png", "im1.png")
    left, right = (read_picture(folder / file) for file in files)
    assert order(left, right, 0.12 * left.shape[1]) > 0.04


def test_flat_pictures_have_no_order() -> None:
    picture = dots(64, 96)
    assert order(picture, picture, 16.0) == 0
