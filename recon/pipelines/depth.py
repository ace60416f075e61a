"""Depth for every frame of a source: from a network, through the store, or from maps made elsewhere."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from recon.errors import OptionError
from recon.io.depth import DepthFolder
from recon.io.source import Source
from recon.io.store import SUFFIX, DepthStore, ShotSpan, find_store, shot_spans
from recon.io.video import open_source
from recon.models import DisparityNetwork, StreamingNetwork
from recon.settings import DepthSettings, NetworkSettings, SamplingSettings, ShotSettings, StoreSettings
from recon.stages.disparity import infer
from recon.stages.shots import split_shots
from recon.stages.streaming import stream
from recon.streams import prefetched
from recon.types import Checkpoint, Chunk, DepthEstimate, DepthMap, Frame, Quantity, ShotFrame

logger = logging.getLogger(__name__)
T = TypeVar("T")

AHEAD = 4
"""Frames that are decoded before they are asked for."""
WIDEST = 1.5
"""Times by which a map may be wider than its picture, in parts of the height; the same for higher."""
TOGETHER = "frames together"
"""What the number of frames that the network saw together is called, where it is told what made the depth."""


class Observer(Protocol):
    """Is told how a run goes on; shows it, or not."""

    def watch(self, items: Iterable[T], label: str, total: float | None) -> Iterator[T]:
        """The same items, counted; ``total`` is how many are expected, where that is known."""

    def download(self, file: str, done: int, size: int | None) -> None:
        """So many bytes of a file are here, of so many in all, where that is known."""


@dataclass(frozen=True, slots=True)
class Unobserved:
    """Shows nothing."""

    def watch(self, items: Iterable[T], label: str, total: float | None) -> Iterator[T]:  # noqa: ARG002 - an Observer
        """The same items."""
        return iter(items)

    def download(self, file: str, done: int, size: int | None) -> None:
        """Nothing."""


class DepthMaps(Protocol):
    """A map for every frame of a source."""

    @property
    def quantity(self) -> Quantity:
        """Disparity up to scale and shift, or lengths."""

    @property
    def frame_count(self) -> int:
        """How many frames have a map."""

    @property
    def shots(self) -> Sequence[ShotSpan]:
        """The runs of frames between two cuts."""

    def time_of(self, index: int) -> float:
        """Time of a frame, seconds."""

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        """The maps in order, from frame ``start`` on, lazily."""


def times_of(maps: DepthMaps, span: ShotSpan | None = None) -> tuple[float, float]:
    """Times of the first and the last frame of a shot, or of all; seconds."""
    first, count = (0, maps.frame_count) if span is None else (span.start, span.count)
    start, end = (next(maps.estimates(index)).time for index in (first, first + count - 1))
    return start, end


@dataclass(frozen=True, slots=True)
class MapsOf(ABC):
    """Maps that are made of others, one by one."""

    maps: DepthMaps

    @property
    def quantity(self) -> Quantity:
        """That of the others."""
        return self.maps.quantity

    @property
    def frame_count(self) -> int:
        """That of the others: a frame of which nothing is known has a map too, of NaN."""
        return self.maps.frame_count

    @property
    def shots(self) -> Sequence[ShotSpan]:
        """Those of the others."""
        return self.maps.shots

    def time_of(self, index: int) -> float:
        """That of the others."""
        return self.maps.time_of(index)

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        """The maps in order, from frame ``start`` on, lazily."""
        for estimate in self.maps.estimates(start):
            yield replace(estimate, values=self.made_of(estimate))

    @abstractmethod
    def made_of(self, estimate: DepthEstimate) -> DepthMap:
        """The values of a map."""


class SettingsOfDepth(Protocol):
    """The sections that every command with depth has."""

    @property
    def sampling(self) -> SamplingSettings:
        """Which frames are used."""

    @property
    def depth(self) -> DepthSettings:
        """The network, or the folder of maps."""

    @property
    def shots(self) -> ShotSettings:
        """Cut detection."""

    @property
    def store(self) -> StoreSettings:
        """Where depth is kept."""


@contextmanager
def depth_maps(
    source: Source, output: Path, settings: SettingsOfDepth, observer: Observer
) -> Iterator[tuple[DepthMaps, Mapping[str, str]]]:
    """Depth of every frame, and what made it; from the store where it is there, else computed into it now.

    Raises:
        ReconError: weights, maps or store are missing or do not fit.
    """
    depth = settings.depth
    cut_threshold = None if depth.compat == "vda" else settings.shots.cut_threshold
    if depth.depth is not None:
        folder = DepthFolder(depth.depth, scale=depth.depth_scale, quantity=depth.depth_kind)
        _require_metres(folder)
        _require_shape(folder, source)
        every = partial(every_time, source, settings.sampling.picture_rate)
        yield matched_maps(source, folder, cut_threshold, observer, every), {"maps": str(depth.depth)}
        return
    from recon.models.choose import choose_network  # noqa: PLC0415 - torch, only where a network is wanted

    network = choose_network(depth, on_download=observer.download)
    run = inference_of(network, depth)
    how = {"mode": depth.mode, "compat": depth.compat, "cut threshold": str(cut_threshold)}
    key = {**source.identity, **network.identity, **how}
    where = store_folder(output, settings.store, key)
    with DepthStore.open(where, key, network.quantity, fresh=settings.store.fresh) as store:
        predict(source, store, partial(in_shots, cut_threshold=cut_threshold), run, observer)
        together = 1 if depth.mode == "streaming" else network.window
        yield store, {**network.identity, TOGETHER: str(together)}


def counted(frames: int) -> str:
    """For a person: how many frames."""
    return "1 frame" if frames == 1 else f"{frames} frames"


def _require_shape(folder: DepthFolder, source: Source) -> None:
    """Maps of another size are stretched, but never to another shape: networks round it to whole patches.

    Raises:
        OptionError: the first map is wider or higher than the pictures by more than half.
    """
    height, width = folder[0].shape
    info = source.info
    if not 1 / WIDEST < (width / height) / (info.width / info.height) < WIDEST:
        raise OptionError(
            f"{folder.path}: maps of {width} x {height} do not fit pictures of {info.width} x {info.height}: are they "
            "of another video, or turned?"
        )


def _require_metres(folder: DepthFolder) -> None:
    """Lengths in the units of a SLAM map would be taken for metres.

    Raises:
        OptionError: the maps are in other units, as they say themselves.
    """
    if folder.units == "slam":
        raise OptionError(
            f"{folder.path}: these maps are in the units of a SLAM map, not in metres: write them anew with "
            "--scale-from, or give the video and --sparse"
        )


def told_origin(origin: Mapping[str, str]) -> str:
    """What made the depth, for a person: all but the hash of the weights."""
    return ", ".join(f"{key} {value}" for key, value in origin.items() if key != "sha256").removeprefix("name ")


def store_folder(output: Path, settings: StoreSettings, key: Mapping[str, str]) -> Path:
    """``--store``; else OUTPUT.recon, unless only a sibling of it holds this very depth already."""
    if settings.store is not None:
        return settings.store
    own = output.with_name(output.name + SUFFIX)
    if own.exists() or settings.fresh:
        return own
    sibling = find_store(own, key)
    if sibling is not None:
        logger.info("%s holds the depth of this video with these settings: it is used", sibling)
    return sibling or own


class Inference(Protocol):
    """Frames to their maps, chunk after chunk; goes on after ``resume`` as ``recon.stages.disparity.infer`` does."""

    def __call__(self, frames: Iterable[ShotFrame], *, resume: Checkpoint | None) -> Iterator[Chunk]:
        """The chunks that are not done yet."""


def inference_of(network: DisparityNetwork[Any], settings: NetworkSettings) -> Inference:
    """How this network is run with these settings (``mode`` and ``compat``).

    Raises:
        OptionError: the network cannot be run like that.
    """
    compat = settings.compat == "vda"
    if settings.mode == "offline" or network.window == 1:  # a network for single pictures looks at nothing else anyway
        return partial(infer, network=network, compat=compat)
    if isinstance(network, StreamingNetwork):
        return partial(stream, network=network, compat=compat)
    raise OptionError(
        f"--mode streaming: {network.identity['name']} looks at windows of {network.window} frames only; "
        "use --mode offline, or another --model"
    )


def predict(
    source: Source,
    store: DepthStore,
    divided: Callable[[Iterable[Frame]], Iterator[ShotFrame]],
    run: Inference,
    observer: Observer,
) -> None:
    """Fill a store with depth of every frame, going on where an earlier run was stopped.

    Args:
        source: the frames.
        store: where chunks go, and where the newest checkpoint lies.
        divided: frames to frames with their shot (``in_shots``).
        run: what makes the depth (``inference_of``).
        observer: is told of each frame.
    """
    if store.complete:
        return
    if store.frame_count:
        logger.info("%d frames have depth already: going on after them", store.frame_count)
    with closing(prefetched(source.frames(), AHEAD)) as decoded:
        frames = observer.watch(decoded, "depth", source.info.frame_count)
        for chunk in run(divided(frames), resume=store.checkpoint):
            store.append(chunk)
            del chunk  # on the disk now, and large: not held while the next one is made
    store.finish()


def in_shots(frames: Iterable[Frame], cut_threshold: float | None) -> Iterator[ShotFrame]:
    """Frames with their shot; all of one shot where ``cut_threshold`` is None."""
    if cut_threshold is None:
        return (ShotFrame(frame, 0) for frame in frames)
    return split_shots(frames, threshold=cut_threshold)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Frames of whose depth nothing is known."""

    times: Sequence[float]
    """Of every frame, seconds."""
    shots: Sequence[ShotSpan]

    @property
    def quantity(self) -> Quantity:
        """What the maps would hold."""
        return "depth"

    @property
    def frame_count(self) -> int:
        """How many frames there are."""
        return len(self.times)

    def time_of(self, index: int) -> float:
        """Time of a frame, seconds."""
        return self.times[index]

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        """Maps of one pixel that know nothing."""
        values = np.full((1, 1), np.nan, np.float32)
        return (DepthEstimate(index, self.times[index], shot, values) for index, shot in self.numbered(start))

    def numbered(self, start: int = 0) -> Iterator[tuple[int, int]]:
        """The number of each frame and that of its shot, in order."""
        shots = (span.shot for span in self.shots for _ in range(span.count))
        return islice(enumerate(shots), start, None)


def timeline(source: Source, cut_threshold: float | None, observer: Observer) -> Timeline:
    """Look through the frames once, for cuts and times."""
    with closing(prefetched(source.frames(), AHEAD)) as decoded:
        frames = observer.watch(decoded, "looking", source.info.frame_count)
        seen = [(each.frame.time, each.shot) for each in in_shots(frames, cut_threshold)]
    return Timeline([time for time, _shot in seen], shot_spans(shot for _time, shot in seen))


@dataclass(frozen=True, slots=True)
class MatchedMaps(Timeline):
    """Maps made elsewhere, each beside the frame that it belongs to."""

    folder: DepthFolder
    numbers: Sequence[int]
    """Of every frame's map in the folder."""

    @property
    def quantity(self) -> Quantity:
        """What the maps hold."""
        return self.folder.quantity

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        """The maps in order, from frame ``start`` on, lazily."""
        maps = self.folder.maps(self.numbers[start:])
        for (index, shot), values in zip(self.numbered(start), maps, strict=True):
            yield DepthEstimate(index, self.times[index], shot, values)


def matched_maps(
    source: Source,
    folder: DepthFolder,
    cut_threshold: float | None,
    observer: Observer,
    every_time: Callable[[], Sequence[float]] | None = None,
) -> MatchedMaps:
    """Look through the frames once, for cuts and times, and match every frame with its map.

    ``every_time`` gives the times of all frames of the source, for maps that were made before sampling.

    Raises:
        FormatError: a frame has no map.
    """
    line = timeline(source, cut_threshold, observer)
    numbers = folder.match(line.times, source.times_by_name, every_time)
    return MatchedMaps(line.times, line.shots, folder, numbers)


def every_time(source: Source, picture_rate: float) -> list[float]:
    """Times of all frames of a source, whether they are used or not."""
    whole = open_source(source.info.path, SamplingSettings(picture_rate=picture_rate))
    with closing(whole.frames()) as frames:
        return [frame.time for frame in frames]
