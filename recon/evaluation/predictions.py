"""Depth made elsewhere for the clips of a data set: where it lies, and which map belongs to which frame.

Below the folder that the user names, the maps of a clip are looked for in this order:

1. a folder with a file for each frame, or one that ``recon depth`` wrote: CLIP/, CLIP_depths/, CLIP_depth/ or
   CLIP_depths_exr/ (Video Depth Anything);
2. one file with all of them: CLIP.npz (DepthCrafter), CLIP_depths.npz (Video Depth Anything), CLIP_depth.npy
   (ChronoDepth), and so on for .npz, .npy and .mkv (of recon);
3. the folders of the pictures repeated, from the clip's own or from any folder above it: what the released benchmark
   of Video Depth Anything writes (INFER_PATH/DATASET/PATH/OF/PICTURE.npy), and Apple's Depth Pro;
4. where there is only one clip: the folder itself.

A map goes with the frame of its recorded time, else of its name, else of its number: then there must be exactly as
many maps as frames.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from recon.errors import FormatError
from recon.evaluation.datasets.layout import clip_name
from recon.evaluation.truth import TruthClip
from recon.io.depth import TOLERANCE, DepthFolder, holds_maps, nearest_times
from recon.types import DepthMap, Quantity

ADDED: Final = ("", "_depths", "_depth", "_depths_exr")
"""What programs add to the name of a clip."""
STACKS: Final = (".npz", ".npy", ".mkv")

_MARK = re.compile(r"[._-](depths?|disp|disparity|pred|color|rgb)$", re.IGNORECASE)


def _unmarked(name: str) -> str:
    """A name without what tells a picture from its map: ``frame-000012.color`` and ``frame-000012_depth``."""
    return _MARK.sub("", name)


def _to_first_dot(name: str) -> str:
    return name.split(".", 1)[0]


_KEYS: Final[Sequence[Callable[[str], str]]] = (
    lambda name: name,
    _unmarked,
    _to_first_dot,
    lambda name: _unmarked(_to_first_dot(name)),
)
"""What of a name counts: the first of these under which every frame has exactly one map."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """A map for every frame of a clip; nothing is kept in memory but their places."""

    folder: DepthFolder
    numbers: tuple[int, ...]
    """For each frame of the clip: which of the folder's maps is its own."""

    @property
    def path(self) -> Path:
        """Where the maps are."""
        return self.folder.path

    @property
    def quantity(self) -> Quantity:
        """What they hold."""
        return self.folder.quantity

    @property
    def metric(self) -> bool:
        """Whether depth claims to be in metres; only maps that recon wrote in other units deny it."""
        return self.folder.units in {None, "metres"}

    def __len__(self) -> int:
        return len(self.numbers)

    def maps(self) -> Iterator[DepthMap]:
        """All of them in the order of the frames, one at a time, anew at each call.

        Raises:
            FormatError: a file is damaged or is no map.
        """
        return self.folder.maps(self.numbers)

    def __getitem__(self, index: int) -> DepthMap:
        """The map of one frame: float32 (h, w), NaN = unknown."""
        return self.folder[self.numbers[index]]


def predictions_of(
    clip: TruthClip, folder: Path, *, scale: float, quantity: Quantity | None, only: bool
) -> Predictions:
    """Find the maps of a clip (see the head of this file) and match them with its frames.

    Args:
        clip: whose maps are wanted.
        folder: what the user gave for the whole data set; or, where ``only``, a single file.
        scale: numbers for one unit, in formats of whole numbers.
        quantity: what the maps hold. It counts more than what an array is called: DepthCrafter calls its disparity
            ``depth``. None stands for disparity, and then an array of another name is refused.
        only: whether the clip is the only one.

    Raises:
        FormatError: there are no maps for this clip, or they cannot be matched with its frames.
    """
    maps = DepthFolder(
        _place(clip, folder, only=only),
        scale=scale,
        quantity=quantity or "disparity",
        option="--prediction-kind",
        over_names=quantity is not None,
    )
    return Predictions(maps, _matched(maps, clip))


def _place(clip: TruthClip, folder: Path, *, only: bool) -> Path:
    if not folder.exists():
        raise FormatError(f"{folder}: there is no such folder of predictions")
    for path in _places(clip, folder, only=only):
        if path.is_file() or holds_maps(path):
            return path
    alone = "" if only else " (maps right in it are taken where a data set has one clip, see --clip)"
    raise FormatError(
        f"{folder}: holds no maps of the clip {clip.name}: they are looked for in {clip.name}/ and {clip.name}.npz, "
        f".npy or .mkv, also with _depths or _depth after the name{alone}"
    )


def _places(clip: TruthClip, folder: Path, *, only: bool) -> Iterator[Path]:
    for added in ADDED:
        yield folder / f"{clip.name}{added}"
    for added in ADDED:
        yield from (folder / f"{clip.name}{added}{ending}" for ending in STACKS)
    yield from _mirrored(clip, folder, only=only)
    if only:
        yield folder


def _mirrored(clip: TruthClip, folder: Path, *, only: bool) -> Iterator[Path]:
    """The folder of the clip's pictures repeated below another one, beginning at every folder above it, topmost first.

    What is repeated must contain a folder that ends in the clip's name: ``image_02/data`` alone could be any clip's.
    """
    pictures = clip.frames[0].picture.parent
    parts = [part for part in pictures.parts if part != pictures.anchor]
    spans = [(start, stop) for start in range(len(parts)) for stop in range(start + 1, len(parts) + 1)]
    named = [start for start, stop in spans if f"_{clip_name(*parts[start:stop])}".endswith(f"_{clip.name}")]
    for start in range(len(parts) if only else max(named, default=-1) + 1):
        yield folder.joinpath(*parts[start:])


def _matched(maps: DepthFolder, clip: TruthClip) -> tuple[int, ...]:
    """The number of each frame's map."""
    numbers = _by_time(maps, clip) or _by_name(maps, clip)
    if numbers is None and len(maps) != len(clip.frames):
        raise FormatError(
            f"{maps.path}: {len(maps)} maps for the {len(clip.frames)} frames of {clip.name}, and none is named like "
            f"a frame ({clip.frames[0].name}, ...): give one for each frame"
        )
    return tuple(range(len(maps)) if numbers is None else numbers)


def _by_time(maps: DepthFolder, clip: TruthClip) -> Sequence[int] | None:
    """By recorded times; None where there are none, or they are of another clock than the data set's."""
    if maps.times is None:
        return None
    times = np.array([frame.time for frame in clip.frames], np.float64)
    numbers = nearest_times(maps.times, times)
    fits = bool((np.abs(maps.times[numbers] - times) <= TOLERANCE).all())
    return [int(number) for number in numbers] if fits else None


def _by_name(maps: DepthFolder, clip: TruthClip) -> Sequence[int] | None:
    """By names; None where no frame has a map of its name."""
    best: Sequence[str] = ()
    for key in _KEYS:
        numbers = {key(name): number for number, name in enumerate(maps.names)}
        keys = [key(frame.name) for frame in clip.frames]
        if len(numbers) != len(maps.names) or len(set(keys)) != len(keys):
            continue
        found = [name for name in keys if name in numbers]
        if len(found) == len(keys):
            return [numbers[name] for name in keys]
        best = max(best, found, key=len)
    if best:
        raise FormatError(
            f"{maps.path}: only {len(best)} of the {len(clip.frames)} frames of {clip.name} have a map of their name "
            f"({best[0]}, ...): name all maps like the pictures, or put them into one .npz or .npy, in order"
        )
    return None
