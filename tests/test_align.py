"""Alignment: from anchors to scale and shift, from disparity to depth, and the gauge where there is no anchor."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import depth_maps, seeds

from recon.errors import AlignmentError
from recon.fitting import Line
from recon.smoothing import DriftFit, LineCurve
from recon.stages.align import (
    ROWS_OF_A_PICTURE,
    collected,
    depth_from_disparity,
    fit_shot,
    followed,
    relative_gauge,
    to_depth,
)
from recon.types import Correspondences, DisparityFrame, Frame

TINY = float(np.finfo(np.float32).tiny)


def seen(random: np.random.Generator, count: int, time: float = 0.0, outliers: float = 0.0) -> Correspondences:
    """Places of 1 / z = 2 d + 0.1, with noise, and a share that is grossly too far."""
    disparity = random.uniform(0.05, 1, count)
    inverse = 2 * disparity + 0.1 + random.normal(0, 0.01, count)
    inverse[: int(outliers * count)] *= 0.3
    return Correspondences(disparity, inverse, np.ones(count), time)


def disparity_frame(disparity: np.ndarray, index: int = 0) -> DisparityFrame:
    return DisparityFrame(Frame(index, index / 30, np.zeros((*disparity.shape, 3), np.uint8)), disparity)


@given(seed=seeds, frames=st.integers(1, 20), outliers=st.sampled_from([0.0, 0.3]))
def test_a_shot_is_fitted_over_all_its_frames(seed: int, frames: int, outliers: float) -> None:
    random = np.random.default_rng(seed)
    fit = fit_shot([seen(random, 200, index / 30, outliers) for index in range(frames)])
    deviation = np.stack([fit.smooth.scale - 2, fit.smooth.shift - 0.1])
    assert (np.abs(deviation) < 5 * np.sqrt(np.einsum("kii->ik", fit.smooth.covariance))).all()
    assert fit.inlier_ratio == pytest.approx(1 - outliers, abs=0.05)
    assert (fit.count, len(fit.smooth.times)) == (200 * frames, frames)


@given(seed=seeds, frames=st.integers(1, 5), outliers=st.sampled_from([0.0, 0.3]))
def test_least_squares_is_one_line_through_all_whatever_they_are(seed: int, frames: int, outliers: float) -> None:
    """The published method: numpy's polynomial of degree 1, weights and outliers and all."""
    random = np.random.default_rng(seed)
    places = [seen(random, 50, index / 30, outliers) for index in range(frames)]
    places = [replace(each, weight=random.uniform(0.1, 2, 50)) for each in places]
    x, y, weight = (
        np.concatenate([getattr(each, name) for each in places]) for name in ("disparity", "inverse_depth", "weight")
    )
    fit = fit_shot(places, robust=False)
    np.testing.assert_allclose(fit.smooth.at(7.0), np.polyfit(x, y, 1, w=np.sqrt(weight)), rtol=1e-9)
    assert fit.own is fit.smooth
    assert (fit.count, fit.inlier_ratio) == (50 * frames, 1.0)


@given(seed=seeds, robust=st.booleans())
def test_lengths_up_to_a_factor_have_no_shift(seed: int, *, robust: bool) -> None:
    """Of a metric network: three places are enough, and numpy's least squares without a constant says the same."""
    random = np.random.default_rng(seed)
    x = random.uniform(0.1, 1, 60)
    places = Correspondences(x, 1.7 * x * np.exp(random.normal(0, 0.01, 60)), np.ones(60), 0.0)
    fit = fit_shot([places], robust=robust, with_shift=False)
    plain = np.linalg.lstsq(x[:, None], places.inverse_depth, rcond=None)[0]
    np.testing.assert_allclose(fit.smooth.at(0.0), (plain[0], 0.0), rtol=5e-3 if robust else 1e-12)
    few = replace(places, disparity=x[:3], inverse_depth=places.inverse_depth[:3], weight=np.ones(3))
    assert fit_shot([few], robust=robust, with_shift=False).smooth.at(0.0).scale == pytest.approx(1.7, rel=0.05)


def test_of_a_picture_no_more_places_take_part_than_need_to() -> None:
    """Evenly spread: where the upper half says 2 and the lower half says 2.2, the line lies between."""
    exact = seen(np.random.default_rng(0), 100_000)
    factor = np.where(np.arange(100_000) < 50_000, 1.0, 1.1)
    fit = fit_shot(collected([replace(exact, inverse_depth=exact.inverse_depth * factor)]))
    assert fit.smooth.scale[0] == pytest.approx(2.1, abs=0.02)
    assert fit.count == ROWS_OF_A_PICTURE


def test_an_hour_of_anchored_pictures_is_held_in_bounded_memory() -> None:
    """All pictures stay, the first as well as the last, each with fewer places; and the line is what it was."""
    random = np.random.default_rng(0)
    hour = (seen(random, 40, index / 3) for index in range(3000))
    kept = collected(hour, of_a_picture=30, of_a_shot=15_000)
    rows = np.array([len(each.weight) for each in kept])
    assert len(kept) == 3000
    assert rows.sum() <= 15_000
    assert rows.min() == rows.max() == 3
    fit = fit_shot(kept[::30])
    line = fit.smooth.at(500.0)
    assert line.scale * 0.5 + line.shift == pytest.approx(1.1, rel=3e-3)


def test_places_that_are_thinned_keep_what_belongs_to_them() -> None:
    row = np.arange(1000.0)
    [kept] = collected([Correspondences(row, row + 1, row + 2, 7.0, 5, np.arange(1000))], of_a_picture=100)
    assert (kept.time, kept.left_out, len(kept.weight)) == (7.0, 5, 100)
    np.testing.assert_array_equal(kept.inverse_depth, kept.disparity + 1)
    np.testing.assert_array_equal(kept.weight, kept.disparity + 2)
    np.testing.assert_array_equal(kept.block, kept.disparity)
    assert (np.floor(kept.disparity / 10) == np.arange(100)).all(), "one of each ten"


# ----------------------------------------------------------------------------------------------- which line is followed


def drifted(times: np.ndarray) -> DriftFit:
    """Pictures whose own scale is 2.2, about a smooth one of 2."""
    smooth, own = (
        LineCurve(
            times, np.full(len(times), scale), np.zeros(len(times)), np.tile(np.eye(2) * scale, (len(times), 1, 1))
        )
        for scale in (2.0, 2.2)
    )
    return DriftFit(smooth, own, 0.1, 0.1, np.ones(len(times)), 1.0, 0.01, 100)


@pytest.mark.parametrize(("every", "scale"), [(1, 2.2), (2, 2.2), (3, 2.0), (30, 2.0)])
def test_pictures_have_their_own_line_where_most_of_them_are_anchored(every: int, scale: float) -> None:
    """And where few are, depth does not sway from anchor to anchor."""
    curve = followed(drifted(np.arange(0, 90, every) / 30), 0.0, 89 / 30, 1 / 30)
    inside = slice(None, -1)  # the last frame of all is no anchored one for every = 30
    np.testing.assert_array_equal(curve.scale[inside], scale)
    np.testing.assert_array_equal(
        curve.covariance[inside], np.broadcast_to(np.eye(2) * scale, (len(curve.scale) - 1, 2, 2))
    )


def test_beside_a_gap_and_beyond_the_last_anchor_the_smooth_line_counts() -> None:
    """Landmarks were seen in frames 10 to 19 and 50 to 59 of a hundred: nothing of frame 19 is carried to frame 20."""
    times = np.concatenate([np.arange(10, 20), np.arange(50, 60)]) / 30
    curve = followed(drifted(times), 0.0, 99 / 30, 1 / 30)
    assert [curve.at(frame / 30).scale for frame in (0, 10, 19, 35, 50, 59, 99)] == [2.0] * 7
    np.testing.assert_allclose([curve.at(frame / 30).scale for frame in (11, 18, 51, 58)], 2.2)


def test_the_ends_of_a_shot_are_no_gaps() -> None:
    curve = followed(drifted(np.arange(90) / 30), 0.0, 89 / 30, 1 / 30)
    assert curve.at(0.0).scale == curve.at(89 / 30).scale == 2.2


def test_a_single_anchored_picture_is_one_line_for_all() -> None:
    fit = fit_shot([seen(np.random.default_rng(0), 100, 3.0)])
    assert followed(fit, 0.0, 100.0, 1 / 30) is fit.smooth


def test_where_the_way_back_pays() -> None:
    """What ``followed`` says of one anchored picture in n: the variance that is left, measured."""
    random, left = np.random.default_rng(0), []
    for every in (2, 3):
        own = random.normal(0, 1, 60_001)
        mixed = np.interp(np.arange(60_001), np.arange(0, 60_001, every), own[::every])
        left.append(np.var(own - mixed))
    np.testing.assert_allclose(left, [1 / 2 * 1.5, 2 / 3 * 14 / 9], rtol=0.03)
    assert left[0] < 1 < left[1]


def test_weights_reach_the_fit() -> None:
    one, other = seen(np.random.default_rng(0), 300), seen(np.random.default_rng(1), 300)
    ignored = Correspondences(other.disparity, other.inverse_depth * 3, np.zeros(300), 0.0)
    assert fit_shot([one, ignored]).smooth.at(0.0) == fit_shot([one]).smooth.at(0.0)


@pytest.mark.parametrize("frames", [[], [seen(np.random.default_rng(0), 0)], [seen(np.random.default_rng(0), 2)]])
def test_anchors_that_do_not_suffice_are_told_with_counts_and_a_way_out(frames: list[Correspondences]) -> None:
    places = sum(len(one.weight) for one in frames)
    with pytest.raises(AlignmentError, match=rf"{places} anchored places in {len(frames)} frames .*--anchor none"):
        fit_shot(frames)


@given(data=st.data(), scale=st.floats(0.01, 10), shift=st.floats(-0.05, 1))
def test_depth_is_the_inverse_of_the_line(data: st.DataObject, scale: float, shift: float) -> None:
    depth = data.draw(depth_maps(7, 5))
    disparity = ((1 / depth.astype(float) - shift) / scale).astype(np.float32)
    found = depth_from_disparity(disparity, Line(scale, shift))
    # float32 knows 1 / z to 6e-8 of the larger of s * d and t.
    loose = 1e-6 * (1 + np.abs(shift) * depth.astype(float))
    known = np.isfinite(depth) & np.isfinite(found)
    assert (np.abs(found / depth - 1)[known] < loose[known]).all()
    assert np.array_equal(np.isnan(found), np.isnan(depth))


def test_beyond_infinity_nothing_is_known() -> None:
    disparity = np.array([[0.0, 0.05, 0.1, 0.2, np.nan, -1.0]], np.float32)
    frame = next(to_depth([disparity_frame(disparity)], lambda _time: Line(1.0, -0.1)))
    np.testing.assert_allclose(frame.depth, [[np.nan, np.nan, np.nan, 10, np.nan, np.nan]], rtol=1e-6)


def test_what_is_all_but_infinite_is_not_infinite() -> None:
    depth = depth_from_disparity(np.array([[TINY / 2, TINY * 2]], np.float32), Line(1.0, 0.0))
    assert np.isnan(depth[0, 0])
    assert np.isfinite(depth[0, 1])


def test_frames_are_converted_lazily_and_in_order() -> None:
    pulled = []

    def frames() -> Iterator[DisparityFrame]:
        for index in range(3):
            pulled.append(index)
            yield disparity_frame(np.ones((2, 3), np.float32), index)

    depths = to_depth(frames(), lambda _time: Line(2.0, 0.0))
    assert pulled == []
    first = next(depths)
    assert (pulled, first.frame.index) == ([0], 0)
    np.testing.assert_allclose(first.depth, 0.5)


# ------------------------------------------------------------------------------------------------------ relative units


@given(seed=seeds, low=st.floats(0, 1), spread=st.floats(0.01, 100), unit=st.sampled_from([1e-3, 1.0, 1e3]))
def test_without_an_anchor_the_middle_is_one_and_the_far_end_is_bounded(
    seed: int, low: float, spread: float, unit: float
) -> None:
    values = unit * (low + spread * np.random.default_rng(seed).random((60, 80)))
    scale, shift = relative_gauge([values.astype(np.float32)])
    depth = depth_from_disparity(values.astype(np.float32), Line(scale, shift))
    near, middle, far = np.percentile(depth, [2, 50, 98])
    assert shift >= 0
    assert middle == pytest.approx(1, rel=1e-3)
    assert far / near < 7.01
    assert shift == 0 or far / near == pytest.approx(7, rel=1e-3)


@given(seed=seeds, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_disparity_is_of_no_account(seed: int, unit: float) -> None:
    values = np.random.default_rng(seed).random((60, 80)).astype(np.float32)
    scale, shift = relative_gauge([values])
    scaled, same_shift = relative_gauge([values * np.float32(unit)])
    np.testing.assert_allclose([scaled * unit, same_shift], [scale, shift], rtol=1e-3)


def test_sky_and_unknown_pixels_do_not_count() -> None:
    values = np.random.default_rng(0).uniform(0.5, 1, (60, 80)).astype(np.float32)
    with_sky = values.copy()
    with_sky[:20], with_sky[20:25] = 0, np.nan
    np.testing.assert_allclose(relative_gauge([with_sky]), relative_gauge([values]), rtol=0.02)


def test_one_gauge_serves_all_maps() -> None:
    one, other = (np.full((60, 80), value, np.float32) for value in (1.0, 3.0))
    scale, shift = relative_gauge([one, other])
    assert (scale, shift) == (pytest.approx(0.5), 0.0)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_shot_without_depth_is_refused(value: float) -> None:
    with pytest.raises(AlignmentError, match="sees no depth"):
        relative_gauge([np.full((60, 80), value, np.float32)])


def test_disparity_that_is_negative_throughout_is_refused() -> None:
    with pytest.raises(AlignmentError, match="no positive disparity"):
        relative_gauge([np.full((60, 80), -1, np.float32)])
