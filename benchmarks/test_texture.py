"""Textures: the time of cutting a mesh into charts, beside that of one piece; and of a frame."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from recon.stages.texture import textured, unwrapped
from recon.types import Frame, Intrinsics, Mesh, PosedFrame

TRIANGLES = 40_000
MOST = 0.4
"""Part of the processor time of one piece that cutting may take (measured: 0.13 to 0.16)."""
PER_TEXEL = 300e-9
"""Seconds for each texel that a frame sees, both times (measured: 116 ns)."""


def rough(triangles: int) -> Mesh:
    """Hills of 4 m by 4 m with the noise of a sensor."""
    side = round(np.sqrt(triangles / 2)) + 1
    rng = np.random.default_rng(0)
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-2, 2, side), np.linspace(-2, 2, side)))
    z = 3 + 0.3 * np.sin(3 * x) * np.cos(2 * y) + rng.normal(0, 1 / side, len(x))
    a = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).ravel()
    corners = np.stack([a, a + side, a + 1, a + 1, a + side, a + side + 1], axis=1).reshape(-1, 3).astype(np.int32)
    colors = rng.integers(60, 200, (len(x), 3)).astype(np.uint8)
    return Mesh(np.stack([x, y, z], axis=1).astype(np.float32), corners, colors, np.zeros((len(x), 3), np.float32))


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.slow
def test_parts_are_cut_faster_than_one_piece() -> None:
    import xatlas  # noqa: PLC0415

    mesh = rough(TRIANGLES)
    ratio = seconds(lambda: unwrapped(mesh, 2048)) / seconds(
        lambda: xatlas.parametrize(mesh.vertices, mesh.triangles.astype(np.uint32))
    )
    assert ratio < MOST, f"parts take {ratio:.2f} of the time of one piece"


@pytest.mark.slow
def test_a_frame_is_baked_in_time() -> None:
    mesh, size = rough(5_000), 1024
    camera = Intrinsics.from_fov(65.0, 640, 480)
    rgb = np.random.default_rng(0).integers(60, 200, (480, 640, 3)).astype(np.uint8)
    depth = np.full((480, 640), np.nan, np.float32)

    def frames(count: int) -> Iterator[PosedFrame]:
        for i in range(count):
            yield PosedFrame(Frame(i, i / 30, rgb), depth, camera, np.eye(4), 0)

    textured(mesh, lambda: frames(1), size)
    few, many = (seconds(lambda count=count: textured(mesh, lambda: frames(count), size)) for count in (2, 12))
    each = (many - few) / 10 / size**2
    assert each < PER_TEXEL, f"a frame takes {1e9 * each:.0f} ns for each texel"
