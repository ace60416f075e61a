"""Depth maps made elsewhere, and those that ``recon.io.depth_writer`` wrote: single ones, folders, stacks, videos.

What the numbers of a file mean, and what becomes NaN:

=========  ==========================================================  ==============================================
.png       16-bit grey; value = number / scale                         0 and 65535
.npz .npy  float: the value itself; integer: value = number / scale    not finite; integers: 0 and 65535
.exr       float or half; channel Z, Y or R, or the only one           not finite
.pfm       float, grey, rows from the bottom up                        not finite
.mkv       lossless video of 16 bits (recon.io.ffv1), as recon writes  code 65535
=========  ==========================================================  ==============================================

Where the maps are depth, whatever is not greater than 0 is NaN too (0 and -1 say unknown in many data sets). A
disparity may be 0 (infinitely far) or negative (its shift is arbitrary), except in PNG, where 0 says unknown.
65535 is unknown because it is where 16 bits saturate, and what 7-Scenes writes.
"""

import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, Protocol, cast, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float64, Int64
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from recon.errors import FormatError, MissingPackageError
from recon.io.ffv1 import UNKNOWN, Codes, Coding, GreyVideo, grey_frames
from recon.types import DepthMap, Quantity, Units

DESCRIPTION = "depth.json"
"""Name of the file that says what a folder of maps holds."""
MapFormat = Literal["npz", "png", "exr", "ffv1"]
"""The formats that are written."""

VIDEO = "depth.mkv"
"""Name of the video in a folder of maps."""

_OFFSET, _STEP, _QUANTITY = "RECON_OFFSET", "RECON_STEP", "RECON_QUANTITY"  # tags of the video
_EXTRAS = ("time", "times", "index")  # arrays of an NPZ that are no maps
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # what numpy and zipfile say of a bad file
TOLERANCE = 0.002
"""Most seconds between a frame and its map: the half millisecond of Matroska, twice, and some."""
_NO_NAMES: Final[Mapping[str, float]] = MappingProxyType({})


class Description(BaseModel):
    """What ``depth.json`` says of the maps beside it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["recon depth maps"] = "recon depth maps"
    version: Literal[1] = 1
    kind: MapFormat
    """Format of the maps."""
    quantity: Quantity
    units: Units
    """What one unit of depth is; disparity has none."""
    height: int
    width: int
    scale: FiniteFloat | None
    """png: numbers for one unit (0: unknown); None for the others."""
    frames: tuple[tuple[int, FiniteFloat], ...]
    """Index and time in seconds of every map, in order."""
    lost: int
    """Values that 16 bits could not hold, over all maps: they were written as unknown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How numbers become values."""

    scale: float = 1000.0
    """Numbers for one unit, in formats of whole numbers (1000: millimetres; 5000: TUM RGB-D; 256: KITTI)."""
    quantity: Quantity = "depth"
    """What the maps hold."""
    option: str = "--depth-kind"
    """The option of the command line that says so, for messages."""
    over_names: bool = False
    """Whether that counts more than what an array of an NPZ is called: DepthCrafter calls its disparity ``depth``."""

    def values(self, numbers: np.ndarray) -> DepthMap:
        """float32, NaN = unknown."""
        if np.issubdtype(numbers.dtype, np.integer):
            known = (numbers != 0) & (numbers != UNKNOWN)
            values = np.where(known, numbers / self.scale, np.nan).astype(np.float32)
        else:
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, so unknown
                values = numbers.astype(np.float32)
        unknown = ~np.isfinite(values) | ((values <= 0) if self.quantity == "depth" else False)
        return np.where(unknown, np.float32(np.nan), values)


def read_depth_map(path: Path, *, scale: float, quantity: Quantity = "depth") -> DepthMap:
    """One map from a file: PNG, EXR, NPZ, NPY or PFM.

    Args:
        path: the file; its suffix says what it is.
        scale: numbers for one unit, in formats of whole numbers (1000: millimetres).
        quantity: what the map holds.

    Returns:
        float32 (h, w), NaN = unknown (see the head of this file).

    Raises:
        FormatError: the file is missing, damaged, or is no map.
        MissingPackageError: EXR needs the package OpenEXR.
    """
    return _read_map(path, Reading(scale, quantity))


def _read_map(path: Path, reading: Reading) -> DepthMap:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(f"{path}: no format of depth maps; known are {', '.join(sorted(_READERS))}")
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    numbers = reader(path, reading)
    if numbers.ndim != 2 or 0 in numbers.shape:
        raise FormatError(f"{path}: a depth map has two dimensions, this has the shape {numbers.shape}")
    return reading.values(numbers)


def _read_png(path: Path, _: Reading) -> np.ndarray:
    numbers = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED) if path.stat().st_size else None
    if numbers is None:
        raise FormatError(f"{path}: cannot be read as PNG")
    if numbers.dtype != np.uint16 or numbers.ndim != 2:
        raise FormatError(f"{path}: a depth map is grey with 16 bits; this is {_kind(numbers)}, a picture perhaps")
    return numbers


def _kind(picture: np.ndarray) -> str:
    return f"{'grey' if picture.ndim == 2 else 'colour'} with {8 * picture.itemsize} bits"


def _read_npy(path: Path, _: Reading) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: cannot be read as NPY ({error})") from error
    return _real(path, array)


def _read_npz(path: Path, reading: Reading) -> np.ndarray:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            array: np.ndarray = archive[_map_name(path, archive.files, reading)]
    except _BROKEN as error:
        raise FormatError(f"{path}: cannot be read as NPZ ({error})") from error
    return _real(path, array)


def _map_name(path: Path, names: Sequence[str], reading: Reading) -> str:
    """The array of an NPZ file that holds the maps: named depth, disparity or depths, else the only one."""
    other = "disparity" if reading.quantity == "depth" else "depth"
    if reading.quantity in names:
        return reading.quantity
    if other in names and not reading.over_names:
        raise _other_quantity(path, other, reading)
    told = [name for name in (other, "depths") if name in names][:1]
    candidates = told or [name for name in names if name not in _EXTRAS]
    if len(candidates) != 1:
        raise FormatError(f"{path}: which of its {len(names)} arrays is the map? Name it {reading.quantity}")
    return candidates[0]


def _other_quantity(path: Path, found: str | None, reading: Reading) -> FormatError:
    return FormatError(f"{path}: holds {found}, but {reading.quantity} is expected: see {reading.option}")


def _real(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise FormatError(f"{path}: holds {array.dtype}, not real numbers")
    return array


def _read_pfm(path: Path, _: Reading) -> np.ndarray:
    """Portable float map (pauldebevec.com/Research/HDR/PFM): Pf, size, and a scale whose sign is the byte order."""
    content = path.read_bytes()
    match = re.match(rb"Pf\s+(\d+)\s+(\d+)\s+(-?[0-9.eE+-]+)\s", content)
    if match is None:
        raise FormatError(f"{path}: cannot be read as grey PFM (it does not begin with Pf, size and byte order)")
    width, height = int(match[1]), int(match[2])
    order = "<f4" if match[3].startswith(b"-") else ">f4"
    if len(content) - match.end() != 4 * width * height:
        raise FormatError(f"{path}: {width} x {height} floats are {4 * width * height} bytes; the file differs")
    return np.frombuffer(content, order, offset=match.end()).reshape(height, width)[::-1]


def _read_exr(path: Path, _: Reading) -> np.ndarray:
    try:
        with _open_exr(path) as file:
            channels = {name: channel.pixels for name, channel in file.channels().items()}
    except RuntimeError as error:
        raise FormatError(f"{path}: cannot be read as EXR") from error
    names = list(channels) if len(channels) == 1 else [name for name in ("Z", "Y", "R") if name in channels]
    if not names:
        raise FormatError(f"{path}: none of the channels {', '.join(channels)} is Z, Y or R")
    numbers: np.ndarray = channels[names[0]]
    return _real(path, numbers)


def _open_exr(path: Path) -> Any:  # noqa: ANN401 - OpenEXR has no types
    return open_exr_package().File(str(path), separate_channels=True)


def open_exr_package() -> Any:  # noqa: ANN401 - OpenEXR has no types
    """The optional package OpenEXR.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        import OpenEXR  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingPackageError('EXR needs the package OpenEXR: pip install "recon-video[exr]"') from error
    return OpenEXR


_Reader = Callable[[Path, Reading], np.ndarray]
_READERS: Final[Mapping[str, _Reader]] = MappingProxyType(
    {".png": _read_png, ".npz": _read_npz, ".npy": _read_npy, ".pfm": _read_pfm, ".exr": _read_exr}
)


@runtime_checkable
class _Row(Protocol):
    """Maps one after the other, wherever they are."""

    @property
    def names(self) -> Sequence[str]:
        """Name of every map; empty where they have none."""

    @property
    def times(self) -> Float64[np.ndarray, " n"] | None:
        """Seconds of every map, where they are known."""

    def __len__(self) -> int: ...

    def maps(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        """The maps with these numbers, lazily; fastest in order."""


class DepthFolder:
    """Maps of a whole video: a folder of files, a stack (n, h, w) in one NPZ or NPY file, or a video of recon.

    Nothing is kept in memory but names and times.

    Args:
        path: the folder or file.
        scale: numbers for one unit, in formats of whole numbers; a folder that recon wrote knows its own.
        quantity: what the maps hold.
        option: of the command line, that says so; for messages.
        over_names: whether ``quantity`` counts more than what an array of an NPZ is called. What recon itself wrote
            is never doubted.

    Raises:
        FormatError: there are no maps, or they are not what they should be.
    """

    def __init__(
        self,
        path: Path,
        *,
        scale: float,
        quantity: Quantity = "depth",
        option: str = "--depth-kind",
        over_names: bool = False,
    ) -> None:
        self.path = path
        self.quantity: Quantity = quantity
        reading = Reading(scale, quantity, option, over_names)
        description = _described(path, reading) if path.is_dir() else None
        self.units: Units | None = None if description is None else description.units
        """What one unit of depth is, where the maps say so."""
        self._row = _open_row(path, reading, description)
        if len(self) == 0:
            raise FormatError(f"{path}: there are no depth maps ({', '.join(sorted(_READERS))})")

    def __len__(self) -> int:
        return len(self._row)

    @property
    def names(self) -> Sequence[str]:
        """Name of every map's file, without its ending; empty where the maps are in one file."""
        return self._row.names

    @property
    def times(self) -> Float64[np.ndarray, " n"] | None:
        """Seconds of every map, where they are recorded."""
        return self._row.times

    def __getitem__(self, number: int) -> DepthMap:
        """One map: float32 (h, w), NaN = unknown."""
        if not 0 <= number < len(self):
            raise IndexError(f"{self.path}: there is no map {number} among {len(self)}")
        return next(iter(self._row.maps([number])))

    def maps(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        """The maps with these numbers, one at a time; fastest in order.

        Raises:
            FormatError: a file is damaged or is no map.
        """
        return self._row.maps(numbers)

    def match(
        self,
        times: Sequence[float],
        times_by_name: Mapping[str, float] = _NO_NAMES,
        every_time: Callable[[], Sequence[float]] | None = None,
    ) -> list[int]:
        """The number of the map that belongs to each frame, before any work is done.

        By the recorded time, where recon wrote the maps or the stack has an array ``times``; else by the name of the
        picture (frame-000005.color.jpg and frame-000005.depth.png), where names agree; else by order: one map for each
        frame that is used, or one for each frame that there is.

        Args:
            times: time of every frame that is used, seconds.
            times_by_name: name of a picture up to its first dot -> seconds.
            every_time: gives the times of all frames of the source, used or not; only called where order decides and
                there are not as many maps as frames that are used.

        Raises:
            FormatError: a frame has no map, or there are as many maps as frames by no reading.
        """
        if self._row.times is not None:
            return self._by_time(self._row.times, np.array(times, np.float64))
        numbers = {name: number for number, name in enumerate(_short(self._row.names))}
        if numbers.keys() & times_by_name.keys():
            return self._by_name(numbers, times, times_by_name)
        if len(times) == len(self):
            return list(range(len(self)))
        return self._by_order(times, every_time() if every_time is not None else times)

    def _by_order(self, times: Sequence[float], every_time: Sequence[float]) -> list[int]:
        if len(every_time) != len(self):
            in_all = "" if len(every_time) == len(times) else f" that are used and {len(every_time)} in all"
            raise FormatError(
                f"{self.path}: {len(self)} depth maps for {len(times)} frames{in_all}: without times or the pictures'"
                " names they go by order, one for each frame"
            )
        return [int(number) for number in np.searchsorted(np.array(every_time), np.array(times) - TOLERANCE / 2)]

    def _by_time(self, known: Float64[np.ndarray, " n"], times: Float64[np.ndarray, " m"]) -> list[int]:
        nearest = nearest_times(known, times)
        for frame in np.flatnonzero(np.abs(known[nearest] - times) > TOLERANCE)[:1]:
            found = f"the nearest is at {known[nearest[frame]]:.3f} s"
            raise FormatError(f"{self.path}: frame {frame} ({times[frame]:.3f} s) has no depth map; {found}")
        return [int(number) for number in nearest]

    def _by_name(
        self, numbers: Mapping[str, int], times: Sequence[float], times_by_name: Mapping[str, float]
    ) -> list[int]:
        names = {time: name for name, time in times_by_name.items()}
        for frame, time in enumerate(times):
            if names.get(time) not in numbers:
                picture = f"{names.get(time, 'nameless')}, {time:.3f} s"
                raise FormatError(f"{self.path}: frame {frame} ({picture}) has no depth map of its name")
        return [numbers[names[time]] for time in times]


def nearest_times(known: Float64[np.ndarray, " n"], times: Float64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
    """For each time, the number of the known one that is nearest."""
    return np.searchsorted((known[1:] + known[:-1]) / 2, times)


def _open_row(path: Path, reading: Reading, description: Description | None) -> _Row:
    if path.is_dir():
        if description is None:
            return _Files(_map_files(path), reading, None)
        times = np.array([time for _, time in description.frames], np.float64)
        if description.kind == "ffv1":
            return _Video(path / VIDEO, reading, times)
        files = [path / file_name(index, description.kind) for index, _ in description.frames]
        return _Files(files, replace(reading, scale=description.scale or reading.scale), times)
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file or folder")
    if path.suffix.lower() == ".mkv":
        return _Video(path, reading, None)
    if path.suffix.lower() in (".npy", ".npz"):
        return _Stack(path, reading)
    raise FormatError(f"{path}: maps of a video are a folder, a stack (.npz or .npy) or a video (.mkv) of recon")


def file_name(index: int, kind: MapFormat) -> str:
    """Name of the file of a frame's map."""
    return f"depth_{index:06d}.{kind}"


def holds_maps(folder: Path) -> bool:
    """Whether there are depth maps in a folder; not in those below it."""
    if not folder.is_dir():
        return False
    return (folder / DESCRIPTION).exists() or any(file.suffix.lower() in _READERS for file in folder.iterdir())


def _described(folder: Path, reading: Reading) -> Description | None:
    path = folder / DESCRIPTION
    if not path.exists():
        return None
    try:
        description = Description.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise FormatError(f"{path}: this is not a description of depth maps that recon knows") from error
    if description.quantity != reading.quantity:
        raise _other_quantity(folder, description.quantity, reading)
    return description


def _map_files(folder: Path) -> list[Path]:
    """The files of maps in natural order; only those named *.depth.* where there are any (7-Scenes mixes)."""
    files = [file for file in folder.iterdir() if file.suffix.lower() in _READERS and not file.name.startswith(".")]
    files = [file for file in files if ".depth." in file.name] or files
    kinds = sorted({file.suffix.lower() for file in files})
    if len(kinds) > 1:
        raise FormatError(f"{folder}: holds {', '.join(kinds)}: give a folder with one kind of depth maps")
    return sorted(files, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[str, int]], str]:
    parts = re.findall(r"(\D*)(\d*)", path.name)
    return [(text, int(digits or -1)) for text, digits in parts], path.name


def _short(names: Sequence[str]) -> Sequence[str]:
    """What pictures are matched by: the names up to their first dots, or all of them if that is not enough."""
    short = [name.split(".", 1)[0] for name in names]
    return short if len(set(short)) == len(short) else names


class _Files:
    """One file for each map."""

    def __init__(self, files: Sequence[Path], reading: Reading, times: Float64[np.ndarray, " n"] | None) -> None:
        self.names = [file.stem for file in files]
        self.times = times
        self._files = files
        self._reading = reading

    def __len__(self) -> int:
        return len(self._files)

    def maps(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        for number in numbers:
            yield _read_map(self._files[number], self._reading)


class _Stack:
    """An array (n, h, w) in an NPY or NPZ file, of which one map at a time is read."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self.names: Sequence[str] = ()
        self._path = path
        self._reading = reading
        with self._entry() as stream:
            shape, self._type, self._start = _array_header(path, stream)
        self._shape = shape[1:]
        self._count = shape[0]
        self.times = _stack_times(path, self._count)

    def __len__(self) -> int:
        return self._count

    def maps(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        size = int(np.prod(self._shape)) * self._type.itemsize
        with self._entry() as stream:
            for number in numbers:
                stream.seek(self._start + number * size)
                content = stream.read(size)
                if len(content) != size:
                    raise FormatError(f"{self._path}: ends within map {number} of {self._count}")
                yield self._reading.values(np.frombuffer(content, self._type).reshape(self._shape))

    @contextmanager
    def _entry(self) -> Iterator[BufferedIOBase]:
        """The array's bytes; a compressed one is read from its start again when a map before the last is wanted."""
        try:
            if self._path.suffix.lower() == ".npy":
                with self._path.open("rb") as stream:
                    yield stream
            else:
                with zipfile.ZipFile(self._path) as archive:
                    names = [name.removesuffix(".npy") for name in archive.namelist()]
                    with archive.open(_map_name(self._path, names, self._reading) + ".npy") as stream:
                        yield cast("BufferedIOBase", stream)  # which ZipExtFile is
        except _BROKEN as error:
            raise FormatError(f"{self._path}: cannot be read as stack of depth maps ({error})") from error


def _array_header(path: Path, stream: BufferedIOBase) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """Shape (n, h, w), type, and where the numbers begin."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, kind = read(stream)
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or fortran or kind.kind not in "fiu" or 0 in shape[1:]:
        layout = " in Fortran order" if fortran else ""
        raise FormatError(f"{path}: a stack of depth maps is numbers (n, h, w); this is {kind} {shape}{layout}")
    return shape, kind, stream.tell()


def _stack_times(path: Path, count: int) -> Float64[np.ndarray, " n"] | None:
    """The array ``times`` of an NPZ stack."""
    if path.suffix.lower() == ".npy":
        return None
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        if "times" not in archive.files:
            return None
        times = np.asarray(archive["times"], np.float64)
    if times.shape != (count,) or not (np.isfinite(times).all() and (np.diff(times) >= 0).all()):
        raise FormatError(f"{path}: its times are not one number for each of {count} maps, in order")
    return times


class _Video:
    """A lossless video that recon wrote."""

    def __init__(self, path: Path, reading: Reading, times: Float64[np.ndarray, " n"] | None) -> None:
        video = GreyVideo.read(path)
        self.names: Sequence[str] = ()
        self.times = video.seconds if times is None else times
        self._path = path
        self._reading = reading
        self._milliseconds = video.milliseconds
        self._coding = _tagged_coding(path, video.tags, reading)
        if len(self.times) != len(video.milliseconds):
            raise FormatError(f"{path}: holds {len(video.milliseconds)} of {len(self.times)} maps")

    def __len__(self) -> int:
        return len(self._milliseconds)

    def maps(self, numbers: Iterable[int]) -> Iterator[DepthMap]:
        frames: Iterator[Codes] = iter(())
        following = -1
        for number in numbers:
            if number != following:
                frames = grey_frames(self._path, self._milliseconds[number])
            codes = next(frames, None)
            if codes is None:
                raise FormatError(f"{self._path}: ends before map {number} of {len(self)}")
            yield self._reading.values(self._coding.values(codes))
            following = number + 1


def coding_tags(coding: Coding, quantity: Quantity) -> dict[str, str]:
    """The metadata of a video that say what its codes mean."""
    return {_OFFSET: repr(coding.offset), _STEP: repr(coding.step), _QUANTITY: quantity}


def _tagged_coding(path: Path, tags: Mapping[str, str], reading: Reading) -> Coding:
    try:
        coding = Coding(float(tags[_OFFSET]), float(tags[_STEP]))
    except (KeyError, ValueError) as error:
        raise FormatError(f"{path}: does not say what its grey means (no {_OFFSET} and {_STEP})") from error
    if tags.get(_QUANTITY) != reading.quantity:
        raise _other_quantity(path, tags.get(_QUANTITY), reading)
    return coding
