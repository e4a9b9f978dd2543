"""`esc-legalize`: what the rest of the pipeline may rely on, checked for one target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import esc
from dialects.esc_base import AccumulatorOp, has_channels
from dialects.interpreters.run import main_function
from dialects.locations import describe
from isa.errors import UserError
from isa.reference import INT32_HIGH
from isa.target import Target, load_target
from passes.analysis.preserved import Preserved
from passes.layers.table import layer_kinds
from passes.tiling.limits import field_range


def _users(value: SSAValue) -> list[Operation]:
    return [use.operation for use in value.uses]


def _boundary(op: Operation) -> Iterator[str]:
    """Floats live between the function's boundary and the outermost esc operations."""
    if isinstance(op, esc.QuantizeOp) and not isinstance(op.input, BlockArgument):
        yield "quantises a computed tensor; requires an input of the model"
    outer = (func.ReturnOp, esc.SoftmaxOp, esc.ArgMaxOp)
    if isinstance(op, esc.DequantizeOp) and not all(isinstance(u, outer) for u in _users(op.output)):
        yield "a float tensor is read inside the network; requires dequantisation at an output only"
    if isinstance(op, esc.SoftmaxOp):
        last = all(isinstance(u, func.ReturnOp | esc.ArgMaxOp) for u in _users(op.output))
        if not last or not isinstance(op.input.owner, esc.DequantizeOp):
            yield "Softmax inside the network; requires it between dequantisation and an output"
    if isinstance(op, esc.ArgMaxOp):
        last = all(isinstance(u, func.ReturnOp) for u in _users(op.output))
        if not last or not isinstance(op.input.owner, esc.DequantizeOp | esc.SoftmaxOp):
            yield "ArgMax inside the network; requires it at an output, behind dequantisation or a Softmax"


def _overflow(op: Operation) -> Iterator[str]:
    """Proof that accumulators, with bias, fit int32 for every input."""
    if not isinstance(op, AccumulatorOp):
        return
    low, high = op.accumulator_bounds
    for user in (user for result in op.results for user in _users(result)):
        if isinstance(user, esc.RequantizeOp):
            bias = user.bias.array.astype(np.int64)
            low, high = np.minimum(low, low + bias), np.maximum(high, high + bias)
    worst = max(int(high.max()), -int(low.min()))
    if worst > INT32_HIGH:
        channel = int(np.argmax(np.maximum(high, -low)))
        yield f"accumulator of channel {channel} may reach {worst}; requires at most {INT32_HIGH}"


def _extents(op: Operation) -> Iterator[str]:
    """Tensors that the fields of transfers can express."""
    for value in (*op.operands, *op.results):
        if not has_channels(value):
            continue
        for name, extent, field in zip("HWC", esc.shape_of(value)[1:], ("h", "w", "cn"), strict=True):
            _, most = field_range("load.act", field)
            if extent > most:
                yield f"extent {name}={extent}; requires at most {most}"


def _layer(op: esc.EscOp, target: Target) -> Iterator[str]:
    """What the layer kinds say."""
    for kind in layer_kinds():
        yield from kind.faults(op, target)


@dataclass(frozen=True)
class EscLegalizePass(ModulePass):
    """Check that an `esc` function can be lowered to the target, and list everything that cannot.

    Guaranteed afterwards: only `esc` operations, host operations at the boundary only; every accumulator feeds one
    requantisation and provably fits int32 with its bias, for any input; `ic_bits` is that of the target; extents,
    windows and offsets fit the instruction fields; the smallest piece of each operation fits the scratchpads.
    Nothing is rewritten.
    """

    name = "esc-legalize"
    PRESERVES: ClassVar[Preserved] = Preserved.VALUES

    target: str = "esc1"
    """Installed target or target file."""

    def apply(self, ctx: Context, op: builtin.ModuleOp) -> None:
        target = load_target(self.target)
        causes: list[str] = []
        for o in main_function(op).body.block.ops:
            if isinstance(o, func.ReturnOp):
                continue
            if not isinstance(o, esc.EscOp):
                causes.append(f"{describe(o)}: not an operation of the esc level; requires quantize before")
                continue
            for check in (_boundary(o), o.structure_faults(), _overflow(o), _extents(o), _layer(o, target)):
                causes += [f"{describe(o)}: {what}" for what in dict.fromkeys(check)]
        if causes:
            raise UserError(causes, f"the model cannot be lowered to target '{target.name}' as it stands")
