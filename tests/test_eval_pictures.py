"""Error panels: where the tiles stand, and what their colours say."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.evaluation.pictures import _GAP, _STRIP, _UNKNOWN, ERROR_RANGE, error_colors, error_panel

NAN = np.float32(np.nan)
RNG = np.random.default_rng(0)


def scene(height: int = 120, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its depth: 1 m on the left, 4 m on the right."""
    rgb = RNG.integers(0, 256, (height, width, 3), np.uint8)
    depth = np.broadcast_to(np.geomspace(1, 4, width, dtype=np.float32), (height, width)).copy()
    return rgb, depth


def tiles(panel: np.ndarray, columns: int = 4) -> list[np.ndarray]:
    """Picture, truth, prediction and error, without their words."""
    rows = 4 // columns
    height, width = panel.shape[0] // rows, (panel.shape[1] - _GAP * (columns - 1)) // columns
    places = [(row * height, column * (width + _GAP)) for row in range(rows) for column in range(columns)]
    return [panel[top + _STRIP : top + height - _STRIP, left : left + width] for top, left in places]


def is_unknown(tile: np.ndarray) -> np.ndarray:
    return (tile == _UNKNOWN).all(axis=-1)


def test_a_perfect_prediction() -> None:
    rgb, depth = scene()
    picture, true, predicted, error = tiles(error_panel(rgb, depth, depth))
    assert picture.shape == true.shape == predicted.shape == error.shape
    np.testing.assert_array_equal(true, predicted)
    assert (error == (246, 246, 244)).all()


def test_the_picture_is_the_picture() -> None:
    rgb, depth = scene()
    height, width = tiles(error_panel(rgb, depth, depth))[0].shape[:2]
    smooth = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(tiles(error_panel(rgb, depth, depth))[0], smooth)


def test_near_is_warm_and_far_is_cold() -> None:
    _, true, *_ = tiles(error_panel(*scene(), scene()[1]))
    left, right = true[:, 3].mean(axis=0), true[:, -3].mean(axis=0)
    assert left[0] > left[2]
    assert right[2] > right[0]


def test_both_depths_have_the_colours_of_the_truth() -> None:
    """A prediction that is half as far is warmer everywhere: its own range would hide that."""
    rgb, depth = scene()
    _, true, predicted, _ = tiles(error_panel(rgb, depth, depth / 2))
    assert (predicted[:, :150] == true[:, :1]).all()  # up to 2 m it is nearer than all that is true


@pytest.mark.parametrize(("factor", "channel"), [(0.85, 2), (0.5, 2), (1.15, 0), (2.0, 0)])
def test_too_near_is_blue_and_too_far_is_red(factor: float, channel: int) -> None:
    rgb, depth = scene()
    error = tiles(error_panel(rgb, depth, depth * np.float32(factor)))[3].reshape(-1, 3).astype(int)
    assert (error.argmax(axis=1) == channel).all()


@given(first=st.floats(-0.5, 0.5), second=st.floats(-0.5, 0.5))
def test_the_greater_error_is_the_stronger_colour(first: float, second: float) -> None:
    """On one side of zero; and from 25 % on there is nothing stronger."""
    weak, strong = sorted((abs(first), abs(second)))
    for sign in (-1, 1):
        one, two, *_ = error_colors(np.array([[sign * weak, sign * strong]], np.float32))[0].astype(int)
        middle = 1  # green fades on both sides
        assert one[middle] >= two[middle]
        if weak >= ERROR_RANGE:
            np.testing.assert_array_equal(one, two)


def test_infinite_errors_are_strong_ones() -> None:
    far, near = error_colors(np.array([[np.inf, -np.inf]], np.float32))[0]
    np.testing.assert_array_equal(far, (146, 22, 24))
    np.testing.assert_array_equal(near, (16, 62, 150))


def test_unknown_is_grey() -> None:
    """Of the truth in two tiles, of the prediction in two; 0 is no depth either."""
    rgb, depth = scene()
    true, predicted = depth.copy(), depth.copy()
    true[:60], predicted[:, :40] = NAN, 0
    _, *maps = tiles(error_panel(rgb, true, predicted))
    height, width = maps[0].shape[:2]
    above = np.broadcast_to((np.arange(height) < height / 2)[:, None], (height, width))
    left = np.broadcast_to(np.arange(width) < width / 4, (height, width))
    for tile, expected in zip(maps, (above, left, above | left), strict=True):
        assert np.mean(is_unknown(tile) != expected) < 0.02


def test_sparse_truth_is_seen() -> None:
    """Points of a lidar, 1 in 400, become dots of several pixels; a dense map is not made larger."""
    rgb, depth = scene(480, 640)
    sparse = np.full_like(depth, NAN)
    sparse[10::20, 10::20] = depth[10::20, 10::20]
    _, dotted, whole, error = tiles(error_panel(rgb, sparse, depth))
    count = np.isfinite(sparse).sum()
    assert 9 * count <= (~is_unknown(dotted)).sum() <= 16 * count  # a point falls on 1 to 4 pixels of the tile
    np.testing.assert_array_equal(is_unknown(dotted), is_unknown(error))
    assert not is_unknown(whole).any()


def test_a_dense_map_keeps_its_holes() -> None:
    rgb, depth = scene(480, 640)
    depth[100:106, 100:106] = NAN
    assert is_unknown(tiles(error_panel(rgb, depth, depth))[1]).any()


@pytest.mark.parametrize(
    ("height", "width", "columns"),
    [(480, 640, 4), (375, 1242, 2), (1080, 1920, 4), (1920, 1080, 4), (30, 40, 4), (1, 999, 2)],
)
def test_panels_are_bounded(height: int, width: int, columns: int) -> None:
    """Wide pictures stand in two rows, tall ones are not taller than half the panel; none is distorted."""
    rgb, depth = scene(height, width)
    panel = error_panel(rgb, depth, depth)
    tile = tiles(panel, columns)[0]
    assert panel.shape[1] <= 1280
    assert panel.shape[0] <= 640
    if height > 1:
        assert tile.shape[1] / tile.shape[0] == pytest.approx(width / height, rel=0.01)


def test_the_truth_may_have_another_size() -> None:
    rgb, _ = scene(240, 320)
    _, depth = scene(90, 120)
    assert error_panel(rgb, depth, depth).shape == error_panel(rgb, *[scene(480, 640)[1]] * 2).shape


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(Exception, match="type"):
        error_panel(scene()[0], scene()[1], scene(10, 10)[1])


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 80),
    seed=st.integers(0, 99),
    share=st.sampled_from([0, 0.1, 0.9, 1]),
)
def test_any_map_is_drawn(height: int, width: int, seed: int, share: float) -> None:
    """Also where all is unknown, everything is equally far, or arrays are read-only."""
    rng = np.random.default_rng(seed)
    true, predicted = rng.choice(np.array([0.5, 3, 80], np.float32), (2, height, width))
    true[rng.random(true.shape) < share] = NAN
    predicted[rng.random(true.shape) < share] = NAN
    rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
    for array in (rgb, true, predicted):
        array.setflags(write=False)
    panel = error_panel(rgb, true, predicted)
    assert panel.dtype == np.uint8
    assert panel.shape[1] <= 1280
