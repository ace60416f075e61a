"""MoGe: the adapter against direct calls of the package, on a small network with seeded random weights."""

import importlib.util
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import ramp, write_clip
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from recon.errors import CameraError, MissingPackageError, OptionError, WeightsError
from recon.files import sha256_of
from recon.geometry import unproject
from recon.io.cloud import read_ply
from recon.io.depth import DepthFolder
from recon.io.store import StoredDepth
from recon.io.video import open_source
from recon.models import DisparityNetwork, MetricNetwork, StreamingNetwork
from recon.models import moge as module
from recon.models.choose import choose_metric, choose_network
from recon.models.moge import Detail, MogeFrames, MogeNetwork, available, field_of_view, generation_of
from recon.models.video_depth import Execution
from recon.pipelines.anchors import MetricEye, metric_anchor
from recon.pipelines.depth import Unobserved
from recon.pipelines.run import _measured, find_camera
from recon.settings import AnchorSettings, NetworkSettings, SamplingSettings
from recon.stages.disparity import infer
from recon.stages.letterbox import Content
from recon.types import Frame, Intrinsics, MetricPicture, Picture, ShotFrame
from recon_cli.cli import run

CPU = torch.device("cpu")
HEIGHT, WIDTH = 60, 100


@pytest.fixture(scope="module", autouse=True)
def _small_encoder() -> Iterator[None]:
    """One more encoder beside those of the package: two blocks of 48 channels."""
    backbones = pytest.importorskip("moge.model.dinov2.hub.backbones", reason="needs dlr-moge")
    transformers = importlib.import_module("moge.model.dinov2.models.vision_transformer")

    def tiny(**_: object) -> Any:
        return transformers.DinoVisionTransformer(
            img_size=140, patch_size=14, embed_dim=48, depth=2, num_heads=2, block_chunks=0
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "tiny", tiny, raising=False)
        yield


def head(channels: int) -> dict[str, Any]:
    return {
        "dim_in": [16, 16, 8, 8, 8],
        "dim_res_blocks": [8] * 5,
        "dim_out": [None] * 4 + [channels],
        "resamplers": ["bilinear"] * 4,
        "num_res_blocks": 0,
    }


def config() -> dict[str, Any]:
    """A MoGe-2 with hardly any encoder and hardly any head."""
    neck = head(1) | {"dim_in": [18, 2, 2, 2, 2], "dim_res_blocks": [16, 16, 8, 8, 8], "dim_out": None}
    return {
        "encoder": {"backbone": "tiny", "intermediate_layers": 2, "dim_out": 16},
        "neck": neck,
        "points_head": head(3),
        "mask_head": head(1),
        "scale_head": {"dims": [48, 8, 1]},
        "remap_output": "exp",
        "num_tokens_range": [40, 80],
    }


def direct(*, rays: float = 1.0, mask: float = 0.0) -> Any:
    """Seeded random weights, but for a path of its own for the image coordinates that MoGe feeds to its neck.

    With it the points lie near the rays of a pinhole camera, at a depth that the picture decides.

    Args:
        rays: 1 for a camera of about 90 degrees along the diagonal; -1 for one turned inside out.
        mask: added to the logit of the mask, which otherwise grows from left to right.
    """
    v2 = importlib.import_module("moge.model.v2")
    torch.manual_seed(0)
    model = v2.MoGeModel(**config()).eval()
    with torch.no_grad():
        for stack in (model.neck, model.points_head, model.mask_head):
            stack.resamplers[3][1].weight *= 0.1
            into = stack.input_blocks[4]
            into.weight[:] = torch.eye(*into.weight.shape[:2])[..., None, None]
            into.bias.zero_()
        model.points_head.output_blocks[4].weight[:2] = rays * torch.eye(2, 8)[..., None, None]
        model.points_head.output_blocks[4].bias.zero_()
        model.mask_head.output_blocks[4].weight[0, 0] = 3
        model.mask_head.output_blocks[4].bias += mask
    return model


def saved(model: Any, path: Path, **changes: object) -> Path:
    torch.save({"model_config": config() | changes, "model": model.state_dict()}, path)
    return path


def loaded(model: Any, folder: Path, detail: Detail | None = None) -> MogeNetwork:
    return MogeNetwork.load(saved(model, folder / "model.pt"), name="tiny", device=CPU, detail=detail)


@pytest.fixture
def picture() -> Picture:
    values = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    values.setflags(write=False)  # as those of a Frame are
    return values


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> MogeNetwork:
    return loaded(direct(), tmp_path_factory.mktemp("moge"))


def said_by(model: Any, picture: Picture, **keywords: object) -> dict[str, np.ndarray]:
    image = torch.tensor(picture).permute(2, 0, 1) / 255
    with module._quiet_autocast():
        said = model.infer(image=image, use_fp16=False, **keywords)
    return {name: values.numpy() for name, values in said.items()}


class TestAgainstThePackage:
    def test_depth_is_the_packages_with_nan_for_infinity(self, sound: MogeNetwork, picture: Picture) -> None:
        ours, theirs = sound(picture, None).depth, said_by(direct(), picture)
        unseen = ~theirs["mask"]
        assert 0 < unseen.sum() < unseen.size, "the test needs both"
        assert np.isinf(theirs["depth"][unseen]).all()
        np.testing.assert_array_equal(np.isnan(ours), unseen)
        np.testing.assert_array_equal(ours[~unseen], theirs["depth"][~unseen])
        assert ours.dtype == np.float32
        assert ours.shape == (HEIGHT, WIDTH)

    def test_intrinsics_are_in_pixels_of_a_picture_that_is_not_square(
        self, sound: MogeNetwork, picture: Picture
    ) -> None:
        camera, normalised = sound(picture, None).intrinsics, said_by(direct(), picture)["intrinsics"]
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        assert camera.fx == pytest.approx(normalised[0, 0] * WIDTH)
        assert camera.fy == pytest.approx(normalised[1, 1] * HEIGHT)
        assert (camera.cx, camera.cy) == (WIDTH / 2, HEIGHT / 2)
        assert camera.fx == pytest.approx(camera.fy, rel=1e-5), "pixels are square"

    def test_the_points_of_the_package_are_where_our_camera_puts_them(
        self, sound: MogeNetwork, picture: Picture
    ) -> None:
        theirs = said_by(direct(), picture)
        said = sound(picture, None)
        seen = theirs["mask"]
        np.testing.assert_allclose(
            unproject(said.depth, said.intrinsics)[seen], theirs["points"][seen], rtol=1e-4, atol=1e-5
        )

    @pytest.mark.parametrize("fov_x", [30.0, 63.5, 120.0])
    def test_a_field_of_view_that_is_known_is_kept(self, sound: MogeNetwork, picture: Picture, fov_x: float) -> None:
        ours, theirs = sound(picture, fov_x), said_by(direct(), picture, fov_x=fov_x)
        assert ours.intrinsics.fov_x == pytest.approx(fov_x, abs=1e-3)
        np.testing.assert_array_equal(ours.depth[theirs["mask"]], theirs["depth"][theirs["mask"]])

    @pytest.mark.parametrize("detail", [Detail(num_tokens=50), Detail(resolution_level=0)])
    def test_detail_reaches_the_network_only_where_it_is_set(
        self, tmp_path: Path, picture: Picture, detail: Detail
    ) -> None:
        network = loaded(direct(), tmp_path, detail)
        theirs = said_by(direct(), picture, **detail.arguments)
        np.testing.assert_array_equal(network(picture, 60.0).depth.shape, theirs["depth"].shape)
        np.testing.assert_array_equal(np.isnan(network(picture, None).depth), ~theirs["mask"])
        assert network.identity.items() >= {key: str(value) for key, value in detail.arguments.items()}.items()

    def test_it_is_a_metric_network(self, sound: MogeNetwork) -> None:
        network: MetricNetwork = sound
        assert network.identity.keys() == {"name", "sha256"}

    def test_identity_holds_the_hash_of_the_file(self, tmp_path: Path) -> None:
        network = loaded(direct(), tmp_path)
        assert network.identity == {"name": "tiny", "sha256": sha256_of(tmp_path / "model.pt")}


class Recorder(torch.nn.Module):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        self.asked: dict[str, Any] = {}

    def infer(self, *order: object, **keywords: object) -> dict[str, torch.Tensor]:
        assert order == (), "the order differs between MoGe-1, -2 and -3"
        self.asked = keywords
        return {"depth": torch.ones(6, 8), "mask": torch.ones(6, 8, dtype=torch.bool), "intrinsics": torch.eye(3)}


class TestWhatMogeIsAsked:
    def test_keywords_only_full_precision_on_a_cpu_and_nothing_that_is_not_set(self) -> None:
        model = Recorder()
        MogeNetwork(model, {}, Detail(), metric=True)(np.full((6, 8, 3), 51, np.uint8), 60.0)
        assert model.asked.keys() == {"image", "fov_x", "use_fp16"}
        assert model.asked["use_fp16"] is False
        assert model.asked["image"].shape == (3, 6, 8)
        assert model.asked["image"].unique().tolist() == pytest.approx([0.2])


FP32 = Execution(0, CPU, torch.float32)


class TestEveryFrame:
    """MoGe as the network for the depth of a video: each frame is what the package says of it alone."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return saved(direct(), tmp_path / "moge-2-vits-normal.pt")

    @pytest.fixture
    def network(self, path: Path) -> MogeFrames:
        return MogeFrames.load(path, name="tiny", execution=FP32)

    def test_it_is_a_network_for_single_pictures_that_knows_metres(self, network: MogeFrames) -> None:
        protocol: DisparityNetwork[np.ndarray] = network
        assert isinstance(protocol, DisparityNetwork)
        assert not isinstance(protocol, StreamingNetwork)
        assert (protocol.quantity, protocol.window, protocol.batch) == ("depth", 1, 1)
        assert protocol.output_size(60, 100) == (60, 100)

    def test_maps_are_the_packages_in_its_full_detail(self, network: MogeFrames, picture: Picture) -> None:
        pictures = [picture, np.ascontiguousarray(picture[::-1])]
        maps = network.decode(network.encode(pictures), (HEIGHT, WIDTH))
        assert maps.dtype == np.float32
        for ours, seen in zip(maps, pictures, strict=True):
            theirs = said_by(direct(), seen)
            np.testing.assert_array_equal(np.isnan(ours), ~theirs["mask"])
            np.testing.assert_array_equal(ours[theirs["mask"]], theirs["depth"][theirs["mask"]])
        assert np.isnan(maps).any(), "the test needs sky"
        assert (maps[~np.isnan(maps)] > 0).all()

    def test_at_another_size(self, network: MogeFrames, picture: Picture) -> None:
        features = network.encode([picture])
        [small] = network.decode(features, (HEIGHT // 2, WIDTH // 2))
        assert small.shape == (HEIGHT // 2, WIDTH // 2)
        blocks = features[0].reshape(HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(1, 3))
        np.testing.assert_allclose(small, blocks, rtol=1e-5)  # bilinear by half: means, NaN where one is unknown

    def test_a_frame_without_surfaces_is_unknown_and_no_reason_to_stop(self, tmp_path: Path, picture: Picture) -> None:
        network = MogeFrames.load(saved(direct(mask=-100), tmp_path / "model.pt"), name="tiny", execution=FP32)
        assert np.isnan(network.decode(network.encode([picture]), (HEIGHT, WIDTH))).all()

    def test_identity_tells_weights_and_precision(self, network: MogeFrames, path: Path) -> None:
        assert network.identity == {"name": "tiny", "sha256": sha256_of(path), "precision": "float32"}

    def test_half_precision_reaches_the_package(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        """As on CUDA; the arithmetic itself cannot be had on a CPU."""
        asked: list[object] = []
        monkeypatch.setattr(MogeNetwork, "load", lambda *_, half, **__: asked.append(half) or Metric(half))
        for dtype in (torch.float16, torch.float32):
            MogeFrames.load(path, name="tiny", execution=Execution(0, CPU, dtype))
        assert asked == [True, False]

    def test_bf16_is_refused(self, path: Path) -> None:
        with pytest.raises(OptionError, match="--precision bf16: tiny knows fp32"):
            MogeFrames.load(path, name="tiny", execution=Execution(0, CPU, torch.bfloat16))

    def test_moge_1_has_no_metres_to_give(self, tmp_path: Path) -> None:
        torch.save({"model_config": moge_1(), "model": direct_1().state_dict()}, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match=r"its depth has no unit.* give weights of MoGe-2") as caught:
            MogeFrames.load(tmp_path / "model.pt", name="moge-2-vitl-normal", execution=FP32)
        assert "\n" not in str(caught.value)

    def test_by_name_with_the_weights_of_the_anchor(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, picture: Picture
    ) -> None:
        monkeypatch.setenv("RECON_WEIGHTS", str(path.parent))
        network = choose_network(NetworkSettings(model="moge-2-vits-normal", device="cpu", download=False))
        anchor = choose_metric(AnchorSettings(anchor="frames"), device="cpu", download=False)
        assert anchor is not None
        assert network.identity["sha256"] == anchor.identity["sha256"]
        assert network.quantity == "depth"
        assert not np.isnan(network.decode(network.encode([picture]), (HEIGHT, WIDTH))).all()

    def test_maps_with_holes_go_through_the_windows_of_a_video(self, network: MogeFrames, picture: Picture) -> None:
        frames = [ShotFrame(Frame(number, number / 30, np.roll(picture, number, axis=1)), 0) for number in range(3)]
        [chunk] = infer(iter(frames), network)
        for estimate, frame in zip(chunk.estimates, frames, strict=True):
            np.testing.assert_array_equal(estimate.values, network.encode([frame.frame.rgb])[0])


class Metric:
    """A network of which only the unit is asked."""

    metric = True

    def __init__(self, half: object) -> None:
        self.identity = {"name": f"{half}"}


ROOM = Path(__file__).parents[1] / "samples" / "room"
BLIND, SKY = 3, 60
SECONDS, FRAMES = 0.3, 6


class Sighted(torch.nn.Module):
    """Answers like the package, with the true depth of the sample room; infinite, masked out, in the topmost rows.

    Of one frame, it sees nothing at all.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        depth = DepthFolder(ROOM / "depth", scale=1000.0)
        frames = open_source(ROOM / "room.mp4", SamplingSettings(end=seconds)).frames()
        self._depth = {frame.rgb.tobytes(): (frame.index, depth[frame.index]) for frame in frames}

    def infer(self, *, image: torch.Tensor, **_: object) -> dict[str, torch.Tensor]:
        picture = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        number, depth = self._depth[picture.tobytes()]
        mask = torch.ones(depth.shape, dtype=torch.bool)
        mask[: len(mask) if number == BLIND else SKY] = False
        said = torch.where(mask, torch.from_numpy(depth.copy()), torch.inf)
        return {"depth": said, "mask": mask, "intrinsics": torch.eye(3)}


class TestHolesReachEveryResult:
    """Sky is NaN from the network to the files: stored, written, shown, tracked, fused."""

    @pytest.fixture(autouse=True)
    def _moge(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """MoGe that knows the truth about the room, as the network of the commands."""
        logger = logging.getLogger("recon")
        level = logger.level
        frames = MogeFrames(MogeNetwork(Sighted(SECONDS), {}, Detail(), metric=True), {"name": "moge"})
        monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: frames)
        monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: None)
        yield
        logger.setLevel(level)  # which the commands set

    @pytest.mark.parametrize("kind", ["npz", "ffv1"])
    def test_depth_and_preview(self, tmp_path: Path, kind: str) -> None:
        out = tmp_path / "maps"
        options = ["--end", f"{SECONDS}", "-q", "--preview", "--format", kind]
        assert run(["depth", str(ROOM / "room.mp4"), "-o", str(out), *options]) == 0
        maps, truth = DepthFolder(out, scale=1.0), DepthFolder(ROOM / "depth", scale=1000.0)
        assert len(maps) == StoredDepth.read(tmp_path / "maps.recon").frame_count == FRAMES
        for number in range(FRAMES):
            known = np.full(truth[number].shape, number != BLIND)
            known[:SKY] = False
            np.testing.assert_array_equal(np.isnan(maps[number]), ~known)
            np.testing.assert_allclose(maps[number][known], truth[number][known], atol=1e-3)
        preview = list(open_source(next(tmp_path.glob("*.mp4")), SamplingSettings()).frames())
        assert max(frame.rgb[: SKY - 8].max() for frame in preview) < 32, "sky is black"
        assert min(frame.rgb[SKY + 8 :].max() for frame in preview if frame.index != BLIND) > 128
        assert preview[BLIND].rgb.max() < 32

    @pytest.mark.parametrize("poses", [["--trajectory", str(ROOM / "trajectory.tum")], []], ids=["given", "estimated"])
    def test_cloud(self, tmp_path: Path, poses: list[str]) -> None:
        options = ["--end", f"{SECONDS}", "-q", "--intrinsics", str(ROOM / "intrinsics.json"), "--voxel", "0.05"]
        assert run(["pointcloud", str(ROOM / "room.mp4"), "-o", str(tmp_path / "a.ply"), *options, *poses]) == 0
        depth = ["--depth", str(ROOM / "depth")]
        whole = ["pointcloud", str(ROOM / "room.mp4"), "-o", str(tmp_path / "whole.ply"), *options, *poses, *depth]
        assert run(whole) == 0
        cloud, truth = read_ply(tmp_path / "a.ply"), read_ply(tmp_path / "whole.ply")
        assert b"comment units: m\n" in (tmp_path / "a.ply").read_bytes()[:800]
        assert np.isfinite(cloud.points).all()
        assert 0.5 * len(truth) < len(cloud) < len(truth)
        apart, _ = KDTree(truth.points).query(cloud.points)
        assert np.percentile(apart, 90) < 0.05, "what is left lies where it should"


def moge_1(**legacy: object) -> dict[str, Any]:
    """A MoGe-1 with hardly any encoder and hardly any head."""
    sizes = {"intermediate_layers": 2, "dim_proj": 32, "dim_upsample": [32, 32, 32], "last_conv_channels": 8}
    return {"encoder": "tiny", "remap_output": "exp", "num_tokens_range": [40, 80], **sizes, **legacy}


def direct_1() -> Any:
    """Seeded random weights, but for a path of its own for the image coordinates that the head is given.

    With it the points lie on the rays of a pinhole camera of 90 degrees along the diagonal, and the mask leaves out
    what is far to the left.
    """
    v1 = importlib.import_module("moge.model.v1")
    torch.manual_seed(0)
    model = v1.MoGeModel(**moge_1()).eval()
    points, mask = model.head.output_block
    with torch.no_grad():
        for into, out in ((points[0], points[-1]), (mask[0], mask[-1])):
            into.weight[:2] = 0
            into.weight[:2, 32:, 1, 1] = torch.eye(2)
            into.bias[:2] = 2  # keeps the coordinates above the ReLU
            out.weight[:] = 0
        points[-1].weight[:2, :2, 0, 0] = torch.eye(2)
        points[-1].weight[2, 2:, 0, 0] = 0.1
        points[-1].bias[:] = torch.tensor([-2.0, -2.0, 0.0])
        mask[-1].weight[0, 0, 0, 0] = 1
        mask[-1].bias[:] = -1.2
    return model


class TestMoge1:
    """Its depth has no unit; its camera is as good as any."""

    @pytest.fixture
    def network(self, tmp_path: Path) -> MogeNetwork:
        published = moge_1(output_mask=True, split_head=True)  # of the first release; the package warns of them
        torch.save({"model_config": published, "model": direct_1().state_dict()}, tmp_path / "model.pt")
        return MogeNetwork.load(tmp_path / "model.pt", name="moge-1", device=CPU)

    def test_it_says_that_it_is_not_metric(self, network: MogeNetwork) -> None:
        protocol: MetricNetwork = network
        assert not protocol.metric

    def test_its_camera_is_the_packages(self, network: MogeNetwork, picture: Picture) -> None:
        theirs = said_by(direct_1(), picture)
        camera = network(picture, None).intrinsics
        assert camera.fx == pytest.approx(theirs["intrinsics"][0, 0] * WIDTH)
        assert 80 < 2 * np.degrees(np.arctan(np.hypot(WIDTH, HEIGHT) / 2 / camera.fx)) < 100, "along the diagonal"
        assert field_of_view(network, [picture]).fov_x == camera.fov_x

    def test_its_depth_is_the_packages(self, network: MogeNetwork, picture: Picture) -> None:
        ours, theirs = network(picture, 60.0).depth, said_by(direct_1(), picture, fov_x=60.0)
        seen = theirs["mask"]
        assert 0 < seen.sum() < seen.size
        np.testing.assert_array_equal(np.isnan(ours), ~seen)
        np.testing.assert_array_equal(ours[seen], theirs["depth"][seen])

    def test_it_is_taken_where_its_file_is_named(self, tmp_path: Path, network: MogeNetwork, picture: Picture) -> None:
        chosen = choose_metric(AnchorSettings(moge_weights=tmp_path / "model.pt"), device="cpu")
        assert chosen is not None
        assert not chosen.metric
        assert chosen.identity["sha256"] == network.identity["sha256"]
        assert chosen(picture, None).intrinsics.fov_x == pytest.approx(network(picture, None).intrinsics.fov_x, abs=3)

    def test_it_anchors_nothing_and_one_line_says_so(
        self, network: MogeNetwork, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        source = open_source(write_clip(tmp_path / "film.mp4", ramp(4)), SamplingSettings())
        pictures = (source.picture(time) for time in (0.0, 0.1))
        measured = partial(_measured, source, lambda: network, Content(), lambda: pictures, Unobserved())
        camera = find_camera(source, None, measured)
        assert camera.origin == "MoGe, median of 2 frames"
        eye = MetricEye(network, source, Content())
        assert metric_anchor(AnchorSettings(), "disparity", lambda: eye) is None
        [record] = caplog.records
        assert record.getMessage().startswith("moge-1: its depth has no unit")
        assert "\n" not in record.getMessage()
        with pytest.raises(OptionError, match=r"--anchor first: moge-1: its depth has no unit.*MoGe-2"):
            metric_anchor(AnchorSettings(anchor="first"), "disparity", lambda: eye)


class TestNoCamera:
    def test_a_picture_without_surfaces_has_no_camera(self, tmp_path: Path, picture: Picture) -> None:
        """The package makes one up: its focal length is then half the diagonal, whatever the picture."""
        assert not said_by(direct(mask=-100), picture)["mask"].any()
        with pytest.raises(CameraError, match="sees no surface"):
            loaded(direct(mask=-100), tmp_path)(picture, None)

    def test_with_a_known_camera_it_is_only_empty(self, tmp_path: Path, picture: Picture) -> None:
        assert np.isnan(loaded(direct(mask=-100), tmp_path)(picture, 60.0).depth).all()

    def test_a_negative_focal_length_is_no_camera(self, tmp_path: Path, picture: Picture) -> None:
        assert said_by(direct(rays=-1), picture)["intrinsics"][0, 0] < 0
        with pytest.raises(CameraError, match="no camera that fits"):
            loaded(direct(rays=-1), tmp_path)(picture, None)


class TestLoading:
    def test_a_missing_parameter_is_not_left_random(self, tmp_path: Path) -> None:
        model = direct()
        state = model.state_dict()
        del state["encoder.backbone.pos_embed"]
        torch.save({"model_config": config(), "model": state}, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match=r"1 parameters are missing, encoder\.backbone\.pos_embed"):
            MogeNetwork.load(tmp_path / "model.pt", name="tiny", device=CPU)

    def test_depth_without_a_head_for_the_scale_is_not_metric(self, tmp_path: Path, sound: MogeNetwork) -> None:
        model = direct()
        del model.scale_head
        path = saved(model, tmp_path / "model.pt", scale_head=None)
        assert not MogeNetwork.load(path, name="tiny", device=CPU).metric
        assert sound.metric

    def test_moge_3_without_cuda_is_refused(self, tmp_path: Path) -> None:
        torch.save({"model_config": config() | {"refiner": {}}, "model": {}}, tmp_path / "model.pt")
        with pytest.raises(OptionError, match="MoGe-3 needs CUDA"):
            MogeNetwork.load(tmp_path / "model.pt", name="moge-3", device=CPU)

    def test_a_file_that_is_something_else(self, tmp_path: Path) -> None:
        torch.save({"state_dict": {}}, tmp_path / "other.pt")
        (tmp_path / "page.pt").write_text("<html>not found</html>")
        for name in ("other.pt", "page.pt", "absent.pt"):
            with pytest.raises(WeightsError, match=name):
                MogeNetwork.load(tmp_path / name, name="x", device=CPU)

    def test_no_code_runs_from_a_file(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, tuple[str]]:
                return Path.touch, (tmp_path / "sprung",)

        torch.save({"model_config": Trap(), "model": {}}, tmp_path / "model.pt")
        with pytest.raises(WeightsError, match=r"model\.pt"):
            MogeNetwork.load(tmp_path / "model.pt", name="x", device=CPU)
        assert not (tmp_path / "sprung").exists()

    def test_without_the_package_the_one_command_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "moge.model.v2", None)
        with pytest.raises(MissingPackageError, match=r"pip install --no-deps dlr-moge==2\.0\.0") as caught:
            module.module(2)
        assert "\n" not in str(caught.value)

    def test_whether_a_generation_is_there(self) -> None:
        assert available(2) == (importlib.util.find_spec("moge") is not None)
        assert not available(9)  # type: ignore[arg-type] # there is none

    def test_generations_are_told_apart_by_their_configuration(self) -> None:
        assert generation_of({"encoder": "dinov2_vitl14"}) == 1
        assert generation_of(config()) == 2
        assert generation_of(config() | {"refiner": {}, "refiner_depth_resolution": 64}) == 3


class Cameras:
    """A metric network that sees the given fields of view, one after the other; None: no camera."""

    metric = True

    def __init__(self, angles: list[float | None]) -> None:
        self._angles = iter(angles)

    @property
    def identity(self) -> dict[str, str]:
        return {}

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        assert fov_x is None
        angle = next(self._angles)
        if angle is None:
            raise CameraError("nothing to see")
        height, width = picture.shape[:2]
        return MetricPicture(np.ones((height, width), np.float32), Intrinsics.from_fov(angle, width, height))


def measured(angles: list[float | None]) -> module.FieldOfView:
    blank = np.zeros((6, 8, 3), np.uint8)
    return field_of_view(Cameras(angles), [blank] * len(angles))


class TestFieldOfView:
    def test_one_wrong_picture_does_not_count(self) -> None:
        found = measured([60.0, 61.0, 59.0, 140.0, 60.5])
        assert found.fov_x == pytest.approx(60.5)
        assert found.spread == pytest.approx(0.5)
        assert found.count == 5

    def test_pictures_without_camera_are_left_out(self) -> None:
        found = measured([None, 70.0, None])
        assert (found.fov_x, found.spread, found.count) == (pytest.approx(70.0), 0.0, 1)

    @pytest.mark.parametrize("angles", [[], [None, None]])
    def test_no_answer_is_an_error(self, angles: list[float | None]) -> None:
        with pytest.raises(CameraError, match="--fov"):
            measured(angles)

    @given(st.lists(st.floats(5, 170), min_size=1, max_size=9))
    def test_the_median_lies_among_the_angles_and_the_spread_within_their_range(self, angles: list[float]) -> None:
        found = measured([*angles])
        assert min(angles) - 1e-6 <= found.fov_x <= max(angles) + 1e-6
        assert 0 <= found.spread <= (max(angles) - min(angles)) + 1e-6

    def test_the_real_network_gives_what_its_pictures_say(self, sound: MogeNetwork, picture: Picture) -> None:
        found = field_of_view(sound, [picture])
        assert found.fov_x == sound(picture, None).intrinsics.fov_x
        assert (found.spread, found.count) == (0.0, 1)
