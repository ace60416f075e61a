"""The layout of DeepVideoMVS (Duzceker et al., CVPR 2021), of which a HoloLens sequence is public.

Depth: PNG, millimetres, 0 = unknown, registered to colour. Poses: a line of 4x4 numbers by rows for each picture, world
from camera, OpenCV axes, metres. K: first pixel's centre at (0, 0).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recon.evaluation.datasets.layout import DepthReader
from recon.evaluation.datasets.sequences import (
    cameras_along,
    name_of,
    numbered,
    picture_reader,
    pictures_in,
    png_size,
    sequences,
)
from recon.evaluation.truth import DataSet, Reading, TruthClip
from recon.io.calibration import read_intrinsics
from recon.io.trajectory import read_trajectory

_LAYOUT: Final = "[<scene>/]{images/*.png, depth/*.png (of the same names), poses.txt, K.txt}"
_RATE: Final = 5.0
"""Pictures for each second: nobody says; the camera moves 8 cm and turns 4 degrees from one to the next."""
_SCALE: Final = 1000.0
_MAX_DEPTH: Final = 10.0
"""Metres: our choice, for rooms."""


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    folders = sequences(root, "K.txt", levels=2, expected=_LAYOUT)
    return [_clip(name_of(root, folder), folder, reading) for folder in folders]


def _clip(name: str, folder: Path, reading: Reading) -> TruthClip:
    pictures = pictures_in(folder / "images", expected=_LAYOUT)
    depths = pictures_in(folder / "depth", expected=_LAYOUT)
    named = {path.stem: path for path in depths}
    frames = numbered(pictures, [named.get(path.stem) for path in pictures], _RATE)
    times = {frame.name: frame.time for frame in frames}
    camera = read_intrinsics(folder / "K.txt", png_size(depths[0]))
    return TruthClip(
        name=name,
        frames=frames,
        read_picture=picture_reader(reading),
        read_depth=DepthReader(_SCALE),
        cameras=cameras_along(frames, read_trajectory(folder / "poses.txt", times_by_name=times, rate=None), camera),
        max_depth=_MAX_DEPTH,
    )


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "hololens",
        "HoloLens, in the layout of DeepVideoMVS (CVPR 2021): rooms, a few pictures a second (taken for 5), depth in "
        "two thirds of the pixels; up to 10 m.",
        _LAYOUT,
        _clips,
    ),
)
