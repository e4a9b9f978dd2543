"""What an operator of the importer is, and what its converter needs of the importer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from xdsl.ir import SSAValue

from dialects import onnx
from escc.onnx_import.constraints import Constraint
from escc.onnx_import.node import Array, Node


class Emitter(Protocol):
    """What converters need of the importer."""

    def operand(self, node: Node, index: int) -> SSAValue:
        """SSA value of an input; constants are created on first use."""
        ...

    def optional(self, node: Node, index: int) -> SSAValue | None:
        """SSA value of an input that may be absent."""
        ...

    def constant(self, node: Node, array: Array) -> SSAValue:
        """A new constant that carries the node's name."""
        ...

    def emit(self, node: Node, op: onnx.OnnxOp) -> SSAValue:
        """Append an operation that carries the node's name; its result."""
        ...


Convert = Callable[[Emitter, Node], "SSAValue | Sequence[SSAValue]"]
"""Appends the operations of a node; its result, or its results in order."""


@dataclass(frozen=True)
class Operator:
    """How to import one ONNX operator; `operation` names the class where there is just one for it."""

    convert: Convert
    constraints: tuple[Constraint, ...]
    operation: type[onnx.OnnxOp] | None = None
