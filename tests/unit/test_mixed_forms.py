"""`auto` with several forms: the best one of each layer, at the same prices."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from test_smartexchange import layer, of_sums

from escc.compress.database import Rates
from escc.compress.mixed import asked_forms
from escc.compress.price import price
from escc.compress.schemes import Prices, int8_of
from escc.schemes.auto import SCHEME as auto
from escc.schemes.kmeans import SCHEME as kmeans
from escc.schemes.smartexchange import SCHEME as smartexchange
from isa.errors import UserError
from passes.decomposition.scheme import ConvLayer, SchemeOptions, check
from passes.decomposition.weight_form import WeightForm

OPTIONS = SchemeOptions(byte_price=0.3, cycle_price=0.1)
FORMS = SchemeOptions(byte_price=0.3, cycle_price=0.1, own={"forms": "auto,kmeans,smartexchange"})


def value(w: ConvLayer, form: WeightForm | None) -> float:
    error, form = (0.0, int8_of(w)) if form is None else (form.relative_error, form)
    return Prices.of(w, OPTIONS).objective(w, error, price(form, w.shape, w.target))


@pytest.mark.parametrize("shape", [(24, 3, 3, 16), (24, 1, 1, 32)])
def test_the_choice_is_never_worse_than_any_single_form(
    shape: tuple[int, int, int, int], caplog: pytest.LogCaptureFixture
) -> None:
    w = layer(np.random.default_rng(1).standard_normal(shape))
    with caplog.at_level(logging.INFO):
        found = auto(w, FORMS)
    if found is not None:
        check(w, found)
    single = [scheme(w, OPTIONS) for scheme in (auto, kmeans, smartexchange)]
    assert value(w, found) <= min(value(w, form) for form in (*single, None)) * (1 + 1e-12)
    (told,) = [r.message for r in caplog.records if "error plus price" in r.message]
    assert "dense" in told and "kmeans" in told


def test_different_layers_take_different_forms() -> None:
    options = SchemeOptions(byte_price=0.05, own={"forms": "kmeans,smartexchange"})
    names = {
        getattr(auto(layer(w), options), "name", "dense") for w in (of_sums((24, 1, 1, 32)), np.ones((2, 1, 1, 3)))
    }
    assert names == {"smartexchange", "dense"}


def test_every_scheme_of_several_contributes_to_a_database() -> None:
    w = layer(np.random.default_rng(1).standard_normal((24, 3, 3, 16)))
    found = list(auto.candidates("auto", w, FORMS, Rates((0.3,))))
    assert {setting.scheme for setting, _ in found} == {"escalate", "kmeans", "smartexchange"}
    levels = {option for setting, _ in found for option in setting.options if setting.scheme == "escalate"}
    assert {"levels=1", "levels=4", "rate=0.3"} <= levels


def test_schemes_are_named_or_all() -> None:
    everything = asked_forms("all")
    assert {"auto", "circulant", "kmeans", "smartexchange"} <= set(everything)
    assert not {"dense", "escalate"} & set(everything)
    assert asked_forms("kmeans,auto") == ("auto", "kmeans")
    with pytest.raises(UserError, match="forms=kmeens: there is no scheme 'kmeens'"):
        auto(layer(np.ones((8, 3, 3, 8))), SchemeOptions(own={"forms": "kmeens"}))


def test_a_scheme_that_cannot_answer_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    w = layer(of_sums((24, 3, 3, 16)))
    with caplog.at_level(logging.INFO):
        found = auto(w, SchemeOptions(byte_price=0.3, own={"forms": "circulant,kmeans", "k": "17"}))
    assert getattr(found, "name", "") == "codebook"
    assert any("scheme 'circulant' is left out: k=17" in r.message for r in caplog.records)
