"""Data movement of the float network on torch tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from escc.training.forms.host import moved
from escc.training.forms.movement import concatenate

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def part(op: onnx.SliceOp) -> Unary:
    """A part of the operand."""
    index = [slice(None)] * len(shape_of(op.input))
    for start, end, axis, step in zip(ints(op.starts), ints(op.ends), ints(op.axes), ints(op.steps), strict=True):
        index[axis] = slice(start, end, step)
    picked = tuple(index)
    return lambda x: x[picked]


def pad(op: onnx.PadOp) -> Unary:
    """A constant around the operand."""
    pads, value = ints(op.pads), op.constant_value.value.data
    half = len(pads) // 2
    widths = [w for before, after in zip(pads[:half], pads[half:], strict=True) for w in (after, before)]
    return lambda x: F.pad(x, widths[::-1], value=value)


def reshape(op: onnx.ReshapeOp) -> Unary:
    """Another shape, of every sample by itself."""
    return moved(shape_of(op.input), (), (), shape_of(op.output))


def transpose(op: onnx.TransposeOp) -> Unary:
    """Another order of the axes, of every sample by itself."""
    return moved(shape_of(op.input), shape_of(op.input), ints(op.perm), shape_of(op.output))


def concatenation(op: onnx.ConcatOp) -> Callable[..., Tensor]:
    """All operands side by side."""
    return concatenate
