"""From an ONNX graph to a module of the `onnx` dialect."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_proto
from xdsl.builder import Builder
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr, TensorType, f32, i64
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region, SSAValue
from xdsl.rewriter import InsertPoint
from xdsl.utils.exceptions import VerifyException

from dialects import onnx
from dialects.locations import named
from escc.onnx_import import fold, older, reader
from escc.onnx_import.choices import TRUTHS
from escc.onnx_import.constraints import axes_are_in_range
from escc.onnx_import.element_types import type_fault
from escc.onnx_import.evaluable import ELEMENTS
from escc.onnx_import.given_shapes import joins_the_batch, set_shapes
from escc.onnx_import.limits import MAX_COMPUTED, check_activation
from escc.onnx_import.node import Array, Node, Quantised, Value, is_float, text
from escc.onnx_import.operators import operators
from escc.onnx_import.ranks import OtherRank, waits_for_its_rank
from escc.onnx_import.wellformed import graph_faults, unique_names
from escc.recorded_forms import PREFIX, from_text
from isa.errors import NodeFault, UserError, summed_up
from isa.text import printable
from passes.analysis import original_weight_count
from passes.onnx_patterns.boundary import relabel_boundary

NOTE = "escc --supported-ops lists what is supported; --host-fallback computes the ends of a model, never its middle"
FLOAT_WEIGHTS_KEY = "escc.float_weights"
"""Metadata of a compressed ONNX model: number of weights of the float model that it was made from."""
_TYPES = onnx_proto.TensorProto
_FLOATS = (_TYPES.FLOAT, _TYPES.FLOAT16, _TYPES.BFLOAT16, _TYPES.DOUBLE)
_DECLARED: Mapping[Attribute, Sequence[int]] = {f32: _FLOATS, i64: (_TYPES.INT64, _TYPES.INT32, _TYPES.UNDEFINED)}
"""Element types that an output may be declared with, by that of its values."""
_FLAGS = (
    *("allowzero", "ceil_mode", "count_include_pad", "keepdims", "noop_with_empty_axes"),
    *("select_last_index", "spatial", "training_mode", "transA", "transB"),
)
_PER_AXIS = 13
"""The first opset whose DequantizeLinear has an axis: operators of integers of older ones mean that too."""
_COUNT = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


def _attribute(attribute: onnx_proto.AttributeProto) -> Any:
    if attribute.ref_attr_name:
        raise ValueError(
            f"attribute '{attribute.name}' refers to '{attribute.ref_attr_name}' of a function, but stands in none; "
            "requires a value"
        )
    value = onnx_proto.helper.get_attribute_value(attribute)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def needed_nodes(graph: onnx_proto.GraphProto) -> set[int]:
    """Indices of the nodes that some output of the graph depends on."""
    producers = {o: i for i, node in enumerate(graph.node) for o in node.output if o}
    todo, needed = [o.name for o in graph.output], set[int]()
    while todo:
        index = producers.get(todo.pop())
        if index is not None and index not in needed:
            needed.add(index)
            todo.extend(i for i in graph.node[index].input if i)
    return needed


def _cast_of(node: Node, proto: onnx_proto.NodeProto) -> tuple[Node, onnx_proto.NodeProto]:
    """CastLike as Cast to the type that its second input has; as it is where that is unknown."""
    like = node.input(1)
    if like is None or like.dtype is None or len(proto.input) != 2:
        return node, proto
    to = int(onnx_proto.helper.np_dtype_to_tensor_dtype(like.dtype))
    made = onnx_proto.helper.make_node("Cast", proto.input[:1], proto.output, proto.name, to=to)
    return replace(node, op_type="Cast", inputs=node.inputs[:1], attributes={"to": to}), made


def _element_type(node: Node, result: SSAValue) -> np.dtype[Any]:
    """Element type that a result has in the model; stored integers that Cast passes on have another one here."""
    dtype = np.dtype({"i8": np.int8, "ui8": np.uint8, "i64": np.int64}.get(str(onnx.element_of(result)), np.float32))
    if node.op_type in TRUTHS:
        return np.dtype(np.bool_)
    if node.op_type == "Cast" and not is_float(dtype):
        return np.dtype(np.int64 if node.attr("to") == _TYPES.INT64 else np.int32)
    return dtype


class Importer:
    """Walks the nodes once; collects every fault before it gives up."""

    def __init__(self, model: onnx_proto.ModelProto):
        self.model = model
        self.opset = reader.opset_of(model)
        self.values: dict[str, Value] = {}
        self.faults: list[NodeFault | str] = []
        self._read = set[str]()
        self._computed = 0
        self._most_computed = max(MAX_COMPUTED, model.ByteSize())
        self._checkers = dict[int, onnx_proto.checker.C.CheckerContext]()
        self.block = Block()
        self.builder = Builder(InsertPoint.at_end(self.block))
        self.batch = 1
        """The batch that the inputs of the model declare."""
        self._declared: dict[str, onnx_proto.ValueInfoProto] | None = None
        self._forms = dict[str, DictionaryAttr]()

    # What converters call.

    def _constant(self, array: Array, origin: str) -> SSAValue:
        op = onnx.ConstantOp(array)
        op.location = named(origin)
        return self.builder.insert(op).output

    def operand(self, node: Node, index: int) -> SSAValue:
        """SSA value of an input; constants appear on first use, floats as f32, quantised ones behind their integers."""
        value = node.inputs[index]
        assert value is not None
        if value.ssa is None:
            assert value.const is not None
            q = value.quantised
            if q is not None and q.data.dtype != np.int32:
                integers = self._constant(q.data, value.origin)
                op = onnx.DequantizeLinearOp(integers, q.scale, q.zero_point, q.axis)
                op.location = named(value.origin)
                value.ssa = self.builder.insert(op).output
            else:
                value.ssa = self._constant(self._widened(node, value), value.origin)
        return value.ssa

    def _widened(self, node: Node, value: Value) -> Array:
        assert value.const is not None and is_float(value.const.dtype)
        if not value.const.size:
            raise ValueError(
                f"'{value.name}' of shape {text(value.const.shape)} holds no elements; requires at least one"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            array = value.const.astype(np.float32)
        bad = array.size - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise ValueError(
                f"'{value.name}' holds {bad} values of {array.size} that are NaN or infinite; requires finite values"
            )
        return array

    def optional(self, node: Node, index: int) -> SSAValue | None:
        """SSA value of an input that may be absent."""
        return None if node.input(index) is None else self.operand(node, index)

    def constant(self, node: Node, array: Array) -> SSAValue:
        """A new constant that carries the node's name."""
        return self._constant(array, node.name)

    def emit(self, node: Node, op: onnx.OnnxOp) -> SSAValue:
        """Append an operation that carries the node's name."""
        op.location = named(node.name)
        if isinstance(op, onnx.ConvOp) and node.name in self._forms:
            op.attributes[onnx.ConvOp.FORM] = self._forms[node.name]
        return self.builder.insert(op).results[0]

    # The walk.

    def _read_initializers(self) -> None:
        for tensor in self.model.graph.initializer:
            try:
                array = reader.to_array(tensor)
            except ValueError as error:
                self.faults.append(f"initializer '{tensor.name}' is damaged: {error}")
                self.values[tensor.name] = Value(tensor.name, tuple(tensor.dims))
                continue
            self.values[tensor.name] = Value.constant(tensor.name, array, tensor.name)
        for tensor in self.model.graph.sparse_initializer:
            self.faults.append(f"initializer '{tensor.values.name}' is sparse; requires dense initializers")

    def _read_inputs(self) -> list[str]:
        names: list[str] = []
        for info in self.model.graph.input:
            if info.name in self.values:
                continue  # old exporters list initializers as inputs too
            try:
                shape, dtype = reader.input_shape(info), reader.element_dtype(info)
                if not is_float(dtype):
                    raise ValueError(f"input '{info.name}' has type {dtype}; requires float")
            except ValueError as error:
                self.faults.append(str(error))
                self.values[info.name] = Value(info.name, from_input=True)
                continue
            if (batch := reader.batch_of(info)) > 1:
                self.batch = batch
                warnings.warn(f"input '{info.name}' has batch {batch}: the network is compiled for 1", stacklevel=2)
            argument = self.block.insert_arg(TensorType(f32, shape), len(self.block.args))
            argument.location = named(info.name)
            self.values[info.name] = Value(info.name, shape, np.dtype(np.float32), ssa=argument)
            names.append(info.name)
        return names

    def _declared_shape(self, name: str) -> tuple[int, ...] | None:
        """Shape the model itself declares for a tensor, for the checks behind nodes that could not be imported.

        ONNX shape inference would know more, but its native code may abort on a faulty model.
        """
        if self._declared is None:
            self._declared = {info.name: info for info in self.model.graph.value_info}
        try:
            return reader.input_shape(self._declared[name])
        except (KeyError, ValueError):
            return None

    def _fail(self, node: Node, *reasons: str) -> None:
        self.faults.extend(NodeFault(node.name, node.op_type, reason) for reason in reasons)
        for output in filter(None, node.outputs):
            self.values[output] = Value(output, self._declared_shape(output), from_input=node.is_computed)

    def _spend(self, node: Node) -> None:
        """Count the elements of a constant that is about to be computed. Raises ValueError if they are too many."""
        try:
            elements = ELEMENTS[node.op_type](node)
        except (OverflowError, TypeError, IndexError) as error:
            raise ValueError(f"cannot be evaluated on its constant inputs: {error}") from None
        if self._computed + elements > self._most_computed:
            raise ValueError(
                f"makes a constant of {elements:,} elements; requires at most {self._most_computed:,} in all constants "
                "that are computed at import: store large ones as initializers"
            )
        self._computed += elements

    def _fold(self, node: Node, proto: onnx_proto.NodeProto) -> None:
        try:
            self._spend(node)
            quantised: Quantised | None = None
            if node.op_type == "DequantizeLinear":
                array, quantised = fold.dequantized(node)
                results = [array]
            else:
                results = fold.evaluate(node, proto)
                quantised = fold.moved(node, results[0])
        except ValueError as error:
            self._fail(node, str(error))
            return
        for output, result in zip(filter(None, proto.output), results, strict=False):
            self.values[output] = Value.constant(output, result, node.name, quantised)

    def _checker(self, opset: int) -> onnx_proto.checker.C.CheckerContext:
        """What checks a node by the rules of an opset."""
        if opset not in self._checkers:
            made = onnx_proto.checker.C.CheckerContext()
            made.ir_version, made.opset_imports = int(self.model.ir_version), {"": opset}
            self._checkers[opset] = made
        return self._checkers[opset]

    def _malformed(self, node: Node, proto: onnx_proto.NodeProto) -> str | None:
        """What is wrong with a node's attributes and inputs, by the schema of its operator."""
        if len({a.name for a in proto.attribute}) != len(proto.attribute):
            return "is malformed: an attribute is given twice"
        for flag in _FLAGS:
            if node.attr(flag, 0) not in (0, 1):
                return f"is malformed: {flag}={node.attr(flag)}; requires 0 or 1"
        opset = max(self.opset, _PER_AXIS) if node.op_type == "DequantizeLinear" else self.opset
        try:
            onnx_proto.checker.check_node(proto, self._checker(opset))
        except onnx_proto.checker.ValidationError as error:
            return f"is malformed: {str(error).splitlines()[0]}"
        schema = onnx_proto.defs.get_schema(node.op_type, max_inclusive_version=opset, domain="")
        return type_fault(node, schema)

    def _convert(self, node: Node) -> None:
        operator = operators()[node.op_type]
        misplaced = axes_are_in_range(node)
        if misplaced is not None:
            self._fail(node, misplaced)
            return
        if operator.on_maps is not None and waits_for_its_rank(node):
            self._fail(node)  # the cause lies upstream and has been said
            return
        other = OtherRank.of(node, operator.on_maps)
        if other is None and operator.in_volumes is not None and len(node.shape() or ()) == 5:
            operator = operator.in_volumes
        node = node if other is None else other.on_maps(self, node)
        reasons = [r for r in (check(node) for check in operator.constraints) if r is not None]
        if reasons:
            self._fail(node, *dict.fromkeys(reasons))
            return
        if self.batch > 1 and (joined := joins_the_batch(node, self.batch)):
            self._fail(node, f"{joined}: export the model with batch 1")
            return
        if not node.is_known:
            self._fail(node)  # the cause lies upstream and has been said
            return
        try:
            converted = operator.convert(self, node)
            results = [converted] if isinstance(converted, SSAValue) else list(converted)
            results = results if other is None else other.back(self, node, results)
            for result in results:
                check_activation(onnx.shape_of(result))
        except (ValueError, VerifyException) as error:
            self._fail(node, str(error))
            return
        for name, result in zip(node.outputs, results, strict=False):
            if name:
                self.values[name] = Value(name, onnx.shape_of(result), _element_type(node, result), ssa=result)

    def _visit(self, proto: onnx_proto.NodeProto, name: str) -> None:
        inputs = [self.values.get(i) if i else None for i in proto.input]
        # An output that nothing reads is as good as absent.
        outputs = [o if o in self._read else "" for o in proto.output]
        node = Node(name, proto.op_type, self.opset, inputs, outputs)
        node.listed_outputs = sum(1 for o in proto.output if o)
        if proto.domain not in ("", "ai.onnx"):
            self._fail(node, f"operator of domain '{proto.domain}' unsupported; requires standard ONNX operators")
            return
        if any(a.HasField("g") or a.graphs for a in proto.attribute):
            self._fail(node, "control flow with subgraphs unsupported; requires a plain graph")
            return
        if node.op_type not in operators() and node.op_type not in ELEMENTS:
            self._fail(node, "operator unsupported")
            return
        try:
            node.attributes = {a.name: _attribute(a) for a in proto.attribute}
        except ValueError as error:
            self._fail(node, str(error))
            return
        if node.op_type == "CastLike":
            node, proto = _cast_of(node, proto)
        if malformed := self._malformed(node, proto):
            self._fail(node, malformed)
            return
        try:
            node, proto = older.modernised(self, node, proto, self.opset)
        except ValueError as error:
            self._fail(node, str(error))
            return
        if fold.is_foldable(node):
            self._fold(node, proto)
        elif node.op_type not in operators():
            reason = "operator unsupported on what depends on the model's input; requires constant inputs"
            self._fail(node, *([reason] if node.is_computed else []))
        elif all(v is None or v.const is not None for v in node.inputs):
            self._fail(node, "operator unsupported on constants; requires an input that depends on the model's")
        else:
            self._convert(node)

    def _outputs(self) -> list[SSAValue]:
        results: list[SSAValue] = []
        if not self.model.graph.output:
            self.faults.append("the graph has no outputs; requires at least one")
        for info in self.model.graph.output:
            value = self.values[info.name]
            declared = info.type.WhichOneof("value")  # none where the exporter left it out
            if value.const is not None:
                self.faults.append(f"output '{info.name}' does not depend on the input of the model")
            elif value.ssa is not None:
                first = (*onnx.shape_of(value.ssa), 1)[0]
                if self.batch > 1 and first != 1:
                    self.faults.append(
                        f"output '{info.name}' has {first} rows for one image; requires a model that keeps its batch "
                        f"of {self.batch}: export it with batch 1"
                    )
                element = onnx.element_of(value.ssa)
                if element not in (f32, i64):
                    self.faults.append(
                        f"output '{info.name}' has type {value.dtype}; requires float: end with DequantizeLinear"
                    )
                elif declared is not None and info.type.tensor_type.elem_type not in _DECLARED[element]:
                    kind = info.type.tensor_type.elem_type if declared == "tensor_type" else declared
                    wanted = "float" if element == f32 else "int32 or int64"
                    self.faults.append(f"output '{info.name}' is declared with element type {kind}; requires {wanted}")
                results.append(value.ssa)
        return results

    def _float_weights(self) -> int | None:
        """Weights of the original float model, if the model says that it is a compressed form of one."""
        texts = [p.value for p in self.model.metadata_props if p.key == FLOAT_WEIGHTS_KEY]
        if not texts:
            return None
        if not _COUNT.fullmatch(texts[0]):
            self.faults.append(f"metadata '{FLOAT_WEIGHTS_KEY}' is {texts[0][:40]!r}; requires a positive integer")
            return None
        return int(texts[0])

    def _read_forms(self) -> None:
        """What the model says of the weights of some of its Conv nodes."""
        for entry in self.model.metadata_props:
            if entry.key.startswith(PREFIX):
                try:
                    self._forms[entry.key.removeprefix(PREFIX)] = from_text(entry.value)
                except ValueError as error:
                    self.faults.append(f"metadata '{printable(entry.key[:80])}' does not describe weights: {error}")

    def run(self) -> ModuleOp:
        """The imported module. Raises UserError listing every fault."""
        graph = self.model.graph
        names = unique_names(graph.node)
        if causes := graph_faults(graph, names):
            raise UserError(causes, "the file breaks the rules of ONNX; onnx.checker says so too")
        self._read_initializers()
        self._read_forms()
        input_names = self._read_inputs()
        needed = needed_nodes(graph)
        self._read = {o.name for o in graph.output}.union(*(graph.node[index].input for index in needed))
        for index, (proto, name) in enumerate(zip(graph.node, names, strict=True)):
            if index in needed:
                self._visit(proto, name)
        results = self._outputs()
        weights = self._float_weights()
        if not self.faults and not input_names:
            self.faults.append("the graph has no inputs; requires at least one")
        if self.faults:
            raise summed_up(self.faults, NOTE)
        if not needed:
            what = "no output of the model needs one of its operators" if graph.node else "the model has no operators"
            raise UserError(f"{what}; requires a graph that computes something", "export the network again")
        self.builder.insert(ReturnOp(*results))
        signature = FunctionType.from_lists([a.type for a in self.block.args], [r.type for r in results])
        function = FuncOp("main", signature, Region(self.block))
        function.attributes["input_names"] = ArrayAttr([StringAttr(n) for n in input_names])
        function.attributes["output_names"] = ArrayAttr([StringAttr(o.name) for o in graph.output])
        if weights is not None:
            original_weight_count.record(function, weights)
        return ModuleOp([function])


def import_model(
    source: str | Path | bytes, name: str = "", shapes: Mapping[str, Sequence[int]] | None = None
) -> ModuleOp:
    """Import an ONNX model from a path or its bytes as a verified module of the `onnx` dialect.

    `@main` takes float32 NCHW tensors of batch 1 (where the model has NHWC ones, the attribute `input_layouts` says so)
    and returns those that the model declares. It carries the names of inputs and outputs, and every operation has its
    ONNX node name as location. `name` is how diagnostics call the model; the path by default. `shapes` gives inputs
    of dynamic extents their shapes [1, C, H, W]. A batch beyond 1 becomes 1, with a warning. Raises UserError listing
    all that is unsupported or broken.
    """
    name = name or ("model" if isinstance(source, bytes) else str(source))
    model = reader.load_model(source, name)
    try:
        set_shapes(model, shapes or {})
        module = Importer(model).run()
    except UserError as error:
        raise error.about(name) from None
    relabel_boundary(module)
    module.verify()
    return module
