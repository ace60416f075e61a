"""Folders and globs of pictures, and single pictures, as a source.

JPEG, PNG, WebP, TIFF and BMP; in natural order (2 before 10). The EXIF orientation is applied, 16 bits are scaled to 8,
grey becomes RGB, alpha is dropped, colour profiles are ignored. The field of view comes from EXIF in JPEG and TIFF.
"""

import glob
import hashlib
import math
import re
import struct
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from recon.errors import VideoError
from recon.io.source import (
    SourceInfo,
    expected_count,
    fingerprint,
    fov_x_from_focal,
    sampled,
    sampled_rate,
    sampling_identity,
    used_duration,
)
from recon.settings import SamplingSettings
from recon.types import Frame, Picture

_JPEG_QUALITY = 95
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""What the names of pictures end in."""
_COLOR_MARKS = (".color", ".rgb")
"""What stands before the suffix of a picture that has a depth map beside it: ``frame-000012.color.jpg``."""

_FILM_DIAGONAL = math.hypot(36, 24)
_FOCAL_LENGTH, _FOCAL_LENGTH_35MM = 0x920A, 0xA405
_FOCAL_PLANE_X_RESOLUTION, _FOCAL_PLANE_UNIT = 0xA20E, 0xA210
_EXIF_POINTER, _PIXEL_X_DIMENSION = 0x8769, 0xA002
_MILLIMETRES = {2: 25.4, 3: 10.0}
"""EXIF ResolutionUnit: inch, centimetre."""


def is_pictures(path: Path) -> bool:
    """Whether a path is a folder, a picture (by its suffix) or a glob, and thus not a video."""
    if path.exists():
        return path.is_dir() or path.suffix.lower() in SUFFIXES
    return glob.has_magic(str(path))


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Pictures in natural order, ``picture_rate`` of them for each second. A ``recon.io.source.Source``."""

    info: SourceInfo
    sampling: SamplingSettings
    files: tuple[Path, ...]

    @property
    def identity(self) -> dict[str, str]:
        """Names, sizes, content of the first and last picture, and sampling."""
        listing = "\n".join(f"{file.name} {file.stat().st_size}" for file in self.files)
        return {
            "kind": "pictures",
            "names": hashlib.sha256(listing.encode()).hexdigest(),
            "first": fingerprint(self.files[0]),
            "last": fingerprint(self.files[-1]),
            "picture_rate": f"{self.sampling.picture_rate!r}",
            **sampling_identity(self.sampling),
        }

    @property
    def times_by_name(self) -> Mapping[str, float]:
        """File name up to its first dot -> seconds; where these are not unique (1.25.png), up to its last dot."""
        times = [time for time, _ in self._timed()]
        short = [file.name.split(".", 1)[0] for file in self.files]
        names = short if len(set(short)) == len(short) else [file.stem for file in self.files]
        return dict(zip(names, times, strict=True))

    def picture(self, time: float) -> Picture:
        """The first picture at or after a time in seconds.

        Raises:
            VideoError: there is none, or it cannot be read.
        """
        sampling = SamplingSettings(start=time, picture_rate=self.sampling.picture_rate)
        with closing(replace(self, sampling=sampling).frames()) as frames:
            found = next(frames, None)
        if found is None:
            raise VideoError(f"{self.info.path}: no picture from {time:g} s on")
        return found.rgb

    def frames(self) -> Generator[Frame]:
        """Decode one picture after the other.

        Raises:
            VideoError: a picture cannot be read, or differs in size from the first one.
        """
        for index, (time, file) in enumerate(sampled(self._timed(), self.sampling)):
            yield Frame(index, time, self._read(file))

    def _timed(self) -> Iterator[tuple[float, Path]]:
        return ((number / self.sampling.picture_rate, file) for number, file in zip(count(), self.files, strict=False))

    def _read(self, file: Path) -> Picture:
        picture = read_picture(file)
        height, width = picture.shape[:2]
        if (width, height) != (self.info.width, self.info.height):
            expected = f"{self.files[0].name} has {self.info.width} x {self.info.height}"
            raise VideoError(f"{file}: {width} x {height} pixels, but {expected}: give pictures of one size")
        return picture


def write_jpeg(file: Path, rgb: Picture) -> None:
    """One picture, with little loss.

    Raises:
        VideoError: it cannot be written as JPEG.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not done:
        raise VideoError(f"{file}: cannot be written as JPEG")
    file.write_bytes(data.tobytes())


def read_picture(file: Path) -> Picture:
    """One picture, upright, 8 bits, RGB.

    Raises:
        VideoError: it cannot be read.
    """
    return _picture_from_bytes(file, _bytes_of(file))


def open_pictures(path: Path, sampling: SamplingSettings) -> PictureSource:
    """Look at a folder, a glob or a single picture, and decode the first one.

    Raises:
        VideoError: there is no picture, the first cannot be read, or none lies in the part that was asked for.
    """
    found = sorted(_found(path), key=natural_order)
    if not found:
        raise VideoError(
            f"{path}: no pictures here (looked for {' '.join(SUFFIXES)}): give a video or a folder of them"
        )
    files = _without_depth(found)
    rate = sampling.picture_rate
    timed = ((number / rate, file) for number, file in enumerate(files))
    if next(sampled(timed, sampling), None) is None:
        raise VideoError(
            f"{path}: nothing between --start and --end: its {len(files)} pictures last {len(files) / rate:g} s"
        )
    return PictureSource(_info(path, files, len(found), sampling), sampling, files)


def _info(path: Path, files: tuple[Path, ...], found: int, sampling: SamplingSettings) -> SourceInfo:
    data = _bytes_of(files[0])
    height, width = _picture_from_bytes(files[0], data).shape[:2]
    rate = sampled_rate(sampling.picture_rate, sampling)
    duration = used_duration(len(files) / sampling.picture_rate, sampling)
    marked = f"{len(files)} of {found} pictures are taken: those named *.color.* or *.rgb.*"
    return SourceInfo(
        path=path,
        kind="pictures",
        width=width,
        height=height,
        rate=rate,
        duration=duration,
        frame_count=expected_count(rate, duration),
        fov_x=fov_x_of_exif(exif_numbers(data), width, height),
        notes=(marked,) if len(files) < found else (),
    )


def _found(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return filter(_is_visible_picture, path.iterdir())
    matches = glob.iglob(str(path), recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return filter(_is_visible_picture, map(Path, matches))


def _is_visible_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def _without_depth(files: Sequence[Path]) -> tuple[Path, ...]:
    """Only ``*.color.*`` and ``*.rgb.*`` where there are such files: the others are depth maps and the like."""
    colors = tuple(file for file in files if Path(file.stem).suffix.lower() in _COLOR_MARKS)
    return colors or tuple(files)


def natural_order(file: Path) -> tuple[list[tuple[int, str]], str]:
    """Sort key under which picture 2 comes before picture 10."""
    pieces = re.findall(r"\d+|\D+", str(file).lower())
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces], str(file)


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise VideoError(f"{file}: cannot be read ({error.strerror}): check the file and its rights") from error


def _picture_from_bytes(file: Path, data: bytes) -> Picture:
    if _is_cut_short(data):
        raise VideoError(f"{file}: the JPEG ends too early: replace or remove the file")
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise VideoError(f"{file}: cannot be read as a picture ({error.err}): replace or remove the file") from error
    if bgr is None:
        raise VideoError(f"{file}: cannot be read as a picture: replace or remove the file")
    rgb: Picture = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    return rgb


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment's content up to the first scan (ITU-T T.81 annex B)."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, size = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        yield marker, place + 4, place + 2 + size
        if marker == 0xDA:
            return
        place += 2 + size


def _is_jpeg(data: bytes) -> bool:
    return data.startswith(b"\xff\xd8")


def _is_cut_short(data: bytes) -> bool:
    """Whether a JPEG has no end-of-image marker after its first scan: the decoder would fill up with grey."""
    if not _is_jpeg(data):
        return False
    scans = (end for marker, _, end in _jpeg_segments(data) if marker == 0xDA)
    return data.find(b"\xff\xd9", next(scans, len(data))) < 0


def exif_numbers(data: bytes) -> dict[int, float]:
    """The EXIF tags with a numeric value, of a JPEG or TIFF file's bytes; empty where there are none (EXIF 2.32)."""
    tiff = data
    if _is_jpeg(data):
        blocks = (data[start:end] for marker, start, end in _jpeg_segments(data) if marker == 0xE1)
        tiff = next((block[6:] for block in blocks if block.startswith(b"Exif\0\0")), b"")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return {}
    try:
        numbers = _directory(tiff, order, struct.unpack_from(order + "I", tiff, 4)[0])
        if _EXIF_POINTER in numbers:
            numbers |= _directory(tiff, order, int(numbers[_EXIF_POINTER]))
    except struct.error:
        return {}
    return numbers


def _directory(tiff: bytes, order: str, place: int) -> dict[int, float]:
    """Tag -> first value of each numeric entry of one image file directory (TIFF 6.0 section 2)."""
    numbers = {}
    for entry in range(struct.unpack_from(order + "H", tiff, place)[0]):
        tag, kind, _ = struct.unpack_from(order + "HHI", tiff, place + 2 + 12 * entry)
        value = place + 2 + 12 * entry + 8
        if kind in (3, 4):
            numbers[tag] = float(struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, value)[0])
        elif kind == 5:
            above, below = struct.unpack_from(order + "II", tiff, struct.unpack_from(order + "I", tiff, value)[0])
            numbers[tag] = above / below if below else 0.0
    return numbers


def fov_x_of_exif(numbers: Mapping[int, float], width: int, height: int) -> float | None:
    """Horizontal field of view in degrees, of a picture of width x height in display orientation.

    From FocalLengthIn35mmFilm: CIPA DCG-001 defines it by the diagonal, 43.27 mm on film. Else from FocalLength and the
    pixel density of the sensor, which EXIF gives along the longer side of the picture as stored.
    """
    if equivalent := numbers.get(_FOCAL_LENGTH_35MM):
        return fov_x_from_focal(equivalent, _FILM_DIAGONAL, width, math.hypot(width, height))
    focal, density = numbers.get(_FOCAL_LENGTH), numbers.get(_FOCAL_PLANE_X_RESOLUTION)
    unit = _MILLIMETRES.get(int(numbers.get(_FOCAL_PLANE_UNIT, 2)))
    if not (focal and density and unit):
        return None
    longer = float(max(width, height))
    stored = numbers.get(_PIXEL_X_DIMENSION) or longer
    return fov_x_from_focal(focal, stored / density * unit, width, longer)
