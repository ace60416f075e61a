"""What is compared on a data set: a network, which is run now, or depth that somebody made elsewhere."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from recon.errors import FormatError
from recon.evaluation.predictions import predictions_of
from recon.evaluation.truth import ClipSource, TruthClip
from recon.io.store import SUFFIX, DepthStore
from recon.models import DisparityNetwork
from recon.pipelines.depth import Observer, inference_of, predict
from recon.settings import EvaluationRunSettings, NetworkSettings
from recon.stages.disparity import WINDOW, seams
from recon.types import DepthMap, Frame, Quantity, ShotFrame


class ClipDepth(Protocol):
    """A map for every frame of a clip."""

    @property
    def quantity(self) -> Quantity:
        """What the maps hold."""

    @property
    def metric(self) -> bool:
        """Whether depth claims to be in metres."""

    def maps(self) -> Iterator[DepthMap]:
        """All of them in order, one at a time, anew at each call."""

    def __getitem__(self, index: int) -> DepthMap:
        """One of them."""


class Method(Protocol):
    """A way to depth."""

    @property
    def name(self) -> str:
        """Of its row in a table."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What tells it from every other."""

    def depth(self, clip: TruthClip) -> AbstractContextManager[ClipDepth]:
        """Its maps of a clip, made now or found.

        Raises:
            ReconError: they cannot be had.
        """

    def seams(self, clip: TruthClip) -> frozenset[int]:
        """Frames of a clip at which its windows meet."""


def method_of(settings: EvaluationRunSettings, clips: Sequence[TruthClip], folder: Path, observer: Observer) -> Method:
    """The method that the settings name.

    Args:
        settings: a network, or where depth lies that was made elsewhere.
        clips: all that will be compared, in full length.
        folder: for depth that is made.
        observer: is told how it goes on.
    """
    chosen = settings.evaluation
    if chosen.predictions is None:
        return NetworkMethod(settings.depth, chosen.method, folder, observer)
    whole = {clip.name: clip for clip in clips}
    name = chosen.method or chosen.predictions.name
    return GivenMethod(name, chosen.predictions, chosen.prediction_kind, chosen.prediction_scale, whole)


@dataclass(frozen=True)
class NetworkMethod:
    """A network of recon's; its depth goes into a store for each clip, and an interrupted run goes on."""

    settings: NetworkSettings
    given_name: str | None
    folder: Path
    observer: Observer

    @property
    def name(self) -> str:
        """The network's own, and how it is run where that is not as usual."""
        mode = "" if self.settings.mode == "offline" else f", {self.settings.mode}"
        compat = "" if self.settings.compat == "none" else f", as {self.settings.compat}"
        return self.given_name or f"{self._network.identity['name']}{mode}{compat}"

    @property
    def identity(self) -> Mapping[str, str]:
        """The network's, and how it is run."""
        return {**self._network.identity, "mode": self.settings.mode, "compat": self.settings.compat}

    @contextmanager
    def depth(self, clip: TruthClip) -> Iterator[ClipDepth]:
        """Run the network over what it has not seen yet."""
        source = ClipSource(clip)
        key = {**source.identity, **self.identity}
        digest = hashlib.sha256(repr(sorted(key.items())).encode()).hexdigest()
        where = self.folder / f"{clip.name}-{digest[:8]}{SUFFIX}"
        where.parent.mkdir(parents=True, exist_ok=True)
        with DepthStore.open(where, key, self._network.quantity, fresh=False) as store:
            divided = _one_shot if clip.one_gauge else _a_shot_each
            predict(source, store, divided, inference_of(self._network, self.settings), self.observer)
            yield _Stored(store)

    def seams(self, clip: TruthClip) -> frozenset[int]:
        """None where there are no windows."""
        windows = self._network.window == WINDOW and self.settings.mode == "offline" and clip.one_gauge
        return seams(len(clip.frames)) if windows else frozenset()

    @cached_property
    def _network(self) -> DisparityNetwork[Any]:
        from recon.models.choose import choose_network  # noqa: PLC0415 - torch, only where a network is wanted

        return choose_network(self.settings, on_download=self.observer.download)


def _one_shot(frames: Iterable[Frame]) -> Iterator[ShotFrame]:
    return (ShotFrame(frame, 0) for frame in frames)


def _a_shot_each(frames: Iterable[Frame]) -> Iterator[ShotFrame]:
    """Pictures that have nothing to do with each other share no window."""
    return (ShotFrame(frame, frame.index) for frame in frames)


@dataclass(frozen=True, slots=True)
class _Stored:
    store: DepthStore

    @property
    def quantity(self) -> Quantity:
        return self.store.quantity

    @property
    def metric(self) -> bool:
        return True

    def maps(self) -> Iterator[DepthMap]:
        return (estimate.values for estimate in self.store.estimates())

    def __getitem__(self, index: int) -> DepthMap:
        return self.store[index].values


@dataclass(frozen=True)
class GivenMethod:
    """Depth in files."""

    name: str
    folder: Path
    quantity: Quantity | None
    scale: float
    whole: Mapping[str, TruthClip]
    """The clips by name, in full length: maps are made for whole clips, even where a part of them is compared."""

    @cached_property
    def identity(self) -> Mapping[str, str]:
        """Name, size and time of every file: what was made anew is scored anew."""
        files = sorted(path for path in (self.folder, *self.folder.rglob("*")) if path.is_file())
        facts = [(str(file.relative_to(self.folder)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        listing = hashlib.sha256(repr(facts).encode()).hexdigest()
        return {
            "predictions": self.folder.name,
            "files": listing,
            "kind": self.quantity or "disparity",
            "scale": f"{self.scale:g}",
        }

    @contextmanager
    def depth(self, clip: TruthClip) -> Iterator[ClipDepth]:
        """Find a map for every frame; the folder itself may hold those of an only clip."""
        find = partial(
            predictions_of, folder=self.folder, scale=self.scale, quantity=self.quantity, only=len(self.whole) == 1
        )
        whole = self.whole[clip.name]
        try:
            found = find(whole)
        except FormatError:
            if len(clip.frames) == len(whole.frames):
                raise
            found = find(clip)  # maps of the frames that --frames takes, and of no more
        yield replace(found, numbers=found.numbers[: len(clip.frames)])

    def seams(self, clip: TruthClip) -> frozenset[int]:  # noqa: ARG002 - a Method
        """Nobody knows."""
        return frozenset()
