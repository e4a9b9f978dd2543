"""The table of operators: how an ONNX node becomes an operation of the `onnx` dialect, under which constraints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from typing import cast

import numpy as np
from xdsl.dialects.builtin import UnitAttr
from xdsl.ir import SSAValue

from dialects import onnx, onnx_pools
from dialects.attributes import integer
from dialects.onnx_elementwise import ScalarOp
from escc import onnx_import
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator
from escc.onnx_import.fold import normalised
from escc.onnx_import.node import Array, Node, Value
from escc.onnx_import.positions import PAD_MODES, is_picked, repeated_pad, slice_can_be_made, taken
from escc.onnx_import.reductions import MAPS, reduce_map
from escc.onnx_import.volumes import in_volumes, through_slices
from escc.onnx_import.windows import WINDOW_CHECKS, window_geometry
from isa import found
from isa.errors import UserError

GROUP = "escc.operators"
"""Entry points, each an `Operator` under its name in ONNX."""


def _unary(op: type[onnx.UnaryOp]) -> Convert:
    return lambda e, n: e.emit(n, op(e.operand(n, 0)))


def scalar(op: type[ScalarOp]) -> Operator:
    """A function of one number whose parameters are attributes."""

    def convert(e: Emitter, n: Node) -> SSAValue:
        given = {name: float(n.attr(name, value)) for name, value in op.FUNCTION.parameters.items()}
        return e.emit(n, op(e.operand(n, 0), {name: onnx.float_attr(value) for name, value in given.items()}))

    return Operator(convert, (c.float_inputs,), op)


def _binary(op: type[onnx.BinaryOp]) -> Convert:
    return lambda e, n: e.emit(n, op(e.operand(n, 0), e.operand(n, 1)))


def _sum(e: Emitter, n: Node) -> SSAValue:
    total = e.operand(n, 0)
    for i in range(1, len(n.inputs)):
        total = e.emit(n, onnx.AddOp(total, e.operand(n, i)))
    return total if len(n.inputs) > 1 else e.emit(n, onnx.IdentityOp(total))


def _mean(e: Emitter, n: Node) -> SSAValue:
    total = _sum(e, replace(n, name=f"{n.name}/sum"))
    return e.emit(n, onnx.MulOp(total, e.constant(n, np.asarray(1 / len(n.inputs), np.float32))))


def _clip(e: Emitter, n: Node) -> SSAValue:
    low, high = n.parameter("min", 1), n.parameter("max", 2)
    bounds = (-math.inf if low is None else float(low.item()), math.inf if high is None else float(high.item()))
    # ONNX spells "no bound" as the largest float in old opsets.
    limit = float(np.finfo(np.float32).max)
    return e.emit(
        n, onnx.ClipOp.of(e.operand(n, 0), *(b if abs(b) < limit else math.copysign(math.inf, b) for b in bounds))
    )


def _conv(e: Emitter, n: Node) -> SSAValue:
    weights, dilations = n.shape(1), n.ints("dilations", (1, 1))
    assert weights is not None
    dilations = tuple(d if k > 1 else 1 for k, d in zip(weights[2:], dilations, strict=True))
    spread = tuple((k - 1) * d + 1 for k, d in zip(weights[2:], dilations, strict=True))
    strides, pads = window_geometry(n, spread, math.prod(weights))
    operands = (e.operand(n, 0), e.operand(n, 1), e.optional(n, 2))
    group = int(n.attr("group", 1))
    return e.emit(n, onnx.ConvOp(*operands, strides=strides, pads=pads, dilations=dilations, group=group))


def _batch_normalization(e: Emitter, n: Node) -> SSAValue:
    parameters = [e.operand(n, i) for i in range(1, 5)]
    return e.emit(n, onnx.BatchNormalizationOp(e.operand(n, 0), parameters, float(n.attr("epsilon", 1e-5))))


def _gemm(e: Emitter, n: Node) -> SSAValue:
    op = onnx.GemmOp(
        e.operand(n, 0),
        e.operand(n, 1),
        e.optional(n, 2),
        alpha=float(n.attr("alpha", 1.0)),
        beta=float(n.attr("beta", 1.0)),
        trans_a=n.flag("transA"),
        trans_b=n.flag("transB"),
    )
    return e.emit(n, op)


def _matmul(e: Emitter, n: Node) -> SSAValue:
    return e.emit(n, onnx.MatMulOp(e.operand(n, 0), e.operand(n, 1)))


def _reduce_mean(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    axes = n.axes("axes", 1, len(onnx.shape_of(x)))
    if not axes:  # `batch_stays` lets a reduction without axes pass where it then does nothing
        return e.emit(n, onnx.IdentityOp(x))
    return e.emit(n, onnx.ReduceMeanOp(x, sorted(axes), n.flag("keepdims", 1)))


def _concat(e: Emitter, n: Node) -> SSAValue:
    operands = [e.operand(n, i) for i in range(len(n.inputs))]
    return e.emit(n, onnx.ConcatOp(operands, n.axis(1, len(onnx.shape_of(operands[0])))))


def _slice(e: Emitter, n: Node) -> SSAValue:
    """One Slice; what goes backwards, or leaves out channels, is taken index by index."""
    x = e.operand(n, 0)
    shape = onnx.shape_of(x)
    starts, ends = n.parameter_ints("starts", 1), n.parameter_ints("ends", 2)
    assert starts is not None and ends is not None
    axes = n.axes("axes", 3, len(shape)) or tuple(range(len(starts)))
    steps = n.parameter_ints("steps", 4) or (1,) * len(starts)
    bounds = [(a, *slice(s, t, k).indices(shape[a])) for s, t, a, k in zip(starts, ends, axes, steps, strict=True)]
    picked = {b for b in bounds if is_picked(b[0], b[3])}
    kept = [b for b in sorted(bounds) if b not in picked and b[1:] != (0, shape[b[0]], 1)]
    if not kept and not picked:
        return e.emit(n, onnx.IdentityOp(x))
    if kept:
        axes, starts, ends, steps = zip(*kept, strict=True)
        x = e.emit(n, onnx.SliceOp(x, starts, ends, axes, steps))
    for axis, start, end, step in sorted(picked):
        x = taken(e, n, x, axis, range(start, end, step))
    return x


def _cropped(e: Emitter, n: Node, x: SSAValue, pads: Sequence[int]) -> tuple[SSAValue, list[int]]:
    """A tensor without what negative pads leave out, and the other pads."""
    shape = onnx.shape_of(x)
    rank = len(shape)
    cut = [a for a in range(rank) if pads[a] < 0 or pads[a + rank] < 0]
    starts, ends = [max(-pads[a], 0) for a in cut], [shape[a] + min(pads[a + rank], 0) for a in cut]
    return e.emit(n, onnx.SliceOp(x, starts, ends, cut, [1] * len(cut))), [max(p, 0) for p in pads]


def _pad(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    rank = len(onnx.shape_of(x))
    given = n.parameter_ints("pads", 1)
    assert given is not None
    axes = n.axes("axes", 3, rank) or tuple(range(rank))
    pads = [0] * (2 * rank)
    for i, a in enumerate(axes):
        pads[a], pads[a + rank] = given[i], given[i + len(axes)]
    mode = n.attr("mode", "constant")
    if any(p < 0 for p in pads):
        x, pads = _cropped(e, n, x, pads)
    if mode in PAD_MODES:
        return repeated_pad(e, n, x, pads, mode) if any(pads) else e.emit(n, onnx.IdentityOp(x))
    value = n.parameter("value", 2)
    fill = 0.0 if value is None or not value.size else float(value.reshape(-1)[0])
    return e.emit(n, onnx.PadOp(x, pads, fill))


def _flatten(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    return e.emit(n, onnx.FlattenOp(x, n.axis(1, len(onnx.shape_of(x)))))


def _reshape(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    old = onnx.shape_of(x)
    wanted = n.parameter_ints("shape", 1)
    assert wanted is not None
    shape = [old[i] if d == 0 and not n.flag("allowzero") and i < len(old) else d for i, d in enumerate(wanted)]
    if -1 in shape:
        rest = math.prod(d for d in shape if d != -1)
        shape[shape.index(-1)] = math.prod(old) // rest if rest else 0
    return e.emit(n, onnx.ReshapeOp(x, shape))


def _squeeze(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    shape = onnx.shape_of(x)
    axes = n.axes("axes", 1, len(shape))
    return e.emit(n, onnx.SqueezeOp(x, [i for i, d in enumerate(shape) if d == 1] if axes is None else sorted(axes)))


def _unsqueeze(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    given = n.parameter_ints("axes", 1) or ()
    rank = len(onnx.shape_of(x)) + len(given)
    return e.emit(n, onnx.UnsqueezeOp(x, sorted(a % rank for a in given)))


def _transpose(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    return e.emit(n, onnx.TransposeOp(x, n.ints("perm", range(len(onnx.shape_of(x)))[::-1])))


def _softmax(e: Emitter, n: Node) -> SSAValue:
    x, logarithm = e.operand(n, 0), UnitAttr() if n.op_type == "LogSoftmax" else None
    shape = onnx.shape_of(x)
    axis = n.axis(1 if n.opset < 13 else -1, len(shape))
    if n.opset >= 13 or math.prod(shape[axis:]) == shape[axis]:
        return e.emit(n, onnx.SoftmaxOp(x, {"axis": integer(axis), "logarithm": logarithm}))
    # Before opset 13 everything from `axis` on counts as one axis.
    flat = e.emit(n, onnx.FlattenOp(x, axis))
    soft = e.emit(n, onnx.SoftmaxOp(flat, {"axis": integer(1), "logarithm": logarithm}))
    return e.emit(n, onnx.ReshapeOp(soft, shape))


def _linear(n: Node, dtype: np.dtype[np.generic]) -> tuple[Array, Array, int]:
    shape, scale, zero_point = n.shape(), n.const(1), n.const(2)
    assert shape is not None and scale is not None
    zeros = np.zeros(scale.shape, dtype) if zero_point is None else zero_point
    q = normalised(np.empty(0, dtype), scale, zeros, n.axis(1, len(shape)) if scale.size > 1 else 1)
    return q.scale, q.zero_point, q.axis


def _quantize(e: Emitter, n: Node) -> SSAValue:
    dtype = np.dtype(np.int8 if int(n.attr("output_dtype", 0)) == 3 else np.uint8)
    return e.emit(n, onnx.QuantizeLinearOp(e.operand(n, 0), *_linear(n, dtype)))


def _dequantize(e: Emitter, n: Node) -> SSAValue:
    value = n.input(0)
    assert isinstance(value, Value) and value.dtype is not None
    return e.emit(n, onnx.DequantizeLinearOp(e.operand(n, 0), *_linear(n, value.dtype)))


_ELEMENTWISE = (c.float_inputs,)
_MOVEMENT = (c.floats_or_indices,)
_ARITHMETIC = (c.float_inputs, c.operand_is_per_channel)
_CONSTANT_PARAMETERS = (c.float_inputs, c.parameters_are_constant)
_LINEAR = (c.parameters_are_constant, c.quantised_to_8_bits, c.scale_shape_matches)

OPERATORS: Mapping[str, Operator] = {
    "Add": Operator(_binary(onnx.AddOp), _ARITHMETIC, on_maps=OnMaps.BROADCAST),
    "BatchNormalization": Operator(
        _batch_normalization, (c.float_inputs, c.not_training, c.weights_are_constant), on_maps=OnMaps.CHANNELS
    ),
    "Clip": Operator(_clip, _CONSTANT_PARAMETERS, onnx.ClipOp),
    "Concat": Operator(_concat, (c.float_inputs, c.operands_are_computed, c.batch_stays), on_maps=OnMaps.MOVEMENT),
    "Conv": in_volumes(
        Operator(
            _conv,
            (*WINDOW_CHECKS, c.weights_are_constant, c.conv_kernel_matches, c.conv_groups_match),
            on_maps=OnMaps.WINDOWS,
        ),
        through_slices,
    ),
    "DequantizeLinear": Operator(_dequantize, _LINEAR),
    "Div": Operator(_binary(onnx.DivOp), (*_ARITHMETIC, c.divisor_is_not_zero), on_maps=OnMaps.BROADCAST),
    "Dropout": Operator(_unary(onnx.DropoutOp), (c.float_inputs, c.dropout_is_inactive)),
    "Elu": scalar(onnx.EluOp),
    "Flatten": Operator(_flatten, _MOVEMENT, left=onnx.ReshapeOp),
    "Gemm": Operator(_gemm, (c.float_inputs, c.weights_are_constant, c.second_matrix_is_constant, c.rows_are_one)),
    "HardSigmoid": scalar(onnx.HardSigmoidOp),
    "HardSwish": scalar(onnx.HardSwishOp),
    "Identity": Operator(_unary(onnx.IdentityOp), _MOVEMENT),
    "LeakyRelu": scalar(onnx.LeakyReluOp),
    "LogSoftmax": Operator(_softmax, (c.float_inputs, c.batch_stays), left=onnx.SoftmaxOp),
    "MatMul": Operator(_matmul, (c.float_inputs, c.second_matrix_is_constant, c.rows_are_one)),
    "Mean": Operator(_mean, (c.float_inputs, c.constants_are_per_channel)),
    "Mul": Operator(_binary(onnx.MulOp), _ARITHMETIC, on_maps=OnMaps.BROADCAST),
    "Pad": Operator(_pad, (*_CONSTANT_PARAMETERS, c.pads_fit), on_maps=OnMaps.MOVEMENT, left=onnx.PadOp),
    "QuantizeLinear": Operator(_quantize, (c.float_inputs, *_LINEAR)),
    "ReduceMax": Operator(reduce_map(onnx_pools.most_of_blocks, times=False), MAPS),
    "ReduceMean": Operator(_reduce_mean, (*_CONSTANT_PARAMETERS, c.batch_stays)),
    "ReduceSum": Operator(reduce_map(onnx_pools.mean_of_blocks, times=True), MAPS),
    "Relu": scalar(onnx.ReluOp),
    "Reshape": Operator(_reshape, (*_MOVEMENT, c.shape_is_constant), left=onnx.ReshapeOp),
    "Sigmoid": scalar(onnx.SigmoidOp),
    "Slice": Operator(_slice, (*_CONSTANT_PARAMETERS, slice_can_be_made), on_maps=OnMaps.MOVEMENT),
    "Softmax": Operator(_softmax, (c.float_inputs, c.batch_stays), left=onnx.SoftmaxOp),
    "Squeeze": Operator(_squeeze, (*_MOVEMENT, c.parameters_are_constant), left=onnx.ReshapeOp),
    "Sub": Operator(_binary(onnx.SubOp), _ARITHMETIC, on_maps=OnMaps.BROADCAST),
    "Sum": Operator(_sum, (c.float_inputs, c.constants_are_per_channel)),
    "Tanh": scalar(onnx.TanhOp),
    "Transpose": Operator(_transpose, _ELEMENTWISE, left=onnx.TransposeOp),
    "Unsqueeze": Operator(_unsqueeze, (*_MOVEMENT, c.parameters_are_constant), left=onnx.ReshapeOp),
}


@cache
def operators() -> Mapping[str, Operator]:
    """Every operator that can be imported, ours and those of other packages. Raises UserError if two claim one name."""
    files = (cast("Mapping[str, Operator]", table) for _, table in found.own(onnx_import, "OPERATORS"))
    added = ({name: operator} for name, operator in found.installed(GROUP, "operator", Operator))
    known: dict[str, Operator] = {}
    for table in chain(files, added):
        if twice := sorted(known.keys() & table):
            raise UserError(
                f"the operator '{twice[0]}' is known already",
                found.mend(GROUP, twice[0]),
            )
        known |= table
    return known
