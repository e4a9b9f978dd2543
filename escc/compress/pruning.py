"""Unstructured pruning without training: what a sparse accelerator is given, at an accuracy that is measured.

The layers of a quantised network are pruned in order. Each sees the inputs that the network pruned so far gives it, and
is fitted to outputs that make up for the errors of earlier layers. One price decides for all layers: a weight stays if
its removal disturbs the network's outputs by more than the price of its share of bytes and multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation

from dialects import esc
from dialects.blob import DenseAttr
from dialects.interpreters.run import main_function
from isa.reference import fixed_point
from passes.analysis.before_after_values import BeforeAfterValues
from passes.analysis.conv_moments import observe, step_weights, ungrouped
from passes.analysis.sensitivity import image_count, sensitivities
from passes.decompose_conv import MOST_WINDOW
from passes.math import linear
from passes.math.moments import Moments
from passes.math.pruning import prune
from passes.math.weight_quant import corrected_bias, quantize_conv, weight_scales

Array = NDArray[Any]
F = NDArray[np.float64]

RIDGE = 1e-3
"""Pull towards the original weights, as a share of the mean input variance."""


class Pruner:
    """Prunes copies of one quantised network (level esc) on float calibration `inputs`, one array [N, ...] for each
    argument.
    """

    def __init__(self, module: ModuleOp, inputs: Sequence[Array], seed: int = 0):
        self._module = module
        self._inputs = inputs
        self._seed = seed
        block = main_function(module).body.block
        ops = list(block.ops)
        count = image_count(ops)
        found = sensitivities(block, [x[:count] for x in inputs], seed)
        self._sensitivity = {i: found[pair[0]] for i, op in enumerate(ops) if (pair := _prunable(op)) is not None}
        convolutions = [pair[0] for op in ops if (pair := _prunable(op)) is not None]
        self._weights = sum(conv.weight.array.size for conv in convolutions)
        self._macs = sum(conv.macs for conv in convolutions)

    def at(self, price: float) -> tuple[ModuleOp, float]:
        """A pruned copy, and the share of the weights of its pruned convolutions that are left. `price`: the relative
        error of the network's outputs that is worth all weights and multiplications, half of it each.
        """
        module = self._module.clone()
        block = main_function(module).body.block
        values = BeforeAfterValues(block, self._inputs)
        left = 0
        for index, op in enumerate(block.ops):
            if isinstance(op, ReturnOp):
                break
            pair = _prunable(op)
            if pair is None:
                values.step(op)
                continue
            conv, requant = pair
            share = 0.5 / self._weights + 0.5 * conv.macs / conv.weight.array.size / self._macs
            self._layer(values, conv, requant, price * share / max(self._sensitivity[index], 1e-9), index)
            left += int(np.count_nonzero(conv.weight.array))
        return module, left / max(self._weights, 1)

    def _layer(
        self, values: BeforeAfterValues, conv: esc.Conv2dOp, requant: esc.RequantizeOp, price: float, index: int
    ) -> None:
        """Prune a layer at a price in relative error of its outputs, and evaluate it in both networks."""
        moments = observe(values, conv, requant, (self._seed, index))
        before = values.before(requant)
        original = step_weights(conv, requant)
        wanted, metric = moments.regression(original.reshape(len(original), -1), RIDGE)
        variance = float((wanted * linear.product(wanted, moments.xx)).sum())
        # Inputs that never vary make a constant output: the bias alone.
        fitted = prune(wanted, metric, price * variance)[0] if variance > 0 else np.zeros_like(wanted)
        _write(conv, requant, fitted.reshape(original.shape), moments)
        values.store(requant, before, values.evaluate(requant, values.current))


def _prunable(op: Operation) -> tuple[esc.Conv2dOp, esc.RequantizeOp] | None:
    """A convolution without groups and its requantisation, whose window is not too wide for second moments."""
    pair = ungrouped(op)
    return pair if pair is not None and pair[0].weight.array[0].size <= MOST_WINDOW else None


def _write(conv: esc.Conv2dOp, requant: esc.RequantizeOp, weights: F, moments: Moments) -> None:
    """Give a layer weights [K, R, S, C] in output steps for each input step, quantised, and the bias that fits."""
    source, target = esc.q_of(conv.input), requant.first_type
    limit = max(-source.low, source.high)
    real = weights * (target.scale / source.scale)
    bias = moments.bias(weights.reshape(len(weights), -1))
    integers = quantize_conv(real, bias * target.scale, source.scale, limit, weight_scales(real, "mse"))
    factor = integers.scale / target.scale
    rounded = integers.weight.reshape(len(weights), -1) * factor[:, None]
    error = moments.bias(rounded) - integers.bias * factor
    mult, shift = fixed_point(factor)
    conv.weight = DenseAttr.of(integers.weight)
    requant.bias = DenseAttr.of(corrected_bias(integers, error * target.scale, limit))
    requant.mult, requant.shift = DenseAttr.of(mult), DenseAttr.of(shift)
