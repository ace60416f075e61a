"""Anchors: which places of a picture are compared, and which are left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import AlignmentError
from recon.stages.anchors import from_depth_map, from_sparse
from recon.types import SparsePoints

SCALE, SHIFT = 2.0, 0.1


def scene(height: int = 60, width: int = 80) -> np.ndarray:
    """Inverse depth of a floor that runs off, with a near box on it: float32 (h, w)."""
    y, x = (np.mgrid[:height, :width] + 0.5) / [[[height]], [[width]]]
    box = (abs(y - 0.5) < 0.2) & (abs(x - 0.5) < 0.2)
    return np.where(box, 1.5, 0.2 + 0.5 * y).astype(np.float32)


def disparity_of(inverse: np.ndarray) -> np.ndarray:
    return ((inverse - SHIFT) / SCALE).astype(np.float32)


def one_observation(position: tuple[float, float], depth: float = 2.0, time: float = 0.0) -> SparsePoints:
    return SparsePoints(
        points=np.array([[0.0, 0, depth]]),
        times=np.array([time]),
        point=np.array([0]),
        position=np.array([position]),
        depth=np.array([depth]),
    )


@given(rows=st.integers(30, 200), wider=st.integers(-1, 1))
def test_maps_of_any_two_sizes_agree_wherever_they_are_compared(rows: int, wider: int) -> None:
    """Also beside the box, whose edge falls between the pixels of the coarser map: near and far never mix."""
    columns = rows * 4 // 3 + wider
    found = from_depth_map(disparity_of(scene(120, 160)), 1 / scene(rows, columns), time=1.5)
    np.testing.assert_allclose(SCALE * found.disparity + SHIFT, found.inverse_depth, atol=0.5 / min(rows, 120) + 1e-6)
    assert len(found.disparity) > 0.4 * min(rows, 120) * min(columns, 160)
    assert found.time == 1.5


def test_edges_of_either_map_are_left_out() -> None:
    flat, box = np.full((60, 80), 0.7, np.float32), scene()
    ramp = disparity_of(np.linspace(0.2, 2, 80, dtype=np.float32)[None].repeat(60, 0))
    edges = 2 * 2 * (24 + 32)
    assert 60 * 80 - len(from_depth_map(ramp, 1 / box, time=0.0).weight) == pytest.approx(edges, abs=8)
    assert 60 * 80 - len(from_depth_map(disparity_of(box), 1 / flat, time=0.0).weight) == pytest.approx(edges, abs=8)


def test_unknown_depth_and_clipped_disparity_are_left_out() -> None:
    depth, disparity = 1 / scene(), disparity_of(scene())
    depth[:10] = np.nan
    disparity[-10:] = 0
    disparity[:, :5] = np.nan
    found = from_depth_map(disparity, depth, time=0.0)
    everything = from_depth_map(disparity_of(scene()), 1 / scene(), time=0.0)
    # The rows beside the clipped ones are no edge: what is not known is no neighbour.
    assert len(everything.weight) - len(found.weight) == 20 * 80 + 40 * 5
    np.testing.assert_allclose(SCALE * found.disparity + SHIFT, found.inverse_depth, rtol=1e-5)


def test_scattered_depth_counts_where_it_is() -> None:
    """Lidar knows a fifth of the pixels; that its neighbours are unknown makes no edges."""
    depth = 1 / scene()
    random = np.random.default_rng(0)
    depth[random.random(depth.shape) > 0.2] = np.nan
    found = from_depth_map(disparity_of(scene()), depth, time=0.0)
    assert len(found.weight) > 0.8 * np.isfinite(depth).sum()
    np.testing.assert_allclose(SCALE * found.disparity + SHIFT, found.inverse_depth, rtol=1e-5)


@pytest.mark.parametrize("finer", [1, 4])
def test_of_lidar_no_point_is_lost_however_fine_its_picture(finer: int) -> None:
    """A map of the film's size with a hundredth of its pixels, beside the network's small one."""
    depth = 1 / scene(60 * finer, 80 * finer)
    depth[np.random.default_rng(0).random(depth.shape) > 0.01 * 16 / finer**2] = np.nan
    found = from_depth_map(disparity_of(scene()), depth, time=0.0)
    edges = 2 * 2 * (24 + 32) / (60 * 80)
    assert len(found.weight) == pytest.approx((1 - edges) * np.isfinite(depth).sum(), rel=0.03)
    assert found.left_out == np.isfinite(depth).sum() - len(found.weight)
    np.testing.assert_allclose(SCALE * found.disparity + SHIFT, found.inverse_depth, atol=0.5 / 60 + 1e-6)


@pytest.mark.parametrize("keep", [1.0, 0.05])
def test_neighbours_share_a_block(keep: float) -> None:
    """Squares of a chessboard: 8 x 8 of them, and each place lies in its own."""
    row, column = np.mgrid[:64, :64]
    depth = (1 / (1 + (row * 64 + column) * 1e-6)).astype(np.float32)
    depth[np.random.default_rng(0).random(depth.shape) > keep] = np.nan
    found = from_depth_map(np.ones((64, 64), np.float32), depth, time=0.0)
    pixel = np.rint((found.inverse_depth - 1) * 1e6).astype(int)
    assert found.block is not None
    near = np.abs(pixel // 64 // 8 * 8 + pixel % 64 // 8 - found.block)
    assert np.mean(near > 0) < 0.01, "rounding of float32 may move a pixel into its neighbour"
    assert len(np.unique(found.block)) > 60


def test_depth_that_is_not_positive_is_unknown() -> None:
    depth = 1 / scene()
    depth[0, :3] = [0, -1, np.inf]
    assert np.isfinite(from_depth_map(disparity_of(scene()), depth, time=0.0).inverse_depth).all()


def test_maps_of_other_shapes_are_refused() -> None:
    with pytest.raises(AlignmentError, match=r"80 x 60, but the picture is 1.778 times as wide as high"):
        from_depth_map(disparity_of(scene(45, 80)), 1 / scene(60, 80), time=0.0)


def test_nothing_known_gives_nothing() -> None:
    nothing = np.full((60, 80), np.nan, np.float32)
    assert len(from_depth_map(disparity_of(scene()), nothing, time=0.0).weight) == 0
    assert len(from_depth_map(nothing, 1 / scene(), time=0.0).weight) == 0


@pytest.mark.parametrize(
    ("position", "pixel"),
    [((0.0, 0.0), (0, 0)), ((0.0124, 0.0166), (0, 0)), ((0.0126, 0.0168), (1, 1)), ((0.999, 0.999), (59, 79))],
)
def test_a_landmark_is_looked_up_in_the_pixel_that_it_lies_in(
    position: tuple[float, float], pixel: tuple[int, int]
) -> None:
    disparity = (1 + np.arange(60 * 80, dtype=np.float32) * 1e-5).reshape(60, 80)
    found = from_sparse(one_observation(position), 0.0, disparity)
    assert found.disparity.tolist() == [pytest.approx(disparity[pixel])]
    assert found.inverse_depth.tolist() == [0.5]


@pytest.mark.parametrize("position", [(1.0, 0.5), (0.5, 1.0), (-0.01, 0.5), (1.2, 0.5)])
def test_landmarks_outside_the_picture_are_left_out(position: tuple[float, float]) -> None:
    assert len(from_sparse(one_observation(position), 0.0, scene()).disparity) == 0


def test_landmarks_on_edges_and_on_unknown_pixels_are_left_out() -> None:
    disparity = disparity_of(scene())
    disparity[0] = 0
    disparity[1] = np.nan
    on_edge, clipped, unknown = (0.3, 0.5), (0.5, 0.001), (0.5, 0.025)
    assert [len(from_sparse(one_observation(p), 0.0, disparity).weight) for p in (on_edge, clipped, unknown)] == [
        0,
        0,
        0,
    ]
    assert len(from_sparse(one_observation((0.5, 0.5)), 0.0, disparity).weight) == 1


@pytest.mark.parametrize(("time", "count"), [(2.0, 1), (2.004, 1), (1.996, 1), (2.006, 0), (0.0, 0)])
def test_only_what_was_seen_at_that_time_counts(time: float, count: int) -> None:
    seen = from_sparse(one_observation((0.5, 0.5), time=2.0), time, scene())
    assert (len(seen.disparity), seen.time) == (count, time)
