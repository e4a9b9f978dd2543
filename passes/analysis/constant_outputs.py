"""Outputs that no input can change."""

from __future__ import annotations

from xdsl.dialects.func import FuncOp
from xdsl.ir import SSAValue

from dialects.blob import DenseAttr
from dialects.signature import outputs_of

_FACTORS = ("weight", "coefficients", "basis")
"""Constants of linear operations: where one is 0 throughout, so is the product."""


def constant_outputs(function: FuncOp) -> list[str]:
    """Names of the outputs of a function of level esc that are the same for every input.

    An operation gives a constant if it multiplies by nothing but zeros, or if all its operands are constants.
    """
    block = function.body.block
    constants: set[SSAValue] = set()
    for op in block.ops:
        factors = [f for name in _FACTORS if isinstance(f := op.properties.get(name), DenseAttr)]
        if any(not f.array.any() for f in factors) or all(operand in constants for operand in op.operands):
            constants.update(op.results)
    return [name for name, value in outputs_of(function) if value in constants]
