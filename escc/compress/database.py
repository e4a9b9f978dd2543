"""What each layer could be: settings of schemes with their errors and costs, on the network as it is.

Any scheme contributes. One with a method `candidates` yields its settings itself, as far as one search finds several;
every other is asked at a ladder of prices.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from escc.compress.allocation import Frontier, frontier
from escc.compress.price import Cost, price
from escc.compress.schemes import int8_of
from isa.errors import UserError
from isa.target import Target
from passes.decomposition.added import BrokenSchemeError, RefusedLayerError
from passes.decomposition.scheme import ConvLayer, SchemeOptions, load_scheme
from passes.decomposition.setting import DENSE, Setting
from passes.decomposition.weight_form import WeightForm

F = NDArray[np.float64]
Measure = Literal["bytes", "cycles", "energy"]

_LOG = logging.getLogger(__name__)

RATES = (0.003, 0.01, 0.03, 0.08, 0.2, 0.5, 1.5, 6.0, 50.0)
"""Prices at which layers are fitted, as of `--rate`."""

Candidates = Iterator[tuple[Setting, WeightForm]]


@dataclass(frozen=True)
class Rates:
    """Errors of the network's outputs that are worth saving all bytes, and whether all cycles are worth as much."""

    values: tuple[float, ...] = RATES
    of_cycles: bool = False

    def options(self, base: SchemeOptions, rate: float) -> SchemeOptions:
        """The options at one of the rates."""
        return replace(base, byte_price=rate, cycle_price=rate if self.of_cycles else 0.0)

    def named(self, rate: float) -> dict[str, str]:
        """One of the rates as options of a setting."""
        return {"rate": f"{rate:g}", **({"cycle-rate": f"{rate:g}"} if self.of_cycles else {})}


@runtime_checkable
class Contributor(Protocol):
    """A scheme that knows what settings of it are worth a row."""

    def candidates(self, name: str, layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
        """Settings, each with about the form that its scheme answers if it is asked for that; `name` is that of this
        scheme. Raises UserError if it cannot hold the layer.
        """
        ...


def candidates_of(name: str, layer: ConvLayer, options: SchemeOptions, rates: Rates) -> Candidates:
    """The settings that a scheme contributes for a layer; none if it cannot hold the layer.

    Raises `BrokenSchemeError` for a scheme of another package that fails.
    """
    scheme = load_scheme(name)
    try:
        if isinstance(scheme, Contributor):
            yield from scheme.candidates(name, layer, options, rates)
            return
        for rate in rates.values:
            form = scheme(layer, rates.options(options, rate))
            if form is not None:
                yield Setting.made(name, {**given_options(options), **options.own, **rates.named(rate)}), form
    except BrokenSchemeError:
        raise
    except UserError as error:
        tell_left_out(name, layer, error)


def tell_left_out(name: str, layer: ConvLayer, error: UserError) -> None:
    """Log that a scheme gives nothing for a layer, and why."""
    reason = error.reason if isinstance(error, BrokenSchemeError | RefusedLayerError) else error
    _LOG.info(f"node '{layer.name}' (Conv): scheme '{name}' is left out: {reason}")


def given_options(options: SchemeOptions) -> dict[str, str]:
    """The options that all schemes have but for prices, as those of a setting."""
    given = {"basis": options.basis, "planes": options.planes}
    return {name: str(value) for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Row:
    """A setting of a layer: the relative error of the network's outputs that it adds, and what the layer costs."""

    setting: Setting
    error: float
    cost: Cost

    def measure(self, kind: Measure, target: Target) -> float:
        """Bytes, cycles or microjoules."""
        if kind == "energy":
            return self.cost.energy(target)
        return float(self.cost.nbytes if kind == "bytes" else self.cost.cycles)


@dataclass
class Database:
    """Rows of the layers of a network, in order; the first row of each is that of int8 weights.

    It is filled by standing in for a scheme, which leaves every layer as it is.
    """

    scheme: str
    rates: Rates
    target: Target
    layers: list[list[Row]] = field(default_factory=list[list[Row]])
    weights: int = 0
    """Int8 weights of all convolutions of the network, whose bytes rates are prices of."""
    macs: int = 0
    """Their multiply-accumulates, whose cycles with all multipliers at work rates are prices of too."""

    @property
    def on_live_channels(self) -> bool:
        """As that of the scheme."""
        return bool(getattr(load_scheme(self.scheme), "on_live_channels", False))

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        """Add the rows of a layer."""
        self.weights, self.macs = options.network_bytes, options.network_macs
        cost = price(int8_of(layer), layer.shape, layer.target)
        found = {Setting(DENSE): Row(Setting(DENSE), 0.0, cost)}
        for setting, form in candidates_of(self.scheme, layer, options, self.rates):
            cost = price(form, layer.shape, layer.target)
            if math.isfinite(cost.cycles):
                found[setting] = Row(setting, layer.sensitivity() * form.relative_error, cost)
        self.layers.append(list(found.values()))
        _LOG.info(f"node '{layer.name}' (Conv): {len(found)} settings in the database")
        return None

    def frontier(self, kind: Measure) -> Frontier:
        """What the network can cost, and at what error."""
        return frontier(
            [
                (np.array([row.measure(kind, self.target) for row in rows]), np.array([row.error for row in rows]))
                for rows in self.layers
            ]
        )

    def chosen(self, rows: tuple[int, ...]) -> tuple[str, ...]:
        """The settings of one row of each layer, as `decompose-conv` takes them."""
        return tuple(str(layer[at].setting) for layer, at in zip(self.layers, rows, strict=True))

    def dense(self, kind: Measure) -> float:
        """What all layers cost with int8 weights."""
        return sum(rows[0].measure(kind, self.target) for rows in self.layers)

    def priced(self, rate: float) -> tuple[int, ...]:
        """The row of each layer that has the least error plus price."""
        array = self.target.array
        byte = rate / max(1, self.weights)
        cycle = rate * array.blocks * array.slices * array.macs / max(1, self.macs) if self.rates.of_cycles else 0.0

        def value(row: Row) -> float:
            return row.error + byte * row.cost.nbytes + cycle * row.cost.cycles

        return tuple(min(range(len(rows)), key=lambda at: value(rows[at])) for rows in self.layers)

    def at_rate(self, rate: float, kind: Measure) -> float:
        """What all layers cost if every layer takes the row of the least error plus price."""
        chosen = zip(self.layers, self.priced(rate), strict=True)
        return sum(rows[at].measure(kind, self.target) for rows, at in chosen)

    def single(self, rates: Sequence[float], kind: Measure, most: float) -> Database | None:
        """The rows of one scheme and int8 weights: the scheme that has the least error at the first of the falling sums
        of `rates` which cost no more than `most`. None if there is only one scheme, or if none costs so little.
        """
        names = sorted({row.setting.scheme for rows in self.layers for row in rows} - {DENSE})
        errors: list[tuple[float, str, Database]] = []
        for name in names if len(names) > 1 else ():
            own = [[row for row in rows if row.setting.scheme in (DENSE, name)] for rows in self.layers]
            alone = replace(self, scheme=name, layers=own)
            rate = next((rate for rate in rates if alone.at_rate(rate, kind) <= most), None)
            if rate is not None:
                chosen = zip(alone.layers, alone.priced(rate), strict=True)
                errors.append((sum(rows[at].error for rows, at in chosen), name, alone))
        return min(errors, key=lambda found: found[:2])[2] if errors else None
