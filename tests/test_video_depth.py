"""The adapter: sizes, colours, files of weights, devices, and what is promised of encode and decode."""

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import seeded
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from recon.errors import OptionError, WeightsError
from recon.models import DisparityNetwork
from recon.models.vda import VideoDepthAnything
from recon.models.video_depth import DEVIATION, MEAN, NetworkSpec, VideoDepthNetwork, input_shape, prepared
from recon.stages.disparity import infer
from recon.types import Frame, ShotFrame

SPEC = NetworkSpec("seeded", "vits", metric=False, sha256="5eed")


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Seeded weights for the small network, time encodings left out."""
    values = seeded.weights(seeded.published_shapes("vits"), 11)
    return {name: torch.from_numpy(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def weights(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "seeded.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture(scope="module")
def network(weights: Path) -> VideoDepthNetwork:
    return VideoDepthNetwork.load(weights, SPEC, input_size=28, device="cpu")


def frames(count: int, height: int = 40, width: int = 48) -> list[np.ndarray]:
    return list(seeded.clip(count, height, width, seed=3))


# ------------------------------------------------------------------------------------------------------------- input


@pytest.mark.parametrize(
    ("picture", "input_size", "expected"),
    [
        ((1080, 1920), 518, (518, 924)),
        ((480, 640), 518, (518, 686)),
        ((1920, 1080), 518, (924, 518)),
        ((518, 518), 518, (518, 518)),
        ((1000, 2000), 518, (462, 924)),  # 2 : 1 is longer than 16 : 9
        ((360, 640), 280, (280, 504)),
        ((48, 64), 28, (28, 42)),
        ((60, 34), 42, (70, 42)),
        ((100, 100), 300, (308, 308)),  # 300 is no multiple of 14, and 294 would be below it
        ((10, 3000), 518, (14, 4200)),
    ],
)
def test_input_size_follows_the_published_rule(
    picture: tuple[int, int], input_size: int, expected: tuple[int, int]
) -> None:
    assert input_shape(*picture, input_size) == expected


@given(st.integers(16, 4000), st.integers(16, 4000), st.integers(14, 1000))
def test_input_sides_are_patches_and_keep_the_shape(height: int, width: int, input_size: int) -> None:
    rows, columns = input_shape(height, width, input_size)
    assert rows % 14 == columns % 14 == 0
    assert input_shape(width, height, input_size) == (columns, rows)
    if max(height, width) <= 1.78 * min(height, width):
        assert input_size <= min(rows, columns) < input_size + 14


def test_pictures_are_resized_as_opencv_does() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (61, 83, 3), np.uint8)
    resized = cv2.resize(rgb.astype(np.float32) / 255, (98, 70), interpolation=cv2.INTER_CUBIC)
    expected = ((resized - np.float32(MEAN)) / np.float32(DEVIATION)).transpose(2, 0, 1)
    ours = prepared(torch.from_numpy(rgb[None]), (70, 98))[0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)  # 0.006 of a grey level


# --------------------------------------------------------------------------------------------------- encode and decode


def test_it_is_a_disparity_network(network: VideoDepthNetwork) -> None:
    assert isinstance(network, DisparityNetwork)
    assert (network.window, network.batch, network.quantity) == (32, 1, "disparity")
    assert network.identity == {"name": "seeded", "sha256": "5eed", "input_size": "28", "precision": "float32"}
    assert network.output_size(40, 48) == (28, 28)


def test_metric_weights_give_depth(weights: Path) -> None:
    assert VideoDepthNetwork.load(weights, replace(SPEC, metric=True), device="cpu").quantity == "depth"


def test_a_picture_has_the_same_features_whatever_is_beside_it(network: VideoDepthNetwork) -> None:
    pictures = frames(3)
    together = network.encode(pictures)
    for picture, features in zip(pictures, together, strict=True):
        (alone,) = network.encode([picture])
        assert all(torch.equal(one, other) for one, other in zip(alone.levels, features.levels, strict=True))


def test_features_and_maps_are_those_of_the_whole_network(
    network: VideoDepthNetwork, tensors: dict[str, torch.Tensor]
) -> None:
    whole = VideoDepthAnything("vits").eval()
    whole.load_weights(tensors)
    pictures = frames(5)
    with torch.inference_mode():
        expected = whole(prepared(torch.from_numpy(np.stack(pictures)), (28, 28))[None])[0].numpy()
    maps = network.decode(network.encode(pictures), (28, 28))
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, atol=1e-4)


def test_maps_are_resized_with_corners_kept(network: VideoDepthNetwork) -> None:
    features = network.encode(frames(2))
    small, large = network.decode(features, (28, 28)), network.decode(features, (55, 82))
    np.testing.assert_allclose(large[:, ::54, ::81], small[:, ::27, ::27], rtol=1e-5)
    np.testing.assert_allclose(large[:, ::2, ::3], small, rtol=1e-4, atol=1e-4)


def test_pictures_are_left_alone(network: VideoDepthNetwork) -> None:
    frame = Frame(0, 0.0, frames(1)[0])
    before = frame.rgb.copy()
    network.encode([frame.rgb])
    np.testing.assert_array_equal(frame.rgb, before)


def test_brain_floats_are_near_the_full_ones(weights: Path, network: VideoDepthNetwork) -> None:
    half = VideoDepthNetwork.load(weights, SPEC, input_size=28, device="cpu", precision="bf16")
    assert half.identity["precision"] == "bfloat16"
    full, rough = (net.decode(net.encode(frames(2)), (28, 28)) for net in (network, half))
    assert rough.dtype == np.float32
    assert 0 < np.abs(rough - full).max() < 0.1 * full.max()


def test_numbers_that_are_not_finite_are_an_error(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    broken = tensors | {"head.scratch.output_conv2.0.bias": torch.full((32,), float("nan"))}
    save_file(broken, tmp_path / "broken.safetensors")
    network = VideoDepthNetwork.load(tmp_path / "broken.safetensors", SPEC, input_size=28, device="cpu")
    with pytest.raises(WeightsError, match="seeded gave numbers that are not finite in float32"):
        network.decode(network.encode(frames(1)), (28, 28))


# ------------------------------------------------------------------------------------------------------------- devices


def test_half_precision_on_a_cpu_is_refused(weights: Path) -> None:
    with pytest.raises(OptionError, match="--precision fp16 needs CUDA, not cpu"):
        VideoDepthNetwork.load(weights, SPEC, device="cpu", precision="fp16")


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_refused(weights: Path, device: str) -> None:
    with pytest.raises(OptionError, match=f"--device {device} cannot be used here"):
        VideoDepthNetwork.load(weights, SPEC, device=device)


# ------------------------------------------------------------------------------------------------------------- weights


def test_files_of_both_kinds_with_time_encodings_or_without_are_one(
    tensors: dict[str, torch.Tensor], network: VideoDepthNetwork, tmp_path: Path
) -> None:
    published = VideoDepthAnything("vits")
    published.load_weights(tensors)
    torch.save(published.state_dict(), tmp_path / "published.pth")
    other = VideoDepthNetwork.load(tmp_path / "published.pth", SPEC, input_size=28, device="cpu")
    ours, theirs = (net.decode(net.encode(frames(2)), (28, 28)) for net in (network, other))
    np.testing.assert_array_equal(ours, theirs)


def single_picture_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same weights under the names of Depth Anything V2."""
    return {name.replace("head.", "depth_head."): v for name, v in tensors.items() if "motion" not in name}


def test_depth_anything_v2_sees_single_pictures(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(single_picture_weights(tensors), tmp_path / "da2.safetensors")
    network = VideoDepthNetwork.load(tmp_path / "da2.safetensors", SPEC, input_size=28, device="cpu")
    assert network.window == 1
    chunks = list(infer((ShotFrame(Frame(n, n / 9, rgb), 0) for n, rgb in enumerate(frames(18))), network))
    assert [len(chunk.estimates) for chunk in chunks] == [16, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "head.projects.0.bias"}, r"it lacks head\.projects\.0\.bias$"),
        (lambda t: t | {"head.extra": torch.zeros(1), "more": torch.zeros(1)}, "no use for head.extra and 1 more$"),
        (
            lambda t: t | {"pretrained.norm.bias": torch.zeros(7)},
            r"it has pretrained\.norm\.bias \(7,\) instead of \(384,\)$",
        ),
        (lambda _: {"conv1.weight": torch.zeros(3)}, "but of another network: it lacks .* no use for conv1.weight$"),
    ],
)
def test_weights_that_do_not_fit_are_refused_in_one_line(
    change: object, message: str, tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    assert callable(change)
    torch.save(change(tensors), tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match=message) as refusal:
        VideoDepthNetwork.load(tmp_path / "wrong.pth", SPEC, device="cpu")
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(f"{tmp_path / 'wrong.pth'}: not the weights of seeded (vits)")


def test_another_size_is_named(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"not the weights of big \(vitl\), but Video Depth Anything vits"):
        VideoDepthNetwork.load(weights, NetworkSpec("big", "vitl", metric=False, sha256=""), device="cpu")


class Malice:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, ("malice",))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_that_are_no_weights_are_refused_in_one_line(suffix: str, tmp_path: Path) -> None:
    contents = {
        "empty": b"",
        "text": b"version https://git-lfs.github.com/spec/v1\n",
        "code": pickle.dumps({"weight": Malice()}, protocol=2),
        "number": pickle.dumps(3, protocol=2),
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=name) as refusal:
            VideoDepthNetwork.load(path, SPEC, device="cpu")
        assert "\n" not in str(refusal.value)
    with pytest.raises(WeightsError, match="missing"):
        VideoDepthNetwork.load(tmp_path / f"missing{suffix}", SPEC, device="cpu")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_download_that_broke_off_is_refused(suffix: str, tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"half{suffix}"
    (torch.save if suffix == ".pth" else save_file)(tensors, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        VideoDepthNetwork.load(path, SPEC, device="cpu")


def test_a_checkpoint_of_a_training_run_is_refused(tensors: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"model": tensors, "epoch": 3}, tmp_path / "training.pth")
    with pytest.raises(WeightsError, match="holds something else than named tensors"):
        VideoDepthNetwork.load(tmp_path / "training.pth", SPEC, device="cpu")


# -------------------------------------------------------------------------------------------------------- real weights


@pytest.mark.shared
def test_video_network_from_real_single_picture_weights_begins_as_that_network(
    vits_weights: Path, tmp_path: Path
) -> None:
    """Depth Anything V2 Small is an initialisation of Video Depth Anything: temporal modules begin as the identity."""
    torch.manual_seed(0)
    temporal = {k: v for k, v in VideoDepthAnything("vits").state_dict().items() if "motion" in k}
    renamed = {k.replace("depth_head.", "head."): v.float() for k, v in load_file(vits_weights).items()}
    save_file(temporal | renamed, tmp_path / "begun.safetensors")
    single = VideoDepthNetwork.load(vits_weights, SPEC, input_size=70, device="cpu")
    video = VideoDepthNetwork.load(tmp_path / "begun.safetensors", SPEC, input_size=70, device="cpu")
    assert (single.window, video.window) == (1, 32)
    features = single.encode(frames(4, 100, 120))
    each = np.concatenate([single.decode([one], (100, 120)) for one in features])
    np.testing.assert_allclose(video.decode(features, (100, 120)), each, rtol=1e-4, atol=1e-4)
