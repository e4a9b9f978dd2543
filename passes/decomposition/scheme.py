"""What a compression scheme is told of a convolution, and what it answers.

A scheme is any callable ``(ConvLayer, SchemeOptions) -> WeightForm | None``; None keeps the layer dense. See docs of
`Scheme`. Those of the tree are files of the package `escc.schemes`, those of other packages are named in the entry
point group of that name.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from isa import found
from isa.errors import UserError
from isa.formats import TensorFormat
from isa.target import Target
from passes.decomposition.added import AddedScheme, BrokenSchemeError
from passes.decomposition.weight_form import WeightForm
from passes.math.moments import ChannelMoments, Moments
from passes.tiling.conv_shape import ConvShape

F = NDArray[np.float64]

GENERAL = ("basis", "planes", "rate", "cycle_rate")
"""Options that any scheme may read, as the pass decompose-conv calls them."""

SHAPES = ("basis", "planes")
"""Those of `GENERAL` that are no prices. A scheme that asks others has no use for them itself."""

GROUP = "escc.schemes"
"""Entry points of other packages, each a `Scheme`; and the package above the passes whose files are those of the tree,
which is found by its name as entry points are.
"""


@dataclass(frozen=True)
class ConvLayer:
    """One convolution without groups.

    `weights` float64 [K, R, S, C] in output steps for each input step: output integer = weights * window of input
    integers + bias. `input_shape` [H, W, C] and `output_shape` [OH, OW, K] of one image; `density` is the share of
    non-zero input values. `moments` are those of the windows that the layer sees in the network compressed so far,
    and of the outputs of the uncompressed network in output steps; None when there was nothing to calibrate on. They
    are `ChannelMoments` for windows of more values than whoever asks wants to wait for.
    `calibrated` is False if the inputs were synthetic. `sensitivity()` is the relative error of the network's outputs
    for each relative error of this layer's output (see `passes.analysis.sensitivity`), measured when a layer first asks
    for it. `pads` are those at the top and at the left; the formats say how input and output lie in DRAM.
    """

    name: str
    weights: F
    strides: tuple[int, int]
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    density: float
    moments: Moments | ChannelMoments | None
    calibrated: bool
    target: Target
    sensitivity: Callable[[], float] = lambda: 1.0
    pads: tuple[int, int] = (0, 0)
    input_format: TensorFormat = TensorFormat.BITMAP
    output_format: TensorFormat = TensorFormat.BITMAP

    @property
    def shape(self) -> ConvShape:
        """What the price of the layer depends on, beside its weights."""
        k, r, s, c = self.weights.shape
        (h, w, _), (oh, ow, _) = self.input_shape, self.output_shape
        formats = self.input_format, self.output_format
        return ConvShape(k, c, (r, s), self.strides, self.pads, (h, w), (oh, ow), self.density, *formats)


@dataclass(frozen=True)
class SchemeOptions:
    """What the user asked for; None leaves the choice to the scheme.

    Prices are paid in relative error of the network's outputs: `byte_price` (option `--rate`) is worth saving all
    `network_bytes` (int8 weights) of its convolutions, `cycle_price` (`--cycle-rate`) all cycles that `network_macs`
    (their multiply-accumulates) take at full speed. `own` are options that the scheme alone knows, by name.
    """

    basis: int | None = None
    planes: int | None = None
    seed: int = 0
    byte_price: float | None = None
    cycle_price: float | None = None
    network_bytes: int = 0
    network_macs: int = 0
    own: Mapping[str, str] = field(default_factory=dict[str, str])


class Scheme(Protocol):
    """How to hold the weights of a layer, or None to keep it dense.

    Must be deterministic for equal arguments. Raises `isa.errors.UserError` if the options cannot be met for this
    layer. A scheme with options of its own has an attribute `own_options`, a line of help for each name, and a method
    `check_options(options: SchemeOptions, target: Target) -> None`. That method is called before any layer is looked
    at, and raises `isa.errors.UserError` for a value that no layer can meet. One with a method
    `unmet(options: SchemeOptions, kernels: Sequence[tuple[int, int]], target: Target) -> str` is asked once for a
    warning of options that it follows for none of the layers, of kernels R x S; "" if there are none. One whose
    attribute `on_live_channels` is true is called once channels that do nothing have been dropped: its forms depend on
    the number of a channel. One that ignores some options of `GENERAL` names those that it reads in an attribute
    `reads`. One that asks other schemes has a method `asks(own: Mapping[str, str]) -> Sequence[str]`, their names. One
    with an attribute `alternatives`, values by the names of options of its own, is asked with each of these where it is
    one of several schemes and the option is not given.
    """

    def __call__(self, layer: ConvLayer, options: SchemeOptions) -> WeightForm | None: ...


def scheme_files() -> dict[str, str]:
    """The dotted name of the module of each scheme of the tree, by the name of the scheme."""
    files = (file.name for file in iter_modules(import_module(GROUP).__path__))
    return {file.replace("_", "-"): f"{GROUP}.{file}" for file in files}


def scheme_names() -> list[str]:
    """Names of all installed schemes, in alphabetical order; no scheme is imported for that."""
    return sorted({*scheme_files(), *(point.name for point in found.points(GROUP))})


def load_scheme(name: str) -> Scheme:
    """The installed scheme of that name; one of another package comes as an `AddedScheme`.

    Raises UserError listing those there are, or if it is there twice, or if that of another package does not load.
    """
    files, added = scheme_files(), {point.name: point for point in found.points(GROUP)}
    if name in files and name in added:
        raise UserError(
            f"two schemes have the name '{name}', that of escc and '{added[name].value}'",
            f"uninstall the package that names one in the entry points '{GROUP}'",
        )
    if name in files:
        return cast(Scheme, import_module(files[name]).SCHEME)
    if name not in added:
        close = difflib.get_close_matches(name, scheme_names(), 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise UserError(
            f"unknown compression scheme '{name}'{hint}",
            f"installed: {', '.join(scheme_names())}; a package adds one through the entry points '{GROUP}'",
        )
    return AddedScheme(added[name], found.load(added[name], "scheme"))


def own_options(name: str, scheme: Scheme, given: Sequence[str], target: Target) -> dict[str, str]:
    """Options "name=value" of a scheme of its own.

    Raises UserError for an option that the scheme does not know, and for a value that it does not take.
    """
    known: Mapping[str, str] = getattr(scheme, "own_options", {})
    found: dict[str, str] = {}
    for text in given:
        option, equals, value = text.partition("=")
        if option not in known or not equals:
            raise UserError(
                f"scheme '{name}': unknown option '{text}'",
                "; ".join(f"{o}=...: {line}" for o, line in known.items())
                or f"scheme '{name}' has no options of its own",
            )
        found[option] = value
    check_options: Callable[[SchemeOptions, Target], None] | None = getattr(scheme, "check_options", None)
    if check_options is not None:
        try:
            check_options(SchemeOptions(own=found), target)
        except BrokenSchemeError:
            raise
        except UserError as error:
            raise UserError([f"scheme '{name}': {cause}" for cause in error.causes], error.note) from error
    return found


def general_options(scheme: Scheme) -> tuple[str, ...]:
    """Options of `GENERAL` that a scheme reads: all, unless it says otherwise."""
    return tuple(getattr(scheme, "reads", GENERAL))


def unread_options(
    name: str, scheme: Scheme, given: Collection[str], spelled: Callable[[str], str] = str, own: Sequence[str] = ()
) -> str:
    """A warning that a scheme, or one that it asks, ignores some of the options which were given; "" if all are read.

    `given` are names of `GENERAL`; `spelled` is how the user writes one. `own` are options "name=value" of the scheme's
    own, which may say what other schemes it asks.
    """
    reads = general_options(scheme)
    idle = [spelled(option) for option in GENERAL if option in given and option not in reads]
    if not idle:
        asks: Callable[[Mapping[str, str]], Sequence[str]] = getattr(scheme, "asks", lambda _: ())
        shapes = [option for option in SHAPES if option in given]
        return _unread_by(asks(dict(text.split("=", 1) for text in own)), shapes, spelled)
    known = [spelled(option) for option in reads]
    taken = f"reads {', '.join(known)}" if known else f"reads none of {', '.join(map(spelled, GENERAL))}"
    return f"{', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect: scheme '{name}' {taken}"


def _unread_by(schemes: Sequence[str], given: Sequence[str], spelled: Callable[[str], str]) -> str:
    """A warning that some of the schemes which another one asks ignore options, "" if none does."""
    idle = [name for name in schemes if not set(given) <= set(general_options(load_scheme(name)))]
    if not idle:
        return ""
    readers = [f"'{name}'" for name in schemes if name not in idle]
    one = len(given) == 1
    effect = f"affect{'s' * one} {', '.join(readers)} alone" if readers else f"{'has' if one else 'have'} no effect"
    unread = f"{', '.join(idle)} {'does' if len(idle) == 1 else 'do'} not read {'it' if one else 'them'}"
    return f"{', '.join(map(spelled, given))} {effect}: {unread}"


def check(layer: ConvLayer, answer: WeightForm) -> None:
    """Raise TypeError naming the layer if a scheme's answer does not have the documented shapes, types or values."""
    k, r, s, c = layer.weights.shape
    if wrong := answer.faults((k, r, s, c)):
        raise TypeError(f"node '{layer.name}': the scheme's answer is malformed: {'; '.join(wrong)}")
