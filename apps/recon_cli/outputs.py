"""Where results go: nothing of the user's is overwritten, and what made a result stands beside it."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import yaml

from recon import __version__
from recon.errors import OptionError
from recon.files import whole_file
from recon.io.pose_layout import Layout
from recon.io.source import Source
from recon.settings import Section, read_yaml
from recon_cli.options import PROVENANCE

_OURS = re.compile(r"depth\.json|depth\.mkv|depth_\d+\.(npz|png|exr)")

_OUR_PICTURE = re.compile(r"frame_\d{6,}\.jpg")
_OUR_MODEL = re.compile(r"images/frame_\d{6,}\.jpg|sparse/\d+/(cameras|images|points3D)\.(bin|txt)")
_MODEL_FILES = {f"{name}{suffix}" for name in ("cameras", "images", "points3D") for suffix in (".bin", ".txt")}
_REPORT_BEGINS = re.compile(rb'^\s*\{\s*"format": "recon report"|<meta name="generator" content="recon">')
_FOR_ONE_RUN = {"store": {"fresh"}}
"""Settings that say nothing of a result."""
_HEADER = 1000
"""Bytes within which a file says that recon wrote it."""

REPORT = "report.json"
"""The file of a report that others are made from."""
_REPORT_FILES = {REPORT, "report.md", "comparison.md", "frames.csv", "index.html", "clips", "depth"}


RESULT_SUFFIXES = (".ply", ".npz", ".npy", ".png", ".exr", ".mkv", ".mp4", ".tum", ".kitti", ".json", ".txt")
"""Endings that nobody gives to a folder."""


def claimed_file(output: Path, suffix: str, source: Path, *, overwrite: bool, beside: Sequence[Path] = ()) -> Path:
    """The file to write, checked before hours of work: its ending, its folder, and what is there already.

    ``beside`` are files that are written with it.

    Raises:
        OptionError: a wrong ending, or something that recon did not make is in the way.
    """
    if output.suffix.lower() != suffix:
        raise OptionError(f"{output}: must end in {suffix}")
    if output.is_dir():
        raise OptionError(f"{output}: is a folder; name a file")
    ours = _is_record(record_of(output))
    _require_free([output, record_of(output), *beside], source, overwrite=overwrite, ours=ours)
    _require_free_reports(output, source, overwrite=overwrite)
    return _in_folder(output)


def claimed_folder(output: Path, source: Path, *, overwrite: bool) -> Path:
    """The folder to write, checked before hours of work. One that holds anything else is never replaced.

    Raises:
        OptionError: a wrong name, or something that recon did not make is in the way.
    """
    if output.suffix.lower() in RESULT_SUFFIXES:
        raise OptionError(f"{output}: is to be a folder, without an ending")
    if output.exists() and not _holds_maps_alone(output):
        raise OptionError(f"{output}: holds something else than depth maps of recon; name another folder")
    beside = [record_of(output), preview_of(output)]
    _require_free(beside, source, overwrite=overwrite, ours=_is_record(record_of(output)))
    _require_free_reports(output, source, overwrite=overwrite)
    return _in_folder(output)


def claimed_poses(output: Path, layout: Layout, source: Path, *, pictures: bool, overwrite: bool) -> Path:
    """The file or COLMAP folder of poses, checked before hours of work.

    Raises:
        OptionError: a wrong name, or something that recon did not make for this output is in the way.
    """
    if layout.is_folder:
        _require_model(output, overwrite=overwrite)
        _require_free([record_of(output)], source, overwrite=overwrite, ours=_is_record(record_of(output)))
        _require_free_reports(output, source, overwrite=overwrite)
    else:
        beside = layout.files(output)[1:]
        claimed_file(output, output.suffix.lower(), source, overwrite=overwrite, beside=beside)
    if pictures or layout.is_folder:
        _require_own_pictures(layout.pictures(output), output, overwrite=overwrite)
    return _in_folder(output)


def claimed_conversion(
    output: Path, layout: Layout | None, source: Path, *, overwrite: bool, beside: Sequence[Path] = ()
) -> Path:
    """The file to write, or the folder of COLMAP's files: OUTPUT/sparse/0, or OUTPUT where it is such a place itself.

    Only an earlier conversion is replaced without being asked: other results took longer.

    Raises:
        OptionError: the input, or something that no conversion made, is in the way.
    """
    ours = "converted" in _provenance(record_of(output))
    is_folder = layout is not None and layout.is_folder
    place = output / "sparse" / "0" if is_folder and output.parent.name != "sparse" else output
    if is_folder:
        _require_free_model(place, source, replaceable=overwrite or ours)
    files = [record_of(output)] if is_folder else [output, record_of(output), *beside]
    _require_free(files, source, overwrite=overwrite, ours=ours)
    _require_free_reports(output, source, overwrite=overwrite)
    _in_folder(output)
    return place


def _require_free_model(place: Path, source: Path, *, replaceable: bool) -> None:
    """Only COLMAP's own three files are ever replaced, and never those that are the input."""
    inputs = (source, source / "sparse" / "0", source / "sparse", source / "0", source.parent)
    if place.exists() and any(each.exists() and place.samefile(each) for each in inputs):
        raise OptionError(f"{place}: is the input; name another output")
    if place.exists() and not (place.is_dir() and {each.name for each in place.iterdir()} <= _MODEL_FILES):
        raise OptionError(f"{place}: holds something else than cameras, images and points3D; name another folder")
    if place.exists() and any(place.iterdir()) and not replaceable:
        raise OptionError(f"{place}: holds a model already that no conversion made; --overwrite replaces it")


def _require_model(output: Path, *, overwrite: bool) -> None:
    if output.suffix.lower() in RESULT_SUFFIXES:
        raise OptionError(f"{output}: is to be a folder, without an ending")
    ours = overwrite or _is_record(record_of(output))
    if output.exists() and not (_holds_model_alone(output) and (ours or not any(output.iterdir()))):
        raise OptionError(f"{output}: holds something else than a COLMAP model of recon; name another folder")


def _require_own_pictures(folder: Path, output: Path, *, overwrite: bool) -> None:
    """Frames that somebody extracted with ffmpeg may be called as ours are: only what this output wrote is replaced."""
    if not folder.exists():
        return
    if not _holds_pictures_alone(folder):
        raise OptionError(f"{folder}: holds something else than pictures of recon; name another output")
    if not (overwrite or _wrote_pictures(output)) and any(folder.iterdir()):
        raise OptionError(f"{folder}: is there already, and not from {output.name}; --overwrite replaces it")


def claimed_report(output: Path, *, overwrite: bool) -> Path:
    """The folder of a report, checked before hours of work; one that an earlier run began is used.

    Raises:
        OptionError: a wrong name, or something that recon did not make is in the way.
    """
    if output.suffix.lower() in (*RESULT_SUFFIXES, ".json", ".html", ".md", ".csv"):
        raise OptionError(f"{output}: is to be a folder, without an ending")
    if output.exists() and not (output.is_dir() and {path.name for path in output.iterdir()} <= _REPORT_FILES):
        raise OptionError(f"{output}: holds something else than a report of recon; name another folder")
    _require_free([record_of(output)], output, overwrite=overwrite, ours=_is_record(record_of(output)))
    return _in_folder(output)


def claimed_comparison(output: Path, *, overwrite: bool) -> Path:
    """The folder of a comparison: never that of a report.

    Raises:
        OptionError: as for reports, or a report is there.
    """
    if (output / REPORT).exists():
        raise OptionError(f"{output}: holds a report, which a comparison would replace in part; name another folder")
    return claimed_report(output, overwrite=overwrite)


def preview_of(output: Path) -> Path:
    """Where the preview of a folder of maps stands."""
    return output.with_name(f"{output.name}.preview.mp4")


def replaced(folder: Path, by: Path) -> None:
    """Put what was written in its place; a folder of pictures that was there before goes."""
    for part in sorted(by.iterdir()):
        name = folder / part.name
        if part.is_dir() and name.exists():
            shutil.rmtree(name)
        part.replace(name)


def record_of(output: Path) -> Path:
    """Where the settings of a result stand."""
    return output.with_name(f"{output.name}.yaml")


def reports_of(output: Path) -> tuple[Path, Path]:
    """Where a run says what its result is worth: JSON and a page."""
    return output.with_name(f"{output.name}.report.json"), output.with_name(f"{output.name}.report.html")


def earlier_results(output: Path, key: str) -> set[Path]:
    """The files that an earlier run wrote for the same output, as its settings name them under ``key``."""
    names = _provenance(record_of(output)).get(key) or ()
    # whatever the file says, no other name is touched
    ours = re.compile(rf"{re.escape(output.stem)}(\.\d+)?{re.escape(output.suffix)}")
    return {output.with_name(name) for name in map(str, names) if ours.fullmatch(name)}


def earlier_count(output: Path, key: str) -> int:
    """A number that an earlier run wrote for the same output, from 1 to 99; 1 where there is none."""
    count = _provenance(record_of(output)).get(key)
    return count if isinstance(count, int) and 1 <= count < 100 else 1


def numbered(
    output: Path, ours: set[Path], files: Callable[[Path], Sequence[Path]] = lambda path: [path]
) -> Iterator[Path]:
    """room.ply, room.2.ply, room.3.ply ...; none that belongs to somebody else, with the ``files`` that go with it."""
    yield output
    further = (output.with_name(f"{output.stem}.{number}{output.suffix}") for number in count(2))
    yield from (name for name in further if name in ours or not any(file.exists() for file in files(name)))


def _require_free(paths: Sequence[Path], source: Path, *, overwrite: bool, ours: bool) -> None:
    for path in paths:
        if not path.exists():
            continue
        if source.exists() and path.samefile(source):
            raise OptionError(f"{path}: is the input; name another output")
        if path.is_dir():
            raise OptionError(f"{path}: is a folder, where a file is to be written; name another output")
        if not (overwrite or ours):
            raise OptionError(f"{path}: is there already and was not made by recon; --overwrite replaces it")


def _require_free_reports(output: Path, source: Path, *, overwrite: bool) -> None:
    for path in reports_of(output):
        _require_free([path], source, overwrite=overwrite, ours=_is_self_report(path))


def _in_folder(output: Path) -> Path:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output.parent):
            return output
    except OSError as error:
        raise OptionError(f"{output.parent}: cannot be written to ({error.strerror}); name another place") from error


def _is_record(path: Path) -> bool:
    """Whether recon wrote this YAML file."""
    return bool(_provenance(path))


def _wrote_pictures(output: Path) -> bool:
    """Whether recon wrote this output with pictures."""
    if not _is_record(record_of(output)):
        return False
    settings = read_yaml(record_of(output)).get("poses")
    return isinstance(settings, dict) and bool(settings.get("pictures"))


def _is_self_report(path: Path) -> bool:
    """Whether recon wrote this file of ``reports_of``."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _REPORT_BEGINS.search(file.read(_HEADER)) is not None


def _provenance(path: Path) -> dict[str, Any]:
    """What recon found out on the way to a result; empty where the file is not recon's."""
    try:
        found = read_yaml(path).get(PROVENANCE) if path.is_file() else None
    except OptionError:
        return {}
    return found if isinstance(found, dict) else {}


def _holds_maps_alone(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    names = [path.name for path in folder.iterdir()]
    return not names or ("depth.json" in names and all(_OURS.fullmatch(name) for name in names))


def _holds_model_alone(folder: Path) -> bool:
    if not folder.is_dir():
        return False
    parts = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return all(_OUR_MODEL.fullmatch(part) for part in parts)


def _holds_pictures_alone(folder: Path) -> bool:
    return folder.is_dir() and all(_OUR_PICTURE.fullmatch(path.name) for path in folder.iterdir())


def is_done(output: Path, files: Sequence[Path], settings: Section, source: Source) -> bool:
    """Whether all files of a result are there, and recon made them of this source with these settings."""
    path = record_of(output)
    if not (all(file.exists() for file in files) and _is_record(path)):
        return False
    if _provenance(path).get("source") != dict(source.identity):
        return False
    made = {name: value for name, value in read_yaml(path).items() if name != PROVENANCE}
    return made == settings.model_dump(mode="json", exclude=_FOR_ONE_RUN)


def record(output: Path, settings: Section, provenance: Mapping[str, object]) -> Path:
    """Write ``<output>.yaml``: all settings (repeat with --config) and what was found out on the way."""
    path = record_of(output)
    told = {PROVENANCE: {"recon": __version__, **provenance}}
    content = settings.model_dump(mode="json", exclude=_FOR_ONE_RUN) | told
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
