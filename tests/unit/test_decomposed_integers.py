"""Integers of decomposed convolutions: within a step of the real numbers whatever the scales, and constant channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from sample_models import constant, model
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from isa.levels import LEVELS, magnitudes
from isa.reference import INT32_HIGH, basis_conv2d, coeff_combine, fixed_point, requantize
from passes.decompose_conv import DecomposeConvPass
from passes.decomposition.ternary_basis import BIAS_STEP, TernaryBasis
from passes.math.ternary import accumulator_range, intermediate_range, intermediate_shift
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.quantize import QuantizePass

Array = np.ndarray


def outputs(answer: TernaryBasis, bias: Array, x: Array, ic_bits: int = 16) -> tuple[Array, Array]:
    """Output integers int8 of inputs [N, C], and the real numbers in output steps that they stand for."""
    n = answer.to_integers(lambda _: bias, -128, 127, ic_bits)
    assert isinstance(n.form, TernaryBasis)
    ic = coeff_combine(x[:, None, None], n.form.coefficients, n.ic_shift, ic_bits)
    acc = basis_conv2d(ic, answer.basis, (1, 1), (0, 0, 0, 0))
    mult, shift = fixed_point(n.factor)
    q = requantize(acc, n.bias, mult, shift, -128, 127, True)[:, 0, 0]
    bottom, top = accumulator_range(n.form.coefficients, answer.basis, -128, 127, n.ic_shift)
    assert (np.maximum(top, -bottom) + np.abs(n.bias)).max() <= INT32_HIGH
    return q, x.astype(np.float64) @ answer.weights[:, 0, 0].T + bias


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    exponents=st.lists(st.integers(-90, 6), min_size=1, max_size=6),
    largest=st.integers(-40, 30),
    level=st.sampled_from(LEVELS),
)
def test_any_scale_and_bias_give_the_real_output(seed: int, exponents: list[int], largest: int, level: int) -> None:
    rng = np.random.default_rng(seed)
    k, v, c = len(exponents), 3, 5
    scale = np.ldexp(rng.random(k), exponents) * (rng.random(k) < 0.9)
    t = rng.integers(-1, 2, (k, v, c)).astype(np.int8) * rng.choice(np.array(magnitudes(level), np.int8), (k, v, c))
    answer = TernaryBasis(t, rng.integers(-127, 128, (v, 1, 1)).astype(np.int8), scale)
    bias = rng.standard_normal(k) * 2.0**largest
    found, real = outputs(answer, bias, rng.integers(-128, 128, (40, c)).astype(np.int8))
    # The bias is a multiple of the factor, which may be more than a step of the output.
    assert (np.abs(found - np.clip(real, -128, 127)) <= 1 + scale / 2).all()


def test_a_shift_of_the_intermediate_values_is_part_of_the_factor() -> None:
    t = np.ones((2, 1, 600), np.int8)
    t[1] = 0
    answer = TernaryBasis(t, np.full((1, 1, 1), 127, np.int8), np.array([2.0**-17, 0.5]))
    n = answer.to_integers(lambda _: np.array([3.0, -7.25]), -128, 127, 16)
    assert n.ic_shift == 2
    assert n.factor.tolist() == [2.0**-15, BIAS_STEP]
    assert (n.bias * n.factor).tolist() == [3.0, -7.25]


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    channels=st.integers(1, 700),
    bases=st.integers(1, 12),
    level=st.sampled_from(LEVELS),
    signed=st.booleans(),
)
def test_the_worst_inputs_reach_the_proved_bounds_and_no_further(
    seed: int, channels: int, bases: int, level: int, signed: bool
) -> None:
    rng = np.random.default_rng(seed)
    t = rng.choice(np.array([0, *magnitudes(level)], np.int8), (2, bases, channels)) * rng.choice(
        np.array([-1, 1], np.int8), (2, bases, 1)
    )
    low, high = (-128, 127) if signed else (0, 255)
    basis = rng.integers(-127, 128, (bases, 1, 1)).astype(np.int8)
    shift = intermediate_shift(t, basis, low, high, 16)
    least, most = intermediate_range(t, low, high)
    x = np.array([[low] * channels, [high] * channels])[:, None, None].astype(np.int8 if signed else np.uint8)
    ic = coeff_combine(x, t, shift, 16)[:, 0, 0]
    exact = np.einsum("nc,kvc->nkv", x[:, 0, 0].astype(np.int64), t.astype(np.int64))
    # The signs of a row are equal, so that the two inputs are the worst ones.
    np.testing.assert_array_equal(exact.min(axis=0), np.minimum(least, exact.max(axis=0)))
    np.testing.assert_array_equal(exact.max(axis=0), most)
    np.testing.assert_array_equal(ic, (exact + ((1 << shift) >> 1)) >> shift)  # nothing is saturated
    bottom, top = accumulator_range(t, basis, low, high, shift)
    acc = (ic.astype(np.int64) * basis[:, 0, 0].astype(np.int64)).sum(axis=2)
    assert (bottom <= acc.min(axis=0)).all() and (acc.max(axis=0) <= top).all() and top.max() <= INT32_HIGH


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e-17, 1e-12])
@pytest.mark.parametrize("bias", [0.0, 1.0, -3.25, 100.0, 1e5])
def test_a_channel_of_vanishing_scale_has_no_coefficients(scale: float, bias: float) -> None:
    answer = TernaryBasis(np.ones((1, 2, 4), np.int8), np.full((2, 3, 3), 100, np.int8), np.array([scale]))
    n = answer.to_integers(lambda _: np.array([bias]), 0, 255, 16)
    assert isinstance(n.form, TernaryBasis)
    assert not n.form.coefficients.any() and n.ic_shift == 0
    assert n.bias[0] * n.factor[0] == bias


def zero_filters(seed: int) -> bytes:
    """A convolution of which every second filter is 0 but for a bias, with Relu."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    weight[::2] = 0
    bias = (np.arange(8) / 7 - 0.4).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], name="c", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["y"], name="r"),
    ]
    return model(nodes, [constant("w", weight), constant("b", bias)])


@pytest.mark.parametrize("seed", range(3))
def test_filters_of_zeros_are_constant_after_escalate(tmp_path: Path, seed: int) -> None:
    x = np.random.default_rng(seed).standard_normal((8, 3, 8, 8)).astype(np.float32)
    calibration = str(tmp_path / "x.npz")
    np.savez(calibration, x=x)
    module: ModuleOp = import_model(zero_filters(seed))
    context = Context()
    OnnxCanonicalizePass().apply(context, module)
    QuantizePass(calibration=calibration).apply(context, module)
    DecomposeConvPass(scheme="escalate", basis=5, calibration=calibration).apply(context, module)
    assert any(isinstance(op, CoeffCombineOp) for op in module.walk())
    (y,) = run_module(module, [3 * x])
    step = next(esc.q_of(op.output).scale for op in module.walk() if isinstance(op, esc.RequantizeOp))
    wanted = np.maximum(np.arange(8) / 7 - 0.4, 0)
    assert np.abs(y[:, ::2] - wanted[::2, None, None]).max() <= 0.51 * step
    assert (np.ptp(y[:, ::2], axis=(0, 2, 3)) == 0).all()


@pytest.mark.parametrize(("ic_shift", "ic_bits"), [(0, 16), (1, 16), (0, 8)])
def test_both_stages_at_once_give_what_they_give_one_by_one(ic_shift: int, ic_bits: int) -> None:
    """As one convolution where that is exact; 8 bits saturate, and a shift rounds."""
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (2, 5, 6, 24)).astype(np.uint8)
    t = rng.integers(-1, 2, (4, 3, 24)).astype(np.int8)
    b = rng.integers(-100, 101, (3, 3, 3)).astype(np.int8)
    block = Block(arg_types=[esc.q_tensor((1, 5, 6, 24), False, 1.0)])
    first = CoeffCombineOp(block.args[0], t, ic_shift, ic_bits)
    second = BasisConv2dOp(first.output, b, (1, 1), (1, 1, 1, 1))
    wanted = basis_conv2d(coeff_combine(x, t, ic_shift, ic_bits), b, (1, 1), (1, 1, 1, 1))
    assert np.array_equal(second.accumulate(x), wanted)
