"""`conv.dense`: a dense convolution into partial sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emulator.arithmetic import Groups, convolve, dense_groups
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.unit import Unit
from isa.instructions.conv_dense import SPEC
from isa.integers import Values


def execute(m: Memories, v: Values) -> NDArray[np.uint8]:
    """One matrix product for each group; the input tile of image 0."""

    def make() -> tuple[Groups, int]:
        taps = v["r"] * v["s"] * v["cpg"]
        w = m.coef[v["coef"] : v["coef"] + v["kn"] * taps].view(np.int8).reshape(v["kn"], taps)
        groups = dense_groups(w, v["cs"], v["cpg"], v["kpg"], v["signed"])
        return groups, sum(g[2].matrix.nbytes for g in groups)

    groups = m.derived(make)
    accumulate = bool(v["accumulate"])
    convolve(m.act_tile(v), window_of(v), v["signed"], groups, m.psum_tile(v), accumulate, m.last_patches)
    return m.act_values(v)


UNIT = Unit(SPEC, execute, lambda entry, _, tile: entry.reads_inputs(tile))
