"""`recon depth`: the depth maps alone."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from recon.settings import (
    AnchorSettings,
    CameraSettings,
    DepthMapSettings,
    DepthRunSettings,
    DepthSettings,
    SamplingSettings,
    ShotSettings,
    StoreSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_folder, preview_of, record, reports_of


def depth(
    video: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    sampling: Annotated[SamplingSettings, flat("Sampling")] = SamplingSettings(),
    depth: Annotated[DepthSettings, flat("Depth")] = DepthSettings(),
    shots: Annotated[ShotSettings, flat("Shots")] = ShotSettings(),
    camera: Annotated[CameraSettings, flat("Camera")] = CameraSettings(),
    anchor: Annotated[AnchorSettings, flat("Metres")] = AnchorSettings(),
    maps: Annotated[DepthMapSettings, flat("Maps")] = DepthMapSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Write the depth of every frame: NPZ, 16-bit PNG, EXR or lossless 16-bit video, and a preview in colour.

    Depth is in metres along the optical axis (or in the units of a SLAM map) where an anchor is given or asked for;
    else it is what the network says: disparity, mostly.

    Parameters
    ----------
    video
        Video, folder or glob of pictures, or one picture.
    output
        Folder to write; VIDEO-depth in the current folder where not given.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "camera": camera, "anchor": anchor}
    sections |= {"maps": maps, "store": store}
    with terminal(general) as screen:
        settings = merged(DepthRunSettings, general.config, sections)
        output = claimed_folder(output or Path(f"{video.stem}-depth"), video, overwrite=general.overwrite)
        preview = preview_of(output)
        from recon.pipelines import depth_run, write_maps, write_preview
        from recon.pipelines.report import rows, write_report

        with depth_run(video, output, settings, screen) as run:
            write_maps(run.source, run.maps, output, settings.maps, screen)
            if settings.maps.preview:
                write_preview(run.source, run.maps, preview, screen)
            report = run.report([(output.name, f"{run.maps.frame_count} maps, {settings.maps.format}")])
        told = [("preview", preview.name)] if settings.maps.preview else []
        for earlier in reports_of(output):
            earlier.unlink(missing_ok=True)
        if report is not None:
            write_report(report, *reports_of(output))
            told = [*rows(report), *told, ("report", reports_of(output)[1].name)]
        beside = record(output, settings, run.provenance)
        screen.table(str(output), [*run.summary, *told, ("settings", beside.name)])
