"""Convolutions of the functional machine: exact integer results from BLAS products.

A matrix product of integers is exact in floating point, whatever the order of summation, while every partial sum stays
below 2^24 (float32) or 2^53 (float64). Positive weights bound the sums from one side and negative ones from the other,
because activations are not negative (or, where they are signed, no larger than 128). A product that is too long for
float32 is made of pieces that are not, whose sums are added as integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from emulator.geometry import TilePlace, Window, flip, packed, view
from emulator.kernels import Bytes, Longs, Sums, Words, add_sums, convert, gather, renew
from isa.errors import UserError
from isa.integers import ceil_div

Floats: TypeAlias = NDArray[np.float32] | NDArray[np.float64]

_EXACT_FLOAT32 = 1 << 24
_EXACT_FLOAT64 = 1 << 53
_INT32_HIGH = (1 << 31) - 1
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
        place = self.place
        out = np.empty((len(self.act), place.h, place.w, place.channels), np.float32)
        convert(self.act, packed(place), flip(signed), out)
        return out


class PsumTile(NamedTuple):
    """Partial sums [oh*ow][kt] at word `base` of PSUM, of which channels [k, k+kn) are touched."""

    psum: Words
    base: int
    positions: int
    kt: int
    k: int
    kn: int


@dataclass(frozen=True)
class WeightMatrix:
    """A weight matrix [inputs, kn] whose product with activations is exact over each piece of the inputs.

    `bound`: the largest magnitude of a sum.
    """

    matrix: Floats
    pieces: tuple[slice, ...]
    bound: int

    @classmethod
    def of(cls, w: NDArray[Any], signed: int) -> WeightMatrix:
        """From integers [kn, inputs]. Raises `UserError` if a sum may leave what float64 represents."""
        wide, most = w.astype(np.int64), largest_activation(signed)
        sides = (np.abs(wide),) if signed else (np.maximum(wide, 0), np.maximum(-wide, 0))
        grown = np.concatenate([np.cumsum(side, axis=1) for side in sides]) * most  # [sides*kn, inputs]
        bound = int(grown[:, -1].max(initial=0)) if w.size else 0
        if bound >= _EXACT_FLOAT64:
            raise UserError(f"partial sums up to {bound} cannot be represented")
        if bound > _INT32_HIGH or int(np.abs(wide).max(initial=0)) * most >= _EXACT_FLOAT32:
            return cls(np.ascontiguousarray(w.T, np.float64), (slice(0, w.shape[1]),), bound)
        pieces, begin, before = list[slice](), 0, np.zeros((len(grown), 1), np.int64)
        while begin < w.shape[1]:
            largest = (grown[:, begin:] - before).max(axis=0, initial=0)
            end = begin + int(np.searchsorted(largest, _EXACT_FLOAT32))
            pieces.append(slice(begin, end))
            begin, before = end, grown[:, end - 1 : end]
        return cls(np.ascontiguousarray(w.T, np.float32), tuple(pieces), bound)

    def product(self, x: NDArray[np.float32]) -> Sums:
        """Sums [n, kn] of activations [n, inputs]."""
        if len(self.pieces) == 1:
            return x.astype(self.matrix.dtype, copy=False) @ self.matrix
        total = np.zeros((len(x), self.matrix.shape[1]), np.int32)
        for piece in self.pieces:
            total += (x[:, piece] @ self.matrix[piece]).astype(np.int32)
        return total


Groups: TypeAlias = list[tuple[int, int, WeightMatrix]]
"""Groups of a convolution: first input channel, input channels, weights [r*s*channels, outputs]."""


@dataclass(frozen=True)
class TileConvolution:
    """What an instruction makes of its input tile at `place`, whatever the data.

    `numbers`: tile and windows, packed. `elements`: values of all patches of an image, of the group that has most.
    """

    place: TilePlace
    window: Window
    signed: int
    groups: Groups
    numbers: Longs
    elements: int

    @classmethod
    def of(cls, place: TilePlace, window: Window, signed: int, groups: Groups) -> TileConvolution:
        """A convolution with the weights of `groups`, which follow one another in the output channels."""
        elements = window.oh * window.ow * window.r * window.s * max((cn for _, cn, _ in groups), default=1)
        return cls(place, window, signed, groups, packed(place, window), elements)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return self.numbers.nbytes + sum(weights.matrix.nbytes for _, _, weights in self.groups)

    def patches(self, act: Bytes, cs: int, cn: int) -> NDArray[np.float32]:
        """Window patches float32 [N*oh*ow, r*s*cn] of channels [cs, cs+cn) of the tile, zero outside."""
        w = self.window
        if w.pointwise and cn == w.ic:
            out = np.empty((len(act), w.ih, w.iw, cn), np.float32)
            convert(act, self.numbers, flip(self.signed), out)
            return out.reshape(-1, cn)
        out = np.empty((len(act), w.oh, w.ow, w.r, w.s, cn), np.float32)
        gather(act, self.numbers, flip(self.signed), cs, cn, out)
        return out.reshape(-1, w.r * w.s * cn)


def largest_activation(signed: int) -> int:
    """Largest magnitude of a stored activation."""
    return 128 if signed else 255


class LastPatches:
    """The patches that a run gathered last: instructions that share out the output channels of a tile read the same.

    A copy of the stored bytes tells whether they still are those of the tile.
    """

    def __init__(self) -> None:
        self._of: tuple[TilePlace, Window, int, int, int] | None = None
        self._stored: Bytes = np.empty(0, np.uint8)
        self._patches: NDArray[np.float32] = np.empty(0, np.float32)

    def get(self, c: TileConvolution, act: Bytes, cs: int, cn: int) -> NDArray[np.float32]:
        """What `TileConvolution.patches` returns."""
        of = c.place, c.window, c.signed, cs, cn
        if of != self._of:
            self._of = of
            self._stored = np.array(view(act, c.place))
            self._patches = c.patches(act, cs, cn)
        elif renew(act, c.numbers, self._stored):
            self._patches = c.patches(act, cs, cn)
        return self._patches


def convolve(c: TileConvolution, act: Bytes, target: PsumTile, accumulate: bool, last: LastPatches) -> None:
    """Write (or add) a convolution of a tile of `act` to partial sums.

    `last`: those of the run. Raises `UserError` if a sum leaves int32.
    """
    step = max(1, _BLOCK_ELEMENTS // c.elements)
    if step >= len(act) and len(c.groups) == 1:
        ((cs, cn, weights),) = c.groups
        write_psum(target, weights.product(last.get(c, act, cs, cn)), weights.bound, accumulate)
        return
    for n in range(0, len(act), step):
        part = target._replace(psum=target.psum[n : n + step])
        k = target.k
        for cs, cn, weights in c.groups:
            kn = weights.matrix.shape[1]
            result = weights.product(c.patches(act[n : n + step], cs, cn))
            write_psum(part._replace(k=k, kn=kn), result, weights.bound, accumulate)
            k += kn


def write_psum(target: PsumTile, values: Sums, bound: int, accumulate: bool) -> None:
    """Store sums [N*positions, kn] of magnitude up to `bound`, added to the old ones if `accumulate`."""
    psum, base, positions, kt, k, kn = target
    sums = values.reshape(len(psum), positions, kn)
    if not add_sums(sums, psum, base + k, kt, accumulate, bound <= _INT32_HIGH):
        raise UserError("a partial sum leaves int32")


def dense_groups(w: NDArray[np.int8], cs: int, cpg: int, kpg: int, signed: int) -> Groups:
    """Weights int8 [kn, r*s*cpg] of a grouped convolution, split into its groups."""
    return [
        (cs + g * cpg, cpg, WeightMatrix.of(w[g * kpg : (g + 1) * kpg], signed)) for g in range(ceil_div(len(w), kpg))
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
        return WeightMatrix.of(w.reshape(kn, -1), signed)
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
