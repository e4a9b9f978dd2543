"""Values at other positions."""

from __future__ import annotations

from dialects import esc, esc_positions, onnx_positions
from passes.quantization.emitter import EscEmitter


def take(e: EscEmitter, op: onnx_positions.TakeOp) -> None:
    """Rows and columns in another order and number."""
    taken = esc_positions.TakeOp(e.values[op.input], esc.ints(op.rows), esc.ints(op.columns))
    e.values[op.output] = e.insert(taken, op)


def depth_to_space(e: EscEmitter, op: onnx_positions.DepthToSpaceOp) -> None:
    """Channels as positions."""
    e.values[op.output] = e.insert(esc_positions.DepthToSpaceOp(e.values[op.input], esc.ints(op.blocks)), op)
