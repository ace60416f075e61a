"""Bonn RGB-D dynamic (Palazzolo et al., IROS 2019): people and things that move in a room, filmed with an Xtion.

No cameras are given. ``groundtruth.txt`` tracks markers on the sensor, and the published matrix from sensor to markers
is no rigid transform: its 3x3 part is a rotation times 1.059. Which half of it is wrong, the data set does not say.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from recon.errors import FormatError
from recon.evaluation.datasets.layout import (
    DepthReader,
    clip_name,
    files,
    folders,
    timed_files,
    truth_frames,
    warn_if_fewer,
)
from recon.evaluation.datasets.sequences import NOMINAL_RATE, associated, numbered, picture_reader
from recon.evaluation.truth import DataSet, Reading, TruthClip, TruthFrame

_LAYOUT: Final = (
    "rgbd_bonn_<name>/{rgb,depth}/SECONDS.png with rgb.txt and depth.txt; groundtruth.txt is not read (it tracks "
    "markers, not the camera)"
)
_SEQUENCES: Final = ("balloon2", "crowd2", "crowd3", "person_tracking", "synchronous")
_PREFIX: Final = "rgbd_bonn_"
_SCALE: Final = 5000.0
_MAX_DEPTH: Final = 10.0
_APART: Final = 0.02
"""Seconds that a picture and its depth may be apart, as in the tools of TUM RGB-D."""


def _paired_by_time(sequence: Path, wanted: slice) -> tuple[TruthFrame, ...]:
    """Each picture with the depth map that was taken nearest to it; with none if that is too far away."""
    times, pictures = timed_files(sequence / "rgb.txt")
    depth_times, depths = timed_files(sequence / "depth.txt")
    numbers = associated(times[wanted], depth_times, _APART)
    pairs = [None if number is None else depths[number] for number in numbers]
    return truth_frames(pictures[wanted], pairs, times[wanted])


def _paired_by_number(sequence: Path, wanted: slice) -> tuple[TruthFrame, ...]:
    """As released: the n-th picture with the n-th depth map, in natural order of their names."""
    pictures = files(sequence, "rgb/*.png", expected="the pictures of a sequence")[wanted]
    depths = files(sequence, "depth/*.png", expected="its depth maps")[wanted]
    if len(depths) < len(pictures):
        raise FormatError(f"{sequence}: {len(pictures)} pictures, but {len(depths)} depth maps to pair by number")
    return numbered(pictures, depths[: len(pictures)], NOMINAL_RATE)


def _clip(sequence: Path, reading: Reading, wanted: slice) -> TruthClip:
    pair = _paired_by_number if reading.protocol.paired_by_number else _paired_by_time
    frames = pair(sequence, wanted)
    if not frames:
        raise FormatError(f"{sequence}: has no picture after the first {wanted.start}")
    return TruthClip(
        name=clip_name(sequence.name.removeprefix(_PREFIX)),
        frames=frames,
        read_picture=picture_reader(reading),
        read_depth=DepthReader(_SCALE),
        cameras={},
        max_depth=_MAX_DEPTH,
    )


def _clips(root: Path, reading: Reading, *, wanted: slice) -> Sequence[TruthClip]:
    expected = f"extract {', '.join(_PREFIX + name + '.zip' for name in _SEQUENCES)} here"
    names = {_PREFIX + name for name in _SEQUENCES}
    sequences = [path for path in folders(root, _PREFIX + "*", expected=expected) if path.name in names]
    if not sequences:
        raise FormatError(f"{root}: none of the sequences that are compared is here: {expected}")
    warn_if_fewer(root, len(sequences), len(_SEQUENCES))
    return [_clip(sequence, reading, wanted) for sequence in sequences]


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "bonn-110",
        "Bonn RGB-D dynamic, 5 sequences, pictures 30 to 139 (arXiv 2501.12375, after DepthCrafter).",
        _LAYOUT,
        partial(_clips, wanted=slice(30, 140)),
    ),
    DataSet(
        "bonn-500",
        "Bonn RGB-D dynamic, the same 5 sequences, the first 500 pictures at most (arXiv 2501.12375).",
        _LAYOUT,
        partial(_clips, wanted=slice(0, 500)),
    ),
)
