"""ONNX node names as locations: how every level says which node of the user's model an operation came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from xdsl.dialects.builtin import (
    UNKNOWN_LOC,
    ArrayAttr,
    CallSiteLoc,
    FusedLoc,
    LocationAttr,
    NameLoc,
    NoneAttr,
    StringAttr,
)
from xdsl.ir import Attribute, Operation

from isa.errors import NodeFault


def named(name: str) -> NameLoc:
    """Location of one ONNX node."""
    return NameLoc(StringAttr(name), NoneAttr())


_MOST_PARTS = 128
"""Parts that `fused` copies of a location; one with more becomes a part itself."""


def _names(location: Attribute) -> Iterator[str]:
    todo = [location]
    while todo:
        match todo.pop():
            case NameLoc(desc=StringAttr(data=name)):
                yield name
            case FusedLoc() as location:
                todo.extend(reversed(_inner(location)))
            case CallSiteLoc(callee=callee):
                todo.append(callee)
            case _:
                pass


def node_names(op: Operation | LocationAttr) -> tuple[str, ...]:
    """ONNX node names an operation (or location) stands for, main node first, each once; empty if it has none."""
    location = op.location if isinstance(op, Operation) else op
    return tuple(dict.fromkeys(_names(location)))


def fused_names(names: Iterable[str]) -> LocationAttr:
    """Location of several ONNX nodes, main node first: a plain name for one, unknown for none."""
    return _of_parts([named(n) for n in dict.fromkeys(names)])


def _inner(location: FusedLoc) -> Sequence[Attribute]:
    return cast("ArrayAttr[Attribute]", location.locations).data


def _of_parts(parts: Sequence[Attribute]) -> LocationAttr:
    if not parts:
        return UNKNOWN_LOC
    first = parts[0]
    if len(parts) == 1 and isinstance(first, NameLoc | FusedLoc):
        return first
    return FusedLoc(tuple(parts), NoneAttr())


def _parts(location: LocationAttr) -> Sequence[Attribute]:
    """What a location contributes to a fused one, at most `_MOST_PARTS`."""
    if isinstance(location, FusedLoc):
        inner = _inner(location)
        return inner if len(inner) <= _MOST_PARTS else (location,)
    names = node_names(location)
    return (location,) if isinstance(location, NameLoc) else [named(n) for n in names]


def fused(*ops: Operation | LocationAttr) -> LocationAttr:
    """Union of the node names of operations and locations, in order: the first given is the main one.

    The cost does not depend on how many names there are: a pattern that merges a chain of operations one by one
    would else take the square of its length. A location of many names is nested; `flatten_locations` undoes that.
    """
    parts: dict[str | int, Attribute] = {}
    for op in ops:
        for part in _parts(op.location if isinstance(op, Operation) else op):
            key = part.desc.data if isinstance(part, NameLoc) else id(part)
            parts.setdefault(key, part)
    return _of_parts(list(parts.values()))


def flatten_locations(root: Operation) -> None:
    """Write the nested locations that `fused` made as one list of names each, in all operations inside `root`.

    A pass that merges operations calls it at its end.
    """
    for op in root.walk():
        location = op.location
        if isinstance(location, FusedLoc) and not all(isinstance(part, NameLoc) for part in _inner(location)):
            op.location = fused_names(node_names(location))


def describe(op: Operation) -> str:
    """How diagnostics call an operation: `node '/layer1/Conv' (Conv)`, or `op 'onnx.Conv'` without a node name."""
    names = node_names(op)
    return f"node '{names[0]}' ({op.name.rpartition('.')[2]})" if names else f"op '{op.name}'"


def node_fault(op: Operation, reason: str) -> NodeFault | str:
    """What is wrong with an operation, by the name of its ONNX node if it has one."""
    names = node_names(op)
    return NodeFault(names[0], op.name.rpartition(".")[2], reason) if names else f"{describe(op)}: {reason}"
