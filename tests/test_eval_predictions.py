"""Depth made elsewhere: every layout that other programs write is found, and each frame gets its own map."""

import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.errors import FormatError
from recon.evaluation.datasets import data_set
from recon.evaluation.predictions import predictions_of
from recon.evaluation.protocol import PROTOCOLS
from recon.evaluation.truth import ClipSource, Reading, TruthClip, TruthFrame
from recon.io.depth import read_depth_map
from recon.io.depth_writer import MapSpec, depth_writer
from recon.io.pictures import read_picture
from recon.types import DepthMap, Picture, Quantity

SIZE = (4, 6)


def unread(path: Path) -> Picture:
    pytest.fail(f"{path} was read: matching needs names and times only")


def no_depth(path: Path) -> DepthMap:
    pytest.fail(f"{path} was read")


def clip_of(
    names: Sequence[str], *, name: str = "scene", pictures: Path = Path("/data/scene/rgb"), rate: float = 30.0
) -> TruthClip:
    """A clip of which nothing but names and times exists."""
    frames = tuple(TruthFrame(name, number / rate, pictures / f"{name}.png", None) for number, name in enumerate(names))
    return TruthClip(name, frames, unread, no_depth, {}, 10.0)


def maps_of(count: int) -> np.ndarray:
    """Float maps (n, 4, 6); map n holds values between n and n + 1, so that each is told from all others."""
    return (np.arange(count)[:, None, None] + np.random.default_rng(0).uniform(0.1, 0.9, (count, *SIZE))).astype("f4")


def assert_maps(
    clip: TruthClip, folder: Path, maps: np.ndarray, *, quantity: Quantity = "disparity", only: bool = False
) -> None:
    found = predictions_of(clip, folder, scale=1000.0, quantity=quantity, only=only)
    assert found.quantity == quantity
    assert len(found) == len(clip.frames) == len(maps)
    for _ in range(2):  # a second pass gives the same
        for ours, right in zip(found.maps(), maps, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_allclose(ours, right, atol=1e-3)
    for index in (len(maps) - 1, 0):
        np.testing.assert_allclose(found[index], maps[index], atol=1e-3)


NAMES = ("000012", "000015", "000018")
MAPS = maps_of(len(NAMES))
CLIP = clip_of(NAMES)

# What other programs write


def write_npy(folder: Path, names: Sequence[str], maps: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(names, maps, strict=True):
        np.save(folder / f"{name}.npy", values)


def write_npz(folder: Path, names: Sequence[str], maps: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(names, maps, strict=True):
        np.savez_compressed(folder / f"{name}.npz", allow_pickle=False, depth=values)


def write_png(folder: Path, names: Sequence[str], maps: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(names, maps, strict=True):
        content = cv2.imencode(".png", np.rint(values * 1000).astype(np.uint16))[1]
        (folder / f"{name}.png").write_bytes(content.tobytes())


def write_exr(folder: Path, names: Sequence[str], maps: np.ndarray) -> None:
    exr = pytest.importorskip("OpenEXR")
    folder.mkdir(parents=True)
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    for name, values in zip(names, maps, strict=True):
        with exr.File(header, {"Z": values}) as file:
            file.write(str(folder / f"{name}.exr"))


NUMBERS = ("frame_00000", "frame_00001", "frame_00002")

LAYOUTS: dict[str, Callable[[Path], object]] = {
    "a file for each frame, NPY": lambda p: write_npy(p / "scene", NAMES, MAPS),
    "a file for each frame, PNG": lambda p: write_png(p / "scene", NAMES, MAPS),
    "a file for each frame, with what it is in its name": lambda p: write_npz(
        p / "scene", [f"{name}_depth" for name in NAMES], MAPS
    ),
    "a file for each frame, by number": lambda p: write_npy(p / "scene", NUMBERS, MAPS),
    "Video Depth Anything, NPZ": lambda p: np.savez_compressed(p / "scene_depths.npz", depths=MAPS),
    "Video Depth Anything, EXR": lambda p: write_exr(p / "scene_depths_exr", NUMBERS, MAPS),
    "Video Depth Anything, benchmark": lambda p: write_npy(p / "scene" / "rgb", NAMES, MAPS),
    "Video Depth Anything, benchmark, with a folder above": lambda p: write_npy(p / "data/scene/rgb", NAMES, MAPS),
    "DepthCrafter, NPZ": lambda p: np.savez_compressed(p / "scene.npz", depth=MAPS),
    "DepthCrafter, EXR": lambda p: write_exr(p / "scene", NUMBERS, MAPS),
    "ChronoDepth": lambda p: np.save(p / "scene_depth.npy", MAPS),
    "Depth Any Video, saved by hand": lambda p: np.save(p / "scene.npy", MAPS),
    "Depth Anything V2, as DepthCrafter scores it": lambda p: np.savez(p / "scene.npz", disparity=MAPS),
    "half precision": lambda p: np.save(p / "scene.npy", MAPS.astype(np.float16)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_other_programs_write_is_found(tmp_path: Path, layout: str) -> None:
    LAYOUTS[layout](tmp_path)
    np.save(tmp_path / "another.npy", MAPS[::-1])
    maps = MAPS.astype(np.float16) if layout == "half precision" else MAPS
    assert_maps(CLIP, tmp_path, np.asarray(maps, np.float32))


def test_apples_depth_pro(tmp_path: Path) -> None:
    """Its command repeats the folders of the pictures and writes metres, as `depth`."""
    write_npz(tmp_path / "scene" / "rgb", NAMES, MAPS)
    assert_maps(CLIP, tmp_path, MAPS, quantity="depth")


def test_the_first_layout_that_is_there_counts(tmp_path: Path) -> None:
    np.save(tmp_path / "scene_depth.npy", MAPS[::-1])
    np.savez(tmp_path / "scene.npz", depth=MAPS)
    assert_maps(CLIP, tmp_path, MAPS)
    write_npy(tmp_path / "scene", NAMES, MAPS[::-1])
    assert_maps(CLIP, tmp_path, MAPS[::-1])


def test_the_folder_itself_where_there_is_one_clip(tmp_path: Path) -> None:
    write_npy(tmp_path, NAMES, MAPS)
    assert_maps(CLIP, tmp_path, MAPS, only=True)
    with pytest.raises(FormatError, match=r"holds no maps of the clip scene: .* are taken where a data set has one"):
        predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)


def test_a_file_where_there_is_one_clip(tmp_path: Path) -> None:
    np.savez(tmp_path / "whatever.npz", depth=MAPS)
    assert_maps(CLIP, tmp_path / "whatever.npz", MAPS, only=True)


def test_folders_repeated_tell_clips_apart(tmp_path: Path) -> None:
    """KITTI: the pictures of every drive are in image_02/data, and called alike."""
    clips = [
        clip_of(NAMES, name=drive, pictures=Path("/kitti/2011_09_26") / drive / "image_02/data")
        for drive in ("drive_0002_sync", "drive_0009_sync")
    ]
    for number, clip in enumerate(clips):
        write_npy(tmp_path / clip.name / "image_02/data", NAMES, MAPS + np.float32(10 * number))
    write_npy(tmp_path / "image_02/data", NAMES, MAPS + np.float32(100))
    for number, clip in enumerate(clips):
        assert_maps(clip, tmp_path, MAPS + np.float32(10 * number))
    other = clip_of(NAMES, name="drive_0013_sync", pictures=Path("/kitti/drive_0013_sync/image_02/data"))
    with pytest.raises(FormatError, match="drive_0013_sync"):
        predictions_of(other, tmp_path, scale=1.0, quantity="disparity", only=False)


def test_the_name_of_a_clip_may_be_the_end_of_its_folders(tmp_path: Path) -> None:
    """Bonn calls them all rgbd_bonn_SOMETHING."""
    clip = clip_of(NAMES, name="balloon2", pictures=Path("/bonn/rgbd_bonn_balloon2/rgb"))
    write_npy(tmp_path / "bonn/rgbd_bonn_balloon2/rgb", NAMES, MAPS)
    assert_maps(clip, tmp_path, MAPS)
    other = clip_of(NAMES, name="2", pictures=Path("/bonn/rgbd_bonn_balloon2/rgb"))
    with pytest.raises(FormatError, match="no maps of the clip 2"):
        predictions_of(other, tmp_path, scale=1.0, quantity="disparity", only=False)


def test_clips_whose_names_are_those_of_several_folders(tmp_path: Path) -> None:
    clip = clip_of(NAMES, name="office_seq-01", pictures=Path("/sevenscenes/office/seq-01"))
    write_npy(tmp_path / "office" / "seq-01", NAMES, MAPS)
    assert_maps(clip, tmp_path, MAPS)


# What recon writes


def write_own(folder: Path, kind: str, quantity: Quantity, maps: np.ndarray, rate: float = 30.0) -> Path:
    units = "metres" if quantity == "depth" else "relative"
    spec = MapSpec(kind, quantity, units, SIZE, (float(maps.min()), float(maps.max())))  # type: ignore[arg-type]
    with depth_writer(folder, spec) as writer:
        for index, values in enumerate(maps):
            writer.write(index, index / rate, values)
    return folder


@pytest.mark.parametrize("quantity", ["depth", "disparity"])
@pytest.mark.parametrize("kind", ["npz", "png", "exr", "ffv1"])
def test_what_recon_depth_wrote(tmp_path: Path, kind: str, quantity: Quantity) -> None:
    write_own(tmp_path / "scene", kind, quantity, MAPS)
    assert_maps(CLIP, tmp_path, MAPS, quantity=quantity)


def test_a_video_that_recon_depth_wrote_may_be_moved(tmp_path: Path) -> None:
    (write_own(tmp_path / "out", "ffv1", "disparity", MAPS) / "depth.mkv").rename(tmp_path / "scene.mkv")
    assert_maps(CLIP, tmp_path, MAPS)


def test_of_all_frames_of_a_video_those_of_the_clip_are_found_by_their_times(tmp_path: Path) -> None:
    """ScanNet-90 takes every third frame."""
    maps = maps_of(10)
    write_own(tmp_path / "scene", "npz", "disparity", maps)
    assert_maps(clip_of(["0", "3", "6", "9"], rate=10.0), tmp_path, maps[::3])


def test_times_of_another_clock_leave_the_number(tmp_path: Path) -> None:
    """`recon depth` on a folder of pictures counts 30 of them for each second, unless told otherwise."""
    write_own(tmp_path / "scene", "npz", "disparity", MAPS, rate=30.0)
    assert_maps(clip_of(NAMES, rate=29.0 / 3), tmp_path, MAPS)


@pytest.mark.parametrize("kind", ["npz", "ffv1"])
def test_what_recon_wrote_is_never_taken_for_something_else(tmp_path: Path, kind: str) -> None:
    write_own(tmp_path / "scene", kind, "depth", MAPS)
    with pytest.raises(FormatError, match="holds depth, but disparity is expected: see --prediction-kind"):
        predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)


@pytest.mark.parametrize("stack", [True, False])
def test_what_nobody_said_is_not_guessed(tmp_path: Path, stack: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """An array called depth is metres for most programs, and disparity for DepthCrafter: somebody must say so."""
    np.savez(tmp_path / "scene.npz", depth=MAPS) if stack else write_npz(tmp_path / "scene", NAMES, MAPS)
    with pytest.raises(FormatError, match="holds depth, but disparity is expected: see --prediction-kind"):
        list(predictions_of(CLIP, tmp_path, scale=1.0, quantity=None, only=False).maps())
    assert_maps(CLIP, tmp_path, MAPS, quantity="disparity")
    assert_maps(CLIP, tmp_path, MAPS, quantity="depth")


def test_disparity_0_is_far_and_depth_0_is_unknown(tmp_path: Path) -> None:
    """DepthCrafter and Depth Any Video give disparity in [0, 1], where 0 is the farthest."""
    np.savez(tmp_path / "scene.npz", depth=np.zeros((3, *SIZE), np.float32))
    assert (predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)[0] == 0).all()
    assert np.isnan(predictions_of(CLIP, tmp_path, scale=1.0, quantity="depth", only=False)[0]).all()


# Which map belongs to which frame

MARKS = ("", "_depth", ".depth", "-disp", "_pred", ".disparity", "_DEPTH")
WORDS = st.text("abc019_-.", min_size=1, max_size=6).filter(lambda name: name.strip("_-.") == name)


@given(names=st.lists(WORDS, min_size=1, max_size=7, unique=True), seed=st.integers(0, 9), mark=st.sampled_from(MARKS))
def test_names_survive_any_order_of_files(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], seed: int, mark: str
) -> None:
    """Whatever the order in which files are made or listed, and whatever more maps lie beside them."""
    folder, maps = tmp_path_factory.mktemp("any"), maps_of(len(names))
    for number in np.random.default_rng(seed).permutation(len(names)):
        write_npy(folder / "scene", [f"{names[number]}{mark}"], maps[number : number + 1])
    assert_maps(clip_of(names), folder, maps)
    write_npy(folder / "scene", [f"zzz{mark}"], maps[:1])
    assert_maps(clip_of(names), folder, maps)


@pytest.mark.parametrize(
    ("frame", "other", "files"),
    [
        ("frame-000007.color", "frame-000008.color", ("frame-000007.depth", "frame-000008.depth")),  # 7-Scenes
        ("1548266470.06527", "1548266470.09842", ("1548266470.06527", "1548266470.09842")),  # Bonn, TUM
        ("1548266470.06527", "1548266470.09842", ("1548266470.06527_depth", "1548266470.09842_depth")),
        ("000007_left", "000008_left", ("000007_left_depth", "000008_left_depth")),  # TartanAir
        ("rgb_00045", "rgb_00046", ("rgb_00045.pred.raw", "rgb_00046.pred.raw")),
    ],
)
def test_names_of_data_sets(tmp_path: Path, frame: str, other: str, files: tuple[str, str]) -> None:
    write_npy(tmp_path / "scene", files[::-1], MAPS[1::-1])
    assert_maps(clip_of([frame, other]), tmp_path, MAPS[:2])


def test_names_of_some_frames_only_are_an_error(tmp_path: Path) -> None:
    """KITTI's clips begin at frame 5; maps numbered from 0 would be paired five frames apart."""
    clip = clip_of([f"{number:010d}" for number in range(5, 15)])
    write_npy(tmp_path / "scene", [f"{number:010d}" for number in range(10)], maps_of(10))
    with pytest.raises(FormatError, match=r"only 5 of the 10 frames of scene have a map of their name \(0000000005,"):
        predictions_of(clip, tmp_path, scale=1.0, quantity="disparity", only=False)


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("stack", [True, False])
def test_numbers_must_agree(tmp_path: Path, count: int, stack: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """Depth Any Video leaves out its first and last frames."""
    maps, names = maps_of(count), [f"map{number}" for number in range(count)]
    np.save(tmp_path / "scene.npy", maps) if stack else write_npy(tmp_path / "scene", names, maps)
    with pytest.raises(FormatError, match=rf"{count} maps for the 3 frames of scene, .* \(000012, ...\)") as caught:
        predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)
    assert "\n" not in str(caught.value)


def test_no_predictions_for_a_clip(tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "scene_vis.mp4").write_text("coloured, so of no use")
    with pytest.raises(FormatError, match=r"no maps of the clip scene: they are looked for in scene/ and scene\.npz"):
        predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)
    with pytest.raises(FormatError, match="there is no such folder of predictions"):
        predictions_of(CLIP, tmp_path / "none", scale=1.0, quantity="disparity", only=True)


def test_a_damaged_map_is_found_when_it_is_read(tmp_path: Path) -> None:
    write_npy(tmp_path / "scene", NAMES, MAPS)
    (tmp_path / "scene" / "000015.npy").write_bytes(b"hello")
    found = predictions_of(CLIP, tmp_path, scale=1.0, quantity="disparity", only=False)
    with pytest.raises(FormatError, match=r"000015\.npy: cannot be read as NPY"):
        list(found.maps())


# Memory


@pytest.mark.parametrize("kind", ["npy", "npz", "npz compressed"])
def test_long_stacks_are_never_in_memory(tmp_path: Path, kind: str) -> None:
    """200 maps are read, twice, in the memory of a few."""
    count, size = 200, (96, 128)
    maps = np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, *size))
    if kind == "npy":
        np.save(tmp_path / "scene.npy", maps)
    else:
        save = np.savez_compressed if "compressed" in kind else np.savez
        save(tmp_path / "scene.npz", allow_pickle=False, depth=maps)
    clip = clip_of([f"{number}" for number in range(count)])
    predictions_of(clip, tmp_path, scale=1.0, quantity="disparity", only=False)[0]  # what is imported at first use
    tracemalloc.start()
    found = predictions_of(clip, tmp_path, scale=1.0, quantity="disparity", only=False)
    totals = [sum(float(values[0, 0]) for values in found.maps()) for _ in range(2)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert totals == [count * (count - 1) / 2] * 2
    assert peak < 12 * size[0] * size[1] * 4


# From a data set to another program and back


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two clips with names that sort badly as text, in pictures whose content says their number."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 35, 3), np.uint8)
    for clip in ("kitchen", "hall"):
        for kind in ("rgb", "depth"):
            (tmp_path / "data" / clip / kind).mkdir(parents=True)
        for number in (1, 2, 10):
            picture = np.roll(noise, number, axis=1)
            (tmp_path / "data" / clip / "rgb" / f"{number}.png").write_bytes(cv2.imencode(".png", picture)[1].tobytes())
            write_png(tmp_path / "data" / clip / "depth", [f"{number}"], np.full((1, 24, 35), number, np.float32))
    return tmp_path / "data"


def test_clips_are_written_for_other_programs_and_their_depth_is_found(data: Path, tmp_path: Path) -> None:
    """`docs/peers/clips.py`: what it writes is what recon sees; films decode to the very same pictures."""
    script = Path(__file__).parents[1] / "docs" / "peers" / "clips.py"
    command = [sys.executable, str(script), "folder", str(data), str(tmp_path / "clips")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    clips = {clip.name: clip for clip in data_set("folder").clips(data, Reading(PROTOCOLS["corrected"]))}
    assert clips.keys() == {"kitchen", "hall"}
    for name, clip in clips.items():
        seen = [frame.rgb for frame in ClipSource(clip).frames()]
        film = cv2.VideoCapture(str(tmp_path / "clips" / f"{name}.mp4"))
        for frame, picture in zip(clip.frames, seen, strict=True):
            np.testing.assert_array_equal(read_picture(tmp_path / "clips" / name / f"{frame.name}.png"), picture)
            np.testing.assert_array_equal(film.read()[1][..., ::-1], picture)
        assert not film.read()[0]
        film.release()
        np.savez(tmp_path / f"{name}_depths.npz", depths=np.stack([picture.mean(axis=2) for picture in seen]))
        found = predictions_of(clip, tmp_path, scale=1.0, quantity="disparity", only=False)
        for values, picture in zip(found.maps(), seen, strict=True):
            np.testing.assert_allclose(values, picture.mean(axis=2), rtol=1e-6)


# Real data


def test_a_real_sequence(shared: Path) -> None:
    """Kinect's depth as 7-Scenes has it, beside the pictures, taken for predictions of themselves."""
    folder = shared / "data" / "7scenes_redkitchen_a" / "frames"
    pictures = sorted(folder.glob("*.color.*"))[:3]
    frames = tuple(TruthFrame(path.stem, number / 30, path, None) for number, path in enumerate(pictures))
    clip = TruthClip("redkitchen", frames, read_picture, no_depth, {}, 10.0)
    found = predictions_of(clip, folder, scale=1000.0, quantity="depth", only=True)
    for picture, values in zip(pictures, found.maps(), strict=True):
        own = picture.with_name(picture.name.split(".")[0] + ".depth.png")
        np.testing.assert_array_equal(values, read_depth_map(own, scale=1000.0))
