"""Weights of circulant blocks: what the values of a block stand for.

Values int8 [K/b][R][S][C/b][b] hold a vector v for every block of b output channels and b input channels of a tap. Its
weight of output channel i and input channel j of the block is v[(i - j) mod b]. Where b does not divide the channels of
a layer, the last blocks stand out of the weights [k][r][s][c], and what stands out is left away.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from isa.integers import Number, by_value

I8 = NDArray[np.int8]
Longs = NDArray[np.int64]
Value = TypeVar("Value", bound=np.generic)

BLOCKS = range(2, 17)
"""Channels of a block."""


def expand(values: NDArray[Value], first: int, channels: int, run: int) -> NDArray[Value]:
    """Weights [channels, R, S, run] of output channels from `first` on, of values [K/b, R, S, C/b, b] of any type."""
    blocks, r, s, across, b = values.shape
    i, j = np.indices((b, b))
    whole = values[..., (i - j) % b].transpose(0, 4, 1, 2, 3, 5).reshape(blocks * b, r, s, across * b)
    return np.ascontiguousarray(whole[first : first + channels, ..., :run])


def summed(weights: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """Sums of weights float64 [K, R, S, C] over those that a value stands for: [K/b, R, S, C/b, b].

    This is the transpose of `expand`: <expand(v), w> = <v, summed(w)>.
    """
    k, r, s, c = weights.shape
    padded = np.pad(weights, ((0, -k % block), (0, 0), (0, 0), (0, -c % block)))
    apart = padded.reshape(-1, block, r, s, padded.shape[3] // block, block)
    diagonals = [sum(apart[:, (d + j) % block, ..., j] for j in range(block)) for d in range(block)]
    return np.stack(np.broadcast_arrays(*diagonals), axis=-1)


# Products of a block without rounding --------------------------------------------------------------------------------
#
# A block times a vector is a product of polynomials modulo z^b - 1 = (z^(b/2) - 1)(z^(b/2) + 1). The first factor is
# halved further; modulo the second one, the product is that of Karatsuba, reduced. All steps are sums and differences
# but for the last: a half of the sum, and of the difference, of what the two factors leave, which are both even.

FAST_BLOCKS = (2, 4, 8, 16)
"""Channels of a block that has a fast product."""
_PRODUCTS = {2: 2, 4: 5, 8: 14, 16: 41}
_TRANSFORMS = {2: 2, 4: 7, 8: 20, 16: 55}
_RETURNS = {2: 2, 4: 9, 8: 34, 16: 119}
BACK_BITS = 36
"""Bits of a sum of products: four more than those of an accumulator, as many as halves are taken of the last block. A
sum may wrap around; the halves do not depend on what is lost.
"""


def fast_products(block: Number) -> Number:
    """Products that a block takes; those of the definition for one that has no fast product."""
    return by_value(lambda b: _PRODUCTS.get(b, b * b), block)


def transform_additions(block: Number) -> Number:
    """Additions that make the factors of the products of a block or of a vector; 0 for one without a fast product."""
    return by_value(lambda b: _TRANSFORMS.get(b, 0), block)


def return_additions(block: Number) -> Number:
    """Additions that make the results out of the sums of products; 0 for a block without a fast product."""
    return by_value(lambda b: _RETURNS.get(b, 0), block)


def transformed(x: Longs) -> Longs:
    """Factors [..., products] of vectors or of the values of blocks [..., b]: the result is a product of both."""
    n = x.shape[-1]
    if n == 1:
        return x
    low, high = x[..., : n // 2], x[..., n // 2 :]
    return np.concatenate([transformed(low + high), _split(low - high)], axis=-1)


def _split(x: Longs) -> Longs:
    """Factors [..., 3^log2(n)] of polynomials [..., n] by Karatsuba."""
    n = x.shape[-1]
    if n == 1:
        return x
    low, high = x[..., : n // 2], x[..., n // 2 :]
    return np.concatenate([_split(low), _split(high), _split(low + high)], axis=-1)


def returned(sums: Longs, block: int) -> Longs:
    """Results [..., b] of sums [..., products] of products of factors."""
    if block == 1:
        return sums
    half = block // 2
    count = sums.shape[-1] - 3 ** (half.bit_length() - 1)
    first, product = returned(sums[..., :count], half), _joined(sums[..., count:], half)
    second = product[..., :half].copy()
    second[..., : half - 1] -= product[..., half:]
    return np.concatenate([first + second, first - second], axis=-1) >> 1


def _joined(sums: Longs, n: int) -> Longs:
    """Products [..., 2 n - 1] of polynomials of n coefficients, of the products of their factors."""
    if n == 1:
        return sums
    low, high, both = (_joined(part, n // 2) for part in np.split(sums, 3, axis=-1))
    result = np.zeros((*sums.shape[:-1], 2 * n - 1), sums.dtype)
    result[..., : n - 1] += low
    result[..., n:] += high
    result[..., n // 2 : n // 2 + n - 1] += both - low - high
    return result
