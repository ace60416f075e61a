"""Poses in files: TUM, KITTI, transforms.json, COLMAP, and the pictures that the last two name."""

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from os.path import relpath
from pathlib import Path
from typing import Final, Literal

import numpy as np

from recon.bundle import Bundle, residual_pixels
from recon.files import whole_file
from recon.geometry import inverse, transform
from recon.io.cloud import file_from_world, write_ply
from recon.io.colmap_writer import Landmarks, pinhole_model, write_model
from recon.io.pictures import PictureSource, write_jpeg
from recon.io.source import Source
from recon.io.trajectory import write_kitti, write_transforms, write_tum
from recon.pipelines.depth import AHEAD, Observer
from recon.pipelines.poses import Found
from recon.pipelines.run import Reconstruction
from recon.streams import prefetched
from recon.types import CameraTrajectory, Intrinsics, PointCloud

logger = logging.getLogger(__name__)

Kind = Literal["tum", "kitti", "transforms", "colmap", "colmap-text"]

IMAGES: Final = "images"
"""Folder of pictures beside a transforms.json, and in a COLMAP folder."""
_ROWS: Final = "%s: KITTI has no times, and only %d of %d frames have a pose: row n is not frame n, see %s"


def picture_name(index: int) -> str:
    """What frame ``index`` (from 0) is called: as ffmpeg counts, from 1."""
    return f"frame_{index + 1:06d}.jpg"


def write_poses(run: Reconstruction, found: Found, path: Path, kind: Kind, names: Sequence[str]) -> None:
    """Write one segment, in the axes of its cloud (KITTI: of its first camera).

    Args:
        run: it belongs to.
        found: the segment.
        path: file or, for COLMAP, folder to write; KITTI also gets a file of times, transforms.json one of points.
        kind: format.
        names: of the pictures of all frames of the run, relative to ``path`` for transforms.json.
    """
    trajectory, info = _turned(found.segment.trajectory, run), run.source.info
    camera = found.segment.intrinsics.scaled(info.width, info.height)
    mine = [names[frame] for frame in found.frames]
    if kind == "tum":
        write_tum(path, trajectory)
    elif kind == "kitti":
        if len(found.frames) < run.maps.frame_count:
            logger.warning(_ROWS, path.name, len(found.frames), run.maps.frame_count, times_beside(path).name)
        write_kitti(path, found.segment.trajectory)
        _write_times(times_beside(path), trajectory)
    elif kind == "transforms":
        cloud = _landmark_cloud(run, found)
        if len(cloud):
            write_ply(path.with_suffix(".ply"), cloud, ["landmarks of the poses beside it"])
        points = path.with_suffix(".ply").name if len(cloud) else None
        write_transforms(path, trajectory, camera, mine, points=points)
    else:
        model = pinhole_model(mine, trajectory.world_from_camera, camera, _landmarks(run, found, camera))
        write_model(path, model, "text" if kind == "colmap-text" else "binary")


def times_beside(path: Path) -> Path:
    """Where the times of a KITTI file stand, which has none of its own."""
    return path.with_name(f"{path.stem}.times.txt")


def picture_names(run: Reconstruction, kind: Kind, folder: Path, *, written: bool) -> list[str]:
    """What the files of ``folder`` call the picture of each frame.

    Pictures that are there already keep their names, relative to the folder in transforms.json and bare for COLMAP;
    those of a video are called as they are (or would be) written.
    """
    source, count = run.source, run.maps.frame_count
    if isinstance(source, PictureSource) and not written:
        files = dict(zip(source.times_by_name.values(), source.files, strict=True))
        own = [files[run.maps.time_of(index)] for index in range(count)]
        return [Path(relpath(file, folder)).as_posix() if kind == "transforms" else file.name for file in own]
    prefix = f"{IMAGES}/" if kind == "transforms" else ""
    return [prefix + picture_name(index) for index in range(count)]


def told_names(run: Reconstruction) -> str:
    """Which pictures the files name that were not written, for a person."""
    if isinstance(run.source, PictureSource):
        return "those of the input, by their names"
    return f"not written; they are called {picture_name(0)} for the first frame, and so on (--pictures writes them)"


def write_pictures(source: Source, folder: Path, count: int, observer: Observer) -> None:
    """Write all frames as JPEG, named by ``picture_name``.

    Raises:
        VideoError: a picture cannot be written.
    """
    folder.mkdir(parents=True)
    with closing(prefetched(source.frames(), AHEAD)) as frames:
        for frame in observer.watch(frames, "pictures", count):
            write_jpeg(folder / picture_name(frame.index), frame.rgb)


def _turned(trajectory: CameraTrajectory, run: Reconstruction) -> CameraTrajectory:
    return CameraTrajectory(trajectory.times, file_from_world(run.poses.up) @ trajectory.world_from_camera)


def _write_times(path: Path, trajectory: CameraTrajectory) -> None:
    with whole_file(path) as partial:
        partial.write_text("".join(f"{time!r}\n" for time in trajectory.times.tolist()), encoding="utf-8")


def _landmark_cloud(run: Reconstruction, found: Found) -> PointCloud:
    structure = found.segment.structure
    points = transform(file_from_world(run.poses.up), structure.landmarks).astype(np.float32)
    return PointCloud(points, structure.colors, np.zeros_like(points))


def _landmarks(run: Reconstruction, found: Found, camera: Intrinsics) -> Landmarks:
    """What the key frames saw, in pixels of the whole pictures."""
    structure, own = found.segment.structure, found.segment.intrinsics
    seen, row = structure.seen, structure.key_frames[structure.seen.camera]
    pixel = seen.pixel * [camera.width / own.width, camera.height / own.height]
    poses = inverse(found.segment.trajectory.world_from_camera[structure.key_frames])
    bundle = Bundle(poses, np.ones(len(poses)), structure.landmarks)
    apart = residual_pixels(bundle, replace(seen, pixel=pixel), camera)
    points = transform(file_from_world(run.poses.up), structure.landmarks)
    errors = _means(apart, seen.landmark, len(points))
    return Landmarks(points, structure.colors, errors, row, seen.landmark, pixel)


def _means(values: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Mean of the known values of each group; -1 where there are none, as COLMAP has it."""
    known = np.isfinite(values)
    number = np.bincount(group[known], minlength=count)
    total = np.bincount(group[known], values[known], minlength=count)
    means: np.ndarray = np.divide(total, number, where=number > 0, out=np.full(count, -1.0))
    return means
