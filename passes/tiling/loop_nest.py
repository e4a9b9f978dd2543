"""Running the loop nest of a `bfs.layer`: every tile operation in program order with the values of its indices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Block, Operation, SSAValue

from dialects.bfs import BufferOp, ForOp, LayerOp, ResidentOp
from dialects.bfs_tiles import TileOp
from isa.errors import UserError
from passes.tiling.geometry import Span, steps

Indices = Mapping[SSAValue, int]


def span(indices: Indices, first: SSAValue, extent: SSAValue) -> Span:
    """A range operand pair as numbers."""
    return Span(indices[first], indices[extent])


def executions(layer: LayerOp) -> Iterator[tuple[TileOp, Indices]]:
    """Tile operations of a layer in program order. The mapping is reused: read it before going on.

    Raises `UserError` on an operation that a layer cannot hold.
    """
    yield from _run(layer, layer.body.block, {})


def _run(layer: LayerOp, block: Block, indices: dict[SSAValue, int]) -> Iterator[tuple[TileOp, Indices]]:
    for op in block.ops:
        if isinstance(op, TileOp):
            yield op, indices
        elif isinstance(op, ForOp):
            index, size = op.body.block.args
            for step in steps(indices[op.first], indices[op.extent], op.step.value.data):
                indices[index], indices[size] = step
                yield from _run(layer, op.body.block, indices)
        elif isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            indices[op.result] = op.value.value.data
        elif not isinstance(op, BufferOp | ResidentOp):
            raise UserError(f"layer '{layer.layer_name.data}': a layer cannot hold {op.name}")


def in_loop(op: Operation) -> bool:
    """Whether the operation stands in a loop."""
    parent = op.parent_op()
    return isinstance(parent, ForOp)
