"""Metrics of input channels by themselves: the same numbers as block-diagonal ones, and moments without the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from escc.compress.decompose import Settings, decompose
from escc.compress.metric import Metric, SeparateMetric
from passes.math.moments import ChannelAccumulator, MomentAccumulator

Array = NDArray[Any]
K, C, TAPS = 6, 40, 9
"""Channels enough for two blocks of columns."""


def blocks(seed: int) -> Array:
    a = np.random.default_rng(seed).standard_normal((C, TAPS, TAPS))
    return a @ a.transpose(0, 2, 1) / TAPS + 0.05 * np.eye(TAPS)


def both(seed: int) -> tuple[SeparateMetric, Metric]:
    """The same metric twice, the second time with its zeros."""
    diagonal = blocks(seed)
    whole = np.zeros((C, TAPS, C, TAPS))
    index = np.arange(C)
    whole[index, :, index] = diagonal
    return SeparateMetric(diagonal), Metric(whole.reshape(C * TAPS, C * TAPS), TAPS)


def test_a_separate_metric_is_the_block_diagonal_one() -> None:
    few, all_of_it = both(0)
    rng = np.random.default_rng(1)
    w, flat = rng.standard_normal((K, C * TAPS)), rng.integers(-1, 2, (K, C * 4)).astype(np.float64)
    assert len(few.blocks) > 1 and few.blocks == all_of_it.blocks
    np.testing.assert_allclose(few.weighed(w), all_of_it.weighed(w), rtol=1e-12)
    np.testing.assert_allclose(few.conditional, all_of_it.conditional, rtol=1e-9)
    np.testing.assert_allclose(few.normal(flat), all_of_it.normal(flat), rtol=1e-12)
    for first, end in few.blocks:
        np.testing.assert_allclose(few.within(first, end), all_of_it.within(first, end))
        np.testing.assert_allclose(few.factor_within(first, end), all_of_it.factor_within(first, end), atol=1e-12)
        change, rows = rng.standard_normal((2, (end - first) * TAPS)), np.array([1, 4])
        one, other = w.copy(), w.copy()
        few.take(one, rows, change, first, end)
        all_of_it.take(other, rows, change, first, end)
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("price", [0.0, 0.3])
def test_a_separate_metric_gives_the_fit_of_the_block_diagonal_one(price: float) -> None:
    w = np.random.default_rng(2).standard_normal((K, 3, 3, C))
    few, all_of_it = (decompose(w, m, 4, Settings(starts=1, rounds=4, price=price)) for m in both(3))
    assert few.error == pytest.approx(all_of_it.error, rel=1e-9)
    np.testing.assert_array_equal(few.t, all_of_it.t)


def test_moments_of_channels_are_those_of_windows_within_a_channel() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.integers(0, 256, (50, TAPS * C)).astype(np.uint8), rng.standard_normal((50, K))
    whole, few = MomentAccumulator(TAPS * C, K), ChannelAccumulator(TAPS, C, K)
    for sums in (whole, few):
        sums.add(x[:20], y[:20])
        sums.add(x[20:], y[20:])
    a, b = whole.result(), few.result()
    weights = rng.standard_normal((K, TAPS * C))
    np.testing.assert_array_equal(a.bias(weights), b.bias(weights))
    xx = a.xx.reshape(TAPS, C, TAPS, C)
    np.testing.assert_allclose(b.xx, np.stack([xx[:, c, :, c] for c in range(C)]), rtol=1e-12)
    wanted, metric = b.regression(weights, 0.01)
    assert wanted is weights
    mean = np.trace(a.xx) / (TAPS * C)
    metric = metric.reshape(TAPS, C, TAPS, C)
    np.testing.assert_allclose(metric[:, 3, :, 3], xx[:, 3, :, 3] + 0.01 * mean * np.eye(TAPS))
    assert not metric[:, 3, :, 4].any()
