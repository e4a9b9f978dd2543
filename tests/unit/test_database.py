"""Rows of the layers of a network, made up: what they cost at a rate, and what one scheme alone would make of them."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from escc.compress.database import Database, Rates, Row
from escc.compress.price import Cost
from isa.target import load_target
from passes.decomposition.setting import Setting

DENSE = Row(Setting("dense"), 0.0, Cost(1000, 500.0))
SCHEMES = ("gs", "kmeans", "smartexchange")
RATES = tuple(2.0 ** (n / 4) for n in range(-48, 49))


def row(scheme: str, error: float, nbytes: int) -> Row:
    """What a scheme makes of a layer."""
    return Row(Setting(scheme), error, Cost(nbytes, 500.0))


made = st.lists(st.builds(row, st.sampled_from(SCHEMES), st.floats(0.001, 0.5), st.integers(50, 900)), max_size=5)


def database(layers: list[list[Row]]) -> Database:
    """A database of these rows, behind those of int8 weights."""
    layers = [[DENSE, *rows] for rows in layers]
    return Database("auto", Rates(), load_target("esc1"), layers, weights=1000 * len(layers), macs=1)


@given(st.lists(made, min_size=1, max_size=4), st.sampled_from(RATES))
def test_the_rows_at_a_rate_have_the_least_error_plus_price(layers: list[list[Row]], rate: float) -> None:
    found = database(layers)
    chosen = [rows[at] for rows, at in zip(found.layers, found.priced(rate), strict=True)]
    value = sum(row.error + rate * row.cost.nbytes / found.weights for row in chosen)
    others = (sum(r.error + rate * r.cost.nbytes / found.weights for r in rows) for rows in product(*found.layers))
    assert value <= min(others) * (1 + 1e-9)
    assert found.at_rate(rate, "bytes") == sum(row.cost.nbytes for row in chosen)


@given(st.lists(made, min_size=1, max_size=4), st.integers(100, 4000))
def test_the_single_form_is_the_one_of_least_error_within_the_limit(layers: list[list[Row]], most: int) -> None:
    found = database(layers)
    there = {row.setting.scheme for rows in layers for row in rows}
    errors: dict[str, float] = {}
    for name in there:
        alone = database([[row for row in rows if row.setting.scheme == name] for rows in layers])
        rates = [rate for rate in RATES if alone.at_rate(rate, "bytes") <= most]
        if rates:
            errors[name] = sum(r[at].error for r, at in zip(alone.layers, alone.priced(rates[0]), strict=True))
    single = found.single(RATES, "bytes", most)
    if len(there) < 2 or not errors:
        assert single is None
        return
    assert single is not None and errors[single.scheme] == min(errors.values())
    names = [{row.setting.scheme for row in rows} for rows in single.layers]
    assert set().union(*names) == {"dense", single.scheme}
    assert all(rows[0] is DENSE for rows in single.layers)
