"""`recon stereo3d`: a film for two eyes."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from recon.settings import (
    AnchorSettings,
    CameraSettings,
    DepthSettings,
    EncodingSettings,
    LayoutSettings,
    SamplingSettings,
    ShotSettings,
    StereoRunSettings,
    StereoSettings,
    StoreSettings,
)
from recon_cli.console import terminal
from recon_cli.options import General, flat, merged
from recon_cli.outputs import claimed_file, is_done, record

if TYPE_CHECKING:
    from recon_cli.console import Terminal

logger = logging.getLogger("recon")


def stereo3d(
    video: Path,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    verify: bool = False,
    recursive: bool = False,
    sampling: Annotated[SamplingSettings, flat("Sampling")] = SamplingSettings(),
    depth: Annotated[DepthSettings, flat("Depth")] = DepthSettings(),
    shots: Annotated[ShotSettings, flat("Shots")] = ShotSettings(),
    camera: Annotated[CameraSettings, flat("Camera")] = CameraSettings(),
    anchor: Annotated[AnchorSettings, flat("Metres")] = AnchorSettings(),
    stereo: Annotated[StereoSettings, flat("Stereo")] = StereoSettings(),
    layout: Annotated[LayoutSettings, flat("Layout")] = LayoutSettings(),
    encoding: Annotated[EncodingSettings, flat("Encoding")] = EncodingSettings(),
    store: Annotated[StoreSettings, flat("Depth store")] = StoreSettings(),
    general: General = General(),
) -> None:
    """Make a film, or a picture, for two eyes: side by side, anaglyph, VR180 and others, with all that the film had.

    Sound, subtitles, chapters, tags and times stay; a run that was stopped goes on where it was.

    Parameters
    ----------
    video
        Film or picture; or a folder of them, each of which is converted.
    output
        File to write (.mp4, .mov, .mkv; .png or .jpg of a picture; .gif of a wiggle), or a folder. Where not given, a
        name in the current folder from which players know the layout; of a folder, beside each of its films.
    verify
        Only say what a 3D film is: its layout, which eye is which (measured), its parallax, and all that signals it.
    recursive
        Also convert what lies in the folders of a folder.
    """
    sections = {"sampling": sampling, "depth": depth, "shots": shots, "camera": camera, "anchor": anchor}
    sections |= {"stereo": stereo, "layout": layout, "encoding": encoding, "store": store}
    with terminal(general) as screen:
        settings = merged(StereoRunSettings, general.config, sections)
        if verify:
            from recon.pipelines.stereo_verify import verified

            screen.table(str(video), verified(video).rows)
        elif video.is_dir():
            _batch(video, output, settings, general, screen, recursive=recursive)
        else:
            _convert(video, output, settings, general, screen)


def _convert(
    video: Path, output: Path | None, settings: StereoRunSettings, general: General, screen: "Terminal"
) -> None:
    from recon.pipelines.stereo import require_flat, stereo_run
    from recon.pipelines.stereo_film import files_of, output_of, require_encoding, require_ending, write_film
    from recon.pipelines.stereo_picture import is_picture, write_picture, write_wiggle

    output = output or output_of(video, settings.layout)
    output = output / output_of(video, settings.layout).name if output.is_dir() else output
    require_ending(output, video, settings.layout)
    files = files_of(output, settings.layout)
    output = claimed_file(output, output.suffix.lower(), video, overwrite=general.overwrite, beside=files)
    require_flat(video, settings)
    if settings.layout.layout != "wiggle" and not is_picture(video):
        require_encoding(video, settings)
    with stereo_run(video, output, settings, screen) as run:
        if settings.layout.layout == "wiggle":
            told = [("moments", str(write_wiggle(run, output)))]
        elif is_picture(video):
            told = [("files", ", ".join(path.name for path in write_picture(run, output)))]
        else:
            told = write_film(run, output, settings, screen).rows
        beside = record(output, settings, run.provenance)
        screen.table(str(output), [*run.summary, *told, ("settings", beside.name)])


def _batch(
    folder: Path,
    output: Path | None,
    settings: StereoRunSettings,
    general: General,
    screen: "Terminal",
    *,
    recursive: bool,
) -> None:
    """Each file of a folder; one that fails does not stop the others, but the command then fails."""
    from recon.errors import AlreadyStereoError, ReconError
    from recon.io.video import open_source
    from recon.pipelines.stereo_film import files_of, films_of, output_of

    failed, videos = 0, films_of(folder, recursive=recursive)
    for video in videos:
        place = (output or folder) / video.relative_to(folder).parent
        target = place / output_of(video, settings.layout).name
        try:
            if is_done(target, files_of(target, settings.layout), settings, open_source(video, settings.sampling)):
                logger.info("%s: is done", target)
                continue
            _convert(video, target, settings, general, screen)
        except AlreadyStereoError as error:
            logger.warning("passed over: %s", error)
        except ReconError as error:
            failed += 1
            logger.error("%s", error)  # noqa: TRY400 - one line, no traceback
    if failed:
        raise ReconError(f"{folder}: {failed} of {len(videos)} could not be converted, see above")
