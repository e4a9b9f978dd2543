"""The network that is trained: a module of level `esc` as torch modules with straight-through gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from dialects import esc
from dialects.esc_base import AccumulatorOp
from dialects.interpreters.run import main_function
from dialects.locations import describe, node_names
from escc.training.dataflow import Dataflow, Step
from escc.training.forms.elementwise import entries
from escc.training.normalisation import channel_statistics
from escc.training.straight_through import (
    ConvFrame,
    Convolution,
    DecomposedConv,
    Projected,
    Requantise,
)
from isa.errors import UserError

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
class TrainedLayer:
    """A convolution of the network: where it stands in the module and in the dataflow.

    `conv` is the last stage of the convolution. `value` is the number of the convolution's result; `steps_per_unit`
    turns the real numbers of the float network's convolution into its steps.
    """

    name: str
    module: Convolution
    conv: AccumulatorOp
    requant: esc.RequantizeOp
    value: int
    steps_per_unit: float


class Network(Dataflow):
    """The trained network: floats of the model's input to float scores (before a Softmax), integers between.

    `layers` lists its convolutions in order. Raises UserError for a module with several outputs, and for one with a
    convolution that cannot be written back after the training.
    """

    def __init__(self, module: ModuleOp) -> None:
        block = main_function(module).body.block
        super().__init__(len(block.args))
        self.layers: list[TrainedLayer] = []
        values: dict[SSAValue, int] = {a: i for i, a in enumerate(block.args)}
        for op in block.ops:
            if isinstance(op, ReturnOp):
                if len(op.operands) != 1:
                    raise UserError(f"the model has {len(op.operands)} outputs; training needs one, the class scores")
                self.output = values[op.operands[0]]
            elif not (isinstance(op, esc.EscOp) and op.SOLE_READER):
                _translate(self, op, values)

    @property
    def decomposed(self) -> list[TrainedLayer]:
        """The layers with coefficients that a budget of bytes chooses."""
        return [layer for layer in self.layers if isinstance(layer.module, DecomposedConv)]

    @property
    def projected(self) -> list[Projected]:
        """The convolutions whose weights are points of a form."""
        return [layer.module for layer in self.layers if isinstance(layer.module, Projected)]

    @torch.no_grad()
    def normalise(self, inputs: Tensor) -> None:
        """Normalise all convolutions in training from now on, without a change of what the network computes: they begin
        with the statistics that they have on `inputs` [N, ...].
        """
        modules = {layer.value: layer.module for layer in self.layers}

        def begin(step: Step, operands: Sequence[Tensor], result: Tensor) -> Tensor:
            if (module := modules.get(step.result)) is not None:
                mean, variance = channel_statistics(result - 0.5)
                module.normalise(mean - module.bias(), variance)
            return result

        self.run((inputs,), begin)

    def fold(self) -> None:
        """Make normalisations a part of factors and biases."""
        for layer in self.layers:
            layer.module.fold()

    def after_step(self) -> None:
        """What follows an update of the parameters."""
        for layer in self.layers:
            if isinstance(layer.module, Projected):
                layer.module.confine()


def _name(op: Operation) -> str:
    names = node_names(op)
    return names[0] if names else op.name


def _translate(net: Network, op: Operation, values: dict[SSAValue, int]) -> None:
    """Append the step of one operation."""
    if isinstance(op, esc.RequantizeOp):
        values[op.output] = _requantise(net, op, values)
        return
    if not isinstance(op, esc.EscOp) or not op.TORCH_FORM:
        raise TypeError(f"no torch counterpart of {op.name}")
    operands = [values[v] for v in op.operands]
    values[op.results[0]] = net.append(_name(op), Call(resolve_name(op.TORCH_FORM)(op)), *operands)


def _requantise(net: Network, op: esc.RequantizeOp, values: dict[SSAValue, int]) -> int:
    """Append a convolution and its requantisation."""
    conv = op.input.owner
    if not isinstance(conv, AccumulatorOp):
        raise TypeError(f"{describe(op)}: its input is not a convolution accumulator")
    if not (conv.TORCH_FORM and conv.TRAINED_FORM):
        raise UserError(
            f"{describe(conv)}: {conv.name} cannot be trained; that requires both its TORCH_FORM and its TRAINED_FORM",
            "choose another scheme, or have the package of the operation name both (docs/extending.md)",
        )
    factor = np.ldexp(op.mult.array.astype(np.float64), -op.shift.array.astype(np.int64))
    lo, hi = op.lo.value.data, op.hi.value.data
    bias = op.bias.array.astype(np.float64) * factor
    (dy, dx), (top, left, bottom, right) = conv.window
    frame = ConvFrame(factor, bias, (hi - lo + 1) / _SPAN, (dy, dx), (top, left, bottom, right))
    module: Convolution = resolve_name(conv.TORCH_FORM)(conv, frame)
    table = None if op.table is None else entries(op.table.array.view(op.mid_type.dtype), lo, hi)
    a = op.addition
    addition = None if a is None else (a.mult_a * 2.0**-a.shift, a.mult_b * 2.0**-a.shift, a.lo, a.hi)
    name = _name(conv)
    z = net.append(name, module, values[conv.stages[0].operands[0]])
    residual = [] if op.residual is None else [values[op.residual]]
    result = net.append(f"{name}:requantise", Requantise(lo, hi, table, addition), z, *residual)
    net.layers.append(TrainedLayer(name, module, conv, op, z, 1.0 / op.first_type.scale))
    return result
