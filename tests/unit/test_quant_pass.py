"""The quantize pass on small graphs: close to the float network, right types, edge cases of inputs and outputs."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr, TensorType, f32
from xdsl.ir import Block, Region

from dialects import esc, esc_pools, onnx, onnx_pools
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function, run_module
from dialects.locations import named, node_names
from isa.errors import UserError
from passes.esc_legalize import EscLegalizePass
from passes.fuse_epilogues import FuseEpiloguesPass
from passes.quantize import QuantizePass


class Net:
    """Builds one legal onnx function."""

    def __init__(self, *shapes, seed=0):
        self.rng = np.random.default_rng(seed)
        self.block = Block(arg_types=[TensorType(f32, s) for s in shapes])
        self.inputs = list(self.block.args)

    def add(self, op, name=""):
        op.location = named(name or f"n{len(list(self.block.ops))}")
        self.block.add_op(op)
        return op.results[0]

    def const(self, array):
        return self.add(onnx.ConstantOp(np.asarray(array, np.float32)))

    def conv(self, x, k, kernel=3, groups=1, weight=None, bias=True, name="", **attributes):
        c = onnx.shape_of(x)[1]
        if weight is None:
            fan_in = c // groups * kernel * kernel
            weight = self.rng.standard_normal((k, c // groups, kernel, kernel)) * math.sqrt(2 / fan_in)
        b = self.const(0.2 * self.rng.standard_normal(k)) if bias else None
        attributes.setdefault("pads", (kernel // 2,) * 4)
        return self.add(onnx.ConvOp(x, self.const(weight), b, group=groups, **attributes), name)

    def relu(self, x):
        return self.add(onnx.ReluOp(x))

    def qdq(self, x, scale, zero, dtype=np.int8):
        s, z = np.asarray(scale, np.float32), np.asarray(zero, dtype)
        return self.add(onnx.DequantizeLinearOp(self.add(onnx.QuantizeLinearOp(x, s, z), "Q"), s, z))

    def module(self, *outputs):
        self.block.add_op(func.ReturnOp(*outputs))
        function = func.FuncOp("main", ([a.type for a in self.inputs], [o.type for o in outputs]), Region(self.block))
        function.attributes["input_names"] = ArrayAttr([StringAttr(f"in{i}") for i in range(len(self.inputs))])
        module = ModuleOp([function])
        module.verify()
        return module


def data(module, count=24, seed=1):
    rng = np.random.default_rng(seed)
    shapes = [onnx.shape_of(a) for a in main_function(module).body.block.args]
    return [rng.standard_normal((count, *shape[1:])).astype(np.float32) for shape in shapes]


def quantized(module, tmp_path, inputs=None, **options):
    """The quantised and checked copy of a module."""
    inputs = data(module) if inputs is None else inputs
    path = tmp_path / "calibration.npz"
    names = ["x"] if len(inputs) == 1 else [f"in{i}" for i in range(len(inputs))]
    arrays: dict[str, Any] = dict(zip(names, inputs, strict=True))
    np.savez(path, **arrays)
    result = module.clone()
    QuantizePass(calibration=str(path), **options).apply(Context(), result)
    result.verify()
    EscLegalizePass().apply(Context(), result)
    assert all(isinstance(op, esc.EscOp | func.ReturnOp) for op in main_function(result).body.block.ops)
    return result


def noise(module, integer, inputs=None):
    """Signal-to-noise ratio in dB of every output."""
    inputs = data(module, 8, seed=2) if inputs is None else inputs
    pairs = zip(run_module(module, inputs), run_module(integer, inputs), strict=True)
    return [10 * math.log10(float((a**2).sum() / max(1e-12, ((a - b) ** 2).sum()))) for a, b in pairs]


def ops(module, kind):
    return [op for op in module.walk() if isinstance(op, kind)]


def test_residual_network(tmp_path):
    net = Net((1, 3, 8, 8))
    x = net.relu(net.conv(net.inputs[0], 8, name="stem"))
    y = net.relu(net.add(onnx.AddOp(net.conv(x, 8), x)))
    y = net.add(onnx_pools.AveragePoolOp.of(y, (8, 8)))
    y = net.add(onnx.ReshapeOp(net.conv(y, 5, 1), (1, 5)))
    module = net.module(y)
    for options in ({}, {"method": "minmax"}, {"method": "percentile"}, {"bias_correction": False}):
        integer = quantized(module, tmp_path, **options)
        assert noise(module, integer)[0] > 25
    stem = ops(integer, esc.RequantizeOp)[0]
    assert node_names(stem)[0] == "stem" and len(node_names(stem)) == 2
    assert [esc.q_of(op.output).signed for op in ops(integer, esc.RequantizeOp)] == [False, True, True]
    assert not esc.q_of(ops(integer, esc.AddOp)[0].output).signed


@pytest.mark.parametrize("constant", [False, True])
def test_an_output_that_does_not_depend_on_the_input_is_worth_a_warning(tmp_path, constant):
    net = Net((1, 3, 6, 6))
    y = net.conv(net.inputs[0], 4, 1, weight=np.full((4, 3, 1, 1), 1.0 - constant))
    module = net.module(net.relu(y), net.conv(net.inputs[0], 4, 1))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quantized(module, tmp_path)
        quantized(module, tmp_path, [np.ones((5, 3, 6, 6))])  # equal inputs show nothing
    found = [str(w.message) for w in seen if "does not depend on the input" in str(w.message)]
    assert len(found) == constant and all(text.startswith("output 'output0' does not depend") for text in found)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.5, 0.7), (0.25, 0.75), (-math.inf, 0.3)])
def test_clip_becomes_a_clamp(tmp_path, low, high):
    net = Net((1, 4, 6, 6))
    y = net.add(onnx.ClipOp.of(net.conv(net.inputs[0], 6), low, high))
    module = net.module(y)
    integer = quantized(module, tmp_path)
    (op,) = ops(integer, esc.RequantizeOp)
    q = esc.q_of(op.output)
    assert q.signed == (low < 0)
    assert op.hi.value.data == min(round(high / q.scale), q.high)
    if math.isfinite(low):
        assert op.lo.value.data == max(round(low / q.scale), q.low)
    (out,) = run_module(integer, data(module))
    assert out.max() <= high + q.scale / 2 and out.min() >= low - q.scale / 2
    assert noise(module, integer)[0] > 25


ACTIVATIONS = [
    lambda x: onnx.LeakyReluOp(x, {"alpha": onnx.float_attr(0.1)}),
    onnx.SigmoidOp,
    onnx.HardSigmoidOp,
    onnx.HardSwishOp,
    onnx.TanhOp,
    onnx.EluOp,
    onnx.ReluOp,
    lambda x: onnx.ClipOp.of(x, -0.2, 0.9),
]


@pytest.mark.parametrize("make", ACTIVATIONS)
def test_elementwise_functions_are_tables(tmp_path, make):
    net = Net((1, 4, 6, 6))
    pooled = net.add(onnx_pools.MaxPoolOp(net.inputs[0], (2, 2), (2, 2)))
    y = net.add(make(pooled))
    module = net.module(y)
    integer = quantized(module, tmp_path, method="minmax")
    (op,) = ops(integer, esc.LookupOp)
    inputs = [np.clip(x, -2.5, 2.5) for x in data(module, 8, seed=2)]
    got, want = run_module(integer, inputs)[0], run_module(module, inputs)[0]
    # slope at most 1.1 times half a step of the input, plus half a step of the output
    assert np.abs(got - want).max() <= 1.2 * esc.q_of(op.input).scale / 2 + esc.q_of(op.output).scale / 2 + 1e-6


def test_activation_after_convolution(tmp_path):
    net = Net((1, 4, 6, 6))
    module = net.module(net.add(onnx.HardSwishOp(net.conv(net.inputs[0], 8))))
    integer = quantized(module, tmp_path)
    assert noise(module, integer)[0] > 25
    FuseEpiloguesPass().apply(Context(), integer)
    assert not ops(integer, esc.LookupOp) and ops(integer, esc.RequantizeOp)[0].table is not None


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("ceil", [False, True])
def test_average_pooling(tmp_path, include, ceil):
    net = Net((1, 3, 7, 8))
    x = net.relu(net.conv(net.inputs[0], 4))
    module = net.module(net.add(onnx_pools.AveragePoolOp.of(x, (3, 3), (2, 2), (1, 1, 1, 1), ceil, include)))
    integer = quantized(module, tmp_path)
    assert noise(module, integer)[0] > 30
    assert not esc.q_of(ops(integer, esc_pools.AvgPoolOp)[0].output).signed


def test_depthwise_grouped_and_strided(tmp_path):
    net = Net((1, 4, 9, 9))
    x = net.relu(net.conv(net.inputs[0], 8, groups=4))
    x = net.relu(net.conv(x, 12, groups=2, strides=(2, 1), pads=(0, 1, 1, 0)))
    module = net.module(net.conv(x, 12, groups=12, bias=False))
    assert noise(module, quantized(module, tmp_path))[0] > 25


def test_slice_and_pad(tmp_path):
    net = Net((1, 4, 8, 8))
    x = net.relu(net.conv(net.inputs[0], 6))
    y = net.add(onnx.SliceOp(x, (0, 1, 2), (8, 8, 5), (2, 3, 1), (2, 3, 1)))
    y = net.add(onnx.PadOp(y, (0, 2, 0, 1, 0, 1, 1, 0)))
    module = net.module(y)
    integer = quantized(module, tmp_path)
    assert noise(module, integer)[0] > 30 and len(ops(integer, esc.SliceOp)) == 2
    FuseEpiloguesPass().apply(Context(), integer)
    assert noise(module, integer)[0] > 30


def test_concatenated_convolutions_share_a_scale(tmp_path):
    net = Net((1, 4, 6, 6))
    x = net.relu(net.conv(net.inputs[0], 4))
    pooled = net.add(onnx_pools.MaxPoolOp(net.relu(net.conv(x, 5)), (3, 3), (1, 1), (1, 1, 1, 1)))
    inner = net.add(onnx.ConcatOp([net.relu(net.conv(x, 3)), pooled], 1))
    y = net.add(onnx.ConcatOp([inner, net.relu(net.conv(x, 2))], 1))
    module = net.module(y)
    integer = quantized(module, tmp_path)
    assert not ops(integer, esc.LookupOp) and noise(module, integer)[0] > 28


def test_concatenation_of_shared_tensors_uses_tables(tmp_path):
    net = Net((1, 4, 6, 6))
    x = net.relu(net.conv(net.inputs[0], 4))
    y = net.conv(x, 4, weight=0.01 * net.rng.standard_normal((4, 4, 3, 3)))
    both = net.add(onnx.ConcatOp([x, y], 1))
    module = net.module(both, net.conv(x, 3))
    integer = quantized(module, tmp_path)
    assert len(ops(integer, esc.LookupOp)) == 1 and noise(module, integer)[0] > 25
    assert esc.q_of(ops(integer, esc.ConcatOp)[0].output).signed


def test_operands_that_others_read_too_take_the_scale_of_the_concatenation(tmp_path):
    net = Net((1, 4, 6, 6))
    tensors = [net.relu(net.conv(net.inputs[0], 4))]
    for _ in range(3):
        x = tensors[0] if len(tensors) == 1 else net.add(onnx.ConcatOp(list(tensors), 1))
        tensors.append(net.relu(net.conv(x, 4)))
    module = net.module(net.conv(net.add(onnx.ConcatOp(tensors, 1)), 3))
    integer = quantized(module, tmp_path)
    assert not ops(integer, esc.LookupOp) and noise(module, integer)[0] > 25
    assert len({esc.q_of(op.output) for op in ops(integer, esc.ConcatOp)}) == 1


@pytest.mark.parametrize(("factor", "tables"), [(0.7, 0), (0.2, 1)])
def test_operands_of_a_much_smaller_range_keep_their_scale(tmp_path, factor, tables):
    net = Net((1, 4, 6, 6))
    weight = np.abs(net.rng.standard_normal((4, 4, 1, 1)))
    a, b = (net.relu(net.conv(net.inputs[0], 4, 1, weight=w, bias=False)) for w in (factor * weight, weight))
    module = net.module(net.conv(net.add(onnx.ConcatOp([a, b], 1)), 2), net.conv(a, 3))
    assert len(ops(quantized(module, tmp_path), esc.LookupOp)) == tables


def test_a_tensor_is_stored_anew_once_for_all_concatenations(tmp_path):
    """The first tensor is far smaller than the others and read beside; the others are read in concatenations alone."""
    net = Net((1, 4, 6, 6))
    small = net.relu(net.conv(net.inputs[0], 4, weight=0.01 * net.rng.standard_normal((4, 4, 3, 3)), bias=False))
    tensors = [small, net.relu(net.conv(small, 4, weight=20 * net.rng.standard_normal((4, 4, 3, 3))))]
    for _ in range(2):
        tensors.append(net.relu(net.conv(net.add(onnx.ConcatOp(list(tensors), 1)), 4)))
    module = net.module(net.conv(net.add(onnx.ConcatOp(tensors, 1)), 3))
    integer = quantized(module, tmp_path)
    concats = ops(integer, esc.ConcatOp)
    assert len(ops(integer, esc.LookupOp)) == 1 and noise(module, integer)[0] > 20
    assert len({esc.q_of(op.output) for op in concats}) == 1
    assert len({op.inputs[0] for op in concats}) == len({op.inputs[1] for op in concats}) == 1


def test_unsigned_input_is_exact(tmp_path):
    net = Net((1, 3, 5, 5))
    module = net.module(net.conv(net.inputs[0], 4))
    images = np.random.default_rng(0).integers(0, 256, (9, 3, 5, 5)).astype(np.float32)
    images[0, 0, 0, 0] = 255
    integer = quantized(module, tmp_path, [images])
    q = esc.q_of(ops(integer, esc.QuantizeOp)[0].output)
    assert not q.signed and q.scale == 1.0
    sample = main_function(integer).attributes["sample"]
    assert isinstance(sample, DenseAttr)
    assert (sample.array.reshape(5, 5, 3) == images[0].transpose(1, 2, 0)).all()


def test_outputs(tmp_path):
    """An output that is an input, one that feeds on, one returned twice, a Softmax behind a flattening."""
    net = Net((1, 4, 6, 6))
    x = net.conv(net.inputs[0], 4)
    y = net.relu(x)
    flat = net.add(onnx.ReshapeOp(net.conv(y, 5, 6, pads=(0, 0, 0, 0)), (1, 5)))
    soft = net.add(onnx.SoftmaxOp(flat, {"axis": onnx.integer(1)}))
    module = net.module(net.inputs[0], x, y, y, soft)
    integer = quantized(module, tmp_path)
    assert min(noise(module, integer)) > 25
    assert len(ops(integer, esc.SoftmaxOp)) == 1
    assert run_module(integer, data(module))[4].sum(axis=1) == pytest.approx(1.0)


def test_softmax_before_the_flattening(tmp_path):
    net = Net((1, 4, 3, 3))
    y = net.conv(net.inputs[0], 5, 3, pads=(0, 0, 0, 0))
    soft = net.add(onnx.SoftmaxOp(y, {"axis": onnx.integer(1)}))
    module = net.module(net.add(onnx.ReshapeOp(soft, (1, 5))))
    integer = quantized(module, tmp_path)
    assert noise(module, integer)[0] > 25 and ops(integer, esc.SoftmaxOp)[0].axis.value.data == 1


def test_flattening_keeps_channel_order(tmp_path):
    net = Net((1, 2, 3, 4))
    module = net.module(net.add(onnx.ReshapeOp(net.relu(net.conv(net.inputs[0], 3)), (1, 36))))
    assert noise(module, quantized(module, tmp_path))[0] > 28


def test_several_inputs(tmp_path):
    net = Net((1, 3, 4, 4), (1, 2, 4, 4), (1, 6))
    a = net.conv(net.inputs[0], 4)
    b = net.conv(net.inputs[1], 4)
    vector = net.conv(net.add(onnx.ReshapeOp(net.inputs[2], (1, 6, 1, 1))), 3, 1)
    module = net.module(net.add(onnx.AddOp(a, b)), vector)
    integer = quantized(module, tmp_path, data(module, 400))
    assert min(noise(module, integer)) > 25
    sample = main_function(integer).attributes["sample"]
    assert isinstance(sample, DenseAttr)
    assert sample.array.size == 48 + 32 + 6


def test_qdq_ends_of_the_range_are_exact(tmp_path):
    """Every value is an integer multiple of a power of two, so float and integer arithmetic agree to the bit."""
    net = Net((1, 3, 6, 6))
    x = net.qdq(net.inputs[0], 1.0, -128)
    stored = net.rng.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    weight = net.add(
        onnx.DequantizeLinearOp(
            net.add(onnx.ConstantOp(stored)), np.full(4, 2**-10, np.float32), np.zeros(4, np.int8), axis=0
        )
    )
    bias = net.const(net.rng.integers(-9, 9, 4) / 1024)
    y = net.relu(net.add(onnx.ConvOp(x, weight, bias, pads=(1, 1, 1, 1))))
    y = net.qdq(y, 0.25, -128)
    y = net.qdq(net.add(onnx_pools.MaxPoolOp(y, (2, 2), (2, 2))), 0.25, -128)
    z = net.qdq(net.add(onnx.AddOp(y, y)), 1.0, 0)
    module = net.module(y, z)
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 6, 6)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        integer = quantized(module, tmp_path, [images])
    (conv,) = ops(integer, esc.Conv2dOp)
    assert (conv.weight.array == stored.transpose(0, 2, 3, 1)).all()
    assert esc.q_of(ops(integer, esc_pools.MaxPoolOp)[0].output) == esc.QType.of(False, 0.25)
    for want, got in zip(run_module(module, [images]), run_module(integer, [images]), strict=True):
        difference = np.abs(want - got)  # ties round half to even there, half up here
        assert difference.max() <= 1.0 and (difference > 0).mean() < 0.2
        assert (difference == 0).mean() > 0.8


def test_other_zero_points_are_re_expressed_with_a_note(tmp_path):
    net = Net((1, 3, 6, 6))
    x = net.qdq(net.inputs[0], 0.04, 10)
    y = net.qdq(net.conv(x, 4, name="c"), 0.05, -30)
    module = net.module(net.add(onnx.TanhOp(y)))
    with pytest.warns(UserWarning, match=r"2 tensors are re-expressed .*'Q'") as record:
        integer = quantized(module, tmp_path)
    assert len(record) == 1
    q = esc.q_of(ops(integer, esc.RequantizeOp)[0].output)
    assert q.signed and q.scale == pytest.approx(0.05 * 157 / 127, rel=1e-6)
    assert noise(module, integer)[0] > 25


def test_inputs_are_clipped_to_the_range_that_the_model_gives_them(tmp_path):
    net = Net((1, 3, 6, 6))
    module = net.module(net.qdq(net.inputs[0], 0.02, 30))
    integer = quantized(module, tmp_path)
    wide = np.random.default_rng(0).uniform(-10, 10, (4, 3, 6, 6)).astype(np.float32)
    (want,), (got,) = run_module(module, [wide]), run_module(integer, [wide])
    assert (want.min(), want.max()) == (pytest.approx(-158 * 0.02), pytest.approx(97 * 0.02))
    assert np.abs(want - got).max() <= 0.02 * 158 / 128 * 0.5 + 0.01 + 1e-6


def test_qdq_with_other_parameters_behind_a_pool_is_a_table(tmp_path):
    net = Net((1, 3, 6, 6))
    x = net.qdq(net.relu(net.conv(net.inputs[0], 4)), 0.02, -128)
    y = net.qdq(net.add(onnx_pools.MaxPoolOp(x, (2, 2), (2, 2))), 0.03, -128)
    module = net.module(y)
    integer = quantized(module, tmp_path)
    assert len(ops(integer, esc.LookupOp)) == 1 and noise(module, integer)[0] > 25


def test_dead_channel_and_bias_only(tmp_path):
    net = Net((1, 3, 4, 4))
    weight = net.rng.standard_normal((3, 3, 3, 3))
    weight[1] = 0
    module = net.module(net.conv(net.inputs[0], 3, weight=weight))
    integer = quantized(module, tmp_path)
    x = data(module, 4)
    want, got = run_module(module, x)[0], run_module(integer, x)[0]
    assert np.abs(want[:, 1] - got[:, 1]).max() <= esc.q_of(ops(integer, esc.RequantizeOp)[0].output).scale / 2 + 1e-6


def test_bias_correction_removes_the_mean_error(tmp_path):
    net = Net((1, 3, 8, 8), seed=4)
    x = net.inputs[0]
    for k in (8, 8, 8):
        x = net.relu(net.conv(x, k))
    module = net.module(net.conv(x, 6))
    inputs = data(module, 64)

    def mean_error(integer):
        want, got = run_module(module, inputs)[0], run_module(integer, inputs)[0]
        return float(np.abs((got - want).mean(axis=(0, 2, 3))).mean())

    corrected = mean_error(quantized(module, tmp_path, inputs))
    assert corrected < 0.5 * mean_error(quantized(module, tmp_path, inputs, bias_correction=False))


def test_determinism_and_spec(tmp_path):
    net = Net((1, 3, 6, 6))
    module = net.module(net.relu(net.conv(net.inputs[0], 4)))
    assert str(quantized(module, tmp_path)) == str(quantized(module, tmp_path))
    text = str(QuantizePass(method="minmax", bias_correction=False).spec())
    assert text == 'quantize{method="minmax" bias_correction=false}'


def test_faults(tmp_path):
    net = Net((1, 3, 6, 6))
    module = net.module(net.relu(net.conv(net.inputs[0], 4)))
    with pytest.raises(UserError, match="method 'best' is unknown"):
        quantized(module, tmp_path, method="best")
    with pytest.raises(UserError, match="requires a percentile above 50 and up to 100"):
        quantized(module, tmp_path, percentile=0.0)
    with pytest.raises(UserError, match=r"requires \[N,3,6,6\]"):
        quantized(module, tmp_path, [np.zeros((4, 6, 6, 3), np.float32)])
    net = Net((1, 3, 6, 6))
    a = net.add(onnx.DivOp(net.inputs[0], net.inputs[0]), "square")
    b = net.add(onnx.SoftmaxOp(a, {"axis": onnx.integer(1)}), "soft")
    c = net.add(onnx_pools.GlobalMaxPoolOp(b), "top")
    with pytest.raises(UserError) as caught:
        quantized(net.module(c), tmp_path)
    assert [cause.partition(":")[0] for cause in caught.value.causes] == [
        "node 'square' (Div)",
        "node 'top' (GlobalMaxPool)",
    ]
    net = Net((1, 3, 6, 6))
    soft = net.add(onnx.SoftmaxOp(net.inputs[0], {"axis": onnx.integer(1)}), "soft")
    with pytest.raises(UserError, match=r"node 'soft' \(Softmax\): Softmax inside the network"):
        quantized(net.module(net.relu(soft)), tmp_path)
    net = Net((1, 3, 6, 6))
    huge = net.conv(net.inputs[0], 2, weight=np.full((2, 3, 3, 3), 3e38), name="huge")
    with np.errstate(all="ignore"), pytest.raises(UserError, match=r"node 'huge' \(Conv\): .*not finite"):
        quantized(net.module(huge), tmp_path)


def test_constant_output(tmp_path):
    net = Net((1, 3, 6, 6))
    with pytest.raises(UserError, match="output of the model is a constant"):
        quantized(net.module(net.const(np.zeros((1, 2)))), tmp_path)


@pytest.mark.parametrize("spread", [1, 5, 40, 1000])
@pytest.mark.parametrize("make", ACTIVATIONS)
def test_the_input_of_a_table_is_stored_over_the_range_in_which_the_function_changes(tmp_path, make, spread):
    net = Net((1, 4, 6, 6))
    pooled = net.add(onnx_pools.MaxPoolOp(net.inputs[0], (2, 2), (1, 1)))
    module = net.module(net.add(make(pooled)))
    x = [(spread * x).astype(np.float32) for x in data(module, 8)]
    np.savez(tmp_path / "x.npz", x=x[0])
    integer = module.clone()
    QuantizePass(calibration=str(tmp_path / "x.npz")).apply(Context(), integer)
    (op,) = ops(integer, esc.LookupOp)
    got, want = run_module(integer, x)[0], run_module(module, x)[0]
    assert np.abs(got - want).max() <= 2.1 * esc.q_of(op.output).scale


def test_what_else_reads_the_input_of_a_table_counts(tmp_path):
    """A Tanh alone limits its input to less than 4, wherever it is moved; with others, the widest range is kept."""

    def stored(reads):
        net = Net((1, 4, 6, 6))
        x = net.conv(net.inputs[0], 4)
        module = net.module(*reads(net, x))
        inputs = data(module, 8)
        np.savez(tmp_path / "x.npz", x=20 * inputs[0])
        QuantizePass(calibration=str(tmp_path / "x.npz"), method="minmax").apply(Context(), module)
        return esc.q_of(ops(module, esc.RequantizeOp)[0].output)

    def pooled(net, x):
        return net.add(onnx_pools.MaxPoolOp(x, (2, 2), (2, 2)))

    def relu(net, x):
        return net.add(onnx.ReluOp(net.add(onnx_pools.MaxPoolOp(x, (1, 1), (1, 1)))))

    full = stored(lambda net, x: [x, net.add(onnx.TanhOp(x))])
    assert full.signed and full.scale * 128 > 10
    alone = stored(lambda net, x: [net.add(onnx.TanhOp(x))])
    assert alone.signed and alone.scale * 128 < 4
    assert stored(lambda net, x: [net.add(onnx.TanhOp(pooled(net, x)))]) == alone
    assert stored(lambda net, x: [net.add(onnx.TanhOp(net.add(onnx.ConcatOp([x, x], 1))))]) == alone
    assert stored(lambda net, x: [net.add(onnx.TanhOp(x)), pooled(net, x)]) == full
    assert stored(lambda net, x: [net.add(onnx.TanhOp(x)), net.add(onnx.AddOp(x, x))]) == full
    positive = stored(lambda net, x: [relu(net, x)])
    assert not positive.signed and positive.scale * 255 > 10
    both = stored(lambda net, x: [relu(net, x), net.add(onnx.TanhOp(x))])
    assert both.signed and both.scale * 127 == pytest.approx(positive.scale * 255)
