"""Trained parameters back into the operations of level `esc` that the network was made from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from xdsl.rewriter import InsertPoint, Rewriter

from dialects import esc
from dialects.blob import DenseAttr
from dialects.locations import describe
from escc.compress.straight_through import Convolution, DecomposedConv
from escc.training.network import Layer, Network
from isa.errors import UserError
from isa.reference import fixed_point
from passes.math.activation_quant import bounded
from passes.math.decomposition import Decomposition, decomposed_integers
from passes.math.scales import storable
from passes.math.weight_quant import ConvIntegers, corrected_bias

Array = NDArray[Any]


def _numpy(x: torch.Tensor) -> Array:
    return x.detach().cpu().double().numpy()


@torch.no_grad()
def write_back(network: Network) -> None:
    """Replace the constants of the module by the trained integers. Raises UserError if a layer overflows int32."""
    for layer in network.layers:
        module = layer.module
        if isinstance(module, DecomposedConv):
            _decomposed(layer, module)
        else:
            _dense(layer, module)


def trained_integers(module: DecomposedConv) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Coefficients int8 [K, V, C] and bases int8 [V, R, S] in use; bases that no coefficient uses are left out."""
    t = _numpy(module.coefficients()).astype(np.int8).transpose(0, 2, 1)
    b = _numpy(module.integer_basis()).astype(np.int8)
    used: NDArray[np.bool_] = np.abs(t).max(axis=(0, 2)) > 0
    used[0] |= not used.any()
    return np.ascontiguousarray(t[:, used]), np.ascontiguousarray(b[used])


def _decomposed(layer: Layer, module: DecomposedConv) -> None:
    assert layer.combine is not None and isinstance(layer.conv, esc.BasisConv2dOp)
    t, b = trained_integers(module)
    scale = _numpy(module.factor()) * t.any(axis=(1, 2))
    bias = _numpy(module.bias())
    q = esc.q_of(layer.combine.input)
    bits = layer.combine.ic_bits.value.data
    try:
        integers = decomposed_integers(Decomposition(t, b, scale), lambda _: bias, q.low, q.high, bits)
    except ValueError as error:
        raise UserError(f"{describe(layer.conv)}: {error}", "use fewer bases") from error
    factor = storable(integers.factor, q.scale, layer.requant.first_type.scale, integers.ic_shift)
    mult, shift = fixed_point(factor)
    first = esc.CoeffCombineOp(layer.combine.input, integers.coefficients, integers.ic_shift, bits)
    second = esc.BasisConv2dOp(first.output, b, esc.ints(layer.conv.strides), esc.ints(layer.conv.pads))
    first.location, second.location = layer.combine.location, layer.conv.location
    Rewriter.insert_op(first, InsertPoint.before(layer.combine))
    Rewriter.replace_op(layer.conv, second)
    layer.combine.detach()
    layer.combine.erase()
    layer.requant.bias = DenseAttr.of(integers.bias.astype(np.int32))
    layer.requant.mult = DenseAttr.of(mult)
    layer.requant.shift = DenseAttr.of(shift)
    layer.combine, layer.conv = first, second


def _dense(layer: Layer, module: Convolution) -> None:
    assert isinstance(layer.conv, esc.Conv2dOp)
    weight = _numpy(module.integer_weight()).astype(np.int8).transpose(0, 2, 3, 1)
    q = esc.q_of(layer.conv.input)
    factor = storable(bounded(_numpy(module.factor())), q.scale, layer.requant.first_type.scale)
    mult, shift = fixed_point(factor)
    limit = max(-q.low, q.high)
    zero = ConvIntegers(weight, np.zeros(len(weight), np.int32), factor)
    layer.conv.weight = DenseAttr.of(np.ascontiguousarray(weight))
    layer.requant.bias = DenseAttr.of(corrected_bias(zero, _numpy(module.bias()), limit))
    layer.requant.mult = DenseAttr.of(mult)
    layer.requant.shift = DenseAttr.of(shift)
