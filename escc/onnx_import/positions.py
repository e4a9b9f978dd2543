"""Operators that put values at other positions: blocks of channels, repeated rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.onnx_positions import DepthToSpaceOp, TakeOp
from dialects.onnx_rearranged import ChannelShuffleOp
from escc.onnx_import import constraints as c
from escc.onnx_import.emitting import Emitter, OnMaps, Operator
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import Node, text

MAX_PARTS = 256
"""Slices that one operator may be made of."""
PAD_MODES: Mapping[str, Callable[[int, int], int]] = {
    "edge": lambda i, size: min(max(i, 0), size - 1),
    "reflect": lambda i, size: size - 1 - abs(size - 1 - abs(i)),
    "wrap": lambda i, size: i % size,
}
"""Modes of Pad that repeat values: the index that index i, perhaps outside, has the value of."""


def _depth_to_space(e: Emitter, n: Node) -> SSAValue:
    x, block = e.operand(n, 0), int(n.attr("blocksize", 1))
    if block == 1:
        return e.emit(n, onnx.IdentityOp(x))
    if n.attr("mode", "DCR") == "CRD":
        x = e.emit(n, ChannelShuffleOp(x, onnx.shape_of(x)[1] // block**2))
    return e.emit(n, DepthToSpaceOp(x, (block, block)))


def interleaved(
    e: Emitter, n: Node, y: SSAValue, blocks: tuple[int, int], first: Sequence[int], out: Sequence[int]
) -> SSAValue:
    """The channels of all phases as positions: of these, the `out` rows and columns from `first` on.

    Channels come phase by phase; a phase is a row and a column of the `blocks` of results.
    """
    if blocks != (1, 1):
        y = e.emit(n, DepthToSpaceOp(y, blocks))
    if (*first, *out) == (0, 0, *onnx.shape_of(y)[2:]):
        return y
    return e.emit(n, onnx.SliceOp(y, list(first), [a + d for a, d in zip(first, out, strict=True)], [2, 3], [1, 1]))


def _space_to_depth(e: Emitter, n: Node) -> SSAValue:
    x, block = e.operand(n, 0), int(n.attr("blocksize", 1))
    if block == 1:
        return e.emit(n, onnx.IdentityOp(x))
    _, _, h, w = onnx.shape_of(x)
    parts = [
        e.emit(n, onnx.SliceOp(x, [i, j], [h, w], [2, 3], [block, block])) for i in range(block) for j in range(block)
    ]
    y = e.emit(n, onnx.ConcatOp(parts, 1))
    return e.emit(n, ChannelShuffleOp(y, block**2)) if n.attr("mode", "DCR") == "CRD" else y


def blocks_divide(node: Node) -> str | None:
    """blocksize divides H and W, its square the channels of DepthToSpace; mode is DCR or CRD"""
    shape, block, mode = node.shape(), int(node.attr("blocksize", 1)), node.attr("mode", "DCR")
    if block < 1 or mode not in ("DCR", "CRD"):
        return f"blocksize={block}, mode={mode} unsupported; requires a positive size, and DCR or CRD"
    if shape is None or len(shape) != 4:
        return None
    if node.op_type == "DepthToSpace":
        return None if shape[1] % block**2 == 0 else f"blocksize={block} of {shape[1]} channels; requires a multiple"
    fits = shape[2] % block == 0 and shape[3] % block == 0
    return None if fits else f"blocksize={block} of maps {text(shape[2:])}; requires multiples"


def taken(e: Emitter, n: Node, x: SSAValue, axis: int, indices: Sequence[int]) -> SSAValue:
    """Some indices of an axis of [N, C, H, W], in any order and number."""
    shape = onnx.shape_of(x)
    if list(indices) == list(range(shape[axis])):
        return x
    if axis > 1:
        order = [list(range(d)) for d in shape[2:]]
        order[axis - 2] = list(indices)
        return e.emit(n, TakeOp(x, *order))
    whole = (0, shape[axis])
    parts = [
        x if span == whole else e.emit(n, onnx.SliceOp(x, [span[0]], [span[1]], [1], [1])) for span in spans(indices)
    ]
    return parts[0] if len(parts) == 1 else e.emit(n, onnx.ConcatOp(parts, 1))


def spans(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of consecutive indices: the first, and one past the last."""
    found: list[tuple[int, int]] = []
    for i in indices:
        if found and found[-1][1] == i:
            found[-1] = found[-1][0], i + 1
        else:
            found.append((i, i + 1))
    return found


def repeated_pad(e: Emitter, n: Node, x: SSAValue, pads: Sequence[int], mode: str) -> SSAValue:
    """Pad with values of the map; `pads` [before of each axis, after of each axis]."""
    check_activation([d + pads[axis] + pads[axis + 4] for axis, d in enumerate(onnx.shape_of(x))])
    for axis, size in enumerate(onnx.shape_of(x)):
        x = taken(e, n, x, axis, [PAD_MODES[mode](i, size) for i in range(-pads[axis], size + pads[axis + 4])])
    return x


def _expand(e: Emitter, n: Node) -> SSAValue:
    x, shape = e.operand(n, 0), n.parameter_ints("shape", 1)
    assert shape is not None
    old = onnx.shape_of(x)
    return _repeated(e, n, x, [b // a for a, b in zip(old, np.broadcast_shapes(old, shape), strict=True)])


def _tile(e: Emitter, n: Node) -> SSAValue:
    repeats = n.parameter_ints("repeats", 1)
    assert repeats is not None
    return _repeated(e, n, e.operand(n, 0), repeats)


def _repeated(e: Emitter, n: Node, x: SSAValue, times: Sequence[int]) -> SSAValue:
    check_activation([size * count for size, count in zip(onnx.shape_of(x), times, strict=True)])
    for axis, (size, count) in enumerate(zip(onnx.shape_of(x), times, strict=True)):
        x = taken(e, n, x, axis, list(range(size)) * count)
    return x if any(count != 1 for count in times) else e.emit(n, onnx.IdentityOp(x))


def repeats_maps(node: Node) -> str | None:
    """A map [1,C,H,W] is repeated along C, H and W, a constant number of times"""
    shape = node.shape()
    if shape is None or len(shape) != 4:
        return None
    given = node.parameter_ints("repeats" if node.op_type == "Tile" else "shape", 1)
    if given is None:
        return "has no constant list of extents; requires one"
    if node.op_type == "Expand":
        try:
            whole = np.broadcast_shapes(shape, given)
        except ValueError:
            return f"expands {text(shape)} to {text(given)}; requires extents that are equal or 1"
        if len(whole) != 4:
            return f"expands {text(shape)} to {text(given)}; requires 4 dimensions"
        given = tuple(b // a for a, b in zip(shape, whole, strict=True))
    if len(given) != 4 or min(given) < 1 or given[0] != 1 or given[1] > MAX_PARTS:
        return f"repeats {text(shape)} {text(given)} times; requires C, H and W, channels at most {MAX_PARTS} times"
    return None


def is_picked(axis: int, step: int) -> bool:
    """Whether a slice with a step is made index by index: backwards, or of some channels."""
    return step < 0 or (axis == 1 and step != 1)


def slice_can_be_made(node: Node) -> str | None:
    """The result is not empty; negative steps, and other steps than 1 along C, are those of maps"""
    shape, steps = node.shape(), node.parameter_ints("steps", 4)
    starts, ends = node.parameter_ints("starts", 1), node.parameter_ints("ends", 2)
    if steps is not None and not all(steps):
        return f"steps={text(steps)} unsupported; requires steps that are not 0"
    if shape is None or starts is None or ends is None:
        return None
    axes = node.axes("axes", 3, len(shape)) or tuple(range(len(starts)))
    for s, e, a, st in zip(starts, ends, axes, steps or (1,) * len(starts), strict=True):
        indices = range(*slice(s, e, st).indices(shape[a]))
        if not indices:
            return f"slice {s}:{e}:{st} of axis {a} with {shape[a]} elements is empty; requires a non-empty result"
        if a == 0 and indices != range(shape[0]):
            return "slices the batch axis; requires axes C, H or W"
        if is_picked(a, st) and len(shape) != 4:
            return f"step {st} along axis {a} of {text(shape)} unsupported; requires a map, or positive steps"
        if a == 1 and is_picked(a, st) and len(spans(indices)) > MAX_PARTS:
            return f"step {st} picks {len(indices)} channels one by one; requires at most {MAX_PARTS}"
    return None


def pick(e: Emitter, n: Node) -> SSAValue:
    """Gather of constant indices along C, H or W; a single index drops the axis."""
    x, indices = e.operand(n, 0), n.const(1)
    assert indices is not None
    shape = onnx.shape_of(x)
    axis = n.axis(0, 4)
    y = taken(e, n, x, axis, [int(i) % shape[axis] for i in indices.reshape(-1)])
    if indices.ndim == 0:
        return e.emit(n, onnx.ReshapeOp(y, [d for i, d in enumerate(onnx.shape_of(y)) if i != axis]))
    return y if y != x else e.emit(n, onnx.IdentityOp(x))


def picks_from_a_map(node: Node) -> str | None:
    """Or constant indices along C, H or W of a map"""
    shape, indices = node.shape(), node.const(1)
    if indices is None:
        return "picks by indices that are computed from the model's input; requires constant indices"
    if shape is None:
        return None
    axis = node.axis(0, len(shape))
    if len(shape) != 4 or not 0 < axis < 4 or indices.ndim > 1:
        return f"picks along axis {axis} of {text(shape)}; requires axes C, H or W of [1,C,H,W] and a list of indices"
    if not indices.size or indices.min() < -shape[axis] or indices.max() >= shape[axis]:
        return f"picks indices beyond the {shape[axis]} of axis {axis}; requires those that there are"
    if axis == 1 and len(spans([int(i) for i in indices.reshape(-1)])) > MAX_PARTS:
        return f"picks {indices.size} channels in more than {MAX_PARTS} parts; requires fewer"
    return None


_MAP = (c.float_inputs, c.rank_4)

OPERATORS: Mapping[str, Operator] = {
    "DepthToSpace": Operator(_depth_to_space, (*_MAP, blocks_divide)),
    "Expand": Operator(_expand, (*_MAP, c.parameters_are_constant, repeats_maps), on_maps=OnMaps.MOVEMENT),
    "SpaceToDepth": Operator(_space_to_depth, (*_MAP, blocks_divide)),
    "Tile": Operator(_tile, (*_MAP, c.parameters_are_constant, repeats_maps), on_maps=OnMaps.MOVEMENT),
}
"""Operators by their names in ONNX."""
