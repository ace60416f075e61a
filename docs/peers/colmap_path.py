"""Camera paths by COLMAP (Schoenberger and Frahm, CVPR 2016) and its global mapper (GLOMAP: Pan et al., ECCV 2024).

    pip install pycolmap
    python docs/peers/colmap_path.py room.mp4 paths/ --intrinsics K.json

Writes paths/incremental.txt and paths/global.txt: features (SIFT), pairs of neighbours (sequential, 10 each way and
their doubles), and one mapper each, from pictures alone. The camera is known and kept. Lengths are arbitrary. All is
the default of pycolmap but the seed and the camera.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import pycolmap
from paths import Facts, Timed, arguments, opened, write_path

from recon.errors import ReconError
from recon.io.video import Source
from recon.types import Intrinsics

SEED: Final = 1
OVERLAP: Final = 10

Models = Mapping[int, Any]
Mapper = Callable[[Path, Path, Path], Models]
"""Database, pictures, folder for models -> models."""


def incremental(database: Path, pictures: Path, models: Path) -> Models:
    """One picture after the other."""
    options = pycolmap.IncrementalPipelineOptions(random_seed=SEED, ba_refine_focal_length=False)
    options.ba_refine_extra_params = False
    options.mapper.abs_pose_refine_focal_length = False
    options.mapper.abs_pose_refine_extra_params = False
    found: Models = pycolmap.incremental_mapping(database, pictures, models, options)
    return found


def all_at_once(database: Path, pictures: Path, models: Path) -> Models:
    """All pictures at once: rotations, then places."""
    options = pycolmap.GlobalPipelineOptions(random_seed=SEED)
    options.mapper.bundle_adjustment.refine_focal_length = False
    options.mapper.bundle_adjustment.refine_extra_params = False
    found: Models = pycolmap.global_mapping(database, pictures, models, options)
    return found


MAPPERS: Final[Mapping[str, Mapper]] = {"incremental": incremental, "global": all_at_once}


def write_pictures(source: Source, folder: Path) -> dict[str, float]:
    """Every frame as a file, without loss; name -> seconds."""
    times = {}
    for frame in source.frames():
        name = f"{frame.index:06d}.png"
        (folder / name).write_bytes(cv2.imencode(".png", cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
        times[name] = frame.time
    return times


def match(database: Path, pictures: Path, camera: Intrinsics) -> None:
    """Features of all pictures, and pairs of neighbours that show the same."""
    reader = pycolmap.ImageReaderOptions(camera_model="PINHOLE")
    reader.camera_params = f"{camera.fx!r},{camera.fy!r},{camera.cx!r},{camera.cy!r}"
    single = pycolmap.CameraMode.SINGLE
    pycolmap.extract_features(database, pictures, camera_mode=single, reader_options=reader)
    pycolmap.match_sequential(database, pairing_options=pycolmap.SequentialPairingOptions(overlap=OVERLAP))


def path_of(model: Any, times: Mapping[str, float]) -> list[Timed]:  # noqa: ANN401 - of a package without types
    """The cameras of a model."""
    return [(times[image.name], _world_from_camera(image)) for image in model.images.values() if image.has_pose]


def _world_from_camera(image: Any) -> np.ndarray:  # noqa: ANN401 - of a package without types
    matrix = np.eye(4)
    matrix[:3] = image.cam_from_world().inverse().matrix()
    return matrix


def write_paths(given: argparse.Namespace, folder: Path) -> None:
    """Match, then map twice."""
    source, camera = opened(given)
    pictures, database = folder / "pictures", folder / "database.db"
    pictures.mkdir()
    times = write_pictures(source, pictures)
    begun = time.perf_counter()
    match(database, pictures, camera)
    matching = time.perf_counter() - begun
    given.output.mkdir(parents=True, exist_ok=True)
    for name, mapper in MAPPERS.items():
        models = folder / name
        models.mkdir()
        begun = time.perf_counter()
        found = mapper(database, pictures, models)
        seconds = matching + time.perf_counter() - begun
        paths = sorted((path_of(model, times) for model in found.values()), key=len, reverse=True)
        facts = Facts(seconds, len(times), [len(path) for path in paths], _said(paths, len(times)))
        write_path(given.output / f"{name}.txt", paths, facts)
        print(f"{name}: {facts.segments} of {len(times)} frames, {seconds:.0f} s")


def _said(paths: list[list[Timed]], frames: int) -> list[str]:
    missing = frames - max(map(len, paths), default=0)
    return [f"{missing} frames are not in the model"] if missing else []


def main() -> None:
    """Read the command line and write the paths."""
    given = arguments(__doc__).parse_args()
    pycolmap.set_random_seed(SEED)
    pycolmap.logging.minloglevel = pycolmap.logging.WARNING.value
    try:
        with tempfile.TemporaryDirectory() as folder:
            write_paths(given, Path(folder))
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
