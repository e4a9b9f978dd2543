"""Data movement as nodes of ONNX."""

from __future__ import annotations

import numpy as np

from dialects import esc, esc_rearranged
from escc.onnx_export.emitter import OnnxEmitter, main_name
from escc.onnx_export.movement import pad_and_slice


def concatenate(e: OnnxEmitter, op: esc.ConcatOp) -> str:
    """Concat over channels."""
    name = main_name(op)
    x = e.graph.node("Concat", [e.values[x] for x in op.inputs], name, axis=1)
    return e.graph.quantised(x, esc.q_of(op.output), name)


def pad_then_slice(e: OnnxEmitter, op: esc.SliceOp) -> str:
    """Padding with zeros, then a slice, each where there is something to do."""
    name, x = main_name(op), e.values[op.input]
    extents = zip(esc.shape_of(op.input)[1:], esc.shape_of(op.output)[1:], strict=True)
    steps = zip(esc.ints(op.offsets), (*esc.ints(op.strides), 1), strict=True)
    rows, columns, channels = (pad_and_slice(*e, *s) for e, s in zip(extents, steps, strict=True))
    ordered = (channels, rows, columns)
    pads = [0, *(m.before for m in ordered), 0, *(m.after for m in ordered)]
    if any(pads):
        x = e.graph.node("Pad", [x, e.graph.constant(f"{name}/pads", np.array(pads))], f"{name}/pad")
    sliced = [(axis, m) for axis, m in enumerate(ordered, 1) if not m.whole]
    if not sliced:
        return x
    parameters = {
        "starts": [m.start for _, m in sliced],
        "ends": [m.stop for _, m in sliced],
        "axes": [axis for axis, _ in sliced],
        "steps": [m.step for _, m in sliced],
    }
    inputs = [e.graph.constant(f"{name}/{n}", np.array(v)) for n, v in parameters.items()]
    return e.graph.node("Slice", [x, *inputs], name)


def shuffle(e: OnnxEmitter, op: esc_rearranged.ShuffleOp) -> str:
    """Channels split in two axes, these exchanged, and joined again."""
    name, (_, h, w, c), groups = main_name(op), esc.shape_of(op.input), op.groups.value.data
    split = e.graph.constant(f"{name}/split", np.array([0, groups, c // groups, h, w]))
    x = e.graph.node("Reshape", [e.values[op.input], split], f"{name}/split")
    x = e.graph.node("Transpose", [x], f"{name}/exchange", perm=[0, 2, 1, 3, 4])
    return e.graph.node("Reshape", [x, e.graph.constant(f"{name}/joined", np.array([0, c, h, w]))], name)
