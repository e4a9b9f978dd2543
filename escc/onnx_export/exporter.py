"""From a module of the `esc` dialect to an ONNX model that computes the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from pkgutil import resolve_name

import numpy as np
import onnx
from onnx import TensorProto, helper
from xdsl.dialects.builtin import ModuleOp, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import esc
from dialects.interpreters.run import main_function
from dialects.locations import describe
from dialects.signature import inputs_of, outputs_of
from escc.onnx_export.emitter import OnnxEmitter
from escc.onnx_import.importer import FLOAT_WEIGHTS_KEY
from escc.recorded_forms import PREFIX
from isa.errors import UserError
from passes.analysis.original_weight_count import float_weights

OPSET, IR_VERSION = 17, 8
"""Of exported models; newer only where an operator of another package is."""


class Exporter:
    """Walks a function once; each operation names the form that adds it to the graph."""

    def __init__(self, function: FuncOp):
        self._block = function.body.block
        terminator = self._block.last_op
        if not isinstance(terminator, ReturnOp):
            raise UserError("@main has no func.return", "the input must hold one function @main")
        self._inputs, self._outputs = inputs_of(function), outputs_of(function)
        self._names = (*(port.name for port in self._inputs), *(name for name, _ in self._outputs))
        self._emitter = OnnxEmitter(self._names)
        self._graph, self._values = self._emitter.graph, self._emitter.values
        self._causes: list[str] = []

    @property
    def forms(self) -> Mapping[str, str]:
        """What the weights of some Conv nodes are made of."""
        return self._emitter.forms

    def run(self) -> onnx.GraphProto:
        """The graph. Raises UserError naming everything that ONNX cannot express."""
        self._arguments()
        for op in self._block.ops:
            if isinstance(op, ReturnOp) or (isinstance(op, esc.EscOp) and op.SOLE_READER):
                continue  # the latter are part of the requantisation that reads them
            try:
                self._values[op.results[0]] = self._emit(op)
            except UserError as error:
                self._causes += error.causes
                self._values.update(dict.fromkeys(op.results, ""))
        if self._causes:
            raise UserError(self._causes, "only what plain ONNX operators compute can be exported")
        self._name_outputs()
        inputs = [
            _value_info(port.name, value, (esc.shape_of(value)[0], *port.shape))
            for port, value in zip(self._inputs, self._block.args, strict=True)
        ]
        outputs = [_value_info(name, value, esc.shape_of(value)) for name, value in self._outputs]
        return helper.make_graph(self._graph.nodes, "main", inputs, outputs, self._graph.initializers)

    def _arguments(self) -> None:
        for port, value in zip(self._inputs, self._block.args, strict=True):
            tensor = name = port.name
            if port.perm:
                perm = (0, *(axis + 1 for axis in port.perm))
                tensor = self._graph.node("Transpose", [name], f"{name}/nchw", perm=perm)
            elif len(esc.shape_of(value)) == 2:
                shape = self._graph.constant(f"{name}/shape", np.array([0, 0, 1, 1]))
                tensor = self._graph.node("Reshape", [name, shape], f"{name}/map")
            self._values[value] = tensor

    def _name_outputs(self) -> None:
        for name, value in self._outputs:
            tensor = self._values[value]
            if tensor in self._names:
                tensor = self._graph.node("Identity", [tensor], f"{name}/copy")
            self._graph.rename(tensor, name)
            self._values.update({v: name for v, t in self._values.items() if t == tensor})

    def _emit(self, op: Operation) -> str:
        """Tensor of the result of one operation."""
        if not isinstance(op, esc.EscOp) or not op.ONNX_FORM:
            raise UserError(f"{describe(op)}: has no counterpart in ONNX; requires operations of level esc")
        return resolve_name(op.ONNX_FORM)(self._emitter, op)


def _value_info(name: str, value: SSAValue, shape: Sequence[int]) -> onnx.ValueInfoProto:
    """A tensor of any batch, float or, behind an ArgMax, int64, in the shape that the model declares."""
    dynamic = ["N" if i == 0 and d == 1 else d for i, d in enumerate(shape)]
    kind = TensorProto.INT64 if esc.tensor_type(value).element_type == i64 else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, dynamic)


def _opset(graph: onnx.GraphProto) -> int:
    """`OPSET`, or the first newer opset that has every operator of the graph."""
    used = {node.op_type for node in graph.node}
    first: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in used:
            first[schema.name] = min(first.get(schema.name, schema.since_version), schema.since_version)
    return max(OPSET, *first.values())


def export_model(module: ModuleOp) -> onnx.ModelProto:
    """The model of a module of level `esc` as plain ONNX of float inputs and outputs and any batch.

    Activations pass QuantizeLinear and DequantizeLinear with zero point 0 wherever the machine stores them, weights
    are int8 behind DequantizeLinear; a decomposed convolution is a 1x1 Conv with ternary weights and a grouped Conv
    with the bases; of what other convolutions make their weights stands in the metadata. Imported again, the model has
    the same integers, if all scales of the module are float32 numbers. Raises UserError naming every operation that
    ONNX cannot express.
    """
    function = main_function(module)
    exporter = Exporter(function)
    graph = exporter.run()
    opsets = [helper.make_opsetid("", _opset(graph))]
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        ir_version=max(IR_VERSION, helper.find_min_ir_version_for(opsets)),
        producer_name="escc",
        producer_version=metadata.version("escc"),
    )
    notes = {PREFIX + node: form for node, form in exporter.forms.items()}
    if weights := float_weights(function):
        notes[FLOAT_WEIGHTS_KEY] = str(weights)
    if notes:
        helper.set_model_props(model, notes)
    return model
