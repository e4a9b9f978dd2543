"""Compiled inner loops over coefficients that are 0 or signed powers of two.

All of them solve the same local problem. Every coefficient of one output and one input channel is collected in t, each
of whose V entries is one of a few values. The objective changes by ``d' G d - 2 q' d + P(t + d) - P(t)`` when t becomes
t + d: q is the correlation of the residual with each basis, G the Gram matrix of the bases in the metric of the
channel, and P adds up the prices of the magnitudes.

`values` int8 [M] are the values that a coefficient may have, 0 among them; `prices` float64 [1 + greatest magnitude]
has the price of each magnitude, 0 for the magnitude 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isa.jit import inner, jit, woven

F = NDArray[np.float64]
I8 = NDArray[np.int8]


@woven
def _descend(t: I8, q: F, g: F, values: I8, prices: F, room: F) -> float:
    """`improve`, which works in the room, float64 [2 V + 2, W], W at least V and M - 1."""
    v, others = t.size, values.size - 1
    step, gain, inverse, saved = room[:v], room[v : 2 * v], room[2 * v], room[2 * v + 1]
    total, scale = 0.0, 0.0
    for i in range(v):
        inverse[i] = 1.0 / g[i, i] if g[i, i] > 0.0 else np.inf
        scale = max(scale, g[i, i])
    margin = 1e-9 * scale
    for _ in range(8 * v + 8):
        best = 0.0
        bi, bj, bdi, bdj = -1, -1, 0.0, 0.0
        for i in range(v):
            n, now, paid = 0, t[i], prices[abs(t[i])]
            saved[i] = paid + margin
            for value in values:
                # The values that t[i] does not have, as differences.
                if value == now:
                    continue
                d = float(value - now)
                step[i, n] = d
                gain[i, n] = -2.0 * d * q[i] + d * d * g[i, i] + (prices[abs(value)] - paid)
                if gain[i, n] < best:
                    best, bi, bj, bdi = gain[i, n], i, -1, d
                n += 1
        for i in range(v):
            for j in range(i + 1, v):
                coupling, qj, inv, more = g[i, j], q[j], inverse[j], saved[j]
                if others > 2:
                    # The least that any change of t[j], whole or not, makes of each change of t[i]. Few pairs promise
                    # anything, and a loop without a way out takes wide registers.
                    promising = 0
                    for n in range(others):
                        rest = qj - coupling * step[i, n]
                        promising += 0 if gain[i, n] - rest * rest * inv - more >= best else 1
                    if promising == 0:
                        continue
                c = 2.0 * coupling
                for n in range(others):
                    for m in range(others):
                        f = gain[i, n] + gain[j, m] + c * step[i, n] * step[j, m]
                        if f < best:
                            best, bi, bj, bdi, bdj = f, i, j, step[i, n], step[j, m]
        if best >= -1e-12 * scale or bi < 0:
            break
        total += best
        t[bi] += np.int8(bdi)
        for i in range(v):
            q[i] -= g[i, bi] * bdi
        if bj >= 0:
            t[bj] += np.int8(bdj)
            for i in range(v):
                q[i] -= g[i, bj] * bdj
    return total


@jit
def improve(t: I8, q: F, g: F, values: I8, prices: F) -> float:
    """Descend in place over single and pairwise changes, the best one first, until none lowers the objective.

    t: int8 [V]; q: float64 [V], kept up to date; g: float64 [V, V]. Returns the change of the objective, not positive.
    """
    return _descend(t, q, g, values, prices, _room(t.size, values.size))


@inner
def _room(v: int, m: int) -> F:
    return np.empty((2 * v + 2, max(v, m)))


@jit
def combine(t: I8, b: F, total: F) -> None:
    """Sums of bases b float64 [V, RS] with coefficients t int8 [N, V] into `total` float64 [N, RS]."""
    for n in range(t.shape[0]):
        total[n] = 0.0
        for i in range(t.shape[1]):
            if t[n, i] != 0:
                for r in range(b.shape[1]):
                    total[n, r] += t[n, i] * b[i, r]


@jit
def take(row: F, change: F, h: F, first: int) -> None:
    """Take change [N] times h [N, D] off a row [D] from column `first` on, in place, term after term."""
    n = change.size
    for r in range(0, n - n % 3, 3):
        c0, c1, c2 = change[r], change[r + 1], change[r + 2]
        h0, h1, h2 = h[r], h[r + 1], h[r + 2]
        for x in range(first, row.size):
            row[x] = ((row[x] - c0 * h0[x]) - c1 * h1[x]) - c2 * h2[x]
    for r in range(n - n % 3, n):
        for x in range(first, row.size):
            row[x] -= change[r] * h[r, x]


@jit
def sweep(t: I8, p: F, h: F, b: F, g: F, s: F, values: I8, prices: F, dw: F) -> None:
    """One pass of coordinate descent over a block of input channels, for every output channel.

    t: int8 [K, n, V], changed in place. p: float64 [K, n*RS], the residual times the metric, restricted to the block
    and changed in place where later channels read it. h: float64 [n*RS, n*RS], the metric within the block. b: float64
    [V, RS]. g: float64 [n, V, V]. s: float64 [K]. dw: float64 [K, n*RS], receives the change of the approximated
    weights.
    """
    k_count, n, v = t.shape
    rs = b.shape[1]
    q = np.empty(v)
    q2 = np.empty(v)
    old = np.empty(v, np.int8)
    fresh = np.empty(v, np.int8)
    change = np.empty(rs)
    room = _room(v, values.size)
    for k in range(k_count):
        dw[k] = 0.0
        if s[k] <= 0.0:
            continue
        unit_prices = prices / (s[k] * s[k])
        for c in range(n):
            base = c * rs
            used = False
            for i in range(v):
                total = 0.0
                for r in range(rs):
                    total += b[i, r] * p[k, base + r]
                q[i] = total / s[k]
                old[i] = t[k, c, i]
                used = used or old[i] != 0
            # From where it is, and once more from zero if that is elsewhere: descent is local, the better end counts.
            fresh_gain = 0.0
            if used:
                for i in range(v):
                    total = 0.0
                    for j in range(v):
                        total += g[c, i, j] * old[j]
                    q2[i] = q[i] + total
                    fresh_gain += old[i] * (q[i] + q2[i]) - unit_prices[abs(old[i])]
                fresh[:] = 0
                fresh_gain += _descend(fresh, q2, g[c], values, unit_prices, room)
            own_gain = _descend(t[k, c], q, g[c], values, unit_prices, room)
            if used and fresh_gain < own_gain:
                t[k, c] = fresh
            changed = False
            change[:] = 0.0
            for i in range(v):
                d = t[k, c, i] - old[i]
                if d != 0:
                    changed = True
                    for r in range(rs):
                        change[r] += s[k] * d * b[i, r]
            if not changed:
                continue
            dw[k, base : base + rs] = change
            take(p[k], change, h[base : base + rs], base + rs)


@jit
def feed_forward(t: I8, w: F, z: F, v: F, metric: F, b: F, g: F, s: F, values: I8, prices: F, e: F) -> None:
    """Choose the coefficients of a block of input channels one channel after the other, feeding errors forward.

    Each channel is rounded to the nearest combination of bases in its conditional metric (the later channels free), and
    makes up for the errors of earlier channels as far as they show in it (the scheme of GPTQ, with a block for each
    channel).

    t: int8 [K, n, V], result. w: float64 [K, n*RS], targets. v: float64 [n*RS, n*RS], the block of the upper factor of
    the metric. z: float64 [K, n*RS], errors of earlier blocks times the columns of the factor, changed in place.
    metric: float64 [n, RS, RS], conditional metrics. b: float64 [V, RS]. g: float64 [n, V, V] in the conditional
    metrics. s: float64 [K]. e: float64 [K, n*RS], receives the errors.
    """
    k_count, n, bases = t.shape
    rs = b.shape[1]
    q = np.empty(bases)
    wanted = np.empty(rs)
    across = np.ascontiguousarray(b.T)
    unit_prices = np.zeros(prices.size)
    room = _room(bases, values.size)
    for k in range(k_count):
        if s[k] > 0.0:
            unit_prices = prices / (s[k] * s[k])
        for c in range(n):
            base = c * rs
            t[k, c] = 0
            for r in range(rs):
                # Forward substitution through the transposed diagonal block: what makes up for earlier errors.
                total = z[k, base + r]
                for x in range(r):
                    total -= v[base + x, base + r] * wanted[x]
                wanted[r] = total / v[base + r, base + r]
                e[k, base + r] = w[k, base + r]
            if s[k] > 0.0:
                for r in range(rs):
                    wanted[r] += w[k, base + r]
                q[:] = 0.0
                for r in range(rs):
                    for x in range(rs):
                        m, y = metric[c, r, x], wanted[x]
                        for i in range(bases):
                            q[i] += across[r, i] * m * y
                q /= s[k]
                _descend(t[k, c], q, g[c], values, unit_prices, room)
                for i in range(bases):
                    for r in range(rs):
                        e[k, base + r] -= s[k] * t[k, c, i] * b[i, r]
            take(z[k], -e[k, base : base + rs], v[base : base + rs], base + rs)
