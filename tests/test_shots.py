"""Hard cuts are found on their very frame; flashes, dissolves, fades, pans, shakes and exposure are left alone."""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice, permutations
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
MOVING = ["Tokyo-Walk_rgb.mp4", "dog-example.mp4", "lady-running.mp4", "hdr10-av1.mp4", "sample.avi"]


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


def test_it_looks_three_frames_ahead_and_no_further() -> None:
    pulled = []

    def watched() -> Iterator[Frame]:
        for frame in as_frames(walk(0)):
            pulled.append(frame.index)
            yield frame

    for number, _ in enumerate(split_shots(watched(), threshold=THRESHOLD)):
        assert pulled[-1] == min(number + 3, 15)


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


@settings(max_examples=8)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), st.integers(5, 10)), min_size=1, max_size=3))
def test_the_shots_of_any_montage_are_its_pieces(pieces: list[tuple[int, int]]) -> None:
    joined = [piece for at, piece in enumerate(pieces) if at == 0 or piece[0] != pieces[at - 1][0]]
    expected = [number for number, (_, length) in enumerate(joined) for _ in range(length)]
    assert shots([rgb for scene, length in joined for rgb in walk(scene)[:length]]) == expected


@settings(max_examples=8)
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
def clip(path: Path, most: int = 24) -> tuple[np.ndarray, ...]:
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
    names.remove("sample_audio_only_15s.mp4")
    found = {name: cuts(clip(folder / name, 210 if name == "nasa_13013.mp4" else 24)) for name in names}
    assert len(found) == 24
    assert {name: where for name, where in found.items() if where} == CUTS


@pytest.mark.slow
def test_whole_clips_of_moving_cameras_and_people_do_not_cut(shared: Path) -> None:
    for name in MOVING:
        assert cuts(clip(shared / "data" / "videos_a" / name, 1000)) == [], name


def joined(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> list[int]:
    """The shots of the one, then those of the other."""
    old = shots(first)
    return old + [shot + old[-1] + 1 for shot in shots(second)]


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        permutations(
            [
                "Tokyo-Walk_rgb.mp4",
                "dog-example.mp4",
                "lady-running.mp4",
                "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4",
            ],
            2,
        )
    ),
)
def test_a_join_of_real_clips_is_found_and_nothing_else(shared: Path, first: str, second: str) -> None:
    one, other = (clip(shared / "data" / "videos_a" / name) for name in (first, second))
    assert shots(one + other) == joined(one, other)
