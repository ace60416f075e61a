"""Files appear whole or not at all: written under another name, flushed to the disk, then renamed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recon.errors import OptionError

PARTIAL = ".partial"
"""What a name ends in while the thing is being written."""


def partial_of(path: Path) -> Path:
    """The name under which a result is written before it is complete."""
    return path.with_name(path.name + PARTIAL)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name to write to; it becomes ``path`` only if the block ends without an error (Ctrl-C included).

    A file that was at ``path`` before stays until then.
    """
    partial = partial_of(path)
    partial.unlink(missing_ok=True)
    try:
        yield partial
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(path: Path, *, marker: str | None = None) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes ``path`` only if the block ends without an error (Ctrl-C included).

    A folder that was at ``path`` before is replaced, then removed.

    Args:
        path: the folder to make, and its parents where they are missing.
        marker: name of a file that every such folder holds. Only a folder that holds it (or nothing) is replaced:
            somebody's own pictures never are.

    Raises:
        OptionError: something else is at ``path``.
    """
    partial, old = partial_of(path), path.with_name(path.name + ".old")
    if old.exists() and not path.exists():  # a run was killed between the two renames below
        old.rename(path)
    if path.exists() and not _replaceable(path, marker):
        raise OptionError(f"{path}: holds something else (no {marker or 'folder'} there); name another folder")
    _remove(partial)
    partial.mkdir(parents=True)
    try:
        yield partial
        _flush_tree(partial)
        _remove(old)
        if path.exists():
            path.rename(old)
        partial.rename(path)
        flush(path.parent)
        _remove(old)
    except BaseException:
        _remove(partial)
        raise


@contextmanager
def filling(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``path`` for the parts of a result; it is removed afterwards, whatever happens."""
    folder = partial_of(path)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Ask the disk to keep what was written; folders too, where the system can (not on Windows)."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _replaceable(path: Path, marker: str | None) -> bool:
    return path.is_dir() and (marker is None or (path / marker).is_file() or not any(path.iterdir()))


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
