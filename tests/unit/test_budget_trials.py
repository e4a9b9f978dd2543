"""Searches for what keeps a budget, over made-up measurements."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from escc.accuracy import Drop
from escc.budget_trials import FEWER, Trial, nearest_of, try_drops, try_rates, try_sizes, try_smaller
from escc.compress.allocation import Frontier, frontier


@given(st.lists(st.integers(100, 5000), min_size=1, max_size=80), st.integers(0, 79), st.integers(50, 6000))
def test_the_nearest_size_is_found_from_a_wrong_guess(sizes: list[int], first: int, wanted: int) -> None:
    sizes.sort(reverse=True)
    asked: list[int] = []

    def size(at: int) -> float:
        asked.append(at)
        return sizes[at]

    at, found = nearest_of(min(first, len(sizes) - 1), len(sizes) - 1, size, wanted)
    assert found == sizes[at] and at in asked
    assert len(asked) == len(set(asked)) <= 5
    apart = [abs(np.log(sizes[n] / wanted)) for n in asked]
    assert abs(np.log(found / wanted)) == min(apart)


def test_a_size_far_from_what_was_expected_is_left() -> None:
    sizes = [int(4000 / 1.25**n) if n < 20 else 12 for n in range(40)]
    _, found = nearest_of(22, 39, sizes.__getitem__, 300)
    assert 0.8 < found / 300 < 1.25


def made_up(count: int = 200) -> Frontier:
    """Costs from 1000 to 3000 of one layer, the error falling with them."""
    costs = np.linspace(1000, 3000, count)
    return frontier([(costs, 400 / costs**2)])


@given(st.integers(1200, 4500), st.floats(0.7, 1.4), st.integers(-300, 600), st.integers(0, 400))
def test_sizes_are_kept_and_used_up_though_layers_do_not_add_up(
    limit: int, factor: float, beside: int, guess: int
) -> None:
    front = made_up()

    def trial(at: int) -> Trial:
        return Trial(at, factor * front.costs[at] + beside, 0.0, "")

    trials = try_sizes(front, limit, guess, trial)
    kept = [t for t in trials if t.value <= limit]
    assert len(trials) <= 6 and len({t.at for t in trials}) == len(trials)
    assert bool(kept) == (trial(0).value <= limit)
    if kept:
        best = max(kept, key=lambda t: t.at)
        assert best.value >= 0.9 * limit or best.at == len(front.costs) - 1


@given(st.integers(900, 3500), st.floats(0.8, 1.25))
def test_rates_are_tried_until_one_is_just_below_the_limit(limit: int, factor: float) -> None:
    expected = [3000 * 0.975**n for n in range(48)]
    trials = try_rates(expected, limit, lambda at: Trial(at, factor * expected[at], 0.0, ""))
    assert 1 <= len(trials) <= 4 and len({t.at for t in trials}) == len(trials)
    kept = [t for t in trials if t.value <= limit]
    assert bool(kept) == (factor * expected[-1] <= limit)
    if kept:
        best = min(t.at for t in kept)
        assert best == 0 or factor * expected[best] >= 0.85 * limit


def expected(error: float) -> Drop:
    return Drop(1e5 * error, 0.1)


@given(st.floats(0.5, 60.0), st.floats(0.1, 8.0))
def test_drops_are_kept_though_errors_do_more_or_less_than_expected(limit: float, factor: float) -> None:
    front = made_up()

    def trial(at: int) -> Trial:
        points = factor * expected(front.errors[at]).points
        return Trial(at, points + 0.1, points, "")

    trials = try_drops(front, limit, expected, trial)
    assert len(trials) <= 5 and len({t.at for t in trials}) == len(trials)
    kept = [t for t in trials if t.value <= limit]
    if not kept:
        assert any(t.at == len(front.errors) - 1 for t in trials) or len(trials) == 5
    elif min(t.at for t in kept) > 0:
        assert max(t.value for t in kept) >= 0.4 * limit


@given(
    st.floats(1.0, 20.0), st.one_of(st.just(np.inf), st.floats(500, 3000)), st.floats(0.8, 1.25), st.integers(0, 320)
)
def test_rates_are_tried_that_may_keep_a_limit_of_points_with_fewer_bytes(
    limit: float, known: float, factor: float, first: int
) -> None:
    sizes = [3000 * 0.99**n for n in range(321)]

    def trial(at: int) -> Trial:
        points = 0.08 * at
        return Trial(at, points, points, "", nbytes=factor * sizes[at])

    if known < np.inf:
        first = next((n for n, size in enumerate(sizes) if size <= known), len(sizes))
    trials = try_smaller(sizes, first, limit, known, trial)
    assert len(trials) <= 4 and len({t.at for t in trials}) == len(trials)
    for at, later in enumerate(trials[1:], 1):
        missed = [t for t in trials[:at] if t.value > limit]
        assert all(later.at < t.at for t in missed)  # with fewer bytes it would miss the limit too
        assert later.nbytes < known or later.at > trials[at - 1].at
    if known == np.inf and len(trials) < 4:
        assert any(t.value <= limit for t in trials) or trials[-1].at <= 4


def test_one_trial_tells_that_no_rate_keeps_a_limit_of_points_with_fewer_bytes() -> None:
    sizes = [3000 * 0.99**n for n in range(321)]
    first = next(n for n, size in enumerate(sizes) if size <= 950)
    trials = try_smaller(sizes, first, 1.0, 1000, lambda at: Trial(at, 1.5, 1.5, "", nbytes=sizes[at]))
    assert [t.at for t in trials] == [first]


def test_one_trial_is_enough_where_errors_do_what_is_expected() -> None:
    front = made_up()
    trials = try_drops(front, 20.0, expected, lambda at: Trial(at, expected(front.errors[at]).least_sure, 0.0, ""))
    assert len(trials) == 1 and 14 < trials[0].value <= 20


@given(st.floats(1.0, 60.0), st.floats(0.1, 8.0), st.floats(-3.0, 3.0))
def test_a_drop_is_used_up_as_far_as_bytes_are_worth_a_trial(limit: float, factor: float, slope: float) -> None:
    """Points that rise faster or slower with the error than expected."""
    front = made_up()

    def trial(at: int) -> Trial:
        points = factor * expected(front.errors[at]).points * (front.costs[at] / 2000) ** slope
        return Trial(at, points, points, "", nbytes=float(front.costs[at]))

    trials = try_drops(front, limit, expected, trial)
    assert len(trials) <= 6 and len({t.at for t in trials}) == len(trials)
    kept = [t for t in trials if t.value <= limit]
    missed = [t for t in trials if t.value > limit]
    if kept and missed and len(trials) < 5:
        best, nearest = min(t.nbytes for t in kept), max(t.nbytes for t in missed)
        assert nearest < best and best - nearest <= 2.1 * (1 - FEWER) * best
