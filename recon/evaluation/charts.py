"""Curves over the frames of a clip, as SVG to stand in a page: plain text, no library, a fixed size however long."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, floor, inf, isfinite, log10
from typing import Final

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#b5569b", "#56b4e9", "#c98a00")
"""Told apart with any colour vision (after Okabe and Ito, 2008). From the seventh curve on they are dashed."""

_WIDTH: Final = 540.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 8.0, 30.0, 26.0
_PLOT: Final = 150.0  # height of the plot, without its words
_ROW: Final = 18.0  # height of a row of the legend
_LETTER: Final = 7.0  # width of a letter of the legend, about
_LEAST_SPAN: Final = 1e-3  # of an axis, as a share of its greatest value: what is constant but for rounding is flat
_POINTS: Final = 480  # spans of frames that are told apart in a long clip


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    label: str
    frames: Sequence[int]
    """Numbers of frames, increasing."""
    values: Sequence[float]
    """One for each; NaN is a gap."""


@dataclass(frozen=True, slots=True)
class _Axis:
    """A range of numbers along a range of pixels."""

    low: float
    high: float
    start: float
    stop: float

    def at(self, value: float) -> float:
        """Where a number stands, in pixels."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)


def line_chart(series: Sequence[Series], title: str, unit: str, *, seams: Collection[int] = ()) -> str:
    """Curves over frame numbers: axes with round numbers, gaps where a value is unknown, thin lines at seams.

    Args:
        series: the curves; with more than one, a legend names them.
        title: what stands above.
        unit: of the values, or which way is better; stands behind the title.
        seams: frames at which windows meet.

    Returns:
        An ``svg`` element; all texts in it are escaped.
    """
    rows = _legend_rows([each.label for each in series]) if len(series) > 1 else []
    height = _TOP + _PLOT + _BOTTOM + _ROW * len(rows)
    heading = f'<tspan font-weight="600">{escape(title)}</tspan> <tspan class="dim">{escape(unit)}</tspan>'
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">',
        f'<text x="0" y="15">{heading}</text>',
        *_plot(series, seams),
        *_legend(rows),
        "</svg>",
    ]
    return "\n".join(parts)


def _plot(series: Sequence[Series], seams: Collection[int]) -> Iterator[str]:
    points = [list(_known(each)) for each in series]
    flat = [point for each in points for point in each]
    if not flat:
        yield f'<text class="dim" x="{_LEFT:g}" y="{_TOP + _PLOT / 2:g}">no values</text>'
        return
    first, last = min(frame for frame, _ in flat), max(frame for frame, _ in flat)
    ticks = _ticks(min(value for _, value in flat), max(value for _, value in flat))
    across = _Axis(first, max(last, first + 1.0), _LEFT, _WIDTH - _RIGHT)
    up = _Axis(ticks[0], ticks[-1], _TOP + _PLOT, _TOP)
    yield from _grid(across, up, ticks)
    inside = [across.at(float(frame)) for frame in sorted(seams) if first <= frame <= last]
    if inside:
        lines = "".join(f"M{x:.1f} {_TOP:g}v{_PLOT:g}" for x in inside)
        yield f'<path d="{lines}" fill="none" stroke="currentColor" opacity="0.3" stroke-dasharray="2 3"/>'
    for number, each in enumerate(series):
        yield _curve(number, each, across, up)


def _known(series: Series) -> Iterator[tuple[float, float]]:
    return ((float(frame), value) for frame, value in zip(series.frames, series.values, strict=True) if isfinite(value))


# --- axes --------------------------------------------------------------------------------------------------------


def _grid(across: _Axis, up: _Axis, ticks: Sequence[float]) -> Iterator[str]:
    lines = "".join(f"M{_LEFT:g} {up.at(tick):.1f}H{_WIDTH - _RIGHT:g}" for tick in ticks)
    yield f'<path d="{lines}" fill="none" stroke="currentColor" opacity="0.18"/>'
    digits = _digits(ticks[1] - ticks[0])
    for tick in ticks:
        text = f"{tick:z.{digits}f}" if abs(tick) < 1e6 else f"{tick:.3g}"
        yield f'<text class="dim" x="{_LEFT - 6:g}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{text}</text>'
    base = _TOP + _PLOT + 18
    frames = [round(tick) for tick in _ticks(across.low, across.high, 6) if across.low <= round(tick) <= across.high]
    for frame in dict.fromkeys(frames):
        yield f'<text class="dim" x="{across.at(float(frame)):.1f}" y="{base:g}" text-anchor="middle">{frame}</text>'
    yield f'<text class="dim" x="0" y="{base:g}">frame</text>'


def _ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Two or more round numbers (1, 2 or 5 times a power of ten apart) around a range; from 0 on where that is near."""
    if 0 < low <= high / 2:
        low = 0.0
    span = max(high - low, abs(high) * _LEAST_SPAN) or 1.0
    rough = span / count
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _digits(step: float) -> int:
    return max(0, -floor(log10(step) + 1e-9))


# --- curves ------------------------------------------------------------------------------------------------------


def _curve(number: int, series: Series, across: _Axis, up: _Axis) -> str:
    """A path with a part for each run of known values; a single value is a dot."""
    runs = (list(run) for known, run in groupby(_thinned(series), lambda point: isfinite(point[1])) if known)
    path = "".join(_run([(across.at(frame), up.at(value)) for frame, value in run]) for run in runs)
    return _line(number, path, 1.6)


def _line(number: int, path: str, width: float) -> str:
    """A path in the colour of a curve."""
    color = number % len(COLORS)
    dashes = ' stroke-dasharray="6 4"' if number >= len(COLORS) else ""
    return (
        f'<path class="c{color}" d="{path}" fill="none" stroke="{COLORS[color]}" stroke-width="{width}"'
        f' stroke-linejoin="round" stroke-linecap="round"{dashes}/>'
    )


def _run(points: Sequence[tuple[float, float]]) -> str:
    (x, y), *others = points
    return f"M{x:.1f} {y:.1f}" + ("".join(f"L{x:.1f} {y:.1f}" for x, y in others) or "h0.01")


def _thinned(series: Series) -> Iterator[tuple[float, float]]:
    """The points; of a long clip, the least and the greatest of each short span, so that no peak is lost."""
    points = list(zip(map(float, series.frames), series.values, strict=True))
    span = ceil(len(points) / _POINTS)
    if span <= 2:
        yield from points
        return
    for start in range(0, len(points), span):
        part = points[start : start + span]
        known = [point for point in part if isfinite(point[1])]
        if len(known) < len(part):
            yield part[0][0], inf  # a gap somewhere in the span is a gap here
        if known:
            least, greatest = min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])
            yield from sorted({least, greatest})


# --- legend ------------------------------------------------------------------------------------------------------


def _legend_rows(labels: Sequence[str]) -> list[list[tuple[int, float, str]]]:
    """For each row: number of the curve, where its entry begins, its label."""
    rows: list[list[tuple[int, float, str]]] = [[]]
    x = 0.0
    for number, label in enumerate(labels):
        width = 40 + _LETTER * len(label)
        if rows[-1] and x + width > _WIDTH:
            rows.append([])
            x = 0.0
        rows[-1].append((number, x, label))
        x += width
    return rows


def _legend(rows: Sequence[Sequence[tuple[int, float, str]]]) -> Iterator[str]:
    for row, entries in enumerate(rows):
        y = _TOP + _PLOT + _BOTTOM + _ROW * row + 12
        for number, x, label in entries:
            yield _line(number, f"M{x + 1:.1f} {y - 4:g}h18", 2.4)
            yield f'<text x="{x + 24:.1f}" y="{y:g}">{escape(label)}</text>'
