"""Every number that a comparison gives: key, name, unit and which way is better. One table for all reports."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal

Values = Mapping[str, float]
"""Key of a measure -> number; NaN where it does not apply."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What a number means."""

    key: str
    label: str
    """Heading of its column."""
    better: Literal["lower", "higher", "nearer 0"]
    meaning: str
    """One sentence, with its unit and source."""
    digits: int = 3
    """Decimals in tables."""
    of: Literal["frame", "clip"] = "frame"
    """Whether every frame has one (a clip then has their mean), or a clip only as a whole."""


ABS_REL = "abs_rel"
TABLE: Final[tuple[Measure, ...]] = (
    Measure(ABS_REL, "AbsRel", "lower", "Mean of |depth - true| / true, after one scale and shift for the clip."),
    Measure("delta1", "delta1", "higher", "Share of pixels with max(depth / true, true / depth) < 1.25, same fit."),
    Measure("rmse", "RMSE", "lower", "Root of the mean squared error of depth in metres, same fit."),
    Measure(
        "tae",
        "TAE",
        "lower",
        "Temporal alignment error (arXiv 2410.10815): 100 x AbsRel between each frame's depth and its neighbours' seen "
        "from there, both directions, by true poses. Of points that fall on one pixel the nearest counts (a z-buffer); "
        "with --protocol vda-released, any.",
    ),
    Measure("tae_other", "TAE other rule", "lower", "The same, without the z-buffer; with vda-released, with it."),
    Measure("boundary_f1", "boundary F1", "higher", "Agreement of depth edges of 5 to 25 % (arXiv 2410.02073, 4.1)."),
    Measure("metric_abs_rel", "metric AbsRel", "lower", "AbsRel of the metres as predicted, nothing fitted."),
    Measure("metric_delta1", "metric delta1", "higher", "delta1 of the metres as predicted, nothing fitted."),
    Measure("metric_rmse", "metric RMSE", "lower", "RMSE of the metres as predicted, nothing fitted."),
    Measure(
        "metric_log_scale",
        "metric log scale",
        "nearer 0",
        "Median of log(depth / true) of a frame, nothing fitted: 0.02 where everything is 2 % too far.",
    ),
    Measure(
        "median_abs_rel", "median AbsRel", "lower", "AbsRel after each frame's depth is scaled to the true median."
    ),
    Measure(
        "median_delta1", "median delta1", "higher", "delta1 after each frame's depth is scaled to the true median."
    ),
    Measure(
        "coverage",
        "coverage",
        "higher",
        "Share of the pixels with true depth for which there is an answer; the others count as the greatest depth.",
        digits=4,
    ),
    Measure("log_scale", "log scale", "nearer 0", "Median of log(depth / true) of a frame, after the clip's fit."),
    Measure("wander", "scale wander", "lower", "Standard deviation of a clip's log scale over its frames.", of="clip"),
    Measure(
        "drift", "drift %/min", "nearer 0", "Growth of the scale in per cent a minute (Theil-Sen).", digits=2, of="clip"
    ),
    Measure(
        "seam_jump",
        "seam jump",
        "nearer 0",
        "Mean step of the log scale where windows meet, less the mean step elsewhere.",
        of="clip",
    ),
    Measure(
        "cloud_precision",
        "cloud precision",
        "higher",
        "Share of predicted points near a true one; both clouds thinned to half that distance.",
        of="clip",
    ),
    Measure("cloud_recall", "cloud recall", "higher", "Share of true points near a predicted one.", of="clip"),
    Measure("cloud_f1", "cloud F", "higher", "Harmonic mean of the two (Tanks and Temples).", of="clip"),
    Measure(
        "cloud_accuracy",
        "cloud accuracy",
        "lower",
        "Median distance from predicted to true points, metres; at most 1 m counts.",
        of="clip",
    ),
    Measure(
        "cloud_completeness",
        "cloud completeness",
        "lower",
        "Median distance from true to predicted points, metres; at most 1 m counts.",
        of="clip",
    ),
    Measure("ate", "ATE", "lower", "RMSE of the camera's position after rigid alignment, the truth's unit.", of="clip"),
    Measure("ate_scaled", "ATE scaled", "lower", "The same after alignment with a scale (Umeyama 1991).", of="clip"),
    Measure(
        "path_scale",
        "path scale %",
        "nearer 0",
        "How much too long the estimated path is, by that scale.",
        digits=2,
        of="clip",
    ),
    Measure(
        "rpe", "RPE", "lower", "RMSE of the motion over a second (without times: a frame), the truth's unit.", of="clip"
    ),
    Measure(
        "rpe_degrees",
        "RPE degrees",
        "lower",
        "RMSE of the turn over a second (without times: a frame).",
        digits=2,
        of="clip",
    ),
    *(
        Measure(f"{key}{part}", f"{label}{where}", "higher", f"{meaning}, {told}.", digits, of="clip")
        for part, where, told in (
            ("", "", "over the whole right eye"),
            ("_visible", " visible", "where the left eye sees it too"),
            ("_edges", " edges", "near silhouettes"),
            ("_occluded", " occluded", "where the left eye sees something else"),
        )
        for key, label, digits, meaning in (
            ("psnr", "PSNR", 2, "Peak signal-to-noise ratio, decibels"),
            ("ssim", "SSIM", 3, "Structural similarity (Wang 2004)"),
        )
    ),
    Measure("siou", "SIoU", "higher", "Stereo intersection over union (Mono2Stereo, CVPR 2025).", of="clip"),
    Measure("matched", "matched", "higher", "Share of known pixels that match with the right sign.", of="clip"),
    Measure("reversed", "reversed", "lower", "Share of known pixels that match with the wrong sign.", of="clip"),
    Measure("stereo_scale", "stereo scale", "nearer 0", "Log of shown for true disparity.", of="clip"),
    Measure("epe", "EPE", "lower", "Median error of the matched disparity, pixels.", digits=2, of="clip"),
    Measure("d1", "D1", "lower", "Share of matches that are off by 3 pixels and 5 % (KITTI 2015).", of="clip"),
)
MEASURES: Final[Mapping[str, Measure]] = {measure.key: measure for measure in TABLE}


@dataclass(frozen=True, slots=True)
class FrameScores:
    """What one frame scored."""

    index: int
    """Number in its clip."""
    name: str
    time: float
    """Seconds."""
    valid: int
    """Pixels that were compared."""
    values: Values


@dataclass(frozen=True, slots=True)
class ClipScores:
    """What one clip scored."""

    name: str
    values: Values
    """Means over the frames, and what is of the clip as a whole."""
    frames: tuple[FrameScores, ...]
    """Those that were compared."""
    fits: tuple[tuple[float, float], ...]
    """Scale and shift from the predicted to the true inverse depth: one, or one for each frame."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a method scored on a data set."""

    dataset: str
    method: str
    """Name of the row in a table."""
    protocol: str
    provenance: Mapping[str, object]
    """What made it: version, network, weights, settings."""
    clips: tuple[ClipScores, ...]

    @property
    def values(self) -> Values:
        """Means over the clips, each clip counting alike, as published."""
        return mean_values(clip.values for clip in self.clips)


def mean_values(rows: Iterable[Values]) -> Values:
    """Mean of each measure over the rows in which it applies."""
    columns: dict[str, list[float]] = {}
    for row in rows:
        for key, value in row.items():
            columns.setdefault(key, []).append(value)
    means = {key: [value for value in values if isfinite(value)] for key, values in columns.items()}
    return {key: sum(values) / len(values) if values else float("nan") for key, values in means.items()}
