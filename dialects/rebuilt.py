"""Convolutions whose int8 weights are made of something smaller when they are loaded: what all of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.ir import Attribute, SSAValue
from xdsl.irdl import OptPropertyDef, operand_def, prop_def, result_def
from xdsl.utils.exceptions import VerifyException

from dialects.attributes import i64_array, ints
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp, Array, Flow, Mask, convolved_type, linear_bounds, q_of
from isa import reference


class RebuiltConv2d(AccumulatorOp):
    """Base of convolutions without groups, int32: acc[y,x,k] = sum weight[k,r,s,c] * input[y*sy-pt+r, x*sx-pl+s, c].

    `pads` [top, left, bottom, right] of zeros.
    """

    ONNX_FORM: ClassVar[str] = "escc.onnx_export.forms.rebuilt:rebuilt"
    input = operand_def(TensorType)
    strides = prop_def(DenseArrayBase)
    pads = prop_def(DenseArrayBase)
    output = result_def(TensorType)

    @property
    @abstractmethod
    def weight(self) -> NDArray[np.int8]:
        """The weights int8 [K, R, S, C]."""

    @property
    @abstractmethod
    def coded(self) -> DenseAttr:
        """The constant that is loaded output channel by output channel."""

    @property
    def shared(self) -> Sequence[DenseAttr]:
        """Constants that lie in PAR for the whole layer."""
        return ()

    @property
    def form(self) -> dict[str, Attribute]:
        """What the weights are made of, by name: constants and integers."""
        return {name: value for name, value in self.properties.items() if name in self.form_names()}

    @classmethod
    def form_names(cls) -> set[str]:
        """The names in a form."""
        return {*cls.get_irdl_definition().properties} - {"strides", "pads"}

    @classmethod
    def needed_names(cls) -> set[str]:
        """Those of them that every form has."""
        known = cls.get_irdl_definition().properties
        return {name for name in cls.form_names() if not isinstance(known[name], OptPropertyDef)}

    @classmethod
    def of_form(
        cls, x: SSAValue, form: Mapping[str, Attribute], weight: Array, strides: Sequence[int], pads: Sequence[int]
    ) -> Self | None:
        """The operation that convolves x with weights int8 [K, R, S, C] of a form; None if the form is of others."""
        k, r, s, _ = weight.shape
        op = cls.build(
            operands=[x],
            result_types=[convolved_type(x, k, (r, s), strides, pads)],
            properties={**form, "strides": i64_array(strides), "pads": i64_array(pads)},
        )
        try:
            op.verify()
        except VerifyException:
            return None
        return op if np.array_equal(op.weight, weight) else None

    @property
    def right_shift(self) -> int:
        """Right shift of the sums of which the weights are made."""
        return 0

    @property
    def window(self) -> tuple[Sequence[int], Sequence[int]]:
        return ints(self.strides), ints(self.pads)

    @property
    def dense_weights(self) -> int:
        return self.weight.size

    @property
    def stored_weights(self) -> Sequence[Array]:
        return [self.coded.array, *(constant.array for constant in self.shared)]

    @property
    def accumulator_bounds(self) -> tuple[Array, Array]:
        """Smallest and largest accumulator int64 [K] that any input can cause, windows over the padding included."""
        q, weight = q_of(self.input), self.weight
        return linear_bounds(weight.reshape(len(weight), -1), q.low, q.high)

    def compute(self, args: Sequence[Array]) -> Array:
        return reference.conv2d(args[0], self.weight, *self.window)


class PatchedConv2d(RebuiltConv2d):
    """Base of those whose loaded constant, int8 [K, ..., R, S/span, C/depth], holds a number for each patch of `span`
    columns of the window and `depth` input channels. Patches of which all numbers are 0 have weights of 0.
    """

    @property
    @abstractmethod
    def patch(self) -> tuple[int, int]:
        """Columns of the window and input channels of a patch."""

    @property
    def kernel(self) -> tuple[int, int]:
        *_, r, columns, _ = self.coded.array.shape
        return r, columns * self.patch[0]

    def needed_channels(self, wanted: Mask) -> Iterator[tuple[SSAValue, Mask]]:
        coded = self.coded.array
        used = coded[wanted].astype(np.bool_).any(axis=tuple(range(coded.ndim - 1)))
        yield self.input, np.asarray(used).repeat(self.patch[1])

    def pinned_channels(self) -> Sequence[SSAValue]:
        # A number that covers several channels cannot lose one.
        return (self.input,) if self.patch[1] > 1 else ()

    def kept_numbers(self, flow: Flow) -> NDArray[np.int8]:
        """The loaded constant of the channels that are kept, with 0 for those that nothing depends on."""
        coded, depth = self.coded.array.astype(np.int8), self.patch[1]
        coded[~flow.needed[self.output]] = 0
        coded[..., flow.zero[self.input].reshape(-1, depth).all(axis=1)] = 0
        kept = flow.kept[self.input].reshape(-1, depth).all(axis=1)
        return np.ascontiguousarray(coded[flow.kept[self.output]][..., kept])
