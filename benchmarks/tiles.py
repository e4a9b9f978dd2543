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
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from commanded import cells
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import main_function
from escc.cli.common import script
from escc.irtext import make_context, parse_module
from escc.tuning import Emulated, ScheduleTrials
from escc.universe import ESCC_UNIVERSE
from isa.errors import UserError
from isa.target import load_target
from passes.pipelines import STAGES
from passes.tiling.search import ranked

HEAD = ("network", "layer", "candidates", "emulated", "chosen, cycles", "best, cycles", "place by the forms", "regret")


class Sample(NamedTuple):
    """How many layers of a network, best candidates and other candidates are looked at, and the seed of the draw."""

    layers: int
    top: int
    others: int
    seed: int


class PlannedNetwork:
    """The network of a module of level `esc`, planned once, ready to take other tilings."""

    def __init__(self, module: ModuleOp) -> None:
        names = (*STAGES["bfs"], *STAGES["eisa"])
        after = [ESCC_UNIVERSE.all_passes[name]()() for name in names if name != "tile-basis-first"]
        self._trials = ScheduleTrials(main_function(module), load_target("esc1"), after)
        self._planned = self._trials.planned()
        self.program, self.posed = self._planned.tiled()

    def emulated(self, places: Mapping[str, int] = MappingProxyType({})) -> Emulated:
        """See `ScheduleTrials.emulated`."""
        return self._trials.emulated(self._planned, places)

    def candidates(self, tensor: str) -> int:
        """How many tilings the layer that computes a tensor may take."""
        return len(ranked(*self.posed[tensor]))

    def choices(self) -> list[str]:
        """The tensors of the layers with partial sums and whole windows, in order."""
        return [tensor for tensor, (p, _) in self.posed.items() if p.accumulates and not p.band]


def regret(network: PlannedNetwork, tensor: str, cycles: int, sample: Sample) -> tuple[int, int, int, int]:
    """What is known of the layer that computes a tensor: candidates, emulated ones, cycles of the network with the best
    of these, and the place of that one in the order of the closed forms.
    """
    count = network.candidates(tensor)
    rest = list(range(sample.top, count))
    random = np.random.default_rng(sample.seed)
    others: list[int] = random.permutation(rest)[: sample.others].tolist() if rest else []
    best, place, emulated = cycles, 0, 1
    for number in (*range(1, min(sample.top, count)), *sorted(others)):
        try:
            found = network.emulated({tensor: number})
        except UserError:
            continue  # does not fit beside the layers around it
        emulated += 1
        if found.cycles < best:
            best, place = found.cycles, number
    return count, emulated, best, place + 1


def lines(path: Path, sample: Sample) -> None:
    """Print the lines of a network."""
    network = PlannedNetwork(parse_module(make_context(), path.read_text(encoding="utf-8"), str(path)))
    first = network.emulated()
    names = {layer.output.string_value(): layer.layer_name.data for layer in network.program.layers}
    alone = [tensor for tensor in network.choices() if tensor in first.windows]
    picked: list[int] = np.random.default_rng(sample.seed).permutation(len(alone))[: sample.layers].tolist()
    for tensor in (alone[number] for number in sorted(picked)):
        candidates, emulated, best, place = regret(network, tensor, first.cycles, sample)
        share = f"{(first.cycles - best) / first.windows[tensor]:.1%}"
        figures = map(str, (candidates, emulated, first.cycles, best, place))
        print(cells((path.stem, names[tensor], *figures, share)), flush=True)


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
    script(main)
