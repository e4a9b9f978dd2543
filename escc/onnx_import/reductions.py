"""Operators that split and reduce tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.expressions import parse
from dialects.onnx_arg_max import ArgMaxOp
from dialects.onnx_expression import ExpressionOp
from dialects.onnx_pools import mean_of_blocks, most_of_blocks
from dialects.onnx_positions import DepthToSpaceOp
from dialects.onnx_shapes import map_axes
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator, integer_weights
from escc.onnx_import.node import Node, text
from escc.onnx_import.ranks import as_map


def _parts(node: Node, size: int) -> tuple[int, ...]:
    """Extents of the results of Split along its axis of that size."""
    given = node.parameter_ints("split", 1)
    if given is not None:
        return given
    count = int(node.attr("num_outputs", len(node.outputs)))
    each = -(-size // count)
    return (*[each] * (count - 1), size - each * (count - 1))


def _split(e: Emitter, n: Node) -> Sequence[SSAValue]:
    x = e.operand(n, 0)
    shape = onnx.shape_of(x)
    axis, first, found = n.axis(0, len(shape)), 0, list[SSAValue]()
    for extent in _parts(n, shape[axis]):
        whole = extent == shape[axis]
        op = onnx.IdentityOp(x) if whole else onnx.SliceOp(x, [first], [first + extent], [axis], [1])
        found.append(e.emit(n, op))
        first += extent
    return found


def splits_into_parts(node: Node) -> str | None:
    """The parts are not empty and make up the axis, which is not that of the batch"""
    shape = node.shape()
    if shape is None:
        return None
    axis = node.axis(0, len(shape))
    if not 0 <= axis < len(shape):
        return f"axis={axis} of {len(shape)} dimensions; requires an axis below {len(shape)}"
    parts = _parts(node, shape[axis])
    if min(parts, default=0) < 1 or sum(parts) != shape[axis] or len(parts) < len(node.outputs):
        return f"splits {shape[axis]} indices into {text(parts)}; requires parts of at least 1 that make up the axis"
    if axis == 0 and len(parts) > 1:
        return "splits the batch axis; requires axes C, H or W"
    return None


def _reduced_axes(n: Node, rank: int) -> tuple[int, ...]:
    axes = n.axes("axes", 1, rank)
    return tuple(sorted(axes)) if axes else tuple(range(rank))


Pool = Callable[[SSAValue, Sequence[int]], onnx.OnnxOp]


def reduce_map(pool: Pool, times: bool, before: str = "", after: str = "") -> Convert:
    """A reduction over C, H and W or some of them as a pool, `times` the number of values where it is a sum.

    Channels become columns for it, or are added up by a convolution. `before` and `after` are functions of one number
    around it, as `dialects.expressions` writes them.
    """
    return _over_maps(lambda e, n, x, axes: _reduced(e, n, x, axes, pool, times, before, after))


def _over_maps(reduce: Callable[[Emitter, Node, SSAValue, Sequence[int]], SSAValue]) -> Convert:
    """A node that reduces axes of a tensor of any rank, by what reduces those of a map and keeps them."""

    def convert(e: Emitter, n: Node) -> SSAValue:
        x = e.operand(n, 0)
        shape = onnx.shape_of(x)
        reduced = _reduced_axes(n, len(shape))
        axes = map_axes(len(shape), reduced)
        assert axes is not None
        y = reduce(e, n, as_map(e, n, x), axes)
        keeps = n.flag("keepdims", 1)
        wanted = [1 if i in reduced else d for i, d in enumerate(shape) if keeps or i not in reduced]
        return y if onnx.shape_of(y) == tuple(wanted) else e.emit(n, onnx.ReshapeOp(y, wanted))

    return convert


def _reduced(
    e: Emitter, n: Node, x: SSAValue, axes: Sequence[int], pool: Pool, times: bool, before: str = "", after: str = ""
) -> SSAValue:
    value = x if not before else e.emit(n, ExpressionOp.of(x, parse(before)))
    apart = 1 in axes and (not times or _is_power(value))
    if 1 in axes:
        value = _pooled(e, n, value, pool) if apart else _summed(e, n, value)
    kernel = [onnx.shape_of(x)[a] if a in axes else 1 for a in (2, 3)]
    if kernel != [1, 1] or value == x:
        value = e.emit(n, pool(value, kernel))
    count = math.prod(kernel) * (onnx.shape_of(x)[1] if apart else 1)
    if times and count > 1:
        value = e.emit(n, onnx.MulOp(value, e.constant(n, np.asarray(count, np.float32))))
    return value if not after else e.emit(n, ExpressionOp.of(value, parse(after)))


def _log_sum_exp(e: Emitter, n: Node, x: SSAValue, axes: Sequence[int]) -> SSAValue:
    """The logarithm of the sum of the powers of e, which are at most 1: the maximum is taken off before."""
    most = _reduced(e, n, x, axes, most_of_blocks, times=False)
    below = e.emit(n, onnx.SubOp(x, most))
    return e.emit(n, onnx.AddOp(_reduced(e, n, below, axes, mean_of_blocks, True, "Exp(x)", "Log(x)"), most))


def _is_power(x: SSAValue) -> bool:
    """Whether values are powers of e, which differ by more than the weights of a convolution are exact for."""
    while isinstance(x.owner, onnx.ReshapeOp | onnx.IdentityOp):
        x = x.owner.input
    return isinstance(x.owner, ExpressionOp) and x.owner.parsed.name == "Exp"


def _summed(e: Emitter, n: Node, x: SSAValue) -> SSAValue:
    """The sum over channels, by a 1x1 convolution."""
    return e.emit(n, onnx.ConvOp(x, integer_weights(e, n, np.ones((1, onnx.shape_of(x)[1], 1, 1)), 1.0)))


def _pooled(e: Emitter, n: Node, x: SSAValue, pool: Pool) -> SSAValue:
    """A pool over channels, which become blocks of positions for it."""
    channels = onnx.shape_of(x)[1]
    rows = max(d for d in range(1, math.isqrt(channels) + 1) if channels % d == 0)
    blocks = (rows, channels // rows)
    return x if channels == 1 else e.emit(n, pool(e.emit(n, DepthToSpaceOp(x, blocks)), blocks))


def reduces_maps(node: Node) -> str | None:
    """Over axes behind the batch; of a volume [N,C,D,H,W] over D and H together, or over neither"""
    shape = node.shape()
    if shape is None:
        return None
    if node.flag("noop_with_empty_axes") and not node.axes("axes", 1, len(shape)):
        return "reduces nothing (noop_with_empty_axes); requires axes C, H, W"
    axes = _reduced_axes(node, len(shape))
    if 0 in axes:
        return f"reduces axes {text(axes)} of {text(shape)}, the batch axis among them; requires axes behind it"
    if map_axes(len(shape), axes) is None:
        return f"reduces axes {text(axes)} of {text(shape)}; requires D and H together, or neither"
    return None


MAPS = (c.float_inputs, c.parameters_are_constant, reduces_maps)


def _arg_max(e: Emitter, n: Node) -> SSAValue:
    """The index of the smallest number is that of the largest of the negatives."""
    x = e.operand(n, 0)
    axis = n.axis(0, len(onnx.shape_of(x)))
    if n.op_type == "ArgMin":
        x = e.emit(n, ExpressionOp.of(x, parse("Neg(x)")))
    return e.emit(n, ArgMaxOp(x, axis, bool(n.attr("keepdims", 1)), bool(n.attr("select_last_index", 0))))


OPERATORS: Mapping[str, Operator] = {
    "ReduceLogSum": Operator(reduce_map(mean_of_blocks, True, "", "Log(x)"), MAPS),
    "ReduceLogSumExp": Operator(_over_maps(_log_sum_exp), MAPS),
    "ArgMax": Operator(_arg_max, (c.float_inputs, c.batch_stays), left=ArgMaxOp),
    "ArgMin": Operator(_arg_max, (c.float_inputs, c.batch_stays), left=ArgMaxOp),
    "Split": Operator(_split, (c.float_inputs, c.parameters_are_constant, splits_into_parts), on_maps=OnMaps.MOVEMENT),
}
"""Operators by their names in ONNX."""
