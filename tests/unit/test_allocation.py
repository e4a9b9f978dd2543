"""The programme that gives each layer a row: against every choice there is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from escc.compress.allocation import frontier

_ROWS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=4)
_LAYERS = st.lists(_ROWS, min_size=1, max_size=4)
Layers = list[list[tuple[int, int]]]


def arrays(layers: Layers) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array([c for c, _ in rows], float), np.array([e for _, e in rows], float)) for rows in layers]


def sums(layers: Layers) -> list[tuple[int, int]]:
    """Cost and error of every choice."""
    return [(sum(c for c, _ in rows), sum(e for _, e in rows)) for rows in product(*layers)]


@given(_LAYERS, st.integers(-1, 170))
def test_the_least_error_within_a_cost_is_that_of_all_choices(layers: Layers, limit: int) -> None:
    found = frontier(arrays(layers))
    at = found.within_cost(limit)
    errors = [error for cost, error in sums(layers) if cost <= limit]
    assert (at is None) == (not errors)
    if at is not None:
        assert found.errors[at] == min(errors)


@given(_LAYERS, st.integers(-1, 170))
def test_the_least_cost_within_an_error_is_that_of_all_choices(layers: Layers, limit: int) -> None:
    found = frontier(arrays(layers))
    at = found.within_error(limit)
    costs = [cost for cost, error in sums(layers) if error <= limit]
    assert (at is None) == (not costs)
    if at is not None:
        assert found.costs[at] == min(costs)


@given(_LAYERS, st.sampled_from([2, 3, 7, 20_000]))
def test_the_rows_of_a_sum_add_up_to_it(layers: Layers, most: int) -> None:
    found = frontier(arrays(layers), most)
    assert len(found.costs) <= most or most == 20_000
    for at, (cost, error) in enumerate(zip(found.costs, found.errors, strict=True)):
        rows = found.rows(at)
        assert sum(layer[row][0] for layer, row in zip(layers, rows, strict=True)) == cost
        assert sum(layer[row][1] for layer, row in zip(layers, rows, strict=True)) == error


@given(_LAYERS)
def test_a_short_frontier_has_the_ends_of_the_whole_one(layers: Layers) -> None:
    short = frontier(arrays(layers), 2)
    assert short.costs[0] == min(cost for cost, _ in sums(layers))
    assert short.errors[-1] == min(error for _, error in sums(layers))


def test_many_layers_with_many_rows_stay_within_the_sums() -> None:
    rng = np.random.default_rng(0)
    layers = [(np.sort(rng.random(20)), np.sort(rng.random(20))[::-1]) for _ in range(60)]
    found = frontier(layers, 1000)
    at = found.within_cost(30.0)
    assert len(found.costs) <= 1000 and at is not None
    # A price that is the same for all layers gives a bound from below: no choice of that cost has a smaller error.
    prices = np.geomspace(0.01, 100, 200)
    bound = max(sum(float((e + p * c).min()) for c, e in layers) - p * found.costs[at] for p in prices)
    assert found.errors[at] == pytest.approx(bound, rel=0.02)
