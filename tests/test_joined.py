"""Clips joined by cuts give, per shot, exactly what each gives alone: maps, lengths and clouds, through the commands.

Three films of a rendered room, each in pictures of its own, are run together in one folder and each in its own. The
cuts are found, not given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest
import seeded
import yaml
from scenes import TrueDisparityNetwork, View, hand_held, rendered, room
from scipy.spatial.transform import Rotation

from recon.geometry import inverse, rigid, transform, unproject
from recon.io.cloud import read_ply
from recon.io.store import ShotSpan, StoredDepth
from recon.models import DisparityNetwork
from recon.models.video_depth import Execution, NetworkSpec, VideoDepthNetwork
from recon.types import Intrinsics, MetricPicture, Picture, PointCloud
from recon_cli.cli import run

CAMERA = Intrinsics.from_fov(65.0, 128, 72)
LENGTHS = {"a": 34, "b": 1, "c": 9}
"""Frames of each film: more than a window of 32, a single one, and less than a window."""
SIDES = {"a": 180, "b": 0, "c": 150}
"""Where in the room each film looks, degrees: they share as little as can be."""
RATE = 30.0
"""Pictures for each second."""


@dataclass(frozen=True, slots=True)
class Film:
    """What a camera saw on its way."""

    name: str
    views: list[View]
    world_from_camera: np.ndarray

    @property
    def names(self) -> list[str]:
        """Of the files of its pictures."""
        return [f"{self.name}-{number:03d}" for number in range(len(self.views))]


@cache
def films() -> tuple[Film, ...]:
    return tuple(_film(*film) for film in LENGTHS.items())


def _film(name: str, length: int) -> Film:
    turn = rigid(Rotation.from_euler("z", SIDES[name], degrees=True).as_matrix(), np.zeros(3))
    poses = turn @ hand_held(length, length / RATE).world_from_camera
    return Film(name, rendered(room(), CAMERA, poses, samples=1), poses)


def all_views() -> list[View]:
    return [view for film in films() for view in film.views]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pictures of each film, and of some in a row ("ac", "abc"); lossless, so that they are the same."""
    root = tmp_path_factory.mktemp("films")
    for film in films():
        for folder in (root / name for name in {film.name, "ac", "abc"} if film.name in name):
            folder.mkdir(exist_ok=True)
            for name, (rgb, _depth) in zip(film.names, film.views, strict=True):
                cv2.imwrite(str(folder / f"{name}.png"), rgb[..., ::-1])
    camera = {name: getattr(CAMERA, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    (root / "camera.yaml").write_text(yaml.safe_dump(camera))
    return {folder.name: folder for folder in root.iterdir()}


def use(monkeypatch: pytest.MonkeyPatch, network: object, metric: object = None) -> None:
    """`--model auto` finds this network, and MoGe is the other one, or nowhere."""
    monkeypatch.setattr("recon.models.choose.choose_network", lambda *_args, **_kwargs: network)
    monkeypatch.setattr("recon.models.choose.choose_metric", lambda *_args, **_kwargs: metric)


# ---------------------------------------------------------------------------------------------------------------- depth


@pytest.mark.parametrize("mode", ["offline", "streaming"])
def test_the_maps_of_a_shot_are_those_of_its_clip_alone(
    mode: str, folders: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Video Depth Anything itself, on seeded weights and very small pictures."""
    spec = NetworkSpec("seeded", "vits", metric=False, sha256="0" * 64)
    network = VideoDepthNetwork(seeded.network("vits", seed=11), spec, Execution.chosen(42, "cpu", "fp32"))
    use(monkeypatch, network)

    def maps(name: str) -> StoredDepth:
        order = ["depth", str(folders[name]), "-o", str(tmp_path / name), "--mode", mode, "--no-preview", "-q"]
        assert run([*order, "--resolution", "network"]) == 0
        return StoredDepth.read(tmp_path / f"{name}.recon")

    joined = maps("abc")
    assert joined.shots == [ShotSpan(0, 0, 34), ShotSpan(1, 34, 1), ShotSpan(2, 35, 9)]
    for film, span in zip(films(), joined.shots, strict=True):
        for ours, alone in zip(range(span.start, span.start + span.count), maps(film.name).estimates(), strict=True):
            np.testing.assert_array_equal(joined[ours].values, alone.values)


# ------------------------------------------------------------------------------------------------------ lengths, clouds


def true_network() -> DisparityNetwork:
    """Says the truth in a scale and shift of its own for every window, so that a window that is another shows."""
    return TrueDisparityNetwork(all_views())


class Scanner:
    """A metric network that knows the truth up to a factor for each picture."""

    metric = True
    identity = {"name": "scanner"}  # noqa: RUF012 - a constant

    def __init__(self) -> None:
        self._depth = {rgb.tobytes(): depth for rgb, depth in all_views()}

    def __call__(self, picture: Picture, fov_x: float | None) -> MetricPicture:
        factor = np.exp(np.random.default_rng(picture[::9, ::9].ravel()).normal(0, 0.05))
        depth = self._depth[picture.tobytes()] * np.float32(factor)
        return MetricPicture(depth, Intrinsics.from_fov(fov_x or 60.0, picture.shape[1], picture.shape[0]))


@dataclass(frozen=True, slots=True)
class Result:
    """What `recon pointcloud` made of a film."""

    shots: list[dict[str, object]]
    """What the file of settings tells of the lengths of each shot."""
    clouds: list[PointCloud]
    """In the order of time."""


Run = Callable[..., Result]


@pytest.fixture
def cloud(folders: Mapping[str, Path], tmp_path: Path) -> Run:
    """Runs `recon pointcloud` on one of the folders with some options."""

    def cloud(name: str, *options: str) -> Result:
        output = tmp_path / f"{name}.ply"
        camera = ("--intrinsics", str(folders["camera.yaml"]), "--voxel", "0.05")
        assert run(["pointcloud", str(folders[name]), "-o", str(output), "-q", *camera, *options]) == 0
        facts = yaml.safe_load(output.with_name(f"{name}.ply.yaml").read_text())["provenance"]
        in_time = sorted(facts["clouds"], key=lambda file: float(facts["clouds"][file]["start"]))
        return Result(facts["shots"], [read_ply(tmp_path / file) for file in in_time])

    return cloud


def assert_joined(joined: Result, alone: Sequence[Result], *, rtol: float = 0.0) -> None:
    """Every shot of the joined film has the lengths and the clouds of its clip."""
    for found, clip in zip(joined.shots, alone, strict=True):
        [facts] = clip.shots
        assert found.keys() == facts.keys()
        for key in facts.keys() - {"origin"}:  # which names the file
            value = facts[key]
            known = pytest.approx(value, rel=rtol, nan_ok=True) if isinstance(value, float) else value
            assert found[key] == known, key
    for points, known in zip(joined.clouds, chain(*(clip.clouds for clip in alone)), strict=True):
        np.testing.assert_allclose(points.points, known.points, rtol=rtol, atol=rtol)
        np.testing.assert_array_equal(points.colors, known.colors)


def test_without_an_anchor(cloud: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, true_network())
    joined = cloud("abc", "--static")
    assert [facts["units"] for facts in joined.shots] == ["relative"] * 3
    assert_joined(joined, [cloud(film.name, "--static") for film in films()])


def test_the_metric_first_picture_and_the_estimated_poses_of_each_shot(
    cloud: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The world of a shot is that of its first camera. A single picture is left out: it has no motion to estimate."""
    use(monkeypatch, true_network(), Scanner())
    joined = cloud("ac", "--anchor", "first")
    assert [facts["units"] for facts in joined.shots] == ["metres"] * 2
    assert len({facts["scale"] for facts in joined.shots}) == 2, "each shot has a scale of its own"
    assert_joined(joined, [cloud(name, "--anchor", "first") for name in "ac"])


def test_metric_frames_begin_anew_with_each_shot(cloud: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Times differ, and sums over them are rounded differently: in the last digits only."""
    use(monkeypatch, true_network(), Scanner())
    options = ("--anchor", "frames", "--anchor-every", "0.25", "--static")
    joined = cloud("abc", *options)
    assert [facts["anchored_frames"] for facts in joined.shots] == [5, 1, 2]
    assert_joined(joined, [cloud(film.name, *options) for film in films()], rtol=1e-6)


def test_depth_of_the_first_frame_is_of_the_first_shot(
    cloud: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have no unit: they are what they are without it."""
    use(monkeypatch, true_network())
    np.save(tmp_path / "first.npy", films()[0].views[0][1])
    given = ("--first-frame-depth", str(tmp_path / "first.npy"), "--static")
    joined = cloud("abc", *given)
    assert [facts["units"] for facts in joined.shots] == ["metres", "relative", "relative"]
    assert_joined(joined, [cloud("a", *given), cloud("b", "--static"), cloud("c", "--static")])


def test_landmarks_are_of_the_shot_in_which_they_were_seen(
    cloud: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One map of all, in a unit of its own; each shot is fitted to what its own pictures show of it."""
    use(monkeypatch, true_network())
    models = {film.name: write_map(tmp_path / f"map-{film.name}", [film]) for film in films()}
    models["abc"] = write_map(tmp_path / "map-abc", films())
    joined = cloud("abc", "--sparse", str(models["abc"]), "--static")
    assert [facts["units"] for facts in joined.shots] == ["slam"] * 3
    alone = [cloud(film.name, "--sparse", str(models[film.name]), "--static") for film in films()]
    assert_joined(joined, alone, rtol=1e-6)


def write_map(folder: Path, films: Sequence[Film], scale: float = 0.3) -> Path:
    """A COLMAP model in text, without errors: every twelfth pixel of each picture is a landmark."""
    folder.mkdir()
    size, focal = f"{CAMERA.width} {CAMERA.height}", f"{CAMERA.fx} {CAMERA.fy}"
    (folder / "cameras.txt").write_text(f"1 PINHOLE {size} {focal} {CAMERA.cx} {CAMERA.cy}\n")
    points: list[str] = []
    images: list[str] = []
    seen = [
        (name, depth, pose)
        for film in films
        for name, (_rgb, depth), pose in zip(film.names, film.views, film.world_from_camera, strict=True)
    ]
    for image, (name, depth, world_from_camera) in enumerate(seen, start=1):
        rows, columns = np.mgrid[6:72:12, 6:128:12].reshape(2, -1)
        first = len(points) + 1
        places = transform(world_from_camera, unproject(depth, CAMERA).astype(float)[rows, columns]) * scale
        points += [
            f"{first + i} {x!r} {y!r} {z!r} 0 0 0 0.5 {image} {i}" for i, (x, y, z) in enumerate(places.tolist())
        ]
        camera_from_world = inverse(world_from_camera)
        x, y, z, w = Rotation.from_matrix(camera_from_world[:3, :3]).as_quat().tolist()
        tx, ty, tz = (camera_from_world[:3, 3] * scale).tolist()
        images.append(f"{image} {w!r} {x!r} {y!r} {z!r} {tx!r} {ty!r} {tz!r} 1 {name}.png")
        centres = zip(columns + 0.5, rows + 0.5, strict=True)
        images.append(" ".join(f"{u} {v} {first + i}" for i, (u, v) in enumerate(centres)))
    (folder / "points3D.txt").write_text("\n".join(points) + "\n")
    (folder / "images.txt").write_text("\n".join(images) + "\n")
    return folder
