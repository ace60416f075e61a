"""What a benchmark knows: clips of pictures with their true depth, and their cameras where it knows them.

Nothing is read until it is asked for: a clip is a list of paths and two functions.
"""

import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recon.errors import VideoError
from recon.evaluation.protocol import EvaluationProtocol
from recon.io.source import SourceInfo, fingerprint
from recon.types import DepthMap, Frame, Intrinsics, Picture, RigidTransform


@dataclass(frozen=True, slots=True)
class TruthFrame:
    """One picture of a benchmark."""

    name: str
    """Of the picture, without folder and ending: what predictions made elsewhere are matched by."""
    time: float
    """Seconds from the start of the clip; strictly increasing."""
    picture: Path
    depth: Path | None
    """Where its true depth stands; None where the benchmark knows none: the network sees the frame, no score does."""


@dataclass(frozen=True, slots=True)
class TruthCamera:
    """Calibration and pose of one picture, as it is after cropping."""

    intrinsics: Intrinsics
    world_from_camera: RigidTransform


@dataclass(frozen=True, slots=True)
class TruthClip:
    """Frames of one camera, one after the other; or, where ``one_gauge`` is False, pictures with nothing in common."""

    name: str
    """Of the clip in its data set; letters, digits, dots, dashes and underscores, for it becomes part of file names."""
    frames: tuple[TruthFrame, ...]
    read_picture: Callable[[Path], Picture]
    """Decodes ``TruthFrame.picture``, cropped as the protocol says."""
    read_depth: Callable[[Path], DepthMap]
    """Decodes ``TruthFrame.depth``: metres, NaN = unknown, cropped like the picture; maybe of another size."""
    cameras: Mapping[int, TruthCamera]
    """By number of the frame; frames without a pose have none. Intrinsics are for the size of the true depth maps."""
    max_depth: float
    """Metres; what is farther does not count, and predictions are cut there."""
    one_gauge: bool = True
    """Whether all frames share one scale and shift, as a video's do; else each picture has its own."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What its scores depend on: the true maps by name and size, and how they are compared."""
        listing = [(frame.depth.name, frame.depth.stat().st_size) if frame.depth else None for frame in self.frames]
        return {
            "depth maps": hashlib.sha256(repr(listing).encode()).hexdigest(),
            "max depth": f"{self.max_depth:g}",
            "cameras": str(len(self.cameras)),
            "one gauge": str(self.one_gauge),
        }

    @property
    def scored(self) -> Sequence[int]:
        """Numbers of the frames with true depth."""
        return [number for number, frame in enumerate(self.frames) if frame.depth is not None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How the files of a data set are to be read."""

    protocol: EvaluationProtocol
    depth_scale: float = 1000.0
    """Numbers of a 16-bit PNG for one metre, where the layout does not say (``folder``)."""
    max_depth: float = 80.0
    """Metres beyond which depth does not count, where the layout does not say (``folder``)."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """A benchmark: a layout of files, and a choice of frames."""

    name: str
    """What it is called on the command line, with the length of its clips where there are several: ``kitti-110``."""
    about: str
    """One sentence: what it shows, which frames are taken, and who says so."""
    layout: str
    """The folders and files below its root, in one line."""
    clips: Callable[[Path, Reading], Sequence[TruthClip]]
    """Looks through the folders below a root; decodes nothing. FormatError where they are not laid out like this."""


@dataclass(frozen=True, slots=True)
class ClipSource:
    """The pictures of a clip as a ``recon.io.source.Source``."""

    clip: TruthClip

    @property
    def info(self) -> SourceInfo:
        """Reads the first picture for its size."""
        first, frames = self.clip.frames[0], self.clip.frames
        height, width = self.clip.read_picture(first.picture).shape[:2]
        duration = frames[-1].time - frames[0].time
        rate = (len(frames) - 1) / duration if duration else None
        return SourceInfo(
            path=first.picture.parent,
            kind="pictures",
            width=width,
            height=height,
            rate=rate,
            duration=duration,
            frame_count=len(frames),
            fov_x=None,
            notes=(),
        )

    @property
    def identity(self) -> dict[str, str]:
        """Names and sizes of all pictures, content of the first and the last, and what cropping made of the first."""
        paths = [frame.picture for frame in self.clip.frames]
        listing = "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)
        return {
            "kind": "clip",
            "clip": self.clip.name,
            "names": hashlib.sha256(listing.encode()).hexdigest(),
            "first": fingerprint(paths[0]),
            "last": fingerprint(paths[-1]),
            "decoded": hashlib.sha256(self.clip.read_picture(paths[0]).tobytes()).hexdigest(),
        }

    @property
    def times_by_name(self) -> Mapping[str, float]:
        """Name of each frame -> seconds."""
        return {frame.name: frame.time for frame in self.clip.frames}

    def frames(self) -> Generator[Frame]:
        """Decode one picture after the other.

        Raises:
            VideoError: a picture cannot be read.
        """
        for index, frame in enumerate(self.clip.frames):
            yield Frame(index, frame.time, self.clip.read_picture(frame.picture))

    def picture(self, time: float) -> Picture:
        """The first picture at or after a time in seconds.

        Raises:
            VideoError: there is none.
        """
        for frame in self.clip.frames:
            if frame.time >= time:
                return self.clip.read_picture(frame.picture)
        raise VideoError(f"{self.clip.name}: no picture at or after {time:g} s")
