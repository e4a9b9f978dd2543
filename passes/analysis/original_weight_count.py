"""How many weights the original float model has: what compression is measured against, whatever is removed later.

Weights of convolutions and fully connected layers count, biases, normalisations and other constants do not.
"""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr
from xdsl.dialects.func import FuncOp

from dialects.attributes import integer
from dialects.esc_base import AccumulatorOp

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
    return sum(op.dense_weights for op in function.body.block.ops if isinstance(op, AccumulatorOp))


def record(function: FuncOp, weights: int) -> None:
    """Write the number onto a function."""
    function.attributes[FLOAT_WEIGHTS] = integer(weights)
