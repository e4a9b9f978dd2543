"""Values of a quantised network before and after rewriting, side by side on calibration inputs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import TensorType, i32
from xdsl.ir import Block, Operation, SSAValue

from dialects import esc
from dialects.esc_base import AccumulatorOp
from dialects.interpreters.esc import evaluate

Array: TypeAlias = NDArray[Any]

_CHUNK_ELEMENTS = 1 << 23
"""Accumulators of as many images at a time as fit this many elements; only 8-bit values live longer."""


def is_accumulator(value: SSAValue) -> bool:
    """Whether a value is an int32 tensor, which is never kept but recomputed in chunks of images where it is used."""
    return isinstance(value.type, TensorType) and esc.tensor_type(value).element_type == i32


def accumulate(value: SSAValue, load: Callable[[SSAValue], Array]) -> Array:
    """Accumulators of a value from the 8-bit values that `load` gives."""
    if not is_accumulator(value):
        return load(value)
    op = value.owner
    assert isinstance(op, Operation)
    if isinstance(op, AccumulatorOp):
        return op.accumulate(accumulate(op.stages[0].operands[0], load))
    return evaluate(op, [accumulate(v, load) for v in op.operands])


class BeforeAfterValues:
    """Each live 8-bit value of a block twice: `reference` of the network as it was, `current` of the network as
    rewritten so far.

    Both are the same array until something upstream was rewritten. A value is dropped after its last use.
    """

    def __init__(self, block: Block, inputs: Sequence[Array]):
        self._pairs: dict[SSAValue, tuple[Array, Array]] = {a: (x, x) for a, x in zip(block.args, inputs, strict=True)}
        self._uses = Counter(v for op in block.ops for v in self._sources(op))
        self._before: dict[Operation, Array] = {}
        self.count = len(inputs[0])

    def _sources(self, op: Operation) -> list[SSAValue]:
        """8-bit (or float) values an operation reads, through accumulators."""
        if any(is_accumulator(r) for r in op.results):
            return []  # counted at the requantisation that asks for it
        found: list[SSAValue] = []
        for v in op.operands:
            owner = v.owner
            if is_accumulator(v) and isinstance(owner, Operation):
                found += self._through(owner)
            else:
                found.append(v)
        return found

    def _through(self, op: Operation) -> list[SSAValue]:
        found: list[SSAValue] = []
        for v in op.operands:
            owner = v.owner
            found += self._through(owner) if is_accumulator(v) and isinstance(owner, Operation) else [v]
        return found

    def reference(self, value: SSAValue) -> Array:
        """Value in the network as it was: [N, H, W, C]."""
        return self._pairs[value][0]

    def current(self, value: SSAValue) -> Array:
        """Value in the network as rewritten so far."""
        return self._pairs[value][1]

    def differs(self, value: SSAValue) -> bool:
        """Whether something upstream of a value was rewritten."""
        a, b = self._pairs[value]
        return a is not b

    def chunks(self, op: Operation) -> list[slice]:
        """Images to evaluate together at an operation that needs accumulators."""
        largest = max(int(np.prod(esc.shape_of(v))) for v in (*op.operands, *op.results))
        step = max(1, _CHUNK_ELEMENTS // largest)
        return [slice(n, min(self.count, n + step)) for n in range(0, self.count, step)]

    def step(self, op: Operation) -> None:
        """Evaluate an operation that stays as it is, on both sides."""
        if any(is_accumulator(r) for r in op.results):
            return
        sources = self._sources(op)
        before = self.before(op)
        after = self.evaluate(op, self.current) if any(self.differs(v) for v in sources) else before
        self.store(op, before, after)

    def before(self, op: Operation) -> Array:
        """Result of an operation in the network as it was."""
        kept = self._before.pop(op, None)
        return self.evaluate(op, self.reference) if kept is None else kept

    def accumulators(self, requant: esc.RequantizeOp) -> Iterator[tuple[slice, Array]]:
        """Accumulators int32 [n, OH, OW, K] that a requantisation reads in the network as it was, of some images at a
        time, and which these are. What becomes of them is kept for `before`, so that they are computed once.
        """
        convolution = requant.input.owner
        assert isinstance(convolution, Operation)
        parts: list[Array] = []
        for part in self.chunks(convolution):

            def chunk(v: SSAValue, part: slice = part) -> Array:
                return self.reference(v)[part]

            found = accumulate(requant.input, chunk)
            others = [found if v is requant.input else accumulate(v, chunk) for v in requant.operands]
            parts.append(evaluate(requant, others))
            yield part, found
        self._before[requant] = np.concatenate(parts)

    def evaluate(self, op: Operation, load: Callable[[SSAValue], Array]) -> Array:
        """Result of an operation from the values that `load` (`reference` or `current`) gives."""
        if not any(is_accumulator(v) for v in op.operands):
            return evaluate(op, [load(v) for v in op.operands])
        parts: list[Array] = []
        for part in self.chunks(op):

            def chunk(v: SSAValue, part: slice = part) -> Array:
                return load(v)[part]

            parts.append(evaluate(op, [accumulate(v, chunk) for v in op.operands]))
        return np.concatenate(parts)

    def store(self, op: Operation, before: Array, after: Array) -> None:
        """Set the result of an operation and drop operands that nothing else will read."""
        for v in self._sources(op):
            self._uses[v] -= 1
            if not self._uses[v]:
                del self._pairs[v]
        if self._uses[op.results[0]]:
            self._pairs[op.results[0]] = (before, after)
