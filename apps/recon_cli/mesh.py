"""`recon mesh`: a textured mesh from one video."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recon.settings import (
    AnchorSettings,
    CameraSettings,
    CleanSettings,
    DepthSettings,
    FuseSettings,
    MeshSettings,
    SamplingSettings,
    SceneSettings,
    ShotSettings,
    StoreSettings,
    SurfaceSettings,
    TextureSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_file, earlier_count, earlier_results, numbered, record, replaced, reports_of

if TYPE_CHECKING:
    from recon.pipelines import Reconstruction
    from recon.pipelines.mesh import MeshSummary


def mesh(
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
    surface: Annotated[SurfaceSettings, flat("Surface")] = SurfaceSettings(),
    texture: Annotated[TextureSettings, flat("Texture")] = TextureSettings(),
    scene: Annotated[SceneSettings, flat("Files")] = SceneSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Turn a video, a folder of pictures or one picture into a textured mesh that stands upright.

    Parameters
    ----------
    video
        Video, folder or glob of pictures, or one picture.
    output
        .glb, .obj, .ply, .stl or .usdz file to write; VIDEO.glb in the current folder where not given.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "camera": camera, "anchor": anchor}
    sections |= {"clean": clean, "fuse": fuse, "surface": surface, "texture": texture, "scene": scene, "store": store}
    with terminal(general) as screen:
        settings = merged(MeshSettings, general.config, sections)
        output = output or Path(f"{video.stem}.glb")
        from recon.io.scene import require_format
        from recon.pipelines.mesh import require_packages

        require_format(output)
        require_packages(settings)
        beside = _files(output, 1 + len(settings.surface.lods))[1:]
        output = claimed_file(output, output.suffix.lower(), video, overwrite=general.overwrite, beside=beside)
        from recon.pipelines import reconstruction
        from recon.pipelines.report import rows, run_report, write_report

        with reconstruction(video, output, settings, screen) as run:
            run.require_placed()
            written = _write(run, output, settings)
            told = [(name, summary.sentence) for name, summary in written.items()]
            report = run_report(run, told)
        write_report(report, *reports_of(output))
        facts: dict[str, object] = {"cameras": [found.facts for found in run.found]}
        facts |= {"meshes": {name: summary.facts for name, summary in written.items()}}
        facts |= {"levels": 1 + len(settings.surface.lods)}
        beside_it = record(output, settings, run.provenance | facts)
        files = [("report", reports_of(output)[1].name), ("settings", beside_it.name)]
        upright = [("upright", summary.upright) for summary in list(written.values())[:1]]
        screen.table(str(output), [*run.summary, *run.cameras, *upright, *rows(report), *told, *files])


def _files(output: Path, levels: int) -> list[Path]:
    """All files of a mesh: its own, the material and texture beside it, and those of its coarser levels."""
    from recon.io.scene import files_of, level_path

    return [file for level in range(levels) for file in files_of(level_path(output, level))]


def _write(run: "Reconstruction", output: Path, settings: MeshSettings) -> "dict[str, MeshSummary]":
    """Write every segment's mesh; the one with the most frames gets the name that was asked for."""
    from recon.files import filling
    from recon.pipelines.mesh import meshes, write_mesh

    files_of = partial(_files, levels=1 + len(settings.surface.lods))
    earlier = earlier_results(output, "meshes")
    stale = [path for each in earlier for path in _files(each, earlier_count(output, "levels"))]
    largest_first = sorted(run.found, key=lambda found: len(found.frames), reverse=True)
    names = dict(zip(map(id, largest_first), numbered(output, earlier, files_of), strict=False))
    written = {}
    with filling(output) as folder:
        for made in meshes(run, settings):
            name = names[id(made.found)].name
            write_mesh(folder / name, made, settings.scene)
            written[name] = made.summary
        for path in stale:
            path.unlink(missing_ok=True)
        replaced(output.parent, folder)
    return dict(sorted(written.items(), key=lambda item: item[1].frames, reverse=True))
