"""How options are declared, and how a YAML file and the command line become one settings object."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Group, Parameter
from pydantic import ValidationError

from recon.errors import OptionError
from recon.settings import RUNS, Section, read_yaml

logger = logging.getLogger("recon")

Settings = TypeVar("Settings", bound=Section)

PROVENANCE = "provenance"
"""Block of a result's YAML that tells what was measured; it is not a setting."""

_SECTIONS = {name for run in RUNS for name in run.model_fields}
"""Of all commands."""

GROUPS = (
    *(
        "Sampling",
        "Depth",
        "Shots",
        "Camera",
        "Metres",
        "Cleaning",
        "Fusion",
        "Surface",
        "Texture",
        "Conversion",
        "Files",
        "Maps",
        "Stereo",
        "Layout",
        "Encoding",
        "Poses",
    ),
    *("Evaluation", "Depth store", "General"),
)
"""In the order of a run."""


def flat(group: str) -> Parameter:
    """Every field of a section is an option of its own, shown under ``group``."""
    return Parameter(
        name="*", negative_iterable=(), consume_multiple=True, group=Group(group, sort_key=GROUPS.index(group) + 1)
    )


@flat("General")
@dataclass(frozen=True, slots=True)
class General:
    """Options that every command has."""

    config: Path | None = None
    """YAML file of settings, for example the one beside an earlier result; options given here override it."""
    overwrite: bool = False
    """Replace an output that recon did not make, or the report of something else."""
    verbose: Annotated[bool, Parameter(name=["--verbose", "-v"])] = False
    """Also say what happens inside."""
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False
    """Only errors: no bars, no table."""


def merged(kind: type[Settings], config: Path | None, sections: Mapping[str, Section]) -> Settings:
    """Settings of a command: defaults, below the YAML file, below what the command line gave.

    The file may be of another command: what only that one has is left out, and told.

    Raises:
        OptionError: an unknown key or a value out of its limits, after merging.
    """
    values = read_yaml(config) if config is not None else {}
    values.pop(PROVENANCE, None)
    if others := sorted(name for name in values.keys() - kind.model_fields.keys() if name in _SECTIONS):
        logger.warning("%s: %s: of another command; left out", config, ", ".join(others))
        values = {name: value for name, value in values.items() if name not in others}
    for name, section in sections.items():
        below = values.get(name) or {}
        if not isinstance(below, dict):
            raise OptionError(f"{config}: {name}: must hold settings, one a line")
        values[name] = below | {field: getattr(section, field) for field in section.model_fields_set}
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        where = f"{config}: " if config is not None else ""
        raise OptionError(where + explain(error)) from error


def explain(error: ValidationError) -> str:
    """Pydantic's findings in one line, with the names that the command line uses."""
    return "; ".join(_finding(item["loc"], item["msg"], item["input"]) for item in error.errors(include_url=False))


def _finding(location: tuple[int | str, ...], message: str, value: object) -> str:
    message = message.removeprefix("Value error, ").replace(
        "Extra inputs are not permitted", "there is no such setting"
    )
    if not location or isinstance(value, dict):
        return message if not location else f"{'.'.join(map(str, location))}: {message}"
    name = str(location[-1]).replace("_", "-")
    return f"--{name}: {message[0].lower()}{message[1:]} (got {value})"
