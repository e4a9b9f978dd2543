"""Strides and pads of the operators of windows, and what all of them require."""

from __future__ import annotations

from dialects.onnx_shapes import same_pads
from escc.onnx_import import constraints as c
from escc.onnx_import.limits import check_windows
from escc.onnx_import.node import Node

WINDOW_CHECKS = (c.float_inputs, c.rank_4, c.windows_are_two_dimensional, c.pads_are_explicit)
"""Constraints of every operator of windows."""


def window_geometry(
    node: Node, kernel: tuple[int, ...], products: int | None = None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and explicit pads of a window operator on maps or volumes; `products` as in `check_windows`."""
    shape = node.shape()
    assert shape is not None
    strides, pads = _explicit(node, shape, kernel)
    check_windows(shape, kernel, strides, pads, products)
    return strides, pads


def _explicit(node: Node, shape: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Strides and pads, those of `auto_pad` too, of windows that with their gaps have the extents `kernel`."""
    strides = node.ints("strides") or (1,) * len(kernel)
    auto = node.attr("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        sides = [same_pads(d, k, s, auto == "SAME_UPPER") for d, k, s in zip(shape[2:], kernel, strides, strict=True)]
        return strides, (*(a for a, _ in sides), *(b for _, b in sides))
    if auto == "VALID":
        return strides, (0,) * (2 * len(kernel))
    return strides, node.ints("pads") or (0,) * (2 * len(kernel))
