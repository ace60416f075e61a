"""The network against outputs of the published code on the same seeded weights."""

import json

import numpy as np
import pytest
import seeded
import torch

from recon.models.vda import DIMENSIONS, Size, VideoDepthAnything, head

RELATIVE = 1e-4
"""Largest error allowed, in parts of the largest value."""


@pytest.fixture(scope="module")
def small() -> VideoDepthAnything:
    return seeded.network("vits", seed=11)


@pytest.mark.parametrize("size", ["vits", "vitb", "vitl"])
def test_names_and_shapes_are_those_of_the_published_checkpoints(size: Size) -> None:
    with torch.device("meta"):
        network = VideoDepthAnything(size)
    assert {name: tuple(value.shape) for name, value in network.state_dict().items()} == seeded.published_shapes(size)


def test_a_published_file_loads_strictly_with_its_time_encodings_in_it(small: VideoDepthAnything) -> None:
    published = small.state_dict()
    assert sum(name.endswith(".pe") for name in published) == 8
    other = VideoDepthAnything("vits")
    other.load_state_dict(published, strict=True)
    clip = torch.from_numpy(np.load(seeded.PARITY / "vda_vits.npz")["forward1_in"])
    torch.testing.assert_close(other.eval()(clip), small(clip), rtol=0, atol=0)


def test_weights_with_a_missing_tensor_are_refused(small: VideoDepthAnything) -> None:
    state = {name: value for name, value in small.state_dict().items() if name != "pretrained.norm.bias"}
    with pytest.raises(RuntimeError, match=r"pretrained\.norm\.bias"):
        VideoDepthAnything("vits").load_weights(state)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_small_network_gives_the_published_maps(small: VideoDepthAnything, number: int) -> None:
    vectors = np.load(seeded.PARITY / "vda_vits.npz")
    _assert_same(small, vectors[f"forward{number}_in"], vectors[f"forward{number}_out"])


def test_base_network_gives_the_published_maps() -> None:
    vectors = np.load(seeded.PARITY / "vda_vitb.npz")
    _assert_same(seeded.network("vitb", int(vectors["seed"])), vectors["forward_in"], vectors["forward_out"])


def _assert_same(network: VideoDepthAnything, clips: np.ndarray, published: np.ndarray) -> None:
    assert published.std() > 0.1, "a vector that says nothing"
    with torch.inference_mode():
        maps = network(torch.from_numpy(clips)).numpy()
    np.testing.assert_allclose(maps, published, rtol=0, atol=RELATIVE * published.max())


def test_the_bounds_of_memory_do_not_change_the_maps(
    small: VideoDepthAnything, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.load(seeded.PARITY / "vda_vits.npz")
    monkeypatch.setattr(head, "TEMPORAL_ELEMENTS", 40_000)
    monkeypatch.setattr(head, "REFINED_TOGETHER_ON_CPU", 3)
    _assert_same(small, vectors["forward0_in"], vectors["forward0_out"])


def test_clips_of_a_batch_do_not_see_each_other(small: VideoDepthAnything) -> None:
    clips = torch.from_numpy(np.load(seeded.PARITY / "vda_vits.npz")["forward1_in"])
    with torch.inference_mode():
        torch.testing.assert_close(small(clips)[1], small(clips[1:])[0], rtol=1e-5, atol=1e-5)


def test_frames_of_a_clip_do_see_each_other(small: VideoDepthAnything) -> None:
    clips = torch.from_numpy(np.load(seeded.PARITY / "vda_vits.npz")["forward0_in"])
    with torch.inference_mode():
        together, shorter = small(clips), small(clips[:, :3])
    assert (together[:, :3] - shorter).abs().max() > 0.01


def test_temporal_modules_start_as_the_identity() -> None:
    torch.manual_seed(1)
    video = VideoDepthAnything("vits").eval()
    single = VideoDepthAnything("vits", temporal=False).eval()
    single.load_state_dict({k: v for k, v in video.state_dict().items() if "motion" not in k}, strict=True)
    clip = torch.randn(1, 4, 3, 28, 42)
    with torch.inference_mode():
        each = torch.stack([single(clip[:, [number]])[0, 0] for number in range(4)])
        torch.testing.assert_close(video(clip)[0], each, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter_that_is_used() -> None:
    """Training goes through the same code: chunks and all."""
    network = seeded.network("vits", seed=11).requires_grad_(requires_grad=True)
    network(torch.from_numpy(np.load(seeded.PARITY / "vda_vits.npz")["forward1_in"][:1])).mean().backward()
    unused = {name for name, value in network.named_parameters() if value.grad is None}
    skip_of_the_coarsest_level = {name for name in unused if "refinenet4.resConfUnit1" in name}
    assert unused == skip_of_the_coarsest_level | {"pretrained.mask_token"}


def test_dimensions_are_those_of_the_shapes() -> None:
    for size, dimensions in DIMENSIONS.items():
        shapes = seeded.published_shapes(size)
        assert shapes["pretrained.cls_token"] == (1, 1, dimensions.width)
        assert f"pretrained.blocks.{dimensions.depth - 1}.norm1.weight" in shapes
        assert f"pretrained.blocks.{dimensions.depth}.norm1.weight" not in shapes
        assert dimensions.width // dimensions.heads == 64


def test_vectors_were_made_with_these_shapes() -> None:
    meta = json.loads(bytes(np.load(seeded.PARITY / "vda_vits.npz")["meta"]))
    assert {name: tuple(shape) for name, shape in meta["shapes_vits"].items()} == seeded.published_shapes("vits")
