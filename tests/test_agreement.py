"""How an anchor and the depth maps get on, picture by picture."""

from collections.abc import Callable
from dataclasses import replace
from math import isnan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from recon.stages.agreement import LEAST_PLACES, Agreement, _ranks, agreements
from recon.stages.align import fit_shot
from recon.types import Correspondences


def seen(
    inverse_depth: Callable[[np.ndarray], np.ndarray], *, places: int = 50, time: float = 0.0, seed: int = 0
) -> Correspondences:
    """A picture in which inverse depth is a function of disparity."""
    x = np.random.default_rng(seed).uniform(1, 3, places)
    return Correspondences(x, inverse_depth(x), np.ones(places), time, left_out=3)


def told(*pictures: Correspondences) -> tuple[Agreement, ...]:
    return agreements(pictures, fit_shot(pictures))


def test_what_follows_a_line_agrees() -> None:
    (found,) = told(seen(lambda x: 0.5 * x + 0.1))
    assert (found.time, found.places, found.left_out, found.outliers) == (0.0, 50, 3, 0)
    assert found.order == pytest.approx(1)
    assert found.residual < 1e-9
    assert found.inverse_depth == pytest.approx(0.5 * found.disparity + 0.1)


def test_places_far_from_the_line_are_counted() -> None:
    noise = np.random.default_rng(1).normal(0, 0.01, 200)
    far = np.where(np.arange(200) < 20, 1.0, 0.0)
    (found,) = told(seen(lambda x: 0.5 * x + 0.1 + noise + far, places=200))
    assert found.outliers == 20
    assert found.residual * found.inverse_depth == pytest.approx(0.0074, rel=0.2)


@given(scale=st.floats(0.01, 100), shift=st.floats(-1, 1), seed=st.integers(0, 99))
def test_order_does_not_depend_on_scale_and_shift(scale: float, shift: float, seed: int) -> None:
    """So it says something before anything is fitted: it is Spearman's, of the disparity as it is."""
    noise = np.random.default_rng(seed).normal(0, 0.5, 50)
    good, picture = seen(lambda x: x, time=1.0), seen(lambda x: np.maximum(x + noise, 0.1), seed=seed)
    changed = replace(picture, disparity=scale * picture.disparity + shift)
    fit = fit_shot([good])
    (before,), (after,) = agreements([picture], fit), agreements([changed], fit)
    assert after.order == pytest.approx(before.order)
    assert before.order == pytest.approx(spearmanr(picture.disparity, picture.inverse_depth).statistic)


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=30))
def test_equal_values_share_the_mean_of_their_ranks(values: list[float]) -> None:
    np.testing.assert_array_equal(_ranks(np.array(values)), rankdata(values))


def test_near_and_far_that_swap_are_told() -> None:
    good, swapped = seen(lambda x: x, time=1.0), seen(lambda x: 4 - x)
    (first, second) = agreements([good, swapped], fit_shot([good]))
    assert (first.time, first.order) == (0.0, pytest.approx(-1))
    assert (second.time, second.order) == (1.0, pytest.approx(1))


def test_order_is_not_known_of_few_places_or_of_a_plane_that_faces_the_camera() -> None:
    fit = fit_shot([seen(lambda x: x)])
    few, enough = (seen(lambda x: x, places=places) for places in (LEAST_PLACES - 1, LEAST_PLACES))
    flat = seen(lambda x: np.full_like(x, 2.0))
    assert [isnan(each.order) for each in agreements([few, enough, flat], fit)] == [True, False, True]


def test_pictures_without_places_say_nothing() -> None:
    good = seen(lambda x: x)
    nothing = Correspondences(np.zeros(0), np.zeros(0), np.zeros(0), 2.0)
    assert len(agreements([nothing, good], fit_shot([good]))) == 1
