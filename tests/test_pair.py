"""Pictures beside their maps: the same frame, the same size, the same camera."""

from collections.abc import Iterator

import numpy as np
import pytest

from recon.errors import StoreError
from recon.stages.pair import paired, resized
from recon.types import DepthEstimate, Frame


def frames(count: int) -> Iterator[Frame]:
    for index in range(count):
        yield Frame(index, index / 10, np.full((40, 60, 3), index, np.uint8))


def estimates(*indices: int) -> list[DepthEstimate]:
    return [DepthEstimate(index, index / 10, 0, np.ones((20, 30), np.float32)) for index in indices]


def test_each_frame_stands_beside_its_map_at_the_size_of_the_map() -> None:
    pairs = list(paired(frames(3), estimates(0, 1, 2)))
    assert [(each.frame.index, estimate.index) for each, estimate in pairs] == [(0, 0), (1, 1), (2, 2)]
    assert all(each.frame.rgb.shape == (20, 30, 3) and (each.frame.rgb == each.frame.index).all() for each, _ in pairs)


@pytest.mark.parametrize(("detail", "size"), [(0, (20, 30)), (500, (20, 30)), (1350, (30, 45)), (10**6, (40, 60))])
def test_a_map_is_enlarged_to_the_detail_that_is_asked_for_and_the_picture_has(
    detail: int, size: tuple[int, int]
) -> None:
    ((view, estimate),) = paired(frames(1), estimates(0), detail)
    assert view.frame.rgb.shape == (*size, 3)
    assert estimate.values.shape == size
    assert (estimate.values == 1).all()


def test_an_enlarged_map_keeps_its_places_and_knows_nothing_more() -> None:
    """A ramp stays one (corner origin), and unknown stays unknown."""
    ramp = np.broadcast_to((np.arange(30, dtype=np.float32) + 0.5) / 30, (20, 30)).copy()
    ramp[:, 25:] = np.nan
    ((_, estimate),) = paired(frames(1), [DepthEstimate(0, 0.0, 0, ramp)], 2400)
    expected = (np.arange(60) + 0.5) / 60
    np.testing.assert_allclose(estimate.values[20, 2:48], expected[2:48], atol=1e-6)
    assert np.isnan(estimate.values[:, 50:]).all()


def test_a_video_that_has_lost_frames_is_noticed() -> None:
    with pytest.raises(StoreError, match="frame 2 has depth but no picture"):
        list(paired(frames(2), estimates(0, 1, 2)))
    with pytest.raises(StoreError, match="frame 1 "):
        list(paired(frames(3), estimates(1, 2)))


@pytest.mark.parametrize("size", [(30, 20), (37, 21), (60, 40), (90, 80)])
def test_a_ramp_keeps_its_place(size: tuple[int, int]) -> None:
    """Corner origin: the value at the relative place x is the same at every size, away from the border."""
    width, height = size
    ramp = ((np.arange(60) + 0.5) * 4).astype(np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (40, 60, 3)).copy()
    small = resized(picture, width, height)
    expected = (np.arange(width) + 0.5) / width * 240
    inner = slice(width // 10, -(width // 10))
    np.testing.assert_allclose(small[height // 2, inner, 0], expected[inner], atol=2.1)


def test_fine_texture_is_averaged_and_not_picked() -> None:
    """Shrunk by four, a checkerboard becomes grey; picking single pixels would give black or white."""
    checker = (np.indices((80, 80)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = resized(np.repeat(checker[..., None], 3, axis=2), 20, 20)
    assert np.abs(small.astype(int) - 127).max() <= 1
