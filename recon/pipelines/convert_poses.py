"""Camera paths from one format to another: what `recon convert` does with trajectories."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile
from os.path import commonpath, relpath
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from jaxtyping import Float64, Int64

from recon.errors import CameraError, FormatError, TrajectoryError
from recon.files import whole_file
from recon.geometry import inverse, transform
from recon.io.asset import Notes, said
from recon.io.calibration import lens_by_name, read_lens
from recon.io.cloud import Up, axes_comment, file_from_world, write_ply
from recon.io.colmap import Image, Model, find_model, read_model
from recon.io.colmap_writer import STRAIGHT, camera_of_lens, write_model
from recon.io.lens import Lens
from recon.io.naming import times_of_names, times_of_numbers, times_of_rows
from recon.io.pose_files import Poses, read_poses
from recon.io.pose_layout import Layout
from recon.io.trajectory import write_kitti, write_tum
from recon.io.transforms import Shots, write_frames
from recon.pipelines.pose_files import picture_name
from recon.pipelines.records import block, record_beside, told_axes, told_camera
from recon.settings import ConvertSettings
from recon.types import CameraTrajectory, PointCloud, RigidTransform, Units

_UNITS: Final[tuple[Units, ...]] = ("metres", "slam", "relative")
_WITH_PICTURES: Final = {"COLMAP", "transforms.json"}
"""Formats whose names are those of pictures."""
_WITH_CAMERA: Final = {*_WITH_PICTURES, "Record3D"}


@dataclass(frozen=True, slots=True)
class Way:
    """A camera's path as a file has it."""

    path: Path
    format: str
    """Its name, for a person."""
    world_from_camera: Float64[np.ndarray, "n 4 4"]
    times: Float64[np.ndarray, " n"] | None
    """Seconds, increasing, on the clock of the file; None: it has none."""
    up: Up | None
    """Axes of the world; None: nobody says."""
    units: Units
    names: tuple[str, ...] = ()
    """Of the pictures; empty: it has none."""
    lenses: tuple[Lens, ...] = ()
    """One for all, one for each, or none that is known."""
    no_lens: str = "it says nothing of the camera"
    """Why none is known."""
    left: tuple[str, ...] = ()
    """What else it holds and nothing carries on."""
    model: Model | None = field(default=None, repr=False)
    """COLMAP's, with points and tracks."""

    def __len__(self) -> int:
        return len(self.world_from_camera)


# -------------------------------------------------------------------------------------------------------------- reading


def read_way(path: Path, settings: ConvertSettings, *, whole: bool) -> Way:
    """The poses in a file or folder of any format of ``recon.io.pose_files``, in the order of time where that is known.

    Args:
        path: file or folder.
        settings: what the user says of it.
        whole: also the points and tracks of a COLMAP model.

    Raises:
        TrajectoryError: unknown format, a bad line, or two poses for one time.
        OptionError: axes that are not those of the format.
        CameraError: --intrinsics holds no camera that can be used.
        FormatError: a damaged COLMAP model or description of Record3D.
    """
    poses, record = read_poses(path), record_beside(path)
    matrices = poses.world_from_camera(settings.trajectory_axes)
    times = _times(poses, settings.trajectory_rate)
    order = _order(poses, times)
    units, up = _told(poses, record)
    names = poses.rows.names if poses.format.name in _WITH_PICTURES else None
    model = find_model(path) if poses.format.name == "COLMAP" and whole else None
    way = Way(
        path,
        poses.format.name,
        matrices[order],
        None if times is None else times[order],
        up,
        units,
        tuple(names[row] for row in order) if names else (),
        left=_cloud_of_transforms(poses),
        model=None if model is None else read_model(model),
    )
    return _with_lenses(way, record, settings.intrinsics)


def _times(poses: Poses, rate: float | None) -> Float64[np.ndarray, " n"] | None:
    """Its own times; else by names, numbers or order, where the rate is said."""
    rows, path = poses.rows, poses.path
    if rows.times is not None or rate is None:
        return rows.times
    if rows.names is not None:
        found = times_of_names(rows.names, {}, rate, path)
    elif rows.numbers is not None:
        found = times_of_numbers(rows.numbers.tolist(), {}, rate, path)
    else:
        found = dict(enumerate(times_of_rows(len(rows.matrices), {}, rate, path)))
    return np.array([found[row] for row in range(len(rows.matrices))])


def _order(poses: Poses, times: Float64[np.ndarray, " n"] | None) -> Int64[np.ndarray, " n"]:
    if times is None:
        numbers = poses.rows.numbers
        return np.arange(len(poses.rows.matrices)) if numbers is None else np.argsort(numbers, kind="stable")
    order = np.argsort(times, kind="stable")
    again = np.diff(times[order]) <= 0
    if again.any():
        raise TrajectoryError(f"{poses.path}: two poses for the time {times[order][1:][again][0]:.6f} s")
    return order


def _told(poses: Poses, record: Mapping[str, object]) -> tuple[Units, Up | None]:
    """Units and axes, as its own header or the record beside it says; else the units that are usual for the format."""
    lines = [line[2:] for line in _header(poses.path)] if poses.format.name == "TUM" else []
    notes, up = said(lines)
    own = notes.units if any(line.startswith("units: ") for line in lines) else poses.format.units
    told = block(record, "provenance").get("units")
    return next((each for each in _UNITS if each == told), own), told_axes(record) or up


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig") as file:
        return list(takewhile(lambda line: line.startswith("# "), map(str.rstrip, file)))


def _cloud_of_transforms(poses: Poses) -> tuple[str, ...]:
    """A transforms.json may name a cloud from which splats begin."""
    if poses.format.name != "transforms.json":
        return ()
    file = poses.path / "transforms.json" if poses.path.is_dir() else poses.path
    name = json.loads(file.read_text(encoding="utf-8-sig")).get("ply_file_path")
    return (f"points ({name})",) if name else ()


def _with_lenses(way: Way, record: Mapping[str, object], given: Path | None) -> Way:
    if given is not None:
        return replace(way, lenses=(read_lens(given),))
    if way.format in _WITH_CAMERA:
        try:
            by_name = dict(lens_by_name(way.path))
            lenses = tuple(by_name[name] for name in way.names) if by_name else (read_lens(way.path),)
        except CameraError as error:
            return replace(way, no_lens=str(error).removeprefix(f"{way.path}: "))
        return replace(way, lenses=lenses)
    camera = told_camera(record)
    return way if camera is None else replace(way, lenses=(Lens(camera),))


# -------------------------------------------------------------------------------------------------------------- writing


def turned_way(way: Way, up: Up) -> Way:
    """The same path, points and all, in other axes.

    Raises:
        ValueError: it does not know its axes.
    """
    if way.up is None:
        raise ValueError("the path does not know which axis is up")
    new_from_old = file_from_world(up) @ inverse(file_from_world(way.up))
    model = way.model and _turned_model(way.model, new_from_old)
    return replace(way, world_from_camera=new_from_old @ way.world_from_camera, up=up, model=model)


def _turned_model(model: Model, new_from_old: RigidTransform) -> Model:
    images = tuple(replace(each, world_from_camera=new_from_old @ each.world_from_camera) for each in model.images)
    return replace(model, images=images, points=transform(new_from_old, model.points))


def write_way(way: Way, path: Path, layout: Layout, output: Path) -> None:
    """Write a path in a format.

    Args:
        way: in the axes of the file.
        path: file to write, or folder for COLMAP's files.
        layout: the format.
        output: where the file will stand: names of pictures are relative to it.

    Raises:
        TrajectoryError: no times where the format needs them.
        CameraError: no camera where the format needs one.
        FormatError: names or lenses that the format cannot hold.
    """
    if layout.kind == "tum":
        if way.times is None:
            raise TrajectoryError(
                f"{way.path}: {way.format} has no times, which TUM needs: say with --trajectory-rate how many of its "
                "poses make a second"
            )
        write_tum(path, CameraTrajectory(way.times, way.world_from_camera), axes_and_units(way))
    elif layout.kind == "kitti":
        write_kitti(path, CameraTrajectory(np.arange(float(len(way))), way.world_from_camera))
        if way.times is not None:
            _write_times(layout.files(path)[1], way.times)
    elif layout.kind == "transforms":
        _write_transforms(way, path, layout, output)
    else:
        _write_model(way, path, is_text=layout.kind == "colmap-text")


def _write_times(path: Path, times: Float64[np.ndarray, " n"]) -> None:
    with whole_file(path) as partial:
        partial.write_text("".join(f"{time!r}\n" for time in times.tolist()), encoding="utf-8")


def _write_transforms(way: Way, path: Path, layout: Layout, output: Path) -> None:
    points = None
    if way.model is not None and len(way.model.points):
        points = layout.files(path)[1]
        write_ply(points, cloud_of_model(way.model), axes_and_units(way))
    shots = Shots(
        picture_names(way, layout, output), way.world_from_camera, _required(way, "transforms.json"), way.times
    )
    write_frames(path, shots, points=None if points is None else points.name)


def _write_model(way: Way, folder: Path, *, is_text: bool) -> None:
    model = way.model or _model_of(way)
    spaced = next((image.name for image in model.images if len(image.name.split()) > 1), None)
    if is_text and spaced is not None:
        raise FormatError(f"{way.path}: COLMAP's text holds no names with spaces ('{spaced}'): write --format colmap")
    write_model(folder, model, "text" if is_text else "binary")


def _model_of(way: Way) -> Model:
    """Cameras and pictures without points."""
    cameras = [camera_of_lens(lens) for lens in _required(way, "COLMAP")]
    cameras = cameras * len(way) if len(cameras) == 1 else cameras
    numbers = {camera: number for number, camera in enumerate(dict.fromkeys(cameras), 1)}
    nothing = np.zeros((0, 2)), np.zeros(0, np.int64)
    images = tuple(
        Image(name, numbers[camera], pose, *nothing)
        for name, camera, pose in zip(_bare_names(way), cameras, way.world_from_camera, strict=True)
    )
    known = {number: camera for camera, number in numbers.items()}
    none = np.zeros((0, 3))
    return Model(Path(), known, images, nothing[1], none, none.astype(np.uint8), np.zeros(0))


def _required(way: Way, format_: str) -> tuple[Lens, ...]:
    if not way.lenses:
        raise CameraError(f"{way.path}: {way.no_lens}, which {format_} needs: give it with --intrinsics FILE")
    return way.lenses


# ------------------------------------------------------------------------------------------------------------- pictures


def picture_names(way: Way, layout: Layout, output: Path) -> tuple[str, ...]:
    """What transforms.json calls the pictures, relative to its folder.

    Raises:
        FormatError: a picture stands twice in the input.
    """
    if not way.names:
        return tuple(f"{layout.pictures(output).name}/{name}" for name in _bare_names(way))
    here = output.parent.resolve()
    if way.format == "COLMAP":
        folder = _images_of(way.path)
        prefix = "images" if folder is None else _relative(folder.resolve(), here)
        return _once(way, [f"{prefix}/{name}" for name in way.names])
    root = (way.path if way.path.is_dir() else way.path.parent).resolve()
    return _once(way, [_relative(root / name, here) for name in way.names])


def _relative(path: Path, folder: Path) -> str:
    return PurePosixPath(relpath(path, folder)).as_posix()


def _images_of(path: Path) -> Path | None:
    """The folder ``images`` that belongs to a model."""
    folder = find_model(path) or path
    parents = (folder, folder.parent, folder.parent.parent)
    return next((each / "images" for each in parents if (each / "images").is_dir()), None)


def _bare_names(way: Way) -> tuple[str, ...]:
    """What COLMAP calls them: without the folder that holds them all; those without a name count from 1."""
    if not way.names:
        return tuple(picture_name(row) for row in range(len(way)))
    if way.format == "COLMAP":
        return way.names
    names = [PurePosixPath(name.replace("\\", "/")) for name in way.names]
    common = commonpath([str(PurePosixPath(*("/", *name.parts)).parent) for name in names])
    return _once(way, [PurePosixPath(*("/", *name.parts)).relative_to(common).as_posix() for name in names])


def _once(way: Way, names: Sequence[str]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        again = next(name for row, name in enumerate(names) if name in names[:row])
        raise FormatError(f"{way.path}: the picture {again} stands in it twice")
    return tuple(names)


def told_pictures(way: Way, layout: Layout, output: Path) -> str:
    """Which pictures a file names, for a person."""
    if way.names:
        return f"{len(way):,}, by the names of the input; not copied"
    called = picture_name(0) if layout.is_folder else picture_names(way, layout, output)[0]
    return f"not written; they are called {called} for the first pose, and so on"


# --------------------------------------------------------------------------------------------------------- what is said


def cloud_of_model(model: Model) -> PointCloud:
    """The points of a COLMAP model."""
    points = model.points.astype(np.float32)
    return PointCloud(points, model.colors, np.zeros_like(points))


def axes_and_units(way: Way) -> list[str]:
    """For headers."""
    return [*Notes(way.units).lines, *([axes_comment(way.up)] if way.up else [])]


def left_out(way: Way, layout: Layout) -> list[str]:
    """What the format has no place for."""
    lost = list(way.left)
    if layout.is_folder and way.times is not None:
        lost.append("times")
    if not layout.names_pictures:
        lost += ["names of pictures"] if way.names else []
        lost += ["points", "tracks"] if way.format == "COLMAP" else []
        lost += ["the lens"] if way.lenses and plain_camera(way) is None else []
    elif not layout.is_folder and way.model is not None:
        lost.append("tracks")
    return lost


def plain_camera(way: Way) -> dict[str, object] | None:
    """The pinhole that took all pictures, if one did: it stands in the record of formats without one."""
    lens = way.lenses[0] if len(way.lenses) == 1 else None
    straight = lens is not None and lens.kind in STRAIGHT and not any(lens.coefficients)
    return asdict(lens.intrinsics) if lens is not None and straight else None
