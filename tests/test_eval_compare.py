"""Methods side by side: over what is common, by hand-made numbers."""

from dataclasses import replace
from math import inf, nan

import pytest
from evaluations import clip, errors, evaluation, frame, small
from hypothesis import given
from hypothesis import strategies as st

from recon.evaluation.compare import Comparison, best_rows, compare, method_names
from recon.evaluation.measures import MEASURES, Evaluation


def only(*evaluations: Evaluation) -> Comparison:
    (group,) = compare(evaluations)
    return group


def column(group: Comparison, key: str) -> list[float]:
    return [values.get(key, nan) for values in group.values]


# --- the best ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "values", "best"),
    [
        ("abs_rel", [0.1, 0.2], {0}),
        ("delta1", [0.1, 0.2], {1}),
        ("drift", [-0.1, 0.2, -3], {0}),
        ("drift", [-0.1, 0.1], {0, 1}),
        ("abs_rel", [0.1001, 0.0999, 0.101], {0, 1}),
        ("abs_rel", [nan, 0.2, 0.3], {1}),
        ("delta1", [inf, 0.2, 0.3], {2}),
        ("abs_rel", [nan, 0.2], set()),
        ("abs_rel", [nan, nan], set()),
        ("abs_rel", [0.2], set()),
        ("abs_rel", [], set()),
    ],
)
def test_best(key: str, values: list[float], best: set[int]) -> None:
    """By the digits that are shown; nobody is best alone."""
    assert best_rows(MEASURES[key], list(map(float, values))) == best


# --- over what is common -----------------------------------------------------------------------------------------


def test_where_all_have_all_the_numbers_are_those_of_the_reports() -> None:
    """Exactly those, not computed anew: a clip's number may be more than the mean of its frames."""
    odd = replace(errors("a", 0.1, 0.2), values={"abs_rel": 0.123456789})
    one, two = evaluation(odd), evaluation(errors("a", 0.3, 0.4))
    group = only(one, two)
    assert column(group, "abs_rel") == [0.123456789, two.values["abs_rel"]]
    assert group.notes == ("1 clip with 2 frames, the same for every method.",)


def test_other_clips_do_not_count() -> None:
    one = evaluation(errors("a", 0.1), errors("b", 0.9), method="one")
    two = evaluation(errors("c", 0.9), errors("a", 0.2), method="two")
    group = only(one, two)
    assert column(group, "abs_rel") == [0.1, 0.2]
    (note,) = group.notes
    assert note == (
        "Compared over the 1 clip with 1 frame that all methods have (one has 2 clips with 2 frames; two has 2 clips "
        "with 2 frames). Left out: b, c."
    )


def test_other_frames_do_not_count() -> None:
    """And what belongs to the clip as a whole is not compared: it cannot be told from a part of the frames."""
    one = evaluation(clip("a", [frame(0, abs_rel=0.1), frame(1, abs_rel=0.3), frame(2, abs_rel=0.9)]))
    two = evaluation(clip("a", [frame(1, abs_rel=0.2), frame(0, abs_rel=0.6), frame(7, abs_rel=0.0)]))
    group = only(one, two)
    assert column(group, "abs_rel") == pytest.approx([0.2, 0.4])
    assert column(group, "wander") == pytest.approx([nan, nan], nan_ok=True)
    assert [each.index for each in group.clips[0].scores[1].frames] == [0, 1]
    assert "1 clip with 2 frames" in group.notes[0]
    assert "Scale and shift were still fitted over all frames" in group.notes[0]


def test_a_frame_is_known_by_number_and_name() -> None:
    """The first frames of two selections are not the same picture."""
    one = evaluation(clip("a", [frame(0, abs_rel=0.1)]))
    two = evaluation(clip("a", [replace(frame(0, abs_rel=0.2), name="000005")]))
    group = only(one, two)
    assert group.clips == ()
    assert group.values == ({}, {})
    assert group.notes[0] == "No frame is common to all methods: nothing can be compared."


def test_a_hole_of_one_counts_for_none() -> None:
    """Else who gives up where it is hard would win."""
    brave = evaluation(errors("a", 0.1, 0.9), errors("b", 0.2), method="brave")
    shy = evaluation(errors("a", 0.15, nan), errors("b", 0.2), method="shy")
    assert shy.values["abs_rel"] < brave.values["abs_rel"]
    group = only(brave, shy)
    assert column(group, "abs_rel") == pytest.approx([(0.1 + 0.2) / 2, (0.15 + 0.2) / 2])
    assert group.notes[1:] == ("Where one of the methods lacks a number, that frame or clip counts for none: AbsRel.",)


def test_a_clip_without_a_number_counts_for_none() -> None:
    wander = [{"wander": 0.1}, {"wander": 0.5}], [{"wander": 0.2}, {"wander": nan}]
    one, two = (
        evaluation(*(clip(name, [frame(0)], whole) for name, whole in zip("ab", wholes, strict=True)))
        for wholes in wander
    )
    assert column(only(one, two), "wander") == [0.1, 0.2]


def test_a_relative_method_takes_no_part_in_metres() -> None:
    metric = evaluation(
        clip("a", [frame(0, abs_rel=0.1, metric_abs_rel=0.2), frame(1, abs_rel=0.1, metric_abs_rel=0.4)])
    )
    relative = evaluation(clip("a", [frame(0, abs_rel=0.1, metric_abs_rel=nan), frame(1, abs_rel=0.1)]))
    group = only(metric, relative)
    assert column(group, "metric_abs_rel") == pytest.approx([0.3, nan], nan_ok=True)
    assert "metric_abs_rel" not in group.values[1]
    assert len(group.notes) == 1


def test_what_nobody_knows_is_no_gap() -> None:
    """The first frame has no neighbour before it, whatever the method."""
    group = only(small(), small())
    assert column(group, "tae") == [small().values["tae"]] * 2
    assert len(group.notes) == 1


def test_clips_without_frames_are_compared() -> None:
    """A trajectory has none."""
    one, two = (evaluation(clip("a", [], {"drift": value})) for value in (1.0, 2.0))
    assert column(only(one, two), "drift") == [1.0, 2.0]


@given(values=st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=4), wild=st.floats(0, 9))
def test_only_what_is_common_matters(values: list[list[float]], wild: float) -> None:
    """Whatever the first method scored on frames of its own, and in whatever order the methods come."""
    group = [evaluation(errors("a", *row), method=f"m{number}") for number, row in enumerate(values)]
    more = evaluation(errors("a", *values[0], wild), errors("b", wild), method="m0")
    expected = [sum(row) / 4 for row in values]
    assert column(only(*group), "abs_rel") == pytest.approx(expected)
    assert column(only(more, *group[1:]), "abs_rel") == pytest.approx(expected)
    assert column(only(*group[::-1]), "abs_rel") == pytest.approx(expected[::-1])


# --- what is never compared --------------------------------------------------------------------------------------


def test_data_sets_and_protocols_stand_apart() -> None:
    scores = errors("a", 0.1)
    groups = compare(
        [
            evaluation(scores, dataset="bonn"),
            evaluation(scores),
            evaluation(scores, protocol="vda-released"),
            evaluation(scores, dataset="bonn", method="other"),
        ]
    )
    assert [(group.dataset, group.protocol, group.methods) for group in groups] == [
        ("bonn", "corrected", ("vda", "other")),
        ("kitti-110", "corrected", ("vda",)),
        ("kitti-110", "vda-released", ("vda",)),
    ]


def test_nothing_to_compare() -> None:
    assert compare([]) == ()


# --- what makes it doubtful --------------------------------------------------------------------------------------


def test_fewer_pixels_are_told() -> None:
    whole = evaluation(clip("a", [frame(0, valid=1000, abs_rel=0.2)]), method="whole")
    holes = evaluation(clip("a", [frame(0, valid=750, abs_rel=0.1)]), method="holes")
    assert only(whole, holes).notes[1:] == ("Not compared on all pixels, for lack of depth there: holes 75.0 %.",)
    assert len(only(whole, whole).notes) == 1


def test_different_versions_are_told() -> None:
    two = [evaluation(errors("a", 0.1), provenance={"recon": version}) for version in ("0.1.0", "0.2.0")]
    assert only(*two).notes[1:] == ("Scored by different versions of recon: 0.1.0, 0.2.0.",)


def test_many_clips_left_out_are_not_all_named() -> None:
    many = evaluation(*(errors(f"c{number}", 0.1) for number in range(20)))
    assert "Left out: c1, c2, c3, c4, c5, c6, c7, c8 and 11 more." in only(many, evaluation(errors("c0", 0.1))).notes[0]


def test_methods_of_one_name_are_numbered() -> None:
    assert method_names([evaluation(), evaluation(method="b"), evaluation(), evaluation()]) == (
        "vda",
        "b",
        "vda (2)",
        "vda (3)",
    )
