"""The decomposition library: optimality of its steps, descent, recovery, determinism."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escc.compress.coefficients import improve
from escc.compress.decompose import Fit, Settings
from escc.compress.decompose import decompose as decompose_in
from escc.compress.metric import Metric
from isa.levels import LEVELS, magnitudes
from passes.decomposition.ternary_basis import TernaryBasis


def reconstruct(t, b, s):
    """Weights float64 [K, R, S, C] of a decomposition."""
    return TernaryBasis(t, b, s).weights


def decompose(w: np.ndarray, h: np.ndarray, bases: int, knobs: Settings | None = None) -> Fit:
    """In a metric h [RSC, RSC] ordered as the weights."""
    return decompose_in(w, Metric.of_channels(h, w.shape[1] * w.shape[2]), bases, knobs or Settings())


def metric(rng: np.random.Generator, d: int) -> np.ndarray:
    a = rng.standard_normal((d, 2 * d))
    return a @ a.T / (2 * d) + 0.05 * np.eye(d)


def error(w: np.ndarray, h: np.ndarray, approximation: np.ndarray) -> float:
    e = (w - approximation).reshape(w.shape[0], -1)
    return float(np.einsum("kd,de,ke->", e, h, e))


def local_cost(d: np.ndarray, q: np.ndarray, g: np.ndarray) -> float:
    return float(d @ g @ d - 2 * q @ d)


@pytest.mark.parametrize("price", [0.0, 0.3])
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("seed", range(10))
def test_local_step_is_optimal_for_two_bases_and_pairwise_optimal_for_more(seed: int, level: int, price: float) -> None:
    rng = np.random.default_rng(seed)
    knobs = Settings(price=price, level=level, surcharges=tuple(0.1 * m for m in magnitudes(level)))
    values, prices = knobs.values, knobs.prices
    for v in (1, 2, 4):
        g = metric(rng, v)
        start = rng.choice(values, v)
        q0 = rng.standard_normal(v) * level
        t, q = start.copy(), q0.copy()
        improve(t, q, g, values, prices)

        def cost(x: np.ndarray, q0: np.ndarray = q0, g: np.ndarray = g, start: np.ndarray = start) -> float:
            return local_cost(x - start.astype(float), q0, g) + prices[np.abs(x).astype(int)].sum()

        np.testing.assert_allclose(q, q0 - g @ (t - start), atol=1e-12)
        found = cost(t.astype(float))
        candidates = [np.array(x, float) for x in itertools.product(values.tolist(), repeat=v)]
        near = [x for x in candidates if np.count_nonzero(x != t) <= 2]
        assert found <= min(cost(x) for x in near) + 1e-9
        if v <= 2:
            assert found <= min(cost(x) for x in candidates) + 1e-9


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("v", [1, 3, 6, 12])
def test_each_local_step_is_the_best_of_all_single_and_paired_changes(v: int, level: int) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        knobs = Settings(price=0.2 * (seed % 3), level=level, surcharges=tuple(0.05 * m for m in magnitudes(level)))
        values, prices = knobs.values, knobs.prices
        bases = rng.integers(-9, 10, (v, 9)).astype(np.float64)  # more than 9 depend on each other
        g = bases @ metric(rng, 9) @ bases.T
        start, q0 = rng.choice(values, v), rng.standard_normal(v) * 3 * np.sqrt(np.diag(g))
        t, q = start.copy(), q0.copy()
        improve(t, q, g, values, prices)

        x, rest = start.astype(int), q0.copy()
        while True:
            best, change = -1e-9 * float(g.diagonal().max()), np.zeros(v)
            for places in itertools.chain(itertools.combinations(range(v), 1), itertools.combinations(range(v), 2)):
                for found in itertools.product(values.tolist(), repeat=len(places)):
                    d = np.zeros(v)
                    d[list(places)] = np.array(found) - x[list(places)]
                    paid = prices[np.abs(x + d.astype(int))].sum() - prices[np.abs(x)].sum()
                    if (gain := local_cost(d, rest, g) + paid) < best - 1e-9 * abs(best):
                        best, change = gain, d
            if not change.any():
                break
            x, rest = x + change.astype(int), rest - g @ change
        np.testing.assert_array_equal(t, x)


@settings(max_examples=25, deadline=None)
@given(
    k=st.integers(1, 6),
    r=st.integers(1, 3),
    s=st.integers(1, 3),
    c=st.integers(1, 9),
    v=st.integers(1, 7),
    seed=st.integers(0, 1000),
    price=st.sampled_from([0.0, 0.01, 1.0]),
    level=st.sampled_from(LEVELS),
)
def test_any_shape_descends_and_reports_its_error(
    k: int, r: int, s: int, c: int, v: int, seed: int, price: float, level: int
) -> None:
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((k, r, s, c))
    h = metric(rng, r * s * c)
    fit = decompose(w, h, v, Settings(starts=2, rounds=5, price=price, seed=seed, level=level))
    assert (
        fit.t.shape == (k, v, c)
        and fit.t.dtype == np.int8
        and set(np.abs(fit.t).ravel().tolist()) <= {0, *magnitudes(level)}
    )
    assert fit.b.shape == (v, r, s) and fit.b.dtype == np.int8 and int(np.abs(fit.b.astype(int)).max()) <= 127
    assert fit.s.shape == (k,) and (fit.s >= 0).all()
    assert all(b <= a * (1 + 1e-9) + 1e-12 for a, b in itertools.pairwise(fit.history))
    np.testing.assert_allclose(fit.error, error(w, h, reconstruct(fit.t, fit.b, fit.s)), rtol=1e-6, atol=1e-9)
    assert fit.error <= fit.energy * (1 + 1e-9) + price * fit.t.size


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "shape, bases", [((12, 3, 3, 16), 4), ((8, 5, 5, 16), 5), ((8, 7, 7, 8), 3), ((16, 1, 1, 24), 1)]
)
def test_planted_decompositions_are_found_exactly(shape: tuple[int, int, int, int], bases: int, seed: int) -> None:
    k, r, s, c = shape
    rng = np.random.default_rng(seed)
    t = rng.choice([-1, 0, 1], (k, bases, c), p=[0.15, 0.7, 0.15]).astype(np.int8)
    b = rng.integers(-127, 128, (bases, r, s)).astype(np.int8)
    b.reshape(-1)[0] = 127
    scale = rng.uniform(0.5, 2.0, k)
    w = reconstruct(t, b, scale)
    fit = decompose(w, metric(rng, r * s * c), bases, Settings(starts=6, rounds=30))
    assert fit.relative_error < 1e-12
    np.testing.assert_allclose(reconstruct(fit.t, fit.b, fit.s), w, atol=1e-6 * float(np.abs(w).max()))


def test_the_metric_decides_what_matters() -> None:
    rng = np.random.default_rng(3)
    w = rng.standard_normal((8, 3, 3, 8))
    h = metric(rng, 72)
    h = h * np.outer(scale := np.geomspace(0.05, 5, 72), scale)
    aware = decompose(w, h, 4)
    blind = decompose(w, np.eye(72), 4)
    assert error(w, h, reconstruct(aware.t, aware.b, aware.s)) < 0.5 * error(
        w, h, reconstruct(blind.t, blind.b, blind.s)
    )


def test_a_price_makes_coefficients_sparser() -> None:
    rng = np.random.default_rng(4)
    w, h = rng.standard_normal((8, 3, 3, 16)), np.eye(144)
    free, priced = decompose(w, h, 9), decompose(w, h, 9, Settings(price=0.5))
    assert priced.density < 0.8 * free.density
    assert priced.error >= free.error


def test_more_bases_cost_less_error() -> None:
    rng = np.random.default_rng(5)
    w, h = rng.standard_normal((8, 3, 3, 12)), metric(rng, 108)
    errors = [decompose(w, h, v).relative_error for v in (3, 6, 9, 18)]
    assert all(b < a for a, b in itertools.pairwise(errors))


def test_a_hopeless_fit_ends_with_its_trial() -> None:
    rng = np.random.default_rng(5)
    w, h = rng.standard_normal((8, 3, 3, 12)), metric(rng, 108)
    asked = Settings(starts=1, trial_rounds=2)
    whole, rough, kept = (decompose(w, h, 3, replace(asked, hopeless=x)) for x in (np.inf, 1e-3, 0.99))
    assert len(rough.history) == 1 + asked.trial_rounds < len(whole.history)
    assert rough.history == whole.history[: len(rough.history)]
    assert kept.history == whole.history and kept.t.tobytes() == whole.t.tobytes()


def test_equal_seeds_give_equal_answers() -> None:
    rng = np.random.default_rng(6)
    w, h = rng.standard_normal((6, 3, 3, 40)), metric(rng, 360)
    a, b = decompose(w, h, 9, Settings(seed=3)), decompose(w, h, 9, Settings(seed=3))
    assert a.t.tobytes() == b.t.tobytes() and a.b.tobytes() == b.b.tobytes() and a.s.tobytes() == b.s.tobytes()


def test_weights_of_nothing_stay_nothing() -> None:
    w = np.zeros((4, 3, 3, 5))
    fit = decompose(w, np.eye(45), 9)
    assert not reconstruct(fit.t, fit.b, fit.s).any() and fit.relative_error == 0.0
    w[1] = 1.0  # the other channels are dead
    fit = decompose(w, np.eye(45), 9)
    assert not reconstruct(fit.t, fit.b, fit.s)[[0, 2, 3]].any() and fit.relative_error < 1e-3
