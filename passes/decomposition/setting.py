"""What a scheme is asked for at one layer, as text that can be written down: NAME:option=value:..."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from isa.errors import UserError
from isa.target import Target
from passes.decomposition.answers import Answers
from passes.decomposition.scheme import ConvLayer, Scheme, SchemeOptions, load_scheme, own_options
from passes.decomposition.weight_form import WeightForm

DENSE = "dense"
_COUNTS = ("basis", "planes")
_PRICES = {"rate": "byte_price", "cycle-rate": "cycle_price"}


@dataclass(frozen=True)
class Setting:
    """The scheme of a layer by name, and its options "name=value": those of `SchemeOptions` as the command line calls
    them, or those of the scheme's own.
    """

    scheme: str
    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ":".join((self.scheme, *self.options))

    @classmethod
    def of(cls, text: str) -> Setting:
        """The inverse of `str`; what it names need not exist."""
        scheme, *options = text.split(":")
        return cls(scheme, tuple(options))

    @classmethod
    def made(cls, scheme: str, options: Mapping[str, str]) -> Setting:
        """That of options by name."""
        return cls(scheme, tuple(f"{name}={value}" for name, value in options.items()))

    def resolved(self, base: SchemeOptions, target: Target) -> tuple[Scheme, SchemeOptions]:
        """The scheme, and what it is asked for; of `base` the seed and the sizes of the network count.

        Raises UserError for a scheme or an option that is unknown, and for a value that is no number where one is due.
        """
        scheme = load_scheme(self.scheme)
        general: dict[str, Any] = dict.fromkeys((*_COUNTS, *_PRICES.values()))
        own: list[str] = []
        for text in self.options:
            name, _, value = text.partition("=")
            if name in _COUNTS:
                general[name] = int(self._number(text, value, whole=True))
            elif name in _PRICES:
                general[_PRICES[name]] = self._number(text, value, whole=False)
            else:
                own.append(text)
        return scheme, replace(base, own=own_options(self.scheme, scheme, tuple(own), target), **general)

    def _number(self, text: str, value: str, whole: bool) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not (number >= 0 and math.isfinite(number)) or (whole and (number < 1 or number != int(number))):
            what = "a whole number of at least 1" if whole else "a number not below 0"
            raise UserError(f"setting '{self}': {text}: requires {what}")
        return number


class InTurn:
    """A scheme that asks for each layer what its setting says, in the order of the layers, unless the answer is known.

    Raises UserError if a setting is wrong, and IndexError if there are more layers than settings.
    """

    def __init__(self, texts: Sequence[str], target: Target, answers: Answers | None = None):
        self._answers = Answers() if answers is None else answers
        self._settings = [Setting.of(text) for text in texts]
        self._next = 0
        schemes = [setting.resolved(SchemeOptions(), target)[0] for setting in self._settings]
        self.on_live_channels = any(getattr(scheme, "on_live_channels", False) for scheme in schemes)

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None:
        setting = self._settings[self._next]
        self._next += 1
        scheme, asked = setting.resolved(options, layer.target)
        return self._answers.ask(setting.scheme, scheme, layer, asked)
