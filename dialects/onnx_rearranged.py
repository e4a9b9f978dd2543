"""Operations of the `onnx` dialect for rearrangements that models spell in several nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import IntegerAttr, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure

from dialects import onnx_shapes as shapes
from dialects.attributes import integer
from dialects.onnx_base import Array, OnnxOp, StorageRule, f32_tensor, float_shape
from isa import reference


@irdl_op_definition
class ChannelShuffleOp(OnnxOp):
    """Channel j*groups + i of the result is channel i*(C/groups) + j of the input [N, C, H, W]."""

    name = "onnx.ChannelShuffle"
    STORAGE: ClassVar[StorageRule] = StorageRule.PRESERVED
    QUANTISED_FORM: ClassVar[str] = "passes.quantization.forms.movement:shuffle"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.movement:shuffled"
    input = operand_def(TensorType)
    groups = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())

    def __init__(self, x: SSAValue, groups: int):
        super().__init__([x], {"groups": integer(groups)})

    def infer(self) -> TensorType[Attribute]:
        _, c, _, _ = shape = shapes.rank4(float_shape(self.input))
        groups = self.groups.value.data
        if groups < 1 or c % groups:
            raise ValueError(f"groups={groups} do not divide {c} channels")
        return f32_tensor(shape)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.shuffle(args[0], self.groups.value.data, axis=1)
