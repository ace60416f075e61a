"""Curves: read back from the SVG."""

import re
from itertools import pairwise
from math import isclose, log10, nan
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.evaluation.charts import COLORS, Series, _ticks, line_chart

PLOT_TOP, PLOT_BOTTOM = 30.0, 180.0
finite = st.floats(-1e6, 1e6, allow_subnormal=False)


def chart(*rows: list[float], title: str = "AbsRel", unit: str = "", seams: tuple[int, ...] = ()) -> ET.Element:
    series = [Series(f"m{number}", range(len(row)), row) for number, row in enumerate(rows)]
    return ET.fromstring(line_chart(series, title, unit, seams=seams))  # noqa: S314 - our own


def curves(svg: ET.Element) -> list[str]:
    """The paths of curves, without those of the legend."""
    return [path.get("d", "") for path in svg.iter("path") if path.get("stroke-width") == "1.6"]


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)]


def texts(svg: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in svg.iter("text")]


def test_a_curve_goes_through_its_values() -> None:
    """0 and 0.2 are the lowest and the highest line of the grid."""
    (path,) = curves(chart([0.0, 0.2, 0.1]))
    (x0, y0), (x1, y1), (x2, y2) = points(path)
    assert (y0, y1, y2) == (PLOT_BOTTOM, PLOT_TOP, pytest.approx((PLOT_TOP + PLOT_BOTTOM) / 2, abs=0.1))
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)


def test_unknown_values_are_gaps() -> None:
    (path,) = curves(chart([0.1, 0.2, nan, 0.3, nan, 0.1, 0.2]))
    assert [len(points(f"M{part}")) for part in path.split("M")[1:]] == [2, 1, 2]
    assert path.count("h0.01") == 1  # a value alone is a dot


def test_frames_stand_where_their_numbers_are() -> None:
    svg = ET.fromstring(line_chart([Series("a", [0, 10, 40], [1.0, 2.0, 3.0])], "t", ""))  # noqa: S314
    (x0, _), (x1, _), (x2, _) = points(curves(svg)[0])
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=1e-3)


@pytest.mark.parametrize("row", [[], [nan, nan]])
def test_no_values(row: list[float]) -> None:
    assert "no values" in texts(chart(row))


@pytest.mark.parametrize("row", [[0.0], [5.0, 5.0, 5.0], [0.0, 0.0], [-3.0, -3.0], [1.0, 1 + 1e-15], [1e9, 1e9 + 1]])
def test_flat_curves(row: list[float]) -> None:
    (path,) = curves(chart(row))
    assert all(PLOT_TOP <= y <= PLOT_BOTTOM for _, y in points(path))
    assert max(map(len, texts(chart(row)))) < 20


def test_a_long_clip_keeps_its_peaks_and_gaps_but_not_its_size() -> None:
    row = [0.5 + 1e-4 * (frame % 7) for frame in range(100_000)]
    row[12_345], row[67_890], row[50_000] = 0.0, 1.0, nan
    (path,) = curves(chart(row))
    ys = [y for _, y in points(path)]
    assert (max(ys), min(ys)) == (PLOT_BOTTOM, PLOT_TOP)
    assert path.count("M") == 2
    assert len(path) < 20_000
    assert [x for x, _ in points(path)] == sorted(x for x, _ in points(path))


def test_what_is_uncertain_is_a_band_within_the_plot() -> None:
    """Up along the upper bounds and back along the lower ones, with a gap in neither; unknown values have none."""
    row, spread = [1.0, 2.0, nan, 1.0], [0.5, 1.0, 0.1, 0.25]
    svg = ET.fromstring(line_chart([Series("a", range(4), row, spread)], "t", ""))  # noqa: S314
    (band,) = [
        path.get("d", "") for path in svg.iter("path") if path.get("opacity") == "0.18" and path.get("fill") != "none"
    ]
    xs, ys = zip(*points(band), strict=True)
    assert band.endswith("Z")
    assert [round(x) for x in xs] == [round(x) for x in [*sorted(set(xs)), *sorted(set(xs), reverse=True)]]
    assert ys == pytest.approx([105, PLOT_TOP, 117.5, 142.5, 130, 155])


def test_curves_along_seconds_have_round_seconds_below_them() -> None:
    svg = ET.fromstring(line_chart([Series("a", [0.0, 0.7, 2.63], [1.0, 2.0, 3.0])], "t", "", along="s"))  # noqa: S314
    assert texts(svg)[-7:] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5", "s"]
    frames = ET.fromstring(line_chart([Series("a", [0, 1, 3], [1.0, 2.0, 3.0])], "t", ""))  # noqa: S314
    assert texts(frames)[-5:] == ["0", "1", "2", "3", "frame"]


def test_seams_within_the_clip_are_lines() -> None:
    lines = [
        path.get("d", "") for path in chart([0.1] * 50, seams=(22, 44, 66)).iter("path") if path.get("stroke-dasharray")
    ]
    assert [line.count("M") for line in lines] == [2]


def test_several_curves_are_told_apart_and_named() -> None:
    svg = chart(*([float(number), 1.0] for number in range(8)))
    drawn = [
        (path.get("stroke"), path.get("stroke-dasharray"))
        for path in svg.iter("path")
        if path.get("stroke-width") == "1.6"
    ]
    assert len(set(drawn)) == 8
    assert [color for color, _ in drawn[:6]] == list(COLORS)
    assert [text for text in texts(svg) if text.startswith("m")] == [f"m{number}" for number in range(8)]


def test_a_long_legend_is_wrapped() -> None:
    short = float(chart([1.0, 2.0], [2.0, 1.0]).get("viewBox", "").split()[3])
    series = [Series("a method with quite a long name " * 2, [0, 1], [1.0, 2.0])] * 3
    svg = ET.fromstring(line_chart(series, "t", ""))  # noqa: S314
    assert float(svg.get("viewBox", "").split()[3]) == short + 2 * 18


def test_texts_are_escaped() -> None:
    evil = '"><script>alert(1)</script>&'
    drawn = line_chart([Series(evil, [0, 1], [1.0, 2.0])] * 2, evil, evil)
    svg = ET.fromstring(drawn)  # noqa: S314
    assert "<script" not in drawn
    assert svg.get("aria-label") == evil
    assert texts(svg)[0] == f"{evil} {evil}"
    assert texts(svg)[-2:] == [evil, evil]


@given(low=finite, span=st.floats(0, 1e6), count=st.integers(2, 8))
def test_ticks_are_round_and_enclose_the_range(low: float, span: float, count: int) -> None:
    high = low + span
    ticks = _ticks(low, high, count)
    steps = [b - a for a, b in pairwise(ticks)]
    step = steps[0]
    assert 2 <= len(ticks) <= 2 * count + 3
    assert ticks[0] <= low + 1e-6 * step
    assert high <= ticks[-1] + 1e-6 * step
    assert all(isclose(each, step, rel_tol=1e-3, abs_tol=1e-9) for each in steps)
    assert any(isclose(log10(step) % 1, log10(factor) % 1, abs_tol=1e-4) for factor in (1, 2, 5, 9.999999))


@given(row=st.lists(finite | st.just(nan), min_size=1, max_size=40))
def test_everything_stays_within_the_plot(row: list[float]) -> None:
    for path in curves(chart(row)):
        assert all(PLOT_TOP <= y <= PLOT_BOTTOM and 50 <= x <= 532 for x, y in points(path))
