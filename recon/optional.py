"""Packages that recon does without until something asks for them."""

from importlib import import_module
from typing import Any, NamedTuple

from recon.errors import MissingPackageError


class Package(NamedTuple):
    """An optional package."""

    name: str
    """Of the module."""
    purpose: str
    """What needs it, with the verb: "textures need"."""
    extra: str
    """Of recon, with which it is installed."""
    system: str = ""
    """How libraries of the system are installed that it needs as well."""

    def module(self) -> Any:  # noqa: ANN401 - a module, of which little is known
        """Imported.

        Raises:
            MissingPackageError: it is not installed, or lacks libraries of the system.
        """
        try:
            return import_module(self.name)
        except (ImportError, OSError) as error:
            how = f'pip install "recon-video[{self.extra}]"' + (f"; {self.system}" if self.system else "")
            called = self.name.replace("_", "-")
            raise MissingPackageError(f"{self.purpose} the package {called} ({error}): {how}") from error


__all__ = ["Package"]
