"""From frames to segments by structure from motion: slower than tracking, and more exact over long ways.

Frames that show something new become key frames, and COLMAP finds their cameras and landmarks (``colmap``), from the
pictures alone. Each frame between is placed among the landmarks of the key frames beside it: they are looked for in it
(Lucas and Kanade), about where they should be on the way from the one camera to the other, and place it (perspective-
n-point). Last, the depth maps say how long the unit of length is, each with one say.

Measured on real walks (root mean square error of all centres after a similarity / a rigid alignment, depth of a
sensor): 17.4 / 24 mm (7-Scenes, 150 frames, 26 of them key frames), 17.6 / 18 mm (HoloLens, 45, 36) and 4.2 / 10 mm
(TartanAir, 80, 39); all 80 frames as key frames give no less (5.0 mm). An adjustment with depth as a prior afterwards
(``recon.bundle``) made some paths better and others worse, most of all where a network's depth drifts: there is none.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float64

from recon.bundle import Observations
from recon.fitting import SIGMA_FROM_MAD
from recon.geometry import inverse, project, transform
from recon.io.trajectory import interpolate
from recon.stages.pose.colmap import Model, Workspace, installed
from recon.stages.pose.flow import Grey, Pixels, corners, followed, grey
from recon.stages.pose.perspective import Matches, doubt, fix
from recon.stages.pose.segment import Moment, Segment, Structure, span
from recon.stages.pose.tracking import estimate
from recon.stages.pose.world import depth_at
from recon.types import CameraTrajectory, DepthFrame, Intrinsics, RigidTransform

logger = logging.getLogger(__name__)

Step = Callable[[], None]
Watch = Callable[[Iterable[Step], str, float | None], Iterator[Step]]
"""Shows how a list of steps goes on, under a label, with how many there are: the ``watch`` of an observer."""

OVERLAP: Final = 0.6
"""A frame that shows less than this part of the corners of the last key frame becomes a key frame."""
MOVED: Final = 0.03
"""So does one in which they have moved by this part of the picture's width."""
LEAST_CORNERS: Final = 50
"""A picture with fewer corners is no key frame."""
LEAST_KEY_FRAMES: Final = 5
"""Fewer key frames do not make a segment: of three or four, one that is wrong contradicts nobody. Such a model is
dropped."""
LEAST_SEEN: Final = 50
"""So is a model whose cameras see fewer landmarks than that, in the median. Measured, in a bare corridor: 43 at an
error of 400 mm, 62 and 129 at errors of 5."""
LEAST_BASE: Final = 0.02
"""Largest distance of two centres, in median depths, up to which the camera counts as unmoved."""
LEAST_FACTORS: Final = 20
"""Fewer landmarks do not say how the depth map of a key frame compares with the model."""
SCATTER: Final = 0.15
"""Disagreement of depth maps about the unit of length above which it is doubtful, as a logarithm. Measured: 0.003 to
0.05 where both depth and path are right, 0.2 to 0.7 where one of them is wrong."""


def unwatched(steps: Iterable[Step], label: str, total: float | None) -> Iterator[Step]:  # noqa: ARG001 - a Watch
    """The same steps; shows nothing."""
    return iter(steps)


def reconstructed(
    frames: Callable[[], Iterator[DepthFrame]],
    intrinsics: Intrinsics,
    *,
    refine_focal: bool = False,
    watch: Watch = unwatched,
) -> Iterator[Segment]:
    """Camera poses of the frames of one shot, by structure from motion.

    A camera that stands still or only turns, and a clip with too few key frames, are nothing for that: a warning says
    so, and they are tracked (`estimate`). Each model that COLMAP finds is a segment; frames without a place are left
    out, and a warning says which. Pictures of key frames wait in a temporary folder; memory grows with the number of
    key frames' landmarks. The same frames give the same poses.

    Args:
        frames: goes through pictures with depth in the order of time, from the first one on each time; called twice.
        intrinsics: the camera, at any size of the same picture.
        refine_focal: whether focal lengths are found as well, from the given ones on. They cannot be told without
            much movement.
        watch: shows how far it is.

    Raises:
        MissingPackageError: pycolmap is not installed.
    """
    installed()
    with TemporaryDirectory(prefix="recon-poses-") as folder:
        workspace = Workspace(Path(folder))
        clip = chosen(frames(), workspace)
        models = _models(workspace, intrinsics, refine_focal=refine_focal, watch=watch)
        segments = list(_segments(frames(), clip, models, workspace)) if models else []
    yield from segments or estimate(frames(), intrinsics)


# --------------------------------------------------------------------------------------------------------- key frames


class Clip(NamedTuple):
    """What is known of the frames of a shot before anything is placed."""

    frames: list[Moment]
    key_frames: list[int]
    """Rows of ``frames``, in order: those whose pictures wait."""


def chosen(frames: Iterable[DepthFrame], workspace: Workspace) -> Clip:
    """Key frames, whose pictures are put aside: the first one with corners, what shows much new, and the last."""
    clip, news = Clip([], []), _News()
    picture = None
    for row, frame in enumerate(frames):
        clip.frames.append(Moment(frame.frame.index, frame.frame.time))
        picture = frame.frame.rgb
        if news.much_in(grey(picture)):
            workspace.add(picture)
            clip.key_frames.append(row)
    last = len(clip.frames) - 1
    if picture is not None and clip.key_frames and clip.key_frames[-1] != last:
        workspace.add(picture)
        clip.key_frames.append(last)
    return clip


@dataclass(slots=True)
class _News:
    """The corners of the last key frame, followed from picture to picture."""

    _then: Pixels = field(default_factory=lambda: np.zeros((0, 2)))
    _now: Pixels = field(default_factory=lambda: np.zeros((0, 2)))
    _first: int = 0
    _last: Grey = field(default_factory=lambda: np.zeros((0, 0), np.uint8))

    def much_in(self, picture: Grey) -> bool:
        """Whether the next picture shows much that the last key frame does not; it is the last one then."""
        if len(self._now):
            pixel, there = followed(self._last, picture, self._now, self._now)
            self._then, self._now = self._then[there], pixel[there]
        self._last = picture
        if len(self._now) > OVERLAP * self._first:
            moved = float(np.median(np.linalg.norm(self._now - self._then, axis=1)))
            if moved <= MOVED * picture.shape[1]:
                return False
        new = corners(picture, np.zeros((0, 2)))
        if len(new) < LEAST_CORNERS:
            return False
        self._then, self._now, self._first = new, new, len(new)
        return True


# ------------------------------------------------------------------------------------------------------------- models


def _models(workspace: Workspace, intrinsics: Intrinsics, *, refine_focal: bool, watch: Watch) -> list[Model]:
    """Models that are worth something; where there are none, a warning says why."""
    if workspace.count < LEAST_KEY_FRAMES:
        logger.warning(
            "only %d pictures show something new, too few for structure from motion: poses are tracked instead",
            workspace.count,
        )
        return []
    found: list[Model] = []

    def mapped() -> None:
        found.extend(workspace.models(refine_focal=refine_focal))

    steps: Sequence[Step] = (partial(workspace.find_features, intrinsics), workspace.match, mapped)
    for step in watch(steps, "structure from motion", float(len(steps))):
        step()
    usable = [model for number, model in enumerate(found) if _is_usable(model) and _is_apart(model, found[:number])]
    if not usable:
        logger.warning(
            "structure from motion finds no way of the camera (it stands, only turns, or its pictures have too little "
            "in common): poses are tracked instead"
        )
    return usable


def _is_usable(model: Model) -> bool:
    """Whether it has enough cameras that see enough, in places that are far enough apart."""
    if len(model.pictures) < LEAST_KEY_FRAMES or np.median(np.bincount(model.camera)) < LEAST_SEEN:
        return False
    centres = inverse(model.camera_from_world)[:, :3, 3]
    base = float(np.linalg.norm(centres - np.median(centres, axis=0), axis=1).max())
    return base > LEAST_BASE * float(np.median(_depths(model)))


def _is_apart(model: Model, larger: Sequence[Model]) -> bool:
    """Whether it shares no picture with a larger one: each frame has one world."""
    return not any(np.isin(model.pictures, other.pictures).any() for other in larger)


def _depths(model: Model) -> Float64[np.ndarray, " n"]:
    """Of what is observed, in its camera."""
    poses = model.camera_from_world[model.camera]
    depths: Float64[np.ndarray, " n"] = (
        np.einsum("nj,nj->n", poses[:, 2, :3], model.points[model.point]) + poses[:, 2, 3]
    )
    return depths


# -------------------------------------------------------------------------------------------------------------- frames


class _View(NamedTuple):
    """A key frame in a model."""

    model: int
    camera_from_world: RigidTransform
    observed: Bool[np.ndarray, " n"]
    """Which of the model's observations are its own."""


class _Placing:
    """Frames among landmarks."""

    def __init__(self, clip: Clip, models: Sequence[Model], workspace: Workspace) -> None:
        self._clip, self._models, self._workspace = clip, models, workspace
        self._views = {
            number: _View(place, model.camera_from_world[row], model.camera == row)
            for place, model in enumerate(models)
            for row, number in enumerate(model.pictures.tolist())
        }
        self._pictures: dict[int, Grey] = {}
        self.placed: list[dict[int, RigidTransform]] = [{} for _ in models]
        """For each model, camera_from_world by row of the clip."""
        self.depth = [np.full(len(model.camera), np.nan) for model in models]
        """For each model, what the depth maps say where it observes something."""
        self.left_out: list[int] = []
        """Rows of the clip."""

    def place(self, row: int, frame: DepthFrame) -> None:
        """The next frame."""
        after = bisect_right(self._clip.key_frames, row)
        before = after - 1
        if before >= 0 and self._clip.key_frames[before] == row:
            self._take(before, row, frame)
        elif (found := self._between(before, row, grey(frame.frame.rgb))) is not None:
            model, pose = found
            self.placed[model][row] = pose
        else:
            self.left_out.append(row)

    def _take(self, number: int, row: int, frame: DepthFrame) -> None:
        """A key frame: where it is, is known, if it is in a model."""
        if (view := self._views.get(number)) is None:
            self.left_out.append(row)
            return
        model = self._models[view.model]
        self.placed[view.model][row] = view.camera_from_world
        self.depth[view.model][view.observed] = depth_at(frame.depth, model.pixel[view.observed], model.intrinsics)

    def _between(self, before: int, row: int, picture: Grey) -> tuple[int, RigidTransform] | None:
        """By the landmarks of the key frames beside it; None where it has no place."""
        beside = [number for number in (before, before + 1) if number in self._views]
        if not beside:
            return None
        model = self._views[beside[0]].model
        beside = [number for number in beside if self._views[number].model == model]
        camera = _camera(self._models[model].intrinsics, picture)
        guess = self._guess(beside, row)
        matches = [self._sought(number, picture, guess) for number in beside]
        together = Matches(*(np.concatenate(column) for column in zip(*matches, strict=True)))
        found = fix(together, camera)
        if found is None or doubt(found, len(together.pixels), inverse(guess)) is not None:
            return None
        return model, inverse(found.world_from_camera)

    def _guess(self, beside: Sequence[int], row: int) -> RigidTransform:
        """Camera from world on the way from the one key frame to the other; that of the only one."""
        poses = [self._views[number].camera_from_world for number in beside]
        if len(poses) == 1:
            return poses[0]
        start, end = (self._clip.key_frames[number] for number in beside)
        return inverse(interpolate(inverse(poses[0]), inverse(poses[1]), (row - start) / (end - start)))

    def _sought(
        self, number: int, picture: Grey, guess: RigidTransform
    ) -> tuple[Float64[np.ndarray, "n 3"], Float64[np.ndarray, "n 2"]]:
        """Landmarks of a key frame, and where another picture shows them."""
        view, reference = self._views[number], cv2.resize(self._picture(number), picture.shape[::-1])
        model = self._models[view.model]
        points, pixel = model.points[model.point[view.observed]], model.pixel[view.observed]
        camera = _camera(model.intrinsics, picture)
        start = pixel * [camera.width / model.intrinsics.width, camera.height / model.intrinsics.height]
        expected = project(transform(guess, points), camera)
        moved, there = followed(reference, picture, start, np.where(np.isnan(expected), start, expected))
        return points[there], moved[there]

    def _picture(self, number: int) -> Grey:
        """Of a key frame; two of them are remembered."""
        if number not in self._pictures:
            self._pictures = {known: kept for known, kept in self._pictures.items() if abs(known - number) == 1}
            self._pictures[number] = grey(self._workspace.picture(number))
        return self._pictures[number]


def _camera(intrinsics: Intrinsics, picture: Grey) -> Intrinsics:
    height, width = picture.shape
    return intrinsics.scaled(width, height)


# ------------------------------------------------------------------------------------------------------------ segments


def _segments(
    frames: Iterable[DepthFrame], clip: Clip, models: Sequence[Model], workspace: Workspace
) -> Iterator[Segment]:
    placing = _Placing(clip, models, workspace)
    for row, frame in enumerate(frames):
        placing.place(row, frame)
    _tell(placing.left_out, clip)
    for model, placed, depth in zip(models, placing.placed, placing.depth, strict=True):
        told = f"{clip.frames[min(placed)]} to {clip.frames[max(placed)]}"
        unit = unit_of(model, depth)
        if unit is None:
            logger.warning("%s: no depth says how long the way of the camera is; left out", told)
            continue
        if (doubtful := unit.doubt()) is not None:
            logger.warning("%s: %s", told, doubtful)
        yield _segment(clip, model, placed, depth, unit.length)


def _segment(
    clip: Clip, model: Model, placed: Mapping[int, RigidTransform], depth: Float64[np.ndarray, " n"], length: float
) -> Segment:
    rows = sorted(placed)
    first_from_world = placed[rows[0]]
    poses = first_from_world @ inverse(np.stack([placed[row] for row in rows]))
    poses[:, :3, 3] *= length
    times = np.array([clip.frames[row].time for row in rows])
    structure = Structure(
        np.searchsorted(rows, [clip.key_frames[number] for number in model.pictures]).astype(np.int64),
        transform(first_from_world, model.points) * length,
        model.colors,
        Observations(model.camera, model.point, model.pixel, depth),
    )
    return Segment(CameraTrajectory(times, poses), "free", model.intrinsics, structure)


def _tell(rows: Sequence[int], clip: Clip) -> None:
    """Name frames that have no place, run by run."""
    ends = [0, *(place for place in range(1, len(rows)) if rows[place] != rows[place - 1] + 1), len(rows)]
    for start, end in pairwise(ends if rows else []):
        told = span([clip.frames[row] for row in rows[start:end]])
        logger.warning("%s: %d frames could not be placed; left out", told, end - start)


# ---------------------------------------------------------------------------------------------------------- the unit


class Unit(NamedTuple):
    """How long the unit of a model is."""

    length: float
    """In units of the depth maps."""
    scatter: float
    """Standard deviation of what single depth maps say of it, relative."""
    drift: float
    """How much longer it is at the end of the way than at its beginning, by the depth maps: logarithm."""

    def doubt(self) -> str | None:
        """What speaks against the scale; None if nothing does."""
        if max(self.scatter, abs(self.drift)) <= SCATTER:
            return None
        return (
            f"the scale of the poses is doubtful: depth maps disagree about it by {100 * self.scatter:.0f} %, and by "
            f"{100 * np.expm1(abs(self.drift)):.0f} % from the beginning to the end: depth drifts, or the path is wrong"
        )


def unit_of(model: Model, depth: Float64[np.ndarray, " n"]) -> Unit | None:
    """The unit of a model by depth maps, each of which has one say; None where no map says anything.

    Args:
        model: cameras and landmarks.
        depth: of the maps where the model observes something, NaN where it is unknown.
    """
    from scipy.stats import theilslopes  # noqa: PLC0415 - half a second that only COLMAP's users need wait for

    seen = _depths(model)
    usable = np.isfinite(depth) & (seen > 0)
    logs = np.log(depth[usable] / seen[usable])
    camera = model.camera[usable]
    several = np.flatnonzero(np.bincount(camera, minlength=len(model.pictures)) >= LEAST_FACTORS)
    if not len(several):
        return None
    each = np.array([np.median(logs[camera == row]) for row in several])
    middle = float(np.median(each))
    scatter = SIGMA_FROM_MAD * float(np.median(np.abs(each - middle)))
    slope = float(theilslopes(each, several).slope) if len(several) > 1 else 0.0
    return Unit(float(np.exp(middle)), scatter, slope * (len(model.pictures) - 1))
