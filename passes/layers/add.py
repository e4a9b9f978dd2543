"""The layer kind `add`: the sum of two tensors."""

from __future__ import annotations

from xdsl.ir import SSAValue

from dialects import bfs_compute as compute
from dialects import esc
from isa.reference import Addition
from passes.tiling.layer_to_instructions import LayerLowering
from passes.tiling.loop_nest import Indices
from passes.tiling.problem import Workload
from passes.tiling.two_tensors import TwoTensorKind, TwoTensorRule


class AddRule(TwoTensorRule):
    """`post.add` of two ACT tiles."""

    operation = compute.AddOp
    mnemonic = "post.add"

    def lower(self, layer: LayerLowering, op: compute.AddOp, at: Indices) -> None:
        self.emit(layer, op)


class AdditionWork(Workload):
    """Two tiles of the output's extent in, one out."""

    name = "add"


class AdditionKind(TwoTensorKind):
    """The sum of two tensors, each with a scale of its own, that no convolution takes along."""

    name = AdditionWork.name
    rules = (AddRule(),)
    operation = esc.AddOp
    workload = AdditionWork

    def parameters(self, op: esc.AddOp) -> Addition:
        return op.addition

    def tile_operation(
        self, op: esc.AddOp, out: SSAValue, lhs: SSAValue, rhs: SSAValue, parameters: SSAValue
    ) -> compute.AddOp:
        return compute.AddOp(out, lhs, rhs, parameters)


KIND = AdditionKind()
