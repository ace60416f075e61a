"""Textures of boxes in a small room, of which everything is known."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scenes import Box, Scene, render

from recon.errors import MissingPackageError, ReconError
from recon.light import light_of_srgb, srgb_from_linear
from recon.stages.texture import textured, unwrapped
from recon.stages.texture.bake import MARGIN
from recon.stages.texture.kernels import kernels
from recon.stages.texture.light import pyramid, spread
from recon.stages.texture.texture import suitable_size
from recon.stages.texture.unwrap import PART
from recon.stages.texture.views import chosen, prepared, sharpness_of
from recon.types import Frame, Intrinsics, Mesh, PosedFrame, TexturedMesh

CAMERA = Intrinsics.from_fov(70.0, 240, 180)
SIZE = 1024
SIDE = 0.15
"""Side of the mesh's squares, metres."""


def noise(rng: np.random.Generator, height: float, width: float) -> np.ndarray:
    """Soft colours, uint8, 200 texels for each metre: blobs of 8 cm."""
    grid = rng.uniform(60, 230, (round(height / 0.08) + 2, round(width / 0.08) + 2, 3)).astype(np.float32)
    size = (round(width * 200), round(height * 200))
    return np.clip(cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC), 40, 240).astype(np.uint8)


def box(rng: np.random.Generator, centre: Sequence[float], edges: Sequence[float], *, inside: bool) -> Box:
    x, y, z = edges
    shapes = [(z, y), (z, y), (z, x), (z, x), (y, x), (y, x)]
    return Box(np.array(centre), np.array(edges) / 2, [noise(rng, *shape) for shape in shapes], inside=inside)


@cache
def small_room() -> Scene:
    """A room of 3 m with a box on a pillar in it."""
    rng = np.random.default_rng(3)
    return Scene(
        [box(rng, (0, 0, 1.2), (3, 3, 2.4), inside=True), box(rng, (0, 0.6, 1.1), (0.6, 0.6, 0.6), inside=False)]
    )


def mesh_of(scene: Scene, bodies: Sequence[int] = (0, 1), side: float = SIDE) -> Mesh:
    """Boxes as grids of triangles, with the scene's own colours at the vertices."""
    parts, first = [], 0
    for body in bodies:
        for face in range(6):
            height, width = (length / 200 for length in scene.bodies[body].textures[face].shape[:2])
            rows, columns = (max(1, round(length / side)) + 1 for length in (height, width))
            down, right = (
                a.ravel()
                for a in np.meshgrid(np.linspace(0, height, rows), np.linspace(0, width, columns), indexing="ij")
            )
            points, normals = scene.bodies[body].surface(face, right, down)
            a = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
            squares = np.stack([a, a + columns, a + columns + 1, a, a + columns + 1, a + 1], axis=1).reshape(-1, 3)
            p, q, r = points.T[squares[0]]
            if np.cross(q - p, r - p) @ normals[:, 0] < 0:
                squares = squares[:, ::-1]
            colors = np.rint(scene.colours(points, np.full(points.shape[1], body)))
            parts.append((points.T, squares + first, colors, normals.T))
            first += points.shape[1]
    points, triangles, colors, normals = (np.concatenate(values) for values in zip(*parts, strict=True))
    return Mesh(
        points.astype(np.float32), triangles.astype(np.int32), colors.astype(np.uint8), normals.astype(np.float32)
    )


def looking(position: Sequence[float], target: Sequence[float]) -> np.ndarray:
    forward = np.subtract(target, position) / np.linalg.norm(np.subtract(target, position))
    right = np.cross(forward, [0, 0, 1]) / np.linalg.norm(np.cross(forward, [0, 0, 1]))
    pose = np.eye(4)
    pose[:3, :4] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
    return pose


def around(count: int, *, phase: float = 0.0) -> list[np.ndarray]:
    """Views from a circle of 1 m over the room: half of them across it, half of them away from its middle."""
    poses = []
    for i in range(count):
        angle = 2 * np.pi * (i + phase) / count
        way = np.array([np.cos(angle), np.sin(angle), 0])
        target = way * (3 if i % 2 else -3) + [0, 0, 0.6 + 0.6 * (i % 3)]
        poses.append(looking(way * 1.15 + [0, 0, 1.2], target))
    return poses


def frames_of(scene: Scene, poses: Sequence[np.ndarray], camera: Intrinsics = CAMERA) -> list[PosedFrame]:
    frames = []
    for i, pose in enumerate(poses):
        rgb, depth = render(scene, camera, pose, samples=2)
        frames.append(PosedFrame(Frame(i, i / 10, rgb), depth, camera, pose, 0))
    return frames


@cache
def seen() -> list[PosedFrame]:
    return frames_of(small_room(), around(16))


def again(frames: Sequence[PosedFrame]) -> Callable[[], Iterator[PosedFrame]]:
    return lambda: iter(frames)


@cache
def result() -> TexturedMesh:
    return textured(mesh_of(small_room()), again(seen()), SIZE)


def drawn(mesh: Mesh, values: np.ndarray, camera: Intrinsics, pose: np.ndarray) -> np.ndarray:
    """Values of vertices (n, c) as a camera sees them: (h, w, c), NaN where there is nothing.

    Plain: all pixels in the box around each triangle are asked whether they are in it, and how far it is there.
    """
    points = (mesh.vertices - pose[:3, 3]) @ pose[:3, :3]
    pixels = points[:, :2] / points[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
    triangles = mesh.triangles[points[mesh.triangles, 2].min(axis=1) >= 0.05]
    low = np.maximum(np.floor(pixels[triangles].min(axis=1)).astype(int), 0)
    high = np.minimum(np.ceil(pixels[triangles].max(axis=1)).astype(int), [camera.width, camera.height])
    width, height = (high - low).clip(0).T
    owner = np.repeat(np.arange(len(triangles)), width * height)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(width * height) - width * height, width * height)
    column, row = low[owner, 0] + number % width[owner], low[owner, 1] + number // width[owner]
    (ax, bx, cx), (ay, by, cy) = pixels[triangles[owner]].transpose(2, 1, 0)
    x, y, area = column + 0.5, row + 0.5, (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    with np.errstate(divide="ignore", invalid="ignore"):  # triangles seen from the side have no area
        a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
        b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
    shares = np.stack([a, b, 1 - a - b], axis=-1) / points[triangles[owner], 2]
    depth = 1 / shares.sum(axis=-1)
    hits = np.flatnonzero((shares.min(axis=-1) >= -1e-9) & (area != 0))
    hits = hits[np.lexsort([depth[hits], row[hits], column[hits]])]  # the nearest of each pixel comes first
    pixel = column[hits] * camera.height + row[hits]
    hits = hits[np.diff(pixel, prepend=-1) > 0]
    picture = np.full((camera.height, camera.width, values.shape[1]), np.nan)
    corners = values[triangles[owner[hits]]]
    picture[row[hits], column[hits]] = np.einsum("nk,nkc->nc", shares[hits] * depth[hits, None], corners)
    return picture


def pictured(mesh: TexturedMesh, camera: Intrinsics, pose: np.ndarray) -> np.ndarray:
    """What a camera sees of a textured mesh, bilinear; NaN where there is nothing."""
    uv = drawn(mesh.mesh, mesh.uv.astype(float), camera, pose)
    at = (uv * len(mesh.texture) - 0.5).astype(np.float32)
    rgb = cv2.remap(mesh.texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.where(np.isnan(uv[..., :1]), np.nan, rgb)


def smooth_part(depth: np.ndarray, width: int = 7) -> np.ndarray:
    """Pixels that no edge of depth is near to."""
    bend = np.abs(cv2.Laplacian(1 / depth, cv2.CV_32F)) * depth > 0.02
    return cv2.dilate(bend.astype(np.uint8), np.ones((width, width), np.uint8)) == 0


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))


def test_views_that_no_frame_had_look_as_they_should() -> None:
    for pose in around(16, phase=0.37)[:3]:
        truth, depth = render(small_room(), CAMERA, pose, samples=2)
        picture = pictured(result(), CAMERA, pose)
        inner = smooth_part(depth) & np.isfinite(picture[..., 0])
        assert inner.mean() > 0.8
        assert psnr(picture[inner], truth[inner].astype(float)) > 33


def test_the_texture_is_sharper_than_the_vertices() -> None:
    pose = around(16, phase=0.37)[0]
    truth, depth = render(small_room(), CAMERA, pose, samples=2)
    mesh = mesh_of(small_room())
    plain = drawn(mesh, mesh.colors.astype(float), CAMERA, pose)
    inner = smooth_part(depth) & np.isfinite(plain[..., 0])
    assert (
        psnr(pictured(result(), CAMERA, pose)[inner], truth[inner].astype(float))
        > psnr(plain[inner], truth[inner].astype(float)) + 6
    )


def test_the_order_of_frames_does_not_matter() -> None:
    shuffled = [seen()[i] for i in np.random.default_rng(0).permutation(len(seen()))]
    other = textured(mesh_of(small_room()), again(shuffled), SIZE)
    assert np.abs(other.texture.astype(int) - result().texture).max() <= 1


def test_colours_of_vertices_are_those_of_the_picture() -> None:
    at = np.minimum((result().uv * SIZE).astype(int), SIZE - 1)
    np.testing.assert_array_equal(result().mesh.colors, result().texture[at[:, 1], at[:, 0]])


def test_both_sides_of_a_seam_have_one_colour() -> None:
    """Vertices that stand twice are sampled, bilinear, on both sides."""
    at = (result().uv * SIZE - 0.5).astype(np.float32)[None]
    colors = cv2.remap(result().texture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[
        0
    ].astype(float)
    key = np.concatenate([result().mesh.vertices, result().mesh.normals], axis=1).round(4)
    _, group = np.unique(key, axis=0, return_inverse=True)
    group = group.ravel()
    twice = np.flatnonzero(np.bincount(group) > 1)
    assert len(twice) > 20
    ranges = np.array([np.ptp(colors[group == number], axis=0).max() for number in twice])
    assert np.median(ranges) <= 2
    assert np.quantile(ranges, 0.95) <= 8


# Boards that are drawn by their vertices


def board(centre: Sequence[float], width: float, height: float, colors: np.ndarray, *, squares: int = 8) -> Mesh:
    """An upright rectangle across y that faces -y; colours of one vertex or of all (row after row, from below)."""
    x, z = (a.ravel() for a in np.meshgrid(np.linspace(-0.5, 0.5, squares + 1), np.linspace(-0.5, 0.5, squares + 1)))
    points = np.stack([x * width, 0 * x, z * height], axis=1) + centre
    a = (np.arange(squares)[:, None] * (squares + 1) + np.arange(squares)).ravel()
    b, c, d = a + 1, a + squares + 1, a + squares + 2
    triangles = np.stack([a, b, d, a, d, c], axis=1).reshape(-1, 3)
    rgb = np.broadcast_to(np.asarray(colors, np.uint8), points.shape).copy()
    return Mesh(
        points.astype(np.float32), triangles.astype(np.int32), rgb, np.tile(np.float32([0, -1, 0]), (len(x), 1))
    )


def joined(first: Mesh, second: Mesh) -> Mesh:
    parts = [np.concatenate(pair) for pair in ((first.vertices, second.vertices), (first.colors, second.colors))]
    triangles = np.concatenate([first.triangles, second.triangles + np.int32(len(first.vertices))])
    return Mesh(parts[0], triangles, parts[1], np.concatenate([first.normals, second.normals]))


def painted(mesh: Mesh, pose: np.ndarray, *, index: int = 0, camera: Intrinsics = CAMERA) -> PosedFrame:
    """The frame that shows a mesh with its vertices' colours, black where there is nothing."""
    z = (mesh.vertices.astype(float) - pose[:3, 3]) @ pose[:3, 2]
    values = drawn(mesh, np.column_stack([mesh.colors, z]), camera, pose)
    rgb = np.nan_to_num(values[..., :3]).round().astype(np.uint8)
    return PosedFrame(Frame(index, index / 10, rgb), values[..., 3].astype(np.float32), camera, pose, 0)


GREEN, MAGENTA, GRAY = (40, 180, 60), (220, 30, 200), (128, 128, 128)


def before(xs: Sequence[float]) -> list[np.ndarray]:
    """Cameras at y = 0 that look along y."""
    return [looking((x, 0, 0), (x, 1, 0)) for x in xs]


def colors_of(result: TexturedMesh, mesh: Mesh) -> np.ndarray:
    """Colours of those vertices that are a board's, without its border: there pixels hold what is beside it too."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    within = ((mesh.vertices > low + 0.01) & (mesh.vertices < high - 0.01))[:, [0, 2]].all(axis=1)
    places = {tuple(point) for point in mesh.vertices[within].tolist()}
    return result.mesh.colors[[tuple(point) in places for point in result.mesh.vertices.tolist()]].astype(int)


@pytest.mark.parametrize("known", [True, False], ids=["in the mesh and in depth", "in the mesh alone"])
def test_an_occluder_does_not_colour_the_wall_behind_it(known: bool) -> None:  # noqa: FBT001 - a parameter
    wall, front = board((0, 2, 0), 2, 1.4, GREEN), board((0, 1.2, 0), 0.4, 0.4, MAGENTA)
    frames = [painted(joined(wall, front), pose, index=i) for i, pose in enumerate(before((-0.9, 0, 0.9)))]
    if not known:
        frames = [replace(frame, depth=np.full_like(frame.depth, np.nan)) for frame in frames]
    result = textured(joined(wall, front), again(frames), 256)
    assert np.abs(colors_of(result, wall) - GREEN).max() <= 3
    assert np.abs(colors_of(result, front) - MAGENTA).max() <= 3


def test_what_only_the_depth_knows_does_not_colour_the_wall_either() -> None:
    """Somebody who stood there for one frame is not in the mesh."""
    wall, front = board((0, 2, 0), 2, 1.4, GREEN), board((0, 1.2, 0), 0.4, 0.4, MAGENTA)
    scenes = (joined(wall, front), wall, wall)
    frames = [
        painted(scene, pose, index=i) for i, (scene, pose) in enumerate(zip(scenes, before((0, 0.1, 0.2)), strict=True))
    ]
    assert np.abs(colors_of(textured(wall, again(frames), 256), wall) - GREEN).max() <= 3


def test_masked_pixels_count_little() -> None:
    """Where a mover was masked, depth is unknown: what other frames saw there is taken."""
    wall, front = board((0, 2, 0), 2, 1.4, GREEN), board((0, 1.2, 0), 0.4, 0.4, MAGENTA)
    masked = painted(joined(wall, front), before((0,))[0])
    masked = replace(masked, depth=np.where(masked.depth < 1.5, np.float32(np.nan), masked.depth))
    frames = [masked, *(painted(wall, pose, index=i + 1) for i, pose in enumerate(before((0.1, 0.2))))]
    assert np.abs(colors_of(textured(wall, again(frames), 256), wall) - GREEN).max() <= 3


def test_what_no_frame_sees_has_the_colours_of_the_vertices() -> None:
    """The wall's back and the part beside the picture are not seen; the mesh says gray, the frames say green."""
    far = board((6, 2, 0), 1, 1.4, (200, 90, 20))
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    result = textured(joined(wall, far), again([painted(wall, before((0,))[0])]), 256)
    assert np.abs(colors_of(result, far) - (200, 90, 20)).max() <= 1


def speckled(rng: np.random.Generator) -> Mesh:
    return board((0, 2, 0), 3, 1.4, rng.integers(70, 150, (41**2, 3)), squares=40)


def brighter(frame: PosedFrame, gains: Sequence[float]) -> PosedFrame:
    """The frame with its light multiplied."""
    rgb = srgb_from_linear(light_of_srgb()[frame.frame.rgb] * np.float32(gains))
    return replace(frame, frame=replace(frame.frame, rgb=rgb))


def test_a_frame_that_is_brighter_leaves_no_patch() -> None:
    wall = speckled(np.random.default_rng(0))
    frames = [painted(wall, pose, index=i) for i, pose in enumerate(before((-0.6, -0.3, 0, 0.3, 0.6)))]
    exposed = [*frames[:2], brighter(frames[2], (1.5, 1.5, 1.4)), *frames[3:]]
    off = np.abs(textured(wall, again(exposed), 512).texture.astype(int) - textured(wall, again(frames), 512).texture)
    plain = np.abs(exposed[2].frame.rgb.astype(int) - frames[2].frame.rgb).mean()
    assert plain > 10
    assert off.mean() < 1
    assert np.quantile(off, 0.99) <= 4


def test_a_blurred_frame_is_not_chosen() -> None:
    wall = speckled(np.random.default_rng(0))
    frames = [painted(wall, pose, index=i) for i, pose in enumerate(before((0, 0.02, 0.04, 0.06)))]
    blurred = replace(frames[1].frame, rgb=cv2.GaussianBlur(np.asarray(frames[1].frame.rgb), (0, 0), 3))
    mixed = [frames[0], replace(frames[1], frame=blurred), *frames[2:]]
    with_it = textured(wall, again(mixed), 512, most_views=2)
    without = textured(wall, again([frames[0], *frames[2:]]), 512, most_views=2)
    sharp = [sharpness_of(frame.frame.rgb) for frame in mixed]
    assert 1 not in chosen(np.arange(4.0), np.array(sharp), 2)
    off = np.abs(with_it.texture.astype(int) - without.texture)
    assert off.mean() < 2


def test_a_blurred_frame_counts_less_than_its_neighbours() -> None:
    """Also where there is none to take instead."""
    used = chosen(np.arange(5.0), np.array([100.0, 25, 100, 100, 100]), 5)
    assert used == {0: 1.0, 1: 0.5, 2: 1.0, 3: 1.0, 4: 1.0}


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 10**6))
def test_choice_of_frames(count: int, most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    times, sharpness = rng.permutation(count).astype(float), rng.uniform(0, 10, count)
    used = chosen(times, sharpness, most)
    assert len(used) == min(count, most)
    assert all(0 <= value <= 1 for value in used.values())
    order = rng.permutation(count)
    again = chosen(times[order], sharpness[order], most)
    assert {times[row] for row in used} == {times[order][row] for row in again}
    gaps = np.diff(np.sort([times[row] for row in used]), prepend=-1, append=count)
    assert gaps.max() <= 2 * np.ceil(count / most) + 1


def test_fine_pictures_do_not_alias() -> None:
    """A checkerboard of single pixels, of which a texel holds many, is its mean: as light, not as sRGB."""
    wall = board((0, 2, 0), 6, 4, GRAY)
    fine = Intrinsics.from_fov(70.0, 640, 480)
    frame = painted(wall, before((0,))[0], camera=fine)
    checks = np.where(np.indices((480, 640)).sum(axis=0)[..., None] % 2, 90, 170).astype(np.uint8).repeat(3, axis=2)
    result = textured(board((0, 2, 0), 1.5, 1, GRAY), again([replace(frame, frame=Frame(0, 0.0, checks))]), 48)
    mean = srgb_from_linear(light_of_srgb()[np.array([[90, 170]])].mean(axis=1)[:, None].repeat(3, axis=1))
    assert np.abs(colors_of(result, board((0, 2, 0), 1.5, 1, GRAY)) - GRAY).max() <= 2 + abs(int(mean[0, 0]) - 128)
    assert np.ptp(colors_of(result, board((0, 2, 0), 1.5, 1, GRAY)), axis=0).max() <= 4


# Charts


@pytest.mark.parametrize("size", [256, 1024])
def test_charts_are_in_the_picture_and_apart(size: int) -> None:
    """No texel is inside two triangles, nor in the margin of another chart, but for slivers at shared edges."""
    cut, uv = unwrapped(mesh_of(small_room()), size)
    assert uv.min() >= 0
    assert uv.max() <= 1
    owners = charts(cut)
    owned = np.zeros((size, size), int)
    for number in np.unique(owners):
        picture = np.zeros((size, size), np.uint8)
        for corners in cut.triangles[owners[cut.triangles[:, 0]] == number]:
            cv2.fillConvexPoly(picture, np.rint((uv[corners] * size - 0.5) * 16).astype(np.int32), 1, shift=4)
        owned += picture
    assert len(np.unique(owners)) >= 12
    assert owned.max() == 1
    assert (owned > 0).mean() > 0.4


def charts(mesh: Mesh) -> np.ndarray:
    """Of each vertex, the number of the piece that it hangs together with."""
    from scipy.sparse import coo_matrix  # noqa: PLC0415
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    a, b = np.concatenate([mesh.triangles[:, :2], mesh.triangles[:, 1:]]).T
    return connected_components(coo_matrix((np.ones(len(a)), (a, b)), shape=(len(mesh.vertices),) * 2))[1]


def test_the_surface_stays_as_it_is() -> None:
    """The same triangles, in any order, of the same corners in the same turn; each vertex keeps what it had."""
    mesh = mesh_of(small_room())
    cut, _ = unwrapped(mesh, 256)
    assert len(mesh) > PART  # several parts
    assert corners_of(cut) == corners_of(mesh)
    known = {tuple(row) for row in np.concatenate([mesh.vertices, mesh.colors, mesh.normals], axis=1).tolist()}
    assert {tuple(row) for row in np.concatenate([cut.vertices, cut.colors, cut.normals], axis=1).tolist()} == known


def corners_of(mesh: Mesh) -> list[tuple[float, ...]]:
    """Corners of triangles, each from its least one on."""
    places = mesh.vertices[mesh.triangles].tolist()
    return sorted(tuple(x for corner in min(t[i:] + t[:i] for i in range(3)) for x in corner) for t in places)


@pytest.mark.parametrize("unit", [1e-4, 1e4])
def test_units_do_not_matter(unit: float) -> None:
    """A map of a SLAM may be of any scale: all of it gets its room."""
    mesh = mesh_of(small_room())
    scaled = Mesh(mesh.vertices * np.float32(unit), mesh.triangles, mesh.colors, mesh.normals)
    cut, uv = unwrapped(scaled, 1024)
    flat = np.column_stack([uv, np.zeros(len(uv))])
    shares = [areas(points, cut.triangles) for points in (flat, cut.vertices.astype(float) / unit)]
    scales = shares[0] / shares[0].sum() * shares[1].sum() / shares[1]
    assert np.quantile(np.abs(scales - 1), 0.9) < 0.1
    assert np.abs(np.log2(scales)).max() < 1  # charts are rounded to whole texels, which much enlarges the smallest


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = points[triangles].transpose(1, 0, 2)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


# Pieces


def test_depth_of_a_mesh_is_exact() -> None:
    """Against rays; triangles that begin behind the camera too."""
    camera = Intrinsics.from_fov(100.0, 96, 64)
    for side in (SIDE, 1.5):
        frame = frames_of(small_room(), [looking((-0.8, -0.9, 1.0), (0.4, 0.5, 1.1))], camera)[0]
        front = prepared(frame, mesh_of(small_room(), side=side), 1.0).front
        inner = smooth_part(frame.depth, 3)
        np.testing.assert_allclose(front[inner], frame.depth[inner], rtol=2e-4)


def test_texels_hold_what_the_vertices_say() -> None:
    """Any linear function of the place in the picture is reproduced, in the margin too."""
    uv = np.array([[10.2, 12.1], [90.7, 20.3], [40.4, 80.9]])
    values = (uv @ [[0.5], [-0.25]] + 3).astype(np.float32)
    numbers, mixed, inner = kernels().rasterised(uv, np.array([[0, 1, 2]], np.int32), values, 100, MARGIN)
    centres = np.column_stack([numbers % 100, numbers // 100]) + 0.5
    np.testing.assert_allclose(mixed, centres @ [[0.5], [-0.25]] + 3, atol=1e-4)
    inside = cv2.fillConvexPoly(np.zeros((100, 100), np.uint8), np.rint((uv - 0.5) * 16).astype(np.int32), 1, shift=4)
    assert set(numbers[inner]) <= set(np.flatnonzero(inside))
    assert set(np.flatnonzero(cv2.erode(inside, np.ones((3, 3))))) <= set(numbers)
    assert set(numbers) <= set(np.flatnonzero(cv2.dilate(inside, np.ones((5, 5)))))


def test_srgb_and_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb_from_linear(np.tile(light_of_srgb()[levels][:, None], 3))[:, 0], levels)


def test_sizes_of_a_picture_keep_its_light() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    pixels, levels = pyramid(rgb)
    mean = light_of_srgb()[rgb].mean(axis=(0, 1))
    assert [tuple(level[1:]) for level in levels] == [(64, 96), (32, 48), (16, 24), (8, 12), (4, 6)]
    for start, height, width in levels:
        np.testing.assert_allclose(pixels[start : start + height * width].mean(axis=0), mean, rtol=1e-5)
    assert len(pixels) == sum(height * width for _, height, width in levels)


def test_gaps_are_filled_by_what_is_around() -> None:
    light = np.zeros((33, 50, 3), np.float32)
    known = np.zeros((33, 50), bool)
    light[4:9, 5:12], known[4:9, 5:12] = (1, 0.5, 0), True
    light[20:30, 30:40], known[20:30, 30:40] = (0, 0.5, 1), True
    filled = spread(light, known)
    np.testing.assert_array_equal(filled[known], light[known])
    np.testing.assert_allclose(filled[..., 1], 0.5, rtol=1e-5)  # both have half of it: no dark in between
    assert filled[3, 4, 0] > 0.9
    assert filled[31, 41, 2] > 0.9


def test_nothing_is_dark_in_smaller_levels() -> None:
    """The mean of 16 texels is as bright as what is there: padding is filled."""
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    result = textured(wall, again([painted(wall, pose) for pose in before((-0.2, 0.2))]), 256)
    small = cv2.resize(result.texture, (16, 16), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(small - GREEN).max() <= 3


# Memory and errors


def test_memory_does_not_grow_with_the_frames() -> None:
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    first = painted(wall, before((0,))[0])

    def many(count: int) -> Iterator[PosedFrame]:
        for i in range(count):
            rgb = first.frame.rgb.copy()
            yield replace(first, frame=Frame(i, i / 10, rgb), depth=first.depth.copy())

    def peak(count: int) -> int:
        tracemalloc.start()
        textured(wall, lambda: many(count), 64)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(40) < 1.1 * peak(4)


def test_frames_are_gone_through_three_times() -> None:
    wall, calls = board((0, 2, 0), 2, 1.4, GREEN), []

    def counted() -> Iterator[PosedFrame]:
        calls.append(1)
        yield painted(wall, before((0,))[0])

    textured(wall, counted, 64)
    assert len(calls) == 3


@pytest.mark.parametrize(("pixels", "size"), [(64, 512), (640, 1024), (1280, 2048), (10_000, 4096)])
def test_the_texture_is_as_sharp_as_the_pictures(pixels: int, size: int) -> None:
    """A wall of 4 x 3 m in view 2 m away; half of a texture is charts, so it has twice the texels of what is seen."""
    camera = Intrinsics.from_fov(90.0, pixels, pixels * 3 // 4)
    assert suitable_size(board((0, 2, 0), 4, 3, GRAY), 2 / camera.fx) == size


def test_no_size_has_to_be_said() -> None:
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    assert textured(wall, again([painted(wall, before((0,))[0])])).texture.shape == (512, 512, 3)


def test_errors() -> None:
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    frame = painted(wall, before((0,))[0])
    empty = Mesh(wall.vertices, np.zeros((0, 3), np.int32), wall.colors, wall.normals)
    flat = Mesh(wall.vertices * np.float32([1, 1, 0]), wall.triangles, wall.colors, wall.normals)
    with pytest.raises(ReconError, match="no frames"):
        textured(wall, lambda: iter(()), 64)
    with pytest.raises(ReconError, match="without triangles"):
        textured(empty, again([frame]), 64)
    with pytest.raises(ReconError, match="no area"):
        unwrapped(flat, 64)
    with pytest.raises(ReconError, match="no frame sees the mesh"):
        textured(wall, again([replace(frame, world_from_camera=looking((0, 0, 0), (0, -1, 0)))]), 64)
    with pytest.raises(ValueError, match=r"segments \[0, 1\]"):
        textured(wall, again([frame, replace(frame, segment=1)]), 64)
    with pytest.raises(ValueError, match="texels and views"):
        textured(wall, again([frame]), 0)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xatlas", None)
    with pytest.raises(MissingPackageError, match=r'pip install "recon-video\[mesh\]"'):
        unwrapped(board((0, 2, 0), 2, 1.4, GREEN), 64)


def test_unknown_normals_are_those_of_the_triangles() -> None:
    wall = board((0, 2, 0), 2, 1.4, GREEN)
    bare = Mesh(wall.vertices, wall.triangles, wall.colors, np.zeros_like(wall.normals))
    result = textured(bare, again([painted(wall, before((0,))[0])]), 64)
    np.testing.assert_allclose(result.mesh.normals, np.tile([0, -1, 0], (len(result.mesh.normals), 1)), atol=1e-6)
