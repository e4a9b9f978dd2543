"""Export to ONNX: onnxruntime computes what the `esc` level does, and the imported model has the same integers."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from onnx_graphs import model, node, random
from sample_models import residual_model
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects import esc
from dialects.interpreters.run import main_function, run_module
from escc.onnx_export import export_model
from escc.onnx_import import import_model
from escc.universe import ESCC_UNIVERSE
from isa.errors import UserError
from passes.math.activation_quant import Storage, identity, lookup_table
from passes.pipelines import PipelineOptions, build

Array = np.ndarray[Any, np.dtype[Any]]


def compiled(data: bytes, last: str = "esc-legalize", context: Context | None = None, **options: Any) -> ModuleOp:
    """A model at level `esc`, after the pass `last`."""
    module = import_model(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if options else "error")  # an exported model asks for nothing
        for step in build(ESCC_UNIVERSE.all_passes, PipelineOptions(**options), "esc"):
            step.apply(context or Context(), module)
            module.verify()
            if step.name == last:
                break
    return module


def integers(module: ModuleOp) -> list[tuple[str, Any, list[Any]]]:
    """Everything that the operations of level `esc` compute with, in order."""
    ops = [op for op in main_function(module).body.block.ops if isinstance(op, esc.EscOp)]
    return [(op.name, dict(op.properties), [r.type for r in op.results]) for op in ops]


def run_onnx(proto: onnx.ModelProto, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of onnxruntime as it comes, with all its optimisations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {i.name: x for i, x in zip(session.get_inputs(), inputs, strict=True)}
    return [np.asarray(y) for y in session.run(None, feeds)]


def exported(module: ModuleOp) -> onnx.ModelProto:
    """The module as a model that the checker of ONNX accepts, shapes inferred."""
    proto = export_model(module)
    onnx.checker.check_model(proto, full_check=True)
    assert {o.domain for o in proto.opset_import} == {""}
    return proto


def check(
    module: ModuleOp,
    inputs: Sequence[Array],
    steps: float = 1.001,
    rare: float = 0.05,
    last: str = "esc-legalize",
) -> tuple[onnx.ModelProto, ModuleOp]:
    """onnxruntime is within `steps` output steps, nearly everywhere equal; the imported model has the same integers."""
    proto = exported(module)
    again = compiled(proto.SerializeToString(), last)
    assert integers(again) == integers(module)
    want, got, same = run_module(module, inputs), run_onnx(proto, inputs), run_module(again, inputs)
    end = main_function(module).body.block.last_op
    assert end is not None
    for operand, a, b, c in zip(end.operands, want, got, same, strict=True):
        assert a.shape == b.shape and np.array_equal(a, c)
        if isinstance(operand.owner, esc.DequantizeOp):
            scale = esc.q_of(operand.owner.input).scale
            assert np.abs(a - b).max() <= steps * scale
            assert (np.abs(a - b) > 0.5 * scale).mean() <= rare
        else:
            assert np.abs(a - b).max() <= 0.05
    return proto, again


def ops(proto: onnx.ModelProto) -> list[str]:
    """Types of the nodes without those that only quantise."""
    return [n.op_type for n in proto.graph.node if n.op_type not in ("QuantizeLinear", "DequantizeLinear")]


@pytest.mark.parametrize("options", [("dense", None, None), ("escalate", 4, 1), ("escalate", 9, 1), ("escalate", 3, 2)])
def test_residual_network(options: tuple[str, int | None, int | None]) -> None:
    scheme, basis, planes = options
    module = compiled(residual_model(), scheme=scheme, basis=basis, planes=planes, samples=4)
    proto, _ = check(module, [random(8, 3, 8, 8)])
    names = [n.name for n in proto.graph.node]
    if scheme == "dense":
        assert ops(proto) == ["Conv", "Conv", "Add", "Conv", "GlobalAveragePool", "Conv", "Flatten"]
        assert {"stem", "block", "block_add", "down", "pool", "fc"} <= set(names)
    else:
        assert ops(proto).count("Conv") == 8
        assert {"stem/coefficients", "stem/basis", "fc/coefficients", "fc/basis"} <= set(names)
    assert [(p.key, p.value) for p in proto.metadata_props] == [("escc.float_weights", "7664")]
    assert proto.producer_name == "escc"
    assert [d.dim_param or d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == ["N", 3, 8, 8]
    assert (proto.graph.input[0].name, proto.graph.output[0].name) == ("x", "y")


def test_the_export_of_an_imported_export_computes_the_same() -> None:
    module = compiled(residual_model(), scheme="escalate", basis=4, planes=1, samples=4)
    proto, again = check(module, [random(2, 3, 8, 8)])
    second, _ = check(again, [random(2, 3, 8, 8)])
    assert ops(second) == ops(proto)


CONV = node("Conv", ["x", "w", "b"], ["c"], name="conv", pads=[1] * 4)
WEIGHTS = {"w": random(6, 4, 3, 3, seed=1, scale=0.3), "b": random(6, seed=2)}
FUNCTIONS = [
    node("Relu", ["c"], ["y"], name="f"),
    node("Clip", ["c", "zero", "high"], ["y"], name="f"),
    node("Clip", ["c", "low", "high"], ["y"], name="f"),
    node("Sigmoid", ["c"], ["y"], name="f"),
    node("Tanh", ["c"], ["y"], name="f"),
    node("HardSwish", ["c"], ["y"], name="f"),
    node("HardSigmoid", ["c"], ["y"], name="f"),
    node("HardSigmoid", ["c"], ["y"], name="f", alpha=1 / 6),
    node("HardSigmoid", ["c"], ["y"], name="f", alpha=0.3, beta=0.25),
    node("LeakyRelu", ["c"], ["y"], name="f"),
    node("LeakyRelu", ["c"], ["y"], name="f", alpha=0.3),
    node("Elu", ["c"], ["y"], name="f", alpha=0.7),
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.op_type)
def test_activation_functions(function: onnx.NodeProto) -> None:
    constants = {**WEIGHTS, "zero": np.float32(0), "low": np.float32(-0.5), "high": np.float32(0.75)}
    proto = model([CONV, function], (1, 4, 6, 6), constants)
    module = compiled(proto.SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(5, 4, 6, 6)])
    if function.op_type == "Relu" or "zero" in function.input:
        assert ops(made) == ["Conv"]  # the ends of the type do it
    else:
        assert ops(made)[-1] == function.op_type and any(n.name == "f" for n in made.graph.node)


@pytest.mark.parametrize(("dtype", "low", "high"), [(np.uint8, 0, 6), (np.int8, 0, 1e9), (np.int8, -1, 2)])
def test_bounds_inside_the_range_of_the_type(dtype: type, low: float, high: float) -> None:
    constants = {**WEIGHTS, "low": np.float32(low), "high": np.float32(high), "s": np.float32(0.03), "z": dtype(0)}
    nodes = [
        node("QuantizeLinear", ["x", "s", "zx"], ["xq"], name="xq"),
        node("DequantizeLinear", ["xq", "s", "zx"], ["xd"], name="xd"),
        node("Conv", ["xd", "w", "b"], ["c"], name="conv", pads=[1] * 4),
        node("Clip", ["c", "low", "high"], ["r"], name="f"),
        node("QuantizeLinear", ["r", "s", "z"], ["q"], name="q"),
        node("DequantizeLinear", ["q", "s", "z"], ["y"], name="y"),
    ]
    proto = model(nodes, (1, 4, 6, 6), {**constants, "zx": np.int8(0)})
    made, _ = check(compiled(proto.SerializeToString(), scheme="dense"), [random(5, 4, 6, 6, scale=4)])
    assert ops(made) == ["Conv", "Relu" if high > 100 else "Clip"] and "f" in {n.name for n in made.graph.node}


@pytest.mark.parametrize("function", FUNCTIONS[3:], ids=lambda f: f.op_type)
def test_tables_that_are_no_part_of_a_convolution(function: onnx.NodeProto) -> None:
    pool = node("AveragePool", ["x"], ["c"], name="pool", kernel_shape=[2, 2])
    proto = model([pool, function], (1, 4, 6, 6))
    made, _ = check(compiled(proto.SerializeToString(), scheme="dense", samples=4), [random(5, 4, 6, 6)])
    assert ops(made) == ["AveragePool", function.op_type]


def test_activation_before_a_residual_addition() -> None:
    nodes = [
        CONV,
        node("HardSwish", ["c"], ["h"], name="swish"),
        node("Conv", ["x", "w", "b"], ["d"], name="other", pads=[1] * 4),
        node("Relu", ["d"], ["r"], name="relu"),
        node("Add", ["h", "r"], ["s"], name="add"),
        node("Clip", ["s", "low", "high"], ["y"], name="clip"),
    ]
    constants = {**WEIGHTS, "low": np.float32(-0.25), "high": np.float32(2)}
    module = compiled(model(nodes, (1, 4, 6, 6), constants).SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(5, 4, 6, 6)])
    assert sorted(ops(made)) == ["Add", "Clip", "Conv", "Conv", "HardSwish"]
    assert {"conv", "swish", "other", "add", "clip"} <= {n.name for n in made.graph.node}


MOVES = {
    "depthwise": [node("Conv", ["x", "dw"], ["y"], name="f", group=4, strides=[2, 1], pads=[0, 1, 1, 2])],
    "multiplied depthwise": [node("Conv", ["x", "dw2"], ["y"], name="f", group=4)],
    "grouped": [node("Conv", ["x", "gw", "b"], ["y"], name="f", group=2, pads=[1, 1, 1, 1])],
    "max pool": [node("MaxPool", ["x"], ["y"], name="f", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])],
    "max pool, ceil": [node("MaxPool", ["x"], ["y"], name="f", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
    "average pool": [
        node("AveragePool", ["x"], ["y"], name="f", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    ],
    "average pool, padding counted": [
        node("AveragePool", ["x"], ["y"], name="f", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    ],
    "global average": [node("GlobalAveragePool", ["x"], ["y"], name="f")],
    "slice": [node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"], name="f")],
    "pad": [node("Pad", ["x", "pads"], ["y"], name="f")],
    "slice and pad": [
        node("Slice", ["x", "starts", "ends", "axes", "steps"], ["s"], name="s"),
        node("Pad", ["s", "pads"], ["y"], name="f"),
    ],
    "concatenation": [
        node("Relu", ["x"], ["r"], name="r"),
        node("Conv", ["x", "w", "b"], ["c"], name="c", pads=[1] * 4),
        node("Concat", ["r", "c", "x"], ["y"], name="f", axis=1),
    ],
    "addition": [
        node("MaxPool", ["x"], ["p"], name="p", kernel_shape=[3, 3], pads=[1] * 4),
        node("Add", ["x", "p"], ["s"], name="f"),
        node("Relu", ["s"], ["y"], name="r"),
    ],
    "softmax": [
        node("GlobalMaxPool", ["x"], ["p"], name="p"),
        node("Flatten", ["p"], ["v"], name="v"),
        node("Softmax", ["v"], ["y"], name="f", axis=-1),
    ],
    "reshape": [
        node("MaxPool", ["x"], ["p"], name="p", kernel_shape=[2, 2]),
        node("Reshape", ["p", "shape"], ["y"], name="f"),
    ],
}


@pytest.mark.parametrize("kind", MOVES)
def test_operators(kind: str) -> None:
    constants = {
        **WEIGHTS,
        "dw": random(4, 1, 3, 2, seed=3),
        "dw2": random(8, 1, 2, 2, seed=3),
        "gw": random(6, 2, 3, 3, seed=4),
        "starts": np.array([1, 0]),
        "ends": np.array([6, 7]),
        "axes": np.array([2, 3]),
        "steps": np.array([2, 3]),
        "pads": np.array([0, 0, 1, 2, 0, 0, 3, 1]),
        "shape": np.array([0, -1, 4]),
    }
    proto = model(MOVES[kind], (1, 4, 7, 7), constants)
    made, _ = check(compiled(proto.SerializeToString(), scheme="dense", samples=4), [random(5, 4, 7, 7)], rare=0.1)
    assert "f" in {n.name for n in made.graph.node} or kind in ("pad", "slice and pad", "reshape")


def test_vector_input_and_several_outputs() -> None:
    nodes = [
        node("Gemm", ["x", "w", "b"], ["a"], name="a", transB=1),
        node("Relu", ["a"], ["r"], name="r"),
        node("Gemm", ["r", "v"], ["b1"], name="b", transB=1),
        node("Identity", ["b1"], ["b2"], name="c"),
    ]
    constants = {"w": random(6, 5, seed=1), "b": random(6, seed=2), "v": random(3, 6, seed=3)}
    proto = model(nodes, (1, 5), constants, outputs=("r", "b1", "b2"))
    module = compiled(proto.SerializeToString(), scheme="escalate", basis=2, planes=1, samples=4)
    made, _ = check(module, [random(4, 5)])
    assert [o.name for o in made.graph.output] == ["r", "b1", "b2"]


def test_channels_last_model_keeps_its_signature() -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], name="in", perm=[0, 3, 1, 2]),
        node("Conv", ["t", "w", "b"], ["c"], name="conv", pads=[1] * 4),
        node("Transpose", ["c"], ["y"], name="out", perm=[0, 2, 3, 1]),
    ]
    proto = model(nodes, (1, 6, 5, 4), WEIGHTS)
    made = exported(module := compiled(proto.SerializeToString(), scheme="dense", samples=4))
    assert integers(compiled(made.SerializeToString())) == integers(module)
    x = random(3, 6, 5, 4)
    (want,), (got,) = run_module(module, [np.ascontiguousarray(x.transpose(0, 3, 1, 2))]), run_onnx(made, [x])
    assert got.shape == want.shape == (3, 6, 5, 6)
    assert np.abs(want - got).max() <= 0.05
    assert ops(made) == ["Transpose", "Conv", "Transpose"]


def test_names_of_the_model_are_kept_apart() -> None:
    """Nodes that are called as tensors of ours."""
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], name="x/quantize", pads=[1] * 4),
        node("Conv", ["c", "v"], ["y"], name="y"),
    ]
    proto = model(nodes, (1, 4, 5, 5), {**WEIGHTS, "v": random(2, 6, 1, 1, seed=3)})
    check(compiled(proto.SerializeToString(), scheme="dense", samples=4), [random(3, 4, 5, 5)])


def test_before_anything_is_fused() -> None:
    nodes = [CONV, node("HardSwish", ["c"], ["h"], name="h"), node("Add", ["h", "c"], ["y"], name="add")]
    module = import_model(model(nodes, (1, 4, 6, 6), WEIGHTS).SerializeToString())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # On 4 samples the two scales differ by exactly 2, and onnxruntime rounds halves otherwise (docs/onnx.md).
        for step in build(ESCC_UNIVERSE.all_passes, PipelineOptions(samples=8), "esc")[:3]:
            step.apply(Context(), module)
    assert "esc.lookup" in [op.name for op in module.walk()]
    x = [random(3, 4, 6, 6)]
    (want,), (got,) = run_module(module, x), run_onnx(exported(module), x)
    assert (np.abs(want - got) > 1e-5).mean() < 0.01


def lookup_module(table: Array, source: esc.QType, target: esc.QType) -> ModuleOp:
    """One table of an input."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 3, 3))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 2, 3, 3))
    graph = helper.make_graph([node("HardSwish", ["x"], ["y"], name="f")], "g", [x], [y])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    module = compiled(proto.SerializeToString(), scheme="dense", samples=1)
    block = main_function(module).body.block
    (quantize,) = (op for op in block.ops if isinstance(op, esc.QuantizeOp))
    (lookup,) = (op for op in block.ops if isinstance(op, esc.LookupOp))
    (dequantize,) = (op for op in block.ops if isinstance(op, esc.DequantizeOp))
    shape = esc.shape_of(quantize.output)
    first = esc.QuantizeOp(quantize.input, esc.q_tensor(shape, source.signed, source.scale))
    second = esc.LookupOp(first.output, table, esc.q_tensor(shape, target.signed, target.scale))
    second.location = lookup.location
    block.insert_ops_before([first, second], quantize)
    dequantize.operands[0] = second.output
    for old in (lookup, quantize):
        old.detach()
        old.erase()
    module.verify()
    return module


def test_table_that_changes_the_scale() -> None:
    source, target = esc.QType.of(True, 0.5), esc.QType.of(False, 0.25)
    table = lookup_table(identity, Storage.full(True, 0.5), Storage.full(False, 0.25))
    made, _ = check(lookup_module(table, source, target), [random(3, 2, 3, 3, scale=30)])
    assert ops(made) == []


@pytest.mark.parametrize("source", [True, False], ids=["int8", "uint8"])
@pytest.mark.parametrize("target", [True, False], ids=["int8", "uint8"])
def test_a_table_that_is_no_function_of_onnx_is_gathered(source: bool, target: bool) -> None:
    low, high = (-128, 128) if target else (0, 256)
    table = np.random.default_rng(0).integers(low, high, 256).astype(np.int8 if target else np.uint8)
    module = lookup_module(table, esc.QType.of(source, 0.5), esc.QType.of(target, 0.25))
    made, _ = check(module, [random(3, 2, 3, 3, scale=30)])
    assert ops(made) == ["Cast", "Gather"]


def test_functions_in_a_row_are_one_table() -> None:
    nodes = [CONV, node("HardSwish", ["c"], ["h"], name="h"), node("HardSwish", ["h"], ["y"], name="i")]
    module = compiled(model(nodes, (1, 4, 6, 6), WEIGHTS).SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(3, 4, 6, 6)])
    assert ops(made) == ["Conv", "Cast", "Gather"]


def test_values_at_other_positions() -> None:
    nodes = [
        CONV,
        node("Resize", ["c", "", "", "sizes"], ["a"], name="near", mode="nearest"),
        node("Resize", ["a", "", "", "twice"], ["d"], name="linear", mode="linear"),
        node("ConvTranspose", ["d", "t"], ["e"], name="up", strides=[1, 2], kernel_shape=[1, 2]),
        node("Conv", ["e", "v"], ["y"], name="last"),
    ]
    sizes = {"sizes": np.array([1, 6, 8, 9]), "twice": np.array([1, 6, 16, 18])}
    weights = {"t": random(6, 4, 1, 2, seed=2), "v": random(2, 4, 1, 1, seed=3)}
    proto = model(nodes, (1, 4, 6, 6), {**WEIGHTS, **sizes, **weights})
    module = compiled(proto.SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(3, 4, 6, 6)])
    assert [kind for kind in ops(made) if kind != "Conv"] == [
        *["Gather"] * 2,
        "Concat",
        "DepthToSpace",
        *["Reshape", "Transpose", "Reshape"],
    ]


def test_shuffles() -> None:
    shapes = {"split": np.array([0, 2, 3, 6, 6]), "joined": np.array([0, 6, 6, 6])}
    nodes = [
        CONV,
        node("Reshape", ["c", "split"], ["a"], name="a"),
        node("Transpose", ["a"], ["e"], name="e", perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["e", "joined"], ["d"], name="d"),
        node("Conv", ["d", "v"], ["y"], name="last"),
    ]
    proto = model(nodes, (1, 4, 6, 6), {**WEIGHTS, **shapes, "v": random(2, 6, 1, 1, seed=3)})
    module = compiled(proto.SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(3, 4, 6, 6)])
    assert ops(made) == ["Conv", "Reshape", "Transpose", "Reshape", "Conv"]


@pytest.mark.parametrize("gate", ["channels", "positions", "all"])
def test_products(gate: str) -> None:
    """A gate per channel, one per position, and a product of two whole tensors."""
    pool = {
        "channels": [node("GlobalAveragePool", ["c"], ["p"], name="pool")],
        "positions": [node("Conv", ["c", "g"], ["p"], name="pool")],
        "all": [node("Conv", ["x", "w", "b"], ["p"], name="pool", pads=[1] * 4)],
    }[gate]
    nodes = [
        CONV,
        *pool,
        node("HardSigmoid", ["p"], ["s"], name="sigmoid"),
        node("Mul", ["s", "c"], ["m"], name="gate"),
        node("Relu", ["m"], ["y"], name="relu"),
    ]
    proto = model(nodes, (1, 4, 6, 6), {**WEIGHTS, "g": random(1, 6, 1, 1)})
    module = compiled(proto.SerializeToString(), scheme="dense", samples=4)
    made, _ = check(module, [random(3, 4, 6, 6)])
    assert "Mul" in ops(made) and "gate" in {n.name for n in made.graph.node}


def test_what_onnx_cannot_say_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="no counterpart in ONNX"):
        export_model(import_model(residual_model()))
