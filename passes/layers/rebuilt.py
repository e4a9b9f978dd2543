"""Dense convolutions whose weights a load makes out of something smaller: what their layer kinds share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from dialects import esc
from dialects.rebuilt import RebuiltConv2d
from isa.integers import Number, most
from isa.target import Target
from passes.layers.convolution import ConvConstants, Stages, dense_faults
from passes.layers.dense import DenseKind, DenseWork
from passes.tiling.limits import room_faults
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
