"""The depth store: a folder of depth maps that survives a crash and is read as often as one likes.

Depth is the expensive thing; alignment, fusion, meshing and stereo make several passes over it. Inference appends
chunk after chunk; each becomes one segment::

    OUTPUT.recon/
        manifest.json            what the store is and the key of the run that it belongs to
        segment-00012.mkv        the maps of one chunk: lossless grey video of 16 bits (see recon.io.ffv1)
        segment-00012.json       its record: times, shots, codings, size and hash of the video, state of inference
        checkpoint-00012.npz     the arrays of the newest state of inference, while the store is not complete
        complete.json            written last: how many segments and frames there are
        lock                     held while somebody writes; the system lets go of it when a process dies

The record is what commits a segment: it is renamed into place after the video and the arrays are on the disk. What has
no record is debris, and is removed when the store is next opened to write. No file holds a date, a path or anything
else that differs between two runs: a run that was killed and went on leaves the same bytes as one that was not.

Precision: each map has a coding of its own, the finest that 16 bits allow. A value comes back within half a step,
7.7e-6 of the range of its map (see ``recon.io.ffv1.Coding``); NaN comes back as NaN.
"""

import re
import zipfile
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import filelock
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from recon.errors import FormatError, StoreError
from recon.files import PARTIAL, flush, sha256_of, whole_file
from recon.io.ffv1 import HIGHEST, Coding, grey_frames, grey_writer
from recon.types import Checkpoint, Chunk, DepthEstimate, Quantity

VERSION = 1
"""Version of the store's format."""
SUFFIX = ".recon"
"""What the name of a store ends in."""

_FORMAT = "recon depth store"
_MANIFEST, _COMPLETE, _LOCK = "manifest.json", "complete.json", "lock"
_OURS = re.compile(
    rf"(manifest\.json|complete\.json|(segment|checkpoint)-(\d{{5,}})\.(mkv|json|npz))({re.escape(PARTIAL)})?|lock"
)
_TICK = 40  # milliseconds between two frames of a segment's video; the true times stand in its record
_PATIENCE = 1.0  # seconds to wait for somebody who only opens the store, too
_FRAME = np.dtype([("time", "f8"), ("shot", "i4"), ("offset", "f8"), ("step", "f8")])


@dataclass(frozen=True, slots=True)
class ShotSpan:
    """The frames of one shot."""

    shot: int
    start: int
    """Index of its first frame."""
    count: int
    """How many frames it has."""


def shot_spans(shots: Iterable[int]) -> list[ShotSpan]:
    """The spans of frames, given the number of each frame's shot."""
    spans: list[ShotSpan] = []
    start = 0
    for shot, frames in groupby(shots):
        spans.append(ShotSpan(shot, start, sum(1 for _ in frames)))
        start += spans[-1].count
    return spans


class _File(BaseModel):
    """What a JSON file of the store holds."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


F = TypeVar("F", bound=BaseModel)


class _Header(BaseModel):
    """The part of a manifest that every version of the format has."""

    format: str
    version: int


class _Manifest(_File):
    format: str = _FORMAT
    version: int = VERSION
    quantity: Quantity
    key: dict[str, str]


class _Complete(_File):
    segments: int
    frames: int


class _State(_File):
    shot: int
    window: int


class _Record(_File):
    first: int
    frames: list[tuple[FiniteFloat, int, FiniteFloat, FiniteFloat]] = Field(min_length=1)
    """For each frame: time in seconds, shot, and the offset and step of its coding."""
    bytes: int
    sha256: str
    checkpoint: _State


class _Segment:
    """What is kept in memory of a segment: 28 bytes a frame and little more."""

    __slots__ = ("first", "frames", "number", "sha256", "state")

    def __init__(self, number: int, record: _Record) -> None:
        self.number, self.first, self.sha256 = number, record.first, record.sha256
        self.state = record.checkpoint
        self.frames = np.array(record.frames, _FRAME)

    @property
    def end(self) -> int:
        return self.first + len(self.frames)

    @property
    def last_time(self) -> float:
        return float(self.frames["time"][-1])


class StoredDepth:
    """Depth maps on the disk, to be read lazily, in order or by time; memory is a few dozen bytes a frame.

    Frames are numbered from 0 without gaps, and their times increase.
    """

    def __init__(self, folder: Path, manifest: _Manifest, segments: list[_Segment], *, complete: bool) -> None:
        self.folder = folder
        self._manifest = manifest
        self._segments = segments
        self._complete = complete
        self._verified: set[int] = set()

    @staticmethod
    def read(folder: Path) -> "StoredDepth":
        """Look into a store, complete or not, without changing anything in it.

        Raises:
            StoreError: there is no store, it is damaged, or a newer recon wrote it.
        """
        manifest = _read_manifest(folder)
        segments, complete = _read_segments(folder)
        return StoredDepth(folder, manifest, segments, complete=complete)

    @property
    def quantity(self) -> Quantity:
        """What the maps mean."""
        return self._manifest.quantity

    @property
    def key(self) -> Mapping[str, str]:
        """What the maps were made from and how."""
        return self._manifest.key

    @property
    def complete(self) -> bool:
        """Whether every frame of the source is there."""
        return self._complete

    @property
    def frame_count(self) -> int:
        """Number of frames that are there."""
        return self._segments[-1].end if self._segments else 0

    @property
    def shots(self) -> list[ShotSpan]:
        """The shots, in order."""
        return shot_spans(int(shot) for segment in self._segments for shot in segment.frames["shot"])

    @property
    def value_range(self) -> tuple[float, float]:
        """Bounds of all values: the least and the greatest, to a step (a map that is all NaN counts as zero).

        Raises:
            ValueError: there are no frames.
        """
        low = min(float(segment.frames["offset"].min()) for segment in self._segments)
        tops = (segment.frames["offset"] + HIGHEST * segment.frames["step"] for segment in self._segments)
        return low, max(float(top.max()) for top in tops)

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        """The maps from an index on, in order; one is decoded at a time, when it is asked for.

        Decoding releases the interpreter: ``prefetched(store.estimates(), 2)`` does it beside the consumer's work.

        Raises:
            StoreError: a segment is missing or damaged.
        """
        for segment in self._segments[self._position(start) :]:
            yield from self._decoded(segment, max(start, segment.first))

    def sampled(self, count: int) -> Iterator[DepthEstimate]:
        """At most ``count`` maps, evenly spaced over all: enough for statistics.

        Raises:
            StoreError: a segment is missing or damaged.
        """
        wanted = np.linspace(0, self.frame_count - 1, min(count, self.frame_count)).round().astype(int)
        return (self[int(index)] for index in wanted)

    def at(self, time: float) -> DepthEstimate:
        """The map of the frame nearest to a time in seconds; of two that are equally near, the earlier.

        Raises:
            ValueError: there are no frames.
            StoreError: a segment is missing or damaged.
        """
        return self[self.index_at(time)]

    def index_at(self, time: float) -> int:
        """Index of the frame nearest to a time in seconds; of two that are equally near, the earlier.

        Raises:
            ValueError: there are no frames.
        """
        if not self._segments:
            raise ValueError("the store holds no frames")
        position = min(bisect_left(self._segments, time, key=lambda s: s.last_time), len(self._segments) - 1)
        segment = self._segments[position]
        after = segment.first + int(np.searchsorted(segment.frames["time"], time))
        nearby = range(max(after - 1, 0), min(after + 1, self.frame_count))
        return min(nearby, key=lambda index: abs(self.time_of(index) - time))

    def time_of(self, index: int) -> float:
        """Time of a frame in seconds.

        Raises:
            IndexError: there is no such frame.
        """
        segment = self._segment_of(index)
        return float(segment.frames["time"][index - segment.first])

    def __getitem__(self, index: int) -> DepthEstimate:
        return next(self._decoded(self._segment_of(index), index))

    def __len__(self) -> int:
        return self.frame_count

    def _position(self, index: int) -> int:
        """Where in the list of segments the one with a frame stands."""
        return max(bisect_right(self._segments, index, key=lambda segment: segment.first) - 1, 0)

    def _segment_of(self, index: int) -> _Segment:
        if not 0 <= index < self.frame_count:
            raise IndexError(f"{self.folder}: there is no frame {index} among {self.frame_count}")
        return self._segments[self._position(index)]

    def _decoded(self, segment: _Segment, start: int) -> Iterator[DepthEstimate]:
        path = self._verified_video(segment)
        rows = segment.frames[start - segment.first :]
        try:
            pictures = grey_frames(path, _TICK * (start - segment.first))
            for index, (row, codes) in enumerate(zip(rows, pictures, strict=True), start):
                values = Coding(float(row["offset"]), float(row["step"])).values(codes)
                yield DepthEstimate(index, float(row["time"]), int(row["shot"]), values)
        except (FormatError, ValueError) as error:
            raise _damaged(self.folder, f"{path.name} does not decode") from error

    def _verified_video(self, segment: _Segment) -> Path:
        """The video of a segment, after its hash was compared, once."""
        path = _path(self.folder, "segment", segment.number, "mkv")
        if segment.number not in self._verified:
            if not path.is_file():
                raise _damaged(self.folder, f"{path.name} is missing")
            if sha256_of(path) != segment.sha256:
                raise _damaged(self.folder, f"{path.name} is not what was written")
            self._verified.add(segment.number)
        return path


class DepthStore(StoredDepth):
    """A depth store that is being written, chunk by chunk; what it holds already can be read meanwhile.

    Use it as a context manager: leaving the block lets go of the lock and keeps what was appended.
    """

    def __init__(self, folder: Path, manifest: _Manifest, lock: filelock.BaseFileLock) -> None:
        segments, complete = _read_segments(folder)
        super().__init__(folder, manifest, segments, complete=complete)
        self._lock = lock
        self._remove_debris()

    @staticmethod
    def open(folder: Path, key: Mapping[str, str], quantity: Quantity, *, fresh: bool = False) -> "DepthStore":
        """Create a store, or go on with the one that is there.

        Args:
            folder: the store.
            key: what is decoded, the settings of depth, the hash of the weights: all that the maps depend on.
            quantity: what the maps mean.
            fresh: discard a store that is there, whatever its state.

        Raises:
            StoreError: the folder is no store, belongs to another run, is damaged, in use, or not to be written to.
        """
        _require_ours(folder)
        lock = _locked(folder)
        try:
            store = DepthStore(
                folder, _prepared(folder, _Manifest(quantity=quantity, key=dict(key)), fresh=fresh), lock
            )
        except BaseException:
            lock.release()
            raise
        if store.complete:
            store.close()
        return store

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The state of inference after the last segment; None before the first and after ``finish``.

        Raises:
            StoreError: its arrays are missing or damaged.
        """
        if self._complete or not self._segments:
            return None
        last = self._segments[-1]
        path = _path(self.folder, "checkpoint", last.number, "npz")
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise _damaged(self.folder, f"{path.name} is missing or cannot be read") from error
        return Checkpoint(last.state.shot, last.state.window, arrays)

    def append(self, chunk: Chunk) -> None:
        """Add the next maps and the state after them; when this returns they survive a power cut.

        Raises:
            ValueError: the chunk is empty, does not continue the last, mixes sizes or holds infinite values; or the
                store is complete or closed.
        """
        self._require_open()
        self._require_next(chunk.estimates)
        number = len(self._segments)
        with whole_file(_path(self.folder, "checkpoint", number, "npz")) as path, path.open("wb") as file:
            np.savez(file, allow_pickle=False, **chunk.checkpoint.arrays)
        record = self._write_segment(number, chunk)
        _write_json(_path(self.folder, "segment", number, "json"), record)
        self._segments.append(_Segment(number, record))
        self._verified.add(number)
        _path(self.folder, "checkpoint", number - 1, "npz").unlink(missing_ok=True)

    def finish(self) -> None:
        """Declare that every frame is there, and let go of the lock.

        Raises:
            ValueError: the store is complete or closed.
        """
        self._require_open()
        _write_json(self.folder / _COMPLETE, _Complete(segments=len(self._segments), frames=self.frame_count))
        self._complete = True
        self._remove_debris()
        self.close()

    def close(self) -> None:
        """Let go of the lock; what was appended stays, and can still be read."""
        self._lock.release()

    def __enter__(self) -> "DepthStore":  # noqa: PYI034 - beartype cannot see Self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _require_open(self) -> None:
        if self._complete or not self._lock.is_locked:
            raise ValueError(f"{self.folder}: the store is {'complete' if self._complete else 'closed'}")

    def _require_next(self, estimates: Sequence[DepthEstimate]) -> None:
        first = self.frame_count
        if not estimates or [estimate.index for estimate in estimates] != list(range(first, first + len(estimates))):
            raise ValueError(f"a chunk holds the frames from {first} on, without gaps")
        if len({estimate.values.shape for estimate in estimates}) > 1:
            raise ValueError("the maps of a chunk are of one size")
        times = [self._segments[-1].last_time] if first else []
        times += [estimate.time for estimate in estimates]
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise ValueError("the times of frames must be finite and increase")

    def _write_segment(self, number: int, chunk: Chunk) -> _Record:
        frames: list[tuple[float, int, float, float]] = []
        path = _path(self.folder, "segment", number, "mkv")
        with whole_file(path) as partial, grey_writer(partial, chunk.estimates[0].values.shape, {}) as write:
            for position, estimate in enumerate(chunk.estimates):
                coding = Coding.finest(estimate.values)
                write(coding.codes(estimate.values), _TICK * position)
                frames.append((estimate.time, estimate.shot, coding.offset, coding.step))
        return _Record(
            first=self.frame_count,
            frames=frames,
            bytes=path.stat().st_size,
            sha256=sha256_of(path),
            checkpoint=_State(shot=chunk.checkpoint.shot, window=chunk.checkpoint.window),
        )

    def _remove_debris(self) -> None:
        """Remove what no record speaks of: half-written files, a video or arrays whose record was never written."""
        count = len(self._segments)
        kept = {"segment": range(count), "checkpoint": range(count if self._complete else count - 1, count)}
        for path in self.folder.iterdir():
            match = _OURS.fullmatch(path.name)
            if match is None or path.name in (_MANIFEST, _COMPLETE, _LOCK):
                continue
            if path.name.endswith(PARTIAL) or int(match[3]) not in kept[match[2]]:
                path.unlink()


def find_store(beside: Path, key: Mapping[str, str]) -> Path | None:
    """A store in the folder of ``beside`` whose key is the same, so that a second command needs no network.

    Args:
        beside: the output, or the store that would be made for it; only its parent matters.
        key: as in ``DepthStore.open``.

    Returns:
        The first by name of the complete ones, else the first of the others, else None. Folders that are no store,
        or that this version cannot read, do not match.
    """
    matching = [folder for folder in sorted(beside.parent.glob(f"*{SUFFIX}")) if _key_of(folder) == key]
    return min(matching, key=lambda folder: not (folder / _COMPLETE).is_file(), default=None)


def _key_of(folder: Path) -> dict[str, str] | None:
    try:
        return _read_manifest(folder).key
    except StoreError:
        return None


def _prepared(folder: Path, manifest: _Manifest, *, fresh: bool) -> _Manifest:
    """Discard the store, create it, or make sure that it belongs to this run, as the case may be."""
    if fresh:
        _discard(folder)
    if _is_new(folder):
        flush(folder.parent)
        _write_json(folder / _MANIFEST, manifest)
    _require_same(folder, _read_manifest(folder), manifest)
    return manifest


def _path(folder: Path, kind: str, number: int, suffix: str) -> Path:
    return folder / f"{kind}-{number:05d}.{suffix}"


def _write_json(path: Path, content: _File) -> None:
    with whole_file(path) as partial:
        partial.write_text(content.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")


def _read_json(path: Path, kind: type[F]) -> F:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise _damaged(path.parent, f"{path.name} is missing or cannot be read") from error
    except ValidationError as error:
        raise _damaged(path.parent, f"{path.name} is not what recon writes") from error


def _damaged(folder: Path, what: str) -> StoreError:
    return StoreError(f"{folder}: the depth store is damaged: {what}; --fresh discards it and begins anew")


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / _MANIFEST
    if not folder.is_dir():
        raise StoreError(f"{folder}: there is no depth store")
    header = _read_json(path, _Header)
    if header.format != _FORMAT:
        raise StoreError(f"{folder}: this is no depth store; name another folder with --store")
    if header.version > VERSION:
        raise StoreError(
            f"{folder}: a newer recon wrote this store (format {header.version}, this one reads up to {VERSION}):"
            " update recon, or begin anew with --fresh"
        )
    return _read_json(path, _Manifest)


def _read_segments(folder: Path) -> tuple[list[_Segment], bool]:
    """The committed segments, checked against each other and the files' sizes, and whether these are all."""
    count = sum(1 for _ in folder.glob("segment-*.json"))
    segments: list[_Segment] = []
    for number in range(count):
        record = _read_json(_path(folder, "segment", number, "json"), _Record)
        _require_whole(_path(folder, "segment", number, "mkv"), record)
        if record.first != (segments[-1].end if segments else 0):
            raise _damaged(folder, f"segment {number} does not continue the one before it")
        segments.append(_Segment(number, record))
    complete = (folder / _COMPLETE).is_file()
    if complete:
        promised = _read_json(folder / _COMPLETE, _Complete)
        if promised != _Complete(segments=count, frames=segments[-1].end if segments else 0):
            raise _damaged(folder, f"{count} of {promised.segments} segments are there")
    return segments, complete


def _require_whole(video: Path, record: _Record) -> None:
    if not video.is_file():
        raise _damaged(video.parent, f"{video.name} is missing")
    if (size := video.stat().st_size) != record.bytes:
        raise _damaged(video.parent, f"{video.name} has {size} of {record.bytes} bytes")


def _require_same(folder: Path, found: _Manifest, wanted: _Manifest) -> None:
    """Refuse a store of another run, naming the first field that differs."""
    before, now = ({"quantity": manifest.quantity, **manifest.key} for manifest in (found, wanted))
    for field in (*now, *before):
        if before.get(field) != now.get(field):
            was, is_ = before.get(field, "(nothing)"), now.get(field, "(nothing)")
            raise StoreError(
                f"{folder}: this depth store belongs to another run: {field} was {was}, now it is {is_};"
                " --fresh discards it, --store names another"
            )


def _require_ours(folder: Path) -> None:
    """Refuse a folder that is there and is no store, before anything in it is touched."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreError(f"{folder}: this is no folder; name another with --store")
    foreign = next((path.name for path in sorted(folder.iterdir()) if not _OURS.fullmatch(path.name)), None)
    if foreign is not None and not _says_store(folder / _MANIFEST):
        raise StoreError(f"{folder}: this is no depth store (it holds {foreign}); name another folder with --store")


def _says_store(manifest: Path) -> bool:
    try:
        return _Header.model_validate_json(manifest.read_bytes()).format == _FORMAT
    except (OSError, ValidationError):
        return False


def _is_new(folder: Path) -> bool:
    """Whether nothing was ever stored: at most the lock and a half-written manifest are there."""
    return not any(
        _OURS.fullmatch(path.name) for path in folder.iterdir() if path.name not in (_LOCK, _MANIFEST + PARTIAL)
    )


def _discard(folder: Path) -> None:
    """Remove what the store wrote, and nothing else; the manifest goes last, so that it stays known for a store."""
    paths = [path for path in folder.iterdir() if _OURS.fullmatch(path.name) and path.name != _LOCK]
    for path in sorted(paths, key=lambda path: path.name == _MANIFEST):
        path.unlink()


def _locked(folder: Path) -> filelock.BaseFileLock:
    """The lock of a folder, held: by this process, so that the system lets go of it if the process is killed."""
    lock = filelock.FileLock(folder / _LOCK, timeout=_PATIENCE, thread_local=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise StoreError(
            f"{folder}: another run is using this depth store; wait for it to end, or name another with --store"
        ) from error
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written to ({error.strerror}); name another with --store") from error
    return lock
