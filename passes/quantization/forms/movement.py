"""Data movement."""

from __future__ import annotations

from xdsl.ir import Operation

from dialects import esc, esc_rearranged, onnx, onnx_rearranged
from passes.quantization.emitter import EscEmitter


def concatenate(e: EscEmitter, op: onnx.ConcatOp) -> None:
    """All operands side by side, in the storage of the result. A table before it has the name of what it stores anew:
    it computes no more of the concatenation than that.
    """
    storage = e.plan.storage(op.output)
    origins = [e.values[x].owner for x in op.inputs]
    parts = [
        e.stored_as(x, storage, origin if isinstance(origin, Operation) else op)
        for x, origin in zip(op.inputs, origins, strict=True)
    ]
    e.values[op.output] = e.insert(esc.ConcatOp(parts), op)


def move(e: EscEmitter, op: onnx.SliceOp | onnx.PadOp) -> None:
    """Slice and Pad as one movement: offsets [y, x, c] into the operand, negative before it."""
    starts, steps = [0, 0, 0, 0], [1, 1, 1, 1]
    if isinstance(op, onnx.PadOp):
        starts = [-p for p in esc.ints(op.pads)[:4]]
    else:
        for axis, start, step in zip(esc.ints(op.axes), esc.ints(op.starts), esc.ints(op.steps), strict=True):
            starts[axis], steps[axis] = start, step
    offsets, strides = (starts[2], starts[3], starts[1]), (steps[2], steps[3])
    result = e.type_of(op.output, e.plan.storage(op.output))
    e.values[op.output] = e.insert(esc.SliceOp(e.values[op.input], offsets, strides, result), op)


def shuffle(e: EscEmitter, op: onnx_rearranged.ChannelShuffleOp) -> None:
    """The channels in another order."""
    e.values[op.output] = e.insert(esc_rearranged.ShuffleOp(e.values[op.input], op.groups.value.data), op)


def same_values(e: EscEmitter, op: onnx.ReshapeOp | onnx.TransposeOp) -> None:
    """Nothing: the layout of the machine stays, the host does the rest."""
    if op.input in e.values:
        e.values[op.output] = e.values[op.input]
