"""What the layer kinds of two tensors share: a value of the result is made of one of each."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.ir import Operation, SSAValue

from dialects.bfs_tiles import TileOp
from dialects.esc_base import EscOp
from isa.blocks import AdditionBlock, pack_addition
from isa.layout import ADD_BLOCK_BYTES
from isa.reference import Addition
from passes.tiling.esc_op_to_layer import LayerTiler, with_output
from passes.tiling.geometry import ChannelMap, Span
from passes.tiling.layer_kind import LayerKind, TileRule
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.problem import TilingProblem, Workload

Spread = tuple[bool, bool, bool]
"""Whether the second tensor has one row, column, channel for all of the result."""
ALIKE: Spread = (False, False, False)
"""The second tensor has the extents of the result."""


def add_block(values: Addition) -> NDArray[np.uint8]:
    """PAR bytes of the parameters of an addition or a product."""
    block = AdditionBlock(values.mult_a, values.mult_b, values.lo, values.hi, values.shift)
    return np.frombuffer(pack_addition(block), np.uint8)


class TwoTensorRule(TileRule):
    """An instruction of two ACT tiles, with the fields that `post.add` and `post.mul` have in common."""

    mnemonic: ClassVar[str]

    def emit(self, layer: LayerLowering, op: Any, spread: Spread = ALIKE, **own: int) -> None:
        """Append the instruction; `own` are its other fields."""
        out, out_address = layer.held(op.out)
        (lhs, a), (rhs, b) = layer.held(op.lhs), layer.held(op.rhs)
        part = (out.y, out.x, out.k)
        y, x, k = (Span(0, 1) if one else span for span, one in zip(part, spread, strict=True))
        layer.emit(
            self.mnemonic,
            **layer.place("act", lhs, a, part),
            signed=layer.is_signed(lhs),
            **layer.place("res", rhs, b, (y, x, k)),
            res_signed=layer.is_signed(rhs),
            **own,
            oh=out.y.extent,
            ow=out.x.extent,
            kn=out.k.extent,
            addpar=layer.held(op.parameters)[1],
            **layer.out_fields(out, out_address, out),
        )


class TwoTensorKind(LayerKind):
    """A layer of operations with `lhs`, `rhs` and `output`, each with a scale of its own."""

    operation: ClassVar[type[EscOp]]
    """The operation of level `esc`."""
    workload: ClassVar[type[Workload]]

    @abstractmethod
    def parameters(self, op: Any) -> Addition:
        """The numbers of the operation."""

    @abstractmethod
    def tile_operation(self, op: Any, out: SSAValue, lhs: SSAValue, rhs: SSAValue, parameters: SSAValue) -> TileOp:
        """What computes a tile."""

    def spread(self, op: Any) -> Spread:
        """The axes along which `rhs` has one index for all."""
        return ALIKE

    def matches(self, op: Operation) -> bool:
        return isinstance(op, self.operation)

    def tile(self, op: Any, tiler: LayerTiler, averaged: bool = False) -> None:
        inputs = tiler.inputs(op.lhs, op.rhs)
        if inputs is None:
            return
        h, w, c = inputs[0].shape
        p = TilingProblem(
            self.workload(),
            h,
            w,
            h,
            w,
            c,
            (inputs[0].whole(),),
            residual=inputs[1].whole(),
            residual_spread=self.spread(op),
            parameter_bytes=(ADD_BLOCK_BYTES,),
        )
        build = tiler.start(op, with_output(p, op.output), op.output)
        if build is None:
            return
        parameters = tiler.resident(build, 0, add_block(self.parameters(op)))
        out, lhs, rhs = build.buffer["out"], build.source_buffer(), build.buffer["residual"]
        build.before("act", build.load_tile(lhs, inputs[0].name, ChannelMap(0, c, 0, 1)))
        of_rhs = ChannelMap(0, inputs[1].shape[2], 0, 1)
        build.before("residual", build.load_tile(rhs, inputs[1].name, of_rhs, self.spread(op)))
        build.innermost(lambda _: [self.tile_operation(op, out, lhs, rhs, parameters)])
        tiler.finish(build, op.output, [op])
