"""Small ONNX models for the tests, and the comparison of import and canonicalisation with onnxruntime."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp

from dialects.interpreters.run import run_module
from dialects.locations import node_names
from escc.onnx_import import import_model
from escc.verify import Verification
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.onnx_legalize import OnnxLegalizePass

Array = np.ndarray[Any, np.dtype[Any]]
node: Callable[..., onnx.NodeProto] = helper.make_node
"""A node: kind, inputs, outputs, name, attributes by keyword."""


def model(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str | None],
    constants: Mapping[str, Array | np.generic] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model with one input x and the given initializers."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(o, dtype, None) for o in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def constant(name: str, value: Any, dtype: Any = None) -> onnx.NodeProto:
    """A Constant node."""
    return node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(value, dtype)))


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    """Seeded normal numbers, float32."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def reference(proto: onnx.ModelProto, x: Array) -> list[Array]:
    """Outputs of onnxruntime without graph optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {session.get_inputs()[0].name: x})]


def canonical(module: ModuleOp, legal: bool = True) -> ModuleOp:
    """The module after onnx-canonicalize (and onnx-legalize)."""
    OnnxCanonicalizePass().apply(Context(), module)
    module.verify()
    if legal:
        OnnxLegalizePass().apply(Context(), module)
    return module


def operations(module: ModuleOp) -> list[str]:
    """Names of the operations of @main without constants and return, dialect prefix stripped."""
    function = module.body.block.first_op
    assert isinstance(function, FuncOp)
    names = [op.name for op in function.body.block.ops]
    return [n.removeprefix("onnx.") for n in names if n not in ("onnx.Constant", "func.return")]


def close(got: Sequence[Array], want: Sequence[Array], tolerance: float = 1e-4) -> None:
    """Equal shapes; deviation below `tolerance` of the largest magnitude (of 0.1 where all is small)."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        finite = np.isfinite(b)
        assert np.array_equal(a[~finite], b[~finite])
        assert np.abs(a[finite] - b[finite]).max() <= tolerance * max(np.abs(b[finite]).max(), 0.1)


def check(
    proto: onnx.ModelProto, x: Array | None = None, legal: bool = True, tolerance: float = 1e-4, seed: int = 1
) -> ModuleOp:
    """Imported and canonicalised module compute what onnxruntime does, also for a batch; every operation has a name.

    It is that of the node whose result it has, as --verify-numerics assumes. Returns the canonicalised module.
    """
    if x is None:
        dims = proto.graph.input[0].type.tensor_type.shape.dim
        x = random(*(d.dim_value or 1 for d in dims), seed=seed)
    want = reference(proto, x)
    module = import_model(proto.SerializeToString())
    close(run_module(module, [x.astype(np.float32)]), want, tolerance)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # synthetic inputs will do
        verification = Verification(module, None, seed, 0.01)
    module = canonical(module, legal)
    verification.observe(OnnxCanonicalizePass(), module)
    assert verification.fault is None, verification.fault
    batch = np.concatenate([x, x * x.dtype.type(0.5)]).astype(np.float32)
    close([y[:1] for y in run_module(module, [batch])], want, tolerance)
    for op in module.walk():
        assert node_names(op) or op.name in ("builtin.module", "func.func", "func.return"), op
    return module
