"""What a model may ask of the importer: a stated limit instead of a machine that runs out of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_NODES = 1 << 14
"""Nodes of the graph, calls of functions replaced by what they stand for."""
MAX_FUNCTION_BYTES = 1 << 28
"""Bytes of the nodes that calls of functions are replaced by."""
MAX_CALL_DEPTH = 64
"""Functions that call one another."""
MAX_ACTIVATION = 1 << 26
"""Elements of an input or of the result of a node."""
MAX_PRODUCTS = 1 << 37
"""Multiplications of one convolution."""
MAX_POOLED = 1 << 30
"""Values that all windows of one pool hold together."""
MAX_COMPUTED = 1 << 24
"""Elements of all constants that are computed at import; a model of more bytes may have as many as it has bytes."""
MAX_EXTERNAL_BYTES = 1 << 31
"""Bytes that a model may read of files beside it: as many as a model without such files can hold."""


def check_activation(shape: Sequence[int]) -> None:
    """Raise ValueError for a tensor without elements, or with more than `MAX_ACTIVATION`."""
    count = math.prod(shape)
    if count < 1:
        raise ValueError(f"tensor of shape {list(shape)} holds no elements; requires at least one")
    if count > MAX_ACTIVATION:
        raise ValueError(
            f"tensor of shape {list(shape)} has {count:,} elements; requires at most {MAX_ACTIVATION:,}: "
            "export the model for a smaller input"
        )


def check_windows(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], products: int | None
) -> None:
    """Raise ValueError for windows on [N,C,H,W] or [N,C,D,H,W] that ask for too much memory or work.

    `products` are the multiplications of a convolution at one position, None for a pool.
    """
    axes = range(len(kernel))
    extent = [shape[2 + i] + pads[i] + pads[len(axes) + i] for i in axes]
    check_activation((*shape[:2], *extent))
    positions = math.prod(max(0, (extent[i] - kernel[i]) // strides[i] + 1) for i in axes)
    if products:
        work, most = positions * products, MAX_PRODUCTS
    else:
        # A place of the window costs as much as 1,024 values, however few positions there are.
        least = 1 if tuple(kernel) == tuple(extent) else 1024
        work, most = max(positions * shape[1], least) * math.prod(kernel), MAX_POOLED
    if work > most:
        what = "multiplications" if products else "values in its windows"
        raise ValueError(f"{work:,} {what}; requires at most {most:,}: export the model for a smaller input or window")
