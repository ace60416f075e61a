"""Every figure of docs/poses.md: runs the commands that stand there, and writes the page from what they say.

    python docs/make_poses.py DATA WORK

DATA holds the samples of the data sets as folders (their names are below), RECON_WEIGHTS names the folder of weights.
WORK is for maps, paths and clouds: a second call goes on where the first one stopped. Needs open3d and pycolmap.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import Final

import numpy as np
from commands import ROOT, Work, folders, machine, write_page

from recon.errors import TrajectoryError
from recon.evaluation.trajectory import absolute_error, relative_error
from recon.io.trajectory import read_trajectory
from recon.types import CameraTrajectory

PAGE: Final = ROOT / "docs" / "poses.md"

NETWORK: Final = ("--model", "depth-anything-v2-s", "--input-size", "280")
TRACKED: Final = "recon"
MAPPED: Final = "recon --poses colmap"
MOST_MS: Final = 60
"""Milliseconds a frame that tracking may take beyond the network."""
ENOUGH: Final = 0.9
"""A method that places a smaller part of the frames in one world is no competitor: it was given the easy ones."""
WRONG: Final = 0.05
"""ATE as a part of the path's length from which a path counts as wrong."""
MOST_LAYERS: Final = 1.3
"""How much farther a cloud with estimated poses may lie from the sensor's than one with given poses."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A film, and what is known of it. Paths are below DATA, or of this repository."""

    name: str
    title: str
    pictures: str
    rate: float
    """Pictures for each second."""
    data_set: str = ""
    """That `recon eval` knows, if any."""
    camera: str = ""
    truth: str = ""
    sensor: str = ""
    """Folder of maps, where no data set knows them."""
    jump: int = 0
    """First frame after a jump of the given poses; 0 where they do not jump."""

    @property
    def short(self) -> str:
        """For a line of a table."""
        return self.title.split(":")[0]


KITCHEN: Final = Clip(
    "7scenes_redkitchen_a",
    "7-Scenes, RedKitchen: 150 frames of a hand-held Kinect, 5 s",
    "frames/*.color.jpg",
    30.0,
    "7scenes",
    jump=122,
)
OFFICE: Final = Clip(
    "hololens_dvmvs_a",
    "HoloLens: 45 frames of an office kitchen, 8 cm and 4 degrees from one to the next",
    "images/*.png",
    5.0,
    "hololens",
)
HOSPITAL: Final = Clip(
    "tartanair_hospital_a",
    "TartanAir, hospital: 80 rendered frames, wide angle, agile, walls without texture",
    "image_left/*.jpg",
    30.0,
    "tartanair",
)
STREET: Final = Clip(
    "kitti_odometry_a",
    "KITTI odometry: 28 grey frames of a straight drive, no depth of any sensor",
    "image_l/*.png",
    10.0,
    camera="calib.txt",
    truth="poses.txt",
)
ROOM: Final = Clip(
    "room",
    "samples/room: 60 rendered frames of a hand-held walk, exact depth",
    "room.mp4",
    20.0,
    camera="intrinsics.json",
    truth="trajectory.tum",
    sensor="depth",
)
CLIPS: Final = (KITCHEN, OFFICE, HOSPITAL, STREET, ROOM)


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one clip."""

    method: str
    depth: str
    """Where its depth comes from: network, sensor, or none."""
    metric: bool
    """Whether its lengths claim to be metres."""
    ours: bool
    ate: float
    """Of the longest run of frames, after a similarity; metres."""
    rigid: float
    """The same, after a rigid motion."""
    scale: float
    """How much too long its lengths are, as a part."""
    step: float
    """RPE from frame to frame after the similarity's scale, metres."""
    turn: float
    """The same, degrees."""
    placed: int
    """Frames in the longest run."""
    frames: int
    segments: int
    ms: float
    """For each frame, beyond any network."""
    said: tuple[str, ...]
    """What it said by itself of what went wrong."""
    length: float
    """Of the true path, metres."""
    apart: float = nan
    """ATE beside the path of COLMAP's global mapper instead of the true one, metres."""

    @property
    def enough(self) -> bool:
        """Whether it placed most of the film in one world."""
        return self.placed >= ENOUGH * self.frames

    @property
    def failed(self) -> bool:
        """Whether frames are missing from its world, or its path is wrong."""
        return self.placed < self.frames or not self.ate <= WRONG * self.length

    @property
    def told(self) -> str:
        """Who this is."""
        return self.method if self.depth == "none" else f"{self.method}, {self.depth} depth"


COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("method", lambda row: f"**{row.method}**" if row.ours else row.method),
    ("depth", lambda row: row.depth),
    ("ATE, mm", lambda row: _figure(1000 * row.ate)),
    ("rigid, mm", lambda row: _figure(1000 * row.rigid) if row.metric else "-"),
    ("scale", lambda row: f"{100 * row.scale:+.1f} %" if row.metric and isfinite(row.scale) else "-"),
    ("RPE, mm", lambda row: _figure(1000 * row.step)),
    ("RPE, °", lambda row: _figure(row.turn)),
    ("to global, mm", lambda row: _figure(1000 * row.apart)),
    ("frames", lambda row: f"{row.placed}/{row.frames}"),
    ("worlds", lambda row: str(row.segments)),
    ("ms", lambda row: _figure(row.ms)),
    ("failed", lambda row: ("said" if row.said else "**unsaid**") if row.failed else "no"),
)

HEAD: Final = """# Camera poses

Every figure here was measured by one command, `python docs/make_poses.py DATA WORK`, which runs the commands below and
writes this page. Nothing is copied from a paper or remembered. The samples are small parts of data sets (they are not
in this repository, but for the room).

{machine} Two cores.

*Network* depth is that of Depth Anything V2 Small, 280 pixels, brought to metres by the sensor's map of the first frame
alone: a network for single pictures, whose scale and shift change from picture to picture. Its file is not the
official one: one of its 239 tensors was lost and has been estimated anew. The street has no depth of any sensor: its
maps have no unit. *Sensor* depth is the data set's own, *exact* where it was rendered. Without depth, pictures alone
speak, and lengths are arbitrary. Every method is given the same calibration and the same frames.

* **ATE**: how far cameras are from where they truly were (root of the mean square), after the path has been turned,
  moved and scaled to fit best. **rigid**: the same without the scale: what a cloud in metres gets.
  **scale**: how much too long the path is.
* **RPE**: error of the motion from one frame to the next, after that one scale.
* **to global**: ATE beside the path of COLMAP's global mapper, in true lengths. Poses of a data set were measured, too:
  where paths of different methods are far nearer to each other than to the truth, it is the truth that is off, and ATE
  does not tell those methods apart.
* **frames**: in the longest run that shares a world, of all; the figures to the left are of these. **worlds**: how many
  such runs there are.
* **ms**: wall time for each frame beyond decoding and any network for depth: tracking and bundle adjustment, or
  odometry, or features, matching and mapping. The machine did other work while the other methods ran: their times are
  upper bounds.
* **failed**: frames are missing, or ATE is more than a twentieth of the length of the path; and whether the method
  itself said something.

7-Scenes gives the poses of its depth camera, and colour is not registered to it. The pictures are the colour camera's:
its path is the depth camera's, displaced by 25 mm, and the sensor's maps are carried into it, with the calibration that
[evaluation.md](evaluation.md) tells of (our own estimate). An error of that calibration is in every row alike, and
nobody's path can be better than it.
"""

LAYERS_HEAD: Final = """## Layers of a fused cloud

The kitchen, all frames with the network's depth, fused with the poses that are given and with ours (found with the
network's depth and with the sensor's). Distances are to the nearest point of the cloud that is made of the sensor's
depth and the given poses. Our paths are turned and moved to fit the given one best, and not scaled. Most of what the
given poses leave is the network's depth, which drifts away from its only anchored frame.
"""
JUMP: Final = """### Before the given poses jump

From frame {before} to frame {after} the given camera moves by {given:.0f} mm, and the paths that were found here by
{median:.0f} mm (their median): the truth is wrong there, and every ATE above holds that error. Here are the motion of
each path in that step (scaled as above), and its ATE over the {after} frames before it, fitted to them alone.
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run says of itself."""

    seconds: float
    """That it took, beyond decoding and any network for depth."""
    frames: int
    """That it was asked to place."""
    segments: tuple[int, ...]
    """Frames in each world of their own."""
    said: tuple[str, ...]
    """Of what went wrong."""


@dataclass(frozen=True, slots=True)
class Method:
    """What found a path of a clip."""

    name: str
    depth: str
    """Where its depth comes from: network, sensor, or none."""
    path: Path
    facts: Facts

    @property
    def told(self) -> str:
        """For a line of a table."""
        return self.name if self.depth == "none" else f"{self.name}, {self.depth} depth"


class Paths(Work):
    """Methods, and the clips on which they are scored."""

    def video(self, clip: Clip) -> tuple[str | Path, ...]:
        """The film and the pace of its pictures."""
        film = self.root(clip) / clip.pictures
        return (film,) if clip is ROOM else (film, "--picture-rate", f"{clip.rate:g}")

    def root(self, clip: Clip) -> Path:
        """Where its files are."""
        return Path("samples/room") if clip is ROOM else self.data / clip.name

    def known(self, clip: Clip) -> tuple[Path, Path]:
        """The true path and the camera."""
        if not clip.data_set:
            return self.root(clip) / clip.truth, self.root(clip) / clip.camera
        folder = self.folder / "true" / clip.name
        given = (clip.data_set, self.root(clip), folder, "--picture-rate", f"{clip.rate:g}")
        self.run("python", "docs/true_poses.py", *given, makes=folder)
        return folder / "path.txt", folder / "camera.json"

    def sensor(self, clip: Clip, every: float = 0) -> Path | None:
        """Maps of the sensor, of all frames or of some."""
        if clip.sensor:
            return self.root(clip) / clip.sensor
        if not clip.data_set:
            return None
        folder = self.folder / "true" / f"{clip.name}-{every:g}"
        options = ("--every", f"{every:g}")
        self.run("python", "docs/true_depth.py", clip.data_set, self.root(clip), folder, *options, makes=folder)
        return folder

    def network(self, clip: Clip) -> Path:
        """Maps of the network, in metres by the first frame's depth where a sensor knows it."""
        maps = self.folder / "maps" / f"{clip.name}-first-frame"
        how = ("--resolution", "network", "--no-preview")
        self.run("recon", "depth", *self.video(clip), *self.lengths(clip), *how, "-o", maps, makes=maps)
        return maps

    def lengths(self, clip: Clip) -> tuple[str | Path, ...]:
        """Options of the network, and of what makes its depth metric."""
        some = self.sensor(clip, 1)
        metres = ("--anchor", "none") if some is None else ("--first-frame-depth", self._first(some))
        return (*NETWORK, *metres, "--store", self.folder / "stores" / clip.name)

    @staticmethod
    def _first(maps: Path) -> Path:
        return maps / min(path.name for path in (ROOT / maps).iterdir())

    def methods(self, clip: Clip) -> list[Method]:
        """Every method on a clip."""
        sensor = self.sensor(clip)
        maps = {"network": self.network(clip)}
        maps |= {} if sensor is None else {"sensor": sensor}
        ours = [self.ours(clip, depth, folder) for depth, folder in maps.items()]
        ours.append(self.ours(clip, "network", maps["network"], MAPPED))
        peers = [self.open3d(clip, method, *each) for each in maps.items() for method in OPEN3D]
        return [*ours, *peers, *self.colmap(clip)]

    def ours(self, clip: Clip, depth: str, maps: Path, name: str = TRACKED) -> Method:
        """What a user types; and the estimator alone with the same maps, for its time and its warnings."""
        path = self.path(clip, name, depth)
        given = self.lengths(clip) if depth == "network" else ("--depth", maps)
        camera, how = ("--intrinsics", self.known(clip)[1]), name.split()[1:]
        self.run("recon", "poses", *self.video(clip), *given, *camera, *how, "-o", path, makes=path)
        alone = path.with_name(f"{path.stem}-alone.txt")
        self._peer(clip, "recon_path.py", alone, (*_maps(clip, maps), *how), makes=alone.with_suffix(".json"))
        return Method(name, depth, path, _of_run(path, alone.with_suffix(".json")))

    def open3d(self, clip: Clip, method: str, depth: str, maps: Path) -> Method:
        """Open3D's odometry."""
        farthest = () if clip is not STREET else ("--max-depth", "1000")
        options = (*_maps(clip, maps), "--method", method, *farthest)
        return self._method(clip, f"Open3D, {method}", depth, "open3d_odometry.py", options)

    def colmap(self, clip: Clip) -> list[Method]:
        """Both mappers of COLMAP, from pictures alone."""
        folder = self.folder / "paths" / f"{clip.name}-colmap"
        self._peer(clip, "colmap_path.py", folder, (), makes=folder / "global.json")
        return [_of_peer(f"COLMAP, {mapper}", "none", folder / f"{mapper}.txt") for mapper in COLMAP]

    def _method(self, clip: Clip, name: str, depth: str, script: str, options: Sequence[str | Path]) -> Method:
        path = self.path(clip, name, depth)
        self._peer(clip, script, path, options, makes=path.with_suffix(".json"))
        return _of_peer(name, depth, path)

    def path(self, clip: Clip, method: str, depth: str) -> Path:
        """Where a path is written."""
        return self.folder / "paths" / f"{clip.name}-{re.sub('[ ,-]+', '-', method)}-{depth}.txt"

    def _peer(self, clip: Clip, script: str, output: Path, options: Sequence[str | Path], makes: Path) -> None:
        _true, camera = self.known(clip)
        film, *pace = self.video(clip)
        output.parent.mkdir(exist_ok=True)
        given = (film, output, *options, "--intrinsics", camera, *pace)
        self.run("python", f"docs/peers/{script}", *given, makes=makes)

    def rows(self, clip: Clip, methods: Sequence[Method]) -> list[Row]:
        """Their paths, scored."""
        true = read_trajectory(ROOT / self.known(clip)[0], times_by_name={}, rate=clip.rate)
        found = [scored(clip, method, true) for method in methods]
        judge = self.folder / "paths" / f"{clip.name}-colmap" / "global.txt"
        if not judge.exists():
            return found
        metres = 1 / (1 + _errors(judge, true, 1 / clip.rate)[2])
        other = read_trajectory(judge, times_by_name={}, rate=None)
        apart = [metres * _errors(method.path, other, 1 / clip.rate)[0] for method in methods]
        return [replace(row, apart=far) for row, far in zip(found, apart, strict=True)]

    def before_jump(self, clip: Clip, methods: Sequence[Method]) -> tuple[float, list[tuple[Method, float, float]]]:
        """The jump of the given poses; and of each path its motion there, and its ATE before it; metres."""
        true = read_trajectory(ROOT / self.known(clip)[0], times_by_name={}, rate=clip.rate)
        before = CameraTrajectory(true.times[: clip.jump], true.world_from_camera[: clip.jump])
        ends = true.times[[clip.jump - 1, clip.jump]]
        found = []
        for method in methods:
            mine = read_trajectory(method.path, times_by_name={}, rate=None)
            scale = absolute_error(mine, true).true_from_estimated.scale
            found.append((method, scale * _moved(mine, ends), absolute_error(mine, before).position.rmse))
        return _moved(true, ends), found

    def layers(self, clip: Clip) -> list[tuple[str, float]]:
        """How far nine tenths of a cloud lie from the sensor's at most, metres: with given poses, with ours."""
        true, _camera = self.known(clip)
        paths = {"given": true} | {f"recon, {depth} depth": self.laid(clip, depth, true) for depth in DEPTHS}
        sensor = self.cloud(clip, "sensor", self.sensor(clip) or Path(), true)
        found = []
        for name, path in paths.items():
            cloud = self.cloud(clip, f"network-{name}", self.network(clip), path)
            told = cloud.with_suffix(".txt")
            self.run("python", "docs/cloud_distance.py", cloud, sensor, told_in=told)
            found.append((name, within(told.read_text(encoding="utf-8"), "90%")))
        return found

    def laid(self, clip: Clip, depth: str, true: Path) -> Path:
        """Our path, in the world of the given poses."""
        laid = self.folder / "clouds" / f"{clip.name}-recon-{depth}.txt"
        laid.parent.mkdir(exist_ok=True)
        self.run("python", "docs/align_path.py", self.path(clip, TRACKED, depth), true, laid, makes=laid)
        return laid

    def cloud(self, clip: Clip, name: str, maps: Path, path: Path) -> Path:
        """A cloud of maps and poses that are there."""
        cloud = self.folder / "clouds" / f"{clip.name}-{name}.ply".replace(", ", "-").replace(" ", "-")
        cloud.parent.mkdir(exist_ok=True)
        given = ("--depth", maps, "--trajectory", path, "--intrinsics", self.known(clip)[1])
        self.run("recon", "pointcloud", *self.video(clip), *given, "-o", cloud, makes=cloud)
        return cloud


DEPTHS: Final = ("network", "sensor")
ROUNDING: Final = 1e-3
"""Seconds."""
OPEN3D: Final = ("intensity", "hybrid", "point-to-plane")
COLMAP: Final = ("incremental", "global")


def _maps(clip: Clip, maps: Path) -> tuple[str | Path, ...]:
    """What to call maps of a folder for a script; those of the street have no metres."""
    return ("--depth", maps, *(("--depth-kind", "disparity") if clip is STREET else ()))


def _of_peer(name: str, depth: str, path: Path) -> Method:
    """What a script of docs/peers wrote."""
    known = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    facts = Facts(known["seconds"], known["frames"], tuple(known["segments"]), tuple(known["said"]))
    return Method(name, depth, path, facts)


def _of_run(path: Path, alone: Path) -> Facts:
    """What `recon poses` says; the time, and what the tracker says on the way, is of the tracker alone."""
    report = json.loads(path.with_name(f"{path.name}.report.json").read_text(encoding="utf-8"))
    tracker = json.loads(alone.read_text(encoding="utf-8"))
    left_out = [f"{report['without_pose']} frames have no pose"] if report["without_pose"] else []
    segments = tuple(found["frames"] for found in report["paths"])
    return Facts(tracker["seconds"], report["frames"], segments, (*left_out, *tracker["said"]))


def scored(clip: Clip, method: Method, true: CameraTrajectory) -> Row:
    """A path beside the true one."""
    facts = method.facts
    return Row(
        method.name,
        method.depth,
        method.depth != "none" and clip is not STREET,
        method.name.startswith("recon"),
        *_errors(method.path, true, 1 / clip.rate),
        max(facts.segments, default=0),
        facts.frames,
        len(facts.segments),
        1000 * facts.seconds / facts.frames,
        facts.said,
        float(np.linalg.norm(np.diff(true.world_from_camera[:, :3, 3], axis=0), axis=1).sum()),
    )


def _moved(path: CameraTrajectory, times: np.ndarray) -> float:
    """How far the camera moves between two times at which it has poses; unknown where it has none."""
    rows = np.searchsorted(path.times, times - ROUNDING)
    if rows[-1] >= len(path.times) or not np.allclose(path.times[rows], times, atol=ROUNDING):
        return nan
    first, last = path.world_from_camera[rows, :3, 3]
    return float(np.linalg.norm(last - first))


def _errors(path: Path, true: CameraTrajectory, period: float) -> tuple[float, float, float, float, float]:
    """ATE after a similarity and after a rigid motion, error of the scale, RPE in metres and degrees."""
    try:
        mine = read_trajectory(path, times_by_name={}, rate=None)
        scaled, rigid = (absolute_error(mine, true, alignment=kind) for kind in ("similarity", "rigid"))
        step = relative_error(mine, true, distance=period, alignment="similarity")
    except TrajectoryError:
        return inf, inf, nan, inf, inf
    scale = 1 / scaled.true_from_estimated.scale - 1
    return scaled.position.rmse, rigid.position.rmse, scale, step.translation.rmse, step.rotation.rmse


def within(told: str, share: str) -> float:
    """The distance within which a share of the points lies, of what docs/cloud_distance.py prints."""
    return next(float(line.split()[-1]) for line in told.splitlines() if line.startswith(share))


def jump_table(clip: Clip, given: float, found: Sequence[tuple[Method, float, float]]) -> list[str]:
    """In Markdown."""
    median = float(np.nanmedian([step for _method, step, _ate in found]))
    head = JUMP.format(before=clip.jump - 1, after=clip.jump, given=1000 * given, median=1000 * median)
    rows = [f"| {method.told} | {_figure(1000 * step)} | {_figure(1000 * ate)} |" for method, step, ate in found]
    return [head, "| method | that step, mm | ATE before it, mm |", "| :-- | --: | --: |", *rows]


def layers_table(found: Sequence[tuple[str, float]]) -> list[str]:
    """In Markdown; the first are the given poses."""
    given = found[0][1]
    rows = [f"| {name} | {_figure(1000 * far)} | {far / given:.2f} |" for name, far in found]
    return ["| poses | nine tenths within, mm | by given poses |", "| :-- | --: | --: |", *rows]


def _figure(value: float) -> str:
    """Three digits."""
    if not isfinite(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2}f}"


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown, with what each method said."""
    heads = [name for name, _cell in COLUMNS]
    cells = [heads, [":--", ":--", *("--:" for _ in heads[2:])], *([cell(row) for _, cell in COLUMNS] for row in rows)]
    said = [f"* *{row.told}*: {'; '.join(row.said)}." for row in rows if row.said]
    return [*(f"| {' | '.join(line)} |" for line in cells), *([""] if said else []), *said]


Claim = tuple[str, str, bool]
LAYERS: Final = f"kitchen: the cloud with our poses lies at most {MOST_LAYERS:g} times as far from the sensor's"


def claims(clips: Mapping[Clip, Sequence[Row]], layers: Sequence[tuple[str, float]]) -> list[Claim]:
    """What must come out, and whether it did."""
    found = [claim for clip, rows in clips.items() for claim in _accuracy(clip, rows)]
    ours = [(f"{clip.short}, {row.told}", row) for clip, rows in clips.items() for row in rows if row.ours]
    name, slowest = max((each for each in ours if each[1].method == TRACKED), key=lambda each: each[1].ms)
    unsaid = [name for name, row in ours if row.failed and not row.said]
    (_given, far), (_ours, farther), *_ = layers
    return [
        *found,
        (f"at most {MOST_MS} ms a frame beyond the network", f"{slowest.ms:.0f} ms ({name})", slowest.ms <= MOST_MS),
        ("no failure of ours that is not said", "; ".join(unsaid) or "none", not unsaid),
        (LAYERS, f"{farther / far:.2f} times", farther <= MOST_LAYERS * far),
    ]


def claims_table(found: Sequence[Claim]) -> list[str]:
    """In Markdown."""
    rows = [f"| {claim} | {figure} | {'yes' if holds else '**no**'} |" for claim, figure, holds in found]
    return ["| what must come out | came out | holds |", "| :-- | --: | --: |", *rows]


def _accuracy(clip: Clip, rows: Sequence[Row]) -> list[Claim]:
    """With a network's depth, at least as accurate as whatever else is there: without a sensor, and with one."""
    others = [row for row in rows if not row.ours and row.enough and isfinite(row.ate)]
    blind = [row for row in others if row.depth in {"network", "none"}]
    mine = [row for row in rows if row.ours and row.depth == "network"]
    told = f"{clip.short}: ATE of {{}} with network depth not above the best of others, {{}}"
    return [
        *(_not_above(told.format(row.method, "no sensor"), row, blind) for row in mine),
        *(_not_above(told.format(row.method, "sensors too"), row, others) for row in mine if others != blind),
    ]


def _not_above(claim: str, mine: Row, others: Sequence[Row]) -> Claim:
    best = min(others, key=lambda row: row.ate, default=None)
    told = f"{_figure(1000 * mine.ate)} mm"
    if best is None:
        return claim, f"{told}; nobody else placed nine tenths of the frames", mine.enough
    return claim, f"{told}; {best.told} {_figure(1000 * best.ate)} mm", mine.enough and mine.ate <= best.ate


def main() -> None:
    """Run everything and write the page."""
    work = Paths(folders(__doc__ or ""))
    methods = {clip: work.methods(clip) for clip in CLIPS}
    clips = {clip: work.rows(clip, found) for clip, found in methods.items()}
    layers = work.layers(KITCHEN)
    lines = [HEAD.format(machine=machine()), "## What must come out", "", *claims_table(claims(clips, layers))]
    for clip, rows in clips.items():
        lines += ["", f"## {clip.title}", "", *table(rows)]
        lines += ["", *jump_table(clip, *work.before_jump(clip, methods[clip]))] if clip.jump else []
    lines += ["", LAYERS_HEAD, *layers_table(layers)]
    write_page(PAGE, [*lines, "", *work.listing])


if __name__ == "__main__":
    main()
