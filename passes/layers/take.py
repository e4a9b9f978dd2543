"""The layer kind `take`: rows and columns of a tensor in any order and number, by `post.map` with other strides."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import SSAValue

from dialects import bfs_positions, esc_positions
from dialects.attributes import ints
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.moved import MovedKind
from passes.tiling.placed import place, runs, spacing
from passes.tiling.problem import Workload


class TakeRule(TileRule):
    """`post.map` for each run of rows and columns that lie evenly in both tiles."""

    operation = bfs_positions.TakeOp

    def lower(self, layer: LayerLowering, op: bfs_positions.TakeOp, at: Indices) -> None:
        out, act = layer.held(op.out), layer.held_of(op.act, op.tensor)
        rows, columns = ints(op.rows), ints(op.columns)
        steps = spacing(rows), spacing(columns)
        for y in runs(out[0].y, rows, steps[0]):
            for x in runs(out[0].x, columns, steps[1]):
                place(layer, act, out, y, x, 0)


class TakeWork(Workload):
    """The post unit moves every value once."""

    name: ClassVar[str] = "take"


class TakeKind(MovedKind):
    """Rows and columns of a tensor in any order and number."""

    name = TakeWork.name
    rules = (TakeRule(),)
    operation = esc_positions.TakeOp
    workload = TakeWork

    def tile_operation(
        self, op: esc_positions.TakeOp, out: SSAValue, act: SSAValue, tensor: str
    ) -> bfs_positions.TakeOp:
        return bfs_positions.TakeOp(out, act, tensor, ints(op.rows), ints(op.columns))

    def taken(self, op: esc_positions.TakeOp) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return tuple(ints(op.rows)), tuple(ints(op.columns))


KIND = TakeKind()
