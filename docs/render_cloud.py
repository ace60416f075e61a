"""Draw a point cloud as a picture: the eye for every cloud, and the maker of the README's pictures.

    python docs/render_cloud.py cloud.ply cloud.png
    python docs/render_cloud.py cloud.ply cloud.png --up=-y --azimuth 160 --elevation 20

Points are splatted in perspective, the nearest wins (a z-buffer in numpy), framed so that all but the farthest stray
points are seen, on a light ground.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from recon.io.cloud import read_ply

GROUND = (246, 246, 244)
SUPERSAMPLING = 2
FIELD_OF_VIEW = 40.0
"""Vertical, degrees."""
KEPT = 0.5
"""Percent of the points at either end of each axis that framing ignores."""
AXES = {
    "x": ((1, 0, 0), (0, 1, 0)),
    "-x": ((-1, 0, 0), (0, 1, 0)),
    "y": ((0, 1, 0), (0, 0, -1)),
    "-y": ((0, -1, 0), (0, 0, 1)),
    "z": ((0, 0, 1), (0, 1, 0)),
    "-z": ((0, 0, -1), (0, 1, 0)),
}
"""What is up, and where azimuth 0 looks."""


def view_from_world(up: str, azimuth: float, elevation: float) -> np.ndarray:
    """Rotation (3, 3) to a camera (x right, y down, z forward) turned by azimuth to the right and looking down."""
    above, ahead = (np.array(axis, float) for axis in AXES[up])
    a, e = np.radians([azimuth, elevation])
    level = np.cos(a) * ahead + np.sin(a) * np.cross(ahead, above)
    forward = np.cos(e) * level - np.sin(e) * above
    right = np.cross(forward, above) if abs(elevation) < 89.9 else np.cross(level, above)
    right /= np.sqrt((right**2).sum())
    return np.stack([right, np.cross(forward, right), forward])


def framed(points: np.ndarray, width: int, height: int, *, zoom: float) -> tuple[np.ndarray, float]:
    """Points (n, 3) moved in front of the camera so that they fill the picture, and the focal length in pixels."""
    focal = height / 2 / np.tan(np.radians(FIELD_OF_VIEW) / 2)
    sample = points[:: max(len(points) // 200_000, 1)]
    low, high = np.percentile(sample, [KEPT, 100 - KEPT], axis=0)
    inside = sample[((sample >= low) & (sample <= high)).all(axis=1)]
    moved = points - (low + high) / 2
    x, y, z = (inside - (low + high) / 2).T
    # Each point stays in the picture if the camera is at least this far behind it.
    distance = max((np.abs(x) * 2 * focal / width - z).max(), (np.abs(y) * 2 * focal / height - z).max())
    moved[:, 2] += distance * 1.04
    return moved, focal * zoom


def splat(points: np.ndarray, colors: np.ndarray, focal: float, size: tuple[int, int], radius: int) -> np.ndarray:
    """The picture (h, w, 3) of points in the camera's frame; each covers (2 radius + 1)^2 pixels, the nearest wins."""
    height, width = size
    in_front = points[:, 2] > 1e-6
    points, colors = points[in_front], colors[in_front]
    z = points[:, 2].astype(np.float32)
    column = np.floor(points[:, 0] / z * focal + width / 2).astype(np.int64) + radius
    row = np.floor(points[:, 1] / z * focal + height / 2).astype(np.int64) + radius
    wide = width + 2 * radius
    seen = np.flatnonzero((column >= 0) & (column < wide) & (row >= 0) & (row < height + 2 * radius))
    order = seen[np.argsort(-z[seen], kind="stable")]
    # Later assignments win: far first, near last.
    at = row[order] * wide + column[order]
    nearest = np.full((height + 2 * radius) * wide, -1, np.int64)
    nearest[at] = order
    return _grown(nearest.reshape(-1, wide), z, colors, radius)


def _grown(nearest: np.ndarray, z: np.ndarray, colors: np.ndarray, radius: int) -> np.ndarray:
    """Colours of the nearest of the points in each window; ``nearest`` has a margin of the radius."""
    depth = np.append(z, np.inf)[nearest]
    height, width = nearest.shape[0] - 2 * radius, nearest.shape[1] - 2 * radius
    best, chosen = np.full((height, width), np.inf, np.float32), np.full((height, width), -1, np.int64)
    for y in range(2 * radius + 1):
        for x in range(2 * radius + 1):
            window = (slice(y, y + height), slice(x, x + width))
            nearer = depth[window] < best
            best[nearer], chosen[nearer] = depth[window][nearer], nearest[window][nearer]
    return np.concatenate([colors, [GROUND]]).astype(np.uint8)[chosen]


def drawn(points: np.ndarray, colors: np.ndarray, options: argparse.Namespace) -> np.ndarray:
    """The picture (h, w, 3) of a cloud."""
    finite = np.isfinite(points).all(axis=1)
    turned = points[finite].astype(np.float64) @ view_from_world(options.up, options.azimuth, options.elevation).T
    width, height = options.width * SUPERSAMPLING, options.height * SUPERSAMPLING
    moved, focal = framed(turned, width, height, zoom=options.zoom)
    fine = splat(moved, colors[finite], focal, (height, width), options.radius)
    return cv2.resize(fine, (options.width, options.height), interpolation=cv2.INTER_AREA)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cloud", type=Path, help="PLY file")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    parser.add_argument("--up", choices=sorted(AXES), default="z", help="axis that points up (default z)")
    parser.add_argument("--azimuth", type=float, default=0.0, help="degrees to the right of the axis ahead")
    parser.add_argument("--elevation", type=float, default=25.0, help="degrees above the horizon")
    parser.add_argument("--zoom", type=float, default=1.0, help="magnification (default 1: all is seen)")
    parser.add_argument("--radius", type=int, default=1, help="of a splat, in half pixels (default 1)")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=800)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    """Draw a cloud."""
    options = arguments(words)
    cloud = read_ply(options.cloud)
    if not len(cloud):
        raise SystemExit(f"{options.cloud}: holds no points")
    picture = drawn(cloud.points, cloud.colors, options)
    options.picture.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


if __name__ == "__main__":
    main()
