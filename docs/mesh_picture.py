"""Meshes side by side, coloured by how far they are from a true one.

    python docs/mesh_picture.py true.ply picture.jpg mesh.ply other.ply --up=-y

The true one comes first, in its own colours. Dark blue lies on it, dark red is 10 cm or more away. All are seen from
the same place, which suits the true one.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from render_cloud import AXES, SUPERSAMPLING, framed, splat, view_from_world
from scipy.spatial import cKDTree

from recon.errors import ReconError
from recon.io.cloud import read_ply
from recon.types import PointCloud

WORST: Final = 0.1
"""Metres."""
QUALITY: Final = 88
RADIUS: Final = 2
"""Of a splat, half pixels."""


def colored(cloud: PointCloud, true: PointCloud) -> np.ndarray:
    """Colours (n, 3), RGB, of the distance to the nearest vertex of the true mesh."""
    distance = cKDTree(true.points).query(cloud.points, distance_upper_bound=WORST)[0].clip(max=WORST)
    levels = np.rint(255 * distance / WORST).astype(np.uint8)
    colors: np.ndarray = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    return colors


def side_by_side(true: PointCloud, others: list[PointCloud], given: argparse.Namespace) -> np.ndarray:
    """The picture: the true one and the others, in two columns."""
    rotation = view_from_world(given.up, given.azimuth, given.elevation).T
    width, height = given.width * SUPERSAMPLING, given.height * SUPERSAMPLING
    turned = true.points.astype(np.float64) @ rotation
    moved, focal = framed(turned, width, height, zoom=given.zoom)
    offset = (moved - turned)[0]
    shown = [(true.points, true.colors), *((cloud.points, colored(cloud, true)) for cloud in others)]
    views = [splat(points @ rotation + offset, colors, focal, (height, width), RADIUS) for points, colors in shown]
    small = [cv2.resize(view, (given.width, given.height), interpolation=cv2.INTER_AREA) for view in views]
    small += [np.full_like(small[0], 255)] * (len(small) % 2)
    return np.vstack([np.hstack(small[row : row + 2]) for row in range(0, len(small), 2)])


def main() -> None:
    """Read the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("true", type=Path)
    parser.add_argument("picture", type=Path, help="JPEG file to write")
    parser.add_argument("meshes", type=Path, nargs="+")
    parser.add_argument("--up", choices=sorted(AXES), default="z", help="axis that points up")
    parser.add_argument("--azimuth", type=float, default=0.0, help="degrees to the right of the axis ahead")
    parser.add_argument("--elevation", type=float, default=25.0, help="degrees above the horizon")
    parser.add_argument("--zoom", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=640, help="of each")
    parser.add_argument("--height", type=int, default=440)
    given = parser.parse_args()
    try:
        true, *others = [read_ply(path) for path in (given.true, *given.meshes)]
    except ReconError as error:
        raise SystemExit(str(error)) from error
    picture = side_by_side(true, others, given)[..., ::-1]
    given.picture.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


if __name__ == "__main__":
    main()
