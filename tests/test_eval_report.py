"""Reports in files: what they look like, that they read back, and that nothing else is taken for one."""

import csv
import json
from collections.abc import Callable
from math import inf, isnan, nan
from pathlib import Path

import pytest
from evaluations import Facts, built, errors, evaluation, frame, plain_evaluations, small
from hypothesis import given

from recon.errors import FormatError
from recon.evaluation.measures import MEASURES, ClipScores, Evaluation
from recon.evaluation.report import (
    VERSION,
    applying,
    comparison,
    heading,
    markdown,
    read_json,
    rules_of,
    shown,
    write_csv,
    write_json,
    write_markdown,
)

Write = Callable[[Evaluation, Path], None]


def before_meanings(text: str) -> str:
    """Without the sentences of ``measures.TABLE``, which may change for other reasons."""
    return text.partition("\n- **")[0]


# --- JSON --------------------------------------------------------------------------------------------------------


def test_json_is_what_it_was(tmp_path: Path, snapshot: object) -> None:
    write_json(small(), tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text("utf-8") == snapshot


@given(plain=plain_evaluations())
def test_json_reads_back_exactly(plain: Facts, tmp_path_factory: pytest.TempPathFactory) -> None:
    """To the last bit: repr tells floats apart, and calls NaN NaN."""
    made = built(plain)
    path = tmp_path_factory.mktemp("json") / "report.json"
    write_json(made, path)
    read = read_json(path)
    assert repr(read) == repr(made)
    write_json(read, path.with_name("again.json"))
    assert path.read_bytes() == path.with_name("again.json").read_bytes()


def test_json_is_strict(tmp_path: Path) -> None:
    """Other programs can read it: no bare NaN or Infinity, which JSON does not have."""
    odd = ClipScores("a", {"abs_rel": nan, "rmse": inf, "log_scale": -inf}, (), ((nan, 1.0),))
    write_json(evaluation(odd), tmp_path / "report.json")
    read = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert read["clips"][0]["values"] == {"abs_rel": None, "rmse": "inf", "log_scale": "-inf"}
    assert read["clips"][0]["fits"] == [[None, 1.0]]


def test_json_tells_the_means_to_other_programs(tmp_path: Path) -> None:
    write_json(evaluation(errors("a", 0.1, 0.3), errors("b", 0.4)), tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["mean"]["abs_rel"] == pytest.approx(0.3)


def test_provenance_of_python_becomes_that_of_json(tmp_path: Path) -> None:
    write_json(evaluation(provenance={"path": Path("a/b"), "pair": (1, 2)}), tmp_path / "report.json")
    assert read_json(tmp_path / "report.json").provenance == {"path": "a/b", "pair": [1, 2]}


def edited(**changes: object) -> Callable[[dict[str, object]], object]:
    return lambda document: document | changes


def first_clip(**changes: object) -> Callable[[dict[str, object]], object]:
    def edit(document: dict[str, object]) -> object:
        first, *others = document["clips"]  # type: ignore[misc]
        return document | {"clips": [first | changes, *others]}

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (edited(format="recon depth store"), "is no report of recon eval"),
        (edited(version=VERSION + 1), "a newer recon wrote this report"),
        (edited(clips=None), "clips: Input should be a valid"),
        (edited(color="red"), "color: Extra inputs are not permitted"),
        (first_clip(values={"abs_rel": "0.1"}), "clips.0.values.abs_rel: Input should be a valid number"),
        (first_clip(values={"psnr_of_2031": 0.1}), "this recon knows no such measure: update it"),
        (first_clip(name='drive | "2", <b>x</b>'), "is there twice"),
        (first_clip(fits=[[1.0]]), "clips.0.fits.0.1: Field required"),
        (lambda _: [], "Input should be an object"),
        (lambda _: {"a": 1}, "format: Field required"),
    ],
)
def test_what_is_no_report_is_refused_in_one_line(
    tmp_path: Path, edit: Callable[[dict[str, object]], object], says: str
) -> None:
    path = tmp_path / "report.json"
    write_json(small(), path)
    path.write_text(json.dumps(edit(json.loads(path.read_text("utf-8")))), "utf-8")
    with pytest.raises(FormatError) as caught:
        read_json(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_frame_stands_once(tmp_path: Path) -> None:
    twice = ClipScores("a", {}, (frame(1), frame(1)), ())
    with pytest.raises(ValueError, match="is there twice"):
        write_json(evaluation(twice), tmp_path / "report.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_report_that_was_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "report.json"
    write_json(small(), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(FormatError, match="Invalid JSON"):
        read_json(path)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_report_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(FormatError, match=r"cannot be read \(.*\): give the report.json"):
        read_json(tmp_path / name)


# --- CSV ---------------------------------------------------------------------------------------------------------


def test_csv_is_what_it_was(tmp_path: Path, snapshot: object) -> None:
    write_csv(small(), tmp_path / "frames.csv")
    assert (tmp_path / "frames.csv").read_bytes().decode() == snapshot


@given(plain=plain_evaluations())
def test_csv_holds_every_frame(plain: Facts, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = built(plain)
    path = tmp_path_factory.mktemp("csv") / "frames.csv"
    write_csv(made, path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    frames = [(clip.name, frame) for clip in made.clips for frame in clip.frames]
    assert [(row["clip"], row["name"], int(row["frame"]), int(row["valid"])) for row in rows] == [
        (name, frame.name, frame.index, frame.valid) for name, frame in frames
    ]
    for row, (_, each) in zip(rows, frames, strict=True):
        known = {key: value for key, value in each.values.items() if not isnan(value)}
        assert {key: float(row[key]) for key in row if key in MEASURES and row[key]} == known


# --- Markdown ----------------------------------------------------------------------------------------------------


def test_markdown_is_what_it_was(snapshot: object) -> None:
    assert before_meanings(markdown(small())) == snapshot


def test_markdown_says_what_the_columns_mean(tmp_path: Path) -> None:
    write_markdown(small(), tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text("utf-8")
    assert text == markdown(small())
    told = [line.split("**")[1] for line in text.splitlines() if line.startswith("- **")]
    assert told == ["AbsRel", "delta1", "TAE", "boundary F1", "scale wander", "drift %/min"]


def test_names_cannot_break_a_table() -> None:
    text = markdown(evaluation(errors("a | b\n| c `", 0.1), method="<script>", dataset="_x_"))
    assert text.startswith("# \\<script\\> on \\_x\\_\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows[2] == "| a \\| b \\| c \\` | 1 | 0.100 |"


def test_an_evaluation_of_nothing() -> None:
    assert before_meanings(markdown(evaluation())).endswith("| clip | frames |\n| :-- | --: |\n| **mean** | **0** |\n")


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("abs_rel", 0.12345, "0.123"),
        ("drift", 1.005, "1.00"),
        ("drift", -1.25, "-1.25"),
        ("log_scale", -0.0004, "0.000"),
        ("rmse", nan, "-"),
        ("rmse", inf, "inf"),
    ],
)
def test_numbers_are_shown_with_the_digits_of_their_measure(key: str, value: float, text: str) -> None:
    assert shown(MEASURES[key], {key: value}) == text
    assert shown(MEASURES[key], {}) == "-"


def test_headings_say_which_way_is_better() -> None:
    assert [heading(MEASURES[key]) for key in ("abs_rel", "delta1", "drift")] == [
        "AbsRel ↓",
        "delta1 ↑",
        "drift %/min →0",
    ]


def test_measures_without_a_number_have_no_column() -> None:
    assert [each.key for each in applying([{"tae": nan, "rmse": 1.0}, {"abs_rel": 0.1}])] == ["abs_rel", "rmse"]


def test_every_protocol_is_explained() -> None:
    assert "without the defects" in rules_of("corrected")
    assert "their defects included" in rules_of("vda-released")
    assert rules_of("mine") == "Protocol mine."


# --- comparison --------------------------------------------------------------------------------------------------


def test_comparison_is_what_it_was(snapshot: object) -> None:
    two = evaluation(errors("a", 0.1, 0.3), errors("b", 0.2), method="two|3", provenance={"recon": "0.2.0"})
    other = evaluation(errors("a", 0.5), method="other", dataset="bonn")
    one = evaluation(errors("a", 0.1, 0.2), errors("c", 0.9), method="one")
    assert before_meanings(comparison([one, two, other])) == snapshot


def test_the_best_is_bold_and_so_are_ties() -> None:
    group = [
        evaluation(errors("a", value), method=name) for name, value in zip("abc", (0.1001, 0.2, 0.0999), strict=True)
    ]
    lines = comparison(group).splitlines()
    assert [line for line in lines if line.startswith("| ")][2:] == [
        "| a | **0.100** |",
        "| b | 0.200 |",
        "| c | **0.100** |",
    ]


# --- all of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [write_json, write_csv, write_markdown])
def test_an_earlier_report_stays_until_the_new_one_is_whole(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report"
    write(small(), path)
    before = path.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recon.files.flush", killed)
    with pytest.raises(KeyboardInterrupt):
        write(evaluation(errors("a", 0.5)), path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["report"]
