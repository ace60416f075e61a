"""What other frames show behind things near: on exact video, where the truth is known."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pytest
from stereo_scenes import (
    FLOWER,
    RING,
    WALL,
    WALL_BEHIND,
    Layer,
    Scene,
    error,
    figures,
    scene,
    source,
    view,
)

from recon.eyes import Seen
from recon.stages.stereo import plate as plates
from recon.stages.stereo.fill import filled
from recon.stages.stereo.motion import Motion, moved
from recon.stages.stereo.plate import paired
from recon.stages.stereo.warp import seen_from

SIZE: Final = (320, 180)
SMALL: Final = (192, 108)
"""Where nothing is measured."""
PAN: Final = 0.0055
BOTH: Final = (-0.5, 0.5)
PIXEL: Final = 10
"""Bytes that the buffer takes for a pixel."""

Frames = list[tuple[np.ndarray, np.ndarray]]


def one_by_one(frames: Frames, share: float) -> list[np.ndarray]:
    """Eyes that know their own frame alone."""
    return [filled(seen_from(*frame, share)) for frame in frames]


def right_eyes(frames: Frames, shares: tuple[float, float] = BOTH, **options: Any) -> list[np.ndarray]:
    return [right for _, right in paired(iter(frames), shares, **options)]


def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(some, others, strict=True)]


usual = cache(scene)
"""Its textures take their time."""


def textured(*layers: Layer) -> Scene:
    """Layers with the textures of the usual scene."""
    return Scene(layers, usual().textures[: len(layers)])


@pytest.fixture(scope="module")
def still() -> tuple[Scene, Frames]:
    shown = usual()
    return shown, list(source(shown, 10, SIZE))


@pytest.fixture(scope="module")
def panned() -> tuple[Scene, Frames]:
    shown = replace(usual(), pan=(PAN, PAN / 8))
    return shown, list(source(shown, 10, SIZE))


@pytest.fixture(scope="module")
def passing() -> Frames:
    """A flower that passes so fast that two frames later everything it hid is seen again."""
    flower = Layer(FLOWER, (0.1, 0.3), (0.03, 0.0), -0.01, radius=0.03, lobes=5, depth_of_lobes=0.2)
    return list(source(textured(WALL_BEHIND, flower), 20, SMALL))


@pytest.mark.parametrize("camera", ["panned", "still"])
def test_what_is_hidden_is_found_in_other_frames(camera: str, request: pytest.FixtureRequest) -> None:
    shown, frames = request.getfixturevalue(camera)
    alone = figures(shown, 0.5, one_by_one(frames, 0.5))
    with_others = figures(shown, 0.5, right_eyes(frames))
    assert with_others.hidden > 30  # 22.7 from beside
    assert with_others.hidden > alone.hidden + 6
    assert with_others.flicker < 0.015  # 0.054
    assert with_others.visible > 47.5
    assert with_others.clear > 53.5
    assert with_others.clear == pytest.approx(alone.clear, abs=0.01)  # used through holes alone


def test_the_left_eye_and_an_untouched_one(panned: tuple[Scene, Frames]) -> None:
    shown, frames = panned
    left = [eye for eye, _ in paired(iter(frames[:6]), BOTH)]
    assert figures(shown, -0.5, left).hidden > 27
    untouched, whole = zip(*paired(iter(frames[:6]), (0.0, 1.0)), strict=True)
    assert all(are_equal(list(untouched), [picture for picture, _ in frames[:6]]))
    assert figures(shown, 1.0, list(whole)).hidden > 25


def test_a_camera_that_travels_sees_behind_what_stands_still() -> None:
    """Nothing moves by itself; each thing moves by its depth, so that no single shift fits them all."""

    def layer(kind: int, middle: tuple[float, float], parallax: float, **shape: float) -> Layer:
        return Layer(kind, middle, (0.3 * (parallax - 0.03), 0.0), parallax, **shape)

    things = (
        layer(WALL, (0.5, 0.28), 0.02),
        layer(FLOWER, (0.3, 0.2), -0.012, radius=0.09, lobes=5, depth_of_lobes=0.25),
        layer(FLOWER, (0.6, 0.4), 0.0, radius=0.1, lobes=3, depth_of_lobes=0.2),
        layer(RING, (0.75, 0.2), -0.004, radius=0.08, thickness=0.022),
    )
    shown = textured(*things)
    travelled = figures(shown, 0.5, right_eyes(list(source(shown, 8, SIZE))))
    assert travelled.hidden > 29  # 23.9 from beside
    assert travelled.flicker < 0.02


def test_with_a_still_camera_what_is_found_is_exact(still: tuple[Scene, Frames]) -> None:
    """The same as if the wall had been filmed without anything before it."""
    shown, frames = still
    wall = Scene(shown.layers[:1], shown.textures[:1], shown.pan, shown.seed)
    behind = seen_from(*next(source(wall, 1, SIZE)), 0.5)
    eyes = right_eyes(frames)
    for frame, eye in list(zip(frames, eyes, strict=True))[4:8]:
        seen = seen_from(*frame, 0.5)
        inner = seen.cover == 0
        inner[:, :8] = False  # beyond the border of the source
        assert np.count_nonzero(inner) > 500
        same = (np.abs(eye[inner].astype(int) - behind.picture[inner]) <= 1).all(axis=-1)
        assert same.mean() > 0.8  # the rest was hidden all the time


def test_16_bits_find_what_8_bits_find(panned: tuple[Scene, Frames]) -> None:
    shown, frames = panned
    deep = right_eyes(list(source(shown, 6, SIZE, bits=16)))
    assert deep[0].dtype == np.uint16
    for fine, coarse in zip(deep, right_eyes(frames[:6]), strict=True):
        assert (np.abs(fine / 257 - coarse) < 2).mean() > 0.995


def test_a_clip_that_stands_still_does_not_change(still: tuple[Scene, Frames]) -> None:
    """Bit by bit, also from one part of the shot to the next."""
    for most_bytes in (plates.MOST_BYTES, 0):
        eyes = right_eyes(still[1][:1] * 10, most_bytes=most_bytes)
        assert all(are_equal(eyes[1:], eyes[:-1]))


@pytest.mark.parametrize("camera", ["panned", "still"])
def test_a_film_that_comes_to_a_stand_does_not_change_then(camera: str, request: pytest.FixtureRequest) -> None:
    """What things hid while they came there stays behind them."""
    frames = request.getfixturevalue(camera)[1][:5]
    stands = right_eyes(frames + frames[-1:] * 8)[5:]
    assert all(are_equal(stands[1:], stands[:-1]))
    assert not np.array_equal(stands[0], one_by_one(frames[-1:], 0.5)[0])


def test_a_shot_knows_nothing_of_the_shot_before(panned: tuple[Scene, Frames], still: tuple[Scene, Frames]) -> None:
    second = panned[1][:5]
    alone = right_eyes(second)
    right_eyes(still[1][:4])
    assert all(are_equal(right_eyes(second), alone))


def test_one_frame_and_none() -> None:
    frames = list(source(usual(), 1, SMALL))
    assert all(are_equal(right_eyes(frames), one_by_one(frames, 0.5)))
    assert list(paired(iter([]), BOTH)) == []


def test_parts_of_a_shot_give_what_the_whole_gives(passing: Frames) -> None:
    """Where the look ahead suffices; with a still camera nothing is sampled anew between the parts."""
    whole, parts = right_eyes(passing), right_eyes(passing, most_bytes=int(10.5 * PIXEL * 192 * 108))
    assert all(are_equal(whole, parts))
    assert not any(are_equal(whole, one_by_one(passing, 0.5)))


def test_parts_of_a_shot_with_a_moving_camera(panned: tuple[Scene, Frames]) -> None:
    shown, frames = panned
    parts = figures(shown, 0.5, right_eyes(frames, most_bytes=int(7.5 * PIXEL * 320 * 180)))
    assert parts.hidden > 26
    assert parts.flicker < 0.025


def test_memory_does_not_grow_with_the_shot(passing: Frames) -> None:
    frames = passing[:4]
    right_eyes(frames)  # compiled

    def coming(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (frames[number % 4] for number in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in paired(coming(count), BOTH, most_bytes=7 * PIXEL * 192 * 108):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    short = peak(10)
    assert peak(20) < 1.1 * short
    assert short < (7 * PIXEL + 60) * 192 * 108  # what one frame takes while it is made


def test_frames_come_as_they_are_asked_for(still: tuple[Scene, Frames]) -> None:
    taken = []

    def coming() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, frame in enumerate(still[1]):
            taken.append(number)
            yield frame

    next(paired(coming(), BOTH, most_bytes=0))
    assert len(taken) == plates.FEWEST


def test_moving_backgrounds_are_filled_from_beside() -> None:
    """Water behind a flower: nothing of another frame may show through."""
    water = Layer(WALL, (0.5, 0.28), (0.0, 0.0), 0.02, restless=0.02)
    flower = Layer(FLOWER, (0.3, 0.28), (0.02, 0.0), -0.012, radius=0.09, lobes=5, depth_of_lobes=0.25)
    frames = list(source(textured(water, flower), 8, SIZE))
    changed = [(a != b).any(axis=-1).mean() for a, b in zip(right_eyes(frames), one_by_one(frames, 0.5), strict=True)]
    assert max(changed) < 0.0005


def test_what_is_hidden_all_the_time_is_filled_from_beside() -> None:
    flower = Layer(FLOWER, (0.5, 0.28), (0.0, 0.0), -0.012, radius=0.09, lobes=5, depth_of_lobes=0.25)
    frames = list(source(textured(WALL_BEHIND, flower), 6, SMALL))
    assert all(are_equal(right_eyes(frames), one_by_one(frames, 0.5)))


def test_what_other_frames_show_is_never_much_worse_than_what_is_beside(panned: tuple[Scene, Frames]) -> None:
    """In no frame, and at no place of it, does something else appear: no ghosts."""
    shown, frames = panned
    alone = one_by_one(frames, 0.5)
    for time, eye in enumerate(right_eyes(frames)):
        true = view(shown, time, 0.5, SIZE)
        worse = error(eye, true) > error(alone[time], true) + 20**2
        assert worse[true.hidden].mean() < 0.05


def test_light_that_changes_does_not_ghost(still: tuple[Scene, Frames]) -> None:
    """What was remembered in another light is not shown in this one."""
    frames = [(picture // (1 + time % 2), parallax) for time, (picture, parallax) in enumerate(still[1][:6])]
    for eye, alone in zip(right_eyes(frames), one_by_one(frames, 0.5), strict=True):
        assert (np.abs(eye.astype(int) - alone).max(axis=-1) > 8).mean() < 0.002


def test_any_warp_will_do(panned: tuple[Scene, Frames]) -> None:
    """It is asked for each eye of each frame; what it leaves open is filled."""
    asked = []

    def see(picture: np.ndarray, parallax: np.ndarray, share: float) -> Seen:
        asked.append(share)
        return seen_from(picture, parallax, share, threads=1)

    frames = panned[1][:3]
    assert all(are_equal(right_eyes(frames, see=see), right_eyes(frames)))
    assert asked == [*BOTH] * 3


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (17, 33)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 256, (*size, 3)).astype(np.uint8)
    frames = [(picture, random.uniform(-0.02, 0.02, size).astype(np.float32)) for _ in range(3)]
    assert [eye.shape for eye in right_eyes(frames)] == [(*size, 3)] * 3


# -------------------------------------------------------------------------------------------------------------- motion


def test_a_pan_is_measured_to_a_fiftieth_of_a_pixel(panned: tuple[Scene, Frames]) -> None:
    corners = np.array([[0.1, 0.1, 0.02], [0.9, 0.1, 0.024], [0.1, 0.5, 0.015], [0.9, 0.5, 0.02]])
    motion = Motion()
    maps = [motion.follow(*frame) for frame in panned[1]]
    assert maps[0] is None
    for time, now_from_start in enumerate(maps[1:], 1):
        assert now_from_start is not None
        shift = (moved(now_from_start, corners) - corners) * SIZE[0]
        assert shift[:, :2] == pytest.approx(np.tile([-PAN, -PAN / 8], (4, 1)) * time * SIZE[0], abs=0.02)
        assert shift[:, 2] == pytest.approx(0, abs=0.03)


def test_a_picture_that_repeats_has_not_moved(panned: tuple[Scene, Frames]) -> None:
    motion = Motion()
    maps = [motion.follow(*panned[1][number]) for number in (0, 1, 2, 2, 2)]
    assert np.array_equal(maps[2], maps[3])
    assert np.array_equal(maps[3], maps[4])


def test_a_still_camera_stands_still_to_the_bit(still: tuple[Scene, Frames]) -> None:
    motion = Motion()
    maps = [motion.follow(*frame) for frame in still[1]]
    assert all(now is not None and np.array_equal(now, np.eye(4)) for now in maps[1:])


def test_where_nothing_is_found_again_a_new_part_begins(panned: tuple[Scene, Frames]) -> None:
    picture, parallax = panned[1][2]
    other = picture[:, ::-1].copy(), parallax
    motion = Motion()
    maps = [motion.follow(*frame) for frame in (*panned[1][:2], other, other)]
    assert [now is None for now in maps] == [True, False, True, False]


def test_pictures_without_texture_have_no_motion() -> None:
    motion, flat = Motion(), np.full((40, 60), 0.01, np.float32)
    frames = [(np.full((40, 60, 3), grey, np.uint8), flat) for grey in (90, 91, 92)]
    assert [motion.follow(*frame) for frame in frames] == [None, None, None]
    assert all(are_equal(right_eyes(frames), one_by_one(frames, 0.5)))


# ----------------------------------------------------------------------------------------------------- the video itself


def test_the_source_is_an_eye_with_nothing_hidden() -> None:
    seen = view(usual(), 3, 0.0, SIZE)
    assert not (seen.hidden | seen.outside).any()


def test_an_eye_sees_what_the_source_shows_where_parallax_says(panned: tuple[Scene, Frames]) -> None:
    """Away from outlines, by the definition of parallax alone."""
    shown, _ = panned
    left, right = (view(shown, 2, share, SIZE) for share in (0.0, 0.5))
    x = np.arange(SIZE[0]) + 0.5 - 0.5 * right.parallax * SIZE[0]
    row = np.arange(SIZE[1])[:, None]
    low = np.floor(x - 0.5).astype(int).clip(0, SIZE[0] - 2)
    part = (x - 0.5 - low)[..., None]
    there = (1 - part) * left.picture[row, low] + part * left.picture[row, low + 1]
    clear = right.clear
    assert np.abs(there - right.picture)[clear].mean() < 0.8


@pytest.mark.parametrize("share", [-1.0, -0.5, 0.5, 1.0])
def test_as_much_is_hidden_as_is_uncovered(share: float) -> None:
    """Of a disc before a wall, the width of what it hides is the difference of parallax, at any height."""
    wall = Layer(WALL, (0.5, 0.28), (0.0, 0.0), 0.02)
    disc = Layer(FLOWER, (0.5, 0.28), (0.0, 0.0), -0.01, radius=0.1)
    hidden = view(textured(wall, disc), 0, share, SIZE).hidden
    assert hidden[SIZE[1] // 2].sum() == pytest.approx(abs(share) * 0.03 * SIZE[0], abs=1)


def test_all_figures_of_the_truth_are_perfect(panned: tuple[Scene, Frames]) -> None:
    shown, _ = panned
    true = [view(shown, time, 0.5, SIZE).picture for time in range(3)]
    assert figures(shown, 0.5, true) == (np.inf, np.inf, np.inf, 0.0)
    assert all(not np.array_equal(a, b) for a, b in pairwise(true))
