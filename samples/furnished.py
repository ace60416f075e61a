"""A furnished room with procedural textures, and the path of somebody who walks through it with a phone."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from raycast import TEXELS, Ball, Box, Scene

from recon.types import CameraTrajectory

Rng = np.random.Generator
Colour = Sequence[float]

WIDTH, LENGTH, HEIGHT = 4.8, 4.2, 2.6
"""Inner size of the room along x, y and z, metres."""


def _noise(rng: Rng, height: int, width: int, *, octaves: Sequence[float] = (0.5, 0.15, 0.05, 0.02)) -> np.ndarray:
    """Value noise, about -1 to 1, float32: the sum of random grids with these cells in metres, all equally strong."""
    total = np.zeros((height, width), np.float32)
    for cell in octaves:
        rows, columns = (int(size / TEXELS / cell) + 2 for size in (height, width))
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return total / len(octaves)


def _blank(height: float, width: float, colour: Colour) -> np.ndarray:
    """A picture of one colour for a surface of this size in metres, float32."""
    size = (max(round(height * TEXELS), 3), max(round(width * TEXELS), 3))
    return np.tile(np.asarray(colour, np.float32), (*size, 1))


def _grainy(rng: Rng, picture: np.ndarray, strength: float) -> np.ndarray:
    return picture + strength * _noise(rng, *picture.shape[:2])[..., None]


def _done(picture: np.ndarray) -> np.ndarray:
    return np.clip(picture, 0, 255).astype(np.uint8)


def _write(picture: np.ndarray, text: str, at: tuple[float, float], size: float, colour: Colour) -> None:
    """Write into the picture: position and letter height in metres, from the upper left corner."""
    position = (round(at[0] * TEXELS), round(at[1] * TEXELS))
    thickness = max(round(size * TEXELS / 9), 1)
    ink = np.zeros(picture.shape[:2], np.uint8)
    cv2.putText(ink, text, position, cv2.FONT_HERSHEY_DUPLEX, size * TEXELS / 22, 255, thickness, cv2.LINE_AA)
    picture += (np.asarray(colour, np.float32) - picture) * (ink / np.float32(255))[..., None]


def _rectangle(picture: np.ndarray, box: Sequence[float], colour: Colour, *, thickness: float = 0) -> None:
    """Draw (left, top, right, bottom), metres; filled where no thickness is given."""
    left, top, right, bottom = (round(value * TEXELS) for value in box)
    line = max(round(thickness * TEXELS), 1) if thickness else -1
    cv2.rectangle(picture, (left, top), (right, bottom), colour, line)


def _paste(picture: np.ndarray, what: np.ndarray, left: float, top: float) -> None:
    row, column = round(top * TEXELS), round(left * TEXELS)
    picture[row : row + what.shape[0], column : column + what.shape[1]] = what


def _wood(rng: Rng, height: float, width: float, colour: Colour = (168, 122, 78)) -> np.ndarray:
    """Grain along the width."""
    wood = _blank(height, width, colour)
    rows, columns = wood.shape[:2]
    grain = cv2.resize(_noise(rng, rows, max(columns // 12, 3)), (columns, rows), interpolation=cv2.INTER_LINEAR)
    wood += 70 * grain[..., None]
    return _grainy(rng, wood, 14)


def _planks(rng: Rng) -> np.ndarray:
    """A floor of boards 16 cm wide, with a rug."""
    floor = _blank(LENGTH, WIDTH, (0, 0, 0))
    for row in np.arange(0, LENGTH, 0.16):
        start = -rng.uniform(0, 1.2)
        while start < WIDTH:
            end = start + rng.uniform(0.8, 1.5)
            left, right = max(start, 0), min(end, WIDTH)
            board = _wood(
                rng, min(0.16, LENGTH - row), right - left + 0.01, np.array([158, 112, 72]) + rng.normal(0, 14)
            )
            board[:1], board[:, :1] = 45, 45
            at = (round(row * TEXELS), round(left * TEXELS))
            room = floor[at[0] : at[0] + board.shape[0], at[1] : at[1] + board.shape[1]]
            room[:] = board[: room.shape[0], : room.shape[1]]
            start = end
    _paste(floor, _rug(rng, 1.7, 2.4), 1.15, 1.55)
    return _done(floor)


def _rug(rng: Rng, height: float, width: float) -> np.ndarray:
    rug = _blank(height, width, (122, 40, 46))
    _rectangle(rug, (0.06, 0.06, width - 0.06, height - 0.06), (214, 186, 132), thickness=0.03)
    _rectangle(rug, (0.14, 0.14, width - 0.14, height - 0.14), (40, 58, 96))
    motifs = [(214, 186, 132), (158, 60, 54), (92, 128, 120), (226, 214, 190)]
    for row, y in enumerate(np.arange(0.24, height - 0.2, 0.17)):
        for column, x in enumerate(np.arange(0.24, width - 0.2, 0.17)):
            radius = 0.065 if (row + column) % 2 else 0.045
            diamond = np.array([[x - radius, y], [x, y - radius], [x + radius, y], [x, y + radius]]) * TEXELS
            cv2.fillPoly(rug, [diamond.astype(np.int32)], motifs[int(rng.integers(len(motifs)))])
    return _grainy(rng, rug, 26)


def _bricks(rng: Rng, height: float, width: float) -> np.ndarray:
    wall = _blank(height, width, (188, 180, 168))
    for row, top in enumerate(np.arange(0, height, 0.075)):
        for left in np.arange(-0.12 * (row % 2), width, 0.24):
            colour = np.array([166, 84, 62]) + rng.normal(0, 16) + rng.normal(0, 6, 3)
            _rectangle(wall, (left + 0.006, top + 0.006, left + 0.234, top + 0.069), colour)
    return _grainy(rng, wall, 34)


def _wallpaper(rng: Rng, height: float, width: float, colour: Colour) -> np.ndarray:
    """Faint stripes with sprigs, and a skirting board."""
    wall = _blank(height, width, colour)
    for left in np.arange(0, width, 0.24):
        _rectangle(wall, (left, 0, left + 0.12, height), np.asarray(colour) * 0.93)
    for row, y in enumerate(np.arange(0.1, height - 0.15, 0.18)):
        for x in np.arange(0.06 + 0.12 * (row % 2), width, 0.24):
            centre = np.array([x, y]) + rng.normal(0, 0.004, 2)
            for angle in rng.uniform(0, 2 * np.pi) + np.arange(5) * 2 * np.pi / 5:
                petal = centre + 0.017 * np.array([np.cos(angle), np.sin(angle)])
                cv2.circle(
                    wall, tuple(np.rint(petal * TEXELS).astype(int).tolist()), 2, (150, 116, 96), -1, cv2.LINE_AA
                )
    _rectangle(wall, (0, height - 0.1, width, height), (232, 228, 220))
    _rectangle(wall, (0, height - 0.105, width, height - 0.098), (150, 146, 140))
    return _grainy(rng, wall, 16)


def _painting(rng: Rng, height: float, width: float) -> np.ndarray:
    """A landscape of noise in a frame."""
    rows, columns = round(height * TEXELS), round(width * TEXELS)
    picture = _blank(height, width, (150, 190, 220))[:rows, :columns]
    picture[:] += 40 * _noise(rng, rows, columns, octaves=(0.25, 0.08))[..., None]
    for depth, colour in enumerate([(120, 140, 160), (86, 122, 96), (58, 88, 52), (36, 58, 40)]):
        ridge = _noise(rng, 3, columns, octaves=(0.3, 0.08, 0.03))[1] * 0.22 * rows + rows * (0.42 + 0.15 * depth)
        below = np.arange(rows)[:, None] > ridge[None]
        picture[below] = np.asarray(colour, np.float32)
    picture = _grainy(rng, picture, 22)
    _rectangle(picture, (0, 0, width - 0.005, height - 0.005), (70, 46, 28), thickness=0.07)
    return picture


def _poster(rng: Rng, height: float, width: float, words: Sequence[str]) -> np.ndarray:
    poster = _blank(height, width, (238, 232, 214))
    for _ in range(14):
        centre = (rng.uniform(0.16, 0.84, 2) * [width, height * 0.66] * TEXELS).astype(int)
        colour = rng.uniform(30, 230, 3)
        cv2.circle(
            poster, tuple(centre.tolist()), int(rng.uniform(0.02, 0.08) * TEXELS), colour.tolist(), -1, cv2.LINE_AA
        )
    for row, word in enumerate(words):
        _write(poster, word, (0.05, height * 0.72 + 0.1 * row), 0.06, (30, 30, 40))
    _rectangle(poster, (0, 0, width - 0.005, height - 0.005), (20, 20, 24), thickness=0.015)
    return _grainy(rng, poster, 10)


def _window(rng: Rng, height: float, width: float) -> np.ndarray:
    """Bright sky with clouds and trees behind four panes."""
    view = _blank(height, width, (186, 214, 240))
    rows, columns = view.shape[:2]
    clouds = _noise(rng, rows, columns, octaves=(0.5, 0.2, 0.08))
    view += 120 * np.maximum(clouds, 0)[..., None]
    trees = _noise(rng, rows, columns, octaves=(0.2, 0.06, 0.03))
    below = np.arange(rows)[:, None] > rows * 0.72 + 45 * trees
    view[below] = (np.array([92, 126, 66]) + 70 * trees[..., None])[below]
    view *= 1.6
    for x in (0.03, width / 2, width - 0.03):
        _rectangle(view, (x - 0.03, 0, x + 0.03, height), (236, 234, 230))
    for y in (0.03, height / 2, height - 0.03):
        _rectangle(view, (0, y - 0.03, width, y + 0.03), (236, 234, 230))
    return view


def _muted(rng: Rng) -> np.ndarray:
    """The colour of a cloth binding."""
    grey = rng.uniform(50, 200)
    return np.clip(grey + rng.normal(0, 28, 3) + np.array([16, 0, -14]), 20, 240)


def _books(rng: Rng, height: float, width: float, shelves: int) -> np.ndarray:
    """The front of a bookshelf."""
    front = _wood(rng, height, width, (96, 66, 44))
    pitch = height / shelves
    for shelf in range(shelves):
        _rectangle(front, (0.03, shelf * pitch + 0.025, width - 0.03, (shelf + 1) * pitch - 0.01), (34, 26, 22))
        x = 0.035
        while x < width - 0.085:
            thick, tall = rng.uniform(0.018, 0.05), pitch * rng.uniform(0.6, 0.88)
            colour, bottom = _muted(rng), (shelf + 1) * pitch - 0.01
            _rectangle(front, (x, bottom - tall, x + thick - 0.003, bottom), colour)
            for band in rng.uniform(0.1, 0.9, 3):
                y = bottom - tall * band
                _rectangle(
                    front,
                    (x + 0.004, y, x + thick - 0.008, y + rng.uniform(0.005, 0.03)),
                    (208, 176, 104) if colour.mean() < 130 else (72, 40, 30),
                )
            x += thick
    return _grainy(rng, front, 12)


def _carton(rng: Rng, height: float, width: float, words: Sequence[str]) -> np.ndarray:
    side = _blank(height, width, (186, 146, 98))
    side = _grainy(rng, side, 24)
    _rectangle(side, (0, height * 0.46, width, height * 0.46 + 0.045), (206, 182, 140))
    for row, word in enumerate(words):
        _write(side, word, (0.04, 0.09 + 0.075 * row), min(0.05, width / 9), (60, 36, 24))
    _rectangle(side, (width - 0.13, height - 0.12, width - 0.03, height - 0.03), (240, 238, 230))
    for x in np.arange(width - 0.12, width - 0.04, 0.008):
        _rectangle(side, (x, height - 0.11, x + rng.uniform(0.001, 0.006), height - 0.05), (20, 20, 20))
    return _grainy(rng, side, 8)


def _fabric(rng: Rng, height: float, width: float, colour: Colour) -> np.ndarray:
    """A woven check."""
    cloth = _blank(height, width, colour)
    y, x = np.indices(cloth.shape[:2]) / TEXELS
    check = ((x / 0.06).astype(int) % 2 + (y / 0.06).astype(int) % 2) * 14 - 14
    lines = ((x % 0.12 < 0.01) | (y % 0.12 < 0.01)) * 30
    return _grainy(rng, cloth + (check + lines)[..., None], 22)


def _globe(rng: Rng, radius: float) -> np.ndarray:
    """Seas, land and ice caps; the noise is that of a sphere's points, so that it has no seam."""
    rows, columns = round(np.pi * radius * TEXELS), round(2 * np.pi * radius * TEXELS)
    latitude = (np.arange(rows)[:, None] + 0.5) / rows * np.pi
    longitude = (np.arange(columns)[None] + 0.5) / columns * 2 * np.pi - np.pi
    points = [
        np.sin(latitude) * np.cos(longitude),
        np.sin(latitude) * np.sin(longitude),
        np.cos(latitude) + 0 * longitude,
    ]
    height = np.zeros((rows, columns))
    for frequency in (2, 3, 5, 8, 13):
        for _ in range(5):
            towards, phase = rng.normal(size=3), rng.uniform(0, 2 * np.pi)
            wave = sum(axis * point for axis, point in zip(towards, points, strict=True))
            height += np.sin(frequency * wave + phase) / frequency**0.7
    picture = np.where(height[..., None] > 0.4, [112, 142, 70], [48, 92, 158]) + 22 * np.clip(height, -2, 2)[..., None]
    picture[(np.abs(latitude - np.pi / 2) > 1.2)[:, 0]] = 232
    meridians = (np.abs((longitude / (np.pi / 6)) % 1 - 0.5) > 0.48) | (
        np.abs((latitude / (np.pi / 6)) % 1 - 0.5) > 0.48
    )
    return _done(np.where(meridians[..., None], picture * 0.6, picture))


def _football(radius: float) -> np.ndarray:
    """Panels of three colours."""
    rows, columns = round(np.pi * radius * TEXELS), round(2 * np.pi * radius * TEXELS)
    row, column = np.indices((rows, columns))
    panel = (row * 6 // rows + column * 10 // columns) % 3
    return np.array([[226, 222, 210], [206, 62, 44], [244, 190, 52]], np.uint8)[panel]


def _box(centre: Colour, size: Colour, sides: Sequence[np.ndarray], *, yaw: float = 0.0) -> Box:
    return Box(np.array(centre, float), np.array(size, float) / 2, [_done(side) for side in sides], yaw)


def _cased(rng: Rng, centre: Colour, size: Colour, colour: Colour, **turned: float) -> Box:
    """A wooden box."""
    x, y, z = size
    shapes = [(z, y), (z, y), (z, x), (z, x), (y, x), (y, x)]
    return _box(centre, size, [_wood(rng, height, width, colour) for height, width in shapes], **turned)


def _padded(rng: Rng, centre: Colour, size: Colour, colour: Colour, **turned: float) -> Box:
    """A box covered with cloth."""
    x, y, z = size
    shapes = [(z, y), (z, y), (z, x), (z, x), (y, x), (y, x)]
    return _box(centre, size, [_fabric(rng, height, width, colour) for height, width in shapes], **turned)


def _parcel(rng: Rng, centre: Colour, size: Colour, words: Sequence[str], **turned: float) -> Box:
    x, y, z = size
    shapes = [(z, y), (z, y), (z, x), (z, x), (y, x), (y, x)]
    return _box(centre, size, [_carton(rng, height, width, words) for height, width in shapes], **turned)


def _walls(rng: Rng, colour: Colour) -> Box:
    """Window left, bricks behind the viewer, wallpaper ahead and to the right."""
    left = _wallpaper(rng, HEIGHT, LENGTH, colour)
    _paste(left, _window(rng, 1.2, 1.5), 1.7, 0.5)
    right = _bricks(rng, HEIGHT, LENGTH)
    _paste(right, _poster(rng, 0.9, 0.65, ["SLOW", "LIGHT"]), 1.2, 0.6)
    _paste(right, _painting(rng, 0.6, 0.8), 2.6, 0.7)
    back = _bricks(rng, HEIGHT, WIDTH)
    front = _wallpaper(rng, HEIGHT, WIDTH, colour)
    _paste(front, _painting(rng, 0.75, 1.1), 1.55, 0.55)
    _paste(front, _poster(rng, 0.7, 0.5, ["NORTH 61", "ARCHIVE"]), 3.0, 0.6)
    ceiling = _grainy(rng, _blank(LENGTH, WIDTH, (238, 236, 230)), 8)
    centre, half = np.array([0, 0, HEIGHT / 2]), np.array([WIDTH, LENGTH, HEIGHT]) / 2
    # The texture called "looks along +x" is that of the wall at -x.
    return Box(centre, half, [_done(t) for t in (right, left, front, back, ceiling)] + [_planks(rng)], inside=True)


def _table(rng: Rng) -> list[Box]:
    top = _cased(rng, (0.25, 0.45, 0.72), (1.3, 0.75, 0.05), (176, 128, 82), yaw=12)
    turn = top.world_from_box
    feet = [turn @ np.array([x, y, 0]) + top.centre for x in (-0.58, 0.58) for y in (-0.31, 0.31)]
    return [top, *(_cased(rng, (x, y, 0.3475), (0.06, 0.06, 0.695), (150, 104, 64), yaw=12) for x, y, _ in feet)]


def _shelf(rng: Rng) -> Box:
    size, colour = (0.95, 0.32, 1.75), (96, 66, 44)
    plain = _cased(rng, (1.75, 1.92, 0.875), size, colour)
    sides = list(plain.textures)
    sides[2] = _done(_books(rng, size[2], size[0], 5))
    return Box(plain.centre, plain.half, sides)


def _sofa(rng: Rng) -> list[Box]:
    blue = (70, 96, 120)
    return [
        _padded(rng, (-1.75, 0.75, 0.22), (0.85, 1.7, 0.44), blue),
        _padded(rng, (-2.22, 0.75, 0.44), (0.3, 1.7, 0.88), blue),
        _padded(rng, (-1.98, 0.25, 0.62), (0.14, 0.42, 0.36), (196, 150, 60), yaw=-18),
    ]


@cache
def room(seed: int = 0) -> Scene:
    """The furnished room, metres, z up, the floor at z = 0; another seed is another decoration."""
    rng = np.random.default_rng(seed)
    wall = (206, 194, 168) if seed == 0 else tuple(rng.uniform(120, 220, 3))
    parcels = [
        _parcel(rng, (1.15, -0.35, 0.2), (0.55, 0.4, 0.4), ["FRAGILE", "RM 42"], yaw=28),
        _parcel(rng, (1.18, -0.33, 0.525), (0.36, 0.3, 0.25), ["TEA 3"], yaw=-9),
        _parcel(rng, (-0.55, 1.75, 0.3), (0.6, 0.5, 0.6), ["BOOKS", "A-K"], yaw=6),
        _parcel(rng, (0.62, 0.5, 0.825), (0.22, 0.3, 0.16), ["PX 7"], yaw=40),
    ]
    book = _cased(rng, (-0.05, 0.25, 0.765), (0.3, 0.22, 0.04), (150, 44, 40), yaw=-20)
    stool = _cased(rng, (-0.75, -0.25, 0.22), (0.38, 0.38, 0.44), (196, 168, 120), yaw=-24)
    balls = [
        Ball(np.array([0.1, 0.55, 0.925]), 0.18, [_globe(rng, 0.18)]),
        Ball(np.array([0.35, -0.55, 0.14]), 0.14, [_football(0.14)]),
        Ball(np.array([-0.75, -0.25, 0.54]), 0.1, [_globe(rng, 0.1)]),
    ]
    return Scene([_walls(rng, wall), *_table(rng), _shelf(rng), *_sofa(rng), *parcels, book, stool, *balls])


def _looking(position: np.ndarray, target: np.ndarray, roll: float) -> np.ndarray:
    """world_from_camera of a camera at ``position`` that sees ``target`` in its middle, rolled by radians."""
    forward = (target - position) / np.sqrt(((target - position) ** 2).sum())
    right = np.cross(forward, [0, 0, 1])
    right /= np.sqrt((right**2).sum())
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    pose = np.eye(4)
    pose[:3, :4] = np.stack([c * right + s * down, c * down - s * right, forward, position], axis=1)
    return pose


def hand_held(count: int, seconds: float) -> CameraTrajectory:
    """A walk of about one metre to the right with a phone: smooth, with the sway of steps and hands.

    ``count`` poses over ``seconds`` (the last one a period before the end), the same at every call.
    """
    times = np.arange(count) * (seconds / count)
    walked = times / seconds
    walked = walked + 0.05 * np.sin(2 * np.pi * walked)
    sway = [
        np.sin(2 * np.pi * (rate * times + phase)) for rate, phase in ((0.9, 0.1), (1.8, 0.35), (0.6, 0.7), (2.7, 0))
    ]
    position = np.stack(
        [
            -0.75 + 1.25 * walked + 0.012 * sway[0] + 0.003 * sway[3],
            -1.72 + 0.3 * np.sin(np.pi * walked) + 0.008 * sway[2],
            1.45 + 0.02 * sway[1] + 0.06 * walked + 0.002 * sway[3],
        ],
        axis=1,
    )
    target = np.stack([0.05 + 0.25 * walked + 0.03 * sway[2], 0.9 + 0 * walked, 0.78 + 0.025 * sway[0]], axis=1)
    rolls = np.radians(1.2 * sway[2] + 0.4 * sway[3])
    poses = [_looking(*view) for view in zip(position, target, rolls, strict=True)]
    return CameraTrajectory(times, np.stack(poses))
