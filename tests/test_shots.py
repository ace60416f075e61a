"""Cuts are found, on their very frame or within their mixed ones; what only looks like a cut is left alone.

The first half shows each case once, on a rendered room. The second half joins real clips at random, with fixed seeds,
and counts.
"""

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import hand_held, rendered, room
from scipy.spatial.transform import Rotation

from recon.errors import VideoError
from recon.geometry import rigid
from recon.io.video import open_source
from recon.settings import SamplingSettings, ShotSettings
from recon.stages.shots import split_shots
from recon.types import Frame, Intrinsics

THRESHOLD = ShotSettings().cut_threshold
CUTS = {
    "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4": [6],
    "nasa_13013.mp4": [202],
}
"""The real cuts of the workshop's clips, found by looking: frames that begin a shot.

``nasa_13013.mp4`` also dissolves over frames 127 to 155, ``sample.avi`` fades in from black: no cuts.
"""
MOVING = ["Tokyo-Walk_rgb.mp4", "dog-example.mp4", "lady-running.mp4", "sample.avi"]


@cache
def walk(scene: int) -> list[np.ndarray]:
    """Sixteen frames of a walk; each scene looks at another side of the room."""
    turn = rigid(Rotation.from_euler("z", 90 * scene, degrees=True).as_matrix(), np.zeros(3))
    poses = turn @ hand_held(16, 1.0).world_from_camera
    return [rgb for rgb, _ in rendered(room(), Intrinsics.from_fov(65.0, 96, 54), poses, samples=1)]


def as_frames(pictures: Iterable[np.ndarray]) -> Iterator[Frame]:
    return (Frame(index, index / 30, np.ascontiguousarray(rgb)) for index, rgb in enumerate(pictures))


def shots(pictures: Iterable[np.ndarray], threshold: float = THRESHOLD) -> list[int]:
    return [seen.shot for seen in split_shots(as_frames(pictures), threshold=threshold)]


def cuts(pictures: Iterable[np.ndarray]) -> list[int]:
    return np.flatnonzero(np.diff(shots(pictures), prepend=0)).tolist()


def mixed(old: np.ndarray, new: np.ndarray, share: float) -> np.ndarray:
    """A picture that shows both, the new one with this share."""
    return np.rint(old * (1 - share) + new * share).astype(np.uint8)


def shifted(picture: np.ndarray, x: int) -> np.ndarray:
    """A window of 96 x 54 that looks x pixels to the right into a wide picture."""
    return picture[:54, x : x + 96]


@cache
def panorama() -> np.ndarray:
    wide = Intrinsics.from_fov(100.0, 420, 60)
    return rendered(room(), wide, hand_held(1, 1.0).world_from_camera)[0][0]


def test_a_cut_starts_a_shot_on_its_very_frame() -> None:
    assert shots(walk(0) + walk(1)) == [0] * 16 + [1] * 16


def test_every_frame_comes_out_once_unchanged_and_in_order() -> None:
    frames = list(as_frames(walk(0)))
    assert [seen.frame for seen in split_shots(frames, threshold=THRESHOLD)] == frames


@pytest.mark.parametrize("count", range(6))
def test_short_clips(count: int) -> None:
    assert shots(walk(0)[:count]) == [0] * count


def test_a_cut_after_the_first_frame_and_before_the_last() -> None:
    assert shots([walk(0)[0], *walk(1)]) == [0] + [1] * 16
    assert shots([*walk(0), walk(1)[0]]) == [0] * 16 + [1]


def test_it_looks_five_frames_ahead_and_no_further() -> None:
    pulled = []

    def watched() -> Iterator[Frame]:
        for frame in as_frames(walk(0)):
            pulled.append(frame.index)
            yield frame

    for number, _ in enumerate(split_shots(watched(), threshold=THRESHOLD)):
        assert pulled[-1] == min(number + 5, 15)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("kind", ["white", "black", "bright", "another shot"])
def test_what_comes_back_is_a_flash(length: int, kind: str) -> None:
    picture = walk(0)[8]
    flash = {
        "white": np.full_like(picture, 255),
        "black": np.zeros_like(picture),
        "bright": np.minimum(picture.astype(int) * 3 + 60, 255).astype(np.uint8),
        "another shot": walk(1)[0],
    }[kind]
    assert cuts([*walk(0)[:8], *[flash] * length, *walk(0)[8:]]) == []


def test_what_stays_is_a_cut() -> None:
    assert cuts([*walk(0)[:8], *walk(1)[:8], *walk(0)[8:]]) == [8, 16]


@pytest.mark.parametrize("new", [0.15, 0.35, 0.65, 0.85])
def test_a_mixed_frame_belongs_to_the_cut_and_to_the_shot_that_it_shows_most(new: float) -> None:
    """What a conversion from 24 to 30 frames a second leaves where the film cuts."""
    assert cuts([*walk(0)[:8], mixed(walk(0)[8], walk(1)[0], new), *walk(1)[1:9]]) == [8 if new > 0.5 else 9]


def test_two_mixed_frames_belong_to_the_cut() -> None:
    between = [mixed(walk(0)[8], walk(1)[0], new) for new in (1 / 3, 2 / 3)]
    assert cuts([*walk(0)[:8], *between, *walk(1)[1:9]]) == [9]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_shots_of_three_frames(first: int) -> None:
    pieces = [walk((first + number) % 4)[:3] for number in range(5)]
    assert cuts([rgb for piece in pieces for rgb in piece]) == [3, 6, 9, 12]


def test_a_shot_of_one_frame_is_told_from_a_mixed_frame() -> None:
    assert cuts([*walk(0)[:8], walk(2)[0], *walk(1)[:8]]) == [8, 9]


@pytest.mark.parametrize("length", [1, 5, 40])
@pytest.mark.parametrize("level", [0, 255])
def test_blank_pictures_belong_to_the_shot_before(length: int, level: int) -> None:
    """Same scene after them: one shot, however long they last. Another scene: it begins where it can be seen."""
    blank = [np.full_like(walk(0)[0], level)] * length
    assert cuts([*walk(0)[:8], *blank, *walk(0)[8:]]) == []
    assert cuts([*walk(0)[:8], *blank, *walk(1)[:8]]) == [8 + length]


def test_a_film_that_begins_blank_is_one_shot() -> None:
    assert cuts([*[np.zeros_like(walk(0)[0])] * 9, *walk(0)]) == []


def test_a_fade_to_another_scene_cuts_once_in_the_dark() -> None:
    share = np.linspace(1, 0, 12)[:, None, None, None]
    out, into = (np.rint(np.stack(walk(scene)[:12]) * share).astype(np.uint8) for scene in (0, 1))
    [cut] = cuts([*walk(0)[:4], *out, *into[::-1], *walk(1)[:4]])
    assert 14 <= cut <= 19


@pytest.mark.parametrize("times", [2, 3, 5])
def test_repeated_pictures_are_no_rest_before_a_cut(times: int) -> None:
    """12, 8 or 5 pictures a second of a fast pan, shown as 25: every new one differs as much as the last."""
    pan = [rgb for x in range(0, 324, 28) for rgb in [shifted(panorama(), x)] * times]
    assert cuts(pan) == []
    still = [rgb for rgb in walk(0)[:6] + walk(1)[:6] for _ in range(times)]
    assert cuts(still) == [6 * times]


def test_titles_and_bars_that_appear_do_not_cut() -> None:
    titled, barred = ([rgb.copy() for rgb in walk(0)[8:]] for _ in range(2))
    for rgb in titled:
        cv2.putText(rgb, "THE ROOM", (4, 34), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 2)
    for rgb in barred:
        rgb[:8] = rgb[-8:] = 0
    assert cuts([*walk(0)[:8], *titled]) == []
    assert cuts([*walk(0)[:8], *barred]) == []


@pytest.mark.parametrize("length", [8, 12, 16])
def test_a_dissolve_does_not_cut(length: int) -> None:
    old, new = walk(0) + walk(0)[::-1], walk(1) + walk(1)[::-1]
    share = np.linspace(0, 1, length)[:, None, None, None]
    blend = np.stack(old[8 : 8 + length]) * (1 - share) + np.stack(new[:length]) * share
    assert cuts([*old[:8], *np.rint(blend).astype(np.uint8), *new[length:]]) == []


def test_fades_to_black_and_white_do_not_cut() -> None:
    pictures = np.stack(walk(0))
    for target in (0, 255):
        share = np.linspace(0, 1, 16)[:, None, None, None]
        out = np.rint(pictures * (1 - share) + target * share).astype(np.uint8)
        assert cuts([*out, *out[::-1]]) == []


@pytest.mark.parametrize("gain", [0.5, 0.7, 1.4, 1.8])
def test_a_jump_of_exposure_does_not_cut(gain: float) -> None:
    brighter = [np.minimum(picture * gain, 255).astype(np.uint8) for picture in walk(0)[8:]]
    assert cuts([*walk(0)[:8], *brighter]) == []


@pytest.mark.parametrize("speed", [4, 10, 20])
def test_a_fast_pan_does_not_cut(speed: int) -> None:
    """Up to a fifth of the width for each frame."""
    assert cuts([shifted(panorama(), x) for x in range(0, 324, speed)]) == []


def test_a_whip_pan_out_of_rest_does_not_cut() -> None:
    """Faster than anything that could be matched: neighbours have nothing in common, but so do theirs."""
    positions = [0] * 6 + [40, 90, 150, 210, 260, 300] + [310] * 6
    blurred = cv2.blur(panorama(), (25, 1))
    pictures = [shifted(panorama() if x in {0, 310} else blurred, x) for x in positions]
    assert cuts(pictures) == []


def test_shaking_and_blur_do_not_cut() -> None:
    rng = np.random.default_rng(0)
    positions = 100 + rng.integers(-8, 9, 40)
    blurs = rng.integers(1, 9, 40)
    assert cuts([cv2.blur(shifted(panorama(), x), (int(b), 1)) for x, b in zip(positions, blurs, strict=True)]) == []


def test_noise_in_the_dark_does_not_cut() -> None:
    rng = np.random.default_rng(0)
    assert cuts(list(rng.integers(0, 12, (20, 54, 96, 3), np.uint8))) == []


@settings(max_examples=5)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(5, 10)), min_size=1, max_size=3))
def test_the_shots_of_any_montage_are_its_pieces(pieces: list[tuple[int, int]]) -> None:
    joined = [piece for at, piece in enumerate(pieces) if at == 0 or piece[0] != pieces[at - 1][0]]
    expected = [number for number, (_, length) in enumerate(joined) for _ in range(length)]
    assert shots([rgb for scene, length in joined for rgb in walk(scene)[:length]]) == expected


@settings(max_examples=5)
@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_a_higher_threshold_finds_fewer_cuts(one: float, other: float) -> None:
    clip = walk(0)[:5] + walk(1)[:5] + walk(2)[:5]
    low, high = sorted((one, other))
    assert set(np.flatnonzero(np.diff(shots(clip, high)))) <= set(np.flatnonzero(np.diff(shots(clip, low))))


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_thresholds_outside_0_to_1_are_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be in"):
        split_shots([], threshold=threshold)


@cache
def clip(path: Path, most: int = 12) -> tuple[np.ndarray, ...]:
    """The first frames, small."""
    pictures: list[np.ndarray] = []
    frames = open_source(path, SamplingSettings()).frames()
    try:
        for frame in islice(frames, most):
            pictures.append(cv2.resize(frame.rgb, (128, 72), interpolation=cv2.INTER_AREA))  # noqa: PERF401 - a damaged clip keeps its good frames
    except VideoError:
        assert path.name == "corrupted.mp4"
    frames.close()
    return tuple(pictures)


@pytest.mark.slow
def test_real_clips_cut_where_they_cut_and_nowhere_else(shared: Path) -> None:
    folder = shared / "data" / "videos_a"
    names = [line.split("\t")[0] for line in (folder / "FACTS.tsv").read_text().splitlines()[1:]]
    for left_out in ("sample_audio_only_15s.mp4", "portrait_4k60.mp4", "hlg10-color-test.mp4"):  # no video; slow
        names.remove(left_out)
    found = {name: cuts(clip(folder / name, 210 if name == "nasa_13013.mp4" else 12)) for name in names}
    assert len(found) == 22
    assert {name: where for name, where in found.items() if where} == CUTS


@pytest.mark.slow
def test_moving_cameras_and_people_do_not_cut(shared: Path) -> None:
    for name in MOVING:
        assert cuts(clip(shared / "data" / "videos_a" / name, 100)) == [], name


@pytest.mark.slow
def test_clips_in_a_row_have_the_shots_of_each_alone(shared: Path) -> None:
    clips = [clip(shared / "data" / "videos_a" / name) for name in [*MOVING[:3], *CUTS, MOVING[0]]]
    expected: list[int] = []
    for each in clips:
        first = expected[-1] + 1 if expected else 0
        expected += [first + shot for shot in shots(each)]
    assert shots(chain(*clips)) == expected


# ------------------------------------------------------------------------------- real clips, joined at random, counted

Rng = np.random.Generator
Film = list[np.ndarray]
Trial = tuple[Film, list[range]]
"""Pictures, and for each true cut the frames that may begin the new shot."""

PLACES = [
    "videos_a/lady-running.mp4",
    "videos_a/Tokyo-Walk_rgb.mp4",
    "videos_a/dog-example.mp4",
    "videos_a/nasa_13013.mp4",
    "7scenes_redkitchen_a/frames/*.color.jpg",
    "hololens_dvmvs_a/images",
    "tartanair_hospital_a/image_left",
    "kitti_odometry_a/image_l",
]


def straight(_rng: Rng, a: Film, b: Film) -> Trial:
    return a + b, [exactly(len(a))]


def dark(rng: Rng, a: Film, b: Film) -> Trial:
    film = np.stack(a + b) * rng.uniform(0.1, 0.25)
    return list(as_bytes(film + rng.normal(0, rng.uniform(0.5, 3), film.shape))), straight(rng, a, b)[1]


def same_colours(rng: Rng, a: Film, b: Film) -> Trial:
    """Grey, and of the same mean and contrast."""
    old, new = (np.stack(film).mean(axis=-1, keepdims=True) for film in (a, b))
    new = (new - new.mean()) * (old.std() / new.std()) + old.mean()
    return [as_bytes(grey).repeat(3, axis=-1) for grey in (*old, *new)], straight(rng, a, b)[1]


def mixed_once(rng: Rng, a: Film, b: Film) -> Trial:
    between = mixed(a[-1], b[0], rng.uniform(0.15, 0.85))
    return [*a[:-1], between, *b[1:]], [range(len(a) - 1, len(a) + 1)]


def mixed_twice(_rng: Rng, a: Film, b: Film) -> Trial:
    between = [mixed(a[-1], b[0], share) for share in (1 / 3, 2 / 3)]
    return [*a[:-1], *between, *b[1:]], [range(len(a) - 1, len(a) + 2)]


def converted(_rng: Rng, a: Film, b: Film) -> Trial:
    """24 frames a second as 30, by mixing neighbours."""
    film = a + b
    times = np.arange(0, len(film) - 1, 0.8)
    pictures = [mixed(film[int(time)], film[int(time) + 1], time % 1) for time in times]
    return pictures, [range(int(np.argmax(times > len(a) - 1)), int(np.argmax(times >= len(a))) + 1)]


def through_a_flash(rng: Rng, a: Film, b: Film) -> Trial:
    return [*a, np.full_like(a[0], rng.choice([0, 255])), *b], [range(len(a), len(a) + 2)]


def through_black(rng: Rng, a: Film, b: Film) -> Trial:
    share, dark_frames = np.linspace(1, 0, 10)[:, None, None, None], int(rng.integers(0, 12))
    out, into = as_bytes(np.stack(a[-10:]) * share), as_bytes(np.stack(b[:10]) * share[::-1])
    film = [*a[:-10], *out, *[np.zeros_like(a[0])] * dark_frames, *into, *b[10:]]
    return film, [range(len(a) - 5, len(a) + dark_frames + 6)]


def few_a_second(rng: Rng, a: Film, b: Film) -> Trial:
    step = int(rng.integers(2, 5))
    return a[::step] + b[::step], [exactly(len(a[::step]))]


def short_shots(rng: Rng, a: Film, b: Film) -> Trial:
    lengths = rng.integers(4, 10, 2)
    film = [*a[:12], *b[: lengths[0]], *a[-lengths[1] :][::-1], *b[-12:]]
    return film, [exactly(at) for at in 12 + np.cumsum([0, *lengths])]


def flash(rng: Rng, a: Film, _b: Film) -> Trial:
    film, start, length = np.stack(a).astype(float), rng.integers(1, len(a) - 4), rng.integers(1, 4)
    uneven = np.linspace(rng.uniform(0.3, 1), 1, film.shape[2])[:, None]
    film[start : start + length] += uneven * rng.uniform(60, 255)
    return list(as_bytes(film)), []


def dissolve(rng: Rng, a: Film, b: Film) -> Trial:
    length = int(rng.integers(9, min(len(a), len(b)) - 1))
    shares = np.linspace(0, 1, length + 2)[1:-1]
    between = [mixed(old, new, share) for old, new, share in zip(a[-length:], b[:length], shares, strict=True)]
    return [*a[:-length], *between, *b[length:]], []


def fade_and_back(rng: Rng, a: Film, _b: Film) -> Trial:
    length, half = int(rng.integers(5, 10)), len(a) // 2
    share = np.ones(len(a))
    share[half - length : half] = np.linspace(1, 0, length)
    share[half : half + length] = np.linspace(0, 1, length)
    target = rng.choice([0, 255])
    return [mixed(rgb, np.full_like(rgb, target), 1 - part) for rgb, part in zip(a, share, strict=True)], []


def fast_pan(rng: Rng, a: Film, b: Film) -> Trial:
    """Up to a quarter of the width each frame, out of rest and into rest."""
    wide = np.hstack([a[0], a[0][:, ::-1], b[0], b[0][:, ::-1]])
    speed, width = int(rng.uniform(0.03, 0.25) * 128), 128
    blurred = cv2.blur(wide, (max(1, speed // 2), 1))
    moving = [blurred[:, x : x + width] for x in range(0, 3 * width, speed)]
    return [*[wide[:, :width]] * 5, *moving, *[wide[:, -width:]] * 5], []


def shaken(rng: Rng, a: Film, _b: Film) -> Trial:
    """Three quarters of each picture, anywhere, and a blur."""
    film = []
    for rgb in a:
        y, x = np.clip(rng.normal((9, 16), (5, 10)), 0, (18, 32)).astype(int)
        film.append(cv2.blur(cv2.resize(rgb[y : y + 54, x : x + 96], (128, 72)), (int(rng.integers(1, 7)), 1)))
    return film, []


def zoom(rng: Rng, a: Film, _b: Film) -> Trial:
    sizes = np.geomspace(1, rng.uniform(2, 3), len(a))
    return [cv2.resize(rgb, None, fx=size, fy=size)[-72:, -128:] for rgb, size in zip(a, sizes, strict=True)], []


def exposure(rng: Rng, a: Film, _b: Film) -> Trial:
    half, gain = len(a) // 2, 2 ** (rng.uniform(0.5, 1.6) * rng.choice([-1, 1]))
    return a[:half] + [as_bytes((rgb / 255.0) ** 2.2 * gain, gamma=1 / 2.2) for rgb in a[half:]], []


def passer_by(rng: Rng, a: Film, b: Film) -> Trial:
    """Somebody, dressed in another picture, who fills up to all of the width for a while."""
    half, speed = rng.uniform(0.25, 0.5) * 128, rng.uniform(0.05, 0.2) * 128
    columns, film = np.arange(128), []
    for number, rgb in enumerate(a):
        body = cv2.blur((abs(columns + half - speed * number) < half).astype(np.float32)[None], (5, 1))[..., None]
        film.append(as_bytes(rgb * (1 - body) + np.roll(b[0], int(speed * number), axis=1) * body))
    return film, []


def titles(rng: Rng, a: Film, _b: Film) -> Trial:
    film, start = [rgb.copy() for rgb in a], rng.integers(2, len(a) - 6)
    for rgb in film[start : start + 5]:
        cv2.putText(rgb, "Where is the shot?", (6, 64), cv2.FONT_HERSHEY_SIMPLEX, rng.uniform(0.3, 0.7), (255,) * 3, 2)
    return film, []


def bars(rng: Rng, a: Film, _b: Film) -> Trial:
    film, height = [rgb.copy() for rgb in a], int(rng.uniform(0.08, 0.2) * 72)
    for rgb in film[len(a) // 2 :]:
        rgb[:height] = rgb[-height:] = 0
    return film, []


def as_bytes(values: np.ndarray, gamma: float = 1.0) -> np.ndarray:
    scaled = np.clip(values, 0, 1) ** gamma * 255 if gamma != 1 else values
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def exactly(frame: int) -> range:
    return range(frame, frame + 1)


TRIALS = 5
CUT = [
    straight,
    dark,
    same_colours,
    mixed_once,
    mixed_twice,
    converted,
    through_a_flash,
    through_black,
    few_a_second,
    short_shots,
]
UNCUT = [flash, dissolve, fade_and_back, fast_pan, shaken, zoom, exposure, passer_by, titles, bars]
MISSED = {dark: 1, mixed_twice: 1}
"""How many cuts of these kinds are not found: 2 of 60 in all. None of the others is missed, and none is false."""


@pytest.fixture(scope="module")
def places(shared: Path) -> list[Film]:
    """The first frames of clips that show unlike places."""
    return [list(clip(shared / "data" / name, 28)) for name in PLACES]


def trial(kind: Callable[[Rng, Film, Film], Trial], seed: int, places: list[Film]) -> tuple[int, int]:
    """How many cuts are missed, and how many are false."""
    rng = np.random.default_rng([seed, *kind.__name__.encode()])
    one, other = rng.choice(len(places), 2, replace=False)
    lengths = rng.integers(20, 29, 2)
    film, true = kind(rng, places[one][: lengths[0]], places[other][-lengths[1] :])
    found = cuts(film)
    hits = sum(any(at in allowed for at in found) for allowed in true)
    return len(true) - hits, len(found) - hits


@pytest.mark.parametrize("kind", [*CUT, *UNCUT], ids=lambda kind: kind.__name__)
def test_joined_clips(kind: Callable[[Rng, Film, Film], Trial], places: list[Film]) -> None:
    missed, false = np.sum([trial(kind, seed, places) for seed in range(TRIALS)], axis=0)
    assert missed <= MISSED.get(kind, 0)
    assert false == 0
