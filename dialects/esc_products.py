"""Products of two tensors in the `esc` dialect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import IntegerAttr, TensorType, i64
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.esc_base import (
    Array,
    FlowingOp,
    Mask,
    Tie,
    channels_of,
    check_addition,
    check_nhwc,
    check_same_shape,
    q_of,
    shape_of,
)
from isa import reference
from isa.reference import Addition


@irdl_op_definition
class MulOp(FlowingOp):
    """Product: clamp((a*b*mult + 2^(shift-1)) >> shift, lo, hi) in int64.

    `lhs` has the extents [1, H, W, C] of the result; those of `rhs` are the same or 1 along each axis.
    """

    name = "esc.mul"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.elementwise:product"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.elementwise:multiply"
    lhs = operand_def(TensorType)
    rhs = operand_def(TensorType)
    mult = prop_def(IntegerAttr)
    shift = prop_def(IntegerAttr)
    lo = prop_def(IntegerAttr)
    hi = prop_def(IntegerAttr)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$lhs `,` $rhs attr-dict `:` type($lhs) `,` type($rhs) `->` type($output)"

    def __init__(
        self, a: SSAValue, b: SSAValue, mult: int, shift: int, lo: int, hi: int, result: TensorType[Attribute]
    ):
        values = {"mult": mult, "shift": shift, "lo": lo, "hi": hi}
        super().__init__(
            operands=[a, b], result_types=[result], properties={n: IntegerAttr(v, i64) for n, v in values.items()}
        )

    @property
    def multiplication(self) -> Addition:
        """The parameters as one value, the multiplier as `mult_a`."""
        mult, shift, lo, hi = (x.value.data for x in (self.mult, self.shift, self.lo, self.hi))
        return Addition(mult, 0, shift, lo, hi, signed=q_of(self.output).signed)

    @property
    def spread(self) -> tuple[bool, bool, bool]:
        """Whether `rhs` has one row, column, channel for several of the result."""
        rows, columns, channels = (
            a != b for a, b in zip(shape_of(self.rhs)[1:], shape_of(self.output)[1:], strict=True)
        )
        return rows, columns, channels

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.multiply(args[0], args[1], self.multiplication)

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        nothing = np.zeros(1, np.int8)
        return (zero[self.lhs] | zero[self.rhs]) & (int(self.compute([nothing, nothing])[0]) == 0)

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.lhs, wanted
        yield self.rhs, np.full(1, bool(wanted.any())) if self.spread[2] else wanted

    def channel_ties(self) -> Iterator[Tie]:
        every = np.arange(channels_of(self.output), dtype=np.int64)
        for x in (self.lhs,) if self.spread[2] else (self.lhs, self.rhs):
            yield Tie(x, every, self.output, every)

    def pinned_channels(self) -> Sequence[SSAValue]:
        return [self.rhs] if self.spread[2] else []

    def verify_(self) -> None:
        q_of(self.lhs)
        q_of(self.rhs)
        check_nhwc(self.lhs, "lhs")
        check_same_shape(self.lhs, self.output, "mul")
        extents = check_nhwc(self.rhs, "rhs")
        if any(b not in (1, a) for a, b in zip(shape_of(self.output), extents, strict=True)):
            raise VerifyException(
                f"mul: rhs of shape {list(extents)}; requires {list(shape_of(self.output))}, or 1 along an axis"
            )
        check_addition(self.multiplication, q_of(self.output))
