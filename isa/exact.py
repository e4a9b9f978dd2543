"""Matrix products with the same bits whatever the BLAS library, its kernels, its threads and the processor.

The order in which a library adds terms up shows in the last digits of a sum of real numbers. It cannot show where every
partial sum is an integer below 2^53: so real operands are rounded to multiples of a power of two first, to as many bits
as leave all sums exact. A product of D terms keeps about (53 - log2 D) / 2 bits of either operand, relative to its
largest value: like float32, and enough for quantities that are measured on data. Linear algebra that needs all digits
is in `passes.math.linear`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
F: TypeAlias = NDArray[np.float64]

_EXACT_BITS = 53
_MOST_SHIFT = 1000
"""Scaling by a larger power of two leaves float64; only values below 2^-950 ask for one, and lose digits."""


@dataclass(frozen=True)
class FixedPoint:
    """Real numbers values * 2^-shift: `values` float64 integers, `shift` int64 that broadcasts against them."""

    values: F
    shift: NDArray[np.int64]

    @classmethod
    def of(cls, x: Array, bits: int, axis: int | Sequence[int]) -> FixedPoint:
        """Nearest integers of at most 2^bits, with one shift for all values along `axis`, which `shift` keeps as
        extents of 1.

        Values among which some are not finite stay as they are.
        """
        axes = axis if isinstance(axis, int) else tuple(axis)
        above, below = (f(x, axis=axes, keepdims=True, initial=0) for f in (np.max, np.min))
        largest: Array = np.maximum(above, -below)
        finite = np.isfinite(largest)
        _, exponent = np.frexp(np.where(finite, largest, 0))
        shift = np.where(largest > 0, np.minimum(bits - exponent.astype(np.int64), _MOST_SHIFT), 0)
        scaled = x * np.ldexp(1.0, shift)
        values = np.rint(scaled, out=scaled)
        if not finite.all():
            shift = np.where(finite, shift, 0)
            values = np.where(finite, values, x)
        return cls(values, shift)

    @property
    def step(self) -> F:
        """2^-shift."""
        return np.ldexp(1.0, -self.shift)


def weights(w: Array, axis: int) -> tuple[FixedPoint, int]:
    """One operand of a product whose sums run along `axis`, and the bits that the other operand may have.

    The bits are shared about evenly. What the rows really hold counts, not what they might: most sums stay far below
    the product of the largest values.
    """
    magnitudes = np.abs(w).astype(np.float64)
    sums, largest = magnitudes.sum(axis=axis), magnitudes.max(axis=axis, initial=0)
    ratio = np.divide(sums, largest, out=np.ones_like(sums), where=largest > 0)
    room = _EXACT_BITS - 1 - _bits(float(ratio.max(initial=1)))
    fixed = FixedPoint.of(w, room // 2, axis)
    most = float(np.abs(fixed.values).sum(axis=axis).max(initial=1))
    return fixed, _EXACT_BITS - _bits(most) if np.isfinite(most) else room // 2


def _bits(bound: float) -> int:
    """Smallest n with bound < 2^n, for a bound that is at least 0; 0 if it is not finite."""
    return int(np.frexp(bound)[1]) if np.isfinite(bound) else 0


def multiply(a: Array, b: Array) -> F:
    """a [..., M, D] times b [..., D, N] as float64; real operands are rounded (see above), integers are not.

    Raises ValueError if both are integers whose sums are too large.
    """
    if a.dtype.kind in "iub":
        bits = _EXACT_BITS - _bits(float(a.shape[-1]) * _magnitude(a))
        if b.dtype.kind in "iub":
            if _bits(_magnitude(b)) > bits:
                raise ValueError("sums of these integers exceed 2^53")
            return a.astype(np.float64) @ b.astype(np.float64)
        right = FixedPoint.of(b, bits, -2)
        return _unscaled(a.astype(np.float64) @ right.values, right.step)
    right, bits = weights(b, -2)
    left = FixedPoint.of(a, bits, -1)
    return _unscaled(left.values @ right.values, left.step, right.step)


def gram(x: Array) -> F:
    """x' x as float64 of x [N, D], which is rounded unless it holds integers."""
    if x.dtype.kind in "iub":
        if _bits(len(x) * _magnitude(x) ** 2) > _EXACT_BITS:
            raise ValueError("sums of these integers exceed 2^53")
        values = x.astype(np.float64)
        return values.T @ values
    fixed = FixedPoint.of(x, (_EXACT_BITS - _bits(float(len(x)))) // 2, 0)
    return _unscaled(fixed.values.T @ fixed.values, fixed.step.T, fixed.step)


def _magnitude(x: Array) -> float:
    return max(abs(float(x.min())), abs(float(x.max()))) if x.size else 0.0


def _unscaled(product: F, *steps: F) -> F:
    for step in steps:
        product *= step
    return product
