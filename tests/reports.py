"""Self-reports made by hand: a kitchen with a good sparse map, by default."""

from math import nan

from recon.evaluation.trust import (
    AnchorReport,
    CameraReport,
    CurvePoint,
    PictureReport,
    RunReport,
    SeamReport,
    ShotReport,
)

CAMERA_KNOWN = CameraReport(62.7, None, "camera.json", False)


def picture(
    time: float = 0.0, *, order: float = 0.91, level: float = 0.004, weight: float = 1.1, residual: float = 0.05
) -> PictureReport:
    return PictureReport(time, 1068, 22, 11, residual, order, level, weight)


def anchor() -> AnchorReport:
    seen = (picture(0.0), picture(0.5, order=nan), picture(1.0, order=-0.75, level=1.35, weight=0.25))
    return AnchorReport(
        length_sigma=0.0096,
        unit_sigma=0.0,
        drift=0.0547,
        scatter=0.014,
        inlier_ratio=0.989,
        places=49679,
        pictures=50,
        left_out=1128,
        outliers=535,
        depth=22.8,
        residual_mad=0.00241,
        mismatch=0.0549,
        misordered=0.0,
        off=0.02,
        levels=1.3,
        gap=0.0667,
        seen=seen,
        rejected=seen[2:],
    )


def shot() -> ShotReport:
    curve = (CurvePoint(0.0, 0.0071, 0.0001, 0.0216, 0.0003), CurvePoint(1.0, 0.0083, 0.0001, 0.025, 0.0003))
    smooth = (CurvePoint(0.0, 0.0072, 0.0001, 0.0217, 0.0004), CurvePoint(1.0, 0.0082, 0.0001, 0.0251, 0.0004))
    seams = (SeamReport(0.8, 0.008, -0.003), SeamReport(1.5, -0.049, nan))
    return ShotReport(
        number=0,
        start=0.0,
        end=4.97,
        frames=150,
        used=True,
        units="slam",
        origin="sparse points of sfm",
        basis="anchor",
        median_depth=22.8,
        curve=curve,
        smooth=smooth,
        anchor=anchor(),
        seams=seams,
        seam_jump=0.0285,
        seam_usual=0.03,
    )


def report(*shots: ShotReport, camera: CameraReport | None = None) -> RunReport:
    return RunReport(
        recon="0.1.0",
        source="kitchen.mp4",
        width=640,
        height=480,
        frames=150,
        depth="depth-anything-v2-s, input_size 518",
        poses="sfm (50 poses)",
        without_pose=2,
        camera=camera or CAMERA_KNOWN,
        shots=shots or (shot(),),
        results=(("kitchen.ply", "104,640 points"),),
    )
