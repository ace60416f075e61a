"""Video Depth Anything and Depth Anything V2 behind ``StreamingNetwork``: pictures in, maps out, numpy on both sides.

The input is prepared as in the published code: see ``input_shape`` and ``VideoDepthNetwork.encode``.
"""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from recon.errors import OptionError, WeightsError
from recon.models import Quantity
from recon.models.vda import DIMENSIONS, MAX_FRAMES, PATCH, Memory, Size, VideoDepthAnything
from recon.types import Picture

Precision = Literal["auto", "fp32", "fp16", "bf16"]

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of the colours of ImageNet, RGB in [0, 1]."""

WIDEST_RATIO: Final = 1.78
"""Longer side over shorter, above which the input is made smaller."""

GPU_BATCH: Final = 8
"""Pictures encoded at once where that is faster; a CPU gains nothing, and one at a time has the same bits always."""


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """What the publisher of a file of weights says it is."""

    name: str
    """What the network is called."""
    size: Size
    metric: bool
    """Whether it was trained to give metres; the files themselves do not tell."""
    sha256: str
    """Hash of the file."""


@dataclass(frozen=True, slots=True)
class Features:
    """What ``encode`` keeps of one picture."""

    levels: tuple[Tensor, ...]
    """Tokens (p, c) at four depths of the encoder, on the device of the network."""
    grid: tuple[int, int]
    """Rows and columns of patches."""


class VideoDepthNetwork:
    """Video Depth Anything; or, from weights without temporal modules, Depth Anything V2 (``window`` is 1)."""

    def __init__(self, network: VideoDepthAnything, spec: NetworkSpec, execution: "Execution") -> None:
        self._network = network.to(execution.device)
        self._spec = spec
        self._execution = execution

    @classmethod
    def load(
        cls,
        path: Path,
        spec: NetworkSpec,
        *,
        input_size: int = 518,
        device: str = "auto",
        precision: Precision = "auto",
    ) -> Self:
        """Read weights onto a device.

        Args:
            path: ``.safetensors``, or ``.pth`` (read without running any code in it).
            spec: what they are.
            input_size: shorter side of the network's input, pixels.
            device: auto (the first of cuda, mps and cpu that is there) or a name that torch knows.
            precision: auto is fp16 on CUDA and fp32 elsewhere.

        Raises:
            WeightsError: the file cannot be read or holds another network.
            OptionError: the device is not there, or cannot do that precision.
        """
        execution = Execution.chosen(input_size, device, precision)
        return cls(_built(path, spec), spec, execution)

    @property
    def quantity(self) -> Quantity:
        """Disparity, or depth where the weights are metric."""
        return "depth" if self._spec.metric else "disparity"

    @property
    def window(self) -> int:
        """32, or 1 without temporal modules."""
        return MAX_FRAMES if self._network.head.motion_modules else 1

    @property
    def batch(self) -> int:
        """1 on a CPU."""
        return 1 if self._execution.device.type == "cpu" else GPU_BATCH

    @property
    def identity(self) -> dict[str, str]:
        """Name and sha256 of the weights, input size and precision."""
        return {
            "name": self._spec.name,
            "sha256": self._spec.sha256,
            "input_size": str(self._execution.input_size),
            "precision": str(self._execution.dtype).removeprefix("torch."),
        }

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the input, and of the maps, for pictures of this size."""
        return input_shape(height, width, self._execution.input_size)

    def encode(self, pictures: Sequence[Picture]) -> list[Features]:
        """Features of pictures of one size.

        On a CPU they are worked on one by one, so that a picture's features have the same bits whatever is beside it.
        """
        size = self.output_size(*pictures[0].shape[:2])
        grid = (size[0] // PATCH, size[1] // PATCH)
        features = []
        for start in range(0, len(pictures), self.batch):
            part = np.stack(pictures[start : start + self.batch])
            with self._execution.arithmetic():
                levels = self._network.encode(prepared(torch.from_numpy(part).to(self._execution.device), size))
            features += [Features(tuple(tokens), grid) for tokens in zip(*levels, strict=True)]
        return features

    def decode(self, features: Sequence[Features], size: tuple[int, int]) -> Float32[np.ndarray, "t h w"]:
        """One map for each of the features, which are consecutive frames.

        Raises:
            WeightsError: the network gave numbers that are not finite.
        """
        grid = features[0].grid
        levels = [[frame.levels[level] for frame in features] for level in range(len(features[0].levels))]
        with self._execution.arithmetic():
            return self._finished(self._network.decode(levels, grid, len(features)), size)

    def follow(
        self, features: Features, memory: Memory | None, size: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "h w"], Memory]:
        """The map of the next frame, and the memory after it; None at the start.

        The memory is kept in the precision of the network, on its device: 42 x 12 MB for Small at 518 x 924 in fp32.

        Raises:
            WeightsError: the network gave numbers that are not finite.
        """
        memory = memory or Memory()
        with self._execution.arithmetic():
            values, trace = self._network.follow(features.levels, features.grid, memory)
            kept = tuple(tuple(seen.to(self._execution.dtype) for seen in module) for module in trace)
            return self._finished(values[None], size)[0], memory.followed_by(kept)

    def saved(self, memory: Memory) -> dict[str, np.ndarray]:
        """The memory as arrays; on a CPU they are the memory itself, not a copy."""
        return {
            f"{frame}.{module}.{attention}": _as_numpy(seen)
            for frame, trace in enumerate(memory.frames)
            for module, inputs in enumerate(trace)
            for attention, seen in enumerate(inputs)
        }

    def restored(self, arrays: Mapping[str, np.ndarray]) -> Memory:
        """The memory that ``saved`` gave."""
        nested: dict[int, dict[int, dict[int, Tensor]]] = {}
        for name, array in arrays.items():
            frame, module, attention = map(int, name.split("."))
            seen = torch.tensor(array, dtype=self._execution.dtype, device=self._execution.device)
            nested.setdefault(frame, {}).setdefault(module, {})[attention] = seen
        return Memory(tuple(tuple(tuple(inputs.values()) for inputs in trace.values()) for trace in nested.values()))

    def _finished(self, maps: Float[Tensor, "t h w"], size: tuple[int, int]) -> Float32[np.ndarray, "t h2 w2"]:
        resized = functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=True)[:, 0]
        if not resized.isfinite().all():
            raise WeightsError(
                f"{self._spec.name} gave numbers that are not finite in {self.identity['precision']}; "
                "try --precision fp32, or get the weights again"
            )
        result: Float32[np.ndarray, "t h2 w2"] = resized.cpu().numpy()
        return result


def _as_numpy(tensor: Tensor) -> np.ndarray:
    """The same numbers; numpy knows no bfloat16."""
    exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    array: np.ndarray = exact.cpu().numpy()
    return array


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and how a network computes."""

    input_size: int
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def chosen(cls, input_size: int, device: str, precision: Precision) -> Self:
        """With what ``auto`` stands for on this machine.

        Raises:
            OptionError: the device is not there, or cannot do that precision.
        """
        place = _device(device)
        if precision == "fp16" and place.type != "cuda":
            raise OptionError(f"--precision fp16 needs CUDA, not {place} (hundreds of times slower there): use fp32")
        half = {"fp16": torch.float16, "bf16": torch.bfloat16}
        automatic = torch.float16 if place.type == "cuda" else torch.float32
        return cls(input_size, place, automatic if precision == "auto" else half.get(precision, torch.float32))

    @contextmanager
    def arithmetic(self) -> Iterator[None]:
        """A block without gradients, in the chosen precision."""
        half = self.dtype != torch.float32
        cast = torch.autocast(self.device.type, self.dtype if half else None, enabled=half)
        with torch.inference_mode(), cast:
            yield


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise OptionError(f"--device {name} cannot be used here ({reason}); use auto or cpu") from error
    return device


# --------------------------------------------------------------------------------------------------------------- input


def input_shape(height: int, width: int, input_size: int) -> tuple[int, int]:
    """(height, width) of the network's input for a picture.

    The shorter side becomes ``input_size``; both are rounded to multiples of 14, and never below ``input_size``.
    Long pictures (beyond 16:9) get a smaller ``input_size``, so that their area stays about the same.
    """
    ratio = max(height, width) / min(height, width)
    if ratio > WIDEST_RATIO:
        input_size = max(PATCH, round(int(input_size * 1.777 / ratio) / PATCH) * PATCH)
    scale = max(input_size / height, input_size / width)
    return _multiple(scale * height, input_size), _multiple(scale * width, input_size)


def _multiple(side: float, least: int) -> int:
    """The nearest multiple of 14, or the next one where that is too small."""
    nearest = round(side / PATCH) * PATCH
    return nearest if nearest >= least else nearest + PATCH


def prepared(pictures: Tensor, size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
    """Network input from uint8 RGB (n, h, w, 3), on the device where it lies.

    Bicubic with a = -0.75 and pixel centres at one half, without antialiasing, before the colours are normalised: what
    the published code does with OpenCV.
    """
    colors = pictures.permute(0, 3, 1, 2).float() / 255
    if colors.shape[-2:] != size:
        colors = functional.interpolate(colors, size, mode="bicubic", align_corners=False)
    mean, deviation = (torch.tensor(values, device=colors.device).view(3, 1, 1) for values in (MEAN, DEVIATION))
    return (colors - mean) / deviation


# -------------------------------------------------------------------------------------------------------------- weights


_TEMPORAL: Final = "head.motion_modules."
_WIDTHS: Final = {dims.width: size for size, dims in DIMENSIONS.items()}


def _built(path: Path, spec: NetworkSpec) -> VideoDepthAnything:
    """The network with the weights of a file; without temporal modules if the file has none."""
    state = _common_names(_read(path))
    with torch.device("meta"):
        network = VideoDepthAnything(spec.size, temporal=any(_TEMPORAL in name for name in state))
    _check(path, state, network, spec)
    # Copies of our own: how a file lies in memory would otherwise decide the last bits of every product.
    network.load_weights({name: value.to(torch.float32, copy=True) for name, value in state.items()})
    return network.eval().requires_grad_(requires_grad=False)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, without running any code that may be in it."""
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: cannot be read as weights ({reason}); get the file again") from error
    if not _are_named_tensors(tensors):
        raise WeightsError(f"{path}: holds something else than named tensors; give the published file of weights")
    return tensors


def _are_named_tensors(content: object) -> bool:
    return isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values())


def _common_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The names of Video Depth Anything for the same tensors of Depth Anything V2."""
    return {name.replace("depth_head.", "head.", 1): value for name, value in state.items()}


def _check(path: Path, state: Mapping[str, Tensor], network: VideoDepthAnything, spec: NetworkSpec) -> None:
    """Refuse weights of another network, and say what they look like."""
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in state.items()}
    lacking = [name for name in wanted if name not in given and not name.endswith(".pe")]
    unknown = [name for name in given if name not in wanted]
    both = [name for name in wanted if name in given and given[name] != wanted[name]]
    differing = [f"{name} {given[name]} instead of {wanted[name]}" for name in both]
    problems = (("lacks", lacking), ("has no use for", unknown), ("has", differing))
    found = "; ".join(f"it {verb} {_abridged(names)}" for verb, names in problems if names)
    if found:
        raise WeightsError(f"{path}: not the weights of {spec.name} ({spec.size}), but {_likeness(state)}: {found}")


def _abridged(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _likeness(state: Mapping[str, Tensor]) -> str:
    """What a file of weights looks like, in words."""
    token = state.get("pretrained.cls_token")
    size = _WIDTHS.get(token.shape[-1]) if token is not None and token.ndim else None
    if size is None:
        return "of another network"
    return f"Video Depth Anything {size}" if any(_TEMPORAL in name for name in state) else f"Depth Anything V2 {size}"
