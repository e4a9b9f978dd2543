"""Small esc-level graphs with random integers, for tests of tiling and lowering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from hypothesis import strategies as st
from xdsl.dialects import func
from xdsl.dialects.builtin import FunctionType, ModuleOp, TensorType, f32
from xdsl.ir import Operation, SSAValue

from dialects import esc, esc_pools, esc_positions, esc_products, esc_rearranged
from dialects.blob import DenseAttr
from dialects.esc_base import QType, q_of, q_tensor, shape_of, window_output
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from dialects.locations import named
from dialects.machine import strings
from isa.reference import pool_counts

MAIN = (
    "tile-basis-first",
    "plan-memory",
    "double-buffer",
    "pack-coefficients",
    "lower-to-eisa",
    "insert-sync",
    "eisa-legalize",
)


class Graph:
    """Builds one function of level esc; every method appends an operation and returns its result."""

    def __init__(self, h: int, w: int, c: int, signed: bool = True, seed: int = 0, sparsity: float = 0.4):
        self.random = np.random.default_rng(seed)
        self.sparsity = sparsity
        self.ops: list[Operation] = []
        self.names = 0
        self.input_type = TensorType(f32, (1, c, h, w))
        self.function = func.FuncOp("main", ((self.input_type,), ()))
        self.x = self.append(
            esc.QuantizeOp(self.function.body.block.args[0], q_tensor((1, h, w, c), signed, 1.0)), "input"
        )

    def append(self, op: Operation, name: str = "") -> SSAValue:
        """Append an operation under a name; its first result."""
        op.location = named(name or f"node{self.names}")
        self.names += 1
        self.ops.append(op)
        return op.results[0]

    def requantize(
        self, acc: SSAValue, signed: bool, residual: SSAValue | None = None, table: bool = False
    ) -> SSAValue:
        """Requantise so that results spread over the whole range."""
        k = shape_of(acc)[-1]
        q = QType.of(signed, 1.0)
        bias = self.random.integers(-200, 200, k)
        mult = self.random.integers(1 << 20, 1 << 24, k)
        shift = self.random.integers(26, 31, k)
        op = esc.RequantizeOp(acc, bias, mult, shift, q.low, q.high, TensorType(q, shape_of(acc)))
        if table:
            op.table = DenseAttr.of(self.random.integers(q.low, q.high + 1, 256).astype(q.dtype))
        if residual is not None:
            op.operands = [*op.operands, residual]
            op.mid = q
            from xdsl.dialects.builtin import IntegerAttr, i64

            op.mult_a, op.mult_b = IntegerAttr(3 << 10, i64), IntegerAttr(1 << 11, i64)
            op.add_shift = IntegerAttr(12, i64)
            op.add_lo, op.add_hi = IntegerAttr(q.low, i64), IntegerAttr(q.high, i64)
        return self.append(op)

    def conv(
        self,
        x: SSAValue,
        k: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        groups: int = 1,
        signed: bool = False,
        residual: SSAValue | None = None,
        table: bool = False,
    ) -> SSAValue:
        """Dense, grouped or depthwise convolution and requantisation."""
        c = shape_of(x)[3]
        weight = self.random.integers(-127, 128, (k, *kernel, c // groups)).astype(np.int8)
        acc = self.append(esc.Conv2dOp(x, weight, strides, pads, groups))
        return self.requantize(acc, signed, residual, table)

    def decomposed(
        self,
        x: SSAValue,
        k: int,
        v: int,
        kernel: tuple[int, int] = (3, 3),
        strides: tuple[int, int] = (1, 1),
        pads: tuple[int, int, int, int] = (1, 1, 1, 1),
        signed: bool = False,
        residual: SSAValue | None = None,
        ic_shift: int = 1,
        ic_bits: int = 16,
    ) -> SSAValue:
        """Decomposed convolution and requantisation."""
        c = shape_of(x)[3]
        t = self.random.integers(-1, 2, (k, v, c)).astype(np.int8)
        t[self.random.random(t.shape) < self.sparsity] = 0
        ic = self.append(CoeffCombineOp(x, t, ic_shift, ic_bits))
        basis = self.random.integers(-100, 101, (v, *kernel)).astype(np.int8)
        acc = self.append(BasisConv2dOp(ic, basis, strides, pads))
        return self.requantize(acc, signed, residual)

    def add(self, a: SSAValue, b: SSAValue, signed: bool) -> SSAValue:
        """Addition of two tensors."""
        q = QType.of(signed, 1.0)
        return self.append(esc.AddOp(a, b, 700, 500, 10, q.low, q.high, TensorType(q, shape_of(a))))

    def mul(self, a: SSAValue, b: SSAValue, signed: bool) -> SSAValue:
        """Product of two tensors; `b` may have one row, column or channel for all."""
        q = QType.of(signed, 1.0)
        return self.append(esc_products.MulOp(a, b, 900, 16, q.low, q.high, TensorType(q, shape_of(a))))

    def pool(
        self,
        x: SSAValue,
        average: bool,
        kernel: tuple[int, int],
        strides: tuple[int, int],
        pads: tuple[int, int, int, int] = (0, 0, 0, 0),
        ceil: tuple[int, int] = (0, 0),
        include_pad: bool = False,
    ) -> SSAValue:
        """Maximum or average pooling; `ceil` adds a window at the end of an axis."""
        _, h, w, c = shape_of(x)
        oh = window_output(h, kernel[0], strides[0], pads[0], pads[2]) + ceil[0]
        ow = window_output(w, kernel[1], strides[1], pads[1], pads[3]) + ceil[1]
        q = q_of(x)
        result = TensorType(q, (1, oh, ow, c))
        if not average:
            return self.append(esc_pools.MaxPoolOp(x, kernel, strides, pads, result))
        counts = pool_counts((h, w), kernel, strides, pads, include_pad, (oh, ow))
        low, high = int(counts.min()), int(counts.max())
        mult = np.round((1 << 20) / np.arange(low, high + 1)).astype(np.int32)
        return self.append(
            esc_pools.AvgPoolOp(x, kernel, strides, pads, include_pad, mult, low, 20, q.low, q.high, result)
        )

    def lookup(self, x: SSAValue, signed: bool) -> SSAValue:
        """A random table."""
        q = QType.of(signed, 1.0)
        table = self.random.integers(q.low, q.high + 1, 256).astype(q.dtype)
        return self.append(esc.LookupOp(x, table, TensorType(q, shape_of(x))))

    def concat(self, *xs: SSAValue) -> SSAValue:
        """Concatenation over channels."""
        return self.append(esc.ConcatOp(xs))

    def shuffle(self, x: SSAValue, groups: int) -> SSAValue:
        """Channels in another order."""
        return self.append(esc_rearranged.ShuffleOp(x, groups))

    def take(self, x: SSAValue, rows: Sequence[int], columns: Sequence[int]) -> SSAValue:
        """Rows and columns in another order and number."""
        return self.append(esc_positions.TakeOp(x, rows, columns))

    def depth_to_space(self, x: SSAValue, blocks: tuple[int, int]) -> SSAValue:
        """Channels as positions."""
        return self.append(esc_positions.DepthToSpaceOp(x, blocks))

    def slice(
        self, x: SSAValue, offsets: Sequence[int], strides: tuple[int, int], shape: tuple[int, int, int]
    ) -> SSAValue:
        """Slice or pad."""
        return self.append(esc.SliceOp(x, offsets, strides, TensorType(q_of(x), (1, *shape))))

    def module(self, *outputs: SSAValue, softmax: bool = False) -> ModuleOp:
        """Close the function; outputs are [1, C, H, W]."""
        values: list[SSAValue] = []
        for x in outputs:
            _, h, w, c = shape_of(x)
            value = self.append(esc.DequantizeOp(x, TensorType(f32, (1, c, h, w))))
            values.append(self.append(esc.SoftmaxOp(value, 1)) if softmax else value)
        block = self.function.body.block
        block.add_ops([*self.ops, func.ReturnOp(*values)])
        types = [v.type for v in values]
        self.function.function_type = FunctionType.from_lists([self.input_type], types)
        self.function.attributes["input_names"] = strings(["x"])
        self.function.attributes["output_names"] = strings([f"y{i}" for i in range(len(values))])
        _, h, w, c = shape_of(self.x)
        sample = self.random.integers(q_of(self.x).low, q_of(self.x).high + 1, (h, w, c)).astype(q_of(self.x).dtype)
        sample[self.random.random(sample.shape) < 0.4] = 0
        self.function.attributes["sample"] = DenseAttr.of(sample)
        return ModuleOp([self.function])


T = TypeVar("T")
_KINDS = (
    "conv",
    "dw",
    "groups",
    "esc",
    "add",
    "pool",
    "lookup",
    "concat",
    "slice",
    "channels",
    "residual",
    "mul",
    "shuffle",
    "take",
    "space",
)


class Draw(Protocol):
    """Draws a value of a strategy: of a composite one, or `draw` of `st.data()`."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T: ...


_BLOCKS = ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 2))


def _factor(draw: Draw, g: Graph, x: SSAValue) -> SSAValue:
    """x, or a part of it with one row, column or channel, or with several of these."""
    shape = [1 if draw(st.booleans()) else d for d in shape_of(x)[1:]]
    return x if shape == list(shape_of(x)[1:]) else g.slice(x, (0, 0, 0), (1, 1), (shape[0], shape[1], shape[2]))


def random_graph(draw: Draw, g: Graph, widths: Sequence[int] = (4, 16, 20, 64, 72)) -> list[SSAValue]:
    """A chain with branches: every new tensor reads random earlier ones; convolutions have one of the `widths`."""
    values = [g.x]
    for _ in range(draw(st.integers(1, 6))):
        x = draw(st.sampled_from(values))
        _, h, w, c = shape_of(x)
        kind = draw(st.sampled_from(_KINDS))
        signed = draw(st.booleans())
        k = draw(st.sampled_from(widths))
        same = [v for v in values if shape_of(v) == shape_of(x)]
        if kind == "conv":
            y = g.conv(x, k, signed=signed, strides=(draw(st.integers(1, 2)), 1), table=draw(st.booleans()))
        elif kind == "dw" and c > 1:
            y = g.conv(x, c * draw(st.integers(1, 2)), groups=c, signed=signed)
        elif kind == "groups" and c % 2 == 0:
            y = g.conv(x, k + k % 2, groups=2, signed=signed)
        elif kind == "esc":
            y = g.decomposed(x, k, draw(st.integers(1, 7)), signed=signed)
        elif kind == "add":
            y = g.add(x, draw(st.sampled_from(same)), signed)
        elif kind == "mul":
            y = g.mul(x, _factor(draw, g, draw(st.sampled_from(same))), signed)
        elif kind == "shuffle":
            y = g.shuffle(x, draw(st.sampled_from([n for n in range(1, 9) if c % n == 0])))
        elif kind == "take":
            y = g.take(x, *(draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=24)) for n in (h, w)))
        elif kind == "space":
            y = g.depth_to_space(x, draw(st.sampled_from([b for b in _BLOCKS if c % (b[0] * b[1]) == 0])))
        elif kind == "pool" and min(h, w) > 1:
            y = g.pool(x, draw(st.booleans()), (2, 2), (2, 2))
        elif kind == "concat":
            matching = [v for v in values if shape_of(v)[:3] == (1, h, w) and q_of(v) == q_of(x)]
            y = g.concat(x, *draw(st.lists(st.sampled_from(matching), max_size=2)))
        elif kind == "slice":
            y = g.slice(x, (0, 1 - w % 2, -3), (2, 1), ((h + 1) // 2, w, c + 6))
        elif kind == "channels":
            first = draw(st.integers(0, c - 1))
            y = g.slice(x, (0, 0, first), (1, 1), (h, w, draw(st.integers(1, c - first))))
        elif kind == "residual":
            y = g.conv(x, c, signed=signed, residual=draw(st.sampled_from(same)))
        else:
            y = g.lookup(x, signed)
        values.append(y)
    unread = [v for v in values[1:] if not v.uses]
    return unread or [values[-1]]


Builder = Callable[[Graph], SSAValue]


def lower(module: ModuleOp, target: str = "esc1", passes: Sequence[str] = MAIN, bands: bool = True) -> ModuleOp:
    """Run passes by name on a copy of a module."""
    from xdsl.context import Context

    from escc.universe import PASSES, _load

    result = module.clone()
    result.verify()
    for name in passes:
        kind: Any = _load(PASSES[name])
        kind(**({"target": target, "bands": bands} if name == "tile-basis-first" else {})).apply(Context(), result)
        result.verify()
    return result
