"""`onnx.ArgMax`: which of the scores of an output is the largest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import DenseArrayBase, IntegerAttr, TensorType, UnitAttr, i64
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, opt_prop_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects.attributes import integer, ints
from dialects.onnx_base import Array, OnnxOp, StorageRule, float_shape, shape_of
from isa.program import ArgMax


@irdl_op_definition
class ArgMaxOp(OnnxOp):
    """Index of the largest number along `axis`, int64: of equal ones the first, or the last with `select_last_index`.

    With `keepdims` the axis stays with extent 1. With `shape`, the indices are reshaped to it in row-major order.
    """

    name = "onnx.ArgMax"
    STORAGE: ClassVar[StorageRule] = StorageRule.HOST
    TORCH_FORM: ClassVar[str] = "escc.training.forms.scalars:arg_max"
    input = operand_def(TensorType)
    axis = prop_def(IntegerAttr)
    keepdims = opt_prop_def(UnitAttr)
    select_last_index = opt_prop_def(UnitAttr)
    shape = opt_prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, axis: int, keepdims: bool, last: bool):
        flags = {"keepdims": keepdims, "select_last_index": last}
        super().__init__([x], {"axis": integer(axis), **{name: UnitAttr() for name, given in flags.items() if given}})

    @property
    def choice(self) -> ArgMax:
        """What is chosen of which scores."""
        return ArgMax(shape_of(self.input), self.axis.value.data, self.select_last_index is not None)

    @property
    def at_output(self) -> bool:
        """Whether nothing but outputs of the model reads the indices."""
        return all(isinstance(use.operation, ReturnOp) for use in self.output.uses)

    def infer(self) -> TensorType[Attribute]:
        shape, axis = float_shape(self.input), self.axis.value.data
        kept = [1] if self.keepdims is not None else []
        result = (*shape[:axis], *kept, *shape[axis + 1 :]) if self.shape is None else ints(self.shape)
        if fault := self.choice.fault(result):
            raise ValueError(fault)
        return TensorType(i64, result)

    def compute(self, args: Sequence[Array]) -> Array:
        return self.choice.of(args[0], shape_of(self.output))
