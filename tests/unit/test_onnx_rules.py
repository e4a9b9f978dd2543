"""What breaks the rules of ONNX is refused in one line, and what a model may ask of the importer has a limit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_graphs import check, constant, model, node, operations, random

from escc.onnx_import import import_model
from escc.onnx_import.evaluable import ELEMENTS
from isa.errors import UserError

Nodes = list[onnx.NodeProto]


def causes(proto: onnx.ModelProto) -> list[str]:
    with pytest.raises(UserError) as fault:
        import_model(proto.SerializeToString(), "m.onnx")
    assert fault.value.note
    assert all(cause.startswith("m.onnx: ") and "\n" not in cause for cause in fault.value.causes)
    return [cause.removeprefix("m.onnx: ") for cause in fault.value.causes]


def refused_by_onnxruntime(proto: onnx.ModelProto) -> bool:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return True
    return False


def changed(change: Callable[[onnx.GraphProto], object], nodes: Nodes | None = None) -> onnx.ModelProto:
    proto = model(nodes or [node("Relu", ["x"], ["y"], name="r")], [1, 3, 4, 4], {"c": np.ones(1, np.float32)})
    change(proto.graph)
    return proto


def _double_input(graph: onnx.GraphProto) -> None:
    graph.input.append(graph.input[0])


@pytest.mark.parametrize(
    ("proto", "what"),
    [
        (
            changed(lambda g: g.node.append(node("Sigmoid", ["x"], ["y"], name="s"))),
            "node 's' (Sigmoid): output 'y' is already an output of node 'r'; requires one definition of each name",
        ),
        (
            changed(lambda g: g.node.append(node("Sigmoid", ["y"], ["x"], name="s"))),
            "node 's' (Sigmoid): output 'x' is already an input of the model; requires one definition of each name",
        ),
        (
            changed(lambda g: g.node.append(node("Sigmoid", ["y"], ["c"], name="s"))),
            "node 's' (Sigmoid): output 'c' is already an initializer; requires one definition of each name",
        ),
        (changed(_double_input), "input 'x' is already an input of the model; requires one definition of each name"),
        (
            changed(lambda g: g.node.append(node("Relu", ["zz"], ["q"], name="s"))),
            "node 's' (Relu): input 'zz' is produced by no earlier node; requires a node that does",
        ),
        (
            changed(lambda g: None, [node("Add", ["x", "y"], ["q"], name="a"), node("Relu", ["q"], ["y"], name="r")]),
            "node 'a' (Add): input 'y' is produced by no earlier node; requires nodes in topological order",
        ),
        (
            changed(lambda g: None, [node("Add", ["x", "i"], ["y"], name="a"), constant("i", [1])][::-1]),
            "node 'a' (Add): inputs 'x' (float) and 'i' (int64) differ in type; requires one type",
        ),
        (
            changed(lambda g: g.node[0].attribute.append(helper.make_attribute("alpha", 1.0))),
            "node 'r' (Relu): is malformed: Unrecognized attribute: alpha for operator Relu",
        ),
        (
            changed(
                lambda g: g.node[0].attribute.append(helper.make_attribute("alpha", 1.0)),
                [node("LeakyRelu", ["x"], ["y"], name="l", alpha=0.5)],
            ),
            "node 'l' (LeakyRelu): is malformed: an attribute is given twice",
        ),
    ],
)
def test_what_onnxruntime_refuses_is_refused(proto: onnx.ModelProto, what: str) -> None:
    assert refused_by_onnxruntime(proto)
    assert causes(proto) == [what]


def test_two_initializers_of_one_name() -> None:
    proto = changed(lambda g: g.initializer.append(g.initializer[0]))
    assert causes(proto) == ["initializer 'c' is already an initializer; requires one definition of each name"]


def conv(weights: onnx.TensorProto, opset: int = 21) -> onnx.ModelProto:
    proto = model([node("Conv", ["x", "w"], ["y"], name="c")], [1, 3, 4, 4], opset=opset)
    proto.graph.initializer.append(weights)
    return proto


@pytest.mark.parametrize(
    ("weights", "what"),
    [
        (
            TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-4, 3, 1, 1], raw_data=bytes(48)),
            "initializer 'w' is damaged: shape [-4,3,1,1]; requires dimensions that are not negative",
        ),
        (
            helper.make_tensor("w", TensorProto.FLOAT, [0, 3, 1, 1], b"", raw=True),
            "node 'c' (Conv): weights of shape [0,3,1,1] unsupported; requires 4 dimensions of at least 1",
        ),
        *(
            (
                helper.make_tensor("w", kind, [4, 3, 1, 1], bytes(size), raw=True),
                f"node 'c' (Conv): input 'w' has type {name}; requires float",
            )
            for kind, size, name in (
                (TensorProto.INT4, 6, "int4"),
                (TensorProto.UINT4, 6, "uint4"),
                (TensorProto.INT8, 12, "int8"),
                (TensorProto.BOOL, 12, "bool"),
                (TensorProto.INT64, 96, "int64"),
                (TensorProto.FLOAT8E4M3FN, 12, "float8_e4m3fn"),
                (TensorProto.COMPLEX64, 96, "complex64"),
            )
        ),
    ],
)
def test_weights_of_other_shapes_and_types(weights: onnx.TensorProto, what: str) -> None:
    assert causes(conv(weights)) == [what]


def test_dequantised_weights_of_few_bits_are_their_real_numbers() -> None:
    weights = numpy_helper.from_array(np.arange(-6, 6, dtype=np.int8).reshape(4, 3, 1, 1), "q")
    packed = helper.make_tensor("q", TensorProto.INT4, [4, 3, 1, 1], np.arange(-6, 6).tolist())
    nodes = [node("DequantizeLinear", ["q", "s"], ["w"]), node("Conv", ["x", "w"], ["y"])]
    for tensor in (weights, packed):
        proto = model(nodes, [1, 3, 4, 4], {"s": np.float32(0.25)}, opset=21)
        proto.graph.initializer.append(tensor)
        check(proto)


def test_inputs_without_elements() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [1, 3, 0, 4])
    assert causes(proto) == ["input 'x': dimension 2 is 0; requires at least 1"]
    proto = model([node("Relu", ["x"], ["y"])], [0, 3, 4, 4])
    assert causes(proto) == ["input 'x': dimension 0 is 0; requires at least 1"]
    check(model([node("Relu", ["x"], ["y"])], [-1, 3, 4, 4]), random(1, 3, 4, 4))


def test_parameters_that_are_no_lists() -> None:
    constants = {"s": np.asarray(1), "e": np.asarray([3]), "a": np.asarray([2])}
    proto = model([node("Slice", ["x", "s", "e", "a"], ["y"], name="n")], [1, 3, 4, 4], constants)
    assert causes(proto) == ["node 'n' (Slice): input 's' has shape []; requires a list"]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        (onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor()), "0"),
        (helper.make_tensor_type_proto(TensorProto.INT64, None), "7"),
        (helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None)), "sequence_type"),
    ],
)
def test_outputs_declared_as_something_else(declared: onnx.TypeProto, kind: str) -> None:
    proto = changed(lambda g: g.output[0].type.CopyFrom(declared))
    assert refused_by_onnxruntime(proto)
    assert causes(proto) == [f"output 'y' is declared with element type {kind}; requires float"]


def test_names_that_are_no_text() -> None:
    data = changed(lambda g: None).SerializeToString().replace(b"\x01r", b"\x01\xf6")
    with pytest.raises(UserError) as fault:
        import_model(data, "m.onnx")
    assert fault.value.causes == (
        "m.onnx: name in node 0 of graph of the model is not UTF-8: b'\\xf6'; requires UTF-8",
    )


def test_attributes_that_refer_to_no_function() -> None:
    proto = changed(lambda g: None, [node("LeakyRelu", ["x"], ["y"], name="l")])
    proto.graph.node[0].attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    assert causes(proto) == [
        "node 'l' (LeakyRelu): attribute 'alpha' refers to 'slope' of a function, but stands in none; requires a value"
    ]


def function(name: str, nodes: Nodes, inputs: list[str], outputs: list[str], opset: int = 17) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, inputs, outputs, nodes, opsets, attributes=["slope"])


def call(name: str, *ends: str, **attributes: float) -> onnx.NodeProto:
    return node(name, list(ends[:-1]), [ends[-1]], domain="my", **attributes)


def with_functions(nodes: Nodes, *functions: onnx.FunctionProto) -> onnx.ModelProto:
    proto = model(nodes, [1, 2, 3, 3])
    proto.functions.extend(functions)
    proto.opset_import.append(helper.make_opsetid("my", 1))
    return proto


def test_functions_take_attributes_and_other_functions() -> None:
    leaky = node("LeakyRelu", ["a"], ["t"], name="leaky")
    leaky.attribute.add(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    inner = function("Inner", [leaky, node("Add", ["t", "b"], ["c"], name="add")], ["a", "b"], ["c"])
    outer = function("Outer", [call("Inner", "a", "a", "t", slope=0.25), call("Inner", "t", "a", "b")], ["a"], ["b"])
    proto = with_functions([call("Outer", "x", "t"), node("Relu", ["t"], ["y"])], inner, outer)
    assert operations(check(proto)) == ["Expression"]  # all of it depends on x element by element


def test_a_function_that_returns_its_argument() -> None:
    passing = function("Same", [], ["a"], ["a"])
    proto = with_functions([call("Same", "x", "t"), node("Relu", ["t"], ["y"])], passing)
    module = import_model(proto.SerializeToString())
    assert operations(module) == ["Identity", "Relu"]


@pytest.mark.parametrize(
    ("nodes", "functions", "what"),
    [
        (
            [call("F", "x", "y")],
            [function("F", [call("F", "a", "b")], ["a"], ["b"])],
            "function 'my::F' calls itself; requires functions without recursion",
        ),
        (
            [call("F", "x", "y")],
            [
                function("F", [call("G", "a", "b")], ["a"], ["b"]),
                function("G", [call("F", "a", "b")], ["a"], ["b"]),
            ],
            "function 'my::F' calls itself; requires functions without recursion",
        ),
        (
            [call("F0", "x", "y")],
            [
                function(f"F{i}", [call(f"F{i + 1}", "a", "t"), call(f"F{i + 1}", "t", "b")], ["a"], ["b"])
                for i in range(30)
            ]
            + [function("F30", [], ["a"], ["b"])],
            "its functions stand for more than 16,384 nodes; requires at most as many",
        ),
        (
            [call("F0", "x", "y")],
            [function(f"F{i}", [call(f"F{i + 1}", "a", "b")], ["a"], ["b"]) for i in range(80)],
            "functions call one another 64 deep; requires a flatter model",
        ),
        (
            [call("F", "x", "x", "y")],
            [function("F", [node("Relu", ["a"], ["b"])], ["a"], ["b"])],
            "function 'my::F' is called with 2 inputs; requires at most 1",
        ),
        (
            [call("F", "x", "y")],
            [function("F", [node("Relu", ["a"], ["b"])], ["a"], ["b"], opset=13)],
            "function 'my::F' uses opset 13; requires that of the model, 17",
        ),
        (
            [call("F", "x", "y")],
            [function("F", [node("Relu", ["a"], ["b"])], ["a"], ["b"])] * 2,
            "function 'my::F' is defined twice; requires one definition",
        ),
        (
            [call("F", "x", "y")],
            [function("F", [node("Relu", ["outside"], ["b"], name="r")], ["a"], ["b"])],
            "node 'r' (Relu): input 'outside' is produced by no earlier node; requires a node that does",
        ),
    ],
)
def test_functions_that_expand_to_no_graph(nodes: Nodes, functions: list[onnx.FunctionProto], what: str) -> None:
    assert causes(with_functions(nodes, *functions)) == [what]


def test_nodes_of_functions_have_a_limit_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    large = function("F", [constant("k", np.zeros(1000, np.float32)), node("Add", ["a", "k"], ["b"])], ["a"], ["b"])
    ends = ["x", "p", "q", "y"]
    proto = with_functions([call("F", *two) for two in itertools.pairwise(ends)], large)
    monkeypatch.setattr("escc.onnx_import.functions.MAX_FUNCTION_BYTES", 10_000)
    assert causes(proto) == ["its functions stand for nodes of more than 10,000 bytes; requires fewer"]


def test_nodes_of_the_graph_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("escc.onnx_import.wellformed.MAX_NODES", 2)
    nodes = [node("Relu", [a], [b]) for a, b in itertools.pairwise(["x", "p", "q", "y"])]
    assert causes(model(nodes, [1, 1, 2, 2])) == ["the graph has 3 nodes; requires at most 2"]


def test_activations_have_a_limit() -> None:
    limit = "elements; requires at most 67,108,864: export the model for a smaller input"
    proto = model([node("Relu", ["x"], ["y"])], [1, 1, 8192, 8193])
    assert causes(proto) == [f"tensor of shape [1, 1, 8192, 8193] has 67,117,056 {limit}"]
    pads = {"p": np.asarray([0, 0, 0, 0, 0, 0, 10**6, 10**6])}
    proto = model([node("Pad", ["x", "p"], ["y"], name="p")], [1, 1, 2, 2], pads)
    assert causes(proto) == [f"node 'p' (Pad): tensor of shape [1, 1, 1000002, 1000002] has 1,000,004,000,004 {limit}"]


@pytest.mark.parametrize(
    ("kind", "attributes", "what"),
    [
        ("MaxPool", {"strides": [0, 1]}, "strides=[0,1] unsupported; requires 2 values of at least 1"),
        ("MaxPool", {"strides": [0, 0], "auto_pad": "SAME_UPPER"}, "strides=[0,0] unsupported"),
        ("MaxPool", {"kernel_shape": [3]}, "kernel_shape=[3] unsupported; requires 2 values of at least 1"),
        ("AveragePool", {"kernel_shape": [0, 3]}, "kernel_shape=[0,3] unsupported"),
        ("MaxPool", {"ceil_mode": 2}, "is malformed: ceil_mode=2; requires 0 or 1"),
        ("MaxPool", {"pads": [1, 1]}, "pads=[1,1] unsupported; requires 4 values"),
        ("MaxPool", {"pads": [3, 0, 0, 0]}, "pads=[3,0,0,0] of a window of [3,3]; requires smaller pads"),
        ("Conv", {"strides": [0, 1]}, "strides=[0,1] unsupported"),
        ("Conv", {"dilations": [1]}, "dilations=[1] unsupported; requires 2 values of at least 1"),
        (
            "Conv",
            {"pads": [10**6] * 4, "strides": [10**6] * 2},
            "tensor of shape [1, 3, 2000008, 2000008] has 12,000,096,000,192 elements; requires at most 67,108,864",
        ),
        (
            "MaxPool",
            {"kernel_shape": [300, 300], "pads": [296] * 4},
            "24,462,270,000 values in its windows; requires at most 1,073,741,824",
        ),
    ],
)
def test_windows_have_limits(kind: str, attributes: dict[str, Any], what: str) -> None:
    inputs = ["x", "w"] if kind == "Conv" else ["x"]
    attributes = attributes if kind == "Conv" else {"kernel_shape": [3, 3]} | attributes
    proto = model([node(kind, inputs, ["y"], name="n", **attributes)], [1, 3, 8, 8], {"w": random(4, 3, 3, 3)})
    (cause,) = causes(proto)
    assert cause.startswith(f"node 'n' ({kind}): {what}")


def test_attributes_that_are_lists_without_values() -> None:
    proto = model([node("MaxPool", ["x"], ["y"], name="n", kernel_shape=[2, 2])], [1, 3, 8, 8])
    proto.graph.node[0].attribute.add(name="pads", type=onnx.AttributeProto.INTS)
    assert causes(proto) == ["node 'n' (MaxPool): pads=[] unsupported; requires 4 values"]


def test_multiplications_have_a_limit() -> None:
    proto = model([node("Conv", ["x", "w"], ["y"], name="n")], [1, 1, 4000, 4000], {"w": random(1, 1, 100, 100)})
    assert causes(proto) == [
        "node 'n' (Conv): 152,178,010,000 multiplications; requires at most 137,438,953,472: "
        "export the model for a smaller input or window"
    ]


LARGE = np.asarray([10**5, 10**5])


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes"),
    [
        ("ConstantOfShape", [LARGE], {}),
        ("Expand", [np.float32(1), LARGE], {}),
        ("Tile", [np.ones((1, 1), np.float32), LARGE], {}),
        ("Range", [np.float32(0), np.float32(1e12), np.float32(0.5)], {}),
        ("Pad", [np.ones((1, 1), np.float32), np.asarray([0, 0, 10**5, 10**5])], {}),
        ("Add", [np.ones((10**4, 1), np.float32), np.ones((1, 10**4), np.float32)], {}),
        ("MatMul", [np.ones((10**4, 1), np.float32), np.ones((1, 10**4), np.float32)], {}),
        ("Gather", [np.ones((10**4, 1), np.float32), np.zeros(10**4, np.int64)], {"axis": 1}),
        ("OneHot", [np.zeros(10**4, np.int64), np.asarray(10**9), np.asarray([0, 1], np.float32)], {}),
    ],
)
def test_constants_that_are_computed_have_a_limit(
    kind: str, inputs: list[np.ndarray], attributes: dict[str, int]
) -> None:
    names = [f"i{k}" for k in range(len(inputs))]
    nodes = [node(kind, names, ["k"], name="large", **attributes), node("Add", ["x", "k"], ["y"])]
    (cause,) = causes(model(nodes, [1, 1, 2, 2], dict(zip(names, inputs, strict=True))))
    assert cause.startswith(f"node 'large' ({kind}): makes a constant of ")
    assert cause.endswith("in all constants that are computed at import: store large ones as initializers")


def test_constants_count_together() -> None:
    nodes = [node("ConstantOfShape", ["s"], [f"k{i}"], name=f"c{i}") for i in range(3)]
    nodes += [
        node("Sum", ["k0", "k1", "k2"], ["k"]),
        node("Reshape", ["x", "s"], ["r"]),
        node("Add", ["r", "k"], ["y"]),
    ]
    found = causes(model(nodes, [1, 1, 2, 2], {"s": np.asarray([3000, 3000])}))
    assert found[0].startswith("2 nodes (ConstantOfShape) 'c1', 'c2': makes a constant of 9,000,000 elements; requires")


def test_only_listed_operators_are_evaluated() -> None:
    assert "Einsum" not in ELEMENTS
    nodes = [node("Einsum", ["c", "c"], ["k"], name="e", equation="i,j->ij"), node("Add", ["x", "k"], ["y"])]
    assert causes(model(nodes, [1, 1, 2, 2], {"c": np.ones(2, np.float32)})) == [
        "node 'e' (Einsum): operator unsupported"
    ]
    nodes = [node("MaxPool", ["c"], ["k"], name="m", kernel_shape=[1, 1]), node("Add", ["x", "k"], ["y"])]
    assert causes(model(nodes, [1, 1, 2, 2], {"c": random(1, 1, 2, 2)})) == [
        "node 'm' (MaxPool): operator unsupported on constants; requires an input that depends on the model's"
    ]


def test_one_line_for_many_nodes_with_one_fault() -> None:
    nodes = [node("LSTM", ["x", "w", "w"], [f"t{i}"], name=f"n{i}") for i in range(5)]
    nodes += [node("MaxPool", ["x"], [f"d{d}"], name=f"d{d}", kernel_shape=[2, 2], pads=[d] * 4) for d in (2, 3)]
    nodes.append(node("Concat", [*(f"t{i}" for i in range(5)), "d2", "d3"], ["y"], axis=1))
    with pytest.raises(UserError) as fault:
        import_model(model(nodes, [1, 1, 8, 8], {"w": random(1, 1, 2, 2)}).SerializeToString(), "m.onnx")
    assert fault.value.causes == (
        "m.onnx: 5 nodes (LSTM) 'n0', 'n1', 'n2' and 2 more: operator unsupported",
        "m.onnx: 2 nodes (MaxPool) 'd2', 'd3': the first pads=[2,2,2,2] of a window of [2,2]; requires smaller pads",
    )
    assert fault.value.note.endswith("; -v names every node")
    assert len(fault.value.details) == 7
    assert (
        fault.value.details[6]
        == "m.onnx: node 'd3' (MaxPool): pads=[3,3,3,3] of a window of [2,2]; requires smaller pads"
    )


@pytest.mark.parametrize(
    ("kind", "output", "attributes"), [("Dropout", "mask", {}), ("MaxPool", "indices", {"kernel_shape": [2, 2]})]
)
def test_outputs_that_nothing_reads_do_not_matter(kind: str, output: str, attributes: dict[str, list[int]]) -> None:
    first = node(kind, ["x"], ["t", output], name="first", **attributes)
    last = node("Relu", ["t"], ["y"])
    check(model([first, last], [1, 3, 4, 4]))
    # Read by a node that no output needs: that is not read either.
    check(model([first, node("Identity", [output], ["idle"]), last], [1, 3, 4, 4]))
    read = model([first, last], [1, 3, 4, 4])
    read.graph.output.append(helper.make_empty_tensor_value_info(output))
    assert causes(read)[0].startswith(f"node 'first' ({kind}): output ")


def test_statistics_of_batch_normalization_mean_training() -> None:
    """Before opset 14 by the standard, read or not: onnxruntime computes other numbers then."""
    outputs = ["y", "mean", "var", "saved_mean", "saved_var"]
    proto = model(
        [node("BatchNormalization", ["x", *"cccc"], outputs)], [1, 3, 4, 4], {"c": np.ones(3, np.float32)}, opset=9
    )
    assert causes(proto) == [
        "node 'BatchNormalization_0' (BatchNormalization): 5 outputs (training mode); requires 1: "
        "export the model for inference"
    ]


OLD: list[tuple[Nodes, dict[str, np.ndarray]]] = [
    ([node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], {"w": random(4, 3, 3, 3)}),
    (
        [node("BatchNormalization", ["x", *"sbmv"], ["y"])],
        {n: np.abs(random(3, seed=i)) + np.float32(0.5) for i, n in enumerate("sbmv")},
    ),
    ([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])], {}),
    ([node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[1, 1, 0, 0])], {}),
    ([node("GlobalAveragePool", ["x"], ["p"]), node("Flatten", ["p"], ["y"])], {}),
    ([node("Dropout", ["x"], ["d", "mask"]), node("Relu", ["d"], ["y"])], {}),
    ([node("Add", ["x", "c"], ["y"])], {"c": random(3, 1, 1)}),
    ([node("Mul", ["x", "c"], ["y"])], {"c": random(1)}),
    ([node("Sum", ["x", "x"], ["y"])], {}),
    ([node("Clip", ["x"], ["y"], min=0.0, max=0.5)], {}),
    (
        [node("Pad", ["x"], ["p"], pads=[0, 0, 1, 1, 0, 0, 1, 1]), node("MaxPool", ["p"], ["y"], kernel_shape=[3, 3])],
        {},
    ),
    ([node("Slice", ["x"], ["y"], axes=[2], starts=[1], ends=[3])], {}),
    ([node("Concat", ["x", "x"], ["y"], axis=1)], {}),
    ([node("ReduceMean", ["x"], ["y"], axes=[2, 3])], {}),
    ([node("LeakyRelu", ["x"], ["a"]), node("HardSigmoid", ["a"], ["b"]), node("Elu", ["b"], ["y"])], {}),
    (
        [
            node("GlobalMaxPool", ["x"], ["p"]),
            node("Squeeze", ["p"], ["q"], axes=[2, 3]),
            node("Gemm", ["q", "k", "b"], ["r"], transB=1),
            node("Softmax", ["r"], ["y"]),
        ],
        {"k": random(5, 3), "b": random(5)},
    ),
    (
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n"], ["u"], axes=[0]),
            node("Concat", ["u", "minus"], ["r"], axis=0),
            node("Reshape", ["x", "r"], ["f"]),
            node("MatMul", ["f", "k"], ["y"]),
        ],
        {"zero": np.asarray(0), "minus": np.asarray([-1]), "k": random(48, 2)},
    ),
]


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize(("nodes", "constants"), OLD, ids=["-".join(n.op_type for n in nodes) for nodes, _ in OLD])
def test_opsets_7_and_8(nodes: Nodes, constants: dict[str, np.ndarray], opset: int) -> None:
    check(model(nodes, [1, 3, 4, 4], constants, opset=opset), legal=False)


def test_batch_normalization_that_is_not_spatial() -> None:
    nodes = [node("BatchNormalization", ["x", *"cccc"], ["y"], spatial=0, name="b")]
    proto = model(nodes, [1, 3, 4, 4], {"c": np.ones((3, 4, 4), np.float32)}, opset=7)
    assert causes(proto) == ["node 'b' (BatchNormalization): spatial=0 unsupported; requires 1: statistics per channel"]
