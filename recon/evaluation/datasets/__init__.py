"""Data sets in their official layouts, one file each; here they are looked up by name."""

from collections.abc import Mapping
from typing import Final

from recon.errors import OptionError
from recon.evaluation.truth import DataSet

ALL: Final[Mapping[str, DataSet]] = {}
"""By name."""


def data_set(name: str) -> DataSet:
    """A data set by its name.

    Raises:
        OptionError: there is none of this name.
    """
    if name not in ALL:
        raise OptionError(f"{name}: no such data set; known are {', '.join(ALL)}")
    return ALL[name]
