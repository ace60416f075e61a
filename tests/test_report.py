"""What a run says of itself: gathered from maps and fits made by hand, in JSON, on a page, and in the terminal."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, isnan, nan
from pathlib import Path

import cv2
import numpy as np
import pytest
from reports import CAMERA_KNOWN, anchor, picture, report, shot
from syrupy.assertion import SnapshotAssertion
from test_eval_page import EVIL, Page
from test_pipelines import CAMERA, FIRST, POSES, ROOM, network, pointcloud, views  # noqa: F401 - fixtures

from recon.evaluation.trust import RunReport, ShotReport
from recon.fitting import Line
from recon.io.sparse import read_sparse
from recon.io.store import ShotSpan
from recon.models.choose import choose_network
from recon.pipelines.metres import Gauge
from recon.pipelines.report import POINTS, document, rows, shot_report, thinned, write_report
from recon.settings import NetworkSettings
from recon.smoothing import LineCurve
from recon.stages.agreement import agreements
from recon.stages.align import fit_shot
from recon.stages.anchors import from_sparse
from recon.stages.disparity import OVERLAP, STEP, WINDOW
from recon.types import Correspondences, DepthEstimate, Quantity

# --- gathered ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flat:
    """A shot at 10 frames a second whose disparity is one number in each frame."""

    level: Callable[[int], float]
    frames: int = 90
    quantity: Quantity = "disparity"

    @property
    def frame_count(self) -> int:
        return self.frames

    @property
    def shots(self) -> Sequence[ShotSpan]:
        return [ShotSpan(0, 0, self.frames)]

    def estimates(self, start: int = 0) -> Iterator[DepthEstimate]:
        for index in range(start, self.frames):
            yield DepthEstimate(index, index / 10, 0, np.full((4, 5), self.level(index), np.float32))


def gathered(maps: Flat, gauge: Gauge, *, windows: bool = False, given: bool = False) -> ShotReport:
    return shot_report(maps, maps.shots[0], gauge, given=given, windows=windows)


STEADY = Gauge(LineCurve.constant(Line(2.0, 0.5)), "relative", "no anchor", None)


def test_a_line_that_stays_is_drawn_over_the_whole_shot() -> None:
    made = gathered(Flat(lambda _: 1.0), STEADY)
    assert [(point.time, point.scale, point.shift) for point in made.curve] == [(0.0, 2.0, 0.5), (8.9, 2.0, 0.5)]
    assert (made.smooth, made.anchor, made.seams) == ((), None, ())


@pytest.mark.parametrize(
    ("units", "given", "basis"),
    [("relative", False, "nothing"), ("metres", False, "network"), ("metres", True, "given maps")],
)
def test_what_lengths_stand_on_without_an_anchor(units: str, given: bool, basis: str) -> None:  # noqa: FBT001
    gauge = replace(STEADY, units=units)  # type: ignore[type-var]
    assert gathered(Flat(lambda _: 1.0), gauge, given=given).basis == basis


def test_a_jump_at_a_seam_is_found_and_what_goes_on_evenly_is_not() -> None:
    """Windows meet at frames 25 to 31, 47 to 53 and 69 to 75 of 90; the second window is 20 % nearer."""
    first_seam = STEP + WINDOW - STEP - OVERLAP + 1
    jump = gathered(Flat(lambda index: 1.2 if index >= 28 else 1.0), replace(STEADY, curve=unit_line()), windows=True)
    assert first_seam == 25
    assert [seam.time for seam in jump.seams] == pytest.approx([2.4, 4.6, 6.8])
    assert [seam.change for seam in jump.seams] == pytest.approx([0.2, 0, 0], abs=1e-6)
    even = gathered(Flat(lambda index: 1.01**index), replace(STEADY, curve=unit_line()), windows=True)
    assert even.seam_jump == pytest.approx(1.01**7 - 1, abs=1e-5)
    assert even.seam_usual == pytest.approx(even.seam_jump, abs=1e-5)


def unit_line() -> LineCurve:
    return LineCurve.constant(Line(1.0, 0.0))


def test_a_single_window_has_no_seams_and_the_last_one_may_have_nothing_after_it() -> None:
    assert gathered(Flat(lambda _: 1.0, frames=32), STEADY, windows=True).seams == ()
    (seam,) = gathered(Flat(lambda _: 1.0, frames=36), STEADY, windows=True).seams
    assert isnan(seam.after)


def seen_pictures(scales: Sequence[float], *, places: int = 40, seed: int = 0) -> list[Correspondences]:
    """Pictures, ten a second, in which inverse depth is 2 + scale * (disparity - 2); each leaves one place out."""
    random = np.random.default_rng(seed)
    pictures = []
    for number, scale in enumerate(scales):
        x = random.uniform(1, 3, places)
        y = 2 + scale * (x - 2) + random.normal(0, 0.01, places)
        pictures.append(Correspondences(x, y, np.ones(places), number / 10, left_out=1))
    return pictures


def anchored(seen: Sequence[Correspondences], maps: Flat | None = None) -> ShotReport:
    fit = fit_shot(seen)
    gauge = Gauge(fit.own, "metres", "landmarks", fit, agreements(seen, fit))
    return gathered(maps or Flat(lambda _: 1.0), gauge)


def test_pictures_are_told_one_by_one() -> None:
    pictures = seen_pictures([1.0] * 40)
    pictures[15] = replace(pictures[15], inverse_depth=pictures[15].inverse_depth * 1.03)
    pictures[20] = replace(pictures[20], inverse_depth=pictures[20].inverse_depth * 1.5)
    pictures[30] = replace(pictures[30], inverse_depth=pictures[30].inverse_depth[::-1].copy())
    found = anchored(pictures).anchor
    assert found is not None
    assert (found.pictures, found.places, found.left_out) == (40, 1600, 40)
    assert [each.time for each in found.rejected] == [1.5, 2.0, 3.0]
    off, far_off, unordered = found.rejected
    assert off.weight < 0.5
    assert off.level == pytest.approx(0.03, abs=0.005)
    assert off.outliers < 20
    assert (far_off.outliers, far_off.places) == (40, 40)
    assert abs(unordered.order) < 0.3
    others = [each for each in found.seen if each.time not in {1.5, 2.0, 3.0}]
    assert all(each.order > 0.99 and each.weight > 0.5 and abs(each.level) < 0.01 for each in others)
    assert (found.misordered, found.off) == (1 / 40, 3 / 40)
    assert found.mismatch == pytest.approx(0.0067 / 2, rel=0.1)


def test_few_pictures_have_no_shares() -> None:
    found = anchored(seen_pictures([1.0, 1.02, 1.01, 1.0])).anchor
    assert found is not None
    assert all(map(isnan, (found.misordered, found.off, found.levels)))


def test_a_scale_that_changes_is_a_spread_of_levels() -> None:
    pictures = seen_pictures([1.0] * 21)
    grown = [replace(each, inverse_depth=each.inverse_depth * (1 + each.time / 2)) for each in pictures]
    found = anchored(grown).anchor
    assert found is not None
    assert found.levels == pytest.approx(1.95 / 1.05, rel=0.02)


def test_an_anchor_turned_inside_out_for_a_time_is_told_and_not_followed() -> None:
    """What a structure from motion does that reprojects well and is wrong: near and far swap."""
    made = anchored(seen_pictures([*np.linspace(-0.6, 0.9, 30), *[1.0] * 20]))
    assert made.anchor is not None
    assert made.anchor.drift == inf
    assert made.anchor.misordered == pytest.approx(13 / 50, abs=0.05)
    assert len({point.scale for point in made.curve}) == 1
    facts = document(report(made))
    assert facts["trust"] == "no"
    assert facts["shots"][0]["anchor"]["drift"] == "inf"


@pytest.mark.parametrize(
    ("times", "gap"), [([0.0], 8.9), ([8.9], 8.9), ([4.0], 4.9), ([0.0, 8.0], 4.0), ([1.0, 3.0, 4.0], 4.9)]
)
def test_how_far_frames_are_from_an_anchored_one(times: list[float], gap: float) -> None:
    pictures = [replace(each, time=time) for each, time in zip(seen_pictures([1.0] * 9), times, strict=False)]
    found = anchored(pictures).anchor
    assert found is not None
    assert found.gap == pytest.approx(gap)


def test_long_curves_are_thinned_to_their_ends() -> None:
    kept = thinned(range(100_000))
    assert (len(kept), kept[0], kept[-1]) == (POINTS, 0, 99_999)
    assert thinned(range(POINTS)) == tuple(range(POINTS))


# --- JSON --------------------------------------------------------------------------------------------------------


def made_files(tmp_path: Path, made: RunReport) -> tuple[str, str]:
    paths = tmp_path / "a.report.json", tmp_path / "a.report.html"
    write_report(made, *paths)
    return paths[0].read_text("utf-8"), paths[1].read_text("utf-8")


def test_the_json_file_is_what_it_was(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    """The format is promised: whoever changes it raises its version."""
    text, _page = made_files(tmp_path, report())
    assert text == snapshot
    assert list(json.loads(text))[:4] == ["format", "version", "trust", "reasons"]


def test_the_json_file_tells_the_reasons_of_each_shot(tmp_path: Path) -> None:
    bad = replace(shot(), number=1, anchor=replace(anchor(), mismatch=0.4))
    facts = json.loads(made_files(tmp_path, report(shot(), bad))[0])
    assert facts["trust"] == "no"
    assert facts["reasons"][0].startswith("shot 1: the anchor and the depth are 40 % apart")
    assert [each["trust"] for each in facts["shots"]] == ["yes", "no"]
    assert [len(each["reasons"]) for each in facts["shots"]] == [0, 1]


def test_a_file_that_cannot_be_written_leaves_the_old_ones(tmp_path: Path) -> None:
    (tmp_path / "a.report.json").write_text("old")
    broken = replace(report(), source="\ud800")  # half a letter, as in a name that is no text
    with pytest.raises(UnicodeEncodeError):
        write_report(broken, tmp_path / "a.report.json", tmp_path / "a.report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.report.json"]
    assert (tmp_path / "a.report.json").read_text() == "old"


# --- page --------------------------------------------------------------------------------------------------------


def test_the_page_says_all_there_is_to_say(tmp_path: Path) -> None:
    page = Page(made_files(tmp_path, report())[1])
    assert page.all("h1") == ["kitchen.mp4"]
    heads = ["What it stands on", "The shot", "Over time", "Anchored frames to doubt", "What the numbers mean"]
    assert page.all("h2") == heads
    assert page.all("dd") == ["± 1.7 %", "5.5 %", "49,679", "50", "99 %", "5.5 %"]
    assert "Its lengths can be trusted." in page.text
    drawn = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert drawn == ["scale(t)", "shift(t)", "frames from the smooth curve", "apart in each frame",
                     "order of near and far", "change at seams"]  # fmt: skip
    assert "off as a whole, near and far in another order" in page.text
    assert ("meta", {"name": "generator", "content": "recon"}) in page.elements


def test_the_page_says_why_not(tmp_path: Path) -> None:
    bad = replace(shot(), anchor=replace(anchor(), misordered=0.38))
    page = Page(made_files(tmp_path, report(bad, camera=replace(CAMERA_KNOWN, assumed=True)))[1])
    reasons = [text for text in page.all("li") if text.strip()]
    assert reasons[0].startswith("In 38 % of the 50 anchored frames near and far are in another order")
    assert reasons[1] == "The field of view (63 degrees) is assumed: give --fov or --intrinsics."
    assert "Its lengths are not to be trusted." in page.text


def test_sigma_is_a_band_around_each_curve(tmp_path: Path) -> None:
    text = made_files(tmp_path, report())[1]
    assert text.count('opacity="0.18"/>') == 6 + 4, "six grids, and a band for each of two curves of scale and shift"


def test_nothing_on_the_page_is_taken_for_markup(tmp_path: Path) -> None:
    evil = replace(
        report(replace(shot(), origin=EVIL), camera=replace(CAMERA_KNOWN, origin=EVIL)),
        source=EVIL,
        depth=EVIL,
        poses=EVIL,
        recon=EVIL,
        results=((EVIL, EVIL),),
    )
    text = made_files(tmp_path, evil)[1]
    page = Page(text)
    assert "<script" not in text
    assert "img" not in {tag for tag, _attributes in page.elements}
    assert not any(name.startswith("on") for _tag, attributes in page.elements for name in attributes)
    assert page.all("h1") == [EVIL]
    assert not {"src", "href"} & {name for _tag, attributes in page.elements for name in attributes}


def test_a_film_of_many_shots_has_the_curves_of_the_most_doubtful_ones(tmp_path: Path) -> None:
    shots = [replace(shot(), number=number, start=5.0 * number, end=5.0 * number + 4.9) for number in range(60)]
    shots[50] = replace(shots[50], anchor=replace(anchor(), mismatch=0.9))
    shots[51] = replace(shots[51], used=False, anchor=None)
    page = Page(made_files(tmp_path, report(*shots))[1])
    folded = [text.strip() for text in page.all("summary") if text.strip()]
    assert (len(folded), folded[:2]) == (24, ["shot 50", "shot 0"])
    assert "Curves of 36 further shots stand in the JSON file." in page.text
    assert page.all("h2")[1] == "Shots"
    assert "left out" in page.all("td")


# --- terminal ----------------------------------------------------------------------------------------------------


def test_rows_for_a_terminal() -> None:
    assert rows(report()) == [
        ("lengths to be trusted", "yes"),
        ("lengths", "+- 1.7 % (1.0 % in anchored frames)"),
        (
            "anchor",
            "49,679 places in 50 frames, 22.8 SLAM units away in the middle; 99 % agree, 5.5 % apart in the middle",
        ),
    ]


def test_a_terminal_shows_a_few_reasons_and_a_few_shots() -> None:
    bad = replace(anchor(), mismatch=0.9)
    made = rows(report(*(replace(shot(), number=number, anchor=bad) for number in range(20))))
    assert made[0] == ("lengths to be trusted", "NO")
    assert made[7] == ("", "and 14 further reasons")
    assert [label for label, _text in made[8:]] == [
        *(f"shot {number} {name}" for number in range(3) for name in ("lengths", "anchor")),
        "",
    ]
    assert made[-1][1] == "17 further shots: see the report"


def test_a_single_frame_tells_of_itself_alone() -> None:
    single = replace(anchor(), pictures=1, seen=(picture(),), drift=nan, scatter=nan)
    told = dict(rows(report(replace(shot(), anchor=single))))
    assert told["lengths"] == "+- 1.8 % (1.0 % in anchored frames)"
    assert "places in 1 frame," in told["anchor"]


# --- whole runs --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("network")
def test_a_run_writes_both_files(tmp_path: Path) -> None:
    """The room, in windows that meet without a jump, with metric depth of its first frame."""
    assert pointcloud(tmp_path / "room.ply", *POSES, *CAMERA, *FIRST, "--voxel", "0.05") == 0
    facts = json.loads((tmp_path / "room.ply.report.json").read_text("utf-8"))
    doubt = "networks may drift by 10 % in the 3.0 s beyond it, and nothing here measures it"
    assert facts["reasons"] == [f"only the frame at 0.00 s is anchored: {doubt}"]
    assert (facts["format"], facts["trust"]) == ("recon report", "doubtful")
    assert (facts["without_pose"], facts["frames"], facts["results"][0][0]) == (0, 60, "room.ply")
    (only,) = facts["shots"]
    assert (only["units"], only["basis"], only["anchor"]["pictures"]) == ("metres", "anchor", 1)
    assert only["anchor"]["gap"] == pytest.approx(2.95)
    assert len(only["seams"]) == 2
    assert only["seam_jump"] < 0.05
    assert Page((tmp_path / "room.ply.report.html").read_text("utf-8")).all("h1") == ["room.mp4"]


def test_a_report_of_somebody_else_is_not_overwritten(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Before any work is done; one of recon's own is replaced."""
    depth = ("--depth", str(ROOM / "depth"), "--end", "0.1", "--voxel", "0.1", "--static")
    page = tmp_path / "room.ply.report.html"
    page.write_text("my own thoughts")
    assert pointcloud(tmp_path / "room.ply", *depth, *CAMERA) == 2
    assert "room.ply.report.html: is there already and was not made by recon" in capfd.readouterr().err
    assert page.read_text() == "my own thoughts"
    assert pointcloud(tmp_path / "room.ply", *depth, *CAMERA, "--overwrite") == 0
    assert pointcloud(tmp_path / "room.ply", *depth, *CAMERA) == 0
    assert "room.mp4" in page.read_text("utf-8")
    page.unlink()
    page.mkdir()
    assert pointcloud(tmp_path / "room.ply", *depth, *CAMERA, "--overwrite") == 2


# --- real maps ---------------------------------------------------------------------------------------------------

SPARSE = {"hololens_dvmvs_a": ("sfm_colmap_txt", "images"), "tartanair_hospital_a": ("sfm_colmap_txt", "image_left")}


def real_report(shared: Path, weights: Path, clip: str, every: int) -> ShotReport:
    """A sparse map of a real clip against the depth of a network that sees each picture alone."""
    model, pictures = SPARSE[clip]
    files = sorted((shared / "data" / clip / pictures).iterdir())[::every]
    names = {path.name.split(".")[0]: number / 10 for number, path in enumerate(files)}
    points = read_sparse(shared / "data" / clip / model, times_by_name=names, rate=None)
    eye = choose_network(NetworkSettings(weights=weights, input_size=280, device="cpu"))
    seen = []
    for number, path in enumerate(files):
        rgb = cv2.cvtColor(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        values = eye.decode(eye.encode([rgb]), eye.output_size(*rgb.shape[:2]))[0]
        seen.append(from_sparse(points, number / 10, values))
    return anchored([each for each in seen if len(each.disparity)], Flat(lambda _: 1.0, len(files)))


@pytest.mark.shared
def test_a_map_that_reprojects_well_but_is_wrong_is_not_trusted(shared: Path, vits_weights: Path) -> None:
    """TartanAir's hospital: 0.44 px of reprojection error, and 30 % of error in depth (NOTES.md beside it)."""
    made = real_report(shared, vits_weights, "tartanair_hospital_a", 8)
    facts = document(report(made))
    assert facts["trust"] == "no"
    assert any("near and far are in another order" in reason for reason in facts["reasons"])


@pytest.mark.shared
def test_a_good_map_is_trusted(shared: Path, vits_weights: Path) -> None:
    """HoloLens: 1 % of error in depth."""
    made = real_report(shared, vits_weights, "hololens_dvmvs_a", 5)
    assert document(report(made))["trust"] == "yes"
