"""The script that says how good the choice of tiles is, and the order of candidates that it asks for."""

from __future__ import annotations

import sys
from pathlib import Path

from tile_models import Graph
from xdsl.dialects.builtin import ModuleOp

from isa.integers import entry
from passes.tiling.search import cheapest, ranked

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import tiles


def model() -> ModuleOp:
    g = Graph(12, 12, 16)
    return g.module(g.conv(g.conv(g.x, 32), 16))


def posed() -> tuple[int, list[tiles.Problem]]:
    """Cycles of the network, and the problems that the tiler has posed."""
    search = tiles.ForcedTilings({})
    data = tiles.statistics(model(), search)
    assert data is not None
    return data["totals"]["cycles"], search.posed


def test_candidates_come_in_the_order_of_their_estimates() -> None:
    problem = posed()[1][-1]
    found = ranked(*problem)
    assert len(found) > 1 and found[0] == cheapest(*problem)
    assert [cycles for cycles, _ in found] == sorted(cycles for cycles, _ in found)


def test_a_forced_tiling_takes_the_place_of_the_chosen_one() -> None:
    cycles, problems = posed()
    worst = max(ranked(*problems[-1]), key=lambda found: entry(found[0], 0))[1]
    data = tiles.statistics(model(), tiles.ForcedTilings({problems[-1]: worst}))
    assert data is not None and data["totals"]["cycles"] > cycles
    assert posed()[0] == cycles  # the search is itself again


def test_the_regret_is_that_of_the_best_candidate() -> None:
    cycles, problems = posed()
    choice = tiles.choices(problems, 2)[-1]
    candidates, emulated, best, place = tiles.regret(model(), choice, cycles, tiles.Sample(1, 2, 2, 0))
    assert candidates == len(ranked(*choice.problem)) and 1 < emulated <= 4
    assert best <= cycles and (place == 1) == (best == cycles)
