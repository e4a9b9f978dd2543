"""Convolutions, dense and decomposed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dialects import esc, onnx
from dialects.locations import describe
from isa.errors import UserError
from passes.decomposition.ternary_basis import TernaryBasis
from passes.decomposition.weight_form import ConvWindow
from passes.math.scales import step_factor
from passes.math.weight_quant import quantize_conv, weight_scales
from passes.quantization.bias import Correction
from passes.quantization.emitter import EscEmitter
from passes.quantization.onnx_decomposed_pairs import Pair, symmetric_integers
from passes.quantization.plan import constant, kept_positions
from passes.quantization.recorded import recorded


def convolution(e: EscEmitter, op: onnx.ConvOp) -> None:
    """Int8 weights, or the coefficients and bases that the model brings."""
    pair = e.plan.pairs.get(op)
    if pair is not None:
        _pair(e, pair)
        return
    epilogue = e.plan.epilogues[op]
    source, target = e.plan.storage(op.input), e.plan.storage(epilogue.result)
    raw = constant(op.weight)
    assert raw is not None
    weight = raw.transpose(0, 2, 3, 1)
    given = symmetric_integers(op.weight)
    scales = weight_scales(weight, e.method) if given is None else given[1]
    integers = quantize_conv(weight, _bias(op), source.scale, source.limit, scales)
    strides, pads = esc.ints(op.strides), esc.ints(op.pads)
    x = e.values[op.input]
    conv = recorded(op, x, integers.weight, strides, pads, e.operation)
    conv = conv or esc.Conv2dOp(x, integers.weight, strides, pads, op.group.value.data)
    requantize = e.requantise(e.insert(conv, op), op, integers.bias, integers.scale / target.scale)
    prescribed = isinstance(op.weight.owner, onnx.DequantizeLinearOp) and integers.represents(weight, source.scale)
    if op.output in e.means and not prescribed:
        e.corrections[requantize] = Correction(
            integers, e.means[op.output], source.limit, kept_positions(epilogue.result)
        )


def _pair(e: EscEmitter, pair: Pair) -> None:
    """A convolution that the model brings decomposed, with exactly its coefficients, bases and scales."""
    first, second = pair.first, pair.second
    source, target = e.plan.storage(first.input), e.plan.storage(e.plan.epilogues[second].result)
    q = esc.QType.of(source.signed, source.scale)
    given = TernaryBasis(pair.coefficients, pair.basis, step_factor(pair.scale, source.scale, target.scale))
    bias = _bias(second) / target.scale
    try:
        integers = given.to_integers(lambda _: bias, q.low, q.high, e.ic_bits)
    except ValueError as error:
        raise UserError(f"{describe(second)}: {error}", "use fewer bases or smaller ones") from error
    geometry = ConvWindow(esc.ints(second.strides), esc.ints(second.pads), e.ic_bits)
    acc = e.values[first.input]
    for made, op in zip(integers.operations(acc, geometry), (first, second), strict=True):
        acc = e.insert(made, op)
    e.requantise(acc, second, integers.bias, integers.factor)


def _bias(op: onnx.ConvOp) -> NDArray[np.float64]:
    """Bias of a convolution [K], zeros where it has none."""
    bias = None if op.bias is None else constant(op.bias)
    return np.zeros(esc.shape_of(op.output)[1]) if bias is None else bias
