"""Methods side by side, over what all of them were scored on: nobody gains by leaving out what is hard.

Only reports of one data set and one protocol meet in a table. Where their clips or frames differ, the common ones
count. Where a method lacks a number that others have (its prediction had a hole), that frame or clip counts for none of
those that know the measure; a method that never has it (a relative one has no metres) takes no part in that column.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite, nan
from typing import Final

from recon.evaluation.measures import TABLE, ClipScores, Evaluation, FrameScores, Measure, Values

_NAMED: Final = 8
"""Clips that a note lists by name at most."""

_ALL: Final = 0.9995
"""Share of pixels that is as good as all."""
_FITTED: Final = "Scale and shift were still fitted over all frames that each method had."


@dataclass(frozen=True, slots=True)
class CommonClip:
    """A clip that all methods have."""

    name: str
    whole: bool
    """Whether all methods were scored on the same frames of it."""
    scores: tuple[ClipScores, ...]
    """One for each method; their frames are the common ones, their values those of the whole clip."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Methods on one data set by one protocol."""

    dataset: str
    protocol: str
    methods: tuple[str, ...]
    """One for each row; of two with the same name the second is numbered."""
    values: tuple[Values, ...]
    """For each method, means over the common clips, of the measures that it has."""
    clips: tuple[CommonClip, ...]
    notes: tuple[str, ...]
    """Sentences: over what it was compared, and what makes it doubtful."""


def compare(evaluations: Iterable[Evaluation]) -> tuple[Comparison, ...]:
    """One comparison for each data set and protocol, in the order in which they first occur."""
    groups: dict[tuple[str, str], list[Evaluation]] = {}
    for evaluation in evaluations:
        groups.setdefault((evaluation.dataset, evaluation.protocol), []).append(evaluation)
    return tuple(_comparison(group) for group in groups.values())


def best_rows(measure: Measure, values: Sequence[float]) -> frozenset[int]:
    """The rows with the best number as it is shown, ties included; none where fewer than two have a number."""
    rounded = {row: round(value, measure.digits) for row, value in enumerate(values) if isfinite(value)}
    if len(rounded) < 2:
        return frozenset()
    badness = {row: _badness(measure, value) for row, value in rounded.items()}
    least = min(badness.values())
    return frozenset(row for row, value in badness.items() if value == least)


def _badness(measure: Measure, value: float) -> float:
    return {"lower": value, "higher": -value, "nearer 0": abs(value)}[measure.better]


def _comparison(group: Sequence[Evaluation]) -> Comparison:
    clips = _common_clips(group)
    rows: list[dict[str, float]] = [{} for _ in group]
    partial: list[str] = []
    for measure in TABLE:
        holders = [number for number in range(len(group)) if _knows(clips, number, measure.key)]
        columns = [_clip_values(clip, measure, holders) for clip in clips]
        if not all(column.complete for column in columns):
            partial.append(measure.label)
        for place, number in enumerate(holders):
            rows[number][measure.key] = _mean(column.values[place] for column in columns)
    notes = (_coverage(group, clips), *_fewer_pixels(group, clips), *_partial(partial), *_versions(group))
    first = group[0]
    return Comparison(first.dataset, first.protocol, method_names(group), tuple(rows), clips, notes)


def method_names(evaluations: Iterable[Evaluation]) -> tuple[str, ...]:
    """Names of rows that tell methods apart: ``vda``, ``vda (2)``."""
    names: list[str] = []
    for evaluation in evaluations:
        name, number = evaluation.method, 2
        while name in names:
            name, number = f"{evaluation.method} ({number})", number + 1
        names.append(name)
    return tuple(names)


# --- what is common ----------------------------------------------------------------------------------------------


def _common_clips(group: Sequence[Evaluation]) -> tuple[CommonClip, ...]:
    by_name = [{clip.name: clip for clip in evaluation.clips} for evaluation in group]
    names = [name for name in by_name[0] if all(name in clips for clips in by_name)]
    found = (_common_clip([clips[name] for clips in by_name]) for name in names)
    return tuple(clip for clip in found if clip is not None)


def _common_clip(scores: Sequence[ClipScores]) -> CommonClip | None:
    """The same clip of several methods, with the frames that all have; None where they have different ones."""
    frames = [{(frame.index, frame.name): frame for frame in each.frames} for each in scores]
    shared = [key for key in frames[0] if all(key in others for others in frames)]
    whole = all(len(each) == len(shared) for each in frames)
    if not (shared or whole):
        return None
    cut = (replace(each, frames=tuple(own[key] for key in shared)) for each, own in zip(scores, frames, strict=True))
    return CommonClip(scores[0].name, whole, tuple(cut))


def _knows(clips: Sequence[CommonClip], number: int, key: str) -> bool:
    """Whether a method has a number for a measure anywhere."""
    rows = (row for clip in clips for row in _rows(clip.scores[number]))
    return any(isfinite(row.get(key, nan)) for row in rows)


def _rows(scores: ClipScores) -> Iterator[Values]:
    """Of the clip, and of each frame."""
    yield scores.values
    for frame in scores.frames:
        yield frame.values


# --- numbers over what is common ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Column:
    """A measure in one clip."""

    values: tuple[float, ...]
    """One for each method that knows the measure; all NaN where it cannot be compared."""
    complete: bool
    """Whether no method lacked what another had."""


def _clip_values(clip: CommonClip, measure: Measure, holders: Sequence[int]) -> _Column:
    """The clip's own number where all frames count for all; else its mean over those that do."""
    scores = [clip.scores[number] for number in holders]
    frames = [[frame.values.get(measure.key, nan) for frame in each.frames] for each in scores]
    known = [[isfinite(value) for value in values] for values in frames]
    alike = all(each == known[0] for each in known)
    if clip.whole and alike:
        values = [each.values.get(measure.key, nan) for each in scores]
    else:
        values = _over_shared(frames) if measure.of == "frame" else [nan for _ in scores]
    finite = [isfinite(value) for value in values]
    comparable = all(finite)
    return _Column(tuple(values if comparable else [nan for _ in scores]), alike and (comparable or not any(finite)))


def _over_shared(frames: Sequence[Sequence[float]]) -> list[float]:
    """For each method the mean over the frames in which all have a number."""
    shared = [row for row in zip(*frames, strict=True) if all(map(isfinite, row))]
    return [_mean(column) for column in zip(*shared, strict=True)] if shared else [nan for _ in frames]


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if isfinite(value)]
    return sum(finite) / len(finite) if finite else nan


# --- sentences ---------------------------------------------------------------------------------------------------


def counted(count: int, noun: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def extent(clips: Iterable[ClipScores]) -> str:
    """``13 clips with 1430 frames``."""
    lengths = [len(clip.frames) for clip in clips]
    frames = f" with {counted(sum(lengths), 'frame')}" if sum(lengths) else ""
    return f"{counted(len(lengths), 'clip')}{frames}"


def _coverage(group: Sequence[Evaluation], clips: Sequence[CommonClip]) -> str:
    common = extent(clip.scores[0] for clip in clips)
    left_out = list(dict.fromkeys(chain.from_iterable(_names(each) for each in group)))
    left_out = [name for name in left_out if name not in {clip.name for clip in clips}]
    if not clips:
        return "No frame is common to all methods: nothing can be compared."
    if not left_out and all(clip.whole for clip in clips):
        return f"{common}{', the same for every method' if len(group) > 1 else ''}."
    own = "; ".join(f"{name} has {extent(each.clips)}" for name, each in zip(method_names(group), group, strict=True))
    named = f" Left out: {_listed(left_out)}." if left_out else ""
    parts = "" if all(clip.whole for clip in clips) else f" {_FITTED}"
    return f"Compared over the {common} that all methods have ({own}).{named}{parts}"


def _names(evaluation: Evaluation) -> list[str]:
    return [clip.name for clip in evaluation.clips]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _fewer_pixels(group: Sequence[Evaluation], clips: Sequence[CommonClip]) -> list[str]:
    """Who was compared on fewer pixels than the others: a prediction with holes where it is hard looks better."""
    sizes = [[frame.valid for frame in _frames(clips, number)] for number in range(len(group))]
    most = sum(max(frame) for frame in zip(*sizes, strict=True))
    shares = [sum(each) / most if most else 1.0 for each in sizes]
    names = method_names(group)
    told = [f"{name} {100 * share:.1f} %" for name, share in zip(names, shares, strict=True) if share < _ALL]
    return [f"Not compared on all pixels, for lack of depth there: {', '.join(told)}."] if told else []


def _frames(clips: Sequence[CommonClip], number: int) -> Iterable[FrameScores]:
    return chain.from_iterable(clip.scores[number].frames for clip in clips)


def _partial(labels: Sequence[str]) -> list[str]:
    listed = ", ".join(labels)
    return [f"Where one of the methods lacks a number, that frame or clip counts for none: {listed}."] if labels else []


def _versions(group: Sequence[Evaluation]) -> list[str]:
    versions = list(dict.fromkeys(str(each.provenance.get("recon", "unknown")) for each in group))
    return [f"Scored by different versions of recon: {', '.join(versions)}."] if len(versions) > 1 else []
