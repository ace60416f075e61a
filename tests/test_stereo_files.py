"""Videos coded again faithfully, and all else of a film carried over."""

import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from clips import ramp, write_clip, yuv_frame
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import OptionError, VideoError
from recon.io.clip import Turn, look_at
from recon.io.stereo.chroma import ChromaPlace, plane_of, with_coded_chroma, with_full_chroma
from recon.io.stereo.encode import Encoding, SegmentWriter, coder_for, require_encoder
from recon.io.stereo.fields import deinterlaced
from recon.io.stereo.frames import FaithfulFrames, FilmFrame, Look, frame_from_samples, samples_from_frame
from recon.io.stereo.hdr import Hdr10
from recon.io.stereo.join import Film, join
from recon.io.stereo.subtitles import mov_text, plain_text
from recon.types import Layout

TICK = Fraction(1, 1000)
UPRIGHT = Turn(transpose=False, mirror_x=False, mirror_y=False)
LOOK = Look(
    width=64,
    height=48,
    pixel_aspect=Fraction(1),
    bits=8,
    full_range=False,
    matrix=1,
    primaries=2,
    transfer=2,
    hdr=Hdr10(),
    tick=TICK,
    rate=Fraction(25),
    interlaced=False,
)


def segments_of(
    frames: Sequence[FilmFrame], look: Look, folder: Path, encoder: str = "libx264", *, cuts: Sequence[int] = ()
) -> list[Path]:
    """The frames coded (nearly) without loss, in pieces."""
    height, width = frames[0].samples.shape[:2]
    encoding = Encoding(encoder, 0.0, "12" if encoder == "libsvtav1" else "ultrafast")
    coder, paths = coder_for(encoding, look, width, height), []
    for number, (start, end) in enumerate(zip([0, *cuts], [*cuts, len(frames)], strict=True)):
        paths.append(folder / f"{number}.part")
        with SegmentWriter(paths[-1], look, (width, height), coder, encoding) as writer:
            for frame in frames[start:end]:
                writer.write(frame.samples, frame.pts, frame.duration)
    return paths


def again(source: Path, target: Path, encoder: str = "libx264", *, count: int = 6) -> tuple[FaithfulFrames, list]:
    """The first frames of a video coded again in two pieces; the reader and what it read."""
    reader = FaithfulFrames(look_at(source))
    stream = iter(reader)
    frames = [frame for _, frame in zip(range(count), stream, strict=False)]
    stream.close()
    cuts = [len(frames) // 2] if len(frames) > 1 else []
    end = frames[-1].time + 1e-4
    film = Film(reader.clip, None, reader.look.hdr, None, 0.0, end)
    join(segments_of(frames, reader.look, target.parent, encoder, cuts=cuts), film, target)
    return reader, frames


# Frames.


@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize("bits", [8, 10])
def test_every_grey_and_many_colours_come_back(*, matrix: int, full_range: bool, bits: int) -> None:
    """An analytic oracle: luma of grey in each coding, to the rounding; and grey is grey, and comes back."""
    look = Look(256, 64, Fraction(1), bits, full_range, matrix, 2, 2, Hdr10(), TICK, Fraction(25), interlaced=False)
    kind, most = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    grey = np.linspace(0, most, 256).round().astype(kind)
    picture = np.tile(grey[None, :, None], (64, 1, 3))
    frame = frame_from_samples(picture, look, "yuv420p" if bits == 8 else "yuv420p10le")
    luma, *chroma = (plane_of(frame, number).astype(float) for number in range(3))
    top = (1 << bits) - 1
    signal = grey / most
    expected = signal * top if full_range else (16 + 219 * signal) * (1 << bits - 8)
    assert np.abs(luma - expected).max() <= 0.53
    assert all((plane == 1 << bits - 1).all() for plane in chroma)
    assert (frame.colorspace, frame.color_range) == (matrix, 2 if full_range else 1)
    back = samples_from_frame(frame, look, UPRIGHT)
    assert np.abs(back.astype(float) - picture).max() <= (1 if bits == 8 else 65535 / 876 / 2 + 4)


# Chroma of less than full size.


def random_frame(pixel_format: str, width: int = 38, height: int = 22, seed: int = 0) -> av.VideoFrame:
    frame, random = av.VideoFrame(width, height, pixel_format), np.random.default_rng(seed)
    for number in range(3):
        plane = plane_of(frame, number)
        plane[:] = random.integers(0, 1 << frame.format.components[0].bits, plane.shape)
    return frame


@given(
    st.sampled_from(get_args(ChromaPlace)),
    st.sampled_from(["yuv420p", "yuv420p10le", "yuv420p12le"]),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 1000),
)
def test_chroma_goes_to_full_size_and_back_without_loss(
    place: ChromaPlace, pixel_format: str, width: int, height: int, seed: int
) -> None:
    """Of noise, the hardest there is, at any size: not one number changes."""
    frame = random_frame(pixel_format, 2 * width, 2 * height, seed)
    back = with_coded_chroma(with_full_chroma(frame, place), pixel_format, place)
    for number in range(3):
        np.testing.assert_array_equal(plane_of(back, number), plane_of(frame, number))


@pytest.mark.parametrize("place", get_args(ChromaPlace))
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv420p10le", "nv12"])
@pytest.mark.parametrize("size", [(38, 22), (37, 21)])
def test_between_samples_chroma_is_linear(place: ChromaPlace, pixel_format: str, size: tuple[int, int]) -> None:
    """An oracle that knows where the samples lie (H.273 figure 3), and numpy's interpolation."""
    planar = "yuv420p" if pixel_format == "nv12" else pixel_format
    frame = random_frame(planar, *size)
    given_frame = frame.reformat(format="nv12") if pixel_format == "nv12" else frame
    full = with_full_chroma(given_frame, place)
    shift = 16 - frame.format.components[0].bits
    np.testing.assert_array_equal(plane_of(full, 0), plane_of(frame, 0).astype(np.uint16) << shift)
    rows, columns = (np.arange(length) + 0.0 for length in (size[1], size[0]))
    for number in (1, 2):
        chroma = plane_of(frame, number).astype(float) * (1 << shift)
        at_x = 2 * np.arange(chroma.shape[1]) + (0 if place.endswith("left") else 0.5)
        at_y = 2 * np.arange(chroma.shape[0]) + (0 if place.startswith("top") else 0.5)
        wide = np.stack([np.interp(columns, at_x, row) for row in chroma])
        wanted = wide if "422" in pixel_format else np.stack([np.interp(rows, at_y, column) for column in wide.T]).T
        assert np.abs(plane_of(full, number) - wanted).max() <= 0.5


@pytest.mark.parametrize("full_range", [True, False])
@pytest.mark.parametrize(("bits", "pixel_format"), [(8, "yuv420p"), (8, "nv12"), (10, "yuv420p10le"), (10, "p010le")])
def test_sharp_colours_that_nobody_changed_are_coded_as_they_were(
    *, full_range: bool, bits: int, pixel_format: str
) -> None:
    """Luma and chroma of a picture with hard edges, decoded to R'G'B' and coded again."""
    look = Look(128, 96, Fraction(1), bits, full_range, 1, 2, 2, Hdr10(), TICK, Fraction(25), interlaced=False)
    blocks = np.random.default_rng(0).integers(-40, 40, (2, 6, 8))
    frame = av.VideoFrame(128, 96, "yuv420p" if bits == 8 else "yuv420p10le")
    plane_of(frame, 0)[:] = 128 << bits - 8
    for number in (1, 2):
        plane_of(frame, number)[:] = (128 + blocks[number - 1].repeat(8, axis=0).repeat(8, axis=1)) << bits - 8
    frame.colorspace, frame.color_range = 1, 2 if full_range else 1
    coded = frame_from_samples(samples_from_frame(frame, look, UPRIGHT), look, pixel_format)
    back = coded if coded.format.name == frame.format.name else coded.reformat(format=frame.format.name)
    for number in range(3):
        wrong = np.abs(plane_of(back, number).astype(int) - plane_of(frame, number))
        assert wrong.max() <= 1
        assert (wrong > 0).mean() < 0.02


@pytest.mark.parametrize(("encoder", "suffix"), [("libx264", ".mp4"), ("libx265", ".mkv"), ("libsvtav1", ".mp4")])
def test_where_chroma_lies_is_kept(tmp_path: Path, encoder: str, suffix: str) -> None:
    params = {"x265-params": "log-level=error"} if encoder == "libx265" else {}
    options = {"chroma_sample_location": "topleft", **params}
    source = write_clip(tmp_path / "a.mp4", ramp(2, 128, 96), codec=encoder, options=options)
    reader, _ = again(source, tmp_path / f"b{suffix}", encoder, count=2)
    assert reader.look.chroma == "topleft"
    assert FaithfulFrames(look_at(tmp_path / f"b{suffix}")).look.chroma == "topleft"
    assert FaithfulFrames(look_at(write_clip(tmp_path / "c.mp4", ramp(1)))).look.chroma == "left"


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
@pytest.mark.parametrize("deep", [True, False])
def test_colours_of_full_size_keep_every_pixel_and_odd_sizes(tmp_path: Path, encoder: str, *, deep: bool) -> None:
    look = replace(LOOK, bits=10 if deep else 8)
    rows = np.zeros((45, 64, 3), np.uint8)
    rows[::2], rows[1::2] = (200, 60, 60), (60, 60, 200)  # woven eyes of two colours
    rows = rows.astype(np.uint16) * 257 if deep else rows
    encoding = Encoding(encoder, 1.0, "ultrafast", chroma="444")
    coder = coder_for(encoding, look, 64, 45)
    assert coder.pixel_format == ("yuv444p10le" if deep else "yuv444p")
    with SegmentWriter(tmp_path / "a", look, (64, 45), coder, encoding) as writer:
        writer.write(rows, 0)
    (frame,) = FaithfulFrames(look_at(tmp_path / "a"))
    assert frame.samples.shape == rows.shape
    assert np.abs(frame.samples.astype(int) - rows).max() <= (8 * 257 if deep else 8)


def test_what_chroma_costs_is_said() -> None:
    assert "64 x 45 is coded as 64 x 46: only --chroma 444 keeps odd sizes" in coder_for(Encoding(), LOOK, 64, 45).notes
    assert "televisions" in coder_for(Encoding(chroma="444"), LOOK, 64, 48).notes[0]
    with pytest.raises(OptionError, match="libsvtav1 does not code 8 bits with --chroma 444"):
        coder_for(Encoding("libsvtav1", chroma="444"), LOOK, 64, 48)


def test_a_video_of_10_bits_gives_16_and_is_not_tone_mapped(tmp_path: Path) -> None:
    frames = [yuv_frame((512, 512, 512), 64, 48, "yuv420p10le")]

    def pq(stream: av.VideoStream) -> None:
        stream.colorspace, stream.color_primaries, stream.color_trc = 9, 9, 16

    path = write_clip(tmp_path / "a.mkv", frames, codec="ffv1", pix_fmt="yuv420p10le", adjust=pq)
    reader = FaithfulFrames(look_at(path))
    (frame,) = reader
    assert frame.samples.dtype == np.uint16
    expected = (512 - 64) / 876 * 65535
    assert np.abs(frame.samples.astype(float) - expected).max() <= 65535 / 876 / 2
    assert (reader.look.bits, reader.look.transfer, reader.look.primaries) == (10, 16, 9)


def test_pixels_that_are_not_square_stay_so_and_turn_with_the_picture(tmp_path: Path) -> None:
    def oblong(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    def turned(stream: av.VideoStream) -> None:
        oblong(stream)
        stream.set_display_rotation(90)

    plain = FaithfulFrames(look_at(write_clip(tmp_path / "a.mp4", ramp(2), adjust=oblong)))
    assert (plain.look.width, plain.look.height, plain.look.pixel_aspect) == (64, 48, Fraction(4, 3))
    turn = FaithfulFrames(look_at(write_clip(tmp_path / "b.mp4", ramp(2), adjust=turned)))
    assert (turn.look.width, turn.look.height, turn.look.pixel_aspect) == (48, 64, Fraction(3, 4))
    first, upright = (next(iter(reader)).samples for reader in (turn, plain))
    assert first.shape == (64, 48, 3)
    rotated = [np.rot90(upright, number) for number in (1, 3)]
    assert any(np.abs(first.astype(int) - one).max() <= 1 for one in rotated)


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize("steps", [[0, 1, 2, 3, 100, 101, 450, 451, 452], [0, 40], [7], list(range(0, 480, 40))])
def test_times_are_kept_to_the_tick_over_segments(tmp_path: Path, encoder: str, steps: list[int]) -> None:
    pictures = [frame.to_ndarray(format="rgb24") for frame in ramp(len(steps), 128, 96)]
    source = write_clip(tmp_path / "a.mp4", ramp(len(steps), 128, 96), times=[step / 1000 for step in steps])
    frames = [FilmFrame(pts, 0, pts / 1000, picture) for pts, picture in zip(steps, pictures, strict=True)]
    clip = look_at(source)
    encoding = Encoding(encoder, None, "12" if encoder == "libsvtav1" else "fast")
    look = Look(128, 96, Fraction(1), 8, False, 1, 2, 2, Hdr10(), TICK, Fraction(25), interlaced=False)
    paths = []
    for number, start in enumerate(range(0, len(steps), 4)):
        paths.append(tmp_path / f"{number}")
        with SegmentWriter(paths[-1], look, (128, 96), coder_for(encoding, look, 128, 96), encoding) as writer:
            for frame in frames[start : start + 4]:
                writer.write(frame.samples, frame.pts)
    for suffix in (".mp4", ".mkv"):
        join(paths, Film(clip, None, Hdr10()), tmp_path / f"b{suffix}")
        got = list(FaithfulFrames(look_at(tmp_path / f"b{suffix}")))
        assert [round(frame.pts * look_at(tmp_path / f"b{suffix}").tick * 1000) for frame in got] == [
            step - steps[0] for step in steps
        ]


def test_odd_sizes_grow_by_a_copy_of_the_last_line(tmp_path: Path) -> None:
    picture = ramp(1, 63, 47)[0].to_ndarray(format="rgb24")
    (path,) = segments_of([FilmFrame(0, 0, 0.0, picture)], LOOK, tmp_path)
    (frame,) = FaithfulFrames(look_at(path))
    assert frame.samples.shape == (48, 64, 3)
    assert np.abs(frame.samples[47].astype(int) - frame.samples[46]).max() <= 6


# Interlaced films.


def moving(step: int, width: int = 192, height: int = 128) -> np.ndarray:
    picture = np.full((height, width, 3), 60, np.uint8)
    picture[32:96, 20 + 4 * step :][:, :48] = 200  # grey: chroma of half the rows would be of both moments
    return picture


def woven(count: int, order: str = "tff", pix_fmt: str = "yuv420p") -> list[av.VideoFrame]:
    """Frames whose rows are of two moments, as cameras of television made them; ``order``: which field is first."""
    frames = []
    for number in range(count):
        early, late = moving(2 * number), moving(2 * number + 1)
        both = late.copy()
        start = 0 if order == "tff" else 1
        both[start::2] = early[start::2]
        frames.append(av.VideoFrame.from_ndarray(both, "rgb24").reformat(format=pix_fmt))
    graph = av.filter.Graph()  # PyAV has no other way to say which field is first
    source = graph.add_buffer(width=192, height=128, format=frames[0].format, time_base=TICK)
    graph.link_nodes(source, graph.add("setfield", order), graph.add("buffersink")).configure()
    marked = []
    for frame in frames:
        graph.vpush(frame)
        marked.append(graph.vpull())
    return marked


def combing(picture: np.ndarray) -> float:
    """How much rows differ from the mean of those above and below."""
    grey = picture.astype(float).mean(axis=2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


INTERLACED = [
    ("libx264", "yuv420p", {"x264-params": "interlaced=1", "crf": "8"}, "tff"),
    ("libx264", "yuv422p10le", {"x264-params": "interlaced=1", "crf": "8"}, "bff"),
    ("mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "b": "20M"}, "tff"),
]


@pytest.mark.parametrize(("codec", "pix_fmt", "options", "order"), INTERLACED)
def test_fields_of_two_moments_become_one_picture(
    tmp_path: Path, codec: str, pix_fmt: str, options: dict[str, str], order: str
) -> None:
    """As many pictures as frames, at the same times to the tick, at the moment of the first field, without a comb."""
    times = [number / 25 for number in range(7)]
    frames = woven(7, order, pix_fmt)
    kinds = {"codec": codec, "pix_fmt": pix_fmt, "options": options}
    even = codec == "mpeg2video"  # it knows fixed rates alone
    path = write_clip(tmp_path / "a.mkv", frames, times=None if even else [t + t**2 for t in times], **kinds)
    reader = FaithfulFrames(look_at(path))
    got = list(reader)
    with av.open(str(path)) as film:
        decoded = list(film.decode(video=0))
    assert reader.look.interlaced
    assert all(frame.interlaced_frame for frame in decoded)
    assert [frame.pts for frame in got] == [frame.pts for frame in decoded]
    level = 257 if reader.look.deep else 1
    for number, frame in enumerate(got):
        whole = frame.samples.astype(float) / level
        assert combing(whole) < 0.3 * combing(frames[number].to_ndarray(format="rgb24"))
        first, second = (np.abs(whole - moving(2 * number + late)).mean() for late in (0, 1))
        assert first < 0.5 * second
    assert "interlaced" in " ".join(coder_for(Encoding(), reader.look, 192, 128).notes)
    part = FaithfulFrames(look_at(path), got[3].time, got[6].time)
    assert [frame.pts for frame in part] == [frame.pts for frame in got[3:6]]


def test_a_film_that_is_not_interlaced_is_not_touched(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", woven(3), options={"crf": "1"})
    reader = FaithfulFrames(look_at(path))
    for frame, was in zip(reader, woven(3), strict=True):
        assert combing(frame.samples) == pytest.approx(combing(was.to_ndarray(format="rgb24")), rel=0.05)
    assert not coder_for(Encoding(), reader.look, 192, 128).notes


def test_only_what_is_interlaced_of_a_mixed_film_is_changed(tmp_path: Path) -> None:
    """Films of television change between both, and even between sizes."""
    options = {"x264-params": "interlaced=1", "crf": "8"}
    paths = [
        write_clip(tmp_path / "a.mp4", ramp(3)),
        write_clip(tmp_path / "b.mp4", woven(3), options=options),
        write_clip(tmp_path / "c.mp4", ramp(2)),
    ]
    decoded = [frame for path in paths for frame in av.open(str(path)).decode(video=0)]
    got = list(deinterlaced((float(number), frame) for number, frame in enumerate(decoded)))
    assert [time for time, _ in got] == list(range(8))
    assert [(frame.pts, frame.width) for _, frame in got] == [(frame.pts, frame.width) for frame in decoded]
    for number, (_, frame) in enumerate(got):
        same = (frame.to_ndarray() == decoded[number].to_ndarray()).all()
        assert same == (not 3 <= number < 6)


# Encoders.


def test_encoders_are_chosen_by_bits_and_size() -> None:
    deep = Look(64, 48, Fraction(1), 10, False, 9, 9, 16, Hdr10(), TICK, Fraction(25), interlaced=False)
    assert coder_for(Encoding(), LOOK, 3840, 1080).name == "libx264"
    assert coder_for(Encoding(), LOOK, 7680, 2160).name == "libx265"
    assert coder_for(Encoding(), deep, 3840, 1080).pixel_format == "yuv420p10le"
    assert "many players" in coder_for(Encoding("libx264"), LOOK, 7680, 2160).notes[0]


@pytest.mark.parametrize(
    ("encoder", "size", "message"),
    [
        ("libnope", (64, 48), "choose one of libx264"),
        ("h264_nvenc", (7680, 2160), r"4096 pixels a side.*--per-eye-max"),
        ("libx265", (15360, 4320), r"35651584 pixels.*half layout"),
        ("libx265", (20000, 100), "16384 pixels a side"),
    ],
)
def test_what_cannot_be_coded_is_said_with_the_way_out(encoder: str, size: tuple[int, int], message: str) -> None:
    if encoder.endswith("nvenc") and encoder not in av.codecs_available:
        message = "built without"
    with pytest.raises(OptionError, match=message):
        coder_for(Encoding(encoder), LOOK, *size)


def test_hardware_that_is_not_there_is_said(tmp_path: Path) -> None:
    if "h264_nvenc" not in av.codecs_available or Path("/dev/nvidia0").exists():
        pytest.skip("needs FFmpeg with NVENC and a machine without it")
    encoding = Encoding("h264_nvenc", preset="nonsense")
    message = r"^h264_nvenc is built in, but does not start here: is there an NVIDIA card, and its driver\?$"
    with pytest.raises(OptionError, match=message):
        require_encoder(encoding, LOOK, 256, 256)
    coder, picture = coder_for(encoding, LOOK, 256, 256), np.zeros((256, 256, 3), np.uint8)
    with (
        pytest.raises(OptionError, match=message),
        SegmentWriter(tmp_path / "a", LOOK, (256, 256), coder, encoding) as writer,
    ):
        writer.write(picture, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("encoder", "quality", "preset", "message"),
    [
        ("libx264", None, "nonsense", "^--preset nonsense: libx264 knows ultrafast, .*placebo$"),
        ("libx265", None, "p5", "^--preset p5: libx265 knows ultrafast, "),
        ("libsvtav1", None, "40", "^--preset 40: libsvtav1 does not know it$"),
        ("libsvtav1", None, "slow", "^--preset slow: libsvtav1 does not know it$"),
        ("libx265", 63.0, "fast", "^--quality 63: libx265 does not go so far$"),
    ],
)
def test_an_option_that_an_encoder_does_not_know_is_named_before_the_work(
    encoder: str, quality: float | None, preset: str, message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        require_encoder(Encoding(encoder, quality, preset), LOOK, 128, 96)


@pytest.mark.parametrize("encoder", ["auto", "libx264", "libx265"])
def test_an_encoder_that_starts_is_the_one_that_would_be_chosen(
    encoder: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert require_encoder(Encoding(encoder), LOOK, 128, 96) == coder_for(Encoding(encoder), LOOK, 128, 96)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1"])
def test_films_say_that_they_are_progressive(encoder: str, tmp_path: Path) -> None:
    again(write_clip(tmp_path / "a.mp4", ramp(2, 128, 96)), tmp_path / "b.mp4", encoder)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].codec_context.field_order == 1


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    """As far as a limit of the size of files stands for it."""
    resource = pytest.importorskip("resource")
    coder, limits = coder_for(Encoding(), LOOK, 64, 48), resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with SegmentWriter(tmp_path / "a", LOOK, (64, 48), coder, Encoding()) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
            writer.write(np.zeros((48, 64, 3), np.uint8), 0)

    try:
        with pytest.raises(VideoError, match=rf"^{tmp_path}: cannot be written \(.*\): is the disk full\?$"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_misuse_of_a_writer_is_refused(tmp_path: Path) -> None:
    coder, picture = coder_for(Encoding(), LOOK, 64, 48), np.zeros((48, 64, 3), np.uint8)
    with (
        pytest.raises(VideoError, match="nothing to save"),
        SegmentWriter(tmp_path / "a", LOOK, (64, 48), coder, Encoding()),
    ):
        pass
    with SegmentWriter(tmp_path / "a", LOOK, (64, 48), coder, Encoding()) as writer:
        writer.write(picture, 5)
        with pytest.raises(ValueError, match="times increase"):
            writer.write(picture, 5)
        with pytest.raises(ValueError, match="is wanted"):
            writer.write(picture[:40], 6)


def test_segments_of_other_settings_are_not_joined(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", ramp(2))
    frames = list(FaithfulFrames(look_at(source)))
    look = FaithfulFrames(look_at(source)).look
    (first,) = segments_of(frames[:1], look, tmp_path)
    first = first.rename(tmp_path / "first")
    (second,) = segments_of(frames[1:], look, tmp_path, "libx265")
    with pytest.raises(VideoError, match="other settings"):
        join([first, second], Film(look_at(source), None, Hdr10()), tmp_path / "b.mp4")
    with pytest.raises(OptionError, match="choose one of these suffixes"):
        join([first], Film(look_at(source), None, Hdr10()), tmp_path / "b.avi")
    assert not list(tmp_path.glob("b.*"))


# All else of a film.


def rich(path: Path) -> Path:
    """A film with everything: two languages, subtitles, chapters, a font, a cover, a title; 10 bits, oblong pixels."""
    with av.open(str(path), "w") as film:
        film.metadata.update({"title": "A Film", "comment": "with everything"})
        video = film.add_stream("libx265", rate=25, options={"x265-params": "log-level=error:lossless=1"})
        video.width, video.height, video.pix_fmt = 128, 96, "yuv420p10le"
        video.codec_context.time_base = TICK
        video.colorspace, video.color_primaries, video.color_trc, video.color_range = 9, 9, 18, 1
        sounds = []
        for language, title in (("deu", "Stereo"), ("fra", "Commentary")):
            sound = film.add_stream("aac", rate=48000, layout="stereo")
            sound.metadata.update({"language": language, "title": title})
            sounds.append(sound)
        sounds[0].disposition = Disposition.default
        sounds[1].disposition = Disposition.comment
        text = film.add_stream("subrip")
        text.codec_context.subtitle_header = b"[Script Info]\r\n"
        text.codec_context.time_base = text.time_base = TICK
        text.metadata.update({"language": "spa", "title": "Todos"})
        text.disposition = Disposition.forced
        font = film.add_attachment("font.ttf", "font/ttf", b"not a font")
        font.metadata["language"] = "und"
        film.add_attachment("cover.jpg", "image/jpeg", cv2.imencode(".jpg", np.zeros((16, 16, 3)))[1].tobytes())
        film.set_chapters(
            [
                {"id": n + 1, "start": n * 200, "end": n * 200 + 200, "time_base": TICK, "metadata": {"title": name}}
                for n, name in enumerate(("One", "Two"))
            ]
        )
        for number, frame in enumerate(ramp(10, 128, 96)):
            image = frame.reformat(format="yuv420p10le", dst_colorspace=9)
            image.pts, image.time_base = number * 40, TICK
            film.mux(video.encode(image))
        film.mux(video.encode(None))
        for sound in sounds:
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 19200), np.float32), "fltp", "stereo")
            silence.sample_rate, silence.pts = 48000, 0
            film.mux(sound.encode(silence))
            film.mux(sound.encode(None))
        for start, words in ((50, b"<i>Hola</i>"), (250, "¿Qué?".encode())):
            packet = av.Packet(words)
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream, packet.is_keyframe = 100, TICK, text, True
            film.mux(packet)
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rich(tmp_path_factory.mktemp("film") / "rich.mkv")


def converted(
    film: Path, target: Path, layout: Layout | None = "half-sbs", start: float = 0.0, end: float | None = None
) -> tuple[str, ...]:
    reader = FaithfulFrames(look_at(film), start, end)
    frames = list(reader)
    paths = segments_of(frames, reader.look, target.parent, "libx265", cuts=[len(frames) // 2])
    return join(paths, Film(reader.clip, layout, reader.look.hdr, None, start, end), target)


def streams_of(path: Path) -> list[tuple]:
    with av.open(str(path)) as container:
        return [
            (
                s.type,
                s.metadata.get("language"),
                s.metadata.get("title"),
                int(s.disposition) & ~int(Disposition.default),
            )
            for s in container.streams
            if s.type in ("audio", "subtitle")
        ]


def packets_of(path: Path, kind: str, number: int = 0) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = getattr(container.streams, kind)[number]
        return [(round(float(p.pts * p.time_base), 3), bytes(p)) for p in container.demux(stream) if p.size]


def test_a_matroska_keeps_everything(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.mkv"
    assert converted(film, target) == ()
    assert streams_of(target) == streams_of(film)
    for kind, number in (("audio", 0), ("audio", 1), ("subtitles", 0)):
        assert packets_of(target, kind, number) == packets_of(film, kind, number)
    with av.open(str(film)) as before, av.open(str(target)) as after:
        assert after.chapters() == before.chapters()
        for key in ("title", "COMMENT"):
            assert after.metadata.get(key) == before.metadata.get(key)
        held = [
            [(s.name, s.mimetype, s.data) for s in one.streams if s.type == "attachment"] for one in (before, after)
        ]
        assert held[0] == held[1]
        covers = [[bytes(next(one.demux(s))) for s in one.streams.video[1:]] for one in (before, after)]
        assert covers[0] == covers[1]


def test_an_mp4_keeps_what_it_can_hold_and_the_rest_is_said(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "b.mp4"
    notes = converted(film, target)
    assert [note.split(" (")[0].split()[0] for note in notes] == ["attachment"]
    assert all("name the result .mkv to keep it" in note for note in notes)
    kept = [(kind, language) for kind, language, *_ in streams_of(target)]
    assert kept == [(kind, language) for kind, language, *_ in streams_of(film)]
    for number in (0, 1):
        sound = [content for _, content in packets_of(target, "audio", number)]
        assert sound == [content for _, content in packets_of(film, "audio", number)]
    words = [(time, data[2:].decode()) for time, data in packets_of(target, "subtitles") if len(data) > 2]
    assert words == [(0.05, "Hola"), (0.25, "¿Qué?")]
    with av.open(str(film)) as before, av.open(str(target)) as after:
        assert after.metadata["title"] == "A Film"
        assert [c["metadata"]["title"] for c in after.chapters()] == ["One", "Two"]
        times = [[float(c["start"] * c["time_base"]) for c in one.chapters()] for one in (before, after)]
        assert times[0] == times[1]


def test_a_film_goes_from_one_container_to_the_other_and_back(film: Path, tmp_path: Path) -> None:
    converted(film, tmp_path / "b.mp4", None)
    assert converted(tmp_path / "b.mp4", tmp_path / "c.mkv", None) == ()
    words = [(time, data.decode()) for time, data in packets_of(tmp_path / "c.mkv", "subtitles")]
    assert [word for _, word in words] == ["Hola", "¿Qué?"]
    with av.open(str(tmp_path / "c.mkv")) as after:
        assert [c["metadata"]["title"] for c in after.chapters()] == ["One", "Two"]
        assert not [s for s in after.streams if s.type == "data"]  # names of chapters are no track of their own


def starts_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [s.start_time * s.time_base for s in (*container.streams.video, *container.streams.audio)]


def delayed(source: Path, target: Path, seconds: Fraction) -> Path:
    """Pictures, sound, subtitles and chapters of a film, later."""
    with av.open(str(source)) as film, av.open(str(target), "w") as copy:
        wanted = [s for s in film.streams if s.type in ("video", "audio", "subtitle") and s.start_time is not None]
        streams = {
            s.index: copy.add_stream_from_template(s) for s in wanted if not s.disposition & Disposition.attached_pic
        }
        for chapter in (chapters := film.chapters()):
            chapter["start"] += round(seconds / chapter["time_base"])
            chapter["end"] += round(seconds / chapter["time_base"])
        copy.set_chapters(chapters)
        for packet in film.demux([film.streams[index] for index in streams]):
            if packet.size:
                shift = round(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = streams[packet.stream_index]
                copy.mux(packet)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_whose_clock_begins_late_gives_the_same(film: Path, tmp_path: Path, suffix: str) -> None:
    """Pictures and sound from 0 on, and nothing moves against anything else."""
    plain = tmp_path / "plain.mp4"
    converted(film, plain, None)
    late = delayed(plain, tmp_path / "late.mp4", Fraction(3, 2))
    assert min(starts_of(late)) > 1.4
    told = []
    for source in (plain, late):
        target = tmp_path / f"{source.stem}.made{suffix}"
        converted(source, target, None)
        kinds = ("video", "audio", "subtitles")  # two bytes: an MP4's time without words
        pictures, *others = ([time for time, data in packets_of(target, kind) if len(data) > 2] for kind in kinds)
        with av.open(str(target)) as container:
            chapters = [float(c["start"] * c["time_base"]) for c in container.chapters()]
        told.append(
            [[time - pictures[0] for each in more for time in each] for more in ((pictures, *others), [chapters])]
        )
        assert min(starts_of(target)) <= 0.001, source
    assert told[0][0] == pytest.approx(told[1][0], abs=0.002)
    # Coded sound begins 21 ms before the pictures; the first chapter begins with the file.
    assert told[0][1] == pytest.approx(told[1][1], abs=0.023)


def test_a_broadcast_begins_at_0(tmp_path: Path) -> None:
    source = delayed(write_clip(tmp_path / "a.mp4", ramp(6, 128, 96)), tmp_path / "a.ts", Fraction(3, 2))
    assert min(starts_of(source)) >= 1.5
    again(source, tmp_path / "b.mp4")
    assert starts_of(tmp_path / "b.mp4") == [0]


def test_a_matroska_of_one_stream_is_read_though_nobody_says_when_it_begins(film: Path, tmp_path: Path) -> None:
    with av.open(str(film)) as source, av.open(str(tmp_path / "a.mkv"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    again(tmp_path / "a.mkv", tmp_path / "b.mp4", "libx265")
    assert starts_of(tmp_path / "b.mp4") == [0]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_part_takes_its_part_of_everything(film: Path, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"b{suffix}"
    converted(film, target, None, 0.1, 0.3)
    got = [round(frame.time, 3) for frame in FaithfulFrames(look_at(target))]
    assert got == [0.0, 0.04, 0.08, 0.12, 0.16]  # 0.12 to 0.28 of the source
    subtitles = [(time, data) for time, data in packets_of(target, "subtitles") if len(data) > 2]
    zero = 0.0 if suffix == ".mp4" else packets_of(target, "video")[0][0]
    assert [round(time - zero, 3) for time, _ in subtitles] == [0.0, 0.13]  # one had begun; the other at 0.25
    with av.open(str(target)) as container:
        chapters = [
            (c["metadata"]["title"], round(float(c["start"] * c["time_base"]), 3)) for c in container.chapters()
        ]
        assert chapters == [("One", 0.0), ("Two", 0.08)]
        longest = max(float((p.pts + p.duration) * p.time_base) for p in container.demux(audio=0) if p.size)
    assert longest <= 0.2 + zero + 1024 / 48000


def test_debians_ffprobe_sees_all_streams_and_tags(film: Path, tmp_path: Path) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    target = tmp_path / "b.mkv"
    converted(film, target)
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_chapters", "-show_format", "-of", "json", str(target)]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    kinds = [stream["codec_type"] for stream in told["streams"]]
    assert kinds[:4] == ["video", "audio", "audio", "subtitle"]
    video = told["streams"][0]
    tags = {key: video[key] for key in ("pix_fmt", "color_space", "color_primaries", "color_transfer", "color_range")}
    assert tags == {
        "pix_fmt": "yuv420p10le",
        "color_space": "bt2020nc",
        "color_primaries": "bt2020",
        "color_transfer": "arib-std-b67",
        "color_range": "tv",
    }
    assert [stream["tags"]["language"] for stream in told["streams"][1:4]] == ["deu", "fra", "spa"]
    assert told["streams"][3]["disposition"]["forced"] == 1
    assert [chapter["tags"]["title"] for chapter in told["chapters"]] == ["One", "Two"]
    assert told["format"]["tags"]["title"] == "A Film"


# Subtitles.


@pytest.mark.parametrize(
    ("codec", "packet", "text"),
    [
        ("subrip", b"<i>one</i>\n<font color=red>two</font>", "one\ntwo"),
        ("subrip", b"2 < 3 > 1, a<b", "2 < 3 > 1, a<b"),
        ("ass", b"0,0,Default,,0,0,0,,{\\an8}one, two\\Nthree", "one, two\nthree"),
        ("webvtt", b"<v Roger>yes</v>", "yes"),
        ("mov_text", b"\x00\x03one\x00\x00\x00\x0cstyl", "one"),
        ("mov_text", b"\x00\x00", ""),
    ],
)
def test_words_come_without_fonts_and_colours(codec: str, packet: bytes, text: str) -> None:
    assert plain_text(codec, packet) == text


@given(st.text(max_size=40))
def test_timed_text_is_read_back(text: str) -> None:
    data = mov_text(text)
    assert struct.unpack_from(">H", data)[0] == len(data) - 2
    assert plain_text("mov_text", data) == text


# Real files.

REAL = [
    ("dog-example.mp4", ".mp4"),
    ("lady-running.mp4", ".mkv"),
    ("hdr10-av1.mp4", ".mp4"),
    ("hlg10-color-test.mp4", ".mp4"),
    ("sample.avi", ".mp4"),
    ("sample_android_slow_motion.mp4", ".mp4"),
    ("sample_rotate_and_reflect.mp4", ".mp4"),
    ("bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4", ".mp4"),
    ("bear-vp9-odd-dimensions.webm", ".mkv"),
    ("dolbyVision-hdr.MOV", ".mov"),
    ("h265_with_metadata_track.mp4", ".mp4"),
    ("sample_with_pgs_subtitles.mkv", ".mkv"),
    ("nasa_13013.mp4", ".mp4"),
]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "suffix"), REAL)
def test_a_real_film_comes_back_as_it_was(shared: Path, tmp_path: Path, name: str, suffix: str) -> None:
    """Times to the tick, tags, shape, sound as it was, and colours: within one level of what the codec holds.

    Colours that R'G'B' cannot hold (clipped at 0 or at white) are left out of the comparison.
    """
    reader = FaithfulFrames(look_at(shared / "data" / "videos_a" / name))
    encoder = "libx265" if reader.look.deep else "libx264"
    target = tmp_path / f"b{suffix}"
    reader, frames = again(shared / "data" / "videos_a" / name, target, encoder, count=3)
    back = FaithfulFrames(look_at(target))
    got = list(back)
    ticks = [frame.pts * reader.look.tick for frame in frames]
    if suffix != ".mkv":
        begin = max(0, min(starts_of(reader.clip.path)))
        assert [frame.pts * back.look.tick for frame in got] == [tick - begin for tick in ticks]
    since = [[round(1000 * (one - all_[0])) for one in all_] for all_ in (ticks, [f.pts * back.look.tick for f in got])]
    assert np.abs(np.subtract(*since)).max() <= (1 if suffix == ".mkv" else 0)
    for field in ("bits", "full_range", "matrix", "primaries", "transfer"):
        assert getattr(back.look, field) == getattr(reader.look, field), field
    assert abs(float(back.look.pixel_aspect / reader.look.pixel_aspect) - 1) < 0.002
    level = 257 if reader.look.deep else 1
    for before, after in zip(frames, got, strict=True):
        height, width = before.samples.shape[:2]
        error = np.abs(before.samples.astype(int) - after.samples[:height, :width].astype(int)).mean(axis=2) / level
        edge = ((before.samples == 0) | (before.samples >= 255 * level)).any(axis=2).astype(np.uint8)
        inside = cv2.dilate(edge, np.ones((9, 9), np.uint8)) == 0
        if inside.any():
            assert error[inside].mean() <= 1
            assert np.percentile(error[inside], 90) <= 1


@pytest.mark.shared
def test_two_sounds_and_a_second_picture_are_carried_over(shared: Path, tmp_path: Path) -> None:
    source, target = shared / "data" / "videos_a" / "nasa_13013.mp4", tmp_path / "b.mp4"
    again(source, target)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        kinds = [[s.type for s in one.streams] for one in (before, after)]
        assert kinds[0] == kinds[1]
        words = [[s.metadata.get("language") for s in one.streams] for one in (before, after)]
        assert words[0] == words[1]
