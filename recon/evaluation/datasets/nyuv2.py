"""NYU Depth v2 (Silberman et al., ECCV 2012): rooms filmed with a Kinect; video, not the labelled pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from recon.evaluation.datasets.layout import (
    Crop,
    DepthReader,
    PictureReader,
    clip_name,
    files,
    folders,
    namesakes,
    warn_if_fewer,
)
from recon.evaluation.datasets.sequences import NOMINAL_RATE, numbered
from recon.evaluation.truth import DataSet, Reading, TruthClip

_SCENES: Final = (
    "basement_0001a",
    "bookstore_0001a",
    "cafe_0001a",
    "classroom_0001a",
    "kitchen_0003",
    "office_0004",
    "playroom_0002",
    "study_0002",
)
_CROP: Final = Crop(45, 471, 41, 601)
"""Where depth that is brought to the colour camera is known."""
_LENGTH: Final = 500
_SCALE: Final = 6000.0
_MAX_DEPTH: Final = 10.0


def _clip(scene: Path, reading: Reading) -> TruthClip:
    pictures = files(scene, "rgb/*.jpg", expected="the pictures of a scene")[:_LENGTH]
    depths = namesakes(pictures, scene / "depth", ".png")
    return TruthClip(
        name=clip_name(scene.name),
        frames=numbered(pictures, depths, NOMINAL_RATE),
        read_picture=PictureReader(_CROP, red_and_blue_swapped=reading.protocol.red_and_blue_swapped),
        read_depth=DepthReader(_SCALE, _CROP),
        cameras={},
        max_depth=_MAX_DEPTH,
    )


def _clips(root: Path, reading: Reading) -> Sequence[TruthClip]:
    expected = f"give the folder that holds {', '.join(_SCENES)}, each with rgb/*.jpg and depth/*.png"
    scenes = [path for path in folders(root, "*", expected=expected) if path.name in _SCENES]
    if not scenes:
        scenes = folders(root, _SCENES[0], expected=expected)
    warn_if_fewer(root, len(scenes), len(_SCENES))
    return [_clip(scene, reading) for scene in scenes]


DATA_SETS: Final[tuple[DataSet, ...]] = (
    DataSet(
        "nyuv2-500",
        "NYU Depth v2, 8 rooms, up to 500 frames of each (arXiv 2501.12375 and the released scripts).",
        "<scene>/rgb/NAME.jpg and <scene>/depth/NAME.png: the raw download through the authors' Matlab toolbox, 640 x "
        "480, depth seen from the colour camera, 16 bits, 6000 for a metre, 0 unknown; no poses are known",
        _clips,
    ),
)
