"""Convolutions of the float network on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import onnx
from dialects.attributes import ints

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def convolution(op: onnx.ConvOp) -> Callable[..., Tensor]:
    """The convolution of x with a weight and a bias that may be absent."""
    strides, groups = _pair(ints(op.strides)), op.group.value.data
    top, left, bottom, right = ints(op.pads)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if (top, left) == (bottom, right):
            return F.conv2d(x, weight, bias, strides, (top, left), 1, groups)
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, strides, 0, 1, groups)

    return run


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]
