"""drop-dead-channels: the outputs keep every bit, and what should go goes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tile_models import MAIN, Graph, lower, random_graph
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, ModuleOp, i64
from xdsl.ir import Operation, SSAValue

from dialects import esc, esc_pools
from dialects.attributes import integer
from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.esc import shape_of
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from dialects.interpreters.run import main_function, run_module
from emulator.machine import Machine
from passes.analysis.channel_liveness import ChannelLiveness
from passes.analysis.original_weight_count import float_weights, recorded
from passes.drop_dead_channels import DropDeadChannelsPass

FAST = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def dropped(module: ModuleOp) -> ModuleOp:
    result = module.clone()
    DropDeadChannelsPass().apply(Context(), result)
    result.verify()
    return result


def inputs(module: ModuleOp) -> list[np.ndarray]:
    shape = shape_of(main_function(module).body.block.args[0])
    return [np.random.default_rng(1).integers(-140, 270, (3, *shape[1:])).astype(np.float32)]


def assert_same(before: ModuleOp, after: ModuleOp) -> None:
    x = inputs(before)
    for a, b in zip(run_module(before, x), run_module(after, x), strict=True):
        np.testing.assert_array_equal(a, b)


def prune(module: ModuleOp, seed: int) -> None:
    """Zero random channels of weights, coefficients, bases and biases, and tables at 0; raise some lower bounds."""
    random = np.random.default_rng(seed)
    share = random.choice([0.2, 0.6, 0.9])

    def holes(a: np.ndarray, *axes: int) -> DenseAttr:
        a = a.copy()
        for axis in axes:
            np.moveaxis(a, axis, 0)[random.random(a.shape[axis]) < share] = 0
        return DenseAttr.of(a)

    for op in module.walk():
        if isinstance(op, esc.Conv2dOp):
            op.weight = holes(op.weight.array, 0, 3)
        elif isinstance(op, CoeffCombineOp):
            op.coefficients = holes(op.coefficients.array, 0, 1, 2)
        elif isinstance(op, BasisConv2dOp):
            op.basis = holes(op.basis.array, 0)
        elif isinstance(op, esc.RequantizeOp):
            bias = op.bias.array.astype(np.int64) - (1 << 20) * (random.random(op.bias.array.shape) < 0.2)
            op.bias = holes(bias.astype(np.int32), 0)
        if isinstance(op, esc.LookupOp | esc.RequantizeOp) and op.table is not None and random.random() < 0.7:
            values = op.table.array.copy()
            values[0] = 0
            op.table = DenseAttr.of(values)
        if isinstance(op, esc.AddOp | esc_pools.AvgPoolOp | esc.RequantizeOp) and random.random() < 0.2:
            op.lo = integer(3)


@FAST
@given(data=st.data(), seed=st.integers(0, 1 << 30))
def test_outputs_keep_every_bit(data: st.DataObject, seed: int) -> None:
    size = st.integers(1, 7)
    g = Graph(data.draw(size), data.draw(size), data.draw(st.sampled_from([1, 3, 16])), seed=seed)
    module = g.module(*random_graph(data.draw, g, (1, 4, 6, 12)))
    prune(module, seed)
    after = dropped(module)
    assert_same(module, after)
    assert str(dropped(after)) == str(after)
    for op in after.walk():
        for value in (*op.operands, *op.results):
            assert min(shape_of(value)) >= 1


@pytest.mark.parametrize("seed", range(4))
def test_the_machine_runs_what_is_left(seed: int) -> None:
    g = Graph(7, 7, 5, seed=seed)
    x = g.decomposed(g.x, 20, 6)
    y = g.conv(x, 20, residual=g.conv(g.x, 20))
    z = g.conv(g.concat(g.pool(y, True, (2, 2), (1, 1)), g.pool(x, False, (2, 2), (1, 1))), 40, groups=40)
    module = g.module(g.decomposed(z, 10, 3, (6, 6), pads=(0, 0, 0, 0)))
    prune(module, seed)
    program = to_program(lower(module, passes=("drop-dead-channels", *MAIN)))
    assert program.original_weights == float_weights(main_function(module))
    x = inputs(module)
    np.testing.assert_array_equal(Machine(program).run(x).outputs[0], run_module(module, x)[0])


def only(module: ModuleOp, kind: type) -> list:
    return [op for op in module.walk() if isinstance(op, kind)]


def set_bias(value: SSAValue, channels: slice, bias: int) -> None:
    op = value.owner
    assert isinstance(op, esc.RequantizeOp)
    array = op.bias.array.copy()
    array[channels] = bias
    op.bias = DenseAttr.of(array)


def test_nothing_to_drop_changes_nothing() -> None:
    g = Graph(6, 6, 4)
    module = g.module(g.conv(g.decomposed(g.x, 8, 3, signed=True), 4))
    assert str(dropped(module)) == str(module)


def test_zero_channels_are_followed_through_pools_tables_and_additions() -> None:
    g = Graph(8, 8, 4)
    a, b = g.conv(g.x, 12, signed=True), g.decomposed(g.x, 12, 3, signed=True)
    for value in (a, b):
        set_bias(value, slice(5, 12), 0)
    conv, combine = (g.ops[i] for i in (1, 3))
    assert isinstance(conv, esc.Conv2dOp) and isinstance(combine, CoeffCombineOp)
    for op, name in ((conv, "weight"), (combine, "coefficients")):
        array = getattr(op, name).array.copy()
        array[5:] = 0
        setattr(op, name, DenseAttr.of(array))
    total = g.pool(g.pool(g.add(a, b, True), True, (2, 2), (2, 2)), False, (2, 2), (2, 2))
    last = g.lookup(total, True)
    lookup = g.ops[-1]
    assert isinstance(lookup, esc.LookupOp)
    table = lookup.table.array.copy()
    table[0] = 0
    lookup.table = DenseAttr.of(table)
    module = g.module(g.conv(last, 6))
    before = float_weights(main_function(module))
    after = dropped(module)
    assert_same(module, after)
    assert {shape_of(op.output)[3] for op in only(after, esc.LookupOp)} == {5}
    assert only(after, esc.Conv2dOp)[-1].weight.array.shape == (6, 3, 3, 5)
    assert only(after, CoeffCombineOp)[0].coefficients.array.shape == (5, 3, 4)
    assert recorded(main_function(after)) == before == float_weights(main_function(module))
    assert float_weights(main_function(module)) > sum(op.weight.array.size for op in only(after, esc.Conv2dOp))


def test_a_relu_that_never_opens_is_a_zero() -> None:
    g = Graph(5, 5, 4)
    x = g.conv(g.x, 8)
    set_bias(x, slice(0, 3), -(1 << 24))
    module = g.module(g.conv(x, 4))
    after = dropped(module)
    assert_same(module, after)
    assert [op.weight.array.shape[0] for op in only(after, esc.Conv2dOp)] == [5, 4]


def test_channels_that_nobody_reads_are_followed_back() -> None:
    g = Graph(6, 6, 4)
    x = g.conv(g.conv(g.x, 10), 10, groups=10)
    y = g.conv(x, 5, (6, 6), pads=(0, 0, 0, 0))
    conv = g.ops[-2]
    assert isinstance(conv, esc.Conv2dOp)
    weight = conv.weight.array.copy()
    weight[..., 2:9] = 0
    conv.weight = DenseAttr.of(weight)
    module = g.module(y)
    after = dropped(module)
    assert_same(module, after)
    assert [op.weight.array.shape for op in only(after, esc.Conv2dOp)] == [(3, 3, 3, 4), (3, 3, 3, 1), (5, 6, 6, 3)]
    assert only(after, esc.Conv2dOp)[1].groups.value.data == 3


def test_a_channel_stays_in_an_addition_that_needs_one_operand() -> None:
    g = Graph(6, 6, 4)
    a, b = g.conv(g.x, 6, signed=True), g.conv(g.x, 6, signed=True)
    conv = g.ops[1]
    assert isinstance(conv, esc.Conv2dOp)
    weight = conv.weight.array.copy()
    weight[:3] = 0
    conv.weight = DenseAttr.of(weight)
    set_bias(a, slice(0, 3), 0)
    module = g.module(g.conv(g.add(a, b, True), 4))
    after = dropped(module)
    assert_same(module, after)
    assert {op.weight.array.shape[0] for op in only(after, esc.Conv2dOp)[:2]} == {6}


def test_unused_bases_go_and_one_stays() -> None:
    g = Graph(6, 6, 4)
    x = g.decomposed(g.decomposed(g.x, 6, 5), 6, 4)
    first, second = only_in(g, CoeffCombineOp)
    t = first.coefficients.array.copy()
    t[:, [1, 4]] = 0
    first.coefficients = DenseAttr.of(t)
    second.coefficients = DenseAttr.of(np.zeros_like(second.coefficients.array))
    module = g.module(x)
    after = dropped(module)
    assert_same(module, after)
    bases = [op.basis.array.shape[0] for op in only(after, BasisConv2dOp)]
    assert bases == [1, 1]  # nothing reads the first layer any more


def only_in(g: Graph, kind: type) -> list:
    return [op for op in g.ops if isinstance(op, kind)]


def test_a_network_that_is_constant_keeps_its_shapes() -> None:
    g = Graph(4, 4, 3)
    module = g.module(g.conv(g.conv(g.x, 8), 5))
    for op in only(module, esc.Conv2dOp):
        op.weight = DenseAttr.of(np.zeros_like(op.weight.array))
    after = dropped(module)
    assert_same(module, after)
    assert [op.weight.array.shape for op in only(after, esc.Conv2dOp)] == [(1, 3, 3, 3), (5, 3, 3, 1)]
    count = main_function(after).attributes["float_weights"]
    assert isinstance(count, IntegerAttr) and count.type == i64


@FAST
@given(data=st.data(), seed=st.integers(0, 1 << 30))
def test_what_is_called_zero_is_zero(data: st.DataObject, seed: int) -> None:
    size = st.integers(1, 7)
    g = Graph(data.draw(size), data.draw(size), data.draw(st.sampled_from([1, 3, 16])), seed=seed)
    module = g.module(*random_graph(data.draw, g, (1, 4, 6, 12)))
    prune(module, seed)
    use = ChannelLiveness(main_function(module).body.block)

    def observe(op: Operation, results: Sequence[np.ndarray]) -> None:
        if op.results[0] in use.zero and not isinstance(op, CoeffCombineOp):
            assert not results[0][..., use.zero[op.results[0]]].any(), op.name

    run_module(module, inputs(module), observe)


CONSTANT = 3
"""Channels of `epilogue` whose accumulator is 0 for every input."""


def epilogue(g: Graph, decomposed: bool, table: int | None, residual: str, lo: int, add_lo: int) -> esc.RequantizeOp:
    """A convolution of 8 channels, the first constant at 0, with a table of that value at 0 and a residual.

    `residual` is "none", "live", or "zero": then it is 0 in the same channels.
    """
    other = None if residual == "none" else g.conv(g.x, 8, signed=True)
    if residual == "zero":
        clear(g.ops[-2], g.ops[-1])
    if decomposed:
        value = g.decomposed(g.x, 8, 3, signed=True, residual=other)
        clear(g.ops[-3], g.ops[-1])
    else:
        value = g.conv(g.x, 8, signed=True, residual=other)
        clear(g.ops[-2], g.ops[-1])
    op = value.owner
    assert isinstance(op, esc.RequantizeOp)
    op.lo = integer(lo)
    if other is not None:
        op.add_lo = integer(add_lo)
    if table is not None:
        values = np.arange(256, dtype=np.uint8).view(np.int8)
        values[0] = table
        op.table = DenseAttr.of(values)
        op.table_in = esc.q_of(value)
    return op


def clear(layer: Operation, requantize: Operation) -> None:
    """Let the first channels of a layer be 0 before the table."""
    name = "weight" if isinstance(layer, esc.Conv2dOp) else "coefficients"
    array = getattr(layer, name).array.copy()
    array[:CONSTANT] = 0
    setattr(layer, name, DenseAttr.of(array))
    set_bias(requantize.results[0], slice(0, CONSTANT), 0)


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("table", [None, 0, 7])
@pytest.mark.parametrize("residual", ["none", "live", "zero"])
@pytest.mark.parametrize(("lo", "add_lo"), [(-128, -128), (0, 0), (2, -128), (0, 5)])
def test_a_constant_channel_goes_only_if_table_residual_and_clamps_leave_it_0(
    decomposed: bool, table: int | None, residual: str, lo: int, add_lo: int
) -> None:
    g = Graph(5, 5, 4)
    op = epilogue(g, decomposed, table, residual, lo, add_lo)
    module = g.module(g.conv(op.output, 6, (1, 1), pads=(0, 0, 0, 0), signed=True))
    module.verify()
    kept = max(lo, 0)  # the table leaves all but 0 as it is
    if kept == 0 and table is not None:
        kept = table
    is_zero = kept == 0 and residual != "live" and (residual == "none" or add_lo <= 0)
    found = ChannelLiveness(main_function(module).body.block).zero[op.output]
    assert found.tolist() == [is_zero] * CONSTANT + [False] * (8 - CONSTANT)
    after = dropped(module)
    assert_same(module, after)
    last = only(after, esc.Conv2dOp)[-1]
    assert last.weight.array.shape[3] == 8 - CONSTANT * is_zero


@pytest.mark.parametrize("lo", [0, 3])
def test_an_average_above_0_is_no_zero(lo: int) -> None:
    g = Graph(4, 4, 4)
    op = epilogue(g, False, None, "none", 0, 0)
    pooled = g.pool(op.output, True, (2, 2), (2, 2))
    average = g.ops[-1]
    assert isinstance(average, esc_pools.AvgPoolOp)
    average.lo = integer(lo)
    module = g.module(g.conv(pooled, 6, (1, 1), pads=(0, 0, 0, 0), signed=True))
    after = dropped(module)
    assert_same(module, after)
    assert only(after, esc.Conv2dOp)[-1].weight.array.shape[3] == (8 if lo else 8 - CONSTANT)
