"""esc-legalize: accumulator bounds are sound and tight, offenders are listed together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import Graph
from xdsl.context import Context
from xdsl.dialects.builtin import IntegerAttr, i64

from dialects import esc
from dialects.blob import DenseAttr
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from isa.errors import UserError
from isa.reference import basis_conv2d, coeff_combine, conv2d
from passes.esc_legalize import EscLegalizePass


def legalize(module, target="esc1"):
    EscLegalizePass(target).apply(Context(), module)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.booleans(), st.sampled_from([1, 2, 4]))
def test_dense_bounds_are_reached(seed, signed, groups):
    graph = Graph(3, 3, 4, signed=signed, seed=seed)
    graph.conv(graph.x, 4, (3, 3), pads=(0, 0, 0, 0), groups=groups)
    op = next(o for o in graph.ops if isinstance(o, esc.Conv2dOp))
    low, high = op.accumulator_bounds
    q = esc.q_of(op.input)
    weight = op.weight.array.astype(np.int8)
    cpg = 4 // groups
    for k in range(4):
        x = np.zeros((2, 3, 3, 4), q.dtype)
        for j in range(cpg):
            c = k // cpg * cpg + j
            x[0, :, :, c] = np.where(weight[k, :, :, j] > 0, q.low, q.high)
            x[1, :, :, c] = np.where(weight[k, :, :, j] > 0, q.high, q.low)
        acc = conv2d(x, weight, (1, 1), (0, 0, 0, 0), groups)
        assert (acc[0, 0, 0, k], acc[1, 0, 0, k]) == (low[k], high[k])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.booleans(), st.integers(0, 4), st.sampled_from([8, 16]))
def test_decomposed_bounds_hold(seed, signed, shift, bits):
    graph = Graph(3, 3, 4, signed=signed, seed=seed)
    graph.decomposed(graph.x, 3, 2, (2, 2), ic_shift=shift, ic_bits=bits)
    op = next(o for o in graph.ops if isinstance(o, BasisConv2dOp))
    low, high = op.accumulator_bounds
    combine = op.input.owner
    assert isinstance(combine, CoeffCombineOp)
    q = esc.q_of(combine.input)
    x = np.random.default_rng(seed).choice([q.low, q.high], (64, 3, 3, 4)).astype(q.dtype)
    ic = coeff_combine(x, combine.coefficients.array, shift, bits)
    acc = basis_conv2d(ic, op.basis.array, (1, 1), (1, 1, 1, 1))
    assert (acc >= low).all() and (acc <= high).all()


def test_bias_counts():
    graph = Graph(2, 2, 1)
    y = graph.conv(graph.x, 1, (1, 1), pads=(0, 0, 0, 0))
    module = graph.module(y)
    legalize(module)
    op = next(o for o in module.walk() if isinstance(o, esc.RequantizeOp))
    op.properties["bias"] = DenseAttr.of(np.array([2**31 - 1], np.int32))
    with pytest.raises(UserError, match="accumulator of channel 0 may reach 214"):
        legalize(module)


def test_a_wide_sum_may_overflow():
    graph = Graph(1, 1, 65535)
    op = esc.Conv2dOp(graph.x, np.full((2, 1, 1, 65535), -128, np.int8), (1, 1), (0, 0, 0, 0))
    y = graph.requantize(graph.append(op), True)
    y = graph.conv(y, 2, (1, 1), pads=(0, 0, 0, 0))
    assert int(op.accumulator_bounds[1][0]) == 128 * 128 * 65535
    legalize(graph.module(y))
    op.properties["weight"] = DenseAttr.of(np.full((2, 1, 1, 65535), 127, np.int8))
    graph = Graph(1, 1, 65535, signed=False)
    op = esc.Conv2dOp(graph.x, np.full((2, 1, 1, 65535), -128, np.int8), (1, 1), (0, 0, 0, 0))
    y = graph.requantize(graph.append(op), True)
    module = graph.module(y)
    for r in module.walk():
        if isinstance(r, esc.RequantizeOp):
            r.properties["bias"] = DenseAttr.of(np.full(2, -(2**30), np.int32))
    with pytest.raises(UserError, match="requires at most 2147483647"):
        legalize(module)


def test_all_offenders_at_once():
    graph = Graph(4, 4, 3)
    y = graph.decomposed(graph.x, 2, 2, ic_bits=12)
    y = graph.pool(y, False, (1, 1), (256, 256))
    y = graph.slice(y, (-40000, 0, 0), (1, 300), (1, 1, 2))
    with pytest.raises(UserError) as caught:
        legalize(graph.module(y, softmax=True))
    causes = "\n".join(caught.value.causes)
    assert "(coeff_combine): ic_bits=12; requires 16 of target 'esc1'" in causes
    assert "strides=[256, 256]; requires at most 255" in causes
    assert "strides=[1, 300]; requires at most 255" in causes
    assert "offset -40000; requires [-32768, 32767]" in causes
    assert len(caught.value.causes) == 4


def test_pieces_must_fit_the_scratchpads():
    graph = Graph(120, 120, 64)
    y = graph.pool(graph.x, True, (120, 120), (1, 1), (1, 1, 1, 1))
    with pytest.raises(UserError, match=r"input of one window: 921600 bytes; requires at most 131072"):
        legalize(graph.module(y))


def test_windows_in_parts_need_no_scratchpad_of_their_size():
    graph = Graph(120, 120, 64)
    average = graph.pool(graph.x, True, (120, 120), (1, 1))
    largest = graph.pool(graph.x, False, (120, 120), (1, 1))
    legalize(graph.module(average, largest, graph.conv(graph.x, 8, (40, 40))))


def test_accumulators_are_requantised_once():
    graph = Graph(2, 2, 2)
    y = graph.conv(graph.x, 2)
    assert isinstance(y.owner, esc.RequantizeOp)
    acc = y.owner.input
    graph.add(graph.requantize(acc, False), y, False)
    with pytest.raises(UserError, match="its result has 2 uses; requires exactly one"):
        legalize(graph.module(y))


def test_intermediate_width_follows_the_target(tmp_path):
    graph = Graph(4, 4, 3)
    module = graph.module(graph.decomposed(graph.x, 2, 2))
    legalize(module)
    file = tmp_path / "narrow.toml"
    file.write_text('base = "esc1"\nname = "narrow"\n[array]\nic_bits = 12\n')
    with pytest.raises(UserError, match="requires 12 of target 'narrow'"):
        legalize(module, str(file))
    for op in module.walk():
        if isinstance(op, CoeffCombineOp):
            op.properties["ic_bits"] = IntegerAttr(12, i64)
    legalize(module, str(file))
