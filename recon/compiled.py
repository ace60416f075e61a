"""Functions of numbers and arrays, turned into machine code."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as numba compiles it at its first call; machine code is kept on disk where there is room for it.

    Numba is imported here, and not with the package: 0.7 s that only those spend who need it.
    """
    from numba import njit  # noqa: PLC0415 - see above

    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        quick: Callable[P, R] = njit(cache=True, **options)(function)
    except RuntimeError:  # nowhere to keep it (installation and home are read-only): compile in each process
        quick = njit(**options)(function)
    return quick
