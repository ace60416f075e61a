"""How the still part of a shot moves from frame to frame: one 4x4 matrix for every camera and any depth.

A place is (x, y, parallax), in parts of the picture's width. As parallax is linear in inverse depth, places are points
of space up to a projective map, and so is the motion of a camera among them (plane and parallax: Irani and Anandan,
"Parallax geometry of pairs of points for 3D scene analysis", 1996; here as one map of homogeneous places). Maps of
places compose by multiplication, so nothing has to be resampled in between.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from recon.types import Parallax, Samples

PlaceMap = Float64[np.ndarray, "4 4"]
"""Homogeneous (x, y, parallax, 1) to the same."""
Points = Float64[np.ndarray, "n 2"]

SMALL: Final = 640
"""Width, about, of the pictures in which points are followed: of whole blocks of pixels, for other shrinking has an
error that depends on the place (a third of a pixel, measured)."""
POINTS: Final = 600
LEAST_POINTS: Final = 20
MATCHED: Final = 0.45
"""Share of the followed points of the farther half that one motion must explain."""
LEFT: Final = 0.6
"""Share of the points of a key picture that must still be seen; else another picture becomes the key."""
FAR_OFF: Final = 3.0
"""Pixels (small) from the motion of the far points beyond which a point is not still."""
STILL: Final = 0.25
"""Pixels by which nothing may move for the camera to count as still."""
NOISE: Final = 0.05 / SMALL
"""Of a followed point, in widths."""
PRIOR: Final = np.array([0.1, 0.1, 1.0, 1.0, 0.1, 0.1, 1.0, 1.0, 0.02, 0.02, 0.3])
"""Deviations of the eleven numbers of a motion from none, before any point is seen."""
OF_A_PLANE: Final = np.where(np.arange(11) % 4 == 2, 1e-9, PRIOR)
"""The same where parallax plays no part: a camera that turns, or anything that moves before a plane."""
DEEPER: Final = 0.85
"""Parallax plays its part where the points then follow so much better: else it would only fit their noise."""


class _Look(NamedTuple):
    """What is kept of a picture."""

    grey: UInt8[np.ndarray, "h w"]
    parallax: Parallax
    """At the same small size."""
    pixel: float
    """Width of a pixel, in parts of the picture's."""


@dataclass(slots=True)
class _Key:
    """A picture whose points are followed."""

    look: _Look
    points: Points
    at: Points
    """Where they were seen last."""
    key_from_start: PlaceMap


class Motion:
    """Follows the still part of one shot; one picture after the other."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._before: tuple[_Look, PlaceMap] | None = None

    def follow(self, picture: Samples, parallax: Parallax) -> PlaceMap | None:
        """The map of places of the first frame to those of this one; None where that is lost, and this one is first."""
        look = _look(picture, parallax)
        if self._before is not None and np.array_equal(look.grey, self._before[0].grey):
            return self._before[1]
        now = self._followed(look, parallax.shape[1])
        if now is None and self._before is not None:
            self._key = _key(*self._before)
            now = self._followed(look, parallax.shape[1])
        if now is None:
            self._key = _key(look, np.eye(4))
        self._before = look, np.eye(4) if now is None else now
        return now

    def _followed(self, look: _Look, width: int) -> PlaceMap | None:
        key = self._key
        if key is None or len(key.points) < LEAST_POINTS:
            return None
        at, found = _tracked(key, look.grey)
        if np.count_nonzero(found) < LEFT * len(key.points):
            return None
        key.at = at
        places = _places(key.points[found], key.look)
        fit = _fit(places, _places(at[found], look))
        if fit is None:
            return None
        now_from_key, matched = fit
        shift = np.linalg.norm((moved(now_from_key, places[matched]) - places[matched])[:, :2], axis=1)
        if np.quantile(shift, 0.9) * width < STILL:
            return key.key_from_start
        now_from_start: PlaceMap = now_from_key @ key.key_from_start
        return now_from_start


def _look(picture: Samples, parallax: Parallax) -> _Look:
    height, width = parallax.shape
    block = min(max(1, round(width / SMALL)), height)
    size = (width // block, height // block)
    whole = (slice(0, size[1] * block), slice(0, size[0] * block))
    small = cv2.resize(picture[whole], size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    of_8_bits = cv2.convertScaleAbs(grey, alpha=1 / 257) if grey.dtype == np.uint16 else grey.astype(np.uint8)
    return _Look(of_8_bits, cv2.resize(parallax[whole], size, interpolation=cv2.INTER_NEAREST), block / width)


def _key(look: _Look, key_from_start: PlaceMap) -> _Key:
    corners: object = cv2.goodFeaturesToTrack(look.grey, POINTS, 0.005, 5, mask=_smooth(look.parallax))
    points = np.zeros((0, 2)) if corners is None else np.asarray(corners, np.float64).reshape(-1, 2)
    return _Key(look, points, points, key_from_start)


def _smooth(parallax: Parallax) -> UInt8[np.ndarray, "h w"]:
    """255 where no outline is near, for points there belong to two surfaces."""
    around = np.ones((9, 9), np.uint8)
    spread = cv2.dilate(parallax, around) - cv2.erode(parallax, around)
    smooth: UInt8[np.ndarray, "h w"] = np.where(spread * parallax.shape[1] < 1.0, 255, 0).astype(np.uint8)
    return smooth


def _tracked(key: _Key, grey: UInt8[np.ndarray, "h w"]) -> tuple[Points, Bool[np.ndarray, " n"]]:
    """Where the points of a key picture are now (Lucas and Kanade 1981, by pyramids), and whether they were found."""
    at, found, _ = cv2.calcOpticalFlowPyrLK(
        key.look.grey,
        grey,
        key.points.astype(np.float32),
        key.at.astype(np.float32),
        winSize=(15, 15),
        maxLevel=3,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.003),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    at = at.reshape(-1, 2).astype(np.float64)
    height, width = grey.shape
    inside = (at > 2).all(axis=1) & (at < (width - 3, height - 3)).all(axis=1)
    return np.where(np.isfinite(at), at, 0.0), inside & (found.ravel() > 0)


def _places(points: Points, look: _Look) -> Float64[np.ndarray, "n 3"]:
    height, width = look.grey.shape
    column, row = (np.rint(points).astype(int).clip(0, (width - 1, height - 1))).T
    return np.column_stack([(points + 0.5) * look.pixel, look.parallax[row, column]])


def _fit(
    before: Float64[np.ndarray, "n 3"], now: Float64[np.ndarray, "n 3"]
) -> tuple[PlaceMap, Bool[np.ndarray, " n"]] | None:
    """The motion that most of the far points follow, from all points that follow it; and which do."""
    far = before[:, 2] >= np.median(before[:, 2])
    if np.count_nonzero(far) < LEAST_POINTS // 2:
        return None
    reach = FAR_OFF / SMALL
    similar, matched = cv2.estimateAffinePartial2D(before[far, :2], now[far, :2], ransacReprojThreshold=reach)
    if np.mean(matched) < MATCHED:
        return None
    error = np.linalg.norm(before[:, :2] @ similar[:, :2].T + similar[:, 2] - now[:, :2], axis=1)
    weight = (error < reach).astype(np.float64)
    plane, deep = (_robust(before, now, weight, prior) for prior in (OF_A_PLANE, PRIOR))
    motion, weight, _ = deep if deep[2] < DEEPER * plane[2] else plane
    if np.count_nonzero(weight[far]) < MATCHED * np.count_nonzero(far):
        return None
    motion[2] = _solved_parallax(motion, before, now, weight)
    return motion, weight > 0


def _robust(
    before: Float64[np.ndarray, "n 3"],
    now: Float64[np.ndarray, "n 3"],
    weight: Float64[np.ndarray, " n"],
    prior: Float64[np.ndarray, " 11"],
) -> tuple[PlaceMap, Float64[np.ndarray, " n"], float]:
    """A motion by Tukey's weights, these, and the spread of what follows it."""
    motion, spread = np.eye(4), np.inf
    for _ in range(8):
        motion[[0, 1, 3]] = _solved(before, now, weight, prior)
        error = np.linalg.norm(moved(motion, before)[:, :2] - now[:, :2], axis=1)
        spread = max(1.4826 * float(np.median(error[weight > 0])), NOISE)
        weight = np.where(error < 4 * spread, (1 - np.minimum(error / (4 * spread), 1) ** 2) ** 2, 0.0)
        if not weight.any():
            break
    return motion, weight, spread


def _solved(
    before: Float64[np.ndarray, "n 3"],
    now: Float64[np.ndarray, "n 3"],
    weight: Float64[np.ndarray, " n"],
    prior: Float64[np.ndarray, " 11"],
) -> Float64[np.ndarray, "3 4"]:
    """Rows x, y and 1 of a motion by least squares, linear in its eleven numbers (Hartley and Zisserman, 7.1)."""
    ones, none = np.ones((len(before), 1)), np.zeros((len(before), 4))
    place = np.concatenate([before, ones], axis=1)
    of_x = np.concatenate([place, none, -now[:, :1] * before], axis=1)
    of_y = np.concatenate([none, place, -now[:, 1:2] * before], axis=1)
    root = np.sqrt(np.concatenate([weight, weight]))[:, None]
    system = root * np.concatenate([of_x, of_y])
    shift = root[:, 0] * (now[:, :2] - before[:, :2]).T.ravel()
    values = np.linalg.solve(system.T @ system + np.diag((NOISE / prior) ** 2), system.T @ shift)
    rows: Float64[np.ndarray, "3 4"] = np.append(values, 0.0).reshape(3, 4) + np.eye(4)[[0, 1, 3]]
    return rows


def _solved_parallax(
    motion: PlaceMap,
    before: Float64[np.ndarray, "n 3"],
    now: Float64[np.ndarray, "n 3"],
    weight: Float64[np.ndarray, " n"],
) -> Float64[np.ndarray, " 4"]:
    """The row of parallax: what it becomes, for maps of parallax that say so."""
    place = np.concatenate([before, np.ones((len(before), 1))], axis=1)
    change = now[:, 2] * (place @ motion[3]) - before[:, 2]
    prior = np.diag(1e-4 / np.array([0.01, 0.01, 0.1, 0.01]))
    keep = weight > 0
    values = np.zeros(4)
    for _ in range(4):
        root = np.sqrt(keep * weight)[:, None]
        system, right = np.concatenate([root * place, prior]), np.append(root[:, 0] * change, np.zeros(4))
        values = np.linalg.lstsq(system, right, rcond=None)[0]
        error = np.abs(place @ values - change)
        keep = (weight > 0) & (error <= 3 * 1.4826 * np.median(error[keep]) + 1e-7)
    row: Float64[np.ndarray, " 4"] = values + np.eye(4)[2]
    return row


def moved(motion: PlaceMap, places: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Places after a motion."""
    after = places @ motion[:, :3].T + motion[:, 3]
    there: Float64[np.ndarray, "n 3"] = after[:, :3] / after[:, 3:]
    return there


__all__ = ["Motion", "PlaceMap", "moved"]
