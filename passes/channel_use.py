"""Which channels of a function of level `esc` matter: a forward analysis (is it 0 whatever the input?), a backward one
(does an output depend on it?), and which channels must stay together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import Block, Operation, SSAValue

from dialects import esc
from isa.reference import INT32_HIGH, INT32_LOW, add, requantize
from passes.esc_legalize import accumulator_bounds

Mask: TypeAlias = NDArray[np.bool_]
Indices: TypeAlias = NDArray[np.int64]
Convolution: TypeAlias = esc.Conv2dOp | esc.BasisConv2dOp
_Tie: TypeAlias = tuple[SSAValue, Indices, SSAValue, Indices]

_ELEMENTWISE = (esc.AddOp, esc.LookupOp, esc.MaxPoolOp, esc.AvgPoolOp)


def channels_of(value: SSAValue) -> int:
    """Channels of an NHWC tensor."""
    return esc.shape_of(value)[3]


def _has_channels(value: SSAValue) -> bool:
    """Whether a value is an NHWC tensor, of bytes or of accumulators."""
    return isinstance(esc.tensor_type(value).element_type, esc.QType | IntegerType) and len(esc.shape_of(value)) == 4


def decomposed(op: Operation) -> esc.CoeffCombineOp | None:
    """The coefficient stage of a basis stage; None if the operation is none or shares it with another."""
    first = op.input.owner if isinstance(op, esc.BasisConv2dOp) else None
    return first if isinstance(first, esc.CoeffCombineOp) and first.output.has_one_use() else None


def useful(first: esc.CoeffCombineOp, second: esc.BasisConv2dOp) -> NDArray[np.bool_]:
    """[K, V, C]: coefficients that are not 0 and whose basis is not 0."""
    basis = np.asarray(second.basis.array.reshape(len(second.basis.array), -1).astype(np.bool_).any(axis=1))
    return first.coefficients.array.astype(np.bool_) & basis[None, :, None]


def sliced(op: esc.SliceOp) -> tuple[Indices, Indices]:
    """Channels of the result that come from the operand, and which ones they are there."""
    source = np.arange(channels_of(op.output), dtype=np.int64) + esc.ints(op.offsets)[2]
    inside = np.flatnonzero((source >= 0) & (source < channels_of(op.input)))
    return inside, source[inside]


@dataclass
class ChannelUse:
    """The analyses of one block. Masks are bool [C] for each NHWC value, accumulators included.

    `zero`: stored as 0 at every position for any input. `needed`: not `zero`, and some output of the model depends on
    it. `kept`: what has to stay: needed channels, all those of the boundary, and those that an operation ties to one of
    them; at least one of each value.
    """

    block: Block
    zero: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    needed: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    kept: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    _ties: list[_Tie] = field(init=False, default_factory=list["_Tie"])
    _pinned: set[SSAValue] = field(init=False, default_factory=set[SSAValue])

    def __post_init__(self) -> None:
        ops = list(self.block.ops)
        for op in ops:
            for value in op.results:
                if _has_channels(value):
                    self.zero[value] = self._zero(op, value)
                    self.needed[value] = np.zeros(channels_of(value), np.bool_)
        for op in reversed(ops):
            self._need(op)
        for op in ops:
            self._tie(op)
        self._keep()

    # Forward ------------------------------------------------------------------------------------------------------

    def _zero(self, op: Operation, value: SSAValue) -> Mask:
        count = channels_of(value)
        match op:
            case esc.RequantizeOp():
                return self._requantised(op)
            case esc.AddOp():
                nothing = np.zeros(1, np.int8)
                both = self.zero[op.lhs] & self.zero[op.rhs]
                return both & (int(add(nothing, nothing, op.addition)[0]) == 0)
            case esc.LookupOp():
                return self.zero[op.input] & (int(op.table.array[0]) == 0)
            case esc.MaxPoolOp():
                return self.zero[op.input]
            case esc.AvgPoolOp():
                return self.zero[op.input] & (op.lo.value.data <= 0 <= op.hi.value.data)
            case esc.ConcatOp():
                return np.concatenate([self.zero[x] for x in op.inputs])
            case esc.SliceOp():
                result = np.ones(count, np.bool_)
                inside, source = sliced(op)
                result[inside] = self.zero[op.input][source]
                return result
            case _:
                return np.zeros(count, np.bool_)

    def _requantised(self, op: esc.RequantizeOp) -> Mask:
        """Channels that are 0 for the smallest and the largest accumulator, hence (rounding is monotone) for all."""
        conv = op.input.owner
        if not isinstance(conv, Convolution):
            return np.zeros(channels_of(op.output), np.bool_)
        low, high = (np.clip(b, INT32_LOW, INT32_HIGH) for b in accumulator_bounds(conv))
        lo, hi = op.lo.value.data, op.hi.value.data
        block = (op.bias.array, op.mult.array, op.shift.array, lo, hi)
        constant = requantize(low, *block, lo < 0) == requantize(high, *block, lo < 0)
        residual = None
        if op.residual is not None:
            constant &= self.zero[op.residual]
            residual = np.zeros(low.shape, esc.q_of(op.residual).dtype)
        table = None if op.table is None else op.table.array
        result = requantize(low, *block, op.mid_type.signed, table, residual, op.addition)
        return constant & (result == 0)

    # Backward -----------------------------------------------------------------------------------------------------

    def _need(self, op: Operation) -> None:
        outputs = [self.needed[v] for v in op.results if v in self.needed]
        wanted = outputs[0] if outputs else np.zeros(0, np.bool_)
        if isinstance(op, esc.RequantizeOp):
            self._want(op.input, wanted)
            if op.residual is not None:
                self._want(op.residual, wanted)
        elif isinstance(op, _ELEMENTWISE):
            for x in op.operands:
                self._want(x, wanted)
        elif isinstance(op, esc.ConcatOp):
            at = 0
            for x in op.inputs:
                self._want(x, wanted[at : at + channels_of(x)])
                at += channels_of(x)
        elif isinstance(op, esc.SliceOp):
            inside, source = sliced(op)
            self._want(op.input, np.bincount(source[wanted[inside]], minlength=channels_of(op.input)) > 0)
        elif isinstance(op, esc.Conv2dOp):
            used = np.asarray(op.weight.array.astype(np.bool_).any(axis=(1, 2))) & wanted[:, None]
            groups = op.groups.value.data
            self._want(op.input, used.reshape(groups, -1, used.shape[1]).any(axis=1).reshape(-1))
        elif (first := decomposed(op)) is not None and isinstance(op, esc.BasisConv2dOp):
            self._want(first.input, np.asarray(useful(first, op)[wanted].any(axis=(0, 1))))
        elif not self._is_inner(op):
            for x in op.operands:
                if x in self.needed:
                    self._want(x, np.ones(channels_of(x), np.bool_))

    def _want(self, value: SSAValue, mask: Mask) -> None:
        self.needed[value] |= mask & ~self.zero[value]

    @staticmethod
    def _is_inner(op: Operation) -> bool:
        """Whether the operation is the coefficient stage that a basis stage answers for."""
        return isinstance(op, esc.CoeffCombineOp) and any(decomposed(use.operation) is op for use in op.output.uses)

    # Ties ---------------------------------------------------------------------------------------------------------

    def _tie(self, op: Operation) -> None:
        if isinstance(op, esc.RequantizeOp | esc.AddOp | esc.LookupOp | esc.MaxPoolOp | esc.AvgPoolOp):
            every = np.arange(channels_of(op.results[0]), dtype=np.int64)
            self._ties += [(x, every, op.results[0], every) for x in op.operands]
        elif isinstance(op, esc.ConcatOp):
            at = 0
            for x in op.inputs:
                every = np.arange(channels_of(x), dtype=np.int64)
                self._ties.append((x, every, op.output, every + at))
                at += channels_of(x)
        elif isinstance(op, esc.SliceOp):
            inside, source = sliced(op)
            self._ties.append((op.input, source, op.output, inside))
        elif isinstance(op, esc.Conv2dOp) and op.groups.value.data > 1:
            k, cpg = op.weight.array.shape[0], op.weight.array.shape[3]
            if cpg == 1:
                every = np.arange(k, dtype=np.int64)
                self._ties.append((op.input, every // (k // op.groups.value.data), op.output, every))
            else:
                self._pinned |= {op.input, op.output}
        elif not isinstance(op, Convolution) and not self._is_inner(op):
            self._pinned |= {v for v in (*op.operands, *op.results) if v in self.zero}
        elif isinstance(op, esc.BasisConv2dOp) and decomposed(op) is None:
            self._pinned.add(op.output)

    def _keep(self) -> None:
        for value, needed in self.needed.items():
            self.kept[value] = needed | (value in self._pinned)
        self._spread()
        while (empty := next((v for v, kept in self.kept.items() if not kept.any()), None)) is not None:
            self.kept[empty][0] = True
            self._spread()

    def _spread(self) -> None:
        changed = True
        while changed:
            changed = False
            for a, ia, b, ib in (*self._ties, *reversed(self._ties)):
                both = self.kept[a][ia] | self.kept[b][ib]
                if (both != self.kept[a][ia]).any() or (both != self.kept[b][ib]).any():
                    np.logical_or.at(self.kept[a], ia, both)
                    np.logical_or.at(self.kept[b], ib, both)
                    changed = True


def kept_offset(op: esc.SliceOp, kept: Mask, result: Mask) -> Sequence[int]:
    """Offsets of a slice once only the kept channels of its operand and result are there."""
    y, x, c = esc.ints(op.offsets)
    return y, x, int(kept[:c].sum()) if c >= 0 else -int(result[:-c].sum())
