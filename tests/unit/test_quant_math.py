"""Ranges, weights and fixed-point parameters of the quantisation, without any IR."""

from __future__ import annotations

import math
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialects.scalar_functions import CLIP, ELU, HARD_SIGMOID, HARD_SWISH, LEAKY_RELU, RELU, SIGMOID, TANH
from isa.arrays import Input
from isa.reference import add, avg_pool, lookup, pool_counts
from passes.math.activation_quant import (
    Storage,
    addition,
    average_multipliers,
    changing_interval,
    identity,
    lookup_table,
    reexpress,
)
from passes.math.calibration import Histogram, choose_scale, load_inputs, synthetic_inputs
from passes.math.weight_quant import corrected_bias, quantize_conv, weight_scales


def rng() -> np.random.Generator:
    """The same numbers in every test, whichever ran before."""
    return np.random.default_rng(0)


def histogram(*batches):
    h = Histogram()
    for b in batches:
        h.add(np.asarray(b, np.float32))
    return h


class TestRanges:
    def test_extremes_and_total_survive_growth(self):
        x = rng().standard_normal((8, 100)).astype(np.float32)
        h = histogram(x[:4] * 1e-3, x[4:] * 1e3)
        assert h.low == pytest.approx(float(x[4:].min() * 1e3)) and h.high == pytest.approx(float(x[4:].max() * 1e3))
        values, counts = h.points()
        assert counts.sum() == 800
        assert (values * counts).sum() == pytest.approx(float(x[:4].sum() * 1e-3 + x[4:].sum() * 1e3), rel=1e-4)

    def test_big_tensors_are_sampled_evenly(self):
        x = np.zeros((1, 1000, 15, 15), np.float32)  # a step of 15 would see one column only
        x[..., 7] = 1.0
        values, counts = histogram(x).points()
        assert counts[values == 1].sum() / counts.sum() == pytest.approx(1 / 15, rel=0.1)

    def test_integers_up_to_255_get_scale_1(self):
        x = rng().integers(0, 256, (4, 500)).astype(np.float32)
        x[0, 0] = 255
        for method in ("mse", "minmax"):
            assert histogram(x).scale(False, method, 99) == pytest.approx(1.0)

    def test_mse_is_no_worse_than_minmax(self):
        x = rng().laplace(size=(40, 10_000))
        h = histogram(x)

        def error(scale):
            return float(((np.clip(np.rint(x / scale), -128, 127) * scale - x) ** 2).mean())

        assert error(h.scale(True, "mse", 0)) < 0.95 * error(h.scale(True, "minmax", 0))

    @pytest.mark.parametrize("signed", [False, True])
    def test_mse_clips_at_most_one_value_in_a_hundred_thousand(self, signed):
        x = rng().laplace(size=(40, 10_000))
        x = x if signed else np.abs(x)
        x[:, ::3] = 0
        few, many = histogram(x[:9]), histogram(x)
        assert few.scale(signed, "mse", 0) == few.scale(signed, "minmax", 0)
        scale = many.scale(signed, "mse", 0)
        assert scale < 0.95 * many.scale(signed, "minmax", 0)
        assert 0 < np.count_nonzero(np.rint(np.abs(x) / scale) > (128 if signed else 255)) <= x.size / 100_000

    def test_percentile_ignores_zeros_and_outliers(self):
        x = np.zeros((1, 100_00))
        x[0, :1000] = np.linspace(0.001, 1, 1000)
        x[0, 1000] = 1000
        assert histogram(x).scale(False, "percentile", 99.0) * 255 == pytest.approx(0.99, abs=0.3)
        assert histogram(x).scale(False, "percentile", 100.0) * 255 == pytest.approx(1000)

    def test_nothing_but_zeros(self):
        assert histogram(np.zeros((2, 3))).scale(True, "mse", 99) == 1.0

    def test_negative_extreme_uses_minus_128(self):
        assert choose_scale(np.array([-1.0]), np.array([1]), -1.0, 0.2, True, "minmax", 0) == 1 / 128

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, bad):
        with pytest.raises(ValueError, match="not finite"):
            histogram(np.array([[1.0, bad]]))


class TestInputs:
    def save(self, folder, **arrays):
        path = folder / "c.npz"
        np.savez(path, **arrays)
        return path

    def test_rows_are_chosen_by_seed_and_keep_the_first(self, tmp_path):
        x = np.arange(100, dtype=np.float32).reshape(50, 2, 1, 1)
        path, inputs = self.save(tmp_path, x=x), [Input("in", (2, 1, 1))]
        (a,) = load_inputs(path, inputs, 10, 3)
        (b,) = load_inputs(path, inputs, 10, 3)
        assert (a == b).all() and len(a) == 10 and (a[0] == x[0]).all() and (np.diff(a[:, 0, 0, 0]) > 0).all()
        assert len(load_inputs(path, inputs, 99, 0)[0]) == 50
        assert len(load_inputs(path, inputs, 1, 0)[0]) == 1

    def test_several_inputs_become_float32(self, tmp_path):
        path = self.save(tmp_path, a=np.ones((2, 3)), b=np.ones((2, 4), np.uint8))
        a, b = load_inputs(path, [Input("a", (3,)), Input("b", (4,))], 8, 0)
        assert a.shape == (2, 3) and b.shape == (2, 4) and a.dtype == b.dtype == np.float32

    def test_inputs_that_are_all_zero_are_worth_a_warning(self, tmp_path):
        path = self.save(tmp_path, a=np.zeros((2, 3)), b=np.eye(2, 4))
        with pytest.warns(UserWarning, match="all 2 calibration samples of input 'a' are 0") as seen:
            load_inputs(path, [Input("a", (3,)), Input("b", (4,))], 8, 0)
        assert len(seen) == 1

    def test_synthetic_input_warns_and_is_seeded(self):
        inputs = [Input("x", (3, 8, 8))]
        with pytest.warns(UserWarning, match="synthetic"):
            (a,) = load_inputs(None, inputs, 64, 5)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (b,) = load_inputs(None, inputs, 64, 5)
            (c,) = load_inputs(None, inputs, 64, 6)
        assert (a == b).all() and (a != c).any() and np.abs(a).max() <= 2

    def test_of_large_inputs_few_are_made_up(self):
        (a,) = synthetic_inputs([Input("x", (1, 2048, 2048))], 64, 0)
        assert len(a) == 4


class TestWeights:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**16), st.integers(1, 127), st.sampled_from(["mse", "minmax"]))
    def test_integer_grids_are_found(self, seed, levels, method):
        rng = np.random.default_rng(seed)
        q = rng.integers(-levels, levels + 1, (4, 3, 3, 5))
        q[:, 0, 0, 0] = levels
        scale = rng.uniform(1e-4, 10, 4)
        weight = (q * scale[:, None, None, None]).astype(np.float32)
        result = quantize_conv(weight, np.zeros(4), 1.0, 255, weight_scales(weight, method))
        assert result.represents(weight, 1.0)
        np.testing.assert_allclose(result.weight * result.scale[:, None, None, None], weight, rtol=1e-5, atol=1e-9)

    def test_mse_is_no_worse_than_minmax(self):
        weight = rng().uniform(-1, 1, (8, 3, 3, 512))
        weight[:4, 0, 0, 0] = 1.02  # one value a little off the others: clipping it costs less than it saves

        def error(method):
            r = quantize_conv(weight, np.zeros(8), 1.0, 255, weight_scales(weight, method))
            return ((r.weight * r.scale[:, None, None, None] - weight) ** 2).sum(axis=(1, 2, 3))

        assert (error("mse") <= error("minmax") + 1e-12).all() and error("mse").sum() < error("minmax").sum()

    def test_dead_channels_keep_their_bias(self):
        weight = np.zeros((2, 1, 1, 3))
        result = quantize_conv(weight, np.array([5.0, 0.0]), 0.1, 255, weight_scales(weight, "mse"))
        assert result.bias[0] * result.scale[0] == pytest.approx(5.0) and result.bias[1] == 0
        assert (result.scale > 0).all()

    def test_a_big_bias_raises_the_scale(self):
        weight = np.full((1, 1, 1, 2), 1e-9)
        result = quantize_conv(weight, np.array([1e6]), 1e-3, 255, weight_scales(weight, "mse"))
        assert result.bias[0] * result.scale[0] == pytest.approx(1e6) and abs(int(result.bias[0])) < 2**30

    def test_wide_sums_raise_the_scale(self):
        weight = np.ones((1, 1, 1, 100_000))
        result = quantize_conv(weight, np.array([3.0]), 1.0, 255, weight_scales(weight, "mse"))
        assert int(result.weight.astype(np.int64).sum()) * 255 + int(result.bias[0]) < 2**31
        assert result.weight[0, 0, 0, 0] * result.scale[0] == pytest.approx(1.0, rel=0.02)

    def test_corrections_cannot_overflow(self):
        weight = np.full((1, 1, 1, 4), 0.5)
        result = quantize_conv(weight, np.array([0.0]), 1.0, 255, weight_scales(weight, "mse"))
        room = 2**31 - 1 - 4 * 127 * 255
        assert corrected_bias(result, np.array([1e12]), 255)[0] <= room
        assert corrected_bias(result, np.array([-1e12]), 255)[0] >= -room
        assert corrected_bias(result, np.array([2.0]), 255)[0] == round(2.0 / result.scale[0])


class TestStorage:
    @pytest.mark.parametrize(
        ("limits", "zero", "non_negative", "want"),
        [
            ((-128, 127), -128, False, Storage(False, 0.5, 0, 255)),
            ((-128, 127), 0, False, Storage(True, 0.5, -128, 127)),
            ((0, 255), 0, False, Storage(False, 0.5, 0, 255)),
            ((0, 255), 128, False, Storage(True, 0.5, -128, 127)),
            ((-128, 127), -100, True, Storage(False, 0.5, 0, 227)),
        ],
    )
    def test_exact_zero_points(self, limits, zero, non_negative, want):
        low, high = limits
        assert reexpress(low, high, zero, 0.5, non_negative) == (want, True)

    @settings(max_examples=60, deadline=None)
    @given(st.integers(-128, 127), st.floats(1e-3, 10))
    def test_same_range(self, zero, scale):
        storage, exact = reexpress(-128, 127, zero, scale, False)
        low, high = (-128 - zero) * scale, (127 - zero) * scale
        assert exact == (zero in (-128, 0))
        assert storage.low * storage.scale == pytest.approx(low, abs=storage.scale / 2 + 1e-9)
        assert storage.high * storage.scale == pytest.approx(high, abs=storage.scale / 2 + 1e-9)

    def test_clamps_round_and_stay_inside(self):
        storage = Storage(True, 0.1, -100, 127)
        assert storage.clamp(-0.26, 6.0) == (-3, 60)
        assert storage.clamp(-math.inf, math.inf) == (-100, 127)
        assert storage.clamp(-50, 50) == (-100, 127)


class TestParameters:
    def test_tables(self):
        source, target = Storage.full(True, 0.1), Storage(False, 0.01, 0, 90)
        table = lookup_table(lambda x: 1 / (1 + np.exp(-x)), source, target)
        assert table.dtype == np.uint8 and table.shape == (256,)
        assert table[0] == 50 and table[127] == 90 and table[np.uint8(np.int8(-128))] == 0
        back = lookup_table(identity, source, source)
        x = np.arange(-128, 128).astype(np.int8)
        assert (lookup(x, back) == x).all()

    @settings(max_examples=60, deadline=None)
    @given(st.floats(1e-4, 1e3), st.floats(1e-4, 1e3), st.floats(1e-2, 1e2), st.integers(0, 2**16))
    def test_addition_is_correct_to_rounding(self, scale_a, scale_b, ratio, seed):
        target = Storage.full(True, max(scale_a, scale_b) * ratio)
        p = addition(scale_a, scale_b, target, -128, 127)
        rng = np.random.default_rng(seed)
        a, b = rng.integers(-128, 128, (2, 1, 1, 1, 50)).astype(np.int8)
        want = np.clip((a * scale_a + b * scale_b) / target.scale, -128, 127)
        assert np.abs(add(a, b, p) - want).max() <= 0.5 + 1e-6

    def test_averages_are_correct_to_rounding(self):
        x = rng().integers(0, 256, (2, 7, 7, 3)).astype(np.uint8)
        counts = pool_counts((7, 7), (3, 3), (2, 2), (1, 1, 1, 1), False, (4, 4))
        mult, count0, shift = average_multipliers(counts, 0.5, 0.4)
        assert count0 == 4 and len(mult) == 6
        got = avg_pool(x, (3, 3), (2, 2), (1, 1, 1, 1), False, (4, 4), mult, count0, shift, 0, 255, False)
        padded = np.pad(x.astype(float), ((0, 0), (1, 1), (1, 1), (0, 0)))
        for y in range(4):
            for column in range(4):
                window = padded[:, 2 * y : 2 * y + 3, 2 * column : 2 * column + 3]
                want = np.clip(window.sum(axis=(1, 2)) / counts[y, column] * 0.5 / 0.4, 0, 255)
                assert np.abs(got[:, y, column] - want).max() <= 0.5 + 1e-6


@settings(max_examples=60, deadline=None)
@given(
    low=st.floats(-1e4, -1e-3),
    high=st.floats(1e-3, 1e4),
    steps=st.lists(st.floats(1e-4, 1.0), min_size=1, max_size=3),
    seed=st.integers(0, 1 << 30),
)
def test_functions_are_constant_beyond_their_changing_interval(
    low: float, high: float, steps: list[float], seed: int
) -> None:
    random = np.random.default_rng(seed)
    known = [
        RELU.compute,
        partial(CLIP.compute, min=-0.3, max=2.0),
        partial(CLIP.compute, min=1.0, max=2.0),
        partial(LEAKY_RELU.compute, alpha=0.1),
        partial(ELU.compute, alpha=1.5),
        SIGMOID.compute,
        TANH.compute,
        partial(HARD_SIGMOID.compute, alpha=0.2, beta=0.5),
        HARD_SWISH.compute,
    ]
    functions = [(known[i], step) for i, step in zip(random.integers(0, len(known), len(steps)), steps, strict=True)]
    start, stop = changing_interval(functions, low, high)
    assert low <= start < stop <= high
    x = np.concatenate([random.uniform(low, high, 2000), random.normal(0, 2, 2000).clip(low, high)])
    for function, step in functions:
        assert np.abs(function(x) - function(np.clip(x, start, stop))).max() <= step / 2 * (1 + 1e-6)


def test_the_changing_interval_of_a_narrow_clip_in_a_wide_range_is_found() -> None:
    start, stop = changing_interval([(partial(CLIP.compute, min=-1, max=1), 0.01)], -1e6, 1e6)
    assert (start, stop) == pytest.approx((-1, 1), abs=1e-12)
    assert changing_interval([(RELU.compute, 1.0)], -5.0, -1.0) == (-5.0, -1.0)
    assert changing_interval([(TANH.compute, 0.01), (RELU.compute, 0.01)], -9.0, 9.0)[1] == 9.0
