"""The network that is trained: a module of level `esc` as torch modules with straight-through gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import esc
from dialects.interpreters.run import main_function
from dialects.locations import describe, node_names
from escc.compress.straight_through import (
    Convolution,
    DecomposedConv,
    DenseConv,
    Requantise,
    add,
    average_pool,
    look_up,
    max_pool,
    round_clamp,
)
from escc.training.dataflow import Dataflow
from isa.errors import UserError
from isa.reference import Addition, pool_counts

Array = NDArray[Any]

_SPAN = 8.0
"""Biases are learned in units of this share of the range of the output."""


class Call(nn.Module):
    """A function without parameters as a module."""

    def __init__(self, function: Callable[..., Tensor]):
        super().__init__()
        self._function = function

    def forward(self, *operands: Tensor) -> Tensor:
        return self._function(*operands)


@dataclass
class Layer:
    """A convolution of the network: where it stands in the module and in the dataflow.

    `conv` is the dense convolution or the basis stage, `combine` the coefficient stage of a decomposed one. `value` is
    the number of the convolution's result; `steps_per_unit` turns the real numbers of the float network's convolution
    into its steps.
    """

    name: str
    module: Convolution
    conv: esc.Conv2dOp | esc.BasisConv2dOp
    combine: esc.CoeffCombineOp | None
    requant: esc.RequantizeOp
    value: int
    steps_per_unit: float


class Network(Dataflow):
    """The trained network: floats of the model's input to float scores (before a Softmax), integers between.

    `layers` lists its convolutions in order.
    """

    def __init__(self, module: ModuleOp) -> None:
        block = main_function(module).body.block
        super().__init__(len(block.args))
        self.layers: list[Layer] = []
        values: dict[SSAValue, int] = {a: i for i, a in enumerate(block.args)}
        for op in block.ops:
            if isinstance(op, ReturnOp):
                if len(op.operands) != 1:
                    raise UserError(f"the model has {len(op.operands)} outputs; training needs one, the class scores")
                self.output = values[op.operands[0]]
            elif not isinstance(op, esc.Conv2dOp | esc.CoeffCombineOp | esc.BasisConv2dOp):
                _translate(self, op, values)

    @property
    def decomposed(self) -> list[Layer]:
        """The layers that are decomposed."""
        return [layer for layer in self.layers if isinstance(layer.module, DecomposedConv)]

    def after_step(self) -> None:
        """What follows an update of the parameters."""
        for layer in self.layers:
            if isinstance(layer.module, DecomposedConv):
                layer.module.confine()


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return values[0], values[1]


def _extent(value: SSAValue) -> tuple[int, int]:
    _, h, w, _ = esc.shape_of(value)
    return h, w


def _name(op: Operation) -> str:
    names = node_names(op)
    return names[0] if names else op.name


def _translate(net: Network, op: Operation, values: dict[SSAValue, int]) -> None:
    """Append the step of one operation."""
    if isinstance(op, esc.RequantizeOp):
        values[op.output] = _requantise(net, op, values)
        return
    if isinstance(op, esc.SoftmaxOp):
        values[op.output] = values[op.input]
        return
    operands = [values[v] for v in op.operands]
    values[op.results[0]] = net.append(_name(op), Call(_function(op)), *operands)


def _function(op: Operation) -> Callable[..., Tensor]:
    """What an operation without parameters computes."""
    if isinstance(op, esc.ConcatOp):
        return concatenate
    if isinstance(op, esc.AddOp):
        return _addition(op.addition)
    return _unary(op)


def concatenate(*parts: Tensor) -> Tensor:
    """Tensors [N, C, ...] side by side."""
    return torch.cat(parts, 1)


def _addition(p: Addition) -> Callable[[Tensor, Tensor], Tensor]:
    a, b = p.mult_a * 2.0**-p.shift, p.mult_b * 2.0**-p.shift
    return lambda x, y: add(x, y, a, b, p.lo, p.hi)


def _unary(op: Operation) -> Callable[[Tensor], Tensor]:
    match op:
        case esc.QuantizeOp():
            q = esc.q_of(op.output)
            return lambda x: _quantise(x, q.scale, q.low, q.high)
        case esc.DequantizeOp():
            scale, shape = esc.q_of(op.input).scale, esc.shape_of(op.output)[1:]
            return lambda x: (x * scale).reshape(-1, *shape)
        case esc.MaxPoolOp():
            kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
            extent = _extent(op.output)
            return lambda x: max_pool(x, kernel, strides, pads, extent)
        case esc.AvgPoolOp():
            return _average(op)
        case esc.LookupOp():
            q = esc.q_of(op.input)
            table = torch.tensor(_entries(op.table.array, q.low, q.high), dtype=torch.get_default_dtype())
            return lambda x: look_up(x, table.to(x.device), q.low)
        case esc.SliceOp():
            offsets, strides, shape = esc.ints(op.offsets), _pair(esc.ints(op.strides)), esc.shape_of(op.output)
            return lambda x: _slice(x, offsets, strides, shape)
        case _:
            raise TypeError(f"no torch counterpart of {op.name}")


def _quantise(x: Tensor, scale: float, low: int, high: int) -> Tensor:
    q = torch.clamp(torch.round(x / scale), low, high)
    q = q.reshape(*q.shape, 1, 1) if q.ndim == 2 else q
    return q.contiguous(memory_format=torch.channels_last)


def _entries(table: Array, low: int, high: int) -> Array:
    """Entries of a table for the stored integers low..high."""
    return table[np.arange(low, high + 1) & 255].astype(np.float64)


def _average(op: esc.AvgPoolOp) -> Callable[[Tensor], Tensor]:
    kernel, strides, pads = _pair(esc.ints(op.kernel)), _pair(esc.ints(op.strides)), esc.ints(op.pads)
    extent = _extent(op.output)
    counts = pool_counts(_extent(op.input), kernel, strides, pads, bool(op.count_include_pad.value.data), extent)
    mult = op.mult.array.astype(np.float64)[counts - op.count0.value.data] * 2.0**-op.shift.value.data
    factors = torch.tensor(mult, dtype=torch.get_default_dtype())
    lo, hi = op.lo.value.data, op.hi.value.data
    return lambda x: round_clamp(average_pool(x, kernel, strides, pads, extent) * factors.to(x.device) + 0.5, lo, hi)


def _slice(x: Tensor, offsets: Sequence[int], strides: tuple[int, int], shape: Sequence[int]) -> Tensor:
    """`isa.reference.slice_pad` for NCHW; `shape` is the NHWC shape of the result."""
    _, oh, ow, oc = shape
    spans = [(oc, offsets[2], 1), (oh, offsets[0], strides[0]), (ow, offsets[1], strides[1])]
    widths: list[int] = []
    for size, (out, offset, stride) in zip(x.shape[1:], spans, strict=True):
        widths = [-offset, (out - 1) * stride + 1 + offset - size, *widths]
    return F.pad(x, widths)[:, :, :: strides[0], :: strides[1]]


def _requantise(net: Network, op: esc.RequantizeOp, values: dict[SSAValue, int]) -> int:
    """Append a convolution and its requantisation."""
    conv = op.input.owner
    factor = np.ldexp(op.mult.array.astype(np.float64), -op.shift.array.astype(np.int64))
    lo, hi = op.lo.value.data, op.hi.value.data
    span = (hi - lo + 1) / _SPAN
    bias = op.bias.array.astype(np.float64) * factor
    combine: esc.CoeffCombineOp | None = None
    if isinstance(conv, esc.Conv2dOp):
        module: Convolution = DenseConv(
            conv.weight.array.transpose(0, 3, 1, 2).astype(np.float64),
            factor,
            bias,
            span,
            _pair(esc.ints(conv.strides)),
            esc.ints(conv.pads),
            conv.groups.value.data,
        )
        source = conv.input
    elif isinstance(conv, esc.BasisConv2dOp) and isinstance(conv.input.owner, esc.CoeffCombineOp):
        combine = conv.input.owner
        # Training leaves the rounding of intermediate values out: with a shift of 0, the usual case, there is none.
        factor = factor * 2.0**-combine.ic_shift.value.data
        module = DecomposedConv(
            combine.coefficients.array.astype(np.float64),
            conv.basis.array.astype(np.float64),
            factor,
            bias,
            span,
            _pair(esc.ints(conv.strides)),
            esc.ints(conv.pads),
        )
        source = combine.input
    else:
        raise TypeError(f"{describe(op)}: no convolution before the requantisation")
    table = None if op.table is None else _entries(op.table.array.view(op.mid_type.dtype), lo, hi)
    a = op.addition
    addition = None if a is None else (a.mult_a * 2.0**-a.shift, a.mult_b * 2.0**-a.shift, a.lo, a.hi)
    name = _name(conv)
    z = net.append(name, module, values[source])
    residual = [] if op.residual is None else [values[op.residual]]
    result = net.append(f"{name}:requantise", Requantise(lo, hi, table, addition), z, *residual)
    net.layers.append(Layer(name, module, conv, combine, op, z, 1.0 / op.first_type.scale))
    return result
