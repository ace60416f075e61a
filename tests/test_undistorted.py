"""Pictures without distortion: what the pinhole sees, where things land in it, and a cloud from bent pictures."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from time import process_time

import cv2
import numpy as np
import pycolmap
import pytest
from scenes import hand_held, rendered, room
from scipy.spatial import KDTree
from test_lens import HEIGHT, LENSES, WIDTH, lens_of

from recon.errors import CameraError
from recon.geometry import project
from recon.io.cloud import read_ply
from recon.io.colmap import Camera
from recon.io.colmap_writer import Landmarks, pinhole_model, write_model
from recon.io.depth import DepthFolder
from recon.io.lens import Lens, outline
from recon.io.source import Source
from recon.io.trajectory import write_tum
from recon.io.undistorted import Lenses, UndistortedSource, common_pinhole, undistorted
from recon.io.video import open_source
from recon.pipelines.given import slam_map
from recon.pipelines.straight import positions_in, straight_camera, straight_masks, straightened
from recon.settings import PointcloudSettings, SamplingSettings
from recon.types import CameraTrajectory, Intrinsics
from recon_cli.cli import run

BENT = [kind for kind in LENSES if not kind.endswith("PINHOLE")]
PHONE = Lens(Intrinsics(250.0, 252.0, 163.0, 118.0, 320, 240), "OPENCV", (-0.25, 0.06, 0.001, -0.002))
ACTION = Lens(Intrinsics(150.0, 150.0, 158.0, 122.0, 320, 240), "OPENCV_FISHEYE", (0.02, -0.01, 0.002, -0.001))
"""120 degrees from left to right."""
BIG = Intrinsics.from_fov(128.0, 1000, 750)
"""Sees all of them that a pinhole will."""

World = tuple[CameraTrajectory, list[tuple[np.ndarray, np.ndarray]]]


@pytest.fixture(scope="module")
def world() -> World:
    """A walk through the room, and what ``BIG`` saw."""
    walk = hand_held(3, 0.3)
    return walk, rendered(room(), BIG, walk.world_from_camera, samples=1)


def source_of(folder: Path, pictures: Sequence[np.ndarray], names: Sequence[str] = ()) -> Source:
    folder.mkdir(exist_ok=True)
    for number, picture in enumerate(pictures):
        name = names[number] if names else f"p{number:04d}"
        cv2.imwrite(str(folder / f"{name}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return open_source(folder, SamplingSettings())


def grid(camera: Intrinsics) -> np.ndarray:
    """The centres of all pixels, by rows."""
    y, x = np.mgrid[: camera.height, : camera.width].reshape(2, -1) + 0.5
    return np.stack([x, y], axis=1)


def seen_through(lens: Lens, big: np.ndarray, how: int = cv2.INTER_AREA) -> np.ndarray:
    """What the lens makes of the world that ``BIG`` saw: each of its pixels looks up where it looks."""
    plane = lens.plane_from_pixels(grid(lens.intrinsics))
    places = (plane * (BIG.fx, BIG.fy) + (BIG.cx, BIG.cy) - 0.5).astype(np.float32)
    shape = lens.intrinsics.height, lens.intrinsics.width
    return cv2.remap(big, *places.T.reshape(2, *shape), how, borderMode=cv2.BORDER_REPLICATE)


def depth_through(lens: Lens, big: np.ndarray) -> np.ndarray:
    """Between pixels planes are even in inverse depth; beside edges the nearest pixel counts."""
    even, nearest = (1 / seen_through(lens, 1 / big, how) for how in (cv2.INTER_LINEAR, cv2.INTER_NEAREST))
    return np.where(np.abs(even / nearest - 1) < 0.01, even, nearest)


def painted(lens: Lens, brightness: object) -> np.ndarray:
    """A picture of something that is as bright as ``brightness`` says of points of the plane z = 1."""
    plane = lens.plane_from_pixels(grid(lens.intrinsics))
    grey = np.rint(brightness(plane)).astype(np.uint8).reshape(lens.intrinsics.height, lens.intrinsics.width)
    return np.repeat(grey[..., None], 3, axis=2)


def single(folder: Path, lens: Lens, picture: np.ndarray) -> UndistortedSource:
    return undistorted(source_of(folder, [picture]), Lenses.single(lens), "test")


# -------------------------------------------------------------------------------------------------------------- pinhole


@pytest.mark.parametrize("kind", BENT)
def test_no_border_shows_and_hardly_more_could_be_seen(kind: str) -> None:
    lens = lens_of(kind)
    pinhole = common_pinhole([lens])
    plane = (grid(pinhole) - (pinhole.cx, pinhole.cy)) / (pinhole.fx, pinhole.fy)
    places = lens.pixels_from_plane(plane)
    assert (places > 0).all()
    assert (places < (WIDTH, HEIGHT)).all()
    wider = replace(pinhole, fx=pinhole.fx / 1.02, fy=pinhole.fy / 1.02)
    edge = (outline(WIDTH, HEIGHT) - (wider.cx, wider.cy)) / (wider.fx, wider.fy)
    shown = lens.pixels_from_plane(edge)
    beyond = ~((shown >= 0) & (shown <= (WIDTH, HEIGHT))).all()
    assert beyond or pinhole.fov_x > 106, "at its widest, 110 degrees if the axis is in the middle"


@pytest.mark.parametrize("kind", BENT)
def test_the_shape_of_pixels_stays(kind: str) -> None:
    lens = lens_of(kind)
    pinhole = common_pinhole([lens])
    assert pinhole.fy / pinhole.fx == pytest.approx(lens.intrinsics.fy / lens.intrinsics.fx)
    assert (pinhole.width, pinhole.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("kind", ["SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "DIVISION"])
def test_as_much_is_seen_as_colmap_leaves(kind: str) -> None:
    """COLMAP's image_undistorter cuts to the same rectangle and lets the picture have its shape; ours keeps its own."""
    options = pycolmap.UndistortCameraOptions()
    options.blank_pixels = 0.0
    model = pycolmap.Camera(model=kind, width=WIDTH, height=HEIGHT, params=LENSES[kind])
    theirs = pycolmap.undistort_camera(options, model)
    ours = common_pinhole([lens_of(kind)])
    sizes = np.array([theirs.width / theirs.focal_length_x, theirs.height / theirs.focal_length_y])
    share = np.array([WIDTH / ours.fx, HEIGHT / ours.fy]) / sizes
    assert share.max() == pytest.approx(1, abs=0.01)
    assert share.min() > 0.9


def test_a_pinhole_is_left_as_it_is() -> None:
    lens = lens_of("PINHOLE")
    found, own = common_pinhole([lens]), lens.intrinsics
    np.testing.assert_allclose([found.fx, found.fy, found.cx, found.cy], [own.fx, own.fy, own.cx, own.cy])


def test_several_cameras_share_what_all_see() -> None:
    cameras = [PHONE, ACTION, PHONE.scaled(320, 240)]
    both, alone = common_pinhole(cameras), common_pinhole([PHONE])
    assert both.fov_x == pytest.approx(alone.fov_x, abs=1.0), "the phone sees less"
    far_left = Lens(replace(PHONE.intrinsics, cx=-1000.0), "SIMPLE_RADIAL", (0.0,))
    with pytest.raises(CameraError, match=r"2 lenses \(OPENCV, SIMPLE_RADIAL\) have no picture in common"):
        common_pinhole([PHONE, far_left])


# ------------------------------------------------------------------------------------------------- where things come to


@pytest.mark.parametrize("lens", [PHONE, ACTION], ids=["phone", "action"])
def test_spots_land_where_the_pinhole_says(tmp_path: Path, lens: Lens) -> None:
    """Bright spots on a wall at z = 1; half a pixel, or a lens turned around, would show."""
    spots = np.array([(-0.4, -0.3), (0.42, -0.28), (0.0, 0.0), (-0.38, 0.3), (0.35, 0.31), (0.2, -0.1)])

    def brightness(plane: np.ndarray) -> np.ndarray:
        apart = np.linalg.norm(plane[:, None] - spots, axis=2)
        return 250 * np.exp(-0.5 * (apart / 0.012) ** 2).sum(axis=1)

    source = single(tmp_path / "p", lens, painted(lens, brightness))
    camera, picture = source.pinhole, source.picture(0.0)[..., 0].astype(float)
    expected = spots * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    for x, y in expected:
        left, top = int(x) - 9, int(y) - 9
        patch = picture[top : top + 19, left : left + 19]
        rows, columns = np.mgrid[top : top + 19, left : left + 19] + 0.5
        found = (columns * patch).sum() / patch.sum(), (rows * patch).sum() / patch.sum()
        np.testing.assert_allclose(found, (x, y), atol=0.06)
    size = np.array([camera.width, camera.height])
    moved = source.positions(0.0, lens.pixels_from_plane(spots) / size) * size
    np.testing.assert_allclose(moved, expected, atol=1e-6)


@pytest.mark.parametrize("lens", [PHONE, ACTION], ids=["phone", "action"])
def test_a_straight_line_is_straight(tmp_path: Path, lens: Lens) -> None:
    """A thin line on a wall, near the border, where it was bent by several pixels."""

    def brightness(plane: np.ndarray) -> np.ndarray:
        return 250 * np.exp(-0.5 * ((plane[:, 0] - 0.1 * plane[:, 1] - 0.45) / 0.01) ** 2)

    def bend(picture: np.ndarray) -> float:
        """The most that the line is off the straight one through it, pixels."""
        grey = picture[..., 0].astype(float)
        grey[grey < 20] = 0
        rows = np.flatnonzero(grey.sum(axis=1) > 200)
        places = (grey[rows] * np.arange(grey.shape[1])).sum(axis=1) / grey[rows].sum(axis=1)
        return float(np.abs(places - np.polyval(np.polyfit(rows, places, 1), rows)).max())

    taken = painted(lens, brightness)
    assert bend(taken) > 2
    assert bend(single(tmp_path / "p", lens, taken).picture(0.0)) < 0.15


@pytest.mark.parametrize("lens", [PHONE, ACTION], ids=["phone", "action"])
def test_a_rendered_room_looks_as_the_pinhole_renders_it(tmp_path: Path, world: World, lens: Lens) -> None:
    walk, [(big, _), *_] = world
    pose = walk.world_from_camera[0]
    source = single(tmp_path / "p", lens, seen_through(lens, big))
    [(truth, _)] = rendered(room(), source.pinhole, [pose], samples=3)
    off = np.abs(source.picture(0.0).astype(float) - truth).mean()
    shifted = np.abs(np.roll(source.picture(0.0), 1, axis=1).astype(float) - truth).mean()
    assert off < 4
    assert shifted > 1.5 * off, "one pixel would show"


def test_depth_moves_with_the_picture(tmp_path: Path) -> None:
    """A slanted wall: the map at half the picture's size, as a network or a lidar gives it."""
    half = PHONE.scaled(160, 120)

    def depth_at(plane: np.ndarray) -> np.ndarray:
        return 2 / (1 - 0.5 * plane[:, 0] + 0.2 * plane[:, 1])  # n . (x, y, 1) z = 2

    taken = depth_at(half.plane_from_pixels(grid(half.intrinsics))).astype(np.float32).reshape(120, 160)
    source = single(tmp_path / "p", PHONE, np.zeros((240, 320, 3), np.uint8))
    camera = source.pinhole.scaled(160, 120)
    plane = (grid(camera) - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    np.testing.assert_allclose(source.depth(0.0, taken).ravel(), depth_at(plane), rtol=2e-4)
    taken[:, :80] = np.nan
    assert np.isnan(source.depth(0.0, taken)).mean() == pytest.approx(0.5, abs=0.02), "unknown stays unknown, alone"


def test_masks_move_with_the_picture(tmp_path: Path) -> None:
    """What lies right of x = 0.2 z is left out, at a third of the picture's size."""
    small = PHONE.scaled(107, 80)
    taken = (small.plane_from_pixels(grid(small.intrinsics))[:, 0] < 0.2).reshape(80, 107)
    source = single(tmp_path / "p", PHONE, np.zeros((240, 320, 3), np.uint8))
    camera = source.pinhole.scaled(107, 80)
    x = (grid(camera)[:, 0] - camera.cx) / camera.fx
    [found] = straight_masks(source, [0.0], lambda: iter([taken]))
    wrong = found.ravel() != (x < 0.2)
    assert not wrong[np.abs(x - 0.2) > 1.1 / camera.fx].any(), "all but the pixels of the edge"
    [same] = straight_masks(source.source, [0.0], lambda: iter([taken]))
    assert same is taken


# --------------------------------------------------------------------------------------------------------------- source


def test_a_source_says_what_became_of_it(tmp_path: Path) -> None:
    source = single(tmp_path / "p", PHONE, np.zeros((240, 320, 3), np.uint8))
    assert isinstance(source, Source)
    assert source.info.fov_x == source.pinhole.fov_x
    assert (
        source.info.notes[-1]
        == f"distortion of the lens (OPENCV) taken out: {source.pinhole.fov_x:.1f} degrees are left"
    )
    assert source.times_by_name == {"p0000": 0.0}
    assert [(frame.index, frame.time) for frame in source.frames()] == [(0, 0.0)]


def test_depth_of_other_lenses_is_other_depth(tmp_path: Path) -> None:
    """The key of a store: neither that of the bent pictures nor that of another lens."""
    bent = source_of(tmp_path / "p", [np.zeros((240, 320, 3), np.uint8)])
    one, other, several = (
        undistorted(bent, lenses, "test").identity
        for lenses in (
            Lenses.single(PHONE),
            Lenses.single(replace(PHONE, coefficients=(-0.25, 0.06, 0.001, -0.0021))),
            Lenses.of_pictures({0.0: PHONE, 1.0: ACTION}),
        )
    )
    assert bent.identity.items() < one.items()
    assert len({one["lens"], other["lens"], several["lens"]}) == 3
    assert one["lens"] == "OPENCV 250.0 252.0 163.0 118.0 -0.25 0.06 0.001 -0.002"
    assert one == undistorted(bent, Lenses.single(PHONE), "elsewhere").identity


def test_each_picture_is_of_the_lens_that_took_it_or_its_neighbour() -> None:
    lenses = Lenses.of_pictures({0.0: PHONE, 1.0: ACTION, 2.0: ACTION})
    assert lenses.lenses == (ACTION, PHONE), "the most common first"
    assert [lenses.row(time) for time in (-1.0, 0.4, 0.6, 1.0, 9.0)] == [1, 1, 0, 0, 0]


def test_pictures_of_two_cameras_become_those_of_one(tmp_path: Path) -> None:
    """The same wall by a phone and an action camera; asked for by time, and in a row."""

    def brightness(plane: np.ndarray) -> np.ndarray:
        return 128 + 60 * np.sin(12 * plane[:, 0]) + 60 * np.cos(9 * plane[:, 1])

    bent = source_of(tmp_path / "p", [painted(PHONE, brightness), painted(ACTION, brightness)])
    times = list(bent.times_by_name.values())
    source = undistorted(bent, Lenses.of_pictures(dict(zip(times, (PHONE, ACTION), strict=True))), "test")
    one, other = (frame.rgb.astype(float) for frame in source.frames())
    assert np.abs(one - other).max() < 8
    for time, frame in ((times[0], one), (times[0] + 0.002, other), (times[1], other)):
        assert np.array_equal(source.picture(time), frame)


def test_a_film_is_made_straight_fast(tmp_path: Path) -> None:
    """The maps are made once. Time of the processor counts, since others use the machine too."""
    lens = PHONE.scaled(1920, 1080)
    source = single(tmp_path / "p", lens, np.zeros((1080, 1920, 3), np.uint8))
    picture, spent = source.source.picture(0.0), []
    for _ in range(10):
        start = process_time()
        source._straight(picture, 0)
        spent.append(process_time() - start)
    assert min(spent) < 0.04


# ---------------------------------------------------------------------------------------------------------- a whole run


def write_maps(folder: Path, depths: Sequence[np.ndarray]) -> Path:
    folder.mkdir()
    for number, depth in enumerate(depths):
        cv2.imwrite(str(folder / f"p{number:04d}.png"), np.nan_to_num(depth * 5000).astype(np.uint16))
    return folder


def bent_run(folder: Path, world: World, lenses: Sequence[Lens]) -> list[str]:
    """Pictures and depth as lenses took them in turn, with the COLMAP model; the options of the command."""
    walk, views = world
    taken = [lenses[number % len(lenses)] for number in range(len(views))]
    pictures = [seen_through(lens, rgb) for lens, (rgb, _) in zip(taken, views, strict=True)]
    depths = [depth_through(lens, depth) for lens, (_, depth) in zip(taken, views, strict=True)]
    source_of(folder / "pictures", pictures)
    names = [f"p{number:04d}.png" for number in range(len(views))]
    model = pinhole_model(names, walk.world_from_camera, PHONE.intrinsics)
    cameras = {key: colmap_camera(lens) for key, lens in enumerate(lenses, 1)}
    images = [replace(image, camera=1 + number % len(lenses)) for number, image in enumerate(model.images)]
    write_model(folder / "model", replace(model, cameras=cameras, images=tuple(images)))
    depth = write_maps(folder / "depth", depths)
    given = ["--depth", str(depth), "--depth-scale", "5000", "--trajectory", str(folder / "model")]
    return [str(folder / "pictures"), *given, "--slam-units", "metres", "--voxel", "0.02", "--max-depth", "4", "-q"]


def colmap_camera(lens: Lens) -> Camera:
    camera = lens.intrinsics
    parameters = (camera.fx, camera.fy, camera.cx, camera.cy, *lens.coefficients)
    return Camera(lens.kind, camera.width, camera.height, parameters)


def straight_run(folder: Path, world: World, camera: Intrinsics) -> list[str]:
    """The same as ``camera`` would have taken it."""
    walk, _ = world
    views = rendered(room(), camera, walk.world_from_camera, samples=2)
    source_of(folder / "straight", [rgb for rgb, _ in views])
    depth = write_maps(folder / "straight_depth", [depth for _, depth in views])
    write_tum(folder / "poses.tum", replace(walk, times=np.arange(3) / 30.0))
    numbers = {name: getattr(camera, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    (folder / "camera.yaml").write_text("\n".join(f"{name}: {number}" for name, number in numbers.items()))
    given = ["--depth", str(depth), "--depth-scale", "5000", "--trajectory", str(folder / "poses.tum")]
    given += ["--intrinsics", str(folder / "camera.yaml")]
    return [str(folder / "straight"), *given, "--voxel", "0.02", "--max-depth", "4", "-q"]


@pytest.mark.parametrize("lenses", [[PHONE], [ACTION, PHONE]], ids=["one camera", "two cameras"])
def test_bent_pictures_give_the_cloud_of_straight_ones(tmp_path: Path, world: World, lenses: list[Lens]) -> None:
    bent = bent_run(tmp_path, world, lenses)
    assert run(["pointcloud", *bent, "-o", str(tmp_path / "bent.ply")]) == 0
    straight = straight_run(tmp_path, world, common_pinhole(lenses))
    assert run(["pointcloud", *straight, "-o", str(tmp_path / "straight.ply")]) == 0
    found, truth = (read_ply(tmp_path / f"{name}.ply") for name in ("bent", "straight"))
    assert len(found) == pytest.approx(len(truth), rel=0.03)
    for one, other in ((found, truth), (truth, found)):
        apart, nearest = KDTree(other.points).query(one.points)
        assert np.percentile(apart, 95) < 0.02, "a voxel"
        colour = np.abs(one.colors.astype(float) - other.colors[nearest]).mean()
        assert colour < 12


def settings_of(**sections: dict[str, object]) -> PointcloudSettings:
    return PointcloudSettings.model_validate(sections)


@pytest.fixture
def bent_folder(tmp_path: Path) -> tuple[Source, Path]:
    """Two pictures, and a model that says that one lens took them."""
    source = source_of(tmp_path / "pictures", [np.zeros((240, 320, 3), np.uint8)] * 2)
    model = pinhole_model(["p0000.png", "p0001.png"], np.stack([np.eye(4)] * 2), PHONE.intrinsics)
    write_model(tmp_path / "model", replace(model, cameras={1: colmap_camera(PHONE)}))
    return source, tmp_path / "model"


@pytest.mark.parametrize("said", [{"intrinsics"}, {"trajectory"}])
def test_a_calibration_or_a_model_makes_pictures_straight(bent_folder: tuple[Source, Path], said: set[str]) -> None:
    source, model = bent_folder
    straight = straightened(source, settings_of(camera=dict.fromkeys(said, model)))
    camera = straight_camera(straight)
    assert camera is not None
    assert camera.intrinsics == common_pinhole([PHONE])
    assert camera.origin == f"{model}, distortion taken out"


def test_the_lens_is_that_of_the_pictures_size(bent_folder: tuple[Source, Path], tmp_path: Path) -> None:
    """A calibration of the full sensor belongs to pictures of half its size too."""
    source, _ = bent_folder
    values = {"fx": 500.0, "fy": 504.0, "cx": 326.0, "cy": 236.0, "width": 640, "height": 480, "k1": -0.25, "k2": 0.06}
    (tmp_path / "k.json").write_text(json.dumps(values | {"p1": 0.001, "p2": -0.002}))
    straight = straightened(source, settings_of(camera={"intrinsics": tmp_path / "k.json"}))
    assert straight_camera(straight).intrinsics == common_pinhole([PHONE])


def test_pictures_stay_as_they_are_where_nothing_says_otherwise(bent_folder: tuple[Source, Path]) -> None:
    """No file; --fov, which speaks of them as they are; a lens without distortion."""
    source, model = bent_folder
    (model.parent / "k.json").write_text('{"fx": 250, "fy": 250, "cx": 160, "cy": 120, "width": 320, "height": 240}')
    for camera in ({}, {"fov": 65.0, "trajectory": model}, {"intrinsics": model.parent / "k.json"}):
        assert straightened(source, settings_of(camera=camera)) is source
    assert straight_camera(source) is None
    assert positions_in(source) is None


def test_pictures_that_a_model_lacks_are_of_the_nearest_camera(
    bent_folder: tuple[Source, Path], caplog: pytest.LogCaptureFixture
) -> None:
    source, model = bent_folder
    names = ["p0000.png", "elsewhere.png"]
    both = pinhole_model(names, np.stack([np.eye(4)] * 2), PHONE.intrinsics)
    images = tuple(replace(image, camera=number) for number, image in enumerate(both.images, 1))
    cameras = {1: colmap_camera(PHONE), 2: colmap_camera(ACTION)}
    write_model(model, replace(both, cameras=cameras, images=images))
    straight = straightened(source, settings_of(camera={"trajectory": model}))
    assert isinstance(straight, UndistortedSource)
    assert straight.lenses.lenses == (PHONE,), "the other camera took none of these pictures"
    assert "has cameras for 1 of the 2 pictures" in caplog.text


def test_depth_has_the_pictures_view(bent_folder: tuple[Source, Path], tmp_path: Path) -> None:
    """`recon depth` of maps made elsewhere: they bend with the pictures, and say so."""
    source, model = bent_folder
    taken = np.full((240, 320), 2.0, np.float32)
    taken[:, :20] = 1.0
    depth = write_maps(tmp_path / "depth", [taken, taken])
    options = ["--depth", str(depth), "--depth-scale", "5000", "--intrinsics", str(model), "--no-preview", "-q"]
    assert run(["depth", str(source.info.path), "-o", str(tmp_path / "maps"), *options]) == 0
    straight = straightened(source, settings_of(camera={"intrinsics": model}))
    found = DepthFolder(tmp_path / "maps", scale=1000.0)[0]
    np.testing.assert_allclose(found, straight.depth(0.0, taken), atol=1e-3)


def test_landmarks_are_where_the_pinhole_sees_them(bent_folder: tuple[Source, Path]) -> None:
    """Features of a model lie in bent pictures; its landmarks anchor depth in straight ones."""
    source, model = bent_folder
    points = np.array([(-0.8, 0.5, 2.0), (0.9, -0.6, 2.5), (0.1, 0.0, 1.0)])
    seen, rows = PHONE.pixels_from_plane(points[:, :2] / points[:, 2:]), np.arange(3)
    marks = Landmarks(points, np.zeros((3, 3), np.uint8), np.full(3, -1.0), np.zeros(3, np.int64), rows, seen)
    with_points = pinhole_model(["p0000.png", "p0001.png"], np.stack([np.eye(4)] * 2), PHONE.intrinsics, marks)
    write_model(model, replace(with_points, cameras={1: colmap_camera(PHONE)}))
    settings = settings_of(anchor={"sparse": model})
    straight = straightened(source, settings)
    camera = straight_camera(straight).intrinsics
    found = slam_map(straight, settings, model).seen_at([0.0], lambda: camera)
    np.testing.assert_allclose(found.position * (camera.width, camera.height), project(points, camera), atol=1e-6)
    as_taken = slam_map(source, settings, model).seen_at([0.0], lambda: camera)
    np.testing.assert_allclose(as_taken.position * (camera.width, camera.height), seen, atol=1e-6)
