"""Alternating minimisation of || X (W - s T B) ||^2 for one layer: T of zeros and signed powers of two, int8 B shared
by the layer, one scale s a channel.

Given the second moments H = E[x x'] of the windows x of the layer, the error of output channel k is (w - ŵ)' H (w -
ŵ) with ŵ[c, rs] = s[k] * sum_v T[k,v,c] * B[v,rs]. The steps, each of which never raises the sum of the errors (plus
the price):

* T: feeding errors forward through the input channels (as GPTQ does), and coordinate descent over single and paired
  coefficients (see `escc.compress.coefficients`);
* B: weighted least squares, rounded to int8 and descended on over integers in the same quadratic form;
* s: closed form for each channel.

Products of real matrices are those of `passes.math.linear`, so the same decomposition is found on every processor;
those of integers are exact.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from escc.compress.initial import initial_bases, sizes
from escc.compress.metric import Metric
from isa.levels import magnitudes
from passes.math.linear import product, solve
from passes.math.parallel import over_rows

F = NDArray[np.float64]
I8 = NDArray[np.int8]

BASIS_LIMIT = 127

_STEPS = 32
"""Steps of a matrix product that take as long as one of a descent: a weight times a basis, and what follows on it."""


@dataclass(frozen=True)
class Settings:
    """Knobs of the alternation; the defaults are for accuracy within seconds a layer.

    Coefficients are 0 or of a magnitude 1, 2, 4 up to `level`. `price` is that of a non-zero; `surcharges` are added to
    it for each magnitude, in ascending order (none: 0 for all). A fit whose relative error is above `hopeless` after
    the rounds of trial gets no more rounds, for these lower an error by little.
    """

    starts: int = 2
    trial_rounds: int = 3
    rounds: int = 15
    tolerance: float = 2e-3
    factors: tuple[float, ...] = (0.8, 1.0, 1.25)
    price: float = 0.0
    seed: int = 0
    level: int = 1
    surcharges: tuple[float, ...] = ()
    hopeless: float = np.inf

    @property
    def magnitudes(self) -> tuple[int, ...]:
        """Magnitudes that a coefficient other than 0 may have, in ascending order."""
        return magnitudes(self.level)

    @property
    def values(self) -> I8:
        """Values that a coefficient may have: int8 [M]."""
        return np.array([0, *(sign * m for m in self.magnitudes for sign in (1, -1))], np.int8)

    @property
    def prices(self) -> F:
        """Price of each magnitude from 0 to the greatest: float64."""
        prices = np.zeros(self.level + 1)
        for m, surcharge in zip(self.magnitudes, self.surcharges or (0.0,) * len(self.magnitudes), strict=True):
            prices[m] = self.price + surcharge
        return prices


@dataclass
class Fit:
    """A decomposition in float scale: w ~ s[k] * sum_v t[k,v,c] * b[v,r,s].

    t: int8 [K, V, C], of magnitude 0, 1, 2 or 4; b: int8 [V, R, S]; s: float64 [K], never negative. `error` is the
    weighted squared error, `energy` that of the zero approximation, `history` the objective (error plus price) after
    each step.
    """

    t: I8
    b: I8
    s: F
    error: float
    energy: float
    history: list[float] = field(default_factory=list[float])

    @property
    def relative_error(self) -> float:
        """Error over energy; 0 for the layer that computes nothing."""
        return self.error / self.energy if self.energy > 0 else 0.0

    @property
    def density(self) -> float:
        """Share of non-zero coefficients."""
        return float(np.count_nonzero(self.t)) / max(1, self.t.size)


class _State:
    """One candidate solution; works on weights [K, C, RS]. `b` holds integers; `weighed` is the unscaled approximation
    times the metric [K, C*RS].
    """

    def __init__(self, problem: _Problem, bases: F, s: F):
        k, c, _ = problem.w.shape
        self.problem = problem
        self.t: I8 = np.zeros((k, c, bases.shape[0]), np.int8)
        self.b: F = bases
        self.s: F = s
        self.weighed: F = np.zeros_like(problem.flat)
        self.measure()

    def unit(self) -> F:
        """Unscaled approximation [K, C*RS], integers.

        A library's product would have idle threads of its own wait, for a while, on the processors of ours.
        """
        from escc.compress.coefficients import combine

        k, c, v = self.t.shape
        total = np.empty((k * c, self.b.shape[1]))
        combine(self.t.reshape(k * c, v), self.b, total)
        return total.reshape(k, -1)

    def refresh(self) -> None:
        """Recompute the weighed approximation, and what follows from it, after t or b changed."""
        unit = self.unit()
        self.weighed = self.problem.metric.weighed(unit)
        self.measure(unit)

    def measure(self, unit: F | None = None) -> None:
        """Recompute the objective of each output channel from t, s and the weighed approximation; `unit` is that of t
        and b if it is known.
        """
        unit = self.unit() if unit is None else unit
        self.cross: F = (unit * self.problem.wh).sum(axis=1)
        self.own: F = (unit * self.weighed).sum(axis=1)
        self.paid: F = self.problem.price_of(self.t)
        self.judge()

    def judge(self) -> None:
        """Recompute the objective after s alone changed."""
        errors = np.maximum(self.problem.energies - 2.0 * self.s * self.cross + self.s * self.s * self.own, 0.0)
        self.rows: F = errors + self.paid
        self.error = float(errors.sum())
        self.objective = float(self.rows.sum())

    def gradient(self) -> F:
        """Residual times the metric [K, C*RS]."""
        return self.problem.wh - self.s[:, None] * self.weighed

    def take_better_rows(self, other: _State) -> None:
        """Adopt the coefficients and scales of `other` (equal bases) for the output channels that it approximates
        better.
        """
        better = other.rows < self.rows
        if better.any():
            self.t[better] = other.t[better]
            self.s = np.where(better, other.s, self.s)
            self.weighed = np.where(better[:, None], other.weighed, self.weighed)
            self.cross, self.own, self.paid = (
                np.where(better, new, old)
                for new, old in ((other.cross, self.cross), (other.own, self.own), (other.paid, self.paid))
            )
            self.judge()

    def copy(self) -> _State:
        """Independent copy; arrays that are only ever replaced are shared."""
        new = _State.__new__(_State)
        new.__dict__.update(self.__dict__)
        new.t = self.t.copy()
        return new


class _Problem:
    """Target weights of a layer, in the order [C, RS], their metric, and the prices of coefficients."""

    def __init__(self, w: F, metric: Metric, settings: Settings):
        self.w = w
        k, c, rs = w.shape
        self.flat: F = w.reshape(k, c * rs)
        self.metric = metric
        self.level = settings.level
        self.values = settings.values
        self.prices = settings.prices
        self.wh: F = metric.weighed(self.flat)
        self.energies: F = (self.flat * self.wh).sum(axis=1)
        self.energy = float(self.energies.sum())

    def price_of(self, t: I8) -> F:
        """Price of the coefficients [K, C, V] of each output channel: float64 [K]."""
        total = np.zeros(len(t))
        for m in magnitudes(self.level):
            total += self.prices[m] * np.count_nonzero(np.abs(t) == m, axis=(1, 2))
        return total


def _grams(b: F, metric: F) -> F:
    """Gram matrices [C, V, V] of bases [V, RS] in metrics [C, RS, RS]."""
    c, rs, _ = metric.shape
    half = product(b, metric.transpose(1, 0, 2).reshape(rs, c * rs))
    grams = product(half.reshape(len(b) * c, rs), b.T).reshape(len(b), c, len(b))
    return np.ascontiguousarray(grams.transpose(1, 0, 2))


def _sweep(state: _State) -> None:
    """Coordinate descent once over all coefficients."""
    from escc.compress.coefficients import sweep

    pr, metric = state.problem, state.problem.metric
    k, _, rs = pr.w.shape
    gram = _grams(state.b, metric.diagonal)
    gradient = state.gradient()
    for c0, c1 in metric.blocks:
        lo, hi = c0 * rs, c1 * rs
        t = np.ascontiguousarray(state.t[:, c0:c1])
        p = gradient[:, lo:hi].copy()  # the sweep changes it; the product below changes the gradient
        dw = np.zeros((k, hi - lo))
        h, g = metric.within(c0, c1), gram[c0:c1]

        def part(rows: slice, t: I8 = t, p: F = p, dw: F = dw, h: F = h, g: F = g) -> None:
            sweep(t[rows], p[rows], h, state.b, g, state.s[rows], pr.values, pr.prices, dw[rows])

        over_rows(part, k, _STEPS * p.size * (rs + state.b.size))
        changed = np.flatnonzero(dw.any(axis=1))
        if changed.size:
            state.t[:, c0:c1] = t
            metric.take(gradient, changed, dw[changed], c0, c1)
    live = state.s > 0
    inverse = 1.0 / np.where(live, state.s, 1.0)
    state.weighed = np.where(live[:, None], (pr.wh - gradient) * inverse[:, None], state.weighed)
    state.measure()


def _feed_forward(state: _State) -> None:
    """Choose all coefficients anew, feeding errors forward."""
    from escc.compress.coefficients import feed_forward

    pr, metric = state.problem, state.problem.metric
    k, _, rs = pr.w.shape
    gram = _grams(state.b, metric.conditional)
    passed_on = np.zeros_like(pr.flat)  # errors so far times the columns of the factor
    for c0, c1 in metric.blocks:
        lo, hi = c0 * rs, c1 * rs
        t = np.zeros((k, c1 - c0, state.b.shape[0]), np.int8)
        e = np.zeros((k, hi - lo))
        w, z = (np.ascontiguousarray(a[:, lo:hi]) for a in (pr.flat, passed_on))
        shared = metric.factor_within(c0, c1), metric.conditional[c0:c1], state.b, gram[c0:c1]

        def part(rows: slice, t: I8 = t, w: F = w, z: F = z, e: F = e, shared: tuple[F, F, F, F] = shared) -> None:
            feed_forward(t[rows], w[rows], z[rows], *shared, state.s[rows], pr.values, pr.prices, e[rows])

        over_rows(part, k, _STEPS * e.size * (rs + state.b.size))
        state.t[:, c0:c1] = t
        metric.pass_on(passed_on, e, c0, c1)
    state.refresh()


def _scale_step(state: _State) -> None:
    """Closed-form s; a negative one turns the signs of its coefficients instead."""
    s = np.where(state.own > 0, state.cross / np.where(state.own > 0, state.own, 1.0), state.s)
    negative = s < 0
    if negative.any():
        state.t[negative] = -state.t[negative]
        state.weighed = np.where(negative[:, None], -state.weighed, state.weighed)
        state.cross = np.where(negative, -state.cross, state.cross)
    state.s = np.abs(s)
    state.judge()


def _basis_normal(state: _State) -> tuple[F, F]:
    """Normal equations of B: quadratic form float64 [V, RS, V, RS] and right-hand side [V, RS]."""
    pr = state.problem
    k, c, rs = pr.w.shape
    v = state.b.shape[0]
    st = state.s[:, None, None] * state.t  # [K, C, V]
    rhs = product(st.reshape(k * c, v).T, pr.wh.reshape(k * c, rs))
    return pr.metric.normal(st.reshape(k, c * v)), rhs


def _round_bases(normal: F, rhs: F, b: F) -> tuple[F, float]:
    """int8 bases near b (float, any scale) and their step: rounding, then integer coordinate descent in the
    quadratic form.
    """
    peak = float(np.abs(b).max())
    if peak == 0:
        return b, 1.0
    step = peak / BASIS_LIMIT
    n = normal.reshape(b.size, b.size) * (step * step)
    x = np.rint(b.reshape(-1) / step)
    grad = rhs.reshape(-1) * step - (n * x).sum(axis=1)
    diag = np.diag(n).copy()
    usable = diag > 0
    for _ in range(4 * b.size):
        move = np.where(usable, np.rint(grad / np.where(usable, diag, 1.0)), 0.0)
        move = np.clip(x + move, -BASIS_LIMIT, BASIS_LIMIT) - x
        gain = 2 * move * grad - move * move * diag
        i = int(np.argmax(gain))
        if gain[i] <= 1e-12 * abs(float(gain.sum())) or move[i] == 0:
            break
        x[i] += move[i]
        grad -= n[:, i] * move[i]
    return x.reshape(b.shape), step


def _basis_step(state: _State) -> _State:
    """A new state with int8 bases from weighted least squares and s refitted; the caller keeps the better one."""
    normal, rhs = _basis_normal(state)
    size = rhs.size
    a = normal.reshape(size, size)
    ridge = 1e-9 * max(float(np.trace(a)) / size, 1e-300)
    b = solve(a + ridge * np.eye(size), rhs.reshape(size)).reshape(rhs.shape)
    new = state.copy()
    new.b, step = _round_bases(normal, rhs, b)
    new.s = state.s * step
    new.refresh()
    _scale_step(new)
    return new


def _round(state: _State, factors: Sequence[float]) -> _State:
    """One alternation. The coefficients are also chosen anew, from scales times each of the factors; better rows
    stay.
    """
    better = _basis_step(state)
    if better.objective < state.objective:
        state = better
    state = state.copy()
    _sweep(state)
    for factor in factors:
        other = state.copy()
        other.s = other.s * factor
        _feed_forward(other)
        _scale_step(other)
        _sweep(other)
        _scale_step(other)
        state.take_better_rows(other)
    refitted = state.copy()
    _scale_step(refitted)
    state.take_better_rows(refitted)
    return state


def _start(problem: _Problem, bases: F, scale: F) -> _State:
    """A first state: int8 bases, coefficients by feeding errors forward, scales refitted."""
    step = float(np.abs(bases).max()) / BASIS_LIMIT
    state = _State(problem, np.rint(bases / step), scale * step)
    _feed_forward(state)
    _scale_step(state)
    _sweep(state)
    return state


def decompose(w: F, metric: Metric, bases: int, settings: Settings = Settings(), first: F | None = None) -> Fit:
    """Decompose weights w float64 [K, R, S, C] with `bases` virtual bases, in the metric of their input channels.

    `metric` is that of `Metric.of_channels`. If bases `first` float64 [V, R, S] are given, which suit weights of mean
    square 1, the search begins with these alone. Deterministic under `settings.seed`.
    """
    k, r, s, c = w.shape
    problem = _Problem(
        np.ascontiguousarray(w.reshape(k, r * s, c).transpose(0, 2, 1).astype(np.float64)), metric, settings
    )
    if problem.energy <= 0:
        zero = np.zeros((bases, r, s), np.int8)
        return Fit(np.zeros((k, bases, c), np.int8), zero, np.zeros((k,)), 0.0, problem.energy, [0.0])
    rng = np.random.default_rng(settings.seed)
    _ = metric.conditional  # shared by the threads
    if first is not None:
        starts = [(first.reshape(bases, -1), sizes(problem.w))]
    else:
        count = max(1, settings.starts)
        starts = [initial_bases(problem.w, bases, settings.level, index, rng) for index in range(count)]

    def trial(start: tuple[F, F]) -> tuple[_State, list[float]]:
        state = _start(problem, *start)
        trace = [state.objective]
        for _ in range(settings.trial_rounds):
            state = _round(state, settings.factors)
            trace.append(state.objective)
        return state, trace

    with ThreadPoolExecutor(min(len(starts), os.cpu_count() or 1)) as pool:
        best, history = min(pool.map(trial, starts), key=lambda found: found[0].objective)
    for _ in range(settings.rounds - settings.trial_rounds):
        if best.error > settings.hopeless * problem.energy:
            break
        previous = best.objective
        best = _round(best, settings.factors)
        history.append(best.objective)
        if previous - best.objective <= settings.tolerance * previous:
            break
    t = np.ascontiguousarray(best.t.transpose(0, 2, 1))
    return Fit(t, best.b.reshape(bases, r, s).astype(np.int8), best.s, best.error, problem.energy, history)
