"""`recon convert`: clouds, meshes and trajectories from one format to another."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from recon.settings import ConvertRunSettings, ConvertSettings, SceneSettings
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_conversion, record, replaced, reports_of

if TYPE_CHECKING:
    from recon.pipelines.convert import Conversion, Target

HEAVY = 50_000_000
"""Bytes of a file from which on it is shown that something happens."""


def convert(
    source: Path,
    output: Path,
    /,
    *,
    convert: Annotated[ConvertSettings, flat("Conversion")] = ConvertSettings(),
    scene: Annotated[SceneSettings, flat("Files")] = SceneSettings(),
    general: General = General(),
) -> None:
    """Write a cloud, a mesh or a trajectory in another format, and say what that one has no place for.

    Units, notes, axes, colours, textures, normals, cameras, names of pictures, points and tracks are carried where the
    format holds them. Axes are turned where both are known; trajectories and splats stay in their world unless --up is
    given. A mesh with a camera path becomes a trajectory, and a COLMAP model a cloud, where the output is one.

    Parameters
    ----------
    source
        Cloud or mesh (.glb .gltf .obj .ply .stl .usdz .usd .las .laz .e57 .xyz .pts), or trajectory (TUM, KITTI, EuRoC,
        a COLMAP model, transforms.json, Record3D, ARKitScenes, ViPE, a folder of *.pose.txt).
    output
        .glb, .obj, .ply, .stl, .usdz, .las, .laz or .e57; .tum or .txt (TUM), .kitti, .json (transforms.json), or a
        folder (COLMAP).
    """
    with terminal(general) as screen:
        settings = merged(ConvertRunSettings, general.config, {"convert": convert, "scene": scene})
        from recon.pipelines.convert import target_of

        target = target_of(output, settings.convert.format)
        claim = partial(claimed_conversion, output, target.layout, source, overwrite=general.overwrite)
        work = _work(source, target, settings, claim)
        is_heavy = source.is_file() and source.stat().st_size > HEAVY
        (made,) = (each for each in (screen.watch(work, "converting", 2) if is_heavy else work) if each is not None)
        beside = record(output, settings, made.facts)
        screen.table(str(output), [*made.rows, ("settings", beside.name)])


def _work(
    source: Path, target: "Target", settings: ConvertRunSettings, claim: Callable[..., Path]
) -> "Iterator[Conversion | None]":
    """The two steps that take time: reading, then writing."""
    from recon.files import filling
    from recon.pipelines.convert import conversion

    place = claim()
    made = conversion(source, target, settings)
    claim(beside=made.beside)
    yield None
    if target.layout is not None and target.layout.is_folder:
        made.write(place)
    else:
        with filling(target.path) as folder:
            made.write(folder / target.path.name)
            replaced(target.path.parent, folder)
    for earlier in reports_of(target.path):
        earlier.unlink(missing_ok=True)
    yield made
