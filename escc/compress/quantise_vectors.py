"""Alternating minimisation of || X (W - s A) ||^2 for one layer, where A takes every group of weights from a book.

Given the second moments of the windows, the error of output channel k is (w - a)' H (w - a), and the price is that of
the bits of its codes. The steps:

* codes: feeding errors forward through the groups, and coordinate descent (see `escc.compress.codes`);
* book: weighted least squares by conjugate gradients, which needs products with the metric alone;
* scales: closed form for each output channel;
* bits of each entry: what an ideal code takes for entries that occur as often as they do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escc.compress.initial import sizes
from escc.compress.metric import Metric
from isa.elementary import log2
from passes.math.linear import product
from passes.math.parallel import over_rows

F = NDArray[np.float64]
I16 = NDArray[np.int16]

_LEAST_SHARE = 2.0**-12
_LLOYD_ROUNDS = 6
_GRADIENT_STEPS = 6
_PEAK = 127


@dataclass(frozen=True)
class VectorFit:
    """w[k] ~ s[k] times the vectors that the codes name.

    codes: int16 [K, groups], from -N to N; book: float64 [N, width], of integers from -127 to 127; s: float64 [K].
    `error` is the weighted squared error, `energy` that of the zero approximation, `bits` what an ideal code takes.
    """

    codes: I16
    book: F
    s: F
    error: float
    energy: float
    bits: float

    @property
    def relative_error(self) -> float:
        """Error over energy; 0 for the layer that computes nothing."""
        return self.error / self.energy if self.energy > 0 else 0.0


@dataclass(frozen=True)
class _VectorProblem:
    w: F
    metric: Metric
    per_bit: float
    wh: F

    @classmethod
    def of(cls, w: F, metric: Metric, per_bit: float) -> _VectorProblem:
        return cls(w, metric, per_bit, metric.weighed(w))

    def error(self, approximation: F) -> float:
        return float(self.metric.energies(self.w - approximation).sum())


def code_bits(codes: I16, entries: int) -> F:
    """Bits of each entry, 0 first, in an ideal code of codes that occur as often as these; a sign takes one."""
    used = np.bincount(np.abs(codes.astype(np.int64)).reshape(-1), minlength=entries + 1)
    share = np.maximum(used / max(1, codes.size), _LEAST_SHARE)
    bits = -log2(share)
    bits[1:] += 1
    return bits


def _vectors(codes: I16, book: F) -> F:
    """The unscaled approximation [K, groups*width]."""
    entries = np.concatenate([np.zeros((1, book.shape[1])), book])
    named = entries[np.abs(codes)]
    signed: F = np.where((codes < 0)[..., None], -named, named)
    return signed.reshape(len(codes), -1)


def _quadratic(book: F, metric: F) -> F:
    """b' G b for each group and entry: float64 [groups, N]."""
    groups, width, _ = metric.shape
    half = product(metric.reshape(groups * width, width), np.ascontiguousarray(book.T)).reshape(groups, width, -1)
    total = half[:, 0] * book[:, 0]
    for i in range(1, width):
        total = total + half[:, i] * book[:, i]
    return total


def _feed_forward(pr: _VectorProblem, book: F, s: F, bits: F) -> I16:
    """All codes, chosen anew."""
    from escc.compress.codes import feed_forward

    metric, width = pr.metric, pr.metric.width
    quadratic = _quadratic(book, metric.conditional)
    codes = np.zeros((len(pr.w), metric.groups), np.int16)
    passed_on = np.zeros_like(pr.w)
    for first, end in metric.blocks:
        lo, hi = first * width, end * width
        w, z = (np.ascontiguousarray(a[:, lo:hi]) for a in (pr.w, passed_on))
        part, e = np.zeros((len(w), end - first), np.int16), np.zeros(w.shape)
        v, q = metric.factor_within(first, end), np.ascontiguousarray(quadratic[first:end])
        shared = v, metric.conditional[first:end], book, q

        def choose(
            rows: slice, part: I16 = part, w: F = w, z: F = z, e: F = e, shared: tuple[F, F, F, F] = shared
        ) -> None:
            feed_forward(part[rows], w[rows], z[rows], *shared, s[rows], bits, e[rows])

        over_rows(choose, len(w), part.size * book.size)
        codes[:, first:end] = part
        metric.pass_on(passed_on, e, first, end)
    return codes


def _sweep(pr: _VectorProblem, codes: I16, book: F, s: F, bits: F) -> I16:
    """Codes after one pass of coordinate descent."""
    from escc.compress.codes import sweep

    metric, width = pr.metric, pr.metric.width
    quadratic = _quadratic(book, metric.diagonal)
    gradient = pr.wh - metric.weighed(s[:, None] * _vectors(codes, book))
    codes = codes.copy()
    for first, end in metric.blocks:
        lo, hi = first * width, end * width
        part, p = np.ascontiguousarray(codes[:, first:end]), np.ascontiguousarray(gradient[:, lo:hi])
        dw = np.zeros(p.shape)
        h, q = metric.within(first, end), np.ascontiguousarray(quadratic[first:end])
        shared = h, metric.diagonal[first:end], book, q

        def descend(rows: slice, part: I16 = part, p: F = p, dw: F = dw, shared: tuple[F, F, F, F] = shared) -> None:
            sweep(part[rows], p[rows], *shared, s[rows], bits, dw[rows])

        over_rows(descend, len(p), part.size * book.size)
        codes[:, first:end] = part
        gradient -= product(dw, metric.h[lo:hi])
    return codes


def _gather(codes: I16, x: F, entries: int) -> F:
    """Sums of x [K, groups*width] over the groups of each entry, with the signs of its codes: float64 [N, width]."""
    width = x.shape[1] // codes.shape[1]
    signed = (np.sign(codes)[..., None] * x.reshape(*codes.shape, width)).reshape(-1, width)
    named = np.abs(codes.astype(np.int64)).reshape(-1)
    sums = np.zeros((entries, width))
    for i in range(width):
        sums[:, i] = np.bincount(named, weights=signed[:, i], minlength=entries + 1)[1:]
    return sums


def _refit(pr: _VectorProblem, codes: I16, book: F, s: F) -> F:
    """The book of least error for codes and scales, nearly: conjugate gradients from the book at hand."""

    def apply(b: F) -> F:
        return _gather(codes, s[:, None] * pr.metric.weighed(s[:, None] * _vectors(codes, b)), len(b))

    x = book.copy()
    left = _gather(codes, s[:, None] * pr.wh, len(book)) - apply(x)
    used = np.bincount(np.abs(codes.astype(np.int64)).reshape(-1), minlength=len(book) + 1)[1:]
    scale = 1.0 / np.maximum(used, 1)[:, None]
    towards = scale * left
    match = float((left * towards).sum())
    for _ in range(_GRADIENT_STEPS):
        image = apply(towards)
        bend = float((towards * image).sum())
        if not bend > 0:
            break
        x = x + (match / bend) * towards
        left = left - (match / bend) * image
        step = scale * left
        fresh = float((left * step).sum())
        if not fresh > 1e-12 * match:
            break
        towards, match = step + (fresh / match) * towards, fresh
    return x


def _scales(pr: _VectorProblem, codes: I16, book: F, s: F) -> F:
    """The best scale of each output channel; what it was where it has no code or would not be positive."""
    unit = _vectors(codes, book)
    own, cross = pr.metric.energies(unit), (unit * pr.wh).sum(axis=1)
    fits = (own > 0) & (cross > 0)
    better: F = np.where(fits, cross / np.where(own > 0, own, 1.0), s)
    return better


def _first_book(pr: _VectorProblem, entries: int, rng: np.random.Generator) -> tuple[F, F]:
    """Vectors of normalised weights that lie apart (k-means++), improved by Lloyd's rounds; and scales [K]."""
    s = sizes(pr.w)
    vectors = (pr.w / s[:, None]).reshape(-1, pr.metric.width)
    vectors = vectors[np.sort(rng.permutation(len(vectors))[: 64 * max(entries, 64)])]
    squares = (vectors * vectors).sum(axis=1)
    distance = squares.copy()  # the zero vector has a code already
    chosen: list[F] = []
    for _ in range(entries):
        ends = np.cumsum(distance)
        if not ends[-1] > 0:
            break
        index = int(np.searchsorted(ends, rng.random() * float(ends[-1]), side="right"))
        b: F = vectors[min(index, len(vectors) - 1)]
        chosen.append(b)
        distance = np.minimum(distance, squares + (b * b).sum() - 2 * np.abs((vectors * b).sum(axis=1)))
        distance = np.maximum(distance, 0.0)
    book = np.stack(chosen) if chosen else np.ones((1, pr.metric.width))
    for _ in range(_LLOYD_ROUNDS):
        dots = product(vectors, np.ascontiguousarray(book.T))
        costs = (book * book).sum(axis=1) - 2 * np.abs(dots)
        nearest = costs.argmin(axis=1)
        rows = np.arange(len(vectors))
        codes = np.where(costs[rows, nearest] < 0, np.sign(dots[rows, nearest]) * (nearest + 1), 0).astype(np.int16)
        used = np.bincount(np.abs(codes.astype(np.int64)), minlength=len(book) + 1)[1:, None]
        book = np.where(used > 0, _gather(codes[:, None], vectors, len(book)) / np.maximum(used, 1), book)
    return book, s


def quantise_vectors(
    w: F, metric: Metric, entries: int, per_bit: float, rounds: int, seed: int, first: VectorFit | None = None
) -> VectorFit:
    """Codes, book and scales for weights w float64 [K, groups*width] in the order of the metric.

    `per_bit` is the price of a bit, in squared error. The search begins with the book of `first` where it is given.
    Deterministic under `seed`.
    """
    pr = _VectorProblem.of(w, metric, per_bit)
    energy = float((w * pr.wh).sum())
    book, s = _first_book(pr, entries, np.random.default_rng(seed)) if first is None else (first.book, first.s)
    if energy <= 0:
        return VectorFit(np.zeros((len(w), metric.groups), np.int16), np.ones((1, metric.width)), s, 0.0, energy, 0.0)
    bits = np.full(len(book) + 1, float(log2(np.float64(2 * len(book) + 1))))
    best: VectorFit | None = None
    for number in range(rounds):
        codes = _feed_forward(pr, book, s, per_bit * bits)
        if number:
            bits = code_bits(codes, len(book))
        s = _scales(pr, codes, book, s)
        codes = _sweep(pr, codes, book, s, per_bit * bits)
        bits = code_bits(codes, len(book))
        best = _better(pr, best, _measure(pr, codes, book, s, energy))
        if number + 1 < rounds:
            book = _refit(pr, codes, book, s)
    assert best is not None
    return _finished(pr, best, energy)


def _measure(pr: _VectorProblem, codes: I16, book: F, s: F, energy: float) -> VectorFit:
    total = float(code_bits(codes, len(book))[np.abs(codes.astype(np.int64))].sum())
    return VectorFit(codes, book, s, pr.error(s[:, None] * _vectors(codes, book)), energy, total)


def _better(pr: _VectorProblem, a: VectorFit | None, b: VectorFit) -> VectorFit:
    return b if a is None or b.error + pr.per_bit * b.bits < a.error + pr.per_bit * a.bits else a


def _finished(pr: _VectorProblem, fit: VectorFit, energy: float) -> VectorFit:
    """A fit with a book of integers, its codes and scales fitted to that."""
    book = _refit(pr, fit.codes, fit.book, fit.s)
    peak = max(float(np.abs(book).max()), 1e-300)
    book = np.rint(book * (_PEAK / peak))
    s: F = fit.s * (peak / _PEAK)
    bits = code_bits(fit.codes, len(book))
    found = None
    codes = fit.codes
    for _ in range(2):
        s = _scales(pr, codes, book, s)
        codes = _sweep(pr, codes, book, s, pr.per_bit * bits)
        found = _better(pr, found, _measure(pr, codes, book, _scales(pr, codes, book, s), energy))
    assert found is not None
    return found
