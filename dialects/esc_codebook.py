"""The operation of the `esc` dialect that convolves with weights from a book of vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import i32
from xdsl.ir import SSAValue
from xdsl.irdl import ParsePropInAttrDict, irdl_op_definition, prop_def, traits_def
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array
from dialects.blob import DenseAttr
from dialects.esc_base import (
    Flow,
    check_convolved,
    check_element,
    check_nhwc,
    check_window,
    convolved_type,
    q_of,
)
from dialects.rebuilt import PatchedConv2d
from isa.codebook import MOST_ENTRIES, compact, weights


@irdl_op_definition
class CodebookConv2dOp(PatchedConv2d):
    """Convolution without groups whose weights are vectors from a book, int32:
    acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `codes` int8 [K][R][S/span][C/depth], each from -N to N; `book` int8 [N][span][depth], of values from -127 to 127.
    What a code stands for is defined in `isa.codebook`. `pads` [top, left, bottom, right] of zeros.
    """

    name = "esc.codebook_conv2d"
    TORCH_FORM: ClassVar[str] = "escc.training.forms.codebook:codebook"
    TRAINED_FORM: ClassVar[str] = "escc.training.forms.codebook:trained"
    codes = prop_def(DenseAttr)
    book = prop_def(DenseAttr)
    traits = traits_def(Pure())
    irdl_options = (ParsePropInAttrDict(),)
    assembly_format = "$input attr-dict `:` type($input) `->` type($output)"

    def __init__(
        self,
        x: SSAValue,
        codes: NDArray[np.int8],
        book: NDArray[np.int8],
        strides: Sequence[int],
        pads: Sequence[int],
    ):
        k, r, columns, _ = codes.shape
        super().__init__(
            operands=[x],
            result_types=[convolved_type(x, k, (r, columns * book.shape[1]), strides, pads)],
            properties={
                "codes": DenseAttr.of(codes),
                "book": DenseAttr.of(book),
                "strides": i64_array(strides),
                "pads": i64_array(pads),
            },
        )

    @property
    def patch(self) -> tuple[int, int]:
        _, span, depth = self.book.array.shape
        return span, depth

    @property
    def weight(self) -> NDArray[np.int8]:
        """The weights int8 [K, R, S, C]."""
        return weights(self.codes.array.astype(np.int8), self.book.array.astype(np.int8))

    @property
    def coded(self) -> DenseAttr:
        return self.codes

    @property
    def shared(self) -> Sequence[DenseAttr]:
        return (self.book,)

    def drop_channels(self, flow: Flow) -> bool:
        codes, book = compact(self.kept_numbers(flow), self.book.array.astype(np.int8))
        if np.array_equal(codes, self.codes.array):
            return False
        self.codes, self.book = DenseAttr.of(codes), DenseAttr.of(book)
        return True

    def verify_(self) -> None:
        c = check_nhwc(self.input, "input")[3]
        q_of(self.input)
        check_element(self.output, i32, "output")
        check_window(self.strides, self.pads)
        codes, book = self.codes.array, self.book.array
        if book.dtype != np.int8 or book.ndim != 3 or book.size == 0 or len(book) > MOST_ENTRIES:
            raise VerifyException(
                f"book must be int8[N,span,depth] with N from 1 to {MOST_ENTRIES}, found {book.dtype}{list(book.shape)}"
            )
        if int(book.min()) < -127:
            raise VerifyException("values of the book must be from -127 to 127")
        _, span, depth = book.shape
        if codes.dtype != np.int8 or codes.ndim != 4 or codes.size == 0 or codes.shape[3] * depth != c:
            raise VerifyException(
                f"codes must be int8[K,R,S/{span},{c}/{depth}], found {codes.dtype}{list(codes.shape)}"
            )
        if (most := int(np.abs(codes.astype(np.int16)).max())) > len(book):
            raise VerifyException(f"a code names entry {most} of a book of {len(book)}")
        check_convolved(self, self.input, self.output, len(codes))
