"""Operators on [N,C], [N,C,L] and [N,C,D,H,W] work on maps, between two reshapes that cancel with their neighbours'.

A vector is a map [N,C,1,1], a signal a map of one row, and the rows of a volume are those of its slices one after the
other, as `isa.reference.map_shape` has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from xdsl.ir import SSAValue

from dialects import onnx
from dialects.onnx_shapes import MAP_AXES
from escc.onnx_import.emitting import Emitter, OnMaps
from escc.onnx_import.node import Array, Node, Value
from isa.reference import map_shape

_FIRST = {"kernel_shape": [1], "strides": [1], "dilations": [1], "output_padding": [0]}
"""What attributes say of the axis of one row."""
_WINDOW_AXES = ("kernel_shape", "strides", "dilations", "output_padding")
"""Attributes with one value for each axis of a window."""


def as_map(e: Emitter, node: Node, x: SSAValue) -> SSAValue:
    """A tensor of any rank as a map."""
    shape = onnx.shape_of(x)
    return x if len(shape) == 4 else e.emit(node, onnx.ReshapeOp(x, map_shape(shape)))


@dataclass(frozen=True)
class OtherRank:
    """A node on tensors of another rank than 4, one of which has all extents of `shape`."""

    shape: tuple[int, ...]
    how: OnMaps

    @classmethod
    def of(cls, node: Node, how: OnMaps | None) -> OtherRank | None:
        """What a node works on, `how` as its operator says; None if it is no operator of maps, or if the tensors
        cannot become maps.
        """
        if how is None:
            return None
        given = [value for value in node.inputs if value is not None]
        computed = [value for value in given if value.const is None]
        if not computed or any(value.ssa is None or not value.shape for value in computed):
            return None
        shapes = [value.shape for value in computed if value.shape is not None]
        ranks = {len(shape) for shape in shapes}
        rank = ranks.pop()
        if ranks or not _becomes_maps(node, rank, how):
            return None
        return cls(tuple(max(extents) for extents in zip(*shapes, strict=True)), how)

    def on_maps(self, e: Emitter, node: Node) -> Node:
        """The node on maps; what it reads is reshaped here."""
        if self.how is OnMaps.MOVEMENT:
            return self._moved(e, node)
        wide = [None if value is None else self._as_map(e, node, value) for value in node.inputs]
        attributes = dict(node.attributes)
        if self.how is OnMaps.WINDOWS:
            attributes |= _window_of_signal(node) if len(self.shape) == 3 else _window_of_slice(node)
        return replace(node, inputs=wide, attributes=attributes)

    def back(self, e: Emitter, node: Node, results: Sequence[SSAValue]) -> list[SSAValue]:
        """Results of the node, which are maps, in its rank."""
        return [e.emit(node, onnx.ReshapeOp(x, self._shape_of(onnx.shape_of(x)))) for x in results]

    def _shape_of(self, found: tuple[int, ...]) -> tuple[int, ...]:
        n, c, h, w = found
        match len(self.shape):
            case 2:
                return n, c
            case 3:
                return n, c, w
            case _:
                depth = 1 if h == 1 else self.shape[2]
                return n, c, depth, h // depth, w

    def _as_map(self, e: Emitter, node: Node, value: Value) -> Value:
        if value.shape is None:
            return value
        if value.const is None:
            assert value.ssa is not None
            reshaped = e.emit(node, onnx.ReshapeOp(value.ssa, map_shape(value.shape)))
            return Value(value.name, onnx.shape_of(reshaped), value.dtype, ssa=reshaped)
        if self.how is OnMaps.WINDOWS and len(value.shape) == len(self.shape):
            return _weights(value)
        if self.how is not OnMaps.BROADCAST:
            return value
        aligned = (1,) * (len(self.shape) - len(value.shape)) + value.shape
        return Value.constant(value.name, value.const.reshape(map_shape(aligned)), value.origin)

    def _moved(self, e: Emitter, node: Node) -> Node:
        """A node that says by axes what it does, with those of the map."""
        rank, attributes, inputs = len(self.shape), dict(node.attributes), list(node.inputs)
        for i, value in enumerate(inputs):
            if value is not None and value.const is None:
                inputs[i] = self._as_map(e, node, value)
        match node.op_type:
            case "Concat" | "Gather" | "Split":
                attributes["axis"] = MAP_AXES[rank][node.axis(0, rank)]
            case "Expand" | "Tile":
                extents = node.const(1)
                assert extents is not None
                given = np.ones(4, np.int64)
                given[list(MAP_AXES[rank].values())] = extents
                inputs[1] = Value.constant(f"{node.name}/extents", given, node.name)
            case _:
                there = np.asarray([MAP_AXES[rank][a] for a in _listed_axes(node, rank)], np.int64)
                attributes.pop("axes", None)
                if node.op_type == "Pad":
                    pads = np.zeros((2, 4), np.int64)
                    pads[:, there] = np.reshape(node.parameter_ints("pads", 1) or (), (2, -1))
                    attributes["pads"] = pads.reshape(-1).tolist()
                    inputs = [inputs[0], None, *inputs[2:3]]
                else:
                    inputs += [None] * (4 - len(inputs))
                    inputs[3] = Value.constant(f"{node.name}/axes", there, node.name)
        return replace(node, inputs=inputs, attributes=attributes)


def waits_for_its_rank(node: Node) -> bool:
    """Whether a window of a signal or a volume stands on a tensor of which no shape is known: as that of a map, which
    it would have become, it cannot be judged."""
    kernel = node.attr("kernel_shape")
    return node.shape() is None and kernel is not None and len(kernel) != 2


def _listed_axes(node: Node, rank: int) -> tuple[int, ...]:
    """Axes that a Slice or Pad names; the first ones where it lists none."""
    axes = node.axes("axes", 3, rank)
    if axes is not None:
        return axes
    given = node.parameter_ints("pads" if node.op_type == "Pad" else "starts", 1) or ()
    return tuple(range(len(given) // (1 + (node.op_type == "Pad"))))


def _becomes_maps(node: Node, rank: int, how: OnMaps) -> bool:
    """Whether a node of maps works on tensors of another rank in the same way."""
    match how:
        case OnMaps.WINDOWS:
            return rank == 3 or (rank == 5 and _stays_in_a_slice(node))
        case OnMaps.CHANNELS:
            return rank in (3, 5)
        case OnMaps.BROADCAST:
            return rank in (2, 3, 5) and _aligned(node, rank)
        case OnMaps.MOVEMENT:
            return rank in (2, 3, 5) and _is_movement(node, rank)


def _aligned(node: Node, rank: int) -> bool:
    """Whether operands that differ in shape become maps that broadcast alike. Those of one shape need none for it."""
    given = [value for value in node.inputs if value is not None and value.shape is not None]
    shapes = {value.shape for value in given if value.const is None or value.const.size > 1}
    if len(shapes) < 2 or any(len(shape) > rank for shape in shapes if shape is not None):
        return False
    aligned = [(1,) * (rank - len(shape)) + shape for shape in shapes if shape is not None]
    return rank < 5 or len({shape[2:4] for shape in aligned} - {(1, 1)}) < 2


def _is_movement(node: Node, rank: int) -> bool:
    """Whether all that a node says of axes can be said of those of a map."""
    if any(value is not None and value.const is None for value in node.inputs[1:]) and node.op_type != "Concat":
        return False
    match node.op_type:
        case "Concat":
            return rank == 3 and node.axis(0, rank) == 2
        case "Gather":
            indices = node.const(1)
            return indices is not None and indices.ndim == 1 and node.axis(0, rank) in MAP_AXES[rank]
        case "Split":
            return node.axis(0, rank) in MAP_AXES[rank]
        case "Expand" | "Tile":
            given = node.const(1)
            return rank < 5 and given is not None and given.shape == (rank,)
        case _:
            axes = _listed_axes(node, rank)
            pads = node.parameter_ints("pads", 1) if node.op_type == "Pad" else None
            return all(a in MAP_AXES[rank] for a in axes) and (pads is None or len(pads) == 2 * len(axes))


def _window_of_signal(node: Node) -> dict[str, list[int]]:
    """The attributes of a window over a signal as those of one over a map of one row."""
    changed = {name: [*row, *node.ints(name)] for name, row in _FIRST.items() if len(node.ints(name)) == 1}
    pads = node.ints("pads")
    return changed | ({"pads": [0, pads[0], 0, pads[1]]} if len(pads) == 2 else {})


def _window_of_slice(node: Node) -> dict[str, list[int]]:
    """The attributes of a window over one slice of a volume as those of one over a map."""
    changed = {name: [*node.ints(name)[1:]] for name in _WINDOW_AXES if len(node.ints(name)) == 3}
    pads = node.ints("pads")
    return changed | ({"pads": [*pads[1:3], *pads[4:]]} if len(pads) == 6 else {})


def _stays_in_a_slice(node: Node) -> bool:
    """Whether a window over a volume never leaves a slice: it is one slice deep and goes through all of them.

    Where there are several slices, the window has one row too, so that it sees nothing of the next slice.
    """
    shape, weights = node.shape(), node.shape(1)
    kernel = weights[2:] if weights is not None else node.ints("kernel_shape")
    if shape is None or len(kernel) != 3:
        return False
    strides, pads, padding = (node.ints(n) for n in ("strides", "pads", "output_padding"))
    strides, pads, padding = strides or (1, 1, 1), pads or (0,) * 6, padding or (0, 0, 0)
    if len(strides) != 3 or len(pads) != 6 or len(padding) != 3 or (1, 1, 1, *node.ints("output_shape"))[-3] != 1:
        return False
    still = [axis for axis in (0, 1) if axis == 0 or shape[2] > 1]
    alone = all(kernel[a] == 1 and pads[a] == pads[a + 3] == padding[a] == 0 for a in still)
    return alone and (shape[2] == 1 or strides[:2] == (1, 1))


def _weights(value: Value) -> Value:
    """Weights [M, C, L], or [M, C, 1, R, S] of one slice, as those of windows of rows and columns."""
    assert value.const is not None
    rank = value.const.ndim

    def reshaped(x: Array) -> Array:
        return np.expand_dims(x, -2) if rank == 3 else np.squeeze(x, 2)

    made = Value.constant(value.name, reshaped(value.const), value.origin)
    if value.quantised is not None:
        q = value.quantised
        moved = q.axis + (q.axis == 2) if rank == 3 else q.axis - (q.axis > 2)
        made.quantised = replace(q, data=reshaped(q.data), axis=moved)
    return made
