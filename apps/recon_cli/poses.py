"""`recon poses`: where the camera was."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recon.errors import OptionError
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
from recon_cli.outputs import (
    claimed_file,
    claimed_model,
    claimed_pictures,
    earlier_results,
    numbered,
    record,
    replaced,
    reports_of,
)

if TYPE_CHECKING:
    from recon.pipelines import Found, Reconstruction
    from recon.pipelines.pose_files import Kind

_KINDS: "dict[str, Kind]" = {".tum": "tum", ".txt": "tum", ".kitti": "kitti", ".json": "transforms", "": "colmap"}
"""What an ending of the output means."""
_FOLDERS = {"colmap", "colmap-text"}
_WITHOUT_PICTURES = {"tum", "kitti"}
_DEFAULTS: "dict[Kind, str]" = {
    "tum": "{}.tum",
    "kitti": "{}.kitti",
    "transforms": "{}-poses/transforms.json",
    "colmap": "{}-colmap",
    "colmap-text": "{}-colmap",
}


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
    settings = merged(PosesSettings, general.config, sections)
    kind = _kind(settings.poses, output)
    output = _claimed(output or Path(_DEFAULTS[kind].format(video.stem)), kind, settings, video, general)
    settings = settings.model_copy(update={"poses": settings.poses.model_copy(update={"format": kind})})
    with terminal(general) as screen:
        from recon.pipelines import pose_run
        from recon.pipelines.pose_files import told_names
        from recon.pipelines.report import rows, run_report, write_report

        with pose_run(video, output, settings, screen) as run:
            run.require_placed()
            written = _write(run, output, kind, pictures=settings.poses.pictures)
            told = [(name, found.sentence) for name, found in written.items()]
            report = run_report(run, told) if run.depth_origin else None
        for earlier in reports_of(output):
            earlier.unlink(missing_ok=True)
        if report is not None:
            write_report(report, *reports_of(output))
        segments = {name: found.facts for name, found in written.items()}
        beside = record(output, settings, run.provenance | {"segments": segments})
        if not settings.poses.pictures and kind not in _WITHOUT_PICTURES:
            told.append(("pictures", told_names(run)))
        verdict = [] if report is None else [*rows(report), ("report", reports_of(output)[1].name)]
        screen.table(str(output), [*run.summary, *told, *verdict, ("settings", beside.name)])


def _kind(settings: PoseFileSettings, output: Path | None) -> "Kind":
    """The format: as it is asked for, or as the output's name says."""
    if settings.format != "auto":
        return settings.format
    if output is None:
        return "tum"
    try:
        return _KINDS[output.suffix.lower()]
    except KeyError as error:
        raise OptionError(
            f"{output}: must end in .tum, .txt, .kitti or .json, or be a folder; or say --format"
        ) from error


def _claimed(output: Path, kind: "Kind", settings: PosesSettings, video: Path, general: General) -> Path:
    if settings.poses.pictures and kind in _WITHOUT_PICTURES:
        raise OptionError(f"--pictures: {kind} names no pictures; give --format transforms or colmap")
    if kind in _FOLDERS:
        return claimed_model(output, video, overwrite=general.overwrite)
    if settings.poses.pictures:
        claimed_pictures(output.with_name("images"))
    beside = _beside(output, kind)
    return claimed_file(output, output.suffix.lower(), video, overwrite=general.overwrite, beside=beside)


def _beside(output: Path, kind: "Kind") -> list[Path]:
    """Further files of one segment."""
    suffixes = {"kitti": [".times.txt"], "transforms": [".ply"]}.get(kind, [])
    return [output.with_name(output.stem + suffix) for suffix in suffixes]


def _write(run: "Reconstruction", output: Path, kind: "Kind", *, pictures: bool) -> "dict[str, Found]":
    """Write every segment, the one with the most frames first: it gets the name that was asked for."""
    from recon.files import filling, whole_folder
    from recon.pipelines.pose_files import IMAGES, picture_names, write_pictures, write_poses

    largest_first = sorted(run.found, key=lambda found: len(found.frames), reverse=True)
    earlier = set() if kind in _FOLDERS else earlier_results(output, "segments")
    files = _models() if kind in _FOLDERS else (path.name for path in numbered(output, earlier))
    written = dict(zip(files, largest_first, strict=False))
    names = picture_names(run, kind, output.parent, written=pictures)
    with (whole_folder if kind in _FOLDERS else filling)(output) as folder:
        if pictures:
            write_pictures(run.source, folder / IMAGES, run.maps.frame_count, run.observer)
        for file, found in written.items():
            write_poses(run, found, folder / file, kind, names)
        if kind not in _FOLDERS:
            for stale in (path for each in earlier for path in (each, *_beside(each, kind))):
                stale.unlink(missing_ok=True)
            replaced(output.parent, folder)
    return written


def _models() -> Iterator[str]:
    """As COLMAP numbers them."""
    return (f"sparse/{number}" for number in count())
