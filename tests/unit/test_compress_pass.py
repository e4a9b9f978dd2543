"""The pass `decompose-conv`: exact rewriting, compensation, bounded evaluation, determinism, schemes of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.dialects.builtin import TensorType, f32
from xdsl.ir import Block, Region

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from dialects.interpreters.run import run_module
from dialects.locations import named, node_names
from isa import reference
from isa.errors import UserError
from isa.reference import Addition, fixed_point
from passes import decompose_conv
from passes.analysis import before_after_values
from passes.analysis.sensitivity import sensitivities
from passes.decompose_conv import DecomposeConvPass, load_scheme
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.ternary_basis import TernaryBasis

Array = np.ndarray[Any, Any]


def requantised(
    block: Block,
    x: Any,
    weight: Array,
    strides: tuple[int, int],
    pads: tuple[int, ...],
    name: str,
    residual: Any = None,
) -> Any:
    """conv2d + requantize to uint8 appended to a block; the result."""
    conv = esc.Conv2dOp(x, weight, strides, pads)
    conv.location = named(name)
    k = weight.shape[0]
    mult, shift = fixed_point(np.full(k, 2.0 / np.sqrt(weight[0].size) / 127))
    bias = np.arange(k) * 100 - 50 * k
    result = esc.q_tensor(esc.shape_of(conv.output), False, 0.05)
    mid = None if residual is None else esc.QType.of(True, 0.05)
    addition = None if residual is None else Addition(1 << 20, 1 << 20, 20, 0, 255, False)
    low, high = (0, 255) if residual is None else (-128, 127)
    op = esc.RequantizeOp(
        conv.output, bias, mult, shift, low, high, result, residual=residual, mid=mid, addition=addition
    )
    op.location = named(name)
    block.add_ops([conv, op])
    return op.output


def network(seed: int = 0) -> builtin.ModuleOp:
    """Two 3x3 convolutions with a residual, a strided 3x3 and a 1x1 on a 6x6 map."""
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> Array:
        return np.clip(np.rint(rng.standard_normal(shape) * 40), -127, 127).astype(np.int8)

    block = Block(arg_types=[TensorType(f32, (1, 8, 6, 6))])
    first = esc.QuantizeOp(block.args[0], esc.q_tensor((1, 6, 6, 8), True, 0.02))
    block.add_op(first)
    pads = (1, 1, 1, 1)
    a = requantised(block, first.output, weights(12, 3, 3, 8), (1, 1), pads, "a")
    b = requantised(block, a, weights(12, 3, 3, 12), (1, 1), pads, "b")
    c = requantised(block, b, weights(12, 3, 3, 12), (1, 1), pads, "c", residual=a)
    d = requantised(block, c, weights(16, 3, 3, 12), (2, 2), (0, 0, 1, 1), "d")
    e = requantised(block, d, weights(10, 1, 1, 16), (1, 1), (0, 0, 0, 0), "e")
    out = esc.DequantizeOp(e, TensorType(f32, (1, 10, *esc.shape_of(e)[1:3])))
    block.add_ops([out, func.ReturnOp(out.output)])
    main = func.FuncOp("main", ((block.args[0].type,), (out.output.type,)), Region(block))
    module = builtin.ModuleOp([main])
    module.verify()
    return module


@pytest.fixture
def calibration(tmp_path: Path) -> str:
    path = tmp_path / "calibration.npz"
    np.savez(path, x=inputs(96, 1))
    return str(path)


def inputs(n: int, seed: int) -> Array:
    # Images whose channels and neighbours are correlated, as activations are.
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 8, 8, 8)) + 1.5 * rng.standard_normal((n, 1, 8, 8))
    return (x[:, :, :6, :6] + x[:, :, 1:7, 1:7] + x[:, :, 2:, 2:]).astype(np.float32) * 0.4


def compress(module: builtin.ModuleOp, calibration: str | None, **options: Any) -> builtin.ModuleOp:
    DecomposeConvPass(calibration=calibration, **options).apply(Context(), module)
    module.verify()
    return module


def test_every_stage_computes_what_its_definition_says(calibration: str) -> None:
    module = compress(network(), calibration, scheme="escalate", basis=6, planes=1)
    kinds = [op.name for op in module.walk()]
    assert kinds.count("esc.coeff_combine") == kinds.count("esc.basis_conv2d") == 5 and "esc.conv2d" not in kinds
    checked = 0

    def observe(op: Any, results: Any) -> None:
        nonlocal checked
        values.update(zip(op.results, results, strict=True))
        if not isinstance(op, BasisConv2dOp):
            return
        first = op.input.owner
        assert isinstance(first, CoeffCombineOp) and node_names(first) == node_names(op) != ()
        x = np.asarray(values[first.input]).astype(np.int64)
        t, b = first.coefficients.array.astype(np.int64), op.basis.array.astype(np.int64)
        ic = np.einsum("nhwc,kvc->nhwkv", x, t)
        shift, limit = first.ic_shift.value.data, 1 << (first.ic_bits.value.data - 1)
        ic = np.clip((ic + ((1 << shift) >> 1)) >> shift, -limit, limit - 1)
        (sy, sx), (pt, pl, pb, pr) = esc.ints(op.strides), esc.ints(op.pads)
        ic = np.pad(ic, ((0, 0), (pt, pb), (pl, pr), (0, 0), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(ic, b.shape[1:], axis=(1, 2))[:, ::sy, ::sx]
        np.testing.assert_array_equal(results[0], np.einsum("nhwkvrs,vrs->nhwk", windows, b))
        checked += 1

    values: dict[Any, Any] = {}
    run_module(module, [inputs(3, 2)], observe)
    assert checked == 5


def relative_deviation(module: builtin.ModuleOp, options: dict[str, Any], calibration: str | None) -> float:
    x = inputs(64, 9)
    want = run_module(module, [x])[0]
    got = run_module(compress(module.clone(), calibration, **options), [x])[0]
    return float(np.linalg.norm(got - want) / np.linalg.norm(want - want.mean(axis=0)))


def test_more_bases_come_closer_and_calibration_helps(calibration: str) -> None:
    module = network()
    fine = relative_deviation(module, {"scheme": "escalate", "basis": 9, "planes": 3}, calibration)
    coarse = relative_deviation(module, {"scheme": "escalate", "basis": 6, "planes": 1}, calibration)
    assert fine < 0.25 and fine < 0.5 * coarse  # outputs span a few steps only: rounding alone is a tenth
    with pytest.warns(UserWarning, match="no calibration data"):
        blind = relative_deviation(module, {"scheme": "escalate", "basis": 6, "planes": 1}, None)
    assert coarse < blind


def test_the_output_is_corrected_on_average(calibration: str) -> None:
    module = network()
    x = np.load(calibration)["x"]
    want = run_module(module, [x])[0].mean(axis=(0, 2, 3))
    got = run_module(compress(module, calibration, scheme="escalate", basis=9), [x])[0].mean(axis=(0, 2, 3))
    np.testing.assert_allclose(got, want, atol=0.05)  # one output step


def test_equal_options_give_equal_modules_however_the_images_are_chunked(
    calibration: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"scheme": "escalate", "basis": 6, "seed": 5}
    one = str(compress(network(), calibration, **options))
    assert one == str(compress(network(), calibration, **options))
    monkeypatch.setattr(before_after_values, "_CHUNK_ELEMENTS", 5000)
    assert one == str(compress(network(), calibration, **options))


def test_the_walk_knows_both_networks(calibration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[ConvLayer] = []

    def halve(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
        """One all-ones basis: a bad scheme, so that the networks differ."""
        seen.append(layer)
        _, r, s, _ = layer.weights.shape
        if layer.name not in ("a", "d"):
            return None
        t = np.sign(layer.weights.sum(axis=(1, 2))).astype(np.int8)[:, None, :]
        return TernaryBasis(t, np.ones((1, r, s), np.int8), np.abs(layer.weights).mean(axis=(1, 2, 3)))

    def load(name: str) -> Any:
        return halve

    monkeypatch.setattr(decompose_conv, "load_scheme", load)
    module, untouched = network(), network()
    compress(module, calibration, scheme="halve")
    assert [layer.name for layer in seen] == ["a", "b", "c", "d", "e"]
    assert [op.name for op in module.walk()].count("esc.basis_conv2d") == 2
    x = np.load(calibration)["x"]
    maps: dict[str, list[Array]] = {"old": [], "new": []}
    for which, m in (("old", untouched), ("new", module)):

        def keep(op: Any, results: Any, which: str = which) -> None:
            if isinstance(op, esc.RequantizeOp):
                maps[which].append(np.asarray(results[0]))

        run_module(m, [x], keep)
    # Layer e: windows of the rewritten network, outputs of the old one (before rounding and clamping).
    last = seen[4]
    assert last.moments is not None and last.calibrated
    np.testing.assert_allclose(last.moments.mean_x, maps["new"][3].reshape(-1, 16).mean(axis=0), rtol=1e-12)
    conv = next(op for op in untouched.walk() if isinstance(op, esc.Conv2dOp) and node_names(op) == ("e",))
    acc = reference.conv2d(maps["old"][3], conv.weight.array, (1, 1), (0, 0, 0, 0)).reshape(-1, 10)
    requant = next(iter(conv.output.uses)).operation
    assert isinstance(requant, esc.RequantizeOp)
    step = np.ldexp(requant.mult.array.astype(float), -requant.shift.array.astype(int))
    np.testing.assert_allclose(
        last.moments.mean_y, ((acc + requant.bias.array.astype(np.int32)) * step).mean(axis=0), rtol=1e-9
    )
    assert last.density == pytest.approx(np.count_nonzero(maps["new"][3]) / maps["new"][3].size)


def test_a_layer_makes_up_for_what_its_residual_operand_lost(calibration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards the compensation of residual operands: layer c adds what layer a lost to what it should give itself."""
    wanted: dict[str, Array] = {}

    def first_only(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
        """Only layer a, by one all-ones basis, so that it loses much."""
        assert layer.moments is not None
        wanted[layer.name] = layer.moments.mean_y
        if layer.name != "a":
            return None
        _, r, s, _ = layer.weights.shape
        t = np.sign(layer.weights.sum(axis=(1, 2))).astype(np.int8)[:, None, :]
        return TernaryBasis(t, np.ones((1, r, s), np.int8), np.abs(layer.weights).mean(axis=(1, 2, 3)))

    def load(name: str) -> Any:
        return first_only

    def values(module: builtin.ModuleOp) -> dict[str, tuple[Any, Array]]:
        found: dict[str, tuple[Any, Array]] = {}

        def keep(op: Any, results: Any) -> None:
            if isinstance(op, esc.RequantizeOp):
                found[node_names(op)[0]] = (op, np.asarray(results[0]).astype(np.int64))

        run_module(module, [np.load(calibration)["x"]], keep)
        return found

    monkeypatch.setattr(decompose_conv, "load_scheme", load)
    module, untouched = network(), network()
    compress(module, calibration, scheme="first only")
    old, new = values(untouched), values(module)
    requant = old["c"][0]
    conv = requant.input.owner
    acc = reference.conv2d(old["b"][1].astype(np.uint8), conv.weight.array, (1, 1), (1, 1, 1, 1))
    step = np.ldexp(requant.mult.array.astype(float), -requant.shift.array.astype(int))
    own = ((acc + requant.bias.array.astype(np.int32)) * step).mean(axis=(0, 1, 2))
    lost = (old["a"][1] - new["a"][1]).mean(axis=(0, 1, 2))  # both operands of the addition have one scale
    assert np.abs(lost).max() > 0.5
    np.testing.assert_allclose(wanted["c"], own + lost, rtol=1e-9)


def test_wide_windows_stay_dense_and_are_named(calibration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decompose_conv, "MOST_WINDOW", 9 * 8)
    module = network()
    with pytest.warns(UserWarning, match=r"more than 72 values stay dense: .*'b'.*'c'.*'d'"):
        DecomposeConvPass(scheme="escalate", basis=4, planes=1, calibration=calibration).apply(Context(), module)
    dense = [node_names(op)[0] for op in module.walk() if isinstance(op, esc.Conv2dOp)]
    assert dense == ["b", "c", "d"]


def test_a_network_that_does_not_pay_decomposed_is_said_to_be_so(calibration: str) -> None:
    module = network()
    with pytest.warns(UserWarning, match=r"scheme 'auto' decomposed none of 5 convolutions"):
        compress(module, calibration, scheme="auto", rate=0.0)
    assert str(module) == str(network())


def test_sensitivities_look_at_all_parts_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data may lie class by class, so that its first images are all alike."""
    x = inputs(40, 3)
    np.savez(tmp_path / "calibration.npz", x=x)
    seen: list[Array] = []

    def recorded(block: Block, given: list[Array], seed: int) -> dict[Any, float]:
        seen.extend(given)
        return sensitivities(block, given, seed)

    monkeypatch.setattr(decompose_conv, "image_count", lambda ops: 4)
    monkeypatch.setattr(decompose_conv, "sensitivities", recorded)
    compress(network(), str(tmp_path / "calibration.npz"), rate=0.1)
    assert len(seen) == 1
    np.testing.assert_array_equal(seen[0], x[[0, 10, 20, 30]])


@pytest.mark.filterwarnings("ignore:scheme 'auto' decomposed none")
def test_a_rate_shares_the_bytes_out_by_sensitivity(calibration: str) -> None:
    """At a rate, coefficients become sparser; at a higher one sparser still."""
    counts: list[int] = []
    for rate in (0.1, 1.0, 10.0):
        module = compress(network(), calibration, scheme="auto", basis=9, planes=1, rate=rate)
        dense = [op.weight.array.size for op in module.walk() if isinstance(op, esc.Conv2dOp)]
        ternary = [op.coefficients.array for op in module.walk() if isinstance(op, CoeffCombineOp)]
        counts.append(sum(dense) + sum(int(np.count_nonzero(t)) for t in ternary))
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("option", ["rate", "cycle_rate"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_rates_are_numbers_not_below_zero(option: str, value: float) -> None:
    with pytest.raises(UserError, match=rf"{option.replace('_', '-')} must be a number not below 0"):
        compress(network(), None, **{option: value})


def test_unknown_schemes_and_counts_are_refused() -> None:
    with pytest.raises(UserError, match="unknown compression scheme 'nothing'") as caught:
        load_scheme("nothing")
    assert all(f"{name}, " in caught.value.note for name in ("auto", "dense", "escalate"))
    with pytest.raises(UserError) as caught:
        compress(network(), None, basis=0, samples=0)
    assert len(caught.value.causes) == 2
