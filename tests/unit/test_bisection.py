"""The search for a price of pruning that keeps a limit, over made-up measurements."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escc.compare.bisection import LEAST_RATE, MOST_RATE, RateTrial, find_rate
from isa.errors import UserError


@given(st.floats(-3.0, 2.0), st.floats(0.3, 3.0))
def test_the_rate_found_keeps_the_limit_and_is_near_it(crossing: float, slope: float) -> None:
    """Measurements that follow a power law cross the limit at 10^crossing."""
    tried: list[float] = []

    def trial(rate: float) -> RateTrial:
        tried.append(rate)
        return RateTrial(rate, 100.0 * (rate / 10**crossing) ** slope, "")

    found = find_rate(100.0, trial, 1.2)
    assert found.value <= 100.0 and LEAST_RATE <= found.rate <= MOST_RATE
    assert len(tried) <= 7 and len(set(tried)) == len(tried)
    assert abs(math.log(found.rate / 10**crossing)) < math.log(2)


def test_a_limit_that_nothing_keeps_is_refused() -> None:
    with pytest.raises(UserError, match=r"--max-drop 5 cannot be kept: the best found is rate"):
        find_rate(5, lambda rate: RateTrial(rate, 9.0, f"rate {rate:g}"), 1.2)


def test_a_network_of_which_nothing_is_left_is_told_apart_from_a_limit() -> None:
    with pytest.raises(UserError, match="nothing is left") as refused:
        find_rate(5, lambda rate: RateTrial(rate, math.inf, "nothing is left"), 1.2)
    assert "look at the data" in str(refused.value.note)


def test_a_limit_that_everything_keeps_takes_a_high_price() -> None:
    assert find_rate(5, lambda rate: RateTrial(rate, 1.0, ""), 1.2).rate > 100
