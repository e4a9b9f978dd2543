"""Operations of the `esc` dialect that put the values of one tensor at other positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.ir import SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.esc_base import (
    Array,
    ChannelwiseOp,
    EscOp,
    Mask,
    channels_of,
    check_nhwc,
    q_of,
    shape_of,
    tensor_type,
)
from isa import reference


@irdl_op_definition
class TakeOp(ChannelwiseOp):
    """Rows and columns of a tensor in any order and number: out[y,x,c] = in[rows[y], columns[x], c]."""

    name = "esc.take"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.positions:taken"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.positions:take"
    input = operand_def(TensorType)
    rows = prop_def(DenseArrayBase)
    columns = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, rows: Sequence[int], columns: Sequence[int]):
        result = TensorType(tensor_type(x).element_type, (1, len(rows), len(columns), channels_of(x)))
        properties = {"rows": i64_array(rows), "columns": i64_array(columns)}
        super().__init__(operands=[x], result_types=[result], properties=properties)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.take(args[0], ints(self.rows), ints(self.columns))

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return zero[self.input]

    def verify_(self) -> None:
        _, h, w, c = check_nhwc(self.input, "input")
        rows, columns = ints(self.rows), ints(self.columns)
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("take keeps the element type")
        if shape_of(self.output) != (1, len(rows), len(columns), c):
            raise VerifyException(
                f"take of {len(rows)} rows and {len(columns)} columns of {c} channels gives {self.output.type}"
            )
        for what, indices, size in (("rows", rows, h), ("columns", columns, w)):
            if not 0 <= min(indices) <= max(indices) < size:
                raise VerifyException(f"{what} {min(indices)} to {max(indices)} are taken; the input has {size}")


@irdl_op_definition
class DepthToSpaceOp(EscOp):
    """Channels as positions: out[y*by + i, x*bx + j, c] = in[y, x, (i*bx + j)*C + c], C channels in the result."""

    name = "esc.depth_to_space"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.positions:depth_to_space"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.positions:depth_to_space"
    input = operand_def(TensorType)
    blocks = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, blocks: Sequence[int]):
        _, h, w, c = shape_of(x)
        by, bx = blocks
        result = TensorType(tensor_type(x).element_type, (1, h * by, w * bx, c // (by * bx)))
        super().__init__(operands=[x], result_types=[result], properties={"blocks": i64_array(blocks)})

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.depth_to_space(args[0], ints(self.blocks))

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return np.logical_and.reduce(zero[self.input].reshape(-1, channels_of(self.output)), axis=0)

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.input, np.tile(wanted, channels_of(self.input) // len(wanted))

    def verify_(self) -> None:
        _, h, w, c = check_nhwc(self.input, "input")
        blocks = ints(self.blocks)
        if len(blocks) != 2 or min(blocks) < 1:
            raise VerifyException(f"blocks must be two positive integers, found {list(blocks)}")
        by, bx = blocks
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("depth_to_space keeps the element type")
        if c % (by * bx) or shape_of(self.output) != (1, h * by, w * bx, c // (by * bx)):
            raise VerifyException(f"blocks {list(blocks)} do not make {self.output.type} of {self.input.type}")
