"""The layer kind `space`: channels as positions, by `post.map` with other strides."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import SSAValue

from dialects import bfs_positions, esc_positions
from dialects.attributes import ints
from dialects.esc import shape_of
from passes.tiling.layer_kind import TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.moved import MovedKind
from passes.tiling.placed import place, runs
from passes.tiling.problem import Workload


class DepthToSpaceRule(TileRule):
    """`post.map` for each position of a block."""

    operation = bfs_positions.DepthToSpaceOp

    def lower(self, layer: LayerLowering, op: bfs_positions.DepthToSpaceOp, at: Indices) -> None:
        out, act = layer.held(op.out), layer.held_of(op.act, op.tensor)
        by, bx = ints(op.blocks)
        h, w, channels = layer.source(act[0]).extents
        rows, columns = _spread(h, by), _spread(w, bx)
        for y in runs(out[0].y, rows, by):
            for x in runs(out[0].x, columns, bx):
                block = y.first % by * bx + x.first % bx
                place(layer, act, out, y, x, block * (channels // (by * bx)))


def _spread(size: int, block: int) -> tuple[int, ...]:
    """The input index of each output index."""
    return tuple(i // block for i in range(size * block))


class DepthToSpaceWork(Workload):
    """The post unit moves every value once; a tile of the output needs all channels of the input."""

    name: ClassVar[str] = "space"
    reads_all_channels: ClassVar[bool] = True


class DepthToSpaceKind(MovedKind):
    """Channels as positions."""

    name = DepthToSpaceWork.name
    rules = (DepthToSpaceRule(),)
    operation = esc_positions.DepthToSpaceOp
    workload = DepthToSpaceWork

    def tile_operation(
        self, op: esc_positions.DepthToSpaceOp, out: SSAValue, act: SSAValue, tensor: str
    ) -> bfs_positions.DepthToSpaceOp:
        return bfs_positions.DepthToSpaceOp(out, act, tensor, ints(op.blocks))

    def taken(self, op: esc_positions.DepthToSpaceOp) -> tuple[tuple[int, ...], tuple[int, ...]]:
        (_, h, w, _), (by, bx) = shape_of(op.input), ints(op.blocks)
        return _spread(h, by), _spread(w, bx)


KIND = DepthToSpaceKind()
