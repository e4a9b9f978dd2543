"""The ONNX operator Mish, y = x * tanh(ln(1 + e^x)): a function of one number, by a table on the machine."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition

from dialects.onnx_elementwise import ScalarOp
from dialects.scalar_functions import Array, ScalarFunction
from escc.onnx_import.operators import scalar
from isa import elementary


def mish(x: Array) -> Array:
    """With powers of e below 1 only, so that nothing overflows; the same bits on every processor."""
    e = elementary.exp(-np.abs(x))
    positive = (1 + 2 * e) / (1 + 2 * e + 2 * e * e)
    negative = (2 * e + e * e) / (2 + 2 * e + e * e)
    return x * np.where(x >= 0, positive, negative)


MISH = ScalarFunction("Mish", mish, "torch.nn.functional:mish")


@irdl_op_definition
class MishOp(ScalarOp):
    """y = x * tanh(ln(1 + e^x))."""

    name = "pow2.mish"
    FUNCTION: ClassVar[ScalarFunction] = MISH


OPERATOR = scalar(MishOp)
