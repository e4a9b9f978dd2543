"""Running the loop nest of a `bfs.layer`: every tile operation in program order with the values of its indices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from xdsl.dialects import arith
from xdsl.dialects.builtin import IntegerAttr
from xdsl.ir import Operation, SSAValue

from dialects.bfs import BufferOp, LayerOp, ResidentOp
from dialects.bfs_loops import ForOp
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
    yield from _run(layer, layer.body.block.ops, {})


def tiles(layer: LayerOp) -> Iterator[Iterator[tuple[TileOp, Indices]]]:
    """`executions` in pieces, to be taken one after the other: one for each turn of the outermost loop, the first with
    what stands before the loop, the last with what follows it.
    """
    ops, indices = list(layer.body.block.ops), dict[SSAValue, int]()
    place = next((i for i, op in enumerate(ops) if isinstance(op, ForOp)), None)
    if place is None:
        yield _run(layer, ops, indices)
        return
    loop, pending = ops[place], ops[:place]
    assert isinstance(loop, ForOp)
    first, extent = _constant(loop.first), _constant(loop.extent)
    turns = list(steps(first, extent, loop.step.value.data))
    for turn in turns:
        behind = ops[place + 1 :] if turn is turns[-1] else []
        yield _turn(layer, pending, loop, turn, behind, indices)
        pending = []


def _turn(
    layer: LayerOp,
    before: Sequence[Operation],
    loop: ForOp,
    turn: Span,
    behind: Sequence[Operation],
    indices: dict[SSAValue, int],
) -> Iterator[tuple[TileOp, Indices]]:
    yield from _run(layer, before, indices)
    indices[loop.body.block.args[0]], indices[loop.body.block.args[1]] = turn
    yield from _run(layer, loop.body.block.ops, indices)
    yield from _run(layer, behind, indices)


def _constant(value: SSAValue) -> int:
    """The number that a bound of an outermost loop is."""
    op = value.owner
    assert isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr)
    return op.value.value.data


def _run(layer: LayerOp, ops: Iterable[Operation], indices: dict[SSAValue, int]) -> Iterator[tuple[TileOp, Indices]]:
    for op in ops:
        if isinstance(op, TileOp):
            yield op, indices
        elif isinstance(op, ForOp):
            index, size = op.body.block.args
            for step in steps(indices[op.first], indices[op.extent], op.step.value.data):
                indices[index], indices[size] = step
                yield from _run(layer, op.body.block.ops, indices)
        elif isinstance(op, arith.ConstantOp) and isinstance(op.value, IntegerAttr):
            indices[op.result] = op.value.value.data
        elif not isinstance(op, BufferOp | ResidentOp):
            raise UserError(f"layer '{layer.layer_name.data}': a layer cannot hold {op.name}")


def in_loop(op: Operation) -> bool:
    """Whether the operation stands in a loop."""
    parent = op.parent_op()
    return isinstance(parent, ForOp)
