"""`conv.dense`: a dense convolution into partial sums."""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from emulator.arithmetic import Groups, TileConvolution, convolve, dense_groups
from emulator.geometry import window_of
from emulator.memories import Memories
from emulator.recording import InputTile
from emulator.unit import Unit
from isa.instructions.conv_dense import SPEC
from isa.integers import Values


def execute(m: Memories, v: Values) -> InputTile:
    """One matrix product for each group; the input tile."""

    def make() -> tuple[TileConvolution, int]:
        taps = v["r"] * v["s"] * v["cpg"]
        w = m.coef[v["coef"] : v["coef"] + v["kn"] * taps].view(np.int8).reshape(v["kn"], taps)
        key = (SPEC.mnemonic, sha256(w.tobytes()).digest(), w.shape, v["cs"], v["cpg"], v["kpg"], v["signed"])

        def split() -> tuple[Groups, int]:
            groups = dense_groups(w, v["cs"], v["cpg"], v["kpg"], v["signed"])
            return groups, sum(weights.matrix.nbytes for _, _, weights in groups)

        made = TileConvolution.of(m.act_place(v), window_of(v), v["signed"], m.shared(key, split))
        return made, made.numbers.nbytes if m.holds(key) else made.nbytes

    made, act = m.derived(make), m.act_source(v)
    convolve(made, act, m.psum_tile(v), bool(v["accumulate"]), m.last_patches)
    return InputTile(act, made.numbers)


UNIT = Unit(SPEC, execute, lambda entry, _, tile: entry.reads_inputs(tile))
