"""`recon pointcloud`: one coloured point cloud from one video."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recon.settings import (
    AnchorSettings,
    CameraSettings,
    CleanSettings,
    DepthSettings,
    FuseSettings,
    PointcloudSettings,
    SamplingSettings,
    ShotSettings,
    StoreSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_file, earlier_results, numbered, record, reports_of

if TYPE_CHECKING:
    from recon.pipelines import Reconstruction, SegmentSummary


def pointcloud(
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
    fuse: Annotated[FuseSettings, flat("Fusion")] = FuseSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Turn a video, a folder of pictures or one picture into a coloured point cloud.

    Parameters
    ----------
    video
        Video, folder or glob of pictures, or one picture.
    output
        PLY file to write; VIDEO.ply in the current folder where not given.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "camera": camera, "anchor": anchor}
    sections |= {"clean": clean, "fuse": fuse, "store": store}
    with terminal(general) as screen:
        settings = merged(PointcloudSettings, general.config, sections)
        output = claimed_file(output or Path(f"{video.stem}.ply"), ".ply", video, overwrite=general.overwrite)
        from recon.pipelines import reconstruction
        from recon.pipelines.report import rows, run_report, write_report

        with reconstruction(video, output, settings, screen) as run:
            run.require_placed()
            clouds = _write(run, output)
            told = [(path.name, note.sentence) for path, note in clouds]
            report = run_report(run, told)
            write_report(report, *reports_of(output))
        facts: dict[str, object] = {"cameras": [found.facts for found in run.found]}
        facts |= {"clouds": {path.name: note.facts for path, note in clouds}}
        beside = record(output, settings, run.provenance | facts)
        files = [("report", reports_of(output)[1].name), ("settings", beside.name)]
        screen.table(str(output), [*run.summary, *run.cameras, *rows(report), *told, *files])


def _write(run: "Reconstruction", output: Path) -> list[tuple[Path, "SegmentSummary"]]:
    """Write every segment's cloud; the one with the most frames gets the name that was asked for."""
    from recon.files import filling
    from recon.io.cloud import write_ply

    with filling(output) as folder:
        parts = []
        for number, segment in enumerate(run.clouds()):
            parts.append((folder / str(number), segment.summary))
            write_ply(parts[-1][0], segment.cloud, run.comments(segment.summary))
        parts.sort(key=lambda part: part[1].frames, reverse=True)
        earlier = earlier_results(output, "clouds")
        clouds = [(name, summary) for name, (_part, summary) in zip(numbered(output, earlier), parts, strict=False)]
        for (name, _summary), (part, _same) in zip(clouds, parts, strict=True):
            part.replace(name)
    for stale in earlier - {name for name, _summary in clouds}:
        stale.unlink(missing_ok=True)
    return clouds
