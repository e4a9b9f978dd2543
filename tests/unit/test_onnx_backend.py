"""ONNX's own backend tests of the supported operators, quantised with their input as calibration."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.case import node as cases
from onnx.backend.test.case.test_case import TestCase
from onnx.reference import ReferenceEvaluator
from xdsl.context import Context

from dialects.interpreters.run import run_module
from escc.onnx_import import import_model
from isa.errors import UserError
from passes.fuse_epilogues import FuseEpiloguesPass
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.onnx_legalize import OnnxLegalizePass
from passes.quantize import QuantizePass

Array = np.ndarray

MODULES = (
    "add averagepool batch_normalization clip concat conv div dropout elu flatten gemm globalaveragepool globalmaxpool "
    "hardsigmoid hardswish identity leakyrelu matmul maxpool mul pad reducemean relu reshape sigmoid slice softmax "
    "squeeze sub sum tanh transpose unsqueeze"
)
BY_ELEMENT = "Add Clip Div Dropout Elu HardSigmoid HardSwish Identity LeakyRelu Mul Relu Sigmoid Sub Sum Tanh"
"""Operators that compute the same with axes of length 1 before the others."""
ACTIVATIONS = frozenset({"Add", "Sub", "Sum", "Concat"})
"""Operators of which every input may be computed."""
LEAST = 75
"""Cases that are compiled at least: a refusal would pass unnoticed otherwise."""


def adapted(case: TestCase) -> tuple[onnx.ModelProto, list[Array]] | None:
    """A case of one node as a model of batch 1 and its inputs: parameters are initializers, maps have four axes."""
    proto = onnx.ModelProto()
    assert case.model is not None and case.data_sets is not None
    proto.CopyFrom(case.model)
    graph = proto.graph
    data = [np.asarray(x) for x in case.data_sets[0][0]]
    if len(graph.node) != 1 or data[0].dtype != np.float32 or not data[0].size:
        return None
    kind = graph.node[0].op_type
    count = len(data) if kind in ACTIVATIONS and len({x.shape for x in data}) == 1 else 1
    for info, x in zip(list(graph.input)[count:], data[count:], strict=True):
        graph.initializer.append(numpy_helper.from_array(x, info.name))
    del graph.input[count:]
    data = data[:count]
    if kind in BY_ELEMENT.split():
        data = [x.reshape((1,) * (2 - x.ndim) + x.shape if x.ndim < 3 else (1,) * (4 - x.ndim) + x.shape) for x in data]
    data = [x[:1] for x in data]
    for info, x in zip(graph.input, data, strict=True):
        info.CopyFrom(onnx.helper.make_tensor_value_info(info.name, onnx.TensorProto.FLOAT, x.shape))
    for info in graph.output:
        info.type.tensor_type.ClearField("shape")
    del graph.output[1:]
    return proto, data


def backend_cases() -> list[TestCase]:
    for name in MODULES.split():
        importlib.import_module(f"onnx.backend.test.case.node.{name}")
    return list(cases._NodeTestCases)


def test_no_case_is_off_by_more_than_two_percent_of_its_range(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    compiled, wrong = 0, dict[str, str]()
    for case in backend_cases():
        found = adapted(case)
        if found is None:
            continue
        proto, inputs = found
        try:
            module = import_model(proto.SerializeToString())
            OnnxCanonicalizePass().apply(Context(), module)
            OnnxLegalizePass().apply(Context(), module)
        except UserError:
            continue
        names = [i.name for i in proto.graph.input]
        feeds: dict[str, Any] = dict(zip(names, inputs, strict=True))
        np.savez(path, **feeds)
        QuantizePass(calibration=str(path)).apply(Context(), module)
        FuseEpiloguesPass().apply(Context(), module)
        module.verify()
        compiled += 1

        wanted = cast(list[Array], ReferenceEvaluator(proto).run(None, feeds))[0]
        (got,) = run_module(module, inputs)
        if got.shape != wanted.shape:
            wrong[case.name] = f"shape {got.shape}, expected {wanted.shape}"
        elif wanted.size:
            reach = max(float(wanted.max()), 0.0) - min(float(wanted.min()), 0.0)
            off = float(np.abs(got - wanted).max()) / (reach or 1.0)
            if off > 0.02:
                wrong[case.name] = f"off by {off:.1%} of its range"
    assert not wrong
    assert compiled >= LEAST
