"""A page to look at a result in: `recon view` without its options. One file, which needs no network and no server."""

import base64
import hashlib
import json
import logging
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from recon.errors import FormatError, OptionError
from recon.files import whole_file
from recon.io.cloud import UNKNOWN_COLOR, Up, axes_comment, file_from_world, has_faces, read_ply
from recon.io.trajectory import read_trajectory
from recon.pipelines.units import UNIT_NAMES
from recon.settings import read_yaml
from recon.types import CameraTrajectory, PointCloud

logger = logging.getLogger(__name__)

SUFFIXES: Final = (".ply", ".glb")
MOST_POINTS: Final = 3_000_000
"""Points of a cloud that a page holds: 72 MB with normals, which a browser still turns fluently."""
_HEAVY: Final = 100_000_000
"""Bytes of a mesh from which on a browser takes its time."""
_MARK: Final = b'<meta name="generator" content="recon view">'
_HEADER: Final = 1000
"""Bytes within which a file says that it is such a page."""
_UPS: Final = ("+z", "+y", "-y", "-z", "+x", "-x")
_UP_OF_AXES: Final[Mapping[Up, str]] = {"z": "+z", "y": "+y"}
_DECODED: Final = ("KHR_mesh_quantization", "KHR_materials_unlit", "KHR_texture_transform")
"""Extensions of glTF that a file may insist on: what the page shows without further decoders."""
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
    """A result as the page holds it."""

    kind: str
    """cloud, ply or glb: which reader of the page takes it."""
    blocks: Mapping[str, bytes]
    told: str
    axes: Up | None
    """As the file says, None where it says nothing."""
    units: str
    notices: tuple[str, ...] = ()
    spacing: float = 0.0
    """Typical distance of neighbouring points."""


@dataclass(frozen=True, slots=True)
class _Path:
    """The camera's path in the axes of the result."""

    file: Path
    trajectory: CameraTrajectory


def write_view(path: Path, result: Path, *, trajectory: Path | None = None) -> ViewSummary:
    """Write the page; it appears whole or not at all.

    Colours are drawn as they stand in the file. The camera's path comes from ``trajectory``, else from the .tum file of
    the same name beside the result, else from the file that the result was made with, as the settings beside it say.

    Args:
        path: HTML file to write.
        result: cloud (.ply) or mesh (.ply, .glb).
        trajectory: camera poses in any format of `recon.io.pose_files`, in the world of the result.

    Raises:
        FormatError: the result is missing, of another format, damaged or empty.
        TrajectoryError: poses that cannot be read.
    """
    record = _record(result)
    shown = _shown(result, record)
    way = _way(result, shown.axes, record, trajectory)
    blocks = dict(shown.blocks) if way is None else {**shown.blocks, "poses": _packed_poses(way.trajectory)}
    cameras = 0 if way is None else len(way.trajectory.times)
    told = [shown.told, f"lengths in {shown.units}", *([f"{cameras:,} camera poses"] if cameras else [])]
    facts = {
        "kind": shown.kind,
        "units": shown.units if shown.units == "m" else "units",
        "up": _up(shown.axes, way, shown.kind),
        "spacing": shown.spacing,
        "start": float(way.trajectory.times[0]) if way else 0.0,
        "first": shown.axes in _UP_OF_AXES and shown.kind == "cloud",
        "camera": _camera(record, way),
    }
    _write(path, result, facts, {"lines": told, "notices": shown.notices}, blocks)
    return ViewSummary(shown.told, cameras, None if way is None else way.file, path.stat().st_size)


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


def _shown(result: Path, record: Mapping[str, object]) -> _Shown:
    if result.suffix.lower() not in SUFFIXES:
        raise FormatError(f"{result}: no cloud or mesh that a page shows; known are {', '.join(SUFFIXES)}")
    if not result.is_file():
        raise FormatError(f"{result}: there is no such file")
    if result.suffix.lower() == ".glb":
        return _shown_glb(result, record)
    read = read_ply(result)
    cloud = _finite(result, read)
    comments = _comments(result)
    axes, units = _axes(comments.get("axes")), comments.get("units", "units that the file does not name")
    if has_faces(result):
        told = f"mesh of {len(cloud):,} vertices"
        return _Shown("ply", _mesh_blocks(result, read), told, axes, units, _heavy(result))
    return _shown_cloud(result, cloud, axes, units)


def _mesh_blocks(result: Path, vertices: PointCloud) -> dict[str, bytes]:
    """The file, from which the page takes the triangles, and the colours of its vertices, if it has such."""
    colored = bool((vertices.colors != UNKNOWN_COLOR).any())
    return {"model": result.read_bytes(), **({"colors": vertices.colors.tobytes()} if colored else {})}


def _shown_cloud(result: Path, cloud: PointCloud, axes: Up | None, units: str) -> _Shown:
    notices: tuple[str, ...] = ()
    told = f"{len(cloud):,} points"
    if len(cloud) > MOST_POINTS:
        notices = (f"{MOST_POINTS:,} of {len(cloud):,} points are shown, drawn by chance; the file has them all",)
        logger.warning("%s: %s", result, notices[0])
        cloud = _part(cloud, MOST_POINTS)
    blocks = {"positions": cloud.points.astype("<f4").tobytes(), "colors": cloud.colors.tobytes()}
    if cloud.normals.any():
        blocks["normals"] = np.rint(cloud.normals * 127).clip(-127, 127).astype(np.int8).tobytes()
    return _Shown("cloud", blocks, told, axes, units, notices, _spacing(cloud))


def _finite(result: Path, cloud: PointCloud) -> PointCloud:
    kept = np.isfinite(cloud.points).all(axis=1)
    if not kept.any():
        raise FormatError(f"{result}: holds no points; there is nothing to look at")
    if kept.all():
        return cloud
    logger.warning("%s: %d points without a place are left out", result, len(cloud) - int(kept.sum()))
    return PointCloud(cloud.points[kept], cloud.colors[kept], np.nan_to_num(cloud.normals[kept]))


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


def _comments(result: Path) -> dict[str, str]:
    """What the header of a PLY file says as "comment key: value"."""
    with result.open("rb") as file:
        header = file.read(1 << 16).split(b"end_header", 1)[0].decode("latin-1")
    lines = (line.removeprefix("comment ").partition(": ") for line in header.splitlines() if line[:8] == "comment ")
    return {key: value.strip() for key, colon, value in lines if colon}


def _axes(told: object) -> Up | None:
    """The axes that the words of ``axes_comment`` speak of."""
    known: dict[str, Up] = {axes_comment(up).removeprefix("axes: "): up for up in ("z", "y", "camera")}
    return known.get(told) if isinstance(told, str) else None


def _heavy(result: Path) -> tuple[str, ...]:
    size = result.stat().st_size
    if size < _HEAVY:
        return ()
    logger.warning("%s: %d MB; a browser takes its time with such a page", result, size // 1_000_000)
    return (f"a mesh of {size // 1_000_000} MB: be patient",)


# --------------------------------------------------------------------------------------------------------------- GLB


def _shown_glb(result: Path, record: Mapping[str, object]) -> _Shown:
    data = result.read_bytes()
    content = _gltf(result, data)
    _require_whole(result, content)
    triangles, points = _counts(content)
    if not triangles and not points:
        raise FormatError(f"{result}: holds no triangles and no points; there is nothing to look at")
    told = f"mesh of {triangles:,} triangles" if triangles else f"{points:,} points"
    provenance = _block(record, "provenance")
    axes, units = _axes(provenance.get("axes")) or "y", _units_of(provenance)
    return _Shown("glb", {"model": data}, told, axes, units, _heavy(result))


def _gltf(result: Path, data: bytes) -> dict[str, object]:
    """The JSON of a binary glTF (glTF 2.0, section 4.4).

    Raises:
        FormatError: it is none, or cut short.
    """
    if len(data) < 20 or data[:4] != b"glTF":
        raise FormatError(f"{result}: is not a GLB file (it does not begin with 'glTF')")
    version, length, size, kind = struct.unpack_from("<IIII", data, 4)
    if version != 2 or kind != 0x4E4F534A:
        raise FormatError(f"{result}: is glTF {version} without JSON in front; a page shows glTF 2.0")
    if len(data) < max(length, 20 + size):
        raise FormatError(f"{result}: ends after {len(data)} of {length} bytes")
    try:
        content = json.loads(data[20 : 20 + size])
    except ValueError as error:
        raise FormatError(f"{result}: its JSON cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise FormatError(f"{result}: its JSON holds no glTF")
    return content


def _require_whole(result: Path, content: Mapping[str, object]) -> None:
    """A page loads no other files and has few decoders."""
    parts = [*_entries(content, "buffers"), *_entries(content, "images")]
    if others := [uri for each in parts if not (uri := str(each.get("uri", "data:"))).startswith("data:")]:
        raise FormatError(f"{result}: needs another file ({others[0]}); export it with everything embedded")
    required = content.get("extensionsRequired")
    names = required if isinstance(required, list) else []
    if unknown := [name for name in names if name not in _DECODED]:
        raise FormatError(f"{result}: is packed with {unknown[0]}, which a page does not read; export it without")


def _counts(content: Mapping[str, object]) -> tuple[int, int]:
    """Triangles and points of all meshes."""
    lengths = [each.get("count") for each in _entries(content, "accessors")]
    parts = [part for mesh in _entries(content, "meshes") for part in _entries(mesh, "primitives")]
    rows = dict.fromkeys((0, 4), 0)
    for part in parts:
        accessor = part.get("indices", _block(part, "attributes").get("POSITION"))
        known = isinstance(accessor, int) and 0 <= accessor < len(lengths)
        count = lengths[accessor] if known and isinstance(accessor, int) else 0
        mode = part.get("mode", 4)
        if mode in rows and isinstance(count, int):
            rows[mode] += count
    return rows[4] // 3, rows[0]


def _entries(content: Mapping[str, object], name: str) -> Iterator[Mapping[str, object]]:
    entries = content.get(name)
    return (each for each in (entries if isinstance(entries, list) else []) if isinstance(each, dict))


# ---------------------------------------------------------------------------------------------------- the record


def _record(result: Path) -> dict[str, object]:
    """The settings and facts that recon wrote beside a result; empty where there are none."""
    path = result.with_name(f"{result.name}.yaml")
    return read_yaml(path) if path.is_file() else {}


def _block(record: Mapping[str, object], name: str) -> Mapping[str, object]:
    block = record.get(name)
    return block if isinstance(block, dict) else {}


def _units_of(provenance: Mapping[str, object]) -> str:
    """Of the first thing that says so; glTF's own unit is the metre."""
    said = [str(each.get("units")) for each in _entries(provenance, "shots")]
    return next((name for units, name in UNIT_NAMES.items() if units in said[:1]), "m")


# --------------------------------------------------------------------------------------------------- the camera


def _way(result: Path, axes: Up | None, record: Mapping[str, object], given: Path | None) -> _Path | None:
    """The camera's path, turned to the axes of the result where those of both are known."""
    file = given or _found(result, record)
    if file is None:
        return None
    own = _block(record, "camera")
    as_given = given is None and file.suffix != ".tum"
    rate = own.get("trajectory_rate") if as_given else None
    trajectory = read_trajectory(file, times_by_name={}, rate=float(rate) if isinstance(rate, int | float) else _RATE)
    told = _axes(_block(_record(file), "provenance").get("axes"))
    if told is not None and axes is not None and told != axes:
        turn = file_from_world(axes) @ file_from_world(told).T
        trajectory = CameraTrajectory(trajectory.times, turn @ trajectory.world_from_camera)
    return _Path(file, trajectory)


def _found(result: Path, record: Mapping[str, object]) -> Path | None:
    """Poses of the same name beside the result, or those that it was made with."""
    named = _block(record, "camera").get("trajectory")
    used = [Path(named), result.parent / named] if isinstance(named, str) else []
    candidates = [result.with_suffix(".tum"), *used]
    return next((path for path in candidates if path.exists()), None)


def _packed_poses(trajectory: CameraTrajectory) -> bytes:
    """float32 rows: seconds since the first, x y z, quaternion x y z w of world_from_camera (OpenCV's axes)."""
    quaternions = Rotation.from_matrix(trajectory.world_from_camera[:, :3, :3]).as_quat()
    times = trajectory.times - trajectory.times[0]
    rows = np.column_stack([times, trajectory.world_from_camera[:, :3, 3], quaternions])
    return rows.astype("<f4").tobytes()


def _camera(record: Mapping[str, object], way: _Path | None) -> dict[str, float] | None:
    """The intrinsics that the record of the result, or else of the poses, tells."""
    names = ("fx", "fy", "cx", "cy", "width", "height")
    for each in (record, {} if way is None else _record(way.file)):
        camera = _block(_block(each, "provenance"), "camera")
        values = [camera.get(name) for name in names]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(numbers) == len(names) and numbers[0] > 0 and numbers[1] > 0:
            return dict(zip(names, numbers, strict=True))
    return None


def _up(axes: Up | None, way: _Path | None, kind: str) -> str:
    """The axis that points up: as the file says, else as most pictures were held, else as is usual for the format."""
    if axes in _UP_OF_AXES and axes is not None:
        return _UP_OF_AXES[axes]
    if way is None:
        return "+y" if kind == "glb" else "+z"
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
