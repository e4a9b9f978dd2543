"""Concatenations and slices that take no instruction: their operands and results are channels of the same tensor.

The operands of a concatenation are computed where the result has them, and a slice of channels is read where it lies.
An operand that cannot be computed there is copied: the one that lies in another concatenation already, an output of the
model (the host reads it as a tensor of its own), an input, and the second one of two equal operands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from xdsl.dialects.builtin import TensorType
from xdsl.ir import Block, Operation, SSAValue

from dialects import esc
from dialects.attributes import ints
from dialects.esc import q_of, shape_of
from dialects.locations import node_names
from isa.target import Target

_SHORTEST_RUN = 16
"""Channels below which a concatenation in DRAM is cheaper copied than written position by position."""


@dataclass(frozen=True)
class PartOf:
    """Channels of another value, the `whole`, from channel `first` on; the whole is no part itself."""

    whole: SSAValue
    first: int


@dataclass
class ChannelViews:
    """The values of a function that are channels of others. `vanished`: operations that become no layer."""

    parts: dict[SSAValue, PartOf] = field(default_factory=dict[SSAValue, PartOf])
    vanished: set[Operation] = field(default_factory=set[Operation])

    def moved(self, old: SSAValue, new: SSAValue) -> None:
        """Another value stands for a computed one from here on."""
        self.parts = {
            new if value is old else value: PartOf(new, part.first) if part.whole is old else part
            for value, part in self.parts.items()
        }

    def computed(self, whole: SSAValue) -> list[tuple[int, int]]:
        """First channel and the one after the last of every part of a value that a layer computes."""
        return [
            (part.first, part.first + shape_of(value)[3])
            for value, part in self.parts.items()
            if part.whole is whole and value.owner not in self.vanished
        ]

    def in_lines(self, whole: SSAValue, chunk: int) -> bool:
        """Whether the parts of a value can be written and read by themselves where it lies as BITMAP lines."""
        c = shape_of(whole)[3]
        firsts = [part.first for part in self.parts.values() if part.whole is whole]
        ends = [end for _, end in self.computed(whole) if end != c]
        return all(at % chunk == 0 for at in (*firsts, *ends))

    def names_behind(self, value: SSAValue) -> list[str]:
        """Nodes of the vanished operations that a computed value goes through: its layer stands for them too."""
        found: list[str] = []
        todo = [value]
        while todo:
            for use in todo.pop().uses:
                if use.operation in self.vanished:
                    found += node_names(use.operation)
                    todo += use.operation.results
        return found

    # Finding them -----------------------------------------------------------------------------------------------------

    def place(self, value: SSAValue) -> PartOf:
        """Where a value lies: in its whole, or as a tensor of its own."""
        return self.parts.get(value, PartOf(value, 0))

    def take_concat(self, op: esc.ConcatOp) -> None:
        """Let a concatenation vanish; operands that cannot be computed in their place are copied by a slice of all
        their channels.
        """
        operands = list(op.inputs)
        if (found := self._run(operands)) is not None and op.output not in self.parts and not _is_output(op.output):
            self.parts[op.output] = found
            self.vanished.add(op)
            return
        self.vanished.add(op)
        here, at = self.place(op.output), 0
        for i, value in enumerate(operands):
            if not self._can_move(value):
                op.operands[i] = value = _copy(value, op)
            self.parts[value] = PartOf(here.whole, here.first + at)
            at += shape_of(value)[3]

    def _run(self, values: Sequence[SSAValue]) -> PartOf | None:
        """Where values lie one after the other in the same tensor already; None if they do not."""
        start = self.parts.get(values[0])
        at = 0
        for value in values:
            if start is None or self.parts.get(value) != PartOf(start.whole, start.first + at):
                return None
            at += shape_of(value)[3]
        return start

    def _can_move(self, value: SSAValue) -> bool:
        """Whether a value can be computed as channels of another one."""
        owner = value.owner
        computed = isinstance(owner, Operation) and not isinstance(owner, esc.QuantizeOp)
        return computed and value not in self.parts and not _is_output(value)

    def take_slice(self, op: esc.SliceOp) -> None:
        """Let a slice of channels vanish, unless its result has another place or is an output."""
        (_, h, w, c), (_, oh, ow, k) = shape_of(op.input), shape_of(op.output)
        y, x, first = ints(op.offsets)
        plain = (h, w) == (oh, ow) and (y, x) == (0, 0) and ints(op.strides) == (1, 1) and 0 <= first <= c - k
        if plain and op.output not in self.parts and not _is_output(op.output):
            here = self.place(op.input)
            self.parts[op.output] = PartOf(here.whole, here.first + first)
            self.vanished.add(op)


def _is_output(value: SSAValue) -> bool:
    return any(isinstance(use.operation, esc.DequantizeOp) for use in value.uses)


def _copy(value: SSAValue, concat: esc.ConcatOp) -> SSAValue:
    """A copy of a value, made for a concatenation; it has the name of what computes the value, which it is."""
    copied = esc.SliceOp(value, (0, 0, 0), (1, 1), TensorType(q_of(value), shape_of(value)))
    if isinstance(value.owner, Operation):
        copied.location = value.owner.location
    block = concat.parent
    assert isinstance(block, Block)
    block.insert_op_before(copied, concat)
    return copied.output


def _pays(op: esc.ConcatOp, target: Target) -> bool:
    """Whether the parts of a concatenation are long enough to be written one by one, if it cannot stay in ACT."""
    _, h, w, c = shape_of(op.output)
    return h * w * c < target.scratchpad.act or min(shape_of(x)[3] for x in op.inputs) >= _SHORTEST_RUN


def channel_views(block: Block, target: Target) -> ChannelViews:
    """The values of a function of level `esc` that are channels of others; inserts copies where operands need them.

    Later concatenations come first: they contain the earlier ones.
    """
    views = ChannelViews()
    for op in reversed(list(block.ops)):
        if isinstance(op, esc.ConcatOp) and _pays(op, target):
            views.take_concat(op)
    for op in block.ops:
        if isinstance(op, esc.SliceOp):
            views.take_slice(op)
    return views
