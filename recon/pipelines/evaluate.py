"""A method on a data set: depth for every clip, scores for every frame, a report. What is done is not done again.

In OUTPUT::

    report.json  report.md  frames.csv  index.html      the result
    clips/NAME.json                                     the scores of one clip, as soon as they are known
    depth/NAME-*.recon                                  what the network said of it: other rules need no network
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from recon import __version__
from recon.errors import FormatError, OptionError
from recon.evaluation.datasets import data_set as data_set_called
from recon.evaluation.measures import ABS_REL, ClipScores, Evaluation, FrameScores
from recon.evaluation.page import FramePicture, write_page
from recon.evaluation.pictures import error_panel
from recon.evaluation.protocol import PROTOCOLS
from recon.evaluation.report import read_json, write_csv, write_json, write_markdown
from recon.evaluation.score import aligned_depth, score_clip
from recon.evaluation.truth import Reading, TruthClip
from recon.pipelines.depth import Observer
from recon.pipelines.methods import ClipDepth, Method, method_of
from recon.pipelines.true_cloud import cloud_values, predicted_and_true, within
from recon.settings import EvaluationRunSettings, EvaluationSettings
from recon.streams import batched
from recon.types import DepthMap

logger = logging.getLogger(__name__)

WORST = 4
"""Frames that the page shows."""


@dataclass(frozen=True, slots=True)
class _Run:
    """A method on a data set, by some rules."""

    data_set: str
    method: Method
    rules: EvaluationSettings
    output: Path
    observer: Observer

    def evaluation(self, clips: Sequence[ClipScores], provenance: dict[str, object]) -> Evaluation:
        return Evaluation(self.data_set, self.method.name, self.rules.protocol, provenance, tuple(clips))


def evaluate_on(
    name: str,
    root: Path,
    output: Path,
    settings: EvaluationRunSettings,
    observer: Observer,
    *,
    overwrite: bool = False,
) -> Evaluation:
    """Score a method on a data set and write the report.

    Args:
        name: of the data set.
        root: where its files are.
        output: folder of the report; what an earlier run left there is used where it still holds.
        settings: which clips, by which rules, by which network.
        observer: is told how it goes on.
        overwrite: replace the report of another method, data set or protocol.

    Raises:
        ReconError: the data, the predictions or the network cannot be had.
    """
    data_set, rules = data_set_called(name), settings.evaluation
    reading = Reading(PROTOCOLS[rules.protocol], rules.truth_scale, rules.truth_max_depth)
    whole = chosen(data_set.clips(root, reading), rules)
    clips = [replace(clip, frames=clip.frames[: rules.frames]) for clip in whole]
    method = method_of(settings, whole, output / "depth", observer)
    run = _Run(data_set.name, method, rules, output, observer)
    provenance: dict[str, object] = {"recon": __version__, "method": dict(method.identity), "rules": _facts(rules)}
    if not overwrite:
        require_own(output, run.evaluation([], provenance))
    _warn_of_gaps(clips)
    scores = [_scores(run, clip) for clip in clips]
    evaluation = run.evaluation(scores, provenance)
    write_json(evaluation, output / "report.json")
    write_csv(evaluation, output / "frames.csv")
    write_markdown(evaluation, output / "report.md")
    seams = {clip.name: method.seams(clip) for clip in clips}
    write_page(evaluation, _worst(run, clips, scores), output / "index.html", seams=seams)
    return evaluation


def told(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What a person wants to know of it, beside the numbers."""
    frames = sum(len(clip.frames) for clip in evaluation.clips)
    extent = f"{len(evaluation.clips)} with {frames} scored frames"
    return [("method", evaluation.method), ("protocol", evaluation.protocol), ("clips", extent)]


def require_own(output: Path, mine: Evaluation) -> None:
    """Refuse to replace the report of something else.

    Raises:
        OptionError: the folder holds the report of another method, data set, protocol or other settings.
    """
    file = output / "report.json"
    if not file.exists():
        return
    earlier = read_json(file)
    if (earlier.dataset, earlier.method, earlier.protocol) != (mine.dataset, mine.method, mine.protocol):
        what = f"{earlier.method} on {earlier.dataset} ({earlier.protocol})"
    elif earlier.provenance != mine.provenance:
        differing = [key for key, value in mine.provenance.items() if earlier.provenance.get(key) != value]
        what = f"the same method with other settings ({', '.join(differing)})"
    else:
        return
    raise OptionError(f"{output}: holds the report of {what}; name another folder, or replace it with --overwrite")


def _warn_of_gaps(clips: Sequence[TruthClip]) -> None:
    for clip in clips:
        known, posed = len(clip.scored), len(clip.cameras)
        if known < len(clip.frames):
            logger.warning(
                "%s: %d of %d frames have true depth; the others are not scored", clip.name, known, len(clip.frames)
            )
        if 0 < posed < len(clip.frames):
            logger.warning(
                "%s: %d of %d frames have a pose; TAE and clouds are of those", clip.name, posed, len(clip.frames)
            )


def chosen(clips: Sequence[TruthClip], rules: EvaluationSettings) -> list[TruthClip]:
    """The clips that are wanted.

    Raises:
        OptionError: there is no clip of that name.
    """
    names = [clip.name for clip in clips]
    unknown = [name for name in rules.clip if name not in names]
    if unknown:
        raise OptionError(f"--clip {unknown[0]}: no such clip; there are {', '.join(names[:20])}")
    return [clip for clip in clips if not rules.clip or clip.name in rules.clip]


def _facts(rules: EvaluationSettings) -> dict[str, object]:
    """The rules that numbers depend on."""
    deciding = {"protocol", "frames", "cloud_threshold", "truth_scale", "truth_max_depth"}
    return rules.model_dump(mode="json", include=deciding)


def _scores(run: _Run, clip: TruthClip) -> ClipScores:
    """The scores of a clip: those of an earlier run, if nothing that they depend on has changed."""
    file = run.output / "clips" / f"{clip.name}.json"
    key: dict[str, object] = {
        "recon": __version__,
        "method": dict(run.method.identity),
        "rules": _facts(run.rules),
        "truth": clip.identity,
    }
    if (kept := _kept(file, key)) is not None:
        return kept
    with run.method.depth(clip) as depth:
        scores = _scored(run, clip, depth)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(run.evaluation([scores], key), file)
    return scores


def _kept(file: Path, key: dict[str, object]) -> ClipScores | None:
    try:
        earlier = read_json(file) if file.exists() else None
    except FormatError as error:
        logger.warning("%s: is written anew", error)
        return None
    return earlier.clips[0] if earlier is not None and earlier.provenance == key else None


def _scored(run: _Run, clip: TruthClip, depth: ClipDepth) -> ClipScores:
    def maps(label: str) -> Iterator[DepthMap]:
        return run.observer.watch(depth.maps(), f"{clip.name}: {label}", len(clip.frames))

    protocol, seams = PROTOCOLS[run.rules.protocol], run.method.seams(clip)
    scores = score_clip(clip, partial(maps, "scores"), depth.quantity, protocol, seams=seams, metric=depth.metric)
    _warn_of_fit(scores)
    clouds = predicted_and_true(clip, maps("clouds"), depth.quantity, scores.fits[0], run.rules.cloud_threshold)
    found = {} if clouds is None else cloud_values(*clouds, run.rules.cloud_threshold)
    return replace(scores, values={**scores.values, **found})


def _warn_of_fit(scores: ClipScores) -> None:
    """What least squares does not mind, a person should know."""
    reversed_ = sum(scale <= 0 for scale, _shift in scores.fits)
    if reversed_:
        logger.warning(
            "%s: the fitted scale is not positive (%.3g): near and far are exchanged, or the maps say the same "
            "everywhere; is --prediction-kind right?",
            scores.name,
            min(scale for scale, _shift in scores.fits),
        )
    silent = sum(frame.values.get("coverage") == 0 for frame in scores.frames)
    if silent:
        logger.warning("%s: %d frames have no answer at any pixel that counts", scores.name, silent)


def _worst(run: _Run, clips: Sequence[TruthClip], scores: Sequence[ClipScores]) -> list[FramePicture]:
    """The frames with the largest errors, of different clips and of different parts of a clip."""
    ranked = [
        (clip, score, max(part, key=_error))
        for clip, score in zip(clips, scores, strict=True)
        for part in batched(score.frames, -(-len(score.frames) // WORST))
    ]
    ranked.sort(key=lambda entry: _error(entry[2]), reverse=True)
    return [_picture(run, *entry) for entry in ranked[:WORST]]


def _error(frame: FrameScores) -> float:
    return frame.values[ABS_REL]


def _picture(run: _Run, clip: TruthClip, scores: ClipScores, frame: FrameScores) -> FramePicture:
    shown = clip.frames[frame.index]
    if shown.depth is None:
        raise ValueError(f"{clip.name}, frame {frame.index}: scored without a truth")
    truth = clip.read_depth(shown.depth)
    fit = scores.fits[0] if clip.one_gauge else scores.fits[scores.frames.index(frame)]
    with run.method.depth(clip) as depth:
        predicted = aligned_depth(depth[frame.index], depth.quantity, fit, clip.max_depth, truth.shape)
    panel = error_panel(clip.read_picture(shown.picture), within(truth, clip.max_depth), predicted)
    caption = f"{frame.name}, {frame.time:.2f} s"
    return FramePicture(clip.name, frame.index, caption, frame.values, panel)
