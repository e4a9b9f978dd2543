"""Attributes from plain Python values and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, i64


def i64_array(values: Sequence[int]) -> DenseArrayBase[Any]:
    """`array<i64: ...>` from plain integers."""
    return DenseArrayBase.from_list(i64, [int(v) for v in values])


def ints(attr: DenseArrayBase[Any]) -> tuple[int, ...]:
    """Plain integers of an `array<...>`."""
    return tuple(int(v) for v in attr.get_values())


def integer(value: int) -> IntegerAttr:
    """`value : i64`."""
    return IntegerAttr(int(value), i64)


def double(value: float) -> str:
    """The shortest text of MLIR that reads back to the same double."""
    text = repr(float(value))
    return text if "." in text else text.replace("e", ".0e")
