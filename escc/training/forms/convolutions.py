"""Convolutions as torch modules.

A form takes the operation, steps of the output for each step of the accumulator [K], the bias [K] in steps of the
output, and the unit in which biases are learned, in such steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from dialects import esc
from escc.training.straight_through import (
    Convolution,
    DecomposedConv,
    DenseConv,
)

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def dense(op: esc.Conv2dOp, factor: Array, bias: Array, span: float) -> Convolution:
    """A convolution with int8 weights."""
    return DenseConv(
        op.weight.array.transpose(0, 3, 1, 2).astype(np.float64),
        factor,
        bias,
        span,
        _pair(esc.ints(op.strides)),
        esc.ints(op.pads),
        op.groups.value.data,
    )


def decomposed(op: esc.BasisConv2dOp, factor: Array, bias: Array, span: float) -> Convolution:
    """Both stages of a decomposed convolution.

    Training leaves the rounding of intermediate values out: with a shift of 0, the usual case, there is none.
    """
    combine = op.input.owner
    assert isinstance(combine, esc.CoeffCombineOp)
    return DecomposedConv(
        combine.coefficients.array.astype(np.float64),
        op.basis.array.astype(np.float64),
        factor * 2.0**-combine.ic_shift.value.data,
        bias,
        span,
        _pair(esc.ints(op.strides)),
        esc.ints(op.pads),
    )


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]
