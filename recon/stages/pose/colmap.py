"""Pictures, cameras and landmarks by COLMAP, through ``pycolmap``.

Features are SIFT (Lowe, IJCV 2004), on the processor. A picture is compared with its neighbours in time, with those
2, 4, 8 ... pictures on, and with those that look most alike (`signatures`), so that loops close; nothing is downloaded
for that. What is matched becomes a model by global mapping (GLOMAP, Pan et al., ECCV 2024).

The same pictures give the same model: pictures are numbered before their features are found, every generator has a
seed, and the mapping runs in one thread, since sums of several threads come in any order (measured: with two threads
centres differ by 1e-4 of their distances; features and matches do not depend on the number of threads). It takes
about 1.5 times as long as two threads would.
"""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt8

from recon.errors import MissingPackageError
from recon.io.pictures import read_picture, write_jpeg
from recon.types import Intrinsics, Picture

LARGEST: Final = 1024
"""Longer side of the pictures in which features are looked for, pixels; SIFT doubles them first."""
FEATURES: Final = 4096
"""Most features of a picture."""
NEIGHBOURS: Final = 10
"""Pictures on, up to which each is compared with every picture."""
ALIKE: Final = 10
"""Pictures that look most alike, with which each is compared as well."""
LEAST_MATCHES: Final = 30
"""Pictures with fewer verified matches are not used as a pair. Measured: COLMAP's 15 lets in pairs of a bare corridor
whose relative pose is chance, and global mapping then falls to pieces (an error of 1.4 m becomes one of 5 mm)."""
LEAST_SEEN: Final = 20
"""A camera that sees fewer landmarks of the model is not known: global mapping gives every picture of a component one,
be it by chance (a camera that only turns: 14 pictures, 3 landmarks)."""
WORDS: Final = 64
"""Descriptors to which those of a picture are compared to tell what it looks like."""
SEED: Final = 0

Descriptors = UInt8[np.ndarray, "n 128"]


@dataclass(frozen=True, slots=True)
class Model:
    """Cameras and landmarks in a world and a unit of length of their own."""

    pictures: Int64[np.ndarray, " k"]
    """Numbers of the pictures whose cameras are known, in order."""
    camera_from_world: Float64[np.ndarray, "k 4 4"]
    points: Float64[np.ndarray, "p 3"]
    colors: UInt8[np.ndarray, "p 3"]
    """sRGB."""
    camera: Int64[np.ndarray, " n"]
    """For each observation: row of ``pictures``."""
    point: Int64[np.ndarray, " n"]
    """For each observation: row of ``points``."""
    pixel: Float64[np.ndarray, "n 2"]
    """For each observation: image coordinates, corner origin."""
    intrinsics: Intrinsics
    """At the size of the pictures."""


def installed() -> ModuleType:
    """The package ``pycolmap``.

    Raises:
        MissingPackageError: it is not installed, or an older one than this needs.
    """
    how = 'pip install "recon-video[colmap]"'
    try:
        package = importlib.import_module("pycolmap")
    except ImportError as error:
        raise MissingPackageError(f"poses by COLMAP need the package pycolmap ({error}): {how}") from error
    if not hasattr(package, "global_mapping"):
        version = getattr(package, "__version__", "of an unknown version")
        raise MissingPackageError(f"poses by COLMAP need pycolmap 4.2 or newer, not {version}: {how}")
    return package


@dataclass(slots=True)
class Workspace:
    """A folder in which pictures are gathered and matched. It holds at most one picture in memory."""

    folder: Path
    count: int = field(default=0, init=False)
    """Pictures that it has."""

    def add(self, picture: Picture) -> None:
        """One more picture, reduced to at most ``LARGEST``."""
        self._pictures.mkdir(exist_ok=True)
        height, width = picture.shape[:2]
        share = min(1.0, LARGEST / max(height, width))
        size = max(1, round(width * share)), max(1, round(height * share))
        reduced = picture if share == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        write_jpeg(self._pictures / _name(self.count), reduced)
        self.count += 1

    def picture(self, number: int) -> Picture:
        """One of them, as it was kept."""
        return read_picture(self._pictures / _name(number))

    def find_features(self, intrinsics: Intrinsics) -> None:
        """In all pictures, which have to be there."""
        height, width = self.picture(0).shape[:2]
        camera = intrinsics.scaled(width, height)
        package = installed()
        package.Database.open(self._database).close()
        reader = package.ImageReaderOptions(
            camera_model="PINHOLE", camera_params=f"{camera.fx},{camera.fy},{camera.cx},{camera.cy}"
        )
        options = package.FeatureExtractionOptions(use_gpu=False)
        options.sift.max_num_features = FEATURES
        single, device = package.CameraMode.SINGLE, package.Device.cpu
        with _quiet(package):
            package.import_images(self._database, self._pictures, single, options=reader)
            package.extract_features(
                self._database,
                self._pictures,
                camera_mode=single,
                reader_options=reader,
                extraction_options=options,
                device=device,
            )

    def match(self) -> None:
        """Features of pictures that may show the same."""
        package = installed()
        lines = [f"{_name(first)} {_name(second)}\n" for first, second in compared(self._signatures(package)).tolist()]
        (self.folder / "pairs.txt").write_text("".join(lines), encoding="utf-8")
        verification = package.TwoViewGeometryOptions()
        verification.ransac.random_seed = SEED
        with _quiet(package):
            package.match_image_pairs(
                self._database,
                package.FeatureMatchingOptions(use_gpu=False),
                package.ImportedPairingOptions(match_list_path=self.folder / "pairs.txt"),
                verification,
                package.Device.cpu,
            )

    def models(self, *, refine_focal: bool) -> list[Model]:
        """What the matches say, the model with most pictures first; none where they say nothing."""
        package = installed()
        output = self.folder / "models"
        output.mkdir()
        with _quiet(package):
            found = package.global_mapping(
                self._database, self._pictures, output, _mapping(package, refine_focal=refine_focal)
            )
        models = (_model(found[number]) for number in sorted(found))
        return sorted((model for model in models if model is not None), key=lambda model: -len(model.pictures))

    @property
    def _pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def _database(self) -> Path:
        return self.folder / "database.db"

    def _signatures(self, package: ModuleType) -> Float32[np.ndarray, "k d"]:
        database = package.Database.open(self._database)
        try:
            numbers = {image.name: image.image_id for image in database.read_all_images()}
            order = [numbers[_name(number)] for number in range(self.count)]
            return signatures(lambda number: database.read_descriptors(order[number]).data, self.count)
        finally:
            database.close()


def _name(number: int) -> str:
    return f"{number:06d}.jpg"


@contextmanager
def _quiet(package: ModuleType) -> Iterator[None]:
    """Without lines in the terminal: what fails raises an exception as well."""
    level = package.logging.minloglevel
    package.logging.minloglevel = int(package.logging.FATAL)
    try:
        yield
    finally:
        package.logging.minloglevel = level


def _mapping(package: ModuleType, *, refine_focal: bool) -> Any:  # noqa: ANN401 - a type of an optional package
    options = package.GlobalPipelineOptions(num_threads=1, random_seed=SEED, min_num_matches=LEAST_MATCHES)
    mapper = options.mapper
    mapper.num_threads = 1
    for seeded in (mapper, mapper.rotation_averaging, mapper.global_positioning, mapper.retriangulation):
        seeded.random_seed = SEED
    mapper.bundle_adjustment.refine_focal_length = refine_focal
    mapper.bundle_adjustment.refine_extra_params = False
    return options


# ------------------------------------------------------------------------------------------------------------- models


def _model(found: Any) -> Model | None:  # noqa: ANN401 - a type of an optional package
    """None where no camera is known."""
    registered = (found.image(number) for number in found.reg_image_ids())
    images = sorted((each for each in registered if each.num_points3D >= LEAST_SEEN), key=lambda image: image.name)
    if not images:
        return None
    seen = [
        (camera, feature.point3D_id, *feature.xy)
        for camera, image in enumerate(images)
        for feature in image.points2D
        if feature.has_point3D()
    ]
    table = np.array(seen, np.float64)
    numbers, point = np.unique(table[:, 1].astype(np.int64), return_inverse=True)
    points = [found.point3D(number) for number in numbers.tolist()]
    poses = np.tile(np.eye(4), (len(images), 1, 1))
    poses[:, :3] = [image.cam_from_world().matrix() for image in images]
    return Model(
        np.array([int(image.name.partition(".")[0]) for image in images], np.int64),
        poses,
        np.array([each.xyz for each in points], np.float64),
        np.array([each.color for each in points], np.uint8),
        table[:, 0].astype(np.int64),
        point,
        table[:, 2:],
        _intrinsics(found.camera(images[0].camera_id)),
    )


def _intrinsics(camera: Any) -> Intrinsics:  # noqa: ANN401 - a type of an optional package
    fx, fy, cx, cy = map(float, camera.params)
    return Intrinsics(fx, fy, cx, cy, camera.width, camera.height)


# -------------------------------------------------------------------------------------------------- what to compare


def compared(signature: Float32[np.ndarray, "k d"]) -> Int64[np.ndarray, "n 2"]:
    """Pairs of pictures to compare: neighbours in time, powers of two apart, and those most alike beyond."""
    number = np.arange(len(signature))
    apart = np.abs(number[:, None] - number)
    chosen = (apart <= NEIGHBOURS) | (np.bitwise_count(apart) == 1)
    likeness = np.where(apart <= NEIGHBOURS, -np.inf, signature @ signature.T)
    alike = np.argsort(-likeness, axis=1, kind="stable")[:, :ALIKE]
    np.put_along_axis(chosen, alike, values=True, axis=1)
    return np.argwhere(np.triu(chosen | chosen.T, 1))


def signatures(descriptors: Callable[[int], Descriptors], count: int) -> Float32[np.ndarray, "k d"]:
    """What each picture looks like: vectors whose scalar product says how alike two of them are.

    Sums of what sets descriptors apart from the nearest of some words (VLAD: Jegou et al., CVPR 2010), with the square
    roots that Arandjelovic and Zisserman (CVPR 2012 and 2013) take. The words are descriptors drawn at random.

    Args:
        descriptors: those of picture number n; SIFT, at least one in some picture.
        count: how many pictures there are.
    """
    rng = np.random.default_rng(SEED)
    drawn = [_some(_rooted(descriptors(number)), rng) for number in range(count)]
    together = np.concatenate(drawn)
    words = together[rng.permutation(len(together))[:WORDS]]
    return np.stack([_signature(_rooted(descriptors(number)), words) for number in range(count)])


def _some(rows: Float32[np.ndarray, "n 128"], rng: np.random.Generator) -> Float32[np.ndarray, "m 128"]:
    return rows[rng.permutation(len(rows))[:WORDS]]


def _rooted(descriptors: Descriptors) -> Float32[np.ndarray, "n 128"]:
    """Square roots, of length 1."""
    roots = np.sqrt(descriptors.astype(np.float32)).reshape(-1, 128)
    rooted: Float32[np.ndarray, "n 128"] = roots / np.maximum(np.linalg.norm(roots, axis=1, keepdims=True), 1e-6)
    return rooted


def _signature(rows: Float32[np.ndarray, "n 128"], words: Float32[np.ndarray, "w 128"]) -> Float32[np.ndarray, " d"]:
    sums = np.zeros(words.shape, np.float32)
    if len(rows) and len(words):
        nearest = (rows @ words.T).argmax(axis=1)
        np.add.at(sums, nearest, rows - words[nearest])
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    signature: Float32[np.ndarray, " d"] = sums.ravel() / max(float(np.linalg.norm(sums)), 1e-6)
    return signature
