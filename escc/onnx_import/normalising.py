"""Normalisations by what is computed of the tensor itself, and norms: arithmetic, pools and functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.expressions import parse
from dialects.onnx_expression import ExpressionOp
from dialects.onnx_pools import mean_of_blocks, most_of_blocks
from dialects.onnx_shapes import map_axes
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator, integer_weights
from escc.onnx_import.node import Node, Value, text
from escc.onnx_import.ranks import as_map
from escc.onnx_import.reductions import MAPS, reduce_map
from isa.reference import map_shape


def _function(e: Emitter, n: Node, x: SSAValue, expression: str) -> SSAValue:
    return e.emit(n, ExpressionOp.of(x, parse(expression)))


def _mean(e: Emitter, n: Node, x: SSAValue) -> SSAValue:
    return e.emit(n, mean_of_blocks(x, onnx.shape_of(x)[2:]))


def _scaled(e: Emitter, n: Node, x: SSAValue, op: type[onnx.BinaryOp], values: np.ndarray) -> SSAValue:
    """A map with constants of [1,C,H,W], or with one for each channel."""
    shaped = values if values.ndim == 4 else values.reshape(1, -1, 1, 1)
    return e.emit(n, op(x, e.constant(n, shaped.astype(np.float32))))


def _mean_of_channels(e: Emitter, n: Node, x: SSAValue) -> SSAValue:
    """The mean over channels at each position, by a 1x1 convolution."""
    channels = onnx.shape_of(x)[1]
    return e.emit(n, onnx.ConvOp(x, integer_weights(e, n, np.ones((1, channels, 1, 1)), 1 / channels)))


Mean = Callable[[Emitter, Node, SSAValue], SSAValue]
"""A mean over some axes of a map, which broadcasts with it."""


def _normalised(e: Emitter, n: Node, x: SSAValue, mean: Mean) -> SSAValue:
    """(x - mean) / sqrt(mean of the squares of that + epsilon), then an affine map for each channel."""
    inner = _inner(n)
    return _by_its_size(e, n, e.emit(inner, onnx.SubOp(x, mean(e, inner, x))), mean)


def _by_its_size(e: Emitter, n: Node, x: SSAValue, mean: Mean) -> SSAValue:
    """x / sqrt(mean of its squares + epsilon), then an affine map for each channel.

    The map alone has the name of the node, since the next convolution may absorb it.
    """
    scale, bias = n.const(1), n.const(2)
    assert scale is not None
    inner = _inner(n)
    variance = mean(e, inner, _function(e, inner, x, "Mul(x, x)"))
    factor = _function(e, inner, variance, f"Reciprocal(Sqrt(Add(x, {float(n.attr('epsilon', 1e-5))!r})))")
    y = _scaled(e, n, e.emit(inner, onnx.MulOp(x, factor)), onnx.MulOp, scale)
    return y if bias is None else _scaled(e, n, y, onnx.AddOp, bias)


def _inner(n: Node) -> Node:
    return replace(n, name=f"{n.name}/normalised")


def _mean_of_groups(groups: int) -> Mean:
    """The mean of the channels of each group over all positions, for each of these channels."""

    def mean(e: Emitter, n: Node, x: SSAValue) -> SSAValue:
        each, channels = _mean(e, n, x), onnx.shape_of(x)[1]
        if groups == channels:
            return each
        weights = integer_weights(e, n, np.ones((channels, channels // groups, 1, 1)), groups / channels)
        return e.emit(n, onnx.ConvOp(each, weights, group=groups))

    return mean


def _per_channel(n: Node, channels: int) -> Node:
    """A normalisation whose parameters are those of groups, with one for each channel."""
    inputs = list(n.inputs)
    for i in (1, 2):
        values = n.const(i)
        if values is not None and len(values) != channels:
            repeated = np.repeat(values, channels // len(values))
            inputs[i] = Value.constant(f"{n.name}/{i}", repeated, n.name)
    return replace(n, inputs=inputs)


def _instance(e: Emitter, n: Node) -> SSAValue:
    """Channels that a reshape has joined with others beforehand are the groups of a map."""
    x = e.operand(n, 0)
    shape, source = onnx.shape_of(x), x
    while isinstance(source.owner, onnx.ReshapeOp):
        source = source.owner.input
    before = onnx.shape_of(source)
    if len(before) != 4 or before[0] != 1 or before[1] % shape[1]:
        return _normalised(e, n, x, _mean)
    y = _normalised(e, _per_channel(n, before[1]), source, _mean_of_groups(shape[1]))
    return y if before == shape else e.emit(n, onnx.ReshapeOp(y, shape))


def _groups(e: Emitter, n: Node) -> SSAValue:
    x = e.operand(n, 0)
    return _normalised(e, n, x, _mean_of_groups(int(n.attr("num_groups"))))


def _over_last_axes(normalise: Callable[[Emitter, Node, SSAValue, Mean], SSAValue]) -> Convert:
    """Over the axes from `axis` on. The last one of [N,H,W,C] and that of [N,C] are the channels of a map for it: a
    transpose back cancels with one of the model.
    """

    def convert(e: Emitter, n: Node) -> SSAValue:
        x = e.operand(n, 0)
        shape = onnx.shape_of(x)
        axis = n.axis(-1, len(shape))
        if (len(shape), axis) == (4, 3):
            maps = e.emit(n, onnx.TransposeOp(x, (0, 3, 1, 2)))
            return e.emit(n, onnx.TransposeOp(normalise(e, n, maps, _mean_of_channels), (0, 2, 3, 1)))
        axes = map_axes(len(shape), range(axis, len(shape)))
        assert axes is not None
        y = normalise(e, _on_maps(n, shape[:axis]), as_map(e, n, x), _mean_over(axes))
        return y if len(shape) == 4 else e.emit(n, onnx.ReshapeOp(y, shape))

    return convert


def _on_maps(n: Node, before: tuple[int, ...]) -> Node:
    """A normalisation whose parameters are those of a map; `before` are the extents of axes that they have not."""
    inputs = list(n.inputs)
    for i in (1, 2):
        values = n.const(i)
        if values is not None:
            made = values.reshape(map_shape((*[1] * len(before), *values.shape)))
            inputs[i] = Value.constant(f"{n.name}/{i}", made, n.name)
    return replace(n, inputs=inputs)


def _mean_over(axes: Sequence[int]) -> Mean:
    """The mean over some of the axes 1 to 3 of a map."""

    def mean(e: Emitter, n: Node, x: SSAValue) -> SSAValue:
        kernel = [d if a in axes else 1 for a, d in enumerate(onnx.shape_of(x)[2:], 2)]
        if kernel != [1, 1]:
            x = e.emit(n, mean_of_blocks(x, kernel))
        return _mean_of_channels(e, n, x) if 1 in axes else x

    return mean


def _by_norm(e: Emitter, n: Node) -> SSAValue:
    """x divided by its norm along an axis; zeros stay zeros: their factor is 0, for a large one would be the range of
    all factors.
    """
    shape = onnx.shape_of(e.operand(n, 0))
    x = as_map(e, n, e.operand(n, 0))
    axes = map_axes(len(shape), (n.axis(-1, len(shape)),))
    before, after = ("Abs(x)", "Mul(Sign(x), Reciprocal(Max(x, 1e-30)))")
    if int(n.attr("p", 2)) == 2:
        before, after = ("Mul(x, x)", "Mul(Sign(x), Reciprocal(Sqrt(Max(x, 1e-30))))")
    inner = replace(n, name=f"{n.name}/norm", attributes={"axes": axes}, inputs=[Value("", onnx.shape_of(x), ssa=x)])
    factor = reduce_map(mean_of_blocks, True, before, after)(e, inner)
    assert isinstance(factor, SSAValue)
    y = e.emit(n, onnx.MulOp(x, factor))
    return y if onnx.shape_of(y) == shape else e.emit(n, onnx.ReshapeOp(y, shape))


def _local_response(e: Emitter, n: Node) -> SSAValue:
    """x * (bias + alpha / size * sum of the squares of neighbouring channels) ** -beta."""
    x, size = e.operand(n, 0), int(n.attr("size", 1))
    channels = onnx.shape_of(x)[1]
    away = np.arange(channels)[None, :] - np.arange(channels)[:, None]
    near = (away >= -((size - 1) // 2)) & (away <= math.ceil((size - 1) / 2))
    factor = float(n.attr("alpha", 1e-4)) / size
    weights = e.constant(n, (near * factor).astype(np.float32).reshape(channels, channels, 1, 1))
    total = e.emit(n, onnx.ConvOp(_function(e, n, x, "Mul(x, x)"), weights))
    bias, beta = float(n.attr("bias", 1.0)), float(n.attr("beta", 0.75))
    return e.emit(n, onnx.MulOp(x, _function(e, n, total, f"Pow(Add(x, {bias!r}), {-beta!r})")))


def parameters_are_per_channel(node: Node) -> str | None:
    """Scale and bias hold one value per channel"""
    shape = node.shape()
    for index in (1, 2):
        given = node.shape(index)
        if shape is not None and given is not None and given != (shape[1],):
            return f"parameters of shape {text(given)} for {shape[1]} channels; requires one for each channel"
    return None


def groups_divide_the_channels(node: Node) -> str | None:
    """num_groups divides the channels; opset 21 or newer (ONNX withdrew the older form)"""
    shape, groups = node.shape(), int(node.attr("num_groups", 1))
    if shape is None:
        return None
    if groups < 1 or shape[1] % groups:
        return f"num_groups={groups} of {shape[1]} channels; requires a divisor"
    return parameters_are_per_channel(node)


def normalises_the_last_axes(node: Node) -> str | None:
    """Over the last axes of [N,C], [N,C,L], [N,C,H,W] or [N,H,W,C], with parameters of their extents and one result"""
    shape = node.shape()
    if shape is None:
        return None
    axis = node.axis(-1, len(shape))
    if len(shape) not in (2, 3, 4) or not 0 < axis < len(shape):
        return f"normalises axes from {axis} on of {text(shape)}; requires axes behind that of the batch, of 2 to 4"
    for index in (1, 2):
        given = node.shape(index)
        if given is not None and given != shape[axis:]:
            return (
                f"parameters of shape {text(given)} for axes {text(shape[axis:])}; requires one value for each element"
            )
    if any(node.outputs[1:]):
        return "its mean or deviation is read; requires a model that reads only the first output"
    return None


def size_is_positive(node: Node) -> str | None:
    """size is at least 1"""
    size = int(node.attr("size", 1))
    return None if size >= 1 else f"size={size} unsupported; requires at least 1"


def norm_is_of_an_axis(node: Node) -> str | None:
    """p is 1 or 2; over C, H or W"""
    p, shape = int(node.attr("p", 2)), node.shape()
    if p not in (1, 2):
        return f"p={p} unsupported; requires 1 or 2"
    if shape is None:
        return None
    axis = node.axis(-1, len(shape))
    if not 0 < axis < len(shape) or map_axes(len(shape), (axis,)) is None:
        return f"axis={axis} of {text(shape)} unsupported; requires that of C, H or W"
    return None


_LAST_AXES = (c.float_inputs, c.weights_are_constant, normalises_the_last_axes)

OPERATORS: Mapping[str, Operator] = {
    "GroupNormalization": Operator(
        _groups, (c.float_inputs, c.rank_4, c.weights_are_constant, groups_divide_the_channels), on_maps=OnMaps.CHANNELS
    ),
    "InstanceNormalization": Operator(
        _instance,
        (c.float_inputs, c.rank_4, c.weights_are_constant, parameters_are_per_channel),
        on_maps=OnMaps.CHANNELS,
    ),
    "LayerNormalization": Operator(_over_last_axes(_normalised), _LAST_AXES),
    "LpNormalization": Operator(_by_norm, (c.float_inputs, norm_is_of_an_axis)),
    "LRN": Operator(_local_response, (c.float_inputs, c.rank_4, size_is_positive), on_maps=OnMaps.CHANNELS),
    "RMSNormalization": Operator(_over_last_axes(_by_its_size), _LAST_AXES),
    "ReduceL1": Operator(reduce_map(mean_of_blocks, True, "Abs(x)"), MAPS),
    "ReduceL2": Operator(reduce_map(mean_of_blocks, True, "Mul(x, x)", "Sqrt(x)"), MAPS),
    "ReduceMin": Operator(reduce_map(most_of_blocks, False, "Neg(x)", "Neg(x)"), MAPS),
    "ReduceSumSquare": Operator(reduce_map(mean_of_blocks, True, "Mul(x, x)"), MAPS),
}
"""Operators by their names in ONNX."""
