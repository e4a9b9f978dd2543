"""Operations of the `esc` dialect that put the values of one tensor into another order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import integer
from dialects.esc_base import Array, EscOp, Mask, channels_of, check_nhwc, tensor_type
from isa import reference


@irdl_op_definition
class ShuffleOp(EscOp):
    """Channel j*groups + i of the result is channel i*(C/groups) + j of the input."""

    name = "esc.shuffle"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.movement:shuffled"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.movement:shuffle"
    input = operand_def(TensorType)
    groups = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, groups: int):
        super().__init__(operands=[x], result_types=[tensor_type(x)], properties={"groups": integer(groups)})

    @property
    def order(self) -> Array:
        """For each channel of the result the one of the input, int64 [C]."""
        channels = np.arange(channels_of(self.input), dtype=np.int64)
        return reference.shuffle(channels, self.groups.value.data, axis=0)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.shuffle(args[0], self.groups.value.data, axis=3)

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return zero[self.input][self.order]

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        needed = np.zeros_like(wanted)
        needed[self.order] = wanted
        yield self.input, needed

    def verify_(self) -> None:
        _, _, _, c = check_nhwc(self.input, "input")
        if self.input.type != self.output.type:
            raise VerifyException(f"shuffle keeps the type: {self.input.type} in, {self.output.type} out")
        groups = self.groups.value.data
        if groups < 1 or c % groups:
            raise VerifyException(f"groups={groups} must divide {c} channels")
