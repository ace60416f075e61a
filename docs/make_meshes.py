"""Every figure of docs/meshes.md: runs the commands that stand there, and writes the page from what they say.

    python docs/make_meshes.py DATA WORK

DATA holds the samples of the data sets as folders (their names are below), RECON_WEIGHTS names the folder of weights.
WORK is for maps, paths and meshes: a second call goes on where the first one stopped. Times are measured in a step of
their own: remove WORK/times to measure them again, on a machine that does nothing else. Needs open3d and pycolmap.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commands import ROOT, Work, folders, machine, write_page
from mesh_distance import FARTHEST

PAGE: Final = ROOT / "docs" / "meshes.md"

NETWORK: Final = ("--model", "depth-anything-v2-s", "--input-size", "280")
SHAPE: Final = ("--texture", "0", "--up", "camera")
"""No picture, and the world of the poses."""
LEAST_F: Final = 0.9
"""F at 2 cm, with the sensor's depth and the given poses."""
THREADS: Final = (1, 2)
GIVEN: Final = "given"
TRACKED: Final = "recon"
MAPPED: Final = "recon --poses colmap"


SINGLE: Final = (("recon", 1), ("open3d", 1))
PROGRAMS: Final = {"recon": "**recon**", "open3d": "Open3D"}


@dataclass(frozen=True, slots=True)
class Clip:
    """A film. Paths are below DATA."""

    name: str
    title: str
    pictures: str
    data_set: str
    """That `recon eval` knows."""
    sensor: str
    """What its depth is."""
    farthest: float
    """Of the reference, metres."""
    picture: str
    """Below docs/pictures."""
    voxel: str
    """Of meshes of a network's depth, metres; of all others 1 cm."""
    runs: int
    """Of which the least time counts."""
    sparse: str = ""
    """A model of structure from motion below its folder; made by `recon poses` where there is none that is right."""

    @property
    def short(self) -> str:
        """For a line of a table."""
        return self.title.split(":")[0]


KITCHEN: Final = Clip(
    "7scenes_redkitchen_a",
    "7-Scenes, RedKitchen: 150 frames of a hand-held Kinect, 5 s",
    "frames/*.color.jpg",
    "7scenes",
    "sensor",
    10.0,
    "meshes-kitchen.jpg",
    "0.01",
    3,
    "sfm_colmap_bin",
)
HOSPITAL: Final = Clip(
    "tartanair_hospital_a",
    "TartanAir, hospital: 80 rendered frames, wide angle, agile, walls without texture",
    "image_left/*.jpg",
    "tartanair",
    "exact",
    10.0,
    "meshes-hospital.jpg",
    "0.02",
    1,
)
CLIPS: Final = (KITCHEN, HOSPITAL)


@dataclass(frozen=True, slots=True)
class Near:
    """What agrees within a distance."""

    precision: float
    recall: float
    f: float


@dataclass(frozen=True, slots=True)
class Row:
    """One mesh beside the reference."""

    depth: str
    """Of what, and how it got its metres."""
    poses: str
    near: Near
    """Within 2 cm."""
    wide: Near
    """Within 5 cm."""
    accuracy: float
    """Median distance to the reference, metres."""
    completeness: float
    """The same from the reference."""
    triangles: int
    trust: str
    """Whether its lengths can be trusted, as the run says; nothing for what is no run."""


@dataclass(frozen=True, slots=True)
class Timed:
    """What fusion took, the least of some runs."""

    program: str
    threads: int
    wall: float
    """Milliseconds a frame."""
    cpu: float
    mesh: float
    """Seconds, wall."""
    volume: float
    """Megabytes of voxels in use."""
    peak: float
    """Megabytes."""


COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("depth", lambda row: row.depth),
    ("poses", lambda row: row.poses),
    ("P 2 cm", lambda row: f"{row.near.precision:.3f}"),
    ("R 2 cm", lambda row: f"{row.near.recall:.3f}"),
    ("**F 2 cm**", lambda row: f"**{row.near.f:.3f}**"),
    ("P 5 cm", lambda row: f"{row.wide.precision:.3f}"),
    ("R 5 cm", lambda row: f"{row.wide.recall:.3f}"),
    ("F 5 cm", lambda row: f"{row.wide.f:.3f}"),
    ("accuracy, mm", lambda row: _median(row.accuracy)),
    ("completeness, mm", lambda row: _median(row.completeness)),
    ("triangles", lambda row: f"{row.triangles / 1000:,.0f} k"),
    ("trust", lambda row: row.trust or "-"),
)

Words = tuple[str | Path, ...]


def _median(metres: float) -> str:
    """Millimetres; what is farther than `docs/mesh_distance.py` looks is not known."""
    return f"{1000 * metres:.1f}" if metres < FARTHEST else f"> {1000 * FARTHEST:.0f}"


HEAD: Final = """# Meshes

Every figure here was measured by one command, `python docs/make_meshes.py DATA WORK`, which runs the commands below
and writes this page. Nothing is copied from a paper or remembered. The samples are small parts of data sets (they are
not in this repository).

{machine} Two cores.

The **reference** is the mesh that plain Open3D code (`docs/peers/fusion.py`: its hashed volume, voxels of 1 cm) makes
of the data set's own depth and poses, as far as 10 m, of all that any frame saw. It is no truth: it has the sensor's
noise, and nothing where the sensor is blind (shiny, black or bright things, and the borders of the pictures: a
quarter of their pixels in the kitchen, for colour is seen wider than depth). What a network puts there counts as
wrong, even where it is right.

* Points are spread evenly over both surfaces, 10 000 for a square metre, from one seed; 250 000 of each at most are
  looked up among all of the other's. **P**recision: the part of the mesh's that lie nearer to one of the reference than
  2 or 5 cm. **R**ecall: the part of the reference's that lie so near to the mesh. **F**: their harmonic mean.
  **accuracy** and **completeness** are the median distances, as far as 25 cm; two samples of the very same surface are
  5 mm apart.
* **depth**: the data set's own (*sensor*; *exact* where it was rendered); or that of Depth Anything V2 Small, 280
  pixels: a network for single pictures, whose scale and shift change from picture to picture (its file is not the
  official one: one of its 239 tensors was lost and has been estimated anew). It has its metres from the sensor's map
  of the *first frame* alone; from the *sparse points* of a map of structure from motion, whose unit the first frame's
  map measures; or from the sensor's maps of *every frame* (which no user has: the best that a line for each frame can
  do with this network). What is between them stands in [metres.md](metres.md).
* **poses**: *given* by the data set; found by *recon* from pictures and that same depth; or by COLMAP within it.
  Found ones live in a world of their own: their path is turned by the mean of the turns between it and the given one,
  moved until their middles agree, and not scaled (`docs/lay_path.py`); the mesh goes with it. With given poses
  nothing is aligned at all: depth must be in metres by itself.
* **trust**: what the run itself says of its lengths.

All meshes are those of `recon mesh` with voxels of 1 cm (2 cm for the network in the hospital), every triangle kept
and no texture; *by default* it chooses the voxel and keeps at most 150 000 triangles. From true depth they reach as
far as the reference (`--max-depth`); otherwise, and by default, six times the median depth: farther out a network's
depth is of no use.

7-Scenes gives the poses of its depth camera, and colour is not registered to it: depth and path have been carried
into the colour camera, with the calibration that [evaluation.md](evaluation.md) tells of (our own estimate), for the
reference and for recon alike.
"""

CONTROLS: Final = """What can be had at all: the very same mesh with another sample of points, what Open3D
keeps by default, half of the frames; and recon's volume alone, with the maps as they are.
"""

PICTURE: Final = """![{short}: four meshes](pictures/{name})

The reference; and, from dark blue (on it) to dark red (10 cm away or more): {sensor} depth; the network's, by sparse
points; the network's, by the first frame. Given poses.
"""

BAD: Final = """## What is bad, and why

* **A network's depth bends.** Its metres come from one line for each frame between its disparity and what is known.
  What a line cannot mend is the shape: floors and walls are curved or tilted by some per cent of their distance, in
  each frame otherwise. At 2 m that is 5 to 10 cm, so that 2 cm cannot be had wherever the metres come from: *every
  frame*, which knows the true depth of each frame, is no better than *sparse points*. Where frames disagree the mesh
  is their mean, or has a second skin: it has more triangles than the sensor's.
* **In the hospital** it is worst: walls without texture, things as near as 0.3 m and a corridor of 9 m in one picture,
  which no single line brings to metres.
* **The first frame alone drifts.** A network for single pictures has another scale in each frame, and one frame says
  nothing of the others. The run tells that it is doubtful after some seconds; in the hospital, which is over sooner, it
  does not.
* **Poses that are found with such depth** take its scale: the whole room is too large or too small, and turned and
  moved alone it cannot lie on the reference. What bends costs far more than that.
* **Poses that are found with true depth** cost next to nothing in the hospital, where the truth is exact. The given
  poses of the kitchen were measured, and disagree with its pictures (see [poses.md](poses.md)): what those meshes lose
  at 2 cm and not at 5 cm is as much the reference's as their own.
* **The far end.** By default depth counts up to six times its median, for a network's error grows with the square of
  depth. True depth is good beyond: without `--max-depth` the hospital loses the end of its corridor.
"""

TIMES: Final = """## Time and memory

The same maps and poses through both programs, each run in a process of its own: the least of three for the kitchen.
Decoding, reading and conversion are left out. **wall**, **processor**: for each frame of 640 x 480, voxels of 1 cm,
with colour. **mesh**: the surface at the end, wall time. **voxels**: those in use. **peak**: the most memory that the
process ever held, with Python, its packages and decoding. Open3D is given room for 2 000 blocks beforehand, which is
enough for the kitchen; with the 50 000 of its tutorial it would take 4.1 GB at once. In brackets: by Open3D's with as
many threads. The machine did other work meanwhile: all times are upper bounds, wall times most of all.
"""


class Meshes(Work):
    """Depth, poses, and the meshes of them."""

    def video(self, clip: Clip) -> Words:
        """What the commands read."""
        return (self.data / clip.name / clip.pictures, "--picture-rate", "30")

    def maps(self, clip: Clip, every: float) -> Path:
        """The true maps: of the first frame, and of others after so many seconds each."""
        folder = self.folder / "true" / f"{clip.name}-{every:g}"
        script = ("docs/true_depth.py", clip.data_set, self.data / clip.name, folder)
        self.run("python", *script, "--every", f"{every:g}", makes=folder)
        return folder

    def known(self, clip: Clip) -> Path:
        """Folder of the true path and the calibration."""
        folder = self.folder / "true" / clip.name
        script = ("docs/true_poses.py", clip.data_set, self.data / clip.name, folder)
        self.run("python", *script, "--picture-rate", "30", makes=folder)
        return folder

    def lens(self, clip: Clip) -> Words:
        """The calibration."""
        return ("--intrinsics", self.known(clip) / "camera.json")

    def fused(self, clip: Clip, name: str, *options: str) -> Path:
        """A mesh of the true maps and poses as they are, by a plain program."""
        mesh = self.folder / "meshes" / f"{clip.name}-{name}.ply"
        self.run("python", *self._fusion(clip, mesh), *options, makes=mesh)
        return mesh

    def _fusion(self, clip: Clip, mesh: Path) -> Words:
        mesh.parent.mkdir(exist_ok=True)
        film, *pace = self.video(clip)
        true = ("--depth", self.maps(clip, 0), "--trajectory", self.known(clip) / "path.txt", *self.lens(clip))
        return ("docs/peers/fusion.py", film, mesh, *pace, *true, "--max-depth", f"{clip.farthest:g}")

    def anchors(self, clip: Clip) -> dict[str, Words]:
        """Options that say where depth comes from, by what stands in the table."""
        first = ("--first-frame-depth", min(self.maps(clip, 1).iterdir()))
        network = (*NETWORK, "--store", self.folder / "stores" / clip.name)
        model = self.data / clip.name / clip.sparse if clip.sparse else self.model(clip, (*network, *first))
        return {
            clip.sensor: ("--depth", self.maps(clip, 0)),
            "network, first frame": (*network, *first),
            "network, sparse points": (*network, "--sparse", model, "--scale-from", "first-frame-depth", *first),
            "network, every frame": (*network, "--metric-depth", self.maps(clip, 0)),
        }

    def model(self, clip: Clip, depth: Words) -> Path:
        """A model with points that `recon poses` makes, for a clip that has none that is right."""
        folder = self.folder / "models" / clip.name
        folder.parent.mkdir(exist_ok=True)
        how = (*self.lens(clip), "--poses", "colmap", "--format", "colmap")
        self.run("recon", "poses", *self.video(clip), *depth, *how, "-o", folder, makes=folder)
        return folder / "sparse" / "0"

    def path(self, clip: Clip, name: str, depth: Words, poses: str) -> Path:
        """The given poses; or found ones, turned and moved into their world, and not scaled."""
        true = self.known(clip) / "path.txt"
        if poses == GIVEN:
            return true
        found, laid = (self.folder / folder / f"{self.name(clip, name, poses)}.txt" for folder in ("paths", "laid"))
        for each in (found, laid):
            each.parent.mkdir(exist_ok=True)
        how = (*self.lens(clip), *poses.split()[1:])
        self.run("recon", "poses", *self.video(clip), *depth, *how, "-o", found, makes=found)
        self.run("python", "docs/lay_path.py", found, true, laid, makes=laid)
        return laid

    @staticmethod
    def name(clip: Clip, depth: str, poses: str) -> str:
        """Of files."""
        return "-".join([clip.name, *re.findall(r"\w+", f"{depth} {poses}")])

    def mesh(self, clip: Clip, depth: str, poses: str, *, default: bool = False) -> Path:
        """Where a mesh is written."""
        name = self.name(clip, depth, poses)
        return self.folder / "meshes" / (f"{name}-default.ply" if default else f"{name}.ply")

    def ours(self, clip: Clip, depth: str, poses: str, *, default: bool = False) -> Row:
        """A mesh by `recon mesh`, scored; with its own choice of voxels and number of triangles, if asked for."""
        options, mesh = self.anchors(clip)[depth], self.mesh(clip, depth, poses, default=default)
        mesh.parent.mkdir(exist_ok=True)
        given = (*options, "--trajectory", self.path(clip, depth, options, poses), *self.lens(clip))
        how = (*(() if default else _whole(clip, depth)), *SHAPE)
        self.run("recon", "mesh", *self.video(clip), *given, *how, "-o", mesh, makes=mesh)
        report = json.loads(mesh.with_name(f"{mesh.name}.report.json").read_text(encoding="utf-8"))
        return self.scored(clip, f"{depth}; all by default" if default else depth, poses, mesh, report["trust"])

    def scored(self, clip: Clip, depth: str, poses: str, mesh: Path, trust: str = "") -> Row:
        """Beside the reference."""
        told = self.folder / "scores" / f"{mesh.stem}.json"
        told.parent.mkdir(exist_ok=True)
        self.run("python", "docs/mesh_distance.py", mesh, self.reference(clip), told_in=told)
        found = json.loads(told.read_text(encoding="utf-8"))
        near, wide = (Near(**found["within"][key]) for key in ("0.02", "0.05"))
        return Row(depth, poses, near, wide, found["accuracy"], found["completeness"], found["triangles"], trust)

    def reference(self, clip: Clip) -> Path:
        """What is taken for true."""
        return self.fused(clip, "reference", "--by", "open3d")

    def controls(self, clip: Clip) -> list[Row]:
        """What the best can score: the same program with other voxels or fewer frames, and our volume alone."""
        made = {
            "Open3D, the very same": self.reference(clip),
            "Open3D, seen more than 3 times": self.fused(clip, "often", "--by", "open3d", "--seen", "3"),
            "Open3D, every other frame": self.fused(clip, "half", "--by", "open3d", "--step", "2"),
            "recon, its volume alone": self.fused(clip, "volume", "--by", "recon"),
        }
        return [self.scored(clip, f"{clip.sensor}; {name}", GIVEN, mesh) for name, mesh in made.items()]

    def rows(self, clip: Clip) -> list[Row]:
        """Every depth with every source of poses."""
        names = ("network, first frame", "network, sparse points")
        return [
            self.ours(clip, clip.sensor, GIVEN),
            self.ours(clip, clip.sensor, GIVEN, default=True),
            self.ours(clip, clip.sensor, TRACKED),
            self.ours(clip, clip.sensor, MAPPED),
            *(self.ours(clip, depth, poses) for depth in names for poses in (GIVEN, TRACKED, MAPPED)),
            self.ours(clip, "network, every frame", GIVEN),
        ]

    def drawn(self, clip: Clip) -> None:
        """A picture of some of the meshes."""
        names = (clip.sensor, "network, sparse points", "network, first frame")
        meshes = [self.mesh(clip, name, GIVEN) for name in names]
        picture = Path("docs", "pictures", clip.picture)
        self.run("python", "docs/mesh_picture.py", self.reference(clip), picture, *meshes, "--up=-y")

    def timed(self, clip: Clip) -> list[Timed]:
        """Both programs, each run a process of its own."""
        return [self._timed(clip, program, threads) for program in ("recon", "open3d") for threads in THREADS]

    def _timed(self, clip: Clip, program: str, threads: int) -> Timed:
        costs = list(self._costs(clip, program, threads))
        least = {
            key: min(cost[key] for cost in costs) for key in ("wall_ms", "cpu_ms", "mesh_s", "volume_mb", "peak_mb")
        }
        return Timed(program, threads, *least.values())

    def _costs(self, clip: Clip, program: str, threads: int) -> Iterator[Mapping[str, float]]:
        folder = self.folder / "times"
        folder.mkdir(exist_ok=True)
        for number in range(clip.runs):
            mesh = folder / f"{clip.name}-{program}-{threads}-{number}.ply"
            told = mesh.with_suffix(".json")
            how = ("--by", program, "--threads", str(threads))
            self.run("python", *self._fusion(clip, mesh), *how, makes=told)
            mesh.unlink(missing_ok=True)
            yield json.loads(told.read_text(encoding="utf-8"))


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown."""
    heads = [name for name, _cell in COLUMNS]
    cells = [heads, [":--", ":--", *("--:" for _ in heads[2:])], *([cell(row) for _, cell in COLUMNS] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in cells]


def _whole(clip: Clip, depth: str) -> Words:
    """Not simplified; true depth as far as that of the reference, a network's as far as recon trusts it."""
    if depth == clip.sensor:
        return ("--voxel", "0.01", "--faces", "0", "--max-depth", f"{clip.farthest:g}")
    return ("--voxel", clip.voxel, "--faces", "0")


Claim = tuple[str, str, bool]


def claims(clips: Mapping[Clip, Sequence[Row]], times: Mapping[Clip, Sequence[Timed]]) -> list[Claim]:
    """What must come out, and whether it did."""
    found = []
    for clip, rows in clips.items():
        ours = next(row for row in rows if row.depth == clip.sensor and row.poses == GIVEN)
        told = f"{clip.short}: F at 2 cm with {clip.sensor} depth and given poses at least {LEAST_F:g}"
        found.append((told, f"{ours.near.f:.3f}", ours.near.f >= LEAST_F))
    for clip, timed in times.items():
        mine, theirs = (next(each for each in timed if (each.program, each.threads) == who) for who in SINGLE)
        for what, unit, one, other in (
            ("processor time of a fused frame", "ms", mine.cpu, theirs.cpu),
            ("peak memory", "MB", mine.peak, theirs.peak),
        ):
            told = f"{one:.0f} {unit}; Open3D {other:.0f} {unit}"
            found.append((f"{clip.short}: {what} not above Open3D's, one thread", told, one <= other))
    return found


def claims_table(found: Sequence[Claim]) -> list[str]:
    """In Markdown."""
    rows = [f"| {claim} | {figure} | {'yes' if holds else '**no**'} |" for claim, figure, holds in found]
    return ["| what must come out | came out | holds |", "| :-- | --: | --: |", *rows]


def times_table(timed: Sequence[Timed]) -> list[str]:
    """In Markdown; ours as parts of Open3D's with the same threads."""
    theirs = {each.threads: each for each in timed if each.program == "open3d"}
    lines = []
    for each in timed:
        other = theirs[each.threads]
        figures = [
            _beside(getattr(each, name), getattr(other, name), digits, is_other=each is other)
            for name, digits in (("wall", 1), ("cpu", 1), ("mesh", 2), ("volume", 0), ("peak", 0))
        ]
        lines.append(f"| {PROGRAMS[each.program]} | {each.threads} | {' | '.join(figures)} |")
    heads = "| program | threads | wall, ms | processor, ms | mesh, s | voxels, MB | peak, MB |"
    return [heads, "| :-- | --: | --: | --: | --: | --: | --: |", *lines]


def _beside(value: float, other: float, digits: int, *, is_other: bool) -> str:
    told = f"{value:.{digits}f}"
    return told if is_other else f"{told} ({value / other:.2f} x)"


def _rows_and_times(work: Meshes) -> tuple[dict[Clip, list[Row]], dict[Clip, list[Timed]]]:
    return {clip: work.rows(clip) for clip in CLIPS}, {clip: work.timed(clip) for clip in CLIPS}


def main() -> None:
    """Run everything and write the page."""
    work = Meshes(folders(__doc__ or ""))
    controls = {clip: work.controls(clip) for clip in CLIPS}
    clips, times = _rows_and_times(work)
    for clip in CLIPS:
        work.drawn(clip)
    lines = [HEAD.format(machine=machine()), "## What must come out", "", *claims_table(claims(clips, times))]
    for clip, rows in clips.items():
        lines += ["", f"## {clip.title}", "", *table(rows), "", CONTROLS, *table(controls[clip])]
        lines += ["", PICTURE.format(short=clip.short, name=clip.picture, sensor=clip.sensor)]
    lines += ["", BAD, "", TIMES]
    for clip, timed in times.items():
        lines += ["", f"{clip.short}:", "", *times_table(timed)]
    write_page(PAGE, [*lines, "", *work.listing])


if __name__ == "__main__":
    main()
