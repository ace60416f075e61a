"""What streaming keeps of the frames before.

As the published streaming does (github.com/DepthAnything/Video-Depth-Anything, commit 4f5ae23, video_depth_stream.py),
frame n looks at 32 frames, in this order: frame 0; frame n - 41; frames n - 29 to n - 1; itself. For frames before the
first one, frame 0 stands in. Frame 0 itself looks at nothing but itself. What is looked at is what each temporal
attention was given of those frames, back when they were the newest: nothing is computed again.
"""

from dataclasses import dataclass

from torch import Tensor

LATEST = 29
"""Frames that the newest one looks back at without a gap."""
KEY_DISTANCE = 41
"""How far before the newest one that other frame lies: where a key frame of the offline windows lies at most."""

Trace = tuple[tuple[Tensor, ...], ...]
"""Of one frame, for each temporal module, the input (s, 1, c) of each of its attentions, without its position."""


@dataclass(frozen=True, slots=True)
class Memory:
    """The traces that a later frame may look at. One memory shares them with the next; none is changed in place."""

    frames: tuple[Trace, ...] = ()
    """Frame 0 and the newest 41, in order."""

    @property
    def attended(self) -> tuple[Trace, ...]:
        """The 31 traces that the next frame looks at, in order; none at the start."""
        count = len(self.frames)
        wanted = (0, count - KEY_DISTANCE, *range(count - LATEST, count)) if count else ()
        return tuple(self.frames[max(0, number)] for number in wanted)

    def followed_by(self, trace: Trace) -> "Memory":
        """The memory after one more frame."""
        full = len(self.frames) > KEY_DISTANCE
        kept = (self.frames[0], *self.frames[2:]) if full else self.frames
        return Memory((*kept, trace))
