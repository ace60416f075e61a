"""What says "this is 3D": bytes as the standards write them, put into files and read back by others."""

import json
import shutil
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import cv2
import numpy as np
import pytest
from clips import write_clip, yuv_frame
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import FormatError
from recon.io.clip import look_at
from recon.io.stereo import boxes, ebml, sei
from recon.io.stereo.boxes import View, box, boxes_in, changed, stereo_boxes, with_boxes
from recon.io.stereo.encode import Encoding, SegmentWriter, coder_for
from recon.io.stereo.frames import FaithfulFrames
from recon.io.stereo.hdr import Hdr10, Light, Mastering
from recon.io.stereo.join import Film, join
from recon.io.stereo.layout import (
    Arrangement,
    Packing,
    arrangement_of,
    layout_from,
    stereo_mode_of,
)
from recon.io.stereo.names import NameStyle, layout_in_name, named
from recon.io.stereo.sei import Framing, Message, NalCodec, escaped, frame_packing, sei_nal, unescaped
from recon.io.stereo.signals import as_ffmpeg_reads, looks_packed, signals_of
from recon.types import Colours, Layout, PairLayout

SIDE, OVER = Arrangement("side"), Arrangement("over")


# Frame packing, by hand from H.264 7.3.2.3 / D.1.26 and H.265 D.2.16.


def test_the_frame_packing_message_of_h264_is_that_of_the_standard() -> None:
    # id 0: 1, cancel 0, type 0000011, quincunx 0, interpretation 000001, six flags 0, four grid positions 0,
    # reserved byte 0, repetition 1: 010, extension 0; 50 bits, so a 1 and five 0 fill the byte.
    bits = "10000001100000010000000000000000000000000000000100100000"
    message = frame_packing(SIDE, "h264", half=True)
    assert message == (45, int(bits, 2).to_bytes(7, "big"))


def test_the_frame_packing_message_of_hevc_ends_with_two_flags() -> None:
    # ... persistence 1, upsampled_aspect_ratio_flag; 48 bits, so nothing has to be filled.
    bits = "10000010000000010000000000000000000000000000001"
    for half in (True, False):
        message = frame_packing(OVER, "hevc", half=half)
        assert message == (45, int(bits + str(int(half)), 2).to_bytes(6, "big"))


def test_hevc_has_no_word_for_woven_eyes_and_h264_has() -> None:
    assert frame_packing(Arrangement("rows"), "hevc", half=False) is None
    rows = frame_packing(Arrangement("rows"), "h264", half=False)
    assert rows is not None
    assert rows.payload[:2] == bytes([0b10000001, 0b00000001])


def test_a_checkerboard_is_quincunx_and_has_no_grid_positions() -> None:
    bits = "1000000001000001000000000000000100100000"
    message = frame_packing(Arrangement("checker"), "h264", half=False)
    assert message == (45, int(bits[:40], 2).to_bytes(5, "big"))


@given(
    packing=st.sampled_from(["side", "over", "rows", "columns", "checker"]),
    right_first=st.booleans(),
    half=st.booleans(),
    codec=st.sampled_from(["h264", "hevc"]),
)
def test_what_a_frame_packing_message_says_is_read_back(
    *, packing: Packing, right_first: bool, half: bool, codec: NalCodec
) -> None:
    message = frame_packing(Arrangement(packing, right_first), codec, half=half)
    if message is None:
        assert codec == "hevc"
        assert packing in ("rows", "columns", "checker")
    else:
        assert sei.arrangement_of_packing(message.payload) == Arrangement(packing, right_first)


def test_a_message_that_cancels_says_nothing() -> None:
    assert sei.arrangement_of_packing(bytes([0b11100000])) is None
    with pytest.raises(FormatError, match="cut short"):
        sei.arrangement_of_packing(bytes([0b10000000]))


def test_our_message_is_the_one_of_x264(tmp_path: Path) -> None:
    for value, arrangement in (("3", SIDE), ("4", OVER), ("1", Arrangement("columns")), ("0", Arrangement("checker"))):
        options = {"x264-params": f"frame-packing={value}"}
        path = write_clip(tmp_path / "x.mp4", [yuv_frame((80, 128, 128), 64, 48)], options=options)
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            framing = Framing.of("h264", stream.codec_context.extradata)
            packet = next(bytes(p) for p in container.demux(stream) if p.size)
        messages = dict(framing.messages(packet))
        assert Message(45, messages[45]) == frame_packing(arrangement, "h264", half=True)


# NAL units.


def test_three_bytes_that_look_like_a_start_code_are_prevented() -> None:
    assert escaped(bytes.fromhex("000001")) == bytes.fromhex("00000301")
    assert escaped(bytes.fromhex("000000000003")) == bytes.fromhex("0000030000030003")
    assert escaped(bytes.fromhex("000004")) == bytes.fromhex("000004")


@given(st.lists(st.integers(0, 4), max_size=60).map(bytes))
def test_emulation_prevention_is_undone_and_leaves_no_start_code(payload: bytes) -> None:
    out = escaped(payload)
    assert all(pattern not in out for pattern in (b"\0\0\0", b"\0\0\1", b"\0\0\2"))
    assert unescaped(out) == payload


@given(
    st.lists(st.tuples(st.integers(0, 600), st.binary(max_size=300)), min_size=1, max_size=3),
    st.sampled_from(["h264", "hevc"]),
    st.sampled_from([0, 2, 4]),
    st.lists(st.binary(min_size=3, max_size=40), max_size=3),
)
def test_messages_put_into_a_packet_are_read_back_and_the_rest_stays(
    messages: list[tuple[int, bytes]], codec: NalCodec, length_size: int, others: list[bytes]
) -> None:
    framing = Framing(codec, length_size)
    slice_nal = (b"\x65" if codec == "h264" else b"\x26\x01") + b"picture"
    parameters = [(b"\x67" if codec == "h264" else b"\x42\x01") + escaped(other) for other in others]
    wanted = [*parameters, slice_nal]

    def framed(nal: bytes) -> bytes:
        return (len(nal).to_bytes(length_size, "big") if length_size else b"\0\0\1") + nal

    nal = sei_nal([Message(*message) for message in messages], codec)
    packet = framing.inserted(b"".join(framed(unit) for unit in wanted), nal)
    assert list(framing.nals(packet)) == [*parameters, nal, slice_nal]
    assert list(framing.messages(packet)) == messages


def test_a_packet_without_a_slice_is_refused() -> None:
    with pytest.raises(FormatError, match="no slice"):
        Framing("h264", 4).inserted(bytes.fromhex("0000000267ff"), b"\x06")
    with pytest.raises(FormatError, match="cut short"):
        list(Framing("h264", 4).nals(bytes.fromhex("0000000967ff")))


# Boxes.


def test_the_boxes_of_side_by_side_are_those_of_google_and_apple() -> None:
    st3d = bytes.fromhex("0000000d") + b"st3d" + bytes.fromhex("0000000002")
    stri = bytes.fromhex("0000000d") + b"stri" + bytes.fromhex("0000000003")
    hero = bytes.fromhex("0000000d") + b"hero" + bytes.fromhex("0000000001")
    blin = bytes.fromhex("00000010") + b"blin" + bytes.fromhex("000000000000f618")  # 63,000 micrometres
    cams = bytes.fromhex("00000018") + b"cams" + blin
    dadj = bytes.fromhex("00000010") + b"dadj" + bytes.fromhex("0000000000000000")
    cmfy = bytes.fromhex("00000018") + b"cmfy" + dadj
    eyes = struct.pack(">I", 8 + 13 + 13 + 24 + 24) + b"eyes" + stri + hero + cams + cmfy
    prji = bytes.fromhex("00000010") + b"prji" + bytes.fromhex("00000000") + b"rect"
    pkin = bytes.fromhex("00000010") + b"pkin" + bytes.fromhex("00000000") + b"side"
    proj, pack = (bytes.fromhex("00000018") + kind + inner for kind, inner in ((b"proj", prji), (b"pack", pkin)))
    vexu = struct.pack(">I", 8 + len(eyes) + 48) + b"vexu" + eyes + proj + pack
    hfov = bytes.fromhex("0000000c") + b"hfov" + bytes.fromhex("0000f7bc")  # 63.420 degrees
    assert stereo_boxes("full-sbs", View(63.42, 0.063)) == st3d + vexu + hfov


def test_vr180_is_the_middle_half_of_a_sphere() -> None:
    made = stereo_boxes("vr180")
    (equi,) = boxes.bodies(made, [b"sv3d", b"proj", b"equi"])
    assert equi == bytes(4) + struct.pack(">4I", 0, 0, 0x3FFFFFFF, 0x3FFFFFFF)
    assert next(iter(boxes.bodies(made, [b"vexu", b"proj", b"prji"])))[4:] == b"hequ"
    assert list(boxes.bodies(made, [b"hfov"])) == [struct.pack(">I", 180_000)]


def test_crossed_eyes_are_told_where_there_is_a_word() -> None:
    made = stereo_boxes("cross-eyed")
    assert [found.kind for found in boxes_in(made)] == [b"vexu"]
    assert next(iter(boxes.bodies(made, [b"vexu", b"eyes", b"stri"])))[4] == 0x0B


@pytest.mark.parametrize(
    "layout", ["anaglyph", "separate", "rgbd", "hdmi-frame-packing", "row-interlaced", "checkerboard"]
)
def test_mp4_has_no_boxes_for_the_rest(layout: Layout) -> None:
    assert stereo_boxes(layout) == b""


trees = st.recursive(
    st.tuples(st.sampled_from([b"free", b"udta", b"stco"]), st.binary(max_size=20), st.booleans()),
    lambda inner: st.tuples(st.sampled_from([b"trak", b"mdia"]), st.lists(inner, max_size=3), st.booleans()),
    max_leaves=8,
)


def built(tree: Any) -> bytes:
    kind, content, large = tree
    body = content if isinstance(content, bytes) else b"".join(built(child) for child in content)
    if large:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def grown(tree: Any, path: tuple[bytes, ...]) -> Any:
    kind, content, large = tree
    if kind != path[0]:
        return tree
    if len(path) == 1 and isinstance(content, bytes):
        return kind, content + b"more", large
    if len(path) == 1:
        return kind, [*content, (b"more", b"", False)], large
    if isinstance(content, bytes):
        return tree
    return kind, [grown(child, path[1:]) for child in content], large


@given(st.lists(trees, max_size=3), st.sampled_from([(b"trak",), (b"trak", b"mdia"), (b"trak", b"mdia", b"stco")]))
def test_surgery_changes_what_lies_at_the_path_and_all_sizes_above(forest: list[Any], path: tuple[bytes, ...]) -> None:
    def change(body: bytes) -> bytes:
        return body + b"more" if path[-1] == b"stco" else body + struct.pack(">I4s", 8, b"more")

    def expected(tree: Any) -> Any:
        return grown(tree, path)

    data = b"".join(built(tree) for tree in forest)
    assert changed(data, path, change) == b"".join(built(expected(tree)) for tree in forest)
    assert changed(data, path, lambda body: body) == data


def entry(kind: bytes = b"avc1") -> bytes:
    return box(kind, bytes(78), box(b"avcC", b"config"))


def movie(places: list[int], *, wide: bool = False) -> bytes:
    """A ``moov`` of one track of pictures whose pieces lie at ``places``."""
    form, kind = (">Q", b"co64") if wide else (">I", b"stco")
    table = box(kind, bytes(4), struct.pack(">I", len(places)), b"".join(struct.pack(form, p) for p in places))
    stbl = box(b"stbl", box(b"stsd", bytes(4), struct.pack(">I", 1), entry()), table)
    hdlr = box(b"hdlr", bytes(8), b"vide", bytes(13))
    return box(b"moov", box(b"mvhd", bytes(100)), box(b"trak", box(b"mdia", hdlr, box(b"minf", stbl))))


def places_in(data: bytes) -> list[int]:
    stbl = next(boxes.bodies(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl"]))
    for kind, form in ((b"stco", ">I"), (b"co64", ">Q")):
        for body in boxes.bodies(stbl, [kind]):
            return [value for (value,) in struct.iter_unpack(form, body[8:])]
    return []


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("large", [True, False])
def test_the_index_still_points_to_the_media(tmp_path: Path, *, first: bool, wide: bool, large: bool) -> None:
    ftyp, media = box(b"ftyp", b"isom"), b"..picture one..picture two"
    mdat = struct.pack(">I4sQ", 1, b"mdat", len(media) + 16) + media if large else box(b"mdat", media)
    ahead = len(ftyp) + (len(movie([0, 0], wide=wide)) if first else 0)
    starts = [ahead + mdat.index(text) for text in (b"picture one", b"picture two")]
    moov = movie(starts, wide=wide)
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    source.write_bytes(ftyp + (moov + mdat if first else mdat + moov) + box(b"free", b"tail"))
    with_boxes(source, target, stereo_boxes("full-tb"))
    data = target.read_bytes()
    assert [data[place:][:11] for place in places_in(data)] == [b"picture one", b"picture two"]
    assert [found.kind for found in boxes_in(data)] == [b"ftyp", b"moov", b"mdat", b"free"]
    (stsd,) = boxes.bodies(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"])
    (visual,) = boxes_in(stsd, 8)
    inner = [found.kind for found in boxes_in(stsd[visual.body + 78 : visual.end])]
    assert inner == [b"avcC", b"st3d", b"vexu"]


def test_places_beyond_four_gigabytes_get_a_table_of_64_bits() -> None:
    old = boxes.Box(b"moov", 0, 8, 0)
    last = (1 << 32) - 10
    moov = movie([8, last])
    media = boxes.Box(b"mdat", 0, 8, 1 << 33)
    placed = boxes._placed(moov, old, [], [media])
    assert places_in(placed) == [8 + len(placed), last + len(placed)]


def test_surgery_says_where_it_cannot(tmp_path: Path) -> None:
    source, target = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for data, message in (
        (movie([]) + box(b"moof", b""), "one piece"),
        (box(b"moov", box(b"trak", b"")), "no video track"),
        (movie([400]) + box(b"mdat", b""), "outside of the media"),
        (movie([])[:-8], "cut short"),
    ):
        source.write_bytes(data)
        with pytest.raises(FormatError, match=message):
            with_boxes(source, target, stereo_boxes("full-sbs"))


# Whole files, read by ours, by PyAV and by Debian's ffprobe.


def ffprobe(path: Path, *fields: str) -> dict:
    """What Debian's FFmpeg, another version than PyAV's, says."""
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    command = ["ffprobe", "-v", "error", "-select_streams", "v:0", *fields, "-of", "json", str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = [av.VideoFrame.from_ndarray(texture(320, 192, seed), "rgb24") for seed in range(4)]
    return write_clip(tmp_path_factory.mktemp("source") / "film.mp4", frames, pix_fmt="yuv420p")


def made(source: Path, target: Path, layout: Layout, encoder: str = "libx264", colours: Colours = "red-cyan") -> Path:
    """The source coded as it is, and said to be of a layout."""
    frames = FaithfulFrames(look_at(source))
    look = frames.look
    encoding = Encoding(encoder, preset="12" if encoder == "libsvtav1" else "ultrafast")
    coder = coder_for(encoding, look, look.width, look.height)
    segment = target.with_name("segment")
    with SegmentWriter(segment, look, (look.width, look.height), coder, encoding, layout) as writer:
        for frame in frames:
            writer.write(frame.samples, frame.pts, frame.duration)
    join([segment], Film(frames.clip, layout, look.hdr, View(60.0, 0.063), colours=colours), target)
    return target


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("encoder", ["libx264", "libx265", "libsvtav1"])
@pytest.mark.parametrize(("layout", "kind"), [("half-sbs", "side by side"), ("full-tb", "top and bottom")])
def test_every_reader_sees_the_layout(
    source: Path, tmp_path: Path, suffix: str, encoder: str, layout: Layout, kind: str
) -> None:
    if (suffix, encoder) == (".mov", "libsvtav1"):
        pytest.skip("QuickTime has no AV1")
    path = made(source, tmp_path / f"film{suffix}", layout, encoder)
    wanted = arrangement_of(layout)
    signals = signals_of(path)
    assert signals.agree
    expected = {"Matroska StereoMode"} if suffix == ".mkv" else {"MP4 st3d", "MP4 vexu", "MP4 hfov"}
    expected |= {"libx264": {"H.264 frame packing"}, "libx265": {"HEVC frame packing"}}.get(encoder, set())
    assert {signal.source for signal in signals.found} == expected
    read = as_ffmpeg_reads(path)
    assert read is not None
    assert read.arrangement == wanted
    (stream,) = ffprobe(path, "-show_entries", "stream_side_data")["streams"]
    assert kind in [data.get("type") for data in stream["side_data_list"]]


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_the_frames_speak_where_the_container_is_lost(source: Path, tmp_path: Path, encoder: str) -> None:
    path = made(source, tmp_path / "film.mkv", "half-sbs", encoder)
    raw = tmp_path / ("film.264" if encoder == "libx264" else "film.265")
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-c", "copy", raw], check=True) if shutil.which(
        "ffmpeg"
    ) else pytest.skip("needs ffmpeg")
    (frame,) = ffprobe(raw, "-read_intervals", "%+#1", "-show_frames", "-show_entries", "frame")["frames"]
    assert "Stereo 3D" in [data["side_data_type"] for data in frame["side_data_list"]]


@pytest.mark.parametrize(
    ("layout", "mode"),
    [
        ("half-sbs", 1),
        ("full-sbs", 1),
        ("half-tb", 3),
        ("checkerboard", 5),
        ("row-interlaced", 7),
        ("column-interlaced", 9),
        ("anaglyph", 10),
        ("cross-eyed", 11),
        ("rgbd", None),
        ("hdmi-frame-packing", None),
        ("separate", None),
    ],
)
def test_matroska_has_a_number_for_each_layout(source: Path, tmp_path: Path, layout: Layout, mode: int | None) -> None:
    path = made(source, tmp_path / "film.mkv", layout)
    assert ebml.stereo_mode(path) == mode
    arrangement = arrangement_of(layout)
    assert (ebml.arrangement_of_number(mode or 0) == arrangement) or layout == "vr180"
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata.get("stereo_mode") == stereo_mode_of(layout)


@pytest.mark.parametrize(
    ("colours", "mode", "word"),
    [
        ("red-cyan", 10, "anaglyph_cyan_red"),
        ("green-magenta", 12, "anaglyph_green_magenta"),
        ("amber-blue", None, None),
    ],
)
def test_an_anaglyph_claims_its_own_colours_alone(
    source: Path, tmp_path: Path, colours: Colours, mode: int | None, word: str | None
) -> None:
    path = made(source, tmp_path / "film.mkv", "anaglyph", colours=colours)
    assert ebml.stereo_mode(path) == mode
    words = [signal.text for signal in signals_of(path).found]
    assert words == ([f"anaglyph of {word[9:].replace('_', ' and ')}"] if word else [])
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata.get("stereo_mode") == word


@pytest.mark.parametrize(
    ("layout", "aspect"),
    [
        ("half-sbs", 2),
        ("full-sbs", 1),
        ("half-tb", Fraction(1, 2)),
        ("full-tb", 1),
        ("anaglyph", 1),
        ("row-interlaced", 1),
        ("column-interlaced", 1),
        ("checkerboard", 1),
        ("hdmi-frame-packing", 1),
    ],
)
def test_matroska_shows_one_eye_in_its_own_shape(
    source: Path, tmp_path: Path, layout: Layout, aspect: Fraction
) -> None:
    path = made(source, tmp_path / "film.mkv", layout)
    assert look_at(path).display_size  # still a video
    with av.open(str(path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == aspect
    (stream,) = ffprobe(path, "-show_entries", "stream=sample_aspect_ratio")["streams"]
    assert Fraction(stream["sample_aspect_ratio"].replace(":", "/")) == aspect


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_vr180_is_read_as_a_part_of_a_sphere(source: Path, tmp_path: Path, suffix: str) -> None:
    path = made(source, tmp_path / f"film{suffix}", "vr180")
    signals = signals_of(path)
    assert signals.layout == "vr180"
    assert signals.agree
    assert "equirectangular, cut by 0.000, 0.000, 0.250, 0.250" in [signal.text for signal in signals.found]
    (stream,) = ffprobe(path, "-show_entries", "stream_side_data")["streams"]
    sides = {data["side_data_type"]: data for data in stream["side_data_list"]}
    assert sides["Stereo 3D"]["type"] == "side by side"
    assert sides["Spherical Mapping"]["projection"] == "tiled equirectangular"


@pytest.mark.parametrize("title", [None, "Hälfte", "x" * 100])
def test_a_sphere_in_matroska_leaves_the_rest_of_the_track_alone(
    source: Path, tmp_path: Path, title: str | None
) -> None:
    """Titles of which the size takes one byte or two; what other tracks say; where the frames are."""
    named_source = tmp_path / "source.mkv"
    with av.open(str(source)) as film, av.open(str(named_source), "w") as target:
        stream = target.add_stream_from_template(film.streams.video[0])
        stream.metadata.update({"title": title} if title else {})
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    path, flat = (made(named_source, tmp_path / f"{layout}.mkv", layout) for layout in ("vr180", "full-sbs"))
    with av.open(str(path)) as one, av.open(str(flat)) as other:
        assert one.streams.video[0].metadata.get("title") == title
        assert dict(one.streams.video[0].metadata) == dict(other.streams.video[0].metadata)
        assert [bytes(p) for p in one.demux()] == [bytes(p) for p in other.demux()]
    assert ebml.projection(flat) is None
    with pytest.raises(FormatError, match="no room"):
        ebml.set_half_sphere(flat, boxes.HALF_SPHERE)


@pytest.mark.parametrize("layout", ["vr180", "full-sbs", "full-tb", "anaglyph"])
def test_the_checksum_of_a_matroska_is_right_after_surgery(source: Path, tmp_path: Path, layout: Layout) -> None:
    """RFC 8794 section 11.3.1: of all that follows in the same element, least byte first."""
    data = made(source, tmp_path / "film.mkv", layout).read_bytes()
    tracks = data.rindex(bytes.fromhex("1654ae6b"), 0, data.index(bytes.fromhex("1f43b675")))  # before the frames
    length = 9 - data[tracks + 4].bit_length()
    size = int.from_bytes(data[tracks + 4 : tracks + 4 + length], "big") & ((1 << 7 * length) - 1)
    body = data[tracks + 4 + length :][:size]
    assert body[:2] == bytes.fromhex("bf84")
    assert zlib.crc32(body[6:]).to_bytes(4, "little") == body[2:6]


def test_signals_that_contradict_each_other_are_seen(source: Path, tmp_path: Path) -> None:
    path = made(source, tmp_path / "film_TBF_fulltb.mkv", "half-sbs")
    signals = signals_of(path)
    assert not signals.agree
    assert signals.layout in ("half-sbs", "full-sbs")


@pytest.mark.parametrize("layout", ["half-sbs", "half-tb"])
def test_pixels_of_twice_the_size_say_that_eyes_are_squeezed(source: Path, tmp_path: Path, layout: Layout) -> None:
    """Matroska has to say so; who takes the film apart has to know."""
    signals = signals_of(made(source, tmp_path / "film.mkv", layout))
    assert signals.pixel_aspect == {"half-sbs": 2, "half-tb": 0.5}[layout]
    assert signals.layout == layout


def with_views(source: Path, target: Path, *, packed: bool, layered: bool) -> Path:
    """The source, said to hold two eyes."""
    pack = box(b"pack", box(b"pkin", bytes(4), b"side")) if packed else b""
    vexu = box(b"vexu", box(b"eyes", box(b"stri", bytes(4), b"\x03")), pack)
    with_boxes(source, target, (box(b"lhvC", bytes(30)) if layered else b"") + vexu)
    return target


@pytest.mark.parametrize(
    ("packed", "layered", "views"), [(False, True, True), (False, False, True), (True, False, False)]
)
def test_two_views_in_one_stream_are_told(
    source: Path, tmp_path: Path, *, packed: bool, layered: bool, views: bool
) -> None:
    signals = signals_of(with_views(source, tmp_path / "film.mp4", packed=packed, layered=layered))
    assert signals.multiview == views
    told = [signal.text for signal in signals.found if signal.source == "MP4 MV-HEVC"]
    assert told == (["two views in one stream: only the first eye can be decoded here"] if views else [])


@pytest.mark.shared
def test_a_real_film_of_two_views_is_told_and_nothing_stops(shared: Path) -> None:
    """Its frames carry something that PyAV has no name for."""
    path = shared / "data" / "videos_a" / "water_180_mvhevc_5frames.mov"
    assert signals_of(path).multiview
    read = as_ffmpeg_reads(path)
    assert read is not None
    assert "not known" in read.text


def test_a_plain_video_says_nothing(source: Path) -> None:
    assert signals_of(source).found == ()
    assert signals_of(source).layout is None
    assert as_ffmpeg_reads(source) is None


def test_hdr10_is_read_back_by_pyav_and_by_ffprobe(source: Path, tmp_path: Path) -> None:
    point = Fraction(1, 50000)
    mastering = Mastering(
        (35400 * point, 14600 * point),
        (8500 * point, 39850 * point),
        (6550 * point, 2300 * point),
        (15635 * point, 16450 * point),
        Fraction(1, 200),
        Fraction(1000),
    )
    hdr = Hdr10(mastering, Light(900, 320))
    frames = FaithfulFrames(look_at(source))
    look = frames.look
    deep = type(look)(
        look.width,
        look.height,
        Fraction(1),
        10,
        full_range=False,
        matrix=9,
        primaries=9,
        transfer=16,
        hdr=hdr,
        tick=look.tick,
        rate=look.rate,
        interlaced=False,
    )
    for encoder, suffix in (("libx265", ".mkv"), ("libx265", ".mp4"), ("libsvtav1", ".mkv"), ("libsvtav1", ".mp4")):
        encoding = Encoding(encoder, preset="12" if encoder == "libsvtav1" else "ultrafast")
        segment, path = tmp_path / "segment", tmp_path / f"{encoder}{suffix}"
        with SegmentWriter(segment, deep, (320, 192), coder_for(encoding, deep, 320, 192), encoding, None) as writer:
            for frame in frames:
                writer.write(frame.samples.astype(np.uint16) * 257, frame.pts)
        join([segment], Film(frames.clip, None, hdr), path)
        read = FaithfulFrames(look_at(path)).look
        assert read.hdr.light == hdr.light
        assert read.hdr.mastering is not None
        assert abs(read.hdr.mastering.green[1] - mastering.green[1]) <= Fraction(1, 10000)
        assert (read.matrix, read.primaries, read.transfer, read.bits) == (9, 9, 16, 10)
        (frame,) = ffprobe(path, "-read_intervals", "%+#1", "-show_frames", "-show_entries", "frame")["frames"]
        sides = {data["side_data_type"]: data for data in frame["side_data_list"]}
        assert sides["Content light level metadata"]["max_content"] == 900
        assert Fraction(sides["Mastering display metadata"]["max_luminance"]) == 1000


# Names and pictures.


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("Avatar.3D.HSBS.mkv", "half-sbs"),
        ("film_LRF_Full_SBS.mp4", "full-sbs"),
        ("film.3D.H-SBS.1080p.mkv", "half-sbs"),
        ("film_3dh.mp4", "full-sbs"),
        ("film.3D.HTAB.mkv", "half-tb"),
        ("film 3D half-ou.mkv", "half-tb"),
        ("film_TBF_fulltb.mp4", "full-tb"),
        ("trip_180x180_LR.mp4", "vr180"),
        ("trip_LR_180.mp4", "vr180"),
        ("film_LR.mp4", "full-sbs"),
        ("film_RLF_cross.mp4", "cross-eyed"),
        ("film_RGBD.mp4", "rgbd"),
        ("The.Tab.Key.mp4", "full-tb"),
        ("Route 180.mp4", None),
        ("ou est le film.mp4", None),
        ("pets-bsides.mp4", None),
        ("IMG_3D.mp4", None),
    ],
)
def test_names_are_read_as_players_read_them(name: str, layout: Layout | None) -> None:
    assert layout_in_name(Path(name)) == layout


LAYOUTS = (*get_args(PairLayout), "vr180", "rgbd", "anaglyph")


@pytest.mark.parametrize("style", ["auto", "iw3", "kodi", "deovr", "plain"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_name_that_is_given_is_read_back(style: NameStyle, layout: Layout) -> None:
    path = named(Path("/films/my film.mp4"), layout, style, ".mkv")
    assert path.parent == Path("/films")
    assert path.name.startswith("my film")
    assert path.suffix == ".mkv"
    read = layout_in_name(path)
    said, wanted = (arrangement_of(one) if one else None for one in (read, layout))
    assert said is None or wanted is None or style == "kodi" or said == wanted
    assert read is not None


def test_a_name_claims_no_colours_that_are_not_there() -> None:
    assert named(Path("a.mp4"), "anaglyph", "iw3", ".mkv").name == "a_redcyan.mkv"
    assert named(Path("a.mp4"), "anaglyph", "iw3", ".mkv", "green-magenta").name == "a.3D.anaglyph.mkv"


@pytest.mark.parametrize("style", ["auto", "iw3", "kodi", "deovr", "plain"])
def test_eyes_on_their_own_are_called_as_the_film(style: NameStyle) -> None:
    for layout in ("separate", "wiggle"):
        assert named(Path("a.mp4"), layout, style, ".mkv").name == "a.mkv"


def test_kodi_and_jellyfin_find_their_words() -> None:
    assert named(Path("a.mp4"), "half-sbs", "auto", ".mkv").name == "a.3D.HSBS.mkv"
    assert named(Path("a.mp4"), "vr180", "deovr", ".mp4").name == "a_LR_180.mp4"


@given(packing=st.sampled_from(["side", "over"]), right_first=st.booleans(), aspect=st.floats(0.4, 6))
def test_a_layout_from_an_arrangement_has_that_arrangement(
    *, packing: Packing, right_first: bool, aspect: float
) -> None:
    arrangement = Arrangement(packing, right_first)
    back = arrangement_of(layout_from(arrangement, aspect))
    assert back is not None
    assert back.packing == packing
    assert back.right_first == (right_first and packing == "side")


def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two eyes of a real scene."""
    data = pytest.importorskip("skimage.data")
    left, right, _ = data.stereo_motorcycle()
    return left, right


@pytest.mark.parametrize("deep", [True, False])
def test_two_real_eyes_in_one_picture_are_seen(*, deep: bool) -> None:
    left, right = (eye.astype(np.uint16) * 257 if deep else eye for eye in pair())
    assert looks_packed([np.hstack([left[:, ::2], right[:, ::2]])]) == "half-sbs"
    assert looks_packed([np.hstack([left, right])]) == "full-sbs"
    assert looks_packed([np.vstack([left[::2], right[::2]])]) == "half-tb"
    assert looks_packed([np.vstack([left, right])]) == "full-tb"
    assert looks_packed([np.hstack([left, right])], 2.0) == "half-sbs"
    assert looks_packed([np.vstack([left, right])], 0.5) == "half-tb"
    for rows, width, gap in ((720, 1280, 30), (1080, 1920, 45)):
        eyes = [cv2.resize(eye, (width, rows)) for eye in (left, right)]
        between = np.zeros((gap, width, 3), left.dtype)
        assert looks_packed([np.vstack([eyes[0], between, eyes[1]])]) == "hdmi-frame-packing"


def test_one_eye_and_symmetric_or_repeating_pictures_are_not_taken_for_two() -> None:
    left, _ = pair()
    half = left[:, : left.shape[1] // 2]
    columns = np.tile(texture(512, 4)[:1], (288, 1, 1))
    rows = np.tile(texture(4, 288)[:, :1], (1, 512, 1))
    board = np.kron(np.indices((9, 16)).sum(0) % 2, np.ones((32, 32)))[..., None].repeat(3, 2).astype(np.uint8) * 200
    flat = np.full((288, 512, 3), 90, np.uint8)
    for picture in (left, np.hstack([half, half[:, ::-1]]), columns, rows, board, flat):
        assert looks_packed([picture]) is None


def test_all_pictures_must_agree() -> None:
    left, right = pair()
    packed = np.hstack([left, right])
    black = np.zeros_like(packed)
    plain = cv2.resize(left, packed.shape[1::-1])
    assert looks_packed([packed, black]) == "full-sbs"
    assert looks_packed([packed, plain]) is None
    assert looks_packed([black, black]) is None


@pytest.mark.shared
def test_none_of_the_real_flat_videos_is_taken_for_3d(shared: Path) -> None:
    for path in sorted((shared / "data" / "videos_a").glob("*.m[opk]*")):
        if path.name in ("sample_audio_only_15s.mp4", "long_1080p_videoonly_lowbitrate.mp4", "portrait_4k60.mp4"):
            continue
        frames = iter(FaithfulFrames(look_at(path)))
        pictures = [frame.samples for _, frame in zip(range(2), frames, strict=False)]
        frames.close()
        assert looks_packed(pictures) is None, path
        assert signals_of(path).layout is None, path
