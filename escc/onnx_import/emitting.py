"""What an operator of the importer is, and what its converter needs of the importer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
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


def integer_weights(e: Emitter, node: Node, values: Array, scale: float) -> SSAValue:
    """Weights that are `scale` times integers of at most 127: quantisation takes these as they are."""
    integers = e.emit(node, onnx.ConstantOp(np.ascontiguousarray(values).astype(np.int8)))
    steps = np.asarray(scale, np.float32), np.zeros((), np.int8)
    return e.emit(node, onnx.DequantizeLinearOp(integers, *steps, axis=0))


Convert = Callable[[Emitter, Node], "SSAValue | Sequence[SSAValue]"]
"""Appends the operations of a node; its result, or its results in order."""


class OnMaps(Enum):
    """How an operator works on tensors of another rank than 4, which become maps for it (`escc.onnx_import.ranks`)."""

    WINDOWS = "on signals, and on volumes where the window stays in a slice"
    CHANNELS = "on signals and volumes, channel by channel"
    BROADCAST = "on operands whose axes are aligned from the last one"
    MOVEMENT = "along axes, which have other numbers in a map"


@dataclass(frozen=True)
class Operator:
    """How to import one ONNX operator; `operation` names the class where there is just one for it.

    `on_maps` is None for an operator whose converter takes tensors of any rank that its constraints allow. `in_volumes`
    is what takes its place where windows over a volume leave their slice. `left` is the operation that stands for it
    where canonicalisation does not dissolve it in its neighbours: what `onnx-legalize` requires of that holds then.
    """

    convert: Convert
    constraints: tuple[Constraint, ...]
    operation: type[onnx.OnnxOp] | None = None
    on_maps: OnMaps | None = None
    in_volumes: Operator | None = None
    left: type[onnx.OnnxOp] | None = None
