"""`esc-legalize`: what the rest of the pipeline may rely on, checked for one target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from xdsl.context import Context
from xdsl.dialects import builtin, func
from xdsl.ir import BlockArgument, Operation, SSAValue
from xdsl.passes import ModulePass

from dialects import esc
from dialects.interpreters.run import main_function
from dialects.locations import describe
from isa.errors import UserError
from isa.layout import RecordLayout, coefficient_bytes, requant_block_bytes
from isa.table import BY_MNEMONIC
from isa.target import Target, load_target
from passes.layers.pool_in_parts import uniform_count

Array: TypeAlias = NDArray[Any]

_INT32 = (1 << 31) - 1
_WINDOWED = (esc.Conv2dOp, esc.BasisConv2dOp, esc.MaxPoolOp, esc.AvgPoolOp)


def _most(mnemonic: str, field: str) -> int:
    """Largest value of an instruction field."""
    return next(f.high for f in BY_MNEMONIC[mnemonic].fields if f.name == field)


def _least(mnemonic: str, field: str) -> int:
    return next(f.low for f in BY_MNEMONIC[mnemonic].fields if f.name == field)


def _linear_bounds(coefficients: Array, low: int, high: int) -> tuple[Array, Array]:
    """Interval of sum coefficients * x over the last axis, for every x in [low, high]; int64."""
    c = coefficients.astype(np.int64)
    positive, negative = np.maximum(c, 0), np.minimum(c, 0)
    return (positive * low + negative * high).sum(axis=-1), (positive * high + negative * low).sum(axis=-1)


def accumulator_bounds(op: esc.Conv2dOp | esc.BasisConv2dOp) -> tuple[Array, Array]:
    """Smallest and largest accumulator int64 [K] that any input can cause, windows over the padding included."""
    if isinstance(op, esc.Conv2dOp):
        q = esc.q_of(op.input)
        weight = op.weight.array
        return _linear_bounds(weight.reshape(len(weight), -1), q.low, q.high)
    combine = op.input.owner
    k, v = esc.shape_of(op.input)[3:]
    if isinstance(combine, esc.CoeffCombineOp):
        q = esc.q_of(combine.input)
        bits, shift = combine.ic_bits.value.data, combine.ic_shift.value.data
        limit = 1 << (bits - 1)
        bounds = _linear_bounds(combine.coefficients.array, q.low, q.high)
        rounding = (1 << shift) >> 1
        low, high = (np.clip((b + rounding) >> shift, -limit, limit - 1) for b in bounds)
    else:
        low, high = np.full((k, v), -_INT32 - 1, np.int64), np.full((k, v), _INT32, np.int64)
    # A tap over the padding reads 0, so 0 belongs to every interval.
    low, high = np.minimum(low, 0), np.maximum(high, 0)
    basis = op.basis.array.reshape(v, -1).astype(np.int64)
    positive, negative = np.maximum(basis, 0).sum(axis=1), np.minimum(basis, 0).sum(axis=1)
    return (low * positive + high * negative).sum(axis=1), (high * positive + low * negative).sum(axis=1)


def _users(value: SSAValue) -> list[Operation]:
    return [use.operation for use in value.uses]


def _boundary(op: Operation) -> Iterator[str]:
    """Floats live between the function's boundary and the outermost esc operations."""
    if isinstance(op, esc.QuantizeOp) and not isinstance(op.input, BlockArgument):
        yield "quantises a computed tensor; requires an input of the model"
    outer = (func.ReturnOp, esc.SoftmaxOp)
    if isinstance(op, esc.DequantizeOp) and not all(isinstance(u, outer) for u in _users(op.output)):
        yield "a float tensor is read inside the network; requires dequantisation at an output only"
    if isinstance(op, esc.SoftmaxOp):
        last = all(isinstance(u, func.ReturnOp) for u in _users(op.output))
        if not last or not isinstance(op.input.owner, esc.DequantizeOp):
            yield "Softmax inside the network; requires it between dequantisation and an output"


def _structure(op: Operation) -> Iterator[str]:
    """Accumulators and intermediate channels never become tensors of their own."""
    if isinstance(op, esc.Conv2dOp | esc.BasisConv2dOp):
        users = _users(op.output)
        if len(users) != 1 or not isinstance(users[0], esc.RequantizeOp):
            yield f"accumulator has {len(users)} uses; requires exactly one, an esc.requantize"
    if isinstance(op, esc.RequantizeOp) and not isinstance(op.input.owner, esc.Conv2dOp | esc.BasisConv2dOp):
        yield "requantises no convolution; requires the accumulator of one"
    if isinstance(op, esc.CoeffCombineOp):
        users = _users(op.output)
        if len(users) != 1 or not isinstance(users[0], esc.BasisConv2dOp):
            yield f"intermediate channels have {len(users)} uses; requires exactly one, an esc.basis_conv2d"
    if isinstance(op, esc.BasisConv2dOp) and not isinstance(op.input.owner, esc.CoeffCombineOp):
        yield "input is no esc.coeff_combine; requires one"


def _overflow(op: Operation) -> Iterator[str]:
    """Proof that accumulators, with bias, fit int32 for every input."""
    if not isinstance(op, esc.Conv2dOp | esc.BasisConv2dOp):
        return
    low, high = accumulator_bounds(op)
    for user in _users(op.output):
        if isinstance(user, esc.RequantizeOp):
            bias = user.bias.array.astype(np.int64)
            low, high = np.minimum(low, low + bias), np.maximum(high, high + bias)
    worst = max(int(high.max()), -int(low.min()))
    if worst > _INT32:
        channel = int(np.argmax(np.maximum(high, -low)))
        yield f"accumulator of channel {channel} may reach {worst}; requires at most {_INT32}"


def _fields(op: Operation) -> Iterator[str]:
    """Geometry that the instruction fields can express."""
    for value in (*op.operands, *op.results):
        shape = esc.shape_of(value)
        if len(shape) == 4 and isinstance(esc.tensor_type(value).element_type, esc.QType | builtin.IntegerType):
            for name, extent, field in zip("HWC", shape[1:], ("h", "w", "cn"), strict=True):
                if extent > _most("load.act", field):
                    yield f"extent {name}={extent}; requires at most {_most('load.act', field)}"
    if isinstance(op, _WINDOWED):
        mnemonic = "conv.dense" if isinstance(op, esc.Conv2dOp | esc.BasisConv2dOp) else "post.pool"
        for name, values, fields in (
            ("kernel", _kernel(op), ("r", "s")),
            ("strides", esc.ints(op.strides), ("sy", "sx")),
            ("pads", esc.ints(op.pads)[:2], ("pt", "pl")),
        ):
            most = _most(mnemonic, fields[0])
            if max(values) > most:
                yield f"{name}={list(values)}; requires at most {most}"
    if isinstance(op, esc.AvgPoolOp) and op.count_include_pad.value.data:
        most = _most("post.pool", "bt")
        if max(esc.ints(op.pads)) > most:
            yield f"counted pads={list(esc.ints(op.pads))}; requires at most {most}"
    if isinstance(op, esc.AvgPoolOp) and op.count0.value.data > _most("post.pool", "count0"):
        yield f"windows of {op.count0.value.data} positions; requires at most {_most('post.pool', 'count0')}"
    if isinstance(op, esc.SliceOp):
        if max(esc.ints(op.strides)) > _most("post.map", "sy"):
            yield f"strides={list(esc.ints(op.strides))}; requires at most {_most('post.map', 'sy')}"
        for offset, field in zip(esc.ints(op.offsets), ("dy", "dx", "dc"), strict=True):
            if not _least("post.map", field) <= offset <= _most("post.map", field):
                yield f"offset {offset}; requires [{_least('post.map', field)}, {_most('post.map', field)}]"


def _kernel(op: Operation) -> tuple[int, int]:
    if isinstance(op, esc.MaxPoolOp | esc.AvgPoolOp):
        r, s = esc.ints(op.kernel)
    elif isinstance(op, esc.BasisConv2dOp):
        _, r, s = op.basis.array.shape
    else:
        assert isinstance(op, esc.Conv2dOp)
        _, r, s, _ = op.weight.array.shape
    return r, s


def _needs(op: Operation, target: Target) -> Iterator[tuple[str, int, int]]:
    """(what, bytes, capacity) of the smallest piece of the operation that the machine can work on."""
    pads, chunk = target.scratchpad, target.array.chunk
    if isinstance(op, esc.CoeffCombineOp):
        _, v, c = op.coefficients.array.shape
        yield "coefficients of one channel", coefficient_bytes(1, v, c, chunk), pads.coef
        for user in _users(op.output):
            if isinstance(user, esc.BasisConv2dOp):
                _, r, s = user.basis.array.shape
                yield "input of one window", RecordLayout(c, chunk).tile_bytes(r, s), pads.act
                yield "bases and parameters", v * r * s + requant_block_bytes(1), pads.par
    elif isinstance(op, esc.Conv2dOp | esc.MaxPoolOp | esc.AvgPoolOp):
        channels = min(esc.shape_of(op.input)[3], chunk)
        r, s = _kernel(op)
        h, w = esc.shape_of(op.input)[1:3]
        layout = RecordLayout(channels, chunk)
        if isinstance(op, esc.Conv2dOp) or (isinstance(op, esc.AvgPoolOp) and uniform_count(op) is not None):
            # Such windows are accumulated in parts if they must.
            yield "input of one position", layout.position_bytes, pads.act
        elif isinstance(op, esc.MaxPoolOp):
            rows, columns = min(r, h), min(s, w)
            yield "input of one row or column of a window", layout.tile_bytes(max(rows, columns), 1), pads.act
        else:
            yield "input of one window", layout.tile_bytes(min(r, h), min(s, w)), pads.act
        if isinstance(op, esc.Conv2dOp):
            yield "weights of one position and channel", min(op.weight.array.shape[3], chunk), pads.coef
    if isinstance(op, esc.AvgPoolOp):
        yield "multipliers", 4 * op.mult.array.size, pads.par


def _target(op: Operation, target: Target) -> Iterator[str]:
    if isinstance(op, esc.CoeffCombineOp) and op.ic_bits.value.data != target.array.ic_bits:
        yield f"ic_bits={op.ic_bits.value.data}; requires {target.array.ic_bits} of target '{target.name}'"
    for what, size, capacity in _needs(op, target):
        if size > capacity:
            yield f"{what}: {size} bytes; requires at most {capacity} of target '{target.name}'"


@dataclass(frozen=True)
class EscLegalizePass(ModulePass):
    """Check that an `esc` function can be lowered to the target, and list everything that cannot.

    Guaranteed afterwards: only `esc` operations, host operations at the boundary only; every accumulator feeds one
    requantisation and provably fits int32 with its bias, for any input; `ic_bits` is that of the target; extents,
    windows and offsets fit the instruction fields; the smallest piece of each operation fits the scratchpads.
    Nothing is rewritten.
    """

    name = "esc-legalize"

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
            for check in (_boundary(o), _structure(o), _overflow(o), _fields(o), _target(o, target)):
                causes += [f"{describe(o)}: {what}" for what in dict.fromkeys(check)]
        if causes:
            raise UserError(causes, f"the model cannot be lowered to target '{target.name}' as it stands")
