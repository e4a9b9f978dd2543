"""`conv.circ`: a convolution with circulant blocks into partial sums.

The fast products leave the very integers of the definition (`isa.circulant`), which are computed here as one matrix
product.
"""

from __future__ import annotations

import numpy as np

from emulator.arithmetic import TileConvolution, WeightMatrix, convolve
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.recording import InputTile
from emulator.unit import Unit
from isa.circulant import expand
from isa.instructions.conv_circ import SPEC, blocks_across, values
from isa.integers import Values


def execute(m: Memories, v: Values) -> InputTile:
    """One matrix product; the input tile. Raises UserError if a sum leaves int32."""

    def make() -> tuple[TileConvolution, int]:
        held = m.coef[v["coef"] : v["coef"] + values(v)].view(np.int8)
        held = held.reshape(-1, v["r"], v["s"], blocks_across(v), v["block"])
        matrix = WeightMatrix.of(expand(held, v["first"], v["kn"], v["c"]).reshape(v["kn"], -1), v["signed"])
        made = TileConvolution.of(m.act_place(v), window_of(v), v["signed"], [(v["cs"], v["c"], matrix)])
        return made, made.nbytes

    made, act = m.derived(make), m.act_source(v)
    convolve(made, act, m.psum_tile(v), bool(v["accumulate"]), m.last_patches)
    return InputTile(act, made.numbers)


UNIT = Unit(SPEC, execute, lambda entry, _, tile: entry.reads_inputs(tile))
