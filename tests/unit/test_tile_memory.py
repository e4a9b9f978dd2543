"""Memory planning and synchronisation: plain numbers."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.bfs_checks import Placed, overlap
from isa.target import load_target
from passes.math.sync import synchronise
from passes.tiling.memory import SCRATCHPAD_ALIGN, Interval, instances_per_buffer, plan_arena, reserve, stack
from passes.tiling.reuse import Filling, Scratch

intervals = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.integers(0, 6)), max_size=14).map(
    lambda items: [Interval(f"t{i}", 64 * n, a, a + d) for i, (n, a, d) in enumerate(items)]
)


@given(intervals)
def test_tensors_that_live_together_do_not_overlap(items: list[Interval]) -> None:
    offsets, total = plan_arena(items)
    for i, a in enumerate(items):
        assert offsets[a.name] % 64 == 0
        assert offsets[a.name] + a.nbytes <= total
        for b in items[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert offsets[a.name] + a.nbytes <= offsets[b.name] or offsets[b.name] + b.nbytes <= offsets[a.name]


@given(intervals)
def test_the_arena_holds_at_least_the_largest_step_and_at_most_everything(items: list[Interval]) -> None:
    total = plan_arena(items)[1]
    steps = {i.first for i in items}
    assert total >= max((sum(i.nbytes for i in items if i.first <= s <= i.last) for s in steps), default=0)
    assert total <= sum(i.nbytes for i in items)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9), st.integers(-1, 6), st.integers(0, 4)), max_size=9),
    st.booleans(),
)
def test_an_overlap_is_found_where_there_is_one(items: list[tuple[int, int, int, int]], planned: bool) -> None:
    tensors = [Placed(low, low + size, f"t{i}", a, a + d) for i, (low, size, a, d) in enumerate(items)]
    if planned:
        offsets, _ = plan_arena([Interval(t.name, t.high - t.low, t.first, t.last) for t in tensors])
        tensors = [t._replace(low=offsets[t.name], high=offsets[t.name] + t.high - t.low) for t in tensors]
    pairs = [
        {a.name, b.name}
        for a, b in combinations(tensors, 2)
        if a.low < b.high and b.low < a.high and a.first <= b.last and b.first <= a.last
    ]
    found = overlap(tensors)
    assert (found is None) == (not pairs) and not (planned and pairs)
    if found is not None:
        assert {t.name for t in found} in pairs and found[0].first <= found[1].first


def test_a_chain_takes_two_tensors() -> None:
    items = [Interval(f"t{i}", 640, i, i + 1) for i in range(6)]
    assert plan_arena(items)[1] == 1280


@given(st.lists(st.integers(1, 900), max_size=5), st.integers(0, 4000), st.booleans())
def test_stacked_buffers_do_not_overlap(sizes: list[int], spare: int, from_top: bool) -> None:
    capacity = sum(reserve(n) for n in sizes) + spare
    placed = sorted(zip(stack(sizes, capacity, from_top), sizes, strict=True))
    assert all(a % SCRATCHPAD_ALIGN == 0 and a >= 0 and a + n <= capacity for a, n in placed)
    assert all(a + n <= b for (a, n), (b, _) in pairwise(placed))


def test_stack_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="buffers need 208 bytes; 200 available"):
        stack([100, 90], 200, False)


def test_second_instances_go_to_streamed_buffers_in_order() -> None:
    target = load_target()
    counts = instances_per_buffer(
        [("a", "act", 40000, True), ("b", "act", 40000, True), ("c", "coef", 10, False)], target
    )
    assert counts == {"a": 2, "b": 1, "c": 1}


fillings = st.builds(
    lambda nbytes, instances, regions, kept: Filling(nbytes, instances, regions, kept),
    st.integers(1, 300),
    st.integers(1, 2),
    st.lists(st.integers(0, 5), max_size=12),
    st.booleans(),
)


@given(st.lists(st.lists(fillings, max_size=4), max_size=6), st.integers(0, 500))
def test_instances_of_a_layer_do_not_overlap(layers: list[list[Filling]], spare: int) -> None:
    needs = [sum(f.instances * reserve(f.nbytes) for f in layer) for layer in layers]
    capacity = max(needs, default=0) + spare
    scratch = Scratch(capacity + -capacity % SCRATCHPAD_ALIGN)
    for layer in layers:
        found = scratch.place(layer)
        assert [f.instances <= len(places) <= f.most for f, places in zip(layer, found, strict=True)] == [True] * len(
            layer
        )
        taken = sorted((at, at + f.nbytes) for f, places in zip(layer, found, strict=True) for at in places)
        assert all(at % SCRATCHPAD_ALIGN == 0 and at >= 0 and end <= scratch.capacity for at, end in taken)
        assert all(end <= at for (_, end), (at, _) in pairwise(taken))


def test_a_layer_begins_where_the_oldest_data_lies() -> None:
    scratch = Scratch(100)
    basis, pieces = Filling(16, 1, ["basis"], True), Filling(16, 2, range(7), True)
    assert scratch.place([basis, pieces]) == [[0], [16, 32, 48, 64, 80]]
    # The basis is in use to the end of the layer, and so are the pieces that came last: 80, 16 and 32.
    assert scratch.place([basis, pieces]) == [[48], [64, 80, 16, 0, 32]]


def test_what_is_loaded_once_gets_one_instance_and_what_is_kept_is_not_loaded_again() -> None:
    assert Filling(16, 1, ["a"], True).most == 1
    kept, refilled = Filling(16, 1, [0, 1, 0, 1], True), Filling(16, 1, [0, 1, 0, 1], False)
    assert (kept.most, refilled.most) == (2, 4)
    assert kept.last_uses(2) == [0.75, 1.0]
    assert refilled.last_uses(3) == [1.0, 0.5, 0.75]


programs = st.lists(st.tuples(st.integers(0, 2), st.lists(st.integers(0, 30), max_size=3)), max_size=30)


def _ordered(queues: list[int], waits: list[list[int]], signals: list[bool]) -> list[set[int]]:
    """For each instruction, all instructions that are certainly complete when it starts."""
    before: list[set[int]] = []
    last: dict[int, int] = {}
    sent: dict[int, list[int]] = {}
    for i, q in enumerate(queues):
        known: set[int] = set()
        if q in last:
            known |= before[last[q]] | {last[q]}
        for p, n in enumerate(waits[i]):
            if n:
                j = sent[p][n - 1]
                known |= before[j] | {j}
        before.append(known)
        last[q] = i
        if signals[i]:
            sent.setdefault(q, []).append(i)
    return before


@given(programs)
def test_waits_order_all_dependencies_and_none_is_idle(program: list[tuple[int, list[int]]]) -> None:
    queues = [q for q, _ in program]
    depends: list[list[int]] = []
    for i, (q, wanted) in enumerate(program):
        latest = [-1, -1, -1]
        for d in wanted:
            if d < i and queues[d] != q:
                latest[queues[d]] = max(latest[queues[d]], d)
        depends.append(latest)
    syncs = synchronise(queues, depends, 3)
    waits, signals = [s.waits for s in syncs], [s.signal for s in syncs]
    before = _ordered(queues, waits, signals)
    for i, wanted in enumerate(depends):
        assert all(d < 0 or d in before[i] for d in wanted)
    for i, row in enumerate(waits):
        for p, n in enumerate(row):
            if n:  # without this wait some dependency is not ordered
                fewer = [list(r) for r in waits]
                fewer[i][p] = 0
                known = _ordered(queues, fewer, signals)[i]
                assert any(d >= 0 and d not in known for d in depends[i])
    counts = [0, 0, 0]
    for q, signal in zip(queues, signals, strict=True):
        if signal:
            counts[q] += 1
            assert any(row[q] == counts[q] for row in waits)
