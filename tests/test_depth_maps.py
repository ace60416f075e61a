"""Depth maps as files: foreign ones are read right or refused in one line, our own come back."""

import json
import struct
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from recon.errors import FormatError, MissingPackageError, OptionError
from recon.io.depth import DepthFolder, MapFormat, holds_maps, read_depth_map
from recon.io.depth_writer import MapSpec, depth_writer, png_scale
from recon.io.ffv1 import grey_writer
from recon.io.preview import colorize, robust_range
from recon.types import DepthMap, Quantity

NAN = np.nan
DEPTH = np.array([[1.0, 2.5, NAN], [0.25, 12.0, 65.0]], np.float32)


def png_of(path: Path, numbers: np.ndarray) -> Path:
    """A grey PNG of 16 bits, byte by byte from the standard (ISO/IEC 15948), without OpenCV."""

    def block(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width = numbers.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in numbers)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    blocks = block(b"IHDR", header) + block(b"IDAT", zlib.compress(rows)) + block(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + blocks)
    return path


def exr_of(path: Path, **channels: np.ndarray) -> Path:
    exr = pytest.importorskip("OpenEXR")
    with exr.File({"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}, channels) as file:
        file.write(str(path))
    return path


def npz_of(path: Path, **content: np.ndarray) -> Path:
    np.savez(path, allow_pickle=True, **content)
    return path


def npy_of(path: Path, content: np.ndarray) -> Path:
    np.save(path, content)
    return path


def pfm_of(path: Path, content: np.ndarray, order: str = "<") -> Path:
    height, width = content.shape
    header = f"Pf\n{width} {height}\n{'-' if order == '<' else ''}1.0\n".encode()
    path.write_bytes(header + content[::-1].astype(f"{order}f4").tobytes())
    return path


# One file


def test_png_is_number_over_scale_and_0_and_65535_are_unknown(tmp_path: Path) -> None:
    path = png_of(tmp_path / "a.png", np.array([[0, 1, 1000], [65534, 65535, 2500]]))
    np.testing.assert_array_equal(
        read_depth_map(path, scale=1000.0), np.array([[NAN, 0.001, 1], [65.534, NAN, 2.5]], np.float32)
    )
    assert read_depth_map(path, scale=5000.0)[1, 2] == np.float32(0.5)  # TUM RGB-D
    np.testing.assert_array_equal(
        np.isnan(read_depth_map(path, scale=1.0, quantity="disparity")).nonzero(), ([0, 1], [0, 1])
    )


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda p, m: npy_of(p / "a.npy", m), id="npy"),
        pytest.param(lambda p, m: npy_of(p / "a.npy", m.astype(np.float64)), id="npy float64"),
        pytest.param(lambda p, m: npy_of(p / "a.npy", np.asfortranarray(m)), id="npy fortran"),
        pytest.param(lambda p, m: npz_of(p / "a.npz", depth=m), id="npz depth"),
        pytest.param(lambda p, m: npz_of(p / "a.npz", depths=m, confidence=m), id="npz depths"),
        pytest.param(lambda p, m: npz_of(p / "a.npz", whatever=m, time=np.float64(3)), id="npz"),
        pytest.param(lambda p, m: pfm_of(p / "a.pfm", m), id="pfm"),
        pytest.param(lambda p, m: pfm_of(p / "a.pfm", m, ">"), id="pfm big-endian"),
        pytest.param(lambda p, m: exr_of(p / "a.exr", Z=m), id="exr Z"),
        pytest.param(lambda p, m: exr_of(p / "a.exr", Y=m), id="exr Y"),
        pytest.param(lambda p, m: exr_of(p / "a.exr", depth=m), id="exr, its only channel"),
        pytest.param(lambda p, m: exr_of(p / "a.exr", R=m, G=m + 1, B=m + 2), id="exr RGB"),
    ],
)
def test_float_formats_give_the_value_itself(tmp_path: Path, write: Callable[[Path, np.ndarray], Path]) -> None:
    path = write(tmp_path, DEPTH)
    for scale in (1.0, 1000.0):  # of no account
        values = read_depth_map(path, scale=scale)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, DEPTH)


def test_pfm_agrees_with_opencv(tmp_path: Path) -> None:
    path = pfm_of(tmp_path / "a.pfm", DEPTH)
    theirs = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(read_depth_map(path, scale=1.0), theirs)


def test_png_agrees_with_opencv(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).integers(1, 65535, (7, 5)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", numbers)[1].tobytes())
    np.testing.assert_array_equal(
        read_depth_map(tmp_path / "a.png", scale=1000.0),
        read_depth_map(png_of(tmp_path / "b.png", numbers), scale=1000.0),
    )


def test_half_floats_in_exr(tmp_path: Path) -> None:
    path = exr_of(tmp_path / "a.exr", Z=DEPTH.astype(np.float16))
    np.testing.assert_array_equal(read_depth_map(path, scale=1.0), DEPTH)  # each of these is a half


@pytest.mark.parametrize("suffix", ["npy", "exr", "pfm", "npz"])
def test_what_is_unknown_in_depth_and_in_disparity(tmp_path: Path, suffix: str) -> None:
    values = np.array([[np.inf, -np.inf, NAN, 0], [-1, -0.0, 1e-6, 1e30]], np.float32)
    path = tmp_path / f"a.{suffix}"
    write = {"npy": npy_of, "pfm": pfm_of, "npz": lambda p, m: npz_of(p, x=m), "exr": lambda p, m: exr_of(p, Z=m)}
    write[suffix](path, values)  # type: ignore[operator]
    np.testing.assert_array_equal(
        read_depth_map(path, scale=1.0), np.array([[NAN] * 4, [NAN, NAN, 1e-6, 1e30]], np.float32)
    )
    np.testing.assert_array_equal(
        read_depth_map(path, scale=1.0, quantity="disparity"),
        np.array([[NAN, NAN, NAN, 0], [-1, 0, 1e-6, 1e30]], np.float32),
    )


def test_whole_numbers_in_npy_are_scaled_like_png(tmp_path: Path) -> None:
    path = npy_of(tmp_path / "a.npy", np.array([[0, 1500, 65535]], np.uint16))
    np.testing.assert_array_equal(read_depth_map(path, scale=1000.0), [[NAN, 1.5, NAN]])


def test_what_float32_cannot_hold_is_unknown(tmp_path: Path) -> None:
    assert np.isnan(read_depth_map(npy_of(tmp_path / "a.npy", np.full((2, 2), 1e300)), scale=1.0)).all()


def text(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda p: p / "a.png", "there is no such file"),
    "jpeg": (lambda p: text(p / "a.jpg", b"..."), "no format of depth maps; known are .exr, .npy, .npz, .pfm, .png"),
    "png broken": (lambda p: text(p / "a.png", b"hello"), "cannot be read as PNG"),
    "png empty": (lambda p: text(p / "a.png", b""), "cannot be read as PNG"),
    "png 8 bit": (
        lambda p: text(p / "a.png", cv2.imencode(".png", np.zeros((2, 2), np.uint8))[1].tobytes()),
        "a depth map is grey with 16 bits; this is grey with 8 bits, a picture perhaps",
    ),
    "png colour": (
        lambda p: text(p / "a.png", cv2.imencode(".png", np.zeros((2, 2, 3), np.uint16))[1].tobytes()),
        "a depth map is grey with 16 bits; this is colour with 16 bits, a picture perhaps",
    ),
    "npy broken": (lambda p: text(p / "a.npy", b"hello"), "cannot be read as NPY"),
    "npy empty": (lambda p: text(p / "a.npy", b""), "cannot be read as NPY"),
    "npy object": (lambda p: npy_of(p / "a.npy", np.array([[None]])), "cannot be read as NPY"),
    "npy complex": (lambda p: npy_of(p / "a.npy", np.zeros((2, 2), complex)), "holds complex128, not real numbers"),
    "npy bool": (lambda p: npy_of(p / "a.npy", np.zeros((2, 2), bool)), "holds bool, not real numbers"),
    "npy stack": (lambda p: npy_of(p / "a.npy", np.zeros((5, 2, 2))), "has the shape (5, 2, 2)"),
    "npy nothing": (lambda p: npy_of(p / "a.npy", np.zeros((0, 2))), "has the shape (0, 2)"),
    "npz broken": (lambda p: text(p / "a.npz", b"hello"), "cannot be read as NPZ"),
    "npz none": (lambda p: npz_of(p / "a.npz"), "which of its 0 arrays is the map? Name it depth"),
    "npz two": (lambda p: npz_of(p / "a.npz", a=DEPTH, b=DEPTH), "which of its 2 arrays is the map? Name it depth"),
    "npz other": (
        lambda p: npz_of(p / "a.npz", disparity=DEPTH),
        "holds disparity, but depth is expected: see --depth-kind",
    ),
    "npz object": (lambda p: npz_of(p / "a.npz", depth=np.array([[None]])), "cannot be read as NPZ"),
    "pfm broken": (lambda p: text(p / "a.pfm", b"hello"), "cannot be read as grey PFM"),
    "pfm colour": (lambda p: text(p / "a.pfm", b"PF\n1 1\n-1.0\n" + bytes(12)), "cannot be read as grey PFM"),
    "pfm short": (lambda p: text(p / "a.pfm", b"Pf\n2 2\n-1.0\n" + bytes(15)), "2 x 2 floats are 16 bytes"),
    "exr broken": (lambda p: text(p / "a.exr", b"hello"), "cannot be read as EXR"),
    "exr channels": (
        lambda p: exr_of(p / "a.exr", u=DEPTH, v=DEPTH),
        "none of the channels u, v is Z, Y or R",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_no_map_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    make, message = REFUSED[case]
    path = make(tmp_path)
    with pytest.raises(FormatError) as caught:
        read_depth_map(path, scale=1000.0)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_exr_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "OpenEXR", None)  # import raises ImportError
    with pytest.raises(MissingPackageError, match=r'pip install "recon-video\[exr\]"'):
        read_depth_map(text(tmp_path / "a.exr", b""), scale=1.0)


def test_a_real_map(shared: Path) -> None:
    values = read_depth_map(shared / "data/7scenes_redkitchen_a/frames/frame-000000.depth.png", scale=1000.0)
    assert values.shape == (480, 640)
    assert 0.8 < np.isfinite(values).mean() < 0.95  # NOTES.md there: 89.5 % over the sequence
    assert 0.3 < np.nanmin(values) < np.nanmax(values) < 10


# Many maps


def maps_of(count: int, size: tuple[int, int] = (4, 6), seed: int = 0) -> np.ndarray:
    maps = np.random.default_rng(seed).uniform(0.5, 8, (count, *size)).astype(np.float32)
    maps[:, 0, 0] = NAN
    return maps


def assert_maps(folder: DepthFolder, expected: np.ndarray) -> None:
    assert len(folder) == len(expected)
    for values, right in zip(folder.maps(range(len(folder))), expected, strict=True):
        np.testing.assert_array_equal(values, right)
    for number in (2, 0, len(expected) - 1, 1):  # and in any order
        np.testing.assert_array_equal(folder[number], expected[number])


def test_files_are_in_natural_order(tmp_path: Path) -> None:
    maps = maps_of(12)
    for number, values in enumerate(maps):
        npy_of(tmp_path / f"depth{number}.npy", values)
    (tmp_path / "notes.txt").write_text("no map")
    (tmp_path / ".hidden.npy").write_text("no map")
    folder = DepthFolder(tmp_path, scale=1.0)
    assert_maps(folder, maps)
    assert folder.match([float(i) for i in range(12)]) == list(range(12))


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed", "npz of VDA"])
def test_stacks(tmp_path: Path, kind: str) -> None:
    maps, path = maps_of(5), tmp_path / f"maps.{kind[:3]}"
    if kind == "npy":
        np.save(path, maps)
    elif kind == "npz compressed":
        np.savez_compressed(path, allow_pickle=False, depth=maps)
    else:
        npz_of(path, **({"depths": maps, "fps": np.array(24.0)} if "VDA" in kind else {"arr_0": maps}))
    folder = DepthFolder(path, scale=1.0)
    assert_maps(folder, maps)
    assert folder.match([0.0, 1.0, 2.0, 3.0, 4.0]) == [0, 1, 2, 3, 4]


def test_a_stack_with_times_is_matched_by_them(tmp_path: Path) -> None:
    folder = DepthFolder(npz_of(tmp_path / "a.npz", depth=maps_of(5), times=np.arange(5) / 10), scale=1.0)
    assert folder.match([0.1, 0.3]) == [1, 3]


def test_one_map_in_a_file_is_a_stack_of_one(tmp_path: Path) -> None:
    folder = DepthFolder(npy_of(tmp_path / "a.npy", DEPTH), scale=1.0)
    assert len(folder) == 1
    np.testing.assert_array_equal(folder[0], DEPTH)


def test_whole_numbers_in_a_stack_are_scaled(tmp_path: Path) -> None:
    folder = DepthFolder(npy_of(tmp_path / "a.npy", np.full((3, 2, 2), 1500, np.int32)), scale=1000.0)
    np.testing.assert_array_equal(folder[1], np.full((2, 2), 1.5, np.float32))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_stack_is_never_in_memory_as_a_whole(tmp_path: Path, compressed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    (np.savez_compressed if compressed else np.savez)(
        tmp_path / "a.npz", allow_pickle=False, depth=np.ones((64, 128, 128), np.float32)
    )
    folder = DepthFolder(tmp_path / "a.npz", scale=1.0)
    tracemalloc.start()
    total = sum(float(values.sum()) for values in folder.maps(range(64)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 64 * 128 * 128
    assert peak < 10 * 128 * 128 * 4


def test_pictures_and_maps_are_matched_by_name(tmp_path: Path) -> None:
    """Maps of every fifth picture, as in depth_in_color of our 7-Scenes extract; the pictures are sampled likewise."""
    for number in range(0, 30, 5):
        png_of(tmp_path / f"frame-{number:06d}.depth.png", np.full((2, 2), 1000 + number))
        (tmp_path / f"frame-{number:06d}.color.png").write_text("not looked at")
    times_by_name = {f"frame-{number:06d}": number / 30 for number in range(30)}
    folder = DepthFolder(tmp_path, scale=1000.0)
    numbers = folder.match([0.0, 10 / 30, 25 / 30], times_by_name)
    assert numbers == [0, 2, 5]
    assert [float(values[0, 0]) for values in folder.maps(numbers)] == [1.0, np.float32(1.01), np.float32(1.025)]
    with pytest.raises(FormatError, match=r"frame 1 \(frame-000003, 0.100 s\) has no depth map of its name"):
        folder.match([0.0, 3 / 30], times_by_name)


def test_names_that_do_not_agree_leave_the_order(tmp_path: Path) -> None:
    for number in range(3):
        npy_of(tmp_path / f"disp_{number}.npy", DEPTH)
    folder = DepthFolder(tmp_path, scale=1.0)
    assert folder.match([0.0, 1.0, 2.0], {"a": 0.0, "b": 1.0, "c": 2.0}) == [0, 1, 2]
    with pytest.raises(FormatError, match="3 depth maps for 2 frames: without times or the pictures' names they go by"):
        folder.match([0.0, 1.0], {"a": 0.0, "b": 1.0})


def test_two_kinds_of_maps_are_one_too_many(tmp_path: Path) -> None:
    npy_of(tmp_path / "a.npy", DEPTH)
    png_of(tmp_path / "a.png", np.ones((2, 2)))
    with pytest.raises(FormatError, match=r"holds .npy, .png: give a folder with one kind"):
        DepthFolder(tmp_path, scale=1.0)


def test_names_that_share_their_first_part_count_up_to_the_last_dot(tmp_path: Path) -> None:
    for time in ("1.25", "1.50"):
        npy_of(tmp_path / f"{time}.npy", DEPTH)
    assert DepthFolder(tmp_path, scale=1.0).match([1.5], {"1.25": 1.25, "1.50": 1.5}) == [1]


def test_no_maps(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="there are no depth maps"):
        DepthFolder(tmp_path, scale=1.0)
    with pytest.raises(FormatError, match="there is no such file or folder"):
        DepthFolder(tmp_path / "none", scale=1.0)
    with pytest.raises(FormatError, match="are a folder, a stack"):
        DepthFolder(png_of(tmp_path / "a.png", np.ones((2, 2))), scale=1.0)
    with pytest.raises(IndexError, match="there is no map 1 among 1"):
        DepthFolder(tmp_path, scale=1.0)[1]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 1)), r"float64 \(2, 3, 4, 1\)"),
        (np.zeros(7), r"float64 \(7,\)"),
        (np.asfortranarray(np.zeros((2, 3, 4))), "in Fortran order"),
        (np.zeros((2, 3, 4), complex), "complex128"),
        (np.zeros((2, 3, 4), object), "object"),
        (np.zeros((0, 3, 4)), "there are no depth maps"),
    ],
)
def test_no_stack(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(FormatError, match=message):
        DepthFolder(tmp_path / "a.npy", scale=1.0)


def test_damaged_stacks(tmp_path: Path) -> None:
    path = npy_of(tmp_path / "a.npy", maps_of(5))
    path.write_bytes(path.read_bytes()[:-30])
    folder = DepthFolder(path, scale=1.0)
    with pytest.raises(FormatError, match="ends within map 4 of 5"):
        list(folder.maps(range(5)))
    for name in ("b.npy", "b.npz"):
        with pytest.raises(FormatError, match="cannot be read as stack"):
            DepthFolder(text(tmp_path / name, b"hello"), scale=1.0)
    np.savez_compressed(tmp_path / "c.npz", allow_pickle=False, depth=maps_of(5, (64, 64)))
    content = bytearray((tmp_path / "c.npz").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    (tmp_path / "c.npz").write_bytes(content)
    folder = DepthFolder(tmp_path / "c.npz", scale=1.0)
    with pytest.raises(FormatError, match=r"c\.npz: "):
        list(folder.maps(range(5)))


@pytest.mark.parametrize("stack", [True, False])
def test_what_the_user_says_can_count_more_than_the_name_of_an_array(
    tmp_path: Path,
    stack: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """DepthCrafter calls its disparity `depth`; a reader that is not told so refuses it."""
    maps = np.array([[[0.0, 0.5], [1.0, 0.25]]], np.float32)
    path = npz_of(tmp_path / "a.npz", depth=maps if stack else maps[0])
    path = path if stack else tmp_path
    with pytest.raises(FormatError, match=r"holds depth, but disparity is expected: see --here$"):
        list(DepthFolder(path, scale=1.0, quantity="disparity", option="--here").maps([0]))
    folder = DepthFolder(path, scale=1.0, quantity="disparity", over_names=True)
    assert folder.quantity == "disparity"
    np.testing.assert_array_equal(folder[0], maps[0])  # 0 is far, not unknown


def test_the_array_of_the_right_name_is_taken_of_two(tmp_path: Path) -> None:
    maps = maps_of(2)
    path = npz_of(tmp_path / "a.npz", depth=maps, disparity=1 / maps)
    for over_names in (False, True):
        np.testing.assert_array_equal(DepthFolder(path, scale=1.0, over_names=over_names)[1], maps[1])
        inverse = DepthFolder(path, scale=1.0, quantity="disparity", over_names=over_names)
        np.testing.assert_array_equal(inverse[1], 1 / maps[1])


def test_what_a_folder_knows_of_its_maps(tmp_path: Path) -> None:
    for name in ("b.2.depth", "a_1"):
        npy_of(tmp_path / f"{name}.npy", DEPTH)
    (tmp_path / "empty").mkdir()
    assert holds_maps(tmp_path)
    assert not holds_maps(tmp_path / "empty")
    assert not holds_maps(tmp_path / "a_1.npy"), "no folder"
    folder = DepthFolder(tmp_path, scale=1.0)
    assert folder.units is None, "nobody says"
    assert (list(folder.names), folder.times) == (["b.2.depth"], None), "those named *.depth.* where there are any"
    stack = DepthFolder(npz_of(tmp_path / "s.npz", depth=maps_of(3), times=np.arange(3) / 2), scale=1.0)
    assert (list(stack.names), stack.times.tolist()) == ([], [0.0, 0.5, 1.0])  # type: ignore[union-attr]


def test_times_of_a_stack_must_fit(tmp_path: Path) -> None:
    for times in (np.arange(3), np.arange(4)[::-1], np.full(4, NAN)):
        path = npz_of(tmp_path / "a.npz", depth=maps_of(4), times=times)
        with pytest.raises(FormatError, match="its times are not one number for each of 4 maps"):
            DepthFolder(path, scale=1.0)


# Written and read again


def spec_of(kind: MapFormat, maps: np.ndarray, quantity: Quantity = "depth") -> MapSpec:
    low, high = float(np.nanmin(maps)), float(np.nanmax(maps))
    units = "metres" if quantity == "depth" else "relative"
    return MapSpec(kind, quantity, units, maps.shape[1:], (low, high), png_scale(quantity, (low, high)))  # type: ignore[arg-type]


def written(folder: Path, spec: MapSpec, maps: np.ndarray) -> Path:
    with depth_writer(folder, spec) as writer:
        for index, values in enumerate(maps):
            writer.write(index, index / 30, values)
    return folder


EXACT: tuple[MapFormat, ...] = ("npz", "exr")
KINDS: tuple[MapFormat, ...] = ("npz", "exr", "png", "ffv1")


def step_of(spec: MapSpec) -> float:
    return {"png": 1 / spec.scale, "ffv1": (spec.value_range[1] - spec.value_range[0]) / 65534}.get(spec.kind, 0.0)


@pytest.mark.parametrize("quantity", ["depth", "disparity"])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_come_back(tmp_path: Path, kind: MapFormat, quantity: Quantity) -> None:
    maps = maps_of(4)
    spec = spec_of(kind, maps, quantity)
    folder = DepthFolder(written(tmp_path / "depth", spec, maps), scale=123.0, quantity=quantity)  # the scale is known
    assert (len(folder), folder.units) == (4, spec.units)
    for number, values in enumerate(folder.maps(range(4))):
        np.testing.assert_array_equal(np.isnan(values), np.isnan(maps[number]))
        np.testing.assert_allclose(values, maps[number], rtol=1.2e-7 if step_of(spec) else 0, atol=step_of(spec) / 2)
    np.testing.assert_array_equal(folder[2], next(folder.maps([2])))
    assert folder.match([0.0, 2 / 30]) == [0, 2]  # a sampled video finds its own
    with pytest.raises(FormatError, match=r"frame 1 \(0.050 s\) has no depth map; the nearest is at 0.0[36][37] s"):
        folder.match([0.0, 0.05])


@given(
    maps=arrays(np.float32, (2, 3, 4), elements=st.floats(2**-9, 65.5, width=32) | st.just(NAN)),
    kind=st.sampled_from(KINDS),
)
@settings(max_examples=40)
def test_any_map_comes_back(tmp_path_factory: pytest.TempPathFactory, maps: np.ndarray, kind: MapFormat) -> None:
    bounds = (0.0, 65.5)
    spec = MapSpec(kind, "depth", "metres", (3, 4), bounds, png_scale("depth", bounds))
    folder = DepthFolder(written(tmp_path_factory.mktemp("any") / "depth", spec, maps), scale=1.0)
    for values, right in zip(folder.maps(range(2)), maps, strict=True):
        np.testing.assert_allclose(values, right, rtol=1.2e-7 if step_of(spec) else 0, atol=step_of(spec) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_two_runs_write_the_same_bytes(tmp_path: Path, kind: MapFormat) -> None:
    maps = maps_of(3)
    folders = [written(tmp_path / name, spec_of(kind, maps), maps) for name in "ab"]
    a, b = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert a == b


@pytest.mark.parametrize("kind", ["png", "ffv1"])
def test_what_16_bits_cannot_hold_is_unknown_and_counted(
    tmp_path: Path, kind: MapFormat, caplog: pytest.LogCaptureFixture
) -> None:
    maps = np.array([[[1.0, 70.0, NAN], [1e-5, -1.0, 65.0]]], np.float32)
    spec = MapSpec(kind, "depth", "metres", (2, 3), (0.5, 66.0))
    folder = written(tmp_path / "depth", spec, maps)
    values = DepthFolder(folder, scale=1.0)[0]
    np.testing.assert_allclose(values, [[1, NAN, NAN], [NAN, NAN, 65]], atol=1e-3)
    assert json.loads((folder / "depth.json").read_text())["lost"] == 3
    assert "3 values do not fit into 16 bits" in caplog.text


def test_png_scale() -> None:
    assert png_scale("depth", (0.3, 65.534)) == 1000
    assert png_scale("depth", (0.3, 655.34)) == pytest.approx(100)
    assert png_scale("disparity", (0.0, 32.767)) == pytest.approx(2000)
    assert png_scale("disparity", (0.0, 0.0)) == 1000


def test_other_programs_read_what_is_written(tmp_path: Path) -> None:
    maps = maps_of(2)
    with np.load(written(tmp_path / "npz", spec_of("npz", maps), maps) / "depth_000001.npz") as file:
        np.testing.assert_array_equal(file["depth"], maps[1])
        assert float(file["time"]) == 1 / 30
    png = np.fromfile(written(tmp_path / "png", spec_of("png", maps), maps) / "depth_000001.png", np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(png, cv2.IMREAD_UNCHANGED), np.nan_to_num(maps[1] * 1000).round())
    exr = pytest.importorskip("OpenEXR")
    with exr.File(str(written(tmp_path / "exr", spec_of("exr", maps), maps) / "depth_000001.exr")) as file:
        np.testing.assert_array_equal(file.channels()["Z"].pixels, maps[1])
    video = written(tmp_path / "ffv1", spec_of("ffv1", maps), maps) / "depth.mkv"
    with av.open(video) as container:
        tags, frames = container.metadata, list(container.decode(video=0))
    assert [frame.time for frame in frames] == [0, 0.033]
    codes = frames[1].to_ndarray()
    assert codes[0, 0] == 65535
    decoded = float(tags["RECON_OFFSET"]) + float(tags["RECON_STEP"]) * codes[1:]
    np.testing.assert_allclose(decoded, maps[1][1:], atol=float(tags["RECON_STEP"]) * 0.51)


def test_the_description_of_a_folder(tmp_path: Path) -> None:
    """The format that other programs may rely on."""
    maps = maps_of(2)
    folder = written(tmp_path / "depth", spec_of("png", maps), maps)
    assert sorted(path.name for path in folder.iterdir()) == ["depth.json", "depth_000000.png", "depth_000001.png"]
    assert json.loads((folder / "depth.json").read_text()) == {
        "format": "recon depth maps",
        "version": 1,
        "kind": "png",
        "quantity": "depth",
        "units": "metres",
        "height": 4,
        "width": 6,
        "scale": 1000.0,
        "frames": [[0, 0.0], [1, 1 / 30]],
        "lost": 0,
    }


def test_the_video_alone_is_enough(tmp_path: Path) -> None:
    maps = maps_of(4)
    folder = written(tmp_path / "depth", spec_of("ffv1", maps), maps)
    video = DepthFolder(folder, scale=1.0)
    alone = DepthFolder((folder / "depth.mkv").rename(tmp_path / "moved.mkv"), scale=1.0)
    assert alone.match([index / 30 for index in range(4)]) == [0, 1, 2, 3]  # by times to the millisecond
    with pytest.raises(FormatError, match="cannot be read as video"):
        list(video.maps([0]))
    np.testing.assert_allclose(alone[3], maps[3], atol=1e-4)
    with pytest.raises(FormatError, match="holds depth, but disparity is expected: see --depth-kind"):
        DepthFolder(tmp_path / "moved.mkv", scale=1.0, quantity="disparity")


def test_frames_at_almost_the_same_time_stay_apart(tmp_path: Path) -> None:
    maps = maps_of(3)
    times = [0.0, 0.0001, 0.0002]
    with depth_writer(tmp_path / "depth", spec_of("ffv1", maps)) as writer:
        for index, time in enumerate(times):
            writer.write(index, time, maps[index])
    folder = DepthFolder(tmp_path / "depth", scale=1.0)
    assert folder.match(times) == [0, 1, 2]
    np.testing.assert_allclose(folder[1], maps[1], atol=1e-4)


def test_videos_that_are_no_maps(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read as video"):
        DepthFolder(text(tmp_path / "a.mkv", b"hello"), scale=1.0)
    with av.open(tmp_path / "b.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode())
    with pytest.raises(FormatError, match="not a grey video of 16 bits"):
        DepthFolder(tmp_path / "b.mkv", scale=1.0)


def test_a_grey_video_must_say_what_its_grey_means(tmp_path: Path) -> None:
    with grey_writer(tmp_path / "a.mkv", (2, 2), {}) as write:
        write(np.ones((2, 2), np.uint16), 0)
    with pytest.raises(FormatError, match="does not say what its grey means"):
        DepthFolder(tmp_path / "a.mkv", scale=1.0)


def test_a_video_with_fewer_maps_than_described(tmp_path: Path) -> None:
    folder = written(tmp_path / "depth", spec_of("ffv1", maps_of(3)), maps_of(3))
    written(tmp_path / "short", spec_of("ffv1", maps_of(3)), maps_of(2))
    (tmp_path / "short" / "depth.mkv").replace(folder / "depth.mkv")
    with pytest.raises(FormatError, match="holds 2 of 3 maps"):
        DepthFolder(folder, scale=1.0)


def test_a_description_that_does_not_fit(tmp_path: Path) -> None:
    maps = maps_of(2)
    folder = written(tmp_path / "depth", spec_of("npz", maps), maps)
    with pytest.raises(FormatError, match="holds depth, but disparity is expected: see --depth-kind"):
        DepthFolder(folder, scale=1.0, quantity="disparity")
    (folder / "depth_000001.npz").unlink()
    with pytest.raises(FormatError, match=r"depth_000001\.npz: there is no such file"):
        list(DepthFolder(folder, scale=1.0).maps([0, 1]))
    (folder / "depth.json").write_text('{"format": "recon depth maps", "version": 2}')
    with pytest.raises(FormatError, match="this is not a description of depth maps that recon knows"):
        DepthFolder(folder, scale=1.0)


def test_a_folder_appears_whole_and_replaces_only_its_like(tmp_path: Path) -> None:
    maps = maps_of(2)
    spec = spec_of("npz", maps)
    with pytest.raises(ZeroDivisionError), depth_writer(tmp_path / "depth", spec) as writer:  # noqa: PT012
        writer.write(0, 0.0, maps[0])
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    written(tmp_path / "depth", spec, maps)
    written(tmp_path / "depth", spec, maps[:1])
    assert len(DepthFolder(tmp_path / "depth", scale=1.0)) == 1
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "holiday.jpg").write_text("precious")
    with pytest.raises(OptionError, match="pictures: holds something else"):
        written(tmp_path / "pictures", spec, maps)


@pytest.mark.parametrize(
    ("index", "time", "values"),
    [
        (0, 1.0, DEPTH),
        (1, 0.0, DEPTH),
        (1, 1.0, DEPTH[:1]),
        (1, 1.0, np.full_like(DEPTH, np.inf)),
    ],
)
def test_misuse_of_the_writer(tmp_path: Path, index: int, time: float, values: DepthMap) -> None:
    spec = MapSpec("npz", "depth", "metres", (2, 3), (0.0, 1.0))
    with depth_writer(tmp_path / "depth", spec) as writer:
        writer.write(0, 0.0, DEPTH)
        with pytest.raises(ValueError, match=r"does not come after|has the size"):
            writer.write(index, time, values)


def test_archives_hold_no_date_of_today(tmp_path: Path) -> None:
    maps = maps_of(1)
    with zipfile.ZipFile(written(tmp_path / "depth", spec_of("npz", maps), maps) / "depth_000000.npz") as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


# In colour


def test_near_is_warm_far_is_cold_unknown_is_black() -> None:
    disparity = np.array([[0.0, 1.0, NAN, 5.0, -5.0]], np.float32)
    far, near, unknown, nearer, farther = colorize(disparity, 0.0, 1.0)[0].astype(int)
    assert near[0] > 2 * near[2]  # red over blue
    assert far[2] > far[0]
    assert unknown.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(nearer, near)
    np.testing.assert_array_equal(farther, far)
    np.testing.assert_array_equal(colorize(10 - disparity, 10.0, 9.0), colorize(disparity, 0.0, 1.0))  # as for depth


def test_a_constant_map_has_one_colour() -> None:
    picture = colorize(np.full((2, 2), 3, np.float32), 3.0, 3.0)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) == 1


@given(values=arrays(np.float32, (3, 4), elements=st.floats(-(2.0**100), 2.0**100, width=32) | st.just(NAN)))
def test_any_map_has_colours(values: DepthMap) -> None:
    picture = colorize(values, float(np.nan_to_num(values).min()), float(np.nan_to_num(values).max()))
    np.testing.assert_array_equal((picture == 0).all(axis=2), np.isnan(values))


def test_robust_range_is_close_to_the_quantiles_of_everything() -> None:
    maps = np.random.default_rng(0).gamma(2, 3, (40, 60, 80)).astype(np.float32)
    maps[0, :5, :5] = 1e9  # outliers
    maps[:, 7] = NAN
    expected = np.nanquantile(maps, [0.01, 0.99])
    np.testing.assert_allclose(robust_range(maps), expected, rtol=0.03)


def test_robust_range_of_a_long_film_needs_little_memory_and_forgets_no_part() -> None:
    film = (np.full((8, 8), index, np.float32) for index in range(3000))
    low, high = robust_range(film)
    assert (low, high) == pytest.approx((30, 2970), abs=15)


def test_robust_range_of_nothing() -> None:
    assert robust_range([]) == (0.0, 0.0)
    assert robust_range([np.full((2, 2), NAN, np.float32)]) == (0.0, 0.0)
