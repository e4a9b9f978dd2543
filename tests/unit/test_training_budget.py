"""Budgets of bytes: estimates follow the packer, selections fit and take what is worth least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_models import residual_model

if TYPE_CHECKING:
    import torch
else:
    torch = pytest.importorskip("torch")

from escc.training.coefficient_budget import (
    Candidates,
    CoefficientBudget,
    Occupancy,
    Selection,
    packed_bytes,
)
from isa.coefficients import pack_streams, stream_code
from isa.container import read_elf

Array = np.ndarray[Any, np.dtype[Any]]


def candidates(benefit: Array) -> Candidates:
    return Candidates(torch.tensor(benefit, dtype=torch.float32), 9)


def extents(given: Sequence[Candidates]) -> list[Occupancy]:
    return [Occupancy.of(x.benefit > 0) for x in given]


def extent(mask: Array) -> Occupancy:
    return Occupancy.of(torch.tensor(mask))


def layers(seed: int, count: int = 2) -> list[Candidates]:
    rng = np.random.default_rng(seed)
    shapes = [(8, 8, 4), (16, 32, 9), (3, 64, 2)][:count]
    return [candidates(rng.exponential(1.0, s) * (rng.random(s) < 0.7)) for s in shapes]


def masks(chosen: list[Selection], given: list[Candidates]) -> list[torch.Tensor]:
    return [s.keep(x.benefit) for s, x in zip(chosen, given, strict=True)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 100), st.floats(0.02, 1.2))
def test_selections_fit(seed: int, share: float) -> None:
    given_layers = layers(seed, 3)
    budget = CoefficientBudget(3)
    start = extents(given_layers)
    most = share * budget.estimate(given_layers, start)
    kept = masks(budget.select(given_layers, most, start), given_layers)
    assert budget.estimate(given_layers, [Occupancy.of(k) for k in kept]) <= most
    assert all(not (k & (x.benefit <= 0)).any() for k, x in zip(kept, given_layers, strict=True))


def test_a_larger_budget_keeps_more_of_the_benefit() -> None:
    given_layers = layers(0, 3)
    budget = CoefficientBudget(3)
    start = extents(given_layers)
    whole = budget.estimate(given_layers, start)
    worth: list[float] = []
    for share in (0.05, 0.2, 0.5, 0.9):
        kept = masks(budget.select(given_layers, share * whole, start), given_layers)
        worth.append(sum(float(x.benefit[k].sum()) for x, k in zip(given_layers, kept, strict=True)))
    assert worth == sorted(worth) and worth[0] < worth[-1]


def test_everything_stays_where_it_fits() -> None:
    given_layers = layers(1)
    chosen = CoefficientBudget(2).select(given_layers, 1e9, extents(given_layers))
    assert all((k == (x.benefit > 0)).all() for k, x in zip(masks(chosen, given_layers), given_layers, strict=True))


def test_channels_that_are_worth_less_than_their_parameters_are_switched_off() -> None:
    benefit = np.full((20, 16, 4), 0.01, np.float32)
    benefit[:4] = 10.0
    one = [candidates(benefit)]
    budget = CoefficientBudget(1)
    most = 0.5 * budget.estimate(one, extents(one))
    (chosen,) = budget.select(one, most, extents(one))
    assert chosen.channels[:4].all() and not chosen.channels[4:].any()


def test_no_budget_leaves_nothing() -> None:
    one = layers(2, 1)
    (chosen,) = CoefficientBudget(1).select(one, 0.0, extents(one))
    assert not chosen.keep(one[0].benefit).any()


@pytest.mark.parametrize("density", [0.02, 0.2, 0.6])
def test_the_estimate_follows_the_packer(density: float) -> None:
    rng = np.random.default_rng(0)
    t = (rng.integers(0, 2, (64, 48, 9)) * 2 - 1).astype(np.int8) * (rng.random((64, 48, 9)) < density)
    budget = CoefficientBudget(1)
    packed = budget.measure(0, torch.tensor(t), 0) - extent(t != 0).overhead(0)
    wanted = np.ascontiguousarray(t.transpose(0, 2, 1))
    assert packed == len(pack_streams(wanted, stream_code(wanted)))
    estimate = budget.estimate([candidates(np.abs(t))], [extent(t != 0)])
    assert estimate == pytest.approx(packed + extent(t != 0).overhead(9))
    assert extent(t != 0).bound <= packed <= 1.05 * extent(t != 0).bound


def test_empty_rows_columns_and_bases_cost_nothing() -> None:
    t = np.zeros((10, 12, 5), np.int8)
    assert packed_bytes(t) == extent(t != 0).bound == extent(t != 0).overhead(9) == 0
    t[3, :4, 1] = t[7, :4, 2] = 1
    assert packed_bytes(t) == packed_bytes(np.ascontiguousarray(t[[3, 7]][:, :4][:, :, [1, 2]]))


def test_an_output_channel_costs_what_its_packed_parameters_take(
    compiled: Callable[[Path, Sequence[str]], Path], tmp_path: Path
) -> None:
    """Guards the bytes that the budget of training counts for bias, multiplier and shift of a channel."""
    path = tmp_path / "m.onnx"
    path.write_bytes(residual_model(channels=32))
    program = read_elf(compiled(path, ("--scheme", "escalate")).read_bytes())
    blocks = {i["dram"]: (i["size"], i["kn"]) for i in program.instructions if i.spec.mnemonic == "load.par"}
    packed = sum(size for size, _ in blocks.values()) / sum(channels for _, channels in blocks.values())
    one, two = np.zeros((2, 3, 4, 2), np.bool_)
    one[0, 0, 0] = two[0, 0, 0] = two[1, 0, 0] = True
    each = extent(two).overhead(9) - extent(one).overhead(9)
    assert packed / 2 <= each <= 2 * packed


def test_a_channel_must_be_worth_its_parameters() -> None:
    """Guards the price of a channel: at equal benefit a byte of coefficients, small channels go before large ones."""
    benefit = np.zeros((40, 64, 4), np.float32)
    benefit[:8] = 1.0
    benefit[8:, 0, 0] = 1.0
    given_layers = [candidates(benefit)]
    budget = CoefficientBudget(1)
    start = extents(given_layers)
    (chosen,) = budget.select(given_layers, 0.8 * budget.estimate(given_layers, start), start)
    assert chosen.channels[:8].all() and not chosen.channels[8:].any()
