"""The layer kind `take`: rows and columns of a tensor in any order and number, by `post.map` with other strides."""

from __future__ import annotations

from typing import ClassVar

from xdsl.ir import Operation

from dialects import bfs_positions, esc_positions
from dialects.attributes import ints
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.placed import place, runs, spacing
from passes.tiling.problem import TilingProblem, Workload


class TakeRule(TileRule):
    """`post.map` for each run of rows and columns that lie evenly in both tiles."""

    operation = bfs_positions.TakeOp

    def lower(self, layer: LayerLowering, op: bfs_positions.TakeOp, at: Indices) -> None:
        out, act = layer.held(op.out), layer.held(op.act)
        if act[0].source != op.tensor.string_value():
            raise layer.fault(f"a tile of {op.tensor} is read; one of @{act[0].source} is loaded")
        rows, columns = ints(op.rows), ints(op.columns)
        steps = spacing(rows), spacing(columns)
        for y in runs(out[0].y, rows, steps[0]):
            for x in runs(out[0].x, columns, steps[1]):
                place(layer, act, out, y, x, 0)


class TakeWork(Workload):
    """The post unit moves every value once."""

    name: ClassVar[str] = "take"


class TakeKind(LayerKind):
    """Rows and columns of a tensor in any order and number."""

    name = TakeWork.name
    rules = (TakeRule(),)

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc_positions.TakeOp)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc_positions.TakeOp)
        inputs = tiler.inputs(op.input)
        if inputs is None:
            return
        (h, w, c), rows, columns = inputs[0].shape, ints(op.rows), ints(op.columns)
        source = inputs[0].source(ChannelMap(0, c, 0, 1))
        size = len(rows), len(columns)
        p = TilingProblem(TakeWork(), h, w, *size, c, (source,), rows=tuple(rows), columns=tuple(columns))
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        out, act, name = build.buffer["out"], build.source_buffer(), inputs[0].name
        build.before("act", build.load_act(name, source.channels))
        build.innermost(lambda _: [bfs_positions.TakeOp(out, act, name, rows, columns)])
        tiler.finish(build, op.output, [op])


KIND = TakeKind()
