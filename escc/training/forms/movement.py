"""Data movement on torch tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from dialects import esc, esc_rearranged, onnx_rearranged

Array = NDArray[Any]
Unary = Callable[[Tensor], Tensor]


def concatenation(op: esc.ConcatOp) -> Callable[..., Tensor]:
    """All operands side by side."""
    return concatenate


def concatenate(*parts: Tensor) -> Tensor:
    """Tensors [N, C, ...] side by side."""
    return torch.cat(parts, 1)


def pad_then_slice(op: esc.SliceOp) -> Unary:
    """Zeros around the operand, then a part of it."""
    offsets, strides, shape = esc.ints(op.offsets), _pair(esc.ints(op.strides)), esc.shape_of(op.output)
    return lambda x: _slice(x, offsets, strides, shape)


def _slice(x: Tensor, offsets: Sequence[int], strides: tuple[int, int], shape: Sequence[int]) -> Tensor:
    """`isa.reference.slice_pad` for NCHW; `shape` is the NHWC shape of the result."""
    _, oh, ow, oc = shape
    spans = [(oc, offsets[2], 1), (oh, offsets[0], strides[0]), (ow, offsets[1], strides[1])]
    widths: list[int] = []
    for size, (out, offset, stride) in zip(x.shape[1:], spans, strict=True):
        widths = [-offset, (out - 1) * stride + 1 + offset - size, *widths]
    return F.pad(x, widths)[:, :, :: strides[0], :: strides[1]]


def shuffled(op: esc_rearranged.ShuffleOp | onnx_rearranged.ChannelShuffleOp) -> Unary:
    """Channels [N, C, H, W] in another order."""
    groups = op.groups.value.data
    return lambda x: x.reshape(len(x), groups, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]
