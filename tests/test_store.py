"""The depth store: what it gives back, and that neither kill -9 nor damage can make it lie."""

import json
import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recon.errors import StoreError
from recon.io.ffv1 import HIGHEST, UNKNOWN, Coding
from recon.io.store import DepthStore, ShotSpan, StoredDepth, find_store
from recon.types import Checkpoint, Chunk, DepthEstimate, DepthMap, Quantity

KEY = {"source": "clip.mp4 4711", "network": "vda_vits", "depth.input_size": "518"}
SIZE = (12, 17)


def map_of(index: int, size: tuple[int, int] = SIZE) -> DepthMap:
    rng = np.random.default_rng(index)
    values = rng.random(size, np.float32) * (index + 1) - 3
    values[rng.random(size) < 0.1] = np.nan
    return values


def time_of(index: int) -> float:
    """A variable frame rate."""
    return index / 30 + 0.01 * (index % 3)


def chunk_of(first: int, count: int = 5, *, shot: int = 0) -> Chunk:
    estimates = [DepthEstimate(i, time_of(i), shot, map_of(i)) for i in range(first, first + count)]
    state = {"reference": map_of(first), "sums": np.array([first, np.pi])}
    return Chunk(tuple(estimates), Checkpoint(shot, first // count + 1, state))


def filled(folder: Path, chunks: int, *, finish: bool = True) -> Path:
    with DepthStore.open(folder, KEY, "disparity") as store:
        for number in range(chunks):
            store.append(chunk_of(5 * number, shot=number // 2))
        if finish:
            store.finish()
    return folder


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cloud.ply.recon"


# The coding


def assert_within_half_a_step(values: DepthMap, restored: DepthMap, coding: Coding) -> None:
    known = ~np.isnan(values)
    assert np.array_equal(known, ~np.isnan(restored))
    exact, got = values[known].astype(np.float64), restored[known].astype(np.float64)
    float32 = np.spacing(np.maximum(np.abs(values[known]), np.abs(restored[known]))).astype(np.float64)
    arithmetic = 4 * np.finfo(np.float64).eps * (np.abs(coding.offset) + HIGHEST * coding.step)  # float64's own
    assert (np.abs(got - exact) <= coding.step / 2 + float32 / 2 + arithmetic).all()


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False, allow_nan=True),
    )
)
def test_every_map_comes_back_within_half_a_step(values: DepthMap) -> None:
    coding = Coding.finest(values)
    assert_within_half_a_step(values, coding.values(coding.codes(values)), coding)


@given(arrays(np.float32, (4, 5), elements=st.floats(-100, 100, width=32)))
def test_the_step_is_the_finest_that_16_bits_allow(values: DepthMap) -> None:
    coding, codes = Coding.finest(values), Coding.finest(values).codes(values)
    spread = float(values.max()) - float(values.min())
    assert coding.step == spread / 65534
    assert codes.min() == 0
    assert codes.max() == (HIGHEST if spread else 0)


@pytest.mark.parametrize("size", [(255, 257), (256, 256), (1, 70_000)])
def test_every_code_is_the_same_value_in_maps_of_all_sizes(size: tuple[int, int]) -> None:
    """Large maps are looked up in a table of all codes, small ones are computed."""
    codes = np.resize(np.arange(UNKNOWN + 1, dtype=np.uint16), size)
    coding = Coding(-1.7, 3.3e-5)
    known = (coding.offset + coding.step * codes.astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(coding.values(codes), np.where(codes == UNKNOWN, np.float32(np.nan), known))


def test_codes_outside_are_unknown() -> None:
    codes = Coding(1.0, 0.5).codes(np.array([[0.7, 0.8, 1.0, 1 + 0.5 * HIGHEST, 1 + 0.5 * (HIGHEST + 1)]], np.float32))
    assert codes.tolist() == [[UNKNOWN, 0, 0, HIGHEST, UNKNOWN]]


def test_a_coding_of_one_value_holds_no_other() -> None:
    values = np.array([[-3.4e38, 0.0, 1.0, 1 + 2**-23, 3.4e38, np.nan]], np.float32)
    assert Coding(1.0, 0.0).codes(values).tolist() == [[UNKNOWN, UNKNOWN, 0, UNKNOWN, UNKNOWN, UNKNOWN]]


@pytest.mark.parametrize("value", [0.0, -2.5, 1e-45, 3.4e38, np.nan])
def test_constant_maps_are_exact(value: float) -> None:
    values = np.full((3, 4), value, np.float32)
    coding = Coding.finest(values)
    np.testing.assert_array_equal(coding.values(coding.codes(values)), values)


# What goes in comes out


def test_maps_come_back_in_order_with_their_times_and_shots(folder: Path) -> None:
    store = StoredDepth.read(filled(folder, 4))
    estimates = list(store.estimates())
    assert [e.index for e in estimates] == list(range(20))
    assert [e.time for e in estimates] == [time_of(i) for i in range(20)]
    assert [e.shot for e in estimates] == [0] * 10 + [1] * 10
    assert store.shots == [ShotSpan(0, 0, 10), ShotSpan(1, 10, 10)]
    assert (store.complete, store.frame_count, len(store), store.quantity) == (True, 20, 20, "disparity")
    assert store.key == KEY
    for index, estimate in enumerate(estimates):
        assert_within_half_a_step(map_of(index), estimate.values, Coding.finest(map_of(index)))


@pytest.mark.parametrize("start", [0, 1, 4, 5, 13, 19])
def test_reading_from_any_frame_on_gives_the_same_maps(folder: Path, start: int) -> None:
    store = StoredDepth.read(filled(folder, 4))
    everything = list(store.estimates())
    rest = list(store.estimates(start))
    assert [e.index for e in rest] == list(range(start, 20))
    for a, b in zip(everything[start:], rest, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.values, store[a.index].values)
    assert list(store.estimates(20)) == []


@given(time=st.floats(-1, 2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_by_time_is_the_nearest_frame(tmp_path: Path, time: float) -> None:
    folder = tmp_path / "a.recon"
    store = StoredDepth.read(folder if folder.exists() else filled(folder, 4))
    distances = [abs(time_of(i) - time) for i in range(20)]
    assert store.index_at(time) == int(np.argmin(distances))


def test_samples_are_evenly_spaced(folder: Path) -> None:
    store = StoredDepth.read(filled(folder, 4))
    assert [e.index for e in store.sampled(3)] == [0, 10, 19]
    assert [e.index for e in store.sampled(1)] == [0]
    assert [e.index for e in store.sampled(100)] == list(range(20))


def test_by_time(folder: Path) -> None:
    store = StoredDepth.read(filled(folder, 2))
    estimate = store.at(time_of(7) + 0.001)
    assert (estimate.index, estimate.time) == (7, time_of(7))


def test_frames_that_are_not_there(folder: Path) -> None:
    with DepthStore.open(folder, KEY, "disparity") as empty, pytest.raises(ValueError, match="no frames"):
        empty.at(1.0)
    store = StoredDepth.read(filled(folder, 1))
    for index in (-1, 5):
        with pytest.raises(IndexError, match=f"no frame {index} among 5"):
            store[index]


def test_value_range_bounds_all_values(folder: Path) -> None:
    low, high = StoredDepth.read(filled(folder, 3)).value_range
    everything = np.stack([map_of(i) for i in range(15)])
    np.testing.assert_allclose([low, high], [np.nanmin(everything), np.nanmax(everything)], rtol=1e-6)


def test_unknown_and_constant_maps_survive(folder: Path) -> None:
    maps = [np.full((2, 2), v, np.float32) for v in (np.nan, 7.25, 0.0)]
    with DepthStore.open(folder, KEY, "depth") as store:
        estimates = tuple(DepthEstimate(i, i / 10, 0, m) for i, m in enumerate(maps))
        store.append(Chunk(estimates, Checkpoint(0, 1, {})))
        for estimate, expected in zip(store.estimates(), maps, strict=True):  # while it is being written
            np.testing.assert_array_equal(estimate.values, expected)


def test_any_ffmpeg_plays_a_segment(folder: Path) -> None:
    with av.open(filled(folder, 1) / "segment-00000.mkv") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 5
    assert {(f.format.name, f.height, f.width, f.key_frame) for f in frames} == {("gray16le", *SIZE, True)}
    np.testing.assert_array_equal(frames[3].to_ndarray(), Coding.finest(map_of(3)).codes(map_of(3)))


def test_maps_are_decoded_one_at_a_time(folder: Path) -> None:
    """Peak memory is that of one segment, however many there are."""
    with DepthStore.open(folder, KEY, "disparity") as store:
        for number in range(12):
            maps = [DepthEstimate(i, i / 30, 0, map_of(i, (200, 300))) for i in range(2 * number, 2 * number + 2)]
            store.append(Chunk(tuple(maps), Checkpoint(0, number + 1, {})))
    store = StoredDepth.read(folder)  # type: ignore[assignment]
    list(store.estimates(22))
    tracemalloc.start()
    for _ in store.estimates():
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 200 * 300 * 4  # a few maps of 24


# What must not go in


@pytest.mark.parametrize(
    ("estimates", "message"),
    [
        ([], "frames from 5 on"),
        ([DepthEstimate(6, 1.0, 0, map_of(0))], "frames from 5 on"),
        ([DepthEstimate(5, 1.0, 0, map_of(0)), DepthEstimate(7, 1.0, 0, map_of(0))], "frames from 5 on"),
        ([DepthEstimate(5, 0.0, 0, map_of(0))], "times of frames"),
        ([DepthEstimate(5, time_of(4), 0, map_of(0))], "times of frames"),
        ([DepthEstimate(5, np.nan, 0, map_of(0))], "times of frames"),
        ([DepthEstimate(5, 1.0, 0, map_of(0)), DepthEstimate(6, 1.0, 0, map_of(0, (3, 3)))], "one size"),
        ([DepthEstimate(5, 1.0, 0, np.full(SIZE, np.inf, np.float32))], "infinite"),
        ([DepthEstimate(5, 1.0, 0, np.full(SIZE, -np.inf, np.float32))], "infinite"),
        ([DepthEstimate(5, 1.0, 0, np.zeros((1, 9), np.float32))], "at least 2 x 2"),
    ],
)
def test_a_bad_chunk_is_refused_and_does_no_harm(folder: Path, estimates: list[DepthEstimate], message: str) -> None:
    with DepthStore.open(folder, KEY, "disparity") as store:
        store.append(chunk_of(0))
        with pytest.raises(ValueError, match=message):
            store.append(Chunk(tuple(estimates), Checkpoint(0, 2, {})))
        store.append(chunk_of(5))
        store.append(chunk_of(10, shot=1))
        store.append(chunk_of(15, shot=1))
        store.finish()
    assert files_in(folder) == files_in(filled(folder.with_name("right.recon"), 4))


def test_a_complete_or_closed_store_takes_no_more(folder: Path) -> None:
    with DepthStore.open(folder, KEY, "disparity") as store:
        store.append(chunk_of(0))
    with pytest.raises(ValueError, match="closed"):
        store.append(chunk_of(5))
    with DepthStore.open(folder, KEY, "disparity") as store:
        store.finish()
        with pytest.raises(ValueError, match="complete"):
            store.append(chunk_of(5))
        with pytest.raises(ValueError, match="complete"):
            store.finish()


# Going on


def test_the_checkpoint_is_exact(folder: Path) -> None:
    filled(folder, 3, finish=False)
    with DepthStore.open(folder, KEY, "disparity") as store:
        expected, found = chunk_of(10, shot=1).checkpoint, store.checkpoint
        assert found is not None
        assert (found.shot, found.window, set(found.arrays)) == (expected.shot, expected.window, set(expected.arrays))
        for name, array in expected.arrays.items():
            assert found.arrays[name].dtype == array.dtype
            np.testing.assert_array_equal(found.arrays[name], array)
    assert [path.name for path in folder.glob("checkpoint-*")] == ["checkpoint-00002.npz"]


def test_there_is_no_checkpoint_before_the_first_chunk_and_after_the_end(folder: Path) -> None:
    with DepthStore.open(folder, KEY, "disparity") as store:
        assert store.checkpoint is None
        store.append(chunk_of(0))
        assert store.checkpoint is not None
        store.finish()
        assert store.checkpoint is None
    assert list(folder.glob("checkpoint-*")) == []


def test_two_runs_write_the_same_bytes(folder: Path) -> None:
    filled(folder, 2, finish=False)
    other = filled(folder.with_name("other.recon"), 2, finish=False)
    time.sleep(1.1)  # were there a date in a file, its second would differ
    third = filled(folder.with_name("third.recon"), 2, finish=False)
    assert files_in(folder) == files_in(other) == files_in(third)


def test_debris_is_removed_and_nothing_else(folder: Path) -> None:
    filled(folder, 2, finish=False)
    before = files_in(folder)
    (folder / "notes.txt").write_text("mine")
    for name in ("segment-00002.mkv", "checkpoint-00002.npz", "segment-00002.json.partial", "manifest.json.partial"):
        (folder / name).write_bytes(b"debris")
    (folder / "checkpoint-00000.npz").write_bytes(b"debris")
    DepthStore.open(folder, KEY, "disparity").close()
    assert files_in(folder) == {**before, "notes.txt": b"mine"}


def test_reading_changes_nothing(folder: Path) -> None:
    filled(folder, 2, finish=False)
    (folder / "segment-00002.mkv").write_bytes(b"being written")
    before = files_in(folder)
    store = StoredDepth.read(folder)
    assert (store.complete, len(list(store.estimates()))) == (False, 10)
    assert files_in(folder) == before


# kill -9


def produced(checkpoint: Checkpoint | None, chunks: int) -> Iterator[Chunk]:
    """A toy inference whose every map depends on all before it, through the state alone."""
    state = np.zeros((40, 60)) if checkpoint is None else checkpoint.arrays["state"]
    for window in range(0 if checkpoint is None else checkpoint.window, chunks):
        estimates = []
        for index in range(3 * window, 3 * window + 3):
            state = np.sin(state * 1.7 + index + np.arange(60) / 9)
            estimates.append(DepthEstimate(index, index / 24, window // 5, state.astype(np.float32)))
        yield Chunk(tuple(estimates), Checkpoint(window // 5, window + 1, {"state": state}))


def run(folder: Path, chunks: int) -> dict[str, bytes]:
    """Begin, or go on where a killed run stopped, to the end."""
    with DepthStore.open(folder, KEY, "disparity") as store:
        if not store.complete:
            for chunk in produced(store.checkpoint, chunks):
                store.append(chunk)
            store.finish()
    return files_in(folder)


def forked_run(folder: Path, chunks: int, prepare: Callable[[], None]) -> int:
    """The process number of a child that runs; it says 0 at the end, and nothing if it is killed."""
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            prepare()
            run(folder, chunks)
            os._exit(0)
        os._exit(1)
    return child


def was_killed(child: int) -> bool:
    """Wait for its end."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_run_killed_at_20_random_points_ends_in_the_same_bytes(folder: Path) -> None:
    chunks, kills, reached, rng = 12, 0, set(), np.random.default_rng(1)
    begin = time.perf_counter()
    expected = run(folder.with_name("right.recon"), chunks)
    duration = time.perf_counter() - begin
    while kills < 20:
        child = forked_run(folder, chunks, lambda: None)
        time.sleep(rng.uniform(0, duration / 2))
        os.kill(child, signal.SIGKILL)
        kills += was_killed(child)
        reached.add(len(list(folder.glob("segment-*.json"))))
        if (folder / "complete.json").exists():
            assert run(folder, chunks) == expected
            DepthStore.open(folder, KEY, "disparity", fresh=True).close()
    assert len(reached) > 3  # the kills came at different points
    assert run(folder, chunks) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_run_killed_before_any_change_of_a_file_ends_in_the_same_bytes(tmp_path: Path) -> None:
    """Not at random: once before every single opening, renaming and removing of a file, until the run survives."""
    expected = run(tmp_path / "right.recon", 2)
    for step in range(200):
        folder = tmp_path / f"{step}.recon"
        killed = was_killed(forked_run(folder, 2, suicide(step, folder)))
        assert run(folder, 2) == expected, f"killed before operation {step}"
        if not killed:
            break
    assert 20 < step < 199


def suicide(step: int, folder: Path) -> Callable[[], None]:
    """What makes the process kill itself before its n-th operation on a file of the store."""
    operations = iter(range(1000))

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        touches = event in ("open", "os.rename", "os.remove", "os.mkdir") and str(folder) in str(arguments[0])
        if touches and next(operations) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: sys.addaudithook(watch)


# Whose store it is


def refused(folder: Path, key: dict[str, str] = KEY, quantity: Quantity = "disparity", **options: bool) -> str:
    """The message with which opening fails; nothing is changed by it."""
    before = files_in(folder)
    with pytest.raises(StoreError) as caught:
        DepthStore.open(folder, key, quantity, **options)
    assert files_in(folder) == before
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(folder), "FOLDER")


@pytest.mark.parametrize(
    ("key", "quantity", "message"),
    [
        (KEY | {"network": "vda_vitl"}, "disparity", "network was vda_vits, now it is vda_vitl"),
        (KEY | {"precision": "fp16"}, "disparity", "precision was (nothing), now it is fp16"),
        (
            {"source": KEY["source"], "network": "vda_vits"},
            "disparity",
            "depth.input_size was 518, now it is (nothing)",
        ),
        (KEY, "depth", "quantity was disparity, now it is depth"),
    ],
)
def test_another_runs_store_is_refused(folder: Path, key: dict[str, str], quantity: Quantity, message: str) -> None:
    filled(folder, 1)
    assert refused(folder, key, quantity) == (
        f"FOLDER: this depth store belongs to another run: {message}; --fresh discards it, --store names another"
    )


def test_fresh_discards_another_runs_store(folder: Path) -> None:
    filled(folder, 3)
    (folder / "notes.txt").write_text("mine")
    with DepthStore.open(folder, KEY | {"network": "vda_vitl"}, "depth", fresh=True) as store:
        assert (store.frame_count, store.complete, store.checkpoint) == (0, False, None)
    assert set(files_in(folder)) == {"manifest.json", "lock", "notes.txt"}


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_no_store_is_never_touched(tmp_path: Path, fresh: bool) -> None:  # noqa: FBT001 - a parameter of the test
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    assert refused(tmp_path, fresh=fresh) == (
        "FOLDER: this is no depth store (it holds holiday.jpg); name another folder with --store"
    )
    (tmp_path / "manifest.json").write_text('{"format": "web extension", "version": 3}')
    assert "it holds holiday.jpg" in refused(tmp_path, fresh=fresh)
    with pytest.raises(StoreError, match="this is no depth store"):
        StoredDepth.read(tmp_path)


def test_a_file_is_no_store(tmp_path: Path) -> None:
    path = tmp_path / "cloud.recon"
    path.write_text("a file")
    with pytest.raises(StoreError, match="this is no folder"):
        DepthStore.open(path, KEY, "disparity", fresh=True)
    with pytest.raises(StoreError, match="there is no depth store"):
        StoredDepth.read(path)


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be written to \(.+\); name another with --store"):
        DepthStore.open(tmp_path / "file" / "cloud.recon", KEY, "disparity")


def test_an_empty_folder_becomes_a_store(folder: Path) -> None:
    folder.mkdir()
    assert StoredDepth.read(filled(folder, 1)).complete


# Damage


def damage_by_editing(name: str, old: str, new: str) -> Callable[[Path], object]:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return edit


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "video missing": (lambda f: (f / "segment-00001.mkv").unlink(), "segment-00001.mkv is missing"),
    "video short": (lambda f: os.truncate(f / "segment-00001.mkv", 100), "segment-00001.mkv has 100 of"),
    "record missing": (lambda f: (f / "segment-00000.json").unlink(), "segment-00000.json is missing"),
    "last record missing": (lambda f: (f / "segment-00002.json").unlink(), "2 of 3 segments are there"),
    "record no json": (lambda f: (f / "segment-00001.json").write_text("{"), "segment-00001.json is not what recon"),
    "record empty": (damage_by_editing("segment-00001.json", '"first"', '"last"'), "segment-00001.json is not what"),
    "gap": (damage_by_editing("segment-00001.json", '"first": 5', '"first": 6'), "segment 1 does not continue"),
    "manifest missing": (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
    "manifest no json": (lambda f: (f / "manifest.json").write_bytes(b""), "manifest.json is not what recon writes"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_in_one_line_and_fresh_helps(folder: Path, damage: str) -> None:
    do, message = DAMAGES[damage]
    do(filled(folder, 3))
    found = refused(folder)
    assert found.startswith(f"FOLDER: the depth store is damaged: {message}")
    assert found.endswith("; --fresh discards it and begins anew")
    with pytest.raises(StoreError, match="damaged"):
        StoredDepth.read(folder)
    DepthStore.open(folder, KEY, "disparity", fresh=True).close()
    assert StoredDepth.read(filled(folder, 3)).frame_count == 15


def test_a_changed_bit_is_noticed_when_the_segment_is_read(folder: Path) -> None:
    video = filled(folder, 3) / "segment-00001.mkv"
    content = bytearray(video.read_bytes())
    content[len(content) // 2] ^= 1
    video.write_bytes(content)
    read = []
    with pytest.raises(StoreError, match=r"damaged: segment-00001.mkv is not what was written"):
        read.extend(estimate.index for estimate in StoredDepth.read(folder).estimates())
    assert read == [0, 1, 2, 3, 4]
    assert StoredDepth.read(folder)[12].index == 12  # the others are still good


def test_a_record_that_speaks_of_fewer_maps_than_the_video_has(folder: Path) -> None:
    path = filled(folder, 2, finish=False) / "segment-00001.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"frames": record["frames"][:-1]}))
    with pytest.raises(StoreError, match=r"damaged: segment-00001.mkv does not decode"):
        list(StoredDepth.read(folder).estimates())


def test_a_store_that_loses_a_segment_while_it_is_read(folder: Path) -> None:
    store = StoredDepth.read(filled(folder, 2))
    (folder / "segment-00001.mkv").unlink()
    with pytest.raises(StoreError, match=r"damaged: segment-00001.mkv is missing"):
        list(store.estimates())


@pytest.mark.parametrize("damage", ["missing", "no archive", "short"])
def test_a_damaged_checkpoint(folder: Path, damage: str) -> None:
    path = filled(folder, 1, finish=False) / "checkpoint-00000.npz"
    content = path.read_bytes()
    path.write_bytes(b"hello" if damage == "no archive" else content[:-50])
    if damage == "missing":
        path.unlink()
    with (
        DepthStore.open(folder, KEY, "disparity") as store,
        pytest.raises(StoreError, match=r"damaged: checkpoint-00000.npz is missing or cannot be read"),
    ):
        _ = store.checkpoint


def test_a_newer_format_is_refused(folder: Path) -> None:
    (filled(folder, 1) / "manifest.json").write_text('{"format": "recon depth store", "version": 2, "codec": "?"}')
    assert refused(folder) == (
        "FOLDER: a newer recon wrote this store (format 2, this one reads up to 1):"
        " update recon, or begin anew with --fresh"
    )
    with pytest.raises(StoreError, match="newer recon"):
        StoredDepth.read(folder)
    DepthStore.open(folder, KEY, "disparity", fresh=True).close()


# The lock


def test_two_writers_exclude_each_other(folder: Path) -> None:
    with DepthStore.open(folder, KEY, "disparity"):
        for fresh in (False, True):
            assert refused(folder, fresh=fresh) == (
                "FOLDER: another run is using this depth store; wait for it to end, or name another with --store"
            )
    DepthStore.open(folder, KEY, "disparity").close()


def test_a_complete_store_is_free(folder: Path) -> None:
    """`recon mesh` and `recon stereo` may read at the same time what `recon pointcloud` made."""
    with DepthStore.open(folder, KEY, "disparity") as store:
        store.append(chunk_of(0))
        store.finish()
        with DepthStore.open(folder, KEY, "disparity") as second, DepthStore.open(folder, KEY, "disparity") as third:
            assert second.complete
            assert third[4].index == second[4].index == 4


def test_a_failed_opening_lets_go_of_the_lock(folder: Path) -> None:
    filled(folder, 1, finish=False)
    refused(folder, KEY | {"network": "?"})
    DepthStore.open(folder, KEY, "disparity").close()


# Another command finds it


def test_find_store_prefers_complete_ones_of_the_same_key(tmp_path: Path) -> None:
    output = tmp_path / "room.glb"
    assert find_store(output, KEY) is None
    (tmp_path / "a.recon").mkdir()  # no store
    DepthStore.open(tmp_path / "b.recon", KEY | {"network": "?"}, "disparity").close()
    (filled(tmp_path / "c.recon", 1) / "manifest.json").write_text("{}")
    assert find_store(output, KEY) is None
    filled(tmp_path / "d.recon", 1, finish=False)
    assert find_store(output, KEY) == tmp_path / "d.recon"
    filled(tmp_path / "e.recon", 1)
    filled(tmp_path / "f.recon", 1)
    assert find_store(output, KEY) == tmp_path / "e.recon"


# The format


def test_the_manifest_and_records_are_plain(folder: Path) -> None:
    """What other programs may rely on."""
    files = files_in(filled(folder, 2))
    assert sorted(files) == [
        *("complete.json", "lock", "manifest.json"),
        *("segment-00000.json", "segment-00000.mkv", "segment-00001.json", "segment-00001.mkv"),
    ]
    assert json.loads(files["manifest.json"]) == {
        "format": "recon depth store",
        "version": 1,
        "quantity": "disparity",
        "key": KEY,
    }
    record = json.loads(files["segment-00001.json"])
    coding = Coding.finest(map_of(6))
    assert set(record) == {"first", "frames", "bytes", "sha256", "checkpoint"}
    assert record["first"] == 5
    assert record["frames"][1] == [time_of(6), 0, coding.offset, coding.step]
    assert record["bytes"] == len(files["segment-00001.mkv"])
    assert json.loads(files["complete.json"]) == {"segments": 2, "frames": 10}
