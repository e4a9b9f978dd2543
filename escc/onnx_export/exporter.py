"""From a module of the `esc` dialect to an ONNX model that computes the same."""

from __future__ import annotations

from importlib import metadata
from typing import cast

import numpy as np
import onnx
from onnx import TensorProto, helper
from xdsl.dialects.builtin import ArrayAttr, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import esc
from dialects.esc_base import window_output
from dialects.interpreters.run import main_function
from dialects.locations import describe, node_names
from escc.onnx_export.convolutions import BASIS, convolution
from escc.onnx_export.graph import Array, Graph
from escc.onnx_export.movement import pad_and_slice
from escc.onnx_export.tables import recognise
from escc.onnx_import.importer import FLOAT_WEIGHTS_KEY
from isa.errors import UserError
from isa.reference import pool_counts
from passes.float_weights import float_weights

OPSET, IR_VERSION = 17, 8
_NHWC_TO_NCHW, _NCHW_TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)
_TOLERANCE = 1e-4
"""Relative; what an average or an addition may be off the real one before it is something else."""


def _strings(function: FuncOp, attribute: str, count: int, default: str) -> list[str]:
    """Strings of an attribute of @main; `default`, numbered where it has a place for that, without it."""
    found = function.attributes.get(attribute)
    if isinstance(found, ArrayAttr):
        return [item.data for item in cast("ArrayAttr[StringAttr]", found)]
    return [default.format(i) for i in range(count)]


def _main_name(op: Operation) -> str:
    """Name of the node that an operation came from; its own name if it came from none."""
    names = node_names(op)
    return names[0] if names else op.name.removeprefix("esc.")


class Exporter:
    """Walks a function once. `values` maps each 8-bit or float value to the float tensor that stands for it."""

    def __init__(self, function: FuncOp):
        self._block = function.body.block
        terminator = self._block.last_op
        if not isinstance(terminator, ReturnOp):
            raise UserError("@main has no func.return", "the input must hold one function @main")
        self._results = list(terminator.operands)
        arguments = self._block.args
        self._inputs = _strings(function, "input_names", len(arguments), "x{}")
        self._outputs = _strings(function, "output_names", len(self._results), "y{}")
        self._input_layouts = _strings(function, "input_layouts", len(arguments), "NCHW")
        self._output_layouts = _strings(function, "output_layouts", len(self._results), "NCHW")
        self._graph = Graph((*self._inputs, *self._outputs))
        self._values: dict[SSAValue, str] = {}
        self._causes: list[str] = []

    def run(self) -> onnx.GraphProto:
        """The graph. Raises UserError naming everything that ONNX cannot express."""
        self._arguments()
        for op in self._block.ops:
            if isinstance(op, esc.Conv2dOp | esc.CoeffCombineOp | esc.BasisConv2dOp | ReturnOp):
                continue  # part of the requantisation that reads it
            try:
                self._values[op.results[0]] = self._emit(op)
            except UserError as error:
                self._causes += error.causes
                self._values.update(dict.fromkeys(op.results, ""))
        if self._causes:
            raise UserError(self._causes, "only what plain ONNX operators compute can be exported")
        self._name_outputs()
        inputs = [
            _value_info(name, value, layout)
            for name, value, layout in zip(self._inputs, self._block.args, self._input_layouts, strict=True)
        ]
        outputs = [
            _value_info(name, value, layout)
            for name, value, layout in zip(self._outputs, self._results, self._output_layouts, strict=True)
        ]
        return helper.make_graph(self._graph.nodes, "main", inputs, outputs, self._graph.initializers)

    def _arguments(self) -> None:
        for name, value, layout in zip(self._inputs, self._block.args, self._input_layouts, strict=True):
            tensor = name
            if layout == "NHWC":
                tensor = self._graph.node("Transpose", [name], f"{name}/nchw", perm=_NHWC_TO_NCHW)
            elif len(esc.shape_of(value)) == 2:
                shape = self._graph.constant(f"{name}/shape", np.array([0, 0, 1, 1]))
                tensor = self._graph.node("Reshape", [name, shape], f"{name}/map")
            self._values[value] = tensor

    def _name_outputs(self) -> None:
        for name, value, layout in zip(self._outputs, self._results, self._output_layouts, strict=True):
            tensor = self._values[value]
            if layout == "NHWC":
                tensor = self._graph.node("Transpose", [tensor], f"{name}/nhwc", perm=_NCHW_TO_NHWC)
            if tensor in self._inputs or tensor in self._outputs:
                tensor = self._graph.node("Identity", [tensor], f"{name}/copy")
            self._graph.rename(tensor, name)
            self._values = {v: name if t == tensor else t for v, t in self._values.items()}

    def _emit(self, op: Operation) -> str:
        """Tensor of the result of one operation."""
        match op:
            case esc.QuantizeOp():
                return self._graph.quantised(self._values[op.input], esc.q_of(op.output), self._values[op.input])
            case esc.RequantizeOp():
                return self._requantize(op)
            case esc.AddOp():
                operands = [self._values[op.lhs], self._values[op.rhs]]
                scales = esc.q_of(op.lhs).scale, esc.q_of(op.rhs).scale
                return self._add(op, op, operands, scales, esc.q_of(op.output), list(node_names(op)))
            case esc.LookupOp():
                return self._lookup(op, self._values[op.input], op.table.array, esc.q_of(op.input), esc.q_of(op.output))
            case esc.MaxPoolOp():
                return self._graph.node("MaxPool", [self._values[op.input]], _main_name(op), **_pool(op))
            case esc.AvgPoolOp():
                return self._average(op)
            case esc.ConcatOp():
                name = _main_name(op)
                x = self._graph.node("Concat", [self._values[x] for x in op.inputs], name, axis=1)
                return self._graph.quantised(x, esc.q_of(op.output), name)
            case esc.SliceOp():
                return self._move(op)
            case esc.DequantizeOp():
                return self._dequantize(op)
            case esc.SoftmaxOp():
                return self._graph.node("Softmax", [self._values[op.input]], _main_name(op), axis=op.axis.value.data)
            case _:
                raise UserError(f"{describe(op)}: has no counterpart in ONNX; requires operations of level esc")

    def _clamp(self, x: str, low: int, high: int, q: esc.QType, name: str) -> str:
        """The bounds of a requantisation, where they are not those of the type."""
        if (low, high) == (q.low, q.high):
            return x
        if (low, high) == (0, q.high):
            return self._graph.node("Relu", [x], name)
        bounds = [np.asarray(bound * q.scale, np.float32) for bound in (low, high)]
        inputs = [self._graph.constant(f"{name}/{n}", b) for n, b in zip(("min", "max"), bounds, strict=True)]
        return self._graph.node("Clip", [x, *inputs], name)

    def _requantize(self, op: esc.RequantizeOp) -> str:
        source = op.input.owner
        if not isinstance(source, esc.Conv2dOp | esc.BasisConv2dOp):
            raise UserError(f"{describe(op)}: requantises no convolution; requires the accumulator of one")
        if op.table is not None and op.table_in is None:
            raise UserError(f"{describe(op)}: says not what its table reads; requires table_in")
        conv = _main_name(source).removesuffix(BASIS)
        x = convolution(self._graph, source, op, self._values, conv)
        own = node_names(source)
        names = [n for n in node_names(op) if n not in own]
        first = op.first_type
        bounded = (op.lo.value.data, op.hi.value.data) != (first.low, first.high)
        x = self._clamp(x, op.lo.value.data, op.hi.value.data, first, names[0] if names else f"{_main_name(op)}/clamp")
        x = self._graph.quantised(x, first, conv)
        # Of the nodes fused here, the activation function before the addition comes first.
        if names and (bounded or not first.signed or op.table is not None):
            activation = names.pop(0)
        else:
            activation = f"{_main_name(op)}/activation"
        if op.table is not None:
            x = self._lookup(op, x, op.table.array, first, op.mid_type, activation)
        if op.residual is None:
            return x
        scales = op.mid_type.scale, esc.q_of(op.residual).scale
        return self._add(op, op, [x, self._values[op.residual]], scales, esc.q_of(op.output), names)

    def _add(
        self,
        op: Operation,
        parameters: esc.AddOp | esc.RequantizeOp,
        operands: list[str],
        scales: tuple[float, float],
        q: esc.QType,
        names: list[str],
    ) -> str:
        a = parameters.addition
        assert a is not None
        given = np.ldexp(np.array([a.mult_a, a.mult_b], np.float64), -a.shift)
        if not np.allclose(given, np.array(scales) / q.scale, _TOLERANCE, np.abs(given).max() * _TOLERANCE):
            raise UserError(f"{describe(op)}: weighs its operands otherwise than their scales say")
        name = names.pop(0) if names else f"{_main_name(op)}/add"
        x = self._graph.node("Add", operands, name)
        x = self._clamp(x, a.lo, a.hi, q, names[0] if names else f"{name}/clamp")
        return self._graph.quantised(x, q, name)

    def _lookup(
        self, op: Operation, x: str, table: Array, source: esc.QType, target: esc.QType, name: str | None = None
    ) -> str:
        function = recognise(table, source, target)
        if function is None:
            raise UserError(f"{describe(op)}: its table is no elementwise function of ONNX (Relu, Sigmoid, ...)")
        name = _main_name(op) if name is None else name
        if function.op_type:
            inputs = [x]
            if function.bounds is not None:
                pairs = zip(("min", "max"), function.bounds, strict=True)
                inputs += [self._graph.constant(f"{name}/{n}", np.asarray(b, np.float32)) for n, b in pairs]
            x = self._graph.node(function.op_type, inputs, name, **function.attributes)
        return self._graph.quantised(x, target, name)

    def _average(self, op: esc.AvgPoolOp) -> str:
        source, q = esc.q_of(op.input), esc.q_of(op.output)
        (h, w), include = esc.shape_of(op.input)[1:3], bool(op.count_include_pad.value.data)
        window = (esc.ints(op.kernel), esc.ints(op.strides), esc.ints(op.pads))
        counts = np.unique(pool_counts((h, w), *window, include, esc.shape_of(op.output)[1:3]))
        given = np.ldexp(op.mult.array.astype(np.float64), -op.shift.value.data)[counts - op.count0.value.data]
        if not np.allclose(given, source.scale / q.scale / counts, _TOLERANCE, 0):
            raise UserError(f"{describe(op)}: multiplies by other numbers than an average")
        name, x = _main_name(op), self._values[op.input]
        if window[0] == (h, w) and not any(window[2]):
            x = self._graph.node("GlobalAveragePool", [x], name)
        else:
            x = self._graph.node("AveragePool", [x], name, count_include_pad=int(include), **_pool(op))
        x = self._clamp(x, op.lo.value.data, op.hi.value.data, q, f"{name}/clamp")
        return self._graph.quantised(x, q, name)

    def _move(self, op: esc.SliceOp) -> str:
        """Padding with zeros, then a slice, each where there is something to do."""
        name, x = _main_name(op), self._values[op.input]
        extents = zip(esc.shape_of(op.input)[1:], esc.shape_of(op.output)[1:], strict=True)
        steps = zip(esc.ints(op.offsets), (*esc.ints(op.strides), 1), strict=True)
        rows, columns, channels = (pad_and_slice(*e, *s) for e, s in zip(extents, steps, strict=True))
        ordered = (channels, rows, columns)
        pads = [0, *(m.before for m in ordered), 0, *(m.after for m in ordered)]
        if any(pads):
            x = self._graph.node("Pad", [x, self._graph.constant(f"{name}/pads", np.array(pads))], f"{name}/pad")
        sliced = [(axis, m) for axis, m in enumerate(ordered, 1) if not m.whole]
        if not sliced:
            return x
        parameters = {
            "starts": [m.start for _, m in sliced],
            "ends": [m.stop for _, m in sliced],
            "axes": [axis for axis, _ in sliced],
            "steps": [m.step for _, m in sliced],
        }
        inputs = [self._graph.constant(f"{name}/{n}", np.array(v)) for n, v in parameters.items()]
        return self._graph.node("Slice", [x, *inputs], name)

    def _dequantize(self, op: esc.DequantizeOp) -> str:
        x = self._values[op.input]
        _, h, w, c = esc.shape_of(op.input)
        shape = esc.shape_of(op.output)
        if shape == (1, c, h, w):
            return x
        name = f"{_main_name(op)}/reshape"
        if len(shape) == 2 and shape[0] == 1:
            return self._graph.node("Flatten", [x], name)
        wanted = np.array([0 if i == 0 and d == 1 else d for i, d in enumerate(shape)])
        return self._graph.node("Reshape", [x, self._graph.constant(f"{name}/shape", wanted)], name)


def _pool(op: esc.MaxPoolOp | esc.AvgPoolOp) -> dict[str, list[int] | int]:
    """Attributes of a pooling."""
    kernel, strides, pads = (esc.ints(a) for a in (op.kernel, op.strides, op.pads))
    floor = [
        window_output(size, kernel[i], strides[i], pads[i], pads[i + 2])
        for i, size in enumerate(esc.shape_of(op.input)[1:3])
    ]
    ceil = tuple(floor) != esc.shape_of(op.output)[1:3]
    return {
        "kernel_shape": list(kernel),
        "strides": list(strides),
        "pads": list(pads),
        **({"ceil_mode": 1} if ceil else {}),
    }


def _value_info(name: str, value: SSAValue, layout: str) -> onnx.ValueInfoProto:
    """A float tensor of any batch."""
    shape = esc.shape_of(value)
    if layout == "NHWC":
        shape = tuple(shape[i] for i in _NCHW_TO_NHWC)
    dynamic = ["N" if i == 0 and d == 1 else d for i, d in enumerate(shape)]
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dynamic)


def export_model(module: ModuleOp) -> onnx.ModelProto:
    """The model of a module of level `esc` as plain ONNX of float inputs and outputs and any batch.

    Activations pass QuantizeLinear and DequantizeLinear with zero point 0 wherever the machine stores them, weights
    are int8 behind DequantizeLinear; a decomposed convolution is a 1x1 Conv with ternary weights and a grouped Conv
    with the bases. Imported again, it has the same integers, if all scales of the module are float32 numbers. Raises
    UserError naming every operation that ONNX cannot express.
    """
    function = main_function(module)
    graph = Exporter(function).run()
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="escc",
        producer_version=metadata.version("escc"),
    )
    if weights := float_weights(function):
        helper.set_model_props(model, {FLOAT_WEIGHTS_KEY: str(weights)})
    return model
