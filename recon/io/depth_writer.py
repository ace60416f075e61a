"""Depth maps to files that other programs read: NPZ, 16-bit PNG, EXR, or one lossless video of 16 bits.

A folder of maps appears whole, with ``depth.json`` beside the maps (``recon.io.depth.Description``), and
``recon.io.depth.DepthFolder`` reads it again:

======  ======================  ==============================================================================
npz     depth_000000.npz, ...   float32 array ``depth`` or ``disparity`` and float64 ``time``; NaN = unknown
exr     depth_000000.exr, ...   float32, ZIP; channel Z (depth) or Y (disparity); NaN = unknown
png     depth_000000.png, ...   16-bit grey, value = number / scale; 0 = unknown
ffv1    depth.mkv               16-bit grey, value = offset + step * code (tags of the file); 65535 = unknown
======  ======================  ==============================================================================

npz and exr are exact. png and ffv1 are exact to half a step. What they cannot hold (numbers outside 1 to 65534, values
outside the range given) becomes unknown, never a wrong number; ``depth.json`` says how many values that were.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np

from recon.files import whole_folder
from recon.io.depth import DESCRIPTION, VIDEO, Description, MapFormat, coding_tags, file_name, open_exr_package
from recon.io.ffv1 import HIGHEST, UNKNOWN, Coding, grey_writer
from recon.types import DepthMap, Quantity, Units

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What is the same for all maps of a folder."""

    kind: MapFormat
    quantity: Quantity
    units: Units
    """What one unit of depth is; disparity has none: "relative"."""
    size: tuple[int, int]
    """(height, width) of every map."""
    value_range: tuple[float, float]
    """ffv1: bounds of the values (``StoredDepth.value_range``); the step is their difference / 65534."""
    scale: float = 1000.0
    """png: numbers for one unit; 1000 is millimetres, and reaches 65.5 m."""


def png_scale(quantity: Quantity, value_range: tuple[float, float]) -> float:
    """Numbers for one unit that hold a range: millimetres for depth where they do, else the finest that does."""
    top = max(value_range)
    if top <= 0 or (quantity == "depth" and round(top * 1000) <= HIGHEST):
        return 1000.0
    return HIGHEST / top


_Put = Callable[[int, float, DepthMap], int]
"""Writes the map of a frame with this index and time; returns how many of its values were lost."""


class DepthWriter:
    """Takes the maps of a folder, one after the other."""

    def __init__(self, spec: MapSpec, put: _Put) -> None:
        self._spec = spec
        self._put = put
        self._frames: list[tuple[int, float]] = []
        self._lost = 0

    def write(self, index: int, time: float, values: DepthMap) -> None:
        """Add a map, float32 (h, w), NaN = unknown; index and time (seconds) must be greater than the last.

        Raises:
            ValueError: order or size are wrong, or a value is infinite.
        """
        if self._frames and not (index > self._frames[-1][0] and time > self._frames[-1][1]):
            raise ValueError(f"frame {index} at {time} s does not come after {self._frames[-1]}")
        if values.shape != self._spec.size or np.isinf(values).any():
            raise ValueError(f"a map of this folder has the size {self._spec.size} and no infinite values")
        self._lost += self._put(index, time, values)
        self._frames.append((index, time))

    def description(self) -> Description:
        """What was written so far."""
        spec = self._spec
        return Description(
            kind=spec.kind,
            quantity=spec.quantity,
            units=spec.units,
            height=spec.size[0],
            width=spec.size[1],
            scale=spec.scale if spec.kind == "png" else None,
            frames=tuple(self._frames),
            lost=self._lost,
        )


@contextmanager
def depth_writer(folder: Path, spec: MapSpec) -> Iterator[DepthWriter]:
    """A folder of maps that appears, whole, when the block ends without an error.

    Raises:
        OptionError: the folder is there already and holds something else than depth maps of recon.
        MissingPackageError: exr needs the package OpenEXR.
    """
    with whole_folder(folder, marker=DESCRIPTION) as partial:
        with _PUTS[spec.kind](partial, spec) as put:
            writer = DepthWriter(spec, put)
            yield writer
        description = writer.description()
        (partial / DESCRIPTION).write_text(description.model_dump_json() + "\n", encoding="utf-8", newline="\n")
    if description.lost:
        _LOG.warning("%s: %d values do not fit into 16 bits and are written as unknown", folder, description.lost)


@contextmanager
def _npz(folder: Path, spec: MapSpec) -> Iterator[_Put]:
    def put(index: int, time: float, values: DepthMap) -> int:
        arrays: dict[str, np.ndarray] = {spec.quantity: values, "time": np.array(time, np.float64)}
        with (folder / file_name(index, "npz")).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        return 0

    yield put


@contextmanager
def _png(folder: Path, spec: MapSpec) -> Iterator[_Put]:
    def put(index: int, time: float, values: DepthMap) -> int:  # noqa: ARG001 - it is a _Put
        scaled = np.rint(values * np.float64(spec.scale))
        fits = (scaled >= 1) & (scaled <= HIGHEST)
        write_png(folder / file_name(index, "png"), np.where(fits, scaled, 0).astype(np.uint16))
        return int(np.count_nonzero(~fits & ~np.isnan(values)))

    yield put


def write_png(path: Path, numbers: np.ndarray) -> None:
    """A PNG of one channel, losslessly.

    Raises:
        OSError: it cannot be written.
    """
    done, content = cv2.imencode(".png", numbers)
    if not done:
        raise OSError(f"{path}: cannot be encoded as PNG")
    path.write_bytes(content.tobytes())


@contextmanager
def _exr(folder: Path, spec: MapSpec) -> Iterator[_Put]:
    package = open_exr_package()
    header = {"compression": package.ZIP_COMPRESSION, "type": package.scanlineimage}
    channel = "Z" if spec.quantity == "depth" else "Y"

    def put(index: int, time: float, values: DepthMap) -> int:  # noqa: ARG001 - it is a _Put
        with package.File(header, {channel: np.ascontiguousarray(values)}) as file:
            file.write(str(folder / file_name(index, "exr")))
        return 0

    yield put


@contextmanager
def _ffv1(folder: Path, spec: MapSpec) -> Iterator[_Put]:
    low, high = spec.value_range
    coding = Coding(low, (high - low) / HIGHEST)
    latest = -1
    with grey_writer(folder / VIDEO, spec.size, coding_tags(coding, spec.quantity)) as write:

        def put(index: int, time: float, values: DepthMap) -> int:  # noqa: ARG001 - it is a _Put
            nonlocal latest
            latest = max(round(time * 1000), latest + 1)  # players want time to pass; the exact one is in depth.json
            codes = coding.codes(values)
            write(codes, latest)
            return int(np.count_nonzero((codes == UNKNOWN) & ~np.isnan(values)))

        yield put


_PUTS: Final[Mapping[MapFormat, Callable[[Path, MapSpec], AbstractContextManager[_Put]]]] = MappingProxyType(
    {"npz": _npz, "png": _png, "exr": _exr, "ffv1": _ffv1}
)
