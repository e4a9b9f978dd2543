"""Values at other positions, on torch tensors."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dialects import esc_positions, onnx_positions
from dialects.attributes import ints

Unary = Callable[[Tensor], Tensor]


def taken(op: esc_positions.TakeOp | onnx_positions.TakeOp) -> Unary:
    """Rows and columns of maps [N, C, H, W] in another order and number."""
    rows, columns = list(ints(op.rows)), list(ints(op.columns))
    return lambda x: x[:, :, rows][:, :, :, columns]


def depth_to_space(op: esc_positions.DepthToSpaceOp | onnx_positions.DepthToSpaceOp) -> Unary:
    """Channels of maps [N, C, H, W] as positions."""
    by, bx = ints(op.blocks)

    def move(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        split = x.reshape(n, by, bx, c // (by * bx), h, w)
        return split.permute(0, 3, 4, 1, 5, 2).reshape(n, -1, h * by, w * bx)

    return move
