"""The comparison of signs for vectors and for weights: each wins where the weights are made for it."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from escc.compress.metric import Metric

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "compression"))
import separate_signs


@pytest.mark.parametrize("apart", [False, True])
def test_weights_of_two_vectors_are_met_exactly_by_their_own_kind_of_signs(apart: bool) -> None:
    rng = np.random.default_rng(0)
    book = np.array([[1.0, 2.0, 4.0], [3.0, 1.0, 1.0]])
    signs = rng.choice([-1.0, 1.0], (8, 24, 3 if apart else 1))
    w = (book[rng.integers(0, 2, (8, 24))] * signs).reshape(8, -1)
    x = rng.standard_normal((500, 72))
    metric = Metric(x.T @ x / 500, 3)
    energy = float(metric.energies(w).sum())
    own = separate_signs.fit_outputs(w, metric, 2, 1e-6 * energy, apart)
    assert own.error < 1e-3 * energy
    if apart:
        assert separate_signs.fit_outputs(w, metric, 2, 1e-6 * energy, False).error > 0.1 * energy
    # A code of two equally frequent entries takes a bit, beside the signs; and the book is one of bytes.
    assert own.bits == pytest.approx(8 * 24 * (1 + (3 if apart else 1)) + 8 * 6, rel=0.05)
