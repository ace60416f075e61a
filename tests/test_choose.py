"""Which network a run gets, without network: what is found, what stands in, and what is said."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from recon.errors import MissingPackageError, OptionError, WeightsError
from recon.files import sha256_of
from recon.models import choose, moge, weights
from recon.models.choose import choose_metric, choose_network
from recon.models.vda import VideoDepthAnything
from recon.models.video_depth import Execution
from recon.settings import AnchorSettings, DepthSettings

NO_DOWNLOAD = DepthSettings(download=False)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without network whose only place for weights is this empty folder."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv("RECON_WEIGHTS", str(folder))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture(scope="session")
def put(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, bool], Path]:
    """Put weights of a small network at a path, with or without temporal modules; random ones, made once."""
    made: dict[bool, Path] = {}

    def put(path: Path, temporal: bool) -> Path:  # noqa: FBT001 - says what to put
        if temporal not in made:
            torch.manual_seed(0)
            made[temporal] = tmp_path_factory.mktemp("weights") / "network.safetensors"
            save_file(VideoDepthAnything("vits", temporal=temporal).state_dict(), made[temporal])
        path.symlink_to(made[temporal])
        return path

    return put


Put = Callable[[Path, bool], Path]


class TestAutomatic:
    def test_video_depth_anything_comes_first(self, folder: Path, put: Put, caplog: pytest.LogCaptureFixture) -> None:
        put(folder / "video_depth_anything_vits.safetensors", True)
        put(folder / "depth_anything_v2_vits.safetensors", False)
        network = choose_network(DepthSettings(device="cpu"))
        assert network.identity["name"] == "vda-s"
        assert (network.window, network.quantity) == (32, "disparity")
        assert caplog.records == []

    def test_depth_anything_stands_in_and_says_that_it_flickers(
        self, folder: Path, put: Put, caplog: pytest.LogCaptureFixture
    ) -> None:
        put(folder / "depth_anything_v2_vits.safetensors", False)
        with caplog.at_level(logging.INFO, "recon"):
            network = choose_network(DepthSettings(device="cpu"))
        assert network.identity["name"] == "depth-anything-v2-s"
        assert network.window == 1
        [why, warning] = caplog.records
        assert why.levelno == logging.INFO
        assert "cannot be reached" in why.getMessage()
        assert warning.levelno == logging.WARNING
        assert "flicker" in warning.getMessage()
        assert "\n" not in warning.getMessage()

    def test_with_nothing_there_is_one_error_that_says_how(self) -> None:
        with pytest.raises(WeightsError, match=r"vda-s .*116 MB.*RECON_WEIGHTS.*--weights FILE") as caught:
            choose_network(DepthSettings())
        assert str(caught.value).count("hf download") == 1

    def test_no_download_asks_nobody(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(weights, "download_file", lambda *_: pytest.fail("asked the hub"))
        with pytest.raises(WeightsError, match="downloads are switched off"):
            choose_network(NO_DOWNLOAD)

    def test_the_place_of_the_model_that_ships_is_empty(self) -> None:
        assert choose._shipped() is None

    def test_a_download_that_is_damaged_is_not_passed_over(
        self, folder: Path, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Only a hub out of reach lets the stand-in take over: a wrong checksum is an error."""

        def damaged(*_: object) -> Path:
            raise WeightsError("does not match its checksum")

        put(folder / "depth_anything_v2_vits.safetensors", False)
        monkeypatch.setattr(weights, "download_file", damaged)
        with pytest.raises(WeightsError, match="does not match its checksum"):
            choose_network(DepthSettings())


class TestNamed:
    def test_by_name(self, folder: Path, put: Put) -> None:
        put(folder / "metric_video_depth_anything_vits.safetensors", True)
        network = choose_network(DepthSettings(model="vda-metric-s", input_size=140, device="cpu"))
        assert network.quantity == "depth"
        assert network.identity["input_size"] == "140"
        assert network.identity["sha256"] == sha256_of(folder / "metric_video_depth_anything_vits.safetensors")

    def test_by_file_and_name(self, tmp_path: Path, put: Put) -> None:
        mine = put(tmp_path / "my-finetune.safetensors", True)
        assert choose_network(DepthSettings(model="vda-s", weights=mine, device="cpu")).window == 32

    def test_by_file_alone_the_published_name_tells(self, tmp_path: Path, put: Put) -> None:
        mine = put(tmp_path / "depth_anything_v2_vits.safetensors", False)
        network = choose_network(DepthSettings(weights=mine, device="cpu"))
        assert network.identity["name"] == "depth-anything-v2-s"

    def test_a_file_whose_name_tells_nothing(self, tmp_path: Path, put: Put) -> None:
        mine = put(tmp_path / "my-finetune.safetensors", True)
        with pytest.raises(OptionError, match="add --model NAME"):
            choose_network(DepthSettings(weights=mine))

    @pytest.mark.parametrize("model", ["vda", "moge", "moge-vitl", "midas"])
    def test_an_unknown_name_lists_what_there_is(self, model: str) -> None:
        with pytest.raises(OptionError, match=rf"--model {model}: known are auto, vda-s, ") as caught:
            choose_network(DepthSettings(model=model))
        assert str(caught.value).endswith("moge-3-vitl and transformers:REPOSITORY")

    @pytest.mark.parametrize("known", weights.KNOWN, ids=lambda known: known.name)
    def test_every_network_that_recon_models_lists_can_be_named(self, known: weights.KnownWeights) -> None:
        with pytest.raises(WeightsError, match=rf"^{known.name} .*downloads are switched off.*--weights FILE"):
            choose_network(DepthSettings(model=known.name, download=False))

    def test_a_named_model_that_is_missing_is_not_replaced(self, folder: Path, put: Put) -> None:
        put(folder / "depth_anything_v2_vits.safetensors", False)
        with pytest.raises(WeightsError, match=r"vda-b .*CC-BY-NC-4\.0, not for commercial use"):
            choose_network(DepthSettings(model="vda-b"))

    def test_weights_do_not_go_with_transformers(self) -> None:
        with pytest.raises(OptionError, match="transformers:FOLDER"):
            choose_network(DepthSettings(model="transformers:someone/Model", weights=Path("x.safetensors")))

    def test_weights_that_are_named_must_be_there(self) -> None:
        for model in ("vda-s", "moge-2-vits-normal"):
            with pytest.raises(WeightsError, match=r"^--weights: there is no file /no/model\.pt$"):
                choose_network(DepthSettings(model=model, weights=Path("/no/model.pt")))

    def test_a_repository_without_network(self) -> None:
        with pytest.raises(WeightsError, match=r"hf download someone/Model --local-dir weights/Model") as caught:
            choose_network(DepthSettings(model="transformers:someone/Model"))
        assert "--model transformers:FOLDER" in str(caught.value)

    def test_the_workshops_weights(self, vits_weights: Path) -> None:
        network = choose_network(DepthSettings(weights=vits_weights, device="cpu"))
        assert network.identity["sha256"] == "e0d40f57e4fec91c011b08365bab55b1ceefffad109d0e1253f7d7aac9170625"


class TestMogeForEveryFrame:
    """What reaches the adapter; the adapter itself is for test_moge."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str, Execution]]:
        asked: list[tuple[Path, str, Execution]] = []
        monkeypatch.setattr(
            moge.MogeFrames, "load", lambda path, *, name, execution: asked.append((path, name, execution))
        )
        return asked

    @pytest.mark.parametrize("known", [each for each in weights.KNOWN if each.family.startswith("moge")])
    def test_weights_are_found_like_those_of_the_anchor(
        self, folder: Path, asked: list[tuple[Path, str, Execution]], known: weights.KnownWeights
    ) -> None:
        file = folder / known.folder / "model.pt"
        file.parent.mkdir()
        file.touch()
        choose_network(DepthSettings(model=known.name, device="cpu", download=False))
        assert asked == [(file, known.name, Execution(0, torch.device("cpu"), torch.float32))]

    @pytest.mark.parametrize("name", ["moge-2-vitb-normal.pt", "moge-2-vitb-normal/model.pt"])
    def test_a_file_alone_tells_by_its_own_name_or_that_of_its_folder(
        self, tmp_path: Path, asked: list[tuple[Path, str, Execution]], name: str
    ) -> None:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
        choose_network(DepthSettings(weights=file, device="cpu"))
        assert [(path, known) for path, known, _ in asked] == [(file, "moge-2-vitb-normal")]

    def test_a_file_called_like_all_others_tells_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "model.pt").touch()
        with pytest.raises(OptionError, match="add --model NAME"):
            choose_network(DepthSettings(weights=tmp_path / "model.pt"))

    def test_the_size_of_the_input_is_its_own_affair(
        self, folder: Path, asked: list[tuple[Path, str, Execution]], caplog: pytest.LogCaptureFixture
    ) -> None:
        (folder / "moge-2-vits-normal.pt").touch()
        choose_network(DepthSettings(model="moge-2-vits-normal", input_size=280, device="cpu"))
        assert len(asked) == 1
        assert [record.getMessage() for record in caplog.records] == ["--input-size is ignored: MoGe chooses its own"]

    def test_half_precision_needs_cuda(self, folder: Path) -> None:
        (folder / "moge-2-vits-normal.pt").touch()
        with pytest.raises(OptionError, match="fp16 needs CUDA"):
            choose_network(DepthSettings(model="moge-2-vits-normal", device="cpu", precision="fp16"))


class TestMetric:
    def test_none_is_none(self) -> None:
        assert choose_metric(AnchorSettings(anchor="none"), device="cpu") is None

    def test_auto_goes_on_without_weights_and_says_why(self, caplog: pytest.LogCaptureFixture) -> None:
        pytest.importorskip("moge", reason="needs dlr-moge")
        with caplog.at_level(logging.INFO, "recon"):
            assert choose_metric(AnchorSettings(), device="cpu") is None
        [record] = caplog.records
        assert record.levelno == logging.INFO
        assert "moge-2-vits-normal" in record.getMessage()

    @pytest.mark.parametrize(
        "asked",
        [{"anchor": "first"}, {"anchor": "frames"}, {"sparse": "/map", "scale_from": "moge"}],
        ids=lambda asked: " ".join(asked.values()),
    )
    def test_who_asks_for_moge_gets_it_or_is_told_how(self, asked: dict[str, str]) -> None:
        pytest.importorskip("moge", reason="needs dlr-moge")
        with pytest.raises(WeightsError, match=r"moge-2-vits-normal \(.*141 MB.*--moge-weights FILE"):
            choose_metric(AnchorSettings.model_validate(asked), device="cpu")

    @pytest.mark.parametrize(
        "given",
        [
            {"anchor": "first", "first_frame_depth": "/depth.png"},
            {"anchor": "first", "metric_depth": "/lidar"},
            {"anchor": "frames", "metric_depth": "/lidar"},
            {"anchor": "sparse", "sparse": "/map"},
        ],
        ids=" ".join,
    )
    def test_where_metres_are_given_moge_is_not_insisted_on(self, given: dict[str, str]) -> None:
        assert choose_metric(AnchorSettings.model_validate(given), device="cpu") is None

    @pytest.mark.parametrize("anchor", ["auto", "first"])
    def test_a_file_that_the_user_names_must_be_there(self, anchor: str) -> None:
        pytest.importorskip("moge", reason="needs dlr-moge")
        settings = AnchorSettings.model_validate({"anchor": anchor, "moge_weights": "/no/model.pt"})
        with pytest.raises(WeightsError, match=r"there is no file /no/model\.pt"):
            choose_metric(settings, device="cpu")

    def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def absent(_: int) -> None:
            raise MissingPackageError("MoGe-2 needs the package `moge`")

        monkeypatch.setattr(moge, "module", absent)
        with caplog.at_level(logging.INFO, "recon"):
            assert choose_metric(AnchorSettings(), device="cpu") is None
        assert "needs the package" in caplog.text
        with pytest.raises(MissingPackageError):
            choose_metric(AnchorSettings(anchor="first"), device="cpu")

    @pytest.mark.parametrize(
        ("here", "chosen"),
        [
            (["moge-2-vits-normal"], "moge-2-vits-normal"),
            (["moge-2-vits-normal", "moge-2-vitb-normal"], "moge-2-vitb-normal"),
            (["moge-3-vitl", "moge-2-vits-normal"], "moge-2-vits-normal"),
        ],
        ids=["the-only-one", "the-largest", "not-moge-3-on-a-cpu"],
    )
    def test_the_best_that_is_found_and_can_run(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, here: list[str], chosen: str
    ) -> None:
        for name in here:
            (folder / f"{name}.pt").touch()
        asked: list[object] = []
        monkeypatch.setattr(moge, "module", lambda _: None)
        monkeypatch.setattr(moge.MogeNetwork, "load", lambda path, **how: asked.append((path, how["name"])))
        choose_metric(AnchorSettings(), device="cpu")
        assert asked == [(folder / f"{chosen}.pt", chosen)]
