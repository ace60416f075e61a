"""Poses in files: TUM, KITTI, transforms.json, COLMAP, and the pictures that the last two name."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from os.path import relpath
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from recon.files import whole_file
from recon.geometry import inverse, project, transform
from recon.io.cloud import file_from_world, write_ply
from recon.io.colmap_writer import Landmarks, pinhole_model, write_model
from recon.io.pictures import PictureSource, write_jpeg
from recon.io.pose_layout import Layout
from recon.io.source import Source
from recon.io.trajectory import write_kitti, write_transforms, write_tum
from recon.pipelines.depth import AHEAD, Observer
from recon.pipelines.poses import Found
from recon.pipelines.run import Reconstruction
from recon.pipelines.straight import straight_camera
from recon.streams import prefetched
from recon.types import CameraTrajectory, Intrinsics, PointCloud

logger = logging.getLogger(__name__)

_ROWS: Final = "%s: KITTI has no times, and only %d of %d frames have a pose: row n is not frame n, see %s"
MOST_APART: Final = 4.0
"""Pixels, of the pictures in which landmarks were looked for, beyond which an observation is left out of files; as in
COLMAP. Splats and NeRFs take every one of them for true."""
_TRACK: Final = 2
"""Fewer observations say nothing of a point."""


def picture_name(index: int) -> str:
    """What frame ``index`` (from 0) is called: as ffmpeg counts, from 1."""
    return f"frame_{index + 1:06d}.jpg"


def write_result(
    run: Reconstruction, found: Mapping[str, Found], output: Path, layout: Layout, *, pictures: bool, into: Path
) -> None:
    """Write every segment, and the pictures that they name.

    Args:
        run: what was found.
        found: the segments, by the names of their files.
        output: what is asked for; names of pictures are relative to its folder.
        layout: format.
        pictures: whether pictures are written, too.
        into: folder in which files are made; for COLMAP what becomes ``output``, else of what goes beside ``output``.
    """
    folder = layout.pictures(output)
    names = _picture_names(run, layout, folder, written=pictures)
    if pictures:
        write_pictures(run.source, into / folder.name, run.maps.frame_count, run.observer)
    for file, each in found.items():
        write_poses(run, each, into / file, layout, [names[frame] for frame in each.frames])


def write_poses(run: Reconstruction, found: Found, path: Path, layout: Layout, names: Sequence[str]) -> None:
    """Write one segment, in the axes of its cloud (KITTI: of its first camera).

    Args:
        run: it belongs to.
        found: the segment.
        path: file or, for COLMAP, folder to write; KITTI also gets a file of times, transforms.json one of points.
        layout: format.
        names: of the pictures of its frames, relative to ``path`` for transforms.json.
    """
    trajectory, info = _turned(found.segment.trajectory, run), run.source.info
    camera = found.segment.intrinsics.scaled(info.width, info.height)
    if layout.kind == "tum":
        write_tum(path, trajectory)
    elif layout.kind == "kitti":
        _, times = layout.files(path)
        if len(found.frames) < run.maps.frame_count:
            logger.warning(_ROWS, path.name, len(found.frames), run.maps.frame_count, times.name)
        write_kitti(path, found.segment.trajectory)
        _write_times(times, trajectory)
    elif layout.kind == "transforms":
        _, points = layout.files(path)
        seen = _landmarks(run, found, camera)
        if len(seen.points):
            positions = seen.points.astype(np.float32)
            cloud = PointCloud(positions, seen.colors, np.zeros_like(positions))
            write_ply(points, cloud, ["landmarks of the poses beside it"])
        write_transforms(path, trajectory, camera, names, points=points.name if len(seen.points) else None)
    else:
        model = pinhole_model(names, trajectory.world_from_camera, camera, _landmarks(run, found, camera))
        write_model(path, model, "text" if layout.kind == "colmap-text" else "binary")


def _picture_names(run: Reconstruction, layout: Layout, folder: Path, *, written: bool) -> list[str]:
    """What the files call the picture of each frame.

    Pictures that are there already keep their names, relative to the file in transforms.json and bare for COLMAP;
    those of a video are called as they are (or would be) written into ``folder``.
    """
    source, count = run.source, run.maps.frame_count
    if isinstance(source, PictureSource) and not written:
        files = dict(zip(source.times_by_name.values(), source.files, strict=True))
        own = [files[run.maps.time_of(index)] for index in range(count)]
        return [file.name if layout.is_folder else Path(relpath(file, folder.parent)).as_posix() for file in own]
    prefix = "" if layout.is_folder else f"{folder.name}/"
    return [prefix + picture_name(index) for index in range(count)]


def told_names(run: Reconstruction) -> str:
    """Which pictures the files name that were not written, for a person."""
    if isinstance(run.source, PictureSource):
        return "those of the input, by their names"
    called = f"they are called {picture_name(0)} for the first frame, and so on (--pictures writes them)"
    if straight_camera(run.source) is not None:
        return f"not those of the input, but these without distortion, for which camera and points are; {called}"
    return f"not written; {called}"


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


def _landmarks(run: Reconstruction, found: Found, camera: Intrinsics) -> Landmarks:
    """What the key frames saw, in pixels of the whole pictures, without what they cannot have seen there."""
    structure, own = found.segment.structure, found.segment.intrinsics
    seen, row = structure.seen, structure.key_frames[structure.seen.camera]
    pixel = seen.pixel * [camera.width / own.width, camera.height / own.height]
    poses = inverse(found.segment.trajectory.world_from_camera[row])
    there = np.einsum("nij,nj->ni", poses[:, :3, :3], structure.landmarks[seen.landmark]) + poses[:, :3, 3]
    apart = np.linalg.norm(project(there, camera) - pixel, axis=1)
    kept = apart <= MOST_APART * camera.width / own.width  # what lies behind a camera is NaN
    kept &= np.bincount(seen.landmark[kept], minlength=len(structure.landmarks))[seen.landmark] >= _TRACK
    known, point = np.unique(seen.landmark[kept], return_inverse=True)
    points = transform(file_from_world(run.poses.up), structure.landmarks[known])
    errors = _means(apart[kept], point, len(known))
    return Landmarks(points, structure.colors[known], errors, row[kept], point, pixel[kept])


def _means(values: Float64[np.ndarray, " n"], group: np.ndarray, count: int) -> Float64[np.ndarray, " count"]:
    """Mean of each group."""
    means: Float64[np.ndarray, " count"] = np.bincount(group, values, count) / np.bincount(group, minlength=count)
    return means
