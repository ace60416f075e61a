"""`recon depth`: the depth maps alone."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from recon.settings import (
    DepthMapSettings,
    DepthRunSettings,
    DepthSettings,
    SamplingSettings,
    ShotSettings,
    StoreSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_folder, preview_of, record


def depth(
    video: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    sampling: Annotated[SamplingSettings, flat("Sampling")] = SamplingSettings(),
    depth: Annotated[DepthSettings, flat("Depth")] = DepthSettings(),
    shots: Annotated[ShotSettings, flat("Shots")] = ShotSettings(),
    maps: Annotated[DepthMapSettings, flat("Maps")] = DepthMapSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Write the depth of every frame: NPZ, 16-bit PNG, EXR or lossless 16-bit video, and a preview in colour.

    Parameters
    ----------
    video
        Video, folder or glob of pictures, or one picture.
    output
        Folder to write; VIDEO-depth in the current folder where not given.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "maps": maps, "store": store}
    settings = merged(DepthRunSettings, general.config, sections)
    output = claimed_folder(output or Path(f"{video.stem}-depth"), video, overwrite=general.overwrite)
    preview = preview_of(output)
    with terminal(general) as screen:
        from recon.io.video import open_source
        from recon.pipelines import depth_maps, told_origin, write_maps, write_preview

        source = open_source(video, settings.sampling)
        with depth_maps(source, output, settings, screen) as (found, origin):
            write_maps(source, found, output, settings.maps, screen)
            if settings.maps.preview:
                write_preview(source, found, preview, screen)
            facts = {"source": dict(source.identity), "depth": dict(origin), "frames": found.frame_count}
            rows = [
                ("depth", told_origin(origin)),
                ("frames", str(found.frame_count)),
                (
                    "holds",
                    "depth in metres"
                    if found.quantity == "depth"
                    else "disparity (inverse depth up to scale and shift)",
                ),
            ]
        beside = record(output, settings, facts)
        rows += [("preview", preview.name)] if settings.maps.preview else []
        screen.table(str(output), [*rows, ("settings", beside.name)])
