"""Pages whose every figure comes from a command that stands on them."""

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from recon import __version__
from recon.files import whole_file

ROOT: Final = Path(__file__).parents[1]
WEIGHTS: Final = Path(os.environ.get("RECON_WEIGHTS", "weights")).resolve()


@dataclass(frozen=True, slots=True)
class Folders:
    """What the command line of a page's maker names."""

    data: Path
    work: Path


def folders(description: str) -> Folders:
    """Read the command line: DATA WORK."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the samples")
    parser.add_argument("work", type=Path, help="folder for predictions and reports")
    given = parser.parse_args()
    return Folders(given.data, given.work)


class Work:
    """Runs commands, and keeps them for the page."""

    def __init__(self, folders: Folders) -> None:
        self.data, self.folder = folders.data.resolve(), folders.work.resolve()
        self.commands: list[str] = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, *command: str | Path, makes: Path | None = None, told_in: Path | None = None) -> None:
        """One command, unless what it ``makes`` is there; it stands on the page with DATA and WORK for the folders.

        What it prints is kept in ``told_in``, which is then what it makes.
        """
        makes = makes or told_in
        words = [str(word) for word in command]
        told = " ".join(shlex.quote(word) for word in words)
        for folder, name in ((self.data, "DATA"), (self.folder, "WORK"), (WEIGHTS, "WEIGHTS")):
            told = told.replace(str(folder), name)
        self.commands.append(told)
        if makes is not None and makes.exists():
            return
        print(told, flush=True)
        programs = {"recon": [sys.executable, "-m", "recon_cli"], "python": [sys.executable], "ffprobe": ["ffprobe"]}
        program = programs[words[0]]
        done = subprocess.run([*program, *words[1:]], check=True, stdout=subprocess.PIPE, cwd=ROOT)  # noqa: S603 - our own
        if told_in is not None:
            with whole_file(told_in) as partial:
                partial.write_bytes(done.stdout)

    @property
    def listing(self) -> list[str]:
        """All commands, each once, as the last part of a page."""
        return ["## The commands", "", "```sh", *dict.fromkeys(self.commands), "```", ""]


def write_page(page: Path, lines: Sequence[str]) -> None:
    """The page, whole."""
    with whole_file(page) as partial:
        partial.write_text("\n".join(lines), encoding="utf-8")


def machine() -> str:
    """What it was measured on."""
    return f"recon {__version__}, Python {platform.python_version()}, torch {version('torch')}, on a CPU."
