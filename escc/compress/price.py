"""What a layer costs on the machine in any weight form: estimates by which a scheme decides.

The layer kind of the form poses the same tiling problem as for the compiler, and the same search solves it. The
instructions that follow, with the cycles of their closed forms for expected data, are timed by the replay of the
emulator. So an estimate changes with the machine and needs no care of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from emulator.timing import replay_instructions
from isa.errors import UserError
from isa.found import AnswerError
from isa.target import Target
from passes.decomposition.weight_form import WeightForm
from passes.layers.table import layer_kind
from passes.tiling.conv_shape import ConvShape
from passes.tiling.expected_program import expected_program
from passes.tiling.search import solve


@dataclass(frozen=True)
class Cost:
    """Bytes of the weights in DRAM, without the parameters of the requantisation, and cycles of one image."""

    nbytes: int
    cycles: float

    def energy(self, target: Target) -> float:
        """Microjoules, about: DRAM for the weights, and busy multipliers and leakage for every cycle."""
        e, array = target.energy, target.array
        busy = array.blocks * array.slices * array.macs * (e.mul_int8 + e.add_int32)
        milliwatt = sum(float(getattr(e.leakage_mw, f.name)) for f in fields(e.leakage_mw))
        leaking = milliwatt / target.clock.frequency_mhz * 1e3
        return (e.dram_byte * self.nbytes + (busy + leaking) * self.cycles) * 1e-6


def price(form: WeightForm, shape: ConvShape, target: Target) -> Cost:
    """Cost of a convolution with weights of a form, run by itself; without end if it does not tile.

    Raises `AnswerError` if the form names a layer kind that is not installed.
    """
    try:
        kind = layer_kind(form.layer_kind)
    except UserError as error:
        raise AnswerError(form, f"the form '{form.name}': {error}") from error
    found = solve(kind.problem(form, shape, target), target)
    if found is None:
        return Cost(form.packed_bytes(), math.inf)
    problem, tiling = found
    known, nbytes = kind.with_data(problem, tiling, form, shape, target)
    return Cost(nbytes, float(replay_instructions(expected_program(known, tiling, target), target).total))
