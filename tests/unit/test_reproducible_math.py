"""Mathematics with the same bits on every processor: elementary functions, exact products, linear algebra, noise."""

from __future__ import annotations

import ast
import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any, cast

import numba
import numpy as np
import pytest
from conftest import ROOT
from numpy.typing import NDArray

from isa import elementary, exact
from passes.math import linear, loops
from passes.math.noise import normal

F = NDArray[np.float64]


def digest(*arrays: NDArray[Any]) -> str:
    """First digits of the SHA-256 of the bytes of arrays."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


def grid(low: float, high: float, count: int = 4001) -> F:
    """Equidistant numbers."""
    return low + (high - low) / (count - 1) * np.arange(count, dtype=np.float64)


def integers(*shape: int, seed: int = 0, limit: int = 1000) -> F:
    """Seeded integers as float64."""
    return np.random.default_rng(seed).integers(-limit, limit + 1, shape).astype(np.float64)


def positive_definite(d: int, seed: int = 0) -> F:
    """A symmetric matrix [D, D] of moderate condition, its entries exact."""
    x = integers(2 * d + 3, d, seed=seed, limit=100)
    return x.T @ x + 50 * np.eye(d)


# Elementary functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ours, theirs, low, high",
    [
        (elementary.exp, np.exp, -700, 700),
        (elementary.exp2, np.exp2, -1021, 1023),
        (elementary.expm1, np.expm1, -40, 40),
        (elementary.expm1, np.expm1, -1e-3, 1e-3),
        (elementary.tanh, np.tanh, -25, 25),
        (elementary.tanh, np.tanh, -1e-6, 1e-6),
        (elementary.log2, np.log2, 1e-9, 3),
        (elementary.log2, np.log2, 1, 1e12),
    ],
)
def test_elementary_functions_are_accurate(
    ours: Callable[[F], F], theirs: Callable[[F], F], low: float, high: float
) -> None:
    x = grid(low, high)
    np.testing.assert_allclose(ours(x), theirs(x), rtol=2e-13, atol=1e-15)


def test_elementary_functions_at_their_limits() -> None:
    infinite = np.array([-np.inf, np.inf, np.nan])
    np.testing.assert_array_equal(elementary.exp(infinite), [0, np.inf, np.nan])
    np.testing.assert_array_equal(elementary.exp2([-5000, 5000, 0, 10, -3]), [0, np.inf, 1, 1024, 0.125])
    np.testing.assert_array_equal(elementary.expm1(infinite), [-1, np.inf, np.nan])
    np.testing.assert_array_equal(elementary.tanh(infinite), [-1, 1, np.nan])
    np.testing.assert_array_equal(elementary.sigmoid([-np.inf, -800, 0, 800, np.inf]), [0, 0, 0.5, 1, 1])
    powers = np.arange(-1074, 1024)
    np.testing.assert_array_equal(elementary.log2(np.ldexp(1.0, powers)), powers)
    np.testing.assert_array_equal(elementary.log2([0, -1, np.inf, np.nan]), [-np.inf, np.nan, np.inf, np.nan])
    assert elementary.exp(np.ones((2, 3))).shape == (2, 3) and elementary.log2(8.0).shape == ()
    assert np.signbit(elementary.tanh(-0.0))


def test_powers() -> None:
    x, y = np.array([[0.0, 0.5, 1.0, 3.0, 7.25]]), np.array([[-2.0], [-0.5], [0.0], [0.5], [2.0], [2.5], [7.0]])
    with np.errstate(divide="ignore"):
        want = np.power(x, y)
    np.testing.assert_allclose(elementary.power(x, y), want, rtol=1e-13)
    np.testing.assert_array_equal(elementary.power(x, 2), x * x)
    np.testing.assert_array_equal(elementary.power(x, 0.5), np.sqrt(x))
    np.testing.assert_allclose(elementary.power([-2.0, -2.0, -2.0, -8.0], [3, 4, -1, 1 / 3]), [-8, 16, -0.5, np.nan])
    np.testing.assert_allclose(elementary.log([1, 10]), [0, np.log(10)], rtol=1e-14)


def test_elementary_functions_have_the_same_bits_everywhere() -> None:
    x = grid(-30, 30)
    found = [f(x) for f in (elementary.exp, elementary.expm1, elementary.tanh, elementary.sigmoid)]
    assert digest(*found, elementary.log2(x[x > 0]), elementary.power(x, 3)) == "f5164bf7af1b930e"


# Exact products ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3, 1, 4), (5, 27, 64), (17, 1000, 9), (4, 25088, 3)])
def test_products_do_not_depend_on_the_order_of_their_terms(
    shape: tuple[int, int, int], dtype: type[np.float32] | type[np.float64]
) -> None:
    m, d, n = shape
    rng = np.random.default_rng(d)
    a: NDArray[Any] = (rng.standard_normal((m, d)) * 10.0 ** rng.integers(-3, 4, (m, 1))).astype(dtype)
    b: NDArray[Any] = (rng.standard_normal((d, n)) * 10.0 ** rng.integers(-3, 4, (1, n))).astype(dtype)
    found = exact.multiply(a, b)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(d)
        assert exact.multiply(a[:, order], b[order]).tobytes() == found.tobytes()
    bound = np.abs(a).max(axis=1, keepdims=True) * np.abs(b).max(axis=0).astype(np.float64) * np.sqrt(d)
    assert (np.abs(found - a.astype(np.float64) @ b) <= 2e-6 * bound).all()
    order = np.random.default_rng(0).permutation(d)
    squares = exact.gram(b)
    assert exact.gram(b[order]).tobytes() == squares.tobytes()
    lengths = np.sqrt((b.astype(np.float64) ** 2).max(axis=0))
    assert (np.abs(squares - b.T.astype(np.float64) @ b) <= 2e-6 * d * np.outer(lengths, lengths)).all()


def test_products_of_integers_are_exact() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (40, 500), np.uint8), rng.integers(-128, 128, (500, 7), np.int8)
    wide = a.astype(np.int64)
    np.testing.assert_array_equal(exact.multiply(a, b), wide @ b.astype(np.int64))
    np.testing.assert_array_equal(exact.gram(a), wide.T @ wide)
    real = rng.standard_normal((500, 7))
    np.testing.assert_allclose(exact.multiply(a, real), wide @ real, rtol=0, atol=1e-4)
    large = np.full((2, 2), 1 << 30)
    with pytest.raises(ValueError, match="exceed 2\\^53"):
        exact.multiply(large, large)
    with pytest.raises(ValueError, match="exceed 2\\^53"):
        exact.gram(large)


def test_partial_sums_stay_exact_for_the_worst_operands() -> None:
    """All terms as large as the shared bits allow, and of one sign."""
    for d in (1, 2, 3, 1000, 1 << 15):
        fixed, bits = exact.weights(np.full((1, d), 1.9999999), axis=1)
        other = exact.FixedPoint.of(np.full((d, 1), -3.9999999), bits, 0)
        total = sum(int(x) * int(y) for x, y in zip(fixed.values[0], other.values[:, 0], strict=True))
        assert abs(total) <= 1 << 53 and bits >= 18


def test_zeros_and_values_that_are_not_finite_pass_through() -> None:
    zero = exact.FixedPoint.of(np.zeros((2, 3), np.float32), 20, 1)
    assert not zero.values.any() and not zero.shift.any()
    with np.errstate(invalid="ignore"):
        found = exact.multiply(np.array([[np.inf, 0.25], [1.0, 2.0]]), np.array([[1.0], [1.0]]))
    assert not np.isfinite(found[0, 0]) and found[1, 0] == 3
    tiny = np.full((1, 4), 1e-40, np.float32)
    np.testing.assert_allclose(exact.multiply(tiny, np.ones((4, 1))), 4e-40, rtol=1e-4)
    assert exact.multiply(np.zeros((2, 0)), np.zeros((0, 3))).tolist() == [[0.0] * 3] * 2


# Linear algebra ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m, d, n", list(itertools.product((1, 33), (0, 1, 7, 8, 70), (1, 9, 600))))
def test_product(m: int, d: int, n: int) -> None:
    a, b = integers(m, d), integers(d, n, seed=1)
    np.testing.assert_array_equal(linear.product(a, b), a @ b)
    np.testing.assert_array_equal(linear.product(a[:, ::-1], b[::-1]), a @ b)


def test_products_add_in_ascending_order() -> None:
    rng = np.random.default_rng(0)
    for m, d, n in ((3, 21, 5), (35, 75, 3), (5, 75, 600), (700, 300, 300)):
        a, b = rng.standard_normal((m, d)), rng.standard_normal((d, n))
        want = np.zeros((m, n))
        for k in range(d):
            want = want + a[:, k, None] * b[k]
        assert linear.product(a, b).tobytes() == want.tobytes()


@pytest.mark.parametrize("d", [1, 2, 9, 64, 65, 150, 256, 600])
def test_factors_and_solutions(d: int) -> None:
    a, b = positive_definite(d), integers(d, 5)
    np.testing.assert_allclose(linear.cholesky(a), np.linalg.cholesky(a), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(linear.solve(a, b), np.linalg.solve(a, b), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(linear.solve(a, b[:, 0]), np.linalg.solve(a, b[:, 0]), rtol=1e-9, atol=1e-12)
    lower = np.tril(a)
    np.testing.assert_allclose(linear.inverse_lower(lower) @ lower, np.eye(d), atol=1e-8)
    u, inverse = linear.inverse_factors(a)
    assert not np.tril(u, -1).any()
    np.testing.assert_allclose(u.T @ u @ a, np.eye(d), atol=1e-8)
    np.testing.assert_allclose(u @ inverse, np.eye(d), atol=1e-8)


def test_matrices_that_are_not_positive_definite_are_refused() -> None:
    for a in (np.zeros((2, 2)), -np.eye(70), np.array([[1.0, 2.0], [2.0, 1.0]]), np.full((1, 1), np.nan)):
        with pytest.raises(ValueError, match="not positive definite"):
            linear.cholesky(a)


@pytest.mark.parametrize("d", [1, 2, 9, 49])
def test_eigenvectors(d: int) -> None:
    a = positive_definite(d, seed=2) - 3000 * np.eye(d)
    values, vectors = linear.symmetric_eigen(a)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a)[::-1], atol=1e-11 * float(np.abs(a).max()) * d)
    np.testing.assert_allclose((vectors.T * values) @ vectors, a, atol=1e-11 * float(np.abs(a).max()) * d)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(d), atol=1e-12)
    assert (vectors[np.arange(d), np.abs(vectors).argmax(axis=1)] > 0).all()
    zero, axes = linear.symmetric_eigen(np.zeros((d, d)))
    assert not zero.any() and (axes == np.eye(d)).all()


def test_orthonormal_columns() -> None:
    a = integers(9, 6)
    q = linear.orthonormal(a)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-14)
    np.testing.assert_allclose(np.tril(q.T @ a, -1), 0, atol=1e-10)
    twice = linear.orthonormal(np.stack([a[:, 0], 2 * a[:, 0], a[:, 1]], axis=1))
    assert not twice[:, 1].any() and np.abs(twice[:, 2] @ twice[:, 0]) < 1e-14


def test_linear_algebra_has_the_same_bits_everywhere() -> None:
    a, b = positive_definite(100) / 7, integers(100, 9) / 3
    values, vectors = linear.symmetric_eigen(a[:12, :12])
    found = (linear.product(a, b), linear.solve(a, b), *linear.inverse_factors(a), values, vectors)
    assert digest(*found, linear.orthonormal(b)) == "0ff9f6878286af7b"


def test_compiled_loops_fuse_no_multiplication_with_an_addition() -> None:
    for function, arguments in (
        (loops.add_product, (*(np.zeros((1, 1)),) * 3, 0, 1)),
        (loops.factor_block, (np.ones((1, 1)),)),
        (loops.substitute, (np.ones((1, 1)),) * 2),
        (loops.rotate_to_diagonal, (np.ones((1, 1)),) * 2),
    ):
        again = cast(Any, numba).njit(fastmath=False)(cast(Any, function).py_func)  # nothing is told of cached code
        again(*arguments)
        (code,) = again.inspect_asm().values()
        assert "mul" in code and not re.search(r"\b(vfn?m(add|sub)|fn?m(add|sub)|fml[as])", code)


# Noise ------------------------------------------------------------------------------------------------------------


def test_noise_is_nearly_normal_and_the_same_everywhere() -> None:
    x = normal(np.random.default_rng(0), (100, 1000))
    assert abs(float(x.mean())) < 0.02 and abs(float(x.std()) - 1) < 0.01 and float(np.abs(x).max()) < 3.5
    assert 0.65 < float((np.abs(x) < 1).mean()) < 0.7
    assert digest(x) == "021c3991f593c079"


# Sources ----------------------------------------------------------------------------------------------------------

_NAMES = """
    einsum dot vdot inner tensordot linalg convolve correlate polyfit cov corrcoef matmul vecdot matvec
    exp exp2 expm1 log log2 log10 log1p pow power float_power cbrt hypot sin cos tan arctan arctan2 sinh cosh tanh
    acos asin atan erf gamma
"""
_UNSURE = frozenset(_NAMES.split())
"""Functions of NumPy and of the C library whose last digits depend on the processor."""
_PROVEN = {
    "dialects/interpreters/kernels.py": "operands of isa.exact",
    "emulator/arithmetic.py": "integers below a bound",
    "escc/baselines/sparten.py": "counts",
    "escc/baselines/work.py": "counts",
    "isa/exact.py": "integers below a bound",
    "isa/reference.py": "integers below a bound",
    "isa/visits.py": "counts",
    "passes/math/moments.py": "integers below a bound",
}
"""Modules with matrix products in a library's order of summation, and why the order does not matter."""
_TORCH = ("escc/training/", "escc/compress/straight_through.py")


def _unsure(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult):
            yield f"line {node.lineno}: @"
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if (owner in ("np", "numpy", "math") and node.attr in _UNSURE) or node.attr == "standard_normal":
                yield f"line {node.lineno}: {owner}.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "math":
            yield from (f"line {node.lineno}: math.{a.name}" for a in node.names if a.name in _UNSURE)


def test_sources_use_only_what_is_the_same_everywhere() -> None:
    found: dict[str, list[str]] = {}
    for package in ("isa", "dialects", "passes", "emulator", "escc"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(_TORCH) and (uses := list(_unsure(ast.parse(path.read_text(encoding="utf-8"))))):
                found[name] = uses
    products = {name for name, uses in found.items() if name in _PROVEN}
    assert products == set(_PROVEN), "a module of the list has no product any more"
    assert not {name: uses for name, uses in found.items() if name not in _PROVEN}
