"""Schemes and their cost estimates; the integer bounds of decomposed layers; the moments they are given."""

from __future__ import annotations

import itertools
import logging
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import escc.schemes
from escc.compress import schemes
from escc.compress.decompose import Fit
from escc.compress.price import price
from escc.compress.schemes import single_rung
from escc.schemes import auto as auto_scheme
from escc.schemes.auto import auto
from escc.schemes.dense import dense
from escc.schemes.escalate import escalate
from isa import reference
from isa.errors import UserError
from isa.target import load_target
from passes.decomposition.scheme import ConvLayer, Scheme, SchemeOptions, check, load_scheme, scheme_names
from passes.decomposition.ternary_basis import TernaryBasis, most_bases
from passes.math.moments import MomentAccumulator, Moments, position_budget, window_rows
from passes.math.ternary import intermediate_range, intermediate_shift


def layer(
    weights: np.ndarray,
    moments: Moments | None = None,
    calibrated: bool = True,
    size: int = 8,
    strides: int = 1,
    level: int = 1,
) -> ConvLayer:
    k, _, _, c = weights.shape
    out = (size // strides, size // strides, k)
    target = load_target("esc1")
    target = replace(target, array=replace(target.array, coefficient_level=level))
    return ConvLayer("conv", weights, (strides, strides), (size, size, c), out, 0.5, moments, calibrated, target)


def low_rank_weights(seed: int, k: int, c: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((k, c, 3)) @ rng.standard_normal((3, 9)) @ np.eye(9) * 0.01


def test_the_installed_schemes_are_found_by_name() -> None:
    assert {"auto", "circulant", "dense", "escalate", "kmeans", "smartexchange"} <= set(scheme_names())
    assert load_scheme("dense") is dense and load_scheme("escalate") is escalate and load_scheme("auto") is auto


def test_a_file_is_a_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keep_all.py").write_text("SCHEME = lambda layer, options: None\n")
    monkeypatch.setattr(escc.schemes, "__path__", [*escc.schemes.__path__, str(tmp_path)])
    assert "keep-all" in scheme_names()
    assert load_scheme("keep-all")(layer(np.ones((1, 1, 1, 1))), SchemeOptions()) is None


def test_dense_keeps_and_escalate_decomposes() -> None:
    w = np.random.default_rng(0).standard_normal((8, 3, 3, 8))
    assert dense(layer(w), SchemeOptions()) is None
    answer = escalate(layer(w), SchemeOptions(basis=4, planes=2))
    assert answer is not None
    check(layer(w), answer)
    assert answer.basis.shape == (8, 3, 3)
    assert np.linalg.norm(answer.weights - w) < 0.5 * np.linalg.norm(w)


@pytest.mark.parametrize(
    "kernel, basis, planes, bases",
    [
        (3, None, None, 9),
        (3, 9, 2, 18),
        (3, 4, None, 4),
        (1, None, None, 2),
        (1, 9, 2, 5),
        (5, 6, 3, 18),
        (3, 40, 9, 45),
    ],
)
def test_virtual_bases(kernel: int, basis: int | None, planes: int | None, bases: int) -> None:
    """Planes are ternary unless a level is asked for."""
    described = layer(np.zeros((4, kernel, kernel, 4)), level=1 if planes is None else 4)
    assert single_rung(described, SchemeOptions(basis, planes)) == (bases, 1)
    if planes is not None:
        assert single_rung(described, SchemeOptions(basis, planes, own={"levels": "2"})).level == 2


@pytest.mark.parametrize(
    "kernel, basis, levels, most, rung",
    [
        (3, None, None, 4, (6, 4)),
        (3, None, None, 2, (6, 2)),
        (3, None, "4", 4, (6, 4)),  # as many bases as slices
        (3, None, "2", 2, (6, 2)),
        (3, None, "1", 4, (9, 1)),
        (3, None, "2", 4, (6, 2)),
        (3, 9, None, 4, (9, 4)),
        (3, 9, "4", 4, (9, 4)),
        (3, 5, None, 4, (5, 4)),
        (1, None, None, 4, (2, 4)),
        (1, None, "4", 4, (2, 4)),
        (2, None, None, 4, (4, 4)),
    ],
)
def test_larger_coefficients_make_up_for_fewer_bases(
    kernel: int, basis: int | None, levels: str | None, most: int, rung: tuple[int, int]
) -> None:
    described = layer(np.zeros((4, kernel, kernel, 4)), level=most)
    own = {} if levels is None else {"levels": levels}
    assert single_rung(described, SchemeOptions(basis, own=own)) == rung


@pytest.mark.parametrize("text", ["3", "8", "0", "", "two"])
def test_levels_that_there_are_not(text: str) -> None:
    for scheme in (escalate, auto):
        with pytest.raises(UserError, match=f"levels={text}: target 'esc1' computes .* up to 4"):
            scheme(layer(np.ones((4, 3, 3, 4)), level=4), SchemeOptions(own={"levels": text}))
        with pytest.raises(UserError, match="levels=2: target 'esc1' computes coefficients of magnitudes up to 1"):
            scheme(layer(np.ones((4, 3, 3, 4))), SchemeOptions(own={"levels": "2"}))


def test_levels_reach_what_more_bases_reach() -> None:
    rng = np.random.default_rng(5)
    # Some directions of the kernels are longer than others, as in trained networks.
    turn, _ = np.linalg.qr(rng.standard_normal((9, 9)))
    kernels = rng.standard_normal((24, 24, 9)) * 0.7 ** np.arange(9) @ turn
    w = np.ascontiguousarray(kernels.reshape(24, 24, 3, 3).transpose(0, 2, 3, 1))
    errors: dict[tuple[int, str], float] = {}
    for bases, levels in ((6, "1"), (6, "2"), (6, "4"), (9, "1")):
        answer = escalate(layer(w, level=4), SchemeOptions(bases, own={"levels": levels}))
        assert answer is not None and int(np.abs(answer.coefficients).max()) == int(levels)
        check(layer(w), answer)
        errors[bases, levels] = answer.relative_error
    assert errors[6, "4"] < errors[6, "2"] < 0.8 * errors[6, "1"]
    assert errors[6, "4"] < errors[9, "1"]


def test_bases_beyond_the_scratchpads_are_refused_by_name() -> None:
    w = np.zeros((4, 7, 7, 4))
    most = most_bases(layer(w), 1)
    target = load_target("esc1")
    assert most * 49 <= target.scratchpad.par // 2 < (most + 1) * 49
    wide = layer(np.zeros((4, 1, 1, 3072)))
    assert most_bases(wide, 1) * 3072 // 4 <= target.scratchpad.coef // 2 < (most_bases(wide, 1) + 1) * 3072 // 4
    assert most_bases(layer(np.zeros((4, 1, 1, 3073))), 1) == 0  # more than the registers of a block hold
    assert (
        most_bases(wide, 2) == 0 and most_bases(layer(np.zeros((4, 1, 1, 2048))), 4) == 16
    )  # of 4 bits in half of COEF
    with pytest.raises(UserError, match=rf"'conv'.*requires at most {most}"):
        escalate(layer(w), SchemeOptions(basis=most + 1))
    assert auto(layer(w), SchemeOptions(basis=most + 1)) is None


def test_a_layer_without_room_for_one_basis_stays_dense_visibly(caplog: pytest.LogCaptureFixture) -> None:
    wide = layer(np.ones((4, 1, 1, 3073)))
    with caplog.at_level(logging.INFO):
        assert escalate(wide, SchemeOptions()) is None
    assert "'conv' (Conv) stays dense: not even one basis fits the memories of 'esc1'" in caplog.text


def test_auto_decomposes_what_pays_and_keeps_what_does_not() -> None:
    rng = np.random.default_rng(1)
    wide = (low_rank_weights(1, 64, 64)).reshape(64, 64, 3, 3).transpose(0, 2, 3, 1)
    answer = auto(layer(np.ascontiguousarray(wide)), SchemeOptions())
    assert answer is not None and answer.relative_error <= 0.03
    assert answer.packed_bytes() < wide.size
    assert auto(layer(rng.standard_normal((16, 3, 3, 3))), SchemeOptions()) is None  # three channels: dense is faster
    assert auto(layer(rng.standard_normal((64, 3, 3, 64))), SchemeOptions(basis=1, planes=1)) is None  # too coarse


def test_as_many_bases_as_slices_are_taken_where_they_do_as_well() -> None:
    """Multiples of one kernel are met by six bases as well as by nine or more; six take one round, the others two."""
    rng = np.random.default_rng(3)
    kernels = rng.standard_normal((64, 64, 1)) @ rng.standard_normal((1, 9)) * 0.01
    w = np.ascontiguousarray(kernels.reshape(64, 64, 3, 3).transpose(0, 2, 3, 1))
    six = auto(layer(w), SchemeOptions())
    assert isinstance(six, TernaryBasis) and six.basis.shape[0] == 6 and six.relative_error < 1e-3
    nine = auto(layer(w), SchemeOptions(basis=9))
    assert nine is not None
    cycles = [price(form, layer(w).shape, layer(w).target).cycles for form in (six, nine)]
    assert cycles[0] < cycles[1]


@pytest.mark.parametrize("slices, taps, counts", [(6, 9, [6, 9, 12, 18]), (4, 9, [4, 9, 12, 18]), (12, 4, [4, 8])])
def test_numbers_of_bases_follow_the_machine(slices: int, taps: int, counts: list[int]) -> None:
    side = math.isqrt(taps)
    described = layer(np.zeros((4, side, side, 4)))
    target = replace(described.target, array=replace(described.target.array, slices=slices))
    ladder, first = auto_scheme.ladder(replace(described, target=target), SchemeOptions())
    assert [rung.bases for rung in ladder] == counts
    assert ladder[first].bases == min(slices, taps)


@pytest.mark.parametrize(
    "kernel, slices, own, rungs, first",
    [
        (3, 6, {}, [(6, 1), (6, 2), (6, 4), (12, 2), (12, 4)], (6, 4)),
        (3, 3, {}, [(3, 1), (3, 2), (3, 4), (9, 2), (9, 4)], (3, 4)),
        (2, 6, {}, [(4, 1), (4, 2), (4, 4), (6, 2), (6, 4)], (4, 4)),
        (1, 6, {}, [(2, 1), (2, 2), (2, 4), (3, 2), (3, 4)], (2, 4)),
        (3, 6, {"levels": "4"}, [(6, 4), (9, 4), (12, 4), (18, 4)], (6, 4)),
    ],
)
def test_auto_tries_larger_coefficients_before_more_bases(
    kernel: int, slices: int, own: dict[str, str], rungs: list[tuple[int, int]], first: tuple[int, int]
) -> None:
    described = layer(np.zeros((4, kernel, kernel, 4)))
    target = replace(described.target, array=replace(load_target("esc1").array, slices=slices))
    found, at = auto_scheme.ladder(replace(described, target=target), SchemeOptions(own=own))
    assert found == rungs and found[at] == first


def test_auto_chooses_the_level_of_a_layer_by_price() -> None:
    """Weights that are coefficients of magnitudes up to 4 times bases: the more bytes cost, the smaller they are."""
    rng = np.random.default_rng(5)
    t = rng.choice([0, 1, 2, 4, -1, -2, -4], (16, 6, 16))
    w = np.einsum("kvc,vrs->krsc", t, rng.standard_normal((6, 3, 3))) * 0.01
    levels: list[int] = []
    for rate in (0.1, 2.0):
        answer = auto(layer(w, level=4), SchemeOptions(byte_price=rate, cycle_price=0.0))
        assert isinstance(answer, TernaryBasis)
        levels.append(int(np.abs(answer.coefficients).max()))
    assert levels[0] > levels[1] == 1


def test_auto_leaves_out_coefficients_for_the_cycles_that_they_take() -> None:
    """Where bytes cost little and cycles much, fewer coefficients have the smaller sum of error and prices."""
    rng = np.random.default_rng(7)
    weights = np.einsum("kvc,vrs->krsc", rng.standard_normal((32, 6, 32)), rng.standard_normal((6, 3, 3))) * 0.01
    described = layer(weights, level=4, size=16)
    free, priced = (SchemeOptions(6, byte_price=0.05, cycle_price=rate, own={"levels": "4"}) for rate in (0.0, 0.5))
    many, few = (auto(described, options) for options in (free, priced))
    assert isinstance(many, TernaryBasis) and isinstance(few, TernaryBasis)
    assert np.count_nonzero(few.coefficients) < np.count_nonzero(many.coefficients)
    prices = schemes.Prices.of(described, priced)
    assert prices.value(described, few) < prices.value(described, many)


def test_rungs_below_a_hopeless_one_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of weights without structure, a rung of fewer bases and levels than one that fails is not looked at."""
    tried: list[schemes.Rung] = []
    fit = schemes.Search.fit

    def noted(self: schemes.Search, rung: schemes.Rung, *rest: Any) -> Fit:
        tried.append(rung)
        return fit(self, rung, *rest)

    monkeypatch.setattr(schemes.Search, "fit", noted)
    described = layer(np.random.default_rng(2).standard_normal((16, 3, 3, 16)), level=4)
    assert auto(described, SchemeOptions(byte_price=1e-3, cycle_price=1e-3)) is None
    assert tried[0] == (6, 4) and (12, 2) in tried and (6, 2) not in tried
    tried.clear()
    auto(described, SchemeOptions(byte_price=3.0, cycle_price=3.0))
    assert (6, 2) in tried


def test_escalate_keeps_what_only_loses_dense(caplog: pytest.LogCaptureFixture) -> None:
    """A layer of three channels gets slower; what it saves is much for a small network and nothing for a large one."""
    stem = replace(layer(np.random.default_rng(4).standard_normal((16, 3, 3, 3)), size=32), pads=(1, 1))
    with caplog.at_level("INFO", "escc"):
        assert escalate(stem, SchemeOptions(basis=9)) is not None
        assert escalate(stem, SchemeOptions(basis=9, network_bytes=268_000, byte_price=0.1)) is not None
        assert not caplog.records
        assert escalate(stem, SchemeOptions(basis=9, network_bytes=268_000)) is None
    (line,) = caplog.messages
    assert re.fullmatch(
        r"node 'conv' \(Conv\) stays dense: with 9 bases it takes [\d,]+ cycles and \d+ bytes, dense .*", line
    )
    wide = layer(np.random.default_rng(4).standard_normal((32, 3, 3, 64)), size=32)
    assert escalate(wide, SchemeOptions(basis=6, network_bytes=1 << 30)) is not None  # faster


def test_layers_too_large_for_a_search_stay_dense_visibly(monkeypatch: pytest.MonkeyPatch) -> None:
    w = layer(np.random.default_rng(2).standard_normal((64, 3, 3, 64)))
    monkeypatch.setattr(auto_scheme, "TOO_LARGE", schemes.pass_work(w, 6) - 1)
    with pytest.warns(UserWarning, match="stays dense"):
        assert auto(w, SchemeOptions()) is None


@pytest.mark.parametrize("scheme, options", [(escalate, SchemeOptions(basis=5)), (auto, SchemeOptions(byte_price=0.1))])
def test_bases_of_a_large_layer_come_from_some_channels_and_suit_all(
    scheme: Scheme, options: SchemeOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    weights = rng.standard_normal((64, 16, 3)) @ rng.standard_normal((3, 9)) * rng.uniform(0.2, 5, (64, 1, 1))
    large = layer(weights.transpose(0, 2, 1).reshape(64, 3, 3, 16).copy(), size=16)
    whole = scheme(large, options)
    monkeypatch.setattr(schemes, "MEDIUM", schemes.pass_work(large, 5) // 4)
    monkeypatch.setattr(schemes, "LEAST_CHANNELS", 2)
    assert schemes.channels_to_search(large, 5) == 16
    found = scheme(large, options)
    assert isinstance(whole, TernaryBasis) and isinstance(found, TernaryBasis)
    assert found.coefficients.shape == whole.coefficients.shape
    left = found.weights - large.weights
    assert float((left**2).sum() / (large.weights**2).sum()) == pytest.approx(found.relative_error)
    assert found.relative_error < 1.2 * whole.relative_error + 0.005
    assert found.packed_bytes() < 1.1 * whole.packed_bytes()


@settings(max_examples=40, deadline=None)
@given(
    k=st.integers(1, 3),
    v=st.integers(1, 3),
    c=st.integers(1, 80),
    kernel=st.integers(1, 3),
    signed=st.booleans(),
    bits=st.integers(8, 16),
    seed=st.integers(0, 999),
)
def test_no_input_saturates_or_overflows(
    k: int, v: int, c: int, kernel: int, signed: bool, bits: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    t = rng.integers(-1, 2, (k, v, c)).astype(np.int8)
    b = rng.integers(-127, 128, (v, kernel, kernel)).astype(np.int8)
    low, high = (-128, 127) if signed else (0, 255)
    shift = intermediate_shift(t, b, low, high, bits)
    least, most = intermediate_range(t, low, high)
    for i, j in itertools.product(range(k), range(v)):
        for worst, bound in ((np.where(t[i, j] > 0, high, low), most), (np.where(t[i, j] > 0, low, high), least)):
            x = worst.reshape(1, 1, 1, c).astype(np.int8 if signed else np.uint8)
            exact = int((t[i, j].astype(int) * worst).sum())
            assert exact == bound[i, j]
            half = (1 << shift) >> 1
            assert reference.coeff_combine(x, t, shift, bits)[0, 0, 0, i, j] == (exact + half) >> shift
    if shift:  # the least shift: with one less something saturates
        half = (1 << (shift - 1)) >> 1
        limit = 1 << (bits - 1)
        assert int(((most + half) >> (shift - 1)).max()) >= limit or int(((least + half) >> (shift - 1)).min()) < -limit


def test_the_shift_also_keeps_the_basis_stage_within_int32() -> None:
    t = np.ones((1, 40, 600), np.int8)
    b = np.full((40, 7, 7), 127, np.int8)
    shift = intermediate_shift(t, b, 0, 255, 24)
    assert (600 * 255 >> shift) * 40 * 49 * 127 <= 2**31 - 1 < (600 * 255 >> (shift - 1)) * 40 * 49 * 127


def test_malformed_answers_name_the_layer_and_everything_wrong() -> None:
    w = np.zeros((2, 3, 3, 4))
    good = TernaryBasis(np.zeros((2, 5, 4), np.int8), np.zeros((5, 3, 3), np.int8), np.zeros(2))
    check(layer(w), good)
    with pytest.raises(TypeError, match=r"'conv'.*basis must be.*scale must be"):
        check(layer(w), TernaryBasis(good.coefficients, np.zeros((4, 3, 3), np.int8), np.zeros(3)))
    with pytest.raises(TypeError, match="0 or of magnitude 1, 2 or 4, found 3"):
        check(layer(w), TernaryBasis(np.full((2, 5, 4), 3, np.int8), good.basis, good.scale))
    with pytest.raises(TypeError, match="not negative"):
        check(layer(w), TernaryBasis(good.coefficients, good.basis, np.array([1.0, -1.0])))


@settings(max_examples=30, deadline=None)
@given(
    h=st.integers(1, 6),
    w=st.integers(1, 6),
    c=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    strides=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_window_rows_are_what_the_convolution_sees(
    h: int, w: int, c: int, kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int]
) -> None:
    if h + pads[0] + pads[2] < kernel[0] or w + pads[1] + pads[3] < kernel[1]:
        return
    rng = np.random.default_rng(h * 7 + w)
    x = rng.integers(0, 256, (2, h, w, c)).astype(np.uint8)
    weight = rng.integers(-127, 128, (4, *kernel, c)).astype(np.int8)
    acc = reference.conv2d(x, weight, strides, pads)
    picks = rng.permutation(acc[..., 0].size)
    rows = window_rows(x, kernel, strides, pads, acc.shape[1:3], picks)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows.astype(int) @ weight.reshape(4, -1).T.astype(int), acc.reshape(-1, 4)[picks])


def test_moments_and_regression() -> None:
    rng = np.random.default_rng(2)
    x, w, b = rng.integers(0, 256, (500, 6)), rng.standard_normal((3, 6)), np.array([1.0, -2.0, 30.0])
    y = x @ w.T + b
    sums = MomentAccumulator(6, 3)
    for n in range(0, 500, 77):
        sums.add(x[n : n + 77], y[n : n + 77])
    m = sums.result()
    assert m.count == 500
    np.testing.assert_allclose(m.xx, np.cov(x.T, bias=True), rtol=1e-9)
    found, metric = m.regression(np.zeros((3, 6)), 1e-12)
    np.testing.assert_allclose(found, w, atol=1e-6)
    np.testing.assert_allclose(m.bias(found), b, atol=1e-3)
    np.testing.assert_allclose(metric, metric.T)
    pulled, _ = m.regression(w + 1, 1e6)
    np.testing.assert_allclose(pulled, w + 1, atol=1e-3)
    with pytest.raises(ValueError, match="no position"):
        MomentAccumulator(2, 2).result()
    assert position_budget(9) > position_budget(2304) >= 4 * 2304
