"""The ONNX operator Softsign, y = x / (1 + |x|): a function of one number, by a table on the machine."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from xdsl.irdl import irdl_op_definition

from dialects.onnx_elementwise import ScalarOp
from dialects.scalar_functions import Array, ScalarFunction
from escc.onnx_import.operators import scalar


def softsign(x: Array) -> Array:
    """Only divisions and additions: the same bits on every processor."""
    return x / (1 + np.abs(x))


SOFTSIGN = ScalarFunction("Softsign", softsign, "torch.nn.functional:softsign")


@irdl_op_definition
class SoftsignOp(ScalarOp):
    """y = x / (1 + |x|)."""

    name = "pow2.softsign"
    FUNCTION: ClassVar[ScalarFunction] = SOFTSIGN


OPERATOR = scalar(SoftsignOp)
