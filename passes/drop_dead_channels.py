"""`drop-dead-channels`: channels that are always 0, or that no output depends on, disappear from the tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from dialects import esc
from dialects.interpreters.run import main_function
from passes.analysis.channel_liveness import ChannelLiveness
from passes.analysis.original_weight_count import float_weights, record
from passes.analysis.preserved import Preserved


def drop_once(block: Block) -> bool:
    """Drop the dead channels that one analysis of a block finds; whether anything did change."""
    flow = ChannelLiveness(block)
    changed = False
    for op in block.ops:
        if isinstance(op, esc.EscOp):
            changed |= op.drop_channels(flow)
        for value in op.results:
            if value in flow.kept and not flow.kept[value].all():
                flow.reshape(value, (int(flow.kept[value].sum()),))
                changed = True
    for value, extents in flow.extents.items():
        old = esc.tensor_type(value)
        shape = (*old.get_shape()[: -len(extents)], *extents)
        Rewriter.replace_value_with_new_type(value, TensorType(old.element_type, shape))
    return changed


@dataclass(frozen=True)
class DropDeadChannelsPass(ModulePass):
    """Drop channels that are 0 for every input, and channels that no output of the model depends on.

    Both are found through convolutions, pools, lookup tables, additions, concatenations and slices, until nothing more
    is found. A channel goes only if it can go from all tensors that an operation ties together, the operands of an
    addition for example; inputs and outputs of the model keep their channels, and every tensor keeps at least one.
    Weights and coefficients that only such channels read or make become 0, and virtual bases that no coefficient uses
    disappear. The outputs keep every bit. `@main` then records the weights of the original model as `float_weights`.
    """

    name = "drop-dead-channels"
    PRESERVES: ClassVar[Preserved] = Preserved.OUTPUTS

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        function = main_function(op)
        weights = float_weights(function)
        changed = False
        while drop_once(function.body.block):
            changed = True
        if changed:
            record(function, weights)
