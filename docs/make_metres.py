"""Every figure of docs/metres.md: runs the commands that stand there, and writes the page from what they say.

    python docs/make_metres.py DATA WORK

DATA holds the samples of the data sets as folders (their names are below), RECON_WEIGHTS names the folder of weights.
WORK is for maps and reports: a second call goes on where the first one stopped. Depth is found once for each sample;
every anchor makes metres of the same maps.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import expm1, isfinite, nan
from pathlib import Path
from typing import Final

from commands import ROOT, Work, folders, machine, write_page

from recon.evaluation.measures import Values
from recon.evaluation.report import read_json

PAGE: Final = ROOT / "docs" / "metres.md"

NETWORK: Final = ("--model", "depth-anything-v2-s", "--input-size", "280")
PLAIN: Final = ("--fit", "least-squares")
"""The published method: one line for the shot, nothing left out."""
NO_TIME: Final = ("--cut-threshold", "0.001")
"""Pictures that have nothing in common: a shot each."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of a data set."""

    name: str
    """Of the data set, as `recon eval` knows it."""
    folder: str
    """Below DATA."""
    title: str
    pictures: str
    """Below its folder."""
    options: tuple[str, ...] = ()
    """Of `recon depth`."""
    truth: tuple[str, ...] = ()
    """Of `recon eval`."""
    sparse: str = ""
    """A model of structure from motion below its folder."""


KITCHEN: Final = Sample(
    "7scenes",
    "7scenes_redkitchen_a",
    "7-Scenes, RedKitchen: 150 frames of a hand-held Kinect, 5 s",
    "frames/*.color.jpg",
    sparse="sfm_colmap_bin",
)
OFFICE: Final = Sample(
    "hololens",
    "hololens_dvmvs_a",
    "HoloLens: 45 frames of an office kitchen, taken for 5 a second",
    "images/*.png",
    ("--picture-rate", "5"),
    sparse="sfm_colmap_txt",
)
HOSPITAL: Final = Sample(
    "tartanair",
    "tartanair_hospital_a",
    "TartanAir, hospital: 80 rendered frames, wide angle, agile; a model of structure from motion that is wrong",
    "image_left/*.jpg",
    sparse="sfm_colmap_txt",
)
STREETS: Final = (
    Sample(
        "kitti-object",
        "kitti_object_a",
        "KITTI object: 2 single pictures, one turn of the lidar",
        "image_2/*.png",
        ("--picture-rate", "10", *NO_TIME),
    ),
    Sample(
        "folder-pictures",
        "metric3d_kitti_demo",
        "KITTI: 3 single pictures, accumulated lidar",
        "rgb/*.png",
        NO_TIME,
        ("--truth-scale", "256", "--truth-max-depth", "80"),
    ),
)
PHONE: Final = Sample(
    "arkit-pairs", "arkit_promptda", "ARKit: a picture of a phone and its lidar, 256 x 192", "image.jpg"
)


@dataclass(frozen=True, slots=True)
class Row:
    """One anchor on one sample."""

    anchor: str
    values: Values
    """As `recon eval` says."""
    sigma: float
    """Relative standard error of lengths that the run states, the greatest of its shots."""
    trust: str
    """Whether its lengths can be trusted, as the run says."""
    reason: str
    """The gravest reason why not."""


COLUMNS: Final[tuple[tuple[str, Callable[[Row], str]], ...]] = (
    ("anchor", lambda row: row.anchor),
    ("AbsRel", lambda row: f"{row.values['metric_abs_rel']:.3f}"),
    ("delta1", lambda row: f"{row.values['metric_delta1']:.3f}"),
    ("scale", lambda row: f"{100 * expm1(row.values['metric_log_scale']):+.1f} %"),
    ("stated", lambda row: f"± {row.sigma:.1%}" if isfinite(row.sigma) else "unknown"),
    ("trust", lambda row: row.trust),
    ("wander", lambda row: _shown(100 * row.values["wander"], " %")),
)

HEAD: Final = """# Metres

Every figure here was measured by one command, `python docs/make_metres.py DATA WORK`, which runs the commands below and
writes this page. Nothing is copied from a paper or remembered. The samples are small parts of data sets (they are not
in this repository).

{machine}

Depth Anything V2 Small, 280 pixels: a network for single pictures, whose scale and shift change from picture to
picture. Its file is not the official one: one of its 239 tensors was lost and has been estimated anew. No weights of
MoGe could be had, so metric frames are the sensor's.

* **AbsRel**, **delta1**: of the metres as they are written, nothing fitted, over all frames of the clip.
* **scale**: how much too far everything is: the median over a frame of depth / true, mean over the frames.
* **stated**: the standard error of lengths that the run itself states, in the frame farthest from an anchored one.
  **trust**: what it says of them.
* **wander**: standard deviation of the scale over the frames, after one scale and shift for the whole clip.
"""


class Metres(Work):
    """Anchors, and the samples on which they are scored."""

    def row(self, sample: Sample, anchor: str, options: Sequence[str | Path]) -> Row:
        """Metres from an anchor, scored."""
        name = f"{sample.folder}-{anchor}".replace(" ", "-").replace(",", "")
        maps, report = self.folder / "maps" / name, self.folder / "reports" / name
        what = (self.data / sample.folder / sample.pictures, *sample.options, *NETWORK)
        how = ("--resolution", "network", "--no-preview", "--store", self.folder / "stores" / sample.folder)
        self.run("recon", "depth", *what, *options, *how, "-o", maps, makes=maps)
        scored = (sample.name, self.data / sample.folder, *sample.truth, "--predictions", maps)
        self.run("recon", "eval", *scored, "--prediction-kind", "depth", "--method", anchor, "-o", report)
        return Row(anchor, read_json(report / "report.json").values, *_stated(maps))

    def true_depth(self, sample: Sample, every: float) -> Path:
        """Maps of the sensor: of the first frame and of others after so many seconds each."""
        folder = self.folder / "true" / f"{sample.folder}-{every:g}"
        root = self.data / sample.folder
        options = ("--every", f"{every:g}")
        self.run("python", "docs/true_depth.py", sample.name, root, folder, *options, makes=folder)
        return folder

    def clip(self, sample: Sample) -> list[Row]:
        """Every anchor on a clip."""
        first = ("--first-frame-depth", min(self.true_depth(sample, 1).iterdir()))
        some = {every: ("--metric-depth", self.true_depth(sample, every)) for every in (2, 1, 0)}
        model = ("--sparse", self.data / sample.folder / sample.sparse, "--scale-from", "first-frame-depth", *first)
        return [
            self.row(sample, "first frame, plain", (*first, *PLAIN)),
            self.row(sample, "first frame", first),
            self.row(sample, "every 2 s", some[2]),
            self.row(sample, "every second", some[1]),
            self.row(sample, "sparse, plain", (*model, *PLAIN)),
            self.row(sample, "sparse", model),
            self.row(sample, "every frame", some[0]),
        ]

    def pictures(self, sample: Sample, anchor: str, options: Sequence[str | Path]) -> list[Row]:
        """Single pictures: by plain least squares, and as recon does it."""
        return [
            self.row(sample, f"{anchor}, plain", (*options, *PLAIN)),
            self.row(sample, anchor, options),
        ]


def _stated(maps: Path) -> tuple[float, str, str]:
    """What a run says of its lengths: how uncertain, whether to trust them, and the gravest reason why not."""
    report = json.loads(maps.with_name(f"{maps.name}.report.json").read_text(encoding="utf-8"))
    anchors = [shot["anchor"] for shot in report["shots"] if shot["anchor"] is not None]
    sigmas = [nan if anchor["far_sigma"] is None else anchor["far_sigma"] for anchor in anchors]
    return max(sigmas, default=nan), report["trust"], next(iter(report["reasons"]), "")


def _shown(value: float, unit: str) -> str:
    return f"{value:.1f}{unit}" if isfinite(value) else "-"


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown, with the gravest reason of each doubt."""
    heads = [name for name, _cell in COLUMNS]
    cells = [heads, [":--", *("--:" for _ in heads[1:])], *([cell(row) for _name, cell in COLUMNS] for row in rows)]
    doubtful = [row for row in rows if row.trust != "yes"]
    doubts = [f"* *{row.anchor}*, {row.trust}: {_sentence(row.reason)}" for row in doubtful]
    return [*(f"| {' | '.join(line)} |" for line in cells), "", *doubts]


def _sentence(reason: str) -> str:
    return reason if reason.endswith("?") else f"{reason}."


def claims(clips: Mapping[str, Mapping[str, Row]], streets: Mapping[str, Sequence[Row]]) -> list[str]:
    """What must come out, and whether it did."""
    kitchen, office, hospital = (clips[sample.folder] for sample in (KITCHEN, OFFICE, HOSPITAL))
    found = [
        _less("kitchen: AbsRel of sparse below that of the first frame", kitchen, "metric_abs_rel"),
        _near("kitchen: scale of sparse within 5 %, the error of the model", kitchen["sparse"], 0.05),
        _near("office: scale of sparse within 3 %", office["sparse"], 0.03),
        _less("office: delta1 of sparse above that of the first frame", office, "metric_delta1"),
        ("hospital: the wrong model is not to be trusted", hospital["sparse"].trust, hospital["sparse"].trust == "no"),
    ]
    for name, (plain, robust) in streets.items():
        figures = plain.values["metric_delta1"], robust.values["metric_delta1"]
        told = f"{figures[1]:.3f}, plain {figures[0]:.3f}"
        found.append(
            (f"{name}: delta1 of the robust fit not below that of plain least squares", told, figures[1] >= figures[0])
        )
    rows = [f"| {claim} | {figure} | {'yes' if holds else '**no**'} |" for claim, figure, holds in found]
    return ["| what must come out | came out | holds |", "| :-- | --: | --: |", *rows]


Claim = tuple[str, str, bool]


def _less(claim: str, rows: Mapping[str, Row], key: str) -> Claim:
    """Sparse is better than the first frame alone."""
    sparse, first = (rows[name].values[key] for name in ("sparse", "first frame"))
    better = sparse < first if key == "metric_abs_rel" else sparse > first
    return claim, f"{sparse:.3f}, first frame {first:.3f}", better


def _near(claim: str, row: Row, limit: float) -> Claim:
    error = expm1(row.values["metric_log_scale"])
    return claim, f"{error:+.1%}", abs(error) <= limit


def main() -> None:
    """Run everything and write the page."""
    work = Metres(folders(__doc__ or ""))
    clips = {sample: work.clip(sample) for sample in (KITCHEN, OFFICE, HOSPITAL)}
    object_, demo = STREETS
    streets = {
        object_: work.pictures(object_, "lidar", ("--metric-depth", work.true_depth(object_, 0))),
        demo: work.pictures(
            demo, "lidar", ("--metric-depth", work.data / demo.folder / "depth", "--depth-scale", "256")
        ),
    }
    lidar = ("--first-frame-depth", work.data / PHONE.folder / "arkit_depth.png")
    phone = {PHONE: work.pictures(PHONE, "lidar", lidar)}
    lines = [HEAD.format(machine=machine()), "## What must come out", ""]
    by_anchor = {sample.folder: {row.anchor: row for row in rows} for sample, rows in clips.items()}
    lines += claims(by_anchor, {sample.title.split(":")[0]: rows for sample, rows in streets.items()})
    for sample, rows in {**clips, **streets, **phone}.items():
        lines += ["", f"## {sample.title}", "", *table(rows)]
    write_page(PAGE, [*lines, "", *work.listing])


if __name__ == "__main__":
    main()
