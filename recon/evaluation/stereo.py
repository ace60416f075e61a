"""How good a synthesised right eye is, beside the one that a camera saw.

No single number tells. Where disparity is small a copy of the left eye comes near to the right one though it shows no
depth at all, and none of PSNR, SSIM and SIoU notices that the eyes are swapped. So what is new in the right eye is
scored apart from what both eyes see, the pair is matched again to read back the sign and the scale of its disparity,
and three controls stand beside every prediction.

Disparity here is in pixels, of the left eye: what is at x there is at x - disparity in the right one. It is positive
(parallel cameras), NaN = unknown.

SIoU was published with a script (github.com/song2yu/Mono2Stereo, utils_depth/metrics.py, commit 5095b9f) that subtracts
and squares 8-bit numbers, which wrap at 256. Here nothing wraps: numbers of that script cannot be compared with these.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from recon.errors import AlignmentError
from recon.fitting import fit_scale
from recon.types import DepthMap, Picture

PREDICTED: Final = "predicted"
LEFT_TWICE: Final = "left eye twice"
SWAPPED: Final = "eyes swapped"
REAL: Final = "real right eye"

SAME_SURFACE = 1.0
"""Neighbours whose disparity differs by more pixels lie on two surfaces; at 1, the right eye sees one from the side."""
NEAR_EDGE = 3
"""Pixels from a silhouette that count as near it."""
SEARCHED = 2.0
"""Times the greatest true disparity, to either side: how far a match is looked for."""
LEAST_DISPARITY = 1.0
"""Pixels below which a true disparity says too little about sign and scale."""

_BETWEEN = (-0.375, -0.125, 0.125, 0.375)
"""Places within a pixel that are carried to the right eye: a surface stretched twofold still has no cracks."""
_BLOCK = 5
_SOFT = 0.7
"""Pixels (standard deviation) over which colours are smoothed before their changes are compared."""
_CLEAR = 20.0
"""Difference of colour (CIELAB, OpenCV's bytes) that is as clear as any."""

Region = Bool[np.ndarray, "h w"]
Columns = Int64[np.ndarray, "h w"]
Places = Int64[np.ndarray, " n"]
Grey = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class TruePair:
    """What two cameras side by side saw, and how far apart it is."""

    left: Picture
    right: Picture
    disparity: DepthMap
    """Pixels, of the left eye, NaN = unknown."""

    def __post_init__(self) -> None:
        _require_same_size(self.left, self.right)
        _require_same_size(self.left, self.disparity)


@dataclass(frozen=True, slots=True)
class Regions:
    """What the pixels of a right eye show; each but those near an edge is in one region only."""

    visible: Region
    """The left eye sees it too."""
    edges: Region
    """Visible, and near a silhouette."""
    occluded: Region
    """Something nearer hides it from the left eye."""
    outside: Region
    """Beyond the right border of the left eye."""
    unknown: Region
    """Not to be told, for the disparity of the left eye is not known everywhere."""


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near a picture comes to the true one, in some region."""

    psnr: float
    """Decibels, over the three colours; infinite where the pictures are equal, NaN where the region is empty."""
    ssim: float
    """Mean structural similarity of the luma, at most 1; NaN where the region is empty."""
    pixels: int
    """Size of the region."""


@dataclass(frozen=True, slots=True)
class Rematch:
    """What disparity a pair of eyes shows, found by matching them (Hirschmüller 2008), beside the true one.

    A pair that shows depth at its true scale has a high coverage, nothing reversed, and a scale of 1.
    """

    coverage: float
    """Share of the pixels of known disparity where the eyes match with a positive disparity."""
    reversed: float
    """The same share with a negative one: what is near in truth is seen behind. High where the eyes are swapped."""
    scale: float
    """Disparity shown for one pixel of true disparity; NaN where nothing matches. The rest, too, is of matches > 0."""
    epe: float
    """Median abs(shown - true), pixels."""
    d1: float
    """Share of matches that are wrong by more than 3 pixels and more than 5 % (KITTI 2015)."""


@dataclass(frozen=True, slots=True)
class EyeScores:
    """What a right eye scored."""

    everywhere: Fidelity
    """Over the whole picture, where nothing is known too."""
    visible: Fidelity
    edges: Fidelity
    occluded: Fidelity
    siou: float
    """See ``siou``."""
    rematch: Rematch


def scored_with_controls(predicted: Picture, truth: TruePair) -> Mapping[str, EyeScores]:
    """Scores of a right eye, and of three that show by what they score whether a number means anything.

    Controls: the left eye twice (no depth at all); the eyes swapped (all depth reversed; what is shown to the right is
    the left eye again, so only the match can tell); the real right eye (what the best possible one scores).
    """
    eyes = {PREDICTED: predicted, LEFT_TWICE: truth.left, REAL: truth.right}
    parts = regions(truth.disparity)
    scores = {name: _score(eye, truth, parts) for name, eye in eyes.items()}
    swapped = rematch(truth.right, truth.left, truth.disparity)
    return {**scores, SWAPPED: replace(scores[LEFT_TWICE], rematch=swapped)}


def score_eye(predicted: Picture, truth: TruePair) -> EyeScores:
    """Everything about one right eye.

    Raises:
        ValueError: it has another size, or no true disparity is known.
    """
    return _score(predicted, truth, regions(truth.disparity))


def _score(predicted: Picture, truth: TruePair, parts: Regions) -> EyeScores:
    everywhere = np.ones_like(parts.visible)
    masks = (everywhere, parts.visible, parts.edges, parts.occluded)
    of_all, of_visible, of_edges, of_occluded = fidelities(predicted, truth.right, masks)
    return EyeScores(
        everywhere=of_all,
        visible=of_visible,
        edges=of_edges,
        occluded=of_occluded,
        siou=siou(predicted, truth.left, truth.right),
        rematch=rematch(truth.left, predicted, truth.disparity),
    )


# ------------------------------------------------------------------------------------------------------------ pictures


def fidelities(predicted: Picture, true: Picture, masks: tuple[Region, ...]) -> tuple[Fidelity, ...]:
    """PSNR and SSIM over each of some regions.

    Raises:
        ValueError: the pictures or regions differ in size.
    """
    for other in (true, *masks):
        _require_same_size(predicted, other)
    error = np.square(cv2.absdiff(predicted, true).astype(np.float64)).mean(axis=-1)
    similar = similarity(_luma(predicted), _luma(true))
    return tuple(
        Fidelity(psnr=_psnr(error[mask]), ssim=_mean(similar[mask]), pixels=int(np.count_nonzero(mask)))
        for mask in masks
    )


def _psnr(error: Float64[np.ndarray, " n"]) -> float:
    mean = _mean(error)
    return math.inf if mean == 0 else 10 * math.log10(255**2 / mean)


def _mean(values: Float64[np.ndarray, " n"]) -> float:
    return float(values.mean()) if len(values) else math.nan


def similarity(a: Grey, b: Grey) -> Float64[np.ndarray, "h w"]:
    """Structural similarity around each pixel: 1 where the surroundings are equal.

    Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, eq. 13, with
    its constants and its Gaussian window (11 x 11, sigma 1.5), on the luma as there; mirrored at the borders.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x, variance_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure: Float64[np.ndarray, "h w"] = (2 * covariance + c2) / (variance_x + variance_y + c2)
    both: Float64[np.ndarray, "h w"] = luminance * structure
    return both


def _blurred(values: Float64[np.ndarray, "h w"]) -> Float64[np.ndarray, "h w"]:
    blurred: Float64[np.ndarray, "h w"] = cv2.GaussianBlur(values, (11, 11), 1.5, borderType=cv2.BORDER_REFLECT)
    return blurred


def siou(predicted: Picture, left: Picture, right: Picture) -> float:
    """Stereo intersection over union, from 0 to 1: whether edges, and differences to the left eye, are where they were.

    0.75 IoU of Canny's edges (100, 200) of the predicted and the true right eye, plus 0.25 IoU of where each of them
    differs from the left eye by more than 5 grey levels. Source: Yu et al., Mono2Stereo, CVPR 2025 (arXiv 2503.22262).
    It does not notice that eyes are swapped.
    """
    edges = (cv2.Canny(_luma(eye), 100, 200) > 0 for eye in (predicted, right))
    differences = (_luma(cv2.absdiff(eye, left)) > 5 for eye in (predicted, right))
    return 0.75 * _overlap(*edges) + 0.25 * _overlap(*differences)


def _overlap(a: Region, b: Region) -> float:
    """Intersection over union; 1 where both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def _luma(picture: Picture) -> Grey:
    grey: Grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return grey


def flicker(now: tuple[Picture, Picture], before: tuple[Picture, Picture], region: Region) -> float:
    """How differently a predicted eye changes from one frame to the next than the true one, 0 to 1; NaN if no region.

    Mean over the region of abs((predicted - predicted before) - (true - true before)), in full ranges of 8 bits. Blur
    flickers little: read it beside PSNR. The region that matters is what is occluded now or was before.

    Args:
        now: the predicted and the true right eye.
        before: the same, one frame earlier.
        region: the pixels that count.
    """
    change, true_change = (a.astype(np.float64) - b for a, b in zip(now, before, strict=True))
    return _mean(np.abs(change - true_change)[region].ravel()) / 255


# ------------------------------------------------------------------------------------------------------------- regions


def regions(disparity: DepthMap) -> Regions:
    """What the pixels of the right eye show, from the disparity of the left one.

    A right pixel is visible if a point of the left eye lands in it, the nearest if several do; each pixel of the left
    eye is a piece of surface that reaches to its neighbours. What nothing lands in is a hole: outside if it reaches the
    right border, else occluded. Where n pixels of unknown disparity lie between those that land on its two sides, they
    may fill n pixels of it from either end: these are unknown. What is nearer than a visible thing but unmeasured, or
    beyond the border of the left eye, goes unnoticed.
    """
    source, shown = _landed(disparity)
    hole = source < 0
    column = np.arange(hole.shape[1])
    before, after = _neighbours(~hole)
    missing = _unknown_between(disparity, source, before, after)
    certain = hole & (column - before > missing) & (after - column > missing)
    outside = certain & (after == len(column))
    occluded = certain & ~outside
    visible = ~hole
    return Regions(
        visible=visible,
        edges=visible & _near_edges(shown, occluded),
        occluded=occluded,
        outside=outside,
        unknown=hole & ~certain,
    )


def _landed(disparity: DepthMap) -> tuple[Columns, Float32[np.ndarray, "h w"]]:
    """For each right pixel the column of the left one that is seen there (-1: none), and its disparity (NaN)."""
    height, width = disparity.shape
    row, column = np.nonzero(np.isfinite(disparity))
    points = [(row, column, column + 0.5 + place, _between(disparity, place)[row, column]) for place in _BETWEEN]
    rows, columns, x, shift = (np.concatenate(values) for values in zip(*points, strict=True))
    target = np.floor(x - shift).astype(np.int64)
    seen = np.flatnonzero((target >= 0) & (target < width))
    order = seen[np.argsort(shift[seen], kind="stable")]
    # Later assignments win: far first, near last.
    source, shown = np.full((height, width), -1, np.int64), np.full((height, width), np.nan, np.float32)
    source[rows[order], target[order]] = columns[order]
    shown[rows[order], target[order]] = shift[order]
    return source, shown


def _between(disparity: DepthMap, place: float) -> DepthMap:
    """Disparity beside the middle of each pixel, along the surface that it shares with its neighbour on that side."""
    step = np.diff(disparity, axis=1)
    step = np.where(np.abs(step) <= SAME_SURFACE, step, np.float32(0))
    to_neighbour = np.pad(step, ((0, 0), (0, 1) if place > 0 else (1, 0)))
    return disparity + to_neighbour * np.float32(place)


def _neighbours(covered: Region) -> tuple[Columns, Columns]:
    """Column of the next covered pixel to the left (-1: none) and to the right (the width: none)."""
    width = covered.shape[1]
    column = np.arange(width)
    before = np.maximum.accumulate(np.where(covered, column, -1), axis=1)
    after = np.minimum.accumulate(np.where(covered, column, width)[:, ::-1], axis=1)[:, ::-1]
    return before, after


def _unknown_between(disparity: DepthMap, source: Columns, before: Columns, after: Columns) -> Columns:
    """How many left pixels of unknown disparity lie between those that land on either side of each right pixel."""
    height, width = source.shape
    # Beyond the borders of the right eye stand the borders of the left one.
    framed = np.concatenate([np.full((height, 1), -1), source, np.full((height, 1), width)], axis=1)
    first, last = (np.take_along_axis(framed, place + 1, axis=1) for place in (before, after))
    until = np.pad(np.cumsum(~np.isfinite(disparity), axis=1), ((0, 0), (1, 0)))
    start, end = (np.take_along_axis(until, place, axis=1) for place in (first + 1, np.maximum(last, first + 1)))
    missing: Columns = end - start
    return missing


def _near_edges(shown: DepthMap, occluded: Region) -> Region:
    """Pixels near something occluded or near a step of disparity, in the right eye."""
    edge = occluded.copy()
    for axis in (0, 1):
        step = np.abs(np.diff(shown, axis=axis)) > SAME_SURFACE
        for behind in (0, 1):
            edge |= np.pad(step, [(1 - behind, behind) if each == axis else (0, 0) for each in (0, 1)])
    reach = np.ones((2 * NEAR_EDGE + 1, 2 * NEAR_EDGE + 1), np.uint8)
    near: Region = cv2.dilate(edge.astype(np.uint8), reach) > 0
    return near


# --------------------------------------------------------------------------------------------------- sign and scale


def rematch(left: Picture, right: Picture, disparity: DepthMap) -> Rematch:
    """Match two eyes as they are shown, and compare with the true disparity of the left one.

    Raises:
        ValueError: sizes differ, or no true disparity of a pixel or more is known.
    """
    for other in (right, disparity):
        _require_same_size(left, other)
    known = disparity >= LEAST_DISPARITY
    if not known.any():
        raise ValueError(f"no true disparity reaches {LEAST_DISPARITY:g} pixel: nothing to compare with")
    shown, true = matched(left, right, float(disparity[known].max()))[known], disparity[known]
    forward = shown > LEAST_DISPARITY / 2
    error = np.abs(shown - true)[forward]
    wrong = (error > 3) & (error > 0.05 * true[forward])
    return Rematch(
        coverage=float(forward.mean()),
        reversed=float((shown < -LEAST_DISPARITY / 2).mean()),
        scale=_scale(true[forward], shown[forward]),
        epe=float(np.median(error)) if len(error) else math.nan,
        d1=_mean(wrong.astype(np.float64)),
    )


def matched(left: Picture, right: Picture, greatest: float) -> DepthMap:
    """Disparity of the left eye by semi-global matching, to both signs; NaN where the eyes do not agree.

    Black margins as wide as the search keep the matcher from leaving out as much of the picture.
    """
    reach = 16 * math.ceil(SEARCHED * greatest / 16)
    eyes = [cv2.copyMakeBorder(eye, 0, 0, reach, reach, cv2.BORDER_CONSTANT) for eye in (left, right)]
    area = left.shape[2] * _BLOCK**2
    matcher = cv2.StereoSGBM.create(
        minDisparity=-reach,
        numDisparities=2 * reach,
        blockSize=_BLOCK,
        P1=8 * area,
        P2=32 * area,
        disp12MaxDiff=1,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
        mode=cv2.StereoSGBM_MODE_SGBM_3WAY,
    )
    found: DepthMap = matcher.compute(*eyes)[:, reach:-reach].astype(np.float32) / 16
    return np.where(found < -reach, np.float32(np.nan), found)


def eye_order(left: Picture, right: Picture, disparity: tuple[DepthMap, DepthMap]) -> float:
    """Which eye is which, from the pictures alone: > 0 where they are the right way round, < 0 where they are swapped.

    The sign of disparity does not tell: after convergence there are both, and swapped eyes show a world turned inside
    out that is as consistent. But what one eye sees and the other does not is *background*: in the left eye it ends,
    on its right, in the silhouette of something nearer. So at these places colour changes more at the right end than
    at the left one; with swapped eyes it is the other way round. Of ten real pairs of Middlebury the order is found in
    all, from 0.05 to 0.27.

    Args:
        left: one eye, which is held for the left one.
        right: the other.
        disparity: of both, matched with each other (`matched`): left with right, and right with left.

    Returns:
        -1 to 1; 0 where no such place is found.
    """
    return (_ends(left, disparity[0]) - _ends(right, disparity[1])) / 2


def _ends(eye: Picture, disparity: DepthMap) -> float:
    """How much more colour changes at the right ends of places that the other eye does not see, -1 to 1."""
    row, first, last = _half_occluded(disparity)
    if not len(row):
        return 0.0
    lab = cv2.cvtColor(cv2.GaussianBlur(eye, (0, 0), _SOFT), cv2.COLOR_RGB2LAB).astype(np.float32)

    def change(column: Places) -> Float32[np.ndarray, " n"]:
        places = [np.clip(column + offset, 0, eye.shape[1] - 1) for offset in (-2, 2)]
        step: Float32[np.ndarray, " n"] = np.linalg.norm(lab[row, places[1]] - lab[row, places[0]], axis=1)
        return step

    at_left = np.maximum(change(first), change(first - 1))
    at_right = np.maximum(change(last), change(last + 1))
    return float(np.clip((at_right - at_left) / _CLEAR, -1, 1).mean())


def _half_occluded(disparity: DepthMap) -> tuple[Places, Places, Places]:
    """Row, first and last column of places without a match that are as wide as disparity rises over them."""
    known = np.isfinite(disparity)
    _before, after = _neighbours(known)
    row, first = np.nonzero(~known[:, 1:] & known[:, :-1])
    first = first + 1
    last = after[row, first] - 1
    inside = (last < disparity.shape[1] - 1) & (first > 0)
    row, first, last = row[inside], first[inside], last[inside]
    rise, width = disparity[row, last + 1] - disparity[row, first - 1], last - first + 1
    fits = (rise > 2 * LEAST_DISPARITY) & (np.abs(width - rise) < np.maximum(3, rise / 2))
    return row[fits], first[fits], last[fits]


def _scale(true: Float32[np.ndarray, " n"], shown: Float32[np.ndarray, " n"]) -> float:
    try:
        return fit_scale(true, shown).scale
    except AlignmentError:
        return math.nan


def _require_same_size(one: np.ndarray, other: np.ndarray) -> None:
    if one.shape[:2] != other.shape[:2]:
        raise ValueError(f"sizes differ: {one.shape[:2]} and {other.shape[:2]}")
