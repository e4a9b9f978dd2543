"""Dense linear algebra in float64 with the same bits on every processor.

A BLAS or LAPACK library adds in an order that its kernel for the processor at hand and its threads choose. Here every
sum runs over ascending indices, with one rounding for each product and for each addition (the compiled loops are free
to use wide registers across results, never within a sum), so the compiler's decisions are the same everywhere. Matrix
products reach half to two thirds of the speed of a tuned library. The loops are loaded when first used: to load Numba
takes as long as to compile a small network.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from passes.math.parallel import over_rows

F: TypeAlias = NDArray[np.float64]

_BLOCK, _WIDE = 64, 256
"""Rows of a triangular matrix that are solved by substitution, and columns of a factor that are products together:
wide products are faster."""


def _contiguous(a: NDArray[np.generic]) -> F:
    return np.ascontiguousarray(a, np.float64)


def product(a: F, b: F) -> F:
    """a [M, D] times b [D, N]."""
    c = np.zeros((a.shape[0], b.shape[1]))
    _add_product(c, a, b)
    return c


def _add_product(c: F, a: F, b: F) -> None:
    """c [M, N], contiguous, plus a [M, D] times b [D, N] in place, term after term."""
    from passes.math import loops

    m, n = c.shape
    left, right = _contiguous(a), _contiguous(b)
    work = c.size * left.shape[1]
    if n > m:  # a large b is then read once by all threads together, not once by each
        over_rows(lambda columns: loops.add_product(c, left, right, columns.start, columns.stop), n, work)
    else:
        over_rows(lambda rows: loops.add_product(c[rows], left[rows], right, 0, n), m, work)


def _subtract_product(c: F, a: F, b: F) -> None:
    """c [M, N], a view perhaps, less a [M, D] times b [D, N]."""
    if a.shape[1]:
        c -= product(a, b)


def _divide(x: F, factor: F) -> None:
    """Solve y factor' = x in place for a lower triangular factor [D, D] and x [M, D], rows by themselves."""
    from passes.math import loops

    def part(rows: slice) -> None:
        for first in range(rows.start, rows.stop, _WIDE):
            some = slice(first, min(first + _WIDE, rows.stop))
            columns = _contiguous(x[some].T)
            loops.substitute(factor, columns)
            x[some] = columns.T

    over_rows(part, len(x), x.size * len(factor))


def cholesky(a: F) -> F:
    """Lower triangular factor l of a symmetric positive definite a = l l' [D, D].

    Only the lower triangle is read. Raises ValueError if a is not positive definite to working precision.
    """
    from passes.math import loops

    d = len(a)
    factor = np.zeros((d, d))
    for first in range(0, d, _WIDE):
        end = min(d, first + _WIDE)
        earlier = product(factor[first:, :first], factor[first:end, :first].T)
        for lo in range(first, end, _BLOCK):
            hi = min(end, lo + _BLOCK)
            terms = _contiguous(earlier[lo - first :, lo - first : hi - first])
            _add_product(terms, factor[lo:, first:lo], factor[lo:hi, first:lo].T)
            panel = np.array(a[lo:, lo:hi], np.float64, order="C")
            panel -= terms
            if not loops.factor_block(panel[: hi - lo]):
                raise ValueError("the matrix is not positive definite")
            panel[: hi - lo] = np.tril(panel[: hi - lo])
            _divide(panel[hi - lo :], panel[: hi - lo])
            factor[lo:, lo:hi] = panel
    return factor


def solve_lower(factor: F, b: F) -> F:
    """x [D, N] with factor x = b, for a lower triangular factor [D, D]."""
    from passes.math import loops

    x = _contiguous(b).copy()
    for lo in range(0, len(x), _BLOCK):
        hi = min(len(x), lo + _BLOCK)
        _subtract_product(x[lo:hi], factor[lo:hi, :lo], x[:lo])
        loops.substitute(_contiguous(factor[lo:hi, lo:hi]), x[lo:hi])
    return x


def solve(a: F, b: F) -> F:
    """x [D] or [D, N] with a x = b, for a symmetric positive definite a [D, D].

    Raises ValueError if a is not positive definite to working precision.
    """
    factor = cholesky(a)
    y = solve_lower(factor, b.reshape(len(b), -1))
    # The transpose is upper triangular; with rows and columns reversed it is lower again.
    return solve_lower(factor.T[::-1, ::-1], y[::-1])[::-1].reshape(b.shape)


def inverse_lower(factor: F) -> F:
    """Inverse of a lower triangular matrix [D, D]."""
    d = len(factor)
    inverse = np.zeros((d, d))
    for lo in range(0, d, _BLOCK):  # a block of columns of the identity, of which the rows above are zero
        hi = min(d, lo + _BLOCK)
        inverse[lo:, lo:hi] = solve_lower(factor[lo:, lo:], np.eye(d - lo, hi - lo))
    return inverse


def inverse_factors(a: F) -> tuple[F, F]:
    """Upper triangular u and its inverse, with a^-1 = u' u, of a symmetric positive definite a [D, D].

    Raises ValueError if a is not positive definite to working precision.
    """
    lower = cholesky(a[::-1, ::-1])  # a = v v' with v upper triangular, hence u = v^-1
    return _contiguous(inverse_lower(lower)[::-1, ::-1]), _contiguous(lower[::-1, ::-1])


def symmetric_eigen(a: F) -> tuple[F, F]:
    """Eigenvalues [D], descending, and unit eigenvectors [D, D] as rows of a small symmetric a, by Jacobi rotations.

    The largest component of each vector is positive, which makes it unique where its eigenvalue is.
    """
    from passes.math import loops

    turned, vectors = _contiguous(a).copy(), np.eye(len(a))
    loops.rotate_to_diagonal(turned, vectors)
    values = np.diag(turned).copy()
    order = np.argsort(-values, kind="stable")
    vectors = vectors[order]
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.where(vectors[np.arange(len(a)), largest] < 0, -1.0, 1.0)
    return values[order], vectors * signs[:, None]


def orthonormal(a: F) -> F:
    """Orthonormal columns [D, N] that span those of a [D, N], the first with the first and so on: Gram-Schmidt, twice.

    A column that depends on earlier ones becomes one of zeros.
    """
    q = np.zeros(a.shape)
    for i in range(a.shape[1]):
        v = a[:, i].astype(np.float64)
        size = np.sqrt((v * v).sum())
        for _ in range(2):
            v = v - (q[:, :i] * (q[:, :i] * v[:, None]).sum(axis=0)).sum(axis=1)
        left = np.sqrt((v * v).sum())
        q[:, i] = v / left if left > 1e-12 * size else 0.0
    return q
