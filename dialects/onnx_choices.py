"""Comparisons of the `onnx` dialect, whose results are 1 where they hold and 0 elsewhere, and what chooses by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute, Operation, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import expressions
from dialects import onnx_shapes as shapes
from dialects.onnx_base import Array, OnnxOp, f32_tensor, float_shape
from dialects.onnx_elementwise import BinaryOp


class ChoiceOp(BinaryOp):
    """y = 1 where a relation of lhs and rhs holds, 0 elsewhere; of truths, these are 1 and 0 too."""

    @property
    def relation(self) -> str:
        """Its name in ONNX and in `dialects.expressions`."""
        return self.name.removeprefix("onnx.")

    def compute(self, args: Sequence[Array]) -> Array:
        relation: Callable[..., Array] = expressions.CALLS[self.relation][0]
        return relation(*args).astype(np.float32)


@irdl_op_definition
class EqualOp(ChoiceOp):
    """lhs = rhs."""

    name = "onnx.Equal"


@irdl_op_definition
class GreaterOp(ChoiceOp):
    """lhs > rhs."""

    name = "onnx.Greater"


@irdl_op_definition
class GreaterOrEqualOp(ChoiceOp):
    """lhs >= rhs."""

    name = "onnx.GreaterOrEqual"


@irdl_op_definition
class LessOp(ChoiceOp):
    """lhs < rhs."""

    name = "onnx.Less"


@irdl_op_definition
class LessOrEqualOp(ChoiceOp):
    """lhs <= rhs."""

    name = "onnx.LessOrEqual"


@irdl_op_definition
class WhereOp(OnnxOp):
    """y = lhs where the condition is not 0, rhs where it is, with NumPy broadcasting."""

    name = "onnx.Where"
    condition = operand_def(TensorType)
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, condition: SSAValue, lhs: SSAValue, rhs: SSAValue):
        super().__init__([condition, lhs, rhs])

    def infer(self) -> TensorType[Attribute]:
        chosen = shapes.broadcast(float_shape(self.lhs, "lhs"), float_shape(self.rhs, "rhs"))
        return f32_tensor(shapes.broadcast(float_shape(self.condition, "condition"), chosen))

    def compute(self, args: Sequence[Array]) -> Array:
        return np.where(args[0] != 0, args[1], args[2])


COMPARISONS: tuple[type[ChoiceOp], ...] = (EqualOp, GreaterOp, GreaterOrEqualOp, LessOp, LessOrEqualOp)
OF_SEVERAL: tuple[type[Operation], ...] = (BinaryOp, WhereOp)
"""Operations of several numbers, element by element."""
