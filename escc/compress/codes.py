"""Compiled inner loops of the fit of codes into a book of vectors.

The vector of one group of weights is s * b, b an entry of the book with a sign, or 0. `quadratic` [groups, N] is b' G b
for each entry, G the metric within the group; `bits` [1 + N] is the price of each entry, of 0 first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.jit import jit

F = NDArray[np.float64]
I16 = NDArray[np.int16]


@jit
def choose(y: F, book: F, quadratic: F, s: float, bits: F) -> int:
    """The code of least v' G v - 2 v' y plus price, for v the vector of the code; with y = G e, that nearest to e."""
    best, found = bits[0], 0
    for n in range(book.shape[0]):
        dot = 0.0
        for i in range(book.shape[1]):
            dot += book[n, i] * y[i]
        cost = s * s * quadratic[n] - 2.0 * s * abs(dot) + bits[n + 1]
        if cost < best:
            best = cost
            found = -(n + 1) if dot < 0.0 else n + 1
    return found


@jit
def sweep(codes: I16, p: F, h: F, g: F, book: F, quadratic: F, s: F, bits: F, dw: F) -> None:
    """One pass of coordinate descent over a block of groups, for every output channel.

    codes: int16 [K, n], changed in place. p: float64 [K, n*width], the residual times the metric, restricted to the
    block and changed in place. h: float64 [n*width, n*width], the metric within the block; g: float64 [n, width,
    width], that within each group. book: float64 [N, width]. s: float64 [K]. dw: float64 [K, n*width], receives the
    change of the approximated weights.
    """
    k_count, n = codes.shape
    width = book.shape[1]
    y = np.empty(width)
    old = np.empty(width)
    change = np.empty(width)
    for k in range(k_count):
        dw[k] = 0.0
        for c in range(n):
            base = c * width
            code = codes[k, c]
            for i in range(width):
                old[i] = 0.0 if code == 0 else (s[k] if code > 0 else -s[k]) * book[abs(code) - 1, i]
            for i in range(width):
                y[i] = p[k, base + i]
                for j in range(width):
                    y[i] += g[c, i, j] * old[j]
            fresh = choose(y, book, quadratic[c], s[k], bits)
            if fresh == code:
                continue
            codes[k, c] = fresh
            for i in range(width):
                new = 0.0 if fresh == 0 else (s[k] if fresh > 0 else -s[k]) * book[abs(fresh) - 1, i]
                change[i] = new - old[i]
                dw[k, base + i] = change[i]
            for i in range(width):
                for x in range(n * width):
                    p[k, x] -= change[i] * h[base + i, x]


@jit
def feed_forward(codes: I16, w: F, z: F, v: F, metric: F, book: F, quadratic: F, s: F, bits: F, e: F) -> None:
    """Choose the codes of a block of groups one group after the other; each makes up for the errors of earlier ones.

    codes: int16 [K, n], result. w: float64 [K, n*width], targets. z: float64 [K, n*width], errors of earlier blocks
    times the columns of the factor of the metric, changed in place. v: float64 [n*width, n*width], the block of the
    factor. metric: float64 [n, width, width], the metric of each group if later groups make up for its errors.
    `quadratic` belongs to that metric. e: float64 [K, n*width], receives the errors.
    """
    k_count, n = codes.shape
    width = book.shape[1]
    y = np.empty(width)
    wanted = np.empty(width)
    for k in range(k_count):
        for c in range(n):
            base = c * width
            for i in range(width):
                total = z[k, base + i]
                for x in range(i):
                    total -= v[base + x, base + i] * wanted[x]
                wanted[i] = total / v[base + i, base + i]
            for i in range(width):
                wanted[i] += w[k, base + i]
            for i in range(width):
                y[i] = 0.0
                for x in range(width):
                    y[i] += metric[c, i, x] * wanted[x]
            code = choose(y, book, quadratic[c], s[k], bits)
            codes[k, c] = code
            for i in range(width):
                value = 0.0 if code == 0 else (s[k] if code > 0 else -s[k]) * book[abs(code) - 1, i]
                e[k, base + i] = w[k, base + i] - value
            for i in range(width):
                for x in range(base + width, n * width):
                    z[k, x] += e[k, base + i] * v[base + i, x]
