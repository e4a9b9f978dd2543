"""ONNX node names as locations: how every level says which node of the user's model an operation came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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


def named(name: str) -> NameLoc:
    """Location of one ONNX node."""
    return NameLoc(StringAttr(name), NoneAttr())


def _names(location: Attribute) -> Iterator[str]:
    match location:
        case NameLoc():
            yield location.desc.data
        case FusedLoc(locations=ArrayAttr() as parts):
            for part in parts.data:
                yield from _names(part)
        case CallSiteLoc():
            yield from _names(location.callee)
        case _:
            return


def node_names(op: Operation | LocationAttr) -> tuple[str, ...]:
    """ONNX node names an operation (or location) stands for, main node first, each once; empty if it has none."""
    location = op.location if isinstance(op, Operation) else op
    return tuple(dict.fromkeys(_names(location)))


def fused_names(names: Iterable[str]) -> LocationAttr:
    """Location of several ONNX nodes, main node first: a plain name for one, unknown for none."""
    parts = [named(n) for n in dict.fromkeys(names)]
    if not parts:
        return UNKNOWN_LOC
    return parts[0] if len(parts) == 1 else FusedLoc(tuple(parts), NoneAttr())


def fused(*ops: Operation | LocationAttr) -> LocationAttr:
    """Union of the node names of operations and locations, in order: the first given is the main one."""
    return fused_names(name for op in ops for name in node_names(op))


def describe(op: Operation) -> str:
    """How diagnostics call an operation: `node '/layer1/Conv' (Conv)`, or `op 'onnx.Conv'` without a node name."""
    names = node_names(op)
    return f"node '{names[0]}' ({op.name.rpartition('.')[2]})" if names else f"op '{op.name}'"
