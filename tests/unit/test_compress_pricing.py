"""The price of a non-zero coefficient, what the rates of a scheme mean, and sensitivities of layers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects import builtin, func
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Block, Region

from dialects import esc
from dialects.blob import DenseAttr
from escc.compress.decompose import Settings, decompose
from escc.compress.metric import Metric
from escc.compress.price import Cost
from escc.compress.pricing import bytes_of_nonzero, decompose_priced, energy_of
from escc.compress.schemes import Prices
from escc.schemes.auto import auto
from isa.packing import best
from isa.reference import fixed_point
from isa.target import load_target
from passes.analysis.sensitivity import image_count, sensitivities
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.ternary_basis import TernaryBasis

QUICK = Settings(starts=1, trial_rounds=2, rounds=5)


def code_bytes(p: float) -> float:
    """Bytes a coefficient that an ideal code takes at density p."""
    return (-p * math.log2(p) - (1 - p) * math.log2(1 - p) + p) / 8


@given(st.floats(0.001, 0.499))
def test_a_nonzero_costs_what_it_adds_to_the_code(p: float) -> None:
    h = 1e-6
    assert bytes_of_nonzero(p) == pytest.approx((code_bytes(p + h) - code_bytes(p - h)) / (2 * h), rel=1e-4)


def test_a_nonzero_always_costs_its_sign() -> None:
    assert bytes_of_nonzero(0.9) == bytes_of_nonzero(0.5) == 1 / 8
    assert bytes_of_nonzero(0.0) > bytes_of_nonzero(0.01) > bytes_of_nonzero(0.3)


def problem(seed: int, k: int = 12, c: int = 10) -> tuple[np.ndarray, Metric]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((400, 9 * c)) @ (np.eye(9 * c) + 0.3 * rng.standard_normal((9 * c, 9 * c)))
    return rng.standard_normal((k, 3, 3, c)), Metric.of_channels(x.T @ x / len(x), 9)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99))
def test_bytes_fall_and_errors_rise_with_the_price(seed: int) -> None:
    w, h = problem(seed)
    fits = [decompose_priced(w, h, 9, price, QUICK) for price in (0.0, 2e-3, 2e-2)]
    sizes = [len(best(f.t)[1]) for f in fits]
    errors = [f.relative_error for f in fits]
    assert sizes[0] > sizes[1] > sizes[2] and errors[0] < errors[1] < errors[2]
    assert fits[0].energy == pytest.approx(energy_of(w, h))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 99), st.floats(1e-4, 1e-2))
def test_the_objective_with_a_price_never_rises(seed: int, price: float) -> None:
    w, h = problem(seed)
    fit = decompose(w, h, 7, replace(QUICK, price=price * energy_of(w, h)))
    assert all(b <= a * (1 + 1e-9) for a, b in zip(fit.history, fit.history[1:], strict=False))
    paid = fit.error + price * energy_of(w, h) * np.count_nonzero(fit.t)
    assert paid == pytest.approx(fit.history[-1], rel=1e-6)


def layer(weights: np.ndarray, sensitivity: float = 1.0) -> ConvLayer:
    k, _, _, c = weights.shape
    return ConvLayer(
        "conv", weights, (1, 1), (8, 8, c), (8, 8, k), 0.5, None, True, load_target("esc1"), lambda: sensitivity
    )


def test_rates_are_shared_out_over_the_network() -> None:
    one = layer(np.ones((4, 3, 3, 8)))
    alone = Prices.of(one, SchemeOptions(byte_price=0.5))
    assert alone.byte == pytest.approx(0.5 / (4 * 9 * 8)) and alone.cycle == 0
    part = Prices.of(one, SchemeOptions(byte_price=0.5, cycle_price=0.1, network_bytes=1000, network_macs=960_000))
    assert part.byte == pytest.approx(0.5e-3) and part.cycle == pytest.approx(1e-4)
    assert part.objective(one, 0.2, Cost(100, 10.0)) == pytest.approx(0.2 + 0.05 + 0.001)


def test_sensitive_layers_are_compressed_less() -> None:
    w = np.random.default_rng(3).standard_normal((32, 3, 3, 32))
    options = SchemeOptions(byte_price=0.5)
    errors = []
    for sensitivity in (0.2, 1.0, 5.0):
        answer = auto(layer(w, sensitivity), options)
        errors.append(0.0 if answer is None else answer.relative_error)
    assert errors[0] > errors[1] > errors[2]


def test_without_a_price_nothing_is_lost_and_at_a_high_one_nothing_is_left() -> None:
    w = np.random.default_rng(4).standard_normal((16, 3, 3, 16))
    assert auto(layer(w), SchemeOptions(byte_price=0.0)) is None
    answer = auto(layer(w), SchemeOptions(byte_price=1e3))
    assert isinstance(answer, TernaryBasis) and not answer.coefficients.any()


def chain(first: np.ndarray, second: np.ndarray) -> tuple[Block, builtin.ModuleOp, list[esc.Conv2dOp]]:
    """Two 1x1 convolutions in a row."""
    c = first.shape[3]
    block = Block(arg_types=[TensorType(f32, (1, c, 4, 4))])
    start = esc.QuantizeOp(block.args[0], esc.q_tensor((1, 4, 4, c), True, 0.02))
    block.add_op(start)
    value, convs = start.output, []
    for w in (first, second):
        conv = esc.Conv2dOp(value, w, (1, 1), (0, 0, 0, 0))
        mult, shift = fixed_point(np.full(len(w), 1.0 / (40 * math.sqrt(w[0].size))))
        result = esc.q_tensor(esc.shape_of(conv.output), True, 0.02)
        requantize = esc.RequantizeOp(conv.output, np.zeros(len(w)), mult, shift, -128, 127, result)
        block.add_ops([conv, requantize])
        value = requantize.output
        convs.append(conv)
    out = esc.DequantizeOp(value, TensorType(f32, (1, len(second), 4, 4)))
    block.add_ops([out, func.ReturnOp(out.output)])
    main = func.FuncOp("main", ((block.args[0].type,), (out.output.type,)), Region(block))
    module = builtin.ModuleOp([main])
    module.verify()
    return block, module, convs


def test_the_last_layer_passes_its_errors_on_and_unread_channels_do_not_count() -> None:
    rng = np.random.default_rng(5)
    first = rng.integers(-100, 101, (16, 1, 1, 8)).astype(np.int8)
    second = rng.integers(-100, 101, (10, 1, 1, 16)).astype(np.int8)
    x = [rng.standard_normal((32, 8, 4, 4)).astype(np.float32)]
    block, _module, convs = chain(first, second)
    found = sensitivities(block, x, 0)
    assert found[convs[1]] == pytest.approx(1.0, rel=0.1)  # its relative error is that of the network
    assert sensitivities(block, x, 0) == found
    second[:, :, :, 8:] = 0
    half, _keep, convs = chain(first, second)
    assert sensitivities(half, x, 0)[convs[0]] < 1.5 * found[next(iter(found))]
    second[:] = 0
    second[:, :, :, 0] = 1
    first[1:] = 0
    nothing, _also, convs = chain(first, second)
    assert sensitivities(nothing, x, 0)[convs[0]] > 0


def test_a_mean_error_does_not_count() -> None:
    """Guards that sensitivities leave out the mean error of a channel, which compression corrects.

    A constant added to all inputs, and taken off again by the biases, changes nothing but mean errors.
    """
    rng = np.random.default_rng(7)
    first = rng.integers(-100, 101, (16, 1, 1, 8)).astype(np.int8)
    second = rng.integers(-100, 101, (10, 1, 1, 16)).astype(np.int8)
    steps, offset = rng.integers(-20, 21, (32, 8, 4, 4)), 90
    found: list[list[float]] = []
    for shift in (0, offset):
        block, _module, convs = chain(first, second)
        requantize = next(iter(convs[0].output.uses)).operation
        assert isinstance(requantize, esc.RequantizeOp)
        requantize.bias = DenseAttr.of((-shift * first.astype(np.int32).sum(axis=(1, 2, 3))).astype(np.int32))
        measured = sensitivities(block, [((steps + shift) * np.float32(0.02)).astype(np.float32)], 0)
        found.append([measured[conv] for conv in convs])
    assert found[1] == pytest.approx(found[0], rel=1e-3)


def test_large_networks_are_measured_on_few_images() -> None:
    rng = np.random.default_rng(6)
    small, _module, _ = chain(
        rng.integers(-9, 9, (8, 1, 1, 8)).astype(np.int8), rng.integers(-9, 9, (8, 1, 1, 8)).astype(np.int8)
    )
    assert image_count(list(small.ops)) == 128
