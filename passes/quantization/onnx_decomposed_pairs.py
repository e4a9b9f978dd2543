"""Decomposed convolutions of ONNX models: a 1x1 Conv with the coefficients, then a grouped Conv with the bases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Block, SSAValue

from dialects import onnx
from isa.levels import wrong_coefficients


@dataclass(frozen=True)
class Pair:
    """Two convolutions that are one decomposed: weights[k,c,r,s] = scale[k] * sum_v coefficients[k,v,c] * basis[v,r,s].

    `coefficients` int8 [K, V, C], 0 or of magnitude 1, 2 or 4; `basis` int8 [V, R, S]; `scale` float64 [K]. Strides and
    pads are those of `second`; nothing else reads what `first` computes.
    """

    first: onnx.ConvOp
    second: onnx.ConvOp
    coefficients: NDArray[np.int8]
    basis: NDArray[np.int8]
    scale: NDArray[np.float64]


def find_pairs(block: Block) -> Iterator[Pair]:
    """The pairs of a legal `onnx` block, in the order of their second convolutions."""
    for op in block.ops:
        if isinstance(op, onnx.ConvOp) and (pair := match_pair(op)) is not None:
            yield pair


def symmetric_integers(weight: SSAValue) -> tuple[NDArray[np.int8], NDArray[np.float64]] | None:
    """Weight [K, ...] that the model stores as int8 with zero point 0, and its scales float64 [K]; else None."""
    op = weight.owner
    if not isinstance(op, onnx.DequantizeLinearOp) or not isinstance(op.input.owner, onnx.ConstantOp):
        return None
    data, scale = op.input.owner.value.array, op.scale.array.astype(np.float64)
    if data.dtype != np.int8 or op.zero_point.array.any() or (scale.size != 1 and op.axis.value.data != 0):
        return None
    return data.astype(np.int8), np.broadcast_to(scale.reshape(-1), data.shape[:1]).copy()


def match_pair(second: onnx.ConvOp) -> Pair | None:
    """The pair that ends in a convolution, if there is exactly one."""
    first = second.input.owner
    if not isinstance(first, onnx.ConvOp) or not first.output.has_one_use() or first.bias is not None:
        return None
    if first.group.value.data != 1 or onnx.ints(first.kernel_shape) != (1, 1):
        return None
    if onnx.ints(first.strides) != (1, 1) or any(onnx.ints(first.pads)):
        return None
    one, two = symmetric_integers(first.weight), symmetric_integers(second.weight)
    if one is None or two is None:
        return None
    (coefficients, step), (bases, scale) = one, two
    count, v = bases.shape[:2]
    if second.group.value.data != count or bool((bases != bases[:1]).any()):
        return None
    if wrong_coefficients(coefficients) or bool((step != step[0]).any()):
        return None
    return Pair(first, second, coefficients.reshape(count, v, -1), bases[0], scale * step[0])
