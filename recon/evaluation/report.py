"""What an evaluation says, in files: JSON to go on with, CSV for every frame, Markdown for a person.

``report.json`` holds all of an ``Evaluation`` and reads back exactly; NaN is null there, infinity the string "inf". Its
``mean`` is for readers other than recon. Files appear whole or not at all.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, isnan, nan
from pathlib import Path
from typing import Annotated, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
)
from pydantic_core import to_jsonable_python

from recon.errors import FormatError
from recon.evaluation.compare import Comparison, best_rows, compare, extent
from recon.evaluation.measures import MEASURES, TABLE, ClipScores, Evaluation, FrameScores, Measure, Values
from recon.files import whole_file

VERSION = 1
"""Version of the format of ``report.json``."""

_FORMAT = "recon evaluation"
_WORDS: Final[Mapping[object, float]] = {None: nan, "inf": inf, "-inf": -inf}
"""JSON has no such numbers."""
_SIGNS: Final = {"lower": "↓", "higher": "↑", "nearer 0": "→0"}
_RULES: Final[Mapping[str, str]] = {
    "files": "two files, as they are",
    "corrected": "as published (arXiv 2501.12375, supplement 5), without the defects of the released scripts",
    "vda-released": "as the released scripts of Video Depth Anything compute, their defects included: for comparison "
    "with published numbers only",
}
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&#]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown would take for markup; an underscore within a word is none."""


# --- JSON --------------------------------------------------------------------------------------------------------


def _number_from_json(value: object) -> object:
    return _WORDS.get(value, value) if value is None or isinstance(value, str) else value


def _json_from_number(value: float) -> float | str | None:
    if isfinite(value):
        return value
    return None if isnan(value) else str(value)


def _known_measure(key: str) -> str:
    if key not in MEASURES:
        raise ValueError("this recon knows no such measure: update it")
    return key


_Number = Annotated[float, BeforeValidator(_number_from_json), PlainSerializer(_json_from_number)]
_Count = Annotated[int, Field(ge=0)]
_Numbers = dict[Annotated[str, AfterValidator(_known_measure)], _Number]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Frame(_Part):
    index: _Count
    name: str
    time: _Number
    valid: _Count
    values: _Numbers


def _different_frames(frames: list[_Frame]) -> list[_Frame]:
    _require_different(((frame.index, frame.name) for frame in frames), "frame")
    return frames


class _Clip(_Part):
    name: str
    values: _Numbers
    fits: list[tuple[_Number, _Number]]
    frames: Annotated[list[_Frame], AfterValidator(_different_frames)]


def _different_clips(clips: list[_Clip]) -> list[_Clip]:
    _require_different((clip.name for clip in clips), "clip")
    return clips


def _require_different(keys: Iterable[object], noun: str) -> None:
    seen: set[object] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"{noun} {key!r} is there twice")
        seen.add(key)


class _Header(BaseModel):
    """What every version of the format has."""

    format: str
    version: int


class _Document(_Part):
    format: str = _FORMAT
    version: int = VERSION
    dataset: str
    method: str
    protocol: str
    provenance: dict[str, JsonValue]
    mean: _Numbers
    clips: Annotated[list[_Clip], AfterValidator(_different_clips)]


def write_json(evaluation: Evaluation, path: Path) -> None:
    """Write ``report.json``.

    Raises:
        ValueError: a measure that is not in ``measures.TABLE``, or two clips of one name.
    """
    text = _document(evaluation).model_dump_json(indent=1) + "\n"
    _write(path, text)


def read_json(path: Path) -> Evaluation:
    """Read what ``write_json`` wrote.

    Raises:
        FormatError: the file is missing, damaged, of a newer recon, or something else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}): give the report.json of recon eval") from error
    header = _validated(path, data, _Header)
    if header.format != _FORMAT:
        raise FormatError(f"{path}: is no report of recon eval: give its report.json")
    if header.version > VERSION:
        newer = f"format {header.version}, this one reads up to {VERSION}"
        raise FormatError(f"{path}: a newer recon wrote this report ({newer}): update recon")
    return _evaluation(_validated(path, data, _Document))


P = TypeVar("P", bound=BaseModel)


def _validated(path: Path, data: bytes, kind: type[P]) -> P:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        told = " ".join(f"{where}: {first['msg']}".lstrip(": ").split())
        raise FormatError(
            f"{path}: is not what recon eval writes ({told}): give a report.json, or run recon eval again"
        ) from error


def _document(evaluation: Evaluation) -> _Document:
    return _Document(
        dataset=evaluation.dataset,
        method=evaluation.method,
        protocol=evaluation.protocol,
        provenance=to_jsonable_python(dict(evaluation.provenance)),
        mean=dict(evaluation.values),
        clips=[_clip(clip) for clip in evaluation.clips],
    )


def _clip(clip: ClipScores) -> _Clip:
    frames = [
        _Frame(index=each.index, name=each.name, time=each.time, valid=each.valid, values=dict(each.values))
        for each in clip.frames
    ]
    return _Clip(name=clip.name, values=dict(clip.values), fits=list(clip.fits), frames=frames)


def _evaluation(document: _Document) -> Evaluation:
    clips = tuple(_scores(clip) for clip in document.clips)
    return Evaluation(document.dataset, document.method, document.protocol, dict(document.provenance), clips)


def _scores(clip: _Clip) -> ClipScores:
    frames = tuple(FrameScores(each.index, each.name, each.time, each.valid, each.values) for each in clip.frames)
    return ClipScores(clip.name, clip.values, frames, tuple(clip.fits))


# --- CSV ---------------------------------------------------------------------------------------------------------


def write_csv(evaluation: Evaluation, path: Path) -> None:
    """Write ``frames.csv``: one row for each frame, then the measures that occur (RFC 4180; empty is unknown)."""
    frames = [(clip.name, frame) for clip in evaluation.clips for frame in clip.frames]
    keys = [measure.key for measure in applying(frame.values for _, frame in frames)]
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["clip", "frame", "name", "time", "valid", *keys])
        for clip, frame in frames:
            numbers = ["" if isnan(value := frame.values.get(key, nan)) else repr(float(value)) for key in keys]
            writer.writerow([clip, frame.index, frame.name, repr(float(frame.time)), frame.valid, *numbers])


# --- words and numbers that reports share ------------------------------------------------------------------------


def applying(rows: Iterable[Values]) -> list[Measure]:
    """The measures that have a number in any of the rows, in the order of the table."""
    keys = {key for row in rows for key, value in row.items() if not isnan(value)}
    return [measure for measure in TABLE if measure.key in keys]


def heading(measure: Measure) -> str:
    """Label and which way is better: ``AbsRel ↓``."""
    return f"{measure.label} {_SIGNS[measure.better]}"


def shown(measure: Measure, values: Values) -> str:
    """The number with the measure's digits; a dash where there is none."""
    value = values.get(measure.key, nan)
    return "-" if isnan(value) else f"{value:z.{measure.digits}f}"


def rules_of(protocol: str) -> str:
    """What a protocol is, in a sentence."""
    known = _RULES.get(protocol)
    return f"Protocol {protocol}: {known}." if known else f"Protocol {protocol}."


def made_by(evaluation: Evaluation) -> str:
    """``recon 0.1.0, 13 clips with 1430 frames``."""
    return f"recon {evaluation.provenance.get('recon', 'of an unknown version')}, {extent(evaluation.clips)}"


# --- Markdown ----------------------------------------------------------------------------------------------------


def write_markdown(evaluation: Evaluation, path: Path) -> None:
    """Write ``report.md``."""
    _write(path, markdown(evaluation))


def markdown(evaluation: Evaluation) -> str:
    """A table with one row for each clip and their mean, of the measures that apply somewhere, and what these mean."""
    clips = evaluation.clips
    columns = applying(clip.values for clip in clips)
    rows = [[_plain(clip.name), str(len(clip.frames)), *_cells(columns, clip.values)] for clip in clips]
    total = str(sum(len(clip.frames) for clip in clips))
    mean = [f"**{cell}**" for cell in ("mean", total, *_cells(columns, evaluation.values))]
    lines = [
        f"# {_plain(evaluation.method)} on {_plain(evaluation.dataset)}",
        "",
        f"{_plain(rules_of(evaluation.protocol))} {_plain(made_by(evaluation))}.",
        "",
        *_table(["clip", "frames", *map(heading, columns)], [*rows, mean]),
        "",
        *_meanings(columns),
    ]
    return "\n".join(lines).rstrip() + "\n"


def write_comparison(evaluations: Sequence[Evaluation], path: Path) -> None:
    """Write ``comparison.md``."""
    _write(path, comparison(evaluations))


def comparison(evaluations: Sequence[Evaluation]) -> str:
    """Markdown with one row for each method and one column for each measure, the best in bold.

    Methods on different data sets or by different protocols stand in different tables (see ``compare``).
    """
    groups = compare(evaluations)
    columns = applying(values for group in groups for values in group.values)
    apart = ["Reports of different data sets or protocols are not compared with each other.", ""]
    lines = [
        *(apart if len(groups) > 1 else []),
        *(line for group in groups for line in [*_title(group), *_compared(group)]),
    ]
    return "\n".join([*lines, *_meanings(columns)]).rstrip() + "\n"


def tables(evaluations: Sequence[Evaluation]) -> str:
    """The tables of ``comparison`` alone; with titles where there are several."""
    groups = compare(evaluations)
    lines = [line for group in groups for line in [*(_title(group) if len(groups) > 1 else []), *_compared(group)]]
    return "\n".join(lines).rstrip() + "\n"


def _title(group: Comparison) -> list[str]:
    return [f"## {_plain(group.dataset)}, {_plain(group.protocol)}", "", _plain(rules_of(group.protocol)), ""]


def _compared(group: Comparison) -> list[str]:
    columns = applying(group.values)
    cells = [[_plain(name)] for name in group.methods]
    for measure in columns:
        best = best_rows(measure, [values.get(measure.key, nan) for values in group.values])
        for row, values in enumerate(group.values):
            cells[row].append(f"**{shown(measure, values)}**" if row in best else shown(measure, values))
    table = _table(["method", *map(heading, columns)], cells) if columns else []
    notes = [f"- {_plain(note)}" for note in group.notes]
    return [*table, "", *notes, ""]


def _cells(columns: Iterable[Measure], values: Values) -> list[str]:
    return [shown(measure, values) for measure in columns]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Text on the left, numbers on the right."""
    rule = [":--", *("--:" for _ in head[1:])]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def _meanings(columns: Iterable[Measure]) -> list[str]:
    return [f"- **{each.label}** ({each.better} is better): {_plain(each.meaning)}" for each in columns]


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _write(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")
