"""Baseline machines: literal references agree to the cycle, no machine beats the ideal, files and entry points load."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from baseline_reference import matches, scnn_cycles, sparten_cycles
from baseline_works import masked, small_works
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.baselines.cost import check_technology, layer_cost
from escc.baselines.eyeriss import Eyeriss, Mapping, eyeriss, eyeriss_chip
from escc.baselines.ideal import ideal_dense, ideal_sparse
from escc.baselines.machine import BaselineMachine
from escc.baselines.pim import prime_like, timely
from escc.baselines.registry import installed, load_baseline
from escc.baselines.scnn import scnn, scnn_conflicts, scnn_dense
from escc.baselines.sparten import sparten, sparten_dense, sparten_gbs, sparten_one_sided, sparten_unbalanced
from escc.baselines.systolic import systolic
from escc.baselines.work import LayerGeometry, LayerWork
from isa.errors import UserError
from isa.target import load_target

MACHINES = [
    make()
    for make in (
        systolic,
        eyeriss,
        eyeriss_chip,
        scnn,
        scnn_conflicts,
        scnn_dense,
        sparten,
        sparten_gbs,
        sparten_unbalanced,
        sparten_one_sided,
        sparten_dense,
        ideal_dense,
        ideal_sparse,
    )
]
SMALL_SPARTEN = [replace(m(), clusters=3, units=2, chunk=4) for m in (sparten, sparten_gbs, sparten_unbalanced)]
SMALL_SCNN = [
    replace(m(), rows=2, columns=3, activation_vector=2, weight_vector=3, accumulators=24, banks=5, bank_skew=3)
    for m in (scnn, scnn_conflicts)
]


@settings(max_examples=25, deadline=None)
@given(work=small_works())
def test_matches_are_those_of_the_definition(work: LayerWork) -> None:
    assert work.matches.tolist() == [matches(work, image) for image in range(work.images)]
    full = replace(work, weights=np.ones_like(work.weights))
    assert work.gated_macs.tolist() == full.matches.tolist()


@pytest.mark.parametrize("machine", SMALL_SPARTEN, ids=lambda m: m.name)
@settings(max_examples=15, deadline=None)
@given(work=small_works())
def test_sparten_agrees_with_its_rule_to_the_cycle(machine: BaselineMachine, work: LayerWork) -> None:
    assert isinstance(machine, type(SMALL_SPARTEN[0]))
    assert machine.cycles(work).tolist() == [sparten_cycles(machine, work, image) for image in range(work.images)]


def test_sparten_shares_the_filters_of_few_positions_among_its_clusters() -> None:
    machine = replace(sparten(), clusters=7, units=2, chunk=4)
    work = masked(LayerGeometry(2, 1, 9, 23, (1, 1)), 0.5, 0.5, 3)
    assert machine.cycles(work).tolist() == [sparten_cycles(machine, work, 0)]


@pytest.mark.parametrize("machine", SMALL_SCNN, ids=lambda m: m.name)
@settings(max_examples=15, deadline=None)
@given(work=small_works().filter(lambda work: work.geometry.positions > 1))
def test_scnn_agrees_with_its_rule_to_the_cycle(machine: BaselineMachine, work: LayerWork) -> None:
    assert isinstance(machine, type(SMALL_SCNN[0]))
    assert machine.cycles(work).tolist() == [scnn_cycles(machine, work, image) for image in range(work.images)]


def test_scnn_uses_a_quarter_of_its_multipliers_for_one_position() -> None:
    work = masked(LayerGeometry(1, 1, 64, 128, (1, 1)), 0.5, 0.5, 1)
    assert scnn().cycles(work).tolist() == [-(-int(work.matches[0]) // 256)]


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
@settings(max_examples=10, deadline=None)
@given(work=small_works())
def test_no_machine_beats_its_multipliers_or_moves_less_than_every_value_once(
    machine: BaselineMachine, work: LayerWork
) -> None:
    result = machine.run(work)
    needed = work.matches.mean() if machine.weights == "sparse" else work.gated_macs.mean()
    assert result.multiplications >= needed - 1e-9
    assert result.cycles * machine.multipliers >= needed - 1e-6
    least = work.input_nonzeros + work.weight_nonzeros
    assert result.dram.total >= least
    assert set(result.accesses) <= {m.name for m in machine.memories}


@settings(max_examples=10, deadline=None)
@given(work=small_works(), factor=st.integers(2, 8))
def test_more_bandwidth_never_slows_and_batches_never_cost_more(work: LayerWork, factor: int) -> None:
    target = load_target()
    faster = replace(target, dram=replace(target.dram, tCCD=1, bytes_per_clock=target.dram.bytes_per_clock * factor))
    assert faster.dram_bytes_per_cycle > target.dram_bytes_per_cycle == 16
    for machine in MACHINES:
        one, many = machine.run(work), machine.run(work, 16)
        assert layer_cost(machine, one, faster).cycles <= layer_cost(machine, one, target).cycles
        assert layer_cost(machine, many, target).cycles <= layer_cost(machine, one, target).cycles * (1 + 1e-9)
        assert many.dram.weights == pytest.approx(one.dram.weights / 16)


@settings(max_examples=10, deadline=None)
@given(work=small_works())
def test_sparse_machines_gain_from_zeros(work: LayerWork) -> None:
    rng = np.random.default_rng(0)
    fewer = replace(work, weights=work.weights & (rng.random(work.weights.shape) < 0.5))
    for make in (scnn, sparten_unbalanced, ideal_sparse):
        assert make().run(fewer).cycles <= make().run(work).cycles
    assert (
        sparten_unbalanced().run(work).cycles
        <= sparten_one_sided().run(work).cycles
        <= sparten_dense().run(work).cycles
    )
    assert scnn().run(work).cycles <= scnn_conflicts().run(work).cycles


def _every_mapping(machine: Eyeriss, work: LayerWork, batch: int) -> float:
    shape = machine.shape(work)
    found = [
        machine.cycles(shape, m, batch)
        for n in range(1, batch + 1)
        for e in range(1, shape.out_rows + 1)
        for q in range(1, machine.input_words // shape.columns + 1)
        for p in range(1, min(machine.sum_words, machine.filter_words // (q * shape.columns), shape.filters) + 1)
        for r in range(1, machine.slots(shape, e) + 1)
        for t in range(1, machine.slots(shape, e) // r + 1)
        if machine.fits(shape, m := Mapping(n, e, p, q, r, t))
    ]
    return min(found)


@settings(max_examples=10, deadline=None)
@given(work=small_works(), batch=st.integers(1, 3))
def test_eyeriss_finds_the_mapping_of_least_cycles(work: LayerWork, batch: int) -> None:
    machine = replace(eyeriss(), rows=6, columns=4, input_words=6, filter_words=18, sum_words=4, buffer_bytes=600)
    try:
        found = machine.run(work, batch)
    except ValueError:
        with pytest.raises(ValueError, match="empty"):
            _every_mapping(machine, work, batch)
        return
    least = _every_mapping(machine, work, batch) * 1.12 / batch
    if work.geometry.groups == 1:
        assert found.cycles == pytest.approx(least)
    assert least * (1 - 1e-9) <= found.cycles <= work.geometry.groups * least * (1 + 1e-9)


def test_eyeriss_lays_the_groups_of_depthwise_layers_side_by_side() -> None:
    work = masked(LayerGeometry(28, 28, 64, 64, (3, 3), pads=(1, 1, 1, 1), groups=64), 1.0, 1.0, 0)
    machine = eyeriss()
    one = machine.run(masked(LayerGeometry(28, 28, 1, 1, (3, 3), pads=(1, 1, 1, 1)), 1.0, 1.0, 0)).cycles
    assert 64 * 28 * 28 / machine.sums_per_cycle <= machine.run(work).cycles < 64 * one / 2
    assert replace(machine, sums_per_cycle=100.0).run(work).cycles < 64 * one / 8


def test_systolic_rule() -> None:
    geometry = LayerGeometry(8, 8, 40, 70, (3, 3), pads=(1, 1, 1, 1))
    result = systolic().run(masked(geometry, 1.0, 0.5, 0))
    assert result.cycles == -(-360 // 32) * 3 * (2 * 32 + 32 + 64 - 2)


def test_energy_counts_events_once() -> None:
    target = load_target()
    work = masked(LayerGeometry(8, 8, 16, 32, (3, 3), pads=(1, 1, 1, 1)), 0.5, 0.5, 0)
    machine = ideal_sparse()
    result = machine.run(work)
    cost = layer_cost(machine, result, target)
    products = float(work.matches[0])
    values = (1024 + 4608 + 2048) / 8 + work.input_nonzeros + work.weight_nonzeros + 1024
    assert cost.energy_uj["arithmetic"] == pytest.approx(products * 0.3e-6)
    assert cost.energy_uj["dram"] == pytest.approx(values * 32e-6)
    assert cost.cycles == pytest.approx(values / 16) and cost.cycles > cost.compute_cycles


def test_input_reuse_of_memory_arrays() -> None:
    work = masked(LayerGeometry(16, 16, 64, 256, (3, 3), pads=(1, 1, 1, 1)), 1.0, 1.0, 0)
    once, often = timely().count(work), prime_like().count(work)
    assert list(once) == list(often)
    assert often["input reads"] == 9 * once["input reads"] == 9 * 16 * 16 * 64
    assert often["D/A conversions"] == 2 * often["input reads"]
    assert often["A/D conversions"] == 3 * once["A/D conversions"] == 3 * 2 * 16 * 16 * 256


def test_installed_baselines_are_what_their_names_say() -> None:
    names = installed()
    assert {m.name for m in MACHINES} | {"timely", "prime-like"} <= set(names)
    for name in names:
        baseline = load_baseline(name)
        assert baseline.name == name and baseline.description
        if isinstance(baseline, BaselineMachine):
            check_technology(baseline, load_target())
            assert baseline.multipliers > 0
    with pytest.raises(UserError, match="unknown baseline machine 'spartan'; did you mean 'sparten'"):
        load_baseline("spartan")
    with pytest.raises(UserError, match="45 nm"):
        other = load_target()
        check_technology(scnn(), replace(other, energy=replace(other.energy, technology_nm=22)))


def test_wrong_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="groups"):
        LayerGeometry(4, 4, 3, 4, (1, 1), groups=2)
    with pytest.raises(ValueError, match="window"):
        LayerGeometry(2, 2, 3, 4, (3, 3))
    work = masked(LayerGeometry(4, 4, 3, 4, (1, 1)), 1.0, 1.0, 0)
    with pytest.raises(ValueError, match="weights"):
        replace(work, weights=work.weights[:2])
    with pytest.raises(ValueError, match="activations"):
        replace(work, activations=work.activations[:, :2])
