"""What is wrong with a model is said in one line each, all at once, by node name."""

from __future__ import annotations

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_graphs import canonical, constant, model, node, random
from xdsl.dialects.builtin import TensorType
from xdsl.ir import Attribute

from dialects import onnx as onnx_dialect
from escc.onnx_import import import_model, supported_ops
from escc.onnx_import.constraints import Constraint
from escc.onnx_import.operators import operators
from isa.errors import UserError
from passes.onnx_legalize import legal_checks, legal_operations


def causes(source: onnx.ModelProto | bytes | Path, legalize: bool = False) -> list[str]:
    """Lines of the UserError that import (or legalisation) raises."""
    data = source.SerializeToString() if isinstance(source, onnx.ModelProto) else source
    with pytest.raises(UserError) as fault:
        module = import_model(data, "m.onnx")
        assert legalize, "the import succeeded"
        canonical(module)
    assert fault.value.note
    assert all("\n" not in cause for cause in fault.value.causes)
    return [c.removeprefix("m.onnx: ") for c in fault.value.causes]


CONV = model([node("Conv", ["x", "w"], ["y"], name="/a/Conv")], [1, 2, 8, 8], {"w": random(3, 2, 3, 3)})


def test_all_offenders_are_listed_at_once() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="/layer1/Conv", auto_pad="NONE"),
        node("LSTM", ["a", "w", "w"], ["b"], name="/rnn"),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["x", "w"], ["d"], name="/layer2/Conv", group=3),
        node("Einsum", ["d", "c"], ["y"], equation="abcd,abcd->ab"),
    ]
    assert causes(model(nodes, [1, 2, 8, 8], {"w": random(3, 2, 3, 3)})) == [
        "node '/layer1/Conv' (Conv): auto_pad=NONE unsupported; requires NOTSET, VALID, SAME_UPPER or SAME_LOWER",
        "node '/rnn' (LSTM): operator unsupported",
        "node '/layer2/Conv' (Conv): group=3 with weights [3,2,3,3] and 2 input channels; "
        "requires group x weights[1] = input channels, and group dividing weights[0]",
        "node 'Einsum_4' (Einsum): operator unsupported",
    ]


def test_nodes_that_no_output_needs_do_not_matter() -> None:
    proto = model([node("LSTM", ["x"], ["z"]), node("Relu", ["x"], ["y"])], [1, 2, 8, 8])
    assert import_model(proto.SerializeToString())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the file is empty"),
        (b"hello, this is no model\n" * 9, "is a text file, not an ONNX model"),
        (CONV.SerializeToString()[:-7], "is damaged, truncated or not an ONNX model"),
        (CONV.SerializeToString()[:2], "holds no ONNX graph; it is truncated or not an ONNX model"),
        (bytes(range(128, 256)) * 20, "is damaged, truncated or not an ONNX model"),
        (b"\x7fELF\x02\x01\x01" + bytes(64), "is an ELF binary, not an ONNX model"),
        (lzma.compress(bytes(64)), "is packed by xz, not an ONNX model"),
        (gzip.compress(bytes(64)), "is packed by gzip, not an ONNX model"),
        (bz2.compress(bytes(64)), "is packed by bzip2, not an ONNX model"),
        (b"\x28\xb5\x2f\xfd" + bytes(64), "is packed by zstd, not an ONNX model"),
        (b"PK\x03\x04" + bytes(64), "is a zip archive, as torch.save and numpy.savez write, not an ONNX model"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "is an HDF5 file, as Keras writes, not an ONNX model"),
        (bytes((28, 0, 0, 0)) + b"TFL3" + bytes(64), "is a TensorFlow Lite model, not an ONNX model"),
    ],
)
def test_damaged_files(data: bytes, what: str) -> None:
    assert causes(data) == [what]


def test_every_truncation_is_noticed() -> None:
    data = CONV.SerializeToString()
    for size in range(0, len(data), 7):
        assert len(causes(data[:size])) >= 1


def test_files(tmp_path: Path) -> None:
    for path, what in (
        (tmp_path / "none.onnx", "No such file or directory"),
        (tmp_path, "is a directory; requires an ONNX file"),
    ):
        with pytest.raises(UserError, match=what):
            import_model(path)


def test_external_data(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    # save() rewrites the model it is given.
    copy = onnx.ModelProto.FromString(CONV.SerializeToString())
    onnx.save(copy, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert import_model(path)
    assert causes(path.read_bytes()) == ["tensor 'w' lies in a file of its own, and the model was given as bytes"]
    (tmp_path / "weights.bin").unlink()
    assert causes(path) == ["tensor 'w': external data in 'weights.bin' cannot be read: No such file or directory"]


@pytest.mark.parametrize("version", [0, 2, onnx.IR_VERSION + 1, (1 << 63) - 1])
def test_ir_version(version: int) -> None:
    relu = model([node("Relu", ["x"], ["y"])], [1, 2, 3, 3])
    relu.ir_version = version
    assert causes(relu) == [f"IR version {version} unsupported; requires one of 3 to {onnx.IR_VERSION}"]


@pytest.mark.parametrize("declared", [-1, TensorProto.INT8, 99])
def test_declared_type_of_an_output(declared: int) -> None:
    relu = model([node("Relu", ["x"], ["y"])], [1, 2, 3, 3])
    relu.graph.output[0].type.tensor_type.elem_type = declared
    assert causes(relu) == [f"output 'y' is declared with element type {declared}; requires float"]


@pytest.mark.parametrize("opset", [0, 29])
def test_opset(opset: int) -> None:
    relu = model([node("Relu", ["x"], ["y"])], [1, 2, 3, 3], opset=opset)
    assert causes(relu) == [f"opset {opset} unsupported; requires one of 1 to 28"]


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        (
            [1, 3, "height", 8],
            "input 'x': dimension 2 is dynamic ('height'); requires a static size: give it",
        ),
        (
            [None, 3, 8, None],
            "input 'x': dimension 3 is dynamic (unknown); requires a static size: give it",
        ),
    ],
)
def test_input_shapes(shape: list[int | str | None], what: str) -> None:
    assert causes(model([node("Relu", ["x"], ["y"])], shape)) == [f"{what} by --input-shape x=..."]


def test_what_stands_on_a_signal_of_unknown_length_is_not_judged_as_on_a_map() -> None:
    nodes = [node("Conv", ["x", "w"], ["c"], kernel_shape=[3]), node("MaxPool", ["c"], ["y"], kernel_shape=[2])]
    (cause,) = causes(model(nodes, [1, 2, "length"], {"w": random(3, 2, 3)}))
    assert cause.startswith("input 'x': dimension 2 is dynamic ('length')")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_are_finite(value: float) -> None:
    weights = random(3, 2, 3, 3)
    weights[0, 0, 0, :2] = value
    proto = model([node("Conv", ["x", "w"], ["y"], name="c")], [1, 2, 8, 8], {"w": weights})
    assert causes(proto) == [
        "node 'c' (Conv): 'w' holds 2 values of 54 that are NaN or infinite; requires finite values"
    ]


def test_damaged_initializer() -> None:
    proto = onnx.ModelProto.FromString(CONV.SerializeToString())
    proto.graph.initializer[0].raw_data = b"1234"
    assert causes(proto)[0].startswith("initializer 'w' is damaged: ")


def test_graphs_without_outputs_or_inputs() -> None:
    proto = onnx.ModelProto.FromString(CONV.SerializeToString())
    del proto.graph.output[:]
    assert causes(proto) == ["the graph has no outputs; requires at least one"]
    proto = model([constant("y", np.ones(3, np.float32))], [1, 3, 4, 4])
    assert causes(proto) == ["output 'y' does not depend on the input of the model"]
    proto = model([node("Relu", ["x"], ["z"])], [1, 3, 4, 4])
    assert causes(proto) == ["output 'y' is produced by no node"]


def test_graphs_without_operators() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [1, 3, 4, 4])
    proto.graph.output[0].name = "x"
    assert causes(proto) == [
        "no output of the model needs one of its operators; requires a graph that computes something"
    ]
    del proto.graph.node[:]
    assert causes(proto) == ["the model has no operators; requires a graph that computes something"]


def test_an_input_that_nothing_reads_is_named() -> None:
    proto = model([node("Relu", ["x"], ["y"])], [1, 3, 4, 4])
    proto.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 3, 4, 4]))
    with pytest.raises(UserError, match="input 'mask' is not used; requires a model that reads its inputs") as fault:
        canonical(import_model(proto.SerializeToString(), "m.onnx"))
    assert "inputs" in fault.value.note and "--supported-ops" not in fault.value.note


def test_integer_input() -> None:
    proto = model([node("Cast", ["x"], ["y"], to=1)], [1, 3, 4, 4], dtype=TensorProto.UINT8)
    assert causes(proto)[0] == "input 'x' has type uint8; requires float"


def test_subgraphs_and_foreign_domains() -> None:
    branch = helper.make_graph([constant("b", 1.0, np.float32)], "g", [], [helper.make_empty_tensor_value_info("b")])
    nodes = [
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("If", ["m"], ["z"], name="choose", then_branch=branch, else_branch=branch),
        node("FusedConv", ["x"], ["f"], name="fused", domain="com.microsoft"),
        node("Add", ["z", "f"], ["y"]),
    ]
    assert causes(model(nodes, [1, 3, 4, 4]))[1:] == [
        "node 'choose' (If): control flow with subgraphs unsupported; requires a plain graph",
        "node 'fused' (FusedConv): operator of domain 'com.microsoft' unsupported; requires standard ONNX operators",
    ]


def test_unsorted_nodes() -> None:
    proto = model([node("Relu", ["z"], ["y"], name="r"), node("Relu", ["x"], ["z"])], [1, 3, 4, 4])
    assert causes(proto) == [
        "node 'r' (Relu): input 'z' is produced by no earlier node; requires nodes in topological order"
    ]


FOUR = {n: np.ones(2, np.float32) for n in "sbmv"}


@pytest.mark.parametrize(
    ("nodes", "constants", "what"),
    [
        ([node("BatchNormalization", ["x", *"sbmv"], ["y"], training_mode=1)], FOUR, "training_mode=1 unsupported"),
        (
            [node("Dropout", ["x", "", "t"], ["y"])],
            {"t": np.asarray(True)},
            "training_mode may be true; requires false",
        ),
        ([node("MaxPool", ["x"], ["m", "y"], kernel_shape=[2, 2])], {}, "output Indices is read"),
        ([node("Conv", ["x", "x"], ["y"])], {}, "input 'x' is computed from the model's input; requires a constant"),
        ([node("Conv", ["x", "w"], ["y"])], {"w": random(3, 2, 3)}, "shape"),
        (
            [node("MaxPool", ["x"], ["p"], kernel_shape=[2, 2]), node("Mul", ["x", "p"], ["y"])],
            {},
            "combines shapes [1,2,6,6] and [1,2,5,5]; requires extents that are equal or 1",
        ),
        ([node("Div", ["c", "x"], ["y"])], {"c": np.ones(2, np.float32)}, "combines shapes [2] and [1,2,6,6]"),
        ([node("Max", ["c", "x"], ["y"])], {"c": np.ones((5, 1), np.float32)}, "combines shapes [5,1] and"),
        ([node("PRelu", ["x", "x"], ["y"])], {}, "slope is computed from the model's input; requires a constant"),
        ([node("PRelu", ["x", "c"], ["y"])], {"c": random(6)}, "slope of shape [6] unsupported"),
        (
            [node("ReduceMax", ["x", "a"], ["y"])],
            {"a": np.array([0])},
            "reduces axes [0] of [1,2,6,6], the batch axis among them; requires axes behind it",
        ),
        (
            [node("Split", ["x", "p"], ["y", "z"], axis=1)],
            {"p": np.array([1, 2])},
            "splits 2 indices into [1,2]; requires parts of at least 1 that make up the axis",
        ),
        (
            [node("LayerNormalization", ["x", "c"], ["y"], axis=0)],
            {"c": random(1, 2, 6, 6)},
            "normalises axes from 0 on of [1,2,6,6]; requires axes behind that of the batch, of 2 to 4",
        ),
        (
            [node("LayerNormalization", ["x", "c"], ["y"])],
            {"c": random(1)},
            "parameters of shape [1] for axes [6]; requires one value for each element",
        ),
        (
            [node("MatMul", ["x", "x"], ["y"])],
            {},
            "computed from the model's input, as in attention; requires a constant",
        ),
        ([node("Shrink", ["x"], ["y"], lambd=-1.0)], {}, "lambd=-1 unsupported; requires at least 0"),
        ([node("Div", ["x", "c"], ["y"])], {"c": np.zeros(1, np.float32)}, "divides by zero"),
        ([node("Add", ["x", "c"], ["y"])], {"c": random(2, 1, 6, 6)}, "constant operand of shape [2,1,6,6] unsup"),
        ([node("MatMul", ["c", "x"], ["y"])], {"c": random(6, 6)}, "second operand is computed"),
        ([node("Pad", ["x", "p"], ["y"], mode="reflect")], {"p": np.ones(8, np.int64)}, "pads the batch axis"),
        ([node("Pad", ["x", "p"], ["y"])], {"p": np.ones(8, np.int64)}, "pads the batch axis"),
        ([node("Slice", ["x", "s", "e"], ["y"])], {"s": np.asarray([1]), "e": np.asarray([1])}, "is empty"),
        ([node("Concat", ["x", "x"], ["y"], axis=0)], {}, "concatenates the batch axis"),
        (
            [node("Flatten", ["x"], ["f"]), node("Concat", ["f", "c"], ["y"], axis=1)],
            {"c": random(1, 72)},
            "operand 'c' is a constant",
        ),
        ([node("ReduceMean", ["x"], ["y"])], {}, "reduces the batch axis"),
        ([node("Cast", ["x"], ["y"], to=TensorProto.INT32)], {}, "converts to int32; requires a floating-point type"),
        ([node("AveragePool", ["x"], ["y"], kernel_shape=[9, 9])], {}, "window of 9 does not fit 6 positions"),
        (
            [node("QuantizeLinear", ["x", "s"], ["q"]), node("Relu", ["q"], ["y"])],
            {"s": np.float32(1)},
            "has type uint8",
        ),
        (
            [node("QuantizeLinear", ["x", "s", "z"], ["y"])],
            {"s": np.float32(1), "z": np.int16(0)},
            "quantises to int16; requires int8 or uint8",
        ),
        (
            [node("QuantizeLinear", ["x", "s", "z"], ["y"])],
            {"s": np.float32(-1), "z": np.int8(0)},
            "has scales that are not positive",
        ),
    ],
)
def test_node_faults(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], what: str) -> None:
    found = causes(model(nodes, [1, 2, 6, 6], constants, opset=21))
    assert found[0].startswith("node '")
    assert what in found[0]


@pytest.mark.parametrize(
    ("nodes", "constants", "what"),
    [
        (
            [node("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]), node("MaxPool", ["t"], ["y"], kernel_shape=[2, 2])],
            {},
            "node 'Transpose_0' (Transpose): moves data",
        ),
        (
            [
                node("Transpose", ["x"], ["t"], perm=[0, 3, 2, 1]),
                constant("shape", [4, 18]),
                node("Reshape", ["t", "shape"], ["y"]),
            ],
            {},
            "node 'Reshape_2' (Reshape): an axis takes parts of two axes that were drawn apart",
        ),
        (
            [node("Softmax", ["x"], ["s"], name="s", axis=1), node("Relu", ["s"], ["y"])],
            {},
            "node 's' (Softmax): stands before other operators; requires an output of the model",
        ),
        (
            [node("Reshape", ["x", "n"], ["r"], name="r"), node("MaxPool", ["r"], ["y"], kernel_shape=[1, 1])],
            {"n": np.asarray([1, 8, 3, 3])},
            "node 'r' (Reshape): reshapes [1,2,6,6] to [1,8,3,3] in the middle of the graph",
        ),
        (
            [node("Pad", ["x", "p", "v"], ["y"], name="p")],
            {"p": np.asarray([0, 0, 1, 1, 0, 0, 1, 1]), "v": np.asarray(2, np.float32)},
            "node 'p' (Pad): pads with 2; requires 0",
        ),
        ([node("Identity", ["x"], ["y"])], {}, "output 'y' is an input of the model"),
        (
            [node("Pad", ["x", "p"], ["a"]), node("Relu", ["a"], ["y"], name="r")],
            {"p": np.asarray([0, 0, 0, 0, 0, 0, 0, 65530])},
            "node 'Pad_0' (Pad): tensor of shape [1,2,6,65536] unsupported; requires at most 65535 rows and columns",
        ),
    ],
)
def test_what_only_legalisation_can_see(
    nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], what: str
) -> None:
    found = causes(model(nodes, [1, 2, 6, 6], constants), legalize=True)
    assert found[0].startswith(what)


def test_supported_ops_says_what_is_checked() -> None:
    text = supported_ops()
    checks: set[Constraint] = {c for operator in operators().values() for c in operator.constraints}
    for name in operators():
        assert f"\n| {name} |" in text
    for op in legal_operations(onnx_dialect.Onnx.operations):
        assert f"\n| {op.name} |" in text
    for check in checks:
        assert check.__doc__ and check.__doc__.splitlines()[0][1:] in text


def test_an_operation_of_another_package_is_legal_once_it_says_how_it_is_quantised() -> None:
    class SayingNoForm(onnx_dialect.OnnxOp):
        name = "onnx.SayingNoForm"

        def infer(self) -> TensorType[Attribute]:
            raise AssertionError("the operation is asked for nothing but its class")

    class SayingForm(SayingNoForm):
        name = "onnx.SayingForm"
        QUANTISED_FORM = "other_package:form"

    assert legal_checks(SayingNoForm) is None
    assert legal_checks(SayingForm) == legal_checks(onnx_dialect.ReluOp) is not None


def test_flipped_bytes_never_crash() -> None:
    """A damaged model is refused or, where the damage makes another model, imported; nothing else happens."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Slice", ["b", "s", "e", "n"], ["c"]),
        node("Pad", ["c", "p"], ["d"]),
        node("Flatten", ["d"], ["f"]),
        node("Gemm", ["f", "k"], ["y"], alpha=0.5),
    ]
    constants = {
        "w": random(2, 2, 3, 3),
        "s": np.asarray([1]),
        "e": np.asarray([3]),
        "n": np.asarray([2]),
        "p": np.asarray([0, 0, 1, 1, 0, 0, 1, 1]),
        "k": random(48, 3),
    }
    data = model(nodes, [1, 2, 4, 4], constants).SerializeToString()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(data))] = rng.integers(256)
        try:
            canonical(import_model(bytes(damaged)))
        except UserError:
            refused += 1
    assert refused > 50


def test_dilated_weights_that_are_too_many_with_their_zeros() -> None:
    conv = node("Conv", ["x", "w"], ["y"], name="wide", dilations=[100, 100], strides=[2, 2])
    found = causes(model([conv], [1, 2, 210, 210], {"w": np.zeros((4000, 2, 3, 3), np.float32)}), legalize=True)
    assert found == [
        "node 'wide' (Conv): dilations=[100,100] make windows of 201x201, 323,208,000 weights with the zeros between; "
        "requires at most 268,435,456"
    ]
