from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import ReconError
from recon.geometry import pixel_grid
from recon.stages.clean import REACH, clean, depth_limit, flying, in_range
from recon.types import DepthFrame, DepthMap, Frame, Intrinsics

CAMERA = Intrinsics.from_fov(70.0, 128, 96)
EDGE = 0.04


def plane(normal: tuple[float, float, float], distance: float) -> DepthMap:
    """Depth of the plane normal.X = distance by ray casting; NaN where the ray misses it."""
    rays = np.concatenate([pixel_grid(128, 96), np.ones((96, 128, 1))], axis=-1) @ np.linalg.inv(CAMERA.matrix).T
    along = rays @ np.array(normal)
    return np.where(along > 1e-6, distance / np.maximum(along, 1e-6), np.nan).astype(np.float32)


def frame_of(depth: DepthMap) -> DepthFrame:
    return DepthFrame(Frame(0, 0.0, np.zeros((*depth.shape, 3), np.uint8)), depth)


def cleaned(depth: DepthMap, *, near: float = 0.0, far: float | None = None) -> DepthMap:
    (frame,) = clean([frame_of(depth)], edge=EDGE, near=near, far=far)
    return frame.depth


def test_a_floor_survives_up_to_the_horizon() -> None:
    floor = plane((0.0, 1.0, 0.0), 1.5)
    jumps = np.abs(np.diff(floor, axis=0)) / floor[1:]
    assert np.nanmax(jumps) > 0.5, "near the horizon depth must really jump from row to row"
    assert not flying(floor, EDGE).any()


@given(
    angles=st.tuples(st.floats(0, 2 * np.pi), st.floats(0, 0.49 * np.pi)),
    distance=st.floats(0.1, 100),
)
def test_no_plane_has_edges(angles: tuple[float, float], distance: float) -> None:
    around, tilt = angles
    normal = (np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt))
    depth = plane(normal, distance)
    # where fewer pixels than a slope needs lie side by side (a corner above the horizon), a step cannot be told apart
    known = np.isfinite(depth).astype(np.uint8)
    lines = (np.ones((1, 2 * REACH + 1)), np.ones((2 * REACH + 1, 1)))
    measurable = np.minimum(*(cv2.morphologyEx(known, cv2.MORPH_OPEN, line, borderValue=0) for line in lines))
    assert not (flying(depth, EDGE) & (measurable > 0)).any()


@given(near=st.floats(0.3, 10), jump=st.floats(1.05, 20), column=st.integers(1, 127))
def test_both_sides_of_a_step_are_edges_and_nothing_else_is(near: float, jump: float, column: int) -> None:
    depth = np.full((96, 128), near, np.float32)
    depth[:, column:] *= np.float32(jump)
    expected = np.zeros(depth.shape, bool)
    expected[:, column - 1 : column + 1] = True
    np.testing.assert_array_equal(flying(depth, EDGE), expected)
    np.testing.assert_array_equal(flying(np.ascontiguousarray(depth.T), EDGE), expected.T)


def test_a_step_below_the_threshold_is_kept() -> None:
    depth = np.full((20, 20), 2, np.float32)
    depth[:, 10:] *= np.float32(1 + 0.9 * EDGE)
    assert not flying(depth, EDGE).any()


def test_a_box_on_a_floor_is_cut_out_and_the_floor_beside_it_stays() -> None:
    floor, box = plane((0.0, 1.0, 0.0), 1.5), plane((0.0, 0.0, 1.0), 3.0)
    inside = np.zeros(floor.shape, bool)
    inside[30:70, 40:90] = True
    inside &= ~(floor < box)  # what stands on the floor ends there
    scene = np.where(inside, box, floor)
    edges = flying(scene, EDGE)
    outline = inside & ~cv2.erode(inside.astype(np.uint8), np.ones((3, 3))).astype(bool)
    around = cv2.dilate(outline.astype(np.uint8), np.ones((3, 3))).astype(bool)
    jumps = np.abs(np.diff(1 / scene, axis=1)) > 2 * EDGE / np.fmin(scene[:, 1:], scene[:, :-1])
    assert edges[:, 1:][jumps].mean() > 0.99
    assert not edges[~around].any()


@pytest.mark.parametrize("width", [1, 2, 3])
def test_pixels_smeared_between_two_surfaces_go(width: int) -> None:
    inverse = np.full((30, 60), 1 / 2.0)
    inverse[:, 30:] = 1 / 4.0
    ramp = np.linspace(1 / 2.0, 1 / 4.0, width + 2)[1:-1]
    inverse[:, 30 : 30 + width] = ramp
    depth = cleaned((1 / inverse).astype(np.float32))
    assert np.isnan(depth[:, 30 : 30 + width]).all()
    assert np.isfinite(depth[:, : 30 - REACH]).all()
    assert np.isfinite(depth[:, 30 + width + REACH :]).all()


def test_a_pole_of_one_pixel_goes_with_its_surroundings() -> None:
    depth = np.full((20, 40), 5, np.float32)
    depth[:, 20] = 2
    assert np.isnan(cleaned(depth)[:, 19:22]).all()
    assert np.isfinite(cleaned(depth)).sum() == depth.size - 3 * 20


def test_beside_the_unknown_there_is_no_edge() -> None:
    depth = np.full((20, 20), 5, np.float32)
    depth[5:9, 5:9] = np.nan
    np.testing.assert_array_equal(cleaned(depth), depth)


@given(scale=st.floats(0.01, 100))
def test_units_do_not_matter(scale: float) -> None:
    rng = np.random.default_rng(1)
    depth = (2 + cv2.GaussianBlur(rng.random((40, 50)), None, 2)).astype(np.float32)
    depth[10:20, 10:30] *= np.float32(1.5)
    np.testing.assert_array_equal(flying(depth * np.float32(scale), EDGE), flying(depth, EDGE))


def test_range() -> None:
    depth = np.array([[-1, 0, 0.5, 1, 2, 3, np.inf, np.nan]], np.float32)
    nan = np.nan
    np.testing.assert_array_equal(in_range(depth, 1.0, 2.0), [[nan, nan, nan, 1, 2, nan, nan, nan]])
    np.testing.assert_array_equal(in_range(depth, 0.0, np.inf), [[nan, nan, 0.5, 1, 2, 3, nan, nan]])


def test_edges_may_be_kept() -> None:
    depth = np.ones((4, 8), np.float32)
    depth[:, 4:] = 2
    frames = [next(clean([frame_of(depth)], edge=edge, near=0.0, far=None)) for edge in (None, EDGE)]
    np.testing.assert_array_equal(frames[0].depth, depth)
    np.testing.assert_array_equal(np.isnan(frames[1].depth[0]), [False] * 3 + [True] * 2 + [False] * 3)


def test_clean_is_lazy_and_leaves_its_input_alone() -> None:
    pulled = []

    def source() -> Iterator[DepthFrame]:
        for index in range(3):
            pulled.append(index)
            yield frame_of(np.full((4, 4), index + 1, np.float32))

    frames = clean(source(), edge=EDGE, near=1.5, far=2.5)
    assert pulled == []
    assert np.isnan(next(frames).depth).all()
    assert pulled == [0]
    np.testing.assert_array_equal(next(frames).depth, 2)
    assert np.isnan(next(frames).depth).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (3, 3)])
def test_small_pictures(shape: tuple[int, int]) -> None:
    depth = np.full(shape, 2, np.float32)
    np.testing.assert_array_equal(cleaned(depth), depth)


@given(sky=st.floats(0, 0.45), median=st.floats(0.5, 50))
def test_the_far_limit_does_not_see_the_sky(sky: float, median: float) -> None:
    depth = np.full(1000, median, np.float32)
    depth[: int(1000 * sky)] = 1e6
    limit = depth_limit([depth.reshape(20, 50)] * 3)
    assert limit == pytest.approx(6 * median, rel=1e-6)


def test_the_far_limit_of_nothing_is_an_error() -> None:
    with pytest.raises(ReconError, match="no frame has any known depth"):
        depth_limit([np.full((2, 2), np.nan, np.float32)])


def test_a_real_corridor_keeps_its_surfaces(shared: Path) -> None:
    """Exact depth of a rendered hospital: what goes is what a jump of depth explains, and the floor stays."""
    paths = sorted((shared / "data/tartanair_hospital_a/depth_left").glob("*.png"))[::20]
    for path in paths:
        depth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000  # noqa: TID251 - 16 bit
        depth[depth == 0] = np.nan
        lost = np.isnan(cleaned(depth)) & np.isfinite(depth)
        assert lost.mean() < 0.06
        assert lost[-20:].mean() < 0.1, "the floor at the lower border"
