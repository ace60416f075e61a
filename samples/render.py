"""Make ``samples/room/``: a video with its exact depth, camera path and intrinsics.

    python samples/render.py             # into samples/room, about four minutes
    python samples/render.py elsewhere

Everything is drawn by ``furnished.py`` and ``raycast.py`` beside this file, from fixed seeds. Depth, poses and
intrinsics come out the same everywhere; the bytes of the video may differ with the version of the H.264 encoder, and
its pictures a little with that of OpenCV (letters).
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from furnished import hand_held, room
from raycast import render
from scipy.spatial.transform import Rotation

from recon.files import whole_folder
from recon.io.video import VideoWriter
from recon.types import CameraTrajectory, DepthMap, Intrinsics, Picture

CAMERA = Intrinsics.from_fov(65.0, 384, 288)
FRAMES, RATE = 60, 20.0


def sample_walk() -> CameraTrajectory:
    """The camera path of the sample."""
    return hand_held(FRAMES, FRAMES / RATE)


def write_video(path: Path, pictures: Iterable[Picture]) -> None:
    """H.264, BT.709; frame i has the time i / RATE."""
    with VideoWriter(path, CAMERA.width, CAMERA.height, RATE) as video:
        for number, picture in enumerate(pictures):
            video.write(picture, number / RATE)


def write_depth(path: Path, depth: DepthMap) -> None:
    """16-bit PNG in millimetres."""
    millimetres = np.rint(depth * 1000).astype(np.uint16)
    done, encoded = cv2.imencode(".png", millimetres, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if not done:
        raise OSError(f"{path}: OpenCV cannot encode this PNG")
    path.write_bytes(encoded.tobytes())


def write_trajectory(path: Path, walk: CameraTrajectory) -> None:
    """TUM: time tx ty tz qx qy qz qw of world_from_camera, one line for each frame."""
    turns = Rotation.from_matrix(walk.world_from_camera[:, :3, :3]).as_quat(canonical=True)
    rows = np.column_stack([walk.times, walk.world_from_camera[:, :3, 3], turns])
    np.savetxt(path, rows, fmt="%.9f", header="time tx ty tz qx qy qz qw (world_from_camera; metres, z up)")


def write_intrinsics(path: Path, camera: Intrinsics) -> None:
    """JSON; the principal point is measured from the corner of the image."""
    names = ("fx", "fy", "cx", "cy", "width", "height")
    path.write_text(json.dumps({name: getattr(camera, name) for name in names}, indent=2) + "\n", encoding="utf-8")


def views_with_depth_kept(folder: Path, walk: CameraTrajectory) -> Iterator[Picture]:
    """Render each frame, write its depth, hand on its picture."""
    for number, pose in enumerate(walk.world_from_camera):
        picture, depth = render(room(), CAMERA, pose, samples=4)
        write_depth(folder / f"{number:06d}.png", depth)
        yield picture


def main(target: Path) -> None:
    """Write the sample's files into a folder; its README.md is kept by hand."""
    walk = sample_walk()
    target.mkdir(parents=True, exist_ok=True)
    with whole_folder(target / "depth") as depth:
        write_video(target / "room.mp4", views_with_depth_kept(depth, walk))
    write_trajectory(target / "trajectory.tum", walk)
    write_intrinsics(target / "intrinsics.json", CAMERA)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "room")
