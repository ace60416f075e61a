"""How well points or surfaces agree with true ones: distances both ways, precision, recall and F-score.

Source: Knapitsch et al., Tanks and Temples, ACM Transactions on Graphics 36(4), 2017, section 5.3, equations 3 to 7.
Both clouds must stand in one world and one unit; nothing is aligned here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from scipy.spatial import cKDTree

from recon.errors import FormatError

THRESHOLDS = (0.02, 0.05, 0.1)
"""Metres."""
FARTHEST = 1.0
"""Metres up to which the nearest point is searched for, unless told otherwise."""
DENSITY = 10_000.0
"""Points for a square metre of a surface: one in each square of 1 cm."""
MOST_SAMPLES = 50_000_000
"""More points on a surface are taken for a mistake about its unit."""
BLOCK = 500_000
"""Points that are looked up at once: what bounds the memory."""

Points = Float32[np.ndarray, "n 3"]


@dataclass(frozen=True, slots=True)
class Distances:
    """From each point of one cloud to the nearest of the other, metres; none counts as more than the limit."""

    mean: float
    median: float
    percentile_90: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """What agrees within a distance; shares from 0 to 1."""

    threshold: float
    """Metres; nearer than this agrees."""
    precision: float
    """Share of the predicted points that are near a true one."""
    recall: float
    """Share of the true points that are near a predicted one."""

    @property
    def f_score(self) -> float:
        """Harmonic mean of precision and recall; 0 where both are."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


@dataclass(frozen=True, slots=True)
class CloudComparison:
    """How two clouds agree."""

    accuracy: Distances
    """From predicted to true."""
    completeness: Distances
    """From true to predicted."""
    agreements: tuple[Agreement, ...]
    """One for each threshold."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle mesh."""

    vertices: Float[np.ndarray, "n 3"]
    """Metres."""
    triangles: Int[np.ndarray, "m 3"]
    """Rows of ``vertices``."""


def compare_clouds(
    predicted: Points,
    true: Float32[np.ndarray, "m 3"],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    farthest: float = FARTHEST,
) -> CloudComparison:
    """Distances between two clouds, and the shares that agree within each threshold.

    Every point counts alike, so a cloud that is dense where it is right looks better than it is: thin both first
    (``thinned``), as the benchmark does with half the threshold.

    Args:
        predicted: Metres.
        true: Metres, in the same world.
        thresholds: Metres.
        farthest: Metres; what has no neighbour so near counts as this far. Points far from everything cost much more
            time than the others where this is infinite.

    Raises:
        FormatError: a cloud is empty or holds numbers that are not finite.
        ValueError: a threshold that is not positive or beyond ``farthest``.
    """
    if not all(0 < threshold <= farthest for threshold in thresholds):
        raise ValueError(f"thresholds must lie between 0 and {farthest:g} m, got {list(thresholds)}")
    _require_points("predicted", predicted)
    _require_points("true", true)
    accuracy, completeness = _to_nearest(predicted, true, farthest), _to_nearest(true, predicted, farthest)
    agreements = [Agreement(each, _share(accuracy, each), _share(completeness, each)) for each in thresholds]
    return CloudComparison(_distances(accuracy), _distances(completeness), tuple(agreements))


def compare_surfaces(
    predicted: Surface,
    true: Surface,
    random: np.random.Generator,
    *,
    density: float = DENSITY,
    thresholds: Sequence[float] = THRESHOLDS,
    farthest: float = FARTHEST,
) -> CloudComparison:
    """The same of two meshes: of points that are spread evenly over both.

    Args:
        predicted: Metres.
        true: Metres, in the same world.
        random: Where the points lie; the same generator gives the same figures.
        density: Points for a square metre. Two surfaces that are the same are still about 0.5 / sqrt(density) apart.
        thresholds: Metres.
        farthest: See ``compare_clouds``.

    Raises:
        FormatError: a mesh without area, with numbers that are not finite, or too large to be in metres.
        ValueError: as ``compare_clouds``.
    """
    clouds = [sampled(surface, random, density=density) for surface in (predicted, true)]
    return compare_clouds(*clouds, thresholds=thresholds, farthest=farthest)


def sampled(surface: Surface, random: np.random.Generator, *, density: float = DENSITY) -> Points:
    """Points spread evenly over a surface at random.

    Source: Osada et al., Shape Distributions, ACM Transactions on Graphics 21(4), 2002, section 3.1, equation 1.

    Args:
        surface: Its vertices may be shared or not, its triangles face anywhere.
        random: Where the points lie.
        density: Points for a square metre.

    Raises:
        FormatError: no area, numbers that are not finite, vertices that do not exist, or too large to be in metres.
    """
    corners = _corners(surface)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    total = float(areas.sum())
    count = total * density
    if total == 0 or count > MOST_SAMPLES:
        raise FormatError(f"the mesh has an area of {total:g} m2, {count:g} points: is it a surface, and in metres?")
    sums = areas.cumsum()
    rows = np.searchsorted(sums, random.uniform(0, sums[-1], max(1, round(count))), side="right")
    chosen = corners[rows.clip(max=len(areas) - 1)]
    root, along = np.sqrt(random.random(len(chosen))), random.random(len(chosen))
    weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    points: Points = np.einsum("nc,ncx->nx", weights, chosen).astype(np.float32)
    return points


def thinned(points: Points, size: float) -> Float32[np.ndarray, "m 3"]:
    """The mean of the points in each cube of a grid, as Tanks and Temples levels the density of clouds.

    Args:
        points: Metres.
        size: Edge of a cube in metres: half the threshold, there.

    Raises:
        FormatError: the cloud is empty or holds numbers that are not finite.
        ValueError: a size that is not positive.
    """
    if not size > 0:
        raise ValueError(f"the edge of a cube must be positive, got {size:g}")
    _require_points("given", points)
    cubes = np.floor(points.astype(np.float64) / size).astype(np.int64)
    order = np.lexsort(cubes.T)  # four times as fast as np.unique of rows
    begins = (np.diff(cubes[order], axis=0, prepend=cubes[order[:1]] - 1) != 0).any(axis=1)
    starts = np.flatnonzero(begins)
    counts = np.diff(starts, append=len(points))
    sums = np.add.reduceat(points[order].astype(np.float64), starts)
    means: Float32[np.ndarray, "m 3"] = (sums / counts[:, None]).astype(np.float32)
    return means


def _corners(surface: Surface) -> Float64[np.ndarray, "m 3 3"]:
    vertices, triangles = surface.vertices, surface.triangles
    if not len(triangles):
        raise FormatError("the mesh has no triangles")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise FormatError(f"a triangle of the mesh names a vertex that is not there (it has {len(vertices)})")
    corners: Float64[np.ndarray, "m 3 3"] = vertices.astype(np.float64)[triangles]
    if not np.isfinite(corners).all():
        raise FormatError("the mesh has a vertex that is not finite")
    return corners


def _require_points(which: str, points: Points) -> None:
    if not len(points):
        raise FormatError(f"the {which} cloud is empty: there is nothing to compare")
    unknown = int((~np.isfinite(points).all(axis=1)).sum())
    if unknown:
        raise FormatError(f"{unknown} of {len(points)} points of the {which} cloud are not finite: leave them out")


def _to_nearest(points: Points, others: Float32[np.ndarray, "m 3"], farthest: float) -> Float64[np.ndarray, " n"]:
    """Distance of each point to the nearest of the others, at most the farthest."""
    tree = cKDTree(others)
    distances = np.zeros(len(points))
    for start in range(0, len(points), BLOCK):
        block = slice(start, start + BLOCK)
        distances[block] = tree.query(points[block], distance_upper_bound=farthest, workers=-1)[0]
    return distances.clip(max=farthest)


def _distances(distances: Float64[np.ndarray, " n"]) -> Distances:
    median, percentile = np.quantile(distances, (0.5, 0.9))
    return Distances(float(distances.mean()), float(median), float(percentile))


def _share(distances: Float64[np.ndarray, " n"], threshold: float) -> float:
    return float(np.mean(distances < threshold))
