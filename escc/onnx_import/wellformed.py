"""What must hold of any ONNX graph before a node of it is looked at: texts, names, order, number of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor

from escc.onnx_import.limits import MAX_NODES

_ONE = "requires one definition of each name"


def unreadable_text(model: onnx.ModelProto) -> str | None:
    """Where a text of the model is not UTF-8, None if all are. Protocol buffers give such a text as bytes."""
    return next((f"{where} is not UTF-8: {value!r}; requires UTF-8" for where, value in _foreign(model)), None)


def _foreign(model: onnx.ModelProto) -> Iterator[tuple[str, bytes]]:
    # A stack of our own: messages may be nested as deep as the parser lets them.
    todo: list[tuple[str, Any]] = [("the model", model)]
    while todo:
        where, message = todo.pop()
        for field, value in message.ListFields():
            many = not isinstance(value, str | bytes) and hasattr(value, "__len__")
            if field.type == FieldDescriptor.TYPE_STRING:
                for one in value if many else (value,):
                    if isinstance(one, bytes):
                        yield f"{field.name} in {where}", one
            elif field.type == FieldDescriptor.TYPE_MESSAGE:
                items = enumerate(value) if many else ((None, value),)
                todo.extend(
                    (f"{field.name} of {where}" if i is None else f"{field.name} {i} of {where}", m) for i, m in items
                )


def unique_names(nodes: Iterable[onnx.NodeProto]) -> list[str]:
    """One name per node: its own, `<OpType>_<index>` if it has none, made unique by a suffix if it is taken."""
    taken: set[str] = set()
    names: list[str] = []
    suffixes: dict[str, int] = {}  # the next to try: many nodes of one name must not cost the square of their number
    for index, node in enumerate(nodes):
        base = node.name or f"{node.op_type}_{index}"
        name, n = base, suffixes.get(base, 1)
        while name in taken:
            name, n = f"{base}_{n}", n + 1
        suffixes[base] = n
        taken.add(name)
        names.append(name)
    return names


def graph_faults(graph: onnx.GraphProto, names: Sequence[str]) -> list[str]:
    """Faults in the names and the order of a graph whose nodes are called `names`, one line each; empty if none."""
    if len(graph.node) > MAX_NODES:
        return [f"the graph has {len(graph.node):,} nodes; requires at most {MAX_NODES:,}"]
    causes: list[str] = []
    defined: dict[str, str] = {}
    _define(defined, causes, "input", (info.name for info in graph.input), "an input of the model")
    known = set(defined)
    initializers = [*(t.name for t in graph.initializer), *(t.values.name for t in graph.sparse_initializer)]
    initial: dict[str, str] = {}
    _define(initial, causes, "initializer", initializers, "an initializer")
    defined |= initial  # an initializer may give the value of an input
    known |= set(initial)
    producers = {name for node in graph.node for name in node.output if name}
    for node, called in zip(graph.node, names, strict=True):
        who = f"node '{called}' ({node.op_type})"
        missing = next((name for name in node.input if name and name not in defined), None)
        if missing is not None:
            order = "; requires nodes in topological order" if missing in producers else "; requires a node that does"
            causes.append(f"{who}: input '{missing}' is produced by no earlier node{order}")
        _define(defined, causes, f"{who}: output", filter(None, node.output), f"an output of {who.partition(' (')[0]}")
    for info in graph.output:
        if info.name not in defined:
            causes.append(f"output '{info.name}' is produced by no node" if info.name else "an output has no name")
    return causes


def _define(defined: dict[str, str], causes: list[str], what: str, names: Iterable[str], role: str) -> None:
    for name in names:
        if not name:
            causes.append(f"an {what} has no name; requires one")
        elif name in defined:
            causes.append(f"{what} '{name}' is already {defined[name]}; {_ONE}")
        defined.setdefault(name, role)
