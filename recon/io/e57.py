"""Clouds in E57 (ASTM E2807), by pye57: one scan, colours of 8 bits, metres, z up."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import Look, Notes, Scene, bytes_of_colors, cloud_of, grey, package
from recon.types import PointCloud

_POSITION = ("cartesianX", "cartesianY", "cartesianZ")
_COLOR = ("colorRed", "colorGreen", "colorBlue")


def write_e57(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write the points or vertices as one scan named after the file; normals have no place in the standard.

    Raises:
        MissingPackageError: pye57 is not installed.
    """
    pye57 = package(path, "pye57", "export")
    cloud = cloud_of(scene.shape)
    columns = dict(zip(_POSITION, cloud.points.T.astype(np.float64), strict=True))
    columns |= dict(zip(_COLOR, np.array(cloud.colors.T, order="C"), strict=True))
    with whole_file(path) as partial:
        file = pye57.E57(str(partial), mode="w")
        try:
            file.write_scan_raw(columns, name=path.stem)
        finally:
            file.close()


def read_e57(path: Path) -> Scene:
    """Read all scans, each where its pose puts it, grey where they have no colour; z is up.

    Raises:
        FormatError: it is missing or damaged.
        MissingPackageError: pye57 is not installed.
    """
    pye57 = package(path, "pye57", "export")
    try:
        file = pye57.E57(str(path))
        scans = [file.read_scan(number, ignore_missing_fields=True, colors=True) for number in range(file.scan_count)]
        file.close()
    except (pye57.libe57.E57Exception, ValueError, KeyError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as E57 ({' '.join(str(error).split())})") from error
    if not scans:
        raise FormatError(f"{path}: holds no scan")
    points = np.concatenate([np.stack([scan[name] for name in _POSITION], axis=1) for scan in scans]).astype(np.float32)
    colors = np.concatenate([_colors(scan) for scan in scans])
    return Scene(PointCloud(points, colors, np.zeros_like(points)), "z", notes=Notes("metres"))


def _colors(scan: dict[str, Any]) -> UInt8[np.ndarray, "n 3"]:
    if not set(_COLOR) <= set(scan):
        return grey(len(scan[_POSITION[0]]))
    return bytes_of_colors(np.stack([scan[name] for name in _COLOR], axis=1))
