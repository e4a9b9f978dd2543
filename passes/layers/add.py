"""The layer kind `add`: the sum of two tensors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation

from dialects import bfs_compute as compute
from dialects import esc
from isa.blocks import AdditionBlock, pack_addition
from isa.layout import ADD_BLOCK_BYTES
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.problem import TilingProblem, Workload


def add_block(mult_a: int, mult_b: int, shift: int, lo: int, hi: int) -> NDArray[np.uint8]:
    """PAR bytes of the parameters of an addition."""
    return np.frombuffer(pack_addition(AdditionBlock(mult_a, mult_b, lo, hi, shift)), np.uint8)


class AddRule(TileRule):
    """`post.add` of two ACT tiles."""

    operation = compute.AddOp

    def lower(self, layer: LayerLowering, op: compute.AddOp, at: Indices) -> None:
        out, out_address = layer.held(op.out)
        (lhs, a), (rhs, b) = layer.held(op.lhs), layer.held(op.rhs)
        part = (out.y, out.x, out.k)
        layer.emit(
            "post.add",
            **layer.place("act", lhs, a, part),
            signed=layer.is_signed(lhs),
            **layer.place("res", rhs, b, part),
            res_signed=layer.is_signed(rhs),
            oh=out.y.extent,
            ow=out.x.extent,
            kn=out.k.extent,
            addpar=layer.held(op.parameters)[1],
            **layer.out_fields(out, out_address, out),
        )


class AdditionWork(Workload):
    """Two tiles of the output's extent in, one out."""

    name = "add"


class AdditionKind(LayerKind):
    """The sum of two tensors, each with a scale of its own, that no convolution takes along."""

    name = AdditionWork.name
    rules = (AddRule(),)

    def matches(self, op: Operation) -> bool:
        return isinstance(op, esc.AddOp)

    def tile(self, op: Operation, tiler: LayerTiler, averaged: bool = False) -> None:
        assert isinstance(op, esc.AddOp)
        inputs = tiler.inputs(op.lhs, op.rhs)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        p = TilingProblem(
            AdditionWork(),
            h,
            w,
            h,
            w,
            c,
            (inputs[0].whole(),),
            residual=inputs[1].whole(),
            parameter_bytes=(ADD_BLOCK_BYTES,),
        )
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        values = (op.mult_a, op.mult_b, op.shift, op.lo, op.hi)
        parameters = tiler.resident(build, 0, add_block(*(v.value.data for v in values)))
        same = ChannelMap(0, c, 0, 1)
        out, lhs, rhs = build.buffer["out"], build.source_buffer(), build.buffer["residual"]
        build.before("act", build.load_tile(lhs, inputs[0].name, same))
        build.before("residual", build.load_tile(rhs, inputs[1].name, same))
        build.innermost(lambda _: [compute.AddOp(out, lhs, rhs, parameters)])
        tiler.finish(build, op.output, [op])


KIND = AdditionKind()
