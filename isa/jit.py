"""The one place that knows Numba: compiled functions with their Python types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba  # type: ignore[import-untyped]

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on first call, keep the machine code on disk where that can be written, and run without holding the
    interpreter lock.

    The cache of a function is renewed only when its own file changes: helpers that a kernel calls must stand in the
    same file, and numbers that another module defines must come in as arguments.
    """
    njit = cast(Any, numba).njit
    try:
        return cast("Callable[P, R]", njit(nogil=True, cache=True)(function))
    except RuntimeError:  # neither the package nor the user's cache folder can be written
        return cast("Callable[P, R]", njit(nogil=True)(function))
