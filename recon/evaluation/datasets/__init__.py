"""Data sets in their official layouts, one file each; here they are looked up by name."""

from collections.abc import Mapping
from typing import Final

from recon.errors import OptionError
from recon.evaluation.datasets import (
    arkit,
    bonn,
    diode,
    dvmvs,
    eth3d,
    folder,
    kitti,
    kitti_object,
    nyuv2,
    record3d,
    scannet,
    sevenscenes,
    sintel,
    tartanair,
    tum,
)
from recon.evaluation.truth import DataSet

_PUBLISHED = (kitti, scannet, bonn, nyuv2, sintel)
_OTHERS = (tum, sevenscenes, tartanair, dvmvs, arkit, record3d, diode, eth3d, kitti_object, folder)

ALL: Final[Mapping[str, DataSet]] = {each.name: each for module in (*_PUBLISHED, *_OTHERS) for each in module.DATA_SETS}
"""By name; those of the paper's tables first."""


def data_set(name: str) -> DataSet:
    """A data set by its name.

    Raises:
        OptionError: there is none of this name.
    """
    if name not in ALL:
        raise OptionError(f"{name}: no such data set; `recon eval` lists them: {', '.join(ALL)}")
    return ALL[name]
