"""BatchNormalization and arithmetic with constants per channel: into a neighbouring Conv, else a depthwise 1x1 Conv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from xdsl.ir import Operation, SSAValue
from xdsl.pattern_rewriter import PatternRewriter, RewritePattern, op_type_rewrite_pattern

from dialects import onnx
from dialects.attributes import ints
from dialects.onnx import shape_of
from isa.reference import map_shape
from passes.onnx_patterns.common import Array, Floats, Weight, constant_array, float_constant, floats, producer, replace


@dataclass(frozen=True)
class Affine:
    """y = scale * x + shift, one pair per channel."""

    x: SSAValue
    scale: Floats
    shift: Floats


def channel_values(array: Array, shape: tuple[int, ...]) -> Floats | None:
    """One value per channel of a constant that broadcasts to `shape`; None if it varies along another axis."""
    aligned = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(d != 1 for i, d in enumerate(aligned.shape) if i != 1):
        return None
    return floats(np.broadcast_to(aligned.reshape(-1), (map_shape(shape)[1],)))


def match_affine(op: Operation) -> Affine | None:
    """The affine map an operation computes, if it is one."""
    if isinstance(op, onnx.BatchNormalizationOp):
        arrays = [constant_array(p) for p in (op.scale, op.bias, op.mean, op.var)]
        if any(a is None for a in arrays):
            return None
        scale, bias, mean, var = (floats(a) for a in arrays if a is not None)
        slope = scale / np.sqrt(var + op.epsilon.value.data)
        return Affine(op.input, slope, bias - mean * slope)
    if not isinstance(op, onnx.BinaryOp):
        return None
    left, right = constant_array(op.lhs), constant_array(op.rhs)
    constant, x = (right, op.lhs) if right is not None else (left, op.rhs)
    if constant is None or (left is not None and right is not None):
        return None
    shape = shape_of(x)
    if not 1 <= len(shape) <= 5 or shape[0] != 1 or constant.ndim > len(shape) or shape_of(op.output) != shape:
        return None
    values = channel_values(constant, shape)
    if values is None:
        return None
    one, zero = np.ones_like(values), np.zeros_like(values)
    match op:
        case onnx.AddOp():
            return Affine(x, one, values)
        case onnx.MulOp():
            return Affine(x, values, zero)
        case onnx.SubOp():
            return Affine(x, one, -values) if right is not None else Affine(x, -one, values)
        case onnx.DivOp() if right is not None:
            return Affine(x, 1 / values, zero)
        case _:
            return None


class AffineToDepthwise(RewritePattern):
    """An affine map per channel is a depthwise 1x1 Conv; the identity is nothing."""

    def match_and_rewrite(self, op: Operation, rewriter: PatternRewriter) -> None:
        affine = match_affine(op)
        if affine is None:
            return
        shape = shape_of(affine.x)
        if np.all(affine.scale == 1) and not np.any(affine.shift):
            replace(rewriter, op, [], value=affine.x)
            return
        c = map_shape(shape)[1]
        x, new = affine.x, list[Operation]()
        if len(shape) != 4:
            new.append(onnx.ReshapeOp(x, map_shape(shape)))
            x = new[-1].results[0]
        weight = float_constant(affine.scale.reshape(c, 1, 1, 1), op)
        bias = float_constant(affine.shift, op)
        conv = onnx.ConvOp(x, weight.output, bias.output, group=c)
        new += [weight, bias, conv]
        if len(shape) != 4:
            new.append(onnx.ReshapeOp(conv.output, shape))
        replace(rewriter, op, new)


class DifferenceToSum(RewritePattern):
    """a - b of two activations is a + (-1) * b."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.SubOp, rewriter: PatternRewriter) -> None:
        if constant_array(op.lhs) is not None or constant_array(op.rhs) is not None:
            return
        minus = float_constant(np.asarray(-1.0), op)
        negated = onnx.MulOp(op.rhs, minus.output)
        replace(rewriter, op, [minus, negated, onnx.AddOp(op.lhs, negated.output)])


def _depthwise_1x1(op: Operation | None) -> tuple[Floats, Floats] | None:
    """Scale and shift of a float depthwise 1x1 Conv without stride and padding, if the operation is one."""
    if not isinstance(op, onnx.ConvOp) or isinstance(producer(op.weight), onnx.DequantizeLinearOp):
        return None
    weight = constant_array(op.weight)
    bias = None if op.bias is None else constant_array(op.bias)
    channels = shape_of(op.input)[1]
    if weight is None or weight.shape != (channels, 1, 1, 1) or op.group.value.data != channels:
        return None
    if (op.bias is not None and bias is None) or any(ints(op.pads)) or ints(op.strides) != (1, 1):
        return None
    return floats(weight.reshape(-1)), np.zeros(channels) if bias is None else floats(bias)


def _bias(conv: onnx.ConvOp) -> Floats | None:
    if conv.bias is None:
        return np.zeros(shape_of(conv.weight)[0])
    bias = constant_array(conv.bias)
    return None if bias is None else floats(bias)


def _conv_like(conv: onnx.ConvOp, x: SSAValue, weight: Weight, bias: Floats, *sources: Operation) -> list[Operation]:
    """`conv` on x with other weights and bias: the new operations, the Conv last."""
    new, value = weight.emit()
    named_after = [o for o in (producer(conv.bias) if conv.bias is not None else None,) if o is not None]
    new.append(float_constant(bias.astype(np.float32), *named_after, *sources))
    again = onnx.ConvOp(
        x,
        value,
        new[-1].results[0],
        strides=ints(conv.strides),
        pads=ints(conv.pads),
        dilations=ints(conv.dilations),
        group=conv.group.value.data,
    )
    return [*new, again]


class DepthwiseIntoProducer(RewritePattern):
    """Depthwise 1x1 after a Conv that nothing else reads: one Conv with scaled weights."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConvOp, rewriter: PatternRewriter) -> None:
        affine = _depthwise_1x1(op)
        conv = producer(op.input)
        if affine is None or not isinstance(conv, onnx.ConvOp) or not conv.output.has_one_use():
            return
        scale, shift = affine
        weight, bias = Weight.of(conv.weight), _bias(conv)
        weight = None if weight is None else weight.scaled(scale)
        if weight is None or bias is None:
            return
        new = _conv_like(conv, conv.input, weight, bias * scale + shift, op)
        rewriter.replace(op, _located(new, conv, op))


class DepthwiseIntoConsumer(RewritePattern):
    """Depthwise 1x1 before a Conv, its only reader: one Conv. A shift cannot pass padding, which is 0 behind it."""

    @op_type_rewrite_pattern
    def match_and_rewrite(self, op: onnx.ConvOp, rewriter: PatternRewriter) -> None:
        affine = _depthwise_1x1(producer(op.input))
        first = producer(op.input)
        if affine is None or not isinstance(first, onnx.ConvOp) or not first.output.has_one_use():
            return
        scale, shift = affine
        weight, bias = Weight.of(op.weight), _bias(op)
        if weight is None or weight.scale is not None or bias is None or (any(ints(op.pads)) and np.any(shift)):
            return
        w = floats(weight.data)
        m, cpg = w.shape[:2]
        first_channel = [k // (m // op.group.value.data) * cpg for k in range(m)]
        channel = np.asarray([[c + j for j in range(cpg)] for c in first_channel])
        moved = bias + (w * shift[channel][:, :, None, None]).sum(axis=(1, 2, 3))
        scaled = weight.with_data((w * scale[channel][:, :, None, None]).astype(np.float32), 0)
        new = _conv_like(op, first.input, scaled, moved, op)
        rewriter.replace(op, _located(new, op, first))


def _located(new: list[Operation], *sources: Operation) -> list[Operation]:
    from dialects.locations import fused

    new[-1].location = fused(*sources)
    return new


PATTERNS: tuple[RewritePattern, ...] = (
    AffineToDepthwise(),
    DifferenceToSum(),
    DepthwiseIntoProducer(),
    DepthwiseIntoConsumer(),
)
