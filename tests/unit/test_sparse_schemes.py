"""The schemes of sparse patterns: what they answer for a layer, and their options."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from test_kmeans import layer
from test_tile_equivalence import check as check_machine
from tile_models import Graph

from dialects.esc_gather import GatherConv2dOp
from isa.errors import UserError
from isa.gather import Banking, Gathering, bank_loads
from isa.target import load_target
from passes.decomposition.gather import Gathered
from passes.decomposition.scheme import SchemeOptions, check, load_scheme, own_options
from passes.math.moments import Moments

SCHEMES = ("unstructured", "gs", "bank-balanced", "block", "patdnn")


def weights(seed: int = 1, k: int = 32, c: int = 32, kernel: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((k, kernel, kernel, c))


def asked(**own: str) -> SchemeOptions:
    return SchemeOptions(own=own)


def answer(name: str, w: np.ndarray, options: SchemeOptions) -> Gathered:
    found = load_scheme(name)(layer(w), options)
    assert isinstance(found, Gathered)
    check(layer(w), found)
    return found


@pytest.mark.parametrize("name", SCHEMES)
def test_a_share_of_the_weights_goes_and_the_error_is_told(name: str) -> None:
    w = weights()
    some, most = (answer(name, w, asked(sparsity=text)) for text in ("0.6", "0.8"))
    assert some.density == pytest.approx(0.4, abs=0.03) and most.density == pytest.approx(0.2, abs=0.03)
    left = ((most.weights - w) ** 2).sum() / (w**2).sum()
    assert left == pytest.approx(most.relative_error, rel=0.01)
    assert some.relative_error < most.relative_error
    assert most.packed_bytes() < 0.7 * some.packed_bytes()


@pytest.mark.parametrize("name", SCHEMES)
def test_the_machine_computes_the_answer(name: str) -> None:
    form = answer(name, weights(k=20, c=10), asked(sparsity="0.7"))
    g = Graph(7, 9, 10, signed=False)
    sums = g.append(GatherConv2dOp(g.x, form.integers, (1, 1), (1, 1, 1, 1), form.banking))
    check_machine(g.module(g.requantize(sums, signed=True)), "esc1")


def test_fewer_rules_lose_less() -> None:
    w = weights(2)
    errors = [answer(name, w, asked(sparsity="0.7")).relative_error for name in ("unstructured", "gs", "block")]
    assert errors == sorted(errors) and errors[2] > 1.5 * errors[1]
    shapes = [answer("block", w, asked(sparsity="0.7", block=text)).relative_error for text in ("1x1", "2x1", "8x8")]
    assert shapes == sorted(shapes)


@pytest.mark.parametrize("orientation", ["vertical", "hybrid", "horizontal"])
def test_gs_has_no_conflict(orientation: str) -> None:
    w = weights(3)
    w[:, 0, 0, :] *= 1e-4  # rounds to 0 in int8, if it stays
    form = answer("gs", w, asked(sparsity="0.3", orientation=orientation))
    assert form.banking == Banking(30, {"vertical": 16, "hybrid": 4, "horizontal": 1}[orientation], 0)
    loads = bank_loads(form.integers.reshape(32, 9, 32), Gathering.of(30, form.banking.bundle, 32))
    assert (loads == loads[:, :1]).all()


def test_banks_bundle_and_scatter_are_those_asked_for() -> None:
    form = answer("gs", weights(), asked(sparsity="0.5", banks="8", bundle="2", scatter="yes"))
    assert form.banking == Banking(8, 2, 1)


def test_prices_decide_where_no_sparsity_is_asked_for() -> None:
    w = weights(4)
    cheap, dear = (answer("gs", w, SchemeOptions(byte_price=rate)) for rate in (0.3, 3.0))
    assert dear.density < cheap.density
    sensitive = replace(layer(w), sensitivity=lambda: 100.0)
    assert load_scheme("gs")(sensitive, SchemeOptions(byte_price=0.01)) is None


def test_the_rate_pays_for_what_it_is_told() -> None:
    """A layer that few positions read: bytes count, cycles hardly."""
    small = replace(layer(weights(5)), input_shape=(2, 2, 32), output_shape=(2, 2, 32))
    scheme = load_scheme("unstructured")
    options = SchemeOptions(byte_price=2.0, network_bytes=10_000, network_macs=100_000_000)
    for_bytes, for_cycles = (scheme(small, replace(options, own={"pays": pays})) for pays in ("bytes", "cycles"))
    assert isinstance(for_bytes, Gathered)
    assert for_cycles is None or (for_cycles.integer_weights.any() and for_cycles.density > for_bytes.density)  # type: ignore[attr-defined]


def test_the_rate_pays_for_bytes_alone_where_cycles_have_one() -> None:
    """So that a form which is compared with others at given prices is the best one at these."""
    w, prices = layer(weights(5)), SchemeOptions(byte_price=0.3, cycle_price=0.3)
    plain, told = (load_scheme("unstructured")(w, replace(prices, own=own)) for own in ({}, {"pays": "bytes"}))
    assert isinstance(plain, Gathered) and isinstance(told, Gathered)
    np.testing.assert_array_equal(plain.integers, told.integers)
    both = load_scheme("unstructured")(w, replace(prices, own={"pays": "both"}))
    assert isinstance(both, Gathered) and both.density < plain.density


@pytest.mark.parametrize("name", ["unstructured", "gs", "block"])
def test_weights_are_kept_as_they_are_by_the_rule_of_weights(name: str) -> None:
    """Inputs that go together, for which the rule of the data would choose and fit others."""
    rng = np.random.default_rng(3)
    w = weights(6, k=16, c=16)
    x: NDArray[np.float64] = np.repeat(
        rng.standard_normal((2000, w[0].size // 2)), 2, axis=1
    ) + 0.3 * rng.standard_normal((2000, w[0].size))
    d = w[0].size
    moments = Moments(2000, np.zeros(d), np.zeros(16), np.cov(x.T), np.cov(x.T) @ w.reshape(16, d).T)
    found = load_scheme(name)(layer(w, moments), asked(sparsity="0.7", rule="weights"))
    assert isinstance(found, Gathered)
    kept = found.integers != 0
    step = found.scale[:, None, None, None]
    step = np.broadcast_to(step, w.shape)
    inside = kept & (np.abs(found.integers) < 127)
    assert (np.abs(found.weights - w)[inside] <= 1.01 * step[inside]).all()
    if name == "unstructured":
        assert np.abs(w)[kept].min() >= np.abs(w)[~kept].max() - step.max()
    fitted = load_scheme(name)(layer(w, moments), asked(sparsity="0.7"))
    assert isinstance(fitted, Gathered) and fitted.relative_error < found.relative_error


@pytest.mark.parametrize("options", [asked(sparsity="0.7"), SchemeOptions(byte_price=100.0)])
def test_a_window_of_few_values_stays_dense(options: SchemeOptions) -> None:
    assert load_scheme("gs")(layer(weights(c=3)), options) is None


@pytest.mark.parametrize(
    ("name", "option", "value", "why"),
    [
        ("gs", "sparsity", "1", "a number from 0 to below 1"),
        ("gs", "sparsity", "x", "a number from 0 to below 1"),
        ("gs", "banks", "31", "a whole number from 1 to 30"),
        ("gs", "bundle", "0", "a whole number from 1 to 30"),
        ("gs", "scatter", "maybe", "one of no, yes"),
        ("gs", "pays", "joules", "one of both, bytes, cycles"),
        ("gs", "orientation", "diagonal", "one of vertical, hybrid, horizontal"),
        ("bank-balanced", "pieces", "²", "a whole number"),
        ("block", "block", "4", "output channels x input channels"),
    ],
)
def test_an_option_says_what_it_requires(name: str, option: str, value: str, why: str) -> None:
    with pytest.raises(UserError, match=f"{option}={value}: requires {why}"):
        load_scheme(name)(layer(weights()), asked(**{option: value}))


def test_options_of_other_schemes_are_refused() -> None:
    with pytest.raises(UserError, match="scheme 'patdnn': unknown option 'block=4x1'"):
        own_options("patdnn", load_scheme("patdnn"), ("block=4x1",), load_target("esc1"))


def test_a_channel_of_hardly_any_weights_has_a_bias_that_fits() -> None:
    """Its weights are 1e-12 of the others, and its outputs are far from 0."""
    w = weights(6, k=8)
    w[3] *= 1e-12
    d = w[0].size
    means = np.full(8, 100.0)
    moments = Moments(10 * d, np.zeros(d), means, np.eye(d), w.reshape(8, d).T)
    found = load_scheme("bank-balanced")(layer(w, moments), asked(sparsity="0.7"))
    assert isinstance(found, Gathered)
    integers = found.to_integers(lambda form: moments.bias(form.weights.reshape(8, d)), 0, 255, 16)
    sums = np.abs(found.integer_weights).sum(axis=(1, 2, 3)) * 255
    assert int((np.abs(integers.bias) + sums).max()) < 1 << 30
