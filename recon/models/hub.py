"""Depth models for single pictures from the optional package ``transformers``, behind ``DisparityNetwork``.

Known kinds: Depth Anything (1, 2 and metric), Depth Pro, ZoeDepth and DPT (MiDaS). The pictures are prepared here, from
the numbers in the model's own ``preprocessor_config.json``: the processors of transformers need torchvision, which
breaks a torch without CUDA.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any, Final, Literal, Self, cast

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional

from recon.errors import MissingPackageError, WeightsError
from recon.files import sha256_of
from recon.models import Quantity
from recon.models.video_depth import Execution, Precision
from recon.models.weights import KnownWeights, OnDownload, fetch, weights_folder
from recon.types import Picture

CONFIG, PROCESSOR, TENSORS = "config.json", "preprocessor_config.json", "model.safetensors"
INSTALL = "pip install 'recon-video[hub]'"

Kind = Literal["depth_anything", "depth_pro", "zoedepth", "dpt"]
KINDS: Final[tuple[Kind, ...]] = ("depth_anything", "depth_pro", "zoedepth", "dpt")

FILTERS: Final[Mapping[int, str]] = {0: "nearest", 2: "bilinear", 3: "bicubic"}
"""Names that torch gives to the filters, by the numbers that Pillow gives them."""

DEPTH_PRO_RANGE: Final = (1e-3, 1e4)
"""Inverse metres that Depth Pro is cut to before it is turned over.

The published code goes on to 1e-4, 10 km, which is what it says of the sky. A depth store has 65534 steps between the
nearest and the farthest value of a map: they would be 15 cm each, in the foreground as well; with 1 km they are 15 mm.
"""


@dataclass(frozen=True, slots=True)
class Preparation:
    """What a model wants done to its pictures."""

    size: tuple[int, int]
    """(height, width) in pixels to resize to."""
    keep_ratio: bool
    """Whether only one side reaches ``size``: the one that changes the picture least."""
    multiple: int
    """Both sides become multiples of this."""
    filter: str
    antialias: bool
    corners: bool
    """Whether the centres of the corner pixels stay where they are (ZoeDepth), not the corners of the picture."""
    margin: bool
    """Whether a mirrored margin is added and cut off again (ZoeDepth)."""
    scale: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def from_config(cls, values: Mapping[str, Any], kind: Kind) -> Self:
        """Read what ``preprocessor_config.json`` says.

        Raises:
            KeyError: it does not say enough.
            ValueError: it asks for something unknown.
        """
        size = values["size"]
        height, width = (size, size) if isinstance(size, int) else (size["height"], size["width"])
        if not values.get("do_resize", True) or values.get("do_center_crop"):
            raise ValueError("it does not resize, or crops")
        normalised = values.get("do_normalize", True)
        return cls(
            size=(int(height), int(width)),
            keep_ratio=bool(values.get("keep_aspect_ratio", False)),
            multiple=int(values.get("ensure_multiple_of") or 1),
            filter=FILTERS[int(values.get("resample", 3))],
            antialias=kind in {"depth_anything", "dpt"},
            corners=kind == "zoedepth",
            margin=kind == "zoedepth" and bool(values.get("do_pad", True)),
            scale=float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0,
            mean=tuple(values["image_mean"]) if normalised else (0.0,) * 3,
            deviation=tuple(values["image_std"]) if normalised else (1.0,) * 3,
        )

    def margins(self, height: int, width: int) -> tuple[int, int]:
        """Pixels of margin above and below, and left and right: ZoeDepth takes 3 sqrt(side / 2)."""
        return (int(sqrt(height / 2) * 3), int(sqrt(width / 2) * 3)) if self.margin else (0, 0)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture of this size, margin included, is resized to."""
        scales = self.size[0] / height, self.size[1] / width
        if self.keep_ratio:
            # "As little as possible": transformers, DPTImageProcessor.
            scales = (scales[1],) * 2 if abs(1 - scales[1]) < abs(1 - scales[0]) else (scales[0],) * 2
        return self._multiple(height * scales[0]), self._multiple(width * scales[1])

    def _multiple(self, length: float) -> int:
        return max(round(length / self.multiple), 1) * self.multiple

    def prepared(self, picture: Picture) -> Float[Tensor, "1 3 h w"]:
        """Resized and normalised."""
        image = torch.from_numpy(picture.astype(np.float32)).permute(2, 0, 1)[None]
        above, beside = self.margins(*image.shape[-2:])
        if above or beside:
            image = functional.pad(image, (beside, beside, above, above), mode="reflect")
        image = self._resized(image * self.scale)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return (image - mean) / deviation

    def _resized(self, image: Tensor) -> Tensor:
        size = self.input_size(*image.shape[-2:])
        corners = self.corners if self.filter != "nearest" else None
        return functional.interpolate(image, size, mode=self.filter, align_corners=corners, antialias=self.antialias)


class HubNetwork:
    """A depth model of ``transformers``: each picture on its own, so that films may flicker."""

    def __init__(
        self, model: nn.Module, kind: Kind, preparation: Preparation, execution: Execution, identity: Mapping[str, str]
    ) -> None:
        self._model = model
        self._kind: Kind = kind
        self._preparation = preparation
        self._execution = execution
        self._identity = dict(identity)

    @classmethod
    def load(cls, folder: Path, *, name: str, device: str = "auto", precision: Precision = "auto") -> Self:
        """Read a folder as ``save_pretrained`` writes it; only safetensors, and no code from it.

        Args:
            folder: with config.json, preprocessor_config.json and model.safetensors.
            name: what the network is called.
            device: auto, or a name that torch knows.
            precision: auto is fp32, which all of these models bear.

        Raises:
            MissingPackageError: transformers is not installed.
            WeightsError: the folder is incomplete, damaged, or holds a model that is not known here.
            OptionError: the device is not there, or cannot do that precision.
        """
        execution = Execution.chosen(0, device, "fp32" if precision == "auto" else precision)
        kind = _kind(folder)
        preparation = _preparation(folder, kind)
        model = _model(folder).to(execution.device).eval()
        identity = {
            "name": name,
            "sha256": sha256_of(folder / TENSORS),
            "input_size": "x".join(map(str, preparation.size)),
            "precision": str(execution.dtype).removeprefix("torch."),
        }
        return cls(model, kind, preparation, execution, identity)

    @property
    def quantity(self) -> Quantity:
        """Depth where the model was trained to give metres, else disparity."""
        return _quantity(self._kind, cast("Any", self._model).config)

    @property
    def window(self) -> int:
        """1: single pictures."""
        return 1

    @property
    def batch(self) -> int:
        """1: these models take one picture at a time here."""
        return 1

    @property
    def identity(self) -> dict[str, str]:
        """Name, sha256 of the weights, input size and precision."""
        return dict(self._identity)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the input that belongs to the picture, margins left out."""
        above, beside = self._preparation.margins(height, width)
        rows, columns = self._preparation.input_size(height + 2 * above, width + 2 * beside)
        return round(rows * height / (height + 2 * above)), round(columns * width / (width + 2 * beside))

    def encode(self, pictures: Sequence[Picture]) -> list[Float32[Tensor, "h w"]]:
        """The model's whole work: a map at ``output_size`` for each picture (for Depth Pro: inverse metres)."""
        return [self._encoded(picture) for picture in pictures]

    def _encoded(self, picture: Picture) -> Float32[Tensor, "h w"]:
        with self._execution.arithmetic():
            said = self._model(pixel_values=self._preparation.prepared(picture).to(self._execution.device))
        values = said.predicted_depth.float().cpu()
        if self._kind == "depth_pro" and said.field_of_view is not None:
            # arXiv 2410.02073, section 3: the network's inverse depth is that of a camera with f = width.
            values = values * 2 * torch.tan(torch.deg2rad(said.field_of_view.float().cpu()) / 2)[:, None, None]
        return self._without_margin(values[:, None], *picture.shape[:2])[0, 0]

    def _without_margin(self, values: Tensor, height: int, width: int) -> Tensor:
        rows, columns = self.output_size(height, width)
        above, beside = self._preparation.margins(height, width)
        above, beside = round(above * rows / height), round(beside * columns / width)
        values = _resized(values, (rows + 2 * above, columns + 2 * beside))
        return values[..., above : above + rows, beside : beside + columns].clone()

    def decode(self, features: Sequence[Float32[Tensor, "h w"]], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        """Those maps at ``size``; depth that is not positive is unknown (NaN).

        Raises:
            WeightsError: the model gave numbers that are not finite.
        """
        maps = _resized(torch.stack(list(features))[:, None], size)[:, 0]
        if not maps.isfinite().all():
            raise WeightsError(f"{self._identity['name']} gave numbers that are not finite; try --precision fp32")
        if self._kind == "depth_pro" and self.quantity == "depth":
            maps = 1 / maps.clamp(*DEPTH_PRO_RANGE)
        if self.quantity == "depth":
            maps = torch.where(maps > 0, maps, torch.nan)
        result: Float32[np.ndarray, "t h w"] = maps.numpy()
        return result


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


# ----------------------------------------------------------------------------------------------------------- load


def folder_of(repository: str, *, download: bool = True, on_download: OnDownload | None = None) -> Path:
    """Where the files of a model lie: a folder, or a repository in RECON_WEIGHTS, in the hub's cache or on the hub.

    Raises:
        WeightsError: they are nowhere, or do not belong together.
    """
    if Path(repository).is_dir():
        return Path(repository)
    weights = weights_folder()
    if weights is not None and (own := weights / repository.rpartition("/")[2]).is_dir():
        return own
    paths = [
        fetch(_file_of(repository, file), download=download, on_download=on_download)
        for file in (CONFIG, PROCESSOR, TENSORS)
    ]
    if len({path.parent for path in paths}) > 1:
        raise WeightsError(f"{repository} changed on the hub while it was downloaded: try again")
    return paths[0].parent


def _file_of(repository: str, file: str) -> KnownWeights:
    name = f"transformers:{repository}"
    about = "a depth model for single pictures"
    return KnownWeights(name, "transformers", None, repository, file, "unknown: see its page on the hub", about)


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error}); a model of transformers has it") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: holds no mapping")
    return values


def _kind(folder: Path) -> Kind:
    named = _json(folder / CONFIG).get("model_type")
    for kind in KINDS:
        if named == kind:
            return kind
    raise WeightsError(f"{folder}: models of type {named!r} are not known; known are {', '.join(KINDS)}")


def _preparation(folder: Path, kind: Kind) -> Preparation:
    try:
        return Preparation.from_config(_json(folder / PROCESSOR), kind)
    except (KeyError, ValueError, TypeError) as error:
        raise WeightsError(f"{folder / PROCESSOR}: not understood ({type(error).__name__}: {error})") from error


def _quantity(kind: Kind, config: Any) -> Quantity:  # noqa: ANN401 - a class of transformers
    """Relative models give disparity; the DPT models on DINOv2 were trained on metres (arXiv 2304.07193, sec. 7.4).

    Depth Pro knows inverse metres up to the focal length: without its model of the field of view they have no unit.
    """
    if kind == "depth_anything":
        return "depth" if config.depth_estimation_type == "metric" else "disparity"
    if kind == "dpt":
        return "depth" if getattr(config.backbone_config, "model_type", "") == "dinov2" else "disparity"
    return "disparity" if kind == "depth_pro" and not config.use_fov_model else "depth"


def _model(folder: Path) -> nn.Module:
    if not (folder / TENSORS).is_file():
        raise WeightsError(f"{folder}: has no {TENSORS} (other formats are not read, since they may hold code)")
    try:
        import transformers  # noqa: PLC0415 - optional, and takes seconds to import
    except ImportError as error:
        raise MissingPackageError(f"models of transformers need that package ({error}): {INSTALL}") from error
    with _quiet(transformers):
        model, found = _from_pretrained(transformers, folder)
    lost = sorted(map(str, (*found["missing_keys"], *found["mismatched_keys"])))
    if lost:
        raise WeightsError(f"{folder / TENSORS}: {len(lost)} parameters are missing or misshapen, {lost[0]} among them")
    return model.float()


def _from_pretrained(transformers: Any, folder: Path) -> tuple[nn.Module, dict[str, Any]]:  # noqa: ANN401 - a module
    try:
        result: tuple[nn.Module, dict[str, Any]] = transformers.AutoModelForDepthEstimation.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    except ImportError as error:
        raise MissingPackageError(f"{folder}: needs a package that is not installed ({_line(error)})") from error
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsError(f"{folder}: transformers cannot read it ({_line(error)})") from error
    return result


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:  # noqa: ANN401 - a module
    """No bars and no log lines of another's library while a model is read."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
