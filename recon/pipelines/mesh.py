"""From depth to textured meshes: `recon mesh` without its options."""

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.geometry import transform
from recon.io.scene import (
    CameraPath,
    Look,
    Notes,
    Scene,
    kind_of,
    level_path,
    mesh_of,
    moved,
    turned,
    up_for,
    write_scene,
)
from recon.pipelines.cloud import ShotPlan
from recon.pipelines.depth import counted
from recon.pipelines.poses import Found, place_of
from recon.pipelines.run import Reconstruction
from recon.pipelines.units import SHORT_UNITS
from recon.settings import EDGE, CameraSettings, MeshSettings, SceneSettings, SurfaceSettings
from recon.stages.fuse import CloudFuser, view_of
from recon.stages.pose import posed
from recon.stages.surface import (
    FAST_SIMPLIFICATION,
    OPEN3D,
    SurfaceFuser,
    depth_mesh,
    filled,
    fitting_voxel,
    lods,
    octree_depth,
    poisson,
    simplified,
    without_small_parts,
)
from recon.stages.texture import XATLAS, textured
from recon.stages.upright import Upright, upright
from recon.types import Mesh, PosedFrame, TexturedMesh, Units

logger = logging.getLogger(__name__)

PICTURE_AREA: Final = 1 << 21
"""Most pixels of the pictures of which a texture is made: a texel is rarely finer."""
BAND: Final = 2.0
"""Half the width of the volume around a surface, in the part by which depth and its anchor are apart in the middle."""


_ROUGH: Final = "a mesh keeps %s triangles instead of %s: it is too rough for fewer; larger voxels make it smoother"


@dataclass(frozen=True, slots=True)
class MeshSummary:
    """What one mesh was made of."""

    triangles: int
    vertices: int
    texture: int
    """Side of its picture, pixels; 0 without one."""
    units: Units
    frames: int
    """Frames that were fused."""
    start: float
    """Time of the first of them, seconds."""
    end: float
    """Time of the last of them, seconds."""
    voxel: float
    """Edge of a voxel, in the units."""
    size: tuple[float, float, float]
    """Extent along x, y and z, in the units: across, upwards, ahead as the first camera looks."""
    upright: str
    """What said which way is up."""

    @property
    def facts(self) -> dict[str, object]:
        """For a YAML file."""
        return asdict(self) | {"size": list(self.size)}

    @property
    def sentence(self) -> str:
        """For a person."""
        unit, texture = SHORT_UNITS[self.units], f", texture {self.texture} x {self.texture}" if self.texture else ""
        extent = " x ".join(f"{side:.3g}" for side in self.size)
        made = f"from {counted(self.frames)}, voxel {self.voxel:.3g}{unit}"
        return f"{self.triangles:,} triangles{texture}, {extent}{unit}, {made}"


@dataclass(frozen=True, slots=True)
class SegmentMesh:
    """One mesh, of all frames that share a world, in a level one."""

    found: Found
    summary: MeshSummary
    levels: tuple[Scene, ...]
    """What is to stand in files: the mesh, then coarser ones."""


def require_packages(settings: MeshSettings) -> None:
    """Find out before the work whether what it needs is installed.

    Raises:
        MissingPackageError: an optional package is not.
    """
    surface = settings.surface
    needed = {FAST_SIMPLIFICATION: surface.faces or surface.lods, XATLAS: settings.texture.texture != 0}
    for package, wanted in (needed | {OPEN3D: surface.poisson}).items():
        if wanted:
            package.module()


def meshes(run: Reconstruction, settings: MeshSettings) -> Iterator[SegmentMesh]:
    """One mesh for each run of frames that share a world, as soon as it is complete; none for one without a surface."""
    place_at = place_of(run.found)
    with closing(run.scene.shots(run.observer)) as shots:
        members = ((plan, frame) for _shot, plan, frames in shots for frame in posed(frames, place_at))
        for number, together in groupby(members, key=lambda member: member[1].segment):
            made = _fused(together, settings)
            if len(made.mesh):
                yield _finished(run, run.found[number], made, settings)
            else:
                logger.warning("%.2f to %.2f s: no surface is seen often enough", made.times[0], made.times[-1])


@dataclass(frozen=True, slots=True)
class _Fused:
    mesh: Mesh
    plan: ShotPlan
    voxel: float
    times: list[float]


def _fused(members: Iterator[tuple[ShotPlan, PosedFrame]], settings: MeshSettings) -> _Fused:
    """The surface of a segment; that of a single picture is a grid of its pixels."""
    plan, first = next(members)
    most_bytes = round(settings.surface.memory * 1e9)
    voxel = settings.fuse.voxel or fitting_voxel(first.depth, first.intrinsics, most_bytes=most_bytes)
    noise = BAND * (plan.disagreement or 0.0)
    fuser = _Closed(voxel) if settings.surface.poisson else SurfaceFuser(voxel, noise=noise, most_bytes=most_bytes)
    fuser.add(first)
    times = [first.frame.time]
    for _plan, frame in members:
        fuser.add(frame)
        times.append(frame.frame.time)
    mesh = fuser.mesh() if len(times) > 1 else depth_mesh(first, settings.clean.edge or EDGE)
    return _Fused(_trimmed(mesh, settings.surface), plan, voxel, times)


class _Closed:
    """A surface through a cloud, with the methods of `SurfaceFuser`."""

    def __init__(self, voxel: float) -> None:
        self._fuser, self._voxel = CloudFuser(voxel), voxel

    def add(self, frame: PosedFrame) -> None:
        self._fuser.add(*view_of(frame))

    def mesh(self) -> Mesh:
        cloud = self._fuser.cloud()
        return poisson(cloud, octree_depth(cloud, self._voxel))


def _trimmed(mesh: Mesh, surface: SurfaceSettings) -> Mesh:
    mesh = without_small_parts(mesh, surface.least_part)
    return filled(mesh, surface.fill) if surface.fill else mesh


def _finished(run: Reconstruction, found: Found, made: _Fused, settings: MeshSettings) -> SegmentMesh:
    """Simplified, textured, and put on its feet."""
    poses = found.segment.trajectory.world_from_camera
    level = _level(made.mesh, poses, settings, run.poses.gravity)
    finest = simplified(made.mesh, settings.surface.faces) if settings.surface.faces else made.mesh
    simple = [finest, *lods(finest, settings.surface.lods)]
    for mesh, count in zip(simple, (settings.surface.faces, *settings.surface.lods), strict=True):
        if 0 < count < 0.9 * len(mesh):
            logger.warning(_ROUGH, f"{len(mesh):,}", f"{count:,}")
    frames = partial(_pictures, run, found)
    size = settings.texture.texture
    shapes = [mesh if size == 0 else textured(mesh, frames, size, most_views=settings.texture.views) for mesh in simple]
    scenes = tuple(_scene(run, made, found, shape, level, settings.camera) for shape in shapes)
    return SegmentMesh(found, _summary(shapes[0], made, level), scenes)


def _level(
    mesh: Mesh,
    poses: Float64[np.ndarray, "n 4 4"],
    settings: MeshSettings,
    known: tuple[float, float, float] | None,
) -> Upright:
    if settings.scene.up == "camera":
        return Upright(np.eye(4), "nothing: the world of the camera poses, unchanged")
    gravity = settings.surface.gravity or known
    return upright(mesh.vertices, mesh.normals, poses, settings.surface.up_from, gravity)


def _pictures(run: Reconstruction, found: Found) -> Iterator[PosedFrame]:
    """The frames of a segment, in detail, from the first one on each time."""
    place_at = place_of([found])
    with closing(run.scene.pictures(run.observer, PICTURE_AREA)) as shots:
        for _shot, _plan, frames in shots:
            yield from posed(frames, place_at)


def _scene(
    run: Reconstruction, made: _Fused, found: Found, shape: Mesh | TexturedMesh, level: Upright, given: CameraSettings
) -> Scene:
    """In the level world, with the cameras; given files are named without their folders, as meshes are passed on."""
    poses, camera = found.segment.trajectory, run.camera
    path = CameraPath(poses.times, level.level_from_world @ poses.world_from_camera, found.segment.intrinsics)
    told = {
        "made by recon from": run.source.info.path.name,
        "field of view": f"{camera.intrinsics.fov_x:.2f} degrees ({camera.origin})",
        "poses": run.poses.origin,
        "upright by": level.sentence,
    }
    for file in filter(None, (given.intrinsics, given.trajectory)):
        told = {name: text.replace(str(file), file.name) for name, text in told.items()}
    notes = Notes(made.plan.gauge.units, _scale_sigma(made.plan), told)
    return Scene(moved(shape, level.level_from_world), "camera", path, notes)


def _scale_sigma(plan: ShotPlan) -> float | None:
    """Relative; None where nothing was fitted."""
    fit = plan.gauge.fit
    return None if fit is None or not np.isfinite(fit.length_sigma) else float(fit.length_sigma)


def _summary(shape: Mesh | TexturedMesh, made: _Fused, level: Upright) -> MeshSummary:
    mesh = mesh_of(shape)
    across, up, ahead = np.ptp(transform(level.level_from_world, mesh.vertices), axis=0).tolist()
    return MeshSummary(
        len(mesh),
        len(mesh.vertices),
        len(shape.texture) if isinstance(shape, TexturedMesh) else 0,
        made.plan.gauge.units,
        len(made.times),
        made.times[0],
        made.times[-1],
        made.voxel,
        (across, up, ahead),
        level.sentence,
    )


def write_mesh(path: Path, made: SegmentMesh, settings: SceneSettings) -> None:
    """Write a mesh, and its coarser levels as NAME.lod1 and so on, in the axes that are asked for."""
    kind = kind_of(path)
    up = up_for(kind, settings.preset) if settings.up == "auto" else settings.up
    for level, scene in enumerate(made.levels):
        shown = scene if settings.camera_path else replace(scene, camera=None)
        write_scene(level_path(path, level), turned(shown, up), look=Look(settings.material))
