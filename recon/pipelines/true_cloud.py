"""The cloud that depth gives where poses are true, beside the one that true depth gives: what a user would see."""

from collections.abc import Iterable
from math import nan

import numpy as np

from recon.evaluation.alignment import aligned_depth, valid_pixels
from recon.evaluation.clouds import FARTHEST, Points, compare_clouds
from recon.evaluation.measures import Values
from recon.evaluation.truth import TruthCamera, TruthClip
from recon.geometry import transform, unproject
from recon.settings import EDGE
from recon.stages.clean import flying
from recon.stages.fuse import CloudFuser
from recon.types import DepthMap, Quantity

VOXELS_WITHIN_THRESHOLD = 2
"""How much finer the clouds are than the distance at which a point counts as right."""


def predicted_and_true(
    clip: TruthClip, maps: Iterable[DepthMap], quantity: Quantity, fit: tuple[float, float], threshold: float
) -> tuple[Points, Points] | None:
    """The fused points of the predicted depth, after its fit, and of the true one, all with the true poses.

    Only pixels with true depth take part, in both, and flying pixels are left out as `recon pointcloud` does. None
    where fewer than two frames have a pose, or the frames have nothing in common.

    Args:
        clip: its truth and cameras.
        maps: the prediction for every frame, in order.
        quantity: what the predictions hold.
        fit: scale and shift from the predicted to the true inverse depth.
        threshold: metres at which a point will count as right; the clouds are twice as fine.
    """
    posed = {number for number in clip.scored if number in clip.cameras}
    if not clip.one_gauge or len(posed) < 2:
        return None
    predicted, true = (CloudFuser(threshold / VOXELS_WITHIN_THRESHOLD) for _ in range(2))
    for number, (frame, values) in enumerate(zip(clip.frames, maps, strict=True)):
        if number not in posed or frame.depth is None:
            continue
        truth = within(clip.read_depth(frame.depth), clip.max_depth)
        depth = aligned_depth(values, quantity, fit, clip.max_depth, (truth.shape[0], truth.shape[1]))
        _add(true, truth, clip.cameras[number])
        _add(predicted, _trusted(depth, truth), clip.cameras[number])
    return predicted.cloud().points, true.cloud().points


def cloud_values(predicted: Points, true: Points, threshold: float) -> Values:
    """What two clouds in one world score at a distance in metres; nothing where there is no true point.

    A prediction without a single point that is trusted recalls nothing.
    """
    if not len(true):
        return {}
    if not len(predicted):
        return {"cloud_precision": nan, "cloud_recall": 0.0, "cloud_f1": 0.0}
    found = compare_clouds(predicted, true, thresholds=[threshold], farthest=max(FARTHEST, threshold))
    (agreement,) = found.agreements
    return {
        "cloud_precision": agreement.precision,
        "cloud_recall": agreement.recall,
        "cloud_f1": agreement.f_score,
        "cloud_accuracy": found.accuracy.median,
        "cloud_completeness": found.completeness.median,
    }


def within(truth: DepthMap, max_depth: float) -> DepthMap:
    """True depth where it counts; NaN elsewhere."""
    return np.where(valid_pixels(truth, max_depth), truth, np.float32(np.nan))


def _trusted(depth: DepthMap, truth: DepthMap) -> DepthMap:
    left_out = flying(depth, EDGE) | np.isnan(truth)
    return np.where(left_out, np.float32(np.nan), depth)


def _add(fuser: CloudFuser, depth: DepthMap, camera: TruthCamera) -> None:
    """Positions alone, nearer ones weighing more (see ``recon.stages.fuse.view_of``)."""
    known = np.isfinite(depth)
    points = transform(camera.world_from_camera, unproject(depth, camera.intrinsics)[known])
    unused = np.zeros((len(points), 3), np.float32)
    fuser.add(points, unused.astype(np.uint8), unused, 1 / np.square(depth[known]))
