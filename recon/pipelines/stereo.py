"""From a film and its depth to two eyes: `recon stereo3d` without its options and without files."""

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar, get_args

import cv2
import numpy as np

from recon.errors import AlreadyStereoError, OptionError, VideoError
from recon.eyes import Seen
from recon.io.clip import look_at
from recon.io.pictures import is_pictures
from recon.io.source import Source
from recon.io.stereo.frames import look_of
from recon.io.stereo.layout import says_squeezed, squeezed_packing
from recon.io.stereo.signals import looks_packed, signals_of
from recon.io.store import ShotSpan
from recon.io.video import open_source
from recon.pipelines.depth import DepthMaps, Observer, counted, timeline, told_origin
from recon.pipelines.maps import depth_run
from recon.pipelines.metres import probes
from recon.pipelines.run import spread_pictures
from recon.pipelines.straight import straight_camera
from recon.settings import LayoutSettings, SamplingSettings, StereoRunSettings, StereoSettings
from recon.stages.camera import assumed
from recon.stages.letterbox import BLEED, Content, find_content
from recon.stages.stereo import (
    Cut,
    Display,
    Layout,
    Packing,
    ShotParallax,
    Wish,
    cut,
    display,
    eased,
    filled,
    floating,
    grey,
    packed,
    paired,
    plan,
    ramped,
    rgbd,
    sample_places,
    seen_from,
    sharpened,
    unpacked,
)
from recon.types import DepthEstimate, PairLayout, Parallax, Picture, Samples

logger = logging.getLogger(__name__)

TOLD: Final = 6
"""Shots that a person is told of one by one."""
LOOKS: Final = 24
"""Pictures that are looked at for black bars."""
USUAL: Final = 0.025
"""Strength where nobody says it, in widths."""
SHARES: Final[Mapping[str, tuple[float, float]]] = {"both": (-0.5, 0.5), "left": (-1.0, 0.0), "right": (0.0, 1.0)}
"""Of parallax, for the left and the right eye, by which of them are made."""


ROUNDING: Final = 1e-6
"""Seconds by which times of the same frame may differ."""


class Shown(Protocol):
    """A frame of a film or a picture."""

    @property
    def time(self) -> float:
        """Seconds from the start."""

    @property
    def samples(self) -> Samples:
        """As the film codes it."""


F = TypeVar("F", bound=Shown)
Warp = Callable[[Samples, Parallax, float], Seen]
"""A picture, its parallax and a share (see `recon.types`) to what that eye sees."""


@dataclass(frozen=True, slots=True)
class Stereo(Generic[F]):
    """One frame, put together for the eyes."""

    frame: F
    pictures: tuple[Samples, ...]
    """One, or the left and the right eye, or (wiggle) one after the other."""


@dataclass(frozen=True, slots=True)
class StereoRun:
    """A run in which everything is settled but the eyes."""

    source: Source
    maps: DepthMaps
    shots: Sequence[ShotParallax]
    """One for each of the maps' shots."""
    content: Content
    """What lies within black bars; these stay on the screen."""
    fov_x: float | None
    """Horizontal field of view, degrees, where it is known."""
    origin: Mapping[str, str]
    """What made the depth."""
    stereo: StereoSettings
    layout: LayoutSettings
    packing: Packing
    """How the eyes are put together."""
    warp: Warp = seen_from

    @property
    def summary(self) -> list[tuple[str, str]]:
        """What a person wants to know of the run."""
        info = self.source.info
        told = [("source", f"{info.path.name}, {info.width} x {info.height}, {counted(self.maps.frame_count)}")]
        if self.taken_as is not None:
            return [*told, ("was", f"{self.taken_as} already: put together anew, without depth")]
        told += [("letterbox", f"{self.content.sentence} stays on the screen")] if self.content.bars else []
        told += [("depth", told_origin(self.origin))] if self.origin else []
        spans = list(zip(self.maps.shots, self.shots, strict=True))
        for span, shot in spans[:TOLD]:
            told.append((f"shot {span.shot + 1}", f"from {self.maps.time_of(span.start):.1f} s: {shot.sentence}"))
        return [*told, ("shots", f"{len(spans) - TOLD} more, see the settings")] if len(spans) > TOLD else told

    @property
    def provenance(self) -> dict[str, object]:
        """What was found out on the way, for the YAML file beside a result."""
        known = {"source": dict(self.source.identity), "depth": dict(self.origin), "frames": self.maps.frame_count}
        return known | {"fov_x": self.fov_x, "shots": self.facts}

    @property
    def taken_as(self) -> Layout | None:
        """How the eyes lie in a film that is 3D already; None of any other."""
        layout = self.layout.from_layout
        return None if layout in {"auto", "2d"} else layout  # type: ignore[return-value]  # the rest are layouts

    @property
    def facts(self) -> list[dict[str, object]]:
        """For the YAML file beside the result: each shot, and what parallax was used in it."""
        if self.taken_as is not None:
            return []
        spans = zip(self.maps.shots, self.shots, strict=True)
        return [{"first_frame": span.start, "frames": span.count} | dict(shot.facts) for span, shot in spans]

    def eyes(self, span: ShotSpan, frames: Iterable[F]) -> Iterator[Stereo[F]]:
        """The frames of one shot, seen with two eyes.

        Args:
            span: the shot.
            frames: all of the film from the first one of the shot on.
        """
        if self.taken_as is not None:
            yield from self._anew(span, frames, self.taken_as)
            return
        how, shot, window = self.packing, self.shots[span.shot], _Window()
        waiting: deque[tuple[F, Samples, Cut]] = deque()

        def mapped() -> Iterator[tuple[Samples, Parallax]]:
            for frame, estimate in _together(frames, self.maps, span):
                samples = smaller(frame.samples, self.layout.per_eye_max)
                inner = self._inside(samples)
                parallax = sharpened(_content_of(self.content, shot.parallax(estimate)), inner)
                shown = window.moved(parallax, frame.time)
                waiting.append((frame, samples, shown))
                yield inner, ramped(parallax, shown) if self.stereo.window == "ramp" else parallax

        if how.layout in {"rgbd", "depth"}:
            for _inner, parallax in mapped():
                frame, samples, _cut = waiting.popleft()
                yield Stereo(frame, (self._with_depth(samples, parallax),))
            return
        for pair in self._made(mapped()):
            frame, samples, shown = waiting.popleft()
            left, right = floating(*pair, shown.widths) if self.stereo.window == "floating" else pair
            yield Stereo(frame, packed(self._with_bars(left, samples), self._with_bars(right, samples), how))

    def _anew(self, span: ShotSpan, frames: Iterable[F], taken_as: Layout) -> Iterator[Stereo[F]]:
        for frame in islice(frames, span.count):
            left, right = (smaller(eye, self.layout.per_eye_max) for eye in unpacked(frame.samples, taken_as))
            yield Stereo(frame, packed(left, right, self.packing))

    def _made(self, mapped: Iterator[tuple[Samples, Parallax]]) -> Iterator[tuple[Samples, Samples]]:
        shares = SHARES[self.stereo.eyes]
        if self.stereo.holes == "film":
            return paired(mapped, shares, see=self.warp)
        return ((self._eye(*pair, shares[0]), self._eye(*pair, shares[1])) for pair in mapped)

    def _eye(self, picture: Samples, parallax: Parallax, share: float) -> Samples:
        return filled(self.warp(picture, parallax, share))

    def _with_depth(self, samples: Samples, parallax: Parallax) -> Samples:
        height, width, _ = samples.shape
        whole = np.zeros((height, width), np.float32)
        whole[self.content.box(height, width)] = parallax
        front, behind = wish_of(self.stereo).budget
        if self.packing.layout == "depth":
            return grey(whole, -front, behind, samples.dtype)
        return rgbd(samples, whole, -front, behind)

    def _inside(self, samples: Samples) -> Samples:
        return np.ascontiguousarray(samples[self.content.box(*samples.shape[:2])])

    def _with_bars(self, inner: Samples, whole: Samples) -> Samples:
        if not self.content.bars:
            return inner
        framed = whole.copy()
        framed[self.content.box(*whole.shape[:2])] = inner
        return framed


class _Window:
    """What the sides of the picture cut, in the course of a shot."""

    def __init__(self) -> None:
        self._before: tuple[Cut, float] | None = None

    def moved(self, parallax: Parallax, time: float) -> Cut:
        """What counts as cut now; nothing jumps."""
        found = cut(parallax)
        if self._before is not None:
            found = eased(self._before[0], found, time - self._before[1])
        self._before = found, time
        return found


@contextmanager
def stereo_run(video: Path, output: Path, settings: StereoRunSettings, observer: Observer) -> Iterator[StereoRun]:
    """Find depth for a film, and what parallax each of its shots gets; the store of depth is kept open meanwhile.

    Raises:
        ReconError: anything about the input or the options that cannot work, in one line.
    """
    if settings.layout.from_layout not in {"auto", "2d"}:
        source = open_source(video, settings.sampling)
        line, fov_x = timeline(source, None, observer), settings.camera.fov or source.info.fov_x
        how = _packing(source, settings.layout, fov_x)
        yield StereoRun(source, line, (), Content(), fov_x, {}, settings.stereo, settings.layout, how)
        return
    warp = _warp(settings.stereo)
    with depth_run(video, output, settings, observer) as run:
        if straight_camera(run.source) is not None:
            raise OptionError("stereo3d keeps pictures as they are: give --fov, not a calibration with distortion")
        content = find_content(spread_pictures(run.source, run.maps, LOOKS))
        fov_x = settings.camera.fov or run.source.info.fov_x
        wish = wish_of(settings.stereo)
        shots = [_planned(run.maps, span, content, wish, fov_x) for span in run.maps.shots]
        how, asked = _packing(run.source, settings.layout, fov_x), (settings.stereo, settings.layout)
        yield StereoRun(run.source, run.maps, shots, content, fov_x, run.origin, *asked, how, warp)


def require_flat(video: Path, settings: StereoRunSettings) -> None:
    """Find out before the work whether a film is 3D already.

    Raises:
        AlreadyStereoError: it says so, or looks so.
        VideoError: it cannot be read.
    """
    if settings.layout.from_layout != "auto" or is_pictures(video):
        return
    signals = signals_of(video)
    if signals.multiview:
        views = "is 3D already: two views in one stream (MV-HEVC), of which only the first one can be decoded here"
        raise AlreadyStereoError(f"{video}: {views}: --from-layout 2d makes both eyes of that one")
    layout = signals.layout or looks_packed(looks(video, (0.25, 0.5, 0.75)), signals.pixel_aspect)
    if layout is not None:
        who = f"says ({', '.join(signal.source for signal in signals.found)})" if signals.layout else "looks as if"
        anew = f"--from-layout {layout} puts it together anew, " if layout in get_args(PairLayout) else ""
        raise AlreadyStereoError(
            f"{video}: {who} it is 3D already ({layout}): {anew}--from-layout 2d takes it as it is"
        )


def looks(video: Path, shares: Iterable[float]) -> list[Picture]:
    """Pictures at parts of a film's duration, as far as there are some: sound may be longer, or the rest be damaged.

    Raises:
        VideoError: there is none.
    """
    source, pictures = open_source(video, SamplingSettings()), []
    for share in shares if source.info.kind == "video" else ():
        try:
            pictures.append(source.picture(share * (source.info.duration or 0.0)))
        except VideoError:
            break
    return pictures or [source.picture(0.0)]


def _packing(source: Source, layout: LayoutSettings, fov_x: float | None) -> Packing:
    if fov_x is None and layout.layout == "vr180":
        fov_x = assumed(source.info.width, source.info.height).intrinsics.fov_x  # which is told
    plain = Packing(layout.layout, layout.colours, layout.method, fov_x or 90.0)
    if source.info.kind != "video":
        return plain
    look = look_of(look_at(source.info.path))
    aspect = eye_aspect(float(look.pixel_aspect), layout.from_layout)
    return replace(plain, pixel_aspect=aspect, transfer=look.transfer)


def eye_aspect(pixel_aspect: float, taken_as: str) -> float:
    """Width over height of an eye's pixels, once it is as large as it is shown."""
    packing = squeezed_packing(taken_as)
    if packing is None or not says_squeezed(packing, pixel_aspect):
        return pixel_aspect
    return pixel_aspect / 2 if packing == "side" else pixel_aspect * 2


def _warp(stereo: StereoSettings) -> Warp:
    """What moves the pixels.

    Raises:
        OptionError: the card that is asked for is not there.
    """
    if stereo.warp == "cpu":
        return seen_from
    from recon.models.stereo_warp import on_cuda  # noqa: PLC0415 - torch takes seconds, and only this needs it

    return on_cuda()


def wish_of(stereo: StereoSettings) -> Wish:
    """What is asked, in widths and metres."""
    shown: Display | None = None if stereo.display == "none" else display(stereo.display)
    strength = None if stereo.ipd is not None else (stereo.strength or 100 * USUAL) / 100
    eyes = {} if stereo.ipd is None else {"ipd": stereo.ipd / 1000}
    return Wish(strength, stereo.front / 100, stereo.behind / 100, stereo.convergence, display=shown, **eyes)


def _planned(maps: DepthMaps, span: ShotSpan, content: Content, wish: Wish, fov_x: float | None) -> ShotParallax:
    samples = [_within(estimate, content) for estimate in probes(maps, span, len(sample_places(span.count)))]
    focal = None if fov_x is None else 0.5 / float(np.tan(np.radians(fov_x / 2)))
    return plan(samples, maps.quantity, wish, focal=focal)


def _within(estimate: DepthEstimate, content: Content) -> DepthEstimate:
    values = content.without_bars(estimate.values) if content.bars else estimate.values
    return DepthEstimate(estimate.index, estimate.time, estimate.shot, values)


def _content_of(content: Content, parallax: Parallax) -> Parallax:
    """The part of a map within the bars; where these bleed into it, what lies beside."""
    if not content.bars:
        return parallax
    height, width = parallax.shape
    (rows, columns), (inner_rows, inner_columns) = content.box(height, width), content.box(height, width, BLEED)
    around = (inner_rows.start - rows.start, rows.stop - inner_rows.stop)
    beside = (inner_columns.start - columns.start, columns.stop - inner_columns.stop)
    inner = np.ascontiguousarray(parallax[inner_rows, inner_columns])
    whole: Parallax = cv2.copyMakeBorder(inner, *around, *beside, cv2.BORDER_REPLICATE)
    return whole


def _together(frames: Iterable[F], maps: DepthMaps, span: ShotSpan) -> Iterator[tuple[F, DepthEstimate]]:
    """Each map of a shot with its frame; frames between those that have one are passed over."""
    film = iter(frames)
    for estimate in islice(maps.estimates(span.start), span.count):
        frame = next((frame for frame in film if frame.time >= estimate.time - ROUNDING), None)
        if frame is None:
            raise VideoError(f"the film ends before {estimate.time:.2f} s, where there is depth: has it changed?")
        yield frame, estimate


def smaller(samples: Samples, longest: int | None) -> Samples:
    """The picture with its longer side no longer than this; None leaves it."""
    height, width = samples.shape[:2]
    if longest is None or max(height, width) <= longest:
        return samples
    share = longest / max(height, width)
    size = (max(2, round(width * share)), max(2, round(height * share)))
    reduced: Samples = cv2.resize(samples, size, interpolation=cv2.INTER_AREA)
    return reduced


def by_shot(
    run: StereoRun, frames: Callable[[float], Generator[F]], first: int = 0
) -> Iterator[tuple[ShotSpan, Iterator[Stereo[F]]]]:
    """Shot after shot, from frame ``first`` on; ``frames`` decodes the film from a time on."""
    spans = [_from(span, first) for span in run.maps.shots if span.start + span.count > first]
    if not spans:
        return
    with closing(frames(run.maps.time_of(spans[0].start))) as film:
        for span in spans:
            yield span, run.eyes(span, film)


def _from(span: ShotSpan, first: int) -> ShotSpan:
    start = max(span.start, first)
    return ShotSpan(span.shot, start, span.start + span.count - start)
