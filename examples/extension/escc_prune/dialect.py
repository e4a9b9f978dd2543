"""The `prune` dialect: one operation on quantised tensors that makes activations sparser."""

from __future__ import annotations

from xdsl.dialects.builtin import IntegerAttr, TensorType, i64
from xdsl.ir import Dialect, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.esc import q_of


@irdl_op_definition
class ThresholdOp(IRDLOperation):
    """y = x where |x| >= threshold, else 0, on the stored integers; type and scale stay."""

    name = "prune.threshold"
    input = operand_def(TensorType)
    threshold = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, threshold: int):
        super().__init__(operands=[x], result_types=[x.type], properties={"threshold": IntegerAttr(threshold, i64)})

    def verify_(self) -> None:
        if self.input.type != self.output.type:
            raise VerifyException(f"input {self.input.type} and output {self.output.type} differ")
        high = q_of(self.input).high
        if not 1 <= self.threshold.value.data <= high:
            raise VerifyException(f"threshold must be in [1, {high}], found {self.threshold.value.data}")


Prune = Dialect("prune", [ThresholdOp])
