"""Every figure of docs/results.md: runs the commands that stand there, and writes the page from what they say.

    python docs/make_results.py DATA WORK

DATA holds the samples of the data sets as folders (their names are below), RECON_WEIGHTS names the folder of weights.
WORK is for predictions and reports: a second call goes on where the first one stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from commands import ROOT, WEIGHTS, Work, folders, machine, write_page

from recon.evaluation.measures import Evaluation
from recon.evaluation.report import read_json, tables

PAGE: Final = ROOT / "docs" / "results.md"


@dataclass(frozen=True, slots=True)
class Sample:
    """A part of a data set."""

    name: str
    """Of the data set, as `recon eval` knows it."""
    folder: str
    """Below DATA."""
    title: str
    options: tuple[str, ...] = ()


SAMPLES: Final = (
    Sample("7scenes", "7scenes_redkitchen_a", "7-Scenes, RedKitchen: 150 frames of a hand-held Kinect"),
    Sample("hololens", "hololens_dvmvs_a", "HoloLens: 45 frames of an office kitchen, a few a second"),
    Sample("tartanair", "tartanair_hospital_a", "TartanAir, hospital: 80 rendered frames, wide angle, agile"),
    Sample("kitti-object", "kitti_object_a", "KITTI object: 2 single pictures, one turn of the lidar"),
    Sample(
        "folder-pictures",
        "metric3d_kitti_demo",
        "KITTI: 3 single pictures, accumulated lidar",
        ("--truth-scale", "256", "--truth-max-depth", "80"),
    ),
)

NETWORKS: Final = (
    ("depth-anything-v2-s", ("--model", "depth-anything-v2-s")),
    ("depth-anything-v2-s at 280", ("--model", "depth-anything-v2-s", "--input-size", "280")),
)
"""Row and options of what runs inside recon."""

PEERS: Final = (
    (
        "TCMonoDepth small",
        "tcmonodepth.py",
        ("--weights", WEIGHTS / "tcmonodepth_small/tcmonodepth_tcsmallnet_192x320.onnx"),
    ),
    ("lower is nearer", "ramp.py", ()),
)
"""Row, script and options of what makes maps outside of it."""

PATHS: Final = (
    ("7scenes_redkitchen_a", "frames", "sfm_colmap_bin", "7-Scenes: every third frame"),
    ("hololens_dvmvs_a", "poses.txt", "sfm_colmap_txt", "HoloLens: every frame"),
)
"""Camera paths by structure from motion: sample, its true poses, the model."""

HEAD: Final = """# Results

Every figure here was measured by one command, `python docs/make_results.py DATA WORK`, which runs the commands below
and writes this page. Nothing is copied from a paper or remembered. The samples are small parts of data sets (they are
not in this repository): they tell methods apart, they do not stand for the benchmarks.

{machine}

**What could not be measured here**: Video Depth Anything itself, offline and streaming, and Depth Pro, MoGe,
DepthCrafter and Depth Any Video: none of their weights could be had on this machine. The commands for their rows are in
[docs/peers](peers/README.md); for Video Depth Anything they are `--model vda-s` and `--model vda-s --mode streaming`.
The benchmarks of KITTI, ScanNet, Bonn, NYUv2 and Sintel could not be had either: their readers were run on trees that
tests write. The weights of Depth Anything V2 Small are not the official file: one of its 239 tensors was lost and has
been estimated anew (5 % of the parameters), so its rows say what this file does.

What the columns mean, and how the two protocols differ: [evaluation.md](evaluation.md). Best in bold.
"""


class Results(Work):
    """Methods, and the samples on which they are scored."""

    def depth(self, sample: Sample) -> list[Evaluation]:
        """Every method on a sample."""
        return [
            *(self.score(sample, row, options) for row, options in NETWORKS),
            *(self.score(sample, row, self.maps(sample, *program)) for row, *program in PEERS),
        ]

    def score(self, sample: Sample, row: str, options: Sequence[str | Path]) -> Evaluation:
        """One method on a sample."""
        report = self.folder / "reports" / f"{sample.folder}-{row}-corrected".replace(" ", "-")
        what = ("eval", sample.name, self.data / sample.folder, *sample.options)
        self.run("recon", *what, *options, "--method", row, "-o", report)
        return read_json(report / "report.json")

    def maps(self, sample: Sample, script: str, options: Sequence[str | Path]) -> tuple[str, Path]:
        """What a peer says of a sample's pictures."""
        clips, maps = self.folder / "clips" / sample.folder, self.folder / Path(script).stem / sample.folder
        self.run("python", "docs/peers/clips.py", sample.name, self.data / sample.folder, clips, makes=clips)
        for clip in sorted(path for path in clips.iterdir() if path.is_dir()):
            self.run("python", f"docs/peers/{script}", clip, maps / clip.name, *options, makes=maps / clip.name)
        return "--predictions", maps

    def path(self, sample: str, true: str, model: str) -> Evaluation:
        """A camera path beside the true one."""
        report = self.folder / "reports" / f"{sample}-path"
        folder = self.data / sample
        self.run("recon", "eval", "trajectory", folder / true, "--predictions", folder / model, "-o", report)
        return read_json(report / "report.json")


def main() -> None:
    """Run everything and write the page."""
    work = Results(folders(__doc__ or ""))
    lines = [HEAD.format(machine=machine())]
    for sample in SAMPLES:
        lines += [f"## {sample.title}", "", tables(work.depth(sample))]
    for sample, true, model, title in PATHS:
        row = tables([work.path(sample, true, model)])
        lines += [f"## A camera path by structure from motion, {title}", "", row]
    write_page(PAGE, [*lines, *work.listing])


if __name__ == "__main__":
    main()
