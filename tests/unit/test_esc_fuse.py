"""fuse-epilogues changes no bit of any result, and leaves esc-legalize content."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import Graph
from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, FusedLoc, ModuleOp
from xdsl.ir import Operation, SSAValue

from dialects import esc, locations
from dialects.interpreters.run import main_function, run_module
from dialects.locations import node_names
from passes.esc_legalize import EscLegalizePass
from passes.fuse_epilogues import FuseEpiloguesPass


def grow(graph: Graph, values: list[SSAValue], kind: str, choice: int) -> SSAValue:
    """One more operation on values already there."""
    x = values[-1 - choice % min(3, len(values))]
    _, h, w, c = esc.shape_of(x)
    signed = bool(choice & 1)
    if kind == "conv":
        return graph.conv(x, c, (1, 1), pads=(0, 0, 0, 0), signed=signed)
    if kind == "decomposed":
        return graph.decomposed(x, c, 2, signed=signed)
    if kind == "lookup":
        return graph.lookup(x, signed)
    if kind == "add":
        same = [v for v in values if esc.shape_of(v) == esc.shape_of(x)]
        return graph.add(x, same[choice % len(same)], signed)
    if kind == "slice":
        offsets = (choice % 3 - 1, choice % 5 - 2, choice % 4 - 1)
        strides = (1 + choice % 2, 1 + choice // 2 % 2)
        return graph.slice(x, offsets, strides, (max(1, h // strides[0]), max(1, w - 1), max(1, c + choice % 3 - 1)))
    return graph.pool(x, False, (2, 2), (1, 1), (1, 1, 0, 0))


def fused(module: ModuleOp) -> ModuleOp:
    result = module.clone()
    FuseEpiloguesPass().apply(Context(), result)
    result.verify()
    return result


def counts(module: ModuleOp) -> Counter[str]:
    return Counter(op.name for op in main_function(module).body.block.ops)


KINDS = st.sampled_from(["conv", "decomposed", "lookup", "add", "slice", "pool"])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(KINDS, st.integers(0, 1000)), min_size=2, max_size=9), st.integers(0, 2**16), st.integers(0, 3)
)
def test_random_graphs_keep_every_bit(steps, seed, extra):
    graph = Graph(5, 4, 3, signed=bool(seed & 1), seed=seed)
    values = [graph.x]
    for kind, choice in steps:
        values.append(grow(graph, values, kind, choice))
    module = graph.module(values[-1], *values[len(values) - 1 - extra : len(values) - 1])
    module.verify()
    x = np.random.default_rng(seed).integers(-128, 256, (3, 3, 5, 4)).astype(np.float32)
    after = fused(module)
    for want, got in zip(run_module(module, [x]), run_module(after, [x]), strict=True):
        np.testing.assert_array_equal(want, got)
    assert sum(counts(after).values()) <= sum(counts(module).values())
    EscLegalizePass().apply(Context(), after)


def residual_block() -> Graph:
    return Graph(6, 6, 8, seed=1)


def test_requantize_takes_table_and_residual():
    graph = residual_block()
    graph.conv(graph.x, 8)
    y = graph.lookup(graph.conv(graph.x, 8), True)
    module = graph.module(graph.add(y, graph.x, False))
    after = fused(module)
    assert counts(after)["esc.lookup"] == counts(after)["esc.add"] == 0
    (op,) = [o for o in after.walk() if isinstance(o, esc.RequantizeOp) and o.residual is not None]
    assert op.table is not None and op.mid is not None and op.mid.signed
    assert node_names(op) == ("node4", "node5", "node6")


def test_the_later_of_two_candidates_takes_the_addition():
    graph = residual_block()
    a, b = graph.conv(graph.x, 8), graph.conv(graph.x, 8, signed=True)
    for order in ((a, b), (b, a)):
        clone = residual_block()
        values = {a: clone.conv(clone.x, 8), b: clone.conv(clone.x, 8, signed=True)}
        after = fused(clone.module(clone.add(values[order[0]], values[order[1]], True)))
        requantisations = [o for o in after.walk() if isinstance(o, esc.RequantizeOp)]
        assert [o.residual is None for o in requantisations] == [True, False]
        assert requantisations[1].residual is requantisations[0].output


def test_accumulators_stand_before_their_requantisation():
    graph = residual_block()
    first = graph.conv(graph.x, 8)
    second = graph.lookup(graph.pool(graph.x, False, (1, 1), (1, 1)), False)
    after = fused(graph.module(graph.add(first, second, False)))
    for op in after.walk():
        if isinstance(op, esc.RequantizeOp):
            assert op.prev_op is op.input.owner


def test_a_value_with_another_use_is_not_fused():
    graph = residual_block()
    y = graph.conv(graph.x, 8)
    after = fused(graph.module(graph.add(y, graph.x, False), y))
    assert counts(after)["esc.add"] == 1
    graph = residual_block()
    y = graph.conv(graph.x, 8)
    after = fused(graph.module(graph.add(y, y, False)))
    assert counts(after)["esc.add"] == 1


def test_slices_compose_only_where_padding_stays_zero():
    graph = Graph(6, 6, 4)
    cropped = graph.slice(graph.x, (2, 2, 0), (1, 1), (2, 2, 4))
    back = graph.slice(cropped, (-2, -2, 0), (1, 1), (6, 6, 4))
    assert counts(fused(graph.module(back)))["esc.slice"] == 2
    graph = Graph(6, 6, 4)
    strided = graph.slice(graph.x, (0, 0, 0), (2, 2), (3, 3, 4))
    padded = graph.slice(strided, (0, 0, -2), (1, 1), (3, 3, 8))
    after = fused(graph.module(padded))
    (op,) = [o for o in after.walk() if isinstance(o, esc.SliceOp)]
    assert esc.ints(op.offsets) == (0, 0, -2) and esc.ints(op.strides) == (2, 2)


def test_what_changes_nothing_disappears():
    graph = Graph(4, 4, 2, signed=False)
    table = np.arange(256, dtype=np.uint8)
    same = graph.append(esc.LookupOp(graph.x, table, esc.tensor_type(graph.x)))
    after = fused(graph.module(graph.slice(same, (0, 0, 0), (1, 1), (4, 4, 2))))
    assert counts(after)["esc.lookup"] == counts(after)["esc.slice"] == 0


def test_what_disappears_leaves_its_name_to_what_computes_its_value():
    graph = Graph(4, 4, 4, signed=False)
    both = graph.concat(graph.conv(graph.x, 4), graph.conv(graph.x, 4))
    table = np.arange(256, dtype=np.uint8)
    same = graph.append(esc.LookupOp(both, table, esc.tensor_type(both)))
    for value, name in ((both, "cat"), (same, "relu")):
        assert isinstance(value.owner, Operation)
        value.owner.location = locations.named(name)
    after = fused(graph.module(graph.conv(same, 4)))
    (concat,) = [op for op in after.walk() if isinstance(op, esc.ConcatOp)]
    assert locations.node_names(concat) == ("cat", "relu")


def test_a_long_chain_costs_in_proportion_to_its_length(monkeypatch):
    """Merging it one by one makes no list of all its names for each operation."""
    copied = 0
    fused_location = locations.FusedLoc

    def counted(parts, metadata):
        nonlocal copied
        copied += len(parts)
        return fused_location(parts, metadata)

    length = 700
    graph = Graph(2, 2, 1, signed=True)
    x = graph.x
    for _ in range(length):
        x = graph.lookup(x, True)
    module = graph.module(x)
    monkeypatch.setattr(locations, "_of_parts", lambda parts: counted(tuple(parts), locations.NoneAttr()))
    after = fused(module)
    monkeypatch.undo()
    (op,) = [o for o in after.walk() if isinstance(o, esc.LookupOp)]
    assert node_names(op) == tuple(f"node{i}" for i in range(1, length + 1))
    assert isinstance(op.location, FusedLoc) and isinstance(op.location.locations, ArrayAttr)
    assert all(isinstance(part, locations.NameLoc) for part in op.location.locations.data)
    assert copied < 150 * length
