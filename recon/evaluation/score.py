"""What a clip's predicted depth is worth: all measures of ``recon.evaluation.measures`` that need no cloud.

Two passes over the predictions, one to fit and one to score, one frame after the other: memory does not grow with the
clip. A handful of maps is held at a time, for the temporal error looks from each frame to the next.
"""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, pairwise
from math import isfinite, nan

import numpy as np
from jaxtyping import Float32

from recon.errors import AlignmentError, FormatError
from recon.evaluation.alignment import Moments, aligned_depth, moments, resized, valid_pixels
from recon.evaluation.boundary import boundary_f1
from recon.evaluation.depth import DepthErrors, depth_errors
from recon.evaluation.measures import ClipScores, FrameScores, Values, mean_values
from recon.evaluation.protocol import EvaluationProtocol
from recon.evaluation.stability import Gauge, drift, log_scale, seam_jump, wander
from recon.evaluation.temporal import temporal_error
from recon.evaluation.truth import TruthClip
from recon.fitting import Line
from recon.types import DepthMap, Quantity

__all__ = ["Maps", "aligned_depth", "score_clip"]

Maps = Callable[[], Iterator[DepthMap]]
"""Begins anew at each call: one map of any size for each frame of a clip, in order, frames without truth included."""


def score_clip(
    clip: TruthClip,
    maps: Maps,
    quantity: Quantity,
    protocol: EvaluationProtocol,
    *,
    seams: AbstractSet[int] = frozenset(),
    metric: bool = True,
) -> ClipScores:
    """Score predicted depth against a clip's truth.

    Measures that do not apply are NaN: those of metres for disparity, of time where the clip has no poses or its frames
    have nothing in common, of edges where the truth is sparse. The temporal error of two consecutive frames belongs to
    the first one, and counts where that one has true depth. A clip whose frames share no gauge gets a fit for each.

    Args:
        clip: the truth.
        maps: the predictions; NaN where there is no answer, which counts against the method
            (see ``recon.evaluation.depth``).
        quantity: what the predictions hold.
        protocol: whether hidden points count in the temporal error.
        seams: frame i stands for the step from frame i - 1 to frame i, where windows of the network meet.
        metric: whether depth claims to be in metres (disparity never does).

    Raises:
        AlignmentError: no pixel has both a valid true depth and a prediction.
        FormatError: there are more or fewer predictions than frames.
    """
    predictions = _Predictions(clip, maps, quantity, metric=metric and quantity == "depth")
    fits = _fits(predictions)
    frames = tuple(_frames(predictions, fits, protocol))
    values = {**mean_values(frame.values for frame in frames), **_stability(clip, frames, seams)}
    return ClipScores(clip.name, values, frames, fits)


@dataclass(frozen=True, slots=True)
class _Predictions:
    """A clip and what a method says of it."""

    clip: TruthClip
    maps: Maps
    quantity: Quantity
    metric: bool

    def numbered(self) -> Iterator[tuple[int, DepthMap]]:
        """Every prediction with the number of its frame; exactly as many as there are frames."""
        count, number = len(self.clip.frames), -1
        for number, values in enumerate(self.maps()):
            if number == count:
                raise FormatError(f"{self.clip.name}: there are more depth maps than frames ({count})")
            yield number, values
        if number + 1 < count:
            raise FormatError(f"{self.clip.name}: there are {number + 1} depth maps for {count} frames")

    def truth(self, number: int) -> DepthMap | None:
        path = self.clip.frames[number].depth
        return None if path is None else self.clip.read_depth(path)


# ----------------------------------------------------------------------------------------------------------------- fit


def _fits(predictions: _Predictions) -> tuple[Line, ...]:
    """Scale and shift of the clip, or of each of its frames (NaN for those without anything to fit)."""
    clip = predictions.clip
    seen = [Moments()] * (1 if clip.one_gauge else len(clip.frames))
    for number, values in predictions.numbered():
        true = predictions.truth(number)
        if true is not None:
            gauge = 0 if clip.one_gauge else number
            values = resized(values, true.shape)  # noqa: PLW2901 - the larger map is not needed any more
            seen[gauge] += moments(values, predictions.quantity, true, clip.max_depth)
    if not any(each.count for each in seen):
        raise AlignmentError(
            f"{clip.name}: nothing to compare: no pixel has both a prediction and a true depth between 1 mm and "
            f"{clip.max_depth:g} m, in {len(clip.scored)} frames with true depth"
        )
    return tuple(each.line for each in seen)


# --------------------------------------------------------------------------------------------------------------- score


@dataclass(frozen=True, slots=True)
class _Scored:
    """A frame on its own; what it has in common with the next one is still to come."""

    number: int
    depth: DepthMap | None
    """After the fit; None where nothing says how large it should be."""
    valid: int
    values: Values


def _frames(predictions: _Predictions, fits: tuple[Line, ...], protocol: EvaluationProtocol) -> Iterator[FrameScores]:
    """Scores of the frames with valid true depth, as soon as the next frame is known."""
    clip = predictions.clip
    alone = (_scored(predictions, number, values, fits) for number, values in predictions.numbered())
    for frame, following in pairwise(chain(alone, [None])):
        if frame is not None and frame.valid:
            values = {**frame.values, **_temporal(clip, frame, following, protocol)}
            truth = clip.frames[frame.number]
            yield FrameScores(frame.number, truth.name, truth.time, frame.valid, values)


def _scored(predictions: _Predictions, number: int, values: DepthMap, fits: tuple[Line, ...]) -> _Scored:
    clip, quantity = predictions.clip, predictions.quantity
    fit = fits[0 if clip.one_gauge else number]
    true = predictions.truth(number)
    size = _size(clip, number, true)
    if size is None:
        return _Scored(number, None, 0, {})
    answer = resized(values, size)
    depth = aligned_depth(answer, quantity, fit, clip.max_depth, size)
    if true is None:
        return _Scored(number, depth, 0, {})
    valid = valid_pixels(true, clip.max_depth)
    count = int(np.count_nonzero(valid))
    known = np.where(valid, true, np.float32(nan))
    found = _values(answer, depth, known, predictions) if count else {}
    return _Scored(number, depth, count, found)


def _size(clip: TruthClip, number: int, true: DepthMap | None) -> tuple[int, int] | None:
    """Of the true depth, known or not."""
    if true is not None:
        return true.shape[0], true.shape[1]
    if number in clip.cameras:
        camera = clip.cameras[number].intrinsics
        return camera.height, camera.width
    return None


def _values(answer: DepthMap, depth: DepthMap, known: DepthMap, predictions: _Predictions) -> Values:
    """All measures of one frame by itself. ``known`` is NaN where the truth is not valid."""
    max_depth, metric = predictions.clip.max_depth, predictions.metric
    at = np.isfinite(known)
    aligned, raw, true = depth[at], answer[at], known[at]
    in_metres = depth_errors(raw, true, max_depth) if metric else DepthErrors(nan, nan, nan)
    to_median = _median_scaled(raw, true, predictions)
    return {
        **depth_errors(aligned, true, max_depth)._asdict(),
        "boundary_f1": boundary_f1(depth, known),
        "coverage": float(np.mean(np.isfinite(aligned))),
        **{f"metric_{name}": value for name, value in in_metres._asdict().items()},
        "metric_log_scale": log_scale(np.where(raw > 0, raw, np.float32(nan)), true) if metric else nan,
        "median_abs_rel": to_median.abs_rel,
        "median_delta1": to_median.delta1,
        "log_scale": log_scale(aligned, true),
    }


def _median_scaled(
    raw: Float32[np.ndarray, " n"], true: Float32[np.ndarray, " n"], predictions: _Predictions
) -> DepthErrors:
    """For depth only: of disparity the shift is not known, and a factor alone cannot make it depth."""
    if predictions.quantity == "disparity":
        return DepthErrors(nan, nan, nan)
    return depth_errors(raw, true, predictions.clip.max_depth, scaled_to_median=True)


def _temporal(clip: TruthClip, frame: _Scored, following: _Scored | None, protocol: EvaluationProtocol) -> Values:
    """The temporal error of a frame and the next one, by the rule of the protocol and by the other one's."""
    if (
        following is None
        or frame.depth is None
        or following.depth is None
        or not clip.one_gauge
        or not {frame.number, following.number} <= clip.cameras.keys()
    ):
        return {"tae": nan, "tae_other": nan}
    pair = frame.depth, following.depth, clip.cameras[frame.number], clip.cameras[following.number]
    released = protocol.hidden_points_compared
    return {
        "tae": temporal_error(*pair, hidden_points_compared=released),
        "tae_other": temporal_error(*pair, hidden_points_compared=not released),
    }


def _stability(clip: TruthClip, frames: tuple[FrameScores, ...], seams: AbstractSet[int]) -> Values:
    """What can only be said of the clip as a whole."""
    if not clip.one_gauge:
        return dict.fromkeys(("wander", "drift", "seam_jump"), nan)
    gauges = [
        Gauge(frame.index, frame.time, frame.values["log_scale"])
        for frame in frames
        if isfinite(frame.values["log_scale"])
    ]
    return {"wander": wander(gauges), "drift": drift(gauges), "seam_jump": seam_jump(gauges, seams)}
