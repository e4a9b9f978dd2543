"""The host's part of a run: floats to stored bytes and back (arithmetic: `isa.reference`)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emulator.kernels import Bytes
from isa.arrays import Input
from isa.errors import UserError
from isa.program import Port
from isa.reference import dequantize_output, log_softmax, quantize_input, softmax


def quantise(port: Port, x: NDArray[Any]) -> Bytes:
    """Stored NHWC bytes [N, h*w*c] of float inputs [N, *port.shape[1:]] (or one without N).

    Raises `UserError` on a wrong shape, a NaN or elements that are not numbers.
    """
    want = port.shape[1:]
    if x.shape == want:
        x = x[None]
    if x.ndim != len(want) + 1 or x.shape[1:] != want or not len(x):
        raise UserError(
            f"input '{port.name}': shape {list(x.shape)} does not fit; requires {shape_text(port)}",
            Input(port.name, want).note(x.shape),
        )
    if x.dtype.kind not in "fiub":
        raise UserError(f"input '{port.name}': elements of type {x.dtype}; requires numbers")
    if not np.isfinite(x).all():
        raise UserError(f"input '{port.name}': holds NaN or infinite values")
    t = port.tensor
    if port.perm:
        inverse = (0, *(port.perm.index(axis) + 1 for axis in range(len(port.perm))))
        x = x.reshape(len(x), *(port.view[axis] for axis in port.perm)).transpose(inverse)
    return quantize_input(x.reshape(len(x), t.c, t.h, t.w), t.scale, t.signed).view(np.uint8).reshape(len(x), -1)


def shape_text(port: Port) -> str:
    """The shape that arrays for a port must have, for diagnostics."""
    return f"[N, {', '.join(map(str, port.shape[1:]))}]"


def dequantise(port: Port, q: NDArray[Any]) -> NDArray[Any]:
    """Outputs in `batched_shape(port.shape, N)` of stored integers [N, h, w, c]: float32, int64 behind an ArgMax."""
    x, rank = dequantize_output(q, port.tensor.scale, port.scores, port.view, port.perm), len(port.scores)
    if port.softmax_axis is not None:
        x = (log_softmax if port.logarithm else softmax)(x, port.softmax_axis - rank)
    return x if port.arg_max is None else port.arg_max.of(x, port.shape)


def split_sample(inputs: tuple[Port, ...], sample: bytes) -> list[Bytes]:
    """The embedded sample as stored bytes [1, h*w*c] of every input. Raises `UserError` if there is none."""
    sizes = [p.tensor.h * p.tensor.w * p.tensor.c for p in inputs]
    if len(sample) != sum(sizes):
        what = f"holds {len(sample)} bytes, the inputs {sum(sizes)}" if sample else "this binary has none"
        raise UserError(f"embedded sample: {what}", "give an input with --input")
    flat = np.frombuffer(sample, np.uint8)
    ends = np.cumsum(sizes)
    return [flat[end - size : end].reshape(1, -1) for size, end in zip(sizes, ends, strict=True)]
