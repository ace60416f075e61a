"""Folders, globs and single pictures; EXIF is built here byte by byte."""

import math
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import VideoError
from recon.io.pictures import exif_numbers, fov_x_of_exif
from recon.io.source import Source
from recon.io.video import open_source
from recon.settings import SamplingSettings

ALL = SamplingSettings()
RED = (210, 40, 30)


def plain(rgb: tuple[int, ...] = RED, width: int = 32, height: int = 24) -> np.ndarray:
    return np.full((height, width, 3), rgb, np.uint8)


def save(path: Path, rgb: np.ndarray, *flags: int) -> Path:
    bgr = rgb if rgb.ndim == 2 else rgb[:, :, [2, 1, 0, *range(3, rgb.shape[2])]]
    good, data = cv2.imencode(path.suffix, bgr, flags)
    assert good
    path.write_bytes(data.tobytes())
    return path


def pictures_of(path: Path, sampling: SamplingSettings = ALL) -> list[np.ndarray]:
    return [frame.rgb for frame in open_source(path, sampling).frames()]


def halves() -> np.ndarray:
    """Red above, blue below."""
    picture = plain()
    picture[12:] = (20, 30, 220)
    return picture


# --- formats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".PNG"])
def test_each_format(tmp_path: Path, suffix: str) -> None:
    (picture,) = pictures_of(save(tmp_path / f"one{suffix}", halves()))
    assert picture.shape == (24, 32, 3)
    assert np.abs(picture.astype(int) - halves())[[2, -2]].max() <= 6


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    deep = np.full((24, 32, 3), (65535, 32768, 257), np.uint16)
    (picture,) = pictures_of(save(tmp_path / "deep.png", deep))
    assert np.abs(picture[5, 5].astype(float) - [255, 127.5, 1]).max() <= 1


def test_grey_becomes_rgb(tmp_path: Path) -> None:
    (picture,) = pictures_of(save(tmp_path / "grey.png", np.full((24, 32), 77, np.uint8)))
    assert (picture == 77).all()


def test_alpha_is_dropped(tmp_path: Path) -> None:
    (picture,) = pictures_of(save(tmp_path / "clear.png", np.full((24, 32, 4), (*RED, 0), np.uint8)))
    assert (picture == RED).all()


# --- folders and globs -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """picture_1 ... picture_12, each with its number as its red value, and things that are no pictures."""
    for number in range(1, 13):
        save(tmp_path / f"picture_{number}.png", plain((10 * number, 0, 0)))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._picture_3.png").write_bytes(b"what a Mac leaves behind")
    (tmp_path / "folder.png").mkdir()
    return tmp_path


def test_a_folder_in_natural_order(folder: Path) -> None:
    source = open_source(folder, ALL)
    assert isinstance(source, Source)
    frames = list(source.frames())
    assert [int(frame.rgb[0, 0, 0]) for frame in frames] == [10 * number for number in range(1, 13)]
    assert [frame.time for frame in frames] == pytest.approx([number / 30 for number in range(12)])
    assert (source.info.kind, source.info.width, source.info.height) == ("pictures", 32, 24)
    assert (source.info.rate, source.info.frame_count, source.info.notes) == (30, 12, ())
    assert source.info.duration == pytest.approx(0.4)


def test_a_glob(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for pattern in (folder / "picture_1*.png", Path("picture_1*.png"), Path("**/picture_1*")):
        assert [int(picture[0, 0, 0]) for picture in pictures_of(pattern)] == [10, 100, 110, 120]


def test_sampling_goes_by_the_picture_rate(folder: Path) -> None:
    source = open_source(folder, SamplingSettings(picture_rate=10, start=0.3, end=1.0, every=0.2))
    frames = list(source.frames())
    assert [frame.time for frame in frames] == pytest.approx([0.3, 0.5, 0.7, 0.9])
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert (source.info.rate, source.info.frame_count) == (5, 4)


def test_a_folder_with_depth_and_poses_beside_the_pictures(tmp_path: Path) -> None:
    for number in (2, 11):
        save(tmp_path / f"frame-{number:06}.color.jpg", plain())
        save(tmp_path / f"frame-{number:06}.depth.png", np.full((24, 32), 1000, np.uint16))
        (tmp_path / f"frame-{number:06}.pose.txt").write_text("1 0 0 0")
    source = open_source(tmp_path, ALL)
    assert len(list(source.frames())) == 2
    assert source.info.notes == ("2 of 4 pictures are taken: those named *.color.* or *.rgb.*",)
    assert source.times_by_name == pytest.approx({"frame-000002": 0.0, "frame-000011": 1 / 30})


def test_names_that_are_times_are_kept_whole(tmp_path: Path) -> None:
    for name in ("130503.175", "130503.211"):
        save(tmp_path / f"{name}.png", plain())
    assert list(open_source(tmp_path, ALL).times_by_name) == ["130503.175", "130503.211"]


def test_names_have_their_times_whatever_is_sampled(folder: Path) -> None:
    names = open_source(folder, SamplingSettings(start=0.2)).times_by_name
    assert len(names) == 12
    assert names["picture_1"] == 0


def test_the_real_folder(shared: Path) -> None:
    source = open_source(shared / "data" / "7scenes_redkitchen_a" / "frames", ALL)
    frame = next(source.frames())
    assert frame.rgb.shape == (source.info.height, source.info.width, 3) == (480, 640, 3)
    assert frame.rgb.std() > 20


# --- what is wrong -----------------------------------------------------------------------------------------------


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no pictures here"):
        open_source(tmp_path, ALL)
    with pytest.raises(VideoError, match="no pictures here"):
        open_source(tmp_path / "*.jpg", ALL)
    with pytest.raises(VideoError, match="no such file"):
        open_source(tmp_path / "away.jpg", ALL)


def test_pictures_of_two_sizes(folder: Path) -> None:
    save(folder / "picture_5.png", plain(width=30))
    with pytest.raises(VideoError, match=r"picture_5\.png: 30 x 24 pixels, but picture_1\.png has 32 x 24"):
        pictures_of(folder)


@pytest.mark.parametrize("content", [b"", b"no picture at all" * 30])
def test_a_file_that_is_no_picture(tmp_path: Path, content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.png: cannot be read as a picture"):
        open_source(path, ALL)
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_that_ends_too_early(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    path = save(tmp_path / "cut.jpg", noise)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(VideoError, match=r"cut\.jpg: the JPEG ends too early"):
        open_source(path, ALL)
    assert capfd.readouterr() == ("", "")


def test_a_picture_that_vanishes(folder: Path) -> None:
    source = open_source(folder, ALL)
    (folder / "picture_4.png").unlink()
    with pytest.raises(VideoError, match=r"picture_4\.png: cannot be read \(No such file"):
        list(source.frames())


def test_nothing_in_the_part_that_was_asked_for(folder: Path) -> None:
    with pytest.raises(VideoError, match=r"nothing between --start and --end: its 12 pictures last 0\.4 s"):
        open_source(folder, SamplingSettings(start=2))


# --- identity ----------------------------------------------------------------------------------------------------


def test_identity_follows_content_names_and_sampling(folder: Path) -> None:
    identity = open_source(folder, ALL).identity
    assert identity == open_source(folder, ALL).identity
    assert identity != open_source(folder, SamplingSettings(picture_rate=25)).identity
    assert identity != open_source(folder, SamplingSettings(every=0.1)).identity
    (folder / "picture_7.png").rename(folder / "picture_77.png")
    assert identity != open_source(folder, ALL).identity


def test_identity_does_not_follow_the_folder(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save(tmp_path / name / "a.png", plain())
    assert open_source(tmp_path / "one", ALL).identity == open_source(tmp_path / "two", ALL).identity


# --- EXIF --------------------------------------------------------------------------------------------------------

SHORT, LONG, RATIONAL = 3, 4, 5
Entry = tuple[int, int, float]


def directory(entries: list[Entry], place: int, order: str) -> bytes:
    """A TIFF directory that stands ``place`` bytes into the file (TIFF 6.0 section 2); rationals in thousandths."""
    head, tail = struct.pack(order + "H", len(entries)), b""
    after = place + 2 + 12 * len(entries) + 4
    for tag, kind, value in entries:
        if kind == RATIONAL:
            field = struct.pack(order + "I", after + len(tail))
            tail += struct.pack(order + "II", round(value * 1000), 1000)
        else:
            field = struct.pack(order + ("Hxx" if kind == SHORT else "I"), int(value))
        head += struct.pack(order + "HHI", tag, kind, 1) + field
    return head + bytes(4) + tail


def exif(entries: list[Entry], orientation: int = 1, order: str = "<") -> bytes:
    """A TIFF header, a first directory with the orientation, and the EXIF directory."""
    main = directory([(0x112, SHORT, orientation), (0x8769, LONG, 38)], 8, order)
    assert 8 + len(main) == 38
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "I", 8) + main + directory(entries, 38, order)


def with_exif(path: Path, block: bytes) -> Path:
    data = path.read_bytes()
    segment = b"Exif\0\0" + block
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:])
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation(tmp_path: Path, orientation: int) -> None:
    """EXIF 2.32 tag 274: what the first row and the first column of the stored picture are, when shown."""
    row, column = {1: "tl", 2: "tr", 3: "br", 4: "bl", 5: "lt", 6: "rt", 7: "rb", 8: "lb"}[orientation]
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:8], stored[:, :8] = (200, 0, 0), (0, 0, 200)
    (shown,) = pictures_of(with_exif(save(tmp_path / "turned.jpg", stored), exif([], orientation)))
    down, across = shown.shape[0] // 2, shown.shape[1] // 2
    middle = {"t": (1, across), "b": (-2, across), "l": (down, 1), "r": (down, -2)}
    assert shown.shape[:2] == ((32, 48) if orientation < 5 else (48, 32))
    assert shown[middle[row]].astype(float) == pytest.approx([200, 0, 0], abs=25)
    assert shown[middle[column]].astype(float) == pytest.approx([0, 0, 200], abs=25)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("orientation", "size"), [(1, (48, 32)), (6, (32, 48))])
def test_focal_length_in_35_mm_film_refers_to_the_diagonal(
    tmp_path: Path, order: str, orientation: int, size: tuple[int, int]
) -> None:
    path = save(tmp_path / "phone.jpg", plain(width=48, height=32))
    info = open_source(with_exif(path, exif([(0xA405, SHORT, 26)], orientation, order)), ALL).info
    assert (info.width, info.height) == size
    pixels = 26 / math.hypot(36, 24) * math.hypot(*size)
    assert info.fov_x == pytest.approx(2 * math.degrees(math.atan(size[0] / 2 / pixels)))


def test_focal_length_and_the_density_of_the_sensor(tmp_path: Path) -> None:
    """50 mm on a sensor of 6000 pixels and 36 mm sees 39.6 degrees, however much the picture was shrunk since."""
    density = 6000 / 3.6
    entries = [(0x920A, RATIONAL, 50), (0xA002, LONG, 6000), (0xA20E, RATIONAL, density), (0xA210, SHORT, 3)]
    path = with_exif(save(tmp_path / "camera.jpg", plain(width=48, height=32)), exif(entries))
    assert open_source(path, ALL).info.fov_x == pytest.approx(39.6, abs=0.01)


def test_no_focal_length_no_field_of_view(tmp_path: Path) -> None:
    assert open_source(save(tmp_path / "plain.jpg", plain()), ALL).info.fov_x is None
    assert open_source(save(tmp_path / "plain.png", plain()), ALL).info.fov_x is None
    assert fov_x_of_exif({0x920A: 4.2}, 640, 480) is None
    assert fov_x_of_exif({0xA405: 0.0}, 640, 480) is None


@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_read_as_exif_without_harm(noise: bytes, keep: int) -> None:
    for data in (noise, b"II*\0" + noise, b"\xff\xd8\xff\xe1" + noise, exif([(0xA405, SHORT, 26)])[:keep] + noise):
        assert all(isinstance(value, float) for value in exif_numbers(data).values())


def test_a_single_picture_by_time(tmp_path: Path) -> None:
    for number in range(4):
        picture = np.full((20, 30, 3), 60 * number, np.uint8)
        (tmp_path / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    source = open_source(tmp_path, SamplingSettings(picture_rate=2.0, end=1.0))
    assert [int(source.picture(time)[0, 0, 0]) for time in (0.0, 0.5, 0.6, 1.5)] == [0, 60, 120, 180]


def test_a_single_picture_after_the_last(folder: Path) -> None:
    with pytest.raises(VideoError, match="no picture from 100 s on"):
        open_source(folder, SamplingSettings()).picture(100.0)
