"""Operators that pool windows, or whole maps."""

from __future__ import annotations

import math
from collections.abc import Mapping

from xdsl.ir import SSAValue

from dialects import onnx_pools
from dialects.expressions import parse
from dialects.onnx_expression import ExpressionOp
from escc.onnx_import import constraints as c
from escc.onnx_import.dilated_pools import PoolAxis, pool_by_axes
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator
from escc.onnx_import.node import Node
from escc.onnx_import.volumes import in_volumes
from escc.onnx_import.windows import WINDOW_CHECKS, window_geometry


def _pool_axes(node: Node) -> list[PoolAxis] | None:
    """The axes of a pool whose windows have gaps, or reach through slices of a volume; None where they do neither."""
    kernel, shape = node.ints("kernel_shape"), node.shape()
    count = len(kernel)
    dilations = node.ints("dilations", (1,) * count)
    flat = count == 2 and all(d == 1 or k == 1 for k, d in zip(kernel, dilations, strict=True))
    if shape is None or flat:
        return None
    spread = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    strides, pads = window_geometry(node, spread)
    sides = zip(shape[2:], kernel, dilations, strides, zip(pads[:count], pads[count:], strict=True), strict=True)
    return [PoolAxis(*side, node.flag("ceil_mode")) for side in sides]


def _max_pool(e: Emitter, n: Node) -> SSAValue:
    if axes := _pool_axes(n):
        return pool_by_axes(e, n, e.operand(n, 0), axes, mean=False)
    kernel = n.ints("kernel_shape")
    strides, pads = window_geometry(n, kernel)
    return e.emit(n, onnx_pools.MaxPoolOp(e.operand(n, 0), kernel, strides, pads, n.flag("ceil_mode")))


def _average_pool(e: Emitter, n: Node) -> SSAValue:
    return _mean_of_windows(e, n, e.operand(n, 0), n.flag("count_include_pad"))


def _mean_of_windows(e: Emitter, n: Node, x: SSAValue, zeros: bool) -> SSAValue:
    """The mean over windows; with `zeros`, padded values are zeros that count."""
    if axes := _pool_axes(n):
        return pool_by_axes(e, n, x, axes, mean=True, zeros=zeros)
    kernel = n.ints("kernel_shape")
    strides, pads = window_geometry(n, kernel)
    return e.emit(n, onnx_pools.AveragePoolOp.of(x, kernel, strides, pads, n.flag("ceil_mode"), zeros))


def _norm_pool(e: Emitter, n: Node) -> SSAValue:
    """The mean of powers, the number of them times, and the root of that; pads are zeros and count."""
    kernel, p = n.ints("kernel_shape"), int(n.attr("p", 2))
    powers = "Abs(x)" if p == 1 else "Mul(x, x)" if p == 2 else f"Pow(Abs(x), {float(p)!r})"
    x = e.emit(n, ExpressionOp.of(e.operand(n, 0), parse(powers)))
    mean = _mean_of_windows(e, n, x, zeros=True)
    total = f"Mul(x, {float(math.prod(kernel))!r})"
    root = total if p == 1 else f"Sqrt({total})" if p == 2 else f"Pow({total}, {1 / p!r})"
    return e.emit(n, ExpressionOp.of(mean, parse(root)))


def sums_powers(node: Node) -> str | None:
    """p is at least 1; ceil_mode is 0"""
    p = int(node.attr("p", 2))
    if p < 1:
        return f"p={p} unsupported; requires at least 1"
    if node.flag("ceil_mode"):
        return "ceil_mode=1 unsupported; requires 0"
    return None


def _global_pool(op: type[onnx_pools.GlobalPoolOp]) -> Convert:
    return lambda e, n: e.emit(n, op(e.operand(n, 0)))


_WINDOWS = (*WINDOW_CHECKS, c.pads_are_below_the_kernel)
_WHOLE = (c.float_inputs, c.rank_4)

OPERATORS: Mapping[str, Operator] = {
    "AveragePool": in_volumes(Operator(_average_pool, _WINDOWS, on_maps=OnMaps.WINDOWS)),
    "GlobalAveragePool": Operator(_global_pool(onnx_pools.GlobalAveragePoolOp), _WHOLE, on_maps=OnMaps.CHANNELS),
    "GlobalMaxPool": Operator(_global_pool(onnx_pools.GlobalMaxPoolOp), _WHOLE, on_maps=OnMaps.CHANNELS),
    "LpPool": in_volumes(Operator(_norm_pool, (*_WINDOWS, sums_powers), on_maps=OnMaps.WINDOWS)),
    "MaxPool": in_volumes(Operator(_max_pool, (*_WINDOWS, c.pool_has_no_indices), on_maps=OnMaps.WINDOWS)),
}
"""Operators by their names in ONNX."""
