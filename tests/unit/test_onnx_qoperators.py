"""Models of integer operators, as onnxruntime's own quantisation writes them, against onnxruntime."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnx_graphs import canonical, close, model, node, operations, random
from onnxruntime import quantization
from xdsl.dialects.builtin import ModuleOp

from dialects.interpreters.run import run_module
from escc.cli.compile import main
from escc.onnx_import import import_model
from isa.errors import UserError

SHAPE = [1, 4, 10, 10]


class RandomSamples(quantization.CalibrationDataReader):
    """Some inputs, one by one."""

    def __init__(self) -> None:
        self.left = iter([{"x": random(*SHAPE, seed=i)} for i in range(8)])

    def get_next(self) -> Any:
        return next(self.left, None)


def network() -> onnx.ModelProto:
    """Convolutions, a sum, a product, pools, an activation by table, a concatenation and a dense layer."""
    weights = {"w": random(6, 4, 3, 3, scale=0.3), "b": random(6), "v": random(6, 6, 1, 1, seed=2, scale=0.4)}
    weights |= {"d": random(12, 5, seed=3, scale=0.4), "e": random(5)}
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1], name="first"),
        node("Relu", ["c"], ["r"], name="relu"),
        node("Conv", ["r", "v"], ["k"], name="second"),
        node("Sigmoid", ["k"], ["s"], name="gate"),
        node("Mul", ["r", "s"], ["m"], name="mul"),
        node("Add", ["m", "k"], ["a"], name="add"),
        node("MaxPool", ["a"], ["p"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
        node("LeakyRelu", ["p"], ["l"], name="leaky"),
        node("Concat", ["l", "p"], ["j"], axis=1, name="join"),
        node("GlobalAveragePool", ["j"], ["g"], name="mean"),
        node("Flatten", ["g"], ["f"], name="flat"),
        node("Gemm", ["f", "d", "e"], ["y"], name="dense"),
    ]
    return model(nodes, SHAPE, weights, opset=17)


def quantised(path: Path, per_channel: bool, signed: bool) -> onnx.ModelProto:
    """The network in the QOperator format."""
    onnx.save(network(), path / "float.onnx")
    kind = quantization.QuantType.QInt8 if signed else quantization.QuantType.QUInt8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_static(
            path / "float.onnx",
            path / "int.onnx",
            RandomSamples(),
            quant_format=quantization.QuantFormat.QOperator,
            per_channel=per_channel,
            activation_type=kind,
            weight_type=quantization.QuantType.QInt8,
        )
    return onnx.load(path / "int.onnx")


def reference(proto: onnx.ModelProto, x: Any) -> Any:
    """Outputs of onnxruntime, which alone knows these operators."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def imported(proto: onnx.ModelProto) -> ModuleOp:
    return import_model(proto.SerializeToString())


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_static_models(per_channel: bool, signed: bool, tmp_path: Path) -> None:
    proto = quantised(tmp_path, per_channel, signed)
    kinds = {n.op_type for n in proto.graph.node}
    assert {"QLinearConv", "QLinearAdd", "QLinearGlobalAveragePool"} <= kinds
    module, x = imported(proto), random(*SHAPE, seed=20)
    step = 2.5 * np.abs(reference(proto, x)[0]).max() / 255
    got, want = run_module(module, [x])[0], reference(proto, x)[0]
    assert got.shape == want.shape and np.abs(got - want).max() <= 2 * step
    assert "Conv" in operations(canonical(module))


def test_a_static_model_runs_on_the_machine(tmp_path: Path) -> None:
    onnx.save(quantised(tmp_path, per_channel=True, signed=True), tmp_path / "int.onnx")
    arguments = [str(tmp_path / "int.onnx"), "--verify-numerics", "-o", str(tmp_path / "m.bin"), "-q"]
    assert main(arguments) == 0


@pytest.mark.parametrize("kind", [quantization.QuantType.QInt8, quantization.QuantType.QUInt8])
def test_dynamic_models(kind: quantization.QuantType, tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "float.onnx")
    quantization.quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int.onnx", weight_type=kind)
    proto = onnx.load(tmp_path / "int.onnx")
    assert {"DynamicQuantizeLinear", "ConvInteger", "MatMulInteger"} <= {n.op_type for n in proto.graph.node}
    x = random(*SHAPE, seed=20)
    module = imported(proto)
    got, want = run_module(module, [x])[0], reference(proto, x)[0]
    assert np.abs(got - want).max() <= 0.05 * np.abs(want).max()
    canonical(module)


def test_sums_of_static_integers() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.05),
        "z": np.uint8(100),
        "w": rng.integers(0, 255, (5, 4, 3, 3)).astype(np.uint8),
        "wz": np.uint8(120),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2]),
        node("ConvInteger", ["p", "w", "z", "wz"], ["i"]),
        node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    proto, x = model(nodes, SHAPE, constants), random(*SHAPE)
    module = imported(proto)
    close(run_module(module, [x]), reference(proto, x), 1e-3)
    canonical(module)


def test_matrices_of_integers() -> None:
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.02),
        "z": np.int8(3),
        "w": rng.integers(-120, 120, (7, 5)).astype(np.int8),
        "ws": rng.uniform(0.01, 0.05, 5).astype(np.float32),
        "wz": np.zeros(5, np.int8),
        "ys": np.float32(0.1),
    }
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("QLinearMatMul", ["q", "s", "z", "w", "ws", "wz", "ys", "z"], ["m"]),
        node("DequantizeLinear", ["m", "ys", "z"], ["y"]),
    ]
    proto, x = model(nodes, [1, 7], constants), random(1, 7)
    module = imported(proto)
    close(run_module(module, [x]), reference(proto, x), 0.02)
    canonical(module)


def stored(kind: str, version: int, others: dict[str, Any], shape: list[int], **attributes: Any) -> onnx.ModelProto:
    """An operator of onnxruntime's own on a quantised input, dequantised behind it where `ys` is among its constants.

    `others` are its constants behind those of the input, by name and in order; "" stands for an absent one.
    """
    constants = {"s": np.float32(0.03), "z": np.uint8(120), **others}
    inputs = ["q", "s", "z", *("" if value is None else name for name, value in others.items())]
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node(kind, inputs, ["r"], name="op", domain="com.microsoft", **attributes),
        node("DequantizeLinear", ["r", "ys", "yz"], ["y"]) if "ys" in others else node("Identity", ["r"], ["y"]),
    ]
    proto = model(nodes, shape, {k: v for k, v in constants.items() if v is not None}, opset=version)
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return proto


_OUT = {"ys": np.float32(0.1), "yz": np.uint8(128)}


def _matrix(channels: int) -> dict[str, Any]:
    """Stored weights of [7,5], with a scale for each of their columns or one for all."""
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.01, 0.03, channels).astype(np.float32)
    one = () if channels == 1 else channels
    return {
        "w": rng.integers(-120, 120, (7, 5)).astype(np.int8),
        "ws": scales.reshape(one),
        "wz": np.zeros(one, np.int8),
    }


def _steps(proto: onnx.ModelProto, x: Any) -> float:
    """How far the imported model is from onnxruntime, in steps of 0.1."""
    return float(np.abs(run_module(imported(proto), [x])[0] - reference(proto, x)[0]).max() / 0.1)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("bias", [None, np.arange(-200, 300, 100, dtype=np.int32)])
@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("opset", [10, 11, 17])
def test_products_of_integers_with_a_bias(opset: int, channels: int, bias: Any, alpha: float) -> None:
    """The steps of the bias are `alpha` times those of the product; scales of columns come before opset 13 too."""
    others = {**_matrix(channels), "b": bias, **_OUT}
    assert _steps(stored("QGemm", opset, others, [1, 7], alpha=alpha), random(1, 7)) <= 1.01


def test_a_product_of_integers_may_be_real() -> None:
    proto = stored("QGemm", 17, {**_matrix(1), "b": np.arange(5, dtype=np.int32)}, [1, 7])
    assert _steps(proto, random(1, 7)) <= 1e-3


@pytest.mark.parametrize("opset", [10, 11, 12])
def test_weights_with_scales_of_channels_before_opset_13(opset: int) -> None:
    rng = np.random.default_rng(2)
    others = {
        "w": rng.integers(-120, 120, (5, 4, 3, 3)).astype(np.int8),
        "ws": rng.uniform(0.001, 0.01, 5).astype(np.float32),
        "wz": np.zeros(5, np.int8),
        **_OUT,
    }
    proto = stored("QLinearConv", opset, others, SHAPE)
    proto.graph.node[1].domain = ""
    assert _steps(proto, random(*SHAPE)) <= 1.01
    canonical(imported(proto))


@pytest.mark.parametrize(("kind", "of"), [("MatMulInteger", (7, 5)), ("ConvInteger", (5, 7, 1, 1))])
def test_weights_with_zero_points_of_channels(kind: str, of: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    weights, zeros = rng.integers(0, 255, of).astype(np.uint8), rng.integers(100, 150, 5).astype(np.uint8)
    signal = [1, 7] if kind == "MatMulInteger" else [1, 7, 2, 2]
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node(kind, ["q", "w", "z", "wz"], ["i"]),
        node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    constants = {"s": np.float32(0.03), "z": np.uint8(120), "w": weights, "wz": zeros}
    x = random(*signal)
    # onnxruntime has no such ConvInteger: sums of weights less their zero points.
    integers = np.clip(np.rint(x / np.float32(0.03)) + 120, 0, 255) - 120
    less = weights.astype(np.float64) - zeros.reshape((1, 5) if kind == "MatMulInteger" else (5, 1, 1, 1))
    spelt = "nk,km->nm" if kind == "MatMulInteger" else "nkhw,mkrs->nmhw"
    close(run_module(imported(model(nodes, signal, constants)), [x]), [np.einsum(spelt, integers, less) * 0.03])


def test_zero_points_that_do_not_fit_are_said() -> None:
    nodes = [node("DequantizeLinear", ["w", "s", "z"], ["d"], name="real"), node("MatMul", ["x", "d"], ["y"])]
    constants = {"w": np.ones((7, 5), np.int8), "s": np.float32(0.1), "z": np.zeros(5, np.int8)}
    with pytest.raises(UserError, match=r"node 'real' \(DequantizeLinear\): 5 zero points for 1 scales; requires one"):
        imported(model(nodes, [1, 7], constants))


def test_zero_points_behind_identities_are_found() -> None:
    proto = sums(np.uint8(90), np.uint8(90))
    proto.graph.node[1].input[2] = "again"
    proto.graph.node.insert(1, node("Identity", ["other"], ["again"]))
    x = random(1, 7)
    close(run_module(imported(proto), [x]), reference(proto, x), 1e-3)


def test_means_of_integers_where_axes_are_an_input() -> None:
    """onnxruntime does not run this operator: the mean of what the integers stand for, in steps of the result."""
    proto, x = stored("QLinearReduceMean", 18, _OUT, SHAPE, axes=[2, 3], keepdims=1), random(*SHAPE)
    integers = np.clip(np.rint(x / np.float32(0.03)), -120, 135) * 0.03
    want = np.rint(integers.mean(axis=(2, 3), keepdims=True) / 0.1) * 0.1
    assert np.abs(run_module(imported(proto), [x])[0] - want).max() <= 0.101


@pytest.mark.parametrize(("opset", "said"), [(11, 11), (17, 17), (17, 11), (11, 17)])
@pytest.mark.parametrize("axis", [None, 1, -1])
def test_a_softmax_of_integers_says_itself_what_its_axis_means(opset: int, said: int, axis: int | None) -> None:
    out = {"ys": np.float32(1 / 256), "yz": np.uint8(0)}
    given = {} if axis is None else {"axis": axis}
    proto, x = stored("QLinearSoftmax", opset, out, [1, 4, 3, 5], opset=said, **given), random(1, 4, 3, 5)
    if axis == 1 and opset != said:
        with pytest.raises(UserError, match=rf"node 'op' \(QLinearSoftmax\): opset={said} and axis=1 in a model of"):
            imported(proto)
        return
    assert np.abs(run_module(imported(proto), [x])[0] - reference(proto, x)[0]).max() <= 1.01 / 256


@pytest.mark.parametrize("behind", [[], [node("Reshape", ["q", "shape"], ["y"])]])
@pytest.mark.parametrize(("scale", "zero"), [(1 / 256, np.uint8(0)), (1 / 255, np.uint8(0)), (1 / 256, np.int8(-128))])
def test_stored_probabilities_are_those_of_the_softmax(scale: float, zero: Any, behind: list[onnx.NodeProto]) -> None:
    """The host computes them: what it does not round is within a step of what the model does."""
    nodes = [
        node("MatMul", ["x", "w"], ["m"]),
        node("Softmax", ["m"], ["p"]),
        node("QuantizeLinear", ["p", "s", "z"], ["i"]),
        node("DequantizeLinear", ["i", "s", "z"], ["q" if behind else "y"]),
        *behind,
    ]
    constants = {"w": random(7, 5), "s": np.float32(scale), "z": zero, "shape": np.array([5])}
    used = {i for one in nodes for i in one.input}
    proto, x = model(nodes, [1, 7], {k: v for k, v in constants.items() if k in used}), 4 * random(1, 7)
    module = canonical(imported(proto))
    got, want = run_module(module, [x])[0], reference(proto, x)[0]
    assert "QuantizeLinear" not in operations(module)
    assert np.abs(got - want).max() <= 1.01 * scale


def test_a_softmax_stored_in_part_is_refused() -> None:
    nodes = [node("Softmax", ["x"], ["p"]), node("QuantizeLinear", ["p", "s", "z"], ["i"])]
    proto = model(
        [*nodes, node("DequantizeLinear", ["i", "s", "z"], ["y"])], [1, 7], {"s": np.float32(0.001), "z": np.uint8(0)}
    )
    with pytest.raises(UserError, match=r"\(Softmax\): stands before other operators"):
        canonical(imported(proto))


@pytest.mark.parametrize("zero", [np.uint8(100), np.int8(-7), None])
@pytest.mark.parametrize("filled", [False, True])
def test_stored_values_are_padded(zero: Any, filled: bool) -> None:
    """With the integer that the model names, or with the integer 0: zeros are those of the zero point alone."""
    names = ["s", "z"] if zero is not None else ["s"]
    nodes = [
        node("QuantizeLinear", ["x", *names], ["q"]),
        node("Pad", ["q", "pads", *(["z"] if filled and zero is not None else [])], ["p"]),
        node("DequantizeLinear", ["p", *names], ["d"]),
        node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2]),
    ]
    constants = {"s": np.float32(0.03), "pads": np.array([0, 0, 1, 1, 0, 0, 0, 2])}
    constants |= {} if zero is None else {"z": zero}
    proto, x = model(nodes, SHAPE, constants), random(*SHAPE)
    module = imported(proto)
    close(run_module(module, [x]), reference(proto, x), 1e-3)
    canonical(module, legal=filled or zero is None)


def test_a_bias_may_have_8_bits() -> None:
    nodes = [node("DequantizeLinear", ["i", "s"], ["b"]), node("Conv", ["x", "w", "b"], ["y"])]
    constants = {"i": np.array([5, -7, 90], np.int8), "s": np.float32(0.03), "w": random(3, 4, 3, 3)}
    proto, x = model(nodes, SHAPE, constants), random(*SHAPE)
    module = canonical(imported(proto))
    assert operations(module) == ["Conv"]
    close(run_module(module, [x]), reference(proto, x))


def test_maps_of_integers_with_channels_last_are_refused() -> None:
    proto = stored("QLinearGlobalAveragePool", 17, _OUT, SHAPE, channels_last=1)
    with pytest.raises(UserError, match=r"node 'op' \(QLinearGlobalAveragePool\): channels_last=1 unsupported"):
        imported(proto)


def test_integers_whose_scale_is_not_known_are_refused() -> None:
    graph = helper.make_graph(
        [node("ConvInteger", ["x", "w"], ["y"], name="sum")],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.UINT8, SHAPE)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.INT32, None)],
        [numpy_helper.from_array(np.ones((5, 4, 3, 3), np.uint8), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UserError, match=r"input 'x' has type uint8; requires float"):
        imported(proto)


def sums(zero: np.uint8 | None, named: np.uint8 | None) -> onnx.ModelProto:
    """Integers with the zero point `zero` (None: left out), summed with the zero point `named`."""
    constants: dict[str, Any] = {"s": np.float32(0.05), "w": np.arange(35, dtype=np.int8).reshape(7, 5)}
    constants |= {name: value for name, value in (("z", zero), ("other", named)) if value is not None}
    nodes = [
        node("QuantizeLinear", ["x", "s", *(["z"] if zero is not None else [])], ["q"]),
        node("MatMulInteger", ["q", "w", *(["other"] if named is not None else [])], ["i"], name="sum"),
        node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]
    return model(nodes, [1, 7], constants)


@pytest.mark.parametrize(
    ("zero", "named"), [(np.uint8(90), np.uint8(90)), (np.uint8(0), None), (None, np.uint8(0)), (None, None)]
)
def test_equal_zero_points_may_have_other_names_or_none(zero: np.uint8 | None, named: np.uint8 | None) -> None:
    proto, x = sums(zero, named), random(1, 7)
    close(run_module(imported(proto), [x]), reference(proto, x), 1e-3)


@pytest.mark.parametrize(("zero", "named"), [(np.uint8(90), None), (np.uint8(90), np.uint8(80)), (None, np.uint8(1))])
def test_sums_with_another_zero_point_are_refused(zero: np.uint8 | None, named: np.uint8 | None) -> None:
    with pytest.raises(
        UserError, match=r"node 'sum' \(MatMulInteger\): the zero point of its input is not that of the QuantizeLinear"
    ):
        imported(sums(zero, named))


def dynamic(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """What reads `q`, `s` and `z` of a DynamicQuantizeLinear, to `y`; `w` are weights of a convolution."""
    constants = {"w": np.random.default_rng(0).integers(-120, 120, (5, 4, 3, 3)).astype(np.int8)}
    constants |= {"edges": np.array([0, 0, 1, 1, 0, 0, 0, 2])}
    used = {k: v for k, v in constants.items() if any(k in n.input for n in nodes)}
    return model([node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dynamic"), *nodes], SHAPE, used)


def summed(x: str, *zero: str) -> list[onnx.NodeProto]:
    return [
        node("ConvInteger", [x, "w", *zero], ["i"], name="sum"),
        node("Cast", ["i"], ["f"], to=onnx.TensorProto.FLOAT),
        node("Mul", ["f", "s"], ["y"]),
    ]


@pytest.mark.parametrize(
    "nodes",
    [
        [node("DequantizeLinear", ["q", "s", "z"], ["y"], name="real")],
        [node("MaxPool", ["q"], ["p"], kernel_shape=[2, 2], name="pool"), *summed("p", "z")],
        [node("Transpose", ["q"], ["p"], perm=[0, 1, 3, 2], name="turn"), *summed("p", "z")],
        [node("Pad", ["q", "edges", "z"], ["p"], name="pad"), *summed("p", "z")],
        [node("Pad", ["q", "edges"], ["p"], mode="edge", name="pad"), *summed("p", "z")],
    ],
)
def test_dynamic_integers_are_dequantised_and_moved(nodes: list[onnx.NodeProto]) -> None:
    proto, x = dynamic(*nodes), random(*SHAPE)
    got, want = run_module(imported(proto), [x])[0], reference(proto, x)[0]
    assert np.abs(got - want).max() <= 0.02 * np.abs(want).max()


@pytest.mark.parametrize(
    ("nodes", "cause"),
    [
        (
            summed("q"),
            r"node 'sum' \(ConvInteger\): reads integers of a DynamicQuantizeLinear with another scale or zero point",
        ),
        (
            [node("Cast", ["q"], ["y"], to=onnx.TensorProto.FLOAT, name="wide")],
            r"node 'wide' \(Cast\): reads integers of a DynamicQuantizeLinear; requires ConvInteger",
        ),
        (
            [node("Pad", ["q", "edges"], ["p"], name="pad"), *summed("p", "z")],
            r"node 'pad' \(Pad\): pads integers of a DynamicQuantizeLinear with another value than their zero point",
        ),
        (
            [node("Identity", ["q"], ["y"], name="same")],
            "output 'y': integers of a DynamicQuantizeLinear, which operators alone can read",
        ),
    ],
)
def test_other_readers_of_dynamic_integers_are_refused(nodes: list[onnx.NodeProto], cause: str) -> None:
    with pytest.raises(UserError, match=cause):
        imported(dynamic(*nodes))
