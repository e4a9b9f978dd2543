"""Pools whose windows have gaps: the rows and columns of every window are put side by side, and these are pooled.

The maximum of a window may read a value twice, and so may the mean if it reads each as often: of windows that are cut
off by the edges of the map, as often as makes all of one length.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from xdsl.ir import SSAValue

from dialects import onnx, onnx_pools
from dialects.onnx_positions import TakeOp
from dialects.onnx_shapes import pool_extent
from escc.onnx_import.emitting import Emitter
from escc.onnx_import.limits import check_activation
from escc.onnx_import.node import Node

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


def dilated_pool(e: Emitter, n: Node, axes: Sequence[PoolAxis], mean: bool, include_pad: bool = False) -> SSAValue:
    """The maximum, or the mean, over windows with gaps: along the rows, then along the columns."""
    x = e.operand(n, 0)
    for i, axis in enumerate(axes):
        windows = axis.windows(mean, zeros=mean and include_pad)
        shape, indices = onnx.shape_of(x), [t for window in windows for t in window]
        check_activation((*shape[:2], *(len(indices) if j == i else d for j, d in enumerate(shape[2:]))))
        if axis.size in indices:
            x = e.emit(n, onnx.PadOp(x, [0] * 6 + [int(j == i) for j in (0, 1)]))
        order = [list(range(d)) for d in shape[2:]]
        order[i] = indices
        x = e.emit(n, TakeOp(x, *order))
        kernel = [1, 1]
        kernel[i] = len(windows[0])
        x = e.emit(n, onnx_pools.mean_of_blocks(x, kernel) if mean else onnx_pools.most_of_blocks(x, kernel))
    return x
