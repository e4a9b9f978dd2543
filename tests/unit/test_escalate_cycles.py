"""Expected cycles of conv.esc: what slices, blocks and expansion take, against drawn activations."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from numpy.typing import NDArray

from isa.target import load_target
from passes.layers.convolution import ConvConstants
from passes.layers.escalate import Marks, expansion_cycles, round_cycles, slowest_slice


def pace(marks: Marks, floor: int, density: float = 0.5, ahead: int = 0) -> NDArray[np.float64]:
    """Expected cycles of items that take `floor` at least."""
    return next(islice(slowest_slice(marks, density, 16, ahead), floor, None))


def test_an_item_takes_as_long_as_its_slowest_slice() -> None:
    marks = Marks(np.array([[64, 3], [0, 0]], np.int64), np.zeros(2))
    assert pace(marks, 1, 1.0).tolist() == [4, 1]
    assert pace(marks, 5, 1.0).tolist() == [5, 5]
    rng = np.random.default_rng(0)
    each = rng.integers(0, 60, (200, 6))
    drawn = rng.binomial(each, 0.5, (500, 200, 6)).max(axis=2)
    for floor in (1, 2):
        found = np.maximum(floor, -(-drawn // 16)).mean()
        assert abs(pace(Marks(each, np.zeros(200)), floor).mean() - found) < 0.02 * found


def cycles_of_slices(rng: np.random.Generator, density: float) -> tuple[Marks, NDArray[np.int64]]:
    """Six slices of 64 channels, and the cycles [items, slices] in which they add random activations."""
    some = rng.random((1, 6, 64)) < density
    active = rng.random((20000, 64)) < 0.5
    return Marks.of(some), -(-(active.astype(np.int64) @ some[0].T.astype(np.int64)) // 16)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_slices_that_have_channels_in_common_are_slow_together(density: float) -> None:
    marks, cycles = cycles_of_slices(np.random.default_rng(1), density)
    found = np.maximum(1, cycles.max(axis=1)).mean()
    assert float(pace(marks, 1)[0]) == pytest.approx(found, rel=0.04)
    assert float(marks.shared[0]) == pytest.approx(density, abs=0.06)
    if density == 0.9:
        assert float(pace(marks._replace(shared=np.zeros(1)), 1)[0]) > 1.08 * found


@pytest.mark.parametrize("density", [0.1, 0.4, 0.5, 0.9])
def test_slices_may_be_some_items_apart(density: float) -> None:
    marks, cycles = cycles_of_slices(np.random.default_rng(2), density)
    ahead = 2
    ends, taken = np.zeros(6, np.int64), [0] * ahead
    for n, item in enumerate(np.maximum(1, cycles)):
        ends = np.maximum(ends, taken[n % ahead]) + item
        taken[n % ahead] = max(int(ends.max()), taken[(n - 1) % ahead] + 1)
    found = int(ends.max()) / len(cycles)
    assert float(pace(marks, 1, ahead=ahead)[0]) == pytest.approx(found, rel=0.04)


def test_the_basis_with_most_taps_sets_the_cycles_of_the_mac_rows() -> None:
    bases = np.zeros((4, 3, 3), np.int8)
    bases[0, 0], bases[1:, :2], bases[3] = 5, 7, 0
    constants = ConvConstants(np.ones((64, 4, 8), np.int8), [bases], (1, 1))
    first, second = round_cycles(constants, 0.5, load_target().array, 2)
    assert (first.taps, second.taps) == (6, 6)
    assert [first.paces(n, 5, 32)[32] for n in (0, 4, 5, 6, 9, 10)] == [1, 1, 1, 1.2, 1.8, 2]
    constants = constants._replace(resident=[bases * (bases == 5)])
    assert [each.taps for each in round_cycles(constants, 0.5, load_target().array, 2)] == [3, 0]


def test_empty_chunks_take_no_time_to_expand() -> None:
    t = np.zeros((2, 1, 128), np.int8)
    t[0, 0, :17] = 1
    assert expansion_cycles(t, load_target().array) == 3 / 2
