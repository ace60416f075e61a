"""From disparity to parallax: units, comfort, and nothing that pumps."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.stages.stereo.parallax import (
    SAMPLES,
    SOFT,
    Display,
    ShotParallax,
    Wish,
    display,
    plan,
    sample_places,
    zone_of_comfort,
)
from recon.types import DepthEstimate, DepthMap

HEIGHT, WIDTH = 60, 100
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
ROUNDING = 1e-7


def estimate(values: np.ndarray, index: int = 0, time: float = 0.0) -> DepthEstimate:
    return DepthEstimate(index, time, 0, values.astype(np.float32))


def room(near: float = 1000.0) -> DepthMap:
    """A floor that comes closer from 100 to 800, and a box on it."""
    values = 100 + 700 * ROWS / HEIGHT
    values[20:45, 40:65] = near
    return values.astype(np.float32)


def film(frame: Callable[[int], np.ndarray], count: int = 12, step: float = 0.5) -> list[DepthEstimate]:
    return [estimate(frame(index), index, index * step) for index in range(count)]


def shot(values: np.ndarray, wish: Wish | None = None) -> ShotParallax:
    return plan([estimate(values)], "disparity", wish or Wish())


def random_map(seed: int) -> DepthMap:
    """Anything a network might say: slopes, boxes, noise, specks."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, 3) @ np.stack([np.ones_like(ROWS), ROWS / HEIGHT, COLUMNS / WIDTH]).reshape(3, -1)
    values = 5 + values.reshape(HEIGHT, WIDTH) + random.normal(0, random.choice([0, 0.05]), (HEIGHT, WIDTH))
    for _ in range(random.integers(0, 5)):
        top, left, size = random.integers(0, HEIGHT), random.integers(0, WIDTH), random.integers(1, 40)
        values[top : top + size, left : left + size] += random.normal(0, 3)
    return values.astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ strength


def test_strength_is_the_span_from_the_far_to_the_near_end() -> None:
    seen = shot(room(), Wish(strength=0.02))
    parallax = seen.parallax(estimate(room()))
    assert seen.facts["strength"] == pytest.approx(0.02)
    assert np.quantile(parallax, 0.99) - np.quantile(parallax, 0.01) == pytest.approx(0.02, rel=0.05)
    assert seen.facts["why"] == "as asked"


def test_near_is_in_front_and_far_is_behind() -> None:
    parallax = shot(room()).parallax(estimate(room()))
    assert parallax[30, 50] < 0 < parallax[0, 0]


def test_convergence_says_what_is_on_the_screen() -> None:
    wish = Wish(strength=0.01, convergence=1.0)
    assert shot(room(), wish).parallax(estimate(room()))[30, 50] == pytest.approx(0, abs=1e-4)
    behind = shot(room(), Wish(strength=0.01, convergence=0.0, front=0.1)).parallax(estimate(room()))
    assert behind[0].max() < 0.001


def test_convergence_keeps_the_budget_by_a_lower_strength() -> None:
    seen = shot(room(), Wish(strength=0.03, convergence=0.0))
    assert seen.parallax(estimate(room())).min() >= -0.01 - ROUNDING
    assert seen.facts["strength"] < 0.03
    assert "comfort" in str(seen.facts["why"])


def test_a_flat_shot_stays_flat() -> None:
    """Credits: a network sees a little relief of the letters, and it must not be blown up to full strength."""
    credits_ = 400 + 8.0 * (ROWS // 10 % 2)
    seen = shot(credits_)
    assert np.ptp(seen.parallax(estimate(credits_))) < 0.002
    assert "flat" in seen.sentence


def test_a_drawing_is_shown_as_a_relief() -> None:
    """What Depth Anything V2 Small says of one: 1.6 to 3.6, nothing far away; of a real scene: 0.5 to 4.3."""
    drawing, scene = (far + (near - far) * ROWS / (HEIGHT - 1) for far, near in ((1.6, 3.6), (0.5, 4.3)))
    assert shot(drawing).facts["strength"] == pytest.approx(0.025 * 0.56, rel=0.05)
    assert shot(scene).facts["why"] == "as asked"
    metric = plan([estimate(1 / drawing)], "depth", Wish())
    assert metric.facts["why"] == "as asked", "of metric depth it is known to be so"


def test_a_map_without_any_relief_lies_on_the_screen() -> None:
    for value in (0.0, 3.0):
        flat = np.full((HEIGHT, WIDTH), value)
        assert (shot(flat).parallax(estimate(flat)) == 0).all()


def test_nothing_known() -> None:
    unknown = np.full((HEIGHT, WIDTH), np.nan)
    for seen in (shot(unknown), plan([], "disparity", Wish())):
        assert (seen.parallax(estimate(unknown)) == 0).all()
        assert "nothing is known" in seen.sentence


def test_unknown_depth_is_far() -> None:
    values = np.where(ROWS < 10, np.nan, 1 + ROWS / 10).astype(np.float32)
    seen = plan([estimate(values)], "depth", Wish())
    parallax = seen.parallax(estimate(values))
    assert np.isfinite(parallax).all()
    assert parallax[0, 0] == pytest.approx(parallax[ROWS >= 10].max(), abs=2e-3)


@pytest.mark.parametrize(
    "wrong", [{"strength": -0.1}, {"convergence": 1.5}, {"ipd": 0.0}, {"strength": None}, {"front": float("inf")}]
)
def test_wishes_that_make_no_sense(wrong: dict[str, float | None]) -> None:
    with pytest.raises(ValueError, match=r"got|display"):
        Wish(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------------------- properties


@given(st.integers(0, 10_000), st.floats(0, 0.2), st.floats(0, 0.05), st.floats(0, 0.05))
def test_budget_is_kept_whatever_comes(seed: int, strength: float, front: float, behind: float) -> None:
    wish = Wish(strength=strength, front=front, behind=behind)
    seen = shot(random_map(seed), wish)
    for values in (random_map(seed), random_map(seed + 1), np.full((2, 2), np.inf), np.full((2, 2), -np.inf)):
        parallax = seen.parallax(estimate(values))
        assert parallax.min() >= -front - ROUNDING
        assert parallax.max() <= behind + ROUNDING


@given(st.integers(0, 10_000), st.floats(0.001, 0.05))
def test_never_stronger_than_asked(seed: int, strength: float) -> None:
    seen = shot(random_map(seed), Wish(strength=strength, front=1.0, behind=1.0))
    assert np.ptp(seen.parallax(estimate(random_map(seed)))) <= strength * (1 + 2 * SOFT) + ROUNDING


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_nearer_never_gets_a_larger_parallax(seed: int, other: int) -> None:
    seen = shot(random_map(seed))
    values = np.sort(random_map(other).ravel()).reshape(HEIGHT, WIDTH)
    parallax = seen.parallax(estimate(values)).ravel()
    assert (np.diff(parallax) <= 0).all()


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(-1, 1))
def test_scale_and_shift_of_relative_disparity_mean_nothing(seed: int, scale: float, shift: float) -> None:
    values = random_map(seed).astype(np.float64)
    values = (values - np.median(values)) / np.ptp(values)  # not flat, wherever it is shifted to
    one, other = values, scale * (values + shift * 0.2)
    a, b = shot(one), shot(other)
    if a.facts["why"] == b.facts["why"] == "as asked":
        np.testing.assert_allclose(a.parallax(estimate(one)), b.parallax(estimate(other)), atol=2e-5)


@given(st.integers(0, 10_000))
def test_a_mirrored_shot_gets_the_same_strength(seed: int) -> None:
    values = random_map(seed)
    assert shot(values).gain == pytest.approx(shot(values[:, ::-1].copy()).gain, rel=2e-3)


# ------------------------------------------------------------------------------------------------ time and robustness


def test_one_near_pixel_and_snow_change_next_to_nothing() -> None:
    random = np.random.default_rng(0)

    def snowing(_: int) -> np.ndarray:
        flakes = random.random((HEIGHT, WIDTH)) < 0.004
        return np.where(flakes, 9000, room())

    clear, snowy = (plan(film(frame), "disparity", Wish()) for frame in (lambda _: room(), snowing))
    assert snowy.gain == pytest.approx(clear.gain, rel=0.01)
    change = snowy.parallax(estimate(room())) - clear.parallax(estimate(room()))
    assert np.abs(change).max() < 2e-4
    assert snowy.parallax(estimate(snowing(0))).min() >= -0.01 - ROUNDING


def test_what_is_beyond_the_ends_still_has_an_order() -> None:
    seen = shot(room())
    beyond = np.array([[1000.0, 1050, 1100, 1200, 1400]], np.float32)
    assert (np.diff(seen.parallax(estimate(beyond))) < 0).all()


def test_a_static_shot_has_constant_parameters() -> None:
    random = np.random.default_rng(0)
    seen = plan(film(lambda _: room() + random.normal(0, 3, (HEIGHT, WIDTH))), "disparity", Wish())
    assert len(seen.screen) == 1
    assert seen.facts["moving"] is False
    assert (seen.parallax(estimate(room(), 0, 0.0)) == seen.parallax(estimate(room(), 9, 5.0))).all()


def approaching(index: int) -> np.ndarray:
    """Somebody walks up to the camera, from the sixth map on."""
    values = 100 + 300.0 * ROWS / HEIGHT
    values[5:60, 20:90] = 300 + 130 * max(index - 6, 0)
    return values


def test_the_screen_follows_what_comes_near_slowly_and_smoothly() -> None:
    wish = Wish(strength=0.03, front=0.03, behind=0.03)
    seen = plan(film(approaching), "disparity", wish)
    moved = (seen.screen[-1] - seen.screen[0]) * seen.gain
    speed = np.diff(seen.screen) / np.diff(seen.times) * seen.gain
    assert moved > 0.003
    assert np.abs(speed).max() <= wish.speed * 1.001
    steps = np.abs(np.diff(speed)).max()
    assert steps < wish.speed / 2, "the speed itself must not jump"


def test_a_shot_knows_nothing_of_another() -> None:
    first = plan(film(approaching), "disparity", Wish())
    again = plan(film(approaching), "disparity", Wish())
    assert first.facts == again.facts
    assert (first.screen == again.screen).all()


@given(st.integers(1, 5000))
def test_few_maps_are_looked_at_the_first_and_the_last_among_them(count: int) -> None:
    places = sample_places(count)
    assert len(places) == min(count, SAMPLES)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert places == sorted(set(places))


# ------------------------------------------------------------------------------------------------------------ physical


def two_cameras(depth: np.ndarray, ipd: float, focal: float, screen: float) -> np.ndarray:
    """x in the right camera minus x in the left one, in picture widths, by projection: the oracle."""
    x = 0.3 * depth  # some place to the side
    left, right = (focal * (x - eye) / depth for eye in (-ipd / 2, ipd / 2))
    shift = focal * ipd / screen  # each picture is shifted until what is at the screen's distance coincides
    return right - left + shift


def test_metric_depth_gives_the_geometry_of_two_cameras() -> None:
    depth = (2 + 8 * ROWS / HEIGHT).astype(np.float32)
    place = Display(2.0, 4.0)
    wish = Wish(strength=None, display=place, front=1.0, behind=1.0, ipd=0.065)
    for focal in (None, 0.9):
        seen = plan([estimate(depth)], "depth", wish, focal=focal)
        true = two_cameras(depth.astype(float), 0.065, focal or 2.0, 4.0)
        inner = np.s_[3:-3]  # beyond the ends it is compressed
        np.testing.assert_allclose(seen.parallax(estimate(depth))[inner], true[inner], atol=1e-6)
        assert "65 mm" in seen.sentence


def test_on_the_right_display_everything_is_seen_at_its_distance() -> None:
    """Woods et al. 1993, eq. 6: a parallax P on the display is seen at V e / (e - P)."""
    depth = (2 + 3 * ROWS / HEIGHT).astype(np.float32)
    place = Display(1.2, 2.5)
    seen = plan([estimate(depth)], "depth", Wish(strength=None, display=place, front=0.1, behind=0.1))
    on_display = seen.parallax(estimate(depth)).astype(float) * place.width
    seen_at = place.distance * 0.063 / (0.063 - on_display)
    np.testing.assert_allclose(seen_at[3:-3], depth[3:-3], rtol=1e-4)


@pytest.mark.parametrize("name", ["vr", "tv", "cinema", "phone"])
def test_eyes_never_diverge_on_any_display(name: str) -> None:
    place = display(name)  # type: ignore[arg-type]
    depth = np.where(ROWS < 30, 1e6, 1 + COLUMNS / 10).astype(np.float32)
    for quantity, strength in (("depth", None), ("depth", 0.2), ("disparity", None), ("disparity", 0.2)):
        wish = Wish(strength=strength, display=place, front=1.0, behind=1.0)
        values = depth if quantity == "depth" else 1 / depth
        parallax = plan([estimate(values)], quantity, wish).parallax(estimate(values))  # type: ignore[arg-type]
        assert parallax.max() * place.width <= wish.ipd + 1e-6
        assert parallax.min() >= -zone_of_comfort(place, wish.ipd)[0] - ROUNDING


def test_zone_of_comfort() -> None:
    """At 40 cm (2.5 dioptres) eyes may converge from 1.82 to 3.02 dioptres; far away, only diverging is bad behind."""
    front, behind = zone_of_comfort(Display(0.4, 0.4), 0.06)
    assert behind * 0.4 == pytest.approx(0.06 * (1 - 0.4 * 1.8229), rel=1e-3)
    assert front * 0.4 == pytest.approx(0.06 * (0.4 * 3.0203 - 1), rel=1e-3)
    assert zone_of_comfort(Display(10.0, 20.0), 0.06)[1] == pytest.approx(0.006)


def test_facts_of_metric_depth_are_told_in_metres() -> None:
    depth = (1 + 9 * ROWS / HEIGHT).astype(np.float32)
    seen = plan([estimate(depth)], "depth", Wish())
    assert "near 1" in seen.sentence
    assert "screen at" in seen.sentence
    assert {"near", "far", "screen", "strength", "front", "behind", "why", "moving"} <= set(seen.facts)
