"""What a run says of itself: ``OUTPUT.report.json`` to go on with, ``OUTPUT.report.html`` and rows for a person."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby
from math import isfinite, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from jaxtyping import Float64

from recon import __version__
from recon.evaluation.trust import (
    LEAST_PICTURES,
    AnchorReport,
    Basis,
    CameraReport,
    CurvePoint,
    PathReport,
    PictureReport,
    RunReport,
    SeamReport,
    ShotReport,
    findings_of,
    percent,
    shot_findings,
    worst,
)
from recon.files import whole_file
from recon.io.store import ShotSpan
from recon.pipelines.cloud import ShotPlan
from recon.pipelines.depth import TOGETHER, DepthMaps, counted, times_of, told_origin
from recon.pipelines.metres import Gauge, disparity_of
from recon.pipelines.poses import Found
from recon.pipelines.report_page import write_page
from recon.pipelines.units import SHORT_UNITS, UNIT_NAMES
from recon.smoothing import DriftFit, LineCurve
from recon.stages.agreement import Agreement
from recon.stages.camera import Camera
from recon.stages.disparity import WINDOW, seams

if TYPE_CHECKING:
    from recon.pipelines.maps import DepthRun, Lengths
    from recon.pipelines.run import Reconstruction

VERSION: Final = 2
"""Version of the format of ``report.json``."""
FORMAT: Final = "recon report"
POINTS: Final = 500
"""Of a curve, at most."""
_WORST: Final = 50
"""Rejected pictures that are named."""
_REASONS: Final = 6
"""Reasons that a terminal shows."""
_SHOWN: Final = 3
"""Shots that a terminal shows one by one."""
_SAMPLES: Final = 4096
"""Values of a map that its median is taken of."""

T = TypeVar("T")


# --- from a run to its report ------------------------------------------------------------------------------------


def run_report(run: "Reconstruction", results: Sequence[tuple[str, str]] = ()) -> RunReport:
    """What a run says of itself; reads three maps for each window of the network.

    Args:
        run: the run.
        results: name of each file that was written, and what it holds.
    """
    info = run.source.info
    spans = list(zip(run.maps.shots, run.plans, strict=True))
    used = sum(span.count for span, plan in spans if plan is not None)
    known = _known(run.depth_origin)
    return RunReport(
        recon=__version__,
        source=info.path.name,
        width=info.width,
        height=info.height,
        frames=run.maps.frame_count,
        depth=told_origin(run.depth_origin),
        poses=run.poses.origin,
        without_pose=used - sum(len(found.frames) for found in run.found),
        paths=tuple(_path(found) for found in run.found),
        camera=_camera(run.camera),
        shots=tuple(
            _left_out(run.maps, span, "the poses") if plan is None else _planned(run.maps, span, plan, **known)
            for span, plan in spans
        ),
        results=tuple(results),
    )


def depth_report(run: "DepthRun", lengths: "Lengths", results: Sequence[tuple[str, str]] = ()) -> RunReport:
    """What a run that writes depth says of its lengths; see ``run_report``."""
    info, known = run.source.info, _known(run.origin)
    spans = zip(lengths.shots, lengths.gauges, strict=True)
    return RunReport(
        recon=__version__,
        source=info.path.name,
        width=info.width,
        height=info.height,
        frames=lengths.frame_count,
        depth=told_origin(run.origin),
        poses=None,
        without_pose=0,
        camera=None if run.camera is None else _camera(run.camera),
        shots=tuple(
            shot_report(lengths.maps, span, gauge, **known)
            if gauge.units == lengths.units
            else _left_out(lengths.maps, span, "the other shots")
            for span, gauge in spans
        ),
        results=tuple(results),
    )


def _path(found: Found) -> PathReport:
    return PathReport(
        start=found.start,
        end=found.end,
        frames=len(found.frames),
        key_frames=len(found.key_frames),
        motion=found.segment.motion,
        moved=found.moved,
        turned=found.turned,
        told=found.sentence,
    )


def _camera(camera: Camera) -> CameraReport:
    return CameraReport(camera.intrinsics.fov_x, camera.fov_spread, camera.origin, camera.assumed)


def _known(origin: Mapping[str, str]) -> dict[str, bool]:
    return {"given": "maps" in origin, "windows": origin.get(TOGETHER) == str(WINDOW)}


def shot_report(maps: DepthMaps, shot: ShotSpan, gauge: Gauge, *, given: bool, windows: bool) -> ShotReport:
    """What is known of a shot before it is fused.

    Args:
        maps: of all shots.
        shot: which of them.
        gauge: of this shot.
        given: whether the maps were made elsewhere: if they are metres, somebody answers for them.
        windows: whether windows of the network meet in this shot.
    """
    start, end = times_of(maps, shot)
    jumps = tuple(_jumps(maps, shot, gauge)) if windows else ()
    smooth = None if gauge.fit is None or gauge.fit.smooth is gauge.curve else gauge.fit.smooth
    return ShotReport(
        number=shot.shot,
        start=start,
        end=end,
        frames=shot.count,
        used=True,
        units=gauge.units,
        origin=gauge.origin,
        basis=_basis(gauge, given=given),
        median_depth=nan,
        curve=_points(gauge.curve, start, end),
        smooth=() if smooth is None else _points(smooth, start, end),
        anchor=None if gauge.fit is None else _anchor(gauge, gauge.fit, (start, end)),
        seams=thinned(jumps),
        seam_jump=_median([abs(seam.change) for seam in jumps]),
        seam_usual=_median([abs(seam.after) for seam in jumps]),
    )


def _planned(maps: DepthMaps, shot: ShotSpan, plan: ShotPlan, *, given: bool, windows: bool) -> ShotReport:
    report = shot_report(maps, shot, plan.gauge, given=given, windows=windows)
    return replace(report, median_depth=plan.median_depth)


def _left_out(maps: DepthMaps, shot: ShotSpan, others: str) -> ShotReport:
    """A shot whose depth has other units than what it should stand beside."""
    start, end = times_of(maps, shot)
    why = f"its depth has not the units of {others}"
    return ShotReport(shot.shot, start, end, shot.count, False, "relative", why, "nothing", nan, (), (), None)


def _basis(gauge: Gauge, *, given: bool) -> Basis:
    if gauge.fit is not None:
        return "anchor"
    if gauge.units == "relative":
        return "nothing"
    return "given maps" if given else "network"


# --- the anchor --------------------------------------------------------------------------------------------------


def _anchor(gauge: Gauge, fit: DriftFit, span: tuple[float, float]) -> AnchorReport:
    seen = gauge.agreements
    pictures = _pictures(fit, seen)
    enough = len(pictures) >= LEAST_PICTURES
    ordered = [each for each in pictures if not isnan(each.order)]
    rejected = sorted((each for each in pictures if each.off or each.misordered), key=lambda each: each.order)
    depth = 1 / _median([each.inverse_depth for each in seen])
    return AnchorReport(
        length_sigma=fit.length_sigma,
        unit_sigma=gauge.unit_sigma,
        drift=fit.drift,
        scatter=fit.scatter,
        inlier_ratio=fit.inlier_ratio,
        places=fit.count,
        pictures=len(pictures),
        left_out=sum(each.left_out for each in seen),
        outliers=sum(each.outliers for each in seen),
        depth=depth,
        residual_mad=fit.residual_mad,
        mismatch=fit.residual_mad * depth,
        misordered=_share(each.misordered for each in ordered) if len(ordered) >= LEAST_PICTURES else nan,
        off=_share(each.off for each in pictures) if enough else nan,
        levels=_levels(fit.own, seen) if enough else nan,
        gap=_gap([each.time for each in seen], *span),
        seen=thinned(pictures),
        rejected=tuple(sorted(rejected[:_WORST], key=lambda each: each.time)),
    )


def _pictures(fit: DriftFit, seen: Sequence[Agreement]) -> list[PictureReport]:
    times = np.unique([each.time for each in seen])
    known = len(times) == len(fit.group_weight)
    weights = [float(fit.group_weight[np.searchsorted(times, each.time)]) if known else nan for each in seen]
    return [
        PictureReport(
            time=each.time,
            places=each.places,
            left_out=each.left_out,
            outliers=each.outliers,
            residual=each.residual,
            order=each.order,
            level=_level(fit.own, each.time, each.disparity) / _level(fit.smooth, each.time, each.disparity) - 1,
            weight=weight,
        )
        for each, weight in zip(seen, weights, strict=True)
    ]


def _level(curve: LineCurve, time: float, disparity: float) -> float:
    """Inverse depth that a disparity means at a time; NaN where it lies behind infinity."""
    line = curve.at(time)
    level = line.scale * disparity + line.shift
    return level if level > 0 else nan


def _levels(own: LineCurve, seen: Sequence[Agreement]) -> float:
    """How much the same disparity comes to mean in the course of a shot: 95th over 5th percentile."""
    middle = _median([each.disparity for each in seen])
    levels = [level for each in seen if not isnan(level := _level(own, each.time, middle))]
    low, high = np.percentile(levels, [5, 95]) if levels else (nan, nan)
    return float(high / low)


def _gap(times: Sequence[float], start: float, end: float) -> float:
    """Seconds from the worst place of a shot to its nearest anchored picture."""
    inside = max(np.diff(np.unique(times)), default=0.0) / 2
    return max(float(inside), min(times) - start, end - max(times), 0.0)


# --- curves and seams --------------------------------------------------------------------------------------------


def _points(curve: LineCurve, start: float, end: float) -> tuple[CurvePoint, ...]:
    """The knots; of a line that stays the same, both ends of the shot."""
    scale_sigma, shift_sigma = np.sqrt(np.maximum(np.einsum("kii->ik", curve.covariance), 0))
    columns = (curve.times, curve.scale, scale_sigma, curve.shift, shift_sigma)
    knots = [CurvePoint(*map(float, row)) for row in zip(*columns, strict=True)]
    if len(knots) == 1:
        return tuple(replace(knots[0], time=time) for time in dict.fromkeys((start, end)))
    return thinned(knots)


def _fades(frames: int) -> Iterator[tuple[int, int]]:
    """The last frame of each window before the next one fades in, and the first at which it has done so."""
    fading = sorted(seams(frames))
    for _, run in groupby(enumerate(fading), key=lambda place: place[1] - place[0]):
        numbers = [frame for _, frame in run]
        yield numbers[0] - 1, numbers[-1]


def _jumps(maps: DepthMaps, shot: ShotSpan, gauge: Gauge) -> Iterator[SeamReport]:
    """Each cross-fade, beside what happens over as many frames after it."""
    scale, shift = _median(gauge.curve.scale), _median(gauge.curve.shift)  # one line: the curve would hide a jump

    def median_at(position: int) -> tuple[float, float]:
        estimate = next(maps.estimates(shot.start + position))
        values = disparity_of(estimate.values, maps.quantity).ravel()
        values = values[:: max(1, len(values) // _SAMPLES)]
        return estimate.time, scale * _median(values[np.isfinite(values)]) + shift

    for first, last in _fades(shot.count):
        time, before = median_at(first)
        _time, done = median_at(last)
        later = 2 * last - first
        after = median_at(later)[1] if later < shot.count else nan
        yield SeamReport(time, _change(before, done), _change(done, after))


def _change(before: float, after: float) -> float:
    """Relative change; NaN where one of the two lies behind infinity."""
    return after / before - 1 if before > 0 and after > 0 else nan


def thinned(rows: Sequence[T]) -> tuple[T, ...]:
    """At most ``POINTS`` of them, evenly spread, with the first and the last."""
    if len(rows) <= POINTS:
        return tuple(rows)
    return tuple(rows[index] for index in np.linspace(0, len(rows) - 1, POINTS).round().astype(int))


def _median(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    known = [value for value in values if isfinite(value)]
    return float(np.median(known)) if known else nan


def _share(conditions: Iterator[bool]) -> float:
    return float(np.mean(list(conditions)))


# --- files -------------------------------------------------------------------------------------------------------


def write_report(report: RunReport, json_path: Path, html_path: Path) -> None:
    """Write both, each whole or not at all: JSON (NaN is null, curves have at most 500 points) and a page alone."""
    text = json.dumps(document(report), indent=1, ensure_ascii=False, allow_nan=False)
    with whole_file(json_path) as partial:
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")
    write_page(report, html_path)


def document(report: RunReport) -> dict[str, Any]:
    """What stands in the JSON: all of the report, and what follows from it."""
    found = findings_of(report)
    header = {"format": FORMAT, "version": VERSION, "trust": worst(found), "reasons": [each.reason for each in found]}
    facts: dict[str, Any] = _plain(asdict(report))
    for shot, told in zip(report.shots, facts["shots"], strict=True):
        own = shot_findings(shot)
        told["trust"], told["reasons"] = worst(own), [each.reason for each in own]
        if shot.anchor is not None:
            told["anchor"] |= _plain({"sigma": shot.anchor.sigma, "far_sigma": shot.anchor.far_sigma})
    return header | facts


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """For JSON: six digits are more than any of these numbers has; NaN is null, infinity "inf"."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if isfinite(value) else None if isnan(value) else str(value)
    return value


# --- words -------------------------------------------------------------------------------------------------------


def rows(report: RunReport) -> list[tuple[str, str]]:
    """What a person should see of it at once: the verdict, its reasons, and the figures of the first shots."""
    found = findings_of(report)
    verdict = {"yes": "yes", "doubtful": "doubtful", "no": "NO"}[worst(found)]
    reasons = [("", f"{each.trust}: {each.reason}") for each in found[:_REASONS]]
    more = [("", f"and {len(found) - _REASONS} further reasons")] if len(found) > _REASONS else []
    shots = [shot for shot in report.shots if shot.used]
    figures = [row for shot in shots[:_SHOWN] for row in _shot_rows(shot, several=len(report.shots) > 1)]
    further = [("", f"{len(shots) - _SHOWN} further shots: see the report")] if len(shots) > _SHOWN else []
    return [("lengths to be trusted", verdict), *reasons, *more, *figures, *further]


def _shot_rows(shot: ShotReport, *, several: bool) -> list[tuple[str, str]]:
    prefix = f"shot {shot.number} " if several else ""
    if shot.anchor is None:
        return [(f"{prefix}lengths", f"{UNIT_NAMES[shot.units]} ({shot.origin})")] if several else []
    return [(f"{prefix}{label}", value) for label, value in (("lengths", _lengths(shot)), ("anchor", _anchored(shot)))]


def _lengths(shot: ShotReport) -> str:
    """``+- 13 % (0.5 % in anchored frames)``."""
    anchor = shot.anchor
    if anchor is None:
        return "not anchored"
    if isnan(anchor.sigma):
        return "uncertainty not known"
    far, near = percent(anchor.far_sigma), percent(anchor.sigma)
    return f"+- {far}" if far == near else f"+- {far} ({near} in anchored frames)"


def _anchored(shot: ShotReport) -> str:
    anchor = shot.anchor
    if anchor is None:
        return "none"
    far = f"{anchor.depth:.3g}{SHORT_UNITS[shot.units]} away in the middle"
    agree = f"{anchor.places:,} places in {counted(anchor.pictures)}, {far}; {percent(anchor.inlier_ratio)} agree"
    return f"{agree}, {percent(anchor.mismatch)} apart in the middle"
