"""The description of a clip that the app Record3D writes: camera poses, times and intrinsics.

Facts from its author (github.com/marek-simonik/record3d, issues 27, 31, 36, 75, 83, 93): ``poses`` holds for every
picture a quaternion (scalar last) and a position in metres, camera to world, in ARKit's axes (x right, y up, looking
along -z); ``K`` is the matrix of the first picture by columns, for pictures of ``w`` x ``h``;
``perFrameIntrinsicCoeffs`` are fx, fy, cx, cy of each; ``frameTimestamps`` are seconds since the first picture. It is
the file ``metadata`` of an ``.r3d`` (which is a ZIP), and ``metadata.json`` of an export as EXR and JPG. Pictures are
called 0.jpg, 1.jpg and so on.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from pydantic import BaseModel, Field, FiniteFloat, PositiveFloat, PositiveInt, ValidationError

from recon.errors import FormatError
from recon.types import Intrinsics

_NAMES = ("metadata.json", "metadata", "EXR_RGBD/metadata.json")
_Seven = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]


class Metadata(BaseModel):
    """What is read of it."""

    w: PositiveInt
    h: PositiveInt
    fps: PositiveFloat
    K: list[FiniteFloat] = Field(min_length=9, max_length=9)
    poses: list[_Seven]
    timestamps: list[FiniteFloat] = Field([], alias="frameTimestamps")
    coefficients: list[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]] = Field(
        [], alias="perFrameIntrinsicCoeffs"
    )

    @property
    def times(self) -> list[float]:
        """Seconds since the first picture."""
        count = len(self.poses)
        return self.timestamps if len(self.timestamps) == count else [row / self.fps for row in range(count)]

    @property
    def pose_rows(self) -> Float64[np.ndarray, "n 7"]:
        """Rows of tx ty tz qx qy qz qw: world from camera, the camera in OpenGL's axes."""
        return np.array(self.poses, np.float64).reshape(-1, 7)[:, [4, 5, 6, 0, 1, 2, 3]]

    def intrinsics(self, row: int) -> Intrinsics:
        """The camera of one picture; that of the first where each has not its own.

        Raises:
            ValueError: numbers that no camera has.
        """
        own = len(self.coefficients) == len(self.poses) > 0
        fx, fy, cx, cy = self.coefficients[row] if own else [self.K[place] for place in (0, 4, 6, 7)]
        return Intrinsics(fx, fy, cx, cy, self.w, self.h)


def find_metadata(path: Path) -> Path | None:
    """The description's file in the folder of a clip, the ``.r3d``, or the file itself; None where there is none."""
    if path.is_dir():
        return next((path / name for name in _NAMES if (path / name).is_file()), None)
    if path.suffix == ".r3d" or (path.is_file() and path.name in _NAMES):
        return path
    return None


def read_metadata(path: Path) -> Metadata:
    """The description of a clip.

    Args:
        path: JSON file or ``.r3d``, see ``find_metadata``.

    Raises:
        FormatError: something else.
    """
    try:
        return Metadata.model_validate(json.loads(_content(path)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(f"{path}: not Record3D's description of a clip ({where}: {first['msg']})") from error
    except ValueError as error:
        raise FormatError(f"{path}: not JSON ({error})") from error


def _content(path: Path) -> bytes:
    try:
        if path.suffix != ".r3d":
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            return archive.read("metadata")
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise FormatError(f"{path}: cannot be read as a clip of Record3D ({error})") from error
