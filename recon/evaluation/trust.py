"""What a run reports of itself, and whether its lengths can be trusted: rules with a reason each, no true depth needed.

The limits are calibrated on real clips whose true depth is known, with maps of Depth Anything V2 Small (518 px, each
picture for itself) and sparse maps of structure from motion. Two of these maps are good: a kitchen (7-Scenes, 50
pictures; lengths 4 % off) and an office (HoloLens, 45 pictures; 1 % off). One is not, though its reprojection error is
as low as theirs (0.44 px): a hospital (TartanAir, 40 pictures), whose depth is off by 20 % and more at 93 % of its
landmarks, and turned inside out in the first third. Figures stand beside each limit as (kitchen, office, hospital).

What comes out: yes, yes, no. With 20 % of gross outliers added: yes, yes; with 40 %, which the fit stands: yes,
doubtful; with a scale that jitters by 15 % from picture to picture, or grows to 3.3 times: doubtful or no; with the
landmarks of another clip, or the same ones backwards in time: no, or no line at all.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import hypot, isfinite, isinf, isnan, sqrt
from typing import Final, Literal

from recon.types import Units

Trust = Literal["yes", "doubtful", "no"]
Basis = Literal["anchor", "given maps", "network", "nothing"]
"""What lengths stand on: an anchor that was fitted; metres in maps that were given; a network's own metres."""

FEW_INLIERS: Final = (0.75, 0.6)
"""Share of the places that agree with the line, below which lengths are doubtful, and not to be trusted (0.99, 0.96,
0.98; with 40 % of outliers 0.84, 0.74). Outliers are counted in median residuals: it hardly falls below a half."""
FEW_PLACES: Final = (100.0, 20.0)
"""Anchored places, fewer than which are doubtful, too few (50 000, 16 000, 5 300)."""
MISMATCH: Final = (0.15, 0.25)
"""Median relative error of depth at the anchored places, each picture with its own line (0.05, 0.02, 0.27; 0.03 to 0.05
with true depth). Above it, the anchor and the depth hardly show the same thing."""
ORDERED: Final = 0.3
"""Rank correlation of disparity and inverse depth, below which near and far are not in one order in a picture. The
least over the pictures is 0.86, 0.77, -0.82; with true depth 0.94; with 40 % of outliers still 0.40 and 0.39."""
MISORDERED: Final = (0.1, 0.25)
"""Share of the anchored pictures with another order (0, 0, 0.35): the map reprojects well, but its depth is wrong."""
LEVELS: Final = (2.0, 3.0)
"""95th over 5th percentile of the pictures' own levels (1.3, 1.8, 3.3; with true depth 1.3, 1.7, 1.5): a network for
single pictures changes its scale that much, and a curve follows; a map whose scale drifts looks alike, but worse."""
LEAST_PICTURES: Final = 5
"""Anchored pictures from which on their shares and spread say something."""
OFF: Final = 0.5
"""Weight of an anchored picture, below which it is off as a whole: 3 standard deviations of what pictures scatter."""
MANY_OFF: Final = (0.2, 0.4)
"""Share of the anchored pictures that are off as a whole (0.02, 0.02, 0)."""
LENGTH_SIGMA: Final = (0.1, 0.25)
"""Relative standard deviation of lengths, in the frame farthest from any anchored picture (0.018, 0.040, unknown)."""
PLAUSIBLE: Final = (0.1, 500.0)
"""Metres from the camera, between which the middle of the anchored places of a picture is to be expected: below, a
coin; above, mountains. Millimetres that are taken for metres lie beyond."""
USUAL_DRIFT: Final = 0.06
"""Relative change of lengths within a second, where a single anchored picture leaves it unknown: networks for single
pictures were measured (0.05, 0.08), and their clips then end (0.09, 0.29) off; it grows with the root of time."""
SEAM_JUMP: Final = 0.05
"""Median relative change of inverse depth where windows meet, if it is ``SEAM_RATIO`` times what is usual elsewhere.
(The kitchen's maps, which have no seams, change by 0.02 both there and elsewhere.)"""
SEAM_RATIO: Final = 3.0
FOV_SPREAD: Final = 0.05
"""Median absolute deviation of the measured field of view, as a part of it: widths are as uncertain."""

UNPLACED: Final = 0.1
"""Share of the frames without a pose, above which a run is doubtful. A blurred moment is no harm, seconds are."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """1 / z = scale * disparity + shift at one time."""

    time: float
    scale: float
    scale_sigma: float
    shift: float
    shift_sigma: float


@dataclass(frozen=True, slots=True)
class PictureReport:
    """One anchored picture."""

    time: float
    """Seconds."""
    places: int
    """Where it is anchored."""
    left_out: int
    """Places outside the picture, beside edges, or without disparity."""
    outliers: int
    """Places too far from the picture's own line to count."""
    residual: float
    """Median absolute residual from its own line, relative: the error of depth in the middle."""
    order: float
    """Rank correlation of disparity and inverse depth; NaN for few places."""
    level: float
    """Its own level over that of the smooth curve, minus 1."""
    weight: float
    """How much it counted: near 0 if it differs from the others; 1 if nothing of it counted."""

    @property
    def off(self) -> bool:
        """Whether it is off as a whole: by a little, so that it counts little, or so much that most places do not."""
        return self.weight < OFF or self.outliers > self.places / 2

    @property
    def misordered(self) -> bool:
        """Whether near and far are in another order than in the depth map."""
        return self.order < ORDERED


@dataclass(frozen=True, slots=True)
class AnchorReport:
    """How an anchor and the maps of a shot get on. Shares and spreads are NaN where there are too few pictures."""

    length_sigma: float
    """Relative standard deviation of lengths in the anchor's unit."""
    unit_sigma: float
    """Relative standard error of that unit itself, common to the whole run; NaN where it is not known."""
    drift: float
    """Relative change of lengths within a second, one standard deviation; NaN where it was not asked, infinite where no
    line could follow."""
    scatter: float
    """Relative difference of an anchored picture from the smooth curve, one standard deviation; NaN for one picture."""
    inlier_ratio: float
    """Share of the places that count."""
    places: int
    pictures: int
    left_out: int
    outliers: int
    depth: float
    """Median depth of the anchored places, in the units."""
    residual_mad: float
    """Median absolute residual of inverse depth, in 1 / units."""
    mismatch: float
    """The same, relative at the median depth."""
    misordered: float
    """Share of the pictures in which near and far are in another order than in the depth maps."""
    off: float
    """Share of the pictures that are off as a whole."""
    levels: float
    """95th over 5th percentile of the pictures' own levels."""
    gap: float
    """Seconds from the frame that is farthest from any anchored picture to the nearest one."""
    seen: tuple[PictureReport, ...]
    """The pictures; evenly thinned where there are very many."""
    rejected: tuple[PictureReport, ...]
    """Those off as a whole, or in another order; the worst of them where there are many."""

    @property
    def sigma(self) -> float:
        """Relative standard deviation of lengths, all in all, as far as it is known."""
        return hypot(self.length_sigma, 0.0 if isnan(self.unit_sigma) else self.unit_sigma)

    @property
    def far_sigma(self) -> float:
        """The same in the frame that is farthest from any anchored picture, by the drift until there."""
        drift = self.drift if isfinite(self.drift) else USUAL_DRIFT
        return hypot(self.sigma, drift * sqrt(self.gap))


@dataclass(frozen=True, slots=True)
class SeamReport:
    """What happens to depth where two windows of the network meet."""

    time: float
    """At which the cross-fade begins, seconds."""
    change: float
    """Relative change of the median inverse depth over the cross-fade."""
    after: float
    """The same over as many frames after it, for comparison; NaN at the end of a shot."""


@dataclass(frozen=True, slots=True)
class ShotReport:
    """The frames between two cuts."""

    number: int
    start: float
    """Time of the first frame, seconds."""
    end: float
    """Time of the last frame, seconds."""
    frames: int
    used: bool
    """False for a shot that could not stand in the world of the others."""
    units: Units
    origin: str
    """Where the units come from."""
    basis: Basis
    median_depth: float
    """In the units; NaN where it was not looked at."""
    curve: tuple[CurvePoint, ...]
    """What was applied."""
    smooth: tuple[CurvePoint, ...]
    """What the anchored pictures have in common, where that is something else."""
    anchor: AnchorReport | None
    seams: tuple[SeamReport, ...] = ()
    seam_jump: float = float("nan")
    """Median absolute change at seams."""
    seam_usual: float = float("nan")
    """Median absolute change over as many frames elsewhere."""


@dataclass(frozen=True, slots=True)
class CameraReport:
    """The field of view, and how it is known."""

    fov: float
    """Horizontal, degrees."""
    spread: float | None
    """Median absolute deviation over the pictures in which it was measured, degrees; None where it was not."""
    origin: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class PathReport:
    """Where the camera was in frames that share a world."""

    start: float
    """Time of the first of them, seconds."""
    end: float
    """Time of the last of them, seconds."""
    frames: int
    """Frames with a pose."""
    key_frames: int
    """Frames whose landmarks were remembered; 0 where nothing was estimated."""
    motion: Literal["free", "turning", "still"]
    moved: float
    """Length of the way, in the units of the shot."""
    turned: float
    """Degrees."""
    told: str
    """All of it, for a person."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run, as it reports of itself."""

    recon: str
    """Version."""
    source: str
    width: int
    height: int
    frames: int
    depth: str
    """What made the maps."""
    poses: str | None
    """Where they come from; None where none are needed."""
    without_pose: int
    """Frames that could not be placed."""
    camera: CameraReport | None
    """None where depth alone was written that does not depend on the camera."""
    shots: tuple[ShotReport, ...]
    paths: tuple[PathReport, ...] = ()
    """One for each world."""
    results: tuple[tuple[str, str], ...] = field(default=())
    """Name of each file, and what it holds."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason not to trust."""

    trust: Literal["doubtful", "no"]
    reason: str
    """A sentence without its full stop."""


def worst(findings: Sequence[Finding]) -> Trust:
    """What is left of trust."""
    grades = {finding.trust for finding in findings}
    return "no" if "no" in grades else "doubtful" if grades else "yes"


def findings_of(report: RunReport) -> list[Finding]:
    """All reasons, the gravest first; those of a shot name it where there are several."""
    several = len(report.shots) > 1
    of_shots = (
        Finding(each.trust, f"shot {shot.number}: {each.reason}" if several else each.reason)
        for shot in report.shots
        if shot.used
        for each in shot_findings(shot)
    )
    found = [*of_shots, *_left_out(report.shots), *camera_findings(report.camera), *_unplaced(report)]
    return sorted(found, key=lambda each: each.trust == "doubtful")


def _left_out(shots: Sequence[ShotReport]) -> Iterator[Finding]:
    left_out, frames = [shot for shot in shots if not shot.used], sum(shot.frames for shot in shots)
    if left_out:
        shots_told = "shot" if len(left_out) == 1 else f"{len(left_out)} shots, the first of them"
        told = f"{sum(shot.frames for shot in left_out)} of {frames} frames are left out ({shots_told} at"
        yield Finding("doubtful", f"{told} {left_out[0].start:.2f} s): {left_out[0].origin}")


def _unplaced(report: RunReport) -> Iterator[Finding]:
    """Frames that have depth and no pose: what the camera saw meanwhile is missing."""
    if report.without_pose > UNPLACED * report.frames:
        told = f"{report.without_pose} of {report.frames} frames have no pose and are left out"
        yield Finding("doubtful", f"{told}: the camera was lost, or --trajectory does not cover them")


def camera_findings(camera: CameraReport | None) -> list[Finding]:
    """What is wrong with the camera: widths and heights depend on it, and where bare landmarks are seen."""
    if camera is None:
        return []
    if camera.assumed:
        told = f"the field of view ({camera.fov:.0f} degrees) is assumed: give --fov or --intrinsics"
        return [Finding("doubtful", told)]
    spread = camera.spread or 0.0
    if spread > FOV_SPREAD * camera.fov:
        told = f"the field of view is uncertain: {camera.fov:.1f} +- {spread:.1f} degrees from frame to frame"
        return [Finding("doubtful", told)]
    return []


def shot_findings(shot: ShotReport) -> list[Finding]:
    """What speaks against the lengths of a shot."""
    anchor = shot.anchor
    by_anchor = [] if anchor is None else [found for rule in _ANCHOR_RULES for found in rule(anchor)]
    return [*_units(shot), *_plausible(shot), *by_anchor, *_single_picture(shot), *_seams(shot)]


# --- rules -------------------------------------------------------------------------------------------------------


def _units(shot: ShotReport) -> Iterator[Finding]:
    if shot.basis == "nothing":
        yield Finding("no", "there is no anchor: nothing says how long a metre is, nor how deep the scene")
    if shot.basis == "network":
        yield Finding("doubtful", "the metres are a network's own, and there is nothing to check them against")


def _plausible(shot: ShotReport) -> Iterator[Finding]:
    if shot.units == "metres" and shot.anchor is not None and not PLAUSIBLE[0] <= shot.anchor.depth <= PLAUSIBLE[1]:
        told = f"the middle of the anchored places is {shot.anchor.depth:.3g} m away"
        yield Finding("doubtful", f"{told}: is the anchor in metres (16-bit numbers: see --depth-scale)?")


def _single_picture(shot: ShotReport) -> Iterator[Finding]:
    anchor = shot.anchor
    if anchor is not None and anchor.pictures == 1 and USUAL_DRIFT * sqrt(anchor.gap) > LENGTH_SIGMA[0]:
        where = f"only the frame at {anchor.seen[0].time:.2f} s is anchored"
        told = f"networks may drift by {percent(anchor.far_sigma)} in the {anchor.gap:.1f} s beyond it"
        yield Finding("doubtful", f"{where}: {told}, and nothing here measures it")


def _seams(shot: ShotReport) -> Iterator[Finding]:
    if shot.seam_jump > max(SEAM_JUMP, SEAM_RATIO * shot.seam_usual):
        told = f"depth changes by {percent(shot.seam_jump)} where the network's windows meet"
        yield Finding("doubtful", f"{told}, and by {percent(shot.seam_usual)} elsewhere")


def _inliers(anchor: AnchorReport) -> Iterator[Finding]:
    told = f"only {percent(anchor.inlier_ratio)} of the {anchor.places} anchored places agree"
    return _low(anchor.inlier_ratio, FEW_INLIERS, told)


def _places(anchor: AnchorReport) -> Iterator[Finding]:
    return _low(float(anchor.places), FEW_PLACES, f"there are only {anchor.places} anchored places")


def _mismatch(anchor: AnchorReport) -> Iterator[Finding]:
    told = f"the anchor and the depth are {percent(anchor.mismatch)} apart in the middle"
    return _high(anchor.mismatch, MISMATCH, f"{told}: does the anchor belong to this video?")


def _order(anchor: AnchorReport) -> Iterator[Finding]:
    told = f"in {percent(anchor.misordered)} of the {anchor.pictures} anchored frames near and far are in another order"
    told += " than in the depth maps"
    return _high(anchor.misordered, MISORDERED, f"{told}: the anchor's depth is wrong, however well it reprojects")


def _followed(anchor: AnchorReport) -> Iterator[Finding]:
    if isinf(anchor.drift):
        when = "" if anchor.pictures == 1 else "for a time "
        told = f"{when}what is near to the anchor is far in the depth maps"
        yield Finding("no", f"{told}: no line can follow that, and one was taken for the whole shot")


def _levels(anchor: AnchorReport) -> Iterator[Finding]:
    told = f"the scale between anchor and depth maps changes by a factor of {anchor.levels:.1f}"
    return _high(anchor.levels, LEVELS, f"{told} in the course of the shot: one of them is not consistent")


def _off(anchor: AnchorReport) -> Iterator[Finding]:
    told = f"{percent(anchor.off)} of the {anchor.pictures} anchored frames are off as a whole"
    return _high(anchor.off, MANY_OFF, f"{told}: they differ from the others by more than their sigma")


def _sigma(anchor: AnchorReport) -> Iterator[Finding]:
    """What a single picture leaves open is a rule of its own."""
    sigma = anchor.sigma if anchor.pictures == 1 else anchor.far_sigma
    far = f", {anchor.gap:.1f} s from the nearest anchored frame" if sigma > anchor.sigma else ""
    return _high(sigma, LENGTH_SIGMA, f"lengths are uncertain by {percent(sigma)} (one standard deviation){far}")


def _unknown(anchor: AnchorReport) -> Iterator[Finding]:
    if isnan(anchor.length_sigma) and not isinf(anchor.drift):
        yield Finding("doubtful", "how far lengths may be off is not known: one line was taken for the whole shot")
    if isnan(anchor.unit_sigma):
        yield Finding("doubtful", "how far the anchor's unit itself may be off is not known")


_ANCHOR_RULES: Final[tuple[Callable[[AnchorReport], Iterator[Finding]], ...]] = (
    _mismatch,
    _order,
    _followed,
    _levels,
    _inliers,
    _places,
    _off,
    _sigma,
    _unknown,
)
"""In the order in which a person should read them."""


def _high(value: float, limits: tuple[float, float], reason: str) -> Iterator[Finding]:
    """A finding where a value is above a limit; unknown ones never are."""
    doubtful, no = limits
    if value > doubtful:
        yield Finding("no" if value > no else "doubtful", reason)


def _low(value: float, limits: tuple[float, float], reason: str) -> Iterator[Finding]:
    doubtful, no = limits
    if value < doubtful:
        yield Finding("no" if value < no else "doubtful", reason)


def percent(share: float) -> str:
    """0.0123 as ``1.2 %``; 0.45 as ``45 %``."""
    if not isfinite(share):
        return "an unknown part"
    return f"{100 * share:.{1 if abs(share) < 0.0995 else 0}f} %"
