"""An evaluation, or several side by side, as a page that opens anywhere: one file, no script, no network."""

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Final

import cv2
from jinja2 import Environment, PackageLoader, StrictUndefined

from recon.evaluation.charts import Series, line_chart
from recon.evaluation.compare import CommonClip, Comparison, best_rows, compare
from recon.evaluation.measures import MEASURES, ClipScores, Evaluation, FrameScores, Measure, Values
from recon.evaluation.report import applying, heading, made_by, rules_of, shown
from recon.files import whole_file
from recon.types import Picture

CHARTED: Final = ("abs_rel", "delta1", "log_scale", "tae")
"""What is drawn over time."""
_OPEN: Final = 3
"""Clips up to which all their charts are unfolded."""
_JPEG_QUALITY: Final = 85


@dataclass(frozen=True, slots=True)
class FramePicture:
    """A frame to look at."""

    clip: str
    frame: int
    """Its number in the clip."""
    caption: str
    """Which it is, in words."""
    values: Values
    picture: Picture
    """For example an ``error_panel``."""

    @property
    def uri(self) -> str:
        """The picture as JPEG, within the page."""
        good, data = cv2.imencode(
            ".jpg", cv2.cvtColor(self.picture, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY)
        )
        if not good:
            raise ValueError(f"a picture of {self.picture.shape} cannot be written as JPEG")
        return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"


@dataclass(frozen=True, slots=True)
class _Charts:
    """The curves of one clip."""

    clip: str
    frames: int
    drawings: tuple[str, ...]
    """SVG, escaped."""


@dataclass(frozen=True, slots=True)
class _Table:
    """Numbers of methods, and which are best."""

    group: Comparison
    columns: tuple[Measure, ...]
    best: Mapping[str, frozenset[int]]
    """Key of a measure -> rows."""
    charts: tuple[_Charts, ...]


def write_page(
    evaluation: Evaluation,
    pictures: Sequence[FramePicture],
    path: Path,
    *,
    seams: Mapping[str, Collection[int]] | None = None,
) -> None:
    """Write ``index.html``: means, clips, curves over time, the pictures, what made it and what the numbers mean.

    Args:
        evaluation: what was scored.
        pictures: a few frames, usually the worst; they are embedded.
        path: the file.
        seams: for each clip, by name, the frames at which windows meet; drawn as thin lines.
    """
    columns = applying(clip.values for clip in evaluation.clips)
    charts = [_charts(clip, (seams or {}).get(clip.name, ())) for clip in evaluation.clips]
    render(
        "evaluation.html.jinja",
        path,
        evaluation=evaluation,
        columns=columns,
        charts=[each for each in charts if each.drawings],
        pictures=pictures,
        provenance=list(_flat(evaluation.provenance)),
        rules=rules_of(evaluation.protocol),
        made_by=made_by(evaluation),
    )


def write_comparison_page(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write a page with methods side by side: a table for each data set and protocol, and curves of common clips."""
    tables = [_table(group) for group in compare(evaluations)]
    columns = applying(values for table in tables for values in table.group.values)
    render("comparison.html.jinja", path, tables=tables, columns=columns)


def render(template: str, path: Path, **names: object) -> None:
    """Write a page from a template of this package; whatever the names hold is escaped.

    Raises:
        jinja2.UndefinedError: the template wants a name that is not given.
    """
    environment = Environment(
        loader=PackageLoader("recon.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"heading": _heading, "shown": shown, "rules_of": rules_of, "open": _OPEN}
    with whole_file(path) as partial:
        text = environment.get_template(template).render(**names)
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")


def _heading(measure: Measure) -> str:
    """Its sign stays on the line of its last word."""
    return "\N{NO-BREAK SPACE}".join(heading(measure).rsplit(" ", 1))


# --- curves ------------------------------------------------------------------------------------------------------


def _charts(clip: ClipScores, seams: Collection[int]) -> _Charts:
    measures = [measure for key in CHARTED if _drawable(clip.frames, measure := MEASURES[key])]
    drawings = (_chart([_series(clip.name, clip.frames, each)], each, seams) for each in measures)
    return _Charts(clip.name, len(clip.frames), tuple(drawings))


def _compared_charts(group: Comparison, clip: CommonClip) -> _Charts:
    """The curves of all methods that know a measure; each keeps its colour."""
    drawings = []
    for measure in (MEASURES[key] for key in CHARTED):
        rows = zip(group.methods, clip.scores, strict=True)
        series = [_series(name, scores.frames, measure) for name, scores in rows]
        if any(_drawable(scores.frames, measure) for scores in clip.scores):
            drawings.append(_chart(series, measure))
    return _Charts(clip.name, len(clip.scores[0].frames), tuple(drawings))


def _drawable(frames: Sequence[FrameScores], measure: Measure) -> bool:
    """Whether there are two points at least."""
    return sum(isfinite(frame.values.get(measure.key, nan)) for frame in frames) > 1


def _series(label: str, frames: Sequence[FrameScores], measure: Measure) -> Series:
    return Series(label, [each.index for each in frames], [each.values.get(measure.key, nan) for each in frames])


def _chart(series: Sequence[Series], measure: Measure, seams: Collection[int] = ()) -> str:
    return line_chart(series, measure.label, f"{measure.better} is better", seams=seams)


# --- tables ------------------------------------------------------------------------------------------------------


def _table(group: Comparison) -> _Table:
    columns = tuple(applying(group.values))
    best = {each.key: best_rows(each, [row.get(each.key, nan) for row in group.values]) for each in columns}
    charts = (_compared_charts(group, clip) for clip in group.clips)
    return _Table(group, columns, best, tuple(each for each in charts if each.drawings))


def _flat(facts: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """Names with dots, and values; of nested facts."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", "-" if value is None else str(value)
