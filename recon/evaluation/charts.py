"""Curves over frames or seconds, as SVG to stand in a page: plain text, no library, a fixed size however long."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import ceil, floor, inf, isfinite, log10
from typing import Final, Literal

COLORS: Final = ("#0072b2", "#d55e00", "#009e73", "#b5569b", "#56b4e9", "#c98a00")
"""Told apart with any colour vision (after Okabe and Ito, 2008). From the seventh curve on they are dashed."""

_WIDTH: Final = 540.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 62.0, 8.0, 30.0, 26.0
_PLOT: Final = 150.0  # height of the plot, without its words
_ROW: Final = 18.0  # height of a row of the legend
_LETTER: Final = 7.0  # width of a letter of the legend, about
_LEAST_SPAN: Final = 1e-3  # of an axis, as a share of its greatest value: what is constant but for rounding is flat
_POINTS: Final = 480  # spans of frames that are told apart in a long clip


@dataclass(frozen=True, slots=True)
class Series:
    """One curve."""

    label: str
    frames: Sequence[int] | Sequence[float]
    """Numbers of frames, or seconds; increasing."""
    values: Sequence[float]
    """One for each; NaN is a gap."""
    spread: Sequence[float] | None = None
    """How far the values may be off, either way: drawn as a band."""


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


def line_chart(
    series: Sequence[Series],
    title: str,
    unit: str,
    *,
    seams: Collection[int] | Collection[float] = (),
    along: Literal["frame", "s"] = "frame",
) -> str:
    """Curves over frame numbers or seconds: round numbers, gaps where a value is unknown, thin lines at seams.

    Args:
        series: the curves; with more than one, a legend names them.
        title: what stands above.
        unit: of the values, or which way is better; stands behind the title.
        seams: where windows meet.
        along: what the curves run along.

    Returns:
        An ``svg`` element; all texts in it are escaped.
    """
    rows = _legend_rows([each.label for each in series]) if len(series) > 1 else []
    height = _TOP + _PLOT + _BOTTOM + _ROW * len(rows)
    heading = f'<tspan font-weight="600">{escape(title)}</tspan> <tspan class="dim">{escape(unit)}</tspan>'
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">',
        f'<text x="0" y="15">{heading}</text>',
        *_plot(series, seams, along),
        *_legend(rows),
        "</svg>",
    ]
    return "\n".join(parts)


def _plot(series: Sequence[Series], seams: Collection[int] | Collection[float], along: str) -> Iterator[str]:
    flat = [point for each in series for point in (*_known(each), *_band(each))]
    if not flat:
        yield f'<text class="dim" x="{_LEFT:g}" y="{_TOP + _PLOT / 2:g}">no values</text>'
        return
    first, last = min(frame for frame, _ in flat), max(frame for frame, _ in flat)
    ticks = _ticks(min(value for _, value in flat), max(value for _, value in flat))
    across = _Axis(first, max(last, first + 1.0), _LEFT, _WIDTH - _RIGHT)
    up = _Axis(ticks[0], ticks[-1], _TOP + _PLOT, _TOP)
    yield from _grid(across, up, ticks, along)
    inside = [across.at(float(frame)) for frame in sorted(seams) if first <= frame <= last]
    if inside:
        lines = "".join(f"M{x:.1f} {_TOP:g}v{_PLOT:g}" for x in inside)
        yield f'<path d="{lines}" fill="none" stroke="currentColor" opacity="0.3" stroke-dasharray="2 3"/>'
    for number, each in enumerate(series):
        yield from _shade(number, [(across.at(x), up.at(y)) for x, y in _band(each)])
        yield _curve(number, each, across, up)


def _known(series: Series) -> Iterator[tuple[float, float]]:
    return ((float(frame), value) for frame, value in zip(series.frames, series.values, strict=True) if isfinite(value))


def _band(series: Series) -> list[tuple[float, float]]:
    """Around what is known: the upper bounds forwards, the lower ones backwards."""
    if series.spread is None:
        return []
    rows = list(zip(series.frames, series.values, series.spread, strict=True))
    known = [(float(x), value, spread) for x, value, spread in rows if isfinite(value) and isfinite(spread)]
    return [*((x, y + spread) for x, y, spread in known), *((x, y - spread) for x, y, spread in reversed(known))]


# --- axes --------------------------------------------------------------------------------------------------------


def _grid(across: _Axis, up: _Axis, ticks: Sequence[float], along: str) -> Iterator[str]:
    lines = "".join(f"M{_LEFT:g} {up.at(tick):.1f}H{_WIDTH - _RIGHT:g}" for tick in ticks)
    yield f'<path d="{lines}" fill="none" stroke="currentColor" opacity="0.18"/>'
    digits = _digits(ticks[1] - ticks[0])
    for tick in ticks:
        text = f"{tick:z.{digits}f}" if abs(tick) < 1e6 and digits < 6 else f"{tick:.3g}"
        yield f'<text class="dim" x="{_LEFT - 6:g}" y="{up.at(tick) + 4:.1f}" text-anchor="end">{text}</text>'
    base = _TOP + _PLOT + 18
    for text in _places(across, whole=along == "frame"):
        yield f'<text class="dim" x="{across.at(float(text)):.1f}" y="{base:g}" text-anchor="middle">{text}</text>'
    yield f'<text class="dim" x="0" y="{base:g}">{along}</text>'


def _places(across: _Axis, *, whole: bool) -> Iterator[str]:
    """Round numbers along the axis; whole ones only, where it counts."""
    ticks = _ticks(across.low, across.high, 6)
    digits = 0 if whole else _digits(ticks[1] - ticks[0])
    yield from dict.fromkeys(
        f"{tick:z.{digits}f}" for tick in ticks if across.low <= round(tick, digits) <= across.high
    )


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


def _shade(number: int, outline: Sequence[tuple[float, float]]) -> Iterator[str]:
    """A band in the colour of its curve."""
    if len(outline) > 2:
        color = COLORS[number % len(COLORS)]
        yield f'<path d="{_run(outline)}Z" fill="{color}" opacity="0.18"/>'


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
