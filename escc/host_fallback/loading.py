"""From an ONNX model to the module of its largest supported middle part, which carries head and tail along."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp

from dialects.eisa import host_of, set_host
from escc.host_fallback.cut import HEAD, MACHINE, TAIL, Label, cut
from escc.host_fallback.graph import CutGraph, graph_of, serialised
from escc.host_fallback.parts import GraphPart, components, model_of, part_of
from escc.onnx_import import import_model, reader
from escc.onnx_import.given_shapes import set_shapes
from escc.onnx_import.importer import Importer
from isa.errors import NodeFault, UserError
from isa.hosted import HostParts, HostWork, unpack
from passes.onnx_canonicalize import OnnxCanonicalizePass
from passes.onnx_legalize import OnnxLegalizePass
from passes.onnx_patterns.boundary import relabel_boundary

_NODE = re.compile(r"node '((?:[^']|'(?! \())*)' \(")
_MUCH = 0.01
"""The host's share of the multiply-accumulates that is worth a warning."""


def load(source: str | Path | bytes, name: str, shapes: Mapping[str, Sequence[int]]) -> ModuleOp:
    """The module of level onnx that the machine computes; `dialects.eisa.host_of` has what the host computes around it.

    A network that is supported as a whole needs no host: then this is `import_model`. Warns where the host computes
    more than 1 % of the multiply-accumulates. Raises UserError where nothing is left for the machine.
    """
    name = name or ("model" if isinstance(source, bytes) else str(source))
    if (whole := _whole(source, name, shapes)) is not None:
        return whole
    model = reader.load_model(source, name)
    try:
        set_shapes(model, shapes)
        split = _split(graph_of(model))
    except UserError as error:
        raise error.about(name) from error
    module = import_model(serialised(split.middle), name)
    work = split.parts.work
    if work.share > _MUCH:
        reason = split.reasons[0] if split.reasons else ""
        warnings.warn(
            f"the host computes {work.share:.1%} of the multiply-accumulates: the machine has no more of the network "
            f"in one piece; {reason}",
            UserWarning,
            stacklevel=2,
        )
    set_host(module, split.parts.pack())
    return module


def set_images(module: ModuleOp, mean: Sequence[float], std: Sequence[float], order: str) -> None:
    """Write the preprocessing of images onto the inputs of a network whose ends the host computes.

    Raises UserError where an input has another number of channels.
    """
    parts = unpack(host_of(module))
    ports = [port for port in parts.inputs if len(port.shape) == 4]
    channels = {port.shape[1] for port in ports}
    for flag, values in (("--image-mean", mean), ("--image-std", std)):
        if values and channels != {len(values)}:
            raise UserError(f"{flag}: {len(values)} values for an input of {sorted(channels)} channels")
    changed = {
        port.name: dataclasses.replace(port, mean=tuple(mean), std=tuple(std), channel_order=order) for port in ports
    }
    set_host(module, dataclasses.replace(parts, inputs=tuple(changed.get(p.name, p) for p in parts.inputs)).pack())


def refuse_drop(module: ModuleOp) -> None:
    """Raise UserError for a limit of accuracy on a network whose outputs the host computes."""
    if host_of(module):
        raise UserError(
            "--max-drop measures the answers of the machine, and the host computes a part of this network",
            "give --max-bytes, --max-cycles or --max-energy",
        )


@dataclass(frozen=True)
class _Split:
    middle: onnx.ModelProto
    parts: HostParts
    reasons: tuple[str, ...]
    """Why nodes are with the host, in the order in which they were found."""


def _whole(source: str | Path | bytes, name: str, shapes: Mapping[str, Sequence[int]]) -> ModuleOp | None:
    """The module of a network that needs no host, None for any other."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            module = import_model(source, name, shapes)
            _legalise(module.clone())
    except UserError:
        return None
    for warning in said:
        warnings.warn(str(warning.message), warning.category, stacklevel=3)
    return module


def _legalise(module: ModuleOp) -> None:
    for step in (OnnxCanonicalizePass(), OnnxLegalizePass()):
        step.apply(Context(), module)


def _split(graph: CutGraph) -> _Split:
    """Head, middle and tail, the middle the largest that the compiler takes. Raises UserError if it computes nothing.

    A node that the compiler refuses goes to the host, and the graph is cut anew, until it refuses none of the middle.
    """
    refused: dict[int, str] = _by_types(graph)
    edges = graph.edges
    number_of = {node.proto.name: number for number, node in enumerate(graph.nodes)}
    weights = [node.macs + 1 for node in graph.nodes]
    while True:
        labels = _connected(graph, edges, cut(weights, edges, refused))
        machine = {number for number, label in enumerate(labels) if label == MACHINE}
        if not any(graph.nodes[number].macs for number in machine):
            refused = refused or _faults(graph, part_of(graph, range(len(graph.nodes))), number_of)
            causes = list(dict.fromkeys(refused.values()))
            raise UserError(
                ["nothing is left for the machine: every convolution and matrix product is with the host", *causes[:8]],
                "escc --supported-ops lists what is supported",
            )
        middle = part_of(graph, machine)
        found = _foreign_types(graph, middle, number_of) or _faults(graph, middle, number_of)
        if not found:
            break
        refused |= found
    parts = [part_of(graph, {n for n, label in enumerate(labels) if label == side}) for side in (HEAD, TAIL)]
    work = _work(parts[0], middle, parts[1])
    models = [serialised(model_of(graph, part)) if part.nodes else b"" for part in parts]
    host = HostParts(graph.inputs, graph.outputs, work, models[0], models[1])
    return _Split(model_of(graph, middle), host, tuple(refused.values()))


def _connected(graph: CutGraph, edges: Sequence[tuple[int, int]], labels: Sequence[Label]) -> list[Label]:
    """Labels where pieces of the middle without products, which nothing joins to it, are in the head instead."""
    changed = list(labels)
    machine = {number for number, label in enumerate(labels) if label == MACHINE}
    for group in components(len(labels), edges, machine):
        if not any(graph.nodes[number].macs for number in group):
            for number in group:
                changed[number] = HEAD
    return changed


def _by_types(graph: CutGraph) -> dict[int, str]:
    """Nodes that read an input of the network that holds no floats, or make no tensor: none is for the machine."""
    integers = {port.name: port.element for port in graph.inputs if port.element != "float32"}
    found: dict[int, str] = {}
    for number, node in enumerate(graph.nodes):
        fault = next((f"reads '{n}' of type {integers[n]}; requires float32" for n in node.reads if n in integers), "")
        if not fault and not all(name in graph.tensors for name in node.proto.output if name):
            fault = "makes no tensor; requires tensors"
        if fault:
            found[number] = str(NodeFault(node.proto.name, node.proto.op_type, fault))
    return found


def _foreign_types(graph: CutGraph, middle: GraphPart, number_of: Mapping[str, int]) -> dict[int, str]:
    """Nodes of the middle that read or give other tensors than floats across its border."""
    found: dict[int, str] = {}
    for node in middle.nodes:
        crossing = [n for n in node.reads if n in middle.inputs] + [n for n in node.proto.output if n in middle.outputs]
        other = next((n for n in crossing if graph.tensors[n].element != "float32"), None)
        if other is not None:
            reason = f"'{other}' has type {graph.tensors[other].element}; requires float32 between host and machine"
            found[number_of[node.proto.name]] = str(NodeFault(node.proto.name, node.proto.op_type, reason))
    return found


def _faults(graph: CutGraph, middle: GraphPart, number_of: Mapping[str, int]) -> dict[int, str]:
    """Nodes of the middle that the compiler refuses, with the reasons. Raises UserError where it names none of them."""
    model = model_of(graph, middle)
    own = {number_of[node.proto.name] for node in middle.nodes}
    importer = Importer(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importer.run()
            relabel_boundary(module)
            _legalise(module)
    except UserError as error:
        lines = [str(fault) for fault in importer.faults] or list(error.details)
        found = {number_of[name]: line for line in lines for name in _NODE.findall(line) if name in number_of}
        found = {number: line for number, line in found.items() if number in own}
        if not found:
            raise UserError(
                error.causes, "this part of the network was to be compiled, and the rest run on the host"
            ) from error
        return found
    return {}


def _work(head: GraphPart, middle: GraphPart, tail: GraphPart) -> HostWork:
    def macs(part: GraphPart) -> int:
        return sum(node.macs for node in part.nodes)

    kinds = {node.proto.op_type for part in (head, tail) for node in part.nodes}
    return HostWork(
        len(head.nodes), macs(head), len(middle.nodes), macs(middle), len(tail.nodes), macs(tail), tuple(sorted(kinds))
    )
