"""Films of a few pictures, without loss, and their eyes as `recon stereo3d` makes them before it encodes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from recon.io.clip import look_at
from recon.io.stereo.frames import FaithfulFrames
from recon.pipelines.depth import Unobserved
from recon.pipelines.stereo import Warp, by_shot, stereo_run
from recon.settings import DepthSettings, StereoRunSettings
from recon.stages.stereo import seen_from
from recon.types import Samples

Eyes = tuple[Samples, ...]


def film_of(
    pictures: Sequence[UInt8[np.ndarray, "h w 3"]], depths: Sequence[Float32[np.ndarray, "h w"]], folder: Path
) -> Path:
    """A film of pictures, 20 in a second, and its depth (metres, to a millimetre) in the folder beside it."""
    maps = folder / "depth"
    maps.mkdir(parents=True)
    for number, depth in enumerate(depths):
        cv2.imwrite(str(maps / f"{number:06d}.png"), np.rint(depth * 1000).astype(np.uint16))
    path = folder / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=20)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return path


def eyes_of(film: Path, warp: Warp = seen_from) -> list[list[Eyes]]:
    """The pictures that the command would encode, shot by shot."""
    settings = StereoRunSettings(depth=DepthSettings(depth=film.parent / "depth"))
    with stereo_run(film, film.with_suffix(".3d.mkv"), settings, Unobserved()) as run:
        frames = by_shot(replace(run, warp=warp), lambda start: iter(FaithfulFrames(look_at(film), start)))
        return [[made.pictures for made in shot] for _span, shot in frames]
