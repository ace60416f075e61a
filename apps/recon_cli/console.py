"""Everything that a person sees while a command runs: bars, log lines, tables. All of it goes to stderr."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from recon_cli.options import General

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 15.0
"""How often progress is reported where stderr is not a terminal."""

logger = logging.getLogger("recon")


def complain(message: str, exit_code: int) -> int:
    """Write one error line; return the exit code."""
    sys.stderr.write(f"recon: error: {message}\n")
    return exit_code


@dataclass(frozen=True, slots=True)
class Terminal:
    """One command's view of stderr."""

    console: Console
    quiet: bool

    def watch(self, items: Iterable[T], label: str, total: float | None) -> Iterator[T]:
        """Pass items on, showing how many of ``total`` have gone by."""
        if self.quiet:
            return iter(items)
        return self._bar(items, label, total) if self.console.is_terminal else self._lines(items, label, total)

    def download(self, file: str, done: int, size: int | None) -> None:
        """Show how much of a file is here, in one line that is written over."""
        if self.quiet or not (self.console.is_terminal or done == size):
            return
        of_total = f" of {size / 1e6:.0f} MB" if size else ""
        self.console.print(f"{file}: {done / 1e6:.0f} MB{of_total}", end="\n" if done == size else "\r")

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Show what came out."""
        if self.quiet:
            return
        table = Table(title=title, show_header=False, title_justify="left", title_style="bold")
        for label, value in rows:
            table.add_row(label, value)
        self.console.print(table)

    def _bar(self, items: Iterable[T], label: str, total: float | None) -> Iterator[T]:
        columns = (
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(label, total=total, rate="")
            started = time.monotonic()
            for count, item in enumerate(items, 1):
                yield item
                rate = f"{count / (time.monotonic() - started):.1f}/s"
                progress.update(task, completed=count, rate=rate)
            progress.update(task, total=progress.tasks[task].completed)

    def _lines(self, items: Iterable[T], label: str, total: float | None) -> Iterator[T]:
        started = last = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            if (now := time.monotonic()) - last >= SECONDS_BETWEEN_LINES:
                last = now
                of_total = f" of {total:.0f}" if total else ""
                logger.info("%s: %d%s, %.1f/s", label, count, of_total, count / (now - started))


@contextmanager
def terminal(options: General) -> Iterator[Terminal]:
    """Connect the library's log to stderr for the time of one command."""
    console = Console(stderr=True, quiet=options.quiet)
    level = logging.ERROR if options.quiet else logging.DEBUG if options.verbose else logging.INFO
    handler = _handler(console)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield Terminal(console, options.quiet)
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def _handler(console: Console) -> logging.Handler:
    """Colours for people; one unwrapped line a record for pipes and log files."""
    if console.is_terminal:
        return RichHandler(console=console, show_time=False, show_path=False, markup=False)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("recon: %(levelname)s: %(message)s"))
    return handler
