"""What the patterns share: replacing without losing node names, constants, looking through fake quantisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import UNKNOWN_LOC
from xdsl.ir import Operation, OpResult, SSAValue
from xdsl.pattern_rewriter import PatternRewriter

from dialects import onnx
from dialects.attributes import integer
from dialects.interpreters.kernels import dequantize
from dialects.locations import fused
from dialects.onnx_elementwise import ScalarOp

Array = NDArray[Any]
Floats = NDArray[np.float64]

ELEMENTWISE = (ScalarOp, onnx.IdentityOp, onnx.DropoutOp)
"""Operations that map each element alone, those of other packages included."""


def replace(
    rewriter: PatternRewriter,
    op: Operation,
    new_ops: Sequence[Operation],
    *others: Operation,
    value: SSAValue | None = None,
) -> None:
    """Replace `op` by `new_ops` (its result by the last one's, or by `value`).

    New operations without a location get the node names of `op` and then of `others`, which went into them too. The
    last one, whose result is that of `op`, has the names of `op` in any case: it may be one that was moved here.
    """
    location = fused(op, *others)
    for new in new_ops:
        if new.location == UNKNOWN_LOC:
            new.location = location
    if new_ops:
        new_ops[-1].location = fused(op, new_ops[-1])
    rewriter.replace(op, list(new_ops), None if value is None else [value])


def producer(value: SSAValue) -> Operation | None:
    """Operation that defines a value; None for arguments of the function."""
    return value.op if isinstance(value, OpResult) else None


def constant_array(value: SSAValue) -> Array | None:
    """Real numbers of a constant, also behind DequantizeLinear; None if the value is computed."""
    op = producer(value)
    if isinstance(op, onnx.ConstantOp):
        return op.value.array
    if isinstance(op, onnx.DequantizeLinearOp):
        source = producer(op.input)
        if isinstance(source, onnx.ConstantOp):
            return dequantize(source.value.array, op.scale.array, op.zero_point.array, op.axis.value.data)
    return None


@dataclass(frozen=True)
class Weight:
    """A constant weight: float data, or 8-bit integers with their scale, zero point and axis."""

    data: Array
    scale: Array | None
    zero_point: Array | None
    axis: int
    sources: tuple[Operation, ...]

    @classmethod
    def of(cls, value: SSAValue) -> Weight | None:
        """Weight behind a value; None if it is computed."""
        op = producer(value)
        if isinstance(op, onnx.ConstantOp):
            return cls(op.value.array, None, None, 0, (op,))
        if isinstance(op, onnx.DequantizeLinearOp):
            source = producer(op.input)
            if isinstance(source, onnx.ConstantOp):
                arrays = (source.value.array, op.scale.array, op.zero_point.array)
                return cls(*arrays, op.axis.value.data, (source, op))
        return None

    @property
    def per_axis(self) -> bool:
        """Whether there is one scale per index of `axis`."""
        return self.scale is not None and self.scale.ndim == 1

    def with_data(self, data: Array, axis: int) -> Weight:
        """The same numbers in another order or shape; `axis` says where the scale's axis went."""
        return Weight(np.ascontiguousarray(data), self.scale, self.zero_point, axis, self.sources)

    def scaled(self, factors: Floats) -> Weight | None:
        """Multiplied by one factor per index of axis 0; None if the integers cannot keep that in their scale."""
        if self.scale is None or self.zero_point is None:
            data = self.data * factors.reshape(-1, *[1] * (self.data.ndim - 1))
            return Weight(data.astype(np.float32), None, None, 0, self.sources)
        if np.all(factors == 1):
            return self
        if np.any(factors <= 0) or (self.per_axis and self.axis != 0):
            return None
        scale = (self.scale * factors).astype(np.float32)
        return Weight(self.data, scale, np.broadcast_to(self.zero_point, scale.shape), 0, self.sources)

    def emit(self) -> tuple[list[Operation], SSAValue]:
        """Operations that produce it, named after the constants it was made of; the value."""
        constant = onnx.ConstantOp(self.data)
        constant.location = self.sources[0].location
        if self.scale is None or self.zero_point is None:
            return [constant], constant.output
        op = onnx.DequantizeLinearOp(constant.output, self.scale, self.zero_point, self.axis)
        op.location = self.sources[-1].location
        return [constant, op], op.output


def float_constant(array: Array, *sources: Operation) -> onnx.ConstantOp:
    """A float32 constant named after the operations it was made from."""
    op = onnx.ConstantOp(np.asarray(array, np.float32))
    op.location = fused(*sources)
    return op


@dataclass(frozen=True)
class Elementwise:
    """A chain of operations that maps each element alone: its source, and how to rebuild it on another tensor."""

    source: SSAValue
    ops: tuple[onnx.OnnxOp, ...]

    @classmethod
    def of(cls, op: Operation) -> Elementwise | None:
        """The chain that ends in `op`: one activation function, or QuantizeLinear -> DequantizeLinear per tensor."""
        if isinstance(op, ELEMENTWISE):
            return cls(op.input, (op,))
        if isinstance(op, onnx.DequantizeLinearOp) and op.scale.array.ndim == 0:
            quantize = producer(op.input)
            if isinstance(quantize, onnx.QuantizeLinearOp) and quantize.scale.array.ndim == 0:
                return cls(quantize.input, (quantize, op))
        return None

    def on(self, value: SSAValue) -> tuple[list[Operation], SSAValue]:
        """The chain on another tensor; node names stay."""
        new: list[Operation] = []
        for op in self.ops:
            # A scalar scale fits any axis; 0 is inside every rank.
            extra = {"axis": integer(0)} if "axis" in op.properties else None
            again = op.on([value], extra)
            new.append(again)
            value = again.results[0]
        return new, value


def floats(array: Array) -> Floats:
    """As float64, in which constants are combined."""
    return array.astype(np.float64)
