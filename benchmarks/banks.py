"""What the banks of tensors matter: `python benchmarks/banks.py MODEL.mlir...`, for IR of level `esc` with a sample.

    escc model.onnx --calibration samples.npz --emit esc -o model.mlir
    python benchmarks/banks.py model.mlir --draws 8

`plan-memory` packs the activation tensors into the arena by their lives alone; the banks in which they begin follow.
Here every tensor of the arena has a place of its own and begins in a bank that is drawn at random, a draw after the
other, and the whole network is emulated. Printed are the cycles as compiled, the fewest and the most of all draws, and
what the fewest would save: a bound on what choosing banks for tensors can bring.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from commanded import cells
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.attributes import integer
from dialects.eisa import to_program
from emulator.machine import Machine
from escc.cli.common import script
from escc.irtext import make_context, parse_module
from escc.universe import ESCC_UNIVERSE
from isa.layout import DRAM_ALIGN, align
from passes.pipelines import STAGES
from passes.plan_memory import intervals
from passes.tiling.bfs_module import bfs_program

PASSES = ESCC_UNIVERSE.all_passes
HEAD = ("network", "tensors in DRAM", "cycles", "fewest", "most", "the fewest save")
PLACED = STAGES["bfs"].index("plan-memory") + 1


def draw_banks(module: ModuleOp, generator: np.random.Generator) -> int:
    """Give every tensor in DRAM of a placed program a place of its own in a bank drawn at random; their number."""
    program = bfs_program(module)
    dram = program.machine.dram
    found, end = intervals(program)[0], 0
    for item in found:
        bank = int(generator.integers(dram.banks))
        end = align(end, dram.banks * dram.page_bytes) + bank * dram.page_bytes
        program.stored[item.name].offset = integer(end)
        end += item.nbytes
    program.arena = integer(align(end, DRAM_ALIGN))
    return len(found)


def cycles(module: ModuleOp) -> int:
    """Cycles of the sample of a program with placed tensors, which is compiled to the end."""
    for name in (*STAGES["bfs"][PLACED:], *STAGES["eisa"]):
        PASSES[name]()().apply(Context(), module)
    statistics = Machine(to_program(module)).run_sample(stats=True).statistics
    assert statistics is not None
    return int(statistics.data["totals"]["cycles"])


def line(path: Path, draws: int, seed: int) -> str:
    """A line of the table."""
    module = parse_module(make_context(), path.read_text(encoding="utf-8"), str(path))
    for name in STAGES["bfs"][:PLACED]:
        PASSES[name]()().apply(Context(), module)
    generator, found, tensors = np.random.default_rng(seed), list[int](), 0
    for _ in range(draws):
        drawn = module.clone()
        tensors = draw_banks(drawn, generator)
        found.append(cycles(drawn))
    own, least, most = cycles(module), min(found), max(found)
    return cells((path.stem, *(f"{n:,}" for n in (tensors, own, least, most)), f"{(own - least) / own:.2%}"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("model", nargs="+", type=Path, help="IR of level esc")
    parser.add_argument("--draws", type=int, default=8, help="draws of banks for each network")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws")
    args = parser.parse_args()
    print(cells(HEAD))
    print(cells(["---"] * len(HEAD)))
    for path in args.model:
        print(line(path, args.draws, args.seed), flush=True)


if __name__ == "__main__":
    script(main)
