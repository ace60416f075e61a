"""MoGe behind ``MetricNetwork``: metres and the camera from one picture (MoGe-2: arXiv 2507.02546).

``MogeFrames`` puts it behind ``DisparityNetwork`` as well: the depth of every frame of a video, each on its own.

The network comes from the optional package ``dlr-moge`` (``import moge``), or from Microsoft's own, which has MoGe-3.
The pictures must be what the conventions of ``recon.types`` promise (upright, square pixels) and free of black bars:
MoGe takes the principal point to be the middle, and an off-centre crop of 10 % biases its field of view by about 4
degrees.
"""

import importlib
import importlib.util
import logging
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, Self, cast

import cv2
import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from recon.errors import CameraError, MissingPackageError, OptionError, WeightsError
from recon.files import sha256_of
from recon.models import MetricNetwork, Quantity
from recon.models.video_depth import Execution
from recon.types import DepthMap, Intrinsics, MetricPicture, Picture

log = logging.getLogger(__name__)

INSTALL = "pip install --no-deps dlr-moge==2.0.0 dlr-utils3d==1.3 dlr-pipeline==1.0.0"
"""With its declared dependencies dlr-moge would bring gradio and torchvision, which break a torch without CUDA."""

Generation = Literal[1, 2, 3]


@dataclass(frozen=True, slots=True)
class Detail:
    """How finely MoGe looks; what is None is left to MoGe."""

    num_tokens: int | None = None
    """Patches that the picture is cut into: about 1200 to 3600."""
    resolution_level: int | None = None
    """From 0 (fewest patches) to 9 (most), where ``num_tokens`` is not given."""

    @property
    def arguments(self) -> dict[str, int]:
        """The keywords that are set."""
        values = {"num_tokens": self.num_tokens, "resolution_level": self.resolution_level}
        return {name: value for name, value in values.items() if value is not None}


class MogeNetwork:
    """MoGe on a device: 2 and 3 know metres; 1 knows the camera, but its depth has no unit (see ``metric``)."""

    def __init__(
        self, model: nn.Module, identity: Mapping[str, str], detail: Detail, *, metric: bool, half: bool = False
    ) -> None:
        self._model = model
        self._metric = metric
        self._half = half
        self._identity = dict(identity)
        self._detail = detail

    @classmethod
    def load(
        cls, path: Path, *, name: str, device: torch.device, detail: Detail | None = None, half: bool | None = None
    ) -> Self:
        """Read a published ``model.pt`` onto a device, without running code from it.

        Args:
            path: the file.
            name: what the network is called.
            device: where it computes.
            detail: how finely it looks, where that is not left to MoGe.
            half: whether it computes in half precision; None does so on CUDA, as MoGe itself does.

        Raises:
            MissingPackageError: ``moge``, or the version of it that these weights need, is not installed.
            WeightsError: the file cannot be read, is not MoGe's, or is incomplete.
            OptionError: MoGe-3 without CUDA.
        """
        detail = detail or Detail()
        config, state = _read(path)
        model = _built(path, config, device)
        _fill(path, model, state)
        settings = {key: str(value) for key, value in detail.arguments.items()}
        return cls(
            model.to(device).eval(),
            {"name": name, "sha256": sha256_of(path), **settings},
            detail,
            metric=_has_unit(config),
            half=device.type == "cuda" if half is None else half,
        )

    @property
    def metric(self) -> bool:
        """Whether the depth is in metres."""
        return self._metric

    @property
    def identity(self) -> dict[str, str]:
        """Name and sha256 of the weights, and the detail where it is set."""
        return dict(self._identity)

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        """Depth, in metres where ``metric`` says so, and intrinsics at the picture's size.

        Args:
            picture: RGB, uint8, (h, w, 3).
            fov_x: horizontal field of view in degrees where it is known; otherwise MoGe finds it.

        Raises:
            CameraError: MoGe finds no camera that fits this picture.
        """
        said = self._infer(picture, fov_x)
        height, width = picture.shape[:2]
        depth = np.where(said["mask"].cpu().numpy(), said["depth"].float().cpu().numpy(), np.nan)
        depth[~np.isfinite(depth)] = np.nan
        if fov_x is None and np.isnan(depth).all():
            # MoGe would report a field of view that it took from nowhere.
            raise CameraError("MoGe sees no surface in this picture, hence no camera; give --fov or --intrinsics")
        return MetricPicture(depth.astype(np.float32), _intrinsics(said["intrinsics"], width, height))

    def _infer(self, picture: Picture, fov_x: float | None) -> dict[str, Tensor]:
        image = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)
        # Keywords only: MoGe-1, -2 and -3 order their arguments differently. Half precision is the default of MoGe,
        # and hundreds of times slower on a CPU.
        infer = cast("Any", self._model).infer
        with _quiet_autocast():
            said: dict[str, Tensor] = infer(image=image, fov_x=fov_x, use_fp16=self._half, **self._detail.arguments)
        return said


class MogeFrames:
    """MoGe for every frame of a video, each on its own: metres, NaN where it sees no surface (sky).

    A ``DisparityNetwork`` for single pictures. MoGe finds the field of view of each picture anew, so that scale and
    perspective may flicker. It works at its full detail on any machine: a row in a table is then the same everywhere.
    """

    quantity: Quantity = "depth"
    window = 1
    batch = 1

    def __init__(self, network: MogeNetwork, identity: Mapping[str, str]) -> None:
        self._network = network
        self._identity = dict(identity)

    @classmethod
    def load(cls, path: Path, *, name: str, execution: Execution) -> Self:
        """Read a published ``model.pt``, without running code from it.

        Raises:
            MissingPackageError: ``moge``, or the version of it that these weights need, is not installed.
            WeightsError: the file cannot be read, is not MoGe's, is incomplete, or is of MoGe-1.
            OptionError: MoGe-3 without CUDA, or a precision that MoGe does not have.
        """
        if execution.dtype == torch.bfloat16:
            raise OptionError(f"--precision bf16: {name} knows fp32, and fp16 on CUDA")
        half = execution.dtype == torch.float16
        network = MogeNetwork.load(path, name=name, device=execution.device, half=half)
        if not network.metric:
            raise WeightsError(
                f"{path}: MoGe-1, or another without a head for the scale: its depth has no unit, another one in each "
                "frame; give weights of MoGe-2 (`recon models` lists them)"
            )
        return cls(network, {**network.identity, "precision": str(execution.dtype).removeprefix("torch.")})

    @property
    def identity(self) -> dict[str, str]:
        """Name and sha256 of the weights, and precision."""
        return dict(self._identity)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the picture itself: MoGe gives its maps at that size."""
        return height, width

    def encode(self, pictures: Sequence[Picture]) -> list[DepthMap]:
        """MoGe's whole work: a map for each picture, at its size."""
        return [self._depth(picture) for picture in pictures]

    def _depth(self, picture: Picture) -> DepthMap:
        try:
            return self._network(picture, None).depth
        except CameraError as error:  # a black frame of a film is no reason to stop
            log.debug("a frame without depth: %s", error)
            return np.full(picture.shape[:2], np.nan, np.float32)

    def decode(self, features: Sequence[DepthMap], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        """Those maps at ``size``; where that is another, NaN spreads by a pixel."""
        return np.stack([_at_size(depth, size) for depth in features])


def _at_size(depth: DepthMap, size: tuple[int, int]) -> DepthMap:
    if depth.shape == size:
        return depth
    resized: DepthMap = cv2.resize(depth, size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized


@contextmanager
def _quiet_autocast() -> Iterator[None]:
    """MoGe asks for autocast to float32, which means none; on a CPU torch warns of it each time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"In CPU autocast, but the target dtype", UserWarning)
        yield


def _intrinsics(normalised: Tensor, width: int, height: int) -> Intrinsics:
    """In pixels, corner origin, from MoGe's: fx and cx over the width, fy and cy over the height."""
    matrix = normalised.cpu().double().numpy()
    fx, fy = matrix[0, 0] * width, matrix[1, 1] * height
    if not (np.isfinite([fx, fy]).all() and fx > 0 and fy > 0):
        raise CameraError("MoGe finds no camera that fits this picture; give --fov or --intrinsics")
    return Intrinsics(float(fx), float(fy), float(matrix[0, 2] * width), float(matrix[1, 2] * height), width, height)


# ----------------------------------------------------------------------------------------------------------- load


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a published checkpoint."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"{path}: cannot be read as weights of MoGe ({' '.join(str(error).split())[:200]})"
        ) from error
    if not isinstance(content, dict) or not {"model_config", "model"} <= content.keys():
        raise WeightsError(f"{path}: not weights of MoGe (a model.pt holds 'model_config' and 'model')")
    return content["model_config"], content["model"]


def generation_of(config: Mapping[str, object]) -> Generation:
    """Which MoGe a published configuration is of: the encoder of 1 is a name, and only 3 has a refiner."""
    if "refiner" in config:
        return 3
    return 2 if isinstance(config.get("encoder"), Mapping) else 1


def _built(path: Path, config: dict[str, Any], device: torch.device) -> nn.Module:
    generation = generation_of(config)
    if generation == 3 and device.type != "cuda":
        raise OptionError(f"{path}: MoGe-3 needs CUDA, not {device}; take MoGe-2")
    with warnings.catch_warnings():
        # Published configurations of MoGe-1 hold keys of its first release, which it ignores with a warning.
        warnings.filterwarnings("ignore", r"The following deprecated", UserWarning)
        return cast("nn.Module", module(generation).MoGeModel(**config))


def _has_unit(config: Mapping[str, object]) -> bool:
    """MoGe-1 was never taught lengths; those after it have a head of their own for the scale."""
    return generation_of(config) != 1 and config.get("scale_head") is not None


def _fill(path: Path, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load all parameters; MoGe's own loader would leave missing ones random without a word."""
    try:
        absent = set(model.load_state_dict(state, strict=False).missing_keys)
    except RuntimeError as error:
        raise WeightsError(
            f"{path}: does not fit its own configuration ({' '.join(str(error).split())[:200]})"
        ) from error
    lost = [name for name, _ in model.named_parameters() if name in absent]
    if lost:
        raise WeightsError(f"{path}: {len(lost)} parameters are missing, {lost[0]} among them; get the file again")


def available(generation: Generation = 2) -> bool:
    """Whether the package is installed, in a version that has this generation of MoGe."""
    try:
        return importlib.util.find_spec(f"moge.model.v{generation}") is not None
    except ModuleNotFoundError:
        return False


def module(generation: Generation) -> ModuleType:
    """The module of ``moge`` for one generation.

    Raises:
        MissingPackageError: it is not installed, or lacks something that it needs itself.
    """
    try:
        return importlib.import_module(f"moge.model.v{generation}")
    except ImportError as error:
        how = INSTALL if generation == 2 else "see https://github.com/microsoft/MoGe"
        raise MissingPackageError(f"MoGe-{generation} needs the package `moge` ({error}): {how}") from error


# ---------------------------------------------------------------------------------------------------- field of view


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """The horizontal field of view, from several pictures of one camera."""

    fov_x: float
    """Median, degrees."""
    spread: float
    """Median of the distances from that median, degrees; 0 from a single picture."""
    count: int
    """Pictures that counted."""


def field_of_view(network: MetricNetwork, pictures: Iterable[Picture]) -> FieldOfView:
    """Median and spread of what a network says of the camera; pictures without an answer do not count.

    Raises:
        CameraError: no picture gave an answer.
    """
    angles = np.array([angle for picture in pictures if (angle := _angle(network, picture)) is not None])
    if len(angles) == 0:
        raise CameraError("no picture shows what camera took it; give --fov or --intrinsics")
    median = float(np.median(angles))
    return FieldOfView(median, float(np.median(np.abs(angles - median))), len(angles))


def _angle(network: MetricNetwork, picture: Picture) -> float | None:
    try:
        return network(picture, None).intrinsics.fov_x
    except CameraError:
        return None
