"""The layer kind `mul`: the product of two tensors, of which one may be a gate."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc_products
from dialects.attributes import ints
from isa.instructions.post_mul import SPREAD
from isa.reference import Addition
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.problem import Workload
from passes.tiling.two_tensors import Spread, TwoTensorKind, TwoTensorRule


class MulRule(TwoTensorRule):
    """`post.mul` of two ACT tiles."""

    operation = compute.MulOp
    mnemonic = "post.mul"

    def lower(self, layer: LayerLowering, op: compute.MulOp, at: Indices) -> None:
        rows, columns, channels = (bool(one) for one in ints(op.spread))
        spread = (rows, columns, channels)
        self.emit(layer, op, spread, **dict(zip(SPREAD, spread, strict=True)))


class MultiplicationWork(Workload):
    """A tile of the output's extent and one of the factor in, one out."""

    name = "mul"


class MultiplicationKind(TwoTensorKind):
    """The product of two tensors, each with a scale of its own."""

    name = MultiplicationWork.name
    rules = (MulRule(),)
    operation = esc_products.MulOp
    workload = MultiplicationWork

    def parameters(self, op: esc_products.MulOp) -> Addition:
        return op.multiplication

    def tile_operation(
        self, op: esc_products.MulOp, out: SSAValue, lhs: SSAValue, rhs: SSAValue, parameters: SSAValue
    ) -> compute.MulOp:
        return compute.MulOp(out, lhs, rhs, parameters, op.spread)

    def spread(self, op: esc_products.MulOp) -> Spread:
        return op.spread


KIND = MultiplicationKind()
