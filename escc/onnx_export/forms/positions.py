"""Values at other positions, as nodes of ONNX."""

from __future__ import annotations

import numpy as np

from dialects import esc, esc_positions
from escc.onnx_export.emitter import OnnxEmitter, main_name


def take(e: OnnxEmitter, op: esc_positions.TakeOp) -> str:
    """A Gather of rows and one of columns, each where it changes something."""
    name, x = main_name(op), e.values[op.input]
    _, h, w, _ = esc.shape_of(op.input)
    for what, axis, indices, size in (("rows", 2, op.rows, h), ("columns", 3, op.columns, w)):
        if esc.ints(indices) != tuple(range(size)):
            constant = e.graph.constant(f"{name}/{what}", np.array(esc.ints(indices)))
            x = e.graph.node("Gather", [x, constant], f"{name}/{what}", axis=axis)
    return x


def depth_to_space(e: OnnxEmitter, op: esc_positions.DepthToSpaceOp) -> str:
    """DepthToSpace of square blocks; else channels split in three axes, two of which join the rows and the columns."""
    name, (_, h, w, c), (by, bx) = main_name(op), esc.shape_of(op.input), esc.ints(op.blocks)
    if by == bx:
        return e.graph.node("DepthToSpace", [e.values[op.input]], name, blocksize=by)
    split = e.graph.constant(f"{name}/split", np.array([0, by, bx, c // (by * bx), h, w]))
    x = e.graph.node("Reshape", [e.values[op.input], split], f"{name}/split")
    x = e.graph.node("Transpose", [x], f"{name}/exchange", perm=[0, 3, 4, 1, 5, 2])
    joined = e.graph.constant(f"{name}/joined", np.array([0, c // (by * bx), h * by, w * bx]))
    return e.graph.node("Reshape", [x, joined], name)
