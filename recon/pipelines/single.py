"""Results that are files, against the truth in files: a cloud, a camera path, a right eye. No data set, no network."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log, nan
from pathlib import Path
from typing import Final

import numpy as np

from recon import __version__
from recon.errors import FormatError, OptionError
from recon.evaluation.clouds import Points, Surface, sampled, thinned
from recon.evaluation.datasets.layout import clip_name
from recon.evaluation.measures import ClipScores, Evaluation, Values
from recon.evaluation.page import write_comparison_page
from recon.evaluation.report import write_comparison, write_json
from recon.evaluation.stereo import PREDICTED, EyeScores, TruePair, scored_with_controls
from recon.evaluation.trajectory import absolute_error, relative_error
from recon.io.depth import read_depth_map
from recon.io.mesh import read_mesh
from recon.io.pictures import read_picture
from recon.io.trajectory import read_pair
from recon.pipelines.evaluate import require_own
from recon.pipelines.true_cloud import VOXELS_WITHIN_THRESHOLD, cloud_values
from recon.settings import EvaluationSettings

SEED = 0
"""Of the points that are taken from meshes: the same figures every time."""
_DISPARITIES: Final = ("disp0GT.pfm", "disp0.pfm")


def score_cloud(true: Path, predicted: Path, rules: EvaluationSettings) -> list[Evaluation]:
    """Precision, recall and F of a cloud or mesh, metres, in the same world as the true one.

    Raises:
        FormatError: a file cannot be read.
    """
    size = rules.cloud_threshold / VOXELS_WITHIN_THRESHOLD
    random = np.random.default_rng(SEED)  # one for both: a mesh and its copy are not to be sampled at the same points
    mine, truth = (thinned(_points(path, random), size) for path in (predicted, true))
    values = cloud_values(mine, truth, rules.cloud_threshold)
    return [_evaluation(f"cloud at {rules.cloud_threshold:g} m", predicted.stem, true, values)]


def _points(path: Path, random: np.random.Generator) -> Points:
    """The points of a cloud; of a mesh, points spread evenly over it."""
    vertices, triangles = read_mesh(path)
    if not len(triangles):
        return vertices.astype(np.float32)
    return sampled(Surface(vertices, triangles), random)


def score_trajectory(true: Path, predicted: Path, rules: EvaluationSettings) -> list[Evaluation]:  # noqa: ARG001
    """ATE and RPE of a camera path in any format that recon reads.

    Raises:
        TrajectoryError: a file cannot be read, or the two have no times in common.
    """
    mine, truth, timed = read_pair(predicted, true)
    rigid, scaled = (absolute_error(mine, truth, alignment=kind) for kind in ("rigid", "similarity"))
    motion = relative_error(mine, truth, distance=1.0, pace="seconds" if timed else "frames")
    values = {
        "ate": rigid.position.rmse,
        "ate_scaled": scaled.position.rmse,
        "path_scale": 100 * (1 / scaled.true_from_estimated.scale - 1),
        "rpe": motion.translation.rmse,
        "rpe_degrees": motion.rotation.rmse,
    }
    return [_evaluation("trajectory", predicted.stem, true, values)]


def score_stereo(true: Path, predicted: Path, rules: EvaluationSettings) -> list[Evaluation]:  # noqa: ARG001
    """A right eye, and three controls.

    Args:
        true: folder as Middlebury lays it out: im0.png (left), im1.png (right), disp0GT.pfm or disp0.pfm.
        predicted: picture of the right eye.
        rules: nothing of them matters here.

    Raises:
        FormatError: a file is missing or cannot be read.
    """
    disparity = next((true / name for name in _DISPARITIES if (true / name).is_file()), None)
    if disparity is None:
        raise FormatError(f"{true}: expected im0.png, im1.png and disp0GT.pfm here, as Middlebury lays them out")
    known = read_depth_map(disparity, scale=1.0, quantity="disparity")
    pair = TruePair(read_picture(true / "im0.png"), read_picture(true / "im1.png"), known)
    eye = read_picture(predicted)
    if eye.shape != pair.right.shape:
        (height, width), (h, w) = pair.right.shape[:2], eye.shape[:2]
        raise FormatError(f"{predicted}: {w} x {h}, but the right eye alone is scored, {width} x {height} as im1.png")
    scores = scored_with_controls(eye, pair)
    rows = {PREDICTED: scores[PREDICTED], **scores}
    names = {PREDICTED: predicted.stem}
    return [_evaluation("stereo", names.get(name, name), true, _values(each)) for name, each in rows.items()]


SINGLE: Final[Mapping[str, Callable[[Path, Path, EvaluationSettings], list[Evaluation]]]] = {
    "cloud": score_cloud,
    "trajectory": score_trajectory,
    "stereo": score_stereo,
}
"""What can be scored alone."""


def evaluate_file(
    kind: str, true: Path, output: Path, rules: EvaluationSettings, *, overwrite: bool = False
) -> list[Evaluation]:
    """Score a file and write the report; the first row is its own, others are controls.

    Raises:
        ReconError: there is no prediction, or a file cannot be read.
    """
    if rules.predictions is None:
        raise OptionError(f"recon eval {kind}: give the {kind} to score with --predictions FILE")
    rows = SINGLE[kind](true, rules.predictions, rules)
    rows[0] = replace(rows[0], method=rules.method or rows[0].method)
    if not overwrite:
        require_own(output, rows[0])
    output.mkdir(parents=True, exist_ok=True)
    write_json(rows[0], output / "report.json")
    write_comparison(rows, output / "report.md")
    write_comparison_page(rows, output / "index.html")
    return rows


def _evaluation(kind: str, method: str, true: Path, values: Values) -> Evaluation:
    scores = ClipScores(clip_name(true.stem), values, (), ())
    return Evaluation(kind, method, "files", {"recon": __version__, "truth": true.name}, (scores,))


def _values(eye: EyeScores) -> Values:
    regions = {"": eye.everywhere, "_visible": eye.visible, "_edges": eye.edges, "_occluded": eye.occluded}
    return {
        **{f"psnr{name}": region.psnr for name, region in regions.items()},
        **{f"ssim{name}": region.ssim for name, region in regions.items()},
        "siou": eye.siou,
        "matched": eye.rematch.coverage,
        "reversed": eye.rematch.reversed,
        "stereo_scale": log(eye.rematch.scale) if eye.rematch.scale > 0 else nan,
        "epe": eye.rematch.epe,
        "d1": eye.rematch.d1,
    }
