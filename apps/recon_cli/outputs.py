"""Where results go: nothing of the user's is overwritten, and what made a result stands beside it."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from recon import __version__
from recon.errors import OptionError
from recon.files import whole_file
from recon.settings import Section
from recon_cli.options import PROVENANCE


def claimed(output: Path, suffix: str, *, overwrite: bool) -> Path:
    """The output path, checked before hours of work: its ending, its folder, and what is there already.

    Raises:
        OptionError: a wrong ending, or something that recon did not make is in the way.
    """
    if output.suffix.lower() != suffix:
        raise OptionError(f"{output}: {f'must end in {suffix}' if suffix else 'is to be a folder, without an ending'}")
    if output.exists() and not overwrite and not _ours(output):
        raise OptionError(f"{output}: is there already and was not made by recon; --overwrite replaces it")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"{output.parent}: cannot be made a folder ({error.strerror})") from error
    return output


def record(output: Path, settings: Section, provenance: Mapping[str, object]) -> Path:
    """Write ``<output>.yaml``: all settings (repeat with --config) and what was found out on the way."""
    path = _record_of(output)
    content = settings.model_dump(mode="json") | {PROVENANCE: {"recon": __version__, **provenance}}
    with whole_file(path) as partial:
        partial.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def _record_of(output: Path) -> Path:
    return output.with_name(output.name + ".yaml")


def _ours(output: Path) -> bool:
    return _record_of(output).is_file() or (output.is_dir() and not any(output.iterdir()))
