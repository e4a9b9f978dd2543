"""The `pow2` dialect: a convolution of level `esc`, its load of level `bfs`, and an operation of level `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, FlatSymbolRefAttr, SymbolRefAttr, TensorType, i8, i32
from xdsl.ir import Dialect, SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, operand_def, prop_def, result_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.bfs_tiles import COEF, INDEX, ConstantForm, Range, TileOp, flat
from dialects.blob import DenseAttr
from dialects.esc_base import (
    AccumulatorOp,
    Array,
    Flow,
    Mask,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    linear_bounds,
    q_of,
)
from escc_pow2.codes import are_powers
from escc_pow2.softsign import SoftsignOp
from isa import reference


@irdl_op_definition
class Pow2ConvOp(AccumulatorOp):
    """Convolution without groups whose weights are 0 or powers of two, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `weight` int8 [K][R][S][C]; `pads` [top, left, bottom, right] of zeros.
    """

    name = "pow2.conv2d"
    ONNX_FORM: ClassVar[str] = "escc_pow2.onnx_form:convolution_of_powers"
    input = operand_def(TensorType)
    weight = prop_def(DenseAttr)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output = result_def(TensorType)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(self, x: SSAValue, weight: NDArray[np.int8], strides: Sequence[int], pads: Sequence[int]):
        k, r, s, _ = weight.shape
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, k, (r, s), strides, pads)],
            properties={"weight": DenseAttr.of(weight), "strides": i64_array(strides), "pads": i64_array(pads)},
        )

    # What passes ask of every convolution --------------------------------------------------------------------------

    @property
    def kernel(self) -> tuple[int, int]:
        _, r, s, _ = self.weight.array.shape
        return r, s

    @property
    def window(self) -> tuple[Sequence[int], Sequence[int]]:
        return ints(self.strides), ints(self.pads)

    @property
    def dense_weights(self) -> int:
        return self.weight.array.size

    @property
    def stored_weights(self) -> Sequence[Array]:
        return [self.weight.array]

    @property
    def accumulator_bounds(self) -> tuple[Array, Array]:
        q, weight = q_of(self.input), self.weight.array
        return linear_bounds(weight.reshape(len(weight), -1), q.low, q.high)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.conv2d(args[0], self.weight.array, *self.window)

    # Which channels it needs, and what it does without ---------------------------------------------------------------

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        yield self.input, np.asarray(self.weight.array[wanted].astype(np.bool_).any(axis=(0, 1, 2)))

    def drop_channels(self, flow: Flow) -> bool:
        weight = self.weight.array.copy()
        weight[~flow.needed[self.output]] = 0
        weight[..., flow.zero[self.input]] = 0
        weight = weight[flow.kept[self.output]][..., flow.kept[self.input]]
        if np.array_equal(weight, self.weight.array):
            return False
        self.weight = DenseAttr.of(weight)
        return True

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        weight = self.weight.array
        if weight.dtype != np.int8 or weight.ndim != 4 or weight.shape[3] != c:
            raise VerifyException(f"weight must be int8[K,R,S,{c}], found {weight.dtype}{list(weight.shape)}")
        if not are_powers(weight):
            raise VerifyException("every weight must be 0 or a power of two up to 64, with a sign")
        check_convolved(self, self.input, self.output, len(weight))


@irdl_op_definition
class LoadPow2Op(TileOp):
    """Fill a COEF buffer with weights of output channels `k` and input channels `c`: [k][R][S][c]."""

    name = "pow2.load_weights"
    FILLS: ClassVar[bool] = True
    CONSTANT: ClassVar[ConstantForm | None] = ConstantForm(i8, 4, "int8 [K][R][S][C]")
    buffer = operand_def(COEF)
    k = operand_def(INDEX)
    channels = operand_def(INDEX)
    c = operand_def(INDEX)
    depth = operand_def(INDEX)
    constant = prop_def(FlatSymbolRefAttr)
    assembly_format = "$buffer `,` $constant `[` $k `:` $channels `,` $c `:` $depth `]` attr-dict"

    def __init__(self, buffer: SSAValue, constant: str, k: Range, c: Range):
        super().__init__(operands=[buffer, *flat(k, c)], properties={"constant": SymbolRefAttr(constant)})


Pow2 = Dialect("pow2", [Pow2ConvOp, LoadPow2Op, SoftsignOp])
