"""`recon poses`: where the camera was."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recon.io.pose_layout import Layout, layout_of
from recon.settings import (
    AnchorSettings,
    CameraSettings,
    CleanSettings,
    DepthSettings,
    PoseFileSettings,
    PosesSettings,
    SamplingSettings,
    ShotSettings,
    StoreSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_poses, earlier_results, numbered, record, replaced, reports_of

if TYPE_CHECKING:
    from recon.pipelines import Found, Reconstruction


def poses(
    video: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    sampling: Annotated[SamplingSettings, flat("Sampling")] = SamplingSettings(),
    depth: Annotated[DepthSettings, flat("Depth")] = DepthSettings(),
    shots: Annotated[ShotSettings, flat("Shots")] = ShotSettings(),
    camera: Annotated[CameraSettings, flat("Camera")] = CameraSettings(),
    anchor: Annotated[AnchorSettings, flat("Metres")] = AnchorSettings(),
    clean: Annotated[CleanSettings, flat("Cleaning")] = CleanSettings(),
    poses: Annotated[PoseFileSettings, flat("Poses")] = PoseFileSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Write where the camera was in every frame: TUM, KITTI, transforms.json or a COLMAP model.

    Poses are in the world of the cloud that `recon pointcloud` makes with the same options. With --trajectory, that
    trajectory is brought to the times of the frames; neither it nor --static needs depth.

    Parameters
    ----------
    video
        Video, folder or glob of pictures, or one picture.
    output
        .tum or .txt (TUM), .kitti, .json (transforms.json), or a folder (COLMAP); VIDEO.tum in the current folder
        where not given.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "camera": camera, "anchor": anchor}
    sections |= {"clean": clean, "poses": poses, "store": store}
    with terminal(general) as screen:
        settings = merged(PosesSettings, general.config, sections)
        layout = layout_of(settings.poses.format, output, pictures=settings.poses.pictures)
        known = settings.model_copy(update={"poses": settings.poses.model_copy(update={"format": layout.kind})})
        output = output or Path(layout.default.format(video.stem))
        claimed_poses(output, layout, video, pictures=settings.poses.pictures, overwrite=general.overwrite)
        from recon.pipelines import pose_run
        from recon.pipelines.pose_files import told_names
        from recon.pipelines.report import rows, run_report, write_report

        with pose_run(video, output, known, screen) as run:
            run.require_placed()
            written = _write(run, output, layout, pictures=settings.poses.pictures)
            told = [(name, found.sentence) for name, found in written.items()]
            report = run_report(run, told) if run.depth_origin else None
        for earlier in reports_of(output):
            earlier.unlink(missing_ok=True)
        if report is not None:
            write_report(report, *reports_of(output))
        segments = {name: found.facts for name, found in written.items()}
        beside = record(output, settings, run.provenance | {"segments": segments})
        if layout.names_pictures and not settings.poses.pictures:
            told.append(("pictures", told_names(run)))
        verdict = [] if report is None else [*rows(report), ("report", reports_of(output)[1].name)]
        screen.table(str(output), [*run.summary, *told, *verdict, ("settings", beside.name)])


def _write(run: "Reconstruction", output: Path, layout: Layout, *, pictures: bool) -> "dict[str, Found]":
    """Write every segment, the one with the most frames first: it gets the name that was asked for."""
    from recon.files import filling, whole_folder
    from recon.pipelines.pose_files import write_result

    largest_first = sorted(run.found, key=lambda found: len(found.frames), reverse=True)
    if layout.is_folder:
        models = {f"sparse/{number}": found for number, found in enumerate(largest_first)}  # as COLMAP counts
        with whole_folder(output) as folder:
            write_result(run, models, output, layout, pictures=pictures, into=folder)
        return models
    earlier = earlier_results(output, "segments")
    names = (path.name for path in numbered(output, earlier, layout.files))
    files = dict(zip(names, largest_first, strict=False))
    with filling(output) as folder:
        write_result(run, files, output, layout, pictures=pictures, into=folder)
        for stale in (path for each in earlier for path in layout.files(each)):
            stale.unlink(missing_ok=True)
        replaced(output.parent, folder)
    return files
