"""Clouds in LAS 1.4 and LAZ (ASPRS, point format 7: colours of 16 bits), by laspy. Surveyors' axes: z up."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32, UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import Look, Scene, cloud_of, far_origin, grey, near_origin, package, said
from recon.types import PointCloud

STEPS: Final = 6
"""Coordinates are whole numbers of steps: 10^6 to 10^7 of them over the extent, far below the 2^31 that fit."""
_WIDE: Final = 257
"""65535 / 255."""


def write_las(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write the points or vertices; a suffix of .laz compresses. Normals have no place in this format.

    Raises:
        MissingPackageError: laspy is not installed.
    """
    laspy = package(path, "laspy", "export")
    origin, scene = far_origin(scene)
    cloud = cloud_of(scene.shape)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.generating_software = "recon"
    header.offsets = np.floor(cloud.points.min(axis=0)).astype(np.float64) + origin
    header.scales = np.full(3, step_of(cloud.points))
    text = "\n".join(scene.lines).encode("ascii", "backslashreplace")
    header.vlrs.append(laspy.VLR("LASF_Spec", 3, "text area description", text))
    rows = laspy.ScaleAwarePointRecord.zeros(len(cloud), header=header)
    rows.x, rows.y, rows.z = cloud.points.T.astype(np.float64) + origin[:, None]
    rows.red, rows.green, rows.blue = cloud.colors.T.astype(np.uint16) * _WIDE
    with whole_file(path) as partial, partial.open("wb") as file:
        compressed = path.suffix.lower() == ".laz"
        with laspy.open(file, mode="w", header=header, do_compress=compressed, closefd=False) as writer:
            writer.write_points(rows)


def step_of(points: Float32[np.ndarray, "n 3"]) -> float:
    """The step of coordinates that suits an extent: a power of ten, about a millionth of it."""
    extent = float(np.ptp(points, axis=0).max()) if len(points) else 0.0
    return float(10.0 ** (np.floor(np.log10(extent)) - STEPS)) if extent > 0 else 1e-6


def read_las(path: Path) -> Scene:
    """Read all points, grey where they have no colour; z is up unless the file says otherwise.

    Coordinates of a survey, far from their origin, count from a place among them, which the notes name.

    Raises:
        FormatError: it is missing or damaged.
        MissingPackageError: laspy is not installed.
    """
    laspy = package(path, "laspy", "export")
    try:
        las = laspy.read(path)
    except (laspy.errors.LaspyException, ValueError, OSError, EOFError) as error:
        raise FormatError(f"{path}: cannot be read as LAS ({' '.join(str(error).split())})") from error
    if len(las.points) != las.header.point_count:
        raise FormatError(f"{path}: is cut short: {len(las.points)} of {las.header.point_count} points")
    points, origin = near_origin(np.asarray(las.xyz, np.float64))
    notes, up = said(_text(las.header).splitlines())
    notes = replace(notes, provenance={**notes.provenance, **origin})
    return Scene(PointCloud(points, _colors(las, len(points)), np.zeros_like(points)), up or "z", notes=notes)


def _text(header: Any) -> str:  # noqa: ANN401 - laspy has no types
    """What `write_las` said of the cloud; elsewhere metres are usual."""
    vlrs = [vlr for vlr in header.vlrs if vlr.user_id == "LASF_Spec" and vlr.record_id == 3]
    return bytes(vlrs[0].record_data).decode("ascii", "replace") if vlrs else "units: metres"


def _colors(las: Any, count: int) -> UInt8[np.ndarray, "n 3"]:  # noqa: ANN401 - laspy has no types
    """Colours of 16 bits, or of 8 bits in fields of 16, as careless programs write them."""
    if "red" not in set(las.point_format.dimension_names):
        return grey(count)
    colors = np.stack([np.asarray(las[name]) for name in ("red", "green", "blue")], axis=1)
    wide = colors.max(initial=0) > 255
    return (np.rint(colors / _WIDE) if wide else colors).astype(np.uint8)
