"""The picture-maker for documents shows clouds the right way round, the nearest point first."""

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from recon.io.cloud import write_ply
from recon.types import PointCloud

SCRIPT = Path(__file__).parents[1] / "docs" / "render_cloud.py"
RED, GREEN, BLUE = (220, 20, 20), (20, 200, 20), (20, 20, 220)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("render_cloud", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blob(centre: tuple[float, float, float], color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (3000, 3)) + centre
    return points.astype(np.float32), np.tile(np.array(color, np.uint8), (3000, 1))


def picture(script: ModuleType, folder: Path, blobs: list, *words: str) -> np.ndarray:
    points, colors = (np.concatenate(parts) for parts in zip(*blobs, strict=True))
    write_ply(folder / "a.ply", PointCloud(points, colors, np.zeros_like(points)), [])
    script.main([str(folder / "a.ply"), str(folder / "a.png"), "--width", "160", "--height", "120", *words])
    return cv2.imdecode(np.fromfile(folder / "a.png", np.uint8), cv2.IMREAD_COLOR_RGB)


def middle(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """Mean (x, y) of what has a colour, from 0 to 1."""
    y, x = np.nonzero((np.abs(image.astype(int) - color) < 40).all(axis=-1))
    return np.array([x.mean() / image.shape[1], y.mean() / image.shape[0]])


@pytest.mark.parametrize(
    ("up", "right", "above"),
    [("z", (1, 0, 0), (0, 0, 1)), ("y", (1, 0, 0), (0, 1, 0)), ("-y", (1, 0, 0), (0, -1, 0))],
)
def test_up_is_up_and_nothing_is_mirrored(
    script: ModuleType, tmp_path: Path, up: str, right: tuple, above: tuple
) -> None:
    blobs = [blob((0, 0, 0), RED), blob(right, GREEN), blob(above, BLUE)]
    image = picture(script, tmp_path, blobs, f"--up={up}", "--elevation", "0")
    red, green, blue = (middle(image, color) for color in (RED, GREEN, BLUE))
    assert green[0] > red[0] + 0.2
    assert blue[1] < red[1] - 0.2
    assert abs(green[1] - red[1]) < 0.05
    assert abs(blue[0] - red[0]) < 0.05


def test_the_nearest_wins_and_azimuth_walks_around(script: ModuleType, tmp_path: Path) -> None:
    blobs = [blob((0, -0.5, 0), RED), blob((0, 0.5, 0), BLUE)]
    front = picture(script, tmp_path, blobs, "--elevation", "0")
    back = picture(script, tmp_path, blobs, "--elevation", "0", "--azimuth", "180")
    assert front[60, 80, 0] > 150 > front[60, 80, 2]
    assert back[60, 80, 2] > 150 > back[60, 80, 0]


def test_everything_is_seen_on_a_light_ground(script: ModuleType, tmp_path: Path) -> None:
    image = picture(script, tmp_path, [blob((5, 3, 1), RED), blob((15, 3, 1), BLUE)])
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    assert (border > 230).mean() > 0.95
    red, blue = middle(image, RED), middle(image, BLUE)
    assert red[0] < 0.2
    assert blue[0] > 0.8
