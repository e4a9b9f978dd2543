"""`drop-dead-channels`: channels that are always 0, or that no output depends on, disappear from the tensors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass
from xdsl.rewriter import Rewriter

from dialects import esc
from dialects.attributes import i64_array, integer
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function
from passes.channel_use import ChannelUse, decomposed, kept_offset, useful
from passes.float_weights import float_weights, record


class _Dropper:
    """Rewrites a block once by its analysis; `changed` tells whether anything did change."""

    def __init__(self, block: Block) -> None:
        self.use = ChannelUse(block)
        self.changed = False
        self._extents: dict[SSAValue, tuple[int, ...]] = {}
        for op in block.ops:
            self._rewrite(op)
        for value, extents in self._extents.items():
            old = esc.tensor_type(value)
            shape = (*old.get_shape()[: -len(extents)], *extents)
            Rewriter.replace_value_with_new_type(value, TensorType(old.element_type, shape))

    def _rewrite(self, op: Operation) -> None:
        kept = self.use.kept
        match op:
            case esc.Conv2dOp():
                self._dense(op)
            case esc.BasisConv2dOp():
                if (first := decomposed(op)) is not None:
                    self._decomposed(first, op)
            case esc.RequantizeOp():
                stays = kept[op.output]
                if not stays.all():
                    op.bias, op.mult, op.shift = (DenseAttr.of(a.array[stays]) for a in (op.bias, op.mult, op.shift))
            case esc.SliceOp():
                op.offsets = i64_array(kept_offset(op, kept[op.input], kept[op.output]))
            case _:
                pass
        for value in op.results:
            if value in kept and not kept[value].all():
                self._extents[value] = (int(kept[value].sum()),)
                self.changed = True

    def _dense(self, op: esc.Conv2dOp) -> None:
        use, weight = self.use, op.weight.array.copy()
        weight[~use.needed[op.output]] = 0
        if op.groups.value.data == 1:
            weight[..., use.zero[op.input]] = 0
            weight = weight[..., use.kept[op.input]]
        elif weight.shape[3] == 1:
            op.groups = integer(int(use.kept[op.input].sum()))
        weight = weight[use.kept[op.output]]
        if not np.array_equal(weight, op.weight.array):
            op.weight = DenseAttr.of(weight)
            self.changed = True

    def _decomposed(self, first: esc.CoeffCombineOp, second: esc.BasisConv2dOp) -> None:
        use = self.use
        t = first.coefficients.array.astype(np.int8)
        t[~useful(first, second)] = 0
        t[~use.needed[second.output]] = 0
        t[..., use.zero[first.input]] = 0
        t = t[use.kept[second.output]][..., use.kept[first.input]]
        bases = np.asarray(t.any(axis=(0, 2)))
        bases[0] |= not bases.any()
        t = t[:, bases]
        if np.array_equal(t, first.coefficients.array):
            return
        first.coefficients = DenseAttr.of(t)
        second.basis = DenseAttr.of(second.basis.array[bases])
        self._extents[first.output] = (t.shape[0], t.shape[1])
        self.changed = True


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

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        function = main_function(op)
        weights = float_weights(function)
        changed = False
        while _Dropper(function.body.block).changed:
            changed = True
        if changed:
            record(function, weights)
