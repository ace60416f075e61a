"""What other frames show behind things near: on exact video, where the truth is known."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

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
    with_layers,
)

from recon.stages.stereo import plate as plates
from recon.stages.stereo.fill import filled
from recon.stages.stereo.motion import Motion, moved
from recon.stages.stereo.plate import paired
from recon.stages.stereo.warp import seen_from

SIZE: Final = (320, 180)
PAN: Final = 0.0055
BOTH: Final = (-0.5, 0.5)
FRAME: Final = 320 * 180 * 12.34
"""Bytes that the buffer takes for a frame."""

Frames = list[tuple[np.ndarray, np.ndarray]]


def one_by_one(frames: Frames, share: float) -> list[np.ndarray]:
    """Eyes that know their own frame alone."""
    return [filled(seen_from(*frame, share)) for frame in frames]


def right_eyes(frames: Frames, shares: tuple[float, float] = BOTH, **options: int) -> list[np.ndarray]:
    return [right for _, right in paired(iter(frames), shares, **options)]


def are_equal(some: list[np.ndarray], others: list[np.ndarray]) -> list[bool]:
    return [np.array_equal(a, b) for a, b in zip(some, others, strict=True)]


@pytest.fixture(scope="module")
def panned() -> tuple[Scene, Frames]:
    shown = scene(0, pan=PAN)
    return shown, list(source(shown, 12, SIZE))


@pytest.fixture(scope="module")
def still() -> tuple[Scene, Frames]:
    shown = scene(0)
    return shown, list(source(shown, 12, SIZE))


@pytest.mark.parametrize("camera", ["panned", "still"])
def test_what_is_hidden_is_found_in_other_frames(camera: str, request: pytest.FixtureRequest) -> None:
    shown, frames = request.getfixturevalue(camera)
    alone = figures(shown, 0.5, one_by_one(frames[:10], 0.5))
    with_others = figures(shown, 0.5, right_eyes(frames[:10]))
    assert with_others.hidden > 30  # 22.7 from beside
    assert with_others.hidden > alone.hidden + 6
    assert with_others.flicker < 0.015  # 0.054
    assert with_others.visible > 47.5
    assert with_others.clear > 53.5
    assert with_others.clear == pytest.approx(alone.clear, abs=0.01)  # used through holes alone


def test_the_left_eye_and_an_untouched_one(panned: tuple[Scene, Frames]) -> None:
    shown, frames = panned
    left = [eye for eye, _ in paired(iter(frames[:8]), BOTH)]
    assert figures(shown, -0.5, left).hidden > 27
    untouched, whole = zip(*paired(iter(frames[:8]), (0.0, 1.0)), strict=True)
    assert all(are_equal(list(untouched), [picture for picture, _ in frames[:8]]))
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
    shown = with_layers(things, 5)
    travelled = figures(shown, 0.5, right_eyes(list(source(shown, 10, SIZE))))
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


def test_a_clip_that_stands_still_does_not_change(panned: tuple[Scene, Frames]) -> None:
    eyes = right_eyes(panned[1][:1] * 9)
    assert all(are_equal(eyes[1:], eyes[:-1]))


def test_a_shot_knows_nothing_of_the_shot_before(panned: tuple[Scene, Frames], still: tuple[Scene, Frames]) -> None:
    second = panned[1][:5]
    alone = right_eyes(second)
    right_eyes(still[1][:4])
    assert all(are_equal(right_eyes(second), alone))


def test_one_frame_and_none() -> None:
    frames = list(source(scene(0), 1, SIZE))
    assert all(are_equal(right_eyes(frames), one_by_one(frames, 0.5)))
    assert list(paired(iter([]), BOTH)) == []


def passing(count: int) -> Scene:
    """A flower that passes so fast that two frames later everything it hid is seen again."""
    things = (WALL_BEHIND, Layer(FLOWER, (0.1, 0.3), (0.03, 0.0), -0.01, radius=0.03, lobes=5, depth_of_lobes=0.2))
    return with_layers(things, count)


def test_parts_of_a_shot_give_what_the_whole_gives() -> None:
    """Where the look ahead suffices; with a still camera nothing is sampled anew between the parts."""
    frames = list(source(passing(1), 20, SIZE))
    whole, parts = right_eyes(frames), right_eyes(frames, most_bytes=int(10.5 * FRAME))
    assert all(are_equal(whole, parts))
    assert not any(are_equal(whole, one_by_one(frames, 0.5)))


def test_parts_of_a_shot_with_a_moving_camera(panned: tuple[Scene, Frames]) -> None:
    shown, frames = panned
    parts = figures(shown, 0.5, right_eyes(frames, most_bytes=int(7.5 * FRAME)))
    assert parts.hidden > 26
    assert parts.flicker < 0.025


def test_memory_does_not_grow_with_the_shot() -> None:
    frames = list(source(passing(2), 4, SIZE))
    right_eyes(frames)  # compiled

    def coming(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (frames[number % 4] for number in range(count))

    def peak(count: int) -> int:
        tracemalloc.start()
        for _ in paired(coming(count), BOTH, most_bytes=int(7 * FRAME)):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    short = peak(10)
    assert peak(40) < 1.1 * short
    assert short < 7 * FRAME + 60 * 320 * 180  # what one frame takes while it is made


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
    frames = list(source(with_layers((water, flower), 3), 8, SIZE))
    changed = [(a != b).any(axis=-1).mean() for a, b in zip(right_eyes(frames), one_by_one(frames, 0.5), strict=True)]
    assert max(changed) < 0.0005


def test_what_is_hidden_all_the_time_is_filled_from_beside() -> None:
    flower = Layer(FLOWER, (0.5, 0.28), (0.0, 0.0), -0.012, radius=0.09, lobes=5, depth_of_lobes=0.25)
    frames = list(source(with_layers((WALL_BEHIND, flower), 4), 6, SIZE))
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


def test_a_still_camera_stands_still_to_the_bit(still: tuple[Scene, Frames]) -> None:
    motion = Motion()
    maps = [motion.follow(*frame) for frame in still[1]]
    assert all(now is not None and np.array_equal(now, np.eye(4)) for now in maps[1:])


def test_where_nothing_is_found_again_a_new_part_begins(panned: tuple[Scene, Frames]) -> None:
    other = next(source(scene(9), 1, SIZE))
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
    seen = view(scene(0), 3, 0.0, SIZE)
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
    hidden = view(with_layers((wall, disc), 0), 0, share, SIZE).hidden
    assert hidden[90].sum() == pytest.approx(abs(share) * 0.03 * SIZE[0], abs=1)


def test_all_figures_of_the_truth_are_perfect(panned: tuple[Scene, Frames]) -> None:
    shown, _ = panned
    true = [view(shown, time, 0.5, SIZE).picture for time in range(3)]
    assert figures(shown, 0.5, true) == (np.inf, np.inf, np.inf, 0.0)
    assert all(not np.array_equal(a, b) for a, b in pairwise(true))
