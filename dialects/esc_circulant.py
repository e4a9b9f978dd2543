"""The operation of the `esc` dialect that convolves with weights of circulant blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerAttr, i32, i64
from xdsl.ir import SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, opt_prop_def, prop_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array
from dialects.blob import DenseAttr
from dialects.esc_base import check_convolved, check_element, check_nhwc, check_window, convolved_type, q_of, shape_of
from dialects.rebuilt import RebuiltConv2d
from isa.circulant import BLOCKS, FAST_BLOCKS, expand
from isa.integers import ceil_div


@irdl_op_definition
class CirculantConv2dOp(RebuiltConv2d):
    """Convolution without groups whose weights are circulant blocks of channels, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `values` int8 [K/b][R][S][C/b][b], where K/b and C/b are rounded up, of `channels` K output channels. What a value
    stands for is defined in `isa.circulant`. `pads` [top, left, bottom, right] of zeros. `fast` = 1: the machine takes
    fewer products than there are weights, with the same results; it needs a block that has them.
    """

    name = "esc.circulant_conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.circulant:circulant"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.circulant:trained"
    values = prop_def(DenseAttr)
    channels = prop_def(IntegerAttr)
    fast = opt_prop_def(IntegerAttr)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        x: SSAValue,
        values: NDArray[np.int8],
        channels: int,
        strides: Sequence[int],
        pads: Sequence[int],
        fast: bool = False,
    ):
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, channels, values.shape[1:3], strides, pads)],
            properties={
                "values": DenseAttr.of(values),
                "channels": IntegerAttr(channels, i64),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
                "fast": IntegerAttr(1, i64) if fast else None,
            },
        )

    @property
    def is_fast(self) -> bool:
        """Whether the machine takes the fast products of the blocks."""
        return self.fast is not None

    @property
    def weight(self) -> NDArray[np.int8]:
        return expand(self.values.array, 0, self.channels.value.data, shape_of(self.input)[3]).astype(np.int8)

    @property
    def coded(self) -> DenseAttr:
        return self.values

    @property
    def kernel(self) -> tuple[int, int]:
        _, r, s, _, _ = self.values.array.shape
        return r, s

    def pinned_channels(self) -> Sequence[SSAValue]:
        # Every value belongs to all channels of its block.
        return (self.input, self.output)

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        v, k = self.values.array, self.channels.value.data
        if v.dtype != np.int8 or v.ndim != 5 or v.size == 0 or v.shape[4] not in BLOCKS:
            raise VerifyException(
                f"values must be int8[K/b,R,S,C/b,b] with b from {BLOCKS[0]} to {BLOCKS[-1]}, "
                f"found {v.dtype}{list(v.shape)}"
            )
        b = v.shape[4]
        if k < 1 or (v.shape[0], v.shape[3]) != (ceil_div(k, b), ceil_div(c, b)):
            raise VerifyException(f"values must be int8[{k}/{b},R,S,{c}/{b},{b}], found {v.dtype}{list(v.shape)}")
        if self.fast is not None and (self.fast.value.data != 1 or b not in FAST_BLOCKS):
            sizes = ", ".join(map(str, FAST_BLOCKS))
            raise VerifyException(
                f"fast must be 1 or missing, and needs blocks of {sizes} channels, found {self.fast.value.data} for {b}"
            )
        check_convolved(self, self.input, self.output, k)
