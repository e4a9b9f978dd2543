"""What exporters write around the operators: constants, constant subgraphs, fp16, functions, names, QDQ."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import canonical, check, close, constant, model, node, operations, random, reference

from dialects import onnx as dialect
from dialects.interpreters.run import run_module
from dialects.locations import node_names
from escc.onnx_import import import_model


@pytest.mark.parametrize(
    "form",
    [
        {"value_float": 2.0},
        {"value_floats": [2.0, 3.0, 4.0]},
        {"value": numpy_helper.from_array(np.asarray([[[2]], [[3]], [[4]]], np.float32))},
    ],
)
def test_constant_forms(form: dict[str, Any]) -> None:
    nodes = [
        node("Constant", [], ["c"], **form),
        node("Constant", [], ["n"], value_ints=[3, 1, 1]),
        node("Constant", [], ["i"], value_int=1),
        node("Unsqueeze", ["i", "z"], ["i1"]),
        node("Expand", ["c", "i1"], ["e"]) if "value_floats" not in form else node("Reshape", ["c", "n"], ["e"]),
        node("Mul", ["x", "e"], ["y"]),
    ]
    check(model(nodes, [1, 3, 4, 4], {"z": np.asarray([0])}))


@pytest.mark.parametrize("opset", [9, 11, 12])
def test_old_versions_of_operators_are_folded(opset: int) -> None:
    """x.view(x.size(0), -1) as exporters wrote it while axes were attributes."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n"], ["n1"], axes=[0]),
        node("Concat", ["n1", "minus"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["v"]),
        node("Gemm", ["v", "w", "b"], ["y"]),
    ]
    constants = {"zero": np.asarray(0), "minus": np.asarray([-1]), "w": random(48, 5), "b": random(5)}
    assert operations(check(model(nodes, [1, 3, 4, 4], constants, opset=opset)))


@pytest.mark.parametrize(
    "op, operands",
    [
        *((op, [[0.25, 1, 2.5]]) for op in ("Exp", "Log", "Tanh", "Sigmoid", "Erf", "Softplus", "Sqrt")),
        ("Pow", [[-3, 0.5, 2], 2]),
        ("Pow", [[0.25, 1.5, 3], [-2, 0.5, 1.25]]),
        ("MatMul", [random(3, 40), random(40, 1)]),
        ("MatMul", [random(3, 1, 40), random(3, 40, 1)]),
        ("Gemm", [random(3, 40), random(40, 1), random(1)]),
    ],
)
def test_functions_of_constants_are_folded_in_single_precision(op: str, operands: list[Any]) -> None:
    names = [f"c{i}" for i in range(len(operands))]
    nodes = [node(op, names, ["f"]), node("Reshape", ["f", "shape"], ["scale"]), node("Mul", ["x", "scale"], ["y"])]
    constants = {name: np.asarray(a, np.float32) for name, a in zip(names, operands, strict=True)}
    check(model(nodes, [1, 3, 4, 4], {**constants, "shape": np.asarray([3, 1, 1])}), tolerance=1e-6)


def test_shapes_computed_from_the_input_are_folded() -> None:
    """x.view(x.size(0), -1), and an interpolation-like chain of Shape, Gather, Concat, Cast, Floor, Range, Where."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"], axis=0),
        node("Unsqueeze", ["n", "axes"], ["n1"]),
        node("Concat", ["n1", "minus"], ["shape"], axis=0),
        node("ConstantOfShape", ["two"], ["ones"], value=numpy_helper.from_array(np.asarray([1], np.int64))),
        node("Cast", ["ones"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "f"], ["g"]),
        node("Cast", ["g"], ["h"], to=TensorProto.INT64),
        node("Mul", ["shape", "h"], ["same"]),
        node("Size", ["x"], ["count"]),
        node("Equal", ["count", "count"], ["truth"]),
        node("Where", ["truth", "same", "minus"], ["final"]),
        node("Relu", ["x"], ["r"]),
        node("Reshape", ["r", "final"], ["v"]),
        node("Gemm", ["v", "w"], ["y"]),
    ]
    constants = {
        "zero": np.asarray(0),
        "axes": np.asarray([0]),
        "minus": np.asarray([-1]),
        "two": np.asarray([2]),
        "w": random(48, 5),
    }
    assert operations(check(model(nodes, [1, 3, 4, 4], constants))) == ["Relu", "Conv", "Reshape"]


def test_initializers_listed_as_inputs() -> None:
    proto = model([node("Conv", ["x", "w"], ["y"])], ["N", 2, 5, 5], {"w": random(3, 2, 3, 3)}, opset=9)
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3, 2, 3, 3]))
    check(proto)


def test_half_precision_becomes_float32() -> None:
    weights = {"w": random(3, 2, 3, 3).astype(np.float16), "b": random(3).astype(np.float16)}
    nodes = [node("Conv", ["x", "w", "b"], ["c"]), node("Clip", ["c", "low"], ["y"])]
    proto = model(nodes, [1, 2, 6, 6], {**weights, "low": np.float16(0)}, dtype=TensorProto.FLOAT16)
    module = import_model(proto.SerializeToString())
    x = random(1, 2, 6, 6)
    wide = model(nodes, [1, 2, 6, 6], {**{n: w.astype(np.float32) for n, w in weights.items()}, "low": np.float32(0)})
    close(run_module(module, [x]), reference(wide, x))
    # Float inputs with half-precision weights behind Cast.
    cast = [node("Cast", ["w"], ["w32"], to=TensorProto.FLOAT), node("Conv", ["x", "w32"], ["y"])]
    check(model(cast, [1, 2, 6, 6], {"w": weights["w"]}))


def test_local_functions_are_inlined() -> None:
    function = helper.make_function(
        "local",
        "Block",
        ["a"],
        ["b"],
        [node("Conv", ["a", "k"], ["c"], name="conv"), node("Relu", ["c"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    function.node.insert(0, constant("k", random(2, 2, 3, 3)))
    proto = model([helper.make_node("Block", ["x"], ["y"], domain="local")], [1, 2, 6, 6])
    proto.functions.append(function)
    proto.opset_import.append(helper.make_opsetid("local", 1))
    assert operations(check(proto)) == ["Conv", "Relu"]


def test_names_are_kept_made_up_and_made_unique() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="conv"),
        node("BatchNormalization", ["a", *"sbmv"], ["n"], name="bn"),
        node("Relu", ["n"], ["r"]),
        node("Relu", ["r"], ["r2"], name="Relu_2"),
        node("Conv", ["r2", "w"], ["y"], name="conv"),
    ]
    constants = {n: np.ones(2, np.float32) for n in "sbmv"} | {"w": random(2, 2, 1, 1)}
    module = canonical(import_model(model(nodes, [1, 2, 3, 3], constants).SerializeToString()))
    names = [node_names(op) for op in module.walk() if op.name in ("onnx.Conv", "onnx.Relu")]
    assert names == [("conv", "bn"), ("Relu_2",), ("Relu_2_1",), ("conv_1",)]


def test_softmax_before_opset_13_runs_over_all_following_axes() -> None:
    check(model([node("Softmax", ["x"], ["y"], axis=1)], [1, 3, 2, 2], opset=11), legal=False)
    flat = [
        node("GlobalAveragePool", ["x"], ["g"]),
        node("Softmax", ["g"], ["s"], axis=1),
        node("Flatten", ["s"], ["y"]),
    ]
    assert operations(check(model(flat, [1, 3, 2, 2], opset=11))) == ["AveragePool", "Reshape", "Softmax"]


def quantised(shape: list[int], dtype: type[np.integer[Any]], seed: int) -> np.ndarray:
    """Random 8-bit weights."""
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


def qdq(x: str, y: str, scale: str, zero: str) -> list[onnx.NodeProto]:
    """Fake quantisation."""
    return [
        node("QuantizeLinear", [x, scale, zero], [f"{y}_q"]),
        node("DequantizeLinear", [f"{y}_q", scale, zero], [y]),
    ]


@pytest.mark.parametrize(
    ("opset", "per_channel"), [(10, False), *((opset, p) for opset in (13, 21, 23) for p in (False, True))]
)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_qdq_network(opset: int, per_channel: bool, dtype: type[np.integer[Any]]) -> None:
    """Conv with per-tensor or per-channel weights and int32 bias, MaxPool, Flatten and MatMul, fake-quantised."""
    channels = [4] if per_channel else []
    constants = {
        "sx": np.float32(0.05),
        "zx": np.asarray(-10 if dtype is np.int8 else 118, dtype),
        "w": quantised([4, 3, 3, 3], dtype, 1),
        "sw": np.full(channels, 0.01, np.float32) * (1 + np.arange(4, dtype=np.float32) if per_channel else 1),
        "zw": np.zeros(channels, dtype) if per_channel else np.asarray(3, dtype),
        "b": np.asarray([100, -50, 0, 7], np.int32),
        "sb": np.full(channels, 0.0005, np.float32),
        "zb": np.zeros(channels, np.int32),
        "k": quantised([64, 5], dtype, 2),
        "one": np.asarray([1.0], np.float32),
    }
    axis = {"axis": 0} if per_channel else {}
    nodes = [
        *qdq("x", "xd", "sx", "zx"),
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], **axis),
        node("DequantizeLinear", ["b", "sb", "zb"], ["bd"], **axis),
        node("Conv", ["xd", "wd", "bd"], ["c"], pads=[1, 1, 1, 1]),
        node("Relu", ["c"], ["r"]),
        *qdq("r", "rd", "sx", "zx"),
        node("MaxPool", ["rd"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Flatten", ["p"], ["f"]),
        *qdq("f", "fd", "sx", "zx"),
        node("DequantizeLinear", ["k", "sx", "zx"], ["kd"]),
        node("MatMul", ["fd", "kd"], ["m"]),
        *qdq("m", "y", "one", "zx"),
    ]
    # One step of the output's scale: sums that lie on a rounding boundary may fall to either side.
    module = check(model(nodes, [1, 3, 8, 8], constants, opset=opset), tolerance=0.02)
    convs = [op for op in module.walk() if isinstance(op, dialect.ConvOp)]
    assert len(convs) == 2
    for conv in convs:
        dequantize = conv.weight.owner
        assert isinstance(dequantize, dialect.DequantizeLinearOp)
        source = dequantize.input.owner
        assert isinstance(source, dialect.ConstantOp)
        assert source.value.array.dtype == dtype
        assert conv.bias is None or isinstance(conv.bias.owner, dialect.ConstantOp)
    assert dialect.shape_of(convs[1].weight) == (5, 4, 4, 4)


def test_fake_quantised_float_weights_and_moved_integers() -> None:
    """QuantizeLinear of float weights is evaluated; Transpose of dequantised weights keeps the integers."""
    constants = {
        "w": random(4, 3),
        "s": np.asarray([0.01, 0.02, 0.03, 0.04], np.float32),
        "z": np.zeros(4, np.int8),
        "q": quantised([3, 6, 1, 1], np.int8, 3),
        "t": np.float32(0.1),
        "u": np.int8(0),
    }
    nodes = [
        node("DequantizeLinear", ["q", "t", "u"], ["qd"]),
        node("Conv", ["x", "qd"], ["c"]),
        node("GlobalAveragePool", ["c"], ["g"]),
        node("Flatten", ["g"], ["f"]),
        node("QuantizeLinear", ["w", "s", "z"], ["wq"], axis=0),
        node("DequantizeLinear", ["wq", "s", "z"], ["wd"], axis=0),
        node("Transpose", ["wd"], ["wt"], perm=[1, 0]),
        node("MatMul", ["f", "wt"], ["y"]),
    ]
    module = check(model(nodes, [1, 6, 4, 4], constants))
    weights = [op.weight.owner for op in module.walk() if isinstance(op, dialect.ConvOp)]
    assert [isinstance(w, dialect.DequantizeLinearOp) for w in weights] == [True, True]
    last = weights[1]
    assert isinstance(last, dialect.DequantizeLinearOp)
    assert last.scale.array.shape == (4,) and last.axis.value.data == 0


def test_pad_passes_fake_quantisation() -> None:
    constants = {
        "p": np.asarray([0, 0, 1, 1, 0, 0, 1, 1]),
        "s": np.float32(0.1),
        "z": np.int8(5),
        "w": random(2, 3, 3, 3),
    }
    nodes = [node("Pad", ["x", "p"], ["q"]), *qdq("q", "d", "s", "z"), node("Conv", ["d", "w"], ["y"])]
    assert operations(check(model(nodes, [1, 3, 5, 5], constants))) == ["QuantizeLinear", "DequantizeLinear", "Conv"]


def test_scale_of_8_bit_weights_takes_batch_normalization() -> None:
    constants = {n: np.abs(random(4, seed=i)) + np.float32(0.5) for i, n in enumerate("sbmv")}
    constants |= {"w": quantised([4, 3, 1, 1], np.int8, 1), "t": np.float32(0.1), "u": np.int8(0)}
    nodes = [
        node("DequantizeLinear", ["w", "t", "u"], ["d"]),
        node("Conv", ["x", "d"], ["c"]),
        node("BatchNormalization", ["c", *"sbmv"], ["y"]),
    ]
    assert operations(check(model(nodes, [1, 3, 5, 5], constants))) == ["DequantizeLinear", "Conv"]
