"""Addition and tables on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc, esc_products
from escc.training.straight_through import (
    add,
    look_up,
    multiply,
)

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def addition(op: esc.AddOp) -> Callable[[Tensor, Tensor], Tensor]:
    """The weighted sum, rounded and clamped."""
    p = op.addition
    a, b = p.mult_a * 2.0**-p.shift, p.mult_b * 2.0**-p.shift
    return lambda x, y: add(x, y, a, b, p.lo, p.hi)


def product(op: esc_products.MulOp) -> Callable[[Tensor, Tensor], Tensor]:
    """The product, rounded and clamped."""
    p = op.multiplication
    factor = p.mult_a * 2.0**-p.shift
    return lambda x, y: multiply(x, y, factor, p.lo, p.hi)


def table(op: esc.LookupOp) -> Unary:
    """The entries of the table, with the slope between neighbours as gradient."""
    q = esc.q_of(op.input)
    values = torch.tensor(entries(op.table.array, q.low, q.high), dtype=torch.get_default_dtype())
    return lambda x: look_up(x, values.to(x.device), q.low)


def entries(table: Array, low: int, high: int) -> Array:
    """Entries of a table for the stored integers low..high."""
    return table[np.arange(low, high + 1) & 255].astype(np.float64)
