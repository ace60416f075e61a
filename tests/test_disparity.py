"""Windows: planning, inference and stitching, with a toy network that knows the truth and with a real one."""

import json
import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pytest
import seeded
from hypothesis import given
from hypothesis import strategies as st

from recon.models.vda import VideoDepthAnything
from recon.models.video_depth import Execution, NetworkSpec, VideoDepthNetwork
from recon.stages.disparity import (
    SHARED,
    WINDOW,
    Line,
    Seam,
    infer,
    published_fit,
    robust_fit,
    seams,
    stitch,
    window_count,
    window_frames,
)
from recon.types import Chunk, Frame, Quantity, ShotFrame

HEIGHT, WIDTH = 8, 12


# ----------------------------------------------------------------------------------------------------- a toy network


class Picture(NamedTuple):
    """What the toy's "encoder" sees in a picture: its number and its true disparity."""

    number: int
    truth: np.ndarray


class Kept:
    """Features of the toy: an object, so that the living ones can be counted."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture


def lines_by_window(numbers: Sequence[int]) -> Line:
    """What the toy does to the truth in a window: a scale and shift of its own for each."""
    return Line(1 + 0.4 * np.sin(numbers[1]), 0.1 * np.cos(numbers[1]))


@dataclass
class Toy:
    """Knows the truth up to one scale and shift for each window; counts what it is asked."""

    window: int = WINDOW
    batch: int = 3
    quantity: Quantity = "disparity"
    flat: bool = False
    reversed_after_first: bool = False
    noise: float = 0.0
    encoded: list[tuple[int, ...]] = field(default_factory=list)
    decoded: list[tuple[int, ...]] = field(default_factory=list)
    alive: "weakref.WeakSet[Kept]" = field(default_factory=weakref.WeakSet)
    most_alive: int = 0

    @property
    def identity(self) -> dict[str, str]:
        return {"name": "toy"}

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def encode(self, pictures: Sequence[np.ndarray]) -> list[Kept]:
        seen = [Picture(int(rgb[0, 0, 0]) + 256 * int(rgb[0, 0, 1]), rgb[..., 2] / np.float32(100)) for rgb in pictures]
        self.encoded.append(tuple(picture.number for picture in seen))
        kept = [Kept(picture) for picture in seen]
        self.alive.update(kept)
        self.most_alive = max(self.most_alive, len(self.alive))
        return kept

    def decode(self, features: Sequence[Kept], size: tuple[int, int]) -> np.ndarray:
        assert size == (HEIGHT, WIDTH)
        numbers = tuple(kept.picture.number for kept in features)
        self.decoded.append(numbers)
        truth = np.stack([kept.picture.truth for kept in features])
        line = Line(1.0, 0.0) if self.window == 1 or self.quantity == "depth" else lines_by_window(numbers)
        if self.flat:
            return np.full_like(truth, 2 + line.shift)
        sign = -1 if self.reversed_after_first and numbers[1] != 1 else 1
        noise = self.noise * np.random.default_rng(numbers[-1]).standard_normal((len(truth), 1, 4)).repeat(3, axis=2)
        return (3 * (sign < 0) + sign * truth * line.scale + line.shift + noise).astype(np.float32)


def picture(number: int) -> np.ndarray:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    blue = 100 + 60 * np.sin(x / 3 + number / 9) + 30 * np.cos(y / 2 - number / 7)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[..., 2] = np.round(blue)
    rgb[0, 0, :2] = number % 256, number // 256
    return rgb


def truth(number: int) -> np.ndarray:
    return picture(number)[..., 2] / np.float32(100)


def film(*lengths: int) -> Iterator[ShotFrame]:
    """Shots of these lengths; frame numbers go on over the cuts."""
    index = 0
    for shot, length in enumerate(lengths):
        for _ in range(length):
            yield ShotFrame(Frame(index, index / 25, picture(index)), shot)
            index += 1


def maps_of(chunks: Iterable[Chunk]) -> np.ndarray:
    return np.stack([estimate.values for chunk in chunks for estimate in chunk.estimates])


def assert_same_bits(chunks: Sequence[Chunk], others: Sequence[Chunk]) -> None:
    assert len(chunks) == len(others)
    for one, other in zip(chunks, others, strict=True):
        assert (one.checkpoint.shot, one.checkpoint.window) == (other.checkpoint.shot, other.checkpoint.window)
        assert [(e.index, e.time, e.shot) for e in one.estimates] == [
            (e.index, e.time, e.shot) for e in other.estimates
        ]
        assert all(np.array_equal(e.values, o.values) for e, o in zip(one.estimates, other.estimates, strict=True))
        assert one.checkpoint.arrays.keys() == other.checkpoint.arrays.keys()
        for name, array in one.checkpoint.arrays.items():
            assert array.dtype == np.float32
            assert np.array_equal(array, other.checkpoint.arrays[name])


# ---------------------------------------------------------------------------------------------------------- planning


def published_windows(frames: int) -> list[list[int]]:
    """The published recursion: pad, load 32, then overwrite the first ten by inputs of the window before."""
    padded = [min(n, frames - 1) for n in range(frames + (22 - frames % 22) % 22 + 10)]
    windows: list[list[int]] = []
    for start in range(0, frames, 22):
        window = padded[start : start + 32]
        if windows:
            window[:10] = [windows[-1][position] for position in (0, 12, 24, 25, 26, 27, 28, 29, 30, 31)]
        windows.append(window)
    return windows


@given(st.integers(1, 300))
def test_windows_see_the_frames_of_the_published_recursion(frames: int) -> None:
    for number, window in enumerate(published_windows(frames)):
        assert window_frames(number, frames - 1) == tuple(window)


@given(st.integers(1, 300))
def test_there_are_as_many_windows_as_have_an_effect(frames: int) -> None:
    published = published_windows(frames)
    # Frames of a window reach the output from position 2 on (position 10 if only frames not seen before count).
    reaching = [k for k, _ in enumerate(published) if k == 0 or 22 * k + 2 < frames]
    seeing_new = [k for k, _ in enumerate(published) if k == 0 or 22 * k + 10 < frames]
    assert window_count(frames, compat=True) == len(reaching)
    assert window_count(frames) == len(seeing_new)


# --------------------------------------------------------------------------------------------------------- inference


@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=3), batch=st.integers(1, 9), compat=st.booleans())
def test_each_frame_comes_out_once_in_order_and_is_encoded_once(
    lengths: list[int], batch: int, *, compat: bool
) -> None:
    toy = Toy(batch=batch)
    chunks = list(infer(film(*lengths), toy, compat=compat))
    estimates = [estimate for chunk in chunks for estimate in chunk.estimates]
    assert [(e.index, e.time, e.shot) for e in estimates] == [
        (f.frame.index, f.frame.time, f.shot) for f in film(*lengths)
    ]
    assert [number for numbers in toy.encoded for number in numbers] == list(range(sum(lengths)))
    assert len(chunks) == sum(window_count(length, compat=compat) for length in lengths)
    assert all(chunk.estimates for chunk in chunks)


@given(frames=st.integers(1, 100), compat=st.booleans())
def test_scale_and_shift_of_each_window_are_undone(frames: int, *, compat: bool) -> None:
    first = lines_by_window((0, min(1, frames - 1)))
    maps = maps_of(infer(film(frames), Toy(), compat=compat))
    expected = np.stack([truth(number) for number in range(frames)]) * first.scale + first.shift
    np.testing.assert_allclose(maps, expected, atol=2e-3 if compat else 1e-5)


def test_shots_are_as_if_each_were_alone() -> None:
    lengths = (70, 1, 33, 5)
    together = list(infer(film(*lengths), Toy()))
    frames = list(film(*lengths))
    alone = [
        chunk
        for shot in range(len(lengths))
        for chunk in infer((frame for frame in frames if frame.shot == shot), Toy())
    ]
    assert_same_bits(together, alone)


def test_a_window_runs_as_soon_as_its_frames_are_there() -> None:
    pulled = 0

    def counted() -> Iterator[ShotFrame]:
        nonlocal pulled
        for frame in film(200):
            pulled += 1
            yield frame

    chunks = infer(counted(), Toy(batch=1))
    for window in range(5):
        next(chunks)
        assert pulled == 22 * window + 32 + 1  # one frame more tells that the shot goes on


@pytest.mark.parametrize("batch", [1, 8])
def test_memory_does_not_grow_with_the_video(batch: int) -> None:
    pictures: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[ShotFrame]:
        nonlocal most
        for frame in film(150, 100):
            pictures.append(weakref.ref(frame.frame.rgb))
            pictures[:] = [reference for reference in pictures if reference() is not None]
            most = max(most, len(pictures))
            yield frame

    toy = Toy(batch=batch)
    assert sum(len(chunk.estimates) for chunk in infer(watched(), toy)) == 250
    assert toy.most_alive <= WINDOW + 2 + 2 * batch
    assert most <= 2 * batch + 2


def test_a_metric_network_is_not_scaled() -> None:
    maps = maps_of(infer(film(100), Toy(quantity="depth")))
    np.testing.assert_allclose(maps, np.stack([truth(number) for number in range(100)]), atol=1e-6)


def test_single_pictures_need_no_windows() -> None:
    toy = Toy(window=1)
    chunks = list(infer(film(20, 35), toy))
    assert [len(chunk.estimates) for chunk in chunks] == [16, 4, 16, 16, 3]
    assert toy.decoded == [(number,) for number in range(55)]
    np.testing.assert_array_equal(maps_of(chunks), np.stack([truth(number) for number in range(55)]))


def test_windows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError, match="this network wants 16"):
        next(infer(film(3), Toy(window=16)))


# ------------------------------------------------------------------------------------------------------------ resume


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("window", [1, WINDOW])
@pytest.mark.parametrize("batch", [1, 8])
def test_resuming_at_any_chunk_goes_on_with_the_same_bits(batch: int, window: int, *, compat: bool) -> None:
    lengths = (57, 20)
    whole = list(infer(film(*lengths), Toy(batch=batch, window=window, noise=0.01), compat=compat))
    for done, chunk in enumerate(whole, start=1):
        toy = Toy(batch=batch, window=window, noise=0.01)
        rest = list(infer(film(*lengths), toy, compat=compat, resume=chunk.checkpoint))
        assert_same_bits(rest, whole[done:])


def test_resuming_encodes_only_what_the_next_window_needs() -> None:
    toy = Toy(batch=4)
    chunks = list(infer(film(150), toy))
    again = Toy(batch=4)
    list(infer(film(150), again, resume=chunks[2].checkpoint))
    assert again.decoded == toy.decoded[3:]
    assert set(again.encoded) < set(toy.encoded), "batches must be those of the first run"
    needed = {number for numbers in again.decoded for number in numbers}
    assert all(needed & set(numbers) or 66 in numbers for numbers in again.encoded)


def test_a_checkpoint_after_a_shot_begins_with_the_next_one() -> None:
    chunks = list(infer(film(30, 30), Toy()))
    assert [(c.checkpoint.shot, c.checkpoint.window, dict(c.checkpoint.arrays)) for c in chunks] == [
        (1, 0, {}),
        (2, 0, {}),
    ]
    assert list(infer(film(30, 30), Toy(), resume=chunks[-1].checkpoint)) == []


def test_a_video_too_short_for_its_checkpoint_is_refused() -> None:
    checkpoint = next(infer(film(100), Toy())).checkpoint
    with pytest.raises(ValueError, match="20 frames, too few to go on at window 1"):
        list(infer(film(20), Toy(), resume=checkpoint))


# --------------------------------------------------------------------------------------------------------- stitching


Fit = Callable[[np.ndarray, np.ndarray], Line]


def random_maps(seed: int, count: int = WINDOW) -> np.ndarray:
    return np.random.default_rng(seed).uniform(1, 3, (count, HEIGHT, WIDTH)).astype(np.float32)


def test_overlap_fades_from_the_old_window_to_the_new_one() -> None:
    old, new = random_maps(1), random_maps(2)
    _, seam = stitch(old, None, robust_fit)
    final, after = stitch(new, seam, lambda _seen, _known: Line(1, 0))
    assert len(final) == 22
    for i in range(8):
        np.testing.assert_allclose(final[i], old[24 + i] * (7 - i) / 7 + new[2 + i] * i / 7, rtol=1e-6)
    np.testing.assert_array_equal(final[8:], new[10:24])
    np.testing.assert_array_equal(after.tail, new[24:])
    np.testing.assert_array_equal(after.key, new[12])
    np.testing.assert_array_equal(after.first, old[0])


def test_what_falls_below_zero_becomes_zero() -> None:
    _, seam = stitch(random_maps(1), None, robust_fit)
    final, _ = stitch(random_maps(2), seam, lambda _seen, _known: Line(1, -2))
    assert final.min() == 0


def test_stitched_maps_hold_no_memory_of_their_window() -> None:
    _, seam = stitch(random_maps(1), None, robust_fit)
    _, seam = stitch(random_maps(2), seam, robust_fit_of_unrelated_maps)
    assert all(array.base is None for array in (seam.key, seam.tail))
    assert Seam.of(seam.arrays).known.shape == (SHARED, HEIGHT, WIDTH)


def robust_fit_of_unrelated_maps(_seen: np.ndarray, _known: np.ndarray) -> Line:
    return Line(1, 0)


def test_maps_of_small_spread_are_fitted_where_float32_fails() -> None:
    """Recorded fact: two 1280 x 720 maps, truth 1.3 and -2, std / mean 1e-3: the published sums give 1.56 and -4.4."""
    seen = (10 + 0.01 * np.random.default_rng(3).standard_normal((SHARED, 720, 1280))).astype(np.float32)
    known = (seen.astype(np.float64) * 1.3 - 2).astype(np.float32)
    assert robust_fit(seen, known) == pytest.approx((1.3, -2), rel=1e-4)
    assert abs(published_fit(seen, known).scale - 1.3) > 0.01


def test_published_fit_is_least_squares_where_the_spread_is_large() -> None:
    seen, known = random_maps(4, SHARED), random_maps(5, SHARED)
    scale, shift = np.polyfit(seen[:2].ravel().astype(float), known[:2].ravel().astype(float), 1)
    assert published_fit(seen, known) == pytest.approx((scale, shift), rel=1e-3)
    assert published_fit(np.zeros_like(seen), known) == (1, 0)


def test_a_part_of_the_picture_may_disagree() -> None:
    seen = random_maps(6, SHARED)
    known = 1.2 * seen + np.float32(0.3)
    known[:, :2, :] += 4
    assert robust_fit(seen, known) == pytest.approx((1.2, 0.3), rel=1e-3)


def test_a_film_may_fade_in_from_black() -> None:
    """Frame 0 leads every window; where it says nothing, the others do."""
    seen = random_maps(8, SHARED)
    seen[0] = 0
    known = 1.2 * seen + np.float32(0.3)
    assert robust_fit(seen, known) == pytest.approx((1.2, 0.3), rel=1e-3)


@pytest.mark.parametrize(
    ("toy", "logged"),
    [
        (Toy(flat=True), ["frame 24", "frame 46"]),
        (Toy(reversed_after_first=True), ["frame 24"]),  # the windows after it agree with it
    ],
    ids=["flat", "reversed"],
)
def test_what_does_not_determine_a_scale_keeps_it_and_is_logged(
    toy: Toy, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "recon"):
        maps = maps_of(infer(film(70), toy))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == logged
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG"][: len(logged)], "one line a shot"
    means = maps.mean(axis=(1, 2))
    assert np.abs(np.diff(means)).max() < 0.15, "no jump where windows meet"
    assert means.min() > 0.5, "no black frames"


def drift_and_seams(fit: Fit, similarity: float) -> tuple[float, float]:
    """Spread of the scale of stitched maps over 40 windows, and of its jumps from one window to the next.

    The scale of each map of a window is off by 2 %; ``similarity``: share of that variance that its maps share.
    """
    random = np.random.default_rng(7)
    base = random.uniform(1, 3, (HEIGHT, WIDTH))
    common, own = 0.02 * np.sqrt(similarity), 0.02 * np.sqrt(1 - similarity)
    seam, scales = None, []
    for _ in range(40):
        errors = common * random.standard_normal() + own * random.standard_normal((WINDOW, 1, 1))
        pixels = 0.02 * random.standard_normal((WINDOW, HEIGHT, WIDTH))
        window = (base + (base - 2) * errors + pixels).astype(np.float32)
        final, seam = stitch(window, seam, fit)
        scales.append(np.ptp(final[8:], axis=(1, 2)).mean() / np.ptp(base))
    return float(np.std(scales)), float(np.std(np.diff(scales)))


@pytest.mark.parametrize("similarity", [0.0, 0.5])
def test_default_fit_drifts_no_more_than_the_published_one(similarity: float) -> None:
    ours, published = drift_and_seams(robust_fit, similarity), drift_and_seams(published_fit, similarity)
    assert ours[0] < published[0]
    assert ours[1] < published[1]


# ----------------------------------------------------------------------------------------------- with the real network


@pytest.fixture(scope="module")
def small() -> VideoDepthAnything:
    """The small network on the seeded weights of the parity vectors."""
    return seeded.network("vits", seed=11)


def behind_the_protocol(network: VideoDepthAnything, input_size: int) -> VideoDepthNetwork:
    spec = NetworkSpec("seeded", "vits", metric=False, sha256="0" * 64)
    return VideoDepthNetwork(network, spec, Execution.chosen(input_size, "cpu", "fp32"))


def clip(frames: int, height: int, width: int, seed: int) -> list[ShotFrame]:
    return [ShotFrame(Frame(n, n / 25, rgb), 0) for n, rgb in enumerate(seeded.clip(frames, height, width, seed))]


@pytest.mark.parametrize("name", ["long0", "long1"])
def test_compat_gives_the_maps_of_the_published_inference(name: str, small: VideoDepthAnything) -> None:
    vectors = np.load(seeded.PARITY / "vda_vits.npz")
    published, meta = vectors[f"{name}_out"], json.loads(bytes(vectors["meta"]))[name]
    frames = clip(meta["frames"], meta["height"], meta["width"], meta["clip_seed"])
    maps = maps_of(infer(frames, behind_the_protocol(small, meta["input_size"]), compat=True))
    np.testing.assert_allclose(maps, published, rtol=0, atol=1e-4 * published.max())


def test_the_real_network_resumes_with_the_same_bits(small: VideoDepthAnything) -> None:
    network, frames = behind_the_protocol(small, 28), clip(60, 40, 48, 5)
    whole = list(infer(frames, network))
    assert [len(chunk.estimates) for chunk in whole] == [24, 22, 14]
    for done, chunk in enumerate(whole[:-1], start=1):
        assert_same_bits(list(infer(frames, network, resume=chunk.checkpoint)), whole[done:])


def test_seams_are_the_frames_in_which_one_window_fades_into_the_next() -> None:
    assert seams(24) == frozenset()  # one window sees them all
    assert seams(33) == frozenset(range(25, 32))  # frame 24 is still the first window's, frame 31 all the second's
    assert seams(60) == frozenset(range(25, 32)) | frozenset(range(47, 54))


def test_a_window_of_another_scale_shows_at_the_seams_alone() -> None:
    rng = np.random.default_rng(3)
    first, second = (rng.uniform(1, 2, (32, 4, 4)).astype(np.float32) for _ in range(2))
    second[:10] = first[[0, 12, *range(24, 32)]] * 2  # the same frames as the first window saw, twice as near
    kept, seam = stitch(first, None, lambda *_: Line(1.0, 0.0))
    faded, _ = stitch(second, seam, lambda *_: Line(1.0, 0.0))  # a fit that does not mend it
    ratios = np.concatenate([kept, faded])[:32].mean(axis=(1, 2)) / first.mean(axis=(1, 2))
    changed = {int(frame) for frame in 1 + np.flatnonzero(np.abs(np.diff(ratios)) > 1e-6)}
    assert changed == seams(33)
