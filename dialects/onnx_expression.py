"""Functions of one number that a model spells in several nodes, and arithmetic that the machine has only in tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import BoolAttr, FloatAttr, StringAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, prop_def

from dialects import expressions
from dialects.blob import DenseAttr
from dialects.expressions import Expression
from dialects.onnx_base import Array, float_attr
from dialects.onnx_elementwise import BinaryOp, ScalarOp
from isa import elementary


@irdl_op_definition
class ExpressionOp(ScalarOp):
    """y = f(x) for the function that `expression` writes, such as `Mul(x, Sigmoid(x))`; see `dialects.expressions`."""

    name = "onnx.Expression"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:expression"
    expression = prop_def(StringAttr)

    @classmethod
    def of(cls, x: SSAValue, expression: Expression) -> ExpressionOp:
        """From the function itself."""
        return cls(x, {"expression": StringAttr(str(expression))})

    @property
    def parsed(self) -> Expression:
        """The function."""
        return expressions.parse(self.expression.data)

    @property
    def function(self) -> Callable[[Array], Array]:
        return self.parsed.compute

    @property
    def non_negative(self) -> bool:
        return self.parsed.non_negative(argument=False)

    @property
    def keeps_non_negative(self) -> bool:
        return self.parsed.non_negative(argument=True)

    def infer(self) -> TensorType[Attribute]:
        expressions.parse(self.expression.data)
        return super().infer()


@irdl_op_definition
class TableOp(ScalarOp):
    """y = table[q & 255] for q = clamp(round_half_even(x / scale)) in int8 (`signed`) or uint8; `table` f32 [256]."""

    name = "onnx.Table"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:table"
    table = prop_def(DenseAttr)
    scale = prop_def(FloatAttr)
    signed = prop_def(BoolAttr)

    @classmethod
    def of(cls, x: SSAValue, table: Array, scale: float, signed: bool) -> TableOp:
        """From plain values."""
        values = DenseAttr.of(np.asarray(table, np.float32))
        return cls(x, {"table": values, "scale": float_attr(scale), "signed": BoolAttr.from_bool(signed)})

    @property
    def bounds(self) -> tuple[int, int]:
        """Smallest and largest index before it is wrapped."""
        return (-128, 127) if self.signed.value.data else (0, 255)

    @property
    def function(self) -> Callable[[Array], Array]:
        table, scale = self.table.array.astype(np.float64), self.scale.value.data
        return lambda x: table[np.clip(np.rint(x / scale), *self.bounds).astype(np.int64) & 255]

    @property
    def non_negative(self) -> bool:
        return bool((self.table.array >= np.float32(0)).all())

    @property
    def keeps_non_negative(self) -> bool:
        _, high = self.bounds
        return bool((self.table.array[: high + 1] >= np.float32(0)).all())

    def infer(self) -> TensorType[Attribute]:
        if self.table.array.shape != (256,) or self.table.array.dtype != np.float32:
            raise ValueError(f"table has type {self.table.type}; requires 256 elements of f32")
        if not self.scale.value.data > 0:
            raise ValueError(f"scale={self.scale.value.data:g}; requires a positive number")
        return super().infer()


@irdl_op_definition
class MaxOp(BinaryOp):
    """y = max(lhs, rhs)."""

    name = "onnx.Max"

    def compute(self, args: Sequence[Array]) -> Array:
        return np.maximum(args[0], args[1])


@irdl_op_definition
class MinOp(BinaryOp):
    """y = min(lhs, rhs)."""

    name = "onnx.Min"

    def compute(self, args: Sequence[Array]) -> Array:
        return np.minimum(args[0], args[1])


@irdl_op_definition
class PowOp(BinaryOp):
    """y = lhs to the power of rhs."""

    name = "onnx.Pow"

    def compute(self, args: Sequence[Array]) -> Array:
        return elementary.power(args[0], args[1]).astype(np.float32)
