"""ConvTranspose: for each place in a block of results a convolution, their channels as positions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.onnx_rearranged import ChannelShuffleOp
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator
from escc.onnx_import.limits import check_activation, check_windows
from escc.onnx_import.node import Array, Node, Value, text
from escc.onnx_import.positions import interleaved
from escc.onnx_import.volumes import Kept, SliceRows, in_volumes, inside, merged, on_one_map, side_by_side
from passes.onnx_patterns.dilated import spread_fault, spread_taps


@dataclass(frozen=True)
class TransposedAxis:
    """One axis: input extent, taps of the window with its gaps, stride, extent of the result, values cut off before."""

    size: int
    taps: int
    stride: int
    out: int
    cut: int

    @property
    def whole(self) -> int:
        """Values that the windows reach, none of them cut off."""
        return self.stride * (self.size - 1) + self.taps

    @property
    def kernel(self) -> int:
        """Taps of the convolution of each phase."""
        return -(-self.taps // self.stride)

    @property
    def pads(self) -> tuple[int, int]:
        """Zeros before and after the input."""
        before = max(0, self.kernel - 1 - self.cut // self.stride)
        last = (self.cut + self.out - 1) // self.stride
        return before, max(0, last - (self.size - 1))

    @property
    def first(self) -> int:
        """The first result among those of all phases."""
        return self.cut - self.stride * (self.kernel - 1 - self.pads[0])


def geometries(n: Node, shape: Sequence[int], weights: Sequence[int]) -> list[TransposedAxis]:
    """Each axis of a ConvTranspose on maps or volumes of `shape` with `weights` [C, M/group, ...]."""
    axes = len(shape) - 2
    strides, dilations = n.ints("strides", (1,) * axes), n.ints("dilations", (1,) * axes)
    pads, extra = n.ints("pads", (0,) * 2 * axes), n.ints("output_padding", (0,) * axes)
    wanted, auto = n.ints("output_shape")[-axes:], n.attr("auto_pad", "NOTSET")
    found: list[TransposedAxis] = []
    for i in range(axes):
        size, taps, stride = shape[2 + i], (weights[2 + i] - 1) * dilations[i] + 1, strides[i]
        whole = stride * (size - 1) + extra[i] + taps
        before, after = pads[i], pads[axes + i]
        if wanted or auto.startswith("SAME"):
            total = max(0, whole - (wanted[i] if wanted else size * stride))
            before = total // 2 if auto == "SAME_UPPER" else total - total // 2
            after = total - before
        elif auto == "VALID":
            before = after = 0
        out = wanted[i] if wanted else whole - before - after
        found.append(TransposedAxis(size, taps, stride, out, before))
    return found


def _phases(array: Array, rows: TransposedAxis, columns: TransposedAxis, group: int, fill: Array) -> Array:
    """Weights [C, M/group, taps, taps] as those of a convolution [M*phases, C/group, kernel, kernel].

    The phases are the outer axis of the output channels without groups, the inner one with them.
    """
    channels, each = array.shape[:2]
    (ky, sy), (kx, sx) = (rows.kernel, rows.stride), (columns.kernel, columns.stride)
    wide = np.empty((channels, each, ky * sy, kx * sx), array.dtype)
    wide[:] = fill
    wide[:, :, : array.shape[2], : array.shape[3]] = array
    split = wide.reshape(group, channels // group, each, ky, sy, kx, sx)[:, :, :, ::-1, :, ::-1]
    order = (4, 6, 0, 2, 1, 3, 5) if group == 1 else (0, 2, 4, 6, 1, 3, 5)
    return np.ascontiguousarray(split.transpose(order)).reshape(-1, channels // group, ky, kx)


def _weights(n: Node, rows: TransposedAxis, columns: TransposedAxis, group: int) -> Value:
    """The weights of the convolution, integers kept where they have one scale, or one for each output channel."""
    weight = n.input(1)
    assert weight is not None and weight.const is not None
    dilations, zero = n.ints("dilations", (1, 1)), np.zeros((), weight.const.dtype)
    if fault := spread_fault(weight.const.shape, dilations):
        raise ValueError(fault)
    spread = spread_taps(weight.const, dilations, zero)
    made = Value.constant(weight.name, _phases(spread, rows, columns, group, zero), weight.origin)
    q = weight.quantised
    if q is None or (q.scale.ndim and q.axis != 1) or np.any(q.zero_point):
        return made
    nothing = np.zeros((), q.data.dtype)
    data = _phases(spread_taps(q.data, dilations, nothing), rows, columns, group, nothing)
    scale, zeros = (_per_output(a, rows.stride * columns.stride, group) for a in (q.scale, q.zero_point))
    made.quantised = replace(q, data=data, scale=scale, zero_point=zeros, axis=0)
    return made


def _per_output(values: Array, count: int, group: int) -> Array:
    """One value for each output channel of all phases; a single value stays one."""
    if not values.ndim:
        return values
    return np.tile(values, count) if group == 1 else np.repeat(np.tile(values, group), count)


def _conv_transpose(e: Emitter, n: Node) -> SSAValue:
    shape, weights, group = n.shape(), n.shape(1), int(n.attr("group", 1))
    assert shape is not None and weights is not None
    rows, columns = axes = geometries(n, shape, weights)
    count, outputs = rows.stride * columns.stride, weights[1] * group
    check_activation((outputs, rows.out, columns.out))
    check_activation((*weights[:2], rows.kernel * rows.stride, columns.kernel * columns.stride))
    (top, bottom), (left, right) = rows.pads, columns.pads
    pads = (top, left, bottom, right)
    value = _weights(n, rows, columns, group)
    assert value.shape is not None
    check_windows(shape, value.shape[2:], (1, 1), pads, math.prod(value.shape))
    made = replace(n, inputs=[n.inputs[0], value])
    bias = n.const(2)
    repeated = None
    if bias is not None:
        repeated = np.tile(bias, count) if group == 1 else np.repeat(bias, count)
    given = None if repeated is None else e.constant(n, repeated.astype(np.float32))
    y = e.emit(n, onnx.ConvOp(e.operand(made, 0), e.operand(made, 1), given, pads=pads, group=group))
    if count > 1 and group > 1:
        y = e.emit(n, ChannelShuffleOp(y, outputs))
    return interleaved(e, n, y, (rows.stride, columns.stride), [a.first for a in axes], [a.out for a in axes])


def _back_through_slices(flat: Operator) -> Convert:
    """ConvTranspose, by `flat` on maps: between the slices are as many rows of zeros as keep their results apart."""

    def convert(e: Emitter, n: Node) -> SSAValue:
        shape, weights, value, group = n.shape(), n.shape(1), n.input(1), int(n.attr("group", 1))
        assert shape is not None and weights is not None and value is not None
        strides, dilations = n.ints("strides", (1, 1, 1)), n.ints("dilations", (1, 1, 1))
        depth, height, width = geometries(n, shape, weights)
        last = max(height.cut + height.out, height.whole)
        apart = -(-last // height.stride)
        check_activation((weights[2] * shape[1], depth.out, apart, shape[4]))
        check_activation((weights[1] * group, depth.out, apart * height.stride, width.out))
        first = [depth.cut - t * dilations[0] for t in range(weights[2])]
        sources = [[_source(o + f, depth.stride, depth.size) for o in range(depth.out)] for f in first]
        x = side_by_side(e, n, sources, SliceRows(0, height.size, apart - height.size), group)
        reached = height.stride * (apart - 1) + height.taps
        attributes: dict[str, Sequence[int]] = {
            "strides": strides[1:],
            "dilations": dilations[1:],
            "pads": [0, width.cut, 0, max(0, width.whole - width.cut - width.out)],
            "output_padding": [max(0, last - reached), max(0, width.cut + width.out - width.whole)],
        }
        kept = Kept(depth.out, apart * height.stride, height.cut, height.out)
        return on_one_map(e, flat, n, x, merged(value, 0, 1, group), attributes, kept)

    return convert


def _source(place: int, stride: int, count: int) -> int | None:
    return None if place % stride else inside(place // stride, count)


def transposed_groups_match(node: Node) -> str | None:
    """group divides the input channels, which are those of the weights [C, M/group, kH, kW]"""
    x, w, group = node.shape(), node.shape(1), int(node.attr("group", 1))
    if x is None or w is None or len(x) != 4:
        return None
    if len(w) != 4 or not all(w):
        return f"weights of shape {text(w)} unsupported; requires 4 dimensions of at least 1"
    if group < 1 or w[0] != x[1] or w[0] % group:
        return f"group={group} with weights {text(w)} and {x[1]} input channels; requires group dividing weights[0]"
    kernel = node.ints("kernel_shape")
    if kernel and kernel != w[2:]:
        return f"kernel_shape={text(kernel)} differs from the weights {text(w)}; requires {text(w[2:])}"
    return None


def transposed_size_is_positive(node: Node) -> str | None:
    """The result has at least one row and column; output_padding is below the stride or the dilation of its axis"""
    x, w = node.shape(), node.shape(1)
    if x is None or w is None or len(x) != len(w) or len(x) < 4:
        return None
    count = len(x) - 2
    for name in ("output_padding", "output_shape"):
        if name in node.attributes and len(node.ints(name)) not in (count, count + 2):
            return f"{name}={text(node.ints(name))} unsupported; requires {count} values"
    extra, strides = node.ints("output_padding", (0,) * count), node.ints("strides", (1,) * count)
    dilations = node.ints("dilations", (1,) * count)
    if any(not 0 <= p < max(s, d) for p, s, d in zip(extra, strides, dilations, strict=True)):
        return (
            f"output_padding={text(extra)} with strides {text(strides)} and dilations {text(dilations)}; requires less "
            "than the stride or the dilation of each axis"
        )
    axes = geometries(node, x, w)
    if min(axis.out for axis in axes) < 1 or min(axis.cut for axis in axes) < 0:
        return f"makes {text([axis.out for axis in axes])} rows and columns; requires at least 1"
    return None


_CHECKS = (
    c.float_inputs,
    c.rank_4,
    c.windows_are_two_dimensional,
    c.pads_are_explicit,
    c.weights_are_constant,
    transposed_groups_match,
    transposed_size_is_positive,
)

_ON_MAPS = Operator(_conv_transpose, _CHECKS, on_maps=OnMaps.WINDOWS)
OPERATORS: Mapping[str, Operator] = {
    "ConvTranspose": in_volumes(_ON_MAPS, _back_through_slices, transposed_size_is_positive)
}
"""Operators by their names in ONNX."""
