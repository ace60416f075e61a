"""Metres per unit of a map whose unit is arbitrary: from metric depth of pictures in which landmarks are seen, or from
two landmarks whose distance somebody knows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from recon.types import CameraTrajectory, DepthMap, SparsePoints


@dataclass(frozen=True, slots=True)
class MapScale:
    """How long a map's unit is."""

    metres_per_unit: float
    """> 0."""
    sigma: float
    """Standard error of its logarithm (0.05: 5 %); NaN where nothing is known of it."""
    origin: str
    """Where it comes from, as a part of a sentence."""


def scale_from_depth(points: SparsePoints, time: float, depth: DepthMap, origin: str) -> MapScale:
    """From metric depth of one picture (first-frame depth, sensor); for several, see ``scale_from_depths``.

    Raises:
        AlignmentError: no landmark was seen where depth is known, or they do not agree.
    """
    raise NotImplementedError


def scale_from_depths(points: SparsePoints, depths: Iterable[tuple[float, DepthMap]], origin: str) -> MapScale:
    """From (time, metric depth) of some pictures, whose scales differ as those of a metric network do.

    Raises:
        AlignmentError: no picture determines a scale.
    """
    raise NotImplementedError


def scale_from_distance(path: Path, known: tuple[str, str, float]) -> MapScale:
    """From the metres between two points of the map at ``path`` (numbers of COLMAP, or "x,y,z" in its units).

    Raises:
        OptionError: a point that is none, twice the same point, or a distance that is not positive.
        FormatError: a map that cannot be read.
    """
    raise NotImplementedError


def scaled_points(points: SparsePoints, scale: MapScale) -> SparsePoints:
    """The same landmarks and observations in metres."""
    raise NotImplementedError


def scaled_trajectory(trajectory: CameraTrajectory, scale: MapScale) -> CameraTrajectory:
    """The same poses in metres."""
    raise NotImplementedError
