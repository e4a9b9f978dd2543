"""Which channels of a function of level `esc` matter: a forward analysis (is it 0 whatever the input?), a backward one
(does an output depend on it?), and which channels must stay together. Each operation says how channels pass through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from xdsl.ir import Block, Operation, SSAValue

from dialects.esc_base import EscOp, Mask, Tie, channels_of, has_channels


@dataclass
class ChannelLiveness:
    """The analyses of one block. Masks are bool [C] for each NHWC value, accumulators included.

    `zero`: stored as 0 at every position for any input. `needed`: not `zero`, and some output of the model depends on
    it. `kept`: what has to stay: needed channels, all those of the boundary, and those that an operation ties to one of
    them; at least one of each value. `extents`: the last extents that values are to have once the others are dropped.
    """

    block: Block
    zero: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    needed: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    kept: dict[SSAValue, Mask] = field(init=False, default_factory=dict[SSAValue, Mask])
    extents: dict[SSAValue, tuple[int, ...]] = field(init=False, default_factory=dict[SSAValue, "tuple[int, ...]"])
    _ties: list[Tie] = field(init=False, default_factory=list[Tie])
    _pinned: set[SSAValue] = field(init=False, default_factory=set[SSAValue])

    def __post_init__(self) -> None:
        ops = list(self.block.ops)
        for op in ops:
            for value in op.results:
                if has_channels(value):
                    nothing = np.zeros(channels_of(value), np.bool_)
                    self.zero[value] = op.zero_channels(self.zero) if isinstance(op, EscOp) else nothing
                    self.needed[value] = np.zeros(channels_of(value), np.bool_)
        for op in reversed(ops):
            for value, mask in self._needs(op):
                self.needed[value] |= mask & ~self.zero[value]
        for op in ops:
            self._tie(op)
        self._keep()

    def _needs(self, op: Operation) -> Iterator[tuple[SSAValue, Mask]]:
        known = [x for x in op.operands if x in self.needed]
        if not isinstance(op, EscOp):
            return ((x, np.ones(channels_of(x), np.bool_)) for x in known)
        outputs = [self.needed[v] for v in op.results if v in self.needed]
        needs = op.needed_channels(outputs[0] if outputs else np.zeros(0, np.bool_))
        return ((x, mask) for x, mask in needs if x in self.needed)

    def _tie(self, op: Operation) -> None:
        if isinstance(op, EscOp):
            self._ties += op.channel_ties()
            pinned: Sequence[SSAValue] = op.pinned_channels()
        else:
            pinned = (*op.operands, *op.results)
        self._pinned |= {v for v in pinned if v in self.zero}

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

    def reshape(self, value: SSAValue, extents: tuple[int, ...]) -> None:
        """Note that the last extents of a value are to become these."""
        self.extents[value] = extents
