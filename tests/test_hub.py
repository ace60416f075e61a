"""Depth models of transformers: tiny ones with seeded random weights, saved to a folder, against direct calls."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from recon.errors import MissingPackageError, WeightsError
from recon.files import sha256_of
from recon.io.ffv1 import Coding
from recon.models import DisparityNetwork
from recon.models.hub import CONFIG, PROCESSOR, TENSORS, HubNetwork, Preparation, folder_of
from recon.types import Picture

transformers = pytest.importorskip("transformers", reason="needs the extra hub")

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
DEPTH_ANYTHING = {
    "size": {"height": 56, "width": 56},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 14,
    "resample": 3,
    "do_pad": False,
    **IMAGENET,
}
ZOEDEPTH = {
    "size": {"height": 64, "width": 96},
    "keep_aspect_ratio": True,
    "ensure_multiple_of": 32,
    "resample": 2,
    "do_pad": True,
    **HALF,
}
DEPTH_PRO = {"size": {"height": 64, "width": 64}, "resample": 2, **HALF}
FOV = 50.0
"""Degrees that the tiny Depth Pro says of every picture."""


def dinov2(**changes: object) -> Any:
    values: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "image_size": 70,
        "patch_size": 14,
        "use_mask_token": False,
    }
    return transformers.Dinov2Config(**values | changes)


def depth_anything(**changes: object) -> Any:
    backbone = dinov2(reshape_hidden_states=False, apply_layernorm=True, out_indices=[1, 2, 3, 4])
    small = {"reassemble_hidden_size": 16, "fusion_hidden_size": 8, "head_hidden_size": 8}
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], **small, **changes
    )
    return transformers.DepthAnythingForDepthEstimation(config)


def depth_pro(*, fov_model: bool = True) -> Any:
    vit = dinov2(image_size=32, patch_size=8).to_dict()
    config = transformers.DepthProConfig(
        patch_size=32,
        fusion_hidden_size=16,
        intermediate_hook_ids=[1, 0],
        intermediate_feature_dims=[8, 8],
        scaled_images_ratios=[0.5, 1.0],
        scaled_images_overlap_ratios=[0.0, 0.2],
        scaled_images_feature_dims=[16, 12],
        image_model_config=vit,
        patch_model_config=vit,
        fov_model_config=vit,
        use_fov_model=fov_model,
    )
    model = transformers.DepthProForDepthEstimation(config)
    if not fov_model:
        return model
    with torch.no_grad():
        last = [layer for layer in model.fov_model.head.layers if isinstance(layer, torch.nn.Conv2d)][-1]
        last.weight.zero_()
        last.bias.fill_(FOV)
    return model


def zoedepth() -> Any:
    backbone = transformers.BeitConfig(
        image_size=64,
        patch_size=16,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
        bottleneck_features=16,
        num_relative_features=16,
        bin_embedding_dim=8,
        num_attractors=[4, 2, 2, 1],
        bin_configurations=[{"n_bins": 8, "min_depth": 0.001, "max_depth": 10.0, "name": "nyu"}],
        attractor_kind="mean",
    )
    return transformers.ZoeDepthForDepthEstimation(config)


MODELS: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "relative": (depth_anything, DEPTH_ANYTHING),
    "metric": (lambda: depth_anything(depth_estimation_type="metric", max_depth=20), DEPTH_ANYTHING),
    "depth-pro": (depth_pro, DEPTH_PRO),
    "depth-pro without a field of view": (lambda: depth_pro(fov_model=False), DEPTH_PRO),
    "zoedepth": (zoedepth, ZOEDEPTH),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every model in a folder, as a repository on the hub has it."""
    root = tmp_path_factory.mktemp("models")
    for name, (make, processor) in MODELS.items():
        torch.manual_seed(0)
        make().save_pretrained(root / name)
        (root / name / PROCESSOR).write_text(json.dumps(processor))
    return {name: root / name for name in MODELS}


@pytest.fixture
def picture() -> Picture:
    """Smooth, so that filters agree; not square, and not of the size that models want."""
    y, x = np.mgrid[0:90, 0:130]
    waves = [np.sin(x / 9) + np.cos(y / 7), np.sin(x / 15 + y / 11), np.cos(x / 8 - y / 13)]
    values = np.clip(128 + 60 * np.stack(waves, -1), 0, 255).astype(np.uint8)
    values.setflags(write=False)  # as those of a Frame are
    return values


def loaded(folder: Path) -> HubNetwork:
    return HubNetwork.load(folder, name=folder.name, device="cpu")


def direct(folder: Path, values: torch.Tensor) -> Any:
    with torch.inference_mode():
        return transformers.AutoModelForDepthEstimation.from_pretrained(folder)(pixel_values=values)


def at_own_size(network: HubNetwork, picture: Picture) -> np.ndarray:
    return network.decode(network.encode([picture]), network.output_size(*picture.shape[:2]))[0]


class TestPreparation:
    @pytest.mark.parametrize("shape", [(90, 130), (130, 90), (40, 50), (64, 64), (30, 200)])
    def test_dpt_and_depth_anything_as_transformers_without_torchvision_prepares_them(
        self, shape: tuple[int, int]
    ) -> None:
        processors = pytest.importorskip("transformers.models.dpt.image_processing_pil_dpt")
        # Pillow cuts what overshoots to 0..255 between its two passes: greys that cannot.
        values = np.random.default_rng(0).integers(80, 176, (*shape, 3), np.uint8)
        theirs = processors.DPTImageProcessorPil(**DEPTH_ANYTHING)(values)["pixel_values"][0]
        ours = Preparation.from_config(DEPTH_ANYTHING, "depth_anything").prepared(values)[0].numpy()
        assert ours.shape == theirs.shape
        grey_level = 1 / 255 / min(IMAGENET["image_std"])
        # It also rounds to whole grey levels after each pass.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2.1 * grey_level)

    @pytest.mark.parametrize("shape", [(90, 130), (130, 90), (64, 64)])
    def test_zoedepth_as_transformers_without_torchvision_prepares_it(self, shape: tuple[int, int]) -> None:
        processors = pytest.importorskip("transformers.models.zoedepth.image_processing_pil_zoedepth")
        values = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        theirs = processors.ZoeDepthImageProcessorPil(**ZOEDEPTH)(values)["pixel_values"][0]
        ours = Preparation.from_config(ZOEDEPTH, "zoedepth").prepared(values)[0].numpy()
        np.testing.assert_allclose(ours, theirs, atol=1e-5)

    def test_depth_pro_squeezes_to_its_square(self) -> None:
        preparation = Preparation.from_config(DEPTH_PRO, "depth_pro")
        ours = preparation.prepared(np.full((30, 50, 3), 255, np.uint8))
        assert ours.shape == (1, 3, 64, 64)
        torch.testing.assert_close(ours, torch.ones_like(ours))

    @given(st.integers(8, 3000), st.integers(8, 3000))
    def test_sides_are_multiples_and_never_nothing(self, height: int, width: int) -> None:
        rows, columns = Preparation.from_config(DEPTH_ANYTHING, "depth_anything").input_size(height, width)
        assert rows % 14 == columns % 14 == 0
        assert min(rows, columns) >= 14
        assert 56 in {rows, columns}

    @pytest.mark.parametrize("lack", ["size", "image_mean"])
    def test_a_number_that_is_missing_is_named(self, folders: dict[str, Path], tmp_path: Path, lack: str) -> None:
        folder = copied(folders["relative"], tmp_path)
        (folder / PROCESSOR).write_text(json.dumps({key: DEPTH_ANYTHING[key] for key in DEPTH_ANYTHING if key != lack}))
        with pytest.raises(WeightsError, match=rf"{PROCESSOR}.*{lack}"):
            loaded(folder)


class TestMaps:
    def test_relative_maps_are_the_models(self, folders: dict[str, Path], picture: Picture) -> None:
        network = loaded(folders["relative"])
        values = Preparation.from_config(DEPTH_ANYTHING, "depth_anything").prepared(picture)
        theirs = direct(folders["relative"], values).predicted_depth[0].numpy()
        assert network.output_size(90, 130) == theirs.shape == (56, 84)
        assert np.ptp(theirs) > 0
        np.testing.assert_allclose(at_own_size(network, picture), theirs, rtol=1e-5, atol=1e-7)

    @pytest.mark.parametrize(
        ("name", "quantity"),
        [
            ("relative", "disparity"),
            ("metric", "depth"),
            ("depth-pro", "depth"),
            ("depth-pro without a field of view", "disparity"),
            ("zoedepth", "depth"),
        ],
    )
    def test_what_the_numbers_mean(self, folders: dict[str, Path], picture: Picture, name: str, quantity: str) -> None:
        network: DisparityNetwork[torch.Tensor] = loaded(folders[name])
        assert network.quantity == quantity
        assert (network.window, network.batch) == (1, 1)
        maps = network.decode(network.encode([picture, picture[:, ::-1]]), (45, 65))
        assert maps.shape == (2, 45, 65)
        assert maps.dtype == np.float32
        assert (maps[np.isfinite(maps)] >= 0).all()
        assert quantity == "disparity" or not (maps <= 0).any()

    def test_depth_pro_turns_its_canonical_inverse_depth_into_metres(
        self, folders: dict[str, Path], picture: Picture
    ) -> None:
        """Bochkovskii et al., arXiv 2410.02073, section 3: depth = f / (width * canonical inverse depth)."""
        values = Preparation.from_config(DEPTH_PRO, "depth_pro").prepared(picture)
        said = direct(folders["depth-pro"], values)
        assert said.field_of_view.item() == pytest.approx(FOV)
        focal_over_width = 0.5 / np.tan(np.radians(FOV) / 2)
        canonical = torch.nn.functional.interpolate(said.predicted_depth[None], (64, 64), mode="bilinear")[0, 0].numpy()
        expected = np.clip(focal_over_width / np.maximum(canonical, 1e-9), 1e-4, 1e3)
        np.testing.assert_allclose(at_own_size(loaded(folders["depth-pro"]), picture), expected, rtol=1e-4)

    @pytest.mark.parametrize("shape", [(90, 130), (130, 90), (64, 64)])
    def test_depth_pro_at_the_size_of_the_picture(
        self, folders: dict[str, Path], picture: Picture, shape: tuple[int, int]
    ) -> None:
        """The published processor takes the focal length in pixels of the picture; its width must cancel, upright too.

        Turned over last, after resizing: between near and far, that is not the mean depth.
        """
        seen = np.ascontiguousarray(np.resize(picture, (*shape, 3)))
        width, resize = shape[1], torch.nn.functional.interpolate
        said = direct(folders["depth-pro"], Preparation.from_config(DEPTH_PRO, "depth_pro").prepared(seen))
        focal = 0.5 * width / np.tan(0.5 * np.radians(said.field_of_view.item()))
        at_input = resize(said.predicted_depth[None], (64, 64), mode="bilinear")
        inverse = resize(at_input * width / focal, shape, mode="bilinear")[0, 0].numpy()
        network = loaded(folders["depth-pro"])
        ours = network.decode(network.encode([seen]), shape)[0]
        assert np.ptp(ours) > 0
        np.testing.assert_allclose(ours, 1 / np.clip(inverse, 1e-3, 1e4), rtol=1e-4)

    def test_the_sky_of_depth_pro_leaves_the_foreground_its_precision(self, folders: dict[str, Path]) -> None:
        """A store keeps the maps in 16 bits; its step is set by the farthest value."""
        network = loaded(folders["depth-pro"])
        inverse = torch.linspace(0, 2, 64 * 64).reshape(64, 64)
        depth = network.decode([inverse], (64, 64))[0]
        assert depth.max() == pytest.approx(1000)
        coding = Coding.finest(depth)
        assert np.abs(coding.values(coding.codes(depth)) - depth).max() < 0.008
        np.testing.assert_allclose(depth[inverse > 1e-3], 1 / inverse[inverse > 1e-3], rtol=1e-6)

    def test_depth_pro_without_a_field_of_view_knows_no_metres(
        self, folders: dict[str, Path], picture: Picture
    ) -> None:
        folder = folders["depth-pro without a field of view"]
        said = direct(folder, Preparation.from_config(DEPTH_PRO, "depth_pro").prepared(picture))
        assert said.field_of_view is None
        canonical = torch.nn.functional.interpolate(said.predicted_depth[None], (64, 64), mode="bilinear")[0, 0].numpy()
        np.testing.assert_allclose(at_own_size(loaded(folder), picture), canonical, rtol=1e-5, atol=1e-7)

    def test_zoedepths_margin_is_cut_off_again(self, folders: dict[str, Path], picture: Picture) -> None:
        preparation = Preparation.from_config(ZOEDEPTH, "zoedepth")
        assert preparation.margins(90, 130) == (20, 24)
        said = direct(folders["zoedepth"], preparation.prepared(picture)).predicted_depth[None]
        whole = torch.nn.functional.interpolate(said, (90 + 40, 130 + 48), mode="bilinear")[0, 0].numpy()
        network = loaded(folders["zoedepth"])
        ours = network.decode(network.encode([picture]), (90, 130))[0]
        # Cut at the network's resolution here, at the picture's there: at most half a pixel of the network apart.
        steepest = np.abs(np.diff(whole, axis=0)).max() + np.abs(np.diff(whole, axis=1)).max()
        assert np.abs(ours - whole[20:-20, 24:-24]).max() < steepest * 130 / 64

    def test_a_map_is_that_of_its_own_picture(self, folders: dict[str, Path], picture: Picture) -> None:
        network = loaded(folders["relative"])
        together = network.encode([picture, np.zeros_like(picture)])
        torch.testing.assert_close(together[0], network.encode([picture])[0], rtol=0, atol=0)

    def test_numbers_that_are_not_finite_are_refused(self, folders: dict[str, Path], picture: Picture) -> None:
        network = loaded(folders["relative"])
        with pytest.raises(WeightsError, match="not finite"):
            network.decode([network.encode([picture])[0] * torch.inf], (56, 84))

    def test_identity(self, folders: dict[str, Path]) -> None:
        assert loaded(folders["relative"]).identity == {
            "name": "relative",
            "sha256": sha256_of(folders["relative"] / TENSORS),
            "input_size": "56x56",
            "precision": "float32",
        }


def copied(folder: Path, to: Path) -> Path:
    for file in (CONFIG, PROCESSOR, TENSORS):
        (to / file).write_bytes((folder / file).read_bytes())
    return to


class TestLoading:
    def test_nothing_is_printed(self, folders: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
        bars = transformers.utils.logging.is_progress_bar_enabled()
        loaded(folders["relative"])
        assert capfd.readouterr() == ("", "")
        assert transformers.utils.logging.is_progress_bar_enabled() == bars

    def test_missing_parameters_are_not_left_random(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = copied(folders["relative"], tmp_path)
        tensors = load_file(folder / TENSORS)
        del tensors["head.conv1.weight"]
        save_file(tensors, folder / TENSORS, metadata={"format": "pt"})
        with pytest.raises(WeightsError, match=r"1 parameters are missing.*head\.conv1\.weight"):
            loaded(folder)

    def test_only_safetensors_are_read(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = copied(folders["relative"], tmp_path)
        torch.save(load_file(folder / TENSORS), folder / "pytorch_model.bin")
        (folder / TENSORS).unlink()
        with pytest.raises(WeightsError, match=rf"has no {TENSORS}"):
            loaded(folder)

    def test_a_damaged_file(self, folders: dict[str, Path], tmp_path: Path) -> None:
        folder = copied(folders["relative"], tmp_path)
        (folder / TENSORS).write_bytes(b"<html>")
        with pytest.raises(WeightsError, match="cannot read it"):
            loaded(folder)

    def test_another_kind_of_model(self, tmp_path: Path) -> None:
        (tmp_path / CONFIG).write_text('{"model_type": "bert"}')
        with pytest.raises(WeightsError, match=r"'bert' are not known; known are depth_anything"):
            loaded(tmp_path)

    def test_no_configuration(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=CONFIG):
            loaded(tmp_path)

    def test_without_transformers(self, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "transformers", None)
        with pytest.raises(MissingPackageError, match=r"pip install 'recon-video\[hub\]'"):
            loaded(folders["relative"])


def etag_of(content: bytes) -> str:
    """As the hub states it: git's hash of small files, SHA-256 of those in its large file storage."""
    if len(content) < 10_000:
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def served() -> Iterator[Callable[[Path], str]]:
    """Serve a folder as the repository someone/Tiny-hf; gives the address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(folder: Path) -> str:
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> bytes:
                assert self.path.startswith("/someone/Tiny-hf/resolve/main/")
                content = (folder / self.path.rpartition("/")[2]).read_bytes()
                self.send_response(200)
                self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
                self.send_header("ETag", f'"{etag_of(content)}"')
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                return content

            def do_GET(self) -> None:
                self.wfile.write(self.do_HEAD())

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


class TestFolder:
    @pytest.fixture(autouse=True)
    def _no_network(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.delenv("RECON_WEIGHTS", raising=False)
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there

    def test_a_folder_is_itself(self, folders: dict[str, Path]) -> None:
        assert folder_of(str(folders["relative"])) == folders["relative"]

    def test_a_sub_folder_of_the_weights(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "Tiny-hf").mkdir()
        monkeypatch.setenv("RECON_WEIGHTS", str(tmp_path))
        assert folder_of("someone/Tiny-hf") == tmp_path / "Tiny-hf"

    def test_without_network(self) -> None:
        with pytest.raises(WeightsError, match="hf download someone/Tiny-hf --local-dir weights/Tiny-hf"):
            folder_of("someone/Tiny-hf")

    def test_from_the_hub(
        self, folders: dict[str, Path], served: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", served(folders["relative"]))
        folder = folder_of("someone/Tiny-hf")
        for file in (CONFIG, PROCESSOR, TENSORS):
            assert (folder / file).read_bytes() == (folders["relative"] / file).read_bytes()
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        assert folder_of("someone/Tiny-hf") == folder, "the cache needs no network"
