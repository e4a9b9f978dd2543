"""How good the choice of tiles is: `python benchmarks/tiles.py MODEL.mlir...`, for IR of level `esc` with a sample.

    escc model.onnx --calibration samples.npz --emit esc -o model.mlir
    python benchmarks/tiles.py model.mlir --layers 6 --top 4 --others 4

The search of `passes.tiling.search` takes the tiling with the fewest cycles by closed forms. Here, of some layers of a
network, the best candidates by these forms and a random sample of all others are emulated: each takes the place of the
chosen tiling in the whole network, the layers around it, their prefetches and their resident tensors as they are. The
*regret* of a layer is what the best of them saves, as a share of the window of the layer. Candidates that do not fit
beside the layers around them are left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from commanded import cells
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.bfs import ProgramOp
from dialects.eisa import to_program
from emulator.machine import Machine
from escc.irtext import make_context, parse_module
from escc.universe import ESCC_UNIVERSE
from isa.errors import UserError
from isa.target import Target
from passes.pipelines import STAGES
from passes.tiling import esc_op_to_layer
from passes.tiling.problem import Tiling, TilingProblem
from passes.tiling.search import ranked, solve

PASSES = ESCC_UNIVERSE.all_passes
HEAD = ("network", "layer", "candidates", "emulated", "chosen, cycles", "best, cycles", "place by the forms", "regret")
Problem = tuple[TilingProblem, Target]


class Sample(NamedTuple):
    """How many layers of a network, best candidates and other candidates are looked at, and the seed of the draw."""

    layers: int
    top: int
    others: int
    seed: int


class Choice(NamedTuple):
    """A layer that the tiler has posed: its number in the program, and its problem on the machine that it sees."""

    layer: int
    problem: Problem


class ForcedTilings:
    """The search that stands in for `solve`: it takes the `forced` tilings, and notes every problem of a program."""

    def __init__(self, forced: Mapping[Problem, Tiling]) -> None:
        self.forced = forced
        self.posed: list[Problem] = []

    def __call__(self, p: TilingProblem, machine: Target) -> tuple[TilingProblem, Tiling] | None:
        """The tiling of a layer."""
        self.posed.append((p, machine))
        tiling = self.forced.get((p, machine))
        return solve(p, machine) if tiling is None else (p, tiling)


def statistics(module: ModuleOp, search: ForcedTilings) -> dict[str, Any] | None:
    """The statistics of the network with the tilings of a search; None if they do not fit one another."""
    esc_op_to_layer.solve = search
    try:
        copy = module.clone()
        for name in (*STAGES["bfs"], *STAGES["eisa"]):
            PASSES[name]()().apply(Context(), copy)
        found = Machine(to_program(copy)).run_sample(stats=True).statistics
    except UserError:
        return None
    finally:
        esc_op_to_layer.solve = solve
    return None if found is None else found.data


def choices(posed: Sequence[Problem], layers: int) -> list[Choice]:
    """The problems of the finished program that the tiler has posed last, those with partial sums and whole windows."""
    last = posed[-layers:]
    return [Choice(i, found) for i, found in enumerate(last) if found[0].accumulates and not found[0].band]


def regret(module: ModuleOp, choice: Choice, cycles: int, sample: Sample) -> tuple[int, int, int, int]:
    """What is known of a layer: candidates, emulated ones, cycles of the network with the best of these, and the place
    of that one in the order of the closed forms.
    """
    found = [tiling for _, tiling in ranked(*choice.problem)]
    rest = list(range(sample.top, len(found)))
    random = np.random.default_rng(sample.seed)
    others: list[int] = random.permutation(rest)[: sample.others].tolist() if rest else []
    best, place, emulated = cycles, 0, 1
    for number in (*range(1, min(sample.top, len(found))), *sorted(others)):
        data = statistics(module, ForcedTilings({choice.problem: found[number]}))
        if data is None:
            continue
        emulated += 1
        if data["totals"]["cycles"] < best:
            best, place = int(data["totals"]["cycles"]), number
    return len(found), emulated, best, place + 1


def lines(path: Path, sample: Sample) -> None:
    """Print the lines of a network."""
    module = parse_module(make_context(), path.read_text(encoding="utf-8"), str(path))
    search = ForcedTilings({})
    data = statistics(module, search)
    if data is None:
        raise SystemExit(f"{path}: requires a sample of its input")
    windows: dict[str, int] = {layer["name"]: layer["cycles"] for layer in data["layers"]}
    names, cycles = _names(module), int(data["totals"]["cycles"])
    alone = [choice for choice in choices(search.posed, len(names)) if names[choice.layer] in windows]
    picked: list[int] = np.random.default_rng(sample.seed).permutation(len(alone))[: sample.layers].tolist()
    for choice in (alone[number] for number in sorted(picked)):
        name = names[choice.layer]
        candidates, emulated, best, place = regret(module, choice, cycles, sample)
        share = f"{(cycles - best) / windows[name]:.1%}"
        print(cells((path.stem, name, *map(str, (candidates, emulated, cycles, best, place)), share)), flush=True)


def _names(module: ModuleOp) -> list[str]:
    """The names of the layers of the tiled program, in the order in which they are posed."""
    copy = module.clone()
    PASSES["tile-basis-first"]()().apply(Context(), copy)
    program = copy.body.block.first_op
    assert isinstance(program, ProgramOp)
    return [layer.layer_name.data for layer in program.layers]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.mlir")
    parser.add_argument("--layers", type=int, default=6, help="layers of a network, at random (default: %(default)s)")
    parser.add_argument("--top", type=int, default=4, help="best candidates by the closed forms (default: %(default)s)")
    parser.add_argument("--others", type=int, default=4, help="others, at random (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of what is random (default: %(default)s)")
    args = parser.parse_args()
    print(cells(HEAD), cells(["---"] * len(HEAD)), sep="\n", flush=True)
    for path in args.models:
        lines(path, Sample(args.layers, args.top, args.others, args.seed))


if __name__ == "__main__":
    main()
