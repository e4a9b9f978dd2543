"""Patterns of sparse weights: what each keeps, and that it narrows what it kept before."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.gather import Gathering, bank_loads
from passes.math.patterns import (
    KERNEL_PATTERNS,
    Pattern,
    bank_balanced,
    blocks,
    gather_scatter,
    kernel_patterns,
    unstructured,
)
from passes.math.pruning import refit, refit_by_gradients

PATTERNS: dict[str, Pattern] = {
    "unstructured": unstructured,
    "gs": partial(gather_scatter, banks=8, bundle=4),
    "bank-balanced": partial(bank_balanced, banks=4),
    "block": partial(blocks, rows=2, columns=3),
    "patdnn": kernel_patterns,
}


def random_costs(seed: int, shape: tuple[int, int, int, int]) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) + 0.01


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99), k=st.integers(1, 20), window=st.sampled_from([(1, 1), (3, 3), (2, 5)]),
    c=st.integers(8, 20), share=st.floats(0.05, 0.95),
)  # fmt: skip
def test_a_smaller_share_keeps_of_what_a_larger_one_kept(
    pattern: Pattern, seed: int, k: int, window: tuple[int, int], c: int, share: float
) -> None:
    costs = random_costs(seed, (k, *window, c))
    first = pattern(costs, 0.9)
    second = pattern(costs * first, share * 0.9)
    assert first.shape == second.shape == costs.shape
    assert not (second & ~first).any()
    assert second.any()


@pytest.mark.parametrize(
    ("name", "off"), [("unstructured", 0.001), ("gs", 0.01), ("bank-balanced", 0.02), ("block", 0.01), ("patdnn", 0.01)]
)
def test_shares_are_near_what_is_asked_for(name: str, off: float) -> None:
    costs = random_costs(1, (32, 3, 3, 24))
    for share in (0.1, 0.25, 0.4):
        assert PATTERNS[name](costs, share).mean() == pytest.approx(share, abs=off)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99), k=st.integers(1, 20), c=st.integers(4, 20), banks=st.integers(1, 30),
    bundle=st.integers(1, 16), share=st.floats(0.05, 0.95),
)  # fmt: skip
def test_banks_of_gs_hold_equal_numbers(seed: int, k: int, c: int, banks: int, bundle: int, share: float) -> None:
    banks = min(banks, 9 * c)
    kept = gather_scatter(random_costs(seed, (k, 3, 3, c)), share, banks, bundle)
    loads = bank_loads(kept.reshape(k, 9, c).astype(np.int8), Gathering.of(banks, bundle, c))
    assert (loads == loads[:, :1]).all()


def test_gs_keeps_the_dearest_groups() -> None:
    """Two banks; the first bundle has the dear weights, and so the groups."""
    costs = np.ones((2, 1, 1, 4))
    costs[0] = 10
    kept = gather_scatter(costs, 0.5, 2, 1)
    np.testing.assert_array_equal(kept[0], np.ones((1, 1, 4), bool))
    assert not kept[1].any()


def test_pieces_are_neighbours_and_blocks_are_whole() -> None:
    costs = random_costs(2, (6, 1, 1, 12))
    pieces = bank_balanced(costs, 0.5, 3).reshape(6, 3, 4)
    assert (pieces.sum(axis=2) == 2).all()
    whole = blocks(costs, 0.5, 2, 4).reshape(3, 2, 3, 4).transpose(0, 2, 1, 3).reshape(9, 8)
    assert set(whole.sum(axis=1)) == {0, 8}


def test_kernels_have_four_taps_in_eight_patterns() -> None:
    kept = kernel_patterns(random_costs(3, (16, 3, 3, 16)), 0.3)
    kernels = kept.transpose(0, 3, 1, 2).reshape(-1, 9)
    alive = kernels[kernels.any(axis=1)]
    assert (alive.sum(axis=1) == 4).all() and alive[:, 4].all()
    assert len(np.unique(alive, axis=0)) <= KERNEL_PATTERNS
    assert len(alive) == round(0.3 * 9 / 4 * 256)


@pytest.mark.parametrize("fit", [refit, partial(refit_by_gradients, rounds=60)], ids=["exact", "gradients"])
def test_what_is_kept_makes_up_for_what_goes(fit: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    rng = np.random.default_rng(4)
    a = rng.standard_normal((30, 60))
    metric = a @ a.T / 60
    wanted = rng.standard_normal((5, 30))
    kept = rng.random((5, 30)) < 0.4
    kept[4] = False
    fitted, costs = fit(wanted, metric, kept)
    assert not fitted[~kept].any() and not costs[~kept].any() and (costs[kept] > 0).all()
    left = (fitted - wanted) @ metric  # the gradient vanishes on the support
    assert np.abs(left[kept]).max() < 1e-6
