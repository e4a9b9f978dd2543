"""Outputs that no input can change."""

from __future__ import annotations

import numpy as np
from xdsl.dialects.func import FuncOp
from xdsl.ir import Operation, SSAValue

from dialects.esc_base import AccumulatorOp
from dialects.signature import outputs_of


def constant_outputs(function: FuncOp) -> list[str]:
    """Names of the outputs of a function of level esc that are the same for every input.

    An operation gives a constant if no input moves its accumulators, as where it multiplies by nothing but zeros, or if
    all its operands are constants.
    """
    constants: set[SSAValue] = set()
    for op in function.body.block.ops:
        if all(operand in constants for operand in op.operands) or _is_constant(op):
            constants.update(op.results)
    return [name for name, value in outputs_of(function) if value in constants]


def _is_constant(op: Operation) -> bool:
    return isinstance(op, AccumulatorOp) and bool(np.equal(*op.accumulator_bounds).all())
