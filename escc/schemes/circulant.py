"""The scheme `circulant`: weights are circulant blocks of channels, as in CirCNN (Ding et al., MICRO 2017).

A value of a block stands for a diagonal of it, so that the weights of a layer take as many times fewer bytes as a block
has channels. A network that was not trained for it loses most of its accuracy; `esc-compress --scheme circulant` trains
one. The values that it begins with are those of the least error on the calibration data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from escc.compress.about import About
from escc.compress.database import Candidates, Rates
from escc.compress.fit_circulant import fit_circulant
from escc.compress.option_values import choice
from escc.compress.price import price
from escc.compress.schemes import Prices, int8_of, target_and_metric, tiled
from isa.circulant import BLOCKS, FAST_BLOCKS
from isa.errors import UserError
from isa.target import Target
from passes.decomposition.circulant import Circulant, FastCirculant
from passes.decomposition.scheme import ConvLayer, SchemeOptions
from passes.decomposition.setting import Setting

DEFAULT_BLOCK = 4
PRODUCTS = ("cheaper", "plain", "fast")
LEAST_BLOCKS = 2
"""Blocks that a layer must have of input and of output channels; one with fewer stays dense."""


def _asked_block(options: SchemeOptions) -> int:
    text = options.own.get("k", str(DEFAULT_BLOCK))
    if text not in map(str, BLOCKS):
        raise UserError(
            f"k={text}: a block has from {BLOCKS[0]} to {BLOCKS[-1]} channels",
            f"--scheme-option k=N, N from {BLOCKS[0]} to {BLOCKS[-1]}",
        )
    return int(text)


class _Circulant:
    """Takes the weights of every layer of some channels for circulant blocks.

    Where bytes or cycles have a price (`SchemeOptions`), a layer that int8 weights serve better stays dense. Raises
    UserError for a block that is none.
    """

    reads: ClassVar[tuple[str, ...]] = ("rate", "cycle_rate")
    own_options: ClassVar[Mapping[str, str]] = {
        "k": f"channels of a block, from {BLOCKS[0]} to {BLOCKS[-1]} (default: {DEFAULT_BLOCK})",
        "products": "plain: those of dense weights; fast: fewer, of sums (default: what takes fewer cycles)",
    }

    @staticmethod
    def check_options(options: SchemeOptions, target: Target) -> None:
        """Raise UserError for a block that is none, and for one that has no fast products if they are asked for."""
        block, products = _asked_block(options), choice(options, "products", PRODUCTS)
        if products == "fast" and block not in FAST_BLOCKS:
            raise UserError(
                f"products=fast: blocks of {block} channels have no fast products",
                f"--scheme-option k=N, N one of {', '.join(map(str, FAST_BLOCKS))}",
            )

    def candidates(self, name: str, layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
        """Every size of a block unless one is asked for; prices play no part."""
        free = replace(options, byte_price=None, cycle_price=None)
        for block in [options.own["k"]] if "k" in options.own else map(str, BLOCKS):
            own = {**options.own, "k": block}
            if (form := self(layer, replace(free, own=own))) is not None:
                yield Setting.made(name, own), form

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> Circulant | None:
        block = _asked_block(options)
        k, _, _, c = layer.weights.shape
        if min(k, c) < LEAST_BLOCKS * block:
            return None
        fit = fit_circulant(*target_and_metric(layer), block)
        form = self._cheaper(layer, Circulant(fit.values, c, fit.s, fit.relative_error), options)
        if form is None or (options.byte_price is None and options.cycle_price is None):
            return form
        prices = Prices.of(layer, options)
        return form if prices.value(layer, form) < prices.value(layer, int8_of(layer)) else None

    @staticmethod
    def _cheaper(layer: ConvLayer, form: Circulant, options: SchemeOptions) -> Circulant | None:
        """The form, or the same weights by fast products, whichever takes fewer cycles; None if neither can be used."""
        products = choice(options, "products", PRODUCTS)
        forms = [form] if products != "fast" else []
        if products != "plain" and form.values.shape[4] in FAST_BLOCKS:
            forms.append(FastCirculant(form.values, form.inputs, form.scale, form.relative_error))
        found = [form for form in forms if tiled(layer, form) is not None]
        return min(found, key=lambda form: price(form, layer.shape, layer.target).cycles, default=None)


ABOUT = About(
    form="a value for each diagonal of a block of channels; to be trained",
    page="circulant.md",
    read_by=("load.circ", "conv.circ"),
)

SCHEME = _Circulant()
