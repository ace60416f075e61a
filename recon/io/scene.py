"""Scenes in files: one table of formats, one way in and one way out.

=======  =======================  ========================================  ======================================
kind     suffixes                 holds                                     axes that its readers take for granted
=======  =======================  ========================================  ======================================
glb      .glb (.gltf is read)     mesh, texture or colours; points; camera  y up
obj      .obj with .mtl, picture  mesh, texture or colours; points          y up
ply      .ply with picture        mesh, texture and colours; points         none: Blender takes it raw, so z up
stl      .stl                     triangles alone                           none: printers have z up
usdz     .usdz (.usd* is read)    mesh, texture or colours; points; camera  y up (said in the file)
pcx      .ply                     points, for Unity's Pcx (x negated)       y up, left-handed
splat    .ply                     points, for 3D Gaussian Splatting         the world of the poses
las      .las .laz                points                                    z up
e57      .e57                     points                                    z up
=======  =======================  ========================================  ======================================

What a format has no place for is left out. Files appear whole or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

from recon.errors import FormatError
from recon.io.asset import (
    CameraPath,
    Look,
    Notes,
    Reader,
    Scene,
    Shape,
    Writer,
    cloud_of,
    is_empty,
    mesh_of,
    moved,
    package,
    texture_path,
    turned,
)
from recon.io.cloud import Up
from recon.io.e57 import read_e57, write_e57
from recon.io.glb import write_glb
from recon.io.gltf import read_gltf
from recon.io.las import read_las, write_las
from recon.io.obj import library_path, read_obj, write_obj
from recon.io.ply_mesh import read_ply_scene, to_unity, write_pcx, write_ply_scene
from recon.io.splat import is_splat, read_splat, write_splat
from recon.io.stl import read_stl, write_stl
from recon.io.usd import read_usd, write_usdz
from recon.types import PointCloud

Kind = Literal["glb", "obj", "ply", "stl", "usdz", "pcx", "splat", "las", "e57"]
"""A format that is written."""

Preset = Literal["none", "blender", "unity", "web", "meshlab"]
"""A program that files are for, or none in particular."""


@dataclass(frozen=True, slots=True)
class Format:
    """How one format is written."""

    write: Writer
    suffixes: tuple[str, ...]
    up: Up
    """Axes where nobody asks for others."""
    fixed_up: bool
    """Whether readers take these axes for granted (or the standard fixes them)."""
    is_cloud: bool = False
    """Whether it holds points alone: of a mesh, the vertices."""
    package: str | None = None
    """Optional package that writing needs."""


FORMATS: Final[Mapping[Kind, Format]] = MappingProxyType(
    {
        "glb": Format(write_glb, (".glb",), "y", fixed_up=True),
        "obj": Format(write_obj, (".obj",), "y", fixed_up=True),
        "ply": Format(write_ply_scene, (".ply",), "z", fixed_up=False),
        "stl": Format(write_stl, (".stl",), "z", fixed_up=False),
        "usdz": Format(write_usdz, (".usdz",), "y", fixed_up=False, package="pxr.Usd"),
        "pcx": Format(write_pcx, (".ply",), "y", fixed_up=True, is_cloud=True),
        "splat": Format(write_splat, (".ply",), "camera", fixed_up=False, is_cloud=True),
        "las": Format(write_las, (".las", ".laz"), "z", fixed_up=True, is_cloud=True, package="laspy"),
        "e57": Format(write_e57, (".e57",), "z", fixed_up=True, is_cloud=True, package="pye57"),
    }
)

_READERS: Final[Mapping[str, Reader]] = MappingProxyType(
    {
        **dict.fromkeys((".glb", ".gltf"), read_gltf),
        ".obj": read_obj,
        ".ply": lambda path: read_splat(path) if is_splat(path) else read_ply_scene(path),
        ".stl": read_stl,
        **dict.fromkeys((".usdz", ".usdc", ".usda", ".usd"), read_usd),
        **dict.fromkeys((".las", ".laz"), read_las),
        ".e57": read_e57,
    }
)
SUFFIXES: Final = tuple(_READERS)
"""What `read_scene` reads."""

_PRESETS: Final[Mapping[Preset, Mapping[Kind, Up]]] = MappingProxyType(
    {
        "none": {},
        "blender": {},  # the defaults: its importers turn GLB, OBJ and USDZ, and take PLY and STL raw
        "unity": {"ply": "y", "stl": "y"},
        "web": {"ply": "y", "stl": "y"},  # three.js takes both raw and has y up
        "meshlab": {"ply": "y", "stl": "y"},  # its first view has y up
    }
)


def kind_of(path: Path) -> Kind:
    """The format that a suffix stands for; .ply is a plain one.

    Raises:
        FormatError: no format is called so.
    """
    suffix = path.suffix.lower()
    found = next((kind for kind, each in FORMATS.items() if suffix in each.suffixes), None)
    if found is None:
        known = ", ".join(dict.fromkeys(suffix for each in FORMATS.values() for suffix in each.suffixes))
        raise FormatError(f"{path}: no format of clouds or meshes that recon writes; known are {known}")
    return found


def require_format(path: Path) -> None:
    """Find out before the work whether a file can be written.

    Raises:
        FormatError: no format is called so.
        MissingPackageError: it needs an optional package.
    """
    needed = FORMATS[kind_of(path)].package
    if needed is not None:
        package(path, needed, "export")


def files_of(path: Path) -> tuple[Path, ...]:
    """The file, and what may be written beside it: the material and texture of OBJ, the texture of PLY."""
    textures = tuple(texture_path(path, Look(picture=coding)) for coding in ("jpeg", "png"))
    suffix = path.suffix.lower()
    beside = (library_path(path), *textures) if suffix == ".obj" else textures if suffix == ".ply" else ()
    return (path, *beside)


def level_path(path: Path, level: int) -> Path:
    """Where a coarser level of a mesh stands; level 0 is the mesh itself."""
    return path if level == 0 else path.with_name(f"{path.stem}.lod{level}{path.suffix}")


def up_for(kind: Kind, preset: Preset = "none") -> Up:
    """The axes in which a format shall stand for a program."""
    return _PRESETS[preset].get(kind, FORMATS[kind].up)


def write_scene(path: Path, scene: Scene, *, kind: Kind | None = None, look: Look = Look()) -> None:  # noqa: B008 - frozen
    """Write a scene, as it stands, in the format that the suffix (or ``kind``) names; all its files appear or none.

    Args:
        path: file to write; a texture of OBJ and PLY goes beside it.
        scene: already in the axes of the file (`turned`, `up_for`).
        kind: format where the suffix does not say it all (``pcx``, ``splat``).
        look: material and coding of the texture.

    Raises:
        FormatError: the suffix is unknown, the scene is empty, or the format cannot hold it.
        MissingPackageError: the format needs an optional package.
        ValueError: the scene does not stand as the format has it.
    """
    if is_empty(scene.shape):
        raise FormatError(f"{path}: there is nothing to write: no {_contents(scene.shape)}")
    FORMATS[kind or kind_of(path)].write(path, scene, look)


def read_scene(path: Path) -> Scene:
    """Read a cloud or a mesh with colours (sRGB), texture, camera path and notes, in the file's own axes.

    Raises:
        FormatError: it is missing, of an unknown format, damaged or empty.
        MissingPackageError: the format needs an optional package.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FormatError(f"{path}: no format of clouds or meshes; known are {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise FormatError(f"{path}: there is no such file")
    try:
        return reader(path)
    except ValueError as error:
        raise FormatError(f"{path}: is damaged ({error})") from error


def _contents(shape: Shape) -> str:
    return "points" if isinstance(shape, PointCloud) else "triangles"


__all__ = [
    "FORMATS",
    "SUFFIXES",
    "CameraPath",
    "Format",
    "Kind",
    "Look",
    "Notes",
    "Preset",
    "Scene",
    "Shape",
    "cloud_of",
    "files_of",
    "kind_of",
    "level_path",
    "mesh_of",
    "moved",
    "read_scene",
    "require_format",
    "to_unity",
    "turned",
    "up_for",
    "write_scene",
]
