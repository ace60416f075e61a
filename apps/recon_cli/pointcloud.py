"""`recon pointcloud`: one coloured point cloud from one video."""

from pathlib import Path
from tempfile import TemporaryDirectory
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
from recon_cli.outputs import claimed, record

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
    settings = merged(PointcloudSettings, general.config, sections)
    output = claimed(output or Path(f"{video.stem}.ply"), ".ply", overwrite=general.overwrite)
    with terminal(general) as screen:
        from recon.pipelines import reconstruction

        with reconstruction(video, output, settings, screen) as run:
            clouds = _write(run, output)
        beside = record(output, settings, run.provenance | {"clouds": {path.name: note.facts for path, note in clouds}})
        rows = [(path.name, note.sentence) for path, note in clouds]
        screen.table(str(output), [*run.summary, *rows, ("settings", beside.name)])


def _write(run: "Reconstruction", output: Path) -> list[tuple[Path, "SegmentSummary"]]:
    """Write every segment's cloud; the one with the most frames gets the name that was asked for."""
    from recon.files import PARTIAL
    from recon.io.cloud import write_ply

    with TemporaryDirectory(prefix=f"{output.name}.", suffix=PARTIAL, dir=output.parent) as folder:
        parts = []
        for number, segment in enumerate(run.clouds()):
            parts.append((Path(folder) / str(number), segment.summary))
            write_ply(parts[-1][0], segment.cloud, run.comments(segment.summary))
        parts.sort(key=lambda part: part[1].frames, reverse=True)
        names = [output, *(output.with_name(f"{output.stem}.{rank}.ply") for rank in range(2, len(parts) + 1))]
        return [(part.replace(name), summary) for name, (part, summary) in zip(names, parts, strict=True)]
