"""How many weights the original float model has: what compression is measured against, whatever is removed later.

Weights of convolutions and fully connected layers count, biases, normalisations and other constants do not.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr
from xdsl.dialects.func import FuncOp

from dialects import esc
from dialects.attributes import integer

FLOAT_WEIGHTS = "float_weights"
"""Integer attribute of @main."""


def recorded(function: FuncOp) -> int | None:
    """The number that a function carries; None where it carries none."""
    attribute = function.attributes.get(FLOAT_WEIGHTS)
    return attribute.value.data if isinstance(attribute, IntegerAttr) else None


def float_weights(function: FuncOp) -> int:
    """Weights of the original float model: as recorded, otherwise those of the convolutions of level `esc`; a
    decomposed one counts as the dense one that it stands for.
    """
    known = recorded(function)
    if known is not None:
        return known
    total = 0
    for op in function.body.block.ops:
        if isinstance(op, esc.Conv2dOp):
            total += op.weight.array.size
        elif isinstance(op, esc.BasisConv2dOp) and isinstance(combine := op.input.owner, esc.CoeffCombineOp):
            k, _, c = combine.coefficients.array.shape
            total += k * c * op.basis.array[0].size
    return total


def record(function: FuncOp, weights: int) -> None:
    """Write the number onto a function."""
    function.attributes[FLOAT_WEIGHTS] = integer(weights)
