"""The warp in torch is the compiled one: same places, order, parts of pixels, holes."""

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from stereo_scenes import completed, scene, source

from recon.eyes import Seen
from recon.models.stereo_warp import TorchWarp
from recon.stages.stereo.warp import seen_from

EYES = (0.5, -0.5, 1.0, -1.0)
WARP = TorchWarp("cpu")

Frame = tuple[np.ndarray, np.ndarray]
"""A picture and its parallax."""


def same(one: Seen, other: Seen, *, differing: float = 0.0) -> None:
    """But for the last bits: at most one level, and that seldom."""
    levels = np.abs(one.picture.astype(int) - other.picture.astype(int)).max(axis=-1)
    assert one.picture.dtype == other.picture.dtype
    assert levels.max() <= 1
    assert (levels > 0).mean() <= differing
    np.testing.assert_allclose(one.cover, other.cover, atol=1e-5)
    assert one.cover.max() <= 1
    certain = np.abs(one.cover - 0.5) > 1e-5
    np.testing.assert_array_equal(one.hole[certain], other.hole[certain])
    np.testing.assert_allclose(one.parallax, other.parallax, atol=1e-3 / one.hole.shape[1])


# ------------------------------------------------------------------------------------------ as the compiled one sees it


@pytest.fixture(scope="module")
def motorcycle() -> Frame:
    left, _, disparity = skimage.data.stereo_motorcycle()
    known = np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32)
    return left, -completed(known) / np.float32(left.shape[1])


@pytest.mark.parametrize("share", [*EYES, 0.37])
def test_a_real_picture(motorcycle: Frame, share: float) -> None:
    same(WARP(*motorcycle, share), seen_from(*motorcycle, share), differing=5e-4)


@pytest.mark.parametrize("share", [-0.5, 1.0])
def test_a_real_picture_in_16_bits(motorcycle: Frame, share: float) -> None:
    picture, parallax = motorcycle[0].astype(np.uint16) * 257, motorcycle[1]
    same(WARP(picture, parallax, share), seen_from(picture, parallax, share), differing=0.01)


@pytest.mark.parametrize(("seed", "bits"), [(0, 8), (1, 16)])
def test_exact_scenes(seed: int, bits: int) -> None:
    (frame,) = source(scene(seed, pan=3.5 / 640), 1, (480, 270), bits)
    for share in EYES:
        same(WARP(*frame, share), seen_from(*frame, share), differing=0.01)


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Small pictures of plain and mixed patches; parallax of steps, ramps, single pixels and things out of sight."""
    height, width = draw(st.integers(1, 4)), draw(st.integers(1, 30))
    step = st.sampled_from([0, 0, 0, 0.5, 1, -1, 1.5, -1.5, 2.5, -2.5, 8, -8, 40, -40]) | st.floats(-4, 4, width=32)
    pixels = draw(arrays(np.float32, (height, width), elements=step, fill=st.just(0)))
    if draw(st.booleans()):
        pixels = np.cumsum(pixels, axis=1, dtype=np.float32)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    patch = draw(st.sampled_from([1, 3, 5, 8]))
    colours = np.repeat(random.integers(0, 256, (height, width, 3)), patch, axis=1)[:, :width].astype(np.float64)
    colours[:, 1:] += random.choice([0, 0.5], (height, width - 1, 1)) * (colours[:, :-1] - colours[:, 1:])
    of_8 = draw(st.booleans())
    return (np.rint(colours).astype(np.uint8) if of_8 else np.rint(257 * colours).astype(np.uint16)), pixels / width


@settings(max_examples=400)
@given(frames(), st.sampled_from([*EYES, 0.3]))
def test_anything(frame: Frame, share: float) -> None:
    same(WARP(*frame, share), seen_from(*frame, share), differing=1.0)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 3), (7, 1), (2, 2)])
@pytest.mark.parametrize("pixels", [0.0, 0.4, -1.0, 30.0, 1e30])
def test_any_size(size: tuple[int, int], pixels: float) -> None:
    frame = (dots(*size), level(pixels, *size))
    for share in EYES:
        same(WARP(*frame, share), seen_from(*frame, share))


# ----------------------------------------------------------------------------------------------- what it must be, alone


def dots(height: int, width: int, bits: int = 8) -> np.ndarray:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(0).integers(0, 2**bits, (height, width, 3), kind)


def level(pixels: float, height: int, width: int) -> np.ndarray:
    """Parallax of so many pixels."""
    return np.full((height, width), pixels / width, np.float32)


def rough(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.05, (height, width)).astype(np.float32)


def equal(one: Seen, other: Seen) -> None:
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("share", EYES)
@pytest.mark.parametrize("pixels", [-6, 4])
def test_whole_pixels_are_moved_as_they_are(share: float, pixels: int, bits: int) -> None:
    picture, move = dots(4, 32, bits), round(share * pixels)
    seen = WARP(picture, level(pixels, 4, 32), share)
    inside = np.arange(max(move, 0), 32 + min(move, 0))
    np.testing.assert_array_equal(seen.picture[:, inside], picture[:, inside - move])
    np.testing.assert_array_equal(seen.parallax, np.float32(pixels / 32))
    assert not seen.hole[:, inside].any()
    assert seen.hole.sum() == 4 * (32 - len(inside))
    assert (seen.picture[seen.hole] == 0).all()


def test_the_last_of_what_meets_is_seen_and_holes_are_as_far_as_the_farther_side() -> None:
    """A bar before a box before a wall, for the right eye; all from other columns than they are seen at."""
    parallax, picture = level(0, 2, 64), np.zeros((2, 64, 3), np.uint8)
    parallax[:, 20:40], picture[:, 20:40] = -6 / 64, 100
    parallax[:, 42:46], picture[:, 42:46] = -12 / 64, 200
    seen = WARP(picture, parallax, 1.0)
    for row in seen.picture[..., 0]:
        assert np.flatnonzero(row == 200).tolist() == [30, 31, 32, 33]
        assert np.flatnonzero(row == 100).tolist() == list(range(14, 30))
    for row in seen.hole:
        assert np.flatnonzero(row).tolist() == [*range(34, 40), *range(42, 46)]
    assert (seen.parallax[seen.hole] == 0).all()


@pytest.mark.parametrize("share", EYES)
def test_eyes_are_mirror_images(share: float) -> None:
    picture, parallax = dots(9, 50), rough(9, 50)
    mirrored = WARP(picture[:, ::-1], parallax[:, ::-1], -share)
    equal(WARP(picture, parallax, share), Seen(*(each[:, ::-1] for each in mirrored)))


@pytest.mark.parametrize("pixels", [1, 50, 51, 180, 10_000])
def test_any_number_of_pixels_at_once(pixels: int) -> None:
    frame = dots(13, 50), rough(13, 50)
    for share in EYES:
        equal(TorchWarp("cpu", pixels=pixels)(*frame, share), WARP(*frame, share))


@pytest.mark.parametrize("shares", [(-0.5, 0.5), (0.0, 1.0), (-1.0, 0.0)])
def test_two_eyes_are_each_seen_as_if_alone(shares: tuple[float, float]) -> None:
    picture, parallax = dots(6, 40), rough(6, 40)
    before = picture.copy(), parallax.copy()
    for seen, share in zip([WARP(picture, parallax, share) for share in shares], shares, strict=True):
        equal(seen, TorchWarp("cpu")(*before, share))
    np.testing.assert_array_equal(picture, before[0])
    np.testing.assert_array_equal(parallax, before[1])


def test_share_0_is_the_picture_itself() -> None:
    picture, parallax = dots(5, 9), rough(5, 9)
    seen = WARP(picture, parallax, 0.0)
    assert seen.picture is picture
    assert seen.parallax is parallax
    assert not seen.hole.any()
    assert (seen.cover == 1).all()


def test_arrays_that_cannot_be_written_to() -> None:
    picture, parallax = dots(5, 9), rough(5, 9)
    expected = WARP(picture, parallax, 0.5)
    for array in (picture, parallax):
        array.flags.writeable = False
    equal(WARP(picture, parallax, 0.5), expected)


def test_what_is_refused() -> None:
    picture = dots(3, 4)
    with pytest.raises(ValueError, match="of one size"):
        WARP(picture, level(0, 4, 3), 0.5)
    with pytest.raises(ValueError, match="not empty"):
        WARP(picture[:0], level(0, 0, 4), 0.5)
    unknown = level(0, 3, 4)
    unknown[1, 1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        WARP(picture, unknown, 0.5)
    with pytest.raises(ValueError, match="finite"):
        WARP(picture, level(0, 3, 4), float("inf"))


# -------------------------------------------------------------------------------------------------------------- devices


def test_everything_is_made_where_the_picture_is() -> None:
    """What is made without naming a device is made on this one, which has no numbers and mixes with no other."""
    frame = dots(5, 30), rough(5, 30)
    expected = WARP(*frame, -0.5)
    with torch.device("meta"):
        equal(WARP(*frame, -0.5), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("bits", [8, 16])
def test_cuda(motorcycle: Frame, bits: int) -> None:
    picture = motorcycle[0] if bits == 8 else motorcycle[0].astype(np.uint16) * 257
    left, right = (TorchWarp("cuda")(picture, motorcycle[1], share) for share in (-0.5, 0.5))
    same(left, seen_from(picture, motorcycle[1], -0.5), differing=0.01)
    same(right, seen_from(picture, motorcycle[1], 0.5), differing=0.01)
