"""Clouds as the Gaussians from which 3D Gaussian Splatting starts (Kerbl et al., SIGGRAPH 2023, section 5.1).

The layout is that of the authors' PLY, with spherical harmonics of degree 0: position, an unused normal, colour as
f_dc_0..2, opacity as its logit, logarithms of the three scales, and a quaternion (w first). The world of the poses
stays as it is (``up="camera"``): viewers of splats expect it so.
"""

from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32
from scipy.spatial import cKDTree

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import Look, Scene, cloud_of, said
from recon.io.cloud import columns
from recon.io.ply import header_bytes, read_header, read_rows
from recon.types import PointCloud

SH0: Final = 0.28209479177387814
"""The spherical harmonic of degree 0: 1 / (2 sqrt(pi))."""
OPACITY: Final = 0.1
"""Opacity at the start (the authors' code)."""
NEIGHBOURS: Final = 3
"""The scale is the mean distance to so many neighbours (section 5.1)."""

_DC = ("f_dc_0", "f_dc_1", "f_dc_2")
_NAMES = (
    *("x", "y", "z", "nx", "ny", "nz"),
    *_DC,
    "opacity",
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
_ROW = np.dtype([(name, "<f4") for name in _NAMES])
_SMALLEST = 1e-7


def write_splat(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write each point or vertex as a ball as large as the distance to its neighbours."""
    cloud = cloud_of(scene.shape)
    rows = np.zeros(len(cloud), _ROW)
    for names, values in (("xyz", cloud.points), (_DC, (cloud.colors / 255 - 0.5) / SH0)):
        for column, name in enumerate(names):
            rows[name] = values[:, column]
    scale = np.log(spacing(cloud.points))
    for name in ("scale_0", "scale_1", "scale_2"):
        rows[name] = scale
    rows["opacity"] = np.log(OPACITY / (1 - OPACITY))
    rows["rot_0"] = 1
    with whole_file(path) as partial, partial.open("wb") as file:
        file.write(header_bytes(scene.lines, [("vertex", len(cloud), _ROW)]))
        file.write(rows.tobytes())


def spacing(points: Float32[np.ndarray, "n 3"]) -> Float32[np.ndarray, " n"]:
    """Mean distance of each point to its three nearest neighbours, > 0; 1 for a point that is alone."""
    neighbours = min(NEIGHBOURS, len(points) - 1)
    if neighbours < 1:
        return np.ones(len(points), np.float32)
    distances = np.asarray(cKDTree(points).query(points, k=neighbours + 1)[0])
    means: Float32[np.ndarray, " n"] = np.maximum(distances[:, 1:].mean(axis=1), _SMALLEST).astype(np.float32)
    return means


def is_splat(path: Path) -> bool:
    """Whether a PLY file holds Gaussians.

    Raises:
        FormatError: it is missing or not PLY.
    """
    try:
        with path.open("rb") as file:
            vertices = read_header(path, file).named("vertex")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    return vertices is not None and "f_dc_0" in {name for name, _kind in vertices.properties}


def read_splat(path: Path) -> Scene:
    """The centres of Gaussians with their colours (of degree 0) as a cloud without normals.

    Raises:
        FormatError: it is missing, damaged, or holds no Gaussians.
    """
    try:
        with path.open("rb") as file:
            header = read_header(path, file)
            rows = read_rows(path, file, header, "vertex")["vertex"]
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror})") from error
    points, light = columns(rows, ("x", "y", "z")), columns(rows, _DC)
    if points is None or light is None:
        raise FormatError(f"{path}: holds no Gaussians (x, y, z and f_dc_0 to f_dc_2)")
    colors = np.rint(np.clip(0.5 + SH0 * light.astype(np.float64), 0, 1) * 255).astype(np.uint8)
    notes, up = said(header.comments)
    return Scene(PointCloud(points.astype(np.float32), colors, np.zeros(points.shape, np.float32)), up, notes=notes)
