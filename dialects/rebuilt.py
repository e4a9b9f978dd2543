"""Convolutions whose int8 weights are made of something smaller when they are loaded: what all of them share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import DenseArrayBase, TensorType
from xdsl.irdl import operand_def, prop_def, result_def

from dialects.attributes import ints
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp, Array, linear_bounds, q_of
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
