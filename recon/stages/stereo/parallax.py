"""How far apart the eyes see each thing: disparity, or metric depth, becomes parallax, once for each shot.

Parallax is x in the right eye minus x in the left eye, in parts of the picture's width: below 0 in front of the
screen, 0 on it, above 0 behind. It is a straight line of disparity (inverse depth), never of depth:

    parallax = gain * (disparity of the screen - disparity)

Two parallel cameras a baseline b apart, of focal length f in picture widths, their pictures shifted so that what is at
distance C coincides, see a point at distance Z with the parallax f b (1/C - 1/Z) (Woods, Docherty and Koch, "Image
distortions in stereoscopic video systems", SPIE 1915, 1993, eqs. 1 to 5, for parallel cameras). So for metric depth
and true geometry the gain is f * ipd. Shown on a display of width S to eyes at distance V, a parallax P = S * parallax
is seen at the distance V * ipd / (ipd - P) (the same, eq. 6): with f = V / S (the picture fills the angle that the
camera saw) and C = V that is Z itself; at P = ipd the eyes look straight ahead, beyond it they would have to diverge.

One gain serves a whole shot, from robust percentiles of a few of its maps: snow, or one near pixel, changes nothing,
and what lies beyond the percentiles is compressed softly. The screen may move within a shot, slowly; in a shot whose
near half stays where it is, nothing moves at all.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import gaussian_filter1d

from recon.types import DepthEstimate, DepthMap, Parallax, Quantity

SAMPLES = 32
"""Maps of a shot that are looked at, at the most."""
NEAR, FAR = 0.99, 0.01
"""Quantiles of a map that are its near and its far end."""
OFTEN = 0.95
"""Quantile, over the maps, of their near ends (1 - this, of the far ones): a moment does not count."""
SOFT = 0.1
"""Beyond the ends there is this much more, as a part of the range, for all that lies there."""
FLAT = 0.25
"""The range is never taken as less than this part of the median disparity: a title, a wall or a drawing stays flat."""
RELIEF = 4.0
"""Range over the far end of a relative disparity, below which a shot is flat, too: its strength falls as the root.

Networks give the far end of real scenes almost no disparity. With Depth Anything V2 Small this ratio was 7 to
thousands in five real pictures, 2.1 in credits and 1.2 in a drawing, which it takes for reliefs.
"""
SPECK = 0.03
"""What is thinner than this part of the map's height (snow, a wire) does not count for the ends."""
STEEP = 8.0
"""Slope, in ranges for one height of the map, at which a pixel counts half: on silhouettes values are mixed."""
SUBJECT = (0.5, 0.95)
"""The screen stands at the mean disparity between these quantiles: of the nearer half."""
STILL = 0.003
"""In parts of the width: where the nearer half moves by less in the course of a shot, the screen stands still."""
SMOOTHED = 0.5
"""Standard deviation, seconds, by which the movement of the screen is smoothed."""
_STEP, _STEPS = 0.25, 256
"""Seconds between the knots of the screen's movement, unless a shot would have more than so many of them."""
_ROWS = 96
"""Rows of a map that are sorted, at the least; those between them are left out."""
_LEVELS = (FAR, 0.5, NEAR, *np.linspace(*SUBJECT, 64).tolist())
_TINY = 1e-6
"""A range below this part of the values is rounding."""

DisplayName = Literal["vr", "tv", "cinema", "phone"]
Fact = float | str | bool
Vector = Float64[np.ndarray, " n"]
Knots = Float64[np.ndarray, " k"]
Values = Float64[np.ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class Display:
    """Where the film is watched."""

    width: float
    """Of the picture, metres."""
    distance: float
    """From the eyes to where they have to focus, metres."""

    def __post_init__(self) -> None:
        if not (0 < self.width < math.inf and 0 < self.distance < math.inf):
            raise ValueError(f"a display has a width and a distance in metres, got {self}")

    @property
    def focal(self) -> float:
        """Focal length, in picture widths, of the camera whose view the picture fills."""
        return self.distance / self.width


def display(name: DisplayName) -> Display:
    """A usual display: a headset (90 degrees wide, focused at 1.3 m), a 55 inch TV, a cinema's middle row, a phone."""
    return {
        "vr": Display(2.6, 1.3),
        "tv": Display(1.21, 2.5),
        "cinema": Display(12.0, 14.0),
        "phone": Display(0.145, 0.35),
    }[name]


def zone_of_comfort(display: Display, ipd: float) -> tuple[float, float]:
    """How far in front of the screen, and behind it, parallax is comfortable on a display; in parts of the width, >= 0.

    Shibata, Kim, Hoffman and Banks, "The zone of comfort", Journal of Vision 11(8):11, 2011: eyes that focus at F
    dioptres are at ease while they converge between (F - 0.442) / 1.129 and (F + 0.626) / 1.035 dioptres. A
    convergence of D dioptres is the parallax ipd * (1 - distance * D). Behind, never more than the ipd: eyes do not
    diverge.
    """
    focus = 1 / display.distance
    farthest, nearest = max((focus - 0.442) / 1.129, 0.0), (focus + 0.626) / 1.035
    behind, front = (ipd * (1 - display.distance * dioptres) / display.width for dioptres in (farthest, nearest))
    return max(-front, 0.0), min(max(behind, 0.0), ipd / display.width)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked of the depth. Parts of the width: 0.01 is 1 %."""

    strength: float | None = 0.025
    """From the far to the near end, in parts of the width; None: physical, see ``ipd`` and ``display``."""
    front: float = 0.01
    """The most in front of the screen, in parts of the width."""
    behind: float = 0.03
    """The most behind the screen, in parts of the width."""
    convergence: float | None = None
    """What is on the screen, from 0 (the far end) to 1 (the near end) of the shot; None: found, see ``SUBJECT``."""
    ipd: float = 0.063
    """Distance of the eyes, metres (mean of adults: Dodgson 2004)."""
    display: Display | None = None
    """If it is known: parallax keeps within its zone of comfort too, and never exceeds the ipd on it."""
    speed: float = 0.004
    """How much of the width the screen may move in a second."""

    def __post_init__(self) -> None:
        lengths = (self.front, self.behind, self.speed, self.strength or 0.0)
        if not all(0 <= length < math.inf for length in lengths):
            raise ValueError(f"strength, front, behind and speed must be finite and not negative, got {self}")
        if self.convergence is not None and not 0 <= self.convergence <= 1:
            raise ValueError(f"convergence lies between 0 (far) and 1 (near), got {self.convergence}")
        if not 0 < self.ipd < math.inf:
            raise ValueError(f"eyes are some metres apart, got {self.ipd}")
        if self.strength is None and self.display is None:
            raise ValueError("without a strength, a display is needed: physical strength depends on it")

    @property
    def budget(self) -> tuple[float, float]:
        """The most in front of the screen and behind it, on the display if it is known."""
        if self.display is None:
            return self.front, self.behind
        front, behind = zone_of_comfort(self.display, self.ipd)
        return min(self.front, front), min(self.behind, behind)


@dataclass(frozen=True, slots=True)
class ShotParallax:
    """Parallax of all maps of one shot."""

    quantity: Quantity
    far: float
    """Far end of the shot, disparity (for depth: 1/m)."""
    near: float
    """Near end of the shot, disparity."""
    soft: float
    """What lies beyond the ends comes to lie within this much of them, disparity; > 0."""
    gain: float
    """Parts of the width for one unit of disparity, >= 0."""
    times: Vector
    """Seconds, increasing: the knots of the screen's movement."""
    screen: Vector
    """Disparity of the screen at each; between them it moves evenly, beyond them it stands still."""
    facts: Mapping[str, Fact] = field(default_factory=lambda: MappingProxyType({}))
    """For the report: what near, far and screen are, which strength was used, and why."""
    sentence: str = ""
    """The same for a person."""

    def screen_at(self, time: float) -> float:
        """Disparity of the screen at a time in seconds."""
        return float(np.interp(time, self.times, self.screen))

    def parallax(self, estimate: DepthEstimate) -> Parallax:
        """Parallax of a map, at its size, in parts of the width; finite everywhere.

        What is unknown (NaN) is put at the far end: in metric maps it is mostly sky, and what is far hides nothing.
        """
        disparity = _disparity(estimate.values, self.quantity)
        disparity = np.where(np.isnan(disparity), self.far, disparity)
        bounded = self._softened(disparity)
        return ((self.screen_at(estimate.time) - bounded) * self.gain).astype(np.float32)

    def _softened(self, disparity: Values) -> Values:
        """The same between the ends; beyond them slower and slower, with a continuous slope."""
        bounded: Values = np.clip(disparity, self.far, self.near)
        beyond = disparity != bounded  # a few per cent: exponentials are slow
        excess = disparity[beyond] - bounded[beyond]
        bounded[beyond] += np.copysign(self.soft * -np.expm1(-np.abs(excess) / self.soft), excess)
        return bounded


def sample_places(count: int) -> list[int]:
    """Which of the maps of a shot ``plan`` wants to see: ``SAMPLES`` at the most, spread over all of it.

    >>> sample_places(3)
    [0, 1, 2]
    """
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, SAMPLES)).tolist()})


def plan(
    samples: Sequence[DepthEstimate], quantity: Quantity, wish: Wish, *, focal: float | None = None
) -> ShotParallax:
    """The parallax of a shot, from some of its maps in order of time.

    The strength is lowered, never raised: where the comfort budget asks for it, and where the shot is flat
    (``FLAT``, ``RELIEF``). The results do not depend on scale and shift of a relative disparity, as long as the shot is
    not flat. What is beyond the ends adds ``SOFT`` of the range at each, at the most, and all of it keeps the budget.

    With a strength of None and metric depth the geometry is that of two cameras an ipd apart, as far as the budget
    allows; the screen stands at the distance of the display unless a convergence is given, or the budget asks for
    another place. Relative depth has no metres: there, the comfort range of the display is filled.

    Args:
        samples: maps of one shot; see ``sample_places``.
        quantity: what their numbers are.
        wish: what is asked.
        focal: focal length of the camera in picture widths, fx / width; unknown: that for which the display is right.
    """
    looks = [look for look in (_look(sample, quantity) for sample in samples) if look is not None]
    if not looks:
        return _nothing_known(quantity)
    ends = _ends(looks, quantity)
    asked = _asked_gain(ends, quantity, wish, focal)
    gain = min(asked, _most_gain(ends, wish))
    times, screen = _screen(looks, ends, gain, quantity, wish)
    shot = ShotParallax(quantity, ends.far, ends.near, ends.soft, gain, times, screen)
    return _reported(shot, ends, wish, asked)


# --------------------------------------------------------------------------------------------------------- one map


class _Look(NamedTuple):
    """What is remembered of a map, all disparities."""

    time: float
    far: float
    near: float
    median: float
    subject: float
    """Mean of the nearer half."""


def _disparity(values: DepthMap, quantity: Quantity) -> Values:
    """NaN where unknown; infinitely far is 0 for depth."""
    numbers = values.astype(np.float64)
    if quantity == "disparity":
        return numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse: Values = np.where(numbers > 0, 1 / numbers, np.nan)
    return inverse


def _look(sample: DepthEstimate, quantity: Quantity) -> _Look | None:
    disparity = _disparity(sample.values, quantity)
    known = np.isfinite(disparity)
    if not known.any():
        return None
    # The scale is taken out before the numbers become float32 for OpenCV: 16 bits of a range are kept, wherever it is.
    middle, unit = _middle_and_unit(disparity[known])
    relative = np.where(known, (disparity - middle) / unit, 0).clip(-1e6, 1e6).astype(np.float32)
    calm = _without_specks(relative)
    weights = _smoothness(calm) * known
    step = max(1, calm.shape[0] // _ROWS)
    far, median, near, *nearer = _quantiles(calm[::step, ::step], weights[::step, ::step], _LEVELS)
    # A mean between quantiles moves evenly when a subject grows, where a single quantile would jump.
    subject = sum(nearer) / len(nearer)
    return _Look(sample.time, *(middle + unit * value for value in (far, near, median, subject)))


def _middle_and_unit(values: Vector) -> tuple[float, float]:
    """A robust middle and range."""
    low, middle, high = (float(value) for value in np.quantile(values, (0.05, 0.5, 0.95)))
    widest = max(high - low, 0.1 * float(np.ptp(values)))
    return middle, widest if widest > _TINY * max(abs(low), abs(high)) else max(abs(middle), 1.0)


def _without_specks(relative: DepthMap) -> DepthMap:
    """Without near things, and far ones, that are small: a grey-scale opening and closing."""
    size = 2 * round(SPECK * relative.shape[0] / 2) + 1
    kernel = np.ones((size, size), np.uint8)
    opened = cv2.morphologyEx(relative, cv2.MORPH_OPEN, kernel)
    calm: DepthMap = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, kernel)
    return calm


def _smoothness(relative: DepthMap) -> Float32[np.ndarray, "h w"]:
    """1 on surfaces, near 0 on silhouettes; of a map whose range is about 1."""
    slope_x, slope_y = (cv2.Scharr(relative, cv2.CV_32F, *axis, scale=1 / 32) for axis in ((1, 0), (0, 1)))
    steepness = cv2.magnitude(slope_x, slope_y) * (relative.shape[0] / STEEP)
    smooth: Float32[np.ndarray, "h w"] = 1 / (1 + steepness**2)
    return smooth


def _quantiles(values: np.ndarray, weights: np.ndarray, levels: Sequence[float]) -> list[float]:
    order = np.argsort(values, axis=None, kind="stable")
    weight = weights.ravel()[order].astype(np.float64)
    until_middle = (np.cumsum(weight) - weight / 2) / weight.sum()
    found: list[float] = np.interp(levels, until_middle, values.ravel()[order].astype(np.float64)).tolist()
    return found


# --------------------------------------------------------------------------------------------------------- the shot


class _Ends(NamedTuple):
    """What a shot holds, disparities."""

    far: float
    near: float
    soft: float
    span: float
    """The range that the strength is for: that between the ends, or more where the shot is flat."""

    @property
    def reach(self) -> tuple[float, float]:
        """The farthest and the nearest that comes out."""
        return self.far - self.soft, self.near + self.soft

    @property
    def flat(self) -> bool:
        return self.span > self.near - self.far


def _ends(looks: Sequence[_Look], quantity: Quantity) -> _Ends:
    far = float(np.quantile([look.far for look in looks], 1 - OFTEN))
    near = max(float(np.quantile([look.near for look in looks], OFTEN)), far)
    median = abs(float(np.median([look.median for look in looks])))
    relief = math.sqrt(RELIEF * max(far, 0.0) * (near - far)) if quantity == "disparity" else 0.0
    span = max(near - far, FLAT * median, relief)
    return _Ends(far, near, SOFT * span if span > 0 else 1.0, span)


def _asked_gain(ends: _Ends, quantity: Quantity, wish: Wish, focal: float | None) -> float:
    if wish.strength is None and wish.display is not None and quantity == "depth":
        return (focal or wish.display.focal) * wish.ipd
    strength = sum(wish.budget) / (1 + 2 * SOFT) if wish.strength is None else wish.strength
    return strength / ends.span if ends.span > 0 else 0.0


def _most_gain(ends: _Ends, wish: Wish) -> float:
    """The gain with which everything just fits into the budget."""
    front, behind = wish.budget
    farthest, nearest = ends.reach
    if wish.convergence is None:
        return (front + behind) / (nearest - farthest)
    screen = _fraction(ends, wish.convergence)
    return min(front / (nearest - screen), behind / (screen - farthest))


def _fraction(ends: _Ends, convergence: float) -> float:
    return ends.far + convergence * (ends.near - ends.far)


def _screen(looks: Sequence[_Look], ends: _Ends, gain: float, quantity: Quantity, wish: Wish) -> tuple[Vector, Vector]:
    """Knots of the screen's movement; one, where it stands still."""
    if wish.convergence is not None:
        return np.array([looks[0].time]), np.array([_fraction(ends, wish.convergence)])
    times, screen = _wanted_screen(looks, gain, quantity, wish)
    if gain == 0:
        return times, screen
    (front, behind), (farthest, nearest) = wish.budget, ends.reach
    # No farther back than things in front allow, no nearer than things behind do: the gain leaves room for both.
    return times, np.minimum(np.maximum(screen, nearest - front / gain), farthest + behind / gain)


def _wanted_screen(looks: Sequence[_Look], gain: float, quantity: Quantity, wish: Wish) -> tuple[Vector, Vector]:
    start = np.array([looks[0].time])
    if wish.strength is None and wish.display is not None and quantity == "depth":
        return start, np.array([1 / wish.display.distance])
    subject = np.array([look.subject for look in looks])
    if np.ptp(subject) * gain <= STILL or wish.speed == 0 or looks[-1].time <= looks[0].time:
        return start, np.array([np.median(subject)])
    return _ramped(np.array([look.time for look in looks]), subject, wish.speed / gain)


def _ramped(times: Vector, values: Vector, speed: float) -> tuple[Knots, Knots]:
    """A smooth curve near the values that changes no faster than this in a second.

    The middle between the greatest such curve below the values and the least one above; it begins to move before they
    do, for it knows what comes.
    """
    length = float(times[-1] - times[0])
    count = min(max(math.ceil(length / _STEP), 1), _STEPS) + 1
    knots = np.linspace(times[0], times[-1], count)
    wanted = np.interp(knots, times, values)
    room = speed * np.abs(knots[:, None] - knots)
    middle = ((wanted + room).min(axis=1) + (wanted - room).max(axis=1)) / 2
    # Averages of such a curve and its shifted self are such curves too.
    return knots, gaussian_filter1d(middle, SMOOTHED * (count - 1) / length, mode="nearest")


def _nothing_known(quantity: Quantity) -> ShotParallax:
    """Everything on the screen."""
    nothing = np.zeros(1)
    facts: dict[str, Fact] = {"strength": 0.0, "why": "nothing is known of its depth", "moving": False}
    return ShotParallax(quantity, 0.0, 0.0, 1.0, 0.0, nothing, nothing, facts, "nothing is known of its depth: flat")


# ------------------------------------------------------------------------------------------------------- the report


def _reported(shot: ShotParallax, ends: _Ends, wish: Wish, asked: float) -> ShotParallax:
    why = _why(shot, ends, wish, asked)
    front = (shot.near - float(shot.screen.min())) * shot.gain
    behind = (float(shot.screen.max()) - shot.far) * shot.gain
    strength = (shot.near - shot.far) * shot.gain
    facts: dict[str, Fact] = {
        "quantity": shot.quantity,
        "near": shot.near,
        "far": shot.far,
        "screen": float(np.median(shot.screen)),
        "gain": shot.gain,
        "strength": strength,
        "front": front,
        "behind": behind,
        "moving": len(shot.screen) > 1,
        "why": why,
    }
    sentence = f"{strength:.2%} of the width ({why}): {max(front, 0):.2%} in front, {max(behind, 0):.2%} behind; "
    return ShotParallax(
        shot.quantity, shot.far, shot.near, shot.soft, shot.gain, shot.times, shot.screen,
        MappingProxyType(facts), sentence + _places(shot),
    )  # fmt: skip


def _why(shot: ShotParallax, ends: _Ends, wish: Wish, asked: float) -> str:
    physical = wish.strength is None and shot.quantity == "depth"
    if shot.gain < asked * (1 - _TINY):
        whole = (shot.near - shot.far) * asked
        return f"lowered from {whole:.2%} to keep the comfort budget"
    if physical:
        return f"true for eyes {1000 * wish.ipd:.0f} mm apart"
    if ends.flat:
        return "lowered, the shot is flat"
    return "as asked" if wish.strength is not None else "all that is comfortable there"


def _places(shot: ShotParallax) -> str:
    """Where near, far and screen are."""
    screens = sorted({float(shot.screen.min()), float(shot.screen.max())})
    if shot.quantity == "depth":
        near, far = _metres(shot.near), _metres(shot.far)
        return f"near {near}, far {far}, screen at {' to '.join(_metres(screen) for screen in reversed(screens))}"
    width = shot.near - shot.far
    shares = [f"{(screen - shot.far) / width:.0%}" if width > 0 else "0%" for screen in screens]
    return f"screen at {' to '.join(shares)} of the way from far to near"


def _metres(disparity: float) -> str:
    return f"{1 / disparity:.3g} m" if disparity > 0 else "infinitely far"


__all__ = [
    "SAMPLES",
    "Display",
    "DisplayName",
    "ShotParallax",
    "Wish",
    "display",
    "plan",
    "sample_places",
    "zone_of_comfort",
]
