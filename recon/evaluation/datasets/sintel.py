"""MPI Sintel (Butler et al., ECCV 2012; depth: Wulff et al. 2015): a rendered film, depth and cameras known exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import (
    CamerasOnDemand,
    clip_name,
    files,
    folders,
    namesakes,
    rigid_of,
    warn_if_fewer,
)
from recon.evaluation.datasets.sequences import numbered, picture_reader
from recon.evaluation.truth import DataSet, Reading, TruthCamera, TruthClip
from recon.geometry import inverse
from recon.types import DepthMap, Intrinsics

_LAYOUT: Final = (
    "[training/]{clean,final}/<sequence>/frame_0001.png, depth/<sequence>/frame_0001.dpt, "
    "camdata_left/<sequence>/frame_0001.cam (cameras are optional)"
)
_SEQUENCES: Final = 23
_LENGTH: Final = 100
"""Frames of a clip at most; no sequence has as many."""
_RATE: Final = 24.0
_MAX_DEPTH: Final = 70.0
_TAG: Final = np.float32(202021.25)
"""First number of every file; a wrong one means another byte order."""
_RELEASED_FACTOR: Final = 65535 / 650
"""What the released scripts divide the numbers of their PNG files by."""


@dataclass(frozen=True, slots=True)
class SintelDepth:
    """Decodes a .dpt file; a ``TruthClip.read_depth``."""

    in_metres: bool = False
    """Repeat what the released scripts do: whole metres in 16 bits, divided by 100.8."""

    def __call__(self, path: Path) -> DepthMap:
        """Metres, NaN = unknown.

        Raises:
            FormatError: the file is damaged or is no .dpt.
        """
        depth = _read_dpt(path)
        if self.in_metres:
            depth = (_in_16_bits(depth) / _RELEASED_FACTOR).astype(np.float32)
        return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def _in_16_bits(metres: DepthMap) -> np.ndarray:
    """What a conversion to uint16 leaves on x86: whole numbers modulo 65536, and 0 where 32 bits cannot hold them."""
    held = np.where(np.isfinite(metres) & (np.abs(metres) < 2.0**31), metres, 0)
    return held.astype(np.int64) & 0xFFFF


def _read_dpt(path: Path) -> DepthMap:
    """float32 tag, int32 width and height, float32 values by rows; little endian (README of the depth download)."""
    content = _tagged(path)
    height, width = _dpt_size(path, content)
    if len(content) != 12 + 4 * width * height:
        raise FormatError(f"{path}: {width} x {height} values are {12 + 4 * width * height} bytes; the file differs")
    return np.frombuffer(content, "<f4", offset=12).reshape(height, width).astype(np.float32)


def _dpt_size(path: Path, content: bytes) -> tuple[int, int]:
    width, height = (int(number) for number in np.frombuffer(content[4:12].ljust(8, b"\0"), "<i4"))
    if width <= 0 or height <= 0:
        raise FormatError(f"{path}: a depth map of {width} x {height} pixels: the file is damaged")
    return height, width


def _tagged(path: Path, size: int = -1) -> bytes:
    """The first bytes of a file, or all of them."""
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) < 4 or np.frombuffer(content[:4], "<f4")[0] != _TAG:
        raise FormatError(f"{path}: is no file of Sintel (it does not begin with 202021.25)")
    return content


def _read_camera(path: Path, size: tuple[int, int]) -> TruthCamera:
    """float32 tag, float64 K (3x3), float64 camera_from_world (3x4): x = K [R t] X (README of the depth download)."""
    content = _tagged(path)
    if len(content) != 4 + 8 * 21:
        raise FormatError(f"{path}: a camera of Sintel has 172 bytes, this file {len(content)}")
    numbers = np.frombuffer(content, "<f8", offset=4)
    matrix, camera_from_world = numbers[:9].reshape(3, 3), numbers[9:].reshape(3, 4)
    height, width = size
    # The principal point of its 1024 x 436 pictures is (511.5, 217.5): the first pixel's centre is at (0, 0).
    fx, fy, cx, cy = (float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))
    try:
        intrinsics = Intrinsics(fx, fy, cx + 0.5, cy + 0.5, width, height)
    except ValueError as error:
        raise FormatError(f"{path}: {error}") from error
    return TruthCamera(intrinsics, inverse(rigid_of(camera_from_world, str(path))))


def _cameras(pictures: Sequence[Path], folder: Path, first_depth: Path) -> Mapping[int, TruthCamera]:
    size = _dpt_size(first_depth, _tagged(first_depth, 12))
    paths = namesakes(pictures, folder, ".cam")
    return {number: _read_camera(path, size) for number, path in enumerate(paths)}


def _clip(sequence: Path, training: Path, reading: Reading) -> TruthClip:
    pictures = files(sequence, "*.png", expected="the pictures of a sequence")[:_LENGTH]
    depths = namesakes(pictures, training / "depth" / sequence.name, ".dpt")
    cameras = training / "camdata_left" / sequence.name
    return TruthClip(
        name=clip_name(sequence.name),
        frames=numbered(pictures, depths, _RATE),
        read_picture=picture_reader(reading),
        read_depth=SintelDepth(in_metres=reading.protocol.sintel_in_metres),
        cameras=CamerasOnDemand(partial(_cameras, pictures, cameras, depths[0])) if cameras.is_dir() else {},
        max_depth=_MAX_DEPTH,
    )


def _clips(root: Path, reading: Reading, *, rendering: str) -> Sequence[TruthClip]:
    training = root / "training" if (root / "training").is_dir() else root
    expected = f"extract MPI-Sintel-complete.zip here, or give the folder that holds training/{rendering}"
    sequences = folders(training, f"{rendering}/*", expected=expected)
    if not (training / "depth").is_dir():
        raise FormatError(f"{training}: there is no folder depth: extract MPI-Sintel-depth-training here as well")
    warn_if_fewer(root, len(sequences), _SEQUENCES)
    return [_clip(sequence, training, reading) for sequence in sequences]


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "sintel-100",
        "MPI Sintel, the 23 sequences of its training part, clean rendering, up to 100 frames (arXiv 2501.12375).",
        _LAYOUT,
        partial(_clips, rendering="clean"),
    ),
    DataSet(
        "sintel-100-final",
        "The same sequences in the final rendering, with blur and fog; no published script takes it for video.",
        _LAYOUT,
        partial(_clips, rendering="final"),
    ),
)
