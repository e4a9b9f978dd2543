"""The scheme `escalate`: every convolution is decomposed."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from escc.compress.about import About
from escc.compress.price import Cost, price
from escc.compress.schemes import (
    THOROUGH,
    UNCERTAIN_CYCLES,
    Prices,
    Rung,
    Search,
    WithLevels,
    int8_of,
    single_rung,
)
from isa.errors import UserError
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.setting import Setting
from passes.decomposition.ternary_basis import TernaryBasis, most_bases

_LOG = logging.getLogger(__name__)

LEAST_SAVING = 1 / 256
"""Share of the network's int8 weights that a layer must save to count as smaller, where no price of bytes is given."""


@WithLevels
def escalate(layer: ConvLayer, options: SchemeOptions) -> TernaryBasis | None:
    """Decomposes every layer with the bases asked for; sparser than the best fit only at prices that are asked for.

    A layer that would become slower and not smaller stays dense, and so does one of which the machine cannot hold a
    single basis; the log says so. Raises UserError if the scratchpads cannot hold as many bases.
    """
    rung = single_rung(layer, options)
    if not (most := most_bases(layer, rung.level)):
        _LOG.info(
            f"node '{layer.name}' (Conv) stays dense: not even one basis fits the memories of '{layer.target.name}'"
        )
        return None
    if rung.bases > most:
        raise UserError(
            f"node '{layer.name}' (Conv): {rung.bases} virtual bases do not fit the scratchpads of target "
            f"'{layer.target.name}'; requires at most {most}",
            "lower --basis or --planes, or use --scheme auto, which keeps such layers dense",
        )
    search = Search(layer, Prices.of(layer, options).byte_price(layer), options.seed, rung.bases)
    answer = search.answer(search.complete(rung, search.fit(rung, THOROUGH)))
    now, cost = (price(form, layer.shape, layer.target) for form in (int8_of(layer), answer))
    if not _only_loses(layer, options, now, cost):
        return answer
    _LOG.info(
        f"node '{layer.name}' (Conv) stays dense: with {rung.bases} bases it takes {cost.cycles:,.0f} cycles and "
        f"{cost.nbytes:,} bytes, dense {now.cycles:,.0f} cycles and {now.nbytes:,} bytes"
    )
    return None


def setting_of(rung: Rung, prices: Mapping[str, str]) -> Setting:
    """What asks this scheme for a decomposition with the bases and the level of a rung, at prices by their options."""
    given = {"basis": str(rung.bases), "planes": "1", "levels": str(rung.level)}
    return Setting.made("escalate", {**given, **prices})


def _only_loses(layer: ConvLayer, options: SchemeOptions, now: Cost, cost: Cost) -> bool:
    """Whether a cost has more cycles than one has now, and no fewer bytes to speak of.

    Where bytes have a price, every byte that is saved counts.
    """
    least = 0.0 if options.byte_price else LEAST_SAVING * (options.network_bytes or layer.weights.size)
    return cost.cycles > now.cycles + UNCERTAIN_CYCLES and now.nbytes - cost.nbytes <= least


ABOUT = About(
    form="coefficients 0, ±1 (±2, ±4) times a few basis kernels",
    page="../compression.md",
    read_by=("load.coef",),
    settings={"": "--scheme-option levels=4 --basis 6 --rate 0.5", "one-level": "--basis 6 --planes 1"},
    among_all=False,
)

SCHEME = escalate
