"""The `esc` dialect: quantised, hardware-independent tensors of a CNN, dense and decomposed.

Values are NHWC tensors of `!esc.q<u8 | i8, scale>` (zero point 0: a stored 0 is the real 0) and int32 accumulators. All
arithmetic is exact integer arithmetic as written in each operation; `esc.quantize`, `esc.dequantize`, `esc.softmax` and
`esc.arg_max` are the only operations that know floats, and the host runs them at the boundary of the model.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from dialects.attributes import ints
from dialects.esc_base import EscOp, QType, q_of, q_tensor, shape_of, tensor_type
from dialects.esc_convolutions import Conv2dOp
from dialects.esc_elementwise import AddOp, LookupOp, RequantizeOp
from dialects.esc_host import ArgMaxOp, DequantizeOp, QuantizeOp, SoftmaxOp
from dialects.esc_movement import ConcatOp, SliceOp
from dialects.found import operations

Esc = Dialect("esc", operations("esc"), [QType])

__all__ = [
    "AddOp",
    "ArgMaxOp",
    "ConcatOp",
    "Conv2dOp",
    "DequantizeOp",
    "Esc",
    "EscOp",
    "LookupOp",
    "QType",
    "QuantizeOp",
    "RequantizeOp",
    "SliceOp",
    "SoftmaxOp",
    "ints",
    "q_of",
    "q_tensor",
    "shape_of",
    "tensor_type",
]
