"""Convolutions over volumes [N,C,D,H,W] whose windows reach through several slices, as convolutions of one map.

A volume is a map whose slices lie below one another. For each tap of the window along the depth, one such map holds the
slices that this tap reads, in the order of the results; these maps side by side, as channels, are read by windows over
rows and columns alone. Rows of zeros between the slices keep these windows apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.onnx_rearranged import ChannelShuffleOp
from dialects.onnx_shapes import conv_extent
from escc.onnx_import.constraints import Constraint
from escc.onnx_import.emitting import Convert, Emitter, Operator
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import Array, Node, Value, text
from escc.onnx_import.positions import taken
from escc.onnx_import.ranks import as_map
from escc.onnx_import.windows import window_geometry

_WINDOW = (("kernel_shape", 3), ("strides", 3), ("dilations", 3), ("pads", 6), ("output_padding", 3))
"""Attributes of windows over volumes, and how many values each has."""
Sources = Sequence[Sequence[int | None]]
"""For each tap along the depth the slices that it reads, result by result; None is a slice of zeros."""


@dataclass(frozen=True)
class SliceRows:
    """The rows of a slice in the map that windows go over: zeros before, those of the volume, zeros after."""

    before: int
    size: int
    after: int

    def __len__(self) -> int:
        return self.before + self.size + self.after

    def of(self, number: int | None, zeros: int) -> list[int]:
        """The rows of slice `number` of a volume, where row number `zeros` of its map holds zeros."""
        own = [zeros] * self.size if number is None else range(number * self.size, (number + 1) * self.size)
        return [*[zeros] * self.before, *own, *[zeros] * self.after]


def side_by_side(e: Emitter, n: Node, sources: Sources, rows: SliceRows, group: int) -> SSAValue:
    """The maps of all taps as channels: tap by tap, or where there are groups the taps of each channel together.

    The caller has checked that they are not too large.
    """
    n = replace(n, name=f"{n.name}/slices")
    x = as_map(e, n, e.operand(n, 0))
    zeros = onnx.shape_of(x)[2]
    wanted = [[row for number in slices for row in rows.of(number, zeros)] for slices in sources]
    if any(zeros in order for order in wanted):
        x = e.emit(n, onnx.PadOp(x, [0, 0, 0, 0, 0, 0, 1, 0]))
    parts = [taken(e, n, x, 2, order) for order in wanted]
    if len(parts) == 1:
        return parts[0]
    y = e.emit(n, onnx.ConcatOp(parts, 1))
    return y if group == 1 else e.emit(n, ChannelShuffleOp(y, len(parts)))


def merged(value: Value, inputs: int, output_axis: int, group: int) -> Value:
    """Weights whose taps along the depth are input channels, axis `inputs` of the weights; integers are kept where they
    have one scale, or one for each output channel (`output_axis`).
    """
    assert value.const is not None
    by_tap = {0: (2, 0, 1, 3, 4), 1: (0, 2, 1, 3, 4)}[inputs]
    by_channel = {0: (0, 2, 1, 3, 4), 1: (0, 1, 2, 3, 4)}[inputs]

    def moved_taps(x: Array) -> Array:
        moved = x.transpose(by_tap if group == 1 else by_channel)
        shape = list(x.shape[:2])
        shape[inputs] *= x.shape[2]
        return np.ascontiguousarray(moved).reshape(*shape, *x.shape[3:])

    made = Value.constant(value.name, moved_taps(value.const), value.origin)
    q = value.quantised
    if q is not None and (not q.scale.ndim or q.axis == output_axis):
        made.quantised = replace(q, data=moved_taps(q.data))
    return made


@dataclass(frozen=True)
class Kept:
    """The rows of a result on one map that are the slices of a volume: how many slices, how far apart they begin, and
    which rows of each.
    """

    slices: int
    apart: int
    first: int
    count: int

    @property
    def rows(self) -> list[int]:
        """All these rows."""
        return [number * self.apart + self.first + i for number in range(self.slices) for i in range(self.count)]


def on_one_map(
    e: Emitter,
    flat: Operator,
    n: Node,
    x: SSAValue,
    weights: Value,
    attributes: Mapping[str, Sequence[int]],
    kept: Kept,
) -> SSAValue:
    """What `flat` makes of the map `x`, as a volume of the rows that are kept.

    The name of the node is that of its result, which is not the map where this has other rows too.
    """
    source = n.inputs[0]
    assert source is not None
    name = n.name if kept.apart == kept.count else f"{n.name}/map"
    inputs = [Value(source.name, onnx.shape_of(x), ssa=x), weights, *n.inputs[2:]]
    y = flat.convert(e, replace(n, name=name, inputs=inputs, attributes={"group": n.attr("group", 1), **attributes}))
    assert isinstance(y, SSAValue)
    batch, channels, _, width = onnx.shape_of(y)
    return e.emit(n, onnx.ReshapeOp(taken(e, n, y, 2, kept.rows), (batch, channels, kept.slices, kept.count, width)))


def through_slices(flat: Operator) -> Convert:
    """Conv, by `flat` on maps."""

    def convert(e: Emitter, n: Node) -> SSAValue:
        shape, weights, value, group = n.shape(), n.shape(1), n.input(1), int(n.attr("group", 1))
        assert shape is not None and weights is not None and value is not None
        dilations = [d if k > 1 else 1 for k, d in zip(weights[2:], n.ints("dilations", (1, 1, 1)), strict=True)]
        spread = tuple((k - 1) * d + 1 for k, d in zip(weights[2:], dilations, strict=True))
        strides, pads = window_geometry(n, spread, math.prod(weights))
        sizes = zip(shape[2:], spread, strides, pads[:3], pads[3:], strict=True)
        depth, height, _ = [conv_extent(*one) for one in sizes]
        check_activation((weights[2] * shape[1], depth, pads[1] + shape[3] + pads[4] + strides[1], shape[4]))
        first = [t * dilations[0] - pads[0] for t in range(weights[2])]
        sources = [[inside(o * strides[0] + f, shape[2]) for o in range(depth)] for f in first]
        top, bottom = (pads[1], pads[4]) if depth > 1 else (0, 0)
        fill = -(top + shape[3] + bottom) % strides[1] if depth > 1 else 0
        rows = SliceRows(top, shape[3], bottom + fill)
        x = side_by_side(e, n, sources, rows, group)
        attributes: dict[str, Sequence[int]] = {
            "strides": strides[1:],
            "dilations": dilations[1:],
            "pads": [pads[1] - top, pads[2], pads[4] - bottom, pads[5]],
        }
        kept = Kept(depth, len(rows) // strides[1] if depth > 1 else height, 0, height)
        return on_one_map(e, flat, n, x, merged(value, 1, 0, group), attributes, kept)

    return convert


def inside(number: int, count: int) -> int | None:
    """A slice of `count`, None where there is none."""
    return number if 0 <= number < count else None


def _in_slices(node: Node) -> Node:
    """A node on volumes as the one on maps that does the same within a slice, for what is required of either."""

    def one(value: Value | None) -> Value | None:
        flat = value is None or value.shape is None or len(value.shape) != 5
        if value is None or flat:
            return value
        const = None if value.const is None else value.const[:, :, 0]
        assert value.shape is not None
        return replace(value, shape=(*value.shape[:2], *value.shape[3:]), const=const, quantised=None)

    attributes = dict(node.attributes)
    for name, count in _WINDOW:
        if name in attributes:
            values = node.ints(name)
            attributes[name] = [v for i, v in enumerate(values) if i % 3] if count == 6 else values[1:]
    if "output_shape" in attributes:
        attributes["output_shape"] = node.ints("output_shape")[-2:]
    return replace(node, inputs=[one(value) for value in node.inputs], attributes=attributes)


def _required(checks: Sequence[Constraint]) -> Constraint:
    """Windows with three extents each, that within a slice are what maps require of theirs."""

    def windows_have_three_extents(node: Node) -> str | None:
        """Windows over volumes [N,C,D,H,W] have 3 extents, and in a slice they are as over maps"""
        for name, count in _WINDOW:
            values = node.ints(name)
            least = 1 if name in ("kernel_shape", "strides", "dilations") else 0
            if name in node.attributes and (len(values) != count or min(values) < least):
                return f"{name}={text(values)} unsupported; requires {count} values of at least {least}"
        weights = node.shape(1)
        if weights is not None and (len(weights) != 5 or not all(weights)):
            return f"weights of shape {text(weights)} unsupported; requires 5 dimensions of at least 1"
        if weights is not None and node.ints("kernel_shape", weights[2:]) != weights[2:]:
            kernel = node.ints("kernel_shape")
            return f"kernel_shape={text(kernel)} differs from the weights {text(weights)}; requires {text(weights[2:])}"
        flat = _in_slices(node)
        return next((reason for check in checks if (reason := check(flat)) is not None), None)

    return windows_have_three_extents


def in_volumes(flat: Operator, convert: Callable[[Operator], Convert] | None = None, *checks: Constraint) -> Operator:
    """An operator of windows for volumes too: by `convert` of what it does on maps, or by its own converter.

    `checks` are those of all three axes.
    """
    deep = Operator(flat.convert if convert is None else convert(flat), (_required(flat.constraints), *checks))
    return replace(flat, in_volumes=deep)
