"""Integer arithmetic that serves one instruction (ints) and a column of many (int64 arrays of one length) alike.

`Number` stands for both: what is written with `+ - * // % << < == &` and with the functions of this module has the same
meaning for an int and, element by element, for a column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

Number: TypeAlias = Any
"""An int, or an int64 array [n] with one entry an instruction."""

Values: TypeAlias = Mapping[str, Number]
"""The fields of one instruction, or the columns of many instructions of one mnemonic."""


def ceil_div(a: int, b: int) -> int:
    """Smallest integer not below a / b."""
    return -(-a // b)


def least(a: Number, b: Number) -> Number:
    """The smaller one."""
    return min(a, b) if type(a) is type(b) is int else np.minimum(a, b)


def most(a: Number, b: Number) -> Number:
    """The larger one."""
    return max(a, b) if type(a) is type(b) is int else np.maximum(a, b)


def choose(condition: Number, a: Number, b: Number) -> Number:
    """a where the condition holds, else b."""
    if isinstance(condition, np.ndarray):
        return cast(Number, np.where(cast(Any, condition), a, b))
    return a if condition else b


@dataclass(frozen=True)
class Distinct:
    """The different entries of an array, ascending, and the place of each entry among them."""

    values: list[int]
    places: NDArray[np.int64]

    def map(self, function: Callable[[int], Number]) -> NDArray[Any]:
        """The function of each entry, called once for each different one."""
        return np.array([function(v) for v in self.values])[self.places]


def distinct(a: Number) -> Distinct | int:
    """The different entries of an array, for several functions of them; an integer as it is."""
    if not isinstance(a, np.ndarray):
        return a
    values, places = np.unique(cast("NDArray[np.int64]", a), return_inverse=True)
    return Distinct([int(v) for v in values], places)


def by_value(function: Callable[[int], Number], a: Number | Distinct) -> Number:
    """The function of each entry, called once for each different one."""
    found = a if isinstance(a, Distinct) else distinct(a)
    return found.map(function) if isinstance(found, Distinct) else function(found)


def most_of(a: Number) -> int:
    """The largest entry."""
    return int(np.max(a, initial=0))


def entry(a: Number, i: int) -> int:
    """The value for instruction i."""
    return int(a[i]) if isinstance(a, np.ndarray) else int(a)
