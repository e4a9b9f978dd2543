"""An ONNX model as a graph to cut: who reads what, which values are fixed, shapes and types of all tensors, the work.

The model runs once in onnxruntime, on zeros, with every tensor as an output: shapes and types are those found there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray

from emulator.hosted import HostModel
from escc.onnx_import import reader
from escc.onnx_import.importer import needed_nodes
from escc.onnx_import.limits import check_activation
from escc.onnx_import.wellformed import graph_faults, unique_names
from isa.errors import UserError
from isa.hosted import ELEMENTS, HostPort

Array = NDArray[Any]

_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)
_BY_SHAPE = frozenset({"Shape", "Size"})


@dataclass(frozen=True)
class CutNode:
    """A node that computes something of the inputs; `reads` are the tensors that it or a graph in it reads."""

    proto: onnx.NodeProto
    reads: tuple[str, ...]
    macs: int


@dataclass(frozen=True)
class CutGraph:
    """A model with static inputs of one image, its nodes named differently from one another.

    `nodes` compute something of the inputs; `static` nodes compute what is the same for all inputs, by the tensor that
    they give. `folded` are values that follow from shapes. `tensors` has the value of every other tensor in one run.
    """

    model: onnx.ModelProto
    inputs: tuple[HostPort, ...]
    outputs: tuple[HostPort, ...]
    nodes: tuple[CutNode, ...]
    static: Mapping[str, onnx.NodeProto]
    folded: Mapping[str, Array]
    tensors: Mapping[str, HostPort]

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of numbers of nodes, of which the second reads a tensor of the first."""
        producer = {name: number for number, node in enumerate(self.nodes) for name in node.proto.output if name}
        pairs = ((producer.get(name), number) for number, node in enumerate(self.nodes) for name in node.reads)
        return list(dict.fromkeys((a, b) for a, b in pairs if a is not None))


def graph_of(model: onnx.ModelProto) -> CutGraph:
    """The graph of a model that `reader.load_model` gave, whose nodes it names. Raises UserError.

    The model is changed: its inputs get their static shapes, what it says of other tensors goes.
    """
    names = unique_names(model.graph.node)
    if causes := graph_faults(model.graph, names):
        raise UserError(causes, "the file breaks the rules of ONNX; onnx.checker says so too")
    for proto, name in zip(model.graph.node, names, strict=True):
        proto.name = name
    inputs = _make_static(model)
    needed = needed_nodes(model.graph)
    protos = [proto for number, proto in enumerate(model.graph.node) if number in needed]
    reads = {proto.name: tuple(dict.fromkeys(_reads(proto))) for proto in protos}
    static_shapes = _static_shapes(model)
    fixed = {t.name for t in model.graph.initializer}
    static: dict[str, onnx.NodeProto] = {}
    computed: list[onnx.NodeProto] = []
    shaped = set[str]()
    for proto in protos:
        of_shape = proto.op_type in _BY_SHAPE and proto.input[0] in static_shapes
        if proto.op_type not in _RANDOM and (of_shape or all(name in fixed for name in reads[proto.name])):
            fixed |= set(proto.output)
            if of_shape or any(name in shaped for name in reads[proto.name]):
                shaped |= set(proto.output)
            else:
                static |= dict.fromkeys(proto.output, proto)
        else:
            computed.append(proto)
    values = _run_once(model, inputs, [name for proto in protos for name in proto.output if name])
    arrays = {name: cast(Array, x) for name, x in values.items() if isinstance(x, np.ndarray)}
    tensors = {name: _port(name, x, x.shape) for name, x in arrays.items()}
    tensors |= {port.name: port for port in inputs}
    shapes = {t.name: tuple(t.dims) for t in model.graph.initializer} | {n: port.shape for n, port in tensors.items()}
    nodes = [CutNode(proto, reads[proto.name], _macs(proto, shapes)) for proto in computed]
    outputs: list[HostPort] = []
    for info in model.graph.output:
        if info.name not in tensors:
            raise UserError(f"output '{info.name}' is no tensor; requires tensors")
        outputs.append(_port(info.name, arrays.get(info.name), static_shapes.get(info.name, ()), tensors))
    folded = {name: arrays[name] for name in shaped if name in arrays}
    return CutGraph(model, inputs, tuple(outputs), tuple(nodes), static, folded, tensors)


def _make_static(model: onnx.ModelProto) -> tuple[HostPort, ...]:
    """Give the inputs the shapes of one image. Raises UserError on an extent that is not known."""
    stored = {t.name for t in model.graph.initializer}
    ports: list[HostPort] = []
    causes: list[str] = []
    for info in model.graph.input:
        if info.name in stored:
            continue
        try:
            shape, dtype = reader.input_shape(info), reader.element_dtype(info)
            check_activation(shape)
        except ValueError as error:
            causes.append(str(error))
            continue
        if dtype.name not in ELEMENTS:
            causes.append(f"input '{info.name}' has type {dtype.name}; requires numbers")
            continue
        del info.type.tensor_type.shape.dim[:]
        info.type.tensor_type.shape.dim.extend(onnx.TensorShapeProto.Dimension(dim_value=size) for size in shape)
        ports.append(HostPort(info.name, shape, dtype.name))
    if causes:
        raise UserError(causes)
    del model.graph.value_info[:]
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.ClearField("shape")
    return tuple(ports)


def _static_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes by tensor that follow from those of the inputs; an extent of an output that does not is 0."""
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (RuntimeError, ValueError, TypeError):  # of the inference, and of models beyond 2 GB
        return {}
    found: dict[str, tuple[int, ...]] = {}
    outputs = {info.name for info in known.graph.output}
    for info in (*known.graph.input, *known.graph.value_info, *known.graph.output):
        tensor = info.type.tensor_type
        if not info.type.HasField("tensor_type") or not tensor.HasField("shape"):
            continue
        shape = tuple(int(dim.dim_value) if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim)
        if 0 not in shape or info.name in outputs:
            found[info.name] = shape
    return found


def _reads(proto: onnx.NodeProto) -> Iterator[str]:
    """Tensors that a node reads, and those of the graph around that the graphs in it read."""
    yield from filter(None, proto.input)
    for attribute in proto.attribute:
        for inner in (attribute.g, *attribute.graphs):
            own = {t.name for t in inner.initializer} | {i.name for i in inner.input}
            own |= {name for node in inner.node for name in node.output}
            read = (name for node in inner.node for name in _reads(node))
            yield from (name for name in (*read, *(o.name for o in inner.output)) if name not in own)


def _run_once(model: onnx.ModelProto, inputs: Sequence[HostPort], names: Iterable[str]) -> dict[str, Any]:
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {info.name for info in probe.graph.output}
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    zeros = {port.name: np.zeros(port.shape, port.element) for port in inputs}
    return HostModel(serialised(probe), "the network, for one image").run(zeros)


def serialised(model: onnx.ModelProto) -> bytes:
    """The bytes of a model. Raises UserError beyond 2 GB."""
    try:
        return model.SerializeToString()
    except Exception as e:  # protobuf's own class
        raise UserError(f"the model cannot be passed on: {e}; requires less than 2 GB") from e


def _port(
    name: str, value: Array | None, shape: Sequence[int], tensors: Mapping[str, HostPort] | None = None
) -> HostPort:
    element = value.dtype.name if value is not None else (tensors or {})[name].element
    return HostPort(name, tuple(shape), element)


def _macs(proto: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Multiply-accumulates of a node for one image."""

    def shape(name: str) -> tuple[int, ...]:
        return shapes.get(name, ())

    kind, inputs = proto.op_type, list(proto.input)
    result = math.prod(shape(proto.output[0])) if proto.output else 0
    match kind:
        case "Conv" | "ConvInteger":
            return result * math.prod(shape(inputs[1])[1:])
        case "QLinearConv":
            return result * math.prod(shape(inputs[3])[1:])
        case "ConvTranspose":
            return math.prod(shape(inputs[0])) * math.prod(shape(inputs[1])[1:])
        case "Gemm":
            transposed = any(a.name == "transA" and a.i for a in proto.attribute)
            return result * (shape(inputs[0]) or (0,))[0 if transposed else -1]
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return result * (shape(inputs[0]) or (0,))[-1]
        case "LSTM" | "GRU" | "RNN":
            steps = (shape(inputs[0]) or (0,))[0]
            return steps * (math.prod(shape(inputs[1])) + math.prod(shape(inputs[2])))
        case _:
            return 0
