"""Coefficients of magnitudes up to 4 give the integers of the NumPy reference at every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_onnx_pairs import PairShape, pair_module
from xdsl.utils.exceptions import VerifyException

from dialects.blob import DenseAttr
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from emulator.arithmetic import Decomposed, WeightMatrix, fold
from isa.levels import LEVELS, magnitudes
from isa.reference import coeff_combine, expanded

Array = np.ndarray[Any, np.dtype[Any]]


def coefficients(rng: np.random.Generator, shape: tuple[int, ...], level: int) -> Array:
    return rng.integers(-1, 2, shape).astype(np.int8) * rng.choice(np.array(magnitudes(level), np.int8), shape)


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 300)),
    level=st.sampled_from(LEVELS),
    shift=st.integers(0, 3),
    signed=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_the_coefficient_stage_in_plain_integers(
    shape: tuple[int, int, int], level: int, shift: int, signed: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    t = coefficients(rng, shape, level)
    x = rng.integers(-128, 128, (1, 2, 3, shape[2])) if signed else rng.integers(0, 256, (1, 2, 3, shape[2]))
    sums = np.einsum("nyxc,kvc->nyxkv", x, t.astype(np.int64))
    wanted = np.clip((sums + (1 << shift >> 1)) >> shift, -(1 << 15), (1 << 15) - 1)
    stored = x.astype(np.int8 if signed else np.uint8)
    np.testing.assert_array_equal(coeff_combine(stored, t, shift, 16), wanted)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 200)),
    level=st.sampled_from(LEVELS),
    signed=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_the_emulator_folds_both_stages_only_where_nothing_saturates(
    shape: tuple[int, int, int], level: int, signed: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    t, bases = coefficients(rng, shape, level), rng.integers(-128, 128, (shape[1], 4)).astype(np.int8)
    largest = 128 if signed else 255
    worst = int(np.abs(t).sum(axis=2, dtype=np.int64).max()) * largest
    folded = fold(t, bases, 0, 16, int(signed))
    if worst > 32767:
        assert isinstance(folded, Decomposed) and np.array_equal(folded.t, t.reshape(-1, shape[2]).T)
    else:
        weights = expanded(t, bases.reshape(-1, 2, 2)).reshape(shape[0], -1)
        assert isinstance(folded, WeightMatrix) and np.array_equal(folded.matrix.T, weights)


def test_sums_beyond_float32_are_exact() -> None:
    t = np.full((1, 1, 20000), 4, np.int8)
    folded = fold(t, np.ones((1, 1), np.int8), 12, 24, 0)
    assert isinstance(folded, Decomposed) and folded.t.dtype == np.float64
    assert fold(t[..., :16000], np.ones((1, 1), np.int8), 12, 24, 0).t.dtype == np.float32  # type: ignore[union-attr]


@pytest.mark.parametrize("level", LEVELS)
def test_operations_know_their_level_and_their_bounds(level: int) -> None:
    module, _ = pair_module(PairShape(9, 4, 4, 3, 5, (3, 3), level=level))
    first = next(op for op in module.walk() if isinstance(op, CoeffCombineOp))
    second = next(op for op in module.walk() if isinstance(op, BasisConv2dOp))
    assert first.level == second.coefficient_level == level
    t, b = first.coefficients.array.astype(np.int64), second.basis.array.astype(np.int64)
    low, high = -128, 127
    least = np.maximum(t, 0).sum(axis=2) * low + np.minimum(t, 0).sum(axis=2) * high
    most = np.maximum(t, 0).sum(axis=2) * high + np.minimum(t, 0).sum(axis=2) * low
    plus, minus = np.maximum(b, 0).sum(axis=(1, 2)), np.minimum(b, 0).sum(axis=(1, 2))
    bottom, top = second.accumulator_bounds
    np.testing.assert_array_equal(bottom, (least * plus + most * minus).sum(axis=1))
    np.testing.assert_array_equal(top, (most * plus + least * minus).sum(axis=1))
    first.coefficients = DenseAttr.of(np.where(t == level, 3, t).astype(np.int8))
    with pytest.raises(VerifyException, match="0 or of magnitude 1, 2 or 4, found 3"):
        module.verify()
