"""Metres per unit of a map whose unit is arbitrary.

From metric depth of pictures in which landmarks are seen, or from two landmarks whose distance somebody knows. What
landmarks and poses are worth in metres is then ``scaled_points`` and ``scaled_trajectory``: after that all of a run is
in metres, and two units never meet.
"""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from recon.errors import AlignmentError, OptionError
from recon.fitting import SIGMA_FROM_MAD, fit_scale
from recon.io.sparse import position_of
from recon.stages.anchors import from_sparse
from recon.types import CameraTrajectory, DepthMap, SparsePoints, Units

logger = logging.getLogger(__name__)

UNIT_NAMES: dict[Units, str] = {"metres": "m", "slam": "SLAM units", "relative": "relative units (not metres)"}
"""What a person reads."""
SHORT_UNITS: dict[Units, str] = {"metres": " m", "slam": " SLAM units", "relative": ""}
PICTURES = 8
"""Pictures of which a metric network is asked for the scale of a map."""
DOUBTFUL = 0.1
"""Standard error of a scale from which on a warning is given."""
_FEWEST = 3
"""Landmarks without which a picture says nothing: of two that differ nobody knows which is wrong."""
_APART = 1e-6
"""Part of their coordinates by which two places of a map must differ to be two."""


@dataclass(frozen=True, slots=True)
class MapScale:
    """How long a map's unit is."""

    metres_per_unit: float
    """> 0."""
    sigma: float
    """Standard error of its logarithm (0.05: 5 %); NaN where nothing is known of it."""
    origin: str
    """Where it comes from, as a part of a sentence."""

    @property
    def sentence(self) -> str:
        """All of it, for a report."""
        known = "" if math.isnan(self.sigma) else f" +- {self.sigma:.1%}"
        return f"1 unit of the map is {self.metres_per_unit:.4g} m{known} ({self.origin})"


def scale_from_depth(points: SparsePoints, time: float, depth: DepthMap, origin: str) -> MapScale:
    """From metric depth of one picture: a robust mean of metres per unit over the landmarks seen there.

    The standard error is the scatter of single landmarks, not that of their mean: the landmarks of one picture err
    together (the map is bent, the depth is biased), and counting them would promise .1 %. Measured with the sensor's
    first depth map and real models: HoloLens +.3 % from the scale of the poses, scatter .7 %; 7-Scenes +3.6 %, 2.5 %;
    a model of TartanAir that is known to be wrong: 59 % of scatter.

    Args:
        points: landmarks that were seen at ``time``, among others.
        time: of the picture, seconds.
        depth: (h, w) at any size, metres along +z, NaN = unknown.
        origin: what the depth is, as a part of a sentence.

    Raises:
        AlignmentError: fewer than 3 landmarks were seen where depth is known, or they do not agree at all.
    """
    return _told(_of_picture(points, time, depth, origin))


def scale_from_depths(points: SparsePoints, depths: Iterable[tuple[float, DepthMap]], origin: str) -> MapScale:
    """From metric depth of several pictures, each with an error of its own, as a metric network has it.

    Each picture gives a scale as in ``scale_from_depth``; their median counts. The standard error is the spread of the
    pictures (root mean square, so that one which disagrees is not passed over), not that of their mean: in one scene
    such a network errs to one side. Pictures that say nothing are left out; where a single one is left, the standard
    error is that of ``scale_from_depth``. Measured with 8 of the sensor's own maps and real models: HoloLens -.5 % from
    the scale of the poses, spread 2.2 %; 7-Scenes +4.7 % (the model is bent), .7 %; the wrong model of TartanAir: 33 %.

    Args:
        points: landmarks, and when they were seen.
        depths: (seconds, metric depth (h, w) at any size, NaN = unknown); read one by one.
        origin: what the depth is, as a part of a sentence.

    Raises:
        AlignmentError: no picture says anything.
    """
    scales = []
    for time, depth in depths:
        try:
            scales.append(_of_picture(points, time, depth, origin))
        except AlignmentError as error:
            logger.info("left out: %s", error)
    if not scales:
        raise AlignmentError(
            f"{origin}: no picture shows {_FEWEST} landmarks of the map where depth is known: give --scale-from "
            "known-distance"
        )
    return _told(scales[0] if len(scales) == 1 else _of_pictures(scales, origin))


def scale_from_distance(path: Path, known: tuple[str, str, float]) -> MapScale:
    """From the metres between two points of a map.

    Args:
        path: of the map.
        known: the two points, each the number of a COLMAP point or "x,y,z" in the map's units, and the metres.

    Raises:
        OptionError: a point that is none, twice the same place, or a distance that is not positive.
        FormatError: a map that cannot be read.
    """
    first, second, metres = known
    if not (math.isfinite(metres) and metres > 0):
        raise OptionError(f"--known-distance: {metres:g} m is no distance; it must be positive")
    places = np.stack([position_of(path, point) for point in (first, second)])
    units = float(np.linalg.norm(places[0] - places[1]))
    if not units > _APART * float(np.abs(places).max()):
        raise OptionError(f"--known-distance: {first} and {second} are one and the same place of the map")
    return MapScale(metres / units, math.nan, f"{metres:g} m from {first} to {second}")


def spread_times(points: SparsePoints, count: int = PICTURES) -> list[float]:
    """Times of at most ``count`` pictures in which landmarks were seen, evenly spread over all such pictures."""
    times = np.unique(points.times)
    chosen = np.unique(np.linspace(0, len(times) - 1, min(count, len(times))).round().astype(int))
    return [float(time) for time in times[chosen]]


def scaled_points(points: SparsePoints, scale: MapScale) -> SparsePoints:
    """The same landmarks and observations in metres."""
    metres = scale.metres_per_unit
    return SparsePoints(points.points * metres, points.times, points.point, points.position, points.depth * metres)


def scaled_trajectory(trajectory: CameraTrajectory, scale: MapScale) -> CameraTrajectory:
    """The same poses in metres."""
    poses = trajectory.world_from_camera.copy()
    poses[:, :3, 3] *= scale.metres_per_unit
    return CameraTrajectory(trajectory.times, poses)


def _metres_per_unit(points: SparsePoints, time: float, depth: DepthMap) -> Float64[np.ndarray, " n"]:
    """What each landmark says that was seen at that time, beside no edge of the depth."""
    known = np.isfinite(depth) & (depth > 0)
    inverse_metres = np.divide(np.float32(1), depth, where=known, out=np.full_like(depth, np.nan, np.float32))
    seen = from_sparse(points, time, inverse_metres)
    ratios: Float64[np.ndarray, " n"] = seen.inverse_depth / seen.disparity
    return ratios


def _of_picture(points: SparsePoints, time: float, depth: DepthMap, origin: str) -> MapScale:
    ratios = _metres_per_unit(points, time, depth)
    if len(ratios) < _FEWEST:
        raise AlignmentError(
            f"{origin}: of the landmarks that the map shows at {time:.3f} s, {len(ratios)} lie where depth is known, "
            f"but a scale needs {_FEWEST}: give another --scale-from, or another map"
        )
    try:
        fit = fit_scale(np.ones(len(ratios)), ratios)
    except AlignmentError as error:
        raise AlignmentError(f"{origin}: the landmarks at {time:.3f} s do not agree on a scale ({error})") from error
    scatter = SIGMA_FROM_MAD * fit.residual_mad / fit.scale
    return MapScale(fit.scale, scatter, f"{origin}, {fit.count} landmarks, {fit.inlier_ratio:.0%} of them agree")


def _of_pictures(scales: list[MapScale], origin: str) -> MapScale:
    logarithms = np.log([scale.metres_per_unit for scale in scales])
    middle = float(np.median(logarithms))
    spread = float(np.sqrt(np.mean((logarithms - middle) ** 2)))
    return MapScale(math.exp(middle), spread, f"{origin}, median of {len(scales)} pictures")


def _told(scale: MapScale) -> MapScale:
    if scale.sigma > DOUBTFUL:
        logger.warning(
            "%s: do not trust the metres; is the map good, and do the pictures belong to it?", scale.sentence
        )
    return scale
