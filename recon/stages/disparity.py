"""Frames to disparity: the windows of Video Depth Anything (arXiv 2501.12375, 3.3 and figure 4), in constant memory.

Three pieces that know nothing of each other:

Planning
    Which frames a window sees follows from its number alone (``window_frames``): 32 frames, 22 of them new. Before
    these come frame 0 of the shot, one key frame of the previous window, and the 8 last frames of that window.
Inference
    Features of frames to the maps of a window (``DisparityNetwork.decode``): pure, so any order and any machine will
    do. A frame is encoded once and its features serve every window that sees it.
Stitching
    The maps of a window to maps that agree with the window before (``stitch``): one scale and shift, and a cross-fade
    over the 8 common frames. Cheap, and the only piece that must go in order.

Windows begin anew with every shot, so that a film of two shots gives for each what the shot gives alone.

``compat`` repeats the published offline inference (github.com/DepthAnything/Video-Depth-Anything, commit 4f5ae23), and
that is where the default differs:

* The published code enlarges maps to the picture's size and then stitches; the default stitches the network's own maps.
* It fits two frames (0 and the key frame) by float32 normal equations, which go wrong where the spread of a map is
  small beside its mean, and then keeps scale 1 and shift 0. The default fits all ten common frames, robustly, in
  float64: half of the answer is still frame 0's, which alone is known without the errors of the windows between; the
  other half comes from nine frames instead of one. In simulation the scale wanders a third less (tests/test_disparity).
* It accepts a negative scale. The default refuses what the data do not determine, then keeps the scale of the network,
  matches the mean, and logs the frame.
* It runs a window more at the end whenever the last 22 frames are not full, to fade into maps of a still picture.

In both, a metric network is cross-faded and not scaled, and a network for single pictures has no windows.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Generic, NamedTuple

import numpy as np
from jaxtyping import Float32

from recon.errors import AlignmentError
from recon.fitting import AffineFit, fit_affine
from recon.models import DisparityNetwork, Features
from recon.streams import batched
from recon.types import Checkpoint, Chunk, DepthEstimate, DepthMap, ShotFrame

logger = logging.getLogger(__name__)

WINDOW = 32
"""Frames that the network sees together (N in the paper)."""
OVERLAP = 8
"""Frames that a window shares with the end of the one before (T_o)."""
KEY_FRAMES = 2
"""Earlier frames that lead each window (T_k): frame 0 of the shot and one of the previous window."""
KEY = 12
"""Position in the previous window of that key frame (the paper's Delta_k)."""
SHARED = KEY_FRAMES + OVERLAP
STEP = WINDOW - SHARED
"""New frames in each window."""

PIXELS_FITTED = 4096
"""Pixels of each shared map that take part in a fit, evenly spread; neighbours err alike, so more would add little."""
SINGLES_TOGETHER = 16
"""Maps in one chunk, where the network sees one picture at a time."""

Maps = Float32[np.ndarray, "t h w"]
Final = Float32[np.ndarray, "final h w"]


def infer(
    frames: Iterable[ShotFrame],
    network: DisparityNetwork[Features],
    *,
    compat: bool = False,
    resume: Checkpoint | None = None,
) -> Iterator[Chunk]:
    """Maps of all frames, each exactly once and in order; a chunk holds those that one more window has made final.

    Pictures are encoded as they come and dropped; at most 32 frames and one batch are held as features.

    Args:
        frames: the frames of a shot follow each other, and the numbers of shots grow.
        network: for windows of 32 frames, or for single pictures.
        compat: repeat the published code (see the module); maps are then as large as the pictures.
        resume: the checkpoint of the last chunk that was kept. ``frames`` still begin at the beginning; what was done
            is skipped, and all chunks that follow have the same bits as in a run that was never interrupted.

    Raises:
        ValueError: the network has windows of another length, or the frames end before ``resume``.
    """
    if network.window not in {1, WINDOW}:
        raise ValueError(f"windows have 32 frames, or 1: this network wants {network.window}")
    run = _single_pictures if network.window == 1 else _windows
    for shot, members in groupby(frames, key=lambda member: member.shot):
        if resume is not None and shot < resume.shot:
            continue
        begun = resume is not None and shot == resume.shot
        start = resume if begun and resume is not None else Checkpoint(shot, 0, {})
        yield from run(members, network, start, compat=compat)


# ------------------------------------------------------------------------------------------------------------ planning


def window_frames(window: int, last: int) -> tuple[int, ...]:
    """The frames of a shot that a window sees, by position; after the ``last`` frame of the shot, that one again."""
    if window == 0:
        wanted = range(WINDOW)
        return tuple(min(number, last) for number in wanted)
    key = STEP * (window - 1) + KEY
    overlap_and_new = range(STEP * window + KEY_FRAMES, STEP * window + WINDOW)
    return tuple(min(number, last) for number in (0, key, *overlap_and_new))


def window_count(frames: int, *, compat: bool = False) -> int:
    """Windows of a shot of so many (at least 1) frames.

    By default the windows that see frames which no window before them saw; ``compat`` counts those, too, that only
    cross-fade into the end of the one before (the published code also runs windows that nobody sees).
    """
    reach = KEY_FRAMES if compat else SHARED
    return 1 + max(0, (frames - 1 - reach) // STEP)


def seams(frames: int) -> frozenset[int]:
    """Frames of a shot of so many whose map differs in its mixture of windows from the map before: the cross-fades."""
    later = range(1, window_count(frames))
    fading = (range(STEP * window + KEY_FRAMES + 1, STEP * window + SHARED) for window in later)
    return frozenset(frame for fade in fading for frame in fade if frame < frames)


def _is_needed(frame: int, window: int) -> bool:
    """Whether this window or one after it may see the frame."""
    return window == 0 or frame in {0, STEP * (window - 1) + KEY} or frame >= STEP * window


def _frames_done(window: int) -> int:
    """Frames of the shot that are final before this window has run."""
    return 0 if window == 0 else STEP * window + KEY_FRAMES


# ----------------------------------------------------------------------------------------------------------- inference


@dataclass(frozen=True, slots=True)
class _Encoded(Generic[Features]):
    """A frame without its picture."""

    index: int
    time: float
    size: tuple[int, int]
    """(height, width) of the picture."""
    features: Features | None
    """None for a frame that no window needs any more."""


def _encoded(
    members: Iterable[ShotFrame], network: DisparityNetwork[Features], needed: Callable[[int], bool]
) -> Iterator[_Encoded[Features]]:
    """Each frame with its features; what is encoded together depends on the frames' numbers in the shot alone."""
    done = 0
    for batch in batched(members, network.batch):
        frames = [member.frame for member in batch]
        wanted = any(needed(done + number) for number in range(len(frames)))
        features = network.encode([frame.rgb for frame in frames]) if wanted else [None] * len(frames)
        done += len(frames)
        for frame, kept in zip(frames, features, strict=True):
            yield _Encoded(frame.index, frame.time, frame.rgb.shape[:2], kept)


def _map_size(network: DisparityNetwork[Features], size: tuple[int, int], *, compat: bool) -> tuple[int, int]:
    return size if compat else network.output_size(*size)


def _windows(
    members: Iterable[ShotFrame], network: DisparityNetwork[Features], start: Checkpoint, *, compat: bool
) -> Iterator[Chunk]:
    """The chunks of one shot from a checkpoint on."""
    run = _Shot(network, start, compat=compat)
    count = 0
    for count, frame in enumerate(_encoded(members, network, lambda n: _is_needed(n, start.window)), start=1):
        if count > STEP * run.window + WINDOW:  # the window is full, and not the last of its shot
            yield run.advance(last=count - 2, closing=False)
        run.take(count - 1, frame)
    total = window_count(count, compat=compat)
    if start.window >= total:
        raise ValueError(f"shot {start.shot} has {count} frames, too few to go on at window {start.window}")
    while run.window < total:
        yield run.advance(last=count - 1, closing=run.window == total - 1)


class _Shot(Generic[Features]):
    """What is kept between the windows of a shot."""

    def __init__(self, network: DisparityNetwork[Features], start: Checkpoint, *, compat: bool) -> None:
        self.window = start.window
        self._network, self._shot, self._compat = network, start.shot, compat
        self._warned = False
        self._seam = Seam.of(start.arrays) if start.window else None
        self._done = _frames_done(start.window)
        self._held: dict[int, Features] = {}
        self._waiting: deque[_Encoded[Features]] = deque()

    def take(self, number: int, frame: _Encoded[Features]) -> None:
        """The next frame of the shot."""
        if frame.features is not None and _is_needed(number, self.window):
            self._held[number] = frame.features
        if number >= self._done:
            self._waiting.append(replace(frame, features=None))

    def advance(self, *, last: int, closing: bool) -> Chunk:
        """Run the next window, given the number of the last frame so far; ``closing``: the shot ends here."""
        size = _map_size(self._network, self._waiting[0].size, compat=self._compat)
        maps = self._network.decode([self._held[number] for number in window_frames(self.window, last)], size)
        final, seam = stitch(maps, self._seam, self._fit)
        if closing:
            final = np.concatenate([final, seam.tail])
        ready = [self._waiting.popleft() for _ in range(min(len(final), len(self._waiting)))]
        estimates = tuple(
            DepthEstimate(frame.index, frame.time, self._shot, values)
            for frame, values in zip(ready, final, strict=False)
        )
        self.window, self._seam = self.window + 1, seam
        self._held = {number: kept for number, kept in self._held.items() if _is_needed(number, self.window)}
        next_one = Checkpoint(self._shot + 1, 0, {}) if closing else Checkpoint(self._shot, self.window, seam.arrays)
        return Chunk(estimates, next_one)

    def _fit(self, seen: Maps, known: Maps) -> "Line":
        if self._network.quantity == "depth":
            return Line(1.0, 0.0)
        if self._compat:
            return published_fit(seen, known)
        try:
            return robust_fit(seen, known)
        except AlignmentError as error:
            self._warn(error)
            return Line(1.0, float(np.mean(known, dtype=np.float64) - np.mean(seen, dtype=np.float64)))

    def _warn(self, error: AlignmentError) -> None:
        """Once for a shot: a film that is black for an hour has 5000 such windows."""
        logger.log(
            logging.DEBUG if self._warned else logging.WARNING,
            "frame %d: the window keeps its own scale and matches the mean (%s); so will others like it in this shot",
            self._waiting[0].index,
            error,
        )
        self._warned = True


def _single_pictures(
    members: Iterable[ShotFrame], network: DisparityNetwork[Features], start: Checkpoint, *, compat: bool
) -> Iterator[Chunk]:
    """The chunks of one shot from a checkpoint on, where each frame stands for itself."""
    done = SINGLES_TOGETHER * start.window
    todo = islice(_encoded(members, network, lambda number: number >= done), done, None)
    estimates = (_single_picture(frame, network, start.shot, compat=compat) for frame in todo)
    for window, chunk in enumerate(batched(estimates, SINGLES_TOGETHER), start=start.window + 1):
        yield Chunk(chunk, Checkpoint(start.shot, window, {}))


def _single_picture(
    frame: _Encoded[Features], network: DisparityNetwork[Features], shot: int, *, compat: bool
) -> DepthEstimate:
    if frame.features is None:
        raise ValueError(f"frame {frame.index} was not encoded")
    maps = network.decode([frame.features], _map_size(network, frame.size, compat=compat))
    return DepthEstimate(frame.index, frame.time, shot, maps[0])


# ----------------------------------------------------------------------------------------------------------- stitching


class Line(NamedTuple):
    """What makes the maps of a window agree with those before: scale * map + shift."""

    scale: float
    shift: float


@dataclass(frozen=True, slots=True)
class Seam:
    """All that stitching keeps of the windows so far."""

    first: DepthMap
    """Frame 0, as the first window gave it."""
    key: DepthMap
    """The previous window's key frame, stitched."""
    tail: Maps
    """The previous window's last 8 frames, stitched, before the cross-fade."""

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> "Seam":
        """From the arrays of a checkpoint."""
        return cls(arrays["first"], arrays["key"], arrays["tail"])

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """For a checkpoint."""
        return {"first": self.first, "key": self.key, "tail": self.tail}

    @property
    def known(self) -> Maps:
        """What is known of the frames at the first ten positions of the next window."""
        return np.concatenate([self.first[None], self.key[None], self.tail])


def stitch(maps: Maps, seam: Seam | None, fit: Callable[[Maps, Maps], Line]) -> tuple[Final, Seam]:
    """The frames that a window makes final (24 of the first one, 22 of others), and what the next window needs."""
    if seam is None:
        return maps[:-OVERLAP], Seam(maps[0].copy(), maps[KEY].copy(), maps[-OVERLAP:].copy())
    line = fit(maps[:SHARED], seam.known)
    aligned = np.maximum(maps * np.float32(line.scale) + np.float32(line.shift), np.float32(0))
    fade = np.linspace(0, 1, OVERLAP, dtype=np.float32)[:, None, None]
    faded = seam.tail * (1 - fade) + aligned[KEY_FRAMES:SHARED] * fade
    final = np.concatenate([faded, aligned[SHARED:-OVERLAP]])
    return final, Seam(seam.first, aligned[KEY].copy(), aligned[-OVERLAP:].copy())


def robust_fit(seen: Maps, known: Maps) -> Line:
    """Scale and shift over all shared frames: the mean of what frame 0 says and of what the nine others say.

    Not one fit with weights: frame 0 with half of the weight agrees with itself alone, and to a robust fit the others
    are then outliers. Where one of the two says nothing (a film that fades in from black), the other counts.

    Raises:
        AlignmentError: the maps do not determine a positive scale.
    """
    height, width = seen.shape[1:]
    stride = max(1, round((height * width / PIXELS_FITTED) ** 0.5))
    thin = (slice(None), slice(stride // 2, None, stride), slice(stride // 2, None, stride))
    x, y = seen[thin], known[thin]
    fits: list[AffineFit] = []
    problems: list[str] = []
    for part in (slice(0, 1), slice(1, None)):
        try:
            fits.append(fit_affine(x[part].ravel(), y[part].ravel()))
        except AlignmentError as error:
            problems.append(str(error))  # not the error: its traceback would keep these maps alive in a cycle
    if not fits:
        raise AlignmentError(problems[-1])
    return Line(float(np.mean([fit.scale for fit in fits])), float(np.mean([fit.shift for fit in fits])))


def published_fit(seen: Maps, known: Maps) -> Line:
    """Scale and shift over the first two frames as the published code finds them: float32, no guard but against 0."""
    x, y = np.concatenate(seen[:KEY_FRAMES]), np.concatenate(known[:KEY_FRAMES])
    count, sum_x, sum_y = np.float32(x.size), np.sum(x), np.sum(y)
    sum_xx, sum_xy = np.sum(x * x), np.sum(x * y)
    determinant = sum_xx * count - sum_x * sum_x
    if determinant == 0:
        return Line(1.0, 0.0)
    return Line(
        float((count * sum_xy - sum_x * sum_y) / determinant), float((sum_xx * sum_y - sum_x * sum_xy) / determinant)
    )
