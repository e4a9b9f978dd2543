"""A form for each layer out of those of several schemes, all at the same prices."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

from escc.compress.about import about_schemes
from escc.compress.database import Candidates, Rates, candidates_of, tell_left_out
from escc.compress.schemes import DEFAULT_RATE, Prices, int8_of
from isa.errors import UserError
from passes.decomposition.added import BrokenSchemeError
from passes.decomposition.scheme import ConvLayer, SchemeOptions, load_scheme, scheme_names
from passes.decomposition.weight_form import WeightForm

_LOG = logging.getLogger(__name__)

ALL = "all"
"""Every scheme but those whose forms `auto` tries by itself."""


def asked_forms(text: str) -> tuple[str, ...]:
    """Names of the schemes of "NAME,NAME,..." or of `ALL`, in alphabetical order.

    Of `ALL`, those of other packages that do not load are left out, and the log says so. Raises UserError for a name
    that no scheme has.
    """
    known = scheme_names()
    if text == ALL:
        about = about_schemes()
        return tuple(name for name in known if (about[name].among_all if name in about else _loads(name)))
    asked = sorted(set(text.split(",")))
    if unknown := [name for name in asked if name not in known]:
        note = f"there are {', '.join(known)}, or {ALL} alone"
        raise UserError(f"forms={text}: there is no scheme '{unknown[0]}'", note)
    return tuple(asked)


def _loads(name: str) -> bool:
    try:
        load_scheme(name)
    except UserError as error:
        _LOG.info(f"{ALL}: {error}")
        return False
    return True


def best_form(layer: ConvLayer, options: SchemeOptions, schemes: Sequence[str]) -> WeightForm | None:
    """The answer with the least error plus price among those of the schemes and int8 weights, which stand for None.

    All schemes are asked at the same prices: those of the options, or `DEFAULT_RATE` for bytes and for cycles. So the
    sum of error and price is never above that of the best of the schemes for the whole network, as far as layers can be
    judged one by one. The log says what each would have cost.
    """
    if options.byte_price is None and options.cycle_price is None:
        options = replace(options, byte_price=DEFAULT_RATE, cycle_price=DEFAULT_RATE)
    prices = Prices.of(layer, options)
    found: dict[str, tuple[float, WeightForm | None]] = {"dense": (prices.value(layer, int8_of(layer)), None)}
    for name in schemes:
        for title, own in _variants(name, options):
            form = _answer(name, layer, replace(options, own=own))
            if form is not None:
                found[title] = prices.value(layer, form), form
    best = min(found, key=lambda name: found[name][0])
    _LOG.info(f"node '{layer.name}' (Conv): {best}, error plus price {_told({n: v for n, (v, _) in found.items()})}")
    return found[best][1]


def candidates_of_forms(layer: ConvLayer, options: SchemeOptions, rates: Rates, schemes: Sequence[str]) -> Candidates:
    """What the schemes contribute to the database of a layer."""
    for name in schemes:
        try:
            for _, own in _variants(name, options):
                yield from candidates_of(name, layer, replace(options, own=own), rates)
        except BrokenSchemeError as error:
            tell_left_out(name, layer, error)


def _answer(name: str, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
    """What a scheme answers; None where it cannot."""
    try:
        return load_scheme(name)(layer, options)
    except UserError as error:
        tell_left_out(name, layer, error)
        return None


def _variants(name: str, options: SchemeOptions) -> Iterator[tuple[str, Mapping[str, str]]]:
    """What to call a scheme, and the options of its own: those given that it knows, and its alternatives to others."""
    scheme = load_scheme(name)
    known: Mapping[str, str] = getattr(scheme, "own_options", {})
    alternatives: Mapping[str, Sequence[str]] = getattr(scheme, "alternatives", {})
    own = {option: text for option, text in options.own.items() if option in known and option != "forms"}
    free = [[f"{option}={text}" for text in texts] for option, texts in alternatives.items() if option not in own]
    for chosen in product(*free):
        yield " ".join((name, *chosen)), {**own, **dict(text.split("=", 1) for text in chosen)}


def _told(values: Mapping[str, float]) -> str:
    """Values by name, the least first."""
    order = sorted(values, key=lambda name: values[name])
    return ", ".join(f"{name} {values[name]:.3g}" for name in order if math.isfinite(values[name]))
