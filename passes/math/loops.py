"""Compiled inner loops of `passes.math.linear`: sums in ascending order, no term fused, none reordered.

Numba compiles them without fast-math: arithmetic is that of IEEE 754 in the order written, on any processor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from isa.jit import jit

F = NDArray[np.float64]

_COLUMNS, _ROWS = 512, 32
"""Results worked on at a time: they stay in the cache while terms are added."""
_MOST_SWEEPS = 60


@jit
def add_product(c: F, a: F, b: F) -> None:
    """c [M, N] += a [M, D] times b [D, N], all contiguous. Eight terms at a time spare loads and stores of c."""
    m, d = a.shape
    n = b.shape[1]
    for j0 in range(0, n, _COLUMNS):
        j1 = min(n, j0 + _COLUMNS)
        for i0 in range(0, m, _ROWS):
            for k in range(0, d - d % 8, 8):
                b0, b1, b2, b3 = b[k, j0:j1], b[k + 1, j0:j1], b[k + 2, j0:j1], b[k + 3, j0:j1]
                b4, b5, b6, b7 = b[k + 4, j0:j1], b[k + 5, j0:j1], b[k + 6, j0:j1], b[k + 7, j0:j1]
                for i in range(i0, min(m, i0 + _ROWS)):
                    y = c[i, j0:j1]
                    a0, a1, a2, a3 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
                    a4, a5, a6, a7 = a[i, k + 4], a[i, k + 5], a[i, k + 6], a[i, k + 7]
                    for j in range(j1 - j0):
                        first = (((y[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j]
                        y[j] = (((first + a4 * b4[j]) + a5 * b5[j]) + a6 * b6[j]) + a7 * b7[j]
            for k in range(d - d % 8, d):
                x = b[k, j0:j1]
                for i in range(i0, min(m, i0 + _ROWS)):
                    y = c[i, j0:j1]
                    for j in range(j1 - j0):
                        y[j] += a[i, k] * x[j]


@jit
def factor_panel(a: F) -> bool:
    """Cholesky factor of a panel [M, N] of columns, in place: its first N rows are the diagonal block.

    What is above the diagonal is undefined afterwards. Returns False if a pivot is not positive.
    """
    m, n = a.shape
    for k in range(n):
        pivot = a[k, k]
        if not pivot > 0.0:
            return False
        root = math.sqrt(pivot)
        a[k, k] = root
        for i in range(k + 1, m):
            a[i, k] /= root
        for i in range(k + 1, m):
            for j in range(k + 1, n):
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
