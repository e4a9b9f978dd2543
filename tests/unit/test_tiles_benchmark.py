"""The script that says how good the choice of tiles is."""

from __future__ import annotations

import sys
from pathlib import Path

from tile_models import Graph

from passes.tiling.search import cheapest, ranked

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import tiles


def network() -> tiles.PlannedNetwork:
    g = Graph(12, 12, 16)
    return tiles.PlannedNetwork(g.module(g.conv(g.conv(g.x, 32), 16)))


def test_candidates_come_in_the_order_of_their_estimates() -> None:
    problem = list(network().posed.values())[-1]
    found = ranked(*problem)
    assert len(found) > 1 and found[0] == cheapest(*problem)
    assert [cycles for cycles, _ in found] == sorted(cycles for cycles, _ in found)


def test_the_regret_is_that_of_the_best_candidate() -> None:
    found = network()
    first, tensor = found.emulated(), found.choices()[-1]
    candidates, emulated, best, place = tiles.regret(found, tensor, first.cycles, tiles.Sample(1, 2, 2, 0))
    assert candidates == found.candidates(tensor) and 1 < emulated <= 4
    assert best <= first.cycles and (place == 1) == (best == first.cycles)
