"""Voxels, or blocks of them, in a hash: what fusion of clouds and of surfaces share; and how large a voxel suits."""

from functools import cache
from typing import Final, no_type_check

import numpy as np
from jaxtyping import Int64

from recon.types import Intrinsics

REACH: Final = 1 << 20
"""Cells from the origin to the border, along each axis: three coordinates of 21 bits are one key of 63."""

FOOTPRINTS: Final = 1.5
"""Pixels at the median depth that one voxel is wide (see `auto_voxel`)."""
FINEST: Final = 0.005
"""Voxel in median depths below which there is only noise (see `auto_voxel`)."""


def auto_voxel(median_depth: float, intrinsics: Intrinsics) -> float:
    """A voxel that suits the pictures: one and a half pixels wide on a surface at the median depth that faces us.

    Finer voxels would hold single pixels and so average nothing; coarser ones would lose what the pictures show. It is
    never finer than half a per cent of the median depth: depth of a network is not repeatable to that (2 to 10 per cent
    on the real scenes of the README), and every layer of its noise would fill voxels of its own.
    """
    pixels_wide = FOOTPRINTS / max(intrinsics.fx, intrinsics.fy)
    return median_depth * max(pixels_wide, FINEST)


def cells_of(keys: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, "n 3"]:
    """Integer coordinates of keys."""
    mask = 2 * REACH - 1
    cells: Int64[np.ndarray, "n 3"] = np.stack([keys >> 42, (keys >> 21) & mask, keys & mask], axis=-1) - REACH
    return cells


# Numba infers the types of the functions below itself. What calls them is compiled with them: `register` comes first.


@cache
def register() -> None:
    """Make the functions below known to numba, for others that it compiles; it is imported then."""
    from numba.extending import register_jitable  # noqa: PLC0415 - 0.7 s that only fusion has to spend

    for function in (key_of, coordinate_of, slot_of, fill_slots):
        register_jitable(function)


@no_type_check
def key_of(x, y, z):  # noqa: ANN001, ANN201
    """The key of a cell at integer coordinates, or -1 where it is too far away."""
    if min(x, y, z) < -REACH or max(x, y, z) >= REACH:
        return np.int64(-1)
    return (np.int64(x) + REACH) << 42 | (np.int64(y) + REACH) << 21 | (np.int64(z) + REACH)


@no_type_check
def coordinate_of(key, axis):  # noqa: ANN001, ANN201
    """One coordinate of a key's cell."""
    return ((key >> (42 - 21 * axis)) & (2 * REACH - 1)) - REACH


@no_type_check
def slot_of(slots, keys, key):  # noqa: ANN001, ANN201
    """The slot in which a key lives, or the free one where it would (Fibonacci hashing, linear probing).

    ``slots`` hold rows of ``keys``, or -1; their number is a power of two, and at most half of them are taken.
    """
    mask = len(slots) - 1
    slot = np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & mask
    while slots[slot] >= 0 and keys[slots[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@no_type_check
def fill_slots(slots, keys, used):  # noqa: ANN001, ANN201
    """Let the first ``used`` keys live in the empty slots of a new table."""
    for row in range(used):
        slots[slot_of(slots, keys, keys[row])] = row


__all__ = [
    "FINEST",
    "FOOTPRINTS",
    "REACH",
    "auto_voxel",
    "cells_of",
    "coordinate_of",
    "fill_slots",
    "key_of",
    "register",
    "slot_of",
]
