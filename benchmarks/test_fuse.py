"""Fusing two million points, beside the plain way in numpy: sort by voxel, then reduceat."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from recon.stages.fuse import CloudFuser, View

VOXEL = 0.01
MOST = 0.5
"""Part of numpy's time that fusion may take (measured: 0.28)."""


def wavy_floor(count: int) -> View:
    """Points as a camera sees them, row by row, on a surface of 4 m by 3 m."""
    side = round(np.sqrt(count / 12))
    x, y = np.meshgrid(np.linspace(0, 4, 4 * side, dtype=np.float32), np.linspace(0, 3, 3 * side, dtype=np.float32))
    points = np.stack([x, y, np.sin(x) * np.cos(y)], axis=-1).reshape(-1, 3)
    rng = np.random.default_rng(0)
    normals = np.tile(np.float32([0, 0, 1]), (len(points), 1))
    weights = rng.uniform(0.1, 1, len(points)).astype(np.float32)
    return View(points, rng.integers(0, 256, points.shape, np.uint8), normals, weights)


def sorted_and_reduced(view: View) -> np.ndarray:
    """Weighted means of position, colour and normal for each voxel."""
    voxels = np.floor(view.points / VOXEL).astype(np.int64) + (1 << 20)
    keys = voxels[:, 0] << 42 | voxels[:, 1] << 21 | voxels[:, 2]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    values = np.concatenate(
        [view.points, view.colors / np.float32(255), view.normals, np.ones((len(keys), 1), np.float32)], 1
    )
    sums = np.add.reduceat((values * view.weights[:, None])[order], starts)
    return sums[:, :9] / sums[:, 9:]


def fused(view: View) -> np.ndarray:
    fuser = CloudFuser(VOXEL)
    fuser.add(*view)
    return fuser.cloud().points


def seconds(work: Callable[[View], np.ndarray], view: View) -> float:
    """Best of three, processor time."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work(view)
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.slow
def test_fusion_is_faster_than_sorting() -> None:
    view = wavy_floor(2_000_000)
    assert len(fused(view)) == len(sorted_and_reduced(view))
    ratio = seconds(fused, view) / seconds(sorted_and_reduced, view)
    assert ratio < MOST, f"fusion takes {ratio:.2f} of the time of numpy"
