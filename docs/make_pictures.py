"""Make the README's pictures from the sample: `python docs/make_pictures.py`. They show what recon really writes."""

import subprocess
import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from recon.io.depth import DepthFolder
from recon.io.preview import colorize, robust_range
from recon.io.video import open_source
from recon.settings import SamplingSettings
from recon.types import Picture

ROOT = Path(__file__).parents[1]
ROOM = ROOT / "samples" / "room"
PICTURES = ROOT / "docs" / "pictures"
FRAME = 30


def main() -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    write(
        PICTURES / "frame.jpg",
        next(islice(open_source(ROOM / "room.mp4", SamplingSettings()).frames(), FRAME, None)).rgb,
    )
    depth = DepthFolder(ROOM / "depth", scale=1000.0)[FRAME]
    far, near = robust_range([1 / depth])
    write(PICTURES / "depth.jpg", colorize(1 / depth, far, near))
    with TemporaryDirectory() as folder:
        cloud = Path(folder) / "room.ply"
        given = [
            "--depth",
            ROOM / "depth",
            "--trajectory",
            ROOM / "trajectory.tum",
            "--intrinsics",
            ROOM / "intrinsics.json",
        ]
        run("-m", "recon_cli", "pointcloud", ROOM / "room.mp4", *given, "--voxel", "0.008", "-q", "-o", cloud)
        rendered = Path(folder) / "room.png"
        run(ROOT / "docs" / "render_cloud.py", cloud, rendered, "--azimuth", "12", "--elevation", "22", "--radius", "2")
        write(PICTURES / "cloud.jpg", cv2.cvtColor(cv2.imdecode(np.fromfile(rendered, np.uint8), 1), cv2.COLOR_BGR2RGB))


def run(*arguments: str | Path) -> None:
    """Run Python with these arguments."""
    subprocess.run([sys.executable, *map(str, arguments)], check=True)  # noqa: S603 - our own commands


def write(path: Path, rgb: Picture) -> None:
    """A JPEG of good quality."""
    path.write_bytes(
        cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    )


if __name__ == "__main__":
    main()
