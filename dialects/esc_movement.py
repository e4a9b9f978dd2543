"""Operations of the `esc` dialect that move values: concatenation, slices and padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import (
    ParsePropInAttrDict,
    irdl_op_definition,
    operand_def,
    prop_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.esc_base import (
    Array,
    Flow,
    FlowingOp,
    Mask,
    Tie,
    channels_of,
    check_nhwc,
    q_of,
    shape_of,
    tensor_type,
)
from isa import reference


@irdl_op_definition
class ConcatOp(FlowingOp):
    """Concatenation over channels; all operands and the result have the same element type."""

    name = "esc.concat"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.movement:concatenation"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.movement:concatenate"
    inputs = var_operand_def(TensorType)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$inputs attr-dict `:` type($inputs) `->` type($output)"

    def __init__(self, inputs: Sequence[SSAValue]):
        first = tensor_type(inputs[0])
        _, h, w, _ = first.get_shape()
        c = sum(shape_of(x)[3] for x in inputs)
        super().__init__(operands=[list(inputs)], result_types=[TensorType(first.element_type, (1, h, w, c))])

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.concat(args)

    def _spans(self) -> Iterator[tuple[SSAValue, NDArray[np.int64]]]:
        """Every operand and the channels of the result that come from it."""
        at = 0
        for x in self.inputs:
            yield x, np.arange(at, at + channels_of(x), dtype=np.int64)
            at += channels_of(x)

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        return np.concatenate([zero[x] for x in self.inputs])

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        return ((x, wanted[span]) for x, span in self._spans())

    def channel_ties(self) -> Iterator[Tie]:
        return (Tie(x, np.arange(len(span), dtype=np.int64), self.output, span) for x, span in self._spans())

    def verify_(self) -> None:
        if not self.inputs:
            raise VerifyException("concat needs an operand")
        q = q_of(self.output)
        _, h, w, c = check_nhwc(self.output, "output")
        total = 0
        for x in self.inputs:
            _, xh, xw, xc = check_nhwc(x, "operand")
            if q_of(x) != q or (xh, xw) != (h, w):
                raise VerifyException(f"operand {x.type} does not fit the result {self.output.type}")
            total += xc
        if total != c:
            raise VerifyException(f"operands have {total} channels, the result {c}")


@irdl_op_definition
class SliceOp(FlowingOp):
    """Data movement: out[y,x,c] = in[y*sy + oy, x*sx + ox, c + oc], 0 outside the input. Covers Slice and Pad.

    `offsets` [oy, ox, oc] (negative: padding before), `strides` [sy, sx]; the extent comes from the result type.
    """

    name = "esc.slice"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.movement:pad_then_slice"
    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.movement:pad_then_slice"
    input = operand_def(TensorType)
    offsets = prop_def(DenseArrayBase)
    strides = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, offsets: Sequence[int], strides: Sequence[int], result: TensorType[Attribute]):
        super().__init__(
            operands=[x],
            result_types=[result],
            properties={"offsets": i64_array(offsets), "strides": i64_array(strides)},
        )

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.slice_pad(args[0], ints(self.offsets), ints(self.strides), shape_of(self.output)[1:])

    def _channels(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Channels of the result that come from the operand, and which ones they are there."""
        source = np.arange(channels_of(self.output), dtype=np.int64) + ints(self.offsets)[2]
        inside = np.flatnonzero((source >= 0) & (source < channels_of(self.input)))
        return inside, source[inside]

    def zero_channels(self, zero: Mapping[SSAValue, Mask]) -> Mask:
        result = np.ones(channels_of(self.output), np.bool_)
        inside, source = self._channels()
        result[inside] = zero[self.input][source]
        return result

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        inside, source = self._channels()
        yield self.input, np.bincount(source[wanted[inside]], minlength=channels_of(self.input)) > 0

    def channel_ties(self) -> Iterator[Tie]:
        inside, source = self._channels()
        yield Tie(self.input, source, self.output, inside)

    def drop_channels(self, flow: Flow) -> bool:
        y, x, c = ints(self.offsets)
        stays, result = flow.kept[self.input], flow.kept[self.output]
        self.offsets = i64_array((y, x, int(stays[:c].sum()) if c >= 0 else -int(result[:-c].sum())))
        return False

    def verify_(self) -> None:
        check_nhwc(self.input, "input")
        check_nhwc(self.output, "output")
        if q_of(self.input) != q_of(self.output):
            raise VerifyException("slice keeps the element type")
        st = ints(self.strides)
        if len(ints(self.offsets)) != 3 or len(st) != 2 or min(st) < 1:
            raise VerifyException("slice needs offsets [y, x, c] and two positive strides")
