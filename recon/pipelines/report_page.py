"""The page of a run: the verdict and why, what it stands on, each shot, curves over time, and what was rejected."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final

from recon.evaluation.charts import Series, line_chart
from recon.evaluation.measures import Measure
from recon.evaluation.page import render
from recon.evaluation.trust import (
    CameraReport,
    PictureReport,
    RunReport,
    ShotReport,
    findings_of,
    percent,
    shot_findings,
    worst,
)
from recon.pipelines.units import SHORT_UNITS, UNIT_NAMES

_DRAWN: Final = 24
"""Shots whose curves are on the page; the most doubtful come first."""
_CUTS_NAMED: Final = 20
_PATHS_TOLD: Final = 20
_VERDICTS: Final = {
    "yes": "Its lengths can be trusted.",
    "doubtful": "Its lengths are doubtful.",
    "no": "Its lengths are not to be trusted.",
}
_HEADS: Final = ("from", "to", "frames", "units", "trusted", "lengths", "drift/s", "scatter", "agree", "apart")
_HEADS_OF_PLACES: Final = ("places", "anchored", "unused", "outliers")
_HEADS_OF_REJECTED: Final = ("shot", "places", "outliers", "apart", "order", "off by", "weight", "why")
_MEANINGS: Final = (
    Measure(
        "sigma",
        "lengths",
        "lower",
        "Relative standard deviation of lengths in the frame farthest from any anchored one: by what these differ from "
        "each other, what is known of the anchor's unit, and drift. What is wrong in all frames alike does not show.",
    ),
    Measure("drift", "drift", "lower", "Change of the scale between anchor and depth maps within a second, as found."),
    Measure("scatter", "scatter", "lower", "Difference of an anchored frame from the smooth curve, one sigma."),
    Measure("agree", "agree", "higher", "Share of the anchored places that lie near their frame's line."),
    Measure("apart", "apart", "lower", "Median error of depth at the anchored places, relative, at the median depth."),
    Measure("order", "order", "higher", "Rank correlation of the anchor's depth and the maps': 1 is the same order."),
    Measure("seams", "seams", "lower", "Change of inverse depth while one window of the network fades into the next."),
)


@dataclass(frozen=True, slots=True)
class _Charts:
    """The curves of one shot."""

    clip: str
    frames: int
    drawings: tuple[str, ...]
    """SVG, escaped."""


def write_page(report: RunReport, path: Path) -> None:
    """Write the page: the verdict and why, what it stands on, each shot, curves over time, what was rejected."""
    found = findings_of(report)
    shots = sorted(report.shots, key=_doubt)
    drawn = [charts for charts in map(_charts, shots[:_DRAWN]) if charts.drawings]
    render(
        "run.html.jinja",
        path,
        report=report,
        trust=worst(found),
        verdict=_VERDICTS[worst(found)],
        findings=found,
        tiles=_tiles(report),
        facts=_facts(report),
        heads=(*_HEADS, *_HEADS_OF_PLACES),
        table=[_cells(shot) for shot in report.shots],
        charts=drawn,
        more_charts=max(0, len(shots) - _DRAWN),
        rejected=[_rejected_cells(shot, each) for shot in shots if shot.anchor for each in shot.anchor.rejected],
        rejected_heads=_HEADS_OF_REJECTED,
        columns=_MEANINGS,
    )


def _doubt(shot: ShotReport) -> int:
    """The worst come first."""
    return ("no", "doubtful", "yes").index(worst(shot_findings(shot))) if shot.used else 3


def _tiles(report: RunReport) -> list[tuple[str, str]]:
    """The figures of the only shot."""
    if len(report.shots) != 1 or (anchor := report.shots[0].anchor) is None:
        return []
    return [
        ("lengths", f"\N{PLUS-MINUS SIGN} {percent(anchor.far_sigma)}"),
        ("drift in a second", _known(anchor.drift)),
        ("anchored places", f"{anchor.places:,}"),
        ("in frames", f"{anchor.pictures:,}"),
        ("agree", percent(anchor.inlier_ratio)),
        ("apart", percent(anchor.mismatch)),
    ]


def _facts(report: RunReport) -> list[tuple[str, str]]:
    units = dict.fromkeys(f"{UNIT_NAMES[shot.units]} ({shot.origin})" for shot in report.shots if shot.used)
    cuts = ", ".join(f"{shot.start:.2f} s" for shot in report.shots[1:_CUTS_NAMED])
    more = ", ..." if len(report.shots) > _CUTS_NAMED else ""
    return [
        ("depth", report.depth),
        ("units", ", ".join(units)),
        *([] if report.camera is None else [("field of view", _view(report.camera))]),
        *([] if report.poses is None else [("poses", report.poses), ("frames without pose", str(report.without_pose))]),
        *(("camera", path.told) for path in report.paths[:_PATHS_TOLD]),
        ("cuts", f"{len(report.shots) - 1} ({cuts}{more})" if cuts else "none"),
        *report.results,
    ]


def _view(camera: CameraReport) -> str:
    spread = "" if camera.spread is None else f" \N{PLUS-MINUS SIGN} {camera.spread:.1f}"
    return f"{camera.fov:.1f}{spread} degrees ({camera.origin})"


def _cells(shot: ShotReport) -> list[str]:
    anchor = shot.anchor
    trust = worst(shot_findings(shot)) if shot.used else "left out"
    span = [str(shot.number), f"{shot.start:.2f} s", f"{shot.end:.2f} s", str(shot.frames)]
    units = [SHORT_UNITS[shot.units].strip() or shot.units, trust]
    if anchor is None:
        return [*span, *units, *["-"] * (len(_HEADS) + len(_HEADS_OF_PLACES) - 5)]
    shares = (anchor.far_sigma, anchor.drift, anchor.scatter, anchor.inlier_ratio, anchor.mismatch)
    counts = (anchor.places, anchor.pictures, anchor.left_out, anchor.outliers)
    return [*span, *units, *map(_known, shares), *(f"{count:,}" for count in counts)]


def _rejected_cells(shot: ShotReport, picture: PictureReport) -> list[str]:
    why = [
        *(["off as a whole"] if picture.off else []),
        *(["near and far in another order"] if picture.misordered else []),
    ]
    return [
        f"{picture.time:.2f} s",
        str(shot.number),
        str(picture.places),
        str(picture.outliers),
        _known(picture.residual),
        _number(picture.order),
        _known(picture.level),
        _number(picture.weight),
        ", ".join(why),
    ]


def _known(share: float) -> str:
    return percent(share) if isfinite(share) else "-"


def _number(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "-"


def _charts(shot: ShotReport) -> _Charts:
    """Scale and shift with their sigma, and what each anchored picture says."""
    seams = [seam.time for seam in shot.seams]
    pictures = () if shot.anchor is None else shot.anchor.seen
    curves = (
        ("scale(t)", "with one sigma", _bands(shot, "scale")),
        ("shift(t)", "with one sigma, 1 / units", _bands(shot, "shift")),
        ("frames from the smooth curve", "per cent", [_series(pictures, "own level", "level", 100)]),
        ("apart in each frame", "per cent, lower is better", [_series(pictures, "apart", "residual", 100)]),
        ("order of near and far", "1 is best", [_series(pictures, "order", "order", 1)]),
        ("change at seams", "per cent", _seam_series(shot)),
    )
    drawings = (
        line_chart(series, title, unit, seams=seams, along="s") for title, unit, series in curves if _drawn(series)
    )
    return _Charts(f"shot {shot.number}", shot.frames, tuple(drawings))


def _drawn(series: Sequence[Series]) -> bool:
    """Whether there are two points at least."""
    return any(sum(map(isfinite, each.values)) > 1 for each in series)


def _bands(shot: ShotReport, name: str) -> list[Series]:
    named = (("applied", shot.curve), ("smooth", shot.smooth))
    return [
        Series(
            label,
            [point.time for point in curve],
            [getattr(point, name) for point in curve],
            [getattr(point, f"{name}_sigma") for point in curve],
        )
        for label, curve in named
        if curve
    ]


def _series(pictures: Sequence[PictureReport], label: str, name: str, factor: float) -> Series:
    return Series(label, [each.time for each in pictures], [factor * getattr(each, name) for each in pictures])


def _seam_series(shot: ShotReport) -> list[Series]:
    times = [seam.time for seam in shot.seams]
    changes = (("at the seam", "change"), ("as long after it", "after"))
    return [Series(label, times, [100 * getattr(seam, name) for seam in shot.seams]) for label, name in changes]
