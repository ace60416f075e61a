"""Videos in and out: real clips by count, and tiny clips whose every property is known."""

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import ramp, rgb_frame, write_clip
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import VideoError
from recon.io import video
from recon.io.clip import Turn, turn_from_matrix
from recon.io.source import Source, expected_count, fov_x_from_focal, sampled, used_duration
from recon.io.video import VideoWriter, open_source
from recon.settings import SamplingSettings

ALL = SamplingSettings()


def times_of(path: Path, sampling: SamplingSettings = ALL) -> list[float]:
    return [frame.time for frame in open_source(path, sampling).frames()]


def first_picture(path: Path) -> np.ndarray:
    return next(open_source(path, ALL).frames()).rgb


# --- the workshop's clips ----------------------------------------------------------------------------------------

CLIPS = {
    "Tokyo-Walk_rgb.mp4": (195, (1280, 720)),
    "bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4": (120, (1137, 640)),
    "bear-vp9-odd-dimensions.webm": (30, (161, 121)),
    "bt709_full_range.mp4": (30, (1280, 720)),
    "corrupted.mp4": (28, (1280, 720)),
    "dog-example.mp4": (122, (1280, 720)),
    "dolbyVision-hdr.MOV": (4, (720, 1280)),
    "h265_10bits.mp4": (30, (200, 200)),
    "h265_with_metadata_track.mp4": (3, (1080, 1920)),
    "hdr10-av1.mp4": (127, (720, 1280)),
    "hlg10-color-test.mp4": (9, (1920, 1080)),
    "lady-running.mp4": (65, (854, 480)),
    "nasa_13013.mp4": (325, (320, 180)),
    "portrait_4k60.mp4": (18, (2160, 3840)),
    "sample.avi": (96, (960, 400)),
    "sample_android_slow_motion.mp4": (7, (1280, 720)),
    "sample_mdat_too_long.mp4": (30, (1080, 720)),
    "sample_rotate_and_reflect.mp4": (30, (720, 1080)),
    "sample_with_pgs_subtitles.mkv": (30, (1080, 720)),
    "unordered.mov": (4, (50, 50)),
    "video_0.mov": (3, (568, 320)),
    "video_90.mov": (3, (320, 568)),
    "water_180_mvhevc_5frames.mov": (5, (1934, 2160)),
}


@pytest.mark.parametrize("name", CLIPS)
def test_each_real_clip_yields_its_frames(shared: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    count, (width, height) = CLIPS[name]
    source = open_source(shared / "data" / "videos_a" / name, ALL)
    assert isinstance(source, Source)
    assert (source.info.width, source.info.height) == (width, height)
    seen, times = 0, []
    for frame in source.frames():
        assert frame.index == seen
        assert frame.rgb.shape == (height, width, 3)
        times.append(frame.time)
        seen += 1
    assert seen == count
    assert times[0] == 0
    assert all(before < after for before, after in pairwise(times))
    assert capfd.readouterr() == ("", "")


def test_the_end_of_the_long_clip_by_seeking(shared: Path) -> None:
    clip = shared / "data" / "videos_a" / "long_1080p_videoonly_lowbitrate.mp4"
    times = times_of(clip, SamplingSettings(start=360))
    assert times == pytest.approx([number / 30 for number in range(10800, 10883)])


def test_sound_alone_is_refused(shared: Path) -> None:
    with pytest.raises(VideoError, match=r"sample_audio_only_15s\.mp4: holds no video stream"):
        open_source(shared / "data" / "videos_a" / "sample_audio_only_15s.mp4", ALL)


def test_the_damaged_clip_says_where_it_breaks_off(shared: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(times_of(shared / "data" / "videos_a" / "corrupted.mp4")) == 28
    (record,) = caplog.records
    assert "corrupted.mp4: damaged 28 frames after its start, at 2.700 s" in record.getMessage()


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("sample_rotate_and_reflect.mp4", "rotated by 90 degrees and mirrored"),
        ("portrait_4k60.mp4", "rotated by 90 degrees"),
        ("hdr10-av1.mp4", "HDR (PQ) tone-mapped to SDR"),
        ("dolbyVision-hdr.MOV", "HDR (HLG) tone-mapped to SDR"),
        ("sample_android_slow_motion.mp4", "variable frame rate"),
        ("nasa_13013.mp4", "2 video streams: the first is used"),
        ("bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4", "pixels of 1137:800 made square"),
    ],
)
def test_what_is_odd_is_told(shared: Path, name: str, note: str) -> None:
    assert note in open_source(shared / "data" / "videos_a" / name, ALL).info.notes


def test_an_ordinary_clip_has_nothing_to_tell(shared: Path) -> None:
    assert open_source(shared / "data" / "videos_a" / "dog-example.mp4", ALL).info.notes == ()


# --- what is no video --------------------------------------------------------------------------------------------


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"away\.mp4: no such file or folder"):
        open_source(tmp_path / "away.mp4", ALL)


@pytest.mark.parametrize("content", [b"", b"This is a letter, not a film.\n" * 40, bytes(5000)])
def test_a_file_that_is_no_video(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "letter.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"letter\.mp4: cannot be read as a video \(.+\): check the file") as caught:
        open_source(path, ALL)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_video_that_ends_too_early_is_used_as_far_as_it_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_clip(tmp_path / "whole.mp4", ramp(100), container_options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: int(0.7 * whole.stat().st_size)])
    count = len(times_of(cut))
    assert 10 < count < 95
    assert "cut.mp4: " in caplog.text


def test_a_start_after_the_end_is_said(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "short.mp4", ramp(10))
    with pytest.raises(VideoError, match=r"no frame from 7 s on \(it lasts 0\.40 s\): choose an earlier --start"):
        list(open_source(clip, SamplingSettings(start=7)).frames())


def test_a_name_with_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clip(tmp_path / "plain.mp4", ramp(2)).rename(tmp_path / "a:b [1].mp4")
    monkeypatch.chdir(tmp_path)
    assert len(times_of(Path("a:b [1].mp4"))) == 2


# --- orientation and shape ---------------------------------------------------------------------------------------

TURNS = [
    (a, b, c, d)
    for a in (-1, 0, 1)
    for b in (-1, 0, 1)
    for c in (-1, 0, 1)
    for d in (-1, 0, 1)
    if abs(a) != abs(b) and (abs(a), abs(b)) == (abs(d), abs(c))
]


def quadrants(width: int = 64, height: int = 48) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    corners = [(0, 0, (220, 30, 30)), (0, 1, (30, 200, 30)), (1, 0, (30, 30, 220)), (1, 1, (200, 200, 40))]
    for row, column, color in corners:
        picture[row * height // 2 :, column * width // 2 :][: height // 2, : width // 2] = color
    return picture


def displayed(picture: np.ndarray, matrix: tuple[int, ...]) -> np.ndarray:
    """ISO/IEC 14496-12 6.2.2, point by point: x' = a x + c y, y' = b x + d y; the result is moved to the origin."""
    a, b, c, d = matrix
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    across, down = a * x + c * y, b * x + d * y
    across, down = across - across.min(), down - down.min()
    result = np.zeros((down.max() + 1, across.max() + 1, 3), np.uint8)
    result[down, across] = picture
    return result


@pytest.mark.parametrize("matrix", TURNS)
def test_each_display_matrix(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    a, b, c, d = (65536 * value for value in matrix)
    clip = write_clip(
        tmp_path / "turned.mp4",
        [rgb_frame(quadrants())],
        options={"crf": "4"},
        adjust=lambda stream: stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30)),
    )
    picture, expected = first_picture(clip), displayed(quadrants(), matrix)
    assert picture.shape == expected.shape
    assert np.median(np.abs(picture.astype(int) - expected)) <= 4
    assert np.mean(np.abs(picture.astype(int) - expected) > 40) < 0.1


def test_there_are_eight_turns() -> None:
    assert len(TURNS) == 8
    assert len({str(turn_from_matrix((a, b, 0, c, d))) for a, b, c, d in TURNS}) == 8


def test_a_matrix_that_is_nearly_a_quarter_turn_is_one() -> None:
    cosine, sine = round(65536 * math.cos(1.4)), round(65536 * math.sin(1.4))
    assert turn_from_matrix((cosine, sine, 0, -sine, cosine)) == Turn(transpose=True, mirror_x=True, mirror_y=False)


@pytest.mark.parametrize(("aspect", "size"), [("4/3", (85, 48)), ("3/4", (64, 64)), ("1/1", (64, 48))])
def test_pixels_become_square_by_growing(tmp_path: Path, aspect: str, size: tuple[int, int]) -> None:
    clip = write_clip(
        tmp_path / "wide.mp4",
        [rgb_frame(quadrants())],
        adjust=lambda stream: setattr(stream.codec_context, "sample_aspect_ratio", Fraction(aspect)),
    )
    info = open_source(clip, ALL).info
    assert (info.width, info.height) == size
    picture = first_picture(clip)
    assert picture.shape == (size[1], size[0], 3)
    assert picture[-4, -4].astype(float) == pytest.approx([200, 200, 40], abs=12)


def test_an_odd_size_keeps_its_last_row_and_column(tmp_path: Path) -> None:
    picture = quadrants(162, 122)[:121, :161]
    clip = write_clip(tmp_path / "odd.mkv", [rgb_frame(picture)], codec="ffv1", pix_fmt="yuv420p")
    assert np.mean(np.abs(first_picture(clip).astype(int) - picture)) < 3
    assert first_picture(clip)[-1, -1].astype(float) == pytest.approx([200, 200, 40], abs=6)


def test_a_size_that_changes_on_the_way_is_undone(tmp_path: Path) -> None:
    small = write_clip(tmp_path / "small.h264", [rgb_frame(quadrants())])
    large = write_clip(tmp_path / "large.h264", [rgb_frame(quadrants(128, 96))])
    both = tmp_path / "both.h264"
    both.write_bytes(small.read_bytes() + large.read_bytes())
    first, second = (frame.rgb.astype(float) for frame in open_source(both, ALL).frames())
    assert first.shape == second.shape
    assert np.median(np.abs(first - second)) < 6


# --- time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_uneven_times_are_kept(tmp_path: Path, suffix: str) -> None:
    times = [0.0, 0.04, 0.1, 0.35, 0.36, 1.0]
    clip = write_clip(tmp_path / f"vfr{suffix}", ramp(6), times=times)
    assert times_of(clip) == pytest.approx(times)


def test_a_first_time_stamp_of_ten_seconds_is_the_start(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "late.mkv", ramp(4), times=[10.0, 10.5, 11.0, 11.5])
    assert times_of(clip) == pytest.approx([0, 0.5, 1.0, 1.5])
    assert times_of(clip, SamplingSettings(start=0.9)) == pytest.approx([1.0, 1.5])


def test_a_bare_stream_without_time_stamps_is_even(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "bare.h264", ramp(6))
    times = times_of(clip)
    assert len(times) == 6
    assert np.diff(times) == pytest.approx(np.full(5, 1 / 25))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"start": 0.4}, [0.4, 0.44, 0.48]),
        ({"end": 0.12}, [0.0, 0.04, 0.08]),
        ({"start": 0.1, "end": 0.2}, [0.12, 0.16]),
        ({"every": 0.1}, [0.0, 0.12, 0.2, 0.32, 0.4]),
        ({"fps": 10}, [0.0, 0.12, 0.2, 0.32, 0.4]),
        ({"fps": 100, "end": 0.1}, [0.0, 0.04, 0.08]),
        ({"start": 0.04, "every": 0.2}, [0.04, 0.24, 0.44]),
    ],
)
def test_sampling_goes_by_time(tmp_path: Path, settings: dict[str, float], expected: list[float]) -> None:
    clip = write_clip(tmp_path / "even.mp4", ramp(13))
    source = open_source(clip, SamplingSettings(**settings))
    frames = list(source.frames())
    assert [frame.time for frame in frames] == pytest.approx(expected)
    assert [frame.index for frame in frames] == list(range(len(expected)))
    assert abs(source.info.frame_count - len(frames)) <= 1


STAMPS = st.lists(st.integers(1, 400), min_size=1, max_size=60).map(lambda steps: np.cumsum([0, *steps]) / 1000)
PERIODS = st.sampled_from([0.01, 1 / 30, 0.1, 0.25, 1.0])


@given(STAMPS, PERIODS, st.sampled_from([0.0, 0.05, 0.4]), st.sampled_from([None, 0.5, 3.0]))
def test_sampling_takes_the_first_frame_at_or_after_each_multiple(
    stamps: np.ndarray, period: float, start: float, end: float | None
) -> None:
    """The definition itself, multiple by multiple; 0.5 ms early is on time."""
    early = 0.000501
    until = stamps[-1] + 1 if end is None else end
    multiples = start + period * np.arange(math.ceil(until / period) + 1)
    places = np.searchsorted(stamps + early, multiples)
    expected = sorted({stamps[place] for place in places if place < len(stamps) and stamps[place] + early < until})
    got = [
        time
        for time, _ in sampled(((float(t), None) for t in stamps), SamplingSettings(start=start, end=end, every=period))
    ]
    assert got == pytest.approx(expected)


def test_times_rounded_to_milliseconds_do_not_upset_sampling() -> None:
    """29.97 frames for each second in Matroska: every second frame, without a slip in a thousand."""
    rounded = [(round(number * 1001 / 30, 0) / 1000, number) for number in range(3000)]
    numbers = [number for _, number in sampled(rounded, SamplingSettings(every=1001 / 15000))]
    assert numbers == list(range(0, 3000, 2))


def test_a_rate_above_the_source_takes_every_frame_once() -> None:
    timed = [(number / 25, number) for number in range(100)]
    assert [number for _, number in sampled(timed, SamplingSettings(fps=60))] == list(range(100))


# --- seeking -----------------------------------------------------------------------------------------------------

CODINGS = {
    "closed.mp4": {"g": "12", "bf": "2"},
    "open.mp4": {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"},
    "refresh.mp4": {"x264-params": "keyint=12:intra-refresh=1:bframes=0"},
    "open.mkv": {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1"},
    "single.mkv": {"g": "1000", "bf": "2"},
}


@pytest.fixture(scope="module", params=CODINGS)
def grouped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("grouped") / request.param
    return write_clip(path, ramp(50), options=CODINGS[request.param])


def test_seeking_changes_nothing(grouped: Path) -> None:
    everything = [(frame.time, frame.rgb.tobytes()) for frame in open_source(grouped, ALL).frames()]
    assert len(everything) == 50
    for start in (0.02, 0.48, 0.5, 0.97, 1.44, 1.93):
        sought = [
            (frame.time, frame.rgb.tobytes()) for frame in open_source(grouped, SamplingSettings(start=start)).frames()
        ]
        assert sought == [item for item in everything if item[0] >= start]


def test_decoding_begins_near_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "keys.mp4", ramp(100), options={"g": "10"})
    real, decoded = video._decoded, []

    def watched(*args: Any) -> Iterator[av.VideoFrame]:
        for frame in real(*args):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(video, "_decoded", watched)
    assert len(times_of(clip, SamplingSettings(start=3.6))) == 10
    assert len(decoded) <= 20


# --- manners -----------------------------------------------------------------------------------------------------


def open_files() -> set[Path]:
    return {link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_closing_the_generator_closes_the_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "closed.mp4", ramp(30))
    frames = open_source(clip, ALL).frames()
    next(frames)
    assert clip in open_files()
    frames.close()
    assert clip not in open_files()


def test_each_call_decodes_anew_and_alike(tmp_path: Path) -> None:
    source = open_source(write_clip(tmp_path / "again.mp4", ramp(20)), ALL)
    first, second = source.frames(), source.frames()
    for one, other in zip(first, second, strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        assert np.array_equal(one.rgb, other.rgb)


def test_identity_is_of_content_and_sampling_not_of_the_name(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "one.mp4", ramp(5))
    identity = open_source(clip, ALL).identity
    copy = tmp_path / "two.mp4"
    copy.write_bytes(clip.read_bytes())
    assert open_source(copy, ALL).identity == identity
    assert open_source(clip, SamplingSettings(every=0.1)).identity != identity
    assert (
        open_source(clip, SamplingSettings(every=0.1)).identity == open_source(clip, SamplingSettings(fps=10)).identity
    )
    assert open_source(write_clip(tmp_path / "three.mp4", ramp(6)), ALL).identity != identity


def test_a_video_has_no_names(tmp_path: Path) -> None:
    assert open_source(write_clip(tmp_path / "plain.mp4", ramp(2)), ALL).times_by_name == {}


def test_a_cover_picture_is_no_film(tmp_path: Path) -> None:
    clip = tmp_path / "cover.mp4"
    with av.open(str(clip), "w") as container:
        cover = container.add_stream("mjpeg", rate=1, width=32, height=32, pix_fmt="yuvj420p")
        cover.disposition = av.stream.Disposition.attached_pic
        film = container.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p")
        container.mux(cover.encode(ramp(1, 32, 32)[0].reformat(format="yuvj420p")))
        container.mux(cover.encode(None))
        for frame in ramp(5):
            container.mux(film.encode(frame.reformat(format="yuv420p")))
        container.mux(film.encode(None))
    info = open_source(clip, ALL).info
    assert (info.width, info.height) == (64, 48)
    assert info.notes == ()


@pytest.mark.parametrize(("turned", "width", "height"), [(False, 64, 48), (True, 48, 64)])
def test_focal_length_that_phones_write(tmp_path: Path, width: int, height: int, *, turned: bool) -> None:
    """26 mm on a 36 mm long side: the long side sees 2 atan(18 / 26), the short side 48 / 64 of its tangent."""
    clip = write_clip(
        tmp_path / "phone.mov",
        ramp(2),
        adjust=lambda stream: stream.set_display_rotation(90) if turned else None,
        metadata={"com.apple.quicktime.camera.focal_length.35mm_equivalent": "26"},
        container_options={"movflags": "use_metadata_tags"},
    )
    info = open_source(clip, ALL).info
    assert (info.width, info.height) == (width, height)
    assert info.fov_x == pytest.approx(2 * math.degrees(math.atan(18 / 26 * width / 64)))


def test_field_of_view_of_a_full_frame_camera() -> None:
    assert fov_x_from_focal(50.0, 36.0, 6000, 6000.0) == pytest.approx(39.6, abs=0.01)


def test_what_is_expected_of_a_source_is_never_nothing() -> None:
    assert expected_count(30.0, 2.0) == 60
    assert expected_count(30.0, 0.001) == 1
    assert expected_count(None, 2.0) is None
    assert used_duration(10.0, SamplingSettings(start=2, end=5)) == 3
    assert used_duration(10.0, SamplingSettings(start=2, end=50)) == 8
    assert used_duration(None, SamplingSettings(start=2, end=50)) is None


# --- writing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_written_pictures_and_times_come_back(tmp_path: Path, suffix: str) -> None:
    path, times = tmp_path / f"out{suffix}", [0.0, 0.04, 0.2, 0.21, 1.5]
    with VideoWriter(path, 64, 48, 25.0) as writer:
        for time in times:
            writer.write(quadrants(), time)
    assert times_of(path) == pytest.approx(times, abs=6e-4)
    assert np.median(np.abs(first_picture(path).astype(int) - quadrants())) <= 4
    assert open_source(path, ALL).info.duration == pytest.approx(1.54, abs=0.01)
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_written_says_how_its_colours_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "tags.mp4"
    with VideoWriter(path, 64, 48, 30.0) as writer:
        writer.write(quadrants(), 0.0)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert container.streams.video[0].codec_context.name == "h264"
    assert (frame.format.name, frame.colorspace, frame.color_range) == ("yuv420p", 1, 1)
    assert (frame.color_primaries, frame.color_trc) == (1, 1)


def test_an_odd_picture_grows_by_its_last_row_and_column(tmp_path: Path) -> None:
    path = tmp_path / "odd.mp4"
    picture = quadrants(162, 122)[:121, :161]
    with VideoWriter(path, 161, 121, 30.0) as writer:
        writer.write(picture, 0.0)
    grown = first_picture(path)
    assert grown.shape == (122, 162, 3)
    assert grown[-1, -1].astype(float) == pytest.approx([200, 200, 40], abs=12)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_nothing_is_left_behind_when_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    def half(writer: VideoWriter) -> None:
        writer.write(quadrants(), 0.0)
        raise error

    with pytest.raises(type(error)), VideoWriter(tmp_path / "half.mp4", 64, 48, 25.0) as writer:
        half(writer)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_block_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "old.mp4"
    path.write_bytes(b"older")
    with pytest.raises(RuntimeError), VideoWriter(path, 64, 48, 25.0):
        raise RuntimeError
    assert path.read_bytes() == b"older"


def test_a_video_without_pictures_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no picture was written"), VideoWriter(tmp_path / "none.mp4", 64, 48, 25.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_misuse_of_the_writer(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"out\.gif: a video is written as \.mp4, \.mov, \.mkv"):
        VideoWriter(tmp_path / "out.gif", 64, 48, 25.0)
    with VideoWriter(tmp_path / "out.mp4", 64, 48, 25.0) as writer:
        writer.write(quadrants(), 1.0)
        with pytest.raises(ValueError, match="is wanted"):
            writer.write(quadrants(32, 32), 2.0)
        with pytest.raises(ValueError, match="times begin"):
            writer.write(quadrants(), 1.0)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(VideoError, match=r"out\.mp4: cannot be written"),
        VideoWriter(tmp_path / "away" / "out.mp4", 64, 48, 25.0),
    ):
        pass


@pytest.mark.parametrize("rate", [1 / 3600, 30000 / 1001, 240.0])
def test_slow_and_fast_rates(tmp_path: Path, rate: float) -> None:
    path = tmp_path / "out.mp4"
    with VideoWriter(path, 64, 48, rate) as writer:
        for number in range(4):
            writer.write(quadrants(), number / rate)
    assert times_of(path) == pytest.approx([number / rate for number in range(4)], abs=1e-4)


def test_frames_can_be_written_as_they_come(tmp_path: Path) -> None:
    source = open_source(write_clip(tmp_path / "in.mp4", ramp(20)), SamplingSettings(fps=12.5))
    path = tmp_path / "out.mp4"
    with VideoWriter(path, source.info.width, source.info.height, source.info.rate or 25.0) as writer:
        for frame in source.frames():
            writer.write(frame.rgb, frame.time)
    assert times_of(path) == pytest.approx([number * 0.08 for number in range(10)])


def test_info_cannot_be_changed(tmp_path: Path) -> None:
    info = open_source(write_clip(tmp_path / "plain.mp4", ramp(2)), ALL).info
    assert replace(info, notes=()).kind == "video"
    with pytest.raises(AttributeError):
        info.width = 3


@pytest.mark.parametrize("time", [0.0, 0.31, 1.2])
def test_a_single_picture_is_the_one_that_decoding_gives(tmp_path: Path, time: float) -> None:
    """By seeking, but never another picture."""
    with VideoWriter(tmp_path / "a.mp4", 64, 48, 10.0) as video:
        for number in range(20):
            video.write(np.full((48, 64, 3), 10 * number, np.uint8), number / 10)
    source = open_source(tmp_path / "a.mp4", SamplingSettings(start=0.5, every=0.4))
    everything = list(open_source(tmp_path / "a.mp4", SamplingSettings()).frames())
    expected = next(frame for frame in everything if frame.time >= time - 0.0005)
    np.testing.assert_array_equal(source.picture(time), expected.rgb)
    with pytest.raises(VideoError):
        source.picture(99.0)
