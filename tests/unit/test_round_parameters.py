"""round-parameters: deviations within the stated bounds, nothing moves twice, fewer bytes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tile_models import MAIN, Graph, lower
from xdsl.context import Context

from dialects import esc
from dialects.blob import DenseAttr
from dialects.eisa import to_program
from dialects.esc_base import AccumulatorOp
from dialects.interpreters.run import run_module
from isa.errors import UserError
from isa.parameters import pack_parameters
from isa.reference import INT32_HIGH, fixed_point
from passes.math.rounding import round_biases, round_multipliers
from passes.round_parameters import RoundParametersPass

FAST = settings(max_examples=300, deadline=None)
INT32 = st.integers(-(1 << 31), (1 << 31) - 1)


@FAST
@given(st.lists(st.tuples(st.integers(0, (1 << 31) - 1), st.integers(1, 62)), min_size=1), st.integers(1, 31))
def test_multipliers(values: list[tuple[int, int]], bits: int) -> None:
    mult, shift = (np.array(a) for a in zip(*values, strict=True))
    m, s = round_multipliers(mult, shift, bits)
    before, after = (np.ldexp(a.astype(float), -b.astype(int)) for a, b in ((mult, shift), (m, s)))
    assert (np.abs(after - before) <= before * 2.0**-bits * (1 + (shift == 1))).all()
    lowest = m & -m
    assert (m.astype(np.int64) < lowest.astype(np.int64) << bits)[m > 0].all() and (m >= 0).all() and (s >= 1).all()
    again = round_multipliers(m, s, bits)
    assert np.array_equal(again[0], m) and np.array_equal(again[1], s)


@FAST
@given(st.lists(st.tuples(INT32, st.integers(1, 62), st.integers(0, (1 << 31) - 1)), min_size=1), st.integers(0, 31))
def test_biases(values: list[tuple[int, int, int]], bits: int) -> None:
    bias, shift, more = (np.array(a) for a in zip(*values, strict=True))
    room = np.minimum(np.abs(bias) + more, (1 << 31) - 1)
    b = round_biases(bias, shift, bits, room)
    zeros = np.clip(shift - 31 - bits, 0, 30)
    assert not (b.astype(np.int64) & ((1 << zeros) - 1)).any()
    away = np.abs(b - bias)
    assert (away <= (1 << zeros)).all() and (np.abs(b.astype(np.int64)) <= np.maximum(room, np.abs(bias))).all()
    assert ((away <= (1 << zeros) / 2) | (np.abs(bias) + away > room)).all()
    assert np.array_equal(round_biases(b, shift, bits, room), b)


def test_parameters_of_a_network_pack_into_four_bytes_a_channel() -> None:
    random = np.random.default_rng(0)
    factor = np.exp(random.normal(-6, 0.5, 64))
    mult, shift = fixed_point(factor)
    bias = np.rint(random.normal(0, 40, 64) / factor).astype(np.int32)
    assert len(pack_parameters(bias, mult, shift)) > 6 * 64
    m, s = round_multipliers(mult, shift, 12)
    assert len(pack_parameters(round_biases(bias, s, 4, np.array([(1 << 31) - 1])), m, s)) < 4 * 64


def test_results_move_by_a_step_at_most() -> None:
    g = Graph(9, 9, 8)
    module = g.module(g.conv(g.x, 24))
    op = next(op for op in module.walk() if isinstance(op, esc.RequantizeOp))
    rounded = module.clone()
    RoundParametersPass().apply(Context(), rounded)
    rounded.verify()
    assert str(rounded) != str(module)
    x = [np.random.default_rng(0).integers(-128, 128, (4, 8, 9, 9)).astype(np.float32)]
    (before,), (after,) = run_module(module, x), run_module(rounded, x)
    assert np.abs(before - after).max() <= 1 and (before != after).mean() < 0.05
    assert op.bias.array.size == 24
    plain, packed = (
        len(to_program(lower(module, passes=passes)).rodata) for passes in (MAIN, ("round-parameters", *MAIN))
    )
    assert packed < plain


def test_accumulators_with_rounded_biases_still_fit() -> None:
    g = Graph(9, 9, 8)
    module = g.module(g.conv(g.x, 24))
    op = next(op for op in module.walk() if isinstance(op, esc.RequantizeOp))
    assert isinstance(op.input.owner, AccumulatorOp)
    low, high = op.input.owner.accumulator_bounds
    room = INT32_HIGH - np.maximum(high, -low)
    op.bias = DenseAttr.of(np.where(np.arange(24) % 2, room, -room).astype(np.int32))
    op.shift = DenseAttr.of(np.full(24, 60, np.uint8))
    RoundParametersPass().apply(Context(), module)
    rounded = op.bias.array.astype(np.int64)
    assert (rounded != 0).all() and (np.abs(rounded) <= room).all()


@pytest.mark.parametrize(("options", "name"), [({"multiplier_bits": 0}, "multiplier"), ({"bias_bits": 32}, "bias")])
def test_impossible_options(options: dict[str, int], name: str) -> None:
    with pytest.raises(UserError, match=f"round-parameters: {name}-bits must be in"):
        RoundParametersPass(**options).apply(Context(), Graph(4, 4, 1).module())
