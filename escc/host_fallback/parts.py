"""Parts of a graph as ONNX models of their own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from escc.host_fallback.graph import CutGraph, CutNode
from isa.hosted import HostPort


@dataclass(frozen=True)
class GraphPart:
    """Some nodes of a graph, with the tensors that they take from the rest of it and give to it, in order."""

    nodes: tuple[CutNode, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def part_of(graph: CutGraph, numbers: Collection[int]) -> GraphPart:
    """The part of the nodes with these numbers; it gives what other nodes read and what the network gives."""
    nodes = tuple(node for number, node in enumerate(graph.nodes) if number in numbers)
    others = (node for number, node in enumerate(graph.nodes) if number not in numbers)
    wanted = {name for node in others for name in node.reads} | {port.name for port in graph.outputs}
    made = {name for node in nodes for name in node.proto.output if name}
    read = dict.fromkeys(name for node in nodes for name in node.reads)
    return GraphPart(
        nodes,
        tuple(name for name in read if name not in made and _is_fed(graph, name)),
        tuple(name for node in nodes for name in node.proto.output if name in wanted and name),
    )


def model_of(graph: CutGraph, part: GraphPart) -> onnx.ModelProto:
    """A part as a model: its nodes, and all that is the same for every input."""
    model = onnx.ModelProto(ir_version=graph.model.ir_version, producer_name=graph.model.producer_name)
    model.opset_import.extend(graph.model.opset_import)
    static, constants = _static_nodes(graph, part)
    model.graph.name = graph.model.graph.name
    model.graph.node.extend([*static, *(node.proto for node in part.nodes)])
    read = {name for proto in static for name in proto.input} | {n for node in part.nodes for n in node.reads}
    model.graph.initializer.extend(t for t in graph.model.graph.initializer if t.name in read)
    model.graph.initializer.extend(numpy_helper.from_array(graph.folded[name], name) for name in constants)
    model.graph.input.extend(_declared(graph.tensors[name]) for name in part.inputs)
    fixed = {port.name: port.shape for port in graph.outputs}
    for name in part.outputs:
        port = graph.tensors[name]
        info = _declared(port)
        if 0 in fixed.get(name, ()):
            info.type.tensor_type.ClearField("shape")
        model.graph.output.append(info)
    return model


def _is_fed(graph: CutGraph, name: str) -> bool:
    """Whether a tensor changes with the inputs."""
    made = any(name == port.name for port in graph.inputs)
    return made or (name in graph.tensors and name not in graph.static and name not in graph.folded)


def _static_nodes(graph: CutGraph, part: GraphPart) -> tuple[list[onnx.NodeProto], list[str]]:
    """What makes the fixed values that a part reads: nodes in their order, and values by name."""
    todo = [name for node in part.nodes for name in node.reads]
    wanted: dict[str, onnx.NodeProto] = {}
    constants: dict[str, None] = {}
    while todo:
        name = todo.pop()
        if name in graph.folded:
            constants[name] = None
        elif name in graph.static and graph.static[name].name not in wanted:
            wanted[graph.static[name].name] = graph.static[name]
            todo += [read for read in graph.static[name].input if read]
    return [proto for proto in graph.model.graph.node if proto.name in wanted], sorted(constants)


def _declared(port: HostPort) -> onnx.ValueInfoProto:
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(port.element))
    return onnx.helper.make_tensor_value_info(port.name, kind, list(port.shape))


def components(count: int, edges: Sequence[tuple[int, int]], numbers: Collection[int]) -> list[set[int]]:
    """The given nodes of a graph of `count` nodes in groups that edges between them connect."""
    neighbours: dict[int, list[int]] = {number: [] for number in range(count) if number in numbers}
    for a, b in edges:
        if a in neighbours and b in neighbours:
            neighbours[a].append(b)
            neighbours[b].append(a)
    found: list[set[int]] = []
    seen = set[int]()
    for start in neighbours:
        if start in seen:
            continue
        group, todo = {start}, [start]
        while todo:
            fresh = [n for n in neighbours[todo.pop()] if n not in group]
            group.update(fresh)
            todo += fresh
        seen |= group
        found.append(group)
    return found
