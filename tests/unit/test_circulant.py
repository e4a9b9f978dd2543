"""The scheme `circulant` and its fit in the metric of the data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.compress.fit_circulant import fit_circulant
from escc.compress.schemes import tiled
from escc.schemes.circulant import SCHEME as circulant
from isa.circulant import (
    BACK_BITS,
    FAST_BLOCKS,
    expand,
    fast_products,
    returned,
    summed,
    transform_additions,
    transformed,
)
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.circulant import Circulant, FastCirculant
from passes.decomposition.scheme import ConvLayer, SchemeOptions, check, own_options


def layer(weights: np.ndarray) -> ConvLayer:
    k, r, _, c = weights.shape
    pad = r // 2
    return ConvLayer(
        "conv", weights, (1, 1), (16, 16, c), (16, 16, k), 0.5, None, True, load_target("esc1"), pads=(pad, pad)
    )


def metric(seed: int, d: int) -> np.ndarray:
    a = np.random.default_rng(seed).standard_normal((d, 2 * d)) * np.geomspace(0.2, 3, d)[:, None]
    return a @ a.T / (2 * d) + 0.02 * np.eye(d)


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.integers(2, 5))
def test_sums_are_the_transpose_of_spreading(seed: int, k: int, c: int, block: int) -> None:
    random = np.random.default_rng(seed)
    w = random.standard_normal((k, 2, 1, c))
    v = random.standard_normal((-(-k // block), 2, 1, -(-c // block), block))
    assert (expand(v, 0, k, c) * w).sum() == pytest.approx((v * summed(w, block)).sum())


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 6), st.integers(0, 99))
def test_any_shape_is_fitted_and_reports_its_error(k: int, c: int, block: int, seed: int) -> None:
    w, h = np.random.default_rng(seed).standard_normal((k, 2, 1, c)), metric(seed, 2 * c)
    fit = fit_circulant(w, h, block)
    left = (w - fit.s[:, None, None, None] * expand(fit.values.astype(float), 0, k, c)).reshape(k, -1)
    energy = np.einsum("kd,de,ke->", w.reshape(k, -1), h, w.reshape(k, -1))
    assert fit.relative_error == pytest.approx(np.einsum("kd,de,ke->", left, h, left) / energy, rel=1e-6, abs=1e-12)
    assert fit.relative_error <= 1 and (fit.s > 0).all() and int(np.abs(fit.values.astype(int)).max()) <= 127


def test_circulant_weights_are_found_again() -> None:
    random = np.random.default_rng(1)
    w = random.uniform(0.5, 2, (16, 1, 1, 1)) * expand(random.standard_normal((4, 3, 3, 3, 4)), 0, 16, 10)
    assert fit_circulant(w, metric(1, 90), 4).relative_error < 1e-4


def test_the_metric_decides_what_matters() -> None:
    w, h = np.random.default_rng(2).standard_normal((16, 1, 1, 16)), metric(2, 16)
    aware, blind = fit_circulant(w, h, 2), fit_circulant(w, np.eye(16), 2)
    left = (w - blind.s[:, None, None, None] * expand(blind.values.astype(float), 0, 16, 16)).reshape(16, -1)
    energy = np.einsum("kd,de,ke->", w.reshape(16, -1), h, w.reshape(16, -1))
    assert aware.relative_error < 0.95 * np.einsum("kd,de,ke->", left, h, left) / energy


@pytest.mark.parametrize("block", [2, 3, 8])
def test_the_scheme_answers_blocks_as_asked_for(block: int) -> None:
    w = layer(np.random.default_rng(3).standard_normal((24, 3, 3, 20)))
    answer = circulant(w, SchemeOptions(own={"k": str(block)}))
    assert isinstance(answer, Circulant) and answer.values.shape[4] == block
    check(w, answer)
    assert answer.packed_bytes() < 1.3 * w.weights.size / block + 100
    assert circulant(layer(np.ones((24, 3, 3, 3))), SchemeOptions(own={"k": str(block)})) is None


def test_a_layer_that_int8_serves_better_stays_dense_where_bytes_have_a_price() -> None:
    w = layer(np.random.default_rng(3).standard_normal((24, 3, 3, 20)))
    assert circulant(w, SchemeOptions(byte_price=0.1)) is None
    assert circulant(w, SchemeOptions(byte_price=10.0)) is not None


def test_a_block_that_is_none_is_refused() -> None:
    for text in ("1", "17", "x"):
        with pytest.raises(UserError, match=f"k={text}: a block has from 2 to 16 channels"):
            circulant(layer(np.ones((8, 1, 1, 8))), SchemeOptions(own={"k": text}))


def test_a_layer_whose_output_channel_coef_does_not_hold_stays_dense() -> None:
    w = replace(layer(np.ones((4, 1, 1, 40000))), input_shape=(1, 1, 40000), output_shape=(1, 1, 4), moments=None)
    assert tiled(w, Circulant(np.ones((2, 1, 1, 20000, 2), np.int8), 40000, np.ones(4))) is None


@given(st.sampled_from(FAST_BLOCKS), st.integers(0, 999))
def test_fast_products_are_those_of_the_definition(block: int, seed: int) -> None:
    """Sums of products of several blocks become the very integers of the weights, whatever wraps around in 36 bits."""
    rng = np.random.default_rng(seed)
    values, x = rng.integers(-127, 128, (5, block)), rng.integers(-128, 256, (5, block))
    sums = (transformed(values) * transformed(x)).sum(axis=0)
    assert len(sums) == fast_products(block)
    want = sum(
        expand(v.reshape(1, 1, 1, 1, block), 0, block, block)[:, 0, 0] @ u for v, u in zip(values, x, strict=True)
    )
    np.testing.assert_array_equal(returned(sums, block), want)
    shift = np.int64(1) << BACK_BITS
    wrapped = returned(sums + shift * rng.integers(-3, 4, sums.shape), block)
    narrow = np.int64(1) << (BACK_BITS - block.bit_length() + 1)
    np.testing.assert_array_equal((wrapped - want) % narrow, np.zeros(block))
    assert narrow >= 1 << 32
    assert int(np.abs(transformed(np.full(block, 127) * np.where(np.arange(block) % 2, -1, 1))).max()) < 1 << 11


class _Counted:
    """A number that counts additions."""

    done = 0

    def __add__(self, _: object) -> _Counted:
        _Counted.done += 1
        return self

    __sub__ = __radd__ = __neg__ = __add__

    def __rshift__(self, _: object) -> _Counted:
        return self


@pytest.mark.parametrize("block", FAST_BLOCKS)
def test_additions_are_counted(block: int) -> None:
    _Counted.done = 0
    transformed(np.array([_Counted() for _ in range(block)], object))  # type: ignore[arg-type]
    assert _Counted.done == transform_additions(block)


def test_the_scheme_takes_the_products_that_take_fewer_cycles() -> None:
    w = layer(np.random.default_rng(3).standard_normal((64, 3, 3, 64)))
    found = {text: circulant(w, SchemeOptions(own={"k": "8", "products": text})) for text in ("plain", "fast")}
    assert isinstance(found["fast"], FastCirculant) and not isinstance(found["plain"], FastCirculant)
    assert isinstance(circulant(w, SchemeOptions(own={"k": "8"})), FastCirculant)
    assert not isinstance(circulant(w, SchemeOptions(own={"k": "2"})), FastCirculant)
    with pytest.raises(UserError, match="products=fast: blocks of 3 channels have no fast products"):
        own_options("circulant", circulant, ("k=3", "products=fast"), load_target("esc1"))
    with pytest.raises(UserError, match="products=some: requires one of cheaper, plain, fast"):
        circulant(w, SchemeOptions(own={"products": "some"}))
