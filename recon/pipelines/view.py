"""A page to look at a result in: `recon view` without its options. One file, which needs no network and no server."""

import base64
import hashlib
import json
import logging
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from recon.errors import FormatError, OptionError
from recon.files import whole_file
from recon.geometry import inverse
from recon.io.asset import Look, Scene, is_empty, mesh_of, turned
from recon.io.cloud import Up, file_from_world
from recon.io.scene import read_scene, write_scene
from recon.io.trajectory import read_trajectory
from recon.pipelines.records import block, record_beside, told_axes, told_camera
from recon.pipelines.units import UNIT_NAMES
from recon.types import CameraTrajectory, Intrinsics, PointCloud

logger = logging.getLogger(__name__)

MOST_POINTS: Final = 3_000_000
"""Points of a cloud that a page holds: 72 MB with normals, which a browser still turns fluently."""
_HEAVY: Final = 100_000_000
"""Bytes of a mesh from which on a browser takes its time."""
_MARK: Final = b'<meta name="generator" content="recon view">'
_HEADER: Final = 1000
"""Bytes within which a file says that it is such a page."""
_UPS: Final = ("+z", "+y", "-y", "-z", "+x", "-x")
_LENS: Final = ("fx", "fy", "cx", "cy", "width", "height")
_RATE: Final = 30.0
"""Poses for each second, where their file does not say."""
_SAMPLE: Final = 200_000
_ASKED: Final = 2_000
_NO_SCRIPT_ENDS: Final = ("</script", "<!--")


@dataclass(frozen=True, slots=True)
class ViewSummary:
    """What a page shows."""

    shown: str
    """For example "104,640 points"."""
    cameras: int
    """Poses along the camera's path; 0: there is none."""
    path: Path | None
    """Where the poses come from."""
    bytes: int
    """Size of the page."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """A shape as the page holds it."""

    kind: str
    """cloud or glb: which reader of the page takes it."""
    blocks: Mapping[str, bytes]
    told: str
    notices: tuple[str, ...] = ()
    spacing: float = 0.0
    """Typical distance of neighbouring points."""


@dataclass(frozen=True, slots=True)
class _Way:
    """The camera's path in the axes of the result."""

    file: Path
    trajectory: CameraTrajectory
    camera: Intrinsics | None


def write_view(path: Path, result: Path, *, trajectory: Path | None = None) -> ViewSummary:
    """Write the page; it appears whole or not at all.

    Colours are drawn as they stand in the file. The camera's path comes from ``trajectory``, else from the result
    itself (GLB and USDZ hold it), else from the .tum file of the same name beside it, else from the poses that it was
    made with, as the settings beside it say.

    Args:
        path: HTML file to write.
        result: cloud or mesh in any format of `recon.io.scene`.
        trajectory: camera poses in any format of `recon.io.pose_files`, in the world of the result.

    Raises:
        FormatError: the result is missing, of another format, damaged, empty, or needs files that a page cannot hold.
        MissingPackageError: its format needs an optional package.
        TrajectoryError: poses that cannot be read.
    """
    scene = read_scene(result)
    if scene.up == "z" and not isinstance(scene.shape, PointCloud):
        scene = turned(scene, "y")  # as glTF stands
    record = record_beside(result)
    shown = _shown(result, scene)
    way = _way(result, scene, record, trajectory)
    cameras = 0 if way is None else len(way.trajectory.times)
    units = UNIT_NAMES[scene.notes.units]
    lines = [shown.told, f"lengths in {units}", *([f"{cameras:,} camera poses"] if cameras else [])]
    blocks = {**shown.blocks, **({} if way is None else {"poses": _packed_poses(way.trajectory)})}
    _write(path, result, _facts(scene, shown, way), {"lines": lines, "notices": shown.notices}, blocks)
    return ViewSummary(shown.told, cameras, None if way is None else way.file, path.stat().st_size)


def _facts(scene: Scene, shown: _Shown, way: _Way | None) -> dict[str, object]:
    """What the page must know of its blocks."""
    camera = None if way is None else way.camera
    return {
        "kind": shown.kind,
        "units": "m" if scene.notes.units == "metres" else "units",
        "up": _up(scene.up, way),
        "spacing": shown.spacing,
        "start": 0.0 if way is None else float(way.trajectory.times[0]),
        "first": scene.up in {"z", "y"} and shown.kind == "cloud",  # the first camera stands at the origin
        "camera": None if camera is None else {name: getattr(camera, name) for name in _LENS},
    }


def is_view(path: Path) -> bool:
    """Whether this file is a page of ``write_view``."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MARK in file.read(_HEADER)


# ---------------------------------------------------------------------------------------------------------- the page


def _write(
    path: Path, result: Path, facts: Mapping[str, object], told: Mapping[str, object], blocks: Mapping[str, bytes]
) -> None:
    environment = Environment(
        loader=PackageLoader("recon", "viewer"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    bundle, viewer = _script("three/three.bundle.js"), _script("viewer.js")
    style = _text("viewer.css")
    page = environment.get_template("page.html").stream(
        **told,
        title=_printable(result.name),
        policy=_policy([bundle, viewer], style),
        ups=_UPS,
        facts=facts,
        style=style,
        bundle=bundle,
        viewer=viewer,
        blocks={name: base64.b64encode(block).decode() for name, block in blocks.items()},
    )
    with whole_file(path) as partial, partial.open("wb") as file:
        page.dump(file, encoding="utf-8")


def _policy(scripts: list[str], style: str) -> str:
    """What the browser lets the page do: its own scripts by their hashes, pictures of its own data, no network."""
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src blob: data:; "
        "connect-src blob: data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    """As Content Security Policy Level 3 wants it (section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _text(name: str) -> str:
    return (files("recon") / "viewer" / name).read_text(encoding="utf-8")


def _script(name: str) -> str:
    """A script that may stand in a page as it is.

    Raises:
        ValueError: it holds what would end it, or hide its end (HTML, section 4.12.1.3).
    """
    text = _text(name)
    if any(end in text.lower() for end in _NO_SCRIPT_ENDS):
        raise ValueError(f"{name} cannot stand within a page")
    return text


def _printable(name: str) -> str:
    """File names may hold bytes that are no text."""
    return name.encode("utf-8", "replace").decode()


# -------------------------------------------------------------------------------------------------------- the result


def _shown(result: Path, scene: Scene) -> _Shown:
    if is_empty(scene.shape):
        raise FormatError(f"{result}: holds no points and no triangles; there is nothing to look at")
    if isinstance(scene.shape, PointCloud):
        return _shown_cloud(result, scene.shape)
    model = _glb(result, scene)
    told = f"{len(mesh_of(scene.shape)):,} triangles"
    notices: tuple[str, ...] = ()
    if len(model) > _HEAVY:
        notices = (f"a mesh of {len(model) // 1_000_000} MB: it takes its time",)
        logger.warning("%s: %s", result, notices[0])
    return _Shown("glb", {"model": model}, told, notices)


def _shown_cloud(result: Path, cloud: PointCloud) -> _Shown:
    notices: tuple[str, ...] = ()
    told = f"{len(cloud):,} points"
    if len(cloud) > MOST_POINTS:
        notices = (f"{MOST_POINTS:,} of {len(cloud):,} points are shown, drawn by chance; the file has them all",)
        logger.warning("%s: %s", result, notices[0])
        cloud = _part(cloud, MOST_POINTS)
    blocks = {"positions": cloud.points.astype("<f4").tobytes(), "colors": cloud.colors.tobytes()}
    if cloud.normals.any():
        blocks["normals"] = np.rint(cloud.normals * 127).clip(-127, 127).astype(np.int8).tobytes()
    return _Shown("cloud", blocks, told, notices, _spacing(cloud))


def _part(cloud: PointCloud, count: int) -> PointCloud:
    """So many points, the same ones each time, in their order."""
    rows = np.sort(np.random.default_rng(0).choice(len(cloud), count, replace=False, shuffle=False))
    return PointCloud(cloud.points[rows], cloud.colors[rows], cloud.normals[rows])


def _spacing(cloud: PointCloud) -> float:
    """Median distance to the next point. Points lie on surfaces: of a part of them it is 1 / sqrt(part) as long."""
    some = _part(cloud, _SAMPLE).points if len(cloud) > _SAMPLE else cloud.points
    if len(some) < 2:
        return 0.0
    asked = some[:: max(1, len(some) // _ASKED)]
    distances = np.asarray(cKDTree(some).query(asked, k=2)[0])
    return float(np.median(distances[:, 1]) * np.sqrt(len(some) / len(cloud)))


def _glb(result: Path, scene: Scene) -> bytes:
    """The mesh as one GLB: the file itself if it is one, else written anew, with its texture as it is."""
    if result.suffix.lower() == ".glb":
        data = result.read_bytes()
        _require_whole(result, data)
        return data
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.glb"
        write_scene(file, scene, look=Look(picture="png"))
        return file.read_bytes()


def _require_whole(result: Path, data: bytes) -> None:
    """A page loads no other files (glTF 2.0, section 4.4: JSON is the first chunk)."""
    (size,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + size])
    parts = [*content.get("buffers", []), *content.get("images", [])]
    if others := [part["uri"] for part in parts if not part.get("uri", "data:").startswith("data:")]:
        raise FormatError(f"{result}: needs another file ({others[0]}); save it with everything embedded")


# --------------------------------------------------------------------------------------------------- the camera


def _way(result: Path, scene: Scene, record: Mapping[str, object], given: Path | None) -> _Way | None:
    """The camera's path: as given, else the result's own, else that of a file that belongs to it."""
    if given is None and scene.camera is not None:
        own = scene.camera
        return _Way(result, CameraTrajectory(own.times, own.asset_from_camera), own.intrinsics)
    file = given or _found(result, record)
    if file is None:
        return None
    rate = block(record, "camera").get("trajectory_rate")
    trajectory = read_trajectory(file, times_by_name={}, rate=float(rate) if isinstance(rate, int | float) else _RATE)
    camera = told_camera(record) or told_camera(record_beside(file))
    return _Way(file, _in_axes(trajectory, told_axes(record_beside(file)), scene.up), camera)


def _found(result: Path, record: Mapping[str, object]) -> Path | None:
    """Poses of the same name beside the result, or those that it was made with; a mesh stands in a world of its own."""
    if "meshes" in block(record, "provenance"):
        return None
    named = block(record, "camera").get("trajectory")
    used = [Path(named), result.parent / named] if isinstance(named, str) else []
    candidates = [result.with_suffix(".tum"), *used]
    return next((path for path in candidates if path.exists()), None)


def _in_axes(trajectory: CameraTrajectory, own: Up | None, wanted: Up | None) -> CameraTrajectory:
    """Poses in the axes of the result, where those of both are known."""
    if own is None or wanted is None or own == wanted:
        return trajectory
    turn = file_from_world(wanted) @ inverse(file_from_world(own))
    return CameraTrajectory(trajectory.times, turn @ trajectory.world_from_camera)


def _packed_poses(trajectory: CameraTrajectory) -> bytes:
    """float32 rows: seconds since the first, x y z, quaternion x y z w of world_from_camera (OpenCV's axes)."""
    quaternions = Rotation.from_matrix(trajectory.world_from_camera[:, :3, :3]).as_quat()
    times = trajectory.times - trajectory.times[0]
    rows = np.column_stack([times, trajectory.world_from_camera[:, :3, 3], quaternions])
    return rows.astype("<f4").tobytes()


def _up(axes: Up | None, way: _Way | None) -> str:
    """The axis that points up: as the file says, else as most pictures were held, else z."""
    if axes in {"z", "y"}:
        return f"+{axes}"
    if way is None:
        return "+z"
    mean = -way.trajectory.world_from_camera[:, :3, 1].mean(axis=0)  # y of a camera points down
    axis = int(np.argmax(np.abs(mean)))
    return f"{'+' if mean[axis] > 0 else '-'}{'xyz'[axis]}"


def require_input(trajectory: Path | None) -> None:
    """Name a missing file of poses before anything is read.

    Raises:
        OptionError: there is no such file.
    """
    if trajectory is not None and not trajectory.exists():
        raise OptionError(f"--trajectory: {trajectory}: there is no such file")
