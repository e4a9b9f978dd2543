"""Decomposed convolutions through ONNX and back: exactly the same coefficients, bases and parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_graphs import model, node
from test_onnx_export import check, compiled, integers, ops
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, FunctionType, ModuleOp, StringAttr, TensorType, f32

from dialects import esc
from dialects.esc_decomposed import BasisConv2dOp, CoeffCombineOp
from dialects.interpreters.run import main_function
from dialects.locations import fused_names, named
from isa.levels import LEVELS, magnitudes
from isa.reference import fixed_point
from passes.math.scales import as_float32, step_factor
from passes.math.ternary import intermediate_shift

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class PairShape:
    """One decomposed convolution of an input [C, H, W]."""

    c: int
    h: int
    w: int
    k: int
    v: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    signed: bool = True
    bias: bool = True
    level: int = 1


def pair_module(s: PairShape, seed: int = 0) -> tuple[ModuleOp, Array]:
    """A random module of level `esc` with float32 scales, and inputs for it."""
    rng = np.random.default_rng(seed)
    source, target = (float(as_float32(x)) for x in rng.uniform(0.01, 0.1, 2))
    t = rng.integers(-1, 2, (s.k, s.v, s.c)).astype(np.int8)
    t *= rng.choice(np.array(magnitudes(s.level), np.int8), t.shape)
    b = rng.integers(-128, 128, (s.v, *s.kernel)).astype(np.int8)
    b[~b.any(axis=(1, 2)), 0, 0] = 1  # coefficients of a basis of zeros are zeros once they are imported
    q_in, q_out = esc.QType.of(s.signed, source), esc.QType.of(bool(rng.integers(2)), target)
    ic_shift = intermediate_shift(t, b, q_in.low, q_in.high, 16)
    spread = 40 * np.sqrt(2 / 3 * s.c * s.v * s.kernel[0] * s.kernel[1]) * 74
    scale = as_float32(rng.uniform(0.5, 1.5, s.k) * 60 * target / (spread * source))
    factor = step_factor(scale, source, target, ic_shift)
    mult, shift = fixed_point(factor)
    bias = np.rint(rng.uniform(-50, 50, s.k) / factor) if s.bias else np.zeros(s.k)
    kind = TensorType(f32, (1, s.c, s.h, s.w))
    function = func.FuncOp("main", ((kind,), ()))
    block = function.body.block
    quantize = esc.QuantizeOp(block.args[0], esc.q_tensor((1, s.h, s.w, s.c), s.signed, source))
    first = CoeffCombineOp(quantize.output, t, ic_shift, 16)
    second = BasisConv2dOp(first.output, b, s.strides, s.pads)
    shape = esc.shape_of(second.output)
    requantize = esc.RequantizeOp(
        second.output, bias, mult, shift, q_out.low, q_out.high, esc.q_tensor(shape, q_out.signed, target)
    )
    result = TensorType(f32, (1, s.k, *shape[1:3]))
    dequantize = esc.DequantizeOp(requantize.output, result)
    first.location = second.location = dequantize.location = named("conv")
    requantize.location = fused_names(["conv", "relu"])
    block.add_ops([quantize, first, second, requantize, dequantize, func.ReturnOp(dequantize.output)])
    function.properties["function_type"] = FunctionType.from_lists([kind], [result])
    function.attributes["input_names"] = ArrayAttr([StringAttr("image")])
    function.attributes["output_names"] = ArrayAttr([StringAttr("map")])
    module = ModuleOp([function])
    module.verify()
    reach = (127 if s.signed else 255) * source
    return module, rng.uniform(-reach if s.signed else 0, reach, (3, s.c, s.h, s.w)).astype(np.float32)


def check_pair(shape: PairShape, seed: int = 0) -> onnx.ModelProto:
    module, x = pair_module(shape, seed)
    proto, _ = check(module, [x], rare=0.02, last="quantize")
    assert ops(proto) == ["Conv", "Conv"]
    return proto


@pytest.mark.parametrize("v", range(1, 13))
def test_every_number_of_bases(v: int) -> None:
    check_pair(PairShape(7, 6, 5, 4, v, (3, 3), pads=(1, 1, 1, 1)), v)


@pytest.mark.parametrize(
    ("kernel", "strides", "pads"),
    [
        ((1, 1), (1, 1), (0, 0, 0, 0)),
        ((1, 1), (2, 2), (0, 0, 0, 0)),
        ((3, 3), (1, 1), (1, 1, 1, 1)),
        ((3, 3), (2, 2), (0, 0, 1, 1)),
        ((5, 5), (1, 1), (2, 2, 2, 2)),
        ((7, 7), (2, 2), (3, 3, 3, 3)),
        ((1, 3), (1, 2), (0, 1, 0, 1)),
        ((5, 2), (3, 1), (4, 0, 0, 1)),
        ((8, 9), (1, 1), (0, 0, 0, 0)),  # a fully connected layer: the whole map
    ],
)
@pytest.mark.parametrize("signed", [True, False])
def test_every_window(
    kernel: tuple[int, int], strides: tuple[int, int], pads: tuple[int, int, int, int], signed: bool
) -> None:
    check_pair(PairShape(5, 8, 9, 6, 4, kernel, strides, pads, signed), 1)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("v", [1, 3])
def test_few_channels(k: int, v: int) -> None:
    """K=1: neither stage has groups; V=1: the second is depthwise."""
    proto = check_pair(PairShape(3, 5, 5, k, v, (3, 3), bias=False), 2)
    first, second = (n for n in proto.graph.node if n.op_type == "Conv")
    assert (first.name, second.name) == ("conv/coefficients", "conv/basis")
    assert len(first.input) == len(second.input) == 2
    assert [onnx.helper.get_attribute_value(a) for a in second.attribute if a.name == "group"] == [k]


def test_wide_input_needs_a_shift() -> None:
    shape = PairShape(400, 3, 3, 2, 2, (3, 3), pads=(1, 1, 1, 1), signed=False)
    module, _ = pair_module(shape)
    combine = next(op for op in module.walk() if isinstance(op, CoeffCombineOp))
    assert combine.ic_shift.value.data > 0
    check_pair(shape)


windows = st.integers(1, 5).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, 3), st.integers(0, k - 1)))


@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    c=st.integers(1, 40),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    k=st.integers(1, 9),
    v=st.integers(1, 12),
    rows=windows,
    columns=windows,
    signed=st.booleans(),
    bias=st.booleans(),
    seed=st.integers(0, 999),
    level=st.sampled_from(LEVELS),
)
def test_random_shapes(
    c: int,
    size: tuple[int, int],
    k: int,
    v: int,
    rows: tuple[int, int, int],
    columns: tuple[int, int, int],
    signed: bool,
    bias: bool,
    seed: int,
    level: int,
) -> None:
    (r, sy, py), (s, sx, px) = rows, columns
    check_pair(PairShape(c, *size, k, v, (r, s), (sy, sx), (py, px, 0, px), signed, bias, level), seed)


def test_channel_that_is_always_zero() -> None:
    """A multiplier of 0 leaves no scale to write; the channel stays 0."""
    module, x = pair_module(PairShape(4, 5, 5, 3, 2, (3, 3)))
    requantize = next(op for op in module.walk() if isinstance(op, esc.RequantizeOp))
    mult = requantize.mult.array.copy()
    mult[1] = 0
    requantize.mult = type(requantize.mult).of(mult)
    from dialects.interpreters.run import run_module
    from escc.onnx_export import export_model

    again = compiled(export_model(module).SerializeToString())
    (want,), (got,) = run_module(module, [x]), run_module(again, [x])
    assert not want[:, 1].any() and np.array_equal(want, got)


RNG = np.random.default_rng(5)
T = RNG.integers(-1, 2, (6, 4, 1, 1)).astype(np.int8)
B = np.broadcast_to(RNG.integers(-99, 99, (1, 3, 3, 3)), (2, 3, 3, 3)).astype(np.int8)
ZERO = np.int8(0)


def two_stages(
    t: Array = T,
    b: Array = B,
    unit: Any = 1.0,
    scale: Any = (0.01, 0.02),
    groups: int = 2,
    between: tuple[onnx.NodeProto, ...] = (),
    first: dict[str, Any] | None = None,
    bias: bool = False,
    zero: int = 0,
    outputs: tuple[str, ...] = ("y",),
) -> ModuleOp:
    """The two convolutions, as a model that prescribes all scales, compiled."""
    unit, scale = np.asarray(unit, np.float32), np.asarray(scale, np.float32)
    constants: dict[str, Array | np.generic] = {
        "t": t, "u": unit, "zt": np.full(unit.shape, zero, np.int8), "b": b, "s": scale,
        "zb": np.zeros(scale.shape, np.int8), "sx": np.float32(0.05), "sy": np.float32(0.1), "z": ZERO,
        "bias": RNG.standard_normal(len(t)).astype(np.float32),
    }  # fmt: skip
    between = between or (node("Identity", ["m"], ["n"], name="same"),)
    nodes = [
        node("QuantizeLinear", ["x", "sx", "z"], ["xq"]),
        node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
        node("DequantizeLinear", ["t", "u", "zt"], ["td"], axis=0),
        node("DequantizeLinear", ["b", "s", "zb"], ["bd"], axis=0),
        node("Conv", ["xd", "td", *(["bias"] if bias else [])], ["m"], name="one", **(first or {})),
        *between,
        node("Conv", ["n", "bd"], ["c"], name="two", group=groups),
        node("QuantizeLinear", ["c", "sy", "z"], ["yq"]),
        node("DequantizeLinear", ["yq", "sy", "z"], ["y"]),
    ]
    made = model(nodes, (1, 4, 8, 8), constants, outputs=outputs)
    return compiled(made.SerializeToString(), scheme="dense", samples=2)


def kinds(module: ModuleOp) -> list[str]:
    return [name.removeprefix("esc.") for name, _, _ in integers(module) if "conv" in name or "combine" in name]


def test_what_is_a_pair() -> None:
    module = two_stages()
    assert kinds(module) == ["coeff_combine", "basis_conv2d"]
    combine, basis = (
        op for op in main_function(module).body.block.ops if op.name in ("esc.coeff_combine", "esc.basis_conv2d")
    )
    assert isinstance(combine, CoeffCombineOp) and isinstance(basis, BasisConv2dOp)
    assert np.array_equal(combine.coefficients.array, T.reshape(2, 3, 4)) and np.array_equal(basis.basis.array, B[0])
    assert kinds(two_stages(scale=np.float32(0.01))) == ["coeff_combine", "basis_conv2d"]
    assert kinds(two_stages(unit=np.full(6, 0.5))) == ["coeff_combine", "basis_conv2d"]


def test_scale_of_the_coefficients_counts() -> None:
    one = two_stages(unit=np.float32(0.5), scale=np.asarray([0.02, 0.04], np.float32))
    assert integers(one) == integers(two_stages())


@pytest.mark.parametrize(
    "change",
    [
        {"t": np.where(T == 1, 3, T).astype(np.int8)},
        {"b": np.concatenate([B[:1], B[1:] + 1])},
        {"unit": np.linspace(1, 2, 6)},
        {"zero": 1},
        {"bias": True},
        {"first": {"strides": [2, 2]}},
        {"first": {"pads": [1, 1, 1, 1]}},
        {"groups": 1, "b": np.concatenate([B, B], axis=1)},
        {"between": (node("Relu", ["m"], ["n"], name="relu"),)},
        {"outputs": ("y", "m")},
    ],
    ids=[
        "a coefficient of 3",
        "two sets of bases",
        "scales",
        "zero point",
        "bias",
        "strides",
        "pads",
        "no groups",
        "relu",
        "used",
    ],
)
def test_near_misses_stay_convolutions(change: dict[str, Any]) -> None:
    assert kinds(two_stages(**change)) == ["conv2d", "conv2d"]
