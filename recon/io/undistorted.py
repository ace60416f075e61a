"""Pictures without distortion: a source whose pictures one pinhole took, made of one that lenses took.

The pinhole sees what all lenses see: no border shows where there is no picture. Its pixels are as many as before, and
have the shape that they had before. What bulges out beyond the rectangle that is left (the corners of a barrel) is
lost, and so is what lies beyond 110 degrees along the longer side: a pinhole stretches that threefold and more.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int16, Int64, UInt16

from recon.errors import CameraError
from recon.io.lens import Lens, outline
from recon.io.source import ROUNDING, Source, SourceInfo
from recon.types import DepthMap, Frame, Intrinsics, Picture

_WIDEST = np.radians(110.0)
"""Field of view along the longer side of a pinhole that still makes a picture."""
_KEPT_MAPS = 4
"""Lenses whose maps are kept; 12 MB each for a picture of 1920 x 1080."""
_BAND = 1 << 18
"""Pixels whose places are computed at once."""
_SHRINK = 1.005
"""Step by which the view narrows until no border shows."""
_TINIEST = 0.02
"""Tangent, about a degree: no view at all."""
_ON_BORDER = 0.05
"""Pixels beyond the border that show nothing: what lies there repeats the border's pixel."""
_EVEN = 0.02
"""Part of the inverse depth by which it may differ within half a pixel where there is no edge."""
_NOWHERE = -16.0
"""Pixels: outside every picture."""


@dataclass(frozen=True, slots=True)
class Lenses:
    """Which lens took which picture."""

    lenses: tuple[Lens, ...]
    """The most common one first."""
    times: Float64[np.ndarray, " n"]
    """Seconds, increasing, of pictures whose lens is known; one will do for a single lens."""
    which: Int64[np.ndarray, " n"]
    """Rows of ``lenses``."""

    @classmethod
    def single(cls, lens: Lens) -> "Lenses":
        """One for all pictures."""
        return cls((lens,), np.zeros(1), np.zeros(1, np.int64))

    @classmethod
    def of_pictures(cls, lens_by_time: Mapping[float, Lens]) -> "Lenses":
        """One for each time in seconds, many of which may be equal."""
        times = np.array(sorted(lens_by_time), np.float64)
        taken = [lens_by_time[time] for time in times.tolist()]
        lenses = [lens for lens, _count in Counter(taken).most_common()]
        rows = {lens: row for row, lens in enumerate(lenses)}
        return cls(tuple(lenses), times, np.array([rows[lens] for lens in taken], np.int64))

    def changed(self, change: Callable[[Lens], Lens]) -> "Lenses":
        """Each lens made anew."""
        return replace(self, lenses=tuple(map(change, self.lenses)))

    def row(self, time: float) -> int:
        """Which lens took the picture at a time in seconds: that of the nearest picture whose lens is known."""
        after = int(np.searchsorted(self.times, time))
        near = (max(after - 1, 0), min(after, len(self.times) - 1))
        return int(self.which[min(near, key=lambda number: abs(float(self.times[number]) - time))])


def common_pinhole(lenses: Sequence[Lens]) -> Intrinsics:
    """A pinhole at the first lens' size of picture that sees nothing that one of them does not.

    It has the largest view there is for pixels of the shape that the first lens has, but no more than 110 degrees along
    the longer side. Its principal point is as near to that lens' as may be.

    Raises:
        CameraError: they see nothing in common.
    """
    camera = lenses[0].intrinsics
    views = [_view(lens) for lens in lenses]
    low, high = np.max([view[0] for view in views], axis=0), np.min([view[1] for view in views], axis=0)
    while ((low < 0) & (high > 0)).all():
        found = _filled(camera, low, high)
        if all(_shows_no_border(lens, found) for lens in lenses):
            return found
        low, high = low / _SHRINK, high / _SHRINK
        if max(high - low) < _TINIEST:
            break
    kinds = ", ".join(sorted({lens.kind for lens in lenses}))
    raise CameraError(f"{len(lenses)} lenses ({kinds}) have no picture in common that a pinhole could take")


def _view(lens: Lens) -> tuple[Float64[np.ndarray, " 2"], Float64[np.ndarray, " 2"]]:
    """The rectangle on the plane z = 1, (left, upper) and (right, lower), between the borders of its picture."""
    camera, most = lens.intrinsics, float(np.tan(_WIDEST / 2))
    plane = lens.plane_from_pixels(outline(camera.width, camera.height)).reshape(4, -1, 2)
    left, right, upper, lower = (side[:, axis] for side, axis in zip(plane, (0, 0, 1, 1), strict=True))
    low = [float(np.fmax.reduce(side, initial=-most)) for side in (left, upper)]
    high = [float(np.fmin.reduce(side, initial=most)) for side in (right, lower)]
    return np.array(low), np.array(high)


def _filled(camera: Intrinsics, low: Float64[np.ndarray, " 2"], high: Float64[np.ndarray, " 2"]) -> Intrinsics:
    """The pinhole that sees as much as it can of a rectangle and nothing else, with pixels of the camera's shape."""
    size, focal = np.array([camera.width, camera.height]), np.array([camera.fx, camera.fy])
    focal = focal * float((size / (focal * (high - low))).max())
    centre = np.clip([camera.cx, camera.cy], size - focal * high, np.maximum(-focal * low, size - focal * high))
    return Intrinsics(float(focal[0]), float(focal[1]), float(centre[0]), float(centre[1]), camera.width, camera.height)


def _shows_no_border(lens: Lens, pinhole: Intrinsics) -> bool:
    places = _seen(lens, pinhole, outline(pinhole.width, pinhole.height))
    within = (-_ON_BORDER, -_ON_BORDER), np.array([pinhole.width, pinhole.height]) + _ON_BORDER
    return bool(((places >= within[0]) & (places <= within[1])).all())


def _seen(lens: Lens, pinhole: Intrinsics, pixels: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
    """Where the lens' picture holds what the pinhole sees at pixels."""
    plane = (pixels - (pinhole.cx, pinhole.cy)) / (pinhole.fx, pinhole.fy)
    return lens.pixels_from_plane(plane)


# --------------------------------------------------------------------------------------------------------------- source

_Places = Float32[np.ndarray, "h w 2"]
"""For each pixel of the pinhole its place (x, y) in the lens' picture, on OpenCV's grid (its first centre is 0)."""
_Maps = tuple[Int16[np.ndarray, "h w 2"], UInt16[np.ndarray, "h w"]]
"""The same to a thirty-second of a pixel, in a third of the space, as cv2.remap likes it."""


@dataclass(frozen=True, slots=True)
class UndistortedSource:
    """A source whose pictures are those of one pinhole. A ``recon.io.source.Source``; times and names stay."""

    source: Source
    lenses: Lenses
    """At the size of the source's pictures."""
    pinhole: Intrinsics
    """What takes the pictures that come out."""
    origin: str
    """Where the lenses are known from."""
    _maps: Callable[[int], _Maps] = field(repr=False, compare=False)
    """Of a lens, by its row."""
    _places: Callable[[int, int, int], _Places] = field(repr=False, compare=False)
    """Of a lens, by its row, for maps of a height and a width."""

    @property
    def info(self) -> SourceInfo:
        """That of the source, with the field of view of the pinhole."""
        info = self.source.info
        return replace(info, fov_x=self.pinhole.fov_x, notes=(*info.notes, self.sentence))

    @property
    def identity(self) -> dict[str, str]:
        """That of the source, with the lenses and the pinhole: depth of other pictures is other depth."""
        lenses, camera = self.lenses, self.pinhole
        told = [_told(lens) for lens in lenses.lenses]
        several = [*told, lenses.times.tolist(), lenses.which.tolist()]
        lens = told[0] if len(told) == 1 else hashlib.sha256(repr(several).encode()).hexdigest()
        pinhole = " ".join(f"{number!r}" for number in (camera.fx, camera.fy, camera.cx, camera.cy))
        return {**self.source.identity, "lens": lens, "pinhole": pinhole}

    @property
    def sentence(self) -> str:
        """What was done, for a person."""
        lenses = self.lenses.lenses
        kinds = ", ".join(sorted({lens.kind for lens in lenses}))
        several = f"{len(lenses)} cameras ({kinds})" if len(lenses) > 1 else f"the lens ({kinds})"
        return f"distortion of {several} taken out: {self.pinhole.fov_x:.1f} degrees are left"

    @property
    def times_by_name(self) -> Mapping[str, float]:
        """Those of the source."""
        return self.source.times_by_name

    def frames(self) -> Generator[Frame]:
        """Decode lazily, from the start, anew at each call; closing the generator closes the file."""
        with closing(self.source.frames()) as frames:
            for frame in frames:
                yield replace(frame, rgb=self._straight(frame.rgb, self.lenses.row(frame.time)))

    def picture(self, time: float) -> Picture:
        """The first picture at or after a time in seconds."""
        times = np.array(sorted(self.times_by_name.values()), np.float64)
        number = int(np.searchsorted(times, time - ROUNDING))
        own = float(times[number]) if number < len(times) else time
        return self._straight(self.source.picture(time), self.lenses.row(own))

    def positions(self, time: float, seen: Float64[np.ndarray, "n 2"]) -> Float64[np.ndarray, "n 2"]:
        """Where features of the picture at a time come to lie, (x / width, y / height); NaN beyond the lens' reach.

        Args:
            time: seconds.
            seen: their positions in the picture with distortion, (x / width, y / height).
        """
        camera = self.pinhole
        plane = self.lenses.lenses[self.lenses.row(time)].plane_from_pixels(seen * (camera.width, camera.height))
        pixels = plane * (camera.fx, camera.fy) + (camera.cx, camera.cy)
        return np.asarray(pixels / (camera.width, camera.height), np.float64)

    def depth(self, time: float, values: DepthMap) -> DepthMap:
        """A depth map of the picture with distortion, at any size, as it belongs to the one without.

        Depth along z is the same in both: the camera does not turn. Between pixels it is the inverse depth that is
        interpolated (planes are even in it); beside edges the nearest pixel counts, so that nothing floats there.
        """
        with np.errstate(divide="ignore"):
            straight: DepthMap = np.float32(1) / self.disparity(time, np.float32(1) / values)
        return straight

    def disparity(self, time: float, values: DepthMap) -> DepthMap:
        """The same for inverse depth up to scale and shift."""
        places = self._places(self.lenses.row(time), *values.shape)
        x, y = places[..., 0], places[..., 1]
        between = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        nearest = cv2.remap(values, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        even = np.abs(between - nearest) <= _EVEN * np.abs(nearest)  # NaN is not
        straight: DepthMap = np.where(even, between, nearest)
        return straight

    def mask(self, time: float, kept: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """A mask of the picture with distortion, at any size, as it belongs to the one without; by nearest pixels."""
        places = self._places(self.lenses.row(time), *kept.shape)
        straight = cv2.remap(
            kept.astype(np.uint8), places[..., 0], places[..., 1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(straight > 0)

    def _straight(self, picture: Picture, row: int) -> Picture:
        straight: Picture = cv2.remap(picture, *self._maps(row), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return straight


def undistorted(source: Source, lenses: Lenses, origin: str) -> UndistortedSource:
    """The source without distortion.

    Args:
        source: pictures with distortion.
        lenses: what took them, at the size of its pictures.
        origin: where the lenses are known from.

    Raises:
        CameraError: the lenses see nothing in common.
    """
    used = [lenses.lenses[row] for row in np.unique(lenses.which).tolist()]
    pinhole = common_pinhole(used)
    places = partial(_places_of, lenses.lenses, pinhole)
    maps = lru_cache(_KEPT_MAPS)(lambda row: _fixed_point(places(row, pinhole.height, pinhole.width)))
    return UndistortedSource(source, lenses, pinhole, origin, maps, lru_cache(_KEPT_MAPS)(places))


def _places_of(lenses: Sequence[Lens], pinhole: Intrinsics, row: int, height: int, width: int) -> _Places:
    lens, camera = lenses[row].scaled(width, height), pinhole.scaled(width, height)
    places = np.zeros((height, width, 2), np.float32)
    rows = max(1, _BAND // width)
    for first in range(0, height, rows):
        y, x = np.mgrid[first : min(first + rows, height), 0:width].reshape(2, -1) + 0.5
        band = _seen(lens, camera, np.stack([x, y], axis=1)) - 0.5
        places[first : first + rows] = np.nan_to_num(band, nan=_NOWHERE).reshape(-1, width, 2)
    return places


def _fixed_point(places: _Places) -> _Maps:
    whole, parts = cv2.convertMaps(places[..., 0], places[..., 1], cv2.CV_16SC2)
    return np.asarray(whole, np.int16), np.asarray(parts, np.uint16)


def _told(lens: Lens) -> str:
    camera = lens.intrinsics
    numbers = (camera.fx, camera.fy, camera.cx, camera.cy, *lens.coefficients)
    return f"{lens.kind} {' '.join(f'{number!r}' for number in numbers)}"
