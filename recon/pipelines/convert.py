"""Clouds, meshes and camera paths from one format to another: `recon convert` without its options.

Nothing is guessed: axes are turned only where the file, or the user, says which one is up; and what the new format has
no place for is told.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple, cast, get_args

import numpy as np

from recon.errors import FormatError, OptionError, TrajectoryError
from recon.io.asset import all_known, near_origin, texture_path
from recon.io.cloud import UNKNOWN_COLOR, Up, axes_comment
from recon.io.colmap import find_model, read_model
from recon.io.lens import Lens
from recon.io.obj import library_path
from recon.io.points import is_points_file, read_points
from recon.io.pose_files import KNOWN, read_poses
from recon.io.pose_layout import Kind as PoseKind
from recon.io.pose_layout import Layout, layout_of
from recon.io.scene import (
    FORMATS,
    SUFFIXES,
    Kind,
    Look,
    Notes,
    Scene,
    cloud_of,
    kind_of,
    mesh_of,
    read_scene,
    require_format,
    turned,
    up_for,
    write_scene,
)
from recon.pipelines.convert_poses import (
    Way,
    cloud_of_model,
    left_out,
    plain_camera,
    read_way,
    told_pictures,
    turned_way,
    write_way,
)
from recon.pipelines.units import UNIT_NAMES
from recon.settings import ConvertRunSettings, ConvertSettings, SceneSettings
from recon.types import PointCloud, TexturedMesh

_POSES: Final = (".tum", ".txt", ".kitti", ".json", "")
"""Endings of trajectories that are written; none: a folder."""
_MAYBE_POSES: Final = (*_POSES, ".csv", ".npz", ".r3d", ".traj", ".bin")
_BARE_POINTS: Final = (".xyz", ".pts", ".asc")
"""Endings of points as text that no trajectory has."""
_STANDING: Final[Mapping[Kind, tuple[Up, ...]]] = MappingProxyType(
    {"glb": ("y", "camera"), "pcx": ("y", "camera"), "e57": ("z",)}
)
"""Axes of formats that are never read in others."""
_WITH_NORMALS: Final = ("glb", "obj", "ply", "usdz")
_WITH_CAMERA: Final = ("glb", "usdz")
_MIRRORED: Final = "left-handed, +y up, x negated: as Unity has it"
_UNSAID: Final = "as in {}, which does not say what is up (--from-up z or y says it)"


class Target(NamedTuple):
    """What is to be written."""

    path: Path
    kind: Kind | None
    """Format of a cloud or mesh, or None."""
    layout: Layout | None
    """Format of a trajectory, or None."""

    @property
    def name(self) -> str:
        """Of the format."""
        return self.kind or (self.layout.kind if self.layout else "")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was read, as it is to be written."""

    target: Target
    content: Scene | Way
    look: Look
    rows: tuple[tuple[str, str], ...]
    """For a person."""
    facts: Mapping[str, object]
    """For the YAML file beside the result."""

    @property
    def beside(self) -> tuple[Path, ...]:
        """Files that are written with the one that is asked for."""
        path = self.target.path
        if isinstance(self.content, Way):
            return tuple(self.target.layout.files(path)[1:]) if self.target.layout else ()
        has_picture = isinstance(self.content.shape, TexturedMesh) and self.target.kind in {"obj", "ply"}
        library = (library_path(path),) if self.target.kind == "obj" else ()
        return (*library, texture_path(path, self.look)) if has_picture else ()

    def write(self, path: Path) -> None:
        """Write it to a file (COLMAP: a folder) that will stand where the target is, with those beside it.

        Raises:
            ReconError: the format cannot hold it, or needs an optional package.
        """
        if isinstance(self.content, Scene):
            write_scene(path, self.content, kind=self.target.kind, look=self.look)
        elif self.target.layout is not None:
            write_way(self.content, path, self.target.layout, self.target.path)


def target_of(output: Path, format_: str) -> Target:
    """The format that is asked for, or that the output's name says.

    Raises:
        FormatError: no format is called so.
        OptionError: another one than is asked for.
        MissingPackageError: it needs an optional package.
    """
    suffix = output.suffix.lower()
    if format_ in get_args(PoseKind) or (format_ == "auto" and suffix in _POSES):
        return Target(output, None, layout_of(cast("PoseKind", format_), output))
    if format_ == "auto":
        known = dict.fromkeys(suffix for each in FORMATS.values() for suffix in each.suffixes)
        if suffix not in known:
            raise FormatError(
                f"{output}: no format that recon writes; clouds and meshes are {', '.join(known)}, trajectories .tum, "
                ".txt, .kitti, .json, or a folder (COLMAP)"
            )
        kind = kind_of(output)
    else:
        kind = cast("Kind", format_)
    if suffix not in FORMATS[kind].suffixes:
        raise OptionError(f"{output}: --format {kind} must end in {' or '.join(FORMATS[kind].suffixes)}")
    require_format(output)
    return Target(output, kind, None)


def conversion(source: Path, target: Target, settings: ConvertRunSettings) -> Conversion:
    """Read a file, and make of it what the target can hold.

    Raises:
        ReconError: it cannot be read, or the target cannot hold it.
    """
    found = _read(source, target, settings.convert)
    if isinstance(found, Way):
        return _of_way(found, target, settings)
    if target.kind is None:
        return _of_way(_way_of(source, found, settings.convert), target, settings)
    return _of_scene(source, found, target.kind, target, settings)


# -------------------------------------------------------------------------------------------------------------- reading


def _read(source: Path, target: Target, settings: ConvertSettings) -> Scene | Way:
    """A cloud or mesh, or a trajectory: what the file holds."""
    suffix = source.suffix.lower()
    if not source.exists():
        raise FormatError(f"{source}: there is no such file or folder")
    if source.is_file() and suffix in SUFFIXES:
        return read_scene(source)
    if source.is_file() and suffix in _BARE_POINTS:
        return _scene_of_text(source)
    if source.is_file() and suffix not in _MAYBE_POSES:
        raise FormatError(
            f"{source}: no format that recon reads; clouds and meshes are {', '.join((*SUFFIXES, *_BARE_POINTS))}, "
            f"trajectories {KNOWN}"
        )
    if target.kind is None:
        return read_way(source, settings, whole=target.layout is not None and target.layout.names_pictures)
    return _scene_of_poses(source, target.kind)


def _scene_of_poses(source: Path, kind: Kind) -> Scene:
    """Points of a COLMAP model, or of lines of text that are no trajectory."""
    model = find_model(source)
    if model is not None:
        points = cloud_of_model(read_model(model))
        if not len(points):
            raise FormatError(f"{source}: the COLMAP model has no points")
        return Scene(points, "camera", notes=Notes("slam"))
    try:
        poses = read_poses(source)
    except TrajectoryError:
        if not is_points_file(source):
            raise
        return _scene_of_text(source)
    raise FormatError(
        f"{source}: a trajectory ({poses.format.name}), which {kind} does not hold; name a .tum, .kitti or .json file, "
        "or a folder (COLMAP)"
    )


def _scene_of_text(source: Path) -> Scene:
    points, origin = near_origin(read_points(source))
    grey = np.full(points.shape, UNKNOWN_COLOR, np.uint8)
    return Scene(PointCloud(points, grey, np.zeros_like(points)), None, notes=Notes("relative", provenance=origin))


def _way_of(source: Path, scene: Scene, settings: ConvertSettings) -> Way:
    """The camera's path of a mesh or cloud."""
    camera = scene.camera
    if camera is None:
        raise FormatError(f"{source}: holds no camera path that could become a trajectory (GLB and USDZ may)")
    if settings.intrinsics is not None:
        raise OptionError(f"--intrinsics: {source} says what its camera is")
    held = "the cloud" if isinstance(scene.shape, PointCloud) else "the mesh"
    lens = Lens(camera.intrinsics)
    poses = camera.asset_from_camera
    kind = source.suffix.lower()
    return Way(source, kind, poses, camera.times, scene.up, scene.notes.units, lenses=(lens,), left=(held,))


# ----------------------------------------------------------------------------------------------------------------- axes


class _Turn(NamedTuple):
    own: Up | None
    """In which it stands."""
    to: Up | None
    """In which it shall stand; None: it stays."""


def _turn(source: Path, told: Up | None, usual: Up | None, settings: ConvertRunSettings) -> _Turn:
    """From which axes to which: a world of poses (``camera``) has any, unless the user says that its y points down."""
    said, asked = settings.convert.from_up, settings.scene.up
    own = told if said == "auto" else said
    wanted = usual if asked == "auto" else asked
    if wanted is None or wanted == own:
        return _Turn(own, None)
    if own in {"y", "z"} or said == "camera":
        return _Turn(own, wanted)
    if asked != "auto":
        raise OptionError(f"--up {asked}: {source} does not say what is up: say --from-up z or y")
    return _Turn(own, None)


def _told_axes(source: Path, up: Up | None) -> str:
    return _UNSAID.format(source.name) if up in {None, "camera"} else axes_comment(up).removeprefix("axes: ")


def _axes_fact(up: Up | None) -> dict[str, object]:
    return {} if up is None else {"axes": axes_comment(up).removeprefix("axes: ")}


# --------------------------------------------------------------------------------------------------------------- scenes


def _of_scene(source: Path, found: Scene, kind: Kind, target: Target, settings: ConvertRunSettings) -> Conversion:
    if kind == "stl" and isinstance(found.shape, PointCloud):
        raise FormatError(f"{source}: a cloud, and STL holds triangles: write PLY or GLB")
    _require_standing(kind, settings.scene)
    scene = found if settings.scene.camera_path else replace(found, camera=None)
    usual = None if kind == "splat" else up_for(kind, settings.scene.preset)
    own, to = _turn(source, scene.up, usual, settings)
    scene = replace(scene, up=own)
    scene = scene if to is None else turned(scene, to)
    lost = [*(["camera poses", "tracks"] if find_model(source) else []), *_lost(scene, kind)]
    rows = (
        ("holds", _holds(scene, kind)),
        ("axes", _MIRRORED if kind == "pcx" and scene.up == "y" else _told_axes(source, scene.up)),
        ("units", _units(scene.notes)),
        ("left out", ", ".join(lost) or "nothing"),
    )
    facts: dict[str, object] = {"converted": {"from": str(source), "format": kind, "left_out": lost}}
    facts |= {"units": scene.notes.units} | _axes_fact(scene.up)
    if not (isinstance(scene.shape, PointCloud) or FORMATS[kind].is_cloud):
        facts["meshes"] = {target.path.name: {"triangles": len(mesh_of(scene.shape))}}
    return Conversion(target, scene, Look(settings.scene.material, settings.convert.picture), rows, facts)


def _require_standing(kind: Kind, settings: SceneSettings) -> None:
    known = _STANDING.get(kind)
    if settings.up != "auto" and known is not None and settings.up not in known:
        raise OptionError(f"--up {settings.up}: {kind} always has +{known[0]} up")


def _holds(scene: Scene, kind: Kind) -> str:
    shape, count = scene.shape, len(cloud_of(scene.shape))
    if isinstance(shape, PointCloud) or FORMATS[kind].is_cloud:
        told = [f"{count:,} points"]
    else:
        told = [f"{len(mesh_of(shape)):,} triangles, {count:,} vertices"]
    if isinstance(shape, TexturedMesh) and kind in _WITH_NORMALS:
        height, width = shape.texture.shape[:2]
        told.append(f"texture {width} x {height}")
    if scene.camera is not None and kind in _WITH_CAMERA:
        told.append(f"{len(scene.camera):,} camera poses")
    return ", ".join(told)


def _lost(scene: Scene, kind: Kind) -> list[str]:
    """What the format has no place for."""
    shape, cloud = scene.shape, cloud_of(scene.shape)
    is_loose = kind == "obj" and isinstance(shape, PointCloud)  # no reader joins them to the points
    normals = kind in _WITH_NORMALS and not is_loose and (kind == "ply" or all_known(cloud.normals))
    lost = {
        "triangles": FORMATS[kind].is_cloud and not isinstance(shape, PointCloud),
        "texture": isinstance(shape, TexturedMesh) and kind not in _WITH_NORMALS,
        "colours": kind == "stl" and bool((cloud.colors != UNKNOWN_COLOR).any()),
        "normals": bool(cloud.normals.any()) and not normals,
        "camera path": scene.camera is not None and kind not in _WITH_CAMERA,
        "notes": kind == "stl" and bool(scene.notes.provenance),
    }
    return [name for name, is_lost in lost.items() if is_lost]


def _units(notes: Notes) -> str:
    return UNIT_NAMES[notes.units] + ("" if notes.scale_sigma is None else f" +- {notes.scale_sigma:.1%}")


# ----------------------------------------------------------------------------------------------------------------- ways


def _of_way(found: Way, target: Target, settings: ConvertRunSettings) -> Conversion:
    layout = target.layout
    if layout is None:
        raise ValueError("a path becomes a trajectory")
    if found.model is not None and layout.is_folder and settings.convert.intrinsics is not None:
        raise OptionError(f"--intrinsics: the model {found.path} has its own cameras")
    own, to = _turn(found.path, found.up, None, settings)
    way = replace(found, up=own)
    way = way if to is None else turned_way(way, to)
    lost, camera = left_out(way, layout), plain_camera(way)
    rows = [("holds", f"{len(way):,} camera poses, {_told_times(way)}")]
    rows += [("pictures", told_pictures(way, layout, target.path))] if layout.names_pictures else []
    rows += [("camera", "in the settings beside it")] if camera and not layout.names_pictures else []
    rows += [("axes", _told_axes(found.path, way.up)), ("units", _told_units(way, layout))]
    rows += [("left out", ", ".join(lost) or "nothing")]
    facts: dict[str, object] = {"converted": {"from": str(found.path), "format": layout.kind, "left_out": lost}}
    facts |= {"units": way.units, **_axes_fact(way.up), **({"camera": camera} if camera else {})}
    return Conversion(target, way, Look(), tuple(rows), facts)


def _told_units(way: Way, layout: Layout) -> str:
    usual = "slam" if layout.names_pictures else "metres"
    aside = "" if way.units == usual or layout.kind == "tum" else " (said in the settings beside it)"
    return UNIT_NAMES[way.units] + aside


def _told_times(way: Way) -> str:
    return "without times" if way.times is None else f"{way.times[0]:.2f} to {way.times[-1]:.2f} s"


__all__ = ["Conversion", "Target", "conversion", "target_of"]
