"""Frame by frame: what is remembered, what comes out, how a run goes on; with stand-ins and with the real network."""

import json
import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import seeded
import torch
from clips import ramp, write_clip
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from scenes import TrueDisparityNetwork
from stand_in import Brightness

from recon.errors import OptionError, StoreError
from recon.io.depth import DepthFolder
from recon.io.store import StoredDepth
from recon.models import StreamingNetwork
from recon.models.vda import Memory, VideoDepthAnything, head
from recon.models.vda.head import TemporalAttention
from recon.models.video_depth import Execution, NetworkSpec, Precision, VideoDepthNetwork
from recon.pipelines.depth import inference_of
from recon.settings import NetworkSettings
from recon.stages import streaming
from recon.stages.disparity import infer
from recon.stages.streaming import followed, stream
from recon.types import Chunk, Frame, ShotFrame
from recon_cli.cli import run

HEIGHT, WIDTH = 30, 45
CHUNK = 6
"""Frames in a chunk, where a test does not need real ones."""


@pytest.fixture
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK", CHUNK)


def film(*lengths: int, height: int = HEIGHT, width: int = WIDTH) -> list[ShotFrame]:
    """Shots of these lengths; frame numbers go on over the cuts."""
    pictures = seeded.clip(sum(lengths), height, width, seed=7)
    shots = [shot for shot, length in enumerate(lengths) for _ in range(length)]
    return [ShotFrame(Frame(n, n / 25, rgb), shot) for n, (rgb, shot) in enumerate(zip(pictures, shots, strict=True))]


def maps_of(chunks: Iterable[Chunk]) -> np.ndarray:
    return np.stack([estimate.values for chunk in chunks for estimate in chunk.estimates])


def assert_same_bits(chunks: Sequence[Chunk], others: Sequence[Chunk]) -> None:
    assert len(chunks) == len(others)
    for one, other in zip(chunks, others, strict=True):
        assert (one.checkpoint.shot, one.checkpoint.window) == (other.checkpoint.shot, other.checkpoint.window)
        for estimate, same in zip(one.estimates, other.estimates, strict=True):
            assert (estimate.index, estimate.time, estimate.shot) == (same.index, same.time, same.shot)
            assert np.array_equal(estimate.values, same.values)
        assert_same_arrays(one.checkpoint.arrays, other.checkpoint.arrays)


def assert_same_arrays(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> None:
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert array.dtype == others[name].dtype
        assert np.array_equal(array, others[name])


# ---------------------------------------------------------------------------------------------------------- memory


def published_frames(number: int) -> list[int]:
    """The frames that the published code hands to frame ``number``, by its own bookkeeping of numbers."""
    kept = [0] * 32
    for frame in range(1, number + 1):
        attended = kept[:2] + kept[-29:]
        if frame == number:
            return attended
        kept.append(frame)
        if frame + 32 > 42:
            del kept[1]
    return []


def remembered(count: int) -> Memory:
    """The memory after so many frames; the trace of each is its number."""
    memory = Memory()
    for number in range(count):
        memory = memory.followed_by(((torch.tensor(number),),))
    return memory


def numbers(traces: Iterable[tuple[tuple[torch.Tensor, ...], ...]]) -> list[int]:
    return [int(trace[0][0]) for trace in traces]


@given(st.integers(0, 200))
def test_a_frame_looks_at_the_frames_of_the_published_code(number: int) -> None:
    assert numbers(remembered(number).attended) == published_frames(number)


@given(st.integers(0, 200))
def test_only_what_a_later_frame_looks_at_is_kept(number: int) -> None:
    later = {seen for after in range(number, number + 60) for seen in published_frames(after)}
    assert set(numbers(remembered(number).frames)) == {seen for seen in later if seen < number}


def test_a_memory_is_not_changed_by_what_follows() -> None:
    memory = remembered(50)
    before = numbers(memory.frames)
    after = memory.followed_by(((torch.tensor(50),),))
    assert numbers(memory.frames) == before
    assert after.frames[0] is memory.frames[0]
    assert after.frames[1:-1] == memory.frames[2:]


# ------------------------------------------------------------------------------------------------------ attention


@given(frames=st.integers(1, 32), positions=st.integers(1, 9), seed=st.integers(0, 100))
def test_the_last_frame_alone_sees_what_it_sees_among_all(frames: int, positions: int, seed: int) -> None:
    torch.manual_seed(seed)
    attention = TemporalAttention(64).eval()
    sequences = torch.randn(positions, frames, 64)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "LOOKED_AT_ON_CPU", 4 * 32 * 64)  # at least four positions at once
        last = attention.last(sequences.split(1, dim=1))
        torch.testing.assert_close(last, attention(sequences)[:, -1:], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter_of_an_attention() -> None:
    attention = TemporalAttention(64)
    attention.last(torch.randn(3, 9, 64).split(1, dim=1)).square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0 for value in attention.parameters())


# ------------------------------------------------------------------------------------------------ the real network


@pytest.fixture(scope="module")
def small() -> VideoDepthAnything:
    """The small network on the seeded weights of the parity vectors."""
    return seeded.network("vits", seed=11)


def behind_the_protocol(
    network: VideoDepthAnything, input_size: int = 14, precision: Precision = "fp32"
) -> VideoDepthNetwork:
    spec = NetworkSpec("seeded", "vits", metric=False, sha256="0" * 64)
    return VideoDepthNetwork(network, spec, Execution.chosen(input_size, "cpu", precision))


def test_compat_gives_the_maps_of_the_published_streaming(small: VideoDepthAnything) -> None:
    """60 frames: the bookkeeping of the published code changes for the last time at frame 42."""
    vectors = np.load(seeded.PARITY / "vda_vits.npz")
    published, meta = vectors["stream_out"], json.loads(bytes(vectors["meta"]))["stream"]
    pictures = seeded.clip(meta["frames"], meta["height"], meta["width"], meta["clip_seed"])
    frames = [ShotFrame(Frame(n, n / 25, rgb), 0) for n, rgb in enumerate(pictures)]
    maps = maps_of(stream(frames, behind_the_protocol(small, meta["input_size"]), compat=True))
    assert published.std() > 0.1, "a vector that says nothing"
    np.testing.assert_allclose(maps, published, rtol=0, atol=1e-5 * published.max())


def test_the_memory_stops_growing(small: VideoDepthAnything) -> None:
    network = behind_the_protocol(small)
    memory, held = None, []
    for member in film(64, height=14, width=14):
        (features,) = network.encode([member.frame.rgb])
        _, memory = network.follow(features, memory, (14, 14))
        tensors = [seen for trace in memory.frames for module in trace for seen in module]
        storages = {seen.untyped_storage().data_ptr(): seen.untyped_storage().nbytes() for seen in tensors}
        assert sum(storages.values()) == sum(4 * seen.numel() for seen in tensors), "a view would hold more"
        held.append(sum(storages.values()))
    one = 4 * 2 * (192 + 384 + 64 + 4 * 64)  # float32, two attentions; 1, 1, 1 and 4 positions for one patch
    assert held == [one * min(count, 42) for count in range(1, 65)]


def test_what_is_forgotten_is_freed(small: VideoDepthAnything) -> None:
    network = behind_the_protocol(small)
    memory, traces = None, []
    for member in film(50, height=14, width=14):
        memory = network.follow(network.encode([member.frame.rgb])[0], memory, (14, 14))[1]
        traces.append(weakref.ref(memory.frames[-1][0][0]))
    assert [number for number, trace in enumerate(traces) if trace() is not None] == [0, *range(9, 50)]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_memory_comes_back_with_the_same_bits(small: VideoDepthAnything, precision: Precision) -> None:
    network = behind_the_protocol(small, precision=precision)
    frames = film(12, height=14, width=28)
    features = [network.encode([member.frame.rgb])[0] for member in frames]
    memory = None
    for known in features[:-1]:
        _, memory = network.follow(known, memory, (14, 28))
    arrays = {name: array.copy() for name, array in network.saved(memory).items()}
    ours, after = network.follow(features[-1], memory, (14, 28))
    again, after_again = network.follow(features[-1], network.restored(arrays), (14, 28))
    assert np.array_equal(ours, again)
    assert_same_arrays(network.saved(after), network.saved(after_again))
    assert_same_arrays(network.saved(memory), arrays)
    assert len(memory.frames) == 11


def test_half_precision_is_near_and_remembers_half_as_much(small: VideoDepthAnything) -> None:
    frames = film(6, height=28, width=28)
    full, rough = (behind_the_protocol(small, 28, precision) for precision in ("fp32", "bf16"))
    maps, near = (maps_of(stream(frames, network)) for network in (full, rough))
    assert 0 < np.abs(maps - near).max() < 0.1 * maps.max()
    (features,) = rough.encode([frames[0].frame.rgb])
    _, memory = rough.follow(features, None, (28, 28))
    assert {seen.dtype for module in memory.frames[0] for seen in module} == {torch.bfloat16}


def test_the_real_network_goes_on_with_the_same_bits(
    small: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "CHUNK", 16)
    network, frames = behind_the_protocol(small), film(50, 5, height=14, width=28)
    whole = list(stream(frames, network))
    assert [len(chunk.estimates) for chunk in whole] == [16, 16, 16, 2, 5]
    for done, chunk in enumerate(whole, start=1):
        assert_same_bits(list(stream(frames, network, resume=chunk.checkpoint)), whole[done:])


def test_earlier_frames_matter_and_later_ones_do_not(small: VideoDepthAnything) -> None:
    network, frames = behind_the_protocol(small), film(10, height=14, width=28)
    other = Frame(4, 4 / 25, 255 - frames[4].frame.rgb)
    changed = [*frames[:4], ShotFrame(other, 0), *frames[5:]]
    maps, after = (maps_of(stream(each, network)) for each in (frames, changed))
    same = [bool(np.array_equal(one, two)) for one, two in zip(maps, after, strict=True)]
    assert same == [True] * 4 + [False] * 6


def test_without_temporal_modules_following_is_decoding() -> None:
    torch.manual_seed(2)
    single = VideoDepthAnything("vits", temporal=False).eval().requires_grad_(requires_grad=False)
    network, memory = behind_the_protocol(single), None
    for member in film(3, height=14, width=28):
        features = network.encode([member.frame.rgb])
        values, memory = network.follow(features[0], memory, (20, 30))
        np.testing.assert_array_equal(values, network.decode(features, (20, 30))[0])
    assert network.saved(memory) == {}


# ------------------------------------------------------------------------------------------------ frames to chunks


def test_which_networks_can_stream(small: VideoDepthAnything) -> None:
    assert isinstance(behind_the_protocol(small), StreamingNetwork)
    assert isinstance(Brightness(), StreamingNetwork)
    assert not isinstance(TrueDisparityNetwork([]), StreamingNetwork)


def test_a_map_is_there_before_the_next_frame_is_looked_at() -> None:
    looked_at: list[int] = []

    def live() -> Iterator[ShotFrame]:
        for member in film(5, 4):
            looked_at.append(member.frame.index)
            yield member

    for number, estimate in enumerate(followed(live(), Brightness())):
        assert estimate.index == number
        assert looked_at == list(range(number + 1))


@pytest.mark.usefixtures("_short_chunks")
@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=3))
def test_chunks_hold_what_is_followed_each_frame_once_and_in_order(lengths: list[int]) -> None:
    frames = film(*lengths)
    chunks = list(stream(frames, Brightness()))
    estimates = [estimate for chunk in chunks for estimate in chunk.estimates]
    assert [(e.index, e.time, e.shot) for e in estimates] == [(f.frame.index, f.frame.time, f.shot) for f in frames]
    assert [len(chunk.estimates) for chunk in chunks] == [
        min(CHUNK, length - start) for length in lengths for start in range(0, length, CHUNK)
    ]
    np.testing.assert_array_equal(maps_of(chunks), np.stack([e.values for e in followed(frames, Brightness())]))


@given(data=st.data(), length=st.integers(2, 20))
def test_a_map_depends_on_no_later_frame(data: st.DataObject, length: int) -> None:
    frames = film(length)
    cut = data.draw(st.integers(1, length - 1))
    whole = [estimate.values for estimate in followed(frames, Brightness())]
    np.testing.assert_array_equal([e.values for e in followed(frames[:cut], Brightness())], whole[:cut])


def test_shots_are_as_if_each_were_alone() -> None:
    frames = film(70, 1, 64, 5)
    alone = [chunk for shot in range(4) for chunk in stream((f for f in frames if f.shot == shot), Brightness())]
    assert_same_bits(list(stream(frames, Brightness())), alone)


def test_maps_are_as_large_as_the_input_and_in_compat_as_the_picture() -> None:
    sizes = {compat: maps_of(stream(film(2), Brightness(), compat=compat)).shape[1:] for compat in (False, True)}
    assert sizes == {False: (HEIGHT // 15, WIDTH // 15), True: (HEIGHT, WIDTH)}


class Encoding(Brightness):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.encoded: list[int] = []

    def encode(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.encoded.append(len(pictures))
        return super().encode(pictures)


@pytest.mark.usefixtures("_short_chunks")
@pytest.mark.parametrize("compat", [False, True])
def test_going_on_after_any_chunk_gives_the_same_bits_and_repeats_nothing(*, compat: bool) -> None:
    frames = film(15, 3, 12, 4)
    whole = list(stream(frames, Brightness(), compat=compat))
    assert [(c.checkpoint.shot, c.checkpoint.window) for c in whole] == [
        (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (4, 0)
    ]  # fmt: skip
    done = 0
    for number, chunk in enumerate(whole, start=1):
        done += len(chunk.estimates)
        network = Encoding()
        assert_same_bits(list(stream(frames, network, compat=compat, resume=chunk.checkpoint)), whole[number:])
        assert network.encoded == [1] * (len(frames) - done)


@pytest.mark.usefixtures("_short_chunks")
def test_a_video_too_short_for_its_checkpoint_is_refused() -> None:
    checkpoint = next(stream(film(20), Brightness())).checkpoint
    with pytest.raises(ValueError, match="shot 0 has 4 frames, too few to go on at window 1"):
        list(stream(film(4), Brightness(), resume=checkpoint))


class Copying(Brightness):
    """Restores what it can change without the arrays."""

    def restored(self, arrays: dict[str, np.ndarray]) -> np.ndarray:
        return arrays["brightness"].copy()


@pytest.mark.usefixtures("_short_chunks")
def test_the_arrays_of_a_checkpoint_are_let_go() -> None:
    frames = film(20)
    checkpoint = next(stream(frames, Brightness())).checkpoint
    array = weakref.ref(checkpoint.arrays["brightness"])
    rest = stream(frames, Copying(), resume=checkpoint)
    del checkpoint
    assert array() is not None
    next(rest)
    assert array() is None


# ------------------------------------------------------------------------------------------------------- the command


def test_a_network_for_single_pictures_streams_as_it_is() -> None:
    network, frames = (
        TrueDisparityNetwork([(f.frame.rgb, np.ones((HEIGHT, WIDTH))) for f in film(20)], window=1),
        film(20),
    )
    runs = [inference_of(network, NetworkSettings(mode=mode)) for mode in ("offline", "streaming")]
    one, other = (list(each(frames, resume=None)) for each in runs)
    assert_same_bits(one, other)


def test_the_mode_chooses_and_a_network_that_cannot_is_refused() -> None:
    frames = film(40)
    for mode, expected in (("offline", infer), ("streaming", stream)):
        run_it = inference_of(Brightness(), NetworkSettings(mode=mode))
        assert_same_bits(list(run_it(frames, resume=None)), list(expected(frames, Brightness())))
    with pytest.raises(OptionError, match=r"--mode streaming: truth looks at windows of 32 frames only; use --mode"):
        inference_of(TrueDisparityNetwork([]), NetworkSettings(mode="streaming"))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("video") / "ramp.mp4", ramp(40))


def depth(video: Path, output: Path, *options: str) -> int:
    small = ["--resolution", "network", "--no-preview", "-q"]
    return run(["depth", str(video), "-o", str(output), "--cut-threshold", "1", *small, *options])


KILLED = """
import os, signal, sys; sys.path.insert(0, {tests!r})
from recon.stages import streaming
from recon_cli.cli import run
from stand_in import Brightness, choose

class Killing(Brightness):
    seen = 0
    def follow(self, features, memory, size):
        Killing.seen += 1
        if Killing.seen == {last}:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().follow(features, memory, size)

streaming.CHUNK = {chunk}
choose(Killing)
run(["depth", {video!r}, "-o", {output!r}, "--mode", "streaming", "--cut-threshold", "1",
     "--resolution", "network", "--no-preview", "-q"])
"""


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != "lock"}


@pytest.mark.usefixtures("_short_chunks")
def test_a_killed_run_goes_on_and_leaves_the_same_bytes(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Brightness())
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    values = {"tests": str(Path(__file__).parent), "video": str(video), "output": str(killed)}
    program = KILLED.format(**values, last=3 * CHUNK + 2, chunk=CHUNK)
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    store = StoredDepth.read(tmp_path / "killed.recon")
    assert (store.frame_count, store.complete, store.key["mode"]) == (3 * CHUNK, False, "streaming")
    assert depth(video, killed, "--mode", "streaming") == 0
    assert depth(video, whole, "--mode", "streaming", "--store", str(tmp_path / "other.recon")) == 0
    assert _content(tmp_path / "killed.recon") == _content(tmp_path / "other.recon")
    assert _content(killed) == _content(whole)


def test_a_store_of_the_other_mode_is_not_taken_for_this_one(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: Brightness())
    assert depth(video, tmp_path / "maps") == 0
    assert depth(video, tmp_path / "maps", "--overwrite", "--mode", "streaming") == StoreError.exit_code
    assert "mode was offline, now it is streaming" in capfd.readouterr().err


def test_recon_depth_streams_with_the_real_network(small: VideoDepthAnything, video: Path, tmp_path: Path) -> None:
    weights = tmp_path / "video_depth_anything_vits.safetensors"
    save_file({name: value for name, value in small.state_dict().items() if not name.endswith(".pe")}, weights)
    options = ["--weights", str(weights), "--input-size", "14", "--device", "cpu", "--end", "0.4"]
    assert depth(video, tmp_path / "maps", "--mode", "streaming", *options) == 0
    assert depth(video, tmp_path / "windows", *options) == 0
    ours, windows = (DepthFolder(tmp_path / name, scale=1.0, quantity="disparity") for name in ("maps", "windows"))
    assert len(ours) == len(windows) == 10
    assert ours[0].shape == windows[0].shape == (14, 14)
    assert np.abs(ours[9] - windows[9]).max() > 0.01, "another answer than that of a window"
