"""Dense convolutions whose weights a load makes out of something smaller: what their layer kinds share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from dialects import esc
from dialects.attributes import ints
from dialects.rebuilt import PatchedConv2d, RebuiltConv2d
from isa.integers import Number, most
from isa.target import Target
from passes.layers.convolution import ConvConstants, Stages, dense_faults
from passes.layers.dense import DenseKind, DenseWork
from passes.tiling.geometry import Span
from passes.tiling.layer_kind import ConstantRule, Transfer
from passes.tiling.limits import room_faults
from passes.tiling.loop_nest import Indices, span
from passes.tiling.problem import Tiling, TilingProblem, Workload


@dataclass(frozen=True)
class RebuiltWork(DenseWork):
    """The multiplications are those of a dense convolution; a value of the constant that is loaded stands for `each`
    weights. `packed` and `nonzeros` are those of such values.
    """

    each: float = 1.0

    takes_window_in_parts = False

    def weight_load_cycles(self, p: TilingProblem, t: Tiling, target: Target, bandwidth: float) -> Number:
        count = self.weight_bytes(p, t.weights, t.depth, target)
        return most(count / self.each / bandwidth, count / target.dma.bytes_per_cycle)


@dataclass(frozen=True)
class PatchedWork(RebuiltWork):
    """A number covers `patch` columns and channels."""

    patch: tuple[int, int] = (1, 1)

    def splits_input_channels(self, p: TilingProblem) -> bool:
        # A number of several channels may not be cut.
        return self.patch[1] == 1 and super().splits_input_channels(p)


class PatchedRule(ConstantRule):
    """A load of numbers that cover patches, by an operation with `constant`, `k`, `channels`, `c`, `depth` and
    `patch`.
    """

    def transfer(self, op: Any, at: Indices) -> tuple[str, Transfer]:
        c, (_, deep) = span(at, op.c, op.depth), ints(op.patch)
        return op.constant.string_value(), Transfer(
            span(at, op.k, op.channels), Span(c.first // deep, c.extent // deep)
        )


class RebuiltKind(DenseKind):
    """A convolution of an operation that says what is loaded, and what lies in PAR beside."""

    operation: ClassVar[type[RebuiltConv2d]]
    beside: ClassVar[str] = "constants beside the weights"
    """What a message calls the constants in PAR."""

    def faults(self, op: esc.EscOp, target: Target) -> Iterator[str]:
        if isinstance(op, self.operation):
            yield from dense_faults(op, esc.shape_of(op.input)[3], target)
            needs = [(self.beside, sum(c.array.size for c in op.shared), target.scratchpad.par)]
            if not self.cuts_input_channels(op):
                needs.append(("weights of one output channel", op.weight[0].size, target.scratchpad.coef))
            yield from room_faults(target, needs)

    @abstractmethod
    def cuts_input_channels(self, op: RebuiltConv2d) -> bool:
        """Whether a load may bring in the weights of a part of the input channels."""

    def stages(self, op: esc.RequantizeOp) -> Stages | None:
        conv = op.input.owner
        if not isinstance(conv, self.operation):
            return None
        return Stages([conv], conv, conv.kernel, 1, conv.coded, list(conv.shared), conv.right_shift)

    def work_with_data(
        self, work: Workload, constants: ConvConstants, packed: float, density: float, target: Target
    ) -> Workload:
        assert isinstance(work, RebuiltWork)
        coded = constants.weight
        return replace(work, packed=packed, nonzeros=np.count_nonzero(coded) / max(1, coded.size))


class PatchedKind(RebuiltKind):
    """A convolution of which a number that is loaded covers a patch."""

    def cuts_input_channels(self, op: RebuiltConv2d) -> bool:
        assert isinstance(op, PatchedConv2d)
        return op.patch[1] == 1
