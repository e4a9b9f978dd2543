"""Compiled inner loops of `passes.math.linear`: sums in ascending order, no term fused, none reordered.

Numba compiles them without fast-math: arithmetic is that of IEEE 754 in the order written, on any processor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from isa.jit import jit, woven

F = NDArray[np.float64]

_COLUMNS, _TERMS, _ROWS = 512, 32, 32
"""Results and terms worked on at a time: they stay in the cache while the terms are added."""
_MOST_SWEEPS = 60


@woven
def _add_eight(y: F, a: F, x: F) -> None:
    """y [N] += a [8] times x [8, N or more], term after term."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    for j in range(y.size):
        first = (((y[j] + a0 * x0[j]) + a1 * x1[j]) + a2 * x2[j]) + a3 * x3[j]
        y[j] = (((first + a4 * x4[j]) + a5 * x5[j]) + a6 * x6[j]) + a7 * x7[j]


@woven
def _add_eight_twice(y: F, z: F, a: F, b: F, x: F) -> None:
    """y [N] += a [8] times x [8, N or more] and z [N] += b [8] times x, which is loaded once for both."""
    x0, x1, x2, x3, x4, x5, x6, x7 = x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]
    a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    b0, b1, b2, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
    for j in range(y.size):
        p0, p1, p2, p3, p4, p5, p6, p7 = x0[j], x1[j], x2[j], x3[j], x4[j], x5[j], x6[j], x7[j]
        first, second = y[j] + a0 * p0, z[j] + b0 * p0
        first, second = first + a1 * p1, second + b1 * p1
        first, second = first + a2 * p2, second + b2 * p2
        first, second = first + a3 * p3, second + b3 * p3
        first, second = first + a4 * p4, second + b4 * p4
        first, second = first + a5 * p5, second + b5 * p5
        first, second = first + a6 * p6, second + b6 * p6
        y[j], z[j] = first + a7 * p7, second + b7 * p7


@woven
def _add_block(c: F, i0: int, i1: int, j0: int, j1: int, a: F, x: F, terms: int) -> None:
    """c[i0:i1, j0:j1] += the products of the first rows of a and columns of x, of so many terms."""
    m = i1 - i0
    for k in range(0, terms - 7, 8):
        for i in range(0, m - 1, 2):
            y, z = c[i0 + i, j0:j1], c[i0 + i + 1, j0:j1]
            _add_eight_twice(y, z, a[i, k : k + 8], a[i + 1, k : k + 8], x[k : k + 8])
        if m % 2:
            _add_eight(c[i1 - 1, j0:j1], a[m - 1, k : k + 8], x[k : k + 8])
    for k in range(terms - terms % 8, terms):
        for i in range(m):
            for j in range(j1 - j0):
                c[i0 + i, j0 + j] += a[i, k] * x[k, j]


@jit
def add_product(c: F, a: F, b: F, first: int, end: int) -> None:
    """c [M, N] += a [M, D] times b [D, N], all contiguous, in the columns [first, end).

    Blocks of a and b are copied to where their rows lie side by side: these may be a multiple of a page apart, of which
    a cache holds few. Eight terms at a time for two rows spare loads and stores.
    """
    m, d = a.shape
    panel, factors = np.empty((_TERMS, _COLUMNS)), np.empty((_ROWS, _TERMS))
    for j0 in range(first, end, _COLUMNS):
        j1 = min(end, j0 + _COLUMNS)
        for k0 in range(0, d, _TERMS):
            terms = min(_TERMS, d - k0)
            for k in range(terms):
                panel[k, : j1 - j0] = b[k0 + k, j0:j1]
            for i0 in range(0, m, _ROWS):
                i1 = min(m, i0 + _ROWS)
                for i in range(i0, i1):
                    factors[i - i0, :terms] = a[i, k0 : k0 + terms]
                _add_block(c, i0, i1, j0, j1, factors, panel, terms)


@jit
def factor_block(a: F) -> bool:
    """Cholesky factor of a small block [N, N], in place; what is above the diagonal is undefined afterwards.

    Returns False if a pivot is not positive.
    """
    n = a.shape[0]
    for k in range(n):
        pivot = a[k, k]
        if not pivot > 0.0:
            return False
        root = math.sqrt(pivot)
        a[k, k] = root
        for i in range(k + 1, n):
            a[i, k] /= root
            for j in range(k + 1, i + 1):
                a[i, j] -= a[i, k] * a[j, k]
    return True


@jit
def substitute(factor: F, x: F) -> None:
    """Solve factor y = x in place for a lower triangular factor [D, D] and x [D, N]."""
    d, n = x.shape
    for i in range(d):
        for k in range(i):
            for j in range(n):
                x[i, j] -= factor[i, k] * x[k, j]
        for j in range(n):
            x[i, j] /= factor[i, i]


@jit
def rotate_to_diagonal(a: F, vectors: F) -> None:
    """Jacobi's method, row after row: a symmetric a [D, D] becomes diagonal, the rows of `vectors` turn along."""
    d = a.shape[0]
    for _ in range(_MOST_SWEEPS):
        outside, total = 0.0, 0.0
        for i in range(d):
            for j in range(d):
                total += a[i, j] * a[i, j]
                if i != j:
                    outside += a[i, j] * a[i, j]
        if outside <= 1e-30 * total:
            return
        for p in range(d):
            for q in range(p + 1, d):
                if a[p, q] == 0.0:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                t = -t if theta < 0.0 else t
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(d):
                    x, y = a[p, k], a[q, k]
                    a[p, k], a[q, k] = c * x - s * y, s * x + c * y
                for k in range(d):
                    x, y = a[k, p], a[k, q]
                    a[k, p], a[k, q] = c * x - s * y, s * x + c * y
                    x, y = vectors[p, k], vectors[q, k]
                    vectors[p, k], vectors[q, k] = c * x - s * y, s * x + c * y
