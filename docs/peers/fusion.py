"""A mesh of maps and poses that are there, by plain Open3D code or by recon's volume: the same frames, the same clock.

    python docs/peers/fusion.py room.mp4 mesh.ply --by open3d --depth depth/ --trajectory path.txt --intrinsics K.json

`recon mesh` finds depth and poses as well, and cleans depth before it fuses. Here maps are fused as they are. Beside
the mesh stands a JSON: wall and processor time for each frame (decoding and reading left out), those of the mesh, the
bytes of the voxels that are in use, and the most memory that the process ever held.

Open3D's is the volume of its tutorial (open3d.org/docs/latest/tutorial/t_reconstruction_system/integration.html):
blocks of 16^3 voxels with colour, all else by default: distances are kept within 8 voxels. Surfaces are kept that one
frame saw; by default there they are those that more than three did (`--seen 3`).
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from paths import MILLIMETRES, add_depth, arguments, opened, with_depth

from recon.errors import FormatError, ReconError
from recon.files import whole_file
from recon.geometry import inverse
from recon.io.trajectory import read_trajectory
from recon.types import PosedFrame

BLOCKS: Final = 2_000
"""That Open3D has room for at first: as many as a room of 1 cm needs, and 160 MB of memory."""
BLOCK_SIDE: Final = 16
BLOCK_BYTES: Final = BLOCK_SIDE**3 * 4 * (1 + 1 + 3)
"""Distance, weight and colour."""
WARM_UP: Final = 2
"""Frames that are fused before the clock starts: what is imported and compiled at its first use."""
ROUNDING: Final = 1e-3
"""Seconds by which times of poses may be off."""
MEGABYTE: Final = 1e6

Triangles = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Vertices (n, 3), triangles (m, 3), colours (n, 3) of 8 bits."""


class Fuser(Protocol):
    """Takes frames, gives a mesh."""

    def adding(self, frame: PosedFrame) -> Callable[[], None]:
        """What adds a frame: only that is timed, and not how the frame gets into the types that a program takes."""

    @property
    def nbytes(self) -> int:
        """Of voxels that are in use."""

    def triangles(self) -> Triangles:
        """The surface of all."""


class Ours:
    """recon's volume."""

    def __init__(self, given: argparse.Namespace) -> None:
        from recon.stages.surface import SurfaceFuser  # noqa: PLC0415 - the other program does not pay for it

        self._fuser = SurfaceFuser(given.voxel, threads=given.threads)

    def adding(self, frame: PosedFrame) -> Callable[[], None]:
        """One more frame."""
        return lambda: self._fuser.add(frame)

    @property
    def nbytes(self) -> int:
        """Of voxels, and of what is known to be free."""
        return self._fuser.nbytes

    def triangles(self) -> Triangles:
        """The surface of all."""
        mesh = self._fuser.mesh()
        return mesh.vertices, mesh.triangles, mesh.colors


class Open3D:
    """Open3D's hashed volume."""

    def __init__(self, given: argparse.Namespace) -> None:
        os.environ["OMP_NUM_THREADS"] = str(given.threads)  # read when the library is loaded
        import open3d  # noqa: PLC0415 - the other program does not pay for it

        self._o3d: Any = open3d
        kinds = (open3d.core.float32,) * 3
        self._far, self._seen = given.max_depth, given.seen
        self._grid = open3d.t.geometry.VoxelBlockGrid(
            ("tsdf", "weight", "color"), kinds, (1, 1, 3), given.voxel, block_resolution=BLOCK_SIDE, block_count=BLOCKS
        )

    def adding(self, frame: PosedFrame) -> Callable[[], None]:
        """One more frame, in whole millimetres."""
        tensor, image = self._o3d.core.Tensor, self._o3d.t.geometry.Image
        # The volume takes the pixel in which a point falls: its pixels are counted from the corner, as ours are.
        lens, camera_from_world = tensor(frame.intrinsics.matrix), tensor(inverse(frame.world_from_camera))
        depth = image(tensor(np.rint(np.nan_to_num(frame.depth, nan=0.0) * MILLIMETRES).astype(np.uint16)[..., None]))
        rgb, limits = image(tensor(np.array(frame.frame.rgb))), (MILLIMETRES, self._far)

        def add() -> None:
            seen = self._grid.compute_unique_block_coordinates(depth, lens, camera_from_world, *limits)
            self._grid.integrate(seen, depth, rgb, lens, lens, camera_from_world, *limits)

        return add

    @property
    def nbytes(self) -> int:
        """Of the blocks in use, of all that there is room for."""
        return int(self._grid.hashmap().size()) * BLOCK_BYTES

    def triangles(self) -> Triangles:
        """The surface of all."""
        mesh = self._grid.extract_triangle_mesh(self._seen)
        colors = np.clip(np.rint(mesh.vertex.colors.numpy() * 255), 0, 255).astype(np.uint8)
        return mesh.vertex.positions.numpy(), mesh.triangle.indices.numpy(), colors


FUSERS: Final[dict[str, Callable[[argparse.Namespace], Fuser]]] = {"recon": Ours, "open3d": Open3D}


@dataclass(frozen=True, slots=True)
class Cost:
    """What stands beside a mesh."""

    frames: int
    wall_ms: float
    """For each frame."""
    cpu_ms: float
    """The same, of all threads together."""
    mesh_s: float
    """Wall time of the mesh, at the end."""
    mesh_cpu_s: float
    volume_mb: float
    """Of voxels that are in use."""
    peak_mb: float
    """Most memory that the process held, up to the mesh."""
    triangles: int


class Clock:
    """Wall and processor time of parts."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def __call__(self, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the work gives
        """Do it, and add its time."""
        wall, cpu = time.perf_counter(), time.process_time()
        done = work()
        self.wall, self.cpu = self.wall + time.perf_counter() - wall, self.cpu + time.process_time() - cpu
        return done


def posed_frames(given: argparse.Namespace) -> Iterator[PosedFrame]:
    """The frames, with their maps in the size of the pictures, and their poses."""
    source, intrinsics = opened(given)
    path = read_trajectory(given.trajectory, times_by_name={}, rate=None)
    for frame, depth in islice(with_depth(source, given), given.skip, None, given.step):
        row = int(np.abs(path.times - frame.time).argmin())
        if abs(path.times[row] - frame.time) > ROUNDING:
            raise FormatError(f"{given.trajectory}: has no pose for frame {frame.index} ({frame.time:.3f} s)")
        height, width = frame.rgb.shape[:2]
        values = cv2.resize(depth, (width, height), interpolation=cv2.INTER_NEAREST)
        far = np.where(values <= given.max_depth, values, np.float32(np.nan))
        yield PosedFrame(frame, far, intrinsics, np.array(path.world_from_camera[row]), 0)


def fused(given: argparse.Namespace) -> tuple[Triangles, Cost]:
    """The mesh, and what it took."""
    make = FUSERS[given.by]
    warm = make(given)
    for frame in islice(posed_frames(given), WARM_UP):
        warm.adding(frame)()
    warm.triangles()
    del warm
    fuser, adding, meshing, count = make(given), Clock(), Clock(), 0
    for frame in posed_frames(given):
        adding(fuser.adding(frame))
        count += 1
    mesh = meshing(fuser.triangles)
    each = 1000 / count
    times = (each * adding.wall, each * adding.cpu, meshing.wall, meshing.cpu)
    return mesh, Cost(count, *times, fuser.nbytes / MEGABYTE, _peak_mb(), len(mesh[1]))


def _peak_mb() -> float:
    """Linux counts it in KiB, macOS in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def main() -> None:
    """Read the command line and write the mesh."""
    parser = arguments(__doc__)
    add_depth(parser)
    parser.add_argument("--by", choices=FUSERS, required=True)
    parser.add_argument("--trajectory", type=Path, required=True, help="poses, TUM")
    parser.add_argument("--voxel", type=float, default=0.01, help="edge, metres")
    parser.add_argument("--max-depth", type=float, default=10.0, help="what is farther is left out")
    parser.add_argument("--step", type=int, default=1, help="take every so many frames")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many frames first")
    parser.add_argument("--seen", type=float, default=0.0, help="more frames than this saw a surface (Open3D's alone)")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    cv2.setNumThreads(given.threads)
    try:
        mesh, cost = fused(given)
        write_triangles(given.output, mesh)
    except ReconError as error:
        raise SystemExit(str(error)) from error
    with whole_file(given.output.with_suffix(".json")) as partial:
        partial.write_text(json.dumps(asdict(cost), indent=1) + "\n", encoding="utf-8")
    print(f"{given.output}: {cost.triangles} triangles, {cost.cpu_ms:.1f} ms a frame, {cost.peak_mb:.0f} MB")


def write_triangles(path: Path, mesh: Triangles) -> None:
    """As PLY."""
    import trimesh  # noqa: PLC0415 - after memory has been measured

    vertices, triangles, colors = mesh
    made = trimesh.Trimesh(vertices, triangles, vertex_colors=colors, process=False)
    with whole_file(path) as partial:
        partial.write_bytes(made.export(file_type="ply"))


if __name__ == "__main__":
    main()
