"""Two eyes to a film: segments that survive a kill, then one file with everything of the source."""

import json
import logging
import math
import shutil
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Final

from recon import __version__
from recon.errors import OptionError
from recon.files import whole_file
from recon.io.clip import Clip, look_at
from recon.io.pictures import SUFFIXES as PICTURES
from recon.io.pictures import is_pictures, natural_order
from recon.io.stereo.boxes import View
from recon.io.stereo.encode import Coder, Encoding, SegmentWriter, coder_for, require_encoder
from recon.io.stereo.frames import FaithfulFrames, FilmFrame, Look, look_of
from recon.io.stereo.join import Film, join
from recon.io.stereo.names import named
from recon.io.store import ShotSpan
from recon.pipelines.depth import Observer, counted
from recon.pipelines.stereo import ROUNDING, Stereo, StereoRun, by_shot
from recon.settings import LayoutSettings, StereoRunSettings
from recon.streams import prefetched

logger = logging.getLogger(__name__)

SEGMENT: Final = 120
"""Frames of a segment, at most: what a kill may cost."""
BEFORE: Final = 48
"""Frames of a shot before a segment that are seen again where a run goes on: they show what is hidden in it."""
AHEAD: Final = 2
"""Frames that are decoded, and frames that are made, before they are asked for: each in a thread of its own."""
SUFFIXES: Final = (".mp4", ".mov", ".mkv")
"""Of films that are written."""
FILMS: Final = (*SUFFIXES, ".m4v", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv")
"""Of films that are looked for in folders."""
PARTS: Final = ".parts"
"""What the folder of segments is called, behind the name of the result."""
_KEY: Final = "parts.json"


@dataclass(frozen=True, slots=True)
class FilmSummary:
    """What was written."""

    files: tuple[Path, ...]
    width: int
    height: int
    frames: int
    coder: Coder
    notes: tuple[str, ...]
    """What of the source found no place, and what players may stumble over."""

    @property
    def rows(self) -> list[tuple[str, str]]:
        """For a person."""
        names = ", ".join(file.name for file in self.files)
        film = f"{names}: {self.width} x {self.height}, {counted(self.frames)}, {self.coder.name}"
        return [("film", film), *(("note", note) for note in self.notes)]


def write_film(run: StereoRun, output: Path, settings: StereoRunSettings, observer: Observer) -> FilmSummary:
    """Write the film, or the two of separate eyes; a run that was stopped goes on at the first segment that is missing.

    Raises:
        ReconError: the encoder is missing, the film is too large for it, or it cannot be written.
    """
    clip = look_at(run.source.info.path)
    segments = _Segments(run, clip, _parts(output, run, settings), settings)
    try:
        segments.write(observer)
    finally:
        if not any(segments.files_there):
            shutil.rmtree(segments.folder)  # nothing to go on from
    names = files_of(output, run.layout)
    first = segments.first
    films = _film(run, clip, first.look, settings)
    notes = [note for number, name in enumerate(names) for note in join(segments.files(number), films[number], name)]
    shutil.rmtree(segments.folder)
    notes = [*first.coder.notes, *dict.fromkeys(notes)]
    return FilmSummary(names, *first.size, run.maps.frame_count, first.coder, tuple(notes))


def output_of(video: Path, layout: LayoutSettings) -> Path:
    """What a result is called in the current folder, where nobody names it."""
    if layout.layout == "wiggle":
        return Path(f"{video.stem}.gif")
    suffix = ".png" if is_pictures(video) else video.suffix.lower() if video.suffix.lower() in SUFFIXES else ".mkv"
    return Path(named(video, layout.layout, layout.name_style, suffix, layout.colours).name)


def require_ending(output: Path, video: Path, layout: LayoutSettings) -> None:
    """Find out before the work whether a result can be called so.

    Raises:
        OptionError: its ending is of something else.
    """
    known = (".gif",) if layout.layout == "wiggle" else PICTURES if is_pictures(video) else SUFFIXES
    if output.suffix.lower() not in known:
        raise OptionError(f"{output}: must end in {' or '.join(known)}")


def require_encoding(video: Path, settings: StereoRunSettings) -> None:
    """Find out before the work whether an encoder is there and knows what it is asked for.

    Raises:
        OptionError: it is not, or does not.
        VideoError: the film cannot be read.
    """
    look = look_of(look_at(video))
    require_encoder(_encoding(settings), look, look.width, look.height)


def _encoding(settings: StereoRunSettings) -> Encoding:
    asked = settings.encoding
    return Encoding(asked.encoder, asked.quality, asked.preset, chroma=asked.chroma)


def films_of(folder: Path, *, recursive: bool) -> list[Path]:
    """Films and pictures in a folder, in natural order; none that recon made of another, and nothing hidden.

    Raises:
        OptionError: there are none.
    """
    found = folder.rglob("*") if recursive else folder.glob("*")
    known = (*FILMS, *PICTURES)
    seen = (file for file in found if not any(part.startswith(".") for part in file.relative_to(folder).parts))
    films = [file for file in seen if file.is_file() and file.suffix.lower() in known and not _is_made(file)]
    if not films:
        raise OptionError(f"{folder}: holds no film and no picture{'' if recursive else ' (--recursive looks deeper)'}")
    return sorted(films, key=natural_order)


def _is_made(file: Path) -> bool:
    return PARTS in file.parent.suffixes or file.with_name(f"{file.name}.yaml").is_file()


def files_of(output: Path, layout: LayoutSettings) -> tuple[Path, ...]:
    """The file, or those of the left and the right eye."""
    if layout.layout != "separate":
        return (output,)
    return tuple(output.with_name(f"{output.stem}.{eye}{output.suffix}") for eye in ("left", "right"))


def parts_of(output: Path) -> Path:
    """The folder of the segments of a film."""
    return output.with_name(output.name + PARTS)


def _parts(output: Path, run: StereoRun, settings: StereoRunSettings) -> Path:
    """The folder of segments, emptied if they are of another run."""
    sections = (settings.stereo, settings.layout, settings.encoding)
    made = [section.model_dump(mode="json") for section in sections]
    key = json.dumps([__version__, dict(run.source.identity), dict(run.origin), *made], sort_keys=True)
    folder = parts_of(output)
    known = folder / _KEY
    if folder.exists() and not (known.is_file() and known.read_text(encoding="utf-8") == key):
        if any(file.name != _KEY and file.suffix != ".mp4" for file in folder.iterdir()):
            raise OptionError(f"{folder}: holds something else than segments of recon; name another output")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(known) as partial:
        partial.write_text(key, encoding="utf-8")
    return folder


@dataclass(frozen=True, slots=True)
class _First:
    """What the first frame says of all."""

    look: Look
    size: tuple[int, int]
    coder: Coder


class _Segments:
    """The segments of a film, each in as many files as there are pictures for each frame."""

    def __init__(self, run: StereoRun, clip: Clip, folder: Path, settings: StereoRunSettings) -> None:
        self.folder = folder
        self._run, self._clip, self._sampling = run, clip, settings.sampling
        self._encoding = _encoding(settings)
        self._spans = list(_divided(run.maps.shots))
        self._first: _First | None = None

    @property
    def first(self) -> _First:
        """Size and encoder, as the first frame has them."""
        if self._first is None:
            _span, frames = next(by_shot(self._run, self._frames))
            self._first = self._known(next(frames))
        return self._first

    def files(self, picture: int) -> list[Path]:
        """Of the film of one picture of each frame, in the order of time."""
        return [self._file(number, picture) for number in range(len(self._spans))]

    @property
    def files_there(self) -> Iterator[Path]:
        """Those that are written."""
        return self.folder.glob("*.mp4")

    def write(self, observer: Observer) -> None:
        """Write those that are not there."""
        missing = [number for number in range(len(self._spans)) if not self._is_there(number)]
        if not missing:
            return
        if missing[0]:
            logger.info("%d of %d segments are there already: going on after them", missing[0], len(self._spans))
        first = self._spans[missing[0]]
        begin = max(first.start - BEFORE, self._run.maps.shots[first.shot].start)
        shots = by_shot(self._run, self._frames, begin)
        frames = (made for _span, members in shots for made in members)
        with closing(prefetched(frames, AHEAD)) as made:
            watched = observer.watch(made, "eyes", self._run.maps.frame_count - begin)
            for _ in range(first.start - begin):
                next(watched)
            for number, span in enumerate(self._spans[missing[0] :], missing[0]):
                self._write(number, span.count, watched)

    def _write(self, number: int, count: int, frames: Iterator[Stereo[FilmFrame]]) -> None:
        if self._is_there(number):
            for _ in range(count):
                next(frames)
            return
        with ExitStack() as stack:
            writers: list[SegmentWriter] = []
            for place in range(count):
                made = next(frames)
                if place == 0:
                    numbers = range(len(made.pictures))
                    writers = [stack.enter_context(self._writer(number, each, made)) for each in numbers]
                for writer, picture in zip(writers, made.pictures, strict=True):
                    writer.write(picture, made.frame.pts, made.frame.duration)

    def _writer(self, number: int, picture: int, made: Stereo[FilmFrame]) -> SegmentWriter:
        first = self._first or self._known(made)
        self._first = first
        file, layout = self._file(number, picture), self._run.layout.layout
        return SegmentWriter(file, first.look, first.size, first.coder, self._encoding, layout)

    def _known(self, made: Stereo[FilmFrame]) -> _First:
        square = self._run.layout.layout in {"vr180", "hdmi-frame-packing"}
        aspect = Fraction(1) if square else Fraction(self._run.packing.pixel_aspect).limit_denominator(1000)
        look = replace(FaithfulFrames(self._clip).look, pixel_aspect=aspect)
        height, width = made.pictures[0].shape[:2]
        return _First(look, (width, height), coder_for(self._encoding, look, width, height))

    def _frames(self, start: float) -> Generator[FilmFrame]:
        with closing(iter(FaithfulFrames(self._clip, max(0.0, start - ROUNDING), self._sampling.end))) as frames:
            yield from prefetched(frames, AHEAD)

    def _file(self, number: int, picture: int) -> Path:
        return self.folder / f"{number:06d}{('', 'r')[picture]}.mp4"

    def _is_there(self, number: int) -> bool:
        pictures = range(self._run.packing.pictures)
        return all(self._file(number, picture).is_file() for picture in pictures)


def _divided(shots: Sequence[ShotSpan]) -> Iterator[ShotSpan]:
    """Spans of nearly equal length that no cut goes through."""
    for shot in shots:
        count = math.ceil(shot.count / SEGMENT)
        ends = [shot.start + shot.count * number // count for number in range(count + 1)]
        yield from (ShotSpan(shot.shot, begin, end - begin) for begin, end in pairwise(ends))


def _film(run: StereoRun, clip: Clip, look: Look, settings: StereoRunSettings) -> list[Film]:
    baseline = None if settings.stereo.ipd is None else settings.stereo.ipd / 1000
    view = View(run.fov_x, baseline)
    range_ = settings.sampling.start, settings.sampling.end
    film = Film(clip, run.layout.layout, look.hdr, view, *range_, run.layout.colours)
    return [film] * run.packing.pictures


__all__ = ["FilmSummary", "files_of", "parts_of", "write_film"]
