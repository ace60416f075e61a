"""The volume: frames go in as they come, a mesh comes out; memory grows with the scene alone."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float32, Int32

from recon.errors import ReconError
from recon.light import light_of_srgb
from recon.stages.surface.blocks import SIDE, VOXELS, Field, Table, kernels
from recon.stages.surface.nets import Volume, mesh_of
from recon.stages.surface.views import Camera, Scale, View, camera_of, view_of
from recon.types import DepthMap, Intrinsics, Mesh, PosedFrame
from recon.voxels import auto_voxel, cells_of

BAND = 4.0
"""Voxels from the surface within which distances are kept."""
NOISE = 0.01
"""Depths within which they are kept at least."""
MOST_BYTES = 4 << 30
"""Bytes that the volume may take, unless told otherwise."""

_SCENES = 20.0
"""Surface in a whole video, in the surface that its median picture shows (see `fitting_voxel`)."""
_LAYERS = 2.5
"""Blocks across a surface."""

_BLOCK_BYTES = VOXELS * 4 * (2 + 4) + VOXELS * 4 + 27 * 4
"""Voxels, and for the mesh the numbers of their vertices, and neighbours."""
_ENTRY_BYTES = 8 + 4 + 8 * 2 * 4 + 4 * 4
_FIRST_ENTRIES = 1 << 14
_FIRST_ROWS = 1 << 10


class SurfaceFuser:
    """Averages signed distances from the surfaces that frames show, in blocks of voxels near these surfaces.

    Near a surface a frame counts with confidence x cosine of the angle of incidence / depth^2, as the error of a
    network's depth is proportional to it; what lies before the surface is free, so that movers and flying pixels
    vanish; of what lies behind it nothing is known. Unknown depth says nothing. The order of the frames matters only
    where space was seen free before anything was seen in it, at the borders of that space.
    """

    def __init__(
        self, voxel: float, *, band: float = BAND, noise: float = NOISE, most_bytes: int = MOST_BYTES, threads: int = 2
    ) -> None:
        """Start with nothing.

        Args:
            voxel: edge of a voxel, in the units of depth.
            band: voxels from the surface within which distances are kept.
            noise: part of the depth within which they are kept at least: not below the error of depth itself.
            most_bytes: bytes that the volume may take; a scene that is too large is refused.
            threads: at work on a frame; the result is the same for any number.

        Raises:
            ValueError: a length or number that is not positive.
        """
        if not (np.isfinite(voxel) and voxel > 0):
            raise ValueError(f"a voxel has a positive size, got {voxel}")
        if not (band >= 2 and noise >= 0 and threads >= 1):
            raise ValueError(f"band must be 2 or more, noise 0 or more, threads 1 or more: {band}, {noise}, {threads}")
        self._scale = Scale(float(voxel), float(band * voxel), float(noise))
        self._most_bytes = most_bytes
        self._threads = threads
        self._used = self._full = 0
        self._table = _resized(_no_table(), 0, _FIRST_ENTRIES)
        self._field = Field(np.zeros((0, VOXELS, 2), np.float32), np.zeros((0, VOXELS, 4), np.float32))
        self._linear = light_of_srgb()

    def __len__(self) -> int:
        """Blocks with voxels."""
        return self._full

    @property
    def most_blocks(self) -> int:
        """Blocks with voxels for which there is room, beside what is known to be free."""
        return max(0, self._most_bytes - self._used * _ENTRY_BYTES) // _BLOCK_BYTES

    @property
    def nbytes(self) -> int:
        """Bytes that the volume takes now."""
        return sum(array.nbytes for array in (*self._table, *self._field))

    def add(self, frame: PosedFrame, confidence: Float32[np.ndarray, "h w"] | None = None) -> None:
        """Add what a frame shows; confidence, if given, weighs its pixels, and 0 leaves them out.

        Raises:
            ReconError: the scene is too large for the voxels.
        """
        camera = camera_of(frame)
        view = view_of(frame, camera, confidence, self._scale)
        self._allot(view, camera)
        self._explore(view, camera)
        entries = kernels().sort_out(self._table, self._used, view, camera, self._scale)
        steps = _steps(self._scale.voxel) @ camera.rotation.T
        parts = np.array_split(entries, self._threads)
        with ThreadPoolExecutor(self._threads) as pool:  # compiled code holds no lock
            list(pool.map(lambda part: self._update(part, view, camera, steps), parts))

    def mesh(self, *, least: float = 0.0) -> Mesh:
        """The surface between voxels whose weight is greater than ``least`` (1: one frontal view from depth 1)."""
        if least < 0:
            raise ValueError(f"the least weight is 0 or more, got {least}")
        blocks = np.zeros(self._full, np.int32)
        entries = np.flatnonzero(self._table.rows[: self._used] >= 0).astype(np.int32)
        blocks[self._table.rows[entries]] = entries
        around = kernels().around(self._table, self._used, self._full)
        return mesh_of(Volume(self._table, self._field, blocks, around, float(least), self._scale.voxel))

    def _allot(self, view: View, camera: Camera) -> None:
        start = 0
        while start < view.tiles.shape[1]:
            state = (start, self._used, self._full)
            start, self._used, self._full = kernels().allot(self._table, view, camera, self._scale, state)
            self._make_room(start < view.tiles.shape[1], too_far=start < 0)
        if self._full > len(self._field.distance):
            self._resize_field()

    def _explore(self, view: View, camera: Camera) -> None:
        start = 0
        while start < view.tiles.shape[1]:
            state = (start, self._used)
            start, self._used = kernels().explore(self._table, view, camera, self._scale, state)
            self._make_room(start < view.tiles.shape[1], too_far=start < 0)

    def _make_room(self, wanted: bool, *, too_far: bool) -> None:  # noqa: FBT001 - private
        if too_far or self._full > self.most_blocks:
            raise self._too_large()
        if wanted:
            self._table = _resized(self._table, self._used, 2 * len(self._table.keys))

    def _resize_field(self) -> None:
        """In place: the system moves pages, so that old and new never stand side by side."""
        rows = min(max(_FIRST_ROWS, self._full + self._full // 4), self.most_blocks)
        for array in self._field:
            array.resize((rows, *array.shape[1:]), refcheck=False)

    def _update(self, entries: Int32[np.ndarray, " e"], view: View, camera: Camera, steps: np.ndarray) -> None:
        kernels().update(self._field, self._table, entries, view, camera, self._scale, steps, self._linear)

    def _too_large(self) -> ReconError:
        blocks = cells_of(self._table.keys[: self._used])
        extent = (np.ptp(blocks, axis=0) + 1) * SIDE * self._scale.voxel
        need = self._full * _BLOCK_BYTES + self._used * _ENTRY_BYTES
        size = " x ".join(f"{length:.3g}" for length in extent)
        return ReconError(
            f"a scene of {size} at voxels of {self._scale.voxel:g} needs more than {self._full * VOXELS:,} voxels, "
            f"{need / 1e9:.2f} GB of the {self._most_bytes / 1e9:.2f} GB allowed: choose a larger --voxel or a nearer "
            f"--max-depth"
        )


def surface(
    frames: Iterable[PosedFrame],
    voxel: float,
    *,
    band: float = BAND,
    noise: float = NOISE,
    most_bytes: int = MOST_BYTES,
    threads: int = 2,
) -> Mesh:
    """One mesh from the frames of one segment (see `SurfaceFuser`).

    Raises:
        ValueError: the frames belong to several segments, which share no world.
        ReconError: the scene is too large for the voxels.
    """
    fuser = SurfaceFuser(voxel, band=band, noise=noise, most_bytes=most_bytes, threads=threads)
    segments = set[int]()
    for frame in frames:
        segments.add(frame.segment)
        if len(segments) > 1:
            raise ValueError(f"segments {sorted(segments)} share no world: fuse them apart")
        fuser.add(frame)
    return fuser.mesh()


def fitting_voxel(depth: DepthMap, intrinsics: Intrinsics, *, most_bytes: int = MOST_BYTES) -> float:
    """A voxel that suits pictures like this one, and for which there is likely to be room.

    That of clouds (`auto_voxel`), or so coarse that 20 times the surface which the picture shows fits: a video of a
    room shows 5 to 10 times as much as one of its pictures.

    Raises:
        ReconError: no depth is known.
    """
    known = depth[np.isfinite(depth) & (depth > 0)].astype(np.float64)
    if not known.size:
        raise ReconError("no depth is known: nothing can be placed in space")
    area = _SCENES * float(np.square(known).sum()) / (intrinsics.fx * intrinsics.fy)
    fitting = np.sqrt(area * _LAYERS * _BLOCK_BYTES / most_bytes) / SIDE
    return max(auto_voxel(float(np.median(known)), intrinsics), float(fitting))


def _steps(voxel: float) -> np.ndarray:
    """Middles of the voxels of a block, from its corner, in the order of `Field`."""
    return (np.stack(np.unravel_index(np.arange(VOXELS), (SIDE, SIDE, SIDE)), axis=-1) + 0.5) * voxel


def _no_table() -> Table:
    return Table(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 8, 2), np.float32))


def _resized(table: Table, used: int, entries: int) -> Table:
    """The same blocks in a table with room for so many, a power of two."""
    slots, keys = np.full(2 * entries, -1, np.int32), np.zeros(entries, np.int64)
    larger = Table(slots, keys, np.full(entries, -1, np.int32), np.zeros((entries, 8, 2), np.float32))
    for new, old in zip(larger[1:], table[1:], strict=True):
        new[:used] = old[:used]
    kernels().fill_slots(slots, keys, used)
    return larger


__all__ = ["BAND", "MOST_BYTES", "NOISE", "SurfaceFuser", "fitting_voxel", "surface"]
