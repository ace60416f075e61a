"""How good the second eye is: writes docs/stereo.md. `python docs/make_stereo.py DATA WORK`.

DATA holds `middlebury_a` (pairs with measured disparity) and `videos_a`; WORK keeps what was made, so that a second run
only measures times and writes the page. Motorcycle comes with scikit-image. RECON_WEIGHTS names the folder of weights.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import cv2
import numpy as np
import skimage.data
import yaml
from commands import ROOT, WEIGHTS, Work, folders, machine, write_page

sys.path.append(str(ROOT / "tests"))
import stereo_films as films
import stereo_scenes as scenes

from recon.evaluation.stereo import (
    LEFT_TWICE,
    PREDICTED,
    REAL,
    SWAPPED,
    EyeScores,
    TruePair,
    rematch,
    scored_with_controls,
)
from recon.io.clip import look_at
from recon.io.depth import read_depth_map
from recon.io.pictures import read_picture
from recon.io.stereo.frames import FaithfulFrames
from recon.io.video import open_source
from recon.pipelines.depth import Unobserved
from recon.pipelines.stereo import by_shot, stereo_run
from recon.settings import SamplingSettings, StereoRunSettings, StoreSettings
from recon.stages.stereo import filled, paired, seen_from, sharpened, unpacked

PAGE: Final = ROOT / "docs" / "stereo.md"
ROOM: Final = ROOT / "samples" / "room"
BEATEN: Final = (23.6, 29.0, 15.1)
"""Everywhere, where both eyes see it, where only the right one does: the best other on Motorcycle, dB."""
NEWER: Final = ("Adirondack", "Motorcycle", "Piano", "Playroom", "Teddy")
SIZE: Final = (640, 360)
FRAMES: Final = 12
HALF: Final = (-0.5, 0.5)
"""Shares of the two eyes."""

Row = Sequence[str]


def table(heads: Row, rows: Sequence[Row]) -> list[str]:
    """In Markdown."""
    lines = [heads, [":--", *("--:" for _ in heads[1:])], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


# ----------------------------------------------------------------------------------------------------------- real pairs


def motorcycle() -> TruePair:
    """The pair that comes with scikit-image: Middlebury 2014, 741 x 500."""
    left, right, disparity = skimage.data.stereo_motorcycle()
    return TruePair(left, right, np.where(np.isfinite(disparity), disparity, np.nan).astype(np.float32))


def pairs(data: Path) -> Iterator[tuple[str, TruePair]]:
    """Those of Middlebury whose disparity is measured for the left eye."""
    yield "Motorcycle (741 x 500)", motorcycle()
    for name in NEWER:
        folder = data / "middlebury_a" / "trainingQ" / name
        left, right = (read_picture(folder / file) for file in ("im0.png", "im1.png"))
        yield name, TruePair(left, right, read_depth_map(folder / "disp0GT.pfm", scale=1.0, quantity="disparity"))


def right_eye(pair: TruePair) -> np.ndarray:
    """Made of the left one and the true disparity."""
    return filled(seen_from(pair.left, -scenes.completed(pair.disparity) / np.float32(pair.left.shape[1]), 1.0))


def _cells(name: str, scores: EyeScores) -> Row:
    parts = (scores.everywhere, scores.visible, scores.edges, scores.occluded)
    match = scores.rematch
    told = (f"{scores.everywhere.ssim:.3f}", f"{scores.siou:.3f}", f"{match.coverage:.2f}", f"{match.scale:.3f}")
    return [name, *(f"{part.psnr:.2f}" for part in parts), *told]


HEADS: Final = ("", "all, dB", "seen by both", "edges", "by one", "SSIM", "SIoU", "matched", "scale")


def real(data: Path) -> list[str]:
    """Real pairs, the controls of the first, and what was to be beaten."""
    rows, goals = [], ""
    for name, pair in pairs(data):
        scores = scored_with_controls(right_eye(pair), pair)
        mine = scores[PREDICTED]
        rows.append(_cells(name, mine))
        if not goals:
            rows += [_cells(f"*{control}*", scores[control]) for control in (LEFT_TWICE, SWAPPED, REAL)]
            reached = zip((mine.everywhere.psnr, mine.visible.psnr, mine.occluded.psnr), BEATEN, strict=True)
            goals = ", ".join(f"{value:.2f} (the best of the others: {asked:g})" for value, asked in reached)
    return [*table(HEADS, rows), "", f"Motorcycle everywhere, seen by both, by one: {goals}.", ""]


# ----------------------------------------------------------------------------------------------------------- exact film


def synthetic() -> list[str]:
    """Exact stereo video: a camera that stands, and one that pans; with what other frames show, and without."""
    found = {}
    for name, pan in (("camera stands", 0.0), ("camera pans", 3.5 / SIZE[0])):
        scene = scenes.scene(pan=pan)
        film = list(scenes.source(scene, FRAMES, SIZE))
        plated = [right for _left, right in paired(film, HALF)]
        alone = [filled(seen_from(*frame, 0.5)) for frame in film]
        found |= {
            name: scenes.figures(scene, 0.5, plated),
            f"{name}, each frame by itself": scenes.figures(scene, 0.5, alone),
        }
    cells = [[name, *(f"{value:.2f}" for value in each[:-1]), f"{each[-1]:.4f}"] for name, each in found.items()]
    heads = ["", *(name.replace("_", " ") for name in scenes.Figures._fields)]
    return table(heads, cells)


def steady() -> list[str]:
    """What must not change: a picture that stands, and a shot, whatever was before it."""
    pictures = [frame.rgb for frame in open_source(ROOM / "room.mp4", SamplingSettings()).frames()]
    depths = [read_depth_map(path, scale=1000.0) for path in sorted((ROOM / "depth").glob("*.png"))]
    mirrored = [each[:, ::-1] for each in pictures[-FRAMES:]], [each[:, ::-1] for each in depths[-FRAMES:]]
    with TemporaryDirectory() as folder:
        stands = films.film_of(pictures[:1] * FRAMES, depths[:1] * FRAMES, Path(folder) / "stands")
        alone = films.film_of(*mirrored, Path(folder) / "alone")
        behind = films.film_of(pictures[:FRAMES] + mirrored[0], depths[:FRAMES] + mirrored[1], Path(folder) / "behind")
        (still,), (shot,), (_before, after) = (films.eyes_of(film) for film in (stands, alone, behind))
    change, depends = max(_apart(eyes, still[0]) for eyes in still), max(map(_apart, shot, after))
    return [
        f"* samples/room, one picture {FRAMES} times: the eyes change by {change} levels of 255 at the most.",
        f"* A shot of it, alone and after another one: its {FRAMES} frames differ by {depends} levels at the most.",
    ]


def _apart(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> int:
    return max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(one, other, strict=True))


# ------------------------------------------------------------------------------------------------------ predicted depth


def looped(work: Work) -> list[str]:
    """Predicted depth of the left eye, at the strength of the true one."""
    pair, folder = motorcycle(), work.folder / "loop"
    folder.mkdir(exist_ok=True)
    picture = folder / "left.png"
    cv2.imwrite(str(picture), cv2.cvtColor(pair.left, cv2.COLOR_RGB2BGR))
    maps = folder / "depth"
    work.run("recon", "depth", picture, "-o", maps, "--no-preview", makes=maps)
    predicted = next(np.load(path)["disparity"] for path in sorted(maps.glob("*.npz")))
    known = np.isfinite(pair.disparity)
    ends = [np.percentile(values, [2, 98]) for values in (predicted[known], pair.disparity[known])]
    slope = (ends[1][1] - ends[1][0]) / (ends[0][1] - ends[0][0])
    disparity = (ends[1][0] + slope * (predicted - ends[0][0])).astype(np.float32)
    parallax = sharpened(-disparity / pair.left.shape[1], pair.left)
    scores = scored_with_controls(filled(seen_from(pair.left, parallax, 1.0)), pair)
    return table(HEADS, [_cells("predicted depth", scores[PREDICTED]), _cells("*left eye twice*", scores[LEFT_TWICE])])


# ---------------------------------------------------------------------------------------------------- the whole command

FAR: Final = ("--convergence", "0", "--strength", "5", "--front", "6", "--behind", "1", "--window", "off")
"""All of it in front of the screen: disparity of one sign, which a matcher can be asked for."""


def encoded(work: Work) -> list[str]:
    """Sign and scale, after encoding and decoding; samples/room has exact depth."""
    film = work.folder / "room.mp4"
    given = (ROOM.relative_to(ROOT) / "room.mp4", "--depth", ROOM.relative_to(ROOT) / "depth", *FAR)
    work.run("recon", "stereo3d", *given, "--eyes", "right", "--quality", "8", "-o", film, makes=film)
    shots = yaml.safe_load(film.with_name("room.mp4.yaml").read_text(encoding="utf-8"))["provenance"]["shots"]
    depths = sorted((ROOM / "depth").glob("*.png"))
    rows = []
    for number, frame in enumerate(open_source(film, SamplingSettings()).frames()):
        if number % 10:
            continue
        left, right = unpacked(frame.rgb, "full-sbs")
        shot = next(shot for shot in reversed(shots) if shot["first_frame"] <= number)
        depth = read_depth_map(depths[number], scale=1000.0)
        disparity = ((1 / depth - shot["screen"]) * shot["gain"] * left.shape[1]).astype(np.float32)
        told, swapped = rematch(left, right, disparity), rematch(right, left, disparity)
        cells = (told.coverage, swapped.coverage, told.scale)
        rows.append([f"frame {number}", *(f"{value:.3f}" for value in cells)])
    return table(["", "matched", "matched, eyes swapped", "scale"], rows)


# ----------------------------------------------------------------------------------------------------------------- time


def _least(work: Callable[[], Any], runs: int = 7) -> float:
    """Milliseconds, the least of some runs."""
    work()
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - begun))
    return min(times)


def timed() -> list[str]:
    """One eye at 1080p, beside cv2.remap, in one run."""
    picture = cv2.resize(motorcycle().left, (1920, 1080), interpolation=cv2.INTER_CUBIC)
    parallax = cv2.resize(np.nan_to_num(motorcycle().disparity, nan=8.0), (1920, 1080)) / np.float32(-741 / 0.6)
    x, y = np.meshgrid(np.arange(1920, dtype=np.float32), np.arange(1080, dtype=np.float32))
    moved = x + parallax * 960
    small = cv2.resize(parallax, (518, 291))
    seen = seen_from(picture, parallax, 0.5)
    costs = {
        "cv2.remap, linear": _least(lambda: cv2.remap(picture, moved, y, cv2.INTER_LINEAR)),
        "cv2.remap, Lanczos": _least(lambda: cv2.remap(picture, moved, y, cv2.INTER_LANCZOS4)),
        "one eye seen": _least(lambda: seen_from(picture, parallax, 0.5)),
        "its holes filled from beside": _least(lambda: filled(seen)),
        "a map of 518 x 291 brought to full resolution": _least(lambda: sharpened(small, picture)),
    }
    linear = costs["cv2.remap, linear"]
    film = [(picture, parallax)] * 8
    costs["a frame: both eyes, plate and filling"] = _least(lambda: list(paired(film, HALF)), 2) / len(film)
    return table(
        ["", "ms", "of cv2.remap"], [[name, f"{cost:.0f}", f"{cost / linear:.1f}"] for name, cost in costs.items()]
    )


# ----------------------------------------------------------------------------------------------------------- real films

CLIPS: Final[Mapping[str, float]] = {
    "dog-example.mp4": 2.0,
    "lady-running.mp4": 2.0,
    "portrait_4k60.mp4": 0.25,
    "hdr10-av1.mp4": 0.5,
    "nasa_13013.mp4": 1.0,
}
"""Films, and the seconds of them that are converted."""


def runs(work: Work) -> list[str]:
    """Real films through the whole command: for a screen, to be looked at, and what ffprobe says of them."""
    rows = []
    for name, end in CLIPS.items():
        film, stem = work.data / "videos_a" / name, work.folder / Path(name).stem
        given = ("recon", "stereo3d", film, "--end", f"{end:g}", "--store", stem.with_suffix(".recon"))
        output, told = stem.with_suffix(".mp4"), stem.with_suffix(".json")
        work.run(*given, "-o", output, makes=output)
        for layout, suffix in (("anaglyph", ".anaglyph.mp4"), ("wiggle", ".gif")):
            look = stem.with_suffix(suffix)
            work.run(*given, "--layout", layout, "-o", look, makes=look)
        streams = ("-show_streams", "-show_chapters", "-of", "json")
        work.run("ffprobe", "-v", "error", *streams, output, told_in=told)
        rows.append(_probed(name, json.loads(told.read_text(encoding="utf-8"))))
    return table(["film", "streams", "video", "3D", "colour"], rows)


def _probed(name: str, found: Mapping[str, Any]) -> Row:
    film = next(each for each in found["streams"] if each["codec_type"] == "video")
    kinds = ", ".join(f"{each['codec_type']} ({each.get('codec_name', '?')})" for each in found["streams"])
    sides = film.get("side_data_list", [])
    stereo = next((f"{side['side_data_type']}: {side['type']}" for side in sides if "type" in side), "none")
    rate = float(Fraction(film["avg_frame_rate"]))
    video = f"{film['width']} x {film['height']}, {film['pix_fmt']}, {rate:.3f} frames/s"
    colour = ", ".join(film.get(key, "-") for key in ("color_primaries", "color_transfer", "color_space"))
    return [name, kinds, video, stereo, colour]


def outside(work: Work) -> list[str]:
    """Time that a film takes without the network and the encoder: depth is there, and frames are not written."""
    rows = []
    for name, end in CLIPS.items():
        video = work.data / "videos_a" / name
        store = StoreSettings(store=(work.folder / name).with_suffix(".recon"))
        settings = StereoRunSettings(sampling=SamplingSettings(end=end), store=store)
        film = FaithfulFrames(look_at(video), 0.0, end)
        decoding = _each(lambda film=film: film)
        with stereo_run(video, work.folder / "unwritten.mp4", settings, Unobserved()) as run:
            made = _each(lambda run=run, film=film: (f for _, shot in by_shot(run, lambda _: iter(film)) for f in shot))
        look = film.look
        rows.append([name, f"{look.width} x {look.height}", f"{made:.0f}", f"{decoding:.0f}"])
    return table(["", "size", "ms for each frame", "of which decoding"], rows)


def _each(frames: Callable[[], Any]) -> float:
    """Milliseconds for each frame, after one run that nobody measures."""
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        count = sum(1 for _ in frames())
        times.append(1000 * (time.perf_counter() - begun) / count)
    return times[-1]


# ----------------------------------------------------------------------------------------------------------------- page

INTRO: Final = """# How good the second eye is

Every figure is made by `python docs/make_stereo.py DATA WORK`. PSNR is over three colours. **seen by both**: where the
left eye shows it, too; **by one**: what only the right eye sees, which nothing in the left picture tells; **matched**:
the share of true disparities that a matcher finds again between the left eye and the made one, with the right sign;
**scale**: of the disparity that it finds. The controls say what a figure is worth: a right eye that is the left one
again, swapped eyes, and the real right eye.

## Real pairs, true disparity

Where disparity is not measured, that of the farther side is taken, but for a pixel beside something nearer
(`completed` in `tests/stereo_scenes.py`).
"""
EXACT: Final = f"""## Exact film

{FRAMES} frames of {SIZE[0]} x {SIZE[1]} (`tests/stereo_scenes.py`): a slanted wall, and three things that move before
it. **clear** is what is visible and more than a pixel from an outline; **hidden** what the source picture does not
show; **flicker** the mean error of the change from frame to frame there (asked: at most 0.025; 25 dB; 47 dB).
"""
LOOP: Final = """
## Predicted depth

Depth Anything V2 Small, 518 pixels, sees Motorcycle's left eye; near and far end are those of the true disparity.
"""
COMMAND: Final = """
## Sign and scale, through the whole command

samples/room, encoded, decoded and taken apart. Asked: 0.7 matched, three times that of swapped eyes, a scale of 1 to
1 %.
"""
TIME: Final = """
## Time

1920 x 1080, two cores; the least of seven runs, in one run.
"""
OUTSIDE: Final = """
The whole command without the network and the encoder: decoding, parallax at full resolution, both eyes with what other
frames show, side by side.
"""
FILMS: Final = """
## Real films

`ffprobe` (Debian's) of what the whole command writes. Of two video tracks
(nasa_13013) the first one is converted, the other stays as it is.
"""


def main() -> None:
    """Make everything that is missing, and write the page."""
    if not WEIGHTS.is_dir():
        raise SystemExit(f"{WEIGHTS}: no weights; set RECON_WEIGHTS")
    work = Work(folders(__doc__ or ""))
    real_films = runs(work)
    parts = [INTRO, *real(work.data), EXACT, *synthetic(), "", *steady(), LOOP, *looped(work), COMMAND, *encoded(work)]
    parts += [TIME, *timed(), OUTSIDE, *outside(work), FILMS, *real_films, "", machine(), "", *work.listing]
    write_page(PAGE, parts)


if __name__ == "__main__":
    main()
