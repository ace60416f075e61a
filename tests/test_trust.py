"""Whether lengths can be trusted: every rule, on both sides of its limit."""

from dataclasses import replace
from math import inf, nan

import pytest
from reports import CAMERA_KNOWN, anchor, picture, report, shot

from recon.evaluation.trust import (
    AnchorReport,
    Finding,
    ShotReport,
    camera_findings,
    findings_of,
    percent,
    shot_findings,
    worst,
)

STEADY = {"drift": 0.0, "gap": 0.0}


def test_a_good_anchor_is_trusted() -> None:
    assert findings_of(report()) == []
    assert worst([]) == "yes"


@pytest.mark.parametrize(
    ("changes", "just_right", "doubtful", "no", "says"),
    [
        ({}, {"inlier_ratio": 0.75}, {"inlier_ratio": 0.74}, {"inlier_ratio": 0.59}, "% of the 49679 anchored places"),
        ({}, {"places": 100}, {"places": 99}, {"places": 19}, "there are only"),
        ({}, {"mismatch": 0.15}, {"mismatch": 0.16}, {"mismatch": 0.26}, "does the anchor belong to this video?"),
        ({}, {"misordered": 0.1}, {"misordered": 0.11}, {"misordered": 0.26}, "near and far are in another order"),
        ({}, {"levels": 2.0}, {"levels": 2.1}, {"levels": 3.1}, "changes by a factor of"),
        ({}, {"off": 0.2}, {"off": 0.21}, {"off": 0.41}, "off as a whole: they differ from the others by more than"),
        (STEADY, {"length_sigma": 0.1}, {"length_sigma": 0.11}, {"length_sigma": 0.26}, "lengths are uncertain by"),
        (
            STEADY | {"length_sigma": 0.08},
            {"unit_sigma": 0.06},
            {"unit_sigma": 0.07},
            {"unit_sigma": 0.24},
            "uncertain",
        ),
        ({"drift": 0.05}, {"gap": 3.9}, {"gap": 4.1}, {"gap": 26.0}, " s from the nearest anchored frame"),
        ({}, {"depth": 0.1}, {"depth": 0.09}, {}, "is the anchor in metres"),
        ({}, {"depth": 500.0}, {"depth": 501.0}, {}, "is the anchor in metres"),
    ],
)
def test_limits_of_an_anchor(
    changes: dict[str, float],
    just_right: dict[str, float],
    doubtful: dict[str, float],
    no: dict[str, float],
    says: str,
) -> None:
    """At its limit a figure is still right; a little beyond it, it is doubtful, and far beyond not to be trusted."""
    usual = replace(anchor(), **changes)
    assert anchored(replace(usual, **just_right)) == []
    for figures, trust in ((doubtful, "doubtful"), *(((no, "no"),) if no else ())):
        (finding,) = anchored(replace(usual, **figures))
        assert finding.trust == trust
        assert says in finding.reason


def anchored(figures: AnchorReport) -> list[Finding]:
    return shot_findings(replace(shot(), units="metres", anchor=figures))


@pytest.mark.parametrize(
    ("drift", "gap", "far"), [(0.05, 0.0, 0.01), (0.05, 4.0, 0.1005), (nan, 4.0, 0.1204), (inf, 4.0, 0.1204)]
)
def test_far_from_an_anchor_lengths_are_uncertain_by_the_drift(drift: float, gap: float, far: float) -> None:
    """It goes with the root of time; where nothing measured it, as it usually is."""
    assert replace(anchor(), length_sigma=0.01, drift=drift, gap=gap).far_sigma == pytest.approx(far, abs=5e-5)


@pytest.mark.parametrize("name", ["misordered", "levels", "off", "drift"])
def test_what_is_not_known_is_no_reason(name: str) -> None:
    """Of few pictures, shares and spread say nothing."""
    assert anchored(replace(anchor(), **{name: nan})) == []


@pytest.mark.parametrize(
    ("name", "says"), [("length_sigma", "how far lengths may be off"), ("unit_sigma", "the anchor's unit itself")]
)
def test_an_uncertainty_that_is_not_known_is_told(name: str, says: str) -> None:
    (finding,) = anchored(replace(anchor(), **{name: nan}))
    assert finding.trust == "doubtful"
    assert says in finding.reason


def test_an_anchor_that_no_line_can_follow_is_not_trusted() -> None:
    (finding,) = anchored(replace(anchor(), drift=inf))
    assert finding.trust == "no"
    assert "what is near to the anchor is far in the depth maps" in finding.reason


@pytest.mark.parametrize(("gap", "pictures", "count"), [(2.7, 1, 0), (2.8, 1, 1), (2.7, 2, 0)])
def test_a_single_anchored_frame_says_nothing_of_what_comes_long_after_it(
    gap: float, pictures: int, count: int
) -> None:
    seen = tuple(picture(time=1.5) for _ in range(pictures))
    found = anchored(replace(anchor(), pictures=pictures, seen=seen, gap=gap, drift=nan))
    told = "only the frame at 1.50 s is anchored: networks may drift by 10 % in the 2.8 s beyond it, and nothing here "
    told += "measures it"
    assert [each.reason for each in found] == [told] * count


@pytest.mark.parametrize(
    ("jump", "usual", "count"), [(0.05, 0.001, 0), (0.06, 0.019, 1), (0.06, 0.021, 0), (0.06, nan, 1), (nan, 0.01, 0)]
)
def test_jumps_at_seams_count_where_they_are_unusual(jump: float, usual: float, count: int) -> None:
    found = shot_findings(replace(shot(), seam_jump=jump, seam_usual=usual))
    assert [each.trust for each in found] == ["doubtful"] * count


@pytest.mark.parametrize(
    ("basis", "trust"), [("anchor", "yes"), ("given maps", "yes"), ("network", "doubtful"), ("nothing", "no")]
)
def test_what_lengths_stand_on(basis: str, trust: str) -> None:
    made = replace(shot(), basis=basis, anchor=anchor() if basis == "anchor" else None)  # type: ignore[arg-type]
    assert worst(shot_findings(made)) == trust


@pytest.mark.parametrize(
    ("spread", "assumed", "count"), [(None, False, 0), (3.0, False, 0), (3.1, False, 1), (None, True, 1)]
)
def test_a_camera_that_is_not_known(spread: float | None, assumed: bool, count: int) -> None:  # noqa: FBT001 - a table
    found = camera_findings(replace(CAMERA_KNOWN, fov=60.0, spread=spread, assumed=assumed))
    assert [each.trust for each in found] == ["doubtful"] * count


def test_the_gravest_reason_comes_first_and_shots_are_named_where_there_are_several() -> None:
    bad = replace(shot(), number=1, basis="nothing", anchor=None)
    made = report(shot(), bad, camera=replace(CAMERA_KNOWN, assumed=True))
    found = findings_of(made)
    assert [each.trust for each in found] == ["no", "doubtful"]
    assert found[0].reason.startswith("shot 1: there is no anchor")
    assert worst(found) == "no"
    assert "shot" not in findings_of(report(replace(bad, number=0)))[0].reason


def test_frames_that_were_left_out_are_told() -> None:
    left_out: ShotReport = replace(shot(), basis="nothing", anchor=None, used=False, origin="no unit")
    (finding,) = findings_of(report(shot(), left_out))
    assert finding == Finding("doubtful", "150 of 300 frames are left out (shot at 0.00 s): no unit")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.0 %"), (0.0123, "1.2 %"), (-0.058, "-5.8 %"), (0.0996, "10 %"), (0.45, "45 %"), (2.15, "215 %")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
    assert percent(nan) == "an unknown part"


@pytest.mark.parametrize(("without_pose", "findings"), [(15, 0), (16, 1)])
def test_a_run_that_misses_many_poses_is_doubtful(without_pose: int, findings: int) -> None:
    found = findings_of(replace(report(), without_pose=without_pose))
    assert [each.trust for each in found] == ["doubtful"] * findings
    assert all("16 of 150 frames have no pose" in each.reason for each in found)
