"""Float CNN kernels on NumPy arrays, NCHW with any batch: what the `onnx` interpreter computes with.

Results are the same on every processor, for the compiler decides by them: sums run in a fixed order or are exact (see
`isa.exact`), and elementary functions are those of `isa.elementary`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from isa import elementary, exact

Array = NDArray[np.float32]

_BLOCK_COLUMNS = 1 << 12
"""Positions of small maps that go through the weights together, about."""
_BLOCK_ELEMENTS = 1 << 23
"""Windows are gathered for as many rows of a convolution's output at a time as fit this many elements."""


def padded(x: Array, pads: Sequence[int], value: float = 0.0) -> Array:
    """x [N,C,H,W] with `pads` [top, left, bottom, right] of `value` around it; x itself when there are none."""
    top, left, bottom, right = pads
    if not any(pads):
        return x
    n, c, h, w = x.shape
    out = np.full((n, c, h + top + bottom, w + left + right), value, x.dtype)
    out[:, :, top : top + h, left : left + w] = x
    return out


def _depthwise(x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], extent: tuple[int, int]) -> Array:
    # One multiply-add over whole maps for each tap of the window, image by image so that the maps stay in cache.
    (kh, kw), (sy, sx), (dy, dx), (oh, ow) = w.shape[2:], strides, dilations, extent
    out = np.empty((x.shape[0], w.shape[0], oh, ow), np.float32)
    product = np.empty(out.shape[1:], np.float32)
    for image, y in zip(x, out, strict=True):
        y[...] = 0
        for r in range(kh):
            for s in range(kw):
                rows, columns = r * dy, s * dx
                taps = image[:, rows : rows + (oh - 1) * sy + 1 : sy, columns : columns + (ow - 1) * sx + 1 : sx]
                np.multiply(taps, w[:, 0, r, s, None, None], out=product)
                y += product
    return out


def _products(
    x: Array, w: Array, strides: Sequence[int], dilations: Sequence[int], group: int, extent: tuple[int, int]
) -> Array:
    """Convolution of the padded x by products of as many bits of the weights and of each image as are exact."""
    n, (m, cpg, kh, kw), (sy, sx), (oh, ow) = x.shape[0], w.shape, strides, extent
    dy, dx = dilations
    window = ((kh - 1) * dy + 1, (kw - 1) * dx + 1)
    matrix, bits = exact.weights(w.reshape(group, m // group, cpg * kh * kw), axis=2)
    rows = matrix.step.reshape(1, m, 1, 1)
    out = np.empty((n, m, oh, ow), np.float32)
    # Small maps of several images go through the weights together: the sums are exact, so that nothing else changes.
    together = max(1, min(_BLOCK_COLUMNS, _BLOCK_ELEMENTS // max(m, group * cpg * kh * kw)) // (oh * ow))
    for first in range(0, n, together):
        fixed = exact.FixedPoint.of(x[first : first + together], bits, axis=(1, 2, 3))
        view = np.lib.stride_tricks.sliding_window_view(fixed.values, window, axis=(2, 3))
        view = view[:, :, : (oh - 1) * sy + 1 : sy, : (ow - 1) * sx + 1 : sx, ::dy, ::dx]
        step = max(1, _BLOCK_ELEMENTS // (len(view) * ow * max(m, group * cpg * kh * kw)))
        for top in range(0, oh, step):
            part = view[:, :, top : top + step]
            columns = part.transpose(1, 4, 5, 0, 2, 3).reshape(group, cpg * kh * kw, -1)
            sums = np.matmul(matrix.values, columns).reshape(m, len(part), -1, ow).transpose(1, 0, 2, 3)
            with np.errstate(over="ignore"):  # infinite as float32, which whoever reads it will say
                target = out[first : first + together, :, top : top + step]
                np.multiply(sums, rows * fixed.step, out=target, casting="same_kind")
    return out


def conv(
    x: Array,
    w: Array,
    bias: Array | None,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    group: int,
    extent: tuple[int, int],
) -> Array:
    """2-D convolution of x [N,C,H,W] with w [M,C/group,kH,kW] to [N,M,*extent]."""
    c, (m, cpg) = x.shape[1], w.shape[:2]
    x = padded(x, pads)
    if cpg == 1 and group == c:
        out = _depthwise(x if m == c else np.repeat(x, m // c, axis=1), w, strides, dilations, extent)
    else:
        out = _products(x, w, strides, dilations, group, extent)
    if bias is not None:
        out += bias[:, None, None]
    return out


def softmax(x: Array, axis: int) -> Array:
    """Stabilised by the maximum."""
    e = elementary.exp(x - x.max(axis=axis, keepdims=True))
    return (e / e.sum(axis=axis, keepdims=True)).astype(np.float32)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return elementary.sigmoid(x).astype(np.float32)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent."""
    return elementary.tanh(x).astype(np.float32)


def elu(x: Array, alpha: float) -> Array:
    """x, below zero alpha * (exp(x) - 1)."""
    return np.where(x >= 0, x, alpha * elementary.expm1(np.minimum(x, 0))).astype(np.float32)


def matmul(a: Array, b: Array) -> Array:
    """Product of matrices [..., M, D] and [..., D, N]."""
    with np.errstate(over="ignore"):
        return exact.multiply(a, b).astype(np.float32)


def along(vector: NDArray[np.generic], axis: int, rank: int) -> NDArray[np.generic]:
    """A scalar as it is, a vector shaped to broadcast along `axis` of a tensor of `rank` dimensions."""
    return vector if vector.ndim == 0 else vector.reshape([-1 if i == axis else 1 for i in range(rank)])


def quantize(x: Array, scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int) -> NDArray[np.generic]:
    """saturate(round_half_even(x / scale) + zero_point) in the type of zero_point, int8 or uint8."""
    low, high = (-128, 127) if zero_point.dtype == np.int8 else (0, 255)
    q = np.rint(x / along(scale, axis, x.ndim).astype(np.float32)) + along(zero_point, axis, x.ndim).astype(np.float32)
    return np.clip(q, low, high).astype(zero_point.dtype)


def dequantize(x: NDArray[np.generic], scale: NDArray[np.generic], zero_point: NDArray[np.generic], axis: int) -> Array:
    """(x - zero_point) * scale."""
    difference = x.astype(np.int32) - along(zero_point, axis, x.ndim).astype(np.int32)
    return difference.astype(np.float32) * along(scale, axis, x.ndim).astype(np.float32)
