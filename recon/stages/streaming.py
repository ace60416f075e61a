"""Frames to disparity one by one: the map of a frame is there before the next frame is looked at.

The network follows the frames with a memory that does not grow (``StreamingNetwork.follow``). There are no windows, so
nothing is stitched, and nothing corrects a scale that wanders: it is less accurate than ``recon.stages.disparity``, and
for those who cannot wait. The network begins anew with every shot.

``followed`` gives single maps, for somebody who watches. ``stream`` gives the same maps in chunks with checkpoints, for
a store.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from typing import Generic

from recon.models import Features, Memory, StreamingNetwork
from recon.streams import batched
from recon.types import Checkpoint, Chunk, DepthEstimate, ShotFrame

CHUNK = 64
"""Frames in a chunk: a compromise. After each chunk the memory goes to the disk: 500 MB for Small at 518 x 924, which
takes 2 s where the frames took 6 minutes (one core). Shorter chunks write more; longer ones hold more maps, and more is
lost of a run that is killed."""


def followed(
    frames: Iterable[ShotFrame], network: StreamingNetwork[Features, Memory], *, compat: bool = False
) -> Iterator[DepthEstimate]:
    """The map of each frame, in order, before the next one is asked for.

    Args:
        frames: the frames of a shot follow each other.
        network: one that can stream.
        compat: maps are as large as the pictures, as in the published code, and not as the network's input.
    """
    for shot, members in groupby(frames, key=lambda member: member.shot):
        yield from map(_Shot(network, Checkpoint(shot, 0, {}), compat=compat).estimate, members)


def stream(
    frames: Iterable[ShotFrame],
    network: StreamingNetwork[Features, Memory],
    *,
    compat: bool = False,
    resume: Checkpoint | None = None,
) -> Iterator[Chunk]:
    """The maps of ``followed`` in chunks of 64 frames of one shot; the last chunk of a shot may be shorter.

    Args:
        frames: the frames of a shot follow each other, and the numbers of shots grow.
        network: one that can stream.
        compat: maps are as large as the pictures, as in the published code, and not as the network's input.
        resume: the checkpoint of the last chunk that was kept. ``frames`` still begin at the beginning; what was done
            is skipped, and all chunks that follow have the same bits as in a run that was never interrupted.

    Raises:
        ValueError: the frames end before ``resume``.
    """
    for shot, members in groupby(frames, key=lambda member: member.shot):
        if resume is not None and shot < resume.shot:
            continue
        begun = resume is not None and shot == resume.shot
        run = _Shot(network, resume if begun and resume is not None else Checkpoint(shot, 0, {}), compat=compat)
        resume = None  # its arrays are large, and the run has what it needs of them
        yield from run.chunks(members)


class _Shot(Generic[Features, Memory]):
    """Follows the frames of one shot from a checkpoint on."""

    def __init__(self, network: StreamingNetwork[Features, Memory], start: Checkpoint, *, compat: bool) -> None:
        self._network, self._compat = network, compat
        self._shot, self._window = start.shot, start.window
        self._memory = network.restored(start.arrays) if start.window else None

    def chunks(self, members: Iterator[ShotFrame]) -> Iterator[Chunk]:
        """The chunks that are not done yet."""
        done = CHUNK * self._window
        if (skipped := sum(1 for _ in islice(members, done))) < done:
            raise ValueError(f"shot {self._shot} has {skipped} frames, too few to go on at window {self._window}")
        for estimates in batched(map(self.estimate, members), CHUNK):
            self._window += 1
            yield Chunk(estimates, self._checkpoint(ended=len(estimates) < CHUNK))

    def estimate(self, member: ShotFrame) -> DepthEstimate:
        """The map of the next frame."""
        frame = member.frame
        height, width = frame.rgb.shape[:2]
        size = (height, width) if self._compat else self._network.output_size(height, width)
        (features,) = self._network.encode([frame.rgb])
        values, self._memory = self._network.follow(features, self._memory, size)
        return DepthEstimate(frame.index, frame.time, member.shot, values)

    def _checkpoint(self, *, ended: bool) -> Checkpoint:
        if ended or self._memory is None:
            return Checkpoint(self._shot + 1, 0, {})
        return Checkpoint(self._shot, self._window, self._network.saved(self._memory))
