"""Pools whose windows have gaps or reach through slices of a volume: what every window reads along an axis is put side
by side, and that is pooled, one axis after the other.

The maximum of a window may read a value twice, and so may the mean if it reads each as often: of windows that are cut
off by the edges of the map, as often as makes all of one length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xdsl.ir import SSAValue

from dialects import onnx, onnx_pools
from dialects.onnx_positions import TakeOp
from dialects.onnx_shapes import pool_extent
from escc.onnx_import.emitting import Emitter
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import Node
from escc.onnx_import.ranks import as_map

MAX_LENGTH = 256
"""Values that one window may read along an axis."""


@dataclass(frozen=True)
class PoolAxis:
    """One axis of a pool: extent, taps of a window and how far they lie apart, stride, zeros before and after."""

    size: int
    taps: int
    dilation: int
    stride: int
    pads: tuple[int, int]
    ceil_mode: bool

    @property
    def reach(self) -> int:
        """Extent of a window with its gaps."""
        return (self.taps - 1) * self.dilation + 1

    @property
    def out(self) -> int:
        """Results. Raises ValueError for a window that does not fit."""
        return pool_extent(self.size, self.reach, self.stride, *self.pads, self.ceil_mode)

    def windows(self, mean: bool, zeros: bool) -> list[list[int]]:
        """Indices that each window reads, all lists of one length; for a `mean`, each index as often as the others.

        With `zeros`, `size` is the index of a padded value, which counts. Raises ValueError for windows without a
        value, and where the lists become too long.
        """
        found: list[list[int]] = []
        for i in range(self.out):
            first = i * self.stride - self.pads[0]
            taps = range(first, first + self.reach, self.dilation)
            inside = [t for t in taps if 0 <= t < self.size]
            padded = sum(not 0 <= t < self.size and t < self.size + self.pads[1] for t in taps) if zeros else 0
            found.append([*inside, *[self.size] * padded])
        if not all(found):
            raise ValueError("has windows without a value of the map; requires smaller pads")
        if not mean:
            return [[*window, *[window[-1]] * (self.taps - len(window))] for window in found]
        length = math.lcm(*map(len, found))
        if length > MAX_LENGTH:
            raise ValueError(f"windows at the edges make {length} values of each; requires at most {MAX_LENGTH}")
        return [window * (length // len(window)) for window in found]


def pool_by_axes(
    e: Emitter, n: Node, x: SSAValue, axes: Sequence[PoolAxis], mean: bool, zeros: bool = False
) -> SSAValue:
    """The maximum, or the mean, over windows of a map, or of a volume, whose axes are slices, rows and columns. With
    `zeros`, padded values are zeros that count for the mean.
    """
    inner = replace(n, name=f"{n.name}/windows")
    shape, x = onnx.shape_of(x), as_map(e, inner, x)
    extents, blocks = [axis.size for axis in axes], [1, 1]

    def pooled(x: SSAValue, n: Node) -> SSAValue:
        if blocks == [1, 1]:
            return x
        return e.emit(n, onnx_pools.mean_of_blocks(x, blocks) if mean else onnx_pools.most_of_blocks(x, blocks))

    for i, axis in enumerate(axes):
        windows, of_map = axis.windows(mean, zeros), int(i == len(axes) - 1)
        reads = [t for window in windows for t in window]
        if of_map == 0 and len(axes) == 3:
            reads = _rows_of_slices(windows, extents[:2], i)
        if reads != list(range(onnx.shape_of(x)[2 + of_map])) or blocks[of_map] > 1:
            x, blocks = pooled(x, inner), [1, 1]
        whole = onnx.shape_of(x)
        order = [list(range(d)) for d in whole[2:]]
        if reads != order[of_map]:
            check_activation((*whole[:2], len(reads), whole[3 - of_map]))
            if whole[2 + of_map] in reads:
                x = e.emit(inner, onnx.PadOp(x, [0] * 6 + [1 - of_map, of_map]))
            order[of_map] = reads
            x = e.emit(inner, TakeOp(x, *order))
        blocks[of_map], extents[i] = len(windows[0]), len(windows)
    x = pooled(x, n)
    return x if len(axes) == 2 else e.emit(n, onnx.ReshapeOp(x, (*shape[:2], *extents)))


def _rows_of_slices(windows: Sequence[Sequence[int]], extents: Sequence[int], axis: int) -> list[int]:
    """The rows that windows over slices (axis 0) or over rows of each slice (axis 1) read, in the map of a volume of
    `extents` [slices, rows]; the row after the last one holds zeros.
    """
    slices, rows = extents

    def row(number: int, inside: int) -> int:
        return number * rows + inside if number < slices and inside < rows else slices * rows

    if axis == 0:
        return [row(t, inside) for window in windows for inside in range(rows) for t in window]
    return [row(number, t) for number in range(slices) for window in windows for t in window]
