"""The layer kind `space`: channels as positions, by `post.map` with other strides."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Operation

from dialects import bfs_positions, esc_positions
from dialects.attributes import ints
from dialects.esc import shape_of
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.placed import place, runs
from passes.tiling.problem import TilingProblem, Workload


class DepthToSpaceRule(TileRule):
    """`post.map` for each position of a block."""

    operation = bfs_positions.DepthToSpaceOp

    def lower(self, layer: LayerLowering, op: bfs_positions.DepthToSpaceOp, at: Indices) -> None:
        out, act = layer.held(op.out), layer.held(op.act)
        if act[0].source != op.tensor.string_value():
            raise layer.fault(f"a tile of {op.tensor} is read; one of @{act[0].source} is loaded")
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


class DepthToSpaceKind(LayerKind):
    """Channels as positions."""

    name = DepthToSpaceWork.name
    rules = (DepthToSpaceRule(),)

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc_positions.DepthToSpaceOp)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc_positions.DepthToSpaceOp)
        inputs = tiler.inputs(op.input)
        if inputs is None:
            return
        (h, w, c), (by, bx) = inputs[0].shape, ints(op.blocks)
        _, oh, ow, k = shape_of(op.output)
        source = inputs[0].source(ChannelMap(0, c, 0, c))
        rows, columns = _spread(h, by), _spread(w, bx)
        p = TilingProblem(DepthToSpaceWork(), h, w, oh, ow, k, (source,), rows=rows, columns=columns)
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        out, act, name = build.buffer["out"], build.source_buffer(), inputs[0].name
        build.before("act", build.load_act(name, source.channels))
        build.innermost(lambda _: [bfs_positions.DepthToSpaceOp(out, act, name, (by, bx))])
        tiler.finish(build, op.output, [op])


KIND = DepthToSpaceKind()
