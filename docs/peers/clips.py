"""The clips of a data set as other programs take them: exactly the frames that `recon eval` scores, cropped alike.

    python docs/peers/clips.py kitti-110 ~/data/kitti clips/

writes, for every clip, clips/CLIP/NAME.png (the pictures, named as in the data set) and clips/CLIP.mp4 (the same, in
order; H.264 without loss, in RGB, 30 frames for each second). Give the one or the other to a program, collect its
depth in a folder, and score that with `recon eval ... --predictions`.
"""

import argparse
from pathlib import Path

import av
import cv2

from recon.errors import ReconError
from recon.evaluation.datasets import data_set
from recon.evaluation.protocol import PROTOCOLS
from recon.evaluation.truth import ClipSource, Reading, TruthClip
from recon.files import whole_file
from recon.types import Picture

RATE = 30


def write_clip(clip: TruthClip, output: Path) -> None:
    """One clip, as pictures and, if they belong together, as a film."""
    folder = output / clip.name
    folder.mkdir(parents=True, exist_ok=True)
    for frame, known in zip(ClipSource(clip).frames(), clip.frames, strict=True):
        write_png(folder / f"{known.name}.png", frame.rgb)
    if clip.one_gauge:
        write_film(ClipSource(clip), output / f"{clip.name}.mp4")


def write_film(source: ClipSource, path: Path) -> None:
    """The frames in order, losslessly."""
    with whole_file(path) as partial, av.open(partial, "w", format="mp4") as film:
        stream = film.add_stream("libx264rgb", rate=RATE, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = source.info.width, source.info.height, "rgb24"
        for frame in source.frames():
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")))
        film.mux(stream.encode())


def write_png(path: Path, picture: Picture) -> None:
    """A picture, losslessly."""
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    path.write_bytes(content.tobytes())


def main() -> None:
    """Read the command line and write every clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data_set", help="a name that `recon eval` lists")
    parser.add_argument("root", type=Path, help="its root folder")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--protocol", choices=sorted(PROTOCOLS), default="corrected", help="that it is scored by later")
    given = parser.parse_args()
    try:
        for clip in data_set(given.data_set).clips(given.root, Reading(PROTOCOLS[given.protocol])):
            write_clip(clip, given.output)
            print(f"{given.output / clip.name}: {len(clip.frames)} frames")
    except ReconError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
