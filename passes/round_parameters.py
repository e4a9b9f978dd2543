"""`round-parameters`: multipliers and biases of requantisations lose the digits that no result needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass

from dialects import esc
from dialects.blob import DenseAttr
from dialects.esc_base import AccumulatorOp
from dialects.interpreters.run import main_function
from isa.errors import UserError
from isa.reference import INT32_HIGH
from passes.analysis.preserved import Preserved
from passes.math.rounding import round_biases, round_multipliers


@dataclass(frozen=True)
class RoundParametersPass(ModulePass):
    """Round the parameters of every `esc.requantize`, so that they pack into few bytes.

    Each multiplier gets `multiplier-bits` significant bits, a relative deviation of at most 2^-multiplier-bits; each
    bias becomes a multiple of at most 2^-bias-bits steps of the result, with which the accumulators still fit int32.
    With the defaults, a result of 8 bits moves by less than a third of a step before it is rounded, most by far less.
    """

    name = "round-parameters"
    PRESERVES: ClassVar[Preserved] = Preserved.NOTHING
    multiplier_bits: int = 10
    """Significant bits of multipliers, 1 to 31."""

    bias_bits: int = 3
    """Binary digits of biases below one step of the result, 0 to 31."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        wrong = [
            f"round-parameters: {name} must be in [{low}, 31], found {value}"
            for name, value, low in (("multiplier-bits", self.multiplier_bits, 1), ("bias-bits", self.bias_bits, 0))
            if not low <= value <= 31
        ]
        if wrong:
            raise UserError(wrong)
        for requant in main_function(op).body.block.ops:
            if isinstance(requant, esc.RequantizeOp):
                mult, shift = round_multipliers(requant.mult.array, requant.shift.array, self.multiplier_bits)
                requant.bias = DenseAttr.of(
                    round_biases(requant.bias.array, shift, self.bias_bits, _room(requant.input))
                )
                requant.mult, requant.shift = DenseAttr.of(mult), DenseAttr.of(shift)


def _room(accumulators: SSAValue) -> NDArray[np.int64]:
    """Largest magnitude that a bias of accumulators may have for their sum to fit int32, [K] or for all channels."""
    made = accumulators.owner
    if not isinstance(made, AccumulatorOp):
        return np.array([INT32_HIGH], np.int64)
    low, high = made.accumulator_bounds
    return np.maximum(0, INT32_HIGH - np.maximum(high, -low))
