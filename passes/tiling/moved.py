"""What the layer kinds share that put the values of one tensor at other places, and compute nothing."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from xdsl.ir import Operation, SSAValue

from dialects.bfs_tiles import TileOp
from dialects.esc_base import EscOp, shape_of
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import LayerKind
from passes.tiling.problem import TilingProblem, Workload


class MovedKind(LayerKind):
    """A layer of an operation with `input` and `output`. A tile of the output needs the same channels of the input, or
    all of them if the workload says so.
    """

    operation: ClassVar[type[EscOp]]
    """The operation of level `esc`."""
    workload: ClassVar[type[Workload]]

    @abstractmethod
    def tile_operation(self, op: Any, out: SSAValue, act: SSAValue, tensor: str) -> TileOp:
        """What moves a tile from `act`, which holds a part of `tensor`."""

    def taken(self, op: Any) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """The row of the input for each row of the output, and the column likewise; None where they are the same."""
        return None, None

    def matches(self, op: Operation) -> bool:
        return isinstance(op, self.operation)

    def tile(self, op: Any, tiler: LayerTiler, averaged: bool = False) -> None:
        inputs = tiler.inputs(op.input)
        if inputs is None:
            return
        (h, w, c), (_, oh, ow, k), (rows, columns) = inputs[0].shape, shape_of(op.output), self.taken(op)
        source = inputs[0].source(ChannelMap(0, c, 0, c if self.workload.reads_all_channels else 1))
        p = TilingProblem(self.workload(), h, w, oh, ow, k, (source,), rows=rows, columns=columns)
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        out, act, name = build.buffer["out"], build.source_buffer(), inputs[0].name
        build.before("act", build.load_act(name, source.channels))
        build.innermost(lambda _: [self.tile_operation(op, out, act, name)])
        tiler.finish(build, op.output, [op])
