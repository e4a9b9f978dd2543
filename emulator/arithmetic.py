"""Convolutions of the functional machine: exact integer results from BLAS products.

A matrix product of integers is exact in floating point, whatever the order of summation, while every partial sum stays
below 2^24 (float32) or 2^53 (float64); the bound `max_k sum_j |w[k,j]| * max|x|` proves it before a format is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import TilePlace, Window, flip, view
from emulator.kernels import Bytes, Words, gather
from isa.errors import UserError
from isa.integers import ceil_div

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53
_INT32_HIGH = (1 << 31) - 1
_INT32_LOW = -(1 << 31)
_BLOCK_ELEMENTS = 1 << 20
"""Window patches are gathered for as many images at a time as fit this many elements (at least one image)."""


class ActTile(NamedTuple):
    """A tile of ACT [N, bytes]."""

    act: Bytes
    place: TilePlace

    def images(self, first: int, end: int) -> ActTile:
        """The tile in images [first, end)."""
        return self._replace(act=self.act[first:end])

    def numbers(self, signed: int) -> NDArray[np.float32]:
        """Its values [N, h, w, channels]."""
        stored = view(self.act, self.place)
        return (stored.view(np.int8) if signed else stored).astype(np.float32)


class PsumTile(NamedTuple):
    """Partial sums [oh*ow][kt] at word `base` of PSUM, of which channels [k, k+kn) are touched."""

    psum: Words
    base: int
    positions: int
    kt: int
    k: int
    kn: int

    @property
    def view(self) -> Words:
        """[N, positions, kn] of PSUM itself."""
        flat = self.psum[:, self.base : self.base + self.positions * self.kt]
        return flat.reshape(flat.shape[0], self.positions, self.kt)[:, :, self.k : self.k + self.kn]


@dataclass(frozen=True)
class WeightMatrix:
    """A weight matrix [inputs, kn] in a float format that makes its product with activations exact."""

    matrix: Floats
    bound: int

    @classmethod
    def of(cls, w: NDArray[Any], largest: int) -> WeightMatrix:
        """From integers [kn, inputs] and the largest magnitude of an activation."""
        bound = int(np.abs(w).sum(axis=1, dtype=np.int64).max(initial=0)) * largest
        if bound >= _EXACT_FLOAT64:
            raise UserError(f"partial sums up to {bound} cannot be represented")
        if bound < _EXACT_FLOAT32:
            return cls(np.ascontiguousarray(w.T, np.float32), bound)
        return cls(np.ascontiguousarray(w.T, np.float64), bound)


Groups: TypeAlias = list[tuple[int, int, WeightMatrix]]
"""Groups of a convolution: first input channel, input channels, weights [r*s*channels, outputs]."""


def largest_activation(signed: int) -> int:
    """Largest magnitude of a stored activation."""
    return 128 if signed else 255


def patches(tile: ActTile, window: Window, signed: int, cs: int, cn: int) -> NDArray[np.float32]:
    """Window patches float32 [N*oh*ow, r*s*cn] of channels [cs, cs+cn) of a tile, zero outside."""
    if window.pointwise and cn == window.ic:
        return tile.numbers(signed).reshape(-1, cn)
    out = np.empty((len(tile.act), window.oh, window.ow, window.r, window.s, cn), np.float32)
    gather(tile.act, tile.place, window, flip(signed), cs, cn, out)
    return out.reshape(-1, window.r * window.s * cn)


class LastPatches:
    """The patches that a run gathered last: instructions that share out the output channels of a tile read the same.

    A copy of the stored bytes tells whether they still are those of the tile.
    """

    def __init__(self) -> None:
        self._of: tuple[TilePlace, Window, int, int, int] | None = None
        self._stored: Bytes = np.empty(0, np.uint8)
        self._patches: NDArray[np.float32] = np.empty(0, np.float32)

    def get(self, tile: ActTile, window: Window, signed: int, cs: int, cn: int) -> NDArray[np.float32]:
        """What `patches` returns."""
        of = tile.place, window, signed, cs, cn
        stored = view(tile.act, tile.place)
        if of != self._of or not np.array_equal(stored, self._stored):
            self._of, self._stored = of, stored.copy()
            self._patches = patches(tile, window, signed, cs, cn)
        return self._patches


def convolve(
    tile: ActTile,
    window: Window,
    signed: int,
    groups: list[tuple[int, int, WeightMatrix]],
    target: PsumTile,
    accumulate: bool,
    last: LastPatches,
) -> None:
    """Write (or add) a convolution to partial sums.

    `groups`: (first input channel, input channels, weights [r*s*channels, outputs]) of consecutive output channels.
    `last`: those of the run. Raises `UserError` if a sum leaves int32.
    """
    size = window.oh * window.ow * window.r * window.s * max(cn for _, cn, _ in groups)
    step = max(1, _BLOCK_ELEMENTS // size)
    if step >= len(tile.act) and len(groups) == 1:
        ((cs, cn, weights),) = groups
        x = last.get(tile, window, signed, cs, cn)
        write_psum(target, x.astype(weights.matrix.dtype, copy=False) @ weights.matrix, weights.bound, accumulate)
        return
    for n in range(0, len(tile.act), step):
        part = target._replace(psum=target.psum[n : n + step])
        k = target.k
        for cs, cn, weights in groups:
            x = patches(tile.images(n, n + step), window, signed, cs, cn)
            kn = weights.matrix.shape[1]
            result = x.astype(weights.matrix.dtype, copy=False) @ weights.matrix
            write_psum(part._replace(k=k, kn=kn), result, weights.bound, accumulate)
            k += kn


def write_psum(target: PsumTile, values: NDArray[Any], bound: int, accumulate: bool) -> None:
    """Store sums [N*positions, kn] of magnitude up to `bound`, added to the old ones if `accumulate`."""
    view = target.view
    fresh = values.reshape(view.shape)
    if not accumulate and bound <= _INT32_HIGH:
        view[...] = fresh
        return
    total = fresh.astype(np.int64)
    if accumulate:
        total += view
    if total.size and (int(total.max()) > _INT32_HIGH or int(total.min()) < _INT32_LOW):
        raise UserError("a partial sum leaves int32")
    view[...] = total


def dense_groups(w: NDArray[np.int8], cs: int, cpg: int, kpg: int, signed: int) -> Groups:
    """Weights int8 [kn, r*s*cpg] of a grouped convolution, split into its groups."""
    largest = largest_activation(signed)
    return [
        (cs + g * cpg, cpg, WeightMatrix.of(w[g * kpg : (g + 1) * kpg], largest)) for g in range(ceil_div(len(w), kpg))
    ]


@dataclass(frozen=True)
class Decomposed:
    """A decomposed convolution in two stages: `t` float [c, kn*v], `bases` float64 [v, r*s]."""

    t: NDArray[Any]
    bases: NDArray[np.float64]
    bound: int
    shift: int
    low: int
    high: int


def fold(
    t: NDArray[np.int8], bases: NDArray[np.int8], ic_shift: int, ic_bits: int, signed: int
) -> WeightMatrix | Decomposed:
    """Prepare a decomposed convolution: `t` int8 [kn, v, c], `bases` int8 [v, r*s].

    While no intermediate value is shifted or can saturate, the two stages are one convolution with the weights
    sum_v t * basis, in exact integers. Otherwise both stages are kept.
    """
    kn, v, c = t.shape
    largest = largest_activation(signed)
    most = int(np.abs(t).sum(axis=2, dtype=np.int64).max(initial=0)) * largest
    high = (1 << (ic_bits - 1)) - 1
    if ic_shift == 0 and most <= high:
        w = np.einsum("kvc,vt->ktc", t.astype(np.float64), bases.astype(np.float64), optimize=True)
        return WeightMatrix.of(w.reshape(kn, -1), largest)
    bound = min((most + (1 << ic_shift >> 1)) >> ic_shift, high + 1)
    total = int(np.abs(bases.astype(np.int64)).sum()) * bound
    flat = np.ascontiguousarray(t.reshape(kn * v, c).T, np.float32 if most < _EXACT_FLOAT32 else np.float64)
    return Decomposed(flat, bases.astype(np.float64), total, ic_shift, -high - 1, high)


def convolve_decomposed(tile: ActTile, window: Window, signed: int, weights: Decomposed, target: PsumTile) -> None:
    """Both stages of a decomposed convolution, with rounding and saturation of the intermediate values."""
    v, taps = weights.bases.shape
    images = len(tile.act)
    step = max(1, _BLOCK_ELEMENTS // (window.ih * window.iw * target.kn * max(v, taps)))
    half = 1 << weights.shift >> 1
    for n in range(0, images, step):
        x = tile.images(n, n + step).numbers(signed).reshape(-1, window.ic)
        ic = x @ weights.t
        np.floor((ic + np.float32(half)) * np.float32(2.0**-weights.shift), out=ic)
        np.clip(ic, weights.low, weights.high, out=ic)
        products = (ic.reshape(-1, v).astype(np.float64) @ weights.bases).reshape(
            -1, window.ih, window.iw, target.kn, taps
        )
        sums = np.zeros((len(products), window.oh, window.ow, target.kn), np.float64)
        for i in range(window.r):
            ys, rows = _overlap(window.oh, window.sy, i - window.pt, window.ih)
            for j in range(window.s):
                xs, columns = _overlap(window.ow, window.sx, j - window.pl, window.iw)
                sums[:, ys, xs] += products[:, rows, columns, :, i * window.s + j]
        part = target._replace(psum=target.psum[n : n + step])
        write_psum(part, sums.reshape(-1, target.kn), weights.bound, False)


def _overlap(outputs: int, stride: int, offset: int, size: int) -> tuple[slice, slice]:
    """Outputs y whose input y*stride + offset lies in [0, size), and those inputs."""
    first = max(0, ceil_div(-offset, stride))
    end = min(outputs, (size - 1 - offset) // stride + 1)
    if end <= first:
        return slice(0, 0), slice(0, 0)
    start = first * stride + offset
    return slice(first, end), slice(start, start + (end - 1 - first) * stride + 1, stride)
