"""The normative integer arithmetic of the quantised level, as NumPy functions.

Tensors are batched NHWC arrays: activations `[N,H,W,C]` of int8 or uint8 (a stored 0 is the real 0), accumulators
int32. Compiler, interpreter and emulator must produce these integers. Matrix products run in floating point only
where a bound proves that every partial sum is an integer which the format holds exactly; otherwise in a wider
format, so the results never depend on the order of summation or on the BLAS in use.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from isa import elementary

Array: TypeAlias = NDArray[Any]

_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53
_BLOCK_ELEMENTS = 1 << 22
"""Patches are gathered for as many images, or rows of one image, at a time as fit this many elements."""
_CACHED_ELEMENTS = 1 << 15
"""64-bit intermediate values are worked on in pieces that stay in the cache."""
INT32_LOW, INT32_HIGH = -(1 << 31), (1 << 31) - 1


@dataclass(frozen=True)
class Addition:
    """Parameters of a residual addition: clamp((a*mult_a + b*mult_b + 2^(shift-1)) >> shift, lo, hi), int8 if
    `signed`.
    """

    mult_a: int
    mult_b: int
    shift: int
    lo: int
    hi: int
    signed: bool


def byte_dtype(signed: bool) -> np.dtype[Any]:
    """int8 or uint8."""
    return np.dtype(np.int8 if signed else np.uint8)


def fixed_point(multiplier: Array) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Nearest mult * 2^-shift to positive real factors.

    `multiplier` float64 of any shape, each in [0, 2^29]. Returns `mult` int32 in [0, 2^31) and `shift` uint8 in [1,
    62], with 31 significant bits unless the factor is below 2^-32. Raises ValueError on a negative, non-finite or
    too large factor.
    """
    m = np.asarray(multiplier, np.float64)
    if m.size and not (np.isfinite(m).all() and float(m.min()) >= 0 and float(m.max()) <= 2.0**29):
        raise ValueError("factors must be finite and in [0, 2^29]")
    fraction, exponent = np.frexp(m)  # m = fraction * 2^exponent, fraction in [1/2, 1)
    shift = np.clip(31 - exponent, 1, 62)
    mult = np.rint(np.ldexp(fraction, exponent + shift)).astype(np.int64)
    carry = mult == 1 << 31
    mult = np.where(carry, 1 << 30, mult)
    shift = np.where(carry, shift - 1, shift)
    return mult.astype(np.int32), shift.astype(np.uint8)


def _float_for(bound: int) -> np.dtype[Any]:
    """Format in which sums of integers bounded by `bound` in absolute value are exact."""
    if bound >= _EXACT_FLOAT64:
        raise ValueError(f"a sum of {bound} exceeds the exact range")
    return np.dtype(np.float32 if bound < _EXACT_FLOAT32 else np.float64)


def _magnitude(x: Array) -> int:
    return max(abs(int(x.min())), abs(int(x.max()))) if x.size else 0


def _int32(acc: Array) -> NDArray[np.int32]:
    if acc.size and (float(acc.min()) < INT32_LOW or float(acc.max()) > INT32_HIGH):
        raise OverflowError("accumulator exceeds int32")
    return acc.astype(np.int32)


def _extent(out: int, stride: int, kernel: int) -> int:
    """Input positions that `out` windows span."""
    return (out - 1) * stride + kernel


def _window_input(
    x: Array, kernel: Sequence[int], strides: Sequence[int], before: Sequence[int], out: Sequence[int], fill: int = 0
) -> Array:
    """`x` padded by `fill` or cropped so that output (0, 0) starts at (0, 0) and the last window just fits."""
    h, w = x.shape[1:3]
    need = [_extent(out[i], strides[i], kernel[i]) for i in (0, 1)]
    after = [max(0, need[0] - before[0] - h), max(0, need[1] - before[1] - w)]
    if any(before) or any(after):
        widths = [(0, 0), (before[0], after[0]), (before[1], after[1])] + [(0, 0)] * (x.ndim - 3)
        x = np.pad(x, widths, constant_values=fill)
    return x[:, : need[0], : need[1]]


def _tap(x: Array, r: int, s: int, strides: Sequence[int], out: Sequence[int]) -> Array:
    """Values that tap (r, s) reads for every output position."""
    return x[
        :, r : r + _extent(out[0], strides[0], 1) : strides[0], s : s + _extent(out[1], strides[1], 1) : strides[1]
    ]


def _conv_output(x: Array, r: int, s: int, strides: Sequence[int], pads: Sequence[int]) -> tuple[int, int]:
    oh = (x.shape[1] + pads[0] + pads[2] - r) // strides[0] + 1
    ow = (x.shape[2] + pads[1] + pads[3] - s) // strides[1] + 1
    if oh < 1 or ow < 1:
        raise ValueError("the window does not fit the padded input")
    return oh, ow


def conv2d(x: Array, weight: Array, strides: Sequence[int], pads: Sequence[int], groups: int = 1) -> NDArray[np.int32]:
    """Dense convolution: acc[n,y,x,k] = sum weight[k,r,s,j] * x[n, y*sy-pt+r, x*sx-pl+s, (k //
    (K/groups))*(C/groups) + j].

    `x` 8-bit [N,H,W,C]; `weight` int8 [K,R,S,C/groups]; `pads` [top, left, bottom, right]. Returns int32
    [N,OH,OW,K]. Raises OverflowError if an accumulator leaves int32.
    """
    k, r, s, cpg = weight.shape
    if x.shape[3] != cpg * groups or k % groups:
        raise ValueError(f"weight {weight.shape} and groups {groups} do not fit input {x.shape}")
    out = _conv_output(x, r, s, strides, pads)
    sums = int(np.abs(weight.astype(np.int64)).reshape(k, -1).sum(axis=1).max())
    dtype = _float_for(sums * _magnitude(x))
    w = weight.astype(dtype)
    acc = np.empty((x.shape[0], *out, k), np.int32)
    per_row = out[1] * max(k, r * s * x.shape[3])
    rows = max(1, min(out[0], _BLOCK_ELEMENTS // per_row))
    block = max(1, _BLOCK_ELEMENTS // (per_row * out[0]))
    for n in range(0, x.shape[0], block):
        for top in range(0, out[0], rows):
            part = (min(rows, out[0] - top), out[1])
            tile = _window_rows(x[n : n + block], top, (r, s), strides, pads, part).astype(dtype)
            acc[n : n + block, top : top + rows] = _int32(_conv_tile(tile, w, strides, part, groups))
    return acc


def _window_rows(
    x: Array, top: int, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], out: Sequence[int]
) -> Array:
    """`_window_input` of the output rows from `top` on, of the input rows that they read."""
    first = top * strides[0] - pads[0]
    last = first + _extent(out[0], strides[0], kernel[0])
    return _window_input(x[:, max(0, first) : max(0, last)], kernel, strides, (max(0, -first), pads[1]), out)


def _conv_tile(tile: Array, w: Array, strides: Sequence[int], out: Sequence[int], groups: int) -> Array:
    """Convolution of an input that is padded already."""
    k, _, _, cpg = w.shape
    kpg = k // groups
    if cpg == 1 and groups > 1:
        return _depthwise(tile, w, strides, out, kpg)
    if groups == 1:
        return _gemm_conv(tile, w, strides, out)
    parts = [
        _gemm_conv(tile[..., g * cpg : (g + 1) * cpg], w[g * kpg : (g + 1) * kpg], strides, out) for g in range(groups)
    ]
    return np.concatenate(parts, axis=3)


def _gemm_conv(x: Array, w: Array, strides: Sequence[int], out: Sequence[int]) -> Array:
    """Product of gathered patches [N*OH*OW, R*S*C] with the weights; `x` already padded."""
    k, r, s, c = w.shape
    n = x.shape[0]
    if r == s == 1:
        patches = _tap(x, 0, 0, strides, out)
    else:
        patches = np.empty((n, *out, r, s, c), x.dtype)
        for i in range(r):
            for j in range(s):
                patches[:, :, :, i, j] = _tap(x, i, j, strides, out)
    return (patches.reshape(-1, r * s * c) @ w.reshape(k, -1).T).reshape(n, *out, k)


def _depthwise(x: Array, w: Array, strides: Sequence[int], out: Sequence[int], kpg: int) -> Array:
    """One input channel per output channel, tap by tap; `x` already padded."""
    if kpg > 1:
        x = np.repeat(x, kpg, axis=3)
    _, r, s, _ = w.shape
    acc = np.zeros((x.shape[0], *out, x.shape[3]), x.dtype)
    product = np.empty_like(acc)
    for i in range(r):
        for j in range(s):
            np.multiply(_tap(x, i, j, strides, out), w[:, i, j, 0], out=product)
            acc += product
    return acc


def coeff_combine(x: Array, coefficients: Array, ic_shift: int, ic_bits: int) -> NDArray[np.int32]:
    """Coefficient stage: ic[n,y,x,k,v] = saturate((sum_c T[k,v,c] * x[n,y,x,c] + 2^(ic_shift-1)) >> ic_shift).

    `x` 8-bit [N,H,W,C]; `coefficients` int8 [K,V,C]; round half up, no rounding term for `ic_shift` 0;
    saturation to signed `ic_bits` bits. Returns int32 [N,H,W,K,V].
    """
    n, h, w, c = x.shape
    k, v, _ = coefficients.shape
    dtype = _float_for(c * _magnitude(x) * _magnitude(coefficients))
    matrix = coefficients.reshape(k * v, c).astype(dtype).T
    ic = (x.reshape(-1, c).astype(dtype) @ matrix).astype(np.int32)
    if ic_shift:
        ic += 1 << (ic_shift - 1)
        ic >>= ic_shift
    limit = 1 << (ic_bits - 1)
    return np.clip(ic, -limit, limit - 1).reshape(n, h, w, k, v)


def basis_conv2d(ic: Array, basis: Array, strides: Sequence[int], pads: Sequence[int]) -> NDArray[np.int32]:
    """Basis stage: acc[n,y,x,k] = sum basis[v,r,s] * ic[n, y*sy-pt+r, x*sx-pl+s, k, v].

    `ic` int32 [N,H,W,K,V]; `basis` int8 [V,R,S]. Returns int32 [N,OH,OW,K]. Raises OverflowError if an accumulator
    leaves int32.
    """
    v, r, s = basis.shape
    out = _conv_output(ic, r, s, strides, pads)
    dtype = _float_for(int(np.abs(basis.astype(np.int64)).sum()) * _magnitude(ic))
    matrix = basis.reshape(v, r * s).astype(dtype)
    acc = np.empty((ic.shape[0], *out, ic.shape[3]), np.int32)
    for n in range(ic.shape[0]):  # the bases meet every position once, then each tap is a shifted sum
        taps = _window_input(ic[n : n + 1].astype(dtype) @ matrix, (r, s), strides, pads, out)
        total = np.zeros((1, *out, ic.shape[3]), dtype)
        for i in range(r):
            for j in range(s):
                total += _tap(taps[..., i * s + j], i, j, strides, out)
        acc[n] = _int32(total)[0]
    return acc


def expanded(coefficients: Array, basis: Array) -> NDArray[np.int64]:
    """sum_v coefficients[k,v,c] * basis[v,r,s]: int64 [K, R, S, C], from int8 [K, V, C] and [V, R, S]."""
    k, v, c = coefficients.shape
    _, r, s = basis.shape
    flat = coefficients.transpose(0, 2, 1).reshape(k * c, v).astype(np.float64)
    # Sums of at most V products of integers of 8 bits are exact in float64, and its products are the fast ones.
    products = (flat @ basis.reshape(v, r * s).astype(np.float64)).astype(np.int64)
    return products.reshape(k, c, r, s).transpose(0, 2, 3, 1)


def add(a: Array, b: Array, addition: Addition) -> Array:
    """clamp((a*mult_a + b*mult_b + 2^(shift-1)) >> shift, lo, hi) in int64; `a`, `b` 8-bit of one shape."""
    q = a.astype(np.int64) * addition.mult_a
    q += b.astype(np.int64) * addition.mult_b
    q += 1 << (addition.shift - 1)
    q >>= addition.shift
    return np.clip(q, addition.lo, addition.hi).astype(byte_dtype(addition.signed))


def multiply(a: Array, b: Array, p: Addition) -> Array:
    """clamp((a*b*mult_a + 2^(shift-1)) >> shift, lo, hi) in int64; `a`, `b` 8-bit, of one shape or broadcast."""
    q = a.astype(np.int64) * b
    q *= p.mult_a
    q += 1 << (p.shift - 1)
    q >>= p.shift
    return np.clip(q, p.lo, p.hi).astype(byte_dtype(p.signed))


def requantize(
    acc: Array,
    bias: Array,
    mult: Array,
    shift: Array,
    lo: int,
    hi: int,
    signed: bool,
    table: Array | None = None,
    residual: Array | None = None,
    addition: Addition | None = None,
) -> Array:
    """q = clamp(((acc + bias[k])*mult[k] + 2^(shift[k]-1)) >> shift[k], lo, hi) in int64; then table; then residual
    addition.

    `acc` int32 [...,K]; `bias`, `mult`, `shift` integers [K], shift in [1, 62]. With `table` (256 bytes): q =
    table[q & 255], read as int8 if `signed`. With `residual` (8-bit, shape of `acc`) and `addition`: q = add(q,
    residual, addition). Returns int8 or uint8.
    """
    s = shift.astype(np.int64)
    b, m, rounding = bias.astype(np.int64), mult.astype(np.int64), np.left_shift(np.int64(1), s - 1)
    rows = acc.reshape(-1, acc.shape[-1])
    q = np.empty(rows.shape, byte_dtype(signed))
    step = max(1, _CACHED_ELEMENTS // rows.shape[1])
    for n in range(0, len(rows), step):
        wide = rows[n : n + step].astype(np.int64)
        wide += b
        wide *= m
        wide += rounding
        wide >>= s
        np.clip(wide, lo, hi, out=wide)
        q[n : n + step] = wide if table is None else table.view(q.dtype)[wide & 255]
    q = q.reshape(acc.shape)
    if residual is None:
        return q
    if addition is None:
        raise ValueError("a residual needs the parameters of the addition")
    return add(q, residual, addition)


def window_maxima(
    x: Array, kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int], out: Sequence[int]
) -> Array:
    """Maximum over the valid positions of each window; `out` [OH, OW]. Returns [N,OH,OW,C] of the dtype of `x`."""
    padded = _window_input(x, kernel, strides, pads, out, int(np.iinfo(x.dtype).min))
    best = _tap(padded, 0, 0, strides, out).copy()
    for r in range(kernel[0]):
        for s in range(kernel[1]):
            np.maximum(best, _tap(padded, r, s, strides, out), out=best)
    return best


def pool_counts(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    count_include_pad: bool,
    out: Sequence[int],
) -> NDArray[np.int64]:
    """Divisors of an average pooling, int64 [OH, OW]: positions of each window inside the tensor (or the padded
    tensor).
    """
    counts: list[NDArray[np.int64]] = []
    for i in (0, 1):
        start = np.arange(out[i], dtype=np.int64) * strides[i] - pads[i]
        low, high = (-pads[i], size[i] + pads[i + 2]) if count_include_pad else (0, size[i])
        counts.append(np.minimum(start + kernel[i], high) - np.maximum(start, low))
    return counts[0][:, None] * counts[1][None, :]


def avg_pool(
    x: Array,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    count_include_pad: bool,
    out: Sequence[int],
    mult: Array,
    count0: int,
    shift: int,
    lo: int,
    hi: int,
    signed: bool,
) -> Array:
    """clamp((sum*mult[n-count0] + 2^(shift-1)) >> shift, lo, hi): sum over valid positions, n of `pool_counts`.

    `x` 8-bit [N,H,W,C]; `mult` int32 [counts]; `out` [OH, OW]. Returns int8 or uint8 [N,OH,OW,C].
    """
    padded = _window_input(x, kernel, strides, pads, out)
    if tuple(out) == (1, 1):
        total = padded.sum(axis=(1, 2), keepdims=True, dtype=np.int64)
    else:
        total = np.zeros((x.shape[0], *out, x.shape[3]), np.int64)
        for r in range(kernel[0]):
            for s in range(kernel[1]):
                total += _tap(padded, r, s, strides, out)
    counts = pool_counts(x.shape[1:3], kernel, strides, pads, count_include_pad, out)
    total *= mult.astype(np.int64)[counts - count0][None, :, :, None]
    total += 1 << (shift - 1)
    total >>= shift
    return np.clip(total, lo, hi).astype(byte_dtype(signed))


def lookup(x: Array, table: Array) -> Array:
    """table[stored byte of x]: `x` int8 or uint8 of any shape, `table` 256 of int8 or uint8. Returns the table's
    dtype.
    """
    return table[x.view(np.uint8)]


def concat(inputs: Sequence[Array]) -> Array:
    """Concatenation over channels of 8-bit tensors of one dtype."""
    return np.concatenate(list(inputs), axis=3)


def shuffle(x: Array, groups: int, axis: int) -> Array:
    """Along `axis`, index j*groups + i of the result is index i*(size/groups) + j of x."""
    shape = x.shape
    split = x.reshape(*shape[:axis], groups, shape[axis] // groups, *shape[axis + 1 :])
    return np.ascontiguousarray(split.swapaxes(axis, axis + 1)).reshape(shape)


def take(x: Array, rows: Sequence[int], columns: Sequence[int]) -> Array:
    """out[n,y,x,c] = in[n, rows[y], columns[x], c]."""
    return np.ascontiguousarray(x[:, rows][:, :, columns])


def depth_to_space(x: Array, blocks: Sequence[int]) -> Array:
    """out[n, y*by + i, x*bx + j, c] = in[n, y, x, (i*bx + j)*C + c], C channels in the result; `blocks` [by, bx]."""
    (by, bx), (n, h, w, c) = blocks, x.shape
    split = x.reshape(n, h, w, by, bx, c // (by * bx))
    return np.ascontiguousarray(split.transpose(0, 1, 3, 2, 4, 5)).reshape(n, h * by, w * bx, -1)


def slice_pad(x: Array, offsets: Sequence[int], strides: Sequence[int], shape: Sequence[int]) -> Array:
    """out[n,y,x,c] = in[n, y*sy + oy, x*sx + ox, c + oc], 0 outside; `offsets` [oy, ox, oc], `shape` [OH, OW, OC]."""
    y = np.zeros((x.shape[0], *shape), x.dtype)
    source: list[slice] = [slice(None)]
    target: list[slice] = [slice(None)]
    for size, out, offset, stride in zip(x.shape[1:], shape, offsets, (*strides, 1), strict=True):
        first = max(0, -(offset // stride))  # smallest output index that reads at 0 or after
        last = min(out - 1, (size - 1 - offset) // stride)
        if last < first:
            return y
        target.append(slice(first, last + 1))
        source.append(slice(first * stride + offset, last * stride + offset + 1, stride))
    y[tuple(target)] = x[tuple(source)]
    return y


def map_shape(shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The map [N,C,H,W] whose values in their order are those of an input [N], [N,C], [N,C,L], [N,C,H,W] or
    [N,C,D,H,W]. Raises ValueError for other ranks.
    """
    match tuple(shape):
        case (n, c, d, h, w):
            return n, c, d * h, w
        case (n, c, h, w):
            return n, c, h, w
        case (n, c, length):
            return n, c, 1, length
        case (n, c):
            return n, c, 1, 1
        case (n,):
            return n, 1, 1, 1
        case _:
            raise ValueError(f"{len(shape)} dimensions; requires 1 to 5")


def quantize_input(x: Array, scale: float, signed: bool) -> Array:
    """q = clamp(round_half_even(x / scale)) in double precision; float [N,C,H,W], or [N,...] that `map_shape` takes,
    to NHWC [N,H,W,C] of int8 or uint8.
    """
    limits = np.iinfo(byte_dtype(signed))
    q = np.empty(x.shape, byte_dtype(signed))
    values, results = x.reshape(-1), q.reshape(-1)
    for n in range(0, values.size, _BLOCK_ELEMENTS):
        steps = np.rint(values[n : n + _BLOCK_ELEMENTS].astype(np.float64) / scale)
        results[n : n + _BLOCK_ELEMENTS] = np.clip(steps, limits.min, limits.max)
    return np.ascontiguousarray(q.reshape(map_shape(q.shape)).transpose(0, 2, 3, 1))


def batched_shape(shape: Sequence[int], images: int) -> tuple[int, ...]:
    """Shape of an output for several images: they take the place of a first extent of 1, else they come before it."""
    return (images, *shape[1:]) if tuple(shape[:1]) == (1,) else (images, *shape)


def declared(x: Array, shape: Sequence[int]) -> Array:
    """A batched output of one image in the shape that the model declares; of several as it is.

    An extent of 0 in the shape is one that depends on the values.
    """
    if x.size == math.prod(shape):
        return x.reshape(tuple(shape))
    return x[0] if 0 in shape and len(x) == 1 and x.ndim == len(shape) + 1 else x


def dequantize_output(
    q: Array, scale: float, shape: Sequence[int], view: Sequence[int] = (), perm: Sequence[int] = ()
) -> NDArray[np.float32]:
    """x = q * scale of integers [N,H,W,C], float32 in `batched_shape(shape, N)`.

    The values of each image are in the order of [C,H,W], or of that reshaped to `view` and transposed by `perm`.
    """
    x = np.ascontiguousarray((q.astype(np.float64) * scale).astype(np.float32).transpose(0, 3, 1, 2))
    if perm:
        x = np.ascontiguousarray(x.reshape(len(q), *view).transpose(0, *(axis + 1 for axis in perm)))
    return x.reshape(batched_shape(shape, len(q)))


def arg_max(x: Array, axis: int, last: bool) -> NDArray[np.int64]:
    """Index of the largest value along `axis`, which stays with extent 1: of equal values the first, or the `last`."""
    if not last:
        return np.argmax(x, axis=axis, keepdims=True)
    return x.shape[axis] - 1 - np.argmax(np.flip(x, axis), axis=axis, keepdims=True)


def answers(y: Array) -> NDArray[np.int64]:
    """The class of every image in the output [N, ...] of a classifier: what it chose itself, or its largest score."""
    flat = y.reshape(len(y), -1)
    return flat[:, 0].astype(np.int64) if y.dtype.kind in "iu" else flat.argmax(axis=1)


def softmax(x: Array, axis: int) -> NDArray[np.float32]:
    """Softmax along `axis`, stabilised by the maximum, in double precision; returns float32."""
    z = np.asarray(x, np.float64)
    e = elementary.exp(z - z.max(axis=axis, keepdims=True))
    return (e / e.sum(axis=axis, keepdims=True)).astype(np.float32)


def log_softmax(x: Array, axis: int) -> NDArray[np.float32]:
    """Logarithm of Softmax along `axis`, stabilised by the maximum, in double precision; returns float32."""
    z = np.asarray(x, np.float64)
    z = z - z.max(axis=axis, keepdims=True)
    return (z - elementary.log(elementary.exp(z).sum(axis=axis, keepdims=True))).astype(np.float32)
