"""Pooling as nodes of ONNX."""

from __future__ import annotations

import numpy as np

from dialects import esc, esc_pools
from dialects.esc_base import window_output
from dialects.locations import describe
from escc.onnx_export.emitter import TOLERANCE, OnnxEmitter, main_name
from isa.errors import UserError
from isa.reference import pool_counts


def maximum(e: OnnxEmitter, op: esc_pools.MaxPoolOp) -> str:
    """MaxPool."""
    return e.graph.node("MaxPool", [e.values[op.input]], main_name(op), **_pool(op))


def average(e: OnnxEmitter, op: esc_pools.AvgPoolOp) -> str:
    """AveragePool, or GlobalAveragePool, with its clamp."""
    source, q = esc.q_of(op.input), esc.q_of(op.output)
    (h, w), include = esc.shape_of(op.input)[1:3], bool(op.count_include_pad.value.data)
    window = (esc.ints(op.kernel), esc.ints(op.strides), esc.ints(op.pads))
    counts = np.unique(pool_counts((h, w), *window, include, esc.shape_of(op.output)[1:3]))
    given = np.ldexp(op.mult.array.astype(np.float64), -op.shift.value.data)[counts - op.count0.value.data]
    if not np.allclose(given, source.scale / q.scale / counts, TOLERANCE, 0):
        raise UserError(f"{describe(op)}: multiplies by other numbers than an average")
    name, x = main_name(op), e.values[op.input]
    if window[0] == (h, w) and not any(window[2]):
        x = e.graph.node("GlobalAveragePool", [x], name)
    else:
        x = e.graph.node("AveragePool", [x], name, count_include_pad=int(include), **_pool(op))
    x = e.clamp(x, op.lo.value.data, op.hi.value.data, q, f"{name}/clamp")
    return e.graph.quantised(x, q, name)


def _pool(op: esc_pools.MaxPoolOp | esc_pools.AvgPoolOp) -> dict[str, list[int] | int]:
    """Attributes of a pooling."""
    kernel, strides, pads = (esc.ints(a) for a in (op.kernel, op.strides, op.pads))
    floor = [
        window_output(size, kernel[i], strides[i], pads[i], pads[i + 2])
        for i, size in enumerate(esc.shape_of(op.input)[1:3])
    ]
    ceil = tuple(floor) != esc.shape_of(op.output)[1:3]
    return {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "pads": list(pads),
        **({"ceil_mode": 1} if ceil else {}),
    }
