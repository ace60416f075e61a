"""Clouds in E57 (ASTM E2807), by pye57: one scan, colours of 8 bits, metres, z up.

The standard knows no other units and has no place for notes: those of recon stand in an extension of it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import UInt8

from recon.errors import FormatError
from recon.files import whole_file
from recon.io.asset import (
    Look,
    Notes,
    Scene,
    bytes_of_colors,
    cloud_of,
    far_origin,
    grey,
    near_origin,
    package,
    said,
)
from recon.types import PointCloud

_POSITION = ("cartesianX", "cartesianY", "cartesianZ")
_EXTENSION: Final = ("recon", "urn:recon:notes")
_NOTES: Final = "recon:notes"
_COLOR = ("colorRed", "colorGreen", "colorBlue")


def write_e57(path: Path, scene: Scene, look: Look) -> None:  # noqa: ARG001 - as all writers
    """Write the points or vertices as one scan named after the file; normals have no place in the standard.

    Raises:
        MissingPackageError: pye57 is not installed.
    """
    pye57 = package(path, "pye57", "export")
    origin, scene = far_origin(scene)
    cloud = cloud_of(scene.shape)
    columns = dict(zip(_POSITION, cloud.points.T.astype(np.float64), strict=True))
    columns |= dict(zip(_COLOR, np.array(cloud.colors.T, order="C"), strict=True))
    with whole_file(path) as partial:
        file = pye57.E57(str(partial), mode="w")
        try:
            file.image_file.extensionsAdd(*_EXTENSION)
            file.root.set(_NOTES, pye57.libe57.StringNode(file.image_file, "\n".join(scene.notes.lines)))
            file.write_scan_raw(columns, name=path.stem, translation=origin)  # coordinates are in single precision
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
        notes = _notes(file)
        file.close()
    except (pye57.libe57.E57Exception, ValueError, KeyError, OSError) as error:
        raise FormatError(f"{path}: cannot be read as E57 ({' '.join(str(error).split())})") from error
    if not scans:
        raise FormatError(f"{path}: holds no scan")
    points = np.concatenate([np.stack([scan[name] for name in _POSITION], axis=1) for scan in scans])
    near, origin = near_origin(points.astype(np.float64))
    colors = np.concatenate([_colors(scan) for scan in scans])
    notes = replace(notes, provenance={**notes.provenance, **origin})
    return Scene(PointCloud(near, colors, np.zeros_like(near)), "z", notes=notes)


def _notes(file: Any) -> Notes:  # noqa: ANN401 - pye57 has no types
    image = file.image_file
    known = {image.extensionsPrefix(number) for number in range(image.extensionsCount())}
    ours = _EXTENSION[0] in known and file.root.isDefined(_NOTES)
    return said(file.root[_NOTES].value().splitlines())[0] if ours else Notes("metres")


def _colors(scan: dict[str, Any]) -> UInt8[np.ndarray, "n 3"]:
    if not set(_COLOR) <= set(scan):
        return grey(len(scan[_POSITION[0]]))
    return bytes_of_colors(np.stack([scan[name] for name in _COLOR], axis=1))
