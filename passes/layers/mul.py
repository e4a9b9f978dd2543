"""The layer kind `mul`: the product of two tensors, of which one may be a gate."""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.ir import Operation, SSAValue

from dialects import bfs_compute as compute
from dialects import esc_products
from dialects.attributes import ints
from dialects.bfs import ResidentOp
from dialects.bfs_tiles import LoadTileOp
from isa.instructions.post_mul import SPREAD
from isa.layout import ADD_BLOCK_BYTES
from passes.layers.add import add_block
from passes.tiling.declarations import DeclaredTensor
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap, Span
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.loop_nest_builder import LoopNestBuilder, Ranges
from passes.tiling.problem import TilingProblem, Workload


class MulRule(TileRule):
    """`post.mul` of two ACT tiles."""

    operation = compute.MulOp

    def lower(self, layer: LayerLowering, op: compute.MulOp, at: Indices) -> None:
        out, out_address = layer.held(op.out)
        (lhs, a), (rhs, b) = layer.held(op.lhs), layer.held(op.rhs)
        spread = ints(op.spread)
        part = (out.y, out.x, out.k)
        y, x, k = (Span(0, 1) if one else span for span, one in zip(part, spread, strict=True))
        layer.emit(
            "post.mul",
            **layer.place("act", lhs, a, part),
            signed=layer.is_signed(lhs),
            **layer.place("res", rhs, b, (y, x, k)),
            res_signed=layer.is_signed(rhs),
            **dict(zip(SPREAD, spread, strict=True)),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=out.k.extent,
            addpar=layer.held(op.parameters)[1],
            **layer.out_fields(out, out_address, out),
        )


class MultiplicationWork(Workload):
    """A tile of the output's extent and one of the factor in, one out."""

    name = "mul"


class MultiplicationKind(LayerKind):
    """The product of two tensors, each with a scale of its own."""

    name = MultiplicationWork.name
    rules = (MulRule(),)

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc_products.MulOp)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc_products.MulOp)
        inputs = tiler.inputs(op.lhs, op.rhs)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        p = TilingProblem(
            MultiplicationWork(),
            h,
            w,
            h,
            w,
            c,
            (inputs[0].whole(),),
            residual=inputs[1].whole(),
            residual_spread=op.spread,
            parameter_bytes=(ADD_BLOCK_BYTES,),
        )
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        m = op.multiplication
        parameters = tiler.resident(build, 0, add_block(m.mult_a, m.mult_b, m.shift, m.lo, m.hi))
        out, lhs, rhs = build.buffer["out"], build.source_buffer(), build.buffer["residual"]
        build.before("act", build.load_tile(lhs, inputs[0].name, ChannelMap(0, c, 0, 1)))
        if not isinstance(rhs.owner, ResidentOp):
            _load_factor(build, rhs, inputs[1], op.spread)
        build.innermost(lambda _: [compute.MulOp(out, lhs, rhs, parameters, op.spread)])
        tiler.finish(build, op.output, [op])


def _load_factor(
    build: LoopNestBuilder, buffer: SSAValue, factor: DeclaredTensor, spread: tuple[bool, bool, bool]
) -> None:
    """Load what belongs to the output tile: all that there is along the axes of which the factor has one index."""
    channels = ChannelMap(0, factor.shape[2], 0, 1)

    def emit(at: Ranges) -> Sequence[Operation]:
        ranges = (at["y"], at["x"], at["k"])
        y, x, k = (build.range(0, 1) if one else r for r, one in zip(ranges, spread, strict=True))
        return [LoadTileOp(buffer, factor.name, y, x, k, (1, 1), (1, 1), (0, 0), channels)]

    build.before("residual", emit)


KIND = MultiplicationKind()
