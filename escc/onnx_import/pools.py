"""Operators that pool windows, or whole maps."""

from __future__ import annotations

from collections.abc import Mapping

from xdsl.ir import SSAValue

from dialects import onnx_pools
from escc.onnx_import import constraints as c
from escc.onnx_import.dilated_pools import PoolAxis, dilated_pool
from escc.onnx_import.emitting import Convert, Emitter, OnMaps, Operator
from escc.onnx_import.node import Node
from escc.onnx_import.windows import WINDOW_CHECKS, window_geometry


def _pool_axes(node: Node) -> list[PoolAxis] | None:
    """Rows and columns of a pool whose windows have gaps; None where they have none."""
    kernel, dilations, shape = node.ints("kernel_shape"), node.ints("dilations", (1, 1)), node.shape()
    if shape is None or all(d == 1 or k == 1 for k, d in zip(kernel, dilations, strict=True)):
        return None
    spread = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    strides, pads = window_geometry(node, spread)
    sides = zip(shape[2:], kernel, dilations, strides, zip(pads[:2], pads[2:], strict=True), strict=True)
    return [PoolAxis(*side, node.flag("ceil_mode")) for side in sides]


def _max_pool(e: Emitter, n: Node) -> SSAValue:
    if axes := _pool_axes(n):
        return dilated_pool(e, n, axes, mean=False)
    kernel = n.ints("kernel_shape")
    strides, pads = window_geometry(n, kernel)
    return e.emit(n, onnx_pools.MaxPoolOp(e.operand(n, 0), kernel, strides, pads, n.flag("ceil_mode")))


def _average_pool(e: Emitter, n: Node) -> SSAValue:
    if axes := _pool_axes(n):
        return dilated_pool(e, n, axes, mean=True, include_pad=n.flag("count_include_pad"))
    kernel = n.ints("kernel_shape")
    strides, pads = window_geometry(n, kernel)
    flags = (n.flag("ceil_mode"), n.flag("count_include_pad"))
    return e.emit(n, onnx_pools.AveragePoolOp.of(e.operand(n, 0), kernel, strides, pads, *flags))


def _global_pool(op: type[onnx_pools.GlobalPoolOp]) -> Convert:
    return lambda e, n: e.emit(n, op(e.operand(n, 0)))


_WINDOWS = (*WINDOW_CHECKS, c.pads_are_below_the_kernel)
_WHOLE = (c.float_inputs, c.rank_4)

OPERATORS: Mapping[str, Operator] = {
    "AveragePool": Operator(_average_pool, _WINDOWS, on_maps=OnMaps.WINDOWS),
    "GlobalAveragePool": Operator(_global_pool(onnx_pools.GlobalAveragePoolOp), _WHOLE, on_maps=OnMaps.CHANNELS),
    "GlobalMaxPool": Operator(_global_pool(onnx_pools.GlobalMaxPoolOp), _WHOLE, on_maps=OnMaps.CHANNELS),
    "MaxPool": Operator(_max_pool, (*_WINDOWS, c.pool_has_no_indices), on_maps=OnMaps.WINDOWS),
}
"""Operators by their names in ONNX."""
